//! The JSON API and the pages' forms, on a sandbox that listens on free ports.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::router;
use crate::sandbox::clock::Clock;
use crate::sandbox::{Link, Ports, Sandbox};

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
}

async fn sandbox() -> Sandbox {
    Sandbox::start(Clock::standing(start()), Ports::default())
        .await
        .unwrap()
}

async fn send(sandbox: &Sandbox, request: Request<Body>) -> (StatusCode, String) {
    let response = router(sandbox.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(sandbox: &Sandbox, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (status, body) = send(sandbox, request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn post(sandbox: &Sandbox, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let (status, body) = send(sandbox, request).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

async fn page(sandbox: &Sandbox, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (status, body) = send(sandbox, request).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    body
}

async fn submit(sandbox: &Sandbox, path: &str, form: &'static str) -> (StatusCode, String) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    send(sandbox, request).await
}

#[tokio::test]
async fn time_moves_by_seconds_and_to_a_moment_and_never_back() {
    let sandbox = sandbox().await;
    let (status, body) = post(&sandbox, "/api/clock/advance", json!({ "seconds": 5400 })).await;
    assert_eq!(
        (status, &body["now"]),
        (StatusCode::OK, &json!("2026-03-01T13:30:00Z"))
    );
    let time = json!({ "time": "2026-03-03T00:00:00Z" });
    let (status, body) = post(&sandbox, "/api/clock/advance-to", time).await;
    assert_eq!(
        (status, &body["now"]),
        (StatusCode::OK, &json!("2026-03-03T00:00:00Z"))
    );
    for (path, body) in [
        ("/api/clock/advance", json!({ "seconds": -1 })),
        ("/api/clock/advance", json!({ "seconds": i64::MAX })),
        (
            "/api/clock/advance-to",
            json!({ "time": "2026-03-01T00:00:00Z" }),
        ),
        (
            "/api/clock/advance-to",
            json!({ "time": "2036-03-01T00:00:00Z" }),
        ),
    ] {
        let (status, answer) = post(&sandbox, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].is_string());
    }
    assert_eq!(
        get(&sandbox, "/api/state").await["now"],
        "2026-03-03T00:00:00Z"
    );
}

#[tokio::test]
async fn what_is_under_trial_catches_up_at_least_every_hour_of_a_move() {
    let sandbox = sandbox().await;
    let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
    sandbox.on_step(std::sync::Arc::new(move |now| {
        sender.send(now).unwrap();
        Box::pin(async {})
    }));
    post(&sandbox, "/api/clock/advance", json!({ "seconds": 9000 })).await;
    let mut last = start();
    while let Ok(now) = steps.try_recv() {
        assert!(now - last <= TimeDelta::hours(1));
        last = now;
    }
    assert_eq!(last, start() + TimeDelta::seconds(9000));
}

#[tokio::test]
async fn without_a_subscription_no_period_ends() {
    let sandbox = sandbox().await;
    let stop = json!({ "stop": "end" });
    let (status, _) = post(&sandbox, "/api/clock/to-period-end", stop).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

/// A subscription whose period ends at `end`, put where Stripe keeps its objects.
fn subscribe(sandbox: &Sandbox, end: DateTime<Utc>) {
    sandbox.stripe.account().insert(json!({
        "id": "sub_1",
        "object": "subscription",
        "status": "active",
        "items": { "data": [{ "current_period_end": end.timestamp() }] },
    }));
}

#[tokio::test]
async fn a_move_to_the_end_of_the_period_stops_where_it_is_told_to() {
    let sandbox = sandbox().await;
    let end = start() + TimeDelta::days(2);
    subscribe(&sandbox, end);
    assert_eq!(
        get(&sandbox, "/api/state").await["next_period_end"],
        json!(end)
    );
    for (stop, expected) in [("just_before", end - TimeDelta::minutes(1)), ("end", end)] {
        let (_, body) = post(
            &sandbox,
            "/api/clock/to-period-end",
            json!({ "stop": stop }),
        )
        .await;
        assert_eq!(body["now"], json!(expected));
    }
}

/// An invoice that stays a draft, made at `created`.
fn draft(sandbox: &Sandbox, created: DateTime<Utc>) {
    sandbox.stripe.account().insert(json!({
        "id": "in_1",
        "object": "invoice",
        "status": "draft",
        "created": created.timestamp(),
    }));
}

#[tokio::test]
async fn a_bill_that_is_never_done_is_waited_for_five_days() {
    let sandbox = sandbox().await;
    let end = start() + TimeDelta::hours(1);
    subscribe(&sandbox, end);
    let stripe = sandbox.clone();
    sandbox.on_step(std::sync::Arc::new(move |now| {
        if now == end {
            draft(&stripe, end);
        }
        Box::pin(async {})
    }));
    let stop = json!({ "stop": "billed" });
    let (_, body) = post(&sandbox, "/api/clock/to-period-end", stop).await;
    assert_eq!(body["now"], json!(end + TimeDelta::days(5)));
}

#[tokio::test]
async fn a_bill_that_waits_already_is_waited_for_before_the_next_period() {
    let sandbox = sandbox().await;
    subscribe(&sandbox, start() + TimeDelta::days(31));
    draft(&sandbox, start());
    assert!(page(&sandbox, "/").await.contains("bill-waits"));
    let stop = json!({ "stop": "billed" });
    let (_, body) = post(&sandbox, "/api/clock/to-period-end", stop).await;
    assert_eq!(body["now"], json!(start() + TimeDelta::days(5)));
}

#[tokio::test]
async fn faults_are_switched_on_listed_played_and_switched_off() {
    let sandbox = sandbox().await;
    let fault = json!({ "kind": "too_many_requests", "side": "stripe", "path_contains": "/v1/" });
    let (status, list) = post(&sandbox, "/api/faults", fault).await;
    assert_eq!(
        (status, list[0]["times"].as_i64()),
        (StatusCode::CREATED, Some(1))
    );
    assert_eq!(
        get(&sandbox, "/api/faults").await[0]["kind"],
        "too_many_requests"
    );
    let request = Request::delete("/api/faults").body(Body::empty()).unwrap();
    assert_eq!(send(&sandbox, request).await.0, StatusCode::NO_CONTENT);
    assert_eq!(get(&sandbox, "/api/faults").await, json!([]));
    let odd = json!({ "kind": "lost_webhook", "side": "stripe" });
    let (status, answer) = post(&sandbox, "/api/faults", odd).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("webhook"));
}

#[tokio::test]
async fn calls_are_made_at_once_or_as_time_moves() {
    let sandbox = sandbox().await;
    let calls = json!({ "subscription_id": "master", "count": 3 });
    let (status, body) = post(&sandbox, "/api/calls", calls).await;
    assert_eq!(
        (status, &body["served"]["success"]),
        (StatusCode::OK, &json!(3))
    );
    let calls = json!({ "subscription_id": "master", "count": 100, "over_seconds": 7200 });
    let (_, body) = post(&sandbox, "/api/calls", calls).await;
    assert_eq!(body["planned"], 100);
    post(&sandbox, "/api/clock/advance", json!({ "seconds": 3600 })).await;
    assert_eq!(get(&sandbox, "/api/usage").await["master"]["total"], 53);
    post(&sandbox, "/api/clock/advance", json!({ "seconds": 7200 })).await;
    assert_eq!(get(&sandbox, "/api/usage").await["master"]["total"], 103);
    assert_eq!(
        get(&sandbox, "/api/state").await["counts"]["planned_calls"],
        0
    );
    assert!(page(&sandbox, "/").await.contains(">103<"));
}

#[tokio::test]
async fn calls_that_cannot_be_made_are_refused_and_a_false_key_is_the_gateways_business() {
    let sandbox = sandbox().await;
    for (calls, expected) in [
        (json!({ "count": 1 }), StatusCode::BAD_REQUEST),
        (
            json!({ "subscription_id": "master", "count": 0 }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "subscription_id": "master", "count": 1, "path": "x" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "subscription_id": "master", "count": 1, "over_seconds": -1 }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "subscription_id": "nobody", "count": 1 }),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (status, answer) = post(&sandbox, "/api/calls", calls).await;
        assert_eq!(status, expected, "{answer}");
    }
    let calls = json!({ "subscription_key": "false", "count": 2 });
    let (_, body) = post(&sandbox, "/api/calls", calls).await;
    assert_eq!(body["served"]["blocked"], 2);
}

#[tokio::test]
async fn requests_are_listed_by_side_and_from_a_number_on() {
    let sandbox = sandbox().await;
    let portal = sandbox.addresses().portal.clone();
    let asked = tokio::task::spawn_blocking(move || ureq::get(portal).call().is_ok());
    assert!(asked.await.unwrap());
    let all = get(&sandbox, "/api/requests").await;
    assert_eq!(
        (&all[0]["side"], &all[0]["status"]),
        (&json!("portal"), &json!(200))
    );
    assert_eq!(get(&sandbox, "/api/requests?side=stripe").await, json!([]));
    assert_eq!(get(&sandbox, "/api/requests?after=1").await, json!([]));
    assert!(
        page(&sandbox, "/requests?side=portal")
            .await
            .contains("GET /")
    );
    assert!(!page(&sandbox, "/requests?before=1").await.contains("GET /"));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_answered_with_json_too() {
    let sandbox = sandbox().await;
    let (status, answer) = post(&sandbox, "/api/clock/advance", json!({ "secs": 1 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("secs"));
}

#[tokio::test]
async fn lags_are_read_and_set_one_by_one() {
    let sandbox = sandbox().await;
    let (status, body) = post(&sandbox, "/api/lag", json!({ "reports_seconds": 7200 })).await;
    assert_eq!(
        (status, body["reports_seconds"].as_i64()),
        (StatusCode::OK, Some(7200))
    );
    let before = body["meter_seconds"].clone();
    assert_eq!(
        get(&sandbox, "/api/state").await["meter_lag_seconds"],
        before
    );
    let (status, _) = post(&sandbox, "/api/lag", json!({ "meter_seconds": -1 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_unknown_event_is_not_redelivered() {
    let sandbox = sandbox().await;
    let (status, _) = post(&sandbox, "/api/webhooks/evt_1/redeliver", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_forms_do_the_same_without_script() {
    let sandbox = sandbox().await;
    let (status, _) = submit(&sandbox, "/do/move", "step=day").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(sandbox.clock.now(), start() + TimeDelta::days(1));
    let (status, body) = submit(&sandbox, "/do/move", "step=end").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.contains("id=\"problem\""));
    let form = "kind=lost_webhook&side=webhook&path_contains=invoice&times=2";
    assert_eq!(
        submit(&sandbox, "/do/fault", form).await.0,
        StatusCode::SEE_OTHER
    );
    assert!(page(&sandbox, "/faults").await.contains("id=\"faults-on\""));
    submit(&sandbox, "/do/faults-off", "").await;
    assert!(page(&sandbox, "/faults").await.contains("id=\"no-faults\""));
    submit(&sandbox, "/do/lag", "reports_seconds=60&meter_seconds=30").await;
    assert_eq!(get(&sandbox, "/api/state").await["reports_lag_seconds"], 60);
}

#[tokio::test]
async fn the_guide_names_the_addresses_that_it_is_given() {
    let sandbox = sandbox().await;
    sandbox.set_links(vec![Link {
        name: "Status page".into(),
        url: "http://127.0.0.1:1/".into(),
        note: "for administrators".into(),
    }]);
    let overview = page(&sandbox, "/").await;
    assert!(overview.contains("Status page") && overview.contains("for administrators"));
    assert!(overview.contains(&sandbox.addresses().portal));
    assert!(page(&sandbox, "/webhooks").await.contains("None yet."));
}
