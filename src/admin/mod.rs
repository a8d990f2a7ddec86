//! The status page, on a listener of its own: what happened, what waits and what failed.

mod auth;
mod health;
mod metrics;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::apim::Apim;
use crate::secret::Secret;
use crate::store::{Store, StoreError, inbox, invoices, jobs, settings, subscriptions};
use crate::stripe::Stripe;
use crate::web::{Blocking, Failure, Now, headers, page};
use health::{Health, Prober};

/// Lines that each table of the page shows.
const ROWS: u32 = 50;

/// What the status page needs. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    store: Store,
    prober: Prober,
    password: Secret,
    blocking: Blocking,
    /// Woken when waiting events were made due.
    events: Arc<Notify>,
}

/// Everything that the page shows, read at one moment.
#[derive(Debug)]
struct Status {
    now: DateTime<Utc>,
    health: Option<Health>,
    inbox: inbox::Counts,
    events: Vec<inbox::Entry>,
    usage_job: Option<jobs::Run>,
    access: Vec<(String, u64)>,
    /// Subscriptions whose access could not be put in place.
    stuck: u64,
    subscriptions: Vec<subscriptions::Subscription>,
    drafts: Vec<invoices::Invoice>,
}

impl Admin {
    pub fn new(
        store: Store,
        stripe: Stripe,
        apim: Apim,
        password: Secret,
        blocking: Blocking,
        events: Arc<Notify>,
    ) -> Self {
        Self {
            store,
            prober: Prober::new(stripe, apim),
            password,
            blocking,
            events,
        }
    }

    async fn status(&self, now: DateTime<Utc>) -> Result<Status, Failure> {
        let store = self.store.clone();
        let health = self.prober.latest(now);
        let read = move || read_status(&store, health, now);
        self.blocking.run(read).await?.map_err(Failure::internal)
    }
}

fn read_status(
    store: &Store,
    health: Option<Health>,
    now: DateTime<Utc>,
) -> Result<Status, StoreError> {
    store.read(|db| {
        Ok(Status {
            now,
            health,
            inbox: inbox::counts(db)?,
            events: inbox::newest(db, ROWS)?,
            usage_job: jobs::last(db, jobs::USAGE)?,
            access: subscriptions::counts(db)?,
            stuck: subscriptions::stuck(db)?,
            subscriptions: subscriptions::newest(db, ROWS)?,
            drafts: invoices::unfinished(db)?,
        })
    })
}

/// The status page, its actions, metrics, and the health check.
pub fn routes(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/", get(show))
        .route("/metrics", get(show_metrics))
        .route("/inbox/retry", post(retry_failed))
        .layer(middleware::from_fn_with_state(
            admin.password.clone(),
            auth::require,
        ));
    let router = guarded
        .route("/health", get(answer_health))
        .with_state(admin);
    headers::secured(router, headers::content_security_policy(&[]))
}

async fn show(State(admin): State<Admin>, Now(now): Now) -> Result<Response, Failure> {
    let status = admin.status(now).await?;
    Ok(page::html(view::status_page(&status)))
}

/// The figures for Prometheus, in its text format.
async fn show_metrics(State(admin): State<Admin>, Now(now): Now) -> Result<Response, Failure> {
    let text = metrics::text(&admin.status(now).await?);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Makes every failed event, and every subscription that could not be applied, due again.
async fn retry_failed(State(admin): State<Admin>, Now(now): Now) -> Result<Redirect, Failure> {
    let change = admin.store.write(move |db| {
        Ok((
            inbox::retry_failed(db, now)?,
            subscriptions::retry_stuck(db, now)?,
        ))
    });
    let (events, subscriptions) = change.await.map_err(Failure::internal)?;
    tracing::info!(events, subscriptions, "what failed is tried again");
    admin.events.notify_one();
    Ok(Redirect::to("/#inbox"))
}

/// Whether this program itself works: the store answers. For supervisors; says nothing more, and
/// asks neither Stripe nor Azure.
async fn answer_health(State(admin): State<Admin>) -> Result<&'static str, Failure> {
    let store = admin.store.clone();
    let read = move || store.read(|db| settings::get(db, settings::WEBHOOK_SECRET).map(drop));
    admin.blocking.run(read).await?.map_err(Failure::internal)?;
    Ok("ok\n")
}
