//! Webhook endpoints, <https://docs.stripe.com/api/webhook_endpoints>.
//!
//! The signing secrets stand in the private member `_secrets`, the newest first: while a secret is
//! rolled, deliveries carry one signature for each.

use serde_json::{Value, json};

use super::account::Account;
use super::call::{Call, Operation, operations};
use super::changes::{new_metadata, update_metadata};
use super::error::StripeError;
use super::list;

const KIND: &str = "webhook_endpoint";
/// The most endpoints that an account may have.
const MOST_ENDPOINTS: usize = 16;

pub(crate) const OPERATIONS: &[Operation] = operations! {
    "POST /v1/webhook_endpoints" => create,
    "GET /v1/webhook_endpoints" => all,
    "GET /v1/webhook_endpoints/{endpoint}" => retrieve,
    "POST /v1/webhook_endpoints/{endpoint}" => update,
    "DELETE /v1/webhook_endpoints/{endpoint}" => delete,
};

/// Only this answer shows the `secret`.
fn create(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    check(call)?;
    if account.all(KIND).count() >= MOST_ENDPOINTS {
        let message =
            format!("You have reached the maximum of {MOST_ENDPOINTS} webhook endpoints.");
        return Err(StripeError::invalid(message));
    }
    let secret = account.new_id_of_length("whsec", 32);
    let mut endpoint = json!({
        "id": account.new_id("we"),
        "object": KIND,
        "api_version": call.or_null("api_version"),
        "application": null,
        "created": account.now().timestamp(),
        "description": call.or_null("description"),
        "enabled_events": call.or_null("enabled_events"),
        "livemode": false,
        "metadata": new_metadata(call.param("metadata"))?,
        "status": "enabled",
        "url": call.or_null("url"),
        "_secrets": [secret],
    });
    account.insert(endpoint.clone());
    endpoint["secret"] = secret.into();
    Ok(endpoint)
}

fn check(call: &Call) -> Result<(), StripeError> {
    if let Some(url) = call.text("url")
        && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        return Err(StripeError::invalid(format!("Invalid URL: {url}"))
            .code("url_invalid")
            .param("url"));
    }
    if call.param("enabled_events").is_some() && call.list("enabled_events").is_empty() {
        return Err(StripeError::missing_param("enabled_events"));
    }
    match call.text("api_version") {
        Some(version) if !is_version(version) => {
            let message = format!("Invalid API version: {version}");
            Err(StripeError::invalid(message).param("api_version"))
        }
        _ => Ok(()),
    }
}

/// `2026-09-30.endive`, or a bare date as before 2024-09-30.
pub(crate) fn is_version(text: &str) -> bool {
    let (date, family) = text.split_once('.').unwrap_or((text, "x"));
    chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok()
        && !family.is_empty()
        && family.chars().all(|letter| letter.is_ascii_lowercase())
}

fn all(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    list::page(account, call, KIND, |_| true)
}

fn retrieve(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id()).cloned()
}

fn update(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    let mut endpoint = account.find(KIND, call.id())?.clone();
    check(call)?;
    update_metadata(&mut endpoint["metadata"], call.param("metadata"))?;
    for name in ["description", "enabled_events", "url"] {
        if let Some(value) = call.param(name) {
            endpoint[name] = value.clone();
        }
    }
    if let Some(disabled) = call.flag("disabled") {
        endpoint["status"] = if disabled { "disabled" } else { "enabled" }.into();
    }
    account.insert(endpoint.clone());
    Ok(endpoint)
}

fn delete(account: &mut Account, call: &Call) -> Result<Value, StripeError> {
    account.find(KIND, call.id())?;
    account.remove(call.id());
    Ok(json!({ "id": call.id(), "object": KIND, "deleted": true }))
}

/// Gives the endpoint a new secret; the old ones go on to sign. Stripe's Dashboard does this.
pub(crate) fn roll_secret(account: &mut Account, id: &str) -> Option<String> {
    let secret = account.new_id_of_length("whsec", 32);
    let secrets = account.get_mut(id)?["_secrets"].as_array_mut()?;
    secrets.insert(0, secret.clone().into());
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn a_version_is_a_date_and_perhaps_a_family() {
        assert!(is_version("2026-09-30.endive"));
        assert!(is_version("2024-06-20"));
        assert!(!is_version("endive"));
        assert!(!is_version("2026-13-30.endive"));
        assert!(!is_version("2026-09-30."));
    }
}
