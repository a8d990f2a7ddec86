//! From what Stripe says of a subscription now, and what we knew, to our record of it. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalogue::naming;
use crate::ids::{ProductId, SubscriptionName, UserId};
use crate::lifecycle::{self, Access, Known, Status, StripeState};
use crate::store::subscriptions::{Meter, Period, Subscription};
use crate::stripe;

/// Where our metadata on a Stripe subscription says whose it is and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ownership {
    pub user_id: UserId,
    pub product_id: ProductId,
    pub name: SubscriptionName,
    pub checkout_id: Option<String>,
}

impl Ownership {
    /// Reads the metadata that checkout wrote. `None` for a subscription that is not ours: the
    /// account at Stripe may serve other programs too.
    pub(super) fn read(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| metadata.get(name).map(String::as_str);
        let product_id = ProductId::parse(text(naming::METADATA_PRODUCT)?).ok()?;
        let name = text(naming::METADATA_NAME).unwrap_or_default();
        Some(Self {
            user_id: UserId::parse(text(naming::METADATA_USER)?).ok()?,
            name: SubscriptionName::parse(name)
                .or_else(|_| SubscriptionName::parse(product_id.as_str()))
                .ok()?,
            product_id,
            checkout_id: text(naming::METADATA_CHECKOUT).map(str::to_owned),
        })
    }

    /// As our own record of the subscription has it.
    pub(super) fn of(known: &Subscription) -> Self {
        Self {
            user_id: known.user_id.clone(),
            product_id: known.product_id.clone(),
            name: known.name.clone(),
            checkout_id: known.checkout_id.clone(),
        }
    }
}

/// Our record of the subscription as of `now`, with the access that is due decided.
pub(super) fn observe(
    stripe: &stripe::Subscription,
    owner: Ownership,
    known: Option<&Subscription>,
    past_due_grace: TimeDelta,
    now: DateTime<Utc>,
) -> Subscription {
    let status = Status::parse(stripe.status.as_str());
    let past_due_since = (status == Status::PastDue)
        .then(|| known.and_then(|known| known.past_due_since).unwrap_or(now));
    let state = StripeState {
        status,
        created: stripe.created,
        trial_end: stripe.trial_end,
        cancel_at: stripe.cancel_at,
        ended_at: stripe.ended_at,
        cancellation_reason: stripe.cancellation_reason.as_deref(),
        pause: stripe.pause,
        collection_pause: stripe.collection_pause,
    };
    let period = period(stripe);
    let budget_stop = known.and_then(|known| known.budget_stop);
    let stopped = period.filter(|period| Some(period.start) == budget_stop);
    let access = Known {
        access: known.map_or(Access::None, access_so_far),
        past_due_since,
        budget_used_until: stopped.map(|period| period.end),
    };
    let was_unpaid = known.is_some_and(|known| known.drafts_left);
    let drafts_left = status == Status::Unpaid || (was_unpaid && status.is_live());
    let decision = lifecycle::decide(state, access, past_due_grace, now);
    Subscription {
        id: stripe.id.clone(),
        meter: meter(stripe, &owner.product_id),
        user_id: owner.user_id,
        product_id: owner.product_id,
        name: owner.name,
        checkout_id: owner.checkout_id,
        customer_id: Some(stripe.customer.clone()),
        stripe_status: Some(stripe.status.as_str().to_owned()),
        started_at: stripe.created,
        period,
        cancel_at: stripe.cancel_at,
        ended_at: stripe.ended_at,
        past_due_since,
        drafts_left,
        wanted: decision.access,
        reason: decision.reason,
        applied: known.and_then(|known| known.applied),
        recheck_at: decision.recheck_at,
        attempts: known.map_or(0, |known| known.attempts),
        problem: known.and_then(|known| known.problem.clone()),
        budget_stop,
        updated_at: now,
    }
}

/// All items of a subscription of ours have the same period; the longest-lived is taken.
fn period(stripe: &stripe::Subscription) -> Option<Period> {
    let ends_last = stripe.items.iter().max_by_key(|item| item.period_end)?;
    Some(Period {
        start: ends_last.period_start,
        end: ends_last.period_end,
    })
}

fn meter(stripe: &stripe::Subscription, product_id: &ProductId) -> Option<Meter> {
    let id = stripe.items.iter().find_map(|item| item.meter.clone())?;
    Some(Meter {
        id,
        event_name: naming::meter_event_name(product_id),
    })
}

/// The access that is in place, as far as we know. Where nothing was noted as put in place, what we
/// were about to put there may be: a process can be killed between the call and its note.
fn access_so_far(known: &Subscription) -> Access {
    let noted = known.applied.filter(|applied| *applied != Access::None);
    noted.unwrap_or(known.wanted)
}
