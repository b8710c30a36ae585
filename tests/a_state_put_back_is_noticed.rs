//! A state that was put back to an earlier one: in place, where only bundles can tell, and copied, where it is noticed
//! at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mailsync::model::Digest;

use crate::support::machine::{Machine, Mailbox, exchange, make_peers, message, pair, pass};
use crate::support::{copy, scratch};

/// A machine's state database as it is between two commands: one file, and nothing beside it.
struct Snapshot {
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Snapshot {
    fn take(machine: &Machine) -> Self {
        let file = machine.home.join("state.db");
        assert!(!machine.home.join("state.db-wal").exists(), "the state is not at rest");
        Self { bytes: fs::read(&file).unwrap(), file }
    }

    /// Puts it back as the snapshot of a file system or a virtual machine does: the file itself stays the same one.
    fn put_back(&self) {
        let inode = fs::metadata(&self.file).unwrap().ino();
        fs::write(&self.file, &self.bytes).unwrap();
        assert_eq!(fs::metadata(&self.file).unwrap().ino(), inode);
    }
}

/// Both hold the same, and exactly these messages.
#[track_caller]
fn both_hold(one: &Machine, other: &Machine, subjects: &[&str]) {
    let mailbox: Mailbox = one.mailbox();
    assert_eq!(mailbox, other.mailbox());
    for subject in subjects {
        let digest = Digest::of(message(subject).as_bytes());
        assert_eq!(mailbox.get(&digest).map(Vec::len), Some(1), "{subject}");
    }
    assert_eq!(mailbox.len(), subjects.len());
}

/// A desktop whose state forgets, in place, what it has done and told since: the message `forgotten`, which the laptop
/// has.
fn rolled_back(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    desktop.deliver("first");
    exchange(&desktop, &laptop);
    let snapshot = Snapshot::take(&desktop);
    desktop.deliver("forgotten");
    pass(&desktop, &laptop);
    snapshot.put_back();
    (desktop, laptop)
}

#[test]
fn a_state_that_was_put_back_ends_the_import_and_it_is_said_what_was_not_looked_at() {
    let dir = scratch();
    let (desktop, laptop) = rolled_back(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&phone, &laptop);
    desktop.deliver("after");
    phone.deliver("from the phone");
    let files = [&desktop, &phone].map(|machine| {
        let file = dir.path().join(format!("{}.zst", machine.name));
        fs::write(&file, machine.ok(&["export", "--to", "laptop"]).stdout).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let ran = laptop.run(&["import", &files[0], &files[1]]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("these were not looked at: {}", files[1])), "{}", ran.stderr);
    assert!(!laptop.has("from the phone"));
}

/// A bundle shows that a state was put back: that is told as an item of the answer and noted in the history, once, and
/// nothing else comes of it.
#[track_caller]
fn is_told_and_noted(machine: &Machine, bundle: &[u8], from: &str, whose: &str) {
    let before = machine.left();
    for _ in 0..2 {
        let ran = machine.run_with(&["import", "--json"], bundle);
        assert_eq!(ran.code, 6, "{ran:?}");
        let document = ran.json();
        let [item] = &document["bundles"].as_array().unwrap()[..] else { panic!("{document}") };
        assert_eq!((&item["outcome"], &item["from"]), (&"rolled-back".into(), &from.into()), "{document}");
        assert!(item["number"].as_u64().is_some() && item["error"] == document["error"], "{document}");
        assert_eq!(ran.stderr.matches("doctor --new-identity").count(), 1, "{}", ran.stderr);
    }
    let after = machine.left();
    assert_eq!((before.mail, before.status), (after.mail, after.status));
    let words = format!("was not applied: it shows that the state of {whose} was put back");
    let noted = |log: &str| log.matches(&*words).count();
    assert_eq!(noted(&after.log), noted(&before.log) + 1, "{}", after.log);
}

#[test]
fn a_state_rolled_back_in_place_is_noticed_by_itself_when_a_peer_tells_what_it_forgot() {
    let dir = scratch();
    let (desktop, laptop) = rolled_back(dir.path());
    laptop.deliver("of-the-laptop");
    let told = laptop.ok(&["export"]).stdout;
    desktop.deliver("later");
    // What changed on disk meanwhile is found before every import: that is no part of it.
    desktop.ok(&["scan"]);
    is_told_and_noted(&desktop, &told, "laptop", "this replica");
    let ran = desktop.refuses(
        &["import"],
        &told,
        6,
        &["laptop knows of changes made here", "doctor --new-identity", "export to laptop"],
    );
    assert!(!ran.stderr.contains("new incarnation"), "it can't have been noticed before: {ran:?}");
    desktop.refuses(&["import", "--reply"], &told, 6, &["mailsync doctor --new-identity"]);
    let file = dir.path().join("told.zst");
    fs::write(&file, &told).unwrap();
    let path = file.to_str().unwrap();
    desktop.refuses(&["import", "--consume", path], b"", 6, &["mailsync doctor --new-identity", path]);
    let looked_at = desktop.run(&["verify", path]);
    assert_eq!(looked_at.code, 6, "{looked_at:?}");
    assert!(looked_at.text().contains("mailsync doctor --new-identity"), "{looked_at:?}");
    assert!(file.exists());

    desktop.ok(&["doctor", "--new-identity"]);
    // That one still starts from what is forgotten. The first bundle from here tells the laptop so.
    assert_eq!(desktop.run(&["import", "--consume", path]).code, 3);
    assert!(file.exists());
    exchange(&desktop, &laptop);
    both_hold(&desktop, &laptop, &["first", "forgotten", "later", "of-the-laptop"]);
}

#[test]
fn a_state_rolled_back_in_place_is_noticed_by_a_peer_when_it_tells_something_else() {
    let dir = scratch();
    let (desktop, laptop) = rolled_back(dir.path());
    desktop.deliver("later");
    laptop.deliver("of-the-laptop");
    laptop.ok(&["scan"]);
    let words = ["desktop has forgotten changes that it made", "mailsync doctor --new-identity` on desktop"];
    let told = desktop.ok(&["export"]).stdout;
    is_told_and_noted(&laptop, &told, "desktop", "desktop");
    laptop.refuses(&["import"], &told, 6, &words);
    laptop.refuses(&["import", "--reply"], &told, 6, &words);
    // Neither does it help to send everything.
    let full = desktop.ok(&["export", "--full"]).stdout;
    is_told_and_noted(&laptop, &full, "desktop", "desktop");
    laptop.refuses(&["import"], &full, 6, &words);

    desktop.ok(&["doctor", "--new-identity"]);
    exchange(&desktop, &laptop);
    both_hold(&desktop, &laptop, &["first", "forgotten", "later", "of-the-laptop"]);
}

#[test]
fn a_state_and_its_mail_rolled_back_in_place_get_back_what_they_forgot() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("first");
    desktop.deliver("moved");
    exchange(&desktop, &laptop);
    let snapshot = Snapshot::take(&desktop);
    desktop.deliver("forgotten");
    let cur = desktop.dir("INBOX").join("cur");
    fs::rename(cur.join("moved:2,S"), cur.join("moved:2,FS")).unwrap();
    pass(&desktop, &laptop);
    let flagged = laptop.mailbox();
    snapshot.put_back();
    fs::remove_file(cur.join("forgotten:2,S")).unwrap();
    fs::rename(cur.join("moved:2,FS"), cur.join("moved:2,S")).unwrap();
    desktop.deliver("later");
    let told = laptop.ok(&["export"]).stdout;
    desktop.ok(&["scan"]);
    is_told_and_noted(&desktop, &told, "laptop", "this replica");
    desktop.ok(&["doctor", "--new-identity"]);
    exchange(&desktop, &laptop);
    both_hold(&desktop, &laptop, &["first", "forgotten", "later", "moved"]);
    assert!(flagged.iter().all(|message| laptop.mailbox().get(message.0) == Some(message.1)), "flags hold");
}

#[test]
fn one_that_was_rolled_back_does_not_keep_the_bundles_of_others_in_a_directory_from_being_applied() {
    let dir = scratch();
    let (desktop, laptop) = rolled_back(dir.path());
    let others = ["a", "b", "c", "d"].map(|name| Machine::replica(dir.path(), name));
    let share = dir.path().join("share");
    fs::create_dir(&share).unwrap();
    let path = share.to_str().unwrap();
    desktop.deliver("later");
    desktop.ok(&["export", "-o", path]);
    for other in &others {
        make_peers(other, &laptop);
        other.deliver(&other.name);
        other.ok(&["export", "-o", path]);
    }
    let before = laptop.mailbox().len();
    let ran = laptop.run(&["import", "--consume", path]);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.stderr.contains("mailsync doctor --new-identity"), "{ran:?}");
    assert_eq!(laptop.mailbox().len(), before + others.len());
    assert_eq!(fs::read_dir(&share).unwrap().count(), 1);
}

