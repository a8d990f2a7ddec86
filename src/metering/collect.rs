//! Reads the calls of the last days from APIM into the store, and writes down what looks wrong.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use rusqlite::Connection;

use super::{Metering, MeteringError, Outages, Rules, doubt, parallel};
use crate::apim::{UsageRow, UsageSource};
use crate::store::findings::{self, Kind};
use crate::store::usage::{Calls, Day};
use crate::store::{StoreError, period, subscriptions, usage};

/// The farthest back that days are filled in: Stripe takes no older meter events.
const FARTHEST_BACK: Days = Days::new(35);
/// Days that are asked for side by side, because most of that is waiting. They are kept one after
/// another, the oldest first, and until then they take memory.
const DAYS_AT_ONCE: usize = 2;
/// Strangers that a finding names.
const NAMED: usize = 5;

/// What a collection read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) days: usize,
    pub(super) calls: u64,
    /// Readings that were smaller than an earlier one of the same day, which stays.
    pub(super) shrunk: usize,
    /// What could not be read.
    pub(super) problems: Vec<String>,
}

/// What there is of a day.
struct Answer {
    rows: Vec<UsageRow>,
    opinion: Opinion,
    /// Why there is no second opinion, where there should be one.
    problems: Vec<String>,
}

/// What the second source says of a day.
enum Opinion {
    /// It was not asked, or did not answer.
    None,
    Same,
    Other(String),
}

impl Metering {
    /// Reads every day that is due, one query a day for all subscriptions, the oldest first. A
    /// day is kept whole or not at all; one that cannot be read does not stop the others, unless
    /// the source seems to be down.
    pub(super) fn collect(&self, now: DateTime<Utc>) -> Result<Collected, MeteringError> {
        let today = now.date_naive();
        let oldest = farthest_back(farthest_back(today));
        let read = self.store.read(|db| usage::collected_since(db, oldest))?;
        self.note_missed(missed(&read, &self.rules, today), now)?;
        let mut collected = Collected::default();
        let mut outages = Outages::default();
        let due = days_due(&read, &self.rules, today);
        let at_once = self.rules.concurrency.clamp(1, DAYS_AT_ONCE);
        for days in due.chunks(at_once) {
            let ask = |day| (day, self.ask_day(day, now));
            for (day, answer) in parallel::map(days.to_vec(), at_once, ask, |_| true) {
                let result = answer.and_then(|answer| self.keep_day(day, answer, now));
                outages.note(&result);
                match result {
                    Ok(of_day) => {
                        collected.days += 1;
                        collected.calls += of_day.calls;
                        collected.shrunk += of_day.shrunk;
                        collected.problems.extend(of_day.problems);
                    }
                    Err(MeteringError::Store(error)) => return Err(error.into()),
                    Err(error) => collected.problems.push(error.in_words()),
                }
            }
            if outages.are_too_many() {
                let rest = "the other days, because the source seems to be down";
                collected.problems.push(rest.to_owned());
                break;
            }
        }
        Ok(collected)
    }

    /// Reads one UTC day, as far as it has passed.
    pub(super) fn collect_day(
        &self,
        day: NaiveDate,
        now: DateTime<Utc>,
    ) -> Result<Collected, MeteringError> {
        let answer = self.ask_day(day, now)?;
        self.keep_day(day, answer, now)
    }

    /// Asks for a day. Once it has settled, the second source is held against the first; should that
    /// fail, the first still counts.
    fn ask_day(&self, day: NaiveDate, now: DateTime<Utc>) -> Result<Answer, MeteringError> {
        let before = self.store.read(|db| usage::calls_of_everybody(db, day))?;
        let rows = self.ask(&self.source, day, before, now)?;
        let mut problems = Vec::new();
        let opinion = match self.second_opinion(day, &rows, now) {
            Ok(opinion) => opinion,
            Err(MeteringError::Store(error)) => return Err(error.into()),
            Err(error) => {
                problems.push(error.in_words());
                Opinion::None
            }
        };
        Ok(Answer {
            rows,
            opinion,
            problems,
        })
    }

