//! Prices, <https://docs.stripe.com/api/prices>. Amounts never change once a price exists.

use serde_json::{Map, Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::changes::{new_metadata, update_metadata};
use super::error::StripeError;
use super::price_amounts::{Amounts, amounts};
use super::{list, products};

const KIND: &str = "price";

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/prices" => create,
    "GET /v1/prices" => all,
    "GET /v1/prices/{price}" => retrieve,
    "POST /v1/prices/{price}" => update,
};

fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let mut params = call.params.clone();
    let product = match (call.text("product"), call.object("product_data")) {
        (Some(_), Some(_)) => return Err(StripeError::exclusive("product", "product_data")),
        (None, None) => return Err(StripeError::missing_param("product")),
        (Some(id), None) => {
            account.refer("product", id, "product")?;
            None
        }
        (None, Some(data)) => {
            let product = products::new(account, data)?;
            params.insert("product".into(), product["id"].clone());
            Some(product)
        }
    };
    let price = new(account, &params)?;
    if let Some(product) = product {
        account.create("product.created", product);
    }
    if let Some(lookup_key) = call.text("lookup_key") {
        release_lookup_key(account, lookup_key);
    }
    Ok(account.create("price.created", price))
}

/// A price from its parameters, of which `product` is known to exist.
pub(crate) fn new(
    account: &mut Account,
    params: &Map<String, Value>,
) -> Result<Value, StripeError> {
    let given = |name: &str| params.get(name).cloned().unwrap_or(Value::Null);
    let recurring = recurring(account, params.get("recurring"))?;
    let amounts = amounts(params)?;
    if let Some(lookup_key) = params.get("lookup_key").and_then(Value::as_str) {
        let transfer = given("transfer_lookup_key") == true;
        check_lookup_key(account, lookup_key, None, transfer)?;
    }
    let currency = currency(params)?;
    Ok(json!({
        "id": account.new_id("price"),
        "object": KIND,
        "active": params.get("active").and_then(Value::as_bool).unwrap_or(true),
        "billing_scheme": amounts.scheme,
        "created": account.now().timestamp(),
        "currency_options": currency_options(&currency, &amounts, params),
        "currency": currency,
        "custom_unit_amount": amounts.custom_unit_amount,
        "livemode": false,
        "lookup_key": given("lookup_key"),
        "metadata": new_metadata(params.get("metadata"))?,
        "nickname": given("nickname"),
        "product": given("product"),
        "type": if recurring.is_null() { "one_time" } else { "recurring" },
        "recurring": recurring,
        "tax_behavior": tax_behavior(params),
        "tiers": amounts.tiers,
        "tiers_mode": amounts.tiers_mode,
        "transform_quantity": given("transform_quantity"),
        "unit_amount": amounts.unit_amount,
        "unit_amount_decimal": amounts.unit_amount_decimal,
    }))
}

fn tax_behavior(params: &Map<String, Value>) -> &str {
    params
        .get("tax_behavior")
        .and_then(Value::as_str)
        .unwrap_or("unspecified")
}

fn currency(params: &Map<String, Value>) -> Result<String, StripeError> {
    let given = params
        .get("currency")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if given.len() == 3 && given.chars().all(|letter| letter.is_ascii_alphabetic()) {
        return Ok(given.to_ascii_lowercase());
    }
    Err(StripeError::invalid(format!("Invalid currency: {given}.")).param("currency"))
}

/// The price in its own currency, and in those that were given besides.
fn currency_options(currency: &str, amounts: &Amounts, params: &Map<String, Value>) -> Value {
    let mut options = Map::new();
    let own = json!({
        "custom_unit_amount": amounts.custom_unit_amount,
        "tax_behavior": tax_behavior(params),
        "unit_amount": amounts.unit_amount,
        "unit_amount_decimal": amounts.unit_amount_decimal,
    });
    options.insert(currency.to_owned(), own);
    if let Some(Value::Object(others)) = params.get("currency_options") {
        options.extend(others.clone());
    }
    Value::Object(options)
}

