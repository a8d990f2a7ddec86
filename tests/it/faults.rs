//! Stripe and Azure on a bad day: every step ends in a clear page in bounded time, loses nothing,
//! doubles nothing, and is healed by trying again or by itself.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, PASSWORD, buy, consumer, order_page, pay, sign_in, user_id};
use crate::support::TestApp;

/// What can become of a request.
const KINDS: [Kind; 6] = [
    Kind::TimeOut,
    Kind::TimeOutAfterEffect,
    Kind::TooManyRequests,
    Kind::ErrorBeforeEffect,
    Kind::ErrorAfterEffect,
    Kind::Nonsense,
];
/// More often than anything is tried.
const ALWAYS: u32 = 1_000;
/// The longest that anybody waits for an answer here, with time-outs of a second.
const BOUND: Duration = Duration::from_secs(15);

/// Does something while `kind` is played on a step; gives the page, which comes in bounded time.
fn meanwhile(
    app: &TestApp,
    kind: Kind,
    (side, method, path): (Side, &str, &str),
    action: impl FnOnce() -> Page,
) -> Page {
    app.play(kind, side, method, path, ALWAYS);
    let start = Instant::now();
    let page = action();
    assert!(
        start.elapsed() < BOUND,
        "{kind:?} of {path}: {:?}",
        start.elapsed()
    );
    app.sandbox.faults.clear();
    page
}

/// A page that says that the other side is in trouble, and what that means.
fn check_trouble(page: &Page, what: &str) {
    assert!(
        matches!(page.status, 502..=504),
        "{what}: {} {}",
        page.status,
        page.body
    );
    assert!(
        page.has("main h1") && page.has(".reference"),
        "{what}: {}",
        page.body
    );
    assert!(
        page.text("main").contains("again"),
        "{what}: {}",
        page.text("main")
    );
}

/// Signing up stops at this step, and is completed by signing in.
fn check_sign_up(step: (Side, &str, &str)) {
    let app = TestApp::start_impatient();
    for kind in KINDS {
        let what = format!("{kind:?} of {step:?}");
        let email = format!("{kind:?}@example.com").to_lowercase();
        let browser = Browser::new();
        let form = browser
            .get(&format!("{}/register", app.portal))
            .form("#register");
        let form = form.fill("first-name", "Ada").fill("last-name", "Lovelace");
        let form = form.fill("email", &email).fill("password", PASSWORD);
        let page = meanwhile(&app, kind, step, || form.submit_once(&browser));
        check_trouble(&page, &what);
        let page = sign_in(&app, &browser, &email, PASSWORD);
        assert_eq!(page.url.path(), "/plans", "{what}: {}", page.body);
        let users = app.sandbox.azure.users();
        assert_eq!(
            users.iter().filter(|user| user.email == email).count(),
            1,
            "{what}"
        );
    }
}

#[test]
fn signing_up_survives_trouble_in_looking_for_the_address() {
    check_sign_up((Side::Azure, "GET", "/users"));
}

#[test]
fn signing_up_survives_trouble_in_making_the_user() {
    check_sign_up((Side::Azure, "PUT", "/users/"));
}

#[test]
fn without_a_token_of_entra_nobody_signs_up_until_there_is_one() {
    let app = TestApp::start_impatient();
    for kind in KINDS {
        let browser = Browser::new();
        let email = format!("{kind:?}@example.com").to_lowercase();
        let form = browser
            .get(&format!("{}/register", app.portal))
            .form("#register");
        let form = form.fill("first-name", "Ada").fill("last-name", "Lovelace");
        let form = form.fill("email", &email).fill("password", PASSWORD);
        let step = (Side::Azure, "POST", "/oauth2/v2.0/token");
        let page = meanwhile(&app, kind, step, || {
            // Whatever token the product holds has expired by then.
            let later = app.now() + TimeDelta::hours(2);
            app.sandbox.clock.advance_to(later);
            form.submit_once(&browser)
        });
        check_trouble(&page, &format!("{kind:?}"));
    }
    let page = sign_in(&app, &Browser::new(), "nonsense@example.com", PASSWORD);
    assert_eq!(page.url.path(), "/plans", "{}", page.body);
}

