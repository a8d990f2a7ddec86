//! Consumers' accounts. An account's id is that of its APIM user.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::profiles::Profile;
use super::{StoreError, closings, links, seconds, sessions, time};
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
    pub kept_by: Keeper,
}

impl Account {
    /// First and last name; a user of the developer portal may have neither.
    pub fn full_name(&self) -> Option<String> {
        let names = format!("{} {}", self.first_name, self.last_name);
        let names = names.trim();
        (!names.is_empty()).then(|| names.to_owned())
    }
}

/// Whose an account's APIM user is: who may change and delete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Made here, with an id of our choice.
    Us,
    /// Made by the developer portal, which keeps its own sign-in: we only read it.
    DeveloperPortal,
}

impl Keeper {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::DeveloperPortal => "developer_portal",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Us, Self::DeveloperPortal]
            .into_iter()
            .find(|keeper| keeper.word() == word)
    }
}

/// What became of an account that was to follow its APIM user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The account says what the user says.
    Done(Account),
    /// Nothing was changed: this other account has the user's address.
    AddressTaken(UserId),
}

/// What stands in the place of a hash where no password opens the account: nobody has chosen one
/// here, or it is lost. Its owner gets in by way of the e-mail address.
pub const NO_PASSWORD: &str = "!";

const COLUMNS: &str = "user_id, email, email_confirmed_at, password_hash, first_name, last_name, \
    created_at, apim_created_at, kept_by";

/// Adds an account; `false`, and nothing is changed, when its e-mail address has one already.
pub fn add(db: &Connection, account: &Account) -> Result<bool, StoreError> {
    let sql = format!(
        "INSERT INTO accounts ({COLUMNS})
         VALUES (:id, :email, :confirmed, :hash, :first, :last, :created, :apim, :keeper)
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
        ":keeper": account.kept_by.word(),
    })?;
    Ok(added == 1)
}

/// Brings an account to what APIM says of its user, where the developer portal keeps the users. An
/// account that is not there is made: without a password, and with an address that counts as
/// confirmed, because whoever signs people in has seen to that.
pub fn follow(
    db: &Connection,
    user_id: &UserId,
    profile: &Profile,
    now: DateTime<Utc>,
) -> Result<Followed, StoreError> {
    let holder = by_email(db, &profile.email)?.filter(|holder| holder.user_id != *user_id);
    if let Some(holder) = holder {
        return Ok(Followed::AddressTaken(holder.user_id));
    }
    let known = get(db, user_id)?;
    let followed = Account {
        email: profile.email.clone(),
        first_name: profile.first_name.clone(),
        last_name: profile.last_name.clone(),
        ..known.clone().unwrap_or_else(|| unseen(user_id, now))
    };
    let Some(known) = known else {
        closings::forget_done(db, user_id)?;
        add(db, &followed)?;
        return Ok(Followed::Done(followed));
    };
    if known == followed {
        return Ok(Followed::Done(known));
    }
    let moved = known.email != followed.email;
    let followed = Account {
        email_confirmed_at: moved.then_some(now).or(known.email_confirmed_at),
        ..followed
    };
    let mut statement = db.prepare_cached(
        "UPDATE accounts SET email = :email, first_name = :first, last_name = :last,
             email_confirmed_at = :confirmed WHERE user_id = :id",
    )?;
    statement.execute(named_params! {
        ":id": user_id.as_str(),
        ":email": followed.email,
        ":first": followed.first_name,
        ":last": followed.last_name,
        ":confirmed": followed.email_confirmed_at.map(seconds),
    })?;
    if moved {
        links::end_all(db, user_id, now)?;
    }
    Ok(Followed::Done(followed))
}

fn unseen(user_id: &UserId, now: DateTime<Utc>) -> Account {
    Account {
        user_id: user_id.clone(),
        email: String::new(),
        email_confirmed_at: Some(now),
        password_hash: Secret::new(NO_PASSWORD),
        first_name: String::new(),
        last_name: String::new(),
        created_at: now,
        apim_created_at: Some(now),
        kept_by: Keeper::DeveloperPortal,
    }
}

