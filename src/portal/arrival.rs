//! `GET /delegation`: where the developer portal sends browsers.
//!
//! A signed request is exchanged at once for a record of ours and a cookie, and the browser goes
//! on to a clean address: the signature, which never expires, stays out of histories, forms and
//! other people's logs.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};

use super::Portal;
use super::delegation::{self, Delegation, Refused};
use super::developer_portal::ReturnPath;
use super::next::Next;
use super::session::{DELEGATION_LENGTH, SignedIn, Visitor};
use crate::ids::{SubscriptionId, UserId};
use crate::store::{delegations, looks};
use crate::web::cookies::Cookie;
use crate::web::token::{Token, sha256};
use crate::web::{Failure, Now};

/// By when the developer portal has done what it does besides sending the browser here.
const PORTAL_IS_DONE_AFTER: TimeDelta = TimeDelta::seconds(15);

/// Verifies the request, uses up its salt, and sends the browser on.
pub(super) async fn arrive(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    Visitor(signed_in): Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let verified = delegation::verify(&query, &portal.keys, &portal.home).map_err(refused)?;
    if portal.signs_in_elsewhere() && is_about_accounts(&verified.delegation) {
        return Err(portal.kept_elsewhere());
    }
    if let Delegation::Subscribe { product, .. } = &verified.delegation {
        portal.offered(product)?;
    }
    let wanted = account_of(&verified.delegation);
    if let (Some(user), Some(signed_in)) = (wanted, &signed_in)
        && *user != signed_in.account.user_id
    {
        return Err(other_account(&signed_in.account.email));
    }
    let (address, record) = way_on(&verified.delegation, &portal, signed_in.is_some());
    let record = match record {
        None if portal.signs_in_elsewhere() => holder_of(&verified.delegation, &portal)?,
        record => record,
    };
    if let (Delegation::Subscribe { user, .. }, true) =
        (&verified.delegation, portal.signs_in_elsewhere())
    {
        // A request that is replayed costs Azure nothing. The salt itself is used up only when Azure has
        // answered: its silence costs nobody the request.
        portal.check_unused(&verified.salt)?;
        portal.buyer(user, now).await?;
    }
    let response = exchange(&portal, &verified.salt, record, &address, now).await?;
    if let Delegation::Unsubscribe { subscription } = &verified.delegation {
        look_again(&portal, subscription, now).await?;
    }
    if let Delegation::SignOut { user } = verified.delegation {
        let own = signed_in.filter(|signed_in| signed_in.account.user_id == user);
        return sign_out(&portal, own, response).await;
    }
    Ok(response)
}

impl Portal {
    fn check_unused(&self, salt: &str) -> Result<(), Failure> {
        let salt_hash = sha256(salt.as_bytes());
        let is_used = self.store.read(|db| delegations::is_used(db, &salt_hash));
        if is_used.map_err(Failure::internal)? {
            return Err(used());
        }
        Ok(())
    }
}

