//! One subscription as Stripe, the store and APIM have it, and in what they differ. Pure.
//!
//! What is due is decided by the functions that decide it for events: [`observe`] and
//! [`access::step`]. Here is only said whether they would change anything.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::apim::{self, SubscriptionState};
use crate::lifecycle::{Access, Status};
use crate::store::subscriptions::{Subscription, Unreadable};
use crate::stripe;
use crate::webhook::access::{self, Step};
use crate::webhook::observe::{Ownership, observe};

/// How ids of subscriptions begin in which Stripe has no part.
pub(super) const FREE: &str = "free_";
/// How Stripe's ids begin.
const STRIPES: &str = "sub_";

/// One subscription, looked at from three sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Sides {
    pub(super) stripe: Option<stripe::Subscription>,
    pub(super) ours: Option<Subscription>,
    /// Our record is there, and cannot be read.
    pub(super) unreadable: bool,
    pub(super) apim: Option<apim::Subscription>,
}

/// How a difference is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// As an event about it would: the worker looks at Stripe and puts the access in place.
    LookAgain,
    /// A free subscription's access is put in place.
    PutInPlace,
    /// A free subscription that only APIM knows is written down.
    TakeOver,
    /// Not by this program.
    Person,
}

/// In what a subscription differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// A clause without the subscription's id and without a full stop.
    pub(super) text: String,
    pub(super) repair: Repair,
}

impl Difference {
    fn new(repair: Repair, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, repair }
    }
}

/// The subscriptions of all three sides, by id. Those of APIM that we cannot have made are left
/// out.
pub(super) fn by_id(
    stripe: Vec<stripe::Subscription>,
    (ours, unreadable): (Vec<Subscription>, Vec<Unreadable>),
    apim: Vec<apim::Subscription>,
) -> BTreeMap<String, Sides> {
    let mut sides: BTreeMap<String, Sides> = BTreeMap::new();
    for subscription in ours {
        let id = subscription.id.clone();
        sides.entry(id).or_default().ours = Some(subscription);
    }
    for row in unreadable {
        sides.entry(row.id).or_default().unreadable = true;
    }
    for subscription in apim {
        let id = subscription.id.clone();
        if id.starts_with(FREE) || id.starts_with(STRIPES) || sides.contains_key(&id) {
            sides.entry(id).or_default().apim = Some(subscription);
        }
    }
    for subscription in stripe {
        let id = subscription.id.clone();
        sides.entry(id).or_default().stripe = Some(subscription);
    }
    sides
}

/// In what the sides differ at `now`; `None` where there is nothing to do.
pub(super) fn difference(
    id: &str,
    sides: &Sides,
    past_due_grace: TimeDelta,
    now: DateTime<Utc>,
) -> Option<Difference> {
    match &sides.stripe {
        Some(stripe) => of_stripes(stripe, sides, past_due_grace, now),
        None if id.starts_with(FREE) => of_a_free_one(sides),
        None => unknown_to_stripe(sides),
    }
}

fn of_stripes(
    stripe: &stripe::Subscription,
    sides: &Sides,
    past_due_grace: TimeDelta,
    now: DateTime<Utc>,
) -> Option<Difference> {
    let known = sides.ours.as_ref();
    let owner = Ownership::read(&stripe.metadata).or_else(|| known.map(Ownership::of));
    let Some(owner) = owner else {
        // The account at Stripe may serve other programs; but none of them gives access here.
        let apim = sides.apim.as_ref()?;
        let state = apim.state.as_str();
        let text =
            format!("APIM has it ({state}), and at Stripe it does not say that it is Tollhouse's");
        return Some(Difference::new(Repair::Person, text));
    };
    let status = stripe.status.as_str();
    if sides.unreadable {
        let text = "the store's record of it makes no sense";
        return Some(Difference::new(Repair::LookAgain, text));
    }
    let Some(known) = known else {
        let text = format!("Stripe has it ({status}), the store does not");
        return Some(Difference::new(Repair::LookAgain, text));
    };
    let record = observe(stripe, owner, Some(known), past_due_grace, now);
    let told = known.stripe_status.as_deref().unwrap_or("free");
    let what = if told != status {
        format!("Stripe has it as {status}, the store as {told}")
    } else if lasting(&record) != lasting(known) {
        "the store's record of it is out of date".to_owned()
    } else {
        return out_of_place(&record, sides.apim.as_ref(), Repair::LookAgain);
    };
    Some(Difference::new(Repair::LookAgain, what))
}

