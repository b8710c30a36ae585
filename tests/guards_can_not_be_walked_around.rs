//! What a command takes out of folders and what it adds is counted over the whole command, against what was there
//! before it: nothing that comes with a bundle makes a loss look small.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mailsync::bundle::PrivateKey;
use mailsync::replica::{DryRun, ImportOptions};
use serde_json::{Value, json};

use crate::claims_that_can_not_be_true_are_refused::now;
use crate::support::disk::Watch;
use crate::support::forge::{Forge, INCARNATION, clock, entry, stamp};
use crate::support::machine::{Machine, complains, counts, make_peers, pair, pass};
use crate::support::party::{self, Party};
use crate::support::programs::MAILSYNC;
use crate::support::{scratch, text};

/// Puts something into a mailbox.
type Bring<'b> = &'b dyn Fn(&Machine);

/// Two machines, and so many messages in a folder that both have.
fn with_mail(dir: &Path, folder: &str, messages: u64) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    fill(&desktop, folder, messages);
    exchange(&desktop, &laptop);
    (desktop, laptop)
}

fn fill(machine: &Machine, folder: &str, messages: u64) {
    for number in 0..messages {
        let name = format!("{}-{number}", folder.replace('/', "-"));
        machine.put(folder, &format!("cur/{name}:2,S"), format!("Subject: {name}\n\n"), 1_600_000_000 + number);
    }
}

fn exchange(desktop: &Machine, laptop: &Machine) {
    for (from, to) in [(desktop, laptop), (laptop, desktop)] {
        pass(from, to);
    }
    assert_eq!(desktop.mailbox(), laptop.mailbox());
}

/// Removes some of the messages that [`fill`] has put there.
fn remove(machine: &Machine, folder: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let name = format!("{}-{number}", folder.replace('/', "-"));
        fs::remove_file(machine.dir(folder).join(format!("cur/{name}:2,S"))).unwrap();
    }
    machine.ok(&["scan", "--allow-mass-delete"]);
}

/// The next bundle after the last one, as if that had been read.
fn next_bundle(machine: &Machine) -> Vec<u8> {
    machine.ok(&["export", "--since-last"]).stdout
}

