//! On each of two machines a mail program delivers, flags and moves messages all the time, and nobody removes any. While
//! they do, the machines exchange bundles. Whatever a listing has missed: nothing counts as removed, nothing is there
//! twice, nothing goes to the trash, and nothing is lost.
//!
//! `MAILSYNC_ROUNDS` is how many exchanges there are at each speed, and `MAILSYNC_FIRST_SEED` is what the mail programs
//! begin with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use mailsync::model::Digest;

use crate::simulation::number_asked_for;
use crate::support::agent::Agent;
use crate::support::machine::{Machine, assert_same, make_peers};
use crate::support::{names, rest, scratch};

const FOLDERS: [&str; 4] = ["INBOX", "Archive", "Lists", "Work"];

/// What became of the mail.
#[derive(Debug, Default)]
struct Harm {
    removed: u64,
    doubled: u64,
    trashed: u64,
    lost: u64,
    exports: u64,
    imports: u64,
}

/// The removals that the scans of a machine have found.
fn removals(machine: &Machine) -> u64 {
    let log = machine.ok(&["log", "--json", "--limit", "100000"]).json();
    let events = log["events"].as_array().unwrap().iter().filter(|event| event["command"] == "scan");
    let removed = events.filter_map(|event| {
        let parts = event["text"].as_str().unwrap().split(", ");
        parts.filter_map(|part| part.strip_suffix(" removed")?.parse::<u64>().ok()).next()
    });
    removed.sum()
}

fn race(rounds: u64, a_second: u32, seed: u64) -> (Harm, u64) {
    let dir = scratch();
    let machines = ["desktop", "laptop"].map(|name| Machine::new(dir.path(), name));
    let mut agents = [0, 1].map(|i| {
        let machine: &Machine = &machines[i];
        for sub in ["new", "cur", "tmp"] {
            std::fs::create_dir(machine.mail.join(sub)).unwrap();
        }
        machine.init();
        let folders = FOLDERS.iter().map(|folder| machine.dir(folder)).collect();
        let mut agent = Agent::new(&machine.name, folders, seed * 2 + u64::try_from(i).unwrap());
        (0..100).for_each(|_| agent.deliver());
        agent
    });
    make_peers(&machines[0], &machines[1]);
    let mut harm = Harm::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for agent in &mut agents {
            let stop = &stop;
            scope.spawn(move || agent.work(a_second, stop));
        }
        for _ in 0..rounds {
            for (from, to) in [(0, 1), (1, 0)] {
                let (from, to) = (&machines[from], &machines[to]);
                let exported = from.run(&["export", "--to", &to.name]);
                if exported.code != 0 {
                    println!("{}: {}", from.name, exported.stderr);
                    harm.exports += 1;
                    continue;
                }
                let imported = to.run_with(&["import"], &exported.stdout);
                if imported.code != 0 {
                    println!("{}: {}", to.name, imported.stderr);
                    harm.imports += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    rest();
    // What is wrong is counted, and not refused.
    for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0), (0, 1)] {
        let (from, to) = (&machines[from], &machines[to]);
        from.ok(&["scan", "--allow-mass-delete"]);
        let bundle = from.ok(&["export", "--to", &to.name]).stdout;
        let ran = to.run_with(&["import", "--allow-mass-delete"], &bundle);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let (found, other) = (machines[0].mailbox(), machines[1].mailbox());
    assert_same(&found, &other, "at rest");
    let delivered: Vec<Digest> = agents.iter().flat_map(|agent| agent.delivered.iter().copied()).collect();
    harm.removed = machines.iter().map(removals).sum();
    harm.doubled = found.values().map(|copies| copies.len() as u64 - 1).sum();
    harm.trashed = machines.iter().map(|machine| names(&machine.home.join("trash")).len() as u64).sum();
    harm.lost = delivered.iter().filter(|digest| !found.contains_key(*digest)).count() as u64;
    assert!(found.keys().all(|digest| delivered.contains(digest)), "something is there that nobody has delivered");
    let done = agents.iter().map(|agent| agent.delivered.len() as u64 + agent.flagged + agent.moved).sum();
    println!(
        "{rounds} rounds at {a_second} a second: {} delivered, {} flagged, {} moved: {harm:?}",
        delivered.len(),
        agents.iter().map(|agent| agent.flagged).sum::<u64>(),
        agents.iter().map(|agent| agent.moved).sum::<u64>()
    );
    (harm, done)
}

#[test]
fn nothing_is_removed_doubled_or_lost_while_mail_programs_work() {
    let rounds = number_asked_for("MAILSYNC_ROUNDS").unwrap_or(8);
    let seed = number_asked_for("MAILSYNC_FIRST_SEED").unwrap_or(1);
    let mut table = BTreeMap::new();
    for a_second in [200, 500] {
        table.insert(a_second, race(rounds, a_second, seed));
    }
    for (a_second, (harm, done)) in table {
        assert!(done > rounds, "{a_second} a second: the mail programs have done nothing");
        let wrong = [harm.removed, harm.doubled, harm.trashed, harm.lost, harm.exports, harm.imports];
        assert_eq!(wrong, [0; 6], "{a_second} a second, in {rounds} rounds: {harm:?}");
    }
}
