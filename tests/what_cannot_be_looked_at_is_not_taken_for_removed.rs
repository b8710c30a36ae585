//! A file or directory that can't be looked at is told as a problem. It is not taken for removed, neither then nor
//! later.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use mailsync::maildir::LayoutKind::{Fs, MaildirPlusPlus};
use mailsync::replica::ScanOptions;
use rustix::io::Errno;

use crate::support::disk::{Fault, Watch};
use crate::support::machine::{Machine, counts};
use crate::support::party::{Party, contents};
use crate::support::programs::{MAILSYNC, run};
use crate::support::{rest, scratch, text};

/// Lets every call of a scan fail in turn, and scans again afterwards: the two together must find this many new
/// messages, and nothing removed, and the failure must have been told.
fn check(party: &Party, watch: &Watch, new: u64) {
    rest();
    let before = party.snapshot();
    let mut n = 0;
    loop {
        n += 1;
        party.put_back(&before);
        // Nothing goes wrong before the scan.
        watch.arm(Fault::Fail(usize::MAX, Errno::IO));
        let replica = party.open(watch.disk()).unwrap();
        watch.arm(Fault::Fail(n, if n % 2 == 0 { Errno::IO } else { Errno::ACCESS }));
        let result = replica.scan(&ScanOptions::default());
        drop(replica);
        let struck = watch.struck();
        // A second look may have succeeded.
        let made_good = watch.take().iter().skip(n).any(|call| {
            call.done && struck.as_ref().is_some_and(|struck| (struck.op, &struck.path) == (call.op, &call.path))
        });
        let told = result.as_ref().map_or(1, |report| report.problems.len());
        assert!(told == usize::from(struck.is_some()) || (told == 0 && made_good), "{struck:?}: {result:?}");
        rest();
        let again = party.opened().scan(&ScanOptions::default()).unwrap();
        let reports = [result.unwrap_or_default(), again];
        let sum = |count: fn(&mailsync::replica::ScanReport) -> u64| reports.iter().map(count).sum::<u64>();
        let counts = (sum(|r| r.new), sum(|r| r.removed), sum(|r| r.folders_removed), sum(|r| r.moved));
        assert_eq!(counts, (new, 0, 0, 0), "{struck:?}");
        if struck.is_none() {
            return;
        }
    }
}

#[test]
fn a_known_folder_stays() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S", "Sent gamma S"]);
        // Every directory is searched anew after this.
        fs::create_dir(party.mail.join("other")).unwrap();
        check(&party, &Watch::new(&dir.path().join("keep")), 0);
    }
}

#[test]
fn a_folder_that_has_just_appeared_is_found_by_the_next_scan() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S"]);
        rest();
        party.opened().scan(&ScanOptions::default()).unwrap();
        party.act("deliver Fresh gamma new");
        check(&party, &Watch::new(&dir.path().join("keep")), 1);
    }
}

#[test]
fn what_a_symbolic_link_leads_to_stays() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S"]);
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(party.dir("Archive"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, party.dir("Archive")).unwrap();
        rest();
        party.opened().scan(&ScanOptions::default()).unwrap();
        assert_eq!(party.opened().status().unwrap().totals.entries, 2);
        let watch = Watch::new(&dir.path().join("keep"));
        party.act("flag INBOX alpha FS");
        fs::create_dir(party.mail.join("other")).unwrap();
        check(&party, &watch, 0);
    }
}

/// Puts something into the place of a directory.
type Spoil = fn(&Path);

fn spoil_with_a_file(path: &Path) {
    fs::write(path, "a file").unwrap();
}

fn spoil_with_a_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn spoil_with_a_link(path: &Path) {
    symlink("/nowhere/at/all", path).unwrap();
}

