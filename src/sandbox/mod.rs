//! A Stripe and an Azure API Management to try the product against: real HTTP on loopback, real
//! signatures, a clock that can be moved and faults that can be switched on.
//!
//! `demo` and the tests run the product against it; `serve` never starts it. It imports nothing
//! of the product, so that it cannot share a mistake with it: what it knows of Stripe and Azure
//! it knows from their documentation alone.
//!
//! | service | what it stands for |
//! |---|---|
//! | [`stripe`] | `api.stripe.com` and the pages that Stripe hosts: checkout, invoice, customer portal |
//! | [`apim`] | `management.azure.com`, `login.microsoftonline.com` and `api.loganalytics.azure.com` |
//! | [`portal`] | the developer portal, `{service}.developer.azure-api.net` |
//! | [`gateway`] | the gateway with an example API, `{service}.azure-api.net` |
//! | [`mail`] | a mail server, whose mailboxes are on the console's page |
//! | [`console`] | the sandbox's own page and JSON API |

pub mod apim;
pub mod clock;
pub mod configuration;
pub mod console;
pub mod faults;
pub mod gateway;
pub mod guard;
pub mod journal;
pub mod mail;
pub mod observe;
pub mod page;
pub mod portal;
pub mod snapshot;
pub mod stripe;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::{Router, middleware};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use clock::Clock;
use faults::Faults;
use journal::{Journal, Side};
use observe::{Observer, observe};
use snapshot::Snapshot;

/// The longest step in which time moves, so that whatever is due in between happens in order.
const LONGEST_STEP: TimeDelta = TimeDelta::hours(1);
/// How often a ticking clock's sandbox looks for what has fallen due.
const TICK: Duration = Duration::from_millis(200);
/// How often things may set off one another at one moment before the sandbox moves on.
const ROUNDS_AT_ONE_MOMENT: usize = 100;

/// What the product under trial does when the sandbox's time has moved: it catches up.
pub type OnStep =
    Arc<dyn Fn(DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The loopback ports of the six services; 0 picks a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ports {
    pub stripe: u16,
    pub azure: u16,
    pub portal: u16,
    pub gateway: u16,
    pub console: u16,
    /// A snapshot from before there was a mail server has none.
    #[serde(default)]
    pub mail: u16,
}

impl Ports {
    /// The same ports, but a free one in the place of each that is taken.
    #[must_use]
    pub fn or_free(self) -> Self {
        Self {
            stripe: port_or_free(self.stripe),
            azure: port_or_free(self.azure),
            portal: port_or_free(self.portal),
            gateway: port_or_free(self.gateway),
            console: port_or_free(self.console),
            mail: port_or_free(self.mail),
        }
    }
}

/// `port` unless something listens there; then 0, which picks a free one.
pub fn port_or_free(port: u16) -> u16 {
    let is_free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if is_free { port } else { 0 }
}

/// Where the services listen, as base URLs without a trailing slash; the mail server's is
/// `smtp://…`.
#[derive(Debug, Clone, Serialize)]
pub struct Addresses {
    pub stripe: String,
    /// Management API and token endpoint alike.
    pub azure: String,
    pub portal: String,
    pub gateway: String,
    pub console: String,
    pub mail: String,
}

impl Addresses {
    /// The ports in them.
    pub fn ports(&self) -> Ports {
        let port = |url: &str| {
            let (_, port) = url.rsplit_once(':').unwrap_or_default();
            port.parse().unwrap_or_default()
        };
        Ports {
            stripe: port(&self.stripe),
            azure: port(&self.azure),
            portal: port(&self.portal),
            gateway: port(&self.gateway),
            console: port(&self.console),
            mail: port(&self.mail),
        }
    }
}

/// An address that the console's guide names besides the sandbox's own.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    pub name: String,
    pub url: String,
    /// What is to be found there, in a sentence.
    pub note: String,
}

/// A running sandbox. Cheap to clone; its servers stop when [`Sandbox::stop`] is called or the
/// runtime ends.
#[derive(Clone)]
pub struct Sandbox {
    pub clock: Clock,
    pub faults: Arc<Faults>,
    pub journal: Arc<Journal>,
    pub stripe: stripe::Stripe,
    pub azure: apim::Azure,
    pub gateway: gateway::Gateway,
    pub mail: mail::MailServer,
    addresses: Arc<Addresses>,
    links: Arc<Mutex<Vec<Link>>>,
    on_step: Arc<Mutex<Option<OnStep>>>,
    /// Until when planned calls have been served; whoever holds the lock moves time.
    served_until: Arc<tokio::sync::Mutex<DateTime<Utc>>>,
    moving_to: Arc<Mutex<Option<DateTime<Utc>>>>,
    servers: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Sandbox {
    /// Binds the six services to loopback and starts them.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start(clock: Clock, ports: Ports) -> std::io::Result<Self> {
        let listeners = Listeners::bind(ports).await?;
        let now = clock.now();
        let sandbox = Self::new(clock, now, listeners.addresses()?);
        sandbox.serve(listeners);
        Ok(sandbox)
    }

