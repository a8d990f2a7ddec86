//! The JSON interface: models, and Checkout sessions.

use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, consumer, pay, user_id};
use crate::support::{CATALOGUE, TestApp};

/// A signed-in browser, its user and the token of its forms.
struct Caller {
    browser: Browser,
    user: String,
    token: String,
}

impl Caller {
    fn new(app: &TestApp, email: &str) -> Self {
        let browser = consumer(app, email);
        let page = browser.get(&format!("{}/plans", app.portal));
        Self {
            token: page.attribute("meta[name=csrf-token]", "content"),
            user: user_id(app, email),
            browser,
        }
    }

    fn order(&self, product: &str, return_url: &str) -> Value {
        json!({"apimUserId": self.user, "apimProductId": product, "returnUrl": return_url})
    }

    fn send(&self, app: &TestApp, body: &Value) -> Page {
        let token = [("x-csrf-token", self.token.as_str())];
        self.browser.post_json(&address(app), body, &token)
    }
}

fn address(app: &TestApp) -> String {
    format!("{}/api/checkout/session", app.portal)
}

/// Refused in JSON, with this status and this code.
fn check_refused(page: &Page, status: u16, code: &str) {
    assert_eq!(
        (page.status, &page.json()["error"]["code"]),
        (status, &json!(code)),
        "{}",
        page.body
    );
    let error = &page.json()["error"];
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{error}"
    );
}

#[test]
fn a_checkout_session_is_made_and_can_be_paid() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "api@example.com");
    let page = caller.send(&app, &caller.order("payg", "/profile"));
    assert_eq!(page.status, 200, "{}", page.body);
    let session = page.json();
    assert!(
        session["id"].as_str().unwrap().starts_with("cs_"),
        "{session}"
    );
    let payment = caller.browser.get(session["url"].as_str().unwrap());
    let success = pay(&payment, &caller.browser, GOOD_CARD);
    app.settle();
    let page = caller.browser.get(success.url.as_str());
    assert_eq!(app.call_api(&page.text("#primary-key")), 200);
    let back = page.click(&caller.browser, "#back-to-portal");
    assert_eq!(back.url.path(), "/profile");
}

#[test]
fn a_session_carries_what_the_seed_names() {
    let app = TestApp::start();
    let caller = Caller::new(&app, "seed@example.com");
    for (product, quantity) in [("payg", Value::Null), ("basic", json!(1))] {
        let mut order = caller.order(product, "/");
        order["subscriptionName"] = json!("My own name");
        let id = caller.send(&app, &order).json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let session = app.stripe(&format!("/v1/checkout/sessions/{id}?expand[]=line_items"));
        assert_eq!(session["mode"], "subscription");
        assert_eq!(session["payment_method_types"], json!(["card"]));
        let sent = app.requests(
            tollhouse::sandbox::journal::Side::Stripe,
            "POST",
            "/v1/checkout/sessions",
        );
        let sent = &sent.last().unwrap().request_body;
        let sent = form_urlencoded::parse(sent.as_bytes())
            .into_owned()
            .collect::<Vec<_>>();
        let value = |name: &str| {
            let found = sent.iter().find(|(given, _)| given == name);
            found.map_or(Value::Null, |(_, value)| json!(value))
        };
        assert_eq!(
            value("subscription_data[metadata][apim_user_id]"),
            json!(caller.user)
        );
        assert_eq!(
            value("subscription_data[metadata][apim_product_id]"),
            json!(product)
        );
        assert_eq!(
            value("subscription_data[metadata][subscription_name]"),
            "My own name"
        );
        let given = value("line_items[0][quantity]");
        assert_eq!(given.is_null(), quantity.is_null(), "{product}: {given}");
    }
}

#[test]
fn without_a_session_nothing_is_sold() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "no-session@example.com");
    let order = caller.order("payg", "/");
    let page = Browser::new().post_json(&address(&app), &order, &[("x-csrf-token", &caller.token)]);
    check_refused(&page, 401, "not_signed_in");
}

#[test]
fn without_the_token_nothing_is_sold() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "no-token@example.com");
    let order = caller.order("payg", "/");
    for headers in [
        &[][..],
        &[("x-csrf-token", "")],
        &[("x-csrf-token", "wrong")],
    ] {
        let page = caller.browser.post_json(&address(&app), &order, headers);
        check_refused(&page, 403, "wrong_form_token");
    }
}

