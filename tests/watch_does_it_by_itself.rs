//! `mailsync watch`: what a person does by commands happens by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::support::machine::{Machine, complains, make_peers, message, pair};
use crate::support::programs::{self, MAILSYNC, heeding_signals, run};
use crate::support::watching::{Watching, until, until_quiet};
use crate::support::{names, scratch, text};

/// Quick, and at no interval, so that nothing is found but by being told.
const ONLY_TOLD: &str = "[watch]\nafter = \"100ms\"\nevery = \"1h\"";
/// The same, and often.
const OFTEN: &str = "[watch]\nafter = \"100ms\"\nevery = \"200ms\"";

/// Lets two machines exchange bundles through two directories, one for each direction.
fn link(dir: &Path, one: &Machine, other: &Machine) -> (PathBuf, PathBuf) {
    let spool = |from: &Machine, to: &Machine| {
        let spool = dir.join(format!("{}-to-{}", from.name, to.name));
        fs::create_dir(&spool).unwrap();
        spool
    };
    let (there, back) = (spool(one, other), spool(other, one));
    for (machine, peer, out, from) in [(one, other, &there, &back), (other, one, &back, &there)] {
        machine.configure(&format!("{ONLY_TOLD}\nreceive = [{:?}]", text(from)));
        machine.configure(&format!("[peer.{}]\nspool = {:?}", peer.name, text(out)));
    }
    (there, back)
}

fn flags_of(machine: &Machine, subject: &str) -> String {
    let file = machine.file_of(subject).map(|file| text(&file).to_owned()).unwrap_or_default();
    file.rsplit_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default()
}

#[test]
fn mail_that_comes_here_is_there_and_what_is_done_there_is_done_here_and_then_all_is_quiet() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let laptop = Machine::new(dir.path(), "laptop");
    laptop.init_as("fs");
    make_peers(&desktop, &laptop);
    let (there, back) = link(dir.path(), &desktop, &laptop);
    let (here, yonder) = (Watching::start(&desktop, &[]), Watching::start(&laptop, &[]));
    desktop.deliver("one");
    until("it has come to the laptop", || laptop.has("one"));
    laptop.flag("one", "FS");
    until("it is flagged on the desktop", || flags_of(&desktop, "one") == "FS");
    // A folder that nobody knew, and what comes into it when it is known.
    laptop.move_to("one", "Lists/new");
    until("it has moved on the desktop", || desktop.file_of("one").is_some_and(|file| text(&file).contains("Lists")));
    until_quiet(&[&here, &yonder]);
    let settled = (here.all_steps().len(), yonder.all_steps().len());
    laptop.put("Lists/new", "new/two", message("two"), 1_600_000_000);
    until("it has come to the desktop", || desktop.has("two"));
    until_quiet(&[&here, &yonder]);
    // By counts: the laptop finds it and writes it, hears that it has come, and that is all.
    let more = |watching: &Watching, before: usize| watching.all_steps().len() - before;
    let (on_desktop, on_laptop) = (more(&here, settled.0), more(&yonder, settled.1));
    assert!(on_desktop <= 4 && on_laptop <= 4, "desktop {on_desktop}, laptop {on_laptop}");
    let written = |watching: &Watching| watching.steps("export").len();
    assert!(written(&here) <= 6 && written(&yonder) <= 6, "{} {}", written(&here), written(&yonder));
    // Of what was imported nothing is left, and of what was written no more than the last.
    until("the spools are tidy", || names(&there).len() + names(&back).len() <= 2);
    let (rounds, _) = here.stop();
    yonder.stop();
    assert!(rounds.iter().all(|round| round["exit_code"] == 0 && round["error"].is_null()), "{rounds:#?}");
    assert_eq!(desktop.mailbox(), laptop.mailbox());
}

#[test]
fn a_peer_is_called_when_there_is_something_for_it_and_what_it_answers_comes_in() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.configure(ONLY_TOLD);
    desktop.reach(&laptop);
    let watching = Watching::start(&desktop, &["-v"]);
    let called = watching.steps("call").len();
    laptop.deliver("from-laptop");
    desktop.deliver("from-desktop");
    until("it has come to the laptop", || laptop.has("from-desktop"));
    until("the answer has come", || desktop.has("from-laptop"));
    until_quiet(&[&watching]);
    assert_eq!(watching.steps("call").len(), called + 1, "one call has done it");
    let (rounds, said) = watching.stop();
    assert!(said.contains("laptop: sent, and received 1 new"), "{said}");
    assert!(rounds.iter().any(|round| round["steps"][0]["changes"][0]["subject"] == "from-desktop"), "{rounds:#?}");
    assert_eq!(desktop.mailbox(), laptop.mailbox());
}

