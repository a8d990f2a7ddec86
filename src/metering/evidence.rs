//! Keeps what stands behind an invoice: the days before it is final, its lines once it is.

use chrono::{DateTime, Utc};

use super::{Metering, MeteringError};
use crate::catalogue::evidence::Line;
use crate::catalogue::money::{Currency, Money};
use crate::store::evidence;
use crate::store::invoices::{Figures, Invoice};
use crate::store::subscriptions::Subscription;
use crate::stripe;

impl Metering {
    /// Keeps the days of the invoice's period as they are known now, and says what they come to.
    pub(super) fn keep_days(
        &self,
        invoice: &Invoice,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Figures, MeteringError> {
        let classes = self.model(subscription)?.billable.clone();
        let days = invoice.period.days(subscription.started_at);
        let kept = invoice.clone();
        let change = self
            .store
            .write(move |db| evidence::keep(db, &kept, &days, &classes, now));
        self.our_figures(subscription, change.wait()?)
    }

    /// What the days come to that were kept before Stripe finalized the invoice. Where none were,
    /// because Stripe was faster than Azure, they are kept as they are known now.
    pub(super) fn kept_figures(
        &self,
        invoice: &Invoice,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Figures, MeteringError> {
        match self.store.read(|db| evidence::calls(db, &invoice.id))? {
            None => self.keep_days(invoice, subscription, now),
            Some(calls) => match invoice.ours {
                Some(ours) if ours.calls == calls => Ok(ours),
                Some(_) | None => self.our_figures(subscription, calls),
            },
        }
    }
}

/// The lines of a final invoice. Empty in a currency that the catalogue does not know.
pub(super) fn lines(invoice: &stripe::Invoice) -> Vec<Line> {
    let Some(currency) = Currency::parse(&invoice.currency) else {
        return Vec::new();
    };
    let line = |line: &stripe::InvoiceLine| Line {
        description: line.description.clone().unwrap_or_default(),
        quantity: line.quantity,
        amount: Money {
            currency,
            minor: line.amount,
        },
        of_usage: line.is_usage(),
    };
    invoice.lines.iter().map(line).collect()
}
