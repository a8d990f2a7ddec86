//! The state of the sandbox's API Management service, and the plain functions on it that the
//! developer portal, the gateway and the console use. The management API works on the same state.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::logs::Logs;
use super::model::{
    Api, Delegation, Group, Product, Scope, Subscription, SubscriptionState, User, UserState,
};
use super::usage::{Answers, Counts, Dimensions, Stragglers, Usage};
use super::{Azure, entra, sso};

/// The delegation validation key until another is put: the bytes 0 to 63, base64.
pub const VALIDATION_KEY: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
/// The user that every service has from the start.
pub const ADMINISTRATOR_ID: &str = "1";
/// The subscription that every service has from the start; its keys open everything.
pub const MASTER_SUBSCRIPTION_ID: &str = "master";

/// Azure does not say how large its pages are.
const PAGE_SIZE: usize = 100;

pub const APIS: [Api; 1] = [Api {
    id: "weather",
    display_name: "Weather API",
    description: "Today's and tomorrow's weather. An example API to spend calls on.",
    path: "weather",
}];

pub const GROUPS: [Group; 3] = [
    Group {
        id: "administrators",
        display_name: "Administrators",
        description: "Administrators is a built-in group containing the admin email account \
                      provided at the time of service creation.",
    },
    Group {
        id: "developers",
        display_name: "Developers",
        description: "Developers is a built-in group. Its membership is managed by the system. \
                      Signed-in users fall into this group.",
    },
    Group {
        id: "guests",
        display_name: "Guests",
        description: "Guests is a built-in group. Its membership is managed by the system. \
                      Unauthenticated users visiting the developer portal fall into this group.",
    },
];

/// Which of a subscription's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Primary,
    Secondary,
}

/// Everything in the service. Only ever seen behind [`Azure::state`].
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    pub users: BTreeMap<String, User>,
    pub products: BTreeMap<String, Product>,
    pub subscriptions: BTreeMap<String, Subscription>,
    pub delegation: Delegation,
    pub usage: Usage,
    /// The same calls as the diagnostic setting sends them to Log Analytics.
    #[serde(default)]
    pub logs: Logs,
    /// Deletions that a client may still ask after, by id: how often it is told to wait.
    pub deletions: BTreeMap<String, u32>,
    /// Digests of the passwords of users, by their ids.
    #[serde(default)]
    pub(super) passwords: BTreeMap<String, String>,
    /// How many rows one answer of the management API carries at most.
    pub page_size: usize,
    /// How long an access token lasts.
    #[serde(default = "entra::default_lifetime")]
    pub(super) token_lifetime: TimeDelta,
    /// Signs the developer portal's sign-in tokens.
    sso_key: String,
    /// The last version given out; see [`State::next_version`].
    version: u64,
}

impl State {
    /// A service that was just created at `now`.
    pub fn fresh(now: DateTime<Utc>) -> Self {
        let administrator = User {
            id: ADMINISTRATOR_ID.to_owned(),
            email: "admin@sandbox.example".to_owned(),
            first_name: "Administrator".to_owned(),
            last_name: String::new(),
            state: UserState::Active,
            note: None,
            registered_at: now,
            version: 1,
        };
        let master = Subscription {
            id: MASTER_SUBSCRIPTION_ID.to_owned(),
            owner: None,
            scope: Scope::Service,
            display_name: Some("Built-in all-access subscription".to_owned()),
            state: SubscriptionState::Active,
            created_at: now,
            expires_at: None,
            state_comment: None,
            allow_tracing: true,
            primary_key: new_key(),
            secondary_key: new_key(),
            version: 2,
        };
        let delegation = Delegation {
            url: None,
            user_registration_enabled: false,
            subscriptions_enabled: false,
            validation_key: VALIDATION_KEY.to_owned(),
            version: 3,
        };
        Self {
            users: BTreeMap::from([(administrator.id.clone(), administrator)]),
            products: BTreeMap::new(),
            subscriptions: BTreeMap::from([(master.id.clone(), master)]),
            delegation,
            usage: Usage::default(),
            logs: Logs::default(),
            deletions: BTreeMap::new(),
            passwords: BTreeMap::new(),
            page_size: PAGE_SIZE,
            token_lifetime: entra::default_lifetime(),
            sso_key: new_validation_key(),
            version: 3,
        }
    }

