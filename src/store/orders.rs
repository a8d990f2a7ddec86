//! What an operator wants done with an invoice that is held: written down by the status page,
//! carried out when drafts are next looked at.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::invoices::State;
use super::{StoreError, seconds};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Finalize it although figures differ.
    Finalize,
    /// Report the total once more, later than all before.
    Report,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Finalize => "finalize",
            Self::Report => "report",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Finalize, Self::Report]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub kind: Kind,
    /// The name that came with the password.
    pub operator: String,
}

/// Gives an order about a held invoice, in place of an earlier one, and has it looked at now.
/// `false`, and nothing is kept, where the invoice is not held.
pub fn give(
    db: &Connection,
    invoice_id: &str,
    order: &Order,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut release = db.prepare_cached(
        "UPDATE invoices SET state = :settling, settles_at = :now
         WHERE invoice_id = :id AND state = :held",
    )?;
    let released = release.execute(named_params! {
        ":id": invoice_id,
        ":settling": State::Settling.word(),
        ":held": State::Held.word(),
        ":now": seconds(now),
    })?;
    if released == 0 {
        return Ok(false);
    }
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO invoice_orders (invoice_id, kind, operator, given_at)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    insert.execute((invoice_id, order.kind.word(), &order.operator, seconds(now)))?;
    Ok(true)
}

pub fn get(db: &Connection, invoice_id: &str) -> Result<Option<Order>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT kind, operator FROM invoice_orders WHERE invoice_id = ?1")?;
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let Some((word, operator)) = statement.query_row([invoice_id], columns).optional()? else {
        return Ok(None);
    };
    let kind = Kind::parse(&word).ok_or_else(|| StoreError::Nonsense(format!("the order {word}")));
    Ok(Some(Order {
        kind: kind?,
        operator,
    }))
}

/// The order was carried out, or is of no use any more.
pub fn settle(db: &Connection, invoice_id: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM invoice_orders WHERE invoice_id = ?1")?;
    statement.execute([invoice_id])?;
    Ok(())
}
