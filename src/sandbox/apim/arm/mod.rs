//! The management API: what Azure Resource Manager checks before API Management sees a request,
//! and the routes below the service.

mod error;
mod etag;
mod odata;
mod page;
mod policies;
mod products;
mod reports;
mod service;
mod settings;
mod subscriptions;
mod users;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::entra::{BadToken, check_bearer};
use super::{Azure, RESOURCE_GROUP, SERVICE_NAME, SUBSCRIPTION_ID, state};
use error::ArmError;
use page::Asked;

/// The oldest `api-version` that API Management still answers, by its announced retirements.
const OLDEST_VERSION: &str = "2021-08-01";
/// What a token must be for.
const AUDIENCES: &[&str] = &[
    "https://management.azure.com",
    "https://management.core.windows.net",
];

/// The management API behind its checks, for every path that nothing else answers.
pub(super) fn router(azure: Azure) -> Router {
    let operations = operations().with_state(azure.clone());
    Router::new()
        .fallback(enter)
        .with_state(Gate { azure, operations })
}

/// What stands before the operations.
#[derive(Clone)]
struct Gate {
    azure: Azure,
    operations: Router,
}

/// The operations, by their path below the service. Names of collections and actions are lower
/// case here, see [`below_service`].
fn operations() -> Router<Azure> {
    Router::new()
        .merge(service::routes())
        .merge(users::routes())
        .merge(products::routes())
        .merge(subscriptions::routes())
        .merge(settings::routes())
        .merge(reports::routes())
        .fallback(|| async { ArmError::not_found("Resource") })
        .method_not_allowed_fallback(|| async {
            let message = "The requested resource does not support this http method.";
            ArmError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
        })
}

async fn enter(State(gate): State<Gate>, mut request: Request) -> Response {
    let method = request.method().clone();
    let response = match admit(&gate.azure, &mut request) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => gate.operations.oneshot(request).await.into_response(),
    };
    stamp(response, &method)
}

/// Checks what Resource Manager checks, then makes the path relative to the service.
fn admit(azure: &Azure, request: &mut Request) -> Result<(), ArmError> {
    authenticate(azure, request.headers())?;
    let asked = Asked::new(request.uri());
    check_version(asked.parameter("api-version"))?;
    *request.uri_mut() = below_service(request.uri().path())?
        .parse::<Uri>()
        .map_err(|_| ArmError::not_found("Resource"))?;
    request.extensions_mut().insert(asked);
    Ok(())
}

fn authenticate(azure: &Azure, headers: &HeaderMap) -> Result<(), ArmError> {
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some(header) = header else {
        let message = "Authentication failed. The 'Authorization' header is missing.";
        return Err(ArmError::unauthorized("AuthenticationFailed", message));
    };
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        Some(_) | None => "",
    };
    let now = azure.clock.now();
    check_bearer(&azure.token_key, token, AUDIENCES, now).map_err(|bad| match bad {
        BadToken::Audience(audience) => {
            let message = format!(
                "The access token has been obtained for wrong audience or resource \
                 '{audience}'. It should exactly match with one of the allowed audiences {}.",
                AUDIENCES.join(", ")
            );
            ArmError::unauthorized("InvalidAuthenticationTokenAudience", message)
        }
        BadToken::Invalid => {
            let message = "The access token is invalid.";
            ArmError::unauthorized("InvalidAuthenticationToken", message)
        }
        BadToken::Expired { at, now } => {
            let message = format!(
                "The access token expiry UTC time '{at}' is earlier than current UTC time '{now}'."
            );
            ArmError::unauthorized("ExpiredAuthenticationToken", message)
        }
    })
}

fn check_version(version: Option<&str>) -> Result<(), ArmError> {
    let Some(version) = version.filter(|version| !version.is_empty()) else {
        return Err(ArmError::new(
            StatusCode::BAD_REQUEST,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ));
    };
    let is_date = version.len() >= 10
        && version.is_ascii()
        && version[..10].parse::<chrono::NaiveDate>().is_ok();
    if is_date && version >= OLDEST_VERSION {
        return Ok(());
    }
    Err(ArmError::new(
        StatusCode::BAD_REQUEST,
        "InvalidApiVersionParameter",
        format!("The api-version '{version}' is invalid."),
    ))
}