    fn keep_day(
        &self,
        day: NaiveDate,
        answer: Answer,
        now: DateTime<Utc>,
    ) -> Result<Collected, MeteringError> {
        let source = self.source.name();
        let change = self.store.write(move |db| {
            let collected = keep(db, answer.rows, day, source, now)?;
            let differs = |detail| findings::set(db, Kind::Difference, Some(day), "", detail, now);
            match &answer.opinion {
                Opinion::None => {}
                Opinion::Same => differs(None)?,
                Opinion::Other(difference) => differs(Some(difference))?,
            }
            Ok(Collected {
                problems: answer.problems,
                ..collected
            })
        });
        Ok(change.wait()?)
    }

    /// Asks a source, and writes down whether it answered. One that has no call of anybody any more,
    /// where it had `before`, did not: calls do not vanish.
    fn ask(
        &self,
        source: &UsageSource,
        day: NaiveDate,
        before: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<UsageRow>, MeteringError> {
        let result = source.usage_by_subscription(day);
        let result = result.map_err(MeteringError::from).and_then(|rows| {
            let is_empty = rows.iter().all(|row| doubt::calls(row).total() == 0);
            if is_empty && before > 0 {
                return Err(MeteringError::Emptied(before));
            }
            Ok(rows)
        });
        let name = source.name();
        let problem = result.as_ref().err().map(|error| {
            let error = error.in_words();
            tracing::error!(source = name, %day, %error, "a usage source did not answer");
            format!("{name}: {error}. Nothing of that day is taken over; it is asked again.")
        });
        let change = self.store.write(move |db| {
            findings::set(db, Kind::Unanswered, None, name, problem.as_deref(), now)
        });
        change.wait()?;
        result
    }

    /// What the second source says of a settled day.
    fn second_opinion(
        &self,
        day: NaiveDate,
        rows: &[UsageRow],
        now: DateTime<Utc>,
    ) -> Result<Opinion, MeteringError> {
        let Some(check) = &self.check else {
            return Ok(Opinion::None);
        };
        if now < period::settled(day, self.rules.settle) {
            return Ok(Opinion::None);
        }
        let second = self.ask(&check.source, day, 0, now)?;
        let difference = doubt::difference(
            (self.source.name(), rows),
            (check.source.name(), &second),
            check.percent,
        );
        Ok(match difference {
            None => Opinion::Same,
            Some(difference) => {
                tracing::error!(%day, %difference, "the usage sources differ");
                Opinion::Other(difference)
            }
        })
    }

    fn note_missed(&self, days: Vec<NaiveDate>, now: DateTime<Utc>) -> Result<(), MeteringError> {
        if days.is_empty() {
            return Ok(());
        }
        let change = self.store.write(move |db| {
            for day in days {
                if !findings::is_noted(db, Kind::Missed, day)? {
                    tracing::error!(%day, "a day was never read completely and is too old now");
                    let detail = "It was not read completely in time, and Stripe takes no usage \
                                  that old any more: calls of that day that are on no invoice are \
                                  lost.";
                    findings::note(db, Kind::Missed, Some(day), "", detail, now)?;
                }
            }
            Ok(())
        });
        Ok(change.wait()?)
    }
}

/// Keeps a day's reading and what looks wrong about it.
fn keep(
    db: &Connection,
    rows: Vec<UsageRow>,
    day: NaiveDate,
    source: &str,
    now: DateTime<Utc>,
) -> Result<Collected, StoreError> {
    let total = rows.iter().map(|row| doubt::calls(row).total()).sum();
    let known: HashSet<String> = subscriptions::ids(db)?;
    let (ours, strangers) = split(rows, day, &known);
    let mut collected = Collected {
        days: 1,
        ..Collected::default()
    };
    // A day's row of one subscription at a time: all of a day would be a walk through all days.
    let only = day..=day;
    let mut shrunk = Vec::new();
    for row in &ours {
        collected.calls += row.calls.total();
        if !usage::save_day(db, row, now)? {
            shrunk.push((row.subscription_id.as_str(), row.calls.total()));
        }
    }
    let read: HashSet<&str> = ours
        .iter()
        .map(|row| row.subscription_id.as_str())
        .collect();
    for id in known.iter().filter(|id| !read.contains(id.as_str())) {
        if usage::total(db, id, &only)?.total() > 0 {
            shrunk.push((id, 0));
        }
    }
    for (id, calls) in &shrunk {
        tracing::warn!(subscription = %id, %day, "a day shrank; the larger reading stays");
        let detail = format!("{source}: {id} had {calls} calls now and more before, which stay.");
        findings::note(db, Kind::Shrunk, Some(day), id, &detail, now)?;
    }
    collected.shrunk = shrunk.len();
    findings::set(db, Kind::Missed, Some(day), "", None, now)?;
    let detail = strangers.in_words();
    findings::set(db, Kind::Unknown, Some(day), "", detail.as_deref(), now)?;
    note_silence(db, total, day, source, now)?;
    usage::mark_collected(db, day, ours.len() as u64, strangers.rows, total, now)?;
    Ok(collected)
}

/// A day that is over and has no call of anybody may mean that the source gets none any more.
fn note_silence(
    db: &Connection,
    total: u64,
    day: NaiveDate,
    source: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let before = usage::calls_before(db, day, doubt::BUSY_DAYS)?;
    let day_before = day.pred_opt().unwrap_or(day);
    let was_silent = findings::is_noted(db, Kind::Silent, day_before)?;
    let is_over = day < now.date_naive();
    let silent = is_over && doubt::is_silent(total, &before, was_silent);
    let detail = silent.then(|| {
        tracing::error!(source, %day, "a usage source has no call of anybody");
        format!(
            "{source}: no call of anybody, though every day of the week before had some. If nobody \
             called, that is right; if somebody did, see whether it still gets the gateway’s calls."
        )
    });
    findings::set(db, Kind::Silent, Some(day), "", detail.as_deref(), now)
}

/// The days that can be read no more and were never read after their usage had settled, from the
/// first reading on.
fn missed(
    read: &HashMap<NaiveDate, DateTime<Utc>>,
    rules: &Rules,
    today: NaiveDate,
) -> Vec<NaiveDate> {
    let Some(first) = read.keys().min() else {
        return Vec::new();
    };
    let oldest = farthest_back(today);
    first
        .iter_days()
        .take_while(|day| *day < oldest)
        .filter(|day| !is_final(read, rules, *day))
        .collect()
}

fn is_final(read: &HashMap<NaiveDate, DateTime<Utc>>, rules: &Rules, day: NaiveDate) -> bool {
    read.get(&day)
        .is_some_and(|read_at| *read_at >= period::settled(day, rules.settle))
}

/// Calls that are not of our subscriptions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Strangers {
    rows: u64,
    /// By the subscription; without one, by the empty text.
    calls: BTreeMap<String, u64>,
}

