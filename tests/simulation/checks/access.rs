//! Access: what everybody may do, and holds, by what Stripe says and by what they were promised.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tollhouse::sandbox::apim::model::SubscriptionState;

use super::money::Sold;
use super::{Evidence, ids, text, time};
use crate::consumer::account::Budget;
use crate::consumer::{Consumer, Wish};

/// `access.past_due_grace_days` as the product comes.
const GRACE: TimeDelta = TimeDelta::days(7);
/// The sandbox turns a subscription that stays unpaid over to `unpaid` at about the moment at which
/// the grace ends; then either answer is right for a while.
const SLACK: TimeDelta = TimeDelta::days(2);

pub(super) fn check(world: &Evidence<'_>) {
    every_subscription_has_the_access_that_is_due(world);
    nobody_has_what_nobody_sold(world);
    what_was_paid_for_is_there(world);
    every_wish_came_true(world);
    everybody_is_called_by_their_name(world);
    nothing_is_left_of_a_closed_account(world);
}

/// The table: what a subscription's holder may do, by its state at Stripe.
fn due_access(world: &Evidence<'_>, subscription: &Value) -> Vec<Option<SubscriptionState>> {
    use SubscriptionState::{Active, Cancelled, Suspended};
    match text(&subscription["status"]) {
        "active" | "trialing" => vec![Some(Active)],
        "incomplete" => vec![None, Some(Suspended)],
        "incomplete_expired" => vec![None, Some(Cancelled)],
        "unpaid" | "paused" => vec![Some(Suspended)],
        "canceled" => match text(&subscription["cancellation_details"]["reason"]) {
            "payment_failed" | "payment_disputed" => vec![Some(Suspended)],
            _ => vec![Some(Cancelled)],
        },
        "past_due" => {
            let since = past_due_since(world, text(&subscription["id"]));
            let now = world.now();
            if now < since + GRACE {
                vec![Some(Active)]
            } else if now < since + GRACE + SLACK {
                vec![Some(Active), Some(Suspended)]
            } else {
                vec![Some(Suspended)]
            }
        }
        other => panic!("the table has no row for {other}"),
    }
}

fn owner<'a>(world: &Evidence<'a>, subscription: &Value) -> Option<&'a Consumer> {
    let user = &subscription["metadata"]["apim_user_id"];
    let mut consumers = world.consumers.iter();
    consumers.find(|consumer| *user == consumer.user_id.as_str())
}

/// What would be active is suspended while the budget that its consumer set is used up, if that is
/// what they want.
fn within_budget(
    world: &Evidence<'_>,
    subscription: &Value,
    due: Vec<Option<SubscriptionState>>,
) -> Vec<Option<SubscriptionState>> {
    use SubscriptionState::{Active, Suspended};
    if due != [Some(Active)] || subscription["status"] == "trialing" {
        return due;
    }
    let budgets = owner(world, subscription).map(|owner| &owner.budgets);
    let budget = budgets.and_then(|budgets| budgets.get(text(&subscription["id"])));
    match budget {
        None | Some(Budget::None | Budget::UpTo { stops: false, .. }) => due,
        Some(Budget::Unclear) => vec![Some(Active), Some(Suspended)],
        Some(Budget::UpTo { cents, .. }) => {
            let used = Sold::new(world, subscription).so_far();
            vec![Some(if used >= *cents { Suspended } else { Active })]
        }
    }
}

/// When Stripe turned a subscription over to `past_due`, by its events.
fn past_due_since(world: &Evidence<'_>, id: &str) -> DateTime<Utc> {
    let turned = world.events.iter().rev().find(|event| {
        let data = &event["data"];
        data["object"]["id"] == id
            && data["object"]["status"] == "past_due"
            && !data["previous_attributes"]["status"].is_null()
    });
    let at = turned.expect("an event says so")["created"].as_i64();
    time(at.unwrap())
}