#[test]
fn a_peer_is_called_at_an_interval_since_it_can_not_say_that_it_has_something() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.configure(OFTEN);
    desktop.reach(&laptop);
    let watching = Watching::start(&desktop, &["--quiet"]);
    laptop.deliver("from-laptop");
    until("it has come", || desktop.has("from-laptop"));
    assert_eq!(watching.stop().1, "");
}

#[test]
fn a_peer_that_can_not_be_reached_is_left_alone_for_a_while_and_told_of_once() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.configure(OFTEN);
    desktop.reach_by("laptop", &["sh", "-c", "exit 255"]);
    let watching = Watching::start(&desktop, &[]);
    for number in 0..3 {
        let scans = watching.steps("scan").len();
        desktop.deliver(&format!("mail-{number}"));
        watching.until("it was found", |_| watching.steps("scan")[scans..].iter().any(|scan| scan["scan"]["new"] == 1));
    }
    assert_eq!(watching.steps("call").len(), 1);
    let (rounds, said) = watching.stop();
    assert_eq!(said.matches("calling laptop: it could not be reached").count(), 1, "{said}");
    assert_eq!(rounds[0]["exit_code"], 7, "{}", rounds[0]);
    assert_eq!(rounds[0]["error"]["kind"], "unreachable");
}

#[test]
fn what_needs_a_person_is_told_once_and_nothing_is_done_until_then() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (there, _) = link(dir.path(), &desktop, &laptop);
    for number in 0..110 {
        desktop.deliver(&format!("mail-{number}"));
    }
    desktop.ok(&["scan"]);
    for number in 0..105 {
        desktop.remove(&format!("mail-{number}"));
    }
    let watching = Watching::start(&desktop, &["--every", "200ms"]);
    watching.until("four looks", |rounds| rounds.len() >= 4);
    let (rounds, said) = watching.stop();
    assert_eq!(said.matches("--allow-mass-delete").count(), 1, "{said}");
    for round in &rounds[..rounds.len() - 1] {
        assert_eq!(round["exit_code"], 6, "documents have it each time: {round}");
    }
    assert!(names(&there).is_empty());
    // A person says that it is meant, and all goes on.
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let ran = desktop.ok(&["watch", "--once"]);
    assert_eq!(names(&there).len(), 1, "{ran:?}");
}

#[test]
fn only_whole_bundles_are_taken_in() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (there, _) = link(dir.path(), &desktop, &laptop);
    desktop.deliver("one");
    let bundle = dir.path().join("bundle.zst.age");
    desktop.ok(&["export", "-o", text(&bundle)]);
    let bytes = fs::read(&bundle).unwrap();
    let watching = Watching::start(&laptop, &[]);
    let looks = || watching.steps("import").len();
    let before = looks();
    // What is on its way under other names isn't even looked at.
    for name in [".mailsync-00112233.part", "bundle.zst.age.part", ".syncthing.bundle.zst.age.tmp"] {
        fs::write(there.join(name), &bytes).unwrap();
    }
    until_quiet(&[&watching]);
    assert_eq!(looks(), before);
    // A half is left alone, and is taken in as soon as it is whole.
    let place = there.join("desktop-laptop-1.zst.age");
    fs::write(&place, &bytes[..bytes.len() / 2]).unwrap();
    watching.until("it was looked at", |_| looks() > before);
    assert!(place.exists() && !laptop.has("one"));
    fs::write(&place, &bytes).unwrap();
    until("it is taken in", || laptop.has("one"));
    until("it is consumed", || !place.exists());
    watching.stop();
    assert_eq!(names(&there).len(), 3);
}

#[test]
fn a_job_that_is_asked_for_goes_out_and_its_result_comes_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    link(dir.path(), &desktop, &laptop);
    let printed = dir.path().join("printed");
    laptop.allow("note", &["sh", "-c", &format!("cat > {}", text(&printed))], &[], "desktop");
    let (here, yonder) = (Watching::start(&desktop, &[]), Watching::start(&laptop, &[]));
    // The second finds an outbox, and the first makes it.
    for words in ["first", "second"] {
        let id = desktop.run_with(&["uux", "laptop", "note"], words.as_bytes());
        assert_eq!(id.code, 0, "{id:?}");
        until("it has run", || fs::read_to_string(&printed).is_ok_and(|text| text == words));
        until("that is known", || desktop.job(id.text().trim())["state"] == "done");
    }
    until_quiet(&[&here, &yonder]);
    here.stop();
    yonder.stop();
}

