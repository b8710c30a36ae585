//! What each command prints is kept in `fixtures/said/`, as text and as document, on success and on failure, so that a change
//! of its words is seen. `cargo test what_is_printed_is_written_anew -- --ignored` writes the files anew.
//!
//! All of it is one scene, which several machines go through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailsync::replica::{Access, Home, Replica, World};

use crate::support::machine::{Machine, pass};
use crate::support::programs::{Ran, find, run};
use crate::support::said::{SURROUNDINGS, difference, plain, transcript};
use crate::support::terminal::at_a_terminal;
use crate::support::{names, schemas, scratch, text};

/// The kinds of faults: each is shown by some document.
const FAULTS: [&str; 7] = ["failed", "usage", "not-yet", "rejected", "locked", "refused", "unreachable"];

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/said")
}

/// A scene in a directory: what was printed until now, by command, and in which ways.
struct Scene<'d> {
    dir: &'d Path,
    printed: BTreeMap<String, String>,
    seen: BTreeSet<(String, bool, bool)>,
}

impl Scene<'_> {
    /// A command is run as text and as document, and succeeds.
    #[track_caller]
    fn both(&mut self, machine: &Machine, line: &str) {
        self.ok(machine, line);
        self.ok(machine, &with_json(line));
    }

    /// A command is run as text and as document, and fails.
    #[track_caller]
    fn no(&mut self, machine: &Machine, line: &str) {
        for line in [line, &with_json(line)] {
            let code = self.say(machine, line);
            assert_ne!(code, 0, "{line}: {}", self.printed[&words(line)]);
        }
    }

    /// A command succeeds.
    #[track_caller]
    fn ok(&mut self, machine: &Machine, line: &str) {
        let code = self.say(machine, line);
        assert_eq!(code, 0, "{line}: {}", self.printed[&words(line)]);
    }

    fn say(&mut self, machine: &Machine, line: &str) -> i32 {
        let args: Vec<&str> = line.split_whitespace().collect();
        let mut command = machine.command(&args);
        let ran = run(command.current_dir(self.dir).envs(SURROUNDINGS));
        self.keep(machine, line, &ran);
        ran.code
    }

    fn keep(&mut self, machine: &Machine, line: &str, ran: &Ran) {
        let kept = self.printed.entry(words(line)).or_default();
        *kept += &(plain(&transcript(&machine.name, &format!("mailsync {line}"), ran), self.dir) + "\n");
        self.seen.insert((words(line), ran.code == 0, line.split_whitespace().any(|word| word == "--json")));
    }
}

/// The same line, for a document. What stands behind `uux` is another program's.
fn with_json(line: &str) -> String {
    if line.starts_with("uux") { format!("--json {line}") } else { format!("{line} --json") }
}

/// The words of the command in a line.
fn words(line: &str) -> String {
    let mut words = line.split_whitespace().filter(|word| !word.starts_with('-'));
    let first = words.next().unwrap();
    let second = words.next().filter(|_| ["peer", "key", "jobs", "trash"].contains(&first));
    second.map_or_else(|| first.to_owned(), |second| format!("{first} {second}"))
}

/// The id of the only job that a machine has beside this one.
fn job(machine: &Machine, beside: &str) -> String {
    let jobs = machine.ok(&["jobs", "list", "--json"]).json()["jobs"].clone();
    let ids = jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
    let others: Vec<String> = ids.filter(|id| id != beside).collect();
    assert_eq!(others.len(), 1, "{jobs}");
    others[0].clone()
}

/// Plays the scene; or none, if there is nobody who can type at a terminal.
fn play() -> Option<BTreeMap<String, String>> {
    find("python3")?;
    let dir = scratch();
    let mut scene = Scene { dir: dir.path(), printed: BTreeMap::new(), seen: BTreeSet::new() };
    let machine = |name: &str| Machine::new(dir.path(), name);
    let [desktop, laptop, third, tablet, phone, nowhere] =
        ["desktop", "laptop", "third", "tablet", "phone", "nowhere"].map(machine);
    for name in ["stick", "pages"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("junk.zst"), "no bundle").unwrap();
    let on = &mut scene;

    begin(on, [&desktop, &laptop, &third, &nowhere]);
    exchange(on, &desktop, &laptop, &nowhere);
    look_back(on, &desktop, &laptop, &nowhere);
    invite(on, &desktop, [&tablet, &phone], &nowhere);
    // What is encrypted for a job is of another size each time: nothing that comes later tells sizes.
    ask(on, &desktop, &laptop, &nowhere);
    tend(on, &desktop, &laptop, &nowhere);
    leave(on, &tablet, &phone, &nowhere);
    watch(on, &phone);
    hinder(on, &desktop, &third, &nowhere);
    lock(on, &third, &phone);

    let help = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/help"));
    let commands = help.iter().filter_map(|name| name.strip_prefix("mailsync-")?.strip_suffix(".txt"));
    let above = |name: &&str| ["peer", "key", "jobs", "trash"].contains(name);
    for command in commands.filter(|name| !above(name)).map(|name| name.replace('-', " ")) {
        for (succeeds, json) in [(true, false), (true, true), (false, false), (false, true)] {
            let shown = scene.seen.contains(&(command.clone(), succeeds, json));
            assert!(shown, "{command}: success: {succeeds}, document: {json}");
        }
    }
    for kind in FAULTS {
        let member = format!("\n    \"kind\": \"{kind}\"");
        assert!(scene.printed.values().any(|printed| printed.contains(&member)), "no document has the fault {kind}");
    }
    Some(scene.printed)
}

