//! What a store that was lost gets back besides Stripe's subscriptions.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Report;
use super::sides::FREE;
use crate::apim::{self, SubscriptionState, User};
use crate::catalogue::naming;
use crate::ids::{SubscriptionName, UserId};
use crate::lifecycle::Access;
use crate::secret::Secret;
use crate::store::accounts::{self, Account, Followed, Keeper};
use crate::store::checkouts::{self, Checkout, Session, State};
use crate::store::invoices;
use crate::store::profiles::Profile;
use crate::store::subscriptions::{self, Subscription};
use crate::stripe::{CheckoutSession, Customer};
use crate::webhook::draft;
use crate::webhook::observe::Ownership;
use crate::webhook::worker::{WorkError, Worker};

impl Worker {
    /// Accounts of the APIM users that we made, and of those of the developer portal's that have
    /// something here. A password is lost: who owns the e-mail address sets a new one, or signs in by
    /// a link as before. An account that the developer portal keeps follows its user.
    pub(super) fn compare_accounts(
        &self,
        holders: &BTreeSet<UserId>,
        repair: bool,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        for user in self.apim.list_users()? {
            let Some(account) = account_of(&user, holders, now) else {
                continue;
            };
            let id = account.user_id.clone();
            if let Some(known) = self.store.read(|db| accounts::get(db, &id))? {
                self.compare_account(&known, account, repair, report, now)?;
                continue;
            }
            let line = format!("APIM's user {id}: there is no account for it.");
            if !repair {
                report.left.push(line);
                continue;
            }
            let change = self.store.write(move |db| accounts::add(db, &account));
            if change.wait()? {
                report.repaired.push(line);
            } else {
                let taken = "Its e-mail address belongs to another account.";
                report.left.push(format!("{line} {taken}"));
            }
        }
        Ok(())
    }

    /// Whether an account that the developer portal keeps says what its user says.
    fn compare_account(
        &self,
        known: &Account,
        user: Account,
        repair: bool,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let same = (&known.email, &known.first_name, &known.last_name)
            == (&user.email, &user.first_name, &user.last_name);
        if known.kept_by == Keeper::Us || same {
            return Ok(());
        }
        let line = format!(
            "APIM's user {}: its account has another address or name.",
            known.user_id
        );
        if !repair {
            report.left.push(line);
            return Ok(());
        }
        let profile = Profile {
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
        };
        let followed = self
            .store
            .write(move |db| accounts::follow(db, &user.user_id, &profile, now))
            .wait()?;
        match followed {
            Followed::Done(_) => report.repaired.push(line),
            Followed::AddressTaken(other) => {
                let taken = format!("The account of {other} has that address.");
                report.left.push(format!("{line} {taken}"));
            }
        }
        Ok(())
    }

    /// Stripe's customers that we made: an account goes on to use the ones that it has.
    pub(super) fn compare_customers(
        &self,
        customers: Vec<Customer>,
        repair: bool,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        // The oldest first, because that is the order in which they are used.
        for customer in customers.into_iter().rev() {
            let owner = customer.metadata.get(naming::METADATA_USER);
            let is_shared = !customer.metadata.contains_key(naming::METADATA_ORDERED);
            let user = owner.and_then(|owner| UserId::parse(owner).ok());
            let Some(user) = user.filter(|_| is_shared) else {
                continue;
            };
            let id = customer.id;
            if self.store.read(|db| checkouts::is_customer(db, &id))? {
                continue;
            }
            let line = format!("{id}: Stripe has this customer of {user}, the store does not.");
            if !repair {
                report.left.push(line);
                continue;
            }
            let change = self
                .store
                .write(move |db| checkouts::add_customer(db, &id, &user, now));
            change.wait()?;
            report.repaired.push(line);
        }
        Ok(())
    }

    /// Purchases that can still be paid: their customers are taken meanwhile.
    pub(super) fn compare_checkouts(
        &self,
        repair: bool,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        for session in self.stripe.list_open_checkout_sessions()? {
            let Some(checkout) = checkout_of(session, now) else {
                continue;
            };
            let (known, has_account) = self.store.read(|db| {
                let known = checkouts::get(db, &checkout.id)?;
                Ok((known, accounts::get(db, &checkout.user_id)?.is_some()))
            })?;
            if known.is_some() {
                continue;
            }
            let line = format!(
                "{}: Stripe has this purchase of {} that can be paid, the store does not.",
                checkout.id, checkout.user_id
            );
            if !repair || !has_account {
                report.left.push(line);
                continue;
            }
            let change = self.store.write(move |db| checkouts::add(db, &checkout));
            change.wait()?;
            report.repaired.push(line);
        }
        Ok(())
    }

