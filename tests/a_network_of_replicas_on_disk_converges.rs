//! Whatever happens to replicas on real directories, and to the bundles between them: once everything was exchanged they
//! hold the same, nothing that nobody removed is gone, nothing that was removed everywhere is back, and forgetting removals
//! changes nothing.
//!
//! A history that fails is printed with its seed and with as few of its steps as still fail; the seed alone brings it back:
//! `MAILSYNC_FIRST_SEED` is where to begin, and `MAILSYNC_SEEDS` how many seeds each test takes.

#[path = "support/disk.rs"]
mod disk;
mod network_on_disk;
#[path = "simulation/rng.rs"]
mod rng;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use network_on_disk::{End, History, Network, Restores, Tally};

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// Lets a history happen. That the library panics is a failure like any other.
fn run(history: &History, restores: Restores) -> Result<End, String> {
    catch_unwind(AssertUnwindSafe(|| Network::run(history, restores))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

/// Runs the histories of these seeds, all of which must hold.
fn run_all_well(first: u64, count: u64, restores: Restores, history: impl Fn(u64) -> History) -> Tally {
    let first = number_from("MAILSYNC_FIRST_SEED").unwrap_or(first);
    let count = number_from("MAILSYNC_SEEDS").unwrap_or(count);
    let mut tally = Tally::default();
    for seed in first..first + count {
        match run(&history(seed), restores) {
            Ok(end) => tally += end.tally,
            Err(wrong) => {
                println!("The history of seed {seed} fails: {wrong}");
                let smaller = history(seed).with_fewest_steps(|smaller| run(smaller, restores).is_err());
                match run(&smaller, restores) {
                    Err(still) => panic!(
                        "the history of seed {seed} fails: {wrong}\nIt still fails as {smaller:#?}\nwith: {still}"
                    ),
                    Ok(_) => panic!("the history of seed {seed} fails, but not always: {wrong}"),
                }
            }
        }
    }
    println!("{tally:?}");
    tally
}

fn of_three_to_eight(seed: u64) -> History {
    History::random(3 + rng::Rng::new(seed).below(6), seed, 300)
}

#[test]
fn replicas_on_disk_that_are_never_restored_end_with_exactly_what_was_done() {
    let tally = run_all_well(0, 6, Restores::Never, of_three_to_eight);
    assert!(tally.waited > 0 && tally.purged > 0 && tally.killed > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn replicas_on_disk_that_are_restored_from_backups_converge() {
    let tally = run_all_well(10_000, 6, Restores::Noticed, of_three_to_eight);
    assert!(tally.restored > 0 && tally.purged > 0 && tally.killed > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn twenty_replicas_on_disk_converge() {
    let tally = run_all_well(20_000, 1, Restores::Noticed, |seed| History::random(20, seed, 400));
    assert!(tally.applied > 0, "a history that tests nothing: {tally:?}");
}

#[test]
fn a_history_on_disk_always_ends_the_same_way() {
    let history = History::random(3, 30_000, 100);
    assert_eq!(run(&history, Restores::Noticed), run(&history, Restores::Noticed));
}
