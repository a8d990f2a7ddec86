//! The usage job and a comparison over many subscriptions.

use std::time::Duration;

use crate::program::{Program, Ran};
use crate::site::Site;

const SUBSCRIPTIONS: usize = 25_000;
/// How long the sandbox takes to answer.
const DELAY: Duration = Duration::from_millis(20);
/// Stripe's limit for meter events in live mode. The sandbox keeps everything to it.
const EVENTS_PER_SECOND: u32 = 1_000;
/// What Tollhouse keeps to with a live key; the sandbox has only test keys. Stripe answers 25
/// questions of a kind in a second; here a comparison may ask as fast as it may report, so that its
/// own share of the time shows.
const SETTINGS: &str = "events_per_second = 990\nreads_per_second = 990";

pub(crate) fn measure() {
    let site = Site::build(SUBSCRIPTIONS, SETTINGS);
    site.sandbox.faults.set_delay(DELAY);
    site.sandbox.stripe.set_rate_limit(Some(EVENTS_PER_SECOND));
    println!(
        "{SUBSCRIPTIONS} subscriptions; answers after {} ms; {EVENTS_PER_SECOND} calls to Stripe a second",
        DELAY.as_millis()
    );
    for (name, command) in [
        ("usage job, everything new", "report-usage"),
        ("usage job, nothing new", "report-usage"),
        ("reconcile", "reconcile"),
    ] {
        let before = site.sandbox.journal.count();
        let ran = Program::run(&site.config, &[command]);
        show(name, &ran, site.sandbox.journal.count() - before);
    }
    site.stop();
}

fn show(name: &str, ran: &Ran, calls: u64) {
    println!(
        "{name:<28}{:>8.1} s{:>10.1} MB at most{calls:>9} calls to Stripe and Azure",
        ran.taken.as_secs_f64(),
        ran.peak_mb
    );
    println!("  {}", ran.output.trim());
}
