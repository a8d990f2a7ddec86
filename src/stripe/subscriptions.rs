//! Subscriptions, which decide who has access.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use stripe_billing::subscription::{
    CancelSubscription, ListSubscription, ListSubscriptionStatus, RetrieveSubscription,
    UpdateSubscription,
};

use super::Stripe;
use super::page::{Listed, PAGE_SIZE};
use super::wire::{Inner, Link, Moment, words};
use crate::lifecycle::{CollectionBehavior, CollectionPause, Pause, PauseCause};
use crate::outbound::CallError;

words! {
    /// The standing of a subscription.
    /// <https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>
    SubscriptionStatus {
        /// The first payment is open, for at most 23 hours.
        Incomplete = "incomplete",
        /// The first payment never came. Terminal.
        IncompleteExpired = "incomplete_expired",
        Trialing = "trialing",
        Active = "active",
        /// The latest invoice could not be paid; Stripe tries again.
        PastDue = "past_due",
        /// Stripe gave up trying.
        Unpaid = "unpaid",
        /// Terminal.
        Canceled = "canceled",
        Paused = "paused",
    }
}

words! {
    /// How the quantity of an item comes about.
    UsageType {
        Licensed = "licensed",
        Metered = "metered",
    }
}

/// A subscription, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireSubscription")]
pub struct Subscription {
    pub id: String,
    pub status: SubscriptionStatus,
    pub customer: String,
    pub metadata: BTreeMap<String, String>,
    pub created: DateTime<Utc>,
    pub cancel_at_period_end: bool,
    pub cancel_at: Option<DateTime<Utc>>,
    pub canceled_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// `cancellation_requested`, `payment_failed` or `payment_disputed`.
    pub cancellation_reason: Option<String>,
    /// Why and since when the status is `paused`.
    pub pause: Option<Pause>,
    /// `pause_collection`. The status does not show it.
    pub collection_pause: Option<CollectionPause>,
    pub trial_end: Option<DateTime<Utc>>,
    pub billing_cycle_anchor: Option<DateTime<Utc>>,
    /// A metered sign-up has none until its first period ends.
    pub latest_invoice: Option<String>,
    pub items: Vec<SubscriptionItem>,
}

/// One price of a subscription, with its own billing period.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireItem")]
pub struct SubscriptionItem {
    pub id: String,
    pub price: String,
    pub price_lookup_key: Option<String>,
    /// Stripe's product.
    pub product: Option<String>,
    pub usage_type: Option<UsageType>,
    /// The meter that a metered price counts with.
    pub meter: Option<String>,
    /// Inclusive.
    pub period_start: DateTime<Utc>,
    /// Exclusive.
    pub period_end: DateTime<Utc>,
    pub quantity: Option<u64>,
}

impl Listed for Subscription {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    pub fn get_subscription(&self, id: &str) -> Result<Subscription, CallError> {
        let operation = format!("read the subscription `{id}`");
        self.transport
            .get(&operation, &RetrieveSubscription::new(id))
    }

    /// Has the subscription end with its billing period, or, while it has not ended, go on.
    ///
    /// The last period is billed like any other.
    pub fn set_end_with_period(
        &self,
        id: &str,
        ends: bool,
        key: &str,
    ) -> Result<Subscription, CallError> {
        let what = if ends { "schedule" } else { "take back" };
        let operation = format!("{what} the end of the subscription `{id}`");
        let request = UpdateSubscription::new(id).cancel_at_period_end(ends);
        self.transport.post(&operation, &request, key)
    }

    /// Ends the subscription now, with a last invoice for what is not billed yet. It can be sent
    /// again: once it has ended, Stripe does not find it to end it.
    ///
    /// Stripe's documentation contradicts itself on whether metered usage is billed without
    /// `prorate`, so a metered one asks for both; proration itself does not apply to usage. For a
    /// fee that was paid in advance `prorate` would give money back: it is left out.
    /// <https://docs.stripe.com/billing/subscriptions/cancel>
    pub fn end_subscription(&self, id: &str, metered: bool) -> Result<Subscription, CallError> {
        let operation = format!("end the subscription `{id}`");
        let mut request = CancelSubscription::new(id).invoice_now(true);
        if metered {
            request = request.prorate(true);
        }
        self.transport.delete(&operation, &request)
    }

