//! The zstd frame around a bundle: exactly one, with a checksum, and a window that a reader can afford.

use std::io::{self, BufRead, Read};

use super::otherwise::{FirstBytes, SHOWN};
use super::{Error, limits};
use crate::read::read_some;

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The magic number, the frame header's descriptor and the byte after it, which tells the window. No frame is shorter.
pub(super) const OPENING: usize = 6;

/// How many bytes a frame's header has behind its magic number, by its first byte (RFC 8878, section 3.1.1.1).
pub(super) fn header_size(descriptor: u8) -> u64 {
    let single_segment = descriptor & 0x20 != 0;
    let window = u64::from(!single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = match descriptor >> 6 {
        0 => u64::from(single_segment),
        flag => 1 << flag,
    };
    1 + window + dictionary + content_size
}

/// The size of the checksum behind a frame's blocks, by the first byte of its header.
pub(super) fn checksum_size(descriptor: u8) -> u64 {
    if descriptor & 0x04 == 0 { 0 } else { 4 }
}

/// What a block's header says (RFC 8878, section 3.1.1.2): how many bytes follow it, and whether it is the last one.
pub(super) fn block([low, middle, high]: [u8; 3]) -> Result<(u64, bool), Error> {
    let header = u32::from_le_bytes([low, middle, high, 0]);
    let size = match header >> 1 & 3 {
        // One byte, repeated.
        1 => 1,
        3 => return Err(Error::corrupt("zstd: a block of a kind that is not in use")),
        _ => u64::from(header >> 3),
    };
    Ok((size, header & 1 == 1))
}

/// Where in a frame the bytes are that come next: what makes it possible to pass over a frame without decompressing it.
#[derive(Clone, Copy)]
enum Within {
    /// In its header, or in a block: so many bytes are left of that.
    Body { left: u64, last: bool },
    /// In the header of a block, of which so many bytes have come.
    Block { header: [u8; 3], come: usize },
    /// Behind the last block.
    Checksum { left: u64 },
}

/// Follows the bytes of a frame from its first byte on.
struct Position {
    within: Within,
    checksum: u64,
}

impl Position {
    /// At the magic number of a frame with this descriptor.
    fn at_start(descriptor: u8) -> Self {
        let left = MAGIC.len() as u64 + header_size(descriptor);
        Self { within: Within::Body { left, last: false }, checksum: checksum_size(descriptor) }
    }

    /// How many bytes can be passed over at once. None at the frame's end.
    fn wanted(&self) -> u64 {
        match self.within {
            Within::Body { left, .. } | Within::Checksum { left } => left,
            Within::Block { come, .. } => 3 - come as u64,
        }
    }

    /// These bytes come next: as many as are wanted, or fewer.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let passed = bytes.len() as u64;
        self.within = match self.within {
            Within::Body { left, last } => Self::behind(left - passed, last, self.checksum),
            Within::Checksum { left } => Within::Checksum { left: left - passed },
            Within::Block { mut header, come } => {
                header[come..come + bytes.len()].copy_from_slice(bytes);
                let come = come + bytes.len();
                if come < header.len() {
                    Within::Block { header, come }
                } else {
                    let (size, last) = block(header)?;
                    Self::behind(size, last, self.checksum)
                }
            }
        };
        Ok(())
    }

    fn behind(left: u64, last: bool, checksum: u64) -> Within {
        match (left, last) {
            (0, true) => Within::Checksum { left: checksum },
            (0, false) => Within::Block { header: [0; 3], come: 0 },
            _ => Within::Body { left, last },
        }
    }
}

/// The source of bundles. It remembers whether it failed, since an error from the decompressor doesn't tell. It gives
/// the bytes that were peeked at once more. Follows where in the frame it is.
pub(super) struct Source<R> {
    inner: R,
    opening: [u8; OPENING],
    /// The bytes of `opening` that are still to be given.
    ahead: std::ops::Range<usize>,
    failed: bool,
    position: Position,
    /// The frame's blocks make no sense. The decompressor says so, too, unless the frame is passed over.
    broken: bool,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        let (opening, position) = ([0; OPENING], Position::at_start(0));
        Self { inner, opening, ahead: 0..0, failed: false, position, broken: false }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// What it reads from.
    pub(super) fn get(&self) -> &R {
        &self.inner
    }

