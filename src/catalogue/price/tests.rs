//! The worked figures: the shipped products, Stripe's own examples, and what holds for all.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use rust_decimal::Decimal;

use super::{
    AmountOutOfRange, Currency, Invoice, Line, PackageRounding, PriceShape, Tier, TiersMode,
    invoice,
};
use crate::catalogue::money::{Money, Rate};
use crate::catalogue::testing::shipped;
use crate::catalogue::{Model, Pricing};

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn the_shipped_products_cost_what_their_table_says() {
    for (id, calls, total) in [
        ("free", 0, "$0.00"),
        ("free", 100, "$0.00"),
        ("developer", 0, "$0.00"),
        ("developer", 100, "$0.00"),
        ("developer", 101, "$0.00"),
        ("developer", 102, "$0.00"),
        ("developer", 103, "$0.01"),
        ("developer", 250, "$0.30"),
        ("payg", 0, "$0.00"),
        ("payg", 1_234, "$1.85"),
        ("basic", 0, "$14.95"),
        ("basic", 50_000, "$14.95"),
        ("standard", 0, "$89.95"),
        ("standard", 100_000, "$89.95"),
        ("standard", 123_456, "$113.41"),
        ("pro", 500_000, "$449.95"),
        ("pro", 1_000_000, "$749.95"),
        ("enterprise", 0, "$749.95"),
        ("enterprise", 1, "$749.95"),
        ("enterprise", 1_500_000, "$749.95"),
        ("enterprise", 1_500_001, "$1,499.90"),
        ("enterprise", 4_500_001, "$2,999.80"),
        ("enterprise", 148_500_001, "$74,995.00"),
        ("enterprise", 150_000_000, "$74,995.00"),
    ] {
        let invoice = invoice(&shipped(id), calls).unwrap();
        assert_eq!(invoice.total.to_string(), total, "{id} with {calls} calls");
    }
}

#[test]
fn enterprise_beyond_its_blocks_is_pro_rata_and_meets_the_rule_at_every_full_block() {
    let enterprise = shipped("enterprise");
    let total = |calls| invoice(&enterprise, calls).unwrap().total.minor;
    assert_eq!(total(150_000_100), 7_499_500 + 5);
    for blocks in [101, 150, 1_000, 100_000] {
        assert_eq!(
            total(blocks * 1_500_000),
            74_995 * i64::try_from(blocks).unwrap()
        );
    }
}

#[test]
fn an_invoice_has_a_line_for_each_entered_tier_and_for_each_flat_amount() {
    let Invoice { lines, .. } = invoice(&shipped("standard"), 123_456).unwrap();
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line.description.as_str(),
                line.quantity,
                line.amount.to_string(),
            )
        })
        .collect();
    let expected = [
        ("Calls 1 to 100,000", 100_000, "$0.00"),
        ("Fee, calls 1 to 100,000", 0, "$89.95"),
        ("Calls above 100,000", 23_456, "$23.46"),
    ];
    assert_eq!(
        lines,
        expected.map(|(name, quantity, amount)| (name, quantity, amount.to_owned()))
    );
}

#[test]
fn each_line_is_rounded_on_its_own_and_a_half_goes_up() {
    // 31 units at 3.6 cents, as seen on a recorded invoice.
    assert_eq!(
        cents(
            &PriceShape::PerUnit {
                unit_amount: decimal("3.6")
            },
            31
        ),
        112
    );
    assert_eq!(
        cents(
            &PriceShape::PerUnit {
                unit_amount: decimal("0.5")
            },
            1
        ),
        1
    );
    assert_eq!(
        cents(
            &PriceShape::PerUnit {
                unit_amount: decimal("0.5")
            },
            3
        ),
        2
    );
    let halves = graduated(&[(Some(1), "0.5", 0), (None, "0.5", 0)]);
    assert_eq!(
        cents(&halves, 2),
        2,
        "two lines of half a cent are a cent each"
    );
}

