//! Meter events and their adjustments, <https://docs.stripe.com/api/billing/meter-event>.
//!
//! What Stripe can see at once it refuses at once. An event for a customer that does not exist is
//! taken, never counts, and is told of later by a thin event (`meter_errors`).

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::account::Account;
use super::call::Call;
use super::error::StripeError;
use super::meter_errors::{Refused, Why};
use super::usage::{Event, Formula, formula};

/// How far in the past and in the future usage may lie.
const OLDEST: TimeDelta = TimeDelta::days(35);
const FURTHEST_AHEAD: TimeDelta = TimeDelta::minutes(5);
/// The most significant digits of a value, since 2026-04-22.dahlia.
const MOST_DIGITS: usize = 15;
/// The longest identifier and event name, in characters.
const LONGEST_NAME: usize = 100;

pub(crate) fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let event_name = call.text("event_name").unwrap_or_default();
    let meter = active_meter(account, event_name)?.clone();
    let payload = call.or_null("payload");
    let customer = customer(&meter, &payload)?;
    let now = account.now_for(&customer);
    let event = Event {
        identifier: identifier(account, call)?,
        at: timestamp(call, now)?,
        received: now,
        value: value(&meter, &payload)?,
    };
    let answer = json!({
        "object": "billing.meter_event",
        "created": account.now().timestamp(),
        "event_name": event_name,
        "identifier": event.identifier,
        "livemode": false,
        "payload": payload,
        "timestamp": event.at.timestamp(),
    });
    let now = account.now();
    let id = meter["id"].as_str().unwrap_or_default();
    let refused = wrong(account, &customer).map(|why| Refused {
        meter: id.to_owned(),
        identifier: event.identifier.clone(),
        why,
        at: now,
    });
    let usage = &mut account.books.usage;
    usage.take(&event.identifier, id, &customer, now);
    match refused {
        Some(refused) => usage.refused.push(refused),
        None => usage.keep(id, &customer, event),
    }
    Ok(answer)
}

/// What Stripe will find wrong with an event that it takes.
fn wrong(account: &Account, customer: &str) -> Option<Why> {
    let is_known = account.find("customer", customer).is_ok();
    match (is_known, account.refuses_later) {
        (false, _) => Some(Why::CustomerNotFound),
        (true, true) => Some(Why::TooOld),
        (true, false) => None,
    }
}

/// `POST /v1/billing/meter_event_adjustments`: cancels one event within 24 hours.
pub(crate) fn adjust(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let event_name = call.text("event_name").unwrap_or_default();
    let meter = active_meter(account, event_name)?;
    let id = meter["id"].as_str().unwrap_or_default().to_owned();
    let identifier = call
        .object("cancel")
        .and_then(|cancel| cancel.get("identifier"))
        .and_then(Value::as_str)
        .ok_or_else(|| StripeError::missing_param("cancel[identifier]"))?;
    let now = account.now();
    if !account.books.usage.cancel(&id, identifier, now) {
        let message = format!(
            "No event of the last 24 hours with the identifier {identifier} was found for this \
             meter."
        );
        return Err(StripeError::invalid(message)
            .code("resource_missing")
            .param("cancel[identifier]"));
    }
    Ok(json!({
        "object": "billing.meter_event_adjustment",
        "cancel": { "identifier": identifier },
        "event_name": event_name,
        "livemode": false,
        "status": "pending",
        "type": "cancel",
    }))
}

fn active_meter<'a>(account: &'a Account, event_name: &str) -> Result<&'a Value, StripeError> {
    let mut meters = account
        .all("billing.meter")
        .filter(|meter| meter["event_name"] == event_name)
        .peekable();
    let known = meters.peek().is_some();
    meters
        .find(|meter| meter["status"] == "active")
        .ok_or_else(|| {
            let code = if known { "archived_meter" } else { "no_meter" };
            let message = format!("No active meter found for event name: {event_name}");
            StripeError::invalid(message).code(code).param("event_name")
        })
}

fn customer(meter: &Value, payload: &Value) -> Result<String, StripeError> {
    let key = meter["customer_mapping"]["event_payload_key"]
        .as_str()
        .unwrap_or_default();
    match payload[key].as_str() {
        Some(customer) if !customer.is_empty() => Ok(customer.to_owned()),
        _ => Err(payload_error(
            "payload_no_customer_defined",
            "The payload must have a reference to the customer",
            key,
        )),
    }
}

fn value(meter: &Value, payload: &Value) -> Result<Decimal, StripeError> {
    let key = meter["value_settings"]["event_payload_key"]
        .as_str()
        .unwrap_or_default();
    let Some(text) = payload[key].as_str().filter(|text| !text.is_empty()) else {
        if formula(meter) == Formula::Count {
            return Ok(Decimal::ONE);
        }
        return Err(payload_error(
            "payload_no_value_defined",
            "The payload must have a value",
            key,
        ));
    };
    let invalid = || payload_error("payload_invalid_value", "The value must be a number", key);
    if significant_digits(text) > MOST_DIGITS {
        return Err(payload_error(
            "meter_event_value_too_many_digits",
            "The value has more than 15 significant digits",
            key,
        ));
    }
    text.parse().map_err(|_| invalid())
}

fn significant_digits(text: &str) -> usize {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').len()
}

fn payload_error(code: &str, message: &str, key: &str) -> StripeError {
    StripeError::invalid(format!("{message} (payload[{key}])."))
        .code(code)
        .param(&format!("payload[{key}]"))
}

/// The given identifier if nobody used it in the last 24 hours, or a fresh one.
fn identifier(account: &mut Account, call: &Call) -> Result<String, StripeError> {
    let Some(identifier) = call.text("identifier") else {
        return Ok(account.new_id("identifier"));
    };
    if identifier.chars().count() > LONGEST_NAME {
        let message = format!("The identifier can be up to {LONGEST_NAME} characters long.");
        return Err(StripeError::invalid(message).param("identifier"));
    }
    if account.books.usage.is_taken(identifier, account.now()) {
        let message = format!("An event already exists with identifier {identifier}.");
        return Err(StripeError::invalid(message).never_retry());
    }
    Ok(identifier.to_owned())
}

fn timestamp(call: &Call, now: DateTime<Utc>) -> Result<DateTime<Utc>, StripeError> {
    let at = call.time("timestamp").unwrap_or(now);
    let (code, message) = if at < now - OLDEST {
        let message = "The timestamp must be within the past 35 calendar days.";
        ("timestamp_too_far_in_past", message)
    } else if at > now + FURTHEST_AHEAD {
        let message = "The timestamp can be at most 5 minutes in the future.";
        ("timestamp_in_future", message)
    } else {
        return Ok(at);
    };
    Err(StripeError::invalid(message).code(code).param("timestamp"))
}

#[cfg(test)]
mod tests {
    use super::significant_digits;

    #[test]
    fn leading_zeros_signs_and_points_are_not_significant() {
        assert_eq!(significant_digits("-00012.50"), 4);
        assert_eq!(significant_digits("0.001"), 1);
        assert_eq!(significant_digits("1234567890123456"), 16);
    }
}
