//! The first day with mailsync: what a person does who is new to it, and whose mail, memory and cables are as they are. Each
//! situation is played through, and what was typed and printed is kept.

mod beginnings;
mod losses;
mod mistakes;
mod questions;
mod scripts;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::machine::{Machine, make_peers};
use crate::support::programs::{MAILSYNC, Ran, run};
use crate::support::said::{SURROUNDINGS, plain, transcript};
use crate::support::{make_folder, scratch};

/// Some situations of a kind: the name of the file in which they are kept, and how they are played.
pub type Kind = (&'static str, fn(&mut Day));

pub const LOSSES: Kind = ("losses", losses::play);
pub const QUESTIONS: Kind = ("questions", questions::play);
pub const SCRIPTS: Kind = ("scripts", scripts::play);
pub const MISTAKES: Kind = ("mistakes", mistakes::play);
pub const BEGINNINGS: Kind = ("beginnings", beginnings::play);

/// An `ssh` without a network. A host is a machine of the situation; one that isn't there has no name. Its shell prints what is in
/// the file `banner`.
const SSH: &str = r#"#!/bin/sh
place=${MAILSYNC_HOME%/*}
if ! [ -d "$place/$1" ]; then
    echo "ssh: Could not resolve hostname $1: Name or service not known" >&2
    exit 255
fi
MAILSYNC_HOME=$place/$1
shift
[ -f "$place/banner" ] && cat "$place/banner"
exec "$@"
"#;

/// A day: the situation that is being played, in a directory of its own, and what was printed in all of them.
pub struct Day {
    dir: TempDir,
    here: PathBuf,
    situations: usize,
    printed: String,
}

impl Day {
    /// Plays all situations of a kind. What was printed is the result.
    pub fn of((_, play): Kind) -> String {
        let dir = scratch();
        let mut day = Self { here: dir.path().to_owned(), dir, situations: 0, printed: String::new() };
        play(&mut day);
        day.printed
    }

    /// Another situation begins: with no machine, and an empty directory `stick`.
    fn about(&mut self, title: &str) {
        self.situations += 1;
        self.here = self.dir.path().join(self.situations.to_string());
        fs::create_dir_all(self.here.join("stick")).unwrap();
        let bin = self.here.join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(MAILSYNC, bin.join("mailsync")).unwrap();
        self.program("ssh", SSH);
        let gap = if self.situations == 1 { "" } else { "\n" };
        writeln!(self.printed, "{gap}## {title}\n").unwrap();
    }

    /// What a person knows of the situation beside what is typed.
    fn remark(&mut self, text: &str) {
        writeln!(self.printed, "# {text}\n").unwrap();
    }

    /// Where the situation is.
    fn here(&self) -> &Path {
        &self.here
    }

    /// Makes a program that all machines have.
    fn program(&self, name: &str, text: &str) {
        let path = self.here.join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A machine that is no replica.
    fn machine(&self, name: &str) -> Machine {
        Machine::new(&self.here, name)
    }

    /// A machine that is a replica and has no mail.
    fn replica(&self, name: &str) -> Machine {
        Machine::replica(&self.here, name)
    }

    /// Two of them that are peers: the one that most happens at, and another one.
    fn pair(&self) -> (Machine, Machine) {
        let (desktop, laptop) = (self.replica("desktop"), self.replica("laptop"));
        make_peers(&desktop, &laptop);
        (desktop, laptop)
    }

    /// Types a line at a machine, for a shell. It may end as it likes: how it does is printed.
    fn at(&mut self, machine: &Machine, line: &str) {
        let mut ran = self.shell(machine, line);
        if line.contains(" | ") {
            // Several programs talk at once.
            let mut lines: Vec<&str> = ran.stderr.lines().collect();
            lines.sort_unstable();
            ran.stderr = lines.join("\n");
        }
        self.show(machine, line, &ran);
    }

    fn shell(&self, machine: &Machine, line: &str) -> Ran {
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin", self.here.display());
        let mut command = Command::new("sh");
        command.args(["-c", line]).env_clear().envs(SURROUNDINGS).env("PATH", path).env("MAILSYNC_HOME", &machine.home);
        run(command.env("HOME", &self.here).current_dir(&self.here).stdin(Stdio::null()))
    }

    fn show(&mut self, machine: &Machine, line: &str, ran: &Ran) {
        self.printed += &(plain(&transcript(&machine.name, line, ran), &self.here) + "\n");
    }

    /// Some members of the document that a command prints.
    fn members(&mut self, machine: &Machine, line: &str, pointers: &[&str]) {
        let line = format!("mailsync {line} --json");
        let ran = self.shell(machine, &line);
        let document = ran.json();
        let mut shown = format!("{}$ {line}\n", machine.name);
        for pointer in pointers {
            let found = document.pointer(pointer).unwrap_or_else(|| panic!("{line}: no {pointer} in {document}"));
            writeln!(shown, "{}: {found}", pointer.trim_start_matches('/').replace('/', ".")).unwrap();
        }
        assert!(ran.stderr.is_empty() || ran.code == 0 || document["error"].is_object(), "{line}: {ran:?}");
        self.printed += &(plain(&shown, &self.here) + "\n");
    }

    /// Only how lines end that are typed one after the other.
    fn codes(&mut self, machine: &Machine, lines: &[&str]) {
        for line in lines {
            let ran = self.shell(machine, &format!("mailsync {line}"));
            writeln!(self.printed, "{}: mailsync {line}", ran.code).unwrap();
        }
        self.printed += "\n";
    }
}

/// Delivers a mail to a folder: it was sent at noon on that day of November 2026, and has been read. It is called as its subject is.
fn mail(machine: &Machine, folder: &str, from: &str, subject: &str, day: u32) {
    make_folder(&machine.dir(folder));
    let name = subject.replace(' ', "-");
    let address = from.to_lowercase();
    let text = format!(
        "Date: {day:02} Nov 2026 12:00:00 +0000\nFrom: {from} <{address}@example.org>\nSubject: {subject}\n\
         Message-ID: <{name}@example.org>\n\n{subject}\n"
    );
    machine.put(folder, &format!("cur/{name}:2,S"), text, 1_795_000_000 + u64::from(day));
}

/// A mail program removes a mail.
fn remove(machine: &Machine, subject: &str) {
    let line = format!("Subject: {subject}\n");
    let mut files = machine.files().into_iter().map(|(_, _, path)| path);
    let is_it = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(&line);
    fs::remove_file(files.find(is_it).unwrap_or_else(|| panic!("{subject} is not at {}", machine.name))).unwrap();
}

/// Delivers so many of them.
fn mails(machine: &Machine, folder: &str, count: u32) {
    for number in 0..count {
        mail(machine, folder, "Anna", &format!("letter {number} in {folder}").replace('/', " "), 1 + number % 28);
    }
}
