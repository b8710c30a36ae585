//! Several machines use one directory as their exchange: a folder that Syncthing, rclone or NFS keeps for them, or a
//! stick that is pulled out half way. Others write and remove files there while one looks.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::support::corpus::Random;
use crate::support::machine::{Machine, complains, make_peers, pair, pass};
use crate::support::programs::{Ran, heeding_signals};
use crate::support::{names, scratch, text};

/// A directory for bundles.
fn share(dir: &Path) -> PathBuf {
    let share = dir.join("share");
    fs::create_dir(&share).unwrap();
    share
}

fn is_called_a_bundle(name: &str) -> bool {
    Path::new(name.strip_suffix(".age").unwrap_or(name)).extension().is_some_and(|extension| extension == "zst")
}

/// Three machines, each of which knows the others.
fn three(dir: &Path) -> [Machine; 3] {
    let all = ["desktop", "laptop", "server"].map(|name| Machine::replica(dir, name));
    make_peers(&all[0], &all[1]);
    make_peers(&all[1], &all[2]);
    make_peers(&all[2], &all[0]);
    all
}

fn outcomes(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let bundles = json["bundles"].as_array().unwrap().iter();
    bundles.map(|bundle| bundle["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bundle_that_is_still_being_copied_is_left_for_later_and_the_others_are_applied() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let third = Machine::replica(dir.path(), "third");
    make_peers(&third, &laptop);
    let share = share(dir.path());
    desktop.deliver("one");
    let whole = desktop.ok(&["export"]).stdout;
    third.deliver("two");
    let file = share.join("desktop-laptop-1.zst");
    for length in [0, 1, 5, 6, 40, whole.len() / 2, whole.len() - 4, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        third.ok(&["export", "--full", "-o", text(&share)]);
        let ran = laptop.run(&["import", "--consume", "--json", text(&share)]);
        assert_eq!(ran.code, 3, "{length} bytes: {ran:?}");
        assert!(outcomes(&ran).contains(&"incomplete".to_owned()), "{length} bytes: {ran:?}");
        assert_eq!(ran.json()["bundles"].as_array().unwrap().len(), 2, "{length} bytes: {ran:?}");
        assert!(ran.stderr.contains("desktop-laptop-1.zst: this bundle ends early"), "{ran:?}");
        assert_eq!(names(&share), ["desktop-laptop-1.zst"], "the other one was consumed");
    }
    assert_eq!(laptop.mailbox(), third.mailbox());
    let ran = laptop.run(&["import", text(&share)]);
    complains(&ran, 3, &["ends early", "import again"]);
    // By itself it is what the person gave, and wrong.
    laptop.refuses(&["import", text(&file)], b"", 4, &["cut off"]);
    // One that is damaged is more than not yet there.
    fs::write(share.join("desktop-laptop-0.zst"), "no bundle at all").unwrap();
    assert_eq!(laptop.run(&["import", text(&share)]).code, 4);
    fs::remove_file(share.join("desktop-laptop-0.zst")).unwrap();
    fs::write(&file, &whole).unwrap();
    laptop.ok(&["import", "--consume", text(&share)]);
    assert!(names(&share).is_empty());
    assert_eq!(laptop.mailbox().len(), 2);
}

#[test]
fn what_programs_that_copy_call_a_file_until_it_is_whole_is_not_looked_at() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let share = share(dir.path());
    desktop.deliver("one");
    let bundle = desktop.ok(&["export"]).stdout;
    let temporary = [
        "._desktop-laptop-1.zst",
        ".desktop-laptop-1.zst.8Fk2xQ",
        ".hidden.zst",
        ".mailsync-aB3dEf.part",
        ".syncthing.desktop-laptop-1.zst.tmp",
        "desktop-laptop-1.zst.4f1a.partial",
        "desktop-laptop-1.zst.age.part",
        "desktop-laptop-1.zst.age~",
        "desktop-laptop-1.zst.filepart",
        "desktop-laptop-1.zst.part",
        "desktop-laptop-1.zst~",
        "~syncthing~desktop-laptop-1.zst.tmp",
    ];
    for (n, name) in temporary.into_iter().enumerate() {
        fs::write(share.join(name), if n % 2 == 0 { &bundle[..50] } else { &bundle }).unwrap();
    }
    let ran = laptop.ok(&["import", "--consume", text(&share)]);
    assert!(ran.stderr.contains("holds no bundle for this replica"), "{ran:?}");
    assert!(laptop.mailbox().is_empty());
    assert_eq!(names(&share), temporary);
    // What Syncthing does with two files of one name leaves both as bundles.
    fs::write(share.join("desktop-laptop-1.sync-conflict-20260102-030405-ABCDEFG.zst"), &bundle).unwrap();
    laptop.ok(&["import", "--consume", text(&share)]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(names(&share), temporary);
}

#[test]
fn a_directory_without_a_bundle_for_this_replica_is_said_to_have_none() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let third = Machine::replica(dir.path(), "third");
    let share = share(dir.path());
    let ran = laptop.ok(&["import", text(&share)]);
    assert!(ran.stderr.ends_with("share holds no bundle for this replica\n"), "{ran:?}");
    desktop.ok(&["peer", "add", "third", "--key", &third.key()]);
    desktop.ok(&["export", "--to", "third", "-o", text(&share)]);
    let ran = laptop.ok(&["import", text(&share)]);
    assert!(
        ran.stderr.ends_with(
            "no bundle for this replica; 1 file there is for others, or from replicas that are not known here\n"
        ),
        "{ran:?}"
    );
    laptop.ok(&["export", "-o", text(&share)]);
    let ran = laptop.ok(&["import", "--consume", "--json", text(&share)]);
    assert!(
        ran.stderr.ends_with(
            "no bundle for this replica; 2 files there are for others, or from replicas that are not known here\n"
        ),
        "{ran:?}"
    );
    assert_eq!(ran.json()["bundles"], json!([]));
    assert_eq!(names(&share).len(), 2);
    laptop.refuses(&["import", text(&dir.path().join("nowhere"))], b"", 1, &["nowhere"]);
    laptop.refuses(&["import", &format!("{}/nowhere/", text(dir.path()))], b"", 1, &["nowhere"]);
}

#[test]
fn a_file_of_several_bundles_is_judged_by_all_of_them() {
    let dir = scratch();
    let [desktop, laptop, server] = three(dir.path());
    let share = share(dir.path());
    desktop.deliver("one");
    let for_server = desktop.ok(&["export", "--to", "server"]).stdout;
    let for_laptop = desktop.ok(&["export", "--to", "laptop"]).stdout;
    // The first one is for somebody else.
    fs::write(share.join("both.zst"), [&for_server[..], &for_laptop].concat()).unwrap();
    let ran = laptop.ok(&["import", "--consume", "--json", text(&share)]);
    assert_eq!(outcomes(&ran), ["applied"], "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(names(&share), ["both.zst"], "the server still needs it");
    let ran = server.ok(&["import", "--consume", "--json", text(&share)]);
    assert_eq!(outcomes(&ran), ["applied"], "{ran:?}");
    assert_eq!(names(&share), ["both.zst"]);
    // All for one, with a gap that other files fill: the first of them is read again.
    fs::remove_file(share.join("both.zst")).unwrap();
    let mut bundles = Vec::new();
    for subject in ["two", "three", "four"] {
        desktop.deliver(subject);
        bundles.push(desktop.ok(&["export", "--to", "laptop", "--since-last"]).stdout);
    }
    fs::write(share.join("a.zst"), [&for_laptop[..], &bundles[2]].concat()).unwrap();
    fs::write(share.join("b.zst"), &bundles[1]).unwrap();
    fs::write(share.join("c.zst"), &bundles[0]).unwrap();
    let ran = laptop.ok(&["import", "--consume", "--json", text(&share)]);
    assert_eq!(outcomes(&ran), ["nothing-new", "applied", "applied", "applied"], "each is told once: {ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(names(&share).is_empty());
}

#[test]
fn what_everybody_may_take_is_removed_by_its_sender_once_a_later_one_stands_in_for_it() {
    let dir = scratch();
    let [desktop, laptop, server] = three(dir.path());
    let share = share(dir.path());
    for subject in ["one", "two"] {
        desktop.deliver(subject);
        desktop.ok(&["export", "-o", text(&share)]);
    }
    // Nobody was heard of yet, so nothing is known of what they can apply.
    desktop.ok(&["import", "--consume", text(&share)]);
    assert_eq!(names(&share), ["desktop-any-1.zst.age", "desktop-any-2.zst.age"]);
    for machine in [&laptop, &server] {
        machine.ok(&["import", "--consume", text(&share)]);
        machine.ok(&["export", "-o", text(&share)]);
    }
    assert_eq!(names(&share).len(), 4);
    // Without --consume nothing is removed.
    desktop.ok(&["import", "--consume", "--dry-run", text(&share)]);
    desktop.ok(&["import", text(&share)]);
    assert_eq!(names(&share).len(), 4);
    let ran = desktop.ok(&["import", "--consume", text(&share)]);
    assert!(ran.stderr.contains("removed 1 bundle from this replica"), "{ran:?}");
    assert_eq!(names(&share), ["desktop-any-2.zst.age", "laptop-any-1.zst.age", "server-any-1.zst.age"]);
    // While the others stay away, the last one holds all.
    for subject in ["three", "four", "five"] {
        desktop.deliver(subject);
        desktop.ok(&["export", "-o", text(&share)]);
        desktop.ok(&["export", "-o", text(&share), "--to", "laptop"]);
        desktop.ok(&["import", "--consume", text(&share)]);
    }
    let own: Vec<String> = names(&share).into_iter().filter(|name| name.starts_with("desktop")).collect();
    assert_eq!(own, ["desktop-any-7.zst.age", "desktop-laptop-8.zst.age"]);
    server.ok(&["import", text(&share)]);
    laptop.ok(&["import", text(&share)]);
    assert_eq!(server.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn the_sender_keeps_what_somebody_may_still_need() {
    let dir = scratch();
    let [desktop, laptop, server] = three(dir.path());
    let share = share(dir.path());
    pass(&laptop, &desktop);
    pass(&server, &desktop);
    let keeps = |expected: &[&str]| {
        desktop.ok(&["import", "--consume", text(&share)]);
        assert_eq!(names(&share), expected);
    };
    // Each of these goes on from the one before it, and nobody can take the last one alone.
    for subject in ["one", "two", "three"] {
        desktop.deliver(subject);
        desktop.ok(&["export", "--to", "laptop", "--since-last", "-o", text(&share)]);
    }
    keeps(&["desktop-laptop-1.zst.age", "desktop-laptop-2.zst.age", "desktop-laptop-3.zst.age"]);
    laptop.ok(&["import", text(&share)]);
    pass(&laptop, &desktop);
    keeps(&["desktop-laptop-3.zst.age"]);
    fs::remove_file(share.join("desktop-laptop-3.zst.age")).unwrap();
    // The last one stays even if its readers have all of it: it tells them that this replica has it, too.
    pass(&desktop, &server);
    pass(&server, &desktop);
    desktop.ok(&["export", "-o", text(&share)]);
    keeps(&["desktop-any-5.zst.age"]);
    // An invitation is needed until it is answered. What is for the peers isn't for whoever was invited.
    desktop.ok(&["invite", "tablet", "--plain", "-o", text(&share)]);
    desktop.ok(&["export", "-o", text(&share)]);
    desktop.ok(&["export", "-o", text(&share)]);
    keeps(&["desktop-any-8.zst.age", "desktop-tablet-6.zst"]);
    let tablet = Machine::new(dir.path(), "tablet");
    tablet.ok(&["join", text(&tablet.mail), text(&share.join("desktop-tablet-6.zst"))]);
    pass(&tablet, &desktop);
    keeps(&["desktop-any-8.zst.age", "desktop-tablet-6.zst"]);
}

#[test]
fn the_other_parts_of_a_split_bundle_are_kept_while_their_contents_are_missing() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let share = share(dir.path());
    pass(&laptop, &desktop);
    for n in 0..5_u8 {
        desktop.put("INBOX", &format!("cur/{n}:2,S"), vec![b'a' + n; 25_000], 1_600_000_000);
    }
    desktop.ok(&["export", "--split", "64K", "-o", text(&share)]);
    let parts = names(&share);
    assert_eq!(parts.len(), 3, "{parts:?}");
    laptop.ok(&["import", text(&share.join("desktop-laptop-1.zst.age"))]);
    desktop.ok(&["export", "-o", text(&share)]);
    let answer = laptop.ok(&["export"]).stdout;
    desktop.run_with(&["import"], &answer);
    desktop.ok(&["import", "--consume", text(&share)]);
    assert_eq!(names(&share).len(), 4);
    laptop.ok(&["import", "--consume", text(&share)]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn two_replicas_of_one_name_write_into_one_directory_side_by_side() {
    let dir = scratch();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (one, other) = (Machine::replica(dir.path(), "laptop"), Machine::replica(&elsewhere, "laptop"));
    let desktop = Machine::replica(dir.path(), "desktop");
    for (machine, name) in [(&one, "one"), (&other, "other")] {
        machine.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
        desktop.ok(&["peer", "add", name, "--key", &machine.key()]);
        for n in 0..8 {
            machine.deliver(&format!("{name}-{n}"));
        }
    }
    let share = share(dir.path());
    thread::scope(|scope| {
        for machine in [&one, &other] {
            let share = text(&share);
            scope.spawn(move || {
                for _ in 0..8 {
                    machine.ok(&["export", "-o", share]);
                }
            });
        }
    });
    assert_eq!(names(&share).len(), 16, "{:?}", names(&share));
    assert!(names(&share).iter().all(|name| name.starts_with("laptop-desktop-") && is_called_a_bundle(name)));
    desktop.ok(&["import", "--consume", text(&share)]);
    assert_eq!(desktop.mailbox().len(), 16);
    assert!(names(&share).is_empty());
}

#[test]
fn a_file_that_vanishes_while_the_directory_is_read_is_passed_over() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let share = share(dir.path());
    desktop.deliver("one");
    let bundle = dir.path().join("bundle");
    desktop.ok(&["export", "-o", text(&bundle)]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let there: Vec<PathBuf> = (0..50).map(|n| share.join(format!("{n}.zst"))).collect();
                for file in &there {
                    // The laptop may have consumed it already.
                    drop(fs::hard_link(&bundle, file));
                }
                for file in there.iter().rev() {
                    drop(fs::remove_file(file));
                }
            }
        });
        let ran: Vec<Ran> = (0..20).map(|_| laptop.run(&["import", "--consume", text(&share)])).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ran.iter().all(|ran| ran.code == 0), "{ran:?}");
    });
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

/// Copies bundles the way rsync in place or `cp` does, until it is told to stop: what it writes is half a bundle for a
/// while.
fn copy_slowly(share: &Path, done: &AtomicBool) {
    let mut copies = 0;
    while !done.load(Ordering::Relaxed) {
        for name in names(share).iter().filter(|name| is_called_a_bundle(name) && !name.starts_with("copy")) {
            let Ok(bytes) = fs::read(share.join(name)) else { continue };
            let copy = share.join(format!("copy-{copies}-{name}"));
            let (begin, end) = bytes.split_at(bytes.len() / 3);
            fs::write(&copy, begin).unwrap();
            thread::sleep(Duration::from_millis(20));
            let file = fs::OpenOptions::new().append(true).open(&copy);
            // Nobody takes half a bundle away.
            std::io::Write::write_all(&mut file.unwrap(), end).unwrap();
            copies += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(copies > 0);
}

#[test]
fn three_machines_that_use_one_folder_at_the_same_time_end_with_the_same_mail() {
    const ROUNDS: usize = 10;
    let dir = scratch();
    let machines = three(dir.path());
    let share = share(dir.path());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (share, done) = (&share, &done);
        scope.spawn(move || copy_slowly(share, done));
        let workers = machines.each_ref().map(|machine| {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    machine.deliver(&format!("{}-{round}", machine.name));
                    if round % 3 == 2 {
                        let name = |flags| format!("cur/{}-{}:2,{flags}", machine.name, round - 1);
                        let inbox = machine.dir("INBOX");
                        fs::rename(inbox.join(name("S")), inbox.join(name("FS"))).unwrap();
                    }
                    let others = ["desktop", "laptop", "server"].into_iter().filter(|name| *name != machine.name);
                    if round % 2 == 0 {
                        machine.ok(&["export", "-o", text(share)]);
                    } else {
                        others.for_each(|other| drop(machine.ok(&["export", "-o", text(share), "--to", other])));
                    }
                    let ran = machine.run(&["import", "--consume", "--json", text(share)]);
                    let fine = |outcome: &String| ["applied", "nothing-new", "incomplete"].contains(&outcome.as_str());
                    assert!([0, 3].contains(&ran.code) && outcomes(&ran).iter().all(fine), "{ran:?}");
                }
            })
        });
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    for _ in 0..2 {
        for machine in &machines {
            machine.ok(&["import", "--consume", text(&share)]);
            machine.ok(&["export", "-o", text(&share)]);
        }
    }
    assert_eq!(machines[0].mailbox().len(), 3 * ROUNDS);
    for machine in &machines[1..] {
        assert_eq!(machine.mailbox(), machines[0].mailbox(), "{} has other mail", machine.name);
    }
    // What is left is what each has said last, and copies of that kind.
    for machine in &machines {
        machine.ok(&["import", "--consume", text(&share)]);
    }
    let left = names(&share);
    let own = |name: &&String| !name.starts_with("copy");
    assert!(left.iter().filter(own).count() <= 3, "{left:?}");
    assert!(left.iter().all(|name| name.contains("-any-")), "{left:?}");
}

