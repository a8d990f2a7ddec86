//! What reading usage came upon, for whoever has to look at it.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{StoreError, seconds, time};

/// How long a finding is an alert after it was last seen; then it is history.
const ALERT_FOR: TimeDelta = TimeDelta::days(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A source did not answer, or not fully.
    Unanswered,
    /// A source answered with no call of anybody, where there have been some every day.
    Silent,
    /// Two sources differ.
    Difference,
    /// A day was never read completely and is too old to be reported.
    Missed,
    /// A later reading was smaller than an earlier one, which stays.
    Shrunk,
    /// Calls that belong to no subscription of ours.
    Unknown,
    /// A report that Stripe did not take, or refused after it had.
    Refused,
    /// In shadow mode, where Stripe has something else than we would have told it.
    Shadow,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Unanswered,
        Self::Silent,
        Self::Difference,
        Self::Missed,
        Self::Shrunk,
        Self::Unknown,
        Self::Refused,
        Self::Shadow,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Silent => "silent",
            Self::Difference => "difference",
            Self::Missed => "missed",
            Self::Shrunk => "shrunk",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Shadow => "shadow",
        }
    }

    /// Whether somebody has to look; the others are for the record.
    pub fn alerts(self) -> bool {
        match self {
            Self::Unanswered | Self::Silent | Self::Difference | Self::Missed | Self::Refused => {
                true
            }
            Self::Shrunk | Self::Unknown | Self::Shadow => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub day: Option<NaiveDate>,
    /// A source, a subscription or a meter; empty where it is about a whole day.
    pub subject: String,
    /// In a sentence.
    pub detail: String,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

impl Finding {
    pub fn alerts(&self, now: DateTime<Utc>) -> bool {
        self.kind.alerts() && now < self.last_seen + ALERT_FOR
    }
}

/// Writes a finding down, or that it was seen again.
pub fn note(
    db: &Connection,
    kind: Kind,
    day: Option<NaiveDate>,
    subject: &str,
    detail: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO usage_findings (kind, day, subject, detail, first_seen, last_seen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (kind, day, subject) DO UPDATE SET detail = ?4, last_seen = ?5",
    )?;
    statement.execute((kind.word(), day_text(day), subject, detail, seconds(now)))?;
    Ok(())
}

/// Notes the finding where there is a detail, and forgets it where there is none.
pub fn set(
    db: &Connection,
    kind: Kind,
    day: Option<NaiveDate>,
    subject: &str,
    detail: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match detail {
        Some(detail) => note(db, kind, day, subject, detail, now),
        None => clear(db, kind, day, subject),
    }
}

/// Forgets the finding: it is so no more.
fn clear(
    db: &Connection,
    kind: Kind,
    day: Option<NaiveDate>,
    subject: &str,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM usage_findings WHERE kind = ?1 AND day = ?2 AND subject = ?3",
    )?;
    statement.execute((kind.word(), day_text(day), subject))?;
    Ok(())
}

/// Forgets that the last report of a subscription was refused, since Stripe has taken this one.
pub(super) fn report_taken(db: &Connection, identifier: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM usage_findings WHERE kind = ?1 AND day = '' AND subject =
             (SELECT subscription_id FROM meter_pushes
              WHERE identifier = ?2 AND state = 'delivered')",
    )?;
    statement.execute((Kind::Refused.word(), identifier))?;
    Ok(())
}

/// Notes that Stripe refused a report at once, until it takes one of the same subscription.
pub fn report_refused(
    db: &Connection,
    identifier: &str,
    problem: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("SELECT subscription_id, calls FROM meter_pushes WHERE identifier = ?1")?;
    let pushed = statement.query_row([identifier], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?))
    });
    let Some((subscription, calls)) = pushed.optional()? else {
        return Ok(());
    };
    let detail = format!(
        "Stripe refused the report of {calls} calls of {subscription}: {problem} Nothing is lost: mend \
         the cause at Stripe, and the next run reports them."
    );
    note(db, Kind::Refused, None, &subscription, &detail, now)
}

/// How many findings of each kind that alerts do so at `now`.
pub fn alerts(db: &Connection, now: DateTime<Utc>) -> Result<Vec<(Kind, u64)>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT count(*) FROM usage_findings WHERE kind = ?1 AND last_seen > ?2")?;
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.alerts());
    let counts = kinds.map(|kind| {
        let values = (kind.word(), seconds(now - ALERT_FOR));
        Ok((kind, statement.query_row(values, |row| row.get(0))?))
    });
    counts.collect()
}