#[test]
fn nobody_buys_for_another_user() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "for-another@example.com");
    let mut order = caller.order("payg", "/");
    order["apimUserId"] = json!("another-user");
    check_refused(&caller.send(&app, &order), 403, "wrong_user");
}

#[test]
fn a_return_address_off_the_portal_is_refused() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "off-portal@example.com");
    for target in [
        "https://evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        "x",
        "/\\e",
    ] {
        let page = caller.send(&app, &caller.order("payg", target));
        check_refused(&page, 400, "return_url_off_portal");
    }
}

#[test]
fn an_unknown_product_is_not_found() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "unknown@example.com");
    let page = caller.send(&app, &caller.order("no-such-product", "/"));
    assert_eq!(page.status, 404, "{}", page.body);
    assert!(page.json()["error"]["code"].is_string());
}

#[test]
fn the_free_product_has_no_checkout() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "free-api@example.com");
    let page = caller.send(&app, &caller.order("free", "/"));
    check_refused(&page, 409, "nothing_to_pay");
}

#[test]
fn bodies_that_make_no_order_are_refused_in_json() {
    let app = TestApp::shared();
    let caller = Caller::new(&app, "bodies@example.com");
    let token = [("x-csrf-token", caller.token.as_str())];
    let send = |content_type, body: &str| {
        caller
            .browser
            .post_text(&address(&app), content_type, body, &token)
    };
    let json = "application/json";
    let huge = json!({"apimUserId": "x".repeat(70_000)}).to_string();
    check_refused(&send(json, "{"), 400, "malformed");
    check_refused(&send(json, ""), 400, "malformed");
    check_refused(&send(json, "[]"), 422, "malformed");
    check_refused(&send(json, "{}"), 422, "malformed");
    check_refused(&send(json, &"[".repeat(10_000)), 422, "malformed");
    check_refused(&send(json, &huge), 413, "too_large");
    check_refused(&send("text/plain", "{}"), 415, "wrong_content_type");
    for (member, value) in [
        ("apimUserId", json!("../1")),
        ("apimUserId", json!(7)),
        ("apimProductId", json!("a/b")),
        ("apimProductId", Value::Null),
        ("returnUrl", json!({})),
        ("subscriptionName", json!("")),
        ("subscriptionName", json!("x".repeat(101))),
        ("subscriptionName", json!("a\nb")),
    ] {
        let mut order = caller.order("payg", "/");
        order[member] = value;
        check_refused(&caller.send(&app, &order), 422, "malformed");
    }
}

#[test]
fn a_session_of_somebody_else_s_browser_shows_no_secret() {
    let app = TestApp::shared();
    let page = Browser::new().get(&format!("{}/api/checkout/x/status", app.portal));
    assert_ne!(page.status, 200);
    assert!(page.json()["error"].is_object());
}

#[test]
fn the_models_are_those_of_the_file() {
    let app = TestApp::shared();
    let page = Browser::new().get(&format!("{}/api/monetization-models", app.portal));
    let file: Value = serde_json::from_str(CATALOGUE).unwrap();
    assert_eq!(page.json(), file);
}

#[test]
fn each_model_has_an_address_of_its_own() {
    let app = TestApp::shared();
    let file: Value = serde_json::from_str(CATALOGUE).unwrap();
    for model in file.as_array().unwrap() {
        let id = model["id"].as_str().unwrap();
        let page = Browser::new().get(&format!("{}/api/monetization-models/{id}", app.portal));
        assert_eq!(&page.json(), model);
        assert!(page.json()["pricingModelType"].is_string());
    }
}

#[test]
fn an_unknown_model_is_not_found_in_json() {
    let app = TestApp::shared();
    for id in ["nothing", "..%2F", "%00", "a%20b"] {
        let page = Browser::new().get(&format!("{}/api/monetization-models/{id}", app.portal));
        assert_eq!(page.status, 404, "{id}");
        assert!(page.json()["error"]["code"].is_string(), "{}", page.body);
    }
}

#[test]
fn programs_get_json_from_an_address_that_does_not_exist_too() {
    let app = TestApp::shared();
    let browser = Browser::new();
    let unknown = browser.get(&format!("{}/api/no-such-thing", app.portal));
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "not_found");
    let wrong_method = browser.get(&address(&app));
    assert_eq!(wrong_method.status, 405);
    assert_eq!(wrong_method.json()["error"]["code"], "method_not_allowed");
}
