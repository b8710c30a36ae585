//! What the arguments of several commands are made of.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use mailsync::allow::parse_time;
use mailsync::maildir::{LayoutKind, Server};
use mailsync::model::FolderName;
use mailsync::replica::Secrecy;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Layout {
    /// .Archive.2019, and the mail root is the INBOX
    #[value(name = "maildir++")]
    MaildirPlusPlus,
    /// Archive/2019
    Fs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MailServer {
    /// The mail root is the INBOX under fs, too, and names are written in modified UTF-7
    Dovecot,
}

impl MailServer {
    /// The server that it stands for.
    pub fn server(self) -> Server {
        match self {
            Self::Dovecot => Server::Dovecot,
        }
    }
}

impl Layout {
    /// The layout that it stands for.
    pub fn kind(self) -> LayoutKind {
        match self {
            Self::MaildirPlusPlus => LayoutKind::MaildirPlusPlus,
            Self::Fs => LayoutKind::Fs,
        }
    }
}

/// How a mail root is laid out, and whether a doubtful one is taken.
#[derive(Debug, clap::Args)]
pub struct Layouts {
    /// How folders become directories; found out if not given
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// Lay out what isn't there yet as this server does
    #[arg(long = "for", value_enum, value_name = "SERVER")]
    pub server: Option<MailServer>,
    /// Take this directory although it seems to be the wrong one: you have looked, and it is right
    #[arg(long)]
    pub anyway: bool,
}

/// The code of an invitation.
#[derive(Debug, clap::Args)]
pub struct CodeFile {
    /// Read the code of an invitation from this file, which only you may read; the environment variable `MAILSYNC_CODE` may
    /// hold it, too
    #[arg(long, value_name = "FILE")]
    pub code_file: Option<PathBuf>,
}

/// Whether a bundle is encrypted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Encryption {
    /// Encrypt the bundle, wherever it is written: for its recipient and this replica, or for all peers and this replica; an
    /// invitation without --key with a code
    #[arg(long, conflicts_with = "plain")]
    pub encrypt: bool,
    /// Don't encrypt the bundle, although it becomes a file: whoever gets it can read the mail in it
    #[arg(long)]
    pub plain: bool,
}

impl Encryption {
    /// The library's value for it.
    pub fn secrecy(self) -> Option<Secrecy> {
        match (self.encrypt, self.plain) {
            (true, _) => Some(Secrecy::Encrypted),
            (_, true) => Some(Secrecy::Plain),
            _ => None,
        }
    }
}

/// A number of bytes: digits, and K, M or G for a factor of 1024, 1024^2 or 1024^3. 4G is one byte less, which is what
/// FAT32 holds.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(String::from("a number of bytes is expected, with K, M or G if you like")),
    };
    let size: u64 =
        digits.parse().map_err(|_| String::from("a number of bytes is expected, with K, M or G if you like"))?;
    let size = size.checked_mul(factor).ok_or("that is too large")?;
    if size < 64 << 10 {
        return Err(String::from("less than 64K leaves no room for messages"));
    }
    Ok(if size == 4 << 30 { size - 1 } else { size })
}

/// A folder as a person names it, who may end its name as that of a directory.
pub fn parse_folder(text: &str) -> Result<FolderName, String> {
    const EXPECTED: &str = "name folders as `mailsync status` lists them";
    match text.trim_end_matches('/') {
        "" => Err(format!("the name is empty; {EXPECTED}")),
        name => name.parse().map_err(|error| format!("{error}; {EXPECTED}")),
    }
}

/// A parser of whole numbers, from the first of these to the last.
pub fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| {
        let number =
            text.parse().ok().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| match (range.start(), range.end()) {
            (0, &u64::MAX) => String::from("a whole number is expected"),
            (first, &u64::MAX) => format!("a whole number is expected, not less than {first}"),
            (first, last) => format!("a whole number is expected, from {first} to {last}"),
        })
    }
}

/// A time: a number of seconds, or a time as config.toml has it.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    seconds.map_or_else(|| parse_time("time", text), Ok)
}

/// How much is told of single messages.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Listing {
    /// Tell of every message and change: A it is new, M its flags have changed, R it is in another folder, D it was removed
    #[arg(long, short)]
    pub verbose: bool,
    /// List the same on standard output, for programs: sign, folder, folder before, flags, date, sender, subject and digest,
    /// separated by tabs
    #[arg(long)]
    pub list: bool,
}

impl Listing {
    /// Whether each message is to be told of, in whichever way.
    pub fn tells_each(self) -> bool {
        self.verbose || self.list
    }
}
