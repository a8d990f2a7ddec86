//! How the payment of an invoice changes a subscription's status.
//!
//! Source: <https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>. The
//! latest finalized invoice decides: while it is open after a failed attempt, the subscription is
//! past due or worse; once it is paid, voided or written off, the subscription is active again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::invoices::shape::subscription_of;
use super::{cancel, pause};
use crate::sandbox::stripe::account::Account;

/// What becomes of a subscription when the last retry of an invoice failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AfterRetries {
    #[default]
    Unpaid,
    Cancel,
    LeavePastDue,
    Pause,
}

/// After an invoice was paid, voided or marked uncollectible.
pub(crate) fn after_settlement(account: &mut Account, invoice: &Value) {
    let Some(id) = subscription_of(invoice).map(str::to_owned) else {
        return;
    };
    let Some(subscription) = account.get(&id) else {
        return;
    };
    if subscription["status"] == "paused" && !invoice["_resumes"].is_null() {
        if invoice["status"] != "void" {
            pause::complete(account, &id, &invoice["_resumes"]);
        }
        return;
    }
    let recovers = match subscription["status"].as_str() {
        Some("incomplete") => invoice["status"] == "paid",
        Some("past_due" | "unpaid") => is_latest(account, &id, invoice),
        _ => false,
    };
    if recovers {
        set_status(account, &id, "active");
        set_delinquent(account, invoice, false);
    }
}

/// After a charge failed.
pub(crate) fn after_failure(account: &mut Account, invoice: &Value, now: DateTime<Utc>) {
    if invoice["billing_reason"] == "subscription_create" {
        return;
    }
    let Some(id) = subscription_of(invoice).map(str::to_owned) else {
        return;
    };
    let status = account.get(&id).and_then(|it| it["status"].as_str());
    if matches!(status, Some("active" | "trialing")) {
        set_status(account, &id, "past_due");
    }
    set_delinquent(account, invoice, true);
    let retries_ended =
        invoice["next_payment_attempt"].is_null() && invoice["auto_advance"] == true;
    let is_past_due = account
        .get(&id)
        .is_some_and(|it| it["status"] == "past_due");
    if retries_ended && is_past_due {
        match account.books.billing.after_retries {
            AfterRetries::Unpaid => set_status(account, &id, "unpaid"),
            AfterRetries::Cancel => cancel::for_non_payment(account, &id, now),
            AfterRetries::LeavePastDue => {}
            AfterRetries::Pause => pause::pause(account, &id, now, "final_payment_failure"),
        }
    }
}

/// Whether no invoice of the subscription was finalized after this one.
fn is_latest(account: &Account, subscription: &str, invoice: &Value) -> bool {
    let finalized = |invoice: &Value| invoice["status_transitions"]["finalized_at"].as_i64();
    account
        .all("invoice")
        .filter(|other| subscription_of(other) == Some(subscription))
        .filter(|other| other["id"] != invoice["id"] && other["status"] != "void")
        .all(|other| finalized(other) <= finalized(invoice))
}

fn set_status(account: &mut Account, id: &str, status: &str) {
    account.update(id, "customer.subscription.updated", |subscription| {
        subscription["status"] = status.into();
    });
}

fn set_delinquent(account: &mut Account, invoice: &Value, delinquent: bool) {
    let customer = invoice["customer"].as_str().unwrap_or_default();
    if let Some(customer) = account.get_mut(customer).filter(|it| it["deleted"] != true) {
        customer["delinquent"] = delinquent.into();
    }
}
