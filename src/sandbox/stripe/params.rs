//! Which parameters each operation takes, and their check and conversion.
//!
//! `parameters.json` comes from Stripe's published `OpenAPI` document with the changes up to
//! 2026-09-30.endive. It maps `"POST /v1/prices"` to a tree:
//!
//! | in the file | means |
//! |---|---|
//! | `"text"`, `"int"`, `"bool"`, `"number"`, `"decimal"`, `"any"` | a value of this type |
//! | `["a", "b"]` | one of these words |
//! | `{"name!": …, "other": …}` | an object; `!` marks a required member |
//! | `{"[]": …}`, `{"*": …}` | a list, a map with free keys |
//! | `{"?": …}` | may be unset with an empty string, which arrives as `null` |
//! | `{"\|": […, …]}` | any of these |

use std::fmt;
use std::sync::OnceLock;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::error::StripeError;

/// The most decimal places that Stripe takes in an amount.
const MOST_DECIMAL_PLACES: u32 = 12;

/// The operations that the file describes, such as `"POST /v1/prices"`.
#[cfg(test)]
pub(crate) fn operations() -> impl Iterator<Item = &'static str> {
    specification().keys().map(String::as_str)
}

/// Checks what was given to `operation` and converts text into integers, booleans and arrays.
///
/// # Errors
/// As Stripe words them: unknown, missing, empty or ill-typed parameters.
pub(crate) fn check(
    operation: &str,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, StripeError> {
    match specification().get(operation).and_then(Value::as_object) {
        Some(members) => object(members, given, &Place::Root),
        None => Ok(given.clone()),
    }
}

fn specification() -> &'static Map<String, Value> {
    static SPECIFICATION: OnceLock<Map<String, Value>> = OnceLock::new();
    SPECIFICATION.get_or_init(|| {
        serde_json::from_str(include_str!("parameters.json"))
            .expect("a test proves that the file is a JSON object")
    })
}

/// Where in the request a value stands, written as Stripe writes `param`: `a[b][0]`.
enum Place<'a> {
    Root,
    Inside(&'a Place<'a>, &'a str),
}

impl Place<'_> {
    fn member<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place::Inside(self, name)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Inside(Place::Root, name) => f.write_str(name),
            Self::Inside(parent, name) => write!(f, "{parent}[{name}]"),
        }
    }
}

fn object(
    members: &Map<String, Value>,
    given: &Map<String, Value>,
    place: &Place<'_>,
) -> Result<Map<String, Value>, StripeError> {
    let mut checked = Map::new();
    for (name, value) in given {
        let place = place.member(name);
        let spec = members
            .get(name)
            .or_else(|| members.get(&format!("{name}!")))
            .ok_or_else(|| StripeError::unknown_param(&place.to_string()))?;
        checked.insert(name.clone(), any_value(spec, value, &place)?);
    }
    let missing = members
        .keys()
        .filter_map(|name| name.strip_suffix('!'))
        .find(|name| !given.contains_key(*name));
    match missing {
        Some(name) => Err(StripeError::missing_param(&place.member(name).to_string())),
        None => Ok(checked),
    }
}

fn any_value(spec: &Value, given: &Value, place: &Place<'_>) -> Result<Value, StripeError> {
    match spec {
        Value::Object(members) => structured(members, given, place),
        Value::Array(words) => word(words, given, place),
        Value::String(leaf) => self::leaf(leaf, given, place),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(given.clone()),
    }
}

fn structured(
    members: &Map<String, Value>,
    given: &Value,
    place: &Place<'_>,
) -> Result<Value, StripeError> {
    if let Some(inner) = members.get("?") {
        return match given.as_str() {
            Some("") => Ok(Value::Null),
            _ => any_value(inner, given, place),
        };
    }
    if let Some(Value::Array(alternatives)) = members.get("|") {
        return alternative(alternatives, given, place);
    }
    if let Some(items) = members.get("[]") {
        return list(items, given, place).map(Value::Array);
    }
    let given = given
        .as_object()
        .ok_or_else(|| ill_typed("object", given, place))?;
    if let Some(values) = members.get("*") {
        return map(values, given, place).map(Value::Object);
    }
    object(members, given, place).map(Value::Object)
}

/// The first alternative that fits; the complaint is that of the last one with the same shape.
fn alternative(
    alternatives: &[Value],
    given: &Value,
    place: &Place<'_>,
) -> Result<Value, StripeError> {
    let mut complaint = ill_typed("value", given, place);
    for spec in alternatives {
        match any_value(spec, given, place) {
            Ok(value) => return Ok(value),
            Err(error) if given.is_object() == spec.is_object() => complaint = error,
            Err(_) => {}
        }
    }
    Err(complaint)
}

/// `{"0": x, "1": y}` as `[x, y]`.
fn list(items: &Value, given: &Value, place: &Place<'_>) -> Result<Vec<Value>, StripeError> {
    let entries = given
        .as_object()
        .ok_or_else(|| ill_typed("array", given, place))?;
    let mut ordered = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let index: u32 = key.parse().map_err(|_| ill_typed("array", given, place))?;
        ordered.push((index, any_value(items, value, &place.member(key))?));
    }
    ordered.sort_by_key(|(index, _)| *index);
    Ok(ordered.into_iter().map(|(_, value)| value).collect())
}

