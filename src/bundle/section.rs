//! Where age files begin and end in a stream of bundles. An age file doesn't tell its length: it ends where the next one
//! begins, or with the stream.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use memchr::memmem;

use super::{Error, limits};
use crate::read::{buffered, read_some};

/// The first line of an age file (age-encryption.org/v1, "Header"). No byte of it is like its first one: a part of it
/// that turns out not to be all of it has no other beginning within.
pub(super) const MAGIC: &[u8; 22] = b"age-encryption.org/v1\n";

/// The size of the nonce behind an age file's header, in bytes.
const NONCE: usize = 16;

/// A source of which the next few bytes can be looked at, wherever the ends of its buffer lie.
pub(super) struct Ahead<R> {
    inner: R,
    bytes: [u8; MAGIC.len()],
    /// Those of `bytes` that were taken from `inner`, and are still to be given.
    there: Range<usize>,
    /// Whether `inner` has failed.
    pub(super) failed: bool,
}

impl<R: BufRead> Ahead<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, bytes: [0; MAGIC.len()], there: 0..0, failed: false }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// The bytes that were taken from the source and not given yet.
    pub(super) fn taken(&self) -> &[u8] {
        &self.bytes[self.there.clone()]
    }

    /// Looks at the next bytes: so many, or fewer at the end.
    fn look(&mut self, many: usize) -> io::Result<&[u8]> {
        if self.there.len() < many {
            self.bytes.copy_within(self.there.clone(), 0);
            self.there = 0..self.there.len();
            while self.there.len() < many {
                let read = read_some(&mut self.inner, &mut self.bytes[self.there.end..many]);
                match read.inspect_err(|_| self.failed = true)? {
                    0 => break,
                    n => self.there.end += n,
                }
            }
        }
        Ok(&self.bytes[self.there.start..(self.there.start + many).min(self.there.end)])
    }

    /// Whether an age file begins here.
    ///
    /// # Errors
    /// The source ends within its first line.
    pub(super) fn is_at_age_file(&mut self) -> Result<bool, Error> {
        // What tells itself from one by the bytes that are there stays as it came, and nobody waits for more of it.
        let known = buffered(self).map_err(Error::Io)?.min(MAGIC.len());
        if known == 0 || self.fill_buf().map_err(Error::Io)?[..known] != MAGIC[..known] {
            return Ok(false);
        }
        let there = self.look(MAGIC.len()).map_err(Error::Io)?;
        match there.len() == MAGIC.len() {
            true => Ok(there == MAGIC),
            false if MAGIC.starts_with(there) => Err(Error::Truncated),
            false => Ok(false),
        }
    }

    /// Reads the header of the age file that begins here, and the nonce behind it.
    ///
    /// # Errors
    /// It is cut off, larger than a header may be, or no text.
    pub(super) fn header(&mut self) -> Result<Vec<u8>, Error> {
        let mut header = Vec::new();
        loop {
            let line = header.len();
            // `read_until` deals with interruptions.
            let most = limits::ENVELOPE_HEADER_BYTES - line as u64;
            self.by_ref().take(most).read_until(b'\n', &mut header).map_err(Error::Io)?;
            // A header is text (age-encryption.org/v1, "Header"). Where it isn't, its end was changed, and not cut off.
            if !header[line..].iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
                return Err(Error::corrupt("its encryption: the header is no text"));
            }
            if header.last() != Some(&b'\n') || header.len() == line {
                let full = header.len() as u64 == limits::ENVELOPE_HEADER_BYTES;
                return Err(if full { TOO_LARGE } else { Error::Truncated });
            }
            // The line that ends the header begins like this.
            if header[line..].starts_with(b"--- ") {
                break;
            }
        }
        let end = header.len();
        header.resize(end + NONCE, 0);
        let mut come = end;
        while come < header.len() {
            match self.read_within(&mut header[come..]).map_err(Error::Io)? {
                0 => return Err(Error::Truncated),
                n => come += n,
            }
        }
        Ok(header)
    }

    /// How many of the bytes that are there belong to the age file within which the source is. 0 at its end.
    pub(super) fn within(&mut self) -> io::Result<usize> {
        if buffered(self)? == 0 {
            return Ok(0);
        }
        let before = before_magic(self.fill_buf()?);
        if before > 0 {
            return Ok(before);
        }
        Ok(usize::from(self.look(MAGIC.len())? != MAGIC))
    }

    /// Reads bytes of the age file within which the source is. 0 at its end.
    pub(super) fn read_within(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let many = self.within()?.min(buffer.len());
        // Asked once more at its end, the source could be interrupted for ever.
        if many == 0 {
            return Ok(0);
        }
        buffer[..many].copy_from_slice(&self.fill_buf()?[..many]);
        self.consume(many);
        Ok(many)
    }

    /// Goes on to the end of the age file within which the source is, over `most` bytes at most.
    pub(super) fn pass_over(&mut self, most: u64) -> Result<(), Error> {
        let mut passed = 0_u64;
        loop {
            let many = self.within().map_err(Error::Io)?;
            if many == 0 {
                return Ok(());
            }
            self.consume(many);
            passed = passed.saturating_add(many as u64);
            if passed > most {
                return Err(Error::corrupt("it is much longer than what it can hold by its manifest"));
            }
        }
    }
}

