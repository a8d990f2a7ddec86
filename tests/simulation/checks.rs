//! What has to hold when the faults have stopped and all that waited is done. Stated from the
//! documentation, not from the product's code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tollhouse::sandbox::Sandbox;
use tollhouse::sandbox::apim::model::SubscriptionState;
use tollhouse::sandbox::journal::Side;

use crate::consumer::{Consumer, Wish};
use crate::effects::Effect;
use crate::walk::Served;
use crate::wire::Spell;

/// `access.past_due_grace_days` as the product comes.
const GRACE: TimeDelta = TimeDelta::days(7);
/// `metering.backstop_hours` as the product comes.
const BACKSTOP: TimeDelta = TimeDelta::hours(48);
/// The sandbox turns a subscription that stays unpaid over to `unpaid` at about the moment at which
/// the grace ends; then either answer is right for a while.
const SLACK: TimeDelta = TimeDelta::days(2);

/// What a run leaves behind.
pub(crate) struct Evidence<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) store: PathBuf,
    pub(crate) consumers: &'a [Consumer],
    pub(crate) served: &'a [Served],
    /// When the product was down, or met trouble.
    pub(crate) spells: &'a [Spell],
    /// What the product brought about at the vendors; nothing where that was not seen.
    pub(crate) effects: Vec<Effect>,
    events: Vec<Value>,
    subscriptions: Vec<Value>,
    invoices: Vec<Value>,
}

impl<'a> Evidence<'a> {
    pub(crate) fn gather(
        sandbox: &'a Sandbox,
        store: PathBuf,
        consumers: &'a [Consumer],
        served: &'a [Served],
        spells: &'a [Spell],
    ) -> Self {
        let objects = |kind| sandbox.stripe.objects(kind);
        Self {
            events: objects("event"),
            subscriptions: objects("subscription"),
            invoices: objects("invoice"),
            effects: Vec::new(),
            sandbox,
            store,
            consumers,
            served,
            spells,
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.sandbox.clock.now()
    }
}

/// What a run came across: one that never gets to a state says nothing about it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage(pub(crate) BTreeMap<String, u64>);

impl Coverage {
    fn saw(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }
}

pub(crate) fn coverage(world: &Evidence<'_>) -> Coverage {
    let mut coverage = Coverage::default();
    for event in &world.events {
        let object = &event["data"]["object"];
        let turned = !event["data"]["previous_attributes"]["status"].is_null();
        if object["object"] == "subscription"
            && (turned || event["type"] != "customer.subscription.updated")
        {
            coverage.saw(text(&object["status"]));
        }
        if event["type"] == "invoice.finalized" && object["billing_reason"] != "subscription_create"
        {
            let by_us = !event["request"]["id"].is_null();
            coverage.saw(if by_us {
                "closed by us"
            } else {
                "finalized by Stripe"
            });
        }
    }
    coverage
}

pub(crate) fn check(world: &Evidence<'_>) {
    every_subscription_has_the_access_that_is_due(world);
    nobody_has_what_nobody_sold(world);
    what_was_paid_for_is_there(world);
    no_customer_has_two_live_subscriptions_on_one_meter(world);
    nothing_is_stuck(world);
    every_event_was_taken_once(world);
    no_effect_happened_twice(world);
    every_wish_came_true(world);
    every_invoice_is_right(world);
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
        let due = due_access(world, subscription);
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
    for consumer in world.consumers {
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
        _ => return None,
    };
    Some(what)
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

fn listens(endpoints: &[Value], event_type: &str) -> bool {
    endpoints.iter().any(|endpoint| {
        let types = endpoint["enabled_events"].as_array().unwrap();
        types
            .iter()
            .any(|asked| asked == event_type || asked == "*")
    })
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

/// A draft may wait only while nobody is to be charged for it: its subscription is unpaid, and
/// Stripe does not finalize it either.
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
        assert_eq!(
            (text(&subscription["status"]), &invoice["auto_advance"]),
            ("unpaid", &Value::Bool(false)),
            "a draft waits for nothing: {invoice:#}"
        );
    }
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value["data"].as_array().map_or(&[], Vec::as_slice)
}

fn ids(objects: &[Value]) -> BTreeSet<String> {
    objects
        .iter()
        .map(|it| text(&it["id"]).to_owned())
        .collect()
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}