    /// Drafts that nobody closes yet: of metered periods, and of unpaid time that is over.
    pub(super) fn compare_drafts(
        &self,
        repair: bool,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        for invoice in self.stripe.list_draft_invoices()? {
            let Some(subscription_id) = &invoice.subscription else {
                continue;
            };
            let (known, noted) = self.store.read(|db| {
                let known = subscriptions::one(db, subscription_id)?.0.pop();
                Ok((known, invoices::get(db, &invoice.id)?.is_some()))
            })?;
            let Some(known) = known.filter(|_| !noted) else {
                continue;
            };
            let to_close = draft::to_close(&invoice, &known, self.rules.backstop, now);
            if to_close.is_none() && !self.was_left_behind_unseen(&invoice, &known)? {
                continue;
            }
            let line = format!(
                "{}: this draft of {subscription_id} waits at Stripe, and nobody closes it.",
                invoice.id
            );
            if !repair {
                report.left.push(line);
                continue;
            }
            self.invoice(&invoice.id, now)?;
            report.repaired.push(line);
        }
        Ok(())
    }

    /// Writes down a free subscription as APIM has it.
    pub(super) fn take_over(
        &self,
        found: &apim::Subscription,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let Some(record) = free_subscription(found, now) else {
            return Ok(());
        };
        let change = self.store.write(move |db| subscriptions::save(db, &record));
        Ok(change.wait()?)
    }
}

/// Who has something here: as Stripe's customers and APIM's subscriptions without a part at Stripe
/// name them.
pub(super) fn holders(
    customers: &[Customer],
    subscriptions: &[apim::Subscription],
) -> BTreeSet<UserId> {
    let of_customers = customers.iter().filter_map(|customer| {
        let owner = customer.metadata.get(naming::METADATA_USER)?;
        UserId::parse(owner).ok()
    });
    let free = subscriptions
        .iter()
        .filter(|found| found.id.starts_with(FREE));
    let of_free_ones = free.filter_map(|found| found.owner.clone());
    of_customers.chain(of_free_ones).collect()
}

/// The account of an APIM user that we made, or that the developer portal made and that has something
/// here; `None` for others.
fn account_of(user: &User, holders: &BTreeSet<UserId>, now: DateTime<Utc>) -> Option<Account> {
    let user_id = UserId::parse(&user.id).ok()?;
    let is_ours = user.note.as_deref() == Some(apim::OUR_NOTE);
    if user.email.is_empty() || !(is_ours || holders.contains(&user_id)) {
        return None;
    }
    let (kept_by, email_confirmed_at) = if is_ours {
        (Keeper::Us, None)
    } else {
        (Keeper::DeveloperPortal, Some(now))
    };
    Some(Account {
        user_id,
        email: user.email.to_lowercase(),
        email_confirmed_at,
        password_hash: Secret::new(accounts::NO_PASSWORD),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
        created_at: now,
        apim_created_at: Some(now),
        kept_by,
    })
}

/// The purchase that an open session was made for. The session does not say whether its price is
/// metered; it is taken to be, so that its customer counts as taken.
fn checkout_of(session: CheckoutSession, now: DateTime<Utc>) -> Option<Checkout> {
    let owner = Ownership::read(&session.metadata)?;
    Some(Checkout {
        id: owner.checkout_id?,
        user_id: owner.user_id,
        meter_event_name: Some(naming::meter_event_name(&owner.product_id)),
        product_id: owner.product_id,
        name: owner.name,
        customer_id: session.customer,
        state: State::Open,
        session: Some(Session {
            id: session.id,
            url: session.url?,
        }),
        return_path: None,
        created_at: now,
        expires_at: session.expires_at?,
    })
}

/// APIM is the only one who knows: what it has is what is wanted.
fn free_subscription(found: &apim::Subscription, now: DateTime<Utc>) -> Option<Subscription> {
    let product_id = found.product.clone()?;
    let name = found.display_name.as_deref().unwrap_or_default();
    let name = SubscriptionName::parse(name)
        .or_else(|_| SubscriptionName::parse(product_id.as_str()))
        .ok()?;
    let (wanted, reason) = match found.state {
        SubscriptionState::Active => (Access::Active, "The plan is free."),
        SubscriptionState::Cancelled | SubscriptionState::Rejected | SubscriptionState::Expired => {
            (Access::Cancelled, "The subscription has ended.")
        }
        SubscriptionState::Suspended
        | SubscriptionState::Submitted
        | SubscriptionState::Unknown(_) => {
            (Access::Suspended, "Access was suspended in API Management.")
        }
    };
    Some(Subscription {
        id: found.id.clone(),
        user_id: found.owner.clone()?,
        product_id,
        name,
        checkout_id: found.id.strip_prefix(FREE).map(str::to_owned),
        customer_id: None,
        stripe_status: None,
        meter: None,
        started_at: found.created.unwrap_or(now),
        period: None,
        cancel_at: None,
        ended_at: None,
        past_due_since: None,
        drafts_left: false,
        wanted,
        reason: reason.to_owned(),
        applied: Some(wanted),
        recheck_at: None,
        attempts: 0,
        problem: None,
        budget_stop: None,
        updated_at: now,
    })
}
