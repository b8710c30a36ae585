//! Reading messages: whole if they are small, in pieces if they are not.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::maildir::disk::{Disk, Meta};
use crate::model::{Digest, Mtime};

/// Messages up to this many bytes are read whole; larger ones in pieces.
pub const SMALL: u64 = 1 << 20;

/// A message's digest, size in bytes and delivery date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// The file's modification time.
    pub mtime: Mtime,
}

/// Reads a file and computes its digest.
pub fn hash(disk: &dyn Disk, path: &Path) -> io::Result<Hashed> {
    let mut file = disk.open(path)?;
    let meta = Meta::from(&file.metadata()?);
    if !meta.is_file {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file, so not a message"));
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; usize::try_from(meta.size.clamp(4096, 128 << 10)).expect("at most 128 KiB")];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Hashed { digest: Digest(hasher.finalize().into()), size, mtime: meta.mtime })
}

/// Reads a small file whole: its bytes and their digest.
pub fn read_small(disk: &dyn Disk, path: &Path, expected: u64) -> io::Result<(Vec<u8>, Digest)> {
    let mut file = disk.open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    file.by_ref().take(SMALL + 1).read_to_end(&mut bytes)?;
    let digest = Digest::of(&bytes);
    Ok((bytes, digest))
}