#[test]
fn a_signal_ends_it_well_whether_it_waits_or_a_program_runs() {
    let dir = scratch();
    for (number, signal) in [Signal::TERM, Signal::INT, Signal::HUP].into_iter().enumerate() {
        let at = dir.path().join(number.to_string());
        fs::create_dir(&at).unwrap();
        let (desktop, _laptop) = pair(&at);
        desktop.configure(ONLY_TOLD);
        let watching = Watching::start(&desktop, &[]);
        watching.signal(signal);
        let (status, _, said) = watching.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("told to stop, and nothing is left half done"), "{said}");
        // A call that would go on for long is ended.
        let called = at.join("called");
        desktop.reach_by("laptop", &["sh", "-c", &format!("echo > {}; exec sleep 1000", text(&called))]);
        let watching = Watching::spawn(&mut heeding_signals(&desktop.command(&["watch", "--json"])));
        until("it is called", || called.exists());
        watching.signal(signal);
        let (status, _, said) = watching.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        desktop.is_at_rest("after it was told to stop");
    }
}

#[test]
fn what_nohup_lets_it_ignore_does_not_end_it() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.configure(ONLY_TOLD);
    let script = "trap '' HUP; exec \"$0\" --home \"$1\" watch --json";
    let mut command = Command::new("sh");
    command.env_remove("MAILSYNC_HOME").args(["-c", script, MAILSYNC, text(&desktop.home)]);
    let watching = Watching::spawn(&mut command);
    watching.until("a first round", |rounds| !rounds.is_empty());
    watching.signal(Signal::HUP);
    desktop.deliver("one");
    watching.until("it is found", |_| watching.steps("scan").iter().any(|scan| scan["scan"]["new"] == 1));
    watching.stop();
}

#[test]
fn where_the_system_tells_too_little_it_says_so_and_looks_at_intervals() {
    let dir = scratch();
    let limits = [
        (
            "max_inotify_watches",
            "2",
            "the system lets this user watch no more directories",
            "fs.inotify.max_user_watches",
        ),
        ("max_inotify_instances", "0", "listening to what changes", "fs.inotify.max_user_instances"),
    ];
    for (limit, value, words, remedy) in limits {
        let set = format!("echo {value} > /proc/sys/user/{limit}");
        if run(Command::new("unshare").args(["-Ur", "sh", "-c", &set])).code != 0 {
            programs::leave_out("this user may make no name space in which inotify has other limits");
            return;
        }
        let at = dir.path().join(limit);
        fs::create_dir(&at).unwrap();
        let (desktop, _laptop) = pair(&at);
        desktop.configure(OFTEN);
        let script = format!("{set} && exec \"$0\" --home \"$1\" watch --json");
        let mut command = Command::new("unshare");
        command.env_remove("MAILSYNC_HOME").args(["-Ur", "sh", "-c", &script, MAILSYNC, text(&desktop.home)]);
        let watching = Watching::spawn(&mut command);
        watching.until("two rounds", |rounds| rounds.len() > 1);
        desktop.deliver("one");
        watching.until("it is found", |_| watching.steps("scan").iter().any(|scan| scan["scan"]["new"] == 1));
        let (_, said) = watching.stop();
        assert_eq!(said.matches(words).count(), 1, "{said}");
        assert!(said.contains(remedy) && said.contains("sysctl"), "{said}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_told_of_and_used_as_soon_as_it_is() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let stick = dir.path().join("stick");
    desktop.configure(&format!("{OFTEN}\nreceive = [{:?}]", text(&stick)));
    desktop.configure(&format!("[peer.laptop]\nspool = {:?}", text(&dir.path().join("none"))));
    let watching = Watching::start(&desktop, &[]);
    desktop.deliver("one");
    watching.until("it was tried", |_| !watching.steps("export").is_empty());
    laptop.deliver("from-laptop");
    fs::create_dir(&stick).unwrap();
    laptop.ok(&["export", "-o", text(&stick)]);
    until("it is taken in", || desktop.has("from-laptop"));
    let (_, said) = watching.stop();
    assert_eq!(said.matches("listing ").count(), 1, "{said}");
    assert!(said.contains("there is no such directory"), "{said}");
    assert!(!dir.path().join("none").exists(), "a bundle that takes the name of a directory is found by nobody");
}

#[test]
fn once_ends_with_a_failure_where_a_spool_is_not_there_though_nothing_is_to_be_put_into_it() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let spool = dir.path().join("spool");
    desktop.configure(&format!("[peer.laptop]\nspool = {:?}", text(&spool)));
    desktop.deliver("one");
    for _ in 0..2 {
        let ran = desktop.run(&["watch", "--once"]);
        let told = ran.stderr.matches("there is no such directory; make it first").count();
        assert_eq!((ran.code, told), (1, 1), "{ran:?}");
        fs::create_dir(&spool).unwrap();
        desktop.ok(&["watch", "--once"]);
        desktop.ok(&["watch", "--once"]);
        fs::remove_dir_all(&spool).unwrap();
    }
}

#[test]
fn a_configuration_that_changes_is_followed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.configure(OFTEN);
    let watching = Watching::start(&desktop, &[]);
    desktop.deliver("one");
    watching.until("it was found", |_| watching.steps("scan").iter().any(|scan| scan["scan"]["new"] == 1));
    desktop.reach(&laptop);
    until("the laptop was called", || laptop.has("one"));
    let (_, said) = watching.stop();
    assert!(said.contains("config.toml has changed"), "{said}");
}

