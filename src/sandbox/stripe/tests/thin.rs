//! Meter events that turn out wrong: thin events, delivered and fetched.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::routing::post;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::webhooks::signed_by;
use super::{Reply, Trial};

const VERSION: (&str, &str) = ("stripe-version", "2026-09-30.endive");
const ERRORS: &str = "v1.billing.meter.error_report_triggered";
type Taken = Arc<Mutex<Vec<(String, String)>>>;

async fn take(State(taken): State<Taken>, headers: HeaderMap, body: String) {
    let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
    taken.lock().unwrap().push((signature, body));
}

/// An account with a meter, and a destination for its errors.
struct Metered {
    trial: Trial,
    meter: String,
    secret: String,
    taken: Taken,
}

impl Metered {
    async fn new() -> Self {
        let taken = Taken::default();
        let router = Router::new()
            .route("/thin", post(take))
            .with_state(Arc::clone(&taken));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let trial = Trial::new();
        let form = "display_name=C&event_name=calls&default_aggregation[formula]=last";
        let meter = Trial::id_of(trial.post("/v1/billing/meters", form).await);
        let new = json!({
            "name": "Errors", "type": "webhook_endpoint", "event_payload": "thin",
            "enabled_events": [ERRORS], "include": ["webhook_endpoint.signing_secret"],
            "webhook_endpoint": {"url": format!("http://{address}/thin")},
        });
        let path = "/v2/core/event_destinations";
        let made = trial
            .send(Method::POST, path, &new.to_string(), &[VERSION])
            .await
            .ok();
        Self {
            trial,
            meter,
            secret: made["webhook_endpoint"]["signing_secret"]
                .as_str()
                .unwrap()
                .to_owned(),
            taken,
        }
    }

    async fn report(&self, customer: &str, identifier: &str) {
        let form = format!(
            "event_name=calls&payload[stripe_customer_id]={customer}&payload[value]=1\
             &identifier={identifier}"
        );
        self.trial
            .post("/v1/billing/meter_events", &form)
            .await
            .ok();
    }

    async fn pass(&self, seconds: i64) {
        let now = self.trial.clock.now();
        self.trial
            .clock
            .advance_to(now + TimeDelta::seconds(seconds));
        while self.trial.stripe.run_due().await > 0 {}
    }

    async fn get(&self, path: &str) -> Reply {
        self.trial.send(Method::GET, path, "", &[VERSION]).await
    }
}

#[tokio::test]
async fn events_for_a_customer_that_is_not_there_are_told_of_by_one_signed_thin_event() {
    let metered = Metered::new().await;
    for number in 0..7 {
        metered.report("cus_gone", &format!("id-{number}")).await;
    }
    metered.pass(9).await;
    assert!(
        metered.taken.lock().unwrap().is_empty(),
        "it is being gathered"
    );
    metered.pass(1).await;
    let (signature, body) = metered.taken.lock().unwrap()[0].clone();
    assert!(signed_by(&metered.secret, &signature, &body));
    let thin: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&thin["type"], &thin["object"]),
        (&json!(ERRORS), &json!("v2.core.event"))
    );
    assert_eq!(thin["related_object"]["id"], json!(metered.meter));
    assert!(thin.get("data").is_none() && thin.get("_pending").is_none());

    let id = thin["id"].as_str().unwrap();
    let whole = metered.get(&format!("/v2/core/events/{id}")).await.ok();
    let reason = &whole["data"]["reason"];
    assert_eq!(reason["error_count"], 7);
    let kind = &reason["error_types"][0];
    assert_eq!(kind["code"], "meter_event_customer_not_found");
    let samples = kind["sample_errors"].as_array().unwrap();
    assert_eq!(samples.len(), 5, "samples, not all");
    assert_eq!(samples[0]["request"]["identifier"], "id-0");
    assert_eq!(whole["data"]["validation_end"], "2026-11-01T12:00:10.000Z");
}

#[tokio::test]
async fn the_identifier_of_what_turned_out_wrong_is_taken_all_the_same() {
    let metered = Metered::new().await;
    metered.report("cus_gone", "once").await;
    let form = "event_name=calls&payload[stripe_customer_id]=cus_gone&payload[value]=1\
                &identifier=once";
    let again = metered.trial.post("/v1/billing/meter_events", form).await;
    assert_eq!(again.status, 400);
    metered.pass(60).await;
    assert_eq!(metered.taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_list_has_the_newest_first_in_pages_and_for_thirty_days() {
    let metered = Metered::new().await;
    for number in 0..3 {
        metered.report("cus_gone", &format!("id-{number}")).await;
        metered.pass(60).await;
    }
    let list = "/v2/core/events?types[0]=v1.billing.meter.error_report_triggered&limit=2";
    let first = metered.get(list).await.ok();
    assert_eq!(first["data"].as_array().unwrap().len(), 2);
    let next = first["next_page_url"].as_str().unwrap();
    let second = metered.get(next).await.ok();
    assert_eq!(second["data"].as_array().unwrap().len(), 1);
    assert!(second["next_page_url"].is_null());
    assert!(first["data"][0]["created"].as_str() > second["data"][0]["created"].as_str());
    let since = metered
        .get("/v2/core/events?created[gte]=2026-11-01T12:02:30Z")
        .await
        .ok();
    assert_eq!(since["data"].as_array().unwrap().len(), 1);
    let other = metered
        .get("/v2/core/events?types[0]=v1.billing.meter.no_meter_found")
        .await;
    assert_eq!(other.ok()["data"], json!([]));

    let id = first["data"][0]["id"].as_str().unwrap().to_owned();
    metered.pass(31 * 86_400).await;
    assert_eq!(
        metered.get(&format!("/v2/core/events/{id}")).await.status,
        404
    );
}

#[tokio::test]
async fn every_request_names_a_version_and_only_known_parameters() {
    let metered = Metered::new().await;
    let bare = metered.trial.get("/v2/core/events").await;
    assert_eq!(bare.refusal().1, "invalid_api_version");
    let unknown = metered.get("/v2/core/events?type=x").await;
    assert_eq!(unknown.refusal(), (400, "parameter_unknown", "type"));
    assert_eq!(metered.get("/v2/core/nothing").await.status, 404);
    let destinations = metered.get("/v2/core/event_destinations").await.ok();
    let kept = &destinations["data"][0];
    assert!(
        kept["webhook_endpoint"]["signing_secret"].is_null(),
        "shown once"
    );
    let path = format!(
        "/v2/core/event_destinations/{}",
        kept["id"].as_str().unwrap()
    );
    assert_eq!(metered.get(&path).await.ok()["name"], "Errors");
    metered
        .trial
        .send(Method::DELETE, &path, "", &[VERSION])
        .await
        .ok();
    metered.report("cus_gone", "late").await;
    metered.pass(60).await;
    assert!(metered.taken.lock().unwrap().is_empty());
}
