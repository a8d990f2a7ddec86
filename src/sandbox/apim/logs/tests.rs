//! The query endpoint over the calls that the gateway served.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::sandbox::apim::usage::{Answers, Dimensions};
use crate::sandbox::apim::{Azure, WORKSPACE_ID, testing};

const DAY: &str = "ApiManagementGatewayLogs
    | where TimeGenerated >= datetime(2026-03-01T00:00:00Z) and TimeGenerated < datetime(2026-03-02)
    | summarize Calls = count_distinct(CorrelationId), Rows = count() by ApimSubscriptionId, ResponseCode, Hour = bin(TimeGenerated, 1h)";

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 10, 0).unwrap()
}

fn call(azure: &Azure, status: u16, calls: u64) {
    let dimensions = Dimensions {
        subscription: "sub_1".into(),
        ..Dimensions::default()
    };
    let mut answers = Answers::default();
    answers.add(status, calls, 10);
    azure.state().record(noon(), &dimensions, &answers);
}

async fn ask_for(azure: &Azure, scope: &str, query: &str) -> (StatusCode, Value) {
    let now = azure.clock().now();
    let token = super::super::entra::mint(&azure.token_key, scope, now, TimeDelta::hours(1));
    let request = Request::post(format!("/v1/workspaces/{WORKSPACE_ID}/query"))
        .header("authorization", format!("Bearer {token}"))
        .header("prefer", "wait=180")
        .body(Body::from(json!({ "query": query }).to_string()))
        .unwrap();
    let response = azure.router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn ask(azure: &Azure, query: &str) -> (StatusCode, Value) {
    ask_for(azure, "https://api.loganalytics.io/.default", query).await
}

/// A service an hour after noon.
fn azure() -> Azure {
    testing::azure(noon() + TimeDelta::hours(1))
}

async fn rows(azure: &Azure) -> Value {
    let (status, body) = ask(azure, DAY).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["tables"][0]["rows"].clone()
}

#[tokio::test]
async fn calls_are_summarized_by_what_the_query_says() {
    let azure = azure();
    call(&azure, 200, 5);
    call(&azure, 429, 2);
    call(&azure, 200, 1);
    let hour = "2026-03-01T12:00:00Z";
    let expected = json!([["sub_1", 200, hour, 6, 6], ["sub_1", 429, hour, 2, 2]]);
    assert_eq!(rows(&azure).await, expected);
}

#[tokio::test]
async fn a_call_is_found_only_when_it_is_as_old_as_the_lag() {
    let azure = azure();
    azure.set_logs_lag(TimeDelta::hours(2));
    call(&azure, 200, 5);
    assert_eq!(rows(&azure).await, json!([]));
}

#[tokio::test]
async fn a_second_copy_is_a_row_and_no_call_and_a_lost_call_is_neither() {
    let azure = azure();
    azure.duplicate_logs(true);
    call(&azure, 200, 10);
    assert_eq!(rows(&azure).await[0][3], 10);
    assert_eq!(rows(&azure).await[0][4], 20);
    azure.duplicate_logs(false);
    azure.lose_logs(30);
    call(&azure, 200, 5);
    call(&azure, 200, 5);
    assert_eq!(rows(&azure).await[0][3], 17);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_says_so() {
    let azure = azure();
    let code = |body: &Value| body["error"]["innererror"]["code"].clone();
    for (query, expected) in [
        ("ApiManagementGatewayLogs | where (", "SyntaxError"),
        ("ApiManagementGatewayLogs | render piechart", "SyntaxError"),
        (
            "AzureDiagnostics | summarize Calls = count()",
            "SemanticError",
        ),
        ("ApiManagementGatewayLogs", "SemanticError"),
    ] {
        let (status, body) = ask(&azure, query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(code(&body), expected, "{query}: {body}");
    }
    call(&azure, 200, 1);
    let unknown = "ApiManagementGatewayLogs | summarize Calls = count() by Nonsense";
    assert_eq!(code(&ask(&azure, unknown).await.1), "SemanticError");
}

#[tokio::test]
async fn a_token_for_the_management_api_opens_nothing_here() {
    let (status, body) = ask_for(&azure(), "https://management.azure.com/.default", DAY).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(body["error"]["code"], "InvalidAuthenticationTokenAudience");
}
