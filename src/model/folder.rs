//! Folders: their canonical names, and whether they exist.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Stamp;
use super::text::{ParseError, serde_as_text};

/// A folder's canonical name: UTF-8 components separated by `/`, whatever the layout on disk.
///
/// At most [`FolderName::MAX_BYTES`] long; no component is empty, `.` or `..`; no NUL anywhere. The layout decides how
/// a name becomes a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderName(Arc<str>);

impl FolderName {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1024;

    /// The folder into which new mail is delivered; it always exists.
    pub fn inbox() -> Self {
        Self(Arc::from("INBOX"))
    }

    /// Whether this is the folder into which new mail is delivered.
    pub fn is_inbox(&self) -> bool {
        self.as_str() == "INBOX"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes, at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The folder that has the first so many components as its name, or all if there are no more.
    #[must_use]
    pub fn first(&self, components: usize) -> Self {
        let end = self.0.match_indices('/').nth(components.max(1) - 1).map_or(self.0.len(), |(at, _)| at);
        Self(Arc::from(&self.0[..end]))
    }
}

impl FromStr for FolderName {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |why: &str| Err(ParseError::new("folder name", format!("{text:?}: {why}")));
        if text.len() > Self::MAX_BYTES {
            return Err(ParseError::new("folder name", format!("longer than {} bytes", Self::MAX_BYTES)));
        }
        if text.contains('\0') {
            return wrong("a NUL character");
        }
        for component in text.split('/') {
            match component {
                "" => return wrong("an empty component"),
                "." | ".." => return wrong("a component that is \".\" or \"..\""),
                _ => {}
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(FolderName);

/// Whether a folder exists: a last-writer-wins register. It is never purged, as a mailbox has few folders, so the
/// horizon needn't cover it. A folder that holds a living entry exists, whatever its register says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderState {
    /// When the folder was made or removed.
    pub stamp: Stamp,
    /// Whether it was made.
    pub present: bool,
}

impl FolderState {
    /// The later of the two registers. If their stamps are equal, the one that says that the folder exists.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.max(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_name_that_could_leave_the_mail_root_is_refused() {
        for wrong in ["", "/", "/etc", "a/", "a//b", ".", "..", "../x", "a/../b", "a\0b", &"x".repeat(1025)] {
            assert!(wrong.parse::<FolderName>().is_err(), "{wrong:?}");
        }
        for right in ["INBOX", "Archive/2019", "a.b", "...", ".x", "Entwürfe", "a b/c\nd"] {
            assert_eq!(right.parse::<FolderName>().unwrap().as_str(), right);
        }
    }
}
