//! Products, and the APIs and groups linked to them.

use std::collections::BTreeSet;

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
use super::odata::Literal;
use super::page::{Asked, LastLink, page};
use super::service::{find_api, find_group, show_api, show_group};
use super::{policies, properties, resource, sized};
use crate::sandbox::apim::Azure;
use crate::sandbox::apim::model::{Product, ProductState};

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/products", get(list))
        .route(
            "/products/{id}",
            get(read).put(put).patch(change).delete(delete),
        )
        .route("/products/{id}/apis", get(apis))
        .route(
            "/products/{id}/apis/{api}",
            axum::routing::put(link_api)
                .delete(unlink_api)
                .head(has_api),
        )
        .route("/products/{id}/groups", get(groups))
        .route(
            "/products/{id}/groups/{group}",
            axum::routing::put(link_group)
                .delete(unlink_group)
                .head(has_group),
        )
        .merge(policies::routes())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    display_name: Option<String>,
    description: Option<String>,
    terms: Option<String>,
    subscription_required: Option<bool>,
    approval_required: Option<bool>,
    subscriptions_limit: Option<u32>,
    state: Option<ProductState>,
}

async fn list(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let state = azure.state();
    let products = asked.select(state.products.values(), field)?;
    let rows: Vec<_> = products.iter().map(|product| show(product)).collect();
    page(&azure, &asked, state.page_size, &rows, LastLink::Null)
}

async fn read(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    let product = azure.product(&id).ok_or_else(missing)?;
    Ok(with_etag(StatusCode::OK, product.version, show(&product)))
}

async fn put(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let mut state = azure.state();
    let version = state.next_version();
    let before = state.products.get(&id);
    match_if_asked(&headers, before.map(|product| product.version))?;
    let mut product = Product {
        id: id.clone(),
        display_name: String::new(),
        description: None,
        terms: None,
        subscription_required: true,
        approval_required: None,
        subscriptions_limit: None,
        state: ProductState::NotPublished,
        apis: before.map(|old| old.apis.clone()).unwrap_or_default(),
        groups: before.map_or_else(
            || BTreeSet::from(["administrators".to_owned()]),
            |old| old.groups.clone(),
        ),
        policy: before.and_then(|old| old.policy.clone()),
        version,
    };
    let status = match before {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    };
    sized("displayName", body.display_name.clone(), 1, 300)?;
    apply(&mut product, body)?;
    let answer = with_etag(status, version, show(&product));
    state.products.insert(id, product);
    Ok(answer)
}

async fn change(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let mut state = azure.state();
    let version = state.next_version();
    let product = state.products.get_mut(&id).ok_or_else(missing)?;
    require_match(&headers, product.version)?;
    apply(product, body)?;
    product.version = version;
    Ok(with_etag(StatusCode::OK, version, show(product)))
}

/// Sets what `body` has and checks the whole.
fn apply(product: &mut Product, body: Body) -> Result<(), ArmError> {
    let mut changed = product.clone();
    if body.display_name.is_some() {
        changed.display_name = sized("displayName", body.display_name, 1, 300)?;
    }
    if body.description.is_some() {
        changed.description = Some(sized("description", body.description, 0, 1_000)?);
    }
    changed.terms = body.terms.or(changed.terms);
    changed.subscription_required = body
        .subscription_required
        .unwrap_or(changed.subscription_required);
    changed.approval_required = body.approval_required.or(changed.approval_required);
    changed.subscriptions_limit = body.subscriptions_limit.or(changed.subscriptions_limit);
    changed.state = body.state.unwrap_or(changed.state);
    if changed.subscriptions_limit == Some(0) {
        let message = "The subscriptions limit must be 1 or more.";
        return Err(ArmError::field("subscriptionsLimit", message));
    }
    *product = changed;
    Ok(())
}

