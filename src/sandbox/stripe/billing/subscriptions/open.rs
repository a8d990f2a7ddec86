//! A new subscription: it is kept, its first invoice is made, and that is paid.
//!
//! Source: <https://docs.stripe.com/billing/subscriptions/overview>. With flexible billing a
//! subscription that has nothing to charge up front, such as one of only metered prices, makes no
//! first invoice and is active at once.

use serde_json::Value;

use super::super::cards::Presence;
use super::super::invoices::draft::{self, Bill};
use super::super::invoices::lines::{self, Portion};
use super::super::invoices::{collect, finalize};
use super::super::payments;
use super::order::{FirstPayment, Order, Schedule};
use super::shape::{self, Opening};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::error::StripeError;

/// Opens the subscription, makes and charges its first invoice, and gives its id.
///
/// # Errors
/// When the order makes no sense, or a payment that had to succeed failed; nothing is kept then.
pub(crate) fn open(account: &mut Account, order: &Order) -> Result<String, StripeError> {
    let schedule = order.schedule()?;
    let mut portions = order.first_portions(&schedule);
    let due = lines::total(account, &order.customer, &portions, order.now);
    let is_charged = due > 0 && !order.is_sent();
    if is_charged {
        check_payment(account, order)?;
    }
    let status = match order.trial_end {
        Some(_) => "trialing",
        None if is_charged && order.first_payment != FirstPayment::OnPage => "incomplete",
        None => "active",
    };
    let id = keep(account, order, &schedule, status);
    if !portions.is_empty() {
        name_items(account, &id, order, &mut portions);
        first_invoice(account, order, &id, portions)?;
    }
    Ok(id)
}

/// The first invoice is finalized and charged at once; one that is only sent waits like any other.
fn first_invoice(
    account: &mut Account,
    order: &Order,
    id: &str,
    portions: Vec<Portion>,
) -> Result<(), StripeError> {
    let bill = Bill {
        subscription: id,
        billing_reason: "subscription_create",
        period: (order.start, order.now),
        portions,
        auto_advance: true,
    };
    let invoice = draft::open(account, &bill, order.now);
    if let Some(subscription) = account.get_mut(id) {
        subscription["latest_invoice"] = invoice.clone().into();
    }
    if order.is_sent() {
        return Ok(());
    }
    finalize::finalize(account, &invoice, order.now)?;
    pay_first(account, &invoice, order);
    Ok(())
}

/// With a payment that must not fail, or no card at all, nothing may be created.
fn check_payment(account: &Account, order: &Order) -> Result<(), StripeError> {
    let own = order
        .members
        .get("default_payment_method")
        .and_then(Value::as_str);
    let customer = account.get(&order.customer).cloned().unwrap_or_default();
    let default = customer["invoice_settings"]["default_payment_method"].as_str();
    let method = own.or(default);
    let attempts = match order.first_payment {
        FirstPayment::OnPage | FirstPayment::Leave => return Ok(()),
        FirstPayment::Attempt => false,
        FirstPayment::AttemptOrRefuse => true,
    };
    match method {
        None => Err(payments::Failure::NothingToCharge.error()),
        Some(method) if attempts => {
            payments::authorize(account, method, None).map_err(payments::Failure::error)
        }
        Some(_) => Ok(()),
    }
}

fn pay_first(account: &mut Account, invoice: &str, order: &Order) {
    let present = match order.first_payment {
        FirstPayment::Leave => return,
        FirstPayment::Attempt | FirstPayment::AttemptOrRefuse => None,
        FirstPayment::OnPage => Some(Presence::OnSession {
            authenticated: true,
        }),
    };
    collect::advance(account, invoice, present, order.now);
}

fn keep(account: &mut Account, order: &Order, schedule: &Schedule, status: &str) -> String {
    let id = account.new_id("sub");
    let items = order
        .items
        .iter()
        .map(|ordered| {
            let item_id = account.new_id_of_length("si", 14);
            let mut item = shape::item(&item_id, &id, &ordered.price, ordered.quantity, order.now);
            item["metadata"] = ordered.metadata.clone();
            item
        })
        .collect();
    let customer = account.get(&order.customer).cloned().unwrap_or_default();
    let currency = order
        .items
        .first()
        .map(|item| item.price["currency"].clone());
    let currency = currency.unwrap_or_default();
    let mut subscription = shape::subscription(Opening {
        id: &id,
        customer: &customer,
        currency: currency.as_str().unwrap_or_default(),
        now: order.now,
        start: order.start,
        anchor: schedule.anchor.at,
        status,
        trial_end: order.trial_end,
        items,
    });
    for (name, value) in &order.members {
        subscription[name] = value.clone();
    }
    shape::set_period(&mut subscription, order.now, schedule.end);
    account.create("customer.subscription.created", subscription);
    id
}

/// Portions are made before the items have ids; they come in the order of the items.
fn name_items(account: &Account, id: &str, order: &Order, portions: &mut [Portion]) {
    let subscription = account.get(id).cloned().unwrap_or_default();
    let named = order.items.iter().zip(shape::items(&subscription));
    for (ordered, item) in named {
        for portion in portions.iter_mut() {
            if ordered.price["id"] == portion.price {
                item["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut portion.item);
            }
        }
    }
}
