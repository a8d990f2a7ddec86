//! Closing accounts: what is said before, what ends, what stays, and bad days.

use chrono::TimeDelta;
use serde_json::Value;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{
    GOOD_CARD, PASSWORD, buy, buy_as, consumer, pay, sign_in, to_payment, user_id,
};
use crate::support::{IMPATIENT, TestApp};

fn close_with(app: &TestApp, browser: &Browser, password: &str) -> Page {
    let page = browser.get(&format!("{}/account/close", app.portal));
    let form = page.form("#close-account");
    form.fill("password", password).submit(browser)
}

fn close(app: &TestApp, browser: &Browser) {
    let page = close_with(app, browser, PASSWORD);
    assert_eq!(page.url.path(), "/closed", "{}", page.body);
}

/// Lets what closes take its course: usage is counted, billed, settled.
fn let_close(app: &TestApp) {
    app.settle();
    for _ in 0..3 {
        app.advance(TimeDelta::minutes(3));
    }
    app.advance(TimeDelta::days(3));
}

fn is_gone(app: &TestApp, user: &str) -> bool {
    app.sandbox.azure.user(user).is_none() && app.sandbox.azure.subscriptions_of(user).is_empty()
}

fn all(app: &TestApp, what: &str) -> Vec<Value> {
    let list = app.stripe(&format!("/v1/{what}"));
    list["data"].as_array().unwrap().clone()
}

#[test]
fn an_account_closes_with_every_subscription_billed_and_every_trace_of_the_person_gone() {
    let app = TestApp::start();
    let browser = consumer(&app, "close@example.com");
    let user = user_id(&app, "close@example.com");
    let keys = [
        buy(&app, &browser, "payg", GOOD_CARD),
        buy_as(&app, &browser, "basic", "A secret name", GOOD_CARD),
        buy(&app, &browser, "free", GOOD_CARD),
    ];
    app.send_calls(&keys[0], 1_000, TimeDelta::minutes(10));
    app.advance(TimeDelta::minutes(40));
    app.report_usage(false);
    let page = browser.get(&format!("{}/account", app.portal));
    let page = page.click(&browser, "#close");
    for text in [
        "$1.50 for 1,000 calls",
        "A secret name",
        "Nothing more is charged",
        "cannot be taken back",
    ] {
        assert!(page.says(text), "{text}: {}", page.text("main"));
    }
    let wrong = close_with(&app, &browser, "wrong password");
    assert_eq!(wrong.status, 422);
    assert!(wrong.says("Nothing was changed"), "{}", wrong.body);
    let other = Browser::new();
    sign_in(&app, &other, "close@example.com", PASSWORD);
    close(&app, &browser);
    for signed_out in [&browser, &other] {
        let account = signed_out.get(&format!("{}/account", app.portal));
        assert_eq!(account.url.path(), "/sign-in");
    }
    let refused = sign_in(&app, &Browser::new(), "close@example.com", PASSWORD);
    assert!(refused.says("being closed"), "{}", refused.body);
    app.settle();
    for _ in 0..3 {
        app.advance(TimeDelta::minutes(3));
    }
    let answers = keys.each_ref().map(|key| app.call_api(key));
    assert_eq!(answers, [401; 3]);
    for subscription in all(&app, "subscriptions?status=all") {
        assert_eq!(subscription["status"], "canceled");
    }
    app.advance(TimeDelta::days(3));
    assert!(is_gone(&app, &user));
    let totals: Vec<i64> = all(&app, "invoices?status=paid")
        .iter()
        .filter_map(|invoice| invoice["total"].as_i64())
        .filter(|total| *total > 0)
        .collect();
    assert_eq!(totals.iter().sum::<i64>(), 150 + 1_495, "{totals:?}");
    // The address is free again, and nothing of the old account is left on it.
    let again = consumer(&app, "close@example.com");
    assert_ne!(user_id(&app, "close@example.com"), user);
    let account = again.get(&format!("{}/account", app.portal));
    assert!(account.says("No subscriptions yet"), "{}", account.body);
    assert!(!app.status_text("/").contains("A secret name"));
}

#[test]
fn an_account_without_subscriptions_closes_within_minutes() {
    let app = TestApp::start();
    let browser = consumer(&app, "empty@example.com");
    let user = user_id(&app, "empty@example.com");
    close(&app, &browser);
    app.settle();
    app.advance(TimeDelta::minutes(5));
    assert!(is_gone(&app, &user));
    let asked = app.requests(Side::Azure, "GET", "/operationresults/");
    assert!(
        asked.len() >= 2,
        "the long-running deletion is followed: {asked:?}"
    );
}

#[test]
fn an_account_is_closed_only_when_its_user_is_gone() {
    let app = TestApp::start();
    let browser = consumer(&app, "nonsense@example.com");
    let user = user_id(&app, "nonsense@example.com");
    app.play(Kind::Nonsense, Side::Azure, "DELETE", "/users/", 1);
    close(&app, &browser);
    app.settle();
    assert!(!is_gone(&app, &user));
    app.advance(TimeDelta::minutes(5));
    assert!(is_gone(&app, &user));
}

#[test]
fn nobody_pays_after_closing() {
    let app = TestApp::start();
    let browser = consumer(&app, "paying@example.com");
    let user = user_id(&app, "paying@example.com");
    let payment = to_payment(&app, &browser, "basic", "Too late");
    close(&app, &browser);
    app.settle();
    let form = browser.get(payment.url.as_str());
    assert!(!form.has("#pay"), "{}", form.body);
    let_close(&app);
    assert_eq!(all(&app, "subscriptions?status=all").len(), 0);
    assert!(is_gone(&app, &user));
}

