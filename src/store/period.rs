//! Billing periods, which UTC days belong to them, and when a day is known for good.

use std::ops::RangeInclusive;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

/// How long a metered period lasts at least that we break off ourselves: Stripe's meters count by whole
/// minutes, so that one within a minute could be told nothing. A period that begins sooner after its
/// subscription is its first.
pub const SHORTEST: TimeDelta = TimeDelta::minutes(2);

/// A billing period: the start belongs to it, the end does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl Period {
    /// The UTC days whose usage the period bills, both ends included.
    ///
    /// A day belongs to the period in which it starts, whatever the anchor's time of day: so every
    /// day belongs to exactly one period. The first period also takes the day in which the
    /// subscription began, which started before it: no earlier period exists that could have it.
    ///
    /// Empty (start after end) where no day starts inside the period.
    pub fn days(self, subscription_start: DateTime<Utc>) -> RangeInclusive<NaiveDate> {
        let is_first = self.start - subscription_start < SHORTEST;
        let first = if is_first {
            self.start.date_naive()
        } else {
            first_day_at_or_after(self.start)
        };
        let last = first_day_at_or_after(self.end)
            .pred_opt()
            .unwrap_or(NaiveDate::MIN);
        first..=last
    }
}

/// The first day that starts at `moment` or later.
pub fn first_day_at_or_after(moment: DateTime<Utc>) -> NaiveDate {
    let day = moment.date_naive();
    if moment.time() == NaiveTime::MIN {
        day
    } else {
        day.checked_add_days(Days::new(1)).unwrap_or(day)
    }
}

/// The moment from which on a reading of a day's calls is taken as final.
pub fn settled(day: NaiveDate, settle: TimeDelta) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1) + settle
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, Utc};
    use proptest::prelude::*;

    use super::Period;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}Z").parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn period(start: &str, end: &str) -> Period {
        Period {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn a_midnight_period_holds_its_days_and_the_next_period_the_next() {
        let start = at("2026-01-31T13:45:10");
        let first = period("2026-01-31T13:45:10", "2026-02-28T00:00:00");
        assert_eq!(first.days(start), day("2026-01-31")..=day("2026-02-27"));
        let second = period("2026-02-28T00:00:00", "2026-03-31T00:00:00");
        assert_eq!(second.days(start), day("2026-02-28")..=day("2026-03-30"));
    }

    #[test]
    fn a_first_period_may_begin_a_moment_after_its_subscription() {
        let first = period("2026-01-31T13:45:12", "2026-02-28T00:00:00");
        let days = first.days(at("2026-01-31T13:45:10"));
        assert_eq!(days, day("2026-01-31")..=day("2026-02-27"));
    }

    #[test]
    fn with_another_anchor_a_day_belongs_to_the_period_in_which_it_starts() {
        let start = at("2026-01-15T13:00:00");
        let first = period("2026-01-15T13:00:00", "2026-02-15T13:00:00");
        assert_eq!(first.days(start), day("2026-01-15")..=day("2026-02-15"));
        let second = period("2026-02-15T13:00:00", "2026-03-15T13:00:00");
        assert_eq!(second.days(start), day("2026-02-16")..=day("2026-03-15"));
    }

    proptest! {
        /// Every day from the first on belongs to exactly one of consecutive periods, also where some
        /// of them are broken off on the day on which they began.
        #[test]
        fn consecutive_periods_share_out_the_days(
            start in 1_767_225_600_i64..1_800_000_000,
            lengths in proptest::collection::vec(prop_oneof![120_i64..100_000, 120_i64..3_000_000], 1..8),
        ) {
            let moment = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
            let mut expected = moment(start).date_naive();
            let mut from = start;
            for length in lengths {
                let period = Period { start: moment(from), end: moment(from + length) };
                let days = period.days(moment(start));
                prop_assert_eq!(*days.start(), expected);
                expected = days.end().succ_opt().unwrap();
                from += length;
            }
        }
    }
}
