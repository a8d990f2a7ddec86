//! `resync`: compares Stripe, APIM and the store, and puts right what differs.

use std::path::Path;
use std::process::ExitCode;

use tollhouse::app::{self, App};

use super::{Outcome, load, say, start_log};

/// Runs in a row; each puts right some hundred differences.
const RUNS: usize = 1_000;

pub(crate) fn run(path: Option<&Path>, dry_run: bool) -> Outcome {
    let (config, catalogue) = load(path)?;
    start_log(&config);
    let app = App::build(&config, catalogue, app::system_clock())?;
    let mut nothing = true;
    for _ in 0..RUNS {
        let report = if dry_run {
            app.rehearse_resync()?
        } else {
            app.resync()?
        };
        for line in &report.repaired {
            say(format_args!("+ {line}"));
        }
        nothing &= report.repaired.is_empty();
        if report.is_whole || report.repaired.is_empty() {
            for line in &report.left {
                say(format_args!("! {line}"));
            }
            return Ok(conclude(&report, nothing));
        }
    }
    Err("this does not come to an end: every run finds differences".into())
}

fn conclude(report: &tollhouse::webhook::resync::Report, nothing: bool) -> ExitCode {
    if !report.is_whole {
        say("! Broken off, because the other side seems to be down. Run it again.");
        return ExitCode::FAILURE;
    }
    if !report.left.is_empty() {
        return ExitCode::FAILURE;
    }
    if nothing {
        say("Stripe, API Management and the store agree.");
    }
    ExitCode::SUCCESS
}
