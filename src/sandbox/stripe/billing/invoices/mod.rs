//! Invoices: the operations of the API. How they come to be is in [`draft`], what they charge in
//! [`mod@lines`], and what happens to them in [`mod@finalize`], [`collect`] and [`writeoff`].

pub(crate) mod collect;
pub(crate) mod draft;
pub(crate) mod finalize;
pub(crate) mod lines;
pub(crate) mod page;
mod pdf;
pub(crate) mod preview;
pub(crate) mod shape;
pub(crate) mod writeoff;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::payment_methods;
use super::payments;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

/// How far ahead `automatically_finalizes_at` may lie.
const LATEST_FINALIZATION: TimeDelta = TimeDelta::days(5 * 365);
/// The parameters of an update that may be changed only while the invoice is a draft.
const ONLY_ON_DRAFTS: [&str; 3] = [
    "automatically_finalizes_at",
    "collection_method",
    "description",
];

pub(crate) fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = time_of(account, call.id())?;
    draft::follow_meter(account, call.id(), now);
    account.find("invoice", call.id()).cloned()
}

pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    refresh_drafts(account);
    list::page(account, call, "invoice", |invoice| {
        let fits =
            |name: &str, value: &Value| call.text(name).is_none_or(|wanted| *value == *wanted);
        fits("customer", &invoice["customer"])
            && fits("status", &invoice["status"])
            && fits("collection_method", &invoice["collection_method"])
            && call
                .text("subscription")
                .is_none_or(|wanted| shape::subscription_of(invoice) == Some(wanted))
    })
}

pub(crate) fn lines(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let invoice = retrieve(account, call)?;
    let lines = invoice["lines"]["data"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list::page_of(lines, call)
}

/// `GET /v1/invoice_payments`: which invoices payments were for.
pub(crate) fn list_payments(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let intent = call
        .object("payment")
        .and_then(|it| it.get("payment_intent"));
    let payments = account
        .all("invoice")
        .rev()
        .filter_map(|invoice| invoice["payments"]["data"].as_array())
        .flatten()
        .filter(|payment| {
            let fits = |name: &str| call.text(name).is_none_or(|wanted| payment[name] == wanted);
            fits("invoice")
                && fits("status")
                && intent.is_none_or(|wanted| payment["payment"]["payment_intent"] == *wanted)
        });
    let payments = payments.cloned().collect();
    list::page_of(payments, call)
}

/// `POST /v1/invoices/{invoice}`.
pub(crate) fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = time_of(account, call.id())?;
    let invoice = account.find("invoice", call.id())?.clone();
    let given = ONLY_ON_DRAFTS
        .iter()
        .find(|name| call.param(name).is_some());
    if let Some(name) = given.filter(|_| invoice["status"] != "draft") {
        let message = "Finalized invoices can't be updated in this way";
        return Err(StripeError::invalid(message)
            .code("invoice_not_editable")
            .param(name));
    }
    let auto_advance = call
        .flag("auto_advance")
        .unwrap_or(invoice["auto_advance"] == true);
    let chosen = chosen_finalization(call, auto_advance, now)?;
    let mut metadata = invoice["metadata"].clone();
    changes::update_metadata(&mut metadata, call.param("metadata"))?;
    let method = default_payment_method(account, call, &invoice)?;
    Ok(account.update(call.id(), "invoice.updated", |invoice| {
        invoice["metadata"] = metadata;
        if let Some(method) = method {
            invoice["default_payment_method"] = method.into();
        }
        for name in ["description", "footer", "collection_method"] {
            if let Some(value) = call.param(name) {
                invoice[name] = value.clone();
            }
        }
        set_advance(invoice, auto_advance, chosen, now);
    }))
}

