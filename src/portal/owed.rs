//! What a consumer has to pay so that a subscription is active again, and what went back.

use std::sync::Arc;

use super::Portal;
use super::views::owed::{OpenInvoice, Owed};
use crate::catalogue::money::{Currency, Money};
use crate::lifecycle::Status;
use crate::store::reversals::{self, Reversal};
use crate::store::subscriptions::Subscription;
use crate::stripe::Invoice;
use crate::web::Failure;

impl Portal {
    /// The open invoices of a subscription that waits for a payment. They are asked for as the page
    /// is shown, so that what was just paid is not asked for again. Stripe's silence costs the page
    /// that part only.
    pub(super) async fn owed(
        self: &Arc<Self>,
        subscription: &Subscription,
    ) -> Result<Owed, Failure> {
        let status = subscription.stripe_status.as_deref().map(Status::parse);
        if !status.is_some_and(waits_for_payment) {
            return Ok(Owed::Nothing);
        }
        let (stripe, id) = (self.stripe.clone(), subscription.id.clone());
        let listed = self
            .blocking
            .run(move || stripe.list_open_invoices(&id))
            .await?;
        Ok(match listed {
            Ok(invoices) => Owed::of(invoices.iter().filter_map(open_invoice).collect()),
            Err(error) => {
                tracing::warn!(subscription = %subscription.id, %error, "open invoices are not shown");
                Owed::Unknown
            }
        })
    }

    /// Refunds and disputes of the subscription, a sentence each.
    pub(super) fn notes(&self, subscription: &Subscription) -> Result<Vec<String>, Failure> {
        let found = self
            .store
            .read(|db| reversals::of_subscription(db, &subscription.id));
        let found = found.map_err(Failure::internal)?;
        Ok(found.iter().map(Reversal::sentence).collect())
    }
}

fn waits_for_payment(status: Status) -> bool {
    match status {
        Status::Incomplete | Status::PastDue | Status::Unpaid | Status::Paused => true,
        Status::IncompleteExpired
        | Status::Trialing
        | Status::Active
        | Status::Canceled
        | Status::Unknown => false,
    }
}

fn open_invoice(invoice: &Invoice) -> Option<OpenInvoice> {
    let currency = Currency::parse(&invoice.currency)?;
    let due = Money {
        currency,
        minor: invoice.amount_due - invoice.amount_paid,
    };
    Some(OpenInvoice {
        number: invoice.number.clone().unwrap_or_else(|| invoice.id.clone()),
        amount: due.to_string(),
        made: invoice.created.format("%-d %B %Y").to_string(),
        url: invoice.hosted_invoice_url.clone()?,
    })
}
