//! The pages' forms: each does what it was asked and sends the browser back with a GET.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use serde::Deserialize;

use super::calls::{self, Calls};
use super::frame::refusal;
use super::moves::{self, Stop};
use super::problem::Problem;
use super::{lag, redelivery};
use crate::sandbox::Sandbox;
use crate::sandbox::faults::Fault;
use crate::sandbox::page::see_other;

fn back(sandbox: &Sandbox, done: Result<(), Problem>, to: &str) -> Response {
    match done {
        Ok(()) => see_other(to),
        Err(problem) => refusal(sandbox, &problem),
    }
}

/// A button of the clock.
#[derive(Debug, Deserialize)]
pub struct Move {
    step: Step,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Hour,
    Day,
    JustBefore,
    End,
    Billed,
}

pub async fn move_time(
    State(sandbox): State<Sandbox>,
    Form(Move { step }): Form<Move>,
) -> Response {
    let done = match step {
        Step::Hour => moves::by(&sandbox, TimeDelta::hours(1)).await,
        Step::Day => moves::by(&sandbox, TimeDelta::days(1)).await,
        Step::JustBefore => moves::to_period_end(&sandbox, Stop::JustBefore).await,
        Step::End => moves::to_period_end(&sandbox, Stop::End).await,
        Step::Billed => moves::to_period_end(&sandbox, Stop::Billed).await,
    };
    back(&sandbox, done, "/#clock")
}

pub async fn calls(State(sandbox): State<Sandbox>, Form(request): Form<Calls>) -> Response {
    let done = calls::send(&sandbox, request).map(|_| ());
    back(&sandbox, done, "/#calls")
}

pub async fn fault(State(sandbox): State<Sandbox>, Form(fault): Form<Fault>) -> Response {
    let done = sandbox.faults.try_add(fault).map_err(Problem::Fault);
    back(&sandbox, done, "/faults")
}

pub async fn faults_off(State(sandbox): State<Sandbox>) -> Response {
    sandbox.faults.clear();
    see_other("/faults")
}

pub async fn lag(State(sandbox): State<Sandbox>, Form(change): Form<lag::Change>) -> Response {
    back(&sandbox, lag::change(&sandbox, change), "/faults#lag")
}

#[derive(Debug, Deserialize)]
pub struct Redeliver {
    event: String,
}

pub async fn redeliver(
    State(sandbox): State<Sandbox>,
    Form(Redeliver { event }): Form<Redeliver>,
) -> Response {
    let done = redelivery::redeliver(&sandbox, &event).await;
    back(&sandbox, done, "/webhooks")
}
