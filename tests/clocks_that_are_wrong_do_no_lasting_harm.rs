//! Clocks of machines are wrong now and then: a battery is empty, somebody has typed another year. That is said, and
//! what it did is mended.

use std::fs;
use std::path::Path;

use mailsync::replica::{
    Access, ClockAhead, Doubts, ExportOptions, Home, ImportOptions, ImportOutcome, Imported, Purged, Replica,
    ScanOptions, World,
};

use crate::support::machine::{Machine, assert_same, complains, exchange, make_peers, message, pair, pass};
use crate::support::party::TIMEOUT;
use crate::support::{scratch, text};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn now() -> u64 {
    crate::claims_that_can_not_be_true_are_refused::now()
}

/// What a machine does while its clock says this.
fn at<T>(machine: &Machine, clock: u64, act: impl FnOnce(&Replica) -> T) -> (T, Vec<String>) {
    let world = World { now: Box::new(move || clock), ..World::real() };
    let replica = Replica::open(&Home::at(&machine.home), world, Access::Write(TIMEOUT)).unwrap();
    let done = act(&replica);
    (done, replica.drain_notes())
}

fn scan(replica: &Replica) {
    replica.scan(&ScanOptions::default()).unwrap();
}

/// Imports a bundle, and gives its outcome.
fn import(replica: &Replica, bundle: &Path, clock_ahead: ClockAhead) -> ImportOutcome {
    let mut all: Vec<Imported> = Vec::new();
    let options = ImportOptions { clock_ahead, ..ImportOptions::default() };
    replica.import_file(bundle, &options, |imported| all.push(imported)).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0).outcome
}

fn says(notes: &[String], words: &str) -> bool {
    notes.iter().any(|note| note.contains(words))
}

#[test]
fn a_replica_whose_own_stamps_lie_in_the_future_is_mended_by_a_new_identity() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("before");
    exchange(&desktop, &laptop);
    desktop.deliver("in the future");
    desktop.put("Archive", "cur/x:2,S", "Subject: filed\n\n", 1_600_000_000);
    at(&desktop, now() + 400 * DAY, scan);
    // The clock is right again, but every later stamp is above that one.
    desktop.deliver("after");
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let ran = laptop.refuses(&["import"], &bundle, 3, &["desktop", "more than a day ahead", "doctor --new-identity"]);
    assert!(!ran.stderr.contains("note"), "{}", ran.stderr);
    // The machine itself is told, too: once by each command.
    for args in [&["scan"][..], &["export"], &["export", "--no-scan"], &["export", "-n"], &["scan", "-n"], &["status"]]
    {
        let ran = desktop.ok(args);
        let shown = [ran.stderr.as_bytes(), &ran.stdout].concat();
        let shown = String::from_utf8_lossy(&shown).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown.matches("changes that were made here are dated up to").count(), 1, "{args:?}: {shown}");
    }
    let ran = desktop.run_with(&["import"], &laptop.ok(&["export"]).stdout);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("changes that were made here are dated up to"), "{}", ran.stderr);
    let said = desktop.ok(&["doctor", "--new-identity"]).stderr;
    assert!(!said.contains("run `mailsync doctor --new-identity`"), "it advises itself: {said}");
    assert!(!desktop.ok(&["scan"]).stderr.contains("dated") && !desktop.ok(&["status"]).words().contains("clock"));
    exchange(&desktop, &laptop);
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "mended");
    assert!(laptop.has("in the future") && laptop.has("after") && laptop.has("filed"));
    desktop.is_at_rest("mended");
    let ran = desktop.run_with(&["import"], &laptop.ok(&["export"]).stdout);
    assert!(!ran.stderr.contains("dated"), "{}", ran.stderr);
    laptop.is_at_rest("mended");
    // And nothing is ahead any more.
    laptop.deliver("answer");
    exchange(&laptop, &desktop);
    assert!(desktop.has("answer"));
}

