//! Spools for records and jobs. The manifest, which is written before them, has their number, size and hash.

use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::record::{Order, encode_entry, encode_folder};
use super::{JobLine, Part, Record, WriteError, limits};
use crate::disk::{Disk, Scratch};
use crate::model::{Claims, Digest, Entry, EntryId, FolderName, FolderState};
use crate::read::read_some;

/// This many bytes of a spool are kept in memory before a file is made.
pub const SPOOL_IN_MEMORY: usize = 8 << 20;

/// Stores lines, and counts and hashes them.
struct SpoolFile {
    out: BufWriter<Box<dyn Scratch>>,
    hasher: Sha256,
    bytes: u64,
}

impl SpoolFile {
    fn new(disk: &dyn Disk, dir: &Path) -> Self {
        let out = BufWriter::with_capacity(128 << 10, disk.scratch(dir, SPOOL_IN_MEMORY));
        Self { out, hasher: Sha256::new(), bytes: 0 }
    }

    /// Adds a line with its newline. All lines together are at most `limit` bytes; `what` names that size in the error.
    fn push(&mut self, line: &[u8], what: &'static str, limit: u64) -> Result<(), WriteError> {
        self.bytes += line.len() as u64;
        if self.bytes > limit {
            return Err(WriteError::TooLarge { what, limit });
        }
        self.hasher.update(line);
        self.out.write_all(line).map_err(WriteError::Spool)
    }

