//! Drafts: how an invoice comes to be, and what it counts until it is finalized.
//!
//! Source: <https://docs.stripe.com/billing/subscriptions/webhooks>. A draft that is to advance by
//! itself is finalized an hour after every listening endpoint took `invoice.created` (an hour
//! after its creation when none listens), after 72 hours when one never does, or at the moment
//! that `automatically_finalizes_at` was set to.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::times::moment;
use super::lines::{self, Portion};
use super::shape::{self, Opening};
use crate::sandbox::stripe::account::Account;

const DELAY: TimeDelta = TimeDelta::hours(1);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(72);

/// What a new invoice of a subscription is for.
pub(crate) struct Bill<'a> {
    pub(crate) subscription: &'a str,
    pub(crate) billing_reason: &'a str,
    /// What the invoice looks back on.
    pub(crate) period: (DateTime<Utc>, DateTime<Utc>),
    pub(crate) portions: Vec<Portion>,
    /// Whether it finalizes and is charged by itself.
    pub(crate) auto_advance: bool,
}

/// Keeps a new draft, emits `invoice.created` and gives the invoice's id.
pub(crate) fn open(account: &mut Account, bill: &Bill<'_>, now: DateTime<Utc>) -> String {
    let mut invoice = compose(account, bill, now);
    let id = invoice["id"].as_str().unwrap_or_default().to_owned();
    if bill.auto_advance {
        invoice["automatically_finalizes_at"] = (now + DELAY).timestamp().into();
    }
    account.insert(invoice.clone());
    let event = account.emit("invoice.created", &invoice, None);
    if let Some(invoice) = account.get_mut(&id) {
        invoice["_created_event"] = event.into();
    }
    id
}

/// The draft as an object that is not kept.
pub(crate) fn compose(account: &mut Account, bill: &Bill<'_>, now: DateTime<Utc>) -> Value {
    let subscription = account.get(bill.subscription).cloned().unwrap_or_default();
    let customer = subscription["customer"]
        .as_str()
        .and_then(|customer| account.get(customer))
        .cloned()
        .unwrap_or_default();
    let id = account.new_id("in");
    let mut invoice = shape::draft(&Opening {
        id: &id,
        customer: &customer,
        subscription: &subscription,
        billing_reason: bill.billing_reason,
        now,
        period: bill.period,
    });
    invoice["auto_advance"] = bill.auto_advance.into();
    invoice["_days_until_due"] = subscription["days_until_due"].clone();
    invoice["_portions"] = json!(bill.portions);
    fill(account, &mut invoice, &bill.portions, now);
    invoice
}

/// Counts the usage of a draft anew because somebody looks at it, unless drafts stand still.
pub(crate) fn follow_meter(account: &mut Account, id: &str, now: DateTime<Utc>) {
    if !account.books.usage.drafts_stand_still {
        refresh(account, id, now);
    }
}

/// Counts the usage of a draft anew. Nothing happens to an invoice that is no longer a draft.
pub(crate) fn refresh(account: &mut Account, id: &str, now: DateTime<Utc>) {
    let Some(mut invoice) = account
        .get(id)
        .filter(|it| it["status"] == "draft")
        .cloned()
    else {
        return;
    };
    let portions: Vec<Portion> =
        serde_json::from_value(invoice["_portions"].clone()).unwrap_or_default();
    fill(account, &mut invoice, &portions, now);
    account.insert(invoice);
}

fn fill(account: &mut Account, invoice: &mut Value, portions: &[Portion], now: DateTime<Utc>) {
    let lines = lines::build(account, invoice, portions, now);
    invoice["lines"]["total_count"] = lines.len().into();
    invoice["lines"]["data"] = lines.into();
    shape::total_up(invoice);
}

/// When a draft finalizes by itself; `None` when it does not.
pub(crate) fn finalizes_at(invoice: &Value) -> Option<DateTime<Utc>> {
    if invoice["status"] != "draft" || invoice["auto_advance"] != true {
        return None;
    }
    let planned = moment(&invoice["automatically_finalizes_at"])?;
    let was_chosen = invoice["_finalization_chosen"] == true;
    if was_chosen || !invoice["webhooks_delivered_at"].is_null() {
        return Some(planned);
    }
    moment(&invoice["created"]).map(|created| created + LONGEST_WAIT)
}

/// Takes note of the drafts whose `invoice.created` every endpoint has taken by now. With a test
/// clock nothing waits for deliveries, which belong to the world's time.
pub(crate) fn note_deliveries(account: &mut Account) {
    let waiting: Vec<(String, DateTime<Utc>)> = account
        .all("invoice")
        .filter(|invoice| {
            invoice["status"] == "draft" && invoice["webhooks_delivered_at"].is_null()
        })
        .filter_map(|invoice| {
            let delivered = if invoice["test_clock"].is_null() {
                account
                    .books
                    .deliveries
                    .settled_at(invoice["_created_event"].as_str()?)
            } else {
                moment(&invoice["created"])
            };
            Some((invoice["id"].as_str()?.to_owned(), delivered?))
        })
        .collect();
    for (id, delivered) in waiting {
        let Some(invoice) = account.get_mut(&id) else {
            continue;
        };
        invoice["webhooks_delivered_at"] = delivered.timestamp().into();
        if invoice["auto_advance"] == true && invoice["_finalization_chosen"] != true {
            invoice["automatically_finalizes_at"] = (delivered + DELAY).timestamp().into();
        }
    }
}
