//! Keys, limits and traffic, over HTTP and in process.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::Value;
use tower::ServiceExt;

use super::{Gateway, PlannedCalls};
use crate::sandbox::apim::model::{
    Policy, Product, ProductState, Scope, Subscription, SubscriptionState,
};
use crate::sandbox::apim::policy::Limits;
use crate::sandbox::apim::testing;
use crate::sandbox::apim::usage::Counts;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
}

/// A gateway with the product `basic` under `limits` and a subscription `s1` whose key is `key`.
fn gateway(limits: &str) -> Gateway {
    let azure = testing::azure(noon());
    let xml = format!("<policies><inbound>{limits}</inbound></policies>");
    let product = Product {
        id: "basic".to_owned(),
        display_name: "Basic".to_owned(),
        description: None,
        terms: None,
        subscription_required: true,
        approval_required: None,
        subscriptions_limit: None,
        state: ProductState::Published,
        apis: ["weather".to_owned()].into(),
        groups: [].into(),
        policy: Some(Policy {
            limits: Limits::parse(&xml).unwrap(),
            xml,
            version: 1,
        }),
        version: 1,
    };
    let subscription = Subscription {
        id: "s1".to_owned(),
        owner: None,
        scope: Scope::Product("basic".to_owned()),
        display_name: None,
        state: SubscriptionState::Active,
        created_at: noon(),
        expires_at: None,
        state_comment: None,
        allow_tracing: false,
        primary_key: "key".to_owned(),
        secondary_key: "spare".to_owned(),
        version: 1,
    };
    let mut state = azure.state();
    state.products.insert(product.id.clone(), product);
    state
        .subscriptions
        .insert(subscription.id.clone(), subscription);
    drop(state);
    Gateway::new(azure.clone(), azure.clock().clone())
}

async fn get(gateway: &Gateway, path: &str, key: Option<&str>) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::get(path);
    if let Some(key) = key {
        request = request.header("Ocp-Apim-Subscription-Key", key);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = gateway.router().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    (head.status, head.headers, body)
}

#[tokio::test]
async fn either_key_opens_the_api_in_the_header_or_the_query() {
    let gateway = gateway("");
    for (path, key) in [
        ("/weather/today", Some("key")),
        ("/weather/tomorrow?city=Basel", Some("spare")),
        ("/weather/today?subscription-key=key", None),
    ] {
        let (status, _, body) = get(&gateway, path, key).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(body["weather"].is_string());
    }
    assert_eq!(gateway.azure.usage()["s1"].success, 3);
}

