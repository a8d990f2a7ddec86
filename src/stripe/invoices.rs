//! Invoices: read with all their lines, held as drafts, finalized.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use stripe_billing::invoice::{
    FinalizeInvoiceInvoice, ListInvoice, RetrieveInvoice, UpdateInvoice,
};
use stripe_billing::invoice_line_item::ListInvoiceInvoiceLineItem;

use stripe_shared::InvoiceStatus as InvoiceStatusWord;

use super::Stripe;
use super::page::{Listed, PAGE_SIZE, Page};
use super::wire::{Exact, Inner, Link, Moment, words};
use crate::outbound::CallError;

/// How long Stripe lets a draft be one at least, unless it finalizes it the moment that it makes it: an
/// hour, if it takes no longer than that to tell of it.
const DRAFT_MIN: TimeDelta = TimeDelta::minutes(1);

words! {
    /// How far an invoice has come.
    InvoiceStatus {
        Draft = "draft",
        Open = "open",
        Paid = "paid",
        Uncollectible = "uncollectible",
        Void = "void",
    }
}

words! {
    /// What an invoice was made for.
    BillingReason {
        /// The first invoice of a subscription.
        SubscriptionCreate = "subscription_create",
        /// The end of a period.
        SubscriptionCycle = "subscription_cycle",
        SubscriptionUpdate = "subscription_update",
        SubscriptionThreshold = "subscription_threshold",
        Manual = "manual",
    }
}

/// An invoice, as far as we use it. Amounts are in minor units of `currency`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireInvoice")]
pub struct Invoice {
    pub id: String,
    pub status: Option<InvoiceStatus>,
    pub customer: Option<String>,
    pub subscription: Option<String>,
    pub billing_reason: Option<BillingReason>,
    /// The period in which invoice items were gathered. The period of a subscription stands on
    /// the lines.
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub created: DateTime<Utc>,
    pub auto_advance: bool,
    /// Absent of a draft.
    pub finalized_at: Option<DateTime<Utc>>,
    /// When nothing was due on it any more: it was paid, voided or written off.
    pub settled_at: Option<DateTime<Utc>>,
    pub total: i64,
    pub amount_due: i64,
    pub amount_paid: i64,
    /// What credit notes have taken off, before the payment or after it.
    pub credited: i64,
    pub currency: String,
    /// Given at finalization.
    pub number: Option<String>,
    pub hosted_invoice_url: Option<String>,
    /// Stripe lists at most ten lines with an invoice. [`Stripe::get_invoice`] reads them all;
    /// an invoice from a list may lack some, and then says so in `lines_complete`.
    pub lines: Vec<InvoiceLine>,
    pub lines_complete: bool,
}

/// One line: what one price, or one tier of it, comes to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireLine")]
pub struct InvoiceLine {
    pub id: String,
    /// In minor units.
    pub amount: i64,
    /// Exact, where Stripe gives it; the older `quantity` is cut off at the decimal point.
    pub quantity: Option<Decimal>,
    /// What each costs, in minor units; absent on a flat fee.
    pub unit_amount: Option<Decimal>,
    pub price: Option<String>,
    pub subscription_item: Option<String>,
    pub description: Option<String>,
    /// Inclusive.
    pub period_start: DateTime<Utc>,
    /// Exclusive.
    pub period_end: DateTime<Utc>,
    pub proration: bool,
}

impl Invoice {
    /// The period that the subscription's lines bill: start inclusive, end exclusive. The
    /// invoice's own where it has no such line.
    ///
    /// Usage is billed when its period is over, and a fee that somebody has added to the subscription
    /// before: where both are there, the period is that of the usage.
    pub fn service_period(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let is_over = |line: &InvoiceLine| line.period_end <= self.created;
        let line = self
            .usage_lines()
            .max_by_key(|line| (is_over(line), line.period_end));
        line.map_or((self.period_start, self.period_end), |line| {
            (line.period_start, line.period_end)
        })
    }

    /// Whether it bills usage, of a period that was over when it was made.
    pub fn closes_a_period(&self) -> bool {
        self.usage_lines()
            .any(|line| line.period_end <= self.created)
    }

    /// Whether it never was a draft for long. So it is while the merchant pauses collection and has
    /// invoices voided or written off (<https://docs.stripe.com/billing/subscriptions/pause-payment>);
    /// one of nothing counts as paid then.
    pub fn is_final_from_the_start(&self) -> bool {
        self.finalized_at
            .is_some_and(|finalized_at| finalized_at < self.created + DRAFT_MIN)
    }

    /// Whether it was voided or written off: the merchant wants nothing for it any more.
    pub fn is_given_up(&self) -> bool {
        matches!(
            self.status,
            Some(InvoiceStatus::Void | InvoiceStatus::Uncollectible)
        )
    }

