//! `POST /v1/subscriptions/{subscription}`: terms, scheduled ends, and changes of the items.
//!
//! Sources: <https://docs.stripe.com/billing/subscriptions/change-price>,
//! <https://docs.stripe.com/billing/subscriptions/prorations>. A change of a licensed price gives
//! back the unused part of the period and charges the rest of it at the new price; a change of a
//! metered one bills what was used so far. Both wait for the next invoice, or are invoiced at once
//! with `always_invoice`; with `none` they are left out.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::invoices::draft::{self, Bill};
use super::super::invoices::lines::Portion;
use super::super::invoices::{collect, finalize};
use super::super::payment_methods;
use super::super::times::moment;
use super::{cancel, cycle, items, shape};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;

/// Parameters that become members of the subscription as they are.
const PLAIN: [&str; 6] = [
    "collection_method",
    "days_until_due",
    "description",
    "pause_collection",
    "trial_settings",
    "on_behalf_of",
];
/// What an ended subscription still takes.
const AFTER_THE_END: [&str; 3] = ["metadata", "cancellation_details", "expand"];

/// `POST /v1/subscriptions/{subscription}`.
pub(crate) fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let before = account.find("subscription", call.id())?.clone();
    check_ended(&before, call)?;
    let now = account.now_for(before["customer"].as_str().unwrap_or_default());
    let mut after = before.clone();
    set_given(account, &mut after, call)?;
    schedule_end(&mut after, call, now);
    let mut portions = items::change(account, &mut after, call.list("items"), now)?;
    if call.text("proration_behavior") == Some("none") {
        portions.clear();
    }
    let to_invoice = if restart(&mut after, call, now) {
        restart_portions(&before, &after, now)
    } else {
        settle_change(&mut after, call, portions)
    };
    account.update(call.id(), "customer.subscription.updated", |kept| {
        *kept = after;
    });
    if !to_invoice.is_empty() {
        invoice_change(account, call.id(), to_invoice, now)?;
    }
    account.find("subscription", call.id()).cloned()
}

/// The parameters that only have to be set.
fn set_given(
    account: &mut Account,
    subscription: &mut Value,
    call: &Call,
) -> Result<(), StripeError> {
    changes::update_metadata(&mut subscription["metadata"], call.param("metadata"))?;
    for name in PLAIN {
        if let Some(value) = call.param(name) {
            subscription[name] = value.clone();
        }
    }
    for name in ["payment_settings", "cancellation_details"] {
        for (member, value) in call.object(name).into_iter().flatten() {
            subscription[name][member] = value.clone();
        }
    }
    if let Some(given) = call.text("default_payment_method") {
        let customer = subscription["customer"].as_str().unwrap_or_default();
        let method = payment_methods::resolve(account, customer, given, "default_payment_method")?;
        subscription["default_payment_method"] = method.into();
    }
    Ok(())
}

/// Puts what a change is charged aside for the next invoice, or gives it, with what already waits,
/// to be invoiced at once.
fn settle_change(subscription: &mut Value, call: &Call, portions: Vec<Portion>) -> Vec<Portion> {
    if portions.is_empty() {
        return portions;
    }
    let mut pending = cancel::pending(subscription);
    pending.extend(portions);
    if call.text("proration_behavior") == Some("always_invoice") {
        return pending;
    }
    subscription["_pending"] = json!(pending);
    Vec::new()
}

fn check_ended(subscription: &Value, call: &Call) -> Result<(), StripeError> {
    let allowed = |name: &String| AFTER_THE_END.contains(&name.as_str());
    if !shape::has_ended(subscription) || call.params.keys().all(allowed) {
        return Ok(());
    }
    let message = "A canceled subscription can only update its cancellation_details and metadata.";
    Err(StripeError::invalid(message))
}

/// Applies `cancel_at_period_end` and `cancel_at`.
pub(crate) fn schedule_end(subscription: &mut Value, call: &Call, now: DateTime<Utc>) {
    let period_end = shape::period(subscription).map(|(_, end)| end);
    let chosen = match (call.flag("cancel_at_period_end"), call.param("cancel_at")) {
        (Some(true), _) | (_, Some(Value::String(_))) => period_end,
        (_, Some(at @ Value::Number(_))) => moment(at),
        (Some(false), None) | (_, Some(Value::Null)) => None,
        (None, _) | (Some(false), Some(_)) => return,
    };
    subscription["cancel_at_period_end"] = (call.flag("cancel_at_period_end") == Some(true)).into();
    subscription["cancel_at"] = chosen.map_or(Value::Null, |at| at.timestamp().into());
    subscription["canceled_at"] = chosen.map_or(Value::Null, |_| now.timestamp().into());
    subscription["cancellation_details"]["reason"] =
        chosen.map_or(Value::Null, |_| "cancellation_requested".into());
}

/// `trial_end=now` and `billing_cycle_anchor[type]=now` start a new period at once.
fn restart(subscription: &mut Value, call: &Call, now: DateTime<Utc>) -> bool {
    let ends_trial = subscription["status"] == "trialing"
        && (call.text("trial_end") == Some("now")
            || call.time("trial_end").is_some_and(|end| end <= now));
    let resets_anchor = call
        .object("billing_cycle_anchor")
        .is_some_and(|anchor| anchor.get("type").is_some_and(|kind| kind == "now"));
    if let (false, Some(end)) = (ends_trial, call.time("trial_end").filter(|end| *end > now)) {
        subscription["status"] = "trialing".into();
        subscription["trial_end"] = end.timestamp().into();
        subscription["billing_cycle_anchor"] = end.timestamp().into();
        if let Some((start, _)) = shape::period(subscription) {
            shape::set_period(subscription, start, end);
        }
    }
    if !ends_trial && !resets_anchor {
        return false;
    }
    if ends_trial {
        subscription["status"] = "active".into();
        subscription["trial_end"] = now.timestamp().into();
    }
    subscription["billing_cycle_anchor"] = now.timestamp().into();
    subscription["billing_cycle_anchor_config"] = Value::Null;
    if let Some((anchor, interval)) = shape::anchor(subscription).zip(shape::interval(subscription))
    {
        shape::set_period(subscription, now, anchor.next_after(interval, now));
    }
    true
}

/// The old period's usage and unused fees, and the new period's fees.
fn restart_portions(before: &Value, after: &Value, now: DateTime<Utc>) -> Vec<Portion> {
    let mut portions = cancel::unbilled(before, now);
    if before["status"] != "trialing" {
        portions.extend(cancel::unused(before, now));
    }
    if let Some((start, end)) = shape::period(after) {
        portions.extend(cycle::fees(after, start, end));
    }
    portions
}

fn invoice_change(
    account: &mut Account,
    id: &str,
    portions: Vec<Portion>,
    now: DateTime<Utc>,
) -> Result<(), StripeError> {
    let bill = Bill {
        subscription: id,
        billing_reason: "subscription_update",
        period: (now, now),
        portions,
        auto_advance: true,
    };
    let invoice = draft::open(account, &bill, now);
    if let Some(subscription) = account.get_mut(id) {
        subscription["latest_invoice"] = invoice.clone().into();
        subscription["_pending"] = json!([]);
    }
    finalize::finalize(account, &invoice, now)?;
    collect::advance(account, &invoice, None, now);
    Ok(())
}
