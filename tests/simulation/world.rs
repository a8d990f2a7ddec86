//! The world of one run: Stripe and Azure, the product, and the time that passes for all of them.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use http::{Request, Response};
use tokio::runtime::Runtime;
use tollhouse::app::set_up::SetUp;
use tollhouse::app::{App, Clock};
use tollhouse::catalogue::Catalogue;
use tollhouse::config::{Config, Environment};
use tollhouse::metering::MeteringError;
use tollhouse::metering::reconcile::{Report, Scope};
use tollhouse::sandbox::configuration::{self, Product};
use tollhouse::sandbox::snapshot::{Keeper, Snapshot};
use tollhouse::sandbox::{self, Ports, Sandbox};
use tower::ServiceExt;

use crate::consumer::{Consumer, Page, Place};
use crate::dice::Dice;
use crate::image;
use crate::sources::{SETTLE, Sources};
use crate::wire::{self, Line, Spell, Switchboard};

/// All seven types of plan, in blocks that a walk fills, with rates that need rounding.
pub(crate) const CATALOGUE: &str = include_str!("catalogue.json");
pub(crate) const START: &str = "2026-01-12T09:20:00Z";
/// How many consumers have an account when a run begins.
pub(crate) const CONSUMERS: usize = 3;
/// Time goes on at least this far at once.
const MOMENT: TimeDelta = TimeDelta::minutes(45);
/// The purposes of the dice.
const OF_THE_WIRES: u64 = 1;
const OF_TIME: u64 = 2;
const OF_THE_SETTINGS: u64 = 5;

/// Where all runs of one thread begin: everything set up, consumers signed up, nothing bought.
/// Signing up takes a costly hash, and setting up a hundred requests: too much for each run.
pub(crate) struct Ground {
    folder: tempfile::TempDir,
    /// Stripe's webhook endpoint names its address, so it stays the same for all runs.
    front: TcpListener,
    config: Config,
    consumers: Vec<Consumer>,
}

impl Ground {
    pub(crate) fn prepare() -> Self {
        let folder = tempfile::tempdir_in(memory()).unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = runtime();
        let clock = sandbox::clock::Clock::standing(start());
        let started = Sandbox::start(clock, Ports::default());
        let sandbox = runtime.block_on(started).unwrap();
        let config = configuration(&sandbox, &folder, front.local_addr().unwrap());
        runtime.block_on(set_up(config.clone(), start()));
        let mut ground = Self {
            folder,
            front,
            config,
            consumers: Vec::new(),
        };
        let mut world = World::open(&ground, runtime, sandbox, 0);
        let consumers = (0..CONSUMERS).map(|number| Consumer::sign_up(&mut world, number));
        ground.consumers = consumers.collect();
        // The first daily run reads more than a month.
        world.advance(TimeDelta::zero(), MOMENT);
        let keeper = Keeper::new(world.sandbox.clone(), ground.snapshot());
        keeper.save().unwrap();
        let store = ground.store();
        image::take_all(&world.board.store(), &store.with_extension("ground"));
        drop(world);
        image::settle(&store.with_extension("ground"));
        std::fs::rename(store.with_extension("ground"), &store).unwrap();
        ground
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("sandbox.json")
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("ground.db")
    }
}

/// A run's world. Time stands still unless [`World::advance`] moves it, and the product works only
/// in the turns that it is given then.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) board: Arc<Switchboard>,
    pub(crate) consumers: Vec<Consumer>,
    /// When the product was down, or met trouble.
    pub(crate) spells: Vec<Spell>,
    stripe_pages: axum::Router,
    config: Config,
    sources: Sources,
    /// How often the product asks Stripe for what it missed.
    gap_fill_minutes: u32,
    pub(crate) compares_daily: bool,
    catalogue: Catalogue,
    dice: Dice,
    /// When the product that is down comes back.
    back_at: Option<DateTime<Utc>>,
    lines: Option<[Line; 2]>,
    _front: Line,
    _folder: tempfile::TempDir,
    runtime: Option<Runtime>,
}

impl World {
    pub(crate) fn resume(ground: &Ground, seed: u64) -> Self {
        let runtime = runtime();
        let snapshot = Snapshot::read(&ground.snapshot()).unwrap().unwrap();
        let clock = sandbox::clock::Clock::standing(snapshot.now());
        let resumed = Sandbox::resume(snapshot, clock, Ports::default());
        let sandbox = runtime.block_on(resumed).unwrap();
        Self::open(ground, runtime, sandbox, seed)
    }

