//! Where APIM, the store, Stripe's meter and the invoice of a billing period did not agree when they
//! were last compared.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::subscriptions::Period;
use super::{StoreError, seconds, time};

/// Between which places of a period's usage the difference lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// APIM and the days that we keep.
    Usage,
    /// What we reported and what Stripe's meter shows.
    Meter,
    /// What is due and what the invoice bills.
    Invoice,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Usage, Self::Meter, Self::Invoice];

    pub fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Meter => "meter",
            Self::Invoice => "invoice",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    pub subscription_id: String,
    pub period: Period,
    pub kind: Kind,
    /// In a sentence.
    pub detail: String,
    /// What puts it right, in a sentence.
    pub repair: String,
    /// Whether something has to be done about it.
    pub counts: bool,
    pub found_at: DateTime<Utc>,
}

/// Keeps what the comparison of the `compared` periods found, in place of what an earlier one did.
/// Where not all days were compared, what an earlier one found in them stays.
pub fn replace(
    db: &Connection,
    compared: &[(String, Period)],
    days_compared: bool,
    found: &[Disagreement],
) -> Result<(), StoreError> {
    let mut forget = db.prepare_cached(
        "DELETE FROM disagreements
         WHERE subscription_id = ?1 AND period_start = ?2 AND (?3 OR kind <> 'usage')",
    )?;
    for (subscription_id, period) in compared {
        forget.execute((subscription_id, seconds(period.start), days_compared))?;
    }
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO disagreements
             (subscription_id, period_start, period_end, kind, detail, repair, counts, found_at)
         VALUES (:subscription, :start, :end, :kind, :detail, :repair, :counts, :found)",
    )?;
    for one in found {
        insert.execute(named_params! {
            ":subscription": one.subscription_id,
            ":start": seconds(one.period.start),
            ":end": seconds(one.period.end),
            ":kind": one.kind.word(),
            ":detail": one.detail,
            ":repair": one.repair,
            ":counts": one.counts,
            ":found": seconds(one.found_at),
        })?;
    }
    Ok(())
}

/// How many there are about which something has to be done.
pub fn count(db: &Connection) -> Result<u64, StoreError> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM disagreements WHERE counts")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// At most `limit`: first those about which something has to be done, of the newest periods first.
pub fn newest(db: &Connection, limit: u32) -> Result<Vec<Disagreement>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT subscription_id, period_start, period_end, kind, detail, repair, counts, found_at
         FROM disagreements ORDER BY counts DESC, period_start DESC, subscription_id, kind LIMIT ?1",
    )?;
    let mut rows = statement.query([limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(disagreement(row)?);
    }
    Ok(found)
}

fn disagreement(row: &Row<'_>) -> Result<Disagreement, StoreError> {
    let word: String = row.get("kind")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    Ok(Disagreement {
        subscription_id: row.get("subscription_id")?,
        period: Period {
            start: time(row.get("period_start")?)?,
            end: time(row.get("period_end")?)?,
        },
        kind: kind.ok_or_else(|| StoreError::Nonsense(format!("the disagreement {word}")))?,
        detail: row.get("detail")?,
        repair: row.get("repair")?,
        counts: row.get("counts")?,
        found_at: time(row.get("found_at")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Disagreement, Kind, count, newest, replace};
    use crate::store::accounts::testing::noon;
    use crate::store::subscriptions::testing::subscription;
    use crate::store::testing::scratch;

    #[test]
    fn a_new_comparison_of_a_period_takes_the_place_of_the_one_before() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let period = subscription("sub_1").period.unwrap();
            let found = ["sub_1", "sub_2"].map(|id| Disagreement {
                subscription_id: id.to_owned(),
                period,
                kind: Kind::Meter,
                detail: "It shows less.".to_owned(),
                repair: "Report it again.".to_owned(),
                counts: id == "sub_1",
                found_at: noon(),
            });
            replace(db, &[], true, &found)?;
            assert_eq!(count(db)?, 1, "nothing has to be done about the other");
            replace(db, &[("sub_1".to_owned(), period)], true, &[])?;
            newest(db, 10)
        });
        let left = change.wait().unwrap();
        assert_eq!((left.len(), left[0].subscription_id.as_str()), (1, "sub_2"));
    }

    #[test]
    fn what_days_differed_in_stays_until_they_are_compared_again() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let period = subscription("sub_1").period.unwrap();
            let found = [Kind::Usage, Kind::Meter].map(|kind| Disagreement {
                subscription_id: "sub_1".to_owned(),
                period,
                kind,
                detail: "It differs.".to_owned(),
                repair: "Mend it.".to_owned(),
                counts: true,
                found_at: noon(),
            });
            replace(db, &[], true, &found)?;
            let compared = [("sub_1".to_owned(), period)];
            replace(db, &compared, false, &[])?;
            let left = newest(db, 10)?;
            replace(db, &compared, true, &[])?;
            Ok((left, count(db)?))
        });
        let (left, in_the_end) = change.wait().unwrap();
        let kinds: Vec<Kind> = left.iter().map(|one| one.kind).collect();
        assert_eq!((kinds, in_the_end), (vec![Kind::Usage], 0));
    }
}