fn begin(on: &mut Scene<'_>, [desktop, laptop, third, nowhere]: [&Machine; 4]) {
    on.ok(desktop, "init desktop-mail --name desktop");
    on.ok(laptop, "init laptop-mail --name laptop --json");
    on.no(desktop, "init desktop-mail --name desktop");
    third.init();
    on.ok(desktop, "peer add laptop --key laptop/key.pub");
    on.ok(laptop, "peer add desktop --key desktop/key.pub --json");
    on.no(desktop, "peer add laptop --key laptop/key.pub");
    on.ok(desktop, "peer rename laptop lap");
    on.ok(desktop, "peer rename lap laptop --json");
    on.no(desktop, "peer rename nobody somebody");
    for end in ["", " --json"] {
        desktop.ok(&["peer", "add", "third", "--key", &third.key()]);
        on.ok(desktop, &format!("peer revoke third --reason stolen{end}"));
        on.ok(desktop, &format!("peer reinstate third{end}"));
        on.ok(desktop, &format!("peer remove third{end}"));
    }
    on.no(desktop, "peer revoke nobody");
    on.no(desktop, "peer reinstate nobody");
    on.no(desktop, "peer remove nobody");
    on.both(desktop, "peer list");
    on.no(nowhere, "peer list");
    on.both(desktop, "key show");
    on.no(nowhere, "key show");
    on.both(third, "key rotate");
    on.no(nowhere, "key rotate");
    on.no(nowhere, "key passphrase");
}

fn exchange(on: &mut Scene<'_>, desktop: &Machine, laptop: &Machine, nowhere: &Machine) {
    desktop.deliver("one");
    on.ok(desktop, "scan");
    desktop.deliver("two");
    on.ok(desktop, "scan -v --json");
    on.no(desktop, "scan /");
    on.ok(desktop, "export --to laptop -o stick/1.zst");
    desktop.deliver("three");
    on.ok(desktop, "export --to laptop --since-last -o stick/2.zst --json");
    on.no(desktop, "export --to nobody -o stick/3.zst");
    on.both(laptop, "inspect stick/1.zst");
    on.no(laptop, "inspect junk.zst");
    on.both(laptop, "verify stick/1.zst");
    on.no(laptop, "verify stick/2.zst");
    on.ok(laptop, "import stick/1.zst");
    on.ok(laptop, "import -v stick/2.zst --json");
    on.no(laptop, "import junk.zst");
    on.both(desktop, "status");
    on.no(nowhere, "status");
    desktop.remove("one");
    desktop.flag("two", "FS");
    pass(desktop, laptop);
    laptop.reach(desktop);
    on.both(laptop, "update");
    on.no(laptop, "update nobody");
}

fn look_back(on: &mut Scene<'_>, desktop: &Machine, laptop: &Machine, nowhere: &Machine) {
    on.both(laptop, "log");
    on.both(laptop, "log --folder INBOX --removed");
    on.no(nowhere, "log");
    on.both(laptop, "trash list");
    on.no(nowhere, "trash list");
    on.both(laptop, "trash show 1");
    on.no(laptop, "trash show 9");
    on.ok(laptop, "trash restore 1 --dry-run --json");
    on.ok(laptop, "trash restore 1");
    on.no(laptop, "trash restore 9");
    on.ok(laptop, "undo --by desktop --since 1h --dry-run");
    on.ok(laptop, "undo --by desktop --since 1h --json");
    on.no(laptop, "undo --by nobody --since 1h");
    laptop.remove("two");
    on.ok(laptop, "restore INBOX --dry-run");
    on.ok(laptop, "restore INBOX --json");
    on.no(nowhere, "restore INBOX");
    pass(laptop, desktop);
}

fn ask(on: &mut Scene<'_>, desktop: &Machine, laptop: &Machine, nowhere: &Machine) {
    on.ok(laptop, "uux desktop true");
    let refused = job(laptop, "");
    on.no(laptop, "uux nobody true");
    // Nothing allows it there, and that is told.
    pass(laptop, desktop);
    pass(desktop, laptop);
    on.both(laptop, "jobs list");
    on.no(nowhere, "jobs list");
    on.both(laptop, &format!("jobs show {refused}"));
    on.no(laptop, "jobs show 000000");
    on.both(laptop, "jobs run");
    on.no(nowhere, "jobs run");
    for end in ["", " --json"] {
        on.ok(laptop, &format!("jobs retry {refused}{end}"));
        let again = job(laptop, &refused);
        on.ok(laptop, &format!("jobs cancel {again}{end}"));
        on.ok(laptop, &format!("jobs forget {again}{end}"));
    }
    on.ok(laptop, &with_json("uux desktop true"));
    for verb in ["retry", "cancel", "forget"] {
        on.no(laptop, &format!("jobs {verb} 000000"));
    }
}

