//! Closes accounts, step by step:
//!
//! ```text
//! purchases (nobody can pay any more) ──► subscriptions (each ended, its last invoice final)
//!     ──► user (APIM is asked to delete it) ──► deleting (until it is gone) ──► done (our row goes)
//! ```
//!
//! The APIM user stays until the last invoices are final: with it go its subscriptions, and calls
//! that Azure reports late are read by subscription. Its keys stop working long before.

use chrono::{DateTime, TimeDelta, Utc};

use super::{BATCH, Users, UsersError, again};
use crate::apim::Deletion;
use crate::lifecycle::{Access, Status};
use crate::store::accounts::{self, Keeper};
use crate::store::cancellations::{self, Wish};
use crate::store::checkouts::Checkout;
use crate::store::closings::{self, Closing, Step};
use crate::store::subscriptions::Subscription;
use crate::store::{StoreError, checkouts, invoices, subscriptions};
use crate::stripe::CheckoutStatus;

/// How long others are given before they are looked at again.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// What becomes of a step.
#[derive(Clone)]
enum Next {
    Step(Step),
    /// APIM is deleting the user; this address tells how far it is.
    Deleting(String),
    /// The same step again at this moment.
    At(DateTime<Utc>),
    /// APIM is asked once more to delete the user, at this moment.
    DeleteAgain(DateTime<Utc>),
}

impl Users {
    /// Moves every account that closes on as far as `now` allows. One that fails does not stop the
    /// others.
    pub(super) fn close_accounts(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let due = self.store.read(|db| closings::due(db, now, BATCH))?;
        let mut moved = 0;
        for closing in due {
            match self.close(closing, now) {
                Ok(()) => moved += 1,
                Err(UsersError::Store(error)) => return Err(error),
                Err(UsersError::Call(_)) => {}
            }
        }
        Ok(moved)
    }

