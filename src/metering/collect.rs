//! Reads the calls of the last days from APIM into the store.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{Metering, MeteringError, Rules, window};
use crate::apim::UsageRow;
use crate::store::usage::{Calls, Day};
use crate::store::{subscriptions, usage};

/// The farthest back that days are filled in: Stripe takes no older meter events.
const FARTHEST_BACK: Days = Days::new(35);

/// What a collection read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) days: usize,
    pub(super) calls: u64,
    /// Readings that were smaller than an earlier one of the same day, which stays.
    pub(super) shrunk: usize,
}

impl Metering {
    /// Reads every day that is due, one query a day for all subscriptions, the oldest first. A
    /// day is kept whole or not at all.
    pub(super) fn collect(&self, now: DateTime<Utc>) -> Result<Collected, MeteringError> {
        let today = now.date_naive();
        let read = self
            .store
            .read(|db| usage::collected_since(db, farthest_back(today)))?;
        let mut collected = Collected::default();
        for day in days_due(&read, &self.rules, today) {
            let of_day = self.collect_day(day, now)?;
            collected.days += 1;
            collected.calls += of_day.calls;
            collected.shrunk += of_day.shrunk;
        }
        Ok(collected)
    }

    /// Reads one UTC day, as far as it has passed.
    pub(super) fn collect_day(
        &self,
        day: NaiveDate,
        now: DateTime<Utc>,
    ) -> Result<Collected, MeteringError> {
        let rows = self.source.usage_by_subscription(day)?;
        let change = self.store.write(move |db| {
            let known: HashSet<String> = subscriptions::ids(db)?;
            let (ours, foreign) = split(rows, day, &known);
            let mut collected = Collected { days: 1, ..Collected::default() };
            for row in &ours {
                collected.calls += row.calls.total();
                if !usage::save_day(db, row, now)? {
                    collected.shrunk += 1;
                    tracing::warn!(subscription = %row.subscription_id, %day, "a day shrank; the larger reading stays");
                }
            }
            usage::mark_collected(db, day, ours.len() as u64, foreign, now)?;
            Ok(collected)
        });
        Ok(change.wait()?)
    }
}

/// The days to read on `today`: the last `reread_days`, today, and every earlier one that was
/// never read after its usage had settled, but never farther back than Stripe takes usage.
fn days_due(
    read: &HashMap<NaiveDate, DateTime<Utc>>,
    rules: &Rules,
    today: NaiveDate,
) -> Vec<NaiveDate> {
    let reread = Days::new(u64::from(rules.reread_days));
    let reread_from = today.checked_sub_days(reread).unwrap_or(today);
    let is_final = |day: &NaiveDate| {
        read.get(day)
            .is_some_and(|read_at| *read_at >= window::settled(*day, rules.settle))
    };
    farthest_back(today)
        .iter_days()
        .take_while(|day| *day <= today)
        .filter(|day| *day >= reread_from || !is_final(day))
        .collect()
}

fn farthest_back(today: NaiveDate) -> NaiveDate {
    today.checked_sub_days(FARTHEST_BACK).unwrap_or(today)
}

/// Our subscriptions' calls, those without any call left out, and how many rows are not ours.
/// A subscription that moved to another product or owner that day has several rows.
fn split(rows: Vec<UsageRow>, day: NaiveDate, known: &HashSet<String>) -> (Vec<Day>, u64) {
    let mut foreign = 0;
    let mut ours: BTreeMap<String, Calls> = BTreeMap::new();
    for row in rows {
        match row.subscription.filter(|id| known.contains(id)) {
            Some(id) => {
                let calls = ours.entry(id).or_default();
                calls.success += row.success;
                calls.blocked += row.blocked;
                calls.failed += row.failed;
                calls.other += row.other;
            }
            None => foreign += 1,
        }
    }
    let ours =
        ours.into_iter()
            .filter(|(_, calls)| calls.total() > 0)
            .map(|(subscription_id, calls)| Day {
                subscription_id,
                day,
                calls,
            });
    (ours.collect(), foreign)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use chrono::{NaiveDate, NaiveTime, TimeDelta};

    use super::{Rules, UsageRow, days_due, split};
    use crate::metering::window;

    const SETTLE: TimeDelta = TimeDelta::hours(12);

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// The days due on `today` when those of `read` were read for good, and those of `partly`
    /// on the day itself.
    fn due(read: &[&str], partly: &[&str], today: &str) -> Vec<String> {
        let rules = Rules {
            settle: SETTLE,
            backstop: TimeDelta::hours(48),
            reread_days: 1,
            daily_at: NaiveTime::MIN,
        };
        let well = read.iter().map(|text| day(text));
        let well = well.map(|day| (day, window::settled(day, SETTLE)));
        let partly = partly.iter().map(|text| day(text));
        let partly = partly.map(|day| (day, day.and_time(NaiveTime::MIN).and_utc()));
        let read: HashMap<_, _> = well.chain(partly).collect();
        let due = days_due(&read, &rules, day(today));
        due.iter().map(NaiveDate::to_string).collect()
    }

    fn all_from(first: &str, today: &str) -> Vec<String> {
        let days = day(first).iter_days().take_while(|one| *one <= day(today));
        days.map(|day| day.to_string()).collect()
    }

    #[test]
    fn the_first_run_goes_as_far_back_as_stripe_takes_usage() {
        assert_eq!(
            due(&[], &[], "2026-03-11"),
            all_from("2026-02-04", "2026-03-11")
        );
    }

    #[test]
    fn the_last_days_are_read_again_and_so_is_every_day_that_was_not_over_then() {
        let read = all_from("2026-02-01", "2026-03-08");
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        assert_eq!(
            due(&read, &["2026-03-09"], "2026-03-12"),
            all_from("2026-03-09", "2026-03-12")
        );
    }

    #[test]
    fn a_gap_before_newer_days_is_filled() {
        let mut read = all_from("2026-02-01", "2026-03-12");
        read.retain(|day| day != "2026-02-27");
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        assert_eq!(
            due(&read, &[], "2026-03-12"),
            ["2026-02-27", "2026-03-11", "2026-03-12"]
        );
    }

    #[test]
    fn the_rows_of_one_subscription_are_added_up() {
        let row = |subscription: &str, product: &str, success| UsageRow {
            subscription: Some(subscription.to_owned()),
            product: Some(product.to_owned()),
            user: None,
            success,
            blocked: 0,
            failed: 0,
            other: 0,
        };
        let rows = vec![
            row("sub_1", "payg", 10),
            row("sub_1", "pro", 5),
            row("sub_2", "pro", 0),
            row("someone", "pro", 7),
        ];
        let known = HashSet::from(["sub_1".to_owned(), "sub_2".to_owned()]);
        let (ours, foreign) = split(rows, day("2026-03-01"), &known);
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].calls.success, 15);
        assert_eq!(foreign, 1);
    }
}
