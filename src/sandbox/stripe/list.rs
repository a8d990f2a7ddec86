//! Lists and their pages, <https://docs.stripe.com/api/pagination>.

use std::borrow::Borrow;
use std::ops::Range;

use serde_json::{Value, json};

use super::account::Account;
use super::call::Call;
use super::error::StripeError;

const DEFAULT_LIMIT: usize = 10;
const HIGHEST_LIMIT: i64 = 100;

/// A page of the objects of `kind` that pass `filter`, newest first; honours `limit`, the
/// cursors and `created`.
pub(crate) fn page(
    account: &Account,
    call: &Call,
    kind: &str,
    filter: impl Fn(&Value) -> bool,
) -> Result<Value, StripeError> {
    let items = account
        .all(kind)
        .rev()
        .filter(|object| created_fits(object, call.param("created")) && filter(object))
        .collect();
    let (items, has_more) = cut(items, call)?;
    Ok(shape(items.into_iter().cloned().collect(), has_more, call))
}

/// A page of `items`, which already are in the order that the list shows.
pub(crate) fn page_of(items: Vec<Value>, call: &Call) -> Result<Value, StripeError> {
    let (items, has_more) = cut(items, call)?;
    Ok(shape(items, has_more, call))
}

fn shape(data: Vec<Value>, has_more: bool, call: &Call) -> Value {
    let mut page = json!({ "object": "list", "data": [], "has_more": has_more, "url": call.path });
    page["data"] = Value::Array(data);
    page
}

/// The items of the page that is asked for, and whether there are more in its direction.
fn cut<T: Borrow<Value>>(items: Vec<T>, call: &Call) -> Result<(Vec<T>, bool), StripeError> {
    let range = window(&items, call, limit(call)?)?;
    let has_more = match call.text("ending_before") {
        Some(_) => range.start > 0,
        None => range.end < items.len(),
    };
    let (start, length) = (range.start, range.len());
    Ok((
        items.into_iter().skip(start).take(length).collect(),
        has_more,
    ))
}

/// A whole list as a member of another object (`items` of a subscription), oldest first.
pub(crate) fn embedded(data: Vec<Value>, url: &str) -> Value {
    let total = data.len();
    let mut list = json!({
        "object": "list", "data": [], "has_more": false, "total_count": total, "url": url
    });
    list["data"] = Value::Array(data);
    list
}

fn limit(call: &Call) -> Result<usize, StripeError> {
    let Some(limit) = call.integer("limit") else {
        return Ok(DEFAULT_LIMIT);
    };
    match usize::try_from(limit) {
        Ok(size) if (1..=HIGHEST_LIMIT).contains(&limit) => Ok(size),
        _ => {
            let message = format!("This value must be between 1 and {HIGHEST_LIMIT}.");
            Err(StripeError::invalid(message)
                .code("parameter_invalid_integer")
                .param("limit"))
        }
    }
}

fn window<T: Borrow<Value>>(
    items: &[T],
    call: &Call,
    limit: usize,
) -> Result<Range<usize>, StripeError> {
    let position = |name: &str, id: &str| {
        items
            .iter()
            .position(|item| item.borrow()["id"] == id)
            .ok_or_else(|| StripeError::missing_reference("object", id, name))
    };
    let start = match (call.text("starting_after"), call.text("ending_before")) {
        (Some(_), Some(_)) => {
            return Err(StripeError::exclusive("starting_after", "ending_before"));
        }
        (Some(id), None) => position("starting_after", id)? + 1,
        (None, Some(id)) => {
            let end = position("ending_before", id)?;
            return Ok(end.saturating_sub(limit)..end);
        }
        (None, None) => 0,
    };
    Ok(start..items.len().min(start + limit))
}

/// Whether `created` fits a filter: a moment, or `{gt, gte, lt, lte}`.
fn created_fits(object: &Value, filter: Option<&Value>) -> bool {
    let created = object["created"].as_i64().unwrap_or_default();
    match filter {
        Some(Value::Object(bounds)) => bounds.iter().all(|(bound, moment)| {
            let moment = moment.as_i64().unwrap_or_default();
            match bound.as_str() {
                "gt" => created > moment,
                "gte" => created >= moment,
                "lt" => created < moment,
                _ => created <= moment,
            }
        }),
        Some(moment) => moment.as_i64() == Some(created),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{created_fits, page_of};
    use crate::sandbox::stripe::call::Call;
    use crate::sandbox::stripe::error::StripeError;

    fn page(params: &Value) -> Result<(Vec<String>, bool), StripeError> {
        let items = ["e", "d", "c", "b", "a"].map(|id| json!({"id": id}));
        let call = Call {
            params: params.as_object().unwrap().clone(),
            ..Call::default()
        };
        let page = page_of(items.to_vec(), &call)?;
        let ids = page["data"].as_array().unwrap().iter();
        let ids = ids.map(|item| item["id"].as_str().unwrap().to_owned());
        Ok((ids.collect(), page["has_more"].as_bool().unwrap()))
    }

    fn check(params: &Value, ids: &[&str], has_more: bool) {
        let (given, more) = page(params).unwrap();
        assert_eq!(
            (given.iter().map(String::as_str).collect::<Vec<_>>(), more),
            (ids.to_vec(), has_more)
        );
    }

    #[test]
    fn pages_go_both_ways() {
        check(&json!({"limit": 2}), &["e", "d"], true);
        check(
            &json!({"limit": 2, "starting_after": "d"}),
            &["c", "b"],
            true,
        );
        check(&json!({"limit": 2, "starting_after": "b"}), &["a"], false);
        check(
            &json!({"limit": 2, "ending_before": "b"}),
            &["d", "c"],
            true,
        );
        check(&json!({"limit": 2, "ending_before": "d"}), &["e"], false);
        check(&json!({}), &["e", "d", "c", "b", "a"], false);
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        for params in [
            json!({"limit": 0}),
            json!({"limit": 101}),
            json!({"starting_after": "nope"}),
            json!({"starting_after": "a", "ending_before": "b"}),
        ] {
            assert!(page(&params).is_err(), "{params}");
        }
    }

    #[test]
    fn created_is_a_moment_or_a_range() {
        let object = json!({"created": 10});
        assert!(created_fits(&object, Some(&json!({"gte": 10, "lt": 11}))));
        assert!(!created_fits(&object, Some(&json!({"gt": 10}))));
        assert!(!created_fits(&object, Some(&json!({"lte": 9}))));
        assert!(created_fits(&object, Some(&json!(10))));
    }
}
