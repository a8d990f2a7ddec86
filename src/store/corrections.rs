//! What final invoices billed too little or too much, and how it was made up for.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _};

use super::{StoreError, seconds};

/// One correction, written down before Stripe is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    pub id: String,
    /// Minor units; negative where it is given back.
    pub amount: i64,
}

/// One that was made, as Stripe has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub correction: Correction,
    /// Stripe's id.
    pub change_id: String,
}

/// What was made up for of an invoice so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Corrected {
    /// The sum of those that were made, in minor units.
    pub made: i64,
    /// One of which nobody knows whether Stripe has it.
    pub open: Option<Correction>,
}

pub fn of_invoice(db: &Connection, invoice_id: &str) -> Result<Corrected, StoreError> {
    let mut made = db.prepare_cached(
        "SELECT coalesce(sum(amount), 0) FROM invoice_corrections
         WHERE invoice_id = ?1 AND change_id IS NOT NULL",
    )?;
    let mut open = db.prepare_cached(
        "SELECT correction_id, amount FROM invoice_corrections
         WHERE invoice_id = ?1 AND change_id IS NULL",
    )?;
    let open = open.query_row([invoice_id], |row| {
        Ok(Correction {
            id: row.get(0)?,
            amount: row.get(1)?,
        })
    });
    Ok(Corrected {
        made: made.query_row([invoice_id], |row| row.get(0))?,
        open: open.optional()?,
    })
}

/// Whether a correction of this name is one of the invoice.
pub fn is_of(correction_id: &str, invoice_id: &str) -> bool {
    let rest = correction_id.strip_prefix(invoice_id);
    rest.is_some_and(|rest| rest.starts_with('-'))
}

/// Keeps what Stripe has of an invoice's corrections. Those that were begun may have been made, and a
/// store that was lost, or restored from a copy, does not know them all.
pub fn take_over(
    db: &Connection,
    invoice_id: &str,
    made: &[Made],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO invoice_corrections (correction_id, invoice_id, amount, planned_at, change_id)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (correction_id) DO UPDATE SET change_id = ?5",
    )?;
    for Made {
        correction,
        change_id,
    } in made
    {
        let (id, amount) = (&correction.id, correction.amount);
        upsert.execute((id, invoice_id, amount, seconds(now), change_id))?;
    }
    Ok(())
}

/// Writes down that what is owed beyond earlier corrections is to be made up for: `owed` is what is
/// due less what the invoice bills, in minor units. `None` where nothing is left to do.
///
/// Where a correction is open already, it is that one, and nothing is written.
pub fn plan(
    db: &Connection,
    invoice_id: &str,
    owed: i64,
    now: DateTime<Utc>,
) -> Result<Option<Correction>, StoreError> {
    let corrected = of_invoice(db, invoice_id)?;
    if corrected.open.is_some() {
        return Ok(corrected.open);
    }
    let amount = owed - corrected.made;
    if amount == 0 {
        return Ok(None);
    }
    let mut count =
        db.prepare_cached("SELECT count(*) FROM invoice_corrections WHERE invoice_id = ?1")?;
    let before: u32 = count.query_row([invoice_id], |row| row.get(0))?;
    // Another one after each refusal: Stripe remembers what it was told under a key.
    let id = format!("{invoice_id}-{}-{}", before + 1, seconds(now));
    let mut insert = db.prepare_cached(
        "INSERT INTO invoice_corrections (correction_id, invoice_id, amount, planned_at)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    insert.execute((&id, invoice_id, amount, seconds(now)))?;
    Ok(Some(Correction { id, amount }))
}

/// Notes that Stripe has made a correction, under this id of its own.
pub fn made(db: &Connection, id: &str, change_id: &str) -> Result<(), StoreError> {
    let mut statement = db
        .prepare_cached("UPDATE invoice_corrections SET change_id = ?2 WHERE correction_id = ?1")?;
    statement.execute((id, change_id))?;
    Ok(())
}

/// Forgets a correction that Stripe has refused.
pub fn refused(db: &Connection, id: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM invoice_corrections WHERE correction_id = ?1 AND change_id IS NULL",
    )?;
    statement.execute([id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{Correction, Made, is_of, made, of_invoice, plan, refused, take_over};
    use crate::store::testing::scratch;

    #[test]
    fn what_stripe_has_counts_whoever_wrote_it_down() {
        let scratch = scratch();
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let made = |id: &str, amount| Made {
            correction: Correction {
                id: id.to_owned(),
                amount,
            },
            change_id: format!("cbtxn_{amount}"),
        };
        let all = [made("in_1-1-0", 30), made("in_1-1-99", 12)];
        let change = scratch.store.write(move |db| {
            // The first one is known, and open.
            plan(db, "in_1", 30, now)?;
            take_over(db, "in_1", &all, now)?;
            take_over(db, "in_1", &all, now)?;
            Ok((of_invoice(db, "in_1")?, plan(db, "in_1", 42, now)?))
        });
        let (corrected, more) = change.wait().unwrap();
        assert_eq!((corrected.made, corrected.open), (42, None));
        assert_eq!(more, None);
        assert!(is_of("in_1-1-0", "in_1") && !is_of("in_12-1-0", "in_1"));
    }

    #[test]
    fn what_is_owed_is_made_up_for_once_and_what_comes_later_in_addition() {
        let scratch = scratch();
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let change = scratch.store.write(move |db| {
            let first = plan(db, "in_1", 30, now)?.unwrap();
            let again = plan(db, "in_1", 99, now)?.unwrap();
            made(db, &first.id, "cbtxn_1")?;
            let nothing = plan(db, "in_1", 30, now)?;
            let more = plan(db, "in_1", 25, now)?.unwrap();
            refused(db, &more.id)?;
            refused(db, &first.id)?;
            Ok((first, again, nothing, more, of_invoice(db, "in_1")?))
        });
        let (first, again, nothing, more, corrected) = change.wait().unwrap();
        let expected = |id: &str, amount| Correction {
            id: id.to_owned(),
            amount,
        };
        assert_eq!(first, expected("in_1-1-0", 30));
        assert_eq!(again, first, "one after the other");
        assert_eq!(nothing, None);
        assert_eq!(more, expected("in_1-2-0", -5));
        assert_eq!((corrected.made, corrected.open), (30, None));
    }
}
