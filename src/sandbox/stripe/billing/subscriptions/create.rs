//! `POST /v1/subscriptions`, and the reading of the terms that it shares with Checkout's
//! `subscription_data`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::super::payment_methods;
use super::super::periods::AnchorConfig;
use super::super::times::moment;
use super::order::{AnchorChoice, FirstPayment, Order, OrderedItem};
use super::{open, shape};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;

/// Parameters that become members of the subscription as they are.
const PLAIN: [&str; 6] = [
    "collection_method",
    "days_until_due",
    "description",
    "trial_settings",
    "on_behalf_of",
    "billing_cycle_anchor_config",
];
const LONGEST_TRIAL_DAYS: i64 = 730;

/// When a subscription bills, and the members that are set as they were given.
pub(crate) struct Terms {
    pub(crate) anchor: Option<AnchorChoice>,
    pub(crate) trial_end: Option<DateTime<Utc>>,
    pub(crate) prorates: bool,
    pub(crate) members: Map<String, Value>,
}

/// `POST /v1/subscriptions`.
pub(crate) fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = call
        .text("customer")
        .ok_or_else(|| StripeError::missing_param("customer"))?;
    account.refer("customer", customer, "customer")?;
    let now = account.now_for(customer);
    let items = call
        .list("items")
        .iter()
        .enumerate()
        .map(|(index, item)| ordered_item(account, item, &format!("items[{index}]")))
        .collect::<Result<_, _>>()?;
    let mut terms = terms(&call.params, now)?;
    if let Some(given) = call.text("default_payment_method") {
        let method = payment_methods::resolve(account, customer, given, "default_payment_method")?;
        terms
            .members
            .insert("default_payment_method".into(), method.into());
    }
    let order = Order {
        customer: customer.to_owned(),
        items,
        now,
        start: start(call, now)?,
        anchor: terms.anchor,
        trial_end: terms.trial_end,
        prorates: terms.prorates,
        first_payment: first_payment(call),
        members: terms.members,
    };
    let id = open::open(account, &order)?;
    schedule_end(account, call, &id, now);
    account.find("subscription", &id).cloned()
}

fn first_payment(call: &Call) -> FirstPayment {
    match call.text("payment_behavior") {
        Some("default_incomplete") => FirstPayment::Leave,
        Some("error_if_incomplete") => FirstPayment::AttemptOrRefuse,
        _ => FirstPayment::Attempt,
    }
}

fn start(call: &Call, now: DateTime<Utc>) -> Result<DateTime<Utc>, StripeError> {
    match call.time("backdate_start_date") {
        Some(start) if start > now => {
            let message = "backdate_start_date must be in the past.";
            Err(StripeError::invalid(message).param("backdate_start_date"))
        }
        Some(start) => Ok(start),
        None => Ok(now),
    }
}

fn schedule_end(account: &mut Account, call: &Call, id: &str, now: DateTime<Utc>) {
    if let Some(subscription) = account.get_mut(id) {
        super::update::schedule_end(subscription, call, now);
    }
}

/// A price and its quantity: licensed prices count 1 when nothing is given, metered ones take none.
fn ordered_item(account: &Account, item: &Value, place: &str) -> Result<OrderedItem, StripeError> {
    let param = format!("{place}[price]");
    let price = item["price"]
        .as_str()
        .ok_or_else(|| StripeError::missing_param(&param))?;
    let price = recurring_price(account, price, &param)?;
    let quantity = item["quantity"].as_i64();
    if shape::is_metered(&price) && quantity.is_some() {
        return Err(quantity_on_metered(&price, place));
    }
    let quantity = (!shape::is_metered(&price)).then(|| quantity.unwrap_or(1));
    Ok(OrderedItem {
        price,
        quantity,
        metadata: changes::new_metadata(item.get("metadata"))?,
    })
}

/// The whole Price object, if it is active and recurring.
pub(crate) fn recurring_price(
    account: &Account,
    id: &str,
    param: &str,
) -> Result<Value, StripeError> {
    let price = account.refer("price", id, param)?.clone();
    if price["active"] != true {
        let message =
            format!("The price specified is inactive. This field only accepts active prices: {id}");
        return Err(StripeError::invalid(message).param(param));
    }
    if price["recurring"].is_null() {
        let message = format!(
            "The price specified is set to `type=one_time` but this field only accepts prices with \
             `type=recurring`: {id}"
        );
        return Err(StripeError::invalid(message).param(param));
    }
    Ok(price)
}

