//! Links that messages carry: what each may do, for whom, and until when.
//!
//! Kept is the SHA-256 of a link's token, never the token: a copy of the store opens nothing. A
//! link works once, and takes every other link of the same account and purpose with it. Several
//! can be alive, because a message whose first sending ended unknown is sent again with a new one.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::{StoreError, mails, seconds};
use crate::ids::UserId;

/// What a link is for. Each purpose has its own page; a link opens no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To show that the account's address is theirs.
    ConfirmAddress,
    /// To show that the address to which an account is to change is theirs.
    ConfirmNewAddress,
    /// To choose a new password.
    NewPassword,
    /// To sign in without a password.
    SignIn,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::ConfirmAddress => "confirm_address",
            Self::ConfirmNewAddress => "confirm_new_address",
            Self::NewPassword => "new_password",
            Self::SignIn => "sign_in",
        }
    }

    /// How long a link is good from its sending on. Those that let somebody in are short.
    pub fn lifetime(self) -> TimeDelta {
        match self {
            Self::ConfirmAddress | Self::ConfirmNewAddress => TimeDelta::days(3),
            Self::NewPassword => TimeDelta::hours(1),
            Self::SignIn => TimeDelta::minutes(20),
        }
    }
}

/// Whom a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub user_id: UserId,
    /// The address that it was sent to.
    pub email: String,
}

/// Keeps the hash of a new link's token.
pub fn add(
    db: &Connection,
    token_hash: &[u8; 32],
    purpose: Purpose,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO links (token_hash, purpose, user_id, email, expires_at)
         SELECT :hash, :purpose, user_id, :email, :expires FROM accounts WHERE user_id = :user",
    )?;
    statement.execute(named_params! {
        ":hash": token_hash,
        ":purpose": purpose.word(),
        ":user": link.user_id.as_str(),
        ":email": link.email,
        ":expires": seconds(now + purpose.lifetime()),
    })?;
    Ok(())
}

/// The link of this token and purpose, if it is good at `now`. Uses nothing up.
pub fn get(
    db: &Connection,
    token_hash: &[u8; 32],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<Link>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT user_id, email FROM links
         WHERE token_hash = ?1 AND purpose = ?2 AND expires_at > ?3",
    )?;
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let found = statement.query_row((token_hash, purpose.word(), seconds(now)), columns);
    let Some((user_id, email)) = found.optional()? else {
        return Ok(None);
    };
    let user_id = UserId::parse(&user_id)
        .map_err(|_| StoreError::Nonsense(format!("the user id {user_id}")))?;
    Ok(Some(Link { user_id, email }))
}

/// The same, and uses it up: with it go all links of the account for this purpose.
pub fn use_up(
    db: &Connection,
    token_hash: &[u8; 32],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<Link>, StoreError> {
    let link = get(db, token_hash, purpose, now)?;
    if let Some(link) = &link {
        let mut statement =
            db.prepare_cached("DELETE FROM links WHERE user_id = ?1 AND purpose = ?2")?;
        statement.execute((link.user_id.as_str(), purpose.word()))?;
    }
    Ok(link)
}

/// Ends every link of an account, as when its password or its address has changed; also those whose
/// message waits to be sent, because their tokens are made only then.
pub fn end_all(db: &Connection, user_id: &UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM links WHERE user_id = ?1")?;
    statement.execute([user_id.as_str()])?;
    mails::dismiss_links(db, user_id, now)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Link, Purpose, add, end_all, get, use_up};
    use crate::store::accounts::testing::{account, noon};
    use crate::store::testing::scratch;
    use crate::store::{StoreError, accounts};

    fn hash(number: u8) -> [u8; 32] {
        [number; 32]
    }

    /// Ada with links of two purposes, two of the first.
    fn links(db: &rusqlite::Connection) -> Result<Link, StoreError> {
        let ada = account("u-1", "ada@example.com");
        accounts::add(db, &ada)?;
        let link = Link {
            user_id: ada.user_id,
            email: ada.email,
        };
        add(db, &hash(1), Purpose::NewPassword, &link, noon())?;
        add(db, &hash(2), Purpose::NewPassword, &link, noon())?;
        add(db, &hash(3), Purpose::SignIn, &link, noon())?;
        Ok(link)
    }

    #[test]
    fn a_link_works_once_for_its_purpose_until_it_expires() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let link = links(db)?;
            let end = noon() + Purpose::NewPassword.lifetime();
            let second = TimeDelta::seconds(1);
            assert_eq!(get(db, &hash(1), Purpose::SignIn, noon())?, None);
            assert_eq!(get(db, &hash(1), Purpose::NewPassword, end)?, None);
            let found = use_up(db, &hash(1), Purpose::NewPassword, end - second)?;
            assert_eq!(found, Some(link));
            for used in [hash(1), hash(2)] {
                assert_eq!(get(db, &used, Purpose::NewPassword, noon())?, None);
            }
            assert!(get(db, &hash(3), Purpose::SignIn, noon())?.is_some());
            Ok(())
        });
        change.wait().unwrap();
    }

    #[test]
    fn all_links_of_an_account_can_be_ended_and_go_with_it() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let link = links(db)?;
            end_all(db, &link.user_id, noon())?;
            assert_eq!(get(db, &hash(3), Purpose::SignIn, noon())?, None);
            add(db, &hash(4), Purpose::SignIn, &link, noon())?;
            accounts::remove_unconfirmed(db, &link.user_id)?;
            assert_eq!(get(db, &hash(4), Purpose::SignIn, noon())?, None);
            add(db, &hash(5), Purpose::SignIn, &link, noon())
        });
        change.wait().unwrap();
    }
}
