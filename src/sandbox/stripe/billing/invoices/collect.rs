//! Collection: charging open invoices, and what follows from success and failure.
//!
//! Retries are Stripe's smart retries with their choice of moments replaced by fixed ones: 1, 3, 5
//! and 7 days after the first attempt. What happens to the subscription after the last one is a
//! setting of the account.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::super::cards::Presence;
use super::super::payments::{self, Failure};
use super::super::subscriptions::standing;
use super::super::times::moment;
use super::shape;
use crate::sandbox::stripe::account::Account;

/// When automatic retries happen, in days after the first attempt.
const RETRIES_AFTER_DAYS: [i64; 4] = [1, 3, 5, 7];

/// Charges an open invoice that collects itself. A failure is on the invoice afterwards.
pub(crate) fn advance(
    account: &mut Account,
    id: &str,
    present: Option<Presence>,
    now: DateTime<Utc>,
) {
    let Some(invoice) = account.get(id).filter(|invoice| collects_itself(invoice)) else {
        return;
    };
    let method = payments::method_for(account, invoice);
    if let Some(invoice) = account.get_mut(id) {
        let attempts = invoice["_automatic_attempts"].as_u64().unwrap_or_default();
        invoice["_automatic_attempts"] = (attempts + 1).into();
    }
    if let Err(failure) = attempt(account, id, method.as_deref(), present, now) {
        tracing::debug!(
            invoice = id,
            ?failure,
            "the sandbox could not collect an invoice"
        );
    }
}

/// Charges an open invoice to a payment method.
pub(crate) fn attempt(
    account: &mut Account,
    id: &str,
    method: Option<&str>,
    present: Option<Presence>,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let invoice = account.get(id).cloned().unwrap_or_default();
    let result = match method {
        Some(method) => payments::authorize(account, method, present),
        None => Err(Failure::NothingToCharge),
    };
    let intent = payments::record(account, &invoice, method, result, now);
    note_attempt(account, id, &intent, now);
    match result {
        Ok(()) => mark_paid(account, id, now),
        Err(failure) => mark_failed(account, id, failure, now),
    }
    result
}

/// The invoice names its payment, and counts the attempt.
fn note_attempt(account: &mut Account, id: &str, intent: &str, now: DateTime<Utc>) {
    let payment_id = account.new_id("inpay");
    let Some(invoice) = account.get_mut(id) else {
        return;
    };
    let count = invoice["attempt_count"].as_u64().unwrap_or_default();
    invoice["attempt_count"] = (count + 1).into();
    if invoice["_intent"].is_null() {
        invoice["_intent"] = intent.into();
        let payment = shape::payment(&payment_id, invoice, intent, now);
        invoice["payments"]["data"] = Value::Array(vec![payment]);
        invoice["payments"]["total_count"] = 1.into();
    }
    if invoice["_first_attempt"].is_null() {
        invoice["_first_attempt"] = now.timestamp().into();
    }
}

/// The invoice is settled: paid by a charge, or nothing was due.
pub(crate) fn mark_paid(account: &mut Account, id: &str, now: DateTime<Utc>) {
    let paid = account.update(id, "invoice.updated", |invoice| {
        invoice["status"] = "paid".into();
        invoice["attempted"] = true.into();
        invoice["amount_paid"] = invoice["amount_due"].clone();
        invoice["amount_remaining"] = 0.into();
        invoice["auto_advance"] = false.into();
        invoice["next_payment_attempt"] = Value::Null;
        invoice["status_transitions"]["paid_at"] = now.timestamp().into();
        if let Some(payment) = invoice.pointer_mut("/payments/data/0") {
            payment["status"] = "paid".into();
            payment["amount_paid"] = payment["amount_requested"].clone();
            payment["status_transitions"]["paid_at"] = now.timestamp().into();
        }
    });
    account.emit("invoice.paid", &paid, None);
    account.emit("invoice.payment_succeeded", &paid, None);
    standing::after_settlement(account, &paid);
}

fn mark_failed(account: &mut Account, id: &str, failure: Failure, now: DateTime<Utc>) {
    let failed = account.update(id, "invoice.updated", |invoice| {
        invoice["attempted"] = true.into();
        invoice["next_payment_attempt"] =
            next_attempt(invoice).map_or(Value::Null, |next| next.timestamp().into());
    });
    account.emit("invoice.payment_failed", &failed, None);
    if failure == Failure::NeedsAuthentication {
        account.emit("invoice.payment_action_required", &failed, None);
    }
    standing::after_failure(account, &failed, now);
}

/// When the next automatic attempt is due. The first invoice of a subscription, and that of a
/// resumption, have none: they have 23 hours to be paid.
fn next_attempt(invoice: &Value) -> Option<DateTime<Utc>> {
    let is_first = invoice["billing_reason"] == "subscription_create";
    let resumes = !invoice["_resumes"].is_null();
    if is_first || resumes || invoice["auto_advance"] != true {
        return None;
    }
    let attempts = invoice["_automatic_attempts"].as_u64().unwrap_or_default();
    let retry = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let days = RETRIES_AFTER_DAYS.get(retry)?;
    moment(&invoice["_first_attempt"]).map(|first| first + TimeDelta::days(*days))
}

/// When an open invoice is charged again by itself.
pub(crate) fn retries_at(invoice: &Value) -> Option<DateTime<Utc>> {
    moment(&invoice["next_payment_attempt"]).filter(|_| collects_itself(invoice))
}

fn collects_itself(invoice: &Value) -> bool {
    invoice["status"] == "open"
        && invoice["auto_advance"] == true
        && invoice["collection_method"] != "send_invoice"
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::next_attempt;

    #[test]
    fn retries_come_1_3_5_and_7_days_after_the_first_attempt_and_then_end() {
        let days = |attempts: u64| {
            let invoice = json!({
                "billing_reason": "subscription_cycle", "auto_advance": true,
                "_automatic_attempts": attempts, "_first_attempt": 0,
            });
            next_attempt(&invoice).map(|at| at.signed_duration_since(chrono::DateTime::UNIX_EPOCH))
        };
        assert_eq!(days(1), Some(TimeDelta::days(1)));
        assert_eq!(days(4), Some(TimeDelta::days(7)));
        assert_eq!(days(5), None);
    }

    #[test]
    fn a_first_invoice_is_not_retried() {
        let invoice = json!({
            "billing_reason": "subscription_create", "auto_advance": true,
            "_automatic_attempts": 1, "_first_attempt": 0,
        });
        assert_eq!(next_attempt(&invoice), None);
    }
}
