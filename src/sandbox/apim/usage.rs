//! Call counts, kept as Azure's built-in analytics keeps them: in buckets of 15 minutes, by
//! status class, and visible only after a while; some of them later than the others, if that is
//! asked for.

mod series;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The length of a bucket, in seconds.
pub const BUCKET_SECONDS: i64 = 15 * 60;
/// How old a call is before a report shows it ("15 minutes or more"), unless set otherwise.
const DEFAULT_LAG: TimeDelta = TimeDelta::minutes(15);

/// What a call is counted under; an empty text where Azure shows `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Dimensions {
    pub subscription: String,
    pub product: String,
    pub user: String,
    pub api: String,
    pub operation: String,
    /// The status of the answers, which reports do not tell and logs do.
    #[serde(default)]
    pub status: u16,
}

/// Calls by the status of their answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers(Vec<(u16, Counts)>);

impl Answers {
    /// Adds `calls` calls that were answered with `status`, and `bytes` bytes each.
    pub fn add(&mut self, status: u16, calls: u64, bytes: u64) {
        self.add_counts(status, Counts::of(status, calls, bytes));
    }

    fn add_counts(&mut self, status: u16, counts: Counts) {
        if counts.total() == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == status) {
            Some((_, known)) => *known += counts,
            None => self.0.push((status, counts)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, Counts)> {
        self.0.iter().copied()
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (_, counts) in self.iter() {
            total += counts;
        }
        total
    }
}

impl AddAssign for Answers {
    fn add_assign(&mut self, more: Self) {
        for (status, counts) in more.iter() {
            self.add_counts(status, counts);
        }
    }
}

/// Calls by status class, and what they transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub success: u64,
    pub blocked: u64,
    pub failed: u64,
    pub other: u64,
    /// In bytes.
    pub bandwidth: u64,
}

impl Counts {
    /// `calls` calls that were answered with `status`, and `bytes` bytes each.
    pub fn of(status: u16, calls: u64, bytes: u64) -> Self {
        let mut counts = Self {
            bandwidth: calls * bytes,
            ..Self::default()
        };
        *counts.class(status) += calls;
        counts
    }

    pub fn total(&self) -> u64 {
        self.success + self.blocked + self.failed + self.other
    }

    /// The class that Azure's reports count `status` in.
    fn class(&mut self, status: u16) -> &mut u64 {
        match status {
            0..=301 | 304 | 307 => &mut self.success,
            401 | 403 | 429 => &mut self.blocked,
            400 | 500..=599 => &mut self.failed,
            _ => &mut self.other,
        }
    }
}

impl Counts {
    /// `calls` of these calls, and the rest of them.
    fn split(self, calls: u64) -> (Self, Self) {
        let (mut part, mut rest) = (Self::default(), self);
        let mut left = calls;
        for (moved, from) in [
            (&mut part.success, &mut rest.success),
            (&mut part.blocked, &mut rest.blocked),
            (&mut part.failed, &mut rest.failed),
            (&mut part.other, &mut rest.other),
        ] {
            *moved = left.min(*from);
            *from -= *moved;
            left -= *moved;
        }
        part.bandwidth = self.bandwidth * part.total() / self.total().max(1);
        rest.bandwidth -= part.bandwidth;
        (part, rest)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.success += more.success;
        self.blocked += more.blocked;
        self.failed += more.failed;
        self.other += more.other;
        self.bandwidth += more.bandwidth;
    }
}

/// One bucket of one combination of dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket<'a> {
    pub start: DateTime<Utc>,
    pub dimensions: &'a Dimensions,
    pub counts: Counts,
}

/// Calls that show up later than the others, so that what is reported first is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stragglers {
    /// How many of a hundred calls.
    pub percent: u8,
    /// How old they are then, unless all calls are older.
    pub lag: TimeDelta,
}

/// Calls by the second in which they were made.
type BySecond = BTreeMap<i64, Vec<(Arc<Dimensions>, Counts)>>;

