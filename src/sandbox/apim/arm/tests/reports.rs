//! Reports over HTTP: bounds, lag, idle subscriptions, pages.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::Value;

use super::{Client, Reply, noon};
use crate::sandbox::apim::usage::{Counts, Dimensions};

/// A service with the subscriptions `s1` and `s2` of `ada`; `s1` made ten calls at noon.
async fn used() -> Client {
    let client = Client::new().await;
    client.with_user("ada").await;
    client.with_product("basic", None).await;
    client.subscribe("s1", "ada", "basic").await;
    client.subscribe("s2", "ada", "basic").await;
    let dimensions = Arc::new(Dimensions {
        subscription: "s1".to_owned(),
        product: "basic".to_owned(),
        user: "ada".to_owned(),
        api: "weather".to_owned(),
        operation: "today".to_owned(),
        ..Dimensions::default()
    });
    let mut state = client.azure.state();
    for (status, calls) in [(200, 4), (429, 3), (500, 2), (404, 1)] {
        let counts = Counts::of(status, calls, 10);
        let dimensions = Arc::clone(&dimensions);
        state.usage.record(noon(), dimensions, counts);
    }
    let unknown = Arc::new(Dimensions::default());
    state.usage.record(noon(), unknown, Counts::of(401, 9, 10));
    drop(state);
    client
}

async fn report(client: &Client, name: &str, filter: &str) -> Reply {
    let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let path = format!("/reports/{name}?interval=PT15M&$filter={filter}");
    client.get(&path).await
}

fn total(reply: &Reply) -> u64 {
    let rows = reply.body["value"].as_array().unwrap();
    rows.iter()
        .map(|row| row["callCountTotal"].as_u64().unwrap())
        .sum()
}

const ALL: &str = "timestamp ge datetime'2026-03-01T00:00:00' and timestamp le \
                   datetime'2026-03-01T23:59:59'";

#[tokio::test]
async fn a_report_lists_idle_subscriptions_and_leaves_out_unknown_callers() {
    let client = used().await;
    let later = noon() + TimeDelta::minutes(15);
    client.azure.clock.advance_to(later);
    let reply = report(&client, "bySubscription", ALL).await;
    let rows = reply.body["value"].as_array().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| &row["subscriptionId"]).collect();
    assert_eq!(
        ids,
        [
            "/subscriptions/master",
            "/subscriptions/s1",
            "/subscriptions/s2"
        ]
    );
    let used = &rows[1];
    assert_eq!(used["callCountSuccess"], 4);
    assert_eq!(used["callCountBlocked"], 3);
    assert_eq!(used["callCountFailed"], 2);
    assert_eq!(used["callCountOther"], 1);
    assert_eq!(used["callCountTotal"], 10);
    assert_eq!(used["bandwidth"], 100);
    assert_eq!(used["productId"], "/products/basic");
    assert_eq!(rows[2]["callCountTotal"], 0);
    assert_eq!(reply.body["nextLink"], Value::Null);
}

#[tokio::test]
async fn calls_younger_than_the_lag_are_not_reported() {
    let client = used().await;
    client
        .azure
        .clock
        .advance_to(noon() + TimeDelta::minutes(14));
    assert_eq!(total(&report(&client, "bySubscription", ALL).await), 0);
    client.azure.set_reports_lag(TimeDelta::minutes(10));
    assert_eq!(total(&report(&client, "bySubscription", ALL).await), 10);
}

#[tokio::test]
async fn a_bucket_that_starts_at_either_bound_is_counted() {
    let client = used().await;
    client.azure.set_reports_lag(TimeDelta::zero());
    let cases = [
        ("2026-03-01T12:00:00", "2026-03-02T00:00:00", 10),
        ("2026-03-01T00:00:00", "2026-03-01T12:00:00", 10),
        ("2026-03-01T00:00:00", "2026-03-01T11:59:59.999", 0),
        ("2026-03-01T12:00:01", "2026-03-02T00:00:00", 0),
    ];
    for (from, to, expected) in cases {
        let filter = format!("timestamp ge datetime'{from}' and timestamp le datetime'{to}'");
        let reply = report(&client, "bySubscription", &filter).await;
        assert_eq!(total(&reply), expected, "{filter}");
    }
}

#[tokio::test]
async fn a_filter_takes_bare_ids() {
    let client = used().await;
    client.azure.set_reports_lag(TimeDelta::zero());
    for (field, expected) in [
        ("subscriptionId eq 's1'", 10),
        ("subscriptionId eq 's2'", 0),
        ("subscriptionId eq '/subscriptions/s1'", 0),
        ("productId eq 'basic' and userId eq 'ada'", 10),
    ] {
        let reply = report(&client, "bySubscription", &format!("{ALL} and {field}")).await;
        assert_eq!(total(&reply), expected, "{field}");
    }
}

#[tokio::test]
async fn filters_that_azure_does_not_take_are_refused() {
    let client = used().await;
    let by_subscription = [
        "",
        "timestamp le datetime'2026-03-01T00:00:00'",
        "timestamp gt datetime'2026-03-01T00:00:00'",
        "timestamp ge datetime'2026-03-01T00:00:00' and apiId eq 'weather'",
        "timestamp ge '2026-03-01T00:00:00'",
    ];
    for filter in by_subscription {
        let reply = report(&client, "bySubscription", filter).await;
        assert_eq!(reply.code(), "ValidationError", "{filter}");
    }
    let combined = format!("{ALL} and subscriptionId eq 's1' and apiId eq 'weather'");
    let reply = report(&client, "byTime", &combined).await;
    assert_eq!(reply.code(), "ValidationError");
    let reply = client
        .get("/reports/byTime?interval=PT10M&$filter=timestamp%20ge%20datetime'2026-03-01'")
        .await;
    assert_eq!(reply.code(), "ValidationError");
}

#[tokio::test]
async fn a_report_by_time_leaves_out_empty_buckets() {
    let client = used().await;
    client.azure.set_reports_lag(TimeDelta::zero());
    let reply = report(
        &client,
        "byTime",
        &format!("{ALL} and subscriptionId eq 's1'"),
    )
    .await;
    let rows = reply.body["value"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["timestamp"], "2026-03-01T12:00:00.000Z");
    assert_eq!(rows[0]["interval"], "PT15M");
    assert_eq!(rows[0]["callCountTotal"], 10);
    assert_eq!(reply.body["nextLink"], "");
}

#[tokio::test]
async fn the_other_reports_add_up_to_the_same() {
    let client = used().await;
    client.azure.set_reports_lag(TimeDelta::zero());
    for name in ["byUser", "byProduct"] {
        assert_eq!(total(&report(&client, name, ALL).await), 10, "{name}");
    }
    for name in ["byApi", "byOperation"] {
        let filter = format!("{ALL} and productId eq 'basic'");
        assert_eq!(total(&report(&client, name, &filter).await), 10, "{name}");
    }
}

#[tokio::test]
async fn reports_come_in_pages_too() {
    let client = used().await;
    client.azure.set_reports_lag(TimeDelta::zero());
    client.azure.set_page_size(2);
    let first = report(&client, "bySubscription", ALL).await;
    assert_eq!(first.body["count"], 3);
    let link = first.body["nextLink"].as_str().unwrap();
    let last = client.follow(link).await;
    assert_eq!(total(&first) + total(&last), 10);
    assert!(last.body["nextLink"].is_null());
}
