//! Options for an export, and the report about it.

use crate::bundle::{BundleKind, Counts};
use crate::error::Result;
use crate::model::Digest;
use crate::replica::news::{BundleNews, Telling};
use crate::text::{are, bytes, plural};

/// The recipient that a bundle is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The only peer; if there are several, anyone.
    Whoever,
    /// This peer, or this replica that was invited.
    Peer(String),
}

/// The point from which a bundle starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fullness {
    /// It starts from what the recipient has shown to have.
    #[default]
    SinceShown,
    /// It starts from the last bundle that was written for the recipient. For links on which no answer ever comes.
    SinceLast,
    /// It starts from nothing.
    Full,
}

/// Whether a bundle holds messages' contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageContents {
    /// It holds all that the recipient may not have.
    #[default]
    Included,
    /// It holds none. The recipient has the mail from elsewhere, and will ask for messages that turn out to be missing.
    LeftOut,
}

/// Whether a bundle is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// It is, for its recipient and for this replica; one for anyone, for all peers and this replica.
    Encrypted,
    /// It is not: whoever gets it can read it.
    Plain,
}

/// What becomes of a file that has the name of a bundle that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the bundle isn't written. A file that holds nothing is replaced, and so is what a command has left that was
    /// killed before it had recorded what it wrote.
    #[default]
    Stays,
    /// It is replaced, whatever it is.
    Replaced,
}

/// Options for an export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The recipient.
    pub to: To,
    /// The point from which it starts.
    pub fullness: Fullness,
    /// Whether it holds messages' contents.
    pub contents: MessageContents,
    /// zstd's compression level.
    pub level: i32,
    /// No bundle is to be larger than so many bytes, unless a single message is. The rest goes into further bundles.
    pub split: Option<u64>,
    /// Whether it is encrypted; if not given, the configuration decides.
    pub secrecy: Option<Secrecy>,
    /// How much is to be told of what it holds.
    pub telling: Telling,
    /// What becomes of a file that is there already. In a directory none is ever replaced.
    pub existing: Existing,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            to: To::Whoever,
            fullness: Fullness::default(),
            contents: MessageContents::default(),
            level: Self::LEVEL,
            split: None,
            secrecy: None,
            telling: Telling::Nothing,
            existing: Existing::default(),
        }
    }
}

impl ExportOptions {
    /// The default compression level.
    pub const LEVEL: i32 = 3;

    /// Options for a bundle to this peer that starts from what it has shown to have.
    pub fn to_peer(name: &str) -> Self {
        Self { to: To::Peer(name.to_owned()), ..Self::default() }
    }
}

/// Who can read a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadableBy {
    /// Whoever has it: it is not encrypted.
    Anybody,
    /// It is encrypted for the peers of these names, and for this replica.
    Peers(Vec<String>),
    /// It is encrypted with a code, for whoever has that.
    CodeHolders,
}

impl ReadableBy {
    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        *self != Self::Anybody
    }
}

/// Messages that could not be read, and so are not in a bundle that promises them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The messages, and the attachments of jobs.
    pub digests: Vec<Digest>,
    /// How many of them are attachments of jobs.
    pub attachments: u64,
    /// The sizes that the manifest counts for them, added up: bytes.
    pub bytes: u64,
}

/// A bundle that was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The bundle's number.
    pub number: u64,
    /// The name of the peer that it is for, unless it is for anyone.
    pub to: Option<String>,
    /// The point from which it starts.
    pub kind: BundleKind,
    /// How much its manifest promises.
    pub counts: Counts,
    /// How many of its messages are attachments of jobs.
    pub attachments: u64,
    /// The sizes of the messages that it promises, added up: bytes.
    pub bytes: u64,
    /// The size of its file, or of what was written to a stream: bytes. It is known when it is written.
    pub file_bytes: Option<u64>,
    /// Who can read it.
    pub readable: ReadableBy,
    /// What of that it lacks, as it says itself; of one that isn't written, what it would lack.
    pub missing: Unread,
    /// What it tells of messages, as far as that was asked for. Of the parts of a bundle the first one tells it.
    pub news: BundleNews,
}

impl Exported {
    /// Whether it holds more than what its sender knows.
    pub fn holds_anything(&self) -> bool {
        self.counts != Counts::default()
    }

    /// How many messages are in it, attachments of jobs among them.
    pub fn messages_in_it(&self) -> u64 {
        self.counts.messages.saturating_sub(self.missing.digests.len() as u64)
    }

    /// How many of these are attachments of jobs.
    pub fn attachments_in_it(&self) -> u64 {
        self.attachments.saturating_sub(self.missing.attachments)
    }

    /// The sizes of these messages, added up: bytes.
    pub fn bytes_in_it(&self) -> u64 {
        self.bytes.saturating_sub(self.missing.bytes)
    }

    /// Marks what the bundles lack in what they tell of messages: the first one tells it for all.
    pub(super) fn mark_missing(bundles: &[Self]) -> Result<()> {
        let missing = bundles.iter().flat_map(|bundle| &bundle.missing.digests);
        bundles.first().map_or(Ok(()), |first| first.news.lack(missing))
    }

    /// How many messages are in it, how many attachments of jobs, and how large all of them are, for people.
    pub fn contents_in_words(&self) -> String {
        let attachments = self.attachments_in_it();
        let messages = plural(self.messages_in_it().saturating_sub(attachments), "message");
        let size = bytes(self.bytes_in_it());
        match attachments {
            0 => format!("{messages} of {size}"),
            attachments => format!("{messages} and {} of jobs of {size}", plural(attachments, "attachment")),
        }
    }
}

impl std::fmt::Display for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            BundleKind::Full => "full",
            BundleKind::Delta => "delta",
        };
        write!(
            f,
            "bundle {} for {} ({kind}): {}, {}",
            self.number,
            self.to.as_deref().unwrap_or("anyone"),
            plural(self.counts.entries, "entry"),
            self.contents_in_words()
        )?;
        match self.counts.jobs {
            0 => {}
            lines => write!(f, ", {} about jobs", plural(lines, "statement"))?,
        }
        match self.counts.replicas {
            0 => {}
            lines => write!(f, ", {} about replicas", plural(lines, "statement"))?,
        }
        if let Some(size) = self.file_bytes {
            write!(f, "; {} in all", bytes(size))?;
        }
        match (self.missing.digests.len() as u64, self.file_bytes) {
            (0, _) => {}
            (missing, Some(_)) => {
                let are = are(missing);
                write!(f, "; {} could not be read, and {are} not in it", plural(missing, "message"))?;
            }
            (missing, None) => write!(f, "; {} can't be read, and would not be in it", plural(missing, "message"))?,
        }
        match &self.readable {
            ReadableBy::Anybody => f.write_str("; not encrypted"),
            ReadableBy::Peers(names) if names.is_empty() => f.write_str("; encrypted for this replica alone"),
            ReadableBy::Peers(names) => write!(f, "; encrypted for {} and this replica", names.join(", ")),
            ReadableBy::CodeHolders => f.write_str("; encrypted with the code"),
        }
    }
}
