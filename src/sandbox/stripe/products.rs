//! Products, <https://docs.stripe.com/api/products>.

use serde_json::{Map, Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::changes::{new_metadata, update_metadata};
use super::error::StripeError;
use super::{list, prices};

const KIND: &str = "product";

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/products" => create,
    "GET /v1/products" => all,
    "GET /v1/products/{product}" => retrieve,
    "POST /v1/products/{product}" => update,
    "DELETE /v1/products/{product}" => delete,
};

fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let product = new(account, &call.params)?;
    let id = product["id"].as_str().unwrap_or_default().to_owned();
    if let Some(data) = call.object("default_price_data") {
        let mut params = data.clone();
        params.insert("product".into(), id.clone().into());
        account.insert(product);
        let price = prices::new(account, &params).inspect_err(|_| {
            account.remove(&id);
        })?;
        let price = account.create("price.created", price);
        if let Some(product) = account.get_mut(&id) {
            product["default_price"] = price["id"].clone();
        }
        let product = account.get(&id).cloned().unwrap_or_default();
        return Ok(account.create("product.created", product));
    }
    Ok(account.create("product.created", product))
}

/// A product from its parameters, also those of a price's `product_data`.
pub(crate) fn new(
    account: &mut Account,
    params: &Map<String, Value>,
) -> Result<Value, StripeError> {
    let given = |name: &str| params.get(name).cloned().unwrap_or(Value::Null);
    let id = match params.get("id").and_then(Value::as_str) {
        Some(id) if account.get(id).is_some() => {
            return Err(StripeError::invalid("Product already exists.")
                .code("resource_already_exists")
                .param("id"));
        }
        Some(id) => id.to_owned(),
        None => account.new_id_of_length("prod", 14),
    };
    let now = account.now().timestamp();
    Ok(json!({
        "id": id,
        "object": KIND,
        "active": params.get("active").and_then(Value::as_bool).unwrap_or(true),
        "created": now,
        "default_price": null,
        "description": given("description"),
        "images": list_or_empty(params.get("images")),
        "livemode": false,
        "marketing_features": list_or_empty(params.get("marketing_features")),
        "metadata": new_metadata(params.get("metadata"))?,
        "name": given("name"),
        "package_dimensions": given("package_dimensions"),
        "shippable": given("shippable"),
        "statement_descriptor": given("statement_descriptor"),
        "tax_code": given("tax_code"),
        "type": "service",
        "unit_label": given("unit_label"),
        "updated": now,
        "url": given("url"),
    }))
}

fn list_or_empty(given: Option<&Value>) -> Value {
    given
        .filter(|given| given.is_array())
        .cloned()
        .unwrap_or_else(|| json!([]))
}

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let ids = call.list("ids");
    list::page(account, call, KIND, |product| {
        ["active", "shippable", "url"].iter().all(|name| {
            call.param(name)
                .is_none_or(|wanted| product[*name] == *wanted)
        }) && (ids.is_empty() || ids.contains(&product["id"]))
    })
}

fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let product = account.find(KIND, call.id())?;
    let mut metadata = product["metadata"].clone();
    update_metadata(&mut metadata, call.param("metadata"))?;
    if let Some(price) = call.text("default_price") {
        let price = account.refer("price", price, "default_price")?;
        if price["product"] != call.id() {
            let message = "The price does not belong to this product.";
            return Err(StripeError::invalid(message).param("default_price"));
        }
    }
    let now = account.now().timestamp();
    Ok(account.update(call.id(), "product.updated", |product| {
        let before = product.clone();
        product["metadata"] = metadata;
        for (name, value) in &call.params {
            match name.as_str() {
                "metadata" | "expand" => {}
                "images" | "marketing_features" => product[name] = list_or_empty(Some(value)),
                _ => product[name] = value.clone(),
            }
        }
        if *product != before {
            product["updated"] = now.into();
        }
    }))
}

fn delete(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id())?;
    if account
        .all("price")
        .any(|price| price["product"] == call.id())
    {
        return Err(StripeError::invalid(
            "This product cannot be deleted because it has one or more user-created prices.",
        ));
    }
    if let Some(product) = account.remove(call.id()) {
        account.emit("product.deleted", &product, None);
    }
    Ok(json!({ "id": call.id(), "object": KIND, "deleted": true }))
}
