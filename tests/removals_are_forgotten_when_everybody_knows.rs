//! `purge` forgets a removal only when nobody can bring the message back any more, and what was forgotten stays
//! removed: whatever old bundle or old replica turns up.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::machine::{Backup, Machine, complains, exchange, make_peers, message, pair, pass};
use crate::support::programs::Ran;
use crate::support::scratch;

/// Removes a message that was put there.
fn remove(machine: &Machine, subject: &str) {
    fs::remove_file(machine.dir("INBOX").join(format!("cur/{subject}:2,S"))).unwrap();
}

/// How many tombstones a purge forgets and keeps.
#[track_caller]
fn purges(machine: &Machine, forgotten: u64, kept: u64) {
    let purged = machine.ok(&["purge", "--json"]).json();
    let counts = (purged["removals"].as_u64().unwrap(), purged["removals_kept"].as_u64().unwrap());
    assert_eq!(counts, (forgotten, kept), "{}: {purged}", machine.name);
}

fn import(machine: &Machine, bundle: &[u8]) -> Ran {
    machine.run_with(&["import", "--json"], bundle)
}

fn same(one: &Machine, other: &Machine) {
    assert_eq!(one.mailbox(), other.mailbox());
}

/// Two replicas with three messages, of which `gone` was removed and its removal forgotten by the desktop; and the
/// laptop as it was before.
fn after_a_purge(dir: &Path) -> (Machine, Machine, Backup) {
    let (desktop, laptop) = pair(dir);
    for subject in ["gone", "stays", "other"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    let backup = Backup::of(&laptop);
    remove(&desktop, "gone");
    exchange(&desktop, &laptop);
    purges(&desktop, 1, 0);
    assert!(!laptop.has("gone"));
    (desktop, laptop, backup)
}

#[test]
fn a_removal_is_kept_until_every_peer_has_shown_to_know_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let server = Machine::replica(dir.path(), "server");
    make_peers(&desktop, &server);
    desktop.deliver("gone");
    desktop.deliver("stays");
    exchange(&desktop, &laptop);
    exchange(&desktop, &server);
    remove(&desktop, "gone");
    desktop.ok(&["scan"]);
    purges(&desktop, 0, 1);
    pass(&desktop, &laptop);
    // The laptop knows that the desktop knows; the desktop doesn't yet know that the laptop does.
    purges(&desktop, 0, 1);
    purges(&laptop, 1, 0);
    pass(&laptop, &desktop);
    purges(&desktop, 0, 1);
    pass(&desktop, &server);
    assert!(!server.has("gone"));
    purges(&desktop, 0, 1);
    pass(&server, &desktop);
    purges(&desktop, 1, 0);
    purges(&desktop, 0, 0);
    purges(&server, 1, 0);
    for machine in [&laptop, &server] {
        machine.deliver(&format!("of-{}", machine.name));
        exchange(&desktop, machine);
    }
    exchange(&desktop, &laptop);
    same(&desktop, &laptop);
    same(&desktop, &server);
    assert!(desktop.has("stays") && !desktop.has("gone"));
}

#[test]
fn a_replica_without_peers_forgets_nothing() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("gone");
    desktop.ok(&["scan"]);
    remove(&desktop, "gone");
    desktop.ok(&["scan"]);
    purges(&desktop, 0, 1);
}

#[test]
fn an_invited_replica_is_waited_for_until_it_is_given_up() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("gone");
    desktop.deliver("stays");
    exchange(&desktop, &laptop);
    let tablet = Machine::new(dir.path(), "tablet");
    let invitation = desktop.ok(&["invite", "tablet"]).stdout;
    remove(&desktop, "gone");
    exchange(&desktop, &laptop);
    purges(&desktop, 0, 1);
    // It joins late, and finds out.
    let ran = tablet.run_with(&["join", tablet.mail.to_str().unwrap()], &invitation);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(tablet.has("gone"));
    purges(&desktop, 0, 1);
    pass(&tablet, &desktop);
    assert!(!desktop.has("gone"));
    purges(&desktop, 0, 1);
    exchange(&desktop, &tablet);
    assert!(!tablet.has("gone"));
    purges(&desktop, 1, 0);

    // Another one never answers.
    desktop.ok(&["invite", "phone"]);
    remove(&desktop, "stays");
    exchange(&desktop, &laptop);
    exchange(&desktop, &tablet);
    purges(&desktop, 0, 1);
    desktop.ok(&["peer", "remove", "phone"]);
    purges(&desktop, 1, 0);
}