    /// Starts with everything that `snapshot` holds. Its time goes on where `clock` stands, which
    /// must not be before [`Snapshot::now`].
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn resume(snapshot: Snapshot, clock: Clock, ports: Ports) -> std::io::Result<Self> {
        let listeners = Listeners::bind(ports).await?;
        let sandbox = Self::new(clock, snapshot.served_until(), listeners.addresses()?);
        snapshot.unpack(&sandbox);
        sandbox.serve(listeners);
        Ok(sandbox)
    }

    fn new(clock: Clock, served_until: DateTime<Utc>, addresses: Addresses) -> Self {
        let addresses = Arc::new(addresses);
        let faults = Arc::new(Faults::default());
        let journal = Arc::new(Journal::default());
        let azure = apim::Azure::new(clock.clone(), (*addresses).clone());
        Self {
            stripe: stripe::Stripe::new(
                clock.clone(),
                Arc::clone(&faults),
                Arc::clone(&journal),
                (*addresses).clone(),
            ),
            gateway: gateway::Gateway::new(azure.clone(), clock.clone()),
            azure,
            mail: mail::MailServer::new(clock.clone(), Arc::clone(&faults), Arc::clone(&journal)),
            clock,
            faults,
            journal,
            addresses,
            links: Arc::default(),
            on_step: Arc::default(),
            served_until: Arc::new(tokio::sync::Mutex::new(served_until)),
            moving_to: Arc::default(),
            servers: Arc::default(),
        }
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Replaces the addresses that the console's guide names besides the sandbox's own.
    pub fn set_links(&self, links: Vec<Link>) {
        *locked(&self.links) = links;
    }

    pub fn links(&self) -> Vec<Link> {
        locked(&self.links).clone()
    }

    /// Names what has to catch up whenever the sandbox's time has moved.
    pub fn on_step(&self, callback: OnStep) {
        *locked(&self.on_step) = Some(callback);
    }

    /// Moves time forward by `by`, in steps of at most an hour; after each step everything that
    /// fell due happens: bills, webhook deliveries, planned calls, and what they set off.
    pub async fn advance(&self, by: TimeDelta) {
        let mut served_until = self.served_until.lock().await;
        let target = self.clock.now() + by;
        self.move_to(target, &mut served_until).await;
    }

    /// Moves time forward to `target` as [`Sandbox::advance`] does; a time that has passed changes
    /// nothing.
    pub async fn advance_to(&self, target: DateTime<Utc>) {
        let mut served_until = self.served_until.lock().await;
        self.move_to(target, &mut served_until).await;
    }

    async fn move_to(&self, target: DateTime<Utc>, served_until: &mut DateTime<Utc>) {
        let _moving = Moving::to(target, &self.moving_to);
        while self.clock.now() < target {
            self.clock.advance_to(self.next_step(target));
            self.serve_planned(served_until);
            self.catch_up().await;
        }
    }

    /// Where time is being moved to at this moment, if it is.
    pub fn moving_to(&self) -> Option<DateTime<Utc>> {
        *locked(&self.moving_to)
    }

    /// Lets everything that is due now happen, without moving time.
    pub async fn settle(&self) {
        let mut served_until = self.served_until.lock().await;
        self.serve_planned(&mut served_until);
        self.catch_up().await;
    }

    fn next_step(&self, target: DateTime<Utc>) -> DateTime<Utc> {
        let now = self.clock.now();
        let due = self.stripe.next_due().filter(|due| *due > now);
        target.min(now + LONGEST_STEP).min(due.unwrap_or(target))
    }

    fn serve_planned(&self, served_until: &mut DateTime<Utc>) {
        let now = self.clock.now();
        self.gateway.serve_planned(*served_until, now);
        *served_until = now;
    }

    /// Ends the servers and the background work.
    pub fn stop(&self) {
        for server in locked(&self.servers).drain(..) {
            server.abort();
        }
    }

    async fn catch_up(&self) {
        for _ in 0..ROUNDS_AT_ONE_MOMENT {
            let happened = self.stripe.run_due().await;
            let callback = locked(&self.on_step).clone();
            if let Some(callback) = callback {
                callback(self.clock.now()).await;
            }
            if happened == 0 && !self.stripe.has_due() {
                return;
            }
        }
    }

    fn serve(&self, listeners: Listeners) {
        let routers = [
            self.observed(self.stripe.router(), Side::Stripe),
            self.observed(self.azure.router(), Side::Azure),
            self.observed(portal::router(self.portal()), Side::Portal),
            self.observed(self.gateway.router(), Side::Gateway),
            console::router(self.clone()),
        ];
        let mut servers = locked(&self.servers);
        for (listener, router) in listeners.http.into_iter().zip(routers) {
            let task = tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::error!(%error, "a sandbox service ended");
                }
            });
            servers.push(task.abort_handle());
        }
        let mail = tokio::spawn(self.mail.clone().serve(listeners.mail));
        servers.push(mail.abort_handle());
        if self.clock.is_ticking() {
            let sandbox = self.clone();
            let task = tokio::spawn(async move { sandbox.tick().await });
            servers.push(task.abort_handle());
        }
    }

    fn portal(&self) -> portal::Portal {
        portal::Portal {
            azure: self.azure.clone(),
            clock: self.clock.clone(),
            gateway_url: self.addresses.gateway.clone(),
            console_url: self.addresses.console.clone(),
        }
    }

    /// With a ticking clock, what falls due happens by itself, within a fifth of a second.
    async fn tick(&self) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let mut served_until = self.served_until.lock().await;
            self.serve_planned(&mut served_until);
            self.stripe.run_due().await;
        }
    }

    fn observed(&self, router: Router, side: Side) -> Router {
        let observer = Observer {
            side,
            clock: self.clock.clone(),
            faults: Arc::clone(&self.faults),
            journal: Arc::clone(&self.journal),
        };
        router.layer(middleware::from_fn_with_state(observer, observe))
    }
}

