//! `cargo bench --bench measure`: figures of the real binary on this machine.
//!
//! - without a word more: time from start to ready, resident memory, and how fast signed webhooks are
//!   taken in, each durable on disk before its answer ([`intake`]);
//! - `-- daily`: the usage job and a comparison over 25,000 subscriptions, against a sandbox that
//!   answers after 20 ms and keeps to Stripe's limit ([`daily`]);
//! - `-- store`: what a year of a subscription takes in the store ([`room`]).
//!
//! Load goes to loopback only and is bounded in count. Not a test: it judges nothing, because a busy
//! machine would make it lie.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(
    clippy::disallowed_methods,
    reason = "it waits for another process, and signs with the real time"
)]

mod daily;
mod event;
mod intake;
mod load;
mod program;
mod room;
mod site;

use std::time::Duration;

fn main() {
    let part = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with("--"));
    match part.as_deref() {
        None => intake::measure(),
        Some("daily") => daily::measure(),
        Some("store") => room::measure(),
        Some(other) => {
            println!("`{other}` is nothing to measure: `daily`, `store`, or no word at all");
            std::process::exit(2);
        }
    }
}

fn millis(duration: Duration) -> f64 {
    #[expect(clippy::float_arithmetic, reason = "a figure to read, not money")]
    let millis = duration.as_secs_f64() * 1_000.0;
    millis
}
