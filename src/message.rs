//! What of a mail file is the message: everything but the header lines that synchronisers write into their copies.
//!
//! A program that carries mail between mailboxes may mark its copies, each with another value. Were that part of the
//! message, two copies of one would be strangers. So the digest of a message is that of its bytes without these lines,
//! and bundles carry it without them. A file on disk keeps them.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use memchr::memchr;

use crate::read::read_some;

/// The names of the header fields that are left out. mbsync (isync) writes `X-TUID` with a random value into every
/// copy.
///
/// A name that is added changes the digests of messages: it needs a feature of the format.
pub const LEFT_OUT: [&str; 1] = ["X-TUID"];

/// The longest of these names, in bytes.
const LONGEST: usize = {
    let (mut longest, mut i) = (0, 0);
    while i < LEFT_OUT.len() {
        if LEFT_OUT[i].len() > longest {
            longest = LEFT_OUT[i].len();
        }
        i += 1;
    }
    longest
};

/// What a file holds, and so which of its bytes its digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A message: the header lines that synchronisers write are left out.
    Message,
    /// A job's attachment: every byte counts.
    Attachment,
}

/// Where in a file a [`Filter`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the beginning of a line of the header, the first bytes of which may be held.
    LineStart {
        /// Whether the line before is left out: then its continuation is as well.
        after_left_out: bool,
    },
    /// In a line of the header that stays.
    Kept,
    /// In a line of the header that is left out.
    LeftOut,
    /// Behind the header, where everything stays.
    Body,
}

/// Takes a file in pieces, and gives what of it is the message. It keeps a few bytes, however long a line is.
#[derive(Clone, Debug)]
pub struct Filter {
    at: At,
    /// The beginning of a line of which it is open yet whether it stays.
    held: [u8; LONGEST + 1],
    holds: usize,
    leaves_out: bool,
}

impl Filter {
    /// Begins a file.
    pub fn new(kind: FileKind) -> Self {
        let at = match kind {
            FileKind::Message => At::LineStart { after_left_out: false },
            FileKind::Attachment => At::Body,
        };
        Self { at, held: [0; LONGEST + 1], holds: 0, leaves_out: false }
    }

    /// Whether something was left out of what was taken.
    pub fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// Takes the next bytes of the file, and hands out those that stay, in as few pieces as there are.
    ///
    /// # Errors
    /// That of `each`.
    pub fn take<E>(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        // What is from `start` to `here` stays, and was not handed out.
        let (mut start, mut here) = (0, 0);
        while here < bytes.len() {
            match self.at {
                At::Body => here = bytes.len(),
                At::Kept | At::LeftOut => {
                    let after_left_out = self.at == At::LeftOut;
                    match memchr(b'\n', &bytes[here..]) {
                        Some(newline) => {
                            here += newline + 1;
                            self.at = At::LineStart { after_left_out };
                        }
                        None => here = bytes.len(),
                    }
                    if after_left_out {
                        start = here;
                    }
                }
                At::LineStart { after_left_out } => {
                    let (line, from_before) = (here, self.holds);
                    let decided = self.begin_line(bytes, &mut here, after_left_out);
                    if decided == Some(At::LeftOut) || decided.is_none() {
                        hand_out(&bytes[start..line], &mut each)?;
                        start = here;
                    } else {
                        hand_out(&self.held[..from_before], &mut each)?;
                    }
                    if let Some(at) = decided {
                        (self.at, self.holds) = (at, 0);
                        self.leaves_out |= at == At::LeftOut;
                    }
                }
            }
        }
        hand_out(&bytes[start..], &mut each)
    }

    /// Goes on in the line that begins with what is held, until it is known what becomes of it: nothing if the bytes
    /// end before.
    fn begin_line(&mut self, bytes: &[u8], here: &mut usize, after_left_out: bool) -> Option<At> {
        while let Some(&byte) = bytes.get(*here) {
            self.held[self.holds] = byte;
            self.holds += 1;
            *here += 1;
            if let Some(at) = line(&self.held[..self.holds], after_left_out) {
                return Some(at);
            }
        }
        None
    }

    /// Ends the file, and hands out what was held.
    ///
    /// # Errors
    /// That of `each`.
    pub fn end<E>(&mut self, each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        hand_out(&self.held[..std::mem::take(&mut self.holds)], each)
    }
}

fn hand_out<E>(bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    if bytes.is_empty() { Ok(()) } else { each(bytes) }
}

