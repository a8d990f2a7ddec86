//! The routes that hand the browser to the delegation endpoint.
//!
//! Each is a plain GET, as in Azure's portal: the address is made and the browser goes there.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::delegation::{Operation, signed_url};
use super::frame::problem;
use super::session::{Viewer, signed_out};
use super::{Portal, account};
use crate::sandbox::page::found;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Return {
    #[serde(default = "home")]
    return_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscribe {
    product_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfSubscription {
    subscription_id: String,
    #[serde(default)]
    widget: Widget,
}

/// Which of the portal's two widgets the request comes from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Widget {
    /// The redesigned one: it only sends the browser on.
    #[default]
    React,
    /// The older one: it sends the browser on and cancels the subscription as well.
    Classic,
}

fn home() -> String {
    "/".to_owned()
}

/// Which of the two switches of the delegation settings an operation falls under.
#[derive(Clone, Copy)]
enum Switch {
    Accounts,
    Subscriptions,
}

pub async fn sign_in(viewer: Viewer, Query(Return { return_url }): Query<Return>) -> Response {
    let return_url = &return_url;
    if !delegates_accounts(&viewer.portal) {
        return account::sign_in_page(&viewer, return_url);
    }
    delegated(&viewer, Switch::Accounts, Operation::SignIn { return_url })
}

pub async fn sign_up(viewer: Viewer, Query(Return { return_url }): Query<Return>) -> Response {
    let return_url = &return_url;
    if !delegates_accounts(&viewer.portal) {
        return account::sign_up_page(&viewer, return_url);
    }
    delegated(&viewer, Switch::Accounts, Operation::SignUp { return_url })
}

/// The portal's own session ends in any case.
pub async fn sign_out(viewer: Viewer) -> Response {
    let response = match &viewer.user {
        Some(user) if is_delegated(&viewer.portal, Switch::Accounts) => {
            let operation = Operation::SignOut { user: &user.id };
            delegated(&viewer, Switch::Accounts, operation)
        }
        Some(_) | None => found("/"),
    };
    signed_out(response)
}

pub async fn change_password(viewer: Viewer) -> Response {
    of_account(&viewer, |user| Operation::ChangePassword { user })
}

pub async fn change_profile(viewer: Viewer) -> Response {
    of_account(&viewer, |user| Operation::ChangeProfile { user })
}

pub async fn close_account(viewer: Viewer) -> Response {
    of_account(&viewer, |user| Operation::CloseAccount { user })
}

pub async fn subscribe(viewer: Viewer, Query(request): Query<Subscribe>) -> Response {
    let product = &request.product_id;
    let Some(user) = user_id(&viewer) else {
        return sign_in_first(&format!("/products/{product}"));
    };
    let operation = Operation::Subscribe { product, user };
    delegated(&viewer, Switch::Subscriptions, operation)
}

pub async fn unsubscribe(viewer: Viewer, Query(request): Query<OfSubscription>) -> Response {
    let subscription = &request.subscription_id;
    let Some(user) = user_id(&viewer) else {
        return sign_in_first("/profile");
    };
    let known = viewer.portal.azure.subscription(subscription);
    let is_own = known.is_some_and(|known| known.owner.as_deref() == Some(user));
    if is_own && request.widget == Widget::Classic {
        viewer.portal.azure.cancel_subscription(subscription);
    }
    let operation = Operation::Unsubscribe { subscription, user };
    delegated(&viewer, Switch::Subscriptions, operation)
}

pub async fn renew(viewer: Viewer, Query(request): Query<OfSubscription>) -> Response {
    let subscription = &request.subscription_id;
    let Some(user) = user_id(&viewer) else {
        return sign_in_first("/profile");
    };
    let operation = Operation::Renew { subscription, user };
    delegated(&viewer, Switch::Subscriptions, operation)
}

/// Sends the browser to `/signin`, to come back to `path` afterwards.
pub fn sign_in_first(path: &str) -> Response {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("returnUrl", path)
        .finish();
    found(&format!("/signin?{query}"))
}

/// Whether the portal hands subscribing and cancelling over.
pub fn delegates_subscriptions(portal: &Portal) -> bool {
    is_delegated(portal, Switch::Subscriptions)
}

/// Whether the portal hands sign-in, sign-up and the account's pages over.
pub fn delegates_accounts(portal: &Portal) -> bool {
    is_delegated(portal, Switch::Accounts)
}

fn is_delegated(portal: &Portal, switch: Switch) -> bool {
    endpoint(portal, switch).is_some()
}

fn user_id(viewer: &Viewer) -> Option<&str> {
    viewer.user.as_ref().map(|user| user.id.as_str())
}

fn of_account<'a>(
    viewer: &'a Viewer,
    operation: impl FnOnce(&'a str) -> Operation<'a>,
) -> Response {
    match user_id(viewer) {
        Some(user) => delegated(viewer, Switch::Accounts, operation(user)),
        None => sign_in_first("/profile"),
    }
}

fn delegated(viewer: &Viewer, switch: Switch, operation: Operation<'_>) -> Response {
    let Some((url, key)) = endpoint(&viewer.portal, switch) else {
        return not_delegated(viewer, switch);
    };
    match signed_url(&url, &key, operation) {
        Ok(address) => found(&address),
        Err(error) => problem(
            viewer,
            StatusCode::INTERNAL_SERVER_ERROR,
            "Delegation is set up wrongly",
            &error.to_string(),
        ),
    }
}

/// The delegation URL and the key, when delegation is on for `switch`.
fn endpoint(portal: &Portal, switch: Switch) -> Option<(String, String)> {
    let settings = portal.azure.delegation();
    let is_on = match switch {
        Switch::Accounts => settings.user_registration_enabled,
        Switch::Subscriptions => settings.subscriptions_enabled,
    };
    let url = settings.url.filter(|_| is_on)?;
    Some((url, settings.validation_key))
}

fn not_delegated(viewer: &Viewer, switch: Switch) -> Response {
    let sentence = match switch {
        Switch::Accounts => {
            "Delegation of sign-in and accounts is off: the profile has the portal's own forms."
        }
        Switch::Subscriptions => {
            "Delegation of subscriptions is off, and the sandbox's portal does not take \
             subscriptions itself."
        }
    };
    problem(viewer, StatusCode::OK, "Not delegated", sentence)
}
