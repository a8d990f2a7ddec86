//! What a quantity of a price costs, line by line.
//!
//! Sources: <https://docs.stripe.com/products-prices/pricing-models> and
//! <https://docs.stripe.com/billing/subscriptions/usage-based/pricing-models>. Each line is
//! rounded on its own to whole minor units (recorded invoices show this); an exact half goes up,
//! which Stripe does not document. The product has its own calculator: this one shares nothing
//! with it on purpose, so that neither can hide the other's mistake.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

/// One line that a price puts on an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    /// Units charged on this line; zero on a line that carries a flat fee.
    pub(crate) quantity: Decimal,
    /// The price of one unit in minor units; `None` on a line that carries a flat fee.
    pub(crate) unit_amount: Option<Decimal>,
    /// Whole minor units.
    pub(crate) amount: i64,
    /// The tier, counted from 1, when the price has tiers.
    pub(crate) tier: Option<usize>,
}

/// A tier of a price as the API gives it.
#[derive(Debug, Clone, Copy)]
struct Tier {
    number: usize,
    /// The last unit in the tier; `None` is Stripe's `inf`.
    up_to: Option<Decimal>,
    unit_amount: Decimal,
    flat_amount: Option<Decimal>,
}

/// The lines for `quantity` units of `price` (a Price object with its tiers). A negative quantity,
/// which corrections can lead to, is charged as zero.
pub(crate) fn charges(price: &Value, quantity: Decimal) -> Vec<Charge> {
    let quantity = quantity.max(Decimal::ZERO);
    if price["billing_scheme"] != "tiered" {
        let quantity = transformed(price, quantity);
        return vec![units(quantity, unit_amount_of(price), None)];
    }
    let tiers = tiers_of(price);
    if price["tiers_mode"] == "volume" {
        volume(&tiers, quantity)
    } else {
        graduated(&tiers, quantity)
    }
}

/// `amount` of minor units shared out over a part of a period, an exact half rounded up.
pub(crate) fn prorated(amount: i64, part_seconds: i64, whole_seconds: i64) -> i64 {
    if whole_seconds <= 0 {
        return amount;
    }
    let share = Decimal::from(amount) * Decimal::from(part_seconds) / Decimal::from(whole_seconds);
    whole_minor_units(share)
}

/// The whole quantity at the rate, and with the flat fee, of the tier that it reaches.
fn volume(tiers: &[Tier], quantity: Decimal) -> Vec<Charge> {
    let reached = tiers
        .iter()
        .find(|tier| tier.up_to.is_none_or(|up_to| quantity <= up_to));
    reached.map_or_else(Vec::new, |tier| tier_charges(*tier, quantity))
}

/// Each entered tier's units at its own rate, and the flat fee of every entered tier. The first
/// tier counts as entered even by nothing, so its flat fee is due at zero usage.
fn graduated(tiers: &[Tier], quantity: Decimal) -> Vec<Charge> {
    let mut below = Decimal::ZERO;
    let mut lines = Vec::new();
    for tier in tiers {
        if tier.number > 1 && quantity <= below {
            break;
        }
        let top = tier.up_to.map_or(quantity, |up_to| up_to.min(quantity));
        lines.extend(tier_charges(*tier, top - below));
        below = tier.up_to.unwrap_or(quantity);
    }
    lines
}

fn tier_charges(tier: Tier, quantity: Decimal) -> Vec<Charge> {
    let flat = tier
        .flat_amount
        .filter(|flat| !flat.is_zero())
        .map(|flat| Charge {
            quantity: Decimal::ZERO,
            unit_amount: None,
            amount: whole_minor_units(flat),
            tier: Some(tier.number),
        });
    std::iter::once(units(quantity, tier.unit_amount, Some(tier.number)))
        .chain(flat)
        .collect()
}

fn units(quantity: Decimal, unit_amount: Decimal, tier: Option<usize>) -> Charge {
    let amount = quantity.checked_mul(unit_amount).unwrap_or(Decimal::MAX);
    Charge {
        quantity,
        unit_amount: Some(unit_amount),
        amount: whole_minor_units(amount),
        tier,
    }
}

/// `transform_quantity`: what is charged is the number of started or of full blocks.
fn transformed(price: &Value, quantity: Decimal) -> Decimal {
    let transform = &price["transform_quantity"];
    let Some(divide_by) = transform["divide_by"].as_i64().filter(|by| *by > 0) else {
        return quantity;
    };
    let blocks = quantity / Decimal::from(divide_by);
    if transform["round"] == "up" {
        blocks.ceil()
    } else {
        blocks.floor()
    }
}

fn tiers_of(price: &Value) -> Vec<Tier> {
    let tiers = price["tiers"].as_array().map_or(&[][..], Vec::as_slice);
    tiers
        .iter()
        .enumerate()
        .map(|(index, tier)| Tier {
            number: index + 1,
            up_to: number(&tier["up_to"]),
            unit_amount: unit_amount_of(tier),
            flat_amount: number(&tier["flat_amount_decimal"])
                .or_else(|| number(&tier["flat_amount"])),
        })
        .collect()
}

fn unit_amount_of(priced: &Value) -> Decimal {
    number(&priced["unit_amount_decimal"])
        .or_else(|| number(&priced["unit_amount"]))
        .unwrap_or_default()
}

/// A JSON integer or decimal string; `inf`, null and absence are `None`.
fn number(value: &Value) -> Option<Decimal> {
    value
        .as_i64()
        .map(Decimal::from)
        .or_else(|| value.as_str()?.parse().ok())
}

