//! Applies what waits in the inbox: looks again at Stripe, decides, and puts access in place.
//!
//! Several events about one thing are one piece of work, because the thing is fetched as it is
//! now. The intent is written before APIM is called and the outcome after it; a process that is
//! killed in between finds the intent, still due, when it starts again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::observe::{Ownership, observe};
use super::resync::as_found;
use super::subject::Subject;
use super::{access, draft, notices};
use crate::apim::{Apim, SubscriptionState};
use crate::catalogue::Catalogue;
use crate::config::Mode;
use crate::ids::ProductId;
use crate::lifecycle::Status;
use crate::outbound::{CallError, backoff};
use crate::store::inbox::{Ending, Waiting};
use crate::store::invoices::Invoice;
use crate::store::mails::Outbox;
use crate::store::subscriptions::Subscription;
use crate::store::{Store, StoreError, checkouts, inbox, invoices, looks, subscriptions};
use crate::stripe::{self, CheckoutStatus, Stripe};

/// How many events, and how many subscriptions, one round looks at; the next takes what is left.
const BATCH: u32 = 500;
/// Outages in a row after which a round ends: the other side is down, each further call would
/// wait for its time-out, and what is left is better tried when someone wakes us again.
const OUTAGES_IN_A_ROW: u32 = 3;
/// A subscription that is new to us and older than this was known before.
const FRESH: TimeDelta = TimeDelta::hours(1);
/// An intent whose attempt did not come to an end (the process was killed) is due again then.
const UNFINISHED_DUE_AFTER: TimeDelta = TimeDelta::minutes(1);

/// The settings that the worker goes by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long `past_due` keeps access, where the product says nothing else.
    pub past_due_grace: TimeDelta,
    /// How long after its creation Stripe finalizes a claimed draft by itself.
    pub backstop: TimeDelta,
    /// Whether drafts are finalized.
    pub mode: Mode,
}

/// The worker. All its calls block: run it on a thread of its own.
#[derive(Clone)]
pub struct Worker {
    pub store: Store,
    pub stripe: Stripe,
    pub apim: Apim,
    pub catalogue: Arc<Catalogue>,
    pub rules: Rules,
    /// Announces that an invoice waits to be closed.
    pub drafts: Arc<Notify>,
    /// For messages to the holders of subscriptions.
    pub outbox: Outbox,
}

/// Why a piece of work could not be done.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error("a call to another side failed")]
    Call(#[from] CallError),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error(
        "Stripe does not know the subscription `{0}` any more: does the secret key belong to \
         another account, or to test mode?"
    )]
    Vanished(String),
}

impl WorkError {
    /// Trying again changes nothing unless someone changes something first.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Call(error) => error.is_final(),
            Self::Vanished(_) => true,
            Self::Store(_) => false,
        }
    }

    /// How long the other side asks to be left alone.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            Self::Store(_) | Self::Vanished(_) => None,
        }
    }

    /// For the status page and the inbox: the cause, in the words of whoever gave it.
    pub fn in_words(&self) -> String {
        match self {
            Self::Call(error) => error.to_string(),
            Self::Store(error) => error.to_string(),
            Self::Vanished(_) => self.to_string(),
        }
    }
}

/// A subscription at Stripe, looked at again.
pub(super) enum Seen {
    /// Our record of it as of now, not yet kept.
    Ours(Box<Subscription>),
    /// Not our business, and why.
    Foreign(&'static str),
}

/// How a round goes.
#[derive(Default)]
pub(super) struct Round {
    done: usize,
    outages_in_a_row: u32,
}

impl Round {
    pub(super) fn note<T>(&mut self, result: &Result<T, WorkError>) {
        match result {
            Ok(_) => self.done += 1,
            Err(error) if error.is_refusal() => {}
            Err(_) => {
                self.outages_in_a_row += 1;
                return;
            }
        }
        self.outages_in_a_row = 0;
    }

    pub(super) fn is_over(&self) -> bool {
        self.outages_in_a_row >= OUTAGES_IN_A_ROW
    }
}

/// What came of a piece of work.
pub(super) struct Outcome {
    ending: Ending,
    text: String,
}

impl Outcome {
    pub(super) fn applied(text: impl Into<String>) -> Self {
        Self {
            ending: Ending::Applied,
            text: text.into(),
        }
    }

