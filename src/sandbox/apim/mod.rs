//! Azure API Management's management API as documented for `api-version` 2024-05-01, Entra's token
//! endpoint, and Log Analytics' query endpoint.

pub mod accounts;
mod arm;
mod entra;
pub mod logs;
pub mod model;
pub mod policy;
pub mod sso;
pub mod state;
pub mod usage;

use std::sync::{Arc, Mutex};

use axum::Router;
use ring::hmac;

use super::Addresses;
use super::clock::Clock;
use state::State;

/// The service principal, the service and the key that the sandbox knows.
pub const TENANT_ID: &str = "11111111-1111-4111-8111-111111111111";
pub const CLIENT_ID: &str = "22222222-2222-4222-8222-222222222222";
pub const CLIENT_SECRET: &str = "sandbox-client-secret";
pub const SUBSCRIPTION_ID: &str = "33333333-3333-4333-8333-333333333333";
pub const RESOURCE_GROUP: &str = "sandbox";
pub const SERVICE_NAME: &str = "tollhouse-sandbox";
/// The Log Analytics workspace that the service's logs go to.
pub const WORKSPACE_ID: &str = "44444444-4444-4444-8444-444444444444";

/// The sandbox's API Management service. Cheap to clone; the clones are one service.
#[derive(Clone)]
pub struct Azure {
    clock: Clock,
    addresses: Addresses,
    token_key: hmac::Key,
    state: Arc<Mutex<State>>,
}

impl Azure {
    pub fn new(clock: Clock, addresses: Addresses) -> Self {
        let state = State::fresh(clock.now());
        Self {
            clock,
            addresses,
            token_key: state::new_signing_key(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    #[cfg(test)]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn router(&self) -> Router {
        entra::router()
            .merge(logs::router())
            .with_state(self.clone())
            .merge(arm::router(self.clone()))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A service that listens nowhere.

    use chrono::{DateTime, Utc};

    use super::{Azure, Clock};
    use crate::sandbox::Addresses;

    pub(crate) fn azure(now: DateTime<Utc>) -> Azure {
        let addresses = Addresses {
            stripe: "http://stripe.test".to_owned(),
            azure: "http://azure.test".to_owned(),
            portal: "http://portal.test".to_owned(),
            gateway: "http://gateway.test".to_owned(),
            console: "http://console.test".to_owned(),
            mail: "smtp://mail.test".to_owned(),
        };
        Azure::new(Clock::standing(now), addresses)
    }
}
