//! What a catalogue file may say, and what it is told when it says something else.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};

use super::parse;
use crate::catalogue::{Interval, Limit, Period, Pricing, StatusClass, Visibility};

/// The problems of a file with this one product, without their line and column.
fn problems_of(model: &Value) -> Vec<String> {
    let text = json!([model]).to_string();
    match parse(&text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{}: {}; {}", problem.pointer, problem.what, problem.fix))
            .collect(),
    }
}

/// A good product of the type that takes both prices, changed by `change`.
fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
    let mut model = json!({
        "id": "standard",
        "pricingModelType": "TierWithOverage",
        "recurring": {"interval": "month", "intervalCount": 1},
        "prices": {
            "unit": {"currency": "usd", "unitAmount": 8995, "quota": 1000},
            "metered": {"currency": "usd", "unitAmount": 10}
        }
    });
    change(&mut model);
    assert_eq!(problems_of(&model), expected);
}

fn remove(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name).unwrap();
}

#[test]
fn a_file_in_the_samples_shape_loads_without_our_members() {
    let text = r#"[
        {"id": "free", "pricingModelType": "Free",
         "recurring": {"interval": "month", "intervalCount": 1}},
        {"id": "basic", "pricingModelType": "Tier",
         "recurring": {"interval": "month", "intervalCount": 1},
         "prices": {"unit": {"currency": "eur", "unitAmount": 1495, "quota": 500}}},
        {"id": "pro", "pricingModelType": "TierWithOverage",
         "recurring": {"interval": "month", "intervalCount": 1},
         "prices": {"unit": {"currency": "eur", "unitAmount": 44900, "quota": 5000, "maxUnits": 1},
                    "metered": {"currency": "eur", "unitAmount": 6}}},
        {"id": "enterprise", "pricingModelType": "Unit",
         "recurring": {"interval": "month", "intervalCount": 1},
         "prices": {"unit": {"currency": "eur", "unitAmount": 74900, "quota": 15000}}}
    ]"#;
    let models = parse(text).unwrap();
    assert_eq!(
        models[0].currency.code(),
        "eur",
        "free speaks the file's currency"
    );
    assert_eq!(models[1].display_name, "Basic");
    let month = 30 * 24 * 60 * 60;
    assert_eq!(
        models[1].quality_of_service.quota,
        Some(Limit {
            calls: 50_000,
            renewal_seconds: month
        }),
        "what a tier covers is its quota"
    );
    assert_eq!(models[2].quality_of_service.quota, None);
    assert!(matches!(
        models[3].pricing,
        Pricing::Unit {
            block: 1_500_000,
            blocks_max: 100,
            ..
        }
    ));
}

#[test]
fn our_members_are_read() {
    let text = json!([{
        "id": "blocks",
        "pricingModelType": "MeteredUnit",
        "displayName": " Blocks ",
        "description": "By the block",
        "terms": "Be kind.",
        "recurring": {"interval": "month", "intervalCount": 3},
        "prices": {"unit": {"currency": "jpy", "unitAmount": 500, "quota": 20}},
        "unitSize": 50,
        "qualityOfService": {
            "rateLimit": {"calls": 10, "renewalSeconds": 300},
            "quota": {"calls": 9, "renewalSeconds": 0}
        },
        "billable": ["success", "failed"],
        "trialDays": 14,
        "pastDueGraceDays": 0,
        "visibility": "hidden"
    }]);
    let model = parse(&text.to_string()).unwrap().remove(0);
    assert_eq!(model.price_in_words(), "¥500 for every started 1,000 calls");
    assert_eq!(
        (model.display_name.as_str(), model.terms.as_deref()),
        ("Blocks", Some("Be kind."))
    );
    assert_eq!(
        model.interval,
        Interval {
            period: Period::Month,
            count: 3
        }
    );
    let quality = model.quality_of_service;
    assert_eq!(
        quality.rate_limit,
        Some(Limit {
            calls: 10,
            renewal_seconds: 300
        })
    );
    assert_eq!(
        quality.quota,
        Some(Limit {
            calls: 9,
            renewal_seconds: 0
        })
    );
    assert_eq!(model.billable, [StatusClass::Success, StatusClass::Failed]);
    assert_eq!(
        (model.trial_days, model.visibility),
        (14, Visibility::Hidden)
    );
    assert_eq!(model.past_due_grace_days, Some(0));
    assert_eq!(model.document, text[0]);
}