#[test]
fn who_was_given_up_and_answers_after_all_brings_nothing_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("gone");
    desktop.deliver("stays");
    exchange(&desktop, &laptop);
    let tablet = Machine::new(dir.path(), "tablet");
    let invitation = desktop.ok(&["invite", "tablet"]).stdout;
    let ran = tablet.run_with(&["join", tablet.mail.to_str().unwrap()], &invitation);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    desktop.ok(&["peer", "remove", "tablet"]);
    remove(&desktop, "gone");
    exchange(&desktop, &laptop);
    purges(&desktop, 1, 0);
    tablet.deliver("new");
    desktop.ok(&["peer", "add", "tablet", "--key", &tablet.key()]);
    // Nothing of it is known, so it sends a delta from the invitation, which can't be judged here.
    let ran = import(&desktop, &tablet.ok(&["export"]).stdout);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    exchange(&desktop, &tablet);
    same(&desktop, &tablet);
    assert!(!desktop.has("gone") && desktop.has("new") && desktop.has("stays"));
}

#[test]
fn the_trash_is_emptied_by_age_and_when_its_removal_is_forgotten() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("gone");
    desktop.deliver("stays");
    exchange(&desktop, &laptop);
    remove(&desktop, "gone");
    pass(&desktop, &laptop);
    let trash = || fs::read_dir(laptop.home.join("trash")).unwrap().count();
    let purge = || laptop.ok(&["purge", "--json"]).json();
    assert_eq!(trash(), 1);
    // Young enough to be kept, although nobody needs to know any more.
    let purged = purge();
    assert_eq!((purged["removals"].as_u64(), purged["trashed"].as_u64()), (Some(1), Some(0)), "{purged}");
    assert_eq!(trash(), 1);
    let keep_for = |days: u32| {
        let file = laptop.home.join("config.toml");
        let config = fs::read_to_string(&file).unwrap();
        let edit = |line: &str| {
            if line.starts_with("trash_days") { format!("trash_days = {days}\n") } else { format!("{line}\n") }
        };
        fs::write(file, config.lines().map(edit).collect::<String>()).unwrap();
    };
    keep_for(0);
    let purged = purge();
    assert_eq!((purged["trashed"].as_u64(), trash()), (Some(1), 0), "{purged}");
    assert_eq!(purged["trashed_bytes"], message("gone").len());

    // Old enough, and still needed: a peer doesn't know yet.
    let server = Machine::replica(dir.path(), "server");
    make_peers(&laptop, &server);
    exchange(&laptop, &server);
    remove(&desktop, "stays");
    exchange(&desktop, &laptop);
    let purged = purge();
    assert_eq!((purged["removals_kept"].as_u64(), purged["trashed"].as_u64()), (Some(1), Some(0)), "{purged}");
    assert_eq!(trash(), 1);
    exchange(&laptop, &server);
    let purged = purge();
    assert_eq!((purged["removals"].as_u64(), purged["trashed"].as_u64()), (Some(1), Some(1)), "{purged}");
    assert_eq!(trash(), 0);
    assert_eq!(laptop.ok(&["trash", "list", "--json"]).json()["trash"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_restored_from_the_trash_after_its_removal_was_forgotten_is_new_mail_everywhere() {
    let dir = scratch();
    let (desktop, laptop, _) = after_a_purge(dir.path());
    purges(&laptop, 1, 0);
    let listed = laptop.ok(&["trash", "list", "--json"]).json();
    let number = listed["trash"][0]["id"].to_string();
    laptop.ok(&["trash", "restore", &number]);
    assert!(laptop.has("gone"));
    exchange(&laptop, &desktop);
    same(&desktop, &laptop);
    assert!(desktop.has("gone"));
    purges(&desktop, 0, 0);
}

#[test]
fn an_old_bundle_brings_nothing_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["gone", "stays", "other"] {
        laptop.deliver(subject);
    }
    let delta = laptop.ok(&["export"]).stdout;
    let full = laptop.ok(&["export", "--full"]).stdout;
    assert_eq!(desktop.run_with(&["import"], &delta).code, 0);
    exchange(&desktop, &laptop);
    let late = laptop.ok(&["export", "--full"]).stdout;
    remove(&laptop, "gone");
    exchange(&laptop, &desktop);
    exchange(&laptop, &desktop);
    purges(&desktop, 1, 0);
    purges(&laptop, 1, 0);
    let before = desktop.mailbox();
    for bundle in [&delta, &full, &late] {
        let ran = import(&desktop, bundle);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.json()["bundles"][0]["new"], 0);
        assert_eq!(desktop.mailbox(), before);
    }
    laptop.deliver("new");
    exchange(&laptop, &desktop);
    same(&desktop, &laptop);
    assert!(!desktop.has("gone"));
    assert_eq!(desktop.mailbox().len(), 3);
}

