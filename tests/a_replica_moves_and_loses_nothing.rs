//! The mail moves to another file system, and the whole replica to another machine: numbers of files and the times that
//! only a file system sets are others then. No message is delivered anew for that, and nothing is taken for removed.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use mailsync::disk::RealDisk;
use mailsync::maildir::LayoutKind;
use mailsync::replica::{MoveOptions, Replica, ScanOptions, World};

use crate::support::machine::{Machine, assert_same, counts, exchange, message, pair, pass};
use crate::support::party::{self, Party, TIMEOUT};
use crate::support::programs::leave_out;
use crate::support::{copy, make_folder, scratch, text};

/// A place on another file system than this one; `None` if there is none, and the test is left out.
fn elsewhere(here: &Path) -> Option<tempfile::TempDir> {
    let device = |dir: &Path| fs::metadata(dir).unwrap().dev();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if device(dir.path()) != device(here) {
        return Some(dir);
    }
    leave_out("there is no second file system here");
    None
}

/// Two machines with the same mail: in several folders, read and unread, flagged and with a keyword, one folder empty.
fn with_mail(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for subject in ["one", "two", "three"] {
        desktop.deliver(subject);
        desktop.put("Archive/2019", &format!("cur/{subject}:2,FSa"), message(&format!("old {subject}")), 1_500_000_000);
    }
    fs::write(desktop.dir("Archive/2019").join("dovecot-keywords"), "0 work\n").unwrap();
    desktop.put("INBOX", "new/5.unread", message("unread"), 1_600_000_000);
    make_folder(&desktop.dir("Empty"));
    exchange(&desktop, &laptop);
    (desktop, laptop)
}

/// What has moved is what it was, for this machine and for the other one.
#[track_caller]
fn nothing_has_happened(moved: &Machine, other: &Machine, mail: &crate::support::machine::Mailbox, when: &str) {
    moved.is_at_rest(when);
    assert_eq!(counts(&moved.ok(&["scan", "--deep", "--json"]).json()), [0; 4], "{when}");
    assert_same(&moved.mailbox(), mail, when);
    let before = other.everything();
    pass(moved, other);
    pass(other, moved);
    assert_eq!(other.everything(), before, "{when}: something came");
    assert_same(&moved.mailbox(), mail, when);
    assert_eq!(moved.ok(&["trash", "list", "--json"]).json()["trash"], serde_json::json!([]), "{when}");
    // And it goes on.
    moved.deliver("later");
    moved.remove("two");
    other.flag("one", "FS");
    other.move_to("three", "Archive/2019");
    exchange(moved, other);
    assert_same(&moved.mailbox(), &other.mailbox(), when);
    assert!(moved.has("later") && !other.has("two"), "{when}");
}

#[test]
fn mail_that_moves_to_another_file_system_is_the_same_mail() {
    let dir = scratch();
    let Some(elsewhere) = elsewhere(dir.path()) else { return };
    let (mut desktop, laptop) = with_mail(dir.path());
    let mail = desktop.mailbox();
    let moved = elsewhere.path().join("mail");
    copy(&desktop.mail, &moved);
    fs::remove_dir_all(&desktop.mail).unwrap();
    desktop.mail = moved;
    desktop.reconfigure(&[("mail_root", &format!("{:?}", text(&desktop.mail)))]);
    assert!(desktop.fails(&["scan"], 6).contains("mailsync doctor --moved-root"));
    let dry = desktop.ok(&["doctor", "--moved-root", "-n", "--json"]).json();
    let report = desktop.ok(&["doctor", "--moved-root", "--json"]).json();
    for report in [dry, report] {
        let found = &report["scan"];
        assert_eq!(counts(found), [0; 4], "{report}");
        for none in ["folders_made", "folders_removed", "messages_read", "adopted"] {
            assert_eq!(found[none], 0, "{none}: {report}");
        }
    }
    nothing_has_happened(&desktop, &laptop, &mail, "on another file system");
}

#[test]
fn mail_behind_the_same_path_may_lie_on_another_file_system() {
    let dir = scratch();
    let Some(elsewhere) = elsewhere(dir.path()) else { return };
    let (mut desktop, laptop) = with_mail(dir.path());
    let (link, moved) = (dir.path().join("link"), elsewhere.path().join("mail"));
    symlink(&desktop.mail, &link).unwrap();
    desktop.reconfigure(&[("mail_root", &format!("{:?}", text(&link)))]);
    desktop.ok(&["doctor", "--moved-root"]);
    desktop.is_at_rest("behind a link");
    let mail = desktop.mailbox();
    copy(&desktop.mail, &moved);
    fs::remove_file(&link).unwrap();
    symlink(&moved, &link).unwrap();
    fs::remove_dir_all(&desktop.mail).unwrap();
    desktop.mail = moved;
    nothing_has_happened(&desktop, &laptop, &mail, "behind the same path");
}

