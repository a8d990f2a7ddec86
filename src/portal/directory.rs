//! The users of a developer portal that keeps its own sign-in (`portal.sign_in =
//! "developer-portal"`): looked up in API Management when they come, and remembered as accounts
//! without a password.
//!
//! # What a browser may do there
//!
//! A signature says that the portal sent the browser, not who sits at it, and whoever gets the
//! portal to sign an odd value may have a request for a stranger. So what it opens alone must do no
//! harm in anybody's hands:
//!
//! | a browser with | may |
//! |---|---|
//! | nothing | read the plans, and have a link sent to an address that has an account |
//! | a fresh signed *Subscribe* for X | order that plan for X and pay for it; see how that purchase stands; have a link sent to X |
//! | a fresh signed *Unsubscribe* or *Renew* | have a link sent to the subscription's holder |
//! | the link that was sent to X | see and change what X has |
//!
//! Fresh means: its salt was never used, and two hours have not passed. Paying for somebody else
//! harms nobody, but the payment page must not show what X has: a purchase by a signature alone gets
//! a Stripe customer of its own, which holds no card, name or address ([`super::purchase`]). It shows
//! no key either, and does not say whether X has the free plan already. X is told by mail.
//!
//! # Whose address counts
//!
//! The one that API Management has for the user at that moment: it is asked before a link is sent,
//! and again before the link signs anybody in. Somebody whose user is gone from there gets in by the
//! address that it had last, until another user has that address or has been gone for days: then what
//! they had ends by itself ([`crate::users`]). Users are never changed or deleted from here.

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};

use super::Portal;
use super::credentials::Email;
use super::developer_portal::ReturnPath;
use super::session::account_closes;
use super::trouble::apim_failed;
use crate::apim::{self, UserState};
use crate::config::SignIn;
use crate::ids::{SubscriptionId, UserId};
use crate::store::accounts::{self, Account, Followed, Keeper};
use crate::store::mails::Message;
use crate::store::profiles::Profile;
use crate::store::{closings, subscriptions};
use crate::web::Failure;

const NOT_READ: &str = "So we could not look you up. Nothing was ordered, sent or changed.";

/// A user of API Management, and the account that follows it.
struct Found {
    account: Account,
    state: UserState,
}

impl Portal {
    /// Whether people sign in to the developer portal, and not here.
    pub(super) fn signs_in_elsewhere(&self) -> bool {
        self.sign_in == SignIn::DeveloperPortal
    }

    /// Refuses what an account needs to be kept here for: a password, another name or address, its
    /// end.
    pub(super) fn kept_here(&self, account: &Account) -> Result<(), Failure> {
        match (self.sign_in, account.kept_by) {
            (SignIn::DeveloperPortal, _) => Err(self.kept_elsewhere()),
            (SignIn::Here, Keeper::DeveloperPortal) => Err(without_password()),
            (SignIn::Here, Keeper::Us) => Ok(()),
        }
    }

    /// The answer to whoever looks here for what the developer portal does.
    pub(super) fn kept_elsewhere(&self) -> Failure {
        let status = StatusCode::NOT_FOUND;
        Failure::new(
            status,
            "kept_elsewhere",
            "Accounts are kept in the developer portal",
        )
        .happened("Names, addresses and passwords are kept there, not here. Nothing was changed.")
        .advice("Do it there. What you subscribed to, you find here.")
        .link(
            self.home.page(&ReturnPath::profile()),
            "Go to the developer portal",
        )
    }

    /// The account of a user for whom something may be ordered now.
    pub(super) async fn buyer(
        self: &Arc<Self>,
        id: &UserId,
        now: DateTime<Utc>,
    ) -> Result<Account, Failure> {
        let found = self.look_up(id, now).await?.ok_or_else(unknown_user)?;
        if found.state != UserState::Active {
            return Err(not_active(found.state));
        }
        let closing = self.store.read(|db| closings::is_closing(db, id));
        if closing.map_err(Failure::internal)? {
            return Err(account_closes());
        }
        Ok(found.account)
    }

