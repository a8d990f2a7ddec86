//! Months of many consumers in seconds, on a bad day: a seed decides who does what, what goes wrong
//! at Stripe and Azure, and between which two effects the product is killed.
//!
//! `SEED=7 cargo test --test simulation` walks one seed, the same way each time. `SEEDS=10000`
//! walks as many, `SEEDS=3000..10000` the rest of them; without either it is the first 200.

#![cfg(test)]

mod checks;
mod consumer;
mod coverage;
mod dice;
mod effects;
mod image;
mod kill;
mod operator;
mod sources;
mod tariff;
mod walk;
mod wire;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use coverage::Coverage;
use walk::Walk;
use wire::Journal;
use world::Ground;

/// How many seeds are walked when nobody asks for more.
const SEEDS: u64 = 200;
/// How many steps before a failure are shown.
const SHOWN: usize = 40;
/// After how many seeds a long run says how far it has come.
const STRETCH: u64 = 500;
/// Runs at once: a little more than the processors that they wait for.
const THREADS: usize = 3;

/// A seed that failed: why, and what happened.
struct Failure {
    seed: u64,
    why: String,
    journal: Journal,
}

fn try_seed(ground: &Ground, seed: u64) -> (Journal, Result<Coverage, Failure>) {
    let mut journal = Journal::default();
    let walked = catch_unwind(AssertUnwindSafe(|| Walk::walk(ground, seed, &mut journal)));
    let walked = walked.map_err(|cause| Failure {
        seed,
        why: words(&*cause),
        journal: journal.clone(),
    });
    (journal, walked)
}

fn words(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}

impl Failure {
    fn show(&self) {
        println!("\nSEED={} failed: {}", self.seed, self.why);
        let lines = &self.journal.lines;
        let shown = asked("SEED").map_or(SHOWN, |_| lines.len());
        let from = lines.len().saturating_sub(shown);
        for line in &lines[from..] {
            println!("{line}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever looks for a failure says where"
)]
fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// The seeds to walk.
fn seeds() -> Range<u64> {
    if let Some(seed) = asked("SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    let Some(seeds) = asked("SEEDS") else {
        return 0..SEEDS;
    };
    match seeds.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&seeds),
    }
}

#[test]
fn whatever_goes_wrong_all_is_well_in_the_end() {
    let seeds = seeds();
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let totals = Mutex::new(Journal::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(usize::try_from(seeds.end - seeds.start).unwrap()) {
            scope.spawn(|| {
                let ground = Ground::prepare();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (journal, walked) = try_seed(&ground, seed);
                    let mut totals = totals.lock().unwrap();
                    totals.requests += journal.requests;
                    totals.troubles += journal.troubles;
                    totals.kills += journal.kills;
                    totals.seen.add(&journal.seen);
                    match walked {
                        Ok(met) => totals.seen.add(&met),
                        Err(failure) => {
                            // At once: whoever walks thousands need not wait for their end.
                            failure.show();
                            failures.lock().unwrap().push(seed);
                        }
                    }
                    if (seed + 1).is_multiple_of(STRETCH) {
                        let passed = started.elapsed().as_secs();
                        println!("begun with {} seeds after {passed} s", seed + 1);
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap();
    println!(
        "{} seeds in {:.1} s: {} requests of the product, {} of them troubled; killed {} times",
        seeds.end - seeds.start,
        started.elapsed().as_secs_f32(),
        totals.requests,
        totals.troubles,
        totals.kills,
    );
    let coverage = totals.seen;
    println!(
        "{} months of subscriptions, {} a seed; {} closed periods compared",
        coverage.months(),
        coverage.months() / (seeds.end - seeds.start),
        coverage.closed_periods,
    );
    println!("they came across {coverage}");
    let failed: Vec<u64> = failures.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}",
        failed.len()
    );
    if seeds.end - seeds.start >= SEEDS {
        let missing = coverage.missing();
        assert!(missing.is_empty(), "no run came across {missing:?}");
    }
}

#[test]
fn a_seed_walks_the_same_way_each_time() {
    let ground = Ground::prepare();
    let walk = |seed| {
        let (journal, _) = try_seed(&ground, seed);
        journal.lines
    };
    for seed in [1, 2] {
        let (first, second) = (walk(seed), walk(seed));
        let differs = first
            .iter()
            .zip(&second)
            .position(|(one, other)| one != other);
        assert_eq!(
            differs,
            None,
            "seed {seed}: {:?}",
            differs.map(|at| (&first[at], &second[at]))
        );
        assert_eq!(first.len(), second.len());
    }
}
