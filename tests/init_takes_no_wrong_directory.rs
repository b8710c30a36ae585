//! `init` and `join` say what they found, and refuse a directory that is evidently not the mail root that is meant.

use std::fs;
use std::path::Path;

use crate::support::machine::{Machine, complains, message};
use crate::support::programs::{Ran, run};
use crate::support::{make_folder, names, scratch, text};

/// Runs `init` with this home directory of its user.
fn init(machine: &Machine, user: &Path, root: &Path, more: &[&str]) -> Ran {
    let args = [&["init", text(root), "--name", &machine.name][..], more].concat();
    run(machine.command(&args).env("HOME", user).env_remove("XDG_CONFIG_HOME"))
}

#[test]
fn init_lists_the_folders_that_it_found() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "laptop");
    for (folder, count) in [("", 2), (".Sent", 1), (".Lists.debian", 0)] {
        make_folder(&machine.mail.join(folder));
        for number in 0..count {
            let name = format!("cur/{number}:2,S");
            fs::write(machine.mail.join(folder).join(name), message(&format!("{folder} {number}"))).unwrap();
        }
    }
    let other = Machine { home: dir.path().join("other"), ..machine.clone() };
    let told = machine.init().stderr;
    let told: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    for line in [["INBOX", "2"], ["Lists/debian", "0"], ["Sent", "1"]] {
        assert!(told.iter().any(|found| found[..] == line), "{line:?} in {told:?}");
    }
    let told = other.ok(&["init", text(&other.mail), "--name", "other", "--json", "--anyway"]).json();
    let folders = told["folders"].as_array().unwrap().iter();
    let folders: Vec<_> =
        folders.map(|one| (one["name"].as_str().unwrap(), one["entries"].as_u64().unwrap())).collect();
    assert_eq!(folders, [("INBOX", 2), ("Lists/debian", 0), ("Sent", 1)]);
}

#[test]
fn a_directory_that_is_evidently_the_wrong_one_is_refused_unless_it_is_said_to_be_right() {
    type Names = &'static [&'static str];
    /// What it is about, the folders that are there, the mail root, options, and the words.
    type Case = (&'static str, Names, &'static str, Names, Names);
    let cases: &[Case] = &[
        ("the home directory", &["Maildir", "Maildir/.Sent"], "", &[], &["Maildir", "give "]),
        (
            "a directory around it",
            &["a/Maildir", "a/Maildir/.Sent"],
            "a",
            &[],
            &["the Maildir with folders", "a/Maildir"],
        ),
        ("a home with several", &["Mail/INBOX", "Mail/Sent"], "", &[], &["holds more than mail"]),
        ("a subfolder", &["Maildir", "Maildir/.Sent"], "Maildir/.Sent", &[], &["a part of the Maildir", "give "]),
        ("a nested one", &["Mail/a", "Mail/a/b"], "Mail/a/b", &[], &["a part of the Maildir"]),
        ("a part of a folder", &["Maildir"], "Maildir/cur", &[], &["a part of the Maildir"]),
        (
            "dots for nested",
            &["Maildir", "Maildir/.a", "Maildir/.b"],
            "Maildir",
            &["--layout", "fs"],
            &["--layout maildir++"],
        ),
        ("nested for dots", &["Mail/a", "Mail/b"], "Mail", &["--layout", "maildir++"], &["--layout fs"]),
    ];
    for (case, dirs, root, more, words) in cases {
        let dir = scratch();
        let user = fs::canonicalize(dir.path()).unwrap().join("me");
        for one in *dirs {
            make_folder(&user.join(one));
        }
        let machine = Machine { name: "laptop".into(), mail: user.join(root), home: dir.path().join("home") };
        let before = machine.everything();
        let ran = init(&machine, &user, &machine.mail, more);
        println!("{case}: {}", ran.stderr);
        complains(&ran, 6, words);
        assert!(ran.stderr.contains("--anyway"), "{case}");
        assert_eq!(machine.everything(), before, "{case}");
        assert!(!machine.home.join("config.toml").exists(), "{case}");
        // Whoever has looked may have it.
        let allowed = init(&machine, &user, &machine.mail, &[more, &["--anyway"][..]].concat());
        assert!(allowed.code != 6, "{case}: {allowed:?}");
    }
}