/// A laptop whose mail and state were copied to another machine, and what the copy says when it notices.
fn copied(dir: &Path, laptop: &Machine) -> (Machine, String) {
    let twin = Machine { name: "laptop".to_owned(), mail: dir.join("twin-mail"), home: dir.join("twin") };
    copy(&laptop.mail, &twin.mail);
    copy(&laptop.home, &twin.home);
    let file = twin.home.join("config.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace(laptop.mail.to_str().unwrap(), twin.mail.to_str().unwrap())).unwrap();
    let said = twin.ok(&["doctor", "--moved-root"]).stderr;
    (twin, said)
}

#[test]
fn a_copied_state_is_noticed_and_told_how_to_become_a_replica_of_its_own() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("first");
    exchange(&desktop, &laptop);
    let (twin, said) = copied(dir.path(), &laptop);
    for words in ["was copied", "new incarnation", "--home", "mailsync init", "mailsync invite", "mailsync join"] {
        assert!(said.contains(words), "{words:?} should be in {said}");
    }
    assert!(!twin.ok(&["scan"]).stderr.contains("copied"), "once is enough");

    // They go by one key, and take no bundles of each other's.
    laptop.deliver("of-the-laptop");
    twin.deliver("of-the-twin");
    let by_twin = twin.ok(&["export", "--to", "desktop"]).stdout;
    laptop.ok(&["scan"]);
    let words = ["made with this replica's own key", "a copy of it", "--home", "mailsync init", "mailsync join"];
    laptop.refuses(&["import"], &by_twin, 4, &words);
    let share = dir.path().join("share");
    fs::create_dir(&share).unwrap();
    twin.ok(&["export", "--to", "desktop", "-o", share.to_str().unwrap()]);
    let said = laptop.ok(&["import", "--consume", share.to_str().unwrap()]).stderr;
    assert!(said.contains("made with this replica's own key") && said.contains("no bundle for this replica"), "{said}");
    assert_eq!(fs::read_dir(&share).unwrap().count(), 1);
    let own = laptop.ok(&["export", "--to", "desktop"]).stdout;
    laptop.refuses(&["import"], &own, 4, &["made by this replica itself"]);
    // What they changed reaches the desktop all the same.
    for bundle in [&by_twin, &own] {
        assert_eq!(desktop.run_with(&["import"], bundle).code, 0);
    }
    assert_eq!(desktop.mailbox().len(), 3);

    // The way out, as it was told.
    let invitation = desktop.ok(&["invite", "tablet"]).stdout;
    let tablet = Machine { name: "tablet".to_owned(), home: dir.path().join("tablet"), mail: twin.mail.clone() };
    let joined = tablet.run_with(&["join", tablet.mail.to_str().unwrap()], &invitation);
    assert_eq!(joined.code, 0, "{}", joined.stderr);
    exchange(&tablet, &desktop);
    exchange(&laptop, &desktop);
    both_hold(&desktop, &laptop, &["first", "of-the-laptop", "of-the-twin"]);
    both_hold(&desktop, &tablet, &["first", "of-the-laptop", "of-the-twin"]);
}

