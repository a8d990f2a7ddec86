//! Subscriptions and their keys.

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::etag::{match_if_asked, require_match, with_etag};
use super::odata::Literal;
use super::page::{Asked, LastLink, page};
use super::{properties, resource, service_path, sized, time};
use crate::sandbox::apim::Azure;
use crate::sandbox::apim::model::{Scope, Subscription, SubscriptionState};
use crate::sandbox::apim::state::{KeyKind, MASTER_SUBSCRIPTION_ID, State as Service, new_key};

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/subscriptions", get(list))
        .route(
            "/subscriptions/{id}",
            get(read).put(put).patch(change).delete(delete),
        )
        .route("/subscriptions/{id}/listsecrets", post(secrets))
        .route(
            "/subscriptions/{id}/regenerateprimarykey",
            post(regenerate_primary),
        )
        .route(
            "/subscriptions/{id}/regeneratesecondarykey",
            post(regenerate_secondary),
        )
        .route("/users/{user}/subscriptions", get(list_of_user))
        .route("/users/{user}/subscriptions/{id}", get(read_of_user))
        .route("/products/{product}/subscriptions", get(list_of_product))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    owner_id: Option<String>,
    scope: Option<String>,
    display_name: Option<String>,
    state: Option<SubscriptionState>,
    primary_key: Option<String>,
    secondary_key: Option<String>,
    allow_tracing: Option<bool>,
    state_comment: Option<String>,
    expiration_date: Option<DateTime<Utc>>,
}

async fn list(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    list_where(&azure, &asked, |_| true)
}

async fn list_of_user(
    State(azure): State<Azure>,
    Path(user): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    azure
        .user(&user)
        .ok_or_else(|| ArmError::not_found("User"))?;
    list_where(&azure, &asked, |found| found.owner.as_ref() == Some(&user))
}

async fn list_of_product(
    State(azure): State<Azure>,
    Path(product): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    azure
        .product(&product)
        .ok_or_else(super::products::missing)?;
    list_where(&azure, &asked, |found| found.product() == Some(&product))
}

fn list_where(azure: &Azure, asked: &Asked, wanted: impl Fn(&Subscription) -> bool) -> Answer {
    let state = azure.state();
    let candidates = state.subscriptions.values().filter(|found| wanted(found));
    let subscriptions = asked.select(candidates, field)?;
    let rows: Vec<_> = subscriptions.iter().map(|found| show(found)).collect();
    page(azure, asked, state.page_size, &rows, LastLink::Absent)
}

async fn read(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    let found = azure.subscription(&id).ok_or_else(missing)?;
    Ok(with_etag(StatusCode::OK, found.version, show(&found)))
}

async fn read_of_user(
    State(azure): State<Azure>,
    Path((user, id)): Path<(String, String)>,
) -> Answer {
    let found = azure
        .subscription(&id)
        .filter(|found| found.owner.as_ref() == Some(&user));
    let found = found.ok_or_else(missing)?;
    Ok(with_etag(StatusCode::OK, found.version, show(&found)))
}

/// Creates, or replaces. Whether Azure keeps the keys of a replaced subscription that the request
/// does not name is not known; the sandbox makes new ones, so that nobody relies on it.
async fn put(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let now = azure.clock.now();
    let mut state = azure.state();
    check_id(&id)?;
    let before = state.subscriptions.get(&id);
    match_if_asked(&headers, before.map(|found| found.version))?;
    let status = match before {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    };
    let mut subscription = Subscription {
        id,
        owner: None,
        scope: Scope::AllApis,
        display_name: None,
        state: before.map_or(SubscriptionState::Submitted, |found| found.state),
        created_at: before.map_or(now, |found| found.created_at),
        expires_at: None,
        state_comment: None,
        allow_tracing: false,
        primary_key: new_key(),
        secondary_key: new_key(),
        version: 0,
    };
    sized("displayName", body.display_name.clone(), 1, 100)?;
    apply(&mut subscription, body, true)?;
    check_links(&state, &subscription)?;
    keep(&mut state, subscription, status, true)
}

async fn change(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let mut state = azure.state();
    let mut found = state.subscriptions.get(&id).cloned().ok_or_else(missing)?;
    require_match(&headers, found.version)?;
    apply(&mut found, body, false)?;
    check_links(&state, &found)?;
    keep(&mut state, found, StatusCode::OK, false)
}

async fn delete(State(azure): State<Azure>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let mut state = azure.state();
    let Some(found) = state.subscriptions.get(&id) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    require_match(&headers, found.version)?;
    if id == MASTER_SUBSCRIPTION_ID {
        let message = "The built-in subscription cannot be deleted.";
        return Err(ArmError::validation(message));
    }
    state.subscriptions.remove(&id);
    Ok(StatusCode::OK.into_response())
}

async fn secrets(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    let found = azure.subscription(&id).ok_or_else(missing)?;
    let body = json!({ "primaryKey": found.primary_key, "secondaryKey": found.secondary_key });
    let etag = [("etag", super::etag::etag(found.version))];
    Ok((etag, Json(body)).into_response())
}

async fn regenerate_primary(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    regenerate(&azure, &id, KeyKind::Primary)
}

async fn regenerate_secondary(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    regenerate(&azure, &id, KeyKind::Secondary)
}

fn regenerate(azure: &Azure, id: &str, kind: KeyKind) -> Answer {
    if azure.regenerate_key(id, kind) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(missing())
}

