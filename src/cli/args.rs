//! The command line as it is typed.

mod export;
mod help;
mod invitation;
mod key;
mod misuse;
mod past;
mod values;
mod verbs;
pub mod version;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use mailsync::error::Error;
use mailsync::replica::{ClockAhead, Doubts, DryRun, MassAdd, MassDelete};

pub use export::Export;
pub use invitation::{Invite, Join};
pub use past::{Log, Purge, Restore, Trash, TrashCommand, Undo, WhichTrash};
pub use values::parse_folder;
pub use values::{CodeFile, Layout, Layouts, Listing, MailServer};
use values::{parse_seconds, whole};

use super::complete;
use super::moment::Moment;

pub use key::{Key, KeyCommand};

/// Keeps the Maildirs of several machines the same by exchanging bundle files.
#[derive(Debug, Parser)]
#[command(version = version::SHORT, long_version = version::long(), max_term_width = 100, after_help = EXIT_CODES, disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, or nothing to do; 1 failed; 2 usage; 3 not yet (a bundle before this one is missing, or a clock is ahead); 4 rejected \
(corrupt, truncated, untrue, unknown sender, for someone else, newer format); 5 locked; 6 refused for safety; \
7 a peer could not be reached, and all else was done.";

impl Args {
    /// The command line that mailsync understands, with all that its help says.
    pub fn line() -> clap::Command {
        help::with_examples(Self::command())
    }

    /// Reads the command line that the process was started with.
    ///
    /// # Errors
    /// It makes no sense; or help or the version is asked for.
    pub fn read() -> Result<Self, Unparsed> {
        let mut line = Self::line();
        let read = line.try_get_matches_from_mut(std::env::args_os());
        let read = read.and_then(|matches| Self::from_arg_matches(&matches).map_err(|error| error.format(&mut line)));
        read.map_err(|answer| {
            let typed: Vec<_> = std::env::args_os().skip(1).collect();
            let wrong = answer.use_stderr().then(|| misuse::told(&answer, &typed, &line));
            Unparsed { answer, wrong }
        })
    }
}

/// A command line with which no command is done.
pub struct Unparsed {
    /// What the parser answers: help, if that is asked for or if nothing else is.
    pub answer: clap::Error,
    /// What is wrong with it. `None` if help or the version is asked for.
    pub wrong: Option<Error>,
}

/// The heading in the help of the options that every command has.
const GLOBAL: &str = "Global options";

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Keep configuration and state in this directory instead of the XDG directories
    #[arg(long, global = true, value_name = "DIR", env = "MAILSYNC_HOME", hide_env_values = true, help_heading = GLOBAL)]
    pub home: Option<PathBuf>,
    /// Wait up to this many seconds for another mailsync that works on the same replica
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10, value_parser = whole::<u64>(0..=u64::MAX), help_heading = GLOBAL)]
    pub lock_timeout: u64,
    /// Print one JSON document on standard output
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true, help_heading = GLOBAL)]
    pub color: ColorChoice,
    /// Print help
    #[arg(long, short, global = true, action = ArgAction::Help, help_heading = GLOBAL)]
    pub help: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a replica of a mail root
    Init(Init),
    /// Write the bundle with which a new machine begins
    Invite(Invite),
    /// Make a replica from an invitation
    Join(Join),
    /// List, add, rename or remove peers
    Peer(Peer),
    /// Show, replace or lock the key of this replica
    Key(Key),
    /// Find out what changed in the mail root
    Scan(Scan),
    /// Write a bundle that holds everything a peer has not shown to have
    Export(Export),
    /// Apply bundles
    Import(Import),
    /// Exchange bundles with peers, through the commands that the configuration names
    Update(Update),
    /// Do all that by itself: scan, export, import and call peers whenever something changes or arrives
    Watch(Watch),
    /// Ask a peer to run a command, with standard input as its input; the peer's rules decide what it runs
    Uux(Uux),
    /// Show, run, repeat, cancel or forget what peers were asked to run
    Jobs(Jobs),
    /// Forget removals that every peer knows of, old trash, old jobs and old history
    Purge(Purge),
    /// Show what this replica holds, and what its peers have not shown to have yet
    Status(Status),
    /// Show what was done
    Log(Log),
    /// Show what a bundle says about itself
    Inspect(LookInto),
    /// Check a bundle from end to end, and whether it can be applied here
    Verify(LookInto),
    /// Get back mail that has vanished here by mistake
    Restore(Restore),
    /// List or restore what imports have removed
    Trash(Trash),
    /// Take back what a replica has moved and flagged
    Undo(Undo),
    /// Check the state, or mend it: after a peer has gone bad, after a clock was wrong, or after the state was put back
    /// to an earlier one in place
    Doctor(Doctor),
    /// Make this replica none: configuration, keys and state go, and the mail stays as it is
    Deinit(Deinit),
    /// Print the lines by which a shell completes what is typed
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write man pages: one for each command, and mailsync(7) for the ideas
    Man {
        /// A directory that is there. Pages go into `man1/` and `man7/` in it, and replace older ones
        dir: PathBuf,
    },
}

