//! Differences between two versions of an object, and the rules for `metadata`.

use serde_json::{Map, Value};

use super::error::StripeError;

/// Stripe's limits on metadata: keys, characters per key, characters per value.
const MOST_KEYS: usize = 50;
const LONGEST_KEY: usize = 40;
const LONGEST_VALUE: usize = 500;

/// What an event's `previous_attributes` say: the old values of the members that differ, within
/// objects only the inner ones; `null` for a member that was not there. `None` when all is equal.
pub(crate) fn previous(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (before != after).then(|| before.clone());
    };
    let mut old = Map::new();
    for (name, value) in before {
        let now = after.get(name).unwrap_or(&Value::Null);
        if let Some(difference) = previous(value, now) {
            old.insert(name.clone(), difference);
        }
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        old.insert(name.clone(), Value::Null);
    }
    (!old.is_empty()).then_some(Value::Object(old))
}

/// `metadata` of a new object: what was given, without empty values.
pub(crate) fn new_metadata(given: Option<&Value>) -> Result<Value, StripeError> {
    let mut metadata = Value::Object(Map::new());
    update_metadata(&mut metadata, given)?;
    Ok(metadata)
}

/// Applies an update to `metadata`: given keys are set, keys with an empty value are removed, and
/// an empty string for the whole (here `null`) removes all.
pub(crate) fn update_metadata(
    metadata: &mut Value,
    given: Option<&Value>,
) -> Result<(), StripeError> {
    let Some(given) = given else { return Ok(()) };
    let Value::Object(given) = given else {
        *metadata = Value::Object(Map::new());
        return Ok(());
    };
    let mut merged = metadata.as_object().cloned().unwrap_or_default();
    for (key, value) in given {
        check_entry(key, value.as_str().unwrap_or_default())?;
        if value == "" {
            merged.shift_remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    if merged.len() > MOST_KEYS {
        let message = format!("Metadata can have up to {MOST_KEYS} keys.");
        return Err(StripeError::invalid(message).param("metadata"));
    }
    *metadata = Value::Object(merged);
    Ok(())
}

fn check_entry(key: &str, value: &str) -> Result<(), StripeError> {
    let limit = if key.chars().count() > LONGEST_KEY {
        format!("Metadata keys can be up to {LONGEST_KEY} characters in length: {key}")
    } else if value.chars().count() > LONGEST_VALUE {
        format!("Metadata values can be up to {LONGEST_VALUE} characters in length: {key}")
    } else {
        return Ok(());
    };
    Err(StripeError::invalid(limit).param(&format!("metadata[{key}]")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{previous, update_metadata};

    #[test]
    fn previous_attributes_hold_the_old_values_of_what_changed() {
        let before = json!({"a": 1, "b": {"c": 1, "d": 2}, "list": [1], "gone": true});
        let after = json!({"a": 1, "b": {"c": 3, "d": 2, "e": 5}, "list": [1, 2]});
        assert_eq!(
            previous(&before, &after),
            Some(json!({"b": {"c": 1, "e": null}, "list": [1], "gone": true}))
        );
        assert_eq!(previous(&after, &after), None);
    }

    #[test]
    fn metadata_merges_and_empty_values_remove() {
        let mut metadata = json!({"a": "1", "b": "2"});
        update_metadata(&mut metadata, Some(&json!({"a": "", "c": "3"}))).unwrap();
        assert_eq!(metadata, json!({"b": "2", "c": "3"}));
        update_metadata(&mut metadata, None).unwrap();
        assert_eq!(metadata, json!({"b": "2", "c": "3"}));
        update_metadata(&mut metadata, Some(&json!(null))).unwrap();
        assert_eq!(metadata, json!({}));
    }

    #[test]
    fn metadata_has_limits() {
        let mut metadata = json!({});
        let long_key = json!({"k".repeat(41): "v"});
        assert!(update_metadata(&mut metadata, Some(&long_key)).is_err());
        let long_value = json!({"k": "v".repeat(501)});
        assert!(update_metadata(&mut metadata, Some(&long_value)).is_err());
    }
}
