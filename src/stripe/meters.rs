//! Meters: what they are, what we tell them, and what they have counted.
//!
//! Our meters keep the last value of a billing period, and what we send is the period's total so
//! far (design D3): a later value repairs every earlier one, and sending one twice bills once.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use stripe_billing::BillingMeterStatus;
use stripe_billing::billing_meter::{
    CreateBillingMeter, CreateBillingMeterCustomerMapping, CreateBillingMeterCustomerMappingType,
    CreateBillingMeterDefaultAggregation, CreateBillingMeterDefaultAggregationFormula,
    CreateBillingMeterValueSettings, ListBillingMeter,
};
use stripe_billing::billing_meter_event::CreateBillingMeterEvent;
use stripe_billing::billing_meter_event_summary::ListIdBillingMeterEventSummary;
use stripe_client_core::StripeRequest;

use super::Stripe;
use super::page::{Listed, PAGE_SIZE, Page};
use super::setup::idempotent;
use super::wire::Exact;
use crate::outbound::CallError;

/// The members of an event's payload that our meters read: whose usage it is, and how much.
const CUSTOMER_MEMBER: &str = "stripe_customer_id";
const VALUE_MEMBER: &str = "value";

/// A meter. Everything but its display name is fixed at creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    pub id: String,
    pub display_name: String,
    pub event_name: String,
    /// `last`, `sum` or `count`.
    pub formula: String,
    pub active: bool,
}

/// A value to tell a meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterEvent {
    /// The `event_name` of the meter.
    pub event_name: String,
    pub customer: String,
    /// In units of the meter; ours count calls. At most 15 digits.
    pub value: u64,
    /// Stripe refuses a second event with the same one for at least 24 hours.
    pub identifier: String,
    /// Decides the billing period. At most 35 days ago and 5 minutes ahead.
    pub timestamp: DateTime<Utc>,
}

/// A meter event that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    New,
    /// Stripe already has an event with this identifier: an earlier attempt got through.
    Duplicate,
}

impl Listed for Meter {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// All meters, active or not.
    pub fn list_meters(&self) -> Result<Vec<Meter>, CallError> {
        self.transport.all("list the meters", |after| {
            let mut request = ListBillingMeter::new().limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            let list = request.send_blocking(&self.transport)?;
            Ok(Page {
                data: list.data.into_iter().map(Meter::from).collect(),
                has_more: list.has_more,
            })
        })
    }

    /// Creates a meter that keeps the last value of a period.
    pub fn create_meter(
        &self,
        event_name: &str,
        display_name: &str,
        key: &str,
    ) -> Result<Meter, CallError> {
        let last = CreateBillingMeterDefaultAggregationFormula::Last;
        let by_id = CreateBillingMeterCustomerMappingType::ById;
        let meter = CreateBillingMeter::new(
            CreateBillingMeterDefaultAggregation::new(last),
            display_name,
            event_name,
        )
        .customer_mapping(CreateBillingMeterCustomerMapping::new(
            CUSTOMER_MEMBER,
            by_id,
        ))
        .value_settings(CreateBillingMeterValueSettings::new(VALUE_MEMBER))
        .customize()
        .request_strategy(idempotent(key))
        .send_blocking(&self.transport)?;
        Ok(meter.into())
    }

    /// Tells a meter a value. Stripe counts it a little later, so a success here does not yet
    /// show in [`Stripe::meter_event_summary`].
    ///
    /// Returns not before Stripe's limits let it: so many in a second, and one at a time for each
    /// customer and meter.
    pub fn create_meter_event(
        &self,
        event: &MeterEvent,
        key: &str,
    ) -> Result<Delivered, CallError> {
        let operation = format!(
            "report usage to the meter `{}` for the customer `{}`",
            event.event_name, event.customer
        );
        let payload = HashMap::from([
            (CUSTOMER_MEMBER.to_owned(), event.customer.clone()),
            (VALUE_MEMBER.to_owned(), event.value.to_string()),
        ]);
        let request = CreateBillingMeterEvent::new(event.event_name.as_str(), payload)
            .identifier(event.identifier.as_str())
            .timestamp(event.timestamp.timestamp());
        let _turn = self.turns.take(&event.customer, &event.event_name);
        self.events_pace.wait();
        match self.transport.post::<IgnoredAny>(&operation, &request, key) {
            Ok(_answer) => Ok(Delivered::New),
            Err(error) if already_delivered(&error) => Ok(Delivered::Duplicate),
            Err(error) => Err(error),
        }
    }

    /// What a meter has counted for a customer from `start` (inclusive) to `end` (exclusive),
    /// both on whole minutes. Zero where it has counted nothing.
    pub fn meter_event_summary(
        &self,
        meter: &str,
        customer: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Result<Decimal, CallError> {
        let operation = format!("read what the meter `{meter}` counted for `{customer}`");
        let request = ListIdBillingMeterEventSummary::new(
            meter,
            customer,
            end.timestamp(),
            start.timestamp(),
        );
        let page: Page<WireSummary> = self.transport.get(&operation, &request)?;
        match page.data.as_slice() {
            [] => Ok(Decimal::ZERO),
            [total] => Ok(total.aggregated_value.0),
            // Several would have to be combined by the meter's formula, which only Stripe knows.
            _ => Err(self
                .transport
                .nonsense(&operation, "it gave several totals for one period")),
        }
    }
}

/// Recorded answers of Stripe: status 400, "An event already exists with identifier …". The code
/// is documented nowhere, so the text counts as well.
fn already_delivered(error: &CallError) -> bool {
    let CallError::Refused(refusal) = error else {
        return false;
    };
    let named = refusal.code.as_deref() == Some("duplicate_meter_event");
    let told = refusal
        .message
        .contains("event already exists with identifier");
    refusal.status == 400 && (named || told)
}

#[derive(Deserialize)]
struct WireSummary {
    aggregated_value: Exact,
}

impl From<stripe_billing::BillingMeter> for Meter {
    fn from(meter: stripe_billing::BillingMeter) -> Self {
        Self {
            id: meter.id.to_string(),
            display_name: meter.display_name,
            event_name: meter.event_name,
            formula: meter.default_aggregation.formula.to_string(),
            active: meter.status == BillingMeterStatus::Active,
        }
    }
}
