//! Money: every invoice says what was used and charges what that costs.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Evidence, list, text, time};
use crate::wire::Spell;

pub(super) fn check(world: &Evidence<'_>) {
    every_invoice_is_right(world);
}

/// The calls on an invoice are those that the gateway served in its period, and its amount is what
/// the price list says of them.
fn every_invoice_is_right(world: &Evidence<'_>) {
    for invoice in &world.invoices {
        let parent = &invoice["parent"]["subscription_details"]["subscription"];
        let Some(subscription) = world.subscriptions.iter().find(|it| it["id"] == *parent) else {
            continue;
        };
        let metered: Vec<&Value> = list(&invoice["lines"])
            .iter()
            .filter(|line| is_metered(line, subscription))
            .collect();
        if metered.is_empty()
            || invoice["status"] == "draft"
            || invoice["billing_reason"] == "subscription_create"
        {
            continue;
        }
        let period = (
            time(metered[0]["period"]["start"].as_i64().unwrap()),
            time(metered[0]["period"]["end"].as_i64().unwrap()),
        );
        // A day belongs to one period: of a subscription that ends in the middle of it, the calls
        // that were still served on that day are billed too.
        let served = served_until(world, text(parent), period.0, day_after(period.1));
        let billed: u64 = metered.iter().map(|line| quantity(line)).sum();
        let amount: i64 = metered
            .iter()
            .map(|line| line["amount"].as_i64().unwrap())
            .sum();
        let product = text(&subscription["metadata"]["apim_product_id"]);
        let story = || {
            format!(
                "invoice {} for {product} of {parent}, {period:?}",
                invoice["id"]
            )
        };
        assert!(
            billed <= served,
            "{}: {billed} billed, {served} served",
            story()
        );
        assert_eq!(
            amount,
            price(product, billed),
            "{}: {billed} calls",
            story()
        );
        assert!(
            billed == served || had_an_excuse(world, invoice),
            "{}: {billed} billed, {served} served, and all was well",
            story()
        );
    }
}

/// The calls that the gateway served from `from` on and before `to`.
fn served_until(
    world: &Evidence<'_>,
    subscription: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> u64 {
    let served = world.served.iter().filter(|served| {
        served.subscription == subscription && from <= served.at && served.at < to
    });
    served.map(|served| served.calls).sum()
}

/// The first midnight at or after `time`.
fn day_after(time: DateTime<Utc>) -> DateTime<Utc> {
    let midnight = time.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    if midnight == time {
        time
    } else {
        midnight + TimeDelta::days(1)
    }
}

/// An invoice that we finalized is exact. Stripe finalizes by itself an hour after the draft, or at
/// the backstop if it was claimed: only so is usage lost, and only when the product was down then,
/// or could not reach the others.
fn had_an_excuse(world: &Evidence<'_>, invoice: &Value) -> bool {
    let from = time(invoice["created"].as_i64().unwrap()) - TimeDelta::hours(1);
    let finalized_at = &invoice["status_transitions"]["finalized_at"];
    let to = time(finalized_at.as_i64().unwrap());
    let met_trouble = |spell: &Spell| spell.from <= to && from <= spell.to;
    !was_finalized_by_us(world, invoice) && world.spells.iter().any(met_trouble)
}

/// Whether a request led to it.
fn was_finalized_by_us(world: &Evidence<'_>, invoice: &Value) -> bool {
    world.events.iter().any(|event| {
        event["type"] == "invoice.finalized"
            && event["data"]["object"]["id"] == invoice["id"]
            && !event["request"]["id"].is_null()
    })
}

fn is_metered(line: &Value, subscription: &Value) -> bool {
    let price = &line["pricing"]["price_details"]["price"];
    list(&subscription["items"]).iter().any(|item| {
        item["price"]["id"] == *price && item["price"]["recurring"]["usage_type"] == "metered"
    })
}

fn quantity(line: &Value) -> u64 {
    line["quantity"].as_u64().unwrap_or_default()
}

/// The price list of `payment/monetizationModels.json`, in cents: 1 unit = 100 calls.
fn price(product: &str, calls: u64) -> i64 {
    // Half a cent and more is a cent.
    let per_hundred = |calls: u64, cents: u64| (calls * cents * 2 + 100) / 200;
    let cents = match product {
        "developer" => per_hundred(calls.saturating_sub(100), 20),
        "payg" => per_hundred(calls, 15),
        "standard" => 8_995 + per_hundred(calls.saturating_sub(100_000), 10),
        "pro" => 44_995 + per_hundred(calls.saturating_sub(500_000), 6),
        "enterprise" => 74_995 * calls.div_ceil(1_500_000).max(1),
        other => panic!("{other} has no metered price"),
    };
    i64::try_from(cents).unwrap()
}
