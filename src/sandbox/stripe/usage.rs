//! Metered usage: what events were taken, and what they add up to.
//!
//! Stripe checks an event when it arrives and aggregates it later, so an event counts only after
//! a lag. A `last` meter takes the event with the latest timestamp (of two with the same one, the
//! one that came later); an event time window lets only the event received last in each window
//! count.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account::Account;
use super::meter_errors::Refused;

/// How long an event takes to count unless the sandbox is told otherwise.
const DEFAULT_LAG: TimeDelta = TimeDelta::seconds(60);
/// How long an identifier stays taken, and how long an event can be cancelled.
const ROLLING_PERIOD: TimeDelta = TimeDelta::hours(24);

/// Every event that was taken, by meter and customer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// The time from receiving an event to counting it.
    pub(crate) lag: TimeDelta,
    /// Whether drafts keep the quantity of their first moment until they are finalized. Stripe
    /// promises to count anew at finalization and leaves open what a draft shows until then.
    #[serde(default)]
    pub(crate) drafts_stand_still: bool,
    /// By the meter's id, then by the customer's.
    events: HashMap<String, HashMap<String, Vec<Event>>>,
    identifiers: HashMap<String, Taken>,
    /// Events that were taken and will not count, until they are reported.
    #[serde(default)]
    pub(crate) refused: Vec<Refused>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            lag: DEFAULT_LAG,
            drafts_stand_still: false,
            events: HashMap::new(),
            identifiers: HashMap::new(),
            refused: Vec::new(),
        }
    }
}

/// One event of one customer on one meter. Both times are in the customer's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) identifier: String,
    /// When the usage happened; decides the billing period.
    pub(crate) at: DateTime<Utc>,
    /// When the event arrived; decides from when on it counts.
    pub(crate) received: DateTime<Utc>,
    pub(crate) value: Decimal,
}

/// Where the event with an identifier went, and when in the account's time.
#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    meter: String,
    customer: String,
    at: DateTime<Utc>,
}

/// How a meter makes one number of many events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Formula {
    Sum,
    Count,
    Last,
}

/// The window within which only the event received last counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum EventWindow {
    Hour,
    Day,
}

impl Usage {
    /// Whether an identifier was used within the rolling 24 hours.
    pub(crate) fn is_taken(&self, identifier: &str, now: DateTime<Utc>) -> bool {
        self.identifiers
            .get(identifier)
            .is_some_and(|taken| now - taken.at < ROLLING_PERIOD)
    }

    /// Keeps that an identifier is taken at `now`, in the account's time.
    pub(crate) fn take(
        &mut self,
        identifier: &str,
        meter: &str,
        customer: &str,
        now: DateTime<Utc>,
    ) {
        let taken = Taken {
            meter: meter.to_owned(),
            customer: customer.to_owned(),
            at: now,
        };
        self.identifiers.insert(identifier.to_owned(), taken);
    }

    /// Keeps an event whose identifier is taken.
    pub(crate) fn keep(&mut self, meter: &str, customer: &str, event: Event) {
        let of_meter = self.events.entry(meter.to_owned()).or_default();
        of_meter.entry(customer.to_owned()).or_default().push(event);
    }

    /// Cancels the event with this identifier if it came within 24 hours.
    pub(crate) fn cancel(&mut self, meter: &str, identifier: &str, now: DateTime<Utc>) -> bool {
        let Some(taken) = self.identifiers.get(identifier) else {
            return false;
        };
        if taken.meter != meter || now - taken.at >= ROLLING_PERIOD {
            return false;
        }
        let of_meter = self.events.get_mut(meter);
        let Some(events) = of_meter.and_then(|events| events.get_mut(&taken.customer)) else {
            return false;
        };
        let before = events.len();
        events.retain(|event| event.identifier != identifier);
        events.len() < before
    }
}