#[test]
fn a_peer_older_than_what_was_forgotten_gets_a_full_bundle() {
    let dir = scratch();
    let (desktop, laptop, backup) = after_a_purge(dir.path());
    backup.restore(&laptop);
    assert!(laptop.has("gone"));
    let bundle = laptop.ok(&["export"]).stdout;
    let ran = import(&desktop, &bundle);
    assert_eq!(ran.code, 0, "it holds nothing new: {}", ran.stderr);
    assert!(!desktop.has("gone"));
    let file = dir.path().join("full");
    let ran = desktop.ok(&["export", "-o", file.to_str().unwrap()]);
    assert!(ran.stderr.contains("full bundle"), "it should be said: {}", ran.stderr);
    let inside = desktop.ok(&["inspect", "--json", file.to_str().unwrap()]).json();
    assert_eq!(inside["bundles"][0]["full"], true, "{inside}");
    laptop.ok(&["import", file.to_str().unwrap()]);
    assert!(!laptop.has("gone"));
    same(&desktop, &laptop);
    assert_eq!(
        fs::read_dir(laptop.home.join("trash")).unwrap().count(),
        1,
        "what was removed there is in the trash here"
    );
    pass(&laptop, &desktop);
    let ran = desktop.ok(&["export", "--force", "-o", file.to_str().unwrap()]);
    assert!(!ran.stderr.contains("full bundle"), "{}", ran.stderr);
    let inside = desktop.ok(&["inspect", "--json", file.to_str().unwrap()]).json();
    assert_eq!(inside["bundles"][0]["full"], false, "{inside}");
    same(&desktop, &laptop);
}

#[test]
fn a_delta_from_a_past_that_cannot_be_judged_waits_for_a_full_bundle() {
    let dir = scratch();
    let (desktop, laptop, backup) = after_a_purge(dir.path());
    backup.restore(&laptop);
    laptop.deliver("new");
    // Flagged in the forgotten past: no reason to come back.
    let cur = laptop.dir("INBOX").join("cur");
    let gone = message("gone");
    let is_gone = |path: &PathBuf| fs::read(path).unwrap() == gone.as_bytes();
    let path = fs::read_dir(&cur).unwrap().map(|item| item.unwrap().path()).find(is_gone).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    fs::rename(&path, cur.join(name.replace(":2,S", ":2,FS"))).unwrap();
    let bundle = laptop.ok(&["export"]).stdout;
    let before = desktop.mailbox();
    let ran = desktop.run_with(&["import"], &bundle);
    complains(&ran, 3, &["laptop", "export --to laptop"]);
    assert_eq!(desktop.mailbox(), before);
    let ran = pass(&desktop, &laptop);
    assert_eq!(ran.code, 0);
    assert!(!laptop.has("gone") && laptop.has("new"));
    pass(&laptop, &desktop);
    same(&desktop, &laptop);
    assert!(!desktop.has("gone") && desktop.has("new") && desktop.has("stays"));
    // The bundle that had to wait brings nothing either.
    let ran = import(&desktop, &bundle);
    assert!([0, 3].contains(&ran.code), "{}", ran.stderr);
    same(&desktop, &laptop);
    exchange(&desktop, &laptop);
    same(&desktop, &laptop);
}

