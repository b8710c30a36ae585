//! The configuration: a file that mailsync writes once, at `init`. From then on it belongs to the user.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod hooks;
mod misread;
mod watch;

pub use crate::allow::Rule;
use crate::allow::parse_timeout;
use crate::disk::{Disk, read_whole};
use crate::error::{Error, Result};
use crate::maildir::{Ignored, Layout, LayoutKind, NameEncoding};
use crate::model::{Quota, RelayJobs};
pub use hooks::Hooks;
pub use watch::Watch;

/// A configuration is not larger than this, in bytes.
const MOST: u64 = 16 << 20;

/// The contents of `config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The directory that holds the Maildirs.
    pub mail_root: PathBuf,
    /// The replica's name: it appears in the names of files that it delivers and of bundles that it writes.
    pub name: String,
    /// How folder names become directories.
    pub layout: LayoutKind,
    /// How directory names are written.
    pub folder_names: NameEncoding,
    /// Whether the mail root itself is the INBOX.
    #[serde(default)]
    pub inbox_at_root: bool,
    /// Whether letters in the names of files stand for the keywords that each folder's `dovecot-keywords` names, and
    /// new names are written there.
    #[serde(default = "default_keywords")]
    pub keywords: bool,
    /// Patterns for directories that are no folders: they are not looked at.
    #[serde(default = "default_ignore")]
    pub ignore: Vec<String>,
    /// How many days a message that an import removed stays in the trash.
    #[serde(default = "default_trash_days")]
    pub trash_days: u32,
    /// How many days the history is kept.
    #[serde(default = "default_history_days")]
    pub history_days: u32,
    /// How many days jobs are kept after they are finished.
    #[serde(default = "default_jobs_days")]
    pub jobs_days: u32,
    /// Whose jobs are passed on that are neither by this replica nor for it.
    #[serde(default)]
    pub relay_jobs: RelayJobs,
    /// How many jobs of one peer may be open here: queued or running.
    #[serde(default = "default_jobs_open")]
    pub jobs_open: u32,
    /// How many MiB of input the jobs of one peer may have here.
    #[serde(default = "default_jobs_input")]
    pub jobs_input_mib: u32,
    /// How many MiB of output the jobs of one peer may have here.
    #[serde(default = "default_jobs_output")]
    pub jobs_output_mib: u32,
    /// Which bundles are encrypted.
    #[serde(default)]
    pub encrypt: Encrypt,
    /// The program that writes the passphrase of the replica's key, and its arguments. Without it a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_command: Option<Vec<String>>,
    /// From how much on a person is to say that it is meant.
    #[serde(default)]
    pub guard: Limits,
    /// The user's own programs that are told of changed files.
    #[serde(default)]
    pub hooks: Hooks,
    /// What `watch` does, and when.
    #[serde(default)]
    pub watch: Watch,
    /// The commands that peers may have run here. None unless a rule says so.
    #[serde(default)]
    pub allow: Vec<Rule>,
    /// Further settings for peers, by their names.
    #[serde(default)]
    pub peer: BTreeMap<String, PeerConfig>,
}

/// The settings for a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// The command that hands a bundle to the peer and gives its answer: it reads bundles from its standard input and
    /// writes bundles to its standard output. Run without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Vec<String>>,
    /// How long the command is waited for while not a byte goes to it, and none comes from it.
    #[serde(default = "default_peer_timeout")]
    pub timeout: String,
    /// The directory into which `watch` puts bundles for it, from which something else carries them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<PathBuf>,
    /// Which bundles for it are encrypted, if that is another rule than for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypt: Option<Encrypt>,
}

/// Which bundles are encrypted, if no option says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encrypt {
    /// Those that become files, on a stick or in a directory that machines share. What goes to standard output or to a
    /// program is protected on its way by whatever carries it.
    #[default]
    Files,
    /// All.
    Always,
    /// None.
    Never,
}

impl PeerConfig {
    /// How long the command is waited for while not a byte goes to it, and none comes from it.
    ///
    /// # Errors
    /// What is written there is no time.
    pub fn timeout(&self) -> std::result::Result<Duration, String> {
        parse_timeout(&self.timeout)
    }
}

/// A peer is silent while it looks for its own changes, or takes in what it got: that can take minutes. A connection
/// that has died is silent for ever.
fn default_peer_timeout() -> String {
    String::from("10m")
}

