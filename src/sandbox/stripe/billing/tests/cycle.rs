//! Periods turn, drafts fill up, are finalized and paid.

use super::{Shop, id, lines, period, seconds};

const PAYG: [(&str, &str); 1] = [("unit_amount_decimal", "0.15")];
const STANDARD: [(&str, &str); 7] = [
    ("billing_scheme", "tiered"),
    ("tiers_mode", "graduated"),
    ("tiers[0][up_to]", "100000"),
    ("tiers[0][flat_amount]", "8995"),
    ("tiers[0][unit_amount]", "0"),
    ("tiers[1][up_to]", "inf"),
    ("tiers[1][unit_amount_decimal]", "0.1"),
];

#[test]
fn a_metered_month_becomes_a_paid_invoice_with_exact_lines() {
    let shop = Shop::open("2026-11-17T14:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("standard", &STANDARD);
    let subscription = shop.subscribe(&customer, &price, &[]);
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["latest_invoice"], serde_json::Value::Null);
    shop.advance("2026-12-01T00:00:00Z");
    shop.report("standard", &customer, "150001");
    shop.advance("2026-12-17T14:00:00Z");
    let draft = shop.latest_invoice(&id(&subscription));
    assert_eq!(draft["status"], "draft");
    assert_eq!(draft["billing_reason"], "subscription_cycle");
    assert_eq!(draft["period_start"], seconds("2026-11-17T14:00:00Z"));
    assert_eq!(draft["period_end"], seconds("2026-12-17T14:00:00Z"));
    shop.advance("2026-12-17T15:00:00Z");
    let paid = shop.latest_invoice(&id(&subscription));
    assert_eq!(paid["status"], "paid");
    let expected = [("100000", 0), ("0", 8995), ("50001", 5000)];
    assert_eq!(
        lines(&paid),
        expected.map(|(quantity, amount)| (quantity.to_owned(), amount))
    );
    assert_eq!(paid["total"], 13_995);
    assert_eq!(paid["amount_paid"], 13_995);
    let line = &paid["lines"]["data"][2];
    assert_eq!(line["pricing"]["price_details"]["price"], price);
    assert_eq!(line["pricing"]["unit_amount_decimal"], "0.1");
    let parent = &line["parent"]["subscription_item_details"];
    assert_eq!(
        parent["subscription_item"],
        subscription["items"]["data"][0]["id"]
    );
    assert_eq!(line["period"]["end"], seconds("2026-12-17T14:00:00Z"));
    assert_eq!(
        period(&shop.subscription(&id(&subscription))),
        (
            seconds("2026-12-17T14:00:00Z"),
            seconds("2027-01-17T14:00:00Z")
        )
    );
}

#[test]
fn usage_that_arrives_before_finalization_still_counts_and_later_usage_does_not() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.advance("2026-12-17T00:00:00Z");
    let report = |value: &str| {
        let at = seconds("2026-12-16T23:00:00Z").to_string();
        let form = [
            ("event_name", "payg"),
            ("payload[stripe_customer_id]", customer.as_str()),
            ("payload[value]", value),
            ("timestamp", at.as_str()),
        ];
        shop.post("/v1/billing/meter_events", &form);
    };
    report("1000");
    shop.advance("2026-12-17T00:30:00Z");
    let draft = shop.latest_invoice(&subscription);
    assert_eq!(lines(&draft), [("1000".to_owned(), 150)]);
    let former = draft["lines"]["data"][0]["id"].clone();
    report("2000");
    shop.advance("2026-12-17T01:00:00Z");
    let paid = shop.latest_invoice(&subscription);
    assert_eq!(
        (&paid["status"], &paid["total"]),
        (&"paid".into(), &300.into())
    );
    assert_eq!(
        paid["lines"]["data"][0]["id"], former,
        "a line stays the same line"
    );
    report("3000");
    shop.advance("2027-01-17T02:00:00Z");
    assert_eq!(shop.latest_invoice(&subscription)["total"], 0);
    assert_eq!(shop.invoices(&subscription)[0]["total"], 300);
}

#[test]
fn a_draft_waits_for_the_moment_that_was_chosen() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.advance("2026-12-17T00:00:00Z");
    let draft = id(&shop.latest_invoice(&subscription));
    let path = format!("/v1/invoices/{draft}");
    let chosen = seconds("2026-12-19T00:00:00Z").to_string();
    let updated = shop.post(&path, &[("automatically_finalizes_at", &chosen)]);
    assert_eq!(
        updated["automatically_finalizes_at"],
        seconds("2026-12-19T00:00:00Z")
    );
    shop.advance("2026-12-18T23:59:59Z");
    assert_eq!(shop.get(&path)["status"], "draft");
    shop.advance("2026-12-19T00:00:00Z");
    assert_eq!(shop.get(&path)["status"], "paid");
    let error = shop.refused(
        "POST",
        &path,
        &[("automatically_finalizes_at", &chosen)],
        400,
    );
    assert_eq!(error["code"], "invoice_not_editable");
}

