//! Stripe: every call that the product makes, and what it reads of the answers.
//!
//! The API version is the one that async-stripe's builders are generated from, and every call
//! carries it. Calls block; see [`crate::outbound`]. Everything that changes something takes an
//! idempotency key, which the caller derives from what it is about, so that the same intent
//! carries the same key after a crash (design D8).

mod balance;
mod checkout;
mod customers;
mod events;
mod invoices;
mod meter_errors;
mod meters;
mod page;
mod prices;
mod reversals;
mod setup;
mod subscriptions;
#[cfg(test)]
mod tests;
mod transport;
mod turns;
mod wire;

pub use checkout::{
    Anchor, CheckoutSession, CheckoutStatus, NewCheckout, PaymentStatus, PortalSession,
};
pub use customers::{Customer, NewCustomer};
pub use events::{Event, EventPage, HANDLED_EVENTS};
pub use invoices::{BillingReason, Invoice, InvoiceLine, InvoiceStatus};
pub use meter_errors::{ErrorKind, METER_ERROR_EVENTS, MeterErrors, Sample};
pub use meters::{Delivered, Meter, MeterEvent};
pub use prices::{NewPrice, Price};
pub use reversals::Reversal;
pub use setup::{NewProduct, NewWebhookEndpoint, Product, WebhookEndpoint};
pub use subscriptions::{Subscription, SubscriptionItem, SubscriptionStatus, UsageType};

use crate::config;
use crate::outbound::Pace;
use transport::Transport;
use turns::Turns;

/// A Stripe account. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Stripe {
    transport: Transport,
    /// Of meter events.
    events_pace: Pace,
    /// Of what is asked once for each subscription.
    reads_pace: Pace,
    turns: Turns,
}

impl Stripe {
    pub fn new(settings: &config::Stripe) -> Self {
        Self {
            transport: Transport::new(settings),
            events_pace: Pace::per_second(settings.events_per_second),
            reads_pace: Pace::per_second(settings.reads_per_second),
            turns: Turns::default(),
        }
    }

    /// Returns when one more question may be asked, where one is asked for each subscription:
    /// Stripe answers 25 of a kind in a second (<https://docs.stripe.com/rate-limits>).
    pub fn pace_reads(&self) {
        self.reads_pace.wait();
    }

    /// The API version that every call carries, and that a webhook endpoint has to be created
    /// with so that its events look the same.
    pub fn api_version() -> String {
        stripe_shared::version::VERSION.to_string()
    }
}
