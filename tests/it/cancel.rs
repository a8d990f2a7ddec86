//! Cancelling subscriptions: at the period's end and at once, taken back, from our page and from
//! the developer portal, and on a bad day.

use chrono::TimeDelta;
use serde_json::Value;
use tollhouse::sandbox::apim::model::SubscriptionState;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{FAILS_LATER, GOOD_CARD, PASSWORD, buy, consumer, sign_in, user_id};
use crate::support::{IMPATIENT, TestApp};

/// The settings of most tests here: a session outlasts the months that they skip.
const LONG: &[(&str, &str)] = &[("portal", "session_hours = 720")];
const START: &str = "2026-01-15T10:20:30Z";

/// The page of the only subscription of this browser's account.
fn subscription(app: &TestApp, browser: &Browser) -> Page {
    let account = browser.get(&format!("{}/account", app.portal));
    account.click(browser, ".subscription a.quiet")
}

fn id(page: &Page) -> String {
    page.url.path().rsplit('/').next().unwrap().to_owned()
}

/// Asks for the end of the only subscription; gives the page that follows.
fn cancel(app: &TestApp, browser: &Browser, when: &str) -> Page {
    let page = subscription(app, browser);
    let asks = browser.get(&format!("{}/cancel", page.url));
    asks.form("#cancel").fill("when", when).submit(browser)
}

fn at_stripe(app: &TestApp, id: &str) -> Value {
    app.stripe(&format!("/v1/subscriptions/{id}"))
}

fn apim_state(app: &TestApp, id: &str) -> SubscriptionState {
    app.sandbox.azure.subscription(id).unwrap().state
}

/// What all invoices of a subscription come to, once each is paid.
fn paid(app: &TestApp, id: &str) -> i64 {
    let invoices = app.stripe(&format!("/v1/invoices?subscription={id}&limit=100"));
    let invoices = invoices["data"].as_array().unwrap();
    for invoice in invoices {
        assert_eq!(invoice["status"], "paid", "{invoice}");
    }
    invoices
        .iter()
        .filter_map(|invoice| invoice["total"].as_i64())
        .sum()
}

#[test]
fn an_end_with_the_period_keeps_the_key_until_then_and_bills_it() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "period@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_234, TimeDelta::days(20));
    app.advance(TimeDelta::days(21));
    let page = subscription(&app, &browser);
    let id = id(&page);
    let asks = page.click(&browser, "a[href$='/cancel']");
    assert!(
        asks.says("so far it comes to $1.85 for 1,234 calls"),
        "{}",
        asks.text("main")
    );
    assert!(asks.says("15 February 2026"), "{}", asks.text("main"));
    let page = asks.form("#cancel").submit(&browser);
    assert_eq!(page.url.path(), format!("/account/subscriptions/{id}"));
    app.settle();
    let page = subscription(&app, &browser);
    assert!(
        page.says("runs until 15 February 2026"),
        "{}",
        page.text("main")
    );
    assert_eq!(app.call_api(&key), 200);
    app.advance_to("2026-02-15T00:05:00Z");
    assert_eq!(app.call_api(&key), 401);
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    assert_eq!(apim_state(&app, &id), SubscriptionState::Cancelled);
    app.advance(TimeDelta::days(3));
    // The call of above is one more.
    assert_eq!(paid(&app, &id), 185);
}

#[test]
fn a_cancellation_can_be_taken_back_until_it_takes_effect() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "undo@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let id = id(&cancel(&app, &browser, "at_period_end"));
    app.settle();
    assert_eq!(at_stripe(&app, &id)["cancel_at_period_end"], true);
    let page = subscription(&app, &browser).click(&browser, "a[href$='/renew']");
    page.form("#renew").submit(&browser);
    app.settle();
    assert_eq!(at_stripe(&app, &id)["cancel_at_period_end"], false);
    assert!(subscription(&app, &browser).says("in good standing"));
    // And once more, and back again: each wish is one of its own.
    cancel(&app, &browser, "at_period_end");
    app.settle();
    assert_eq!(at_stripe(&app, &id)["cancel_at_period_end"], true);
    let url = format!("{}/account/subscriptions/{id}/renew", app.portal);
    browser.get(&url).form("#renew").submit(&browser);
    app.settle();
    app.advance_to("2026-02-20T00:00:00Z");
    assert_eq!(app.call_api(&key), 200);
    assert_eq!(at_stripe(&app, &id)["status"], "active");
}

