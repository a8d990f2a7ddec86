//! What consumers want to spend, and how far it is used.
//!
//! What is used follows from the days that were read, so a budget is weighed after each reading and
//! when it is set ([`weigh`], [`set`]), and once more when the usage of a period that has ended is
//! settled ([`weigh_ended`]): its last calls are read after its end. Which thresholds of it are reached, the message that says so
//! and the stop are written in one transaction: killed anywhere, a message is queued once, for the
//! highest threshold that was newly reached. What was reached already when the budget was set is
//! not told: its consumer saw it on the page.
//!
//! Nothing here decides on access. The stop is one of the things that
//! [`lifecycle::decide`](crate::lifecycle::decide) goes by; that it has changed is written down for
//! the worker ([`looks`]).

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::mails::{About, Message, Outbox, Spending};
use super::subscriptions::{Period, Subscription};
use super::{StoreError, looks, seconds, time, usage};
use crate::catalogue::money::{Currency, Money};
use crate::catalogue::{Charge, Model, budget, price};
use crate::lifecycle::{Access, Status};

/// A budget, and how it stood when it was weighed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub amount: Money,
    /// Whether access stops when it is used up.
    pub stops: bool,
    pub set_at: DateTime<Utc>,
    /// The start of the period that was weighed last.
    pub period_start: Option<DateTime<Utc>>,
    /// The highest threshold that was reached in it, in percent; 0 for none.
    pub reached: u8,
    /// The start of the period in which access stops.
    pub stopped_period: Option<DateTime<Utc>>,
    /// The period before the one that was weighed last.
    pub ended: Option<Ended>,
}

/// How a budget stood at the end of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub period_start: DateTime<Utc>,
    /// The highest threshold that was reached in it, in percent; 0 for none.
    pub reached: u8,
    /// What it came to, in minor units; absent until its usage is settled.
    pub used: Option<i64>,
}

impl Budget {
    /// How it stands at the end of the period that was weighed last.
    fn as_ended(&self) -> Option<Ended> {
        let period_start = self.period_start?;
        let known = self.ended.filter(|it| it.period_start == period_start);
        Some(known.unwrap_or(Ended {
            period_start,
            reached: self.reached,
            used: None,
        }))
    }

    /// How it stood in the period that began then, if that was weighed.
    fn ended_in(&self, period_start: DateTime<Utc>) -> Option<Ended> {
        let ended = [self.as_ended(), self.ended];
        let mut ended = ended.into_iter().flatten();
        ended.find(|it| it.period_start == period_start)
    }
}

/// What the running period comes to so far. Minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub period: Period,
    pub used: i64,
    /// What is due without any call.
    pub fee: i64,
}

/// What of the running period counts against a budget; `None` where calls add nothing to a bill:
/// on other plans, in a trial, after the end, and before Stripe has told of the next period.
pub fn spent(
    db: &Connection,
    subscription: &Subscription,
    model: &Model,
    now: DateTime<Utc>,
) -> Result<Option<Spent>, StoreError> {
    let is_billed = model.charge() == Charge::Metered
        && subscription.meter.is_some()
        && subscription.stripe_status.as_deref() != Some("trialing")
        && subscription.ended_at.is_none();
    let running = subscription.period.filter(|period| now < period.end);
    let Some(period) = running.filter(|_| is_billed) else {
        return Ok(None);
    };
    let days = period.days(subscription.started_at);
    let calls = usage::total(db, &subscription.id, &days)?.billable(&model.billable);
    Ok(Some(Spent {
        period,
        used: amount(model, calls),
        fee: amount(model, 0),
    }))
}

fn amount(model: &Model, calls: u64) -> i64 {
    price::invoice(model, calls).map_or(i64::MAX, |bill| bill.total.minor)
}