    /// The holder of a subscription that was bought here.
    pub(super) fn holder(&self, subscription: &SubscriptionId) -> Result<UserId, Failure> {
        let found = self
            .store
            .read(|db| subscriptions::get(db, subscription.as_str()));
        let found = found.map_err(Failure::internal)?;
        found.map(|found| found.user_id).ok_or_else(not_bought_here)
    }

    /// Sends a user a link that signs in and leads to `next`; gives the address.
    pub(super) async fn send_link(
        self: &Arc<Self>,
        id: &UserId,
        next: String,
        now: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let account = self.reachable(id, now).await?.ok_or_else(unknown_user)?;
        let (outbox, email) = (self.outbox.clone(), account.email.clone());
        let message = Message::SignIn { next };
        let change = self
            .store
            .write(move |db| outbox.put_link(db, &account.user_id, &account.email, &message, now));
        change.await.map_err(Failure::internal)?;
        Ok(email)
    }

    /// The account with the address that counts at this moment; `None` where none does.
    pub(super) async fn reachable(
        self: &Arc<Self>,
        id: &UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, Failure> {
        if let Some(found) = self.look_up(id, now).await? {
            return Ok(Some(found.account));
        }
        let last = self.store.read(|db| accounts::get(db, id));
        let last = last.map_err(Failure::internal)?;
        Ok(last.filter(|account| account.email_confirmed_at.is_some()))
    }

    /// The user as API Management has it now, and the account brought to that; `None` if there is no
    /// such user.
    async fn look_up(
        self: &Arc<Self>,
        id: &UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<Found>, Failure> {
        let (portal, id) = (Arc::clone(self), id.clone());
        let work = move || {
            let user = portal.apim.get_user(&id);
            let Some(user) = user.map_err(|error| apim_failed(error, NOT_READ))? else {
                return Ok(None);
            };
            let account = portal.follow(&id, &user, now)?;
            let state = user.state;
            Ok(Some(Found { account, state }))
        };
        self.blocking.run(work).await?
    }

    /// Brings the account to what its user says. Blocks.
    fn follow(
        &self,
        id: &UserId,
        user: &apim::User,
        now: DateTime<Utc>,
    ) -> Result<Account, Failure> {
        let profile = profile(user).ok_or_else(no_address)?;
        let other = match self.try_to_follow(id, &profile, now)? {
            Followed::Done(account) => return Ok(account),
            Followed::AddressTaken(other) => other,
        };
        let holder = self.apim.get_user(&other);
        let holder = holder.map_err(|error| apim_failed(error, NOT_READ))?;
        let has_it = |holder: &apim::User| holder.email.eq_ignore_ascii_case(&profile.email);
        // Who has confirmed the address has its mailbox, whoever had it before.
        let is_proven = user.state == UserState::Active;
        if holder.as_ref().is_some_and(has_it) || !is_proven {
            tracing::warn!(user = %id, %other, "two users have one e-mail address");
            return Err(address_held());
        }
        self.pass_on(id, &profile, &other, holder.as_ref(), now)
    }

    /// Gives an account the address of another one, whose user is gone or has another by now, maybe
    /// the first one's. Blocks.
    fn pass_on(
        &self,
        id: &UserId,
        profile: &Profile,
        other: &UserId,
        holder: Option<&apim::User>,
        now: DateTime<Utc>,
    ) -> Result<Account, Failure> {
        tracing::warn!(user = %id, %other, gone = holder.is_none(), "an e-mail address is another user's now");
        let holders = holder.and_then(self::profile);
        let (id, profile, other) = (id.clone(), profile.clone(), other.clone());
        let change = self.store.write(move |db| {
            accounts::release_address(db, &other, now)?;
            let followed = accounts::follow(db, &id, &profile, now)?;
            if let Some(holders) = holders {
                accounts::follow(db, &other, &holders, now)?;
            }
            Ok(followed)
        });
        match change.wait().map_err(Failure::internal)? {
            Followed::Done(account) => Ok(account),
            // Somebody else was faster.
            Followed::AddressTaken(_) => Err(address_held()),
        }
    }

    fn try_to_follow(
        &self,
        id: &UserId,
        profile: &Profile,
        now: DateTime<Utc>,
    ) -> Result<Followed, Failure> {
        let (id, profile) = (id.clone(), profile.clone());
        let change = self
            .store
            .write(move |db| accounts::follow(db, &id, &profile, now));
        change.wait().map_err(Failure::internal)
    }
}

/// What an account keeps of a user; `None` without an address that mail can go to.
fn profile(user: &apim::User) -> Option<Profile> {
    let email = Email::parse(&user.email).ok()?;
    Some(Profile {
        email: email.as_str().to_owned(),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
    })
}

/// `a…@example.com`: enough to know one's own mailbox by.
pub(super) fn masked(email: &str) -> String {
    let (local, domain) = email.split_once('@').unwrap_or((email, ""));
    let first: String = local.chars().take(1).collect();
    format!("{first}…@{domain}")
}

fn refused(code: &'static str, title: &'static str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, code, title)
}

fn unknown_user() -> Failure {
    refused("unknown_user", "API Management does not know you")
        .happened("The developer portal named a user that is not there. Nothing was changed.")
        .advice("Sign out of the developer portal and in again. If it stays, ask the operator.")
}

fn not_active(state: UserState) -> Failure {
    let happened = match state {
        UserState::Pending => {
            "You have not confirmed your e-mail address to the developer portal yet. Nothing was \
             ordered."
        }
        UserState::Blocked | UserState::Other | UserState::Active => {
            "Your user is blocked in API Management. Nothing was ordered."
        }
    };
    let advice = match state {
        UserState::Pending => "Open the link in its message, then subscribe again.",
        UserState::Blocked | UserState::Other | UserState::Active => {
            "Ask the operator of this API. What you subscribed to before, you can still see and \
             cancel here."
        }
    };
    refused("user_not_active", "You cannot subscribe")
        .happened(happened)
        .advice(advice)
        .link("/sign-in", "See my subscriptions")
}

fn no_address() -> Failure {
    refused("no_address", "You have no e-mail address")
        .happened(
            "API Management has none for you that messages can go to, and what you subscribe to is \
             shown only by way of it. Nothing was changed.",
        )
        .advice("Enter one in the developer portal, or ask the operator of this API.")
}

fn address_held() -> Failure {
    let status = StatusCode::CONFLICT;
    Failure::new(status, "address_held", "Your e-mail address is in use")
        .happened(
            "Another user of this API has the same one, so we cannot tell you apart. Nothing was \
             changed.",
        )
        .advice("Ask the operator of this API.")
}

fn not_bought_here() -> Failure {
    let status = StatusCode::NOT_FOUND;
    Failure::new(
        status,
        "not_bought_here",
        "This subscription was not made here",
    )
    .happened("So there is nothing to cancel or renew here. Nothing was changed.")
    .advice("Ask the operator of this API.")
}

fn without_password() -> Failure {
    let status = StatusCode::CONFLICT;
    Failure::new(status, "no_password", "Choose a password first")
        .happened("Your account comes from the developer portal and has none here yet. Nothing was changed.")
        .advice("We send you a link with which you choose one; then do it again.")
        .link("/forgotten-password", "Choose a password")
}

#[cfg(test)]
mod tests {
    use super::{UserState, apim, masked, profile};

    fn user(email: &str) -> apim::User {
        apim::User {
            id: "u-1".to_owned(),
            email: email.to_owned(),
            first_name: "Ada".to_owned(),
            last_name: String::new(),
            state: UserState::Active,
            note: None,
        }
    }

    #[test]
    fn an_account_needs_an_address_and_no_names() {
        let found = profile(&user("Ada@Example.com")).unwrap();
        assert_eq!(
            (found.email.as_str(), found.last_name.as_str()),
            ("ada@example.com", "")
        );
        assert!(profile(&user("")).is_none());
        assert!(profile(&user("ada")).is_none());
    }

    #[test]
    fn a_masked_address_shows_one_letter_and_the_domain() {
        assert_eq!(masked("ada@example.com"), "a…@example.com");
        assert_eq!(masked("żaneta@example.com"), "ż…@example.com");
    }
}
