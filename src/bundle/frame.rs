//! The zstd frame around a bundle: exactly one, with a checksum, and a window that a reader can afford.

use std::io::{self, BufRead, Read};

use super::{Error, limits};
use crate::read::read_some;

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The magic number, the frame header's descriptor and the byte after it, which tells the window. No frame is shorter.
const OPENING: usize = 6;

/// The source of bundles. It remembers whether it failed, since an error from the decompressor doesn't tell. It gives
/// the bytes that were peeked at once more.
pub(super) struct Source<R> {
    inner: R,
    opening: [u8; OPENING],
    /// The bytes of `opening` that are still to be given.
    ahead: std::ops::Range<usize>,
    failed: bool,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, opening: [0; OPENING], ahead: 0..0, failed: false }
    }

    /// Looks at the next frame's first bytes. `false` if there are none.
    pub(super) fn peek_frame(&mut self) -> Result<bool, Error> {
        let mut length = 0;
        while length < OPENING {
            match read_some(&mut self.inner, &mut self.opening[length..]).map_err(Error::Io)? {
                0 => break,
                n => length += n,
            }
        }
        self.ahead = 0..length;
        let there = &self.opening[..length];
        if there.is_empty() {
            return Ok(false);
        }
        if !MAGIC.starts_with(&there[..length.min(MAGIC.len())]) {
            return Err(Error::NotABundle);
        }
        if length < OPENING {
            return Err(Error::Truncated);
        }
        check_descriptor(self.opening[4], self.opening[5])?;
        Ok(true)
    }
}

/// Checks the frame header's descriptor (RFC 8878, section 3.1.1.1). The decompressor takes frames without a checksum
/// and doesn't mind the bit that has no meaning.
fn check_descriptor(descriptor: u8, next: u8) -> Result<(), Error> {
    const SINGLE_SEGMENT: u8 = 0x20;
    const UNUSED: u8 = 0x18;
    const CHECKSUM: u8 = 0x04;
    const DICTIONARY: u8 = 0x03;
    if descriptor & CHECKSUM == 0 {
        return Err(Error::corrupt("the zstd frame has no checksum"));
    }
    if descriptor & (UNUSED | DICTIONARY) != 0 {
        return Err(Error::corrupt("the zstd frame's header sets bits that no bundle has"));
    }
    let (exponent, mantissa) = (u32::from(next >> 3) + 10, next & 7);
    let too_large = exponent > limits::WINDOW_LOG || (exponent == limits::WINDOW_LOG && mantissa > 0);
    if descriptor & SINGLE_SEGMENT == 0 && too_large {
        return Err(WINDOW_TOO_LARGE);
    }
    Ok(())
}

const WINDOW_TOO_LARGE: Error =
    Error::TooLarge { what: "the base-two logarithm of the zstd window", limit: limits::WINDOW_LOG as u64 };

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.ahead.is_empty() {
            return Ok(&self.opening[self.ahead.clone()]);
        }
        self.inner.fill_buf().inspect_err(|e| self.failed |= e.kind() != io::ErrorKind::Interrupted)
    }

    fn consume(&mut self, n: usize) {
        if self.ahead.is_empty() {
            self.inner.consume(n);
        } else {
            self.ahead.start += n;
        }
    }
}

/// The contents of one frame. Its errors are [`Error`]s within [`io::Error`]s. It deals with interruptions.
pub(super) struct Frame<'s, R: BufRead>(zstd::Decoder<'static, &'s mut Source<R>>);

impl<'s, R: BufRead> Frame<'s, R> {
    /// Begins to read the frame that was peeked at.
    pub(super) fn open(source: &'s mut Source<R>) -> Result<Self, Error> {
        let mut decoder = zstd::Decoder::with_buffer(source).map_err(Error::Io)?.single_frame();
        decoder.window_log_max(limits::WINDOW_LOG).map_err(Error::Io)?;
        Ok(Self(decoder))
    }

    fn explain(&self, error: io::Error) -> Error {
        match error.kind() {
            _ if self.0.get_ref().failed => Error::Io(error),
            io::ErrorKind::UnexpectedEof => Error::Truncated,
            _ if error.to_string().contains("too much memory") => WINDOW_TOO_LARGE,
            _ => Error::corrupt(format!("zstd: {error}")),
        }
    }
}

impl<R: BufRead> Read for Frame<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_some(&mut self.0, buffer).map_err(|error| self.explain(error).into())
    }
}
