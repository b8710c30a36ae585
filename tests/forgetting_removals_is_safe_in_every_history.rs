//! After every step of every history a replica holds exactly what it knows: the join of all writes that its knowledge
//! includes, however much of it was forgotten in between.
//!
//! The histories have two messages, two folders and two to four replicas, so that everything happens to the same few things.
//! Every run tries some thousand; `MAILSYNC_FIRST_SEED` and `MAILSYNC_SEEDS` have others and more tried, best with
//! `cargo test --release`. One that fails is printed with its seed and made as small as it can be. `MAILSYNC_DEPTH` has longer
//! histories tried of those of which every one is.

mod simulation;

use simulation::{
    Events, Explored, History, Restores, Tally, asked_for, every_history, number_asked_for, run_all_well,
    run_and_check_each_step, run_and_heal,
};

fn dense(first: u64, events: Events) -> Tally {
    let restores = if events.restores { Restores::Noticed } else { Restores::Never };
    let tally = run_all_well(
        asked_for(first, 1500),
        |seed| History::dense(seed, 60, events),
        |history| run_and_check_each_step(history, restores),
    );
    assert!(tally.purged > 0 && tally.waited > 0 && tally.full > 0, "histories that test nothing: {tally:?}");
    tally
}

#[test]
fn replicas_that_work_and_forget_hold_what_they_know() {
    dense(1_000_000, Events::default());
}

#[test]
fn replicas_that_are_restored_from_backups_hold_what_they_know() {
    let tally = dense(2_000_000, Events { restores: true, ..Events::default() });
    assert!(tally.restored > 0 && tally.anew > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn replicas_that_come_late_with_old_mail_hold_what_they_know() {
    let tally = dense(4_000_000, Events { late: true, ..Events::default() });
    assert!(tally.joined > 0 && tally.met > 0 && tally.anew > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn replicas_whose_neighbours_go_and_come_back_hold_what_they_know() {
    let tally = dense(6_000_000, Events { peers: true, ..Events::default() });
    assert!(tally.parted > 0 && tally.met > 0 && tally.anew > 0, "histories that test nothing: {tally:?}");
}

/// With everything at once about one history of a million is wrong all the same. What is left then is what any loss of memory
/// leaves: the digests in bundles find it, and full bundles heal it.
#[test]
fn when_everything_happens_at_once_what_goes_wrong_is_found_and_healed() {
    let tally = run_all_well(
        asked_for(8_000_000, 1500),
        |seed| History::dense(seed, 60, Events { restores: true, late: true, peers: true }),
        |history| {
            run_and_check_each_step(history, Restores::Noticed).or_else(|wrong| {
                println!("{wrong}");
                let tally = run_and_heal(history, Restores::Noticed)?;
                if tally.differed == 0 { Err(format!("{wrong}, and nobody notices")) } else { Ok(tally) }
            })
        },
    );
    assert!(tally.restored > 0 && tally.joined > 0 && tally.parted > 0, "histories that test nothing: {tally:?}");
}

/// Looks at every history of up to so many steps.
fn every_one(depth: u64, restores: Restores) -> Explored {
    let depth = number_asked_for("MAILSYNC_DEPTH").unwrap_or(depth);
    let depth = usize::try_from(depth).expect("a small number");
    let explored = every_history(depth, depth.saturating_sub(4), restores)
        .unwrap_or_else(|bad| panic!("{}\nafter {:#?}", bad.wrong, bad.history));
    println!("every history of {depth} steps: {explored:?}");
    explored
}

#[test]
fn two_replicas_hold_what_they_know_after_every_short_history_of_one_message() {
    let Explored { states, steps } = every_one(6, Restores::Never);
    assert!(states > 1000 && steps > states, "it looks at nothing");
}

#[test]
fn two_replicas_that_are_restored_hold_what_they_know_after_every_short_history_of_one_message() {
    let Explored { states, steps } = every_one(5, Restores::Noticed);
    assert!(states > 1000 && steps > states, "it looks at nothing");
}
