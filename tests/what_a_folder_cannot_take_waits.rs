//! What the disk can't do in one folder waits, is told of, and keeps nothing else from being done: no message is lost
//! by it, and none comes twice. It is done as soon as it can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mailsync::maildir::LayoutKind;
use mailsync::replica::{Access, Replica, World};
use rustix::io::Errno;
use serde_json::Value;

use crate::support::disk::{Call, Fault, Op, Watch};
use crate::support::machine::{Machine, message, pair, pass};
use crate::support::party::{Party, exchange, import, make_peers};
use crate::support::programs::Ran;
use crate::support::{files, leftovers, make_folder, names, scratch, text};

/// What waits at a machine: folder, how many changes, and why.
fn waiting(machine: &Machine) -> Vec<(String, u64, String)> {
    let status = machine.ok(&["status", "--json"]).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let each = status["waiting"].as_array().unwrap().iter();
    each.map(|one| (text(&one["folder"]), one["changes"].as_u64().unwrap(), text(&one["why"]))).collect()
}

/// Carries a bundle to a machine where something waits: that says so in a line with these words, and exits with 1.
#[track_caller]
fn pass_hindered(from: &Machine, to: &Machine, words: &[&str]) {
    let bundle = from.run(&["export", "--to", &to.name]).stdout;
    hindered(&to.run_with(&["import", "--quiet"], &bundle), words);
}

/// A command has done what it could, and says in a line with these words what waits.
#[track_caller]
fn hindered(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("mailsync: note: ")).collect();
    let [line] = lines[..] else { panic!("one line should be said: {}", ran.stderr) };
    for word in words.iter().chain(&["nothing is lost", "mailsync status"]) {
        assert!(line.contains(word), "{word:?} should be in {line:?}");
    }
}

/// Both hold the same, nothing is left anywhere, and a deep scan finds nothing.
#[track_caller]
fn at_rest(one: &Machine, other: &Machine, when: &str) {
    for machine in [one, other] {
        machine.is_at_rest(when);
        assert_eq!(waiting(machine), [], "{when}");
        assert!(!machine.home.join("held").exists(), "{when}");
        assert_eq!(leftovers(&machine.mail), Vec::<std::path::PathBuf>::new(), "{when}");
        let report = machine.ok(&["scan", "--deep", "--json"]).json();
        assert_eq!((&report["new"], &report["removed"]), (&0.into(), &0.into()), "{when}: {report}");
    }
    assert_eq!(one.mailbox(), other.mailbox(), "{when}");
    let digest = |machine: &Machine| {
        let ran = machine.ok(&["export", "--full"]);
        let outlines = machine.run_with(&["inspect", "-", "--json"], &ran.stdout).json();
        outlines["bundles"][0]["manifest"]["state_digest"].clone()
    };
    assert_eq!(digest(one), digest(other), "{when}");
}

