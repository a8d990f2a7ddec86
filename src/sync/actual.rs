//! What is there now, at APIM and at Stripe, as far as the catalogue is concerned with it.

use std::collections::BTreeMap;

use crate::apim::{self, Api, Apim, Delegation};
use crate::catalogue::Catalogue;
use crate::catalogue::naming::price_lookup_key;
use crate::ids::ProductId;
use crate::outbound::CallError;
use crate::secret::Secret;
use crate::stripe::{self, Meter, Price, Stripe, WebhookEndpoint};

/// Both sides as they are.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    /// All APIs of the service.
    pub apis: Vec<Api>,
    /// The catalogue's products, as far as APIM has them.
    pub products: BTreeMap<ProductId, ApimProduct>,
    pub delegation: Option<Delegation>,
    pub delegation_key: Option<Secret>,
    pub stripe_products: Vec<stripe::Product>,
    pub meters: Vec<Meter>,
    /// The catalogue's prices by their lookup keys, as far as Stripe has them.
    pub prices: BTreeMap<String, Price>,
    pub endpoints: Vec<WebhookEndpoint>,
}

/// A product at APIM with what hangs on it.
#[derive(Debug, Clone)]
pub struct ApimProduct {
    pub product: apim::Product,
    pub policy: Option<String>,
    /// The ids of the APIs that it opens.
    pub apis: Vec<String>,
    /// The ids of the groups that see it.
    pub groups: Vec<String>,
}

impl Actual {
    pub fn read(apim: &Apim, stripe: &Stripe, catalogue: &Catalogue) -> Result<Self, CallError> {
        Ok(Self {
            apis: apim.list_apis()?,
            products: read_products(apim, catalogue)?,
            delegation: Some(apim.delegation()?),
            delegation_key: apim.delegation_key()?,
            stripe_products: stripe.list_products()?,
            meters: stripe.list_meters()?,
            prices: read_prices(stripe, catalogue)?,
            endpoints: stripe.list_webhook_endpoints()?,
        })
    }
}

fn read_products(
    apim: &Apim,
    catalogue: &Catalogue,
) -> Result<BTreeMap<ProductId, ApimProduct>, CallError> {
    let mut products = BTreeMap::new();
    for model in catalogue.models() {
        if let Some(product) = apim.get_product(&model.id)? {
            let opened = apim.list_product_apis(&model.id)?;
            let found = ApimProduct {
                product,
                policy: apim.get_product_policy(&model.id)?,
                apis: opened.into_iter().map(|api| api.id).collect(),
                groups: apim.list_product_groups(&model.id)?,
            };
            products.insert(model.id.clone(), found);
        }
    }
    Ok(products)
}

fn read_prices(
    stripe: &Stripe,
    catalogue: &Catalogue,
) -> Result<BTreeMap<String, Price>, CallError> {
    let mut prices = BTreeMap::new();
    for lookup_key in catalogue.models().iter().filter_map(price_lookup_key) {
        if let Some(price) = stripe.find_price_by_lookup_key(&lookup_key)? {
            prices.insert(lookup_key, price);
        }
    }
    Ok(prices)
}
