//! Compares what APIM, the store, Stripe's meters and invoices say of the same billing periods.
//!
//! APIM is asked once a day for all subscriptions, Stripe once for each period and once more for
//! each final invoice. What differs is judged by a pure function ([`judge`]), kept for the status
//! page, and put right where a program may: days are read again, totals reported again. What a person
//! has settled ([`settlements`]) is left alone for as long as its figures stay, and nothing is made up
//! for of such an invoice after that either.
//!
//! Once a day the periods that ended are compared without being asked for ([`daily`]).

mod daily;
mod facts;
pub mod judge;
mod subjects;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{Metering, MeteringError, Outages, parallel, window};
use crate::config::Mode;
use crate::store::comparisons::{self, Comparison, JOBS_TURN};
use crate::store::disagreements::{self, Compared, DaysCompared, Disagreement, Kind};
use crate::store::jobs;
use crate::store::period::settled;
use crate::store::settlements::{self, Settlement};
use crate::store::subscriptions::{self, Period};
use crate::store::usage::{self, Calls};
use crate::store::{StoreError, invoices};
use judge::{DayDifference, Difference, Facts, Repair, Stage};
use subjects::Subject;

/// How long after a period's end its invoice may go unnoticed: Stripe's word of it may come late, and
/// its list is read now and then.
const NOTICED_AFTER: TimeDelta = TimeDelta::hours(3);

/// Which billing periods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that run, and those that ended or whose invoice became final in the last 35 days.
    Recent,
    /// Those to which this day belongs.
    Day(NaiveDate),
}

/// A billing period of one subscription, and what the places say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub subscription_id: String,
    pub product_id: String,
    pub period: Period,
    pub invoice_id: Option<String>,
    pub facts: Facts,
    pub differences: Vec<Difference>,
    pub days_compared: DaysCompared,
    /// What a person has settled of it, maybe for other figures than those of now.
    pub settled: Vec<Settlement>,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub lines: Vec<Line>,
    /// What could not be compared.
    pub problems: Vec<String>,
    /// What was not compared, because it cannot be.
    pub left_out: Vec<String>,
    /// What was put right.
    pub repaired: Vec<String>,
}

impl Report {
    /// Whether everything that can be was compared, and agrees.
    pub fn agrees(&self) -> bool {
        self.problems.is_empty() && self.lines.iter().all(Line::agrees)
    }

    /// One sentence, for the log, the status page and the command line.
    pub fn summary(&self) -> String {
        let differing = self.lines.iter().filter(|it| !it.agrees()).count();
        summary(self.lines.len(), differing, &self.left_out, &self.problems)
    }
}

fn summary(compared: usize, differing: usize, left_out: &[String], problems: &[String]) -> String {
    let mut summary = format!("{compared} billing periods compared; {differing} differ.");
    for left_out in left_out {
        summary.push(' ');
        summary.push_str(left_out);
    }
    super::and_problems(summary, problems)
}

impl Line {
    /// Whether nothing differs that somebody has to do something about.
    pub fn agrees(&self) -> bool {
        !self.differences.iter().any(|one| self.counts(one))
    }

    /// Whether somebody, or a repair, has to do something about one of its differences.
    pub fn counts(&self, one: &Difference) -> bool {
        one.counts() && self.settlement(one).is_none()
    }

    /// What a person has noted who has put one of its differences right.
    pub fn settlement(&self, one: &Difference) -> Option<&Settlement> {
        let mut settled = self.settled.iter();
        settled.find(|it| it.kind == one.kind && it.figures == one.figures)
    }
}

/// What went wrong while days were held against APIM.
struct Unread {
    /// Which days could not be, and why.
    problems: Vec<String>,
    /// Whether APIM seems to be down.
    is_down: bool,
}

/// What one round of repairs did.
#[derive(Default)]
struct Round {
    done: Vec<String>,
    /// What could not be put right.
    problems: Vec<String>,
}

impl Metering {
    /// Compares the periods of `scope`, and keeps what differs for the status page.
    pub fn reconcile(&self, scope: Scope, now: DateTime<Utc>) -> Result<Report, MeteringError> {
        let change = self
            .store
            .write(move |db| jobs::start(db, jobs::RECONCILE, now));
        let run = change.wait()?;
        let report = self.compare_all(scope, now)?;
        let (complete, summary) = (report.problems.is_empty(), report.summary());
        self.keep_found(&report.lines, Vec::new(), now)?;
        let change = self
            .store
            .write(move |db| jobs::finish(db, run, complete, &summary, now));
        change.wait()?;
        Ok(report)
    }

