//! Builds the parts from a configuration, wires them together, and runs them.
//!
//! Only here is a clock: everything below takes `now` as an argument. The wiring is small: a kept
//! event wakes the [`worker::Worker`], a draft that it finds wakes [`Metering`], a message that is
//! queued wakes the [`mail::Sender`], and the schedule wakes all. Each runs one turn at a time on a blocking thread.

pub mod set_up;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, watch};
use tower_http::timeout::TimeoutLayer;

use crate::admin::{self, Admin};
use crate::apim::{Apim, UsageSource};
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::mail;
use crate::metering::reconcile::{self, Scope};
use crate::metering::{self, CrossCheck, Metering, schedule};
use crate::portal::{self, Portal};

use crate::store::housekeeping::Housekeeping;
use crate::store::mails::Outbox;
use crate::store::{Store, StoreError};
use crate::stripe::Stripe;
use crate::users::Users;
use crate::web::{self, Blocking, Now, headers};
use crate::webhook::gap::GapFill;
use crate::webhook::{self, Webhook, resync, worker};

/// Blocking calls of the pages that run at once; further ones wait a few seconds for a place.
const BLOCKING_PLACES: usize = 32;
/// How many times in a row the worker looks for more before others have their turn.
const ROUNDS: usize = 1_000;
/// How long open connections may take to end when the program stops.
const GRACE_AT_SHUTDOWN: Duration = Duration::from_secs(10);
/// How long a request may take, the sending of its body included. The work behind a page has
/// shorter limits of its own, with a page that says so; this one is for clients that dawdle.
const LONGEST_REQUEST: Duration = Duration::from_mins(1);
/// How often the scheduler looks at the real clock.
const SCHEDULER_TICK: Duration = Duration::from_secs(1);

/// What tells the time: the system's clock in `serve`, the sandbox's in `demo`.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that holds the clock"
    )]
    Arc::new(Utc::now)
}

/// The sockets to serve: bound by the caller, so that it knows the ports and any error first.
#[derive(Debug)]
pub struct Listeners {
    /// The billing portal and the webhook.
    pub public: TcpListener,
    /// The status page.
    pub status: TcpListener,
}

/// The whole program, ready to run. Cheap to clone.
#[derive(Clone)]
pub struct App {
    clock: Clock,
    public: Router,
    status: Router,
    worker: worker::Worker,
    gap: GapFill,
    metering: Metering,
    housekeeping: Housekeeping,
    users: Users,
    /// Absent where no mail server is configured.
    mail: Option<mail::Sender>,
    events: Turn,
    usage: Turn,
    endings: Turn,
    sending: Turn,
    comparing: Turn,
}

/// A piece of background work: woken by anyone, one turn at a time.
#[derive(Clone, Default)]
struct Turn {
    wake: Arc<Notify>,
    running: Arc<Mutex<()>>,
}

