//! `sync`: brings API Management and Stripe to what the catalogue says.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use tollhouse::app::{
    self,
    set_up::{SetUp, SetUpError},
};

use super::{Outcome, load, say, start_log};

#[derive(Clone, Copy, Subcommand)]
pub(crate) enum Action {
    /// Show what would change, and change nothing.
    ///
    /// A line with `+` is a change that `apply` makes; one with `!` is something that only a person
    /// can put right, and makes the exit code 1.
    Plan,
    /// Make the changes. Can be run again at any time: what is there already is not made twice.
    ///
    /// Takes nothing away from subscribers: products that left the catalogue stay, and so do the
    /// prices that subscribers have. Publish the developer portal afterwards.
    Apply,
    /// Say what is left to change: exits with 0 when there is nothing, with 1 otherwise.
    Verify,
}

pub(crate) fn run(path: Option<&Path>, action: Action) -> Outcome {
    let (config, catalogue) = load(path)?;
    start_log(&config);
    let set_up = SetUp::new(&config, catalogue)?;
    match action {
        Action::Plan => plan(&set_up),
        Action::Apply => apply(&set_up),
        Action::Verify => verify(&set_up),
    }
}

fn plan(set_up: &SetUp) -> Outcome {
    let plan = set_up.plan()?;
    for change in &plan.changes {
        say(format_args!("+ {change}"));
    }
    Ok(conclude(
        &plan.problems,
        "Nothing has to change.",
        plan.changes.is_empty(),
    ))
}

fn apply(set_up: &SetUp) -> Outcome {
    let plan = set_up.plan()?;
    let result = set_up.apply(&plan, (app::system_clock())());
    let done = match &result {
        Ok(done) => done.as_slice(),
        Err(SetUpError::Apply(broken_off)) => broken_off.applied.done.as_slice(),
        Err(SetUpError::Read(_) | SetUpError::Store(_)) => &[],
    };
    for sentence in done {
        say(format_args!("+ {sentence}"));
    }
    let nothing = result?.is_empty();
    Ok(conclude(&plan.problems, "Nothing had to change.", nothing))
}

fn verify(set_up: &SetUp) -> Outcome {
    let differences = set_up.verify()?;
    Ok(conclude(
        &differences,
        "Everything is as the catalogue says.",
        true,
    ))
}

/// Says what is left for a person to do; exits with 1 where something is.
fn conclude(problems: &[String], all_well: &str, is_empty: bool) -> ExitCode {
    for problem in problems {
        say(format_args!("! {problem}"));
    }
    if !problems.is_empty() {
        return ExitCode::FAILURE;
    }
    if is_empty {
        say(all_well);
    }
    ExitCode::SUCCESS
}