/// Sets a budget and whether it stops access, or takes it away. Thresholds that are reached by now
/// count as told.
pub fn set(
    db: &Connection,
    subscription: &Subscription,
    model: &Model,
    wanted: Option<(Money, bool)>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let known = get(db, &subscription.id)?;
    let spent = spent(db, subscription, model, now)?;
    let stopped_before = known.and_then(|known| known.stopped_period);
    let stopped = match wanted {
        None => {
            remove(db, &subscription.id)?;
            None
        }
        Some((amount, stops)) => {
            let wanted = Budget {
                amount,
                stops,
                set_at: now,
                period_start: spent.map(|spent| spent.period.start),
                reached: spent.map_or(0, |spent| budget::reached(amount.minor, spent.used)),
                stopped_period: spent.and_then(|spent| stop(amount, stops, spent)),
                ended: None,
            };
            save(db, &subscription.id, &wanted)?;
            wanted.stopped_period
        }
    };
    if stopped != stopped_before {
        looks::ask(db, &subscription.id, now)?;
    }
    Ok(())
}

/// Weighs the budget of a subscription: queues the message that is due, and writes down whether
/// access stops. Doing it again changes nothing.
pub fn weigh(
    db: &Connection,
    subscription: &Subscription,
    model: &Model,
    outbox: &Outbox,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(known) = get(db, &subscription.id)? else {
        return Ok(());
    };
    if subscription.ended_at.is_some() {
        return remove(db, &subscription.id);
    }
    let spent = spent(db, subscription, model, now)?;
    let Some(spent) = spent.filter(|_| known.amount.currency == model.currency) else {
        return Ok(());
    };
    let minor = known.amount.minor;
    let is_same_period = known.period_start == Some(spent.period.start);
    let told = if is_same_period { known.reached } else { 0 };
    let told = told.max(budget::reached(minor, spent.fee));
    let reached = budget::reached(minor, spent.used).max(told);
    let ended = if is_same_period {
        known.ended
    } else {
        known.as_ended()
    };
    let weighed = Budget {
        period_start: Some(spent.period.start),
        reached,
        stopped_period: stop(known.amount, known.stops, spent),
        ended,
        ..known
    };
    if reached > told {
        let news = News {
            percent: reached,
            spent,
            is_stopped: weighed.stopped_period.is_some(),
            is_over: false,
        };
        tell(db, subscription, &weighed, &news, outbox, now)?;
    }
    save(db, &subscription.id, &weighed)?;
    let has_changed = weighed.stopped_period != known.stopped_period;
    if has_changed || !agrees(subscription, weighed.stopped_period.is_some()) {
        looks::ask(db, &subscription.id, now)?;
    }
    Ok(())
}

/// Weighs the budget for a period that has ended, in which `used` came together: its usage is settled
/// now. A budget that was set after it has nothing to do with it. Doing it again changes nothing.
pub fn weigh_ended(
    db: &Connection,
    subscription: &Subscription,
    model: &Model,
    (period, used): (Period, i64),
    outbox: &Outbox,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let known = get(db, &subscription.id)?;
    let Some(known) = known.filter(|known| known.amount.currency == model.currency) else {
        return Ok(());
    };
    let Some(ended) = known.ended_in(period.start) else {
        return Ok(());
    };
    let (minor, fee) = (known.amount.minor, amount(model, 0));
    let told = ended.reached.max(budget::reached(minor, fee));
    let reached = budget::reached(minor, used).max(told);
    if reached > told {
        let news = News {
            percent: reached,
            spent: Spent { period, used, fee },
            is_stopped: false,
            is_over: true,
        };
        tell(db, subscription, &known, &news, outbox, now)?;
    }
    let weighed = Budget {
        ended: Some(Ended {
            reached,
            used: Some(used),
            ..ended
        }),
        ..known
    };
    save(db, &subscription.id, &weighed)
}

/// The period in which access stops. What is due without any call never stops it: the fee is paid.
fn stop(amount: Money, stops: bool, spent: Spent) -> Option<DateTime<Utc>> {
    let is_used_up = spent.used > spent.fee && spent.used >= amount.minor;
    (stops && is_used_up).then_some(spent.period.start)
}

