//! Where APIM, the store, Stripe's meter and the invoice of a billing period did not agree when they
//! were last compared.

use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::{Connection, Row, named_params};

use super::settlements::Settlement;
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

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let word: String = row.get("kind")?;
        Self::parse(&word).ok_or_else(|| StoreError::Nonsense(format!("the disagreement {word}")))
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
    /// What differs in figures alone, in a form that stays: it is settled for these.
    pub figures: String,
    /// Whether something has to be done about it, unless it is settled.
    pub counts: bool,
    pub found_at: DateTime<Utc>,
}

/// How far the days of a period were held against the source of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaysCompared {
    All,
    /// Not those before this one: the source may not have them any more.
    Since(NaiveDate),
    /// The source did not give one of them.
    NotAll,
}

/// A period that was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub subscription_id: String,
    pub period: Period,
    pub days: DaysCompared,
}

/// Keeps what the comparison of the `compared` periods found, in place of what an earlier one did.
/// What an earlier one found in days that were not compared stays.
pub fn replace(
    db: &Connection,
    compared: &[Compared],
    found: &[Disagreement],
) -> Result<(), StoreError> {
    // The figures of a difference of usage begin with its first day.
    let mut forget = db.prepare_cached(
        "DELETE FROM disagreements
         WHERE subscription_id = ?1 AND period_start = ?2
             AND (kind <> 'usage' OR substr(figures, 1, 10) >= ?3)",
    )?;
    for one in compared {
        let forgotten_from = match one.days {
            DaysCompared::All => String::new(),
            DaysCompared::Since(day) => day.to_string(),
            DaysCompared::NotAll => "never".to_owned(),
        };
        let key = (&one.subscription_id, seconds(one.period.start));
        forget.execute((key.0, key.1, forgotten_from))?;
    }
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO disagreements
             (subscription_id, period_start, period_end, kind, detail, repair, figures, counts,
              found_at)
         VALUES (:subscription, :start, :end, :kind, :detail, :repair, :figures, :counts,
                 :found)",
    )?;
    for one in found {
        insert.execute(named_params! {
            ":subscription": one.subscription_id,
            ":start": seconds(one.period.start),
            ":end": seconds(one.period.end),
            ":kind": one.kind.word(),
            ":detail": one.detail,
            ":repair": one.repair,
            ":figures": one.figures,
            ":counts": one.counts,
            ":found": seconds(one.found_at),
        })?;
    }
    Ok(())
}

/// Each with its settlement, where there is one for just these figures.
const WITH_SETTLEMENTS: &str = "disagreements AS d LEFT JOIN settlements AS s
    ON (s.subscription_id, s.period_start, s.kind, s.figures)
     = (d.subscription_id, d.period_start, d.kind, d.figures)";

/// The periods with something to be done about that was found before `now`: at most `limit`, the
/// longest unseen first.
pub fn open_periods(
    db: &Connection,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<(String, Period)>, StoreError> {
    let sql = format!(
        "SELECT d.subscription_id, d.period_start, d.period_end FROM {WITH_SETTLEMENTS}
         WHERE d.counts AND s.settled_at IS NULL AND d.found_at < ?1
         GROUP BY d.subscription_id, d.period_start
         ORDER BY min(d.found_at), d.period_start, d.subscription_id LIMIT ?2"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query((seconds(now), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let period = Period {
            start: time(row.get(1)?)?,
            end: time(row.get(2)?)?,
        };
        found.push((row.get(0)?, period));
    }
    Ok(found)
}

