//! Keywords travel by their names: in each folder they have the letters that its `dovecot-keywords` gives them, and a
//! letter that has no name stays where it is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mailsync::model::Flag;
use mailsync::state::State;

use crate::support::disk::{Op, Watch};
use crate::support::machine::{Machine, make_peers, message, pass};
use crate::support::party::Party;
use crate::support::{make_folder, programs, rest, scratch};

/// What the letters of a folder stand for: lines of `dovecot-keywords`.
fn name(machine: &Machine, folder: &str, lines: &str) {
    make_folder(&machine.dir(folder));
    let path = machine.dir(folder).join("dovecot-keywords");
    // As Dovecot does it.
    let new = path.with_extension("lock");
    fs::write(&new, lines).unwrap();
    fs::rename(new, path).unwrap();
}

fn names(machine: &Machine, folder: &str) -> String {
    fs::read_to_string(machine.dir(folder).join("dovecot-keywords")).unwrap()
}

/// Puts a message into the INBOX, with these letters.
fn put(machine: &Machine, subject: &str, letters: &str) {
    machine.put("INBOX", &format!("cur/{subject}:2,{letters}"), message(subject), 1_600_000_000);
}

fn file(machine: &Machine, folder: &str, subject: &str) -> PathBuf {
    let files = walkdir::WalkDir::new(machine.dir(folder).join("cur")).into_iter().map(Result::unwrap);
    let mut found = files.filter(|file| fs::read(file.path()).is_ok_and(|bytes| bytes == message(subject).as_bytes()));
    let path = found.next().unwrap_or_else(|| panic!("{}: {subject} is not in {folder}", machine.name)).into_path();
    assert!(found.next().is_none(), "{}: {subject} is there twice", machine.name);
    path
}

/// The letters in the name of a message's file.
fn letters(machine: &Machine, folder: &str, subject: &str) -> String {
    let path = file(machine, folder, subject);
    path.to_str().unwrap().rsplit_once(":2,").unwrap().1.to_owned()
}

/// Gives a message's file these letters.
fn flag(machine: &Machine, folder: &str, subject: &str, letters: &str) {
    let path = file(machine, folder, subject);
    let base = path.to_str().unwrap().rsplit_once(":2,").unwrap().0.to_owned();
    fs::rename(&path, format!("{base}:2,{letters}")).unwrap();
}

/// What the state says of a message: its flags, by their texts.
fn flags(machine: &Machine, subject: &str) -> BTreeSet<String> {
    let state = State::open(&machine.home.join("state.db")).unwrap();
    let digest = mailsync::model::Digest::of(message(subject).as_bytes());
    let rows = state.entries_of(&digest).unwrap();
    let [row] = &rows[..] else { panic!("{}: {} entries of {subject}", machine.name, rows.len()) };
    row.entry.flags_on().map(Flag::to_string).collect()
}

fn set<const N: usize>(flags: [&str; N]) -> BTreeSet<String> {
    flags.map(str::to_owned).into()
}

/// Two replicas that know each other, with a message in the INBOX of both.
fn two(dir: &std::path::Path, subject: &str) -> (Machine, Machine) {
    let (one, other) = (Machine::replica(dir, "desktop"), Machine::replica(dir, "laptop"));
    make_peers(&one, &other);
    put(&one, subject, "");
    pass(&one, &other);
    pass(&other, &one);
    (one, other)
}

#[test]
fn a_keyword_has_the_letter_of_each_folder_that_it_comes_to() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 $Junk\n1 work\n2 third\n");
    name(&other, "INBOX", "0 NonJunk\n1 $JUNK\n");
    flag(&one, "INBOX", "m", "Sabc");
    let report = pass(&one, &other);
    assert!(report.stderr.contains("1 flagged"), "{}", report.stderr);
    assert_eq!(letters(&other, "INBOX", "m"), "Sbcd");
    assert_eq!(names(&other, "INBOX"), "0 NonJunk\n1 $JUNK\n2 third\n3 work\n");
    assert_eq!(flags(&other, "m"), set(["S", "keyword:$Junk", "keyword:work", "keyword:third"]));
    other.is_at_rest("keywords have come");

    // Cleared there, cleared here; set there by another name, set here by that.
    flag(&other, "INBOX", "m", "ac");
    pass(&other, &one);
    assert_eq!(letters(&one, "INBOX", "m"), "cd");
    assert_eq!(names(&one, "INBOX"), "0 $Junk\n1 work\n2 third\n3 NonJunk\n");
    assert_eq!(flags(&one, "m"), set(["keyword:NonJunk", "keyword:third"]));
    // In another folder they get that one's letters.
    name(&other, "Work", "0 third\n");
    fs::rename(file(&one, "INBOX", "m"), {
        make_folder(&one.dir("Work"));
        one.dir("Work").join("cur/m.moved:2,a")
    })
    .unwrap();
    name(&one, "Work", "0 NonJunk\n5 third\n");
    let report = pass(&one, &other);
    assert!(report.stderr.contains("1 moved"), "{}", report.stderr);
    assert_eq!((letters(&other, "Work", "m"), names(&other, "Work")), ("b".into(), "0 third\n1 NonJunk\n".into()));
    for machine in [&one, &other] {
        machine.is_at_rest("all was done");
        machine.ok(&["doctor"]);
    }
}

