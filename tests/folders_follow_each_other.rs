//! What is done to folders and to messages in them on one machine is so on the other, whatever their layouts and names.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mailsync::model::Digest;

use crate::support::machine::{Machine, exchange, make_peers, pair, pass};
use crate::support::{make_folder, scratch};

/// Two replicas that know each other, one of each layout.
fn unlike(dir: &Path) -> (Machine, Machine) {
    let (server, laptop) = (Machine::new(dir, "server"), Machine::new(dir, "laptop"));
    server.init_as("maildir++");
    laptop.init_as("fs");
    make_peers(&server, &laptop);
    (server, laptop)
}

/// Exchanges both ways, twice: the second time there is nothing left to do.
#[track_caller]
fn settle(one: &Machine, other: &Machine) {
    exchange(one, other);
    pass(other, one);
    assert_eq!(one.mailbox(), other.mailbox());
    assert_eq!(one.folders(), other.folders());
    for machine in [one, other] {
        machine.is_at_rest("after an exchange");
    }
}

/// The counts of the next bundle for the other machine, and the bundle.
fn next_bundle(from: &Machine, to: &Machine) -> (BTreeMap<String, u64>, Vec<u8>) {
    let bundle = from.ok(&["export", "--to", &to.name]).stdout;
    let counts = from.run_with(&["inspect", "-", "--json"], &bundle).json()["bundles"][0]["manifest"]["counts"].clone();
    let counts = counts.as_object().unwrap().iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap()));
    (counts.collect(), bundle)
}

fn is_folder(dir: &Path) -> bool {
    ["tmp", "new", "cur"].iter().all(|sub| dir.join(sub).is_dir())
}

#[test]
fn a_folder_that_is_made_here_is_made_there_even_if_it_is_empty() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    make_folder(&server.mail.join(".Archive.2019"));
    make_folder(&laptop.mail.join("Work/Projects"));
    settle(&server, &laptop);
    assert_eq!(server.folders(), ["Archive/2019", "INBOX", "Work/Projects"]);
    assert!(is_folder(&laptop.mail.join("Archive/2019")) && is_folder(&server.mail.join(".Work.Projects")));
    assert!(server.mail.join(".Work.Projects/maildirfolder").exists());
    // What lies above a folder is none by that.
    assert!(!laptop.mail.join("Archive/cur").exists() && !server.mail.join(".Work").exists());
}

#[test]
fn a_folder_that_is_emptied_stays_and_one_that_is_removed_goes() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    for folder in ["Emptied", "Removed", "Removed/Below"] {
        server.put(folder, "cur/1:2,S", format!("in {folder}"), 1);
    }
    settle(&server, &laptop);
    fs::remove_file(server.dir("Emptied").join("cur/1:2,S")).unwrap();
    fs::remove_dir_all(server.dir("Removed")).unwrap();
    // Each is listed once, however few hold mail.
    server.ok(&["scan"]);
    assert_eq!(server.folders(), ["Emptied", "INBOX", "Removed/Below"]);
    settle(&server, &laptop);
    assert_eq!(laptop.folders(), ["Emptied", "INBOX", "Removed/Below"]);
    assert!(is_folder(&laptop.mail.join("Emptied")) && is_folder(&laptop.mail.join("Removed/Below")));
    assert!(!laptop.mail.join("Removed/cur").exists());
    fs::remove_dir_all(laptop.mail.join("Removed")).unwrap();
    settle(&server, &laptop);
    assert_eq!(server.folders(), ["Emptied", "INBOX"]);
    assert!(!server.mail.join(".Removed.Below").exists());
    // It may come back.
    make_folder(&laptop.mail.join("Removed"));
    settle(&server, &laptop);
    assert!(is_folder(&server.mail.join(".Removed")));
}