/// How many there are about which something has to be done.
pub fn count(db: &Connection) -> Result<u64, StoreError> {
    let sql =
        format!("SELECT count(*) FROM {WITH_SETTLEMENTS} WHERE d.counts AND s.settled_at IS NULL");
    Ok(db.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
}

/// Those that are not settled, at most `limit`: first those about which something has to be done, of
/// the newest periods first.
pub fn newest(db: &Connection, limit: u32) -> Result<Vec<Disagreement>, StoreError> {
    let condition = "s.settled_at IS NULL
         ORDER BY d.counts DESC, d.period_start DESC, d.subscription_id, d.kind";
    let found = select(db, condition, limit)?;
    Ok(found.into_iter().map(|(one, _)| one).collect())
}

/// Those that are settled, the last settled first, at most `limit`.
pub fn settled(db: &Connection, limit: u32) -> Result<Vec<(Disagreement, Settlement)>, StoreError> {
    let condition = "s.settled_at IS NOT NULL
         ORDER BY s.settled_at DESC, d.subscription_id, d.period_start, d.kind";
    let found = select(db, condition, limit)?;
    let with = |(one, settlement): (Disagreement, Option<Settlement>)| Some((one, settlement?));
    Ok(found.into_iter().filter_map(with).collect())
}

fn select(
    db: &Connection,
    condition: &str,
    limit: u32,
) -> Result<Vec<(Disagreement, Option<Settlement>)>, StoreError> {
    let sql = format!(
        "SELECT d.subscription_id, d.period_start, d.period_end, d.kind, d.detail, d.repair,
                d.figures, d.counts, d.found_at, s.note, s.operator, s.settled_at
         FROM {WITH_SETTLEMENTS} WHERE {condition} LIMIT ?1"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let settled_at: Option<i64> = row.get("settled_at")?;
        let settlement = settled_at.map(|_| Settlement::read(row)).transpose()?;
        found.push((disagreement(row)?, settlement));
    }
    Ok(found)
}

fn disagreement(row: &Row<'_>) -> Result<Disagreement, StoreError> {
    Ok(Disagreement {
        subscription_id: row.get("subscription_id")?,
        period: Period {
            start: time(row.get("period_start")?)?,
            end: time(row.get("period_end")?)?,
        },
        kind: Kind::read(row)?,
        detail: row.get("detail")?,
        repair: row.get("repair")?,
        figures: row.get("figures")?,
        counts: row.get("counts")?,
        found_at: time(row.get("found_at")?)?,
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Compared, DaysCompared, Disagreement, Kind};
    use crate::store::accounts::testing::noon;
    use crate::store::subscriptions::testing::subscription;

    pub(crate) fn compared(subscription_id: &str, days: DaysCompared) -> Compared {
        Compared {
            subscription_id: subscription_id.to_owned(),
            period: subscription(subscription_id).period.unwrap(),
            days,
        }
    }

    /// One that somebody has to put right.
    pub(crate) fn disagreement(subscription_id: &str, kind: Kind) -> Disagreement {
        Disagreement {
            subscription_id: subscription_id.to_owned(),
            period: subscription(subscription_id).period.unwrap(),
            kind,
            detail: "It differs.".to_owned(),
            repair: "Mend it.".to_owned(),
            figures: "7 of 10".to_owned(),
            counts: true,
            found_at: noon(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::testing::{compared, disagreement};
    use super::{DaysCompared, Disagreement, Kind, count, newest, replace};
    use crate::store::testing::scratch;

    #[test]
    fn a_new_comparison_of_a_period_takes_the_place_of_the_one_before() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let found = ["sub_1", "sub_2"].map(|id| Disagreement {
                counts: id == "sub_1",
                ..disagreement(id, Kind::Meter)
            });
            replace(db, &[], &found)?;
            assert_eq!(count(db)?, 1, "nothing has to be done about the other");
            replace(db, &[compared("sub_1", DaysCompared::All)], &[])?;
            newest(db, 10)
        });
        let left = change.wait().unwrap();
        assert_eq!((left.len(), left[0].subscription_id.as_str()), (1, "sub_2"));
    }

    #[test]
    fn what_days_differed_in_stays_until_they_are_compared_again() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let found = [Kind::Usage, Kind::Meter].map(|kind| Disagreement {
                figures: "2026-03-02: 7 in APIM, 5 kept".to_owned(),
                ..disagreement("sub_1", kind)
            });
            replace(db, &[], &found)?;
            let see = |days| replace(db, &[compared("sub_1", days)], &[]);
            let day = |day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
            see(DaysCompared::NotAll)?;
            see(DaysCompared::Since(day(3)))?;
            let left = newest(db, 10)?;
            see(DaysCompared::Since(day(2)))?;
            Ok((left, count(db)?))
        });
        let (left, in_the_end) = change.wait().unwrap();
        let kinds: Vec<Kind> = left.iter().map(|one| one.kind).collect();
        assert_eq!((kinds, in_the_end), (vec![Kind::Usage], 0));
    }
}