    /// What it reads from. Only between frames more may be read from it.
    pub(super) fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Goes on to the end of the frame without decompressing it: over `most` bytes at most.
    pub(super) fn pass_over(&mut self, most: u64) -> Result<(), Error> {
        let mut passed = 0_u64;
        loop {
            if self.broken {
                return Err(Error::corrupt("zstd: a block of a kind that is not in use"));
            }
            let wanted = self.position.wanted();
            if wanted == 0 {
                return Ok(());
            }
            let there = match self.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                there => there?.len(),
            };
            if there == 0 {
                return Err(Error::Truncated);
            }
            let now = there.min(usize::try_from(wanted).unwrap_or(usize::MAX));
            passed += now as u64;
            if passed > most {
                return Err(Error::corrupt("zstd: the frame is much longer than what it can hold by its manifest"));
            }
            self.consume(now);
        }
    }

    /// Looks at the next frame's first bytes. `false` if there are none. What is no bundle is told by the bytes that
    /// are there, without waiting for more: who speaks another protocol may wait for an answer.
    pub(super) fn peek_frame(&mut self) -> Result<bool, Error> {
        let mut length = 0;
        while length < OPENING {
            let there = match self.inner.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                there => there?,
            };
            if there.is_empty() {
                break;
            }
            let n = there.len().min(OPENING - length);
            self.opening[length..length + n].copy_from_slice(&there[..n]);
            if !MAGIC.starts_with(&self.opening[..(length + n).min(MAGIC.len())]) {
                let begins = [&self.opening[..length], &there[..there.len().min(SHOWN)]].concat();
                return Err(Error::NotABundle { begins: Some(FirstBytes::of(&begins)) });
            }
            self.inner.consume(n);
            length += n;
        }
        self.ahead = 0..length;
        let there = &self.opening[..length];
        if there.is_empty() {
            return Ok(false);
        }
        if length < OPENING {
            return Err(Error::Truncated);
        }
        check_descriptor(self.opening[4], self.opening[5])?;
        (self.position, self.broken) = (Position::at_start(self.opening[4]), false);
        Ok(true)
    }
}

/// Whether what begins with these bytes can be a frame around a bundle, as far as they go.
pub(super) fn may_be_frame(first: &[u8]) -> bool {
    match first {
        [magic @ .., descriptor, next] if magic == MAGIC => check_descriptor(*descriptor, *next).is_ok(),
        _ => first.len() < OPENING && (first.starts_with(&MAGIC) || MAGIC.starts_with(first)),
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

    fn consume(&mut self, mut n: usize) {
        while n > 0 {
            let wanted = if self.broken { 0 } else { usize::try_from(self.position.wanted()).unwrap_or(usize::MAX) };
            // Behind the frame's end there is nothing to follow.
            let passed = if wanted == 0 { n } else { wanted.min(n) };
            if self.ahead.is_empty() {
                if wanted > 0 {
                    // It is buffered: whoever consumes it has seen it.
                    let followed = self.inner.fill_buf().map(|there| self.position.pass(&there[..passed]));
                    self.broken |= !matches!(followed, Ok(Ok(())));
                }
                self.inner.consume(passed);
            } else {
                let from = self.ahead.start;
                if wanted > 0 {
                    self.broken |= self.position.pass(&self.opening[from..from + passed]).is_err();
                }
                self.ahead.start += passed;
            }
            n -= passed;
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

    /// The source.
    pub(super) fn source(&self) -> &Source<R> {
        self.0.get_ref()
    }

    /// The source, wherever in the frame it stands.
    pub(super) fn into_source(self) -> &'s mut Source<R> {
        self.0.finish()
    }

    fn explain(&self, error: io::Error) -> Error {
        match error.kind() {
            // An error of the encryption below comes out as it went in.
            _ if self.0.get_ref().failed => Error::from(error),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bundle_is_told_by_how_it_begins() {
        let mut source = Source::new(io::Cursor::new(b"Welcome to host!\nbundle"));
        let told = source.peek_frame().unwrap_err().to_string();
        assert_eq!(told, "not a bundle: what came begins with \"Welcome to host!\"");
    }

    /// Gives these pieces, and must not be asked for more: whoever sends them waits for an answer.
    struct Waiting(&'static [&'static [u8]]);

    impl Read for Waiting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (piece, rest) = self.0.split_first().expect("more is waited for");
            self.0 = rest;
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn who_waits_for_an_answer_is_told_that_this_is_no_bundle() {
        // An SFTP client, an rsync client, and one whose bytes come in two pieces.
        const CASES: [(&[&[u8]], &str); 3] = [
            (&[b"\0\0\0\x05\x01\0\0\0\x03"], "\\u{5}"),
            (&[b"\x1f\0\0\0"], "\\u{1f}"),
            (&[b"\x28\xb5", b"other"], "other"),
        ];
        for (pieces, shown) in CASES {
            let mut source = Source::new(io::BufReader::new(Waiting(pieces)));
            let told = source.peek_frame().unwrap_err().to_string();
            assert!(told.starts_with("not a bundle: what came begins with") && told.contains(shown), "{told}");
        }
    }
}
