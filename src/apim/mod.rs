//! Azure API Management: every call that the product makes, through Azure Resource Manager
//! (design D1) but for one: usage can also be read from Log Analytics ([`UsageSource`]).
//!
//! Names and rules are those of the REST reference,
//! <https://learn.microsoft.com/rest/api/apimanagement/>, version 2024-05-01 unless the settings
//! say otherwise. Calls block; see [`crate::outbound`]. What may already be there is read before
//! it is written (design D8), so every call can be repeated.

mod arm;
mod logs;
mod products;
mod reports;
mod settings;
mod source;
mod subscriptions;
#[cfg(test)]
mod tests;
mod token;
mod users;

pub use logs::Logs;
pub use products::{Api, NewProduct, Product};
pub use reports::UsageRow;
pub use settings::{Delegation, ServiceInfo};
pub use source::UsageSource;
pub use subscriptions::{KeyKind, Keys, NewSubscription, Subscription, SubscriptionState};
pub use users::{Deletion, NewUser, OUR_NOTE, User, UserState};

use crate::config;
use arm::Arm;

/// One API Management service. Cheap to clone; clones share their connections and their token.
#[derive(Clone)]
pub struct Apim {
    arm: Arm,
}

impl Apim {
    pub fn new(settings: &config::Apim) -> Self {
        Self {
            arm: Arm::new(settings),
        }
    }
}
