//! Wishes that the worker look at a subscription again: what it is at Stripe, and the access that
//! follows.
//!
//! They are rows of their own and not a column of the subscription, because the worker saves the
//! whole record when it has looked, and would save over a wish that came while it did. A wish is read
//! before the look and settled after it.

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::{StoreError, seconds};

/// A subscription that is to be looked at, whatever the number of wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub subscription_id: String,
    /// The newest wish that the look fulfils.
    last: i64,
    due_until: DateTime<Utc>,
}

/// Asks for a look at `at` or later. The caller wakes the worker, or leaves it to its next turn.
pub fn ask(db: &Connection, subscription_id: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("INSERT INTO looks (subscription_id, due_at) VALUES (?1, ?2)")?;
    statement.execute((subscription_id, seconds(at)))?;
    Ok(())
}

/// What is to be looked at by `now`, at most `limit`. Read it before the looks.
pub fn due(db: &Connection, now: DateTime<Utc>, limit: u32) -> Result<Vec<Look>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT subscription_id, max(look_id) FROM looks WHERE due_at <= ?1
         GROUP BY subscription_id ORDER BY subscription_id LIMIT ?2",
    )?;
    let rows = statement.query_map((seconds(now), limit), |row| {
        Ok(Look {
            subscription_id: row.get(0)?,
            last: row.get(1)?,
            due_until: now,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether the look that was asked for at exactly `at` has not come to its end.
pub fn waits(
    db: &Connection,
    subscription_id: &str,
    at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM looks WHERE subscription_id = ?1 AND due_at = ?2")?;
    Ok(statement.exists((subscription_id, seconds(at)))?)
}

/// Notes that a subscription was looked at. Wishes that came meanwhile stay, and so do later ones.
pub fn settle(db: &Connection, look: &Look) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM looks WHERE subscription_id = ?1 AND look_id <= ?2 AND due_at <= ?3",
    )?;
    statement.execute((&look.subscription_id, look.last, seconds(look.due_until)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{ask, due, settle, waits};
    use crate::store::accounts::testing::noon;
    use crate::store::testing::scratch;

    #[test]
    fn a_wish_that_comes_during_a_look_or_for_later_is_not_settled_by_it() {
        let scratch = scratch();
        let later = noon() + TimeDelta::minutes(1);
        let change = scratch.store.write(move |db| {
            ask(db, "sub_1", noon())?;
            ask(db, "sub_1", later)?;
            ask(db, "sub_1", noon())?;
            let seen = due(db, noon(), 10)?;
            assert_eq!(seen.len(), 1, "one look for all that are due");
            ask(db, "sub_1", noon())?;
            settle(db, &seen[0])?;
            let seen = due(db, noon(), 10)?;
            assert_eq!(seen.len(), 1, "the one that came meanwhile");
            settle(db, &seen[0])?;
            assert!(!waits(db, "sub_1", noon())?);
            assert!(waits(db, "sub_1", later)?);
            due(db, later, 10)
        });
        assert_eq!(change.wait().unwrap().len(), 1);
    }
}
