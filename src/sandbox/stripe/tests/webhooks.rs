//! Webhook deliveries over real HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::TimeDelta;
use ring::hmac;
use serde_json::Value;

use super::{Trial, start};
use crate::sandbox::faults::{Fault, Kind};
use crate::sandbox::journal::Side;

/// An endpoint that keeps what it is sent and answers with the status it is told.
#[derive(Clone)]
struct Endpoint {
    taken: Arc<Mutex<Vec<(String, String)>>>,
    status: Arc<Mutex<u16>>,
}

async fn take(State(endpoint): State<Endpoint>, headers: HeaderMap, body: String) -> StatusCode {
    let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
    endpoint.taken.lock().unwrap().push((signature, body));
    StatusCode::from_u16(*endpoint.status.lock().unwrap()).unwrap()
}

/// An account with one endpoint for products.
struct Listening {
    trial: Trial,
    endpoint: Endpoint,
    id: String,
    secret: String,
}

impl Listening {
    async fn new() -> Self {
        let trial = Trial::new();
        let endpoint = Endpoint {
            taken: Arc::default(),
            status: Arc::new(Mutex::new(200)),
        };
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(endpoint.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let form = format!(
            "url=http://{address}/hook&enabled_events[]=product.created&api_version=2026-09-30.endive"
        );
        let created = trial.post("/v1/webhook_endpoints", &form).await.ok();
        Self {
            id: created["id"].as_str().unwrap().to_owned(),
            secret: created["secret"].as_str().unwrap().to_owned(),
            trial,
            endpoint,
        }
    }

    async fn product(&self, name: &str) {
        self.trial
            .post("/v1/products", &format!("name={name}"))
            .await
            .ok();
    }

    fn answer_with(&self, status: u16) {
        *self.endpoint.status.lock().unwrap() = status;
    }

    async fn pass(&self, time: TimeDelta) {
        self.trial.clock.advance_to(self.trial.clock.now() + time);
        self.trial.stripe.run_due().await;
    }

    /// The names of the products whose events arrived.
    fn arrived(&self) -> Vec<String> {
        let taken = self.endpoint.taken.lock().unwrap();
        let name = |body: &str| {
            let event: Value = serde_json::from_str(body).unwrap();
            event["data"]["object"]["name"].as_str().unwrap().to_owned()
        };
        taken.iter().map(|(_, body)| name(body)).collect()
    }

    fn play(&self, kind: Kind) {
        self.trial.faults.add(Fault {
            kind,
            side: Side::Webhook,
            method: None,
            path_contains: "product".to_owned(),
            times: 1,
            skip: 0,
        });
    }
}

pub(super) fn signed_by(secret: &str, signature: &str, body: &str) -> bool {
    let (time, rest) = signature.split_once(',').unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    let mut digits = String::new();
    digits.extend(tag.as_ref().iter().map(|byte| format!("{byte:02x}")));
    rest.split(',')
        .any(|part| part.strip_prefix("v1=") == Some(&digits))
}

#[tokio::test]
async fn events_arrive_signed_and_are_journalled() {
    let hook = Listening::new().await;
    hook.trial.post("/v1/customers", "").await.ok();
    hook.product("A").await;
    assert!(hook.trial.stripe.has_due());
    assert_eq!(
        hook.trial.stripe.run_due().await,
        1,
        "the customer's event was not asked for"
    );
    let (signature, body) = hook.endpoint.taken.lock().unwrap()[0].clone();
    assert!(signature.starts_with(&format!("t={},v1=", start().timestamp())));
    assert!(signed_by(&hook.secret, &signature, &body));
    let journal = hook.trial.journal.since(0);
    assert_eq!(
        (journal.len(), journal[0].side, journal[0].status),
        (1, Side::Webhook, 200)
    );
    let events = hook.trial.get("/v1/events?type=product.created").await.ok();
    assert_eq!(events["data"][0]["pending_webhooks"], 0);
    assert_eq!(hook.trial.stripe.next_due(), None);
}

#[tokio::test]
async fn a_rolled_secret_signs_beside_the_old_one() {
    let hook = Listening::new().await;
    let new = hook.trial.stripe.roll_webhook_secret(&hook.id).unwrap();
    hook.product("A").await;
    hook.trial.stripe.run_due().await;
    let (signature, body) = hook.endpoint.taken.lock().unwrap()[0].clone();
    assert!(signed_by(&hook.secret, &signature, &body) && signed_by(&new, &signature, &body));
}

#[tokio::test]
async fn a_refused_delivery_comes_again() {
    let hook = Listening::new().await;
    hook.answer_with(500);
    hook.product("A").await;
    hook.trial.stripe.run_due().await;
    let event = hook.trial.get("/v1/events").await.ok()["data"][0].clone();
    assert_eq!(event["pending_webhooks"], 1);
    let id = event["id"].as_str().unwrap();
    assert_eq!(
        hook.trial.stripe.account().books.deliveries.settled_at(id),
        None
    );
    hook.answer_with(200);
    assert_eq!(
        hook.trial.stripe.next_due(),
        Some(start() + TimeDelta::minutes(1))
    );
    hook.pass(TimeDelta::minutes(1)).await;
    assert_eq!(hook.arrived(), ["A", "A"]);
    let settled = hook.trial.stripe.account().books.deliveries.settled_at(id);
    assert_eq!(settled, Some(start() + TimeDelta::minutes(1)));
    assert!(hook.trial.stripe.redeliver(id));
    hook.trial.stripe.run_due().await;
    assert_eq!(hook.arrived().len(), 3);
    assert!(!hook.trial.stripe.redeliver("evt_nope"));
}

#[tokio::test]
async fn a_lost_delivery_never_arrives() {
    let hook = Listening::new().await;
    hook.play(Kind::LostWebhook);
    hook.product("A").await;
    hook.product("B").await;
    hook.pass(TimeDelta::days(1)).await;
    assert_eq!(hook.arrived(), ["B"]);
    assert_eq!(hook.trial.stripe.next_due(), None);
}

#[tokio::test]
async fn a_duplicate_delivery_arrives_twice() {
    let hook = Listening::new().await;
    hook.play(Kind::DuplicateWebhook);
    hook.product("A").await;
    hook.trial.stripe.run_due().await;
    assert_eq!(hook.arrived(), ["A", "A"]);
}

#[tokio::test]
async fn a_delayed_delivery_arrives_an_hour_late() {
    let hook = Listening::new().await;
    hook.play(Kind::DelayedWebhook);
    hook.product("A").await;
    hook.pass(TimeDelta::minutes(59)).await;
    assert_eq!(hook.arrived().len(), 0);
    hook.pass(TimeDelta::minutes(61)).await;
    assert_eq!(hook.arrived(), ["A"]);
}

#[tokio::test]
async fn a_reordered_delivery_arrives_behind_the_next() {
    let hook = Listening::new().await;
    hook.play(Kind::ReorderedWebhook);
    for name in ["A", "B", "C"] {
        hook.product(name).await;
    }
    hook.trial.stripe.run_due().await;
    assert_eq!(hook.arrived(), ["B", "A", "C"]);
    hook.play(Kind::ReorderedWebhook);
    hook.product("D").await;
    hook.trial.stripe.run_due().await;
    hook.product("E").await;
    hook.pass(TimeDelta::minutes(1)).await;
    hook.pass(TimeDelta::minutes(5)).await;
    assert_eq!(hook.arrived()[3..], ["E", "D"]);
}

#[tokio::test]
async fn endpoints_can_be_changed_switched_off_and_deleted() {
    let hook = Listening::new().await;
    let path = format!("/v1/webhook_endpoints/{}", hook.id);
    let shown = hook.trial.get(&path).await.ok();
    assert_eq!(
        shown.get("secret"),
        None,
        "only the answer to its creation shows the secret"
    );
    assert_eq!(shown["api_version"], "2026-09-30.endive");
    hook.trial.post(&path, "disabled=true").await.ok();
    hook.product("A").await;
    assert_eq!(hook.trial.stripe.run_due().await, 0);
    hook.trial
        .post(&path, "disabled=false&enabled_events[]=*")
        .await
        .ok();
    hook.product("B").await;
    hook.trial.stripe.run_due().await;
    assert_eq!(hook.arrived(), ["B"]);
    assert_eq!(hook.trial.delete(&path).await.ok()["deleted"], true);
    assert_eq!(hook.trial.get(&path).await.status, 404);
    let unknown = hook
        .trial
        .post(
            "/v1/webhook_endpoints",
            "url=http://x/&enabled_events[]=nope",
        )
        .await;
    assert_eq!(unknown.refusal().2, "enabled_events[0]");
}
