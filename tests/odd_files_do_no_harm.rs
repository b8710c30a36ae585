//! What else lies about in Maildirs: files with any name that a file system takes, links, pipes, sockets, devices,
//! directories. Nothing waits for any of them, and every message comes through.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use mailsync::model::Digest;

use crate::support::machine::{Machine, complains, exchange, pair, pass};
use crate::support::scratch;

/// Exchanges until there is nothing left to do.
#[track_caller]
fn settle(one: &Machine, other: &Machine) {
    exchange(one, other);
    pass(other, one);
    one.is_at_rest("after an exchange");
    other.is_at_rest("after an exchange");
}

fn write(machine: &Machine, sub: &str, name: &[u8], contents: &str) {
    let path = machine.dir("INBOX").join(sub).join(OsStr::from_bytes(name));
    fs::write(&path, contents).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
        .unwrap();
}

/// Gives every file in the folder one more flag, and puts what is in `new/` into `cur/`.
fn flag_all(machine: &Machine, folder: &str, flag: u8) {
    let dir = machine.dir(folder);
    for sub in ["new", "cur"] {
        for item in fs::read_dir(dir.join(sub)).unwrap() {
            let path = item.unwrap().path();
            let name = path.file_name().unwrap().as_bytes();
            let info: &[u8] = if name.windows(3).any(|part| part == b":2,") { b"" } else { b":2," };
            fs::rename(&path, dir.join("cur").join(OsStr::from_bytes(&[name, info, &[flag]].concat()))).unwrap();
        }
    }
}

#[test]
fn any_name_that_a_file_system_takes_is_a_message_s() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let names: [&[u8]; 16] = [
        b"two\nlines:2,S",
        b" spaces  :2,RS",
        b"\xff\xfe not text:2,F",
        b":2,S",
        b"plain",
        b"-rf",
        b"$(touch x)`:2,",
        b"%s%n:2,",
        b"keywords:2,Sabz",
        b"twice:2,SSF,W=3",
        b"two infos:2,F:2,S",
        b"wrong info:1,x",
        b"dot.:2,",
        &[b'x'; 255],
        &[&[b'y'; 251][..], b":2,S"].concat(),
        "ä€𝄞:2,T".as_bytes(),
    ];
    for name in names {
        write(&desktop, "cur", name, &name.escape_ascii().to_string());
    }
    write(&desktop, "new", b"plain", "the same base in new");
    write(&desktop, "new", &[b'z'; 255], "long in new");
    write(&desktop, "cur", b"empty:2,S", "");
    write(&desktop, "new", b"empty too", "");
    desktop.ok(&["scan"]);
    assert_eq!(desktop.ok(&["status", "--json"]).json()["entries"], names.len() + 4);
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // Flags go back to names that leave no room for them.
    flag_all(&laptop, "INBOX", b'P');
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(desktop.mailbox().values().flatten().all(|mail| mail.flags.contains('P') && !mail.recent));
    fs::rename(laptop.dir("INBOX").join("cur"), laptop.mail.join("moving")).unwrap();
    fs::create_dir_all(laptop.mail.join(".Else")).unwrap();
    fs::rename(laptop.mail.join("moving"), laptop.mail.join(".Else/cur")).unwrap();
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(desktop.mailbox().values().flatten().all(|mail| mail.folder == "Else"));
}

#[test]
fn what_is_no_message_is_neither_read_nor_waited_for_nor_touched() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let cur = desktop.dir("INBOX").join("cur");
    let path = |name: &str| cur.join(name);
    assert!(Command::new("mkfifo").arg(path("fifo:2,S")).status().unwrap().success());
    let _socket = UnixListener::bind(path("socket:2,")).unwrap();
    fs::create_dir_all(path("directory:2,S/cur")).unwrap();
    fs::write(path("directory:2,S/cur/inside:2,"), "inside").unwrap();
    fs::write(path(".hidden:2,S"), "hidden").unwrap();
    let links = [
        ("fifo:2,S", "to-fifo"),
        ("/dev/zero", "to-zero"),
        ("/dev/full", "to-full"),
        ("nothing", "to-nothing"),
        ("loop", "loop"),
        ("directory:2,S", "to-directory"),
        ("socket:2,", "to-socket"),
    ];
    for (to, name) in links {
        symlink(to, path(name)).unwrap();
    }
    symlink("..", desktop.mail.join(".Circle")).unwrap();
    desktop.put("INBOX", "cur/message:2,S", "the only message", 1);
    let before = desktop.everything();
    for args in [&["scan"][..], &["scan", "--deep"], &["export", "--full"]] {
        desktop.ok(args);
    }
    settle(&desktop, &laptop);
    assert_eq!(desktop.ok(&["status", "--json"]).json()["entries"], 1);
    assert_eq!(laptop.mailbox().len(), 1);
    assert_eq!(desktop.everything(), before);
    // A message that a pipe takes the place of is gone, and the pipe stays.
    fs::remove_file(path("message:2,S")).unwrap();
    fs::rename(path("fifo:2,S"), path("message:2,S")).unwrap();
    desktop.ok(&["scan", "--deep"]);
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox().len(), 0);
    assert!(path("message:2,S").exists());
}

