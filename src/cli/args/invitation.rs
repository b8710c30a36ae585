//! The arguments of `invite` and `join`.

use std::path::PathBuf;

use super::values::{CodeFile, Encryption, Layouts, parse_size, whole};

#[derive(Debug, clap::Args)]
pub struct Invite {
    /// The new machine's name here
    pub name: String,
    /// Its public key, or a file that holds it: then the bundle is for it alone, and no code is needed
    #[arg(long)]
    pub key: Option<String>,
    /// Accept the new machine's answer for this many days
    #[arg(long, value_name = "DAYS", default_value_t = 14, conflicts_with = "key",
        value_parser = whole::<u32>(1..=3650))]
    pub expires: u32,
    /// Leave the messages out: the new machine has them from elsewhere
    #[arg(long)]
    pub no_contents: bool,
    /// Write to this file, or to a file in this directory, instead of standard output
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
    /// Replace the file that is there already, whatever it is
    #[arg(long)]
    pub force: bool,
    /// zstd's compression level
    #[arg(long, value_parser = whole::<i32>(1..=22))]
    pub level: Option<i32>,
    /// Write several bundles, none larger than this unless a single message is, such as 4G or 700M; needs -o DIR
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub split: Option<u64>,
    /// Show the code as a QR code, too, on a terminal
    #[arg(long, conflicts_with_all = ["key", "json", "plain"])]
    pub qr: bool,
    #[command(flatten)]
    pub secrecy: Encryption,
}

#[derive(Debug, clap::Args)]
pub struct Join {
    /// The directory that holds your Maildirs, or is to hold them
    pub mail_root: PathBuf,
    /// The invitation, or - for standard input
    #[arg(value_name = "BUNDLE|-", default_value = "-")]
    pub bundle: PathBuf,
    /// The replica's name; if not given, the one by which it was invited, or the host's for an invitation by key
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub layouts: Layouts,
    /// The id of the replica that must have written the invitation
    #[arg(long, value_name = "FINGERPRINT")]
    pub expect: Option<String>,
    #[command(flatten)]
    pub code: CodeFile,
    /// Take an invitation with changes that were made more than a day ahead of this machine's clock: you have looked,
    /// and the clocks are right
    #[arg(long)]
    pub accept_clock: bool,
}
