//! What a guard refuses can be looked at: the refusal names the command that shows which mails it is about, and that changes
//! nothing and ends as the command itself would.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::machine::{Machine, complains, counts, exchange, make_peers, pair};
use crate::support::programs::Ran;
use crate::support::{scratch, text};

const LISTS: usize = 120;

/// Two machines that have the same mail: as many messages in a folder that the guard stands over it, and one beside them.
fn with_lists(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for number in 0..LISTS {
        let contents = format!("From: Bee List <bees@example.org>\nSubject: digest {number}\n\n");
        desktop.put("Lists", &format!("cur/{number}:2,S"), contents, 1_600_000_000);
    }
    desktop.deliver("stays");
    exchange(&desktop, &laptop);
    (desktop, laptop)
}

/// All of that folder is removed, and a bundle tells of it.
fn without_lists(desktop: &Machine, bundle: &Path) {
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    desktop.ok(&["export", "--to", "laptop", "-o", text(bundle)]);
}

/// The lines about messages that were removed, or would be.
fn removed(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("mailsync: D Lists  ")).collect()
}

/// A command that only looks says these words, each of the messages, and last why it is refused. Nothing was changed by it.
#[track_caller]
fn shows_all(machine: &Machine, args: &[&str], words: &[&str]) -> Ran {
    let before = machine.left();
    let ran = machine.run(args);
    assert_eq!(ran.code, 6, "{args:?}: {}", ran.stderr);
    assert_eq!(machine.left(), before, "{args:?} changed something");
    for words in words {
        assert!(ran.stderr.contains(words), "{words} is not in {}", ran.stderr);
    }
    assert_eq!(removed(&ran).len(), LISTS, "{args:?}: {}", ran.stderr);
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.contains("; ") && last.contains("--allow-mass-delete"), "{last}");
    ran
}

#[test]
fn a_bundle_that_a_guard_refuses_shows_which_mails_would_go_and_ends_as_its_import_would() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    let bundle = dir.path().join("bundle.zst");
    without_lists(&desktop, &bundle);
    let bundle = text(&bundle);
    laptop.refuses(&["import", bundle], &[], 6, &["`mailsync import --dry-run -v`", "if that is meant"]);

    let words = [
        "from desktop is refused, and would bring: 0 new, 0 moved, 0 flagged, 120 removed",
        "mailsync:   Lists: 120 removed",
        "would be removed or moved elsewhere, which is refused without --allow-mass-delete",
    ];
    let looked = shows_all(&laptop, &["import", "--dry-run", "-v", bundle], &words);
    assert!(removed(&looked).iter().all(|line| line.contains("Bee List  digest ")), "{}", looked.stderr);

    let document = laptop.run(&["import", "--dry-run", "--list", "--json", bundle]);
    let json = document.json();
    assert_eq!((document.code, &json["exit_code"], &json["error"]["kind"]), (6, &6.into(), &"refused".into()));
    let [one] = &json["bundles"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((one["outcome"].as_str(), counts(one)), (Some("refused"), [0, 0, 0, 120]));
    let changes = json["changes"].as_array().unwrap();
    assert_eq!(changes.len(), LISTS);
    assert!(changes.iter().all(|change| change["what"] == "removed" && change["from"] != Value::Null), "{json}");

    // The same goes when it is meant.
    let listed = laptop.run(&["import", "--dry-run", "--list", bundle]);
    assert_eq!(listed.code, 6, "{}", listed.stderr);
    let meant = laptop.ok(&["import", "--allow-mass-delete", "--list", bundle]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), meant.text());
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_lies_beside_a_bundle_that_is_refused_is_told_as_it_then_comes() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&phone, &laptop);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    without_lists(&desktop, &stick.join("1.zst"));
    desktop.deliver("later");
    desktop.ok(&["export", "--to", "laptop", "--since-last", "-o", text(&stick.join("2.zst"))]);
    phone.deliver("from the phone");
    phone.ok(&["export", "--to", "laptop", "-o", text(&stick.join("3.zst"))]);
    let outcomes = |options: &[&str]| {
        let ran = laptop.run(&[&["import", "--json", text(&stick)], options].concat());
        assert_eq!(ran.code, 6, "{}", ran.stderr);
        let of = |bundle: &Value| (bundle["from"].clone(), bundle["number"].clone(), bundle["outcome"].clone());
        let mut outcomes: Vec<_> = ran.json()["bundles"].as_array().unwrap().iter().map(of).collect();
        outcomes.sort_by_key(|(.., outcome)| outcome.to_string());
        outcomes
    };
    let dry = outcomes(&["--dry-run"]);
    let words: Vec<&str> = dry.iter().map(|(.., outcome)| outcome.as_str().unwrap()).collect();
    assert_eq!(words, ["applied", "not-yet", "refused"]);
    assert_eq!(outcomes(&[]), dry);
    assert!(laptop.has("from the phone") && !laptop.has("later"));
    assert_eq!(laptop.mailbox().len(), LISTS + 2);
}

