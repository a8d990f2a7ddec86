//! Set-up: makes APIM and Stripe look as the catalogue says (`sync plan`, `apply` and `verify`).
//!
//! [`actual`] reads what is there, [`plan`] compares it with what should be, without any effect,
//! and [`apply`] carries the changes out in order. Running it again does nothing where nothing is
//! missing, and goes on where an earlier run broke off.
//!
//! It never takes away what consumers have: a product that has left the catalogue stays, and a
//! price that has changed stays for its subscribers, while new ones get the new price.

pub mod actual;
pub mod apply;
pub mod plan;
mod policy;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::apim::Apim;
use crate::catalogue::Catalogue;
use crate::config::SignIn;
use crate::outbound::CallError;
use crate::secret::Secret;
use crate::stripe::Stripe;
use actual::Actual;
use apply::{Applied, ApplyError};
use plan::{Plan, Wanted};

/// The set-up of one installation.
#[derive(Clone)]
pub struct Sync {
    pub stripe: Stripe,
    pub apim: Apim,
    pub catalogue: Arc<Catalogue>,
    /// Where browsers and Stripe reach us, without a trailing slash.
    pub public_url: String,
    /// Where consumers sign in: what the developer portal leaves to us.
    pub sign_in: SignIn,
    /// The keys that we accept delegation requests with, in base64; the first is the current one.
    pub delegation_keys: Vec<Secret>,
    /// Whether we hold a signing secret for Stripe's webhooks, from the settings or the store.
    pub webhook_secret_known: bool,
}

impl Sync {
    /// What would have to change. Reads both sides and changes nothing.
    pub fn plan(&self) -> Result<Plan, CallError> {
        let actual = Actual::read(&self.apim, &self.stripe, &self.catalogue)?;
        let wanted = Wanted {
            catalogue: &self.catalogue,
            public_url: &self.public_url,
            sign_in: self.sign_in,
            delegation_keys: &self.delegation_keys,
            webhook_secret_known: self.webhook_secret_known,
        };
        Ok(plan::plan(&wanted, &actual))
    }

    /// Carries a plan out. `now` keeps the idempotency keys of two runs apart.
    pub fn apply(&self, plan: &Plan, now: DateTime<Utc>) -> Result<Applied, ApplyError> {
        apply::apply(&self.apim, &self.stripe, plan, now)
    }

    /// Every difference between what is there and what should be, as a sentence; none when all
    /// is well.
    pub fn verify(&self) -> Result<Vec<String>, CallError> {
        let plan = self.plan()?;
        let missing = plan
            .changes
            .iter()
            .map(|change| format!("not done: {change}"));
        Ok(missing.chain(plan.problems).collect())
    }
}
