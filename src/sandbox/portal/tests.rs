//! The portal as a browser sees it, without the sockets.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use tower::ServiceExt;

use super::{Portal, router};
use crate::sandbox::apim::model::{
    Product, ProductState, Scope, Subscription, SubscriptionState, User, UserState,
};
use crate::sandbox::apim::testing;
use crate::sandbox::clock::Clock;

const DELEGATION_URL: &str = "http://127.0.0.1:1/delegation";

/// A portal with the product `basic`, the users `ada` and `bob`, and a subscription of each.
struct Browser {
    portal: Portal,
    cookie: Option<String>,
}

impl Browser {
    fn new() -> Self {
        let now = Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap();
        let azure = testing::azure(now);
        {
            let mut state = azure.state();
            state.products.insert("basic".into(), product("basic"));
            for id in ["ada", "bob"] {
                state.users.insert(id.into(), user(id, now));
                let subscription = subscription(id, now);
                let id = subscription.id.clone();
                state.subscriptions.insert(id, subscription);
            }
        }
        let portal = Portal {
            azure,
            clock: Clock::standing(now),
            gateway_url: "http://gateway.test".into(),
            console_url: "http://console.test".into(),
        };
        let cookie = None;
        Self { portal, cookie }
    }

    fn signed_in(id: &str) -> Self {
        let mut browser = Self::new();
        browser.portal.azure.set_delegation(DELEGATION_URL);
        let token = browser.token(id, TimeDelta::hours(1));
        let value =
            percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
        browser.cookie = Some(format!("other=1; sandbox_portal={value}"));
        browser
    }

    fn token(&self, id: &str, lifetime: TimeDelta) -> String {
        let expiry = self.portal.clock.now() + lifetime;
        self.portal.azure.mint_sso_token(id, expiry)
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path), Body::empty()).await
    }

    async fn post(&self, path: &str, form: &'static str) -> Response {
        let content_type = "application/x-www-form-urlencoded";
        let request = Request::post(path).header(header::CONTENT_TYPE, content_type);
        self.send(request, Body::from(form)).await
    }

    async fn send(&self, mut request: Builder, body: Body) -> Response {
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let router = router(self.portal.clone());
        router.oneshot(request.body(body).unwrap()).await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        text(self.get(path).await).await
    }
}

fn product(id: &str) -> Product {
    Product {
        id: id.into(),
        display_name: "Basic".into(),
        description: Some("50,000 calls a month".into()),
        terms: None,
        subscription_required: true,
        approval_required: Some(false),
        subscriptions_limit: None,
        state: ProductState::Published,
        apis: BTreeSet::from(["weather".to_owned()]),
        groups: BTreeSet::new(),
        policy: None,
        version: 9,
    }
}

fn user(id: &str, now: DateTime<Utc>) -> User {
    User {
        id: id.into(),
        email: format!("{id}@example.test"),
        first_name: "First".into(),
        last_name: "Last".into(),
        state: UserState::Active,
        note: None,
        registered_at: now,
        version: 9,
    }
}

fn subscription(owner: &str, now: DateTime<Utc>) -> Subscription {
    Subscription {
        id: format!("sub_{owner}"),
        owner: Some(owner.into()),
        scope: Scope::Product("basic".into()),
        display_name: Some(format!("<b>{owner}'s</b>")),
        state: SubscriptionState::Active,
        created_at: now,
        expires_at: None,
        state_comment: None,
        allow_tracing: false,
        primary_key: format!("primary-of-{owner}"),
        secondary_key: format!("secondary-of-{owner}"),
        version: 9,
    }
}

fn location(response: &Response) -> &str {
    response.headers()[header::LOCATION].to_str().unwrap()
}

async fn text(response: Response) -> String {
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn sso_path(token: &str, return_url: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("returnUrl", return_url)
        .finish();
    format!("/signin-sso?{query}")
}

#[tokio::test]
async fn a_true_token_signs_in_and_leads_to_the_return_url() {
    let mut browser = Browser::new();
    assert!(browser.text("/").await.contains("id=\"sign-up\""));
    let token = browser.token("ada", TimeDelta::hours(1));
    let response = browser.get(&sso_path(&token, "/products/basic")).await;
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(location(&response), "/products/basic");
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("sandbox_portal=") && cookie.contains("HttpOnly"));
    browser.cookie = cookie.split(';').next().map(ToOwned::to_owned);
    let page = browser.text("/").await;
    assert!(page.contains("id=\"signed-in-as\"") && page.contains("ada@example.test"));
}

#[tokio::test]
async fn an_absolute_return_url_leads_home() {
    let browser = Browser::new();
    let token = browser.token("ada", TimeDelta::hours(1));
    let response = browser.get(&sso_path(&token, "http://evil.test/")).await;
    assert_eq!(location(&response), "/");
}

