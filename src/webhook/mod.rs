//! Stripe's webhooks: verified on the raw bytes, kept, answered — and only later applied.
//!
//! A request is answered 200 when its event is durable in the inbox, so nothing that Stripe
//! believes delivered can be lost, and a slow Azure never makes Stripe wait. What events mean is
//! the [`worker`]'s business.

mod access;
mod closing;
mod draft;
pub mod gap;
mod meter_errors;
mod notices;
mod observe;
pub mod resync;
mod reversal;
pub mod signature;
mod subject;
mod turns;
pub mod worker;
#[cfg(test)]
mod worker_tests;

use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Extension, Router};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::secret::Secret;
use crate::store::inbox::{self, Source};
use crate::store::{Store, settings};
use crate::web::Now;
use signature::SignatureError;
use subject::Subject;

/// The largest event that is taken, in bytes. Stripe's own are a few kilobytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// The longest id or type of an event that is taken, in bytes. Stripe grants ids 255 characters.
const NAME_LIMIT: usize = 255;

/// What receiving needs. Cheap to clone.
#[derive(Clone)]
pub struct Webhook {
    store: Store,
    secrets: Arc<Secrets>,
    arrived: Arc<Notify>,
}

/// The endpoint's secrets: those of the configuration, and the one that the set-up keeps in the
/// store. The latter may change while we run, so it is read again when nothing matches.
struct Secrets {
    configured: Vec<Secret>,
    current: RwLock<Vec<Secret>>,
}

/// The few members of an event that matter here; the same for classic and for thin events.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    api_version: Option<String>,
    data: Option<Data>,
    related_object: Option<Object>,
}

#[derive(Deserialize)]
struct Data {
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    id: Option<String>,
}

impl Webhook {
    /// `arrived` is notified after each new event.
    pub fn new(store: Store, configured: Vec<Secret>, arrived: Arc<Notify>) -> Self {
        let secrets = Secrets {
            current: RwLock::new(configured.clone()),
            configured,
        };
        Self {
            store,
            secrets: Arc::new(secrets),
            arrived,
        }
    }

    async fn verify(
        &self,
        header: &str,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), SignatureError> {
        let known = self
            .secrets
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match signature::verify(header, body, &known, now) {
            Err(SignatureError::Mismatch) => {
                let fresh = self.reread_secrets().await;
                signature::verify(header, body, &fresh, now)
            }
            other => other,
        }
    }

    async fn reread_secrets(&self) -> Vec<Secret> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            store.read(|db| settings::get(db, settings::WEBHOOK_SECRET))
        });
        let kept = match read.await {
            Ok(Ok(kept)) => kept.map(Secret::new),
            Ok(Err(_)) | Err(_) => None,
        };
        let fresh: Vec<Secret> = self
            .secrets
            .configured
            .iter()
            .cloned()
            .chain(kept)
            .collect();
        self.secrets
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&fresh);
        fresh
    }
}

/// `POST /webhooks/stripe`.
pub fn routes(webhook: Webhook) -> Router {
    Router::new()
        .route("/webhooks/stripe", post(receive))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(webhook)
}

async fn receive(
    State(webhook): State<Webhook>,
    Extension(Now(now)): Extension<Now>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = headers
        .get("stripe-signature")
        .and_then(|value| value.to_str().ok());
    if let Err(error) = webhook.verify(header.unwrap_or_default(), &body, now).await {
        tracing::warn!(%error, "a webhook request was refused");
        return (StatusCode::BAD_REQUEST, format!("Not accepted: {error}.\n"));
    }
    let Some(event) = read_event(&body, Source::Webhook) else {
        tracing::warn!("a signed webhook request holds no event");
        return (
            StatusCode::BAD_REQUEST,
            "Not accepted: the body is not an event.\n".into(),
        );
    };
    let event_id = event.id.clone();
    let is_work = event.ignored_because.is_none();
    match webhook
        .store
        .write(move |db| inbox::keep(db, &event, now))
        .await
    {
        Ok(true) => {
            if is_work {
                webhook.arrived.notify_one();
            }
            (StatusCode::OK, "Kept.\n".into())
        }
        Ok(false) => (StatusCode::OK, "Kept before.\n".into()),
        Err(error) => {
            tracing::error!(%event_id, error = &error as &dyn std::error::Error, "an event could not be kept");
            let text = "The event could not be kept; nothing was done. Send it again.\n";
            (StatusCode::SERVICE_UNAVAILABLE, text.into())
        }
    }
}

/// What the inbox keeps of an event; `None` for what is no event.
fn read_event(body: &[u8], source: Source) -> Option<inbox::Event> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let object = envelope
        .data
        .and_then(|data| data.object)
        .or(envelope.related_object);
    let names = [&envelope.id, &envelope.event_type];
    if names
        .iter()
        .any(|name| name.is_empty() || name.len() > NAME_LIMIT)
    {
        return None;
    }
    let object_id = object.and_then(|object| object.id).unwrap_or_default();
    let ignored_because = match Subject::of(&envelope.id, &envelope.event_type, &object_id) {
        Subject::None(why) => Some(why),
        Subject::Invoice(_)
        | Subject::CheckoutSession(_)
        | Subject::Subscription(_)
        | Subject::Dispute(_)
        | Subject::Charge(_)
        | Subject::Refund(_)
        | Subject::MeterErrors(_) => None,
    };
    Some(inbox::Event {
        id: envelope.id,
        event_type: envelope.event_type,
        object_id,
        api_version: envelope
            .api_version
            .filter(|version| version.len() <= NAME_LIMIT),
        source,
        payload: body.to_vec(),
        ignored_because,
    })
}

#[cfg(test)]
mod tests {
    use super::{Source, read_event};

    fn read(body: &[u8]) -> Option<super::inbox::Event> {
        read_event(body, Source::Webhook)
    }

    #[test]
    fn classic_and_thin_events_are_read_alike() {
        let classic =
            br#"{"id":"evt_1","object":"event","type":"customer.subscription.updated","created":1,
            "api_version":"2026-09-30.endive","data":{"object":{"id":"sub_1","object":"subscription","items":{}}}}"#;
        let event = read(classic).unwrap();
        assert_eq!(
            (event.id.as_str(), event.object_id.as_str()),
            ("evt_1", "sub_1")
        );
        assert_eq!(event.payload, classic);
        assert_eq!(event.api_version.as_deref(), Some("2026-09-30.endive"));

        let thin = br#"{"id":"evt_2","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered",
            "created":"2026-10-01T00:00:00Z","related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/x"}}"#;
        let event = read(thin).unwrap();
        assert_eq!(event.object_id, "mtr_1");
        assert_eq!(event.api_version, None);
        assert_eq!(event.ignored_because, None);
    }

    #[test]
    fn what_is_no_event_is_not_read() {
        for body in [
            &b"{}"[..],
            b"[]",
            b"",
            b"\xff",
            br#"{"id":"","type":"x"}"#,
            br#"{"id":1,"type":"x"}"#,
        ] {
            assert!(read(body).is_none(), "{}", String::from_utf8_lossy(body));
        }
    }
}