    fn finish(self) -> Result<Spooled, WriteError> {
        let mut file = self.out.into_inner().map_err(|e| WriteError::Spool(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        Ok(Spooled { part: Part { bytes: self.bytes, sha256: Digest(self.hasher.finalize().into()) }, file })
    }
}

/// A whole member of the archive, before it is written into a bundle.
#[derive(Debug)]
struct Spooled {
    part: Part,
    file: Box<dyn Scratch>,
}

impl Spooled {
    fn copy_to(mut self, out: &mut impl io::Write) -> Result<(), WriteError> {
        let mut buffer = vec![0; 128 << 10];
        let mut left = self.part.bytes;
        while left > 0 {
            let n = read_some(&mut self.file, &mut buffer).map_err(WriteError::Spool)?;
            if n == 0 {
                return Err(WriteError::Spool(io::ErrorKind::UnexpectedEof.into()));
            }
            out.write_all(&buffer[..n]).map_err(WriteError::Out)?;
            left = left.saturating_sub(n as u64);
        }
        Ok(())
    }
}

/// Collects records, in their order, as `entries.jsonl`.
pub struct RecordSpool {
    lines: SpoolFile,
    order: Order,
    claims: Option<Claims>,
    folders: u64,
    entries: u64,
    line: Vec<u8>,
}

impl RecordSpool {
    /// Keeps up to 8 MiB in memory, and more in a file in `dir` that has no name and vanishes with the spool.
    pub fn new(disk: &dyn Disk, dir: &Path) -> Self {
        let (lines, order) = (SpoolFile::new(disk, dir), Order::default());
        Self { lines, order, claims: None, folders: 0, entries: 0, line: Vec::new() }
    }

    /// The same for a bundle of which this can be true: anything else is not taken.
    pub fn within(disk: &dyn Disk, dir: &Path, claims: Claims) -> Self {
        Self { claims: Some(claims), ..Self::new(disk, dir) }
    }

    /// Adds the next record. See [`RecordSpool::folder`] and [`RecordSpool::entry`].
    pub fn push(&mut self, record: &Record) -> Result<(), WriteError> {
        match record {
            Record::Folder { name, state } => self.folder(name, *state),
            Record::Entry { id, entry } => self.entry(id, entry),
        }
    }

    /// Adds the next folder. Folders come before all entries, ascending by name.
    ///
    /// # Errors
    /// If it is out of order or can't be true, there are too many, or the temporary file fails.
    pub fn folder(&mut self, name: &FolderName, state: FolderState) -> Result<(), WriteError> {
        self.order.folder(name).map_err(WriteError::inconsistent)?;
        if let Some(claims) = &self.claims {
            claims.folder(state).map_err(|untrue| WriteError::inconsistent(format!("folder {name}: {untrue}")))?;
        }
        if self.folders == limits::FOLDERS {
            return Err(WriteError::TooLarge { what: "the number of folders", limit: limits::FOLDERS });
        }
        self.folders += 1;
        encode_folder(&mut self.line, name, state);
        self.write_line()
    }

    /// Takes the next entry. Entries ascend by birth folder, digest and ordinal.
    ///
    /// # Errors
    /// If it is out of order, can't be true, or is larger than a reader would take, or the temporary file fails.
    pub fn entry(&mut self, id: &EntryId, entry: &Entry) -> Result<(), WriteError> {
        self.order.entry(id).map_err(WriteError::inconsistent)?;
        if let Some(claims) = &self.claims {
            claims.entry(entry).map_err(|untrue| WriteError::inconsistent(format!("message {id}: {untrue}")))?;
        }
        if entry.size > limits::MEMBER_BYTES {
            return Err(WriteError::TooLarge { what: "a message's size", limit: limits::MEMBER_BYTES });
        }
        self.entries += 1;
        encode_entry(&mut self.line, id, entry);
        self.write_line()
    }

    fn write_line(&mut self) -> Result<(), WriteError> {
        if self.line.len() as u64 > limits::LINE_BYTES + 1 {
            return Err(WriteError::TooLarge { what: "an entry's line", limit: limits::LINE_BYTES });
        }
        self.lines.push(&self.line, "the size of all entries", limits::MEMBER_BYTES)?;
        self.line.clear();
        Ok(())
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.lines.bytes
    }

    /// Ends the spool, once all records are there.
    pub fn finish(self) -> Result<SpooledRecords, WriteError> {
        Ok(SpooledRecords { spooled: self.lines.finish()?, folders: self.folders, entries: self.entries })
    }
}

/// The whole of `entries.jsonl`, before it is written into a bundle.
#[derive(Debug)]
pub struct SpooledRecords {
    spooled: Spooled,
    folders: u64,
    entries: u64,
}

impl SpooledRecords {
    /// Its size and hash, for the manifest's `entries`.
    pub fn part(&self) -> Part {
        self.spooled.part
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
    pub(super) fn copy_to(self, out: &mut impl io::Write) -> Result<(), WriteError> {
        self.spooled.copy_to(out)
    }
}

/// Collects the statements about jobs, as `jobs.jsonl`.
pub struct JobSpool {
    lines: SpoolFile,
    claims: Option<Claims>,
    count: u64,
}

impl JobSpool {
    /// Keeps up to 8 MiB in memory, and more in a file in `dir` that has no name and vanishes with the spool.
    pub fn new(disk: &dyn Disk, dir: &Path) -> Self {
        Self { lines: SpoolFile::new(disk, dir), claims: None, count: 0 }
    }

    /// The same for a bundle of which this can be true: anything else is not taken.
    pub fn within(disk: &dyn Disk, dir: &Path, claims: Claims) -> Self {
        Self { claims: Some(claims), ..Self::new(disk, dir) }
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.lines.bytes
    }

    /// Adds the next statement.
    ///
    /// # Errors
    /// If its stamp can't be true, and those of [`JobSpool::push`].
    pub fn statement(&mut self, line: &JobLine) -> Result<(), WriteError> {
        if let Some(claims) = &self.claims {
            claims.statement(line.stamp).map_err(|untrue| WriteError::inconsistent(untrue.to_string()))?;
        }
        self.push(&line.encode())
    }

    /// Adds the next line, without its newline, as it is.
    ///
    /// # Errors
    /// If it is larger than a reader would take, or the temporary file fails.
    pub fn push(&mut self, line: &[u8]) -> Result<(), WriteError> {
        if self.count == limits::STATEMENTS {
            let what = "the number of statements about jobs";
            return Err(WriteError::TooLarge { what, limit: limits::STATEMENTS });
        }
        if line.len() as u64 > limits::JOB_LINE_BYTES {
            return Err(WriteError::TooLarge { what: "a job's line", limit: limits::JOB_LINE_BYTES });
        }
        self.count += 1;
        for bytes in [line, b"\n"] {
            self.lines.push(bytes, "the size of jobs.jsonl", limits::JOBS_BYTES)?;
        }
        Ok(())
    }

    /// Ends the spool, once all lines are there. `None` if there was none.
    pub fn finish(self) -> Result<Option<SpooledJobs>, WriteError> {
        let lines = self.count;
        (lines > 0).then(|| Ok(SpooledJobs { spooled: self.lines.finish()?, lines })).transpose()
    }
}

/// The whole of `jobs.jsonl`, before it is written into a bundle.
#[derive(Debug)]
pub struct SpooledJobs {
    spooled: Spooled,
    lines: u64,
}

impl SpooledJobs {
    /// Its size and hash, for the manifest's `jobs`.
    pub fn part(&self) -> Part {
        self.spooled.part
    }

    /// The number of lines, for the manifest's `counts`.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Copies it to `out`.
    pub(super) fn copy_to(self, out: &mut impl io::Write) -> Result<(), WriteError> {
        self.spooled.copy_to(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, entry, folder, stamp};
    use super::*;
    use crate::disk::RealDisk;
    use crate::model::{Mtime, Stamp};

    #[test]
    fn records_out_of_order_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let inconsistent = |result| matches!(result, Err(WriteError::Inconsistent { .. }));
        let state = FolderState { stamp: stamp(1), present: true };
        let (id, state_of_entry) = entry(b"x", "INBOX", Mtime(1));
        // A digest is greater or less whatever the date is: it is the id that may not come twice.
        let (other, state_of_other) = entry(b"y", "INBOX", Mtime(2));
        let ((id, state_of_entry), (earlier, state_of_earlier)) = if other.digest < id.digest {
            ((id, state_of_entry), (other, state_of_other))
        } else {
            ((other, state_of_other), (id, state_of_entry))
        };
        let again = Entry { mtime: Mtime(7), ..state_of_entry.clone() };

        let mut spool = RecordSpool::new(&RealDisk, dir.path());
        spool.folder(&folder("b"), state).unwrap();
        assert!(inconsistent(spool.folder(&folder("b"), state)));
        assert!(inconsistent(spool.folder(&folder("a"), state)));
        spool.entry(&id, &state_of_entry).unwrap();
        assert!(inconsistent(spool.entry(&id, &state_of_entry)));
        assert!(inconsistent(spool.entry(&id, &again)));
        assert!(inconsistent(spool.entry(&earlier, &state_of_earlier)));
        assert!(inconsistent(spool.folder(&folder("c"), state)));
    }

    #[test]
    fn what_no_reader_would_take_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let claims = Claims::of(&Sample::new().manifest.head()).unwrap();
        let within = || RecordSpool::within(&RealDisk, dir.path(), claims.clone());
        let (id, state) = entry(b"x", "INBOX", Mtime(1));
        within().entry(&id, &state).unwrap();
        let untrue = Entry { born: stamp(9), ..state };
        assert!(matches!(within().entry(&id, &untrue), Err(WriteError::Inconsistent { .. })));
        let state = FolderState { stamp: stamp(9), present: true };
        assert!(matches!(within().folder(&folder("a"), state), Err(WriteError::Inconsistent { .. })));
        let line = |stamp| JobLine { stamp, signed: "{}".into(), signature: String::new() };
        let statement = |line| JobSpool::within(&RealDisk, dir.path(), claims.clone()).statement(&line);
        statement(line(stamp(1))).unwrap();
        for untrue in [stamp(9), Stamp::ZERO] {
            assert!(matches!(statement(line(untrue)), Err(WriteError::Inconsistent { .. })));
        }
        let (id, mut state) = entry(b"x", "INBOX", Mtime(1));
        state.size = limits::MEMBER_BYTES + 1;
        assert!(matches!(RecordSpool::new(&RealDisk, dir.path()).entry(&id, &state), Err(WriteError::TooLarge { .. })));
    }

    #[test]
    fn records_beyond_what_is_kept_in_memory_go_to_a_file_that_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = RecordSpool::new(&RealDisk, dir.path());
        let (mut id, state) = entry(b"x", "INBOX", Mtime(1));
        for ordinal in 0..50_000 {
            id.ordinal = ordinal;
            spool.entry(&id, &state).unwrap();
        }
        let spooled = spool.finish().unwrap();
        assert_eq!((spooled.folders(), spooled.entries()), (0, 50_000));
        let part = spooled.part();
        assert!(part.bytes > SPOOL_IN_MEMORY as u64);
        let mut bytes = Vec::new();
        spooled.copy_to(&mut bytes).unwrap();
        assert_eq!(Part::of(&bytes), part);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
