//! After every step of every history a replica holds exactly what it knows: the join of all writes that its knowledge
//! includes, however much of it was forgotten in between.
//!
//! The histories have two messages, two folders and two to four replicas, so that everything happens to the same few
//! things. Every run tries some thousand; `MAILSYNC_FIRST_SEED` and `MAILSYNC_SEEDS` have others and more tried, best
//! with `cargo test --release`. One that fails is printed with its seed and made as small as it can be.
//! `MAILSYNC_DEPTH` has longer histories tried of those of which every one is.

use mailsync::model::Flag;

use crate::simulation::{
    Beginning, Events, Explored, History, Network, OldMail, Op, Restores, Setup, Step, Tally, asked_for, every_history,
    number_asked_for, run_all_well, run_and_check_each_step,
};

fn dense(first: u64, events: Events) -> Tally {
    let restores = if events.restores { Restores::Noticed } else { Restores::Never };
    let tally = run_all_well(
        asked_for(first, 600),
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

#[test]
fn when_everything_happens_at_once_all_hold_what_they_know() {
    let tally = dense(8_000_000, Events { restores: true, late: true, peers: true });
    assert!(tally.restored > 0 && tally.joined > 0 && tally.parted > 0, "histories that test nothing: {tally:?}");
}

/// Replica 0 has removed a message, and forgotten that. Replica 1, restored from a backup of before, clears a flag of
/// it and tells replica 2. The message goes when 1 hears of the removal, and its change of the flag would be in no
/// horizon; then replica 0, whose clock is behind that change, gets the message again, with the flag.
#[test]
fn a_change_to_what_others_have_forgotten_is_remembered_until_all_know_of_it() {
    let mail = |flags: &str| OldMail { message: 0, folder: 0, flags: flags.bytes().map(Flag::Info).collect() };
    let setup = Setup {
        seed: 1,
        messages: 1,
        folders: 1,
        edges: vec![(1, 0), (1, 2)],
        skews: vec![0, 300, 0],
        old_mail: vec![vec![], vec![mail("FS")], vec![]],
        late: 0,
        beginning: Beginning::Alone,
    };
    let arrives = Op::Carry { bundle: 0, arrives: true, stays: false };
    let steps = [
        (1, Op::Save),
        (1, Op::Remove { entry: 0 }),
        (1, Op::Export { neighbour: 0, since_last: false }),
        (0, arrives.clone()),
        (1, Op::Restore),
        (1, Op::SetFlag { entry: 0, flag: Flag::Info(b'F'), on: false }),
        (1, Op::Export { neighbour: 1, since_last: false }),
        (2, arrives.clone()),
        (0, Op::Purge),
        (0, Op::Export { neighbour: 0, since_last: true }),
        (1, arrives),
        (0, Op::Deliver { message: 0, folder: 0, flags: vec![Flag::Info(b'F')] }),
    ];
    let steps = steps.map(|(at, op)| Step { after: 1, at, op }).to_vec();
    let history = History { setup, steps };
    Network::run(&history, Restores::Noticed).unwrap_or_else(|wrong| panic!("{wrong}"));
    let tally = run_and_check_each_step(&history, Restores::Noticed).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(tally.purged > 0 && tally.full > 0, "{tally:?}");
}

/// Replica 1 moves a message, then removes it, and forgets that once replica 0 knows. Replica 0, restored from a backup
/// of before, removes the message, too, without having heard of the move, and tells 1: there stands a removal that
/// hasn't seen the move beside the forgotten one that has. Then the move reaches 0 late, where the message lives again
/// until 0 hears of more.
#[test]
fn a_removal_that_was_forgotten_stands_beside_another_one_that_is_remembered() {
    let setup = Setup {
        seed: 1,
        messages: 2,
        folders: 2,
        edges: vec![(0, 1)],
        skews: vec![0, 0],
        old_mail: vec![vec![OldMail { message: 0, folder: 0, flags: vec![] }], vec![]],
        late: 0,
        beginning: Beginning::Alone,
    };
    let carry = |bundle| Op::Carry { bundle, arrives: true, stays: false };
    let export = || Op::Export { neighbour: 0, since_last: false };
    let (move_under_way, next) = (0, 1);
    let steps = [
        (0, Op::Save),
        (0, export()),
        (1, carry(0)),
        (1, Op::Move { entry: 0, folder: 1 }),
        (1, export()),
        (1, Op::Remove { entry: 0 }),
        (1, export()),
        (0, carry(next)),
        (0, Op::Deliver { message: 1, folder: 0, flags: vec![] }),
        (0, export()),
        (1, carry(next)),
        (0, Op::Restore),
        (1, Op::Purge),
        (0, Op::Remove { entry: 0 }),
        (0, export()),
        (0, carry(move_under_way)),
        (1, carry(0)),
    ];
    let steps = steps.map(|(at, op)| Step { after: 1, at, op }).to_vec();
    let history = History { setup, steps };
    let tally = run_and_check_each_step(&history, Restores::Noticed).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(tally.restored > 0 && tally.purged > 0 && tally.full > 0, "{tally:?}");
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
    let Explored { states, steps } = every_one(5, Restores::Never);
    assert!(states > 500 && steps > states, "it looks at nothing");
}

#[test]
fn two_replicas_that_are_restored_hold_what_they_know_after_every_short_history_of_one_message() {
    let Explored { states, steps } = every_one(5, Restores::Noticed);
    assert!(states > 500 && steps > states, "it looks at nothing");
}
