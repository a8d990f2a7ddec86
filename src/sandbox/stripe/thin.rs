//! Thin events, <https://docs.stripe.com/api/v2/core/events>: what is delivered names the event
//! and its object, and what happened is fetched. Kept for 30 days.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::account::Account;
use super::error::StripeError;
use super::{render, v2};

pub(crate) const KIND: &str = "v2.core.event";
/// How long an event can be read.
const KEPT: TimeDelta = TimeDelta::days(30);
const PATH: &str = "/v2/core/events";

/// Keeps an event and queues its deliveries to the destinations that listen to it.
pub(crate) fn emit(account: &mut Account, event_type: &str, related: &Value, data: &Value) {
    let id = account.new_id("evt");
    let now = account.now();
    let listeners: Vec<String> = account
        .all(super::event_destinations::KIND)
        .filter(|destination| {
            let types = destination["enabled_events"].as_array();
            let asks = types.is_some_and(|types| types.iter().any(|one| one == event_type));
            destination["status"] == "enabled" && asks
        })
        .filter_map(|destination| destination["id"].as_str().map(str::to_owned))
        .collect();
    account.insert(json!({
        "id": id,
        "object": KIND,
        "context": null,
        "created": v2::timestamp(now),
        "data": data,
        "livemode": false,
        "reason": null,
        "related_object": related,
        "type": event_type,
        "_pending": listeners.len(),
    }));
    account.books.deliveries.queue(&id, listeners, now);
}

/// The event as a destination gets it: without what happened.
pub(crate) fn delivered(event: &Value) -> Value {
    let mut event = render::public(event);
    if let Some(members) = event.as_object_mut() {
        members.shift_remove("data");
    }
    event
}

pub(crate) fn retrieve(account: &Account, id: &str) -> Result<Value, StripeError> {
    let event = account.find(KIND, id)?;
    if created(event).is_none_or(|created| created < account.now() - KEPT) {
        return Err(StripeError::missing("event", id));
    }
    Ok(render::public(event))
}

/// The newest first.
pub(crate) fn list(account: &Account, params: &Map<String, Value>) -> Result<Value, StripeError> {
    v2::only(params, &["created", "limit", "object_id", "page", "types"])?;
    let since = match params.get("created").and_then(|created| created.get("gte")) {
        None => account.now() - KEPT,
        Some(given) => parse(given)
            .ok_or_else(|| StripeError::invalid("Invalid timestamp.").param("created[gte]"))?,
    };
    let types = params.get("types").and_then(Value::as_object);
    let asked = |event: &Value| {
        let types = types.is_none_or(|types| types.values().any(|one| *one == event["type"]));
        let object = params.get("object_id");
        types && object.is_none_or(|id| *id == event["related_object"]["id"])
    };
    let oldest = since.max(account.now() - KEPT);
    let events = account.all(KIND).rev();
    let events = events.filter(|event| created(event).is_some_and(|created| created >= oldest));
    let events = events.filter(|event| asked(event)).map(render::public);
    v2::page(events.collect(), PATH, params)
}

fn created(event: &Value) -> Option<DateTime<Utc>> {
    parse(&event["created"])
}

fn parse(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}
