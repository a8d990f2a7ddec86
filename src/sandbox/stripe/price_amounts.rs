//! What a price costs: the amounts of a new price, checked and in the shape that Stripe shows.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};

use super::error::StripeError;

/// The members of a price that say what it costs; `null` where the scheme does not use them.
#[derive(Debug)]
pub(crate) struct Amounts {
    pub(crate) scheme: &'static str,
    pub(crate) unit_amount: Value,
    pub(crate) unit_amount_decimal: Value,
    pub(crate) custom_unit_amount: Value,
    pub(crate) tiers_mode: Value,
    pub(crate) tiers: Value,
}

/// The amounts of a new price from its parameters.
///
/// # Errors
/// As Stripe's documentation states the rules: one amount per price, tiers that ascend and end in
/// `inf`, `transform_quantity` only without tiers.
pub(crate) fn amounts(params: &Map<String, Value>) -> Result<Amounts, StripeError> {
    match params.get("billing_scheme").and_then(Value::as_str) {
        Some("tiered") => tiered(params),
        _ => per_unit(params),
    }
}

fn per_unit(params: &Map<String, Value>) -> Result<Amounts, StripeError> {
    for name in ["tiers", "tiers_mode"] {
        if params.contains_key(name) {
            let message = format!("`{name}` needs `billing_scheme` to be tiered.");
            return Err(StripeError::invalid(message).param(name));
        }
    }
    let custom = params.get("custom_unit_amount").cloned();
    let amount = amount(params, "unit_amount", "")?;
    match (&custom, amount) {
        (Some(_), Some(_)) => Err(StripeError::exclusive("custom_unit_amount", "unit_amount")),
        (None, None) => Err(StripeError::missing_param("unit_amount")),
        (_, amount) => Ok(Amounts {
            scheme: "per_unit",
            unit_amount: whole(amount),
            unit_amount_decimal: text(amount),
            custom_unit_amount: custom.unwrap_or(Value::Null),
            tiers_mode: Value::Null,
            tiers: Value::Null,
        }),
    }
}

fn tiered(params: &Map<String, Value>) -> Result<Amounts, StripeError> {
    let excluded = ["unit_amount", "unit_amount_decimal", "transform_quantity"];
    if let Some(name) = excluded.iter().find(|name| params.contains_key(**name)) {
        let message = format!("`{name}` cannot be used with tiered prices.");
        return Err(StripeError::invalid(message).param(name));
    }
    let mode = params
        .get("tiers_mode")
        .ok_or_else(|| StripeError::missing_param("tiers_mode"))?;
    let given = params
        .get("tiers")
        .and_then(Value::as_array)
        .filter(|tiers| !tiers.is_empty())
        .ok_or_else(|| StripeError::missing_param("tiers"))?;
    Ok(Amounts {
        scheme: "tiered",
        unit_amount: Value::Null,
        unit_amount_decimal: Value::Null,
        custom_unit_amount: Value::Null,
        tiers_mode: mode.clone(),
        tiers: tiers(given)?,
    })
}

/// Tiers ascend, and only the last one has no end, which Stripe shows as `null`.
fn tiers(given: &[Value]) -> Result<Value, StripeError> {
    let mut shown = Vec::with_capacity(given.len());
    let mut reached = 0;
    for (index, tier) in given.iter().enumerate() {
        let is_last = index + 1 == given.len();
        let param = format!("tiers[{index}][up_to]");
        let up_to = tier["up_to"].as_i64();
        match up_to {
            None if is_last => {}
            None => return Err(tier_error("Only the last tier can end in `inf`.", &param)),
            Some(_) if is_last => {
                return Err(tier_error("The last tier must end in `inf`.", &param));
            }
            Some(end) if end <= reached => {
                return Err(tier_error("Tiers must be in ascending order.", &param));
            }
            Some(end) => reached = end,
        }
        shown.push(tier_shape(tier, index, up_to)?);
    }
    Ok(Value::Array(shown))
}

