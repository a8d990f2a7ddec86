//! Calls per subscription and UTC day, and what of them was reported to Stripe's meters.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::subscriptions::Period;
use super::{StoreError, comparisons, findings, seconds, time};
use crate::catalogue::StatusClass;

/// The calls of one subscription, by the class of their answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    pub success: u64,
    pub blocked: u64,
    pub failed: u64,
    pub other: u64,
}

impl Calls {
    pub fn total(self) -> u64 {
        self.success + self.blocked + self.failed + self.other
    }

    /// The calls that count, given the classes that do. Blocked ones never do.
    pub fn billable(self, classes: &[StatusClass]) -> u64 {
        let of_class = |class: &StatusClass| match class {
            StatusClass::Success => self.success,
            StatusClass::Failed => self.failed,
            StatusClass::Other => self.other,
        };
        classes.iter().map(of_class).sum()
    }
}

impl Calls {
    /// The sum, class by class.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            success: self.success + more.success,
            blocked: self.blocked + more.blocked,
            failed: self.failed + more.failed,
            other: self.other + more.other,
        }
    }
}

/// A subscription's calls of one UTC day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    pub subscription_id: String,
    pub day: NaiveDate,
    pub calls: Calls,
}

/// Keeps what was read for a subscription and day. Calls that happened cannot un-happen: where an
/// earlier reading was larger, it stays, and the answer is `false`. A period that was compared before
/// its day grew is compared again.
pub fn save_day(db: &Connection, day: &Day, now: DateTime<Utc>) -> Result<bool, StoreError> {
    if comparisons::may_know(day.day, now) {
        let known = total(db, &day.subscription_id, &(day.day..=day.day))?;
        if known.total() < day.calls.total() {
            comparisons::forget(db, &day.subscription_id, day.day)?;
        }
    }
    let mut statement = db.prepare_cached(
        "INSERT INTO usage_days (subscription_id, day, success, blocked, failed, other, read_at)
         VALUES (:id, :day, :success, :blocked, :failed, :other, :now)
         ON CONFLICT (subscription_id, day) DO UPDATE SET success = excluded.success,
             blocked = excluded.blocked, failed = excluded.failed, other = excluded.other,
             read_at = excluded.read_at
         WHERE excluded.success + excluded.blocked + excluded.failed + excluded.other
             >= success + blocked + failed + other",
    )?;
    let kept = statement.execute(named_params! {
        ":id": day.subscription_id,
        ":day": day.day.to_string(),
        ":success": day.calls.success,
        ":blocked": day.calls.blocked,
        ":failed": day.calls.failed,
        ":other": day.calls.other,
        ":now": seconds(now),
    })?;
    Ok(kept == 1)
}

/// The sum of a subscription's calls over `days`, both ends included.
pub fn total(
    db: &Connection,
    subscription_id: &str,
    days: &RangeInclusive<NaiveDate>,
) -> Result<Calls, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT coalesce(sum(success), 0), coalesce(sum(blocked), 0), coalesce(sum(failed), 0),
                coalesce(sum(other), 0)
         FROM usage_days WHERE subscription_id = ?1 AND day BETWEEN ?2 AND ?3",
    )?;
    let range = (
        subscription_id,
        days.start().to_string(),
        days.end().to_string(),
    );
    Ok(statement.query_row(range, |row| {
        Ok(Calls {
            success: row.get(0)?,
            blocked: row.get(1)?,
            failed: row.get(2)?,
            other: row.get(3)?,
        })
    })?)
}

/// What is known of a subscription's `days`, both ends included, in their order. A day without any
/// call has no row.
pub fn of_days(
    db: &Connection,
    subscription_id: &str,
    days: &RangeInclusive<NaiveDate>,
) -> Result<Vec<(NaiveDate, Calls)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT day, success, blocked, failed, other FROM usage_days
         WHERE subscription_id = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day",
    )?;
    let range = (
        subscription_id,
        days.start().to_string(),
        days.end().to_string(),
    );
    let mut rows = statement.query(range)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let calls = Calls {
            success: row.get(1)?,
            blocked: row.get(2)?,
            failed: row.get(3)?,
            other: row.get(4)?,
        };
        found.push((parse_day(&row.get::<_, String>(0)?)?, calls));
    }
    Ok(found)
}

/// A day as the store keeps it.
pub(super) fn parse_day(text: &str) -> Result<NaiveDate, StoreError> {
    let parsed = text.parse();
    parsed.map_err(|_| StoreError::Nonsense(format!("the day {text}")))
}

/// That `day` was read completely: `rows` of ours, `unknown_rows` that are not, and the `calls` of
/// everybody.
pub fn mark_collected(
    db: &Connection,
    day: NaiveDate,
    rows: u64,
    unknown_rows: u64,
    calls: u64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO collected_days (day, read_at, rows, unknown_rows, calls)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    statement.execute((day.to_string(), seconds(now), rows, unknown_rows, calls))?;
    Ok(())
}

