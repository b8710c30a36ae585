//! The arguments of `export`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::values::{Encryption, Listing, parse_size, whole};
use crate::cli::complete;

#[derive(Debug, clap::Args)]
// Each is a switch on the command line.
#[allow(clippy::struct_excessive_bools)]
pub struct Export {
    /// The peer that the bundle is for; without it the only peer, or anyone if there are several
    #[arg(long, value_name = "PEER", add = ArgValueCompleter::new(complete::peers))]
    pub to: Option<String>,
    /// Hold everything, for a peer that has lost what it had
    #[arg(long, conflicts_with = "since_last")]
    pub full: bool,
    /// Start from the last bundle written for the peer, for links on which no answer ever comes
    #[arg(long)]
    pub since_last: bool,
    /// Write to this file, or to a file in this directory, instead of standard output
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
    /// Replace the file that is there already, whatever it is
    #[arg(long)]
    pub force: bool,
    /// zstd's compression level
    #[arg(long, default_value_t = 3, value_parser = whole::<i32>(1..=22))]
    pub level: i32,
    /// Write several bundles, none larger than this unless a single message is, such as 4G or 700M; the first has the list of all
    /// entries, so that sets a lower limit; needs -o DIR
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub split: Option<u64>,
    /// Don't look for local changes first
    #[arg(long)]
    pub no_scan: bool,
    /// Only tell what a bundle would hold, and write none
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    #[command(flatten)]
    pub listing: Listing,
    #[command(flatten)]
    pub secrecy: Encryption,
}
