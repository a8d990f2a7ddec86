//! What Stripe tells us, what others pretend that it told us, and what gets lost on the way.

use std::fmt::Write as _;

use chrono::TimeDelta;
use ring::hmac;
use serde_json::{Value, json};
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, buy, consumer, pay, to_payment, user_id};
use crate::support::TestApp;

/// `Stripe-Signature` as Stripe's documentation describes it.
fn signature(secret: &str, body: &str, timestamp: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mac = hmac::sign(&key, format!("{timestamp}.{body}").as_bytes());
    let hex = mac.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("t={timestamp},v1={hex}")
}

/// Delivers `body` with this signature.
fn deliver(app: &TestApp, body: &str, signature: &str) -> Page {
    let url = format!("{}/webhooks/stripe", app.portal);
    let headers = [("stripe-signature", signature)];
    Browser::new().post_text(&url, "application/json", body, &headers)
}

/// Delivers `body` rightly signed.
pub(crate) fn deliver_signed(app: &TestApp, body: &str) -> Page {
    let signature = signature(&app.webhook_secret(), body, app.now().timestamp());
    deliver(app, body, &signature)
}

pub(crate) fn event(id: &str, event_type: &str, object: &Value) -> String {
    json!({"id": id, "object": "event", "type": event_type, "data": {"object": object}}).to_string()
}

/// How many events are in this state.
pub(crate) fn count(app: &TestApp, state: &str) -> i64 {
    app.metric(&format!("tollhouse_inbox_events{{state=\"{state}\"}}"))
}

/// How often APIM was asked to make or change a subscription of ours.
pub(crate) fn puts(app: &TestApp) -> usize {
    app.requests(Side::Azure, "PUT", "/subscriptions/sub_")
        .len()
}

/// Buys Pay as you go while `kind` is played on every delivery; the key works afterwards, and APIM
/// was asked for one subscription, once.
fn check_purchase_under(kind: Kind) {
    let app = TestApp::start();
    let browser = consumer(&app, "faulty@example.com");
    let payment = to_payment(&app, &browser, "payg", "Faulty");
    app.play_on_webhooks(kind, "", 1_000);
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    app.advance(TimeDelta::hours(2));
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
    let user = user_id(&app, "faulty@example.com");
    assert_eq!(app.sandbox.azure.subscriptions_of(&user).len(), 1);
    assert_eq!(puts(&app), 1);
}

#[test]
fn a_request_without_a_right_signature_is_refused() {
    let app = TestApp::shared();
    let body = event(
        "evt_unsigned",
        "customer.subscription.created",
        &json!({"id": "sub_1"}),
    );
    let now = app.now().timestamp();
    let secret = app.webhook_secret();
    let right = signature(&secret, &body, now);
    for wrong in [
        String::new(),
        "nonsense".to_owned(),
        "t=,v1=".to_owned(),
        format!("t={now}"),
        signature("whsec_wrong", &body, now),
        signature(&secret, "another body", now),
        right.replace(&now.to_string(), &(now + 1).to_string()),
        right.replace("v1=", "v0="),
    ] {
        let page = deliver(&app, &body, &wrong);
        assert_eq!(page.status, 400, "{wrong}: {}", page.body);
    }
    let url = format!("{}/webhooks/stripe", app.portal);
    assert_eq!(
        Browser::new()
            .post_text(&url, "application/json", &body, &[])
            .status,
        400
    );
    assert_eq!(Browser::new().get(&url).status, 405);
    assert!(!app.status_page("/").body.contains("evt_unsigned"));
}

#[test]
fn a_signature_is_good_for_five_minutes() {
    let app = TestApp::shared();
    let secret = app.webhook_secret();
    let now = app.now().timestamp();
    let body = event("evt_old", "invoice.sent", &json!({"id": "in_1"}));
    for (age, status) in [(301, 400), (86_400, 400), (-301, 400), (300, 200), (0, 200)] {
        let page = deliver(&app, &body, &signature(&secret, &body, now - age));
        assert_eq!(page.status, status, "{age} seconds old");
    }
    app.settle();
}

#[test]
fn any_of_several_signatures_may_be_the_right_one() {
    let app = TestApp::shared();
    let now = app.now().timestamp();
    let body = event("evt_rolled", "customer.created", &json!({"id": "cus_1"}));
    let wrong = signature("whsec_wrong", &body, now);
    let right = signature(&app.webhook_secret(), &body, now);
    let (_, right) = right.split_once(",v1=").unwrap();
    let both = format!("{wrong},v1={right},{}", wrong.replace("v1", "v0"));
    assert_eq!(deliver(&app, &body, &both).status, 200);
    app.settle();
}

