//! What documents of several commands are made of.

use std::path::Path;

use jiff::Timestamp;
use mailsync::config::Config;
use mailsync::error::{Error, ErrorKind};
use mailsync::headline::Headline;
use mailsync::maildir::LayoutKind;
use mailsync::model::{Flag, FolderName};
use mailsync::replica::{Replica, ScanReport};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

/// A time: RFC 3339 in UTC, to the second. Null if there is none, or if it is in no year that has four digits.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(JsonSchema), schemars(extend("format" = "date-time")))]
pub struct Time(Option<String>);

impl Time {
    /// The time that is so many milliseconds after the beginning of 1970.
    pub fn of(millis: impl Into<Option<u64>>) -> Self {
        let millis = millis.into().and_then(|millis| i64::try_from(millis).ok());
        let time = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        Self(time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
    }
}

/// The name of a file or directory. Bytes that are no UTF-8 are replaced.
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Something that went wrong.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Fault {
    /// Which kind of fault it is.
    pub kind: FaultKind,
    /// The words for people: what was being done, what is wrong and, behind a semicolon, what to do next.
    pub message: String,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind().into(), message: error.to_string() }
    }
}

/// The kind of a fault. Each has an exit code of its own.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum FaultKind {
    /// Exit code 1: something went wrong; nothing that was there is lost.
    Failed,
    /// Exit code 2: the command line or the configuration doesn't make sense.
    Usage,
    /// Exit code 3: a bundle can't be applied before another one.
    NotYet,
    /// Exit code 4: a bundle isn't accepted.
    Rejected,
    /// Exit code 5: another mailsync works on the same replica.
    Locked,
    /// Exit code 6: something was refused, because mail could be lost by it.
    Refused,
    /// Exit code 7: a peer could not be reached, and all else was done.
    Unreachable,
}

impl From<ErrorKind> for FaultKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Failed => Self::Failed,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NotYet => Self::NotYet,
            ErrorKind::Rejected => Self::Rejected,
            ErrorKind::Locked => Self::Locked,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Unreachable => Self::Unreachable,
        }
    }
}

/// This replica.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Own {
    /// Its id: the fingerprint of its key.
    pub id: String,
    /// Its name for itself.
    pub name: String,
    /// Its public key: a line as OpenSSH has it.
    pub public_key: String,
    /// The directory with its mail.
    pub mail_root: String,
    /// How folders become directories.
    pub layout: Layout,
}

impl From<&Replica> for Own {
    fn from(replica: &Replica) -> Self {
        let (config, key) = (replica.config(), replica.public_key());
        Self {
            id: key.id().to_string(),
            name: config.name.clone(),
            public_key: key.to_openssh(),
            mail_root: path(&config.mail_root),
            layout: config.into(),
        }
    }
}

/// How folders become directories.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub enum Layout {
    /// The INBOX is the root, and each folder a directory in it whose name begins with a dot.
    #[serde(rename = "maildir++")]
    MaildirPlusPlus,
    /// Folders below a folder are directories below its directory.
    #[serde(rename = "fs")]
    Fs,
}

impl From<&Config> for Layout {
    fn from(config: &Config) -> Self {
        match config.layout {
            LayoutKind::MaildirPlusPlus => Self::MaildirPlusPlus,
            LayoutKind::Fs => Self::Fs,
        }
    }
}

/// A folder, and how much is in it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// How many entries it has, those included whose messages aren't here.
    pub entries: u64,
}

impl Folder {
    /// Folders with the numbers of their entries.
    pub fn all(folders: &[(FolderName, u64)]) -> Vec<Self> {
        folders.iter().map(|(name, entries)| Self { name: name.to_string(), entries: *entries }).collect()
    }
}

/// A flag that was set or cleared.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct FlagChange {
    /// The flag: a letter as file names have it, or `keyword:` and a name.
    pub flag: String,
    /// Whether it is on after that.
    pub on: bool,
}

impl FlagChange {
    /// A flag, and whether it is on.
    pub fn of(flag: &Flag, on: bool) -> Self {
        Self { flag: flag.to_string(), on }
    }
}

/// What people know a mail by, as its header has it. All of it is null if the file of the message isn't here any more.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Head {
    /// The date that its sender has set.
    pub date: Time,
    /// The sender's name, or the address of one without a name.
    pub from: Option<String>,
    /// The subject, decoded.
    pub subject: Option<String>,
    /// The Message-ID, without its angle brackets.
    pub message_id: Option<String>,
}

impl From<&Headline> for Head {
    fn from(headline: &Headline) -> Self {
        Self {
            date: Time::of(headline.date),
            from: headline.from.clone(),
            subject: headline.subject.clone(),
            message_id: headline.message_id.clone(),
        }
    }
}

/// What a scan of the mail root has found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Scan {
    /// Messages that came.
    pub new: u64,
    /// Entries that are in another folder.
    pub moved: u64,
    /// Entries with other flags.
    pub flagged: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Entries whose files were not where they were last seen, or that could not be told from others: the next scan decides.
    pub undecided: u64,
    /// Files that were found for entries that had none.
    pub adopted: u64,
    /// Entries of which another size was recorded than their messages have.
    pub sizes: u64,
    /// Folders that were made.
    pub folders_made: u64,
    /// Folders that were removed.
    pub folders_removed: u64,
    /// Folders whose listing was read.
    pub folders_read: u64,
    /// Messages that were read.
    pub messages_read: u64,
    /// What could not be looked at. Everything else was.
    pub problems: Vec<Fault>,
}

impl From<&ScanReport> for Scan {
    fn from(report: &ScanReport) -> Self {
        let ScanReport {
            new,
            moved,
            flagged,
            removed,
            undecided,
            // It is told by the commands that want something back.
            missing: _,
            folders_missing: _,
            adopted,
            sizes,
            folders_made,
            folders_removed,
            folders_read,
            messages_read,
            problems,
            // It is told as an error.
            refused: _,
        } = report;
        Self {
            new: *new,
            moved: *moved,
            flagged: *flagged,
            removed: *removed,
            undecided: *undecided,
            adopted: *adopted,
            sizes: *sizes,
            folders_made: *folders_made,
            folders_removed: *folders_removed,
            folders_read: *folders_read,
            messages_read: *messages_read,
            problems: problems.iter().map(Fault::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_rfc_3339_has_it_or_null() {
        let json = |millis: Option<u64>| serde_json::to_string(&Time::of(millis)).unwrap();
        for (millis, expected) in [
            (Some(1_795_953_600_999), "\"2026-11-29T12:00:00Z\""),
            (Some(0), "\"1970-01-01T00:00:00Z\""),
            // A year of five digits, and what no calendar has.
            (Some(253_402_300_800_000), "null"),
            (Some(u64::MAX), "null"),
            (None, "null"),
        ] {
            assert_eq!(json(millis), expected);
        }
    }
}
