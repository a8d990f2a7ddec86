//! The real binary, killed by the system (`kill -9`) at random moments under load, and started
//! again on what it left.
//!
//! Where the seeds choose the moment and can be walked again, this leaves it to chance: real
//! threads, a real disk, a real clock. The month before is lived quietly and on a clock of its own,
//! so that billing periods are closed under fire too.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use axum::body::Body;
use chrono::{DateTime, Months, NaiveTime, TimeDelta, Utc};
use http::Request;
use serde_json::Value;
use tokio::runtime::Runtime;
use tollhouse::app::{App, Clock, Listeners};
use tollhouse::catalogue::Catalogue;
use tollhouse::config::{Config, Environment};
use tollhouse::sandbox::configuration::{self, Product};
use tollhouse::sandbox::{self, Ports, Sandbox};
use tower::ServiceExt as _;

use crate::checks::{self, Evidence};
use crate::consumer::{Consumer, Page, Place};
use crate::dice::Dice;
use crate::walk::Served;
use crate::wire::Spell;
use crate::world::{CATALOGUE, read, set_up};

/// How often the binary is killed.
const KILLS: u32 = 100;
const CONSUMERS: usize = 12;
/// What each of them orders in the quiet month.
const ORDERS: usize = 2;
/// How long after one another the drafts of that month become due, so that many lives close some.
const DUE_APART: TimeDelta = TimeDelta::milliseconds(1_500);
/// How long Stripe's meter takes to count a report: less than a minute, and more than most lives.
const METER_LAG: TimeDelta = TimeDelta::milliseconds(500);
/// The longest that the binary lives under load, after it says that it is ready.
const LIFE_MS: u64 = 220;
/// How long it may take to start, and to do what waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary and what it lives on.
struct Town {
    sandbox: Sandbox,
    runtime: Runtime,
    config: Config,
    config_file: PathBuf,
    consumers: Vec<Consumer>,
    agent: ureq::Agent,
    pages: axum::Router,
    folder: tempfile::TempDir,
}