#[test]
fn a_folder_that_cannot_be_made_keeps_nothing_else_from_being_done() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let long = "a line of a long message\n".repeat(60_000);
    // A plain file has the name that the folder should have.
    fs::write(laptop.mail.join(".Work"), "not a folder").unwrap();
    desktop.put("Work", "cur/1:2,", message("waits"), 1_600_000_000);
    desktop.put("Work", "cur/2:2,", message("waits long") + &long, 1_600_000_000);
    desktop.put("Work", "cur/3:2,", message("in both"), 1_600_000_000);
    desktop.put("Other", "cur/4:2,S", message("in both"), 1_600_000_000);
    desktop.put("Other", "cur/5:2,S", message("comes"), 1_600_000_000);
    pass_hindered(&desktop, &laptop, &["4 changes could not be made", ".Work"]);
    assert!(laptop.has("comes") && laptop.has("in both") && !laptop.has("waits"));
    let told = waiting(&laptop);
    let [(folder, 3, why)] = &told[..] else { panic!("{told:?}") };
    assert!(folder == "Work" && why.contains(".Work") && why.contains("making the folder"), "{why}");
    let status = laptop.ok(&["status"]);
    assert!(status.words().contains("waiting 3 changes in Work: making the folder "), "{}", status.text());
    assert_eq!(laptop.pending(), 3);

    // Every other command goes on, and says so. Nothing counts as removed, here or there.
    for args in [&["scan", "--quiet"][..], &["scan", "--quiet", "--deep"], &["doctor", "--quiet"]] {
        hindered(&laptop.run(args), &[".Work"]);
    }
    laptop.deliver("new here");
    desktop.put("Other", "cur/6:2,", message("comes later"), 1_600_000_000);
    pass_hindered(&desktop, &laptop, &[".Work"]);
    assert!(laptop.has("comes later"));
    let bundle = laptop.run(&["export", "--to", "desktop"]);
    assert_eq!(bundle.code, 1, "{}", bundle.stderr);
    let ran = desktop.run_with(&["import"], &bundle.stdout);
    assert!(ran.code == 0 && ran.stderr.contains("1 new, 0 moved, 0 flagged, 0 removed"), "{}", ran.stderr);
    assert!(desktop.has("waits") && desktop.has("new here"));
    // A full bundle from here has the messages that wait.
    let file = dir.path().join("full");
    let third = Machine::replica(dir.path(), "third");
    third.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    laptop.run(&["peer", "add", "third", "--key", &third.key()]);
    assert_eq!(laptop.run(&["export", "--to", "third", "--full", "-o", text(&file)]).code, 1);
    third.ok(&["import", text(&file)]);
    assert_eq!(third.mailbox().keys().collect::<Vec<_>>(), desktop.mailbox().keys().collect::<Vec<_>>());

    // The file goes, and all is as if nothing had been in the way.
    fs::remove_file(laptop.mail.join(".Work")).unwrap();
    laptop.ok(&["scan"]);
    at_rest(&desktop, &laptop, "after the file went");
}

#[test]
fn what_waits_is_flagged_moved_and_removed_like_any_other_mail() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    fs::write(laptop.mail.join(".Work"), "not a folder").unwrap();
    for name in ["flagged", "moved", "removed", "to another", "stays"] {
        desktop.put("Work", &format!("cur/{name}:2,"), message(name), 1_600_000_000);
    }
    pass_hindered(&desktop, &laptop, &["6 changes"]);
    let cur = desktop.dir("Work").join("cur");
    fs::rename(cur.join("flagged:2,"), cur.join("flagged:2,FS")).unwrap();
    desktop.put("Open", "cur/1:2,", message("there already"), 1_600_000_000);
    fs::rename(cur.join("moved:2,"), desktop.dir("Open").join("cur/moved:2,R")).unwrap();
    fs::write(laptop.mail.join(".Closed"), "not a folder either").unwrap();
    fs::create_dir_all(desktop.dir("Closed").join("new")).unwrap();
    fs::create_dir_all(desktop.dir("Closed").join("cur")).unwrap();
    fs::rename(cur.join("to another:2,"), desktop.dir("Closed").join("cur/x:2,")).unwrap();
    fs::remove_file(cur.join("removed:2,")).unwrap();
    pass_hindered(&desktop, &laptop, &["5 changes", ".Closed"]);
    assert!(laptop.has("moved") && laptop.has("there already"), "what goes to a folder that is there comes");
    let told: Vec<_> = waiting(&laptop).into_iter().map(|(folder, changes, _)| (folder, changes)).collect();
    assert_eq!(told, [("Closed".to_owned(), 1), ("Work".to_owned(), 2)]);
    // What was removed before it could be delivered is in the trash.
    let trash = laptop.ok(&["trash", "list", "--json"]).json()["trash"].clone();
    assert_eq!(fs::read_to_string(trash[0]["file"].as_str().unwrap()).unwrap(), message("removed"), "{trash}");
    // It can't be brought back into that folder yet; trying that loses nothing.
    let ran = laptop.run(&["trash", "restore", &trash[0]["id"].to_string()]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(laptop.ok(&["trash", "list", "--json"]).json()["trash"], trash);
    fs::remove_file(laptop.mail.join(".Work")).unwrap();
    hindered(&laptop.run(&["scan", "--quiet"]), &[".Closed"]);
    assert!(laptop.has("flagged") && laptop.has("stays") && !laptop.has("to another"));
    fs::remove_file(laptop.mail.join(".Closed")).unwrap();
    laptop.ok(&["scan"]);
    at_rest(&desktop, &laptop, "at the end");
}

/// A directory that nothing can be put into, or taken out of, by anybody: a plain file stands in its place.
fn close(dir: &Path) {
    fs::rename(dir, dir.with_extension("away")).unwrap();
    fs::write(dir, "").unwrap();
}

