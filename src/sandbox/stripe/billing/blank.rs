//! The members of a large object that say nothing yet: Stripe shows them all the same.

use serde_json::{Map, Value};

/// An object with `unset` members that are null, `zero` ones, and `empty` lists, besides those of
/// `said`.
pub(crate) fn object(said: Value, unset: &[&str], zero: &[&str], empty: &[&str]) -> Value {
    let mut members = match said {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    let of = |names: &[&str], value: Value| {
        let pairs = names.iter().map(|name| ((*name).to_owned(), value.clone()));
        pairs.collect::<Vec<_>>()
    };
    members.extend(of(unset, Value::Null));
    members.extend(of(zero, 0.into()));
    members.extend(of(empty, Value::Array(Vec::new())));
    Value::Object(members)
}
