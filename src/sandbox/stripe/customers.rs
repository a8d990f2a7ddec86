//! Customers, <https://docs.stripe.com/api/customers>.

use serde_json::{Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::changes::{new_metadata, update_metadata};
use super::error::StripeError;
use super::{billing, list};

const KIND: &str = "customer";

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/customers" => create,
    "GET /v1/customers" => all,
    "GET /v1/customers/{customer}" => retrieve,
    "POST /v1/customers/{customer}" => update,
    "DELETE /v1/customers/{customer}" => delete,
};

fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    if let Some(clock) = call.text("test_clock") {
        account.refer("test_helpers.test_clock", clock, "test_clock")?;
    }
    check_email(call)?;
    let mut customer = new(account);
    customer["metadata"] = new_metadata(call.param("metadata"))?;
    set_given(&mut customer, call);
    customer["test_clock"] = call.or_null("test_clock");
    if let Some(clock) = call.text("test_clock").and_then(|clock| account.get(clock)) {
        customer["created"] = clock["frozen_time"].clone();
    }
    let id = customer["id"].as_str().unwrap_or_default().to_owned();
    let customer = account.create("customer.created", customer);
    match call.text("payment_method") {
        None => Ok(customer),
        Some(method) => {
            billing::attach_payment_method(account, method, &id)?;
            account.find(KIND, &id).cloned()
        }
    }
}

/// An empty customer, not yet kept. Checkout makes customers too.
pub(crate) fn new(account: &mut Account) -> Value {
    let id = account.new_id_of_length("cus", 14);
    let prefix: String = account
        .new_id_of_length("", 8)
        .trim_start_matches('_')
        .to_uppercase();
    json!({
        "id": id,
        "object": KIND,
        "address": null,
        "balance": 0,
        "created": account.now().timestamp(),
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": null,
        "invoice_prefix": prefix,
        "invoice_settings": {
            "custom_fields": null,
            "default_payment_method": null,
            "footer": null,
            "rendering_options": null,
        },
        "livemode": false,
        "metadata": {},
        "name": null,
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    })
}

/// The parameters that become members as they are.
fn set_given(customer: &mut Value, call: &Call) {
    const PLAIN: [&str; 11] = [
        "address",
        "balance",
        "description",
        "email",
        "invoice_prefix",
        "name",
        "next_invoice_sequence",
        "phone",
        "preferred_locales",
        "shipping",
        "tax_exempt",
    ];
    for name in PLAIN {
        if let Some(value) = call.param(name) {
            customer[name] = value.clone();
        }
    }
    if let Some(settings) = call.object("invoice_settings") {
        for (name, value) in settings {
            customer["invoice_settings"][name] = value.clone();
        }
    }
}

fn check_email(call: &Call) -> Result<(), StripeError> {
    match call.text("email") {
        Some(email) if !email.contains('@') || email.contains(' ') || email.len() > 512 => {
            let message = format!("Invalid email address: {email}");
            Err(StripeError::invalid(message)
                .code("email_invalid")
                .param("email"))
        }
        _ => Ok(()),
    }
}

/// Customers of a test clock are listed only when their clock is asked for.
fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let email = call.param("email");
    let clock = call.or_null("test_clock");
    list::page(account, call, KIND, |customer| {
        customer["test_clock"] == clock && email.is_none_or(|email| customer["email"] == *email)
    })
}

/// A deleted customer is still found, as a stub.
fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    match account.get(call.id()) {
        Some(customer) if customer["object"] == KIND => Ok(customer.clone()),
        _ => Err(StripeError::missing(KIND, call.id())),
    }
}

fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = account.find(KIND, call.id())?;
    let mut metadata = customer["metadata"].clone();
    update_metadata(&mut metadata, call.param("metadata"))?;
    check_email(call)?;
    check_default_payment_method(account, call)?;
    Ok(account.update(call.id(), "customer.updated", |customer| {
        customer["metadata"] = metadata;
        set_given(customer, call);
    }))
}

fn check_default_payment_method(account: &Account, call: &Call) -> Result<(), StripeError> {
    const PARAM: &str = "invoice_settings[default_payment_method]";
    let Some(method) = call
        .object("invoice_settings")
        .and_then(|settings| settings.get("default_payment_method"))
        .and_then(Value::as_str)
    else {
        return Ok(());
    };
    let method = account.refer("payment_method", method, PARAM)?;
    if method["customer"] == call.id() {
        return Ok(());
    }
    let message = "The customer does not have a payment method with this ID.";
    Err(StripeError::invalid(message)
        .code("resource_missing")
        .param(PARAM))
}

/// Deleting a customer cancels its subscriptions at once.
fn delete(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = account.find(KIND, call.id())?.clone();
    billing::customer_deleted(account, call.id());
    let stub = json!({ "id": call.id(), "object": KIND, "deleted": true });
    account.insert(stub.clone());
    account.emit("customer.deleted", &customer, None);
    Ok(stub)
}
