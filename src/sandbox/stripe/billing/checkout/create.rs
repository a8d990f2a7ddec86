//! `POST /v1/checkout/sessions`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::super::invoices::lines;
use super::super::subscriptions::create::{recurring_price, terms};
use super::super::subscriptions::order::{FirstPayment, Order, OrderedItem};
use super::super::subscriptions::shape::is_metered;
use super::shape::{self, Opening};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

const SHORTEST: TimeDelta = TimeDelta::minutes(30);
const LONGEST: TimeDelta = TimeDelta::hours(24);
const MOST_LINE_ITEMS: usize = 20;

pub(crate) fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    check_mode(call)?;
    check_customer(account, call)?;
    let customer = call.text("customer").unwrap_or_default();
    let now = account.now_for(customer);
    let expires_at = expiry(call, now)?;
    let items = ordered_items(account, call.list("line_items"))?;
    let none = Map::new();
    let data = call.object("subscription_data").unwrap_or(&none);
    let order = order(account, call.text("customer"), items, data, now)?;
    let due = order.due(account)?;
    let id = account.new_id_of_length("cs_test", 58);
    let line_items = line_items(account, &order, &id)?;
    let opening = Opening {
        id: &id,
        url: format!("{}/c/pay/{id}", account.addresses.stripe),
        now,
        expires_at,
        currency: order.items[0].price["currency"].clone(),
        due,
        customer_email: email_of(account, call),
        line_items,
    };
    let mut session = shape::session(&opening, call);
    session["metadata"] = changes::new_metadata(call.param("metadata"))?;
    session["_subscription_data"] = Value::Object(data.clone());
    account.insert(session.clone());
    Ok(session)
}

fn check_mode(call: &Call) -> Result<(), StripeError> {
    match call.text("mode") {
        Some("subscription") => {}
        Some(mode) => {
            let message = format!("The sandbox knows only mode subscription, not {mode}.");
            return Err(StripeError::invalid(message).param("mode"));
        }
        None => return Err(StripeError::missing_param("mode")),
    }
    if let Some(mode) = call.text("ui_mode").filter(|mode| *mode != "hosted_page") {
        let message = format!("The sandbox knows only ui_mode hosted_page, not {mode}.");
        return Err(StripeError::invalid(message).param("ui_mode"));
    }
    if let Some(name) = [
        "payment_intent_data",
        "setup_intent_data",
        "invoice_creation",
    ]
    .iter()
    .find(|name| call.param(name).is_some())
    {
        let message = format!("You can not pass `{name}` in `subscription` mode.");
        return Err(StripeError::invalid(message).param(name));
    }
    if call.text("success_url").is_none() {
        return Err(StripeError::missing_param("success_url"));
    }
    for name in ["success_url", "cancel_url"] {
        check_url(call, name)?;
    }
    Ok(())
}

fn check_url(call: &Call, name: &str) -> Result<(), StripeError> {
    let is_url = |text: &str| {
        url::Url::parse(&text.replace("{CHECKOUT_SESSION_ID}", "id"))
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    };
    if call.text(name).is_none_or(is_url) {
        return Ok(());
    }
    let message = "Not a valid URL. URLs must begin with http:// or https://.";
    Err(StripeError::invalid(message)
        .code("url_invalid")
        .param(name))
}

fn check_customer(account: &Account, call: &Call) -> Result<(), StripeError> {
    match (call.text("customer"), call.text("customer_email")) {
        (Some(_), Some(_)) => Err(StripeError::exclusive("customer", "customer_email")),
        (Some(customer), None) => {
            account.refer("customer", customer, "customer")?;
            Ok(())
        }
        (None, _) if call.param("customer_update").is_some() => {
            let message = "`customer_update` can only be used with `customer`.";
            Err(StripeError::invalid(message).param("customer_update"))
        }
        (None, Some(email)) if !email.contains('@') => {
            let message = format!("Invalid email address: {email}");
            Err(StripeError::invalid(message)
                .code("email_invalid")
                .param("customer_email"))
        }
        (None, _) => Ok(()),
    }
}

