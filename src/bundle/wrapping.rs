//! Writing a bundle as it is, or into an age file.

use std::io::{self, Write};

use super::ending::MARK;
use super::{Code, PublicKey, Sealer, WriteError, limits};

/// Where a bundle is written, encrypted or not.
#[derive(Debug)]
pub enum Wrapping<W: Write> {
    /// As it is.
    Plain(W),
    /// Into an age file.
    Encrypted(Sealer<W>),
}

impl<W: Write> Wrapping<W> {
    /// Begins to encrypt for these replicas only.
    ///
    /// # Errors
    /// They are more than a reader takes, a key can't be encrypted to, or `out` fails.
    pub fn for_readers(readers: &[PublicKey], out: W) -> Result<Self, WriteError> {
        if readers.len() >= limits::ENVELOPE_STANZAS {
            let limit = limits::ENVELOPE_STANZAS as u64 - 1;
            return Err(WriteError::TooLarge { what: "the number of replicas that it is encrypted for", limit });
        }
        Sealer::new(readers, out).map(Self::Encrypted).map_err(WriteError::Out)
    }

    /// Begins to encrypt with a code, for whoever has it.
    ///
    /// # Errors
    /// `out` fails.
    pub fn with_code(code: &Code, out: W) -> Result<Self, WriteError> {
        Sealer::with_code(code, out).map(Self::Encrypted).map_err(WriteError::Out)
    }

    /// Ends the bundle, and gives `out` back, not flushed.
    pub fn finish(self) -> Result<W, WriteError> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Encrypted(mut sealer) => {
                sealer.write_all(MARK).and_then(|()| sealer.finish()).map_err(WriteError::Out)
            }
        }
    }
}

impl<W: Write> Write for Wrapping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Encrypted(sealer) => sealer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Encrypted(sealer) => sealer.flush(),
        }
    }
}
