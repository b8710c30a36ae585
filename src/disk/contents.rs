//! The small operations that are made of a disk's steps: files are written, copied, read and hashed.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Disk, Draft, Like, Source};
use crate::message::{FileKind, Filter, message_of};
use crate::model::{Digest, Mtime};

/// Makes a file with these contents and this modification time. The file must not exist yet. It is durable only with
/// [`Durability::Now`].
pub fn write_new(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    mtime: Mtime,
    like: &Like<'_>,
    durability: Durability,
) -> io::Result<()> {
    let mut draft = Draft::create_like(disk, path.to_owned(), like)?;
    draft.write_all(bytes)?;
    draft.set_mtime(mtime)?;
    if durability == Durability::Now {
        draft.sync()?;
    }
    draft.leave();
    Ok(())
}

/// Copies the message in a file into a new file with this modification time. What its digest leaves out stays behind.
pub fn copy_message(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    mtime: Mtime,
    like: &Like<'_>,
    durability: Durability,
) -> io::Result<()> {
    let mut source = Source::open_message(disk, from)?;
    let mut draft = Draft::create_like(disk, to.to_owned(), like)?;
    read_through(&mut source, FileKind::Message, 128 << 10, |bytes| draft.write_all(bytes))?;
    draft.set_mtime(mtime)?;
    if durability == Durability::Now {
        draft.sync()?;
    }
    draft.leave();
    Ok(())
}

/// When the contents of a new file are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At once, by an fsync of its own.
    Now,
    /// Later, by the caller, for many files together.
    Later,
}

/// Messages up to this many bytes are read whole; larger ones in pieces.
pub const SMALL: u64 = 1 << 20;

/// What a file holds: its digest, its size and its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The digest.
    pub digest: Digest,
    /// The bytes that the digest is of. A message's file may have more.
    pub size: u64,
    /// The file's modification time.
    pub mtime: Mtime,
    /// Whether the file has bytes that the digest leaves out: a synchroniser has marked its copy.
    pub marked: bool,
}

/// Reads a file and computes the digest of what it holds.
pub fn hash_file(disk: &dyn Disk, path: &Path, kind: FileKind) -> io::Result<Hashed> {
    hash_open(&mut Source::open_message(disk, path)?, kind)
}

/// Reads an open file from where it stands, and computes the digest of what it holds.
pub fn hash_open(file: &mut Source<'_>, kind: FileKind) -> io::Result<Hashed> {
    let meta = file.meta()?;
    if !meta.is_file {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file, so not a message"));
    }
    let mut hasher = Sha256::new();
    let buffer = usize::try_from(meta.size.clamp(4096, 128 << 10)).expect("at most 128 KiB");
    let mut size = 0;
    read_through(file, kind, buffer, |bytes| {
        hasher.update(bytes);
        size += bytes.len() as u64;
        Ok(())
    })?;
    Ok(Hashed { digest: Digest(hasher.finalize().into()), size, mtime: meta.mtime, marked: size < meta.size })
}

/// Reads a file to its end, in pieces of at most so many bytes, and hands out what of it counts.
fn read_through(
    file: &mut Source<'_>,
    kind: FileKind,
    buffer: usize,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut filter, mut buffer) = (Filter::new(kind), vec![0; buffer]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return filter.end(each);
        }
        filter.take(&buffer[..n], &mut each)?;
    }
}

/// Reads a small file whole: what it holds, and the digest of that. Of a larger one it is the digest of nothing that it
/// holds.
pub fn read_small(disk: &dyn Disk, path: &Path, kind: FileKind, expected: u64) -> io::Result<(Vec<u8>, Digest)> {
    let file = Source::open_message(disk, path)?;
    // What is expected is only a hint.
    let mut bytes = Vec::with_capacity(usize::try_from(expected.min(SMALL)).expect("at most 1 MiB") + 1);
    file.take(SMALL + 1).read_to_end(&mut bytes)?;
    if kind == FileKind::Message {
        bytes = message_of(bytes);
    }
    let digest = Digest::of(&bytes);
    Ok((bytes, digest))
}

/// The first bytes of a file, this many at most.
pub fn beginning_of(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