/// Where in the header one is behind the first bytes of a line; `None` if more of them must be seen. It is asked at
/// every byte, so no byte before the last one decides.
fn line(begin: &[u8], after_left_out: bool) -> Option<At> {
    match begin {
        [] | [b'\r'] => return None,
        [b'\n'] | [b'\r', b'\n'] => return Some(At::Body),
        [b' ' | b'\t'] if after_left_out => return Some(At::LeftOut),
        _ => {}
    }
    let mut open = false;
    for name in LEFT_OUT {
        let (name, begins) = (name.as_bytes(), begin.len() <= name.len());
        if begins {
            open |= name[..begin.len()].eq_ignore_ascii_case(begin);
        } else if begin[..name.len()].eq_ignore_ascii_case(name) && begin[name.len()] == b':' {
            return Some(At::LeftOut);
        }
    }
    match begin {
        _ if open => None,
        [.., b'\n'] => Some(At::LineStart { after_left_out: false }),
        _ => Some(At::Kept),
    }
}

/// Whether these bytes of a message's file hold a line that is left out.
pub fn leaves_out(bytes: &[u8]) -> bool {
    let mut filter = Filter::new(FileKind::Message);
    let Ok(()) = filter.take(bytes, |_| Ok::<_, Infallible>(()));
    filter.leaves_out()
}

/// What of a file that was read whole is the message.
pub fn message_of(file: Vec<u8>) -> Vec<u8> {
    if !leaves_out(&file) {
        return file;
    }
    let (mut filter, mut message) = (Filter::new(FileKind::Message), Vec::with_capacity(file.len()));
    let mut add = |bytes: &[u8]| {
        message.extend_from_slice(bytes);
        Ok::<_, Infallible>(())
    };
    let Ok(()) = filter.take(&file, &mut add).and_then(|()| filter.end(&mut add));
    message
}

