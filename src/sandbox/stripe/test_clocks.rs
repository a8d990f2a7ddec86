//! Test clocks, <https://docs.stripe.com/api/test_clocks>: customers whose time stands still until
//! it is advanced.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::error::StripeError;
use super::{billing, list};

const KIND: &str = "test_helpers.test_clock";
/// How long a clock lives.
const LIFETIME: TimeDelta = TimeDelta::days(30);

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/test_helpers/test_clocks" => create,
    "GET /v1/test_helpers/test_clocks" => all,
    "GET /v1/test_helpers/test_clocks/{clock}" => retrieve,
    "POST /v1/test_helpers/test_clocks/{clock}/advance" => advance,
    "DELETE /v1/test_helpers/test_clocks/{clock}" => delete,
};

fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    if call
        .time("frozen_time")
        .is_none_or(|time| time.timestamp() < 0)
    {
        let message = "Invalid timestamp: `frozen_time` must be a unix time in seconds.";
        return Err(StripeError::invalid(message).param("frozen_time"));
    }
    let now = account.now();
    let clock = json!({
        "id": account.new_id("clock"),
        "object": KIND,
        "created": now.timestamp(),
        "deletes_after": (now + LIFETIME).timestamp(),
        "frozen_time": call.or_null("frozen_time"),
        "livemode": false,
        "name": call.or_null("name"),
        "status": "ready",
        "status_details": {},
    });
    Ok(account.create("test_helpers.test_clock.created", clock))
}

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    list::page(account, call, KIND, |_| true)
}

fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

/// Starts to advance the clock; [`run_due`] does the rest.
fn advance(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let clock = account.find(KIND, call.id())?;
    let target = call.or_null("frozen_time");
    if clock["status"] != "ready" {
        let message = "Test clock advancement is underway.";
        return Err(StripeError::invalid(message));
    }
    if target.as_i64() <= clock["frozen_time"].as_i64() {
        let message = "A test clock can only be advanced to a later time.";
        return Err(StripeError::invalid(message).param("frozen_time"));
    }
    let event = "test_helpers.test_clock.advancing";
    Ok(account.update(call.id(), event, |clock| {
        clock["status"] = "advancing".into();
        clock["status_details"] = json!({ "advancing": { "target_frozen_time": target } });
    }))
}

/// Deletes the clock and all its customers.
fn delete(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id())?;
    let customers: Vec<_> = account
        .all("customer")
        .filter(|customer| customer["test_clock"] == call.id())
        .filter_map(|customer| customer["id"].as_str().map(str::to_owned))
        .collect();
    for customer in customers {
        billing::customer_deleted(account, &customer);
        account.remove(&customer);
    }
    if let Some(clock) = account.remove(call.id()) {
        account.emit("test_helpers.test_clock.deleted", &clock, None);
    }
    Ok(json!({ "id": call.id(), "object": KIND, "deleted": true }))
}

/// The clocks that are being advanced.
fn advancing(account: &Account) -> Vec<(String, Value)> {
    account
        .all(KIND)
        .filter(|clock| clock["status"] == "advancing")
        .filter_map(|clock| {
            let target = clock["status_details"]["advancing"]["target_frozen_time"].clone();
            Some((clock["id"].as_str()?.to_owned(), target))
        })
        .collect()
}

pub(crate) fn has_due(account: &Account) -> bool {
    !advancing(account).is_empty()
}

/// Brings every clock that is being advanced to its target, with the billing on the way.
pub(crate) fn run_due(account: &mut Account) -> usize {
    let clocks = advancing(account);
    for (id, target) in &clocks {
        if let Some(clock) = account.get_mut(id) {
            clock["frozen_time"] = target.clone();
        }
        billing::run_due(account);
        account.update(id, "test_helpers.test_clock.ready", |clock| {
            clock["status"] = "ready".into();
            clock["status_details"] = json!({});
        });
    }
    clocks.len()
}
