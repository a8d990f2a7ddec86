//! A sandbox with everything in it, and the one that goes on from its file.

use std::path::Path;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Keeper, Snapshot, SnapshotError};
use crate::sandbox::apim::model::{Product, ProductState, Scope, Subscription, SubscriptionState};
use crate::sandbox::clock::Clock;
use crate::sandbox::gateway::PlannedCalls;
use crate::sandbox::stripe::SECRET_KEY;
use crate::sandbox::{Ports, Sandbox, console};

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
}

async fn send(router: Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// A POST to Stripe; its path is its idempotency key as well.
async fn post(sandbox: &Sandbox, path: &str, form: &str) -> Value {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {SECRET_KEY}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("idempotency-key", path)
        .body(Body::from(form.to_owned()))
        .unwrap();
    let (status, body) = send(sandbox.stripe.router(), request).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

async fn get(sandbox: &Sandbox, path: &str) -> Value {
    let request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {SECRET_KEY}"))
        .body(Body::empty())
        .unwrap();
    let router = if path.starts_with("/v1/") {
        sandbox.stripe.router()
    } else {
        console::router(sandbox.clone())
    };
    let (status, body) = send(router, request).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

async fn call_status(sandbox: &Sandbox, key: &str) -> StatusCode {
    let request = Request::get("/weather/today")
        .header("Ocp-Apim-Subscription-Key", key)
        .body(Body::empty())
        .unwrap();
    send(sandbox.gateway.router(), request).await.0
}

/// A metered subscription in Stripe, one in API Management, and calls that are still to come.
async fn populated() -> Sandbox {
    let clock = Clock::standing(start());
    let sandbox = Sandbox::start(clock, Ports::default()).await.unwrap();
    sell(&sandbox).await;
    subscribe(&sandbox);
    let planned = sandbox.gateway.plan(PlannedCalls {
        key: "key".to_owned(),
        path: "/weather/today".to_owned(),
        count: 1_000,
        from: start(),
        over: TimeDelta::days(10),
    });
    assert!(planned);
    sandbox.advance(TimeDelta::days(3)).await;
    sandbox
}

async fn sell(sandbox: &Sandbox) {
    let meter = "display_name=Calls&event_name=calls&default_aggregation[formula]=last";
    let meter = post(sandbox, "/v1/billing/meters", meter).await;
    let product = post(sandbox, "/v1/products", "name=Metered").await;
    let price = format!(
        "product={}&currency=usd&unit_amount=2&recurring[interval]=month\
         &recurring[usage_type]=metered&recurring[meter]={}",
        product["id"].as_str().unwrap(),
        meter["id"].as_str().unwrap()
    );
    let price = post(sandbox, "/v1/prices", &price).await;
    let customer = "email=ada@example.org&payment_method=pm_card_visa\
                    &invoice_settings[default_payment_method]=pm_card_visa";
    let customer = post(sandbox, "/v1/customers", customer).await;
    let customer = customer["id"].as_str().unwrap();
    let subscription = format!(
        "customer={customer}&items[0][price]={}",
        price["id"].as_str().unwrap()
    );
    post(sandbox, "/v1/subscriptions", &subscription).await;
    let event = format!(
        "event_name=calls&identifier=1&payload[stripe_customer_id]={customer}&payload[value]=123"
    );
    post(sandbox, "/v1/billing/meter_events", &event).await;
}

fn subscribe(sandbox: &Sandbox) {
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
        policy: None,
        version: 4,
    };
    let subscription = Subscription {
        id: "s1".to_owned(),
        owner: Some("1".to_owned()),
        scope: Scope::Product("basic".to_owned()),
        display_name: None,
        state: SubscriptionState::Active,
        created_at: start(),
        expires_at: None,
        state_comment: None,
        allow_tracing: false,
        primary_key: "key".to_owned(),
        secondary_key: "spare".to_owned(),
        version: 5,
    };
    let mut state = sandbox.azure.state();
    state.products.insert(product.id.clone(), product);
    let id = subscription.id.clone();
    state.subscriptions.insert(id, subscription);
}

/// What goes on from the file that `sandbox` is kept in.
async fn resumed(sandbox: &Sandbox, file: &Path) -> Sandbox {
    let keeper = Keeper::new(sandbox.clone(), file.to_owned());
    keeper.save().unwrap();
    let snapshot = Snapshot::read(file).unwrap().unwrap();
    assert_eq!(snapshot.ports(), sandbox.addresses().ports());
    let clock = Clock::standing(snapshot.now());
    let ports = Ports::default();
    Sandbox::resume(snapshot, clock, ports).await.unwrap()
}

/// Both answer alike. What names the sandbox's own addresses is not compared.
async fn assert_same(first: &Sandbox, second: &Sandbox) {
    assert_eq!(first.azure.subscriptions(), second.azure.subscriptions());
    assert_eq!(first.azure.products(), second.azure.products());
    assert_eq!(first.azure.users(), second.azure.users());
    assert_eq!(first.azure.delegation(), second.azure.delegation());
    for path in [
        "/v1/subscriptions",
        "/v1/customers",
        "/v1/prices",
        "/api/usage",
    ] {
        assert_eq!(get(first, path).await, get(second, path).await, "{path}");
    }
    for path in ["/v1/invoices", "/v1/events?limit=100"] {
        let (first, second) = (get(first, path).await, get(second, path).await);
        let told = |list: &Value| -> Vec<Value> {
            let objects = list["data"].as_array().unwrap().iter();
            objects
                .map(|it| {
                    json!([
                        it["id"],
                        it["type"],
                        it["status"],
                        it["total"],
                        it["created"]
                    ])
                })
                .collect()
        };
        assert_eq!(told(&first), told(&second), "{path}");
    }
    let (first, second) = (
        get(first, "/api/state").await,
        get(second, "/api/state").await,
    );
    assert_eq!(first["now"], second["now"]);
    assert_eq!(
        first["counts"]["planned_calls"],
        second["counts"]["planned_calls"]
    );
}

#[tokio::test]
async fn a_sandbox_that_goes_on_from_its_file_answers_as_before_and_bills_as_it_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let first = populated().await;
    let second = resumed(&first, &folder.path().join("sandbox.json")).await;
    assert_same(&first, &second).await;
    for sandbox in [&first, &second] {
        assert_eq!(call_status(sandbox, "key").await, StatusCode::OK);
        assert_eq!(
            call_status(sandbox, "other").await,
            StatusCode::UNAUTHORIZED
        );
        sandbox.advance(TimeDelta::days(40)).await;
    }
    assert_same(&first, &second).await;
    let invoices = get(&second, "/v1/invoices?status=paid").await;
    assert_eq!(invoices["data"][0]["total"], 246, "{invoices:#}");
    assert_eq!(second.azure.usage()["s1"].success, 1_001);
}

#[tokio::test]
async fn a_request_that_is_repeated_after_a_restart_gets_its_first_answer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing(start());
    let first = Sandbox::start(clock, Ports::default()).await.unwrap();
    let answer = post(&first, "/v1/products", "name=Metered").await;
    let second = resumed(&first, &folder.path().join("sandbox.json")).await;
    assert_eq!(post(&second, "/v1/products", "name=Metered").await, answer);
}

