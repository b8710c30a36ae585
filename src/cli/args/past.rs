//! The command line of what looks back: the log, the trash, what is taken back, and what is forgotten.

use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use mailsync::model::FolderName;

use super::values::{parse_folder, whole};
use crate::cli::complete;
use crate::cli::moment::Moment;

#[derive(Debug, clap::Args)]
pub struct Log {
    /// Show at most this many of the last things that were done
    #[arg(long, short = 'n', default_value_t = 100, value_name = "NUMBER", allow_negative_numbers = true,
        value_parser = whole::<u64>(0..=u64::MAX))]
    pub limit: u64,
    /// Only what was done here since this time, such as 2h, yesterday or "2026-11-28 18:00"
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub since: Option<Moment>,
    /// Only what concerns this peer: with --message, --folder or --removed, its changes and what its bundles brought
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::only_peers))]
    pub peer: Option<String>,
    /// Show what became of this message: how its digest begins (8 digits or more), its number in the trash, its file, or its
    /// Message-ID, for which the headers of all files are read
    #[arg(long, value_name = "ID|FILE|MESSAGE-ID")]
    pub message: Option<String>,
    /// Show what became of messages in this folder and those below it
    #[arg(long, value_name = "FOLDER", value_parser = parse_folder, add = ArgValueCompleter::new(complete::known_folders))]
    pub folder: Option<FolderName>,
    /// Show which messages were removed
    #[arg(long)]
    pub removed: bool,
    /// Show which changes don't hold, since others had changed the same messages without knowing of it
    #[arg(long, conflicts_with = "removed")]
    pub overruled: bool,
}

#[derive(Debug, clap::Args)]
pub struct Purge {
    /// Believe the clock of this machine although it seems to be wrong: you have looked, and it is right
    #[arg(long)]
    pub anyway: bool,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("wanted").args(["names", "all"]).multiple(true).required(true)))]
#[command(override_usage = "\
mailsync restore [OPTIONS] <FOLDER|ID>...
       mailsync restore [OPTIONS] --all")]
pub struct Restore {
    /// Folders, with those below them; messages, by how their digests begin (8 digits or more); or numbers in the trash
    #[arg(value_name = "FOLDER|ID", add = ArgValueCompleter::new(complete::restorable))]
    pub names: Vec<String>,
    /// Everything that has vanished
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// What scans here have recorded as removed since this time comes back, too, such as 2h, yesterday or "2026-11-28 18:00"
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub since: Option<Moment>,
    /// Tell what would come back, message by message, and change nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub struct Trash {
    #[command(subcommand)]
    pub command: TrashCommand,
}

#[derive(Debug, Subcommand)]
pub enum TrashCommand {
    /// List what imports have removed: number, when it came into the trash, by whom, folder, sender, subject
    List {
        #[command(flatten)]
        which: WhichTrash,
    },
    /// Show all that is known of a message in the trash
    Show {
        /// Its number, as `mailsync trash list` shows it
        #[arg(value_parser = parse_id, add = ArgValueCompleter::new(complete::trash))]
        id: i64,
    },
    /// Bring messages back into their folders
    #[command(group(clap::ArgGroup::new("which").args(["ids", "all", "folder", "by", "since"]).multiple(true).required(true)))]
    #[command(override_usage = "\
mailsync trash restore [OPTIONS] <ID|FROM-TO>...
       mailsync trash restore [OPTIONS] <--all|--folder|--by|--since>")]
    Restore {
        /// Their numbers, as `mailsync trash list` shows them, or ranges of numbers, such as 2-89
        #[arg(value_name = "ID|FROM-TO", value_parser = parse_ids, add = ArgValueCompleter::new(complete::trash))]
        ids: Vec<(i64, i64)>,
        /// Everything in the trash
        #[arg(long, conflicts_with_all = ["ids", "folder", "by", "since"])]
        all: bool,
        #[command(flatten)]
        which: WhichTrash,
        /// Tell what would come back, message by message, and change nothing
        #[arg(long, short = 'n')]
        dry_run: bool,
        /// Copy them into this directory instead, as files: the trash and the folders stay as they are
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// What of the trash is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct WhichTrash {
    /// What was in this folder, or one below it
    #[arg(long, value_name = "FOLDER", value_parser = parse_folder, add = ArgValueCompleter::new(complete::known_folders))]
    pub folder: Option<FolderName>,
    /// What this peer has removed, or this replica itself: by its name or its id; it comes back where it was before that
    /// one moved it
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::only_peers))]
    pub by: Option<String>,
    /// What came into the trash since this time, such as 2h, yesterday or "2026-11-28 18:00"
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub since: Option<Moment>,
}

/// A number.
fn parse_id(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| String::from("a number is expected, as `mailsync trash list` shows it"))
}

/// A number, or a range of numbers.
fn parse_ids(text: &str) -> Result<(i64, i64), String> {
    const EXPECTED: &str = "a number is expected, as `mailsync trash list` shows it, or a range such as 2-89";
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0).ok_or_else(|| String::from(EXPECTED));
    match text.split_once('-') {
        None => number(text).map(|number| (number, number)),
        Some((first, last)) => {
            let range = (number(first)?, number(last)?);
            if range.0 <= range.1 { Ok(range) } else { Err(format!("this range is empty; {EXPECTED}")) }
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Undo {
    /// The replica whose changes are taken back: a peer, or this one, by its name; or any by its id
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::only_peers))]
    pub by: String,
    /// When it made the first of them, by its clock, such as 2h, yesterday or "2026-11-28 18:00"
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub since: Moment,
    /// Only what lies in this folder or one below it, or lay there before
    #[arg(long, value_name = "FOLDER", value_parser = parse_folder, add = ArgValueCompleter::new(complete::known_folders))]
    pub folder: Option<FolderName>,
    /// Tell what would be taken back, message by message, and change nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}
