//! The billing periods that a comparison is about.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::judge::DayDifference;
use super::{Metering, MeteringError, NOTICED_AFTER, Scope};
use crate::lifecycle::Status;
use crate::store::comparisons::{self, Comparison, JOBS_TURN, RECENT};
use crate::store::disagreements::{self, DaysCompared};
use crate::store::invoices::{self, Invoice};
use crate::store::subscriptions::{self, Period, Subscription, Unreadable};
use crate::store::{StoreError, usage};

/// A billing period is a year at most.
const LONGEST_PERIOD: TimeDelta = TimeDelta::days(366);

/// One period to compare.
pub(super) struct Subject {
    pub(super) subscription: Subscription,
    pub(super) period: Period,
    /// Absent while the period runs, and where none is known.
    pub(super) invoice: Option<Invoice>,
    pub(super) days: Vec<DayDifference>,
    pub(super) days_compared: DaysCompared,
}

impl Metering {
    /// The periods to compare, and the subscriptions of which nobody can tell because their records
    /// make no sense.
    pub(super) fn subjects(
        &self,
        scope: Scope,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Subject>, BTreeSet<String>), MeteringError> {
        let since = match scope {
            Scope::Recent => now - RECENT,
            Scope::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
        };
        let (subjects, unreadable) = self.store.read(|db| {
            let mut subjects = Vec::new();
            let (running, unreadable) = subscriptions::metered(db, now)?;
            let mut unreadable = in_words(unreadable);
            for subscription in running {
                let status = subscription.stripe_status.as_deref().map(Status::parse);
                let runs = |period: &Period| period.start <= now && now < period.end;
                if let Some(period) = subscription.period.filter(runs)
                    && status.is_some_and(Status::is_live)
                {
                    subjects.push(subject(subscription, period, None));
                }
            }
            let (lately, nonsense) = subscriptions::metered(db, since)?;
            unreadable.extend(in_words(nonsense));
            for subscription in lately {
                for period in unbilled(db, &subscription, since)? {
                    let period = as_it_ended(period, &subscription);
                    if (since..=now - NOTICED_AFTER).contains(&period.end) {
                        subjects.push(subject(subscription.clone(), period, None));
                    }
                }
            }
            for invoice in invoices::ended_since(db, since)? {
                match subscriptions::get(db, &invoice.subscription_id) {
                    Ok(Some(subscription)) => {
                        subjects.push(subject(subscription, invoice.period, Some(invoice)));
                    }
                    // Named above, or no metered one any more.
                    Ok(None) | Err(StoreError::Nonsense(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok((subjects, unreadable))
        })?;
        let mut subjects = subjects;
        subjects.retain(|subject| match scope {
            Scope::Recent => true,
            Scope::Day(day) => subject.holds(day),
        });
        Ok((subjects, unreadable))
    }

    /// Periods that are over, and all of whose days are known, but that were not compared yet, or did
    /// not agree and were not looked at since `now`: at most `limit`. And such of which nobody can
    /// tell.
    pub(super) fn uncompared(
        &self,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Subject>, Vec<Comparison>), MeteringError> {
        let ended_by = now - self.rules.settle - JOBS_TURN;
        let room = |taken: usize| (limit as usize).saturating_sub(taken);
        let found = self.store.read(|db| {
            let (mut subjects, mut unreadable) = (Vec::new(), Vec::new());
            for invoice in comparisons::due(db, ended_by, now, limit)? {
                match subscriptions::get(db, &invoice.subscription_id) {
                    Ok(Some(subscription)) => {
                        subjects.push(subject(subscription, invoice.period, Some(invoice)));
                    }
                    Ok(None) | Err(StoreError::Nonsense(_)) => unreadable.push(Comparison {
                        subscription_id: invoice.subscription_id,
                        period_start: invoice.period.start,
                        invoice_id: Some(invoice.id),
                        agrees: false,
                    }),
                    Err(error) => return Err(error),
                }
            }
            let (lately, _) = subscriptions::metered(db, now - RECENT)?;
            for subscription in lately {
                if room(unreadable.len() + subjects.len()) == 0 {
                    break;
                }
                for period in unbilled(db, &subscription, now - RECENT)? {
                    let period = as_it_ended(period, &subscription);
                    if (now - RECENT..=ended_by).contains(&period.end)
                        && !comparisons::is_done_without_invoice(
                            db,
                            &subscription.id,
                            period.start,
                            now,
                        )?
                    {
                        subjects.push(subject(subscription.clone(), period, None));
                    }
                }
            }
            subjects.retain(|subject| self.days_are_known(subject.period) <= now);
            Ok((subjects, unreadable))
        });
        Ok(found?)
    }

    /// The periods in which something was found before `now` that is left to be done: it may be done by
    /// now, whatever their age, and whether they are over or not. At most `limit`.
    pub(super) fn left_open(
        &self,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, MeteringError> {
        let found = self.store.read(|db| {
            let mut subjects = Vec::new();
            for (id, period) in disagreements::open_periods(db, now, limit)? {
                let subscription = match subscriptions::get(db, &id) {
                    Ok(Some(subscription)) => subscription,
                    // What makes no sense is named by whoever reads it besides.
                    Ok(None) | Err(StoreError::Nonsense(_)) => continue,
                    Err(error) => return Err(error),
                };
                let invoices = invoices::of_subscription(db, &id)?;
                let mut invoices = invoices.into_iter();
                let invoice = invoices.find(|it| it.period.start == period.start);
                subjects.push(subject(subscription, period, invoice));
            }
            Ok(subjects)
        });
        Ok(found?)
    }
}

/// The period, broken off where its subscription ended.
fn as_it_ended(period: Period, subscription: &Subscription) -> Period {
    let ended_at = subscription.ended_at.unwrap_or(period.end);
    Period {
        end: period.end.min(ended_at),
        ..period
    }
}

impl Subject {
    /// What is noted of it where it could not be compared.
    pub(super) fn failed(&self) -> Comparison {
        Comparison {
            subscription_id: self.subscription.id.clone(),
            period_start: self.period.start,
            invoice_id: self.invoice.as_ref().map(|invoice| invoice.id.clone()),
            agrees: false,
        }
    }

    pub(super) fn days(&self) -> std::ops::RangeInclusive<NaiveDate> {
        self.period.days(self.subscription.started_at)
    }

    pub(super) fn holds(&self, day: NaiveDate) -> bool {
        self.days().contains(&day)
    }
}

/// The periods of which no invoice is known: those with reports, and the one that the record has.
fn unbilled(
    db: &Connection,
    subscription: &Subscription,
    since: DateTime<Utc>,
) -> Result<Vec<Period>, StoreError> {
    let mut periods = usage::unbilled(db, &subscription.id, since - LONGEST_PERIOD)?;
    let status = subscription.stripe_status.as_deref().map(Status::parse);
    let is_billed = matches!(
        status,
        Some(Status::Active | Status::PastDue | Status::Unpaid)
    );
    if let Some(period) = subscription.period.filter(|_| is_billed)
        && periods.iter().all(|other| other.start != period.start)
        && !invoices::is_known(db, &subscription.id, period.start)?
    {
        periods.push(period);
    }
    Ok(periods)
}

fn in_words(unreadable: Vec<Unreadable>) -> BTreeSet<String> {
    unreadable
        .into_iter()
        .map(|row| format!("{} whose record makes no sense ({})", row.id, row.problem))
        .collect()
}

fn subject(subscription: Subscription, period: Period, invoice: Option<Invoice>) -> Subject {
    Subject {
        subscription,
        period,
        invoice,
        days: Vec::new(),
        days_compared: DaysCompared::All,
    }
}
