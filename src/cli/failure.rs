//! How a command can end.

use mailsync::error::{Error, ErrorKind};

use super::document::Shown;

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

/// A command that ends well has shown its result, as text or as a document.
pub type CommandResult = std::result::Result<Shown, Failure>;

/// What may still go wrong when all else was done.
pub type Ending = std::result::Result<(), Failure>;
