//! Compares Stripe, the store and APIM, whole lists at a time, and puts right what differs.
//!
//! It does not decide anything: a subscription that differs is handed to the [`Worker`], which looks
//! at it as it would after an event. What the store has lost comes back the same way: subscriptions
//! and customers from Stripe, free subscriptions and accounts from APIM, purchases under way from
//! Stripe's open Checkout sessions. Each step can be repeated, and beside `serve`.

mod rebuild;
mod sides;

use chrono::{DateTime, Utc};

use super::worker::{Round, WorkError, Worker};
use crate::apim;
use crate::store::{jobs, subscriptions};
pub(super) use sides::as_found;
use sides::{Difference, FREE, Repair, Sides};

/// Differences that one run puts right; the next takes what is left.
const BATCH: usize = 500;

/// What a run found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was put right, a line each.
    pub repaired: Vec<String>,
    /// What differs still, a line each.
    pub left: Vec<String>,
    /// Whether everything was looked at. Otherwise run it again.
    pub is_whole: bool,
}

impl Report {
    fn summary(&self) -> String {
        /// More would not be read.
        const SHOWN: usize = 5;
        let (repaired, left) = (self.repaired.len(), self.left.len());
        let counted = match (repaired, left) {
            (0, 0) => "Nothing differs.".to_owned(),
            (repaired, 0) => format!("{repaired} differences put right."),
            (repaired, left) => format!("{repaired} differences put right, {left} left:"),
        };
        let shown = self.left.iter().take(SHOWN).map(String::as_str);
        let more = (left > SHOWN).then(|| format!("And {} more.", left - SHOWN));
        let parts: Vec<&str> = std::iter::once(counted.as_str())
            .chain(shown)
            .chain(more.as_deref())
            .collect();
        parts.join(" ")
    }
}

impl Worker {
    /// Puts right what differs, and writes down how that went. Blocks for as long as it takes.
    ///
    /// # Errors
    /// When a list could not be read; nothing is changed then. What cannot be put right is no error:
    /// the report has it.
    pub fn resync(&self, now: DateTime<Utc>) -> Result<Report, WorkError> {
        let run = self
            .store
            .write(move |db| jobs::start(db, jobs::RESYNC, now))
            .wait()?;
        let result = self.compare(true, now);
        let (complete, summary) = match &result {
            Ok(report) => (report.left.is_empty() && report.is_whole, report.summary()),
            Err(error) => (false, format!("Broken off: {}", error.in_words())),
        };
        let change = self
            .store
            .write(move |db| jobs::finish(db, run, complete, &summary, now));
        change.wait()?;
        result
    }

    /// Says what differs, and changes nothing.
    pub fn rehearse_resync(&self, now: DateTime<Utc>) -> Result<Report, WorkError> {
        self.compare(false, now)
    }

    fn compare(&self, repair: bool, now: DateTime<Utc>) -> Result<Report, WorkError> {
        let mut report = Report {
            is_whole: true,
            ..Report::default()
        };
        let customers = self.stripe.list_customers()?;
        let in_apim = self.apim.list_subscriptions()?;
        let holders = rebuild::holders(&customers, &in_apim);
        self.compare_accounts(&holders, repair, &mut report, now)?;
        self.compare_subscriptions(in_apim, repair, &mut report, now)?;
        self.compare_customers(customers, repair, &mut report, now)?;
        self.compare_checkouts(repair, &mut report, now)?;
        self.compare_drafts(repair, &mut report, now)?;
        Ok(report)
    }

    fn compare_subscriptions(
        &self,
        apim: Vec<apim::Subscription>,
        repair: bool,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let stripe = self.stripe.list_subscriptions(None)?;
        let ours = self.store.read(subscriptions::all)?;
        let mut round = Round::default();
        for (id, sides) in sides::by_id(stripe, ours, apim) {
            let Some(found) = self.difference(&id, &sides, now) else {
                continue;
            };
            if round.is_over() || report.repaired.len() >= BATCH {
                report.is_whole = false;
                return Ok(());
            }
            if !repair || found.repair == Repair::Person {
                if let Some(found) = self.confirm(&id, now)? {
                    report.left.push(format!("{id}: {}.", found.text));
                }
                continue;
            }
            let line = format!("{id}: {}.", found.text);
            let result = self.put_right(&id, sides, found.repair, now);
            round.note(&result);
            match result {
                Ok(()) => report.repaired.push(line),
                Err(error) => {
                    let problem = error.in_words();
                    report.left.push(format!("{line} It stays so: {problem}"));
                }
            }
        }
        Ok(())
    }

    fn difference(&self, id: &str, sides: &Sides, now: DateTime<Utc>) -> Option<Difference> {
        let ours = sides.ours.as_ref();
        let grace = ours.map_or(self.rules.past_due_grace, |ours| {
            self.past_due_grace(&ours.product_id)
        });
        sides::difference(id, sides, grace, now)
    }

    /// Looks at one subscription alone: the lists are not of one moment, and `serve` may have been
    /// at work between them.
    fn confirm(&self, id: &str, now: DateTime<Utc>) -> Result<Option<Difference>, WorkError> {
        let stripe = if id.starts_with(FREE) {
            None
        } else {
            match self.stripe.get_subscription(id) {
                Err(error) if error.is_not_found() => None,
                other => Some(other?),
            }
        };
        let apim = self.apim.get_subscription(id)?;
        let ours = self.store.read(|db| subscriptions::one(db, id))?;
        let sides = sides::by_id(
            stripe.into_iter().collect(),
            ours,
            apim.into_iter().collect(),
        );
        let difference = sides
            .get(id)
            .and_then(|sides| self.difference(id, sides, now));
        Ok(difference)
    }

    fn put_right(
        &self,
        id: &str,
        sides: Sides,
        repair: Repair,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        match (repair, sides.ours, sides.apim) {
            (Repair::LookAgain, ..) => self.refresh(id, now).map(drop),
            (Repair::PutInPlace, Some(ours), _) => self.recheck(ours, now),
            (Repair::TakeOver, _, Some(apim)) => self.take_over(&apim, now),
            (Repair::PutInPlace | Repair::TakeOver | Repair::Person, ..) => Ok(()),
        }
    }
}
