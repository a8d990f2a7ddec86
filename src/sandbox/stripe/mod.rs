//! Stripe as its documentation describes it, API version 2026-09-30.endive.
//!
//! One `account::Account` behind one lock holds all objects as JSON in Stripe's wire shape. A
//! request goes through `http` (key, idempotency), `params` (the published specification) and the
//! dispatch table to a plain function, and its result through `render` (`expand[]`) back.
//!
//! To add an operation:
//!
//! 1. See that `parameters.json` has its row, `"POST /v1/things/{thing}"`, with its parameters.
//! 2. Write `fn(&mut Account, &Call) -> Result<Value, StripeError>`. The parameters arrive checked
//!    and converted (`call.text("name")`, `call.integer(..)`, `call.list(..)`), the path's ids as
//!    `call.id()` and `call.ids`. `account.find(kind, id)` answers 404, `account.refer(kind, id,
//!    param)` 400 for an id in a parameter. New objects go in with `account.create(event, object)`,
//!    changes through `account.update(id, event, |object| …)`, which work out the event and its
//!    `previous_attributes`. Give the whole object back: members that Stripe shows only when
//!    expanded and members that begin with `_` are left out on the way.
//! 3. Add its row to the module's `OPERATIONS`, which `http::TABLES` names.
//!
//! What stands under `/v2/` has a small table of its own (`v2`): event destinations and thin events.
//!
//! Lists are `list::page(account, call, kind, filter)`; metadata rules are in `changes`.

mod account;
mod balance_transactions;
mod billing;
mod call;
mod changes;
mod customers;
mod deliver;
mod deliveries;
mod error;
mod event_destinations;
mod events;
mod form;
mod http;
mod idempotency;
mod list;
mod meter_errors;
mod meter_events;
mod meters;
mod params;
mod price_amounts;
mod prices;
mod products;
mod rate;
mod render;
mod summaries;
mod test_clocks;
mod thin;
mod usage;
mod v2;
mod webhook_endpoints;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use self::account::Account;
pub(super) use self::account::Books;
pub use self::billing::AfterRetries;
use super::Addresses;
use super::clock::Clock;
use super::faults::Faults;
use super::journal::Journal;

/// The secret key that the sandbox's account accepts.
pub const SECRET_KEY: &str = "sk_test_sandbox";
/// The version that the account speaks.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The sandbox's Stripe account.
#[derive(Clone)]
pub struct Stripe {
    account: Arc<Mutex<Account>>,
    clock: Clock,
    faults: Arc<Faults>,
    journal: Arc<Journal>,
}

impl Stripe {
    pub fn new(
        clock: Clock,
        faults: Arc<Faults>,
        journal: Arc<Journal>,
        addresses: Addresses,
    ) -> Self {
        Self {
            account: Arc::new(Mutex::new(Account::new(clock.clone(), addresses))),
            clock,
            faults,
            journal,
        }
    }

    /// The API under `/v1/` and `/v2/`, and the pages that Stripe hosts.
    pub fn router(&self) -> Router {
        billing::pages(self)
            .merge(v2::router(self.clone()))
            .merge(http::router(self.clone()))
    }

    /// Does what has fallen due (test clocks, billing, webhook deliveries) and counts it.
    pub async fn run_due(&self) -> usize {
        let billed = {
            let mut account = self.account();
            test_clocks::run_due(&mut account)
                + billing::run_due(&mut account)
                + meter_errors::run_due(&mut account)
        };
        billed + deliver::run_due(self).await
    }

    /// Whether something is due now.
    pub fn has_due(&self) -> bool {
        self.next_due().is_some_and(|due| due <= self.clock.now())
    }

    /// When the next thing falls due, if anything will.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        let account = self.account();
        let clocks = test_clocks::has_due(&account).then(|| self.clock.now());
        [
            clocks,
            account.books.deliveries.next_due(),
            billing::next_due(&account),
            meter_errors::next_due(&account),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// All objects of a kind (`"subscription"`) as the API shows them, oldest first.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        self.account().all(kind).map(render::public).collect()
    }

    /// Whether there is an object of a kind with such a status (`"invoice"`, `"draft"`).
    pub fn has_any(&self, kind: &str, status: &str) -> bool {
        self.account()
            .all(kind)
            .any(|object| object["status"] == status)
    }

    /// Delivers an event once more to every endpoint that listens to it, as the Dashboard's
    /// "Resend" does; false when there is no such event.
    pub fn redeliver(&self, event: &str) -> bool {
        self.account().redeliver(event)
    }

    /// Refuses all but `per_second` requests in a second of real time with 429.
    pub fn set_rate_limit(&self, per_second: Option<u32>) {
        self.account().rate_limit.set(per_second);
    }

    /// How long a meter event takes to count.
    pub fn set_meter_lag(&self, lag: TimeDelta) {
        self.account().books.usage.lag = lag;
    }

    /// Whether drafts keep the quantity of their first moment until they are finalized.
    pub fn let_drafts_stand_still(&self, stand_still: bool) {
        self.account().books.usage.drafts_stand_still = stand_still;
    }

    /// Gives a webhook endpoint a new secret, while the old ones go on to sign.
    pub fn roll_webhook_secret(&self, endpoint: &str) -> Option<String> {
        webhook_endpoints::roll_secret(&mut self.account(), endpoint)
    }

    /// The account, locked: hold it for one operation, never across an await.
    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
