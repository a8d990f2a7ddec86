//! The JSON API: each handler reads, does and answers; see the table of [`super`].

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::calls::Calls;
use super::moves::{self, Stop};
use super::problem::Problem;
use super::{calls, lag, redelivery};
use crate::sandbox::Sandbox;
use crate::sandbox::faults::Fault;
use crate::sandbox::journal::{Entry, Side};
use crate::sandbox::mail::Received;

type Answer = Result<Json<Value>, Problem>;

/// A JSON body; one that cannot be read is answered like any other problem.
pub struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        let Json(asked) = read.map_err(|rejection| Problem::Malformed(rejection.body_text()))?;
        Ok(Self(asked))
    }
}

pub async fn state(State(sandbox): State<Sandbox>) -> Json<Value> {
    let azure = &sandbox.azure;
    let lag = lag::read(&sandbox);
    let counts = json!({
        "users": azure.users().len(),
        "products": azure.products().len(),
        "subscriptions": azure.subscriptions().len(),
        "requests": sandbox.journal.count(),
        "planned_calls": sandbox.gateway.planned(),
    });
    Json(json!({
        "now": sandbox.clock.now(),
        "ticking": sandbox.clock.is_ticking(),
        "moving_to": sandbox.moving_to(),
        "next_period_end": moves::next_period_end(&sandbox),
        "addresses": sandbox.addresses(),
        "links": sandbox.links(),
        "reports_lag_seconds": lag.reports_seconds,
        "meter_lag_seconds": lag.meter_seconds,
        "drafts_stand_still": lag.drafts_stand_still,
        "faults": sandbox.faults.list(),
        "counts": counts,
    }))
}

fn now(sandbox: &Sandbox) -> Json<Value> {
    Json(json!({ "now": sandbox.clock.now() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    seconds: i64,
}

pub async fn advance(State(sandbox): State<Sandbox>, Asked(request): Asked<Advance>) -> Answer {
    let step = TimeDelta::try_seconds(request.seconds).unwrap_or(TimeDelta::MAX);
    moves::by(&sandbox, step).await?;
    Ok(now(&sandbox))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvanceTo {
    time: DateTime<Utc>,
}

pub async fn advance_to(
    State(sandbox): State<Sandbox>,
    Asked(request): Asked<AdvanceTo>,
) -> Answer {
    moves::to(&sandbox, request.time).await?;
    Ok(now(&sandbox))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToPeriodEnd {
    stop: Stop,
}

pub async fn to_period_end(
    State(sandbox): State<Sandbox>,
    Asked(request): Asked<ToPeriodEnd>,
) -> Answer {
    moves::to_period_end(&sandbox, request.stop).await?;
    Ok(now(&sandbox))
}

pub async fn settle(State(sandbox): State<Sandbox>) -> Json<Value> {
    moves::settle(&sandbox).await;
    now(&sandbox)
}

pub async fn calls(State(sandbox): State<Sandbox>, Asked(request): Asked<Calls>) -> Answer {
    Ok(Json(json!(calls::send(&sandbox, request)?)))
}

pub async fn faults(State(sandbox): State<Sandbox>) -> Json<Vec<Fault>> {
    Json(sandbox.faults.list())
}

pub async fn add_fault(
    State(sandbox): State<Sandbox>,
    Asked(fault): Asked<Fault>,
) -> Result<(StatusCode, Json<Vec<Fault>>), Problem> {
    sandbox.faults.try_add(fault).map_err(Problem::Fault)?;
    Ok((StatusCode::CREATED, Json(sandbox.faults.list())))
}

pub async fn clear_faults(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
pub struct Which {
    #[serde(default)]
    after: u64,
    side: Option<Side>,
}

pub async fn requests(
    State(sandbox): State<Sandbox>,
    Query(which): Query<Which>,
) -> Json<Vec<Entry>> {
    let mut entries = sandbox.journal.since(which.after);
    entries.retain(|entry| which.side.is_none_or(|side| side == entry.side));
    Json(entries)
}

#[derive(Debug, Deserialize)]
pub struct Mailbox {
    to: Option<String>,
    #[serde(default)]
    after: u64,
}

pub async fn mail(
    State(sandbox): State<Sandbox>,
    Query(mailbox): Query<Mailbox>,
) -> Json<Vec<Received>> {
    let mut received = sandbox.mail.received();
    received.retain(|message| {
        let is_theirs = mailbox.to.as_ref().is_none_or(|to| *to == message.to);
        is_theirs && message.number > mailbox.after
    });
    Json(received)
}

pub async fn usage(State(sandbox): State<Sandbox>) -> Json<Value> {
    let usage = sandbox.azure.usage().into_iter().map(|(id, counts)| {
        let mut counted = json!(counts);
        counted["total"] = counts.total().into();
        (id, counted)
    });
    Json(Value::Object(usage.collect()))
}

pub async fn redeliver(State(sandbox): State<Sandbox>, Path(event): Path<String>) -> Answer {
    redelivery::redeliver(&sandbox, &event).await?;
    Ok(now(&sandbox))
}

pub async fn lag(
    State(sandbox): State<Sandbox>,
    Asked(request): Asked<lag::Change>,
) -> Result<Json<lag::Lag>, Problem> {
    lag::change(&sandbox, request)?;
    Ok(Json(lag::read(&sandbox)))
}
