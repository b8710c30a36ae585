//! Many histories, one for each seed.

use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::workers::on_all_processors;
use super::{History, Network, Restores, Tally};

/// A history that failed.
pub struct Failure {
    /// What brings it back.
    pub seed: u64,
    /// What is wrong.
    pub wrong: String,
}

/// The number in this environment variable, if it is set.
pub fn number_asked_for(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// These seeds, or those that the surroundings ask for: `MAILSYNC_FIRST_SEED` is where to begin, and `MAILSYNC_SEEDS`
/// how many to take.
pub fn asked_for(first: u64, count: u64) -> Range<u64> {
    let first = number_asked_for("MAILSYNC_FIRST_SEED").unwrap_or(first);
    first..first + number_asked_for("MAILSYNC_SEEDS").unwrap_or(count)
}

/// Runs the histories of these seeds, on all processors, and gives those that fail in the order of their seeds.
pub fn run_all(
    seeds: Range<u64>,
    history: impl Fn(u64) -> History + Sync,
    run: impl Fn(&History) -> Result<Tally, String> + Sync,
) -> (Tally, Vec<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (tally, failures);
            }
            match run(&history(seed)) {
                Ok(one) => tally += one,
                Err(wrong) => failures.push(Failure { seed, wrong }),
            }
        }
    };
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for (some, failed) in on_all_processors(work) {
        tally += some;
        failures.extend(failed);
    }
    failures.sort_by_key(|failure| failure.seed);
    (tally, failures)
}

/// Runs the histories of these seeds, all of which must hold. The first that fails is told with as few of its steps as
/// still fail.
pub fn run_all_well(
    seeds: Range<u64>,
    history: impl Fn(u64) -> History + Sync,
    run: impl Fn(&History) -> Result<Tally, String> + Sync,
) -> Tally {
    let count = seeds.end - seeds.start;
    let (tally, failures) = run_all(seeds, &history, &run);
    println!("{count} histories, of which {} failed; the others: {tally:?}", failures.len());
    if let Some(Failure { seed, wrong }) = failures.first() {
        let seeds: Vec<_> = failures.iter().map(|failure| failure.seed).collect();
        let smaller = history(*seed).made_smaller(|smaller| run(smaller).is_err());
        let still = run(&smaller).expect_err("it still fails");
        panic!(
            "{} histories failed, of the seeds {seeds:?}. That of {seed}: {wrong}\n\
             It still fails as {smaller:#?}\nwith: {still}",
            failures.len(),
        );
    }
    tally
}

/// Lets a history happen, and checks after every step that the replica of that step holds exactly what it knows.
pub fn run_and_check_each_step(history: &History, restores: Restores) -> Result<Tally, String> {
    let mut network = Network::new(&history.setup, restores);
    network.checks_each_step = true;
    network.run_through(history)
}
