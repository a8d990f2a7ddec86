//! Subscriptions as last seen at Stripe, and the access that follows.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

pub use super::period::Period;
use super::{StoreError, seconds, time, usage};
use crate::ids::{ProductId, SubscriptionName, UserId};
use crate::lifecycle::Access;

/// One subscription. Its id is Stripe's, and that of the APIM subscription too; a free one, in
/// which Stripe has no part, has an id of ours that starts with `free_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: String,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub name: SubscriptionName,
    pub checkout_id: Option<String>,
    pub customer_id: Option<String>,
    /// Stripe's word for its status; absent for a free subscription.
    pub stripe_status: Option<String>,
    /// What its usage is reported to; absent where the price is not metered.
    pub meter: Option<Meter>,
    pub started_at: DateTime<Utc>,
    pub period: Option<Period>,
    pub cancel_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub past_due_since: Option<DateTime<Utc>>,
    /// It has been unpaid, and drafts of that time are still to be finalized.
    pub drafts_left: bool,
    pub wanted: Access,
    /// Why it is wanted, in one sentence.
    pub reason: String,
    /// What APIM confirmed last; absent before the first time.
    pub applied: Option<Access>,
    pub recheck_at: Option<DateTime<Utc>>,
    /// How often applying has failed in a row.
    pub attempts: u32,
    pub problem: Option<String>,
    /// The start of the period in which its budget stops access. Read with the record and kept by
    /// [`budgets`](super::budgets): [`save`] leaves it alone.
    pub budget_stop: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    pub id: String,
    pub event_name: String,
}

/// A row that cannot be read. It is left out of every answer, so that it does not keep the others
/// from being worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub id: String,
    /// What makes no sense, to go on after *the record of …*.
    pub problem: String,
}

const COLUMNS: &str = "subscription_id, user_id, product_id, name, checkout_id, customer_id, \
    stripe_status, meter_event_name, meter_id, started_at, period_start, period_end, cancel_at, \
    ended_at, past_due_since, drafts_left, wanted_state, reason, applied_state, recheck_at, attempts, problem, \
    updated_at";

/// What is read with a record besides.
const BESIDES: &str = "(SELECT stopped_period FROM budgets
    WHERE budgets.subscription_id = subscriptions.subscription_id) AS budget_stop";

/// A subscription that is this much older than our first record of it was found late: usage of it
/// may have been read as nobody's, and reported by whoever knew of it.
const LATE: TimeDelta = TimeDelta::hours(1);

/// Keeps the subscription, in place of what was kept under its id.
///
/// One that is found late is noted as such ([`found_late`]), and its days have to be read again.
pub fn save(db: &Connection, subscription: &Subscription) -> Result<(), StoreError> {
    let is_late = subscription.updated_at - subscription.started_at > LATE;
    if is_late && !exists(db, &subscription.id)? {
        note_late_find(db, subscription)?;
    }
    let values = "(:id, :user, :product, :name, :checkout, :customer, :status, :event_name, :meter, \
        :started, :period_start, :period_end, :cancel, :ended, :past_due, :left, :wanted, :reason, \
        :applied, :recheck, :attempts, :problem, :updated)";
    let sql = format!("INSERT OR REPLACE INTO subscriptions ({COLUMNS}) VALUES {values}");
    let meter = subscription.meter.as_ref();
    db.prepare_cached(&sql)?.execute(named_params! {
        ":id": subscription.id,
        ":user": subscription.user_id.as_str(),
        ":product": subscription.product_id.as_str(),
        ":name": subscription.name.as_str(),
        ":checkout": subscription.checkout_id,
        ":customer": subscription.customer_id,
        ":status": subscription.stripe_status,
        ":event_name": meter.map(|meter| &meter.event_name),
        ":meter": meter.map(|meter| &meter.id),
        ":started": seconds(subscription.started_at),
        ":period_start": subscription.period.map(|period| seconds(period.start)),
        ":period_end": subscription.period.map(|period| seconds(period.end)),
        ":cancel": subscription.cancel_at.map(seconds),
        ":ended": subscription.ended_at.map(seconds),
        ":past_due": subscription.past_due_since.map(seconds),
        ":left": subscription.drafts_left,
        ":wanted": subscription.wanted.word(),
        ":reason": subscription.reason,
        ":applied": subscription.applied.map(Access::word),
        ":recheck": subscription.recheck_at.map(seconds),
        ":attempts": subscription.attempts,
        ":problem": subscription.problem,
        ":updated": seconds(subscription.updated_at),
    })?;
    Ok(())
}