    /// All subscriptions of the account in every status, or those of one customer.
    pub fn list_subscriptions(
        &self,
        customer: Option<&str>,
    ) -> Result<Vec<Subscription>, CallError> {
        const OPERATION: &str = "list the subscriptions";
        self.transport.all(OPERATION, |after| {
            let mut request = ListSubscription::new()
                .status(ListSubscriptionStatus::All)
                .limit(PAGE_SIZE);
            if let Some(customer) = customer {
                request = request.customer(customer);
            }
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(OPERATION, &request)
        })
    }
}

#[derive(Deserialize)]
struct WireSubscription {
    id: String,
    status: SubscriptionStatus,
    customer: Link,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    created: Moment,
    #[serde(default)]
    cancel_at_period_end: bool,
    cancel_at: Option<Moment>,
    canceled_at: Option<Moment>,
    ended_at: Option<Moment>,
    cancellation_details: Option<WireCancellation>,
    pause_collection: Option<WirePauseCollection>,
    status_details: Option<WireStatusDetails>,
    trial_end: Option<Moment>,
    billing_cycle_anchor: Option<Moment>,
    latest_invoice: Option<Link>,
    items: Inner<SubscriptionItem>,
}

#[derive(Deserialize)]
struct WireCancellation {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct WirePauseCollection {
    behavior: String,
    resumes_at: Option<Moment>,
}

impl From<WirePauseCollection> for CollectionPause {
    fn from(wire: WirePauseCollection) -> Self {
        Self {
            behavior: CollectionBehavior::parse(&wire.behavior),
            resumes_at: wire.resumes_at.map(DateTime::from),
        }
    }
}

#[derive(Deserialize)]
struct WireStatusDetails {
    paused: Option<WirePaused>,
}

#[derive(Deserialize)]
struct WirePaused {
    transitioned_at: Moment,
    subscription: Option<WirePauseCause>,
}

#[derive(Deserialize)]
struct WirePauseCause {
    #[serde(rename = "type")]
    cause: String,
}

impl From<WirePaused> for Pause {
    fn from(wire: WirePaused) -> Self {
        let cause = wire.subscription.map(|pause| pause.cause);
        Self {
            cause: PauseCause::parse(cause.as_deref().unwrap_or_default()),
            since: wire.transitioned_at.into(),
        }
    }
}

impl From<WireSubscription> for Subscription {
    fn from(wire: WireSubscription) -> Self {
        Self {
            id: wire.id,
            status: wire.status,
            customer: wire.customer.into(),
            metadata: wire.metadata,
            created: wire.created.into(),
            cancel_at_period_end: wire.cancel_at_period_end,
            cancel_at: wire.cancel_at.map(DateTime::from),
            canceled_at: wire.canceled_at.map(DateTime::from),
            ended_at: wire.ended_at.map(DateTime::from),
            cancellation_reason: wire.cancellation_details.and_then(|details| details.reason),
            pause: wire
                .status_details
                .and_then(|details| details.paused)
                .map(Pause::from),
            collection_pause: wire.pause_collection.map(CollectionPause::from),
            trial_end: wire.trial_end.map(DateTime::from),
            billing_cycle_anchor: wire.billing_cycle_anchor.map(DateTime::from),
            latest_invoice: wire.latest_invoice.map(String::from),
            items: wire.items.data,
        }
    }
}

#[derive(Deserialize)]
struct WireItem {
    id: String,
    price: WirePrice,
    current_period_start: Moment,
    current_period_end: Moment,
    quantity: Option<u64>,
}

#[derive(Deserialize)]
struct WirePrice {
    id: String,
    lookup_key: Option<String>,
    product: Option<Link>,
    recurring: Option<WireRecurring>,
}

#[derive(Deserialize)]
struct WireRecurring {
    usage_type: Option<UsageType>,
    meter: Option<String>,
}

impl From<WireItem> for SubscriptionItem {
    fn from(wire: WireItem) -> Self {
        let (usage_type, meter) = match wire.price.recurring {
            Some(recurring) => (recurring.usage_type, recurring.meter),
            None => (None, None),
        };
        Self {
            id: wire.id,
            price: wire.price.id,
            price_lookup_key: wire.price.lookup_key,
            product: wire.price.product.map(String::from),
            usage_type,
            meter,
            period_start: wire.current_period_start.into(),
            period_end: wire.current_period_end.into(),
            quantity: wire.quantity,
        }
    }
}