    /// Counts calls that the gateway answered at `at`, for the reports and for the logs.
    pub fn record(&mut self, at: DateTime<Utc>, dimensions: &Dimensions, answers: &Answers) {
        for (status, counts) in answers.iter() {
            let dimensions = Arc::new(Dimensions {
                status,
                ..dimensions.clone()
            });
            self.logs.record(at, Arc::clone(&dimensions), counts);
            self.usage.record(at, dimensions, counts);
        }
    }

    /// The version of something that has just changed.
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn sso_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA512, self.sso_key.as_bytes())
    }

    /// Changes a subscription as its owner does in the developer portal.
    fn change(&mut self, id: &str, change: impl FnOnce(&mut Subscription)) -> bool {
        let version = self.next_version();
        let Some(subscription) = self.subscriptions.get_mut(id) else {
            return false;
        };
        change(subscription);
        subscription.version = version;
        true
    }
}

/// For the portal, the gateway, the console and tests.
impl Azure {
    /// The state, locked. Nothing may be awaited while it is held.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All products by id, unpublished ones too.
    pub fn products(&self) -> Vec<Product> {
        self.state().products.values().cloned().collect()
    }

    pub fn product(&self, id: &str) -> Option<Product> {
        self.state().products.get(id).cloned()
    }

    pub fn users(&self) -> Vec<User> {
        self.state().users.values().cloned().collect()
    }

    pub fn user(&self, id: &str) -> Option<User> {
        self.state().users.get(id).cloned()
    }

    /// All subscriptions by id, with their keys; the built-in one too.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.state().subscriptions.values().cloned().collect()
    }

    pub fn subscription(&self, id: &str) -> Option<Subscription> {
        self.state().subscriptions.get(id).cloned()
    }

    /// The subscriptions that the user with id `user` owns, whatever their state, with their keys.
    pub fn subscriptions_of(&self, user: &str) -> Vec<Subscription> {
        let state = self.state();
        let owned = state
            .subscriptions
            .values()
            .filter(|subscription| subscription.owner.as_deref() == Some(user));
        owned.cloned().collect()
    }

    /// Cancels as the owner does in the portal; `false` when there is no such subscription.
    pub fn cancel_subscription(&self, id: &str) -> bool {
        self.state().change(id, |subscription| {
            subscription.state = SubscriptionState::Cancelled;
        })
    }

    /// Renames as the owner does in the portal; `false` when there is no such subscription.
    pub fn rename_subscription(&self, id: &str, name: &str) -> bool {
        self.state().change(id, |subscription| {
            subscription.display_name = Some(name.to_owned());
        })
    }

    /// Replaces one key; the old one opens nothing any more.
    pub fn regenerate_key(&self, id: &str, kind: KeyKind) -> bool {
        self.state().change(id, |subscription| match kind {
            KeyKind::Primary => subscription.primary_key = new_key(),
            KeyKind::Secondary => subscription.secondary_key = new_key(),
        })
    }

    pub fn delegation(&self) -> Delegation {
        self.state().delegation.clone()
    }

    /// Hands sign-in and subscriptions over to `url`, as an operator does in Azure's own portal.
    pub fn set_delegation(&self, url: &str) {
        let mut state = self.state();
        let version = state.next_version();
        state.delegation.url = Some(url.to_owned());
        state.delegation.user_registration_enabled = true;
        state.delegation.subscriptions_enabled = true;
        state.delegation.version = version;
    }

    /// A token that signs the user with id `user` in to the developer portal until `expiry`.
    pub fn mint_sso_token(&self, user: &str, expiry: DateTime<Utc>) -> String {
        sso::mint(&self.state().sso_key(), user, expiry)
    }

    /// The id of the user whom `token` signs in at `now`, if it is true and not over.
    pub fn check_sso_token(&self, token: &str, now: DateTime<Utc>) -> Option<String> {
        sso::check(&self.state().sso_key(), token, now)
    }

    pub fn reports_lag(&self) -> TimeDelta {
        self.state().usage.lag()
    }

    /// How old a call must be before a report shows it.
    pub fn set_reports_lag(&self, lag: TimeDelta) {
        self.state().usage.set_lag(lag);
    }

    /// How old a call must be before a query of the logs finds it.
    pub fn logs_lag(&self) -> TimeDelta {
        self.state().logs.lag()
    }

    pub fn set_logs_lag(&self, lag: TimeDelta) {
        self.state().logs.set_lag(lag);
    }

    pub fn stragglers(&self) -> Stragglers {
        self.state().usage.stragglers()
    }

    /// From now on, lets a part of the calls show up late, in the reports and in the logs.
    pub fn set_stragglers(&self, stragglers: Stragglers) {
        let mut state = self.state();
        state.usage.set_stragglers(stragglers);
        state.logs.set_stragglers(stragglers);
    }

    /// Whether calls arrive twice in the logs, and how many of a hundred never do.
    pub fn logs_trouble(&self) -> (bool, u8) {
        self.state().logs.trouble()
    }

    /// From now on, lets every call arrive twice in the logs, or only once again.
    pub fn duplicate_logs(&self, duplicated: bool) {
        self.state().logs.set_duplicated(duplicated);
    }

    /// From now on, lets so many of a hundred calls never arrive in the logs.
    pub fn lose_logs(&self, percent: u8) {
        self.state().logs.set_lost_percent(percent);
    }

    /// Makes the management API answer in pages of at most `rows`.
    pub fn set_page_size(&self, rows: usize) {
        self.state().page_size = rows.max(1);
    }

    /// Lets access tokens last so long from now on. A tenant's policy can ask for ten minutes to a
    /// day (<https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes>).
    pub fn set_token_lifetime(&self, lifetime: TimeDelta) {
        self.state().token_lifetime = lifetime;
    }

    /// The true call counts by subscription id, without lag; calls without a valid key are under
    /// the empty text.
    pub fn usage(&self) -> BTreeMap<String, Counts> {
        self.state().usage.by_subscription()
    }
}