fn chosen_finalization(
    call: &Call,
    auto_advance: bool,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StripeError> {
    const PARAM: &str = "automatically_finalizes_at";
    let Some(chosen) = call.time(PARAM) else {
        return Ok(None);
    };
    let complaint = if !auto_advance {
        "automatically_finalizes_at can be set only when auto_advance is true."
    } else if chosen <= now {
        "automatically_finalizes_at must be in the future."
    } else if chosen > now + LATEST_FINALIZATION {
        "automatically_finalizes_at can't be more than five years in the future."
    } else {
        return Ok(Some(chosen));
    };
    Err(StripeError::invalid(complaint).param(PARAM))
}

/// A draft that is to advance has a moment for it; one that is not has none.
fn set_advance(
    invoice: &mut Value,
    auto_advance: bool,
    chosen: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) {
    invoice["auto_advance"] = auto_advance.into();
    if invoice["status"] != "draft" {
        return;
    }
    let planned = &invoice["automatically_finalizes_at"];
    let moment = match chosen {
        Some(chosen) => chosen.timestamp().into(),
        None if !auto_advance => Value::Null,
        None if planned.is_null() => (now + TimeDelta::hours(1)).timestamp().into(),
        None => planned.clone(),
    };
    invoice["automatically_finalizes_at"] = moment;
    if chosen.is_some() {
        invoice["_finalization_chosen"] = true.into();
    }
}

fn default_payment_method(
    account: &mut Account,
    call: &Call,
    invoice: &Value,
) -> Result<Option<String>, StripeError> {
    const PARAM: &str = "default_payment_method";
    let customer = invoice["customer"].as_str().unwrap_or_default();
    call.text(PARAM)
        .map(|method| payment_methods::resolve(account, customer, method, PARAM))
        .transpose()
}

/// `POST /v1/invoices/{invoice}/finalize`.
pub(crate) fn finalize(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = time_of(account, call.id())?;
    finalize::finalize(account, call.id(), now)?;
    if let (Some(advance), Some(invoice)) = (call.flag("auto_advance"), account.get_mut(call.id()))
    {
        invoice["auto_advance"] = (advance && invoice["status"] == "open").into();
    }
    collect::advance(account, call.id(), None, now);
    account.find("invoice", call.id()).cloned()
}

/// `POST /v1/invoices/{invoice}/pay`; a draft is finalized first.
pub(crate) fn pay(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = time_of(account, call.id())?;
    let invoice = account.find("invoice", call.id())?.clone();
    match invoice["status"].as_str() {
        Some("draft") => finalize::finalize(account, call.id(), now)?,
        Some("open" | "uncollectible") => {}
        Some("paid") => {
            return Err(
                StripeError::invalid("Invoice is already paid").code("invoice_already_paid")
            );
        }
        _ => return Err(StripeError::invalid("This invoice can no longer be paid")),
    }
    let invoice = account.find("invoice", call.id())?.clone();
    if call.flag("paid_out_of_band") == Some(true) {
        collect::mark_paid(account, call.id(), now);
    } else if invoice["status"] != "paid" {
        let customer = invoice["customer"].as_str().unwrap_or_default();
        let method = match call.text("payment_method") {
            Some(given) => Some(payment_methods::resolve(
                account,
                customer,
                given,
                "payment_method",
            )?),
            None => payments::method_for(account, &invoice),
        };
        collect::attempt(account, call.id(), method.as_deref(), None, now)
            .map_err(payments::Failure::error)?;
    }
    account.find("invoice", call.id()).cloned()
}

pub(crate) fn void(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = require_unpaid(account, call.id(), "void")?;
    writeoff::void(account, call.id(), now);
    account.find("invoice", call.id()).cloned()
}

pub(crate) fn mark_uncollectible(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = require_unpaid(account, call.id(), "mark as uncollectible")?;
    writeoff::mark_uncollectible(account, call.id(), now);
    account.find("invoice", call.id()).cloned()
}

fn require_unpaid(account: &Account, id: &str, what: &str) -> Result<DateTime<Utc>, StripeError> {
    let now = time_of(account, id)?;
    let status = account.find("invoice", id)?["status"]
        .as_str()
        .unwrap_or_default();
    if matches!(status, "open" | "uncollectible") {
        return Ok(now);
    }
    let message = format!("You can only {what} an open invoice; this one is {status}.");
    Err(StripeError::invalid(message))
}

/// The time that holds for the invoice's customer.
fn time_of(account: &Account, id: &str) -> Result<DateTime<Utc>, StripeError> {
    let invoice = account.find("invoice", id)?;
    Ok(account.now_for(invoice["customer"].as_str().unwrap_or_default()))
}

fn refresh_drafts(account: &mut Account) {
    let drafts: Vec<(String, String)> = account
        .all("invoice")
        .filter(|invoice| invoice["status"] == "draft")
        .filter_map(|invoice| {
            let id = invoice["id"].as_str()?.to_owned();
            Some((id, invoice["customer"].as_str()?.to_owned()))
        })
        .collect();
    for (id, customer) in drafts {
        let now = account.now_for(&customer);
        draft::follow_meter(account, &id, now);
    }
}
