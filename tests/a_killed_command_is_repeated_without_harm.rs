//! The real command is killed with SIGKILL at random moments and run again: both sides end the same, with everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::support::corpus::Random;
use crate::support::machine::{Machine, assert_same, counts, make_peers, pass};
use crate::support::programs::run_and_kill;
use crate::support::{leftovers, make_folder, rest, scratch, text};

const MESSAGES: u64 = 300;
const KILLS: u64 = 100;

/// A machine with 300 messages in three folders, a replica.
fn full(dir: &Path) -> Machine {
    let machine = Machine::replica(dir, "desktop");
    for n in 0..MESSAGES {
        let folder = ["INBOX", "Archive/2019", "Sent"][usize::try_from(n % 3).unwrap()];
        machine.put(folder, &format!("cur/{n}.host:2,S"), message(n), 1_600_000_000 + n);
    }
    machine
}

fn message(n: u64) -> String {
    format!("Subject: {n}\n\n{}\n", "All work and no play. ".repeat(usize::try_from(n % 50).unwrap()))
}

/// Copies a directory as it is, over what is there. The state keeps its inode, so that it doesn't count as a copy.
fn put_back(from: &Path, to: &Path) {
    let _ = fs::create_dir(to);
    let mut dirs = Vec::new();
    for item in walkdir::WalkDir::new(to).contents_first(true).into_iter().map(Result::unwrap) {
        let original = from.join(item.path().strip_prefix(to).unwrap());
        if item.file_type().is_dir() {
            if !original.exists() {
                fs::remove_dir(item.path()).unwrap();
            }
        } else if !original.exists() {
            fs::remove_file(item.path()).unwrap();
        }
    }
    for item in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let path = to.join(item.path().strip_prefix(from).unwrap());
        let time = item.metadata().unwrap().modified().unwrap();
        if item.file_type().is_dir() {
            if !path.is_dir() {
                fs::create_dir(&path).unwrap();
            }
            dirs.push((path, time));
        } else {
            fs::write(&path, fs::read(item.path()).unwrap()).unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
    }
    for (dir, time) in dirs.into_iter().rev() {
        fs::File::open(dir).unwrap().set_modified(time).unwrap();
    }
}

/// What both directories of a machine are like.
struct Saved(PathBuf);

impl Saved {
    fn of(machine: &Machine, dir: &Path) -> Self {
        let saved = Self(dir.join(format!("saved-{}", machine.name)));
        fs::create_dir_all(&saved.0).unwrap();
        put_back(&machine.mail, &saved.0.join("mail"));
        put_back(&machine.home, &saved.0.join("home"));
        saved
    }

    fn put_back(&self, machine: &Machine) {
        put_back(&self.0.join("mail"), &machine.mail);
        put_back(&self.0.join("home"), &machine.home);
    }
}

/// The messages in the trash are what was removed.
fn trash(machine: &Machine) -> usize {
    let listed = machine.ok(&["trash", "list", "--json"]).json();
    let files = fs::read_dir(machine.home.join("trash")).unwrap().count();
    let listed = listed["trash"].as_array().unwrap().len();
    assert_eq!(listed, files);
    files
}

/// Changes about a third of the mail: flags, moves, removals, new messages, a new folder.
fn change(machine: &Machine) {
    for n in 0..MESSAGES {
        let folder = ["INBOX", "Archive/2019", "Sent"][usize::try_from(n % 3).unwrap()];
        let cur = machine.dir(folder).join("cur");
        let path = cur.join(format!("{n}.host:2,S"));
        match n % 12 {
            0 | 5 => fs::rename(&path, cur.join(format!("{n}.host:2,FS"))).unwrap(),
            1 | 8 => {
                let to = machine.dir(if n % 24 < 12 { "Lists/rust" } else { "INBOX" });
                make_folder(&to);
                fs::rename(&path, to.join("cur").join(format!("{n}.host:2,S"))).unwrap();
            }
            3 => fs::remove_file(&path).unwrap(),
            _ => {}
        }
    }
    for n in MESSAGES..MESSAGES + 60 {
        machine.put("Sent", &format!("new/{n}.host"), message(n), 1_700_000_000 + n);
    }
}

