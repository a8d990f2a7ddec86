//! How subscriptions end, and what is billed then.

use serde_json::Value;

use super::{Shop, id, lines, seconds};

const PAYG: [(&str, &str); 1] = [("unit_amount_decimal", "0.15")];

fn metered(shop: &Shop) -> (String, String) {
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &PAYG);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.report("payg", &customer, "2000");
    shop.advance("2026-11-20T00:00:00Z");
    (customer, subscription)
}

#[test]
fn an_end_at_the_period_end_bills_the_last_period() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let (_, subscription) = metered(&shop);
    let path = format!("/v1/subscriptions/{subscription}");
    let scheduled = shop.post(&path, &[("cancel_at_period_end", "true")]);
    assert_eq!(scheduled["status"], "active");
    assert_eq!(scheduled["cancel_at"], seconds("2026-12-17T00:00:00Z"));
    assert_eq!(scheduled["canceled_at"], seconds("2026-11-20T00:00:00Z"));
    shop.advance("2026-12-17T00:00:00Z");
    let ended = shop.subscription(&subscription);
    assert_eq!(ended["status"], "canceled");
    assert_eq!(ended["ended_at"], seconds("2026-12-17T00:00:00Z"));
    shop.advance("2027-03-01T00:00:00Z");
    let last = shop.latest_invoice(&subscription);
    assert_eq!(
        (&last["status"], &last["total"]),
        (&"paid".into(), &300.into())
    );
    assert_eq!(shop.invoices(&subscription).len(), 1);
}

#[test]
fn a_scheduled_end_can_be_taken_back() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let (_, subscription) = metered(&shop);
    let path = format!("/v1/subscriptions/{subscription}");
    shop.post(&path, &[("cancel_at_period_end", "true")]);
    let back = shop.post(&path, &[("cancel_at_period_end", "false")]);
    assert_eq!(
        (&back["cancel_at"], &back["canceled_at"]),
        (&Value::Null, &Value::Null)
    );
    shop.advance("2026-12-18T00:00:00Z");
    assert_eq!(shop.subscription(&subscription)["status"], "active");
}

#[test]
fn an_end_at_once_bills_usage_only_when_asked() {
    for (form, invoices) in [(&[][..], 0), (&[("invoice_now", "true")][..], 1)] {
        let shop = Shop::open("2026-11-17T00:00:00Z");
        let (_, subscription) = metered(&shop);
        let ended = shop.json("DELETE", &format!("/v1/subscriptions/{subscription}"), form);
        assert_eq!(ended["status"], "canceled");
        assert_eq!(
            ended["cancellation_details"]["reason"],
            "cancellation_requested"
        );
        let deleted = "customer.subscription.deleted".to_owned();
        assert!(shop.events().contains(&deleted));
        shop.advance("2027-01-01T00:00:00Z");
        let kept = shop.invoices(&subscription);
        assert_eq!(kept.len(), invoices);
        for invoice in kept {
            assert_eq!(invoice["status"], "paid");
            assert_eq!(lines(&invoice), [("2000".to_owned(), 300)]);
        }
    }
}

#[test]
fn an_end_at_once_stops_the_collection_of_earlier_drafts() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let (_, subscription) = metered(&shop);
    shop.advance("2026-12-17T00:10:00Z");
    let draft = id(&shop.latest_invoice(&subscription));
    shop.json("DELETE", &format!("/v1/subscriptions/{subscription}"), &[]);
    shop.advance("2026-12-25T00:00:00Z");
    let draft = shop.get(&format!("/v1/invoices/{draft}"));
    assert_eq!(
        (&draft["status"], &draft["auto_advance"]),
        (&"draft".into(), &false.into())
    );
}

#[test]
fn what_has_ended_cannot_end_again_or_change() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let (_, subscription) = metered(&shop);
    let path = format!("/v1/subscriptions/{subscription}");
    shop.json("DELETE", &path, &[]);
    assert_eq!(
        shop.refused("DELETE", &path, &[], 404)["code"],
        "resource_missing"
    );
    shop.refused("POST", &path, &[("cancel_at_period_end", "true")], 400);
    let changed = shop.post(&path, &[("metadata[note]", "kept")]);
    assert_eq!(changed["metadata"]["note"], "kept");
}

#[test]
fn the_unused_part_of_a_fee_is_given_back_when_asked() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("3000");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.advance("2026-11-16T00:00:00Z");
    let form = [("invoice_now", "true"), ("prorate", "true")];
    shop.json(
        "DELETE",
        &format!("/v1/subscriptions/{subscription}"),
        &form,
    );
    shop.advance("2026-11-17T00:00:00Z");
    let credit = shop.latest_invoice(&subscription);
    assert_eq!(
        (&credit["total"], &credit["amount_due"]),
        (&(-1500).into(), &0.into())
    );
    assert_eq!(
        shop.get(&format!("/v1/customers/{customer}"))["balance"],
        -1500
    );
}

#[test]
fn deleting_the_customer_ends_its_subscriptions() {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let (customer, subscription) = metered(&shop);
    shop.json("DELETE", &format!("/v1/customers/{customer}"), &[]);
    assert_eq!(shop.subscription(&subscription)["status"], "canceled");
    shop.advance("2027-01-01T00:00:00Z");
    assert!(shop.invoices(&subscription).is_empty());
}