/// From how much on a command that removes or adds mail is refused, until a person says that it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// More than half of a folder may not leave it if it holds more entries than this.
    pub folder: u64,
    /// More than a quarter of all entries may not be removed if they are more than this.
    pub all: u64,
    /// More than half of the folders may not be removed if they are more than this.
    pub folders: u64,
    /// More messages than this may not be added, if they are also more than there were.
    pub add_messages: u64,
    /// More bytes than this may not be added, if they are also more than there were.
    pub add_bytes: u64,
    /// More folders than this may not be added, if they are also more than there were.
    pub add_folders: u64,
    /// More removed messages that were never here than this may not be added, if they are also more than the messages
    /// that were here. Each of them takes room in the state until a purge.
    pub add_tombstones: u64,
    /// More incarnations than this may not become known that have told nothing here themselves. All that are known go
    /// into every bundle, and a bundle can't name many.
    pub add_incarnations: u64,
    /// More flags than this may not be set for the first time, if they are also more than eight for each message.
    pub add_flags: u64,
    /// More bytes of keywords than this may not be added, if they are also more than 64 for each message.
    pub add_keyword_bytes: u64,
}

impl Default for Limits {
    /// A person who tidies up a small folder is not disturbed. What comes new is a matter of proportion, too: it is
    /// what machines exchange in some weeks, or it is less than was there before. Only a mailbox that more than doubles
    /// by more than that is asked about.
    fn default() -> Self {
        Self {
            folder: 100,
            all: 100,
            folders: 10,
            add_messages: 10_000,
            add_bytes: 1 << 30,
            add_folders: 100,
            add_tombstones: 100_000,
            add_incarnations: 256,
            add_flags: 100_000,
            add_keyword_bytes: 16 << 20,
        }
    }
}

fn default_keywords() -> bool {
    true
}

fn default_ignore() -> Vec<String> {
    Ignored::USUAL.map(String::from).to_vec()
}

fn default_trash_days() -> u32 {
    30
}

fn default_history_days() -> u32 {
    365
}

fn default_jobs_days() -> u32 {
    30
}

const MIB: u64 = 1 << 20;

fn default_jobs_open() -> u32 {
    u32::try_from(Quota::DEFAULT.open).expect("it is a small number")
}

fn default_jobs_input() -> u32 {
    u32::try_from(Quota::DEFAULT.input / MIB).expect("it is a small number")
}

fn default_jobs_output() -> u32 {
    u32::try_from(Quota::DEFAULT.output / MIB).expect("it is a small number")
}

/// What a new configuration only explains: without it the defaults hold, no peer is called, and nothing is run for
/// others.
const SAMPLES: &str = "\
             # From how much on a command that removes or adds mail is refused; the reference has all keys.\n\
             # [guard]\n\
             # folder = 100                 # more than half of a folder that holds more messages than this\n\
             # all = 100                    # more than a quarter of all messages, and more than this\n\
             # folders = 10                 # more than half of the folders, if there are more than this\n\
             \n\
             # Programs that are told, on standard input, which files of the mail were changed.\n\
             # [hooks]\n\
             # after_import = [\"notmuch\", \"new\"]                   # after an import or update\n\
             # after_scan = [\"mu\", \"index\"]                        # after a scan or export\n\
             # timeout = \"10m\"\n\
             \n\
             # When `mailsync watch` looks for changes, and the directories from which it imports what arrives.\n\
             # [watch]\n\
             # after = \"5s\"                                          # so long after the last change\n\
             # every = \"5m\"                                          # and whatever it is told, at this interval\n\
             # receive = [\"/home/me/spool/in\"]\n\
             \n\
             # How `mailsync update` reaches a peer: a command that reads a bundle and writes one.\n\
             # [peer.server]\n\
             # call = [\"ssh\", \"server\", \"mailsync\", \"import\", \"--reply\"]\n\
             # timeout = \"10m\"                                       # without a byte in either direction\n\
             # encrypt = \"always\"                                    # another rule for this peer\n\
             # spool = \"/home/me/spool/server\"                       # where `mailsync watch` puts bundles for it\n\
             \n\
             # A command that peers may have run here, by `mailsync uux`. Without such a rule none is.\n\
             # [[allow]]\n\
             # command = \"sendmail\"                                  # what a job asks for\n\
             # exec = [\"/usr/sbin/sendmail\", \"-oi\"]                  # what is run, without a shell\n\
             # args = [\"-i\", \"-oi\", \"-t\", \"-f\", \"--\", \"@address\"]    # arguments that a job may add: as they are, or of a kind\n\
             # from = [\"laptop\"]                                     # who may ask for it\n\
             # timeout = \"2m\"\n";

