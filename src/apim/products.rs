//! Products: what consumers subscribe to, with their policies, APIs and groups.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Apim;
use super::arm::{Call, Keyed, escaped};
use crate::ids::ProductId;
use crate::outbound::CallError;

/// A product as it should be: open only to subscriptions, which need no approval, because we
/// create them ourselves once they are paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    pub id: ProductId,
    /// 1–300 characters.
    pub display_name: String,
    /// Up to 1,000 characters.
    pub description: String,
    /// What a consumer has to agree to; empty for nothing.
    pub terms: String,
    /// How many subscriptions one user may have. Always sent: left out, some services take 1.
    pub subscriptions_limit: u32,
    /// Whether the developer portal offers it.
    pub published: bool,
}

/// A product, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireProduct")]
pub struct Product {
    /// Azure's alphabet for ids is wider than that of [`ProductId`].
    pub id: String,
    pub display_name: String,
    pub description: String,
    pub terms: String,
    pub published: bool,
    pub subscription_required: bool,
    pub approval_required: bool,
    pub subscriptions_limit: Option<u32>,
}

/// An API of the service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireApi")]
pub struct Api {
    pub id: String,
    pub display_name: String,
    /// Below the gateway's address.
    pub path: String,
}

impl Keyed for Product {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Keyed for Api {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Apim {
    pub fn get_product(&self, id: &ProductId) -> Result<Option<Product>, CallError> {
        let operation = format!("read the product `{id}`");
        self.arm.find(&Call::new(operation, Method::GET, &path(id)))
    }

    pub fn list_products(&self) -> Result<Vec<Product>, CallError> {
        let call = Call::new("list the products", Method::GET, "/products");
        self.arm.all(&call)
    }

    /// Creates the product, or makes one that is there like it.
    pub fn put_product(&self, new: &NewProduct) -> Result<Product, CallError> {
        let there = self.get_product(&new.id)?.is_some();
        let operation = format!("write the product `{}`", new.id);
        let call = Call::new(operation, Method::PUT, &path(&new.id))
            .if_there(there)
            .body(json!({
                "properties": {
                    "displayName": new.display_name,
                    "description": new.description,
                    "terms": new.terms,
                    "subscriptionRequired": true,
                    "approvalRequired": false,
                    "subscriptionsLimit": new.subscriptions_limit,
                    "state": if new.published { "published" } else { "notPublished" },
                }
            }));
        self.arm.json(&call)
    }

    /// The policy document of a product, as it was written.
    pub fn get_product_policy(&self, id: &ProductId) -> Result<Option<String>, CallError> {
        let operation = format!("read the policy of the product `{id}`");
        let call = Call::new(operation, Method::GET, &policy_path(id)).query("format", "rawxml");
        let policy: Option<WirePolicy> = self.arm.find(&call)?;
        Ok(policy.map(|policy| policy.properties.value))
    }

    /// Sets the policy document of a product, at most 256 KiB of XML whose expressions need not
    /// be escaped.
    pub fn put_product_policy(&self, id: &ProductId, xml: &str) -> Result<(), CallError> {
        let there = self.get_product_policy(id)?.is_some();
        let operation = format!("write the policy of the product `{id}`");
        let call = Call::new(operation, Method::PUT, &policy_path(id))
            .if_there(there)
            .body(json!({"properties": {"format": "rawxml", "value": xml}}));
        self.arm.send(&call).map(drop)
    }

    /// The APIs of the service in their current revisions.
    pub fn list_apis(&self) -> Result<Vec<Api>, CallError> {
        let call = Call::new("list the APIs", Method::GET, "/apis");
        let mut apis: Vec<Api> = self.arm.all(&call)?;
        apis.retain(|api| !api.id.contains(";rev="));
        Ok(apis)
    }

    pub fn list_product_apis(&self, id: &ProductId) -> Result<Vec<Api>, CallError> {
        let operation = format!("list the APIs of the product `{id}`");
        let path = format!("{}/apis", path(id));
        self.arm.all(&Call::new(operation, Method::GET, &path))
    }

    /// Opens an API to the subscribers of a product. Doing it again changes nothing.
    pub fn link_product_api(&self, id: &ProductId, api: &str) -> Result<(), CallError> {
        let operation = format!("add the API `{api}` to the product `{id}`");
        let path = format!("{}/apis/{}", path(id), escaped(api));
        self.arm
            .send(&Call::new(operation, Method::PUT, &path))
            .map(drop)
    }

    /// The ids of the groups that see a product in the developer portal.
    pub fn list_product_groups(&self, id: &ProductId) -> Result<Vec<String>, CallError> {
        let operation = format!("list the groups of the product `{id}`");
        let path = format!("{}/groups", path(id));
        let groups: Vec<WireNamed> = self.arm.all(&Call::new(operation, Method::GET, &path))?;
        Ok(groups.into_iter().map(|group| group.name).collect())
    }

    /// Shows a product to a group, such as the built-in `developers` and `guests`. Doing it
    /// again changes nothing.
    pub fn link_product_group(&self, id: &ProductId, group: &str) -> Result<(), CallError> {
        let operation = format!("show the product `{id}` to the group `{group}`");
        let path = format!("{}/groups/{}", path(id), escaped(group));
        self.arm
            .send(&Call::new(operation, Method::PUT, &path))
            .map(drop)
    }
}

fn path(id: &ProductId) -> String {
    format!("/products/{}", escaped(id.as_str()))
}

fn policy_path(id: &ProductId) -> String {
    format!("{}/policies/policy", path(id))
}

#[derive(Deserialize)]
struct WireNamed {
    name: String,
}

impl Keyed for WireNamed {
    fn key(&self) -> String {
        self.name.clone()
    }
}

#[derive(Deserialize)]
struct WirePolicy {
    properties: WirePolicyProperties,
}

#[derive(Deserialize)]
struct WirePolicyProperties {
    value: String,
}

#[derive(Deserialize)]
struct WireProduct {
    name: String,
    properties: WireProductProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProductProperties {
    display_name: Option<String>,
    description: Option<String>,
    terms: Option<String>,
    state: Option<String>,
    subscription_required: Option<bool>,
    approval_required: Option<bool>,
    subscriptions_limit: Option<u32>,
}

impl From<WireProduct> for Product {
    fn from(wire: WireProduct) -> Self {
        let properties = wire.properties;
        Self {
            id: wire.name,
            display_name: properties.display_name.unwrap_or_default(),
            description: properties.description.unwrap_or_default(),
            terms: properties.terms.unwrap_or_default(),
            published: properties.state.as_deref() == Some("published"),
            // Azure's default where it does not say.
            subscription_required: properties.subscription_required.unwrap_or(true),
            approval_required: properties.approval_required.unwrap_or(false),
            subscriptions_limit: properties.subscriptions_limit,
        }
    }
}

#[derive(Deserialize)]
struct WireApi {
    name: String,
    properties: WireApiProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireApiProperties {
    display_name: Option<String>,
    path: Option<String>,
}

impl From<WireApi> for Api {
    fn from(wire: WireApi) -> Self {
        Self {
            id: wire.name,
            display_name: wire.properties.display_name.unwrap_or_default(),
            path: wire.properties.path.unwrap_or_default(),
        }
    }
}