#[test]
fn an_end_at_once_says_what_it_costs_and_bills_every_call() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "now@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(4));
    app.advance(TimeDelta::days(5));
    // These are in no report yet when the end is asked for.
    app.send_calls(&key, 500, TimeDelta::minutes(5));
    app.advance(TimeDelta::minutes(6));
    let page = subscription(&app, &browser);
    let id = id(&page);
    let asks = browser.get(&format!("{}/cancel", page.url));
    let says = asks.text("main");
    assert!(
        says.contains("The last invoice comes to $1.50 for 1,000 calls"),
        "{says}"
    );
    assert!(
        says.contains("calls that Azure reports late, are added"),
        "{says}"
    );
    asks.form("#cancel").fill("when", "now").submit(&browser);
    let_end(&app);
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    assert_eq!(apim_state(&app, &id), SubscriptionState::Cancelled);
    assert_eq!(app.call_api(&key), 401);
    let page = subscription(&app, &browser);
    assert!(page.has("a[href$='/renew']"), "{}", page.body);
    app.advance(TimeDelta::days(3));
    assert_eq!(paid(&app, &id), 225);
    assert_eq!(app.metric("tollhouse_invoices{state=\"held\"}"), 0);
}

#[test]
fn the_fee_of_a_broken_off_period_is_due_in_full() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "fee@example.com");
    buy(&app, &browser, "standard", GOOD_CARD);
    app.advance(TimeDelta::days(2));
    let page = subscription(&app, &browser);
    let id = id(&page);
    let asks = browser.get(&format!("{}/cancel", page.url));
    assert!(
        asks.says("The last invoice comes to $89.95 for 0 calls"),
        "{}",
        asks.text("main")
    );
    asks.form("#cancel").fill("when", "now").submit(&browser);
    let_end(&app);
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    app.advance(TimeDelta::days(3));
    assert_eq!(paid(&app, &id), 8_995);
}

#[test]
fn a_fee_that_was_paid_in_advance_is_not_paid_back() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "advance@example.com");
    let key = buy(&app, &browser, "basic", GOOD_CARD);
    let page = subscription(&app, &browser);
    let id = id(&page);
    let asks = browser.get(&format!("{}/cancel", page.url));
    assert!(asks.says("Nothing more is charged, and what was paid in advance is not paid back"));
    asks.form("#cancel").fill("when", "now").submit(&browser);
    app.settle();
    assert_eq!(app.call_api(&key), 401);
    app.advance(TimeDelta::days(40));
    assert_eq!(paid(&app, &id), 1_495);
}

#[test]
fn a_free_subscription_ends_at_once() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "free@example.com");
    let key = buy(&app, &browser, "free", GOOD_CARD);
    let page = subscription(&app, &browser);
    let asks = browser.get(&format!("{}/cancel", page.url));
    let form = asks.form("#cancel");
    form.submit(&browser);
    form.submit(&browser);
    app.settle();
    assert_eq!(app.call_api(&key), 401);
    assert_eq!(apim_state(&app, &id(&page)), SubscriptionState::Cancelled);
    // And it can be had again.
    assert_eq!(app.call_api(&buy(&app, &browser, "free", GOOD_CARD)), 200);
}

