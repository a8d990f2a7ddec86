//! Order: nothing is stuck, nothing happened twice, nothing stands in another's way.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::Value;
use tollhouse::sandbox::journal::Side;

use super::{Evidence, list, text, time};
use crate::effects::Effect;

/// `metering.backstop_hours` as the product comes.
const BACKSTOP: TimeDelta = TimeDelta::hours(48);

pub(super) fn check(world: &Evidence<'_>) {
    no_customer_has_two_live_subscriptions_on_one_meter(world);
    nothing_is_stuck(world);
    every_event_was_taken_once(world);
    no_effect_happened_twice(world);
    every_refund_and_dispute_is_shown(world);
}

/// A meter tells only customers apart (D3).
fn no_customer_has_two_live_subscriptions_on_one_meter(world: &Evidence<'_>) {
    let mut seen = BTreeSet::new();
    for subscription in &world.subscriptions {
        if matches!(
            text(&subscription["status"]),
            "canceled" | "incomplete_expired"
        ) {
            continue;
        }
        for item in list(&subscription["items"]) {
            let meter = text(&item["price"]["recurring"]["meter"]);
            let customer = text(&subscription["customer"]);
            if !meter.is_empty() {
                let fresh = seen.insert((customer.to_owned(), meter.to_owned()));
                assert!(fresh, "{customer} has two live subscriptions on {meter}");
            }
        }
    }
}

/// Nothing waits that was due, and nothing was given up.
fn nothing_is_stuck(world: &Evidence<'_>) {
    let now = world.now();
    let day_ago = (now - TimeDelta::days(1)).timestamp();
    let stuck = [
        (
            "events",
            "SELECT event_type || ' ' || state || ' ' || coalesce(outcome, '') FROM inbox
            WHERE state IN ('waiting', 'failed') AND ?1 > 0"
                .to_owned(),
        ),
        (
            "subscriptions",
            "SELECT subscription_id || ' ' || coalesce(problem, reason)
            FROM subscriptions WHERE problem IS NOT NULL OR recheck_at <= ?1
            OR (applied_state IS NOT wanted_state AND recheck_at IS NULL)"
                .to_owned(),
        ),
        (
            "checkouts",
            "SELECT checkout_id || ' ' || state FROM checkouts
            WHERE state IN ('open') AND expires_at < ?1"
                .to_owned(),
        ),
        (
            "invoices",
            format!(
                "SELECT invoice_id || ' ' || state || ' ' || coalesce(problem, '')
            FROM invoices WHERE state NOT IN ('finalized', 'waiting') AND ?1 > 0
            AND backstop_at < {}",
                (now - TimeDelta::hours(3)).timestamp()
            ),
        ),
    ];
    let db = rusqlite::Connection::open(&world.store).unwrap();
    for (what, question) in stuck {
        let mut statement = db.prepare(&question).unwrap();
        let rows = statement
            .query_map([day_ago], |row| row.get::<_, String>(0))
            .unwrap();
        let rows: Vec<String> = rows.map(Result::unwrap).collect();
        assert!(rows.is_empty(), "these {what} are stuck: {rows:#?}");
    }
    what_waits_is_not_to_be_charged(world, &db);
    for invoice in &world.invoices {
        let made = time(invoice["created"].as_i64().unwrap());
        let is_stuck = invoice["status"] == "draft" && made + BACKSTOP + TimeDelta::hours(3) < now;
        assert!(
            !is_stuck || invoice["auto_advance"] == false,
            "a draft was left behind: {invoice:#}"
        );
    }
}

/// Every event of the last month that Stripe delivered is in the inbox, and was settled.
fn every_event_was_taken_once(world: &Evidence<'_>) {
    let db = rusqlite::Connection::open(&world.store).unwrap();
    let mut statement = db
        .prepare("SELECT count(*) FROM inbox WHERE event_id = ?1")
        .unwrap();
    let month = world.now() - TimeDelta::days(20);
    let endpoints = world.sandbox.stripe.objects("webhook_endpoint");
    for event in &world.events {
        let is_ours = event["pending_webhooks"] == 0 && listens(&endpoints, text(&event["type"]));
        if is_ours && time(event["created"].as_i64().unwrap()) > month {
            let count: i64 = statement
                .query_row([text(&event["id"])], |row| row.get(0))
                .unwrap();
            assert_eq!(count, 1, "{} {}", event["id"], event["type"]);
        }
    }
}