fn tier_shape(tier: &Value, index: usize, up_to: Option<i64>) -> Result<Value, StripeError> {
    let place = format!("tiers[{index}]");
    let members = tier.as_object().cloned().unwrap_or_default();
    let unit = amount(&members, "unit_amount", &place)?;
    let flat = amount(&members, "flat_amount", &place)?;
    if unit.is_none() && flat.is_none() {
        let message = "A tier needs a unit amount or a flat amount.";
        return Err(tier_error(message, &place));
    }
    if flat.is_some_and(|flat| !flat.fract().is_zero()) {
        let message = "A flat amount must be in whole minor units.";
        return Err(tier_error(
            message,
            &format!("{place}[flat_amount_decimal]"),
        ));
    }
    Ok(json!({
        "flat_amount": whole(flat),
        "flat_amount_decimal": text(flat),
        "unit_amount": whole(unit),
        "unit_amount_decimal": text(unit),
        "up_to": up_to,
    }))
}

fn tier_error(message: &str, param: &str) -> StripeError {
    StripeError::invalid(message).param(param)
}

/// An amount in minor units, given as `name` or as `name_decimal`.
fn amount(
    params: &Map<String, Value>,
    name: &str,
    place: &str,
) -> Result<Option<Decimal>, StripeError> {
    let decimal_name = format!("{name}_decimal");
    let decimal = params.get(&decimal_name).and_then(Value::as_str);
    let amount = match (params.get(name).and_then(Value::as_i64), decimal) {
        (Some(_), Some(_)) => return Err(StripeError::exclusive(name, &decimal_name)),
        (Some(whole), None) => Some(Decimal::from(whole)),
        (None, Some(text)) => text.parse().ok(),
        (None, None) => None,
    };
    if amount.is_some_and(|amount| amount.is_sign_negative() && !amount.is_zero()) {
        let param = match place {
            "" => name.to_owned(),
            place => format!("{place}[{name}]"),
        };
        let message = "Invalid non-negative integer";
        return Err(StripeError::invalid(message).param(&param));
    }
    Ok(amount)
}

/// `unit_amount` shows only whole minor units.
fn whole(amount: Option<Decimal>) -> Value {
    amount
        .filter(|amount| amount.fract().is_zero())
        .and_then(|amount| amount.to_i64())
        .into()
}

fn text(amount: Option<Decimal>) -> Value {
    amount.map(|amount| amount.normalize().to_string()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::amounts;
    use crate::sandbox::stripe::error::StripeError;

    fn of(params: &Value) -> Result<super::Amounts, StripeError> {
        amounts(params.as_object().unwrap())
    }

    #[test]
    fn a_decimal_amount_has_no_whole_one() {
        let fraction = of(&json!({"unit_amount_decimal": "0.150"})).unwrap();
        assert_eq!(fraction.unit_amount, Value::Null);
        assert_eq!(fraction.unit_amount_decimal, "0.15");
        let whole = of(&json!({"unit_amount_decimal": "15.0"})).unwrap();
        assert_eq!(
            (whole.unit_amount, whole.unit_amount_decimal),
            (json!(15), json!("15"))
        );
    }

    #[test]
    fn tiers_are_shown_with_all_members_and_an_open_end() {
        let tiers = json!([
            {"up_to": 100, "flat_amount": 8995},
            {"up_to": "inf", "unit_amount_decimal": "0.1"}
        ]);
        let params = json!({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers});
        assert_eq!(
            of(&params).unwrap().tiers,
            json!([
                {"flat_amount": 8995, "flat_amount_decimal": "8995", "unit_amount": null,
                 "unit_amount_decimal": null, "up_to": 100},
                {"flat_amount": null, "flat_amount_decimal": null, "unit_amount": null,
                 "unit_amount_decimal": "0.1", "up_to": null}
            ])
        );
    }

    #[test]
    fn what_makes_no_price_is_refused() {
        let tiered = |tiers: Value| json!({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": tiers});
        for params in [
            json!({}),
            json!({"unit_amount": 1, "unit_amount_decimal": "1"}),
            json!({"unit_amount": -1}),
            json!({"unit_amount": 1, "tiers_mode": "volume"}),
            tiered(json!([])),
            tiered(json!([{"up_to": 5, "unit_amount": 1}])),
            tiered(json!([{"up_to": "inf", "unit_amount": 1}, {"up_to": 5, "unit_amount": 1}])),
            tiered(json!([{"up_to": "inf"}])),
            tiered(json!([{"up_to": "inf", "flat_amount_decimal": "0.5"}])),
            tiered(json!([
                {"up_to": 5, "unit_amount": 1}, {"up_to": 5, "unit_amount": 1},
                {"up_to": "inf", "unit_amount": 1}
            ])),
        ] {
            assert!(of(&params).is_err(), "{params}");
        }
    }
}