fn exists(db: &Connection, id: &str) -> Result<bool, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM subscriptions WHERE subscription_id = ?1")?;
    Ok(statement.exists([id])?)
}

fn note_late_find(db: &Connection, subscription: &Subscription) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO found_late (subscription_id, found_at) VALUES (?1, ?2)",
    )?;
    statement.execute((&subscription.id, seconds(subscription.updated_at)))?;
    // Also the days of the period before: its invoice may still be a draft.
    usage::forget_collected(db, subscription.started_at.date_naive())
}

/// When a subscription was found that had begun long before.
pub fn found_late(db: &Connection, id: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT found_at FROM found_late WHERE subscription_id = ?1")?;
    let found_at: Option<i64> = statement.query_row([id], |row| row.get(0)).optional()?;
    found_at.map(time).transpose()
}

/// The subscription of this id.
///
/// # Errors
/// [`StoreError::Nonsense`] where its row cannot be read.
pub fn get(db: &Connection, id: &str) -> Result<Option<Subscription>, StoreError> {
    let (mut found, unreadable) = one(db, id)?;
    match unreadable.into_iter().next() {
        Some(row) => Err(StoreError::Nonsense(row.problem)),
        None => Ok(found.pop()),
    }
}

pub fn by_checkout(db: &Connection, checkout_id: &str) -> Result<Option<Subscription>, StoreError> {
    Ok(select(db, "checkout_id = ?1", checkout_id)?.pop())
}

/// A consumer's subscriptions, newest first.
pub fn of_user(db: &Connection, user_id: &UserId) -> Result<Vec<Subscription>, StoreError> {
    select(
        db,
        "user_id = ?1 ORDER BY started_at DESC, subscription_id",
        user_id.as_str(),
    )
}

/// Those whose access time alone may change by `now`, and those that could not be applied yet:
/// the most overdue first, at most `limit`.
pub fn due_for_recheck(
    db: &Connection,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Subscription>, StoreError> {
    let condition = format!("recheck_at <= ?1 ORDER BY recheck_at, subscription_id LIMIT {limit}");
    select(db, &condition, seconds(now))
}

/// Makes the subscriptions that could not be applied, or the one of them that `id` names, due
/// again, from the first attempt on; says how many there were.
pub fn retry_stuck(
    db: &Connection,
    id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE subscriptions SET recheck_at = ?1, attempts = 0
         WHERE problem IS NOT NULL AND coalesce(?2, subscription_id) = subscription_id",
    )?;
    Ok(statement.execute((seconds(now), id))?)
}

/// How many could not be applied.
pub fn stuck(db: &Connection) -> Result<u64, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT count(*) FROM subscriptions WHERE problem IS NOT NULL")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Those whose usage is reported: metered, known to Stripe, and not ended before `since`; and those
/// of them whose rows cannot be read.
pub fn metered(
    db: &Connection,
    since: DateTime<Utc>,
) -> Result<(Vec<Subscription>, Vec<Unreadable>), StoreError> {
    let condition =
        "meter_id IS NOT NULL AND coalesce(ended_at, ?1) >= ?1 ORDER BY subscription_id";
    select_all(db, condition, seconds(since))
}

/// Whether there is any whose usage is reported now.
pub fn has_metered(db: &Connection) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM subscriptions WHERE meter_id IS NOT NULL AND ended_at IS NULL",
    )?;
    Ok(statement.exists([])?)
}

/// Metered subscriptions whose period ended by `until`, `within` before it, and which nobody has
/// looked at since: at most `limit`.
pub fn turned_unseen(
    db: &Connection,
    until: DateTime<Utc>,
    within: TimeDelta,
    limit: u32,
) -> Result<Vec<Subscription>, StoreError> {
    let within = within.num_seconds();
    let condition = format!(
        "meter_id IS NOT NULL AND ended_at IS NULL AND period_end BETWEEN ?1 - {within} AND ?1
         AND updated_at <= ?1 ORDER BY period_end LIMIT {limit}"
    );
    select(db, &condition, seconds(until))
}

