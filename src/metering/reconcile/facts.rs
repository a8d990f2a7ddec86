//! What the four places say of one period.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::judge::{DayDifference, Facts, Reported, Stage};
use super::{Metering, MeteringError};
use crate::config::Mode;
use crate::lifecycle::CollectionBehavior;
use crate::metering::{compare, window};
use crate::store::corrections::{self, Corrected};
use crate::store::invoices::{Figures, Invoice, State};
use crate::store::subscriptions::{Period, Subscription};
use crate::store::usage::{self, PushState};
use crate::stripe;

impl Metering {
    pub(super) fn facts(
        &self,
        subscription: &Subscription,
        period: Period,
        invoice: Option<&Invoice>,
        days: Vec<DayDifference>,
        now: DateTime<Utc>,
    ) -> Result<Facts, MeteringError> {
        let end = window::reports_end(period);
        let (told, last) = self.store.read(|db| {
            let told = usage::last_told(db, &subscription.id, period.start, end)?;
            Ok((
                told,
                usage::last_push(db, &subscription.id, period.start, end)?,
            ))
        })?;
        let refused = last.filter(|last| last.state == PushState::Refused);
        let target = subscription
            .meter
            .as_ref()
            .zip(subscription.customer_id.as_ref());
        let metered = match target {
            Some((meter, customer)) => {
                self.metered(meter, customer, period.start, period.end.min(now))?
            }
            None => Decimal::ZERO,
        };
        let stage = match invoice.map(|invoice| invoice.state) {
            None if period.end <= now && self.was_trial(&subscription.id, period)? => Stage::Trial,
            None if period.end <= now => Stage::Unbilled,
            None => Stage::Running,
            Some(State::Finalized) => Stage::Final,
            Some(State::Claiming | State::Settling | State::Waiting | State::Held) => {
                Stage::Closing
            }
        };
        let closed_with = invoice
            .filter(|_| stage == Stage::Final)
            .and_then(|invoice| invoice.ours);
        let calls = self.billable_calls(subscription, period)?;
        let ours = match closed_with {
            // Of a store that was lost, some days may be too old to be read again.
            Some(closed) if closed.calls >= calls => closed,
            Some(_) | None => self.our_figures(subscription, calls)?,
        };
        let reported = match self.rules.mode {
            Mode::Live => told.map(|told| Reported {
                calls: told.calls,
                // As if just now, where it is not known yet whether Stripe has it.
                at: told.at.unwrap_or(now),
            }),
            // Whoever reports there should come to the same.
            Mode::Shadow => Some(Reported {
                calls: ours.calls,
                at: period.start,
            }),
        };
        let final_one = invoice.filter(|_| stage == Stage::Final);
        let fetched = match final_one {
            Some(invoice) => self.fetch(&invoice.id)?,
            None => None,
        };
        let is_plain = fetched.as_ref().is_some_and(|fetched| {
            !fetched.is_final_from_the_start() && compare::stranger(period, fetched).is_none()
        });
        let can_make_up = closed_with.is_some()
            && is_plain
            && self.rules.mode == Mode::Live
            && subscription.ended_at.is_none()
            && subscription.customer_id.is_some();
        let billed = fetched.as_ref().and_then(billed);
        let corrected = match invoice {
            Some(invoice) => self
                .store
                .read(|db| corrections::of_invoice(db, &invoice.id))?,
            None => Corrected::default(),
        };
        let charges = billed.is_some_and(|billed| billed.amount + corrected.made < ours.amount)
            && corrected.open.is_none();
        Ok(Facts {
            stage,
            days,
            ours,
            reported,
            refused: refused.map(|refused| refused.calls),
            metered,
            held: invoice
                .filter(|invoice| invoice.state == State::Held)
                .and_then(|invoice| invoice.problem.clone()),
            billed,
            credited: fetched.map_or(0, |fetched| fetched.credited),
            corrected,
            can_make_up: can_make_up && !(charges && self.gives_away(&subscription.id)?),
        })
    }

    /// The invoice as Stripe has it now; nothing if its draft was deleted, which gives it up.
    fn fetch(&self, invoice_id: &str) -> Result<Option<stripe::Invoice>, MeteringError> {
        self.stripe.pace_reads();
        match self.stripe.get_invoice(invoice_id) {
            Err(error) if error.is_not_found() => Ok(None),
            fetched => Ok(Some(fetched?)),
        }
    }

    fn was_trial(&self, subscription_id: &str, period: Period) -> Result<bool, MeteringError> {
        self.stripe.pace_reads();
        let seen = self.stripe.get_subscription(subscription_id)?;
        Ok(seen.trial_end.is_some_and(|trial| period.end <= trial))
    }

    /// Whether a merchant's pause of collection gives away what the subscription is billed now. What
    /// a draft of before the pause bills is still owed, says
    /// <https://docs.stripe.com/billing/subscriptions/pause-payment>; whether an invoice that lacks
    /// something is to be given away, too, only the merchant knows, and the one that would make up
    /// for it is given away.
    fn gives_away(&self, subscription_id: &str) -> Result<bool, MeteringError> {
        self.stripe.pace_reads();
        let seen = self.stripe.get_subscription(subscription_id)?;
        let pause = seen.collection_pause;
        Ok(pause.is_some_and(|pause| pause.behavior != CollectionBehavior::KeepAsDraft))
    }
}

/// What a final invoice bills for usage, as Stripe has it now; nothing if it was voided or written off:
/// what the merchant does not want is not made up for.
fn billed(fetched: &stripe::Invoice) -> Option<Figures> {
    (!fetched.is_given_up()).then(|| Figures {
        calls: fetched.usage_quantity().try_into().unwrap_or_default(),
        amount: fetched.usage_amount(),
    })
}