/// However often something was asked for: a thing is made once, and ends once.
fn no_effect_happened_twice(world: &Evidence<'_>) {
    let mut seen = BTreeSet::new();
    for effect in &world.effects {
        if let Some(name) = once(effect) {
            assert!(seen.insert(name), "it happened twice: {effect:#?}");
        }
    }
    every_report_says_one_thing(&world.effects);
    for consumer in world.consumers {
        let customers = world.sandbox.stripe.objects("customer");
        let is_own = |it: &&Value| it["metadata"]["apim_user_id"] == consumer.user_id.as_str();
        let made = customers.iter().filter(is_own).count();
        assert!(
            made <= consumer.orders,
            "{made} customers were made for {} orders of {}",
            consumer.orders,
            consumer.email
        );
    }
    let keys = |effect: &&Effect| effect.path.to_ascii_lowercase().contains("/regenerate");
    let regenerated = world.effects.iter().filter(keys).count();
    let forms: usize = world.consumers.iter().map(|it| it.key_forms).sum();
    assert!(
        regenerated <= forms,
        "{regenerated} keys were regenerated by {forms} forms"
    );
}

/// Stripe knows a meter event by its identifier for a day; whenever it comes again it has to be the
/// same total of the same moment.
fn every_report_says_one_thing(effects: &[Effect]) {
    let mut said = BTreeMap::new();
    for effect in effects {
        if effect.path == "/v1/billing/meter_events" {
            let members = form_urlencoded::parse(effect.body.as_bytes()).into_owned();
            let members: BTreeMap<String, String> = members.collect();
            let first = said
                .entry(members["identifier"].clone())
                .or_insert_with(|| members.clone());
            assert_eq!(*first, members);
        }
    }
}

/// What an effect is called that may happen only once, by whatever request.
fn once(effect: &Effect) -> Option<String> {
    let Effect {
        side,
        method,
        path,
        body,
        status,
    } = effect;
    let what = match (*side, method.as_str()) {
        // A thing that is put in place for the first time.
        (Side::Azure, "PUT") if *status == 201 => format!("PUT {path}"),
        (Side::Stripe, "DELETE") => format!("DELETE {path}"),
        // The order's own id is in the body.
        (Side::Stripe, "POST") if path == "/v1/checkout/sessions" => format!("POST {path} {body}"),
        (Side::Stripe, "POST") if path.ends_with("/finalize") => format!("POST {path}"),
        // The correction's own name is in the body.
        (Side::Stripe, "POST") if path.ends_with("/balance_transactions") => {
            format!("POST {path} {body}")
        }
        _ => return None,
    };
    Some(what)
}

/// A draft may wait only while nobody is to be charged for it: its subscription is unpaid, or the
/// merchant does not collect, and Stripe does not finalize it either.
fn what_waits_is_not_to_be_charged(world: &Evidence<'_>, db: &rusqlite::Connection) {
    let question = "SELECT invoice_id, subscription_id FROM invoices WHERE state = 'waiting'";
    let mut statement = db.prepare(question).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    });
    for row in rows.unwrap() {
        let (invoice, subscription) = row.unwrap();
        let find = |all: &'_ [Value], id: &str| {
            let found = all.iter().find(|object| object["id"] == id);
            found.unwrap().clone()
        };
        let subscription = find(&world.subscriptions, &subscription);
        let invoice = find(&world.invoices, &invoice);
        let is_spared =
            subscription["status"] == "unpaid" || !subscription["pause_collection"].is_null();
        assert!(
            is_spared && invoice["auto_advance"] == false,
            "a draft waits for nothing: {invoice:#}"
        );
    }
}

fn listens(endpoints: &[Value], event_type: &str) -> bool {
    endpoints.iter().any(|endpoint| {
        let types = endpoint["enabled_events"].as_array().unwrap();
        types
            .iter()
            .any(|asked| asked == event_type || asked == "*")
    })
}

/// Whatever went back to a payer, or may, is on the product's pages as it stands.
fn every_refund_and_dispute_is_shown(world: &Evidence<'_>) {
    let db = rusqlite::Connection::open(&world.store).unwrap();
    let mut statement = db
        .prepare("SELECT status FROM reversals WHERE reversal_id = ?1")
        .unwrap();
    for kind in ["refund", "dispute"] {
        for reversal in world.sandbox.stripe.objects(kind) {
            let id = text(&reversal["id"]);
            let shown: Option<String> = statement.query_row([id], |row| row.get(0)).ok();
            assert_eq!(
                shown.as_deref(),
                reversal["status"].as_str(),
                "{reversal:#}"
            );
        }
    }
}
