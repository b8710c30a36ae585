//! `mailsync deinit` makes a replica none: the mail stays as it is, all else goes, and nothing that only this replica has
//! goes without a word.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mailsync::disk::RealDisk;
use mailsync::replica::{Access, Home, Replica, World};

use crate::support::disk::{Fault, Names};
use crate::support::machine::{Machine, complains, exchange, message, pair};
use crate::support::programs::{MAILSYNC, Ran};
use crate::support::scene::{Command, Scene, difference};
use crate::support::terminal::at_a_terminal;
use crate::support::{names, scratch, text};

/// The files of the mail, with their times; not what says whose mail root it is.
fn mail(machine: &Machine) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let all = machine.everything().into_iter().map(|(path, (contents, _))| (path, contents));
    all.filter(|(path, _)| !path.ends_with(".mailsync")).collect()
}

/// Two machines that have the same mail, and know that of each other; the laptop has something in its trash.
fn settled(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for subject in ["one", "two", "three"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    desktop.remove("two");
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    assert_eq!(names(&laptop.home.join("trash")).len(), 1);
    (desktop, laptop)
}

fn has_said(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} should be in {}", ran.stderr);
    }
}

#[test]
fn all_but_the_mail_and_the_trash_goes_and_it_is_told_before() {
    let dir = scratch();
    let (desktop, laptop) = settled(dir.path());
    let (before, left) = (mail(&laptop), laptop.left());
    let words = [
        &format!("stays: the mail in {}, 2 messages", laptop.mail.display()),
        "goes: the configuration and the key in",
        "goes: the state in",
        "stays: 1 message in the trash",
        "desktop has shown to know all of it",
        "next, on desktop: `mailsync peer remove laptop`, if `mailsync peer list` shows ",
        &format!(" shows {} by that name there", laptop.public_key().id()),
    ];
    has_said(&laptop.ok(&["deinit", "-n"]), &words);
    assert_eq!(laptop.left(), left, "a dry run");
    let ran = laptop.ok(&["deinit", "--yes"]);
    has_said(&ran, &words);
    has_said(&ran, &["laptop is no replica any more", "kept: the messages in"]);
    assert_eq!(mail(&laptop), before);
    assert!(!laptop.mail.join(".mailsync").exists());
    assert_eq!(names(&laptop.home), ["trash.kept"]);
    let kept = names(&laptop.home.join("trash.kept"));
    assert_eq!(fs::read_to_string(laptop.home.join("trash.kept").join(&kept[0])).unwrap(), message("two"));
    let said = laptop.fails(&["status"], 1);
    assert!(said.contains("no replica lives there"), "{said}");
    assert!(laptop.fails(&["deinit", "--yes"], 1).contains("no replica lives there"));

    // The other one goes on without it, and it can begin anew.
    desktop.ok(&["peer", "remove", "laptop"]);
    laptop.init();
    assert_eq!(mail(&laptop), before);
    desktop.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    laptop.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    exchange(&desktop, &laptop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    desktop.remove("one");
    exchange(&desktop, &laptop);
    laptop.ok(&["purge"]);
    assert_eq!(names(&laptop.home.join("trash.kept")), kept, "a new replica leaves it alone");
    exchange(&desktop, &laptop);
    laptop.ok(&["deinit", "--yes"]);
    assert_eq!(names(&laptop.home), ["trash.kept", "trash.kept-2"]);
}

#[test]
fn the_trash_moves_into_a_directory_or_goes_for_good() {
    let dir = scratch();
    let (_desktop, laptop) = settled(dir.path());
    let (to, before) = (dir.path().join("removed"), mail(&laptop));
    let said = laptop.fails(&["--quiet", "deinit", "--yes", "--trash-to", text(&to)], 1);
    assert!(said.contains("make the directory first"), "{said}");
    fs::create_dir(&to).unwrap();
    assert_eq!(laptop.run(&["deinit", "--yes", "--trash-to", text(&to), "--purge-trash"]).code, 2);

    // What can't be moved stays, and so does all else.
    let in_trash = laptop.home.join("trash").join(&names(&laptop.home.join("trash"))[0]);
    let whole = fs::read(&in_trash).unwrap();
    fs::write(&in_trash, "damaged").unwrap();
    let left = laptop.left();
    let said = laptop.fails(&["--quiet", "deinit", "--yes", "--trash-to", text(&to)], 1);
    assert!(said.contains("moving the trash, of which nothing was removed"), "{said}");
    assert_eq!(laptop.left(), left);
    fs::write(&in_trash, whole).unwrap();

    has_said(&laptop.ok(&["deinit", "-n", "--trash-to", text(&to)]), &["moves: 1 message in the trash"]);
    assert_eq!(names(&to), [""; 0]);
    let copy = dir.path().join("copy");
    crate::support::copy(&laptop.home, &copy);
    let document = laptop.ok(&["deinit", "--yes", "--trash-to", text(&to), "--json"]).json();
    assert_eq!(document["left"]["moved"]["messages"], 1, "{document}");
    assert_eq!((&document["plan"]["trash"]["messages"], &document["losses"]), (&1.into(), &serde_json::json!([])));
    let moved = names(&to);
    assert!(moved.len() == 1 && Path::new(&moved[0]).extension() == Some("eml".as_ref()), "{moved:?}");
    assert_eq!(fs::read_to_string(to.join(&moved[0])).unwrap(), message("two"));
    assert!(!laptop.home.exists());

    fs::rename(&copy, &laptop.home).unwrap();
    // What the state doesn't know isn't taken for trash.
    fs::write(laptop.home.join("trash/mine"), "of my own").unwrap();
    let ran = laptop.ok(&["deinit", "--yes", "--purge-trash"]);
    has_said(&ran, &["goes: 1 message in the trash", "for good", "kept: the messages in"]);
    assert_eq!(names(&laptop.home.join("trash.kept")), ["mine"]);
    assert_eq!(mail(&laptop), before);
}

#[test]
fn a_person_is_asked_and_who_is_not_there_has_to_say_yes_before() {
    let dir = scratch();
    let (_desktop, laptop) = settled(dir.path());
    let left = laptop.left();
    let said = laptop.fails(&["--quiet", "deinit"], 2);
    assert!(said.contains("there is no terminal to ask on") && said.contains("--yes"), "{said}");
    assert_eq!(laptop.left(), left);
    let line = laptop.line("deinit");
    let Some(ran) = at_a_terminal(&line, &[("remove all this?", "no")]) else { return };
    assert!(ran.code == 1 && ran.text().contains("nothing was changed"), "{ran:?}");
    assert_eq!(laptop.left(), left);
    let ran = at_a_terminal(&line, &[("remove all this?", "yes")]).unwrap();
    assert!(ran.code == 0 && ran.text().contains("no replica any more"), "{ran:?}");
    assert_eq!(names(&laptop.home), ["trash.kept"]);
}

#[test]
fn what_no_peer_has_is_told_and_nothing_goes() {
    let dir = scratch();
    let (desktop, laptop) = settled(dir.path());
    let refused = |words: &[&str]| {
        laptop.refuses(&["--quiet", "deinit", "--yes"], &[], 6, words);
        laptop.refuses(&["--quiet", "deinit", "-n"], &[], 6, words);
    };
    // Nobody has looked at the disk yet.
    laptop.deliver("four");
    laptop.flag("one", "F");
    refused(&["no peer has shown to know what was changed here of 2 entries", "--anyway"]);
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    laptop.ok(&["deinit", "-n"]);
    laptop.ok(&["uux", "desktop", "send"]);
    refused(&["what is said here about 1 job", "--anyway"]);
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    laptop.ok(&["deinit", "-n"]);
    // That one has all is enough; and who was shut out has nothing.
    laptop.ok(&["peer", "add", "third", "--key", &Machine::replica(dir.path(), "third").key()]);
    has_said(&laptop.ok(&["deinit", "-n"]), &["third has not shown to know: 4 entries", "desktop has shown"]);
    laptop.ok(&["peer", "revoke", "desktop"]);
    refused(&["no peer has shown to know"]);
    let document = laptop.run(&["deinit", "-n", "--json"]).json();
    assert_eq!((document["exit_code"].as_u64(), document["plan"]["unseen_entries"].as_u64()), (Some(6), Some(4)));
    assert_eq!(document["losses"].as_array().unwrap().len(), 2, "{document}");
    laptop.ok(&["deinit", "--yes", "--anyway"]);
    assert_eq!(names(&laptop.home), ["trash.kept"]);

    // A replica without a peer is nobody's loss.
    let alone = Machine::new(dir.path(), "alone");
    alone.init();
    alone.deliver("mine");
    alone.ok(&["deinit", "--yes"]);
    assert!(mail(&alone).values().any(|file| file.as_deref() == Some(message("mine").as_bytes())));
    assert!(!alone.home.exists());
}

#[test]
fn a_mail_root_that_is_not_there_is_no_reason_to_stay_if_the_person_says_so() {
    let dir = scratch();
    let (_desktop, laptop) = settled(dir.path());
    let (elsewhere, before) = (dir.path().join("elsewhere"), mail(&laptop));
    fs::rename(&laptop.mail, &elsewhere).unwrap();
    let said = laptop.fails(&["--quiet", "deinit", "--yes"], 6);
    assert!(said.contains("what has changed in the mail root could not be found out"), "{said}");
    laptop.ok(&["deinit", "--yes", "--anyway"]);
    assert_eq!(names(&laptop.home), ["trash.kept"]);
    fs::rename(&elsewhere, &laptop.mail).unwrap();
    assert_eq!(mail(&laptop), before);
    // The mark that is left counts for nothing.
    laptop.init();
}

#[test]
fn what_was_interrupted_is_ended_before_anything_else() {
    let dir = scratch();
    let (_desktop, laptop) = settled(dir.path());
    let before = mail(&laptop);
    let leaving = format!(
        "mail_root = {:?}\nconfig = {:?}\nremove_trash = false\ntrash = \"trash.kept\"\nheld = \"held.kept\"\n",
        laptop.mail,
        fs::canonicalize(laptop.home.join("config.toml")).unwrap()
    );
    let file = laptop.home.join("leaving");
    fs::write(&file, leaving).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(laptop.home.join("state.db")).unwrap();
    let bundle = dir.path().join("none");
    let commands: [&[&str]; 5] = [
        &["status"],
        &["scan"],
        &["init", text(&laptop.mail)],
        &["join", text(&laptop.mail), text(&bundle)],
        &["purge"],
    ];
    fs::write(&bundle, "").unwrap();
    for args in commands {
        complains(&laptop.run(args), 1, &["a `mailsync deinit` was interrupted", "run `mailsync deinit` again"]);
    }
    has_said(&laptop.ok(&["deinit", "-n"]), &["was interrupted, and it would be ended"]);
    assert!(file.exists());
    has_said(&laptop.ok(&["deinit"]), &["was interrupted, and it is ended", "kept: the messages in"]);
    assert_eq!(names(&laptop.home), ["trash.kept"]);
    assert_eq!(mail(&laptop), before);
    laptop.init();
}

#[test]
fn nothing_goes_while_others_work_or_a_job_runs() {
    let dir = scratch();
    let (_desktop, laptop) = settled(dir.path());
    let home = Home::at(&laptop.home);
    let open = || Replica::open(&home, World::real(), Access::Write(std::time::Duration::ZERO)).unwrap();
    let working = open();
    let said = laptop.fails(&["--quiet", "deinit", "--yes", "--lock-timeout", "0"], 5);
    assert!(said.contains("another mailsync"), "{said}");
    drop(working);
    let jobs = fs::File::create(laptop.home.join("jobs.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&jobs).unwrap();
    let said = laptop.fails(&["--quiet", "deinit", "--yes", "--lock-timeout", "0"], 5);
    assert!(said.contains("a job is running"), "{said}");
    drop(jobs);
    laptop.ok(&["status"]);
    laptop.ok(&["deinit", "--yes"]);
}

#[test]
fn who_has_waited_meanwhile_does_not_go_on_with_what_is_no_more() {
    let dir = scratch();
    let (desktop, laptop) = settled(dir.path());
    let this = format!("{MAILSYNC} --quiet --home {}", text(&laptop.home));
    let gone = format!("{this} deinit --yes --anyway");
    let anew = format!("{gone} && {this} init {} --name laptop", text(&laptop.mail));
    let copy = dir.path().join("copy");
    crate::support::copy(&laptop.home, &copy);
    desktop.remove("one");
    for (does, says) in [(gone, "no replica lives there"), (anew, "another state is there by now")] {
        let _ = fs::remove_dir_all(&laptop.home);
        crate::support::copy(&copy, &laptop.home);
        let answers = format!(
            "cat > {0}/bundle; {MAILSYNC} --quiet --home {1} import --reply {0}/bundle; ({does}) >&2",
            text(dir.path()),
            text(&desktop.home)
        );
        laptop.reach_by("desktop", &["sh", "-c", &answers]);
        let ran = laptop.run(&["update", "desktop"]);
        assert!(ran.code != 0 && ran.stderr.contains(says), "{ran:?}");
        let files = mail(&laptop);
        let mut contents = files.values().flatten();
        assert!(contents.any(|file| file == message("one").as_bytes()), "an import has gone on without its replica");
    }
}

#[test]
fn what_is_nothing_of_mailsyncs_stays_and_is_named() {
    let dir = scratch();
    let (_desktop, laptop) = settled(dir.path());
    fs::write(laptop.home.join("notes.txt"), "mine").unwrap();
    fs::create_dir(laptop.home.join("jobs")).unwrap();
    fs::set_permissions(laptop.home.join("jobs"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(laptop.home.join("jobs/deep")).unwrap();
    let ran = laptop.ok(&["deinit", "--yes", "--purge-trash"]);
    let notes = format!("nothing of mailsync's: {}", laptop.home.join("notes.txt").display());
    has_said(&ran, &[&notes, &format!("nothing of mailsync's: {}", laptop.home.join("jobs").display())]);
    assert_eq!(names(&laptop.home), ["jobs", "notes.txt"]);
}

#[test]
fn a_join_that_is_not_complete_is_given_up_if_the_person_says_so() {
    let scene = Scene::new(Command::JoinEmptyRoot);
    let watch = scene.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    scene.run(watch.disk()).unwrap();
    let calls = watch.take().len();
    let watch = scene.put_back();
    let database = scene.here.home.database();
    let (result, _) = watch.hinder(Fault::Stop(calls * 3 / 4), &database, || (), || scene.run(watch.disk()));
    assert!(result.is_err());
    let machine = Machine {
        name: String::from("here"),
        mail: scene.here.mail.clone(),
        home: scene.here.home.state_dir().to_owned(),
    };
    let said = machine.fails(&["--quiet", "deinit", "--yes"], 6);
    assert!(said.contains("its join is not complete") && said.contains("repeat the join"), "{said}");
    machine.ok(&["deinit", "--yes", "--anyway"]);
    assert!(!machine.home.exists());
}

#[test]
fn the_power_can_fail_at_any_step_and_the_command_is_repeated() {
    let scene = Scene::new(Command::Deinit);
    let watch = scene.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    scene.run(watch.disk()).unwrap();
    let calls = watch.take();
    let end = scene.end();
    let places: Vec<usize> = (1..=calls.len()).filter(|&n| calls[n - 1].op.changes()).collect();
    assert!(places.len() > 20, "{calls:?}");
    for n in places {
        for how in [Names::Undone, Names::Kept] {
            let watch = scene.put_back();
            let database = scene.here.home.database();
            let (result, _) = watch.hinder(Fault::Stop(n), &database, || (), || scene.run(watch.disk()));
            let call = watch.struck().unwrap_or_else(|| panic!("nothing struck at {n}: {result:?}"));
            watch.cut_power(scene.here.root(), how);
            assert_eq!(scene.lost(), 0, "names {how:?} at {call:?}");
            scene.run(Box::new(RealDisk)).unwrap_or_else(|error| panic!("names {how:?} at {call:?}: {error}"));
            let now = scene.end();
            assert_eq!(now, end, "names {how:?} at {call:?}: {}", difference(&now, &end));
        }
    }
}