/// An import is refused, with or without the dry run, and taken when it is said that it is meant.
#[track_caller]
fn is_taken_only_if_meant(machine: &Machine, bundles: &[u8], option: &str, words: &[&str]) {
    let words: Vec<&str> = words.iter().copied().chain([option, "mailsync import", "mailsync update"]).collect();
    machine.refuses(&["import"], bundles, 6, &words);
    machine.refuses(&["--quiet", "import", "--dry-run"], bundles, 6, &words);
    let ran = machine.run_with(&["import", option], bundles);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_file_that_is_refused_or_not_there_keeps_nothing_from_those_named_behind_it() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&phone, &laptop);
    let file = |name: &str| dir.path().join(name);
    remove(&desktop, "Lists", 0..120);
    fs::write(file("refused"), next_bundle(&desktop)).unwrap();
    phone.deliver("from the phone");
    fs::write(file("good"), phone.ok(&["export", "--to", "laptop"]).stdout).unwrap();
    fs::write(file("bad"), b"no bundle").unwrap();
    let (refused, good, bad, none) = (file("refused"), file("good"), file("bad"), file("none"));
    let [refused, good, bad, none] = [&refused, &good, &bad, &none].map(|path| text(path));
    let before = laptop.mailbox();
    // The highest code counts, wherever that one stands.
    for (args, code) in
        [([none, bad], 4), ([bad, none], 4), ([none, none], 1), ([refused, none], 6), ([none, refused], 6)]
    {
        let ran = laptop.run(&[&["import", "--dry-run"][..], &args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
    }
    let ran = laptop.run(&["import", none, refused, good]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    for words in ["opening the bundle", "120 of the 120 messages in Lists", "from phone: "] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(laptop.has("from the phone") && laptop.mailbox().len() == before.len() + 1);
    // What was refused is still counted, and can be allowed.
    let ran = laptop.run(&["import", refused, good, "--json"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    let outcomes: Vec<Value> =
        ran.json()["bundles"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["refused", "nothing-new"], "{}", ran.text());
    laptop.ok(&["import", refused, good, "--allow-mass-delete"]);
    assert_eq!(laptop.mailbox().len(), 1);
}

#[test]
fn what_a_bundle_brings_does_not_make_what_it_removes_look_small() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    for number in 0..300 {
        desktop.put("Lists", &format!("cur/bogus{number}:2,"), format!("Subject: bogus {number}\n\n"), number);
    }
    remove(&desktop, "Lists", 0..120);
    let bundle = desktop.ok(&["export"]).stdout;
    is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-delete", &["120 of the 120 messages in Lists"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_is_moved_out_of_a_folder_counts_for_it() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    for (number, to) in (0..70).zip(["A", "B"].into_iter().cycle()) {
        let name = format!("cur/Lists-{number}:2,S");
        crate::support::make_folder(&desktop.dir(to));
        fs::rename(desktop.dir("Lists").join(&name), desktop.dir(to).join(&name)).unwrap();
    }
    // What the person moves here is found again elsewhere, and not lost.
    assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0, 70, 0, 0]);
    let moved = next_bundle(&desktop);
    for folder in ["A", "B"] {
        for item in fs::read_dir(desktop.dir(folder).join("cur")).unwrap() {
            fs::remove_file(item.unwrap().path()).unwrap();
        }
    }
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let both = [moved.clone(), next_bundle(&desktop)].concat();
    is_taken_only_if_meant(&laptop, &moved, "--allow-mass-delete", &["70 of the 120 messages in Lists", "moved"]);
    // What has left its folder counts once.
    let ran = laptop.run_with(&["import", "--json"], &both);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_folder_that_was_renamed_has_lost_nothing_until_its_mail_is_removed() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    fs::rename(desktop.dir("Lists"), desktop.dir("Letters")).unwrap();
    let renamed = next_bundle(&desktop);
    fs::remove_dir_all(desktop.dir("Letters")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let removed = next_bundle(&desktop);
    // In one command it is the old folder that has lost them, in two the new one.
    let ran = laptop.run_with(&["import", "--dry-run"], &[renamed.clone(), removed.clone()].concat());
    assert!(ran.code == 6 && ran.stderr.contains("120 of the 120 messages in Lists"), "{ran:?}");
    assert_eq!(laptop.run_with(&["import"], &renamed).code, 0);
    is_taken_only_if_meant(&laptop, &removed, "--allow-mass-delete", &["120 of the 120 messages in Letters"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn the_bundles_of_one_command_are_counted_together() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    let mut bundles = Vec::new();
    for start in [0, 40] {
        remove(&desktop, "Lists", start..start + 40);
        bundles.push(next_bundle(&desktop));
    }
    // The first one is within the limits.
    for (args, left) in [(&["import", "--dry-run"][..], 120), (&["import"], 80)] {
        let ran = laptop.run_with(args, &bundles.concat());
        assert!(ran.code == 6 && ran.stderr.contains("80 of the 120 messages in Lists"), "{ran:?}");
        assert_eq!(laptop.mailbox().len(), left);
    }
    // What was refused is not taken for being tried again.
    let words = &["80 of the 120 messages in Lists", "counted from before an import that was refused"];
    is_taken_only_if_meant(&laptop, &bundles[1], "--allow-mass-delete", words);
    assert_eq!(laptop.mailbox().len(), 40);
}

/// A command is refused, whatever else it says.
#[track_caller]
fn is_refused(machine: &Machine, args: &[&str], stdin: &[u8], words: &[&str]) {
    let ran = machine.run_with(args, stdin);
    assert!(ran.code == 6 && words.iter().all(|words| ran.stderr.contains(words)), "{words:?}: {ran:?}");
}

/// A stick with three bundles, each of which removes 100 of the 400 messages in a folder.
fn stick_of_three(dir: &Path, desktop: &Machine) -> PathBuf {
    let stick = dir.join("stick");
    fs::create_dir(&stick).unwrap();
    for start in [0, 100, 200] {
        remove(desktop, "Lists", start..start + 100);
        desktop.ok(&["export", "--since-last", "--to", "laptop", "-o", text(&stick)]);
    }
    stick
}

/// So many hours pass for the refusals that a machine remembers.
fn pass_hours(machine: &Machine, hours: i64) {
    let state = rusqlite::Connection::open(machine.home.join("state.db")).unwrap();
    let changed = state.execute("UPDATE alarm SET raised = raised - ?", [hours * 60 * 60 * 1000]).unwrap();
    assert!(changed > 0, "nothing was refused");
}

const COUNTED: &str = "counted from before an import that was refused";

#[test]
fn a_loop_of_imports_does_not_take_what_one_of_them_refuses() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 300);
    let stick = stick_of_three(dir.path(), &desktop);
    let import = ["import", text(&stick)];
    // The first bundle is within the limits, and what came before a refusal stays.
    is_refused(&laptop, &import, &[], &["200 of the 300 messages in Lists"]);
    for round in 0..4 {
        // A purge forgets nothing of it.
        laptop.ok(&["purge"]);
        for dry in [&[][..], &["--dry-run"]] {
            is_refused(&laptop, &[&import, dry].concat(), &[], &["200 of the 300 messages in Lists", COUNTED]);
        }
        assert_eq!(laptop.mailbox().len(), 200, "{round}");
        pass_hours(&laptop, 5);
    }
    laptop.ok(&[&import[..], &["--allow-mass-delete"]].concat());
    fill(&desktop, "Other", 150);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // A person has allowed it: from here on it is counted anew.
    remove(&desktop, "Other", 0..70);
    assert_eq!(laptop.run_with(&["import"], &next_bundle(&desktop)).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_others_take_away_after_a_refusal_counts_together_with_it_for_a_day() {
    for hours in [0, 23, 24] {
        let dir = scratch();
        let (desktop, laptop) = with_mail(dir.path(), "Lists", 300);
        remove(&desktop, "Lists", 0..100);
        let first = next_bundle(&desktop);
        remove(&desktop, "Lists", 100..160);
        let second = next_bundle(&desktop);
        is_refused(&laptop, &["import"], &[first, second.clone()].concat(), &["160 of the 300 messages in Lists"]);
        assert_eq!(laptop.mailbox().len(), 200);
        pass_hours(&laptop, hours);
        let ran = laptop.run_with(&["import"], &second);
        if hours < 24 {
            assert!(ran.code == 6 && ran.stderr.contains(COUNTED), "{hours}: {ran:?}");
            assert_eq!(laptop.mailbox().len(), 200);
        } else {
            // Nothing was refused for a day: 60 of the 200 that are left are little.
            assert_eq!(ran.code, 0, "{ran:?}");
            assert_eq!(laptop.mailbox(), desktop.mailbox());
        }
    }
}

/// A machine that has taken 100 of 300 messages away from another one by a bundle, and was refused 60 more; and the
/// bundle with these, which is little by itself.
fn refused_sixty(dir: &Path) -> (Machine, Machine, Vec<u8>) {
    let (desktop, laptop) = with_mail(dir, "Lists", 300);
    remove(&desktop, "Lists", 0..100);
    let first = next_bundle(&desktop);
    remove(&desktop, "Lists", 100..160);
    let second = next_bundle(&desktop);
    is_refused(&laptop, &["import"], &[first, second.clone()].concat(), &["160 of the 300 messages in Lists"]);
    (desktop, laptop, second)
}

#[test]
fn what_is_refused_only_for_an_earlier_refusal_does_not_make_that_last_longer() {
    let dir = scratch();
    let (desktop, laptop, second) = refused_sixty(dir.path());
    for _ in 0..3 {
        pass_hours(&laptop, 7);
        is_refused(
            &laptop,
            &["import"],
            &second,
            &[
                "160 of the 300 messages in Lists",
                "60 by this command and 100 before it",
                COUNTED,
                "of a bundle of desktop at ",
                "a day after",
                "mailsync peer remove desktop",
                "--allow-mass-delete",
            ],
        );
    }
    pass_hours(&laptop, 3);
    assert_eq!(laptop.run_with(&["import"], &second).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_is_refused_by_itself_makes_the_refusal_last_longer() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 300);
    remove(&desktop, "Lists", 0..180);
    let much = next_bundle(&desktop);
    for _ in 0..3 {
        is_refused(&laptop, &["import"], &much, &["180 of the 300 messages in Lists"]);
        pass_hours(&laptop, 20);
    }
    is_refused(&laptop, &["import"], &much, &["180 by this command and 0 before it", COUNTED]);
}

/// The alarms that `status` shows, after a look at what it says of them to a person.
fn alarms(machine: &Machine) -> Vec<Value> {
    let alarms = machine.ok(&["status", "--json"]).json()["alarms"].as_array().unwrap().clone();
    let words = String::from_utf8(machine.ok(&["status"]).stdout).unwrap();
    assert_eq!(words.lines().filter(|line| line.starts_with("alarm ")).count(), alarms.len(), "{words}");
    alarms
}

#[test]
fn status_shows_an_alarm_as_long_as_it_stands() {
    let dir = scratch();
    let (_, laptop, _) = refused_sixty(dir.path());
    let shown = alarms(&laptop);
    let time = |key: &str| shown[0][key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((shown.len(), &shown[0]["guarded"], &shown[0]["by"]), (1, &"removed".into(), &"desktop".into()));
    assert_eq!(time("ends").as_second() - time("raised").as_second(), 24 * 60 * 60);
    pass_hours(&laptop, 24);
    assert_eq!(alarms(&laptop), Vec::<Value>::new());
}

#[test]
fn an_alarm_ends_with_the_peer_whose_bundle_has_raised_it() {
    let table: [(&[&str], bool); 4] = [
        (&["peer", "remove", "desktop"], true),
        (&["peer", "revoke", "desktop"], true),
        (&["peer", "remove", "other"], false),
        (&["peer", "revoke", "other"], false),
    ];
    for (args, ends) in table {
        let dir = scratch();
        let (_, laptop, _) = refused_sixty(dir.path());
        let other = PrivateKey::generate("other").unwrap();
        laptop.ok(&["peer", "add", "other", "--key", &other.public_key().to_openssh()]);
        laptop.ok(args);
        assert_eq!(alarms(&laptop).is_empty(), ends, "{args:?}");
    }
}

#[test]
fn an_alarm_that_seems_to_be_of_a_time_to_come_ends_a_day_from_then_on() {
    let dir = scratch();
    let (desktop, laptop, second) = refused_sixty(dir.path());
    // The clock was ahead for a month when it was raised, and was put right.
    pass_hours(&laptop, -30 * 24);
    assert_eq!(alarms(&laptop).len(), 1);
    is_refused(&laptop, &["import"], &second, &[COUNTED]);
    pass_hours(&laptop, 23);
    is_refused(&laptop, &["import"], &second, &[COUNTED]);
    pass_hours(&laptop, 1);
    assert_eq!(laptop.run_with(&["import"], &second).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn new_messages_do_not_make_a_refusal_small() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 300);
    remove(&desktop, "Lists", 0..180);
    let much = next_bundle(&desktop);
    is_refused(&laptop, &["import"], &much, &["180 of the 300 messages in Lists"]);
    for number in 0..300 {
        laptop.put("Lists", &format!("cur/new{number}:2,"), format!("Subject: new {number}\n\n"), number);
    }
    laptop.ok(&["scan"]);
    is_taken_only_if_meant(&laptop, &much, "--allow-mass-delete", &["180 of the 300 messages in Lists", COUNTED]);
}

#[test]
fn a_loop_of_imports_does_not_add_what_one_of_them_refuses() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 5);
    laptop.configure("[guard]\nadd_messages = 50");
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    for folder in ["A", "B", "C"] {
        fill(&desktop, folder, 40);
        desktop.ok(&["export", "--since-last", "--to", "laptop", "-o", text(&stick)]);
    }
    let import = ["import", text(&stick)];
    is_refused(&laptop, &import, &[], &["80 messages would be added to 5"]);
    for _ in 0..3 {
        is_refused(&laptop, &import, &[], &["80 messages would be added to 5", COUNTED, "--allow-mass-add"]);
        assert_eq!(laptop.mailbox().len(), 45);
    }
    // Who allows the one has not seen the other.
    is_refused(&laptop, &[&import[..], &["--allow-mass-delete"]].concat(), &[], &["80 messages", "--allow-mass-add"]);
    laptop.ok(&[&import[..], &["--allow-mass-add"]].concat());
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    fill(&desktop, "D", 40);
    assert_eq!(laptop.run_with(&["import"], &next_bundle(&desktop)).code, 0);
}

#[test]
fn a_scan_that_was_refused_has_taken_nothing_and_its_repetition_measures_the_same() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 300);
    for item in fs::read_dir(laptop.dir("Lists").join("cur")).unwrap().take(200) {
        fs::remove_file(item.unwrap().path()).unwrap();
    }
    let bundle = desktop.ok(&["export", "--full"]).stdout;
    for round in 0..2 {
        for args in [&["scan"][..], &["scan", "Lists"], &["scan", "--deep"], &["export"], &["import"]] {
            fill(&laptop, &format!("New{round}{}", args.concat()), 50);
            is_refused(&laptop, args, &bundle, &["200 of the 300 messages in Lists"]);
        }
        assert_eq!(laptop.ok(&["status", "--json"]).json()["entries"], 300);
    }
}