fn open(dir: &Path) {
    fs::remove_file(dir).unwrap();
    fs::rename(dir.with_extension("away"), dir).unwrap();
}

#[test]
fn a_folder_without_its_tmp_takes_everything_but_new_messages() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Work", "cur/1:2,", message("one"), 1_600_000_000);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    close(&laptop.dir("Work").join("tmp"));
    let long = "a line of a long message\n".repeat(60_000);
    desktop.put("Work", "cur/2:2,", message("two"), 1_600_000_000);
    desktop.put("Work", "cur/3:2,", message("three") + &long, 1_600_000_000);
    desktop.put("Other", "cur/4:2,", message("four"), 1_600_000_000);
    pass_hindered(&desktop, &laptop, &["2 changes", "Work/tmp"]);
    assert!(laptop.has("one") && laptop.has("four") && !laptop.has("two"));
    assert_eq!(names(&laptop.home.join("held")).len(), 2, "what has come is kept");
    pass_hindered(&desktop, &laptop, &["2 changes", "Work/tmp"]);
    open(&laptop.dir("Work").join("tmp"));
    // Not even the sender is needed any more.
    laptop.ok(&["scan"]);
    at_rest(&desktop, &laptop, "with its tmp");
}

#[test]
fn a_trash_that_cannot_take_anything_keeps_what_was_removed_out_of_the_mail_all_the_same() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for name in ["one", "two", "three"] {
        desktop.put("Work", &format!("cur/{name}:2,"), message(name), 1_600_000_000);
    }
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    close(&laptop.home.join("trash"));
    for name in ["one", "two"] {
        fs::remove_file(desktop.dir("Work").join(format!("cur/{name}:2,"))).unwrap();
    }
    pass_hindered(&desktop, &laptop, &["2 changes", "trash"]);
    // The files are still there: they are no new mail, not even where a mail program marks one.
    let cur = laptop.dir("Work").join("cur");
    assert_eq!(names(&cur).len(), 3);
    let one = files(&cur).into_iter().find(|file| fs::read_to_string(file).unwrap() == message("one")).unwrap();
    fs::rename(&one, text(&one).to_owned() + "F").unwrap();
    for args in [&["scan", "--quiet"][..], &["scan", "--quiet", "--deep"]] {
        hindered(&laptop.run(args), &["2 changes", "trash"]);
        assert_eq!(laptop.ok(&["status", "--json"]).json()["entries"], 1);
    }
    let bundle = laptop.run(&["export", "--to", "desktop"]).stdout;
    let ran = desktop.run_with(&["import"], &bundle);
    assert!(ran.code == 0 && ran.stderr.contains("nothing new"), "{}", ran.stderr);
    open(&laptop.home.join("trash"));
    laptop.ok(&["scan"]);
    assert_eq!(laptop.ok(&["trash", "list", "--json"]).json()["trash"].as_array().unwrap().len(), 2);
    at_rest(&desktop, &laptop, "with its trash");
}