#[tokio::test]
async fn who_was_signed_in_to_the_developer_portal_still_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = populated().await;
    let token = first
        .azure
        .mint_sso_token("1", start() + TimeDelta::days(30));
    let second = resumed(&first, &folder.path().join("sandbox.json")).await;
    let user = second.azure.check_sso_token(&token, second.clock.now());
    assert_eq!(user.as_deref(), Some("1"));
}

#[tokio::test]
async fn the_file_is_written_when_something_has_changed_or_much_time_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    let sandbox = populated().await;
    let keeper = Keeper::new(sandbox.clone(), file.clone());
    keeper.save().unwrap();
    let is_written_again = || {
        std::fs::remove_file(&file).unwrap();
        keeper.save_changes().unwrap();
        let is_written = file.exists();
        std::fs::write(&file, "").unwrap();
        is_written
    };
    let pass = |time| sandbox.clock.advance_to(sandbox.clock.now() + time);
    assert!(!is_written_again(), "nothing has changed");
    pass(TimeDelta::seconds(59));
    assert!(!is_written_again(), "little time has passed");
    pass(TimeDelta::seconds(1));
    assert!(is_written_again(), "a minute has passed");
    post(&sandbox, "/v1/customers", "email=bob@example.org").await;
    assert!(is_written_again(), "something has changed");
    assert!(!is_written_again(), "nothing has changed since");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    let keeper = Keeper::new(populated().await, file.clone());
    keeper.save().unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_damaged_or_of_another_version_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    assert!(Snapshot::read(&file).unwrap().is_none());
    let other = r#"{"version":0,"state":{}}"#;
    let cut = r#"{"version":1,"now":"2026-03-01T12:00:00Z","served_un"#;
    let empty = r#"{"version":1,"now":"2026-03-01T12:00:00Z","served_until":"2026-03-01T12:00:00Z",
        "ports":{"stripe":1,"azure":2,"portal":3,"gateway":4,"console":5},"state":{}}"#;
    for (text, is_other_version) in [(other, true), (cut, false), (empty, false), ("", false)] {
        std::fs::write(&file, text).unwrap();
        let error = Snapshot::read(&file).err().expect("it is refused");
        assert!(error.to_string().contains("sandbox.json"), "{error}");
        assert_eq!(
            matches!(error, SnapshotError::OtherVersion { found: 0, .. }),
            is_other_version,
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}
