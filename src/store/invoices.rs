//! Invoices of metered periods, from the claimed draft to the finalized end.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::subscriptions::Period;
use super::{StoreError, seconds, time};

/// An invoice that closes a metered period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub id: String,
    pub subscription_id: String,
    /// The closed period, in which the usage lies.
    pub period: Period,
    pub state: State,
    /// From when on the usage of the period may be taken as final.
    pub settles_at: DateTime<Utc>,
    /// When Stripe finalizes by itself, whatever we do.
    pub backstop_at: DateTime<Utc>,
    pub ours: Option<Figures>,
    pub stripes: Option<Figures>,
    pub currency: Option<String>,
    pub hosted_invoice_url: Option<String>,
    pub problem: Option<String>,
    /// When it was last looked at.
    pub updated_at: DateTime<Utc>,
}

/// A billed quantity and its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub calls: u64,
    /// Minor units.
    pub amount: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The draft is known, but its finalization has not been put off yet.
    Claiming,
    /// The draft waits until usage has settled.
    Settling,
    /// Its usage is reported; Stripe collects nothing from the subscription for now.
    Waiting,
    /// Stripe's figures differ from ours: a person has to look before the backstop.
    Held,
    Finalized,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Claiming => "claiming",
            Self::Settling => "settling",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Finalized => "finalized",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [
            Self::Claiming,
            Self::Settling,
            Self::Waiting,
            Self::Held,
            Self::Finalized,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }
}

const COLUMNS: &str = "invoice_id, subscription_id, period_start, period_end, state, settles_at, \
    backstop_at, calls, amount, stripe_calls, stripe_amount, currency, hosted_invoice_url, problem, updated_at";

/// Keeps a draft that was not known before; one that was keeps its state.
pub fn discover(db: &Connection, invoice: &Invoice) -> Result<(), StoreError> {
    write(db, "INSERT OR IGNORE", invoice)
}

/// Keeps the invoice, in place of what was kept under its id.
pub fn save(db: &Connection, invoice: &Invoice) -> Result<(), StoreError> {
    write(db, "INSERT OR REPLACE", invoice)
}

fn write(db: &Connection, verb: &str, invoice: &Invoice) -> Result<(), StoreError> {
    let sql = format!(
        "{verb} INTO invoices ({COLUMNS})
         VALUES (:id, :subscription, :start, :end, :state, :settles, :backstop, :calls, :amount,
                 :stripe_calls, :stripe_amount, :currency, :url, :problem, :now)"
    );
    db.prepare_cached(&sql)?.execute(named_params! {
        ":id": invoice.id,
        ":subscription": invoice.subscription_id,
        ":start": seconds(invoice.period.start),
        ":end": seconds(invoice.period.end),
        ":state": invoice.state.word(),
        ":settles": seconds(invoice.settles_at),
        ":backstop": seconds(invoice.backstop_at),
        ":calls": invoice.ours.map(|figures| figures.calls),
        ":amount": invoice.ours.map(|figures| figures.amount),
        ":stripe_calls": invoice.stripes.map(|figures| figures.calls),
        ":stripe_amount": invoice.stripes.map(|figures| figures.amount),
        ":currency": invoice.currency,
        ":url": invoice.hosted_invoice_url,
        ":problem": invoice.problem,
        ":now": seconds(invoice.updated_at),
    })?;
    Ok(())
}

/// Has every draft of a subscription that is not finalized claimed anew.
pub fn claim_again(db: &Connection, subscription_id: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE invoices SET state = ?2 WHERE subscription_id = ?1 AND state IN (?3, ?4)",
    )?;
    statement.execute((
        subscription_id,
        State::Claiming.word(),
        State::Settling.word(),
        State::Held.word(),
    ))?;
    Ok(())
}

pub fn get(db: &Connection, id: &str) -> Result<Option<Invoice>, StoreError> {
    Ok(select(db, "invoice_id = ?1", [id])?.pop())
}

/// Whether there is an invoice of this period of a subscription.
pub fn is_known(
    db: &Connection,
    subscription_id: &str,
    period_start: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM invoices WHERE subscription_id = ?1 AND period_start = ?2",
    )?;
    Ok(statement.exists((subscription_id, seconds(period_start)))?)
}

/// Those that are not finalized yet, the most urgent first.
///
/// The state stands in the statement: so SQLite sees that the index of the unfinished serves.
pub fn unfinished(db: &Connection) -> Result<Vec<Invoice>, StoreError> {
    let condition = "state <> 'finalized' ORDER BY settles_at, invoice_id";
    select(db, condition, [])
}

/// Lets a subscription's waiting drafts be looked at now.
pub fn release(
    db: &Connection,
    subscription_id: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE invoices SET settles_at = ?3 WHERE subscription_id = ?1 AND state = ?2",
    )?;
    statement.execute((subscription_id, State::Waiting.word(), seconds(now)))?;
    Ok(())
}

/// Those of periods that ended at `since` or later, in any state, and those that became final then.
pub fn ended_since(db: &Connection, since: DateTime<Utc>) -> Result<Vec<Invoice>, StoreError> {
    let condition = "(period_end >= ?1 OR (state = 'finalized' AND updated_at >= ?1))
         ORDER BY period_start, subscription_id, invoice_id";
    select(db, condition, (seconds(since),))
}

/// The newest that are final, at most `limit`.
pub fn newest_final(db: &Connection, limit: u32) -> Result<Vec<Invoice>, StoreError> {
    let condition = "state = 'finalized' ORDER BY updated_at DESC, invoice_id LIMIT ?1";
    select(db, condition, (limit,))
}

/// A subscription's, newest first.
pub fn of_subscription(db: &Connection, id: &str) -> Result<Vec<Invoice>, StoreError> {
    select(db, "subscription_id = ?1 ORDER BY period_start DESC", [id])
}

pub(super) fn select(
    db: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Invoice>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM invoices WHERE {condition}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(invoice(row)?);
    }
    Ok(found)
}

fn invoice(row: &Row<'_>) -> Result<Invoice, StoreError> {
    let state: String = row.get("state")?;
    let figures = |calls: &str, amount: &str| -> Result<Option<Figures>, StoreError> {
        let calls: Option<u64> = row.get(calls)?;
        let amount: Option<i64> = row.get(amount)?;
        Ok(calls
            .zip(amount)
            .map(|(calls, amount)| Figures { calls, amount }))
    };
    Ok(Invoice {
        id: row.get("invoice_id")?,
        subscription_id: row.get("subscription_id")?,
        period: Period {
            start: time(row.get("period_start")?)?,
            end: time(row.get("period_end")?)?,
        },
        state: State::parse(&state)
            .ok_or_else(|| StoreError::Nonsense(format!("the invoice state {state}")))?,
        settles_at: time(row.get("settles_at")?)?,
        backstop_at: time(row.get("backstop_at")?)?,
        ours: figures("calls", "amount")?,
        stripes: figures("stripe_calls", "stripe_amount")?,
        currency: row.get("currency")?,
        hosted_invoice_url: row.get("hosted_invoice_url")?,
        problem: row.get("problem")?,
        updated_at: time(row.get("updated_at")?)?,
    })
}
