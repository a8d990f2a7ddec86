//! What signed delegation requests asked for, and the salts that can never be used again.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{StoreError, seconds};
use crate::ids::{ProductId, UserId};

/// What the developer portal asked for, from the moment that its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// Sign in or sign up, then return to this page of the portal.
    SignIn {
        return_path: String,
    },
    Subscribe {
        user: UserId,
        product: ProductId,
    },
    /// See or change something that this user has, who has to show first that it is theirs.
    Manage {
        user: UserId,
    },
}

/// Uses up a salt, given as its SHA-256: `false` when it was used before.
pub fn use_salt(
    db: &Connection,
    salt_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO used_salts (salt_hash, used_at) VALUES (?1, ?2)
         ON CONFLICT (salt_hash) DO NOTHING",
    )?;
    Ok(statement.execute((salt_hash, seconds(now)))? == 1)
}

/// Whether a salt, given as its SHA-256, was used before.
pub fn is_used(db: &Connection, salt_hash: &[u8; 32]) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached("SELECT 1 FROM used_salts WHERE salt_hash = ?1")?;
    Ok(statement.exists([salt_hash])?)
}

/// Keeps a request under the SHA-256 of the browser's cookie. What has expired by `now` goes.
pub fn keep(
    db: &Connection,
    token_hash: &[u8; 32],
    delegation: &Delegation,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM delegations WHERE expires_at <= ?1")?;
    statement.execute([seconds(now)])?;
    let (operation, user, product, return_path) = columns(delegation);
    let mut statement = db.prepare_cached(
        "INSERT INTO delegations
         (token_hash, operation, user_id, product_id, return_url, created_at, expires_at)
         VALUES (:hash, :operation, :user, :product, :return, :now, :expires)",
    )?;
    statement.execute(named_params! {
        ":hash": token_hash,
        ":operation": operation,
        ":user": user,
        ":product": product,
        ":return": return_path,
        ":now": seconds(now),
        ":expires": seconds(expires_at),
    })?;
    Ok(())
}

type Columns<'a> = (
    &'static str,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
);

fn columns(delegation: &Delegation) -> Columns<'_> {
    match delegation {
        Delegation::SignIn { return_path } => ("sign-in", None, None, Some(return_path)),
        Delegation::Subscribe { user, product } => (
            "subscribe",
            Some(user.as_str()),
            Some(product.as_str()),
            None,
        ),
        Delegation::Manage { user } => ("manage", Some(user.as_str()), None, None),
    }
}

/// The request that brought this browser, unless it has expired at `now`.
pub fn get(
    db: &Connection,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<Delegation>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT operation, user_id, product_id, return_url FROM delegations
         WHERE token_hash = ?1 AND expires_at > ?2",
    )?;
    let mut rows = statement.query((token_hash, seconds(now)))?;
    rows.next()?.map(delegation).transpose()
}

/// Notes the purchase that a request to subscribe has led to; a later one takes its place.
pub fn note_purchase(
    db: &Connection,
    token_hash: &[u8; 32],
    checkout_id: &str,
) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("UPDATE delegations SET checkout_id = ?2 WHERE token_hash = ?1")?;
    statement.execute((token_hash, checkout_id))?;
    Ok(())
}

/// The purchase that the request has led to, unless the request has expired at `now`.
pub fn purchase(
    db: &Connection,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT checkout_id FROM delegations WHERE token_hash = ?1 AND expires_at > ?2",
    )?;
    let found = statement.query_row((token_hash, seconds(now)), |row| row.get(0));
    Ok(found.optional()?.flatten())
}

pub fn remove(db: &Connection, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM delegations WHERE token_hash = ?1")?;
    statement.execute([token_hash])?;
    Ok(())
}

fn delegation(row: &Row<'_>) -> Result<Delegation, StoreError> {
    let operation: String = row.get("operation")?;
    let nonsense = || StoreError::Nonsense(format!("a delegation to {operation}"));
    let user = || {
        let user_id: String = row.get("user_id")?;
        UserId::parse(&user_id).map_err(|_| nonsense())
    };
    match operation.as_str() {
        "sign-in" => Ok(Delegation::SignIn {
            return_path: row.get("return_url")?,
        }),
        "manage" => Ok(Delegation::Manage { user: user()? }),
        "subscribe" => Ok(Delegation::Subscribe {
            user: user()?,
            product: ProductId::parse(&row.get::<_, String>("product_id")?)
                .map_err(|_| nonsense())?,
        }),
        _ => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Delegation, get, keep, note_purchase, purchase, remove, use_salt};
    use crate::ids::{ProductId, UserId};
    use crate::store::accounts::testing::noon;
    use crate::store::testing::scratch;

    const HASH: [u8; 32] = [7; 32];

    fn check(delegation: Delegation) {
        let scratch = scratch();
        let expiry = noon() + TimeDelta::hours(1);
        let expected = delegation.clone();
        let (kept, expired, removed) = scratch
            .store
            .write(move |db| {
                keep(db, &HASH, &delegation, noon(), expiry)?;
                let kept = get(db, &HASH, noon())?;
                let expired = get(db, &HASH, expiry)?;
                remove(db, &HASH)?;
                Ok((kept, expired, get(db, &HASH, noon())?))
            })
            .wait()
            .unwrap();
        assert_eq!(kept, Some(expected));
        assert_eq!(expired, None);
        assert_eq!(removed, None);
    }

    #[test]
    fn a_request_is_kept_until_it_expires_or_is_done() {
        check(Delegation::SignIn {
            return_path: "/product#product=starter".to_owned(),
        });
        check(Delegation::Subscribe {
            user: UserId::parse("u-1").unwrap(),
            product: ProductId::parse("payg").unwrap(),
        });
        check(Delegation::Manage {
            user: UserId::parse("u-1").unwrap(),
        });
    }

    #[test]
    fn a_request_knows_the_purchase_that_came_of_it_until_it_expires() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let user = UserId::parse("u-1").unwrap();
            let expiry = noon() + TimeDelta::hours(1);
            keep(db, &HASH, &Delegation::Manage { user }, noon(), expiry)?;
            assert_eq!(purchase(db, &HASH, noon())?, None);
            note_purchase(db, &HASH, "c-1")?;
            assert_eq!(purchase(db, &HASH, noon())?.as_deref(), Some("c-1"));
            assert_eq!(purchase(db, &HASH, expiry)?, None);
            Ok(())
        });
        change.wait().unwrap();
    }

    #[test]
    fn a_salt_works_once() {
        let scratch = scratch();
        let use_it = || {
            let change = scratch.store.write(|db| use_salt(db, &HASH, noon()));
            change.wait().unwrap()
        };
        assert!(use_it());
        assert!(!use_it());
    }
}