/// Every call that the gateway answered.
#[derive(Debug, Deserialize)]
#[serde(from = "series::Kept<Dimensions>")]
pub struct Usage {
    lag: TimeDelta,
    stragglers: Stragglers,
    /// Calls since `stragglers` was set, and how many of them are late.
    since: (u64, u64),
    /// Calls until they are old enough for the reports.
    fresh: BySecond,
    /// Those of them that take longer.
    late: BySecond,
    /// What the reports show, by the bucket's start in Unix seconds.
    visible: BTreeMap<(i64, Arc<Dimensions>), Counts>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            lag: DEFAULT_LAG,
            stragglers: Stragglers::default(),
            since: (0, 0),
            fresh: BTreeMap::new(),
            late: BTreeMap::new(),
            visible: BTreeMap::new(),
        }
    }
}

impl Usage {
    pub fn lag(&self) -> TimeDelta {
        self.lag
    }

    /// Changes how old a call is before reports show it. What they already show stays.
    pub fn set_lag(&mut self, lag: TimeDelta) {
        self.lag = lag.max(TimeDelta::zero());
    }

    pub fn stragglers(&self) -> Stragglers {
        self.stragglers
    }

    /// From now on, lets a part of the calls show up later than the others.
    pub fn set_stragglers(&mut self, stragglers: Stragglers) {
        self.stragglers = Stragglers {
            percent: stragglers.percent.min(100),
            lag: stragglers.lag.max(TimeDelta::zero()),
        };
        self.since = (0, 0);
    }

    pub fn record(&mut self, at: DateTime<Utc>, dimensions: Arc<Dimensions>, counts: Counts) {
        let (late, fresh) = counts.split(self.late_among(counts.total()));
        if late.total() > 0 {
            let second = self.late.entry(at.timestamp()).or_default();
            second.push((Arc::clone(&dimensions), late));
        }
        if fresh.total() > 0 {
            let second = self.fresh.entry(at.timestamp()).or_default();
            second.push((dimensions, fresh));
        }
    }

    /// How many of the next `calls` calls are late, evenly over all of them.
    fn late_among(&mut self, calls: u64) -> u64 {
        let (made, late) = self.since;
        let made = made + calls;
        let due = made * u64::from(self.stragglers.percent) / 100;
        self.since = (made, due);
        due - late
    }

    /// Lets the reports show the calls that are old enough at `now`.
    pub fn settle(&mut self, now: DateTime<Utc>) {
        let longest = self.stragglers.lag.max(self.lag);
        for (calls, lag) in [(&mut self.fresh, self.lag), (&mut self.late, longest)] {
            let still_hidden = calls.split_off(&((now - lag).timestamp() + 1));
            for (second, calls) in std::mem::replace(calls, still_hidden) {
                for (dimensions, counts) in calls {
                    let key = (bucket_start(second), dimensions);
                    *self.visible.entry(key).or_default() += counts;
                }
            }
        }
    }

    /// The visible buckets that start in `[from, to]`; both ends count, as in Azure.
    pub fn buckets(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = Bucket<'_>> {
        let none = Arc::new(Dimensions::default());
        // A bucket start is a whole second: `ge` rounds up, `le` down.
        let from = from.timestamp() + i64::from(from.timestamp_subsec_nanos() > 0);
        let end = to.timestamp().saturating_add(1).max(from);
        self.visible
            .range((from, Arc::clone(&none))..(end, none))
            .filter_map(|((start, dimensions), counts)| {
                Some(Bucket {
                    start: DateTime::from_timestamp(*start, 0)?,
                    dimensions,
                    counts: *counts,
                })
            })
    }

    /// All calls so far by subscription, whether reports show them already or not. Calls without
    /// a valid key are under the empty text.
    pub fn by_subscription(&self) -> BTreeMap<String, Counts> {
        let visible = self
            .visible
            .iter()
            .map(|((_, dimensions), counts)| (dimensions, counts));
        let hidden = self.fresh.values().chain(self.late.values());
        let hidden = hidden
            .flatten()
            .map(|(dimensions, counts)| (dimensions, counts));
        let mut totals: BTreeMap<String, Counts> = BTreeMap::new();
        for (dimensions, counts) in visible.chain(hidden) {
            *totals.entry(dimensions.subscription.clone()).or_default() += *counts;
        }
        totals
    }
}

