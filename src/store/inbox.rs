//! Webhook events, kept under their own id before they are answered.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{StoreError, seconds, time};

/// A verified event as it arrived.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub event_type: String,
    /// The id of the object that the event is about: a subscription, a session, an invoice.
    pub object_id: String,
    /// The API version that its body is written in; a thin event has none.
    pub api_version: Option<String>,
    pub source: Source,
    /// The raw body, byte for byte.
    pub payload: Vec<u8>,
    /// Why nobody has to work on it, where that is known on arrival.
    pub ignored_because: Option<&'static str>,
}

/// How an event came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Stripe delivered it.
    Webhook,
    /// It was read from Stripe's list, because nobody delivered it (yet).
    List,
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::List => "list",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let mut known = [Self::Webhook, Self::List].into_iter();
        let found = known.find(|source| source.word() == word);
        found.ok_or_else(|| StoreError::Nonsense(format!("the event source {word}")))
    }
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
    /// Those that need attention.
    pub failed: u64,
    pub dismissed: u64,
    pub oldest_waiting: Option<DateTime<Utc>>,
}

/// A line of the status page.
#[derive(Debug, Clone)]
pub struct Entry {
    pub sequence: i64,
    pub event_id: String,
    pub event_type: String,
    pub object_id: String,
    pub source: Source,
    pub received_at: DateTime<Utc>,
    pub state: State,
    pub attempts: u32,
    /// What came of it, or why it could not be applied.
    pub outcome: Option<String>,
    pub dismissed: Option<Dismissal>,
}

/// Who said that nothing has to be done about an event, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismissal {
    pub by: String,
    pub at: DateTime<Utc>,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Applied,
    /// It concerns nothing of ours.
    Ignored,
    /// It keeps failing: a person has to look.
    Failed,
    /// A person has looked, and said that nothing has to be done.
    Dismissed,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Applied,
        Self::Ignored,
        Self::Failed,
        Self::Dismissed,
    ];

    /// The word for it in the store and in the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Dismissed => "dismissed",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let known = Self::ALL.into_iter().find(|state| state.word() == word);
        known.ok_or_else(|| StoreError::Nonsense(format!("the event state {word}")))
    }
}

/// Keeps an event; `false` when its id was kept before. Either way it is safe to answer 200.
pub fn keep(db: &Connection, event: &Event, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO inbox (event_id, event_type, object_id, api_version, source, received_at, state,
                            next_attempt_at, outcome, settled_at)
         VALUES (:id, :type, :object, :version, :source, :now, :state, :now, :outcome, :settled)
         ON CONFLICT (event_id) DO NOTHING",
    )?;
    let is_ignored = event.ignored_because.is_some();
    let kept = statement.execute(named_params! {
        ":id": event.id,
        ":type": event.event_type,
        ":object": event.object_id,
        ":version": event.api_version,
        ":source": event.source.word(),
        ":now": seconds(now),
        ":state": if is_ignored { State::Ignored } else { State::Waiting }.word(),
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
    fn state(self) -> State {
        match self {
            Self::Applied => State::Applied,
            Self::Ignored => State::Ignored,
            Self::Failed => State::Failed,
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
        ":state": ending.state().word(),
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

/// Which of the events that need attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// The one of this sequence number.
    One(i64),
}

impl Which {
    fn sequence(self) -> Option<i64> {
        match self {
            Self::All => None,
            Self::One(sequence) => Some(sequence),
        }
    }
}

/// Makes events that need attention wait again, from the first attempt on; says how many.
pub fn retry(db: &Connection, which: Which, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE inbox SET state = 'waiting', attempts = 0, next_attempt_at = ?1, settled_at = NULL
         WHERE state = 'failed' AND coalesce(?2, sequence) = sequence",
    )?;
    Ok(statement.execute((seconds(now), which.sequence()))?)
}

/// Notes that `by` has looked at events that need attention, and that nothing has to be done
/// about them; says how many there were. Why they could not be applied stays with them.
pub fn dismiss(
    db: &Connection,
    which: Which,
    by: &str,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE inbox SET state = 'dismissed', dismissed_by = ?1, settled_at = ?2
         WHERE state = 'failed' AND coalesce(?3, sequence) = sequence",
    )?;
    Ok(statement.execute((by, seconds(now), which.sequence()))?)
}

pub fn counts(db: &Connection) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let mut statement = db.prepare_cached("SELECT state, count(*) FROM inbox GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: String = row.get(0)?;
        let count = match State::parse(&state)? {
            State::Waiting => &mut counts.waiting,
            State::Applied => &mut counts.applied,
            State::Ignored => &mut counts.ignored,
            State::Failed => &mut counts.failed,
            State::Dismissed => &mut counts.dismissed,
        };
        *count = row.get(1)?;
    }
    let mut oldest =
        db.prepare_cached("SELECT min(received_at) FROM inbox WHERE state = 'waiting'")?;
    let oldest: Option<i64> = oldest.query_row([], |row| row.get(0))?;
    counts.oldest_waiting = oldest.map(time).transpose()?;
    Ok(counts)
}

/// The API version of the newest event that Stripe delivered, where it has one.
pub fn newest_api_version(db: &Connection) -> Result<Option<String>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT api_version FROM inbox WHERE source = 'webhook' AND api_version IS NOT NULL
         ORDER BY sequence DESC LIMIT 1",
    )?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
}

/// The newest events, newest first.
pub fn newest(db: &Connection, limit: u32) -> Result<Vec<Entry>, StoreError> {
    entries(db, "true", limit)
}

/// The newest events that need attention, newest first.
pub fn failed(db: &Connection, limit: u32) -> Result<Vec<Entry>, StoreError> {
    entries(db, "state = 'failed'", limit)
}

fn entries(db: &Connection, condition: &str, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let sql = format!(
        "SELECT sequence, event_id, event_type, object_id, source, received_at, state, attempts,
                outcome, dismissed_by, settled_at
         FROM inbox WHERE {condition} ORDER BY sequence DESC LIMIT ?1"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let state: String = row.get("state")?;
    let source: String = row.get("source")?;
    let by: Option<String> = row.get("dismissed_by")?;
    let settled_at: Option<i64> = row.get("settled_at")?;
    let dismissed = by
        .zip(settled_at)
        .map(|(by, at)| time(at).map(|at| Dismissal { by, at }));
    Ok(Entry {
        sequence: row.get("sequence")?,
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        object_id: row.get("object_id")?,
        source: Source::parse(&source)?,
        received_at: time(row.get("received_at")?)?,
        state: State::parse(&state)?,
        attempts: row.get("attempts")?,
        outcome: row.get("outcome")?,
        dismissed: dismissed.transpose()?,
    })
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
