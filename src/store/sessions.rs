//! Who is signed in where: sessions under the SHA-256 of the browser's cookie.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params};

use super::{StoreError, seconds};
use crate::ids::UserId;

/// How many sessions one account can have; the oldest ends when there would be more.
const PER_ACCOUNT: u32 = 20;

/// Starts a session. What has expired by `now`, of whomever, goes at the same time.
pub fn start(
    db: &Connection,
    token_hash: &[u8; 32],
    user_id: &UserId,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM sessions WHERE expires_at <= ?1")?;
    statement.execute([seconds(now)])?;
    let mut statement = db.prepare_cached(
        "INSERT INTO sessions (token_hash, user_id, created_at, expires_at)
         VALUES (:hash, :user, :now, :expires)",
    )?;
    statement.execute(named_params! {
        ":hash": token_hash,
        ":user": user_id.as_str(),
        ":now": seconds(now),
        ":expires": seconds(expires_at),
    })?;
    end_all_but_newest(db, user_id)
}

fn end_all_but_newest(db: &Connection, user_id: &UserId) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM sessions WHERE user_id = ?1 AND rowid NOT IN
         (SELECT rowid FROM sessions WHERE user_id = ?1 ORDER BY rowid DESC LIMIT ?2)",
    )?;
    statement.execute((user_id.as_str(), PER_ACCOUNT))?;
    Ok(())
}

pub fn end(db: &Connection, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM sessions WHERE token_hash = ?1")?;
    statement.execute([token_hash])?;
    Ok(())
}

/// Signs an account out everywhere.
pub fn end_all(db: &Connection, user_id: &UserId) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?;
    statement.execute([user_id.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{PER_ACCOUNT, end, start};
    use crate::store::accounts::testing::{account, noon};
    use crate::store::accounts::{add, by_session};
    use crate::store::testing::scratch;

    fn hash(number: u8) -> [u8; 32] {
        [number; 32]
    }

    #[test]
    fn a_session_names_its_account_until_it_expires_or_ends() {
        let scratch = scratch();
        let expiry = noon() + TimeDelta::hours(12);
        let found = scratch
            .store
            .write(move |db| {
                let account = account("u-1", "ada@example.com");
                add(db, &account)?;
                start(db, &hash(1), &account.user_id, noon(), expiry)?;
                let before = by_session(db, &hash(1), expiry - TimeDelta::seconds(1))?;
                let after = by_session(db, &hash(1), expiry)?;
                let foreign = by_session(db, &hash(2), noon())?;
                end(db, &hash(1))?;
                let ended = by_session(db, &hash(1), noon())?;
                Ok([before, after, foreign, ended].map(|account| account.is_some()))
            })
            .wait()
            .unwrap();
        assert_eq!(found, [true, false, false, false]);
    }

    #[test]
    fn the_oldest_session_gives_way() {
        let scratch = scratch();
        let (first, last) = scratch
            .store
            .write(|db| {
                let account = account("u-1", "ada@example.com");
                add(db, &account)?;
                let last = u8::try_from(PER_ACCOUNT).unwrap();
                for number in 0..=last {
                    let expiry = noon() + TimeDelta::hours(12);
                    start(db, &hash(number), &account.user_id, noon(), expiry)?;
                }
                Ok((
                    by_session(db, &hash(0), noon())?,
                    by_session(db, &hash(last), noon())?,
                ))
            })
            .wait()
            .unwrap();
        assert_eq!(first, None);
        assert!(last.is_some());
    }
}
