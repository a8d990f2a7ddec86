//! The end of a subscription: at once, at a chosen moment, for non-payment.
//!
//! Source: <https://docs.stripe.com/billing/subscriptions/cancel>. An immediate cancellation bills
//! metered usage only when it is asked to (`invoice_now`), and stops the collection of all open
//! invoices. One at the period's end bills the last period's usage. Either way the last invoice is
//! a draft first, finalized like any other; Stripe does not document another rule.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::invoices::draft::{self, Bill};
use super::super::invoices::lines::{Basis, Portion};
use super::super::invoices::{shape as invoice_shape, writeoff};
use super::shape;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::error::StripeError;

/// `DELETE /v1/subscriptions/{subscription}`.
pub(crate) fn cancel(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let subscription = account.find("subscription", call.id())?.clone();
    if shape::has_ended(&subscription) {
        return Err(StripeError::missing("subscription", call.id()));
    }
    let now = account.now_for(subscription["customer"].as_str().unwrap_or_default());
    stop_collection(account, call.id());
    let id = call.id();
    let details = call.object("cancellation_details");
    end(account, id, now, "cancellation_requested");
    if let (Some(details), Some(object)) = (details, account.get_mut(id)) {
        for (name, value) in details {
            object["cancellation_details"][name] = value.clone();
        }
    }
    if call.flag("invoice_now") == Some(true) {
        let mut portions = unbilled(&subscription, now);
        if call.flag("prorate") == Some(true) {
            portions.extend(unused(&subscription, now));
        }
        final_invoice(account, &subscription, portions, "subscription_update", now);
    }
    let ended = account.find("subscription", id)?.clone();
    account.emit("customer.subscription.deleted", &ended, None);
    Ok(ended)
}

/// The scheduled end: usage up to it is billed like that of any period.
pub(crate) fn at_scheduled_end(account: &mut Account, id: &str, at: DateTime<Utc>) {
    let Some(subscription) = account.get(id).cloned() else {
        return;
    };
    end(account, id, at, "cancellation_requested");
    let portions = unbilled(&subscription, at);
    final_invoice(account, &subscription, portions, "subscription_cycle", at);
    announce(account, id);
}

/// The end without a last invoice.
pub(crate) fn at_once(account: &mut Account, id: &str, now: DateTime<Utc>) {
    stop_collection(account, id);
    end(account, id, now, "cancellation_requested");
    announce(account, id);
}

/// The end after the last retry of an invoice failed.
pub(crate) fn for_non_payment(account: &mut Account, id: &str, now: DateTime<Utc>) {
    stop_collection(account, id);
    end(account, id, now, "payment_failed");
    announce(account, id);
}

/// The end of a trial without a payment method, where that is the setting.
pub(crate) fn after_trial(account: &mut Account, id: &str, now: DateTime<Utc>) {
    end(account, id, now, "payment_failed");
    announce(account, id);
}

/// The first payment did not come within 23 hours.
pub(crate) fn expire_incomplete(account: &mut Account, id: &str, now: DateTime<Utc>) {
    let invoice = account
        .get(id)
        .and_then(|subscription| subscription["latest_invoice"].as_str())
        .map(str::to_owned);
    account.update(id, "customer.subscription.updated", |subscription| {
        subscription["status"] = "incomplete_expired".into();
        subscription["ended_at"] = now.timestamp().into();
    });
    if let Some(invoice) = invoice {
        writeoff::void(account, &invoice, now);
    }
}

fn announce(account: &mut Account, id: &str) {
    if let Some(ended) = account.get(id).cloned() {
        account.emit("customer.subscription.deleted", &ended, None);
    }
}

fn end(account: &mut Account, id: &str, now: DateTime<Utc>, reason: &str) {
    let Some(subscription) = account.get_mut(id) else {
        return;
    };
    subscription["status"] = "canceled".into();
    subscription["ended_at"] = now.timestamp().into();
    subscription["pause_collection"] = Value::Null;
    if subscription["canceled_at"].is_null() {
        subscription["canceled_at"] = now.timestamp().into();
    }
    if subscription["cancellation_details"]["reason"].is_null() {
        subscription["cancellation_details"]["reason"] = reason.into();
    }
}

/// What was used in the running period and not billed yet, and what waits for an invoice.
pub(crate) fn unbilled(subscription: &Value, now: DateTime<Utc>) -> Vec<Portion> {
    let mut portions = pending(subscription);
    let Some((start, _)) = shape::period(subscription) else {
        return portions;
    };
    if subscription["status"] == "trialing" || subscription["status"] == "paused" {
        return portions;
    }
    let metered = shape::items(subscription)
        .iter()
        .filter(|item| shape::is_metered(&item["price"]))
        .map(|item| portion(item, Basis::Usage, since(item, start), now));
    portions.extend(metered);
    portions
}

/// The start of the running period, or of the item if it was added within the period.
pub(crate) fn since(item: &Value, period_start: DateTime<Utc>) -> DateTime<Utc> {
    super::super::times::moment(&item["_since"])
        .unwrap_or(period_start)
        .max(period_start)
}

/// What was paid in advance for the rest of the running period.
pub(crate) fn unused(subscription: &Value, now: DateTime<Utc>) -> Vec<Portion> {
    let Some((start, end)) = shape::period(subscription) else {
        return Vec::new();
    };
    let whole_seconds = (end - start).num_seconds();
    shape::items(subscription)
        .iter()
        .filter(|item| !shape::is_metered(&item["price"]))
        .map(|item| portion(item, Basis::Credit { whole_seconds }, now, end))
        .collect()
}

/// The portions that changes have put aside for the next invoice.
pub(crate) fn pending(subscription: &Value) -> Vec<Portion> {
    serde_json::from_value(subscription["_pending"].clone()).unwrap_or_default()
}

pub(crate) fn portion(
    item: &Value,
    basis: Basis,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Portion {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Portion {
        item: text(&item["id"]),
        price: text(&item["price"]["id"]),
        quantity: item["quantity"].as_i64().unwrap_or_default(),
        start: start.timestamp(),
        end: end.timestamp(),
        basis,
    }
}

fn final_invoice(
    account: &mut Account,
    subscription: &Value,
    portions: Vec<Portion>,
    billing_reason: &str,
    now: DateTime<Utc>,
) {
    let Some((start, _)) = shape::period(subscription).filter(|_| !portions.is_empty()) else {
        return;
    };
    let id = subscription["id"].as_str().unwrap_or_default();
    let bill = Bill {
        subscription: id,
        billing_reason,
        period: (start, now),
        portions,
        auto_advance: subscription["status"] != "unpaid",
    };
    let invoice = draft::open(account, &bill, now);
    if let Some(subscription) = account.get_mut(id) {
        subscription["latest_invoice"] = invoice.into();
        subscription["_pending"] = json!([]);
    }
}

/// An immediate cancellation leaves the open invoices to the merchant.
fn stop_collection(account: &mut Account, subscription: &str) {
    let unsettled: Vec<String> = account
        .all("invoice")
        .filter(|invoice| invoice_shape::subscription_of(invoice) == Some(subscription))
        .filter(|invoice| invoice["status"] == "draft" || invoice["status"] == "open")
        .filter_map(|invoice| invoice["id"].as_str().map(str::to_owned))
        .collect();
    for id in unsettled {
        account.update(&id, "invoice.updated", |invoice| {
            invoice["auto_advance"] = false.into();
            invoice["automatically_finalizes_at"] = Value::Null;
            invoice["next_payment_attempt"] = Value::Null;
        });
    }
}
