//! Events that cannot be applied, come in other shapes, or say the same twice.

use chrono::TimeDelta;
use serde_json::json;
use tollhouse::sandbox::apim::model::Product;

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, buy, consumer, pay, to_payment};
use crate::resync::endpoint_tile;
use crate::support::{STATUS_PASSWORD, TestApp, basic};
use crate::webhook::{count, deliver_signed, event, puts};

/// Presses the button `selector` of the status page.
fn press(app: &TestApp, page: &Page, selector: &str) {
    let form = page.form(selector);
    let password = basic(STATUS_PASSWORD);
    let headers = [("authorization", password.as_str())];
    let pressed = Browser::new().post_with(form.action.as_str(), &form.pairs(), &headers);
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    app.settle();
}

/// An app in which a purchase's events could not be applied, because somebody deleted the product
/// in Azure; with the product, and the page that waits for the key.
fn with_failed_events(email: &str) -> (TestApp, Product, Browser, Page) {
    let app = TestApp::start();
    let browser = consumer(&app, email);
    let payment = to_payment(&app, &browser, "payg", "Failed");
    let product = app.sandbox.azure.product("payg").unwrap();
    app.sandbox.azure.state().products.remove("payg");
    app.is_refused();
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    for _ in 0..10 {
        app.advance(TimeDelta::hours(1));
    }
    (app, product, browser, success)
}

fn bring_back(app: &TestApp, product: &Product) {
    let id = product.id.clone();
    app.sandbox
        .azure
        .state()
        .products
        .insert(id, product.clone());
}

#[test]
fn what_keeps_failing_needs_attention_with_its_reason() {
    let (app, product, ..) = with_failed_events("reason@example.com");
    let page = app.status_page("/");
    let rows = page.text("#failed-events");
    assert!(rows.contains("customer.subscription.created"), "{rows}");
    assert!(
        rows.contains("Product not found"),
        "the reason is Azure's: {rows}"
    );
    assert!(rows.contains("8 tries"), "{rows}");
    assert!(page.text("#inbox").contains("needs attention"));
    assert!(!page.text("main").contains("failed"), "one word for it");
    assert!(page.text("#headline").contains("Webhook inbox"));
    bring_back(&app, &product);
    press(&app, &page, "#retry-all");
}

#[test]
fn one_event_is_tried_again_and_the_others_are_dismissed_by_name() {
    let (app, product, browser, success) = with_failed_events("one@example.com");
    let failed = count(&app, "failed");
    assert!(failed >= 2, "{failed}");
    bring_back(&app, &product);
    let page = app.status_page("/");
    press(
        &app,
        &page,
        "#failed-events form[action='/inbox/retry'] button",
    );
    assert_eq!(count(&app, "failed"), failed - 1);
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);

    let page = app.status_page("/");
    press(&app, &page, "#dismiss-all");
    assert_eq!(count(&app, "failed"), 0);
    assert_eq!(count(&app, "dismissed"), failed - 1);
    let page = app.status_page("/");
    assert!(!page.has("#attention"), "{}", page.body);
    let events = page.text("#inbox");
    assert!(
        events.contains("Dismissed by admin on 15 Jan 2026"),
        "{events}"
    );
}

#[test]
fn one_event_is_dismissed_and_stays_so_when_it_comes_again() {
    let (app, product, ..) = with_failed_events("dismiss@example.com");
    let failed = count(&app, "failed");
    let page = app.status_page("/");
    let dismissed = page.attribute("#failed-events tbody tr", "data-event");
    press(
        &app,
        &page,
        "#failed-events form[action='/inbox/dismiss'] button",
    );
    assert_eq!(
        (count(&app, "failed"), count(&app, "dismissed")),
        (failed - 1, 1)
    );
    app.sandbox.stripe.redeliver(&dismissed);
    app.settle();
    assert_eq!((count(&app, "dismissed"), count(&app, "waiting")), (1, 0));
    bring_back(&app, &product);
    press(&app, &page, "#retry-all");
}

