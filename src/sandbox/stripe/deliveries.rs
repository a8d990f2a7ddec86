//! Webhook deliveries that wait, when they are tried again, and what became of them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The pauses after the first, second, … failed attempt; the last one repeats.
const PAUSES: [TimeDelta; 7] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(12),
];
/// How long after the first attempt Stripe gives up.
const GIVES_UP_AFTER: TimeDelta = TimeDelta::days(3);

/// Deliveries to webhook endpoints.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deliveries {
    waiting: Vec<Delivery>,
    /// Being sent.
    under_way: Vec<Delivery>,
    settled: HashMap<String, DateTime<Utc>>,
}

/// One event on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) event: String,
    pub(crate) endpoint: String,
    /// How often it was tried already.
    pub(crate) attempts: usize,
    pub(crate) first_due: DateTime<Utc>,
    pub(crate) due: DateTime<Utc>,
    /// A delivery meets at most one fault on its way.
    pub(crate) met_fault: bool,
    /// Asked for by hand: it settles nothing and is not repeated.
    pub(crate) manual: bool,
}

impl Deliveries {
    /// Queues an event for each of the endpoints; an event for nobody is settled at once.
    pub(crate) fn queue(&mut self, event: &str, endpoints: Vec<String>, now: DateTime<Utc>) {
        if endpoints.is_empty() {
            self.settled.insert(event.to_owned(), now);
        }
        for endpoint in endpoints {
            self.waiting.push(Delivery::new(event, endpoint, now));
        }
    }

    /// Queues an event once more, at once and for one attempt.
    pub(crate) fn queue_manual(&mut self, event: &str, endpoint: String, now: DateTime<Utc>) {
        self.waiting.push(Delivery {
            manual: true,
            ..Delivery::new(event, endpoint, now)
        });
    }

    /// When the last endpoint had taken the event; `None` while one still refuses it, and for good
    /// when Stripe gave up.
    pub(crate) fn settled_at(&self, event: &str) -> Option<DateTime<Utc>> {
        self.settled.get(event).copied()
    }

    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.waiting.iter().map(|delivery| delivery.due).min()
    }

    /// Takes out what is due, in the order in which it fell due.
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>) -> Vec<Delivery> {
        let (mut due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|delivery| delivery.due <= now);
        self.waiting = waiting;
        due.sort_by_key(|delivery| delivery.due);
        due
    }

    /// Notes what is being sent, so that a restart in between does not lose it.
    pub(crate) fn set_out(&mut self, batch: impl Iterator<Item = Delivery>) {
        self.under_way = batch.collect();
    }

    /// Notes that what had set out has been dealt with.
    pub(crate) fn all_sent(&mut self) {
        self.under_way.clear();
    }

    /// After a restart: sends again what was under way, of which nobody knows how far it came.
    pub(crate) fn resume(&mut self) {
        self.waiting.append(&mut self.under_way);
    }

    /// Puts a delivery back, to be tried at `due`.
    pub(crate) fn postpone(&mut self, mut delivery: Delivery, due: DateTime<Utc>) {
        delivery.due = due;
        self.waiting.push(delivery);
    }

    /// Notes that the last endpoint took the event.
    pub(crate) fn settled(&mut self, event: &str, now: DateTime<Utc>) {
        self.settled.insert(event.to_owned(), now);
    }

    /// Notes a failed attempt: it is repeated with growing pauses until Stripe gives up.
    pub(crate) fn failed(&mut self, mut delivery: Delivery, now: DateTime<Utc>) {
        let due = now + pause_after(delivery.attempts);
        if !delivery.manual && due - delivery.first_due <= GIVES_UP_AFTER {
            delivery.attempts += 1;
            self.postpone(delivery, due);
        }
    }
}

impl Delivery {
    fn new(event: &str, endpoint: String, due: DateTime<Utc>) -> Self {
        Self {
            event: event.to_owned(),
            endpoint,
            attempts: 0,
            first_due: due,
            due,
            met_fault: false,
            manual: false,
        }
    }
}

/// The pause after an attempt that `before` others came before.
fn pause_after(before: usize) -> TimeDelta {
    PAUSES[before.min(PAUSES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone, Utc};

    use super::Deliveries;

    fn start() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 1, 0, 0, 0).unwrap()
    }

    #[test]
    fn an_event_for_nobody_is_settled_at_once() {
        let mut deliveries = Deliveries::default();
        deliveries.queue("evt_1", vec![], start());
        assert_eq!(deliveries.settled_at("evt_1"), Some(start()));
    }

    #[test]
    fn what_is_under_way_at_a_restart_is_sent_again() {
        let mut deliveries = Deliveries::default();
        deliveries.queue("evt_1", vec!["we_1".to_owned()], start());
        let due = deliveries.take_due(start());
        deliveries.set_out(due.iter().cloned());
        deliveries.resume();
        assert_eq!(deliveries.take_due(start()), due);
        deliveries.set_out(due.into_iter());
        deliveries.all_sent();
        deliveries.resume();
        assert_eq!(deliveries.take_due(start()), []);
    }

    #[test]
    fn failures_are_repeated_with_growing_pauses_for_three_days() {
        let mut deliveries = Deliveries::default();
        deliveries.queue("evt_1", vec!["we_1".to_owned()], start());
        let mut minutes = Vec::new();
        while let Some(due) = deliveries.next_due() {
            minutes.push((due - start()).num_minutes());
            for delivery in deliveries.take_due(due) {
                deliveries.failed(delivery, due);
            }
        }
        let hours = |count: i64| 1_056 + count * 720;
        assert_eq!(minutes[..7], [0, 1, 6, 36, 156, 456, 1_056]);
        assert_eq!(minutes[7..], [hours(1), hours(2), hours(3), hours(4)]);
        assert_eq!(deliveries.settled_at("evt_1"), None);
    }
}