    /// What the subscription's price came to, in minor units, before tax and discounts.
    pub fn usage_amount(&self) -> i64 {
        self.usage_lines().map(|line| line.amount).sum()
    }

    /// The quantity over all tiers. A tier's flat fee stands on a line of its own without one.
    pub fn usage_quantity(&self) -> Decimal {
        self.usage_lines().filter_map(|line| line.quantity).sum()
    }

    fn usage_lines(&self) -> impl Iterator<Item = &InvoiceLine> {
        self.lines.iter().filter(|line| line.is_usage())
    }
}

impl InvoiceLine {
    /// Whether it is the subscription's price for a whole period, and not a part that was made up
    /// for or an item that a person has added.
    pub fn is_usage(&self) -> bool {
        self.subscription_item.is_some() && !self.proration
    }
}

impl Listed for Invoice {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for InvoiceLine {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// An invoice with all its lines.
    pub fn get_invoice(&self, id: &str) -> Result<Invoice, CallError> {
        let operation = format!("read the invoice `{id}`");
        let mut invoice: Invoice = self.transport.get(&operation, &RetrieveInvoice::new(id))?;
        if !invoice.lines_complete {
            invoice.lines = self.list_invoice_lines(id)?;
            invoice.lines_complete = true;
        }
        Ok(invoice)
    }

    fn list_invoice_lines(&self, id: &str) -> Result<Vec<InvoiceLine>, CallError> {
        let operation = format!("list the lines of the invoice `{id}`");
        self.transport.all(&operation, |after| {
            let mut request = ListInvoiceInvoiceLineItem::new(id).limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(&operation, &request)
        })
    }

    /// The invoices of a subscription, the newest first.
    pub fn list_subscription_invoices(
        &self,
        subscription: &str,
    ) -> Result<Vec<Invoice>, CallError> {
        let operation = format!("list the invoices of the subscription `{subscription}`");
        let request = ListInvoice::new().subscription(subscription);
        self.list_invoices(&operation, &request)
    }

    /// The invoices of a subscription that are to be paid, the newest first.
    pub fn list_open_invoices(&self, subscription: &str) -> Result<Vec<Invoice>, CallError> {
        let operation = format!("list the open invoices of the subscription `{subscription}`");
        let request = ListInvoice::new()
            .subscription(subscription)
            .status(InvoiceStatusWord::Open);
        self.list_invoices(&operation, &request)
    }

    /// The invoices of a customer, the newest first.
    pub fn list_customer_invoices(&self, customer: &str) -> Result<Vec<Invoice>, CallError> {
        let operation = format!("list the invoices of the customer `{customer}`");
        let request = ListInvoice::new().customer(customer);
        self.list_invoices(&operation, &request)
    }

    /// All drafts of the account.
    pub fn list_draft_invoices(&self) -> Result<Vec<Invoice>, CallError> {
        let request = ListInvoice::new().status(stripe_shared::InvoiceStatus::Draft);
        self.list_invoices("list the draft invoices", &request)
    }

    fn list_invoices(
        &self,
        operation: &str,
        request: &ListInvoice,
    ) -> Result<Vec<Invoice>, CallError> {
        self.transport.all(operation, |after| {
            let mut request = request.clone().limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            let page: Page<Invoice> = self.transport.get(operation, &request)?;
            Ok(page)
        })
    }

    /// Moves the moment at which Stripe finalizes a draft by itself. With `auto_advance` off it
    /// never does.
    pub fn update_invoice_finalization(
        &self,
        id: &str,
        automatically_finalizes_at: DateTime<Utc>,
        auto_advance: bool,
        key: &str,
    ) -> Result<Invoice, CallError> {
        let operation = format!("set when the invoice `{id}` is finalized");
        let request = UpdateInvoice::new(id)
            .automatically_finalizes_at(automatically_finalizes_at.timestamp())
            .auto_advance(auto_advance);
        self.transport.post(&operation, &request, key)
    }

    /// Has Stripe go on collecting an open invoice, which the end of its subscription stops.
    pub fn collect_invoice(&self, id: &str, key: &str) -> Result<Invoice, CallError> {
        let operation = format!("go on collecting the invoice `{id}`");
        let request = UpdateInvoice::new(id).auto_advance(true);
        self.transport.post(&operation, &request, key)
    }

