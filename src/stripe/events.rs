//! Events, read from Stripe's own list to fill the gap that missed webhooks leave.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use stripe_core::event::ListEvent;
use stripe_types::RangeQueryTs;

use super::Stripe;
use super::page::{Listed, PAGE_SIZE, Page};
use super::wire::Moment;
use crate::outbound::CallError;

/// The events that the product acts on: what a webhook endpoint is to deliver, and what fills the
/// gap when it did not. Few enough for one filter of [`Stripe::list_events`].
///
/// Errors of meters are not among them: Stripe sends those to event destinations only.
pub const HANDLED_EVENTS: [&str; 15] = [
    "checkout.session.completed",
    "checkout.session.expired",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "invoice.created",
    "invoice.finalized",
    "invoice.finalization_failed",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
];

/// An event. It only says that something happened to an object; what is true now is read from
/// the object itself (design D6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// Such as `customer.subscription.updated`.
    pub kind: String,
    pub created: DateTime<Utc>,
    /// The object that the event is about, where it has an id.
    pub object_id: Option<String>,
    /// The whole event as JSON, as a webhook would have brought it.
    pub body: String,
}

impl Stripe {
    /// The events of these types since a moment (inclusive), the oldest first. Stripe keeps
    /// them for 30 days and takes at most 20 types.
    pub fn list_events(
        &self,
        since: DateTime<Utc>,
        types: &[String],
    ) -> Result<Vec<Event>, CallError> {
        const OPERATION: &str = "list the events";
        let mut events: Vec<Event> = self.transport.all(OPERATION, |after| {
            let mut request = ListEvent::new()
                .created(RangeQueryTs::gte(since.timestamp()))
                .types(types.to_vec())
                .limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            let page: Page<Value> = self.transport.get(OPERATION, &request)?;
            self.events(OPERATION, &page)
        })?;
        events.reverse();
        Ok(events)
    }

    fn events(&self, operation: &str, page: &Page<Value>) -> Result<Page<Event>, CallError> {
        let events = page.data.iter().map(Event::read);
        let events: Option<Vec<Event>> = events.collect();
        let data =
            events.ok_or_else(|| self.transport.nonsense(operation, "an event lacks its id"))?;
        Ok(Page {
            data,
            has_more: page.has_more,
        })
    }
}

impl Listed for Event {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Event {
    fn read(value: &Value) -> Option<Self> {
        let wire = WireEvent::deserialize(value).ok()?;
        let object = value.pointer("/data/object/id");
        Some(Self {
            id: wire.id,
            kind: wire.kind,
            created: wire.created.into(),
            object_id: object.and_then(Value::as_str).map(str::to_owned),
            body: value.to_string(),
        })
    }
}

#[derive(Deserialize)]
struct WireEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: Moment,
}