impl App {
    /// Builds everything; calls nobody.
    pub fn build(config: &Config, catalogue: Catalogue, clock: Clock) -> Result<Self, StoreError> {
        let catalogue = Arc::new(catalogue);
        let store = Store::open(&config.store.path)?;
        let stripe = Stripe::new(&config.stripe);
        let apim = Apim::new(&config.apim);
        let (events, usage, endings) = (Turn::default(), Turn::default(), Turn::default());
        let (sending, comparing) = (Turn::default(), Turn::default());
        let mail = mail::Sender::new(config, store.clone(), Arc::clone(&catalogue));
        let outbox = match mail {
            Some(_) => Outbox::waking(Arc::clone(&sending.wake)),
            None => Outbox::off(),
        };
        let metering = Metering {
            store: store.clone(),
            stripe: stripe.clone(),
            source: UsageSource::new(&config.metering.source, &config.apim, &apim),
            check: config
                .metering
                .cross_check
                .as_ref()
                .map(|second| CrossCheck {
                    source: UsageSource::new(second, &config.apim, &apim),
                    percent: config.metering.cross_check_percent,
                }),
            catalogue: Arc::clone(&catalogue),
            rules: metering_rules(config),
            outbox: outbox.clone(),
        };
        let worker = worker::Worker {
            store: store.clone(),
            stripe: stripe.clone(),
            apim: apim.clone(),
            catalogue: Arc::clone(&catalogue),
            rules: worker_rules(config),
            drafts: Arc::clone(&usage.wake),
            outbox: outbox.clone(),
        };
        let users = Users {
            store: store.clone(),
            stripe: stripe.clone(),
            apim: apim.clone(),
        };
        let blocking = Blocking::new(BLOCKING_PLACES);
        let secrets = config.stripe.webhook_secrets.clone();
        let webhook = Webhook::new(store.clone(), secrets, Arc::clone(&events.wake));
        let portal = Portal::new(
            config,
            store.clone(),
            stripe.clone(),
            apim.clone(),
            Arc::clone(&catalogue),
            blocking.clone(),
            portal::Workers {
                events: Arc::clone(&events.wake),
                endings: Arc::clone(&endings.wake),
            },
        );
        let portal = portal.with_outbox(outbox.clone());
        let workers = admin::Workers {
            events: Arc::clone(&events.wake),
            endings: Arc::clone(&endings.wake),
            usage: Arc::clone(&usage.wake),
        };
        let admin = Admin::new(config, store, stripe, apim, catalogue, blocking, workers);
        let admin = admin.with_outbox(outbox);
        let public = portal::routes(portal).merge(webhook::routes(webhook));
        Ok(Self {
            public: with_frame(public, &clock),
            status: with_frame(admin::routes(admin), &clock),
            clock,
            gap: GapFill::new(
                worker.clone(),
                TimeDelta::minutes(config.stripe.gap_fill_minutes.into()),
            ),
            worker,
            housekeeping: Housekeeping::new(metering.store.clone()),
            metering,
            users,
            mail,
            events,
            usage,
            endings,
            sending,
            comparing,
        })
    }

    /// The billing portal and the webhook, for whoever serves them without the background work.
    pub fn public(&self) -> Router {
        self.public.clone()
    }