/// What `meter` counts for `customer` in `[from, to)` as far as it is aggregated at `now` (in the
/// customer's time). Can be negative, which bills as zero.
pub(crate) fn meter_usage(
    account: &Account,
    meter: &str,
    customer: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Decimal {
    let Some(object) = account.get(meter) else {
        return Decimal::ZERO;
    };
    let usage = &account.books.usage;
    let of_meter = usage.events.get(meter);
    let events = of_meter
        .and_then(|events| events.get(customer))
        .map_or(&[][..], Vec::as_slice);
    let counted: Vec<_> = events
        .iter()
        .filter(|event| event.received + usage.lag <= now)
        .filter(|event| (from..to).contains(&event.at))
        .collect();
    aggregate(&counted, formula(object), window(object))
}

pub(crate) fn formula(meter: &Value) -> Formula {
    match meter["default_aggregation"]["formula"].as_str() {
        Some("count") => Formula::Count,
        Some("last") => Formula::Last,
        _ => Formula::Sum,
    }
}

fn window(meter: &Value) -> Option<EventWindow> {
    match meter["event_time_window"].as_str() {
        Some("hour") => Some(EventWindow::Hour),
        Some("day") => Some(EventWindow::Day),
        _ => None,
    }
}

/// One number of events that stand in the order of their arrival.
fn aggregate(events: &[&Event], formula: Formula, window: Option<EventWindow>) -> Decimal {
    let events = match window {
        Some(window) => last_received_of_each(events, window),
        None => events.to_vec(),
    };
    match formula {
        Formula::Sum => events.iter().map(|event| event.value).sum(),
        Formula::Count => Decimal::from(events.len()),
        Formula::Last => events
            .iter()
            .max_by_key(|event| event.at)
            .map_or(Decimal::ZERO, |event| event.value),
    }
}

fn last_received_of_each<'a>(events: &[&'a Event], window: EventWindow) -> Vec<&'a Event> {
    let mut kept = BTreeMap::new();
    for event in events {
        let hour = match window {
            EventWindow::Hour => event.at.hour(),
            EventWindow::Day => 0,
        };
        kept.insert((event.at.date_naive(), hour), *event);
    }
    kept.into_values().collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};
    use rust_decimal::Decimal;

    use super::{Event, EventWindow, Formula, Usage, aggregate};

    fn start() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 1, 0, 0, 0).unwrap()
    }

    fn event(identifier: &str, hour: i64, value: i64) -> Event {
        Event {
            identifier: identifier.to_owned(),
            at: start() + TimeDelta::hours(hour),
            received: start() + TimeDelta::hours(hour),
            value: Decimal::from(value),
        }
    }

    fn check(formula: Formula, window: Option<EventWindow>, expected: i64) {
        let events = [
            event("a", 5, 10),
            event("b", 1, 7),
            event("c", 5, -2),
            event("d", 30, 0),
        ];
        let events: Vec<_> = events.iter().collect();
        let got = aggregate(&events[..3], formula, window);
        assert_eq!(got, Decimal::from(expected), "{formula:?} {window:?}");
    }

    #[test]
    fn each_formula_makes_its_own_number() {
        check(Formula::Sum, None, 15);
        check(Formula::Count, None, 3);
        check(Formula::Last, None, -2);
    }

    #[test]
    fn in_a_window_only_the_event_received_last_counts() {
        check(Formula::Sum, Some(EventWindow::Hour), 5);
        check(Formula::Count, Some(EventWindow::Hour), 2);
        check(Formula::Sum, Some(EventWindow::Day), -2);
    }

    #[test]
    fn no_events_are_zero() {
        assert_eq!(aggregate(&[], Formula::Last, None), Decimal::ZERO);
    }

    #[test]
    fn an_identifier_is_taken_for_a_day_and_can_be_cancelled_for_a_day() {
        let mut usage = Usage::default();
        usage.take("a", "mtr_1", "cus_1", start());
        usage.keep("mtr_1", "cus_1", event("a", 0, 1));
        assert!(usage.is_taken("a", start() + TimeDelta::hours(23)));
        assert!(!usage.is_taken("a", start() + TimeDelta::hours(24)));
        assert!(!usage.cancel("mtr_2", "a", start()), "another meter");
        assert!(
            !usage.cancel("mtr_1", "a", start() + TimeDelta::hours(24)),
            "too late"
        );
        assert!(usage.cancel("mtr_1", "a", start()));
        assert!(!usage.cancel("mtr_1", "a", start()), "already cancelled");
    }
}
