//! What set-up creates besides prices and meters: products and the webhook endpoint.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use stripe_client_core::{IdempotencyKey, RequestStrategy, StripeRequest};
use stripe_misc::webhook_endpoint::{
    CreateWebhookEndpoint, CreateWebhookEndpointEnabledEvents, DeleteWebhookEndpoint,
    ListWebhookEndpoint, UpdateWebhookEndpoint, UpdateWebhookEndpointEnabledEvents,
};
use stripe_product::product::{CreateProduct, ListProduct, UpdateProduct};
use stripe_shared::version::VERSION;

use super::Stripe;
use super::page::{Listed, PAGE_SIZE, Page};
use crate::outbound::CallError;
use crate::secret::Secret;

/// A product to create, or the new face of one that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// Stripe chooses one where it is not given.
    pub id: Option<String>,
    pub name: String,
    /// Stripe refuses an empty one.
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

/// A product, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    pub active: bool,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A webhook endpoint to create. Its events come in the API version of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhookEndpoint {
    pub url: String,
    /// The types of event to deliver, such as `invoice.created`.
    pub events: Vec<String>,
    pub metadata: BTreeMap<String, String>,
}

/// A webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    pub id: String,
    pub url: String,
    pub events: Vec<String>,
    /// Fixed at creation. `None` means the account's default.
    pub api_version: Option<String>,
    pub enabled: bool,
    pub metadata: BTreeMap<String, String>,
    /// Only the answer to its creation holds it.
    pub secret: Option<Secret>,
}

impl Listed for Product {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for WebhookEndpoint {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// All products, active or not.
    pub fn list_products(&self) -> Result<Vec<Product>, CallError> {
        const OPERATION: &str = "list the products";
        self.transport.all(OPERATION, |after| {
            let mut request = ListProduct::new().limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(OPERATION, &request)
        })
    }

    pub fn create_product(&self, new: &NewProduct, key: &str) -> Result<Product, CallError> {
        let operation = format!("create the product `{}`", new.name);
        let mut request = CreateProduct::new(new.name.as_str()).metadata(pairs(&new.metadata));
        if let Some(id) = &new.id {
            request = request.id(id.as_str());
        }
        if let Some(description) = &new.description {
            request = request.description(description.as_str());
        }
        self.transport.post(&operation, &request, key)
    }

    /// Gives the product `id` the name, description and metadata of `new`, and makes it active.
    pub fn update_product(
        &self,
        id: &str,
        new: &NewProduct,
        key: &str,
    ) -> Result<Product, CallError> {
        let operation = format!("update the product `{id}`");
        let mut request = UpdateProduct::new(id)
            .active(true)
            .name(new.name.as_str())
            .metadata(pairs(&new.metadata));
        if let Some(description) = &new.description {
            request = request.description(description.as_str());
        }
        self.transport.post(&operation, &request, key)
    }

    pub fn list_webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, CallError> {
        self.transport.all("list the webhook endpoints", |after| {
            let mut request = ListWebhookEndpoint::new().limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            let list = request.send_blocking(&self.transport)?;
            Ok(Page {
                data: list.data.into_iter().map(WebhookEndpoint::from).collect(),
                has_more: list.has_more,
            })
        })
    }

    /// The answer holds the signing secret, which Stripe never shows again. A repetition with
    /// the same key within 24 hours brings it back.
    pub fn create_webhook_endpoint(
        &self,
        new: &NewWebhookEndpoint,
        key: &str,
    ) -> Result<WebhookEndpoint, CallError> {
        let events: Vec<CreateWebhookEndpointEnabledEvents> = parsed(&new.events);
        let endpoint = CreateWebhookEndpoint::new(events, new.url.as_str())
            .api_version(VERSION)
            .metadata(pairs(&new.metadata))
            .customize()
            .request_strategy(idempotent(key))
            .send_blocking(&self.transport)?;
        Ok(endpoint.into())
    }

    /// Sets which events an endpoint gets, and switches it on.
    pub fn update_webhook_endpoint(
        &self,
        id: &str,
        events: &[String],
        key: &str,
    ) -> Result<WebhookEndpoint, CallError> {
        let events: Vec<UpdateWebhookEndpointEnabledEvents> = parsed(events);
        let endpoint = UpdateWebhookEndpoint::new(id)
            .enabled_events(events)
            .disabled(false)
            .customize()
            .request_strategy(idempotent(key))
            .send_blocking(&self.transport)?;
        Ok(endpoint.into())
    }

    /// An endpoint that is already gone counts as deleted.
    pub fn delete_webhook_endpoint(&self, id: &str) -> Result<(), CallError> {
        match DeleteWebhookEndpoint::new(id).send_blocking(&self.transport) {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// `key` in the words of async-stripe. One that Stripe would not take (over 255 characters)
/// leaves the request without any, and then it is sent at most once.
pub(super) fn idempotent(key: &str) -> RequestStrategy {
    IdempotencyKey::new(key).map_or(RequestStrategy::Once, RequestStrategy::Idempotent)
}

/// async-stripe's words for `words`; a word it does not know passes as it is.
fn parsed<T: std::str::FromStr<Err = std::convert::Infallible>>(words: &[String]) -> Vec<T> {
    let parsed = words.iter().map(|word| {
        let Ok(word) = word.parse();
        word
    });
    parsed.collect()
}

pub(super) fn pairs(metadata: &BTreeMap<String, String>) -> HashMap<String, String> {
    metadata.clone().into_iter().collect()
}

impl From<stripe_misc::WebhookEndpoint> for WebhookEndpoint {
    fn from(endpoint: stripe_misc::WebhookEndpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            url: endpoint.url,
            events: endpoint.enabled_events,
            api_version: endpoint.api_version,
            enabled: endpoint.status == "enabled",
            metadata: endpoint.metadata.into_iter().collect(),
            secret: endpoint.secret.map(Secret::new),
        }
    }
}