#[test]
fn bundles_of_strangers_and_invitations_of_others_are_passed_over_in_a_folder() {
    let dir = scratch();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let shared = shared.to_str().unwrap();
    // A chain: the two at the ends don't know each other. Everybody has two peers, so bundles are for anyone.
    let [one, two, three, four] = ["one", "two", "three", "four"].map(|name| Machine::replica(dir.path(), name));
    for (a, b) in [(&one, &two), (&two, &three), (&three, &four), (&one, &three)] {
        make_peers(a, b);
    }
    four.ok(&["peer", "add", "two", "--key", &two.key()]);
    two.put("INBOX", "new/1.x.y", "From: two\n\n", 1_600_000_000);
    four.put("INBOX", "new/1.x.y", "From: four\n\n", 1_600_000_001);
    for machine in [&two, &four] {
        machine.ok(&["export", "-o", shared]);
    }
    three.ok(&["invite", "five", "--plain", "-o", shared]);
    // "two" doesn't know "four", and "one" neither knows "four" nor is invited.
    for machine in [&one, &two, &three] {
        machine.ok(&["import", shared]);
    }
    assert_eq!((one.mailbox().len(), two.mailbox().len(), three.mailbox().len()), (1, 1, 2));
    // What is for one alone is still told of when its sender is unknown.
    four.ok(&["export", "--to", "two", "-o", shared]);
    let ran = two.run(&["import", shared]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("unknown sender"), "{}", ran.stderr);
}