/// A shell that completes what is typed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

#[derive(Debug, clap::Args)]
pub struct Init {
    /// The directory that holds your Maildirs
    pub mail_root: PathBuf,
    /// The replica's name; the host's name if not given
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub layouts: Layouts,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    /// The peers; without any, all peers that the configuration tells how to reach
    #[arg(value_name = "PEER", add = ArgValueCompleter::new(complete::only_peers))]
    pub peers: Vec<String>,
    /// Call so many peers at a time. One by one, each gets what those before it have brought
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = whole::<usize>(1..=u64::MAX))]
    pub jobs: usize,
    #[command(flatten)]
    pub allowed: Allowed,
}

#[derive(Debug, clap::Args)]
pub struct Status {
    /// Don't look at the disk: show what the last scan has seen, and nothing of directories of bundles
    #[arg(long)]
    pub no_scan: bool,
}

#[derive(Debug, clap::Args)]
pub struct Watch {
    /// How long nothing must have changed before it is looked at: seconds, or a time such as 2m; 5 seconds, unless config.toml
    /// has another time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub after: Option<Duration>,
    /// How long a change waits at most, though others follow it; 1 minute, unless config.toml has another time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub within: Option<Duration>,
    /// How often all is looked at and all peers are called, whether something was noticed or not; 5 minutes, unless
    /// config.toml has another time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub every: Option<Duration>,
    /// Do once all that is to be done, and end
    #[arg(long)]
    pub once: bool,
    /// Tell of every message and change: A it is new, M its flags have changed, R it is in another folder, D it was removed
    #[arg(long, short)]
    pub verbose: bool,
}

/// What bundles may do without being asked about.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Allowed {
    /// Believe that more than half of a large folder, a large part of all mail, or most folders were removed or moved
    /// elsewhere
    #[arg(long)]
    pub allow_mass_delete: bool,
    /// Take in more than there was before, and more than comes in some weeks
    #[arg(long)]
    pub allow_mass_add: bool,
}

#[derive(Debug, clap::Args)]
pub struct Peer {
    #[command(subcommand)]
    pub command: PeerCommand,
}

