//! Configurations of the customer portal: what a customer may do there.
//!
//! Source: <https://docs.stripe.com/api/customer_portal/configurations>. Stripe's dashboard saves a
//! default configuration; the sandbox has none to click on, so it comes into being when it is
//! first needed: card update and invoice history on, cancellation off.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::changes;
use crate::sandbox::stripe::error::StripeError;
use crate::sandbox::stripe::list;

const KIND: &str = "billing_portal.configuration";

pub(crate) fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let now = account.now();
    let mut configuration = blank(account, now);
    configuration["metadata"] = changes::new_metadata(call.param("metadata"))?;
    set_given(&mut configuration, call);
    Ok(account.create("billing_portal.configuration.created", configuration))
}

pub(crate) fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

pub(crate) fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let mut metadata = account.find(KIND, call.id())?["metadata"].clone();
    changes::update_metadata(&mut metadata, call.param("metadata"))?;
    let now = account.now();
    let event = "billing_portal.configuration.updated";
    Ok(account.update(call.id(), event, |configuration| {
        configuration["metadata"] = metadata;
        configuration["updated"] = now.timestamp().into();
        set_given(configuration, call);
    }))
}

pub(crate) fn list(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    list::page(account, call, KIND, |configuration| {
        let fits = |name: &str| {
            call.flag(name)
                .is_none_or(|wanted| configuration[name] == wanted)
        };
        fits("active") && fits("is_default")
    })
}

/// The configuration that a session asked for, or the default one.
pub(crate) fn chosen(account: &mut Account, id: Option<&str>) -> Result<Value, StripeError> {
    if let Some(id) = id {
        let configuration = account.refer(KIND, id, "configuration")?;
        if configuration["active"] != true {
            let message = format!("The configuration {id} is not active.");
            return Err(StripeError::invalid(message).param("configuration"));
        }
        return Ok(configuration.clone());
    }
    if let Some(default) = account.all(KIND).find(|it| it["is_default"] == true) {
        return Ok(default.clone());
    }
    let now = account.now();
    let mut default = blank(account, now);
    default["is_default"] = true.into();
    for feature in ["invoice_history", "payment_method_update"] {
        default["features"][feature]["enabled"] = true.into();
    }
    account.insert(default.clone());
    Ok(default)
}

fn set_given(configuration: &mut Value, call: &Call) {
    for name in ["active", "default_return_url", "name"] {
        if let Some(value) = call.param(name) {
            configuration[name] = value.clone();
        }
    }
    for (name, value) in call.object("business_profile").into_iter().flatten() {
        configuration["business_profile"][name] = value.clone();
    }
    for (feature, settings) in call.object("features").into_iter().flatten() {
        for (name, value) in settings.as_object().into_iter().flatten() {
            configuration["features"][feature][name] = value.clone();
        }
    }
    if let Some(enabled) = call
        .object("login_page")
        .and_then(|page| page.get("enabled"))
    {
        configuration["login_page"]["enabled"] = enabled.clone();
    }
}

fn blank(account: &mut Account, now: DateTime<Utc>) -> Value {
    json!({
        "id": account.new_id("bpc"),
        "object": KIND,
        "active": true,
        "application": null,
        "business_profile": {
            "headline": null, "privacy_policy_url": null, "terms_of_service_url": null,
        },
        "created": now.timestamp(),
        "default_return_url": null,
        "features": {
            "customer_update": {"allowed_updates": [], "enabled": false},
            "invoice_history": {"enabled": false},
            "payment_method_update": {"enabled": false, "payment_method_configuration": null},
            "subscription_cancel": {
                "cancellation_reason": {"enabled": false, "options": []},
                "enabled": false,
                "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_update": {
                "billing_cycle_anchor": null,
                "default_allowed_updates": [],
                "enabled": false,
                "products": [],
                "proration_behavior": "none",
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": false,
        "livemode": false,
        "login_page": {"enabled": false, "url": null},
        "metadata": {},
        "name": null,
        "updated": now.timestamp(),
    })
}
