//! Ends subscriptions at Stripe as their consumers want it, and takes that back.
//!
//! The wish is a row of [`cancellations`], written before any call. Its steps can each be repeated,
//! and a process that is killed anywhere goes on at the next turn:
//!
//! ```text
//! schedule ──► at the period's end: done
//!     └──────► now: report (read and report the usage) ──► end (Stripe's meter has counted it;
//!              ended with a last invoice) ──► collect (what is owed stays owed) ──► done
//! ```
//!
//! An end at once is scheduled for the period's end first: should Azure be silent for a day, no
//! further period begins, and none is charged. The last invoice is a draft like that of any period:
//! the worker notes it, and [`super::close`] holds it until usage has settled. So calls that Azure
//! reports late are billed, and the invoice is exact.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::{Metering, MeteringError, Outages, window};
use crate::lifecycle::Status;
use crate::outbound::{CallError, backoff};
use crate::store::cancellations::{Cancellation, Step, Wish};
use crate::store::subscriptions::{Period, Subscription};
use crate::store::{cancellations, invoices, looks, period, subscriptions, usage};
use crate::stripe::{self, InvoiceStatus};

/// How many cancellations one turn works on.
const BATCH: u32 = 200;
/// How long after its last report a period is broken off at the earliest: so there is a whole
/// minute left in it for the report that closes it, and Stripe has time to count this one.
const AFTER_REPORT: TimeDelta = TimeDelta::minutes(2);
/// How long Stripe's meter is given to show what was reported. After that the subscription ends
/// all the same: the last invoice is compared before it is final anyway.
const METER_PATIENCE: TimeDelta = TimeDelta::hours(1);

/// What becomes of a step.
#[derive(Clone, Copy)]
enum Next {
    /// On to this step, at once.
    Step(Step),
    /// The same step again at this moment.
    At(DateTime<Utc>),
}

impl Metering {
    /// Works on every cancellation that is due at `now`; says how many moved on. One that fails
    /// does not stop the others, unless the other side seems to be down.
    pub fn end_subscriptions(&self, now: DateTime<Utc>) -> Result<usize, MeteringError> {
        let due = self.store.read(|db| cancellations::due(db, now, BATCH))?;
        let mut outages = Outages::default();
        let mut moved = 0;
        for cancellation in due {
            let result = self.move_cancellation(cancellation.clone(), now);
            outages.note(&result);
            match result {
                Ok(()) => moved += 1,
                Err(MeteringError::Store(error)) => return Err(MeteringError::Store(error)),
                Err(error) => self.put_back(cancellation, &error, now)?,
            }
            if outages.are_too_many() {
                break;
            }
        }
        Ok(moved)
    }

    /// Takes step after step until it has to wait, or is done.
    fn move_cancellation(
        &self,
        mut cancellation: Cancellation,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        while cancellation.step != Step::Done && cancellation.is_under_way() {
            let id = &cancellation.subscription_id;
            let Some(subscription) = self.store.read(|db| subscriptions::get(db, id))? else {
                // Nothing of ours: there is nothing to end.
                return self
                    .advance(cancellation, Next::Step(Step::Done), now)
                    .map(drop);
            };
            let next = match cancellation.step {
                Step::Schedule => self.schedule(&cancellation, &subscription)?,
                Step::Report => self.report_last(&subscription, now)?,
                Step::End => self.end(&subscription, now)?,
                Step::Collect => self.collect_owed(&cancellation)?,
                Step::Done => return Ok(()),
            };
            let waits = matches!(next, Next::At(_));
            let Some(advanced) = self.advance(cancellation, next, now)? else {
                return Ok(());
            };
            if waits {
                return Ok(());
            }
            cancellation = advanced;
        }
        Ok(())
    }

    /// Has Stripe end the subscription with its period, or not.
    fn schedule(
        &self,
        cancellation: &Cancellation,
        subscription: &Subscription,
    ) -> Result<Next, MeteringError> {
        let id = &cancellation.subscription_id;
        let fetched = self.stripe.get_subscription(id)?;
        let ends = cancellation.wish != Wish::Keep;
        if has_ended(&fetched) {
            return Ok(Next::Step(after_the_end(cancellation.wish)));
        }
        // One that never began has no period to end with.
        let has_begun = Status::parse(fetched.status.as_str()) != Status::Incomplete;
        if has_begun && fetched.cancel_at.is_some() != ends {
            let (revision, attempts) = (cancellation.revision, cancellation.attempts);
            // A failure that was recorded gets a new key: under a known one Stripe repeats even a
            // 500 for a whole day. A process that died unrecorded sends the same again.
            let key = format!("cancellation-{id}-{revision}-{attempts}");
            self.stripe.set_end_with_period(id, ends, &key)?;
        }
        Ok(Next::Step(match (cancellation.wish, &subscription.meter) {
            (Wish::Keep | Wish::AtPeriodEnd, _) => Step::Done,
            (Wish::Now, Some(_)) => Step::Report,
            (Wish::Now, None) => Step::End,
        }))
    }

