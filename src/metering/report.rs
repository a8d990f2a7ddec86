//! Tells Stripe each metered period's total so far.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::Connection;

use super::{Metering, MeteringError, Outages, parallel, stamp, window};
use crate::catalogue::StatusClass;
use crate::config::Mode;
use crate::outbound::CallError;
use crate::store::settings::{self, REPORT_FROM};
use crate::store::subscriptions::{Meter, Period, Subscription};
use crate::store::usage::{Push, PushState};
use crate::store::{StoreError, findings, looks, subscriptions, usage};
use crate::stripe::MeterEvent;

/// What a run of reports did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) subscriptions: usize,
    pub(super) pushed: usize,
    pub(super) problems: Vec<String>,
}

/// What is to be reported for a period; a new report is written down already.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Stripe has this total already.
    UpToDate,
    /// Whether Stripe has the last report is not known: the same one once more.
    Repeat(Push),
    New(Push),
    /// The period has no second left for one more report.
    NoRoom,
}

impl Metering {
    /// Reports every metered subscription's current period. One that fails does not stop the
    /// others, unless Stripe seems to be down; the answer names it. Those that are left out then come
    /// first in the next run, so that a few that always fail keep nobody else waiting.
    pub(super) fn report(
        &self,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<Reported, MeteringError> {
        let mut reported = Reported::default();
        let mut outages = Outages::default();
        let (mut metered, unreadable) = self.store.read(|db| subscriptions::metered(db, now))?;
        let left_out = self.store.read(|db| settings::get(db, REPORT_FROM))?;
        if let Some(from) = &left_out {
            let place = metered.partition_point(|subscription| subscription.id < *from);
            metered.rotate_left(place);
        }
        let ids: Vec<String> = metered.iter().map(|it| it.id.clone()).collect();
        reported.problems.extend(
            unreadable
                .into_iter()
                .map(|row| format!("{} whose record makes no sense ({})", row.id, row.problem)),
        );
        let results = parallel::map(
            metered,
            self.rules.concurrency,
            |subscription| {
                let result = self.report_subscription(&subscription, now, dry_run);
                (subscription.id, result)
            },
            |(_, result)| outages.go_on_after(result),
        );
        reported.subscriptions = results.len();
        for (id, result) in results {
            match result {
                Ok(pushed) => reported.pushed += usize::from(pushed),
                Err(error) => reported
                    .problems
                    .push(format!("{id}: {}", error.in_words())),
            }
        }
        let next = ids.get(reported.subscriptions).cloned();
        if next.is_some() {
            let rest =
                "the rest, because the other side seems to be down: it comes first next time";
            reported.problems.push(rest.to_owned());
        }
        if next != left_out && !dry_run {
            let change = self.store.write(move |db| match next {
                Some(next) => settings::set(db, REPORT_FROM, &next),
                None => settings::remove(db, REPORT_FROM),
            });
            change.wait()?;
        }
        Ok(reported)
    }

    fn report_subscription(
        &self,
        subscription: &Subscription,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<bool, MeteringError> {
        let Some(period) = subscription.period else {
            return Ok(false);
        };
        if period.end <= now {
            // The period has turned and nobody told us: look at Stripe. Its invoice closes it.
            let id = subscription.id.clone();
            self.store
                .write(move |db| looks::ask(db, &id, now))
                .wait()?;
            return Ok(false);
        }
        if self.rules.mode == Mode::Shadow {
            return self.compare_total(subscription, period, now);
        }
        if dry_run {
            let Some(due) = self.due(subscription, period)? else {
                return Ok(false);
            };
            let step = self.store.read(|db| due.decide(db, now))?;
            return Ok(matches!(step, Step::Repeat(_) | Step::New(_)));
        }
        self.push_total(subscription, period, now)
    }

    /// Makes Stripe's total for `period` be what the store knows of; says whether that took a
    /// report.
    pub(super) fn push_total(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<bool, MeteringError> {
        if self.rules.mode == Mode::Shadow {
            return Ok(false);
        }
        self.recall(subscription, period, now)?;
        let mut pushed = false;
        loop {
            match self.plan_report(subscription, period, now)? {
                Step::UpToDate => return Ok(pushed),
                Step::NoRoom => {
                    tracing::error!(subscription = %subscription.id, "no second is left in the period for another report");
                    return Ok(pushed);
                }
                Step::Repeat(push) | Step::New(push) => self.send(push, now)?,
            }
            pushed = true;
        }
    }

    /// Takes the last report for one that Stripe does not have, so that the next one is made
    /// although the total is the same, and later.
    pub(super) fn forget_report(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        let id = subscription.id.clone();
        let change = self.store.write(move |db| {
            let end = window::reports_end(period);
            if let Some(last) = usage::last_push(db, &id, period.start, end)? {
                let problem = "Stripe’s meter showed another total.";
                let refused = PushState::Refused;
                usage::settle_push(db, &last.identifier, refused, Some(problem), now)?;
            }
            Ok(())
        });
        Ok(change.wait()?)
    }

    /// Decides what Stripe has to be told, and writes a new report down, in one transaction: a
    /// second process that reports at the same time finds it there, and repeats it.
    fn plan_report(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<Step, MeteringError> {
        let Some(due) = self.due(subscription, period)? else {
            return Ok(Step::UpToDate);
        };
        let change = self.store.write(move |db| {
            let step = due.decide(db, now)?;
            if let Step::New(push) = &step {
                usage::plan_push(db, push, now)?;
            }
            Ok(step)
        });
        Ok(change.wait()?)
    }

    /// What a report of this period is about; nothing where there is no meter to report to.
    fn due(
        &self,
        subscription: &Subscription,
        period: Period,
    ) -> Result<Option<Due>, MeteringError> {
        let target = subscription
            .meter
            .clone()
            .zip(subscription.customer_id.clone());
        let Some((meter, customer)) = target else {
            return Ok(None);
        };
        Ok(Some(Due {
            subscription: subscription.id.clone(),
            meter,
            customer,
            classes: self.model(subscription)?.billable.clone(),
            days: period.days(subscription.started_at),
            period,
        }))
    }

    /// Sends a report that is written down, and writes down what became of it.
    ///
    /// The report's identifier is what keeps it from counting twice. The idempotency key is one
    /// for each run, because under a known key Stripe repeats even a 500 for a whole day.
    fn send(&self, push: Push, now: DateTime<Utc>) -> Result<(), MeteringError> {
        let event = MeterEvent {
            event_name: push.meter_event_name,
            customer: push.customer_id,
            value: push.calls,
            identifier: push.identifier.clone(),
            timestamp: push.event_at,
        };
        let key = format!("{}-{}", push.identifier, stamp(now));
        let result = self.stripe.create_meter_event(&event, &key);
        let (state, problem) = match &result {
            Ok(_) => (PushState::Delivered, None),
            Err(CallError::Refused(refusal)) => (PushState::Refused, Some(refusal.to_string())),
            // Still planned: the next run sends the same one again.
            Err(CallError::Unknown(_)) => return Ok(result.map(drop)?),
        };
        let identifier = push.identifier;
        let change = self.store.write(move |db| {
            usage::settle_push(db, &identifier, state, problem.as_deref(), now)?;
            match &problem {
                Some(problem) => findings::report_refused(db, &identifier, problem, now),
                None => Ok(()),
            }
        });
        change.wait()?;
        Ok(result.map(drop)?)
    }
}

/// The period of a subscription whose total Stripe is to be told. It owns what it says, because the
/// store decides on it on a thread of its own.
struct Due {
    subscription: String,
    meter: Meter,
    customer: String,
    classes: Vec<StatusClass>,
    days: RangeInclusive<NaiveDate>,
    period: Period,
}

impl Due {
    /// Decides what Stripe has to be told by what the store knows.
    fn decide(&self, db: &Connection, now: DateTime<Utc>) -> Result<Step, StoreError> {
        let calls = usage::total(db, &self.subscription, &self.days)?.billable(&self.classes);
        let reports_end = window::reports_end(self.period);
        let last = usage::last_push(db, &self.subscription, self.period.start, reports_end)?;
        let is_lower = last.as_ref().is_some_and(|last| last.calls > calls);
        if is_lower && !is_read(db, &self.days, now)? {
            return Ok(Step::UpToDate);
        }
        Ok(self.next_step(calls, last, now))
    }

    /// Decides what Stripe has to be told, given the last report. Pure.
    fn next_step(&self, calls: u64, last: Option<Push>, now: DateTime<Utc>) -> Step {
        let previous = last.as_ref().map(|push| push.event_at);
        match last {
            Some(push) if push.state == PushState::Planned => return Step::Repeat(push),
            Some(push) if push.state == PushState::Delivered && push.calls == calls => {
                return Step::UpToDate;
            }
            // A total of nothing is what Stripe assumes by itself.
            None if calls == 0 => return Step::UpToDate,
            Some(_) | None => {}
        }
        let Some(event_at) = window::report_time(self.period, previous, now) else {
            return Step::NoRoom;
        };
        Step::New(Push {
            identifier: identifier(&self.subscription, self.period, event_at),
            subscription_id: self.subscription.clone(),
            customer_id: self.customer.clone(),
            meter_event_name: self.meter.event_name.clone(),
            period: self.period,
            calls,
            event_at,
            state: PushState::Planned,
        })
    }
}

/// Whether every day up to yesterday was read. A total that is lower than the one before is believed
/// only then: calls that happened do not un-happen, but a store can be lost.
fn is_read(
    db: &Connection,
    days: &RangeInclusive<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let read = usage::collected_since(db, *days.start())?;
    let today = now.date_naive();
    let passed = days.start().iter_days();
    let mut passed = passed.take_while(|day| day <= days.end() && *day < today);
    Ok(passed.all(|day| read.contains_key(&day)))
}

/// Stripe keeps identifiers apart for at least a day; this one names a report for good.
fn identifier(subscription_id: &str, period: Period, event_at: DateTime<Utc>) -> String {
    format!(
        "{subscription_id}-{}-{}",
        stamp(period.start),
        stamp(event_at)
    )
}
