//! mbsync keeps a replica's Maildirs and a server's the same: the names that it gives to files and the lines that it
//! writes into its copies are no changes of the mail, and what either brings goes on to the other's side.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::machine::{Machine, counts, make_peers, pass};
use crate::support::programs::{self, Ran, run};
use crate::support::{make_folder, scratch};

/// A server's mail, which mbsync keeps the same as that of a machine.
struct Mbsync {
    conf: PathBuf,
    server: PathBuf,
}

impl Mbsync {
    fn new(dir: &Path, near: &Machine, alt_map: &str) -> Self {
        Self::with(dir, dir.join("server"), near, alt_map)
    }

    /// With a directory of its own, beside those of others for the same server.
    fn with(dir: &Path, server: PathBuf, near: &Machine, alt_map: &str) -> Self {
        let this = Self { conf: dir.join("mbsyncrc"), server };
        make_folder(&this.server);
        let conf = format!(
            "MaildirStore far\nInbox {server}\nSubFolders Maildir++\n\n\
             MaildirStore near\nInbox {near}\nSubFolders Maildir++\nAltMap {alt_map}\n\n\
             Channel mail\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\n\
             CopyArrivalDate yes\nSyncState *\n",
            server = this.server.display(),
            near = near.mail.display(),
        );
        fs::write(&this.conf, conf).unwrap();
        this
    }

    fn sync(&self) {
        assert_eq!(self.run().stderr, "");
    }

    fn run(&self) -> Ran {
        let home = self.conf.parent().unwrap();
        let ran = run(Command::new("mbsync").env("HOME", home).arg("-c").arg(&self.conf).arg("mail"));
        assert_eq!(ran.code, 0, "mbsync: {}", ran.stderr);
        ran
    }

    fn put(&self, place: &str, name: &str) {
        let path = self.server.join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, message(name)).unwrap();
    }

    /// Where each message of the server lies: the directory of its folder, its flags, and whether it is in `new/`.
    fn mail(&self) -> BTreeMap<String, (PathBuf, String, bool)> {
        mail(&self.server)
    }

    /// The file of a message on the server.
    fn file(&self, name: &str) -> PathBuf {
        files(&self.server).find(|file| subject(file) == name).unwrap_or_else(|| panic!("the server has no {name}"))
    }
}

fn message(name: &str) -> String {
    format!("From: ann@example.org\nMessage-ID: <{name}@example.org>\nSubject: {name}\n\nThis is {name}.\n")
}

