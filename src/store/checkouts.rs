//! Purchases, from the consumer's intent to the subscription, and the Stripe customers they use.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{StoreError, seconds, subscriptions, time};
use crate::ids::{ProductId, SubscriptionName, UserId};

/// A session may be paid in its last second, and its event may be long on the way: until then
/// its customer counts as taken.
const NEWS_TAKES_AT_MOST: TimeDelta = TimeDelta::days(3);

/// One purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// A UUID.
    pub id: String,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub name: SubscriptionName,
    /// The Stripe customer; absent until there is one.
    pub customer_id: Option<String>,
    /// What its usage will be reported to; absent where the price is not metered.
    pub meter_event_name: Option<String>,
    pub state: State,
    /// Stripe's Checkout session.
    pub session: Option<Session>,
    /// The page of the developer portal to return to.
    pub return_path: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When the Checkout session ends by itself.
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: String,
    pub url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The intent is written; Stripe may or may not know of it.
    Planned,
    /// Stripe has a session that can be paid.
    Open,
    /// Paid, or free.
    Completed,
    Expired,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Expired => "expired",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Planned, Self::Open, Self::Completed, Self::Expired]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

const COLUMNS: &str = "checkout_id, user_id, product_id, name, customer_id, meter_event_name, \
    state, session_id, session_url, return_url, created_at, expires_at";

/// Writes down the intent.
pub fn add(db: &Connection, checkout: &Checkout) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO checkouts ({COLUMNS}) VALUES (:id, :user, :product, :name, :customer, :meter,
         :state, :session, :url, :return, :created, :expires)"
    );
    let session = checkout.session.as_ref();
    db.prepare_cached(&sql)?.execute(named_params! {
        ":id": checkout.id,
        ":user": checkout.user_id.as_str(),
        ":product": checkout.product_id.as_str(),
        ":name": checkout.name.as_str(),
        ":customer": checkout.customer_id,
        ":meter": checkout.meter_event_name,
        ":state": checkout.state.word(),
        ":session": session.map(|session| &session.id),
        ":url": session.map(|session| &session.url),
        ":return": checkout.return_path,
        ":created": seconds(checkout.created_at),
        ":expires": seconds(checkout.expires_at),
    })?;
    Ok(())
}

pub fn get(db: &Connection, id: &str) -> Result<Option<Checkout>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM checkouts WHERE checkout_id = ?1");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(checkout).transpose()
}

/// How many purchases of an account can still be paid at `now`.
pub fn count_payable(
    db: &Connection,
    user_id: &UserId,
    now: DateTime<Utc>,
) -> Result<u32, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT count(*) FROM checkouts
         WHERE user_id = ?1 AND state IN ('planned', 'open') AND expires_at > ?2",
    )?;
    Ok(statement.query_row((user_id.as_str(), seconds(now)), |row| row.get(0))?)
}

/// Notes the Stripe customer that was created for a purchase. It is not the account's by that: see
/// [`add_customer`].
pub fn use_customer(
    db: &Connection,
    checkout: &Checkout,
    customer_id: &str,
) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("UPDATE checkouts SET customer_id = ?2 WHERE checkout_id = ?1")?;
    statement.execute((&checkout.id, customer_id))?;
    Ok(())
}

/// Notes a Stripe customer of an account, which further purchases may use; one that is known stays
/// as it is.
pub fn add_customer(
    db: &Connection,
    customer_id: &str,
    user_id: &UserId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO customers (customer_id, user_id, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (customer_id) DO NOTHING",
    )?;
    statement.execute((customer_id, user_id.as_str(), seconds(now)))?;
    Ok(())
}

/// Whether a Stripe customer is known to be an account's.
pub fn is_customer(db: &Connection, customer_id: &str) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached("SELECT 1 FROM customers WHERE customer_id = ?1")?;
    Ok(statement.exists([customer_id])?)
}

