//! The mail trees in `fixtures/`, one for each layout: whatever is in them arrives under the other layout as it was,
//! folder by folder, with bytes, flags and delivery dates, and comes back the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailsync::model::Digest;

use crate::support::machine::{Machine, Mailbox, assert_same, make_peers, pass};
use crate::support::{scratch, text};

const LAYOUTS: [&str; 2] = ["fs", "maildir++"];

/// Whether this is a package, which can't hold the fixtures: cargo refuses their names. A line says so.
fn is_packaged() -> bool {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").exists();
    if packaged {
        println!("left out, since a package doesn't hold the fixtures");
    }
    packaged
}

/// A machine, not yet a replica, whose mail root is a copy of this fixture. Git keeps no times: the delivery date is
/// what the file's name begins with, plus a fraction of a second that must travel too.
fn machine_with(fixture: &str, dir: &Path, name: &str) -> Machine {
    let machine = Machine::new(dir, name);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
    for item in walkdir::WalkDir::new(&fixture).min_depth(1).into_iter().map(Result::unwrap) {
        let copy = machine.mail.join(item.path().strip_prefix(&fixture).unwrap());
        if item.file_type().is_dir() {
            fs::create_dir(copy).unwrap();
        } else if item.file_name() != ".gitkeep" {
            fs::copy(item.path(), &copy).unwrap();
            if let Some(date) = delivery_date(item.file_name().as_bytes()) {
                fs::File::options().write(true).open(copy).unwrap().set_modified(date).unwrap();
            }
        }
    }
    machine
}

fn delivery_date(name: &[u8]) -> Option<SystemTime> {
    let seconds: u64 = std::str::from_utf8(name).ok()?.split_once('.')?.0.parse().ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, 123_456_789))
}

#[test]
fn each_tree_arrives_whole_under_each_layout_and_comes_back() {
    if is_packaged() {
        return;
    }
    for from in LAYOUTS {
        for to in LAYOUTS {
            let dir = scratch();
            let (desktop, laptop) = (machine_with(from, dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
            desktop.init();
            laptop.init_as(to);
            assert_eq!(desktop.config().layout.as_str(), from, "init finds out the layout");
            make_peers(&desktop, &laptop);
            let (before, folders) = (desktop.mailbox(), desktop.folders());
            let untouched = desktop.everything();

            pass(&desktop, &laptop);
            let what = format!("from {from} to {to}");
            assert_same(&laptop.mailbox(), &before, &what);
            assert_eq!(laptop.folders(), folders, "{what}");

            pass(&laptop, &desktop);
            assert_eq!(desktop.everything(), untouched, "{what}: nothing is left to do over there");

            // A third replica gets it from the second: what has been through the other layout is still the same.
            let third = Machine::new(dir.path(), "third");
            third.init_as(from);
            make_peers(&laptop, &third);
            pass(&laptop, &third);
            assert_same(&third.mailbox(), &before, &format!("{what} and back"));
            assert_eq!(third.folders(), folders, "{what} and back");
        }
    }
}

#[test]
fn two_copies_that_grew_apart_become_one_mailbox() {
    if is_packaged() {
        return;
    }
    let dir = scratch();
    let (desktop, server) =
        (machine_with("fs", dir.path(), "desktop"), machine_with("maildir++", dir.path(), "server"));
    desktop.init();
    server.init();
    make_peers(&desktop, &server);
    let wanted = united(&desktop.mailbox(), &server.mailbox());

    pass(&desktop, &server);
    pass(&server, &desktop);

    assert_same(&desktop.mailbox(), &wanted, "desktop");
    assert_same(&server.mailbox(), &wanted, "server");
    assert_eq!(desktop.folders(), server.folders());
    let (at_desktop, at_server) = (desktop.everything(), server.everything());
    pass(&desktop, &server);
    pass(&server, &desktop);
    assert_eq!((desktop.everything(), server.everything()), (at_desktop, at_server), "nothing is left to do");
}

/// What both hold, each message of a folder as often as the one that has it more often, with the flags of both.
fn united(one: &Mailbox, other: &Mailbox) -> Mailbox {
    let mut all = Mailbox::new();
    for digest in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        let mut copies = BTreeMap::new();
        for mailbox in [one, other] {
            let mut seen = BTreeMap::new();
            for mail in mailbox.get(digest).into_iter().flatten() {
                let ordinal = seen.entry(&mail.folder).and_modify(|count| *count += 1).or_insert(0);
                let copy = copies.entry((&mail.folder, *ordinal)).or_insert_with(|| mail.clone());
                copy.flags = united_flags(&copy.flags, &mail.flags);
            }
        }
        all.insert(*digest, copies.into_values().collect());
    }
    all
}

/// The letters of both, and the keywords of both.
fn united_flags(one: &str, other: &str) -> String {
    let parts = [one, other].map(|flags| flags.split_once(' ').unwrap_or((flags, "")));
    let letters: BTreeSet<char> = parts.iter().flat_map(|(letters, _)| letters.chars()).collect();
    let keywords: BTreeSet<&str> = parts.iter().flat_map(|(_, keywords)| keywords.split_whitespace()).collect();
    letters.into_iter().collect::<String>() + &keywords.into_iter().flat_map(|name| [" ", name]).collect::<String>()
}

#[test]
fn the_fixtures_hold_what_they_are_meant_to() {
    if is_packaged() {
        return;
    }
    let dir = scratch();
    for fixture in LAYOUTS {
        let machine = machine_with(fixture, dir.path(), if fixture == "fs" { "desktop" } else { "server" });
        machine.init();
        let mailbox = machine.mailbox();
        let mails: Vec<_> = mailbox.values().flatten().collect();
        let has =
            |letters: &str| machine.files().iter().any(|(.., path)| text(path).ends_with(&format!(":2,{letters}")));
        for letters in ["", "S", "DFPRST", "Sa", "ab"] {
            assert!(has(letters), "{fixture}: {letters:?}");
        }
        assert!(mails.iter().any(|mail| mail.recent && !mail.flags.is_empty()), "{fixture}: an info in new/");
        let twice = |same_folder: bool| {
            mailbox.values().any(|copies| copies.len() == 2 && (copies[0].folder == copies[1].folder) == same_folder)
        };
        assert!(twice(true) && twice(false), "{fixture}: duplicates");
        for folder in ["INBOX", "Empty", "Entwürfe", "Projekte/Übung", "メモ", "House & garden", "Lists/bees/weekly"]
        {
            assert!(machine.folders().iter().any(|name| name == folder), "{fixture}: {folder}");
        }
        let contents: Vec<Vec<u8>> = machine.everything().into_values().filter_map(|(contents, _)| contents).collect();
        assert!(mailbox.contains_key(&Digest::of(b"")), "{fixture}: no bytes at all");
        assert!(contents.iter().any(|bytes| bytes.len() >= 1 << 20), "{fixture}: 1 MiB");
        assert!(contents.iter().any(|bytes| bytes.windows(2).any(|pair| pair == b"\r\n")), "{fixture}: CRLF");
    }
}
