//! The command line. Each command reads the configuration, builds what it needs, and says what it
//! did; everything else is the library's.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  tollhouse demo                                   look around, without any account
  tollhouse sync plan --config tollhouse.toml      see what set-up would change
  tollhouse sync apply --config tollhouse.toml     change it
  tollhouse serve --config tollhouse.toml          run

Settings can also come from the environment (TOLLHOUSE_SECTION__KEY, and TOLLHOUSE_CONFIG for the
file) and secrets from systemd credentials. packaging/tollhouse.toml explains each of them.

Exit codes: 0 done; 1 failed, or something is left to do; 2 the command line is wrong; 78 the
configuration or the catalogue cannot be used.";

/// Turns Azure API Management into a paid API business on Stripe.
#[derive(Parser)]
#[command(name = "tollhouse", version, after_help = EXAMPLES)]
struct Cli {
    /// The configuration file (TOML); `TOLLHOUSE_CONFIG` where this is not given.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the billing portal, the webhook handler, the daily usage job and the status page.
    ///
    /// Tells systemd when it listens. Stops at SIGTERM or Ctrl-C, within ten seconds; what was cut
    /// off goes on at the next start.
    Serve,
    /// Try everything on this machine, against a sandbox of Stripe and API Management.
    ///
    /// Needs no account, no key and no internet. Prints the addresses; the console says what to
    /// click.
    Demo(commands::demo::Options),
    /// Bring API Management and Stripe to what the catalogue file says.
    #[command(subcommand)]
    Sync(commands::sync::Action),
    /// Read usage from API Management and report it to Stripe, once, now.
    ///
    /// `serve` does this every day. It may run beside it: totals are reported, so nothing counts
    /// twice. Exits with 1 if not everything could be done; the summary says what.
    ReportUsage {
        /// Read usage and say how many subscriptions would be reported, but report nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare Stripe, API Management and the store, and put right what differs.
    ///
    /// Needed when events are missing that Stripe lists no more (30 days), and to get back a store
    /// that was lost: `serve` does it by itself then. A line with `+` was put right; one with `!`
    /// was not, and makes the exit code 1. May run beside `serve`, and again at any time.
    Resync {
        /// Only say what differs, a line each, and exit with 1 if something does.
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare what API Management, the store, Stripe's meters and invoices say of billing periods.
    ///
    /// Changes nothing unless told to. A line with `!` is a difference, with what puts it right; it
    /// makes the exit code 1 and shows on the status page. May run beside `serve`, at any time.
    Reconcile(commands::reconcile::Options),
    /// Ask the running program whether it works: exits with 0 when it does, with 1 otherwise.
    Healthcheck,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.config.as_deref();
    let result = match cli.command {
        Command::Serve => commands::serve::run(config),
        Command::Demo(_) if config.is_some() => refuse_configuration(),
        Command::Demo(options) => commands::demo::run(&options),
        Command::Sync(action) => commands::sync::run(config, action),
        Command::ReportUsage { dry_run } => commands::report_usage::run(config, dry_run),
        Command::Resync { dry_run } => commands::resync::run(config, dry_run),
        Command::Reconcile(options) => commands::reconcile::run(config, &options),
        Command::Healthcheck => commands::healthcheck::run(config),
    };
    commands::end(result)
}

/// To ignore a configuration that somebody names would let the demo pass for the real thing.
fn refuse_configuration() -> ! {
    let text = "demo writes a configuration of its own; leave --config out";
    Cli::command()
        .error(ErrorKind::ArgumentConflict, text)
        .exit()
}