    pub(super) fn ignored(text: &str) -> Self {
        Self {
            ending: Ending::Ignored,
            text: text.to_owned(),
        }
    }
}

impl Worker {
    /// Works on what is due at `now`; says how much of it is done, so that nothing is left to do
    /// for the moment where the answer is 0. What fails is put back and does not stop the others,
    /// unless the other side seems to be down.
    pub fn drain(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let mut round = Round::default();
        let waiting = self.store.read(|db| inbox::due(db, now, BATCH))?;
        let is_all_heard = waiting.is_empty();
        for (subject, events) in by_subject(waiting) {
            let result = self.look_again(&subject, now);
            round.note(&result);
            self.settle(&events, result, now)?;
            if round.is_over() {
                return Ok(0);
            }
        }
        if is_all_heard {
            self.look_for_turns(&mut round, now)?;
        }
        // Read only now: the events have made some due, and have done others.
        let due = self
            .store
            .read(|db| subscriptions::due_for_recheck(db, now, BATCH))?;
        for subscription in due {
            round.note(&self.recheck(subscription, now));
            if round.is_over() {
                return Ok(0);
            }
        }
        self.look_as_asked(&mut round, now)?;
        Ok(if round.is_over() { 0 } else { round.done })
    }

    /// Looks at the subscriptions that somebody has asked for. The wish is read before the look and
    /// settled after it; a look that fails is due again like any other.
    fn look_as_asked(&self, round: &mut Round, now: DateTime<Utc>) -> Result<(), StoreError> {
        for look in self.store.read(|db| looks::due(db, now, BATCH))? {
            if round.is_over() {
                return Ok(());
            }
            if let Some(subscription) = self.known(&look.subscription_id)? {
                round.note(&self.recheck(subscription, now));
            }
            let done = self.store.write(move |db| looks::settle(db, &look));
            done.wait()?;
        }
        Ok(())
    }