#[test]
fn a_price_written_as_text_stays_as_it_is() {
    let written = |id| PriceShape::of(&shipped(id).pricing).map(|shape| shape.to_string());
    assert_eq!(written("free"), None);
    for (id, text) in [
        (
            "developer",
            "graduated; to 100: 0 each, 0 flat; to inf: 0.2 each, 0 flat",
        ),
        ("payg", "per unit 0.15"),
        ("basic", "licensed 1495"),
        (
            "standard",
            "graduated; to 100000: 0 each, 8995 flat; to inf: 0.1 each, 0 flat",
        ),
    ] {
        assert_eq!(written(id).as_deref(), Some(text));
    }
    let enterprise = written("enterprise").unwrap();
    assert!(enterprise.starts_with("graduated; to 1500000: 0 each, 74995 flat; to 3000000:"));
    assert!(enterprise.ends_with("74995 flat; to inf: 0.049996666667 each, 0 flat"));
    let package = PriceShape::PerPackage {
        unit_amount: decimal("5.00"),
        divide_by: 1000,
        round: PackageRounding::Up,
    };
    assert_eq!(package.to_string(), "per 1000 rounded up 5");
}

fn graduated(tiers: &[(Option<u64>, &str, i64)]) -> PriceShape {
    tiered(TiersMode::Graduated, tiers)
}

fn tiered(mode: TiersMode, tiers: &[(Option<u64>, &str, i64)]) -> PriceShape {
    let tiers = tiers.iter().map(|(up_to, unit_amount, flat_amount)| Tier {
        up_to: *up_to,
        unit_amount: Some(decimal(unit_amount)),
        flat_amount: Some(*flat_amount),
    });
    PriceShape::Tiered {
        mode,
        tiers: tiers.collect(),
    }
}

fn cents(shape: &PriceShape, quantity: u64) -> i64 {
    let lines = shape.lines(Currency::USD, quantity).unwrap();
    lines.iter().map(|line| line.amount.minor).sum()
}

fn check(shape: &PriceShape, expected: &[(u64, i64)]) {
    for (quantity, amount) in expected {
        assert_eq!(
            cents(shape, *quantity),
            *amount,
            "{quantity} units of {shape:?}"
        );
    }
}

#[test]
fn stripes_volume_and_graduated_examples_come_out() {
    let tiers = [(Some(5), "700", 0), (Some(10), "650", 0), (None, "600", 0)];
    check(
        &tiered(TiersMode::Volume, &tiers),
        &[(1, 700), (5, 3500), (6, 3900), (20, 12_000), (25, 15_000)],
    );
    check(
        &graduated(&tiers),
        &[(1, 700), (5, 3500), (6, 4150), (20, 12_750), (25, 15_750)],
    );
    check(
        &graduated(&[(Some(5), "500", 0), (None, "400", 0)]),
        &[(6, 2900)],
    );
}

#[test]
fn stripes_example_with_flat_amounts_comes_out_and_bills_the_first_at_zero() {
    let tiers = [
        (Some(5), "500", 1000),
        (Some(10), "400", 2000),
        (Some(15), "300", 3000),
        (Some(20), "200", 4000),
        (None, "100", 5000),
    ];
    check(&tiered(TiersMode::Volume, &tiers), &[(0, 1000), (12, 6600)]);
    check(&graduated(&tiers), &[(0, 1000), (12, 11_100)]);
}

#[test]
fn stripes_example_with_large_tiers_comes_out() {
    let tiers = [(Some(10_000), "50", 0), (None, "40", 0)];
    check(
        &tiered(TiersMode::Volume, &tiers),
        &[
            (10_000, 500_000),
            (10_001, 400_040),
            (12_500, 500_000),
            (25_000, 1_000_000),
        ],
    );
    check(&graduated(&tiers), &[(200, 10_000)]);
}

