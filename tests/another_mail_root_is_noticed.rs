//! Another mail root or another layout in `config.toml` than the state knows makes all mail look removed: so it is asked
//! about.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::machine::{Machine, counts, exchange, message, pair};
use crate::support::{make_folder, scratch};

const OPTION: &str = "mailsync doctor --moved-root";

fn quoted(path: &std::path::Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}

fn pair_with_mail(dir: &std::path::Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for subject in ["one", "two", "three"] {
        desktop.deliver(subject);
        desktop.put("Archive/2019", &format!("cur/{subject}:2,S"), message(&format!("old {subject}")), 1_500_000_000);
    }
    exchange(&desktop, &laptop);
    (desktop, laptop)
}

#[test]
fn nothing_is_done_in_a_mail_root_that_the_state_does_not_know() {
    let dir = scratch();
    let (mut desktop, laptop) = pair_with_mail(dir.path());
    let other = dir.path().join("other");
    make_folder(&other);
    fs::write(other.join("cur/8.o:2,"), "another").unwrap();
    desktop.reconfigure(&[("mail_root", &quoted(&other))]);
    let old = std::mem::replace(&mut desktop.mail, other);
    let commands: [&[&str]; 9] = [
        &["scan"],
        &["scan", "--allow-mass-delete"],
        &["export"],
        &["export", "--no-scan"],
        &["import"],
        &["restore", "--all"],
        &["purge"],
        &["doctor", "--repair"],
        &["invite", "phone"],
    ];
    for args in commands {
        let words = ["mail_root is", desktop.mail.to_str().unwrap(), old.to_str().unwrap(), OPTION];
        desktop.refuses(args, &[], 6, &words);
    }
    assert!(desktop.ok(&["status"]).stderr.contains(OPTION));
    // It is not the mail that was there before, however little that is.
    let words = ["6 of all 6 messages would be removed", "doctor --moved-root --allow-mass-delete"];
    desktop.refuses(&["--quiet", "doctor", "--moved-root"], &[], 6, &words);
    desktop.refuses(&["--quiet", "doctor", "--moved-root", "--dry-run"], &[], 6, &words);
    assert_eq!(laptop.mailbox().len(), 6);
    let report = desktop.ok(&["doctor", "--moved-root", "--allow-mass-delete", "--json"]).json()["scan"].clone();
    assert_eq!(counts(&report), [1, 0, 0, 6]);
    desktop.is_at_rest("in another mail root");
}

#[test]
fn mail_that_was_moved_is_found_where_it_is_said_to_be() {
    let dir = scratch();
    let (mut desktop, laptop) = pair_with_mail(dir.path());
    let mailbox = desktop.mailbox();
    let moved = dir.path().join("moved");
    fs::rename(&desktop.mail, &moved).unwrap();
    assert!(desktop.fails(&["scan"], 6).contains("correct mail_root"));
    desktop.reconfigure(&[("mail_root", &quoted(&moved))]);
    desktop.mail = moved;
    let before = desktop.left();
    assert_eq!(counts(&desktop.ok(&["doctor", "--moved-root", "-n", "--json"]).json()["scan"]), [0; 4]);
    assert_eq!(desktop.left(), before);
    assert_eq!(counts(&desktop.ok(&["doctor", "--moved-root", "--json"]).json()["scan"]), [0; 4]);
    desktop.deliver("new");
    exchange(&desktop, &laptop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    assert_eq!(desktop.mailbox().len(), mailbox.len() + 1);
    desktop.is_at_rest("after the move");
}

#[test]
fn another_path_to_the_same_directory_is_no_question() {
    let dir = scratch();
    let (mut desktop, _laptop) = pair_with_mail(dir.path());
    let link = dir.path().join("link");
    symlink(&desktop.mail, &link).unwrap();
    desktop.reconfigure(&[("mail_root", &quoted(&link))]);
    desktop.mail = fs::canonicalize(&link).unwrap();
    desktop.is_at_rest("behind a link");
}

#[test]
fn another_layout_is_noticed_and_taken_when_the_directories_follow() {
    let dir = scratch();
    let (desktop, laptop) = pair_with_mail(dir.path());
    let mailbox = desktop.mailbox();
    for (key, value, known) in [
        ("layout", "\"fs\"", "\"maildir++\""),
        ("folder_names", "\"utf-8\"", "\"utf-7\""),
        ("inbox_at_root", "false", "true"),
    ] {
        desktop.reconfigure(&[(key, value)]);
        let said = desktop.fails(&["scan"], 6);
        assert!(said.contains(&format!("{key} is ")) && said.contains(OPTION), "{said}");
        desktop.reconfigure(&[(key, known)]);
        desktop.ok(&["scan"]);
    }
    desktop.reconfigure(&[("layout", "\"fs\"")]);
    // The folders aren't called so yet.
    let words = ["3 of all 6 messages would be removed or moved elsewhere"];
    desktop.refuses(&["--quiet", "doctor", "--moved-root"], &[], 6, &words);
    fs::create_dir(desktop.mail.join("Archive")).unwrap();
    fs::rename(desktop.mail.join(".Archive.2019"), desktop.mail.join("Archive/2019")).unwrap();
    assert_eq!(counts(&desktop.ok(&["doctor", "--moved-root", "--json"]).json()["scan"]), [0; 4]);
    assert_eq!(desktop.mailbox(), mailbox);
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), mailbox);
    desktop.is_at_rest("under another layout");
}

#[test]
fn a_replica_that_has_joined_knows_its_mail_root_too() {
    let dir = scratch();
    let (desktop, _laptop) = pair_with_mail(dir.path());
    for holds_mail in [false, true] {
        let phone = Machine::new(dir.path(), &format!("phone-{holds_mail}"));
        if holds_mail {
            make_folder(&phone.mail);
            fs::write(phone.mail.join("cur/8.o:2,"), "of the phone").unwrap();
        }
        let invitation = desktop.ok(&["invite", &phone.name]).stdout;
        assert_eq!(phone.run_with(&["join", phone.mail.to_str().unwrap()], &invitation).code, 0);
        let other = dir.path().join("other");
        make_folder(&other);
        phone.reconfigure(&[("mail_root", &quoted(&other))]);
        assert!(phone.fails(&["scan"], 6).contains(OPTION));
    }
}
