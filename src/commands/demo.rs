//! `demo`: the product against its own sandbox, on this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tollhouse::app::set_up::SetUp;
use tollhouse::app::{self, App, Clock, Listeners};
use tollhouse::config::{Config, Environment};
use tollhouse::sandbox::configuration::{self, Product};
use tollhouse::sandbox::snapshot::{Keeper, Snapshot, SnapshotError};
use tollhouse::sandbox::{self, Link, Ports, Sandbox};

use super::{Outcome, load_catalogue, run_to_end, say, start_log, stop_requested};

/// The catalogue that the demo sells: the shipped one.
const CATALOGUE: &str = include_str!("../../payment/monetizationModels.json");
/// Only this machine reaches the demo's status page.
const STATUS_PASSWORD: &str = "demo-password";
/// The files of the data folder: of the product, of the sandbox, and the configuration.
const STORE: &str = "tollhouse.db";
const SANDBOX: &str = "sandbox.json";
/// Locked while a demo runs on the folder.
const LOCK: &str = "demo.lock";
const CONFIGURATION: &str = "tollhouse.toml";

/// The demo's terminal shows addresses, and then only what goes wrong.
const QUIET_LOG: &str = "\n[log]\nfilter = \"warn\"\n";

#[derive(Args)]
pub(crate) struct Options {
    /// Keep everything in this folder, instead of a temporary one, and go on from there next time.
    ///
    /// Kept are the database, the configuration, the catalogue, and the sandbox: its Stripe
    /// account, its API Management service with keys and usage, planned calls, the mail that
    /// arrived, and its clock. Not kept are the faults that are switched on and the list of requests.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The first of eight ports in a row on 127.0.0.1; 0 picks those of the last time where they
    /// are free, or any.
    #[arg(long, value_name = "PORT", default_value_t = 8700)]
    port: u16,
    /// Let the developer portal keep its own sign-in, and send people for subscriptions only.
    #[arg(long)]
    portal_signs_in: bool,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let temporary;
    let folder = if let Some(folder) = &options.data {
        folder.as_path()
    } else {
        temporary = tempfile::Builder::new()
            .prefix("tollhouse-demo-")
            .tempdir()?;
        temporary.path()
    };
    run_to_end(demo(folder, options))
}

async fn demo(folder: &Path, options: &Options) -> Outcome {
    let first_port = options.port;
    std::fs::create_dir_all(folder)?;
    let snapshot = last_state(folder)?;
    let _lock = lock(folder)?;
    let places = match first_port {
        0 => Places::of_last_time(folder, snapshot.as_ref()),
        first => Places::from(first),
    };
    let listeners = Listeners {
        public: bind(places.public).await?,
        status: bind(places.status).await?,
    };
    let sandbox = start_sandbox(snapshot, places.sandbox)
        .await
        .map_err(|source| PortTaken { first_port, source })?;
    // Before there is a store, so that none is ever without the sandbox that it belongs to.
    let keeper = Arc::new(Keeper::new(sandbox.clone(), folder.join(SANDBOX)));
    keeper.save()?;
    let keeping = tokio::spawn(Arc::clone(&keeper).run());
    let config = write_configuration(folder, &sandbox, &listeners, options.portal_signs_in)?;
    let app = start_product(&config, &sandbox)?;
    set_up(&config, &sandbox).await?;
    introduce(&sandbox, &config, folder);
    // Only now, so that the addresses do not drown in what set-up did.
    start_log(&config);
    let ended = app
        .run(listeners, async { drop(stop_requested().await) })
        .await;
    keeping.abort();
    sandbox.stop();
    keeper.save()?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Two demos on one folder would overwrite each other's state; the lock goes with the file.
fn lock(folder: &Path) -> Result<std::fs::File, FolderTaken> {
    let taken = |source| FolderTaken {
        folder: folder.to_owned(),
        source,
    };
    let file = std::fs::File::create(folder.join(LOCK))
        .map_err(|error| taken(std::fs::TryLockError::Error(error)))?;
    file.try_lock().map_err(taken)?;
    Ok(file)
}

#[derive(Debug, thiserror::Error)]
#[error("another demo is running on {}: stop it, or name another folder with --data", folder.display())]
struct FolderTaken {
    folder: PathBuf,
    source: std::fs::TryLockError,
}

/// The ports of everything; 0 picks a free one.
#[derive(Default)]
struct Places {
    public: u16,
    status: u16,
    sandbox: Ports,
}

impl Places {
    /// Eight in a row.
    fn from(first: u16) -> Self {
        let port = |offset: u16| first.saturating_add(offset);
        Self {
            public: port(0),
            status: port(1),
            sandbox: Ports {
                portal: port(2),
                gateway: port(3),
                console: port(4),
                stripe: port(5),
                azure: port(6),
                mail: port(7),
            },
        }
    }

    /// Where everything was when the folder was last used, as far as that is free: what has been
    /// sold there names these addresses.
    fn of_last_time(folder: &Path, snapshot: Option<&Snapshot>) -> Self {
        let Some(snapshot) = snapshot else {
            return Self::default();
        };
        let file = folder.join(CONFIGURATION);
        let config = Config::load(Some(&file), &Environment::default()).ok();
        let port = |listen: fn(&Config) -> SocketAddr| {
            let port = config.as_ref().map(|config| listen(config).port());
            port.map_or(0, sandbox::port_or_free)
        };
        Self {
            public: port(|config| config.portal.listen),
            status: port(|config| config.status.listen),
            sandbox: snapshot.ports().or_free(),
        }
    }
}

/// The sandbox as the folder has it, if it has one.
fn last_state(folder: &Path) -> Result<Option<Snapshot>, UnusableData> {
    let unusable = |source| UnusableData {
        folder: folder.to_owned(),
        source,
    };
    let snapshot = Snapshot::read(&folder.join(SANDBOX)).map_err(|error| unusable(Some(error)))?;
    if snapshot.is_none() && folder.join(STORE).exists() {
        return Err(unusable(None));
    }
    Ok(snapshot)
}

/// Goes on where the sandbox was stopped, or starts a new one today.
async fn start_sandbox(snapshot: Option<Snapshot>, ports: Ports) -> std::io::Result<Sandbox> {
    use sandbox::clock::Clock;
    match snapshot {
        Some(snapshot) => {
            let clock = Clock::ticking(snapshot.now());
            Sandbox::resume(snapshot, clock, ports).await
        }
        None => Sandbox::start(Clock::ticking((app::system_clock())()), ports).await,
    }
}

/// A store without its sandbox knows subscriptions that are nowhere else.
#[derive(Debug, thiserror::Error)]
#[error(
    "the demo in {} cannot go on without what {SANDBOX} should hold. To start afresh, delete \
     {SANDBOX} together with {STORE}*, which belongs to it; or name another folder with --data. \
     Nothing was changed",
    folder.display()
)]
struct UnusableData {
    folder: PathBuf,
    /// None if there is no such file.
    source: Option<SnapshotError>,
}