    /// Takes step after step until it has to wait, or is done.
    fn close(&self, mut closing: Closing, now: DateTime<Utc>) -> Result<(), UsersError> {
        while closing.step != Step::Done {
            let next = match self.step(&closing, now) {
                Err(UsersError::Call(error)) => {
                    let (attempts, problem) = (closing.attempts + 1, error.to_string());
                    tracing::warn!(user = %closing.user_id, %problem, "an account could not be closed yet");
                    let due_at = again(&error, attempts, now).unwrap_or(now + TimeDelta::hours(1));
                    let put_back = Closing {
                        due_at: Some(due_at),
                        attempts,
                        problem: Some(problem),
                        ..closing
                    };
                    self.keep(put_back)?;
                    return Err(error.into());
                }
                other => other?,
            };
            let (step, location, due_at) = match &next {
                Next::Step(Step::Done) => (Step::Done, None, None),
                Next::Step(step) => (*step, None, Some(now)),
                Next::Deleting(location) => (Step::Deleting, Some(location.clone()), Some(now)),
                Next::At(later) => (closing.step, closing.location.clone(), Some(*later)),
                Next::DeleteAgain(later) => (Step::User, None, Some(*later)),
            };
            closing = Closing {
                step,
                location,
                due_at,
                attempts: 0,
                problem: None,
                ..closing
            };
            self.keep(closing.clone())?;
            if matches!(next, Next::At(_) | Next::DeleteAgain(_)) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn step(&self, closing: &Closing, now: DateTime<Utc>) -> Result<Next, UsersError> {
        match closing.step {
            Step::Purchases => self.call_off_purchases(closing, now),
            Step::Subscriptions => self.end_subscriptions(closing, now),
            Step::User => self.delete(closing, now),
            Step::Deleting => self.await_deletion(closing, now),
            Step::Done => Ok(Next::Step(Step::Done)),
        }
    }

    /// Expires every Checkout session that could still be paid. One that was paid in the meantime
    /// is waited for: it becomes a subscription, and that is ended like the others.
    fn call_off_purchases(
        &self,
        closing: &Closing,
        now: DateTime<Utc>,
    ) -> Result<Next, UsersError> {
        let open = self
            .store
            .read(|db| checkouts::unsettled(db, &closing.user_id))?;
        let mut paid = false;
        for checkout in open {
            paid |= !self.call_off(&checkout, closing.attempts)?;
        }
        Ok(if paid {
            Next::At(now + PAUSE)
        } else {
            Next::Step(Step::Subscriptions)
        })
    }

    /// Whether the purchase cannot become a subscription any more.
    fn call_off(&self, checkout: &Checkout, attempts: u32) -> Result<bool, UsersError> {
        // Without a session of ours nobody has seen a payment page.
        if let Some(session) = &checkout.session {
            let key = format!("expire-{}-{attempts}", checkout.id);
            match self.stripe.expire_checkout_session(&session.id, &key) {
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_final() => {
                    let seen = self.stripe.get_checkout_session(&session.id)?;
                    if seen.status != Some(CheckoutStatus::Expired) {
                        return Ok(false);
                    }
                }
                other => drop(other?),
            }
        }
        let id = checkout.id.clone();
        self.store
            .write(move |db| checkouts::call_off(db, &id))
            .wait()?;
        Ok(true)
    }

    /// Has every subscription ended, and waits until that is so and billed.
    fn end_subscriptions(&self, closing: &Closing, now: DateTime<Utc>) -> Result<Next, UsersError> {
        let user_id = closing.user_id.clone();
        let change = self.store.write(move |db| {
            let held = subscriptions::of_user(db, &user_id)?;
            for held in held.iter().filter(|held| !has_ended(held)) {
                if held.stripe_status.is_some() {
                    cancellations::ask(db, &held.id, Wish::Now, now)?;
                } else {
                    subscriptions::end_free(db, held, now)?;
                }
            }
            let open = invoices::unfinished(db)?;
            let is_billed = |id: &str| open.iter().all(|invoice| invoice.subscription_id != id);
            Ok(held
                .iter()
                .all(|held| has_ended(held) && is_taken(held) && is_billed(&held.id)))
        });
        Ok(if change.wait()? {
            Next::Step(Step::User)
        } else {
            Next::At(now + PAUSE)
        })
    }

    /// Has APIM delete the user, unless the developer portal keeps it: that one was gone when the
    /// closing began, and whoever has made it anew meanwhile wants it.
    fn delete(&self, closing: &Closing, now: DateTime<Utc>) -> Result<Next, UsersError> {
        let account = self.store.read(|db| accounts::get(db, &closing.user_id))?;
        if account.is_some_and(|account| account.kept_by == Keeper::DeveloperPortal) {
            return Ok(Next::Step(Step::Done));
        }
        match self.apim.delete_user(&closing.user_id)? {
            Deletion::UnderWay(location) => Ok(Next::Deleting(location)),
            // A 200 of whoever stands in between would say so too: the user itself tells.
            Deletion::Done => Ok(match self.apim.get_user(&closing.user_id)? {
                None => Next::Step(Step::Done),
                Some(_) => Next::At(now + PAUSE),
            }),
        }
    }

    fn await_deletion(&self, closing: &Closing, now: DateTime<Utc>) -> Result<Next, UsersError> {
        let location = closing.location.as_deref().unwrap_or_default();
        match self.apim.deletion_is_over(location) {
            Ok(false) => Ok(Next::At(now + PAUSE)),
            // Azure forgets its operations after a while: the user itself tells.
            Ok(true) => self.after_deletion(closing, now),
            Err(error) if error.is_final() => self.after_deletion(closing, now),
            Err(error) => Err(error.into()),
        }
    }

    /// Done once the user is gone, whatever was said of its deletion.
    fn after_deletion(&self, closing: &Closing, now: DateTime<Utc>) -> Result<Next, UsersError> {
        let gone = self.apim.get_user(&closing.user_id)?.is_none();
        Ok(if gone {
            Next::Step(Step::Done)
        } else {
            Next::DeleteAgain(now + PAUSE)
        })
    }

    /// Keeps how far a closing has come; with the last step the account goes.
    fn keep(&self, closing: Closing) -> Result<(), StoreError> {
        let change = self.store.write(move |db| {
            if closing.step == Step::Done {
                closings::forget_person(db, &closing.user_id)?;
            }
            closings::save(db, &closing)
        });
        change.wait()
    }
}

/// Whether nothing more can be charged for it than what is drafted.
fn has_ended(held: &Subscription) -> bool {
    match &held.stripe_status {
        Some(status) => !Status::parse(status).is_live(),
        None => held.wanted == Access::Cancelled,
    }
}

/// Whether APIM lets no call through any more.
fn is_taken(held: &Subscription) -> bool {
    held.applied == Some(held.wanted) && held.wanted != Access::Active
}