#[test]
fn a_removed_folder_stays_where_something_came_into_it_meanwhile() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    server.put("Work", "cur/1:2,S", "old", 1);
    settle(&server, &laptop);
    fs::remove_dir_all(server.dir("Work")).unwrap();
    let new = laptop.put("Work", "new/2", "just came", 2);
    pass(&server, &laptop);
    assert!(new.exists());
    settle(&server, &laptop);
    assert_eq!(server.mailbox().len(), 1);
    assert_eq!(server.mailbox()[&Digest::of(b"just came")][0].folder, "Work");
    assert!(is_folder(&server.dir("Work")));
}

#[test]
fn what_is_not_mail_stays_in_a_removed_folder() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    server.put("Work", "cur/1:2,S", "old", 1);
    settle(&server, &laptop);
    fs::write(laptop.mail.join("Work/.notes"), "mine").unwrap();
    fs::write(laptop.mail.join("Work/tmp/being-delivered"), "half").unwrap();
    fs::remove_dir_all(server.dir("Work")).unwrap();
    settle(&server, &laptop);
    assert_eq!(fs::read_to_string(laptop.mail.join("Work/.notes")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(laptop.mail.join("Work/tmp/being-delivered")).unwrap(), "half");
    assert_eq!(laptop.folders(), ["INBOX"]);
}

#[test]
fn the_inbox_is_never_removed() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    make_folder(&laptop.mail.join("Other"));
    let path = server.put("INBOX", "cur/1:2,S", "one", 1);
    settle(&server, &laptop);
    fs::remove_dir_all(laptop.dir("INBOX")).unwrap();
    settle(&server, &laptop);
    assert!(!path.exists() && is_folder(&server.mail));
    assert_eq!(server.folders(), ["INBOX", "Other"]);
    // Mail comes to it again.
    server.put("INBOX", "new/2", "two", 2);
    settle(&server, &laptop);
    assert!(is_folder(&laptop.dir("INBOX")));
    assert_eq!(laptop.mailbox().len(), 1);
}

#[test]
fn a_renamed_folder_takes_its_mail_along_and_no_contents_travel() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    for number in 0..150 {
        server.put("Old", &format!("cur/{number}:2,S"), format!("message {number}"), number);
    }
    settle(&server, &laptop);
    let before = server.mailbox();
    fs::rename(server.mail.join(".Old"), server.mail.join(".New.Name")).unwrap();
    let (counts, bundle) = next_bundle(&server, &laptop);
    assert_eq!((counts["messages"], counts["entries"], counts["folders"]), (0, 150, 2));
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    settle(&server, &laptop);
    assert_eq!(laptop.folders(), ["INBOX", "New/Name"]);
    assert!(!laptop.mail.join("Old").exists());
    let moved = before.into_iter().map(|(digest, mut mail)| {
        for mail in &mut mail {
            mail.folder = "New/Name".into();
        }
        (digest, mail)
    });
    assert_eq!(laptop.mailbox(), moved.collect());
    assert_eq!(laptop.ok(&["trash", "list"]).text(), "");
    // And back, on the other side, with the folder above.
    fs::rename(laptop.mail.join("New"), laptop.mail.join("Older")).unwrap();
    let (counts, _) = next_bundle(&laptop, &server);
    assert_eq!((counts["messages"], counts["entries"]), (0, 150));
    settle(&server, &laptop);
    assert_eq!(server.folders(), ["INBOX", "Older/Name"]);
}

#[test]
fn two_folders_that_swap_their_names_swap_their_mail() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    for folder in ["One", "Two"] {
        for number in 0..3 {
            server.put(folder, &format!("cur/{number}:2,S"), format!("{folder} {number}"), number);
        }
    }
    settle(&server, &laptop);
    let (one, two, other) = (server.dir("One"), server.dir("Two"), server.mail.join("other"));
    fs::rename(&one, &other).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&other, &two).unwrap();
    server.ok(&["scan", "--deep"]);
    assert_eq!(next_bundle(&server, &laptop).0["messages"], 0);
    settle(&server, &laptop);
    assert_eq!(laptop.mailbox()[&Digest::of(b"One 0")][0].folder, "Two");
    assert_eq!(laptop.mailbox()[&Digest::of(b"Two 2")][0].folder, "One");
}