#[test]
fn the_period_before_is_still_billed_when_the_next_one_is_broken_off() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "two@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 2_000, TimeDelta::days(30));
    // The draft of the first period is claimed and waits for its usage to settle.
    app.advance_to("2026-02-15T02:00:00Z");
    sign_in(&app, &browser, "two@example.com", PASSWORD);
    let to_come = "is being closed and comes to $3.00 for 2,000 calls";
    let closing = browser.get(&format!("{}/account/close", app.portal));
    assert!(closing.says(to_come), "{}", closing.text("main"));
    let held = subscription(&app, &browser);
    let page = browser.get(&format!("{}/cancel", held.url));
    assert!(page.says(to_come), "{}", page.text("main"));
    let id = id(&cancel(&app, &browser, "now"));
    let_end(&app);
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    let closing = browser.get(&format!("{}/account/close", app.portal));
    assert!(closing.says(to_come), "{}", closing.text("main"));
    app.advance(TimeDelta::days(4));
    assert_eq!(paid(&app, &id), 300);
}

#[test]
fn the_calls_of_the_first_seconds_of_a_period_are_billed_though_it_ends_at_once() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "quick@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.advance_to("2026-02-15T00:00:02Z");
    sign_in(&app, &browser, "quick@example.com", PASSWORD);
    app.send_calls(&key, 180, TimeDelta::zero());
    let id = id(&cancel(&app, &browser, "now"));
    let_end(&app);
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    app.advance(TimeDelta::days(4));
    assert_eq!(paid(&app, &id), 27);
}

#[test]
fn an_open_invoice_stays_due_after_an_end_at_once() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "open@example.com");
    let key = buy(&app, &browser, "payg", FAILS_LATER);
    app.send_calls(&key, 2_000, TimeDelta::days(30));
    app.advance_to("2026-02-17T00:00:00Z");
    sign_in(&app, &browser, "open@example.com", PASSWORD);
    let id = id(&cancel(&app, &browser, "now"));
    let_end(&app);
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    let invoices = app.stripe(&format!("/v1/invoices?subscription={id}&status=open"));
    let open = &invoices["data"][0];
    assert_eq!(
        (&open["total"], &open["auto_advance"]),
        (&300.into(), &true.into())
    );
}

/// The portal's own buttons; `classic` cancels in APIM before anybody has confirmed anything.
fn from_the_portal(app: &TestApp, browser: &Browser, button: &str) -> Page {
    let portal = &app.sandbox.addresses().portal;
    let profile = browser.get(&format!("{portal}/profile"));
    profile.form(button).submit(browser)
}

#[test]
fn the_portal_s_button_leads_to_the_same_page() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "button@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let asks = from_the_portal(&app, &browser, "button.cancel");
    asks.form("#cancel").submit(&browser);
    app.settle();
    let id = id(&subscription(&app, &browser));
    assert_eq!(at_stripe(&app, &id)["cancel_at_period_end"], true);
    assert_eq!(app.call_api(&key), 200);
    let keeps = from_the_portal(&app, &browser, "button.renew");
    keeps.form("#renew").submit(&browser);
    app.settle();
    assert_eq!(at_stripe(&app, &id)["cancel_at_period_end"], false);
}

#[test]
fn what_the_classic_widget_cancels_by_itself_works_again_until_someone_confirms() {
    let app = TestApp::start_with(START, LONG);
    for (product, when) in [("payg", "at_period_end"), ("free", "")] {
        let browser = consumer(&app, &format!("classic-{product}@example.com"));
        let key = buy(&app, &browser, product, GOOD_CARD);
        let asks = from_the_portal(&app, &browser, "button.cancel-classic");
        assert!(asks.has("#cancel"), "{}", asks.body);
        assert_eq!(app.call_api(&key), 401, "the portal was faster");
        app.advance(TimeDelta::minutes(1));
        assert_eq!(app.call_api(&key), 200, "{product}");
        // Confirmed from there all the same.
        let form = asks.form("#cancel");
        let form = if when.is_empty() {
            form
        } else {
            form.fill("when", when)
        };
        form.submit(&browser);
        app.settle();
        assert_eq!(
            app.call_api(&key),
            if product == "free" { 401 } else { 200 }
        );
    }
}