#[test]
fn a_folder_without_names_gets_them_with_the_first_keyword_and_in_its_own_mode() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    put(&one, "n", "Fa");
    name(&one, "INBOX", "0 $MDNSent\n");
    make_folder(&one.dir("New"));
    one.put("New", "cur/o:2,Rb", message("o"), 1);
    name(&one, "New", "0 no\n1 $Forwarded\n");
    pass(&one, &other);
    assert_eq!((letters(&other, "INBOX", "n"), names(&other, "INBOX")), ("Fa".into(), "0 $MDNSent\n".into()));
    assert_eq!((letters(&other, "New", "o"), names(&other, "New")), ("Ra".into(), "0 $Forwarded\n".into()));
    assert!(!other.dir("New").join("dovecot-uidlist.lock").exists(), "the lock is gone");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o666;
    assert_eq!(mode(other.dir("New").join("dovecot-keywords")), mode(other.dir("New")));
    other.is_at_rest("names were made");
}

#[test]
fn a_new_machine_has_all_keywords() {
    let dir = scratch();
    let one = Machine::replica(dir.path(), "desktop");
    name(&one, "INBOX", "0 $Junk\n1 work\n");
    for n in 0..5 {
        put(&one, &format!("m{n}"), ["", "a", "Sb", "ab", "z"][n]);
    }
    let invitation = one.ok(&["invite", "laptop"]).stdout;
    for (mail, old) in [("empty", false), ("old", true)] {
        let other = Machine::new(dir.path(), mail);
        if old {
            // Old mail, in which letters stand for something else.
            for sub in ["cur", "new", "tmp"] {
                fs::create_dir_all(other.mail.join(sub)).unwrap();
            }
            fs::write(other.mail.join("cur/old:2,Fa"), message("m1")).unwrap();
            fs::write(other.mail.join("dovecot-keywords"), "0 work\n").unwrap();
        }
        let ran = other.run_with(&["join", other.mail.to_str().unwrap()], &invitation);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let shown: Vec<String> = (0..5).map(|n| letters(&other, "INBOX", &format!("m{n}"))).collect();
        let junk = if old { "0 work\n1 $Junk\n" } else { "0 $Junk\n1 work\n" };
        assert_eq!(names(&other, "INBOX"), junk, "{mail}");
        let expected = if old { ["", "Fab", "Sa", "ab", ""] } else { ["", "a", "Sb", "ab", ""] };
        assert_eq!(shown, expected, "{mail}");
        other.is_at_rest(mail);
    }
}

#[test]
fn a_letter_without_a_name_stays_on_its_machine() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    flag(&one, "INBOX", "m", "Sqz");
    pass(&one, &other);
    assert_eq!((letters(&other, "INBOX", "m"), flags(&one, "m")), ("S".into(), set(["S"])));
    // What comes from elsewhere leaves it, and takes another letter; so does what Dovecot makes up for want of a name.
    name(&one, "INBOX", "16 unknown-16\n25 unknown-25?\n");
    name(&other, "INBOX", "16 work\n");
    flag(&other, "INBOX", "m", "FSq");
    pass(&other, &one);
    assert_eq!((letters(&one, "INBOX", "m"), flags(&one, "m")), ("FSaqz".into(), set(["S", "F", "keyword:work"])));
    assert_eq!(names(&one, "INBOX"), "0 work\n16 unknown-16\n25 unknown-25?\n");
    // It goes along when the message is moved elsewhere, but for a letter that means something there.
    name(&one, "Work", "16 work\n");
    pass(&one, &other);
    fs::rename(file(&other, "INBOX", "m"), other.dir("Work").join("cur/m:2,S")).unwrap();
    pass(&other, &one);
    assert_eq!((letters(&one, "Work", "m"), flags(&one, "m")), ("Sz".into(), set(["S"])));
    pass(&one, &other);
    assert_eq!(letters(&other, "Work", "m"), "S");
    for machine in [&one, &other] {
        machine.is_at_rest("letters without names");
    }
}

