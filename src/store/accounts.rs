//! Consumers' accounts. An account's id is that of its APIM user.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::{StoreError, seconds, time};
use crate::ids::UserId;
use crate::secret::Secret;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user_id: UserId,
    /// In lower case; no two accounts share one.
    pub email: String,
    /// When somebody has shown that the address is theirs; absent until then, and where no mail is
    /// sent.
    pub email_confirmed_at: Option<DateTime<Utc>>,
    /// An argon2id hash as a PHC string, or [`NO_PASSWORD`].
    pub password_hash: Secret,
    pub first_name: String,
    pub last_name: String,
    pub created_at: DateTime<Utc>,
    /// Absent until APIM has confirmed the user.
    pub apim_created_at: Option<DateTime<Utc>>,
}

/// What stands in the place of a hash where no password opens the account: nobody has chosen one
/// here, or it is lost. Its owner gets in by way of the e-mail address.
pub const NO_PASSWORD: &str = "!";

const COLUMNS: &str = "user_id, email, email_confirmed_at, password_hash, first_name, last_name, \
    created_at, apim_created_at";

/// Adds an account; `false`, and nothing is changed, when its e-mail address has one already.
pub fn add(db: &Connection, account: &Account) -> Result<bool, StoreError> {
    let sql = format!(
        "INSERT INTO accounts ({COLUMNS})
         VALUES (:id, :email, :confirmed, :hash, :first, :last, :created, :apim)
         ON CONFLICT (email) DO NOTHING"
    );
    let added = db.prepare_cached(&sql)?.execute(named_params! {
        ":id": account.user_id.as_str(),
        ":email": account.email,
        ":confirmed": account.email_confirmed_at.map(seconds),
        ":hash": account.password_hash.expose(),
        ":first": account.first_name,
        ":last": account.last_name,
        ":created": seconds(account.created_at),
        ":apim": account.apim_created_at.map(seconds),
    })?;
    Ok(added == 1)
}

/// Notes that APIM has the user.
pub fn confirm(db: &Connection, user_id: &UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("UPDATE accounts SET apim_created_at = ?2 WHERE user_id = ?1")?;
    statement.execute((user_id.as_str(), seconds(now)))?;
    Ok(())
}

/// Notes that `email` is its holder's, if it is still the account's address.
pub fn confirm_email(
    db: &Connection,
    user_id: &UserId,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE accounts SET email_confirmed_at = coalesce(email_confirmed_at, ?3)
         WHERE user_id = ?1 AND email = ?2",
    )?;
    statement.execute((user_id.as_str(), email, seconds(now)))?;
    Ok(())
}

/// Puts a new password's hash in the place of the old one's.
pub fn set_password(db: &Connection, user_id: &UserId, hash: &Secret) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("UPDATE accounts SET password_hash = ?2 WHERE user_id = ?1")?;
    statement.execute((user_id.as_str(), hash.expose()))?;
    Ok(())
}

/// Takes back an account that APIM has refused. One that APIM has confirmed stays.
pub fn remove_unconfirmed(db: &Connection, user_id: &UserId) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("DELETE FROM accounts WHERE user_id = ?1 AND apim_created_at IS NULL")?;
    statement.execute([user_id.as_str()])?;
    Ok(())
}

pub fn get(db: &Connection, user_id: &UserId) -> Result<Option<Account>, StoreError> {
    select(db, "accounts WHERE user_id = ?1", user_id.as_str())
}

/// The account of an e-mail address, which is given in lower case.
pub fn by_email(db: &Connection, email: &str) -> Result<Option<Account>, StoreError> {
    select(db, "accounts WHERE email = ?1", email)
}

/// The account of a session that has not ended at `now`.
pub fn by_session(
    db: &Connection,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<Account>, StoreError> {
    let from = "accounts WHERE user_id =
        (SELECT user_id FROM sessions WHERE token_hash = ?1 AND expires_at > ?2)";
    select_with(db, from, (token_hash, seconds(now)))
}

fn select(db: &Connection, from: &str, value: &str) -> Result<Option<Account>, StoreError> {
    select_with(db, from, [value])
}

fn select_with(
    db: &Connection,
    from: &str,
    values: impl rusqlite::Params,
) -> Result<Option<Account>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM {from}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    rows.next()?.map(account).transpose()
}

fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    let user_id: String = row.get("user_id")?;
    let password_hash: String = row.get("password_hash")?;
    let apim_created_at: Option<i64> = row.get("apim_created_at")?;
    let email_confirmed_at: Option<i64> = row.get("email_confirmed_at")?;
    Ok(Account {
        user_id: UserId::parse(&user_id)
            .map_err(|_| StoreError::Nonsense(format!("the user id {user_id}")))?,
        email: row.get("email")?,
        email_confirmed_at: email_confirmed_at.map(time).transpose()?,
        password_hash: Secret::new(password_hash),
        first_name: row.get("first_name")?,
        last_name: row.get("last_name")?,
        created_at: time(row.get("created_at")?)?,
        apim_created_at: apim_created_at.map(time).transpose()?,
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use chrono::{DateTime, TimeZone, Utc};

    use super::Account;
    use crate::ids::UserId;
    use crate::secret::Secret;

    pub(crate) fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
    }

    pub(crate) fn account(user_id: &str, email: &str) -> Account {
        Account {
            user_id: UserId::parse(user_id).unwrap(),
            email: email.to_owned(),
            email_confirmed_at: None,
            password_hash: Secret::new("$argon2id$…"),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            created_at: noon(),
            apim_created_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{account, noon};
    use super::{add, by_email, confirm, get, remove_unconfirmed};
    use crate::store::testing::scratch;

    #[test]
    fn an_address_has_one_account() {
        let scratch = scratch();
        let first = account("u-1", "ada@example.com");
        let expected = first.clone();
        let (added, again, found) = scratch
            .store
            .write(move |db| {
                let again = account("u-2", "ada@example.com");
                Ok((
                    add(db, &first)?,
                    add(db, &again)?,
                    by_email(db, "ada@example.com")?,
                ))
            })
            .wait()
            .unwrap();
        assert!(added);
        assert!(!again);
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn only_an_account_that_apim_has_not_confirmed_can_be_taken_back() {
        let scratch = scratch();
        let kept = scratch
            .store
            .write(|db| {
                let (refused, confirmed) = (account("u-1", "a@x.io"), account("u-2", "b@x.io"));
                add(db, &refused)?;
                add(db, &confirmed)?;
                confirm(db, &confirmed.user_id, noon())?;
                remove_unconfirmed(db, &refused.user_id)?;
                remove_unconfirmed(db, &confirmed.user_id)?;
                Ok((get(db, &refused.user_id)?, get(db, &confirmed.user_id)?))
            })
            .wait()
            .unwrap();
        assert_eq!(kept.0, None);
        assert_eq!(kept.1.unwrap().apim_created_at, Some(noon()));
    }
}