async fn delete(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
) -> Answer {
    let mut state = azure.state();
    let Some(product) = state.products.get(&id) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    require_match(&headers, product.version)?;
    let mut subscriptions = state.subscriptions.values();
    let is_used = subscriptions.any(|subscription| subscription.product() == Some(&id));
    if is_used && !asked.flag("deleteSubscriptions") {
        let message = "The product has subscriptions. Delete them, or set deleteSubscriptions.";
        return Err(ArmError::validation(message));
    }
    state
        .subscriptions
        .retain(|_, subscription| subscription.product() != Some(&id));
    state.products.remove(&id);
    Ok(StatusCode::OK.into_response())
}

async fn apis(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let product = azure.product(&id).ok_or_else(missing)?;
    let rows = product
        .apis
        .iter()
        .map(|api| find_api(api).map(|api| show_api(&azure, api)))
        .collect::<Result<Vec<_>, _>>()?;
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

async fn groups(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let product = azure.product(&id).ok_or_else(missing)?;
    let rows = product
        .groups
        .iter()
        .map(|group| find_group(group).map(show_group))
        .collect::<Result<Vec<_>, _>>()?;
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

/// The ids of one kind that are linked to a product.
type Links = fn(&mut Product) -> &mut BTreeSet<String>;

const APIS: Links = |product| &mut product.apis;
const GROUPS: Links = |product| &mut product.groups;

async fn link_api(State(azure): State<Azure>, Path((id, api)): Path<(String, String)>) -> Answer {
    let api = find_api(&api)?;
    let status = link(&azure, &id, APIS, api.id)?;
    Ok((status, axum::Json(show_api(&azure, api))).into_response())
}

async fn link_group(
    State(azure): State<Azure>,
    Path((id, group)): Path<(String, String)>,
) -> Answer {
    let group = find_group(&group)?;
    let status = link(&azure, &id, GROUPS, group.id)?;
    Ok((status, axum::Json(show_group(group))).into_response())
}

async fn unlink_api(State(azure): State<Azure>, Path((id, api)): Path<(String, String)>) -> Answer {
    unlink(&azure, &id, APIS, &api)
}

async fn unlink_group(
    State(azure): State<Azure>,
    Path((id, group)): Path<(String, String)>,
) -> Answer {
    unlink(&azure, &id, GROUPS, &group)
}

async fn has_api(State(azure): State<Azure>, Path((id, api)): Path<(String, String)>) -> Answer {
    is_linked(&azure, &id, APIS, &api)
}

async fn has_group(
    State(azure): State<Azure>,
    Path((id, group)): Path<(String, String)>,
) -> Answer {
    is_linked(&azure, &id, GROUPS, &group)
}

fn link(azure: &Azure, product: &str, links: Links, id: &str) -> Result<StatusCode, ArmError> {
    let mut state = azure.state();
    let product = state.products.get_mut(product).ok_or_else(missing)?;
    let is_new = links(product).insert(id.to_owned());
    Ok(if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    })
}

fn unlink(azure: &Azure, product: &str, links: Links, id: &str) -> Answer {
    let mut state = azure.state();
    let product = state.products.get_mut(product).ok_or_else(missing)?;
    let was_linked = links(product).remove(id);
    let status = if was_linked {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    Ok(status.into_response())
}

fn is_linked(azure: &Azure, product: &str, links: Links, id: &str) -> Answer {
    let mut product = azure.product(product).ok_or_else(missing)?;
    if links(&mut product).contains(id) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(ArmError::not_found("Link"))
}

pub(super) fn missing() -> ArmError {
    ArmError::not_found("Product")
}

fn field(product: &Product, name: &str) -> Option<Literal> {
    let text = match name {
        "name" => product.id.clone(),
        "displayName" => product.display_name.clone(),
        "description" => product.description.clone().unwrap_or_default(),
        "terms" => product.terms.clone().unwrap_or_default(),
        "state" => json!(product.state).as_str().unwrap_or_default().to_owned(),
        _ => return None,
    };
    Some(Literal::Text(text))
}

fn show(product: &Product) -> Value {
    let properties = json!({
        "displayName": product.display_name,
        "description": product.description,
        "terms": product.terms,
        "subscriptionRequired": product.subscription_required,
        "approvalRequired": product.approval_required,
        "subscriptionsLimit": product.subscriptions_limit,
        "state": product.state,
    });
    resource(&format!("products/{}", product.id), &properties)
}
