//! The operator's page: who may see it, what it shows, and what nobody may see.

use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;
use tollhouse::sandbox::{apim, stripe};

use crate::browser::{Browser, Form, Page};
use crate::journey::{GOOD_CARD, PASSWORD, buy, consumer, pay, to_payment, user_id};
use crate::log;
use crate::support::{STATUS_PASSWORD, TestApp, basic};

fn get(app: &TestApp, path: &str, password: Option<&str>) -> Page {
    let url = format!("{}{path}", app.status);
    match password {
        Some(password) => Browser::new().get_with(&url, &[("authorization", &basic(password))]),
        None => Browser::new().get_once(&url),
    }
}

#[test]
fn without_the_password_nothing_but_health_is_shown() {
    let app = TestApp::shared();
    for path in ["/", "/metrics"] {
        for password in [None, Some(""), Some("wrong"), Some("status-password ")] {
            let page = get(&app, path, password);
            assert_eq!(page.status, 401, "{path} {password:?}");
            assert!(page.headers.contains_key("www-authenticate"));
        }
        assert_eq!(get(&app, path, Some(STATUS_PASSWORD)).status, 200, "{path}");
    }
    let health = get(&app, "/health", None);
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
}

#[test]
fn the_status_page_is_not_on_the_public_listener() {
    let app = TestApp::shared();
    for path in ["/metrics", "/health", "/inbox/retry", "/inbox/dismiss"] {
        let url = format!("{}{path}", app.portal);
        let page = Browser::new().get_with(&url, &[("authorization", &basic(STATUS_PASSWORD))]);
        assert_eq!(page.status, 404, "{path}");
    }
}

#[test]
fn another_site_s_page_cannot_press_the_button() {
    let app = TestApp::shared();
    for path in ["/inbox/retry", "/inbox/dismiss", "/subscriptions/retry"] {
        check_that_only_our_own_page_may_post(&app, &format!("{}{path}", app.status));
    }
}

fn check_that_only_our_own_page_may_post(app: &TestApp, url: &str) {
    let password = basic(STATUS_PASSWORD);
    let fields = [("id", "sub_1")];
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let headers = [("authorization", password.as_str()), (name, value)];
        let answer = Browser::new().post_with(url, &fields, &headers);
        assert_eq!(answer.status, 403, "{url} {name}: {value}");
    }
    let own = [
        ("authorization", password.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let answer = Browser::new().post_with(url, &fields, &own);
    assert_eq!(answer.status, 303, "{url}");
    assert_eq!(Browser::new().post_once(url, &fields).status, 401);
    app.settle();
}

#[test]
fn the_metrics_are_in_the_format_of_prometheus() {
    let app = TestApp::shared();
    let page = get(&app, "/metrics", Some(STATUS_PASSWORD));
    assert!(
        page.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("tollhouse_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(
        page.body.contains("# TYPE tollhouse_inbox_events gauge"),
        "{}",
        page.body
    );
}

#[test]
fn a_side_that_is_down_shows() {
    let app = TestApp::start_impatient();
    app.play(Kind::ErrorBeforeEffect, Side::Stripe, "GET", "", 1_000);
    let is_down = |page: &Page| page.text("#stripe .fact") == "In trouble";
    let is_up = |page: &Page| page.text("#apim .fact") == "Reachable";
    let page = std::iter::repeat_with(|| app.status_page("/"))
        .take(10_000)
        .find(|page| is_down(page) && is_up(page));
    assert!(page.is_some(), "{}", app.status_page("/").text("main"));
}

/// Presses a button of the status page, and lets what it began come to its end.
pub(crate) fn press(app: &TestApp, page: &Page, button: &str) {
    send(app, &page.form(button));
}

/// Sends a form of the status page, and lets what it began come to its end.
pub(crate) fn send(app: &TestApp, form: &Form) {
    let password = basic(STATUS_PASSWORD);
    let headers = [("authorization", password.as_str())];
    let pressed = Browser::new().post_with(form.action.as_str(), &form.fields(), &headers);
    assert_eq!(pressed.status, 303);
    app.settle();
}

#[test]
fn what_a_consumer_asked_for_and_azure_refuses_is_shown_and_tried_again_by_a_click() {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "asks@example.com");
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Azure,
        "PATCH",
        "/users/",
        1_000,
    );
    let profile = browser.get(&format!("{}/account/profile", app.portal));
    let form = profile
        .form("#change-profile")
        .fill("first-name", "Augusta");
    form.submit(&browser);
    app.settle();
    let tile = || app.status_page("/").text("#requests-tile .fact");
    assert_eq!(tile(), "1 tried again");
    for _ in 0..8 {
        app.advance(chrono::TimeDelta::hours(1));
    }
    assert_eq!(tile(), "1 need attention");

    app.sandbox.faults.clear();
    press(&app, &app.status_page("/"), "#retry-requests");
    assert_eq!(tile(), "Nothing waits");
    let user = user_id(&app, "asks@example.com");
    let followed = app.sandbox.azure.user(&user).unwrap();
    assert_eq!(followed.first_name, "Augusta");
}

