//! Whatever is given to mailsync that it can't take: it says so in one line, with what to do next, ends with the exit
//! code for it, and leaves mail and state as they were.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use fs2::FileExt;
use mailsync::model::Digest;
use mailsync::replica::{Access, Home, ImportOptions, ImportOutcome, Replica, World};
use serde_json::json;

use crate::support::machine::{Machine, complains, pair, pass};
use crate::support::party::TIMEOUT;
use crate::support::programs::{self, MAILSYNC, NOBODY, Ran, run, run_with};
use crate::support::{copy, scratch, text};

/// Two machines, of which one has mail that the other one knows of, and a bundle with what is new since. Their
/// directory vanishes with `dir`.
struct Scene {
    dir: tempfile::TempDir,
    desktop: Machine,
    laptop: Machine,
    bundle: Vec<u8>,
}

fn scene() -> Scene {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/1:2,S", "From: a@example.org\n\nSeen.\n", 1_600_000_000);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    desktop.put("Archive/2019", "cur/2:2,F", "From: b@example.org\n\nFlagged.\n", 1_600_000_100);
    desktop.put("INBOX", "new/3", "From: c@example.org\n\nNew.\n", 1_600_000_200);
    let bundle = desktop.ok(&["export"]).stdout;
    Scene { dir, desktop, laptop, bundle }
}

/// A message's flags and folder changed so little that the bundle is still well-formed, and is signed by its sender.
fn forge(from: &Machine, bundle: &[u8], change: impl Fn(&mut String, &mut String)) -> Vec<u8> {
    let tar = zstd::decode_all(bundle).unwrap();
    let member = |name: &str| {
        let mut at = 0;
        loop {
            let size = usize::from_str_radix(std::str::from_utf8(&tar[at + 124..at + 135]).unwrap(), 8).unwrap();
            if tar[at..].starts_with(name.as_bytes()) && tar[at + name.len()] == 0 {
                return at + 512..at + 512 + size;
            }
            at += 512 + size.next_multiple_of(512);
        }
    };
    let text = |name: &str| String::from_utf8(tar[member(name)].to_vec()).unwrap();
    let (mut manifest, mut entries) = (text("manifest.json"), text("entries.jsonl"));
    let old = Digest::of(entries.as_bytes()).to_string();
    change(&mut manifest, &mut entries);
    manifest = manifest.replace(&old, &Digest::of(entries.as_bytes()).to_string());
    let signature = from.private_key().sign(manifest.as_bytes()).unwrap().to_armor();
    let mut forged = tar.clone();
    for (name, text) in [("manifest.json", manifest), ("manifest.json.sig", signature), ("entries.jsonl", entries)] {
        assert_eq!(text.len(), member(name).len(), "a forged {name} must have the same length");
        forged[member(name)].copy_from_slice(text.as_bytes());
    }
    compress(&forged)
}