/// Notes the Checkout session that Stripe made of a planned purchase. `false` when the purchase
/// was called off meanwhile: then nobody may pay it.
pub fn open(db: &Connection, id: &str, session: &Session) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE checkouts SET state = 'open', session_id = ?2, session_url = ?3
         WHERE checkout_id = ?1 AND state = 'planned'",
    )?;
    let opened = statement.execute((id, &session.id, &session.url))? == 1;
    Ok(opened || get(db, id)?.is_some_and(|known| known.state == State::Open))
}

/// Notes that a purchase is paid, or free.
pub fn complete(db: &Connection, id: &str) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("UPDATE checkouts SET state = 'completed' WHERE checkout_id = ?1")?;
    statement.execute([id])?;
    Ok(())
}

/// An account's purchases that are neither paid nor called off, as far as we know.
pub fn unsettled(db: &Connection, user_id: &UserId) -> Result<Vec<Checkout>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM checkouts WHERE user_id = ?1 AND state IN ('planned', 'open')"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([user_id.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(checkout(row)?);
    }
    Ok(found)
}

/// Notes that a purchase cannot be paid any more, whether it has a session or not.
pub fn call_off(db: &Connection, id: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE checkouts SET state = 'expired' WHERE checkout_id = ?1 AND state <> 'completed'",
    )?;
    statement.execute([id])?;
    Ok(())
}

/// Notes that a Checkout session can no longer be paid.
pub fn expire_session(db: &Connection, session_id: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE checkouts SET state = 'expired' WHERE session_id = ?1 AND state = 'open'",
    )?;
    statement.execute([session_id])?;
    Ok(())
}

/// A Stripe customer of the account that can take one more subscription, or `None` when a new one
/// is needed.
///
/// A meter knows only the customer, so a customer never carries two subscriptions on one meter;
/// purchases under way count. Run this and [`add`] in one transaction.
pub fn free_customer(
    db: &Connection,
    user_id: &UserId,
    meter_event_name: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    for customer in customers(db, user_id)? {
        let taken = match meter_event_name {
            None => false,
            Some(meter) => {
                subscriptions::is_on_meter(db, &customer, meter)?
                    || is_pending_on_meter(db, &customer, meter, now)?
            }
        };
        if !taken {
            return Ok(Some(customer));
        }
    }
    Ok(None)
}

