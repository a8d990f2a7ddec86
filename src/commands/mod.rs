//! The commands of the binary, one file each.

pub(crate) mod demo;
pub(crate) mod healthcheck;
pub(crate) mod reconcile;
pub(crate) mod report_usage;
pub(crate) mod resync;
pub(crate) mod serve;
pub(crate) mod sync;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use tollhouse::catalogue::Catalogue;
use tollhouse::config::{Config, Environment, LogFormat};

/// How a command ended: the exit code, or what went wrong.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error>>;

/// The configuration or the catalogue cannot be used (`EX_CONFIG` of sysexits.h).
const UNUSABLE_CONFIGURATION: u8 = 78;

/// A line of a command's output.
#[expect(
    clippy::print_stdout,
    reason = "a command's output goes to standard output"
)]
pub(crate) fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

/// A line of a command's complaints.
#[expect(
    clippy::print_stderr,
    reason = "a command's complaints go to standard error"
)]
pub(crate) fn complain(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Says what went wrong, with its causes, and gives the exit code.
pub(crate) fn end(outcome: Outcome) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if error.is::<Unusable>() {
        complain(error);
        return ExitCode::from(UNUSABLE_CONFIGURATION);
    }
    complain(format_args!("tollhouse: {error}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        complain(format_args!("  because {error}"));
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// A configuration or catalogue with problems; the text names each of them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

/// Reads the configuration and the catalogue that it names.
fn load(path: Option<&Path>) -> Result<(Config, Catalogue), Box<dyn Error>> {
    let config = Config::load(path, &Environment::of_process())
        .map_err(|problems| Unusable(problems.to_string()))?;
    let catalogue = load_catalogue(&config.catalogue.path)?;
    Ok((config, catalogue))
}

fn load_catalogue(path: &Path) -> Result<Catalogue, Unusable> {
    let place = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Unusable(format!("The catalogue {place} cannot be read: {error}.")))?;
    Catalogue::parse(&text)
        .map_err(|problems| Unusable(format!("The catalogue {place} cannot be used.\n{problems}")))
}

/// Sends the log to standard error, where systemd takes it.
fn start_log(config: &Config) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::new(&config.log.filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_ansi(colours).init();
        }
        LogFormat::Json => log.json().init(),
    }
}

/// Runs a command that serves, on a runtime of its own.
///
/// Calls to the other sides that are still under way when it ends are cut off: they may last for
/// minutes, and the next start repeats them.
fn run_to_end(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

/// Resolves when the operating system or the terminal asks us to stop.
async fn stop_requested() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