fn compress(tar: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, tar).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_not_an_acceptable_bundle_is_rejected() {
    let Scene { dir, desktop, laptop, bundle } = scene();
    let stranger = Machine::replica(dir.path(), "stranger");
    stranger.put("INBOX", "cur/1:2,", "From: nobody\n\nBuy!\n", 1);
    stranger.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    let strange = stranger.ok(&["export"]).stdout;
    desktop.ok(&["peer", "add", "stranger", "--key", &stranger.key()]);
    let for_stranger = desktop.ok(&["export", "--to", "stranger"]).stdout;
    let own = laptop.ok(&["export"]).stdout;
    let newer =
        forge(&desktop, &bundle, |manifest, _| *manifest = manifest.replace("\"version\": 1", "\"version\": 2"));
    let lying = forge(&desktop, &bundle, |manifest, _| {
        *manifest = manifest.replace("\"kind\": \"delta\"", "\"kind\": \"gamma\"");
    });
    let leading_out = forge(&desktop, &bundle, |_, entries| *entries = entries.replace("Archive/2019", "../../../etc"));
    let someone_elses_signature = forge(&stranger, &bundle, |_, _| {});
    let cases: [(&str, Vec<u8>, &str); 12] = [
        ("nothing", Vec::new(), "the input is empty"),
        ("a text", b"From: a@example.org\n\nHello.\n".to_vec(), "not a bundle"),
        ("one byte", vec![0x28], "cut off"),
        ("zeros", vec![0; 4096], "not a bundle"),
        ("some other zstd file", compress(b"hello"), "not a bundle"),
        ("a stranger's", strange, "unknown sender"),
        ("its own", own, "made by this replica itself"),
        ("one for somebody else", for_stranger, "this bundle is for "),
        ("one of a newer format", newer, "needs a newer mailsync"),
        ("one that lies about its kind", lying, "manifest.json"),
        ("one whose folder leads out of the mail root", leading_out, "folder name"),
        ("one signed by another key", someone_elses_signature, "the bundle is from"),
    ];
    for (what, input, words) in cases {
        println!("{what}");
        laptop.refuses(&["import"], &input, 4, &[words, "standard input"]);
        let file = dir.path().join("b.zst");
        fs::write(&file, &input).unwrap();
        let path = file.to_str().unwrap();
        // Of a file it is known that nobody has failed to write into it.
        let words = if input.is_empty() { "the file is empty" } else { words };
        laptop.refuses(&["import", path], b"", 4, &[words, path]);
        laptop.refuses(&["import", "--consume", path], b"", 4, &[words, path]);
        assert!(file.exists(), "{what} must not be consumed");
        laptop.refuses(&["import", "--dry-run", path], b"", 4, &[words, path]);
        laptop.refuses(&["import", "--reply", path], b"", 4, &[words, path]);
        let json = laptop.run(&["import", "--json", path]).json();
        let outcome = &json["bundles"][0];
        let word = if what == "one for somebody else" { "for-someone-else" } else { "rejected" };
        assert_eq!(outcome["outcome"], word, "{what}");
        assert_eq!(outcome["file"], path);
        assert!(outcome["error"]["message"].as_str().unwrap().contains(words), "{what}: {json}");
        assert_eq!(json["bundles"].as_array().unwrap().len(), 1);
    }
    // The true one is taken nevertheless.
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn verify_and_inspect_refuse_what_import_refuses() {
    let Scene { dir, laptop, bundle, .. } = scene();
    let file = dir.path().join("b.zst");
    let path = file.to_str().unwrap();
    fs::write(&file, &bundle[..bundle.len() - 1]).unwrap();
    laptop.refuses(&["verify", path], b"", 4, &["cut off", path]);
    laptop.refuses(&["inspect", path], b"", 4, &["cut off", path]);
    fs::write(&file, b"").unwrap();
    laptop.refuses(&["verify", path], b"", 4, &["empty", path]);
    laptop.refuses(&["inspect", path], b"", 4, &["empty", path]);
    laptop.refuses(&["verify", "-"], b"x", 4, &["standard input"]);
    let missing = dir.path().join("missing.zst");
    laptop.refuses(&["verify", text(&missing)], b"", 1, &["opening the bundle ", text(&missing)]);
    laptop.refuses(&["inspect", text(dir.path())], b"", 4, &["empty", path]);
}

#[test]
fn a_bundle_cut_off_anywhere_is_rejected_and_nothing_of_it_stays() {
    let Scene { laptop, bundle, dir: _dir, .. } = scene();
    let before = laptop.left();
    each_in_process(&laptop, |replica| {
        for length in 0..bundle.len() {
            let outcome = import(replica, &bundle[..length]);
            assert!(matches!(outcome[..], [ImportOutcome::Rejected(_)]), "cut off after {length} bytes: {outcome:?}");
        }
    });
    assert_eq!(laptop.left(), before);
    for length in (0..bundle.len()).step_by(97) {
        laptop.refuses(&["import"], &bundle[..length], 4, &["standard input: "]);
    }
}

#[test]
fn a_bundle_with_any_byte_changed_is_rejected_or_does_what_the_true_one_does() {
    let Scene { dir, desktop, laptop, bundle } = scene();
    let before = laptop.left();
    let saved = dir.path().join("saved");
    put_back(dir.path(), &saved, &["laptop", "laptop-mail"]);
    let mut harmless = 0;
    for mask in [0x01, 0x80, 0xff] {
        let mut at = 0;
        while at < bundle.len() {
            let mut applied = false;
            each_in_process(&laptop, |replica| {
                while at < bundle.len() && !applied {
                    let mut changed = bundle.clone();
                    changed[at] ^= mask;
                    match &import(replica, &changed)[..] {
                        [ImportOutcome::Rejected(_)] => {}
                        [ImportOutcome::Applied] => applied = true,
                        other => panic!("byte {at} changed by {mask:#x}: {other:?}"),
                    }
                    at += 1;
                }
            });
            if applied {
                harmless += 1;
                assert_eq!(laptop.mailbox(), desktop.mailbox());
                put_back(&saved, dir.path(), &["laptop", "laptop-mail"]);
            }
        }
        assert_eq!(laptop.left().mail, before.mail);
    }
    println!("{harmless} changes were harmless");
    assert!(harmless < 20, "{harmless} changes were not noticed");
    for at in (0..bundle.len()).step_by(101) {
        let mut changed = bundle.clone();
        changed[at] ^= 0x10;
        let before = laptop.left();
        let ran = laptop.run_with(&["import"], &changed);
        if ran.code == 0 {
            assert_eq!(laptop.mailbox(), desktop.mailbox());
            put_back(&saved, dir.path(), &["laptop", "laptop-mail"]);
        } else {
            complains(&ran, 4, &["standard input: "]);
            assert_eq!(laptop.left(), before, "byte {at}");
        }
    }
}

/// Opens the replica without the command line, which takes a fraction of the time.
fn each_in_process(machine: &Machine, each: impl FnOnce(&Replica)) {
    each(&Replica::open(&Home::at(&machine.home), World::real(), Access::Write(TIMEOUT)).unwrap());
}

fn import(replica: &Replica, bundle: &[u8]) -> Vec<ImportOutcome> {
    let mut outcomes = Vec::new();
    let each = |imported: mailsync::replica::Imported| outcomes.push(imported.outcome);
    replica.import_stream(None, bundle, &ImportOptions::default(), each).unwrap();
    outcomes
}

/// Puts directories back as they were, with the times of their files.
fn put_back(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        let _ = fs::remove_dir_all(to.join(name));
        copy(&from.join(name), &to.join(name));
    }
}

