//! Where the pages are followed: some machines with a home each, an `ssh` that leads from one to the other, and a stick that all
//! of them see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use super::page::Typed;
use crate::support::programs::{MAILSYNC, run};
use crate::support::{copy, make_folder, scratch};

/// The machines.
pub struct Place {
    dir: TempDir,
    /// The code of the last invitation, for whoever is asked for it.
    code: Mutex<Option<String>>,
    /// The ids that a page shows, and those that are meant here.
    ids: Mutex<Vec<(String, String)>>,
}

/// An `ssh` without a network: each host is a directory beside that of the caller. Who asks for no command gets the one to which a
/// key can be restricted.
const SSH: &str = r#"#!/bin/sh
while :; do
    case $1 in
    -i | -o | -p) shift 2 ;;
    -*) shift ;;
    *) break ;;
    esac
done
HOME=${HOME%/*}/$1
shift
cd "$HOME" || exit 255
exec sh -c "${*:-mailsync import --reply --quiet}"
"#;

impl Place {
    /// A `desktop` with the mail of the fixtures, a `laptop` and a `tablet` with none, a `server` with an empty mail root, and an
    /// empty stick.
    pub fn new() -> Self {
        let dir = scratch();
        for name in ["bin", "stick", "desktop", "laptop", "server", "tablet"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let bin = dir.path().join("bin");
        std::os::unix::fs::symlink(MAILSYNC, bin.join("mailsync")).unwrap();
        let place = Self { dir, code: Mutex::new(None), ids: Mutex::new(Vec::new()) };
        place.program("ssh", SSH);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/maildir++");
        copy(&fixtures, &place.home("desktop").join("Maildir"));
        make_folder(&place.home("server").join("Maildir"));
        place
    }

    /// Makes a program that all machines have.
    pub fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn home(&self, machine: &str) -> PathBuf {
        self.dir.path().join(machine)
    }

    /// What a page calls it, as it is called here.
    pub fn here(&self, machine: &str, text: &str) -> String {
        let dir = self.dir.path().display();
        let ids = self.ids.lock().unwrap();
        let text = ids.iter().fold(text.to_owned(), |text, (shown, meant)| text.replace(shown, meant));
        text.replace("/media/stick", &format!("{dir}/stick"))
            .replace("/home/me", &format!("{dir}/{machine}"))
            .replace("/backup", &format!("{dir}/backup"))
            .replace("/usr/sbin/sendmail", &format!("{dir}/bin/sendmail"))
    }

    /// Puts lines into a machine's `config.toml`, in place of those of the last time: a table behind everything, and else
    /// before everything.
    pub fn configure(&self, machine: &str, lines: &str) {
        let config = self.home(machine).join(".config/mailsync/config.toml");
        let made = config.with_extension("made");
        if !made.exists() {
            fs::copy(&config, &made).unwrap();
        }
        let (lines, made) = (self.here(machine, lines), fs::read_to_string(&made).unwrap());
        let text = if lines.starts_with('[') { format!("{made}\n{lines}\n") } else { format!("{lines}\n{made}") };
        fs::write(&config, text).unwrap();
    }

    /// Types a command, and sees that it ends with this exit code and prints what the page shows.
    #[track_caller]
    pub fn try_out(&self, typed: &Typed, code: i32, at: &str) {
        let (ended, said) = self.run(&typed.machine, &typed.command);
        assert_eq!(ended, code, "{at}: `{}` ended with {ended}:\n{said}", typed.command);
        self.remember_code(&said);
        let shown: Vec<&str> = typed
            .output
            .iter()
            .map(String::as_str)
            .filter(|line| !line.starts_with("the code of the invitation"))
            .collect();
        if shown.is_empty() {
            return;
        }
        let piped = typed.command.contains(" | ");
        let (expected, found) = (plain(&shown.join(" "), piped), plain(&said, piped));
        assert!(
            is_shown(&expected, &found),
            "{at}: `{}` doesn't print what is shown. It prints\n{said}\nCompared were what is shown\n{expected}\nand\n{found}",
            typed.command
        );
        let (shown, meant) = (ids(&shown.join(" ")), ids(&said));
        if shown.len() == meant.len() {
            self.ids.lock().unwrap().extend(shown.into_iter().zip(meant));
        }
    }

    /// Runs a shell's line on a machine: its exit code, and what it says, with the names that a page uses.
    pub fn run(&self, machine: &str, line: &str) -> (i32, String) {
        let home = self.home(machine);
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("set -e -o pipefail; exec 2>&1; {}", self.here(machine, line))])
            .env_clear()
            .env("HOME", &home)
            .env("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin", self.dir.path().display()))
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .current_dir(&home)
            .stdin(Stdio::null());
        if let Some(words) = self.code.lock().unwrap().as_ref() {
            command.env("MAILSYNC_CODE", words);
        }
        let ran = run(&mut command);
        let stick = self.dir.path().join("stick");
        let said = format!("{}{}", ran.text(), ran.stderr);
        let said = said.replace(stick.to_str().unwrap(), "/media/stick").replace(home.to_str().unwrap(), "/home/me");
        (ran.code, said)
    }

    fn remember_code(&self, said: &str) {
        for line in said.lines().filter(|line| line.contains("the code for ")) {
            *self.code.lock().unwrap() = line.rsplit(' ').next().map(str::to_owned);
        }
    }
}

/// A text without what differs from one time to the next: numbers, ids, keys, codes, and where lines are broken. The lines of
/// several programs that run at once are in an order of their own.
fn plain(text: &str, piped: bool) -> String {
    let words: Vec<String> = text.split_whitespace().map(word).collect();
    let text = words.join(" ");
    if !piped {
        return text;
    }
    let mut lines: Vec<&str> = text.split("mailsync: ").map(str::trim).collect();
    lines.sort_unstable();
    lines.join(" mailsync: ")
}

/// The beginnings of the ids of jobs in a text.
fn ids(text: &str) -> Vec<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let ids = words.filter(|word| word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    ids.map(|id| id[..12].to_owned()).collect()
}

/// A word without what differs.
fn word(word: &str) -> String {
    let end = word.trim_end_matches(['.', ',', ';', ':', '\'', ')', '`']);
    let (body, tail) = word.split_at(end.len());
    let is_id = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_code = body.split('-').count() == 6 && body.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if body.starts_with("SHA256:") {
        return format!("SHA256:…{tail}");
    }
    if body.starts_with("AAAAC3Nz") {
        return format!("KEY{tail}");
    }
    if is_code {
        return format!("CODE{tail}");
    }
    if is_id(body) {
        return format!("#{tail}");
    }
    let mut plain = String::new();
    for character in word.chars() {
        match character {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}

/// Whether this is what a page shows: `…` stands for anything.
fn is_shown(expected: &str, found: &str) -> bool {
    let mut rest = found;
    let parts: Vec<&str> = expected.split('…').collect();
    for (at, part) in parts.iter().enumerate() {
        let part = part.trim();
        let (first, last) = (at == 0, at + 1 == parts.len());
        if first && last {
            return rest.trim() == part;
        }
        if last && part.is_empty() {
            return true;
        }
        let place = if first {
            rest.starts_with(part).then_some(0)
        } else if last {
            rest.rfind(part)
        } else {
            rest.find(part)
        };
        let Some(place) = place else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.trim().is_empty()
}