impl Strangers {
    fn note(&mut self, id: Option<&str>, calls: u64) {
        self.rows += 1;
        if calls > 0 {
            *self
                .calls
                .entry(id.unwrap_or_default().to_owned())
                .or_default() += calls;
        }
    }

    fn in_words(&self) -> Option<String> {
        let named = self
            .calls
            .iter()
            .take(NAMED)
            .map(|(id, calls)| match id.as_str() {
                "" => format!("{calls} calls without a subscription"),
                id => format!("{calls} calls of {id}"),
            });
        let named: Vec<String> = named.collect();
        let more = match self.calls.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        (!named.is_empty()).then(|| format!("{}{more}: billed to nobody.", named.join(", ")))
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
    farthest_back(today)
        .iter_days()
        .take_while(|day| *day <= today)
        .filter(|day| *day >= reread_from || !is_final(read, rules, *day))
        .collect()
}

fn farthest_back(today: NaiveDate) -> NaiveDate {
    today.checked_sub_days(FARTHEST_BACK).unwrap_or(today)
}

/// Our subscriptions' calls, those without any call left out, and what is not ours.
/// A subscription that moved to another product or owner that day has several rows.
fn split(rows: Vec<UsageRow>, day: NaiveDate, known: &HashSet<String>) -> (Vec<Day>, Strangers) {
    let mut strangers = Strangers::default();
    let mut ours: BTreeMap<String, Calls> = BTreeMap::new();
    for row in rows {
        let of_row = doubt::calls(&row);
        match row.subscription {
            Some(id) if known.contains(&id) => {
                let calls = ours.entry(id).or_default();
                *calls = calls.and(of_row);
            }
            stranger => strangers.note(stranger.as_deref(), of_row.total()),
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
    (ours.collect(), strangers)
}

#[cfg(test)]
mod cuts;

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use chrono::{NaiveDate, NaiveTime, TimeDelta};

    use super::{Rules, UsageRow, days_due, keep, missed, split};
    use crate::config::Mode;
    use crate::store::subscriptions::testing::subscription;
    use crate::store::testing::scratch;
    use crate::store::{period, subscriptions, usage};

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
            mode: Mode::Live,
            concurrency: 1,
            reconcile_daily: true,
        };
        let well = read.iter().map(|text| day(text));
        let well = well.map(|day| (day, period::settled(day, SETTLE)));
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
    fn a_day_is_missed_when_it_was_not_read_in_time_after_a_first_reading() {
        let rules = Rules {
            settle: SETTLE,
            backstop: TimeDelta::hours(48),
            reread_days: 1,
            daily_at: NaiveTime::MIN,
            mode: Mode::Live,
            concurrency: 1,
            reconcile_daily: true,
        };
        let read = |days: &[&str]| -> HashMap<_, _> {
            let days = days.iter().map(|text| day(text));
            days.map(|day| (day, period::settled(day, SETTLE)))
                .collect()
        };
        let today = day("2026-03-11");
        let none: Vec<NaiveDate> = Vec::new();
        assert_eq!(
            missed(&HashMap::new(), &rules, today),
            none,
            "the first run"
        );
        let all = read(&["2026-02-02", "2026-02-03", "2026-02-04"]);
        assert_eq!(missed(&all, &rules, today), none);
        let gap = read(&["2026-02-01"]);
        let expected = [day("2026-02-02"), day("2026-02-03")];
        assert_eq!(
            missed(&gap, &rules, today),
            expected,
            "36 days without an answer"
        );
    }

    #[test]
    fn a_day_that_shrinks_or_is_missing_keeps_the_larger_reading_and_is_noted() {
        let scratch = scratch();
        let today = day("2026-03-01");
        let row = |id: &str, success| UsageRow {
            subscription: Some(id.to_owned()),
            product: None,
            user: None,
            success,
            blocked: 0,
            failed: 0,
            other: 0,
        };
        let (first, second) = (
            vec![row("sub_1", 10), row("sub_2", 10), row("sub_3", 10)],
            vec![row("sub_1", 12), row("sub_2", 4)],
        );
        let change = scratch.store.write(move |db| {
            for id in ["sub_1", "sub_2", "sub_3"] {
                subscriptions::save(db, &subscription(id))?;
            }
            let now = today.and_time(NaiveTime::MIN).and_utc();
            keep(db, first, today, "the source", now)?;
            let collected = keep(db, second, today, "the source", now)?;
            let kept = ["sub_1", "sub_2", "sub_3"].map(|id| usage::total(db, id, &(today..=today)));
            Ok((collected.shrunk, kept.map(|calls| calls.unwrap().total())))
        });
        let (shrunk, kept) = change.wait().unwrap();
        assert_eq!((shrunk, kept), (2, [12, 10, 10]));
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
        let (ours, strangers) = split(rows, day("2026-03-01"), &known);
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].calls.success, 15);
        assert_eq!(strangers.rows, 1);
        let words = strangers.in_words().unwrap();
        assert_eq!(words, "7 calls of someone: billed to nobody.");
    }
}
