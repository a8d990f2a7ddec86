//! Rate limits and quotas: how many of a subscription's calls are let through.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::sandbox::apim::policy::{Kind, Limit};

/// What became of calls that came at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Admitted {
    pub(super) served: u64,
    /// Answered with 429.
    pub(super) over_rate: u64,
    /// Answered with 403.
    pub(super) over_quota: u64,
    /// When the limit that refused lets calls through again, in seconds from now.
    pub(super) retry_after: i64,
}

/// The counters of all subscriptions.
///
/// Calls of one second are counted together, so that admitting any number of them costs the same.
/// Moments must not go backwards by more than a second.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    by_subscription: HashMap<String, Vec<Counter>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Counter {
    kind: Kind,
    period: u32,
    count: Count,
}

#[derive(Debug, Serialize, Deserialize)]
enum Count {
    /// The calls let through in each second of the window, oldest first, and their sum.
    Sliding {
        seconds: VecDeque<(i64, u64)>,
        sum: u64,
    },
    /// The calls let through in the window with this number.
    Fixed { window: i64, used: u64 },
}

impl Counters {
    /// Counts `calls` that come at `at` against `limits`, in their order: what one limit refuses
    /// is not counted by those behind it. Quota windows begin at `start`.
    pub(super) fn admit(
        &mut self,
        subscription: &str,
        start: DateTime<Utc>,
        limits: &[Limit],
        at: DateTime<Utc>,
        calls: u64,
    ) -> Admitted {
        let mut admitted = Admitted {
            served: calls,
            ..Admitted::default()
        };
        if limits.is_empty() {
            return admitted;
        }
        let counters = self.counters(subscription, limits);
        for (limit, counter) in limits.iter().zip(counters) {
            let (now, start) = (at.timestamp(), start.timestamp());
            let room = counter.room(limit, now, start).min(admitted.served);
            let refused = admitted.served - room;
            counter.count(now, room);
            admitted.served = room;
            match limit.kind {
                Kind::Rate => admitted.over_rate += refused,
                Kind::Quota => admitted.over_quota += refused,
            }
            if refused > 0 {
                admitted.retry_after = counter.retry_after(now, start);
            }
        }
        admitted
    }

    /// A counter for each limit. One whose period has not changed keeps what it has counted.
    fn counters(&mut self, subscription: &str, limits: &[Limit]) -> &mut Vec<Counter> {
        if !self.by_subscription.contains_key(subscription) {
            let counters = Vec::new();
            self.by_subscription
                .insert(subscription.to_owned(), counters);
        }
        let counters = self
            .by_subscription
            .get_mut(subscription)
            .expect("it was put there if it was missing");
        counters.truncate(limits.len());
        for (place, limit) in limits.iter().enumerate() {
            match counters.get_mut(place) {
                None => counters.push(Counter::new(limit)),
                Some(counter) if counter.kind == limit.kind && counter.period == limit.period => {}
                Some(counter) => *counter = Counter::new(limit),
            }
        }
        counters
    }
}

impl Counter {
    fn new(limit: &Limit) -> Self {
        let count = match limit.kind {
            Kind::Rate => Count::Sliding {
                seconds: VecDeque::new(),
                sum: 0,
            },
            Kind::Quota => Count::Fixed { window: 0, used: 0 },
        };
        Self {
            kind: limit.kind,
            period: limit.period,
            count,
        }
    }

    /// How many more calls fit in at second `now`; forgets what has left the window.
    fn room(&mut self, limit: &Limit, now: i64, start: i64) -> u64 {
        let period = i64::from(self.period);
        let used = match &mut self.count {
            Count::Sliding { seconds, sum } => {
                while let Some((second, calls)) = seconds.front()
                    && *second <= now - period
                {
                    *sum -= calls;
                    seconds.pop_front();
                }
                *sum
            }
            Count::Fixed { window, used } => {
                let current = number_of_window(now, start, period);
                if *window != current {
                    (*window, *used) = (current, 0);
                }
                *used
            }
        };
        limit.calls.saturating_sub(used)
    }

    fn count(&mut self, now: i64, calls: u64) {
        match &mut self.count {
            Count::Sliding { seconds, sum } => {
                *sum += calls;
                match seconds.back_mut() {
                    Some((second, counted)) if *second >= now => *counted += calls,
                    _ => seconds.push_back((now, calls)),
                }
            }
            Count::Fixed { used, .. } => *used += calls,
        }
    }