#[test]
fn a_draft_that_does_not_advance_is_finalized_only_on_request() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.report("payg", &customer, "100000");
    shop.advance("2026-12-17T00:00:00Z");
    let path = format!("/v1/invoices/{}", id(&shop.latest_invoice(&subscription)));
    shop.post(&path, &[("auto_advance", "false")]);
    shop.advance("2026-12-25T00:00:00Z");
    assert_eq!(shop.get(&path)["status"], "draft");
    let open = shop.post(&format!("{path}/finalize"), &[]);
    assert_eq!(
        (&open["status"], &open["amount_due"]),
        (&"open".into(), &15_000.into())
    );
    assert_eq!(shop.post(&format!("{path}/pay"), &[])["status"], "paid");
}

#[test]
fn less_than_the_minimum_charge_is_paid_at_once_and_added_to_the_next_invoice() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.report("payg", &customer, "200");
    shop.advance("2026-12-17T01:00:00Z");
    let small = shop.latest_invoice(&subscription);
    assert_eq!(
        (&small["total"], &small["amount_due"]),
        (&30.into(), &0.into())
    );
    assert_eq!(
        (&small["status"], &small["ending_balance"]),
        (&"paid".into(), &30.into())
    );
    assert_eq!(
        shop.get(&format!("/v1/customers/{customer}"))["balance"],
        30
    );
    shop.report("payg", &customer, "1000");
    shop.advance("2027-01-17T01:00:00Z");
    let next = shop.latest_invoice(&subscription);
    assert_eq!(
        (&next["total"], &next["amount_due"]),
        (&150.into(), &180.into())
    );
    assert_eq!(shop.get(&format!("/v1/customers/{customer}"))["balance"], 0);
}

#[test]
fn a_licensed_price_is_paid_in_advance_every_month() {
    let shop = Shop::open("2026-01-31T10:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("1495");
    let subscription = shop.subscribe(&customer, &price, &[("items[0][quantity]", "2")]);
    assert_eq!(subscription["status"], "active");
    let first = shop.latest_invoice(&id(&subscription));
    assert_eq!(first["billing_reason"], "subscription_create");
    assert_eq!(
        (&first["status"], &first["amount_paid"]),
        (&"paid".into(), &2990.into())
    );
    shop.advance("2026-04-01T00:00:00Z");
    let ends: Vec<_> = shop
        .invoices(&id(&subscription))
        .iter()
        .map(|invoice| {
            invoice["lines"]["data"][0]["period"]["end"]
                .as_i64()
                .unwrap()
        })
        .collect();
    let expected = [
        "2026-02-28T10:00:00Z",
        "2026-03-31T10:00:00Z",
        "2026-04-30T10:00:00Z",
    ];
    assert_eq!(
        ends,
        expected.map(seconds),
        "the 31st clamps and comes back"
    );
}

#[test]
fn invoices_are_numbered_by_customer() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("1000");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.advance("2026-12-02T00:00:00Z");
    let numbers: Vec<_> = shop
        .invoices(&subscription)
        .iter()
        .map(|invoice| invoice["number"].as_str().unwrap()[8..].to_owned())
        .collect();
    assert_eq!(numbers, ["-0001", "-0002"]);
}

#[test]
fn the_preview_is_the_coming_invoice() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.report("payg", &customer, "4000");
    shop.advance("2026-11-20T00:00:00Z");
    let preview = shop.post(
        "/v1/invoices/create_preview",
        &[("subscription", &subscription)],
    );
    assert_eq!(lines(&preview), [("4000".to_owned(), 600)]);
    assert_eq!(preview["billing_reason"], "upcoming");
    assert!(preview["id"].as_str().unwrap().starts_with("upcoming_in_"));
    assert!(shop.invoices(&subscription).is_empty(), "nothing is kept");
    shop.advance("2026-12-17T01:00:00Z");
    assert_eq!(
        shop.latest_invoice(&subscription)["total"],
        preview["total"]
    );
}

#[test]
fn the_preview_of_a_change_prorates_by_the_second() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let (small, large) = (shop.licensed_price("3000"), shop.licensed_price("6000"));
    let subscription = shop.subscribe(&customer, &small, &[]);
    let item = id(&subscription["items"]["data"][0]);
    shop.advance("2026-11-16T00:00:00Z");
    let preview = shop.post(
        "/v1/invoices/create_preview",
        &[
            ("subscription", &id(&subscription)),
            ("subscription_details[items][0][id]", &item),
            ("subscription_details[items][0][price]", &large),
        ],
    );
    let amounts: Vec<_> = lines(&preview).iter().map(|(_, amount)| *amount).collect();
    assert_eq!(amounts, [-1500, 3000, 6000]);
}

#[test]
fn an_invoice_that_is_sent_is_open_until_it_is_paid() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(None);
    let price = shop.licensed_price("3000");
    let form = [
        ("collection_method", "send_invoice"),
        ("days_until_due", "14"),
    ];
    let subscription = shop.subscribe(&customer, &price, &form);
    assert_eq!(subscription["status"], "active");
    assert_eq!(shop.latest_invoice(&id(&subscription))["status"], "draft");
    shop.advance("2026-11-01T01:00:00Z");
    let open = shop.latest_invoice(&id(&subscription));
    assert_eq!(open["status"], "open");
    assert_eq!(open["due_date"], seconds("2026-11-15T01:00:00Z"));
    let pay = format!("/v1/invoices/{}/pay", id(&open));
    assert_eq!(
        shop.post(&pay, &[("paid_out_of_band", "true")])["status"],
        "paid"
    );
}