#[test]
fn a_name_that_one_layout_can_not_hold_comes_back_as_it_was() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    let (long, longer) = ("l".repeat(200), "m".repeat(250));
    let names: [&[u8]; 16] = [
        b"v1.2/notes.txt",
        b"a/b/c/d/e/f/g/h",
        b".hidden",
        b"trailing.",
        b"back\\slash",
        b"sp ace/ lead/trail ",
        b"new line\nhere",
        "Entwürfe/Größe".as_bytes(),
        "日本語".as_bytes(),
        b"raw \xff\xfe bytes",
        b"&amp;",
        b"INBOX/below",
        b"inbox",
        b"\\2e",
        longer.as_bytes(),
        b"emoji \xf0\x9f\x93\xac",
    ];
    for name in names {
        let folder = laptop.mail.join(OsStr::from_bytes(name));
        make_folder(&folder);
        fs::write(folder.join("cur/1:2,S"), [b"in ", name].concat()).unwrap();
    }
    let deep = laptop.mail.join(format!("{long}/{long}/{long}"));
    make_folder(&deep);
    fs::write(deep.join("cur/1:2,S"), "deep").unwrap();
    settle(&server, &laptop);
    assert_eq!(server.mailbox().len(), names.len() + 1);
    // A second machine of the first layout gets the same directories, through the one of the other.
    let third = Machine::new(dir.path(), "third");
    third.init_as("fs");
    make_peers(&server, &third);
    settle(&server, &third);
    for name in names {
        let file = fs::read_dir(third.mail.join(OsStr::from_bytes(name)).join("cur")).unwrap().next().unwrap().unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), [b"in ", name].concat());
    }
    // Changes travel the other way, too, and folders go.
    for name in names {
        let cur = third.mail.join(OsStr::from_bytes(name)).join("cur");
        let path = fs::read_dir(&cur).unwrap().next().unwrap().unwrap().path();
        let flagged = [path.as_os_str().as_bytes(), b"T"].concat();
        fs::rename(&path, OsStr::from_bytes(&flagged)).unwrap();
    }
    settle(&third, &server);
    settle(&server, &laptop);
    for name in names {
        assert!(laptop.mail.join(OsStr::from_bytes(name)).join("cur/1:2,ST").exists(), "{}", name.escape_ascii());
    }
    // Not most of them at once, which the guard refuses.
    for half in names.chunks(8) {
        for name in half {
            fs::remove_dir_all(third.mail.join(OsStr::from_bytes(name))).unwrap();
        }
        settle(&third, &server);
        settle(&server, &laptop);
    }
    assert_eq!(laptop.mailbox().len(), 1);
    assert_eq!(laptop.folders().len(), 2);
    let left: Vec<_> = fs::read_dir(&server.mail).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "cur, new, tmp, the deep one and the mark: {left:?}");
}

#[test]
fn names_of_the_dotted_layout_come_back_as_they_were() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    let names: [&[u8]; 10] = [
        b".Sent",
        b".Archive.2019.01",
        b".cur",
        b".a.new.b",
        b".tmp",
        b".Entw&APw-rfe",
        b".&2D3cbg-",
        b".raw \xff",
        b".broken &utf",
        b".INBOX.old",
    ];
    for name in names {
        let folder = server.mail.join(OsStr::from_bytes(name));
        make_folder(&folder);
        fs::write(folder.join("cur/1:2,S"), [b"in ", name].concat()).unwrap();
    }
    settle(&server, &laptop);
    assert_eq!(laptop.mailbox().len(), names.len());
    assert!(is_folder(&laptop.mail.join("Entwürfe")));
    let third = Machine::new(dir.path(), "third");
    third.init_as("maildir++");
    make_peers(&laptop, &third);
    settle(&laptop, &third);
    for name in names {
        let cur = third.mail.join(OsStr::from_bytes(name)).join("cur");
        let file = fs::read_dir(&cur).unwrap_or_else(|error| panic!("{}: {error}", cur.display())).next().unwrap();
        assert_eq!(fs::read(file.unwrap().path()).unwrap(), [b"in ", name].concat());
    }
}