/// At most `limit`: those that alert at `now`, then the others, each those seen last first.
pub fn most_urgent(
    db: &Connection,
    limit: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Finding>, StoreError> {
    let mut found = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.alerts()) {
        let condition = "kind = ?2 AND last_seen > ?3";
        let values = (limit, kind.word(), seconds(now - ALERT_FOR));
        found.extend(select(db, condition, values)?);
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.last_seen));
    let others = newest(db, limit)?;
    found.extend(others.into_iter().filter(|finding| !finding.alerts(now)));
    found.truncate(limit);
    Ok(found)
}

/// Whether there is such a finding about the whole of `day`.
pub fn is_noted(db: &Connection, kind: Kind, day: NaiveDate) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM usage_findings WHERE kind = ?1 AND day = ?2 AND subject = ''",
    )?;
    Ok(statement.exists((kind.word(), day.to_string()))?)
}

/// The newest, those seen last first.
pub fn newest(db: &Connection, limit: usize) -> Result<Vec<Finding>, StoreError> {
    select(db, "?2", (limit, true))
}

/// Those that meet a condition, at most the first value of them.
fn select(
    db: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Finding>, StoreError> {
    let sql = format!(
        "SELECT kind, day, subject, detail, first_seen, last_seen FROM usage_findings
         WHERE {condition} ORDER BY last_seen DESC, day DESC, kind, subject LIMIT ?1"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(finding(row)?);
    }
    Ok(found)
}

fn day_text(day: Option<NaiveDate>) -> String {
    day.map(|day| day.to_string()).unwrap_or_default()
}

fn finding(row: &Row<'_>) -> Result<Finding, StoreError> {
    let (word, day): (String, String) = (row.get(0)?, row.get(1)?);
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    Ok(Finding {
        kind: kind.ok_or_else(|| StoreError::Nonsense(format!("the finding {word}")))?,
        day: day.parse().ok(),
        subject: row.get(2)?,
        detail: row.get(3)?,
        first_seen: time(row.get(4)?)?,
        last_seen: time(row.get(5)?)?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Kind, alerts, clear, most_urgent, newest, note};
    use crate::store::testing;

    #[test]
    fn a_finding_keeps_when_it_was_seen_first_and_ends_as_history() {
        let scratch = testing::scratch();
        let first = DateTime::<Utc>::UNIX_EPOCH;
        let again = first + TimeDelta::hours(1);
        let change = scratch.store.write(move |db| {
            note(db, Kind::Unanswered, None, "reports", "one", first)?;
            note(db, Kind::Unanswered, None, "reports", "two", again)?;
            note(db, Kind::Shrunk, None, "sub_1", "three", again)?;
            let found = newest(db, 10)?;
            clear(db, Kind::Unanswered, None, "reports")?;
            Ok((found, newest(db, 10)?))
        });
        let (found, left) = change.wait().unwrap();
        assert_eq!((found.len(), left.len()), (2, 1));
        let seen = found
            .iter()
            .find(|one| one.kind == Kind::Unanswered)
            .unwrap();
        assert_eq!((seen.first_seen, seen.detail.as_str()), (first, "two"));
        assert!(seen.alerts(again + TimeDelta::days(2)));
        assert!(!seen.alerts(again + TimeDelta::days(3)));
        assert!(!left[0].alerts(again), "it is only for the record");
    }

    #[test]
    fn what_alerts_comes_before_whatever_is_for_the_record() {
        let scratch = testing::scratch();
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(30);
        let earlier = now - TimeDelta::hours(1);
        let change = scratch.store.write(move |db| {
            note(db, Kind::Unanswered, None, "reports", "no answer", earlier)?;
            note(
                db,
                Kind::Refused,
                None,
                "sub_1",
                "over",
                now - TimeDelta::days(3),
            )?;
            for number in 0..60 {
                let subject = format!("sub_{number}");
                note(db, Kind::Shrunk, None, &subject, "smaller", now)?;
            }
            Ok((most_urgent(db, 50, now)?, alerts(db, now)?))
        });
        let (shown, counts) = change.wait().unwrap();
        assert_eq!((shown.len(), shown[0].kind), (50, Kind::Unanswered));
        assert!(
            shown[1..]
                .iter()
                .all(|finding| finding.kind == Kind::Shrunk)
        );
        let counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(Kind::Unanswered, 1)]);
    }
}
