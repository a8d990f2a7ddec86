//! Showing who one is where the developer portal keeps the sign-in: by a link to the address that
//! API Management knows. [`super::directory`] says what needs it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Portal;
use super::account::{ATTEMPTS_PER_ACCOUNT, ATTEMPTS_PER_ADDRESS};
use super::credentials::Email;
use super::directory::masked;
use super::next::Next;
use super::session::{Arrived, FormGuard};
use super::views::links::MessagePage;
use super::views::portal_user::ProofPage;
use crate::store::accounts;
use crate::store::mails::Message;
use crate::web::extract::Form;
use crate::web::limits::Source;
use crate::web::{ClientAddress, Failure, Now, Viewer, page};

/// Offers a link to the address of the user whom the developer portal has sent.
pub(super) fn show(portal: &Portal, guard: &FormGuard, next: Option<&Next>) -> Response {
    let content = ProofPage {
        next: &next.map(Next::path).unwrap_or_default(),
        other_url: &Next::after("/sign-in/by-mail", next),
        csrf: &guard.csrf(),
    };
    let frame = portal.page("Sign in").narrow().current("/sign-in");
    guard.attach(portal, page::html(content.render(&frame)))
}

#[derive(Deserialize, Default)]
pub(super) struct SendForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in/as-arrived`: sends the user whom the developer portal has sent a link.
pub(super) async fn send(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    ClientAddress(address): ClientAddress,
    guard: FormGuard,
    arrived: Arrived,
    Form(form): Form<SendForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    portal.count_attempt(Source::address(address), ATTEMPTS_PER_ADDRESS, now)?;
    let user = arrived.user().filter(|_| portal.signs_in_elsewhere());
    let user = user.ok_or_else(|| portal.arrival_over())?;
    let next = Next::parse(&form.next).unwrap_or(Next::Account);
    let email = portal.send_link(user, next.path(), now).await?;
    let content = MessagePage {
        title: "Look into your mailbox",
        lead: format!("A message with a link is on its way to {}.", masked(&email)),
        more: Some(
            "Open it in any browser; it goes on there. It can take a few minutes. If it does not \
             come, look among unwanted mail.",
        ),
        link: (&portal.home.address(), "Go to the developer portal"),
    };
    let frame = portal.page("Look into your mailbox").narrow();
    Ok(page::html(content.render(&Viewer::SignedOut, &frame)))
}

impl Portal {
    /// Sends a link to the account of an address, if it has one and the address still counts. It is
    /// not waited for, so that nobody learns from the answer or its time whether there is one.
    pub(super) fn send_link_unseen(
        self: &Arc<Self>,
        email: &Email,
        next: String,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let source = Source::Account(email.as_str().to_owned());
        self.count_attempt(source, ATTEMPTS_PER_ACCOUNT, now)?;
        let known = self.store.read(|db| accounts::by_email(db, email.as_str()));
        let Some(known) = known.map_err(Failure::internal)? else {
            return Ok(());
        };
        let portal = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(failure) = portal.send_if_it_counts(&known, next, now).await {
                tracing::warn!(user = %known.user_id, ?failure, "a link could not be sent");
            }
        });
        Ok(())
    }

    async fn send_if_it_counts(
        self: &Arc<Self>,
        known: &accounts::Account,
        next: String,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let account = self.reachable(&known.user_id, now).await?;
        let Some(account) = account.filter(|account| account.email == known.email) else {
            return Ok(());
        };
        let (outbox, message) = (self.outbox.clone(), Message::SignIn { next });
        let change = self
            .store
            .write(move |db| outbox.put_link(db, &account.user_id, &account.email, &message, now));
        change.await.map_err(Failure::internal)?;
        Ok(())
    }

    /// The answer to somebody whom the developer portal has sent too long ago.
    pub(super) fn arrival_over(&self) -> Failure {
        let status = StatusCode::GONE;
        Failure::new(status, "arrival_over", "You have been away for too long")
            .happened("What the developer portal sent you here for is forgotten after two hours. Nothing was changed.")
            .advice("Start again in the developer portal.")
            .link(self.home.address(), "Go to the developer portal")
    }
}