/// Everybody's calls of `day` as they were last read; 0 if they never were.
pub fn calls_of_everybody(db: &Connection, day: NaiveDate) -> Result<u64, StoreError> {
    let mut statement = db.prepare_cached("SELECT calls FROM collected_days WHERE day = ?1")?;
    let calls: Option<Option<u64>> = statement
        .query_row([day.to_string()], |row| row.get(0))
        .optional()?;
    Ok(calls.flatten().unwrap_or_default())
}

/// Everybody's calls of those of the `days` before `day` that were read, the newest first.
pub fn calls_before(db: &Connection, day: NaiveDate, days: u32) -> Result<Vec<u64>, StoreError> {
    let first = day - chrono::Days::new(days.into());
    let mut statement = db.prepare_cached(
        "SELECT calls FROM collected_days
         WHERE day >= ?1 AND day < ?2 AND calls IS NOT NULL ORDER BY day DESC",
    )?;
    let rows = statement.query_map((first.to_string(), day.to_string()), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// That the days from `first` on have to be read again.
pub fn forget_collected(db: &Connection, first: NaiveDate) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM collected_days WHERE day >= ?1")?;
    statement.execute([first.to_string()])?;
    Ok(())
}

/// When `day` was last read completely.
pub fn collected_at(db: &Connection, day: NaiveDate) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut statement = db.prepare_cached("SELECT read_at FROM collected_days WHERE day = ?1")?;
    let read_at: Option<i64> = statement
        .query_row([day.to_string()], |row| row.get(0))
        .optional()?;
    read_at.map(time).transpose()
}

/// The days from `first` on that were read completely, and when each was last.
pub fn collected_since(
    db: &Connection,
    first: NaiveDate,
) -> Result<HashMap<NaiveDate, DateTime<Utc>>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT day, read_at FROM collected_days WHERE day >= ?1")?;
    let mut rows = statement.query([first.to_string()])?;
    let mut days = HashMap::new();
    while let Some(row) = rows.next()? {
        let day: String = row.get(0)?;
        days.insert(parse_day(&day)?, time(row.get(1)?)?);
    }
    Ok(days)
}

/// When any day was last read completely.
pub fn last_collected(db: &Connection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut statement = db.prepare_cached("SELECT max(read_at) FROM collected_days")?;
    let read_at: Option<i64> = statement.query_row([], |row| row.get(0))?;
    read_at.map(time).transpose()
}

/// A meter event: the calls of a period so far, as an absolute total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Derived from the subscription, the period and `event_at`: sending it again changes nothing.
    pub identifier: String,
    pub subscription_id: String,
    pub customer_id: String,
    pub meter_event_name: String,
    pub period: Period,
    pub calls: u64,
    /// The event's timestamp at Stripe: inside the period, later than the push before.
    pub event_at: DateTime<Utc>,
    pub state: PushState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushState {
    /// Written down; whether Stripe has it is not known.
    Planned,
    Delivered,
    /// Stripe said no.
    Refused,
}

impl PushState {
    fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }
}

pub(super) const PUSH_COLUMNS: &str = "identifier, subscription_id, customer_id, meter_event_name, \
    period_start, period_end, calls, event_at, state";

/// Writes down the intent to push, before the call to Stripe.
pub fn plan_push(db: &Connection, push: &Push, now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO meter_pushes ({PUSH_COLUMNS}, planned_at)
         VALUES (:identifier, :subscription, :customer, :event_name, :start, :end, :calls, :event_at,
                 :state, :now)"
    );
    db.prepare_cached(&sql)?.execute(named_params! {
        ":identifier": push.identifier,
        ":subscription": push.subscription_id,
        ":customer": push.customer_id,
        ":event_name": push.meter_event_name,
        ":start": seconds(push.period.start),
        ":end": seconds(push.period.end),
        ":calls": push.calls,
        ":event_at": seconds(push.event_at),
        ":state": push.state.word(),
        ":now": seconds(now),
    })?;
    Ok(())
}

/// Writes down what became of a push; `problem` says why it was refused. What Stripe refused stays
/// refused: that a later attempt found the identifier known does not mean that it counts.
pub fn settle_push(
    db: &Connection,
    identifier: &str,
    state: PushState,
    problem: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE meter_pushes SET state = ?2, problem = ?3, settled_at = ?4
         WHERE identifier = ?1 AND state <> 'refused'",
    )?;
    statement.execute((identifier, state.word(), problem, seconds(now)))?;
    if state == PushState::Delivered {
        findings::report_taken(db, identifier)?;
    }
    Ok(())
}