#[test]
fn the_root_of_all_is_refused() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "laptop");
    let ran = init(&machine, dir.path(), Path::new("/"), &[]);
    complains(&ran, 6, &["holds more than mail", "--anyway"]);
    assert!(!machine.home.join("config.toml").exists() && !Path::new("/.mailsync").exists());
}

#[test]
fn usual_mail_roots_are_taken_without_a_word() {
    for (case, dirs, root, more) in [
        ("an empty one", &["Maildir/tmp"][..], "Maildir/tmp", &[][..]),
        ("Maildir++", &["Maildir", "Maildir/.Sent", "Maildir/.a.b"], "Maildir", &[]),
        ("nested", &["Mail/INBOX", "Mail/a/b", "Mail/a"], "Mail", &[]),
        ("nested, as asked for", &["Mail/INBOX", "Mail/a/b", "Mail/a"], "Mail", &["--layout", "fs"]),
        ("one Maildir beside others", &["Mail/INBOX", "Mail/a"], "Mail/INBOX", &[]),
        ("a home that is a Maildir", &["", ".Sent"], "", &[]),
        ("hidden", &[".mail", ".mail/.Sent"], ".mail", &[]),
    ] {
        let dir = scratch();
        let user = fs::canonicalize(dir.path()).unwrap().join("me");
        for one in dirs {
            make_folder(&user.join(one.trim_end_matches("/tmp")));
        }
        let root = if case == "an empty one" { user.join("empty") } else { user.join(root) };
        fs::create_dir_all(&root).unwrap();
        let machine = Machine { name: "laptop".into(), mail: root.clone(), home: dir.path().join("home") };
        let ran = init(&machine, &user, &root, more);
        assert_eq!(ran.code, 0, "{case}: {}", ran.stderr);
        assert!(!ran.stderr.contains("note:"), "{case}: {}", ran.stderr);
    }
}

#[test]
fn another_replicas_mail_root_is_refused_and_so_is_one_in_it_or_around_it() {
    let dir = scratch();
    let top = fs::canonicalize(dir.path()).unwrap();
    for folder in ["Mail/a/INBOX", "Mail/a/Work", "Mail/a/Work/sub", "Mail/b/INBOX"] {
        make_folder(&top.join(folder));
    }
    let first = Machine { name: "first".into(), mail: top.join("Mail/a"), home: top.join("first") };
    first.init_as("fs");
    let second = |root: &str| Machine { name: "second".into(), mail: top.join(root), home: top.join("second") };
    for root in ["Mail/a", "Mail", "Mail/a/INBOX"] {
        let machine = second(root);
        let ran = init(&machine, &top.join("nobody"), &machine.mail, &[]);
        complains(&ran, 6, &["mail root of the replica", "first/config.toml", "--anyway"]);
    }
    let invitation = first.ok(&["invite", "second"]).stdout;
    let machine = second("Mail/a");
    let ran = machine.run_with(&["join", text(&machine.mail)], &invitation);
    complains(&ran, 6, &["mail root of the replica", "first/config.toml"]);
    // One beside it is nobody's.
    let machine = second("Mail/b");
    assert_eq!(init(&machine, &top.join("nobody"), &machine.mail, &[]).code, 0);
    // A replica that has lost its state, and one that is no more, are in nobody's way.
    fs::remove_file(first.home.join("state.db")).unwrap();
    assert_eq!(first.run(&["init", text(&first.mail), "--name", "first"]).code, 0);
    fs::rename(&first.home, top.join("away")).unwrap();
    let third = Machine { name: "third".into(), mail: top.join("Mail/a"), home: top.join("third") };
    third.ok(&["init", text(&third.mail), "--name", "third"]);
    assert!(names(&third.mail).contains(&String::from(".mailsync")));
}
