//! Who is looking: the signed-in consumer, the guard of anonymous forms, and what the developer
//! portal asked for when it sent the browser.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};

use super::Portal;
use super::next::Next;
use crate::ids::UserId;
use crate::store::accounts::{self, Account};
use crate::store::closings;
use crate::store::{delegations, sessions};
use crate::web::cookies::Cookie;
use crate::web::token::Token;
use crate::web::{Failure, Now, Viewer};

/// A consumer with a session.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) account: Account,
    token: Token,
}

impl SignedIn {
    pub(super) fn csrf(&self) -> String {
        self.token.csrf()
    }

    pub(super) fn viewer(&self) -> Viewer {
        Viewer::SignedIn {
            email: self.account.email.clone(),
            csrf: self.csrf(),
        }
    }

    /// Refuses a form that did not come from one of our pages in this session.
    pub(super) fn check(&self, csrf: &str) -> Result<(), Failure> {
        let genuine = self.token.csrf_matches(csrf);
        genuine.then_some(()).ok_or_else(foreign_form)
    }

    /// Ends the session.
    pub(super) async fn end(&self, portal: &Portal) -> Result<(), Failure> {
        let digest = self.token.digest();
        let change = portal.store.write(move |db| sessions::end(db, &digest));
        change.await.map_err(Failure::internal)
    }
}

/// Starts a session and puts its cookie on `response`. The token is new each time, so nobody can
/// have planted it before (session fixation).
pub(super) async fn start(
    portal: &Portal,
    account: &Account,
    now: DateTime<Utc>,
    mut response: Response,
) -> Result<Response, Failure> {
    let closing = portal
        .store
        .read(|db| closings::is_closing(db, &account.user_id));
    if closing.map_err(Failure::internal)? {
        return Err(account_closes());
    }
    let token = Token::random();
    let (digest, user_id) = (token.digest(), account.user_id.clone());
    let expires_at = now + portal.session_length;
    let change = portal
        .store
        .write(move |db| sessions::start(db, &digest, &user_id, now, expires_at));
    change.await.map_err(Failure::internal)?;
    let seconds = portal.session_length.num_seconds().unsigned_abs();
    let cookie = portal.cookies.set(Cookie::Session, &token, Some(seconds));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Whoever is looking, signed in or not.
#[derive(Debug, Clone)]
pub(super) struct Visitor(pub Option<SignedIn>);

impl Visitor {
    pub(super) fn viewer(&self) -> Viewer {
        self.0.as_ref().map_or(Viewer::SignedOut, SignedIn::viewer)
    }
}

impl FromRequestParts<Arc<Portal>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, portal: &Arc<Portal>) -> Result<Self, Failure> {
        let Some(token) = portal.cookies.read(&parts.headers, Cookie::Session) else {
            return Ok(Self(None));
        };
        let Now(now) = Now::from_request_parts(parts, portal).await?;
        let digest = token.digest();
        let account = portal
            .store
            .read(|db| accounts::by_session(db, &digest, now))
            .map_err(Failure::internal)?;
        Ok(Self(account.map(|account| SignedIn { account, token })))
    }
}

/// The answer to somebody who has to sign in first.
pub(super) enum SignInFirst {
    /// A page was asked for: sign in and come back to it.
    Then(Option<Next>),
    /// A form was sent: it cannot wait.
    SendAgain,
    Failed(Failure),
}

impl IntoResponse for SignInFirst {
    fn into_response(self) -> Response {
        match self {
            Self::Then(next) => {
                Redirect::to(&Next::after("/sign-in", next.as_ref())).into_response()
            }
            Self::SendAgain => session_over().into_response(),
            Self::Failed(failure) => failure.into_response(),
        }
    }
}

impl FromRequestParts<Arc<Portal>> for SignedIn {
    type Rejection = SignInFirst;

    async fn from_request_parts(
        parts: &mut Parts,
        portal: &Arc<Portal>,
    ) -> Result<Self, SignInFirst> {
        let visitor = Visitor::from_request_parts(parts, portal).await;
        let Visitor(signed_in) = visitor.map_err(SignInFirst::Failed)?;
        signed_in.ok_or_else(|| match parts.method {
            Method::GET => SignInFirst::Then(Next::parse(parts.uri.path())),
            _ => SignInFirst::SendAgain,
        })
    }
}

pub(super) fn account_closes() -> Failure {
    let status = StatusCode::CONFLICT;
    Failure::new(status, "account_closes", "This account is being closed")
        .happened("Nobody can sign in to it any more. Nothing was changed.")
        .advice("When it is closed, at most two days later, the address is free for a new account.")
        .link("/plans", "See the plans")
}

