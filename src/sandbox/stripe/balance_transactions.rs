//! Changes of a customer's balance, <https://docs.stripe.com/api/customer_balance_transactions>.
//!
//! What is more on the balance is added to the customer's next invoice, what is less is taken from it
//! (<https://docs.stripe.com/billing/customer/balance>).

use serde_json::{Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::changes::new_metadata;
use super::error::StripeError;
use super::list;

const KIND: &str = "customer_balance_transaction";

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/customers/{customer}/balance_transactions" => create,
    "GET /v1/customers/{customer}/balance_transactions" => all,
};

fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = account.find("customer", call.id())?;
    let amount = call
        .param("amount")
        .and_then(Value::as_i64)
        .ok_or_else(|| StripeError::missing_param("amount"))?;
    let currency = call
        .text("currency")
        .ok_or_else(|| StripeError::missing_param("currency"))?
        .to_lowercase();
    if customer["currency"]
        .as_str()
        .is_some_and(|own| own != currency)
    {
        let message = "You cannot combine currencies on a single customer.";
        return Err(StripeError::invalid(message).param("currency"));
    }
    let ending = customer["balance"].as_i64().unwrap_or_default() + amount;
    let metadata = new_metadata(call.param("metadata"))?;
    let transaction = json!({
        "id": account.new_id("cbtxn"),
        "object": KIND,
        "amount": amount,
        "created": account.now_for(call.id()).timestamp(),
        "credit_note": null,
        "currency": currency,
        "customer": call.id(),
        "description": call.or_null("description"),
        "ending_balance": ending,
        "invoice": null,
        "livemode": false,
        "metadata": metadata,
        "type": "adjustment",
    });
    account.insert(transaction.clone());
    account.update(call.id(), "customer.updated", |customer| {
        customer["balance"] = ending.into();
    });
    Ok(transaction)
}

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("customer", call.id())?;
    list::page(account, call, KIND, |transaction| {
        transaction["customer"] == call.id()
    })
}