#[test]
fn a_bundle_whose_base_is_not_known_here_is_not_yet_applied() {
    let Scene { laptop, desktop, bundle: first, dir: _dir, .. } = scene();
    desktop.put("INBOX", "new/4", "From: d@example.org\n\nLater.\n", 1_600_000_300);
    let second = desktop.ok(&["export", "--since-last"]).stdout;
    let before = laptop.left();
    for args in [&["import"][..], &["import", "--dry-run"]] {
        let ran = laptop.run_with(args, &second);
        complains(
            &ran,
            3,
            &["standard input: ", "bundle 3 from desktop follows its bundle 2, which was not imported here"],
        );
        assert_eq!((laptop.left().mail, laptop.left().log), (before.mail.clone(), before.log.clone()));
    }
    let json = laptop.run_with(&["import", "--json"], &second);
    assert_eq!((json.code, &json.json()["bundles"][0]["outcome"]), (3, &json!("not-yet")));
    assert_eq!(laptop.run_with(&["verify", "-"], &second).code, 3);
    assert_eq!(laptop.run_with(&["import"], &first).code, 0);
    assert_eq!(laptop.run_with(&["import"], &second).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn of_a_directory_of_bundles_the_good_ones_are_taken_and_the_worst_decides() {
    let Scene { dir, laptop, desktop, bundle } = scene();
    let stranger = Machine::replica(dir.path(), "stranger");
    stranger.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    let drop = dir.path().join("drop");
    fs::create_dir(&drop).unwrap();
    fs::write(drop.join("a-cut.zst"), &bundle[..100]).unwrap();
    fs::write(drop.join("b-empty.zst"), b"").unwrap();
    fs::write(drop.join("c-stranger.zst"), stranger.ok(&["export"]).stdout).unwrap();
    fs::write(drop.join("d-good.zst"), &bundle).unwrap();
    fs::write(drop.join("e-own.zst"), laptop.ok(&["export"]).stdout).unwrap();
    fs::write(drop.join("f-readme.txt"), "not a bundle, and not called one").unwrap();
    fs::create_dir(drop.join("g-directory.zst")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("missing"), drop.join("h-nowhere.zst")).unwrap();
    let ran = laptop.run(&["import", "--consume", drop.to_str().unwrap()]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    let said: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(said.len(), 5 + desktop.folders().len(), "{said:?}");
    for (name, words) in [
        ("a-cut.zst", "ends early"),
        ("b-empty.zst", "ends early"),
        ("c-stranger.zst", "unknown sender"),
        ("h-nowhere.zst", "symbolic link"),
        ("", "2 new"),
    ] {
        assert!(said.iter().any(|line| line.contains(name) && line.contains(words)), "{name}: {said:?}");
    }
    let mut left: Vec<_> = fs::read_dir(&drop).unwrap().map(|item| item.unwrap().file_name()).collect();
    left.sort();
    let kept =
        ["a-cut.zst", "b-empty.zst", "c-stranger.zst", "e-own.zst", "f-readme.txt", "g-directory.zst", "h-nowhere.zst"];
    assert_eq!(left, kept);
    let missing = dir.path().join("missing");
    laptop.refuses(&["import", text(&missing)], b"", 1, &["opening the bundle ", text(&missing)]);
}

type Damage<'a> = Box<dyn Fn() + 'a>;

#[test]
fn a_state_that_mailsync_can_not_understand_is_left_alone() {
    let Scene { dir, laptop, bundle, .. } = scene();
    let database = laptop.home.join("state.db");
    let saved = dir.path().join("saved");
    let restore = || put_back(&saved, dir.path(), &["laptop"]);
    let sql = |text: &str| {
        let conn = rusqlite::Connection::open(&database).unwrap();
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        conn.execute_batch(text).unwrap();
    };
    sql("");
    put_back(dir.path(), &saved, &["laptop"]);
    let config = fs::read_to_string(laptop.home.join("config.toml")).unwrap();
    let mail = laptop.everything();
    let page = 4096;
    let cases: Vec<(&str, Damage<'_>, i32, &str)> = vec![
        ("a newer version", Box::new(|| sql("PRAGMA user_version = 99")), 1, "version 99"),
        ("an older version", Box::new(|| sql("PRAGMA user_version = 2")), 1, "before the first release"),
        ("no version", Box::new(|| sql("PRAGMA user_version = 0")), 1, "not a mailsync state"),
        ("another file", Box::new(|| fs::write(&database, "not a database").unwrap()), 1, "state.db"),
        ("an empty file", Box::new(|| fs::write(&database, "").unwrap()), 1, "state.db"),
        ("no file", Box::new(|| fs::remove_file(&database).unwrap()), 1, "state.db"),
        (
            "a directory",
            Box::new(|| {
                fs::remove_file(&database).unwrap();
                fs::create_dir(&database).unwrap();
            }),
            1,
            "state.db",
        ),
        (
            "a damaged page",
            Box::new(|| {
                let mut bytes = fs::read(&database).unwrap();
                bytes[page..].fill(0x5a);
                fs::write(&database, bytes).unwrap();
            }),
            1,
            "state",
        ),
        (
            "half of it",
            Box::new(|| {
                let bytes = fs::read(&database).unwrap();
                fs::write(&database, &bytes[..bytes.len() / 2]).unwrap();
            }),
            1,
            "state",
        ),
        ("no key", Box::new(|| fs::remove_file(laptop.home.join("key")).unwrap()), 1, "/key"),
        ("a damaged key", Box::new(|| fs::write(laptop.home.join("key"), "x").unwrap()), 1, "/key"),
        (
            "a public key",
            Box::new(|| {
                fs::write(laptop.home.join("key"), fs::read(laptop.home.join("key.pub")).unwrap()).unwrap();
            }),
            1,
            "/key",
        ),
        ("no configuration", Box::new(|| fs::remove_file(laptop.home.join("config.toml")).unwrap()), 1, "config.toml"),
        (
            "an empty configuration",
            Box::new(|| fs::write(laptop.home.join("config.toml"), "").unwrap()),
            2,
            "config.toml",
        ),
        (
            "a configuration that isn't TOML",
            Box::new(|| {
                fs::write(laptop.home.join("config.toml"), "\n= what\n").unwrap();
            }),
            2,
            "config.toml, line 2",
        ),
        (
            "binary configuration",
            Box::new(|| {
                fs::write(laptop.home.join("config.toml"), [0xff, 0xfe, 0]).unwrap();
            }),
            1,
            "config.toml",
        ),
        (
            "an unknown option",
            Box::new(|| {
                fs::write(laptop.home.join("config.toml"), format!("{config}colour = \"red\"\n")).unwrap();
            }),
            2,
            "colour",
        ),
        (
            "an unknown layout",
            Box::new(|| {
                fs::write(laptop.home.join("config.toml"), config.replace("maildir++", "mbox")).unwrap();
            }),
            2,
            "mbox",
        ),
        (
            "a name that leads elsewhere",
            Box::new(|| {
                fs::write(laptop.home.join("config.toml"), config.replace("\"laptop\"", "\"../x\"")).unwrap();
            }),
            2,
            "../x",
        ),
        (
            "a relative mail root",
            Box::new(|| {
                fs::write(laptop.home.join("config.toml"), config.replace(laptop.mail.to_str().unwrap(), "mail"))
                    .unwrap();
            }),
            2,
            "absolute",
        ),
    ];
    for (what, damage, code, words) in cases {
        println!("{what}");
        damage();
        for (args, input) in [(&["scan"][..], &b""[..]), (&["status"], b""), (&["export"], b""), (&["import"], &bundle)]
        {
            let ran = laptop.run_with(args, input);
            complains(&ran, code, &[words]);
            assert!(ran.stdout.is_empty(), "{what}: {args:?} wrote something");
        }
        assert_eq!(laptop.everything(), mail, "{what}");
        restore();
        laptop.ok(&["status"]);
    }
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
}

#[test]
fn a_state_without_its_configuration_is_not_overwritten_by_a_new_replica() {
    let Scene { laptop, desktop, dir: _dir, .. } = scene();
    let config = laptop.home.join("config.toml");
    let text = fs::read(&config).unwrap();
    let before = laptop.left();
    fs::remove_file(&config).unwrap();
    let ran = laptop.run(&["init", laptop.mail.to_str().unwrap(), "--name", "laptop"]);
    complains(&ran, 1, &["there is already a state", "state.db", "config.toml"]);
    fs::write(&config, text).unwrap();
    assert_eq!(laptop.left(), before);
    // Starting anew with the same key is what a person can do who has no backup.
    fs::write(laptop.home.join("state.db"), "damaged").unwrap();
    let ran = laptop.run(&["scan"]);
    complains(&ran, 1, &["put it back from a backup", "`mailsync join` into an empty mail root", "mailsync init"]);
    fs::remove_file(laptop.home.join("state.db")).unwrap();
    let key = laptop.key();
    let config = laptop.home.join("config.toml");
    laptop.reach_by("desktop", &["true"]);
    let (text, elsewhere) = (fs::read_to_string(&config).unwrap(), laptop.home.with_file_name("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    complains(&laptop.run(&["init", elsewhere.to_str().unwrap()]), 1, &["is there already, for the mail root"]);
    let ran = laptop.init();
    assert!(ran.stderr.contains("peers have to be made known again"), "{}", ran.stderr);
    assert_eq!((laptop.key(), fs::read_to_string(&config).unwrap()), (key, text), "what the user wrote is kept");
    laptop.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    pass(&laptop, &desktop);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_mail_root_that_is_not_one_is_refused() {
    let Scene { dir, laptop, bundle, .. } = scene();
    let elsewhere = dir.path().join("elsewhere");
    let commands = [(&["scan"][..], &b""[..]), (&["export"], b""), (&["import"], &bundle)];
    let state = |machine: &Machine| (machine.left().status, machine.left().log);
    let before = state(&laptop);
    let refused = |words: &[&str]| {
        for (args, input) in commands {
            let ran = laptop.run_with(args, input);
            complains(&ran, 6, words);
            assert!(ran.stdout.is_empty(), "{args:?}");
        }
    };

    fs::rename(&laptop.mail, &elsewhere).unwrap();
    refused(&["the mail root", laptop.mail.to_str().unwrap(), "mount"]);
    // Even when the person says that all mail was removed: a directory that isn't there is no empty mailbox.
    assert_eq!(laptop.run(&["scan", "--allow-mass-delete"]).code, 6);

    fs::write(&laptop.mail, "a file").unwrap();
    refused(&["the mail root", "not a directory"]);
    fs::remove_file(&laptop.mail).unwrap();

    fs::create_dir(&laptop.mail).unwrap();
    refused(&["no Maildir is left", "--allow-mass-delete"]);
    fs::write(laptop.mail.join("README"), "this disk is not mounted").unwrap();
    refused(&["no Maildir is left"]);
    fs::remove_dir_all(&laptop.mail).unwrap();

    fs::rename(&elsewhere, &laptop.mail).unwrap();
    assert_eq!(state(&laptop), before);
    assert!(laptop.ok(&["scan"]).stderr.contains("0 new, 0 moved, 0 flagged, 0 removed"));
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
}

#[test]
fn init_refuses_what_can_not_be_a_replica() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "desktop");
    let mail = machine.mail.to_str().unwrap();
    let refused = |args: &[&str], code, words: &[&str]| {
        let ran = machine.run(args);
        complains(&ran, code, words);
        assert!(!machine.home.exists(), "{args:?} left {}", machine.home.display());
    };
    let (missing, file) = (dir.path().join("missing"), dir.path().join("file"));
    fs::write(&file, "a file").unwrap();
    refused(&["init", text(&missing)], 1, &[text(&missing), "mkdir"]);
    refused(&["init", text(&file)], 1, &[text(&file), "not a directory"]);
    refused(&["init", mail, "--name", "../x"], 2, &["../x"]);
    refused(&["init", mail, "--name", ""], 2, &["name"]);
    let odd = dir.path().join(OsStr::from_bytes(b"not \xff text"));
    fs::create_dir(&odd).unwrap();
    complains(&run(machine.command(&["init"]).arg(&odd)), 1, &["not UTF-8"]);
    assert!(!machine.home.exists());
    fs::write(machine.mail.join("mbox"), "From a\n").unwrap();
    refused(&["init", mail, "--name", "desktop"], 1, &["no Maildir"]);
    fs::remove_file(machine.mail.join("mbox")).unwrap();
    for args in [
        &["scan"][..],
        &["status"],
        &["export"],
        &["import"],
        &["log"],
        &["peer", "list"],
        &["trash", "list"],
        &["doctor"],
    ] {
        refused(args, 1, &["no replica lives there", "mailsync init"]);
    }
    machine.init();
    machine.put("INBOX", "new/1", "one", 1);
    machine.refuses(&["init", mail, "--name", "desktop"], b"", 1, &["is there already"]);
    machine.refuses(&["init", mail, "--name", "other"], b"", 1, &["is there already"]);
}

#[test]
fn a_folder_that_may_not_be_read_is_told_of_and_nothing_in_it_is_lost() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..3 {
        desktop.put("INBOX", &format!("cur/{number}:2,S"), format!("inbox {number}"), number);
        desktop.put("Work", &format!("cur/{number}:2,S"), format!("work {number}"), number);
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let Some(nobody) = Nobody::owning(dir.path()) else { return };
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let entries = || desktop.ok(&["status", "--json"]).json()["entries"].clone();
    let (work, bundle) = (desktop.dir("Work"), dir.path().join("b.zst"));
    let cases = [(work.join("cur"), 0o000), (work.join("cur"), 0o600), (work.clone(), 0o000), (work.clone(), 0o600)];
    for (number, (closed, mode)) in (7..).zip(cases) {
        println!("{} {mode:o}", closed.display());
        // Something is to be found there, and something in another folder.
        nobody.own(&desktop.put("Work", &format!("cur/late{number}:2,"), format!("late {number}"), number));
        let path = desktop.put("INBOX", "new/here", format!("arrived {number}"), number);
        nobody.own(&path);
        chmod(&closed, mode);
        for args in [&["scan"][..], &["scan", "--deep"], &["export", "--force", "-o", bundle.to_str().unwrap()]] {
            let ran = nobody.run(&desktop, args);
            assert_eq!(ran.code, 1, "{ran:?}");
            let problems: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("Permission denied")).collect();
            assert!(!problems.is_empty(), "{ran:?}");
            for problem in problems {
                assert!(problem.contains("Work") && problem.contains("permission to read"), "{problem}");
            }
        }
        assert_eq!(entries(), number);
        let ran = nobody.run(&laptop, &["import", bundle.to_str().unwrap()]);
        assert!(ran.code == 0 && ran.stderr.contains("new, 0 moved, 0 flagged, 0 removed"), "{ran:?}");
        assert!(laptop.mailbox().contains_key(&Digest::of(format!("arrived {number}").as_bytes())));
        chmod(&closed, 0o700);
        fs::remove_file(path).unwrap();
        let ran = nobody.run(&desktop, &["scan"]);
        assert!(ran.code == 0 && ran.stderr.contains("1 new, 0 moved, 0 flagged, 1 removed"), "{ran:?}");
        assert_eq!(entries(), number);
        assert_eq!(
            nobody.run(&desktop, &["export", "--since-last", "--force", "-o", bundle.to_str().unwrap()]).code,
            0
        );
        assert_eq!(nobody.run(&laptop, &["import", bundle.to_str().unwrap()]).code, 0);
        assert_eq!(laptop.mailbox(), desktop.mailbox());
        nobody.run(&laptop, &["export", "--force", "-o", bundle.to_str().unwrap()]);
        assert_eq!(nobody.run(&desktop, &["import", bundle.to_str().unwrap()]).code, 0);
    }
    let mail = desktop.mailbox();
    let ran = nobody.run(&desktop, &["scan", "--deep"]);
    assert!(ran.code == 0 && ran.stderr.contains("0 new, 0 moved, 0 flagged, 0 removed"), "{ran:?}");
    assert_eq!((desktop.mailbox(), mail.len()), (mail.clone(), 10));

    // What may not be read is left out of a bundle, and told of.
    chmod(&work.join("cur"), 0o000);
    let ran = nobody.run(&desktop, &["export", "--full", "--force", "-o", bundle.to_str().unwrap()]);
    let words = ["reading", "Work/cur/", "Permission denied", "left out of the bundle"];
    let told = ran.stderr.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    assert_eq!((ran.code, told.count()), (1, 7), "{ran:?}");
    assert_eq!(nobody.run(&laptop, &["import", bundle.to_str().unwrap()]).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    chmod(&work.join("cur"), 0o700);
    assert_eq!(nobody.run(&desktop, &["export", "--full", "--force", "-o", bundle.to_str().unwrap()]).code, 0);
    assert_eq!(nobody.run(&laptop, &["import", bundle.to_str().unwrap()]).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());

    // A message that may not be read is told of, and comes when it may be.
    let secret = desktop.put("Work", "cur/secret:2,", "for root only", 5);
    nobody.own(&secret);
    chmod(&secret, 0o000);
    for _ in 0..2 {
        let ran = nobody.run(&desktop, &["scan", "--quiet"]);
        complains(&ran, 1, &["secret", "Permission denied"]);
        assert_eq!(entries(), 10);
    }
    chmod(&secret, 0o600);
    assert_eq!(nobody.run(&desktop, &["scan"]).code, 0);
    assert_eq!(entries(), 11);
}

#[test]
fn of_many_folders_that_changed_those_that_may_not_be_read_keep_what_they_had_and_the_others_are_scanned() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    desktop.init();
    let folder = |number: u64| format!("Folder{number:02}");
    for number in 0..16 {
        desktop.put(&folder(number), "cur/stays:2,S", format!("stays {number}"), number);
        desktop.put(&folder(number), "cur/goes:2,S", format!("goes {number}"), number);
    }
    desktop.ok(&["scan"]);
    let Some(nobody) = Nobody::owning(dir.path()) else { return };
    for number in 0..16 {
        fs::remove_file(desktop.dir(&folder(number)).join("cur/goes:2,S")).unwrap();
        nobody.own(&desktop.put(&folder(number), "cur/comes:2,", format!("comes {number}"), number));
    }
    // The first and the last that are listed, and two beside each other.
    let closed = [0, 7, 8, 15].map(|number| desktop.dir(&folder(number)).join("cur"));
    let chmod = |mode| closed.each_ref().map(|dir| fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap());
    chmod(0o300);
    let ran = nobody.run(&desktop, &["scan"]);
    let told = ran.stderr.lines().filter(|line| line.contains("Permission denied")).collect::<Vec<_>>();
    assert_eq!((ran.code, told.len()), (1, 4), "{ran:?}");
    for dir in &closed {
        let dir = dir.parent().unwrap().to_str().unwrap();
        assert!(told.iter().any(|line| line.contains(dir)), "{dir}: {told:?}");
    }
    // What vanished may have been moved into a folder that wasn't seen: it is not removed.
    assert!(ran.stderr.contains("12 new, 0 moved, 0 flagged, 0 removed"), "{ran:?}");
    chmod(0o700);
    let ran = nobody.run(&desktop, &["scan"]);
    assert!(ran.code == 0 && ran.stderr.contains("4 new, 0 moved, 0 flagged, 16 removed"), "{ran:?}");
    let again = nobody.run(&desktop, &["scan"]);
    assert!(again.code == 0 && again.stderr.contains("0 new, 0 moved, 0 flagged, 0 removed"), "{again:?}");
}

#[test]
fn an_import_goes_on_with_the_other_folders_where_one_may_not_be_written() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Closed", "cur/1:2,S", "flagged there", 1);
    desktop.put("Closed", "cur/2:2,S", "removed there", 2);
    desktop.put("Open", "cur/3:2,S", "flagged", 3);
    desktop.put("Open", "cur/4:2,S", "removed", 4);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    for folder in ["Closed", "Open"] {
        let cur = desktop.dir(folder).join("cur");
        let name = if folder == "Open" { ["3:2,S", "4:2,S"] } else { ["1:2,S", "2:2,S"] };
        fs::rename(cur.join(name[0]), cur.join(name[0].replace('S', "FS"))).unwrap();
        fs::remove_file(cur.join(name[1])).unwrap();
    }
    desktop.put("Closed", "cur/5:2,", "new there", 5);
    desktop.put("Open", "cur/6:2,", "new", 6);
    let bundle = dir.path().join("b.zst");
    desktop.ok(&["export", "-o", bundle.to_str().unwrap()]);
    let Some(nobody) = Nobody::owning(dir.path()) else { return };
    let closed = laptop.dir("Closed").join("cur");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    for args in [&["import", "--quiet", bundle.to_str().unwrap()][..], &["scan", "--quiet"]] {
        let ran = nobody.run(&laptop, args);
        complains(&ran, 1, &["3 changes could not be made", "Closed", "Permission denied"]);
        let of = |machine: &Machine, folder: &str| {
            let all = machine.mailbox().into_iter();
            all.filter(|(_, copies)| copies.iter().any(|mail| mail.folder == folder)).collect::<Vec<_>>()
        };
        assert_eq!(of(&laptop, "Open"), of(&desktop, "Open"));
        assert_eq!(of(&laptop, "Closed").len(), 2, "nothing there was changed");
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let ran = nobody.run(&laptop, &["scan"]);
    assert!(ran.code == 0 && ran.stderr.contains("0 new, 0 moved, 0 flagged, 0 removed"), "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_an_import_brings_to_a_folder_that_may_not_be_written_waits_and_comes_when_it_may() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Work", "cur/1:2,S", "one", 1);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    desktop.put("Work", "cur/2:2,S", "two", 2);
    let bundle = dir.path().join("b.zst");
    desktop.ok(&["export", "-o", bundle.to_str().unwrap()]);
    let Some(nobody) = Nobody::owning(dir.path()) else { return };
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let before = laptop.mailbox();
    for closed in ["tmp", "cur"] {
        let closed = laptop.dir("Work").join(closed);
        chmod(&closed, 0o500);
        let ran = nobody.run(&laptop, &["import", "--quiet", bundle.to_str().unwrap()]);
        complains(&ran, 1, &["Work", "Permission denied"]);
        assert_eq!(laptop.mailbox(), before);
        assert_eq!(laptop.pending(), 1);
    }
    for closed in ["tmp", "cur"] {
        chmod(&laptop.dir("Work").join(closed), 0o700);
    }
    // The bundle isn't needed any more.
    let ran = nobody.run(&laptop, &["scan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.pending(), 0);
}

#[test]
fn a_home_that_may_not_be_used_is_not_taken_for_none() {
    let Scene { laptop, dir, .. } = scene();
    let Some(nobody) = Nobody::owning(dir.path()) else { return };
    let home = |name: &str| laptop.home.join(name);
    let cases = [
        (laptop.home.clone(), 0o000, "config.toml"),
        (home("config.toml"), 0o000, "config.toml"),
        (home("key"), 0o000, "key"),
        (home("lock"), 0o000, "lock"),
        (home("state.db"), 0o000, "state.db"),
    ];
    for (path, mode, words) in cases {
        println!("{} {mode:o}", path.display());
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let ran = nobody.run(&laptop, &["scan"]);
        complains(&ran, 1, &[words]);
        assert!(!ran.stderr.contains("mailsync init"), "{ran:?}");
        fs::set_permissions(&path, before).unwrap();
        let ran = nobody.run(&laptop, &["scan"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let other = Machine { home: closed.join("home"), ..laptop.clone() };
    let ran = nobody.run_at(&other, &["init", laptop.mail.to_str().unwrap(), "--name", "laptop", "--anyway"]);
    complains(&ran, 1, &["closed/home", "Permission denied"]);
}

/// A user whom permissions bind: root's tests must not pass because root may do everything.
struct Nobody {
    switch: bool,
}

impl Nobody {
    /// Gives everything in a directory to that user. `None`, and says why, where this can't be done.
    fn owning(dir: &Path) -> Option<Self> {
        let nobody = Self { switch: programs::are_run_by_root() };
        if nobody.switch {
            for item in walkdir::WalkDir::new(dir) {
                nobody.own(item.unwrap().path());
            }
            let reaches = nobody.command().arg("--version").output();
            if !reaches.is_ok_and(|output| output.status.success()) {
                println!("not tested: setpriv is missing, or user {NOBODY} can't run the program where it lies");
                return None;
            }
        }
        Some(nobody)
    }

    fn own(&self, path: &Path) {
        if self.switch {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn command(&self) -> Command {
        if !self.switch {
            return Command::new(MAILSYNC);
        }
        let mut command = Command::new("setpriv");
        let [user, group] = ["reuid", "regid"].map(|option| format!("--{option}={NOBODY}"));
        command.args([&user, &group, "--clear-groups", "--", MAILSYNC]);
        command
    }

    fn run_at(&self, machine: &Machine, args: &[&str]) -> Ran {
        let mut command = self.command();
        run(command.arg("--home").arg(&machine.home).args(args).stdin(Stdio::null()))
    }

    fn run(&self, machine: &Machine, args: &[&str]) -> Ran {
        let ran = self.run_at(machine, args);
        // What root reads to compare doesn't make files that the user can't open.
        for item in walkdir::WalkDir::new(&machine.home) {
            self.own(item.unwrap().path());
        }
        ran
    }
}

#[test]
fn a_peer_that_can_not_be_is_refused() {
    let Scene { dir, laptop, desktop, .. } = scene();
    let other = Machine::replica(dir.path(), "other");
    let private = laptop.home.join("key");
    let others_private = other.home.join("key");
    let missing = dir.path().join("missing");
    let short = &other.key()[..30];
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDF8XSGkkkyXV9Rk3cF3Kq5TCVCmN9jgtGH7Lwu1ZKv1Zg== x";
    let cases: [(&[&str], i32, &str); 20] = [
        (&["peer", "add", "laptop", "--key", &other.key()], 2, "what this replica itself is called"),
        (&["peer", "rename", "desktop", "laptop"], 2, "what this replica itself is called"),
        (&["invite", "laptop"], 2, "what this replica itself is called"),
        (&["peer", "add", "me", "--key", &laptop.key()], 2, "this replica itself"),
        (&["peer", "add", "desktop", "--key", &other.key()], 1, "already a peer called desktop"),
        (&["peer", "add", "again", "--key", &desktop.key()], 1, "already known as desktop"),
        (&["peer", "add", "other", "--key", short], 2, "public key"),
        (&["peer", "add", "other", "--key", rsa], 2, "public key"),
        (&["peer", "add", "other", "--key", ""], 2, "public key"),
        (&["peer", "add", "other", "--key", text(&missing)], 1, text(&missing)),
        (&["peer", "add", "other", "--key", text(dir.path())], 1, text(dir.path())),
        (&["peer", "add", "other", "--key", others_private.to_str().unwrap()], 2, "private key"),
        (&["peer", "add", "other", "--key", private.to_str().unwrap()], 2, "private key"),
        (&["peer", "add", "../other", "--key", &other.key()], 2, "../other"),
        (&["peer", "add", "", "--key", &other.key()], 2, "name"),
        (&["peer", "rename", "nobody", "somebody"], 2, "nobody"),
        (&["peer", "rename", "desktop", "a b"], 2, "a b"),
        (&["peer", "remove", "nobody"], 2, "the peers are: desktop"),
        (&["export", "--to", "nobody"], 2, "the peers are: desktop"),
        (&["trash", "restore", "17"], 2, "17"),
    ];
    for (args, code, words) in cases {
        println!("{args:?}");
        let ran = laptop.refuses(args, b"", code, &[words]);
        assert!(!ran.stderr.contains("PRIVATE"), "a private key must not be shown: {}", ran.stderr);
    }
    laptop.ok(&["peer", "add", "other", "--key", &other.key()]);
    laptop.refuses(&["peer", "rename", "other", "desktop"], b"", 1, &["already a peer called desktop"]);
    other.refuses(&["export"], b"", 1, &["no peer", "mailsync peer add"]);
    other.refuses(&["export", "--to", "laptop"], b"", 2, &["laptop", "mailsync peer add"]);
}

#[test]
fn an_export_that_can_not_be_written_is_as_if_it_had_not_been_tried() {
    let Scene { dir, desktop, .. } = scene();
    let here = dir.path().to_str().unwrap();
    let cases = [format!("{here}/missing/b.zst"), format!("{here}/missing/"), "/proc/b.zst".into(), "/dev/full".into()];
    for path in &cases {
        println!("{path}");
        desktop.refuses(&["export", "-o", path], b"", 1, &["writing the bundle", path]);
    }
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [&["export"][..], &["export", "-o", "/dev/stdout"]] {
        let before = desktop.left();
        let ran = run(desktop.command(args).stdout(full()));
        complains(&ran, 1, &["writing the bundle", "No space left"]);
        assert_eq!(desktop.left(), before);
    }
    for args in [&["status"][..], &["status", "--json"], &["log"], &["peer", "list"]] {
        let ran = run(desktop.command(args).stdout(full()));
        complains(&ran, 1, &["writing to standard output", "No space left"]);
    }
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}

#[test]
fn an_export_into_a_directory_that_may_not_be_written_fails() {
    let Scene { dir, desktop, .. } = scene();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let Some(nobody) = Nobody::owning(dir.path()) else { return };
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let path = closed.to_str().unwrap().to_owned();
    for path in [path.clone(), format!("{path}/b.zst")] {
        let before = desktop.left();
        complains(&nobody.run(&desktop, &["export", "-o", &path]), 1, &["writing the bundle", &path, "Permission"]);
        assert_eq!(desktop.left(), before);
    }
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_fails_an_export_and_nothing_else() {
    let Scene { desktop, dir: _dir, .. } = scene();
    for (args, code) in [
        (&["export"][..], 1),
        (&["export", "--full"], 1),
        (&["status"], 0),
        (&["status", "--json"], 0),
        (&["log"], 0),
        (&["--help"], 0),
    ] {
        let before = desktop.left();
        let mut child = desktop.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let ran = Ran { code: child.wait().unwrap().code().unwrap_or(-1), stdout: Vec::new(), stderr };
        if code == 0 {
            assert_eq!((ran.code, &*ran.stderr), (0, ""), "{args:?}");
        } else {
            complains(&ran, code, &["writing the bundle", "has ended"]);
        }
        assert_eq!(desktop.left(), before, "{args:?}");
    }
}

#[test]
fn only_one_command_at_a_time_changes_a_replica() {
    let Scene { desktop, bundle, dir: _dir, .. } = scene();
    let lock = File::options().write(true).open(desktop.home.join("lock")).unwrap();
    lock.lock_exclusive().unwrap();
    let cases: [&[&str]; 7] = [
        &["scan"],
        &["export"],
        &["import"],
        &["peer", "remove", "laptop"],
        &["trash", "restore", "1"],
        &["doctor"],
        &["scan", "--dry-run"],
    ];
    for args in cases {
        let args = [args, &["--lock-timeout", "0"]].concat();
        let ran = desktop.refuses(&args, &bundle, 5, &["another mailsync", "--lock-timeout"]);
        assert!(ran.stdout.is_empty());
    }
    // Reading waits for nobody.
    for args in [&["status"][..], &["log"], &["peer", "list"], &["trash", "list"]] {
        desktop.ok(&[args, &["--lock-timeout", "0"]].concat());
    }
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| desktop.run(&["scan", "--lock-timeout", "20"]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        FileExt::unlock(&lock).unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(waiting.code, 0, "{waiting:?}");
}

#[test]
fn much_mail_is_removed_only_when_the_person_says_so() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..101 {
        desktop.put("Lists", &format!("cur/{number}:2,S"), format!("message {number}"), number);
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    // Half of them may go.
    for number in 0..51 {
        fs::remove_file(desktop.dir("Lists").join(format!("cur/{number}:2,S"))).unwrap();
    }
    let words = ["51 of the 101 messages in Lists", "--allow-mass-delete"];
    // Only a dry run shows them besides.
    let shows = |ran: &Ran| {
        assert_eq!((ran.code, ran.stdout.is_empty()), (6, true), "{ran:?}");
        assert!(words.iter().chain(&["Lists: 51 removed"]).all(|words| ran.stderr.contains(words)), "{ran:?}");
    };
    for args in [&["scan"][..], &["scan", "Lists"], &["export"], &["import"]] {
        let ran = desktop.refuses(args, &[], 6, &words);
        assert!(ran.stdout.is_empty(), "{args:?}");
    }
    shows(&desktop.run(&["scan", "--dry-run"]));
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export"]).stdout;
    for args in [&["import"][..], &["import", "--reply"]] {
        let ran = laptop.refuses(args, &bundle, 6, &["standard input", words[0], words[1]]);
        assert!(ran.stdout.is_empty(), "{args:?}");
    }
    shows(&laptop.run_with(&["import", "--dry-run"], &bundle));
    let ran = laptop.run_with(&["import", "--allow-mass-delete"], &bundle);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox().len(), 50);
}

#[test]
fn an_emptied_mail_root_is_not_believed() {
    let Scene { laptop, desktop, dir: _dir, .. } = scene();
    let state = (laptop.left().status, laptop.left().log);
    for name in ["cur", "new", "tmp"] {
        fs::remove_dir_all(laptop.mail.join(name)).unwrap();
    }
    complains(&laptop.run(&["scan"]), 6, &["no Maildir is left", "--allow-mass-delete"]);
    complains(&laptop.run(&["export"]), 6, &["no Maildir is left"]);
    complains(&laptop.run_with(&["import"], &desktop.ok(&["export"]).stdout), 6, &["no Maildir is left"]);
    assert_eq!((laptop.left().status, laptop.left().log), state);
    assert!(laptop.ok(&["scan", "--allow-mass-delete"]).stderr.contains("1 removed"));
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    let Scene { dir, laptop, .. } = scene();
    let cases: [&[&str]; 22] = [
        &[],
        &["frobnicate"],
        &["export", "--frobnicate"],
        &["export", "--full", "--since-last"],
        &["export", "--level", "0"],
        &["export", "--level", "23"],
        &["export", "--level", "fast"],
        &["export", "-o"],
        &["import", "--reply", "--json"],
        &["import", "--reply", "--dry-run"],
        &["init"],
        &["init", text(dir.path()), "--layout", "mbox"],
        &["peer"],
        &["peer", "add", "x"],
        &["peer", "rename", "x"],
        &["trash", "restore"],
        &["trash", "restore", "one"],
        &["verify"],
        &["scan", "--lock-timeout", "soon"],
        &["scan", "../x"],
        &["scan", "Nowhere"],
        &["log", "-n", "-1"],
    ];
    let before = laptop.left();
    for args in cases {
        let ran = laptop.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert_eq!(ran.stdout.is_empty(), !args.contains(&"--json"), "{args:?}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}: {ran:?}");
    }
    assert_eq!(laptop.left(), before);
    let mut command = Command::new(MAILSYNC);
    command.env_remove("MAILSYNC_HOME").env_remove("HOME").env_remove("XDG_CONFIG_HOME");
    // A home that can't be a directory.
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    complains(&run_with(command.args(["--home", text(&file), "status"]), b""), 1, &[text(&file)]);
}
