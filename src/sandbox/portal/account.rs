//! The portal's own sign-in and account pages, where accounts are not delegated.

use axum::Form;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{page, problem};
use super::redirects::{delegates_accounts, sign_in_first};
use super::session::{Viewer, cookie, landing, signed_out};
use crate::sandbox::apim::accounts::NewAccount;
use crate::sandbox::apim::model::User;
use crate::sandbox::page::see_other;

/// How long the portal's own sign-in lasts.
const SESSION: TimeDelta = TimeDelta::hours(8);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignIn {
    email: String,
    password: String,
    return_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignUp {
    email: String,
    password: String,
    first_name: String,
    last_name: String,
    return_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    first_name: String,
    last_name: String,
    /// Stays as it is where this is empty.
    password: String,
}

/// The form at `/signin`.
pub fn sign_in_page(viewer: &Viewer, return_url: &str) -> Response {
    sign_in_form(viewer, return_url, None)
}

fn sign_in_form(viewer: &Viewer, return_url: &str, complaint: Option<&str>) -> Response {
    let fields = html! {
        (field("email", "E-mail", "email", ""))
        (field("password", "Password", "password", ""))
        input type="hidden" name="returnUrl" value=(return_url);
        button #sign-in-here.main type="submit" { "Sign in" }
    };
    let main = html! {
        h1 { "Sign in" }
        (form("/signin", complaint, &fields))
        p { "No account yet? " a href="/signup" { "Sign up" } }
    };
    answer(viewer, "Sign in", complaint, main)
}

/// The form at `/signup`.
pub fn sign_up_page(viewer: &Viewer, return_url: &str) -> Response {
    let form = SignUp {
        return_url: return_url.to_owned(),
        ..SignUp::default()
    };
    sign_up_form(viewer, &form, None)
}

fn sign_up_form(viewer: &Viewer, typed: &SignUp, complaint: Option<&str>) -> Response {
    let fields = html! {
        (field("firstName", "First name", "text", &typed.first_name))
        (field("lastName", "Last name", "text", &typed.last_name))
        (field("email", "E-mail", "email", &typed.email))
        (field("password", "Password", "password", ""))
        input type="hidden" name="returnUrl" value=(typed.return_url);
        button #sign-up-here.main type="submit" { "Sign up" }
    };
    let main = html! {
        h1 { "Sign up" }
        p.quiet { "The developer portal keeps this account itself." }
        (form("/signup", complaint, &fields))
    };
    answer(viewer, "Sign up", complaint, main)
}

fn answer(viewer: &Viewer, title: &str, complaint: Option<&str>, main: Markup) -> Response {
    let status = match complaint {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    (status, page(viewer, title, "", main)).into_response()
}

fn form(action: &str, complaint: Option<&str>, fields: &Markup) -> Markup {
    html! {
        form.stack method="post" action=(action) {
            @if let Some(complaint) = complaint { p role="alert" { strong { (complaint) } } }
            (fields)
        }
    }
}

fn field(name: &str, label: &str, kind: &str, value: &str) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) type=(kind) value=(value) required;
        }
    }
}

pub async fn sign_in(viewer: Viewer, Form(typed): Form<SignIn>) -> Response {
    if delegates_accounts(&viewer.portal) {
        return kept_elsewhere(&viewer);
    }
    let found = viewer
        .portal
        .azure
        .check_password(typed.email.trim(), &typed.password);
    if let Some(user) = found {
        return enter(&viewer, &user, &typed.return_url);
    }
    let complaint = "E-mail and password do not fit, or the user is blocked.";
    sign_in_form(&viewer, &typed.return_url, Some(complaint))
}

pub async fn sign_up(viewer: Viewer, Form(typed): Form<SignUp>) -> Response {
    if delegates_accounts(&viewer.portal) {
        return kept_elsewhere(&viewer);
    }
    let new = NewAccount {
        email: typed.email.trim().to_owned(),
        first_name: typed.first_name.trim().to_owned(),
        last_name: typed.last_name.trim().to_owned(),
        password: typed.password.clone(),
    };
    match viewer.portal.azure.sign_up(new) {
        Ok(user) => enter(&viewer, &user, &typed.return_url),
        Err(refused) => sign_up_form(&viewer, &typed, Some(&refused.to_string())),
    }
}

fn enter(viewer: &Viewer, user: &User, return_url: &str) -> Response {
    let expiry = viewer.portal.clock.now() + SESSION;
    let token = viewer.portal.azure.mint_sso_token(&user.id, expiry);
    let landing = landing(Some(return_url));
    ([(header::SET_COOKIE, cookie(&token))], see_other(landing)).into_response()
}

/// What the profile has for a user that the portal keeps.
pub fn forms(user: &User) -> Markup {
    html! {
        details {
            summary { "Change name or password" }
            form.stack method="post" action="/profile" {
                (field("firstName", "First name", "text", &user.first_name))
                (field("lastName", "Last name", "text", &user.last_name))
                div {
                    label for="password" { "New password, or none" }
                    input id="password" name="password" type="password";
                }
                button #save-profile type="submit" { "Save" }
            }
        }
        details {
            summary { "Close account" }
            form method="post" action="/profile/close" {
                button #close-account type="submit" { "Close my account" }
            }
        }
    }
}

pub async fn change(viewer: Viewer, Form(typed): Form<Profile>) -> Response {
    let Some(user) = &viewer.user else {
        return sign_in_first("/profile");
    };
    if delegates_accounts(&viewer.portal) {
        return kept_elsewhere(&viewer);
    }
    let azure = &viewer.portal.azure;
    azure.rename_user(&user.id, typed.first_name.trim(), typed.last_name.trim());
    let refused = !typed.password.is_empty() && !azure.change_password(&user.id, &typed.password);
    if refused {
        let sentence = "A password has at least 8 characters. The names were changed.";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return problem(&viewer, status, "Not changed", sentence);
    }
    see_other("/profile")
}

pub async fn close(viewer: Viewer) -> Response {
    let Some(user) = &viewer.user else {
        return sign_in_first("/profile");
    };
    if delegates_accounts(&viewer.portal) {
        return kept_elsewhere(&viewer);
    }
    viewer.portal.azure.close_account(&user.id);
    signed_out(see_other("/"))
}

fn kept_elsewhere(viewer: &Viewer) -> Response {
    let sentence = "Accounts are delegated: the portal does not keep them itself.";
    problem(viewer, StatusCode::CONFLICT, "Not done", sentence)
}