#[test]
fn what_was_paid_just_before_closing_ends_like_the_rest() {
    let app = TestApp::start();
    app.is_refused();
    let browser = consumer(&app, "paid@example.com");
    let user = user_id(&app, "paid@example.com");
    let payment = to_payment(&app, &browser, "payg", "Just in time");
    // Stripe knows, and has not told us yet.
    pay(&payment, &browser, GOOD_CARD);
    close(&app, &browser);
    let_close(&app);
    let subscriptions = all(&app, "subscriptions?status=all");
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0]["status"], "canceled");
    assert!(is_gone(&app, &user));
}

#[test]
fn the_portal_s_button_leads_here_unless_it_is_signed_in_with_another_account() {
    let app = TestApp::start();
    let browser = consumer(&app, "one@example.com");
    let portal = &app.sandbox.addresses().portal;
    let page = browser.get(&format!("{portal}/delegation-closeAccount"));
    assert_eq!(page.url.path(), "/account/close");
    let elsewhere = Browser::new();
    let page = elsewhere.get(&format!("{portal}/"));
    assert!(page.has("#sign-up"));
    consumer(&app, "two@example.com");
    // The portal's session stays, ours becomes another's.
    let out = browser.get(&format!("{}/account", app.portal));
    let token = out.attribute("meta[name=csrf-token]", "content");
    browser.post_once(&format!("{}/sign-out", app.portal), &[("csrf", &token)]);
    sign_in(&app, &browser, "two@example.com", PASSWORD);
    let page = browser.get(&format!("{portal}/delegation-closeAccount"));
    assert_eq!(page.status, 409);
    assert!(page.says("Nothing was changed"), "{}", page.body);
}

#[test]
fn a_form_without_its_token_closes_nothing() {
    let app = TestApp::shared();
    let browser = consumer(&app, "forged-close@example.com");
    let url = format!("{}/account/close", app.portal);
    let page = browser.post_once(&url, &[("password", PASSWORD)]);
    assert_eq!(page.status, 403);
    assert_eq!(Browser::new().post_once(&url, &[]).status, 401);
    assert_eq!(
        browser.get(&format!("{}/account", app.portal)).url.path(),
        "/account"
    );
}

/// Closes an account with trouble at this step for a while; it closes all the same, exactly.
fn check_close(step: (Side, &str, &str)) {
    let app = TestApp::start_with("2026-01-15T10:20:30Z", IMPATIENT);
    app.is_refused();
    let mut closed = Vec::new();
    for kind in [
        Kind::TooManyRequests,
        Kind::ErrorBeforeEffect,
        Kind::ErrorAfterEffect,
    ] {
        let email = format!("{kind:?}@example.com").to_lowercase();
        let browser = consumer(&app, &email);
        let key = buy(&app, &browser, "payg", GOOD_CARD);
        to_payment(&app, &browser, "basic", "Never paid");
        app.send_calls(&key, 1_000, TimeDelta::minutes(10));
        app.advance(TimeDelta::minutes(11));
        let (side, method, path) = step;
        app.play(kind, side, method, path, 40);
        let user = user_id(&app, &email);
        close(&app, &browser);
        app.settle();
        app.stop_product();
        app.restart_product();
        app.advance(TimeDelta::minutes(10));
        closed.push((format!("{kind:?} of {step:?}"), user));
    }
    app.advance(TimeDelta::hours(2));
    app.sandbox.faults.clear();
    app.advance(TimeDelta::hours(3));
    let_close(&app);
    for (what, user) in closed {
        assert!(is_gone(&app, &user), "{what}");
    }
    let totals: Vec<i64> = all(&app, "invoices?status=paid&limit=100")
        .iter()
        .filter_map(|invoice| invoice["total"].as_i64())
        .collect();
    assert_eq!(totals.iter().sum::<i64>(), 450, "{totals:?}");
}

#[test]
fn closing_survives_trouble_in_calling_off_purchases() {
    check_close((Side::Stripe, "POST", "/expire"));
}

#[test]
fn closing_survives_trouble_in_ending_subscriptions() {
    check_close((Side::Stripe, "DELETE", "/v1/subscriptions/"));
}

#[test]
fn closing_survives_trouble_in_deleting_the_user() {
    check_close((Side::Azure, "DELETE", "/users/"));
}

#[test]
fn closing_survives_trouble_in_following_the_deletion() {
    check_close((Side::Azure, "GET", "/operationresults/"));
}

#[test]
fn azure_down_for_a_day_delays_closing_and_loses_nothing() {
    let app = TestApp::start_with("2026-01-15T10:20:30Z", IMPATIENT);
    let browser = consumer(&app, "down@example.com");
    let user = user_id(&app, "down@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::minutes(10));
    app.advance(TimeDelta::minutes(11));
    app.play(Kind::ErrorBeforeEffect, Side::Azure, "", "", 1_000_000);
    close(&app, &browser);
    app.advance(TimeDelta::days(1));
    assert!(app.sandbox.azure.user(&user).is_some());
    app.sandbox.faults.clear();
    app.advance(TimeDelta::hours(2));
    let_close(&app);
    assert!(is_gone(&app, &user));
    let paid = all(&app, "invoices?status=paid");
    assert_eq!(
        paid.iter()
            .filter_map(|invoice| invoice["total"].as_i64())
            .sum::<i64>(),
        150
    );
}
