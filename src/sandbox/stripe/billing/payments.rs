//! Charges: payment intents as far as invoices need them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::cards::{Decline, EnteredCard, Outcome, Presence, TestCard};
use super::charges;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::error::StripeError;

/// Why a payment did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Declined(Decline),
    NeedsAuthentication,
    /// The customer has no payment method.
    NothingToCharge,
}

impl Failure {
    /// The failure as the API answers it to a request that asked for the payment.
    pub(crate) fn error(self) -> StripeError {
        let detail = self.detail();
        if self == Self::NothingToCharge {
            return StripeError::invalid(detail.message).code(detail.code);
        }
        StripeError::card(detail.code, detail.reason, detail.message)
    }

    pub(crate) fn detail(self) -> Decline {
        match self {
            Self::Declined(decline) => decline,
            Self::NeedsAuthentication => Decline {
                code: "authentication_required",
                reason: Some("authentication_required"),
                message: "Your card was declined. This transaction requires authentication.",
            },
            Self::NothingToCharge => Decline {
                code: "resource_missing",
                reason: None,
                message: "This customer has no attached payment source or default payment method. \
                          Please consider adding a default payment method.",
            },
        }
    }
}

impl EnteredCard {
    /// Whether a charge on the card would succeed.
    pub(crate) fn authorize(&self, presence: Presence) -> Result<(), Failure> {
        outcome(self.card.charge(presence))
    }
}

fn outcome(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Paid => Ok(()),
        Outcome::NeedsAuthentication => Err(Failure::NeedsAuthentication),
        Outcome::Declined(decline) => Err(Failure::Declined(decline)),
    }
}

/// The payment method that an invoice is charged to: its own, its subscription's, or the
/// customer's default.
pub(crate) fn method_for(account: &Account, invoice: &Value) -> Option<String> {
    let of = |id: Option<&str>| {
        id.and_then(|id| account.get(id))
            .cloned()
            .unwrap_or_default()
    };
    let subscription = of(super::invoices::shape::subscription_of(invoice));
    let customer = of(invoice["customer"].as_str());
    [
        &invoice["default_payment_method"],
        &subscription["default_payment_method"],
        &customer["invoice_settings"]["default_payment_method"],
    ]
    .into_iter()
    .find_map(|method| method.as_str().map(str::to_owned))
}

/// Whether the saved card can be charged now. `present` tells that the consumer is on a page and
/// whether they have authenticated; `None` is a charge without them.
pub(crate) fn authorize(
    account: &Account,
    method: &str,
    present: Option<Presence>,
) -> Result<(), Failure> {
    let method = account.get(method).ok_or(Failure::NothingToCharge)?;
    let card = method["card"]["last4"]
        .as_str()
        .and_then(TestCard::by_last4);
    let set_up = method["_set_up"] == true;
    let presence = present.unwrap_or(Presence::OffSession { set_up });
    card.map_or(Err(Failure::NothingToCharge), |card| {
        outcome(card.charge(presence))
    })
}

/// Records an attempt on the invoice's payment intent, which all attempts share, and emits the
/// intent's events. Gives the intent's id.
pub(crate) fn record(
    account: &mut Account,
    invoice: &Value,
    method: Option<&str>,
    result: Result<(), Failure>,
    now: DateTime<Utc>,
) -> String {
    let intent = match invoice["_intent"].as_str() {
        Some(intent) => intent.to_owned(),
        None => open_intent(account, invoice, now),
    };
    let (status, event) = match result {
        Ok(()) => ("succeeded", "payment_intent.succeeded"),
        Err(Failure::NeedsAuthentication) => ("requires_action", "payment_intent.requires_action"),
        Err(Failure::Declined(_) | Failure::NothingToCharge) => {
            ("requires_payment_method", "payment_intent.payment_failed")
        }
    };
    if let Some(object) = account.get_mut(&intent) {
        object["status"] = status.into();
        object["payment_method"] = method.into();
        object["last_payment_error"] = result.err().map_or(Value::Null, last_error);
        if result.is_ok() {
            object["amount_received"] = invoice["amount_due"].clone();
        }
        let object = object.clone();
        if result.is_ok() {
            let charge = charges::open(account, &object, now);
            if let Some(object) = account.get_mut(&intent) {
                object["latest_charge"] = charge.into();
            }
        }
        if let Some(object) = account.get(&intent).cloned() {
            account.emit(event, &object, None);
        }
    }
    intent
}

fn last_error(failure: Failure) -> Value {
    let detail = failure.detail();
    json!({
        "type": "card_error",
        "code": detail.code,
        "decline_code": detail.reason,
        "message": detail.message,
    })
}

fn open_intent(account: &mut Account, invoice: &Value, now: DateTime<Utc>) -> String {
    let id = account.new_id("pi");
    let secret = account.new_id_of_length(&format!("{id}_secret"), 25);
    let intent = json!({
        "id": id,
        "object": "payment_intent",
        "amount": invoice["amount_due"],
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic",
        "client_secret": secret,
        "confirmation_method": "automatic",
        "created": now.timestamp(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription update",
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "metadata": {},
        "next_action": null,
        "payment_method": null,
        "payment_method_types": ["card"],
        "receipt_email": null,
        "setup_future_usage": "off_session",
        "status": "requires_payment_method",
    });
    account.create("payment_intent.created", intent);
    id
}
