//! Accounts that close, and that they have.
//!
//! What explains bills stays: subscriptions, usage, reports and invoices, under a user id that no
//! longer leads to anybody. What names a person goes: the account with its address, names and
//! password, its sessions and purchases, and the names that it gave its subscriptions.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{StoreError, seconds, time};
use crate::ids::UserId;

/// The closing of one account, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    pub user_id: UserId,
    pub step: Step,
    pub asked_at: DateTime<Utc>,
    /// When to go on; absent when done.
    pub due_at: Option<DateTime<Utc>>,
    /// Where Azure tells how far the deletion of the user is.
    pub location: Option<String>,
    pub attempts: u32,
    pub problem: Option<String>,
}

/// What has to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Expire what could still be paid.
    Purchases,
    /// End the subscriptions, and wait for their last invoices.
    Subscriptions,
    /// Have APIM delete the user.
    User,
    /// Wait until APIM has.
    Deleting,
    Done,
}

impl Step {
    const ALL: [Self; 5] = [
        Self::Purchases,
        Self::Subscriptions,
        Self::User,
        Self::Deleting,
        Self::Done,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Purchases => "purchases",
            Self::Subscriptions => "subscriptions",
            Self::User => "user",
            Self::Deleting => "deleting",
            Self::Done => "done",
        }
    }
}

/// Begins to close an account; one that closes already goes on as it does.
pub fn begin(db: &Connection, user_id: &UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    if is_closing(db, user_id)? {
        return Ok(());
    }
    let closing = Closing {
        user_id: user_id.clone(),
        step: Step::Purchases,
        asked_at: now,
        due_at: Some(now),
        location: None,
        attempts: 0,
        problem: None,
    };
    save(db, &closing)
}

/// Whether the account closes, or has.
pub fn is_closing(db: &Connection, user_id: &UserId) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached("SELECT 1 FROM closings WHERE user_id = ?1")?;
    let found = statement.query_row([user_id.as_str()], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

pub fn save(db: &Connection, closing: &Closing) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO closings
         (user_id, step, asked_at, due_at, location, attempts, problem)
         VALUES (:id, :step, :asked, :due, :location, :attempts, :problem)",
    )?;
    statement.execute(named_params! {
        ":id": closing.user_id.as_str(),
        ":step": closing.step.word(),
        ":asked": seconds(closing.asked_at),
        ":due": closing.due_at.map(seconds),
        ":location": closing.location,
        ":attempts": closing.attempts,
        ":problem": closing.problem,
    })?;
    Ok(())
}

/// Those that can go on at `now`, at most `limit`.
pub fn due(db: &Connection, now: DateTime<Utc>, limit: u32) -> Result<Vec<Closing>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT user_id, step, asked_at, due_at, location, attempts, problem FROM closings
         WHERE due_at <= ?1 ORDER BY due_at, user_id LIMIT ?2",
    )?;
    let mut rows = statement.query((seconds(now), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(closing(row)?);
    }
    Ok(found)
}

fn closing(row: &Row<'_>) -> Result<Closing, StoreError> {
    let user_id: String = row.get(0)?;
    let nonsense = || StoreError::Nonsense(format!("the closing of the account {user_id}"));
    let word: String = row.get(1)?;
    let step = Step::ALL.into_iter().find(|step| step.word() == word);
    let due_at: Option<i64> = row.get(3)?;
    Ok(Closing {
        user_id: UserId::parse(&user_id).map_err(|_| nonsense())?,
        step: step.ok_or_else(nonsense)?,
        asked_at: time(row.get(2)?)?,
        due_at: due_at.map(time).transpose()?,
        location: row.get(4)?,
        attempts: row.get(5)?,
        problem: row.get(6)?,
    })
}

/// Forgets that an account has closed: its user is there again, and begins anew.
pub fn forget_done(db: &Connection, user_id: &UserId) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("DELETE FROM closings WHERE user_id = ?1 AND step = ?2")?;
    statement.execute((user_id.as_str(), Step::Done.word()))?;
    Ok(())
}

/// Forgets whoever held the account. Sessions, purchases and changes go with its row.
pub fn forget_person(db: &Connection, user_id: &UserId) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM accounts WHERE user_id = ?1")?;
    statement.execute([user_id.as_str()])?;
    let mut statement = db.prepare_cached(
        "DELETE FROM budgets WHERE subscription_id IN
         (SELECT subscription_id FROM subscriptions WHERE user_id = ?1)",
    )?;
    statement.execute([user_id.as_str()])?;
    let mut statement =
        db.prepare_cached("UPDATE subscriptions SET name = product_id WHERE user_id = ?1")?;
    statement.execute([user_id.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Step, begin, due, forget_person, is_closing};
    use crate::store::accounts::testing::{account, noon};
    use crate::store::subscriptions::testing::subscription;
    use crate::store::testing::scratch;
    use crate::store::{accounts, subscriptions};

    #[test]
    fn closing_forgets_the_person_and_keeps_what_explains_bills() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let account = account("u-1", "ada@example.com");
            accounts::add(db, &account)?;
            subscriptions::save(db, &subscription("sub_1"))?;
            begin(db, &account.user_id, noon())?;
            begin(db, &account.user_id, noon())?;
            let due = due(db, noon(), 10)?;
            forget_person(db, &account.user_id)?;
            Ok((
                due,
                accounts::get(db, &account.user_id)?,
                subscriptions::get(db, "sub_1")?.unwrap().name,
                is_closing(db, &account.user_id)?,
            ))
        });
        let (due, account, name, closes) = change.wait().unwrap();
        assert_eq!((due.len(), due[0].step), (1, Step::Purchases));
        assert_eq!(account, None);
        assert_eq!(name.as_str(), "payg");
        assert!(closes);
    }
}