#[test]
fn all_problems_are_named_at_once_with_their_places() {
    let text = "[\n  {\"id\": \"a b\", \"pricingModelType\": \"Metred\"},\n  {\n    \"id\": \"x\",\n    \
                \"pricingModelType\": \"Metered\",\n    \"recurring\": {\"interval\": \"moth\"},\n    \
                \"prices\": {\"metered\": {\"currency\": \"USD\", \"unitAmount\": -1}}\n  }\n]";
    let problems = parse(text).unwrap_err().to_string();
    assert_eq!(
        problems,
        "the catalogue has 6 problems:\
         \n  line 2, column 3, /0: has no `recurring`; add \"recurring\": {\"interval\": \"month\", \"intervalCount\": 1}\
         \n  line 2, column 10, /0/id: the product id may hold only letters, digits, hyphens and underscores; write the APIM product's id\
         \n  line 2, column 37, /0/pricingModelType: \"Metred\" is not known here; did you mean \"Metered\"?\
         \n  line 6, column 31, /1/recurring/interval: \"moth\" is not known here; did you mean \"month\"?\
         \n  line 7, column 40, /1/prices/metered/currency: \"USD\" is not a known currency; write \"usd\"\
         \n  line 7, column 61, /1/prices/metered/unitAmount: is -1; write minor units (cents) above 0: a whole number, or a decimal as a string, \"12.5\""
    );
}

#[test]
fn text_that_is_not_json_is_one_problem_at_its_place() {
    let problems = parse("[\n  {\"id\": }\n]").unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.column), (2, 10));
    assert_eq!(problem.what, "this is not JSON: expected value");
    for text in ["", "[", "[] []", "\u{0}"] {
        assert_eq!(parse(text).unwrap_err().iter().count(), 1, "{text:?}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let problems = parse("\u{feff}[]").unwrap_err();
    assert_eq!(problems.iter().next().unwrap().what, "holds 0 products");
}

#[test]
fn wrong_types_are_named() {
    check(
        |model| model["prices"] = json!([]),
        &["/0/prices: is an array; write an object, { … }"],
    );
    check(
        |model| model["id"] = json!(7),
        &["/0/id: is a number; write a string, \"…\""],
    );
    check(
        |model| model["prices"]["unit"]["quota"] = json!(null),
        &["/0/prices/unit/quota: is null; write a number of units of 100 calls, 1 to 10000000000"],
    );
    let problems = parse("{}").unwrap_err();
    assert_eq!(problems.iter().next().unwrap().what, "is an object");
}

#[test]
fn unknown_and_repeated_members_are_named() {
    check(
        |model| model["prices"]["unit"]["qouta"] = json!(1),
        &["/0/prices/unit/qouta: `qouta` is not known here; did you mean `quota`?"],
    );
    check(
        |model| model["recurring"]["a/b~"] = json!(1),
        &[
            "/0/recurring/a~1b~0: `a/b~` is not known here; remove it; known here: interval, intervalCount",
        ],
    );
    let text = r#"[{"id": "x", "id": "y", "pricingModelType": "Free"}]"#;
    let problems = parse(text).unwrap_err();
    assert_eq!(
        problems.iter().next().unwrap().what,
        "`id` stands here twice"
    );
}

#[test]
fn ids_that_apim_takes_for_the_same_are_refused() {
    let text =
        r#"[{"id": "pro", "pricingModelType": "Free"}, {"id": "PRO", "pricingModelType": "Free"}]"#;
    let problems = parse(text).unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.pointer, "/1/id");
    assert_eq!(problem.what, "an earlier product has the id `PRO` too");
}

#[test]
fn each_type_takes_exactly_its_prices() {
    check(
        |model| remove(&mut model["prices"], "metered"),
        &["/0/prices: has no `metered`; add the `metered` price, which TierWithOverage needs"],
    );
    check(
        |model| remove(model, "prices"),
        &["/0: has no `prices`; add the prices that TierWithOverage needs"],
    );
    for (model_type, unwanted) in [
        ("Tier", "metered"),
        ("Unit", "metered"),
        ("MeteredUnit", "metered"),
        ("Metered", "unit"),
    ] {
        let what = format!(
            "/0/prices/{unwanted}: {model_type} has no `{unwanted}` price; \
             remove it, or choose another pricingModelType"
        );
        check(
            |model| model["pricingModelType"] = json!(model_type),
            &[&what],
        );
    }
    check(
        |model| model["pricingModelType"] = json!("Free"),
        &[
            "/0/prices: a Free product has no prices; remove `prices`, or choose another pricingModelType",
        ],
    );
    check(
        |model| model["pricingModelType"] = json!("Freemium"),
        &[
            "/0/prices/unit/unitAmount: is 8995; write 0: the first calls of a Freemium product are free \
         (else choose TierWithOverage)",
        ],
    );
}

