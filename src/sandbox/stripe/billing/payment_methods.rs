//! Payment methods: cards, saved on a customer.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::{Value, json};

use super::cards::{EnteredCard, Outcome, TestCard};
use super::payments::Failure;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

/// How long a ready-made test card is good for.
const READY_MADE_YEARS: i32 = 3;

pub(crate) fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("payment_method", call.id()).cloned()
}

pub(crate) fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let mut metadata = account.find("payment_method", call.id())?["metadata"].clone();
    changes::update_metadata(&mut metadata, call.param("metadata"))?;
    Ok(
        account.update(call.id(), "payment_method.updated", |method| {
            method["metadata"] = metadata;
        }),
    )
}

pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = call.text("customer");
    list::page(account, call, "payment_method", |method| {
        customer.map_or(!method["customer"].is_null(), |customer| {
            method["customer"] == customer
        })
    })
}

/// `GET /v1/customers/{customer}/payment_methods`.
pub(crate) fn list_of_customer(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("customer", call.id())?;
    list::page(account, call, "payment_method", |method| {
        method["customer"] == call.id()
    })
}

/// `GET /v1/customers/{customer}/payment_methods/{payment_method}`.
pub(crate) fn retrieve_of_customer(
    account: &mut Account,
    call: &Call,
) -> Result<Value, StripeError> {
    let id = call.ids.get(1).map_or("", String::as_str);
    let method = account.find("payment_method", id)?;
    if method["customer"] == call.id() {
        Ok(method.clone())
    } else {
        Err(StripeError::missing("PaymentMethod", id))
    }
}

/// `POST /v1/payment_methods/{payment_method}/attach`.
pub(crate) fn attach(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = call
        .text("customer")
        .ok_or_else(|| StripeError::missing_param("customer"))?;
    account.refer("customer", customer, "customer")?;
    attach_to(account, call.id(), customer)
}

/// Attaches a payment method, or makes one of a ready-made test card. A customer that names the
/// test card as its default gets the method that was made of it.
pub(crate) fn attach_to(
    account: &mut Account,
    given: &str,
    customer: &str,
) -> Result<Value, StripeError> {
    let now = account.now_for(customer);
    let id = match TestCard::by_token(given) {
        Some(card) => ready_made(account, card, now),
        None => given.to_owned(),
    };
    let method = account.find("payment_method", &id)?;
    if !method["customer"].is_null() && method["customer"] != customer {
        let message = "The payment method you provided has already been attached to a customer.";
        return Err(StripeError::invalid(message));
    }
    let card = method["card"]["last4"]
        .as_str()
        .and_then(TestCard::by_last4);
    if let Some(Outcome::Declined(decline)) = card.map(|card| card.save(true)) {
        return Err(Failure::Declined(decline).error());
    }
    if let Some(customer) = account.get_mut(customer) {
        let default = &mut customer["invoice_settings"]["default_payment_method"];
        if *default == given {
            *default = id.clone().into();
        }
    }
    Ok(give_to(account, &id, customer))
}

pub(crate) fn detach(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let method = account.find("payment_method", call.id())?.clone();
    let Some(customer) = method["customer"].as_str() else {
        let message = "The payment method you provided is not attached to a customer so \
                       detachment is impossible.";
        return Err(StripeError::invalid(message));
    };
    if account
        .get(customer)
        .is_some_and(|it| it["object"] == "customer" && it["deleted"] != true)
    {
        account.update(customer, "customer.updated", |customer| {
            let default = &mut customer["invoice_settings"]["default_payment_method"];
            if *default == method["id"] {
                *default = Value::Null;
            }
        });
    }
    if let Some(method) = account.get_mut(call.id()) {
        method["customer"] = Value::Null;
    }
    let method = account.find("payment_method", call.id())?.clone();
    account.emit("payment_method.detached", &method, None);
    Ok(method)
}

/// The payment method that parameter `param` names: one of the customer's own, or a ready-made
/// test card, which becomes one of them.
pub(crate) fn resolve(
    account: &mut Account,
    customer: &str,
    id: &str,
    param: &str,
) -> Result<String, StripeError> {
    if let Some(card) = TestCard::by_token(id) {
        if let Outcome::Declined(decline) = card.save(true) {
            return Err(Failure::Declined(decline).error());
        }
        let now = account.now_for(customer);
        let id = ready_made(account, card, now);
        give_to(account, &id, customer);
        return Ok(id);
    }
    let method = account.refer("payment_method", id, param)?;
    if method["customer"] != customer {
        let message = format!(
            "The customer does not have a payment method with the ID {id}. The payment method must \
             be attached to the customer."
        );
        return Err(StripeError::invalid(message)
            .code("resource_missing")
            .param(param));
    }
    Ok(id.to_owned())
}

/// Saves an entered card on a customer and gives its id; `set_up` when the consumer authenticated.
pub(crate) fn save(
    account: &mut Account,
    customer: &str,
    entered: EnteredCard,
    set_up: bool,
    now: DateTime<Utc>,
) -> String {
    let email = account
        .get(customer)
        .map_or(Value::Null, |customer| customer["email"].clone());
    let id = account.new_id("pm");
    let expiry = (entered.expiry_month, entered.expiry_year);
    let mut method = method(&id, entered.card, expiry, now);
    method["billing_details"]["email"] = email;
    method["_set_up"] = set_up.into();
    account.insert(method);
    give_to(account, &id, customer);
    id
}

fn give_to(account: &mut Account, id: &str, customer: &str) -> Value {
    if let Some(method) = account.get_mut(id) {
        method["customer"] = customer.into();
    }
    let method = account.get(id).cloned().unwrap_or_default();
    account.emit("payment_method.attached", &method, None);
    method
}

fn ready_made(account: &mut Account, card: TestCard, now: DateTime<Utc>) -> String {
    let id = account.new_id("pm");
    let later = now + TimeDelta::days(1);
    account.insert(method(
        &id,
        card,
        (later.month(), later.year() + READY_MADE_YEARS),
        now,
    ));
    id
}

fn method(id: &str, card: TestCard, (month, year): (u32, i32), now: DateTime<Utc>) -> Value {
    json!({
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": null, "email": null, "name": null, "phone": null, "tax_id": null,
        },
        "card": {
            "brand": card.brand,
            "checks": {
                "address_line1_check": null, "address_postal_code_check": null,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": card.brand,
            "exp_month": month,
            "exp_year": year,
            "fingerprint": format!("sandbox{}", card.last4()),
            "funding": "credit",
            "generated_from": null,
            "last4": card.last4(),
            "networks": {"available": [card.brand], "preferred": null},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": true},
            "wallet": null,
        },
        "created": now.timestamp(),
        "customer": null,
        "customer_account": null,
        "livemode": false,
        "metadata": {},
        "type": "card",
    })
}
