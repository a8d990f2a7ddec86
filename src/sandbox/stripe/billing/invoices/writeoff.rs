//! Invoices that will not be paid: voided, or given up as uncollectible.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::subscriptions::standing;
use crate::sandbox::stripe::account::Account;

/// Voids an open invoice; any other is left alone.
pub(crate) fn void(account: &mut Account, id: &str, now: DateTime<Utc>) {
    close(account, id, "void", "voided_at", now);
}

/// Gives up an open invoice; any other is left alone.
pub(crate) fn mark_uncollectible(account: &mut Account, id: &str, now: DateTime<Utc>) {
    close(account, id, "uncollectible", "marked_uncollectible_at", now);
}

fn close(account: &mut Account, id: &str, status: &str, transition: &str, now: DateTime<Utc>) {
    let is_unpaid = account
        .get(id)
        .is_some_and(|invoice| invoice["status"] == "open" || invoice["status"] == "uncollectible");
    if !is_unpaid {
        return;
    }
    let closed = account.update(id, "invoice.updated", |invoice| {
        invoice["status"] = status.into();
        invoice["auto_advance"] = false.into();
        invoice["next_payment_attempt"] = Value::Null;
        invoice["status_transitions"][transition] = now.timestamp().into();
        if status == "void" {
            invoice["amount_remaining"] = 0.into();
        }
    });
    let event = if status == "void" {
        "invoice.voided"
    } else {
        "invoice.marked_uncollectible"
    };
    account.emit(event, &closed, None);
    standing::after_settlement(account, &closed);
}
