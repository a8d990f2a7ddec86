//! Drafts as Stripe may make them, against the catalogue's prices.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{Due, difference};
use crate::catalogue::money::{Currency, Money};
use crate::catalogue::price::{self, PriceShape};
use crate::catalogue::testing::shipped;
use crate::catalogue::{Model, Pricing};
use crate::store::subscriptions::Period;

const START: i64 = 1_772_323_200;
const END: i64 = 1_775_001_600;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// A line of the subscription's price: how many, at what each, for how much.
fn line(quantity: u64, each: Option<&str>, amount: i64) -> Value {
    json!({
        "id": format!("il_{quantity}_{amount}"), "amount": amount, "quantity": quantity,
        "quantity_decimal": quantity.to_string(), "description": format!("{quantity} × Calls"),
        "pricing": {"price_details": {"price": "price_1"}, "unit_amount_decimal": each},
        "parent": {"subscription_item_details": {"subscription_item": "si_1", "proration": false}},
        "period": {"start": START, "end": END},
    })
}

/// Where a draft with these lines differs, when we and the meter counted `calls`.
fn check(model: &Model, calls: u64, lines: &[Value]) -> Option<String> {
    check_metered(model, calls, calls, lines)
}

fn check_metered(model: &Model, calls: u64, metered: u64, lines: &[Value]) -> Option<String> {
    let draft = json!({
        "id": "in_1", "status": "draft", "currency": "usd", "period_start": 0, "period_end": 10,
        "created": 10, "total": 0, "amount_due": 0, "amount_paid": 0, "lines": {"data": lines},
    });
    let bill = |calls| price::invoice(model, calls).ok();
    let due = Due {
        period: Period {
            start: at(START),
            end: at(END),
        },
        calls,
        lines: &|calls| bill(calls).map(|bill| bill.lines),
        shape: PriceShape::of(&model.pricing),
    };
    let draft = serde_json::from_value(draft).unwrap();
    difference(&due, Decimal::from(metered), &draft)
}

fn standard(included: u64, above: u64, overage: i64) -> [Value; 3] {
    [
        line(included, Some("0"), 0),
        line(0, None, 8_995),
        line(above, Some("0.1"), overage),
    ]
}

#[test]
fn the_lines_that_the_catalogue_makes_may_be_finalized_in_any_order() {
    let payg = shipped("payg");
    assert_eq!(check(&payg, 1_234, &[line(1_234, Some("0.15"), 185)]), None);
    let lines = standard(100_000, 23_456, 2_346);
    assert_eq!(check(&shipped("standard"), 123_456, &lines), None);
    let [first, fee, above] = lines;
    assert_eq!(
        check(&shipped("standard"), 123_456, &[fee, above, first]),
        None
    );
}

#[test]
fn lines_of_nothing_may_be_missing_and_prices_unsaid() {
    assert_eq!(check(&shipped("payg"), 0, &[]), None);
    assert_eq!(
        check(&shipped("standard"), 0, &[line(0, None, 8_995)]),
        None
    );
    assert_eq!(check(&shipped("payg"), 100, &[line(100, None, 15)]), None);
}

#[test]
fn a_draft_that_lags_behind_its_meter_may_be_finalized_if_its_lines_are_right() {
    let payg = shipped("payg");
    assert_eq!(check(&payg, 1_000, &[line(400, Some("0.15"), 60)]), None);
    assert_eq!(check(&payg, 1_000, &[line(0, Some("0.15"), 0)]), None);
    let lines = [line(50_000, Some("0"), 0), line(0, None, 8_995)];
    assert_eq!(check(&shipped("standard"), 123_456, &lines), None);
    let wrong = check(&payg, 1_000, &[line(400, Some("0.15"), 64)]).unwrap();
    assert!(wrong.contains("64 minor units for 400 at 0.15"), "{wrong}");
    assert!(
        wrong.contains("charges 60 minor units for 400 at 0.15"),
        "{wrong}"
    );
}