/// A header of an encrypted bundle that is larger than one may be.
const TOO_LARGE: Error = Error::TooLarge { what: "the header of the encryption", limit: limits::ENVELOPE_HEADER_BYTES };

/// How many bytes stand before the first place where an age file begins, or may begin if more bytes come.
fn before_magic(bytes: &[u8]) -> usize {
    if let Some(at) = memmem::find(bytes, MAGIC) {
        return at;
    }
    let tail = bytes.len().saturating_sub(MAGIC.len() - 1);
    let begins = |at: &usize| MAGIC.starts_with(&bytes[*at..]);
    (tail..bytes.len()).find(begins).unwrap_or(bytes.len())
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.there.is_empty() {
            self.inner.fill_buf().inspect_err(|error| self.failed |= error.kind() != io::ErrorKind::Interrupted)
        } else {
            Ok(&self.bytes[self.there.clone()])
        }
    }

    fn consume(&mut self, many: usize) {
        if self.there.is_empty() {
            self.inner.consume(many);
        } else {
            self.there.start += many;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all age files of a source, one after the other, with a buffer of so many bytes.
    fn files(bytes: &[u8], buffer: usize) -> Vec<Vec<u8>> {
        let mut source = Ahead::new(io::BufReader::with_capacity(buffer, bytes));
        let mut files = Vec::new();
        while source.is_at_age_file().unwrap() {
            let mut file = MAGIC.to_vec();
            source.look(MAGIC.len()).unwrap();
            source.consume(MAGIC.len());
            let mut chunk = [0; 7];
            loop {
                match source.read_within(&mut chunk).unwrap() {
                    0 => break,
                    n => file.extend_from_slice(&chunk[..n]),
                }
            }
            files.push(file);
        }
        files
    }

    #[test]
    fn an_age_file_ends_where_the_next_one_begins_wherever_the_ends_of_buffers_lie() {
        assert!(!MAGIC[1..].contains(&MAGIC[0]));
        let table: [&[&[u8]]; 6] = [
            &[b""],
            &[b"some bytes"],
            &[b"", b"", b"x"],
            &[b"one", b"two and more", b"three"],
            // What only begins like one.
            &[b"age-age-encryption.org/v2\nage-encryption.org/v1", b"aaage-encryption.org/v", b"age-encryp"],
            &[&[b'a'; 100], b"-encryption.org/v1\n"],
        ];
        for bodies in table {
            let all: Vec<Vec<u8>> = bodies.iter().map(|body| [&MAGIC[..], body].concat()).collect();
            for buffer in 1..60 {
                assert_eq!(files(&all.concat(), buffer), all, "{bodies:?} with a buffer of {buffer}");
            }
        }
    }
}
