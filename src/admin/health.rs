//! Whether Stripe and APIM answer us, looked at now and then.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::apim::Apim;
use crate::outbound::CallError;
use crate::stripe::{Stripe, WebhookEndpoint};

/// How old an answer may be before a look at the page asks again. Stripe grants each account a
/// number of reads a month, so nobody asks while nobody looks.
const FRESH: TimeDelta = TimeDelta::minutes(1);

/// How both sides answered.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub(super) stripe: Side,
    pub(super) apim: Side,
    /// How Stripe's webhook endpoint for our address stands; absent where Stripe did not answer.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) at: DateTime<Utc>,
}

/// How one side answered: what it said of itself, or what went wrong.
pub(super) type Side = Result<String, String>;

/// Stripe's webhook endpoint for our address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Stripe has none. Somebody may forward events from another address, or from none.
    Missing,
    Disabled,
    /// It delivers, in this API version; in the account's own where none is set.
    Delivers(Option<String>),
}

/// Asks both sides in the background.
#[derive(Clone)]
pub(super) struct Prober {
    webhook_url: String,
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
    /// `public_url` is where Stripe reaches us.
    pub(super) fn new(stripe: Stripe, apim: Apim, public_url: &str) -> Self {
        Self {
            webhook_url: format!("{public_url}/webhooks/stripe"),
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
        let endpoints = self.stripe.list_webhook_endpoints();
        let endpoint = endpoints
            .as_deref()
            .ok()
            .map(|all| endpoint(all, &self.webhook_url));
        let stripe = in_words(endpoints.map(|_| "Answers.".to_owned()));
        let service = self.apim.service();
        let apim = in_words(service.map(|service| format!("Answers; tier {}.", service.sku)));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest = Some(Health {
            stripe,
            apim,
            endpoint,
            at: now,
        });
        state.is_asking = false;
    }
}

/// How the endpoint of our address stands; of several, the one that delivers in our version.
fn endpoint(all: &[WebhookEndpoint], url: &str) -> Endpoint {
    let version = Stripe::api_version();
    let ours = all.iter().filter(|endpoint| endpoint.url == url);
    let best = ours.max_by_key(|endpoint| {
        let speaks = endpoint.api_version.as_deref() == Some(&version);
        (endpoint.enabled, speaks)
    });
    match best {
        None => Endpoint::Missing,
        Some(endpoint) if !endpoint.enabled => Endpoint::Disabled,
        Some(endpoint) => Endpoint::Delivers(endpoint.api_version.clone()),
    }
}

fn in_words(answer: Result<String, CallError>) -> Side {
    answer.map_err(|error| error.to_string())
}
