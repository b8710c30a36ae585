//! A message that can't be read is left out of a bundle, which says so, and told. Everything else goes, and it follows
//! once it can be read. What was moved or removed since it was scanned is no such message.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mailsync::maildir::LayoutKind;
use mailsync::replica::ScanOptions;
use rustix::io::Errno;

use crate::support::disk::{Fault, Op, Watch};
use crate::support::machine::{Machine, Mailbox, exchange, message, pair, pass};
use crate::support::party::{self, Party};
use crate::support::programs::become_an_ordinary_user;
use crate::support::{rest, scratch, text};

/// Three messages of the desktop that it has scanned, and the file of one that can't be read any more.
fn one_of_three_is_bad(desktop: &Machine) -> PathBuf {
    let files: Vec<PathBuf> =
        (1..=3).map(|n| desktop.put("INBOX", &format!("cur/{n}.x:2,S"), message(&format!("m{n}")), 5)).collect();
    rest();
    desktop.ok(&["scan"]);
    forbid(&files[1]);
    files[1].clone()
}

fn forbid(file: &Path) {
    fs::set_permissions(file, Permissions::from_mode(0o000)).unwrap();
}

fn allow(file: &Path) {
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

/// The command has done everything else, and names the file that it couldn't read.
#[track_caller]
fn told(machine: &Machine, args: &[&str], file: &Path) -> Vec<u8> {
    let ran = machine.run(args);
    assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains(text(file))).collect();
    assert_eq!(lines.len(), 1, "{args:?}: {}", ran.stderr);
    for words in ["reading", "Permission denied", "left out of the bundle", "permission to read it"] {
        assert!(lines[0].contains(words), "{args:?}: {}", lines[0]);
    }
    ran.stdout
}

fn without(mailbox: &Mailbox, missing: &str) -> Mailbox {
    let mut mailbox = mailbox.clone();
    mailbox.remove(&mailsync::model::Digest::of(message(missing).as_bytes())).unwrap();
    mailbox
}