/// Takes its address from an account whose APIM user has it no more, for whoever has it now. Nobody
/// gets in to the account, and no message goes to it, until it follows its user to another one.
pub fn release_address(
    db: &Connection,
    user_id: &UserId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    // No mailbox can have it: RFC 2606, 2.
    let mut statement = db.prepare_cached(
        "UPDATE accounts SET email = user_id || '@gone.invalid', email_confirmed_at = NULL
         WHERE user_id = ?1",
    )?;
    statement.execute([user_id.as_str()])?;
    links::end_all(db, user_id, now)?;
    sessions::end_all(db, user_id)
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

/// Puts a new password's hash in the place of the old one's. Whoever has a password here is kept
/// here from then on.
pub fn set_password(db: &Connection, user_id: &UserId, hash: &Secret) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE accounts SET password_hash = ?2, kept_by = 'us' WHERE user_id = ?1",
    )?;
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
    let kept_by: String = row.get("kept_by")?;
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
        kept_by: Keeper::parse(&kept_by)
            .ok_or_else(|| StoreError::Nonsense(format!("the keeper {kept_by}")))?,
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use chrono::{DateTime, TimeZone, Utc};

    use super::{Account, Keeper};
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
            kept_by: Keeper::Us,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::testing::{account, noon};
    use super::{
        Followed, Keeper, NO_PASSWORD, Profile, add, by_email, confirm, follow, get,
        release_address, remove_unconfirmed, set_password,
    };
    use crate::ids::UserId;
    use crate::secret::Secret;
    use crate::store::links::{self, Link, Purpose};
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

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn profile(email: &str) -> Profile {
        Profile {
            email: email.to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "King".to_owned(),
        }
    }

    #[test]
    fn an_account_follows_the_developer_portals_user() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let id = user("u-1");
            let Followed::Done(made) = follow(db, &id, &profile("ada@x.io"), noon())? else {
                panic!("the address is free");
            };
            assert_eq!(made.kept_by, Keeper::DeveloperPortal);
            assert_eq!(made.password_hash, Secret::new(NO_PASSWORD));
            assert_eq!(made.email_confirmed_at, Some(noon()));
            let link = Link {
                user_id: id.clone(),
                email: made.email.clone(),
            };
            links::add(db, &[1; 32], Purpose::SignIn, &link, noon())?;
            let later = noon() + TimeDelta::hours(1);
            let same = follow(db, &id, &profile("ada@x.io"), later)?;
            assert_eq!(same, Followed::Done(made));
            assert!(links::get(db, &[1; 32], Purpose::SignIn, noon())?.is_some());
            follow(db, &id, &profile("king@x.io"), later)?;
            let moved = get(db, &id)?.expect("it is there");
            assert_eq!(
                (moved.email.as_str(), moved.email_confirmed_at),
                ("king@x.io", Some(later))
            );
            assert_eq!(links::get(db, &[1; 32], Purpose::SignIn, noon())?, None);
            Ok(())
        });
        change.wait().unwrap();
    }

    #[test]
    fn an_address_is_taken_from_nobody_unless_it_is_released() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let (old, new) = (user("u-1"), user("u-2"));
            add(db, &account("u-1", "ada@x.io"))?;
            let taken = follow(db, &new, &profile("ada@x.io"), noon())?;
            assert_eq!(taken, Followed::AddressTaken(old.clone()));
            assert_eq!(get(db, &new)?, None);
            release_address(db, &old, noon())?;
            assert!(matches!(
                follow(db, &new, &profile("ada@x.io"), noon())?,
                Followed::Done(_)
            ));
            assert_eq!(
                by_email(db, "ada@x.io")?.map(|found| found.user_id),
                Some(new)
            );
            Ok(())
        });
        change.wait().unwrap();
    }

    #[test]
    fn whoever_chooses_a_password_here_is_kept_here() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            follow(db, &user("u-1"), &profile("ada@x.io"), noon())?;
            set_password(db, &user("u-1"), &Secret::new("$argon2id$…"))?;
            get(db, &user("u-1"))
        });
        assert_eq!(change.wait().unwrap().unwrap().kept_by, Keeper::Us);
    }
}