/// A desktop and a laptop that held the same, until much was changed on the desktop.
fn changed_since_both_were_equal(dir: &Path) -> (Machine, Machine) {
    let desktop = full(dir);
    let laptop = Machine::replica(dir, "laptop");
    make_peers(&desktop, &laptop);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    change(&desktop);
    (desktop, laptop)
}

#[test]
fn an_import_killed_at_any_moment_is_completed_by_the_next() {
    let dir = scratch();
    let (desktop, laptop) = changed_since_both_were_equal(dir.path());
    let bundle = dir.path().join("bundle");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    let end = desktop.mailbox();
    let before = laptop.mailbox();
    let import = ["import", text(&bundle)];
    rest();
    let saved = Saved::of(&laptop, dir.path());
    let started = Instant::now();
    laptop.ok(&import);
    let takes = started.elapsed();
    assert_same(&laptop.mailbox(), &end, "undisturbed");
    let removed = trash(&laptop);
    assert_eq!(removed, 25);
    let mut random = Random::new(20);
    let mut killed = 0;
    for round in 0..KILLS {
        saved.put_back(&laptop);
        let after = takes.mul_f64(random.below(1000) as f64 / 1000.0);
        let when = format!("round {round}, killed after {after:?} of {takes:?}");
        killed += u64::from(run_and_kill(&mut laptop.command(&import), after));
        let held = laptop.mailbox();
        let in_trash: Vec<_> =
            fs::read_dir(laptop.home.join("trash")).unwrap().map(|item| item.unwrap().path()).collect();
        let in_trash: Vec<_> =
            in_trash.iter().map(|path| mailsync::model::Digest::of(&fs::read(path).unwrap())).collect();
        for digest in before.keys() {
            assert!(held.contains_key(digest) || in_trash.contains(digest), "{when}: {digest} is lost");
        }
        laptop.ok(&import);
        assert_same(&laptop.mailbox(), &end, &when);
        assert_eq!(leftovers(&laptop.mail), Vec::<PathBuf>::new(), "{when}");
        assert_eq!(trash(&laptop), removed, "{when}");
        let again = laptop.ok(&["import", text(&bundle), "--json"]).json();
        assert_eq!(again["bundles"][0]["outcome"], "nothing-new", "{when}");
        assert_eq!(again["scan"]["new"], 0, "{when}");
    }
    println!("an import takes {takes:?}; {killed} of {KILLS} were killed before their end");
    pass(&laptop, &desktop);
    assert_same(&desktop.mailbox(), &end, "at last");
    assert!(killed > KILLS / 4, "only {killed} were killed");
}

#[test]
fn a_scan_killed_at_any_moment_is_completed_by_the_next() {
    let dir = scratch();
    let (desktop, laptop) = changed_since_both_were_equal(dir.path());
    let end = desktop.mailbox();
    rest();
    let (saved, other) = (Saved::of(&desktop, dir.path()), Saved::of(&laptop, dir.path()));
    let started = Instant::now();
    let report = desktop.ok(&["scan", "--json"]).json();
    let takes = started.elapsed();
    assert_eq!(counts(&report), [60, 50, 50, 25]);
    let mut random = Random::new(9);
    let mut killed = 0;
    for round in 0..KILLS {
        saved.put_back(&desktop);
        let after = takes.mul_f64(random.below(1000) as f64 / 1000.0);
        let when = format!("round {round}, killed after {after:?} of {takes:?}");
        killed += u64::from(run_and_kill(&mut desktop.command(&["scan"]), after));
        desktop.ok(&["scan"]);
        assert_same(&desktop.mailbox(), &end, &when);
        if round % 5 == 0 {
            other.put_back(&laptop);
            pass(&desktop, &laptop);
            assert_same(&laptop.mailbox(), &end, &when);
        }
        let again = desktop.ok(&["scan", "--json"]).json();
        assert_eq!((counts(&again), &again["folders_made"]), ([0; 4], &0.into()), "{when}");
    }
    println!("a scan takes {takes:?}; {killed} of {KILLS} were killed before their end");
    assert!(killed > KILLS / 4, "only {killed} were killed");
}
