//! The wires of a process: its requests to the vendors, and the requests that reach it. Here it is
//! decided what goes wrong on the way, and when the process is killed.
//!
//! Each process has a listener of its own for each vendor, and whatever it sends after its death
//! is hung up on: it runs out on a store that nobody looks at any more. A request that is hung up
//! on stands for one that timed out, without the wait; to the product both are the same.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::{Router, middleware};
use chrono::{DateTime, Utc};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tollhouse::app::App;
use tollhouse::sandbox::Sandbox;
use tollhouse::sandbox::faults::{Fault, Kind};
use tollhouse::sandbox::journal::Side;
use tollhouse::sandbox::observe::{Observer, observe};
use tower::ServiceExt;

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::effects::{self, Effect, Effects};
use crate::image::{self, Mark};
use crate::sources::{self, Failing, Outage, Source};

/// Nobody answers any more.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
pub(crate) struct HungUp;

type Answer = Result<Response<Body>, HungUp>;

/// Where a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Between two commits before a request leaves, or when it has arrived and nothing happened.
    Before,
    /// When the request has had its effect; its answer reaches nobody that is alive.
    After,
}

/// How often a request goes wrong, in percent, by the vendor that it goes to, and which source of
/// usage always does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) stripe: u64,
    pub(crate) azure: u64,
    pub(crate) outage: Option<Outage>,
}

impl Weather {
    fn to(self, side: Side) -> u64 {
        if side == Side::Stripe {
            self.stripe
        } else {
            self.azure
        }
    }

    pub(crate) fn is_clear(self) -> bool {
        self.stripe == 0 && self.azure == 0 && self.outage.is_none()
    }
}

/// What can become of a request besides an answer.
const TROUBLES: [Trouble; 7] = [
    Trouble::Played(Kind::TooManyRequests),
    Trouble::Played(Kind::ErrorBeforeEffect),
    Trouble::Played(Kind::ErrorAfterEffect),
    Trouble::Played(Kind::Nonsense),
    Trouble::HangUp(Moment::Before),
    Trouble::HangUp(Moment::After),
    Trouble::HangUp(Moment::After),
];

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Played(Kind),
    HangUp(Moment),
}

impl From<Failing> for Trouble {
    fn from(failing: Failing) -> Self {
        match failing {
            Failing::Error => Self::Played(Kind::ErrorBeforeEffect),
            Failing::Nonsense => Self::Played(Kind::Nonsense),
            Failing::HangUp => Self::HangUp(Moment::Before),
            Failing::Partial => Self::Played(Kind::PartialAnswer),
            Failing::Nothing => Self::Played(Kind::EmptyAnswer),
        }
    }
}

/// What the wires share. One process is connected at a time.
pub(crate) struct Switchboard {
    state: Mutex<State>,
    effects: Effects,
}

struct State {
    /// Which process is connected; counts up.
    generation: u32,
    app: Option<App>,
    folder: PathBuf,
    durable: Mark,
    weather: Weather,
    /// After how many more requests, in or out, the process is killed.
    kill: Option<(u64, Moment)>,
    dice: Dice,
    journal: Journal,
}

/// What happened on the wires, for the comparison of two runs and for whoever looks into one.
#[derive(Debug, Default, Clone)]
pub(crate) struct Journal {
    pub(crate) lines: Vec<String>,
    pub(crate) requests: u64,
    pub(crate) troubles: u64,
    pub(crate) kills: u64,
    pub(crate) seen: Coverage,
}

impl Journal {
    /// Counts another one's figures, and not its lines.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.troubles += other.troubles;
        self.kills += other.kills;
        self.seen.add(&other.seen);
    }
}

impl State {
    fn is_alive(&self, generation: u32) -> bool {
        self.generation == generation && self.app.is_some()
    }

    fn store(&self) -> PathBuf {
        self.folder.join(format!("{}.db", self.generation))
    }

    fn next_store(&self) -> PathBuf {
        self.folder.join(format!("{}.db", self.generation + 1))
    }

    fn note(&mut self, line: String) {
        self.journal.lines.push(line);
    }

    /// Whether this request is the one at which the process is killed.
    fn takes_its_toll(&mut self) -> Option<Moment> {
        let (left, moment) = self.kill?;
        if left > 0 {
            self.kill = Some((left - 1, moment));
            return None;
        }
        self.kill = None;
        Some(moment)
    }