#[test]
fn a_replica_without_peers_that_was_in_the_future_is_mended_as_well() {
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::replica(dir.path(), "laptop"));
    desktop.deliver("one");
    at(&desktop, now() + 400 * DAY, scan);
    desktop.ok(&["doctor", "--new-identity"]);
    make_peers(&desktop, &laptop);
    exchange(&desktop, &laptop);
    assert!(laptop.has("one"));
}

#[test]
fn a_machine_without_a_clock_refuses_nothing_for_it_and_says_so() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let bundle = dir.path().join("b.zst");
    fs::write(&bundle, desktop.ok(&["export", "--to", "laptop"]).stdout).unwrap();
    let (outcome, notes) = at(&laptop, 1000, |replica| import(replica, &bundle, ClockAhead::Refuse));
    assert!(matches!(outcome, ImportOutcome::Applied), "{outcome:?}");
    assert!(says(&notes, "1970-01-01") && says(&notes, "when there was no mailsync yet: set it"), "{notes:?}");
    assert!(laptop.has("one"));
    // A clock that is one is told of when it is right again.
    let ran = laptop.ok(&["import", text(&bundle)]);
    assert!(!ran.stderr.contains("clock"), "{}", ran.stderr);
}

#[test]
fn a_machine_whose_clock_is_behind_those_of_all_peers_says_so() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&phone, &laptop);
    let bundle = |machine: &Machine, clock: u64| {
        let file = dir.path().join(format!("{}.zst", machine.name));
        let out = fs::File::create(&file).unwrap();
        at(machine, clock, |replica| replica.export(&ExportOptions::to_peer("laptop"), out).unwrap());
        file
    };
    for (machine, clock, says) in [
        (&desktop, now() + 20 * DAY + 60_000, Some("20 days or more behind that of every peer (desktop)")),
        (&phone, now(), None),
        (&phone, now() + 10 * DAY + 60_000, Some("10 days or more behind that of every peer (desktop, phone)")),
    ] {
        let said = laptop.run(&["import", text(&bundle(machine, clock))]).stderr;
        assert_eq!(said.contains("behind that of every peer"), says.is_some(), "{said}");
        assert!(says.is_none_or(|says| said.contains(says)), "{said}");
        assert_eq!(said.contains("run `mailsync doctor --new-identity` there"), says.is_some(), "{said}");
    }
}

#[test]
fn a_machine_whose_clock_is_ahead_of_those_of_all_peers_says_so() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let (there, back) = (dir.path().join("there.zst"), dir.path().join("back.zst"));
    at(&desktop, now() + 20 * DAY, scan);
    fs::write(&there, desktop.ok(&["export", "--to", "laptop"]).stdout).unwrap();
    complains(&laptop.run(&["import", text(&there)]), 3, &["more than a day ahead"]);
    laptop.ok(&["import", "--accept-clock", text(&there)]);
    fs::write(&back, laptop.ok(&["export", "--to", "desktop"]).stdout).unwrap();
    let (_, notes) = at(&desktop, now() + 20 * DAY, |replica| import(replica, &back, ClockAhead::Refuse));
    assert!(says(&notes, "or more ahead of that of every peer (laptop)"), "{notes:?}");
}

/// Desktop and laptop; the desktop's clock was ahead by so many days, the laptop has accepted what was done then, and the
/// desktop's clock is right again.
fn accepted(dir: &Path, days: u64) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for subject in ["moved", "flagged", "removed", "kept"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    exchange(&laptop, &desktop);
    desktop.deliver("in the future");
    desktop.remove("removed");
    desktop.flag("kept", "FS");
    desktop.put("Archive", "cur/x:2,S", message("filed"), 1_600_000_000);
    at(&desktop, now() + days * DAY, scan);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    laptop.refuses(&["import"], &bundle, 3, &["more than a day ahead", "doctor --new-identity"]);
    assert_eq!(laptop.run_with(&["import", "--accept-clock"], &bundle).code, 0);
    (desktop, laptop)
}