pub(crate) fn quantity_on_metered(price: &Value, place: &str) -> StripeError {
    let id = price["id"].as_str().unwrap_or_default();
    let message = format!(
        "You can't set a quantity on a metered price. Price `{id}` is for metered usage, so remove \
         the quantity."
    );
    StripeError::invalid(message).param(place)
}

/// Reads what `given` (the parameters of a subscription, or Checkout's `subscription_data`) says.
pub(crate) fn terms(given: &Map<String, Value>, now: DateTime<Utc>) -> Result<Terms, StripeError> {
    let mut members: Map<String, Value> = PLAIN
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), given.get(*name)?.clone())))
        .collect();
    members.insert(
        "metadata".into(),
        changes::new_metadata(given.get("metadata"))?,
    );
    if let Some(config) = members.get_mut("billing_cycle_anchor_config") {
        *config = whole_config(config);
    }
    if let Some(mode) = given
        .get("billing_mode")
        .filter(|mode| mode["type"] == "classic")
    {
        let mut mode = mode.clone();
        mode["flexible"] = Value::Null;
        members.insert("billing_mode".into(), mode);
    }
    if let Some(settings) = given.get("payment_settings").and_then(Value::as_object) {
        let mut merged = json!({
            "payment_method_options": null, "payment_method_types": null,
            "save_default_payment_method": "off",
        });
        for (name, value) in settings {
            merged[name] = value.clone();
        }
        members.insert("payment_settings".into(), merged);
    }
    Ok(Terms {
        anchor: anchor(given)?,
        trial_end: trial_end(given, now)?,
        prorates: given
            .get("proration_behavior")
            .is_none_or(|it| it != "none"),
        members,
    })
}

/// The configuration with all its members, as the subscription shows it.
fn whole_config(given: &Value) -> Value {
    json!({
        "day_of_month": given["day_of_month"],
        "hour": given["hour"],
        "minute": given["minute"],
        "month": given["month"],
        "second": given["second"],
    })
}

fn anchor(given: &Map<String, Value>) -> Result<Option<AnchorChoice>, StripeError> {
    let at = given.get("billing_cycle_anchor").and_then(moment);
    match (at, given.get("billing_cycle_anchor_config")) {
        (Some(_), Some(_)) => Err(StripeError::exclusive(
            "billing_cycle_anchor",
            "billing_cycle_anchor_config",
        )),
        (Some(at), None) => Ok(Some(AnchorChoice::At(at))),
        (None, Some(config)) => anchor_config(config).map(AnchorChoice::Config).map(Some),
        (None, None) => Ok(None),
    }
}

fn anchor_config(config: &Value) -> Result<AnchorConfig, StripeError> {
    let part = |name: &str, lowest: i64, highest: i64| match config[name].as_i64() {
        None => Ok(None),
        Some(value) if (lowest..=highest).contains(&value) => Ok(u32::try_from(value).ok()),
        Some(value) => {
            let message =
                format!("Invalid {name}: {value} must be between {lowest} and {highest}.");
            let param = format!("billing_cycle_anchor_config[{name}]");
            Err(StripeError::invalid(message).param(&param))
        }
    };
    Ok(AnchorConfig {
        day_of_month: part("day_of_month", 1, 31)?.unwrap_or(1),
        month: part("month", 1, 12)?,
        hour: part("hour", 0, 23)?,
        minute: part("minute", 0, 59)?,
        second: part("second", 0, 59)?,
    })
}

fn trial_end(
    given: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StripeError> {
    let days = given.get("trial_period_days").and_then(Value::as_i64);
    let end = match (given.get("trial_end"), days) {
        (Some(_), Some(_)) => {
            return Err(StripeError::exclusive("trial_end", "trial_period_days"));
        }
        (Some(end), None) => moment(end),
        (None, Some(days)) if !(0..=LONGEST_TRIAL_DAYS).contains(&days) => {
            let message = format!("Trials can last up to {LONGEST_TRIAL_DAYS} days.");
            return Err(StripeError::invalid(message).param("trial_period_days"));
        }
        (None, Some(days)) => Some(now + TimeDelta::days(days)),
        (None, None) => None,
    };
    Ok(end.filter(|end| *end > now))
}
