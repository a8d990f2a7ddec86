//! Anchors, trials, pauses and changes.

use serde_json::Value;

use super::{Shop, id, lines, period, seconds};

const PAYG: [(&str, &str); 1] = [("unit_amount_decimal", "0.15")];

/// The anchor configuration for a day of the month at 00:00:00 UTC.
fn midnight(day: &str) -> [(&str, &str); 4] {
    [
        ("billing_cycle_anchor_config[day_of_month]", day),
        ("billing_cycle_anchor_config[hour]", "0"),
        ("billing_cycle_anchor_config[minute]", "0"),
        ("billing_cycle_anchor_config[second]", "0"),
    ]
}

/// The ends of the first periods of a metered subscription that is anchored to midnight.
fn check_periods(start: &str, day: &str, ends: &[&str]) {
    let shop = Shop::open(start);
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &midnight(day)));
    for end in ends {
        let running = period(&shop.subscription(&subscription));
        assert_eq!(running.1, seconds(end), "{start}");
        shop.advance(end);
    }
}

#[test]
fn a_day_at_midnight_gives_a_first_period_up_to_that_day_of_the_next_month() {
    check_periods(
        "2026-11-17T14:05:06Z",
        "17",
        &["2026-12-17T00:00:00Z", "2027-01-17T00:00:00Z"],
    );
}

#[test]
fn a_sign_up_on_the_31st_clamps_and_comes_back() {
    check_periods(
        "2026-01-31T14:00:00Z",
        "31",
        &[
            "2026-02-28T00:00:00Z",
            "2026-03-31T00:00:00Z",
            "2026-04-30T00:00:00Z",
        ],
    );
}

#[test]
fn a_sign_up_on_leap_day_keeps_the_29th() {
    check_periods(
        "2028-02-29T14:00:00Z",
        "29",
        &["2028-03-29T00:00:00Z", "2028-04-29T00:00:00Z"],
    );
    check_periods(
        "2027-01-29T14:00:00Z",
        "29",
        &["2027-02-28T00:00:00Z", "2027-03-29T00:00:00Z"],
    );
}

#[test]
fn a_short_first_period_is_prorated_unless_told_otherwise() {
    let charged = |more: &[(&str, &str)]| {
        let shop = Shop::open("2026-11-16T00:00:00Z");
        let customer = shop.customer(Some("pm_card_visa"));
        let price = shop.licensed_price("3000");
        let mut form = midnight("1").to_vec();
        form.extend_from_slice(more);
        let subscription = id(&shop.subscribe(&customer, &price, &form));
        assert_eq!(shop.subscription(&subscription)["status"], "active");
        shop.advance("2026-12-01T01:00:00Z");
        shop.invoices(&subscription)
            .iter()
            .map(|invoice| invoice["amount_paid"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(charged(&[]), [1500, 3000]);
    assert_eq!(charged(&[("proration_behavior", "none")]), [3000]);
}

#[test]
fn an_anchor_beyond_the_next_natural_date_is_refused() {
    let shop = Shop::open("2026-11-16T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("3000");
    let anchor = seconds("2026-12-17T00:00:00Z").to_string();
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", price.as_str()),
        ("billing_cycle_anchor", anchor.as_str()),
    ];
    let error = shop.refused("POST", "/v1/subscriptions", &form, 400);
    assert_eq!(error["param"], "billing_cycle_anchor");
}

#[test]
fn usage_in_a_trial_is_free_and_periods_are_counted_from_its_end() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let form = [("trial_period_days", "14")];
    let subscription = id(&shop.subscribe(&customer, &price, &form));
    assert_eq!(shop.subscription(&subscription)["status"], "trialing");
    shop.report("payg", &customer, "5000");
    shop.advance("2026-11-15T00:00:00Z");
    let running = shop.subscription(&subscription);
    assert_eq!(running["status"], "active");
    assert_eq!(period(&running).1, seconds("2026-12-15T00:00:00Z"));
    shop.advance("2026-12-15T01:00:00Z");
    assert_eq!(shop.latest_invoice(&subscription)["total"], 0);
}

#[test]
fn a_trial_of_a_licensed_price_starts_with_an_invoice_of_nothing() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(None);
    let price = shop.licensed_price("3000");
    let form = [
        ("trial_period_days", "14"),
        (
            "trial_settings[end_behavior][missing_payment_method]",
            "pause",
        ),
    ];
    let subscription = id(&shop.subscribe(&customer, &price, &form));
    let first = shop.latest_invoice(&subscription);
    assert_eq!(
        (&first["status"], &first["total"]),
        (&"paid".into(), &0.into())
    );
    shop.advance("2026-11-15T00:00:00Z");
    let paused = shop.subscription(&subscription);
    assert_eq!(paused["status"], "paused");
    let cause = &paused["status_details"]["paused"]["subscription"]["type"];
    assert_eq!(*cause, "trial_end_without_payment_method");
    shop.advance("2026-12-15T00:00:00Z");
    assert_eq!(
        shop.invoices(&subscription).len(),
        1,
        "a pause makes no invoices"
    );

    let card = shop.post(
        "/v1/payment_methods/pm_card_visa/attach",
        &[("customer", &customer)],
    );
    let settings = [("default_payment_method", card["id"].as_str().unwrap())];
    shop.post(&format!("/v1/subscriptions/{subscription}"), &settings);
    let resumed = shop.post(&format!("/v1/subscriptions/{subscription}/resume"), &[]);
    assert_eq!(resumed["status"], "active");
    assert_eq!(shop.latest_invoice(&subscription)["amount_paid"], 3000);
}

#[test]
fn a_pause_of_collection_leaves_drafts() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("3000");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    let path = format!("/v1/subscriptions/{subscription}");
    shop.post(&path, &[("pause_collection[behavior]", "keep_as_draft")]);
    shop.advance("2026-12-05T00:00:00Z");
    let kept = shop.subscription(&subscription);
    assert_eq!(kept["status"], "active");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "draft");
    let back = shop.post(&path, &[("pause_collection", "")]);
    assert_eq!(back["pause_collection"], Value::Null);
}

