//! The status page, on a listener of its own: what happened, what waits and what failed.

mod auth;
mod drafts;
mod evidence;
mod find;
mod health;
mod mail;
mod metrics;
mod reconciliation;
mod requests;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::apim::Apim;
use crate::catalogue::Catalogue;
use crate::config::{Config, Mode};
use crate::secret::Secret;
use crate::store::mails::Outbox;
use crate::store::{
    self, Store, StoreError, findings, inbox, invoices, jobs, reversals, settings, subscriptions,
    watermark,
};
use crate::stripe::Stripe;
use crate::web::extract::Form;
use crate::web::{Blocking, Failure, Now, headers, page};
use auth::Operator;
use health::{Health, Prober};
use reconciliation::Reconciliation;

/// Lines that each table of the page shows.
const ROWS: u32 = 50;
/// Findings about usage that the status page lists.
const FINDINGS: usize = 50;
/// Refunds and disputes that are looked through for those of the subscriptions shown.
const REVERSALS: u32 = 500;

/// What the status page needs. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    store: Store,
    prober: Prober,
    password: Secret,
    /// Whether the settings have a signing secret of Stripe's webhook endpoint.
    secrets_configured: bool,
    rules: Rules,
    catalogue: Arc<Catalogue>,
    blocking: Blocking,
    workers: Workers,
    outbox: Outbox,
}

/// The settings of metering that the page goes by.
#[derive(Debug, Clone, Copy)]
struct Rules {
    mode: Mode,
    /// How long after a period's last day its usage is taken as settled.
    settle: TimeDelta,
    /// Whether periods that ended are compared without being asked for.
    reconcile_daily: bool,
}

/// Whom the page wakes when it has made something due again.
#[derive(Clone)]
pub struct Workers {
    /// Works on events and subscriptions.
    pub events: Arc<Notify>,
    /// Works on what consumers asked for.
    pub endings: Arc<Notify>,
    /// Closes invoices.
    pub usage: Arc<Notify>,
}

/// Everything that the page shows, read at one moment.
#[derive(Debug)]
struct Status {
    now: DateTime<Utc>,
    health: Option<Health>,
    inbox: inbox::Counts,
    events: Vec<inbox::Entry>,
    /// The newest of the events that need attention.
    failed: Vec<inbox::Entry>,
    /// The API version in which Stripe delivers events, where any came.
    delivered_version: Option<String>,
    /// Whether we hold a signing secret of Stripe's webhook endpoint.
    is_secret_known: bool,
    /// How far Stripe's list of events is in the inbox.
    watermark: watermark::Watermark,
    resync: Option<jobs::Run>,
    usage_job: Option<jobs::Run>,
    /// What reading usage came upon.
    findings: Vec<findings::Finding>,
    /// How many findings alert, by their kind.
    alerts: Vec<(findings::Kind, u64)>,
    mode: Mode,
    access: Vec<(String, u64)>,
    /// Subscriptions whose access could not be put in place.
    stuck: u64,
    /// Some of those.
    in_trouble: Vec<subscriptions::Subscription>,
    unreadable: Vec<subscriptions::Unreadable>,
    subscriptions: Vec<subscriptions::Subscription>,
    drafts: Vec<invoices::Invoice>,
    reconciliation: Reconciliation,
    /// The newest that are final.
    invoices: Vec<invoices::Invoice>,
    mail: mail::Mail,
    /// What consumers asked for and failed when it was last tried.
    requests: Vec<store::requests::Request>,
    /// The last look for users who are gone from the developer portal.
    users_job: Option<jobs::Run>,
    /// The newest refunds and disputes.
    reversals: Vec<reversals::Reversal>,
}

impl Admin {
    pub fn new(
        config: &Config,
        store: Store,
        stripe: Stripe,
        apim: Apim,
        catalogue: Arc<Catalogue>,
        blocking: Blocking,
        workers: Workers,
    ) -> Self {
        Self {
            store,
            prober: Prober::new(stripe, apim, &config.portal.public_url),
            password: config.status.password.clone(),
            secrets_configured: !config.stripe.webhook_secrets.is_empty(),
            rules: Rules {
                mode: config.metering.mode,
                settle: TimeDelta::hours(config.metering.settle_hours.into()),
                reconcile_daily: config.metering.reconcile_daily,
            },
            catalogue,
            blocking,
            workers,
            outbox: Outbox::off(),
        }
    }

    /// With the way to whoever sends mail.
    #[must_use]
    pub fn with_outbox(self, outbox: Outbox) -> Self {
        Self { outbox, ..self }
    }

    async fn status(&self, now: DateTime<Utc>) -> Result<Status, Failure> {
        let store = self.store.clone();
        let health = self.prober.latest(now);
        let outbox = self.outbox.clone();
        let rules = self.rules;
        let read = move || read_status(&store, &outbox, health, rules, now);
        let status = self.blocking.run(read).await?;
        let mut status = status.map_err(Failure::internal)?;
        status.is_secret_known |= self.secrets_configured;
        Ok(status)
    }
}

