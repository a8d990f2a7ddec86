//! Confirming the account's e-mail address.
//!
//! Whoever signs up can sign in, subscribe and pay at once. An address that is not confirmed gets
//! no messages about the account, because it may be somebody else's; and whoever can read it can
//! take the account over with a new password, because the address is theirs and not the password.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Deserialize;

use super::Portal;
use super::links::{LinkForm, button_page, look, mail_off, spent, token_in};
use super::session::{FormGuard, SignedIn, Visitor};
use super::views::links::{ButtonPage, MessagePage};
use crate::store::accounts;
use crate::store::links::{self, Purpose};
use crate::store::mails::Message;
use crate::web::extract::Form;
use crate::web::token::Token;
use crate::web::{Failure, Now, page};

/// `GET /confirm-address?token=…`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    Visitor(signed_in): Visitor,
    guard: FormGuard,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let token = token_in(query.as_deref())?;
    let link = look(&portal, &token, Purpose::ConfirmAddress, now)?;
    let content = ButtonPage {
        title: "Confirm your e-mail address",
        lead: format!("From then on we write to {} about the account.", link.email),
        action: "/confirm-address",
        button: "Confirm this address",
        csrf: &guard.csrf(),
        token: &token.text(),
        next: "",
    };
    let viewer = Visitor(signed_in).viewer();
    Ok(button_page(&portal, &viewer, &guard, &content))
}

/// `POST /confirm-address`
pub(super) async fn confirm(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    visitor: Visitor,
    guard: FormGuard,
    Form(form): Form<LinkForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    let token = Token::parse(&form.token).ok_or_else(spent)?;
    let digest = token.digest();
    let change = portal.store.write(move |db| {
        let link = links::use_up(db, &digest, Purpose::ConfirmAddress, now)?;
        if let Some(link) = &link {
            accounts::confirm_email(db, &link.user_id, &link.email, now)?;
        }
        Ok(link)
    });
    let link = change.await.map_err(Failure::internal)?.ok_or_else(spent)?;
    let content = MessagePage {
        title: "Your address is confirmed",
        lead: format!(
            "We write to {} when something happens to your subscriptions.",
            link.email
        ),
        more: None,
        link: ("/account", "Go to my account"),
    };
    let frame = portal.page("Your address is confirmed").narrow();
    Ok(page::html(content.render(&visitor.viewer(), &frame)))
}

#[derive(Deserialize, Default)]
pub(super) struct AskForm {
    #[serde(default)]
    csrf: String,
}

/// `POST /account/confirmation`: sends the link once more.
pub(super) async fn ask_again(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Form(form): Form<AskForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    if !portal.outbox.is_on() {
        return Err(mail_off());
    }
    let (outbox, account) = (portal.outbox.clone(), signed_in.account.clone());
    let change = portal.store.write(move |db| {
        let (user, email) = (&account.user_id, &account.email);
        outbox.put_link(db, user, email, &Message::ConfirmAddress, now)
    });
    change.await.map_err(Failure::internal)?;
    let content = MessagePage {
        title: "Look into your mailbox",
        lead: format!(
            "A message with a link is on its way to {}.",
            signed_in.account.email
        ),
        more: Some("It can take a few minutes. If it does not come, look among unwanted mail."),
        link: ("/account", "Go to my account"),
    };
    let frame = portal.page("Look into your mailbox").narrow();
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}
