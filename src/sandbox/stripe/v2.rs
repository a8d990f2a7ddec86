//! The API under `/v2/`, <https://docs.stripe.com/api-v2-overview>: it takes and gives JSON, and
//! wants an API version with every request.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::account::Account;
use super::error::StripeError;
use super::http::authorized;
use super::webhook_endpoints::is_version;
use super::{Stripe, event_destinations, form, thin};

/// Bodies over this are refused, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
const DEFAULT_LIMIT: usize = 20;
const HIGHEST_LIMIT: usize = 100;

pub(crate) fn router(stripe: Stripe) -> Router {
    Router::new()
        .route("/v2/{*path}", any(serve))
        .with_state(stripe)
}

async fn serve(State(stripe): State<Stripe>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let mut account = stripe.account();
    let id = account.new_id_of_length("req", 14);
    let path: Vec<&str> = head.uri.path().split('/').skip(2).collect();
    let answer = read(&head.headers, head.uri.query(), &body)
        .and_then(|params| dispatch(&mut account, &head.method, &path, &params));
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status, error.body()),
    };
    (status, [("request-id", id)], axum::Json(body)).into_response()
}

/// The parameters of a request: its query, or its body.
fn read(
    headers: &HeaderMap,
    query: Option<&str>,
    body: &[u8],
) -> Result<Map<String, Value>, StripeError> {
    authorized(headers)?;
    let version = headers.get("stripe-version");
    let version = version.and_then(|version| version.to_str().ok());
    if !version.is_some_and(is_version) {
        let message = "Please pass a valid API version in the Stripe-Version header.";
        return Err(StripeError::invalid(message).code("invalid_api_version"));
    }
    if body.is_empty() {
        return form::parse(query.unwrap_or_default());
    }
    serde_json::from_slice(body)
        .map_err(|_| StripeError::invalid("The body is not a JSON object.").code("invalid_json"))
}

fn dispatch(
    account: &mut Account,
    method: &Method,
    path: &[&str],
    params: &Map<String, Value>,
) -> Result<Value, StripeError> {
    match (method.as_str(), path) {
        ("GET", ["core", "events"]) => thin::list(account, params),
        ("GET", ["core", "events", id]) => thin::retrieve(account, id),
        ("POST", ["core", "event_destinations"]) => event_destinations::create(account, params),
        ("GET", ["core", "event_destinations"]) => event_destinations::list(account, params),
        ("GET", ["core", "event_destinations", id]) => event_destinations::retrieve(account, id),
        ("DELETE", ["core", "event_destinations", id]) => event_destinations::delete(account, id),
        (method, path) => Err(StripeError::unknown_url(
            method,
            &format!("/v2/{}", path.join("/")),
        )),
    }
}

/// Refuses what is not among the parameters that an operation knows.
pub(crate) fn only(params: &Map<String, Value>, known: &[&str]) -> Result<(), StripeError> {
    let stranger = params.keys().find(|name| !known.contains(&name.as_str()));
    stranger.map_or(Ok(()), |name| Err(StripeError::unknown_param(name)))
}

/// A page of `items`, which stand in the order that the list shows, behind the page token. The
/// address of the next one carries all parameters of this one.
pub(crate) fn page(
    items: Vec<Value>,
    path: &str,
    params: &Map<String, Value>,
) -> Result<Value, StripeError> {
    let number = |name: &str, default: usize| match params.get(name) {
        None => Ok(default),
        Some(value) => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| StripeError::invalid(format!("Invalid {name}.")).param(name)),
    };
    let (limit, start) = (number("limit", DEFAULT_LIMIT)?, number("page", 0)?);
    if !(1..=HIGHEST_LIMIT).contains(&limit) {
        let message = format!("The limit must be between 1 and {HIGHEST_LIMIT}.");
        return Err(StripeError::invalid(message).param("limit"));
    }
    let end = start.saturating_add(limit);
    let has_more = items.len() > end;
    let data: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    let next = has_more.then(|| format!("{path}?{}", query(params, end)));
    Ok(json!({ "data": data, "next_page_url": next, "previous_page_url": null }))
}

fn query(params: &Map<String, Value>, page: usize) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in params.iter().filter(|(name, _)| *name != "page") {
        if let Some(inner) = value.as_object() {
            for (key, value) in inner {
                let name = format!("{name}[{key}]");
                text.append_pair(&name, value.as_str().unwrap_or_default());
            }
        } else {
            text.append_pair(name, value.as_str().unwrap_or_default());
        }
    }
    text.append_pair("page", &page.to_string());
    text.finish()
}

/// A time as this API writes it.
pub(crate) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