#[test]
fn a_change_in_a_folder_that_may_not_be_written_waits_and_what_is_done_there_meanwhile_counts() {
    use crate::support::programs::become_an_ordinary_user;
    if !become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for name in ["flagged", "moved", "removed", "removed here", "flagged here"] {
        desktop.put("Work", &format!("cur/{name}:2,"), message(name), 1_600_000_000);
    }
    desktop.put("Open", "cur/open:2,", message("open"), 1_600_000_000);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let chmod = |mode| {
        fs::set_permissions(laptop.dir("Work").join("cur"), fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(0o500);
    let cur = desktop.dir("Work").join("cur");
    for name in ["flagged", "flagged here", "removed here"] {
        fs::rename(cur.join(format!("{name}:2,")), cur.join(format!("{name}:2,F"))).unwrap();
    }
    fs::rename(cur.join("moved:2,"), desktop.dir("Open").join("cur/moved:2,")).unwrap();
    fs::remove_file(cur.join("removed:2,")).unwrap();
    desktop.put("Work", "cur/new:2,", message("new"), 1_600_000_000);
    fs::rename(desktop.dir("Open").join("cur/open:2,"), desktop.dir("Open").join("cur/open:2,S")).unwrap();
    for _ in 0..3 {
        pass_hindered(&desktop, &laptop, &["6 changes", "Work/cur", "Permission denied"]);
        assert_eq!(waiting(&laptop).iter().map(|one| one.1).sum::<u64>(), 6, "{:?}", waiting(&laptop));
        let bundle = laptop.run(&["export", "--to", "desktop"]).stdout;
        let ran = desktop.run_with(&["import"], &bundle);
        assert!(ran.code == 0 && ran.stderr.contains("nothing new"), "{}", ran.stderr);
        assert!(names(&laptop.dir("Open").join("cur")).iter().any(|name| name.ends_with(":2,S")));
    }
    // For a moment it may be written, and somebody is faster.
    chmod(0o700);
    let file = |name: &str| {
        let all = files(&laptop.dir("Work").join("cur"));
        all.into_iter().find(|file| fs::read_to_string(file).unwrap() == message(name)).unwrap()
    };
    fs::rename(file("flagged here"), text(&file("flagged here")).to_owned() + "R").unwrap();
    fs::remove_file(file("removed here")).unwrap();
    laptop.ok(&["scan"]);
    pass(&laptop, &desktop);
    pass(&desktop, &laptop);
    let flags = |name: &str| {
        let digest = mailsync::model::Digest::of(message(name).as_bytes());
        desktop.mailbox().get(&digest).map(|copies| copies[0].flags.clone())
    };
    assert_eq!(flags("flagged here").as_deref(), Some("FR"));
    assert_eq!(flags("removed here"), None);
    assert!(flags("new").is_some() && flags("moved").is_some());
    at_rest(&desktop, &laptop, "at the end");
}

/// A machine has joined but for one folder, and gets that folder's mail when `make` has made it possible.
fn joins(
    desktop: &Machine,
    laptop: &Machine,
    bundle: &Path,
    folder: &str,
    layout: &str,
    make: impl FnOnce(&Machine) -> Machine,
) {
    desktop.put(folder, "cur/one:2,", message("one"), 1_600_000_000);
    desktop.put("INBOX", "cur/two:2,", message("two"), 1_600_000_000);
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(bundle)]);
    hindered(
        &laptop.run(&["join", text(&laptop.mail), text(bundle), "--quiet", "--layout", layout]),
        &["2 changes", "making the folder"],
    );
    assert!(laptop.has("two") && !laptop.has("one"));
    assert_eq!(waiting(laptop).iter().map(|one| (&*one.0, one.1)).collect::<Vec<_>>(), [(folder, 1)]);
    let laptop = make(laptop);
    laptop.ok(&["scan"]);
    pass(&laptop, desktop);
    at_rest(desktop, &laptop, "when it could be made");
}

#[test]
fn a_new_machine_joins_although_a_folder_of_its_inviter_cannot_be_made() {
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    // The mail root holds mail, and a plain file with the name of a folder.
    make_folder(&laptop.mail);
    fs::write(laptop.mail.join(".Work"), "a plain file").unwrap();
    joins(&desktop, &laptop, &dir.path().join("invitation"), "Work", "maildir++", |laptop| {
        fs::remove_file(laptop.mail.join(".Work")).unwrap();
        laptop.clone()
    });
}

#[test]
fn a_path_that_is_too_long_for_the_system_keeps_no_machine_from_joining() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    desktop.init_as("fs");
    // Each name is short enough, and so is the mail root's path: only the two together aren't.
    let folder = ["x"; 5].map(|x| x.repeat(200)).join("/");
    let root = dir.path().join(["y"; 16].map(|y| y.repeat(200)).join("/"));
    let laptop = Machine { mail: root, ..Machine::new(dir.path(), "laptop") };
    fs::create_dir_all(laptop.mail.parent().unwrap()).unwrap();
    joins(&desktop, &laptop, &dir.path().join("invitation"), &folder, "fs", |laptop| {
        let moved = Machine { mail: dir.path().join("short"), ..laptop.clone() };
        fs::rename(&laptop.mail, &moved.mail).unwrap();
        moved.reconfigure(&[("mail_root", &format!("{:?}", text(&moved.mail)))]);
        moved.ok(&["doctor", "--moved-root"]);
        moved
    });
}