/// Whether the access that is wanted can follow from a budget that stops it, or does not.
fn agrees(subscription: &Subscription, is_stopped: bool) -> bool {
    let status = subscription.stripe_status.as_deref().map(Status::parse);
    match subscription.wanted {
        Access::Active => !is_stopped,
        Access::Suspended => is_stopped || status != Some(Status::Active),
        Access::None | Access::Cancelled => true,
    }
}

/// What the holder of a budget is told.
struct News {
    percent: u8,
    spent: Spent,
    is_stopped: bool,
    /// Whether the period has ended.
    is_over: bool,
}

fn tell(
    db: &Connection,
    subscription: &Subscription,
    budget: &Budget,
    news: &News,
    outbox: &Outbox,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let period = news.spent.period;
    let used = Money {
        minor: news.spent.used,
        ..budget.amount
    };
    let message = Message::Budget(Spending {
        about: About {
            subscription_id: subscription.id.clone(),
            product_id: subscription.product_id.clone(),
            name: subscription.name.clone(),
        },
        percent: news.percent,
        used: used.to_string(),
        budget: budget.amount.to_string(),
        is_stopped: news.is_stopped,
        period_end: period.end,
        is_over: news.is_over,
    });
    let cause = format!(
        "{}:{}:{}:{}:{}",
        subscription.id,
        seconds(period.start),
        seconds(budget.set_at),
        budget.amount.minor,
        news.percent
    );
    outbox.put_notice(db, &subscription.user_id, &cause, &message, now)?;
    Ok(())
}

fn save(db: &Connection, subscription_id: &str, budget: &Budget) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO budgets
         (subscription_id, amount, currency, stops, set_at, period_start, reached, stopped_period,
          ended_period, ended_reached, ended_used)
         VALUES (:id, :amount, :currency, :stops, :set, :period, :reached, :stopped,
          :ended_period, :ended_reached, :ended_used)",
    )?;
    statement.execute(named_params! {
        ":id": subscription_id,
        ":amount": budget.amount.minor,
        ":currency": budget.amount.currency.code(),
        ":stops": budget.stops,
        ":set": seconds(budget.set_at),
        ":period": budget.period_start.map(seconds),
        ":reached": budget.reached,
        ":stopped": budget.stopped_period.map(seconds),
        ":ended_period": budget.ended.map(|ended| seconds(ended.period_start)),
        ":ended_reached": budget.ended.map(|ended| ended.reached),
        ":ended_used": budget.ended.and_then(|ended| ended.used),
    })?;
    Ok(())
}

fn remove(db: &Connection, subscription_id: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM budgets WHERE subscription_id = ?1")?
        .execute([subscription_id])?;
    Ok(())
}

pub fn get(db: &Connection, subscription_id: &str) -> Result<Option<Budget>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT amount, currency, stops, set_at, period_start, reached, stopped_period,
             ended_period, ended_reached, ended_used
         FROM budgets WHERE subscription_id = ?1",
    )?;
    let mut rows = statement.query([subscription_id])?;
    rows.next()?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<Budget, StoreError> {
    let moment = |column: &str| -> Result<Option<DateTime<Utc>>, StoreError> {
        row.get::<_, Option<i64>>(column)?.map(time).transpose()
    };
    let ended = |period_start| -> Result<Ended, StoreError> {
        Ok(Ended {
            period_start,
            reached: row.get("ended_reached")?,
            used: row.get("ended_used")?,
        })
    };
    let code: String = row.get("currency")?;
    let currency = Currency::parse(&code);
    Ok(Budget {
        amount: Money {
            currency: currency
                .ok_or_else(|| StoreError::Nonsense(format!("the currency {code}")))?,
            minor: row.get("amount")?,
        },
        stops: row.get("stops")?,
        set_at: time(row.get("set_at")?)?,
        period_start: moment("period_start")?,
        reached: row.get("reached")?,
        stopped_period: moment("stopped_period")?,
        ended: moment("ended_period")?.map(ended).transpose()?,
    })
}

/// The ids of the subscriptions that have a budget.
pub fn subscription_ids(db: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT subscription_id FROM budgets ORDER BY subscription_id")?;
    let ids = statement.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
