//! How a command can end.

use mailsync::error::{Error, ErrorKind};

/// Why a command doesn't end well.
pub enum Failure {
    /// This still has to be said.
    Error(Error),
    /// Everything was said already.
    Said(ErrorKind),
    /// Standard output was closed.
    BrokenPipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

pub type CommandResult = std::result::Result<(), Failure>;