/// Reads of a file what its digest is of.
#[derive(Debug)]
pub struct Filtered<R> {
    file: R,
    filter: Filter,
    /// What was read from the file, in turns, and what of that is still to be given.
    piece: Vec<u8>,
    kept: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> Filtered<R> {
    /// Begins to read a file.
    pub fn new(file: R, kind: FileKind) -> Self {
        Self { file, filter: Filter::new(kind), piece: Vec::new(), kept: Vec::new(), given: 0, ended: false }
    }
}

impl<R: Read> Read for Filtered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.kept.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            if self.filter.at == At::Body {
                return read_some(&mut self.file, buffer);
            }
            self.piece.resize(buffer.len(), 0);
            let n = read_some(&mut self.file, &mut self.piece)?;
            (self.given, self.ended) = (0, n == 0);
            self.kept.clear();
            let mut add = |bytes: &[u8]| {
                self.kept.extend_from_slice(bytes);
                Ok::<_, Infallible>(())
            };
            let Ok(()) = self.filter.take(&self.piece[..n], &mut add);
            if self.ended {
                let Ok(()) = self.filter.end(&mut add);
            }
        }
        let n = buffer.len().min(self.kept.len() - self.given);
        buffer[..n].copy_from_slice(&self.kept[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

/// Writes on whatever comes, and notices whether it is more than the message of a file.
#[derive(Debug)]
pub struct Checked<W> {
    /// Where it is written.
    pub to: W,
    filter: Filter,
}

impl<W: Write> Checked<W> {
    /// Begins to write a message.
    pub fn new(to: W) -> Self {
        Self { to, filter: Filter::new(FileKind::Message) }
    }

    /// Whether it has a line that its digest should have left out.
    pub fn leaves_out(&self) -> bool {
        self.filter.leaves_out()
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        let Ok(()) = self.filter.take(&bytes[..n], |_| Ok::<_, Infallible>(()));
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CASES: &[(&str, &str)] = &[
        ("", ""),
        ("\n", "\n"),
        ("A: b\n\nbody", "A: b\n\nbody"),
        ("X-TUID: abcdefghijkl\nA: b\n\nbody", "A: b\n\nbody"),
        ("A: b\nX-TUID: abcdefghijkl\n\nbody", "A: b\n\nbody"),
        ("A: b\r\nX-TUID: abcdefghijkl\r\n\r\nbody\r\n", "A: b\r\n\r\nbody\r\n"),
        // Every one of them, whatever its case and value.
        ("X-TUID: 1\nx-tuid:\nA: b\nX-tUiD:2\n\n", "A: b\n\n"),
        // A folded line goes with all of its lines; that of another field stays.
        ("X-TUID: 1\n 2\n\t3\n  \r\nA: b\n c\n\n", "A: b\n c\n\n"),
        ("A: b\n X-TUID: 1\nX-TUID: 2\n A: 3\n\n", "A: b\n X-TUID: 1\n\n"),
        (" X-TUID: 1\nA: b\n\n", " X-TUID: 1\nA: b\n\n"),
        // Nothing of the body, also not of an empty header's.
        ("A: b\n\nX-TUID: 1\n", "A: b\n\nX-TUID: 1\n"),
        ("\nX-TUID: 1\n", "\nX-TUID: 1\n"),
        ("\r\nX-TUID: 1\n", "\r\nX-TUID: 1\n"),
        ("X-TUID: 1\n\n continued\n", "\n continued\n"),
        // Other names.
        (
            "X-TUID2: 1\nX-TUI: 2\nX-TUID : 3\nXX-TUID: 4\nX\nX-TUID\n\n",
            "X-TUID2: 1\nX-TUI: 2\nX-TUID : 3\nXX-TUID: 4\nX\nX-TUID\n\n",
        ),
        // A carriage return by itself ends nothing.
        ("\rX-TUID: 1\n\r\r\nX-TUID: 2\rA: b\nC: d\n\n", "\rX-TUID: 1\n\r\r\nC: d\n\n"),
        // The file may end anywhere.
        ("A: b\nX-TUID: 1", "A: b\n"),
        ("A: b\nX-TUID:", "A: b\n"),
        ("A: b\nX-TUID", "A: b\nX-TUID"),
        ("A: b\nX-T", "A: b\nX-T"),
        ("A: b\n\r", "A: b\n\r"),
        ("X-TUID: 1\n ", ""),
        ("X-TUID: 1\n", ""),
    ];

    /// What is left of a file that comes in pieces of these lengths, over and over.
    fn filtered(file: &[u8], lengths: &[usize], kind: FileKind) -> Vec<u8> {
        let (mut filter, mut left, mut rest) = (Filter::new(kind), Vec::new(), file);
        let mut add = |bytes: &[u8]| {
            assert_ne!(bytes, b"", "nothing is handed out for nothing");
            left.extend_from_slice(bytes);
            Ok::<_, Infallible>(())
        };
        for &length in lengths.iter().cycle() {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            let Ok(()) = filter.take(piece, &mut add);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let Ok(()) = filter.end(&mut add);
        left
    }

    /// The same, line by line, as the format says it.
    fn as_the_format_says(file: &[u8]) -> Vec<u8> {
        let (mut left, mut header, mut leaving_out) = (Vec::new(), true, false);
        for line in file.split_inclusive(|&byte| byte == b'\n') {
            header &= line != b"\n" && line != b"\r\n";
            let continued = leaving_out && matches!(line[0], b' ' | b'\t');
            let named = line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"x-tuid:"));
            leaving_out = header && (continued || named);
            if !leaving_out {
                left.extend_from_slice(line);
            }
        }
        left
    }

    #[test]
    fn header_lines_of_synchronisers_are_no_part_of_a_message() {
        for (file, message) in CASES {
            for length in 1..=file.len().max(1) {
                let left = filtered(file.as_bytes(), &[length], FileKind::Message);
                assert_eq!(left.escape_ascii().to_string(), message.as_bytes().escape_ascii().to_string(), "{file:?}");
            }
            assert_eq!(as_the_format_says(file.as_bytes()), message.as_bytes(), "{file:?}");
            assert_eq!(message_of(file.as_bytes().to_vec()), message.as_bytes(), "{file:?}");
            assert_eq!(leaves_out(file.as_bytes()), file != message, "{file:?}");
            assert_eq!(filtered(file.as_bytes(), &[3], FileKind::Attachment), file.as_bytes());
        }
    }

    #[test]
    fn a_message_without_such_a_line_passes_in_one_piece() {
        let file = b"From: ann@example.org\r\nX-To: ben\r\nSubject: =?x?=\r\n\r\nX-TUID: of the body\r\n";
        let mut pieces = 0;
        let mut filter = Filter::new(FileKind::Message);
        filter
            .take(file, |piece| {
                pieces += 1;
                assert_eq!(piece, file);
                Ok::<_, Infallible>(())
            })
            .unwrap();
        assert_eq!(pieces, 1);
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_in_which_pieces_a_file_comes(
            file in "([xX]-?|TUID|tuid|:| |\t|\r|\n|\r\n|\nX-TUID: a|A: b\n){0,24}",
            lengths in proptest::collection::vec(1_usize..9, 1..6),
            room in 1_usize..20,
        ) {
            let message = as_the_format_says(file.as_bytes());
            prop_assert_eq!(filtered(file.as_bytes(), &lengths, FileKind::Message), &message[..]);
            prop_assert_eq!(&message_of(file.clone().into_bytes()), &message);
            prop_assert!(!leaves_out(&message), "what is a message stays as it is");
            let mut reader = Filtered::new(file.as_bytes(), FileKind::Message);
            let (mut read, mut buffer) = (Vec::new(), vec![0; room]);
            loop {
                let n = reader.read(&mut buffer).unwrap();
                if n == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..n]);
            }
            prop_assert_eq!(&read, &message);
            let mut checked = Checked::new(Vec::new());
            file.as_bytes().chunks(room).for_each(|piece| checked.write_all(piece).unwrap());
            prop_assert_eq!(checked.leaves_out(), message != file.as_bytes());
            prop_assert_eq!(checked.to, file.as_bytes());
        }
    }
}