fn is_quiet(machine: &Machine, when: &str) {
    let ran = machine.ok(&["status"]);
    let all = format!("{} {}", ran.stderr, ran.words());
    assert!(!all.contains("clock") && !all.contains("dated"), "{when}, {}: {all}", machine.name);
}

#[test]
fn clocks_that_are_known_here_can_be_told_again_and_those_beyond_them_are_refused() {
    let dir = scratch();
    let (desktop, laptop) = accepted(dir.path(), 3);
    // Either one tells what both know.
    for (from, to) in [(&desktop, &laptop), (&laptop, &desktop), (&desktop, &laptop)] {
        let bundle = from.ok(&["export", "--full", "--to", &to.name]).stdout;
        let ran = to.run_with(&["import"], &bundle);
        assert_eq!(ran.code, 0, "{}: {}", to.name, ran.stderr);
    }
    let said = laptop.ok(&["status"]).words();
    assert!(said.contains("changes of others that are known here are dated up to"), "{said}");
    assert!(said.contains("run `mailsync doctor --new-identity` where they were made, and then here"), "{said}");
    // That excuses nothing that is new, however little it is beyond that.
    for days in [0, 3, 400] {
        desktop.deliver(&days.to_string());
        at(&desktop, now() + days * DAY, scan);
        let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
        laptop.refuses(&["import"], &bundle, 3, &["desktop knows of changes", "more than a day ahead"]);
        assert!(!laptop.has(&days.to_string()));
    }
}

#[test]
fn after_the_way_out_on_all_machines_that_know_such_clocks_both_directions_are_open() {
    for (days, changes, desktop_first) in [(3, true, true), (400, false, false)] {
        let when = format!("{days} days, {changes}, {desktop_first}");
        let dir = scratch();
        let (desktop, laptop) = accepted(dir.path(), days);
        let phone = Machine::replica(dir.path(), "phone");
        make_peers(&laptop, &phone);
        if changes {
            laptop.move_to("moved", "Work");
            laptop.flag("flagged", "FS");
            laptop.remove("filed");
            laptop.deliver("answer");
            laptop.ok(&["scan"]);
        }
        desktop.ok(&["doctor", "--new-identity"]);
        is_quiet(&desktop, &when);
        // The laptop knows those clocks until it has taken the same way.
        let bundle = laptop.ok(&["export", "--to", "desktop"]).stdout;
        let words = ["laptop knows of changes", "then also on laptop if that has accepted such changes"];
        desktop.refuses(&["import"], &bundle, 3, &words);
        phone.refuses(&["import"], &laptop.ok(&["export", "--to", "phone"]).stdout, 3, &["more than a day ahead"]);
        if desktop_first {
            pass(&desktop, &laptop);
        }
        let before = laptop.mailbox();
        let told = laptop.ok(&["doctor", "--new-identity", "--json"]).json();
        // The four that the desktop has changed, and the three that were changed here and are not among them.
        assert_eq!(told["stamped_anew"]["entries"], if changes { 7 } else { 4 }, "{when}: {told}");
        assert_same(&laptop.mailbox(), &before, &when);
        is_quiet(&laptop, &when);
        if !desktop_first {
            pass(&laptop, &desktop);
        }
        exchange(&desktop, &laptop);
        exchange(&laptop, &phone);
        for machine in [&laptop, &phone] {
            assert_same(&machine.mailbox(), &desktop.mailbox(), &when);
        }
        for machine in [&desktop, &laptop, &phone] {
            is_quiet(machine, &when);
            assert!(machine.has("in the future") && !machine.has("removed"), "{when}");
            assert_eq!((machine.has("filed"), machine.has("answer")), (!changes, changes), "{when}");
            assert_eq!(machine.file_of("moved").unwrap().to_str().unwrap().contains("Work"), changes, "{when}");
            for (subject, is_flagged) in [("kept", true), ("flagged", changes)] {
                let file = machine.file_of(subject).unwrap();
                assert_eq!(file.to_str().unwrap().ends_with(":2,FS"), is_flagged, "{when}: {file:?}");
            }
        }
        // And nothing is ahead any more, whoever goes on.
        desktop.deliver("later");
        laptop.remove("kept");
        exchange(&laptop, &desktop);
        exchange(&laptop, &phone);
        assert!(phone.has("later") && !desktop.has("kept") && !phone.has("kept"), "{when}");
        laptop.is_at_rest(&when);
    }
}