/// A random subscription key, as Azure makes them: 32 hexadecimal digits.
pub fn new_key() -> String {
    let mut bytes = [0_u8; 16];
    random(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A random key that signs one kind of token.
pub fn new_signing_key() -> hmac::Key {
    let mut bytes = [0_u8; 64];
    random(&mut bytes);
    hmac::Key::new(hmac::HMAC_SHA512, &bytes)
}

/// A random validation key, as Azure makes them: base64 of 64 bytes.
pub fn new_validation_key() -> String {
    let mut bytes = [0_u8; 64];
    random(&mut bytes);
    STANDARD.encode(bytes)
}

fn random(bytes: &mut [u8]) {
    SystemRandom::new()
        .fill(bytes)
        .expect("the operating system has random numbers");
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::{Azure, KeyKind, SubscriptionState};
    use crate::sandbox::apim::testing;

    fn azure() -> Azure {
        testing::azure(Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap())
    }

    #[test]
    fn a_fresh_service_has_an_administrator_a_master_subscription_and_nothing_else() {
        let azure = azure();
        assert_eq!(azure.users().len(), 1);
        assert_eq!(azure.subscriptions().len(), 1);
        assert_eq!(azure.products(), []);
        assert_eq!(azure.delegation().url, None);
    }

    #[test]
    fn a_regenerated_key_is_another_one_and_the_other_key_stays() {
        let azure = azure();
        let before = azure.subscription("master").unwrap();
        assert!(azure.regenerate_key("master", KeyKind::Secondary));
        let after = azure.subscription("master").unwrap();
        assert_eq!(after.primary_key, before.primary_key);
        assert_ne!(after.secondary_key, before.secondary_key);
        assert!(after.version > before.version);
    }

    #[test]
    fn what_does_not_exist_cannot_be_cancelled() {
        let azure = azure();
        assert!(!azure.cancel_subscription("nobody"));
        assert!(azure.cancel_subscription("master"));
        let state = azure.subscription("master").unwrap().state;
        assert_eq!(state, SubscriptionState::Cancelled);
    }

    #[test]
    fn setting_the_delegation_address_turns_both_kinds_on() {
        let azure = azure();
        azure.set_delegation("http://127.0.0.1:1/delegation");
        let delegation = azure.delegation();
        assert!(delegation.user_registration_enabled && delegation.subscriptions_enabled);
    }
}