    /// Serves until `shutdown` resolves, then lets what is under way come to its end.
    pub async fn run(
        self,
        listeners: Listeners,
        shutdown: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let (stop, stopping) = watch::channel(false);
        let serve = |listener, router: &Router| {
            let service = router
                .clone()
                .into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).with_graceful_shutdown(stopped(stopping.clone()))
        };
        let public = serve(listeners.public, &self.public).into_future();
        let status = serve(listeners.status, &self.status).into_future();
        let background = self.run_background(stopping.clone());
        let all = async { tokio::try_join!(public, status, background) };
        tokio::pin!(all);
        let ended = tokio::select! {
            ended = &mut all => ended,
            () = shutdown => {
                stop.send_replace(true);
                tokio::time::timeout(GRACE_AT_SHUTDOWN, all).await.unwrap_or_else(|_| {
                    tracing::warn!("work was cut off; it goes on at the next start");
                    Ok(((), (), ()))
                })
            }
        };
        ended.map(drop)
    }

    /// Works on everything that is due now, and returns when nothing is.
    ///
    /// The background work does the same by itself; the demo and the tests call this when they
    /// have moved the sandbox's clock.
    pub async fn catch_up(&self) {
        self.work_on_endings().await;
        self.work_on_events().await;
        self.work_on_usage().await;
        self.work_on_comparisons(None).await;
        self.work_on_mail().await;
    }

    /// The daily usage job, run now whether it is due or not. Blocks.
    pub fn run_daily(&self) -> Result<schedule::Report, metering::MeteringError> {
        self.metering.run_daily((self.clock)())
    }

    /// Says what the daily job would report, and reports nothing. Blocks.
    pub fn rehearse_daily(&self) -> Result<schedule::Report, metering::MeteringError> {
        self.metering.rehearse_daily((self.clock)())
    }

    /// Compares what APIM, the store, Stripe's meters and invoices say of billing periods. Blocks.
    pub fn reconcile(&self, scope: Scope) -> Result<reconcile::Report, metering::MeteringError> {
        self.metering.reconcile(scope, (self.clock)())
    }

    /// The same, and puts right what can be, or with `dry_run` says what it would. Blocks.
    pub fn repair(
        &self,
        scope: Scope,
        dry_run: bool,
    ) -> Result<reconcile::Report, metering::MeteringError> {
        self.metering.repair(scope, dry_run, (self.clock)())
    }

    /// Compares Stripe, APIM and the store, and puts right what differs. Blocks.
    pub fn resync(&self) -> Result<resync::Report, worker::WorkError> {
        self.worker.resync((self.clock)())
    }

    /// Says what differs between Stripe, APIM and the store, and changes nothing. Blocks.
    pub fn rehearse_resync(&self) -> Result<resync::Report, worker::WorkError> {
        self.worker.rehearse_resync((self.clock)())
    }

    async fn work_on_events(&self) {
        let _turn = self.events.running.lock().await;
        let (worker, gap, clock) = (
            self.worker.clone(),
            self.gap.clone(),
            Arc::clone(&self.clock),
        );
        let work = tokio::task::spawn_blocking(move || {
            for _ in 0..ROUNDS {
                let more = gap.run_due(clock());
                let done = worker.drain(clock());
                match more.and_then(|more| Ok(more || done? > 0)) {
                    Ok(false) => return,
                    Ok(true) => {}
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the inbox could not be worked on"
                        );
                        return;
                    }
                }
            }
        });
        log_panic(work.await);
    }

    /// What ends, and the accounts that close. On a turn of its own: a consumer waits for it, and
    /// the daily job may take long.
    async fn work_on_endings(&self) {
        let _turn = self.endings.running.lock().await;
        let (metering, users) = (self.metering.clone(), self.users.clone());
        let now = (self.clock)();
        let work = tokio::task::spawn_blocking(move || {
            let report = |error: &(dyn std::error::Error + 'static)| {
                tracing::error!(error, "what ends could not be worked on");
                0
            };
            let accounts = users.work(now).unwrap_or_else(|error| report(&error));
            let ended = metering.end_subscriptions(now);
            accounts + ended.unwrap_or_else(|error| report(&error)) > 0
        });
        match work.await {
            // The worker looks at what has moved.
            Ok(true) => self.events.wake.notify_one(),
            Ok(false) => {}
            Err(error) => log_panic(Err(error)),
        }
    }

    async fn work_on_usage(&self) {
        let _turn = self.usage.running.lock().await;
        let (metering, now) = (self.metering.clone(), (self.clock)());
        let housekeeping = self.housekeeping.clone();
        let work = tokio::task::spawn_blocking(move || {
            if let Err(error) = metering.run_due(now) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "usage could not be worked on"
                );
            }
            if let Err(error) = housekeeping.run_due(now) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what is old could not be forgotten"
                );
            }
        });
        log_panic(work.await);
    }

    /// What ended and was not compared yet. On a turn of its own: there may be an hour of it, and
    /// Stripe finalizes what is not claimed within one.
    async fn work_on_comparisons(&self, stopping: Option<watch::Receiver<bool>>) {
        let _turn = self.comparing.running.lock().await;
        let (metering, now) = (self.metering.clone(), (self.clock)());
        let work = tokio::task::spawn_blocking(move || {
            let goes_on = || !stopping.as_ref().is_some_and(|stopping| *stopping.borrow());
            if let Err(error) = metering.compare_due(now, &goes_on) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "usage, meters and invoices could not be compared"
                );
            }
        });
        log_panic(work.await);
    }

    async fn work_on_mail(&self) {
        let Some(mail) = self.mail.clone() else {
            return;
        };
        let _turn = self.sending.running.lock().await;
        let clock = Arc::clone(&self.clock);
        let work = tokio::task::spawn_blocking(move || {
            for _ in 0..ROUNDS {
                match mail.send_due(clock()) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "mail could not be worked on"
                        );
                        return;
                    }
                }
            }
        });
        log_panic(work.await);
    }

    /// Works whenever something wakes it, until `stopping` says so; a turn that runs then comes
    /// to its end. Each may be killed at any point without loss, but one that ends by itself
    /// leaves nothing to repeat.
    async fn run_background(&self, stopping: watch::Receiver<bool>) -> std::io::Result<()> {
        let turns = [
            &self.events,
            &self.usage,
            &self.endings,
            &self.sending,
            &self.comparing,
        ];
        let wakes = turns.map(|turn| Arc::clone(&turn.wake));
        let nudge = move || wakes.iter().for_each(|wake| wake.notify_one());
        // What waited while we were down is due at once.
        nudge();
        let schedule = schedule::nudges(&self.metering.rules, nudge).watch_thread(SCHEDULER_TICK);
        let events = async {
            while woken(&self.events.wake, &stopping).await {
                self.work_on_events().await;
            }
        };
        let usage = async {
            while woken(&self.usage.wake, &stopping).await {
                self.work_on_usage().await;
            }
        };
        let sending = async {
            while woken(&self.sending.wake, &stopping).await {
                self.work_on_mail().await;
            }
        };
        let comparing = async {
            while woken(&self.comparing.wake, &stopping).await {
                self.work_on_comparisons(Some(stopping.clone())).await;
            }
        };
        let endings = async {
            while woken(&self.endings.wake, &stopping).await {
                self.work_on_endings().await;
            }
        };
        tokio::join!(events, usage, endings, sending, comparing);
        schedule.stop();
        Ok(())
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it whoever could stop us more gently.
    drop(stopping.wait_for(|stop| *stop).await);
}

