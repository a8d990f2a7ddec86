//! Checkout sessions, where a consumer enters a card, and customer portal sessions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAllowedPaymentMethodTypes,
    CreateCheckoutSessionLineItems, CreateCheckoutSessionPaymentMethodCollection,
    CreateCheckoutSessionSubscriptionData,
    CreateCheckoutSessionSubscriptionDataBillingCycleAnchorConfig,
    CreateCheckoutSessionSubscriptionDataBillingMode,
    CreateCheckoutSessionSubscriptionDataBillingModeType,
    CreateCheckoutSessionSubscriptionDataProrationBehavior, ExpireCheckoutSession,
    ListCheckoutSession, RetrieveCheckoutSession,
};
use stripe_shared::{CheckoutSessionMode, CheckoutSessionStatus};

use super::Stripe;
use super::page::{Listed, PAGE_SIZE};
use super::setup::pairs;
use super::wire::{Link, Moment, words};
use crate::outbound::CallError;

/// Where billing periods start, so that they start at 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// On this day of the month, 1–31; in a shorter month on its last day. The *next* such day ends
    /// the first period whatever the interval, and Stripe takes it for months and years only.
    DayOfMonth(u32),
    /// At this moment, which ends the first period, and whole intervals later. When the session is
    /// paid it has to lie ahead, and no farther than one interval.
    At(DateTime<Utc>),
}

/// A Checkout session to create, for a subscription of one price, paid by card.
///
/// <https://docs.stripe.com/api/checkout/sessions/create>
#[derive(Debug, Clone)]
pub struct NewCheckout {
    pub customer: String,
    pub price: String,
    /// Required for a licensed price, refused by Stripe for a metered one.
    pub quantity: Option<u64>,
    pub success_url: String,
    pub cancel_url: String,
    /// Put on the session and on the subscription that comes of it.
    pub metadata: BTreeMap<String, String>,
    pub client_reference_id: Option<String>,
    /// Without it periods start at the second of the payment.
    pub anchor: Option<Anchor>,
    pub trial_days: Option<u32>,
    /// 30 minutes to 24 hours from now; Stripe takes 24 hours where it is not given.
    pub expires_at: Option<DateTime<Utc>>,
}

words! {
    /// How far a Checkout session has come.
    CheckoutStatus {
        Open = "open",
        Complete = "complete",
        Expired = "expired",
    }
}

words! {
    /// Whether the money of a Checkout session has arrived.
    PaymentStatus {
        Paid = "paid",
        Unpaid = "unpaid",
        /// Nothing is due yet, as for a metered price or a trial.
        NoPaymentRequired = "no_payment_required",
    }
}

/// A Checkout session, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireSession")]
pub struct CheckoutSession {
    pub id: String,
    /// Where the browser has to go; only an open session has it.
    pub url: Option<String>,
    pub status: Option<CheckoutStatus>,
    pub payment_status: Option<PaymentStatus>,
    /// There once the session is complete.
    pub subscription: Option<String>,
    pub customer: Option<String>,
    pub client_reference_id: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct WireSession {
    id: String,
    url: Option<String>,
    status: Option<CheckoutStatus>,
    payment_status: Option<PaymentStatus>,
    subscription: Option<Link>,
    customer: Option<Link>,
    client_reference_id: Option<String>,
    expires_at: Option<Moment>,
    metadata: Option<BTreeMap<String, String>>,
}

impl From<WireSession> for CheckoutSession {
    fn from(wire: WireSession) -> Self {
        Self {
            id: wire.id,
            url: wire.url,
            status: wire.status,
            payment_status: wire.payment_status,
            subscription: wire.subscription.map(String::from),
            customer: wire.customer.map(String::from),
            client_reference_id: wire.client_reference_id,
            expires_at: wire.expires_at.map(DateTime::from),
            metadata: wire.metadata.unwrap_or_default(),
        }
    }
}

/// A visit to Stripe's customer portal. Its address works for minutes only: make one per click.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PortalSession {
    pub url: String,
}

