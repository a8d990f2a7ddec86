//! Paused subscriptions: no periods, no invoices, until they are resumed.
//!
//! Source: <https://docs.stripe.com/api/subscriptions/resume>. What resuming costs is invoiced and
//! finalized at once; the subscription stays paused until that invoice is paid or given up as
//! uncollectible. Unpaid after 23 hours, it is voided and nothing was resumed.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::invoices::draft::{self, Bill};
use super::super::invoices::lines::Portion;
use super::super::invoices::{collect, finalize};
use super::super::periods::Anchor;
use super::super::times::moment;
use super::{cancel, cycle, shape};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::error::StripeError;

/// How long what resuming costs can be paid.
const RESUMPTION_FOR: TimeDelta = TimeDelta::hours(23);

/// Sets the status to `paused`, for `cause`.
pub(crate) fn pause(account: &mut Account, id: &str, now: DateTime<Utc>, cause: &str) {
    let paused = account.update(id, "customer.subscription.updated", |subscription| {
        subscription["status"] = "paused".into();
        subscription["status_details"] = json!({
            "paused": {
                "subscription": {"type": cause},
                "transitioned_at": now.timestamp(),
                "type": "subscription",
            },
        });
    });
    account.emit("customer.subscription.paused", &paused, None);
}

/// `POST /v1/subscriptions/{subscription}/pause`: bills the usage so far unless told otherwise.
pub(crate) fn pause_on_request(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let subscription = account.find("subscription", call.id())?.clone();
    if !matches!(
        subscription["status"].as_str(),
        Some("active" | "trialing" | "past_due")
    ) {
        let message = "Only a subscription that is active, trialing or past due can be paused.";
        return Err(StripeError::invalid(message));
    }
    let now = account.now_for(subscription["customer"].as_str().unwrap_or_default());
    let leaves_usage = call.object("bill_for").is_some_and(|bill| {
        bill.get("outstanding_usage_through")
            .is_some_and(|it| it["type"] == "none")
    });
    let portions = cancel::unbilled(&subscription, now);
    pause(account, call.id(), now, "pause_requested");
    if let (false, Some((start, _))) = (
        leaves_usage || portions.is_empty(),
        shape::period(&subscription),
    ) {
        let bill = Bill {
            subscription: call.id(),
            billing_reason: "subscription_update",
            period: (start, now),
            portions,
            auto_advance: true,
        };
        let invoice = draft::open(account, &bill, now);
        if let Some(subscription) = account.get_mut(call.id()) {
            subscription["latest_invoice"] = invoice.into();
        }
    }
    account.find("subscription", call.id()).cloned()
}

/// `POST /v1/subscriptions/{subscription}/resume`: a new period starts now, or the old ones go on
/// where `billing_cycle_anchor` is `unchanged`.
pub(crate) fn resume(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let subscription = account.find("subscription", call.id())?.clone();
    if subscription["status"] != "paused" {
        let message = "You can only resume a subscription that is paused.";
        return Err(StripeError::invalid(message));
    }
    let now = account.now_for(subscription["customer"].as_str().unwrap_or_default());
    let keeps_anchor = call
        .object("billing_cycle_anchor")
        .is_some_and(|anchor| anchor.get("type").is_some_and(|kind| kind == "unchanged"));
    let (anchor, interval) = shape::anchor(&subscription)
        .zip(shape::interval(&subscription))
        .ok_or_else(|| StripeError::invalid("The subscription has no items."))?;
    let anchor = if keeps_anchor {
        anchor
    } else {
        Anchor::at(now)
    };
    let end = anchor.next_after(interval, now);
    let terms =
        json!({"start": now.timestamp(), "end": end.timestamp(), "new_anchor": !keeps_anchor});
    let mut renewed = subscription;
    if !keeps_anchor {
        set_anchor(&mut renewed, &terms["start"]);
    }
    let portions = cycle::fees(&renewed, now, end);
    if portions.is_empty() {
        complete(account, call.id(), &terms);
    } else {
        charge(account, call.id(), portions, &terms, now)?;
    }
    account.find("subscription", call.id()).cloned()
}

/// Makes the subscription active on the terms that its resumption was asked for.
pub(crate) fn complete(account: &mut Account, id: &str, terms: &Value) {
    let Some((start, end)) = moment(&terms["start"]).zip(moment(&terms["end"])) else {
        return;
    };
    let resumed = account.update(id, "customer.subscription.updated", |subscription| {
        if terms["new_anchor"] == true {
            set_anchor(subscription, &terms["start"]);
        }
        shape::set_period(subscription, start, end);
        subscription["status"] = "active".into();
        subscription["status_details"] = Value::Null;
    });
    account.emit("customer.subscription.resumed", &resumed, None);
}

fn set_anchor(subscription: &mut Value, moment: &Value) {
    subscription["billing_cycle_anchor"] = moment.clone();
    subscription["billing_cycle_anchor_config"] = Value::Null;
}

/// The moment at which an invoice for a resumption is voided, if it is one and nobody pays.
pub(crate) fn lapses_at(invoice: &Value) -> Option<DateTime<Utc>> {
    let created = moment(&invoice["created"]).filter(|_| invoice["status"] == "open");
    created
        .filter(|_| !invoice["_resumes"].is_null())
        .map(|created| created + RESUMPTION_FOR)
}

fn charge(
    account: &mut Account,
    id: &str,
    portions: Vec<Portion>,
    terms: &Value,
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
    if let Some(invoice) = account.get_mut(&invoice) {
        invoice["_resumes"] = terms.clone();
    }
    if let Some(subscription) = account.get_mut(id) {
        subscription["latest_invoice"] = invoice.clone().into();
    }
    finalize::finalize(account, &invoice, now)?;
    collect::advance(account, &invoice, None, now);
    Ok(())
}