#[test]
fn two_machines_that_have_accepted_each_others_clocks_find_the_same_way_out() {
    let dir = scratch();
    let (desktop, laptop) = accepted(dir.path(), 20);
    laptop.deliver("answer");
    desktop.ok(&["doctor", "--new-identity"]);
    pass(&desktop, &laptop);
    let bundle = laptop.ok(&["export", "--to", "desktop"]).stdout;
    desktop.refuses(&["import"], &bundle, 3, &["laptop knows of changes"]);
    assert_eq!(desktop.run_with(&["import", "--accept-clock"], &bundle).code, 0);
    assert!(desktop.ok(&["status"]).words().contains("changes of others that are known here are dated up to"));
    desktop.deliver("later");
    desktop.ok(&["scan"]);
    for machine in [&desktop, &laptop] {
        machine.ok(&["doctor", "--new-identity"]);
        is_quiet(machine, "after the way out");
    }
    exchange(&desktop, &laptop);
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "after the way out");
    for machine in [&desktop, &laptop] {
        assert!(machine.has("answer") && machine.has("later") && machine.has("in the future"));
        is_quiet(machine, "in the end");
        machine.is_at_rest("in the end");
    }
}

#[test]
fn an_invitation_from_the_future_is_not_joined_unless_a_person_says_so() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("one");
    at(&desktop, now() + 20 * DAY, scan);
    let file = dir.path().join("invitation.zst");
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(&file)]);
    let laptop = Machine::new(dir.path(), "laptop");
    let join = ["join", text(&laptop.mail), text(&file)];
    complains(&laptop.run(&join), 3, &["more than a day ahead", "mailsync join --accept-clock"]);
    assert!(!laptop.home.exists(), "nothing was made");
    laptop.ok(&[&join[..], &["--accept-clock"]].concat());
    assert!(laptop.has("one"));
}

#[test]
fn what_was_removed_while_the_clock_was_wrong_stays_in_the_trash_for_its_days_and_goes_then() {
    for wrong in [1000, now() + 400 * DAY] {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        desktop.deliver("gone");
        desktop.deliver("stays");
        exchange(&desktop, &laptop);
        let (.., path) =
            desktop.files().into_iter().find(|(.., path)| path.to_str().unwrap().contains("gone")).unwrap();
        fs::remove_file(path).unwrap();
        let bundle = dir.path().join("b.zst");
        fs::write(&bundle, desktop.ok(&["export", "--to", "laptop"]).stdout).unwrap();
        let (outcome, _) = at(&laptop, wrong, |replica| import(replica, &bundle, ClockAhead::Refuse));
        assert!(matches!(outcome, ImportOutcome::Applied), "{outcome:?}");
        exchange(&laptop, &desktop);
        exchange(&laptop, &desktop);
        let trashed = || fs::read_dir(laptop.home.join("trash")).unwrap().count();
        // Without a clock nothing can be said to be old.
        let (purged, notes) = at(&laptop, 2000, |replica| replica.purge(Doubts::Heed).unwrap());
        assert_eq!((purged.trashed, purged.history, purged.tombstones), (0, 0, 1), "{wrong}");
        assert!(says(&notes, "nothing is purged by its age"), "{notes:?}");
        let ran = laptop.ok(&["purge"]);
        assert!(ran.stderr.contains("1 message in the trash came there when"), "{wrong}: {}", ran.stderr);
        assert_eq!(trashed(), 1, "{wrong}");
        let later = |days: u64| -> Purged {
            at(&laptop, now() + days * DAY, |replica| replica.purge(Doubts::Overrule).unwrap()).0
        };
        let days = u64::from(laptop.config().trash_days);
        assert_eq!(later(days - 1).trashed, 0, "{wrong}");
        assert_eq!((later(days + 1).trashed, trashed()), (1, 0), "{wrong}");
        let days = u64::from(laptop.config().history_days);
        assert!(later(days + 1).history > 0, "{wrong}");
        assert!(later(days + 2).history <= 1, "{wrong}: only what the last purge has done is left");
    }
}

