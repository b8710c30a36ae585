//! `import --reply` answers only who can make a new bundle: a copy of an old one, in the hands of somebody who may run
//! the command, gets no mail out of it.

use std::fs;

use crate::support::machine::{Backup, Machine, complains, exchange, make_peers, pair, pass};
use crate::support::programs::{MAILSYNC, Ran, run_with};
use crate::support::{scratch, text};

/// Imports a bundle, and asks for an answer.
fn replay(machine: &Machine, bundle: &[u8]) -> Ran {
    machine.run_with(&["import", "--reply"], bundle)
}

#[track_caller]
fn gets_no_answer(machine: &Machine, bundle: &[u8]) {
    for quiet in [false, true] {
        let mut command = machine.command(&["import", "--reply"]);
        if quiet {
            command.arg("--quiet");
        }
        let ran = run_with(&mut command, bundle);
        assert_eq!((ran.code, ran.stdout.len()), (6, 0), "{ran:?}");
        let why = ran.stderr.lines().last().unwrap_or_default();
        assert!(why.contains("is not newer") && why.contains("no answer was written"), "{}", ran.stderr);
    }
}

#[test]
fn a_bundle_that_was_imported_before_is_not_answered() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("of the desktop");
    let first = laptop.ok(&["export", "--to", "desktop"]).stdout;
    let answer = replay(&desktop, &first);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(!answer.stdout.is_empty());
    // The same again, also when there is new mail.
    gets_no_answer(&desktop, &first);
    desktop.deliver("a secret");
    gets_no_answer(&desktop, &first);
    // An older one that never came, when a newer one did.
    let older = laptop.ok(&["export", "--to", "desktop"]).stdout;
    pass(&laptop, &desktop);
    gets_no_answer(&desktop, &older);
    // Behind a good one it doesn't matter, wherever it stands in the stream.
    for old_first in [true, false] {
        let good = laptop.ok(&["export", "--to", "desktop"]).stdout;
        let both = if old_first { [&first[..], &good].concat() } else { [&good[..], &first].concat() };
        let ran = replay(&desktop, &both);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(laptop.run_with(&["import"], &ran.stdout).code, 0);
    }
    assert!(laptop.has("a secret"));
    // Imported without an answer, it is nothing new, and no failure.
    let ran = desktop.run_with(&["import"], &first);
    assert_eq!((ran.code, ran.stdout.len()), (0, 0), "{ran:?}");
}

#[test]
fn a_bundle_from_before_its_sender_began_anew_is_not_answered() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let backup = Backup::of(&laptop);
    laptop.deliver("before");
    let before = laptop.ok(&["export", "--to", "desktop"]).stdout;
    assert_eq!(desktop.run_with(&["import"], &before).code, 0);
    let unsent = laptop.ok(&["export", "--to", "desktop"]).stdout;
    backup.restore(&laptop);
    laptop.deliver("after");
    let after = laptop.ok(&["export", "--to", "desktop"]).stdout;
    let ran = replay(&desktop, &after);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.is_empty());
    desktop.deliver("a secret");
    for old in [&before, &unsent, &after, &before] {
        gets_no_answer(&desktop, old);
    }
    // Nor does it help that the peer is removed, and made known again.
    desktop.ok(&["peer", "remove", "laptop"]);
    desktop.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    for old in [&before, &after] {
        gets_no_answer(&desktop, old);
    }
    let ran = replay(&desktop, &laptop.ok(&["export", "--to", "desktop", "--full"]).stdout);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(laptop.run_with(&["import"], &ran.stdout).code, 0);
    assert!(laptop.has("a secret"));
}

#[test]
fn bundles_that_wait_for_each_other_in_a_directory_are_answered() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    desktop.deliver("of the desktop");
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    for n in 0..3 {
        laptop.deliver(&format!("of the laptop {n}"));
        laptop.ok(&["export", "--to", "desktop", "--since-last", "-o", text(&shared)]);
    }
    // By their numbers they come in order. By their names in the wrong one, and the last one waits.
    let ran = desktop.run(&["import", "--reply", text(&shared)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(laptop.run_with(&["import"], &ran.stdout).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    let again = desktop.run(&["import", "--reply", text(&shared)]);
    assert_eq!((again.code, again.stdout.len()), (6, 0), "{again:?}");
}

#[test]
fn one_that_can_not_be_applied_yet_is_answered_once() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    laptop.deliver("one");
    laptop.ok(&["export", "--to", "desktop", "--since-last"]);
    laptop.deliver("two");
    let follows = laptop.ok(&["export", "--to", "desktop", "--since-last"]).stdout;
    let ran = replay(&desktop, &follows);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(!ran.stdout.is_empty(), "the answer tells what the desktop has");
    let ran = replay(&desktop, &follows);
    assert_eq!((ran.code, ran.stdout.len()), (6, 0), "{ran:?}");
}

#[test]
fn an_update_whose_answer_got_lost_gets_one_the_next_time() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let third = Machine::replica(dir.path(), "third");
    make_peers(&desktop, &third);
    laptop.deliver("of the laptop");
    // The laptop does what it is asked for, and what it says is lost until the third time.
    let count = dir.path().join("count");
    let lossy = format!(
        "echo x >> '{count}'; {MAILSYNC} --quiet --home '{home}' import --reply > '{answer}' || exit; \
         test $(wc -l < '{count}') -lt 3 && exit 1; cat '{answer}'",
        count = count.display(),
        home = laptop.home.display(),
        answer = dir.path().join("answer").display()
    );
    desktop.reach_by("laptop", &["sh", "-c", &lossy]);
    for _ in 0..2 {
        complains(&desktop.run(&["--quiet", "update"]), 1, &["updating laptop", "run this again"]);
        assert!(!desktop.has("of the laptop"));
    }
    desktop.ok(&["update"]);
    assert!(desktop.has("of the laptop"));
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    // With nothing new on either side, too.
    desktop.ok(&["update"]);
    let answered = desktop.ok(&["update", "--json"]).json();
    assert_eq!(answered["peers"][0]["bundles"].as_array().unwrap().len(), 1, "{answered}");
}