    fn look_again(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Outcome, WorkError> {
        match subject {
            Subject::Subscription(id) => self.refresh(id, now),
            Subject::CheckoutSession(id) => self.checkout(id, now),
            Subject::Invoice(id) => self.invoice(id, now),
            Subject::Dispute(id) => self.dispute(id, now),
            Subject::Charge(id) => self.refunds_of(id, now),
            Subject::Refund(id) => self.refund(id, now),
            Subject::MeterErrors(event_id) => self.meter_errors(event_id, now),
            Subject::None(why) => Ok(Outcome::ignored(why)),
        }
    }

    /// Ends the events of one subject, or puts them back.
    fn settle(
        &self,
        events: &[Waiting],
        result: Result<Outcome, WorkError>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let events = events.to_owned();
        let change = self.store.write(move |db| {
            for event in &events {
                match &result {
                    Ok(outcome) => {
                        inbox::settle(db, &event.event_id, outcome.ending, &outcome.text, now)?;
                    }
                    Err(error) => put_back(db, event, error, now)?,
                }
            }
            Ok(())
        });
        change.wait()
    }

    /// A consumer paid, or let a purchase lapse.
    fn checkout(&self, session_id: &str, now: DateTime<Utc>) -> Result<Outcome, WorkError> {
        let session = match self.stripe.get_checkout_session(session_id) {
            Err(error) if error.is_not_found() => {
                return Ok(Outcome::ignored("Stripe does not know the checkout."));
            }
            other => other?,
        };
        if let Some(subscription) = session.subscription {
            return self.refresh(&subscription, now);
        }
        if session.status == Some(CheckoutStatus::Expired) {
            let change = self
                .store
                .write(move |db| checkouts::expire_session(db, &session.id));
            change.wait()?;
            return Ok(Outcome::applied("The checkout expired unpaid."));
        }
        Ok(Outcome::ignored("The checkout has no subscription yet."))
    }

    /// An invoice moved: its subscription may have, too, and a metered draft has to be closed.
    ///
    /// Stripe finalizes a draft after an hour, so nothing here waits for Azure: the draft is
    /// written down together with the access that is due, which is put in place on its own.
    pub(super) fn invoice(
        &self,
        invoice_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Outcome, WorkError> {
        let invoice = match self.stripe.get_invoice(invoice_id) {
            Err(error) if error.is_not_found() => {
                return Ok(Outcome::ignored("Stripe does not know the invoice."));
            }
            other => other?,
        };
        let Some(subscription_id) = &invoice.subscription else {
            return Ok(Outcome::ignored("The invoice belongs to no subscription."));
        };
        let mut record = match self.look(subscription_id, now)? {
            Seen::Ours(record) => *record,
            Seen::Foreign(why) => return Ok(Outcome::ignored(why)),
        };
        let reason = record.reason.clone();
        let closing = self.to_be_closed(&invoice, &record, now)?;
        if self.was_left_behind_unseen(&invoice, &record)? {
            record.drafts_left = true;
        }
        self.keep_seen(record, closing, now)?;
        Ok(Outcome::applied(reason))
    }

    /// Writes down what was seen of a subscription, and a draft of it, and makes due what follows for
    /// its access: that waits for Azure, and a draft must not.
    pub(super) fn keep_seen(
        &self,
        mut record: Subscription,
        draft: Option<Invoice>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let seen = record.clone();
        // What an earlier look failed at is not done by this one, which puts nothing in place.
        let failed = record.problem.is_some();
        if failed || record.applied != Some(record.wanted) || draft::are_due(&record) {
            record.recheck_at = Some(now);
        }
        let outbox = self.outbox.clone();
        let is_draft = draft.is_some();
        let change = self.store.write(move |db| {
            notices::queue(db, &outbox, &seen, now)?;
            subscriptions::save(db, &record)?;
            draft.map_or(Ok(()), |draft| invoices::discover(db, &draft))
        });
        change.wait()?;
        if is_draft {
            self.drafts.notify_one();
        }
        Ok(())
    }

    /// Looks at a subscription as it is now, decides, and puts the access in place.
    pub(super) fn refresh(&self, id: &str, now: DateTime<Utc>) -> Result<Outcome, WorkError> {
        match self.look(id, now)? {
            Seen::Foreign(why) => Ok(Outcome::ignored(why)),
            Seen::Ours(record) => {
                let reason = record.reason.clone();
                self.put_in_place(*record, now)?;
                Ok(Outcome::applied(reason))
            }
        }
    }

    pub(super) fn look(&self, id: &str, now: DateTime<Utc>) -> Result<Seen, WorkError> {
        let known = self.known(id)?;
        let fetched = match self.stripe.get_subscription(id) {
            Err(error) if error.is_not_found() => {
                return match known {
                    Some(known) => Err(WorkError::Vanished(known.id)),
                    None => Ok(Seen::Foreign("Stripe does not know the subscription.")),
                };
            }
            other => other?,
        };
        // What is ours stays ours when someone edits its metadata: it can still be cancelled.
        let owner =
            Ownership::read(&fetched.metadata).or_else(|| known.as_ref().map(Ownership::of));
        let Some(owner) = owner else {
            return Ok(Seen::Foreign("The subscription was not made by Tollhouse."));
        };
        let grace = self.past_due_grace(&owner.product_id);
        let mut record = observe(&fetched, owner.clone(), known.as_ref(), grace, now);
        if known.is_none()
            && let Some(placed) = self.placed(&fetched, now)
        {
            let found = as_found(record, &placed);
            record = observe(&fetched, owner, Some(&found), grace, now);
        }
        if let Some(invoice) = &fetched.latest_invoice
            && known.is_some_and(|known| draft::may_have_appeared(&known, &record))
        {
            self.note_draft(invoice, &record, now)?;
        }
        Ok(Seen::Ours(Box::new(record)))
    }

    /// What APIM has of a subscription that is new to us. Nothing yet, if it is just being bought;
    /// one that was bought before was placed by a store that is lost, and nobody has to be told
    /// that it works. Silence counts as nothing.
    fn placed(
        &self,
        subscription: &stripe::Subscription,
        now: DateTime<Utc>,
    ) -> Option<SubscriptionState> {
        let status = Status::parse(subscription.status.as_str());
        let is_fresh = now - subscription.created < FRESH;
        if is_fresh && matches!(status, Status::Active | Status::Trialing) {
            return None;
        }
        let found = self.apim.get_subscription(&subscription.id).ok()??;
        Some(found.state)
    }

    pub(super) fn past_due_grace(&self, product: &ProductId) -> TimeDelta {
        let model = self.catalogue.get(product);
        model
            .and_then(|model| model.past_due_grace_days)
            .map_or(self.rules.past_due_grace, |days| {
                TimeDelta::days(days.into())
            })
    }

    /// Our record. One that cannot be read is made anew from what Stripe says.
    fn known(&self, id: &str) -> Result<Option<Subscription>, StoreError> {
        match self.store.read(|db| subscriptions::get(db, id)) {
            Err(StoreError::Nonsense(problem)) => {
                tracing::error!(subscription = %id, %problem, "a record is made anew");
                Ok(None)
            }
            other => other,
        }
    }

    /// A subscription that time, or an earlier failure, made due.
    pub(super) fn recheck(
        &self,
        subscription: Subscription,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let id = subscription.id.clone();
        let seen = match subscription.stripe_status {
            Some(_) => self.look(&id, now),
            None => Ok(Seen::Ours(Box::new(Subscription {
                recheck_at: None,
                ..subscription
            }))),
        };
        let error = match seen {
            Ok(Seen::Ours(record)) => return self.put_in_place(*record, now),
            Ok(Seen::Foreign(_)) => WorkError::Vanished(id.clone()),
            Err(error) => error,
        };
        self.put_subscription_back(id, &error, now)?;
        Err(error)
    }

    /// Writes the intent, calls APIM, writes the outcome. A failure puts the subscription back.
    fn put_in_place(&self, record: Subscription, now: DateTime<Utc>) -> Result<(), WorkError> {
        let intent = Subscription {
            recheck_at: Some(now + UNFINISHED_DUE_AFTER),
            ..record.clone()
        };
        let (outbox, seen) = (self.outbox.clone(), record.clone());
        let change = self.store.write(move |db| {
            if was_ended_meanwhile(db, &intent)? {
                return Ok(false);
            }
            notices::queue(db, &outbox, &seen, now)?;
            subscriptions::save(db, &intent)?;
            Ok(true)
        });
        if !change.wait()? {
            return Ok(());
        }
        let work = access::apply(&self.apim, &record).map_err(WorkError::from);
        let work = work.and_then(|()| self.finalize_left_behind(&record, now));
        let drafts_left = match work {
            Ok(drafts_left) => drafts_left,
            Err(error) => {
                self.put_subscription_back(record.id, &error, now)?;
                return Err(error);
            }
        };
        let outcome = Subscription {
            applied: Some(record.wanted),
            drafts_left,
            attempts: 0,
            problem: None,
            updated_at: now,
            ..record
        };
        let outbox = self.outbox.clone();
        let change = self.store.write(move |db| {
            if was_ended_meanwhile(db, &outcome)? {
                return Ok(());
            }
            if outcome.ended_at.is_some() {
                // Nobody will pay up any more; what was used until then is owed.
                invoices::release(db, &outcome.id, now)?;
            }
            notices::queue(db, &outbox, &outcome, now)?;
            if let Some(checkout_id) = &outcome.checkout_id {
                checkouts::complete(db, checkout_id)?;
            }
            subscriptions::save(db, &outcome)
        });
        Ok(change.wait()?)
    }

    pub(super) fn put_subscription_back(
        &self,
        id: String,
        error: &WorkError,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        tracing::warn!(subscription = %id, error = %error.in_words(), "access could not be put in place");
        let (refused, asked, problem) = (error.is_refusal(), error.retry_after(), error.in_words());
        let change = self.store.write(move |db| {
            let Some(mut record) = subscriptions::get(db, &id)? else {
                return Ok(());
            };
            record.attempts += 1;
            record.updated_at = now;
            record.recheck_at = backoff::next_attempt(record.attempts, refused, asked, now);
            record.problem = Some(problem);
            subscriptions::save(db, &record)
        });
        change.wait()
    }
}

/// Whether the holder of a free subscription has ended it since it was read. That stands, and is due:
/// the next look takes from APIM whatever this one has put there. What Stripe bills has its wanted
/// access from the worker alone.
fn was_ended_meanwhile(
    db: &rusqlite::Connection,
    record: &Subscription,
) -> Result<bool, StoreError> {
    if record.stripe_status.is_some() {
        return Ok(false);
    }
    let current = subscriptions::get(db, &record.id)?;
    Ok(current.is_some_and(|current| current.wanted != record.wanted))
}

fn by_subject(waiting: Vec<Waiting>) -> BTreeMap<Subject, Vec<Waiting>> {
    let mut groups: BTreeMap<Subject, Vec<Waiting>> = BTreeMap::new();
    for event in waiting {
        let subject = Subject::of(&event.event_id, &event.event_type, &event.object_id);
        groups.entry(subject).or_default().push(event);
    }
    groups
}

fn put_back(
    db: &rusqlite::Connection,
    event: &Waiting,
    error: &WorkError,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let problem = error.in_words();
    tracing::warn!(event = %event.event_id, %problem, "an event could not be applied yet");
    let (failed, refused) = (event.attempts + 1, error.is_refusal());
    match backoff::next_attempt(failed, refused, error.retry_after(), now) {
        Some(next) => inbox::retry_later(db, &event.event_id, next, &problem),
        None => inbox::settle(db, &event.event_id, Ending::Failed, &problem, now),
    }
}