pub(super) fn session_over() -> Failure {
    let status = StatusCode::UNAUTHORIZED;
    Failure::new(status, "not_signed_in", "You are not signed in")
        .happened(
            "Your session has ended, or you signed out in another window. Nothing was changed.",
        )
        .advice("Sign in, then do it again.")
        .link("/sign-in", "Sign in")
}

pub(super) fn foreign_form() -> Failure {
    let status = StatusCode::FORBIDDEN;
    Failure::new(status, "wrong_form_token", "This form is out of date")
        .happened("It was made for another session, so it was not followed. Nothing was changed.")
        .advice("Open the page again and send the form from there.")
        .link("/plans", "Start again")
}

/// Guards forms of people who have no session yet, so that no other site can sign somebody in or
/// up unnoticed.
#[derive(Debug, Clone)]
pub(super) struct FormGuard {
    token: Token,
    fresh: bool,
}

impl FormGuard {
    pub(super) fn csrf(&self) -> String {
        self.token.csrf()
    }

    /// Refuses a form that did not come from one of our pages in this browser.
    pub(super) fn check(&self, csrf: &str) -> Result<(), Failure> {
        let genuine = !self.fresh && self.token.csrf_matches(csrf);
        genuine.then_some(()).ok_or_else(foreign_form)
    }

    /// Gives the browser the cookie that goes with the form, unless it has it.
    pub(super) fn attach(&self, portal: &Portal, mut response: Response) -> Response {
        if self.fresh {
            let cookie = portal.cookies.set(Cookie::Form, &self.token, None);
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

impl FromRequestParts<Arc<Portal>> for FormGuard {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        portal: &Arc<Portal>,
    ) -> Result<Self, Self::Rejection> {
        let held = portal.cookies.read(&parts.headers, Cookie::Form);
        let fresh = held.is_none();
        let token = held.unwrap_or_else(Token::random);
        Ok(Self { token, fresh })
    }
}

/// How long somebody may take between leaving the developer portal and being done with what it
/// asked for.
pub(super) const DELEGATION_LENGTH: TimeDelta = TimeDelta::hours(2);

/// What the developer portal asked for, if it sent this browser and that is not done yet.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) delegation: Option<delegations::Delegation>,
    /// The purchase that has come of it by now.
    pub(super) purchase: Option<String>,
    token: Option<Token>,
}

impl Arrived {
    #[cfg(test)]
    pub(super) fn with(delegation: Option<delegations::Delegation>) -> Self {
        Self {
            delegation,
            purchase: None,
            token: None,
        }
    }

    /// The user of the developer portal whom the request was about. That this browser is theirs,
    /// nobody has shown.
    pub(super) fn user(&self) -> Option<&UserId> {
        match self.delegation.as_ref()? {
            delegations::Delegation::Subscribe { user, .. }
            | delegations::Delegation::Manage { user } => Some(user),
            delegations::Delegation::SignIn { .. } => None,
        }
    }

    /// Notes the purchase that has come of it, so that this browser may see how it stands.
    pub(super) async fn note_purchase(&self, portal: &Portal, id: &str) -> Result<(), Failure> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let (digest, id) = (token.digest(), id.to_owned());
        let change = portal
            .store
            .write(move |db| delegations::note_purchase(db, &digest, &id));
        change.await.map_err(Failure::internal)
    }

    /// Forgets the request: it is done.
    pub(super) async fn finish(
        &self,
        portal: &Portal,
        mut response: Response,
    ) -> Result<Response, Failure> {
        if let Some(token) = &self.token {
            let digest = token.digest();
            let change = portal
                .store
                .write(move |db| delegations::remove(db, &digest));
            change.await.map_err(Failure::internal)?;
            let cookie = portal.cookies.clear(Cookie::Delegation);
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

impl FromRequestParts<Arc<Portal>> for Arrived {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, portal: &Arc<Portal>) -> Result<Self, Failure> {
        let token = portal.cookies.read(&parts.headers, Cookie::Delegation);
        let Some(held) = &token else {
            return Ok(Self {
                delegation: None,
                purchase: None,
                token,
            });
        };
        let Now(now) = Now::from_request_parts(parts, portal).await?;
        let digest = held.digest();
        let kept = portal.store.read(|db| {
            let delegation = delegations::get(db, &digest, now)?;
            Ok((delegation, delegations::purchase(db, &digest, now)?))
        });
        let (delegation, purchase) = kept.map_err(Failure::internal)?;
        Ok(Self {
            delegation,
            purchase,
            token,
        })
    }
}
