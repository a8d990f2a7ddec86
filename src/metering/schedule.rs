//! When metering runs. The schedule only nudges; the watermark in the store decides what is due,
//! so a nudge too many does nothing and a missed one is made up for.

use chrono::{DateTime, TimeDelta, Utc};
use clokwerk::{Job as _, Scheduler, TimeUnits as _};

use super::{Metering, MeteringError, Rules, and_problems};
use crate::config::Mode;
use crate::store::jobs::{self, Run};

/// How long a run that could not do everything waits for its next try.
const PAUSE_AFTER_TROUBLE: TimeDelta = TimeDelta::minutes(15);

/// What a run of the daily job did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub complete: bool,
    /// One paragraph for the log, the command line and the status page.
    pub summary: String,
}

/// Calls `nudge` each minute, and when the daily job is due.
///
/// The scheduler has to be kept running by its owner (`Scheduler::watch_thread`).
pub fn nudges(rules: &Rules, nudge: impl Fn() + Clone + Send + 'static) -> Scheduler<Utc> {
    let mut scheduler = Scheduler::with_tz(Utc);
    scheduler.every(1.minutes()).run(nudge.clone());
    scheduler.every(1.day()).at_time(rules.daily_at).run(nudge);
    scheduler
}

impl Metering {
    /// Does whatever is due at `now`: new drafts first, then the daily job, then the other drafts.
    pub fn run_due(&self, now: DateTime<Utc>) -> Result<(), MeteringError> {
        self.claim_drafts(now)?;
        let (last, complete_at) = self.store.read(|db| {
            Ok((
                jobs::last(db, jobs::USAGE)?,
                jobs::last_complete(db, jobs::USAGE)?,
            ))
        })?;
        let pause = PAUSE_AFTER_TROUBLE;
        if is_due(&self.rules, last.as_ref(), complete_at, pause, now) {
            self.run_daily(now)?;
        }
        self.close(now)?;
        Ok(())
    }

    /// Collects and reports, whether due or not, and writes down how it went.
    pub fn run_daily(&self, now: DateTime<Utc>) -> Result<Report, MeteringError> {
        let run = self
            .store
            .write(move |db| jobs::start(db, jobs::USAGE, now))
            .wait()?;
        let result = self.collect_and_report(now, false);
        // Before the run is noted as done, so that one that is killed here is done again.
        let result = result.and_then(|report| self.weigh_budgets(now).map(|()| report));
        let (complete, summary) = match &result {
            Ok(report) => (report.complete, report.summary.clone()),
            Err(error) => (false, format!("Broken off: {}", error.in_words())),
        };
        let change = self
            .store
            .write(move |db| jobs::finish(db, run, complete, &summary, now));
        change.wait()?;
        let report = result?;
        if report.complete {
            tracing::info!(summary = %report.summary, "the usage job is done");
        } else {
            tracing::error!(summary = %report.summary, "the usage job could not do everything");
        }
        Ok(report)
    }

    /// Collects, and says what would be reported; tells Stripe nothing.
    pub fn rehearse_daily(&self, now: DateTime<Utc>) -> Result<Report, MeteringError> {
        self.collect_and_report(now, true)
    }

    fn collect_and_report(
        &self,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<Report, MeteringError> {
        // Without fresh readings the totals so far are still true, and are still reported.
        let collected = self.collect(now)?;
        let reported = self.report(now, dry_run)?;
        let mut problems = collected.problems;
        problems.extend(reported.problems);
        let (mode, verb) = match self.rules.mode {
            Mode::Shadow => (
                "Shadow mode, Stripe is told nothing: ",
                "have another total at Stripe",
            ),
            Mode::Live if dry_run => ("", "would be reported"),
            Mode::Live => ("", "reported"),
        };
        let summary = format!(
            "{mode}{} days read with {} calls; {} of {} metered subscriptions {verb}.",
            collected.days, collected.calls, reported.pushed, reported.subscriptions
        );
        Ok(Report {
            complete: problems.is_empty(),
            summary: and_problems(summary, &problems),
        })
    }
}

/// Whether a daily job is due: its time of day has passed since it last did everything, and the last
/// try is not too fresh, after which it waits for `pause`. Pure.
pub(super) fn is_due(
    rules: &Rules,
    last: Option<&Run>,
    complete_at: Option<DateTime<Utc>>,
    pause: TimeDelta,
    now: DateTime<Utc>,
) -> bool {
    let done = complete_at.is_some_and(|complete_at| complete_at >= latest_daily(rules, now));
    let too_fresh =
        last.is_some_and(|run| run.complete == Some(false) && now < run.started_at + pause);
    !done && !too_fresh
}

/// The last time at or before `now` that the daily jobs were to begin. Pure.
pub(super) fn latest_daily(rules: &Rules, now: DateTime<Utc>) -> DateTime<Utc> {
    let today = now.date_naive().and_time(rules.daily_at).and_utc();
    if today <= now {
        today
    } else {
        today - TimeDelta::days(1)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

    use super::{Mode, Rules, Run, is_due};

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}Z").parse().unwrap()
    }

    fn due(complete_at: Option<&str>, last: Option<(&str, Option<bool>)>, now: &str) -> bool {
        let rules = Rules {
            settle: TimeDelta::hours(12),
            backstop: TimeDelta::hours(48),
            reread_days: 3,
            daily_at: NaiveTime::from_hms_opt(0, 30, 0).unwrap(),
            mode: Mode::Live,
            concurrency: 1,
            reconcile_daily: true,
        };
        let last = last.map(|(started_at, complete)| Run {
            job: "usage".into(),
            started_at: at(started_at),
            finished_at: None,
            complete,
            summary: String::new(),
        });
        let pause = TimeDelta::minutes(15);
        is_due(&rules, last.as_ref(), complete_at.map(at), pause, at(now))
    }

    #[test]
    fn the_job_is_due_once_a_day_after_its_time() {
        assert!(due(None, None, "2026-03-01T12:00:00"), "never ran");
        assert!(!due(
            Some("2026-03-01T00:30:00"),
            None,
            "2026-03-01T12:00:00"
        ));
        assert!(!due(
            Some("2026-03-01T00:31:00"),
            None,
            "2026-03-02T00:29:59"
        ));
        assert!(due(
            Some("2026-03-01T00:31:00"),
            None,
            "2026-03-02T00:30:00"
        ));
        assert!(
            due(Some("2026-02-20T00:31:00"), None, "2026-03-02T12:00:00"),
            "after an outage"
        );
    }

    #[test]
    fn a_run_in_trouble_is_tried_again_after_a_pause_and_a_killed_one_at_once() {
        let before = Some("2026-03-01T00:31:00");
        let trouble = Some(("2026-03-02T00:30:00", Some(false)));
        assert!(!due(before, trouble, "2026-03-02T00:44:59"));
        assert!(due(before, trouble, "2026-03-02T00:45:00"));
        let killed = Some(("2026-03-02T00:30:00", None));
        assert!(due(before, killed, "2026-03-02T00:30:05"));
    }
}