    /// Reads the usage of the running period, and reports its total.
    fn report_last(
        &self,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Next, MeteringError> {
        let trialing = subscription.stripe_status.as_deref() == Some("trialing");
        // A period that is over has ended the subscription, and its own invoice closes it.
        let running = subscription
            .period
            .filter(|period| now < period.end && !trialing);
        if let Some(period) = running {
            let so_far = Period { end: now, ..period };
            self.reread(subscription, so_far, now)?;
            self.push_total(subscription, period, now)?;
        }
        Ok(Next::Step(Step::End))
    }

    /// Ends the subscription at Stripe, once its meter shows what was reported.
    fn end(&self, subscription: &Subscription, now: DateTime<Utc>) -> Result<Next, MeteringError> {
        let fetched = self.stripe.get_subscription(&subscription.id)?;
        if has_ended(&fetched) {
            return Ok(Next::Step(Step::Collect));
        }
        let metered = subscription.meter.is_some();
        let begun = fetched.items.iter().map(|item| item.period_start).max();
        let room = begun.map(|begun| begun + period::SHORTEST);
        if let Some(room) = room.filter(|room| metered && now < *room) {
            return Ok(Next::At(room));
        }
        if let Some(later) = self.meter_waits(subscription, now)? {
            return Ok(Next::At(later));
        }
        match self.stripe.end_subscription(&subscription.id, metered) {
            // It has ended since we looked; the next look tells.
            Err(error) if error.is_not_found() => Ok(Next::At(now)),
            other => {
                other?;
                Ok(Next::Step(Step::Collect))
            }
        }
    }

    /// Until when the end has to wait for Stripe's meter; `None` when it need not.
    fn meter_waits(
        &self,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, MeteringError> {
        let metered = subscription
            .meter
            .as_ref()
            .zip(subscription.customer_id.as_ref())
            .zip(subscription.period);
        let Some(((meter, customer), period)) = metered else {
            return Ok(None);
        };
        let Some(last) = self.store.read(|db| {
            usage::last_push(
                db,
                &subscription.id,
                period.start,
                window::reports_end(period),
            )
        })?
        else {
            return Ok(None);
        };
        if now < last.event_at + AFTER_REPORT {
            return Ok(Some(last.event_at + AFTER_REPORT));
        }
        if now > last.event_at + METER_PATIENCE {
            return Ok(None);
        }
        let counted = self.metered(meter, customer, period.start, now)?;
        Ok((counted != Decimal::from(last.calls)).then(|| now + AFTER_REPORT))
    }

    /// The end of a subscription stops the collection of its open invoices. They are owed all the
    /// same, so it goes on. Drafts of metered periods are claimed anew, see [`Metering::advance`].
    fn collect_owed(&self, cancellation: &Cancellation) -> Result<Next, MeteringError> {
        let id = &cancellation.subscription_id;
        for invoice in self.stripe.list_subscription_invoices(id)? {
            if invoice.status == Some(InvoiceStatus::Open) && !invoice.auto_advance {
                let (revision, attempts) = (cancellation.revision, cancellation.attempts);
                let key = format!("collect-{}-{revision}-{attempts}", invoice.id);
                self.stripe.collect_invoice(&invoice.id, &key)?;
            }
        }
        Ok(Next::Step(Step::Done))
    }

    /// Writes down what became of a step, and has the worker look at the subscription again.
    /// `None` when another wish has taken its place.
    fn advance(
        &self,
        cancellation: Cancellation,
        next: Next,
        now: DateTime<Utc>,
    ) -> Result<Option<Cancellation>, MeteringError> {
        let (step, due_at) = match next {
            Next::Step(Step::Done) => (Step::Done, None),
            Next::Step(step) => (step, Some(now)),
            Next::At(later) => (cancellation.step, Some(later)),
        };
        let ended = cancellation.step == Step::End && step == Step::Collect;
        let advanced = Cancellation {
            step,
            due_at,
            attempts: 0,
            problem: None,
            updated_at: now,
            ..cancellation
        };
        let kept = advanced.clone();
        let change = self.store.write(move |db| {
            let current = cancellations::advance(db, &kept)?;
            if ended {
                invoices::claim_again(db, &kept.subscription_id)?;
            }
            looks::ask(db, &kept.subscription_id, now)?;
            Ok(current)
        });
        Ok(change.wait()?.then_some(advanced))
    }

    /// Tries the step again later, or gives it up after the other side has said no for a while.
    fn put_back(
        &self,
        cancellation: Cancellation,
        error: &MeteringError,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        let problem = error.in_words();
        let attempts = cancellation.attempts + 1;
        let (refused, asked) = match error {
            MeteringError::Call(error) => (error.is_final(), CallError::retry_after(error)),
            MeteringError::Store(_)
            | MeteringError::UnknownProduct(_)
            | MeteringError::Amount(_)
            | MeteringError::Emptied(_) => (false, None),
        };
        // What nobody has refused is never given up: a subscription that should end costs money.
        let due_at = backoff::next_attempt(attempts, refused, asked, now)
            .or_else(|| (!refused).then(|| now + TimeDelta::hours(1)));
        tracing::warn!(subscription = %cancellation.subscription_id, %problem, given_up = due_at.is_none(), "a cancellation could not move on");
        let put_back = Cancellation {
            due_at,
            attempts,
            problem: Some(problem),
            updated_at: now,
            ..cancellation
        };
        let change = self
            .store
            .write(move |db| cancellations::advance(db, &put_back));
        change.wait()?;
        Ok(())
    }
}

fn has_ended(subscription: &stripe::Subscription) -> bool {
    !Status::parse(subscription.status.as_str()).is_live()
}

/// What is left to do for a subscription that had ended before we asked Stripe to end it.
fn after_the_end(wish: Wish) -> Step {
    match wish {
        Wish::Now => Step::Collect,
        Wish::Keep | Wish::AtPeriodEnd => Step::Done,
    }
}
