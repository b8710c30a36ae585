//! A person reads imported mail with mutt, another searches it with notmuch: they find it, and what they do to it
//! travels.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use mailsync::model::Digest;

use crate::support::machine::{Machine, make_peers, pair, pass};
use crate::support::programs::{self, Ran, run};
use crate::support::{make_folder, scratch};

/// A message that mutt can show.
fn message(name: &str) -> String {
    format!(
        "From: Ann <ann@example.org>\nTo: Ben <ben@example.org>\nDate: Mon, 6 Jan 2020 10:00:00 +0000\n\
         Message-ID: <{name}@example.org>\nSubject: {name}\n\nThis is {name}.\n"
    )
}

/// Where each message lies, by its subject: folder, whether it is recent, flags.
fn mail(machine: &Machine) -> BTreeMap<String, (String, bool, String)> {
    // When mutt saves a message elsewhere, it adds this.
    let saved = |name: &str| message(name).replacen("\n\n", &format!("\nContent-Length: {}\n\n", 10 + name.len()), 1);
    let both = NAMES.iter().flat_map(|name| [(message(name), *name), (saved(name), *name)]);
    let names: BTreeMap<Digest, &str> = both.map(|(text, name)| (Digest::of(text.as_bytes()), name)).collect();
    let mailbox = machine.mailbox();
    let found = mailbox.iter().map(|(digest, copies)| {
        assert_eq!(copies.len(), 1, "{copies:?}");
        let name = names.get(digest).unwrap_or_else(|| panic!("{}: not one that was delivered", machine.name));
        ((*name).to_owned(), (copies[0].folder.clone(), copies[0].recent, copies[0].flags.clone()))
    });
    found.collect()
}

const NAMES: [&str; 5] = ["apple", "banana", "cherry", "date", "elder"];

fn place(folder: &str, recent: bool, flags: &str) -> (String, bool, String) {
    (folder.to_owned(), recent, flags.to_owned())
}

/// Runs mutt or neomutt on a folder, as if these keys had been pressed, in a terminal that nobody sees.
fn mutt(program: &str, machine: &Machine, folder: &str, keys: &str) {
    let home = machine.home.parent().unwrap();
    let rc = home.join("muttrc");
    let mail = machine.mail.display();
    let settings = format!(
        "set mbox_type=Maildir folder={mail} spoolfile={mail} record='' postponed={mail}/none header_cache=''\n\
         set delete=yes confirmappend=no confirmcreate=no quit=yes move=no mark_old=yes sort=subject wait_key=no\n\
         push '{keys}<sync-mailbox><quit>'\n"
    );
    fs::write(&rc, settings).unwrap();
    let typed = format!("{program} -n -F {} -f {}", rc.display(), machine.dir(folder).display());
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "60", "script", "-qec", &typed, "/dev/null"]).stdin(Stdio::null());
    let ran = run(command.env("HOME", home).env("TERM", "vt100").env("LC_ALL", "C.UTF-8"));
    assert_eq!(ran.code, 0, "{program}: {}", String::from_utf8_lossy(&ran.stdout));
}

/// The program that finds mail on a machine.
struct Notmuch<'m> {
    machine: &'m Machine,
}

impl<'m> Notmuch<'m> {
    fn new(machine: &'m Machine) -> Self {
        let config = format!(
            "[database]\npath={}\n[user]\nname=Ben\nprimary_email=ben@example.org\n[new]\ntags=unread;\n\
             [maildir]\nsynchronize_flags=true\n",
            machine.mail.display()
        );
        fs::write(machine.home.join("notmuch"), config).unwrap();
        Self { machine }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new("notmuch");
        command.env("HOME", &self.machine.home).env("NOTMUCH_CONFIG", self.machine.home.join("notmuch"));
        command.env_remove("NOTMUCH_PROFILE").env_remove("NOTMUCH_DATABASE").env_remove("MAILDIR");
        let ran = run(command.args(args));
        assert_eq!(ran.code, 0, "notmuch {args:?}: {}", ran.stderr);
        ran
    }

    /// Follows what changed on disk, and says what that was.
    fn new_mail(&self) -> String {
        self.run(&["new"]).text().to_owned()
    }

