//! The errors of the crate: what was being done, to which file, what is wrong and what to do next, on one line, with
//! the exit code that fits.
//!
//! The rules that every message follows:
//!
//! - It is one line: what was being done, to which file or bundle, what is wrong. "reading /home/me/Mail: Permission
//!   denied".
//! - Behind a semicolon it says what to do next, as an imperative. A command in it can be typed as it stands.
//! - It says whose fault it is, and what is safe, wherever a reader must wonder. It calls a bundle corrupt only if the
//!   bundle is; a full disk here is not the bundle's fault. It says "nothing is lost" where somebody could fear a loss.
//! - It begins in lower case and ends without a full stop; the words are those of the README, not those of the code.
//! - Text from elsewhere (names, bundles, jobs, the output of programs) is made printable, and cut where it may be
//!   long.
//! - The cause is told in the words of its source, such as the operating system. It becomes text once, here.
//! - The kind says what a script may do about it: wait, ask a person, or give up. When in doubt it is a failure.
//! - If there are several failures, each is told. The worst decides the exit code.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::text::printable;

/// The kind of failure of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Something went wrong; nothing that was there is lost.
    Failed,
    /// The command line or the configuration doesn't make sense.
    Usage,
    /// A bundle can't be applied before another one.
    NotYet,
    /// A bundle was rejected: it is corrupt or truncated, from an unknown sender, for someone else, or in a newer
    /// format.
    Rejected,
    /// Another mailsync works on the same replica.
    Locked,
    /// Something was refused, because mail could be lost by it.
    Refused,
}

impl ErrorKind {
    /// The exit code of a command that ends this way.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotYet => 3,
            Self::Rejected => 4,
            Self::Locked => 5,
            Self::Refused => 6,
        }
    }
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    advice: Option<String>,
}

/// The result of the crate's verbs.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error of this kind. `what` says what was being done, to which file, and what is wrong.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: printable(&what.into()), advice: None }
    }

    /// A failure.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, what)
    }

    /// A refusal for safety.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, what)
    }

    /// A mistake in the command line or the configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what)
    }

    /// A bundle that is not accepted.
    pub fn rejected(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, what)
    }

    /// A failed file operation: `doing` is a participle, such as "reading".
    pub fn io(doing: &str, path: &Path, error: impl fmt::Display) -> Self {
        Self::failed(format!("{doing} {}: {error}", path.display()))
    }

    /// Adds what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(printable(&advice.into()));
        self
    }

    /// Puts a subject and a colon in front of the message.
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.what = printable(&format!("{subject}: {}", self.what));
        self
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// In JSON an error is the line that people are told.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
