//! Refunds and disputes.

use super::{Shop, id};

/// The charge of the first invoice of a subscription that was paid with this card.
fn first_charge(shop: &Shop, card: &str) -> (String, serde_json::Value) {
    let customer = shop.customer(Some(card));
    let price = shop.licensed_price("3000");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    let charges = shop.get(&format!("/v1/charges?customer={customer}"));
    (subscription, charges["data"][0].clone())
}

#[test]
fn a_payment_leads_to_its_invoice_and_back() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (subscription, charge) = first_charge(&shop, "pm_card_visa");
    let intent = charge["payment_intent"].as_str().unwrap();
    let path = format!(
        "/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={intent}"
    );
    let payments = shop.get(&path);
    assert_eq!(payments["data"].as_array().unwrap().len(), 1);
    let invoice = id(&shop.latest_invoice(&subscription));
    assert_eq!(payments["data"][0]["invoice"], invoice);
    let of_invoice = shop.get(&format!("/v1/invoice_payments?invoice={invoice}"));
    assert_eq!(of_invoice["data"], payments["data"]);
}

#[test]
fn a_charge_is_refunded_in_parts_and_not_beyond_its_amount() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (subscription, charge) = first_charge(&shop, "pm_card_visa");
    let charge = id(&charge);
    let part = shop.post("/v1/refunds", &[("charge", &charge), ("amount", "1000")]);
    assert_eq!(part["status"], "succeeded");
    let seen = shop.get(&format!("/v1/charges/{charge}"));
    assert_eq!(
        (&seen["amount_refunded"], &seen["refunded"]),
        (&1000.into(), &false.into())
    );
    let too_much = [("charge", charge.as_str()), ("amount", "2001")];
    shop.refused("POST", "/v1/refunds", &too_much, 400);
    let intent = seen["payment_intent"].as_str().unwrap();
    shop.post("/v1/refunds", &[("payment_intent", intent)]);
    let again = shop.refused("POST", "/v1/refunds", &[("charge", &charge)], 400);
    assert_eq!(again["code"], "charge_already_refunded");
    let refunds = shop.get(&format!("/v1/refunds?charge={charge}"));
    assert_eq!(refunds["data"].as_array().unwrap().len(), 2);
    assert_eq!(shop.subscription(&subscription)["status"], "active");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "paid");
}

#[test]
fn a_card_that_disputes_its_payments_leaves_the_subscription_alone() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (subscription, charge) = first_charge(&shop, "pm_card_createDispute");
    assert_eq!(charge["disputed"], true);
    let charge = id(&charge);
    let dispute = shop.get(&format!("/v1/disputes?charge={charge}"))["data"][0].clone();
    assert_eq!(dispute["status"], "needs_response");
    assert_eq!(shop.subscription(&subscription)["status"], "active");
    let refused = shop.refused("POST", "/v1/refunds", &[("charge", &charge)], 400);
    assert_eq!(refused["code"], "charge_disputed");
    let path = format!("/v1/disputes/{}", id(&dispute));
    let won = shop.post(
        &path,
        &[("evidence[uncategorized_text]", "winning_evidence")],
    );
    assert_eq!(won["status"], "won");
    shop.refused("POST", &format!("{path}/close"), &[], 400);
    for event in ["charge.dispute.created", "charge.dispute.closed"] {
        assert!(shop.events().contains(&event.to_owned()), "{event}");
    }
}