#[test]
fn every_kind_of_bundle_is_written_without_a_message_that_can_not_be_read_and_it_comes_later() {
    for export in [&["export"][..], &["export", "--full"], &["export", "--to", "laptop"], &["export", "--since-last"]] {
        let dir = scratch();
        if !become_an_ordinary_user_in(dir.path()) {
            return;
        }
        let (desktop, laptop) = pair(dir.path());
        exchange(&desktop, &laptop);
        let bad = one_of_three_is_bad(&desktop);
        let bundle = told(&desktop, export, &bad);
        let whole = laptop.run_with(&["verify", "-"], &bundle);
        assert_eq!(whole.code, 0, "{export:?}: {}", whole.stderr);
        let ran = laptop.run_with(&["import"], &bundle);
        assert_eq!(ran.code, 0, "{export:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("desktop could not read 1 message"), "{}", ran.stderr);
        assert_eq!((laptop.mailbox().len(), laptop.pending()), (2, 1), "{export:?}");
        // As long as it can't be read, that is told each time.
        told(&desktop, export, &bad);
        allow(&bad);
        // The laptop need not have asked for it.
        let bundle = desktop.ok(export).stdout;
        assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
        assert_eq!(laptop.mailbox(), desktop.mailbox(), "{export:?}");
        exchange(&desktop, &laptop);
        desktop.is_at_rest("in the end");
        laptop.is_at_rest("in the end");
    }
}

/// A test as root sees no permission. The directory becomes that user's, too.
fn become_an_ordinary_user_in(dir: &Path) -> bool {
    let is_root = crate::support::programs::are_run_by_root();
    if is_root {
        let user = Some(crate::support::programs::NOBODY);
        std::os::unix::fs::chown(dir, user, user).unwrap();
    }
    become_an_ordinary_user()
}

#[test]
fn what_a_bundle_lacks_is_told_by_who_writes_it_and_by_who_looks_into_it() {
    let dir = scratch();
    if !become_an_ordinary_user_in(dir.path()) {
        return;
    }
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    for n in 1..=4 {
        desktop.put(if n < 3 { "Shut" } else { "Open" }, &format!("cur/{n}:2,S"), message(&format!("m{n}")), 5);
    }
    desktop.ok(&["scan"]);
    forbid(&desktop.dir("Shut"));
    let bundle = dir.path().join("bundle");
    let export = |more: &[&str]| desktop.run(&[&["export", "--to", "laptop", "--full"], more].concat());
    let without = |said: &str| said.lines().filter(|line| line.ends_with("(without its contents)")).count();
    let (one, size) = (message("m1").len(), |count: usize| format!("2 messages of {} B", count * message("m1").len()));

    let dry = export(&["-n", "-v", "-o", text(&bundle)]);
    assert!(
        dry.stderr.contains(&format!("{}; 2 messages can't be read, and would not be in it", size(2))),
        "{}",
        dry.stderr
    );
    assert_eq!((dry.code, without(&dry.stderr)), (1, 2), "{}", dry.stderr);
    let written = export(&["-v", "-o", text(&bundle)]);
    assert!(written.stderr.contains(&format!("{}; ", size(2))), "{}", written.stderr);
    assert!(written.stderr.contains("2 messages could not be read, and are not in it"), "{}", written.stderr);
    assert_eq!((written.code, without(&written.stderr)), (1, 2), "{}", written.stderr);
    assert!(desktop.ok(&["log"]).text().contains(&format!("{}; ", size(2))));
    let document = export(&["--json", "-v", "-n"]).json();
    let told = &document["bundles"][0];
    assert_eq!((&told["messages"], &told["missing"], &told["bytes"]), (&2.into(), &2.into(), &(2 * one).into()));
    let marked = |told: &serde_json::Value| {
        let changes = told["changes"].as_array().unwrap();
        changes.iter().filter(|change| change["missing"] == true).all(|change| change["folder"] == "Shut")
            && changes.iter().filter(|change| change["missing"] == true).count() == 2
    };
    assert!(marked(told), "{told}");

    let looked = laptop.ok(&["inspect", "-v", text(&bundle)]);
    let lacks = format!("4 messages of {} B (it lacks 2 of them, which its sender could not read)", 4 * one);
    assert!(looked.text().contains(&lacks) && without(looked.text()) == 2, "{}", looked.text());
    for (args, missing) in [(&["inspect"][..], None), (&["inspect", "-v"], Some(2)), (&["verify"], Some(2))] {
        let document = laptop.ok(&[args, &["--json", text(&bundle)]].concat()).json();
        assert_eq!(document["bundles"][0]["missing"], serde_json::json!(missing), "{args:?}");
        assert!(args.len() == 1 || marked(&document["bundles"][0]), "{document}");
    }
    let verified = laptop.ok(&["verify", text(&bundle)]);
    assert!(verified.text().contains("it lacks 2 messages that its sender could not read"), "{}", verified.text());
    for import in [&["import", "-n"][..], &["import"]] {
        let said = laptop.ok(&[import, &[text(&bundle)]].concat());
        for words in ["they come once they can be read", "the contents of some messages are not here yet"] {
            assert!(said.stderr.contains(words), "{import:?}: {}", said.stderr);
        }
    }
    // The next one brings it, and says nothing of the kind.
    fs::set_permissions(desktop.dir("Shut"), Permissions::from_mode(0o700)).unwrap();
    let next = pass(&desktop, &laptop);
    assert!(!next.stderr.contains("are not here yet"), "{}", next.stderr);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_bundle_that_was_lost_with_what_it_lacked_is_made_good_by_wants_or_by_the_next() {
    let dir = scratch();
    if !become_an_ordinary_user_in(dir.path()) {
        return;
    }
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let bad = one_of_three_is_bad(&desktop);
    told(&desktop, &["export"], &bad);
    let bundle = told(&desktop, &["export"], &bad);
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    // The laptop asks for it, in a bundle of its own.
    let wants = laptop.ok(&["export"]).stdout;
    assert_eq!(desktop.run_with(&["import"], &wants).code, 0);
    told(&desktop, &["export"], &bad);
    allow(&bad);
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn an_invitation_an_answer_and_a_call_leave_out_what_can_not_be_read() {
    let dir = scratch();
    if !become_an_ordinary_user_in(dir.path()) {
        return;
    }
    let desktop = Machine::replica(dir.path(), "desktop");
    let bad = one_of_three_is_bad(&desktop);
    let bundle = told(&desktop, &["invite", "laptop"], &bad);
    let laptop = Machine::new(dir.path(), "laptop");
    let joined = laptop.run_with(&["join", text(&laptop.mail), "-", "--name", "laptop"], &bundle);
    assert_eq!(joined.code, 0, "{}", joined.stderr);
    assert_eq!((laptop.mailbox(), laptop.pending()), (without_bad(&desktop, &bad), 1));

    laptop.deliver("from the laptop");
    let news = laptop.ok(&["export"]).stdout;
    let replied = desktop.run_with(&["import", "--reply"], &news);
    assert_eq!(replied.code, 1, "{}", replied.stderr);
    assert!(replied.stderr.contains(text(&bad)), "{}", replied.stderr);
    assert_eq!(laptop.run_with(&["import"], &replied.stdout).code, 0);

    desktop.reach(&laptop);
    desktop.deliver("one more");
    told(&desktop, &["update"], &bad);
    assert!(laptop.has("one more"));
    allow(&bad);
    desktop.ok(&["update"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

/// The mailbox but for a file that can't be read.
fn without_bad(machine: &Machine, bad: &Path) -> Mailbox {
    allow(bad);
    let mailbox = without(&machine.mailbox(), "m2");
    forbid(bad);
    mailbox
}

#[test]
fn a_scan_that_can_not_read_a_new_message_leaves_it_for_later_and_the_others_go() {
    let dir = scratch();
    if !become_an_ordinary_user_in(dir.path()) {
        return;
    }
    let (desktop, laptop) = pair(dir.path());
    let bad = desktop.put("INBOX", "new/1.x", message("bad"), 5);
    forbid(&bad);
    desktop.deliver("good");
    rest();
    let ran = desktop.run(&["export"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(text(&bad)), "{}", ran.stderr);
    assert_eq!(laptop.run_with(&["import"], &ran.stdout).code, 0);
    assert!(laptop.has("good") && laptop.mailbox().len() == 1);
    allow(&bad);
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_message_that_was_moved_and_can_not_be_read_there_is_not_removed() {
    let dir = scratch();
    if !become_an_ordinary_user_in(dir.path()) {
        return;
    }
    let (desktop, laptop) = pair(dir.path());
    let (moved, gone) = (desktop.put("INBOX", "cur/1.x:2,S", message("moved"), 5), "a message of another size");
    let gone = desktop.put("INBOX", "cur/2.x:2,S", message(gone), 5);
    desktop.put("Archive", "cur/3.x:2,S", message("other"), 5);
    rest();
    exchange(&desktop, &laptop);
    let there = desktop.dir("Archive").join("cur/1.x:2,S");
    fs::rename(&moved, &there).unwrap();
    forbid(&there);
    fs::remove_file(&gone).unwrap();
    rest();
    let report = desktop.run(&["scan", "--json"]);
    assert_eq!(report.code, 1, "{}", report.stderr);
    let counts = ["removed", "moved", "new", "undecided"].map(|count| report.json()[count].as_u64().unwrap());
    // Either may be the one that can't be read.
    assert_eq!(counts, [0, 0, 0, 2]);
    allow(&there);
    rest();
    let report = desktop.ok(&["scan", "--json"]).json();
    assert_eq!((report["moved"].as_u64(), report["removed"].as_u64()), (Some(1), Some(1)));
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_was_moved_or_removed_since_the_scan_is_no_bad_message() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let file = |n: u32| desktop.put("INBOX", &format!("cur/{n}.x:2,S"), message(&format!("m{n}")), 5);
    let files: Vec<PathBuf> = (1..=4).map(file).collect();
    desktop.put("Archive", "cur/9.x:2,", message("m9"), 5);
    rest();
    desktop.ok(&["scan"]);
    // Moved under another name, renamed within the folder, removed.
    fs::rename(&files[0], desktop.dir("Archive").join("new/other")).unwrap();
    fs::rename(&files[1], desktop.dir("INBOX").join("cur/2.x:2,FS")).unwrap();
    fs::remove_file(&files[2]).unwrap();
    rest();
    let exported = desktop.ok(&["export", "--no-scan"]);
    let imported = laptop.run_with(&["import"], &exported.stdout);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert!(laptop.has("m1") && laptop.has("m2") && !laptop.has("m3") && laptop.has("m4") && laptop.has("m9"));
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    laptop.is_at_rest("in the end");
}

/// The operating system's errors at each call of an export. What is read again at once is good then. An error of the
/// machine, or of the state directory, is none of a message.
#[test]
fn a_call_of_an_export_that_fails_has_nothing_left_out_that_can_be_read() {
    let dir = scratch();
    let here = Party::new(dir.path(), "here", LayoutKind::MaildirPlusPlus, &["INBOX alpha S", "Archive large S"]);
    let there = Party::new(dir.path(), "there", LayoutKind::Fs, &[]);
    party::make_peers(&here, &there);
    rest();
    here.opened().scan(&ScanOptions::default()).unwrap();
    let (before, bundle) = ([&here, &there].map(Party::snapshot), dir.path().join("bundle"));
    let (mut written, mut failed, mut midst) = (0, 0, 0);
    for errno in [Errno::IO, Errno::ACCESS, Errno::MFILE] {
        for n in 1.. {
            here.put_back(&before[0]);
            there.put_back(&before[1]);
            let watch = Watch::new(&dir.path().join("keep"));
            let replica = here.open(watch.disk()).unwrap();
            watch.arm(Fault::Fail(n, errno));
            let file = fs::File::create(&bundle).unwrap();
            let exported = replica.export(&mailsync::replica::ExportOptions::to_peer("there"), file);
            let Some(struck) = watch.struck() else { break };
            let problems = replica.drain_problems();
            drop(replica);
            match exported {
                Ok(exported) => {
                    assert!(
                        exported.missing.digests.is_empty() && problems.is_empty(),
                        "{errno} at {struck:?}: {problems:?}"
                    );
                    written += 1;
                    there.import(&bundle);
                }
                Err(error) => {
                    // A large message was read and found good, and is read a second time into the bundle: what fails
                    // only then is found out when the bundle has begun to tell of it.
                    let is_in_the_midst = struck.op == Op::Read && error.to_string().contains("writing the bundle");
                    let is_own = errno != Errno::MFILE && struck.path.starts_with(&here.mail);
                    assert!(!is_own || is_in_the_midst, "{error} at {struck:?}");
                    midst += usize::from(is_in_the_midst);
                    failed += 1;
                }
            }
            party::exchange(&here, &there, &bundle);
            assert_eq!(here.mailbox(), there.mailbox(), "{errno} at {struck:?}");
            assert_eq!(here.mailbox(), ["Archive large S", "INBOX alpha S"], "{errno} at {struck:?}");
        }
    }
    assert!(written > 0 && failed > midst && midst > 0, "{written} were written, {failed} have failed, {midst} late");
}
