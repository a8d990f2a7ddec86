//! Sessions of the customer portal, where a customer changes the card, finds invoices, and cancels
//! where the configuration allows it.

pub(crate) mod configurations;
pub(crate) mod page;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::times::moment;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;
use crate::sandbox::stripe::error::StripeError;

const KIND: &str = "billing_portal.session";
/// How long a session's address leads anywhere. Stripe's expires sooner while it is not opened.
const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// `POST /v1/billing_portal/sessions`.
pub(crate) fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let customer = call
        .text("customer")
        .ok_or_else(|| StripeError::missing_param("customer"))?;
    account.refer("customer", customer, "customer")?;
    let configuration = configurations::chosen(account, call.text("configuration"))?;
    let flow = flow(account, call, customer)?;
    let return_url = match call.param("return_url") {
        Some(url) => url.clone(),
        None => configuration["default_return_url"].clone(),
    };
    let id = account.new_id("bps");
    let session = json!({
        "id": id,
        "object": KIND,
        "configuration": configuration["id"],
        "created": account.now().timestamp(),
        "customer": customer,
        "customer_account": null,
        "flow": flow,
        "livemode": false,
        "locale": call.or_null("locale"),
        "on_behalf_of": null,
        "return_url": return_url,
        "url": format!("{}/p/session/{id}", account.addresses.stripe),
    });
    Ok(account.create("billing_portal.session.created", session))
}

/// The deep link into one thing that the portal can do.
fn flow(account: &Account, call: &Call, customer: &str) -> Result<Value, StripeError> {
    let Some(data) = call.object("flow_data") else {
        return Ok(Value::Null);
    };
    let mut flow = json!({
        "after_completion": {
            "hosted_confirmation": null, "redirect": null, "type": "portal_homepage",
        },
        "subscription_cancel": null,
        "subscription_update": null,
        "subscription_update_confirm": null,
        "type": data.get("type"),
    });
    for (name, value) in data {
        if let Some(members) = flow[name].as_object().cloned() {
            let mut merged = Value::Object(members);
            for (member, value) in value.as_object().into_iter().flatten() {
                merged[member] = value.clone();
            }
            flow[name] = merged;
        } else {
            flow[name] = value.clone();
        }
    }
    if let Some(subscription) = flow["subscription_cancel"]["subscription"].as_str() {
        let param = "flow_data[subscription_cancel][subscription]";
        let found = account.refer("subscription", subscription, param)?;
        if found["customer"] != customer {
            return Err(StripeError::missing_reference(
                "subscription",
                subscription,
                param,
            ));
        }
    }
    Ok(flow)
}

/// The session, if its address still leads somewhere at `now`.
fn running<'a>(account: &'a Account, id: &str, now: DateTime<Utc>) -> Option<&'a Value> {
    let session = account.find(KIND, id).ok()?;
    let created = moment(&session["created"])?;
    (now < created + LIFETIME).then_some(session)
}
