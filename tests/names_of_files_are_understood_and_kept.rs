//! What other programs make of the names of message files is understood, and kept as it is.

use std::fs;

use crate::support::machine::{Machine, exchange, make_peers, message, pair, pass};
use crate::support::{names, scratch};

/// The names in a folder's `cur/`, without the parts before the flags that mailsync gives.
fn tails(machine: &Machine, folder: &str) -> Vec<String> {
    let tail = |name: String| name.find([':', ';', '!']).map_or(name.clone(), |at| name[at..].to_owned());
    let mut tails: Vec<_> = names(&machine.dir(folder).join("cur")).into_iter().map(tail).collect();
    tails.sort();
    tails
}

#[test]
fn a_tail_that_is_no_list_of_flags_is_kept_and_sets_none() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let odd = ["1.x:2,S.sync-conflict-20260101-120000-DTFRPAB", "2.x:2,S.gz", "3.x:2,FS~", "4.x;2,S (conflicted copy)"];
    for name in odd {
        desktop.put("INBOX", &format!("cur/{name}"), message(name), 1_600_000_000);
    }
    exchange(&desktop, &laptop);
    assert_eq!(tails(&laptop, "INBOX"), [":2,"; 4]);
    assert_eq!(names(&desktop.dir("INBOX").join("cur")), odd);
    // A flag that is set elsewhere comes behind all of the name.
    for name in names(&laptop.dir("INBOX").join("cur")) {
        let cur = laptop.dir("INBOX").join("cur");
        fs::rename(cur.join(&name), cur.join(format!("{name}F"))).unwrap();
    }
    exchange(&laptop, &desktop);
    let expected = odd.map(|name| format!("{name}:2,F"));
    assert_eq!(names(&desktop.dir("INBOX").join("cur")), expected);
    desktop.is_at_rest("with odd names");
    // And goes again.
    for name in names(&laptop.dir("INBOX").join("cur")) {
        let cur = laptop.dir("INBOX").join("cur");
        fs::rename(cur.join(&name), cur.join(name.replace(":2,F", ":2,"))).unwrap();
    }
    exchange(&laptop, &desktop);
    assert_eq!(names(&desktop.dir("INBOX").join("cur")), odd.map(|name| format!("{name}:2,")));
    assert_eq!(desktop.mailbox().len(), 4);
}

#[test]
fn a_file_that_a_program_has_set_aside_under_such_a_name_keeps_its_flags() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/1.x:2,FS", message("one"), 1_600_000_000);
    exchange(&desktop, &laptop);
    let cur = desktop.dir("INBOX").join("cur");
    fs::rename(cur.join("1.x:2,FS"), cur.join("1.x:2,FS.sync-conflict-20260101-120000-DTFRPAB")).unwrap();
    exchange(&desktop, &laptop);
    assert_eq!(tails(&laptop, "INBOX"), [":2,FS"]);
    assert_eq!(names(&cur), ["1.x:2,FS.sync-conflict-20260101-120000-DTFRPAB:2,FS"]);
}

#[test]
fn the_separators_of_a_folder_are_understood_and_kept() {
    for separator in [';', '!'] {
        let dir = scratch();
        let odd = Machine::new(dir.path(), "odd");
        let plain = Machine::replica(dir.path(), "plain");
        crate::support::make_folder(&odd.mail);
        for number in 0..20 {
            let name = format!("cur/{number}.x{separator}2,{}", if number == 0 { "" } else { "S" });
            fs::write(odd.mail.join(name), message(&number.to_string())).unwrap();
        }
        odd.init();
        make_peers(&odd, &plain);
        exchange(&odd, &plain);
        let seen: Vec<_> = tails(&plain, "INBOX").into_iter().filter(|tail| tail == ":2,S").collect();
        assert_eq!(seen.len(), 19, "{:?}", tails(&plain, "INBOX"));
        // What comes new, and what gets another flag, has the folder's separator; a folder without one has the usual.
        plain.put("INBOX", "cur/new:2,F", message("new"), 1_600_000_000);
        plain.put("Other", "cur/other:2,F", message("other"), 1_600_000_000);
        for (digest, mail, path) in plain.files() {
            if mail.flags.is_empty() && digest == mailsync::model::Digest::of(message("0").as_bytes()) {
                fs::rename(&path, path.with_file_name("0.y:2,RS")).unwrap();
            }
        }
        exchange(&plain, &odd);
        let mut expected = vec![format!("{separator}2,S"); 19];
        expected.extend([format!("{separator}2,F"), format!("{separator}2,RS")]);
        expected.sort();
        assert_eq!(tails(&odd, "INBOX"), expected);
        assert!(names(&odd.mail.join("cur")).contains(&format!("0.x{separator}2,RS")));
        assert_eq!(tails(&odd, "Other"), [":2,F"]);
        odd.is_at_rest("with its separator");
        assert_eq!(odd.mailbox().len(), 22);
    }
}

#[test]
fn a_size_that_a_server_would_not_find_is_not_told() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let gzip = [&b"\x1f\x8b\x08\x00"[..], &[7; 100]].concat();
    let large = [&b"\x1f\x8b\x08\x00"[..], &vec![9; (1 << 20) + 7]].concat();
    desktop.put("INBOX", "cur/1.h,S=6032,W=6235:2,S", &gzip, 1_600_000_000);
    desktop.put("INBOX", "cur/2.h,S=9999999:2,S", &large, 1_600_000_001);
    desktop.put("INBOX", "cur/3.h:2,S", message("plain"), 1_600_000_002);
    pass(&desktop, &laptop);
    let told = |machine: &Machine, folder: &str| {
        names(&machine.dir(folder).join("cur")).iter().map(|name| name.contains(",S=")).collect::<Vec<_>>()
    };
    assert_eq!(told(&laptop, "INBOX"), [false, false, true], "{:?}", names(&laptop.dir("INBOX").join("cur")));
    // Nor when somebody else moves it, where it came from or where it went.
    for name in names(&laptop.dir("INBOX").join("cur")) {
        crate::support::make_folder(&laptop.dir("Archive"));
        let from = laptop.dir("INBOX").join("cur").join(&name);
        fs::rename(from, laptop.dir("Archive").join("cur").join(&name)).unwrap();
    }
    exchange(&laptop, &desktop);
    assert_eq!(told(&desktop, "Archive"), [false, false, true]);
    // The trash gives it back as it was.
    fs::remove_dir_all(desktop.dir("Archive")).unwrap();
    exchange(&desktop, &laptop);
    laptop.ok(&["trash", "restore", "1"]);
    laptop.ok(&["trash", "restore", "2"]);
    laptop.ok(&["trash", "restore", "3"]);
    let mut restored = told(&laptop, "Archive");
    restored.sort_unstable();
    assert_eq!(restored, [false, false, true]);
    // A new machine takes the short way.
    let tablet = Machine::new(dir.path(), "tablet");
    let invitation = laptop.ok(&["invite", "tablet"]).stdout;
    let ran = tablet.run_with(&["join", crate::support::text(&tablet.mail)], &invitation);
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut joined = told(&tablet, "Archive");
    joined.sort_unstable();
    assert_eq!(joined, [false, false, true]);
}
