//! `report-usage`: the daily job, once, now.

use std::path::Path;
use std::process::ExitCode;

use tollhouse::app::{self, App};

use super::{Outcome, load, say, start_log};

pub(crate) fn run(path: Option<&Path>, dry_run: bool) -> Outcome {
    let (config, catalogue) = load(path)?;
    start_log(&config);
    let app = App::build(&config, catalogue, app::system_clock())?;
    let report = if dry_run {
        app.rehearse_daily()?
    } else {
        app.run_daily()?
    };
    say(&report.summary);
    Ok(if report.complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
