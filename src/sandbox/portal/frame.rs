//! What the portal's pages have around them: the bar on top, the foot, and pages of one sentence.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Portal;
use super::session::Viewer;
use crate::sandbox::page::Page;

/// A page of the portal. `at` is the path of the entry of the bar that it belongs under.
pub fn page(viewer: &Viewer, title: &str, at: &str, main: Markup) -> Response {
    Page {
        title: &format!("{title} · Sandbox APIs"),
        header: bar(viewer, at),
        main,
        footer: foot(&viewer.portal),
        script: None,
    }
    .into_response()
}

/// A page that says in one sentence why there is nothing else on it.
pub fn problem(viewer: &Viewer, status: StatusCode, title: &str, sentence: &str) -> Response {
    let main = html! {
        h1 { (title) }
        p { (sentence) }
        p { a href="/" { "To the start page" } }
    };
    (status, page(viewer, title, "", main)).into_response()
}

fn bar(viewer: &Viewer, at: &str) -> Markup {
    html! {
        div {
            a.brand href="/" { "Sandbox APIs" }
            nav aria-label="Main" {
                (entry("/", "Home", at))
                (entry("/apis", "APIs", at))
                (entry("/products", "Products", at))
            }
            nav aria-label="Account" {
                @if let Some(user) = &viewer.user {
                    a #signed-in-as href="/profile" aria-current=[current("/profile", at)] { (user.email) }
                    a #sign-out href="/signout" { "Sign out" }
                } @else {
                    a #sign-in href="/signin" { "Sign in" }
                    a #sign-up.button.main href="/signup" { "Sign up" }
                }
            }
        }
    }
}

fn entry(path: &str, name: &str, at: &str) -> Markup {
    html! { a href=(path) aria-current=[current(path, at)] { (name) } }
}

fn current(path: &str, at: &str) -> Option<&'static str> {
    (path == at).then_some("page")
}

fn foot(portal: &Portal) -> Markup {
    html! {
        p {
            "Stands in for the developer portal of Azure API Management. Everything here is play: see "
            a href=(portal.console_url) { "the sandbox's console" } "."
        }
    }
}