/// All, newest first, at most `limit`.
pub fn newest(db: &Connection, limit: u32) -> Result<Vec<Subscription>, StoreError> {
    select(
        db,
        "true ORDER BY started_at DESC, subscription_id LIMIT ?1",
        limit,
    )
}

/// Those in whose ids, name, product or holder's address the text stands, newest first, at most
/// `limit`; ids are meant whole. All where there is no text.
pub fn find(db: &Connection, text: &str, limit: u32) -> Result<Vec<Subscription>, StoreError> {
    let condition = format!(
        "?1 IN (subscription_id, customer_id, user_id)
         OR instr(lower(name), lower(?1)) > 0 OR instr(lower(product_id), lower(?1)) > 0
         OR user_id IN (SELECT user_id FROM accounts WHERE instr(lower(email), lower(?1)) > 0)
         ORDER BY started_at DESC, subscription_id LIMIT {limit}"
    );
    select(db, &condition, text)
}

/// Those that could not be applied, the longest untouched first, at most `limit`.
pub fn in_trouble(db: &Connection, limit: u32) -> Result<Vec<Subscription>, StoreError> {
    let condition = "problem IS NOT NULL ORDER BY updated_at, subscription_id LIMIT ?1";
    select(db, condition, limit)
}

/// All whose rows can be read, by id, and those whose rows cannot.
pub fn all(db: &Connection) -> Result<(Vec<Subscription>, Vec<Unreadable>), StoreError> {
    select_all(db, "?1 ORDER BY subscription_id", true)
}

/// The one of this id, in the shape of [`all`].
pub fn one(db: &Connection, id: &str) -> Result<(Vec<Subscription>, Vec<Unreadable>), StoreError> {
    select_all(db, "subscription_id = ?1", id)
}

/// How many there are by the access that is wanted: the word and the number.
pub fn counts(db: &Connection) -> Result<Vec<(String, u64)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT wanted_state, count(*) FROM subscriptions GROUP BY wanted_state ORDER BY wanted_state",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends a subscription in which Stripe has no part, because its consumer wants that. The worker
/// takes its access.
pub fn end_free(
    db: &Connection,
    held: &Subscription,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let ended = Subscription {
        wanted: Access::Cancelled,
        reason: "The subscription was cancelled.".to_owned(),
        ended_at: Some(held.ended_at.unwrap_or(now)),
        recheck_at: Some(now),
        attempts: 0,
        problem: None,
        updated_at: now,
        ..held.clone()
    };
    save(db, &ended)
}

/// Whether `customer_id` already carries a subscription on this meter that Stripe may still bill.
pub fn is_on_meter(
    db: &Connection,
    customer_id: &str,
    meter_event_name: &str,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM subscriptions WHERE customer_id = ?1 AND meter_event_name = ?2
         AND stripe_status NOT IN ('canceled', 'incomplete_expired')",
    )?;
    Ok(statement
        .query_row((customer_id, meter_event_name), |_| Ok(()))
        .optional()?
        .is_some())
}

