//! The zstd frame around a bundle: exactly one, with a checksum, and a window that a reader can afford.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::Decoder;

use super::decompress::{self, Ahead, Come};
use super::otherwise::{FirstBytes, SHOWN};
use super::{Error, limits};
use crate::read::buffered;

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

/// The source of bundles. It gives the bytes that were peeked at once more, and follows where in the frame it is.
pub(super) struct Source<R> {
    inner: R,
    opening: [u8; OPENING],
    /// The bytes of `opening` that are still to be given.
    ahead: std::ops::Range<usize>,
    position: Position,
    /// The frame's blocks make no sense. The decompressor says so, too, unless the frame is passed over.
    broken: bool,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        let (opening, position) = ([0; OPENING], Position::at_start(0));
        Self { inner, opening, ahead: 0..0, position, broken: false }
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
            let there = buffered(self)?;
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

    /// Takes the bytes of the frame that come next: so many, or fewer at its end, or where the source ends.
    fn take_of_frame(&mut self, into: &mut Vec<u8>, many: usize) -> io::Result<()> {
        while !self.broken && into.len() < many {
            let wanted = self.position.wanted();
            if wanted == 0 {
                break;
            }
            let there = buffered(self)?;
            if there == 0 {
                break;
            }
            let now = there.min(many - into.len()).min(usize::try_from(wanted).unwrap_or(usize::MAX));
            into.extend_from_slice(&self.fill_buf()?[..now]);
            self.consume(now);
        }
        Ok(())
    }

    /// Looks at the next frame's first bytes. `false` if there are none. What is no bundle is told by the bytes that
    /// are there, without waiting for more: who speaks another protocol may wait for an answer.
    pub(super) fn peek_frame(&mut self) -> Result<bool, Error> {
        let mut length = 0;
        while length < OPENING {
            if buffered(&mut self.inner)? == 0 {
                break;
            }
            let there = self.inner.fill_buf()?;
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
        self.inner.fill_buf()
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

/// A frame of which this many bytes have been given is a large one: a thread decompresses the rest.
const LARGE: u64 = 1 << 20;

/// Who decompresses.
enum Decompressor {
    /// This thread.
    Here(Decoder<'static>),
    /// Another one.
    Ahead(Ahead),
    /// Nobody any more: the frame has ended.
    Ended,
    /// Nobody any more: there was an error.
    Failed,
}

/// The contents of one frame. Its errors are [`Error`]s within [`io::Error`]s. It deals with interruptions.
pub(super) struct Frame<'s, R: BufRead> {
    source: &'s mut Source<R>,
    decompressor: Decompressor,
    /// Decompressed bytes, of which those from `at` on are still to be given.
    piece: Vec<u8>,
    at: usize,
    /// How many bytes have come.
    come: u64,
    /// Why the other thread gets no more of the frame.
    failed: Option<io::Error>,
}

impl<'s, R: BufRead> Frame<'s, R> {
    /// Begins to read the frame that was peeked at.
    pub(super) fn open(source: &'s mut Source<R>) -> Result<Self, Error> {
        let decompressor = Decompressor::Here(decompress::decoder().map_err(Error::Io)?);
        Ok(Self { source, decompressor, piece: Vec::new(), at: 0, come: 0, failed: None })
    }

    /// The source.
    pub(super) fn source(&self) -> &Source<R> {
        self.source
    }

    /// The source, wherever in the frame it stands.
    pub(super) fn into_source(self) -> &'s mut Source<R> {
        self.source
    }

    /// Gets the bytes that come next. None are the end of the frame.
    fn next_piece(&mut self) -> Result<(), Error> {
        (self.at, self.come) = (0, self.come + self.piece.len() as u64);
        let mut piece = std::mem::take(&mut self.piece);
        let decompressor = match std::mem::replace(&mut self.decompressor, Decompressor::Failed) {
            Decompressor::Here(decoder) if self.come >= LARGE => match Ahead::start(decoder) {
                Ok(ahead) => Decompressor::Ahead(ahead),
                Err(decoder) => Decompressor::Here(decoder),
            },
            decompressor => decompressor,
        };
        let ended = match decompressor {
            Decompressor::Here(mut decoder) => {
                let ended = self.decompress(&mut decoder, &mut piece)?;
                (self.piece, self.decompressor) = (piece, Decompressor::Here(decoder));
                ended
            }
            Decompressor::Ahead(mut ahead) => {
                ahead.give_back(piece);
                let come = self.take_from(&mut ahead)?;
                let ended = come.is_none();
                (self.piece, self.decompressor) = (come.unwrap_or_default(), Decompressor::Ahead(ahead));
                ended
            }
            Decompressor::Ended => true,
            Decompressor::Failed => return Err(Error::corrupt("zstd: nothing can be read behind an error")),
        };
        if ended {
            self.decompressor = Decompressor::Ended;
        }
        Ok(())
    }

    /// Decompresses what comes next. Returns whether that is the last of the frame.
    fn decompress(&mut self, decoder: &mut Decoder<'static>, piece: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            let at_end = buffered(self.source)? == 0;
            let bytes = if at_end { &[] } else { self.source.fill_buf()? };
            let done = decompress::step(decoder, bytes, piece).map_err(|error| wrong(&error))?;
            self.source.consume(done.used);
            if done.ended || !piece.is_empty() {
                return Ok(done.ended);
            }
            if at_end {
                return Err(Error::Truncated);
            }
        }
    }

    /// Waits for what the other thread has decompressed, and gives it more. `None` at the end of the frame.
    fn take_from(&mut self, ahead: &mut Ahead) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match ahead.next() {
                Some(Come::Piece(piece)) => return Ok(Some(piece)),
                Some(Come::End) => return Ok(None),
                Some(Come::Failed(error)) => return Err(wrong(&error)),
                // What came before the source has failed was given first.
                None => return Err(self.failed.take().map_or(Error::Truncated, Error::from)),
                Some(Come::Used(mut chunk)) => {
                    if self.failed.is_none()
                        && let Err(error) = self.source.take_of_frame(&mut chunk, decompress::CHUNK)
                    {
                        self.failed = Some(error);
                    }
                    ahead.tell(chunk);
                }
            }
        }
    }
}

