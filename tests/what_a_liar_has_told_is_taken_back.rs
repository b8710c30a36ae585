//! One replica among honest ones lies, in bundles that can be true and in others. Once it is found out and no peer any more, and the
//! others were repaired, all of them hold the same, and no mail is lost that isn't in somebody's trash.

use crate::simulation::{Gate, History, Network, Restores, Tally, asked_for, run_all_well};

/// Lets a history happen in which one of the replicas lies.
fn run_with_a_liar(history: &History, gate: Gate) -> Result<Tally, String> {
    let mut network = Network::new(&history.setup, Restores::Never);
    let replicas = network.replicas().len();
    network.make_a_liar(usize::try_from(history.setup.seed % 64).unwrap() % replicas, history.setup.seed, gate);
    for (number, step) in history.steps.iter().enumerate() {
        network.step(step).map_err(|wrong| format!("at step {number}, {:?}: {wrong}", step.op))?;
    }
    network.end_with_the_liar_found_out()
}

fn history(seed: u64) -> History {
    let replicas = 3 + usize::try_from(seed % 4).unwrap();
    History::random_among(replicas, seed, 200)
}

#[test]
fn honest_replicas_are_equal_once_the_liar_is_found_out() {
    let seeds = asked_for(50_000, 300);
    let tally = run_all_well(seeds, history, |history| run_with_a_liar(history, Gate::Shut));
    assert!(tally.lies > 0 && tally.refused > 0 && tally.repaired > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn honest_replicas_that_have_believed_everything_are_equal_once_they_are_repaired() {
    let seeds = asked_for(60_000, 300);
    let tally = run_all_well(seeds, history, |history| run_with_a_liar(history, Gate::Open));
    assert!(tally.lies > 0 && tally.repaired > 0, "histories that test nothing: {tally:?}");
}