#[test]
fn two_refusals_in_one_directory_are_both_told() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&phone, &laptop);
    exchange(&laptop, &phone);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    without_lists(&desktop, &stick.join("1.zst"));
    without_lists(&phone, &stick.join("2.zst"));
    for options in [&["--dry-run"][..], &[]] {
        let ran = laptop.run(&[&["import", text(&stick)], options].concat());
        assert_eq!(ran.code, 6, "{}", ran.stderr);
        let refusals = ran.stderr.lines().filter(|line| line.contains("of the 120 messages in Lists would be"));
        assert_eq!(refusals.count(), 2, "{}", ran.stderr);
    }
    assert_eq!(laptop.mailbox().len(), LISTS + 1);
}

#[test]
fn a_scan_that_a_guard_refuses_shows_which_mails_have_vanished() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    let refused = ["`mailsync scan --dry-run -v` shows which", "mailsync restore Lists"];
    desktop.refuses(&["scan"], &[], 6, &refused);
    let words = [
        "would record: 0 new, 0 moved, 0 flagged, 120 removed",
        "mailsync:   Lists: 120 removed",
        "scanning: 120 of the 120 messages in Lists would be removed, which is refused without --allow-mass-delete",
    ];
    shows_all(&desktop, &["scan", "--dry-run", "-v"], &words);
    let ran = desktop.run(&["scan", "--dry-run", "--json", "--list"]);
    let json = ran.json();
    assert_eq!((ran.code, counts(&json), &json["error"]["kind"]), (6, [0, 0, 0, 120], &"refused".into()));
    assert_eq!(json["changes"].as_array().unwrap().len(), LISTS);

    // A command that scans by itself looks no further than it would go.
    let bundle = dir.path().join("bundle.zst");
    laptop.ok(&["export", "--to", "desktop", "--full", "-o", text(&bundle)]);
    let words = ["changes that would be found here first: 0 new, 0 moved, 0 flagged, 120 removed"];
    let ran = shows_all(&desktop, &["import", "--dry-run", "-v", text(&bundle)], &words);
    assert!(!ran.stderr.contains("from laptop"), "{}", ran.stderr);
    let ran = desktop.run(&["export", "--dry-run"]);
    complains(&ran, 6, &["mailsync scan --dry-run -v"]);

    // All of it has vanished.
    for item in fs::read_dir(&desktop.mail).unwrap() {
        let item = item.unwrap().path();
        if item.is_dir() { fs::remove_dir_all(item).unwrap() } else { fs::remove_file(item).unwrap() }
    }
    desktop.refuses(&["scan"], &[], 6, &["no Maildir is left in it", "mailsync scan --dry-run -v"]);
    let words = ["would record: 0 new, 0 moved, 0 flagged, 121 removed", "mailsync:   INBOX: 1 removed"];
    shows_all(&desktop, &["scan", "--dry-run", "-v"], &words);
}

#[test]
fn a_repair_and_another_mail_root_show_which_mails_they_would_take_for_removed() {
    let dir = scratch();
    let (mut desktop, _laptop) = with_lists(dir.path());
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    desktop.refuses(&["--quiet", "doctor", "--repair"], &[], 6, &["mailsync doctor --repair --dry-run -v"]);
    let words = ["mailsync:   Lists: 120 removed", "run `mailsync doctor --repair --allow-mass-delete`"];
    shows_all(&desktop, &["doctor", "--repair", "--dry-run", "-v"], &words);
    let ran = desktop.run(&["doctor", "--repair", "--dry-run", "-v", "--json"]);
    let json = ran.json();
    assert_eq!((ran.code, counts(&json["scan"])), (6, [0, 0, 0, 120]));
    assert_eq!(json["changes"].as_array().unwrap().len(), LISTS);

    let moved = dir.path().join("moved");
    fs::rename(&desktop.mail, &moved).unwrap();
    desktop.reconfigure(&[("mail_root", &format!("{:?}", text(&moved)))]);
    desktop.mail = moved;
    let refused = ["--quiet", "doctor", "--moved-root"];
    desktop.refuses(&refused, &[], 6, &["mailsync doctor --moved-root --dry-run -v"]);
    let words = ["mailsync:   Lists: 120 removed", "run `mailsync doctor --moved-root --allow-mass-delete`"];
    shows_all(&desktop, &["doctor", "--moved-root", "--dry-run", "-v"], &words);
    desktop.ok(&["doctor", "--moved-root", "--allow-mass-delete", "-v"]);
    assert_eq!(desktop.mailbox().len(), 1);
}
