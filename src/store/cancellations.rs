//! What consumers want to become of their subscriptions at Stripe: the intent, written before any
//! call, and how far it has come.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::{StoreError, seconds, time};

/// The wish for one subscription, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    pub subscription_id: String,
    pub wish: Wish,
    /// Counts the wishes for this subscription; the idempotency keys are made of it.
    pub revision: u32,
    pub step: Step,
    pub asked_at: DateTime<Utc>,
    /// When to go on; absent when done or given up.
    pub due_at: Option<DateTime<Utc>>,
    /// How often the step has failed in a row.
    pub attempts: u32,
    pub problem: Option<String>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Not to end after all.
    Keep,
    AtPeriodEnd,
    Now,
}

impl Wish {
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::AtPeriodEnd => "at_period_end",
            Self::Now => "now",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Keep, Self::AtPeriodEnd, Self::Now]
            .into_iter()
            .find(|wish| wish.word() == word)
    }
}

/// What has to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Have Stripe end the subscription with its period, or not. The first step of an end at once
    /// too: whatever delays it, no further period begins.
    Schedule,
    /// Read the usage so far, and report it.
    Report,
    /// End the subscription at Stripe, with its last invoice.
    End,
    /// Have Stripe go on collecting what is owed.
    Collect,
    Done,
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Report => "report",
            Self::End => "end",
            Self::Collect => "collect",
            Self::Done => "done",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [
            Self::Schedule,
            Self::Report,
            Self::End,
            Self::Collect,
            Self::Done,
        ]
        .into_iter()
        .find(|step| step.word() == word)
    }
}

impl Cancellation {
    /// Whether it is being worked on.
    pub fn is_under_way(&self) -> bool {
        self.due_at.is_some()
    }

    /// Whether nobody works on it any more although it is not done.
    pub fn is_given_up(&self) -> bool {
        self.due_at.is_none() && self.step != Step::Done
    }
}

const COLUMNS: &str = "subscription_id, wish, revision, step, asked_at, due_at, attempts, problem, \
    updated_at";

/// Writes a wish down, due at once. The same wish again, while it is worked on, changes nothing;
/// and nothing takes the place of an end at once, unless it was given up.
pub fn ask(
    db: &Connection,
    subscription_id: &str,
    wish: Wish,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let known = get(db, subscription_id)?;
    let stays = |known: &Cancellation| {
        let ends_now = known.wish == Wish::Now && !known.is_given_up();
        ends_now || (known.wish == wish && known.is_under_way())
    };
    if known.as_ref().is_some_and(stays) {
        return Ok(());
    }
    let wanted = Cancellation {
        subscription_id: subscription_id.to_owned(),
        wish,
        revision: known.map_or(1, |known| known.revision + 1),
        step: Step::Schedule,
        asked_at: now,
        due_at: Some(now),
        attempts: 0,
        problem: None,
        updated_at: now,
    };
    write(db, &wanted)
}

/// Keeps how far a cancellation has come, unless another wish has taken its place meanwhile: then
/// the answer is `false`.
pub fn advance(db: &Connection, cancellation: &Cancellation) -> Result<bool, StoreError> {
    let known = get(db, &cancellation.subscription_id)?;
    if known.is_none_or(|known| known.revision != cancellation.revision) {
        return Ok(false);
    }
    write(db, cancellation)?;
    Ok(true)
}

fn write(db: &Connection, cancellation: &Cancellation) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT OR REPLACE INTO cancellations ({COLUMNS})
         VALUES (:id, :wish, :revision, :step, :asked, :due, :attempts, :problem, :updated)"
    );
    db.prepare_cached(&sql)?.execute(named_params! {
        ":id": cancellation.subscription_id,
        ":wish": cancellation.wish.word(),
        ":revision": cancellation.revision,
        ":step": cancellation.step.word(),
        ":asked": seconds(cancellation.asked_at),
        ":due": cancellation.due_at.map(seconds),
        ":attempts": cancellation.attempts,
        ":problem": cancellation.problem,
        ":updated": seconds(cancellation.updated_at),
    })?;
    Ok(())
}

