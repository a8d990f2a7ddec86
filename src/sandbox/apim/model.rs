//! What the sandbox's API Management service keeps: users, products, subscriptions, settings.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::policy::Limits;

/// A developer account. Its password is kept apart; only the developer portal's own sign-in asks for
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub state: UserState,
    pub note: Option<String>,
    pub registered_at: DateTime<Utc>,
    /// Counts up with each change of anything in the service; the `ETag` shows it.
    pub version: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserState {
    Active,
    Blocked,
    Pending,
    Deleted,
}

/// A product, with its policy and with the APIs and groups linked to it (by id).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    pub id: String,
    pub display_name: String,
    pub description: Option<String>,
    pub terms: Option<String>,
    pub subscription_required: bool,
    pub approval_required: Option<bool>,
    /// How many live subscriptions one user may have; any number when absent.
    pub subscriptions_limit: Option<u32>,
    pub state: ProductState,
    pub apis: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    pub policy: Option<Policy>,
    pub version: u64,
}

impl Product {
    /// Whether the developer portal shows it to developers.
    pub fn is_published(&self) -> bool {
        self.state == ProductState::Published
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProductState {
    NotPublished,
    Published,
}

/// A policy document as it was put, and what of it the gateway enforces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub xml: String,
    pub limits: Limits,
    pub version: u64,
}

/// A subscription with its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub id: String,
    /// The user's id; the built-in all-access subscription has none.
    pub owner: Option<String>,
    pub scope: Scope,
    pub display_name: Option<String>,
    pub state: SubscriptionState,
    /// Quota windows begin here.
    pub created_at: DateTime<Utc>,
    /// For the record only: nothing expires by itself.
    pub expires_at: Option<DateTime<Utc>>,
    pub state_comment: Option<String>,
    pub allow_tracing: bool,
    pub primary_key: String,
    pub secondary_key: String,
    pub version: u64,
}

impl Subscription {
    /// The product that the subscription opens, when it opens one.
    pub fn product(&self) -> Option<&str> {
        match &self.scope {
            Scope::Product(id) => Some(id),
            Scope::Service | Scope::AllApis | Scope::Api(_) => None,
        }
    }
}

/// What a subscription's keys open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Everything: only the built-in `master` subscription.
    Service,
    AllApis,
    Api(String),
    Product(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscriptionState {
    Suspended,
    Active,
    Expired,
    Submitted,
    Rejected,
    Cancelled,
}

impl SubscriptionState {
    /// As the management API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Submitted => "submitted",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it counts against a product's limit per user.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Submitted | Self::Suspended)
    }
}

/// An API of the gateway. The sandbox has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    pub id: &'static str,
    pub display_name: &'static str,
    pub description: &'static str,
    /// Below the gateway's address, without slashes.
    pub path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: &'static str,
    pub display_name: &'static str,
    pub description: &'static str,
}

/// Whether and where the developer portal hands sign-in and subscriptions over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    pub url: Option<String>,
    /// Sign-in, sign-up and the account's other pages.
    pub user_registration_enabled: bool,
    pub subscriptions_enabled: bool,
    /// Base64 of the key that signs delegation requests.
    pub validation_key: String,
    pub version: u64,
}