#[tokio::test]
async fn a_token_that_is_odd_false_or_over_does_not_sign_in() {
    let browser = Browser::new();
    let check = async |token: String, expected| {
        let response = browser.get(&sso_path(&token, "/")).await;
        assert_eq!(response.status(), expected, "{token}");
        assert!(!response.headers().contains_key(header::SET_COOKIE));
    };
    let hour = TimeDelta::hours(1);
    check(String::new(), StatusCode::BAD_REQUEST).await;
    check(browser.token("a.da", hour), StatusCode::BAD_REQUEST).await;
    check(browser.token("nobody", hour), StatusCode::FORBIDDEN).await;
    check(browser.token("ada", -hour), StatusCode::FORBIDDEN).await;
    check(
        browser.token("ada", hour).replace("ada", "bob"),
        StatusCode::FORBIDDEN,
    )
    .await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_or_when_the_user_is_blocked() {
    let browser = Browser::signed_in("ada");
    assert!(browser.text("/").await.contains("signed-in-as"));
    browser
        .portal
        .azure
        .state()
        .users
        .get_mut("ada")
        .unwrap()
        .state = UserState::Blocked;
    assert!(!browser.text("/").await.contains("signed-in-as"));

    let browser = Browser::signed_in("ada");
    let later = browser.portal.clock.now() + TimeDelta::hours(1);
    browser.portal.clock.advance_to(later);
    assert!(!browser.text("/").await.contains("signed-in-as"));
}

#[tokio::test]
async fn sign_in_and_sign_up_go_to_the_delegation_endpoint_only_when_it_is_set() {
    let browser = Browser::new();
    let page = browser.text("/signup").await;
    assert!(page.contains("The developer portal keeps this account itself"));
    browser.portal.azure.set_delegation(DELEGATION_URL);
    let response = browser.get("/signup").await;
    let start = format!("{DELEGATION_URL}?returnUrl=%2F&operation=SignUp&salt=");
    assert!(location(&response).starts_with(&start), "{response:?}");
    let response = browser.get("/signin?returnUrl=/products/basic").await;
    assert!(location(&response).contains("returnUrl=%2Fproducts%2Fbasic&operation=SignIn"));
}

#[tokio::test]
async fn subscribing_wants_a_sign_in_first_and_then_goes_to_the_delegation_endpoint() {
    let browser = Browser::new();
    let response = browser.get("/delegation-subscribe?productId=basic").await;
    assert_eq!(location(&response), "/signin?returnUrl=%2Fproducts%2Fbasic");
    let browser = Browser::signed_in("ada");
    assert!(
        browser
            .text("/products/basic")
            .await
            .contains("id=\"subscribe\"")
    );
    let response = browser.get("/delegation-subscribe?productId=basic").await;
    let start = format!("{DELEGATION_URL}?userId=ada&productId=basic&operation=Subscribe&salt=");
    assert!(location(&response).starts_with(&start), "{response:?}");
}

#[tokio::test]
async fn a_product_is_full_at_its_limit_of_live_subscriptions() {
    let browser = Browser::signed_in("ada");
    let limit = |limit| {
        let mut state = browser.portal.azure.state();
        state.products.get_mut("basic").unwrap().subscriptions_limit = Some(limit);
    };
    limit(2);
    assert!(
        !browser
            .text("/products/basic")
            .await
            .contains("limit-reached")
    );
    limit(1);
    assert!(
        browser
            .text("/products/basic")
            .await
            .contains("limit-reached")
    );
    browser.portal.azure.cancel_subscription("sub_ada");
    assert!(
        !browser
            .text("/products/basic")
            .await
            .contains("limit-reached")
    );
}

#[tokio::test]
async fn an_unpublished_product_does_not_exist_for_developers() {
    let browser = Browser::new();
    assert!(browser.text("/products").await.contains("Basic"));
    let mut hidden = product("basic");
    hidden.state = ProductState::NotPublished;
    let state = &browser.portal.azure;
    state.state().products.insert("basic".into(), hidden);
    assert!(!browser.text("/products").await.contains("Basic"));
    let response = browser.get("/products/basic").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_profile_shows_own_subscriptions_and_keys_only_on_request() {
    let browser = Browser::signed_in("ada");
    let page = browser.text("/profile").await;
    assert!(page.contains("data-id=\"sub_ada\"") && !page.contains("sub_bob"));
    assert!(page.contains("&lt;b&gt;ada"), "names are escaped");
    assert!(!page.contains("primary-of-ada"));
    let page = browser.text("/profile?keys=sub_ada").await;
    assert!(page.contains("primary-of-ada") && page.contains("secondary-of-ada"));
    assert!(
        !browser
            .text("/profile?keys=sub_bob")
            .await
            .contains("-of-bob")
    );
}

#[tokio::test]
async fn only_the_owner_changes_a_subscription() {
    let browser = Browser::signed_in("ada");
    let azure = &browser.portal.azure;
    let response = browser
        .post("/subscriptions/sub_ada/rename", "name=+New+name+")
        .await;
    assert_eq!(location(&response), "/profile#sub_ada");
    let name = azure.subscription("sub_ada").unwrap().display_name;
    assert_eq!(name.as_deref(), Some("New name"));
    browser
        .post("/subscriptions/sub_ada/regenerate", "key=secondary")
        .await;
    let after = azure.subscription("sub_ada").unwrap();
    assert_eq!(after.primary_key, "primary-of-ada");
    assert_ne!(after.secondary_key, "secondary-of-ada");
    let response = browser
        .post("/subscriptions/sub_bob/rename", "name=Mine")
        .await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let response = browser
        .post("/subscriptions/sub_ada/rename", "name=++")
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_endpoint_cancels_where_subscriptions_are_delegated_and_else_the_portal() {
    let browser = Browser::signed_in("ada");
    let response = browser.post("/subscriptions/sub_ada/cancel", "").await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let response = browser
        .get("/delegation-unsubscribe?subscriptionId=sub_ada")
        .await;
    assert!(location(&response).contains("subscriptionId=sub_ada&operation=Unsubscribe"));
    browser
        .portal
        .azure
        .state()
        .delegation
        .subscriptions_enabled = false;
    browser.post("/subscriptions/sub_ada/cancel", "").await;
    let state = browser.portal.azure.subscription("sub_ada").unwrap().state;
    assert_eq!(state, SubscriptionState::Cancelled);
}

#[tokio::test]
async fn signing_out_forgets_the_token_and_tells_the_delegation_endpoint() {
    let browser = Browser::signed_in("ada");
    let response = browser.get("/signout").await;
    assert!(location(&response).contains("userId=ada&operation=SignOut"));
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("sandbox_portal=;") && cookie.contains("Max-Age=0"));
    let response = Browser::new().get("/signout").await;
    assert_eq!(location(&response), "/");
}

#[tokio::test]
async fn the_account_pages_are_delegated_for_whoever_is_signed_in() {
    let browser = Browser::signed_in("ada");
    for (path, operation) in [
        ("/change-password", "ChangePassword"),
        ("/delegation-changeProfile", "ChangeProfile"),
        ("/delegation-closeAccount", "CloseAccount"),
    ] {
        let response = browser.get(path).await;
        let wanted = format!("?userId=ada&operation={operation}&salt=");
        assert!(location(&response).contains(&wanted), "{path}");
        let response = Browser::new().get(path).await;
        assert_eq!(location(&response), "/signin?returnUrl=%2Fprofile");
    }
}

#[tokio::test]
async fn the_try_it_form_calls_only_what_the_api_has_and_says_when_nothing_answers() {
    let browser = Browser::signed_in("ada");
    let response = browser.post("/apis/weather", "path=/@evil.test/").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let response = browser
        .post("/apis/weather", "path=/weather/today&subscription=sub_ada")
        .await;
    assert!(text(response).await.contains("No answer: "));
}

#[tokio::test]
async fn without_delegation_of_accounts_the_portal_signs_people_up_and_in_itself() {
    let mut browser = Browser::new();
    let form = "firstName=Eve&lastName=Novak&email=eve@example.test&password=long+enough&returnUrl=/products";
    let response = browser.post("/signup", form).await;
    assert_eq!(location(&response), "/products");
    let refused = browser
        .post("/signin", "email=eve@example.test&password=wrong")
        .await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let form = "email=eve@example.test&password=long+enough&returnUrl=http://evil.test/";
    let response = browser.post("/signin", form).await;
    assert_eq!(location(&response), "/");
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    browser.cookie = cookie.split(';').next().map(str::to_owned);
    assert!(browser.text("/profile").await.contains("eve@example.test"));
    browser
        .post("/profile", "firstName=Eva&lastName=&password=")
        .await;
    let page = browser.text("/profile").await;
    assert!(page.contains("Eva") && page.contains("Novak"));
    let response = browser.get("/change-password").await;
    assert!(
        text(response)
            .await
            .contains("Delegation of sign-in and accounts is off")
    );
    browser.post("/profile/close", "").await;
    assert!(!browser.text("/").await.contains("signed-in-as"));
}

#[tokio::test]
async fn with_delegation_of_accounts_the_portals_own_forms_are_refused() {
    let browser = Browser::signed_in("ada");
    for path in ["/signin", "/signup", "/profile", "/profile/close"] {
        let response = browser.post(path, "").await;
        assert_eq!(response.status(), StatusCode::CONFLICT, "{path}");
    }
    assert!(browser.portal.azure.user("ada").is_some());
}
