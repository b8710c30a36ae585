//! The errors of reading a bundle, and of writing one.

use std::borrow::Cow;
use std::io;

use super::ReplicaId;
use super::otherwise::FirstBytes;
use crate::model::Digest;

/// A fault in a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not in OpenSSH's format, or can't be used.
    #[error("not a usable OpenSSH key")]
    Unusable(#[source] ssh_key::Error),
    /// It is of another kind.
    #[error("the key is {found}, and must be ssh-ed25519")]
    NotEd25519 {
        /// The kind that it is.
        found: String,
    },
    /// It is locked by a passphrase.
    #[error("the key is locked by a passphrase")]
    Encrypted,
    /// It is locked by another passphrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
}

/// An error shows at most so many characters of a text from a bundle.
pub(super) const SHOWN: usize = 300;

/// The reason why a bundle can't be read. The messages say what is wrong. The caller says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed; the bundle itself may be good.
    #[error("the bundle could not be read")]
    Io(#[source] io::Error),
    /// The place where the contents were to go failed; the bundle itself may be good.
    #[error("the contents of the bundle could not be written")]
    Sink(#[source] io::Error),
    /// There is nothing at all.
    #[error("nothing there: the input is empty")]
    Empty,
    /// It doesn't begin as a bundle does.
    #[error("not a bundle{}", begins.as_ref().map_or_else(String::new, |begins| format!(": what came begins with {}", begins.quoted())))]
    NotABundle {
        /// Its first bytes, where nothing else says what it is. Without them it is compressed as a bundle is, and holds
        /// something else.
        begins: Option<FirstBytes>,
    },
    /// What stands behind a bundle doesn't begin as one does. The bundles before it have nothing to do with that.
    #[error("what stands behind the bundle is no other one{}", begins.as_ref().map_or_else(String::new, |begins| format!(": it begins with {}", begins.quoted())))]
    Behind {
        /// Its first bytes, where nothing else says what it is.
        begins: Option<FirstBytes>,
    },
    /// What stands behind an encrypted bundle is not encrypted. Where that one ends is found only by a mark in it, so it
    /// may as well have been changed.
    #[error("what stands behind the bundle isn't encrypted, or the bundle was changed at its end: it begins with {}", begins.quoted())]
    BehindSealed {
        /// Its first bytes.
        begins: FirstBytes,
    },
    /// It ends before its end.
    #[error("the bundle is cut off")]
    Truncated,
    /// It is encrypted, and no key that was given opens it.
    #[error("the bundle is encrypted for others")]
    Sealed,
    /// It is encrypted with a code, and none was given.
    #[error("the bundle is encrypted with a code, as an invitation is")]
    Locked,
    /// It is encrypted with another code than the one that was given. It looks like that, too, if it was changed where the
    /// code is checked.
    #[error("the code doesn't open the bundle")]
    WrongCode,
    /// It contradicts itself or the format.
    #[error("the bundle is corrupt: {what}")]
    Corrupt {
        /// Where, and what is wrong there.
        what: Cow<'static, str>,
    },
    /// It is whole, and its sender has signed it, but it says something that can't be true.
    #[error("the bundle says what can't be true: {what}")]
    Untrue {
        /// Where, and what it says.
        what: String,
    },
    /// It follows a version of the format, or uses a feature, that came after this reader.
    #[error("the bundle needs a newer mailsync: it uses {what}")]
    NewerFormat {
        /// The version or the feature.
        what: String,
    },
    /// The signature doesn't hold.
    #[error("the bundle's signature is wrong: {why}")]
    BadSignature {
        /// The fault in it.
        why: Cow<'static, str>,
    },
    /// It was checked against one replica's key, but another replica has signed it or says that it made it.
    #[error("the bundle is from {found}, not from {expected}")]
    WrongSigner {
        /// The replica whose key it was checked against.
        expected: ReplicaId,
        /// The replica that it names.
        found: ReplicaId,
    },
    /// Something in it is above a fixed limit.
    #[error("the bundle is too large for a reader: {what} is above {limit}")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// The limit, in the unit of what it limits; see [`super::limits`].
        limit: u64,
    },
}

impl Error {
    pub(crate) fn untrue(what: impl Into<String>) -> Self {
        Self::Untrue { what: what.into() }
    }

    /// Whether it is encrypted, and not for whoever reads it. Nothing else is known to be wrong with it, and others may
    /// follow it.
    pub fn is_for_others(&self) -> bool {
        matches!(self, Self::Sealed | Self::Locked | Self::WrongCode)
    }

    /// Whether it is encrypted with a code that wasn't given.
    pub fn is_for_a_code(&self) -> bool {
        matches!(self, Self::Locked | Self::WrongCode)
    }

    /// The same error of what stands behind a bundle: that it is none is no fault in the one before it.
    #[must_use]
    pub(super) fn behind_one(self) -> Self {
        match self {
            Self::NotABundle { begins } => Self::Behind { begins: begins.map(|begins| begins.without_blanks()) },
            other => other,
        }
    }

    pub(super) fn corrupt(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// An error of the format can pass unchanged through [`io::Read`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(e) | Error::Sink(e) => e.kind(),
            Error::Truncated => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// The way back. An error of the format comes out as it went in; any other is an error of the source.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}

/// The reason why a bundle can't be written. The bytes written so far are no bundle.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The place where the bundle was to go failed.
    #[error("the bundle could not be written")]
    Out(#[source] io::Error),
    /// The temporary file for records failed.
    #[error("the temporary file for the bundle's entries failed")]
    Spool(#[source] io::Error),
    /// A message could not be read.
    #[error("message {digest} could not be read")]
    Message {
        /// The message.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A message's file was changed: it doesn't have the size or the digest that it should have.
    #[error("message {digest} has other contents than before")]
    Changed {
        /// The message.
        digest: Digest,
    },
    /// The bundle would contradict itself; a reader would refuse it.
    #[error("the bundle would contradict itself: {what}")]
    Inconsistent {
        /// The contradiction.
        what: Cow<'static, str>,
    },
    /// Something is above a limit that every reader keeps.
    #[error("too large for a bundle: {what} is above {limit}")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// The limit, in the unit of what it limits; see [`super::limits`].
        limit: u64,
    },
    /// The key can't sign.
    #[error("the bundle could not be signed")]
    Sign(#[from] KeyError),
}

impl WriteError {
    pub(super) fn inconsistent(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Inconsistent { what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_format_survives_the_way_through_a_reader() {
        let through = Error::from(io::Error::from(Error::Truncated));
        assert!(matches!(through, Error::Truncated));
        let other = Error::from(io::Error::other("disk on fire"));
        assert!(matches!(other, Error::Io(_)));
    }
}
