//! The APIM user of an account: made after the account, and mended at the next sign-in when
//! something came between the two.

use chrono::{DateTime, TimeDelta, Utc};

use super::Portal;
use super::trouble::apim_failed;
use crate::apim::{self, NewUser};
use crate::outbound::CallError;
use crate::secret::Secret;
use crate::store::accounts::{self, Account, Keeper};
use crate::store::mails::Message;
use crate::web::Failure;

/// How long a token for the developer portal is good. It cannot be taken back, so not long.
const TOKEN_LENGTH: TimeDelta = TimeDelta::hours(1);

/// Where an account stands with APIM.
#[derive(Debug)]
pub(super) enum Ensured {
    /// APIM has the user.
    Ready,
    /// APIM has the address already, with a user that is not ours; the account is taken back.
    /// Whoever owns that user has not proved it to us, so it cannot be adopted.
    AddressTaken,
}

const NOT_YET: &str = "Your account is saved, but the developer portal does not know you yet. That \
    is made up for when you next sign in.";
const NO_TOKEN: &str = "You are signed in here, but we could not sign you in to the developer \
    portal. Nothing was lost.";

impl Portal {
    /// Makes sure that APIM has the account's user. Can be repeated. Blocks.
    ///
    /// # Errors
    /// When APIM does not answer; the account stays and the next sign-in tries again.
    pub(super) fn ensure_user(
        &self,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<Ensured, Failure> {
        if account.apim_created_at.is_some() {
            return Ok(Ensured::Ready);
        }
        let failed = |error| apim_failed(error, NOT_YET);
        if self.address_is_taken(account).map_err(failed)? {
            let user_id = account.user_id.clone();
            let change = self
                .store
                .write(move |db| accounts::remove_unconfirmed(db, &user_id));
            change.wait().map_err(Failure::internal)?;
            return Ok(Ensured::AddressTaken);
        }
        self.apim.put_user(&new_user(account)).map_err(failed)?;
        let (outbox, account) = (self.outbox.clone(), account.clone());
        let change = self.store.write(move |db| {
            accounts::confirm(db, &account.user_id, now)?;
            if account.email_confirmed_at.is_some() {
                return Ok(false);
            }
            let (user, email) = (&account.user_id, &account.email);
            outbox.put_link(db, user, email, &Message::ConfirmAddress, now)
        });
        change.wait().map_err(Failure::internal)?;
        Ok(Ensured::Ready)
    }

    fn address_is_taken(&self, account: &Account) -> Result<bool, CallError> {
        let holder = self.apim.find_user_by_email(&account.email)?;
        Ok(holder.is_some_and(|user| user.id != account.user_id.as_str()))
    }

    /// A token that signs the account in to the developer portal. A user of ours that was deleted in
    /// Azure is made again. Blocks.
    pub(super) fn portal_token(
        &self,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<Secret, Failure> {
        let expiry = now + TOKEN_LENGTH;
        let mint = || self.apim.mint_token(&account.user_id, expiry);
        let minted = match mint() {
            Err(error) if error.is_not_found() && account.kept_by == Keeper::Us => {
                self.apim.put_user(&new_user(account)).and_then(|_| mint())
            }
            minted => minted,
        };
        minted.map_err(|error| apim_failed(error, NO_TOKEN))
    }
}

fn new_user(account: &Account) -> NewUser {
    NewUser {
        id: account.user_id.clone(),
        email: account.email.clone(),
        first_name: account.first_name.clone(),
        last_name: account.last_name.clone(),
        note: apim::OUR_NOTE.to_owned(),
    }
}
