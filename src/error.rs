//! The errors of the crate: what was being done, to which file, what is wrong and what to do next, on one line, with the exit
//! code that fits.

use std::fmt;
use std::path::Path;

use crate::text::printable;

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Something went wrong; nothing that was there is lost.
    Failed,
    /// The command line or the configuration doesn't make sense.
    Usage,
    /// A bundle can't be applied before another one.
    NotYet,
    /// A bundle was rejected: corrupt, truncated, of an unknown sender, for someone else, of a newer format.
    Rejected,
    /// Another mailsync works on the same replica.
    Locked,
    /// Refused, because mail could be lost by it.
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
    /// An error of this kind. `what` says what was being done, to which file, and what is wrong.
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

    /// Puts what the error is about in front of it.
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

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let advice = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => "make room on the disk that holds the state, then run this again",
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                "put the state directory back from a backup; your mail itself was not touched"
            }
            _ => "your mail and the last committed state are as they were; run this again",
        };
        Self::failed(format!("the state database: {error}")).advise(advice)
    }
}
