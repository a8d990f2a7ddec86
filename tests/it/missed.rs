//! Events that nobody delivered: found in Stripe's list, or made up for by comparing everything.

use chrono::TimeDelta;
use tollhouse::sandbox::faults::{Fault, Kind};
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, PASSWORD, buy, consumer, pay, sign_in, to_payment};
use crate::support::TestApp;

/// How often Stripe's list of events was asked for.
fn looks(app: &TestApp) -> usize {
    app.requests(Side::Stripe, "GET", "/v1/events").len()
}

/// How often all subscriptions were asked for.
fn comparisons(app: &TestApp) -> usize {
    app.requests(Side::Stripe, "GET", "/v1/subscriptions?")
        .len()
}

/// Pays on Stripe's page while the product is down; gives the page on which the key will be.
fn pay_unheard(payment: &Page, browser: &Browser) -> String {
    let form = payment
        .form("#pay")
        .fill("card_number", GOOD_CARD)
        .fill("card_expiry", "12/34")
        .fill("card_cvc", "123");
    form.submit_once(browser).location().unwrap().to_string()
}

/// The key on `page`, after signing in again if need be.
fn key_on(app: &TestApp, browser: &Browser, email: &str, page: &str) -> String {
    if browser.get(page).url.path() == "/sign-in" {
        sign_in(app, browser, email, PASSWORD);
    }
    browser.get(page).text("#primary-key")
}

#[test]
fn a_purchase_of_which_every_event_is_lost_is_found_in_stripes_list() {
    let app = TestApp::start();
    let browser = consumer(&app, "unheard@example.com");
    let payment = to_payment(&app, &browser, "payg", "Unheard");
    app.play_on_webhooks(Kind::LostWebhook, "", 1_000);
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    assert!(!browser.get(success.url.as_str()).has("#primary-key"));
    app.advance(TimeDelta::minutes(61));
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
    let page = app.status_page("/");
    assert!(
        page.text("#inbox").contains("from Stripe’s list"),
        "{}",
        page.body
    );
    assert_eq!(page.text("#gap .fact"), "Complete");
}

#[test]
fn the_list_is_read_on_start_and_every_so_often_and_costs_few_reads() {
    let app = TestApp::start_with(
        "2026-01-15T10:20:30Z",
        &[("stripe", "gap_fill_minutes = 120")],
    );
    app.settle();
    assert_eq!((looks(&app), comparisons(&app)), (0, 1), "a new store");
    app.advance(TimeDelta::days(1));
    assert_eq!((looks(&app), comparisons(&app)), (12, 1));
    app.stop_product();
    app.restart_product();
    app.settle();
    assert_eq!((looks(&app), comparisons(&app)), (13, 1));
}

#[test]
fn an_event_counts_once_that_comes_by_list_and_by_webhook() {
    let app = TestApp::start();
    let browser = consumer(&app, "twice@example.com");
    let payment = to_payment(&app, &browser, "payg", "Twice");
    app.play_on_webhooks(Kind::DelayedWebhook, "", 1_000);
    pay(&payment, &browser, GOOD_CARD);
    app.advance(TimeDelta::days(1));
    let events = app.sandbox.stripe.objects("event");
    let handled = events
        .iter()
        .filter(|event| {
            let kind = event["type"].as_str().unwrap();
            kind.starts_with("checkout.session") || kind.starts_with("customer.subscription")
        })
        .count();
    let kept = crate::webhook::count(&app, "applied") + crate::webhook::count(&app, "ignored");
    assert_eq!(kept, i64::try_from(handled).unwrap());
}

#[test]
fn after_five_days_down_the_list_has_what_stripe_sends_no_more() {
    let app = TestApp::start();
    let email = "five@example.com";
    let browser = consumer(&app, email);
    let payment = to_payment(&app, &browser, "payg", "Five days");
    app.stop_product();
    let success = pay_unheard(&payment, &browser);
    app.advance(TimeDelta::days(5));
    let compared = comparisons(&app);
    app.restart_product();
    app.settle();
    let key = key_on(&app, &browser, email, &success);
    assert_eq!(app.call_api(&key), 200);
    assert_eq!(comparisons(&app), compared, "the list was enough");
}

#[test]
fn after_forty_days_down_everything_is_compared() {
    let app = TestApp::start();
    let email = "forty@example.com";
    let browser = consumer(&app, email);
    let old = buy(&app, &browser, "basic", GOOD_CARD);
    let payment = to_payment(&app, &browser, "payg", "Forty days");
    app.stop_product();
    let success = pay_unheard(&payment, &browser);
    let subscriptions = app.sandbox.stripe.objects("subscription");
    let basic = subscriptions[0]["id"].as_str().unwrap();
    app.ask_stripe("DELETE", &format!("/v1/subscriptions/{basic}"), &[]);
    app.advance(TimeDelta::days(40));
    let (looked, compared) = (looks(&app), comparisons(&app));
    app.restart_product();
    app.settle();
    assert_eq!((looks(&app), comparisons(&app)), (looked, compared + 1));
    let key = key_on(&app, &browser, email, &success);
    assert_eq!(app.call_api(&key), 200);
    assert_eq!(app.call_api(&old), 401, "cancelled meanwhile");
    let tile = app.status_page("/").text("#gap");
    assert!(
        tile.contains("Everything was compared on 24 Feb 2026"),
        "{tile}"
    );
    app.advance(TimeDelta::hours(2));
    assert!(looks(&app) > looked, "from now on the list is enough again");
}

#[test]
fn a_long_list_is_read_page_by_page_and_goes_on_where_stripe_failed() {
    let app = TestApp::start();
    let browser = consumer(&app, "pages@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let subscription = app.sandbox.stripe.objects("subscription")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.play_on_webhooks(Kind::LostWebhook, "", 1_000);
    let path = format!("/v1/subscriptions/{subscription}");
    for number in 0..250 {
        let number = number.to_string();
        app.ask_stripe("POST", &path, &[("metadata[number]", &number)]);
    }
    let before = crate::webhook::count(&app, "applied");
    app.sandbox.faults.add(Fault {
        kind: Kind::Nonsense,
        side: Side::Stripe,
        method: None,
        path_contains: "/v1/events".to_owned(),
        times: 1,
        skip: 1,
    });
    app.settle();
    app.advance(TimeDelta::minutes(61));
    assert_eq!(app.status_page("/").text("#gap .fact"), "In trouble");
    app.advance(TimeDelta::minutes(6));
    assert_eq!(crate::webhook::count(&app, "applied"), before + 250);
    assert_eq!(app.status_page("/").text("#gap .fact"), "Complete");
}
