//! The lines of an invoice: what each item of a subscription is charged for, and the words for it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::amounts::{Charge, charges, prorated};
use super::super::pages::{count, interval, unit_price};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::usage::meter_usage;

/// What one item is charged for. Kept on the invoice while it is a draft, so that metered
/// quantities can be counted anew until it is finalized.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Portion {
    /// The subscription item.
    pub(crate) item: String,
    pub(crate) price: String,
    /// For licensed prices.
    pub(crate) quantity: i64,
    /// Unix seconds, start inclusive, end exclusive.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) basis: Basis,
}

/// How a [`Portion`] is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Basis {
    /// A licensed price for a whole period.
    Fee,
    /// A licensed price for a part of a period that lasts `whole_seconds`. A proration that a
    /// change causes is called one; the short first period is not.
    Part { whole_seconds: i64, change: bool },
    /// The unused part of a period is given back.
    Credit { whole_seconds: i64 },
    /// A meter's usage between start and end.
    Usage,
    /// Nothing is charged in a trial.
    Trial,
}

/// The lines of `portions`. Lines that stay the same line keep their ids from `former`.
pub(crate) fn build(
    account: &mut Account,
    invoice: &Value,
    portions: &[Portion],
    now: DateTime<Utc>,
) -> Vec<Value> {
    let customer = invoice["customer"].as_str().unwrap_or_default();
    let mut lines = Vec::new();
    for (index, portion) in portions.iter().enumerate() {
        let Some(price) = account.get(&portion.price).cloned() else {
            continue;
        };
        let name = product_name(account, &price);
        for charge in portion_charges(account, portion, &price, customer, now) {
            let place = format!("{index}/{:?}/{}", charge.tier, charge.unit_amount.is_none());
            let id = former_id(invoice, &place).unwrap_or_else(|| account.new_id("il"));
            let mut line = line(&id, invoice, portion, &price, &charge);
            line["description"] = description(portion, &name, &price, &charge).into();
            line["_place"] = place.into();
            lines.push(line);
        }
    }
    lines
}

/// What `portions` come to, in minor units.
pub(crate) fn total(
    account: &Account,
    customer: &str,
    portions: &[Portion],
    now: DateTime<Utc>,
) -> i64 {
    portions
        .iter()
        .filter_map(|portion| Some((portion, account.get(&portion.price)?)))
        .flat_map(|(portion, price)| portion_charges(account, portion, price, customer, now))
        .fold(0, |sum, charge| sum.saturating_add(charge.amount))
}

fn former_id(invoice: &Value, place: &str) -> Option<String> {
    let lines = invoice["lines"]["data"].as_array()?;
    let line = lines.iter().find(|line| line["_place"] == place)?;
    line["id"].as_str().map(str::to_owned)
}

fn portion_charges(
    account: &Account,
    portion: &Portion,
    price: &Value,
    customer: &str,
    now: DateTime<Utc>,
) -> Vec<Charge> {
    let licensed = || charges(price, Decimal::from(portion.quantity));
    let seconds = portion.end - portion.start;
    match portion.basis {
        Basis::Fee => licensed(),
        Basis::Part { whole_seconds, .. } => scaled(licensed(), |amount| {
            prorated(amount, seconds, whole_seconds)
        }),
        Basis::Credit { whole_seconds } => scaled(licensed(), |amount| {
            -prorated(amount, seconds, whole_seconds)
        }),
        Basis::Trial => scaled(licensed(), |_| 0),
        Basis::Usage => {
            let period = (portion.start, portion.end);
            charges(price, used(account, price, customer, period, now))
        }
    }
}

fn used(
    account: &Account,
    price: &Value,
    customer: &str,
    (start, end): (i64, i64),
    now: DateTime<Utc>,
) -> Decimal {
    let moment = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let meter = price["recurring"]["meter"].as_str().unwrap_or_default();
    meter_usage(account, meter, customer, moment(start), moment(end), now)
}

fn scaled(charges: Vec<Charge>, amount: impl Fn(i64) -> i64) -> Vec<Charge> {
    let scale = |charge: Charge| Charge {
        amount: amount(charge.amount),
        ..charge
    };
    charges.into_iter().map(scale).collect()
}

fn line(id: &str, invoice: &Value, portion: &Portion, price: &Value, charge: &Charge) -> Value {
    let subscription = super::shape::subscription_of(invoice);
    let proration = matches!(
        portion.basis,
        Basis::Credit { .. } | Basis::Part { change: true, .. }
    );
    json!({
        "id": id,
        "object": "line_item",
        "amount": charge.amount,
        "currency": invoice["currency"],
        "description": null,
        "discount_amounts": [],
        "discountable": !proration,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": false,
        "metadata": invoice["parent"]["subscription_details"]["metadata"],
        "parent": {
            "invoice_item_details": null,
            "subscription_item_details": {
                "invoice_item": null,
                "proration": proration,
                "proration_details": {"credited_items": null},
                "subscription": subscription,
                "subscription_item": portion.item,
            },
            "type": "subscription_item_details",
        },
        "period": {"start": portion.start, "end": portion.end},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": charge.unit_amount.map(|unit| unit.normalize().to_string()),
        },
        "quantity": charge.quantity.trunc().to_i64(),
        "quantity_decimal": charge.quantity.normalize().to_string(),
        "subscription": subscription,
        "subtotal": charge.amount,
        "taxes": [],
    })
}

/// What the customer reads for a price: its product's name.
pub(crate) fn product_name(account: &Account, price: &Value) -> String {
    price["product"]
        .as_str()
        .and_then(|product| account.get(product))
        .and_then(|product| product["name"].as_str())
        .unwrap_or("Subscription")
        .to_owned()
}

fn description(portion: &Portion, name: &str, price: &Value, charge: &Charge) -> String {
    match portion.basis {
        Basis::Trial => format!("Trial period for {name}"),
        Basis::Credit { .. } => format!("Unused time on {name}"),
        Basis::Part { change: true, .. } => format!("Remaining time on {name}"),
        Basis::Fee | Basis::Usage | Basis::Part { change: false, .. } => {
            format!(
                "{} × {name} ({})",
                count(charge.quantity),
                rate(price, charge)
            )
        }
    }
}

/// `at $0.002 / month`, or `Tier 1 at $0.002 / month`.
fn rate(price: &Value, charge: &Charge) -> String {
    let currency = price["currency"].as_str().unwrap_or_default();
    let unit = charge.unit_amount.unwrap_or(Decimal::from(charge.amount));
    let tier = charge
        .tier
        .map_or_else(String::new, |tier| format!("Tier {tier} "));
    format!(
        "{tier}at {} / {}",
        unit_price(unit, currency),
        interval(price)
    )
}