/// The account's Stripe customers, oldest first.
pub fn customers(db: &Connection, user_id: &UserId) -> Result<Vec<String>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT customer_id FROM customers WHERE user_id = ?1 ORDER BY created_at, rowid",
    )?;
    let rows = statement.query_map([user_id.as_str()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a purchase that may still become a subscription uses this customer on this meter.
fn is_pending_on_meter(
    db: &Connection,
    customer_id: &str,
    meter_event_name: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM checkouts WHERE customer_id = ?1 AND meter_event_name = ?2
         AND state <> 'expired' AND expires_at > ?3
         AND NOT EXISTS (SELECT 1 FROM subscriptions
                         WHERE subscriptions.checkout_id = checkouts.checkout_id)",
    )?;
    let news_since = seconds(now - NEWS_TAKES_AT_MOST);
    Ok(statement
        .query_row((customer_id, meter_event_name, news_since), |_| Ok(()))
        .optional()?
        .is_some())
}

fn checkout(row: &Row<'_>) -> Result<Checkout, StoreError> {
    let id: String = row.get("checkout_id")?;
    let nonsense = |what: &str| StoreError::Nonsense(format!("the {what} of checkout {id}"));
    let text = |column: &str| row.get::<_, String>(column);
    let session_id: Option<String> = row.get("session_id")?;
    let session_url: Option<String> = row.get("session_url")?;
    Ok(Checkout {
        user_id: UserId::parse(&text("user_id")?).map_err(|_| nonsense("user id"))?,
        product_id: ProductId::parse(&text("product_id")?).map_err(|_| nonsense("product id"))?,
        name: SubscriptionName::parse(&text("name")?).map_err(|_| nonsense("name"))?,
        customer_id: row.get("customer_id")?,
        meter_event_name: row.get("meter_event_name")?,
        state: State::parse(&text("state")?).ok_or_else(|| nonsense("state"))?,
        session: session_id
            .zip(session_url)
            .map(|(id, url)| Session { id, url }),
        return_path: row.get("return_url")?,
        created_at: time(row.get("created_at")?)?,
        expires_at: time(row.get("expires_at")?)?,
        id,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{
        Checkout, Connection, NEWS_TAKES_AT_MOST, Session, State, add, add_customer, complete,
        count_payable, expire_session, free_customer, get, open, use_customer,
    };
    use crate::ids::{ProductId, SubscriptionName, UserId};
    use crate::store::accounts;
    use crate::store::accounts::testing::{account, noon};
    use crate::store::testing::scratch;

    const METER: Option<&str> = Some("tollhouse_payg_calls");

    fn user() -> UserId {
        UserId::parse("u-1").unwrap()
    }

    fn checkout(id: &str) -> Checkout {
        Checkout {
            id: id.to_owned(),
            user_id: user(),
            product_id: ProductId::parse("payg").unwrap(),
            name: SubscriptionName::parse("Weather").unwrap(),
            customer_id: None,
            meter_event_name: METER.map(str::to_owned),
            state: State::Planned,
            session: None,
            return_path: Some("/profile".to_owned()),
            created_at: noon(),
            expires_at: noon() + TimeDelta::hours(2),
        }
    }

    fn session() -> Session {
        Session {
            id: "cs_1".to_owned(),
            url: "https://checkout.stripe.com/c/cs_1".to_owned(),
        }
    }

    /// Runs `steps` on a store with one account and a purchase that has a customer, `cus_1`.
    fn after(steps: impl FnOnce(&Connection) + Send + 'static, now: DateTime<Utc>) -> [bool; 2] {
        let scratch = scratch();
        let change = scratch.store.write(move |db| {
            accounts::add(db, &account("u-1", "ada@example.com"))?;
            let checkout = checkout("c-1");
            add(db, &checkout)?;
            use_customer(db, &checkout, "cus_1")?;
            add_customer(db, "cus_1", &checkout.user_id, noon())?;
            steps(db);
            let on_meter = free_customer(db, &user(), METER, now)?;
            let elsewhere = free_customer(db, &user(), Some("other"), now)?;
            Ok([on_meter, elsewhere].map(|customer| customer.is_some()))
        });
        change.wait().unwrap()
    }

    #[test]
    fn a_customer_with_a_purchase_under_way_is_not_used_again_on_its_meter() {
        assert_eq!(after(|_| (), noon()), [false, true]);
        let paid = |db: &Connection| complete(db, "c-1").unwrap();
        assert_eq!(after(paid, noon()), [false, true]);
    }

    #[test]
    fn a_customer_is_free_again_when_the_purchase_cannot_be_paid_any_more() {
        let expired = |db: &Connection| {
            open(db, "c-1", &session()).unwrap();
            expire_session(db, "cs_1").unwrap();
        };
        assert_eq!(after(expired, noon()), [true, true]);
        let long_after = noon() + TimeDelta::hours(2) + NEWS_TAKES_AT_MOST;
        assert_eq!(after(|_| (), long_after), [true, true]);
    }

    #[test]
    fn only_purchases_that_can_still_be_paid_count() {
        let scratch = scratch();
        let counted = scratch.store.write(|db| {
            accounts::add(db, &account("u-1", "ada@example.com"))?;
            add(db, &checkout("c-1"))?;
            add(db, &checkout("c-2"))?;
            complete(db, "c-2")?;
            let late = noon() + TimeDelta::hours(2);
            Ok([
                count_payable(db, &user(), noon())?,
                count_payable(db, &user(), late)?,
            ])
        });
        assert_eq!(counted.wait().unwrap(), [1, 0]);
    }

    #[test]
    fn a_purchase_comes_back_as_it_was_kept() {
        let scratch = scratch();
        let found = scratch.store.write(|db| {
            accounts::add(db, &account("u-1", "ada@example.com"))?;
            add(db, &checkout("c-1"))?;
            open(db, "c-1", &session())?;
            get(db, "c-1")
        });
        let found = found.wait().unwrap();
        let expected = Checkout {
            state: State::Open,
            session: Some(session()),
            ..checkout("c-1")
        };
        assert_eq!(found, Some(expected));
    }
}