#[test]
fn another_total_on_the_meter_is_a_difference_whatever_the_draft_shows() {
    let line = line(1_000, Some("0.15"), 150);
    let less = check_metered(&shipped("payg"), 1_000, 999, std::slice::from_ref(&line)).unwrap();
    assert!(less.contains("shows 999 calls"), "{less}");
    assert!(check_metered(&shipped("payg"), 1_000, 1_001, &[line]).is_some());
}

#[test]
fn two_wrong_lines_that_come_to_the_right_sum_are_a_difference() {
    let [included, _, above] = standard(100_000, 23_456, 2_346 + 5);
    let lines = [included, line(0, None, 8_990), above];
    let text = check(&shipped("standard"), 123_456, &lines).unwrap();
    assert!(
        text.contains("8990 minor units") && text.contains("8995 minor units"),
        "{text}"
    );
    assert!(text.contains("Fee, calls 1 to 100,000"), "{text}");
}

#[test]
fn calls_in_the_wrong_tier_are_a_difference() {
    let lines = standard(90_000, 33_456, 3_346);
    assert!(check(&shipped("standard"), 123_456, &lines).is_some());
}

#[test]
fn another_price_that_happens_to_come_to_the_same_is_a_difference() {
    let text = check(&shipped("payg"), 1, &[line(1, Some("0.2"), 0)]).unwrap();
    assert!(
        text.contains("for 1 at 0.2 where") && text.contains("for 1 at 0.15"),
        "{text}"
    );
}

#[test]
fn a_missing_fee_and_one_too_many_are_named() {
    let [included, fee, above] = standard(100_000, 23_456, 2_346);
    let text = check(
        &shipped("standard"),
        123_456,
        &[included.clone(), above.clone()],
    )
    .unwrap();
    assert!(
        text.contains("lacks the line “Fee, calls 1 to 100,000”"),
        "{text}"
    );
    let twice = [included, fee.clone(), fee, above];
    let text = check(&shipped("standard"), 123_456, &twice).unwrap();
    assert!(text.contains("which the catalogue does not"), "{text}");
}

#[test]
fn a_draft_never_runs_ahead_of_its_meter() {
    assert!(check(&shipped("payg"), 1_000, &[line(1_100, Some("0.15"), 165)]).is_some());
}

#[test]
fn lines_that_no_days_explain_hold_and_those_made_by_hand_do_not() {
    let payg = shipped("payg");
    let usage = line(1_000, Some("0.15"), 150);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut other = line(1, Some("0.15"), 500);
        change(&mut other);
        check(&payg, 1_000, &[usage.clone(), other])
    };
    let item = &|line: &mut Value| line["parent"] = json!({"invoice_item_details": {}});
    assert_eq!(with(item), None, "a person put it there");
    let part = with(&|line: &mut Value| {
        line["parent"]["subscription_item_details"]["proration"] = true.into();
    });
    assert!(part.unwrap().contains("for a part of a period"));
    let before = with(&|line: &mut Value| line["period"]["start"] = (START - 86_400).into());
    let before = before.unwrap();
    assert!(
        before.contains("2026-02-28") && before.contains("2026-04-01"),
        "{before}"
    );
    let second = with(&|line: &mut Value| {
        line["pricing"]["price_details"]["price"] = "price_2".into();
    });
    assert!(second.unwrap().contains("a second price"));
}

#[test]
fn blocks_of_calls_may_be_counted_either_way_and_lag() {
    let blocks = Model {
        pricing: Pricing::MeteredUnit {
            fee: Money {
                currency: Currency::USD,
                minor: 500,
            },
            block: 1_000,
        },
        ..shipped("payg")
    };
    for (quantity, amount) in [(3, 1_500), (2_500, 1_500), (2, 1_000), (0, 0)] {
        let lines = [line(quantity, Some("500"), amount)];
        assert_eq!(
            check(&blocks, 2_500, &lines),
            None,
            "{quantity} for {amount}"
        );
    }
    for (quantity, amount) in [(3, 1_000), (2_500, 1_000), (4, 2_000)] {
        let lines = [line(quantity, Some("500"), amount)];
        assert!(
            check(&blocks, 2_500, &lines).is_some(),
            "{quantity} for {amount}"
        );
    }
}