#[test]
fn what_a_killed_export_has_left_is_removed_when_it_is_old() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    let share = share(dir.path());
    let [old, young, other] = [".mailsync-old.part", ".mailsync-young.part", "other.part"].map(|name| share.join(name));
    for file in [&old, &young, &other] {
        fs::write(file, "x").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
    for file in [&old, &other] {
        fs::File::open(file).unwrap().set_modified(long_ago).unwrap();
    }
    desktop.ok(&["export", "-o", text(&share)]);
    assert!(!old.exists() && young.exists() && other.exists());
}

/// A message that can't be compressed, so large that an export of it takes its time.
fn large(machine: &Machine) -> PathBuf {
    let mut bytes = b"Subject: large\n\n".to_vec();
    let mut random = Random::new(7);
    while bytes.len() < 48 << 20 {
        bytes.extend(random.any().to_le_bytes());
    }
    machine.put("INBOX", "cur/large:2,S", bytes, 7)
}

/// The temporary files of exports in a directory, those that hold something.
fn parts(dir: &Path) -> Vec<PathBuf> {
    let is_part = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
    names(dir).iter().filter(|name| name.starts_with(".mailsync-")).map(|name| dir.join(name)).filter(is_part).collect()
}

/// Begins an export into a directory, and ends it by a signal while it writes there.
fn interrupted(machine: &Machine, share: &Path, signal: Signal) {
    let mut export = heeding_signals(&machine.command(&["export", "--full", "-o", text(share)]));
    let mut child = export.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while parts(share).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before it wrote anything");
        thread::sleep(Duration::from_millis(1));
    }
    rustix::process::kill_process(Pid::from_child(&child), signal).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
}

#[test]
fn an_export_that_is_interrupted_leaves_nothing_behind() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    let share = share(dir.path());
    large(&desktop);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        interrupted(&desktop, &share, signal);
        assert_eq!(names(&share), Vec::<String>::new(), "{signal:?}");
    }
}

#[test]
fn what_a_killed_export_has_left_is_removed_by_the_next_one_of_the_same_machine() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let share = share(dir.path());
    let message = large(&desktop);
    interrupted(&desktop, &share, Signal::KILL);
    assert_eq!(parts(&share).len(), 1);
    // Another machine may be writing it at this moment.
    laptop.ok(&["export", "-o", text(&share)]);
    assert_eq!(parts(&share).len(), 1);
    fs::remove_file(message).unwrap();
    desktop.deliver("small");
    desktop.ok(&["export", "-o", text(&share)]);
    assert_eq!(parts(&share), Vec::<PathBuf>::new());
    laptop.ok(&["import", text(&share)]);
    assert!(laptop.has("small"));
}
