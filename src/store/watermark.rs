//! How far Stripe's list of events is in the inbox.
//!
//! The mark moves only when everything before it is kept: a reading that is cut off goes on where
//! it was, or is done again.

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::{StoreError, seconds, time};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Every event that Stripe made before this moment is in the inbox, or needs not be; absent
    /// before the first time.
    pub complete_until: Option<DateTime<Utc>>,
    pub reading: Option<Reading>,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

/// A reading of the list, from the newest event back, that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub started_at: DateTime<Utc>,
    /// The last event that is kept; the list goes on behind it.
    pub after: String,
}

pub fn get(db: &Connection) -> Result<Watermark, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT complete_until, read_started_at, read_after, problem FROM event_watermark",
    )?;
    let (complete_until, started_at, after, problem) = statement.query_row([], |row| {
        let complete_until: Option<i64> = row.get(0)?;
        let started_at: Option<i64> = row.get(1)?;
        let after: Option<String> = row.get(2)?;
        Ok((complete_until, started_at, after, row.get(3)?))
    })?;
    let reading = started_at.zip(after);
    let reading = reading.map(|(started_at, after)| {
        time(started_at).map(|started_at| Reading { started_at, after })
    });
    Ok(Watermark {
        complete_until: complete_until.map(time).transpose()?,
        reading: reading.transpose()?,
        problem,
    })
}

/// Notes how far a reading has come; `None` where it has to begin anew.
pub fn note_reading(db: &Connection, reading: Option<&Reading>) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE event_watermark SET read_started_at = ?1, read_after = ?2, problem = NULL",
    )?;
    statement.execute((
        reading.map(|reading| seconds(reading.started_at)),
        reading.map(|reading| &reading.after),
    ))?;
    Ok(())
}

/// Moves the mark to `until`. It never moves back.
pub fn complete(db: &Connection, until: DateTime<Utc>) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE event_watermark SET complete_until = max(coalesce(complete_until, ?1), ?1),
             read_started_at = NULL, read_after = NULL, problem = NULL",
    )?;
    statement.execute([seconds(until)])?;
    Ok(())
}

pub fn note_problem(db: &Connection, problem: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("UPDATE event_watermark SET problem = ?1")?;
    statement.execute([problem])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Reading, Watermark, complete, get, note_problem, note_reading};
    use crate::store::testing::scratch;

    #[test]
    fn the_mark_moves_forward_only_and_ends_the_reading() {
        let scratch = scratch();
        let noon = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::hours(12);
        let change = scratch.store.write(move |db| {
            assert_eq!(get(db)?, Watermark::default());
            let reading = Reading {
                started_at: noon,
                after: "evt_1".to_owned(),
            };
            note_problem(db, "Stripe is down")?;
            assert_eq!(get(db)?.problem.as_deref(), Some("Stripe is down"));
            note_reading(db, Some(&reading))?;
            assert_eq!(get(db)?.reading, Some(reading));
            complete(db, noon)?;
            complete(db, noon - TimeDelta::hours(1))?;
            get(db)
        });
        let expected = Watermark {
            complete_until: Some(noon),
            ..Watermark::default()
        };
        assert_eq!(change.wait().unwrap(), expected);
    }
}