    /// Keeps what differs for the status page, and which of the periods need not be compared again
    /// without being asked for; `failed` could not be.
    fn keep_found(
        &self,
        lines: &[Line],
        failed: Vec<Comparison>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let periods: Vec<Compared> = lines.iter().map(compared).collect();
        let found: Vec<Disagreement> = lines
            .iter()
            .flat_map(|line| line.differences.iter().map(|one| kept(line, one, now)))
            .collect();
        let mut compared = failed;
        let over = lines.iter().filter(|line| {
            !matches!(line.facts.stage, Stage::Running | Stage::Closing)
                && self.days_are_known(line.period) <= now
        });
        compared.extend(over.map(|line| Comparison {
            subscription_id: line.subscription_id.clone(),
            period_start: line.period.start,
            invoice_id: line.invoice_id.clone(),
            agrees: line.agrees() && line.days_compared != DaysCompared::NotAll,
        }));
        let change = self.store.write(move |db| {
            disagreements::replace(db, &periods, &found)?;
            comparisons::note(db, &compared, now)
        });
        change.wait()
    }

    /// From when on all days of a period can be held against APIM.
    fn days_are_known(&self, period: Period) -> DateTime<Utc> {
        window::usage_ends(period) + self.rules.settle + JOBS_TURN
    }