#[test]
fn other_pauses_of_collection_write_invoices_off_at_once() {
    for (behavior, expected) in [("void", "void"), ("mark_uncollectible", "uncollectible")] {
        let shop = Shop::open("2026-11-01T00:00:00Z");
        let customer = shop.customer(Some("pm_card_visa"));
        let price = shop.licensed_price("3000");
        let subscription = id(&shop.subscribe(&customer, &price, &[]));
        let path = format!("/v1/subscriptions/{subscription}");
        shop.post(&path, &[("pause_collection[behavior]", behavior)]);
        shop.advance("2026-12-05T00:00:00Z");
        assert_eq!(shop.latest_invoice(&subscription)["status"], expected);
        assert_eq!(shop.subscription(&subscription)["status"], "active");
    }
}

#[test]
fn a_resumption_that_is_not_paid_within_23_hours_is_voided_and_the_pause_goes_on() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_chargeCustomerFail"));
    let price = shop.licensed_price("3000");
    let trial = [("trial_period_days", "14")];
    let subscription = id(&shop.subscribe(&customer, &price, &trial));
    let path = format!("/v1/subscriptions/{subscription}");
    shop.post(&format!("{path}/pause"), &[("type", "subscription")]);
    shop.advance("2026-11-20T00:00:00Z");
    let resume = format!("{path}/resume");
    assert_eq!(shop.post(&resume, &[])["status"], "paused");
    let invoice = shop.latest_invoice(&subscription);
    assert_eq!(invoice["status"], "open");
    shop.advance("2026-11-21T00:00:00Z");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "void");
    assert_eq!(shop.subscription(&subscription)["status"], "paused");

    shop.post(&resume, &[]);
    let good = shop.post(
        "/v1/payment_methods/pm_card_visa/attach",
        &[("customer", &customer)],
    );
    let pay = format!(
        "/v1/invoices/{}/pay",
        id(&shop.latest_invoice(&subscription))
    );
    shop.post(&pay, &[("payment_method", good["id"].as_str().unwrap())]);
    assert_eq!(shop.subscription(&subscription)["status"], "active");
}

#[test]
fn a_change_of_price_is_settled_on_the_next_invoice_or_at_once() {
    for (behavior, expected) in [
        ("create_prorations", vec![3000, 7500]),
        ("always_invoice", vec![3000, 1500, 6000]),
        ("none", vec![3000, 6000]),
    ] {
        let shop = Shop::open("2026-11-01T00:00:00Z");
        let customer = shop.customer(Some("pm_card_visa"));
        let (small, large) = (shop.licensed_price("3000"), shop.licensed_price("6000"));
        let subscription = shop.subscribe(&customer, &small, &[]);
        let item = id(&subscription["items"]["data"][0]);
        let path = format!("/v1/subscriptions/{}", id(&subscription));
        shop.advance("2026-11-16T00:00:00Z");
        let form = [
            ("items[0][id]", item.as_str()),
            ("items[0][price]", large.as_str()),
            ("proration_behavior", behavior),
        ];
        let changed = shop.post(&path, &form);
        assert_eq!(changed["items"]["data"][0]["price"]["id"], large);
        assert_eq!(id(&changed["items"]["data"][0]), item);
        shop.advance("2026-12-01T01:00:00Z");
        let paid: Vec<_> = shop
            .invoices(&id(&subscription))
            .iter()
            .map(|invoice| invoice["amount_paid"].as_i64().unwrap())
            .collect();
        assert_eq!(paid, expected, "{behavior}");
    }
}

