//! What has to change: the catalogue against what is there. Pure.

mod change;
mod side;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use change::{ApimChange, Change, PlannedPrice, StripeChange};

use super::actual::Actual;
use crate::catalogue::Catalogue;
use crate::config::SignIn;
use crate::secret::Secret;

/// What should be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub catalogue: &'a Catalogue,
    /// Where browsers and Stripe reach us, without a trailing slash.
    pub public_url: &'a str,
    /// Where consumers sign in: what the developer portal leaves to us.
    pub sign_in: SignIn,
    /// The keys that we accept delegation requests with, in base64; the first is the current one.
    pub delegation_keys: &'a [Secret],
    /// Whether we hold a signing secret for Stripe's webhooks.
    pub webhook_secret_known: bool,
}

/// What to do, and what we cannot do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order in which they have to be carried out.
    pub changes: Vec<Change>,
    /// What is wrong and only a person can put right, as sentences with the fix.
    pub problems: Vec<String>,
    /// The ids of the active meters, by event name.
    pub(super) meters: BTreeMap<String, String>,
}

impl Plan {
    fn change(&mut self, change: impl Into<Change>) {
        self.changes.push(change.into());
    }

    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.problems.is_empty()
    }
}

/// Compares what should be with what is.
///
/// The webhook endpoint comes last: whatever fails before it cannot lose the signing secret that
/// its creation returns.
pub fn plan(wanted: &Wanted<'_>, actual: &Actual) -> Plan {
    let mut plan = Plan {
        meters: actual
            .meters
            .iter()
            .filter(|meter| meter.active)
            .map(|meter| (meter.event_name.clone(), meter.id.clone()))
            .collect(),
        ..Plan::default()
    };
    for model in wanted.catalogue.models() {
        side::apim::product(model, actual, &mut plan);
    }
    side::apim::delegation(wanted, actual, &mut plan);
    for model in wanted.catalogue.models() {
        side::stripe::product(model, actual, &mut plan);
    }
    side::stripe::webhook(wanted, actual, &mut plan);
    plan
}
