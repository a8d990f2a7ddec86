//! Disagreements that a person has put right, each for the figures that it was seen with: with others
//! it counts again.
//!
//! They stay: like invoices they explain bills.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::disagreements::Kind;
use super::{StoreError, seconds, time};

/// The longest note, in characters.
pub const NOTE_LENGTH_MAX: usize = 200;

/// Which disagreement it is: each period has at most one of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub subscription_id: String,
    pub period_start: DateTime<Utc>,
    pub kind: Kind,
}

/// Who has put a disagreement right, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub kind: Kind,
    /// What differed when it was settled.
    pub figures: String,
    /// What was done; empty where nothing was said.
    pub note: String,
    /// The name that came with the password.
    pub operator: String,
    pub settled_at: DateTime<Utc>,
}

impl Settlement {
    /// In a sentence.
    pub fn sentence(&self) -> String {
        let note = match self.note.as_str() {
            "" => String::new(),
            note => format!(" {note}"),
        };
        let at = self.settled_at.format("%-d %b %Y, %H:%M UTC");
        format!("Settled by {} on {at}.{note}", self.operator)
    }

    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            kind: Kind::read(row)?,
            figures: row.get("figures")?,
            note: row.get("note")?,
            operator: row.get("operator")?,
            settled_at: time(row.get("settled_at")?)?,
        })
    }
}

/// Notes that a person has put a disagreement right, in place of an earlier note. `false`, and nothing
/// is kept, where it is not there with these figures any more, or nothing has to be done about it.
pub fn settle(db: &Connection, key: &Key, settlement: &Settlement) -> Result<bool, StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO settlements
             (subscription_id, period_start, kind, figures, note, operator, settled_at)
         SELECT subscription_id, period_start, kind, figures, :note, :operator, :now
         FROM disagreements
         WHERE subscription_id = :subscription AND period_start = :start AND kind = :kind
             AND figures = :figures AND counts",
    )?;
    let kept = insert.execute(named_params! {
        ":subscription": key.subscription_id,
        ":start": seconds(key.period_start),
        ":kind": key.kind.word(),
        ":figures": settlement.figures,
        ":note": settlement.note,
        ":operator": settlement.operator,
        ":now": seconds(settlement.settled_at),
    })?;
    Ok(kept == 1)
}

/// Has a disagreement count again; `false` where it was not settled.
pub fn take_back(db: &Connection, key: &Key) -> Result<bool, StoreError> {
    let mut delete = db.prepare_cached(
        "DELETE FROM settlements WHERE subscription_id = ?1 AND period_start = ?2 AND kind = ?3",
    )?;
    let gone = delete.execute((
        &key.subscription_id,
        seconds(key.period_start),
        key.kind.word(),
    ))?;
    Ok(gone == 1)
}

/// Those of one period, whatever differs in it now.
pub fn of_period(
    db: &Connection,
    subscription_id: &str,
    period_start: DateTime<Utc>,
) -> Result<Vec<Settlement>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT kind, figures, note, operator, settled_at FROM settlements
         WHERE subscription_id = ?1 AND period_start = ?2 ORDER BY kind",
    )?;
    let mut rows = statement.query((subscription_id, seconds(period_start)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Settlement::read(row)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Key, Settlement, of_period, settle, take_back};
    use crate::store::accounts::testing::noon;
    use crate::store::disagreements::testing::{compared, disagreement};
    use crate::store::disagreements::{
        DaysCompared, Disagreement, Kind, count, newest, replace, settled,
    };
    use crate::store::testing::scratch;

    fn settlement() -> Settlement {
        Settlement {
            kind: Kind::Invoice,
            figures: "7 of 10".to_owned(),
            note: "Charged by hand.".to_owned(),
            operator: "ada".to_owned(),
            settled_at: noon(),
        }
    }

    fn key(one: &Disagreement) -> Key {
        Key {
            subscription_id: one.subscription_id.clone(),
            period_start: one.period.start,
            kind: one.kind,
        }
    }

    #[test]
    fn what_is_settled_counts_again_with_other_figures_or_when_it_is_taken_back() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let found = disagreement("sub_1", Kind::Invoice);
            let key = key(&found);
            let compared = [compared("sub_1", DaysCompared::All)];
            replace(db, &compared, std::slice::from_ref(&found))?;
            assert!(settle(db, &key, &settlement())?);
            assert_eq!((count(db)?, newest(db, 9)?), (0, vec![]));
            assert_eq!(settled(db, 9)?, [(found.clone(), settlement())]);
            // Compared once more, to the same end.
            replace(db, &compared, std::slice::from_ref(&found))?;
            assert_eq!(count(db)?, 0);
            let other = Disagreement {
                figures: "8 of 10".to_owned(),
                ..found.clone()
            };
            replace(db, &compared, std::slice::from_ref(&other))?;
            assert_eq!((count(db)?, settled(db, 9)?), (1, vec![]));
            assert!(
                !settle(db, &key, &settlement())?,
                "it is another one by now"
            );
            replace(db, &compared, &[found])?;
            assert_eq!(
                (count(db)?, of_period(db, "sub_1", key.period_start)?.len()),
                (0, 1)
            );
            assert!(take_back(db, &key)? && !take_back(db, &key)?);
            assert_eq!(count(db)?, 1);
            Ok(())
        });
        change.wait().unwrap();
    }

    #[test]
    fn what_nobody_has_to_act_on_cannot_be_settled() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let found = Disagreement {
                counts: false,
                ..disagreement("sub_1", Kind::Invoice)
            };
            let key = key(&found);
            replace(db, &[], &[found])?;
            settle(db, &key, &settlement())
        });
        assert!(!change.wait().unwrap());
    }
}