#[test]
fn a_restored_replica_that_sends_a_full_bundle_brings_nothing_back() {
    let dir = scratch();
    let (desktop, laptop, backup) = after_a_purge(dir.path());
    backup.restore(&laptop);
    laptop.deliver("new");
    let ran = import(&desktop, &laptop.ok(&["export", "--full"]).stdout);
    assert_eq!(ran.code, 0, "a full one is always taken: {}", ran.stderr);
    assert!(!desktop.has("gone") && desktop.has("new") && desktop.has("stays") && desktop.has("other"));
    exchange(&desktop, &laptop);
    same(&desktop, &laptop);
    assert!(!laptop.has("gone"));
}

#[test]
fn a_replica_that_was_restored_and_purges_itself_loses_nothing() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["gone", "stays", "other"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    let backup = Backup::of(&desktop);
    desktop.deliver("forgotten");
    remove(&desktop, "gone");
    exchange(&desktop, &laptop);
    purges(&laptop, 1, 0);
    backup.restore(&desktop);
    assert!(desktop.has("gone") && !desktop.has("forgotten"));
    desktop.ok(&["purge"]);
    // The laptop doesn't know yet what the desktop has lost, but is told so in any case.
    let ran = import(&desktop, &laptop.ok(&["export"]).stdout);
    assert!([0, 3].contains(&ran.code), "{}", ran.stderr);
    exchange(&desktop, &laptop);
    exchange(&laptop, &desktop);
    same(&desktop, &laptop);
    assert!(!desktop.has("gone"));
    assert!(desktop.has("forgotten"), "the laptop still has what the desktop lost");
}

#[test]
fn a_state_restored_beside_the_newer_mail_brings_nothing_back() {
    let dir = scratch();
    let (desktop, laptop, backup) = after_a_purge(dir.path());
    laptop.deliver("new");
    exchange(&laptop, &desktop);
    backup.restore_home(&laptop);
    // It finds that a message is gone which it had, and one there that the desktop has as well.
    let ran = desktop.run_with(&["import"], &laptop.ok(&["export"]).stdout);
    complains(&ran, 3, &["laptop"]);
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    same(&desktop, &laptop);
    assert!(!desktop.has("gone") && desktop.has("new") && desktop.has("stays"));
    let copies: usize = desktop.mailbox().values().map(Vec::len).sum();
    assert_eq!(copies, 3, "nothing is doubled");
}

#[test]
fn a_clock_that_is_behind_for_a_while_does_not_empty_the_trash() {
    use mailsync::replica::{Access, Home, ImportOptions, Replica, World};
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["gone", "stays", "other"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    remove(&desktop, "gone");
    let bundle = dir.path().join("bundle.zst");
    fs::write(&bundle, desktop.ok(&["export"]).stdout).unwrap();
    let world = World { now: Box::new(|| 1_136_073_600_000), ..World::real() };
    let access = Access::Write(std::time::Duration::from_secs(10));
    let replica = Replica::open(&Home::at(&laptop.home), world, access).unwrap();
    replica
        .import_file(&bundle, &ImportOptions::default(), |imported| assert!(imported.outcome.error().is_none()))
        .unwrap();
    drop(replica);
    exchange(&laptop, &desktop);
    exchange(&laptop, &desktop);
    purges(&laptop, 1, 0);
    assert_eq!(fs::read_dir(laptop.home.join("trash")).unwrap().count(), 1, "it was removed just now");
}

/// The server found the message before the desktop did, so that the desktop's removal saw a later arrival than the
/// server's. The laptop has forgotten that removal when it hears of the server's copy.
#[test]
fn a_copy_that_no_remover_ever_saw_is_kept_by_all_whoever_still_remembers_the_removal() {
    let dir = scratch();
    let server = Machine::replica(dir.path(), "server");
    server.deliver("twice");
    server.ok(&["scan"]);
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("twice");
    desktop.deliver("stays");
    exchange(&desktop, &laptop);
    remove(&desktop, "twice");
    exchange(&desktop, &laptop);
    purges(&laptop, 1, 0);
    make_peers(&laptop, &server);
    exchange(&laptop, &server);
    assert!(laptop.has("twice") && server.has("twice"));
    exchange(&desktop, &laptop);
    exchange(&laptop, &server);
    for machine in [&desktop, &laptop, &server] {
        assert!(machine.has("twice") && machine.has("stays"), "{}", machine.name);
        same(machine, &desktop);
    }
}
