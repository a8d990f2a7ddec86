//! Refunds and disputes: found out which subscription they are about, and written down.
//!
//! They change nothing else. Where Stripe or a person ends the subscription over them, its own
//! status says so, and its own events wake the worker.

use chrono::{DateTime, Utc};

use super::worker::{Outcome, Seen, WorkError, Worker};
use crate::store::reversals::{self, Kind, Reversal};
use crate::stripe;

/// A refund that did not come about: the money stays where it was.
const CAME_TO_NOTHING: [&str; 2] = ["failed", "canceled"];

impl Worker {
    pub(super) fn dispute(&self, id: &str, now: DateTime<Utc>) -> Result<Outcome, WorkError> {
        match self.stripe.get_dispute(id) {
            Err(error) if error.is_not_found() => {
                Ok(Outcome::ignored("Stripe does not know the dispute."))
            }
            found => self.note(Kind::Dispute, &[found?], now),
        }
    }

    pub(super) fn refund(&self, id: &str, now: DateTime<Utc>) -> Result<Outcome, WorkError> {
        match self.stripe.get_refund(id) {
            Err(error) if error.is_not_found() => {
                Ok(Outcome::ignored("Stripe does not know the refund."))
            }
            found => self.note(Kind::Refund, &[found?], now),
        }
    }

    /// All refunds of a charge: the event about it does not say which of them is new.
    pub(super) fn refunds_of(
        &self,
        charge: &str,
        now: DateTime<Utc>,
    ) -> Result<Outcome, WorkError> {
        match self.stripe.list_refunds(charge) {
            Err(error) if error.is_not_found() => {
                Ok(Outcome::ignored("Stripe does not know the charge."))
            }
            found => self.note(Kind::Refund, &found?, now),
        }
    }

    /// Writes down what went back of one payment.
    fn note(
        &self,
        kind: Kind,
        found: &[stripe::Reversal],
        now: DateTime<Utc>,
    ) -> Result<Outcome, WorkError> {
        let payment = found
            .first()
            .and_then(|first| first.payment_intent.as_deref());
        let Some(subscription_id) = self.paid_subscription(payment, now)? else {
            return Ok(Outcome::ignored(
                "The payment was not for a subscription of Tollhouse.",
            ));
        };
        let kept: Vec<Reversal> = found
            .iter()
            .map(|found| Reversal {
                id: found.id.clone(),
                subscription_id: subscription_id.clone(),
                kind,
                status: found.status.clone(),
                amount: found.amount,
                currency: found.currency.clone(),
                made_at: found.created,
                updated_at: now,
            })
            .collect();
        let text = kept.first().map(Reversal::sentence).unwrap_or_default();
        let change = self.store.write(move |db| {
            for reversal in &kept {
                if CAME_TO_NOTHING.contains(&reversal.status.as_str()) {
                    reversals::remove(db, &reversal.id)?;
                } else {
                    reversals::save(db, reversal)?;
                }
            }
            Ok(())
        });
        change.wait()?;
        Ok(Outcome::applied(text))
    }

    /// The subscription of ours whose invoice a payment paid.
    fn paid_subscription(
        &self,
        payment_intent: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, WorkError> {
        let Some(payment_intent) = payment_intent else {
            return Ok(None);
        };
        let Some(invoice) = self.stripe.paid_invoice(payment_intent)? else {
            return Ok(None);
        };
        let Some(subscription) = self.stripe.get_invoice(&invoice)?.subscription else {
            return Ok(None);
        };
        Ok(match self.look(&subscription, now)? {
            Seen::Ours(record) => Some(record.id),
            Seen::Foreign(_) => None,
        })
    }
}