#[test]
fn a_rolled_secret_goes_on_to_work() {
    let app = TestApp::start();
    let browser = consumer(&app, "rolled@example.com");
    let endpoints = app.sandbox.stripe.objects("webhook_endpoint");
    let endpoint = endpoints[0]["id"].as_str().unwrap();
    app.sandbox.stripe.roll_webhook_secret(endpoint).unwrap();
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn what_is_no_event_is_refused_although_signed() {
    let app = TestApp::shared();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        r#"{"id":"","type":"x"}"#,
        r#"{"id":7,"type":"x"}"#,
    ] {
        let page = deliver_signed(&app, body);
        assert_eq!(page.status, 400, "{body}: {}", page.body);
    }
    let deep = format!(
        r#"{{"id":"evt_deep","type":"x","data":{}"#,
        "[".repeat(100_000)
    );
    assert_eq!(deliver_signed(&app, &deep).status, 400);
}

#[test]
fn a_body_of_more_than_a_mebibyte_is_too_large() {
    let app = TestApp::shared();
    let huge = event(
        "evt_huge",
        "invoice.sent",
        &json!({"id": "x".repeat(1024 * 1024)}),
    );
    assert_eq!(deliver_signed(&app, &huge).status, 413);
}

#[test]
fn an_event_of_an_unknown_type_is_taken_and_ignored() {
    let app = TestApp::start();
    let object = json!({"id": "thing_1", "surprise": [1, {"é": null}]});
    let body = event("evt_unknown", "future.thing.happened", &object);
    assert_eq!(deliver_signed(&app, &body).status, 200);
    app.settle();
    assert_eq!((count(&app, "ignored"), count(&app, "failed")), (1, 0));
}

