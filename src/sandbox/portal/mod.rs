//! The developer portal: products, sign-in state and profile, with signed delegation requests.
//!
//! Each of the routes in [`redirects`] sends the browser to the delegation endpoint and stops there,
//! as Azure's managed portal does, with one exception: its classic widget for subscriptions also
//! cancels by itself. Where accounts are not delegated, the portal has sign-in and account pages of its
//! own ([`account`]); its own subscription form it does not have.

pub mod account;
pub mod apis;
pub mod delegation;
pub mod frame;
pub mod products;
pub mod profile;
pub mod redirects;
pub mod session;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};

use super::apim::Azure;
use super::clock::Clock;
use super::guard::guard;
use super::page::{STYLE_PATH, style};
use frame::problem;
use session::Viewer;

/// What the portal's pages need.
#[derive(Clone)]
pub struct Portal {
    pub azure: Azure,
    pub clock: Clock,
    /// Base URL without a trailing slash, as in [`super::Addresses`].
    pub gateway_url: String,
    /// Of the console, for a link in the footer.
    pub console_url: String,
}

pub fn router(portal: Portal) -> Router {
    Router::new()
        .route("/", get(products::home))
        .route("/products", get(products::list))
        .route("/products/{id}", get(products::show))
        .route("/apis", get(apis::list))
        .route("/apis/{id}", get(apis::show).post(apis::call))
        .route("/profile", get(profile::show).post(account::change))
        .route("/profile/close", post(account::close))
        .route("/subscriptions/{id}/rename", post(profile::rename))
        .route("/subscriptions/{id}/regenerate", post(profile::regenerate))
        .route("/subscriptions/{id}/cancel", post(profile::cancel))
        .route("/signin", get(redirects::sign_in).post(account::sign_in))
        .route("/signup", get(redirects::sign_up).post(account::sign_up))
        .route("/signin-sso", get(session::sign_in))
        .route("/signout", get(redirects::sign_out))
        .route("/change-password", get(redirects::change_password))
        .route("/delegation-changeProfile", get(redirects::change_profile))
        .route("/delegation-closeAccount", get(redirects::close_account))
        .route("/delegation-subscribe", get(redirects::subscribe))
        .route("/delegation-unsubscribe", get(redirects::unsubscribe))
        .route("/delegation-renew", get(redirects::renew))
        .route(STYLE_PATH, get(style))
        .fallback(not_found)
        .with_state(portal)
        .layer(middleware::from_fn(guard))
}

async fn not_found(viewer: Viewer) -> Response {
    problem(
        &viewer,
        StatusCode::NOT_FOUND,
        "Page not found",
        "The developer portal has no page at this address.",
    )
}

#[cfg(test)]
mod tests;