    fn tags(&self, name: &str) -> String {
        let found = self.run(&["search", "--output=tags", &format!("id:{name}@example.org")]);
        found.text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The file of each message, all of which must be there.
    fn files(&self) -> usize {
        let found = self.run(&["search", "--output=files", "*"]);
        for file in found.text().lines() {
            assert!(Path::new(file).is_file(), "notmuch thinks that there is {file}");
        }
        found.text().lines().count()
    }
}

#[test]
fn mutt_reads_imported_mail_and_what_it_does_to_it_travels() {
    reads_imported_mail("mutt");
}

#[test]
fn neomutt_reads_imported_mail_and_what_it_does_to_it_travels() {
    reads_imported_mail("neomutt");
}

fn reads_imported_mail(program: &str) {
    if !programs::are_there(&[program, "script", "timeout"]) {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for (n, name) in NAMES.iter().enumerate() {
        desktop.put("INBOX", &format!("new/{n}.h"), message(name), 1_578_304_800 + n as u64);
    }
    make_folder(&desktop.dir("Fruit"));
    pass(&desktop, &laptop);

    // Opens all: what isn't read is old now. Then flags one, reads one, throws one away, sorts one into a folder.
    mutt(
        program,
        &laptop,
        "INBOX",
        "<tag-pattern>~s apple<enter><tag-prefix><set-flag>!<untag-pattern>.<enter>\
         <tag-pattern>~s banana<enter><tag-prefix><clear-flag>N<untag-pattern>.<enter>\
         <tag-pattern>~s cherry<enter><tag-prefix><delete-message><untag-pattern>.<enter>\
         <tag-pattern>~s date<enter><tag-prefix><save-message>=.Fruit<enter><untag-pattern>.<enter>",
    );
    let report = pass(&laptop, &desktop).stderr;
    let expected = BTreeMap::from([
        ("apple".to_owned(), place("INBOX", false, "F")),
        ("banana".to_owned(), place("INBOX", false, "S")),
        ("date".to_owned(), place("Fruit", true, "")),
        ("elder".to_owned(), place("INBOX", false, "")),
    ]);
    assert_eq!(mail(&laptop), expected);
    assert_eq!(mail(&desktop), expected);
    assert!(report.contains("1 new, 0 moved, 3 flagged, 2 removed"), "{report}");
    assert_eq!(laptop.mailbox(), desktop.mailbox(), "the delivery dates are the same, too");

    // And back, by the other one's mutt.
    mutt(
        program,
        &desktop,
        "Fruit",
        "<tag-pattern>~s date<enter><tag-prefix><set-flag>r<untag-pattern>.<enter>\
         <tag-pattern>~A<enter><tag-prefix><save-message>=.Kept<enter>",
    );
    // Saved once more it is byte by byte the same: mutt copies and deletes, and that is a move all the same.
    let report = pass(&desktop, &laptop).stderr;
    assert!(report.contains("0 new, 1 moved, 1 flagged, 0 removed"), "{report}");
    assert_eq!(mail(&laptop), mail(&desktop));
    assert_eq!(mail(&laptop)["date"], place("Kept", false, "RS"));
}

#[test]
fn notmuch_finds_imported_mail_wherever_it_goes_and_its_tags_travel_as_flags() {
    if programs::find("notmuch").is_none() {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for (n, name) in NAMES.iter().enumerate() {
        desktop.put("INBOX", &format!("new/{n}.h"), message(name), 1_578_304_800 + n as u64);
    }
    pass(&desktop, &laptop);
    let (here, there) = (Notmuch::new(&desktop), Notmuch::new(&laptop));
    assert!(here.new_mail().contains("Added 5 new messages"));
    let found = there.new_mail();
    assert!(found.contains("Added 5 new messages"), "{found}");

    // Tags become flags; what is read doesn't stay in `new/`.
    there.run(&["tag", "+flagged", "+replied", "-unread", "--", "subject:apple"]);
    there.run(&["tag", "+passed", "-unread", "--", "subject:banana"]);
    pass(&laptop, &desktop);
    let moved = here.new_mail();
    assert!(moved.contains("No new mail") && !moved.contains("Removed"), "{moved}");
    assert_eq!(mail(&desktop)["apple"], place("INBOX", false, "FRS"));
    assert_eq!(here.tags("apple"), "flagged replied");
    assert_eq!(here.tags("banana"), "passed");

    // Moves and flags from here are followed there, without losing one message or finding one again.
    make_folder(&desktop.dir("Fruit/Red"));
    here.run(&["tag", "-unread", "+draft", "--", "subject:cherry"]);
    for name in ["apple", "cherry"] {
        let file = here.run(&["search", "--output=files", &format!("id:{name}@example.org")]).text().trim().to_owned();
        let file = Path::new(&file);
        fs::rename(file, desktop.dir("Fruit/Red").join("cur").join(file.file_name().unwrap())).unwrap();
    }
    fs::remove_file(desktop.dir("INBOX").join("new/4.h")).unwrap();
    pass(&desktop, &laptop);
    let report = there.new_mail();
    assert!(!report.contains("new messages"), "{report}");
    assert_eq!(there.files(), 4);
    assert_eq!(there.run(&["count", "*"]).text().trim(), "4");
    assert_eq!(there.tags("cherry"), "draft");
    assert_eq!(there.tags("apple"), "flagged replied");
    assert_eq!(there.run(&["count", "path:.Fruit.Red/**"]).text().trim(), "2");
    assert_eq!(mail(&laptop), mail(&desktop));
    // Its database is in the mail root, and is no folder.
    assert!(desktop.mail.join(".notmuch").is_dir());
    assert_eq!(laptop.folders(), ["Fruit/Red", "INBOX"]);
}

#[test]
fn a_mail_root_that_is_full_of_notmuchs_own_files_is_taken_as_it_is() {
    if programs::find("notmuch").is_none() {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = (Machine::new(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    for (sub, name) in [("INBOX/cur/1.h:2,S", "apple"), ("lists/rust/new/2.h", "banana"), ("lists/3:2,", "cherry")] {
        let file = desktop.mail.join(sub);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, message(name)).unwrap();
    }
    fs::create_dir_all(&desktop.home).unwrap();
    let here = Notmuch::new(&desktop);
    here.new_mail();
    assert_eq!(here.files(), 3);
    desktop.init();
    laptop.init();
    make_peers(&desktop, &laptop);
    pass(&desktop, &laptop);
    assert_eq!(laptop.folders(), ["INBOX", "lists/rust"]);
    assert_eq!(laptop.mailbox().len(), 2, "a file that lies beside cur/ and new/ is no message of a Maildir");
    let there = Notmuch::new(&laptop);
    there.new_mail();
    assert_eq!(there.files(), 2);
    there.run(&["tag", "+flagged", "--", "subject:banana"]);
    laptop.put("lists/go", "cur/4.h:2,S", message("date"), 1_578_304_800);
    fs::create_dir_all(desktop.mail.join("lists/go/new")).unwrap();
    pass(&laptop, &desktop);
    here.new_mail();
    // Their folders had no `cur/` until now.
    assert_eq!(here.tags("banana"), "flagged unread");
    assert_eq!(mail(&desktop)["date"], place("lists/go", false, "S"));
    assert_eq!(here.files(), 4);
}