#[test]
fn a_change_of_a_metered_price_bills_what_was_used_before_it() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let old = shop.metered_price("old", &PAYG);
    let new = shop.metered_price("new", &[("unit_amount_decimal", "0.3")]);
    let subscription = shop.subscribe(&customer, &old, &[]);
    shop.report("old", &customer, "1000");
    shop.advance("2026-11-16T00:00:00Z");
    let item = id(&subscription["items"]["data"][0]);
    let form = [
        ("items[0][id]", item.as_str()),
        ("items[0][price]", new.as_str()),
    ];
    shop.post(&format!("/v1/subscriptions/{}", id(&subscription)), &form);
    shop.report("new", &customer, "2000");
    shop.advance("2026-12-01T01:00:00Z");
    let invoice = shop.latest_invoice(&id(&subscription));
    assert_eq!(
        lines(&invoice),
        [("1000".to_owned(), 150), ("2000".to_owned(), 600)]
    );
}

#[test]
fn a_backdated_start_pulls_earlier_usage_into_the_first_invoice() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    shop.report("payg", &customer, "1000");
    shop.advance("2026-11-05T00:00:00Z");
    let start = seconds("2026-11-01T00:00:00Z").to_string();
    let subscription = shop.subscribe(&customer, &price, &[("backdate_start_date", &start)]);
    assert_eq!(subscription["start_date"], seconds("2026-11-01T00:00:00Z"));
    let first = shop.latest_invoice(&id(&subscription));
    assert_eq!(lines(&first), [("1000".to_owned(), 150)]);
    assert_eq!(first["status"], "paid");
}

#[test]
fn a_subscription_on_a_test_clock_bills_when_the_clock_is_advanced() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let start = seconds("2026-11-01T00:00:00Z").to_string();
    let clock = id(&shop.post("/v1/test_helpers/test_clocks", &[("frozen_time", &start)]));
    let form = [
        ("test_clock", clock.as_str()),
        ("payment_method", "pm_card_visa"),
        ("invoice_settings[default_payment_method]", "pm_card_visa"),
    ];
    let customer = id(&shop.post("/v1/customers", &form));
    let price = shop.licensed_price("3000");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.advance("2027-01-15T00:00:00Z");
    assert_eq!(
        shop.invoices(&subscription).len(),
        1,
        "the clock stands still"
    );
    let target = seconds("2027-01-02T00:00:00Z").to_string();
    let advance = format!("/v1/test_helpers/test_clocks/{clock}/advance");
    shop.post(&advance, &[("frozen_time", &target)]);
    shop.advance("2027-01-15T00:00:01Z");
    let invoices = shop.invoices(&subscription);
    let paid = invoices
        .iter()
        .filter(|invoice| invoice["status"] == "paid");
    assert_eq!(paid.count(), 3);
}

#[test]
fn an_item_that_keeps_its_price_keeps_its_usage() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = shop.subscribe(&customer, &price, &[]);
    shop.report("payg", &customer, "1000");
    shop.advance("2026-11-16T00:00:00Z");
    let item = id(&subscription["items"]["data"][0]);
    let form = [
        ("items[0][id]", item.as_str()),
        ("items[0][metadata][note]", "kept"),
    ];
    let changed = shop.post(&format!("/v1/subscriptions/{}", id(&subscription)), &form);
    assert_eq!(changed["items"]["data"][0]["metadata"]["note"], "kept");
    shop.advance("2026-12-01T01:00:00Z");
    let invoice = shop.latest_invoice(&id(&subscription));
    assert_eq!(lines(&invoice), [("1000".to_owned(), 150)]);
}

#[test]
fn what_waits_for_an_invoice_is_on_the_one_that_comes_at_once() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("3000");
    let subscription = shop.subscribe(&customer, &price, &[]);
    let item = id(&subscription["items"]["data"][0]);
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    shop.advance("2026-11-16T00:00:00Z");
    for (quantity, behavior) in [("2", "create_prorations"), ("3", "always_invoice")] {
        let form = [
            ("items[0][id]", item.as_str()),
            ("items[0][quantity]", quantity),
            ("proration_behavior", behavior),
        ];
        shop.post(&path, &form);
    }
    let now = shop.latest_invoice(&id(&subscription));
    assert_eq!(now["amount_paid"], 3000);
    shop.advance("2026-12-01T01:00:00Z");
    assert_eq!(shop.latest_invoice(&id(&subscription))["amount_paid"], 9000);
}

#[test]
fn a_trial_that_is_ended_early_starts_the_first_period_at_once() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("3000");
    let form = [("trial_period_days", "14")];
    let subscription = id(&shop.subscribe(&customer, &price, &form));
    shop.advance("2026-11-04T00:00:00Z");
    let path = format!("/v1/subscriptions/{subscription}");
    let started = shop.post(&path, &[("trial_end", "now")]);
    assert_eq!(started["status"], "active");
    let expected = (
        seconds("2026-11-04T00:00:00Z"),
        seconds("2026-12-04T00:00:00Z"),
    );
    assert_eq!(period(&started), expected);
    assert_eq!(shop.latest_invoice(&subscription)["amount_paid"], 3000);
}