#[test]
fn a_maildir_that_can_be_no_folder_is_told_of_and_left_alone() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    for name in ["..two", ".a..b", ".end."] {
        make_folder(&server.mail.join(name));
        fs::write(server.mail.join(name).join("cur/1:2,S"), name).unwrap();
    }
    let ran = server.ok(&["scan"]);
    for name in ["..two", ".a..b", ".end."] {
        assert!(ran.stderr.lines().any(|line| line.contains(name) && line.contains("rename it")), "{name}: {ran:?}");
    }
    make_folder(&server.mail.join("..\u{1b}[2J\nx"));
    let ran = server.ok(&["scan"]);
    assert!(ran.stderr.contains("[2J\u{fffd}x") && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    pass(&server, &laptop);
    assert_eq!(laptop.mailbox().len(), 0);
    assert!(server.mail.join("..two/cur/1:2,S").exists());
}

/// What was done to the one message on one machine and, before an exchange, on the other, and what becomes of it.
struct Case {
    name: &'static str,
    here: fn(&Machine),
    there: fn(&Machine),
    /// Where it is afterwards, with its flags; several times if there are copies.
    ends: &'static [&'static str],
}

fn nothing(_: &Machine) {}

/// The file of the one message.
fn file(machine: &Machine) -> PathBuf {
    let files = walkdir::WalkDir::new(&machine.mail).into_iter().map(Result::unwrap);
    let is_message =
        |path: &Path| path.is_file() && path.parent().is_some_and(|dir| dir.ends_with("cur") || dir.ends_with("new"));
    files.map(walkdir::DirEntry::into_path).find(|path| is_message(path)).unwrap()
}

fn base(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split_once(":2,").map_or(name, |(base, _)| base).to_owned()
}

/// Renames the message to what a mail reader would: `to` is `FOLDER/cur` or `FOLDER/new`.
fn rename(machine: &Machine, folder: &str, sub: &str, flags: &str) {
    let from = file(machine);
    make_folder(&machine.dir(folder));
    fs::rename(&from, machine.dir(folder).join(sub).join(format!("{}{flags}", base(&from)))).unwrap();
}

/// Copies the message with its time, as a mail reader would.
fn copy(machine: &Machine, folder: &str, place: &str) {
    let from = file(machine);
    make_folder(&machine.dir(folder));
    let to = machine.dir(folder).join(place);
    fs::copy(&from, &to).unwrap();
    let time = fs::metadata(&from).unwrap().modified().unwrap();
    fs::File::options().write(true).open(&to).unwrap().set_modified(time).unwrap();
}