impl Town {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let clock = sandbox::clock::Clock::ticking(a_month_before(now()));
        let sandbox = runtime
            .block_on(Sandbox::start(clock, Ports::default()))
            .unwrap();
        let (config, config_file) = write_configuration(&sandbox, folder.path());
        runtime.block_on(set_up(config.clone(), sandbox.clock.now()));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .build();
        Self {
            pages: sandbox.stripe.router(),
            sandbox,
            runtime,
            config,
            config_file,
            consumers: Vec::new(),
            agent: agent.into(),
            folder,
        }
    }

    /// Everybody signs up, buys and calls, and nothing goes wrong, until the month has ended and its
    /// invoices are drafts that Stripe leaves to us. Gives their ids.
    fn live_quietly(&mut self, dice: &mut Dice, served: &mut Vec<Served>) -> Vec<String> {
        let month_ends = midnight(now());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let product = self.start_in_process(stopped);
        for number in 0..CONSUMERS {
            let consumer = Consumer::sign_up(self, number);
            self.consumers.push(consumer);
        }
        for at in (0..CONSUMERS).cycle().take(CONSUMERS * ORDERS) {
            Consumer::order(at, self, dice);
            Consumer::pay(at, self, dice);
            self.runtime.block_on(self.sandbox.settle());
        }
        while self.sandbox.clock.now() < month_ends {
            for at in 0..CONSUMERS {
                self.call(at, dice, served);
            }
            // A moment later Stripe has made the drafts, and an hour later it would finalize them.
            let next = self.sandbox.clock.now() + TimeDelta::hours(15);
            let next = next.min(month_ends + TimeDelta::minutes(1));
            self.sandbox.clock.advance_to(next);
            self.runtime.block_on(self.sandbox.settle());
        }
        stop.send(()).unwrap();
        self.runtime.block_on(product).unwrap();
        self.sandbox
            .on_step(Arc::new(|_| Box::pin(std::future::ready(()))));
        self.sandbox.clock.advance_to(now());
        self.sandbox.stripe.set_meter_lag(METER_LAG);
        let db = rusqlite::Connection::open(&self.config.store.path).unwrap();
        let mut statement = db
            .prepare("SELECT invoice_id FROM invoices WHERE state = 'settling'")
            .unwrap();
        let drafts = statement.query_map([], |row| row.get(0)).unwrap();
        drafts.map(Result::unwrap).collect()
    }

    /// The product on the sandbox's clock, which can be moved, until `stopped`.
    fn start_in_process(
        &self,
        stopped: tokio::sync::oneshot::Receiver<()>,
    ) -> tokio::task::JoinHandle<()> {
        let clock = self.sandbox.clock.clone();
        let clock: Clock = Arc::new(move || clock.now());
        let catalogue = Catalogue::parse(CATALOGUE).unwrap();
        let mut config = self.config.clone();
        // Whoever signs up is still signed in when the month is over.
        config.portal.session_hours = 24 * 365;
        let app = App::build(&config, catalogue, clock).unwrap();
        let working = app.clone();
        self.sandbox.on_step(Arc::new(move |_| {
            let app = working.clone();
            Box::pin(async move { app.catch_up().await })
        }));
        let (portal, status) = (self.config.portal.listen, self.config.status.listen);
        let listeners = self.runtime.block_on(async {
            Listeners {
                public: tokio::net::TcpListener::bind(portal).await.unwrap(),
                status: tokio::net::TcpListener::bind(status).await.unwrap(),
            }
        });
        let serving = app.run(listeners, async { stopped.await.unwrap() });
        self.runtime.spawn(async { serving.await.unwrap() })
    }

    /// Lets the usage of these drafts settle, one after the other from now on, whatever the time of
    /// day is.
    fn let_them_settle(&self, drafts: &[String], apart: TimeDelta) {
        let db = rusqlite::Connection::open(&self.config.store.path).unwrap();
        let change = "UPDATE invoices SET settles_at = ?2
            WHERE invoice_id = ?1 AND state = 'settling'";
        let mut due = now();
        for draft in drafts {
            db.execute(change, (draft, due.timestamp())).unwrap();
            due += apart;
        }
    }

    /// Lets the time pass for which a draft is left alone: Stripe's meter had not counted the last
    /// report when it was looked at. Between two lives, so that nobody else writes. Says whether any
    /// draft is left.
    fn let_their_pause_pass(&self, drafts: &[String]) -> bool {
        let db = rusqlite::Connection::open(&self.config.store.path).unwrap();
        let change =
            "UPDATE invoices SET settles_at = settles_at - 600, updated_at = updated_at - 600
            WHERE invoice_id = ?1 AND (state = 'held' OR settles_at > ?2 + 300)";
        for draft in drafts {
            db.execute(change, (draft, now().timestamp())).unwrap();
        }
        let question = "SELECT 1 FROM invoices WHERE invoice_id = ?1 AND state <> 'finalized'";
        let mut is_left = db.prepare(question).unwrap();
        drafts.iter().any(|draft| is_left.exists([draft]).unwrap())
    }

    /// Each of these drafts was finalized, once, and by us.
    fn check_that_they_were_closed(&self, drafts: &[String]) {
        let events = self.sandbox.stripe.objects("event");
        let db = rusqlite::Connection::open(&self.config.store.path).unwrap();
        let question = "SELECT state || ' ' || coalesce(problem, '') FROM invoices
            WHERE invoice_id = ?1";
        for draft in drafts {
            let about = |event: &&Value| {
                event["type"] == "invoice.finalized"
                    && event["data"]["object"]["id"] == draft.as_str()
            };
            let finalized: Vec<&Value> = events.iter().filter(about).collect();
            let ours: String = db.query_row(question, [draft], |row| row.get(0)).unwrap();
            let count = finalized.len();
            assert_eq!(count, 1, "{draft} is {ours}: {finalized:#?}");
            assert!(
                !finalized[0]["request"]["id"].is_null(),
                "{draft}: by Stripe"
            );
        }
    }

    fn run(&self, command: &[&str]) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_tollhouse"));
        run.args(command)
            .arg("--config")
            .arg(&self.config_file)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        run
    }

    /// Starts the binary and waits until it serves.
    fn serve(&self) -> Serving {
        let mut child = self.run(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("ready") {
            let length = log.read_line(&mut said).unwrap();
            assert!(length > 0, "it ended before it was ready:\n{said}");
        }
        let (alive, ended) = mpsc::channel();
        // A pipe that nobody reads would stop it. It is closed when the process has ended.
        std::thread::spawn(move || {
            let read = std::io::copy(&mut log, &mut std::io::sink());
            drop(alive);
            read
        });
        Serving {
            _process: Process(child),
            ended,
        }
    }

    /// One life: people buy and call, webhooks come in, a report runs, and then the end.
    fn live_and_die(&mut self, dice: &mut Dice, served: &mut Vec<Served>) {
        let serving = self.serve();
        let end = Instant::now() + Duration::from_millis(dice.below(LIFE_MS));
        let report = dice
            .percent(30)
            .then(|| Process(self.run(&["report-usage"]).spawn().unwrap()));
        let killer = std::thread::spawn(move || {
            serving.lives_on(end.saturating_duration_since(Instant::now()));
            drop((serving, report));
        });
        while Instant::now() < end {
            self.act(dice, served);
        }
        killer.join().unwrap();
    }

    fn act(&mut self, dice: &mut Dice, served: &mut Vec<Served>) {
        let at = usize::try_from(dice.below(CONSUMERS as u64)).unwrap();
        match dice.below(10) {
            0..=2 => {
                Consumer::order(at, self, dice);
            }
            3..=5 => Consumer::pay(at, self, dice),
            6 => Consumer::have_it_ended(at, self, dice),
            7 => Consumer::change_card(at, self, dice),
            8 => self.deliver_again(dice),
            _ => self.call(at, dice, served),
        }
    }

    fn call(&self, at: usize, dice: &mut Dice, served: &mut Vec<Served>) {
        let held = self.consumers[at].held(&self.sandbox);
        if !held.is_empty() {
            let subscription = dice.pick(&held);
            let gateway = &self.sandbox.gateway;
            let counts = gateway.serve_now(&subscription.primary_key, "/weather/today", 3);
            served.push(Served {
                subscription: subscription.id.clone(),
                at: self.sandbox.clock.now(),
                calls: counts.success,
            });
        }
    }

    /// Stripe delivers some event once more.
    fn deliver_again(&self, dice: &mut Dice) {
        let events = self.sandbox.stripe.objects("event");
        if !events.is_empty() {
            let event = dice.pick(&events);
            self.sandbox.stripe.redeliver(event["id"].as_str().unwrap());
        }
    }

    /// What Stripe would do over the next days: it delivers again what was not taken, and tells of
    /// every subscription once more.
    fn catch_up(&self, serving: &Serving) {
        for event in self.sandbox.stripe.objects("event") {
            let is_news = event["type"] == "customer.subscription.created";
            if is_news || event["pending_webhooks"] != 0 {
                self.sandbox.stripe.redeliver(event["id"].as_str().unwrap());
            }
        }
        let end = Instant::now() + PATIENCE;
        while self.what_waits() > 0 {
            assert!(
                Instant::now() < end,
                "something is stuck: {}",
                self.what_waits()
            );
            serving.lives_on(Duration::from_millis(50));
        }
    }

    /// How many events, subscriptions and drafts wait, in the store and on the way.
    fn what_waits(&self) -> i64 {
        let db = rusqlite::Connection::open(&self.config.store.path).unwrap();
        let question = "SELECT (SELECT count(*) FROM inbox WHERE state = 'waiting')
            + (SELECT count(*) FROM subscriptions WHERE applied_state IS NOT wanted_state)
            + (SELECT count(*) FROM invoices WHERE settles_at <= unixepoch()
               AND state IN ('claiming', 'settling'))";
        let waiting: i64 = db.query_row(question, [], |row| row.get(0)).unwrap();
        let under_way = self.sandbox.stripe.has_due();
        waiting + i64::from(under_way)
    }
}

