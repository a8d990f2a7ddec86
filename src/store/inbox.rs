//! Webhook events, kept under their own id before they are answered.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::{StoreError, seconds, time};

/// A verified event as it arrived.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub event_type: String,
    /// The id of the object that the event is about: a subscription, a session, an invoice.
    pub object_id: String,
    /// The raw body, byte for byte.
    pub payload: Vec<u8>,
    /// Why nobody has to work on it, where that is known on arrival.
    pub ignored_because: Option<&'static str>,
}

/// An event that waits to be applied.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub event_id: String,
    pub event_type: String,
    pub object_id: String,
    /// How often it was tried already.
    pub attempts: u32,
}

/// How the inbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: u64,
    pub applied: u64,
    pub ignored: u64,
    pub failed: u64,
    pub oldest_waiting: Option<DateTime<Utc>>,
}

/// A line of the status page.
#[derive(Debug, Clone)]
pub struct Entry {
    pub event_id: String,
    pub event_type: String,
    pub object_id: String,
    pub received_at: DateTime<Utc>,
    pub state: String,
    pub attempts: u32,
    pub outcome: Option<String>,
}

/// Keeps an event; `false` when its id was kept before. Either way it is safe to answer 200.
pub fn keep(db: &Connection, event: &Event, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO inbox (event_id, event_type, object_id, received_at, state, next_attempt_at,
                            outcome, settled_at)
         VALUES (:id, :type, :object, :now, :state, :now, :outcome, :settled)
         ON CONFLICT (event_id) DO NOTHING",
    )?;
    let is_ignored = event.ignored_because.is_some();
    let kept = statement.execute(named_params! {
        ":id": event.id,
        ":type": event.event_type,
        ":object": event.object_id,
        ":now": seconds(now),
        ":state": if is_ignored { Ending::Ignored.word() } else { "waiting" },
        ":outcome": event.ignored_because,
        ":settled": is_ignored.then(|| seconds(now)),
    })?;
    if kept == 0 {
        return Ok(false);
    }
    let mut statement =
        db.prepare_cached("INSERT INTO inbox_payloads (sequence, payload) VALUES (?1, ?2)")?;
    statement.execute((db.last_insert_rowid(), &event.payload))?;
    Ok(true)
}

/// The events that are due at `now`, oldest first, at most `limit`.
pub fn due(db: &Connection, now: DateTime<Utc>, limit: u32) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT event_id, event_type, object_id, attempts FROM inbox
         WHERE state = 'waiting' AND next_attempt_at <= ?1 ORDER BY next_attempt_at, sequence LIMIT ?2",
    )?;
    let rows = statement.query_map((seconds(now), limit), |row| {
        Ok(Waiting {
            event_id: row.get(0)?,
            event_type: row.get(1)?,
            object_id: row.get(2)?,
            attempts: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Applied,
    /// It concerns nothing of ours.
    Ignored,
    /// It keeps failing: a person has to look.
    Failed,
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        }
    }
}

/// Ends an event; `outcome` says in one sentence what came of it.
pub fn settle(
    db: &Connection,
    event_id: &str,
    ending: Ending,
    outcome: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE inbox SET state = :state, attempts = attempts + 1, outcome = :outcome, settled_at = :now
         WHERE event_id = :id",
    )?;
    statement.execute(named_params! {
        ":id": event_id,
        ":state": ending.word(),
        ":outcome": outcome,
        ":now": seconds(now),
    })?;
    Ok(())
}

/// Puts an event back until `next_attempt_at`; `problem` says why it failed this time.
pub fn retry_later(
    db: &Connection,
    event_id: &str,
    next_attempt_at: DateTime<Utc>,
    problem: &str,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE inbox SET attempts = attempts + 1, next_attempt_at = ?2, outcome = ?3
         WHERE event_id = ?1",
    )?;
    statement.execute((event_id, seconds(next_attempt_at), problem))?;
    Ok(())
}

/// Makes every failed event wait again, from the first attempt on; says how many there were.
pub fn retry_failed(db: &Connection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE inbox SET state = 'waiting', attempts = 0, next_attempt_at = ?1 WHERE state = 'failed'",
    )?;
    Ok(statement.execute([seconds(now)])?)
}

pub fn counts(db: &Connection) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let mut statement = db.prepare_cached("SELECT state, count(*) FROM inbox GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: String = row.get(0)?;
        let count = match state.as_str() {
            "waiting" => &mut counts.waiting,
            "applied" => &mut counts.applied,
            "ignored" => &mut counts.ignored,
            "failed" => &mut counts.failed,
            _ => return Err(StoreError::Nonsense(format!("the event state {state}"))),
        };
        *count = row.get(1)?;
    }
    let mut oldest =
        db.prepare_cached("SELECT min(received_at) FROM inbox WHERE state = 'waiting'")?;
    let oldest: Option<i64> = oldest.query_row([], |row| row.get(0))?;
    counts.oldest_waiting = oldest.map(time).transpose()?;
    Ok(counts)
}

/// The newest events, newest first.
pub fn newest(db: &Connection, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT event_id, event_type, object_id, received_at, state, attempts, outcome
         FROM inbox ORDER BY sequence DESC LIMIT ?1",
    )?;
    let mut rows = statement.query([limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    Ok(Entry {
        event_id: row.get(0)?,
        event_type: row.get(1)?,
        object_id: row.get(2)?,
        received_at: time(row.get(3)?)?,
        state: row.get(4)?,
        attempts: row.get(5)?,
        outcome: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};

    use super::{Ending, Event, counts, due, keep, retry_failed, retry_later, settle};
    use crate::store::testing;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
    }

    fn event(id: &str) -> Event {
        Event {
            id: id.into(),
            event_type: "customer.subscription.updated".into(),
            object_id: "sub_1".into(),
            payload: b"{}".to_vec(),
            ignored_because: None,
        }
    }

    #[test]
    fn an_event_is_kept_once_however_often_it_comes() {
        let scratch = testing::scratch();
        let keep_it = || {
            scratch
                .store
                .write(|db| keep(db, &event("evt_1"), noon()))
                .wait()
                .unwrap()
        };
        assert!(keep_it());
        assert!(!keep_it());
        let waiting = scratch.store.read(|db| due(db, noon(), 10)).unwrap();
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn an_event_waits_for_its_next_attempt_and_failed_ones_can_be_retried() {
        let scratch = testing::scratch();
        let later = noon() + TimeDelta::minutes(5);
        let (early, late, ended) = scratch
            .store
            .write(move |db| {
                keep(db, &event("evt_1"), noon())?;
                retry_later(db, "evt_1", later, "Azure did not answer")?;
                let early = due(db, noon(), 10)?.len();
                let late = due(db, later, 10)?;
                settle(db, "evt_1", Ending::Failed, "gave up", later)?;
                let ended = counts(db)?;
                retry_failed(db, later)?;
                assert_eq!(due(db, later, 10)?[0].attempts, 0);
                Ok((early, late, ended))
            })
            .wait()
            .unwrap();
        assert_eq!(early, 0);
        assert_eq!(late[0].attempts, 1);
        assert_eq!(ended.failed, 1);
        assert_eq!(ended.waiting, 0);
    }
}