#[test]
fn stripes_examples_of_packages_come_out() {
    let package = |unit_amount, divide_by, round| PriceShape::PerPackage {
        unit_amount: Decimal::from(unit_amount),
        divide_by,
        round,
    };
    check(&package(1000, 60, PackageRounding::Up), &[(150, 3000)]);
    check(
        &package(1000, 5, PackageRounding::Up),
        &[
            (0, 0),
            (1, 1000),
            (3, 1000),
            (5, 1000),
            (6, 2000),
            (7, 2000),
        ],
    );
    check(
        &package(10, 1000, PackageRounding::Down),
        &[(999, 0), (1000, 10)],
    );
    check(&package(4, 100, PackageRounding::Up), &[(3000, 120)]);
}

#[test]
fn stripes_examples_of_decimal_amounts_come_out() {
    let each = |unit_amount| PriceShape::PerUnit {
        unit_amount: decimal(unit_amount),
    };
    check(&each("105.5"), &[(0, 0), (1, 106), (2, 211)]);
    check(&each("0.05"), &[(9, 0), (10, 1), (100, 5), (1000, 50)]);
}

#[test]
fn an_amount_that_does_not_fit_is_an_error() {
    let dear = PriceShape::PerUnit {
        unit_amount: Decimal::from(100),
    };
    assert_eq!(
        dear.lines(Currency::USD, u64::MAX),
        Err(AmountOutOfRange { quantity: u64::MAX })
    );
    let fits: Vec<Line> = dear.lines(Currency::USD, u64::MAX / 200 - 1).unwrap();
    assert_eq!(fits.len(), 1);
}

/// Any model that a file may hold, with amounts and blocks of any size in range.
fn any_pricing() -> impl Strategy<Value = Pricing> {
    let fee = (1_i64..=999_999_999_999).prop_map(|minor| Money {
        currency: Currency::USD,
        minor,
    });
    let rate = (1_i64..=1_000_000_000, 0_u32..=6).prop_map(|(mantissa, scale)| {
        Rate::new(Currency::USD, Decimal::new(mantissa, scale), 100).unwrap()
    });
    let calls = 1_u64..=1_000_000_000_000;
    prop_oneof![
        (calls.clone(), rate.clone())
            .prop_map(|(included, overage)| Pricing::Freemium { included, overage }),
        rate.clone().prop_map(|rate| Pricing::Metered { rate }),
        fee.clone().prop_map(|fee| Pricing::Tier {
            fee,
            included: None
        }),
        (fee.clone(), calls.clone(), rate).prop_map(|(fee, included, overage)| {
            Pricing::TierWithOverage {
                fee,
                included,
                overage,
            }
        }),
        (fee.clone(), calls.clone(), 1_u32..=100).prop_map(|(fee, block, blocks_max)| {
            Pricing::Unit {
                fee,
                block,
                blocks_max,
            }
        }),
        (fee, calls).prop_map(|(fee, block)| Pricing::MeteredUnit { fee, block }),
    ]
}

/// Up to six tiers of any width, in millionths of a minor unit, each with a flat amount.
fn any_tiers() -> impl Strategy<Value = Vec<Tier>> {
    let tier = (1_u64..=20, 0_i64..=5_000_000, 0_i64..=1_000);
    vec(tier, 1..=6).prop_map(|tiers| {
        let (mut up_to, last) = (0, tiers.len());
        let tiers = tiers.into_iter().zip(1..);
        tiers
            .map(|((width, millionths, flat), number)| {
                up_to += width;
                Tier {
                    up_to: (number < last).then_some(up_to),
                    unit_amount: Some(Decimal::new(millionths, 6)),
                    flat_amount: Some(flat),
                }
            })
            .collect()
    })
}

/// What a graduated price has to come to, unit by unit, in units and minor units for each tier.
fn unit_by_unit(tiers: &[Tier], quantity: u64) -> Vec<(u64, i64)> {
    let mut sums = vec![(0_u64, 0_i128); tiers.len()];
    for unit in 1..=quantity {
        let reached = tiers
            .iter()
            .position(|tier| tier.up_to.is_none_or(|up_to| unit <= up_to));
        let at = reached.unwrap();
        sums[at].0 += 1;
        sums[at].1 += tiers[at].unit_amount.unwrap().mantissa();
    }
    let entered = sums.into_iter().zip(tiers).enumerate();
    let entered = entered.filter(|(number, ((units, _), _))| *number == 0 || *units > 0);
    entered
        .map(|(_, ((units, millionths), tier))| {
            let rounded = i64::try_from((millionths + 500_000) / 1_000_000).unwrap();
            (units, rounded + tier.flat_amount.unwrap())
        })
        .collect()
}

