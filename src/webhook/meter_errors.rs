//! Usage reports that Stripe took and refused later: which they are, and what is to be done.
//!
//! Stripe names some of them and counts the rest. A report that is named is noted as refused, and
//! the next run makes a new one, with a later time and under another identifier. Of those that are
//! only counted nobody knows which they are, so every report that reached the meter at that time is
//! made anew: a total that is told twice bills once. Where a later report of the period was taken,
//! nothing is lost, because meters keep the last value.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::worker::{Outcome, WorkError, Worker};
use crate::store::findings::{self, Kind};
use crate::store::refusals::{self, Refused};
use crate::store::{StoreError, usage};
use crate::stripe::MeterErrors;

/// How long before Stripe looked at them reports may have been taken, and how far its clock may be
/// from ours.
const BEFORE: TimeDelta = TimeDelta::minutes(5);
const AFTER: TimeDelta = TimeDelta::minutes(1);

/// What there is to note of an error report.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Why, by what names the report.
    named: BTreeMap<String, String>,
    /// How many were refused in all.
    count: u64,
    /// Why, of those that are not named.
    unnamed: Option<String>,
}

impl Worker {
    pub(super) fn meter_errors(
        &self,
        event_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Outcome, WorkError> {
        let errors = match self.stripe.get_meter_errors(event_id) {
            Err(error) if error.is_not_found() => {
                return Ok(Outcome::ignored("Stripe does not know the event."));
            }
            other => other?,
        };
        let told = told(&errors);
        // Found beforehand: among all reports there ever were it takes a while.
        let perhaps = match &told.unnamed {
            Some(_) => self.taken(&errors)?,
            None => Vec::new(),
        };
        let change = self
            .store
            .write(move |db| note(db, &errors, &told, &perhaps, now));
        let ours = change.wait()?;
        if ours == 0 {
            return Ok(Outcome::ignored(
                "None of the refused usage reports is ours, or all are noted already.",
            ));
        }
        tracing::error!(event = %event_id, reports = ours, "usage reports were refused after all");
        Ok(Outcome::applied(format!(
            "Stripe refused usage reports after it had taken them. Noted: {ours}."
        )))
    }

    fn taken(&self, errors: &MeterErrors) -> Result<Vec<String>, StoreError> {
        let (from, until) = (errors.from - BEFORE, errors.until + AFTER);
        self.store
            .read(|db| refusals::taken_between(db, errors.meter.as_deref(), from, until))
    }
}

fn told(errors: &MeterErrors) -> Told {
    let mut told = Told::default();
    for kind in &errors.kinds {
        told.count += kind.count;
        let mut named = 0;
        for sample in &kind.samples {
            if let Some(identifier) = &sample.identifier {
                let why = why(&sample.message, &kind.code);
                told.named.insert(identifier.clone(), why);
                named += 1;
            }
        }
        if kind.count > named {
            let message = kind.samples.first().map_or("", |sample| &sample.message);
            told.unnamed = Some(why(message, &kind.code));
        }
    }
    told
}

/// Stripe's words, and what puts it right where a repetition does not.
fn why(message: &str, code: &str) -> String {
    let advice = match code {
        "archived_meter" | "no_meter" => " Switch the meter on again in Stripe’s dashboard.",
        "meter_event_customer_not_found" | "meter_event_no_customer_defined" => {
            " See in Stripe’s dashboard whether the customer was deleted."
        }
        _ => "",
    };
    format!("{} ({code}).{advice}", message.trim_end_matches('.'))
}

/// Notes everything, and says how many reports of ours it is about that were not noted before.
fn note(
    db: &Connection,
    errors: &MeterErrors,
    told: &Told,
    perhaps: &[String],
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut noted = BTreeSet::new();
    for (name, why) in &told.named {
        if let Some(refused) = find(db, name)?
            && refusals::note(db, &refused.push, why, now)?
        {
            if let Some(detail) = in_words(&refused, why) {
                // The next report that is taken ends it, unless none can reach that period.
                let subject = if refused.is_billed {
                    &refused.push.identifier
                } else {
                    &refused.push.subscription_id
                };
                findings::note(db, Kind::Refused, None, subject, &detail, now)?;
            }
            noted.insert(refused.push.identifier);
        }
    }
    let mut unsure = 0;
    for identifier in perhaps {
        let found = refusals::find(db, identifier)?;
        let Some(refused) = found.filter(|it| it.is_newest && !it.is_billed) else {
            continue;
        };
        let problem = "Stripe refused reports of that time without naming all of them.";
        if refusals::note(db, &refused.push, problem, now)? {
            unsure += 1;
        }
    }
    if let Some(why) = told.unnamed.as_ref().filter(|_| unsure > 0) {
        let meter = errors.meter.as_deref().unwrap_or_default();
        let detail = format!(
            "Stripe refused {} reports to the meter {meter} and named {}: {why} All {unsure} that \
             it had taken at that time are made anew.",
            told.count,
            told.named.len()
        );
        findings::note(db, Kind::Refused, None, meter, &detail, now)?;
    }
    Ok(noted.len() + unsure)
}

/// By its identifier, or by the idempotency key that was made of it and a time.
fn find(db: &Connection, name: &str) -> Result<Option<Refused>, StoreError> {
    if let Some(found) = refusals::find(db, name)? {
        return Ok(Some(found));
    }
    match name.rsplit_once('-') {
        Some((identifier, _)) => refusals::find(db, identifier),
        None => Ok(None),
    }
}

/// What somebody has to know of a refused report; nothing where a later one has repaired it.
fn in_words(refused: &Refused, why: &str) -> Option<String> {
    if !refused.is_newest {
        return None;
    }
    let usage::Push {
        subscription_id,
        calls,
        ..
    } = &refused.push;
    let next = if refused.is_billed {
        "The invoice of that period is final already: the command tollhouse reconcile says what it lacks."
    } else {
        "The next run reports it again, and the invoice waits for it."
    };
    Some(format!(
        "Stripe took the report of {calls} calls of {subscription_id} and refused it later: {why} \
         {next}"
    ))
}

#[cfg(test)]
mod tests;
