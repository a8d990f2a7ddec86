//! Users, products, subscriptions and settings.

use axum::http::{StatusCode, header};
use chrono::TimeDelta;
use serde_json::json;

use super::{Client, noon};

#[tokio::test]
async fn a_user_is_created_read_changed_and_found_by_email() {
    let client = Client::new().await;
    client.with_user("ada").await;
    let reply = client.get("/users/ada").await;
    assert!(reply.headers.contains_key(header::ETAG));
    assert_eq!(reply.body["properties"]["state"], "active");
    assert_eq!(
        reply.body["properties"]["registrationDate"],
        "2026-03-01T12:00:00.000Z"
    );
    let changed = client.patch("/users/ada", json!({ "note": "n" })).await;
    assert_eq!(changed.body["properties"]["note"], "n");
    assert_eq!(changed.body["properties"]["firstName"], "Ada");
    let found = client
        .get("/users?$filter=email%20eq%20'ada@example.com'")
        .await;
    assert_eq!(found.names(), ["ada"]);
    let none = client.get("/users?$filter=email%20eq%20'x'").await;
    assert_eq!(none.names(), Vec::<&str>::new());
}

#[tokio::test]
async fn an_email_address_belongs_to_one_user() {
    let client = Client::new().await;
    client.with_user("ada").await;
    let other = json!({ "email": "ADA@example.com", "firstName": "B", "lastName": "C" });
    let reply = client.put("/users/bob", other).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.body["error"]["details"][0]["target"], "email");
}