#[test]
fn numbers_out_of_range_are_refused_not_bent() {
    const FEE: &str = "write a whole number of minor units (cents), 1 to 999999999999";
    for amount in [
        json!(0),
        json!(-5),
        json!(14.95),
        json!(1e3),
        json!(1_000_000_000_000_u64),
    ] {
        let expected = format!("/0/prices/unit/unitAmount: is {amount}; {FEE}");
        check(
            |model| model["prices"]["unit"]["unitAmount"] = amount,
            &[&expected],
        );
    }
    check(
        |model| model["prices"]["unit"]["quota"] = json!(0),
        &["/0/prices/unit/quota: is 0; write a number of units of 100 calls, 1 to 10000000000"],
    );
    check(
        |model| model["prices"]["unit"]["maxUnits"] = json!(2),
        &[
            "/0/prices/unit/maxUnits: is 2; write 1 or remove it: TierWithOverage has no blocks to count",
        ],
    );
    check(
        |model| model["recurring"]["intervalCount"] = json!(37),
        &[
            "/0/recurring/intervalCount: is 37; write 1 to 36: Stripe's periods are three years at most",
        ],
    );
    check(
        |model| model["trialDays"] = json!(731),
        &["/0/trialDays: is 731; write 0 to 730 days"],
    );
    check(
        |model| model["pastDueGraceDays"] = json!(91),
        &["/0/pastDueGraceDays: is 91; write 0 to 90 days"],
    );
    check(
        |model| model["unitSize"] = json!(0),
        &["/0/unitSize: is 0; write how many calls one unit has, 1 to 1000000"],
    );
    check(
        |model| model["displayName"] = json!("  "),
        &["/0/displayName: has 0 characters; write 1 to 300 characters"],
    );
}

#[test]
fn a_metered_price_may_be_an_exact_decimal_in_a_string() {
    check(
        |model| model["prices"]["metered"]["unitAmount"] = json!("12.5"),
        &[],
    );
    for amount in [
        json!(12.5),
        json!("1e2"),
        json!("0"),
        json!("-1"),
        json!("."),
        json!(""),
    ] {
        let expected = format!(
            "/0/prices/metered/unitAmount: is {amount}; write minor units (cents) above 0: \
             a whole number, or a decimal as a string, \"12.5\""
        );
        check(
            |model| model["prices"]["metered"]["unitAmount"] = amount,
            &[&expected],
        );
    }
    check(
        |model| model["unitSize"] = json!(3),
        &[
            "/0/prices/metered/unitAmount: comes to no exact price for one call: 10 / 3; \
         choose one that has at most 12 decimals for one call",
        ],
    );
}

#[test]
fn currencies_must_be_known_and_the_same() {
    check(
        |model| model["prices"]["metered"]["currency"] = json!("eur"),
        &[
            "/0/prices: mixes two currencies; give both the same currency: they are one price at Stripe",
        ],
    );
    check(
        |model| model["prices"]["unit"]["currency"] = json!("uds"),
        &["/0/prices/unit/currency: \"uds\" is not a known currency; did you mean \"usd\"?"],
    );
}

#[test]
fn limits_must_be_ones_that_apim_takes() {
    check(
        |model| {
            model["qualityOfService"] = json!({"rateLimit": {"calls": 0, "renewalSeconds": 301}});
        },
        &[
            "/0/qualityOfService/rateLimit/calls: is 0; write a number of calls, 1 or more",
            "/0/qualityOfService/rateLimit/renewalSeconds: is 301; write 1 to 300 seconds: APIM's longest window",
        ],
    );
    let tier = json!({
        "id": "basic",
        "pricingModelType": "Tier",
        "recurring": {"interval": "month"},
        "prices": {"unit": {"currency": "usd", "unitAmount": 1495, "quota": 500}},
        "qualityOfService": {"quota": {"calls": 40_000, "renewalSeconds": 2_592_000}}
    });
    assert_eq!(
        problems_of(&tier),
        [
            "/0/qualityOfService/quota: is 40000 calls but the price covers 50000; \
         make both the same, or leave this one out",
        ]
    );
}

#[test]
fn blocked_calls_cannot_be_made_billable() {
    check(
        |model| model["billable"] = json!(["success", "blocked", "success"]),
        &[
            "/0/billable/1: blocked calls are never billed; remove it",
            "/0/billable/2: stands here twice; write some of \"success\", \"failed\" and \"other\", each once",
        ],
    );
    check(
        |model| model["billable"] = json!([]),
        &["/0/billable: names no class, so nothing would be billed; \
         write some of \"success\", \"failed\" and \"other\", each once"],
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-zA-Z0-9. é\"]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = prop_oneof![
            Just("prices".to_owned()),
            Just("unit".to_owned()),
            Just("quota".to_owned()),
            Just("billable".to_owned()),
            Just("recurring".to_owned()),
            "[a-z/~]{0,4}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..5)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn no_file_makes_it_panic_or_fail_without_a_problem(value in any_json(), text in ".*") {
        for text in [json!([value]).to_string(), text] {
            if let Err(problems) = parse(&text) {
                assert!(problems.iter().count() > 0);
            }
        }
    }
}
