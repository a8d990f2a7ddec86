//! The sandbox's Stripe over HTTP, as its clients meet it.

mod api;
mod catalogue;
mod customers;
mod metering;
mod thin;
mod webhooks;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use chrono::{DateTime, TimeZone, Utc};
use serde_json::Value;
use tower::ServiceExt;

use super::{SECRET_KEY, Stripe};
use crate::sandbox::Addresses;
use crate::sandbox::clock::Clock;
use crate::sandbox::faults::Faults;
use crate::sandbox::journal::Journal;

/// The moment at which every trial begins.
pub(super) fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 1, 12, 0, 0).unwrap()
}

/// A Stripe account with a clock that stands still.
pub(super) struct Trial {
    pub(super) stripe: Stripe,
    pub(super) clock: Clock,
    pub(super) faults: Arc<Faults>,
    pub(super) journal: Arc<Journal>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Reply {
    /// The body of a reply that must be a success.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{:#}", self.body);
        self.body
    }

    /// Status, code and parameter of a reply that must be an error.
    #[track_caller]
    pub(super) fn refusal(&self) -> (u16, &str, &str) {
        assert_ne!(self.status, 200, "{:#}", self.body);
        let member = |name: &str| self.body["error"][name].as_str().unwrap_or_default();
        (self.status, member("code"), member("param"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Trial {
    pub(super) fn new() -> Self {
        let clock = Clock::standing(start());
        let (faults, journal) = (Arc::<Faults>::default(), Arc::<Journal>::default());
        let address = || "http://sandbox.invalid".to_owned();
        let addresses = Addresses {
            stripe: address(),
            azure: address(),
            portal: address(),
            gateway: address(),
            console: address(),
            mail: address(),
        };
        let stripe = Stripe::new(
            clock.clone(),
            Arc::clone(&faults),
            Arc::clone(&journal),
            addresses,
        );
        Self {
            stripe,
            clock,
            faults,
            journal,
        }
    }

    pub(super) async fn post(&self, path: &str, form: &str) -> Reply {
        self.send(Method::POST, path, form, &[]).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "", &[]).await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, "", &[]).await
    }

    /// Sends a request; `headers` come on top of the key.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        form: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {SECRET_KEY}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let response = self.stripe.router().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    /// Creates an object and gives its id.
    #[track_caller]
    pub(super) fn id_of(reply: Reply) -> String {
        reply.ok()["id"].as_str().unwrap().to_owned()
    }
}
