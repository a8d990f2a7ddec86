//! Calls over HTTP, and the gateway's refusals in Azure's words.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;

use super::Gateway;
use super::limits::Admitted;
use super::weather::Operation;

const KEY_HEADER: &str = "ocp-apim-subscription-key";
const KEY_PARAMETER: &str = "subscription-key";

pub(super) fn router() -> Router<Gateway> {
    Router::new()
        .route("/weather/{operation}", get(call).options(preflight))
        .fallback(|| async { not_found() })
        .layer(middleware::map_response(allow_every_origin))
}

async fn call(
    State(gateway): State<Gateway>,
    uri: Uri,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(operation) = Operation::at(uri.path()) else {
        return not_found();
    };
    let in_header = headers.get(KEY_HEADER).and_then(|key| key.to_str().ok());
    let key = in_header.or(parameters.get(KEY_PARAMETER).map(String::as_str));
    let (admitted, _) = gateway.serve(key.unwrap_or_default(), operation, 1);
    match admitted {
        None => unauthorized(key.is_some()),
        Some(Admitted { served: 1.., .. }) => {
            let city = parameters.get("city").map(String::as_str);
            let (status, body) = operation.answer(city, gateway.clock.now());
            (status, Json(body)).into_response()
        }
        Some(Admitted {
            over_rate: 1..,
            retry_after,
            ..
        }) => too_many(retry_after),
        Some(Admitted { retry_after, .. }) => out_of_quota(retry_after),
    }
}

/// A browser asks before it sends a key from another page, such as the developer portal's.
async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, KEY_HEADER),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn allow_every_origin(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after"),
    );
    response
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let body = json!({ "statusCode": status.as_u16(), "message": message });
    (status, Json(body)).into_response()
}

fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "Resource not found")
}

fn unauthorized(has_key: bool) -> Response {
    let message = if has_key {
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an \
         active subscription."
    } else {
        "Access denied due to missing subscription key. Make sure to include subscription key \
         when making requests to an API."
    };
    let challenge = "AzureApiManagementKey realm=\"https://tollhouse-sandbox.azure-api.net\",\
                     name=\"Ocp-Apim-Subscription-Key\",type=\"header\"";
    let refusal = refusal(StatusCode::UNAUTHORIZED, message);
    ([(header::WWW_AUTHENTICATE, challenge)], refusal).into_response()
}

fn too_many(seconds: i64) -> Response {
    let message = format!("Rate limit is exceeded. Try again in {seconds} seconds.");
    let refusal = refusal(StatusCode::TOO_MANY_REQUESTS, &message);
    ([(header::RETRY_AFTER, seconds.to_string())], refusal).into_response()
}

fn out_of_quota(seconds: i64) -> Response {
    let message = format!(
        "Out of call volume quota. Quota will be replenished in {}.",
        span(seconds)
    );
    let refusal = refusal(StatusCode::FORBIDDEN, &message);
    ([(header::RETRY_AFTER, seconds.to_string())], refusal).into_response()
}

/// As .NET writes a span of time: `[d.]hh:mm:ss`.
fn span(seconds: i64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60);
    if days == 0 {
        clock
    } else {
        format!("{days}.{clock}")
    }
}
