//! What operators do in Stripe's Dashboard, behind the product's back.

use serde_json::Value;

use crate::consumer::{Consumer, Place, Wish, encoded};
use crate::dice::Dice;

/// When a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    WithThePeriod,
    Now,
    Never,
}

impl Consumer {
    /// Has a subscription end: at the end of its period, at once, or not after all.
    pub(crate) fn have_it_ended(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let consumer = world.consumers()[at].clone();
        let Some(id) = consumer.pick_paid(world.sandbox(), dice) else {
            return;
        };
        let end = dice.weighted(&[(5, End::WithThePeriod), (2, End::Now), (2, End::Never)]);
        world.note(format_args!("consumer {at} has {id} end {end:?}"));
        world.consumers()[at].wish(&id, Wish::Unclear);
        let path = format!("/v1/subscriptions/{id}");
        // What has ended already is refused.
        let is_done = match end {
            End::WithThePeriod => ask(world, "POST", &path, &[("cancel_at_period_end", "true")]),
            End::Never => ask(world, "POST", &path, &[("cancel_at_period_end", "false")]),
            End::Now => ask(world, "DELETE", &path, &[]),
        };
        if is_done {
            world.saw(&format!("an operator's end: {end:?}"));
        }
    }
}

/// Stops to collect what a subscription costs, in one of Stripe's three ways, or goes on with it.
pub(crate) fn pause_collection(at: usize, world: &mut impl Place, dice: &mut Dice) {
    let consumer = world.consumers()[at].clone();
    let Some(id) = consumer.pick_paid(world.sandbox(), dice) else {
        return;
    };
    let subscriptions = world.sandbox().stripe.objects("subscription");
    let found = subscriptions.iter().find(|it| it["id"] == id.as_str());
    let is_paused = !found.unwrap()["pause_collection"].is_null();
    let behavior = dice.weighted(&[(1, "keep_as_draft"), (1, "void"), (1, "mark_uncollectible")]);
    let (field, value) = if is_paused {
        ("pause_collection", "")
    } else {
        ("pause_collection[behavior]", behavior)
    };
    world.note(format_args!(
        "the operator sets {field} of {id} to '{value}'"
    ));
    let path = format!("/v1/subscriptions/{id}");
    if ask(world, "POST", &path, &[(field, value)]) {
        world.saw(&format!("{field}: '{value}'"));
    }
}

/// Pays back a part of a payment, or all of it; or gives a dispute up, or wins it.
pub(crate) fn pay_back(world: &mut impl Place, dice: &mut Dice) {
    let mut disputes = world.sandbox().stripe.objects("dispute");
    disputes.retain(|dispute| dispute["status"] == "needs_response");
    if !disputes.is_empty() && dice.percent(60) {
        return settle_dispute(&disputes[0], world, dice);
    }
    let mut charges = world.sandbox().stripe.objects("charge");
    charges.retain(|it| it["paid"] == true && it["refunded"] == false && it["disputed"] == false);
    if charges.is_empty() {
        return;
    }
    let charge = dice.pick(&charges);
    let number = |name: &str| charge[name].as_i64().unwrap();
    let left = number("amount") - number("amount_refunded");
    let amount = if dice.percent(50) {
        left
    } else {
        (left / 2).max(1)
    };
    let id = charge["id"].as_str().unwrap();
    world.note(format_args!("the operator pays back {amount} of {id}"));
    let fields = [("charge", id), ("amount", &amount.to_string())];
    assert!(ask(world, "POST", "/v1/refunds", &fields), "{charge:#}");
    world.saw("a refund");
}

fn settle_dispute(dispute: &Value, world: &mut impl Place, dice: &mut Dice) {
    let id = dispute["id"].as_str().unwrap();
    let wins = dice.percent(50);
    world.note(format_args!("the dispute {id} ends, won: {wins}"));
    let path = format!("/v1/disputes/{id}");
    let evidence = [("evidence[uncategorized_text]", "winning_evidence")];
    let is_done = if wins {
        ask(world, "POST", &path, &evidence)
    } else {
        ask(world, "POST", &format!("{path}/close"), &[])
    };
    assert!(is_done, "{dispute:#}");
    world.saw(if wins {
        "a dispute won"
    } else {
        "a dispute lost"
    });
}

/// A request of the operator to Stripe's API; whether it was granted.
fn ask(world: &mut impl Place, method: &str, path: &str, fields: &[(&str, &str)]) -> bool {
    let key = format!("Bearer {}", tollhouse::sandbox::stripe::SECRET_KEY);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", key);
    let page = world.ask_stripe(request.body(encoded(fields)).unwrap());
    page.status == 200
}