#[test]
fn what_happens_to_a_message_on_both_sides_ends_the_same_on_both() {
    let cases = [
        Case { name: "read", here: |m| rename(m, "INBOX", "cur", ":2,S"), there: nothing, ends: &["INBOX cur S"] },
        Case { name: "back to new", here: |m| rename(m, "INBOX", "new", ""), there: nothing, ends: &["INBOX new "] },
        Case {
            name: "back to new with an info",
            here: |m| rename(m, "INBOX", "new", ":2,F"),
            there: nothing,
            ends: &["INBOX new F"],
        },
        Case {
            name: "all flags",
            here: |m| rename(m, "INBOX", "cur", ":2,DFPRST"),
            there: nothing,
            ends: &["INBOX cur DFPRST"],
        },
        Case {
            name: "an unsorted info",
            here: |m| rename(m, "INBOX", "cur", ":2,TSF"),
            there: nothing,
            ends: &["INBOX cur FST"],
        },
        Case { name: "no info in cur", here: |m| rename(m, "INBOX", "cur", ""), there: nothing, ends: &["INBOX cur "] },
        Case {
            name: "different flags on both sides",
            here: |m| rename(m, "INBOX", "cur", ":2,F"),
            there: |m| rename(m, "INBOX", "cur", ":2,R"),
            ends: &["INBOX cur FR"],
        },
        Case {
            name: "the same flag on both sides",
            here: |m| rename(m, "INBOX", "cur", ":2,S"),
            there: |m| rename(m, "INBOX", "cur", ":2,S"),
            ends: &["INBOX cur S"],
        },
        Case {
            name: "moved and flagged at once",
            here: |m| rename(m, "Archive", "cur", ":2,FS"),
            there: nothing,
            ends: &["Archive cur FS"],
        },
        Case {
            name: "moved here, flagged there",
            here: |m| rename(m, "Archive", "cur", ":2,"),
            there: |m| rename(m, "INBOX", "cur", ":2,F"),
            ends: &["Archive cur F"],
        },
        Case {
            name: "moved to two places: the later one",
            here: |m| rename(m, "One", "cur", ":2,"),
            there: |m| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                rename(m, "Two", "cur", ":2,");
            },
            ends: &["Two cur "],
        },
        Case { name: "removed", here: |m| fs::remove_file(file(m)).unwrap(), there: nothing, ends: &[] },
        Case {
            name: "removed on both sides",
            here: |m| fs::remove_file(file(m)).unwrap(),
            there: |m| fs::remove_file(file(m)).unwrap(),
            ends: &[],
        },
        Case {
            name: "removed here, flagged there: the removal wins",
            here: |m| fs::remove_file(file(m)).unwrap(),
            there: |m| rename(m, "INBOX", "cur", ":2,F"),
            ends: &[],
        },
        Case {
            name: "removed here, moved there: the mail is kept",
            here: |m| fs::remove_file(file(m)).unwrap(),
            there: |m| rename(m, "Archive", "cur", ":2,"),
            ends: &["Archive cur "],
        },
        Case {
            name: "moved here, removed there: the mail is kept",
            here: |m| rename(m, "Archive", "cur", ":2,S"),
            there: |m| fs::remove_file(file(m)).unwrap(),
            ends: &["Archive cur S"],
        },
        Case {
            name: "copied",
            here: |m| {
                copy(m, "Archive", "cur/copy:2,S");
            },
            there: nothing,
            ends: &["Archive cur S", "INBOX cur "],
        },
        Case {
            name: "copied into the same folder",
            here: |m| copy(m, "INBOX", "cur/copy:2,S"),
            there: nothing,
            ends: &["INBOX cur ", "INBOX cur S"],
        },
        Case {
            name: "copied to the same folder on both sides: found twice, it is one",
            here: |m| {
                copy(m, "Archive", "cur/here:2,S");
            },
            there: |m| {
                copy(m, "Archive", "cur/there:2,S");
            },
            ends: &["Archive cur S", "INBOX cur "],
        },
        Case {
            name: "the same base in new and in cur",
            here: |m| {
                copy(m, "INBOX", &format!("new/{}", base(&file(m))));
            },
            there: nothing,
            ends: &["INBOX cur ", "INBOX new "],
        },
        Case {
            name: "renamed with another base",
            here: |m| fs::rename(file(m), m.dir("INBOX").join("cur/other,U=7:2,S")).unwrap(),
            there: |m| rename(m, "INBOX", "cur", ":2,F"),
            ends: &["INBOX cur FS"],
        },
        Case {
            name: "edited: a new message, and the old one is gone",
            here: |m| {
                let path = file(m);
                fs::remove_file(&path).unwrap();
                fs::write(m.dir("INBOX").join("cur/edited:2,S"), "another text").unwrap();
            },
            there: nothing,
            ends: &["INBOX cur S"],
        },
    ];
    for case in cases {
        for flip in [false, true] {
            let dir = scratch();
            let (server, laptop) = unlike(dir.path());
            server.put("INBOX", "cur/1:2,", "the message", 1_500_000_000);
            settle(&server, &laptop);
            println!("{} {}", case.name, if flip { "(the other way round)" } else { "" });
            let (one, other) = if flip { (&laptop, &server) } else { (&server, &laptop) };
            (case.here)(one);
            one.ok(&["scan"]);
            (case.there)(other);
            other.ok(&["scan"]);
            settle(&server, &laptop);
            let mut ends: Vec<String> = server
                .mailbox()
                .into_values()
                .flatten()
                .map(|mail| format!("{} {} {}", mail.folder, if mail.recent { "new" } else { "cur" }, mail.flags))
                .collect();
            ends.sort();
            assert_eq!(ends, case.ends, "{}", case.name);
        }
    }
}

