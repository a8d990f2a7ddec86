//! Event destinations, <https://docs.stripe.com/api/v2/core/event_destinations>: webhook endpoints
//! that get thin events. Their address and their secret are shown only where `include` asks.

use serde_json::{Map, Value, json};

use super::account::Account;
use super::error::StripeError;
use super::{render, v2};

pub(crate) const KIND: &str = "v2.core.event_destination";
/// The most destinations that an account may have.
const MOST_DESTINATIONS: usize = 16;
const PATH: &str = "/v2/core/event_destinations";

pub(crate) fn create(
    account: &mut Account,
    params: &Map<String, Value>,
) -> Result<Value, StripeError> {
    v2::only(
        params,
        &[
            "description",
            "enabled_events",
            "event_payload",
            "include",
            "metadata",
            "name",
            "type",
            "webhook_endpoint",
        ],
    )?;
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    for name in ["name", "type", "event_payload", "enabled_events"] {
        if params.get(name).is_none_or(Value::is_null) {
            return Err(StripeError::missing_param(name));
        }
    }
    if (text("type"), text("event_payload")) != (Some("webhook_endpoint"), Some("thin")) {
        let message = "The sandbox sends thin events to webhook endpoints only.";
        return Err(StripeError::invalid(message).param("type"));
    }
    let url = params["webhook_endpoint"]["url"].as_str();
    let url = url.filter(|url| url::Url::parse(url).is_ok());
    let url = url.ok_or_else(|| StripeError::missing_param("webhook_endpoint[url]"))?;
    if account.all(KIND).count() >= MOST_DESTINATIONS {
        let message = format!("You have reached the maximum of {MOST_DESTINATIONS} destinations.");
        return Err(StripeError::invalid(message));
    }
    let secret = account.new_id_of_length("whsec", 32);
    let now = v2::timestamp(account.now());
    let destination = json!({
        "id": account.new_id("ed"),
        "object": KIND,
        "created": now,
        "description": text("description").unwrap_or_default(),
        "enabled_events": params["enabled_events"],
        "event_payload": "thin",
        "events_from": ["@self"],
        "livemode": false,
        "metadata": params.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "name": text("name"),
        "snapshot_api_version": null,
        "status": "enabled",
        "status_details": null,
        "type": "webhook_endpoint",
        "updated": now,
        "webhook_endpoint": { "signing_secret": null, "url": null },
        "_url": url,
        "_secrets": [secret],
    });
    account.insert(destination.clone());
    let mut shown = render::public(&destination);
    let include = params.get("include").and_then(Value::as_array);
    let asks = |name: &str| include.is_some_and(|all| all.iter().any(|one| one == name));
    if asks("webhook_endpoint.signing_secret") {
        shown["webhook_endpoint"]["signing_secret"] = secret.into();
    }
    if asks("webhook_endpoint.url") {
        shown["webhook_endpoint"]["url"] = url.into();
    }
    Ok(shown)
}

pub(crate) fn list(account: &Account, params: &Map<String, Value>) -> Result<Value, StripeError> {
    v2::only(params, &["include", "limit", "page"])?;
    let all = account.all(KIND).rev().map(render::public);
    v2::page(all.collect(), PATH, params)
}

pub(crate) fn retrieve(account: &Account, id: &str) -> Result<Value, StripeError> {
    account.find(KIND, id).map(render::public)
}

pub(crate) fn delete(account: &mut Account, id: &str) -> Result<Value, StripeError> {
    account.find(KIND, id)?;
    account.remove(id);
    Ok(json!({ "id": id, "object": KIND }))
}
