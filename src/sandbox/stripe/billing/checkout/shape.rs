//! A Checkout session and its line items in Stripe's wire shape.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::blank;
use crate::sandbox::stripe::call::Call;

/// Members of a new session that are null, or empty lists.
const UNSET: [&str; 29] = [
    "after_expiration",
    "billing_address_collection",
    "client_secret",
    "collected_information",
    "consent",
    "currency_conversion",
    "customer_account",
    "customer_creation",
    "integration_identifier",
    "invoice",
    "invoice_creation",
    "managed_payments",
    "optional_items",
    "origin_context",
    "payment_intent",
    "payment_link",
    "payment_method_configuration_details",
    "permissions",
    "recovered_from",
    "redirect_on_completion",
    "return_url",
    "setup_intent",
    "shipping_address_collection",
    "shipping_cost",
    "subscription",
    "submit_type",
    "wallet_options",
    "discounts",
    "presentment_details",
];
const EMPTY: [&str; 3] = [
    "custom_fields",
    "excluded_payment_method_types",
    "shipping_options",
];

/// What a session knows of itself besides its parameters.
pub(crate) struct Opening<'a> {
    pub(crate) id: &'a str,
    pub(crate) url: String,
    pub(crate) now: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) currency: Value,
    /// What is due on completion, in minor units.
    pub(crate) due: i64,
    pub(crate) customer_email: Value,
    pub(crate) line_items: Value,
}

pub(crate) fn session(opening: &Opening<'_>, call: &Call) -> Value {
    let given_or = |name: &str, otherwise: Value| match call.param(name) {
        Some(value) => value.clone(),
        None => otherwise,
    };
    let said = json!({
        "id": opening.id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": false},
        "allow_promotion_codes": call.or_null("allow_promotion_codes"),
        "allowed_payment_method_types": call.or_null("allowed_payment_method_types"),
        "amount_subtotal": opening.due,
        "amount_total": opening.due,
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "cancel_url": call.or_null("cancel_url"),
        "client_reference_id": call.or_null("client_reference_id"),
        "consent_collection": call.or_null("consent_collection"),
        "created": opening.now.timestamp(),
        "currency": opening.currency,
        "custom_text": custom_text(call),
        "customer": call.or_null("customer"),
        "customer_details": customer_details(&opening.customer_email, &Value::Null),
        "customer_email": call.or_null("customer_email"),
        "expires_at": opening.expires_at.timestamp(),
        "line_items": opening.line_items,
        "livemode": false,
        "locale": call.or_null("locale"),
        "metadata": {},
        "mode": "subscription",
        "payment_method_collection": given_or("payment_method_collection", "always".into()),
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": false},
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"], "payment_method_remove": "disabled",
            "payment_method_save": null,
        },
        "status": "open",
        "success_url": call.or_null("success_url"),
        "tax_id_collection": {"enabled": false, "required": "never"},
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": opening.url,
    });
    blank::object(said, &UNSET, &[], &EMPTY)
}

fn custom_text(call: &Call) -> Value {
    let mut text = json!({
        "after_submit": null, "shipping_address": null, "submit": null,
        "terms_of_service_acceptance": null,
    });
    for (name, value) in call.object("custom_text").into_iter().flatten() {
        text[name] = value.clone();
    }
    text
}

/// Who pays; null while nothing is known.
pub(crate) fn customer_details(email: &Value, name: &Value) -> Value {
    if email.is_null() {
        return Value::Null;
    }
    json!({
        "address": null, "business_name": null, "email": email, "individual_name": null,
        "name": name, "phone": null, "tax_exempt": "none", "tax_ids": [],
    })
}

/// A line of the session: a price, how many, and what of it is due on completion.
pub(crate) fn line_item(
    id: &str,
    price: &Value,
    quantity: Option<i64>,
    description: &str,
    due: i64,
) -> Value {
    json!({
        "id": id,
        "object": "item",
        "adjustable_quantity": null,
        "amount_discount": 0,
        "amount_subtotal": due,
        "amount_tax": 0,
        "amount_total": due,
        "currency": price["currency"],
        "description": description,
        "metadata": {},
        "price": price,
        "quantity": quantity,
    })
}
