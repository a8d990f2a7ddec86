//! Refunds and disputes, and the way from a payment to its invoice.
//!
//! An invoice does not name its charge, and a charge not its invoice: the link is the *invoice
//! payment*, which names the invoice and the payment intent.
//! <https://docs.stripe.com/api/invoice-payment/object>

use chrono::{DateTime, Utc};
use serde::Deserialize;
use stripe_billing::invoice_payment::{
    ListInvoicePayment, ListInvoicePaymentPayment, ListInvoicePaymentPaymentType,
};
use stripe_core::dispute::RetrieveDispute;
use stripe_core::refund::{ListRefund, RetrieveRefund};

use super::Stripe;
use super::page::{Listed, PAGE_SIZE, Page};
use super::wire::{Link, Moment};
use crate::outbound::CallError;

/// Money that goes back, or whose payment is disputed. Amounts are minor units of `currency`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Reversal {
    pub id: String,
    pub status: String,
    pub amount: i64,
    pub currency: String,
    pub created: DateTime<Utc>,
    /// Absent for payments of other kinds than those of invoices.
    pub payment_intent: Option<String>,
}

impl Listed for Reversal {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    pub fn get_dispute(&self, id: &str) -> Result<Reversal, CallError> {
        let operation = format!("read the dispute `{id}`");
        self.transport.get(&operation, &RetrieveDispute::new(id))
    }

    pub fn get_refund(&self, id: &str) -> Result<Reversal, CallError> {
        let operation = format!("read the refund `{id}`");
        self.transport.get(&operation, &RetrieveRefund::new(id))
    }

    /// The refunds of a charge, the newest first.
    pub fn list_refunds(&self, charge: &str) -> Result<Vec<Reversal>, CallError> {
        let operation = format!("list the refunds of the charge `{charge}`");
        self.transport.all(&operation, |after| {
            let mut request = ListRefund::new().charge(charge).limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(&operation, &request)
        })
    }

    /// The invoice that a payment intent paid, if it paid one.
    pub fn paid_invoice(&self, payment_intent: &str) -> Result<Option<String>, CallError> {
        let operation = format!("look for the invoice of the payment `{payment_intent}`");
        let mut payment =
            ListInvoicePaymentPayment::new(ListInvoicePaymentPaymentType::PaymentIntent);
        payment.payment_intent = Some(payment_intent.to_owned());
        let request = ListInvoicePayment::new().payment(payment).limit(1);
        let page: Page<WireInvoicePayment> = self.transport.get(&operation, &request)?;
        let first = page.data.into_iter().next();
        Ok(first.map(|payment| payment.invoice.into()))
    }
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    /// A refund may have none.
    status: Option<String>,
    amount: i64,
    currency: String,
    created: Moment,
    payment_intent: Option<Link>,
}

impl From<Wire> for Reversal {
    fn from(wire: Wire) -> Self {
        Self {
            id: wire.id,
            status: wire.status.unwrap_or_default(),
            amount: wire.amount,
            currency: wire.currency,
            created: wire.created.into(),
            payment_intent: wire.payment_intent.map(String::from),
        }
    }
}

#[derive(Deserialize)]
struct WireInvoicePayment {
    invoice: Link,
}