    fn retry_after(&self, now: i64, start: i64) -> i64 {
        let period = i64::from(self.period);
        match &self.count {
            Count::Sliding { seconds, .. } => seconds
                .iter()
                .find(|(_, calls)| *calls > 0)
                .map_or(period, |(second, _)| second + period - now),
            Count::Fixed { window, .. } => start + (window + 1) * period - now,
        }
    }
}

/// Windows are counted from the subscription's start; a period of 0 makes one window for life.
fn number_of_window(now: i64, start: i64, period: i64) -> i64 {
    if period == 0 {
        return 0;
    }
    (now - start).div_euclid(period)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};

    use super::{Admitted, Counters, Kind, Limit};

    fn start() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
    }

    fn limit(kind: Kind, calls: u64, period: u32) -> Limit {
        Limit {
            kind,
            calls,
            period,
        }
    }

    /// Sends `calls` at `second` after the start and gives what became of them.
    fn send(counters: &mut Counters, limits: &[Limit], second: i64, calls: u64) -> Admitted {
        let at = start() + TimeDelta::seconds(second);
        counters.admit("s", start(), limits, at, calls)
    }

    #[test]
    fn a_rate_limit_slides_with_the_clock() {
        let limits = [limit(Kind::Rate, 10, 60)];
        let mut counters = Counters::default();
        assert_eq!(send(&mut counters, &limits, 0, 6).served, 6);
        assert_eq!(send(&mut counters, &limits, 30, 6).served, 4);
        let refused = send(&mut counters, &limits, 59, 1);
        assert_eq!((refused.over_rate, refused.retry_after), (1, 1));
        assert_eq!(send(&mut counters, &limits, 60, 7).served, 6);
        assert_eq!(send(&mut counters, &limits, 90, 7).served, 4);
    }

    #[test]
    fn calls_that_are_refused_do_not_use_up_the_limit() {
        let limits = [limit(Kind::Rate, 1, 60)];
        let mut counters = Counters::default();
        send(&mut counters, &limits, 0, 1);
        send(&mut counters, &limits, 59, 1_000);
        assert_eq!(send(&mut counters, &limits, 60, 1).served, 1);
    }

    #[test]
    fn a_quota_begins_anew_in_windows_from_the_subscriptions_start() {
        let limits = [limit(Kind::Quota, 10, 3_600)];
        let mut counters = Counters::default();
        let first = send(&mut counters, &limits, 3_599, 12);
        assert_eq!((first.served, first.over_quota), (10, 2));
        assert_eq!(first.retry_after, 1);
        assert_eq!(send(&mut counters, &limits, 3_600, 12).served, 10);
    }

    #[test]
    fn a_quota_without_a_period_is_for_life() {
        let limits = [limit(Kind::Quota, 10, 0)];
        let mut counters = Counters::default();
        send(&mut counters, &limits, 0, 10);
        assert_eq!(send(&mut counters, &limits, 1_000_000_000, 1).over_quota, 1);
    }

    #[test]
    fn what_the_rate_limit_refuses_does_not_use_up_the_quota() {
        let limits = [limit(Kind::Rate, 5, 60), limit(Kind::Quota, 8, 0)];
        let mut counters = Counters::default();
        let first = send(&mut counters, &limits, 0, 7);
        assert_eq!((first.served, first.over_rate, first.over_quota), (5, 2, 0));
        let second = send(&mut counters, &limits, 60, 7);
        assert_eq!(
            (second.served, second.over_rate, second.over_quota),
            (3, 2, 2)
        );
    }

    #[test]
    fn a_raised_quota_keeps_what_was_used() {
        let mut counters = Counters::default();
        send(&mut counters, &[limit(Kind::Quota, 10, 0)], 0, 10);
        let raised = [limit(Kind::Quota, 15, 0)];
        assert_eq!(send(&mut counters, &raised, 1, 10).served, 5);
    }

    #[test]
    fn subscriptions_do_not_share_their_limits() {
        let limits = [limit(Kind::Quota, 1, 0)];
        let mut counters = Counters::default();
        for subscription in ["a", "b"] {
            let admitted = counters.admit(subscription, start(), &limits, start(), 1);
            assert_eq!(admitted.served, 1);
        }
    }
}