#[test]
fn the_way_back_to_the_portal_survives_trouble() {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "way-back@example.com");
    let url = format!("{}/to-portal", app.portal);
    for kind in KINDS {
        let step = (Side::Azure, "POST", "/users/");
        let page = meanwhile(&app, kind, step, || browser.get(&url));
        check_trouble(&page, &format!("{kind:?}"));
    }
    assert_eq!(browser.get(&url).url.path(), "/profile");
}

/// Ordering stops at this step; sending the form again leads to one payment page.
fn check_order(step: (Side, &str, &str)) {
    let app = TestApp::start_impatient();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let what = format!("{kind:?} of {step:?}");
        let browser = consumer(&app, &format!("order{number}@example.com"));
        let form = order_page(&app, &browser, "payg").form("#checkout");
        let form = form.fill("subscription-name", "Order");
        let page = meanwhile(&app, kind, step, || form.submit_once(&browser));
        check_trouble(&page, &what);
        assert!(
            page.says("Nothing was charged"),
            "{what}: {}",
            page.text("main")
        );
        let payment = form.submit(&browser);
        assert!(
            payment.url.path().starts_with("/c/pay/"),
            "{what}: {}",
            payment.body
        );
        for made in ["customer", "checkout.session"] {
            assert_eq!(
                app.sandbox.stripe.objects(made).len(),
                number + 1,
                "{what}: {made}"
            );
        }
    }
}

#[test]
fn ordering_survives_trouble_in_making_the_customer() {
    check_order((Side::Stripe, "POST", "/v1/customers"));
}

#[test]
fn ordering_survives_trouble_in_finding_the_price() {
    check_order((Side::Stripe, "GET", "/v1/prices"));
}

#[test]
fn ordering_survives_trouble_in_making_the_checkout_session() {
    check_order((Side::Stripe, "POST", "/v1/checkout/sessions"));
}

#[test]
fn the_json_interface_answers_trouble_in_json() {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "json@example.com");
    let page = browser.get(&format!("{}/plans", app.portal));
    let token = page.attribute("meta[name=csrf-token]", "content");
    let user = user_id(&app, "json@example.com");
    let order = serde_json::json!({
        "apimUserId": user, "apimProductId": "payg", "returnUrl": "/",
    });
    let url = format!("{}/api/checkout/session", app.portal);
    for kind in KINDS {
        let step = (Side::Stripe, "POST", "/v1/checkout/sessions");
        let send = || browser.post_json(&url, &order, &[("x-csrf-token", &token)]);
        let page = meanwhile(&app, kind, step, send);
        assert_eq!(page.status, 503, "{kind:?}: {}", page.body);
        assert_eq!(page.json()["error"]["code"], "upstream_unavailable");
        assert!(page.headers.contains_key("retry-after"));
    }
}

/// The worker stops at this step; when the trouble is over, the key comes by itself, once.
fn check_work(step: (Side, &str, &str)) {
    let app = TestApp::start_impatient();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let what = format!("{kind:?} of {step:?}");
        let email = format!("work{number}@example.com");
        let browser = consumer(&app, &email);
        let form = order_page(&app, &browser, "payg").form("#checkout");
        let payment = form.fill("subscription-name", "Work").submit(&browser);
        let page = meanwhile(&app, kind, step, || {
            let page = pay(&payment, &browser, GOOD_CARD);
            app.settle();
            page
        });
        app.advance(TimeDelta::minutes(5));
        let key = browser.get(page.url.as_str()).text("#primary-key");
        assert_eq!(app.call_api(&key), 200, "{what}");
        let held = app.sandbox.azure.subscriptions_of(&user_id(&app, &email));
        assert_eq!(held.len(), 1, "{what}");
    }
}

#[test]
fn the_worker_survives_trouble_in_reading_the_subscription_at_stripe() {
    check_work((Side::Stripe, "GET", "/v1/subscriptions/"));
}