/// A map with free keys; an empty value is kept, as it removes the key on update.
fn map(
    values: &Value,
    given: &Map<String, Value>,
    place: &Place<'_>,
) -> Result<Map<String, Value>, StripeError> {
    let mut checked = Map::new();
    for (key, value) in given {
        let value = match value.as_str() {
            Some("") => Value::String(String::new()),
            _ => any_value(values, value, &place.member(key))?,
        };
        checked.insert(key.clone(), value);
    }
    Ok(checked)
}

fn word(words: &[Value], given: &Value, place: &Place<'_>) -> Result<Value, StripeError> {
    if words.contains(given) {
        return Ok(given.clone());
    }
    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
    let choice = match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    };
    let message = format!("Invalid {place}: must be one of {choice}");
    Err(StripeError::invalid(message).param(&place.to_string()))
}

fn leaf(leaf: &str, given: &Value, place: &Place<'_>) -> Result<Value, StripeError> {
    if leaf == "any" {
        return Ok(given.clone());
    }
    let text = given
        .as_str()
        .ok_or_else(|| ill_typed("string", given, place))?;
    if text.is_empty() {
        return Err(empty(place));
    }
    let converted = match leaf {
        "int" => text.parse::<i64>().ok().map(Value::from),
        "bool" => text.parse::<bool>().ok().map(Value::from),
        "number" => text.parse::<f64>().ok().map(Value::from),
        "decimal" => decimal(text),
        _ => Some(given.clone()),
    };
    converted.ok_or_else(|| match leaf {
        "int" => ill_typed("integer", given, place).code("parameter_invalid_integer"),
        "bool" => ill_typed("boolean", given, place),
        _ => ill_typed("decimal", given, place),
    })
}

fn decimal(text: &str) -> Option<Value> {
    let value: Decimal = text.parse().ok()?;
    (value.normalize().scale() <= MOST_DECIMAL_PLACES).then(|| Value::from(text))
}

fn ill_typed(wanted: &str, given: &Value, place: &Place<'_>) -> StripeError {
    let message = match given.as_str() {
        Some(text) => format!("Invalid {wanted}: {text}"),
        None => format!("Invalid {wanted}"),
    };
    StripeError::invalid(message).param(&place.to_string())
}

fn empty(place: &Place<'_>) -> StripeError {
    let message = format!(
        "You passed an empty string for '{place}'. We assume empty values are an attempt to unset \
         a parameter; however '{place}' cannot be unset. You should remove '{place}' from your \
         request or supply a non-empty value."
    );
    StripeError::invalid(message)
        .code("parameter_invalid_empty")
        .param(&place.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check, specification};
    use crate::sandbox::stripe::error::StripeError;
    use crate::sandbox::stripe::form;

    fn checked(operation: &str, text: &str) -> Result<Value, StripeError> {
        check(operation, &form::parse(text).unwrap()).map(Value::Object)
    }

    fn refused(operation: &str, text: &str) -> (String, String) {
        let error = checked(operation, text).unwrap_err();
        let code = error.member("code").unwrap_or("").to_owned();
        (code, error.member("param").unwrap_or("").to_owned())
    }

    #[test]
    fn text_becomes_what_the_specification_says() {
        assert!(specification().len() > 60);
        let text = "currency=usd&active=true&tiers[0][up_to]=5&tiers[1][up_to]=inf\
                    &tiers[0][unit_amount_decimal]=0.2&metadata[0]=&recurring[interval]=month";
        let expected = json!({
            "currency": "usd", "active": true, "metadata": {"0": ""},
            "tiers": [{"up_to": 5, "unit_amount_decimal": "0.2"}, {"up_to": "inf"}],
            "recurring": {"interval": "month"},
        });
        assert_eq!(checked("POST /v1/prices", text).unwrap(), expected);
    }

    #[test]
    fn an_empty_string_unsets_only_what_can_be_unset() {
        let unset = checked("POST /v1/customers/{customer}", "metadata=").unwrap();
        assert_eq!(unset, json!({"metadata": null}));
        let (code, param) = refused("POST /v1/products", "name=");
        assert_eq!((&*code, &*param), ("parameter_invalid_empty", "name"));
    }

    #[test]
    fn what_does_not_fit_is_refused_as_stripe_refuses_it() {
        for (operation, text, code, param) in [
            ("POST /v1/products", "", "parameter_missing", "name"),
            (
                "POST /v1/products",
                "name=x&nope[a]=1",
                "parameter_unknown",
                "nope",
            ),
            (
                "GET /v1/prices",
                "limit=ten",
                "parameter_invalid_integer",
                "limit",
            ),
            (
                "POST /v1/prices",
                "currency=usd&unit_amount_decimal=0.1234567890123",
                "",
                "unit_amount_decimal",
            ),
            (
                "POST /v1/prices",
                "currency=usd&recurring[interval]=hour",
                "",
                "recurring[interval]",
            ),
            ("POST /v1/prices", "currency=usd&tiers=5", "", "tiers"),
        ] {
            let refusal = refused(operation, text);
            assert_eq!(
                refusal,
                (code.to_owned(), param.to_owned()),
                "{operation} {text}"
            );
        }
    }

    #[test]
    fn checkout_refuses_the_parameter_that_endive_removed() {
        let refusal = refused("POST /v1/checkout/sessions", "payment_method_types[0]=card");
        assert_eq!(refusal.1, "payment_method_types");
        let allowed = "allowed_payment_method_types[0]=card&ui_mode=hosted_page";
        assert!(checked("POST /v1/checkout/sessions", allowed).is_ok());
    }
}
