//! How much a bundle brings.

use serde::{Deserialize, Serialize};

/// How much a command adds, or how much there was before it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders.
    pub folders: u64,
    /// What is remembered of removed messages that were not known here.
    pub tombstones: u64,
    /// Incarnations that have told nothing here themselves.
    pub incarnations: u64,
    /// Registers of flags.
    pub flags: u64,
    /// Bytes of the keywords among the flags.
    pub keyword_bytes: u64,
}

impl Amount {
    /// What the first bundle of a peer may not bring as much of as it likes: what no honest one has much of, such as
    /// folders that were removed.
    #[must_use]
    pub fn beside_mail(self, folders: u64) -> Self {
        Self {
            folders,
            incarnations: self.incarnations,
            flags: self.flags,
            keyword_bytes: self.keyword_bytes,
            ..Self::default()
        }
    }

    /// How many flags, and how many bytes of keywords, are in proportion to so many messages.
    pub fn flags_for(messages: u64) -> (u64, u64) {
        (messages.saturating_mul(8), messages.saturating_mul(64))
    }
}

impl std::ops::Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            bytes: self.bytes.saturating_add(other.bytes),
            folders: self.folders.saturating_add(other.folders),
            tombstones: self.tombstones.saturating_add(other.tombstones),
            incarnations: self.incarnations.saturating_add(other.incarnations),
            flags: self.flags.saturating_add(other.flags),
            keyword_bytes: self.keyword_bytes.saturating_add(other.keyword_bytes),
        }
    }
}
