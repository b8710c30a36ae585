//! Errors while a bundle is written, in words for people.

use std::io;

use crate::bundle::WriteError;
use crate::error::Error;

/// The error for a bundle that could not be written.
pub(super) fn writing(error: &WriteError) -> Error {
    use std::error::Error as _;
    let mut what = format!("writing the bundle: {error}");
    if let Some(source) = error.source() {
        what = format!("{what}: {source}");
    }
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
    Error::failed(what).advise(advice)
}
