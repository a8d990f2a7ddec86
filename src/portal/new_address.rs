//! Moving an account to another e-mail address, by the link that was sent there.
//!
//! The account changes with the button behind the link and not before, so nobody can move it to an
//! address that is not theirs. The old address hears of it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Portal;
use super::credentials::Email;
use super::links::{LinkForm, button_page, look, spent, token_in};
use super::profile::HAS_ACCOUNT;
use super::register::ADDRESS_TAKEN;
use super::session::{FormGuard, Visitor};
use super::views::links::{ButtonPage, MessagePage};
use crate::store::links::{self, Purpose};
use crate::store::profiles;
use crate::web::extract::Form;
use crate::web::token::Token;
use crate::web::{Failure, Now, page};

/// `GET /confirm-new-address?token=…`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    visitor: Visitor,
    guard: FormGuard,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    portal.has_passwords()?;
    let token = token_in(query.as_deref())?;
    let link = look(&portal, &token, Purpose::ConfirmNewAddress, now)?;
    let content = ButtonPage {
        title: "Confirm your new e-mail address",
        lead: format!(
            "From then on you sign in with {}, here and in the developer portal.",
            link.email
        ),
        action: "/confirm-new-address",
        button: "Use this address",
        csrf: &guard.csrf(),
        token: &token.text(),
        next: "",
    };
    Ok(button_page(&portal, &visitor.viewer(), &guard, &content))
}

/// `POST /confirm-new-address`
pub(super) async fn confirm(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    visitor: Visitor,
    guard: FormGuard,
    Form(form): Form<LinkForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    portal.has_passwords()?;
    let token = Token::parse(&form.token).ok_or_else(spent)?;
    let link = look(&portal, &token, Purpose::ConfirmNewAddress, now)?;
    let email = Email::parse(&link.email).map_err(Failure::internal)?;
    if portal.belongs_to_another(&email, &link.user_id).await? {
        return Err(in_use(ADDRESS_TAKEN));
    }
    let (digest, outbox) = (token.digest(), portal.outbox.clone());
    let change = portal.store.write(move |db| {
        let link = links::use_up(db, &digest, Purpose::ConfirmNewAddress, now)?;
        link.map(|link| profiles::move_to(db, &link, &outbox, now))
            .transpose()
    });
    let moved = change.await.map_err(Failure::internal)?;
    if !moved.ok_or_else(spent)? {
        return Err(in_use(HAS_ACCOUNT));
    }
    portal.workers.endings.notify_one();
    let content = MessagePage {
        title: "Your address was changed",
        lead: format!("Your account belongs to {} now.", email.as_str()),
        more: Some(
            "The developer portal follows within a minute. The address on invoices is changed with the invoices.",
        ),
        link: ("/account", "Go to my account"),
    };
    let frame = portal.page("Your address was changed").narrow();
    Ok(page::html(content.render(&visitor.viewer(), &frame)))
}

fn in_use(why: &str) -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "address_taken",
        "This address is in use",
    )
    .happened(format!("{why} Your e-mail address was not changed."))
    .link("/account", "Go to my account")
}