#[test]
fn the_worker_survives_trouble_in_looking_for_the_subscription_in_azure() {
    check_work((Side::Azure, "GET", "/subscriptions/sub_"));
}

#[test]
fn the_worker_survives_trouble_in_making_the_subscription_in_azure() {
    check_work((Side::Azure, "PUT", "/subscriptions/sub_"));
}

#[test]
fn a_key_that_cannot_be_read_now_can_be_read_later() {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "key@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let page = browser.get(&format!("{}/account", app.portal));
    let url = page
        .url
        .join(&page.attribute(".subscription a.quiet", "href"))
        .unwrap();
    for kind in KINDS {
        let step = (Side::Azure, "POST", "listSecrets");
        let page = meanwhile(&app, kind, step, || browser.get(url.as_str()));
        check_trouble(&page, &format!("{kind:?}"));
        assert!(!page.body.contains(&key));
    }
    assert_eq!(browser.get(url.as_str()).text("#primary-key"), key);
}

#[test]
fn stripe_s_page_for_card_and_invoices_survives_trouble() {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "billing@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let page = browser.get(&format!("{}/account", app.portal));
    let form = page.form("form[action$='/billing'] button");
    for kind in KINDS {
        let step = (Side::Stripe, "POST", "/v1/billing_portal/sessions");
        let page = meanwhile(&app, kind, step, || form.submit_once(&browser));
        check_trouble(&page, &format!("{kind:?}"));
    }
    assert!(form.submit_once(&browser).location().is_some());
}

/// A month of 1,234 calls with trouble at this step each day; the invoice is right all the same.
fn check_month(kind: Kind, step: (Side, &str, &str)) {
    let app = TestApp::start_with("2026-01-20T10:00:00Z", crate::support::IMPATIENT);
    let browser = consumer(&app, "month@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_234, TimeDelta::days(30));
    let (side, method, path) = step;
    if kind == Kind::ErrorAfterEffect {
        // What took effect unheard is sent again, and refused as known.
        app.is_refused();
    }
    app.advance(TimeDelta::days(29));
    for _ in 0..30 {
        app.play(kind, side, method, path, 3);
        app.advance(TimeDelta::minutes(40));
        app.sandbox.faults.clear();
        app.advance(TimeDelta::minutes(80));
    }
    app.advance(TimeDelta::days(2));
    let invoices = app.stripe("/v1/invoices?status=paid&limit=100");
    let totals = invoices["data"].as_array().unwrap().iter();
    let total: i64 = totals.filter_map(|invoice| invoice["total"].as_i64()).sum();
    assert_eq!(
        total,
        185,
        "{kind:?} of {step:?}: {}",
        app.status_page("/").text("main")
    );
}

#[test]
fn the_invoice_is_right_although_reports_fail() {
    check_month(Kind::ErrorBeforeEffect, (Side::Azure, "GET", "/reports/"));
}

#[test]
fn the_invoice_is_right_although_reports_are_nonsense() {
    check_month(Kind::Nonsense, (Side::Azure, "GET", "/reports/"));
}

#[test]
fn the_invoice_is_right_although_stripe_takes_usage_and_then_fails() {
    check_month(
        Kind::ErrorAfterEffect,
        (Side::Stripe, "POST", "/v1/billing/meter_events"),
    );
}

#[test]
fn the_invoice_is_right_although_stripe_takes_no_usage_at_times() {
    check_month(
        Kind::TooManyRequests,
        (Side::Stripe, "POST", "/v1/billing/meter_events"),
    );
}

#[test]
fn the_invoice_is_right_although_claiming_and_finalizing_fail_at_first() {
    check_month(
        Kind::ErrorAfterEffect,
        (Side::Stripe, "POST", "/v1/invoices/"),
    );
}

#[test]
fn the_invoice_is_right_although_the_meter_s_summary_fails_at_first() {
    check_month(
        Kind::ErrorBeforeEffect,
        (Side::Stripe, "GET", "/event_summaries"),
    );
}
