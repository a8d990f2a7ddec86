//! Users who are gone from a developer portal that keeps them itself, and have subscriptions here.

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::accounts::Keeper;
use super::{StoreError, seconds};
use crate::ids::UserId;

/// The users whom the developer portal keeps and who have a subscription that has not ended.
pub fn to_look_for(db: &Connection) -> Result<Vec<UserId>, StoreError> {
    select(
        db,
        "SELECT user_id FROM accounts WHERE kept_by = ?1 AND EXISTS
             (SELECT 1 FROM subscriptions WHERE subscriptions.user_id = accounts.user_id
              AND ended_at IS NULL)
         ORDER BY user_id",
        [Keeper::DeveloperPortal.word()],
    )
}

/// Notes that a user is gone at `now`, and that what it has ends at `ends_at`. One that was gone
/// before stays as it was noted.
pub fn note(
    db: &Connection,
    user_id: &UserId,
    now: DateTime<Utc>,
    ends_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT OR IGNORE INTO absences (user_id, since, ends_at) VALUES (?1, ?2, ?3)",
    )?;
    statement.execute((user_id.as_str(), seconds(now), seconds(ends_at)))?;
    Ok(())
}

/// Forgets that a user was gone.
pub fn forget(db: &Connection, user_id: &UserId) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM absences WHERE user_id = ?1")?;
    statement.execute([user_id.as_str()])?;
    Ok(())
}

/// Those whose time has come at `now`.
pub fn due(db: &Connection, now: DateTime<Utc>) -> Result<Vec<UserId>, StoreError> {
    let due = "SELECT user_id FROM absences WHERE ends_at <= ?1 ORDER BY user_id";
    select(db, due, [seconds(now)])
}

fn select(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<UserId>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let parsed = UserId::parse(&id);
        found.push(parsed.map_err(|_| StoreError::Nonsense(format!("the user {id}")))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{due, forget, note, to_look_for};
    use crate::store::accounts::testing::{account, noon};
    use crate::store::accounts::{self, Account, Keeper};
    use crate::store::subscriptions::{self, testing::subscription};
    use crate::store::testing::scratch;

    #[test]
    fn only_users_of_the_portal_with_something_that_goes_on_are_looked_for() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let ours = account("u-2", "bob@example.com");
            let theirs = Account {
                kept_by: Keeper::DeveloperPortal,
                ..account("u-1", "ada@example.com")
            };
            accounts::add(db, &ours)?;
            accounts::add(db, &theirs)?;
            let nothing = to_look_for(db)?;
            let mut held = subscription("sub_1");
            held.user_id = theirs.user_id.clone();
            subscriptions::save(db, &held)?;
            let something = to_look_for(db)?;
            held.ended_at = Some(noon());
            subscriptions::save(db, &held)?;
            Ok((nothing, something, to_look_for(db)?, theirs.user_id))
        });
        let (nothing, something, over, user_id) = change.wait().unwrap();
        assert!(nothing.is_empty() && over.is_empty());
        assert_eq!(something, [user_id]);
    }

    #[test]
    fn an_absence_is_due_once_its_time_has_come_and_begins_with_its_first_sighting() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let user_id = account("u-1", "ada@example.com").user_id;
            let day = TimeDelta::days(1);
            note(db, &user_id, noon(), noon() + day * 3)?;
            note(db, &user_id, noon() + day, noon() + day * 4)?;
            let before = due(db, noon() + day * 2)?.len();
            let then = due(db, noon() + day * 3)?.len();
            forget(db, &user_id)?;
            Ok((before, then, due(db, noon() + day * 9)?.len()))
        });
        assert_eq!(change.wait().unwrap(), (0, 1, 0));
    }
}