proptest! {
    #[test]
    fn a_graduated_price_is_what_its_units_cost_tier_by_tier(
        tiers in any_tiers(),
        quantity in 0_u64..=150,
    ) {
        let expected = unit_by_unit(&tiers, quantity);
        let shape = PriceShape::Tiered { mode: TiersMode::Graduated, tiers };
        let lines = shape.lines(Currency::USD, quantity).unwrap();
        let units: u64 = lines.iter().map(|line| line.quantity).sum();
        prop_assert_eq!(units, quantity);
        let fees = lines.iter().filter(|line| line.description.starts_with("Fee"));
        prop_assert!(fees.clone().all(|fee| fee.quantity == 0));
        prop_assert_eq!(lines.len() - fees.count(), expected.len());
        let amounts = lines.iter().map(|line| line.amount.minor).sum::<i64>();
        prop_assert_eq!(amounts, expected.iter().map(|(_, amount)| amount).sum::<i64>());
        let by_tier = lines.iter().filter(|line| !line.description.starts_with("Fee"));
        prop_assert!(by_tier.map(|line| line.quantity).eq(expected.iter().map(|(units, _)| *units)));
        let more = shape.lines(Currency::USD, quantity + 1).unwrap();
        prop_assert!(more.iter().map(|line| line.amount.minor).sum::<i64>() >= amounts);
    }

    #[test]
    fn a_volume_price_is_the_reached_tiers_for_all_units(
        tiers in any_tiers(),
        quantity in 0_u64..=150,
    ) {
        let reached = tiers.iter().find(|tier| tier.up_to.is_none_or(|up_to| quantity <= up_to));
        let Tier { unit_amount, flat_amount, .. } = *reached.unwrap();
        let millionths = unit_amount.unwrap().mantissa() * i128::from(quantity);
        let units = i64::try_from((millionths + 500_000) / 1_000_000).unwrap();
        let shape = PriceShape::Tiered { mode: TiersMode::Volume, tiers };
        prop_assert_eq!(cents(&shape, quantity), units + flat_amount.unwrap());
    }

    #[test]
    fn an_invoice_is_the_sum_of_its_lines_and_never_shrinks_with_more_calls(
        pricing in any_pricing(),
        fewer in 0_u64..=1_000_000_000_000,
        more in 0_u64..=1_000_000_000,
    ) {
        let model = Model { pricing, ..shipped("payg") };
        let low = invoice(&model, fewer);
        let high = invoice(&model, fewer + more);
        if let (Ok(low), Ok(high)) = (&low, &high) {
            prop_assert!(low.total.minor <= high.total.minor);
            let sum: i64 = high.lines.iter().map(|line| line.amount.minor).sum();
            prop_assert_eq!(sum, high.total.minor);
        }
        prop_assert!(low.is_ok() || high.is_err(), "fewer calls must not cost what cannot be charged");
    }

    #[test]
    fn no_number_of_calls_makes_it_panic(pricing in any_pricing(), calls in any::<u64>()) {
        let model = Model { pricing, ..shipped("payg") };
        if let Ok(invoice) = invoice(&model, calls) {
            prop_assert!(invoice.total.minor >= 0);
        }
    }

    #[test]
    fn every_started_block_up_to_the_last_costs_its_fee(calls in 0_u64..=150_000_000) {
        let total = invoice(&shipped("enterprise"), calls).unwrap().total.minor;
        let blocks = i64::try_from(calls.div_ceil(1_500_000).max(1)).unwrap();
        prop_assert_eq!(total, blocks * 74_995);
    }
}