#[test]
fn two_events_for_one_change_do_it_once() {
    let app = TestApp::start();
    let browser = consumer(&app, "both@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let subscription = app.sandbox.stripe.objects("subscription")[0].clone();
    let applied = count(&app, "applied");
    for id in ["evt_this", "evt_that"] {
        let body = event(id, "customer.subscription.updated", &subscription);
        assert_eq!(deliver_signed(&app, &body).status, 200);
    }
    app.settle();
    assert_eq!(count(&app, "applied"), applied + 2, "both are on record");
    assert_eq!(puts(&app), 1);
}

#[test]
fn a_thin_event_that_stripe_does_not_know_is_kept_and_explained() {
    let app = TestApp::start();
    let body = json!({
        "id": "evt_meter",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-01-15T10:20:30.000Z",
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    });
    assert_eq!(deliver_signed(&app, &body.to_string()).status, 200);
    app.settle();
    assert_eq!((count(&app, "ignored"), count(&app, "waiting")), (1, 0));
    let events = app.status_page("/").text("#inbox");
    assert!(
        events.contains("Stripe does not know the event"),
        "{events}"
    );
}

/// Somebody made the endpoint by hand, with the account's old version.
#[test]
fn an_endpoint_of_another_version_shows_and_its_events_work_all_the_same() {
    let app = TestApp::start();
    let browser = consumer(&app, "version@example.com");
    let endpoint = app.sandbox.stripe.objects("webhook_endpoint")[0].clone();
    let id = endpoint["id"].as_str().unwrap();
    app.ask_stripe("DELETE", &format!("/v1/webhook_endpoints/{id}"), &[]);
    let fields = [
        ("url", endpoint["url"].as_str().unwrap()),
        ("enabled_events[]", "*"),
        ("api_version", "2024-06-20"),
    ];
    let made = app.ask_stripe("POST", "/v1/webhook_endpoints", &fields);
    let store = rusqlite::Connection::open(&app.config.store.path).unwrap();
    let secret = made["secret"].as_str().unwrap();
    let changed = store.execute("UPDATE settings SET value = ?1", [secret]);
    assert_eq!(changed.unwrap(), 1);

    let key = buy(&app, &browser, "payg", GOOD_CARD);
    assert_eq!(app.call_api(&key), 200);
    let tile = endpoint_tile(&app);
    assert!(tile.contains("2024-06-20"), "{tile}");
    assert!(tile.contains("sync apply"), "{tile}");
    let plan = app.plan();
    let replaced = plan.iter().any(|line| line.contains("another API version"));
    assert!(replaced, "{plan:?}");
}

#[test]
fn an_endpoint_that_delivers_in_our_version_is_good() {
    let app = TestApp::start();
    assert!(endpoint_tile(&app).contains("Delivers"));
}

#[test]
fn a_version_in_the_events_shows_although_the_endpoint_is_right() {
    let app = TestApp::start();
    let body = json!({
        "id": "evt_old_version", "object": "event", "api_version": "2020-08-27",
        "type": "invoice.sent", "data": {"object": {"id": "in_1"}},
    });
    assert_eq!(deliver_signed(&app, &body.to_string()).status, 200);
    let tile = endpoint_tile(&app);
    assert!(tile.contains("2020-08-27"), "{tile}");
}

/// Something other than Tollhouse wrote into the database.
#[test]
fn a_record_that_makes_no_sense_shows_and_stops_nobody_else() {
    let app = TestApp::start();
    let browser = consumer(&app, "corrupt@example.com");
    let keys = ["payg", "developer"].map(|product| buy(&app, &browser, product, GOOD_CARD));
    let broken = app.sandbox.stripe.objects("subscription")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let store = rusqlite::Connection::open(&app.config.store.path).unwrap();
    let changed = store.execute(
        "UPDATE subscriptions SET product_id = 'not a product' WHERE subscription_id = ?1",
        [&broken],
    );
    assert_eq!(changed.unwrap(), 1);
    app.send_calls(&keys[1], 150, TimeDelta::zero());
    app.advance(TimeDelta::hours(1));
    let said = app.report_usage(false);
    assert!(said.contains("1 of 1 metered"), "{said}");
    assert!(said.contains(&broken), "{said}");
    let page = app.status_page("/");
    assert!(page.text("#unreadable").contains(&broken), "{}", page.body);
    assert!(page.text("#headline").contains("Subscriptions"));

    // Any event about it makes the record anew from what Stripe says.
    let subscription = json!({"id": broken});
    let body = event("evt_any", "customer.subscription.updated", &subscription);
    deliver_signed(&app, &body);
    app.settle();
    assert!(!app.status_page("/").has("#unreadable"));
}
