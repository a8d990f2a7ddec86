//! Billing meters, their events and summaries, <https://docs.stripe.com/api/billing/meter>.

use serde_json::{Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::error::StripeError;
use super::{list, meter_events, summaries};

const KIND: &str = "billing.meter";

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/billing/meters" => create,
    "GET /v1/billing/meters" => all,
    "GET /v1/billing/meters/{meter}" => retrieve,
    "POST /v1/billing/meters/{meter}" => update,
    "POST /v1/billing/meters/{meter}/deactivate" => deactivate,
    "POST /v1/billing/meters/{meter}/reactivate" => reactivate,
    "GET /v1/billing/meters/{meter}/event_summaries" => summaries::list,
    "POST /v1/billing/meter_events" => meter_events::create,
    "POST /v1/billing/meter_event_adjustments" => meter_events::adjust,
};

fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let event_name = call.text("event_name").unwrap_or_default().to_owned();
    refuse_second_meter(account, &event_name)?;
    let now = account.now().timestamp();
    let meter = json!({
        "id": account.new_id("mtr"),
        "object": KIND,
        "created": now,
        "customer_mapping": call.param("customer_mapping").cloned().unwrap_or_else(|| json!({
            "event_payload_key": "stripe_customer_id", "type": "by_id"
        })),
        "default_aggregation": call.or_null("default_aggregation"),
        "display_name": call.or_null("display_name"),
        "event_name": event_name,
        "event_time_window": call.or_null("event_time_window"),
        "livemode": false,
        "status": "active",
        "status_transitions": { "deactivated_at": null },
        "updated": now,
        "value_settings": call.param("value_settings").cloned().unwrap_or_else(|| json!({
            "event_payload_key": "value"
        })),
    });
    Ok(account.create("billing.meter.created", meter))
}

/// One event name feeds at most one active meter.
fn refuse_second_meter(account: &Account, event_name: &str) -> Result<(), StripeError> {
    let taken = account
        .all(KIND)
        .any(|meter| meter["status"] == "active" && meter["event_name"] == event_name);
    if !taken {
        return Ok(());
    }
    let message = format!("There is already an active meter for the event name {event_name}.");
    Err(StripeError::invalid(message)
        .code("resource_already_exists")
        .param("event_name"))
}

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let status = call.text("status");
    list::page(account, call, KIND, |meter| {
        status.is_none_or(|status| meter["status"] == status)
    })
}

fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id())?;
    let now = account.now().timestamp();
    let Some(name) = call.param("display_name") else {
        return retrieve(account, call);
    };
    Ok(account.update(call.id(), "billing.meter.updated", |meter| {
        meter["display_name"] = name.clone();
        meter["updated"] = now.into();
    }))
}

fn deactivate(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    require_status(account.find(KIND, call.id())?, "active")?;
    let now = account.now().timestamp();
    Ok(set_status(account, call.id(), "inactive", now.into()))
}

fn reactivate(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let meter = account.find(KIND, call.id())?;
    require_status(meter, "inactive")?;
    refuse_second_meter(account, meter["event_name"].as_str().unwrap_or_default())?;
    Ok(set_status(account, call.id(), "active", Value::Null))
}

fn require_status(meter: &Value, status: &str) -> Result<(), StripeError> {
    if meter["status"] == status {
        return Ok(());
    }
    let message = format!("The meter must be {status} for this.");
    Err(StripeError::invalid(message))
}

fn set_status(account: &mut Account, id: &str, status: &str, deactivated_at: Value) -> Value {
    let event = if status == "active" {
        "billing.meter.reactivated"
    } else {
        "billing.meter.deactivated"
    };
    let now = account.now().timestamp();
    account.update(id, event, |meter| {
        meter["status"] = status.into();
        meter["status_transitions"]["deactivated_at"] = deactivated_at;
        meter["updated"] = now.into();
    })
}
