//! What the status page shows of the comparison of usage, meters and invoices, and its forms for what
//! a person has put right.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Redirect;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use serde::Deserialize;

use super::auth::Operator;
use super::{Admin, ROWS, Rules};
use crate::store::comparisons::{self, JOBS_TURN};
use crate::store::disagreements::{self, Disagreement, Kind};
use crate::store::jobs::{self, Run};
use crate::store::settlements::{self, Key, NOTE_LENGTH_MAX, Settlement};
use crate::store::{StoreError, subscriptions};
use crate::web::extract::Form;
use crate::web::{Failure, Now};

/// How long a period may wait for its comparison, and how old the last one may be.
const LATE: TimeDelta = TimeDelta::days(2);

/// What comparisons found.
#[derive(Debug)]
pub(super) struct Reconciliation {
    /// Whether they run by themselves.
    pub(super) is_daily: bool,
    /// The run that began last, done or not.
    pub(super) last: Option<Run>,
    /// When the last run began that has come to its end.
    pub(super) compared_at: Option<DateTime<Utc>>,
    /// Whether the last runs that have come to their ends left nothing out; absent where none has.
    pub(super) is_complete: Option<bool>,
    /// Whether periods are left that should have been compared by now.
    pub(super) is_overdue: bool,
    /// Differences that are left, of all comparisons.
    pub(super) total: u64,
    pub(super) newest: Vec<Disagreement>,
    /// The last ones that a person has settled.
    pub(super) settled: Vec<(Disagreement, Settlement)>,
}

pub(super) fn read(
    db: &Connection,
    rules: Rules,
    now: DateTime<Utc>,
) -> Result<Reconciliation, StoreError> {
    let runs = [
        jobs::last(db, jobs::RECONCILE)?,
        jobs::last(db, jobs::COMPARISON)?,
    ];
    let last = runs.into_iter().flatten().max_by_key(|run| run.started_at);
    let asked = jobs::last_finished(db, jobs::RECONCILE)?;
    let daily = jobs::last_finished(db, jobs::COMPARISON)?;
    // What somebody has asked for and did not get is made up for by the runs of the days after.
    let asked = asked.filter(|run| !rules.reconcile_daily || run.started_at > now - LATE);
    let finished: Vec<Run> = asked.into_iter().chain(daily).collect();
    let complete = finished.iter().map(|run| run.complete == Some(true));
    let is_complete = complete.reduce(|one, other| one && other);
    let complete_at = [
        jobs::last_complete(db, jobs::RECONCILE)?,
        jobs::last_complete(db, jobs::COMPARISON)?,
    ];
    let complete_at = complete_at.into_iter().flatten().max();
    let ended_by = now - LATE - rules.settle - JOBS_TURN;
    let is_old = complete_at.is_some_and(|at| at < now - LATE) && subscriptions::has_metered(db)?;
    // Before the first run nothing is late: after an upgrade it is to come, and where it is switched
    // off maybe nobody wants one.
    let are_missing = last.is_some() && comparisons::are_missing(db, ended_by, now)?;
    Ok(Reconciliation {
        is_daily: rules.reconcile_daily,
        last,
        compared_at: finished.iter().map(|run| run.started_at).max(),
        is_complete,
        is_overdue: (rules.reconcile_daily && is_old) || are_missing,
        total: disagreements::count(db)?,
        newest: disagreements::newest(db, ROWS)?,
        settled: disagreements::settled(db, ROWS)?,
    })
}

/// Which difference a form is about.
#[derive(Deserialize)]
pub(super) struct DifferenceForm {
    subscription: String,
    /// Seconds since 1970.
    period_start: i64,
    kind: String,
    /// What the page showed of it: it may have become another one since.
    #[serde(default)]
    figures: String,
    #[serde(default)]
    note: String,
}

impl DifferenceForm {
    fn key(&self) -> Result<(Key, Kind), Failure> {
        let period_start = DateTime::from_timestamp(self.period_start, 0);
        let kind = Kind::parse(&self.kind);
        let Some((period_start, kind)) = period_start.zip(kind) else {
            return Err(refused("That is no difference of a billing period."));
        };
        let key = Key {
            subscription_id: self.subscription.clone(),
            period_start,
            kind,
        };
        Ok((key, kind))
    }

    /// The note in one visible line.
    fn note(&self) -> Result<String, Failure> {
        let visible = self
            .note
            .chars()
            .filter(|character| !character.is_control());
        let note = visible.collect::<String>().trim().to_owned();
        if note.chars().count() > NOTE_LENGTH_MAX {
            let limit = format!("The note has more than {NOTE_LENGTH_MAX} characters.");
            return Err(refused(limit));
        }
        Ok(note)
    }
}

fn refused(happened: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    let code = StatusCode::UNPROCESSABLE_ENTITY;
    Failure::new(code, "not_settled", "Nothing was settled")
        .happened(happened)
        .advice("Go back to the status page and send its form again.")
}

/// Notes that a person has put a difference right, as it was on the page.
pub(super) async fn settle(
    State(admin): State<Admin>,
    Now(now): Now,
    Extension(Operator(operator)): Extension<Operator>,
    Form(form): Form<DifferenceForm>,
) -> Result<Redirect, Failure> {
    let (key, kind) = form.key()?;
    let settlement = Settlement {
        kind,
        note: form.note()?,
        figures: form.figures,
        operator: operator.clone(),
        settled_at: now,
    };
    let subscription = key.subscription_id.clone();
    let change = admin
        .store
        .write(move |db| settlements::settle(db, &key, &settlement));
    let is_settled = change.await.map_err(Failure::internal)?;
    tracing::info!(%subscription, kind = kind.word(), %operator, is_settled, "a difference was settled by hand");
    if !is_settled {
        let code = StatusCode::CONFLICT;
        return Err(Failure::new(code, "not_settled", "Nothing was settled")
            .happened("The difference is another one by now, or is not there any more.")
            .advice("Go back to the status page and look at what it says now."));
    }
    Ok(Redirect::to("/#disagreements"))
}

/// Has a difference that was settled count again.
pub(super) async fn take_back(
    State(admin): State<Admin>,
    Extension(Operator(operator)): Extension<Operator>,
    Form(form): Form<DifferenceForm>,
) -> Result<Redirect, Failure> {
    let (key, kind) = form.key()?;
    let change = admin
        .store
        .write(move |db| settlements::take_back(db, &key));
    let was_settled = change.await.map_err(Failure::internal)?;
    let subscription = form.subscription;
    tracing::info!(%subscription, kind = kind.word(), %operator, was_settled, "a difference counts again");
    Ok(Redirect::to("/#disagreements"))
}