/// Two machines, on which one message was removed, and all know of that.
fn pair_with_trash(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    desktop.deliver("gone");
    exchange(&desktop, &laptop);
    desktop.remove("gone");
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    (desktop, laptop)
}

#[test]
fn a_clock_that_is_set_weeks_ahead_does_not_empty_the_trash() {
    let dir = scratch();
    let (desktop, laptop) = pair_with_trash(dir.path());
    let trashed = || fs::read_dir(laptop.home.join("trash")).unwrap().count();
    let purge = |clock: u64, doubts: Doubts| at(&laptop, clock, |replica| replica.purge(doubts).unwrap());
    assert_eq!((purge(now(), Doubts::Heed).0.trashed, trashed()), (0, 1));
    let wrong = now() + 40 * DAY;
    let in_doubt = |purged: &(Purged, Vec<String>)| {
        let words = says(&purged.1, "has gone on by 40 days since") && says(&purged.1, "`mailsync purge --anyway`");
        words && (purged.0.trashed, purged.0.history, trashed()) == (0, 0, 1)
    };
    let purged = purge(wrong, Doubts::Heed);
    assert!(in_doubt(&purged), "{purged:?}");
    // What else is done by that clock doesn't make it right.
    at(&laptop, wrong + 60_000, scan);
    let purged = purge(wrong + 120_000, Doubts::Heed);
    assert!(in_doubt(&purged), "{purged:?}");
    // A clock that is set back is right, and nothing is said.
    assert_eq!(purge(now(), Doubts::Heed).1, Vec::<String>::new());
    assert_eq!(trashed(), 1);
    at(&laptop, now(), scan);
    // So is one by which a peer's bundle was made: the machine was off.
    purge(wrong, Doubts::Heed);
    let bundle = dir.path().join("b.zst");
    let out = fs::File::create(&bundle).unwrap();
    at(&desktop, wrong + DAY / 2, |replica| replica.export(&ExportOptions::to_peer("laptop"), out).unwrap());
    at(&laptop, wrong + DAY / 2, |replica| import(replica, &bundle, ClockAhead::Refuse));
    assert_eq!((purge(wrong + DAY / 2, Doubts::Heed).0.trashed, trashed()), (1, 0));
}

#[test]
fn who_has_looked_at_the_clock_may_say_that_it_is_right() {
    let dir = scratch();
    let (_desktop, laptop) = pair_with_trash(dir.path());
    laptop.ok(&["purge"]);
    let purge = |days: u64, doubts: Doubts| at(&laptop, now() + days * DAY, |replica| replica.purge(doubts).unwrap());
    assert_eq!(purge(40, Doubts::Heed).0.trashed, 0);
    assert_eq!(purge(40, Doubts::Overrule).0.trashed, 1);
    assert_eq!(purge(41, Doubts::Heed).1, Vec::<String>::new(), "it is known to be right from then on");
    laptop.ok(&["purge", "--anyway"]);
}

#[test]
fn a_bundle_that_is_not_believed_for_its_clocks_gets_no_answer() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("in the future");
    at(&desktop, now() + 400 * DAY, scan);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    laptop.deliver("a secret");
    laptop.ok(&["scan"]);
    // Nothing is remembered of it, so it would be as new every time.
    for _ in 0..2 {
        let ran = laptop.refuses(&["import", "--reply"], &bundle, 3, &["more than a day ahead"]);
        assert!(ran.stdout.is_empty(), "{}", ran.stderr);
    }
    let ran = laptop.run_with(&["import", "--reply", "--accept-clock"], &bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.is_empty() && laptop.has("in the future"));
}