#[test]
fn an_event_that_failed_is_shown_and_tried_again_by_a_click() {
    let app = TestApp::start();
    let browser = consumer(&app, "click@example.com");
    let payment = to_payment(&app, &browser, "payg", "Click");
    // Somebody deleted the product in Azure: a refusal, not an outage.
    let product = app.sandbox.azure.product("payg").unwrap();
    app.sandbox.azure.state().products.remove("payg");
    app.is_refused();
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    // The worker looks again at each step of time, and gives up after eight refusals.
    for _ in 0..10 {
        app.advance(chrono::TimeDelta::hours(1));
    }
    let page = app.status_page("/");
    assert!(
        page.text("#inbox-tile .fact").contains("need attention"),
        "{}",
        page.text("main")
    );
    let before = browser.get(success.url.as_str());
    assert!(before.says("Your key is being made"), "{}", before.body);

    app.sandbox
        .azure
        .state()
        .products
        .insert(product.id.clone(), product);
    press(&app, &page, "#retry-all");
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn secrets_are_in_no_page_and_no_log() {
    log::capture();
    let app = TestApp::start();
    let browser = consumer(&app, "secrets@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.play(Kind::ErrorBeforeEffect, Side::Azure, "", "", 3);
    app.play(Kind::Nonsense, Side::Stripe, "", "", 3);
    app.advance(chrono::TimeDelta::days(1));
    let pages = [
        browser.get(&format!("{}/plans", app.portal)).body,
        browser.get(&format!("{}/account", app.portal)).body,
        app.status_page("/").body,
        app.status_page("/metrics").body,
    ];
    let webhook_secret = app.webhook_secret();
    let delegation_key = app.sandbox.azure.delegation().validation_key;
    let session = browser.cookies()["tollhouse_session"].clone();
    let sso = app.requests(Side::Portal, "GET", "/signin-sso");
    let sso = sso[0]
        .target
        .split_once("token=")
        .unwrap()
        .1
        .split('&')
        .next()
        .unwrap();
    let log = log::text();
    for (name, secret) in [
        ("Stripe's key", stripe::SECRET_KEY),
        ("the webhook's secret", &webhook_secret),
        ("Azure's secret", apim::CLIENT_SECRET),
        ("the delegation key", &delegation_key),
        ("the password of the status page", STATUS_PASSWORD),
        ("a consumer's password", PASSWORD),
        ("a consumer's session", &session),
        ("a consumer's key", &key),
        ("a token for the portal", sso),
    ] {
        assert!(!secret.is_empty());
        assert!(
            pages.iter().all(|page| !page.contains(secret)),
            "{name} on a page"
        );
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{name} in the log");
    }
}

#[test]
fn no_page_loads_anything_from_elsewhere_and_none_may_be_framed() {
    let app = TestApp::shared();
    let browser = consumer(&app, "headers@example.com");
    for path in ["/plans", "/account", "/nowhere", "/subscribe/basic"] {
        let page = browser.get(&format!("{}{path}", app.portal));
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe-"), "{path}: {policy}");
        assert!(
            !page.has("script:not([src]), [onclick], [style]"),
            "{path}: {}",
            page.body
        );
        assert_eq!(page.headers["x-content-type-options"], "nosniff", "{path}");
        assert!(page.headers.contains_key("referrer-policy"), "{path}");
        let cache = page
            .headers
            .get("cache-control")
            .map(|value| value.to_str().unwrap());
        assert!(
            cache.is_some_and(|cache| cache.contains("no-store")),
            "{path}: {cache:?}"
        );
    }
}

#[test]
fn subscriptions_are_found_by_what_is_known_of_them() {
    let app = TestApp::start();
    for (email, product) in [("ada@example.com", "payg"), ("bob@example.com", "basic")] {
        let browser = consumer(&app, email);
        buy(&app, &browser, product, GOOD_CARD);
    }
    let found = |text: &str| {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let page = get(
            &app,
            &format!("/subscriptions?find={text}"),
            Some(STATUS_PASSWORD),
        );
        assert_eq!(page.status, 200, "{text}");
        page.text("#subscriptions")
    };
    let subscriptions = app.sandbox.stripe.objects("subscription");
    let payg = subscriptions
        .iter()
        .find(|it| it["metadata"]["apim_product_id"] == "payg")
        .unwrap();
    let (id, customer) = (
        payg["id"].as_str().unwrap(),
        payg["customer"].as_str().unwrap(),
    );
    let user = user_id(&app, "ada@example.com");
    for text in ["ADA@", " my payg ", "PAYG", id, customer, &user] {
        let shown = found(text);
        assert!(shown.contains("1 found."), "{text}: {shown}");
        assert!(shown.contains(id), "{text}: {shown}");
    }
    assert!(found("example.com").contains("2 found."));
    assert!(found("").contains("2 found."));
    for text in ["nobody", "%", "_", "'; DROP TABLE", &id[..id.len() - 1]] {
        assert!(found(text).contains("None found."), "{text}");
    }
    assert!(get(&app, "/", Some(STATUS_PASSWORD)).has("form.find"));
    assert_eq!(get(&app, "/subscriptions", None).status, 401);
}