#[test]
fn a_message_that_is_delivered_again_after_its_removal_is_there_again() {
    let dir = scratch();
    let (server, laptop) = unlike(dir.path());
    server.put("INBOX", "cur/1:2,FS", "again and again", 1);
    settle(&server, &laptop);
    fs::remove_file(file(&laptop)).unwrap();
    settle(&server, &laptop);
    assert_eq!(server.mailbox().len(), 0);
    server.put("INBOX", "new/2", "again and again", 2);
    settle(&server, &laptop);
    let mail = &laptop.mailbox()[&Digest::of(b"again and again")];
    assert_eq!((mail.len(), mail[0].recent, &*mail[0].flags), (1, true, ""));
    // Removed here while it is delivered again there: it stays.
    fs::remove_file(file(&laptop)).unwrap();
    laptop.ok(&["scan"]);
    fs::remove_file(file(&server)).unwrap();
    server.ok(&["scan"]);
    server.put("INBOX", "new/3", "again and again", 3);
    settle(&server, &laptop);
    assert_eq!(laptop.mailbox().len(), 1);
}

#[test]
fn duplicates_are_as_many_on_the_other_side_and_each_has_its_own_flags() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for (name, folder) in [("1:2,", "INBOX"), ("2:2,S", "INBOX"), ("3:2,F", "INBOX"), ("4:2,R", "Archive")] {
        desktop.put(folder, &format!("cur/{name}"), "four times the same", 1);
    }
    let (counts, _) = next_bundle(&desktop, &laptop);
    assert_eq!((counts["entries"], counts["messages"]), (4, 1), "the contents travel once");
    settle(&desktop, &laptop);
    let flags = || {
        laptop.mailbox()[&Digest::of(b"four times the same")].iter().map(|mail| mail.flags.clone()).collect::<Vec<_>>()
    };
    assert_eq!(flags(), ["R", "", "F", "S"]);
    fs::remove_file(desktop.dir("INBOX").join("cur/2:2,S")).unwrap();
    settle(&desktop, &laptop);
    assert_eq!(flags(), ["R", "", "F"]);
}

#[test]
fn the_same_old_mailbox_on_two_machines_becomes_one_without_a_single_copy() {
    let dir = scratch();
    let (server, laptop) = (Machine::new(dir.path(), "server"), Machine::new(dir.path(), "laptop"));
    for (machine, flags) in [(&server, "S"), (&laptop, "F")] {
        make_folder(&machine.mail);
        for number in 0..20 {
            fs::write(
                machine.mail.join(format!("cur/{}{number}:2,{flags}", machine.name)),
                format!("message {number}"),
            )
            .unwrap();
        }
        machine.init();
    }
    make_peers(&server, &laptop);
    pass(&server, &laptop);
    assert_eq!(laptop.mailbox().len(), 20);
    settle_but_for_times(&server, &laptop);
    let mailbox = laptop.mailbox();
    assert!(mailbox.values().all(|mail| mail.len() == 1 && mail[0].flags == "FS"), "{mailbox:?}");
}

/// Files that both had before keep the times that they had.
fn settle_but_for_times(one: &Machine, other: &Machine) {
    exchange(one, other);
    pass(other, one);
    let names = |machine: &Machine| {
        let entries =
            machine.mailbox().into_iter().map(|(digest, mail)| (digest, mail[0].folder.clone(), mail[0].flags.clone()));
        entries.collect::<Vec<_>>()
    };
    assert_eq!(names(one), names(other));
}
