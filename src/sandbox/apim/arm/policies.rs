//! The policy of a product.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::etag::{match_if_asked, require_match, with_etag};
use super::page::{Asked, LastLink, page};
use super::{products, properties, resource};
use crate::sandbox::apim::Azure;
use crate::sandbox::apim::model::Policy;
use crate::sandbox::apim::policy::Limits;

/// The largest policy document that Azure takes, in bytes.
const LONGEST: usize = 256 * 1024;

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/products/{id}/policies", get(list))
        .route(
            "/products/{id}/policies/policy",
            get(read).put(put).delete(delete),
        )
}

/// `xml-link` and `rawxml-link`, addresses that Azure would fetch, are not taken.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Xml,
    RawXml,
}

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    format: Format,
    value: String,
}

async fn list(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let product = azure.product(&id).ok_or_else(products::missing)?;
    let rows: Vec<_> = product
        .policy
        .iter()
        .map(|policy| show(&id, policy, Format::Xml))
        .collect();
    page(&azure, &asked, 1, &rows, LastLink::Absent)
}

async fn read(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let format = match asked.parameter("format") {
        None | Some("xml") => Format::Xml,
        Some("rawxml") => Format::RawXml,
        Some(_) => return Err(ArmError::validation("'format' must be xml or rawxml.")),
    };
    let product = azure.product(&id).ok_or_else(products::missing)?;
    let policy = product.policy.ok_or_else(missing)?;
    let body = show(&id, &policy, format);
    Ok(with_etag(StatusCode::OK, policy.version, body))
}

async fn put(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let limits = check(&body)?;
    let mut state = azure.state();
    let version = state.next_version();
    let product = state.products.get_mut(&id).ok_or_else(products::missing)?;
    let before = product.policy.as_ref().map(|policy| policy.version);
    match_if_asked(&headers, before)?;
    let status = match before {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    };
    let policy = Policy {
        xml: body.value,
        limits,
        version,
    };
    let answer = with_etag(status, version, show(&id, &policy, body.format));
    product.policy = Some(policy);
    Ok(answer)
}

/// Both formats must be XML here: the sandbox knows no policy whose expressions need `rawxml`.
fn check(body: &Body) -> Result<Limits, ArmError> {
    if body.value.len() > LONGEST {
        let message = "The policy document is longer than 256 KiB.";
        return Err(ArmError::validation(message));
    }
    Limits::parse(&body.value).map_err(ArmError::validation)
}

async fn delete(State(azure): State<Azure>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let mut state = azure.state();
    let product = state.products.get_mut(&id).ok_or_else(products::missing)?;
    let Some(policy) = &product.policy else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    require_match(&headers, policy.version)?;
    product.policy = None;
    Ok(StatusCode::OK.into_response())
}

fn missing() -> ArmError {
    ArmError::not_found("Policy")
}

fn show(product: &str, policy: &Policy, format: Format) -> Value {
    let format = match format {
        Format::Xml => "xml",
        Format::RawXml => "rawxml",
    };
    let properties = json!({ "format": format, "value": policy.xml });
    resource(&format!("products/{product}/policies/policy"), &properties)
}
