//! Renewals that fail: retries, past due, unpaid, and the way back.

use serde_json::Value;

use super::super::AfterRetries;
use super::{Shop, id};

/// A licensed subscription whose card pays nothing from the second month on.
fn failing(shop: &Shop) -> (String, String) {
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("1495");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    let failing = shop.post(
        "/v1/payment_methods/pm_card_chargeCustomerFail/attach",
        &[("customer", &customer)],
    );
    let settings = [(
        "invoice_settings[default_payment_method]",
        failing["id"].as_str().unwrap(),
    )];
    shop.post(&format!("/v1/customers/{customer}"), &settings);
    (customer, subscription)
}

fn status(shop: &Shop, subscription: &str) -> Value {
    shop.subscription(subscription)["status"].clone()
}

#[test]
fn a_failing_renewal_is_retried_and_then_unpaid_until_it_is_paid() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (customer, subscription) = failing(&shop);
    shop.advance("2026-12-01T01:00:00Z");
    assert_eq!(status(&shop, &subscription), "past_due");
    let invoice = shop.latest_invoice(&subscription);
    assert_eq!(
        (&invoice["status"], &invoice["attempt_count"]),
        (&"open".into(), &1.into())
    );
    assert_eq!(
        invoice["next_payment_attempt"],
        super::seconds("2026-12-02T01:00:00Z")
    );
    shop.advance("2026-12-08T00:59:59Z");
    assert_eq!(status(&shop, &subscription), "past_due");
    shop.advance("2026-12-08T01:00:00Z");
    assert_eq!(status(&shop, &subscription), "unpaid");
    let invoice = shop.latest_invoice(&subscription);
    assert_eq!(invoice["attempt_count"], 5);
    assert_eq!(invoice["next_payment_attempt"], Value::Null);

    let good = shop.post(
        "/v1/payment_methods/pm_card_visa/attach",
        &[("customer", &customer)],
    );
    let pay = format!("/v1/invoices/{}/pay", id(&invoice));
    shop.post(&pay, &[("payment_method", good["id"].as_str().unwrap())]);
    assert_eq!(status(&shop, &subscription), "active");
    let again = shop.refused("POST", &pay, &[], 400);
    assert_eq!(again["code"], "invoice_already_paid");
}

#[test]
fn an_unpaid_subscription_goes_on_to_make_drafts_that_are_not_charged() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (_, subscription) = failing(&shop);
    shop.advance("2027-01-03T00:00:00Z");
    let draft = shop.latest_invoice(&subscription);
    assert_eq!(
        (&draft["status"], &draft["auto_advance"]),
        (&"draft".into(), &false.into())
    );
    assert_eq!(status(&shop, &subscription), "unpaid");
}

#[test]
fn the_account_can_cancel_after_the_last_retry_or_leave_it_past_due() {
    for (setting, expected) in [
        (AfterRetries::Cancel, "canceled"),
        (AfterRetries::LeavePastDue, "past_due"),
    ] {
        let shop = Shop::open("2026-11-01T00:00:00Z");
        shop.stripe.set_after_retries(setting);
        let (_, subscription) = failing(&shop);
        shop.advance("2026-12-09T00:00:00Z");
        assert_eq!(status(&shop, &subscription), expected);
    }
}

#[test]
fn a_cancellation_for_non_payment_says_so() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    shop.stripe.set_after_retries(AfterRetries::Cancel);
    let (_, subscription) = failing(&shop);
    shop.advance("2026-12-09T00:00:00Z");
    let ended = shop.subscription(&subscription);
    assert_eq!(ended["cancellation_details"]["reason"], "payment_failed");
    assert!(
        shop.events()
            .contains(&"customer.subscription.deleted".to_owned())
    );
}

#[test]
fn a_card_that_always_asks_for_authentication_needs_action_on_renewal() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_authenticationRequired"));
    let price = shop.licensed_price("1495");
    let form = [("payment_behavior", "allow_incomplete")];
    let subscription = shop.subscribe(&customer, &price, &form);
    assert_eq!(subscription["status"], "incomplete");
    assert!(
        shop.events()
            .contains(&"invoice.payment_action_required".to_owned())
    );
    shop.advance("2026-11-01T23:00:00Z");
    let expired = shop.subscription(&id(&subscription));
    assert_eq!(expired["status"], "incomplete_expired");
    assert_eq!(shop.latest_invoice(&id(&subscription))["status"], "void");
}

#[test]
fn a_void_of_the_failed_invoice_makes_the_subscription_active() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (_, subscription) = failing(&shop);
    shop.advance("2026-12-01T01:00:00Z");
    let invoice = id(&shop.latest_invoice(&subscription));
    shop.post(&format!("/v1/invoices/{invoice}/void"), &[]);
    assert_eq!(status(&shop, &subscription), "active");
}

#[test]
fn without_a_card_nothing_is_created() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(None);
    let price = shop.licensed_price("1495");
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", price.as_str()),
    ];
    let error = shop.refused("POST", "/v1/subscriptions", &form, 400);
    assert_eq!(error["code"], "resource_missing");
    let list = shop.get("/v1/subscriptions?status=all");
    assert_eq!(list["data"].as_array().unwrap().len(), 0);
}