#[test]
fn a_confirmed_end_is_not_undone_by_what_the_classic_widget_did() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "confirmed@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let asks = from_the_portal(&app, &browser, "button.cancel-classic");
    asks.form("#cancel").fill("when", "now").submit(&browser);
    app.advance(TimeDelta::minutes(5));
    assert_eq!(app.call_api(&key), 401);
    let id = id(&subscription(&app, &browser));
    assert_eq!(apim_state(&app, &id), SubscriptionState::Cancelled);
}

#[test]
fn nobody_ends_the_subscription_of_somebody_else() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "mine@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let page = subscription(&app, &browser);
    let stranger = consumer(&app, "theirs@example.com");
    let token = stranger.get(&format!("{}/account", app.portal));
    let token = token.attribute("meta[name=csrf-token]", "content");
    let fields = [("csrf", token.as_str()), ("when", "now")];
    for path in ["cancel", "renew"] {
        let url = format!("{}/{path}", page.url);
        let refused = stranger.get(&url);
        assert_eq!(refused.status, 404);
        assert!(refused.says("theirs@example.com"), "{}", refused.body);
        assert_eq!(stranger.post_once(&url, &fields).status, 404);
        assert_eq!(browser.post_once(&url, &[("when", "now")]).status, 403);
    }
    let missing = format!("{}/account/subscriptions/sub_none/cancel", app.portal);
    assert_eq!(stranger.get(&missing).status, 404);
    let token = page.attribute("meta[name=csrf-token]", "content");
    for when in ["", "keep", "later"] {
        let fields = [("csrf", token.as_str()), ("when", when)];
        let refused = browser.post_once(&format!("{}/cancel", page.url), &fields);
        assert_eq!(refused.status, 422, "{when}");
    }
    app.settle();
    assert_eq!(app.call_api(&key), 200);
    assert_eq!(at_stripe(&app, &id(&page))["cancel_at_period_end"], false);
}

#[test]
fn the_page_to_cancel_survives_signing_in() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "again@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let url = format!("{}/cancel", subscription(&app, &browser).url);
    let fresh = Browser::new();
    let form = fresh.get(&url).form("#email");
    let form = form
        .fill("email", "again@example.com")
        .fill("password", PASSWORD);
    let page = form.submit(&fresh);
    assert_eq!(page.url.as_str(), url);
    assert!(page.has("#cancel"));
}

const KINDS: [Kind; 6] = [
    Kind::TimeOut,
    Kind::TimeOutAfterEffect,
    Kind::TooManyRequests,
    Kind::ErrorBeforeEffect,
    Kind::ErrorAfterEffect,
    Kind::Nonsense,
];

/// Lets an end at once take its course: usage is reported, counted, and then billed.
fn let_end(app: &TestApp) {
    app.settle();
    for _ in 0..3 {
        app.advance(TimeDelta::minutes(3));
    }
}

/// Ends at once with trouble at this step for a while: one end, one last invoice, exact.
fn check_end(step: (Side, &str, &str)) {
    check_end_through(&KINDS, step);
}

fn check_end_through(kinds: &[Kind], step: (Side, &str, &str)) {
    let app = TestApp::start_with(START, IMPATIENT);
    app.is_refused();
    let mut ended = Vec::new();
    for kind in kinds {
        let email = format!("{kind:?}@example.com").to_lowercase();
        let browser = consumer(&app, &email);
        let key = buy(&app, &browser, "payg", GOOD_CARD);
        app.send_calls(&key, 1_000, TimeDelta::minutes(10));
        app.advance(TimeDelta::minutes(11));
        let (side, method, path) = step;
        app.play(*kind, side, method, path, 1_000);
        let id = id(&cancel(&app, &browser, "now"));
        let_end(&app);
        app.sandbox.faults.clear();
        app.advance(TimeDelta::minutes(15));
        let_end(&app);
        ended.push((format!("{kind:?} of {step:?}"), email, id));
    }
    app.advance(TimeDelta::days(3));
    for (what, email, id) in ended {
        assert_eq!(at_stripe(&app, &id)["status"], "canceled", "{what}");
        assert_eq!(
            apim_state(&app, &id),
            SubscriptionState::Cancelled,
            "{what}"
        );
        assert_eq!(paid(&app, &id), 150, "{what}");
        let held = app.sandbox.azure.subscriptions_of(&user_id(&app, &email));
        assert_eq!(held.len(), 1, "{what}");
    }
}

