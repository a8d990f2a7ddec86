//! The management API over HTTP, without a socket.

mod gate;
mod reports;
mod resources;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::sandbox::apim::{
    Azure, CLIENT_ID, CLIENT_SECRET, RESOURCE_GROUP, SERVICE_NAME, SUBSCRIPTION_ID, TENANT_ID,
    testing,
};

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
}

/// A service and a client that has a token for it.
struct Client {
    azure: Azure,
    router: Router,
    token: String,
}

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn names(&self) -> Vec<&str> {
        let rows = self.body["value"].as_array().unwrap();
        rows.iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Reply {
        status: head.status,
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

async fn token(router: &Router, tenant: &str, client: &str, secret: &str) -> Reply {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", client)
        .append_pair("client_secret", secret)
        .append_pair("scope", "https://management.azure.com/.default")
        .finish();
    let request = Request::post(format!("/{tenant}/oauth2/v2.0/token"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    send(router, request).await
}

impl Client {
    async fn new() -> Self {
        let azure = testing::azure(noon());
        let router = azure.router();
        let reply = token(&router, TENANT_ID, CLIENT_ID, CLIENT_SECRET).await;
        let token = reply.body["access_token"].as_str().unwrap().to_owned();
        Self {
            azure,
            router,
            token,
        }
    }

    /// Sends to `path` below the service, which may have a query.
    async fn send(&self, method: &str, path: &str, if_match: &str, body: Option<Value>) -> Reply {
        let separator = if path.contains('?') { '&' } else { '?' };
        let uri = format!(
            "/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{RESOURCE_GROUP}/providers/\
             Microsoft.ApiManagement/service/{SERVICE_NAME}{path}{separator}api-version=2024-05-01"
        );
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if !if_match.is_empty() {
            request = request.header(header::IF_MATCH, if_match);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        send(&self.router, request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", None).await
    }

    async fn put(&self, path: &str, properties: Value) -> Reply {
        let body = json!({ "properties": properties });
        self.send("PUT", path, "", Some(body)).await
    }

    async fn patch(&self, path: &str, properties: Value) -> Reply {
        let body = json!({ "properties": properties });
        self.send("PATCH", path, "*", Some(body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, "", Some(body)).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, "*", None).await
    }

    /// Follows an absolute link of the service.
    async fn follow(&self, link: &str) -> Reply {
        let path = link.strip_prefix("http://azure.test").unwrap();
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Body::empty())
            .unwrap();
        send(&self.router, request).await
    }

    async fn with_user(&self, id: &str) {
        let email = format!("{id}@example.com");
        let user = json!({ "email": email, "firstName": "Ada", "lastName": "L" });
        let reply = self.put(&format!("/users/{id}"), user).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.body);
    }

    async fn with_product(&self, id: &str, limit: Option<u32>) {
        let product =
            json!({ "displayName": id, "state": "published", "subscriptionsLimit": limit });
        let reply = self.put(&format!("/products/{id}"), product).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.body);
    }

    async fn subscribe(&self, id: &str, user: &str, product: &str) -> Reply {
        let subscription = json!({
            "ownerId": format!("/users/{user}"),
            "scope": format!("/products/{product}"),
            "displayName": id,
            "state": "active",
        });
        self.put(&format!("/subscriptions/{id}"), subscription)
            .await
    }
}