#[test]
fn the_files_of_a_directory_are_counted_together() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    for start in [0, 40] {
        remove(&desktop, "Lists", start..start + 40);
        desktop.ok(&["export", "--since-last", "--to", "laptop", "-o", text(&stick)]);
    }
    let ran = laptop.run(&["import", text(&stick)]);
    assert!(ran.code == 6 && ran.stderr.contains("80 of the 120 messages in Lists"), "{ran:?}");
    assert_eq!(laptop.mailbox().len(), 80);
}

#[test]
fn a_quarter_of_all_mail_does_not_go_from_many_folders_unseen() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let folders = ["A", "B", "C", "D"];
    for folder in folders {
        fill(&desktop, folder, 100);
    }
    exchange(&desktop, &laptop);
    for folder in &folders[..3] {
        for number in 0..34 {
            fs::remove_file(desktop.dir(folder).join(format!("cur/{folder}-{number}:2,S"))).unwrap();
        }
    }
    let words = ["102 of all 400 messages", "mailsync scan --allow-mass-delete"];
    for args in [&["scan"][..], &["--quiet", "scan", "--dry-run"], &["export"]] {
        desktop.refuses(args, &[], 6, &words);
    }
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export"]).stdout;
    is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-delete", &["102 of all 400 messages"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn most_folders_do_not_go_at_once_unseen() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let folders: Vec<String> = (0..14).map(|number| format!("F{number}")).collect();
    for folder in &folders {
        crate::support::make_folder(&desktop.dir(folder));
    }
    exchange(&desktop, &laptop);
    for folder in &folders[..8] {
        fs::remove_dir_all(desktop.dir(folder)).unwrap();
    }
    let words = "8 of the 15 folders would be removed";
    desktop.refuses(&["scan"], &[], 6, &[words, "mailsync scan --allow-mass-delete"]);
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export"]).stdout;
    is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-delete", &[words]);
    assert_eq!(laptop.folders(), desktop.folders());
}

