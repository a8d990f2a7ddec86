//! From a kept object to the one that is shown: private members out, members that Stripe shows
//! only on request out unless expanded, ids replaced by their objects where `expand[]` asks.

use serde_json::{Map, Value};

use super::account::Account;
use super::error::StripeError;

/// The most segments of a path; a list's `data` is one of them.
const DEEPEST: usize = 4;

/// The members that Stripe shows only when they are expanded.
fn only_on_request(kind: &str) -> &'static [&'static str] {
    match kind {
        "price" => &["currency_options", "tiers"],
        "checkout.session" => &["line_items"],
        "customer" => &["sources", "subscriptions", "tax", "tax_ids"],
        "invoice" => &["payments"],
        _ => &[],
    }
}

/// The object as events carry it: nothing expanded, nothing private.
pub(crate) fn public(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let hidden = only_on_request(kind(members));
            let shown = members
                .iter()
                .filter(|(name, _)| !name.starts_with('_') && !hidden.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), public(value)));
            Value::Object(shown.collect())
        }
        Value::Array(items) => items.iter().map(public).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The object as an answer carries it, with the given paths (`data.customer`) expanded.
///
/// # Errors
/// As Stripe words them: a path that is too deep or names nothing that can be expanded.
pub(crate) fn expanded(
    account: &Account,
    value: &Value,
    paths: &[&str],
) -> Result<Value, StripeError> {
    if let Some(path) = paths.iter().find(|path| path.split('.').count() > DEEPEST) {
        let message =
            format!("You cannot expand more than {DEEPEST} levels of a property. Property: {path}");
        return Err(StripeError::invalid(message).param("expand"));
    }
    show(account, value, paths, "")
}

fn show(
    account: &Account,
    value: &Value,
    paths: &[&str],
    trail: &str,
) -> Result<Value, StripeError> {
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| show(account, item, paths, trail))
            .collect(),
        Value::Object(members) => show_members(account, members, paths, trail),
        Value::String(id) if !trail.is_empty() => match account.get(id) {
            Some(object) => show(account, object, paths, trail),
            None => Err(not_expandable(trail)),
        },
        Value::Null => Ok(Value::Null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(not_expandable(trail)),
    }
}

fn show_members(
    account: &Account,
    members: &Map<String, Value>,
    paths: &[&str],
    trail: &str,
) -> Result<Value, StripeError> {
    if let Some(name) = paths
        .iter()
        .map(|path| head(path))
        .find(|name| !members.contains_key(*name))
    {
        return Err(not_expandable(&joined(trail, name)));
    }
    let hidden = only_on_request(kind(members));
    let mut shown = Map::new();
    for (name, value) in members.iter().filter(|(name, _)| !name.starts_with('_')) {
        let asked = paths.iter().any(|path| head(path) == name);
        if asked {
            let tails: Vec<_> = paths.iter().filter_map(|path| tail(path, name)).collect();
            let value = show(account, value, &tails, &joined(trail, name))?;
            shown.insert(name.clone(), value);
        } else if !hidden.contains(&name.as_str()) {
            shown.insert(name.clone(), public(value));
        }
    }
    Ok(Value::Object(shown))
}

fn head(path: &str) -> &str {
    path.split_once('.').map_or(path, |(head, _)| head)
}

/// What is left of `path` below `name`.
fn tail<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    path.split_once('.')
        .filter(|(head, _)| *head == name)
        .map(|(_, tail)| tail)
}

fn joined(trail: &str, name: &str) -> String {
    if trail.is_empty() {
        name.to_owned()
    } else {
        format!("{trail}.{name}")
    }
}

fn not_expandable(path: &str) -> StripeError {
    let message = format!(
        "This property cannot be expanded ({path}). In a list, you may want to try expanding \
         'data.{path}' instead."
    );
    StripeError::invalid(message).param("expand")
}

fn kind(members: &Map<String, Value>) -> &str {
    members
        .get("object")
        .and_then(Value::as_str)
        .unwrap_or_default()
}