#[test]
fn what_takes_the_place_of_a_directory_empties_no_folder() {
    let spoils: [(&str, Spoil); 3] =
        [("a file", spoil_with_a_file), ("a pipe", spoil_with_a_pipe), ("a link", spoil_with_a_link)];
    let places = ["cur", "", ".."];
    for ((what, spoil), place, layout) in spoils
        .into_iter()
        .flat_map(|spoil| places.map(|place| (spoil, place)))
        .flat_map(|(spoil, place)| ["maildir++", "fs"].map(|layout| (spoil, place, layout)))
    {
        if place == ".." && layout == "maildir++" {
            continue;
        }
        let case = format!("{what} at {place:?} of a folder, {layout}");
        let dir = scratch();
        let desktop = Machine::new(dir.path(), "desktop");
        crate::support::make_folder(&desktop.mail);
        desktop.init_as(layout);
        for subject in ["removed", "flagged", "stays"] {
            desktop.deliver(subject);
        }
        desktop.put("Archive/2019", "cur/old:2,S", "old", 1);
        desktop.put("Archive/2019", "new/older", "older", 1);
        desktop.ok(&["scan"]);
        let entries = |desktop: &Machine| desktop.ok(&["status", "--json"]).json()["entries"].as_u64().unwrap();
        assert_eq!(entries(&desktop), 5);

        let inbox = desktop.dir("INBOX").join("cur");
        fs::remove_file(inbox.join("removed:2,S")).unwrap();
        fs::rename(inbox.join("flagged:2,S"), inbox.join("flagged:2,FS")).unwrap();
        let folder = desktop.dir("Archive/2019");
        let place = if place == ".." { folder.parent().unwrap().to_owned() } else { folder.join(place) };
        let place: std::path::PathBuf = place.components().collect();
        let aside = dir.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        spoil(&place);
        // Also when nothing has changed since the last look.
        for flagged in [1, 0] {
            let ran = desktop.run(&["scan", "--json"]);
            assert_eq!(ran.code, 1, "{case}: {ran:?}");
            assert!(ran.stderr.contains(text(&folder)) || ran.stderr.contains(text(&place)), "{case}: {ran:?}");
            assert!(ran.stderr.contains("nothing is taken for removed until"), "{case}: {ran:?}");
            assert_eq!(counts(&ran.json()), [0, 0, flagged, 0], "{case}: {ran:?}");
            assert_eq!(ran.json()["folders_removed"], 0, "{case}: {ran:?}");
        }
        assert_eq!(entries(&desktop), 5, "{case}");
        assert_eq!(desktop.run(&["export"]).code, 1, "{case}: all else is exported");

        fs::remove_file(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
        assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0, 0, 0, 1], "{case}");
        desktop.is_at_rest(&case);
    }
}

#[test]
fn a_message_stays_when_a_link_takes_its_place_wherever_that_leads() {
    for leads_to in ["aside", "nowhere", "1:2,S"] {
        let dir = scratch();
        let desktop = Machine::replica(dir.path(), "desktop");
        let cur = desktop.dir("INBOX").join("cur");
        fs::write(cur.join("1:2,S"), "message").unwrap();
        symlink("/nowhere", cur.join("never was:2,S")).unwrap();
        desktop.ok(&["scan"]);
        let aside = dir.path().join("aside");
        fs::rename(cur.join("1:2,S"), &aside).unwrap();
        // Also under another name.
        for name in ["1:2,S", "1:2,FS"] {
            let link = cur.join(name);
            symlink(dir.path().join(leads_to), &link).unwrap();
            desktop.deliver(&format!("beside {name}"));
            let ran = desktop.run(&["scan", "--json"]);
            assert!(ran.code == 1 && ran.stderr.contains("a symbolic link is in the place of the message"), "{ran:?}");
            assert_eq!(counts(&ran.json()), [1, 0, 0, 0], "{leads_to}: {ran:?}");
            fs::remove_file(link).unwrap();
        }
        fs::rename(&aside, cur.join("1:2,FS")).unwrap();
        assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0, 0, 1, 0]);
        desktop.is_at_rest("with its message again");
    }
}

#[test]
fn a_move_into_what_cannot_be_looked_at_is_no_removal() {
    for errno in [Errno::IO, Errno::ACCESS, Errno::MFILE] {
        for layout in [MaildirPlusPlus, Fs] {
            let dir = scratch();
            let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S", "Sent gamma S"]);
            rest();
            party.opened().scan(&ScanOptions::default()).unwrap();
            party.act("move INBOX alpha Archive");
            party.act("deliver New delta S");
            party.act("move Sent gamma New");
            rest();
            let watch = Watch::new(&dir.path().join("keep"));
            let (before, mut n, mut struck_at) = (party.snapshot(), 0, 0);
            loop {
                n += 1;
                party.put_back(&before);
                let replica = party.open(watch.disk()).unwrap();
                watch.arm(Fault::Fail(n, errno));
                let first = replica.scan(&ScanOptions::default());
                drop(replica);
                let struck = watch.struck();
                rest();
                let again = party.opened().scan(&ScanOptions::default()).unwrap();
                let reports = [first.unwrap_or_default(), again];
                let sum = |count: fn(&mailsync::replica::ScanReport) -> u64| reports.iter().map(count).sum::<u64>();
                let found = (sum(|r| r.moved), sum(|r| r.new), sum(|r| r.removed), sum(|r| r.folders_removed));
                assert_eq!(found, (2, 1, 0, 0), "{struck:?}");
                if struck.is_none() {
                    break;
                }
                struck_at = n;
            }
            assert!(struck_at > 10, "{struck_at} calls");
        }
    }
}

