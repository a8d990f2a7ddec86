//! Compares what APIM, the store, Stripe's meters and invoices say of the same billing periods.
//!
//! APIM is asked once a day for all subscriptions, Stripe once for each period and once more for
//! each final invoice. What differs is judged by a pure function ([`judge`]), kept for the status
//! page, and put right where a program may: days are read again, totals reported again.

pub mod judge;
mod subjects;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{Metering, MeteringError, Outages, compare, parallel, window};
use crate::config::Mode;
use crate::store::corrections::{self, Corrected};
use crate::store::disagreements::{self, Disagreement};
use crate::store::invoices::{self, Figures, Invoice, State};
use crate::store::jobs;
use crate::store::period::settled;
use crate::store::subscriptions::{self, Period, Subscription};
use crate::store::usage::{self, Calls, PushState};
use crate::stripe;
use judge::{DayDifference, Difference, Facts, Repair, Reported, Stage};
use subjects::Subject;

/// How far back periods have ended that are compared without being asked for.
const RECENT: TimeDelta = TimeDelta::days(35);
/// How long after a period's end its invoice may go unnoticed: Stripe's word of it may come late, and
/// its list is read now and then.
const NOTICED_AFTER: TimeDelta = TimeDelta::hours(3);
/// How long the daily job is given to read a day again once it has settled.
const JOBS_TURN: TimeDelta = TimeDelta::days(1);

/// Which billing periods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that run, and those that ended in the last 35 days.
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
    /// Whether every day that can be was held against the source.
    pub days_compared: bool,
}

impl Report {
    /// Whether everything that can be was compared, and agrees.
    pub fn agrees(&self) -> bool {
        self.problems.is_empty() && self.lines.iter().all(Line::agrees)
    }

    /// One sentence, for the log, the status page and the command line.
    pub fn summary(&self) -> String {
        let differing = self.lines.iter().filter(|it| !it.agrees());
        let mut summary = format!(
            "{} billing periods compared; {} differ.",
            self.lines.len(),
            differing.count()
        );
        for left_out in &self.left_out {
            summary.push(' ');
            summary.push_str(left_out);
        }
        super::and_problems(summary, &self.problems)
    }
}