impl Place for Town {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn consumers(&mut self) -> &mut Vec<Consumer> {
        &mut self.consumers
    }

    fn ask(&mut self, request: Request<String>) -> Option<Page> {
        let (mut head, body) = request.into_parts();
        let url = format!("http://{}{}", self.config.portal.listen, head.uri);
        head.uri = url.parse().unwrap();
        head.headers.remove("host");
        let answer = match body.as_str() {
            "" => self.agent.run(Request::from_parts(head, ())),
            _ => self.agent.run(Request::from_parts(head, body)),
        };
        let (head, mut body) = answer.ok()?.into_parts();
        Some(Page::new(&head, body.read_to_string().ok()?))
    }

    fn ask_stripe(&mut self, request: Request<String>) -> Page {
        let pages = self.pages.clone();
        self.runtime.block_on(async {
            let answer = pages.oneshot(request.map(Body::from)).await;
            read(answer.unwrap()).await
        })
    }

    fn note(&self, _: std::fmt::Arguments<'_>) {}

    /// No free plan: what a killed process had begun there is taken up after a minute only, and
    /// the clock is a real one.
    fn wish(&self, dice: &mut Dice) -> &'static str {
        dice.weighted(&[(1, "developer"), (2, "payg"), (1, "basic"), (1, "standard")])
    }
}

