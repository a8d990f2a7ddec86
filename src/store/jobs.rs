//! When each job ran and how it went.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};

use super::{StoreError, seconds, time};

/// The daily usage job's name.
pub const USAGE: &str = "usage";

/// The comparison of Stripe, APIM and the store.
pub const RESYNC: &str = "resync";

/// The comparison of usage, meters and invoices that somebody has asked for.
pub const RECONCILE: &str = "reconcile";

/// The daily one, of the periods that nobody has asked for yet.
pub const COMPARISON: &str = "comparison";

/// The look for users who are gone from a developer portal that keeps them.
pub const USERS: &str = "users";

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub job: String,
    pub started_at: DateTime<Utc>,
    /// Absent while it runs, and for one that was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// Whether everything was done; the summary says what was not.
    pub complete: Option<bool>,
    pub summary: String,
}

/// Writes down that a job starts; the answer names the run.
pub fn start(db: &Connection, job: &str, now: DateTime<Utc>) -> Result<i64, StoreError> {
    let mut statement =
        db.prepare_cached("INSERT INTO job_runs (job, started_at, summary) VALUES (?1, ?2, '')")?;
    statement.execute((job, seconds(now)))?;
    Ok(db.last_insert_rowid())
}

pub fn finish(
    db: &Connection,
    run: i64,
    complete: bool,
    summary: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE job_runs SET finished_at = ?2, complete = ?3, summary = ?4 WHERE run_id = ?1",
    )?;
    statement.execute((run, seconds(now), complete, summary))?;
    Ok(())
}

/// The newest run of a job.
pub fn last(db: &Connection, job: &str) -> Result<Option<Run>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT job, started_at, finished_at, complete, summary FROM job_runs
         WHERE job = ?1 ORDER BY started_at DESC, run_id DESC LIMIT 1",
    )?;
    let mut rows = statement.query([job])?;
    rows.next()?.map(run).transpose()
}

/// The newest run of a job that has come to its end.
pub fn last_finished(db: &Connection, job: &str) -> Result<Option<Run>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT job, started_at, finished_at, complete, summary FROM job_runs
         WHERE job = ?1 AND complete IS NOT NULL ORDER BY started_at DESC, run_id DESC LIMIT 1",
    )?;
    let mut rows = statement.query([job])?;
    rows.next()?.map(run).transpose()
}

/// When a job last did everything it had to.
pub fn last_complete(db: &Connection, job: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT max(started_at) FROM job_runs WHERE job = ?1 AND complete = 1")?;
    let started_at: Option<i64> = statement.query_row([job], |row| row.get(0))?;
    started_at.map(time).transpose()
}

fn run(row: &Row<'_>) -> Result<Run, StoreError> {
    let finished_at: Option<i64> = row.get(2)?;
    Ok(Run {
        job: row.get(0)?,
        started_at: time(row.get(1)?)?,
        finished_at: finished_at.map(time).transpose()?,
        complete: row.get(3)?,
        summary: row.get(4)?,
    })
}
