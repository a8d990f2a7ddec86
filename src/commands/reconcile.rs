//! `reconcile`: compares what APIM, the store, Stripe's meters and invoices say of billing periods.

use std::path::Path;
use std::process::ExitCode;

use chrono::NaiveDate;
use tollhouse::app::{self, App};
use tollhouse::metering::reconcile::{Line, Report, Scope, name};
use tollhouse::store::settlements::Settlement;

use super::{Outcome, complain, load, say, start_log};

/// What to compare, and what to do about it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare the billing periods to which this day belongs, instead of those that run, and those
    /// that ended or whose invoice became final in the last 35 days.
    #[arg(long, value_name = "YYYY-MM-DD")]
    period: Option<NaiveDate>,
    /// Print every period as a line of comma-separated values, also those that agree.
    #[arg(long)]
    csv: bool,
    /// Put right what can be: read days again, report totals again, have the customer's next invoice
    /// make up for what a final one billed too little or too much.
    #[arg(long)]
    repair: bool,
    /// With --repair: only say what would be put right.
    #[arg(long, requires = "repair")]
    dry_run: bool,
}

pub(crate) fn run(path: Option<&Path>, options: &Options) -> Outcome {
    let (config, catalogue) = load(path)?;
    start_log(&config);
    let app = App::build(&config, catalogue, app::system_clock())?;
    let scope = options.period.map_or(Scope::Recent, Scope::Day);
    let report = if options.repair {
        app.repair(scope, options.dry_run)?
    } else {
        app.reconcile(scope)?
    };
    if options.csv {
        print_csv(&report);
        // The file has the periods alone.
        for line in &report.repaired {
            complain(format_args!("+ {}: {line}", verb(options.dry_run)));
        }
        complain(report.summary());
    } else {
        print_text(&report, options.dry_run);
    }
    Ok(if report.agrees() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_text(report: &Report, dry_run: bool) {
    let verb = verb(dry_run);
    for line in &report.repaired {
        say(format_args!("+ {verb}: {line}"));
    }
    for line in &report.lines {
        for difference in &line.differences {
            let mark = if line.counts(difference) { "!" } else { "=" };
            let settlement = line.settlement(difference);
            let remedy = settlement.map_or(difference.remedy.clone(), Settlement::sentence);
            say(format_args!(
                "{mark} {}: {} {remedy}",
                name(line),
                difference.detail
            ));
        }
    }
    say(report.summary());
}

fn verb(dry_run: bool) -> &'static str {
    if dry_run { "would do" } else { "done" }
}

/// RFC 4180. No field can hold a comma, a quote or a line break: ids, words, numbers and dates.
fn print_csv(report: &Report) {
    let header = "subscription_id,product_id,period_start,period_end,stage,invoice_id,our_calls,\
                  our_amount,reported_calls,metered_calls,billed_calls,billed_amount,\
                  days_differing,settled,agrees";
    say(format_args!("{header}\r"));
    for line in &report.lines {
        say(format_args!("{}\r", row(line)));
    }
}

fn row(line: &Line) -> String {
    fn number(value: Option<impl std::fmt::Display>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let facts = &line.facts;
    let mut differences = line.differences.iter();
    let settled = differences.any(|one| line.settlement(one).is_some());
    [
        line.subscription_id.clone(),
        line.product_id.clone(),
        line.period.start.to_rfc3339(),
        line.period.end.to_rfc3339(),
        facts.stage.word().to_owned(),
        line.invoice_id.clone().unwrap_or_default(),
        facts.ours.calls.to_string(),
        facts.ours.amount.to_string(),
        number(facts.reported.map(|reported| reported.calls)),
        facts.metered.to_string(),
        number(facts.billed.map(|billed| billed.calls)),
        number(facts.billed.map(|billed| billed.amount)),
        facts.days.len().to_string(),
        settled.to_string(),
        line.agrees().to_string(),
    ]
    .join(",")
}
