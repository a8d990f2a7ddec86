//! Getting in by a message instead of a password: a new password, or a link that signs in.
//!
//! Whether an address has an account shows nowhere: the answer is the same, and it does not wait
//! for the store, so that it takes as long.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Portal;
use super::account::{ATTEMPTS_PER_ADDRESS, next_in};
use super::credentials::{self, Email};
use super::links::{LinkForm, button_page, look, mail_off, spent, token_in};
use super::next::Next;
use super::session::FormGuard;
use super::views::links::{AskPage, ButtonPage, MessagePage, NewPasswordPage};
use crate::secret::Secret;
use crate::store::accounts::{self, Account};
use crate::store::links::{self, Purpose};
use crate::store::mails::Message;
use crate::store::sessions;
use crate::web::extract::{Form, query_value};
use crate::web::limits::Source;
use crate::web::token::Token;
use crate::web::{ClientAddress, Failure, Now, Viewer, page};

/// The form that asks for a message.
#[derive(Deserialize, Default)]
pub(super) struct AskForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    next: String,
}

/// `GET /forgotten-password`
pub(super) async fn show_forgotten(
    State(portal): State<Arc<Portal>>,
    guard: FormGuard,
) -> Result<Response, Failure> {
    portal.has_passwords()?;
    ask_page(&portal, &guard, &AskPage::new_password(), StatusCode::OK)
}

/// `GET /sign-in/by-mail`
pub(super) async fn show_by_mail(
    State(portal): State<Arc<Portal>>,
    guard: FormGuard,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let next = next_in(query.as_deref());
    by_mail_page(&portal, &guard, next.as_ref())
}

pub(super) fn by_mail_page(
    portal: &Portal,
    guard: &FormGuard,
    next: Option<&Next>,
) -> Result<Response, Failure> {
    let ask = portal.ask_to_sign_in(next);
    ask_page(portal, guard, &ask, StatusCode::OK)
}

fn ask_page(
    portal: &Portal,
    guard: &FormGuard,
    ask: &AskPage,
    status: StatusCode,
) -> Result<Response, Failure> {
    if !portal.outbox.is_on() {
        return Err(mail_off());
    }
    let frame = portal.page(ask.title).narrow().current("/sign-in");
    let content = ask.render(&frame, &guard.csrf());
    let response = (status, page::html(content)).into_response();
    Ok(guard.attach(portal, response))
}

/// `POST /forgotten-password`
pub(super) async fn forgotten(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    ClientAddress(address): ClientAddress,
    guard: FormGuard,
    Form(form): Form<AskForm>,
) -> Result<Response, Failure> {
    portal.has_passwords()?;
    let ask = AskPage::new_password();
    ask_for(
        &portal,
        (Source::address(address), now),
        &guard,
        form,
        ask,
        Message::NewPassword,
    )
}

/// `POST /sign-in/by-mail`
pub(super) async fn by_mail(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    ClientAddress(address): ClientAddress,
    guard: FormGuard,
    Form(form): Form<AskForm>,
) -> Result<Response, Failure> {
    let ask = portal.ask_to_sign_in(Next::parse(&form.next).as_ref());
    let next = ask.next.clone();
    let message = Message::SignIn { next };
    ask_for(
        &portal,
        (Source::address(address), now),
        &guard,
        form,
        ask,
        message,
    )
}

/// Sends a message to the account of an address, if there is one; the answer does not tell.
fn ask_for(
    portal: &Arc<Portal>,
    (source, now): (Source, DateTime<Utc>),
    guard: &FormGuard,
    form: AskForm,
    ask: AskPage,
    message: Message,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    portal.count_attempt(source, ATTEMPTS_PER_ADDRESS, now)?;
    let email = match Email::parse(&form.email) {
        Ok(email) => email,
        Err(problem) => {
            let ask = AskPage {
                email: form.email,
                problem: Some(problem.to_string()),
                ..ask
            };
            return ask_page(portal, guard, &ask, StatusCode::UNPROCESSABLE_ENTITY);
        }
    };
    if !portal.outbox.is_on() {
        return Err(mail_off());
    }
    if portal.signs_in_elsewhere() {
        portal.send_link_unseen(&email, ask.next, now)?;
    } else {
        portal.send_unseen(&email, message, now);
    }
    let content = MessagePage {
        title: "Look into your mailbox",
        lead: format!(
            "If {} has an account here, a message with a link is on its way to it.",
            email.as_str()
        ),
        more: Some(
            "It can take a few minutes. If it does not come, look among unwanted mail, or check the address.",
        ),
        link: ("/sign-in", "Back to sign in"),
    };
    let frame = portal.page("Look into your mailbox").narrow();
    Ok(page::html(content.render(&Viewer::SignedOut, &frame)))
}

/// The form with a new password.
#[derive(Deserialize, Default)]
pub(super) struct NewPasswordForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: Secret,
}

/// `GET /new-password?token=…`
pub(super) async fn show_new_password(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    guard: FormGuard,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    portal.has_passwords()?;
    let token = token_in(query.as_deref())?;
    let link = look(&portal, &token, Purpose::NewPassword, now)?;
    let page = new_password_page(&portal, &guard, &token, &link.email, None);
    Ok(page)
}