    fn die(&mut self, moment: Moment) {
        let (store, next) = (self.store(), self.next_store());
        match moment {
            Moment::Before => image::take(&store, &next, self.durable, &mut self.dice),
            Moment::After => image::take_all(&store, &next),
        }
        self.app = None;
        self.kill = None;
        self.journal.kills += 1;
        self.journal.seen.saw(&format!("killed {moment:?}"));
        self.note(format!("  killed {moment:?}"));
    }
}

impl Switchboard {
    /// With a store `0.db` in `folder`, and nobody connected.
    pub(crate) fn new(folder: PathBuf, dice: Dice) -> Self {
        Self {
            effects: Effects::default(),
            state: Mutex::new(State {
                generation: 0,
                app: None,
                folder,
                durable: Mark::default(),
                weather: Weather::default(),
                kill: None,
                dice,
                journal: Journal::default(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn app(&self) -> Option<App> {
        self.state().app.clone()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.state().store()
    }

    /// The next process may start on what the last one left.
    pub(crate) fn next_generation(&self) -> (u32, PathBuf) {
        let mut state = self.state();
        state.generation += 1;
        (state.generation, state.store())
    }

    pub(crate) fn connect(&self, app: App) {
        let mut state = self.state();
        state.durable = Mark::now(&state.store());
        state.app = Some(app);
    }

    /// Kills the process where it is, between two requests.
    pub(crate) fn kill_now(&self) {
        let mut state = self.state();
        if state.app.is_some() {
            state.die(Moment::Before);
        }
    }

    pub(crate) fn kill_after(&self, requests: u64, moment: Moment) {
        self.state().kill = Some((requests, moment));
    }

    pub(crate) fn spare(&self) {
        self.state().kill = None;
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub(crate) fn note(&self, line: String) {
        self.state().note(line);
    }

    pub(crate) fn saw(&self, what: &str) {
        self.state().journal.seen.saw(what);
    }

    /// What the processes brought about at the vendors.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.effects.lock().unwrap().clone()
    }

    pub(crate) fn journal(&self) -> Journal {
        self.state().journal.clone()
    }

    /// A request of somebody outside to the process that is connected.
    pub(crate) async fn ask(&self, mut request: Request<Body>) -> Answer {
        let line = format!("  > {} {}", request.method(), request.uri().path());
        let (router, generation, moment) = {
            let mut state = self.state();
            let app = state.app.clone().ok_or(HungUp)?;
            state.note(line);
            let moment = state.takes_its_toll();
            if moment == Some(Moment::Before) {
                state.die(Moment::Before);
                return Err(HungUp);
            }
            (app.public(), state.generation, moment)
        };
        let somebody = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
        request.extensions_mut().insert(ConnectInfo(somebody));
        let response = router.oneshot(request).await.unwrap_or_else(never);
        let mut state = self.state();
        if !state.is_alive(generation) {
            return Err(HungUp);
        }
        if moment.is_some() {
            state.die(Moment::After);
            return Err(HungUp);
        }
        // Whoever has the answer knows that this much was done.
        state.durable = Mark::now(&state.store());
        let status = response.status().as_u16();
        state.note(format!("  < {status}"));
        Ok(response)
    }

    /// A request of a process to a vendor.
    async fn call(&self, wire: &Wire, request: Request<Body>) -> Answer {
        let (request, outage) = self.outage(wire, request).await;
        let (trouble, moment) = self.decide(wire, &request, outage)?;
        if let Some(Trouble::Played(kind)) = trouble {
            wire.sandbox.faults.add(Fault {
                kind,
                side: wire.side,
                method: None,
                path_contains: String::new(),
                times: 1,
                skip: 0,
            });
        }
        let response = wire.vendor.clone().oneshot(request).await;
        let response = response.unwrap_or_else(never);
        let mut state = self.state();
        if !state.is_alive(wire.generation) {
            return Err(HungUp);
        }
        if moment == Some(Moment::After) {
            state.die(Moment::After);
            return Err(HungUp);
        }
        match trouble {
            Some(Trouble::HangUp(_)) => Err(HungUp),
            Some(Trouble::Played(_)) | None => Ok(response),
        }
    }

    /// The outage that the request runs into.
    async fn outage(&self, wire: &Wire, request: Request<Body>) -> (Request<Body>, Option<Outage>) {
        let asked = Source::asked(request.uri().path());
        let outage = self.state().weather.outage;
        let outage = outage.filter(|outage| asked == Some(outage.source));
        if outage.map(|outage| outage.failing) != Some(Failing::Nothing) {
            return (request, outage);
        }
        let now = wire.sandbox.clock.now();
        let (request, is_provisional) = sources::is_provisional(request, now).await;
        (request, outage.filter(|_| is_provisional))
    }

    fn decide(
        &self,
        wire: &Wire,
        request: &Request<Body>,
        outage: Option<Outage>,
    ) -> Result<(Option<Trouble>, Option<Moment>), HungUp> {
        let mut state = self.state();
        if !state.is_alive(wire.generation) {
            return Err(HungUp);
        }
        state.journal.requests += 1;
        let percent = state.weather.to(wire.side);
        let moment = state.takes_its_toll();
        let trouble = state
            .dice
            .percent(percent)
            .then(|| *state.dice.pick(&TROUBLES));
        let trouble = match outage {
            Some(outage) => Some(outage.failing.into()),
            None => trouble,
        };
        let line = format!(
            "    {} {} {} {}{}",
            wire.sandbox.clock.now().format("%dT%H:%M"),
            wire.side.as_str(),
            request.method(),
            without_chance(request.uri().path()),
            trouble.map_or_else(String::new, |trouble| format!(" {trouble:?}")),
        );
        state.note(line);
        if moment == Some(Moment::Before) {
            state.die(Moment::Before);
            return Err(HungUp);
        }
        // Whoever gets the request knows that what led to it was done.
        state.durable = Mark::now(&state.store());
        if let Some(trouble) = trouble {
            state.journal.troubles += 1;
            let what = match (outage, trouble) {
                (Some(outage), _) => outage.to_string(),
                (None, Trouble::Played(kind)) => format!("{kind:?}"),
                (None, Trouble::HangUp(_)) => format!("{trouble:?}"),
            };
            state.journal.seen.saw(&what);
        }
        match trouble {
            Some(Trouble::HangUp(Moment::Before)) => Err(HungUp),
            other => Ok((other, moment)),
        }
    }
}

/// The way of one process to one vendor.
struct Wire {
    generation: u32,
    side: Side,
    vendor: Router,
    sandbox: Sandbox,
}

/// A listener that ends with this.
pub(crate) struct Line {
    pub(crate) url: String,
    accepting: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Opens the wires of a process: to Stripe and to Azure.
pub(crate) async fn open(
    board: &Arc<Switchboard>,
    sandbox: &Sandbox,
    generation: u32,
) -> [Line; 2] {
    let stripe = (Side::Stripe, sandbox.stripe.router());
    let azure = (Side::Azure, sandbox.azure.router());
    let stripe = to_vendor(board, sandbox, generation, stripe).await;
    let azure = to_vendor(board, sandbox, generation, azure).await;
    [stripe, azure]
}

async fn to_vendor(
    board: &Arc<Switchboard>,
    sandbox: &Sandbox,
    generation: u32,
    (side, router): (Side, Router),
) -> Line {
    let observer = Observer {
        side,
        clock: sandbox.clock.clone(),
        faults: Arc::clone(&sandbox.faults),
        journal: Arc::clone(&sandbox.journal),
    };
    let effects = (side, Arc::clone(&board.effects));
    let router = router.layer(middleware::from_fn_with_state(effects, effects::note));
    let wire = Arc::new(Wire {
        generation,
        side,
        vendor: router.layer(middleware::from_fn_with_state(observer, observe)),
        sandbox: sandbox.clone(),
    });
    let board = Arc::clone(board);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listen(listener, move |request| {
        let (board, wire) = (Arc::clone(&board), Arc::clone(&wire));
        async move { board.call(&wire, request).await }
    })
}

/// The address at which the product is reached, whichever process it is.
pub(crate) fn front_door(listener: TcpListener, board: Arc<Switchboard>) -> Line {
    listen(listener, move |request| {
        let board = Arc::clone(&board);
        async move { board.ask(request).await }
    })
}

fn listen<F>(
    listener: TcpListener,
    answer: impl Fn(Request<Body>) -> F + Clone + Send + 'static,
) -> Line
where
    F: Future<Output = Answer> + Send + 'static,
{
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                answer(request.map(Body::new))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A connection that breaks is one that was meant to.
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    Line {
        url,
        accepting: accepting.abort_handle(),
    }
}

/// The path without the one id in it that does not belong to the seed: of an operation at Azure.
fn without_chance(path: &str) -> &str {
    const OPERATIONS: &str = "/operationresults/";
    match path.find(OPERATIONS) {
        Some(at) => &path[..at + OPERATIONS.len()],
        None => path,
    }
}

fn never(never: Infallible) -> Response<Body> {
    match never {}
}

/// A stretch of time in which not all was well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spell {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}
