//! Completion: the consumer pays, and the subscription comes into being.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::cards::{EnteredCard, Presence};
use super::super::payment_methods;
use super::super::payments::Failure;
use super::super::subscriptions::open;
use super::super::subscriptions::order::{Order, OrderedItem};
use super::{KIND, create, shape};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::customers;
use crate::sandbox::stripe::error::StripeError;

/// Who completes a session, and with what.
pub(crate) struct Buyer {
    pub(crate) email: String,
    pub(crate) name: Option<String>,
    /// `None` where the session needs no card.
    pub(crate) card: Option<EnteredCard>,
    pub(crate) authenticated: bool,
}

/// Why a completion did not come about; the session stays open.
#[derive(Debug)]
pub(crate) enum Incomplete {
    Payment(Failure),
    /// The order no longer makes sense: a price was deactivated, an anchor passed.
    Order(StripeError),
}

/// Opens the subscription of an open session and emits `checkout.session.completed`.
pub(crate) fn complete(account: &mut Account, id: &str, buyer: &Buyer) -> Result<(), Incomplete> {
    let session = account.find(KIND, id).map_err(Incomplete::Order)?.clone();
    let now = account.now_for(session["customer"].as_str().unwrap_or_default());
    if let Some(entered) = buyer.card {
        let authenticated = buyer.authenticated;
        entered
            .authorize(Presence::OnSession { authenticated })
            .map_err(Incomplete::Payment)?;
    }
    let mut order = order_of(account, &session, now).map_err(Incomplete::Order)?;
    let due = order.due(account).map_err(Incomplete::Order)?;
    let customer = match session["customer"].as_str() {
        Some(customer) => {
            give_email(account, customer, buyer);
            customer.to_owned()
        }
        None => new_customer(account, buyer),
    };
    if let Some(entered) = buyer.card {
        let set_up = buyer.authenticated;
        let method = payment_methods::save(account, &customer, entered, set_up, now);
        order
            .members
            .insert("default_payment_method".into(), method.into());
    }
    order.customer = customer;
    let subscription = open::open(account, &order).map_err(Incomplete::Order)?;
    finish(account, id, &subscription, buyer, due);
    Ok(())
}

/// The order that the session stands for, as of `now`.
pub(crate) fn order_of(
    account: &Account,
    session: &Value,
    now: DateTime<Utc>,
) -> Result<Order, StripeError> {
    let lines = session["line_items"]["data"].as_array();
    let items = lines
        .into_iter()
        .flatten()
        .map(|line| OrderedItem {
            price: line["price"].clone(),
            quantity: line["quantity"].as_i64(),
            metadata: Value::Object(Map::new()),
        })
        .collect();
    let none = Map::new();
    let data = session["_subscription_data"].as_object().unwrap_or(&none);
    create::order(account, session["customer"].as_str(), items, data, now)
}

/// "If the Customer does not have a valid email, Checkout will set the email entered during the session
/// on the Customer" (Stripe's reference on the session's `customer`).
fn give_email(account: &mut Account, customer: &str, buyer: &Buyer) {
    account.update(customer, "customer.updated", |customer| {
        if customer["email"].is_null() {
            customer["email"] = buyer.email.clone().into();
        }
    });
}

fn new_customer(account: &mut Account, buyer: &Buyer) -> String {
    let mut customer = customers::new(account);
    customer["email"] = buyer.email.clone().into();
    customer["name"] = buyer.name.clone().into();
    let id = customer["id"].as_str().unwrap_or_default().to_owned();
    account.create("customer.created", customer);
    id
}

fn finish(account: &mut Account, id: &str, subscription: &str, buyer: &Buyer, due: i64) {
    let opened = account.get(subscription).cloned().unwrap_or_default();
    let Some(session) = account.get_mut(id) else {
        return;
    };
    session["status"] = "complete".into();
    session["url"] = Value::Null;
    session["customer"] = opened["customer"].clone();
    session["subscription"] = subscription.into();
    session["invoice"] = opened["latest_invoice"].clone();
    session["payment_status"] = if due > 0 {
        "paid"
    } else {
        "no_payment_required"
    }
    .into();
    let name = buyer.name.clone().map_or(Value::Null, Value::from);
    session["customer_details"] = shape::customer_details(&buyer.email.as_str().into(), &name);
    let session = session.clone();
    account.emit("checkout.session.completed", &session, None);
}
