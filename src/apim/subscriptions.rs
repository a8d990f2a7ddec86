//! Subscriptions: the keys that open a product, and the state that shuts them.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Apim;
use super::arm::{Call, Keyed, bare, escaped};
use crate::ids::{ProductId, SubscriptionName, UserId};
use crate::outbound::CallError;
use crate::secret::Secret;

/// The state of a subscription. Only an active one lets calls through; nothing changes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum SubscriptionState {
    Active,
    Suspended,
    Cancelled,
    Submitted,
    Rejected,
    Expired,
    /// A word that a newer version of Azure uses.
    Unknown(String),
}

/// A subscription to create, active from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubscription {
    /// Up to 256 characters, none of `*#&+:<>?`.
    pub id: String,
    pub owner: UserId,
    pub product: ProductId,
    pub display_name: SubscriptionName,
}

/// A subscription, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireSubscription")]
pub struct Subscription {
    pub id: String,
    /// `None` for the built-in one, and for owners whose id we could never have given.
    pub owner: Option<UserId>,
    /// `None` where it opens an API, or all of them, instead of a product.
    pub product: Option<ProductId>,
    pub display_name: Option<String>,
    pub state: SubscriptionState,
    pub state_comment: Option<String>,
    pub created: Option<DateTime<Utc>>,
}

/// The two keys of a subscription; either opens its product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    #[serde(rename = "primaryKey")]
    pub primary: Secret,
    #[serde(rename = "secondaryKey")]
    pub secondary: Secret,
}

/// Which of the two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Primary,
    Secondary,
}

impl KeyKind {
    /// The word for it in addresses and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Primary, Self::Secondary]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

impl Keys {
    pub fn of(&self, kind: KeyKind) -> &Secret {
        match kind {
            KeyKind::Primary => &self.primary,
            KeyKind::Secondary => &self.secondary,
        }
    }
}

impl SubscriptionState {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Submitted => "submitted",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Unknown(word) => word,
        }
    }
}

impl From<String> for SubscriptionState {
    fn from(word: String) -> Self {
        match word.as_str() {
            "active" => Self::Active,
            "suspended" => Self::Suspended,
            "cancelled" => Self::Cancelled,
            "submitted" => Self::Submitted,
            "rejected" => Self::Rejected,
            "expired" => Self::Expired,
            _ => Self::Unknown(word),
        }
    }
}

impl Keyed for Subscription {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Apim {
    pub fn get_subscription(&self, id: &str) -> Result<Option<Subscription>, CallError> {
        let operation = format!("read the subscription `{id}`");
        self.arm.find(&Call::new(operation, Method::GET, &path(id)))
    }

    pub fn list_subscriptions(&self) -> Result<Vec<Subscription>, CallError> {
        let call = Call::new("list the subscriptions", Method::GET, "/subscriptions");
        self.arm.all(&call)
    }

    /// Creates the subscription unless it is there; one that is there is returned as it is. It
    /// is never written twice, because that might change its keys.
    pub fn put_subscription(&self, new: &NewSubscription) -> Result<Subscription, CallError> {
        if let Some(subscription) = self.get_subscription(&new.id)? {
            return Ok(subscription);
        }
        let operation = format!("create the subscription `{}`", new.id);
        let call = Call::new(operation, Method::PUT, &path(&new.id)).body(json!({
            "properties": {
                "ownerId": format!("/users/{}", new.owner),
                "scope": format!("/products/{}", new.product),
                "displayName": new.display_name.as_str(),
                // Left out, it would be `submitted`, which opens nothing.
                "state": SubscriptionState::Active.as_str(),
            }
        }));
        self.arm.json(&call)
    }

    /// Sets the state of a subscription that is there. `comment` says why, for administrators.
    pub fn set_subscription_state(
        &self,
        id: &str,
        state: &SubscriptionState,
        comment: &str,
    ) -> Result<(), CallError> {
        let operation = format!("make the subscription `{id}` {}", state.as_str());
        let call = Call::new(operation, Method::PATCH, &path(id))
            .if_there(true)
            .body(json!({
                "properties": {"state": state.as_str(), "stateComment": comment}
            }));
        self.arm.done::<Subscription>(&call)
    }

    pub fn keys(&self, id: &str) -> Result<Keys, CallError> {
        let operation = format!("read the keys of the subscription `{id}`");
        let path = format!("{}/listSecrets", path(id));
        self.arm.json(&Call::new(operation, Method::POST, &path))
    }

    /// Makes a new key in place of one, which stops working at once; the other stays.
    ///
    /// Each call makes another key, so it is sent only once. When the outcome is unknown,
    /// [`Apim::keys`] tells.
    pub fn regenerate_key(&self, id: &str, kind: KeyKind) -> Result<(), CallError> {
        let operation = format!(
            "regenerate the {} key of the subscription `{id}`",
            kind.word()
        );
        let action = match kind {
            KeyKind::Primary => "regeneratePrimaryKey",
            KeyKind::Secondary => "regenerateSecondaryKey",
        };
        let path = format!("{}/{action}", path(id));
        let call = Call::new(operation, Method::POST, &path).once();
        self.arm.send(&call).map(drop)
    }
}

fn path(id: &str) -> String {
    format!("/subscriptions/{}", escaped(id))
}

#[derive(Deserialize)]
struct WireSubscription {
    name: String,
    properties: WireProperties,
}

/// The keys, which the answer to a PUT holds, are left unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProperties {
    owner_id: Option<String>,
    scope: Option<String>,
    display_name: Option<String>,
    state: SubscriptionState,
    state_comment: Option<String>,
    created_date: Option<DateTime<Utc>>,
}

impl From<WireSubscription> for Subscription {
    fn from(wire: WireSubscription) -> Self {
        let properties = wire.properties;
        let owner = properties.owner_id.as_deref().and_then(bare);
        Self {
            id: wire.name,
            owner: owner.and_then(|id| UserId::parse(id).ok()),
            product: properties.scope.as_deref().and_then(product),
            display_name: properties.display_name,
            state: properties.state,
            state_comment: properties.state_comment,
            created: properties.created_date,
        }
    }
}

/// The product of a scope `/products/{id}`, short or as a full ARM id.
fn product(scope: &str) -> Option<ProductId> {
    let (parent, id) = scope.rsplit_once('/')?;
    let is_product = parent.rsplit('/').next() == Some("products");
    is_product.then(|| ProductId::parse(id).ok()).flatten()
}