fn files(root: &Path) -> impl Iterator<Item = PathBuf> {
    let items = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
    let files = items.filter(|item| item.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files.filter(|file| ["cur", "new"].iter().any(|sub| file.parent().unwrap().ends_with(sub)))
}

fn subject(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split_once("Subject: ").unwrap().1.lines().next().unwrap().to_owned()
}

fn mail(root: &Path) -> BTreeMap<String, (PathBuf, String, bool)> {
    let mut mail = BTreeMap::new();
    for file in files(root) {
        let sub = file.parent().unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let flags = name.split_once(":2,").map_or("", |(_, flags)| flags).to_owned();
        let dir = sub.parent().unwrap().strip_prefix(root).unwrap().to_owned();
        let before = mail.insert(subject(&file), (dir, flags, sub.ends_with("new")));
        assert_eq!(before, None, "{} is there twice", file.display());
    }
    mail
}

/// Asserts what a scan finds.
fn scan(machine: &Machine, new: u64, moved: u64, flagged: u64, removed: u64) {
    let found = machine.ok(&["scan", "--json"]).json();
    assert_eq!(counts(&found), [new, moved, flagged, removed], "{found}");
}

#[test]
fn what_mbsync_renames_keeps_its_entry_with_either_way_of_keeping_uids() {
    if programs::find("mbsync").is_none() {
        return;
    }
    for alt_map in ["no", "yes"] {
        let dir = scratch();
        let (laptop, desktop) = (Machine::replica(dir.path(), "laptop"), Machine::replica(dir.path(), "desktop"));
        make_peers(&laptop, &desktop);
        let mbsync = Mbsync::new(dir.path(), &laptop, alt_map);
        for n in 0..4 {
            mbsync.put(&format!("new/{n}.h"), &format!("m{n}"));
        }
        mbsync.put(".Lists.rust/cur/9.h:2,S", "list");
        mbsync.sync();
        scan(&laptop, 5, 0, 0, 0);
        pass(&laptop, &desktop);
        mbsync.sync();
        scan(&laptop, 0, 0, 0, 0);
        assert_eq!(desktop.folders(), ["INBOX", "Lists/rust"]);

        // What mailsync delivers gets its UID from mbsync, in its name or beside it.
        let before = files(&laptop.mail).count();
        desktop.put("INBOX", "cur/1.d:2,F", message("desktop"), 1_500_000_000);
        desktop.put("Drafts", "new/2.d", message("draft"), 1_500_000_001);
        pass(&desktop, &laptop);
        mbsync.sync();
        assert_eq!(files(&laptop.mail).count(), before + 2);
        let with_uid = files(&laptop.mail).filter(|file| file.to_string_lossy().contains(",U=")).count();
        assert_eq!(with_uid, if alt_map == "no" { before + 2 } else { 0 }, "the UIDs are where they should be");
        scan(&laptop, 0, 0, 0, 0);
        assert_eq!(mbsync.mail()["desktop"], (PathBuf::new(), "F".to_owned(), true));
        assert_eq!(mbsync.mail()["draft"].0, Path::new(".Drafts"));

        // Nothing of this is news for the other machine; flags from the server and from there meet.
        let report = pass(&laptop, &desktop).stderr;
        assert!(report.contains("nothing new"), "{report}");
        let file = mbsync.file("m1");
        let name = file.file_name().unwrap().to_str().unwrap().split(':').next().unwrap();
        fs::rename(&file, mbsync.server.join("cur").join(format!("{name}:2,R"))).unwrap();
        let there = desktop.mailbox();
        assert_eq!(there.len(), 7);
        let file = files(&desktop.mail).find(|file| subject(file) == "m1").unwrap();
        let base = file.file_name().unwrap().to_str().unwrap().split(':').next().unwrap();
        fs::rename(&file, desktop.mail.join("cur").join(format!("{base}:2,S"))).unwrap();
        mbsync.sync();
        pass(&desktop, &laptop);
        mbsync.sync();
        pass(&laptop, &desktop);
        for root in [&mbsync.server, &laptop.mail, &desktop.mail] {
            assert_eq!(mail(root)["m1"].1, "RS", "{}", root.display());
        }

        // A move there is a move here; mbsync sees a message go and another come. A removal goes all the way, both
        // ways.
        let file = files(&desktop.mail).find(|file| subject(file) == "m2").unwrap();
        fs::rename(&file, desktop.dir("Drafts").join("cur/moved:2,S")).unwrap();
        fs::remove_file(files(&desktop.mail).find(|file| subject(file) == "m3").unwrap()).unwrap();
        fs::remove_file(mbsync.file("list")).unwrap();
        assert!(pass(&desktop, &laptop).stderr.contains("0 new, 1 moved, 1 flagged, 1 removed"));
        mbsync.sync();
        scan(&laptop, 0, 0, 0, 1);
        pass(&laptop, &desktop);
        mbsync.sync();
        scan(&laptop, 0, 0, 0, 0);
        let expected = mbsync.mail();
        assert_eq!(expected.keys().map(String::as_str).collect::<Vec<_>>(), ["desktop", "draft", "m0", "m1", "m2"]);
        assert_eq!(expected["m2"], (PathBuf::from(".Drafts"), "S".to_owned(), false));
        let places = |root: &Path| -> BTreeSet<_> {
            mail(root).into_iter().map(|(name, (dir, flags, _))| (name, dir, flags)).collect()
        };
        assert_eq!(places(&laptop.mail), places(&mbsync.server));
        assert_eq!(places(&desktop.mail), places(&mbsync.server));
    }
}

#[test]
fn what_mbsync_remembers_stays_where_it_is() {
    if programs::find("mbsync").is_none() {
        return;
    }
    let dir = scratch();
    let (laptop, desktop) = (Machine::replica(dir.path(), "laptop"), Machine::replica(dir.path(), "desktop"));
    make_peers(&laptop, &desktop);
    let mbsync = Mbsync::new(dir.path(), &laptop, "no");
    mbsync.put("cur/1.h:2,", "one");
    mbsync.put(".Lists/cur/2.h:2,", "two");
    mbsync.sync();
    pass(&laptop, &desktop);
    let own = || -> BTreeMap<PathBuf, Vec<u8>> {
        let items = walkdir::WalkDir::new(&laptop.mail).into_iter().map(Result::unwrap);
        let own =
            items.filter(|item| item.file_type().is_file() && item.file_name().to_string_lossy().starts_with('.'));
        own.map(|item| (item.path().to_owned(), fs::read(item.path()).unwrap())).collect()
    };
    let before = own();
    assert!(before.len() >= 4, "{:?}", before.keys());
    assert_eq!(desktop.folders(), ["INBOX", "Lists"]);
    desktop.put("Lists", "cur/3.h:2,S", message("three"), 1_500_000_000);
    pass(&desktop, &laptop);
    assert_eq!(own(), before);
    let hidden = walkdir::WalkDir::new(&desktop.mail).into_iter().map(Result::unwrap);
    let hidden = hidden.filter(|item| item.file_type().is_file());
    let hidden: Vec<_> = hidden.map(|item| item.file_name().to_string_lossy().into_owned()).collect();
    let hidden: Vec<_> = hidden.iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(hidden, [".mailsync"], "nothing of mbsync's travels");
}

#[test]
fn a_folder_that_is_removed_elsewhere_is_emptied_on_mbsyncs_other_side_and_does_not_come_back() {
    if programs::find("mbsync").is_none() {
        return;
    }
    for (alt_map, state) in [("no", "*"), ("yes", "*"), ("no", "elsewhere"), ("yes", "elsewhere")] {
        let dir = scratch();
        let (laptop, desktop) = (Machine::replica(dir.path(), "laptop"), Machine::replica(dir.path(), "desktop"));
        make_peers(&laptop, &desktop);
        let mbsync = Mbsync::new(dir.path(), &laptop, alt_map);
        if state != "*" {
            fs::create_dir(dir.path().join("state")).unwrap();
            let conf = fs::read_to_string(&mbsync.conf).unwrap();
            let own = format!("SyncState {}/state/", dir.path().display());
            fs::write(&mbsync.conf, conf.replace("SyncState *", &own)).unwrap();
        }
        mbsync.put("cur/1.h:2,", "one");
        mbsync.put(".Lists/cur/2.h:2,", "two");
        mbsync.put(".Lists/new/3.h", "three");
        mbsync.sync();
        pass(&laptop, &desktop);
        mbsync.sync();
        fs::remove_dir_all(desktop.dir("Lists")).unwrap();
        pass(&desktop, &laptop);
        let subjects = || mbsync.mail().into_keys().collect::<Vec<_>>();
        let rest = |when: &str| {
            laptop.is_at_rest(when);
            assert_eq!((laptop.folders(), desktop.folders()), (vec!["INBOX".into()], vec!["INBOX".into()]), "{when}");
        };
        rest("removed");
        for _ in 0..2 {
            // It complains of nothing.
            mbsync.sync();
            assert_eq!(subjects(), ["one"], "alt map {alt_map}, state {state}");
            rest("synchronised");
            pass(&laptop, &desktop);
            pass(&desktop, &laptop);
            rest("passed on");
        }
        // New mail in the same folder is new mail.
        mbsync.put(".Lists/new/4.h", "four");
        mbsync.sync();
        scan(&laptop, 1, 0, 0, 0);
        pass(&laptop, &desktop);
        assert_eq!(mail(&desktop.mail)["four"].0, Path::new(".Lists"));
        assert_eq!(mail(&desktop.mail).into_keys().collect::<Vec<_>>(), ["four", "one"]);
        // A person may remove the folder for good: on the server by mbsync, and here with what is left of it.
        fs::remove_dir_all(desktop.dir("Lists")).unwrap();
        pass(&desktop, &laptop);
        mbsync.sync();
        fs::remove_dir_all(laptop.dir("Lists")).unwrap();
        rest("removed for good");
        assert_eq!(subjects(), ["one"]);
    }
}

/// How many files the mbsync of a test has marked, and how many there are.
fn marked(root: &Path) -> (usize, usize) {
    let all: Vec<String> = files(root).map(|file| fs::read_to_string(file).unwrap()).collect();
    (all.iter().filter(|text| text.contains("X-TUID: ")).count(), all.len())
}

#[test]
fn two_mailboxes_that_mbsync_has_filled_from_one_account_meet_without_doubling() {
    if programs::find("mbsync").is_none() {
        return;
    }
    let dir = scratch();
    let machines = ["laptop", "desktop"].map(|name| Machine::replica(dir.path(), name));
    let [laptop, desktop] = &machines;
    make_peers(laptop, desktop);
    let account = dir.path().join("account");
    let mbsyncs = machines.each_ref().map(|machine| {
        let own = dir.path().join(format!("mbsync-{}", machine.name));
        fs::create_dir(&own).unwrap();
        Mbsync::with(&own, account.clone(), machine, "no")
    });
    let [account, _] = &mbsyncs;
    let sync = || mbsyncs.iter().for_each(Mbsync::sync);
    // Both pass their bundles on, and mbsync runs on both sides before and after.
    let round = |expected: &[&str], when: &str| {
        for _ in 0..2 {
            sync();
            pass(laptop, desktop);
            pass(desktop, laptop);
        }
        sync();
        for root in [&account.server, &laptop.mail, &desktop.mail] {
            // This panics where a message is there twice.
            let there = mail(root);
            assert_eq!(there.keys().collect::<Vec<_>>(), expected, "{when}: {}", root.display());
        }
        for machine in &machines {
            machine.is_at_rest(when);
        }
    };
    account.put("cur/1.h:2,S", "m1");
    account.put("cur/2.h:2,", "m2");
    account.put(".Lists.rust/cur/3.h:2,S", "m3");
    sync();
    for machine in &machines {
        assert_eq!(marked(&machine.mail), (3, 3), "mbsync has marked its copies");
    }
    round(&["m1", "m2", "m3"], "what was there");
    for machine in &machines {
        assert_eq!(marked(&machine.mail), (3, 3), "no file was written anew");
        let status = machine.ok(&["status", "--json"]).json();
        assert_eq!((&status["entries"], &status["messages"]), (&3.into(), &3.into()), "{status}");
    }

    // Mail that comes, flags and removals, here, there and at the account.
    account.put("new/4.h", "m4");
    round(&["m1", "m2", "m3", "m4"], "new mail");
    let file = files(&desktop.mail).find(|file| subject(file) == "m2").unwrap();
    fs::rename(&file, file.to_str().unwrap().replace(":2,", ":2,F")).unwrap();
    round(&["m1", "m2", "m3", "m4"], "a flag");
    for root in [&account.server, &laptop.mail, &desktop.mail] {
        assert_eq!(mail(root)["m2"].1, "F", "{}", root.display());
    }
    fs::remove_file(account.file("m1")).unwrap();
    round(&["m2", "m3", "m4"], "a removal at the account");
    fs::remove_file(files(&laptop.mail).find(|file| subject(file) == "m3").unwrap()).unwrap();
    round(&["m2", "m4"], "a removal here");
}
