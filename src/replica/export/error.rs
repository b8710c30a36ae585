//! Errors while a bundle is written, in words for people.

use std::io;
use std::path::Path;

use crate::bundle::WriteError;
use crate::error::Error;

/// Why a planned bundle was not written.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// A message that is to be in it was removed or changed since it was planned: another plan can do without it.
    Overtaken(Error),
    /// Anything else.
    Failed(Error),
}

impl NotWritten {
    /// Names the file that is written.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Overtaken(error) => Self::Overtaken(error.at(path)),
            Self::Failed(error) => Self::Failed(error.at(path)),
        }
        .about(path.display())
    }

    /// Puts what it is about in front of it.
    pub(super) fn about(self, subject: impl std::fmt::Display) -> Self {
        match self {
            Self::Overtaken(error) => Self::Overtaken(error.about(subject)),
            Self::Failed(error) => Self::Failed(error.about(subject)),
        }
    }
}

impl From<Error> for NotWritten {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<WriteError> for NotWritten {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Changed { .. } => Self::Overtaken(writing(&error)),
            _ => Self::Failed(writing(&error)),
        }
    }
}

impl From<NotWritten> for Error {
    fn from(why: NotWritten) -> Self {
        match why {
            NotWritten::Overtaken(error) | NotWritten::Failed(error) => error,
        }
    }
}

/// The error for a bundle that could not be written.
pub(super) fn writing(error: &WriteError) -> Error {
    use std::error::Error as _;
    // While somebody was waited for, something else has gone wrong.
    if let WriteError::Out(source) = error
        && let Some(inner) = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
    {
        return inner.clone();
    }
    let what = match error {
        WriteError::Out(_) => String::from("writing the bundle"),
        error => format!("writing the bundle: {error}"),
    };
    let advice = match error {
        WriteError::Changed { .. } => "export again; if that fails too, run `mailsync scan --deep` first",
        WriteError::Inconsistent { .. } => {
            "nothing is lost, and nobody would have taken it; run `mailsync doctor --repair`, then export again"
        }
        WriteError::TooLarge { .. } => "see bundle-format.md for the limits",
        _ => "export again",
    };
    if let WriteError::Out(source) = error
        && source.kind() == io::ErrorKind::BrokenPipe
    {
        return Error::failed("writing the bundle: the program that was to read it has ended")
            .advise("see what it said, then export again; nothing is lost");
    }
    match error {
        WriteError::Out(source) | WriteError::Spool(source) => Error::os(what, source),
        _ => Error::failed(error.source().map_or(what.clone(), |source| format!("{what}: {source}"))),
    }
    .advise(advice)
}
