//! Each command, through the program itself: what it prints, what it changes, and what it leaves alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mailsync::model::Digest;
use mailsync::state::State;
use serde_json::{Value, json};

use crate::support::machine::{Machine, complains, counts, make_peers, pair, pass};
use crate::support::programs::{MAILSYNC, Ran, own_members, run};
use crate::support::{names, scratch, text};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Several bundles, each of which starts where the one before ended; the machine that made them gets `messages` more.
fn chain(from: &Machine, messages: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let next = |number: u64| {
        from.put("INBOX", &format!("new/{number}"), format!("message {number}"), number);
        from.ok(&["export", "--since-last"]).stdout
    };
    messages.map(next).collect()
}

#[test]
fn init_prints_the_key_and_says_what_comes_next() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "desktop");
    fs::create_dir_all(machine.mail.join("cur")).unwrap();
    fs::create_dir_all(machine.mail.join(".Sent/cur")).unwrap();
    fs::write(machine.mail.join("cur/1:2,S"), "one").unwrap();
    let ran = machine.init();
    assert_eq!(ran.text().trim_end(), machine.key());
    assert!(machine.key().starts_with("ssh-ed25519 "));
    assert!(ran.stderr.contains(&format!("mailsync peer add desktop --key '{}'", machine.key())), "{}", ran.stderr);
    assert!(ran.stderr.contains("(maildir++), with 1 entry in 2 folders: 1 message, 3 B"), "{}", ran.stderr);
    assert!(ran.stderr.contains("mailsync export"), "{}", ran.stderr);
    assert_eq!(machine.folders(), ["INBOX", "Sent"]);
    assert_eq!(fs::metadata(machine.home.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&machine.home).unwrap().permissions().mode() & 0o777, 0o700);

    let json = Machine::new(dir.path(), "laptop");
    let document =
        json.ok(&["init", json.mail.to_str().unwrap(), "--name", "laptop", "--layout", "fs", "--json"]).json();
    assert_eq!(document["replica"]["layout"], "fs");
    assert_eq!(document["replica"]["public_key"], json.key());
    assert_eq!(document["new"], 0);
}

#[test]
fn scan_with_dry_run_tells_the_same_and_changes_nothing() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    for number in 0..4 {
        machine.put("INBOX", &format!("cur/{number}:2,"), format!("message {number}"), number);
    }
    machine.ok(&["scan"]);
    let cur = machine.dir("INBOX").join("cur");
    fs::rename(cur.join("0:2,"), cur.join("0:2,S")).unwrap();
    fs::remove_file(cur.join("1:2,")).unwrap();
    machine.put("Archive", "cur/new:2,", "another one", 9);
    fs::rename(cur.join("2:2,"), machine.dir("Archive").join("cur/2:2,")).unwrap();
    let before = machine.left();
    let dry = machine.ok(&["scan", "--dry-run", "--json"]);
    assert!(
        dry.stderr.contains("would record: 1 new, 1 moved, 1 flagged, 1 removed, 1 folder made, 0 folders removed"),
        "{}",
        dry.stderr
    );
    assert_eq!(machine.left(), before);
    let real = machine.ok(&["scan", "--json"]).json();
    assert_eq!((&real["dry_run"], &dry.json()["dry_run"]), (&json!(false), &json!(true)));
    assert_eq!(own_members(real.clone()), own_members(dry.json()));
    assert_eq!(counts(&real), [1, 1, 1, 1]);
    assert_eq!((&real["folders_made"], &real["problems"]), (&json!(1), &json!([])));
    assert_eq!(counts(&machine.ok(&["scan", "--json"]).json()), [0; 4]);
}

#[test]
fn scan_of_a_folder_looks_at_no_other() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    for folder in ["Work", "Private"] {
        machine.put(folder, "cur/1:2,", format!("{folder} 1"), 1);
    }
    machine.ok(&["scan"]);
    for folder in ["Work", "Private"] {
        machine.put(folder, "cur/2:2,", format!("{folder} 2"), 2);
    }
    let report = machine.ok(&["scan", "Work", "--json"]).json();
    assert_eq!((counts(&report), &report["folders_read"]), ([1, 0, 0, 0], &json!(1)));
    assert_eq!(counts(&machine.ok(&["scan", "Private", "Work", "--json"]).json()), [1, 0, 0, 0]);
    // What went from one folder to another is moved, even if only one of them is asked for.
    fs::rename(machine.dir("Work").join("cur/1:2,"), machine.dir("Private").join("cur/w:2,")).unwrap();
    assert_eq!(counts(&machine.ok(&["scan", "Work", "--json"]).json()), [0, 1, 0, 0]);
    complains(&machine.run(&["scan", "Nowhere"]), 2, &["Nowhere", "mailsync status"]);
    complains(&machine.run(&["scan", "a//b"]), 2, &["a//b"]);
}

#[test]
fn scan_deep_finds_an_edit_in_place() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let path = desktop.put("INBOX", "cur/1:2,S", "before", 1_000);
    pass(&desktop, &laptop);
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "after!").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0; 4]);
    assert_eq!(counts(&desktop.ok(&["scan", "--deep", "--json"]).json()), [1, 0, 0, 1]);
    assert_eq!(counts(&desktop.ok(&["scan", "--deep", "--json"]).json()), [0; 4]);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(laptop.mailbox().contains_key(&Digest::of(b"after!")));
}

