//! Events, <https://docs.stripe.com/api/events>: kept for 30 days.

use chrono::TimeDelta;
use serde_json::Value;

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::error::StripeError;
use super::list;

const KIND: &str = "event";
/// How long an event can be read.
const KEPT: TimeDelta = TimeDelta::days(30);

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "GET /v1/events" => all,
    "GET /v1/events/{event}" => retrieve,
};

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let types = call.list("types");
    if call.text("type").is_some() && !types.is_empty() {
        return Err(StripeError::exclusive("type", "types"));
    }
    let wanted: Vec<_> = types
        .iter()
        .filter_map(Value::as_str)
        .chain(call.text("type"))
        .collect();
    let oldest = (account.now() - KEPT).timestamp();
    list::page(account, call, KIND, |event| {
        let delivered = event["pending_webhooks"] == 0;
        let kind = event["type"].as_str().unwrap_or_default();
        event["created"].as_i64() >= Some(oldest)
            && (wanted.is_empty() || wanted.iter().any(|wanted| matches(wanted, kind)))
            && call
                .flag("delivery_success")
                .is_none_or(|wanted| wanted == delivered)
    })
}

/// `customer.*` stands for all types that begin with `customer.`.
fn matches(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => kind == wanted,
    }
}

fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let oldest = (account.now() - KEPT).timestamp();
    let event = account.find(KIND, call.id())?;
    if event["created"].as_i64() < Some(oldest) {
        return Err(StripeError::missing(KIND, call.id()));
    }
    Ok(event.clone())
}
