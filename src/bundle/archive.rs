//! The tar archive within a bundle: regular files in the plain ustar format (POSIX.1-1988), and nothing else.
//!
//! The reader is stricter than tar programs are. Links, directories, pax and GNU extensions have no place in a bundle,
//! and it refuses anything that two readers could understand differently.

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header};

use super::error::SHOWN;
use super::{Error, limits};
use crate::text::beginning;

/// The unit of an archive, in bytes.
pub(super) const BLOCK: usize = 512;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The number of bytes that fill up the last block of a member of this size.
pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

/// The header of a member. `mtime` is in seconds since 1970 UTC. A time that a header can't hold becomes the nearest
/// one that it can.
pub(super) fn header(name: &str, size: u64, mtime: i64) -> Header {
    debug_assert!(size <= limits::MEMBER_BYTES, "the caller has checked the size");
    let mut header = Header::new_ustar();
    header.set_path(name).expect("a member's name is short and relative");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime.clamp(0, 0o777_7777_7777).unsigned_abs());
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    header
}

/// A member's name and size.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
}

fn parse_header(header: &Header) -> Result<Member, &'static str> {
    let bytes = header.as_bytes();
    let Some(fields) = header.as_ustar().filter(|fields| fields.version == *b"00") else {
        return Err("a header that is not in the ustar format");
    };
    // The checksum's own field counts as eight spaces.
    let sum = bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>()
        - fields.cksum.iter().map(|&byte| u64::from(byte)).sum::<u64>()
        + 8 * u64::from(b' ');
    if octal(&fields.cksum) != Some(sum) {
        return Err("a header whose checksum is wrong");
    }
    if fields.typeflag != *b"0" {
        return Err("a member that is not a regular file");
    }
    if fields.prefix[0] != 0 || fields.linkname[0] != 0 {
        return Err("a member whose name has a prefix or that names a link");
    }
    let length = fields.name.iter().position(|&byte| byte == 0).unwrap_or(fields.name.len());
    let name = std::str::from_utf8(&fields.name[..length]).map_err(|_| "a member whose name is not UTF-8")?;
    let size = octal(&fields.size).ok_or("a member whose size is not an octal number")?;
    Ok(Member { name: name.to_owned(), size })
}

/// A number in octal digits, ended by the field's end or by a NUL or a space, after which nothing else stands.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let (number, rest) = field.split_at(digits);
    let ended = rest.iter().all(|&byte| byte == 0 || byte == b' ');
    (digits > 0 && ended).then(|| number.iter().fold(0, |sum, digit| sum << 3 | u64::from(digit - b'0')))
}

/// Reads an archive member by member.
pub(super) struct Archive<B> {
    inner: B,
    /// The rest of the present member that has not been read: bytes of its contents, then zeros up to the next block.
    left: u64,
    padding: usize,
}

impl<B: BufRead> Archive<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    /// What is read from.
    pub(super) fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Gives the place back that is read from, wherever it stands.
    pub(super) fn into_inner(self) -> B {
        self.inner
    }

    /// Whether the archive can begin with a member of this name, as far as the next bytes show.
    pub(super) fn may_begin_with(&mut self, name: &str) -> Result<bool, Error> {
        let there = self.inner.fill_buf()?;
        Ok(there.iter().zip(name.as_bytes().iter().chain(&[0])).all(|(a, b)| a == b))
    }

    /// Goes on to the next member, over the rest of the present one. `None` at the archive's end marker.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, Error> {
        io::copy(&mut self.data(), &mut io::sink())?;
        let mut block = [0; BLOCK];
        let padding = std::mem::take(&mut self.padding);
        self.read_exact(&mut block[..padding])?;
        if block[..padding] != ZEROS[..padding] {
            return Err(Error::corrupt("archive: a member that is not padded with zeros"));
        }
        let mut header = Header::new_old();
        self.read_exact(header.as_mut_bytes())?;
        if *header.as_bytes() == ZEROS {
            self.read_exact(&mut block)?;
            return if block == ZEROS { Ok(None) } else { Err(Error::corrupt("archive: half an end marker")) };
        }
        let member = parse_header(&header).map_err(|what| Error::corrupt(format!("archive: {what}")))?;
        self.left = member.size;
        self.padding = self::padding(member.size);
        Ok(Some(member))
    }

    /// The contents of the present member that have not been read yet.
    pub(super) fn data(&mut self) -> Data<'_, B> {
        Data(self)
    }

    /// Reads from the archive's end marker on to the end of the frame. Only zeros may stand there, and not many.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        let mut zeros = 0;
        loop {
            let chunk = self.inner.fill_buf()?;
            if chunk.is_empty() {
                return Ok(());
            }
            let length = chunk.len();
            if chunk.iter().any(|&byte| byte != 0) {
                return Err(Error::corrupt("archive: something stands behind its end marker"));
            }
            zeros += length as u64;
            if zeros > limits::PADDING_BYTES {
                return Err(Error::TooLarge { what: "the padding behind the archive", limit: limits::PADDING_BYTES });
            }
            self.inner.consume(length);
        }
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.inner.read_exact(buffer).map_err(|e| match Error::from(e) {
            Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => ends_early(),
            other => other,
        })
    }
}

/// Goes on to the next member, which must have this name.
pub(super) fn expect_member<B: BufRead>(archive: &mut Archive<B>, name: &'static str) -> Result<Member, Error> {
    match archive.next_member()? {
        Some(member) if member.name == name => Ok(member),
        Some(member) => {
            Err(Error::corrupt(format!("archive: \"{}\" where {name} was expected", beginning(&member.name, SHOWN))))
        }
        None => Err(Error::corrupt(format!("archive: it ends where {name} was expected"))),
    }
}

/// Reads the next member, which must have this name and be no larger than `limit`.
pub(super) fn read_small<B: BufRead>(
    archive: &mut Archive<B>,
    name: &'static str,
    limit: u64,
) -> Result<Vec<u8>, Error> {
    let member = expect_member(archive, name)?;
    read_data(archive, name, member.size, limit)
}

/// Reads the contents of the present member, which has this name and size and must be no larger than `limit`.
pub(super) fn read_data<B: BufRead>(
    archive: &mut Archive<B>,
    name: &'static str,
    size: u64,
    limit: u64,
) -> Result<Vec<u8>, Error> {
    if size > limit {
        return Err(Error::TooLarge { what: name, limit });
    }
    let mut contents = Vec::new();
    archive.data().read_to_end(&mut contents)?;
    Ok(contents)
}

/// The error for an archive without an end. The frame is whole, so the archive was not cut off: somebody made it like
/// that.
fn ends_early() -> Error {
    Error::corrupt("archive: it ends without an end marker")
}

/// The contents of one member.
pub(super) struct Data<'a, B>(&'a mut Archive<B>);

impl<B: BufRead> Read for Data<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.0.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.0.inner.read(&mut buffer[..wanted])?;
        if n == 0 {
            return Err(ends_early().into());
        }
        self.0.left -= n as u64;
        Ok(n)
    }
}

impl<B: BufRead> BufRead for Data<'_, B> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.left == 0 {
            return Ok(&[]);
        }
        let chunk = self.0.inner.fill_buf()?;
        if chunk.is_empty() {
            return Err(ends_early().into());
        }
        Ok(&chunk[..usize::try_from(self.0.left).map_or(chunk.len(), |left| left.min(chunk.len()))])
    }

    fn consume(&mut self, n: usize) {
        self.0.left -= n as u64;
        self.0.inner.consume(n);
    }
}