fn invite(on: &mut Scene<'_>, desktop: &Machine, [tablet, phone]: [&Machine; 2], nowhere: &Machine) {
    on.ok(desktop, "invite tablet --plain -o stick/tablet.zst");
    on.ok(desktop, "invite phone --plain -o stick/phone.zst --json");
    on.no(desktop, "invite laptop --plain -o stick/laptop.zst");
    on.ok(tablet, "join tablet-mail stick/tablet.zst --name tablet");
    on.ok(phone, "join phone-mail stick/phone.zst --name phone --json");
    on.no(nowhere, "join nowhere-mail junk.zst");
}

fn tend(on: &mut Scene<'_>, desktop: &Machine, laptop: &Machine, nowhere: &Machine) {
    on.both(desktop, "purge");
    on.no(nowhere, "purge");
    on.both(laptop, "doctor");
    on.ok(laptop, "doctor --repair --json");
    on.no(nowhere, "doctor");
    on.no(nowhere, "watch");
    on.both(nowhere, "completions fish");
    on.no(nowhere, "completions tcsh");
    on.both(nowhere, "man pages");
    on.no(nowhere, "man nothing");
}

fn leave(on: &mut Scene<'_>, tablet: &Machine, phone: &Machine, nowhere: &Machine) {
    on.ok(tablet, "deinit --yes");
    on.ok(phone, "deinit --dry-run --json");
    on.no(nowhere, "deinit");
}

fn watch(on: &mut Scene<'_>, phone: &Machine) {
    let spool = on.dir.join("pages");
    phone.configure(&format!("[peer.desktop]\nspool = {:?}", text(&spool)));
    phone.deliver("four");
    on.both(phone, "watch --once");
}

/// What the others have not shown: another mailsync that is at work, a wrong directory, a peer that is away.
fn hinder(on: &mut Scene<'_>, desktop: &Machine, third: &Machine, nowhere: &Machine) {
    on.no(nowhere, "init desktop-mail");
    let home = Home::at(desktop.home.clone());
    let other = Replica::open(&home, World::real(), Access::Write(Duration::ZERO)).unwrap();
    on.no(desktop, "purge --lock-timeout 0");
    drop(other);
    third.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    third.reach_by("desktop", &["sh", "-c", "exit 255"]);
    on.no(third, "update");
}

/// A passphrase is typed at a terminal.
fn lock(on: &mut Scene<'_>, third: &Machine, phone: &Machine) {
    let answers = [("New passphrase:", "a long one"), ("The same again:", "a long one")];
    let line = "key passphrase";
    let mut said = at_a_terminal(&format!("NO_COLOR=1 {}", third.line(line)), &answers).expect("somebody types");
    said.stdout = format!("{}\n", said.words()).into_bytes();
    on.keep(third, line, &said);
    let (line, file) = (with_json(line), on.dir.join("passphrase.json"));
    let mut said =
        at_a_terminal(&format!("{} >{}", phone.line(&line), file.display()), &answers).expect("somebody types");
    said.stdout = fs::read(file).unwrap();
    assert_eq!((said.code, schemas::check(&said.json())), (0, Ok(())));
    assert_eq!(said.json()["passphrase"], true);
    on.keep(phone, &line, &said);
}

fn file_of(command: &str) -> String {
    format!("{}.txt", command.replace(' ', "-"))
}

#[test]
fn what_each_command_prints_is_what_is_kept() {
    let Some(printed) = play() else { return };
    let files: BTreeSet<String> = printed.keys().map(|command| file_of(command)).collect();
    assert_eq!(names(&kept()), files.into_iter().collect::<Vec<_>>(), "fixtures/said: write it anew");
    let mut changed = String::new();
    for (command, printed) in printed {
        let kept = fs::read_to_string(kept().join(file_of(&command))).unwrap();
        if let Some(difference) = difference(&kept, &printed) {
            writeln!(changed, "{command}: {difference}").unwrap();
        }
    }
    assert!(changed.is_empty(), "if it is meant, write fixtures/said anew\n{changed}");
}

#[test]
#[ignore = "writes fixtures/said"]
fn what_is_printed_is_written_anew() {
    let printed = play().expect("somebody can type");
    let _ = fs::remove_dir_all(kept());
    fs::create_dir(kept()).unwrap();
    for (command, printed) in printed {
        fs::write(kept().join(file_of(&command)), printed).unwrap();
    }
}
