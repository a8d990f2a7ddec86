//! Which periods that are over were compared, so that each is compared once without being asked for.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rusqlite::{Connection, named_params};

use super::invoices::{self, Invoice};
use super::{StoreError, period, seconds};

/// How long the daily job is given to read a day again once it has settled.
pub const JOBS_TURN: TimeDelta = TimeDelta::days(1);
/// How far back periods have ended, or invoices have become final, that are compared without being
/// asked for.
pub const RECENT: TimeDelta = TimeDelta::days(35);

/// A period that is over, with its invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub subscription_id: String,
    pub period_start: DateTime<Utc>,
    /// Absent where none was known.
    pub invoice_id: Option<String>,
    /// Whether all agreed. What did not is compared again with the next run.
    pub agrees: bool,
}

/// Notes what was compared, or could not be.
pub fn note(
    db: &Connection,
    compared: &[Comparison],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO comparisons
             (subscription_id, period_start, invoice_id, agrees, compared_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for one in compared {
        insert.execute((
            &one.subscription_id,
            seconds(one.period_start),
            one.invoice_id.as_deref().unwrap_or_default(),
            one.agrees,
            seconds(now),
        ))?;
    }
    Ok(())
}

/// Whether a period to which the day belongs may have been compared by now.
pub fn may_know(day: NaiveDate, now: DateTime<Utc>) -> bool {
    period::settled(day, JOBS_TURN) <= now
}

/// Has the periods of a subscription to which the day may belong compared again.
pub fn forget(db: &Connection, subscription_id: &str, day: NaiveDate) -> Result<(), StoreError> {
    let day_ends = period::settled(day, TimeDelta::zero());
    let mut delete = db.prepare_cached(
        "DELETE FROM comparisons WHERE subscription_id = ?1 AND period_start < ?2",
    )?;
    delete.execute((subscription_id, seconds(day_ends)))?;
    Ok(())
}

/// Whether this period was compared without an invoice, and agreed or was looked at since
/// `run_started`.
pub fn is_done_without_invoice(
    db: &Connection,
    subscription_id: &str,
    period_start: DateTime<Utc>,
    run_started: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM comparisons
         WHERE subscription_id = ?1 AND period_start = ?2 AND invoice_id = ''
             AND (agrees OR compared_at >= ?3)",
    )?;
    let key = (subscription_id, seconds(period_start), seconds(run_started));
    Ok(statement.exists(key)?)
}

/// Final invoices of periods that ended by `ended_by`, which did not agree yet and were not looked at
/// since `run_started`: at most `limit`, those first that never were.
pub fn due(
    db: &Connection,
    ended_by: DateTime<Utc>,
    run_started: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Invoice>, StoreError> {
    let condition = "state = 'finalized' AND updated_at >= :since AND period_end <= :ended_by
         AND NOT EXISTS (SELECT 1 FROM comparisons AS c
             WHERE (c.subscription_id, c.period_start, c.invoice_id)
                 = (invoices.subscription_id, invoices.period_start, invoices.invoice_id)
                 AND (c.agrees OR c.compared_at >= :started))
         ORDER BY (SELECT c.compared_at FROM comparisons AS c
             WHERE (c.subscription_id, c.period_start, c.invoice_id)
                 = (invoices.subscription_id, invoices.period_start, invoices.invoice_id)),
             period_end, subscription_id, invoice_id
         LIMIT :limit";
    let values = named_params! {
        ":since": seconds(run_started - RECENT),
        ":ended_by": seconds(ended_by),
        ":started": seconds(run_started),
        ":limit": limit,
    };
    invoices::select(db, condition, values)
}

/// Whether there are final invoices that are final since `ended_by`, as their periods are over, and
/// were never compared.
pub fn are_missing(
    db: &Connection,
    ended_by: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM invoices
         WHERE state = 'finalized' AND updated_at BETWEEN ?1 AND ?2 AND period_end <= ?2
             AND NOT EXISTS (SELECT 1 FROM comparisons AS c
                 WHERE (c.subscription_id, c.period_start, c.invoice_id)
                     = (invoices.subscription_id, invoices.period_start, invoices.invoice_id))",
    )?;
    Ok(statement.exists((seconds(now - RECENT), seconds(ended_by)))?)
}
