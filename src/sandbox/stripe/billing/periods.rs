//! Billing periods: where they start and end.
//!
//! Source: <https://docs.stripe.com/billing/subscriptions/billing-cycle>. A subscription has an
//! anchor, a moment at which a period starts; all other periods are counted from it in whole
//! intervals. In a month that is too short for the anchor's day the period starts on the month's
//! last day, and on the anchor's own day again afterwards.
//!
//! **Anchors chosen on creation.** With `billing_cycle_anchor_config` (day of month and a time of
//! day, UTC) the anchor is the *next* such moment at or after the start. From the start to the
//! anchor runs a first period that is shorter than an interval: licensed prices are prorated for
//! it, unless `proration_behavior` is `none`, and metered usage in it is billed at its end. So a
//! sign-up at 14:00 on the 17th with day 17 at 00:00:00 has a first period up to the 17th of the
//! following month, 00:00 — a month less fourteen hours — and whole months from there.
//! A `billing_cycle_anchor` timestamp works in the same way and must lie within one interval.

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc,
};

/// The unit of a recurring price's interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Day,
    Week,
    Month,
    Year,
}

/// `recurring.interval` × `recurring.interval_count`; the count is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) unit: Unit,
    pub(crate) count: u32,
}

impl Interval {
    /// The interval by Stripe's name of its unit.
    pub(crate) fn named(unit: &str, count: u32) -> Option<Self> {
        let unit = match unit {
            "day" => Unit::Day,
            "week" => Unit::Week,
            "month" => Unit::Month,
            "year" => Unit::Year,
            _ => return None,
        };
        Some(Self {
            unit,
            count: count.max(1),
        })
    }

    /// Whole months in the interval, if it is counted in months.
    fn months(self) -> Option<i64> {
        match self.unit {
            Unit::Day | Unit::Week => None,
            Unit::Month => Some(i64::from(self.count)),
            Unit::Year => Some(i64::from(self.count) * 12),
        }
    }

    /// Whole days in the interval, if it is counted in days.
    fn days(self) -> i64 {
        match self.unit {
            Unit::Day => i64::from(self.count),
            Unit::Week => i64::from(self.count) * 7,
            Unit::Month | Unit::Year => 0,
        }
    }
}

/// A moment at which a period starts, and the day of the month that it aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) at: DateTime<Utc>,
    /// 1 to 31. It differs from the day of `at` when that month was too short.
    pub(crate) day_of_month: u32,
}

impl Anchor {
    pub(crate) fn at(moment: DateTime<Utc>) -> Self {
        Self {
            at: moment,
            day_of_month: moment.day(),
        }
    }

    /// The start of the period that lies `index` intervals after the anchor's own.
    fn boundary(self, interval: Interval, index: i64) -> DateTime<Utc> {
        match interval.months() {
            Some(months) => self.months_later(months.saturating_mul(index)),
            None => days_later(self.at, interval.days().saturating_mul(index)),
        }
    }

    fn months_later(self, months: i64) -> DateTime<Utc> {
        let first = self.at.date_naive().with_day(1).unwrap_or_default();
        let count = Months::new(u32::try_from(months.unsigned_abs()).unwrap_or(u32::MAX));
        let month = if months < 0 {
            first.checked_sub_months(count)
        } else {
            first.checked_add_months(count)
        };
        clamped(month.unwrap_or(NaiveDate::MAX), self.day_of_month)
            .and_time(self.at.time())
            .and_utc()
    }

    /// The first period start strictly after `moment`, which may lie before the anchor.
    pub(crate) fn next_after(self, interval: Interval, moment: DateTime<Utc>) -> DateTime<Utc> {
        self.boundary(interval, self.index_of(interval, moment) + 1)
    }

    /// The last period start at or before `moment`, as if there had always been periods.
    pub(crate) fn last_until(self, interval: Interval, moment: DateTime<Utc>) -> DateTime<Utc> {
        self.boundary(interval, self.index_of(interval, moment))
    }

    /// The index of the period that contains `moment`.
    fn index_of(self, interval: Interval, moment: DateTime<Utc>) -> i64 {
        let estimate = match interval.months() {
            Some(months) => months_between(self.at, moment).div_euclid(months),
            None => (moment - self.at).num_days().div_euclid(interval.days()),
        };
        // The estimate knows only months or whole days; the truth is at most one interval away.
        (estimate - 1..=estimate + 1)
            .rev()
            .find(|index| self.boundary(interval, *index) <= moment)
            .unwrap_or(estimate - 1)
    }
}

