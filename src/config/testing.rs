//! Settings of both sides for unit tests, which run against a server on loopback.

use std::time::Duration;

use super::{Apim, Stripe};
use crate::secret::Secret;

/// Stripe at `url`, asked once.
pub(crate) fn stripe(url: &str) -> Stripe {
    Stripe {
        api_base: url.to_owned(),
        secret_key: Secret::new("sk_test_hush"),
        webhook_secrets: Vec::new(),
        timeout: Duration::from_secs(5),
        attempts: 1,
        events_per_second: 10_000,
        reads_per_second: 10_000,
        concurrency: 1,
        gap_fill_minutes: 60,
    }
}

/// Azure, with its token endpoint, at `url`: the service `apim` of the group `rg`.
pub(crate) fn apim(url: &str) -> Apim {
    Apim {
        arm_url: url.to_owned(),
        authority_url: url.to_owned(),
        api_version: "2024-05-01".to_owned(),
        tenant_id: "tenant".to_owned(),
        client_id: "client".to_owned(),
        client_secret: Secret::new("hush"),
        subscription_id: "az".to_owned(),
        resource_group: "rg".to_owned(),
        service_name: "apim".to_owned(),
        gateway_url: None,
        timeout: Duration::from_secs(5),
        attempts: 1,
    }
}