#[test]
fn all_mail_and_most_folders_do_not_go_unseen_however_few_they_are() {
    // A disk that isn't mounted, and a program that has made a Maildir in its place.
    for layout in ["maildir++", "fs"] {
        let dir = scratch();
        let desktop = Machine::new(dir.path(), "desktop");
        crate::support::make_folder(&desktop.mail);
        desktop.init_as(layout);
        for folder in ["INBOX", "A", "B"] {
            fill(&desktop, folder, 2);
        }
        desktop.ok(&["scan"]);
        fs::remove_dir_all(&desktop.mail).unwrap();
        fs::create_dir(&desktop.mail).unwrap();
        desktop.put("INBOX", "new/fresh", "fresh", 1);
        let words = ["6 of all 6 messages", "mailsync restore --all", "mailsync scan --allow-mass-delete"];
        desktop.refuses(&["scan"], &[], 6, &words);
        desktop.ok(&["scan", "--allow-mass-delete"]);
        assert_eq!(desktop.mailbox().len(), 1);
    }
}

#[test]
fn folders_that_are_called_otherwise_are_no_loss() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let folders: Vec<String> = (0..14).map(|number| format!("F{number}")).collect();
    for folder in &folders {
        fill(&desktop, folder, 1);
    }
    exchange(&desktop, &laptop);
    for folder in &folders[..13] {
        fs::rename(desktop.dir(folder), desktop.dir(&format!("New{folder}"))).unwrap();
    }
    let report = desktop.ok(&["scan", "--json"]).json();
    assert_eq!((counts(&report), &report["folders_removed"]), ([0, 13, 0, 0], &13.into()));
}

