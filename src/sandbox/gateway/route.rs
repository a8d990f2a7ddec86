//! Where a call goes: whose key it carries, whether that opens the API, and under which limits.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::limits::{Admitted, Counters};
use super::weather::Operation;
use crate::sandbox::apim::model::{Scope, Subscription, SubscriptionState, UserState};
use crate::sandbox::apim::policy::Limit;
use crate::sandbox::apim::state::{APIS, State};
use crate::sandbox::apim::usage::{Answers, Dimensions};

/// What a refusal of the gateway counts as bandwidth, in bytes.
const REFUSAL_BYTES: u64 = 84;

/// Where calls with one key to one operation go.
pub(super) struct Route {
    /// What the backend answers with, and how many bytes.
    status: u16,
    answer_bytes: u64,
    /// `None` for a key that opens nothing.
    caller: Option<Caller>,
    /// What calls are counted under: nothing when there is no caller.
    pub(super) dimensions: Arc<Dimensions>,
}

struct Caller {
    subscription: String,
    quota_start: DateTime<Utc>,
    limits: Vec<Limit>,
}

impl Route {
    pub(super) fn find(state: &State, key: &str, operation: Operation, now: DateTime<Utc>) -> Self {
        let api = &APIS[0];
        let subscription = state
            .subscriptions
            .values()
            .find(|found| found.primary_key == key || found.secondary_key == key)
            .filter(|found| opens(state, found, api.id));
        let (status, body) = operation.answer(None, now);
        Self {
            status: status.as_u16(),
            answer_bytes: u64::try_from(body.to_string().len()).unwrap_or(u64::MAX),
            caller: subscription.map(|found| Caller::new(state, found)),
            dimensions: Arc::new(subscription.map_or_else(Dimensions::default, |found| {
                Dimensions {
                    subscription: found.id.clone(),
                    product: found.product().unwrap_or_default().to_owned(),
                    user: found.owner.clone().unwrap_or_default(),
                    api: api.id.to_owned(),
                    operation: operation.id().to_owned(),
                    ..Dimensions::default()
                }
            })),
        }
    }

    /// Lets through what may pass, and says what all of it counts as. Without a caller nothing
    /// may.
    pub(super) fn serve(
        &self,
        counters: &mut Counters,
        at: DateTime<Utc>,
        calls: u64,
    ) -> (Option<Admitted>, Answers) {
        let Some(caller) = &self.caller else {
            let mut answers = Answers::default();
            answers.add(401, calls, REFUSAL_BYTES);
            return (None, answers);
        };
        let Caller {
            subscription,
            quota_start,
            limits,
        } = caller;
        let admitted = counters.admit(subscription, *quota_start, limits, at, calls);
        (Some(admitted), self.count(&admitted))
    }

    fn count(&self, admitted: &Admitted) -> Answers {
        let mut answers = Answers::default();
        answers.add(self.status, admitted.served, self.answer_bytes);
        answers.add(429, admitted.over_rate, REFUSAL_BYTES);
        answers.add(403, admitted.over_quota, REFUSAL_BYTES);
        answers
    }
}

impl Caller {
    fn new(state: &State, subscription: &Subscription) -> Self {
        let product = subscription.product().and_then(|id| state.products.get(id));
        let policy = product.and_then(|product| product.policy.as_ref());
        Self {
            subscription: subscription.id.clone(),
            quota_start: subscription.created_at,
            limits: policy
                .map(|policy| policy.limits.limits.clone())
                .unwrap_or_default(),
        }
    }
}

/// Whether a subscription's keys open `api` now.
fn opens(state: &State, subscription: &Subscription, api: &str) -> bool {
    let owner = subscription.owner.as_ref();
    let owner = owner.and_then(|owner| state.users.get(owner));
    let is_blocked = owner.is_some_and(|owner| owner.state == UserState::Blocked);
    let is_in_scope = match &subscription.scope {
        Scope::Service | Scope::AllApis => true,
        Scope::Api(id) => id == api,
        Scope::Product(id) => state
            .products
            .get(id)
            .is_some_and(|product| product.apis.contains(api)),
    };
    subscription.state == SubscriptionState::Active && !is_blocked && is_in_scope
}
