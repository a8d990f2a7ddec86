//! The profile: the account, its subscriptions and their keys.

use axum::Form;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::account;
use super::frame::{page, problem};
use super::products::address;
use super::redirects::{delegates_accounts, delegates_subscriptions, sign_in_first};
use super::session::Viewer;
use crate::sandbox::apim::model::{Subscription, SubscriptionState, User};
use crate::sandbox::apim::state::KeyKind;
use crate::sandbox::page::see_other;

/// How many characters a subscription's name has at most.
const NAME_MAX: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Shown {
    /// The id of the subscription whose keys are shown.
    keys: Option<String>,
}

pub async fn show(viewer: Viewer, Query(shown): Query<Shown>) -> Response {
    let Some(user) = &viewer.user else {
        return sign_in_first("/profile");
    };
    let subscriptions = viewer.portal.azure.subscriptions_of(&user.id);
    let main = html! {
        h1 { "Profile" }
        (account_of(&viewer, user))
        h2 { "Subscriptions" }
        @if subscriptions.is_empty() {
            p { "You have none yet. " a href="/products" { "Choose a product" } "." }
        }
        div.stack {
            @for subscription in &subscriptions {
                (card(&viewer, subscription, shown.keys.as_deref() == Some(&subscription.id)))
            }
        }
    };
    page(&viewer, "Profile", "/profile", main)
}

fn account_of(viewer: &Viewer, user: &User) -> Markup {
    html! {
        dl.pairs {
            dt { "E-mail" } dd { (user.email) }
            dt { "First name" } dd { (user.first_name) }
            dt { "Last name" } dd { (user.last_name) }
            dt { "Registered" } dd { (user.registered_at.format("%-d %B %Y")) }
        }
        @if delegates_accounts(&viewer.portal) { (delegated_pages()) } @else { (account::forms(user)) }
    }
}

fn delegated_pages() -> Markup {
    html! {
        div.row {
            a #change-profile.button href="/delegation-changeProfile" { "Change name or e-mail" }
            a #change-password.button href="/change-password" { "Change password" }
            a #close-account.button href="/delegation-closeAccount" { "Close account" }
        }
    }
}

fn card(viewer: &Viewer, subscription: &Subscription, keys_are_shown: bool) -> Markup {
    let name = subscription.display_name.as_deref().unwrap_or_default();
    html! {
        section.card.subscription id=(subscription.id) data-id=(subscription.id) {
            div.row {
                h3 { (name) }
                (state(subscription.state))
            }
            p.quiet {
                @if let Some(product) = product(viewer, subscription) { (product) " · " }
                "since " (subscription.created_at.format("%-d %B %Y"))
            }
            (keys(subscription, keys_are_shown))
            (actions(viewer, subscription, name))
        }
    }
}

fn product(viewer: &Viewer, subscription: &Subscription) -> Option<Markup> {
    let id = subscription.product()?;
    let product = viewer.portal.azure.product(id)?;
    Some(html! { a href=(address(id)) { (product.display_name) } })
}

fn state(state: SubscriptionState) -> Markup {
    let (tone, name) = match state {
        SubscriptionState::Active => ("good", "Active"),
        SubscriptionState::Submitted => ("warn", "Submitted"),
        SubscriptionState::Suspended => ("bad", "Suspended"),
        SubscriptionState::Expired => ("bad", "Expired"),
        SubscriptionState::Rejected => ("bad", "Rejected"),
        SubscriptionState::Cancelled => ("", "Cancelled"),
    };
    html! { span class={ "state " (tone) } data-state=(state.as_str()) { (name) } }
}

fn keys(subscription: &Subscription, are_shown: bool) -> Markup {
    let id = &subscription.id;
    let encoded = utf8_percent_encode(id, NON_ALPHANUMERIC);
    html! {
        @if are_shown {
            dl.pairs {
                dt { "Primary key" }
                dd { (key("primary-key", "primary", id, &subscription.primary_key)) }
                dt { "Secondary key" }
                dd { (key("secondary-key", "secondary", id, &subscription.secondary_key)) }
            }
            p { a.hide-keys href={ "/profile#" (id) } { "Hide keys" } }
        } @else {
            p { a.show-keys href={ "/profile?keys=" (encoded) "#" (id) } { "Show keys" } }
        }
    }
}