#[test]
fn an_end_survives_trouble_in_reading_the_subscription() {
    check_end((Side::Stripe, "GET", "/v1/subscriptions/"));
}

#[test]
fn an_end_survives_trouble_in_scheduling_it() {
    check_end((Side::Stripe, "POST", "/v1/subscriptions/"));
}

#[test]
fn an_end_survives_trouble_in_reading_the_usage() {
    // A report is waited for longer than a test can be.
    let answered = [Kind::ErrorBeforeEffect, Kind::Nonsense];
    check_end_through(&answered, (Side::Azure, "GET", "/reports/"));
}

#[test]
fn an_end_survives_trouble_in_reporting_the_usage() {
    check_end((Side::Stripe, "POST", "/v1/billing/meter_events"));
}

#[test]
fn an_end_survives_trouble_in_asking_the_meter() {
    check_end((Side::Stripe, "GET", "/event_summaries"));
}

#[test]
fn an_end_survives_trouble_in_ending_it() {
    check_end((Side::Stripe, "DELETE", "/v1/subscriptions/"));
}

#[test]
fn an_end_survives_trouble_in_looking_for_what_is_owed() {
    check_end((Side::Stripe, "GET", "/v1/invoices"));
}

#[test]
fn an_end_survives_trouble_in_taking_the_access() {
    check_end((Side::Azure, "PATCH", "/subscriptions/sub_"));
}

#[test]
fn a_cancellation_that_was_asked_for_goes_on_after_a_restart() {
    let app = TestApp::start_with(START, LONG);
    let browser = consumer(&app, "restart@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::hours(20));
    app.advance(TimeDelta::hours(22));
    for (method, path) in [
        ("GET", "/v1/subscriptions/"),
        ("DELETE", "/v1/subscriptions/"),
    ] {
        app.play(Kind::ErrorAfterEffect, Side::Stripe, method, path, 3);
    }
    let id = id(&cancel(&app, &browser, "now"));
    for _ in 0..6 {
        app.stop_product();
        app.restart_product();
        app.advance(TimeDelta::minutes(3));
    }
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    app.advance(TimeDelta::days(3));
    assert_eq!(paid(&app, &id), 150);
}

#[test]
fn azure_silent_for_a_day_delays_the_end_and_no_further_period_begins() {
    let app = TestApp::start_with(START, &[IMPATIENT, LONG].concat());
    let browser = consumer(&app, "silent@example.com");
    let key = buy(&app, &browser, "standard", GOOD_CARD);
    app.send_calls(&key, 100_100, TimeDelta::days(29));
    app.advance_to("2026-02-14T20:00:00Z");
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Azure,
        "",
        "/reports/",
        100_000,
    );
    sign_in(&app, &browser, "silent@example.com", PASSWORD);
    let id = id(&cancel(&app, &browser, "now"));
    app.advance(TimeDelta::hours(10));
    app.sandbox.faults.clear();
    app.advance(TimeDelta::days(4));
    assert_eq!(at_stripe(&app, &id)["status"], "canceled");
    assert_eq!(
        at_stripe(&app, &id)["ended_at"],
        1_771_113_600,
        "15 February"
    );
    assert_eq!(paid(&app, &id), 9_005);
}