#[test]
fn a_name_that_comes_after_its_letter_counts() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    // Dovecot renames the files first, and names the letter then.
    flag(&one, "INBOX", "m", "a");
    pass(&one, &other);
    assert_eq!(flags(&other, "m"), set([]));
    name(&one, "INBOX", "0 work\n");
    let scanned = one.ok(&["scan", "--json"]).json();
    assert_eq!(scanned["flagged"], 1, "{scanned}");
    pass(&one, &other);
    assert_eq!((letters(&other, "INBOX", "m"), flags(&other, "m")), ("a".into(), set(["keyword:work"])));
    one.is_at_rest("the letter has a name");
}

#[test]
fn other_names_for_the_letters_change_no_flags() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 work\n1 play\n2 third\n");
    flag(&one, "INBOX", "m", "ab");
    put(&one, "n", "bc");
    pass(&one, &other);
    let (m, n) = (set(["keyword:work", "keyword:play"]), set(["keyword:play", "keyword:third"]));
    let unchanged = |when: &str| {
        let report = one.ok(&["scan", "--json"]).json();
        assert_eq!(report["flagged"], 0, "{when}: {report}");
        assert_eq!((flags(&one, "m"), flags(&one, "n")), (m.clone(), n.clone()), "{when}");
        pass(&one, &other);
        assert_eq!((flags(&other, "m"), flags(&other, "n")), (m.clone(), n.clone()), "{when}");
        one.is_at_rest(when);
    };
    // Somebody turns the names around: the files follow, so that they mean what they meant.
    name(&one, "INBOX", "0 play\n1 third\n2 work\n");
    unchanged("the names were turned");
    assert_eq!((letters(&one, "INBOX", "m"), letters(&one, "INBOX", "n")), ("ac".into(), "ab".into()));
    // A program that does it renames the files itself.
    name(&one, "INBOX", "0 third\n1 work\n2 play\n");
    flag(&one, "INBOX", "m", "bc");
    flag(&one, "INBOX", "n", "ac");
    unchanged("names and files were turned");
    assert_eq!((letters(&one, "INBOX", "m"), letters(&one, "INBOX", "n")), ("bc".into(), "ac".into()));
    // The case of letters is nothing.
    name(&one, "INBOX", "0 THIRD\n1 Work\n2 plaY\n");
    unchanged("another case");
    // One of them is gone, another one is new, and files have other flags as well.
    name(&one, "INBOX", "0 THIRD\n2 plaY\n1 new\n");
    unchanged("a letter was given away");
    assert_eq!(names(&one, "INBOX"), "0 THIRD\n2 plaY\n1 new\n3 work\n");
    assert_eq!(letters(&one, "INBOX", "m"), "cd");
}

#[test]
fn names_that_are_lost_are_put_back_and_nothing_is_taken_for_cleared() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 unused\n1 work\n2 $Junk\n");
    flag(&one, "INBOX", "m", "bc");
    pass(&one, &other);
    let both = set(["keyword:work", "keyword:$Junk"]);
    for (left, then, with, case) in [
        (None, "1 work\n2 $Junk\n", "bc", "the file is gone"),
        (Some("0 other\n"), "0 other\n1 work\n2 $Junk\n", "bc", "another file is there"),
        // These names stay, and mean nothing: Dovecot finds that the message has them no more.
        (
            Some("1 unknown-1\n2 unknown-2\n"),
            "1 unknown-1\n2 unknown-2\n3 work\n4 $Junk\n",
            "de",
            "Dovecot has made names up",
        ),
        (
            Some("0 unknown-0\n3 unknown-3\n5 $Junk\n7 work\n"),
            "0 unknown-0\n3 unknown-3\n5 $Junk\n7 work\n",
            "fh",
            "Dovecot has named other letters, too",
        ),
    ] {
        match left {
            None => fs::remove_file(one.dir("INBOX").join("dovecot-keywords")).unwrap(),
            Some(lines) => name(&one, "INBOX", lines),
        }
        let report = one.ok(&["scan", "--json"]).json();
        assert_eq!(report["flagged"], 0, "{case}: {report}");
        assert_eq!((flags(&one, "m"), letters(&one, "INBOX", "m")), (both.clone(), with.into()), "{case}");
        assert_eq!(names(&one, "INBOX"), then, "{case}");
        pass(&one, &other);
        assert_eq!(flags(&other, "m"), both, "{case}");
        one.is_at_rest(case);
    }
    // What was cleared elsewhere while the names were lost is cleared.
    fs::remove_file(one.dir("INBOX").join("dovecot-keywords")).unwrap();
    flag(&other, "INBOX", "m", "a");
    let cleared = flags(&other, "m");
    pass(&other, &one);
    assert_eq!(letters(&one, "INBOX", "m").len(), 1);
    assert_eq!(flags(&one, "m"), flags(&other, "m"));
    assert_ne!(flags(&one, "m"), cleared);
}

