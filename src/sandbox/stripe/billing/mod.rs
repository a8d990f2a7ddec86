//! Billing: subscriptions, invoices, payments, and the pages on which consumers pay.
//!
//! | module | what it does |
//! |---|---|
//! | [`amounts`], [`periods`], [`cards`] | pure: tier arithmetic, billing periods, test cards |
//! | [`subscriptions`] | opening, changing, turning and ending them; what payments do to their status |
//! | [`invoices`] | drafts, lines, finalization, collection and retries, previews |
//! | [`payments`], [`payment_methods`] | payments with saved cards |
//! | [`charges`] | what was paid, and its refunds and disputes |
//! | [`checkout`], [`portal_sessions`] | sessions and their hosted pages |
//! | [`agenda`] | what falls due by itself |
//!
//! Billing is that of `billing_mode` flexible. Not emulated: taxes, discounts, one-time items,
//! several intervals on one subscription, subscription schedules, credit notes.

pub(crate) mod agenda;
pub(crate) mod amounts;
pub(crate) mod blank;
pub(crate) mod cards;
pub(crate) mod charges;
pub(crate) mod checkout;
pub(crate) mod invoices;
pub(crate) mod pages;
pub(crate) mod payment_methods;
pub(crate) mod payments;
pub(crate) mod periods;
pub(crate) mod portal_sessions;
pub(crate) mod prices_in_words;
pub(crate) mod subscriptions;
pub(crate) mod times;

#[cfg(test)]
mod tests;

use axum::Router;
use serde::{Deserialize, Serialize};

use super::Stripe;
use super::account::Account;
use super::call::{Operation, operations};
use super::error::StripeError;
pub(crate) use agenda::{next_due, run_due};
pub use subscriptions::standing::AfterRetries;

/// Settings of the account that Stripe keeps in its dashboard.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Billing {
    /// What becomes of a subscription when the last retry of an invoice failed.
    pub(crate) after_retries: AfterRetries,
}

impl Stripe {
    /// Sets what becomes of a subscription when the last retry of an invoice failed.
    pub fn set_after_retries(&self, after_retries: AfterRetries) {
        self.account().books.billing.after_retries = after_retries;
    }
}

/// The rows of the dispatch table that belong to billing.
pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/subscriptions" => subscriptions::create::create,
    "GET /v1/subscriptions" => subscriptions::list,
    "GET /v1/subscriptions/{subscription}" => subscriptions::retrieve,
    "POST /v1/subscriptions/{subscription}" => subscriptions::update::update,
    "DELETE /v1/subscriptions/{subscription}" => subscriptions::cancel::cancel,
    "POST /v1/subscriptions/{subscription}/pause" => subscriptions::pause::pause_on_request,
    "POST /v1/subscriptions/{subscription}/resume" => subscriptions::pause::resume,
    "GET /v1/subscription_items" => subscriptions::list_items,
    "GET /v1/invoices" => invoices::list,
    "GET /v1/invoices/{invoice}" => invoices::retrieve,
    "POST /v1/invoices/{invoice}" => invoices::update,
    "GET /v1/invoices/{invoice}/lines" => invoices::lines,
    "POST /v1/invoices/{invoice}/finalize" => invoices::finalize,
    "POST /v1/invoices/{invoice}/pay" => invoices::pay,
    "POST /v1/invoices/{invoice}/void" => invoices::void,
    "POST /v1/invoices/{invoice}/mark_uncollectible" => invoices::mark_uncollectible,
    "POST /v1/invoices/create_preview" => invoices::preview::create_preview,
    "POST /v1/checkout/sessions" => checkout::create::create,
    "GET /v1/checkout/sessions" => checkout::list,
    "GET /v1/checkout/sessions/{session}" => checkout::retrieve,
    "POST /v1/checkout/sessions/{session}" => checkout::update,
    "POST /v1/checkout/sessions/{session}/expire" => checkout::expire,
    "GET /v1/checkout/sessions/{session}/line_items" => checkout::line_items,
    "POST /v1/billing_portal/configurations" => portal_sessions::configurations::create,
    "GET /v1/billing_portal/configurations" => portal_sessions::configurations::list,
    "GET /v1/billing_portal/configurations/{configuration}" =>
        portal_sessions::configurations::retrieve,
    "POST /v1/billing_portal/configurations/{configuration}" =>
        portal_sessions::configurations::update,
    "POST /v1/billing_portal/sessions" => portal_sessions::create,
    "GET /v1/invoice_payments" => invoices::list_payments,
    "GET /v1/charges" => charges::list,
    "GET /v1/charges/{charge}" => charges::retrieve,
    "GET /v1/refunds" => charges::list_refunds,
    "POST /v1/refunds" => charges::create_refund,
    "GET /v1/refunds/{refund}" => charges::retrieve_refund,
    "GET /v1/disputes" => charges::list_disputes,
    "GET /v1/disputes/{dispute}" => charges::retrieve_dispute,
    "POST /v1/disputes/{dispute}" => charges::update_dispute,
    "POST /v1/disputes/{dispute}/close" => charges::close_dispute,
    "GET /v1/customers/{customer}/payment_methods" => payment_methods::list_of_customer,
    "GET /v1/customers/{customer}/payment_methods/{payment_method}" =>
        payment_methods::retrieve_of_customer,
    "GET /v1/payment_methods" => payment_methods::list,
    "GET /v1/payment_methods/{payment_method}" => payment_methods::retrieve,
    "POST /v1/payment_methods/{payment_method}" => payment_methods::update,
    "POST /v1/payment_methods/{payment_method}/attach" => payment_methods::attach,
    "POST /v1/payment_methods/{payment_method}/detach" => payment_methods::detach,
};

/// The pages that Stripe hosts: checkout, invoices, customer portal.
pub(crate) fn pages(stripe: &Stripe) -> Router {
    checkout::page::routes(stripe)
        .merge(invoices::page::routes(stripe))
        .merge(portal_sessions::page::routes(stripe))
}

/// Attaches a payment method to a customer, as creating a customer with one does.
pub(crate) fn attach_payment_method(
    account: &mut Account,
    method: &str,
    customer: &str,
) -> Result<(), StripeError> {
    payment_methods::attach_to(account, method, customer)?;
    Ok(())
}

/// What the deletion of a customer ends: its subscriptions, at once and without a last invoice.
pub(crate) fn customer_deleted(account: &mut Account, customer: &str) {
    let now = account.now_for(customer);
    let running: Vec<String> = account
        .all("subscription")
        .filter(|it| it["customer"] == customer && !subscriptions::shape::has_ended(it))
        .filter_map(|it| it["id"].as_str().map(str::to_owned))
        .collect();
    for id in running {
        subscriptions::cancel::at_once(account, &id, now);
    }
}