/// Waits for the next turn; `false` when there is none any more.
async fn woken(wake: &Notify, stopping: &watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        () = stopped(stopping.clone()) => false,
        () = wake.notified() => true,
    }
}

fn log_panic(joined: Result<(), tokio::task::JoinError>) {
    if let Err(error) = joined {
        tracing::error!(%error, "background work panicked; it is tried again at the next turn");
    }
}

/// The days and hours of the configuration as durations.
fn metering_rules(config: &Config) -> metering::Rules {
    metering::Rules {
        settle: TimeDelta::hours(config.metering.settle_hours.into()),
        backstop: TimeDelta::hours(config.metering.backstop_hours.into()),
        reread_days: config.metering.reread_days,
        daily_at: config.metering.daily_at,
        mode: config.metering.mode,
        concurrency: config.stripe.concurrency as usize,
        reconcile_daily: config.metering.reconcile_daily,
    }
}

fn worker_rules(config: &Config) -> worker::Rules {
    worker::Rules {
        past_due_grace: TimeDelta::days(config.access.past_due_grace_days.into()),
        backstop: TimeDelta::hours(config.metering.backstop_hours.into()),
        mode: config.metering.mode,
    }
}

/// What every route has: assets, our own answers for wrong addresses, and the time.
fn with_frame(router: Router, clock: &Clock) -> Router {
    let whole = router
        .merge(web::assets::routes())
        .fallback(async |uri: Uri| web::answer_at(uri.path(), web::not_found()))
        .method_not_allowed_fallback(async |uri: Uri| {
            web::answer_at(uri.path(), web::method_not_allowed())
        });
    // The features have secured their own routes; this is for what belongs to none of them.
    headers::secured(whole, headers::content_security_policy(&[]))
        .layer(middleware::from_fn_with_state(Arc::clone(clock), put_time))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            LONGEST_REQUEST,
        ))
}

async fn put_time(State(clock): State<Clock>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Now(clock()));
    next.run(request).await
}
