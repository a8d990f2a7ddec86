//! What falls due by itself, and when. Nothing is kept about it: each object says by its own
//! members what is to happen to it next, so a changed object changes the agenda.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::checkout;
use super::invoices::{collect, draft, finalize, shape as invoice_shape, writeoff};
use super::subscriptions::{cancel, cycle, pause, shape};
use super::times::moment;
use crate::sandbox::stripe::account::Account;

/// How long a first payment may take.
const INCOMPLETE_FOR: TimeDelta = TimeDelta::hours(23);
/// How much may fall due in one go; a guard against a task that does not make progress.
const MOST_AT_ONCE: usize = 100_000;

/// What happens, in the order in which it happens at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    FinalizeInvoice,
    RetryInvoice,
    VoidResumption,
    ResumeCollection,
    TurnPeriod,
    ExpireIncomplete,
    ExpireSession,
}

/// A task at its moment, and the object that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    at: DateTime<Utc>,
    task: Task,
    id: String,
    customer: String,
    on_test_clock: bool,
}

/// Does what has fallen due, each thing at its own moment and in order, and counts it.
pub(crate) fn run_due(account: &mut Account) -> usize {
    let mut count = 0;
    while count < MOST_AT_ONCE {
        draft::note_deliveries(account);
        let batch = earliest(account);
        if batch.is_empty() {
            break;
        }
        for due in batch {
            if still_due(account, &due) {
                perform(account, &due);
                count += 1;
            }
        }
    }
    count
}

/// What falls due at the earliest moment that has come, in order.
fn earliest(account: &Account) -> Vec<Due> {
    let mut batch: Vec<Due> = agenda(account)
        .filter(|due| due.at <= account.now_for(&due.customer))
        .collect();
    let first = batch.iter().map(|due| due.at).min();
    batch.retain(|due| Some(due.at) == first);
    batch.sort_by_key(|due| due.task);
    batch
}

/// Whether nothing that happened since has changed the plan for the object.
fn still_due(account: &Account, due: &Due) -> bool {
    account
        .get(&due.id)
        .is_some_and(|object| tasks(object).contains(&Some((due.at, due.task))))
}

/// When the next thing falls due in the account's time. What belongs to a test clock falls due
/// only when that clock is advanced.
pub(crate) fn next_due(account: &Account) -> Option<DateTime<Utc>> {
    agenda(account)
        .filter(|due| !due.on_test_clock)
        .map(|due| due.at)
        .min()
}

fn agenda(account: &Account) -> impl Iterator<Item = Due> {
    ["invoice", "subscription", checkout::KIND]
        .into_iter()
        .flat_map(|kind| account.all(kind))
        .flat_map(|object| {
            let planned = tasks(object).into_iter().flatten();
            planned.map(|(at, task)| due(object, at, task))
        })
}

/// A moment and what is to happen then.
type Plan = Option<(DateTime<Utc>, Task)>;

fn tasks(object: &Value) -> [Plan; 2] {
    match object["object"].as_str() {
        Some("invoice") => [
            draft::finalizes_at(object).map(|at| (at, Task::FinalizeInvoice)),
            collect::retries_at(object)
                .map(|at| (at, Task::RetryInvoice))
                .or_else(|| pause::lapses_at(object).map(|at| (at, Task::VoidResumption))),
        ],
        Some("subscription") => of_subscription(object),
        _ => {
            let expiry = moment(&object["expires_at"]).filter(|_| object["status"] == "open");
            [expiry.map(|at| (at, Task::ExpireSession)), None]
        }
    }
}

fn of_subscription(subscription: &Value) -> [Plan; 2] {
    let resume = moment(&subscription["pause_collection"]["resumes_at"])
        .map(|at| (at, Task::ResumeCollection));
    match subscription["status"].as_str() {
        Some("incomplete") => {
            let expiry = moment(&subscription["created"])
                .map(|created| (created + INCOMPLETE_FOR, Task::ExpireIncomplete));
            [expiry, None]
        }
        Some("active" | "trialing" | "past_due" | "unpaid") => {
            let period_end = shape::period(subscription).map(|(_, end)| end);
            let end = [period_end, moment(&subscription["cancel_at"])]
                .into_iter()
                .flatten()
                .min();
            [end.map(|at| (at, Task::TurnPeriod)), resume]
        }
        _ => [None, None],
    }
}

fn due(object: &Value, at: DateTime<Utc>, task: Task) -> Due {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Due {
        at,
        task,
        id: text(&object["id"]),
        customer: text(&object["customer"]),
        on_test_clock: object["test_clock"].is_string(),
    }
}

fn perform(account: &mut Account, due: &Due) {
    match due.task {
        Task::FinalizeInvoice => finalize_invoice(account, &due.id, due.at),
        Task::VoidResumption => writeoff::void(account, &due.id, due.at),
        Task::RetryInvoice => collect::advance(account, &due.id, None, due.at),
        Task::ResumeCollection => {
            account.update(&due.id, "customer.subscription.updated", |subscription| {
                subscription["pause_collection"] = Value::Null;
            });
        }
        Task::TurnPeriod => cycle::turn(account, &due.id, due.at),
        Task::ExpireIncomplete => cancel::expire_incomplete(account, &due.id, due.at),
        Task::ExpireSession => checkout::expire_session(account, &due.id),
    }
}

/// Finalizes a draft and charges it, unless the collection of its subscription is paused.
fn finalize_invoice(account: &mut Account, id: &str, at: DateTime<Utc>) {
    if let Err(error) = finalize::finalize(account, id, at) {
        tracing::error!(
            invoice = id,
            error = error.message(),
            "a draft did not finalize"
        );
        return;
    }
    let behavior = account
        .get(id)
        .and_then(invoice_shape::subscription_of)
        .and_then(|subscription| account.get(subscription))
        .and_then(|subscription| subscription["pause_collection"]["behavior"].as_str());
    match behavior {
        Some("void") => writeoff::void(account, id, at),
        Some("mark_uncollectible") => writeoff::mark_uncollectible(account, id, at),
        _ => collect::advance(account, id, None, at),
    }
}
