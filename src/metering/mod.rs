//! From the calls that APIM counted to the quantity on Stripe's invoice.
//!
//! Three steps, each of which may run at any time and any number of times:
//!
//! - [`collect`] reads the calls of the last days from APIM into the store;
//! - [`report`] tells Stripe the period's total so far, as an absolute number: a later report
//!   repairs all earlier ones, and a repeated one bills nothing twice;
//!   ([`recall`] asks Stripe what was reported where the store does not know);
//! - [`close`] holds a period's draft invoice until its usage has settled, reports the final
//!   total, compares Stripe's figures with ours, and finalizes.
//!
//! [`ending`] ends subscriptions as their consumers want it, with the usage reported before.
//! [`reconcile`] holds what all four places say of a period against each other; [`correct`] makes up
//! for what a final invoice got wrong.
//! In shadow mode ([`shadow`]) the last two tell Stripe nothing and only compare.
//!
//! [`schedule`] decides when. Between the steps lies only the store: each reads what the one
//! before has written down.

mod budget;
pub mod close;
mod collect;
mod compare;
mod correct;
mod doubt;
mod ending;
mod evidence;
mod parallel;
mod recall;
pub mod reconcile;
mod report;
pub mod schedule;
mod shadow;
pub mod window;

#[cfg(test)]
mod reconcile_tests;
#[cfg(test)]
mod step_tests;

use std::sync::Arc;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::apim::UsageSource;
use crate::catalogue::{Catalogue, Model};
use crate::config::Mode;
use crate::outbound::CallError;
use crate::store::mails::Outbox;
use crate::store::subscriptions::{Period, Subscription};
use crate::store::{Store, StoreError, usage};
use crate::stripe::Stripe;

/// The settings of metering.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long after a period's last day its usage is taken as settled.
    pub settle: TimeDelta,
    /// How long after its creation Stripe finalizes a claimed draft by itself.
    pub backstop: TimeDelta,
    /// How many of the last days are read again each time.
    pub reread_days: u32,
    /// When the daily job is due, UTC.
    pub daily_at: NaiveTime,
    pub mode: Mode,
    /// How many calls to Stripe may be under way at once.
    pub concurrency: usize,
    /// Whether periods that ended are compared without being asked for.
    pub reconcile_daily: bool,
}

/// A second source of usage, which bills nothing.
#[derive(Clone)]
pub struct CrossCheck {
    pub source: UsageSource,
    /// Of a hundred calls of a subscription and day, how many may differ without an alert.
    pub percent: u8,
}

/// The metering side. All its calls block: run it on a thread of its own.
#[derive(Clone)]
pub struct Metering {
    pub store: Store,
    pub stripe: Stripe,
    pub source: UsageSource,
    /// What the source is held against.
    pub check: Option<CrossCheck>,
    pub catalogue: Arc<Catalogue>,
    pub rules: Rules,
    /// For messages to the holders of budgets.
    pub outbox: Outbox,
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    #[error("a call to another side failed")]
    Call(#[from] CallError),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the product `{0}` is not in the catalogue any more: put it back, hidden if need be")]
    UnknownProduct(String),
    #[error("the amount for {0} calls is out of range")]
    Amount(u64),
    #[error("no call of anybody, where an earlier reading of the day had {0}")]
    Emptied(u64),
}

impl MeteringError {
    /// Whether nobody knows what happened, because the other side did not really answer.
    fn is_outage(&self) -> bool {
        match self {
            Self::Call(error) => !error.is_final(),
            Self::Emptied(_) => true,
            Self::Store(_) | Self::UnknownProduct(_) | Self::Amount(_) => false,
        }
    }

    /// For the job's summary and the status page.
    fn in_words(&self) -> String {
        match self {
            Self::Call(error) => error.to_string(),
            Self::Store(error) => error.to_string(),
            Self::UnknownProduct(_) | Self::Amount(_) | Self::Emptied(_) => self.to_string(),
        }
    }
}

/// Counts outages in a row. After a few the other side is taken to be down: each further call
/// would wait for its time-out.
#[derive(Default)]
struct Outages(u32);

impl Outages {
    const TOO_MANY: u32 = 3;

    fn note<T>(&mut self, result: &Result<T, MeteringError>) {
        match result {
            Err(error) if error.is_outage() => self.0 += 1,
            Ok(_) | Err(_) => self.0 = 0,
        }
    }

    fn are_too_many(&self) -> bool {
        self.0 >= Self::TOO_MANY
    }

    /// Notes one more result; says whether there is any use in a further call.
    fn go_on_after<T>(&mut self, result: &Result<T, MeteringError>) -> bool {
        self.note(result);
        !self.are_too_many()
    }
}

impl Metering {
    fn model(&self, subscription: &Subscription) -> Result<&Model, MeteringError> {
        let product = &subscription.product_id;
        self.catalogue
            .get(product)
            .ok_or_else(|| MeteringError::UnknownProduct(product.to_string()))
    }

    /// The billable calls of a subscription's period that the store knows of.
    fn billable_calls(
        &self,
        subscription: &Subscription,
        period: Period,
    ) -> Result<u64, MeteringError> {
        let days = period.days(subscription.started_at);
        let calls = self
            .store
            .read(|db| usage::total(db, &subscription.id, &days))?;
        Ok(calls.billable(&self.model(subscription)?.billable))
    }
}

/// The beginning of the sentence in which a job says what it left undone.
fn and_problems(summary: String, problems: &[String]) -> String {
    /// More would not be read.
    const SHOWN: usize = 5;
    if problems.is_empty() {
        return summary;
    }
    let shown = problems
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" · ");
    let more = problems.len().saturating_sub(SHOWN);
    let more = if more == 0 {
        String::new()
    } else {
        format!(" · and {more} more")
    };
    format!("{summary} Not done: {shown}{more}")
}

/// A time as it stands in identifiers and keys.
fn stamp(time: DateTime<Utc>) -> i64 {
    time.timestamp()
}

#[cfg(test)]
mod tests {
    use super::and_problems;

    #[test]
    fn a_summary_names_a_few_problems_and_counts_the_rest() {
        let problems: Vec<String> = (1..=7).map(|number| format!("p{number}")).collect();
        let text = and_problems("Done.".into(), &problems);
        assert_eq!(text, "Done. Not done: p1 · p2 · p3 · p4 · p5 · and 2 more");
        assert_eq!(and_problems("Done.".into(), &[]), "Done.");
    }
}