/// Sets what `body` has. The scope must be there when the subscription `is_new` or replaced.
fn apply(found: &mut Subscription, body: Body, is_new: bool) -> Result<(), ArmError> {
    if body.scope.is_some() || is_new {
        found.scope = scope(body.scope.as_deref().unwrap_or_default())?;
    }
    if let Some(owner) = &body.owner_id {
        found.owner = Some(after(owner, "/users/").ok_or_else(|| {
            ArmError::field("ownerId", "The owner must be a user: /users/{userId}.")
        })?);
    }
    if body.display_name.is_some() {
        found.display_name = Some(sized("displayName", body.display_name, 1, 100)?);
    }
    if body.primary_key.is_some() {
        found.primary_key = sized("primaryKey", body.primary_key, 1, 256)?;
    }
    if body.secondary_key.is_some() {
        found.secondary_key = sized("secondaryKey", body.secondary_key, 1, 256)?;
    }
    found.state = body.state.unwrap_or(found.state);
    found.allow_tracing = body.allow_tracing.unwrap_or(found.allow_tracing);
    found.state_comment = body.state_comment.or(found.state_comment.take());
    found.expires_at = body.expiration_date.or(found.expires_at);
    Ok(())
}

/// Short (`/products/x`) and full resource ids are both right.
fn scope(text: &str) -> Result<Scope, ArmError> {
    if let Some(product) = after(text, "/products/") {
        return Ok(Scope::Product(product));
    }
    if let Some(api) = after(text, "/apis/") {
        return Ok(Scope::Api(api));
    }
    if text.ends_with("/apis") {
        return Ok(Scope::AllApis);
    }
    let message = "The scope must be /products/{productId}, /apis or /apis/{apiId}.";
    Err(ArmError::field("scope", message))
}

/// The last name of `path`, when it stands right behind `collection`.
fn after(path: &str, collection: &str) -> Option<String> {
    let (_, name) = path.rsplit_once(collection)?;
    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

/// The owner, the product or the API must exist, and the product must have room for one more.
fn check_links(state: &Service, wanted: &Subscription) -> Result<(), ArmError> {
    if let Some(owner) = &wanted.owner
        && !state.users.contains_key(owner)
    {
        return Err(ArmError::field("ownerId", "User not found."));
    }
    if let Scope::Api(api) = &wanted.scope {
        super::service::find_api(api)?;
    }
    let Some(id) = wanted.product() else {
        return Ok(());
    };
    let Some(product) = state.products.get(id) else {
        return Err(ArmError::field("scope", "Product not found."));
    };
    let others = state.subscriptions.values().filter(|other| {
        other.id != wanted.id
            && other.owner == wanted.owner
            && other.product() == Some(id)
            && other.state.is_live()
    });
    let full = product
        .subscriptions_limit
        .is_some_and(|limit| others.count() >= limit as usize);
    if full && wanted.state.is_live() {
        let message = "Subscriptions limit reached for same user";
        return Err(ArmError::validation(message));
    }
    Ok(())
}

/// Stores a subscription that is right in itself, unless one of its keys is another's.
fn keep(
    state: &mut Service,
    mut wanted: Subscription,
    status: StatusCode,
    with_keys: bool,
) -> Answer {
    let keys = [&wanted.primary_key, &wanted.secondary_key];
    let taken = state.subscriptions.values().any(|other| {
        other.id != wanted.id
            && (keys.contains(&&other.primary_key) || keys.contains(&&other.secondary_key))
    });
    if taken {
        let message = "Another subscription has this key already.";
        return Err(ArmError::field("primaryKey", message));
    }
    wanted.version = state.next_version();
    let mut body = show(&wanted);
    if with_keys {
        body["properties"]["primaryKey"] = json!(wanted.primary_key);
        body["properties"]["secondaryKey"] = json!(wanted.secondary_key);
    }
    let answer = with_etag(status, wanted.version, body);
    state.subscriptions.insert(wanted.id.clone(), wanted);
    Ok(answer)
}

/// At most 256 characters, none of `*#&+:<>?`.
fn check_id(id: &str) -> Result<(), ArmError> {
    if id.chars().count() <= 256 && !id.contains(['*', '#', '&', '+', ':', '<', '>', '?']) {
        return Ok(());
    }
    Err(ArmError::field("sid", "The subscription id is not valid."))
}

fn missing() -> ArmError {
    ArmError::not_found("Subscription")
}

fn field(found: &Subscription, name: &str) -> Option<Literal> {
    let text = match name {
        "name" => found.id.clone(),
        "displayName" => found.display_name.clone().unwrap_or_default(),
        "stateComment" => found.state_comment.clone().unwrap_or_default(),
        "ownerId" | "userId" => found.owner.clone().unwrap_or_default(),
        "productId" => found.product().unwrap_or_default().to_owned(),
        "scope" => scope_path(&found.scope),
        "state" => found.state.as_str().to_owned(),
        _ => return None,
    };
    Some(Literal::Text(text))
}

/// Below the service's path; the built-in subscription's is the service itself, with its slash.
fn scope_path(scope: &Scope) -> String {
    match scope {
        Scope::Service => "/".to_owned(),
        Scope::AllApis => "/apis".to_owned(),
        Scope::Api(id) => format!("/apis/{id}"),
        Scope::Product(id) => format!("/products/{id}"),
    }
}

/// Without the keys. The built-in subscription has no `ownerId` at all.
fn show(found: &Subscription) -> Value {
    let mut properties = json!({
        "scope": format!("{}{}", service_path(), scope_path(&found.scope)),
        "displayName": found.display_name,
        "state": found.state,
        "createdDate": time(found.created_at),
        "startDate": null,
        "expirationDate": found.expires_at.map(time),
        "endDate": null,
        "notificationDate": null,
        "stateComment": found.state_comment,
        "allowTracing": found.allow_tracing,
    });
    if let Some(owner) = &found.owner {
        properties["ownerId"] = json!(format!("{}/users/{owner}", service_path()));
    }
    resource(&format!("subscriptions/{}", found.id), &properties)
}
