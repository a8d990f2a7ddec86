//! What the pages behind links in messages share.
//!
//! Mail scanners open every link that they see, so a GET only shows a page with a button; what the
//! link is good for happens by the POST of that button. The token is in the address once, because
//! a mail can carry it nowhere else; the pages send no referrer and nothing logs addresses.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::apim_user::Ensured;
use super::session::{self, FormGuard};
use super::views::links::ButtonPage;
use super::{Portal, register};
use crate::store::accounts::Account;
use crate::store::links::{self, Link, Purpose};
use crate::web::extract::query_value;
use crate::web::token::Token;
use crate::web::{Failure, Viewer, page};

/// The form behind a link: the button alone.
#[derive(Deserialize, Default)]
pub(super) struct LinkForm {
    #[serde(default)]
    pub(super) csrf: String,
    #[serde(default)]
    pub(super) token: String,
    #[serde(default)]
    pub(super) next: String,
}

/// The token of the query.
pub(super) fn token_in(query: Option<&str>) -> Result<Token, Failure> {
    let text = query_value(query, "token").unwrap_or_default();
    Token::parse(&text).ok_or_else(spent)
}

/// Whom a link is for, without using it up.
pub(super) fn look(
    portal: &Portal,
    token: &Token,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Link, Failure> {
    let digest = token.digest();
    let found = portal
        .store
        .read(|db| links::get(db, &digest, purpose, now))
        .map_err(Failure::internal)?;
    found.ok_or_else(spent)
}

pub(super) fn spent() -> Failure {
    Failure::new(
        StatusCode::GONE,
        "link_spent",
        "This link does not work any more",
    )
    .happened(
        "It has been used, its time is over, or it was not copied whole. Nothing was changed.",
    )
    .advice("Ask for a new one where you asked for this one.")
    .link("/sign-in", "Sign in")
}

/// The page behind a link, which does nothing before its button is pressed.
pub(super) fn button_page(
    portal: &Portal,
    viewer: &Viewer,
    guard: &FormGuard,
    content: &ButtonPage<'_>,
) -> Response {
    let frame = portal.page(content.title).narrow();
    guard.attach(portal, page::html(content.render(viewer, &frame)))
}

/// What somebody reads who asks for a message where none are sent.
pub(super) fn mail_off() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "mail_off",
        "This portal sends no messages",
    )
    .happened("So it cannot send a link to your address. Nothing was changed.")
    .advice("Ask the operator of this API for help with your account.")
    .link("/sign-in", "Sign in")
}

impl Portal {
    /// Signs somebody in who has shown that the account's mailbox is theirs.
    pub(super) async fn enter(
        self: &Arc<Self>,
        account: &Account,
        target: &str,
        now: DateTime<Utc>,
    ) -> Result<Response, Failure> {
        if let Ensured::AddressTaken = self.ensure_user_of(account, now).await? {
            let title = "This address is in use";
            return Err(Failure::new(StatusCode::CONFLICT, "address_taken", title)
                .happened(register::ADDRESS_TAKEN)
                .link("/register", "Create an account"));
        }
        let response = Redirect::to(target).into_response();
        session::start(self, account, now, response).await
    }
}