#[test]
fn bundles_of_a_wrong_clock_that_still_lie_about_are_passed_over_once_newer_ones_have_come() {
    for args in [&["import"][..], &["import", "--consume"]] {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        let stick = dir.path().join("stick");
        fs::create_dir(&stick).unwrap();
        // One that was heard of, and has never shown to know anything: all is stamped anew for its sake.
        let phone = Machine::replica(dir.path(), "phone");
        if args.contains(&"--consume") {
            make_peers(&phone, &desktop);
            pass(&phone, &desktop);
        }
        desktop.deliver("before");
        exchange(&desktop, &laptop);
        exchange(&laptop, &desktop);
        desktop.deliver("in the future");
        at(&desktop, now() + 400 * DAY, scan);
        let to_stick = ["export", "--to", "laptop", "-o", text(&stick)];
        at(&desktop, now() + 400 * DAY, |desktop| {
            desktop.export_to_file(&ExportOptions::to_peer("laptop"), &stick).unwrap();
        });
        let refused = laptop.run(&["import", text(&stick)]);
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(refused.stderr.contains("more than a day ahead"), "{}", refused.stderr);
        assert!(refused.stderr.contains("behind that of every peer"), "{}", refused.stderr);
        desktop.ok(&to_stick);
        desktop.ok(&["doctor", "--new-identity"]);
        desktop.ok(&to_stick);
        let read = [args, &[text(&stick)]].concat();
        let left = laptop.left();
        let dry = laptop.ok(&[&read[..], &["-n"]].concat());
        assert_eq!(laptop.left(), left);
        let verified = laptop.ok(&["verify", text(&stick)]);
        let first = laptop.ok(&read);
        let again = laptop.ok(&read);
        // Nobody needs such clocks any more, even if they would be taken.
        let accepting = laptop.ok(&["import", "--accept-clock", text(&stick)]);
        for ran in [&dry, &verified, &first, &again, &accepting] {
            assert!(!ran.stderr.contains("clock") && !ran.stderr.contains("ahead"), "{args:?}: {}", ran.stderr);
        }
        assert!(first.stderr.contains("was made before desktop began anew; you can remove it"), "{}", first.stderr);
        assert!(laptop.has("in the future"));
        is_quiet(&laptop, "after that");
        // The machine that has made them knows that nobody else has.
        let own = desktop.ok(&["import", text(&stick)]);
        assert!(!own.stderr.contains("by a copy of it"), "{}", own.stderr);
        let is_empty = fs::read_dir(&stick).unwrap().next().is_none();
        assert_eq!(is_empty, args.contains(&"--consume"), "{args:?}");
        if !is_empty {
            pass(&laptop, &desktop);
            desktop.ok(&["import", "--consume", text(&stick)]);
            assert_eq!(fs::read_dir(&stick).unwrap().count(), 1, "only the newest is needed");
        }
        exchange(&laptop, &desktop);
        assert_same(&laptop.mailbox(), &desktop.mailbox(), "after that");
        laptop.is_at_rest("after that");
    }
}

#[test]
fn the_first_bundle_of_a_sender_that_began_anew_under_a_wrong_clock_is_no_old_one() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("before");
    exchange(&desktop, &laptop);
    desktop.ok(&["doctor", "--new-identity"]);
    desktop.deliver("in the future");
    at(&desktop, now() + 400 * DAY, scan);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    laptop.refuses(&["import"], &bundle, 3, &["more than a day ahead"]);
    assert_eq!(laptop.run_with(&["import", "--accept-clock"], &bundle).code, 0);
    assert!(laptop.has("in the future"));
}