#[test]
fn a_mail_root_that_is_not_mounted_is_not_taken_for_an_empty_one() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    let mail = desktop.mailbox();
    let bundle = laptop.ok(&["export"]).stdout;
    let away = dir.path().join("away");
    fs::rename(&desktop.mail, &away).unwrap();
    for what_is_there in ["nothing", "an empty directory", "an empty Maildir"] {
        match what_is_there {
            "nothing" => {}
            "an empty directory" => fs::create_dir(&desktop.mail).unwrap(),
            _ => make_folder(&desktop.mail),
        }
        for args in [&["scan"][..], &["export"], &["import"], &["export", "--to", "laptop"]] {
            let ran = desktop.run_with(args, &bundle);
            assert_eq!(ran.code, 6, "{what_is_there}: {args:?}: {ran:?}");
        }
        assert_eq!(desktop.run(&["status"]).code, 0, "{what_is_there}");
    }
    fs::remove_dir_all(&desktop.mail).unwrap();
    fs::rename(&away, &desktop.mail).unwrap();
    nothing_has_happened(&desktop, &laptop, &mail, "mounted again");
}

/// The world of another machine.
fn another() -> World {
    World { machine: Ok(String::from("another machine")), ..World::real() }
}

#[test]
fn a_replica_that_moves_to_another_machine_is_the_same_one_and_goes_on() {
    let mail = ["INBOX alpha S", "INBOX beta new", "Archive gamma FS", "Archive delta -", "Empty"];
    for stays in [true, false] {
        let dir = scratch();
        let old = Party::new(dir.path(), "old", LayoutKind::MaildirPlusPlus, &mail);
        let there = Party::new(dir.path(), "there", LayoutKind::Fs, &[]);
        party::make_peers(&old, &there);
        let bundle = dir.path().join("bundle");
        party::exchange(&old, &there, &bundle);
        assert_eq!(old.mailbox(), there.mailbox());
        let incarnation = old.opened().state().incarnation().unwrap();

        // All of it is copied onto the other machine, under the same path or another one.
        let moved = dir.path().join("moved");
        copy(old.root(), &moved);
        fs::remove_dir_all(old.root()).unwrap();
        let new = if stays {
            fs::rename(&moved, old.root()).unwrap();
            old.clone()
        } else {
            let home = mailsync::replica::Home::at(moved.join("home"));
            let new = Party { mail: moved.join("mail"), home, ..old.clone() };
            let config = fs::read_to_string(new.home.config_file()).unwrap();
            assert!(config.contains(text(&old.mail)));
            fs::write(new.home.config_file(), config.replace(text(&old.mail), text(&new.mail))).unwrap();
            new
        };
        let replica = if stays {
            new.open_in(another()).unwrap()
        } else {
            let refused = new.open_in(another()).unwrap_err();
            assert!(refused.to_string().contains("mailsync doctor --moved-root"), "{refused}");
            Replica::open_moved(&new.home, another(), TIMEOUT).unwrap()
        };
        let notes = replica.drain_notes().join("\n");
        assert!(notes.contains("was copied, moved or restored"), "{notes}");
        let report =
            if stays { replica.scan(&ScanOptions::default()) } else { replica.move_root(&MoveOptions::default()) };
        let report = report.unwrap();
        assert!(!report.has_changes() && report.problems.is_empty() && report.messages_read == 0, "{report:?}");
        assert_ne!(replica.state().incarnation().unwrap(), incarnation);
        drop(replica);

        let (before, files) = (there.mailbox(), there.snapshot());
        let replica = new.open_in(another()).unwrap();
        assert_eq!(replica.drain_notes(), [""; 0], "once is enough");
        party::export(&replica, &there, &bundle);
        drop(replica);
        let is_mail = |path: &&std::path::PathBuf| path.starts_with(&there.mail) && !path.ends_with("tmp");
        there.import(&bundle);
        let after = there.snapshot();
        for path in files.keys().filter(is_mail) {
            assert_eq!(after.get(path), files.get(path), "{}", path.display());
        }
        assert_eq!((there.mailbox(), there.trash().len()), (before, 0));

        // And it goes on, in both directions.
        new.act_all(&["deliver INBOX epsilon S", "remove INBOX alpha"]);
        there.act_all(&["move Archive gamma INBOX", "flag Archive delta F"]);
        for _ in 0..2 {
            let replica = new.open_in(another()).unwrap();
            replica.scan(&ScanOptions::default()).unwrap();
            party::export(&replica, &there, &bundle);
            there.import(&bundle);
            there.export(&new, &bundle);
            party::import(&replica, &bundle).unwrap();
        }
        assert_eq!(new.mailbox(), there.mailbox());
        assert!(new.mailbox().contains(&String::from("INBOX epsilon S")), "{:?}", new.mailbox());
        assert!(new.mailbox().contains(&String::from("INBOX gamma FS")), "{:?}", new.mailbox());
        let whole = new.open_in(World { disk: Box::new(RealDisk), ..another() }).unwrap();
        whole.check_state().unwrap();
    }
}
