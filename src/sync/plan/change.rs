//! One step of set-up, and how it reads to the operator who is asked to agree to it.

use std::collections::BTreeMap;
use std::fmt;

use crate::apim;
use crate::catalogue::Interval;
use crate::catalogue::money::Currency;
use crate::catalogue::price::PriceShape;
use crate::ids::ProductId;
use crate::secret::Secret;
use crate::stripe;

/// Something to create or to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Apim(ApimChange),
    Stripe(StripeChange),
}

/// A change at API Management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApimChange {
    CreateProduct(apim::NewProduct),
    UpdateProduct {
        new: apim::NewProduct,
        /// The names of what differs.
        differences: Vec<&'static str>,
    },
    WritePolicy {
        product: ProductId,
        policy: String,
    },
    AddApi {
        product: ProductId,
        api: String,
    },
    ShowToGroup {
        product: ProductId,
        group: &'static str,
    },
    SetDelegation {
        wanted: apim::Delegation,
        key: Secret,
    },
}

/// A change at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StripeChange {
    CreateProduct(stripe::NewProduct),
    UpdateProduct {
        id: String,
        new: stripe::NewProduct,
    },
    CreateMeter {
        event_name: String,
        display_name: String,
    },
    CreatePrice(PlannedPrice),
    CreateWebhookEndpoint(stripe::NewWebhookEndpoint),
    UpdateWebhookEndpoint {
        id: String,
        events: Vec<String>,
    },
    ReplaceWebhookEndpoint {
        id: String,
        new: stripe::NewWebhookEndpoint,
        why: &'static str,
    },
    DeleteWebhookEndpoint {
        id: String,
    },
}

/// A price to create. Its meter may not exist yet, so it is known by its event name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPrice {
    pub product: ProductId,
    pub stripe_product: String,
    pub currency: Currency,
    pub interval: Interval,
    pub shape: PriceShape,
    pub meter_event_name: Option<String>,
    pub lookup_key: String,
    pub metadata: BTreeMap<String, String>,
    /// The price as consumers read it.
    pub in_words: String,
}

impl From<ApimChange> for Change {
    fn from(change: ApimChange) -> Self {
        Self::Apim(change)
    }
}

impl From<StripeChange> for Change {
    fn from(change: StripeChange) -> Self {
        Self::Stripe(change)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apim(change) => write!(out, "APIM: {change}"),
            Self::Stripe(change) => write!(out, "Stripe: {change}"),
        }
    }
}

impl fmt::Display for ApimChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateProduct(new) => {
                write!(
                    out,
                    "create the product `{}` ({})",
                    new.id, new.display_name
                )
            }
            Self::UpdateProduct { new, differences } => {
                let differences = differences.join(", ");
                write!(out, "update {differences} of the product `{}`", new.id)
            }
            Self::WritePolicy { product, .. } => {
                write!(out, "write the policy of the product `{product}`")
            }
            Self::AddApi { product, api } => {
                write!(out, "add the API `{api}` to the product `{product}`")
            }
            Self::ShowToGroup { product, group } => {
                write!(out, "show the product `{product}` to {group}")
            }
            Self::SetDelegation { wanted, .. } => {
                let what = if wanted.user_registration {
                    "sign-in and subscriptions"
                } else {
                    "subscriptions, and not sign-in,"
                };
                write!(
                    out,
                    "delegate {what} to {} (works once the developer portal is published again)",
                    wanted.url.as_deref().unwrap_or_default()
                )
            }
        }
    }
}

impl fmt::Display for StripeChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateProduct(new) => write!(out, "create the product `{}`", new.name),
            Self::UpdateProduct { new, .. } => write!(out, "update the product `{}`", new.name),
            Self::CreateMeter { event_name, .. } => {
                write!(out, "create the meter `{event_name}`")
            }
            Self::CreatePrice(price) => {
                write!(
                    out,
                    "create the price of `{}`: {}",
                    price.product, price.in_words
                )
            }
            Self::CreateWebhookEndpoint(new) => {
                write!(out, "create the webhook endpoint {}", new.url)
            }
            Self::UpdateWebhookEndpoint { id, .. } => write!(
                out,
                "switch the webhook endpoint `{id}` on and give it all our events"
            ),
            Self::ReplaceWebhookEndpoint { id, why, .. } => {
                write!(out, "replace the webhook endpoint `{id}`, because {why}")
            }
            Self::DeleteWebhookEndpoint { id } => write!(
                out,
                "delete the webhook endpoint `{id}`, a second one for the same address"
            ),
        }
    }
}
