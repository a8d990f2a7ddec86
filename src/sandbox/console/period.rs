//! When a billing period ends and when its bill is done, read from Stripe's objects.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// The earliest end of a period of all `subscriptions` that run, test clocks aside.
pub fn next_end<'a>(subscriptions: impl Iterator<Item = &'a Value>) -> Option<DateTime<Utc>> {
    subscriptions
        .filter(|subscription| {
            matches!(
                subscription["status"].as_str(),
                Some("active" | "trialing" | "past_due")
            )
        })
        .filter(|subscription| subscription["test_clock"].is_null())
        .filter_map(period_end)
        .min()
}

/// The period belongs to the items since API version 2025-03-31; all of ours share one.
fn period_end(subscription: &Value) -> Option<DateTime<Utc>> {
    let items = subscription["items"]["data"].as_array()?;
    let end = items
        .iter()
        .filter_map(|item| item["current_period_end"].as_i64())
        .min()?;
    DateTime::from_timestamp(end, 0)
}

/// Whether none of the invoices made at `since` or later still waits: each was paid, given up, or
/// its payment was tried.
pub fn is_billed<'a>(invoices: impl Iterator<Item = &'a Value>, since: DateTime<Utc>) -> bool {
    let mut recent = invoices.filter(|invoice| {
        let created = invoice["created"].as_i64().unwrap_or_default();
        created >= since.timestamp() && invoice["test_clock"].is_null()
    });
    recent.all(|invoice| match invoice["status"].as_str() {
        Some("draft") => false,
        Some("open") => invoice["attempted"] == true,
        Some(_) | None => true,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::{is_billed, next_end};

    fn subscription(status: &str, end: i64) -> Value {
        let items = json!({ "data": [{ "current_period_end": end }] });
        json!({ "status": status, "items": items, "test_clock": null })
    }

    #[test]
    fn the_next_end_is_the_earliest_of_the_subscriptions_that_run() {
        let mut on_a_test_clock = subscription("active", 1);
        on_a_test_clock["test_clock"] = "clock_1".into();
        let subscriptions = [
            on_a_test_clock,
            subscription("canceled", 2),
            subscription("trialing", 4),
            subscription("active", 3),
        ];
        let end = next_end(subscriptions.iter()).unwrap();
        assert_eq!(end.timestamp(), 3);
        assert_eq!(next_end(subscriptions[..2].iter()), None);
    }

    #[test]
    fn a_period_is_billed_when_no_new_invoice_waits_for_its_first_payment() {
        let check = |status: &str, attempted: bool, created: i64| {
            let invoice = json!({ "status": status, "attempted": attempted, "created": created });
            is_billed([invoice].iter(), DateTime::from_timestamp(100, 0).unwrap())
        };
        assert!(!check("draft", false, 100));
        assert!(!check("open", false, 100));
        assert!(check("open", true, 100), "the card was declined");
        assert!(check("paid", true, 100));
        assert!(check("void", false, 100));
        assert!(check("draft", false, 99), "of an earlier period");
    }
}
