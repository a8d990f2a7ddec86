//! `POST /v1/invoices/create_preview`: the next invoice as it would be now.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::subscriptions::{cancel, cycle, items, shape};
use super::draft::{self, Bill};
use super::lines::Portion;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::error::StripeError;

/// The next invoice of `subscription`, or of the customer's subscription that bills first, with the
/// changes in `subscription_details`. Nothing is kept.
pub(crate) fn create_preview(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let mut subscription = chosen(account, call)?;
    let customer = subscription["customer"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let now = account.now_for(&customer);
    let none = Map::new();
    let details = call.object("subscription_details").unwrap_or(&none);
    let (period, portions) = previewed(account, &mut subscription, details, now)?;
    let id = subscription["id"].as_str().unwrap_or_default();
    let bill = Bill {
        subscription: id,
        billing_reason: "upcoming",
        period,
        portions,
        auto_advance: false,
    };
    let mut invoice = draft::compose(account, &bill, now);
    let preview_id = account.new_id("upcoming_in");
    let lines = invoice["lines"]["data"].as_array_mut();
    for line in lines.into_iter().flatten() {
        line["invoice"] = preview_id.clone().into();
    }
    invoice["lines"]["url"] = format!("/v1/invoices/{preview_id}/lines").into();
    invoice["id"] = preview_id.into();
    Ok(invoice)
}

fn chosen(account: &Account, call: &Call) -> Result<Value, StripeError> {
    if let Some(id) = call.text("subscription") {
        let subscription = account.refer("subscription", id, "subscription")?;
        if shape::has_ended(subscription) || subscription["status"] == "paused" {
            return Err(nothing_upcoming());
        }
        return Ok(subscription.clone());
    }
    let customer = call
        .text("customer")
        .ok_or_else(|| StripeError::missing_param("subscription"))?;
    account.refer("customer", customer, "customer")?;
    account
        .all("subscription")
        .filter(|it| it["customer"] == customer && !shape::has_ended(it))
        .min_by_key(|it| shape::period(it).map(|(_, end)| end))
        .cloned()
        .ok_or_else(nothing_upcoming)
}

fn nothing_upcoming() -> StripeError {
    StripeError::invalid("No upcoming invoices for customer").code("invoice_upcoming_none")
}

type Period = (DateTime<Utc>, DateTime<Utc>);

fn previewed(
    account: &mut Account,
    subscription: &mut Value,
    details: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<(Period, Vec<Portion>), StripeError> {
    let (start, end) = shape::period(subscription).ok_or_else(nothing_upcoming)?;
    let flag = |name: &str| details.get(name).and_then(Value::as_bool);
    let behavior = details.get("proration_behavior").and_then(Value::as_str);
    if flag("cancel_now") == Some(true) {
        let mut portions = cancel::unbilled(subscription, now);
        if behavior != Some("none") {
            portions.extend(cancel::unused(subscription, now));
        }
        return Ok(((start, now), portions));
    }
    let given = details.get("items").and_then(Value::as_array);
    let changes = given.map_or(&[][..], Vec::as_slice);
    let mut portions = items::change(account, subscription, changes, now)?;
    if behavior == Some("none") {
        portions.clear();
    }
    if behavior == Some("always_invoice") {
        return Ok(((now, now), portions));
    }
    portions.extend(cancel::unbilled(subscription, end));
    let ends = flag("cancel_at_period_end").unwrap_or(!subscription["cancel_at"].is_null());
    if !ends
        && let Some((anchor, interval)) =
            shape::anchor(subscription).zip(shape::interval(subscription))
    {
        let next_end = anchor.next_after(interval, end);
        portions.extend(cycle::fees(subscription, end, next_end));
    }
    Ok(((start, end), portions))
}
