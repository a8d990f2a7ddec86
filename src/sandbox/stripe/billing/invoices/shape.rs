//! An invoice and its lines in Stripe's wire shape.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::blank;

/// Members of a new draft that are null, zero, or empty lists.
const UNSET: [&str; 27] = [
    "account_tax_ids",
    "application",
    "automatically_finalizes_at",
    "confirmation_secret",
    "custom_fields",
    "customer_account",
    "default_payment_method",
    "default_source",
    "due_date",
    "effective_at",
    "ending_balance",
    "footer",
    "from_invoice",
    "hosted_invoice_url",
    "invoice_pdf",
    "last_finalization_error",
    "latest_revision",
    "next_payment_attempt",
    "number",
    "on_behalf_of",
    "receipt_number",
    "rendering",
    "shipping_cost",
    "shipping_details",
    "statement_descriptor",
    "status_details",
    "webhooks_delivered_at",
];
const ZERO: [&str; 13] = [
    "amount_due",
    "amount_overpaid",
    "amount_paid",
    "amount_paid_off_stripe",
    "amount_remaining",
    "amount_shipping",
    "attempt_count",
    "post_payment_credit_notes_amount",
    "pre_payment_credit_notes_amount",
    "subtotal",
    "subtotal_excluding_tax",
    "total",
    "total_excluding_tax",
];
const EMPTY: [&str; 6] = [
    "customer_tax_ids",
    "default_tax_rates",
    "discounts",
    "total_discount_amounts",
    "total_pretax_credit_amounts",
    "total_taxes",
];

/// What a new draft starts out with; everything else is null, empty, zero or off.
pub(crate) struct Opening<'a> {
    pub(crate) id: &'a str,
    pub(crate) customer: &'a Value,
    pub(crate) subscription: &'a Value,
    pub(crate) billing_reason: &'a str,
    pub(crate) now: DateTime<Utc>,
    /// What the invoice looks back on.
    pub(crate) period: (DateTime<Utc>, DateTime<Utc>),
}

pub(crate) fn draft(opening: &Opening<'_>) -> Value {
    let customer = opening.customer;
    let subscription = opening.subscription;
    let said = json!({
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "attempted": false,
        "auto_advance": true,
        "automatic_tax": {
            "disabled_reason": null, "enabled": false, "liability": null, "provider": null,
            "status": null,
        },
        "customer_tax_exempt": "none",
        "issuer": {"type": "self"},
        "livemode": false,
        "metadata": {},
        "payment_settings": {
            "default_mandate": null,
            "payment_method_options": null,
            "payment_method_types": null,
        },
        "status": "draft",
        "status_transitions": {
            "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null,
            "voided_at": null,
        },
        "id": opening.id,
        "billing_reason": opening.billing_reason,
        "collection_method": subscription["collection_method"],
        "created": opening.now.timestamp(),
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "description": subscription["description"],
        "lines": {
            "object": "list", "data": [], "has_more": false, "total_count": 0,
            "url": format!("/v1/invoices/{}/lines", opening.id),
        },
        "parent": {
            "quote_details": null,
            "subscription_details": {
                "metadata": subscription["metadata"],
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payments": {
            "object": "list", "data": [], "has_more": false, "total_count": 0,
            "url": format!("/v1/invoice_payments?invoice={}", opening.id),
        },
        "period_end": opening.period.1.timestamp(),
        "period_start": opening.period.0.timestamp(),
        "starting_balance": customer["balance"].as_i64().unwrap_or_default(),
        "test_clock": customer["test_clock"],
    });
    blank::object(said, &UNSET, &ZERO, &EMPTY)
}

/// The payment of an invoice by a payment intent.
pub(crate) fn payment(id: &str, invoice: &Value, intent: &str, now: DateTime<Utc>) -> Value {
    json!({
        "id": id,
        "object": "invoice_payment",
        "amount_paid": null,
        "amount_requested": invoice["amount_due"],
        "created": now.timestamp(),
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": true,
        "livemode": false,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": null, "paid_at": null},
    })
}

/// Adds up the lines and works out what is due while the invoice is a draft.
pub(crate) fn total_up(invoice: &mut Value) {
    let lines = invoice["lines"]["data"].as_array();
    let total: i64 = lines
        .into_iter()
        .flatten()
        .filter_map(|line| line["amount"].as_i64())
        .fold(0, i64::saturating_add);
    let balance = invoice["starting_balance"].as_i64().unwrap_or_default();
    let due = total.saturating_add(balance).max(0);
    for member in [
        "subtotal",
        "subtotal_excluding_tax",
        "total",
        "total_excluding_tax",
    ] {
        invoice[member] = total.into();
    }
    for member in ["amount_due", "amount_remaining"] {
        invoice[member] = due.into();
    }
}

/// The subscription that an invoice belongs to.
pub(crate) fn subscription_of(invoice: &Value) -> Option<&str> {
    invoice["parent"]["subscription_details"]["subscription"].as_str()
}