#[test]
fn what_vanished_here_is_not_confirmed_by_who_allows_what_others_removed() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    fill(&desktop, "Mine", 120);
    exchange(&desktop, &laptop);
    laptop.reach(&desktop);
    remove(&desktop, "Lists", 0..120);
    let bundle = next_bundle(&desktop);
    fs::remove_dir_all(laptop.dir("Mine")).unwrap();
    let here = ["120 of the 120 messages in Mine", "mailsync restore Mine", "mailsync scan --allow-mass-delete"];
    for args in [&["import", "--allow-mass-delete"][..], &["-q", "import", "--allow-mass-delete", "--dry-run"]] {
        laptop.refuses(args, &bundle, 6, &here);
    }
    laptop.refuses(&["update", "--allow-mass-delete"], &[], 6, &here);
    laptop.ok(&["scan", "--allow-mass-delete"]);
    is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-delete", &["120 of the 120 messages in Lists"]);
    assert_eq!(laptop.mailbox().len(), 0);
}

#[test]
fn a_refusal_of_a_deep_scan_or_a_repair_names_that_command() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    fill(&desktop, "Lists", 120);
    desktop.ok(&["scan"]);
    for number in 0..70 {
        // Edited in place.
        let path = desktop.dir("Lists").join(format!("cur/Lists-{number}:2,S"));
        fs::write(path, format!("another {number}")).unwrap();
    }
    desktop.refuses(&["scan", "--deep"], &[], 6, &["mailsync scan --deep --allow-mass-delete"]);
    let repair = ["--quiet", "doctor", "--repair"];
    desktop.refuses(&repair, &[], 6, &["mailsync doctor --repair --allow-mass-delete"]);
    desktop.ok(&["doctor", "--repair", "--allow-mass-delete"]);
    desktop.ok(&["scan", "--deep"]);
}

#[test]
fn the_limits_are_those_of_the_configuration() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    for folder in ["A", "B", "C", "D"] {
        fill(&desktop, folder, 10);
    }
    desktop.ok(&["scan"]);
    let gone = |folder: &str, number: u64| {
        fs::remove_file(desktop.dir(folder).join(format!("cur/{folder}-{number}:2,S"))).unwrap();
    };
    (0..6).for_each(|number| gone("A", number));
    desktop.configure("[guard]\nfolder = 9\nall = 10\nfolders = 2");
    desktop.refuses(&["scan"], &[], 6, &["6 of the 10 messages in A"]);
    desktop.ok(&["scan", "--allow-mass-delete"]);
    for folder in ["A", "B", "C"] {
        (6..10).for_each(|number| gone(folder, number));
    }
    desktop.refuses(&["scan"], &[], 6, &["12 of all 34 messages"]);
    desktop.ok(&["scan", "--allow-mass-delete"]);
    for folder in ["A", "B", "C"] {
        fs::remove_dir_all(desktop.dir(folder)).unwrap();
    }
    desktop.refuses(&["scan"], &[], 6, &["12 of all 22 messages", "mailsync restore --all"]);
    desktop.ok(&["scan", "--allow-mass-delete"]);
    for folder in ["E", "F", "G"] {
        crate::support::make_folder(&desktop.dir(folder));
    }
    desktop.ok(&["scan"]);
    for folder in ["E", "F", "G"] {
        fs::remove_dir_all(desktop.dir(folder)).unwrap();
    }
    desktop.refuses(&["scan"], &[], 6, &["3 of the 5 folders would be removed"]);
}

#[test]
fn much_that_is_new_is_taken_only_if_it_is_meant() {
    let few = "[guard]\nadd_messages = 10\nadd_bytes = 100_000\nadd_folders = 3\nadd_tombstones = 5";
    let large = "x".repeat(50_000);
    // What is here before, what comes, and what is said about that.
    let table: [(u64, Bring<'_>, Option<&str>); 6] = [
        (5, &|desktop| fill(desktop, "New", 10), None),
        (5, &|desktop| fill(desktop, "New", 11), Some("11 messages would be added to 5")),
        (11, &|desktop| fill(desktop, "New", 11), None),
        (
            5,
            &|desktop| {
                for number in 0..3 {
                    desktop.put("New", &format!("cur/{number}:2,"), format!("{number}{large}"), number);
                }
            },
            Some("146.5 KiB of mail would be added"),
        ),
        (
            5,
            &|desktop| ["A", "B", "C", "D"].iter().for_each(|folder| crate::support::make_folder(&desktop.dir(folder))),
            Some("4 folders would be added to 2"),
        ),
        (
            5,
            &|desktop| {
                fill(desktop, "Old", 6);
                desktop.ok(&["scan"]);
                remove(desktop, "Old", 0..6);
            },
            Some("6 removed messages that were never here"),
        ),
    ];
    for (before, bring, refused) in table {
        let dir = scratch();
        let (desktop, laptop) = with_mail(dir.path(), "Lists", before);
        laptop.configure(few);
        bring(&desktop);
        let bundle = desktop.ok(&["export"]).stdout;
        match refused {
            Some(words) => is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-add", &[words]),
            None => assert_eq!(laptop.run_with(&["import"], &bundle).code, 0),
        }
        assert_eq!(laptop.mailbox(), desktop.mailbox());
    }
}

#[test]
fn several_bundles_that_each_add_little_are_counted_together() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 5);
    laptop.configure("[guard]\nadd_messages = 10");
    let mut bundles = Vec::new();
    for folder in ["A", "B"] {
        fill(&desktop, folder, 8);
        bundles.push(next_bundle(&desktop));
    }
    let ran = laptop.run_with(&["import"], &bundles.concat());
    assert!(ran.code == 6 && ran.stderr.contains("16 messages would be added to 5"), "{ran:?}");
    assert_eq!(laptop.mailbox().len(), 13);
}

