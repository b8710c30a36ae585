//! Whatever happens to replicas on real directories, and to the bundles between them: once everything was exchanged
//! they hold the same, nothing that nobody removed is gone, nothing that was removed everywhere is back, and forgetting
//! removals changes nothing.
//!
//! A history that fails is printed with its seed and with as few of its steps as still fail; the seed alone brings it
//! back: `MAILSYNC_FIRST_SEED` is where to begin, and `MAILSYNC_SEEDS` how many seeds each test takes.

use std::ops::Range;

use crate::network_on_disk::{End, History, Network, Restores, Tally};
use crate::simulation::{Rng, asked_for};
use crate::support::caught;

/// Lets a history happen. That the library panics is a failure like any other.
fn run(history: &History, restores: Restores) -> Result<End, String> {
    caught(|| Network::run(history, restores)).unwrap_or_else(Err)
}

/// Runs the histories of these seeds. The first that fails is told with its seed, and with as few of its steps as still
/// fail.
fn run_all(
    seeds: Range<u64>,
    history: impl Fn(u64) -> History,
    run: impl Fn(&History) -> Result<End, String>,
) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for seed in seeds {
        let wrong = match run(&history(seed)) {
            Ok(end) => {
                tally += end.tally;
                continue;
            }
            Err(wrong) => format!("the history of seed {seed} fails: {wrong}"),
        };
        println!("{wrong}");
        let smaller = history(seed).with_fewest_steps(|smaller| run(smaller).is_err());
        return Err(match run(&smaller) {
            Err(still) => format!("{wrong}\nIt still fails as {smaller:#?}\nwith: {still}"),
            Ok(_) => format!("{wrong}\nBut not always."),
        });
    }
    Ok(tally)
}

/// Runs the histories of these seeds, or of those that are asked for, all of which must hold.
fn run_all_well(first: u64, count: u64, restores: Restores, history: impl Fn(u64) -> History) -> Tally {
    let tally = run_all(asked_for(first, count), history, |history| run(history, restores))
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{tally:?}");
    tally
}

fn of_three_to_eight(seed: u64) -> History {
    History::random(3 + Rng::new(seed).below(6), seed, 300)
}

#[test]
fn replicas_on_disk_that_are_never_restored_end_with_exactly_what_was_done() {
    let tally = run_all_well(6, 6, Restores::Never, of_three_to_eight);
    let killed = tally.scans_killed > 0 && tally.exports_killed > 0 && tally.imports_killed > 0;
    assert!(tally.waited > 0 && tally.purged > 0 && killed, "histories that test nothing: {tally:?}");
    assert!(tally.jobs_done > 0 && tally.jobs_cancelled > 0, "histories that test no jobs: {tally:?}");
    assert!(tally.encrypted > 0 && tally.by_code > 0, "histories in which nothing is encrypted: {tally:?}");
}

#[test]
fn replicas_on_disk_that_are_restored_from_backups_converge() {
    let tally = run_all_well(10_000, 6, Restores::Noticed, of_three_to_eight);
    assert!(
        tally.restored > 0 && tally.purged > 0 && tally.imports_killed > 0,
        "histories that test nothing: {tally:?}"
    );
}

#[test]
fn twenty_replicas_on_disk_converge() {
    let tally =
        run_all_well(20_000, 1, Restores::Noticed, |seed| History::random(20, seed, 400).with_changing_neighbours());
    assert!(tally.applied > 0, "a history that tests nothing: {tally:?}");
}

#[test]
fn replicas_on_disk_that_come_late_or_part_and_meet_again_converge() {
    let changing = |seed| of_three_to_eight(seed).with_changing_neighbours();
    let tally = run_all_well(30_000, 4, Restores::Never, changing);
    assert!(tally.late > 0 && tally.parted > 0 && tally.purged > 0, "histories that test nothing: {tally:?}");
    let tally = run_all_well(32_000, 4, Restores::Noticed, changing);
    assert!(tally.late > 0 && tally.parted > 0 && tally.restored > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn a_history_on_disk_always_ends_the_same_way() {
    let history = History::random(3, 30_000, 100);
    assert_eq!(run(&history, Restores::Noticed), run(&history, Restores::Noticed));
}

#[test]
fn a_history_that_fails_is_told_with_its_seed_and_few_of_its_steps() {
    // A fault on purpose: nothing may ever be purged. That takes a removal that both know of, and a purge.
    let run = |history: &History| match run(history, Restores::Never)? {
        End { tally, .. } if tally.purged > 0 => Err(String::from("something was purged")),
        end => Ok(end),
    };
    let history = |seed| History::random(2, seed, 60);
    let failing = (40_000..40_100).find(|&seed| run(&history(seed)).is_err()).expect("purges are common");
    let told = run_all(failing..failing + 1, history, run).unwrap_err();
    assert!(told.contains(&format!("seed {failing} fails: something was purged")), "{told}");
    let steps = told.matches("after: ").count();
    assert!((2..=8).contains(&steps), "{steps} steps are left:\n{told}");
    assert!(told.contains("Remove") && told.contains("Purge"), "{told}");
}