#[test]
fn what_no_letter_is_left_for_waits_and_is_not_taken_for_cleared() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    let full = (0..26).map(|n| format!("{n} k{n}\n")).collect::<Vec<_>>().concat();
    name(&other, "INBOX", &full);
    name(&one, "INBOX", "0 work\n1 k3\n");
    flag(&one, "INBOX", "m", "Fab");
    pass(&one, &other);
    let all = set(["F", "keyword:work", "keyword:k3"]);
    assert_eq!((letters(&other, "INBOX", "m"), flags(&other, "m")), ("Fd".into(), all.clone()));
    assert_eq!(names(&other, "INBOX"), full);
    other.is_at_rest("no letter is left");
    assert!(other.ok(&["status"]).text().contains("1 keyword in INBOX without a letter: work"));
    let letterless = other.ok(&["status", "--json"]).json()["letterless"].clone();
    assert_eq!(letterless, serde_json::json!([{ "folder": "INBOX", "keywords": ["work"] }]));
    // It travels on, and a change of other flags leaves it.
    flag(&other, "INBOX", "m", "Sd");
    pass(&other, &one);
    assert_eq!(
        (letters(&one, "INBOX", "m"), flags(&other, "m")),
        ("Sab".into(), set(["S", "keyword:work", "keyword:k3"]))
    );
    let third = Machine::replica(dir.path(), "third");
    make_peers(&other, &third);
    pass(&other, &third);
    assert_eq!(flags(&third, "m"), set(["S", "keyword:work", "keyword:k3"]));
    // A letter becomes free.
    name(&other, "INBOX", &full.replace("7 k7\n", ""));
    other.ok(&["scan"]);
    assert_eq!(letters(&other, "INBOX", "m"), "Sdh");
    assert!(names(&other, "INBOX").contains("\n7 work\n"));
    other.is_at_rest("it has a letter");
    assert_eq!(other.ok(&["status", "--json"]).json()["letterless"], serde_json::json!([]));
    // Cleared while it waits.
    name(&other, "INBOX", &full);
    flag(&one, "INBOX", "m", "S");
    pass(&one, &other);
    assert_eq!((letters(&other, "INBOX", "m"), flags(&other, "m")), ("S".into(), set(["S"])));
}

#[test]
fn a_folder_that_is_locked_gets_its_names_later() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 work\n");
    flag(&one, "INBOX", "m", "FSa");
    let bundle = one.ok(&["export", "--to", "laptop"]).stdout;
    let lock = other.dir("INBOX").join("dovecot-uidlist.lock");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    fs::write(&lock, format!("{}:{host}", std::process::id())).unwrap();
    let ran = other.run_with(&["import"], &bundle);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("dovecot-keywords") && ran.stderr.contains("locked"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("not be taken"), "{}", ran.stderr);
    assert!(other.ok(&["status"]).text().contains("locked"));
    assert_eq!(letters(&other, "INBOX", "m"), "FS", "all else was done");
    fs::remove_file(&lock).unwrap();
    other.ok(&["scan"]);
    assert_eq!((letters(&other, "INBOX", "m"), names(&other, "INBOX")), ("FSa".into(), "0 work\n".into()));
    other.is_at_rest("the lock is gone");

    // One that was left behind by a process that is gone keeps nobody waiting.
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(&lock, format!("{}:{host}", gone.id())).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(10);
    fs::File::options().write(true).open(&lock).unwrap().set_modified(long_ago).unwrap();
    name(&one, "INBOX", "0 work\n1 play\n");
    flag(&one, "INBOX", "m", "FSab");
    pass(&one, &other);
    assert_eq!(letters(&other, "INBOX", "m"), "FSab");
    assert!(!lock.exists());
}

