//! A script can tell faults apart by the exit code, whichever command meets them: a name that nobody has is 2, a file that is
//! not there is 1, as is a replica that is not there; what was given in its place is no bundle is 4.

use std::fs;

use crate::support::machine::{Machine, pair};
use crate::support::{scratch, text};

/// The commands that take names, with one that nobody has.
const UNKNOWN_NAMES: &[&[&str]] = &[
    // Peers.
    &["export", "--to", "nobody"],
    &["export", "--to", "nobody", "--dry-run"],
    &["update", "nobody"],
    &["update", "nobody", "--jobs", "2"],
    &["uux", "nobody", "true"],
    &["peer", "rename", "nobody", "somebody"],
    &["peer", "remove", "nobody"],
    &["peer", "revoke", "nobody"],
    &["peer", "reinstate", "nobody"],
    &["undo", "--by", "nobody", "--since", "1d"],
    &["undo", "--by", "nobody", "--since", "1d", "--dry-run"],
    &["trash", "list", "--by", "nobody"],
    &["trash", "restore", "--by", "nobody"],
    &["log", "--peer", "nobody"],
    &["log", "--peer", "nobody", "--removed"],
    // Jobs.
    &["jobs", "show", "0123456789ab"],
    &["jobs", "retry", "0123456789ab"],
    &["jobs", "cancel", "0123456789ab"],
    &["jobs", "forget", "0123456789ab"],
    // Numbers in the trash.
    &["trash", "show", "4711"],
    &["trash", "restore", "4711"],
    &["trash", "restore", "4711", "--dry-run"],
    &["trash", "restore", "4711-4712"],
    // Folders.
    &["scan", "Nowhere"],
    &["scan", "Nowhere", "--dry-run"],
    &["restore", "Nowhere"],
    &["trash", "list", "--folder", "Nowhere"],
    &["trash", "restore", "--folder", "Nowhere"],
    &["log", "--folder", "Nowhere"],
    &["undo", "--by", "laptop", "--since", "1d", "--folder", "Nowhere"],
    // Messages.
    &["restore", "0123456789abcdef"],
    &["log", "--message", "0123456789abcdef"],
    &["log", "--message", "4711"],
    // What can't be a name at all.
    &["peer", "rename", "laptop", "a/b"],
    &["invite", "a/b"],
    &["export", "--to", ""],
    &["scan", "a//b"],
    &["jobs", "show", ""],
    &["jobs", "show", "not-hex"],
];

/// The commands that take files, where FILE isn't there.
const MISSING_FILES: &[&[&str]] = &[
    &["import", "FILE"],
    &["import", "FILE", "--dry-run"],
    &["inspect", "FILE"],
    &["verify", "FILE"],
    &["join", "FILE.root", "FILE"],
    &["import", "--code-file", "FILE"],
    &["inspect", "HERE", "--code-file", "FILE"],
    &["peer", "add", "somebody", "--key", "FILE"],
    &["invite", "somebody", "--key", "FILE"],
    &["export", "-o", "FILE/x.zst"],
    &["export", "-o", "FILE/"],
    &["invite", "somebody", "-o", "FILE/x.zst"],
    &["log", "--message", "FILE"],
    &["trash", "restore", "1", "--to", "FILE"],
    &["man", "FILE"],
    &["init", "FILE"],
];

/// The commands that need a replica.
const NEED_A_REPLICA: &[&[&str]] = &[
    &["invite", "somebody"],
    &["peer", "list"],
    &["peer", "add", "somebody", "--key", "KEY"],
    &["peer", "rename", "a", "b"],
    &["peer", "remove", "a"],
    &["peer", "revoke", "a"],
    &["peer", "reinstate", "a"],
    &["key", "show"],
    &["key", "rotate"],
    &["key", "passphrase"],
    &["scan"],
    &["export"],
    &["export", "--dry-run"],
    &["import", "HERE"],
    &["import"],
    &["update"],
    &["uux", "somebody", "true"],
    &["jobs", "list"],
    &["jobs", "show", "01"],
    &["jobs", "run"],
    &["jobs", "retry", "01"],
    &["jobs", "cancel", "01"],
    &["jobs", "forget", "01"],
    &["purge"],
    &["status"],
    &["log"],
    &["log", "--removed"],
    &["verify", "HERE"],
    &["restore", "INBOX"],
    &["trash", "list"],
    &["trash", "show", "1"],
    &["trash", "restore", "1"],
    &["undo", "--by", "a", "--since", "1d"],
    &["doctor"],
    &["doctor", "--repair"],
    &["doctor", "--new-identity"],
];