/// The newest push of a subscription's period whose event lies before `end`.
pub fn last_push(
    db: &Connection,
    subscription_id: &str,
    period_start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Option<Push>, StoreError> {
    let sql = format!(
        "SELECT {PUSH_COLUMNS} FROM meter_pushes
         WHERE subscription_id = ?1 AND period_start = ?2 AND event_at < ?3
         ORDER BY event_at DESC LIMIT 1"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query((subscription_id, seconds(period_start), seconds(end)))?;
    rows.next()?.map(push).transpose()
}

/// A total that Stripe was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub calls: u64,
    /// Absent where nobody knows yet whether Stripe has it.
    pub at: Option<DateTime<Utc>>,
}

/// What Stripe was told last of a subscription's period, in a report whose event lies before `end`.
/// What it refused it was not told.
pub fn last_told(
    db: &Connection,
    subscription_id: &str,
    period_start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Option<Told>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT calls, CASE state WHEN 'delivered' THEN coalesce(settled_at, planned_at) END
         FROM meter_pushes
         WHERE subscription_id = ?1 AND period_start = ?2 AND event_at < ?3
             AND state <> 'refused'
         ORDER BY event_at DESC LIMIT 1",
    )?;
    let mut rows = statement.query((subscription_id, seconds(period_start), seconds(end)))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let told_at: Option<i64> = row.get(1)?;
    Ok(Some(Told {
        calls: row.get(0)?,
        at: told_at.map(time).transpose()?,
    }))
}

/// The periods of a subscription from `since` on of which something was reported and no invoice is
/// known, whether they are over or not.
pub fn unbilled(
    db: &Connection,
    subscription_id: &str,
    since: DateTime<Utc>,
) -> Result<Vec<Period>, StoreError> {
    // From one period to the next, past all reports in between.
    let mut statement = db.prepare_cached(
        "WITH RECURSIVE started (at) AS (
             SELECT min(period_start) FROM meter_pushes
             WHERE subscription_id = ?1 AND period_start >= ?2
             UNION ALL
             SELECT (SELECT min(period_start) FROM meter_pushes
                     WHERE subscription_id = ?1 AND period_start > started.at)
             FROM started WHERE at IS NOT NULL
         )
         SELECT at, (SELECT period_end FROM meter_pushes
                     WHERE subscription_id = ?1 AND period_start = at
                     ORDER BY event_at DESC LIMIT 1)
         FROM started WHERE at IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM invoices WHERE subscription_id = ?1 AND period_start = at)",
    )?;
    let mut rows = statement.query((subscription_id, seconds(since)))?;
    let mut periods = Vec::new();
    while let Some(row) = rows.next()? {
        periods.push(Period {
            start: time(row.get(0)?)?,
            end: time(row.get(1)?)?,
        });
    }
    Ok(periods)
}

pub(super) fn push(row: &Row<'_>) -> Result<Push, StoreError> {
    let state: String = row.get(8)?;
    let states = [PushState::Planned, PushState::Delivered, PushState::Refused];
    let known = states.into_iter().find(|known| known.word() == state);
    Ok(Push {
        identifier: row.get(0)?,
        subscription_id: row.get(1)?,
        customer_id: row.get(2)?,
        meter_event_name: row.get(3)?,
        period: Period {
            start: time(row.get(4)?)?,
            end: time(row.get(5)?)?,
        },
        calls: row.get(6)?,
        event_at: time(row.get(7)?)?,
        state: known.ok_or_else(|| StoreError::Nonsense(format!("the push state {state}")))?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, Utc};

    use super::{Calls, Day, StatusClass, save_day, total};
    use crate::store::testing;

    fn day(of_march: u32, success: u64) -> Day {
        Day {
            subscription_id: "sub_1".into(),
            day: NaiveDate::from_ymd_opt(2026, 3, of_march).unwrap(),
            calls: Calls {
                success,
                blocked: 1,
                failed: 2,
                other: 3,
            },
        }
    }

    #[test]
    fn only_the_named_classes_count_and_blocked_calls_never_do() {
        let calls = Calls {
            success: 1,
            blocked: 10,
            failed: 100,
            other: 1_000,
        };
        assert_eq!(
            calls.billable(&[StatusClass::Success, StatusClass::Other]),
            1_001
        );
        assert_eq!(calls.billable(&[StatusClass::Success]), 1);
        assert_eq!(calls.billable(&[]), 0);
        let all = [
            StatusClass::Success,
            StatusClass::Failed,
            StatusClass::Other,
        ];
        assert_eq!(calls.billable(&all), 1_101);
    }

    #[test]
    fn reading_a_day_again_replaces_it_and_never_shrinks_it() {
        let scratch = testing::scratch();
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let kept = scratch.store.write(move |db| {
            let kept = [
                save_day(db, &day(1, 5), now)?,
                save_day(db, &day(1, 7), now)?,
                save_day(db, &day(1, 6), now)?,
                save_day(db, &day(2, 10), now)?,
                save_day(db, &day(3, 100), now)?,
            ];
            let sum = total(db, "sub_1", &(day(1, 0).day..=day(2, 0).day))?;
            assert_eq!(
                sum,
                Calls {
                    success: 17,
                    blocked: 2,
                    failed: 4,
                    other: 6
                }
            );
            Ok(kept)
        });
        assert_eq!(kept.wait().unwrap(), [true, true, false, true, true]);
    }
}