#[test]
fn a_round_can_be_done_once_with_the_exit_code_of_a_command() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (there, back) = link(dir.path(), &desktop, &laptop);
    desktop.deliver("one");
    laptop.deliver("two");
    let once = |machine: &Machine| machine.ok(&["watch", "--once", "--json"]).json();
    once(&desktop);
    let document = once(&laptop);
    assert_eq!((&document["command"], &document["steps"][1]["bundles"][0]["new"]), (&"watch".into(), &1.into()));
    once(&desktop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    once(&laptop);
    let before = (names(&there), names(&back));
    for machine in [&desktop, &laptop, &desktop] {
        once(machine);
    }
    assert_eq!((names(&there), names(&back)), before, "there is nothing more to tell");
    // What is said of nobody has no effect. A peer that can't be reached is told apart, as by `update`.
    desktop.configure("[peer.nobody]\ncall = [\"true\"]");
    desktop.ok(&["watch", "--once", "--quiet"]);
    let office = Machine::replica(dir.path(), "office");
    office.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    office.reach_by("laptop", &["sh", "-c", "exit 255"]);
    complains(&office.run(&["watch", "--once", "--quiet"]), 7, &["calling laptop", "could not be reached"]);
    // Of several failures the worst decides.
    office.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    office.reach_by("desktop", &["sh", "-c", "exit 4"]);
    assert_eq!(office.run(&["watch", "--once", "--quiet"]).code, 4);
}

#[test]
fn a_watch_that_makes_no_sense_is_refused() {
    let dir = scratch();
    let table: &[(&str, &[&str], &[&str])] = &[
        ("[watch]\nafter = \"soon\"", &[], &["config.toml", "after", "soon"]),
        ("[watch]\nevery = \"0s\"", &[], &["config.toml", "every"]),
        ("[watch]\nreceive = [\"spool\"]", &[], &["config.toml", "spool is no absolute path"]),
        ("[peer.laptop]\nspool = \"spool\"", &[], &["config.toml", "laptop", "no absolute path"]),
    ];
    for (number, (lines, args, words)) in table.iter().enumerate() {
        let at = dir.path().join(number.to_string());
        fs::create_dir(&at).unwrap();
        let machine = Machine::replica(&at, "desktop");
        machine.configure(lines);
        complains(&machine.run(&[&["watch"], *args].concat()), 2, words);
    }
    let machine = Machine::replica(dir.path(), "desktop");
    for wrong in ["0", "soon", "-1"] {
        let ran = machine.run(&["watch", &format!("--after={wrong}")]);
        assert!(ran.code == 2 && ran.stderr.contains("--after"), "{ran:?}");
    }
}

#[test]
fn its_memory_does_not_grow_with_its_rounds() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (there, _) = link(dir.path(), &desktop, &laptop);
    fs::write(there.join("broken.zst"), "no bundle").unwrap();
    let watching = Watching::start(&laptop, &["--every", "1ms"]);
    watching.until("a hundred rounds", |rounds| rounds.len() >= 100);
    let before = watching.memory();
    watching.until("three hundred rounds", |rounds| rounds.len() >= 300);
    let after = watching.memory();
    assert!(after <= before + 1024, "{before} KiB became {after}");
    watching.stop();
}

#[test]
fn what_the_configuration_says_of_nobody_is_noted_and_fails_nothing() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let spool = dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    desktop.configure(&format!("[peer.nobody]\nspool = {:?}\ncall = [\"false\"]", text(&spool)));
    desktop.reach(&laptop);
    desktop.deliver("one");
    for args in [&["watch", "--once"][..], &["update"]] {
        let ran = desktop.ok(args);
        assert!(ran.stderr.contains("[peer.nobody] names a peer that is not known here, and has no effect"), "{ran:?}");
    }
    assert_eq!(names(&spool), Vec::<String>::new());
    assert!(laptop.has("one"));
}