pub fn get(db: &Connection, subscription_id: &str) -> Result<Option<Cancellation>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM cancellations WHERE subscription_id = ?1");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([subscription_id])?;
    rows.next()?.map(cancellation).transpose()
}

/// Those that can go on at `now`, the most overdue first, at most `limit`.
pub fn due(
    db: &Connection,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Cancellation>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM cancellations WHERE due_at <= ?1
         ORDER BY due_at, subscription_id LIMIT ?2"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query((seconds(now), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(cancellation(row)?);
    }
    Ok(found)
}

fn cancellation(row: &Row<'_>) -> Result<Cancellation, StoreError> {
    let subscription_id: String = row.get("subscription_id")?;
    let nonsense = |what: &str| {
        StoreError::Nonsense(format!(
            "the {what} of the cancellation of {subscription_id}"
        ))
    };
    let due_at: Option<i64> = row.get("due_at")?;
    Ok(Cancellation {
        wish: Wish::parse(&row.get::<_, String>("wish")?).ok_or_else(|| nonsense("wish"))?,
        revision: row.get("revision")?,
        step: Step::parse(&row.get::<_, String>("step")?).ok_or_else(|| nonsense("step"))?,
        asked_at: time(row.get("asked_at")?)?,
        due_at: due_at.map(time).transpose()?,
        attempts: row.get("attempts")?,
        problem: row.get("problem")?,
        updated_at: time(row.get("updated_at")?)?,
        subscription_id,
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Cancellation, Step, Wish, advance, ask, due, get};
    use crate::store::accounts::testing::noon;
    use crate::store::testing::scratch;

    /// What is kept after `steps`.
    fn after(steps: impl FnOnce(&rusqlite::Connection) + Send + 'static) -> (Cancellation, usize) {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            steps(db);
            let kept = get(db, "sub_1")?.unwrap();
            Ok((kept, due(db, noon() + TimeDelta::hours(1), 10)?.len()))
        });
        change.wait().unwrap()
    }

    #[test]
    fn the_same_wish_twice_is_one_and_another_takes_its_place() {
        let later = noon() + TimeDelta::minutes(1);
        let (kept, due) = after(move |db| {
            ask(db, "sub_1", Wish::AtPeriodEnd, noon()).unwrap();
            ask(db, "sub_1", Wish::AtPeriodEnd, later).unwrap();
        });
        assert_eq!((kept.revision, kept.asked_at, due), (1, noon(), 1));
        let (kept, _) = after(move |db| {
            ask(db, "sub_1", Wish::AtPeriodEnd, noon()).unwrap();
            ask(db, "sub_1", Wish::Keep, later).unwrap();
        });
        assert_eq!((kept.wish, kept.revision), (Wish::Keep, 2));
    }

    #[test]
    fn an_end_at_once_cannot_be_taken_back_unless_it_was_given_up() {
        let (kept, _) = after(|db| {
            ask(db, "sub_1", Wish::Now, noon()).unwrap();
            ask(db, "sub_1", Wish::Keep, noon()).unwrap();
        });
        assert_eq!(kept.wish, Wish::Now);
        let (kept, _) = after(|db| {
            ask(db, "sub_1", Wish::Now, noon()).unwrap();
            let refused = Cancellation {
                due_at: None,
                ..get(db, "sub_1").unwrap().unwrap()
            };
            assert!(advance(db, &refused).unwrap());
            ask(db, "sub_1", Wish::Keep, noon()).unwrap();
        });
        assert_eq!((kept.wish, kept.revision), (Wish::Keep, 2));
    }

    #[test]
    fn the_outcome_of_a_wish_that_was_replaced_changes_nothing() {
        let (kept, _) = after(|db| {
            ask(db, "sub_1", Wish::AtPeriodEnd, noon()).unwrap();
            let done = Cancellation {
                step: Step::Done,
                due_at: None,
                ..get(db, "sub_1").unwrap().unwrap()
            };
            ask(db, "sub_1", Wish::Keep, noon()).unwrap();
            assert!(!advance(db, &done).unwrap());
        });
        assert_eq!((kept.wish, kept.step), (Wish::Keep, Step::Schedule));
    }
}
