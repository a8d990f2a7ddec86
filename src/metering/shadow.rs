//! Shadow mode: everything is read, computed and compared, and Stripe is told nothing.
//!
//! For whoever runs beside an existing system first. No total is reported, no draft claimed and no
//! invoice finalized; what Stripe has and bills is held against what we would have said.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::close::{Closed, PAUSE};
use super::{Metering, MeteringError, Outages};
use crate::store::findings::{self, Kind};
use crate::store::invoices::{self, Invoice, State};
use crate::store::subscriptions::{self, Period, Subscription};
use crate::stripe::InvoiceStatus;

impl Metering {
    /// Whether Stripe's total for the period differs from ours; a difference is written down.
    pub(super) fn compare_total(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<bool, MeteringError> {
        let target = subscription
            .meter
            .as_ref()
            .zip(subscription.customer_id.as_ref());
        let Some((meter, customer)) = target else {
            return Ok(false);
        };
        let calls = self.billable_calls(subscription, period)?;
        let stripes = self.metered(meter, customer, period.start, period.end.min(now))?;
        let differs = stripes != Decimal::from(calls);
        let detail = differs.then(|| {
            format!("Shadow mode: {calls} billable calls so far; Stripe’s meter has {stripes}.")
        });
        let id = subscription.id.clone();
        let change = self
            .store
            .write(move |db| findings::set(db, Kind::Shadow, None, &id, detail.as_deref(), now));
        change.wait()?;
        Ok(differs)
    }

    /// Looks at the invoices of periods whose usage has settled, and keeps what Stripe billed
    /// beside what we say it should have.
    pub(super) fn watch_invoices(&self, now: DateTime<Utc>) -> Result<Closed, MeteringError> {
        let mut closed = Closed::default();
        let mut outages = Outages::default();
        for invoice in self.store.read(invoices::unfinished)? {
            if now < self.usage_settles(&invoice).max(invoice.updated_at + PAUSE) {
                continue;
            }
            let result = self.watch(invoice.clone(), now);
            outages.note(&result);
            match result {
                Ok(()) => closed.moved += 1,
                Err(MeteringError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    let problem = error.in_words();
                    closed.problems.push(format!("{}: {problem}", invoice.id));
                    // Later, so that it keeps no other from being looked at.
                    self.keep(invoice, now)?;
                }
            }
            if outages.are_too_many() {
                break;
            }
        }
        Ok(closed)
    }

    fn watch(&self, invoice: Invoice, now: DateTime<Utc>) -> Result<(), MeteringError> {
        let id = invoice.subscription_id.clone();
        let Some(subscription) = self.store.read(|db| subscriptions::get(db, &id))? else {
            return Ok(());
        };
        let fetched = match self.stripe.get_invoice(&invoice.id) {
            Err(error) if error.is_not_found() => {
                self.note_deletion(invoice, now)?;
                return Ok(());
            }
            other => other?,
        };
        if fetched.status == Some(InvoiceStatus::Draft) {
            self.keep(invoice, now)?;
            return Ok(());
        }
        self.record_end(invoice.clone(), &subscription, &fetched, now)?;
        let ended = self.store.read(|db| invoices::get(db, &invoice.id))?;
        let problem = ended
            .filter(|ended| ended.state == State::Finalized)
            .and_then(|ended| ended.problem);
        let detail = problem.map(|problem| format!("Shadow mode: {problem}"));
        let change = self.store.write(move |db| {
            findings::set(db, Kind::Shadow, None, &invoice.id, detail.as_deref(), now)
        });
        Ok(change.wait()?)
    }
}
