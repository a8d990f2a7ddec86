//! Keys, versions, idempotency and expansion.

use axum::http::Method;
use serde_json::json;

use super::{Trial, start};
use crate::sandbox::stripe::http::TABLES;
use crate::sandbox::stripe::params;

#[test]
fn the_operations_are_exactly_those_whose_parameters_are_known() {
    let mut offered: Vec<_> = TABLES
        .iter()
        .flat_map(|table| table.iter().map(|operation| operation.route))
        .collect();
    let mut described: Vec<_> = params::operations().collect();
    offered.sort_unstable();
    described.sort_unstable();
    assert_eq!(offered, described);
}

#[tokio::test]
async fn only_the_account_s_key_opens_it() {
    let trial = Trial::new();
    for (authorization, status) in [
        ("Bearer sk_test_sandbox", 200),
        ("Basic c2tfdGVzdF9zYW5kYm94Og==", 200),
        ("Bearer sk_test_other", 401),
        ("", 401),
    ] {
        let headers = [("authorization", authorization)];
        let reply = trial.send(Method::GET, "/v1/products", "", &headers).await;
        assert_eq!(reply.status, status, "{authorization}");
    }
}

#[tokio::test]
async fn answers_name_the_request_and_the_version() {
    let trial = Trial::new();
    let headers = [("stripe-version", "2025-09-30.clover")];
    let reply = trial.send(Method::GET, "/v1/products", "", &headers).await;
    assert_eq!(reply.header("stripe-version"), "2025-09-30.clover");
    assert!(reply.header("request-id").starts_with("req_"));
    let unversioned = trial.get("/v1/products").await;
    assert_eq!(unversioned.header("stripe-version"), "2026-09-30.endive");
    assert_ne!(reply.header("request-id"), unversioned.header("request-id"));
}

#[tokio::test]
async fn what_does_not_exist_is_a_404() {
    let trial = Trial::new();
    assert_eq!(trial.get("/v1/nonsense").await.status, 404);
    assert_eq!(trial.delete("/v1/prices/price_1").await.status, 404);
    let reply = trial.get("/v1/prices/price_1").await;
    assert_eq!(reply.refusal(), (404, "resource_missing", "id"));
    assert_eq!(reply.body["error"]["message"], "No such price: 'price_1'");
}

#[tokio::test]
async fn a_repeated_key_replays_the_answer_for_a_day() {
    let trial = Trial::new();
    let headers = [("idempotency-key", "key-1")];
    let create = |form| trial.send(Method::POST, "/v1/products", form, &headers);
    let first = create("name=A").await.ok();
    let again = create("name=A").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.ok(), first);
    let other = create("name=B").await;
    assert_eq!(other.body["error"]["type"], "idempotency_error");
    trial
        .clock
        .advance_to(start() + chrono::TimeDelta::hours(24));
    assert_ne!(create("name=B").await.ok()["id"], first["id"]);
}

#[tokio::test]
async fn a_refusal_by_the_operation_is_replayed_but_not_one_by_the_parameter_check() {
    let trial = Trial::new();
    let refused = [("idempotency-key", "refused")];
    let form = "product=prod_1&currency=usd&unit_amount=1";
    let first = trial.send(Method::POST, "/v1/prices", form, &refused).await;
    assert_eq!(first.refusal(), (400, "resource_missing", "product"));
    trial.post("/v1/products", "id=prod_1&name=A").await.ok();
    let again = trial.send(Method::POST, "/v1/prices", form, &refused).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (400, "true")
    );
    let unchecked = [("idempotency-key", "unchecked")];
    let bad = trial
        .send(Method::POST, "/v1/products", "", &unchecked)
        .await;
    assert_eq!(bad.refusal(), (400, "parameter_missing", "name"));
    let good = trial
        .send(Method::POST, "/v1/products", "name=B", &unchecked)
        .await;
    good.ok();
}

#[tokio::test]
async fn ids_are_expanded_where_asked() {
    let trial = Trial::new();
    trial.post("/v1/products", "id=prod_1&name=A").await.ok();
    let form = "product=prod_1&currency=usd&billing_scheme=tiered&tiers_mode=volume\
                &tiers[0][up_to]=inf&tiers[0][unit_amount]=5";
    let price = trial.post("/v1/prices", form).await.ok();
    assert_eq!(price["product"], "prod_1");
    assert_eq!(price.get("tiers"), None, "shown only on request");
    let path = "/v1/prices?expand[]=data.product&expand[]=data.tiers";
    let listed = &trial.get(path).await.ok()["data"][0];
    assert_eq!(listed["product"]["name"], "A");
    assert_eq!(listed["tiers"][0]["unit_amount"], 5);
    assert_eq!(listed["tiers"][0]["up_to"], json!(null));
    for path in [
        "product",
        "data.nope",
        "data.currency",
        "data.product.a.b.c",
    ] {
        let path = format!("/v1/prices?expand[]={path}");
        assert_eq!(
            trial.get(&path).await.refusal(),
            (400, "", "expand"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_rate_limit_answers_429_with_its_reason() {
    let trial = Trial::new();
    trial.stripe.set_rate_limit(Some(0));
    let reply = trial.get("/v1/products").await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("stripe-rate-limited-reason"), "global-rate");
}