#[test]
fn directories_with_one_number_are_several() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S", "Sent gamma S"]);
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("cur")).unwrap();
        fs::write(outside.join("cur/1:2,S"), contents("delta")).unwrap();
        symlink(&outside, party.dir("Linked")).unwrap();
        // Circles, and second ways to the same.
        symlink("..", party.mail.join(".Circle")).unwrap();
        symlink(&outside, party.dir("Twice")).unwrap();
        symlink(party.dir("Sent"), party.dir("Again")).unwrap();
        party.act("deliver Work epsilon S");
        rest();
        let watch = Watch::new(&dir.path().join("keep"));
        watch.give_one_inode_to_all();
        let replica = party.open(watch.disk()).unwrap();
        let report = replica.scan(&ScanOptions::default()).unwrap();
        let found = (report.new, report.moved, report.removed, report.folders_made, report.folders_removed);
        assert_eq!((found, report.problems.len()), ((2, 0, 0, 2, 0), 0), "{report:?}");
        rest();
        let report = replica.scan(&ScanOptions::default()).unwrap();
        assert!(!report.has_changes(), "{report:?}");
    }
}

/// Runs a script of the shell in which file systems can be mounted that nobody else sees. `None` if this kernel lets
/// nobody do that here.
fn with_mounts(dir: &Path, script: &str) -> Option<String> {
    let mount = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-euc", script]).current_dir(dir);
        run(command.env("MS", MAILSYNC))
    };
    let may = mount("mkdir -p probe; mount -t tmpfs none probe; umount probe; rmdir probe");
    if may.code != 0 {
        println!("left out, since no file system can be mounted here: {}", may.stderr);
        return None;
    }
    let ran = mount(script);
    assert_eq!(ran.code, 0, "{ran:?}");
    Some(ran.text().to_owned())
}

#[test]
fn an_empty_mount_point_is_unknown_and_not_empty() {
    // What is mounted, and whether it may then seem to have been emptied.
    for (place, is_folder) in [(".Archive", true), (".Archive/cur", true), ("", false)] {
        let dir = scratch();
        let script = format!(
            r#"
            say() {{ rc=0; "$MS" --quiet --home home "$@" >out 2>err || rc=$?; echo "$1 $rc $(tr '\n' ' ' <err)"; }}
            P="mail/{place}"
            mkdir -p "$P"; mount -t tmpfs none "$P"
            mkdir -p mail/cur mail/new mail/tmp mail/.Archive/cur mail/.Archive/new mail/.Archive/tmp
            for i in 1 2 3; do echo "archived $i" > "mail/.Archive/cur/$i:2,S"; echo "here $i" > "mail/cur/$i:2,S"; done
            say init mail --name a
            sleep 0.05; say scan
            umount "$P"
            test -n "{place}" && rm "mail/cur/1:2,S"
            say scan; say scan
            say status --json; grep '^  "entries"' out
            test -n "{place}" || {{ say restore --all; say scan --dry-run --allow-mass-delete; }}
            # A mail program makes a Maildir there.
            test -n "{place}" || {{ mkdir -p mail/new; echo x >mail/new/x; say scan; say restore --all; exit 0; }}
            # The next one would get the number of the one that is gone.
            mkdir other; mount -t tmpfs none other; mount -t tmpfs none "$P"
            say scan
            umount "$P" other
            "#
        );
        let Some(said) = with_mounts(dir.path(), &script) else { return };
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(&lines[..2], ["init 0 ", "scan 0 "], "{said}");
        for line in &lines[2..4] {
            let code = if is_folder { " 1 " } else { " 6 " };
            assert!(line.contains(code) && line.contains("something else was mounted there before"), "{said}");
        }
        assert!(lines[5].contains(r#""entries": 6"#), "{said}");
        if is_folder {
            // Another disk in its place, which is empty.
            assert!(lines[6].starts_with("scan 1 "), "{said}");
        } else {
            assert!(lines[6].starts_with("restore 6 ") && lines[6].contains("mount the disk"), "{said}");
            assert!(lines[7].starts_with("scan 0 "), "{said}");
            assert!(lines[8].starts_with("scan 6 ") && lines[8].contains("6 of all 6 messages"), "{said}");
            assert!(lines[9].starts_with("restore 6 ") && lines[9].contains("mount the disk"), "{said}");
        }
    }
}
