//! On each of two machines a mail program delivers, flags and moves messages all the time, and nobody removes any. While
//! they do, the machines exchange bundles. Whatever a listing has missed: nothing counts as removed, nothing is there
//! twice, nothing goes to the trash, and nothing is lost.
//!
//! `MAILSYNC_ROUNDS` is how many exchanges there are at each speed, and `MAILSYNC_FIRST_SEED` is what the mail programs
//! begin with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mailsync::error::Error;
use mailsync::maildir::LayoutKind;
use mailsync::model::Digest;
use mailsync::replica::{DryRun, ExportOptions, Replica, ScanOptions};
use rustix::io::Errno;

use crate::simulation::number_asked_for;
use crate::support::agent::Agent;
use crate::support::disk::{Call, Fault, Op, Watch};
use crate::support::machine::{self, Machine, assert_same};
use crate::support::party::{Party, contents, exchange, export, import, make_peers};
use crate::support::{files, names, rest, scratch};

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
        let mut parts = event["text"].as_str().unwrap().split(", ");
        parts.find_map(|part| part.strip_suffix(" removed")?.parse::<u64>().ok())
    });
    removed.sum()
}

fn race(rounds: u64, a_second: u32, seed: u64) -> (Harm, u64) {
    let dir = scratch();
    let machines = ["desktop", "laptop"].map(|name| Machine::new(dir.path(), name));
    let mut agents = [0, 1].map(|i| {
        let machine: &Machine = &machines[i];
        for sub in ["new", "cur", "tmp"] {
            fs::create_dir(machine.mail.join(sub)).unwrap();
        }
        machine.init();
        let folders = FOLDERS.iter().map(|folder| machine.dir(folder)).collect();
        let mut agent = Agent::new(&machine.name, folders, seed * 2 + u64::try_from(i).unwrap());
        (0..100).for_each(|_| agent.deliver());
        agent
    });
    machine::make_peers(&machines[0], &machines[1]);
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
                // Much is moved between two bundles, which the guard would ask about. What is removed is counted.
                let imported = to.run_with(&["import", "--allow-mass-delete"], &exported.stdout);
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

/// Finds the file of a message in any folder, and gives it another folder or other flags.
fn touch(party: &Party, message: &str, to: &str, flags: &str) {
    let bytes = contents(message);
    let file =
        FOLDERS.iter().flat_map(|folder| ["new", "cur"].map(|sub| party.dir(folder).join(sub))).find_map(|dir| {
            let files = fs::read_dir(dir).ok()?.map(|item| item.unwrap().path());
            files.into_iter().find(|path| fs::read(path).unwrap() == bytes)
        });
    // At this moment it may be on its way from `tmp/`.
    let Some(file) = file else { return };
    let name = file.file_name().unwrap().to_str().unwrap();
    let base = name.split(":2,").next().unwrap();
    fs::rename(&file, party.dir(to).join("cur").join(format!("{base}:2,{flags}"))).unwrap();
}

/// Two replicas that hold the same, and of which each has done something since.
fn at_work(dir: &Path) -> [Party; 2] {
    let mail = ["INBOX alpha S", "INBOX beta -", "Archive gamma S", "Work delta new", "Lists"];
    let here = Party::new(dir, "here", LayoutKind::MaildirPlusPlus, &mail);
    let there = Party::new(dir, "there", LayoutKind::Fs, &[]);
    make_peers(&here, &there);
    exchange(&here, &there, &dir.join("bundle"));
    // Nothing vanishes here by itself: that alone would have a scan look more than once.
    for what in ["deliver INBOX epsilon new", "deliver Work zeta S"] {
        here.act(what);
    }
    for what in ["flag INBOX alpha FS", "move INBOX beta Archive", "deliver Lists eta new"] {
        there.act(what);
    }
    there.export(&here, &dir.join("from there"));
    rest();
    [here, there]
}

/// Runs a command again and again. Each time a mail program does the same thing at a later call of the command, until
/// there are no more calls.
fn at_each_call(
    dir: &Path,
    [here, there]: &[Party; 2],
    command: impl Fn(&Replica) -> Result<u64, Error>,
    message: &'static str,
    to: &'static str,
    flags: &'static str,
) {
    let before = [here, there].map(Party::snapshot);
    let bundle = dir.join("bundle");
    let mut n = 0;
    loop {
        n += 1;
        here.put_back(&before[0]);
        there.put_back(&before[1]);
        let watch = Watch::new(&dir.join("keep"));
        let (mut calls, party) = (0, here.clone());
        let replica = here.open(watch.disk()).unwrap();
        watch.observe(move || {
            calls += 1;
            if calls == n {
                touch(&party, message, to, flags);
            }
            calls
        });
        let case = format!("{message} goes to {to} with {flags}, at call {n}");
        let mut removed = command(&replica).unwrap_or_else(|error| panic!("{case}: {error}"));
        drop(replica);
        let ended = watch.take().last().is_none_or(|call| call.seen < n);
        rest();
        for (from, to) in [(here, there), (there, here), (here, there), (there, here)] {
            let replica = from.opened();
            removed += replica.scan(&ScanOptions::default()).unwrap().removed;
            export(&replica, to, &bundle);
            removed += import(&to.opened(), &bundle).unwrap_or_else(|error| panic!("{case}: {error}")).0.removed;
        }
        let mailbox = here.mailbox();
        assert_eq!(mailbox, there.mailbox(), "{case}");
        let names: Vec<&str> = mailbox.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["alpha", "beta", "delta", "epsilon", "eta", "gamma", "zeta"], "{case}: {mailbox:?}");
        assert_eq!((removed, here.trash().len() + there.trash().len()), (0, 0), "{case}");
        if ended {
            assert!(n > 10, "{n} calls");
            return;
        }
    }
}

