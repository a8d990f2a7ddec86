//! Which UTC days belong to a billing period, and when in it a total may be reported. Pure.

use std::ops::RangeInclusive;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::store::subscriptions::Period;

/// The end of a period that regular reports leave free for the ones that close it: each report
/// must carry a later time than the one before and still lie inside the period.
const RESERVED_FOR_CLOSE: TimeDelta = TimeDelta::hours(1);

/// The UTC days whose usage a period bills, both ends included.
///
/// A day belongs to the period in which it starts, whatever the anchor's time of day: so every day
/// belongs to exactly one period. The first period also takes the day in which the subscription
/// began, which started before it: no earlier period exists that could have it.
///
/// Empty (start after end) where no day starts inside the period.
pub fn days(period: Period, subscription_start: DateTime<Utc>) -> RangeInclusive<NaiveDate> {
    let is_first = subscription_start >= period.start || same_day(subscription_start, period.start);
    let first = if is_first {
        period.start.date_naive()
    } else {
        first_day_at_or_after(period.start)
    };
    let last = first_day_at_or_after(period.end)
        .pred_opt()
        .unwrap_or(NaiveDate::MIN);
    first..=last
}

fn same_day(one: DateTime<Utc>, other: DateTime<Utc>) -> bool {
    one.date_naive() == other.date_naive()
}

fn first_day_at_or_after(moment: DateTime<Utc>) -> NaiveDate {
    let day = moment.date_naive();
    if moment.time() == NaiveTime::MIN {
        day
    } else {
        day.checked_add_days(Days::new(1)).unwrap_or(day)
    }
}

/// The moment from which on no call can add to the period any more: the end of its last day.
///
/// With a midnight anchor that is the period's end; with another, the end of that day.
pub fn usage_ends(period: Period) -> DateTime<Utc> {
    first_day_at_or_after(period.end)
        .and_time(NaiveTime::MIN)
        .and_utc()
}

/// The moment from which on a reading of a day's calls is taken as final.
pub fn settled(day: NaiveDate, settle: TimeDelta) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1) + settle
}

/// The timestamp of the next report of a period's total at `now`, given that of the one before.
///
/// Stripe's formula `last` takes the value with the latest timestamp inside the period, so each
/// report has to be later than the one before and still inside. Absent when the period has no
/// second left (an hour is kept free for the reports that close it, one a second).
pub fn report_time(
    period: Period,
    previous: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let second = TimeDelta::seconds(1);
    let regular = now.min(period.end - RESERVED_FOR_CLOSE).max(period.start);
    let candidate = match previous {
        Some(previous) => regular.max(previous + second),
        None => regular,
    };
    let whole = DateTime::from_timestamp(candidate.timestamp(), 0)?;
    // Cutting off the fraction must not move it before the period.
    let candidate = if whole < period.start {
        whole + second
    } else {
        whole
    };
    (candidate < period.end).then_some(candidate)
}

/// Stripe's summaries begin and end on whole minutes; a first period begins at any second.
pub fn whole_minute(time: DateTime<Utc>) -> DateTime<Utc> {
    time - TimeDelta::seconds(time.timestamp().rem_euclid(60))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::{days, report_time, usage_ends};
    use crate::store::subscriptions::Period;

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
        assert_eq!(days(first, start), day("2026-01-31")..=day("2026-02-27"));
        let second = period("2026-02-28T00:00:00", "2026-03-31T00:00:00");
        assert_eq!(days(second, start), day("2026-02-28")..=day("2026-03-30"));
        assert_eq!(usage_ends(second), at("2026-03-31T00:00:00"));
    }

    #[test]
    fn with_another_anchor_a_day_belongs_to_the_period_in_which_it_starts() {
        let start = at("2026-01-15T13:00:00");
        let first = period("2026-01-15T13:00:00", "2026-02-15T13:00:00");
        assert_eq!(days(first, start), day("2026-01-15")..=day("2026-02-15"));
        assert_eq!(usage_ends(first), at("2026-02-16T00:00:00"));
        let second = period("2026-02-15T13:00:00", "2026-03-15T13:00:00");
        assert_eq!(days(second, start), day("2026-02-16")..=day("2026-03-15"));
    }

    #[test]
    fn reports_move_forward_inside_the_period_and_stop_at_its_end() {
        let whole = period("2026-01-01T00:00:00", "2026-02-01T00:00:00");
        let noon = at("2026-01-10T12:00:00");
        assert_eq!(report_time(whole, None, noon), Some(noon));
        assert_eq!(
            report_time(whole, Some(noon), noon),
            Some(noon + TimeDelta::seconds(1))
        );
        let after = at("2026-02-01T12:00:00");
        assert_eq!(
            report_time(whole, Some(noon), after),
            Some(at("2026-01-31T23:00:00"))
        );
        let last = at("2026-01-31T23:59:59");
        assert_eq!(report_time(whole, Some(last), after), None);
    }

    #[test]
    fn a_report_in_the_very_first_second_is_not_before_the_period() {
        let start = at("2026-01-01T10:00:00.700");
        let first = Period {
            start,
            end: at("2026-02-01T00:00:00"),
        };
        assert!(report_time(first, None, start).unwrap() >= start);
    }

    proptest! {
        /// Every day from the first on belongs to exactly one of consecutive periods.
        #[test]
        fn consecutive_periods_share_out_the_days(
            start in 1_767_225_600_i64..1_800_000_000,
            lengths in proptest::collection::vec(86_400_i64..3_000_000, 1..8),
        ) {
            let moment = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
            let mut expected = moment(start).date_naive();
            let mut from = start;
            for length in lengths {
                let period = Period { start: moment(from), end: moment(from + length) };
                let days = days(period, moment(start));
                prop_assert_eq!(*days.start(), expected);
                expected = days.end().succ_opt().unwrap();
                from += length;
            }
        }
    }
}