#[test]
fn the_first_bundle_of_a_peer_may_bring_all_its_mail() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.configure("[guard]\nadd_messages = 10");
    fill(&desktop, "Lists", 50);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // One that comes later may not, even if it is a full one.
    fill(&desktop, "More", 60);
    let bundle = desktop.ok(&["export", "--full"]).stdout;
    is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-add", &["60 messages would be added to 50"]);
}

#[test]
fn a_dry_run_of_several_bundles_tells_what_all_of_them_would_do() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 20);
    let mut bundles = Vec::new();
    remove(&desktop, "Lists", 0..3);
    bundles.extend(next_bundle(&desktop));
    fill(&desktop, "New", 4);
    bundles.extend(next_bundle(&desktop));
    // Of these some are moved, and some removed again.
    remove(&desktop, "New", 0..1);
    fs::rename(desktop.dir("New").join("cur/New-1:2,S"), desktop.dir("Lists").join("cur/New-1:2,RS")).unwrap();
    desktop.ok(&["scan"]);
    bundles.extend(next_bundle(&desktop));
    let brought = |args: &[&str]| {
        let ran = laptop.run_with(args, &bundles);
        assert!(ran.code == 0 && !ran.stderr.contains("not here yet"), "{ran:?}");
        let bundles = ran.json()["bundles"].as_array().unwrap().clone();
        bundles.iter().map(|bundle| (bundle["outcome"].clone(), counts(bundle))).collect::<Vec<_>>()
    };
    let before = laptop.left();
    let dry = brought(&["import", "--dry-run", "--json"]);
    assert_eq!(laptop.left(), before);
    let real = brought(&["import", "--json"]);
    assert_eq!(dry, real);
    let applied = Value::from("applied");
    assert_eq!(real, [(applied.clone(), [0, 0, 0, 3]), (applied.clone(), [4, 0, 0, 0]), (applied, [0, 1, 1, 1])]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn an_update_that_is_refused_names_the_option_that_it_has() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    laptop.reach(&desktop);
    remove(&desktop, "Lists", 0..70);
    let ran = laptop.run(&["update"]);
    complains(&ran, 6, &["70 of the 120 messages in Lists", "--allow-mass-delete", "mailsync update"]);
    laptop.ok(&["update", "--allow-mass-delete"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn without_room_for_the_contents_nothing_is_written() {
    let dir = scratch();
    let layout = mailsync::maildir::LayoutKind::Fs;
    let desktop = Party::new(dir.path(), "desktop", layout, &["INBOX large1 -", "INBOX small1 -"]);
    let laptop = Party::new(dir.path(), "laptop", layout, &[]);
    party::make_peers(&desktop, &laptop);
    let file = dir.path().join("bundle");
    desktop.export(&laptop, &file);
    let watch = Watch::new(&dir.path().join("keep"));
    for dry_run in [DryRun::No, DryRun::Yes] {
        watch.leave_free(1 << 20);
        let before = laptop.mailbox();
        let options = ImportOptions { dry_run, ..ImportOptions::default() };
        let replica = laptop.open(watch.disk()).unwrap();
        let error = replica.import_file(&file, &options, |_| panic!("nothing can be told of it")).unwrap_err();
        assert_eq!(error.kind().exit_code(), 1);
        for words in ["1.0 MiB of mail", "1.0 MiB are free", "make room"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        drop(replica);
        assert_eq!(laptop.mailbox(), before);
        assert_eq!(laptop.leftovers(), Vec::<std::path::PathBuf>::new());
    }
    watch.leave_free(2 << 20);
    party::import(&laptop.open(watch.disk()).unwrap(), &file).unwrap();
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_is_said_of_sizes_is_measured_before_it_is_too_much() {
    let dir = scratch();
    let (_, laptop) = with_mail(dir.path(), "Lists", 5);
    laptop.configure("[guard]\nadd_bytes = 100_000");
    let evil = PrivateKey::generate("evil").unwrap();
    laptop.ok(&["peer", "add", "evil", "--key", &evil.public_key().to_openssh()]);
    let at = |counter| clock(now(), counter);
    let clocks: Vec<String> = (0..6).map(at).collect();
    let forged = |number: usize, draw: &dyn Fn(&mut Forge, &str)| {
        let mut forge = Forge::new(&evil, &clocks[number]);
        forge.manifest["number"] = json!(number);
        if let Some(base) = number.checked_sub(1).map(|before| &clocks[before]) {
            forge.manifest["base"] = json!({ INCARNATION: base });
        }
        draw(&mut forge, &stamp(&clocks[number]));
        forge.bundle()
    };
    // Only a peer's first bundle may bring as much as it likes.
    assert_eq!(laptop.run_with(&["import"], &forged(0, &|_, _| {})).code, 0);
    let claim = |forge: &mut Forge, size: u64| forge.entry(|entry| entry["size"] = json!(size));
    // A tiny message that is said to be huge is tiny.
    let huge = forged(1, &|forge, stamp| {
        forge.message("Lists", b"Subject: tiny\n\n", stamp);
        claim(forge, 8_589_934_591);
    });
    assert_eq!(laptop.run_with(&["import", "--dry-run"], &huge).code, 0);
    let ran = laptop.run_with(&["import"], &huge);
    assert_eq!(ran.code, 0, "{ran:?}");
    // Large ones that are said to be tiny are large, and what a message is said to be doesn't make room for others.
    let large = |n: u64| format!("Subject: large {n}\n\n{}", "x".repeat(60_000)).into_bytes();
    let tiny = forged(2, &|forge, stamp| {
        for n in [1, 2] {
            forge.message("Lists", &large(n), stamp);
            claim(forge, 1);
        }
        forge.message("Lists", b"Subject: another\n\n", stamp);
        claim(forge, 8_589_934_591);
        forge.lines.sort();
    });
    is_taken_only_if_meant(&laptop, &tiny, "--allow-mass-add", &["117.2 KiB of mail would be added"]);
    // One that goes to several folders counts for each. Of one that doesn't come there is only what is said of it.
    let twice = forged(3, &|forge, stamp| {
        for folder in ["A", "B"] {
            forge.line(&entry(folder, &large(3), stamp));
        }
        forge.messages.push(large(3));
    });
    let absent = forged(4, &|forge, stamp| {
        forge.line(&entry("Lists", b"Subject: absent\n\n", stamp));
        claim(forge, 8_589_934_591);
    });
    let more = |bundle| {
        laptop.refuses(&["import"], bundle, 6, &["--allow-mass-add", "8.0 GiB of mail would be added to 234."]);
    };
    fill(&laptop, "Own", 1);
    laptop.ok(&["scan"]);
    let ran = laptop.run_with(&["import"], &twice);
    assert_eq!(ran.code, 0, "less than there was: {ran:?}");
    more(&absent);
}

#[test]
fn what_comes_back_to_life_does_not_make_what_is_removed_look_small() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 240);
    remove(&desktop, "Lists", 0..120);
    assert_eq!(laptop.run_with(&["import", "--allow-mass-delete"], &next_bundle(&desktop)).code, 0);
    assert_eq!(laptop.mailbox().len(), 120);
    // The old ones come back, under their old ids, in the bundle by which the others go.
    fill(&desktop, "Lists", 120);
    desktop.ok(&["scan"]);
    remove(&desktop, "Lists", 120..240);
    let bundle = next_bundle(&desktop);
    is_taken_only_if_meant(&laptop, &bundle, "--allow-mass-delete", &["120 of the 120 messages in Lists"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn without_room_for_what_is_attached_to_jobs_nothing_is_written() {
    let dir = scratch();
    let layout = mailsync::maildir::LayoutKind::Fs;
    let desktop = Party::new(dir.path(), "desktop", layout, &[]);
    let laptop = Party::new(dir.path(), "laptop", layout, &[]);
    party::make_peers(&desktop, &laptop);
    let asked = Command::new(MAILSYNC)
        .args(["--home", text(desktop.home.state_dir()), "uux", "laptop", "true"])
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().unwrap().write_all(&vec![b'x'; 300_000])?;
            child.wait()
        });
    assert!(asked.unwrap().success());
    let file = dir.path().join("bundle");
    desktop.export(&laptop, &file);
    let watch = Watch::new(&dir.path().join("keep"));
    watch.leave_free(100_000);
    let replica = laptop.open(watch.disk()).unwrap();
    let error = replica.import_file(&file, &ImportOptions::default(), |_| panic!("nothing is told")).unwrap_err();
    for words in [" KiB of what is attached to jobs", "97.7 KiB are free", "make room"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    drop(replica);
    watch.leave_free(400_000);
    party::import(&laptop.open(watch.disk()).unwrap(), &file).unwrap();
}

#[test]
fn a_refused_update_names_what_works_where_there_is_no_file_of_the_bundle() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    laptop.reach(&desktop);
    remove(&desktop, "Lists", 0..70);
    let ran = laptop.run(&["update"]);
    let words = [
        "`mailsync import --dry-run -v FILE`",
        "`mailsync export --to NAME -o FILE`",
        "`mailsync restore Lists --since TIME`",
    ];
    complains(&ran, 6, &words);
    let file = dir.path().join("looked-at");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&file)]);
    let ran = laptop.run(&["import", "--dry-run", "-v", text(&file)]);
    assert!(ran.code == 6 && ran.stderr.contains("70 of the 120 messages in Lists"), "{ran:?}");
}

#[test]
fn a_directory_with_a_removal_that_is_refused_and_the_bundle_that_takes_it_back_is_taken_as_a_whole() {
    for consume in [false, true] {
        let dir = scratch();
        let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
        let before = laptop.mailbox();
        let stick = dir.path().join("stick");
        fs::create_dir(&stick).unwrap();
        remove(&desktop, "Lists", 0..120);
        desktop.ok(&["export", "--to", "laptop", "-o", text(&stick)]);
        laptop.refuses(&["import", text(&stick)], b"", 6, &["120 of the 120 messages in Lists"]);
        desktop.ok(&["restore", "Lists", "--since", "1h"]);
        desktop.ok(&["export", "--to", "laptop", "-o", text(&stick)]);

        let args = if consume { &["import", "--consume", text(&stick)][..] } else { &["import", text(&stick)] };
        let left = laptop.left();
        let dry = laptop.ok(&[args, &["-n", "--json"]].concat());
        assert_eq!(laptop.left(), left);
        let ran = laptop.ok(&[args, &["--json"]].concat());
        for ran in [&dry, &ran] {
            let bundles = ran.json()["bundles"].as_array().unwrap().clone();
            let outcomes: Vec<_> = bundles.iter().map(|bundle| bundle["outcome"].as_str().unwrap()).collect();
            assert_eq!(outcomes, ["applied", "nothing-new"], "{bundles:?}");
            assert!(!ran.stderr.contains("--allow-mass-delete"), "{}", ran.stderr);
        }
        assert_eq!(alarms(&laptop), Vec::<Value>::new());
        assert_eq!(laptop.mailbox(), before);
        assert_eq!(fs::read_dir(&stick).unwrap().count(), if consume { 0 } else { 2 });
        exchange(&laptop, &desktop);
    }
}

#[test]
fn what_a_directory_brings_beside_a_refused_bundle_changes_neither_its_words_nor_its_dry_run() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&phone, &laptop);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    remove(&desktop, "Lists", 0..70);
    phone.deliver("from the phone");
    for machine in [&desktop, &phone] {
        machine.ok(&["export", "--to", "laptop", "-o", text(&stick)]);
    }
    let dry = laptop.run(&["import", "-n", "-v", text(&stick)]);
    assert_eq!(dry.code, 6, "{}", dry.stderr);
    let words = "70 of the 120 messages in Lists would be removed or moved elsewhere, which is refused without --allow-mass-delete;";
    assert!(dry.stderr.contains(words), "{}", dry.stderr);
    assert_eq!(dry.stderr.matches("D Lists").count(), 70, "{}", dry.stderr);
    assert!(
        dry.stderr.contains("is refused, and would bring: 0 new, 0 moved, 0 flagged, 70 removed"),
        "{}",
        dry.stderr
    );
    assert!(dry.stderr.contains("Lists: 70 removed") && dry.stderr.contains("INBOX: 1 new"), "{}", dry.stderr);
    let ran = laptop.run(&["import", text(&stick)]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("70 of the 120 messages in Lists").count(), 1, "{}", ran.stderr);
    for ran in [&dry, &ran] {
        assert!(!ran.stderr.contains("counted from before an import that was refused"), "{}", ran.stderr);
    }
    assert!(laptop.has("from the phone"));
}

