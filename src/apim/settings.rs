//! The service itself, and whether its developer portal sends people to us.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Apim;
use super::arm::Call;
use crate::outbound::CallError;
use crate::secret::Secret;

const DELEGATION: &str = "/portalsettings/delegation";

/// What the developer portal leaves to us. Changes show only after the portal is published again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireDelegation")]
pub struct Delegation {
    /// Where it sends people.
    pub url: Option<String>,
    /// Whether it leaves subscribing and unsubscribing to us.
    pub subscriptions: bool,
    /// Whether it leaves sign-up, sign-in and accounts to us.
    pub user_registration: bool,
}

/// What the service is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireService")]
pub struct ServiceInfo {
    /// The tier, such as `Developer` or `StandardV2`.
    pub sku: String,
    pub developer_portal_url: Option<String>,
    pub gateway_url: Option<String>,
}

impl Apim {
    pub fn service(&self) -> Result<ServiceInfo, CallError> {
        self.arm
            .json(&Call::new("read the service", Method::GET, ""))
    }

    pub fn delegation(&self) -> Result<Delegation, CallError> {
        let call = Call::new("read the delegation settings", Method::GET, DELEGATION);
        self.arm.json(&call)
    }

    /// The key that the portal signs delegation requests with, in base64; `None` before one is
    /// set.
    pub fn delegation_key(&self) -> Result<Option<Secret>, CallError> {
        let path = format!("{DELEGATION}/listSecrets");
        let call = Call::new("read the delegation key", Method::POST, &path);
        let secrets: WireSecrets = self.arm.json(&call)?;
        Ok(secrets.validation_key.filter(|key| !key.is_empty()))
    }

    /// Sets what the portal leaves to us, and the key it signs with.
    pub fn put_delegation(&self, wanted: &Delegation, key: &Secret) -> Result<(), CallError> {
        let call = Call::new("write the delegation settings", Method::PUT, DELEGATION)
            .if_there(true)
            .body(json!({
                "properties": {
                    "url": wanted.url,
                    "validationKey": key.expose(),
                    "subscriptions": {"enabled": wanted.subscriptions},
                    "userRegistration": {"enabled": wanted.user_registration},
                }
            }));
        self.arm.send(&call).map(drop)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSecrets {
    validation_key: Option<Secret>,
}

#[derive(Deserialize)]
struct WireDelegation {
    properties: WireDelegationProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDelegationProperties {
    url: Option<String>,
    subscriptions: Option<WireSwitch>,
    user_registration: Option<WireSwitch>,
}

#[derive(Deserialize)]
struct WireSwitch {
    #[serde(default)]
    enabled: bool,
}

impl From<WireDelegation> for Delegation {
    fn from(wire: WireDelegation) -> Self {
        let on = |switch: Option<WireSwitch>| switch.is_some_and(|switch| switch.enabled);
        Self {
            url: wire.properties.url.filter(|url| !url.is_empty()),
            subscriptions: on(wire.properties.subscriptions),
            user_registration: on(wire.properties.user_registration),
        }
    }
}

#[derive(Deserialize)]
struct WireService {
    sku: WireSku,
    #[serde(default)]
    properties: WireServiceProperties,
}

#[derive(Deserialize)]
struct WireSku {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireServiceProperties {
    developer_portal_url: Option<String>,
    gateway_url: Option<String>,
}

impl From<WireService> for ServiceInfo {
    fn from(wire: WireService) -> Self {
        Self {
            sku: wire.sku.name,
            developer_portal_url: wire.properties.developer_portal_url,
            gateway_url: wire.properties.gateway_url,
        }
    }
}
