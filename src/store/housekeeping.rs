//! What may be forgotten, in bounded pieces, so that the store does not grow without end.
//!
//! Usage, reports, invoices and subscriptions explain bills and stay. So do used salts, because a
//! delegation's signature never expires, and events that need attention, because a person has to
//! look, and what a person has settled.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::{Store, StoreError, seconds};

/// How long after the last time it is looked again whether something is old.
const EVERY: TimeDelta = TimeDelta::hours(1);

/// How long an event that is done is kept. Stripe sends one again for at most 30 days.
const EVENTS_KEPT: TimeDelta = TimeDelta::days(90);
/// How long it is kept that a message was sent; what caused it cannot come again after that.
const MAILS_KEPT: TimeDelta = TimeDelta::days(90);
const FINDINGS_KEPT: TimeDelta = TimeDelta::days(400);
/// How long it is kept that a period was compared: it is not due any more long before.
const COMPARISONS_KEPT: TimeDelta = TimeDelta::days(90);
const JOB_RUNS_KEPT: TimeDelta = TimeDelta::days(90);
/// Rows of one table that go at once: a few milliseconds of the writer's time.
const PIECE: u32 = 1_000;

/// Forgets what is old, now and then. Clones share when that was.
#[derive(Clone)]
pub struct Housekeeping {
    store: Store,
    done_at: Arc<Mutex<Option<DateTime<Utc>>>>,
}

impl Housekeeping {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            done_at: Arc::default(),
        }
    }

    /// Forgets all that is older than its time at `now`, unless that was done within the hour.
    pub fn run_due(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut done_at = self.done_at.lock().unwrap_or_else(PoisonError::into_inner);
        if done_at.is_some_and(|done_at| (done_at..done_at + EVERY).contains(&now)) {
            return Ok(());
        }
        // Piece by piece, so that other changes come in between.
        while self.store.write(move |db| tidy(db, now)).wait()? > 0 {}
        *done_at = Some(now);
        Ok(())
    }
}

/// Forgets a piece of what is older than its time at `now`; says how many rows went.
fn tidy(db: &Connection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let old = [
        (
            "DELETE FROM usage_findings WHERE rowid IN (SELECT rowid FROM usage_findings
             WHERE last_seen <= ?1 LIMIT ?2)",
            now - FINDINGS_KEPT,
        ),
        (
            "DELETE FROM disagreements WHERE (subscription_id, period_start, kind) IN
             (SELECT subscription_id, period_start, kind FROM disagreements
              WHERE found_at <= ?1 LIMIT ?2)",
            now - FINDINGS_KEPT,
        ),
        (
            "DELETE FROM comparisons WHERE (subscription_id, period_start, invoice_id) IN
             (SELECT subscription_id, period_start, invoice_id FROM comparisons
              WHERE compared_at <= ?1 LIMIT ?2)",
            now - COMPARISONS_KEPT,
        ),
        (
            "DELETE FROM inbox WHERE sequence IN (SELECT sequence FROM inbox
             WHERE settled_at <= ?1 AND state IN ('applied', 'ignored', 'dismissed')
             ORDER BY settled_at LIMIT ?2)",
            now - EVENTS_KEPT,
        ),
        (
            "DELETE FROM job_runs WHERE run_id IN (SELECT run_id FROM job_runs
             WHERE started_at <= ?1 ORDER BY run_id LIMIT ?2)",
            now - JOB_RUNS_KEPT,
        ),
        (
            "DELETE FROM sessions WHERE rowid IN (SELECT rowid FROM sessions
             WHERE expires_at <= ?1 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM links WHERE rowid IN (SELECT rowid FROM links
             WHERE expires_at <= ?1 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM mails WHERE mail_id IN (SELECT mail_id FROM mails
             WHERE settled_at <= ?1 ORDER BY settled_at LIMIT ?2)",
            now - MAILS_KEPT,
        ),
        (
            "DELETE FROM delegations WHERE rowid IN (SELECT rowid FROM delegations
             WHERE expires_at <= ?1 LIMIT ?2)",
            now,
        ),
    ];
    let mut forgotten = 0;
    for (statement, limit) in old {
        forgotten += db
            .prepare_cached(statement)?
            .execute((seconds(limit), PIECE))?;
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};
    use rusqlite::Connection;

    use super::{Housekeeping, tidy};
    use crate::store::inbox::{self, Ending, Event};
    use crate::store::jobs;
    use crate::store::testing::scratch;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 6, 1, 0, 0, 0).unwrap()
    }

    fn receive(db: &Connection, id: &str, ending: Option<Ending>, days_ago: i64) {
        let then = now() - TimeDelta::days(days_ago);
        let event = Event {
            id: id.to_owned(),
            event_type: "invoice.paid".to_owned(),
            object_id: "in_1".to_owned(),
            api_version: None,
            source: inbox::Source::Webhook,
            payload: b"{}".to_vec(),
            ignored_because: None,
        };
        inbox::keep(db, &event, then).unwrap();
        if let Some(ending) = ending {
            inbox::settle(db, id, ending, "Done.", then).unwrap();
        }
    }

    #[test]
    fn only_what_is_done_and_old_is_forgotten() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            receive(db, "evt_old", Some(Ending::Applied), 90);
            receive(db, "evt_new", Some(Ending::Ignored), 89);
            receive(db, "evt_failed", Some(Ending::Failed), 200);
            receive(db, "evt_waiting", None, 200);
            let run = jobs::start(db, jobs::USAGE, now() - TimeDelta::days(90))?;
            jobs::finish(db, run, true, "Done.", now() - TimeDelta::days(90))?;
            jobs::start(db, jobs::USAGE, now())?;
            let forgotten = (tidy(db, now())?, tidy(db, now())?);
            Ok((
                forgotten,
                inbox::counts(db)?,
                jobs::last_complete(db, jobs::USAGE)?,
            ))
        });
        let (forgotten, counts, last_complete) = change.wait().unwrap();
        assert_eq!(forgotten, (2, 0));
        assert_eq!((counts.applied, counts.ignored), (0, 1));
        assert_eq!((counts.failed, counts.waiting), (1, 1));
        assert_eq!(last_complete, None);
    }

    #[test]
    fn all_that_is_old_goes_and_it_is_looked_for_once_in_an_hour() {
        let scratch = scratch();
        let housekeeping = Housekeeping::new(scratch.store.clone());
        let receive_old = |count: i64| {
            let change = scratch.store.write(move |db| {
                for number in 0..count {
                    receive(db, &format!("evt_{number}"), Some(Ending::Applied), 90);
                }
                Ok(())
            });
            change.wait().unwrap();
        };
        let left = || scratch.store.read(inbox::counts).unwrap().applied;
        receive_old(2_500);
        housekeeping.run_due(now()).unwrap();
        assert_eq!(left(), 0, "more than one piece");
        receive_old(1);
        let minute = TimeDelta::minutes(1);
        housekeeping
            .run_due(now() + TimeDelta::hours(1) - minute)
            .unwrap();
        assert_eq!(left(), 1);
        housekeeping.run_due(now() + TimeDelta::hours(1)).unwrap();
        assert_eq!(left(), 0);
    }
}