#[test]
fn a_link_to_a_message_is_a_message_and_stays_one_wherever_it_goes() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    fs::write(desktop.mail.join("linked"), "linked").unwrap();
    let cur = desktop.mail.join("cur");
    symlink("../linked", cur.join("relative:2,S")).unwrap();
    fs::write(desktop.mail.join("kept"), "also linked").unwrap();
    symlink(desktop.mail.join("kept"), cur.join("absolute:2,")).unwrap();
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox().len(), 2);
    flag_all(&laptop, "INBOX", b'F');
    settle(&desktop, &laptop);
    assert!(cur.join("relative:2,FS").exists() && cur.join("absolute:2,F").exists());
    // From another folder, the first one would lead nowhere.
    let files = fs::read_dir(laptop.mail.join("cur")).unwrap().map(|item| item.unwrap().path()).collect::<Vec<_>>();
    fs::create_dir_all(laptop.mail.join(".Archive/cur")).unwrap();
    for file in &files {
        fs::rename(file, laptop.mail.join(".Archive/cur").join(file.file_name().unwrap())).unwrap();
    }
    settle(&desktop, &laptop);
    let contents = |dir: &Path| {
        let mut all: Vec<String> =
            fs::read_dir(dir).unwrap().map(|item| fs::read_to_string(item.unwrap().path()).unwrap()).collect();
        all.sort();
        all
    };
    assert_eq!(contents(&desktop.mail.join(".Archive/cur")), ["also linked", "linked"]);
    assert_eq!(contents(&laptop.mail.join(".Archive/cur")), ["also linked", "linked"]);
    assert_eq!(contents(&cur), [] as [&str; 0]);

    // Nor would it from the trash.
    symlink("../linked", cur.join("again:2,S")).unwrap();
    settle(&desktop, &laptop);
    let copy = laptop.mailbox()[&Digest::of(b"linked")].len();
    assert_eq!(copy, 2);
    for item in fs::read_dir(laptop.mail.join("cur")).unwrap() {
        fs::remove_file(item.unwrap().path()).unwrap();
    }
    settle(&desktop, &laptop);
    let trash = desktop.ok(&["trash", "list", "--json"]).json()["trash"].clone();
    assert_eq!(fs::read_to_string(trash[0]["file"].as_str().unwrap()).unwrap(), "linked");
    desktop.ok(&["trash", "restore", &trash[0]["id"].to_string()]);
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox()[&Digest::of(b"linked")].len(), 2);
    assert_eq!(fs::read_to_string(desktop.mail.join("linked")).unwrap(), "linked");
}

#[test]
fn a_folder_whose_parts_are_links_or_missing_is_a_folder() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("cur")).unwrap();
    fs::write(elsewhere.join("cur/1:2,S"), "elsewhere").unwrap();
    symlink(&elsewhere, desktop.mail.join(".Linked")).unwrap();
    fs::create_dir_all(desktop.mail.join(".OnlyNew/new")).unwrap();
    fs::write(desktop.mail.join(".OnlyNew/new/1"), "only new").unwrap();
    fs::remove_dir(desktop.mail.join("tmp")).unwrap();
    laptop.put("INBOX", "new/1", "to a folder without tmp", 1);
    laptop.put("Linked", "cur/2:2,F", "through the link", 1);
    laptop.put("OnlyNew", "cur/2:2,F", "to a folder without cur", 1);
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox().len(), 5);
    assert_eq!(fs::read_dir(elsewhere.join("cur")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(desktop.mail.join(".OnlyNew/cur")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(desktop.mail.join("new")).unwrap().count(), 1);
}

#[test]
fn a_file_in_the_place_of_a_folder_is_told_of_and_its_mail_comes_when_it_is_gone() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Archive", "cur/1:2,S", "one", 1);
    fs::write(laptop.mail.join(".Archive"), "a file").unwrap();
    let bundle = desktop.ok(&["export"]).stdout;
    let ran = laptop.run_with(&["import", "--quiet"], &bundle);
    complains(&ran, 1, &[".Archive", "Not a directory"]);
    assert_eq!(fs::read_to_string(laptop.mail.join(".Archive")).unwrap(), "a file");
    fs::remove_file(laptop.mail.join(".Archive")).unwrap();
    laptop.ok(&["scan"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn any_delivery_date_comes_through() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(2_208_988_800);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(7_000_000_000);
    for (name, time) in [("old", before_1970), ("zero", SystemTime::UNIX_EPOCH), ("far", far)] {
        let path = desktop.put("INBOX", &format!("cur/{name}:2,"), name, 1);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox()[&Digest::of(b"old")][0].mtime, before_1970);
}

#[test]
fn a_link_to_a_folder_does_not_take_its_name() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    fs::create_dir_all(desktop.mail.join("Folder/cur")).unwrap();
    fs::create_dir_all(desktop.mail.join("other")).unwrap();
    fs::write(desktop.mail.join("Folder/cur/1:2,S"), "mail").unwrap();
    // Found before the folder, by name and by depth.
    symlink(desktop.mail.join("Folder"), desktop.mail.join("A")).unwrap();
    desktop.ok(&["init", desktop.mail.to_str().unwrap(), "--name", "desktop", "--layout", "fs"]);
    let before = desktop.folders();
    assert!(before.contains(&String::from("Folder")) && !before.contains(&String::from("A")), "{before:?}");
    symlink(desktop.mail.join("Folder"), desktop.mail.join("other/Z")).unwrap();
    assert!(desktop.ok(&["scan"]).stderr.contains("0 new, 0 moved, 0 flagged, 0 removed"));
    assert_eq!(desktop.folders(), before);
}