fn whole_minor_units(amount: Decimal) -> i64 {
    amount
        .round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
        .to_i64()
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use serde_json::{Value, json};

    use super::{charges, prorated};

    fn check(price: &Value, worked: &[(i64, i64)]) {
        for (quantity, total) in worked {
            let lines = charges(price, Decimal::from(*quantity));
            let sum: i64 = lines.iter().map(|line| line.amount).sum();
            assert_eq!(sum, *total, "{quantity} units of {price}");
        }
    }

    fn tiered(mode: &str, tiers: &[(Option<i64>, &str, Option<i64>)]) -> Value {
        let tiers: Vec<Value> = tiers
            .iter()
            .map(|(up_to, unit, flat)| {
                json!({"up_to": up_to, "unit_amount_decimal": unit, "flat_amount": flat})
            })
            .collect();
        json!({"billing_scheme": "tiered", "tiers_mode": mode, "tiers": tiers})
    }

    fn per_unit(unit: &str, divide_by: Option<i64>, round: &str) -> Value {
        let transform = divide_by.map(|by| json!({"divide_by": by, "round": round}));
        json!({
            "billing_scheme": "per_unit",
            "unit_amount_decimal": unit,
            "transform_quantity": transform,
        })
    }

    const STEPS: [(Option<i64>, &str, Option<i64>); 3] = [
        (Some(5), "700", None),
        (Some(10), "650", None),
        (None, "600", None),
    ];
    const FLATS: [(Option<i64>, &str, Option<i64>); 5] = [
        (Some(5), "500", Some(1000)),
        (Some(10), "400", Some(2000)),
        (Some(15), "300", Some(3000)),
        (Some(20), "200", Some(4000)),
        (None, "100", Some(5000)),
    ];

    #[test]
    fn volume_prices_match_the_documented_figures() {
        let price = tiered("volume", &STEPS);
        check(
            &price,
            &[(1, 700), (5, 3500), (6, 3900), (20, 12000), (25, 15000)],
        );
        let price = tiered("volume", &[(Some(10_000), "50", None), (None, "40", None)]);
        check(
            &price,
            &[
                (10_000, 500_000),
                (10_001, 400_040),
                (12_500, 500_000),
                (25_000, 1_000_000),
            ],
        );
    }

    #[test]
    fn graduated_prices_match_the_documented_figures() {
        let price = tiered("graduated", &STEPS);
        check(
            &price,
            &[(1, 700), (5, 3500), (6, 4150), (20, 12750), (25, 15750)],
        );
        check(
            &tiered("graduated", &[(Some(5), "500", None), (None, "400", None)]),
            &[(6, 2900)],
        );
        let price = tiered(
            "graduated",
            &[(Some(10_000), "50", None), (None, "40", None)],
        );
        check(&price, &[(200, 10_000)]);
    }

    #[test]
    fn flat_fees_match_the_documented_figures_and_are_due_at_zero() {
        check(&tiered("volume", &FLATS), &[(12, 6600), (0, 1000)]);
        check(&tiered("graduated", &FLATS), &[(12, 11_100), (0, 1000)]);
    }

    #[test]
    fn transformed_quantities_match_the_documented_figures() {
        check(&per_unit("1000", Some(60), "up"), &[(150, 3000)]);
        let by_five = per_unit("1000", Some(5), "up");
        check(
            &by_five,
            &[
                (0, 0),
                (1, 1000),
                (3, 1000),
                (5, 1000),
                (6, 2000),
                (7, 2000),
            ],
        );
        check(&per_unit("10", Some(1000), "down"), &[(999, 0), (1000, 10)]);
        check(&per_unit("4", Some(100), "up"), &[(3000, 120)]);
    }

    #[test]
    fn fractions_of_a_minor_unit_are_exact_and_a_half_goes_up() {
        check(
            &per_unit("0.15", None, ""),
            &[(3, 0), (4, 1), (10, 2), (123_457, 18_519)],
        );
        check(&per_unit("3.6", None, ""), &[(31, 112)]);
        check(
            &per_unit("0.000000000001", None, ""),
            &[(499_999_999_999, 0), (500_000_000_000, 1)],
        );
    }

    #[test]
    fn each_tier_has_its_line_which_is_rounded_on_its_own() {
        let price = tiered(
            "graduated",
            &[(Some(1), "0.5", Some(30)), (None, "0.5", None)],
        );
        let lines = charges(&price, Decimal::from(2));
        let shape: Vec<_> = lines
            .iter()
            .map(|line| (line.quantity.to_string(), line.tier, line.amount))
            .collect();
        assert_eq!(
            shape,
            [
                ("1".to_owned(), Some(1), 1),
                ("0".to_owned(), Some(1), 30),
                ("1".to_owned(), Some(2), 1),
            ]
        );
        assert_eq!(lines[1].unit_amount, None, "a flat fee has no unit price");
    }

    #[test]
    fn a_negative_total_is_charged_as_zero() {
        check(&per_unit("20", None, ""), &[(-5, 0)]);
    }

    #[test]
    fn a_huge_amount_saturates_instead_of_failing() {
        check(
            &per_unit("999999999999.999999999999", None, ""),
            &[(999_999_999_999_999, i64::MAX)],
        );
    }

    #[test]
    fn a_part_of_a_period_costs_its_share() {
        assert_eq!(prorated(1495, 86_400 * 10, 86_400 * 31), 482);
        assert_eq!(prorated(1495, 5, 0), 1495);
    }
}