    /// Finalizes a draft. From then on no usage reaches it any more. `collects` turns Stripe's
    /// collection on, where it was off.
    pub fn finalize_invoice(
        &self,
        id: &str,
        collects: bool,
        key: &str,
    ) -> Result<Invoice, CallError> {
        let operation = format!("finalize the invoice `{id}`");
        let mut request = FinalizeInvoiceInvoice::new(id);
        if collects {
            request = request.auto_advance(true);
        }
        self.transport.post(&operation, &request, key)
    }
}

#[derive(Deserialize)]
struct WireInvoice {
    id: String,
    status: Option<InvoiceStatus>,
    customer: Option<Link>,
    parent: Option<WireParent>,
    billing_reason: Option<BillingReason>,
    period_start: Moment,
    period_end: Moment,
    created: Moment,
    #[serde(default)]
    auto_advance: bool,
    #[serde(default)]
    status_transitions: WireTransitions,
    total: i64,
    amount_due: i64,
    amount_paid: i64,
    #[serde(default)]
    pre_payment_credit_notes_amount: i64,
    #[serde(default)]
    post_payment_credit_notes_amount: i64,
    currency: String,
    number: Option<String>,
    hosted_invoice_url: Option<String>,
    lines: Inner<InvoiceLine>,
}

#[derive(Deserialize, Default)]
struct WireTransitions {
    #[serde(rename = "finalized_at")]
    finalized: Option<Moment>,
    #[serde(rename = "marked_uncollectible_at")]
    written_off: Option<Moment>,
    #[serde(rename = "paid_at")]
    paid: Option<Moment>,
    #[serde(rename = "voided_at")]
    voided: Option<Moment>,
}

impl WireTransitions {
    /// One that was written off may be paid all the same, later.
    fn settled_at(&self) -> Option<DateTime<Utc>> {
        let end = self.paid.or(self.voided).or(self.written_off);
        end.map(DateTime::from)
    }
}

#[derive(Deserialize)]
struct WireParent {
    subscription_details: Option<WireSubscriptionDetails>,
}

#[derive(Deserialize)]
struct WireSubscriptionDetails {
    subscription: Option<Link>,
}

impl From<WireInvoice> for Invoice {
    fn from(wire: WireInvoice) -> Self {
        let subscription = wire
            .parent
            .and_then(|parent| parent.subscription_details)
            .and_then(|details| details.subscription);
        Self {
            id: wire.id,
            status: wire.status,
            customer: wire.customer.map(String::from),
            subscription: subscription.map(String::from),
            billing_reason: wire.billing_reason,
            period_start: wire.period_start.into(),
            period_end: wire.period_end.into(),
            created: wire.created.into(),
            auto_advance: wire.auto_advance,
            finalized_at: wire.status_transitions.finalized.map(DateTime::from),
            settled_at: wire.status_transitions.settled_at(),
            total: wire.total,
            amount_due: wire.amount_due,
            amount_paid: wire.amount_paid,
            credited: wire.pre_payment_credit_notes_amount + wire.post_payment_credit_notes_amount,
            currency: wire.currency,
            number: wire.number,
            hosted_invoice_url: wire.hosted_invoice_url,
            lines_complete: !wire.lines.has_more,
            lines: wire.lines.data,
        }
    }
}

#[derive(Deserialize)]
struct WireLine {
    id: String,
    amount: i64,
    quantity: Option<i64>,
    quantity_decimal: Option<Exact>,
    pricing: Option<WirePricing>,
    parent: Option<WireLineParent>,
    description: Option<String>,
    period: WirePeriod,
}

#[derive(Deserialize)]
struct WirePricing {
    price_details: Option<WirePriceDetails>,
    unit_amount_decimal: Option<Exact>,
}

#[derive(Deserialize)]
struct WirePriceDetails {
    price: Option<Link>,
}

#[derive(Deserialize)]
struct WireLineParent {
    subscription_item_details: Option<WireItemDetails>,
}

#[derive(Deserialize)]
struct WireItemDetails {
    subscription_item: Option<String>,
    #[serde(default)]
    proration: bool,
}

#[derive(Deserialize)]
struct WirePeriod {
    start: Moment,
    end: Moment,
}

impl From<WireLine> for InvoiceLine {
    fn from(wire: WireLine) -> Self {
        let pricing = wire.pricing;
        let unit_amount = pricing.as_ref();
        let unit_amount = unit_amount.and_then(|pricing| pricing.unit_amount_decimal.as_ref());
        let unit_amount = unit_amount.map(|exact| exact.0);
        let price = pricing
            .and_then(|pricing| pricing.price_details)
            .and_then(|details| details.price);
        let item = wire
            .parent
            .and_then(|parent| parent.subscription_item_details);
        Self {
            id: wire.id,
            amount: wire.amount,
            quantity: wire
                .quantity_decimal
                .map(|exact| exact.0)
                .or_else(|| wire.quantity.map(Decimal::from)),
            unit_amount,
            price: price.map(String::from),
            description: wire.description,
            period_start: wire.period.start.into(),
            period_end: wire.period.end.into(),
            proration: item.as_ref().is_some_and(|item| item.proration),
            subscription_item: item.and_then(|item| item.subscription_item),
        }
    }
}
