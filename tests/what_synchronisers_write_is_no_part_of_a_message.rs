//! mbsync writes a header line with a random value into each of its copies. Copies that differ in nothing else are one
//! message: no mailbox gets it twice, no bundle carries the line, and a file keeps its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mailsync::bundle::RecordSpool;
use mailsync::model::{Digest, Entry, EntryId, FlagSet, FolderName, FolderState, Mtime, Origin, Stamp, StateDigest};

use crate::support::bundles::{Full, INCARNATION, clock, jobs_of_bundle};
use crate::support::machine::{Machine, counts, make_peers, pair, pass};
use crate::support::{names, scratch, text};

/// A message's file, with a synchroniser's line of this value; without a value, the message itself.
fn copy(name: &str, value: Option<&str>) -> String {
    let line = value.map_or_else(String::new, |value| format!("X-TUID: {value}\n"));
    format!("From: ann@example.org\nSubject: {name}\n{line}\nX-TUID: of the body of {name}\n")
}

fn bytes(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    machine.files().into_iter().map(|(_, _, path)| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The only file of a folder.
fn only_file(machine: &Machine, folder: &str) -> PathBuf {
    let files: Vec<_> = machine.files().into_iter().filter(|(_, mail, _)| mail.folder == folder).collect();
    let [(_, _, path)] = &files[..] else { panic!("{} has other files in {folder}: {files:?}", machine.name) };
    path.clone()
}

/// A file holds this, and if its name tells a size, that is its size.
#[track_caller]
fn assert_holds(path: &Path, contents: &str, tells_size: bool) {
    assert_eq!(fs::read_to_string(path).unwrap(), contents, "{}", path.display());
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(name.contains(&format!(",S={}", contents.len())), tells_size, "{name}");
    assert_eq!(name.contains(",S="), tells_size, "{name}");
}

#[test]
fn two_mailboxes_with_copies_of_the_same_mail_meet_without_doubling() {
    let dir = scratch();
    let (desktop, laptop) = (Machine::new(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    for (machine, value) in [(&desktop, "aaaaaaaaaaaa"), (&laptop, "bbbbbbbbbbbb")] {
        fs::create_dir_all(machine.mail.join("cur")).unwrap();
        fs::create_dir_all(machine.mail.join("new")).unwrap();
        fs::create_dir_all(machine.mail.join("tmp")).unwrap();
        machine.init();
        for n in 0..5 {
            machine.put(
                "INBOX",
                &format!("cur/{value}.{n}:2,S"),
                copy(&format!("mail {n}"), Some(value)),
                1_600_000_000,
            );
        }
        machine.put("Lists", "new/1", copy("of the list", Some(value)), 1_600_000_000);
    }
    // The one has a copy from before any synchroniser as well as another one's: then there are two here and there.
    desktop.put("INBOX", "cur/own:2,S", copy("mail 0", None), 1_600_000_000);
    make_peers(&desktop, &laptop);
    let before = [bytes(&desktop), bytes(&laptop)];
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    assert_eq!(bytes(&desktop), before[0], "every file is as it was");
    let after = bytes(&laptop);
    assert_eq!(after.len(), 7);
    assert!(before[1].iter().all(|(path, contents)| after.get(path) == Some(contents)));
    for _ in 0..3 {
        let report = pass(&desktop, &laptop).stderr + &pass(&laptop, &desktop).stderr;
        assert_eq!(report.matches("nothing new").count(), 2, "{report}");
        for machine in [&desktop, &laptop] {
            machine.is_at_rest("after a round");
            assert_eq!(counts(&machine.ok(&["scan", "--deep", "--json"]).json()), [0; 4], "{}", machine.name);
        }
    }
    assert_eq!(bytes(&laptop), after);

    // A synchroniser that writes its line into a file again, or takes it out, has changed nothing.
    let file = fs::read_dir(laptop.mail.join("cur")).unwrap().next().unwrap().unwrap().path();
    let contents = fs::read_to_string(&file).unwrap();
    for changed in [contents.replace("bbbbbbbbbbbb", "another"), contents.replace("X-TUID: bbbbbbbbbbbb\n", "")] {
        fs::write(&file, changed).unwrap();
        assert_eq!(counts(&laptop.ok(&["scan", "--deep", "--json"]).json()), [0; 4]);
    }
    // One that writes something else has.
    fs::write(&file, contents.replace("From: ann", "From: ben")).unwrap();
    assert_eq!(counts(&laptop.ok(&["scan", "--deep", "--json"]).json()), [1, 0, 0, 1]);
}

#[test]
fn bundles_carry_messages_without_the_line_and_a_new_file_has_the_size_that_its_name_tells() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let long = "a line of a long message\n".repeat(60_000);
    let of_long = |value| copy("long", value) + &long;
    desktop.put("INBOX", "cur/1:2,", copy("short", Some("aaaaaaaaaaaa")), 1_600_000_000);
    desktop.put("Long", "cur/1:2,", of_long(Some("aaaaaaaaaaaa\n folded")), 1_600_000_000);
    // A small message in a large file.
    let value = "b".repeat(2 << 20);
    desktop.put("Odd", "cur/1:2,", copy("odd", Some(&value)), 1_600_000_000);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let (_, mut carried) = jobs_of_bundle(&bundle, &desktop.public_key());
    carried.sort();
    let mut wanted = [copy("short", None), of_long(None), copy("odd", None)].map(String::into_bytes);
    wanted.sort();
    assert!(carried == wanted, "the bundle carries {} other messages", carried.len());
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    assert_holds(&only_file(&laptop, "INBOX"), &copy("short", None), true);
    assert_holds(&only_file(&laptop, "Long"), &of_long(None), true);
    assert_holds(&only_file(&laptop, "Odd"), &copy("odd", None), true);
    assert_eq!(laptop.ok(&["status", "--json"]).json()["bytes"], desktop.ok(&["status", "--json"]).json()["bytes"]);

    // Other flags leave the file as it is.
    let file = only_file(&laptop, "INBOX");
    fs::rename(&file, text(&file).replace(":2,", ":2,F")).unwrap();
    pass(&laptop, &desktop);
    let marked = only_file(&desktop, "INBOX");
    assert!(marked.ends_with("cur/1:2,F"), "{}", marked.display());
    assert_holds(&marked, &copy("short", Some("aaaaaaaaaaaa")), false);

    // In another folder it gets a name that tells its size, and has it.
    for folder in ["INBOX", "Long"] {
        let file = only_file(&laptop, folder);
        laptop.put("Archive", &format!("cur/{folder}:2,F"), "", 1);
        fs::rename(&file, laptop.dir("Archive").join(format!("cur/{folder}:2,F"))).unwrap();
    }
    assert!(pass(&laptop, &desktop).stderr.contains("2 moved"));
    assert_eq!(names(&desktop.dir("INBOX").join("cur")), [""; 0]);
    let mut moved: Vec<String> = Vec::new();
    for (path, contents) in bytes(&desktop).into_iter().filter(|(path, _)| path.starts_with(desktop.dir("Archive"))) {
        let contents = String::from_utf8(contents).unwrap();
        assert_holds(&path, &contents, true);
        moved.push(contents);
    }
    moved.sort_by_key(String::len);
    assert!(moved == [copy("short", None), of_long(None)], "{} other messages were moved", moved.len());
    for machine in [&desktop, &laptop] {
        machine.is_at_rest("after the move");
        assert_eq!(counts(&machine.ok(&["scan", "--deep", "--json"]).json()), [0; 4]);
    }
}

#[test]
fn the_trash_keeps_the_file_and_gives_the_message_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/1:2,", copy("one", Some("aaaaaaaaaaaa")), 1_600_000_000);
    pass(&desktop, &laptop);
    fs::remove_file(only_file(&laptop, "INBOX")).unwrap();
    pass(&laptop, &desktop);
    assert_eq!(bytes(&desktop), BTreeMap::new());
    let item = desktop.ok(&["trash", "list", "--json"]).json()["trash"][0].clone();
    assert_eq!(fs::read_to_string(item["file"].as_str().unwrap()).unwrap(), copy("one", Some("aaaaaaaaaaaa")));
    // What a bundle doesn't bring is found there: by the laptop's undoing, and by the desktop's own.
    desktop.ok(&["trash", "restore", &item["id"].to_string()]);
    assert_holds(&only_file(&desktop, "INBOX"), &copy("one", None), true);
    pass(&desktop, &laptop);
    assert_holds(&only_file(&laptop, "INBOX"), &copy("one", None), true);
    for machine in [&desktop, &laptop] {
        machine.is_at_rest("after all");
    }
}

#[test]
fn a_message_that_is_here_already_is_copied_from_its_file_without_the_line() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.put("Here", "cur/1:2,", copy("one", Some("bbbbbbbbbbbb")), 1_600_000_000);
    let bundle = bundle_with(&desktop, copy("one", None).as_bytes(), &[]);
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    assert_holds(&only_file(&laptop, "INBOX"), &copy("one", None), true);
    assert_holds(&only_file(&laptop, "Here"), &copy("one", Some("bbbbbbbbbbbb")), false);
    laptop.is_at_rest("with the copy");
}

/// A full bundle with one entry in the INBOX, of a message of these bytes, and what it carries of it.
fn bundle_with(sender: &Machine, contents: &[u8], carried: &[&[u8]]) -> Vec<u8> {
    let dir = scratch();
    let stamp = Stamp { clock: clock(), incarnation: INCARNATION };
    let inbox = FolderName::inbox();
    let id = EntryId { digest: Digest::of(contents), birth: inbox.clone(), ordinal: 0 };
    let (origin, mtime) = (Origin::Delivery, Mtime::new(1_600_000_000, 0));
    let entry = Entry::delivered(None, origin, stamp, inbox.clone(), &FlagSet::new(), contents.len() as u64, mtime);
    let mut records = RecordSpool::new(&mailsync::disk::RealDisk, dir.path());
    let mut state_digest = StateDigest::default();
    records.folder(&inbox, FolderState { stamp, present: true }).unwrap();
    state_digest.add(b"folder\0INBOX");
    records.entry(&id, &entry).unwrap();
    state_digest.add(&entry.canonical(&id));
    let carried: Vec<_> = carried.iter().map(|&contents| (contents, mtime)).collect();
    Full { records, state_digest, jobs: &[], known: &[], contents: &carried }.written(&sender.private_key(), "desktop")
}

#[test]
fn a_bundle_that_carries_the_line_is_refused() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let long = "a line of a long message\n".repeat(60_000);
    for body in ["short", &long] {
        let marked = copy("one", Some("aaaaaaaaaaaa")) + body;
        let marked = bundle_with(&desktop, marked.as_bytes(), &[marked.as_bytes()]);
        for args in [&["import"][..], &["import", "--dry-run"]] {
            laptop.refuses(args, &marked, 4, &["header line of a synchroniser"]);
        }
    }
    assert_eq!(bytes(&laptop), BTreeMap::new());
    // The same without it is taken.
    let good = copy("one", None);
    let good = bundle_with(&desktop, good.as_bytes(), &[good.as_bytes()]);
    assert_eq!(laptop.run_with(&["import"], &good).code, 0);
    assert_holds(&only_file(&laptop, "INBOX"), &copy("one", None), true);
}