impl Listed for CheckoutSession {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// The sessions of the account that can still be paid.
    pub fn list_open_checkout_sessions(&self) -> Result<Vec<CheckoutSession>, CallError> {
        const OPERATION: &str = "list the open Checkout sessions";
        self.transport.all(OPERATION, |after| {
            let mut request = ListCheckoutSession::new()
                .status(CheckoutSessionStatus::Open)
                .limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(OPERATION, &request)
        })
    }

    pub fn create_checkout_session(
        &self,
        new: &NewCheckout,
        key: &str,
    ) -> Result<CheckoutSession, CallError> {
        let operation = format!("create a Checkout session for the price `{}`", new.price);
        self.transport.post(&operation, &session_request(new), key)
    }

    pub fn get_checkout_session(&self, id: &str) -> Result<CheckoutSession, CallError> {
        let operation = format!("read the Checkout session `{id}`");
        let request = RetrieveCheckoutSession::new(id);
        self.transport.get(&operation, &request)
    }

    /// Closes an open session, so that nobody can pay it any more. Stripe refuses this for a
    /// session that is complete or expired.
    pub fn expire_checkout_session(
        &self,
        id: &str,
        key: &str,
    ) -> Result<CheckoutSession, CallError> {
        let operation = format!("expire the Checkout session `{id}`");
        let request = ExpireCheckoutSession::new(id);
        self.transport.post(&operation, &request, key)
    }

    pub fn create_portal_session(
        &self,
        customer: &str,
        return_url: &str,
        key: &str,
    ) -> Result<PortalSession, CallError> {
        let operation = format!("open the customer portal for `{customer}`");
        let request = CreateBillingPortalSession::new()
            .customer(customer)
            .return_url(return_url);
        self.transport.post(&operation, &request, key)
    }
}

fn session_request(new: &NewCheckout) -> CreateCheckoutSession {
    let card = CreateCheckoutSessionAllowedPaymentMethodTypes::Card;
    // Also where nothing is due at sign-up: a metered subscription needs a card for its first bill.
    let always = CreateCheckoutSessionPaymentMethodCollection::Always;
    let mut request = CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Subscription)
        .customer(new.customer.as_str())
        .line_items(vec![line_item(new)])
        .allowed_payment_method_types(vec![card])
        .payment_method_collection(always)
        .success_url(new.success_url.as_str())
        .cancel_url(new.cancel_url.as_str())
        .metadata(pairs(&new.metadata))
        .subscription_data(subscription_data(new));
    if let Some(reference) = &new.client_reference_id {
        request = request.client_reference_id(reference.as_str());
    }
    if let Some(expires_at) = new.expires_at {
        request = request.expires_at(expires_at.timestamp());
    }
    request
}

fn line_item(new: &NewCheckout) -> CreateCheckoutSessionLineItems {
    let mut item = CreateCheckoutSessionLineItems::new();
    item.price = Some(new.price.clone());
    item.quantity = new.quantity;
    item
}

fn subscription_data(new: &NewCheckout) -> CreateCheckoutSessionSubscriptionData {
    let mut data = CreateCheckoutSessionSubscriptionData::new();
    // The default of this API version, said aloud because there is no way back from it.
    data.billing_mode = Some(CreateCheckoutSessionSubscriptionDataBillingMode::new(
        CreateCheckoutSessionSubscriptionDataBillingModeType::Flexible,
    ));
    data.metadata = Some(pairs(&new.metadata));
    data.trial_period_days = new.trial_days;
    match new.anchor {
        Some(Anchor::DayOfMonth(day)) => data.billing_cycle_anchor_config = Some(midnight(day)),
        Some(Anchor::At(moment)) => data.billing_cycle_anchor = Some(moment.timestamp()),
        None => {}
    }
    if new.anchor.is_some() {
        data.proration_behavior =
            Some(CreateCheckoutSessionSubscriptionDataProrationBehavior::None);
    }
    data
}

fn midnight(day: u32) -> CreateCheckoutSessionSubscriptionDataBillingCycleAnchorConfig {
    let mut config = CreateCheckoutSessionSubscriptionDataBillingCycleAnchorConfig::new(day);
    config.hour = Some(0);
    config.minute = Some(0);
    config.second = Some(0);
    config
}