    fn open(ground: &Ground, runtime: Runtime, sandbox: Sandbox, seed: u64) -> Self {
        let folder = tempfile::tempdir_in(memory()).unwrap();
        let first = folder.path().join("1.db");
        if ground.store().exists() {
            std::fs::copy(ground.store(), &first).unwrap();
        } else {
            image::take_apart(&ground.config.store.path, &first);
        }
        let dice = Dice::new(seed, OF_THE_WIRES);
        let board = Arc::new(Switchboard::new(folder.path().to_owned(), dice));
        let front = ground.front.try_clone().unwrap();
        front.set_nonblocking(true).unwrap();
        let door = Arc::clone(&board);
        let front = runtime.block_on(async move {
            wire::front_door(tokio::net::TcpListener::from_std(front).unwrap(), door)
        });
        let product = Arc::clone(&board);
        sandbox.on_step(Arc::new(move |_| {
            let app = product.app();
            Box::pin(async move {
                if let Some(app) = app {
                    app.catch_up().await;
                }
            })
        }));
        let sources = Sources::of(seed);
        sources.set_up(&sandbox);
        board.saw(sources.name());
        let mut settings = Dice::new(seed, OF_THE_SETTINGS);
        // Most seeds spend their requests elsewhere than on new tokens and looks for gaps.
        let token_hours = settings.weighted(&[(1, 1), (7, 24)]);
        sandbox
            .azure
            .set_token_lifetime(TimeDelta::hours(token_hours));
        let gap_fill_hours = settings.weighted(&[(1, 6), (7, 24)]);
        // It asks for each day of a period once more.
        let compares_daily = settings.weighted(&[(1, true), (3, false)]);
        if compares_daily {
            board.saw("compared daily");
        }
        let mut world = Self {
            stripe_pages: sandbox.stripe.router(),
            sandbox,
            board,
            consumers: ground.consumers.clone(),
            spells: Vec::new(),
            config: ground.config.clone(),
            sources,
            gap_fill_minutes: gap_fill_hours * 60,
            compares_daily,
            catalogue: Catalogue::parse(CATALOGUE).unwrap(),
            dice: Dice::new(seed, OF_TIME),
            back_at: None,
            lines: None,
            _front: front,
            _folder: folder,
            runtime: Some(runtime),
        };
        world.start_product();
        world
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.sandbox.clock.now()
    }

    fn start_product(&mut self) {
        let (generation, store) = self.board.next_generation();
        image::settle(&store);
        let opened = wire::open(&self.board, &self.sandbox, generation);
        let lines = self.runtime().block_on(opened);
        let mut config = self.config.clone();
        config.stripe.api_base.clone_from(&lines[0].url);
        config.apim.arm_url.clone_from(&lines[1].url);
        config.apim.authority_url.clone_from(&lines[1].url);
        self.sources.configure(&mut config, &lines[1].url);
        config.stripe.gap_fill_minutes = self.gap_fill_minutes;
        config.metering.reconcile_daily = self.compares_daily;
        config.store.path = store;
        let clock = self.sandbox.clock.clone();
        let clock: Clock = Arc::new(move || clock.now());
        let app = App::build(&config, self.catalogue.clone(), clock).unwrap();
        self.board.connect(app);
        self.lines = Some(lines);
        self.note(format_args!("process {generation} starts"));
    }

    /// Moves time, with everything that falls due on the way, in steps of at most `longest`.
    pub(crate) fn advance(&mut self, by: TimeDelta, longest: TimeDelta) {
        let target = self.now() + by;
        loop {
            self.bring_back();
            self.runtime().block_on(self.sandbox.settle());
            self.notice_death();
            let now = self.now();
            if now >= target {
                return;
            }
            let events = [
                self.sandbox.stripe.next_due(),
                self.back_at,
                self.grace(now),
            ];
            let next = events.into_iter().flatten().filter(|due| *due > now).min();
            // What falls due within minutes is done together, as by a server that is busy.
            let next = next.map_or(target, |due| due.max(now + MOMENT));
            let next = next.min(now + longest).min(target);
            let next = self.closing_time(now, next).unwrap_or(next);
            self.sandbox.clock.advance_to(next);
        }
    }

    /// What `reconcile --repair` does, if the product is up.
    pub(crate) fn repair(&mut self, scope: Scope) -> Option<Result<Report, MeteringError>> {
        self.bring_back();
        let app = self.board.app()?;
        let work = async { tokio::task::spawn_blocking(move || app.repair(scope, false)).await };
        let report = self.runtime().block_on(work).unwrap();
        self.notice_death();
        Some(report)
    }

