//! Carries a plan out, step by step.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::plan::{ApimChange, Change, Plan, PlannedPrice, StripeChange};
use crate::apim::Apim;
use crate::outbound::CallError;
use crate::secret::Secret;
use crate::stripe::{NewPrice, NewWebhookEndpoint, Stripe};

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The changes, as sentences, in the order in which they were carried out.
    pub done: Vec<String>,
    /// The signing secret of a webhook endpoint that was created. Stripe shows it only now: keep
    /// it before anything else.
    pub webhook_secret: Option<Secret>,
}

/// A change that could not be carried out. Those before it were; those after it were not tried.
#[derive(Debug, thiserror::Error)]
#[error("set-up stopped at this step: {change}")]
pub struct ApplyError {
    pub change: String,
    /// What had been done by then.
    pub applied: Applied,
    #[source]
    pub cause: CallError,
}

pub(super) fn apply(
    apim: &Apim,
    stripe: &Stripe,
    plan: &Plan,
    now: DateTime<Utc>,
) -> Result<Applied, ApplyError> {
    let mut run = Run {
        apim,
        stripe,
        now,
        meters: plan.meters.clone(),
        applied: Applied::default(),
    };
    for change in &plan.changes {
        if let Err(cause) = run.carry_out(change) {
            return Err(ApplyError {
                change: change.to_string(),
                applied: run.applied,
                cause,
            });
        }
        tracing::debug!(change = %change, "set-up changed something");
        run.applied.done.push(change.to_string());
    }
    Ok(run.applied)
}

/// One run through a plan.
struct Run<'a> {
    apim: &'a Apim,
    stripe: &'a Stripe,
    now: DateTime<Utc>,
    /// The ids of meters by event name, with those created on the way.
    meters: BTreeMap<String, String>,
    applied: Applied,
}

impl Run<'_> {
    fn carry_out(&mut self, change: &Change) -> Result<(), CallError> {
        match change {
            Change::Apim(change) => self.at_apim(change),
            Change::Stripe(change) => self.at_stripe(change),
        }
    }

    fn at_apim(&self, change: &ApimChange) -> Result<(), CallError> {
        match change {
            ApimChange::CreateProduct(new) | ApimChange::UpdateProduct { new, .. } => {
                self.apim.put_product(new).map(drop)
            }
            ApimChange::WritePolicy { product, policy } => {
                self.apim.put_product_policy(product, policy)
            }
            ApimChange::AddApi { product, api } => self.apim.link_product_api(product, api),
            ApimChange::ShowToGroup { product, group } => {
                self.apim.link_product_group(product, group)
            }
            ApimChange::SetDelegation { wanted, key } => self.apim.put_delegation(wanted, key),
        }
    }

    fn at_stripe(&mut self, change: &StripeChange) -> Result<(), CallError> {
        let stripe = self.stripe;
        match change {
            StripeChange::CreateProduct(new) => {
                let key = self.key("product", new.id.as_deref().unwrap_or("new"));
                stripe.create_product(new, &key).map(drop)
            }
            StripeChange::UpdateProduct { id, new } => {
                let key = self.key("product-update", id);
                stripe.update_product(id, new, &key).map(drop)
            }
            StripeChange::CreateMeter {
                event_name,
                display_name,
            } => self.create_meter(event_name, display_name),
            StripeChange::CreatePrice(price) => self.create_price(price),
            StripeChange::CreateWebhookEndpoint(new) => self.create_endpoint(new),
            StripeChange::UpdateWebhookEndpoint { id, events } => {
                let key = self.key("webhook-update", id);
                stripe.update_webhook_endpoint(id, events, &key).map(drop)
            }
            StripeChange::ReplaceWebhookEndpoint { id, new, .. } => {
                stripe.delete_webhook_endpoint(id)?;
                self.create_endpoint(new)
            }
            StripeChange::DeleteWebhookEndpoint { id } => stripe.delete_webhook_endpoint(id),
        }
    }

    /// A key of this run. A key that depended on the subject alone would, within a day, bring
    /// back the answer of an earlier run and change nothing, although the object has been deleted
    /// or changed by hand since. That a broken run is not repeated blindly is seen to by the next
    /// run's look at what is there, and by ids and names that Stripe takes only once.
    fn key(&self, what: &str, subject: &str) -> String {
        format!("sync-{what}-{subject}-{}", self.now.timestamp())
    }

    fn create_meter(&mut self, event_name: &str, display_name: &str) -> Result<(), CallError> {
        let key = self.key("meter", event_name);
        let meter = self.stripe.create_meter(event_name, display_name, &key)?;
        self.meters.insert(meter.event_name, meter.id);
        Ok(())
    }

    fn create_price(&self, price: &PlannedPrice) -> Result<(), CallError> {
        let event_name = price.meter_event_name.as_ref();
        let new = NewPrice {
            product: price.stripe_product.clone(),
            currency: price.currency,
            interval: price.interval,
            shape: price.shape.clone(),
            meter: event_name.and_then(|name| self.meters.get(name).cloned()),
            lookup_key: price.lookup_key.clone(),
            metadata: price.metadata.clone(),
        };
        let key = self.key("price", &price.lookup_key);
        self.stripe.create_price(&new, &key).map(drop)
    }

    fn create_endpoint(&mut self, new: &NewWebhookEndpoint) -> Result<(), CallError> {
        let key = self.key("webhook", "endpoint");
        let endpoint = self.stripe.create_webhook_endpoint(new, &key)?;
        self.applied.webhook_secret = endpoint.secret;
        Ok(())
    }
}
