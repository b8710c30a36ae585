//! How an encrypted bundle ends, and what tells one that was cut off from one that was changed.
//!
//! age authenticates a file in pieces, and the last one may have any length. If that one doesn't hold, either a byte of it was
//! changed, or it is only the beginning of what stood there: age can't tell. Whoever carries the file must know, since one that
//! is still being copied gets better by waiting, and one that was changed doesn't. So writers put a mark behind the bundle, and it
//! is looked for in what can't be authenticated. Nothing that is found like that goes anywhere but into an error.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use age::secrecy::{ExposeSecret, SecretBox};
use age::{DecryptError, Identity};
use age_core::format::{FileKey, Stanza};
use age_core::primitives::hkdf;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use super::frame::MAGIC;
use super::otherwise::FirstBytes;
use super::{Error, section};

/// What stands behind a bundle in its age file: a skippable frame of zstd (RFC 8878, section 3.1.2), over which `zstd -d` goes on.
pub(super) const MARK: &[u8; 32] = b"\x50\x2a\x4d\x18\x18\0\0\0the end of this bundle.\n";
/// So many bytes of a mark must be as they were. By chance no more than one or two are.
const ENOUGH: usize = 24;

/// The sizes of the tag behind each piece of an age file, and of a full piece with it, in bytes (age-encryption.org/v1,
/// "Payload").
const TAG: usize = 16;
const FULL: usize = (64 << 10) + TAG;
/// The size of the nonce behind a header, in bytes.
const NONCE: usize = 16;
/// Where the key stream of `ChaCha20` begins for what is encrypted, in bytes: the block before is for the tag (RFC 8439, section
/// 2.8).
const STREAM: u64 = 64;

/// The piece of an age file that was read last, as it came.
#[derive(Default)]
pub(super) struct LastPiece {
    key: Option<SecretBox<[u8; 32]>>,
    /// How many pieces came before it.
    before: u64,
    bytes: Vec<u8>,
}

impl LastPiece {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.bytes.len() == FULL {
                self.bytes.clear();
                self.before += 1;
            }
            let (these, rest) = bytes.split_at(bytes.len().min(FULL - self.bytes.len()));
            self.bytes.extend_from_slice(these);
            bytes = rest;
        }
    }

    /// Makes the key of the file's pieces, by the key that was found in its header (age-encryption.org/v1, "Payload").
    pub(super) fn open(&mut self, file_key: &FileKey, header: &[u8]) {
        let nonce = &header[header.len().saturating_sub(NONCE)..];
        self.key = Some(SecretBox::new(Box::new(hkdf(nonce, b"payload", file_key.expose_secret()))));
    }

    /// Why this piece doesn't hold.
    pub(super) fn error(&self) -> Error {
        let last = self.not_authenticated(true);
        match find_mark(&last) {
            // A part of the tag is missing.
            Some(end) if end + TAG > last.len() => Error::Truncated,
            // The next one has only begun.
            Some(end) if end + TAG < last.len() && section::MAGIC.starts_with(&self.bytes[end + TAG..]) => {
                Error::Truncated
            }
            Some(end) if end + TAG < last.len() => {
                Error::BehindSealed { begins: FirstBytes::of(&self.bytes[end + TAG..]).without_blanks() }
            }
            Some(_) => changed(),
            None if self.bytes.len() == FULL => changed(),
            // What begins as no bundle does was opened by another nonce than it was made with.
            None if self.before == 0 && !begins(&last) && !begins(&self.not_authenticated(false)) => changed(),
            None => Error::Truncated,
        }
    }

    /// What the piece holds if nothing was changed; `last` says whether it is taken for the file's last one.
    fn not_authenticated(&self, last: bool) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(key) = &self.key {
            let mut nonce = [0; 12];
            nonce[3..11].copy_from_slice(&self.before.to_be_bytes());
            nonce[11] = u8::from(last);
            let mut cipher = ChaCha20::new(key.expose_secret().into(), &nonce.into());
            cipher.seek(STREAM);
            cipher.apply_keystream(&mut bytes);
        }
        bytes
    }
}

fn changed() -> Error {
    Error::corrupt("it was changed after it was encrypted")
}

/// Where a mark ends, of which a few bytes may have been changed.
fn find_mark(bytes: &[u8]) -> Option<usize> {
    let alike = |window: &[u8]| window.iter().zip(MARK).filter(|(one, other)| one == other).count();
    let at = bytes.windows(MARK.len()).position(|window| alike(window) >= ENOUGH)?;
    Some(at + MARK.len())
}

/// Whether bytes begin as a bundle does, as far as they go.
fn begins(bytes: &[u8]) -> bool {
    let known = bytes.len().min(MAGIC.len());
    bytes[..known] == MAGIC[..known]
}

/// An age file of which the last piece is kept as it came.
pub(super) struct Watched<R> {
    inner: R,
    /// How much of its header, with the nonce behind it, is still to come, in bytes.
    header: usize,
    last: Rc<RefCell<LastPiece>>,
}

impl<R> Watched<R> {
    /// Its header, with the nonce, has so many bytes.
    pub(super) fn new(inner: R, header: usize, last: &Rc<RefCell<LastPiece>>) -> Self {
        Self { inner, header, last: Rc::clone(last) }
    }
}

impl<R: BufRead> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let header = self.header.min(n);
        self.header -= header;
        self.last.borrow_mut().take(&buffer[header..n]);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Watched<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, many: usize) {
        // Like this only the header is read, and nothing behind the nonce.
        self.header = self.header.saturating_sub(many);
        self.inner.consume(many);
    }
}

/// One that opens age files, and keeps the key of the file that it has opened.
pub(super) struct Finding<'i> {
    identity: &'i dyn Identity,
    found: &'i RefCell<Option<FileKey>>,
}

impl<'i> Finding<'i> {
    pub(super) fn new(identity: &'i dyn Identity, found: &'i RefCell<Option<FileKey>>) -> Self {
        Self { identity, found }
    }

    fn keep(&self, opened: Option<Result<FileKey, DecryptError>>) -> Option<Result<FileKey, DecryptError>> {
        if let Some(Ok(key)) = &opened {
            self.found.replace(Some(FileKey::new(Box::new(*key.expose_secret()))));
        }
        opened
    }
}

impl Identity for Finding<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.keep(self.identity.unwrap_stanza(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        self.keep(self.identity.unwrap_stanzas(stanzas))
    }
}
