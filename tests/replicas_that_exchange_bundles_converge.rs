//! Whatever happens to replicas and to the bundles between them: once everything was exchanged they hold the same,
//! nothing that nobody removed is gone, and forgetting removals changes nothing.
//!
//! A seeded history that fails is printed with its seed and with as few of its steps as still fail; the seed alone
//! brings it back: `MAILSYNC_FIRST_SEED` is where to begin, and `MAILSYNC_SEEDS` how many seeds each test takes.
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` do the same for the histories that proptest makes.

use crate::simulation::{self, Failure, History, Network, Restores, Setup, Step, Tally, asked_for, run_all};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

/// Runs histories of these seeds, all of which must hold.
fn run_all_well(first: u64, count: u64, restores: Restores, history: impl Fn(u64) -> History + Sync) -> Tally {
    simulation::run_all_well(asked_for(first, count), history, |history| Network::run(history, restores))
}

#[test]
fn replicas_that_are_never_restored_end_with_exactly_what_was_done() {
    let tally = run_all_well(0, 400, Restores::Never, |seed| History::random(seed, 300));
    assert!(tally.full > 0 && tally.waited > 0 && tally.purged > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn replicas_that_are_restored_from_backups_converge() {
    let tally = run_all_well(10_000, 400, Restores::Noticed, |seed| History::random(seed, 300));
    assert!(tally.restored > 0 && tally.waited > 0 && tally.purged > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn large_networks_converge() {
    let tally = run_all_well(20_000, 15, Restores::Noticed, |seed| {
        let replicas = 8 + usize::try_from(seed % 13).expect("a small number");
        History::random_among(replicas, seed, 1000).with_changing_neighbours()
    });
    assert!(tally.joined > 0 && tally.parted > 0, "histories that test nothing: {tally:?}");
    assert!(tally.restored > 0 && tally.waited > 0 && tally.purged > 0, "histories that test nothing: {tally:?}");
}

/// A rolled back replica can issue a stamp again before anybody who knows of the first one hears of it. What peers
/// can't notice stays rare.
#[test]
fn replicas_that_are_rolled_back_without_noticing_converge_but_for_one_in_a_hundred() {
    let seeds = asked_for(30_000, 400);
    let count = usize::try_from(seeds.end - seeds.start).expect("not that many");
    let unnoticed = |history: &History| Network::run(history, Restores::Unnoticed);
    let (tally, failures) = run_all(seeds, |seed| History::random(seed, 300), unnoticed);
    for Failure { seed, wrong } in &failures {
        println!("{seed}: {wrong}");
    }
    println!("{} of {count} histories failed; the others: {tally:?}", failures.len());
    assert!(tally.rolled_back > 0 && tally.differed > 0, "histories that test nothing: {tally:?}");
    assert!(failures.len() * 100 <= count, "{} of {count} histories failed", failures.len());
}

#[test]
fn replicas_that_come_late_or_part_and_meet_again_converge() {
    let changing = |seed| History::random(seed, 300).with_changing_neighbours();
    let tally = run_all_well(40_000, 200, Restores::Noticed, changing);
    assert!(tally.joined > 0 && tally.parted > 0 && tally.met > 0, "histories that test nothing: {tally:?}");
}

fn histories() -> impl Strategy<Value = History> {
    let setup = (2..=7_usize, any::<u64>().no_shrink()).prop_map(|(replicas, seed)| Setup::random(replicas, seed));
    // A step with another seed is a different one, not a smaller one: histories get smaller by losing steps.
    let step = any::<u64>().no_shrink().prop_map(Step::random);
    (setup, vec(step, 0..200)).prop_map(|(setup, steps)| History { setup, steps })
}

fn config() -> ProptestConfig {
    // What the surroundings ask for is in it already.
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 128 },
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        // The same histories every time: a failure is found again.
        rng_seed: if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(20) } else { asked.rng_seed },
        ..asked
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_converges(history in histories()) {
        if let Err(wrong) = Network::run(&history, Restores::Noticed) {
            return Err(TestCaseError::fail(wrong));
        }
    }
}

/// A replica that was restored from a backup changes what others have removed and forgotten: what they deliver anew
/// must win over what it still remembers.
#[test]
fn a_restored_replica_that_meets_those_who_have_forgotten_more_ends_with_the_same_mail() {
    let tally =
        Network::run(&History::random(1_118_744, 130), Restores::Noticed).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(tally.restored > 0 && tally.anew > 0, "a history that tests nothing: {tally:?}");
}