/// The sockets of the services, those of HTTP in the order of [`Ports`].
struct Listeners {
    http: [TcpListener; 5],
    mail: TcpListener,
}

impl Listeners {
    async fn bind(ports: Ports) -> std::io::Result<Self> {
        Ok(Self {
            http: [
                listen(ports.stripe).await?,
                listen(ports.azure).await?,
                listen(ports.portal).await?,
                listen(ports.gateway).await?,
                listen(ports.console).await?,
            ],
            mail: listen(ports.mail).await?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        let url = |at: usize| {
            self.http[at]
                .local_addr()
                .map(|address| format!("http://{address}"))
        };
        Ok(Addresses {
            stripe: url(0)?,
            azure: url(1)?,
            portal: url(2)?,
            gateway: url(3)?,
            console: url(4)?,
            mail: format!("smtp://{}", self.mail.local_addr()?),
        })
    }
}

async fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await
}

/// Says where time is moving to for as long as it lives, also when the move is abandoned.
struct Moving<'a>(&'a Mutex<Option<DateTime<Utc>>>);

impl<'a> Moving<'a> {
    fn to(target: DateTime<Utc>, shown: &'a Mutex<Option<DateTime<Utc>>>) -> Self {
        *locked(shown) = Some(target);
        Self(shown)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        *locked(self.0) = None;
    }
}

/// A panic of another task leaves the sandbox's plain values whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::clock::Clock;
    use super::gateway::PlannedCalls;
    use super::{Ports, Sandbox};

    async fn sandbox() -> Sandbox {
        let clock = Clock::standing(DateTime::UNIX_EPOCH);
        Sandbox::start(clock, Ports::default()).await.unwrap()
    }

    #[tokio::test]
    async fn moves_that_are_asked_for_at_once_add_up() {
        let sandbox = sandbox().await;
        let hour = TimeDelta::hours(1);
        tokio::join!(sandbox.advance(hour), sandbox.advance(hour));
        assert_eq!(sandbox.clock.now(), DateTime::UNIX_EPOCH + hour * 2);
        assert_eq!(sandbox.moving_to(), None);
    }

    #[tokio::test]
    async fn a_planned_call_is_served_once_however_time_moves() {
        let sandbox = sandbox().await;
        let master = sandbox.azure.subscription("master").unwrap();
        sandbox.gateway.plan(PlannedCalls {
            key: master.primary_key,
            path: "/weather/today".into(),
            count: 7,
            from: sandbox.clock.now(),
            over: TimeDelta::hours(7),
        });
        for _ in 0..4 {
            sandbox.advance(TimeDelta::hours(2)).await;
            sandbox.settle().await;
        }
        assert_eq!(sandbox.azure.usage()["master"].total(), 7);
    }

    #[tokio::test]
    async fn a_move_that_is_abandoned_no_longer_shows() {
        let sandbox = sandbox().await;
        sandbox.on_step(std::sync::Arc::new(|_| Box::pin(std::future::pending())));
        tokio::select! {
            biased;
            () = sandbox.advance(TimeDelta::hours(1)) => panic!("the step never ends"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(sandbox.moving_to(), None);
    }
}
