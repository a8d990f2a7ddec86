//! What a subscription is to be: its items, its first period, and what that costs.
//!
//! Source: <https://docs.stripe.com/billing/subscriptions/billing-cycle>; see also
//! [`super::super::periods`].

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::invoices::lines::{self, Basis, Portion};
use super::super::periods::{Anchor, AnchorConfig, Interval};
use super::shape;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::error::StripeError;

/// A subscription to be opened; its prices and its customer exist.
pub(crate) struct Order {
    pub(crate) customer: String,
    pub(crate) items: Vec<OrderedItem>,
    pub(crate) now: DateTime<Utc>,
    /// Before `now` when the start is backdated.
    pub(crate) start: DateTime<Utc>,
    pub(crate) anchor: Option<AnchorChoice>,
    pub(crate) trial_end: Option<DateTime<Utc>>,
    /// Whether a short first period is charged for its part.
    pub(crate) prorates: bool,
    pub(crate) first_payment: FirstPayment,
    /// Members of the subscription that only have to be set: metadata, description, and so on.
    pub(crate) members: Map<String, Value>,
}

/// A price (the whole object) and how many of it; none when it is metered.
pub(crate) struct OrderedItem {
    pub(crate) price: Value,
    pub(crate) quantity: Option<i64>,
    pub(crate) metadata: Value,
}

/// When full periods begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnchorChoice {
    At(DateTime<Utc>),
    Config(AnchorConfig),
}

/// How the first invoice is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPayment {
    /// On Checkout's page with a card that is known to be good for it.
    OnPage,
    /// Charged to the saved card; the subscription is `incomplete` if that fails.
    Attempt,
    /// As above, but a failure refuses the whole request.
    AttemptOrRefuse,
    /// Left open for the integration to confirm.
    Leave,
}

/// The first period and the anchor of an order.
pub(crate) struct Schedule {
    pub(crate) anchor: Anchor,
    pub(crate) end: DateTime<Utc>,
    /// The length of a whole period, when the first one is shorter.
    pub(crate) short_of: Option<i64>,
}

impl Order {
    /// # Errors
    /// When the items do not go together or the anchor lies too far off.
    pub(crate) fn schedule(&self) -> Result<Schedule, StripeError> {
        let interval = self.interval()?;
        let base = self.trial_end.unwrap_or(self.now);
        let anchor = match self.anchor {
            None => Anchor::at(base),
            Some(AnchorChoice::At(moment)) => checked_anchor(moment, base, interval)?,
            Some(AnchorChoice::Config(config)) => config
                .first_anchor(interval, base)
                .ok_or_else(|| misplaced("billing_cycle_anchor_config"))?,
        };
        let end = match self.trial_end {
            Some(trial_end) => trial_end,
            None => anchor.next_after(interval, self.now),
        };
        let whole_start = anchor.last_until(interval, self.now);
        let whole = (anchor.next_after(interval, self.now) - whole_start).num_seconds();
        let is_short = self.trial_end.is_none() && whole_start != self.now;
        Ok(Schedule {
            anchor,
            end,
            short_of: is_short.then_some(whole),
        })
    }

    /// Whether invoices are sent to be paid, instead of charged.
    pub(crate) fn is_sent(&self) -> bool {
        self.members
            .get("collection_method")
            .is_some_and(|method| method == "send_invoice")
    }

    fn interval(&self) -> Result<Interval, StripeError> {
        let mut intervals = self
            .items
            .iter()
            .map(|item| shape::interval_of(&item.price));
        let first = intervals
            .next()
            .flatten()
            .ok_or_else(|| StripeError::missing_param("items"))?;
        if intervals.all(|interval| interval == Some(first)) {
            return Ok(first);
        }
        let message = "The sandbox needs all prices of a subscription to have the same interval.";
        Err(StripeError::invalid(message).param("items"))
    }

    /// What is due at once, in minor units.
    pub(crate) fn due(&self, account: &Account) -> Result<i64, StripeError> {
        let portions = self.first_portions(&self.schedule()?);
        Ok(lines::total(account, &self.customer, &portions, self.now))
    }

    /// What the first invoice charges; item ids are left empty.
    pub(crate) fn first_portions(&self, schedule: &Schedule) -> Vec<Portion> {
        let mut portions = Vec::new();
        for item in &self.items {
            let metered = shape::is_metered(&item.price);
            let (now, start) = (self.now.timestamp(), self.start.timestamp());
            if start < now {
                let whole = schedule
                    .short_of
                    .unwrap_or((schedule.end - self.now).num_seconds());
                let basis = if metered { Basis::Usage } else { part(whole) };
                if metered || self.prorates {
                    portions.push(item.portion(basis, start, now));
                }
            }
            let basis = match (self.trial_end, schedule.short_of) {
                (_, _) if metered => None,
                (Some(_), _) => Some(Basis::Trial),
                (None, None) => Some(Basis::Fee),
                (None, Some(whole)) => self.prorates.then_some(part(whole)),
            };
            let end = schedule.end.timestamp();
            portions.extend(basis.map(|basis| item.portion(basis, now, end)));
        }
        portions
    }
}

fn part(whole_seconds: i64) -> Basis {
    Basis::Part {
        whole_seconds,
        change: false,
    }
}

impl OrderedItem {
    fn portion(&self, basis: Basis, start: i64, end: i64) -> Portion {
        Portion {
            item: String::new(),
            price: self.price["id"].as_str().unwrap_or_default().to_owned(),
            quantity: self.quantity.unwrap_or_default(),
            start,
            end,
            basis,
        }
    }
}

fn checked_anchor(
    moment: DateTime<Utc>,
    base: DateTime<Utc>,
    interval: Interval,
) -> Result<Anchor, StripeError> {
    let natural = Anchor::at(base).next_after(interval, base);
    if moment < base || moment > natural {
        return Err(misplaced("billing_cycle_anchor"));
    }
    Ok(Anchor::at(moment))
}

fn misplaced(param: &str) -> StripeError {
    let message = format!(
        "{param} must lie between the start and the next natural billing date of the subscription."
    );
    StripeError::invalid(message).param(param)
}