#[tokio::test]
async fn a_missing_and_an_invalid_key_are_refused_in_azures_words() {
    let gateway = gateway("");
    let (status, headers, body) = get(&gateway, "/weather/today", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(headers.contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(
        body["message"],
        "Access denied due to missing subscription key. Make sure to include subscription key \
         when making requests to an API."
    );
    let (_, _, body) = get(&gateway, "/weather/today", Some("wrong")).await;
    assert_eq!(
        body["message"],
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an \
         active subscription."
    );
    assert_eq!(gateway.azure.usage()[""].blocked, 2);
}

#[tokio::test]
async fn only_an_active_subscription_to_a_product_with_the_api_opens_it() {
    let gateway = gateway("");
    let closed = [
        SubscriptionState::Suspended,
        SubscriptionState::Expired,
        SubscriptionState::Submitted,
        SubscriptionState::Rejected,
        SubscriptionState::Cancelled,
    ];
    let set = |state| {
        let mut service = gateway.azure.state();
        service.subscriptions.get_mut("s1").unwrap().state = state;
    };
    for state in closed {
        set(state);
        let (status, _, _) = get(&gateway, "/weather/today", Some("key")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{state:?}");
    }
    set(SubscriptionState::Active);
    let status = get(&gateway, "/weather/today", Some("key")).await.0;
    assert_eq!(status, StatusCode::OK);
    gateway
        .azure
        .state()
        .products
        .get_mut("basic")
        .unwrap()
        .apis
        .clear();
    let status = get(&gateway, "/weather/today", Some("key")).await.0;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn over_the_rate_limit_the_answer_says_when_to_try_again() {
    let gateway = gateway("<rate-limit calls=\"2\" renewal-period=\"60\" />");
    for _ in 0..2 {
        get(&gateway, "/weather/today", Some("key")).await;
    }
    gateway.clock.advance_to(noon() + TimeDelta::seconds(20));
    let (status, headers, body) = get(&gateway, "/weather/today", Some("spare")).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers[header::RETRY_AFTER], "40");
    assert_eq!(
        body["message"],
        "Rate limit is exceeded. Try again in 40 seconds."
    );
}

#[tokio::test]
async fn over_the_quota_the_answer_is_403_until_the_window_ends() {
    let gateway = gateway("<quota calls=\"1\" renewal-period=\"604800\" />");
    get(&gateway, "/weather/today", Some("key")).await;
    gateway.clock.advance_to(noon() + TimeDelta::seconds(1));
    let (status, headers, body) = get(&gateway, "/weather/today", Some("key")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(headers[header::RETRY_AFTER], "604799");
    assert_eq!(
        body["message"],
        "Out of call volume quota. Quota will be replenished in 6.23:59:59."
    );
}

#[tokio::test]
async fn failures_and_misses_of_the_backend_are_passed_on_and_counted() {
    let gateway = gateway("");
    let broken = get(&gateway, "/weather/broken", Some("key")).await.0;
    assert_eq!(broken, StatusCode::INTERNAL_SERVER_ERROR);
    let missing = get(&gateway, "/weather/missing", Some("key")).await.0;
    assert_eq!(missing, StatusCode::NOT_FOUND);
    let unknown = get(&gateway, "/weather/yesterday", Some("key")).await;
    assert_eq!(unknown.2["message"], "Resource not found");
    let counts = gateway.azure.usage()["s1"];
    assert_eq!((counts.failed, counts.other, counts.total()), (1, 1, 2));
}

fn plan(count: u64, over: TimeDelta) -> PlannedCalls {
    PlannedCalls {
        key: "key".to_owned(),
        path: "/weather/today".to_owned(),
        count,
        from: noon(),
        over,
    }
}

/// Moves time on by hours, as the sandbox does.
fn pass(gateway: &Gateway, hours: i32) {
    for hour in 0..hours {
        let from = noon() + TimeDelta::hours(1) * hour;
        gateway.serve_planned(from, from + TimeDelta::hours(1));
    }
}

#[test]
fn four_and_a_half_million_planned_calls_are_all_served_and_counted() {
    let gateway = gateway("<rate-limit calls=\"3500\" renewal-period=\"60\" />");
    assert!(gateway.plan(plan(4_500_001, TimeDelta::days(5))));
    pass(&gateway, 5 * 24);
    assert_eq!(gateway.planned(), 0);
    assert_eq!(gateway.azure.usage()["s1"].success, 4_500_001);
}

#[test]
fn planned_calls_are_held_to_the_limits() {
    let gateway = gateway("<rate-limit calls=\"100\" renewal-period=\"60\" />");
    assert!(gateway.plan(plan(12_000, TimeDelta::hours(1))));
    pass(&gateway, 1);
    let counts = gateway.azure.usage()["s1"];
    assert_eq!((counts.success, counts.blocked), (6_000, 6_000));
}

#[test]
fn two_plans_with_one_key_share_its_limits() {
    let gateway = gateway("<quota calls=\"150\" renewal-period=\"0\" />");
    assert!(gateway.plan(plan(100, TimeDelta::hours(1))));
    assert!(gateway.plan(plan(100, TimeDelta::hours(1))));
    pass(&gateway, 1);
    let counts = gateway.azure.usage()["s1"];
    assert_eq!((counts.success, counts.blocked), (150, 50));
}

#[test]
fn time_that_is_passed_twice_serves_nothing_twice() {
    let gateway = gateway("<rate-limit calls=\"1\" renewal-period=\"300\" />");
    assert!(gateway.plan(plan(10, TimeDelta::hours(1))));
    pass(&gateway, 1);
    pass(&gateway, 1);
    assert_eq!(gateway.azure.usage()["s1"].success, 10);
}

#[test]
fn planned_calls_are_recorded_at_their_own_moments() {
    let gateway = gateway("");
    assert!(gateway.plan(plan(60, TimeDelta::hours(1))));
    pass(&gateway, 2);
    let mut state = gateway.azure.state();
    state.usage.settle(noon() + TimeDelta::hours(3));
    let buckets: Vec<_> = state
        .usage
        .buckets(noon(), noon() + TimeDelta::hours(2))
        .map(|bucket| bucket.counts.success)
        .collect();
    assert_eq!(buckets, [15, 15, 15, 15]);
}

#[test]
fn a_key_that_is_regenerated_ends_planned_traffic_with_the_old_one() {
    let gateway = gateway("");
    assert!(gateway.plan(plan(100, TimeDelta::hours(2))));
    pass(&gateway, 1);
    let kind = crate::sandbox::apim::state::KeyKind::Primary;
    assert!(gateway.azure.regenerate_key("s1", kind));
    let later = noon() + TimeDelta::hours(1);
    gateway.serve_planned(later, later + TimeDelta::hours(1));
    let usage = gateway.azure.usage();
    assert_eq!((usage["s1"].success, usage[""].blocked), (50, 50));
}

#[test]
fn calls_served_now_are_counted_at_once_unless_the_api_has_no_such_path() {
    let gateway = gateway("<rate-limit calls=\"100\" renewal-period=\"60\" />");
    let counts = gateway.serve_now("key", "/weather/broken", 120);
    assert_eq!((counts.failed, counts.blocked), (100, 20));
    let plan = PlannedCalls {
        path: "/nowhere".to_owned(),
        ..plan(1, TimeDelta::zero())
    };
    assert!(!gateway.plan(plan));
    let nowhere = gateway.serve_now("key", "/nowhere", 5);
    assert_eq!(nowhere, Counts::default());
}
