//! A price in words, for the hosted pages.

use rust_decimal::Decimal;
use serde_json::Value;

use super::pages::{count, interval, unit_price};
use super::subscriptions::shape::is_metered;

/// One line per fact: the rate, or the rate of every tier, and how it is billed.
pub(crate) fn terms(price: &Value, quantity: Option<i64>) -> Vec<String> {
    let every = interval(price);
    let mut lines = if price["billing_scheme"] == "tiered" {
        tiers(price)
    } else {
        vec![format!("{} per {}", rate(price, price), unit(price))]
    };
    match quantity {
        Some(quantity) if quantity > 1 => {
            lines.push(format!("{quantity} of them, billed every {every}"));
        }
        _ if is_metered(price) => lines.push(format!("billed every {every} for what was used")),
        _ => lines.push(format!("billed every {every}")),
    }
    lines
}

fn unit(price: &Value) -> String {
    match price["transform_quantity"]["divide_by"].as_i64() {
        Some(block) => format!("{} units", count(Decimal::from(block))),
        None => "unit".to_owned(),
    }
}

fn rate(price: &Value, priced: &Value) -> String {
    let currency = price["currency"].as_str().unwrap_or_default();
    unit_price(amount(priced, "unit_amount"), currency)
}

fn tiers(price: &Value) -> Vec<String> {
    let currency = price["currency"].as_str().unwrap_or_default();
    let tiers = price["tiers"].as_array();
    let mut from = 0;
    let mut lines = Vec::new();
    for tier in tiers.into_iter().flatten() {
        let range = match tier["up_to"].as_i64() {
            Some(up_to) => {
                format!(
                    "{} to {}",
                    count(Decimal::from(from + 1)),
                    count(Decimal::from(up_to))
                )
            }
            None => format!("{} and more", count(Decimal::from(from + 1))),
        };
        let flat = amount(tier, "flat_amount");
        let plus = if flat.is_zero() {
            String::new()
        } else {
            format!(" plus {}", unit_price(flat, currency))
        };
        lines.push(format!(
            "units {range}: {} per unit{plus}",
            rate(price, tier)
        ));
        from = tier["up_to"].as_i64().unwrap_or(from);
    }
    lines
}

/// `unit_amount` or `flat_amount`, from its decimal form if there is one.
fn amount(priced: &Value, name: &str) -> Decimal {
    priced[format!("{name}_decimal")]
        .as_str()
        .and_then(|text| text.parse().ok())
        .or_else(|| priced[name].as_i64().map(Decimal::from))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::terms;

    #[test]
    fn prices_are_put_into_words() {
        let payg = json!({
            "billing_scheme": "per_unit", "unit_amount_decimal": "0.15", "currency": "usd",
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered"},
        });
        let expected = ["$0.0015 per unit", "billed every month for what was used"];
        assert_eq!(terms(&payg, None), expected);
        let standard = json!({
            "billing_scheme": "tiered", "currency": "usd",
            "tiers": [
                {"up_to": 100_000, "unit_amount_decimal": "0", "flat_amount": 8995},
                {"up_to": null, "unit_amount_decimal": "0.1", "flat_amount": null},
            ],
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered"},
        });
        let expected = [
            "units 1 to 100,000: $0.00 per unit plus $89.95",
            "units 100,001 and more: $0.001 per unit",
            "billed every month for what was used",
        ];
        assert_eq!(terms(&standard, None), expected);
    }
}