#[test]
fn names_that_cannot_be_read_are_what_they_were() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 work\n");
    flag(&one, "INBOX", "m", "a");
    pass(&one, &other);
    let path = one.dir("INBOX").join("dovecot-keywords");
    fs::write(&path, "0 play\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = one.run(&["scan"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("dovecot-keywords") && ran.stderr.contains("ermission"), "{}", ran.stderr);
    assert_eq!(flags(&one, "m"), set(["keyword:work"]));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(one.run(&["scan"]).stderr.contains("not a list of keywords"));
    assert_eq!((flags(&one, "m"), letters(&one, "INBOX", "m")), (set(["keyword:work"]), "a".into()));
    fs::remove_dir(&path).unwrap();
    one.ok(&["scan"]);
    assert_eq!((flags(&one, "m"), names(&one, "INBOX")), (set(["keyword:work"]), "0 work\n".into()));
}

#[test]
fn a_scan_waits_for_dovecot_to_name_the_letters_that_it_has_used() {
    let dir = scratch();
    let (one, _) = two(dir.path(), "m");
    name(&one, "INBOX", "0 other\n1 work\n");
    make_folder(&one.dir("Work"));
    flag(&one, "INBOX", "m", "Sb");
    one.ok(&["scan"]);
    // Dovecot moves the message under its lock, and writes the new letter's name at the end.
    let lock = one.dir("Work").join("dovecot-uidlist.lock");
    fs::write(&lock, "").unwrap();
    fs::rename(file(&one, "INBOX", "m"), one.dir("Work").join("cur/m.moved:2,Sa")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(400));
            name(&one, "Work", "0 work\n");
            fs::remove_file(&lock).unwrap();
        });
        let report = one.ok(&["scan", "--json"]).json();
        assert_eq!((&report["moved"], &report["flagged"]), (&1.into(), &0.into()), "{report}");
    });
    assert_eq!(flags(&one, "m"), set(["S", "keyword:work"]));
    one.is_at_rest("Dovecot is done");
}

#[test]
fn who_has_dovecot_s_files_elsewhere_keeps_letters_as_they_are() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 work\n");
    name(&other, "INBOX", "0 play\n");
    flag(&one, "INBOX", "m", "a");
    other.reconfigure(&[("keywords", "false")]);
    pass(&one, &other);
    assert_eq!((letters(&other, "INBOX", "m"), flags(&other, "m")), (String::new(), set(["keyword:work"])));
    flag(&other, "INBOX", "m", "Sac");
    pass(&other, &one);
    assert_eq!((letters(&one, "INBOX", "m"), names(&other, "INBOX")), ("Sa".into(), "0 play\n".into()));
    other.is_at_rest("letters stay");
    // Whoever changes their mind has what was meant.
    flag(&other, "INBOX", "m", "Sc");
    other.reconfigure(&[("keywords", "true")]);
    other.ok(&["scan"]);
    assert_eq!((letters(&other, "INBOX", "m"), names(&other, "INBOX")), ("Sbc".into(), "0 play\n1 work\n".into()));
    one.reconfigure(&[("keywords", "false")]);
    one.ok(&["scan"]);
    one.is_at_rest("its letters mean nothing any more");
    assert_eq!((letters(&one, "INBOX", "m"), flags(&one, "m")), ("Sa".into(), set(["S", "keyword:work"])));
}

#[test]
fn a_dry_run_names_nothing() {
    let dir = scratch();
    let (one, other) = two(dir.path(), "m");
    name(&one, "INBOX", "0 work\n");
    flag(&one, "INBOX", "m", "a");
    let bundle = one.ok(&["export", "--to", "laptop"]).stdout;
    let before = other.everything();
    let ran = other.run_with(&["import", "--dry-run"], &bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(other.everything(), before);
}

#[test]
fn a_scan_reads_names_only_where_they_have_changed() {
    let dir = scratch();
    let mail: Vec<String> = (0..20).map(|n| format!("F{n} m{n} Sa")).collect();
    let lines: Vec<&str> = mail.iter().map(String::as_str).collect();
    let party = Party::new(dir.path(), "here", mailsync::maildir::LayoutKind::Fs, &lines);
    for n in 0..20 {
        party.act(&format!("names F{n} work play"));
    }
    rest();
    let reads = || {
        let watch = Watch::new(&dir.path().join("keep"));
        party.open(watch.disk()).unwrap().scan(&mailsync::replica::ScanOptions::default()).unwrap();
        let calls = watch.take();
        let opened = calls.iter().filter(|call| call.op == Op::Open).map(|call| call.path.clone());
        opened.filter(|path| path.ends_with("dovecot-keywords")).count()
    };
    assert_eq!(reads(), 20);
    assert_eq!(reads(), 0);
    party.act("names F7 work other");
    rest();
    assert_eq!((reads(), reads()), (1, 0));
}
