//! Checkout sessions in mode `subscription`.
//!
//! Source: <https://docs.stripe.com/api/checkout/sessions>. The subscription comes into being only
//! when the consumer has completed the payment; a declined card leaves nothing behind.

pub(crate) mod complete;
pub(crate) mod create;
pub(crate) mod page;
pub(crate) mod shape;

use serde_json::Value;

use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

pub(crate) const KIND: &str = "checkout.session";

pub(crate) fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    list::page(account, call, KIND, |session| {
        let fits = |name: &str| call.text(name).is_none_or(|wanted| session[name] == wanted);
        let email = call
            .object("customer_details")
            .and_then(|details| details.get("email"));
        fits("customer")
            && fits("subscription")
            && fits("status")
            && email.is_none_or(|email| session["customer_details"]["email"] == *email)
    })
}

/// `GET /v1/checkout/sessions/{session}/line_items`.
pub(crate) fn line_items(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let session = account.find(KIND, call.id())?;
    let items = session["line_items"]["data"].as_array().cloned();
    list::page_of(items.unwrap_or_default(), call)
}

/// `POST /v1/checkout/sessions/{session}`: only the metadata can be changed.
pub(crate) fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let mut metadata = account.find(KIND, call.id())?["metadata"].clone();
    changes::update_metadata(&mut metadata, call.param("metadata"))?;
    if let Some(session) = account.get_mut(call.id()) {
        session["metadata"] = metadata;
    }
    account.find(KIND, call.id()).cloned()
}

/// `POST /v1/checkout/sessions/{session}/expire`.
pub(crate) fn expire(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let status = account.find(KIND, call.id())?["status"]
        .as_str()
        .unwrap_or_default();
    if status != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout \
             Session has a status of `{status}`."
        );
        return Err(StripeError::invalid(message));
    }
    expire_session(account, call.id());
    account.find(KIND, call.id()).cloned()
}

/// Ends an open session.
pub(crate) fn expire_session(account: &mut Account, id: &str) {
    if let Some(session) = account.get_mut(id) {
        session["status"] = "expired".into();
        session["url"] = Value::Null;
        let session = session.clone();
        account.emit("checkout.session.expired", &session, None);
    }
}
