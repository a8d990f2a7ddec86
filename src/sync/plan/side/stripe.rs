//! Stripe: products, meters, prices and the webhook endpoint.

use std::collections::{BTreeMap, BTreeSet};

use super::super::change::PlannedPrice;
use super::super::{Plan, StripeChange, Wanted};
use crate::catalogue::naming::{meter_event_name, price_lookup_key};
use crate::catalogue::price::{PriceShape, Tier};
use crate::catalogue::{Charge, Model};
use crate::stripe::{
    HANDLED_EVENTS, NewProduct, NewWebhookEndpoint, Price, Product, Stripe, WebhookEndpoint,
};
use crate::sync::actual::Actual;

/// The metadata that ties an object at Stripe to a product of the catalogue.
const PRODUCT: &str = "tollhouse_product";
/// The formula that lets a later report repair an earlier one (design D3).
const FORMULA: &str = "last";

pub(in super::super) fn product(model: &Model, actual: &Actual, plan: &mut Plan) {
    let Some((shape, lookup_key)) = PriceShape::of(&model.pricing).zip(price_lookup_key(model))
    else {
        return;
    };
    let stripe_product = stripe_product(model, actual, plan);
    let meter = (model.charge() == Charge::Metered).then(|| meter(model, actual, plan));
    let planned = PlannedPrice {
        product: model.id.clone(),
        stripe_product,
        currency: model.currency,
        interval: model.interval,
        shape,
        meter_event_name: meter,
        metadata: tie(model),
        in_words: model.price_in_words(),
        lookup_key,
    };
    match actual.prices.get(&planned.lookup_key) {
        None => plan.change(StripeChange::CreatePrice(planned)),
        Some(price) => plan.problems.extend(mismatch(&planned, price, plan)),
    }
}

/// Sees to the product at Stripe and returns its id.
fn stripe_product(model: &Model, actual: &Actual, plan: &mut Plan) -> String {
    let id = format!("tollhouse_{}", model.id);
    let new = NewProduct {
        id: Some(id.clone()),
        name: model.display_name.clone(),
        description: Some(model.description.clone()).filter(|text| !text.is_empty()),
        metadata: tie(model),
    };
    let is_ours = |product: &&Product| {
        product.id == id
            || product.metadata.get(PRODUCT).map(String::as_str) == Some(model.id.as_str())
    };
    let Some(there) = actual.stripe_products.iter().find(is_ours) else {
        plan.change(StripeChange::CreateProduct(new));
        return id;
    };
    let tied = there.metadata.contains_key(PRODUCT);
    let described = new.description.is_none() || new.description == there.description;
    if !(there.active && tied && described && there.name == new.name) {
        let id = there.id.clone();
        plan.change(StripeChange::UpdateProduct { id, new });
    }
    there.id.clone()
}

/// Sees to the meter and returns its event name.
fn meter(model: &Model, actual: &Actual, plan: &mut Plan) -> String {
    let event_name = meter_event_name(&model.id);
    let mut meters = actual.meters.iter().collect::<Vec<_>>();
    // A deactivated one only matters where there is no other.
    meters.sort_by_key(|meter| !meter.active);
    let there = meters
        .into_iter()
        .find(|meter| meter.event_name == event_name);
    match there {
        None => plan.change(StripeChange::CreateMeter {
            event_name: event_name.clone(),
            display_name: format!("{} calls", model.display_name),
        }),
        Some(meter) if !meter.active => plan.problems.push(format!(
            "Stripe: the meter `{event_name}` is deactivated and takes no usage; \
             reactivate it in Stripe's dashboard"
        )),
        Some(meter) if meter.formula != FORMULA => plan.problems.push(format!(
            "Stripe: the meter `{event_name}` computes `{}` instead of `{FORMULA}` and cannot be \
             changed; give the product another id in the catalogue",
            meter.formula
        )),
        Some(_) => {}
    }
    event_name
}

fn tie(model: &Model) -> BTreeMap<String, String> {
    BTreeMap::from([(PRODUCT.to_owned(), model.id.to_string())])
}

/// Why the price that carries our lookup key is not our price, if it is not.
fn mismatch(planned: &PlannedPrice, price: &Price, plan: &Plan) -> Option<String> {
    let meter = planned
        .meter_event_name
        .as_ref()
        .and_then(|name| plan.meters.get(name));
    let shape = price.shape.as_ref().map(comparable);
    let what = if shape != Some(comparable(&planned.shape)) {
        "other amounts"
    } else if price.currency != planned.currency.code() {
        "another currency"
    } else if price.meter.as_ref() != meter {
        "another meter"
    } else if price.product != planned.stripe_product {
        "another product"
    } else {
        return None;
    };
    Some(format!(
        "Stripe: the price `{}` has the lookup key of `{}` but {what}; \
         take the lookup key `{}` off it in Stripe's dashboard and run this again",
        price.id, planned.product, planned.lookup_key
    ))
}

/// A shape in which a missing amount is an amount of nothing, as it is to Stripe.
fn comparable(shape: &PriceShape) -> PriceShape {
    let mut shape = shape.clone();
    if let PriceShape::Tiered { tiers, .. } = &mut shape {
        for tier in tiers {
            *tier = Tier {
                up_to: tier.up_to,
                unit_amount: Some(tier.unit_amount.unwrap_or_default().normalize()),
                flat_amount: Some(tier.flat_amount.unwrap_or_default()),
            };
        }
    }
    shape
}

/// One endpoint for our address, in our API version, whose signing secret we hold.
pub(in super::super) fn webhook(wanted: &Wanted<'_>, actual: &Actual, plan: &mut Plan) {
    let new = NewWebhookEndpoint {
        url: format!("{}/webhooks/stripe", wanted.public_url),
        events: HANDLED_EVENTS.map(str::to_owned).to_vec(),
        metadata: BTreeMap::new(),
    };
    let version = Stripe::api_version();
    let ours = |endpoint: &&WebhookEndpoint| endpoint.url == new.url;
    let speaks = |endpoint: &WebhookEndpoint| endpoint.api_version.as_deref() == Some(&version);
    let mut there: Vec<_> = actual.endpoints.iter().filter(ours).collect();
    // The one to keep comes first.
    there.sort_by_key(|endpoint| !speaks(endpoint));
    let Some((kept, others)) = there.split_first() else {
        plan.change(StripeChange::CreateWebhookEndpoint(new));
        return;
    };
    let superfluous = others
        .iter()
        .map(|other| StripeChange::DeleteWebhookEndpoint {
            id: other.id.clone(),
        });
    superfluous.for_each(|change| plan.change(change));
    if let Some(why) = unusable(speaks(kept), wanted.webhook_secret_known) {
        let id = kept.id.clone();
        plan.change(StripeChange::ReplaceWebhookEndpoint { id, new, why });
    } else if !kept.enabled || set(&kept.events) != set(&new.events) {
        plan.change(StripeChange::UpdateWebhookEndpoint {
            id: kept.id.clone(),
            events: new.events,
        });
    }
}

fn unusable(speaks_our_version: bool, secret_known: bool) -> Option<&'static str> {
    if !speaks_our_version {
        Some("it sends events of another API version, which is fixed at its creation")
    } else if !secret_known {
        Some("its signing secret is not known here, and Stripe shows it only once")
    } else {
        None
    }
}

fn set(words: &[String]) -> BTreeSet<&str> {
    words.iter().map(String::as_str).collect()
}