#[tokio::test]
async fn a_change_needs_if_match_and_a_stale_one_fails() {
    let client = Client::new().await;
    client.with_user("ada").await;
    let etag = client.get("/users/ada").await.headers[header::ETAG].clone();
    let etag = etag.to_str().unwrap();
    let body = Some(json!({ "properties": { "note": "n" } }));
    let without = client.send("PATCH", "/users/ada", "", body.clone()).await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    let first = client.send("PATCH", "/users/ada", etag, body.clone()).await;
    assert_eq!(first.status, StatusCode::OK);
    let second = client.send("PATCH", "/users/ada", etag, body).await;
    assert_eq!(second.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn deleting_a_user_is_a_long_running_operation() {
    let client = Client::new().await;
    client.with_user("ada").await;
    let reply = client.delete("/users/ada").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let location = reply.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(
        client.follow(&location).await.status,
        StatusCode::ACCEPTED,
        "still at it"
    );
    assert_eq!(client.follow(&location).await.status, StatusCode::OK);
    assert_eq!(client.get("/users/ada").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        client.delete("/users/ada").await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_user_with_subscriptions_is_deleted_only_together_with_them() {
    let client = Client::new().await;
    client.with_user("ada").await;
    client.with_product("basic", None).await;
    client.subscribe("s1", "ada", "basic").await;
    let refused = client.delete("/users/ada").await;
    assert_eq!(refused.code(), "ValidationError");
    let reply = client.delete("/users/ada?deleteSubscriptions=true").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert!(client.azure.subscription("s1").is_none());
}

#[tokio::test]
async fn a_shared_access_token_signs_in_and_lives_thirty_days_at_most() {
    let client = Client::new().await;
    client.with_user("ada").await;
    let body = |expiry: &str| json!({ "properties": { "keyType": "primary", "expiry": expiry } });
    let reply = client
        .post("/users/ada/token", body("2026-03-01T20:00:00Z"))
        .await;
    let token = reply.body["value"].as_str().unwrap();
    let user = client.azure.check_sso_token(token, noon());
    assert_eq!(user.as_deref(), Some("ada"));
    for expiry in ["2026-03-01T11:59:59Z", "2026-04-01T00:00:00Z", "soon"] {
        let reply = client.post("/users/ada/token", body(expiry)).await;
        assert_eq!(reply.code(), "ValidationError", "{expiry}");
    }
}

#[tokio::test]
async fn an_sso_url_names_the_legacy_portal_and_lives_five_minutes() {
    let client = Client::new().await;
    client.with_user("ada").await;
    let reply = client.post("/users/ada/generateSsoUrl", json!({})).await;
    let url = url::Url::parse(reply.body["value"].as_str().unwrap()).unwrap();
    assert_eq!(url.path(), "/signin-sso");
    assert_eq!(
        url.host_str(),
        Some("tollhouse-sandbox.portal.azure-api.net")
    );
    let (_, token) = url.query_pairs().next().unwrap();
    let at = |minutes| noon() + TimeDelta::minutes(minutes);
    assert!(client.azure.check_sso_token(&token, at(4)).is_some());
    assert!(client.azure.check_sso_token(&token, at(5)).is_none());
}

#[tokio::test]
async fn a_subscription_without_a_state_is_submitted_and_only_put_shows_keys() {
    let client = Client::new().await;
    client.with_user("ada").await;
    client.with_product("basic", None).await;
    let body = json!({ "ownerId": "/users/ada", "scope": "/products/basic", "displayName": "d" });
    let created = client.put("/subscriptions/s1", body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.body["properties"]["state"], "submitted");
    let key = created.body["properties"]["primaryKey"].clone();
    assert!(key.is_string());
    let read = client.get("/subscriptions/s1").await;
    assert!(read.body["properties"].get("primaryKey").is_none());
    let changed = client
        .patch("/subscriptions/s1", json!({ "state": "active" }))
        .await;
    assert!(changed.body["properties"].get("primaryKey").is_none());
    assert_eq!(changed.body["properties"]["state"], "active");
    let secrets = client
        .post("/subscriptions/s1/listSecrets", json!({}))
        .await;
    assert_eq!(secrets.body["primaryKey"], key);
    let reply = client
        .post("/subscriptions/s1/regeneratePrimaryKey", json!({}))
        .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let secrets = client
        .post("/subscriptions/s1/listSecrets", json!({}))
        .await;
    assert_ne!(secrets.body["primaryKey"], key);
}

#[tokio::test]
async fn full_resource_ids_are_as_good_as_short_ones() {
    let client = Client::new().await;
    client.with_user("ada").await;
    client.with_product("basic", None).await;
    let service = super::super::service_path();
    let body = json!({
        "ownerId": format!("{service}/users/ada"),
        "scope": format!("{service}/products/basic"),
        "displayName": "d",
    });
    let reply = client.put("/subscriptions/s1", body).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let subscription = client.azure.subscription("s1").unwrap();
    assert_eq!(subscription.owner.as_deref(), Some("ada"));
    assert_eq!(subscription.product(), Some("basic"));
}

#[tokio::test]
async fn the_subscriptions_limit_counts_live_subscriptions_of_one_user() {
    let client = Client::new().await;
    client.with_user("ada").await;
    client.with_user("bob").await;
    client.with_product("basic", Some(1)).await;
    client.subscribe("s1", "ada", "basic").await;
    let refused = client.subscribe("s2", "ada", "basic").await;
    let expected = json!({ "error": {
        "code": "ValidationError",
        "message": "Subscriptions limit reached for same user",
        "details": null,
    }});
    assert_eq!(refused.body, expected);
    let other = client.subscribe("s3", "bob", "basic").await;
    assert_eq!(other.status, StatusCode::CREATED);
    assert!(client.azure.cancel_subscription("s1"));
    let next = client.subscribe("s2", "ada", "basic").await;
    assert_eq!(next.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_unknown_owner_or_product_is_refused() {
    let client = Client::new().await;
    client.with_user("ada").await;
    client.with_product("basic", None).await;
    for (user, product) in [("nobody", "basic"), ("ada", "nothing")] {
        let reply = client.subscribe("s1", user, product).await;
        assert_eq!(reply.code(), "ValidationError");
    }
}

#[tokio::test]
async fn the_built_in_subscription_has_no_owner_and_the_services_scope() {
    let client = Client::new().await;
    let reply = client.get("/subscriptions/master").await;
    let properties = &reply.body["properties"];
    assert!(properties.get("ownerId").is_none());
    assert!(properties["scope"].as_str().unwrap().ends_with('/'));
}

#[tokio::test]
async fn a_product_policy_is_kept_as_it_was_put_and_a_bad_one_refused() {
    let client = Client::new().await;
    client.with_product("basic", None).await;
    let path = "/products/basic/policies/policy";
    assert_eq!(client.get(path).await.status, StatusCode::NOT_FOUND);
    let xml = "<policies><inbound><base /><rate-limit calls=\"5\" renewal-period=\"60\" />\
               </inbound></policies>";
    let body = json!({ "format": "rawxml", "value": xml });
    assert_eq!(client.put(path, body).await.status, StatusCode::CREATED);
    let read = client.get(&format!("{path}?format=rawxml")).await;
    assert_eq!(read.body["properties"]["value"], xml);
    let bad = json!({ "format": "xml", "value": "<policies><inbound>" });
    let refused = client.put(path, bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.code(), "ValidationError");
    let policy = client.azure.product("basic").unwrap().policy.unwrap();
    assert_eq!(policy.limits.limits.len(), 1);
}

#[tokio::test]
async fn apis_are_linked_to_products_and_unlinked() {
    let client = Client::new().await;
    client.with_product("basic", None).await;
    let path = "/products/basic/apis/weather";
    let send = async |method| client.send(method, path, "", None).await.status;
    assert_eq!(send("HEAD").await, StatusCode::NOT_FOUND);
    assert_eq!(send("PUT").await, StatusCode::CREATED);
    assert_eq!(send("PUT").await, StatusCode::OK);
    assert_eq!(send("HEAD").await, StatusCode::NO_CONTENT);
    assert_eq!(
        client.get("/products/basic/apis").await.names(),
        ["weather"]
    );
    assert_eq!(send("DELETE").await, StatusCode::OK);
    assert_eq!(send("DELETE").await, StatusCode::NO_CONTENT);
    let unknown = client.put("/products/basic/apis/other", json!({})).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn replacing_a_product_keeps_its_links_and_its_policy() {
    let client = Client::new().await;
    client.with_product("basic", Some(1)).await;
    client.put("/products/basic/apis/weather", json!({})).await;
    let body = json!({ "displayName": "Basic", "state": "notPublished" });
    let reply = client.put("/products/basic", body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let product = client.azure.product("basic").unwrap();
    assert!(product.apis.contains("weather"));
    assert_eq!(product.subscriptions_limit, None);
}

#[tokio::test]
async fn delegation_settings_never_show_the_key_and_a_patch_answers_nothing() {
    let client = Client::new().await;
    let path = "/portalsettings/delegation";
    let body = json!({
        "url": "https://billing.example.com/delegation",
        "validationKey": "a2V5",
        "subscriptions": { "enabled": true },
    });
    assert_eq!(client.put(path, body).await.status, StatusCode::OK);
    let changed = client
        .patch(path, json!({ "userRegistration": { "enabled": true } }))
        .await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    let read = client.get(path).await;
    assert_eq!(read.body["properties"]["subscriptions"]["enabled"], true);
    assert_eq!(read.body["properties"]["userRegistration"]["enabled"], true);
    assert!(read.body["properties"]["validationKey"].is_null());
    let secrets = client.post(&format!("{path}/listSecrets"), json!({})).await;
    assert_eq!(secrets.body, json!({ "validationKey": "a2V5" }));
    let bad = client.patch(path, json!({ "validationKey": "%" })).await;
    assert_eq!(bad.code(), "ValidationError");
}

#[tokio::test]
async fn pages_are_linked_and_counted_as_a_whole() {
    let client = Client::new().await;
    for id in ["a", "b", "c", "d"] {
        client.with_user(id).await;
    }
    client.azure.set_page_size(2);
    let first = client.get("/users").await;
    assert_eq!(first.body["count"], 5);
    let mut names = vec![first.names().join(" ")];
    let mut link = first.body["nextLink"].as_str().map(str::to_owned);
    while let Some(next) = link {
        assert!(next.contains("%24skip="));
        let reply = client.follow(&next).await;
        names.push(reply.names().join(" "));
        link = reply.body["nextLink"].as_str().map(str::to_owned);
    }
    assert_eq!(names, ["1 a", "b c", "d"]);
    let top = client.get("/users?$top=1&$skip=1").await;
    assert_eq!(top.names(), ["a"]);
    let wrong = client.get("/users?$top=0").await;
    assert_eq!(wrong.code(), "ValidationError");
}