#[test]
fn a_message_whose_path_would_be_too_long_keeps_no_machine_from_joining() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    desktop.init_as("fs");
    desktop.put("Work", "cur/one:2,", message("one"), 1_600_000_000);
    desktop.put("Work", "cur/large:2,", message("large") + &"a line of a long message\n".repeat(60_000), 1_600_000_000);
    desktop.put("Work", "cur/both:2,", message("both"), 1_600_000_000);
    desktop.put("INBOX", "cur/both:2,", message("both"), 1_600_000_000);
    let bundle = dir.path().join("invitation");
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(&bundle)]);
    // The folder's directories can be made, and a message's file has a path of more than 4095 bytes.
    let mut root = dir.path().to_owned();
    while text(&root).len() < 3820 {
        root.push("y".repeat(200));
    }
    root.push("y".repeat(4050 - text(&root).len() - 1));
    let laptop = Machine { mail: root, ..Machine::new(dir.path(), "laptop") };
    fs::create_dir_all(laptop.mail.parent().unwrap()).unwrap();
    let ran = laptop.run(&["join", text(&laptop.mail), text(&bundle), "--quiet", "--layout", "fs"]);
    hindered(&ran, &["4 changes", "File name too long"]);
    hindered(&laptop.run(&["scan", "--quiet"]), &["4 changes", "File name too long"]);
    let moved = Machine { mail: dir.path().join("short"), ..laptop.clone() };
    fs::rename(&laptop.mail, &moved.mail).unwrap();
    moved.reconfigure(&[("mail_root", &format!("{:?}", text(&moved.mail)))]);
    moved.ok(&["doctor", "--moved-root"]);
    moved.ok(&["scan"]);
    pass(&moved, &desktop);
    at_rest(&desktop, &moved, "when the path is short");
}

#[test]
fn a_directory_that_may_be_written_and_not_read_keeps_nothing_else_from_being_done() {
    use crate::support::programs::become_an_ordinary_user;
    if !become_an_ordinary_user() {
        return;
    }
    for closed in ["tmp", "new", "cur", ""] {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        for name in ["flagged", "removed", "stays"] {
            desktop.put("Work", &format!("cur/{name}:2,"), message(name), 1_600_000_000);
        }
        pass(&desktop, &laptop);
        pass(&laptop, &desktop);
        let chmod = |mode| {
            fs::set_permissions(laptop.dir("Work").join(closed), fs::Permissions::from_mode(mode)).unwrap();
        };
        chmod(0o300);
        let cur = desktop.dir("Work").join("cur");
        fs::rename(cur.join("flagged:2,"), cur.join("flagged:2,F")).unwrap();
        fs::remove_file(cur.join("removed:2,")).unwrap();
        desktop.put("Work", "cur/new:2,", message("new"), 1_600_000_000);
        desktop.put("Other", "cur/other:2,", message("other"), 1_600_000_000);
        for _ in 0..2 {
            let bundle = desktop.run(&["export", "--to", "laptop"]).stdout;
            let ran = laptop.run_with(&["import"], &bundle);
            // A scan can't see what is in `new` and `cur`, and says so.
            assert!(ran.code <= 1, "{closed}: {ran:?}");
            assert_eq!(names(&laptop.dir("Other").join("cur")).len(), 1, "{closed}: {ran:?}");
        }
        chmod(0o700);
        laptop.ok(&["scan"]);
        pass(&laptop, &desktop);
        pass(&desktop, &laptop);
        assert!(laptop.has("new") && !laptop.has("removed"), "{closed}");
        at_rest(&desktop, &laptop, closed);
    }
}

#[test]
fn nothing_is_made_behind_a_link_that_leads_to_no_folder_known_here() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, laptop.mail.join(".out")).unwrap();
    desktop.put("out", "cur/1:2,", message("for elsewhere"), 1_600_000_000);
    desktop.put("out/deeper", "cur/2:2,", message("for deeper"), 1_600_000_000);
    desktop.put("Work", "cur/3:2,", message("comes"), 1_600_000_000);
    pass_hindered(&desktop, &laptop, &["could not be made"]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing was made there");
    assert!(laptop.has("comes"));
    let told = waiting(&laptop);
    assert!(told.iter().any(|(folder, _, why)| folder == "out" && why.contains("symbolic link")), "{told:?}");
    // The person removes the link: then the folder is made.
    fs::remove_file(laptop.mail.join(".out")).unwrap();
    laptop.ok(&["scan"]);
    assert!(laptop.has("for elsewhere") && laptop.has("for deeper"));
    assert_eq!(waiting(&laptop), []);
}

