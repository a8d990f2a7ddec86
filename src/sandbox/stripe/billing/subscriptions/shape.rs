//! A subscription and its items in Stripe's wire shape, and typed access to them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::blank;
use super::super::periods::{Anchor, Interval};
use super::super::times::moment;
use crate::sandbox::stripe::list;

/// Members of a new subscription that are null, or empty lists.
const UNSET: [&str; 23] = [
    "application",
    "application_fee_percent",
    "billing_cycle_anchor_config",
    "billing_thresholds",
    "cancel_at",
    "canceled_at",
    "customer_account",
    "days_until_due",
    "default_payment_method",
    "default_source",
    "description",
    "ended_at",
    "latest_invoice",
    "managed_payments",
    "next_pending_invoice_item_invoice",
    "on_behalf_of",
    "pause_collection",
    "pending_invoice_item_interval",
    "pending_setup_intent",
    "pending_update",
    "schedule",
    "status_details",
    "transfer_data",
];
const EMPTY: [&str; 4] = [
    "billing_schedules",
    "default_tax_rates",
    "discounts",
    "_pending",
];

/// What a new subscription starts out with; everything else is null, empty or off.
pub(crate) struct Opening<'a> {
    pub(crate) id: &'a str,
    pub(crate) customer: &'a Value,
    pub(crate) currency: &'a str,
    pub(crate) now: DateTime<Utc>,
    pub(crate) start: DateTime<Utc>,
    pub(crate) anchor: DateTime<Utc>,
    pub(crate) status: &'a str,
    pub(crate) trial_end: Option<DateTime<Utc>>,
    pub(crate) items: Vec<Value>,
}

pub(crate) fn subscription(opening: Opening<'_>) -> Value {
    let url = format!("/v1/subscription_items?subscription={}", opening.id);
    let said = json!({
        "id": opening.id,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null},
        "billing_cycle_anchor": opening.anchor.timestamp(),
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "cancel_at_period_end": false,
        "cancellation_details": {"comment": null, "feedback": null, "reason": null},
        "collection_method": "charge_automatically",
        "created": opening.now.timestamp(),
        "currency": opening.currency,
        "customer": opening.customer["id"],
        "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}},
        "items": list::embedded(opening.items, &url),
        "livemode": false,
        "metadata": {},
        "payment_settings": {
            "payment_method_options": null,
            "payment_method_types": null,
            "save_default_payment_method": "off",
        },
        "start_date": opening.start.timestamp(),
        "status": opening.status,
        "test_clock": opening.customer["test_clock"],
        "trial_end": opening.trial_end.map(|end| end.timestamp()),
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": opening.trial_end.map(|_| opening.start.timestamp()),
    });
    blank::object(said, &UNSET, &[], &EMPTY)
}

/// An item of `price` (the whole Price object); see [`set_price`] for the quantity.
pub(crate) fn item(
    id: &str,
    subscription: &str,
    price: &Value,
    quantity: Option<i64>,
    now: DateTime<Utc>,
) -> Value {
    let mut item = json!({
        "id": id,
        "object": "subscription_item",
        "billed_until": null,
        "billing_thresholds": null,
        "created": now.timestamp(),
        "current_period_end": now.timestamp(),
        "current_period_start": now.timestamp(),
        "discounts": [],
        "metadata": {},
        "plan": null,
        "price": null,
        "subscription": subscription,
        "tax_rates": [],
    });
    set_price(&mut item, price, quantity);
    item
}

/// Gives an item a price. A metered item has no quantity; a licensed one keeps the quantity that
/// it had, or counts 1, unless it is given another.
pub(crate) fn set_price(item: &mut Value, price: &Value, quantity: Option<i64>) {
    item["plan"] = plan(price);
    item["price"] = price.clone();
    if is_metered(price) {
        if let Some(members) = item.as_object_mut() {
            members.shift_remove("quantity");
        }
    } else {
        let quantity = quantity.or(item["quantity"].as_i64()).unwrap_or(1);
        item["quantity"] = quantity.into();
    }
}

/// The price in its older form, which items still carry.
fn plan(price: &Value) -> Value {
    let transform = &price["transform_quantity"];
    let recurring = &price["recurring"];
    json!({
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": false,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": transform,
        "trial_period_days": null,
        "usage_type": recurring["usage_type"],
    })
}

/// Whether a price counts usage.
pub(crate) fn is_metered(price: &Value) -> bool {
    price["recurring"]["usage_type"] == "metered"
}

/// The items of a subscription.
pub(crate) fn items(subscription: &Value) -> &[Value] {
    subscription["items"]["data"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// The interval of a recurring price.
pub(crate) fn interval_of(price: &Value) -> Option<Interval> {
    let recurring = &price["recurring"];
    let count = recurring["interval_count"].as_u64().unwrap_or(1);
    Interval::named(
        recurring["interval"].as_str()?,
        u32::try_from(count).unwrap_or(u32::MAX),
    )
}

/// The interval that all items of a subscription share.
pub(crate) fn interval(subscription: &Value) -> Option<Interval> {
    interval_of(&items(subscription).first()?["price"])
}

/// The anchor with the day of the month that it aims at.
pub(crate) fn anchor(subscription: &Value) -> Option<Anchor> {
    let anchor = Anchor::at(moment(&subscription["billing_cycle_anchor"])?);
    let day = subscription["billing_cycle_anchor_config"]["day_of_month"]
        .as_u64()
        .and_then(|day| u32::try_from(day).ok());
    Some(Anchor {
        day_of_month: day.unwrap_or(anchor.day_of_month),
        ..anchor
    })
}

/// The period that runs, which all items share.
pub(crate) fn period(subscription: &Value) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let item = items(subscription).first()?;
    let start = moment(&item["current_period_start"])?;
    Some((start, moment(&item["current_period_end"])?))
}

/// Gives every item the same period.
pub(crate) fn set_period(subscription: &mut Value, start: DateTime<Utc>, end: DateTime<Utc>) {
    let items = subscription["items"]["data"].as_array_mut();
    for item in items.into_iter().flatten() {
        item["current_period_start"] = start.timestamp().into();
        item["current_period_end"] = end.timestamp().into();
    }
}

/// Whether the subscription is over for good.
pub(crate) fn has_ended(subscription: &Value) -> bool {
    subscription["status"] == "canceled" || subscription["status"] == "incomplete_expired"
}
