//! The files of a directory that are encrypted with a code, as the parts of an invitation are. Of a file that can't be opened
//! nobody can tell whose invitation it is. So it is for others, as long as nothing is missing here.

use std::path::{Path, PathBuf};

use super::outcome::{ImportOutcome, Imported};
use crate::bundle;
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::text::{are, plural};

/// The files of a directory that are encrypted with a code, and that could not be opened.
#[derive(Debug, Default)]
pub(super) struct Coded {
    first: Option<PathBuf>,
    files: u64,
    /// Whether a code was given, which doesn't open them.
    was_given: bool,
}

impl Coded {
    pub fn add(&mut self, path: PathBuf, error: &bundle::Error) {
        self.first.get_or_insert(path);
        self.files += 1;
        self.was_given |= matches!(error, bundle::Error::WrongCode);
    }

    /// What is said of them where nothing is for this replica.
    pub fn words(&self) -> String {
        if self.files == 0 {
            return String::new();
        }
        let with = if self.was_given {
            "another code than the one that was given"
        } else {
            "a code, as an invitation is: `mailsync join MAILROOT BUNDLE` makes a new replica from one, and `mailsync import` takes \
             its later parts with --code-file FILE"
        };
        format!("; {} there {} encrypted with {with}", plural(self.files, "file"), are(self.files))
    }

    fn error(&self, first: &Path) -> Error {
        let (what, others) = match self.files - 1 {
            0 => ("this file is", String::new()),
            others => ("this file", format!(" and {} beside it are", plural(others, "other"))),
        };
        let missing = "messages are missing here that may be in it";
        let error = if self.was_given {
            Error::rejected(format!(
                "{what}{others} encrypted with another code than the one that was given, and {missing}"
            ))
            .advise("give the words that `mailsync invite` has shown for the invitation by which this replica was made")
        } else {
            Error::rejected(format!("{what}{others} encrypted with a code, as an invitation is, and {missing}")).advise(
                "give the code of the invitation by which this replica was made, with --code-file FILE or in MAILSYNC_CODE",
            )
        };
        error.about(first.display())
    }
}

impl Replica {
    /// What is told of files that need a code, if they may hold what is missing here.
    pub(super) fn wanted_by_code(&self, coded: &Coded) -> Result<Option<Imported>> {
        let Some(first) = &coded.first else { return Ok(None) };
        if self.state.missing_digests(1)?.is_empty() {
            return Ok(None);
        }
        let outcome = ImportOutcome::ForSomeoneElse(coded.error(first));
        Ok(Some(Imported { outcome, ..Imported::unknown(Some(first)) }))
    }
}