fn new_password_page(
    portal: &Portal,
    guard: &FormGuard,
    token: &Token,
    email: &str,
    problem: Option<String>,
) -> Response {
    let status = match problem {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let content = NewPasswordPage {
        email,
        csrf: &guard.csrf(),
        token: &token.text(),
        problem,
    };
    let frame = portal.page("Choose a new password").narrow();
    let response = (status, page::html(content.render(&frame))).into_response();
    guard.attach(portal, response)
}

/// `POST /new-password`: sets it, ends every session and link of the account, and signs in.
pub(super) async fn set_new_password(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    ClientAddress(address): ClientAddress,
    guard: FormGuard,
    Form(form): Form<NewPasswordForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    portal.has_passwords()?;
    portal.count_attempt(Source::address(address), ATTEMPTS_PER_ADDRESS, now)?;
    let token = Token::parse(&form.token).ok_or_else(spent)?;
    let link = look(&portal, &token, Purpose::NewPassword, now)?;
    if let Err(problem) = credentials::check_new_password(&form.password, &link.email) {
        let problem = Some(problem.to_string());
        return Ok(new_password_page(
            &portal,
            &guard,
            &token,
            &link.email,
            problem,
        ));
    }
    let password = form.password;
    let hashed = portal.hashing.run(move || credentials::hash(&password));
    let hash = hashed.await?.map_err(Failure::internal)?;
    let digest = token.digest();
    let change = portal.store.write(move |db| {
        let Some(link) = links::use_up(db, &digest, Purpose::NewPassword, now)? else {
            return Ok(None);
        };
        // A message may have been under way to an address that the account has no longer.
        let holder = accounts::get(db, &link.user_id)?;
        if holder.is_none_or(|holder| holder.email != link.email) {
            return Ok(None);
        }
        accounts::set_password(db, &link.user_id, &hash)?;
        accounts::confirm_email(db, &link.user_id, &link.email, now)?;
        sessions::end_all(db, &link.user_id)?;
        links::end_all(db, &link.user_id, now)?;
        accounts::get(db, &link.user_id)
    });
    let account = change.await.map_err(Failure::internal)?.ok_or_else(spent)?;
    // Whoever guessed at the old password must not keep out who has chosen the new one.
    portal
        .attempts
        .forget(&Source::Account(account.email.clone()));
    portal.enter(&account, &Next::Account.path(), now).await
}

/// `GET /sign-in-link?token=…&next=…`
pub(super) async fn show_sign_in_link(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    guard: FormGuard,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let token = token_in(query.as_deref())?;
    let link = look(&portal, &token, Purpose::SignIn, now)?;
    let next = query_value(query.as_deref(), "next").unwrap_or_default();
    let content = ButtonPage {
        title: "Sign in",
        lead: format!("You sign in as {}.", link.email),
        action: "/sign-in-link",
        button: "Sign in",
        csrf: &guard.csrf(),
        token: &token.text(),
        next: &next,
    };
    Ok(button_page(&portal, &Viewer::SignedOut, &guard, &content))
}

/// `POST /sign-in-link`
pub(super) async fn sign_in_by_link(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    guard: FormGuard,
    Form(form): Form<LinkForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    let token = Token::parse(&form.token).ok_or_else(spent)?;
    let account = portal.use_sign_in_link(&token, now).await?;
    let next = Next::parse(&form.next).unwrap_or(Next::Account);
    portal.enter(&account, &next.path(), now).await
}

impl Portal {
    /// Refuses what belongs to accounts that are kept here.
    pub(super) fn has_passwords(&self) -> Result<(), Failure> {
        if self.signs_in_elsewhere() {
            return Err(self.kept_elsewhere());
        }
        Ok(())
    }

    /// The form that asks for a link to sign in and go on to `next`.
    fn ask_to_sign_in(&self, next: Option<&Next>) -> AskPage {
        let next = next.map(Next::path).unwrap_or_default();
        if self.signs_in_elsewhere() {
            return AskPage {
                lead: "For what you subscribed to. We send a link to the address that you have in \
                       the developer portal; it signs you in once.",
                back: (self.home.address(), "Go to the developer portal"),
                next,
                ..AskPage::sign_in()
            };
        }
        AskPage {
            next,
            ..AskPage::sign_in()
        }
    }

    /// Sends a message to the account of an address, if it has one. It is not waited for: it takes
    /// longer where there is an account.
    fn send_unseen(&self, email: &Email, message: Message, now: DateTime<Utc>) {
        let (outbox, wanted) = (self.outbox.clone(), email.clone());
        let change = self.store.write(move |db| {
            let account = accounts::by_email(db, wanted.as_str())?;
            account.map_or(Ok(false), |account| {
                outbox.put_link(db, &account.user_id, &account.email, &message, now)
            })
        });
        drop(change);
    }

    /// The account of a link to sign in. The mailbox that it came from is shown to be theirs.
    async fn use_sign_in_link(
        self: &Arc<Self>,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<Account, Failure> {
        if self.signs_in_elsewhere() {
            // Before it is used up, so that Azure's silence costs nobody the link.
            let link = look(self, token, Purpose::SignIn, now)?;
            let account = self.reachable(&link.user_id, now).await?;
            if account.is_none_or(|account| account.email != link.email) {
                return Err(spent());
            }
        }
        let digest = token.digest();
        let change = self.store.write(move |db| {
            let Some(link) = links::use_up(db, &digest, Purpose::SignIn, now)? else {
                return Ok(None);
            };
            accounts::confirm_email(db, &link.user_id, &link.email, now)?;
            let account = accounts::get(db, &link.user_id)?;
            // The address may have changed since; then the link was for somebody else's mailbox.
            Ok(account.filter(|account| account.email == link.email))
        });
        change.await.map_err(Failure::internal)?.ok_or_else(spent)
    }
}
