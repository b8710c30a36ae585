//! The units in packaging/systemd: systemd understands them, and mailsync what they run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::support::machine::{Machine, pair, pass};
use crate::support::programs::{self, MAILSYNC, heeding_signals, run};
use crate::support::watching::{Watching, until};
use crate::support::{scratch, text};

fn units() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    crate::support::files(&dir).into_iter().filter(|file| !file.ends_with("hardened.conf")).collect()
}

/// The values of a key in a unit.
fn values(unit: &str, key: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The words of the one command that a unit runs, behind the program's name.
fn command(unit: &str) -> Option<Vec<String>> {
    let words = values(unit, "ExecStart");
    let (program, args) = words.split_first()?;
    assert_eq!(program, "mailsync");
    Some(args.to_vec())
}

#[test]
fn systemd_understands_each_unit_also_with_what_makes_it_harder() {
    if programs::find("systemd-analyze").is_none() {
        return;
    }
    let dir = scratch();
    let verify = |names: &[String]| {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--user", "--man=no"]).args(names);
        // It looks for units there, too.
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, dir.path());
        }
        let ran = run(&mut command);
        (ran.code, ran.stderr)
    };
    let mut names = Vec::new();
    for unit in units() {
        let name = unit.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&unit).unwrap().replace("ExecStart=mailsync", &format!("ExecStart={MAILSYNC}"));
        let place = dir.path().join(name);
        fs::write(&place, text).unwrap();
        if name.ends_with(".service") {
            let drop_in = dir.path().join(format!("{name}.d"));
            fs::create_dir(&drop_in).unwrap();
            fs::copy(unit.with_file_name("hardened.conf"), drop_in.join("hardened.conf")).unwrap();
        }
        names.push(place.to_str().unwrap().to_owned());
    }
    assert_eq!(verify(&names), (0, String::new()));
    // What it doesn't understand it says.
    let wrong = dir.path().join("wrong.timer");
    fs::write(&wrong, "[Timer]\nOnStrtupSec=1\nOnStartupSec=1\nUnit=mailsync-update.service\n").unwrap();
    assert!(verify(&[wrong.to_str().unwrap().to_owned()]).1.contains("OnStrtupSec"));
}

#[test]
fn what_a_unit_starts_or_names_is_there() {
    let dir = scratch();
    assert_eq!(run(Command::new(MAILSYNC).arg("man").arg(dir.path())).code, 0);
    let names: Vec<String> =
        units().iter().map(|unit| unit.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for unit in units() {
        let unit_text = fs::read_to_string(&unit).unwrap();
        let name = unit.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".service") {
            let service = unit.with_extension("service");
            assert!(service.exists(), "{name} starts {}", service.display());
        }
        for page in values(&unit_text, "Documentation") {
            let (page, section) = page.strip_prefix("man:").and_then(|page| page.split_once('(')).unwrap();
            let section = section.trim_end_matches(')');
            let file = dir.path().join(format!("man{section}/{page}.{section}"));
            assert!(file.exists(), "{name} names {}", file.display());
        }
    }
}

#[test]
fn mailsync_does_what_the_units_run_and_ends_as_they_expect() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.reach_by("laptop", &["sh", "-c", "exit 255"]);
    let spool = dir.path().join("in coming");
    fs::create_dir(&spool).unwrap();
    // Of three bundles the second is lost.
    laptop.deliver("one");
    pass(&laptop, &desktop);
    laptop.deliver("lost");
    laptop.ok(&["export", "--since-last", "-o", text(&dir.path().join("lost.zst"))]);
    laptop.deliver("two");
    laptop.ok(&["export", "--since-last", "-o", text(&spool)]);
    let mut tried = 0;
    for (name, ends) in [
        ("mailsync-update.service", 7),
        ("mailsync-import@.service", 3),
        ("mailsync-purge.service", 0),
        ("mailsync-watch.service", 0),
    ] {
        let unit = units().into_iter().find(|unit| unit.ends_with(name)).unwrap();
        let unit = fs::read_to_string(unit).unwrap();
        let words: Vec<String> = command(&unit).unwrap().iter().map(|word| word.replace("%f", text(&spool))).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let code = if name.contains("watch") { watch(&desktop, &words) } else { desktop.run(&words).code };
        assert_eq!(code, ends, "{name}");
        let expected = values(&unit, "SuccessExitStatus");
        assert!(code == 0 || expected.contains(&code.to_string()), "{name}: {expected:?}");
        tried += 1;
    }
    let services = units().iter().filter(|unit| unit.extension().is_some_and(|end| end == "service")).count();
    assert_eq!(tried, services);
}

/// Runs a watch until it has found something, and tells it to stop.
fn watch(machine: &Machine, words: &[&str]) -> i32 {
    let found = machine.home.join("found");
    machine.configure("[watch]\nafter = \"100ms\"");
    machine.configure(&format!("[hooks]\nafter_scan = [\"touch\", {:?}]", text(&found)));
    let watching = Watching::spawn(&mut heeding_signals(&machine.command(words)));
    machine.deliver("found");
    until("it has found something", || found.exists());
    watching.signal(Signal::TERM);
    watching.ended().0.code().unwrap()
}