/// A process that is killed when this goes.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The binary once it serves.
struct Serving {
    _process: Process,
    /// Hung up on when the process has ended.
    ended: Receiver<Infallible>,
}

impl Serving {
    /// Lets it work for so long, and fails if it ends by itself meanwhile.
    fn lives_on(&self, time: Duration) {
        let ended = self.ended.recv_timeout(time);
        assert_eq!(ended, Err(RecvTimeoutError::Timeout), "it ended by itself");
    }
}

fn write_configuration(sandbox: &Sandbox, folder: &Path) -> (Config, PathBuf) {
    let catalogue = folder.join("monetizationModels.json");
    std::fs::write(&catalogue, CATALOGUE).unwrap();
    let product = Product {
        portal_listen: free_address(),
        status_listen: free_address(),
        status_password: "a password of the tests".to_owned(),
        portal_signs_in: false,
        store: folder.join("tollhouse.db"),
        catalogue,
    };
    let file = folder.join("tollhouse.toml");
    std::fs::write(&file, configuration::text(sandbox, &product)).unwrap();
    let config = Config::load(Some(&file), &Environment::default());
    (config.unwrap_or_else(|problems| panic!("{problems}")), file)
}

fn free_address() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the binary has the system's clock"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn midnight(time: DateTime<Utc>) -> DateTime<Utc> {
    time.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// The morning of such a day that a billing period which begins there ends today: of a month before,
/// or two, if the last one has no such day.
fn a_month_before(now: DateTime<Utc>) -> DateTime<Utc> {
    use chrono::Datelike as _;
    let today = midnight(now);
    let mut months = (1..=2).map(|count| today - Months::new(count));
    let day = months.find(|then| then.day() == today.day()).unwrap();
    day + TimeDelta::hours(9)
}

#[test]
fn the_binary_can_be_killed_at_any_moment() {
    let mut town = Town::build();
    let mut dice = Dice::new(u64::from(std::process::id()), 9);
    let mut served = Vec::new();
    let drafts = town.live_quietly(&mut dice, &mut served);
    assert!(drafts.len() >= CONSUMERS / 2, "{} drafts", drafts.len());
    let from = town.sandbox.clock.now();
    town.let_them_settle(&drafts, DUE_APART);
    let mut lives_with_drafts = 0;
    for _ in 0..KILLS {
        town.live_and_die(&mut dice, &mut served);
        lives_with_drafts += u32::from(town.let_their_pause_pass(&drafts));
    }
    town.sandbox.stripe.set_meter_lag(TimeDelta::zero());
    town.let_them_settle(&drafts, TimeDelta::zero());
    let serving = town.serve();
    town.catch_up(&serving);
    drop(serving);
    let to = town.sandbox.clock.now();
    let subscriptions = town.sandbox.stripe.objects("subscription").len();
    println!(
        "killed {KILLS} times, {lives_with_drafts} of them with periods to close; \
         {subscriptions} subscriptions, {} periods closed",
        drafts.len()
    );
    town.check_that_they_were_closed(&drafts);
    checks::check(&Evidence::gather(
        &town.sandbox,
        town.config.store.path.clone(),
        &town.consumers,
        &served,
        &[Spell { from, to }],
    ));
    drop(town.folder);
}
