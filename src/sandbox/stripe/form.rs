//! Bodies and queries as Stripe's clients write them: `a[b][0][c]=value`.

use serde_json::{Map, Value};

use super::error::StripeError;

/// How deep brackets may nest, and how many pairs a request may carry.
const DEEPEST: usize = 12;
const MOST_PAIRS: usize = 5_000;

/// Reads `text` into nested objects whose leaves are strings.
///
/// Lists stay objects with the keys `0`, `1`, …: only the parameter's specification can tell a
/// list from a map with such keys, so [`super::params`] turns them into arrays. `a[]=x` counts up.
pub(crate) fn parse(text: &str) -> Result<Map<String, Value>, StripeError> {
    let mut root = Map::new();
    for (count, (name, value)) in form_urlencoded::parse(text.as_bytes()).enumerate() {
        let path = segments(&name);
        if count >= MOST_PAIRS || path.len() > DEEPEST {
            return Err(StripeError::invalid(
                "The request carries too many parameters.",
            ));
        }
        insert(&mut root, &path, value.into_owned())
            .ok_or_else(|| StripeError::invalid(format!("Invalid parameter: {name}")))?;
    }
    Ok(root)
}

/// `a[b][0]` as `a`, `b`, `0`; text that is not closed properly stays one name.
fn segments(name: &str) -> Vec<&str> {
    let Some((first, rest)) = name.split_once('[') else {
        return vec![name];
    };
    let Some(rest) = rest.strip_suffix(']') else {
        return vec![name];
    };
    std::iter::once(first).chain(rest.split("][")).collect()
}

/// Puts `value` at `path`; `None` when a part of the path already is a value.
fn insert(map: &mut Map<String, Value>, path: &[&str], value: String) -> Option<()> {
    let (head, rest) = path.split_first()?;
    let key = if head.is_empty() {
        map.len().to_string()
    } else {
        (*head).to_owned()
    };
    if rest.is_empty() {
        map.insert(key, Value::String(value));
        return Some(());
    }
    let inner = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    insert(inner.as_object_mut()?, rest, value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::parse;

    fn check(text: &str, expected: &Value) {
        assert_eq!(Value::Object(parse(text).unwrap()), *expected);
    }

    #[test]
    fn brackets_nest_and_are_decoded() {
        check(
            "a=1&b%5Bc%5D=two+words&line_items[0][price]=p&line_items[1][price]=%C3%A4",
            &json!({
                "a": "1", "b": {"c": "two words"},
                "line_items": {"0": {"price": "p"}, "1": {"price": "ä"}}
            }),
        );
    }

    #[test]
    fn empty_brackets_count_up() {
        check(
            "expand[]=a&expand[]=b",
            &json!({"expand": {"0": "a", "1": "b"}}),
        );
    }

    #[test]
    fn a_name_cannot_be_a_value_and_an_object() {
        assert!(parse("a=1&a[b]=2").is_err());
    }
}
