//! Charges, and what takes them back: refunds and disputes.
//!
//! Sources: <https://docs.stripe.com/refunds>, <https://docs.stripe.com/disputes>, and for the card
//! whose payments are disputed as soon as they are made <https://docs.stripe.com/testing#disputes>.
//! Neither changes an invoice or a subscription: a merchant who wants that does it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::cards::TestCard;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

/// How long the merchant has to answer a dispute.
const EVIDENCE_WITHIN: TimeDelta = TimeDelta::days(7);

/// The charge of a payment intent that has just succeeded; its card may dispute it at once.
pub(crate) fn open(account: &mut Account, intent: &Value, now: DateTime<Utc>) -> String {
    let id = account.new_id("ch");
    let charge = json!({
        "id": id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": null,
        "captured": true,
        "created": now.timestamp(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": false,
        "failure_code": null,
        "failure_message": null,
        "livemode": false,
        "metadata": {},
        "paid": true,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "receipt_url": null,
        "refunded": false,
        "status": "succeeded",
    });
    let charge = account.create("charge.succeeded", charge);
    if is_disputed(account, &charge) {
        dispute(account, &charge, now);
    }
    id
}

fn is_disputed(account: &Account, charge: &Value) -> bool {
    charge["payment_method"]
        .as_str()
        .and_then(|method| account.get(method))
        .and_then(|method| method["card"]["last4"].as_str())
        .and_then(TestCard::by_last4)
        .is_some_and(|card| card.is_disputed())
}

fn dispute(account: &mut Account, charge: &Value, now: DateTime<Utc>) {
    let id = account.new_id("du");
    let dispute = json!({
        "id": id,
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now.timestamp(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": (now + EVIDENCE_WITHIN).timestamp(),
            "enhanced_eligibility": {},
            "has_evidence": false,
            "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "fraudulent",
        "status": "needs_response",
    });
    if let Some(charge) = charge["id"].as_str().and_then(|id| account.get_mut(id)) {
        charge["disputed"] = true.into();
    }
    let dispute = account.create("charge.dispute.created", dispute);
    account.emit("charge.dispute.funds_withdrawn", &dispute, None);
}

pub(crate) fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("charge", call.id()).cloned()
}

pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    filtered(account, call, "charge", &["customer", "payment_intent"])
}

pub(crate) fn retrieve_dispute(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("dispute", call.id()).cloned()
}

pub(crate) fn list_disputes(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    filtered(account, call, "dispute", &["charge", "payment_intent"])
}

/// `POST /v1/disputes/{dispute}`: the two texts by which a test decides how the bank decides.
/// <https://docs.stripe.com/testing#evidence>
pub(crate) fn update_dispute(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let text = call
        .object("evidence")
        .and_then(|evidence| evidence.get("uncategorized_text"))
        .and_then(Value::as_str);
    match text.filter(|_| call.flag("submit") != Some(false)) {
        Some("winning_evidence") => settle(account, call.id(), "won"),
        Some("losing_evidence") => settle(account, call.id(), "lost"),
        _ => account.find("dispute", call.id()).cloned(),
    }
}

/// `POST /v1/disputes/{dispute}/close`: the merchant gives up.
pub(crate) fn close_dispute(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    settle(account, call.id(), "lost")
}

fn settle(account: &mut Account, id: &str, status: &str) -> Result<Value, StripeError> {
    if account.find("dispute", id)?["status"] != "needs_response" {
        return Err(StripeError::invalid("This dispute is already closed"));
    }
    let closed = account.update(id, "charge.dispute.updated", |dispute| {
        dispute["status"] = status.into();
        dispute["evidence_details"]["has_evidence"] = true.into();
    });
    account.emit("charge.dispute.closed", &closed, None);
    if status == "won" {
        account.emit("charge.dispute.funds_reinstated", &closed, None);
    }
    Ok(closed)
}

pub(crate) fn retrieve_refund(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("refund", call.id()).cloned()
}

pub(crate) fn list_refunds(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    filtered(account, call, "refund", &["charge", "payment_intent"])
}

fn filtered(
    account: &Account,
    call: &Call,
    kind: &str,
    names: &[&str],
) -> Result<Value, StripeError> {
    list::page(account, call, kind, |object| {
        names
            .iter()
            .all(|name| call.text(name).is_none_or(|wanted| object[*name] == wanted))
    })
}

/// `POST /v1/refunds`: of a charge, or of the charge of a payment intent; all of what is left where
/// no amount is given.
pub(crate) fn create_refund(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let charge = refunded_charge(account, call)?;
    let number = |name: &str| charge[name].as_i64().unwrap_or_default();
    let left = number("amount") - number("amount_refunded");
    let amount = call.integer("amount").unwrap_or(left);
    if left == 0 || charge["disputed"] == true {
        let (code, why) = if left == 0 {
            ("charge_already_refunded", "has already been refunded")
        } else {
            (
                "charge_disputed",
                "has been charged back; cannot issue a refund",
            )
        };
        let id = charge["id"].as_str().unwrap_or_default();
        return Err(StripeError::invalid(format!("Charge {id} {why}.")).code(code));
    }
    if !(1..=left).contains(&amount) {
        let message = format!("Refund amount ({amount}) has to be between 1 and {left}.");
        return Err(StripeError::invalid(message).param("amount"));
    }
    let now = account.now_for(charge["customer"].as_str().unwrap_or_default());
    let id = account.new_id("re");
    let refund = json!({
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": null,
        "charge": charge["id"],
        "created": now.timestamp(),
        "currency": charge["currency"],
        "metadata": changes::new_metadata(call.param("metadata"))?,
        "payment_intent": charge["payment_intent"],
        "reason": call.or_null("reason"),
        "receipt_number": null,
        "status": "succeeded",
    });
    let refund = account.create("refund.created", refund);
    let charge_id = charge["id"].as_str().unwrap_or_default();
    account.update(charge_id, "charge.refunded", |charge| {
        charge["amount_refunded"] = (number("amount_refunded") + amount).into();
        charge["refunded"] = (amount == left).into();
    });
    Ok(refund)
}

fn refunded_charge(account: &Account, call: &Call) -> Result<Value, StripeError> {
    let id = match (call.text("charge"), call.text("payment_intent")) {
        (Some(_), Some(_)) => return Err(StripeError::exclusive("charge", "payment_intent")),
        (Some(charge), None) => charge,
        (None, Some(intent)) => {
            account.refer("payment_intent", intent, "payment_intent")?["latest_charge"]
                .as_str()
                .ok_or_else(|| {
                    StripeError::invalid("This PaymentIntent has no successful charge.")
                })?
        }
        (None, None) => return Err(StripeError::missing_param("charge")),
    };
    account.refer("charge", id, "charge").cloned()
}
