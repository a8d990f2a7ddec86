//! Invoices that close periods, as the worker comes across them: written down for the close, or, where
//! Stripe has left them behind, finalized.

use chrono::{DateTime, Utc};

use super::draft;
use super::worker::{WorkError, Worker};
use crate::config::Mode;
use crate::store::invoices::Invoice;
use crate::store::subscriptions::Subscription;
use crate::store::{StoreError, invoices, usage};
use crate::stripe;

impl Worker {
    /// The note of an invoice that closes a metered period, if it is a draft, or new to us.
    pub(super) fn to_be_closed(
        &self,
        invoice: &stripe::Invoice,
        record: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Option<Invoice>, StoreError> {
        let draft = draft::to_close(invoice, record, self.rules.backstop, now);
        if draft.is_some() {
            return Ok(draft);
        }
        let Some(late) = draft::seen_too_late(invoice, record, self.rules.backstop, now) else {
            return Ok(None);
        };
        // A store that was lost does not have all of an old period's days: by what it has, the
        // invoice would seem to bill too much.
        let first_day = *late.period.days(record.started_at).start();
        let is_news = self.store.read(|db| {
            let has_days = usage::collected_at(db, first_day)?.is_some();
            Ok(has_days && invoices::get(db, &late.id)?.is_none())
        })?;
        Ok(is_news.then_some(late))
    }

    /// Writes down that an invoice has to be closed, if it has to. The event that says so may have been
    /// lost, or may come later.
    pub(super) fn note_draft(
        &self,
        invoice_id: &str,
        record: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let invoice = match self.stripe.get_invoice(invoice_id) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let Some(closing) = self.to_be_closed(&invoice, record, now)? else {
            return Ok(());
        };
        let change = self.store.write(move |db| invoices::discover(db, &closing));
        change.wait()?;
        self.drafts.notify_one();
        Ok(())
    }

    /// Whether Stripe left this draft behind while the subscription was unpaid, which it is no more,
    /// and nobody here has seen that it was: we were down, or the store was lost. A metered one is
    /// closed like any other.
    pub(super) fn was_left_behind_unseen(
        &self,
        invoice: &stripe::Invoice,
        record: &Subscription,
    ) -> Result<bool, WorkError> {
        let may_be = draft::is_left_behind(invoice)
            && draft::is_collected_from(record)
            && !record.drafts_left
            && record.meter.is_none();
        if !may_be {
            return Ok(false);
        }
        let invoices = self.stripe.list_subscription_invoices(&record.id)?;
        Ok(draft::is_of_unpaid_time(invoice, &invoices))
    }

    /// Finalizes what Stripe drafted while the subscription was unpaid, once it is paid up: Stripe
    /// never does, and the consumer had those periods. Metered drafts get their usage first, so
    /// they are handed to the normal close. Says whether drafts may be left.
    ///
    /// Killed in between, the record still says that drafts are left; what is final by then is no
    /// draft any more, so it is not looked at again. The key is one for each run, because under a
    /// known key Stripe repeats even a 500 for a day, and a draft is finalized only once anyway.
    pub(super) fn finalize_left_behind(
        &self,
        record: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<bool, WorkError> {
        if !draft::are_due(record) || self.rules.mode == Mode::Shadow {
            return Ok(record.drafts_left);
        }
        // What is drafted while the merchant does not collect waits until he does again.
        let seen = self.stripe.get_subscription(&record.id)?;
        if seen.collection_pause.is_some() {
            return Ok(true);
        }
        let invoices = self.stripe.list_subscription_invoices(&record.id)?;
        let left = invoices.iter().filter(|it| draft::is_left_behind(it));
        // In the order in which they were made, so that the newest is the last to be final.
        for invoice in left.rev() {
            if let Some(draft) = draft::to_close(invoice, record, self.rules.backstop, now) {
                let change = self.store.write(move |db| invoices::discover(db, &draft));
                change.wait()?;
                continue;
            }
            if !draft::was_made_while_owed(invoice, &invoices) {
                continue;
            }
            let key = format!("finalize-{}-{}", invoice.id, now.timestamp());
            self.stripe.finalize_invoice(&invoice.id, true, &key)?;
        }
        let id = record.id.clone();
        let change = self.store.write(move |db| invoices::release(db, &id, now));
        change.wait()?;
        self.drafts.notify_one();
        Ok(false)
    }
}
