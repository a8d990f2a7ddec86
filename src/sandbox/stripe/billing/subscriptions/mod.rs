//! Subscriptions: the operations of the API.

pub(crate) mod cancel;
pub(crate) mod create;
pub(crate) mod cycle;
pub(crate) mod items;
pub(crate) mod open;
pub(crate) mod order;
pub(crate) mod pause;
pub(crate) mod shape;
pub(crate) mod standing;
pub(crate) mod update;

use serde_json::Value;

use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

pub(crate) fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find("subscription", call.id()).cloned()
}

/// `GET /v1/subscriptions`: without a status, those that have not ended.
pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    list::page(account, call, "subscription", |subscription| {
        let fits = |name: &str| {
            call.text(name)
                .is_none_or(|wanted| subscription[name] == wanted)
        };
        let price = call.text("price");
        let has_price = |price: &str| {
            shape::items(subscription)
                .iter()
                .any(|item| item["price"]["id"] == price)
        };
        has_status(subscription, call.text("status"))
            && fits("customer")
            && fits("collection_method")
            && fits("test_clock")
            && price.is_none_or(has_price)
    })
}

fn has_status(subscription: &Value, wanted: Option<&str>) -> bool {
    match wanted {
        Some("all") => true,
        Some("ended") => shape::has_ended(subscription),
        Some(status) => subscription["status"] == status,
        None => subscription["status"] != "canceled",
    }
}

/// `GET /v1/subscription_items?subscription=…`.
pub(crate) fn list_items(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let id = call
        .text("subscription")
        .ok_or_else(|| StripeError::missing_param("subscription"))?;
    let subscription = account.refer("subscription", id, "subscription")?;
    list::page_of(shape::items(subscription).to_vec(), call)
}
