//! Users: accounts of the developer portal, and the tokens that sign them in.

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::etag::{match_if_asked, require_match, with_etag};
use super::odata::Literal;
use super::page::{Asked, LastLink, page};
use super::{guid, properties, resource, service_path, sized, time};
use crate::sandbox::apim::model::{User, UserState};
use crate::sandbox::apim::state::{ADMINISTRATOR_ID, GROUPS, State as Service};
use crate::sandbox::apim::{Azure, SERVICE_NAME};

/// "The Expiry time of the Token. Maximum token expiry time is set to 30 days."
const LONGEST_TOKEN: TimeDelta = TimeDelta::days(30);
/// How long the token in a URL of `generateSsoUrl` lives.
const SSO_URL_TOKEN: TimeDelta = TimeDelta::minutes(5);
/// How often a client that asks after a deletion is told to wait.
const DELETION_WAITS: u32 = 1;

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/users", get(list))
        .route(
            "/users/{id}",
            get(read).put(put).patch(change).delete(delete),
        )
        .route("/users/{id}/token", post(token))
        .route("/users/{id}/generatessourl", post(sso_url))
        .route("/users/{id}/groups", get(groups))
        .route("/users/{id}/identities", get(identities))
        .route("/users/{id}/confirmations/password/send", post(send_mail))
        .route("/operationresults/{id}", get(deletion_result))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    state: Option<UserState>,
    note: Option<String>,
    password: Option<String>,
}

async fn list(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let state = azure.state();
    let users = asked.select(state.users.values(), field)?;
    let with_groups = asked.flag("expandGroups");
    let rows: Vec<_> = users.iter().map(|user| show(user, with_groups)).collect();
    page(&azure, &asked, state.page_size, &rows, LastLink::Absent)
}

async fn read(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    let user = azure.user(&id).ok_or_else(missing)?;
    Ok(with_etag(StatusCode::OK, user.version, show(&user, true)))
}

async fn put(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let now = azure.clock.now();
    let mut state = azure.state();
    let before = state.users.get(&id);
    match_if_asked(&headers, before.map(|user| user.version))?;
    let user = User {
        id: sized("userId", Some(id), 1, 80)?,
        email: email(body.email)?,
        first_name: sized("firstName", body.first_name, 1, 100)?,
        last_name: sized("lastName", body.last_name, 1, 100)?,
        state: body
            .state
            .or(before.map(|user| user.state))
            .unwrap_or(UserState::Active),
        note: body.note,
        registered_at: before.map_or(now, |user| user.registered_at),
        version: 0,
    };
    let status = match before {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    };
    keep(&mut state, user, body.password, status)
}

async fn change(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: Body = properties(&body)?;
    let mut state = azure.state();
    let mut user = state.users.get(&id).cloned().ok_or_else(missing)?;
    require_match(&headers, user.version)?;
    if body.email.is_some() {
        user.email = email(body.email)?;
    }
    if body.first_name.is_some() {
        user.first_name = sized("firstName", body.first_name, 1, 100)?;
    }
    if body.last_name.is_some() {
        user.last_name = sized("lastName", body.last_name, 1, 100)?;
    }
    user.state = body.state.unwrap_or(user.state);
    user.note = body.note.or(user.note);
    keep(&mut state, user, body.password, StatusCode::OK)
}

/// Stores a user whose fields are right, unless another has the same e-mail address. Whether
/// Azure minds case there is not known; the sandbox does not tell the two apart, although a
/// `$filter` does: a client that relies on either being kind finds out here.
fn keep(
    state: &mut Service,
    mut user: User,
    password: Option<String>,
    status: StatusCode,
) -> Answer {
    let taken = state
        .users
        .values()
        .any(|other| other.id != user.id && other.email.eq_ignore_ascii_case(&user.email));
    if taken {
        let message = "A user with this email already exists.";
        return Err(ArmError::field("email", message));
    }
    user.version = state.next_version();
    if let Some(password) = password {
        state.set_password(&user.id, &password);
    }
    let answer = with_etag(status, user.version, show(&user, true));
    state.users.insert(user.id.clone(), user);
    Ok(answer)
}

fn email(text: Option<String>) -> Result<String, ArmError> {
    let text = sized("email", text, 1, 254)?;
    let looks_right = text
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if looks_right && !text.contains(char::is_whitespace) {
        return Ok(text);
    }
    Err(ArmError::field("email", "Invalid email."))
}

/// Deletes at once, but as a long-running operation: 202 and a `Location` to ask after it.
async fn delete(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
) -> Answer {
    let mut state = azure.state();
    let Some(user) = state.users.get(&id) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    require_match(&headers, user.version)?;
    if id == ADMINISTRATOR_ID {
        let message = "The administrator cannot be deleted.";
        return Err(ArmError::validation(message));
    }
    let is_theirs = |owner: Option<&str>| owner == Some(id.as_str());
    let owns_any = state
        .subscriptions
        .values()
        .any(|subscription| is_theirs(subscription.owner.as_deref()));
    if owns_any && !asked.flag("deleteSubscriptions") {
        let message = "The user has subscriptions. Delete them, or set deleteSubscriptions.";
        return Err(ArmError::validation(message));
    }
    state
        .subscriptions
        .retain(|_, subscription| !is_theirs(subscription.owner.as_deref()));
    state.users.remove(&id);
    state.passwords.remove(&id);
    let deletion = guid();
    state.deletions.insert(deletion.clone(), DELETION_WAITS);
    Ok(accepted(&azure, &asked, &deletion))
}

