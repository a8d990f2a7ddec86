//! The developer portal's settings: delegation.

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::etag::{match_if_asked, require_match, with_etag};
use super::page::{Asked, LastLink, page};
use super::{properties, resource};
use crate::sandbox::apim::Azure;
use crate::sandbox::apim::model::Delegation;
use crate::sandbox::apim::state::new_validation_key;

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/portalsettings", get(list))
        .route(
            "/portalsettings/delegation",
            get(read).put(put).patch(change),
        )
        .route("/portalsettings/delegation/listsecrets", post(secrets))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    url: Option<String>,
    validation_key: Option<String>,
    subscriptions: Option<Switch>,
    user_registration: Option<Switch>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Switch {
    #[serde(default)]
    enabled: bool,
}

async fn list(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let rows = [show(&azure.delegation())];
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

async fn read(State(azure): State<Azure>) -> Answer {
    let delegation = azure.delegation();
    let body = show(&delegation);
    Ok(with_etag(StatusCode::OK, delegation.version, body))
}

/// Replaces the settings. A key that is left out is made up, so the old one is lost.
async fn put(State(azure): State<Azure>, headers: HeaderMap, body: Bytes) -> Answer {
    let body: Body = properties(&body)?;
    let mut state = azure.state();
    match_if_asked(&headers, Some(state.delegation.version))?;
    let delegation = Delegation {
        url: body.url,
        user_registration_enabled: body.user_registration.is_some_and(|switch| switch.enabled),
        subscriptions_enabled: body.subscriptions.is_some_and(|switch| switch.enabled),
        validation_key: body.validation_key.unwrap_or_else(new_validation_key),
        version: state.next_version(),
    };
    check(&delegation)?;
    let answer = with_etag(StatusCode::OK, delegation.version, show(&delegation));
    state.delegation = delegation;
    Ok(answer)
}

async fn change(State(azure): State<Azure>, headers: HeaderMap, body: Bytes) -> Answer {
    let body: Body = properties(&body)?;
    let mut state = azure.state();
    let mut delegation = state.delegation.clone();
    require_match(&headers, delegation.version)?;
    delegation.url = body.url.or(delegation.url);
    delegation.validation_key = body.validation_key.unwrap_or(delegation.validation_key);
    if let Some(switch) = body.user_registration {
        delegation.user_registration_enabled = switch.enabled;
    }
    if let Some(switch) = body.subscriptions {
        delegation.subscriptions_enabled = switch.enabled;
    }
    check(&delegation)?;
    delegation.version = state.next_version();
    state.delegation = delegation;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn secrets(State(azure): State<Azure>) -> Answer {
    let key = azure.delegation().validation_key;
    Ok(Json(json!({ "validationKey": key })).into_response())
}

fn check(delegation: &Delegation) -> Result<(), ArmError> {
    if STANDARD.decode(&delegation.validation_key).is_err() {
        let message = "The validation key must be base64-encoded.";
        return Err(ArmError::field("validationKey", message));
    }
    let on = delegation.user_registration_enabled || delegation.subscriptions_enabled;
    let url = delegation.url.as_deref().unwrap_or_default();
    if on && url::Url::parse(url).is_err() {
        let message = "The delegation url must be an absolute address.";
        return Err(ArmError::field("url", message));
    }
    Ok(())
}

/// The key is never shown here, only by `listSecrets`.
fn show(delegation: &Delegation) -> Value {
    let subscriptions = delegation.subscriptions_enabled;
    let user_registration = delegation.user_registration_enabled;
    let properties = json!({
        "url": delegation.url,
        "validationKey": null,
        "subscriptions": { "enabled": subscriptions },
        "userRegistration": { "enabled": user_registration },
        "enabled": subscriptions || user_registration,
        "termsOfService": null,
    });
    resource("portalsettings/delegation", &properties)
}