#[test]
fn a_message_that_is_moved_at_any_call_of_a_scan_is_neither_removed_nor_doubled() {
    let scan = |replica: &Replica| replica.scan(&ScanOptions::default()).map(|report| report.removed);
    for (message, to, flags) in [("alpha", "Work", "S"), ("gamma", "INBOX", "F"), ("epsilon", "Archive", "")] {
        let dir = scratch();
        at_each_call(dir.path(), &at_work(dir.path()), scan, message, to, flags);
    }
}

/// The import could not move a message, so a scan decides again how that is to be done. It finds the message under
/// another name, and while it looks further, somebody moves it.
#[test]
fn a_message_that_waits_to_be_moved_and_is_moved_at_any_call_of_a_scan_is_neither_removed_nor_doubled() {
    let scan = |replica: &Replica| replica.scan(&ScanOptions::default()).map(|report| report.removed);
    let dir = scratch();
    let [here, there] = at_work(dir.path());
    let (before, bundle) = (here.snapshot(), dir.path().join("from there"));
    let watch = Watch::new(&dir.path().join("keep"));
    let stayed = (1..500).any(|n| {
        here.put_back(&before);
        let beta = here.find("INBOX", "beta");
        let replica = here.open(watch.disk()).unwrap();
        watch.arm(Fault::Fail(n, Errno::ACCESS));
        let is_move = |call: Call| call.op == Op::Rename && call.path == beta;
        import(&replica, &bundle).is_ok() && watch.struck().is_some_and(is_move)
    });
    assert!(stayed, "the message was never moved");
    here.act("flag INBOX beta FS");
    rest();
    at_each_call(dir.path(), &[here, there], scan, "beta", "Work", "FS");
}

#[test]
fn a_message_that_is_moved_at_any_call_of_an_export_is_in_the_bundle() {
    let export = |replica: &Replica| {
        let removed = replica.scan(&ScanOptions::default())?.removed;
        let mut bundle = Vec::new();
        let exported = replica.export(&ExportOptions::to_peer("there"), &mut bundle)?;
        assert!(exported.missing.digests.is_empty() && replica.drain_problems().is_empty(), "{exported}");
        Ok(removed)
    };
    for (message, to, flags) in [("epsilon", "Archive", "S"), ("zeta", "Work", "FS"), ("zeta", "INBOX", "")] {
        let dir = scratch();
        at_each_call(dir.path(), &at_work(dir.path()), export, message, to, flags);
    }
}

#[test]
fn a_message_that_is_moved_at_any_call_of_an_import_is_neither_removed_nor_doubled() {
    for (message, to, flags) in [("alpha", "Lists", "S"), ("beta", "INBOX", "RS"), ("eta", "Work", "S")] {
        let dir = scratch();
        let bundle = dir.path().join("from there");
        let import = |replica: &Replica| import(replica, &bundle).map(|(report, _)| report.removed);
        at_each_call(dir.path(), &at_work(dir.path()), import, message, to, flags);
    }
}

/// The import has put the message into its folder, and was killed before that was recorded. Some programs give a file that they move
/// another name, too.
#[test]
fn a_message_that_is_moved_after_an_import_was_killed_at_any_call_is_neither_removed_nor_doubled() {
    let dir = scratch();
    let [here, there] = at_work(dir.path());
    let before = [&here, &there].map(Party::snapshot);
    let bundle = dir.path().join("from there");
    let (mut moved, mut n) = (0, 0);
    loop {
        n += 1;
        let case = format!("killed at call {n}");
        here.put_back(&before[0]);
        let watch = Watch::new(&dir.path().join("keep"));
        let killed = || here.open(watch.disk()).and_then(|replica| import(&replica, &bundle).map(drop));
        let (result, _) = watch.hinder(Fault::Stop(n), &here.home.database(), || (), killed);
        if result.is_ok() {
            break;
        }
        let there_before = files_of(&here, "Work");
        touch(&here, "eta", "Work", "S");
        // What waits in `tmp/` is nothing that a mail program moves.
        let Some(moved_to) = files_of(&here, "Work").into_iter().find(|file| !there_before.contains(file)) else {
            continue;
        };
        moved += 1;
        if moved % 2 == 0 {
            fs::rename(&moved_to, moved_to.with_file_name("1700000000.M1P1.mutt:2,S")).unwrap();
        }
        there.put_back(&before[1]);
        rest();
        // Who only looks finishes the import, too.
        here.opened().scan(&ScanOptions { dry_run: DryRun::Yes, ..ScanOptions::default() }).unwrap();
        import(&here.opened(), &bundle).unwrap_or_else(|error| panic!("{case}: {error}"));
        exchange(&here, &there, &dir.path().join("bundle"));
        let mailbox = here.mailbox();
        assert_eq!(mailbox, there.mailbox(), "{case}");
        let etas: Vec<&String> = mailbox.iter().filter(|line| line.split(' ').nth(1) == Some("eta")).collect();
        assert_eq!(etas, ["Work eta S"], "{case}: {mailbox:?}");
        assert_eq!(here.opened().state().count_pending().unwrap(), 0, "{case}");
        assert_eq!(here.trash().len() + there.trash().len(), 0, "{case}");
    }
    assert!(moved > 3, "it was there at {moved} of {n} calls");
}

fn files_of(party: &Party, folder: &str) -> Vec<PathBuf> {
    let dir = party.dir(folder);
    ["new", "cur"].into_iter().flat_map(|sub| files(&dir.join(sub))).collect()
}