fn key(class: &str, which: &str, id: &str, value: &str) -> Markup {
    html! {
        div.row {
            code class=(class) { (value) }
            form method="post" action=(action(id, "regenerate")) {
                input type="hidden" name="key" value=(which);
                button.plain type="submit" aria-label={ "Regenerate the " (which) " key" } { "Regenerate" }
            }
        }
    }
}

fn actions(viewer: &Viewer, subscription: &Subscription, name: &str) -> Markup {
    let id = &subscription.id;
    let input_id = format!("name-{id}");
    html! {
        div.row {
            details {
                summary { "Rename" }
                form.row.end method="post" action=(action(id, "rename")) {
                    div {
                        label for=(input_id) { "Name" }
                        input id=(input_id) name="name" value=(name) required maxlength=(NAME_MAX);
                    }
                    button type="submit" { "Save" }
                }
            }
            @if subscription.state.is_live() { (cancellation(viewer, id)) }
            @if delegates_subscriptions(&viewer.portal) {
                form method="get" action="/delegation-renew" {
                    input type="hidden" name="subscriptionId" value=(id);
                    button.renew type="submit" { "Renew" }
                }
            }
        }
    }
}

fn cancellation(viewer: &Viewer, id: &str) -> Markup {
    html! {
        @if delegates_subscriptions(&viewer.portal) {
            form method="get" action="/delegation-unsubscribe" {
                input type="hidden" name="subscriptionId" value=(id);
                button.cancel type="submit" { "Cancel subscription" }
            }
            form method="get" action="/delegation-unsubscribe" {
                input type="hidden" name="subscriptionId" value=(id);
                input type="hidden" name="widget" value="classic";
                button.cancel-classic type="submit" { "Cancel (classic widget)" }
            }
        } @else {
            form method="post" action=(action(id, "cancel")) {
                button.cancel type="submit" { "Cancel subscription" }
            }
        }
    }
}

fn action(id: &str, verb: &str) -> String {
    let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
    format!("/subscriptions/{id}/{verb}")
}

#[derive(Debug, Deserialize)]
pub struct Rename {
    name: String,
}

pub async fn rename(
    viewer: Viewer,
    Path(id): Path<String>,
    Form(Rename { name }): Form<Rename>,
) -> Response {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX {
        let sentence = "A subscription's name has 1 to 100 characters.";
        return problem(&viewer, StatusCode::BAD_REQUEST, "Not renamed", sentence);
    }
    change(&viewer, &id, "", |id| {
        viewer.portal.azure.rename_subscription(id, name)
    })
}

#[derive(Debug, Deserialize)]
pub struct Regenerate {
    key: Which,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    Primary,
    Secondary,
}

pub async fn regenerate(
    viewer: Viewer,
    Path(id): Path<String>,
    Form(Regenerate { key }): Form<Regenerate>,
) -> Response {
    let kind = match key {
        Which::Primary => KeyKind::Primary,
        Which::Secondary => KeyKind::Secondary,
    };
    let query = format!("?keys={}", utf8_percent_encode(&id, NON_ALPHANUMERIC));
    change(&viewer, &id, &query, |id| {
        viewer.portal.azure.regenerate_key(id, kind)
    })
}

/// Only where subscriptions are not delegated; else the endpoint cancels.
pub async fn cancel(viewer: Viewer, Path(id): Path<String>) -> Response {
    if delegates_subscriptions(&viewer.portal) {
        let sentence = "Subscriptions are delegated: the portal does not cancel them itself.";
        return problem(&viewer, StatusCode::CONFLICT, "Not cancelled", sentence);
    }
    change(&viewer, &id, "", |id| {
        viewer.portal.azure.cancel_subscription(id)
    })
}

/// Changes a subscription that the viewer owns, and goes back to it on the profile.
fn change(viewer: &Viewer, id: &str, query: &str, act: impl FnOnce(&str) -> bool) -> Response {
    let Some(user) = &viewer.user else {
        return see_other("/signin?returnUrl=/profile");
    };
    let subscription = viewer.portal.azure.subscription(id);
    let is_own = subscription.is_some_and(|known| known.owner.as_ref() == Some(&user.id));
    if is_own && act(id) {
        return see_other(&format!("/profile{query}#{id}"));
    }
    let sentence = "You have no subscription with this id.";
    problem(viewer, StatusCode::NOT_FOUND, "Not found", sentence)
}
