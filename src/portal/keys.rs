//! Regenerating a subscription's keys, one at a time, so that the other goes on working.
//!
//! Regenerating is the one effect that cannot be repeated: each time gives another key. So the
//! form carries a fingerprint of the key that it is to replace, and a form that is sent again
//! finds that key gone and does nothing. When Azure's answer is lost, the keys are read again: they
//! tell whether it happened.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Portal;
use super::session::SignedIn;
use super::trouble::apim_failed;
use super::views::keys::RegeneratePage;
use crate::apim::{Apim, KeyKind, Keys};
use crate::ids::SubscriptionId;
use crate::lifecycle::Access;
use crate::secret::Secret;
use crate::store::subscriptions::Subscription;
use crate::web::extract::Form;
use crate::web::{Failure, not_found, page, token};

const UNREAD: &str = "The keys could not be read. They work all the same, and nothing was changed.";
const REFUSED: &str = "The key was not regenerated. Both keys work as before.";
const UNKNOWN: &str = "Azure did not answer, so we do not know whether the key was regenerated. \
    The other key works as before.";

/// Whether a regeneration happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Regenerated {
    /// The key is another one now, through this form or an earlier sending of it.
    Yes,
    /// Azure has not answered, and the key is still the old one.
    NotSoFar,
}

/// `GET /account/subscriptions/{id}/keys/{key}`: asks before a key is regenerated.
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Path((id, key)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (subscription, kind) = portal.own_key(id, &key, &signed_in)?;
    let keys = portal.keys(&subscription).await?.ok_or_else(no_keys)?;
    let content = RegeneratePage {
        subscription_id: &subscription.id,
        name: subscription.name.as_str(),
        kind,
        fingerprint: &fingerprint(keys.of(kind), &signed_in),
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page("Regenerate a key").narrow();
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}

#[derive(Deserialize)]
pub(super) struct RegenerateForm {
    #[serde(default)]
    csrf: String,
    /// Of the key that is to be replaced.
    #[serde(default)]
    fingerprint: String,
}

/// `POST /account/subscriptions/{id}/keys/{key}`: regenerates the key, then shows the keys that
/// are valid.
pub(super) async fn regenerate(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Path((id, key)): Path<(String, String)>,
    Form(form): Form<RegenerateForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    let (subscription, kind) = portal.own_key(id, &key, &signed_in)?;
    if subscription.applied != Some(Access::Active) {
        return Err(no_keys());
    }
    let (apim, id, owner) = (
        portal.apim.clone(),
        subscription.id.clone(),
        signed_in.clone(),
    );
    let is_old = move |key: &Secret| fingerprint(key, &owner) == form.fingerprint;
    let work = move || regenerate_once(&apim, &id, kind, is_old);
    let regenerated = portal.blocking.run(work).await??;
    let outcome = match regenerated {
        Regenerated::Yes => kind.word(),
        Regenerated::NotSoFar => "unknown",
    };
    tracing::info!(subscription = %subscription.id, key = kind.word(), outcome, "a key was to be regenerated");
    let target = format!(
        "/account/subscriptions/{}?regenerated={outcome}",
        subscription.id
    );
    Ok(Redirect::to(&target).into_response())
}

/// Regenerates the key if it still is the old one. Blocks.
fn regenerate_once(
    apim: &Apim,
    id: &str,
    kind: KeyKind,
    is_old: impl Fn(&Secret) -> bool,
) -> Result<Regenerated, Failure> {
    let is_regenerated = || apim.keys(id).map(|keys| !is_old(keys.of(kind)));
    if is_regenerated().map_err(|error| apim_failed(error, UNREAD))? {
        return Ok(Regenerated::Yes);
    }
    let result = apim.regenerate_key(id, kind);
    if let Err(error) = result
        && error.is_final()
    {
        return Err(apim_failed(error, REFUSED));
    }
    match is_regenerated() {
        Ok(true) => Ok(Regenerated::Yes),
        Ok(false) => Ok(Regenerated::NotSoFar),
        Err(error) => {
            let page = format!("/account/subscriptions/{id}");
            Err(apim_failed(error, UNKNOWN).link(page, "See the keys"))
        }
    }
}

/// Names a key without giving it away: a hash with the session's own token in it.
fn fingerprint(key: &Secret, owner: &SignedIn) -> String {
    token::derived_uuid(&["key", &owner.csrf(), key.expose()])
}

impl Portal {
    /// One key of a subscription of this user. Somebody else's is not found.
    fn own_key(
        &self,
        id: String,
        key: &str,
        signed_in: &SignedIn,
    ) -> Result<(Subscription, KeyKind), Failure> {
        let id = SubscriptionId::try_from(id).map_err(|_| not_found())?;
        let kind = KeyKind::parse(key).ok_or_else(not_found)?;
        Ok((self.own_subscription(&id, signed_in)?, kind))
    }

    /// The keys of a subscription; none where they would let no call through.
    pub(super) async fn keys(
        self: &Arc<Self>,
        subscription: &Subscription,
    ) -> Result<Option<Keys>, Failure> {
        if subscription.applied != Some(Access::Active) {
            return Ok(None);
        }
        let (apim, id) = (self.apim.clone(), subscription.id.clone());
        let keys = self.blocking.run(move || apim.keys(&id)).await?;
        keys.map(Some).map_err(|error| apim_failed(error, UNREAD))
    }
}

fn no_keys() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "no_keys",
        "There is no key to regenerate",
    )
    .happened("Only a subscription that is active has keys. Nothing was changed.")
    .advice("Your account says why the subscription is not active.")
    .link("/account", "Go to my account")
}
