//! Makes up for what a final invoice billed too little or too much, with the customer's next invoice.
//!
//! A final invoice does not change any more. What is owed goes onto the customer's balance at Stripe,
//! which the next invoice adds or takes off. It is written down before Stripe is told: whoever is
//! killed in between finds it open. Before Stripe is told anything it is asked what it has, because it
//! forgets idempotency keys after a day, and a store that was lost or restored from a copy does not
//! know what it has told.

use chrono::{DateTime, Utc};

use super::{Metering, MeteringError};
use crate::catalogue::money::{Currency, Money};
use crate::outbound::CallError;
use crate::store::corrections::{Correction, Made};
use crate::store::invoices::Invoice;
use crate::store::{StoreError, corrections};

impl Metering {
    /// Makes up for `owed` minor units, of which earlier corrections are taken off; negative where it
    /// is given back.
    pub(super) fn make_up_for(
        &self,
        invoice: &Invoice,
        customer: &str,
        owed: i64,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        let code = invoice.currency.as_deref().unwrap_or_default();
        let currency = Currency::parse(code)
            .ok_or_else(|| StoreError::Nonsense(format!("the currency {code}")))?;
        let (id, made) = (invoice.id.clone(), self.made_at_stripe(invoice, customer)?);
        let change = self.store.write(move |db| {
            corrections::take_over(db, &id, &made, now)?;
            corrections::plan(db, &id, owed, now)
        });
        let Some(correction) = change.wait()? else {
            return Ok(());
        };
        let by = Money {
            currency,
            minor: correction.amount,
        };
        let made = self.tell(invoice, customer, by, &correction.id)?;
        tracing::warn!(invoice = %invoice.id, %by, "a final invoice was corrected with the next one");
        let change = self
            .store
            .write(move |db| corrections::made(db, &correction.id, &made));
        Ok(change.wait()?)
    }

    /// The corrections of an invoice that Stripe has.
    fn made_at_stripe(
        &self,
        invoice: &Invoice,
        customer: &str,
    ) -> Result<Vec<Made>, MeteringError> {
        let changes = self.stripe.list_balance_changes(customer)?;
        let made = changes.into_iter().filter_map(|change| {
            let reason = change.reason()?;
            corrections::is_of(reason, &invoice.id).then(|| Made {
                correction: Correction {
                    id: reason.to_owned(),
                    amount: change.amount,
                },
                change_id: change.id.clone(),
            })
        });
        Ok(made.collect())
    }

    fn tell(
        &self,
        invoice: &Invoice,
        customer: &str,
        by: Money,
        correction: &str,
    ) -> Result<String, MeteringError> {
        let description = format!(
            "Correction of the invoice {} for {} – {}",
            invoice.id,
            invoice.period.start.format("%-d %b %Y"),
            invoice.period.end.format("%-d %b %Y")
        );
        let key = format!("correction-{correction}");
        let result = self
            .stripe
            .change_balance(customer, by, correction, &description, &key);
        if let Err(CallError::Refused(_)) = &result {
            let id = correction.to_owned();
            self.store
                .write(move |db| corrections::refused(db, &id))
                .wait()?;
        }
        Ok(result?)
    }
}