impl Line {
    /// Whether nothing differs that somebody has to do something about.
    pub fn agrees(&self) -> bool {
        !self.differences.iter().any(Difference::counts)
    }
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
        let (agrees, summary) = (report.agrees(), report.summary());
        let compared: Vec<(String, Period)> = report
            .lines
            .iter()
            .map(|line| (line.subscription_id.clone(), line.period))
            .collect();
        let found: Vec<Disagreement> = report
            .lines
            .iter()
            .flat_map(|line| line.differences.iter().map(|one| kept(line, one, now)))
            .collect();
        let days_compared = report.days_compared;
        let change = self.store.write(move |db| {
            disagreements::replace(db, &compared, days_compared, &found)?;
            jobs::finish(db, run, agrees, &summary, now)
        });
        change.wait()?;
        Ok(report)
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
        let mut problems = self.compare_days(&mut subjects, now)?;
        let days_compared = problems.is_empty();
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
            days_compared,
        })
    }

    /// Holds the days of the subjects against APIM, one query for each; says which could not be.
    fn compare_days(
        &self,
        subjects: &mut [Subject],
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, MeteringError> {
        let mut problems = Vec::new();
        let mut outages = Outages::default();
        for day in self.days_of(subjects, now) {
            let result = self.compare_day(subjects, day);
            outages.note(&result);
            match result {
                Ok(()) => {}
                Err(MeteringError::Store(error)) => return Err(error.into()),
                Err(error) => problems.push(format!("{day}: {}", error.in_words())),
            }
            if outages.are_too_many() {
                problems.push("the other days, because APIM seems to be down".to_owned());
                break;
            }
        }
        Ok(problems)
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
        let mut counted: HashMap<String, Calls> = HashMap::new();
        for row in self.source.usage_by_subscription(day)? {
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
        } = subject;
        let facts = self.facts(&subscription, period, invoice.as_ref(), days, now)?;
        Ok(Line {
            differences: judge::differences(&facts, now),
            subscription_id: subscription.id,
            product_id: subscription.product_id.to_string(),
            period,
            invoice_id: invoice.map(|invoice| invoice.id),
            facts,
        })
    }

    fn facts(
        &self,
        subscription: &Subscription,
        period: Period,
        invoice: Option<&Invoice>,
        days: Vec<DayDifference>,
        now: DateTime<Utc>,
    ) -> Result<Facts, MeteringError> {
        let end = window::reports_end(period);
        let (told, last) = self.store.read(|db| {
            let told = usage::last_told(db, &subscription.id, period.start, end)?;
            Ok((
                told,
                usage::last_push(db, &subscription.id, period.start, end)?,
            ))
        })?;
        let refused = last.filter(|last| last.state == PushState::Refused);
        let target = subscription
            .meter
            .as_ref()
            .zip(subscription.customer_id.as_ref());
        let metered = match target {
            Some((meter, customer)) => {
                self.metered(meter, customer, period.start, period.end.min(now))?
            }
            None => rust_decimal::Decimal::ZERO,
        };
        let stage = match invoice.map(|invoice| invoice.state) {
            None if period.end <= now => Stage::Unbilled,
            None => Stage::Running,
            Some(State::Finalized) => Stage::Final,
            Some(State::Claiming | State::Settling | State::Waiting | State::Held) => {
                Stage::Closing
            }
        };
        let closed_with = invoice
            .filter(|_| stage == Stage::Final)
            .and_then(|invoice| invoice.ours);
        let calls = self.billable_calls(subscription, period)?;
        let ours = match closed_with {
            // Of a store that was lost, some days may be too old to be read again.
            Some(closed) if closed.calls >= calls => closed,
            Some(_) | None => self.our_figures(subscription, calls)?,
        };
        let reported = match self.rules.mode {
            Mode::Live => told.map(|told| Reported {
                calls: told.calls,
                // As if just now, where it is not known yet whether Stripe has it.
                at: told.at.unwrap_or(now),
            }),
            // Whoever reports there should come to the same.
            Mode::Shadow => Some(Reported {
                calls: ours.calls,
                at: period.start,
            }),
        };
        let fetched = match invoice.filter(|_| stage == Stage::Final) {
            Some(invoice) => {
                self.stripe.pace_reads();
                Some(self.stripe.get_invoice(&invoice.id)?)
            }
            None => None,
        };
        let is_plain = fetched.as_ref().is_some_and(|fetched| {
            !fetched.is_final_from_the_start() && compare::stranger(period, fetched).is_none()
        });
        Ok(Facts {
            stage,
            days,
            ours,
            reported,
            refused: refused.map(|refused| refused.calls),
            metered,
            held: invoice
                .filter(|invoice| invoice.state == State::Held)
                .and_then(|invoice| invoice.problem.clone()),
            billed: fetched.as_ref().and_then(billed),
            credited: fetched.map_or(0, |fetched| fetched.credited),
            corrected: match invoice {
                Some(invoice) => self
                    .store
                    .read(|db| corrections::of_invoice(db, &invoice.id))?,
                None => Corrected::default(),
            },
            can_make_up: closed_with.is_some()
                && is_plain
                && self.rules.mode == Mode::Live
                && subscription.ended_at.is_none()
                && subscription.customer_id.is_some(),
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

/// What a final invoice bills for usage, as Stripe has it now; nothing if it was voided or written off:
/// what the merchant does not want is not made up for.
fn billed(fetched: &stripe::Invoice) -> Option<Figures> {
    (!fetched.is_given_up()).then(|| Figures {
        calls: fetched.usage_quantity().try_into().unwrap_or_default(),
        amount: fetched.usage_amount(),
    })
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

fn kept(line: &Line, difference: &Difference, now: DateTime<Utc>) -> Disagreement {
    Disagreement {
        subscription_id: line.subscription_id.clone(),
        period: line.period,
        kind: difference.kind,
        detail: difference.detail.clone(),
        repair: difference.remedy.clone(),
        counts: difference.counts(),
        found_at: now,
    }
}
