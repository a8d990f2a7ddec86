//! What Stripe found wrong with usage reports after it had taken them.
//!
//! It tells of that with thin events, which only `/v2/` knows and which async-stripe does not:
//! <https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api>.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::Stripe;
use super::events::Event;
use crate::outbound::CallError;

/// The events that tell of errors: of a meter's, and of reports to no meter at all.
pub const METER_ERROR_EVENTS: [&str; 2] = [
    "v1.billing.meter.error_report_triggered",
    "v1.billing.meter.no_meter_found",
];
/// Pages of the list that are read at once; there are as many as there were bad ten seconds.
const PAGES_MAX: usize = 20;

/// Errors that Stripe gathered over some seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterErrors {
    /// The meter's id; absent where the reports named none.
    pub meter: Option<String>,
    /// When Stripe looked at the reports.
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub kinds: Vec<ErrorKind>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ErrorKind {
    /// Such as `meter_event_customer_not_found`.
    pub code: String,
    /// How many reports were refused for it.
    #[serde(rename = "error_count")]
    pub count: u64,
    /// Some of them, or all.
    #[serde(rename = "sample_errors", default)]
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireSample")]
pub struct Sample {
    pub message: String,
    /// What named the report: its identifier, or its request's idempotency key. Stripe's
    /// documentation says both.
    pub identifier: Option<String>,
}

impl Stripe {
    /// What an event of [`METER_ERROR_EVENTS`] tells. Stripe keeps events for 30 days.
    pub fn get_meter_errors(&self, event_id: &str) -> Result<MeterErrors, CallError> {
        let operation = format!("read the event `{event_id}`");
        let path = format!("/v2/core/events/{event_id}");
        let event: WireEvent = self.transport.get_v2(&operation, &path)?;
        Ok(event.into())
    }

    /// The events of [`METER_ERROR_EVENTS`] since a moment (inclusive), the newest first.
    pub fn list_meter_error_events(&self, since: DateTime<Utc>) -> Result<Vec<Event>, CallError> {
        const OPERATION: &str = "list the errors of the meters";
        let [one, other] = METER_ERROR_EVENTS;
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("created[gte]", &since);
        query
            .append_pair("types[0]", one)
            .append_pair("types[1]", other);
        query.append_pair("limit", "100");
        let mut path = Some(format!("/v2/core/events?{}", query.finish()));
        let mut events = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(next) = path.take() else { break };
            let page: WirePage = self.transport.get_v2(OPERATION, &next)?;
            events.extend(page.data.iter().filter_map(Event::read));
            // Part of an address on Stripe's side; anything else would leave it.
            path = page.next_page_url.filter(|next| next.starts_with("/v2/"));
        }
        if path.is_some() {
            tracing::warn!("there are more errors of meters than are read at once");
        }
        Ok(events)
    }
}

#[derive(Deserialize)]
struct WirePage {
    data: Vec<Value>,
    next_page_url: Option<String>,
}

#[derive(Deserialize)]
struct WireEvent {
    created: DateTime<Utc>,
    data: Option<WireData>,
    related_object: Option<WireObject>,
}

#[derive(Deserialize)]
struct WireObject {
    id: String,
}

#[derive(Deserialize)]
struct WireData {
    reason: Option<WireReason>,
    validation_start: Option<DateTime<Utc>>,
    validation_end: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct WireReason {
    #[serde(default)]
    error_types: Vec<ErrorKind>,
}

#[derive(Deserialize)]
struct WireSample {
    #[serde(default)]
    error_message: String,
    request: Option<WireRequest>,
}

#[derive(Deserialize)]
struct WireRequest {
    identifier: Option<String>,
}

impl From<WireSample> for Sample {
    fn from(wire: WireSample) -> Self {
        Self {
            message: wire.error_message,
            identifier: wire.request.and_then(|request| request.identifier),
        }
    }
}

impl From<WireEvent> for MeterErrors {
    fn from(wire: WireEvent) -> Self {
        let data = wire.data;
        let times = data
            .as_ref()
            .map(|data| (data.validation_start, data.validation_end));
        let (from, until) = times.unwrap_or_default();
        let reason = data.and_then(|data| data.reason);
        Self {
            meter: wire.related_object.map(|meter| meter.id),
            from: from.unwrap_or(wire.created),
            until: until.unwrap_or(wire.created),
            kinds: reason.map(|reason| reason.error_types).unwrap_or_default(),
        }
    }
}
