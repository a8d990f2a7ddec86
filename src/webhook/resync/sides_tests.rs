//! One subscription, as three sides may have it.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::json;

use super::{Repair, Sides, as_found, difference};
use crate::apim::{self, SubscriptionState};
use crate::lifecycle::Access;
use crate::store::subscriptions::Subscription;
use crate::stripe;
use crate::webhook::observe::{Ownership, observe};

const GRACE: TimeDelta = TimeDelta::days(7);

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 10, 0, 0, 0).unwrap()
}

fn at_stripe(status: &str) -> stripe::Subscription {
    let metadata = json!({"apim_user_id": "u-1", "apim_product_id": "payg",
        "subscription_name": "Mine"});
    foreign(status, &metadata)
}

fn foreign(status: &str, metadata: &serde_json::Value) -> stripe::Subscription {
    let item = json!({
        "id": "si_1", "current_period_start": 1_772_323_200, "current_period_end": 1_775_001_600,
        "price": {"id": "price_1", "recurring": {"usage_type": "metered", "meter": "mtr_1"}},
    });
    let subscription = json!({
        "id": "sub_1", "status": status, "customer": "cus_1", "created": 1_769_904_000,
        "metadata": metadata, "items": {"data": [item]},
    });
    serde_json::from_value(subscription).unwrap()
}

fn in_apim(id: &str, state: &str) -> apim::Subscription {
    let subscription = json!({"name": id, "properties": {
        "ownerId": "/users/u-1", "scope": "/products/payg", "state": state}});
    serde_json::from_value(subscription).unwrap()
}

/// Our record after an event that said `status`, with the access in place.
fn recorded(status: &str) -> Subscription {
    let stripe = at_stripe(status);
    let owner = Ownership::read(&stripe.metadata).unwrap();
    let record = observe(&stripe, owner.clone(), None, GRACE, now());
    let known = Subscription {
        applied: Some(Access::Active),
        ..record
    };
    let record = observe(&stripe, owner, Some(&known), GRACE, now());
    Subscription {
        applied: Some(record.wanted),
        ..record
    }
}

fn agreeing(status: &str, state: &str) -> Sides {
    Sides {
        stripe: Some(at_stripe(status)),
        ours: Some(recorded(status)),
        unreadable: false,
        apim: Some(in_apim("sub_1", state)),
    }
}

/// The repair, and that the text says `words`; `None` where nothing differs.
fn check(id: &str, sides: &Sides, expected: Option<(Repair, &str)>) {
    let found = difference(id, sides, GRACE, now());
    match (found, expected) {
        (None, None) => {}
        (Some(found), Some((repair, words))) => {
            assert_eq!(found.repair, repair, "{}", found.text);
            assert!(found.text.contains(words), "{}", found.text);
        }
        (found, expected) => panic!("{found:?} where {expected:?} was expected"),
    }
}

#[test]
fn where_all_agree_nothing_differs() {
    check("sub_1", &agreeing("active", "active"), None);
    check("sub_1", &agreeing("past_due", "active"), None);
    check("sub_1", &agreeing("unpaid", "suspended"), None);
    check("sub_1", &agreeing("canceled", "cancelled"), None);
}

#[test]
fn what_the_store_lacks_or_has_otherwise_is_looked_at_again() {
    let lost = Sides {
        ours: None,
        ..agreeing("active", "active")
    };
    check(
        "sub_1",
        &lost,
        Some((Repair::LookAgain, "the store does not")),
    );
    let unreadable = Sides {
        unreadable: true,
        ..lost
    };
    check(
        "sub_1",
        &unreadable,
        Some((Repair::LookAgain, "makes no sense")),
    );
    let late = Sides {
        stripe: Some(at_stripe("unpaid")),
        ..agreeing("active", "active")
    };
    let told = "Stripe has it as unpaid, the store as active";
    check("sub_1", &late, Some((Repair::LookAgain, told)));
    let mut turned = agreeing("active", "active");
    turned.ours.as_mut().unwrap().period = None;
    check("sub_1", &turned, Some((Repair::LookAgain, "out of date")));
}

#[test]
fn a_state_that_somebody_changed_in_apim_is_put_right() {
    let suspended = agreeing("active", "suspended");
    let text = "should be active, and is suspended";
    check("sub_1", &suspended, Some((Repair::LookAgain, text)));
    let gone = Sides {
        apim: None,
        ..agreeing("active", "active")
    };
    check(
        "sub_1",
        &gone,
        Some((Repair::LookAgain, "does not have it")),
    );
    let opened = agreeing("canceled", "active");
    check("sub_1", &opened, Some((Repair::LookAgain, "and is active")));
    let mut unnoted = agreeing("active", "active");
    unnoted.ours.as_mut().unwrap().applied = None;
    check("sub_1", &unnoted, Some((Repair::LookAgain, "nobody noted")));
}

#[test]
fn orphans_of_either_side_need_a_person() {
    let apim_only = Sides {
        apim: Some(in_apim("sub_1", "active")),
        ..Sides::default()
    };
    let text = "neither Stripe nor the store";
    check("sub_1", &apim_only, Some((Repair::Person, text)));
    let vanished = Sides {
        stripe: None,
        ..agreeing("active", "active")
    };
    check(
        "sub_1",
        &vanished,
        Some((Repair::Person, "Stripe does not")),
    );
    let strange = Sides {
        stripe: Some(foreign("active", &json!({}))),
        ours: None,
        ..agreeing("active", "active")
    };
    check("sub_1", &strange, Some((Repair::Person, "Tollhouse's")));
}

#[test]
fn what_others_sell_and_what_has_ended_differs_in_nothing() {
    let others = Sides {
        stripe: Some(foreign("active", &json!({}))),
        ..Sides::default()
    };
    check("sub_1", &others, None);
    let mut forgotten = Sides {
        stripe: None,
        ..agreeing("canceled", "cancelled")
    };
    forgotten.ours.as_mut().unwrap().ended_at = Some(now());
    check("sub_1", &forgotten, None);
}

#[test]
fn a_free_subscription_is_between_the_store_and_apim() {
    let only_apim = Sides {
        apim: Some(in_apim("free_1", "active")),
        ..Sides::default()
    };
    let taken = Some((Repair::TakeOver, "the store does not"));
    check("free_1", &only_apim, taken);
    let ours = Subscription {
        id: "free_1".to_owned(),
        stripe_status: None,
        ..recorded("active")
    };
    let lost_there = Sides {
        ours: Some(ours),
        ..Sides::default()
    };
    let put = Some((Repair::PutInPlace, "APIM does not have it"));
    check("free_1", &lost_there, put);
}

#[test]
fn what_apim_shows_stands_for_what_a_lost_store_knew() {
    let owner = Ownership::read(&at_stripe("past_due").metadata).unwrap();
    let seen = |status: &str, state: SubscriptionState| {
        let stripe = at_stripe(status);
        let first = observe(&stripe, owner.clone(), None, GRACE, now());
        let found = as_found(first, &state);
        observe(&stripe, owner.clone(), Some(&found), GRACE, now()).wanted
    };
    let cut = SubscriptionState::Suspended;
    assert_eq!(seen("past_due", cut), Access::Suspended, "grace is over");
    let within = SubscriptionState::Active;
    assert_eq!(seen("past_due", within.clone()), Access::Active);
    assert_eq!(seen("canceled", within), Access::Cancelled);
    let ended = SubscriptionState::Cancelled;
    assert_eq!(seen("canceled", ended), Access::Cancelled);
}
