//! Compares each period that ended, without being asked for: once a day, after the daily job, those
//! whose invoice is final, or that have none, and that were not compared yet; and again those in which
//! something was found that is left to be done. Nothing is repaired.
//!
//! On the first of a month there may be 25,000. They are taken in pieces, so that each day is asked of
//! APIM once for thousands of them, and what was found is kept a hundred at a time: whoever is killed
//! in between goes on with the rest. Stripe is asked one thing after another, at the pace of all
//! comparisons, so that an invoice that is closed meanwhile waits for one question at most.

use chrono::{DateTime, TimeDelta, Utc};

use super::subjects::Subject;
use super::{Line, Metering, MeteringError, Outages, summary};
use crate::metering::schedule;
use crate::store::comparisons::Comparison;
use crate::store::jobs;

/// Periods whose days are compared at once.
const PIECE: u32 = 5_000;
/// Periods after which what was found is kept.
const KEPT_AT_ONCE: usize = 100;
/// Periods in a row that cannot be compared, after which it is no use to go on.
const FAILURES_IN_A_ROW: u32 = 20;
/// How long a run that could not do everything waits for its next try.
const PAUSE_AFTER_TROUBLE: TimeDelta = TimeDelta::hours(6);

/// What a run came to so far.
#[derive(Default)]
struct Tally {
    compared: usize,
    differing: usize,
    problems: Vec<String>,
    left_out: Vec<String>,
    outages: Outages,
    failures_in_a_row: u32,
}

/// How a piece ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Done,
    /// One of the other sides seems to be down, or refuses everything.
    Hopeless,
    /// The program stops.
    CutOff,
}

impl Metering {
    /// Compares what is due, if the run of today is. `goes_on` is asked in between whether the program
    /// still runs; a run that was cut off is begun again, and leaves out what it has done.
    pub fn compare_due(
        &self,
        now: DateTime<Utc>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), MeteringError> {
        if !self.rules.reconcile_daily || !self.is_comparison_due(now)? {
            return Ok(());
        }
        let change = self
            .store
            .write(move |db| jobs::start(db, jobs::COMPARISON, now));
        let run = change.wait()?;
        let result = self.compare_rest(now, goes_on);
        let (complete, text) = match &result {
            Ok(None) => return Ok(()),
            Ok(Some(tally)) => (tally.problems.is_empty(), tally.summary()),
            Err(error) => (false, format!("Broken off: {}", error.in_words())),
        };
        if complete {
            tracing::info!(summary = %text, "usage, meters and invoices were compared");
        } else {
            tracing::error!(summary = %text, "usage, meters and invoices could not all be compared");
        }
        let change = self
            .store
            .write(move |db| jobs::finish(db, run, complete, &text, now));
        change.wait()?;
        result.map(drop)
    }

    /// Compares all that is due; nothing where it was cut off.
    fn compare_rest(
        &self,
        now: DateTime<Utc>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Tally>, MeteringError> {
        let mut tally = Tally::default();
        let mut is_last = false;
        while !is_last {
            let (mut subjects, unreadable) = self.uncompared(PIECE, now)?;
            if subjects.is_empty() && unreadable.is_empty() {
                // Once in a run: what cannot be held against the source stays open, and would come again.
                subjects = self.left_open(PIECE, now)?;
                is_last = true;
            }
            let nonsense = unreadable.iter();
            let nonsense =
                nonsense.map(|it| format!("{} whose record makes no sense", it.subscription_id));
            tally.problems.extend(nonsense);
            self.keep_found(&[], unreadable, now)?;
            match self.compare_piece(subjects, &mut tally, now, goes_on)? {
                Piece::Done => {}
                Piece::Hopeless => return Ok(Some(tally)),
                Piece::CutOff => return Ok(None),
            }
        }
        Ok(Some(tally))
    }

    fn is_comparison_due(&self, now: DateTime<Utc>) -> Result<bool, MeteringError> {
        let (daily, last, complete_at) = self.store.read(|db| {
            Ok((
                jobs::last(db, jobs::USAGE)?,
                jobs::last(db, jobs::COMPARISON)?,
                jobs::last_complete(db, jobs::COMPARISON)?,
            ))
        })?;
        let latest = schedule::latest_daily(&self.rules, now);
        let has_read = daily.is_some_and(|run| run.started_at >= latest && run.complete.is_some());
        let pause = PAUSE_AFTER_TROUBLE;
        Ok(has_read && schedule::is_due(&self.rules, last.as_ref(), complete_at, pause, now))
    }

    fn compare_piece(
        &self,
        mut subjects: Vec<Subject>,
        tally: &mut Tally,
        now: DateTime<Utc>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Piece, MeteringError> {
        let days = self.compare_days(&mut subjects, now)?;
        tally.problems.extend(days.problems);
        if days.is_down {
            return Ok(Piece::Hopeless);
        }
        for sentence in self.left_out(&subjects, now) {
            if !tally.left_out.contains(&sentence) {
                tally.left_out.push(sentence);
            }
        }
        let mut subjects = subjects.into_iter();
        while subjects.len() > 0 {
            let (mut lines, mut failed) = (Vec::new(), Vec::new());
            let mut end = Piece::Done;
            for subject in subjects.by_ref().take(KEPT_AT_ONCE) {
                if !goes_on() {
                    end = Piece::CutOff;
                    break;
                }
                let key = subject.failed();
                match self.line(subject, now) {
                    Err(MeteringError::Store(error)) => return Err(error.into()),
                    result => tally.note(result, key, &mut lines, &mut failed),
                }
                if tally.is_hopeless() {
                    end = Piece::Hopeless;
                    break;
                }
            }
            self.keep_found(&lines, failed, now)?;
            if end != Piece::Done {
                return Ok(end);
            }
        }
        Ok(Piece::Done)
    }
}

impl Tally {
    fn note(
        &mut self,
        result: Result<Line, MeteringError>,
        key: Comparison,
        lines: &mut Vec<Line>,
        failed: &mut Vec<Comparison>,
    ) {
        self.outages.note(&result);
        match result {
            Ok(line) => {
                self.failures_in_a_row = 0;
                self.compared += 1;
                self.differing += usize::from(!line.agrees());
                lines.push(line);
            }
            Err(error) => {
                self.failures_in_a_row += 1;
                let problem = format!("{}: {}", key.subscription_id, error.in_words());
                self.problems.push(problem);
                failed.push(key);
            }
        }
        if self.is_hopeless() {
            let rest = "the rest, because Stripe seems to be down, or refuses all of it";
            self.problems.push(rest.to_owned());
        }
    }

    fn is_hopeless(&self) -> bool {
        self.outages.are_too_many() || self.failures_in_a_row >= FAILURES_IN_A_ROW
    }

    fn summary(&self) -> String {
        if self.compared == 0 && self.problems.is_empty() {
            return "No further billing period has ended.".to_owned();
        }
        summary(
            self.compared,
            self.differing,
            &self.left_out,
            &self.problems,
        )
    }
}
