//! Meter event summaries, <https://docs.stripe.com/api/billing/meter-event-summary>.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use super::account::Account;
use super::call::Call;
use super::error::StripeError;
use super::list::page_of;
use super::usage::meter_usage;

/// The most windows that one request may span.
const MOST_WINDOWS: i64 = 10_000;

/// Start (inclusive) and end (exclusive) of what a summary sums up.
type Window = (DateTime<Utc>, DateTime<Utc>);

/// One summary over the whole time, or one per window, the latest first.
pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let meter = account.find("billing.meter", call.id())?;
    let customer = call.text("customer").unwrap_or_default();
    account.refer("customer", customer, "customer")?;
    let now = account.now_for(customer);
    let summaries = windows(call)?
        .into_iter()
        .rev()
        .map(|(from, to)| {
            let value = meter_usage(account, call.id(), customer, from, to, now);
            json!({
                "id": summary_id(call.id(), customer, from, to),
                "object": "billing.meter_event_summary",
                "aggregated_value": number(value),
                "end_time": to.timestamp(),
                "livemode": false,
                "meter": meter["id"],
                "start_time": from.timestamp(),
            })
        })
        .collect();
    page_of(summaries, call)
}

/// The same summary has the same id in every answer, so that cursors work.
fn summary_id(meter: &str, customer: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let meter = meter.trim_start_matches("mtr_");
    let customer = customer.trim_start_matches("cus_");
    let (from, to) = (from.timestamp(), to.timestamp());
    format!("mtrusg_{meter}{customer}{from:x}{to:x}")
}

/// Stripe documents a float; whole numbers are written without a point, as Stripe writes them.
fn number(value: Decimal) -> Value {
    match value.to_i64() {
        Some(whole) if value.fract().is_zero() => whole.into(),
        _ => value.to_f64().into(),
    }
}

fn windows(call: &Call) -> Result<Vec<Window>, StripeError> {
    let grouping = match call.text("value_grouping_window") {
        Some("hour") => Some(TimeDelta::hours(1)),
        Some("day") => Some(TimeDelta::days(1)),
        _ => None,
    };
    let alignment = grouping.unwrap_or(TimeDelta::minutes(1));
    let from = aligned(call, "start_time", alignment)?;
    let to = aligned(call, "end_time", alignment)?;
    if to <= from {
        let message = "end_time must be after start_time.";
        return Err(StripeError::invalid(message).param("end_time"));
    }
    let Some(step) = grouping else {
        return Ok(vec![(from, to)]);
    };
    let count = (to - from).num_seconds() / step.num_seconds();
    if count > MOST_WINDOWS {
        let message = "The time between start_time and end_time is too long.";
        return Err(StripeError::invalid(message).param("end_time"));
    }
    let starts = std::iter::successors(Some(from), |start| Some(*start + step));
    Ok(starts
        .take_while(|start| *start < to)
        .map(|start| (start, start + step))
        .collect())
}

fn aligned(call: &Call, name: &str, to: TimeDelta) -> Result<DateTime<Utc>, StripeError> {
    let time = call
        .time(name)
        .ok_or_else(|| StripeError::missing_param(name))?;
    if time.timestamp() % to.num_seconds() == 0 {
        return Ok(time);
    }
    let boundary = match to.num_seconds() {
        60 => "minute",
        3600 => "hour",
        _ => "UTC day",
    };
    let message = format!("{name} must be aligned with {boundary} boundaries.");
    Err(StripeError::invalid(message).param(name))
}