#[test]
fn what_an_import_could_not_do_is_not_told_as_done() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for name in ["one", "two", "three"] {
        desktop.put("Work", &format!("cur/{name}:2,"), message(name), 1_600_000_000);
    }
    pass(&desktop, &laptop);
    close(&laptop.home.join("trash"));
    for (name, code) in [("one", 1), ("two", 1)] {
        fs::remove_file(desktop.dir("Work").join(format!("cur/{name}:2,"))).unwrap();
        desktop.put("Open", &format!("cur/with {name}:2,"), message(&format!("with {name}")), 1_600_000_000);
        let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
        let ran = laptop.run_with(&["import"], &bundle);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains("of which 1 could not be made on disk yet"), "{}", ran.stderr);
    }
    // What is told where it waits says what to run.
    assert!(waiting(&laptop).iter().all(|(_, _, why)| !why.contains("run this again")), "{:?}", waiting(&laptop));
    assert!(waiting(&laptop).iter().any(|(_, _, why)| why.contains("run `mailsync scan`")), "{:?}", waiting(&laptop));
    open(&laptop.home.join("trash"));
    laptop.ok(&["scan"]);
    at_rest(&desktop, &laptop, "after the trash could be written");
}

#[test]
fn what_is_to_be_run_again_is_told_by_the_command_that_failed_and_otherwise_where_it_is_read_later() {
    let dir = scratch();
    let there = Party::new(dir.path(), "there", LayoutKind::Fs, &["INBOX alpha S", "Archive beta S"]);
    let here = Party::new(dir.path(), "here", LayoutKind::Fs, &[]);
    make_peers(&there, &here);
    let bundle = dir.path().join("bundle.zst");
    exchange(&there, &here, &bundle);
    there.act("move INBOX alpha Archive");
    there.export(&here, &bundle);
    let before = here.snapshot();
    let watch = Watch::new(&dir.path().join("kept"));
    let archive = here.dir("Archive");
    let moves = |call: &Call| call.op == Op::Rename && call.to.as_ref().is_some_and(|to| to.starts_with(&archive));
    // The move that an import makes fails so. A scan that has to list a directory again makes some calls more.
    let fails_to_move = |errno: Errno| {
        let mut at = usize::MAX;
        for _ in 0..10 {
            here.put_back(&before);
            watch.arm(Fault::Fail(at, errno));
            let result = import(&here.open(watch.disk()).unwrap(), &bundle).map(drop);
            if watch.struck().is_some_and(|call| moves(&call)) {
                return result.unwrap_err();
            }
            at = watch.take().iter().position(moves).map_or(usize::MAX, |earlier| earlier + 1);
        }
        panic!("{errno}: the move is never the same call");
    };
    for (errno, advice) in [(Errno::NOSPC, "make room on the file system of "), (Errno::IO, "run ")] {
        let told = fails_to_move(errno).to_string();
        assert!(told.contains(&format!("; {advice}")) && told.ends_with("run this again"), "{told}");
        let why = {
            let replica = Replica::open(&here.home, World::real(), Access::Read).unwrap();
            let waiting = replica.state().waiting().unwrap();
            assert_eq!(waiting.len(), 1, "{waiting:?}");
            waiting[0].why.clone()
        };
        assert!(why.contains(&format!("; {advice}")) && why.ends_with("run `mailsync scan`"), "{why}");
        assert!(!why.contains("run this again"), "{why}");
    }
}

#[test]
fn what_can_wait_in_the_status_names_no_command_as_this_one() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut looked_at = 0;
    for file in ["disk.rs", "disk", "error/lack.rs", "maildir", "replica/materialise", "state"] {
        for item in walkdir::WalkDir::new(src.join(file)).into_iter().map(Result::unwrap) {
            if item.path().extension().is_some_and(|extension| extension == "rs") {
                let words = fs::read_to_string(item.path()).unwrap().replace("\\\n", " ");
                let words: Vec<&str> = words.split_whitespace().collect();
                let says = words.windows(3).any(|words| words[..2] == ["run", "this"] && words[2].starts_with("again"));
                assert!(
                    !says,
                    "{}: Error::again says that, and what it is depends on where it is read",
                    item.path().display()
                );
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 30, "only {looked_at} files were looked at");
}
