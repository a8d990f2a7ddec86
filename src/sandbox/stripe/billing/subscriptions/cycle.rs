//! The turn from one billing period to the next.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::invoices::draft::{self, Bill};
use super::super::invoices::lines::{Basis, Portion};
use super::super::invoices::{finalize, writeoff};
use super::super::payments;
use super::{cancel, shape};
use crate::sandbox::stripe::account::Account;

/// Ends the running period and starts the next one: bills the usage of the one and the fees of
/// the other.
pub(crate) fn turn(account: &mut Account, id: &str, at: DateTime<Utc>) {
    let Some(subscription) = account.get(id).cloned() else {
        return;
    };
    let ends = super::super::times::moment(&subscription["cancel_at"]).is_some_and(|end| end <= at);
    if ends {
        return cancel::at_scheduled_end(account, id, at);
    }
    if subscription["status"] == "trialing" && stops_after_trial(account, &subscription, at) {
        return;
    }
    let Some((start, next_end)) = next_period(&subscription, at) else {
        return;
    };
    let mut portions = cancel::unbilled(&subscription, at);
    portions.extend(fees(&subscription, at, next_end));
    let invoice = bill(account, &subscription, (start, at), portions, at);
    account.update(id, "customer.subscription.updated", |subscription| {
        shape::set_period(subscription, at, next_end);
        if subscription["status"] == "trialing" {
            subscription["status"] = "active".into();
        }
        if let Some(invoice) = invoice {
            subscription["latest_invoice"] = invoice.into();
        }
        subscription["_pending"] = json!([]);
    });
}

/// The start of the period that ends at `at`, and the end of the one that starts then.
fn next_period(subscription: &Value, at: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (start, _) = shape::period(subscription)?;
    let interval = shape::interval(subscription)?;
    let end = shape::anchor(subscription)?.next_after(interval, at);
    Some((start, end))
}

/// The licensed items for the period from `start` to `end`, which is short when a trial ended
/// before the anchor.
pub(crate) fn fees(subscription: &Value, start: DateTime<Utc>, end: DateTime<Utc>) -> Vec<Portion> {
    let whole_start = shape::anchor(subscription)
        .zip(shape::interval(subscription))
        .map_or(start, |(anchor, interval)| {
            anchor.last_until(interval, start)
        });
    let basis = if whole_start == start {
        Basis::Fee
    } else {
        let whole_seconds = (end - whole_start).num_seconds();
        Basis::Part {
            whole_seconds,
            change: false,
        }
    };
    shape::items(subscription)
        .iter()
        .filter(|item| !shape::is_metered(&item["price"]))
        .map(|item| cancel::portion(item, basis, start, end))
        .collect()
}

fn bill(
    account: &mut Account,
    subscription: &Value,
    period: (DateTime<Utc>, DateTime<Utc>),
    portions: Vec<Portion>,
    now: DateTime<Utc>,
) -> Option<String> {
    if portions.is_empty() {
        return None;
    }
    let behavior = subscription["pause_collection"]["behavior"].as_str();
    let collects = behavior.is_none() && subscription["status"] != "unpaid";
    let bill = Bill {
        subscription: subscription["id"].as_str()?,
        billing_reason: "subscription_cycle",
        period,
        portions,
        auto_advance: collects,
    };
    let invoice = draft::open(account, &bill, now);
    // "Immediately", says <https://docs.stripe.com/billing/subscriptions/pause-payment>.
    if matches!(behavior, Some("void" | "mark_uncollectible")) {
        write_off(account, &invoice, behavior == Some("void"), now);
    }
    Some(invoice)
}

fn write_off(account: &mut Account, invoice: &str, voids: bool, now: DateTime<Utc>) {
    if let Err(error) = finalize::finalize(account, invoice, now) {
        tracing::error!(invoice, error = error.message(), "a draft did not finalize");
    } else if voids {
        writeoff::void(account, invoice, now);
    } else {
        writeoff::mark_uncollectible(account, invoice, now);
    }
}

/// A trial that ends without a payment method may pause or end the subscription.
fn stops_after_trial(account: &mut Account, subscription: &Value, now: DateTime<Utc>) -> bool {
    let id = subscription["id"].as_str().unwrap_or_default();
    let as_invoice = json!({
        "customer": subscription["customer"],
        "parent": {"subscription_details": {"subscription": id}},
    });
    if payments::method_for(account, &as_invoice).is_some() {
        return false;
    }
    match subscription["trial_settings"]["end_behavior"]["missing_payment_method"].as_str() {
        Some("cancel") => cancel::after_trial(account, id, now),
        Some("pause") => super::pause::pause(account, id, now, "trial_end_without_payment_method"),
        _ => return false,
    }
    true
}
