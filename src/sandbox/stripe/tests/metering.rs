//! Meter events and what they add up to.

use chrono::TimeDelta;
use serde_json::json;

use super::{Trial, start};

struct Meter {
    trial: Trial,
    id: String,
    customer: String,
}

impl Meter {
    async fn new(formula: &str) -> Self {
        let trial = Trial::new();
        let form =
            format!("display_name=C&event_name=calls&default_aggregation[formula]={formula}");
        let id = Trial::id_of(trial.post("/v1/billing/meters", &form).await);
        let customer = Trial::id_of(trial.post("/v1/customers", "").await);
        Self {
            trial,
            id,
            customer,
        }
    }

    async fn report(&self, more: &str) -> super::Reply {
        let customer = &self.customer;
        let form = format!("event_name=calls&payload[stripe_customer_id]={customer}&{more}");
        self.trial.post("/v1/billing/meter_events", &form).await
    }

    fn pass(&self, time: TimeDelta) {
        self.trial.clock.advance_to(self.trial.clock.now() + time);
    }

    /// The summary's values from one day before the start to one day after it.
    async fn summary(&self, grouping: &str) -> super::Reply {
        let (customer, id) = (&self.customer, &self.id);
        let from = (start() - TimeDelta::hours(36)).timestamp();
        let to = from + 3 * 86_400;
        let times = format!("start_time={from}&end_time={to}");
        let path = format!(
            "/v1/billing/meters/{id}/event_summaries?customer={customer}&{times}{grouping}"
        );
        self.trial.get(&path).await
    }

    async fn total(&self) -> serde_json::Value {
        self.summary("").await.ok()["data"][0]["aggregated_value"].clone()
    }
}

#[tokio::test]
async fn an_event_counts_only_after_the_lag() {
    let meter = Meter::new("last").await;
    let event = meter.report("payload[value]=120&identifier=a").await.ok();
    assert_eq!(event["object"], "billing.meter_event");
    assert_eq!(event["timestamp"], start().timestamp());
    assert_eq!(meter.total().await, 0);
    meter.pass(TimeDelta::seconds(59));
    assert_eq!(meter.total().await, 0);
    meter.pass(TimeDelta::seconds(1));
    assert_eq!(meter.total().await, 120);
}

#[tokio::test]
async fn the_latest_timestamp_wins_on_a_last_meter() {
    let meter = Meter::new("last").await;
    meter.trial.stripe.set_meter_lag(TimeDelta::zero());
    meter.report("payload[value]=120").await.ok();
    let earlier = start().timestamp() - 3_600;
    meter
        .report(&format!("payload[value]=90&timestamp={earlier}"))
        .await
        .ok();
    assert_eq!(meter.total().await, 120);
    meter.report("payload[value]=80.5").await.ok();
    assert_eq!(meter.total().await, json!(80.5));
}

#[tokio::test]
async fn an_identifier_is_refused_for_a_day_and_never_retried() {
    let meter = Meter::new("sum").await;
    meter.report("payload[value]=1&identifier=a").await.ok();
    let again = meter.report("payload[value]=2&identifier=a").await;
    assert_eq!(again.status, 400);
    assert_eq!(again.header("stripe-should-retry"), "false");
    let message = again.body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("An event already exists with identifier a"),
        "{message}"
    );
    meter.pass(TimeDelta::hours(24));
    meter.report("payload[value]=2&identifier=a").await.ok();
}

#[tokio::test]
async fn what_can_never_count_is_refused_at_once() {
    let meter = Meter::new("sum").await;
    let old = (start() - TimeDelta::days(36)).timestamp();
    let ahead = (start() + TimeDelta::minutes(6)).timestamp();
    for (form, code) in [
        (
            format!("payload[value]=1&timestamp={old}"),
            "timestamp_too_far_in_past",
        ),
        (
            format!("payload[value]=1&timestamp={ahead}"),
            "timestamp_in_future",
        ),
        (
            "payload[value]=1234567890123456".to_owned(),
            "meter_event_value_too_many_digits",
        ),
        ("payload[value]=many".to_owned(), "payload_invalid_value"),
        ("payload[other]=1".to_owned(), "payload_no_value_defined"),
    ] {
        assert_eq!(meter.report(&form).await.refusal().1, code, "{form}");
    }
    let nobody = meter
        .trial
        .post(
            "/v1/billing/meter_events",
            "event_name=calls&payload[value]=1",
        )
        .await;
    assert_eq!(nobody.refusal().1, "payload_no_customer_defined");
    let path = format!("/v1/billing/meters/{}/deactivate", meter.id);
    meter.trial.post(&path, "").await.ok();
    assert_eq!(
        meter.report("payload[value]=1").await.refusal().1,
        "archived_meter"
    );
    let unknown = meter
        .trial
        .post("/v1/billing/meter_events", "event_name=x&payload[value]=1")
        .await;
    assert_eq!(unknown.refusal().1, "no_meter");
}

#[tokio::test]
async fn an_adjustment_cancels_an_event() {
    let meter = Meter::new("sum").await;
    meter.trial.stripe.set_meter_lag(TimeDelta::zero());
    meter.report("payload[value]=5&identifier=a").await.ok();
    meter.report("payload[value]=7&identifier=b").await.ok();
    let form = "event_name=calls&type=cancel&cancel[identifier]=a";
    let path = "/v1/billing/meter_event_adjustments";
    meter.trial.post(path, form).await.ok();
    assert_eq!(meter.total().await, 7);
    assert_eq!(meter.trial.post(path, form).await.status, 400);
}

#[tokio::test]
async fn summaries_are_grouped_by_aligned_windows() {
    let meter = Meter::new("sum").await;
    meter.trial.stripe.set_meter_lag(TimeDelta::zero());
    meter.report("payload[value]=5").await.ok();
    let yesterday = (start() - TimeDelta::hours(13)).timestamp();
    meter
        .report(&format!("payload[value]=7&timestamp={yesterday}"))
        .await
        .ok();
    let days = meter.summary("&value_grouping_window=day").await.ok();
    let values: Vec<_> = days["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| &day["aggregated_value"])
        .collect();
    assert_eq!(values, [0, 5, 7], "the latest first");
    let shifted = meter
        .summary("&value_grouping_window=day&limit=1")
        .await
        .ok();
    assert_eq!(shifted["has_more"], true);
    let (id, customer) = (&meter.id, &meter.customer);
    let path = format!(
        "/v1/billing/meters/{id}/event_summaries?customer={customer}&start_time=3600\
         &end_time=90000&value_grouping_window=day"
    );
    assert_eq!(meter.trial.get(&path).await.refusal().2, "start_time");
}
