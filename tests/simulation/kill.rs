//! The real binary, killed by the system (`kill -9`) at random moments under load, and started
//! again on what it left.
//!
//! Where the seeds choose the moment and can be walked again, this leaves it to chance: real
//! threads, a real disk, a real clock.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use chrono::Utc;
use http::Request;
use tokio::runtime::Runtime;
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
const CONSUMERS: usize = 8;
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
        let clock = sandbox::clock::Clock::ticking(now());
        let sandbox = runtime
            .block_on(Sandbox::start(clock, Ports::default()))
            .unwrap();
        let (config, config_file) = write_configuration(&sandbox, folder.path());
        runtime.block_on(set_up(config.clone(), now()));
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
    fn serve(&self) -> Process {
        let mut child = self.run(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("ready") {
            let length = log.read_line(&mut said).unwrap();
            assert!(length > 0, "it ended before it was ready:\n{said}");
        }
        // A pipe that nobody reads would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Process(child)
    }

    /// One life: people buy and call, webhooks come in, a report runs, and then the end.
    fn live_and_die(&mut self, dice: &mut Dice, served: &mut Vec<Served>) {
        let process = self.serve();
        let end = Instant::now() + Duration::from_millis(dice.below(LIFE_MS));
        let report = dice
            .percent(30)
            .then(|| Process(self.run(&["report-usage"]).spawn().unwrap()));
        let killer = std::thread::spawn(move || {
            pause(end.saturating_duration_since(Instant::now()));
            drop((process, report));
        });
        while Instant::now() < end {
            self.act(dice, served);
        }
        killer.join().unwrap();
    }

    fn act(&mut self, dice: &mut Dice, served: &mut Vec<Served>) {
        let at = usize::try_from(dice.below(CONSUMERS as u64)).unwrap();
        match dice.below(10) {
            0..=2 => Consumer::order(at, self, dice),
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
    fn catch_up(&self) {
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
            pause(Duration::from_millis(50));
        }
    }

    /// How many events and subscriptions wait, in the store and on the way.
    fn what_waits(&self) -> i64 {
        let db = rusqlite::Connection::open(&self.config.store.path).unwrap();
        let question = "SELECT (SELECT count(*) FROM inbox WHERE state = 'waiting')
            + (SELECT count(*) FROM subscriptions WHERE applied_state IS NOT wanted_state)";
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
    reason = "the binary is another process: there is nothing else to wait for"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the binary has the system's clock"
)]
fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

#[test]
fn the_binary_can_be_killed_at_any_moment() {
    let mut town = Town::build();
    {
        let _process = town.serve();
        for number in 0..CONSUMERS {
            let consumer = Consumer::sign_up(&mut town, number);
            town.consumers.push(consumer);
        }
    }
    let from = town.sandbox.clock.now();
    let mut dice = Dice::new(u64::from(std::process::id()), 9);
    let mut served = Vec::new();
    for _ in 0..KILLS {
        town.live_and_die(&mut dice, &mut served);
    }
    let process = town.serve();
    town.catch_up();
    drop(process);
    let to = town.sandbox.clock.now();
    let subscriptions = town.sandbox.stripe.objects("subscription").len();
    println!("killed {KILLS} times; {subscriptions} subscriptions");
    checks::check(&Evidence::gather(
        &town.sandbox,
        town.config.store.path.clone(),
        &town.consumers,
        &served,
        &[Spell { from, to }],
    ));
    drop(town.folder);
}