impl Config {
    /// The configuration of a new replica.
    pub fn new(mail_root: PathBuf, name: String, layout: Layout) -> Self {
        Self {
            mail_root,
            name,
            layout: layout.kind,
            folder_names: layout.encoding,
            inbox_at_root: layout.inbox_at_root,
            keywords: default_keywords(),
            ignore: default_ignore(),
            trash_days: default_trash_days(),
            history_days: default_history_days(),
            jobs_days: default_jobs_days(),
            relay_jobs: RelayJobs::default(),
            jobs_open: default_jobs_open(),
            jobs_input_mib: default_jobs_input(),
            jobs_output_mib: default_jobs_output(),
            encrypt: Encrypt::default(),
            passphrase_command: None,
            guard: Limits::default(),
            hooks: Hooks::default(),
            watch: Watch::default(),
            allow: Vec::new(),
            peer: BTreeMap::new(),
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// It can't be read, or says something that makes no sense.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let told = |error: &dyn std::fmt::Display| Error::io("reading the configuration", path, error);
        let text = read_whole(disk, path, MOST).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => told(&error).advise("put it back from a backup"),
            _ => told(&error).advise("see why it can't be read, then run this again"),
        })?;
        let text = String::from_utf8(text).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
            told(&format!("line {line} has bytes that are no UTF-8")).advise("write the file anew as UTF-8 text")
        })?;
        Self::parse(&text, path)
    }

    /// Takes the text of a configuration apart. For `read`, tests and fuzz targets; `path` is for messages.
    ///
    /// # Errors
    /// It says something that makes no sense.
    #[doc(hidden)]
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            misread::misread(text, path, &error, |name| toml::from_str::<Self>(&format!("{name} = 0")).err())
        })?;
        check_name(&config.name).map_err(|error| error.about(path.display()))?;
        if let Some((name, _)) = config.peer.iter().find(|(_, peer)| peer.call.as_ref().is_some_and(Vec::is_empty)) {
            return Err(Error::usage(format!("{}: the call of peer {name} is empty", path.display()))
                .advise("give a program and its arguments, or take it out"));
        }
        if config.passphrase_command.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::usage(format!("{}: the passphrase_command is empty", path.display()))
                .advise("give a program and its arguments, or take it out"));
        }
        for (name, peer) in &config.peer {
            peer.timeout().map_err(|why| {
                Error::usage(format!("{}: peer {name}: {why}", path.display())).advise("correct it there")
            })?;
        }
        config.hooks.check().map_err(|why| {
            Error::usage(format!("{}: hooks: {why}", path.display()))
                .advise("give a program and its arguments, such as [\"notmuch\", \"new\"], or take it out")
        })?;
        config
            .watch
            .check()
            .map_err(|why| Error::usage(format!("{}: watch: {why}", path.display())).advise("correct it there"))?;
        if let Some((name, _)) =
            config.peer.iter().find(|(_, peer)| peer.spool.as_ref().is_some_and(|dir| dir.is_relative()))
        {
            return Err(Error::usage(format!("{}: the spool of peer {name} is no absolute path", path.display()))
                .advise("give it as an absolute path"));
        }
        for rule in &config.allow {
            rule.check().map_err(|why| {
                Error::usage(format!("{}: the rule that allows \"{}\": {why}", path.display(), rule.command))
                    .advise("correct it there")
            })?;
        }
        Ignored::new(&config.ignore)
            .map_err(|why| Error::usage(format!("{}: ignore: {why}", path.display())).advise("correct it there"))?;
        if !config.mail_root.is_absolute() {
            let what = format!("{}: mail_root is {}", path.display(), config.mail_root.display());
            return Err(Error::usage(what).advise("give it as an absolute path"));
        }
        Ok(config)
    }

    /// The names of peers that stand in it, each with where.
    pub fn peer_names(&self) -> impl Iterator<Item = (&str, String)> {
        let sections = self.peer.keys().map(|name| (name.as_str(), format!("[peer.{name}]")));
        let rules = self.allow.iter().flat_map(|rule| rule.from.iter().map(move |from| (from, &rule.command)));
        sections.chain(
            rules.map(|(from, command)| (from.as_str(), format!("the \"from\" of the rule that allows \"{command}\""))),
        )
    }

    /// The configuration as a file with explanations.
    pub fn to_text(&self) -> String {
        format!(
            "# Written once by mailsync; it is yours to edit and is never rewritten.\n\
             \n\
             # The directory that holds the Maildirs.\n\
             mail_root = {}\n\
             \n\
             # The name of this replica, in the names of the files that it delivers and the bundles that it writes.\n\
             name = {}\n\
             \n\
             # How folders become directories: \"maildir++\" (.Archive.2019) or \"fs\" (Archive/2019).\n\
             layout = {}\n\
             \n\
             # How directory names are written: \"utf-7\" (IMAP's modified UTF-7, as Dovecot and Courier have it) or \"utf-8\".\n\
             folder_names = {}\n\
             \n\
             # Whether the mail root itself is the INBOX. Under \"maildir++\" it always is.\n\
             inbox_at_root = {}\n\
             \n\
             # Whether letters in file names are the keywords of each dovecot-keywords; false if Dovecot keeps that elsewhere.\n\
             keywords = {}\n\
             \n\
             # Directories that are no folders, by their names, their paths below the mail root or the names of folders.\n\
             ignore = {}\n\
             \n\
             # How many days what an import removed is kept in the trash, until `mailsync purge` removes it.\n\
             trash_days = {}\n\
             \n\
             # How many days the history that `mailsync log` shows is kept, until `mailsync purge` shortens it.\n\
             history_days = {}\n\
             \n\
             # How many days jobs (see `mailsync uux`) are kept after they are finished, until `mailsync purge` forgets them.\n\
             jobs_days = {}\n\
             \n\
             # Whose jobs this replica passes on between others: \"peers\" (it knows both) or \"any\".\n\
             relay_jobs = {}\n\
             \n\
             # How much of one peer's jobs is taken in: how many that are not finished, and how many MiB of input and of output.\n\
             jobs_open = {}\n\
             jobs_input_mib = {}\n\
             jobs_output_mib = {}\n\
             \n\
             # Which bundles are encrypted: \"files\" (what is written with -o), \"always\" or \"never\".\n\
             encrypt = {}\n\
             \n\
             # The program that writes the passphrase of the key, if it has one. Without it a person is asked.\n\
             # passphrase_command = [\"secret-tool\", \"lookup\", \"mailsync\", \"key\"]\n\
             \n\
{SAMPLES}",
            value(self.mail_root.to_string_lossy()),
            value(&self.name),
            value(self.layout),
            value(self.folder_names),
            self.inbox_at_root,
            self.keywords,
            value(&self.ignore),
            self.trash_days,
            self.history_days,
            self.jobs_days,
            value(self.relay_jobs),
            self.jobs_open,
            self.jobs_input_mib,
            self.jobs_output_mib,
            value(self.encrypt),
        )
    }

    /// How much of one requester's jobs is taken in.
    pub fn job_quota(&self) -> Quota {
        Quota {
            open: u64::from(self.jobs_open),
            input: u64::from(self.jobs_input_mib) * MIB,
            output: u64::from(self.jobs_output_mib) * MIB,
        }
    }

    /// What is ignored.
    pub fn ignored(&self) -> Ignored {
        Ignored::new(&self.ignore).expect("they were checked when the configuration was read")
    }

    /// The layout that the configuration describes.
    pub fn layout(&self) -> Layout {
        Layout { kind: self.layout, encoding: self.folder_names, inbox_at_root: self.inbox_at_root }
    }
}