/// Runs all of them, and tells which don't end so.
#[track_caller]
fn end_with(machine: &Machine, all: &[&[&str]], code: i32, fill: impl Fn(&str) -> String) {
    let mut wrong = Vec::new();
    for args in all {
        let args: Vec<String> = args.iter().map(|arg| fill(arg)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for args in [args.clone(), [&args[..], &["--json"]].concat()] {
            // What is behind it is another program's; and a bundle has no place beside a document.
            let wants_document = args.last() == Some(&"--json");
            let writes =
                ["export", "invite"].contains(&args[0]) && !args.contains(&"-o") && !args.contains(&"--dry-run");
            if wants_document && (writes || args[0] == "uux") {
                continue;
            }
            let ran = machine.run(&args);
            let line = ran.stderr.lines().next_back().unwrap_or_default().to_owned();
            if ran.code != code || line.is_empty() {
                wrong.push(format!("{} -> {}: {line}", args.join(" "), ran.code));
            }
        }
    }
    assert!(wrong.is_empty(), "not {code}:\n{}", wrong.join("\n"));
}

#[test]
fn a_name_that_nobody_has_is_a_mistake_in_the_command_line() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.deliver("mail");
    desktop.ok(&["scan"]);
    let before = desktop.ok(&["status", "--json"]).json();
    let file = text(&dir.path().join("out.zst")).to_owned();
    end_with(&desktop, UNKNOWN_NAMES, 2, ToOwned::to_owned);
    assert!(!std::path::Path::new(&file).exists());
    assert_eq!(desktop.ok(&["status", "--json"]).json(), before);
}

#[test]
fn a_file_that_is_not_there_is_a_failure() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let here = dir.path().join("here.zst");
    laptop.ok(&["export", "--to", "desktop", "--plain", "-o", text(&here)]);
    let missing = dir.path().join("missing");
    let fill = |arg: &str| arg.replace("FILE", text(&missing)).replace("HERE", text(&here));
    let (join, others): (Vec<&[&str]>, Vec<&[&str]>) =
        MISSING_FILES.iter().partition(|args| ["join", "init"].contains(&args[0]));
    end_with(&desktop, &others, 1, fill);
    end_with(&Machine::new(dir.path(), "new"), &join, 1, fill);
    assert!(!missing.exists() && !dir.path().join("missing.root").exists());
}

#[test]
fn a_replica_that_is_not_there_is_a_failure() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let here = dir.path().join("here.zst");
    laptop.ok(&["export", "--to", "desktop", "--plain", "-o", text(&here)]);
    let nobody = Machine::new(dir.path(), "nobody");
    end_with(&nobody, NEED_A_REPLICA, 1, |arg| arg.replace("HERE", text(&here)).replace("KEY", &desktop.key()));
    assert!(!nobody.home.exists(), "nothing is made by a command that has no replica");
}

#[test]
fn what_is_no_bundle_is_rejected() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let junk = dir.path().join("junk.zst");
    fs::write(&junk, "junk").unwrap();
    let commands: &[&[&str]] = &[&["import"], &["import", "--dry-run"], &["inspect"], &["verify"]];
    let all: Vec<Vec<&str>> = commands.iter().map(|args| [args, &[text(&junk)][..]].concat()).collect();
    let all: Vec<&[&str]> = all.iter().map(|args| &args[..]).collect();
    end_with(&desktop, &all, 4, ToOwned::to_owned);
    end_with(
        &Machine::new(dir.path(), "new"),
        &[&["join", text(&dir.path().join("root")), text(&junk)]],
        4,
        ToOwned::to_owned,
    );
}