fn every_subscription_has_the_access_that_is_due(world: &Evidence<'_>) {
    for subscription in &world.subscriptions {
        let id = text(&subscription["id"]);
        let held = world.sandbox.azure.subscription(id);
        let state = held.as_ref().map(|held| held.state);
        if owner(world, subscription).is_some_and(Consumer::has_closed) {
            continue;
        }
        let due = within_budget(world, subscription, due_access(world, subscription));
        let never_seen = state.is_none() && subscription["status"] == "canceled";
        assert!(
            due.contains(&state) || never_seen,
            "{id} is {} at Stripe ({}), so APIM should have it {due:?}, but has {state:?}",
            subscription["status"],
            subscription["cancellation_details"]["reason"],
        );
        if let Some(held) = held {
            let metadata = &subscription["metadata"];
            assert_eq!(held.owner.as_deref(), metadata["apim_user_id"].as_str());
            assert_eq!(held.product(), metadata["apim_product_id"].as_str());
        }
    }
}

/// No orphans in APIM: what is there was sold, or is free and held once.
fn nobody_has_what_nobody_sold(world: &Evidence<'_>) {
    let sold: BTreeSet<String> = ids(&world.subscriptions);
    let mut free = BTreeMap::new();
    for held in world.sandbox.azure.subscriptions() {
        let Some(owner) = held.owner.clone() else {
            continue;
        };
        if held.id.starts_with("free_") {
            *free.entry(owner).or_insert(0) += u32::from(held.state == SubscriptionState::Active);
        } else {
            assert!(sold.contains(&held.id), "{} was never sold", held.id);
        }
    }
    for (owner, count) in free {
        assert_eq!(count, 1, "free subscriptions of {owner}");
    }
}

/// Whoever was told that all is well has something to show for it.
fn what_was_paid_for_is_there(world: &Evidence<'_>) {
    for consumer in world.consumers.iter().filter(|it| !it.has_closed()) {
        let done = consumer
            .purchases
            .iter()
            .filter(|purchase| purchase.is_done);
        let names: Vec<_> = consumer
            .held(world.sandbox)
            .into_iter()
            .filter_map(|it| it.display_name)
            .collect();
        for purchase in done {
            assert!(
                names.contains(&purchase.name) || purchase.is_a_second_free_one(consumer),
                "{} has {names:?}, but also bought {purchase:?}",
                consumer.email
            );
        }
    }
}

/// What a consumer asked for on our pages, and was promised, is so.
fn every_wish_came_true(world: &Evidence<'_>) {
    for (id, wish) in world.consumers.iter().flat_map(|it| &it.wishes) {
        let found = world
            .subscriptions
            .iter()
            .find(|it| it["id"] == id.as_str());
        let subscription = found.unwrap();
        let has_ended = subscription["status"] == "canceled";
        let will_end = subscription["cancel_at_period_end"] == true;
        let is_true = match wish {
            Wish::End => has_ended,
            Wish::EndWithThePeriod => has_ended || will_end,
            // It may have been too late.
            Wish::Keep => has_ended || !will_end,
            Wish::Unclear => true,
        };
        assert!(is_true, "{id} was to {wish:?}: {subscription:#}");
    }
}

/// Azure knows everybody by the names that they have here.
fn everybody_is_called_by_their_name(world: &Evidence<'_>) {
    for consumer in world.consumers.iter().filter(|it| !it.has_closed()) {
        let user = world.sandbox.azure.user(&consumer.user_id).unwrap();
        if let Some(name) = &consumer.first_name {
            assert_eq!(user.first_name, *name, "{}", consumer.email);
        }
    }
}

/// A closed account has ended everywhere: nothing more is sold to it, and Azure knows it no more.
fn nothing_is_left_of_a_closed_account(world: &Evidence<'_>) {
    for consumer in world.consumers.iter().filter(|it| it.has_closed()) {
        let email = &consumer.email;
        assert_eq!(world.sandbox.azure.user(&consumer.user_id), None, "{email}");
        let held = consumer.held(world.sandbox);
        assert!(held.is_empty(), "{email} still has {held:#?}");
        for subscription in &world.subscriptions {
            let is_theirs = subscription["metadata"]["apim_user_id"] == consumer.user_id.as_str();
            let status = text(&subscription["status"]);
            assert!(
                !is_theirs || matches!(status, "canceled" | "incomplete_expired"),
                "{email} still has {subscription:#}"
            );
        }
    }
}
