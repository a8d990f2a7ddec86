//! Tokens, versions and paths: what is checked before any operation.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chrono::TimeDelta;

use super::{CLIENT_ID, CLIENT_SECRET, Client, TENANT_ID, noon, send, token};

#[tokio::test]
async fn a_wrong_secret_or_client_gets_entras_error() {
    let client = Client::new().await;
    let cases = [
        (TENANT_ID, CLIENT_ID, "wrong", 401, 7_000_215),
        (TENANT_ID, "wrong", CLIENT_SECRET, 400, 700_016),
        ("wrong", CLIENT_ID, CLIENT_SECRET, 400, 90_002),
    ];
    for (tenant, id, secret, status, code) in cases {
        let reply = token(&client.router, tenant, id, secret).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.body["error_codes"][0], code);
        let description = reply.body["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")));
    }
}

#[tokio::test]
async fn no_token_a_false_one_and_an_expired_one_are_told_apart() {
    let mut client = Client::new().await;
    let request = Request::get("/subscriptions/x?api-version=2024-05-01");
    let reply = send(&client.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.code(), "AuthenticationFailed");
    assert!(reply.headers.contains_key(header::WWW_AUTHENTICATE));

    client.azure.clock.advance_to(noon() + TimeDelta::hours(1));
    let reply = client.get("/users").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.code(), "ExpiredAuthenticationToken");

    client.token = "eyJ.eyJ.x".to_owned();
    assert_eq!(
        client.get("/users").await.code(),
        "InvalidAuthenticationToken"
    );
}

#[tokio::test]
async fn every_request_must_name_a_version_that_is_still_answered() {
    let client = Client::new().await;
    let path = super::super::service_path();
    for (query, code) in [
        ("", "MissingApiVersionParameter"),
        ("?api-version=", "MissingApiVersionParameter"),
        ("?api-version=2019-01-01", "InvalidApiVersionParameter"),
        ("?api-version=latest", "InvalidApiVersionParameter"),
    ] {
        let reply = client
            .follow(&format!("http://azure.test{path}{query}"))
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.code(), code, "{query}");
    }
}

#[tokio::test]
async fn the_path_to_the_service_has_no_case_but_ids_have() {
    let client = Client::new().await;
    client.with_user("Ada").await;
    let path = super::super::service_path().to_uppercase();
    let link = |rest: &str| format!("http://azure.test{path}{rest}?api-version=2024-05-01");
    assert_eq!(
        client.follow(&link("/USERS/Ada")).await.status,
        StatusCode::OK
    );
    let other = client.follow(&link("/users/ada")).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_subscription_group_or_service_is_not_found() {
    let client = Client::new().await;
    let path = super::super::service_path();
    for (ours, code) in [
        (super::SUBSCRIPTION_ID, "SubscriptionNotFound"),
        ("resourceGroups/sandbox", "ResourceGroupNotFound"),
        ("tollhouse-sandbox", "ResourceNotFound"),
    ] {
        let theirs = ours.replace("sandbox", "other").replace('3', "4");
        let link = format!(
            "http://azure.test{}?api-version=2024-05-01",
            path.replace(ours, &theirs)
        );
        let reply = client.follow(&link).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert_eq!(reply.code(), code);
    }
}

#[tokio::test]
async fn answers_carry_a_request_id_and_what_is_left_of_the_rate() {
    let client = Client::new().await;
    let reply = client.get("/users").await;
    assert!(reply.headers.contains_key("x-ms-request-id"));
    let left = "x-ms-ratelimit-remaining-subscription-reads";
    assert!(reply.headers.contains_key(left));
    let reply = client.delete("/users/nobody").await;
    let left = "x-ms-ratelimit-remaining-subscription-deletes";
    assert!(reply.headers.contains_key(left));
}

#[tokio::test]
async fn what_does_not_exist_is_an_error_in_azures_form() {
    let client = Client::new().await;
    let reply = client.get("/users/nobody").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let expected = serde_json::json!({ "error": {
        "code": "ResourceNotFound", "message": "User not found.", "details": null
    }});
    assert_eq!(reply.body, expected);
    assert_eq!(client.get("/nothing").await.code(), "ResourceNotFound");
    let reply = client.delete("/users").await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
}