    /// A moment before the next thing that Stripe does, if it follows soon and drafts are about: a
    /// product that is up has its turn in the hour before Stripe finalizes a draft by itself.
    fn grace(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let has_drafts = self.sandbox.stripe.has_any("invoice", "draft");
        let due = self.sandbox.stripe.next_due().filter(|_| has_drafts)?;
        let grace = due - TimeDelta::minutes(5);
        (now < grace && grace < now + TimeDelta::hours(1)).then_some(grace)
    }

    /// When drafts can be closed between `now` and `next`: half a day after their last day. A period
    /// that was broken off leaves hours for it, so a product that is up gets its turn then.
    fn closing_time(&self, now: DateTime<Utc>, next: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        let settled = [midnight, midnight + TimeDelta::days(1)].map(|day| day + SETTLE + MOMENT);
        let time = settled
            .into_iter()
            .find(|time| now < *time && *time < next)?;
        let has_drafts = self.sandbox.stripe.has_any("invoice", "draft");
        has_drafts.then_some(time)
    }

    /// Decides when a product that was just killed comes back.
    fn notice_death(&mut self) {
        if self.board.app().is_some() || self.back_at.is_some() {
            return;
        }
        let now = self.now();
        let down = match self.dice.below(8) {
            0..=3 => TimeDelta::zero(),
            4..=5 => self.dice.seconds(1, 600),
            6 => self.dice.seconds(600, 6 * 3_600),
            _ => self.dice.seconds(3_600, 20 * 3_600),
        };
        self.back_at = Some(now + down);
        self.spells.push(Spell {
            from: now,
            to: now + down,
        });
    }

    fn bring_back(&mut self) {
        self.notice_death();
        if self.back_at.is_some_and(|at| at <= self.now()) {
            self.back_at = None;
            self.start_product();
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it ends with the world")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.sandbox.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Place for World {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn consumers(&mut self) -> &mut Vec<Consumer> {
        &mut self.consumers
    }

    fn ask(&mut self, request: Request<String>) -> Option<Page> {
        self.bring_back();
        let answer = self.runtime().block_on(async {
            let answer = self.board.ask(request.map(Body::from)).await.ok()?;
            Some(read(answer).await)
        });
        self.notice_death();
        answer
    }

    fn ask_stripe(&mut self, request: Request<String>) -> Page {
        self.runtime().block_on(async {
            let pages = self.stripe_pages.clone();
            let answer = pages.oneshot(request.map(Body::from)).await;
            read(answer.unwrap()).await
        })
    }

    fn saw(&self, what: &str) {
        self.board.saw(what);
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        let at = self.now().format("%m-%dT%H:%M:%S");
        self.board.note(format!("{at} {text}"));
    }
}

pub(crate) async fn read(answer: Response<Body>) -> Page {
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Page::new(&head, String::from_utf8(body.into()).unwrap())
}

pub(crate) fn start() -> DateTime<Utc> {
    START.parse().unwrap()
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// A folder where durable costs nothing, if there is one.
pub(crate) fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() {
        shared
    } else {
        std::env::temp_dir()
    }
}

pub(crate) async fn set_up(config: Config, now: DateTime<Utc>) {
    let work = tokio::task::spawn_blocking(move || {
        let set_up = SetUp::new(&config, Catalogue::parse(CATALOGUE).unwrap()).unwrap();
        let plan = set_up.plan().unwrap();
        set_up.apply(&plan, now).unwrap();
    });
    work.await.unwrap();
}

fn configuration(sandbox: &Sandbox, folder: &tempfile::TempDir, front: SocketAddr) -> Config {
    let catalogue = folder.path().join("monetizationModels.json");
    std::fs::write(&catalogue, CATALOGUE).unwrap();
    let product = Product {
        portal_listen: front,
        // Nobody listens: the figures of the status page are read from the store.
        status_listen: "127.0.0.1:9".parse().unwrap(),
        status_password: "a password of the tests".to_owned(),
        portal_signs_in: false,
        store: folder.path().join("tollhouse.db"),
        catalogue,
    };
    let file = folder.path().join("tollhouse.toml");
    std::fs::write(&file, configuration::text(sandbox, &product)).unwrap();
    let mut config = Config::load(Some(&file), &Environment::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    // The mail server's port is another one in each run.
    config.mail = None;
    // Retries pause in real time; whoever asked tries again later anyway.
    config.stripe.attempts = 1;
    config.apim.attempts = 1;
    // A day that is read again is a request.
    config.metering.reread_days = 1;
    // One after another: the order of effects belongs to the seed.
    config.stripe.concurrency = 1;
    config.stripe.events_per_second = 10_000;
    config.stripe.reads_per_second = 10_000;
    config.portal.session_hours = 24 * 365;
    config
}