/// `billing_cycle_anchor_config`; a time that is left out is that of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnchorConfig {
    pub(crate) day_of_month: u32,
    pub(crate) month: Option<u32>,
    pub(crate) hour: Option<u32>,
    pub(crate) minute: Option<u32>,
    pub(crate) second: Option<u32>,
}

impl AnchorConfig {
    /// The first moment at or after `start` that fits, or `None` for an interval of days or weeks,
    /// to which a day of the month cannot apply.
    pub(crate) fn first_anchor(self, interval: Interval, start: DateTime<Utc>) -> Option<Anchor> {
        let cycle = common_divisor(interval.months()?, 12);
        let time = self.time(start);
        let first = start.date_naive().with_day(1)?;
        (0..=12)
            .filter_map(|months| first.checked_add_months(Months::new(months)))
            .filter(|first| self.takes_month(*first, cycle))
            .map(|first| clamped(first, self.day_of_month).and_time(time).and_utc())
            .find(|at| *at >= start)
            .map(|at| Anchor {
                at,
                day_of_month: self.day_of_month,
            })
    }

    fn takes_month(self, first: NaiveDate, cycle: i64) -> bool {
        self.month
            .is_none_or(|month| (i64::from(first.month()) - i64::from(month)) % cycle == 0)
    }

    fn time(self, start: DateTime<Utc>) -> NaiveTime {
        let part = |chosen: Option<u32>, of_start: u32| chosen.unwrap_or(of_start);
        NaiveTime::from_hms_opt(
            part(self.hour, start.hour()),
            part(self.minute, start.minute()),
            part(self.second, start.second()),
        )
        .unwrap_or_default()
    }
}

fn clamped(first_of_month: NaiveDate, day: u32) -> NaiveDate {
    let last = first_of_month.num_days_in_month();
    first_of_month
        .with_day(day.clamp(1, u32::from(last)))
        .unwrap_or(first_of_month)
}

fn days_later(moment: DateTime<Utc>, days: i64) -> DateTime<Utc> {
    let count = Days::new(days.unsigned_abs());
    let day: Option<NaiveDateTime> = if days < 0 {
        moment.naive_utc().checked_sub_days(count)
    } else {
        moment.naive_utc().checked_add_days(count)
    };
    day.map_or(DateTime::<Utc>::MAX_UTC, |day| day.and_utc())
}

fn months_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    let months = |moment: DateTime<Utc>| i64::from(moment.year()) * 12 + i64::from(moment.month0());
    months(to) - months(from)
}

fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::{Anchor, AnchorConfig, Interval};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn interval(unit: &str, count: u32) -> Interval {
        Interval::named(unit, count).unwrap()
    }

    /// The starts of the periods that follow `anchor`, as text.
    fn check(anchor: Anchor, interval: Interval, expected: &[&str]) {
        let mut moment = anchor.at;
        for text in expected {
            let next = anchor.next_after(interval, moment);
            assert_eq!(next, at(text), "after {moment}");
            assert_eq!(anchor.last_until(interval, next), next);
            let second_before = next - chrono::TimeDelta::seconds(1);
            assert_eq!(anchor.last_until(interval, second_before), moment);
            moment = next;
        }
    }

    fn day_at_midnight(day_of_month: u32) -> AnchorConfig {
        AnchorConfig {
            day_of_month,
            month: None,
            hour: Some(0),
            minute: Some(0),
            second: Some(0),
        }
    }

    #[test]
    fn the_31st_clamps_to_short_months_and_comes_back() {
        let anchor = Anchor::at(at("2026-01-31T14:05:06Z"));
        check(
            anchor,
            interval("month", 1),
            &[
                "2026-02-28T14:05:06Z",
                "2026-03-31T14:05:06Z",
                "2026-04-30T14:05:06Z",
                "2026-05-31T14:05:06Z",
            ],
        );
    }

    #[test]
    fn a_leap_year_gives_the_29th_and_leap_day_clamps_in_other_years() {
        let anchor = Anchor::at(at("2027-12-31T00:00:00Z"));
        check(
            anchor,
            interval("month", 1),
            &[
                "2028-01-31T00:00:00Z",
                "2028-02-29T00:00:00Z",
                "2028-03-31T00:00:00Z",
            ],
        );
        let leap_day = Anchor::at(at("2028-02-29T09:00:00Z"));
        check(
            leap_day,
            interval("year", 1),
            &[
                "2029-02-28T09:00:00Z",
                "2030-02-28T09:00:00Z",
                "2031-02-28T09:00:00Z",
                "2032-02-29T09:00:00Z",
            ],
        );
    }

    #[test]
    fn days_weeks_and_several_months_count_from_the_anchor() {
        let anchor = Anchor::at(at("2026-10-30T08:00:00Z"));
        check(
            anchor,
            interval("day", 3),
            &["2026-11-02T08:00:00Z", "2026-11-05T08:00:00Z"],
        );
        check(
            anchor,
            interval("week", 2),
            &["2026-11-13T08:00:00Z", "2026-11-27T08:00:00Z"],
        );
        check(
            anchor,
            interval("month", 4),
            &["2027-02-28T08:00:00Z", "2027-06-30T08:00:00Z"],
        );
    }

    #[test]
    fn a_moment_before_the_anchor_lies_in_the_period_that_ends_at_it() {
        let anchor = Anchor::at(at("2026-03-15T00:00:00Z"));
        let monthly = interval("month", 1);
        assert_eq!(
            anchor.next_after(monthly, at("2026-03-01T00:00:00Z")),
            anchor.at
        );
        let start = anchor.last_until(monthly, at("2026-03-14T23:59:59Z"));
        assert_eq!(start, at("2026-02-15T00:00:00Z"));
        let weekly = interval("week", 1);
        assert_eq!(
            anchor.last_until(weekly, at("2026-03-14T00:00:00Z")),
            at("2026-03-08T00:00:00Z")
        );
    }

    #[test]
    fn a_configured_anchor_is_the_next_such_moment() {
        let monthly = interval("month", 1);
        let next = |day, start| {
            day_at_midnight(day)
                .first_anchor(monthly, at(start))
                .unwrap()
                .at
        };
        assert_eq!(next(17, "2026-11-17T14:00:00Z"), at("2026-12-17T00:00:00Z"));
        assert_eq!(next(17, "2026-11-17T00:00:00Z"), at("2026-11-17T00:00:00Z"));
        assert_eq!(next(31, "2026-01-31T14:00:00Z"), at("2026-02-28T00:00:00Z"));
        assert_eq!(next(30, "2026-02-10T14:00:00Z"), at("2026-02-28T00:00:00Z"));
    }

    #[test]
    fn a_configured_day_survives_a_first_anchor_in_a_short_month() {
        let monthly = interval("month", 1);
        let anchor = day_at_midnight(31)
            .first_anchor(monthly, at("2026-01-31T14:00:00Z"))
            .unwrap();
        check(
            anchor,
            monthly,
            &["2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"],
        );
    }

    #[test]
    fn a_configured_month_fits_the_length_of_the_interval() {
        let january = AnchorConfig {
            month: Some(1),
            ..day_at_midnight(1)
        };
        let start = at("2026-05-10T10:00:00Z");
        let first = |count| {
            january
                .first_anchor(interval("month", count), start)
                .unwrap()
                .at
        };
        assert_eq!(first(1), at("2026-06-01T00:00:00Z"));
        assert_eq!(first(3), at("2026-07-01T00:00:00Z"));
        let yearly = january.first_anchor(interval("year", 1), start).unwrap().at;
        assert_eq!(yearly, at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn parts_of_the_time_that_are_left_out_are_those_of_the_start() {
        let config = AnchorConfig {
            day_of_month: 20,
            month: None,
            hour: None,
            minute: Some(30),
            second: None,
        };
        let anchor = config
            .first_anchor(interval("month", 1), at("2026-11-17T14:05:06Z"))
            .unwrap();
        assert_eq!(anchor.at, at("2026-11-20T14:30:06Z"));
        assert_eq!(
            config.first_anchor(interval("week", 1), at("2026-11-17T14:05:06Z")),
            None
        );
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_exactly_one_period(
            anchor in 0_i64..4_000_000_000,
            moment in 0_i64..4_000_000_000,
            day_of_month in 1_u32..=31,
            unit in prop::sample::select(vec!["day", "week", "month", "year"]),
            count in 1_u32..=36,
        ) {
            let seconds = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
            let every = interval(unit, count);
            let config = AnchorConfig { hour: None, ..day_at_midnight(day_of_month) };
            let anchor = config
                .first_anchor(every, seconds(anchor))
                .unwrap_or(Anchor::at(seconds(anchor)));
            let start = anchor.last_until(every, seconds(moment));
            let end = anchor.next_after(every, seconds(moment));
            prop_assert!(start <= seconds(moment) && seconds(moment) < end);
            prop_assert_eq!(anchor.next_after(every, start), end);
            prop_assert_eq!(anchor.last_until(every, end), end);
        }
    }
}