/// What of a record says something about the subscription, and not about our work on it.
fn lasting(record: &Subscription) -> Subscription {
    Subscription {
        reason: String::new(),
        recheck_at: None,
        attempts: 0,
        problem: None,
        updated_at: DateTime::UNIX_EPOCH,
        ..record.clone()
    }
}

/// Where APIM has another state than the record wants, or the record does not know that it has it.
fn out_of_place(
    record: &Subscription,
    apim: Option<&apim::Subscription>,
    repair: Repair,
) -> Option<Difference> {
    let wanted = record.wanted.word();
    let actual = apim.map(|apim| apim.state.clone());
    match access::step(record.wanted, actual.clone()) {
        Step::Create => Some(Difference::new(
            repair,
            format!("access should be {wanted}, and APIM does not have it"),
        )),
        Step::Change(_) => {
            let actual = actual.as_ref().map_or("missing", SubscriptionState::as_str);
            let text = format!("access should be {wanted}, and is {actual} in APIM");
            Some(Difference::new(repair, text))
        }
        Step::Nothing if record.applied != Some(record.wanted) => Some(Difference::new(
            repair,
            format!("nobody noted that access is {wanted}"),
        )),
        Step::Nothing => None,
    }
}

fn of_a_free_one(sides: &Sides) -> Option<Difference> {
    match (&sides.ours, &sides.apim) {
        (Some(ours), apim) => out_of_place(ours, apim.as_ref(), Repair::PutInPlace),
        (None, Some(apim)) if apim.owner.is_some() && apim.product.is_some() => {
            let state = apim.state.as_str();
            let text = if sides.unreadable {
                format!("APIM has it ({state}), and the store's record of it makes no sense")
            } else {
                format!("APIM has it ({state}), the store does not")
            };
            Some(Difference::new(Repair::TakeOver, text))
        }
        (None, Some(apim)) => {
            let state = apim.state.as_str();
            let text = format!("APIM has it ({state}) without an owner or a product");
            Some(Difference::new(Repair::Person, text))
        }
        (None, None) => Some(Difference::new(
            Repair::Person,
            "the store's record of it makes no sense, and nobody else has it",
        )),
    }
}

fn unknown_to_stripe(sides: &Sides) -> Option<Difference> {
    let state = |apim: &apim::Subscription| apim.state.as_str().to_owned();
    let text = match (&sides.ours, &sides.apim) {
        // What has ended may be forgotten.
        (Some(ours), _) if ours.ended_at.is_some() => return None,
        (Some(ours), _) => {
            let told = ours.stripe_status.as_deref().unwrap_or("free");
            format!("the store has it ({told}), Stripe does not")
        }
        (None, Some(apim)) if sides.unreadable => format!(
            "the store's record of it makes no sense, APIM has it ({}), Stripe does not",
            state(apim)
        ),
        (None, Some(apim)) => {
            let state = state(apim);
            format!(
                "APIM has it ({state}), and neither Stripe nor the store does; delete it there if \
                 nobody pays for it"
            )
        }
        (None, None) => {
            "the store's record of it makes no sense, and nobody else has it".to_owned()
        }
    };
    Some(Difference::new(Repair::Person, text))
}

/// Our record of a subscription of which nothing is known here, with the access that APIM shows:
/// what is there was granted once, by a store that is lost.
///
/// A payment that failed long ago is taken to have failed when the period began, where APIM shows
/// that the grace is over already.
pub(in crate::webhook) fn as_found(
    record: Subscription,
    state: &SubscriptionState,
) -> Subscription {
    let applied = match state {
        SubscriptionState::Active => Access::Active,
        SubscriptionState::Cancelled | SubscriptionState::Rejected | SubscriptionState::Expired => {
            Access::Cancelled
        }
        SubscriptionState::Suspended
        | SubscriptionState::Submitted
        | SubscriptionState::Unknown(_) => Access::Suspended,
    };
    let is_past_due = record.stripe_status.as_deref().map(Status::parse) == Some(Status::PastDue);
    let past_due_since = match record.period {
        Some(period) if is_past_due && applied != Access::Active => Some(period.start),
        Some(_) | None => record.past_due_since,
    };
    Subscription {
        applied: Some(applied),
        past_due_since,
        ..record
    }
}

#[cfg(test)]
#[path = "sides_tests.rs"]
mod tests;
