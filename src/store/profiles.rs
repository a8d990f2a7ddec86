//! Accounts that have changed, until their APIM users have followed.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params};

use super::links::{self, Link};
use super::mails::{Message, Outbox};
use super::{StoreError, accounts, seconds, time};
use crate::ids::UserId;

/// One account whose APIM user has to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub user_id: UserId,
    /// Counts the changes: one that came in between is not taken for done.
    pub revision: u32,
    /// Absent when given up.
    pub due_at: Option<DateTime<Utc>>,
    pub attempts: u32,
    pub problem: Option<String>,
}

/// What an account's holder can change.
#[derive(Debug, Clone)]
pub struct Profile {
    /// In lower case.
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

/// Changes the account and notes that its APIM user has to follow. A new e-mail address is not
/// confirmed yet, and ends what was sent to the old one: a link there must not open the account
/// any more. `false`, and nothing is changed, when another account has the address.
pub fn change(
    db: &Connection,
    user_id: &UserId,
    profile: &Profile,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let before = accounts::get(db, user_id)?;
    let mut statement = db.prepare_cached(
        "UPDATE OR IGNORE accounts SET email = :email, first_name = :first, last_name = :last,
             email_confirmed_at = CASE email WHEN :email THEN email_confirmed_at END
         WHERE user_id = :id",
    )?;
    let changed = statement.execute(named_params! {
        ":id": user_id.as_str(),
        ":email": profile.email,
        ":first": profile.first_name,
        ":last": profile.last_name,
    })?;
    if changed == 0 {
        return Ok(false);
    }
    if before.is_some_and(|before| before.email != profile.email) {
        links::end_all(db, user_id, now)?;
    }
    let mut statement = db.prepare_cached(
        "INSERT INTO profile_changes (user_id, revision, due_at) VALUES (?1, 1, ?2)
         ON CONFLICT (user_id) DO UPDATE
         SET revision = revision + 1, due_at = ?2, attempts = 0, problem = NULL",
    )?;
    statement.execute((user_id.as_str(), seconds(now)))?;
    Ok(true)
}

/// Moves the account to the address to which its link was sent, and queues a message to the old
/// one. `false`, and nothing is changed, when another account has the address.
pub fn move_to(
    db: &Connection,
    link: &Link,
    outbox: &Outbox,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let user_id = &link.user_id;
    let is_taken = accounts::by_email(db, &link.email)?.is_some();
    let Some(account) = accounts::get(db, user_id)?.filter(|_| !is_taken) else {
        return Ok(false);
    };
    let cause = format!("{user_id}:{}", seconds(now));
    outbox.put_notice(db, user_id, &cause, &Message::AddressChanged, now)?;
    let profile = Profile {
        email: link.email.clone(),
        first_name: account.first_name,
        last_name: account.last_name,
    };
    let changed = change(db, user_id, &profile, now)?;
    accounts::confirm_email(db, user_id, &link.email, now)?;
    Ok(changed)
}

/// Those that can be tried at `now`, at most `limit`.
pub fn due(db: &Connection, now: DateTime<Utc>, limit: u32) -> Result<Vec<Change>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT user_id, revision, due_at, attempts, problem FROM profile_changes
         WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2",
    )?;
    let mut rows = statement.query((seconds(now), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let user_id: String = row.get(0)?;
        let due_at: Option<i64> = row.get(2)?;
        found.push(Change {
            user_id: UserId::parse(&user_id)
                .map_err(|_| StoreError::Nonsense(format!("the user id {user_id}")))?,
            revision: row.get(1)?,
            due_at: due_at.map(time).transpose()?,
            attempts: row.get(3)?,
            problem: row.get(4)?,
        });
    }
    Ok(found)
}

/// Forgets a change that APIM has followed, unless there is a newer one.
pub fn settle(db: &Connection, user_id: &UserId, revision: u32) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("DELETE FROM profile_changes WHERE user_id = ?1 AND revision = ?2")?;
    statement.execute((user_id.as_str(), revision))?;
    Ok(())
}

/// Notes that APIM has not followed, unless there is a newer change.
pub fn put_back(db: &Connection, change: &Change) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE profile_changes SET due_at = :due, attempts = :attempts, problem = :problem
         WHERE user_id = :id AND revision = :revision",
    )?;
    statement.execute(named_params! {
        ":id": change.user_id.as_str(),
        ":revision": change.revision,
        ":due": change.due_at.map(seconds),
        ":attempts": change.attempts,
        ":problem": change.problem,
    })?;
    Ok(())
}
