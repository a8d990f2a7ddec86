//! Months of many consumers in seconds, on a bad day: a seed decides who does what, what goes wrong
//! at Stripe and Azure, and between which two effects the product is killed.
//!
//! `SEED=7 cargo test --test simulation` walks one seed, the same way each time. `SEEDS=10000`
//! walks as many, `SEEDS=3000..10000` the rest of them; without either it is the 200 short ones and
//! the first of the long ones.

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

/// The first seeds last a week or two, mostly: every change walks them, and nobody likes to wait.
const SHORT_SEEDS: u64 = 200;
/// How many of the others, which last for months, are walked when nobody asks for more.
const LONG_SEEDS: u64 = 80;
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

/// The seeds to walk, a stretch at a time.
fn stretches() -> Vec<Range<u64>> {
    if let Some(seed) = asked("SEED") {
        let only = number(&seed)..number(&seed) + 1;
        return vec![only];
    }
    let Some(seeds) = asked("SEEDS") else {
        return vec![0..SHORT_SEEDS, SHORT_SEEDS..SHORT_SEEDS + LONG_SEEDS];
    };
    vec![match seeds.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&seeds),
    }]
}

/// Walks all seeds of a stretch. Gives what was done, and the seeds that failed.
fn walk(seeds: &Range<u64>) -> (Journal, Vec<u64>) {
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
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
                    totals.lock().unwrap().add(&journal);
                    match walked {
                        Ok(met) => totals.lock().unwrap().seen.add(&met),
                        Err(failure) => {
                            // At once: whoever walks thousands need not wait for their end.
                            failure.show();
                            failed.lock().unwrap().push(seed);
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
        "{} seeds in {:.1} s: {} requests of the product, {} of them troubled; killed {} times; \
         {} months of subscriptions, {} closed periods compared",
        seeds.end - seeds.start,
        started.elapsed().as_secs_f32(),
        totals.requests,
        totals.troubles,
        totals.kills,
        totals.seen.months(),
        totals.seen.closed_periods,
    );
    (totals, failed.into_inner().unwrap())
}

#[test]
fn whatever_goes_wrong_all_is_well_in_the_end() {
    let stretches = stretches();
    let mut seen = Coverage::default();
    let mut failed = Vec::new();
    for stretch in &stretches {
        let (totals, failed_too) = walk(stretch);
        seen.add(&totals.seen);
        failed.extend(failed_too);
    }
    println!("they came across {seen}");
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}",
        failed.len()
    );
    let walked: u64 = stretches.iter().map(|it| it.end - it.start).sum();
    if walked >= SHORT_SEEDS + LONG_SEEDS {
        let missing = seen.missing();
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
