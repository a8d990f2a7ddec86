//! Reads events that nobody delivered from Stripe's own list, and keeps them in the inbox as if
//! they had come.
//!
//! The list is read from its newest event back to the mark of [`watermark`], and the mark moves
//! when all pages in between are kept; so a process that is killed on the way reads on, or reads
//! again. Ids keep an event from counting twice. The list reaches back 30 days: where that is not
//! far enough, everything is compared instead ([`super::resync`]).

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::worker::{WorkError, Worker};
use super::{Source, read_event};
use crate::store::watermark::{self, Reading, Watermark};
use crate::store::{StoreError, inbox};

/// How far before the mark the list is read once more: an event may show in the list a little
/// after the time that it bears, and Stripe's clock is not ours.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// How far back the list surely reaches. Stripe keeps events for 30 days.
const REACH: TimeDelta = TimeDelta::days(29);
/// Pages of 100 that one turn reads; the next goes on.
const PAGES_PER_TURN: usize = 10;
/// How long a look that failed is not repeated.
const PAUSE_AFTER_TROUBLE: TimeDelta = TimeDelta::minutes(5);

/// Looks for missing events: when the program starts, and then every so often.
#[derive(Clone)]
pub struct GapFill {
    worker: Worker,
    every: TimeDelta,
    next_look: Arc<Mutex<Option<DateTime<Utc>>>>,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Done,
    /// There is more to read right away.
    More,
    /// There is more, and another side has to answer first.
    Later,
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The list, back to this moment.
    List(DateTime<Utc>),
    /// More than the list holds.
    Everything,
}

impl GapFill {
    pub fn new(worker: Worker, every: TimeDelta) -> Self {
        Self {
            worker,
            every,
            next_look: Arc::default(),
        }
    }

    /// Looks, if it is time; says whether there is more to do right away. Trouble with Stripe is
    /// written down and ends the turn.
    pub fn run_due(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let next_look = *self.locked();
        if next_look.is_some_and(|next_look| now < next_look) {
            return Ok(false);
        }
        let (next_look, more) = match self.turn(now) {
            Ok(Turn::Done) => (now + self.every, false),
            Ok(Turn::More) => (now, true),
            Ok(Turn::Later) => (now + PAUSE_AFTER_TROUBLE.min(self.every), false),
            Err(error) => {
                self.note(&error)?;
                (now + PAUSE_AFTER_TROUBLE.min(self.every), false)
            }
        };
        *self.locked() = Some(next_look);
        Ok(more)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<DateTime<Utc>>> {
        self.next_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, now: DateTime<Utc>) -> Result<Turn, WorkError> {
        let mark = self.worker.store.read(watermark::get)?;
        match plan(&mark, now) {
            Plan::List(since) => {
                self.read_meter_errors(since, now)?;
                self.read_list(since, mark.reading, now)
            }
            Plan::Everything => self.compare_everything(now),
        }
    }

    /// Reads some pages. Each is kept together with how far the reading has come.
    fn read_list(
        &self,
        since: DateTime<Utc>,
        reading: Option<Reading>,
        now: DateTime<Utc>,
    ) -> Result<Turn, WorkError> {
        let started_at = reading.as_ref().map_or(now, |reading| reading.started_at);
        let mut after = reading.map(|reading| reading.after);
        for _ in 0..PAGES_PER_TURN {
            let page = match self.worker.stripe.event_page(since, after.as_deref()) {
                // The event that we stopped at is not in the list any more.
                Err(error) if error.is_final() && after.is_some() => {
                    let change = self
                        .worker
                        .store
                        .write(|db| watermark::note_reading(db, None));
                    change.wait()?;
                    return Ok(Turn::More);
                }
                other => other?,
            };
            let last = page.events.last().map(|event| event.id.clone());
            let next = last.filter(|_| page.has_more);
            let reading = next.clone().map(|after| Reading { started_at, after });
            let events = page.events.into_iter();
            let events: Vec<inbox::Event> = events
                .filter_map(|event| read_event(event.body.as_bytes(), Source::List))
                .collect();
            let change = self.worker.store.write(move |db| {
                let mut missing = 0;
                for event in &events {
                    missing += usize::from(inbox::keep(db, event, now)?);
                }
                match &reading {
                    Some(reading) => watermark::note_reading(db, Some(reading))?,
                    None => watermark::complete(db, started_at)?,
                }
                Ok(missing)
            });
            let missing = change.wait()?;
            if missing > 0 {
                tracing::info!(missing, "events were read from Stripe's list");
            }
            if next.is_none() {
                return Ok(Turn::Done);
            }
            after = next;
        }
        Ok(Turn::More)
    }

    /// Stripe lists what it refused of usage apart, and sends it only where somebody has set that up.
    /// Read before the mark moves, since it is one for both lists. A key that may not read it loses
    /// promptness and nothing else: a period's figures are compared before its invoice is final.
    fn read_meter_errors(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), WorkError> {
        let events = match self.worker.stripe.list_meter_error_events(since) {
            Err(error) if error.is_final() => {
                tracing::warn!(%error, "refused usage reports cannot be looked for");
                return Ok(());
            }
            other => other?,
        };
        let events = events.into_iter();
        let events: Vec<inbox::Event> = events
            .filter_map(|event| read_event(event.body.as_bytes(), Source::List))
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        let change = self.worker.store.write(move |db| {
            for event in &events {
                inbox::keep(db, event, now)?;
            }
            Ok(())
        });
        Ok(change.wait()?)
    }

    /// What is true at `now` needs no event that was made before.
    fn compare_everything(&self, now: DateTime<Utc>) -> Result<Turn, WorkError> {
        tracing::info!("events are missing that Stripe lists no more: everything is compared");
        let report = self.worker.resync(now)?;
        if !report.is_whole {
            // Without any progress a side is down; each further run would read all lists anew.
            let stands_still = report.repaired.is_empty();
            return Ok(if stands_still {
                Turn::Later
            } else {
                Turn::More
            });
        }
        let change = self
            .worker
            .store
            .write(move |db| watermark::complete(db, now));
        change.wait()?;
        Ok(Turn::Done)
    }

    fn note(&self, error: &WorkError) -> Result<(), StoreError> {
        let problem = error.in_words();
        tracing::error!(%problem, "missing events could not be looked for");
        let change = self
            .worker
            .store
            .write(move |db| watermark::note_problem(db, &problem));
        change.wait()
    }
}

/// Decides what has to be read at `now`. Pure.
fn plan(mark: &Watermark, now: DateTime<Utc>) -> Plan {
    match mark.complete_until {
        Some(until) if until - OVERLAP > now - REACH => Plan::List(until - OVERLAP),
        Some(_) | None => Plan::Everything,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{OVERLAP, Plan, plan};
    use crate::store::watermark::Watermark;

    fn planned(days_ago: Option<i64>) -> Plan {
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1_000);
        let mark = Watermark {
            complete_until: days_ago.map(|days| now - TimeDelta::days(days)),
            ..Watermark::default()
        };
        plan(&mark, now)
    }

    #[test]
    fn the_list_is_read_from_a_little_before_the_mark() {
        let mark = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(995);
        assert_eq!(planned(Some(5)), Plan::List(mark - OVERLAP));
        assert!(matches!(planned(Some(28)), Plan::List(_)));
    }

    #[test]
    fn where_the_list_does_not_reach_everything_is_compared() {
        assert_eq!(planned(Some(29)), Plan::Everything);
        assert_eq!(planned(Some(400)), Plan::Everything);
        assert_eq!(planned(None), Plan::Everything);
    }
}