/// The part of a path behind the service's own, beginning with `/`.
///
/// Resource Manager matches names without regard to case, so the names of collections and
/// actions, which stand at every other place, become lower case; the ids between them stay. Below
/// `reports` and `portalsettings` the second name is one of a fixed set too.
fn below_service(path: &str) -> Result<String, ArmError> {
    let service = service_path();
    let mut segments = path.trim_end_matches('/').split('/');
    for expected in service.split('/') {
        let found = segments.next().unwrap_or_default();
        if !found.eq_ignore_ascii_case(expected) {
            return Err(foreign_resource(found, expected));
        }
    }
    let mut relative = String::new();
    let mut fixed = false;
    for (place, segment) in segments.enumerate() {
        let lowered = segment.to_ascii_lowercase();
        let is_name = place % 2 == 0 || (place == 1 && fixed);
        fixed = place == 0 && matches!(lowered.as_str(), "reports" | "portalsettings");
        relative.push('/');
        relative.push_str(if is_name { &lowered } else { segment });
    }
    if relative.is_empty() {
        relative.push('/');
    }
    Ok(relative)
}

fn foreign_resource(found: &str, expected: &str) -> ArmError {
    let not_found = StatusCode::NOT_FOUND;
    match expected {
        SUBSCRIPTION_ID => ArmError::new(
            not_found,
            "SubscriptionNotFound",
            format!("The subscription '{found}' could not be found."),
        ),
        RESOURCE_GROUP => ArmError::new(
            not_found,
            "ResourceGroupNotFound",
            format!("Resource group '{found}' could not be found."),
        ),
        SERVICE_NAME => ArmError::new(
            not_found,
            "ResourceNotFound",
            format!(
                "The Resource 'Microsoft.ApiManagement/service/{found}' under resource group \
                 '{RESOURCE_GROUP}' was not found."
            ),
        ),
        _ => ArmError::not_found("Resource"),
    }
}

/// Adds what Resource Manager adds to every answer. The sandbox never runs out of requests.
fn stamp(mut response: Response, method: &Method) -> Response {
    let request_id = request_id();
    let (remaining, left) = match *method {
        Method::GET | Method::HEAD => ("x-ms-ratelimit-remaining-subscription-reads", "249"),
        Method::DELETE => ("x-ms-ratelimit-remaining-subscription-deletes", "199"),
        _ => ("x-ms-ratelimit-remaining-subscription-writes", "199"),
    };
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static(remaining),
        HeaderValue::from_static(left),
    );
    for name in ["x-ms-request-id", "x-ms-correlation-request-id"] {
        headers.insert(HeaderName::from_static(name), request_id.clone());
    }
    response
}

fn request_id() -> HeaderValue {
    HeaderValue::from_str(&guid()).expect("digits and hyphens are a header's value")
}

/// A random id in the form of a GUID.
pub(super) fn guid() -> String {
    let digits = state::new_key();
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

fn service_path() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{RESOURCE_GROUP}/providers/\
         Microsoft.ApiManagement/service/{SERVICE_NAME}"
    )
}

/// The envelope of every resource; `path` is the one below the service, such as `users/1`.
fn resource(path: &str, properties: &Value) -> Value {
    let mut places = path.split('/');
    let mut kinds = Vec::new();
    let mut name = "";
    while let Some(kind) = places.next() {
        kinds.push(kind);
        name = places.next().unwrap_or(kind);
    }
    json!({
        "id": format!("{}/{path}", service_path()),
        "type": format!("Microsoft.ApiManagement/service/{}", kinds.join("/")),
        "name": name,
        "properties": properties,
    })
}

/// Reads `{"properties": …}`.
fn properties<T: DeserializeOwned>(body: &[u8]) -> Result<T, ArmError> {
    #[derive(Deserialize)]
    struct Envelope<T> {
        properties: T,
    }
    serde_json::from_slice(body)
        .map(|envelope: Envelope<T>| envelope.properties)
        .map_err(|error| {
            ArmError::validation(format!("The request body is not understood: {error}"))
        })
}

/// `text`, which must have `least` to `most` characters.
fn sized(
    field: &'static str,
    text: Option<String>,
    least: usize,
    most: usize,
) -> Result<String, ArmError> {
    let text = text.unwrap_or_default();
    if (least..=most).contains(&text.chars().count()) {
        return Ok(text);
    }
    let message = format!("'{field}' must have {least} to {most} characters.");
    Err(ArmError::field(field, message))
}

fn time(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests;
