//! What the configuration ignores is not looked at: it is no folder, and a folder of that name is not removed by it.

use std::fs;

use crate::support::machine::{Machine, exchange, make_peers, message, pair};
use crate::support::{make_folder, names, scratch};

#[test]
fn directories_of_file_systems_synchronisers_and_desktops_are_no_folders() {
    for layout in ["fs", "maildir++"] {
        let dir = scratch();
        let machine = Machine::new(dir.path(), "laptop");
        make_folder(&machine.mail.join(if layout == "fs" { "INBOX" } else { "" }));
        let others = ["lost+found", ".stversions", ".stversions/INBOX", ".Trash-1000", ".snapshots/1/snapshot"];
        for name in others {
            make_folder(&machine.mail.join(name));
            fs::write(machine.mail.join(name).join("cur/1.old:2,S"), message("old")).unwrap();
        }
        make_folder(&machine.mail.join(".Trash-old"));
        machine.init_as(layout);
        let folder = if layout == "fs" { ".Trash-old" } else { "Trash-old" };
        let mut expected = [folder, "INBOX"];
        expected.sort_unstable();
        assert_eq!(machine.folders(), expected);
        assert_eq!(machine.ok(&["status", "--json"]).json()["entries"], 0);
        machine.is_at_rest("with others' directories");
    }
}

#[test]
fn a_folder_that_is_ignored_is_neither_removed_nor_forgotten() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for (folder, subject) in [("Spam", "one"), ("Spam/old", "two"), ("Lists/a", "three"), ("INBOX", "four")] {
        desktop.put(folder, &format!("cur/{subject}:2,S"), message(subject), 1_600_000_000);
    }
    exchange(&desktop, &laptop);
    laptop.reconfigure(&[("ignore", "[\"Spam\", \"Lists/*\"]")]);
    // Whatever happens in them.
    fs::remove_dir_all(laptop.dir("Spam")).unwrap();
    fs::remove_file(fs::read_dir(laptop.dir("Lists/a").join("cur")).unwrap().next().unwrap().unwrap().path()).unwrap();
    make_folder(&laptop.dir("Lists/new"));
    exchange(&laptop, &desktop);
    assert_eq!(desktop.folders(), ["INBOX", "Lists/a", "Spam", "Spam/old"]);
    assert_eq!(desktop.mailbox().len(), 4);
    laptop.is_at_rest("with ignored folders");
    // They are looked at again when they are not ignored any more, although no directory has changed since.
    laptop.ok(&["scan"]);
    laptop.reconfigure(&[("ignore", "[]")]);
    let report = laptop.ok(&["scan", "--json"]).json();
    assert_eq!((&report["folders_made"], &report["folders_removed"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(report["removed"], 2, "{report}");
    assert_eq!(laptop.folders(), ["INBOX", "Lists/a", "Lists/new", "Spam/old"]);
}

#[test]
fn a_folder_of_an_ignored_name_that_comes_from_elsewhere_gets_a_directory_that_is_looked_at() {
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    laptop.init_as("fs");
    make_peers(&desktop, &laptop);
    desktop.reconfigure(&[("ignore", "[]")]);
    fs::create_dir(laptop.mail.join("lost+found")).unwrap();
    desktop.put("lost+found", "cur/1:2,S", message("one"), 1_600_000_000);
    exchange(&desktop, &laptop);
    assert_eq!(names(&laptop.mail), [".mailsync", "INBOX", "lost%2bfound~", "lost+found"]);
    assert!(names(&laptop.mail.join("lost+found")).is_empty());
    fs::write(laptop.mail.join("lost%2bfound~/cur/2:2,S"), message("two")).unwrap();
    exchange(&laptop, &desktop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    assert_eq!(desktop.mailbox().len(), 2);
    laptop.is_at_rest("with another directory");
}

#[test]
fn what_is_no_pattern_is_told() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "laptop");
    machine.reconfigure(&[("ignore", "[\"[\"]")]);
    let line = machine.fails(&["scan"], 2);
    assert!(line.contains("config.toml") && line.contains("ignore") && line.contains("\"[\""), "{line}");
}
