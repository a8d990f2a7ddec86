//! Events, read from Stripe's own list to fill the gap that missed webhooks leave.

use chrono::{DateTime, Utc};
use serde_json::Value;
use stripe_core::event::ListEvent;
use stripe_types::RangeQueryTs;

use super::Stripe;
use super::page::{PAGE_SIZE, Page};
use crate::outbound::CallError;

/// The events that the product acts on: what a webhook endpoint is to deliver, and what fills the
/// gap when it did not. Few enough for one filter of [`Stripe::event_page`].
///
/// Errors of meters are not among them: Stripe sends those to event destinations only, and lists
/// them apart ([`Stripe::list_meter_error_events`]).
pub const HANDLED_EVENTS: [&str; 19] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.refunded",
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
    "refund.failed",
];

/// Stripe's limit for the filter `types`.
const TYPES_MAX: usize = 20;
const _: () = assert!(HANDLED_EVENTS.len() <= TYPES_MAX);

/// An event. It only says that something happened to an object; what is true now is read from
/// the object itself (design D6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// The whole event as JSON, as a webhook would have brought it.
    pub body: String,
}

/// A page of the list of events, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// Whether older ones follow.
    pub has_more: bool,
}

impl Stripe {
    /// A page of the events that Stripe made since a moment (inclusive), or of those of them that
    /// are older than the event `after`. Stripe keeps events for 30 days, and refuses an `after`
    /// that it does not keep any more.
    ///
    /// <https://docs.stripe.com/api/events/list>
    pub fn event_page(
        &self,
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<EventPage, CallError> {
        const OPERATION: &str = "list the events";
        let mut request = ListEvent::new()
            .created(RangeQueryTs::gte(since.timestamp()))
            .types(HANDLED_EVENTS.map(str::to_owned).to_vec())
            .limit(PAGE_SIZE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        let page: Page<Value> = self.transport.get(OPERATION, &request)?;
        let events = page.data.iter().map(Event::read);
        let events: Option<Vec<Event>> = events.collect();
        let events =
            events.ok_or_else(|| self.transport.nonsense(OPERATION, "an event lacks its id"))?;
        if page.has_more && events.is_empty() {
            return Err(self
                .transport
                .nonsense(OPERATION, "its list does not advance"));
        }
        Ok(EventPage {
            has_more: page.has_more,
            events,
        })
    }
}

impl Event {
    pub(super) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            id: value.get("id")?.as_str()?.to_owned(),
            body: value.to_string(),
        })
    }
}
