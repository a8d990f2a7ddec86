//! The service itself, its APIs and its groups: there to be read.

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::etag::with_etag;
use super::page::{Asked, LastLink, page};
use super::resource;
use crate::sandbox::apim::model::{Api, Group};
use crate::sandbox::apim::state::{APIS, GROUPS};
use crate::sandbox::apim::{Azure, SERVICE_NAME};

/// Nothing here ever changes.
const VERSION: u64 = 1;

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/", get(read))
        .route("/apis", get(apis))
        .route("/apis/{id}", get(api))
        .route("/groups", get(groups))
        .route("/groups/{id}", get(group))
}

async fn read(State(azure): State<Azure>) -> Answer {
    let properties = json!({
        "publisherEmail": "admin@sandbox.example",
        "publisherName": "Sandbox",
        "provisioningState": "Succeeded",
        "targetProvisioningState": "",
        "gatewayUrl": azure.addresses.gateway,
        "developerPortalUrl": azure.addresses.portal,
        "developerPortalStatus": "Enabled",
        "legacyPortalStatus": "Disabled",
        "managementApiUrl": null,
        "platformVersion": "stv2.1",
        "apiVersionConstraint": { "minApiVersion": null },
    });
    let body = json!({
        "id": super::service_path(),
        "name": SERVICE_NAME,
        "type": "Microsoft.ApiManagement/service",
        "location": "West Europe",
        "sku": { "name": "Developer", "capacity": 1 },
        "tags": {},
        "etag": "AAAAAAAAAAE=",
        "properties": properties,
    });
    Ok(with_etag(StatusCode::OK, VERSION, body))
}

async fn apis(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let rows: Vec<_> = APIS.iter().map(|api| show_api(&azure, api)).collect();
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

async fn api(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    let body = show_api(&azure, find_api(&id)?);
    Ok(with_etag(StatusCode::OK, VERSION, body))
}

async fn groups(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let rows: Vec<_> = GROUPS.iter().map(show_group).collect();
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

async fn group(Path(id): Path<String>) -> Answer {
    let body = show_group(find_group(&id)?);
    Ok(with_etag(StatusCode::OK, VERSION, body))
}

pub(super) fn find_api(id: &str) -> Result<&'static Api, ArmError> {
    let found = APIS.iter().find(|api| api.id == id);
    found.ok_or_else(|| ArmError::not_found("API"))
}

pub(super) fn find_group(id: &str) -> Result<&'static Group, ArmError> {
    let found = GROUPS.iter().find(|group| group.id == id);
    found.ok_or_else(|| ArmError::not_found("Group"))
}

pub(super) fn show_api(azure: &Azure, api: &Api) -> Value {
    let properties = json!({
        "displayName": api.display_name,
        "description": api.description,
        "apiRevision": "1",
        "isCurrent": true,
        "subscriptionRequired": true,
        "serviceUrl": azure.addresses.gateway,
        "path": api.path,
        "protocols": ["https"],
        "subscriptionKeyParameterNames": {
            "header": "Ocp-Apim-Subscription-Key",
            "query": "subscription-key",
        },
    });
    resource(&format!("apis/{}", api.id), &properties)
}

pub(super) fn show_group(group: &Group) -> Value {
    let properties = json!({
        "displayName": group.display_name,
        "description": group.description,
        "builtIn": true,
        "type": "system",
        "externalId": null,
    });
    resource(&format!("groups/{}", group.id), &properties)
}