/// Uses up the salt, keeps what is to be done, and answers with the way on.
async fn exchange(
    portal: &Portal,
    salt: &str,
    record: Option<delegations::Delegation>,
    address: &str,
    now: DateTime<Utc>,
) -> Result<Response, Failure> {
    let token = Token::random();
    let (digest, salt_hash) = (token.digest(), sha256(salt.as_bytes()));
    let kept = record.clone();
    let change = portal.store.write(move |db| {
        let fresh = delegations::use_salt(db, &salt_hash, now)?;
        if let (true, Some(record)) = (fresh, &kept) {
            delegations::keep(db, &digest, record, now, now + DELEGATION_LENGTH)?;
        }
        Ok(fresh)
    });
    if !change.await.map_err(Failure::internal)? {
        return Err(used());
    }
    let mut response = Redirect::to(address).into_response();
    if record.is_some() {
        let seconds = DELEGATION_LENGTH.num_seconds().unsigned_abs();
        let cookie = portal
            .cookies
            .set(Cookie::Delegation, &token, Some(seconds));
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The clean address for a request, and what has to be remembered on the way.
fn way_on(
    delegation: &Delegation,
    portal: &Portal,
    signed_in: bool,
) -> (String, Option<delegations::Delegation>) {
    let sign_in = |return_path: &ReturnPath| delegations::Delegation::SignIn {
        return_path: return_path.as_str().to_owned(),
    };
    match delegation {
        Delegation::SignIn { return_path } => {
            let address = if signed_in { "/to-portal" } else { "/sign-in" };
            (address.to_owned(), Some(sign_in(return_path)))
        }
        Delegation::SignUp { return_path } => ("/register".to_owned(), Some(sign_in(return_path))),
        Delegation::SignOut { .. } => (portal.home.address(), None),
        Delegation::Subscribe { user, product } => {
            let record = delegations::Delegation::Subscribe {
                user: user.clone(),
                product: product.clone(),
            };
            (format!("/subscribe/{product}"), Some(record))
        }
        Delegation::ChangePassword { .. } => (Next::Password.path(), None),
        Delegation::ChangeProfile { .. } => (Next::Profile.path(), None),
        Delegation::CloseAccount { .. } => (Next::Close.path(), None),
        Delegation::Unsubscribe { subscription } => {
            (Next::Cancel(subscription.clone()).path(), None)
        }
        Delegation::Renew { subscription } => (Next::Renew(subscription.clone()).path(), None),
    }
}

/// Whether a request is about what a developer portal that keeps its own sign-in does itself. It
/// signs nobody out here either, but that does no harm.
fn is_about_accounts(delegation: &Delegation) -> bool {
    match delegation {
        Delegation::SignIn { .. }
        | Delegation::SignUp { .. }
        | Delegation::ChangePassword { .. }
        | Delegation::ChangeProfile { .. }
        | Delegation::CloseAccount { .. } => true,
        Delegation::SignOut { .. }
        | Delegation::Subscribe { .. }
        | Delegation::Unsubscribe { .. }
        | Delegation::Renew { .. } => false,
    }
}

/// Whom a request about a subscription concerns, who may have no password to sign in with.
fn holder_of(
    delegation: &Delegation,
    portal: &Portal,
) -> Result<Option<delegations::Delegation>, Failure> {
    let (Delegation::Unsubscribe { subscription } | Delegation::Renew { subscription }) =
        delegation
    else {
        return Ok(None);
    };
    let user = portal.holder(subscription)?;
    Ok(Some(delegations::Delegation::Manage { user }))
}

/// Has the worker look at a subscription shortly: the portal's older widgets cancel it in APIM by
/// themselves while they send the browser here, and nobody has confirmed that yet.
async fn look_again(
    portal: &Portal,
    subscription: &SubscriptionId,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let id = subscription.clone();
    let change = portal
        .store
        .write(move |db| looks::ask(db, id.as_str(), now + PORTAL_IS_DONE_AFTER));
    change.await.map_err(Failure::internal)
}

/// Ends the session of the user who signed out of the portal. The one change that follows from a
/// signed request alone: the portal waits for no answer, and the session is this browser's own.
async fn sign_out(
    portal: &Portal,
    own: Option<SignedIn>,
    mut response: Response,
) -> Result<Response, Failure> {
    if let Some(signed_in) = own {
        signed_in.end(portal).await?;
        let cookie = portal.cookies.clear(Cookie::Session);
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The user of the developer portal whom a request about an account is for.
fn account_of(delegation: &Delegation) -> Option<&UserId> {
    match delegation {
        Delegation::ChangePassword { user }
        | Delegation::ChangeProfile { user }
        | Delegation::CloseAccount { user } => Some(user),
        Delegation::SignIn { .. }
        | Delegation::SignUp { .. }
        | Delegation::SignOut { .. }
        | Delegation::Subscribe { .. }
        | Delegation::Unsubscribe { .. }
        | Delegation::Renew { .. } => None,
    }
}

fn other_account(email: &str) -> Failure {
    let status = StatusCode::CONFLICT;
    Failure::new(status, "other_account", "Two accounts")
        .happened(format!(
            "You are signed in here as {email}, and in the developer portal with another account. \
             Nothing was changed."
        ))
        .advice("Sign out here, then try again from the developer portal.")
        .link("/account", "Go to my account")
}

fn refused(refused: Refused) -> Failure {
    let forged = matches!(refused, Refused::WrongSignature);
    let status = if forged {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::BAD_REQUEST
    };
    Failure::new(status, "delegation_refused", "This link cannot be followed")
        .happened(format!(
            "It should come from the developer portal, but {refused}. Nothing was changed."
        ))
        .advice(
            "Go back to the developer portal and try from there. If it stays, tell the operator: \
             the delegation key here and in Azure may differ.",
        )
        .cause(refused)
}

fn used() -> Failure {
    Failure::new(
        StatusCode::GONE,
        "delegation_used",
        "This link was used already",
    )
    .happened("Links from the developer portal work once. Nothing was changed this time.")
    .advice("If you were on your way, go on; otherwise start again in the developer portal.")
    .link("/sign-in", "Go on")
}
