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
use crate::support::{scratch, text};

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

/// Somebody who may write into a folder, such as one that several users share, could have any file of another user's
/// sent to all machines.
#[test]
fn a_symbolic_link_in_the_place_of_a_message_is_none_and_this_is_told() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    desktop.put("INBOX", "cur/message:2,S", "message", 1);
    settle(&desktop, &laptop);
    for sub in ["new", "cur"] {
        symlink(&secret, desktop.mail.join(sub).join("linked:2,S")).unwrap();
    }
    symlink("../../secret", desktop.mail.join("new/relative")).unwrap();
    for args in [&["scan"][..], &["scan", "--deep"]] {
        let said = desktop.ok(args).stderr;
        assert!(said.contains("3 files in folders are left alone") && said.contains("a symbolic link"), "{said}");
    }
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox().len(), 1);
    assert_eq!(desktop.ok(&["status", "--json"]).json()["entries"], 1);
    assert_eq!(fs::read_link(desktop.mail.join("new/linked:2,S")).unwrap(), secret);

    // It takes the place of a message that was here, or of its name with other flags: that may be behind it.
    let message = desktop.mail.join("cur/message:2,S");
    fs::rename(&message, dir.path().join("aside")).unwrap();
    for name in ["message:2,S", "message:2,FS"] {
        let link = desktop.mail.join("cur").join(name);
        symlink(dir.path().join("aside"), &link).unwrap();
        let ran = desktop.run(&["scan"]);
        assert!(ran.code == 1 && ran.stderr.contains("a symbolic link is in the place of the message"), "{ran:?}");
        let bundle = desktop.run(&["export"]);
        assert_eq!(bundle.code, 1, "{bundle:?}");
        laptop.run_with(&["import"], &bundle.stdout);
        assert_eq!(laptop.mailbox().len(), 1, "{name}");
        fs::remove_file(&link).unwrap();
    }
    fs::rename(dir.path().join("aside"), &message).unwrap();
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox().len(), 1);
}

#[test]
fn what_is_no_file_among_messages_is_told_when_the_folder_is_read() {
    type Make = fn(&Path);
    let table: [(&str, Make); 3] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a pipe", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ];
    let dir = scratch();
    for (number, (what, make)) in table.into_iter().enumerate() {
        let desktop = Machine::replica(dir.path(), &format!("desktop{number}"));
        make(&desktop.mail.join("new/odd"));
        let ran = desktop.ok(&["scan"]);
        let told = format!(
            "note: 1 file in folders is left alone: a symbolic link, a directory, a pipe or a device is no message; \
             such as {}",
            desktop.mail.join("new/odd").display()
        );
        assert!(ran.stderr.contains(&told), "{what}: {ran:?}");
        assert_eq!(desktop.ok(&["status", "--json"]).json()["entries"], 0, "{what}");
    }
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
fn whatever_a_message_holds_it_arrives_as_it_is_and_nothing_else_comes_of_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("a message");
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let archive = zstd::decode_all(bundle.as_slice()).unwrap();
    // What means something to mailsync elsewhere: a bundle for the laptop itself, its archive, an end of an archive,
    // lines of its parts, signed text, settings, commands; and what means something to other programs.
    let contents: [&[u8]; 9] = [
        &bundle,
        &archive,
        &[0; 2048],
        b"Subject: $(touch /tmp/x)\n`touch x`; touch x\n\n$HOME\n",
        b"From: ../../../etc/passwd\nMessage-ID: <../cur/1:2,S>\n\n{\"folder\":{\"name\":\"x\"}}\n",
        b"From a@b Thu Jan  1 00:00:00 1970\n\nFrom me\n>From you\n.\n..\nQUIT\r\n",
        b"-----BEGIN SSH SIGNATURE-----\n[[allow]]\ncommand = \"sh\"\n",
        b"\x1b[2J\x1b]0;x\x07\xff\xfe\0\r\r\n",
        b"",
    ];
    for (n, bytes) in contents.iter().enumerate() {
        desktop.put("INBOX", &format!("new/{n}"), bytes, 1_600_000_000 + n as u64);
    }
    settle(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(contents.iter().all(|bytes| laptop.mailbox().contains_key(&Digest::of(bytes))));
    assert_eq!(laptop.mailbox().len(), contents.len() + 1);
    assert_eq!((laptop.folders(), desktop.folders()), (vec!["INBOX".to_owned()], vec!["INBOX".to_owned()]));
    assert!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().is_empty());
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

#[test]
fn nobody_waits_for_a_pipe_in_a_directory_of_bundles() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    assert!(Command::new("mkfifo").arg(stick.join("pipe.zst")).status().unwrap().success());
    laptop.fails(&["inspect", text(&stick)], 1);
    laptop.fails(&["verify", text(&stick)], 1);
    desktop.ok(&["export", "--to", "laptop", "-o", text(&stick)]);
    for args in [&["inspect"][..], &["verify"], &["status"], &["import", "-n"], &["import", "--consume"]] {
        let dir: &[&str] = if args == ["status"] { &[] } else { &[text(&stick)] };
        laptop.ok(&[args, dir].concat());
    }
    assert!(laptop.has("one"));
    assert!(stick.join("pipe.zst").exists());
}

#[test]
fn nothing_waits_for_a_pipe_among_bundles_or_above_a_mail_root() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&stick.join("a.zst"));
    UnixListener::bind(stick.join("b.zst")).unwrap();
    let stick = stick.to_str().unwrap();
    desktop.deliver("a message");
    desktop.ok(&["export", "-o", stick]);
    for command in ["inspect", "verify", "import"] {
        let ran = laptop.ok(&[command, "--json", stick]);
        assert_eq!(ran.json()["bundles"].as_array().unwrap().len(), 1, "{command}: {ran:?}");
    }
    assert!(laptop.has("a message"));
    let new = Machine::new(&dir.path().join("elsewhere"), "new");
    pipe(&dir.path().join(".mailsync"));
    pipe(&new.mail.join(".mailsync"));
    new.init();
}