#[test]
fn a_refusal_names_what_takes_a_move_back_and_not_only_a_removal() {
    for (moved, removed) in [(70, 0), (0, 70), (40, 40)] {
        let dir = scratch();
        let (desktop, laptop) = with_mail(dir.path(), "Lists", 120);
        let before = laptop.mailbox();
        let to = desktop.dir("Elsewhere");
        for place in ["cur", "new", "tmp"] {
            fs::create_dir_all(to.join(place)).unwrap();
        }
        for number in 0..moved {
            let name = format!("cur/Lists-{number}:2,S");
            fs::rename(desktop.dir("Lists").join(&name), to.join(&name)).unwrap();
        }
        remove(&desktop, "Lists", moved..moved + removed);
        let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
        let said = laptop.refuses(&["import"], &bundle, 6, &["of the 120 messages in Lists"]).stderr;
        let (undo, restore) = ("`mailsync undo --by NAME --since TIME`", "`mailsync restore Lists --since TIME`");
        assert_eq!((said.contains(undo), said.contains(restore)), (moved > 0, removed > 0), "{said}");
        if moved > 0 {
            desktop.ok(&["undo", "--by", "desktop", "--since", "1h"]);
        }
        if removed > 0 {
            desktop.ok(&["restore", "Lists", "--since", "1h"]);
        } else {
            let nothing = desktop.fails(&["restore", "Lists", "--since", "1h"], 1);
            assert!(nothing.contains("what was moved, `mailsync undo` takes back"), "{nothing}");
            assert!(!nothing.contains("mailsync restore Lists --since"), "{nothing}");
        }
        for _ in 0..2 {
            pass(&desktop, &laptop);
            pass(&laptop, &desktop);
        }
        let is_there = |mailbox: &crate::support::machine::Mailbox| mailbox.keys().copied().collect::<Vec<_>>();
        assert_eq!(is_there(&laptop.mailbox()), is_there(&before));
        assert_eq!(desktop.mailbox(), laptop.mailbox());
        assert_eq!(alarms(&laptop), Vec::<Value>::new());
    }
}
