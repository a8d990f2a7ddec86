//! What has to hold when the faults have stopped and all that waited is done. Stated from the
//! documentation, not from the product's code.

mod access;
mod compared;
mod money;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use tollhouse::metering::reconcile::Line;
use tollhouse::metering::reconcile::judge::Repair;
use tollhouse::sandbox::Sandbox;
use tollhouse::store::disagreements::Kind;

use crate::consumer::Consumer;
use crate::coverage::Coverage;
use crate::effects::Effect;
use crate::walk::Served;
use crate::wire::Spell;

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
    /// What `reconcile --repair` left to a person, in minor units by invoice.
    pub(crate) by_hand: BTreeMap<String, i64>,
    /// Whether the product compares periods without being asked for.
    pub(crate) compares_daily: bool,
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
            by_hand: BTreeMap::new(),
            compares_daily: false,
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

/// Checks all that has to hold; says what the run came across.
pub(crate) fn check(world: &Evidence<'_>) -> Coverage {
    access::check(world);
    order::check(world);
    compared::check(world);
    let mut coverage = Coverage::default();
    money::check(world, &mut coverage);
    note_states(world, &mut coverage);
    coverage
}

/// A day of each period whose invoice bills less than was served, made up for or not.
pub(crate) fn days_billed_short(world: &Evidence<'_>) -> BTreeSet<NaiveDate> {
    money::days_billed_short(world)
}

/// What a comparison leaves to a person: what to charge for an invoice, or to give back.
pub(crate) fn left_to_a_person(line: &Line) -> Option<(String, i64)> {
    let invoice = line.invoice_id.clone()?;
    let is_left = line
        .differences
        .iter()
        .any(|it| it.kind == Kind::Invoice && it.repair == Repair::ByHand);
    let facts = &line.facts;
    let owed = facts.ours.amount - facts.billed?.amount - facts.corrected.made;
    is_left.then_some((invoice, owed))
}

/// The states that subscriptions came to, and how their periods ended.
fn note_states(world: &Evidence<'_>, coverage: &mut Coverage) {
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