/// Those of the rows that can be read.
fn select(
    db: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> Result<Vec<Subscription>, StoreError> {
    let (found, unreadable) = select_all(db, condition, value)?;
    for row in unreadable {
        tracing::error!(subscription = %row.id, problem = %row.problem, "a record was left out");
    }
    Ok(found)
}

fn select_all(
    db: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> Result<(Vec<Subscription>, Vec<Unreadable>), StoreError> {
    let sql = format!("SELECT {COLUMNS}, {BESIDES} FROM subscriptions WHERE {condition}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([value])?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = row.get("subscription_id")?;
        match subscription(row) {
            Ok(subscription) => found.push(subscription),
            Err(error) => unreadable.push(Unreadable {
                problem: in_words(error),
                id,
            }),
        }
    }
    Ok((found, unreadable))
}

fn in_words(error: StoreError) -> String {
    if let StoreError::Nonsense(what) = error {
        return what;
    }
    let cause = std::error::Error::source(&error);
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

fn subscription(row: &Row<'_>) -> Result<Subscription, StoreError> {
    let moment = |column: &str| -> Result<Option<DateTime<Utc>>, StoreError> {
        row.get::<_, Option<i64>>(column)?.map(time).transpose()
    };
    let id: String = row.get("subscription_id")?;
    let nonsense = |what: &str| StoreError::Nonsense(format!("the {what} of subscription {id}"));
    let access = |column: &str| -> Result<Option<Access>, StoreError> {
        let word: Option<String> = row.get(column)?;
        word.map(|word| Access::parse(&word).ok_or_else(|| nonsense(column)))
            .transpose()
    };
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Subscription {
        user_id: UserId::parse(&text("user_id")?).map_err(|_| nonsense("user id"))?,
        product_id: ProductId::parse(&text("product_id")?).map_err(|_| nonsense("product id"))?,
        name: SubscriptionName::parse(&text("name")?).map_err(|_| nonsense("name"))?,
        checkout_id: row.get("checkout_id")?,
        customer_id: row.get("customer_id")?,
        stripe_status: row.get("stripe_status")?,
        meter: meter(row)?,
        started_at: time(row.get("started_at")?)?,
        period: moment("period_start")?
            .zip(moment("period_end")?)
            .map(|(start, end)| Period { start, end }),
        cancel_at: moment("cancel_at")?,
        ended_at: moment("ended_at")?,
        past_due_since: moment("past_due_since")?,
        drafts_left: row.get("drafts_left")?,
        wanted: access("wanted_state")?.ok_or_else(|| nonsense("wanted state"))?,
        reason: text("reason")?,
        applied: access("applied_state")?,
        recheck_at: moment("recheck_at")?,
        attempts: row.get("attempts")?,
        problem: row.get("problem")?,
        budget_stop: moment("budget_stop")?,
        updated_at: time(row.get("updated_at")?)?,
        id,
    })
}

fn meter(row: &Row<'_>) -> Result<Option<Meter>, StoreError> {
    let id: Option<String> = row.get("meter_id")?;
    let event_name: Option<String> = row.get("meter_event_name")?;
    Ok(id
        .zip(event_name)
        .map(|(id, event_name)| Meter { id, event_name }))
}

/// The ids of all subscriptions.
pub fn ids(db: &Connection) -> Result<std::collections::HashSet<String>, StoreError> {
    let mut statement = db.prepare_cached("SELECT subscription_id FROM subscriptions")?;
    let ids = statement.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

#[cfg(test)]
pub(crate) mod testing {
    use chrono::{TimeZone, Utc};

    use rusqlite::Connection;

    use super::{Meter, Period, StoreError, Subscription};
    use crate::ids::{ProductId, SubscriptionName, UserId};
    use crate::lifecycle::Access;

    /// Makes a record one that cannot be read.
    pub(crate) fn spoil(db: &Connection, id: &str) -> Result<(), StoreError> {
        let mut statement =
            db.prepare("UPDATE subscriptions SET user_id = 'a b' WHERE subscription_id = ?1")?;
        statement.execute([id])?;
        Ok(())
    }

    /// Metered, active, in March 2026.
    pub(crate) fn subscription(id: &str) -> Subscription {
        let start = Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap();
        let end = Utc.with_ymd_and_hms(2026, 4, 1, 0, 0, 0).unwrap();
        Subscription {
            id: id.to_owned(),
            user_id: UserId::parse("u-1").unwrap(),
            product_id: ProductId::parse("payg").unwrap(),
            name: SubscriptionName::parse("Weather").unwrap(),
            checkout_id: None,
            customer_id: Some("cus_1".to_owned()),
            stripe_status: Some("active".to_owned()),
            meter: Some(Meter {
                id: "mtr_1".to_owned(),
                event_name: "tollhouse_payg_calls".to_owned(),
            }),
            started_at: start,
            period: Some(Period { start, end }),
            cancel_at: None,
            ended_at: None,
            past_due_since: None,
            drafts_left: false,
            wanted: Access::Active,
            reason: "The subscription is in good standing.".to_owned(),
            applied: Some(Access::Active),
            recheck_at: None,
            attempts: 0,
            problem: None,
            budget_stop: None,
            updated_at: start,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};

    use super::testing::{self, subscription};
    use super::{
        Period, Subscription, all, due_for_recheck, found_late, get, metered, newest, retry_stuck,
        save, stuck,
    };
    use crate::store::StoreError;
    use crate::store::testing::scratch;
    use crate::store::usage;

    #[test]
    fn a_row_that_makes_no_sense_does_not_hide_the_others() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            for id in ["sub_1", "sub_2", "sub_3"] {
                save(db, &subscription(id))?;
            }
            testing::spoil(db, "sub_1")?;
            db.execute_batch(
                "UPDATE subscriptions SET attempts = -1 WHERE subscription_id = 'sub_2';",
            )?;
            let since = subscription("sub_1").started_at;
            assert_eq!(newest(db, 10)?.len(), 1);
            let (metered, unreadable) = metered(db, since)?;
            assert_eq!(unreadable, all(db)?.1);
            Ok((metered, unreadable, get(db, "sub_1")))
        });
        let (metered, unreadable, one) = change.wait().unwrap();
        assert_eq!(metered.len(), 1);
        assert_eq!(metered[0].id, "sub_3");
        let ids: Vec<&str> = unreadable.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["sub_1", "sub_2"]);
        assert!(unreadable[0].problem.contains("user id"));
        assert!(matches!(one, Err(StoreError::Nonsense(_))), "{one:?}");
    }

    #[test]
    fn the_days_of_a_subscription_that_is_found_late_are_read_again() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let started_at = subscription("sub_1").started_at;
            let now = started_at + TimeDelta::days(40);
            let first = started_at.date_naive();
            let before = first.pred_opt().unwrap();
            for day in before.iter_days().take(41) {
                usage::mark_collected(db, day, 0, 1, 0, now)?;
            }
            let turned = Subscription {
                period: Some(Period {
                    start: now,
                    end: now + TimeDelta::days(30),
                }),
                updated_at: now,
                ..subscription("sub_1")
            };
            save(db, &turned)?;
            let kept = usage::collected_since(db, before)?;
            assert_eq!(found_late(db, "sub_1")?, Some(now));
            usage::mark_collected(db, first, 1, 0, 0, now)?;
            save(db, &turned)?;
            Ok((kept, usage::collected_at(db, first)?.is_some()))
        });
        let (kept, is_kept) = change.wait().unwrap();
        assert_eq!(kept.len(), 1, "only the day before it began");
        assert!(is_kept, "it is found once");
    }

    #[test]
    fn a_subscription_that_was_given_up_is_due_again_when_someone_asks_for_it() {
        let scratch = scratch();
        let now = Utc.with_ymd_and_hms(2026, 3, 5, 0, 0, 0).unwrap();
        let change = scratch.store.write(move |db| {
            let given_up = Subscription {
                attempts: 8,
                problem: Some("The product is not there.".to_owned()),
                ..subscription("sub_1")
            };
            save(db, &given_up)?;
            save(db, &subscription("sub_2"))?;
            let before = due_for_recheck(db, now, 10)?.len();
            let retried = retry_stuck(db, None, now)?;
            Ok((before, stuck(db)?, retried, due_for_recheck(db, now, 10)?))
        });
        let (before, stuck, retried, after) = change.wait().unwrap();
        assert_eq!((before, stuck, retried), (0, 1, 1));
        assert_eq!(after[0].id, "sub_1");
        assert_eq!(after[0].attempts, 0);
    }

    #[test]
    fn the_most_overdue_come_first_and_not_all_at_once() {
        let scratch = scratch();
        let now = Utc.with_ymd_and_hms(2026, 3, 5, 0, 0, 0).unwrap();
        let change = scratch.store.write(move |db| {
            for (id, minutes_ago) in [("sub_1", 1), ("sub_2", 3), ("sub_3", 2)] {
                let recheck_at = Some(now - TimeDelta::minutes(minutes_ago));
                let due = Subscription {
                    recheck_at,
                    ..subscription(id)
                };
                save(db, &due)?;
            }
            due_for_recheck(db, now, 2)
        });
        let due = change.wait().unwrap();
        let ids: Vec<&str> = due.iter().map(|due| due.id.as_str()).collect();
        assert_eq!(ids, ["sub_2", "sub_3"]);
    }
}