/// Writes the files that an operator would write, and reads them back as `serve` does.
fn write_configuration(
    folder: &Path,
    sandbox: &Sandbox,
    listeners: &Listeners,
    portal_signs_in: bool,
) -> Result<Config, Box<dyn std::error::Error>> {
    let catalogue = folder.join("monetizationModels.json");
    if !catalogue.exists() {
        std::fs::write(&catalogue, CATALOGUE)?;
    }
    let product = Product {
        portal_listen: listeners.public.local_addr()?,
        status_listen: listeners.status.local_addr()?,
        status_password: STATUS_PASSWORD.to_owned(),
        portal_signs_in,
        store: folder.join(STORE),
        catalogue,
    };
    let file = folder.join(CONFIGURATION);
    std::fs::write(&file, configuration::text(sandbox, &product) + QUIET_LOG)?;
    Ok(Config::load(Some(&file), &Environment::default())?)
}

fn start_product(config: &Config, sandbox: &Sandbox) -> Result<App, Box<dyn std::error::Error>> {
    let catalogue = load_catalogue(&config.catalogue.path)?;
    let clock = sandbox.clock.clone();
    let clock: Clock = Arc::new(move || clock.now());
    let app = App::build(config, catalogue, clock)?;
    let product = app.clone();
    sandbox.on_step(Arc::new(move |_| {
        let product = product.clone();
        Box::pin(async move { product.catch_up().await })
    }));
    Ok(app)
}

/// `sync apply`.
async fn set_up(config: &Config, sandbox: &Sandbox) -> Result<(), Box<dyn std::error::Error>> {
    let set_up = SetUp::new(config, load_catalogue(&config.catalogue.path)?)?;
    let now = sandbox.clock.now();
    let work = tokio::task::spawn_blocking(move || {
        let plan = set_up.plan()?;
        set_up.apply(&plan, now)
    });
    work.await??;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error(
    "could not open the ports from {first_port} on; is a demo running already? `--port 0` picks free ones"
)]
struct PortTaken {
    first_port: u16,
    source: std::io::Error,
}

async fn bind(port: u16) -> Result<TcpListener, PortTaken> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    TcpListener::bind(address)
        .await
        .map_err(|source| PortTaken {
            first_port: port,
            source,
        })
}

/// Prints where everything is, and puts the same on the console's page.
fn introduce(sandbox: &Sandbox, config: &Config, folder: &Path) {
    let addresses = sandbox.addresses();
    let status = format!("http://{}/", config.status.listen);
    let plans = format!("{}/plans", config.portal.public_url);
    say(format_args!(
        "The demo runs. Start at the console; it says what to click.

  Console            {console}/
  Outbox             {console}/mail
  Developer portal   {portal}/
  Billing portal     {plans}
  Status page        {status}   (any user, password: {STATUS_PASSWORD})
  API gateway        {gateway}/weather/today

  Data               {folder}
  Stop with Ctrl-C.",
        console = addresses.console,
        portal = addresses.portal,
        gateway = addresses.gateway,
        folder = folder.display(),
    ));
    let link = |name: &str, url: String, note: &str| Link {
        name: name.to_owned(),
        url,
        note: note.to_owned(),
    };
    sandbox.set_links(vec![
        link(
            "Billing portal",
            plans,
            "The plans, and each consumer's account.",
        ),
        link(
            "Status page",
            status,
            "For the operator. Any user name, password: demo-password.",
        ),
    ]);
}
