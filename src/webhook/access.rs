//! Puts the wanted access in place in APIM. Every step can be repeated.

use crate::apim::{Apim, NewSubscription, SubscriptionState};
use crate::lifecycle::Access;
use crate::outbound::CallError;
use crate::store::subscriptions::Subscription;

/// What has to be done in APIM, given what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Create,
    Change(SubscriptionState),
}

/// Decides the step. Nothing is created only to be taken away again: where APIM has no
/// subscription and none is to be active, there is nothing to do.
pub(super) fn step(wanted: Access, actual: Option<SubscriptionState>) -> Step {
    let target = match wanted {
        Access::Active => SubscriptionState::Active,
        // Nothing was ever granted by us; if APIM has one all the same, it must not work.
        Access::None | Access::Suspended => SubscriptionState::Suspended,
        Access::Cancelled => SubscriptionState::Cancelled,
    };
    match actual {
        None if wanted == Access::Active => Step::Create,
        None => Step::Nothing,
        Some(actual) if actual == target => Step::Nothing,
        Some(_) => Step::Change(target),
    }
}

/// Brings the APIM subscription to the access that `subscription` wants.
///
/// The APIM subscription has the id of the Stripe subscription, and is looked up before it is
/// created: a second PUT might give it new keys.
pub(super) fn apply(apim: &Apim, subscription: &Subscription) -> Result<(), CallError> {
    let actual = apim
        .get_subscription(&subscription.id)?
        .map(|found| found.state);
    match step(subscription.wanted, actual) {
        Step::Nothing => Ok(()),
        Step::Create => {
            let new = NewSubscription {
                id: subscription.id.clone(),
                owner: subscription.user_id.clone(),
                product: subscription.product_id.clone(),
                display_name: subscription.name.clone(),
            };
            apim.put_subscription(&new).map(drop)
        }
        Step::Change(state) => {
            apim.set_subscription_state(&subscription.id, &state, &subscription.reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Step, SubscriptionState as State, step};

    #[test]
    fn only_what_differs_is_touched_and_only_active_creates() {
        let rows = [
            (Access::Active, None, Step::Create),
            (Access::Active, Some(State::Active), Step::Nothing),
            (
                Access::Active,
                Some(State::Suspended),
                Step::Change(State::Active),
            ),
            (
                Access::Active,
                Some(State::Cancelled),
                Step::Change(State::Active),
            ),
            (
                Access::Active,
                Some(State::Submitted),
                Step::Change(State::Active),
            ),
            (Access::Suspended, None, Step::Nothing),
            (
                Access::Suspended,
                Some(State::Active),
                Step::Change(State::Suspended),
            ),
            (
                Access::Cancelled,
                Some(State::Active),
                Step::Change(State::Cancelled),
            ),
            (Access::Cancelled, Some(State::Cancelled), Step::Nothing),
            (Access::None, None, Step::Nothing),
            (
                Access::None,
                Some(State::Active),
                Step::Change(State::Suspended),
            ),
        ];
        for (wanted, actual, expected) in rows {
            let name = format!("{wanted:?} {actual:?}");
            assert_eq!(step(wanted, actual), expected, "{name}");
        }
    }
}