/// The form of a string, or of several, in TOML.
fn value(text: impl Serialize) -> String {
    toml::Value::try_from(text).expect("strings have a form in TOML").to_string()
}

/// Checks the name of a replica or a peer: it becomes a part of file names.
///
/// # Errors
/// It is empty, longer than 64 bytes, begins with `.` or `-`, or has a character that is not an ASCII letter, a digit,
/// `.`, `_` or `-`.
pub fn check_name(name: &str) -> Result<()> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(fits) {
        return Err(Error::usage(format!("the name {name:?} is not one that a replica can have")).advise(
            "use at most 64 letters, digits, \".\", \"_\" and \"-\", beginning with a letter, a digit or \"_\"",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allow::decide;

    #[test]
    fn a_setting_that_stands_in_a_table_is_told_to_be_put_above_it() {
        let told = |lines: &str| {
            let text =
                format!("mail_root = \"/m\"\nname = \"a\"\nlayout = \"fs\"\nfolder_names = \"utf-8\"\n{lines}\n");
            Config::parse(&text, Path::new("config.toml")).unwrap_err().to_string()
        };
        let stray = told("[peer.server]\ntrash_days = 3");
        assert!(
            stray.contains("line 6") && stray.contains("put trash_days above the first line in brackets"),
            "{stray}"
        );
        for (lines, words) in [
            (
                "[peer.server]\ncall = \"ssh server\"",
                "there is the text \"ssh server\", and a list, such as [\"ssh\", \"server\"], is expected",
            ),
            ("[peer.server]\ncall = 5", "there is the number 5, and a list, such as"),
            ("[hooks]\nafter_import = \"notmuch new\"", "and a list, such as"),
            ("peer = 3", "and a table: lines below one in brackets, is expected"),
            ("keywords = \"yes\"", "and true or false is expected"),
            ("trash_day = 3", "there is no key `trash_day` here; the keys are `mail_root`, "),
            ("trash_days = \"long\"", "there is the text \"long\", and a whole number"),
            ("trash_days = -1", "there is the number -1, and a whole number"),
            ("trash_days = \"a, and b\"", "there is the text \"a, and b\", and a whole number"),
            ("trash_days = true", "there is true, and a whole number"),
            ("trash_days = [3]", "there is a list, and a whole number"),
            ("[peer.server]\ntimeout = 5", "there is the number 5, and a text in quotation marks is expected"),
        ] {
            let told = told(lines);
            assert!(
                told.contains(words) && !told.contains("sequence") && !told.contains("invalid type"),
                "{lines}: {told}"
            );
        }
        let unknown = told("[peer.server]\ntrash_day = 3");
        assert!(unknown.contains("correct it there"), "{unknown}");
        let unknown = told("trash_day = 3");
        assert!(unknown.contains("correct it there"), "{unknown}");
    }

    #[test]
    fn a_written_configuration_reads_back_as_it_was() {
        let config = sample();
        assert_eq!(toml::from_str::<Config>(&config.to_text()).unwrap(), config);
    }

    fn sample() -> Config {
        Config {
            mail_root: PathBuf::from("/home/me/My \"Mail\"\\x"),
            name: "laptop".into(),
            layout: LayoutKind::Fs,
            folder_names: NameEncoding::Utf8,
            inbox_at_root: true,
            keywords: false,
            ignore: vec![String::from("Spam*"), String::from("a\"b")],
            trash_days: 7,
            history_days: 70,
            jobs_days: 7,
            relay_jobs: RelayJobs::Any,
            jobs_open: 70,
            jobs_input_mib: 71,
            jobs_output_mib: 72,
            passphrase_command: None,
            encrypt: Encrypt::default(),
            guard: Limits::default(),
            hooks: Hooks::default(),
            watch: Watch::default(),
            allow: Vec::new(),
            peer: BTreeMap::new(),
        }
    }

    #[test]
    fn the_sample_rule_allows_what_mail_programs_pass_to_sendmail() {
        let config = toml::from_str::<Config>(&sample().to_text()).unwrap();
        let text = config.to_text();
        let (_, rule) = text.split_once("# [[allow]]\n").expect("there is a sample");
        let lines: Vec<&str> = rule.lines().map(|line| line.trim_start_matches("# ")).collect();
        let rule = lines.join("\n");
        let rules = [toml::from_str::<Rule>(&rule).unwrap()];
        for args in [
            // mutt, with `use_envelope_from` and without; git send-email; mail(1).
            &["-oi", "-f", "me@example.org", "--", "ben@example.org"][..],
            &["-oi", "--", "ben@example.org", "ann@example.org"],
            &["-oi", "-i", "ben@example.org"],
            &["-t"],
        ] {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            assert!(decide(&rules, "sendmail", &args, "laptop").is_ok(), "{args:?}");
        }
        let evil = [String::from("-C/tmp/mine.cf")];
        assert!(decide(&rules, "sendmail", &evil, "laptop").is_err());
        assert!(decide(&rules, "sendmail", &[], "desktop").is_err());
    }

    #[test]
    fn a_name_that_could_lead_out_of_a_directory_is_refused() {
        for wrong in ["", ".", "..", ".x", "-x", "a/b", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
        for right in ["laptop", "a.b-c_d", "7"] {
            assert!(check_name(right).is_ok(), "{right:?}");
        }
    }
}