fn expiry(call: &Call, now: DateTime<Utc>) -> Result<DateTime<Utc>, StripeError> {
    let expires_at = call.time("expires_at").unwrap_or(now + LONGEST);
    let complaint = if expires_at < now + SHORTEST {
        "at least 30 minutes"
    } else if expires_at > now + LONGEST {
        "less than 24 hours"
    } else {
        return Ok(expires_at);
    };
    let message =
        format!("The `expires_at` timestamp must be {complaint} from Checkout Session creation.");
    Err(StripeError::invalid(message).param("expires_at"))
}

fn ordered_items(account: &Account, given: &[Value]) -> Result<Vec<OrderedItem>, StripeError> {
    if given.is_empty() {
        return Err(StripeError::missing_param("line_items"));
    }
    if given.len() > MOST_LINE_ITEMS {
        let message = format!("`line_items` can have up to {MOST_LINE_ITEMS} items.");
        return Err(StripeError::invalid(message).param("line_items"));
    }
    let items: Vec<OrderedItem> = given
        .iter()
        .enumerate()
        .map(|(index, item)| ordered_item(account, item, &format!("line_items[{index}]")))
        .collect::<Result<_, _>>()?;
    if items
        .iter()
        .any(|item| item.price["currency"] != items[0].price["currency"])
    {
        let message = "All line items must have the same currency.";
        return Err(StripeError::invalid(message).param("line_items"));
    }
    Ok(items)
}

/// Unlike a subscription's, a session's licensed item must say its quantity.
fn ordered_item(account: &Account, item: &Value, place: &str) -> Result<OrderedItem, StripeError> {
    let param = format!("{place}[price]");
    let price = item["price"]
        .as_str()
        .ok_or_else(|| StripeError::missing_param(&param))?;
    let price = recurring_price(account, price, &param)?;
    let quantity = item["quantity"].as_i64();
    let complaint = match (is_metered(&price), quantity) {
        (true, Some(_)) => {
            format!(
                "Quantity should not be specified where usage_type is `metered`. Remove `quantity` \
                 from `{place}`"
            )
        }
        (false, None) => format!("Quantity is required. Add `quantity` to `{place}`"),
        (false, Some(quantity)) if quantity < 1 => {
            format!("Quantity of `{place}` must be at least 1.")
        }
        (true, None) | (false, Some(_)) => {
            return Ok(OrderedItem {
                price,
                quantity,
                metadata: changes::new_metadata(item.get("metadata"))?,
            });
        }
    };
    Err(StripeError::invalid(complaint).param(place))
}

/// The subscription that completion will open, as it would be now.
pub(crate) fn order(
    account: &Account,
    customer: Option<&str>,
    items: Vec<OrderedItem>,
    data: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<Order, StripeError> {
    let customer = customer.unwrap_or_default();
    debug_assert!(customer.is_empty() || account.get(customer).is_some());
    let terms = terms(data, now)?;
    Ok(Order {
        customer: customer.to_owned(),
        items,
        now,
        start: now,
        anchor: terms.anchor,
        trial_end: terms.trial_end,
        prorates: terms.prorates,
        first_payment: FirstPayment::OnPage,
        members: terms.members,
    })
}

fn email_of(account: &Account, call: &Call) -> Value {
    match call
        .text("customer")
        .and_then(|customer| account.get(customer))
    {
        Some(customer) => customer["email"].clone(),
        None => call.or_null("customer_email"),
    }
}

fn line_items(account: &mut Account, order: &Order, session: &str) -> Result<Value, StripeError> {
    let schedule = order.schedule()?;
    let portions = order.first_portions(&schedule);
    let mut items = Vec::new();
    for item in &order.items {
        let own: Vec<_> = portions
            .iter()
            .filter(|portion| item.price["id"] == portion.price)
            .cloned()
            .collect();
        let due = lines::total(account, &order.customer, &own, order.now);
        let id = account.new_id("li");
        let name = lines::product_name(account, &item.price);
        items.push(shape::line_item(
            &id,
            &item.price,
            item.quantity,
            &name,
            due,
        ));
    }
    let url = format!("/v1/checkout/sessions/{session}/line_items");
    Ok(list::embedded(items, &url))
}