/// What the decompressor says of a frame.
fn wrong(error: &io::Error) -> Error {
    match error.to_string() {
        what if what.contains("too much memory") => WINDOW_TOO_LARGE,
        what => Error::corrupt(format!("zstd: {what}")),
    }
}

impl<R: BufRead> BufRead for Frame<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            self.next_piece()?;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, many: usize) {
        self.at += many;
    }
}

impl<R: BufRead> Read for Frame<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let many = self.fill_buf()?.read(buffer)?;
        self.consume(many);
        Ok(many)
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

    /// Bytes that don't become fewer.
    fn noise(many: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..many).map(byte).collect()
    }

    fn frame_of(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What can be read of a frame, and why no more can be.
    fn read_all<R: BufRead>(source: &mut Source<R>) -> (Vec<u8>, Option<String>) {
        assert!(source.peek_frame().unwrap());
        let mut frame = Frame::open(source).unwrap();
        let mut come = Vec::new();
        let end = frame.read_to_end(&mut come);
        if end.is_err() {
            assert!(frame.fill_buf().is_err(), "behind an error is no end");
        }
        (come, end.err().map(|error| Error::from(error).to_string()))
    }

    /// Its length and a bit of what it begins with, so that a failure can be read.
    fn in_short(bytes: &[u8]) -> (usize, Vec<u8>) {
        (bytes.len(), bytes.iter().copied().take(8).collect())
    }

    #[test]
    fn a_large_frame_is_read_as_a_small_one_and_to_its_end_only() {
        for many in [0, 1, 300 << 10, 1 << 20, (1 << 20) + 1, 5 << 20] {
            for bytes in [noise(many), vec![7; many * 9]] {
                let both = [frame_of(&bytes), frame_of(b"next"), b"rest".to_vec()].concat();
                for buffer in [1000, 1 << 20] {
                    let mut source = Source::new(io::BufReader::with_capacity(buffer, both.as_slice()));
                    let (come, error) = read_all(&mut source);
                    assert!(come == bytes && error.is_none(), "{:?}, {error:?}", in_short(&come));
                    assert_eq!(read_all(&mut source), (b"next".to_vec(), None));
                    let mut rest = Vec::new();
                    source.inner().read_to_end(&mut rest).unwrap();
                    assert_eq!(rest, b"rest");
                }
            }
        }
    }

    #[test]
    fn a_large_frame_can_be_left_anywhere() {
        let bytes = noise(8 << 20);
        let both = [frame_of(&bytes), frame_of(b"next")].concat();
        for read in [0, 100, 1 << 20, (1 << 20) + 300, 3 << 20, 8 << 20] {
            let mut source = Source::new(io::BufReader::new(both.as_slice()));
            assert!(source.peek_frame().unwrap());
            let mut frame = Frame::open(&mut source).unwrap();
            let mut come = vec![0; read];
            frame.read_exact(&mut come).unwrap();
            assert!(come == bytes[..read]);
            frame.into_source().pass_over(u64::MAX).unwrap();
            assert_eq!(read_all(&mut source), (b"next".to_vec(), None));
        }
    }

    #[test]
    fn what_came_before_the_fault_of_a_large_frame_is_given_first() {
        let bytes = noise(4 << 20);
        let whole = frame_of(&bytes);
        for cut in [100, 1 << 20, 3 << 20, whole.len() - 1] {
            let (come, error) = read_all(&mut Source::new(&whole[..cut]));
            // Noise is stored in blocks of 128 KiB.
            assert!(come.len() + (256 << 10) > cut && bytes.starts_with(&come), "{:?}", in_short(&come));
            assert_eq!(error, Some(Error::Truncated.to_string()));
        }
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        let (come, error) = read_all(&mut Source::new(changed.as_slice()));
        assert!(bytes.starts_with(&come) && error.unwrap().contains("checksum"), "{:?}", in_short(&come));
        let source = whole[..3 << 20].chain(io::BufReader::new(Failing));
        let (come, error) = read_all(&mut Source::new(source));
        assert!(come.len() > 2 << 20 && bytes.starts_with(&come), "{:?}", in_short(&come));
        assert_eq!(error, Some(Error::Io(Failing::error()).to_string()));
    }

    /// A disk that can't be read.
    struct Failing;

    impl Failing {
        fn error() -> io::Error {
            io::Error::from_raw_os_error(5)
        }
    }

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Self::error())
        }
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
