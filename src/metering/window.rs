//! When the usage of a billing period is complete, and when in it a total may be reported. Pure.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::store::period::{Period, first_day_at_or_after};

/// The end of a period that regular reports leave free for the ones that close it: each report
/// must carry a later time than the one before and still lie inside the period.
const RESERVED_FOR_CLOSE: TimeDelta = TimeDelta::hours(1);

/// The moment from which on no call can add to the period any more: the end of its last day.
///
/// With a midnight anchor that is the period's end; with another, the end of that day.
pub fn usage_ends(period: Period) -> DateTime<Utc> {
    first_day_at_or_after(period.end)
        .and_time(NaiveTime::MIN)
        .and_utc()
}

/// The timestamp of the next report of a period's total at `now`, given that of the one before.
///
/// Stripe's formula `last` takes the value with the latest timestamp inside the period, so each
/// report has to be later than the one before and still before [`reports_end`]. Absent when the period has no
/// second left. An hour is kept free for the reports that close it; each leaves a sixteenth of what is
/// left behind, so that one which is repeated on purpose overtakes what somebody else reported in
/// between, and a hundred find room.
pub fn report_time(
    period: Period,
    previous: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let second = TimeDelta::seconds(1);
    let regular = now.min(period.end - RESERVED_FOR_CLOSE).max(period.start);
    let candidate = match previous {
        Some(previous) if regular <= previous && period.end <= now => {
            let left = (reports_end(period) - previous).num_seconds();
            previous + TimeDelta::seconds((left / 16).max(1))
        }
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
    (candidate < reports_end(period)).then_some(candidate)
}

/// The moment before which a report has to lie to count for the period. Stripe sums meters up by
/// whole minutes, and a period that was broken off ends at any second.
pub fn reports_end(period: Period) -> DateTime<Utc> {
    whole_minute(period.end)
}

/// The beginning of the minute: Stripe's summaries begin and end there.
pub fn whole_minute(time: DateTime<Utc>) -> DateTime<Utc> {
    time - TimeDelta::seconds(time.timestamp().rem_euclid(60))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{report_time, usage_ends};
    use crate::store::period::Period;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}Z").parse().unwrap()
    }

    fn period(start: &str, end: &str) -> Period {
        Period {
            start: at(start),
            end: at(end),
        }
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
    fn an_hour_has_room_for_a_hundred_reports_that_close_a_period() {
        let whole = period("2026-01-01T00:00:00", "2026-02-01T00:00:00");
        let after = whole.end + TimeDelta::hours(12);
        let mut times = Vec::new();
        while let Some(next) = report_time(whole, times.last().copied(), after) {
            times.push(next);
        }
        assert!(times.is_sorted() && times.len() > 90, "{}", times.len());
        assert_eq!(times[1], times[0] + TimeDelta::seconds(225));
        assert_eq!(times.last(), Some(&at("2026-01-31T23:59:59")));
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

    #[test]
    fn a_period_that_was_broken_off_takes_reports_until_its_last_whole_minute() {
        let broken_off = period("2026-01-01T00:00:00", "2026-01-10T12:34:56");
        let last = at("2026-01-10T12:33:58");
        let after = at("2026-01-11T12:00:00");
        assert_eq!(
            report_time(broken_off, Some(last), after),
            Some(last + TimeDelta::seconds(1))
        );
        let last = at("2026-01-10T12:33:59");
        assert_eq!(report_time(broken_off, Some(last), after), None);
    }

    #[test]
    fn usage_ends_with_the_day_in_which_the_period_does() {
        let midnight = period("2026-02-28T00:00:00", "2026-03-31T00:00:00");
        assert_eq!(usage_ends(midnight), at("2026-03-31T00:00:00"));
        let afternoon = period("2026-01-15T13:00:00", "2026-02-15T13:00:00");
        assert_eq!(usage_ends(afternoon), at("2026-02-16T00:00:00"));
    }
}