#[test]
fn export_writes_to_a_file_to_a_directory_and_to_standard_output() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "new/1", "one", 1);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let file = out.join("some name.zst");
    let ran = desktop.ok(&["export", "-o", file.to_str().unwrap()]);
    assert!(ran.stdout.is_empty());
    assert!(
        ran.stderr.contains("some name.zst: bundle 1 for laptop (full): 1 entry, 1 message of 3 B; "),
        "{}",
        ran.stderr
    );
    desktop.ok(&["export", "-o", out.to_str().unwrap()]);
    assert_eq!(names(&out), ["desktop-laptop-2.zst.age", "some name.zst"]);
    // An older bundle of the same name stays, unless it is given up.
    desktop.fails(&["export", "-o", file.to_str().unwrap()], 6);
    desktop.ok(&["export", "--force", "-o", file.to_str().unwrap()]);
    assert_eq!(names(&out), ["desktop-laptop-2.zst.age", "some name.zst"]);
    let stdout = desktop.ok(&["export"]).stdout;
    assert_eq!(stdout[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    let numbers: Vec<Value> = [fs::read(&file).unwrap(), stdout.clone()]
        .iter()
        .map(|bundle| laptop.run_with(&["inspect", "-", "--json"], bundle).json()["bundles"][0]["number"].clone())
        .collect();
    assert_eq!(numbers, [3, 4]);

    let third = Machine::replica(dir.path(), "third");
    desktop.ok(&["peer", "add", "third", "--key", &third.key()]);
    third.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    desktop.ok(&["export", "-o", out.to_str().unwrap()]);
    desktop.ok(&["export", "--to", "third", "-o", out.to_str().unwrap()]);
    assert_eq!(
        names(&out),
        ["desktop-any-5.zst.age", "desktop-laptop-2.zst.age", "desktop-third-6.zst.age", "some name.zst"]
    );
    for machine in [&laptop, &third] {
        assert_eq!(machine.ok(&["import", out.join("desktop-any-5.zst.age").to_str().unwrap()]).code, 0);
        assert_eq!(machine.mailbox(), desktop.mailbox());
    }
    let at = Command::new(MAILSYNC)
        .current_dir(&out)
        .args(["--home", desktop.home.to_str().unwrap(), "export", "--to", "laptop", "-o", "here.zst"])
        .output()
        .unwrap();
    assert!(at.status.success() && out.join("here.zst").exists(), "{at:?}");
}

#[test]
fn export_to_a_pipe_or_through_a_link_replaces_neither() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "new/1", "one", 1);
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let ran = std::thread::scope(|scope| {
        let writer = scope.spawn(|| desktop.run(&["export", "-o", fifo.to_str().unwrap()]));
        let ran = laptop.run(&["import", fifo.to_str().unwrap()]);
        assert_eq!(writer.join().unwrap().code, 0);
        ran
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());

    desktop.put("INBOX", "new/2", "two", 2);
    let (file, link) = (dir.path().join("file.zst"), dir.path().join("link.zst"));
    desktop.ok(&["export", "-o", file.to_str().unwrap()]);
    std::os::unix::fs::symlink(&file, &link).unwrap();
    desktop.fails(&["export", "-o", link.to_str().unwrap()], 6);
    desktop.ok(&["export", "--force", "-o", link.to_str().unwrap()]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    laptop.ok(&["import", file.to_str().unwrap()]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());

    desktop.put("INBOX", "new/3", "three", 3);
    let stdout = desktop.ok(&["export", "-o", "/dev/stdout"]).stdout;
    assert_eq!(laptop.run_with(&["import", "/dev/stdin"], &stdout).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // What was written to nowhere is not known there.
    desktop.put("INBOX", "new/4", "four", 4);
    desktop.ok(&["export", "-o", "/dev/null"]);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_bundle_that_could_not_leave_does_not_count_as_the_last_one_written() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "new/1", "one", 1);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = desktop.command(&["export", "--since-last"]).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let bundle = desktop.ok(&["export", "--since-last"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn import_takes_a_file_a_directory_standard_input_and_several_of_them() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let bundles = chain(&desktop, 0..8);
    let file = |number: usize| {
        let path = dir.path().join(format!("{number}.zst"));
        fs::write(&path, &bundles[number]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let applied = |ran: &Ran| {
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()["bundles"].as_array().unwrap().iter().map(|bundle| bundle["outcome"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(applied(&laptop.run(&["import", "--json", &file(0)])), ["applied"]);
    assert_eq!(applied(&laptop.run(&["import", "--json", &file(1), &file(2)])), ["applied", "applied"]);
    assert_eq!(applied(&laptop.run_with(&["import", "--json"], &bundles[3])), ["applied"]);
    assert_eq!(applied(&laptop.run_with(&["import", "--json", "-"], &bundles[3])), ["nothing-new"]);
    // Several in one stream, and a file beside.
    let stream = bundles[4..6].concat();
    assert_eq!(applied(&laptop.run_with(&["import", "--json", "-", &file(6)], &stream)), ["applied"; 3]);
    let drop = dir.path().join("drop");
    fs::create_dir(&drop).unwrap();
    fs::write(drop.join("x.zst"), &bundles[7]).unwrap();
    assert_eq!(applied(&laptop.run(&["import", "--json", drop.to_str().unwrap()])), ["applied"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox().len(), 8);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(applied(&laptop.run(&["import", "--json", empty.to_str().unwrap()])), [] as [&str; 0]);
}

#[test]
fn a_stream_of_bundles_that_ends_too_early_brings_those_that_are_whole() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let bundles = chain(&desktop, 0..3);
    let mut stream = bundles.concat();
    stream.truncate(stream.len() - 7);
    let ran = laptop.run_with(&["import", "--json"], &stream);
    let outcomes: Vec<Value> =
        ran.json()["bundles"].as_array().unwrap().iter().map(|bundle| bundle["outcome"].clone()).collect();
    assert_eq!((ran.code, outcomes), (4, vec![json!("applied"), json!("applied"), json!("rejected")]));
    assert_eq!(laptop.mailbox().len(), 2);
    assert_eq!(laptop.run_with(&["import"], &bundles.concat()).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn bundles_are_taken_in_any_order_and_again_without_harm() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let bundles = chain(&desktop, 0..4);
    for number in [2, 3, 1] {
        let ran = laptop.run_with(&["import", "--json"], &bundles[number]);
        assert_eq!((ran.code, &ran.json()["bundles"][0]["outcome"]), (3, &json!("not-yet")));
        assert_eq!(laptop.mailbox().len(), 0);
    }
    for (number, messages) in [(0, 1), (2, 1), (1, 2), (3, 2), (2, 3), (3, 4)] {
        laptop.run_with(&["import"], &bundles[number]);
        assert_eq!(laptop.mailbox().len(), messages);
    }
    let before = (laptop.everything(), laptop.ok(&["log", "--json"]).json());
    for bundle in &bundles {
        let ran = laptop.run_with(&["import", "--json"], bundle);
        assert_eq!((ran.code, &ran.json()["bundles"][0]["outcome"]), (0, &json!("nothing-new")));
    }
    assert_eq!((laptop.everything(), laptop.ok(&["log", "--json"]).json()), before);
    assert_eq!(laptop.mailbox(), desktop.mailbox());

    // In a directory an order that works is found, whatever the names are.
    let third = Machine::replica(dir.path(), "third");
    make_peers(&desktop, &third);
    let drop = dir.path().join("drop");
    fs::create_dir(&drop).unwrap();
    desktop.ok(&["export", "--to", "third", "--since-last", "-o", drop.join("z.zst").to_str().unwrap()]);
    for (name, number) in [("y", 4), ("x", 5), ("w", 6)] {
        desktop.put("INBOX", &format!("new/{number}"), format!("message {number}"), number);
        let path = drop.join(format!("{name}.zst"));
        desktop.ok(&["export", "--to", "third", "--since-last", "-o", path.to_str().unwrap()]);
    }
    third.ok(&["import", drop.to_str().unwrap()]);
    assert_eq!(third.mailbox(), desktop.mailbox());
}

#[test]
fn one_line_of_pipes_brings_both_ways() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "new/1", "from the desktop", 1);
    laptop.put("INBOX", "new/2", "from the laptop", 2);
    let mut export = desktop.command(&["export"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reply = laptop
        .command(&["import", "--reply"])
        .stdin(export.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let import = run(desktop.command(&["import"]).stdin(reply.stdout.take().unwrap()));
    assert!(export.wait().unwrap().success() && reply.wait().unwrap().success());
    assert_eq!(import.code, 0, "{import:?}");
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    assert_eq!(desktop.mailbox().len(), 2);
    // A reply comes even to a bundle that can't be applied yet, so that the next one can be.
    let mut bundles = chain(&desktop, 3..6);
    let ran = laptop.run_with(&["import", "--reply"], &bundles.pop().unwrap());
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(desktop.run_with(&["import"], &ran.stdout).code, 0);
    pass(&desktop, &laptop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
}

#[test]
fn consume_removes_what_was_for_this_replica_alone_once_it_is_imported() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let third = Machine::replica(dir.path(), "third");
    let drop = dir.path().join("drop");
    fs::create_dir(&drop).unwrap();
    let path = drop.to_str().unwrap();
    chain(&desktop, 0..1);
    desktop.ok(&["export", "--full", "-o", path]);
    desktop.put("INBOX", "new/9", "nine", 9);
    desktop.ok(&["peer", "add", "third", "--key", &third.key()]);
    desktop.ok(&["export", "-o", path]);
    desktop.ok(&["export", "--to", "third", "-o", path]);
    let all = ["desktop-any-3.zst.age", "desktop-laptop-2.zst.age", "desktop-third-4.zst.age"];
    assert_eq!(names(&drop), all);
    laptop.ok(&["import", "--consume", "--dry-run", path]);
    laptop.ok(&["import", path]);
    assert_eq!(names(&drop), all);
    laptop.ok(&["import", "--consume", path]);
    assert_eq!(names(&drop), ["desktop-any-3.zst.age", "desktop-third-4.zst.age"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // A file that holds one for everybody, too, is kept for the others. One that is encrypted can stand behind.
    let both =
        [desktop.ok(&["export", "--to", "laptop"]).stdout, fs::read(drop.join("desktop-any-3.zst.age")).unwrap()];
    let file = drop.join("both.zst");
    fs::write(&file, both.concat()).unwrap();
    laptop.ok(&["import", "--consume", file.to_str().unwrap()]);
    assert!(file.exists());
}

#[test]
fn import_with_dry_run_tells_the_same_and_changes_nothing() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..4 {
        desktop.put("INBOX", &format!("cur/{number}:2,"), format!("message {number}"), number);
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let cur = desktop.dir("INBOX").join("cur");
    fs::rename(cur.join("0:2,"), cur.join("0:2,F")).unwrap();
    fs::remove_file(cur.join("1:2,")).unwrap();
    desktop.put("Archive", "new/5", "another", 5);
    fs::rename(cur.join("2:2,"), desktop.dir("Archive").join("cur/2:2,")).unwrap();
    let bundle = desktop.ok(&["export"]).stdout;
    let before = laptop.left();
    let dry = laptop.run_with(&["import", "--dry-run", "--json"], &bundle);
    assert!(dry.stderr.contains("would bring: 1 new, 1 moved, 1 flagged, 1 removed"), "{dry:?}");
    assert_eq!(laptop.left(), before);
    let real = laptop.run_with(&["import", "--json"], &bundle);
    let (dry, real) = (dry.json(), real.json());
    assert_eq!(real["bundles"], dry["bundles"]);
    assert_eq!(counts(&real["bundles"][0]), [1, 1, 1, 1]);
    assert_eq!(
        keys(&real["bundles"][0]),
        BTreeSet::from([
            "file", "from", "number", "outcome", "error", "new", "moved", "flagged", "removed", "folders", "jobs",
            "replicas", "left_out", "unmade"
        ])
    );
    assert_eq!(real["bundles"][0]["from"], "desktop");
    assert_eq!(real["bundles"][0]["file"], Value::Null);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(laptop.ok(&["trash", "list", "--json"]).json()["trash"].as_array().unwrap().len() == 1);
}

#[test]
fn a_peer_is_renamed_and_removed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    chain(&desktop, 0..1);
    let bundle = desktop.ok(&["export"]).stdout;
    laptop.ok(&["peer", "rename", "desktop", "tower"]);
    let peers = laptop.ok(&["peer", "list", "--json"]).json();
    assert_eq!((&peers["peers"][0]["name"], &peers["peers"][0]["last_heard"]), (&json!("tower"), &Value::Null));
    assert!(laptop.ok(&["peer", "list"]).text().starts_with("tower  SHA256:"));
    let ran = laptop.run_with(&["import", "--json"], &bundle);
    assert_eq!((ran.code, &ran.json()["bundles"][0]["from"]), (0, &json!("tower")));
    laptop.ok(&["export", "--to", "tower", "-o", dir.path().to_str().unwrap()]);
    assert!(dir.path().join("laptop-tower-1.zst.age").exists());
    complains(&laptop.run(&["export", "--to", "desktop"]), 2, &["the peers are: tower"]);
    laptop.ok(&["peer", "remove", "tower"]);
    assert_eq!(
        own_members(laptop.ok(&["peer", "list", "--json"]).json()),
        json!({ "peers": [], "invited": [], "revoked_others": [] })
    );
    let before = laptop.left();
    complains(&laptop.run_with(&["import"], &bundle), 4, &["unknown sender", "mailsync peer add"]);
    assert_eq!(laptop.left(), before);
    laptop.ok(&["peer", "add", "tower", "--key", &format!("  {}\n", desktop.key())]);
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    let commands: Vec<Value> = laptop.ok(&["log", "--json"]).json()["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["command"].clone())
        .collect();
    for command in ["peer add", "peer rename", "peer remove", "import", "export"] {
        assert!(commands.contains(&json!(command)), "{command} is not in {commands:?}");
    }
}

#[test]
fn status_tells_what_is_here_and_what_a_peer_has_not_seen() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/1:2,", "same", 1);
    desktop.put("Archive/2019", "cur/1:2,", "same", 1);
    desktop.put("Archive/2019", "cur/2:2,", "another", 1);
    desktop.ok(&["scan"]);
    let status = desktop.ok(&["status", "--json"]).json();
    assert!(
        keys(&status)
            .is_superset(&BTreeSet::from(["replica", "entries", "messages", "bytes", "folders", "pending", "peers"])),
        "{status}"
    );
    let replica = &status["replica"];
    assert_eq!(
        *replica,
        json!({
            "id": replica["id"],
            "name": "desktop",
            "public_key": desktop.key(),
            "mail_root": desktop.mail.to_str().unwrap(),
            "layout": "maildir++",
        })
    );
    assert!(replica["id"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!((&status["entries"], &status["messages"], &status["bytes"]), (&json!(3), &json!(2), &json!(15)));
    assert_eq!(status["folders"], json!([{ "name": "Archive/2019", "entries": 2 }, { "name": "INBOX", "entries": 1 }]));
    assert_eq!(status["pending"], 0);
    let peer = &status["peers"][0];
    assert_eq!((&peer["name"], &peer["last_heard"]), (&json!("laptop"), &Value::Null));
    assert_eq!((&peer["unseen_entries"], &peer["unseen_bytes"]), (&json!(3), &json!(15)));
    let laptops = laptop.ok(&["status", "--json"]).json();
    assert_eq!(peer["id"], laptops["replica"]["id"]);
    let text = desktop.ok(&["status"]);
    for words in ["desktop", "maildir++", "3 entries", "Archive/2019", "laptop", "mailsync export --to laptop"] {
        assert!(text.text().contains(words), "{words} is not in {}", text.text());
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let peer = desktop.ok(&["status", "--json"]).json()["peers"][0].clone();
    assert_eq!((&peer["unseen_entries"], &peer["unseen_bytes"]), (&json!(0), &json!(0)));
    assert!(peer["last_heard"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn status_tells_what_came_after_an_invitation_that_nobody_has_answered_yet() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.put("INBOX", "cur/1:2,", "in the invitation", 1);
    desktop.ok(&["scan"]);
    desktop.ok(&["invite", "laptop", "--plain", "-o", dir.path().join("invitation.zst").to_str().unwrap()]);
    let unseen = || {
        let invited = desktop.ok(&["status", "--json"]).json()["invited"][0].clone();
        assert_eq!(invited["name"], "laptop");
        (invited["unseen_entries"].clone(), invited["unseen_bytes"].clone())
    };
    assert_eq!(unseen(), (json!(0), json!(0)));
    assert!(desktop.ok(&["status"]).text().contains("nothing"));
    desktop.put("INBOX", "cur/2:2,", "after it", 2);
    fs::rename(desktop.dir("INBOX").join("cur/1:2,"), desktop.dir("INBOX").join("cur/1:2,S")).unwrap();
    desktop.ok(&["scan"]);
    assert_eq!(unseen(), (json!(2), json!(8)));
    assert!(desktop.ok(&["status"]).text().contains("2 entries, 8 "), "{}", desktop.ok(&["status"]).text());
}

#[test]
fn log_shows_the_newest_things_that_were_done() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..5 {
        desktop.put("INBOX", &format!("new/{number}"), format!("message {number}"), number);
        desktop.ok(&["scan"]);
    }
    pass(&desktop, &laptop);
    let events = laptop.ok(&["log", "--json"]).json()["events"].as_array().unwrap().clone();
    let import = events.iter().find(|event| event["command"] == "import").unwrap();
    assert_eq!(keys(import), BTreeSet::from(["at", "command", "peer", "text"]));
    assert_eq!(
        (&import["peer"], &import["text"]),
        (&json!("desktop"), &json!("bundle 1: 5 new, 0 moved, 0 flagged, 0 removed"))
    );
    assert_eq!(desktop.ok(&["log", "-n", "3"]).text().lines().count(), 3);
    assert!(desktop.ok(&["log", "-n", "3"]).text().contains("export"));
    assert_eq!(desktop.ok(&["log", "-n", "0"]).text(), "");
    // A scan that finds nothing is nothing to tell of.
    let before = desktop.ok(&["log"]).stdout;
    desktop.ok(&["scan"]);
    assert_eq!(desktop.ok(&["log"]).stdout, before);
}

#[test]
fn inspect_tells_what_a_bundle_says_with_and_without_a_replica() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let bundle = dir.path().join("b.zst");
    fs::write(&bundle, chain(&desktop, 0..2).concat()).unwrap();
    let path = bundle.to_str().unwrap();
    let nowhere = Machine::new(dir.path(), "nowhere");
    for (machine, known) in [(&laptop, json!("desktop")), (&nowhere, Value::Null)] {
        let document = machine.ok(&["inspect", "--json", path]).json();
        let first = &document["bundles"][0];
        assert_eq!(document["bundles"].as_array().unwrap().len(), 2);
        assert_eq!(first["known_as"], known);
        assert_eq!((&first["number"], &first["full"]), (&json!(1), &json!(true)));
        assert_eq!(first["from"], "desktop");
        assert_eq!(first["messages"], 1);
        let text = machine.ok(&["inspect", path]);
        assert!(text.text().contains("bundle     1 (full)") && text.text().contains("signature  holds"), "{text:?}");
    }
    assert!(laptop.ok(&["inspect", path]).text().contains("known here as desktop"));
    let own = desktop.ok(&["inspect", path]);
    let shown = |line: &str| own.text().lines().find(|shown| shown.starts_with(line)).unwrap().to_owned();
    assert!(shown("from ").ends_with("(this replica)"), "{}", own.text());
    assert!(nowhere.ok(&["inspect", path]).text().contains("unknown here"));
    assert!(!nowhere.home.exists());
    let piped = laptop.run_with(&["inspect", "-"], &fs::read(path).unwrap());
    assert_eq!(piped.text().replace("standard input", path), laptop.ok(&["inspect", path]).text());
}

#[test]
fn verify_tells_whether_a_bundle_is_whole_and_can_be_applied() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let third = Machine::replica(dir.path(), "third");
    make_peers(&desktop, &third);
    desktop.put("INBOX", "new/7", "seven", 7);
    let one = desktop.ok(&["export", "--to", "laptop", "--since-last"]).stdout;
    desktop.put("INBOX", "new/8", "eight", 8);
    let two = desktop.ok(&["export", "--to", "laptop", "--since-last"]).stdout;
    let others = desktop.ok(&["export", "--to", "third"]).stdout;
    let own = laptop.ok(&["export"]).stdout;
    let mut broken = one.clone();
    *broken.last_mut().unwrap() ^= 1;
    pass(&desktop, &third);
    let strange = third.ok(&["export"]).stdout;
    let before = laptop.left();
    let verify = |bundle: &[u8], code: i32, applicable: bool, words: &str| {
        let ran = laptop.run_with(&["verify", "-"], bundle);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(format!("{}{}", ran.text(), ran.stderr).contains(words), "{ran:?}");
        let json = laptop.run_with(&["verify", "-", "--json"], bundle);
        assert_eq!((json.code, &json.json()["bundles"][0]["applicable"]), (code, &json!(applicable)), "{json:?}");
        assert_eq!(laptop.left(), before);
    };
    verify(&one, 0, true, "is whole and can be applied here");
    verify(&two, 3, false, "can't be applied yet");
    verify(&others, 4, false, "this bundle is for");
    verify(&own, 4, false, "made by this replica itself");
    verify(&strange, 4, false, "unknown sender");
    verify(&broken, 4, false, "corrupt");
    laptop.run_with(&["import"], &one);
    assert!(laptop.run_with(&["verify", "-"], &one).text().contains("is whole"));
    assert_eq!(laptop.run_with(&["verify", "-"], &two).code, 0);
    assert_eq!(laptop.run_with(&["verify", "-"], &one[..one.len() - 1]).code, 4);
}

#[test]
fn what_an_import_removed_is_in_the_trash_and_comes_back_everywhere() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Archive/2019", "cur/1:2,FS", "to be missed", 1_234_567);
    desktop.put("Archive/2019", "cur/2:2,", "to be kept", 1_234_568);
    pass(&desktop, &laptop);
    let before = laptop.mailbox();
    pass(&laptop, &desktop);
    fs::remove_file(desktop.dir("Archive/2019").join("cur/1:2,FS")).unwrap();
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    assert_eq!(laptop.mailbox().len(), 1);
    let listed = laptop.ok(&["trash", "list", "--json"]).json();
    let [item] = &listed["trash"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(
        (&item["folder"], &item["flags"], &item["bytes"], &item["by"]),
        (&json!("Archive/2019"), &json!(["F", "S"]), &json!(12), &json!("desktop"))
    );
    assert_eq!(item["digest"], Digest::of(b"to be missed").to_string());
    assert_eq!(fs::read(item["file"].as_str().unwrap()).unwrap(), b"to be missed");
    assert!(laptop.ok(&["trash", "list"]).text().contains("Archive/2019"));
    // Whoever removed it has nothing in the trash.
    assert_eq!(desktop.ok(&["trash", "list", "--json"]).json()["trash"], json!([]));

    let id = item["id"].to_string();
    laptop.refuses(&["trash", "restore", "4711"], b"", 2, &["4711", "mailsync trash list"]);
    let ran = laptop.ok(&["trash", "restore", &id]);
    assert!(ran.stderr.contains("is back in Archive/2019"), "{ran:?}");
    assert_eq!(laptop.mailbox(), before);
    assert_eq!(laptop.ok(&["trash", "list", "--json"]).json()["trash"], json!([]));
    laptop.refuses(&["trash", "restore", &id], b"", 2, &[&id]);
    assert_eq!(counts(&laptop.ok(&["scan", "--json"]).json()), [0; 4]);
    pass(&laptop, &desktop);
    assert_eq!(desktop.mailbox(), before);
    pass(&desktop, &laptop);
    assert_eq!((laptop.mailbox(), desktop.mailbox()), (before.clone(), before));
}

#[test]
fn a_restored_message_brings_its_folder_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Old/Stuff", "cur/1:2,S", "one", 1);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let before = laptop.mailbox();
    fs::remove_dir_all(desktop.dir("Old/Stuff")).unwrap();
    pass(&desktop, &laptop);
    assert!(!laptop.dir("Old/Stuff").exists());
    let id = laptop.ok(&["trash", "list", "--json"]).json()["trash"][0]["id"].to_string();
    laptop.ok(&["trash", "restore", &id]);
    assert_eq!(laptop.mailbox(), before);
    pass(&laptop, &desktop);
    assert_eq!(desktop.mailbox(), before);
}

#[test]
fn a_trash_file_that_is_gone_is_told_of() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/1:2,S", "one", 1);
    pass(&desktop, &laptop);
    fs::remove_file(desktop.dir("INBOX").join("cur/1:2,S")).unwrap();
    pass(&desktop, &laptop);
    let item = laptop.ok(&["trash", "list", "--json"]).json()["trash"][0].clone();
    let file = PathBuf::from(item["file"].as_str().unwrap());
    fs::write(&file, "something else").unwrap();
    laptop.refuses(&["trash", "restore", &item["id"].to_string()], b"", 1, &[file.to_str().unwrap(), "other contents"]);
    fs::remove_file(&file).unwrap();
    laptop.refuses(&["trash", "restore", &item["id"].to_string()], b"", 1, &[file.to_str().unwrap()]);
}

#[test]
fn quiet_says_nothing_and_a_closed_standard_error_is_no_failure() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "new/1", "one", 1);
    for args in [&["scan", "-q"][..], &["--quiet", "status"], &["peer", "add", "x", "--key", "-q"]] {
        if args[0] != "peer" {
            assert_eq!(desktop.ok(args).stderr, "", "{args:?}");
        }
    }
    let bundle = desktop.ok(&["export", "-q"]);
    assert_eq!(bundle.stderr, "");
    let ran = laptop.run_with(&["import", "--quiet"], &bundle.stdout);
    assert_eq!((ran.code, &*ran.stderr, ran.stdout.len()), (0, "", 0));
    // Errors are said nevertheless.
    complains(&laptop.run_with(&["import", "--quiet"], b"x"), 4, &["standard input"]);

    desktop.put("INBOX", "new/2", "two", 2);
    let mut child = desktop.command(&["scan"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    let mut child =
        desktop.command(&["export", "--to", "nobody"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(desktop.command(&["scan"]).stdout(Stdio::null()).stderr(full).status().unwrap().success());
}

#[test]
fn help_and_version_go_to_standard_output() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "nowhere");
    let version = machine.ok(&["--version"]);
    let lines: Vec<_> = version.text().lines().collect();
    // A build for tests doesn't know its commit, unless it was told.
    let number = concat!("mailsync ", env!("CARGO_PKG_VERSION"));
    assert!(lines[0] == number || lines[0].starts_with(&format!("{number} (")), "{lines:?}");
    let state = format!("state version {}", mailsync::state::VERSION);
    assert_eq!(lines[1..], [&*format!("bundle format {}", mailsync::bundle::VERSION), &*state]);
    assert_eq!(version.stderr, "");
    assert_eq!(machine.ok(&["-V"]).text().trim_end(), lines[0]);
    let help = machine.ok(&["--help"]);
    for words in ["init", "export", "import", "Exit codes: 0 done", "--home"] {
        assert!(help.text().contains(words), "{words} is not in {}", help.text());
    }
    for command in ["init", "peer", "scan", "export", "import", "status", "log", "inspect", "verify", "trash", "doctor"]
    {
        let help = machine.ok(&[command, "--help"]);
        assert!(help.text().contains("Usage: mailsync") && help.stderr.is_empty(), "{help:?}");
    }
    assert!(!machine.home.exists());
}

#[test]
fn the_home_is_found_in_the_environment_and_in_the_xdg_directories() {
    let dir = scratch();
    let (mail, home) = (dir.path().join("mail"), dir.path().join("home"));
    let mailsync = |variables: &[(&str, &Path)], args: &[&str]| {
        let mut command = Command::new(MAILSYNC);
        command.env_clear().args(args).stdin(Stdio::null()).current_dir(dir.path());
        command.envs(variables.iter().copied());
        run(&mut command)
    };
    let make = |variables: &[(&str, &Path)]| {
        let _ = fs::remove_dir_all(&mail);
        fs::create_dir(&mail).unwrap();
        let ran = mailsync(variables, &["init", "mail", "--name", "here"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let status = mailsync(variables, &["status", "--json"]).json();
        assert_eq!(status["replica"]["mail_root"], mail.to_str().unwrap());
    };
    let (config, state, own) = (dir.path().join("c"), dir.path().join("s"), dir.path().join("own"));
    make(&[("HOME", &home)]);
    assert_eq!(names(&home.join(".config/mailsync")), ["config.toml", "key", "key.pub"]);
    assert!(home.join(".local/state/mailsync/state.db").exists() && home.join(".local/state/mailsync/trash").exists());
    make(&[("HOME", &home), ("XDG_CONFIG_HOME", &config), ("XDG_STATE_HOME", &state)]);
    assert_eq!(names(&config.join("mailsync")), ["config.toml", "key", "key.pub"]);
    assert!(state.join("mailsync/state.db").exists());
    make(&[("HOME", &home), ("MAILSYNC_HOME", &own)]);
    assert!(own.join("config.toml").exists() && own.join("state.db").exists() && own.join("key").exists());
    // The command line wins over the environment, and a path may be relative.
    let other = mailsync(&[("HOME", &home), ("MAILSYNC_HOME", &own)], &["--home", "nothing/there", "status"]);
    complains(&other, 1, &["nothing/there/config.toml", "no replica lives there"]);
    assert_eq!(mailsync(&[("HOME", &home)], &["--home", "own", "status"]).code, 0);
}

/// A message is lost from a machine's state, and its file from the disk, and nobody knows.
fn lose(machine: &Machine, message: &[u8]) {
    let state = State::open(&machine.home.join("state.db")).unwrap();
    let transaction = state.begin().unwrap();
    let lost = state.entries_of(&Digest::of(message)).unwrap().remove(0);
    transaction.delete_entry(&lost).unwrap();
    transaction.commit().unwrap();
    let name = String::from_utf8(lost.at.unwrap().name).unwrap();
    fs::remove_file(machine.dir("INBOX").join("cur").join(name)).unwrap();
}

#[test]
fn two_mailboxes_that_differ_at_equal_knowledge_are_noticed_and_healed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..5 {
        desktop.put("INBOX", &format!("cur/{number}:2,S"), format!("message {number}"), number);
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    let before = desktop.mailbox();
    lose(&laptop, b"message 0");
    assert_eq!(laptop.mailbox().len(), 4);
    let words = "know the same but hold different mail";
    let ran = pass(&laptop, &desktop);
    assert!(ran.stderr.contains(words) && ran.stderr.contains("laptop"), "{ran:?}");
    // It is told once, until it is healed; the status tells it all the time.
    let ran = pass(&laptop, &desktop);
    assert!(!ran.stderr.contains(words), "{ran:?}");
    let status = desktop.ok(&["status"]).text().to_owned();
    assert!(status.contains("differs    laptop knows the same, and holds other mail"), "{status}");
    assert_eq!(desktop.ok(&["status", "--json"]).json()["peers"][0]["differs"], true);
    let full = laptop.ok(&["export"]);
    assert!(full.stderr.contains("(delta)"), "it has not heard of it yet: {full:?}");
    let full = desktop.ok(&["export"]);
    assert!(full.stderr.contains("(full)") && full.stderr.contains("to heal it"), "{full:?}");
    let ran = laptop.run_with(&["import"], &full.stdout);
    assert!(ran.code == 0 && ran.stderr.contains("1 new"), "{ran:?}");
    pass(&laptop, &desktop);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox(), before);
    let ran = pass(&desktop, &laptop);
    assert!(!ran.stderr.contains(words), "{ran:?}");
    let ran = pass(&laptop, &desktop);
    assert!(!ran.stderr.contains(words), "{ran:?}");
    assert!(desktop.ok(&["export"]).stderr.contains("(delta)"));
    assert!(!desktop.ok(&["status"]).text().contains("differs"));
    // Once it was healed, it is news again.
    lose(&laptop, b"message 1");
    let ran = pass(&laptop, &desktop);
    assert!(ran.stderr.contains(words), "{ran:?}");
}

#[test]
fn a_name_in_the_configuration_that_nobody_has_is_told_and_stops_nothing() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.allow("send", &["true"], &[], "ghost");
    desktop.allow("print", &["true"], &[], "laptop");
    let config = desktop.home.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[peer.nobody]\ncall = [\"true\"]\n[peer.laptop]\ntimeout = \"5m\"\n")).unwrap();
    for args in [&["scan"][..], &["status"], &["export"], &["update"]] {
        let said = desktop.run(args).stderr;
        for (place, name) in [("[peer.nobody]", "nobody"), ("the \"from\" of the rule that allows \"send\"", "ghost")] {
            let told = format!(
                "note: {}: {place} names a peer that is not known here, and has no effect: there is no peer called {name}; \
                 the peers are: laptop",
                config.display()
            );
            assert_eq!(said.matches(&told).count(), 1, "{args:?}: {said}");
        }
        assert!(!said.contains("[peer.laptop]") && !said.contains("print"), "{said}");
    }
    // A peer that is only invited is known by its name.
    desktop.ok(&["invite", "nobody"]);
    assert!(!desktop.ok(&["scan"]).stderr.contains("[peer.nobody]"));
    pass(&desktop, &laptop);
}

#[test]
fn mail_that_one_side_has_lost_stays_on_the_other_whoever_speaks_first() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..5 {
        desktop.put("INBOX", &format!("cur/{number}:2,S"), format!("message {number}"), number);
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let before = desktop.mailbox();
    lose(&laptop, b"message 0");
    let full = laptop.ok(&["export", "--full"]).stdout;
    let ran = desktop.run_with(&["import"], &full);
    assert!(ran.code == 0 && ran.stderr.contains("hold different mail"), "{ran:?}");
    assert_eq!(desktop.mailbox(), before);
    pass(&desktop, &laptop);
    assert_eq!((desktop.mailbox(), laptop.mailbox()), (before.clone(), before));
}

#[test]
fn a_bundle_goes_neither_among_the_mail_nor_in_the_place_of_a_file() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    let message = desktop.put("INBOX", "cur/1:2,", "mail", 1);
    let notes = dir.path().join("notes.txt");
    fs::write(&notes, "mine").unwrap();
    for (path, words) in [(&message, "in the mail root"), (&desktop.mail, "in the mail root"), (&notes, "no bundle")] {
        let said = desktop.fails(&["export", "-o", path.to_str().unwrap()], 6);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!((fs::read(&message).unwrap(), fs::read(&notes).unwrap()), (b"mail".to_vec(), b"mine".to_vec()));
    let said = desktop.fails(&["export", "-o", &format!("{}/none/", dir.path().display())], 1);
    assert!(said.contains("no such directory"), "{said}");
    let bundle = dir.path().join("b.zst");
    desktop.ok(&["export", "-o", bundle.to_str().unwrap()]);
    let said = desktop.fails(&["export", "-o", bundle.to_str().unwrap()], 6);
    assert!(said.contains("there is already a bundle that this replica has written, number 1;"), "{said}");
    assert!(desktop.ok(&["export", "-o", "-"]).stdout.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
}

#[test]
fn who_asks_for_json_gets_one_document_from_a_command_that_fails_too() {
    let dir = scratch();
    let nobody = Machine::new(dir.path(), "nobody");
    let desktop = Machine::replica(dir.path(), "desktop");
    let missing = dir.path().join("missing");
    for (machine, args) in [
        (&nobody, &["status"][..]),
        (&nobody, &["import", text(&missing)]),
        (&desktop, &["jobs", "show", "abc"]),
        (&desktop, &["scan", "no folder"]),
        (&desktop, &["update"]),
        (&desktop, &["import", text(&missing)]),
        (&desktop, &["inspect", "/dev/null"]),
        (&desktop, &["verify", "/dev/null"]),
        (&desktop, &["trash", "restore", "7"]),
        (&desktop, &["peer", "remove", "x"]),
    ] {
        let ran = machine.run(&[args, &["--json"]].concat());
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(ran.json().is_object(), "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}: it is said in words, too");
    }
}

#[test]
fn every_command_prints_a_document_when_it_succeeds() {
    let (dir, desktop, laptop) = pair_with_mail();
    let file = dir.path().join("b.zst");
    let exported = document(&desktop, &["export", "--to", "laptop", "-o", text(&file)], "export");
    let bundle = &exported["bundles"][0];
    assert_eq!(
        (&bundle["file"], &bundle["for"], &bundle["number"]),
        (&text(&file).into(), &"laptop".into(), &json!(1))
    );
    assert_eq!((&bundle["messages"], &bundle["full"]), (&json!(1), &json!(true)));
    let inspected = document(&laptop, &["inspect", text(&file)], "inspect");
    let made = inspected["bundles"][0]["made"].as_str().unwrap();
    assert!(made.parse::<jiff::Timestamp>().is_ok() && made.ends_with('Z'), "{inspected}");
    document(&laptop, &["verify", text(&file)], "verify");
    assert_eq!(document(&laptop, &["import", "--dry-run", text(&file)], "import")["dry_run"], true);
    assert_eq!(document(&laptop, &["import", text(&file)], "import")["dry_run"], false);
    assert_eq!(document(&laptop, &["scan", "--dry-run"], "scan")["dry_run"], true);
    document(&laptop, &["doctor"], "doctor");
    assert_eq!(document(&laptop, &["doctor", "--new-identity"], "doctor")["stamped_anew"]["entries"], 0);
    document(&laptop, &["purge"], "purge");
    document(&laptop, &["log"], "log");
    document(&laptop, &["status"], "status");
    document(&laptop, &["jobs", "run"], "jobs run");
    document(&laptop, &["jobs", "list"], "jobs list");
    document(&laptop, &["trash", "list"], "trash list");
    document(&laptop, &["key", "show"], "key show");
    document(&laptop, &["key", "rotate"], "key rotate");
    document(&laptop, &["peer", "list"], "peer list");
    let other = Machine::replica(dir.path(), "other").key();
    let added = document(&laptop, &["peer", "add", "tablet", "--key", &other], "peer add");
    assert_eq!((&added["peer"]["name"], &added["peer"]["distant"]), (&json!("tablet"), &json!(false)));
    let renamed = document(&laptop, &["peer", "rename", "tablet", "slate"], "peer rename");
    assert_eq!((&renamed["name"], &renamed["former_name"]), (&json!("slate"), &json!("tablet")));
    assert_eq!(document(&laptop, &["peer", "remove", "slate"], "peer remove")["name"], "slate");
    let planned = document(&desktop, &["export", "--dry-run"], "export");
    assert_eq!((&planned["dry_run"], &planned["bundles"][0]["file"]), (&json!(true), &Value::Null), "{planned}");
    assert!(
        document(&desktop, &["completions", "bash"], "completions")["script"].as_str().unwrap().contains("complete")
    );
    let pages = dir.path().join("pages");
    fs::create_dir(&pages).unwrap();
    assert!(document(&desktop, &["man", text(&pages)], "man")["pages"].as_u64().unwrap() > 20);
    let invited = document(&laptop, &["invite", "phone", "-o", text(&dir.path().join("i.zst"))], "invite");
    assert!(invited["code"].is_string() && invited["bundles"][0]["encrypted"] == true, "{invited}");
}

#[test]
fn a_document_takes_the_place_of_no_bundle_on_standard_output() {
    let (_dir, desktop, _laptop) = pair_with_mail();
    for args in [&["export", "--json"][..], &["export", "-o", "-", "--json"], &["invite", "phone", "--json"]] {
        let ran = desktop.refuses(args, b"", 2, &["the document is on standard output", "-o FILE"]);
        assert_eq!((&ran.json()["command"], &ran.json()["exit_code"]), (&json!(args[0]), &json!(2)));
    }
}

#[test]
fn arguments_that_make_no_sense_get_a_document_too() {
    let dir = scratch();
    let nobody = Machine::new(dir.path(), "nobody");
    for (args, words) in [
        (&["--json", "synchronise"][..], "synchronise"),
        (&["scan", "--json", "--shallow"], "--shallow"),
        (&["import", "--reply", "--json"], "--reply"),
        (&["uux", "--json"], "<PEER>"),
    ] {
        let ran = nobody.run(args);
        let (document, error) = (ran.json(), ran.json()["error"].clone());
        assert_eq!(
            (ran.code, &document["exit_code"], &document["command"]),
            (2, &json!(2), &Value::Null),
            "{document}"
        );
        assert_eq!(error["kind"], "usage", "{document}");
        assert!(error["message"].as_str().unwrap().contains(words), "{document}");
        assert!(ran.stderr.contains(words), "{args:?}: it is said in words, too");
    }
    assert!(nobody.run(&["scan", "--shallow"]).stdout.is_empty());
}

#[test]
fn a_document_says_why_a_command_has_failed_as_people_are_told() {
    let (dir, desktop, laptop) = pair_with_mail();
    let junk = dir.path().join("junk.zst");
    fs::write(&junk, "junk").unwrap();
    for (machine, args, kind) in [
        (&laptop, &["import", text(&junk)][..], "rejected"),
        (&laptop, &["verify", text(&junk)], "rejected"),
        (&laptop, &["inspect", text(&junk)], "rejected"),
        (&desktop, &["update", "laptop"], "usage"),
        (&desktop, &["export", "--to", "nobody", "-o", text(dir.path())], "usage"),
    ] {
        let ran = machine.run(&[args, &["--json"]].concat());
        let error = ran.json()["error"].clone();
        assert_eq!(error["kind"], kind, "{args:?}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(ran.stderr.contains(message), "{message:?} is not what people are told: {}", ran.stderr);
    }
}

/// A desktop with one message, and a laptop, that know each other.
fn pair_with_mail() -> (tempfile::TempDir, Machine, Machine) {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    (dir, desktop, laptop)
}

/// The document of a command that must succeed, which names the command by these words.
#[track_caller]
fn document(machine: &Machine, args: &[&str], words: &str) -> Value {
    let document = machine.ok(&[args, &["--json"]].concat()).json();
    assert_eq!((&document["command"], &document["error"]), (&json!(words), &Value::Null), "{document}");
    document
}
