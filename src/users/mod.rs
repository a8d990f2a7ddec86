//! The APIM users behind the accounts: they follow what a consumer changes, and go when the account
//! closes.
//!
//! What is to be done is a row in the store, written before any call; each step can be repeated, and
//! a process that is killed anywhere goes on at the next turn.

mod absence;
mod closing;
mod profile;

use chrono::{DateTime, Utc};

use crate::apim::Apim;
use crate::outbound::{CallError, backoff};
use crate::store::{Store, StoreError};
use crate::stripe::Stripe;

/// How many accounts one turn works on.
const BATCH: u32 = 100;

/// All its calls block: run it on a thread of its own.
#[derive(Clone)]
pub struct Users {
    pub store: Store,
    pub stripe: Stripe,
    pub apim: Apim,
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("a call to another side failed")]
    Call(#[from] CallError),
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl UsersError {
    /// For the status page.
    fn in_words(&self) -> String {
        match self {
            Self::Call(error) => error.to_string(),
            Self::Store(error) => error.to_string(),
        }
    }
}

impl Users {
    /// Works on everything that is due at `now`; says how much of it moved on.
    pub fn work(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        self.look_for_absent(now)?;
        Ok(self.follow_accounts(now)? + self.close_accounts(now)?)
    }
}

/// When to try again, or `None` when the other side has said no often enough. What nobody has
/// refused is never given up.
fn again(error: &CallError, attempts: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let refused = error.is_final();
    let next = backoff::next_attempt(attempts, refused, error.retry_after(), now);
    next.or_else(|| (!refused).then(|| now + chrono::TimeDelta::hours(1)))
}