#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// List the peers
    List {
        /// Show also which ids they had before their keys were replaced
        #[arg(long, short)]
        verbose: bool,
    },
    /// Make a peer known
    Add {
        /// The peer's name here
        name: String,
        /// Its public key, as `mailsync init` printed it there, or a file that holds it
        #[arg(long)]
        key: String,
        /// No bundles are exchanged with it: only jobs come from it or go to it, by way of others
        #[arg(long)]
        distant: bool,
    },
    /// Give a peer another name
    Rename {
        /// Its name until now
        #[arg(add = ArgValueCompleter::new(complete::peers))]
        old: String,
        /// Its name from now on
        new: String,
    },
    /// Forget a peer
    Remove {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::peers))]
        name: String,
    },
    /// Shut out a machine that was lost or stolen, here and wherever this is heard
    Revoke {
        /// Its name here, or its id
        #[arg(add = ArgValueCompleter::new(complete::peers))]
        name: String,
        /// When it was last in your hands, such as yesterday, 3d or "2026-11-28 18:00": what it has done since is not believed
        /// any more. If it isn't given: what was said here before, or else now
        #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
        since: Option<Moment>,
        /// Why, for those who read it on the other machines
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Keep what it has brought since then and is still here: it counts as this machine's own from now on, and goes to the
        /// others. Remove what isn't yours first
        #[arg(long)]
        keep: bool,
    },
    /// Trust a machine again on this one, whoever has revoked it
    Reinstate {
        /// Its name here, or its id
        #[arg(add = ArgValueCompleter::new(complete::peers))]
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct Scan {
    /// The folders to look at, with those below them; all of them if none is given
    #[arg(add = ArgValueCompleter::new(complete::folders))]
    pub folders: Vec<String>,
    /// Read every message again, to find edits in place
    #[arg(long)]
    pub deep: bool,
    /// Only tell what changed
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    #[command(flatten)]
    pub listing: Listing,
    /// Believe that more than half of a large folder, a large part of all mail, or most folders were removed
    #[arg(long)]
    pub allow_mass_delete: bool,
}

#[derive(Debug, clap::Args)]
// Each is a switch on the command line.
#[allow(clippy::struct_excessive_bools)]
pub struct Import {
    /// Bundle files; directories, of which the files called *.zst or *.zst.age are read, but none in directories within; or - for
    /// standard input, which is also what is read if none is given
    #[arg(value_name = "BUNDLE|DIR|-")]
    pub bundles: Vec<PathBuf>,
    /// Afterwards write a bundle for the sender to standard output
    #[arg(long, conflicts_with_all = ["json", "dry_run", "list"])]
    pub reply: bool,
    /// Only tell what would change
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    #[command(flatten)]
    pub listing: Listing,
    /// Remove bundle files for this replica alone once they are imported, and in a DIR bundle files from this replica
    /// that nobody needs any more
    #[arg(long)]
    pub consume: bool,
    #[command(flatten)]
    pub allowed: Allowed,
    /// Take bundles with changes that were made more than a day ahead of this machine's clock: you have looked, and the
    /// clocks are right
    #[arg(long)]
    pub accept_clock: bool,
    /// Don't run what peers ask for; `mailsync jobs run` does it later
    #[arg(long)]
    pub no_jobs: bool,
    #[command(flatten)]
    pub code: CodeFile,
}

#[derive(Debug, clap::Args)]
pub struct Uux {
    /// The peer that is to run it
    #[arg(add = ArgValueCompleter::new(complete::only_peers))]
    pub peer: String,
    /// The command, as the peer's rules call it, and its arguments: all that follows, -- included, is the peer's
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Debug, clap::Args)]
pub struct Jobs {
    #[command(subcommand)]
    pub command: JobsCommand,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List the jobs that are known here, and how they stand
    List,
    /// Show all that is known about a job, and the output of its program
    Show {
        /// Its id, or how it begins
        #[arg(add = ArgValueCompleter::new(complete::jobs))]
        id: String,
    },
    /// Run the jobs for this replica that are queued
    Run,
    /// Try again a job that failed, was rejected or was interrupted
    Retry {
        /// Its id, or how it begins
        #[arg(add = ArgValueCompleter::new(complete::jobs))]
        id: String,
    },
    /// Cancel a job that has not been started
    Cancel {
        /// Its id, or how it begins
        #[arg(add = ArgValueCompleter::new(complete::jobs))]
        id: String,
    },
    /// Forget jobs before `mailsync purge` does: none comes back or is run again
    Forget {
        /// Their ids, or how they begin
        #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(complete::jobs))]
        ids: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub struct LookInto {
    /// Bundle files, directories of files called *.zst or *.zst.age, or - for standard input
    #[arg(value_name = "BUNDLE|DIR|-", required = true)]
    pub bundles: Vec<PathBuf>,
    #[command(flatten)]
    pub listing: Listing,
    #[command(flatten)]
    pub code: CodeFile,
}

#[derive(Debug, clap::Args)]
// Each is a switch on the command line.
#[allow(clippy::struct_excessive_bools)]
#[command(group(clap::ArgGroup::new("scans").args(["repair", "moved_root"])))]
pub struct Doctor {
    /// Go on as a new incarnation, and stamp anew what may have been stamped twice, or in the future
    #[arg(long)]
    pub new_identity: bool,
    /// Mend what can't be true in the state, from a peer that has gone bad for example, and read all files
    #[arg(long, conflicts_with = "new_identity")]
    pub repair: bool,
    /// The mail was moved, or its folders were renamed: believe what config.toml says about both
    #[arg(long, conflicts_with = "new_identity")]
    pub moved_root: bool,
    /// Tell what would be done, and change nothing
    #[arg(long, short = 'n', requires = "scans")]
    pub dry_run: bool,
    /// Tell of every single thing that a repair mends, and of each message that was changed
    #[arg(long, short)]
    pub verbose: bool,
    /// Let it find that much was removed
    #[arg(long, requires = "scans")]
    pub allow_mass_delete: bool,
}

#[derive(Debug, clap::Args)]
// Each is a switch on the command line.
#[allow(clippy::struct_excessive_bools)]
pub struct Deinit {
    /// Only tell what would go
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,
    /// Do it although something is lost that nobody else has
    #[arg(long)]
    pub anyway: bool,
    /// Move the messages of the trash into this directory, as files
    #[arg(long, value_name = "DIR", conflicts_with = "purge_trash")]
    pub trash_to: Option<PathBuf>,
    /// Remove the messages of the trash for good
    #[arg(long)]
    pub purge_trash: bool,
}

/// The library's value for `--dry-run`.
pub fn dry_run(dry: bool) -> DryRun {
    if dry { DryRun::Yes } else { DryRun::No }
}

/// What `--anyway` means.
pub fn doubts(overruled: bool) -> Doubts {
    if overruled { Doubts::Overrule } else { Doubts::Heed }
}

/// What `--accept-clock` means.
pub fn clock_ahead(accepted: bool) -> ClockAhead {
    if accepted { ClockAhead::Accept } else { ClockAhead::Refuse }
}

/// What `--allow-mass-add` means.
pub fn mass_add(allowed: bool) -> MassAdd {
    if allowed { MassAdd::Allow } else { MassAdd::Refuse }
}

/// The library's value for `--allow-mass-delete`.
pub fn mass_delete(allowed: bool) -> MassDelete {
    if allowed { MassDelete::Allow } else { MassDelete::Refuse }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Rust's and clap's parsers say of what they can't read.
    const NOT_OURS: [&str; 7] = [
        "invalid digit",
        "non-zero type",
        "cannot parse",
        "is not in ",
        "too large to fit",
        "number too",
        "input contains",
    ];

    /// Each of a command's own options and arguments that takes a value, with what is typed before it.
    fn all(command: &clap::Command, typed: &[String], each: &mut impl FnMut(Vec<String>)) {
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            let option = arg.get_long().map(|long| format!("--{long}="));
            each([typed, &[option.unwrap_or_default()]].concat());
        }
        for below in command.get_subcommands() {
            all(below, &[typed, &[below.get_name().to_owned()]].concat(), each);
        }
    }

    #[test]
    fn a_value_that_is_none_is_answered_in_our_own_words() {
        let line = Args::line();
        let (mut tried, mut refused) = (0, 0);
        all(&line, &[String::from("mailsync")], &mut |mut typed| {
            let last = typed.pop().unwrap();
            for value in ["abc", "0", "3.5", "99999999999999999999999999", "", "ü"] {
                let typed = typed.iter().cloned().chain([format!("{last}{value}")]);
                tried += 1;
                let Err(error) = Args::line().try_get_matches_from(typed) else { continue };
                let told = error.render().to_string();
                refused += u64::from(told.contains("invalid value"));
                assert!(!NOT_OURS.iter().any(|words| told.contains(words)), "{last}{value}: {told}");
            }
        });
        assert!(tried > 300 && refused > 40, "{tried} {refused}");
    }
}
