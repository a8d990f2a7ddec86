//! Usage reports that Stripe took and refused later.

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::usage::{PUSH_COLUMNS, Push, PushState, push, settle_push};
use super::{StoreError, seconds};

/// What is known of a report that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub push: Push,
    /// Whether no later report of its period was made: one that was repairs it, because meters keep
    /// the last value.
    pub is_newest: bool,
    /// Whether the invoice of its period is final, so that no report reaches it any more.
    pub is_billed: bool,
}

/// The report with this identifier.
pub fn find(db: &Connection, identifier: &str) -> Result<Option<Refused>, StoreError> {
    let sql = format!("SELECT {PUSH_COLUMNS} FROM meter_pushes WHERE identifier = ?1");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([identifier])?;
    let Some(push) = rows.next()?.map(push).transpose()? else {
        return Ok(None);
    };
    let period = (&push.subscription_id, seconds(push.period.start));
    let mut later = db.prepare_cached(
        "SELECT 1 FROM meter_pushes
         WHERE subscription_id = ?1 AND period_start = ?2 AND event_at > ?3",
    )?;
    let is_newest = !later.exists((period.0, period.1, seconds(push.event_at)))?;
    let mut billed = db.prepare_cached(
        "SELECT 1 FROM invoices
         WHERE subscription_id = ?1 AND period_start = ?2 AND state = 'finalized'",
    )?;
    let is_billed = billed.exists(period)?;
    Ok(Some(Refused {
        push,
        is_newest,
        is_billed,
    }))
}

/// Notes that Stripe refused a report after all; `false` where that was noted before.
pub fn note(
    db: &Connection,
    push: &Push,
    problem: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let is_news = push.state != PushState::Refused;
    if is_news {
        let refused = PushState::Refused;
        settle_push(db, &push.identifier, refused, Some(problem), now)?;
    }
    Ok(is_news)
}

/// The identifiers of the reports that Stripe took between two moments, both included: those to the
/// meter, or where none is named, all.
pub fn taken_between(
    db: &Connection,
    meter_id: Option<&str>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT identifier FROM meter_pushes
         WHERE state = 'delivered' AND settled_at BETWEEN ?2 AND ?3
             AND (?1 IS NULL OR meter_event_name IN
                 (SELECT meter_event_name FROM subscriptions WHERE meter_id = ?1))",
    )?;
    let times = (meter_id, seconds(from), seconds(until));
    let rows = statement.query_map(times, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