    /// Puts right what can be, and compares once more. With `dry_run` it only says what it would do.
    pub fn repair(
        &self,
        scope: Scope,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Report, MeteringError> {
        let mut report = self.reconcile(scope, now)?;
        // Days that are read again may show that more is owed: so a second time.
        for _ in 0..2 {
            let round = self.repair_found(&report, dry_run, now)?;
            let more = !round.done.is_empty();
            let (repaired, problems) = (report.repaired, round.problems);
            if more && !dry_run {
                report = self.reconcile(scope, now)?;
            }
            report.repaired = repaired;
            report.repaired.extend(round.done);
            report.problems.extend(problems);
            if dry_run || !more {
                break;
            }
        }
        Ok(report)
    }

    /// Puts right what a comparison found, each difference once.
    fn repair_found(
        &self,
        found: &Report,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Round, MeteringError> {
        let mut round = Round::default();
        let mut read = BTreeSet::new();
        for line in &found.lines {
            for difference in &line.differences {
                let result = match difference.repair {
                    // A person was faster: it must not be done twice.
                    _ if line.settlement(difference).is_some() => continue,
                    Repair::ByHand | Repair::Needless => continue,
                    // Whoever reports and bills there has to.
                    Repair::ReportAgain | Repair::MakeUp if self.rules.mode == Mode::Shadow => {
                        continue;
                    }
                    _ if dry_run => Ok(()),
                    Repair::ReadAgain => self.read_again(line, &mut read, now),
                    Repair::ReportAgain => self.report_again(line, now),
                    Repair::MakeUp => self.make_up(line, now),
                };
                match result {
                    Ok(()) => {
                        let done = format!("{}: {}", name(line), difference.remedy);
                        round.done.push(done);
                    }
                    Err(MeteringError::Store(error)) => return Err(error.into()),
                    Err(error) => {
                        let problem = format!("{}: {}", name(line), error.in_words());
                        round.problems.push(problem);
                    }
                }
            }
        }
        Ok(round)
    }

    fn compare_all(&self, scope: Scope, now: DateTime<Utc>) -> Result<Report, MeteringError> {
        let (mut subjects, unreadable) = self.subjects(scope, now)?;
        let mut problems = self.compare_days(&mut subjects, now)?.problems;
        problems.extend(unreadable);
        let left_out = self.left_out(&subjects, now);
        let all = subjects.len();
        let mut outages = Outages::default();
        let results = parallel::map(
            subjects,
            self.rules.concurrency,
            |subject| {
                let id = subject.subscription.id.clone();
                (id, self.line(subject, now))
            },
            |(_, result)| outages.go_on_after(result),
        );
        if results.len() < all {
            problems.push("the rest, because Stripe seems to be down".to_owned());
        }
        let mut lines = Vec::with_capacity(results.len());
        for (id, result) in results {
            match result {
                Ok(line) => lines.push(line),
                Err(MeteringError::Store(error)) => return Err(error.into()),
                Err(error) => problems.push(format!("{id}: {}", error.in_words())),
            }
        }
        Ok(Report {
            lines,
            problems,
            left_out,
            repaired: Vec::new(),
        })
    }

    /// Holds the days of the subjects against APIM, one query for each; says which could not be.
    fn compare_days(
        &self,
        subjects: &mut [Subject],
        now: DateTime<Utc>,
    ) -> Result<Unread, MeteringError> {
        let mut problems = Vec::new();
        let mut outages = Outages::default();
        let mut unread = self.days_of(subjects, now);
        for day in unread.clone() {
            let result = self.compare_day(subjects, day);
            outages.note(&result);
            match result {
                Ok(()) => drop(unread.remove(&day)),
                Err(MeteringError::Store(error)) => return Err(error.into()),
                Err(error) => problems.push(format!("{day}: {}", error.in_words())),
            }
            if outages.are_too_many() {
                problems.push("the other days, because APIM seems to be down".to_owned());
                break;
            }
        }
        let oldest = self.source.oldest(now);
        for subject in subjects {
            let too_old = oldest.filter(|oldest| subject.days().start() < oldest);
            subject.days_compared = match too_old {
                _ if unread.iter().any(|day| subject.holds(*day)) => DaysCompared::NotAll,
                Some(oldest) => DaysCompared::Since(oldest),
                None => DaysCompared::All,
            };
        }
        Ok(Unread {
            problems,
            is_down: outages.are_too_many(),
        })
    }

    /// Says in a sentence from which day on the source still knows the calls, where days before that
    /// would have to be compared, too.
    fn left_out(&self, subjects: &[Subject], now: DateTime<Utc>) -> Vec<String> {
        let oldest = self.source.oldest(now);
        let first = subjects.iter().map(Subject::days);
        let first = first.filter(|days| !days.is_empty());
        let first = first.map(|days| *days.start()).min();
        let too_old = oldest.filter(|oldest| first.is_some_and(|first| first < *oldest));
        let sentence = too_old.map(|oldest| {
            format!(
                "Days before {oldest} were not compared: {} may not have them any more.",
                self.source.name()
            )
        });
        sentence.into_iter().collect()
    }

    /// The days of all subjects that should be known for good by now, and are still known to the
    /// source.
    fn days_of(&self, subjects: &[Subject], now: DateTime<Utc>) -> BTreeSet<NaiveDate> {
        let oldest = self.source.oldest(now).unwrap_or(NaiveDate::MIN);
        let known = |day: NaiveDate| settled(day, self.rules.settle) + JOBS_TURN <= now;
        let ranges = subjects.iter().map(Subject::days);
        let first = ranges.clone().map(|days| *days.start()).min();
        let last = ranges.map(|days| *days.end()).max();
        let Some((first, last)) = first.zip(last) else {
            return BTreeSet::new();
        };
        let all = first.iter_days().take_while(|day| *day <= last);
        all.take_while(|day| known(*day))
            .filter(|day| *day >= oldest && subjects.iter().any(|subject| subject.holds(*day)))
            .collect()
    }

    fn compare_day(&self, subjects: &mut [Subject], day: NaiveDate) -> Result<(), MeteringError> {
        let before = self.store.read(|db| usage::calls_of_everybody(db, day))?;
        let rows = self.source.usage_by_subscription(day)?;
        let is_empty = rows.iter().all(|row| super::doubt::calls(row).total() == 0);
        if is_empty && before > 0 {
            return Err(MeteringError::Emptied(before));
        }
        let mut counted: HashMap<String, Calls> = HashMap::new();
        for row in rows {
            let calls = super::doubt::calls(&row);
            if let Some(id) = row.subscription {
                let sum = counted.entry(id).or_default();
                *sum = sum.and(calls);
            }
        }
        for subject in subjects.iter_mut().filter(|subject| subject.holds(day)) {
            let id = &subject.subscription.id;
            // The period's own comparison says that its product is missing.
            let Some(model) = self.catalogue.get(&subject.subscription.product_id) else {
                continue;
            };
            let classes = &model.billable;
            let kept = self.store.read(|db| usage::total(db, id, &(day..=day)))?;
            let source = counted.get(id).copied().unwrap_or_default();
            let (source, ours) = (source.billable(classes), kept.billable(classes));
            if source != ours {
                subject.days.push(DayDifference { day, source, ours });
            }
        }
        Ok(())
    }

    fn line(&self, subject: Subject, now: DateTime<Utc>) -> Result<Line, MeteringError> {
        let Subject {
            subscription,
            period,
            invoice,
            days,
            days_compared,
        } = subject;
        let mut facts = self.facts(&subscription, period, invoice.as_ref(), days, now)?;
        let id = &subscription.id;
        let settled = self
            .store
            .read(|db| settlements::of_period(db, id, period.start))?;
        // How much of it a person has charged or given back by hand is not known here.
        facts.can_make_up &= settled.iter().all(|it| it.kind != Kind::Invoice);
        let mut differences = judge::differences(&facts, now);
        for one in &mut differences {
            let mut earlier = settled.iter().filter(|it| it.kind == one.kind);
            if let Some(earlier) = earlier.find(|it| it.figures != one.figures) {
                let figures = &earlier.figures;
                let sentence = earlier.sentence();
                let remark = format!(" Before, it was: {figures}. {sentence}");
                one.remedy.push_str(&remark);
            }
        }
        Ok(Line {
            differences,
            days_compared,
            settled,
            subscription_id: subscription.id,
            product_id: subscription.product_id.to_string(),
            period,
            invoice_id: invoice.map(|invoice| invoice.id),
            facts,
        })
    }

    /// Reads the differing days again, each once, and reports what came of it.
    fn read_again(
        &self,
        line: &Line,
        read: &mut BTreeSet<NaiveDate>,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        for difference in &line.facts.days {
            if !read.contains(&difference.day) {
                self.collect_day(difference.day, now)?;
                read.insert(difference.day);
            }
        }
        self.report_line(line, now)
    }

    /// Has the last report forgotten, which Stripe's meter does not show, and reports anew.
    fn report_again(&self, line: &Line, now: DateTime<Utc>) -> Result<(), MeteringError> {
        let id = &line.subscription_id;
        if let Some(subscription) = self.store.read(|db| subscriptions::get(db, id))? {
            self.forget_report(&subscription, line.period, now)?;
        }
        self.report_line(line, now)
    }

    /// Has the customer's next invoice make up for what a final one got wrong.
    fn make_up(&self, line: &Line, now: DateTime<Utc>) -> Result<(), MeteringError> {
        let (Some(invoice_id), Some(owed)) = (&line.invoice_id, line.facts.owed()) else {
            return Ok(());
        };
        let found = self.store.read(|db| {
            let invoice = invoices::get(db, invoice_id)?;
            let subscription = subscriptions::get(db, &line.subscription_id)?;
            Ok(invoice.zip(subscription.and_then(|found| found.customer_id)))
        })?;
        match found {
            Some((invoice, customer)) => self.make_up_for(&invoice, &customer, owed, now),
            None => Ok(()),
        }
    }

    /// Reports a period's total, unless no report reaches its invoice any more.
    fn report_line(&self, line: &Line, now: DateTime<Utc>) -> Result<(), MeteringError> {
        if line.facts.stage == Stage::Final {
            return Ok(());
        }
        let id = &line.subscription_id;
        if let Some(subscription) = self.store.read(|db| subscriptions::get(db, id))? {
            self.push_total(&subscription, line.period, now)?;
        }
        Ok(())
    }
}

/// A period, as people name it.
pub fn name(line: &Line) -> String {
    let day = |time: DateTime<Utc>| time.format("%-d %b %Y").to_string();
    format!(
        "{} ({}), {} – {}",
        line.subscription_id,
        line.product_id,
        day(line.period.start),
        day(line.period.end)
    )
}

fn compared(line: &Line) -> Compared {
    Compared {
        subscription_id: line.subscription_id.clone(),
        period: line.period,
        days: line.days_compared,
    }
}

fn kept(line: &Line, difference: &Difference, now: DateTime<Utc>) -> Disagreement {
    Disagreement {
        subscription_id: line.subscription_id.clone(),
        period: line.period,
        kind: difference.kind,
        detail: difference.detail.clone(),
        repair: difference.remedy.clone(),
        figures: difference.figures.clone(),
        counts: difference.counts(),
        found_at: now,
    }
}