#[test]
fn an_event_about_something_that_stripe_does_not_know_is_ignored() {
    let app = TestApp::start();
    for (number, (event_type, id)) in [
        ("customer.subscription.updated", "sub_gone"),
        ("customer.subscription.deleted", "../../v1/customers"),
        ("customer.subscription.updated", ""),
        ("customer.subscription.updated", "sub_🚀 \"<"),
        ("invoice.paid", "in_gone"),
        ("checkout.session.completed", "cs_gone"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = event(
            &format!("evt_gone_{number}"),
            event_type,
            &json!({"id": id}),
        );
        assert_eq!(deliver_signed(&app, &body).status, 200);
    }
    app.settle();
    let failed = count(&app, "failed") + count(&app, "waiting");
    assert_eq!(failed, 0, "{}", app.status_page("/").text("#inbox"));
}

#[test]
fn an_event_that_is_sent_again_is_kept_once() {
    let app = TestApp::start();
    let body = event(
        "evt_twice",
        "future.thing.happened",
        &json!({"id": "thing_1"}),
    );
    for _ in 0..3 {
        assert_eq!(deliver_signed(&app, &body).status, 200);
        app.settle();
    }
    assert_eq!(count(&app, "ignored"), 1);
}

#[test]
fn a_thin_event_is_as_good_as_a_full_one() {
    let app = TestApp::start();
    let browser = consumer(&app, "thin@example.com");
    let payment = to_payment(&app, &browser, "payg", "Thin");
    app.play_on_webhooks(Kind::LostWebhook, "", 1_000);
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    let subscriptions = app.sandbox.stripe.objects("subscription");
    let body = json!({
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "customer.subscription.created",
        "related_object": {"id": subscriptions[0]["id"], "type": "subscription"},
    });
    assert_eq!(deliver_signed(&app, &body.to_string()).status, 200);
    app.settle();
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
}

/// The same Stripe account may sell other things, too.
#[test]
fn a_subscription_that_is_not_ours_is_left_alone() {
    let app = TestApp::start();
    let prices = app.stripe("/v1/prices?limit=100");
    let licensed = prices["data"].as_array().unwrap().iter();
    let licensed = licensed
        .into_iter()
        .find(|price| price["recurring"]["usage_type"] == "licensed");
    let price = licensed.unwrap()["id"].as_str().unwrap().to_owned();
    let fields = [
        ("email", "foreign@example.com"),
        ("payment_method", "pm_card_visa"),
        ("invoice_settings[default_payment_method]", "pm_card_visa"),
    ];
    let customer = app.ask_stripe("POST", "/v1/customers", &fields);
    let customer = customer["id"].as_str().unwrap();
    let fields = [("customer", customer), ("items[0][price]", price.as_str())];
    let foreign = app.ask_stripe("POST", "/v1/subscriptions", &fields);
    app.settle();
    app.advance(TimeDelta::days(32));
    let id = foreign["id"].as_str().unwrap();
    assert!(app.sandbox.azure.subscription(id).is_none());
    assert!(!app.status_page("/").text("#subscriptions").contains(id));
    assert!(count(&app, "ignored") > 0);
}

#[test]
fn webhooks_that_come_twice_do_what_they_do_once() {
    check_purchase_under(Kind::DuplicateWebhook);
}

#[test]
fn webhooks_in_the_wrong_order_lead_to_the_right_state() {
    check_purchase_under(Kind::ReorderedWebhook);
}

#[test]
fn webhooks_that_are_an_hour_late_lead_to_the_right_state() {
    check_purchase_under(Kind::DelayedWebhook);
}

#[test]
fn webhooks_whose_answer_stripe_did_not_get_do_what_they_do_once() {
    let app = TestApp::start();
    let browser = consumer(&app, "unheard@example.com");
    app.play_on_webhooks(Kind::ErrorAfterEffect, "", 1_000);
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    assert_eq!(app.call_api(&key), 200);
    app.sandbox.faults.clear();
    app.advance(TimeDelta::days(4));
    assert_eq!(puts(&app), 1);
}

#[test]
fn a_purchase_survives_the_loss_of_any_one_of_its_events() {
    for lost in [
        "customer.subscription.created",
        "checkout.session.completed",
        "invoice.paid",
    ] {
        let app = TestApp::start();
        let browser = consumer(&app, "lost@example.com");
        app.play_on_webhooks(Kind::LostWebhook, lost, 1);
        let key = buy(&app, &browser, "payg", GOOD_CARD);
        assert_eq!(app.call_api(&key), 200, "without {lost}");
    }
}

#[test]
fn events_that_came_while_we_were_down_are_made_up_for_when_stripe_sends_them_again() {
    let app = TestApp::start();
    let browser = consumer(&app, "down@example.com");
    let payment = to_payment(&app, &browser, "payg", "Down");
    app.stop_product();
    let url = payment.form("#pay");
    let form = url
        .fill("card_number", GOOD_CARD)
        .fill("card_expiry", "12/34");
    let success = form
        .fill("card_cvc", "123")
        .submit_once(&browser)
        .location()
        .unwrap();
    app.advance(TimeDelta::minutes(30));
    app.restart_product();
    app.advance(TimeDelta::hours(12));
    let page = browser.get(success.as_str());
    let page = if page.url.path() == "/sign-in" {
        let form = page.form("#email").fill("email", "down@example.com");
        form.fill("password", crate::journey::PASSWORD)
            .submit(&browser)
    } else {
        page
    };
    assert_eq!(app.call_api(&page.text("#primary-key")), 200);
}

#[test]
fn an_event_that_was_kept_is_applied_after_a_restart() {
    let app = TestApp::start();
    let browser = consumer(&app, "restart@example.com");
    let payment = to_payment(&app, &browser, "payg", "Restart");
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Azure,
        "PUT",
        "/subscriptions/sub_",
        1_000,
    );
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    assert!(!browser.get(success.url.as_str()).has("#primary-key"));
    app.stop_product();
    app.sandbox.faults.clear();
    app.restart_product();
    app.advance(TimeDelta::minutes(10));
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn an_old_event_that_is_sent_again_does_not_bring_access_back() {
    let app = TestApp::start();
    let browser = consumer(&app, "replay@example.com");
    let key = buy(&app, &browser, "basic", GOOD_CARD);
    let events = app.sandbox.stripe.objects("event");
    let created = events
        .iter()
        .find(|event| event["type"] == "customer.subscription.created");
    let created = created.unwrap();
    let subscription = created["data"]["object"]["id"].as_str().unwrap();
    app.ask_stripe("DELETE", &format!("/v1/subscriptions/{subscription}"), &[]);
    app.settle();
    assert_eq!(app.call_api(&key), 401);
    assert!(
        app.sandbox
            .stripe
            .redeliver(created["id"].as_str().unwrap())
    );
    app.settle();
    let mut forged = created.clone();
    forged["id"] = json!("evt_new_id_of_an_old_event");
    assert_eq!(deliver_signed(&app, &forged.to_string()).status, 200);
    app.settle();
    assert_eq!(app.call_api(&key), 401);
    assert_eq!(puts(&app), 1);
}