fn bucket_start(second: i64) -> i64 {
    second - second.rem_euclid(BUCKET_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta, TimeZone, Utc};

    use super::{Counts, Stragglers, Usage};

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
    }

    fn call(usage: &mut Usage, at: DateTime<Utc>) {
        usage.record(at, Arc::default(), Counts::of(200, 1, 100));
    }

    #[test]
    fn each_status_is_counted_in_the_class_that_azure_documents() {
        let classes = [
            (200, (1, 0, 0, 0)),
            (301, (1, 0, 0, 0)),
            (302, (0, 0, 0, 1)),
            (304, (1, 0, 0, 0)),
            (307, (1, 0, 0, 0)),
            (308, (0, 0, 0, 1)),
            (400, (0, 0, 1, 0)),
            (401, (0, 1, 0, 0)),
            (403, (0, 1, 0, 0)),
            (404, (0, 0, 0, 1)),
            (422, (0, 0, 0, 1)),
            (429, (0, 1, 0, 0)),
            (500, (0, 0, 1, 0)),
            (599, (0, 0, 1, 0)),
        ];
        for (status, expected) in classes {
            let counts = Counts::of(status, 1, 0);
            let found = (counts.success, counts.blocked, counts.failed, counts.other);
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn a_call_is_reported_only_when_it_is_as_old_as_the_lag() {
        let mut usage = Usage::default();
        call(&mut usage, noon());
        usage.settle(noon() + TimeDelta::minutes(15) - TimeDelta::seconds(1));
        assert_eq!(usage.buckets(noon(), noon()).count(), 0);
        usage.settle(noon() + TimeDelta::minutes(15));
        assert_eq!(usage.buckets(noon(), noon()).count(), 1);
    }

    #[test]
    fn a_call_that_is_not_reported_yet_is_still_in_the_true_totals() {
        let mut usage = Usage::default();
        call(&mut usage, noon());
        usage.settle(noon());
        assert_eq!(usage.by_subscription()[""].total(), 1);
    }

    #[test]
    fn a_part_of_the_calls_shows_up_later_than_the_others() {
        let mut usage = Usage::default();
        usage.set_stragglers(Stragglers {
            percent: 40,
            lag: TimeDelta::hours(6),
        });
        for _ in 0..2 {
            usage.record(noon(), Arc::default(), Counts::of(200, 5, 100));
        }
        let shown = |usage: &mut Usage, after| {
            usage.settle(noon() + after);
            let buckets = usage.buckets(noon(), noon());
            buckets
                .map(|bucket| (bucket.counts.success, bucket.counts.bandwidth))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&mut usage, TimeDelta::minutes(15)), [(6, 600)]);
        assert_eq!(shown(&mut usage, TimeDelta::hours(5)), [(6, 600)]);
        assert_eq!(usage.by_subscription()[""].total(), 10);
        assert_eq!(shown(&mut usage, TimeDelta::hours(6)), [(10, 1_000)]);
    }

    #[test]
    fn both_bounds_include_the_bucket_that_starts_there() {
        let mut usage = Usage::default();
        let quarter = TimeDelta::minutes(15);
        for bucket in 0..4 {
            call(
                &mut usage,
                noon() + quarter * bucket + TimeDelta::seconds(7),
            );
        }
        usage.settle(noon() + TimeDelta::hours(2));
        let starts: Vec<_> = usage
            .buckets(noon() + quarter, noon() + quarter * 2)
            .map(|bucket| bucket.start)
            .collect();
        assert_eq!(starts, [noon() + quarter, noon() + quarter * 2]);
        let just_after = noon() + quarter + TimeDelta::milliseconds(1);
        let just_before = noon() + quarter * 2 - TimeDelta::milliseconds(1);
        assert_eq!(usage.buckets(just_after, just_before).count(), 0);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_empty() {
        let usage = Usage::default();
        let found = usage.buckets(noon(), noon() - TimeDelta::hours(1));
        assert_eq!(found.count(), 0);
    }
}
