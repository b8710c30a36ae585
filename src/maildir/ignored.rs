//! Directories below the mail root that are no folders, by their names.

use std::ffi::OsStr;
use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::model::FolderName;

/// Patterns for directories that are not looked at: nothing is known of what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored(Vec<Pattern>);

/// `*` doesn't match a `/`, and a leading dot is a character like others.
const HOW: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

impl Ignored {
    /// The directories of file systems, synchronisers and desktops that are ignored unless somebody says otherwise.
    /// `.Trash-1000` is a desktop's, while `.Trash-old` may be a folder.
    pub const USUAL: [&str; 4] = ["lost+found", ".stversions", ".Trash-[0-9]*", ".snapshots"];

    /// Takes the patterns, of which each is a shell's: `*`, `?`, `[a-z]`.
    ///
    /// # Errors
    /// One of them is no pattern; with what is wrong.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let read = |text: &String| match Pattern::new(text) {
            Ok(_) if text.trim_matches('/').is_empty() => Err(format!("the pattern {text:?} names nothing")),
            Ok(pattern) => Ok(pattern),
            Err(error) => Err(format!("the pattern {text:?}: {}", error.msg)),
        };
        patterns.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The usual ones.
    pub fn usual() -> Self {
        Self::new(&Self::USUAL.map(String::from)).expect("they are patterns")
    }

    /// Whether a directory, relative to the mail root, is ignored, or one above it: by its own name, by its path, or by
    /// the name of the folder, or one above it, that it is.
    pub fn has(&self, dir: &Path, folder: Option<&FolderName>) -> bool {
        let folders =
            folder.into_iter().flat_map(|name| (1..=name.components().count()).map(|depth| name.first(depth)));
        dir.ancestors()
            .any(|dir| self.matches(dir.as_os_str()) || dir.file_name().is_some_and(|name| self.matches(name)))
            || folders.map(|name| name.to_string()).any(|name| self.matches(OsStr::new(&name)))
    }

    fn matches(&self, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        !name.is_empty() && self.0.iter().any(|pattern| pattern.matches_with(&name, HOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_named_by_directory_or_by_folder() {
        let usual = Ignored::usual();
        let own = Ignored::new(&["Spam", "Lists/*", ".a?c", "x/.y"].map(String::from)).unwrap();
        for (ignored, dir, folder, expected) in [
            (&usual, "lost+found", Some("lost+found"), true),
            (&usual, "lost+found/a", None, true),
            (&usual, "a/.stversions", None, true),
            (&usual, ".stversions", Some("stversions"), true),
            (&usual, ".Trash-1000", None, true),
            (&usual, ".Trash-old", Some("Trash-old"), false),
            (&usual, ".Trash", Some("Trash"), false),
            (&usual, "Lost+found", None, false),
            (&usual, "", Some("INBOX"), false),
            (&own, "Spam", Some("Spam"), true),
            (&own, ".Spam", Some("Spam"), true),
            (&own, ".Spam.2019", Some("Spam/2019"), true),
            (&own, "a/Spam", Some("a/Spam"), true),
            (&own, ".Spammer", Some("Spammer"), false),
            (&own, "Lists", Some("Lists"), false),
            (&own, ".Lists.debian", Some("Lists/debian"), true),
            (&own, ".Lists.debian.org", Some("Lists/debian/org"), true),
            (&own, ".abc", Some("abc"), true),
            (&own, "x/.y", None, true),
            (&own, "z/.y", None, false),
            (&Ignored::default(), "lost+found", None, false),
        ] {
            let folder = folder.map(|name| name.parse().unwrap());
            assert_eq!(ignored.has(Path::new(dir), folder.as_ref()), expected, "{dir} {folder:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", "/", "[", "a**b", "***"] {
            assert!(Ignored::new(&[String::from(wrong)]).is_err(), "{wrong:?}");
        }
    }
}
