//! Spooling records: their number, size and hash stand in the manifest, which is written before them.

use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::SpooledTempFile;

use super::record::{Order, encode_entry, encode_folder};
use super::{Part, Record, WriteError, limits};
use crate::model::{Digest, Entry, EntryId, FolderName, FolderState};

/// How much is kept in memory before a file is made, in bytes.
const IN_MEMORY: usize = 8 << 20;

/// Takes records, in their order, and keeps them as `entries.jsonl`.
pub struct RecordSpool {
    out: BufWriter<SpooledTempFile>,
    hasher: Sha256,
    order: Order,
    bytes: u64,
    folders: u64,
    entries: u64,
    line: Vec<u8>,
}

impl RecordSpool {
    /// Keeps up to 8 MiB in memory, and more in a file in `dir` that has no name and vanishes with the spool.
    pub fn new(dir: &Path) -> Self {
        Self {
            out: BufWriter::with_capacity(128 << 10, tempfile::spooled_tempfile_in(IN_MEMORY, dir)),
            hasher: Sha256::new(),
            order: Order::default(),
            bytes: 0,
            folders: 0,
            entries: 0,
            line: Vec::new(),
        }
    }

    /// Takes the next record. See [`RecordSpool::folder`] and [`RecordSpool::entry`].
    pub fn push(&mut self, record: &Record) -> Result<(), WriteError> {
        match record {
            Record::Folder { name, state } => self.folder(name, *state),
            Record::Entry { id, entry } => self.entry(id, entry),
        }
    }

    /// Takes the next folder. Folders come before all entries, ascending by name.
    ///
    /// # Errors
    /// If it is out of order, or the temporary file fails.
    pub fn folder(&mut self, name: &FolderName, state: FolderState) -> Result<(), WriteError> {
        self.order.folder(name).map_err(WriteError::inconsistent)?;
        self.folders += 1;
        encode_folder(&mut self.line, name, state);
        self.write_line()
    }

    /// Takes the next entry. Entries ascend by birth folder, mtime, digest and ordinal.
    ///
    /// # Errors
    /// If it is out of order or larger than a reader would take, or the temporary file fails.
    pub fn entry(&mut self, id: &EntryId, entry: &Entry) -> Result<(), WriteError> {
        self.order.entry(id, entry).map_err(WriteError::inconsistent)?;
        if entry.flags.iter().len() > limits::FLAGS {
            return Err(WriteError::TooLarge { what: "the number of an entry's flags", limit: limits::FLAGS as u64 });
        }
        if entry.size > limits::MEMBER_BYTES {
            return Err(WriteError::TooLarge { what: "a message's size", limit: limits::MEMBER_BYTES });
        }
        self.entries += 1;
        encode_entry(&mut self.line, id, entry);
        self.write_line()
    }

    fn write_line(&mut self) -> Result<(), WriteError> {
        let length = self.line.len() as u64;
        if length > limits::LINE_BYTES + 1 {
            return Err(WriteError::TooLarge { what: "an entry's line", limit: limits::LINE_BYTES });
        }
        self.bytes += length;
        if self.bytes > limits::MEMBER_BYTES {
            return Err(WriteError::TooLarge { what: "the size of all entries", limit: limits::MEMBER_BYTES });
        }
        self.hasher.update(&self.line);
        self.out.write_all(&self.line).map_err(WriteError::Spool)?;
        self.line.clear();
        Ok(())
    }

    /// All records are there.
    pub fn finish(self) -> Result<SpooledRecords, WriteError> {
        let mut file = self.out.into_inner().map_err(|e| WriteError::Spool(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        let part = Part { bytes: self.bytes, sha256: Digest(self.hasher.finalize().into()) };
        Ok(SpooledRecords { part, folders: self.folders, entries: self.entries, file })
    }
}

/// The whole of `entries.jsonl`, before it is written into a bundle.
#[derive(Debug)]
pub struct SpooledRecords {
    part: Part,
    folders: u64,
    entries: u64,
    file: SpooledTempFile,
}

impl SpooledRecords {
    /// Its size and hash, for the manifest's `entries`.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The number of folder records, for the manifest's `counts`.
    pub fn folders(&self) -> u64 {
        self.folders
    }

    /// The number of entry records, for the manifest's `counts`.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Copies it to `out`.
    pub(super) fn copy_to(mut self, out: &mut impl io::Write) -> Result<(), WriteError> {
        use io::Read as _;
        let mut buffer = vec![0; 128 << 10];
        let mut left = self.part.bytes;
        while left > 0 {
            let n = match self.file.read(&mut buffer) {
                Ok(0) => return Err(WriteError::Spool(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(WriteError::Spool(e)),
            };
            out.write_all(&buffer[..n]).map_err(WriteError::Out)?;
            left = left.saturating_sub(n as u64);
        }
        Ok(())
    }
}