#[test]
fn a_copied_state_becomes_a_replica_of_its_own_by_init_as_well() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("first");
    exchange(&desktop, &laptop);
    let (twin, _) = copied(dir.path(), &laptop);
    twin.deliver("of-the-twin");
    let tablet = Machine { name: "tablet".to_owned(), home: dir.path().join("tablet"), mail: twin.mail.clone() };
    tablet.init();
    make_peers(&tablet, &desktop);
    exchange(&tablet, &desktop);
    exchange(&laptop, &desktop);
    both_hold(&desktop, &laptop, &["first", "of-the-twin"]);
    both_hold(&desktop, &tablet, &["first", "of-the-twin"]);
}

/// The phone was invited and hasn't answered; what it tells in its first bundle, it has from the laptop.
#[test]
fn a_bundle_of_an_invited_replica_that_shows_a_rollback_accepts_nothing() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("first");
    exchange(&desktop, &laptop);
    let invitation = dir.path().join("invitation");
    desktop.ok(&["invite", "phone", "--plain", "-o", invitation.to_str().unwrap()]);
    let phone = Machine::new(dir.path(), "phone");
    phone.ok(&["join", phone.mail.to_str().unwrap(), invitation.to_str().unwrap()]);
    make_peers(&laptop, &phone);
    let snapshot = Snapshot::take(&desktop);
    desktop.deliver("forgotten");
    pass(&desktop, &laptop);
    pass(&laptop, &phone);
    let answer = phone.ok(&["export", "--to", "desktop"]).stdout;
    snapshot.put_back();
    let peers = desktop.ok(&["peer", "list"]).text().to_owned();
    for args in [&["verify", "-"][..], &["import", "--dry-run"], &["import"]] {
        let ran = desktop.run_with(args, &answer);
        assert_eq!(ran.code, 6, "{args:?}: {ran:?}");
        assert_eq!(desktop.ok(&["peer", "list"]).text(), peers, "{args:?}");
    }
}

#[test]
fn a_directory_with_a_bundle_of_a_state_that_was_put_back_and_the_one_that_mends_it_is_taken_as_a_whole() {
    let dir = scratch();
    let (desktop, laptop) = rolled_back(dir.path());
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let stick = stick.to_str().unwrap();
    desktop.deliver("after");
    desktop.ok(&["export", "--to", "laptop", "-o", stick]);
    assert_eq!(laptop.run(&["import", stick]).code, 6);
    desktop.ok(&["doctor", "--new-identity"]);
    desktop.ok(&["export", "--to", "laptop", "-o", stick]);
    let left = laptop.left();
    let dry = laptop.ok(&["import", "-n", stick]);
    assert_eq!(laptop.left(), left);
    let ran = laptop.ok(&["import", "--consume", stick]);
    for ran in [&dry, &ran] {
        assert!(!ran.stderr.contains("has forgotten changes"), "{}", ran.stderr);
    }
    assert!(ran.stderr.contains("was made before desktop began anew"), "{}", ran.stderr);
    assert!(fs::read_dir(stick).unwrap().next().is_none());
    exchange(&laptop, &desktop);
    both_hold(&desktop, &laptop, &["first", "forgotten", "after"]);
}
