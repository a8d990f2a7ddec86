//! Changes of a subscription's items, and what a change itself is charged or credited.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::invoices::lines::{Basis, Portion};
use super::{cancel, create, shape};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;

/// Changes, adds and removes items; gives what the change itself is charged or credited.
pub(crate) fn change(
    account: &mut Account,
    subscription: &mut Value,
    given: &[Value],
    now: DateTime<Utc>,
) -> Result<Vec<Portion>, StripeError> {
    let mut portions = Vec::new();
    for (index, given) in given.iter().enumerate() {
        let change = Change {
            place: format!("items[{index}]"),
            given,
            now,
        };
        let position = change.position(subscription)?;
        let former = position.map(|at| shape::items(subscription)[at].clone());
        let latter = change.latter(account, subscription, former.as_ref())?;
        portions.extend(charges(subscription, former.as_ref(), latter.as_ref(), now));
        put_item(subscription, position, latter);
    }
    Ok(portions)
}

/// One entry of the parameter `items`.
struct Change<'a> {
    given: &'a Value,
    /// How errors name it.
    place: String,
    now: DateTime<Utc>,
}

impl Change<'_> {
    /// Which of the items it names, if it names one.
    fn position(&self, subscription: &Value) -> Result<Option<usize>, StripeError> {
        let Some(id) = self.given["id"].as_str() else {
            return Ok(None);
        };
        shape::items(subscription)
            .iter()
            .position(|item| item["id"] == id)
            .map(Some)
            .ok_or_else(|| StripeError::missing_reference("subscription item", id, &self.place))
    }

    /// The item as it is after the change; `None` when it is removed.
    fn latter(
        &self,
        account: &mut Account,
        subscription: &Value,
        former: Option<&Value>,
    ) -> Result<Option<Value>, StripeError> {
        if self.given["deleted"] == true {
            return Ok(None);
        }
        let price = self.price(account, subscription, former)?;
        let mut item = if let Some(former) = former {
            former.clone()
        } else {
            let id = account.new_id_of_length("si", 14);
            let owner = subscription["id"].as_str().unwrap_or_default();
            shape::item(&id, owner, &price, None, self.now)
        };
        if former.is_none_or(|former| former["price"]["id"] != price["id"]) {
            item["_since"] = self.now.timestamp().into();
        }
        shape::set_price(&mut item, &price, self.given["quantity"].as_i64());
        changes::update_metadata(&mut item["metadata"], self.given.get("metadata"))?;
        Ok(Some(item))
    }

    fn price(
        &self,
        account: &Account,
        subscription: &Value,
        former: Option<&Value>,
    ) -> Result<Value, StripeError> {
        let param = format!("{}[price]", self.place);
        let price = match (self.given["price"].as_str(), former) {
            (Some(price), _) => create::recurring_price(account, price, &param)?,
            (None, Some(former)) => former["price"].clone(),
            (None, None) => return Err(StripeError::missing_param(&param)),
        };
        if shape::is_metered(&price) && self.given["quantity"].is_number() {
            return Err(create::quantity_on_metered(&price, &self.place));
        }
        if shape::interval_of(&price) != shape::interval(subscription) {
            let message =
                "The sandbox needs all prices of a subscription to have the same interval.";
            return Err(StripeError::invalid(message).param(&self.place));
        }
        Ok(price)
    }
}

/// A licensed item gives back its unused part and is charged for the rest of the period as it is
/// now; a metered one is charged for what was used so far. Nothing for what stays the same, and
/// nothing in a trial.
fn charges(
    subscription: &Value,
    former: Option<&Value>,
    latter: Option<&Value>,
    now: DateTime<Utc>,
) -> Vec<Portion> {
    let stays = former.zip(latter).is_some_and(|(former, latter)| {
        former["price"]["id"] == latter["price"]["id"] && former["quantity"] == latter["quantity"]
    });
    let Some((start, end)) = shape::period(subscription) else {
        return Vec::new();
    };
    if stays || subscription["status"] == "trialing" {
        return Vec::new();
    }
    let whole_seconds = (end - start).num_seconds();
    let rest = Basis::Part {
        whole_seconds,
        change: true,
    };
    let settled = former.map(|item| {
        if shape::is_metered(&item["price"]) {
            cancel::portion(item, Basis::Usage, cancel::since(item, start), now)
        } else {
            cancel::portion(item, Basis::Credit { whole_seconds }, now, end)
        }
    });
    let charged = latter
        .filter(|item| !shape::is_metered(&item["price"]))
        .map(|item| cancel::portion(item, rest, now, end));
    settled.into_iter().chain(charged).collect()
}

fn put_item(subscription: &mut Value, position: Option<usize>, item: Option<Value>) {
    let period = shape::period(subscription);
    let Some(items) = subscription["items"]["data"].as_array_mut() else {
        return;
    };
    match (position, item) {
        (Some(at), Some(item)) => items[at] = item,
        (Some(at), None) => {
            items.remove(at);
        }
        (None, Some(item)) => items.push(item),
        (None, None) => {}
    }
    let count = items.len();
    subscription["items"]["total_count"] = count.into();
    if let Some((start, end)) = period {
        shape::set_period(subscription, start, end);
    }
}