fn read_status(
    store: &Store,
    outbox: &Outbox,
    health: Option<Health>,
    rules: Rules,
    now: DateTime<Utc>,
) -> Result<Status, StoreError> {
    store.read(|db| {
        Ok(Status {
            now,
            health,
            inbox: inbox::counts(db)?,
            events: inbox::newest(db, ROWS)?,
            failed: inbox::failed(db, ROWS)?,
            delivered_version: inbox::newest_api_version(db)?,
            is_secret_known: settings::get(db, settings::WEBHOOK_SECRET)?.is_some(),
            watermark: watermark::get(db)?,
            resync: jobs::last(db, jobs::RESYNC)?,
            usage_job: jobs::last(db, jobs::USAGE)?,
            findings: findings::most_urgent(db, FINDINGS, now)?,
            alerts: findings::alerts(db, now)?,
            mode: rules.mode,
            access: subscriptions::counts(db)?,
            stuck: subscriptions::stuck(db)?,
            in_trouble: subscriptions::in_trouble(db, ROWS)?,
            unreadable: subscriptions::all(db)?.1,
            subscriptions: subscriptions::newest(db, ROWS)?,
            drafts: invoices::unfinished(db)?,
            reconciliation: reconciliation::read(db, rules, now)?,
            invoices: invoices::newest_final(db, ROWS)?,
            mail: mail::read(db, outbox)?,
            requests: store::requests::in_trouble(db, ROWS)?,
            users_job: jobs::last(db, jobs::USERS)?,
            reversals: reversals::newest(db, REVERSALS)?,
        })
    })
}

/// The status page, its actions, metrics, and the health check.
pub fn routes(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/", get(show))
        .route("/metrics", get(show_metrics))
        .route("/invoices/{id}", get(evidence::show))
        .route("/invoices/{id}/days.csv", get(evidence::download))
        .route("/subscriptions", get(find::show))
        .route("/subscriptions/{id}/days", get(evidence::show_days))
        .route("/inbox/retry", post(retry))
        .route("/inbox/dismiss", post(dismiss))
        .route("/subscriptions/retry", post(retry_subscription))
        .route("/drafts/finalize", post(drafts::finalize))
        .route("/drafts/report", post(drafts::report))
        .route("/disagreements/settle", post(reconciliation::settle))
        .route("/disagreements/take-back", post(reconciliation::take_back))
        .route("/requests/retry", post(requests::retry))
        .route("/mail/retry", post(mail::retry))
        .route("/mail/dismiss", post(mail::dismiss))
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

/// What a button of the inbox is about: one event, or all that need attention.
#[derive(Deserialize)]
struct EventForm {
    sequence: Option<i64>,
}

impl EventForm {
    fn which(&self) -> inbox::Which {
        self.sequence.map_or(inbox::Which::All, inbox::Which::One)
    }
}

/// Makes an event that needs attention due again; or all of them, and every subscription that
/// could not be applied.
async fn retry(
    State(admin): State<Admin>,
    Now(now): Now,
    Form(form): Form<EventForm>,
) -> Result<Redirect, Failure> {
    let which = form.which();
    let change = admin.store.write(move |db| {
        let events = inbox::retry(db, which, now)?;
        let subscriptions = match which {
            inbox::Which::All => subscriptions::retry_stuck(db, None, now)?,
            inbox::Which::One(_) => 0,
        };
        Ok((events, subscriptions))
    });
    let (events, subscriptions) = change.await.map_err(Failure::internal)?;
    tracing::info!(events, subscriptions, "what failed is tried again");
    admin.workers.events.notify_one();
    Ok(Redirect::to("/#attention"))
}

/// Notes that nothing has to be done about an event that needs attention, or about all of them.
async fn dismiss(
    State(admin): State<Admin>,
    Now(now): Now,
    Extension(Operator(operator)): Extension<Operator>,
    Form(form): Form<EventForm>,
) -> Result<Redirect, Failure> {
    let (which, by) = (form.which(), operator.clone());
    let change = admin
        .store
        .write(move |db| inbox::dismiss(db, which, &by, now));
    let events = change.await.map_err(Failure::internal)?;
    tracing::info!(events, %operator, "events were dismissed");
    Ok(Redirect::to("/#attention"))
}

#[derive(Deserialize)]
struct SubscriptionForm {
    id: String,
}

/// Makes a subscription that could not be applied due again.
async fn retry_subscription(
    State(admin): State<Admin>,
    Now(now): Now,
    Form(form): Form<SubscriptionForm>,
) -> Result<Redirect, Failure> {
    let change = admin
        .store
        .write(move |db| subscriptions::retry_stuck(db, Some(&form.id), now));
    change.await.map_err(Failure::internal)?;
    admin.workers.events.notify_one();
    Ok(Redirect::to("/#attention"))
}

/// Whether this program itself works: the store answers. For supervisors; says nothing more, and
/// asks neither Stripe nor Azure.
async fn answer_health(State(admin): State<Admin>) -> Result<&'static str, Failure> {
    let store = admin.store.clone();
    let read = move || store.read(|db| settings::get(db, settings::WEBHOOK_SECRET).map(drop));
    admin.blocking.run(read).await?.map_err(Failure::internal)?;
    Ok("ok\n")
}
