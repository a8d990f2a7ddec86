//! Whether Stripe and APIM answer us, looked at now and then.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::apim::Apim;
use crate::outbound::CallError;
use crate::stripe::Stripe;

/// How old an answer may be before a look at the page asks again. Stripe grants each account a
/// number of reads a month, so nobody asks while nobody looks.
const FRESH: TimeDelta = TimeDelta::minutes(1);

/// How both sides answered.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub(super) stripe: Side,
    pub(super) apim: Side,
    pub(super) at: DateTime<Utc>,
}

/// How one side answered: what it said of itself, or what went wrong.
pub(super) type Side = Result<String, String>;

/// Asks both sides in the background.
#[derive(Clone)]
pub(super) struct Prober {
    stripe: Stripe,
    apim: Apim,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    latest: Option<Health>,
    is_asking: bool,
}

impl Prober {
    pub(super) fn new(stripe: Stripe, apim: Apim) -> Self {
        Self {
            stripe,
            apim,
            state: Arc::default(),
        }
    }

    /// The latest answers. Where they are not fresh, new ones are asked for in the background,
    /// so that a side that hangs never makes the page hang.
    pub(super) fn latest(&self, now: DateTime<Utc>) -> Option<Health> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = state
            .latest
            .as_ref()
            .is_some_and(|health| now - health.at < FRESH);
        if !is_fresh && !state.is_asking {
            state.is_asking = true;
            let prober = self.clone();
            tokio::task::spawn_blocking(move || prober.ask(now));
        }
        state.latest.clone()
    }

    fn ask(&self, now: DateTime<Utc>) {
        let stripe = in_words(self.stripe.ping().map(|()| "Answers.".to_owned()));
        let service = self.apim.service();
        let apim = in_words(service.map(|service| format!("Answers; tier {}.", service.sku)));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest = Some(Health {
            stripe,
            apim,
            at: now,
        });
        state.is_asking = false;
    }
}

fn in_words(answer: Result<String, CallError>) -> Side {
    answer.map_err(|error| error.to_string())
}