/// Since basil, a metered price names a meter, and only a metered price does.
fn recurring(account: &Account, given: Option<&Value>) -> Result<Value, StripeError> {
    let Some(given) = given.filter(|given| given.is_object()) else {
        return Ok(Value::Null);
    };
    let usage_type = given["usage_type"].as_str().unwrap_or("licensed");
    match (usage_type, given["meter"].as_str()) {
        ("metered", None) => {
            let message = "Metered prices must be backed by meters: pass `recurring[meter]`.";
            return Err(StripeError::invalid(message)
                .code("parameter_missing")
                .param("recurring[meter]"));
        }
        ("metered", Some(id)) => {
            let meter = account.refer("billing.meter", id, "recurring[meter]")?;
            if meter["status"] != "active" {
                let message = "The meter is inactive and cannot be attached to a price.";
                return Err(StripeError::invalid(message)
                    .code("archived_meter")
                    .param("recurring[meter]"));
            }
        }
        (_, Some(_)) => {
            let message = "`recurring[meter]` needs `recurring[usage_type]` to be metered.";
            return Err(StripeError::invalid(message).param("recurring[meter]"));
        }
        (_, None) => {}
    }
    Ok(json!({
        "interval": given["interval"],
        "interval_count": interval_count(given)?,
        "meter": given["meter"],
        "usage_type": usage_type,
    }))
}

/// A period is at most three years long.
fn interval_count(recurring: &Value) -> Result<i64, StripeError> {
    let longest = match recurring["interval"].as_str() {
        Some("day") => 1_095,
        Some("week") => 156,
        Some("month") => 36,
        _ => 3,
    };
    let count = recurring["interval_count"].as_i64().unwrap_or(1);
    if (1..=longest).contains(&count) {
        return Ok(count);
    }
    let message = format!("The interval count must be between 1 and {longest}.");
    Err(StripeError::invalid(message).param("recurring[interval_count]"))
}

/// Refuses a lookup key that another price than `own` holds, unless it may be taken over.
fn check_lookup_key(
    account: &Account,
    lookup_key: &str,
    own: Option<&str>,
    transfer: bool,
) -> Result<(), StripeError> {
    let holder = account
        .all(KIND)
        .find(|price| price["lookup_key"] == lookup_key && price["id"].as_str() != own);
    match holder {
        Some(price) if !transfer => {
            let id = price["id"].as_str().unwrap_or_default();
            let message = format!("A price (`{id}`) already uses that lookup key.");
            Err(StripeError::invalid(message).param("lookup_key"))
        }
        _ => Ok(()),
    }
}

/// Takes the lookup key away from the price that holds it.
fn release_lookup_key(account: &mut Account, lookup_key: &str) {
    let holder = account
        .all(KIND)
        .find(|price| price["lookup_key"] == lookup_key)
        .and_then(|price| price["id"].as_str())
        .map(str::to_owned);
    if let Some(id) = holder {
        account.update(&id, "price.updated", |price| {
            price["lookup_key"] = Value::Null;
        });
    }
}

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let lookup_keys = call.list("lookup_keys");
    list::page(account, call, KIND, |price| {
        let plain = ["active", "currency", "product", "type"];
        let recurring = call.object("recurring");
        plain.iter().all(|name| {
            call.param(name)
                .is_none_or(|wanted| price[*name] == *wanted)
        }) && (lookup_keys.is_empty() || lookup_keys.contains(&price["lookup_key"]))
            && recurring.is_none_or(|wanted| {
                wanted
                    .iter()
                    .all(|(name, value)| price["recurring"][name] == *value)
            })
    })
}

fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let price = account.find(KIND, call.id())?;
    let mut metadata = price["metadata"].clone();
    update_metadata(&mut metadata, call.param("metadata"))?;
    check_update(account, price, call)?;
    if let Some(lookup_key) = call.text("lookup_key") {
        let transfer = call.flag("transfer_lookup_key") == Some(true);
        check_lookup_key(account, lookup_key, Some(call.id()), transfer)?;
        if price["lookup_key"] != lookup_key {
            release_lookup_key(account, lookup_key);
        }
    }
    Ok(account.update(call.id(), "price.updated", |price| {
        price["metadata"] = metadata;
        for name in ["active", "lookup_key", "nickname", "tax_behavior"] {
            if let Some(value) = call.param(name) {
                price[name] = value.clone();
            }
        }
        if let Some(Value::Object(options)) = call.param("currency_options") {
            for (currency, option) in options {
                price["currency_options"][currency] = option.clone();
            }
        }
    }))
}

fn check_update(account: &Account, price: &Value, call: &Call) -> Result<(), StripeError> {
    let product = price["product"].as_str().and_then(|id| account.get(id));
    let is_default = product.is_some_and(|product| product["default_price"] == call.id());
    if call.flag("active") == Some(false) && is_default {
        return Err(StripeError::invalid(
            "This price cannot be archived because it is the default price of its product.",
        ));
    }
    let behavior = call.text("tax_behavior");
    if behavior.is_some_and(|wanted| price["tax_behavior"] != wanted)
        && price["tax_behavior"] != "unspecified"
    {
        let message = "You cannot change the tax behavior once it is set.";
        return Err(StripeError::invalid(message).param("tax_behavior"));
    }
    Ok(())
}