async fn deletion_result(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let mut state = azure.state();
    let waits = state
        .deletions
        .get_mut(&id)
        .ok_or_else(|| ArmError::not_found("Operation"))?;
    if *waits == 0 {
        return Ok(StatusCode::OK.into_response());
    }
    *waits -= 1;
    Ok(accepted(&azure, &asked, &id))
}

fn accepted(azure: &Azure, asked: &Asked, deletion: &str) -> axum::response::Response {
    let location = format!(
        "{}{}/operationresults/{deletion}?api-version={}",
        azure.addresses.azure,
        service_path(),
        asked.parameter("api-version").unwrap_or_default()
    );
    let headers = [
        (header::LOCATION, location),
        (header::RETRY_AFTER, "0".to_owned()),
    ];
    (StatusCode::ACCEPTED, headers).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenBody {
    key_type: KeyType,
    expiry: DateTime<Utc>,
}

/// Both keys of a real service sign; the sandbox has one for both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyType {
    Primary,
    Secondary,
}

async fn token(State(azure): State<Azure>, Path(id): Path<String>, body: Bytes) -> Answer {
    let TokenBody { key_type, expiry } = properties(&body)?;
    let user = azure.user(&id).ok_or_else(missing)?;
    let now = azure.clock.now();
    if expiry <= now || expiry > now + LONGEST_TOKEN {
        let message = "The expiry must be in the future and within 30 days.";
        return Err(ArmError::field("expiry", message));
    }
    match key_type {
        KeyType::Primary | KeyType::Secondary => {
            let token = azure.mint_sso_token(&user.id, expiry);
            Ok(Json(json!({ "value": token })).into_response())
        }
    }
}

/// Answers, as Azure does, with the host of the legacy portal.
async fn sso_url(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    let user = azure.user(&id).ok_or_else(missing)?;
    let token = azure.mint_sso_token(&user.id, azure.clock.now() + SSO_URL_TOKEN);
    let token = utf8_percent_encode(&token, NON_ALPHANUMERIC);
    let url = format!("https://{SERVICE_NAME}.portal.azure-api.net/signin-sso?token={token}");
    Ok(Json(json!({ "value": url })).into_response())
}

async fn groups(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let user = azure.user(&id).ok_or_else(missing)?;
    let rows: Vec<_> = GROUPS
        .iter()
        .filter(|group| is_member(&user, group.id))
        .map(super::service::show_group)
        .collect();
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

async fn identities(
    State(azure): State<Azure>,
    Path(id): Path<String>,
    Extension(asked): Extension<Asked>,
) -> Answer {
    let user = azure.user(&id).ok_or_else(missing)?;
    let rows = [identity(&user)];
    page(&azure, &asked, rows.len(), &rows, LastLink::Absent)
}

/// The mail goes nowhere.
async fn send_mail(State(azure): State<Azure>, Path(id): Path<String>) -> Answer {
    azure.user(&id).ok_or_else(missing)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn missing() -> ArmError {
    ArmError::not_found("User")
}

fn field(user: &User, name: &str) -> Option<Literal> {
    let text = match name {
        "name" => user.id.clone(),
        "firstName" => user.first_name.clone(),
        "lastName" => user.last_name.clone(),
        "email" => user.email.clone(),
        "note" => user.note.clone().unwrap_or_default(),
        "state" => json!(user.state).as_str().unwrap_or_default().to_owned(),
        "registrationDate" => return Some(Literal::Moment(user.registered_at)),
        _ => return None,
    };
    Some(Literal::Text(text))
}

fn is_member(user: &User, group: &str) -> bool {
    group == "developers" || (group == "administrators" && user.id == ADMINISTRATOR_ID)
}

fn identity(user: &User) -> Value {
    let provider = if user.id == ADMINISTRATOR_ID {
        "Azure"
    } else {
        "Basic"
    };
    json!({ "provider": provider, "id": user.email })
}

fn show(user: &User, with_groups: bool) -> Value {
    let mut properties = json!({
        "firstName": user.first_name,
        "lastName": user.last_name,
        "email": user.email,
        "state": user.state,
        "registrationDate": time(user.registered_at),
        "note": user.note,
        "identities": [identity(user)],
    });
    if with_groups {
        let groups = GROUPS.iter().filter(|group| is_member(user, group.id));
        properties["groups"] = groups
            .map(|group| {
                json!({
                    "id": format!("{}/groups/{}", service_path(), group.id),
                    "name": group.display_name,
                    "description": group.description,
                    "builtIn": true,
                    "type": "system",
                    "externalId": null,
                })
            })
            .collect();
    }
    resource(&format!("users/{}", user.id), &properties)
}
