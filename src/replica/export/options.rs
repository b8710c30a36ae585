//! What to export and how, and what was exported.

use crate::bundle::{BundleKind, Counts};
use crate::text::plural;

/// Whom a bundle is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The only peer; with several, anyone.
    Whoever,
    /// This peer, or this replica that was invited.
    Peer(String),
}

/// From where a bundle starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fullness {
    /// From what the recipient has shown to have.
    #[default]
    SinceShown,
    /// From what the last bundle that was written for it held: for links on which no answer ever comes.
    SinceLast,
    /// From nothing.
    Full,
}

/// Whether a bundle holds messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageContents {
    /// Those that the recipient may not have.
    #[default]
    Included,
    /// None: the recipient has the mail from elsewhere, and asks for what turns out to be missing.
    LeftOut,
}

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// For whom.
    pub to: To,
    /// From where it starts.
    pub fullness: Fullness,
    /// Whether it holds messages.
    pub contents: MessageContents,
    /// zstd's compression level.
    pub level: i32,
    /// No bundle is to be larger than so many bytes, unless a single message is: what doesn't fit goes into further ones.
    pub split: Option<u64>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            to: To::Whoever,
            fullness: Fullness::default(),
            contents: MessageContents::default(),
            level: Self::LEVEL,
            split: None,
        }
    }
}

impl ExportOptions {
    /// The compression level unless another is asked for.
    pub const LEVEL: i32 = 3;

    /// A bundle for this peer, from what it has shown to have.
    pub fn to_peer(name: &str) -> Self {
        Self { to: To::Peer(name.to_owned()), ..Self::default() }
    }
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The bundle's number.
    pub number: u64,
    /// The name of the peer that it is for, unless it is for anyone.
    pub to: Option<String>,
    /// From where it starts.
    pub kind: BundleKind,
    /// How much it holds.
    pub counts: Counts,
    /// The sizes of the messages in it, added up: bytes.
    pub bytes: u64,
}

impl std::fmt::Display for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            BundleKind::Full => "full",
            BundleKind::Delta => "delta",
        };
        write!(
            f,
            "bundle {} for {} ({kind}): {}, {}, {}",
            self.number,
            self.to.as_deref().unwrap_or("anyone"),
            plural(self.counts.entries, "entry"),
            plural(self.counts.messages, "message"),
            plural(self.bytes, "byte")
        )?;
        match self.counts.jobs {
            0 => Ok(()),
            lines => write!(f, ", {} about jobs", plural(lines, "statement")),
        }
    }
}
