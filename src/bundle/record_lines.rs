//! Reading the lines of `entries.jsonl`: this thread reads and hashes them and hands out the records, while others decode
//! what comes next.

use std::io::BufRead;

use sha2::{Digest as _, Sha256};

use super::error::SHOWN;
use super::record::{Decoder, Order, read_line};
use super::{Error, Record};
use crate::model::{Claims, Digest, Untrue};
use crate::pool;
use crate::text::beginning;

/// So many bytes of lines are decoded at a time, or one line that is longer.
const BATCH_BYTES: usize = 64 << 10;
/// How many batches may be under way.
const AHEAD: u64 = 4;

/// Lines that follow each other.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    /// Where in the text each line ends.
    ends: Vec<usize>,
    /// Why there is no further one, if that isn't the end.
    fault: Option<Error>,
}

/// The records of a batch.
struct Decoded {
    /// Each of them may be untrue.
    records: Vec<(Record, Result<(), Untrue>)>,
    /// Why the line behind the last of them is no record. No further ones were looked at.
    wrong: Option<String>,
    /// Why the batch ends early.
    fault: Option<Error>,
}

/// What was read.
pub(super) struct Read {
    /// How many folders it tells of.
    pub(super) folders: u64,
    /// How many entries it tells of.
    pub(super) entries: u64,
    /// The SHA-256 of all lines.
    pub(super) sha256: Digest,
}

/// Gives the record of every line to `take`, in order. `bytes` is how many bytes there will be.
///
/// # Errors
/// What `take` returns; or of the first line for which that holds: it is no record, stands in the wrong place, or can't be true
/// by the claims that the bundle makes.
pub(super) fn read_records<E: From<Error>>(
    data: &mut impl BufRead,
    bytes: u64,
    claims: Option<&Claims>,
    mut take: impl FnMut(Record) -> Result<(), E>,
) -> Result<Read, E> {
    let (mut hasher, mut order) = (Sha256::new(), Order::default());
    let (mut folders, mut entries) = (0, 0);
    let next = || {
        let batch = read_batch(data);
        hasher.update(&batch.text);
        Ok((!batch.ends.is_empty() || batch.fault.is_some()).then_some(batch))
    };
    let hand_out = |batch: Decoded| -> Result<(), E> {
        let place = |line: u64, what: &str| format!("entries.jsonl, line {line}: {}", beginning(what, SHOWN));
        for (record, is_true) in batch.records {
            let line = folders + entries + 1;
            let ordered = match &record {
                Record::Folder { name, .. } => order.folder(name),
                Record::Entry { id, .. } => order.entry(id),
            };
            ordered.map_err(|what| Error::corrupt(place(line, what)))?;
            is_true.map_err(|untrue| Error::untrue(format!("entries.jsonl, line {line}: {untrue}")))?;
            match &record {
                Record::Folder { .. } => folders += 1,
                Record::Entry { .. } => entries += 1,
            }
            take(record)?;
        }
        if let Some(what) = batch.wrong {
            return Err(Error::corrupt(place(folders + entries + 1, &what)).into());
        }
        batch.fault.map_or(Ok(()), |fault| Err(fault.into()))
    };
    // No thread is worth its start for what one batch holds.
    let ahead = if bytes <= BATCH_BYTES as u64 { 0 } else { AHEAD };
    pool::in_order(ahead, next, |batch| decode(batch, claims), hand_out)?;
    Ok(Read { folders, entries, sha256: Digest(hasher.finalize().into()) })
}

fn read_batch(data: &mut impl BufRead) -> Batch {
    let mut batch = Batch::default();
    while batch.text.len() < BATCH_BYTES {
        match read_line(data, &mut batch.text) {
            Ok(true) => batch.ends.push(batch.text.len()),
            Ok(false) => break,
            Err(fault) => {
                batch.fault = Some(fault);
                break;
            }
        }
    }
    batch
}

fn decode(batch: Batch, claims: Option<&Claims>) -> Decoded {
    let Batch { text, ends, fault } = batch;
    let (mut decoder, mut records) = (Decoder::default(), Vec::with_capacity(ends.len()));
    let mut from = 0;
    for end in ends {
        let record = match decoder.decode(&text[from..end]) {
            Ok(record) => record,
            Err(what) => return Decoded { records, wrong: Some(what), fault },
        };
        let is_true = match (claims, &record) {
            (None, _) => Ok(()),
            (Some(claims), Record::Folder { state, .. }) => claims.folder(*state),
            (Some(claims), Record::Entry { entry, .. }) => claims.entry(entry),
        };
        records.push((record, is_true));
        from = end;
    }
    Decoded { records, wrong: None, fault }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{entry, folder, stamp};
    use super::*;
    use crate::model::{FolderState, Mtime};

    /// A folder, and then so many entries.
    fn records(entries: u32) -> Vec<Record> {
        let folder = Record::Folder { name: folder("Lists"), state: FolderState { stamp: stamp(1), present: true } };
        let entry = |n| {
            let (id, entry) = entry(b"message", "Lists", Mtime(1_000_000_000));
            Record::Entry { id: crate::model::EntryId { ordinal: n, ..id }, entry }
        };
        std::iter::once(folder).chain((0..entries).map(entry)).collect()
    }

    /// What `read_records` makes of these lines: the records that it gives, and how it ends.
    fn read(lines: &[Vec<u8>]) -> (Vec<Record>, Result<Read, Error>) {
        let (text, mut given) = (lines.concat(), Vec::new());
        let read = read_records(&mut text.as_slice(), text.len() as u64, None, |record| {
            given.push(record);
            Ok(())
        });
        (given, read)
    }

    #[test]
    fn however_many_lines_there_are_their_records_come_in_order_and_faults_behind_what_stands_before_them() {
        for entries in [0, 1, 100, 5_000] {
            let records = records(entries);
            let lines: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
            let (given, end) = read(&lines);
            let end = end.unwrap();
            assert!(given == records, "{entries} entries");
            assert_eq!((end.folders, end.entries), (1, u64::from(entries)));
            assert_eq!(end.sha256, Digest::of(&lines.concat()));
        }
        let records = records(5_000);
        let lines: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        for (at, line, what) in [
            (4_000, b"{}\n".to_vec(), "line 4001"),
            (4_000, lines[17].clone(), "line 4001: the entries are not in ascending order"),
            (4_000, b"not to its end".to_vec(), "line"),
            (5_000, lines[5_000][..9].to_vec(), "its last line has no end"),
        ] {
            // A fault behind the first one isn't told of.
            let behind = if at == 4_000 { vec![b"more".to_vec()] } else { Vec::new() };
            let (given, end) = read(&[&lines[..at], &[line], &behind].concat());
            let told = end.map(|_| ()).unwrap_err().to_string();
            assert!(told.contains(what), "{told}");
            assert!(given == records[..at], "{} of {at} records came before {told}", given.len());
        }
    }

    #[test]
    fn whoever_takes_the_records_can_end_it() {
        let lines: Vec<Vec<u8>> = records(5_000).iter().map(Record::encode).collect();
        let (text, mut taken) = (lines.concat(), 0);
        let end = read_records(&mut text.as_slice(), text.len() as u64, None, |_| {
            taken += 1;
            if taken < 3_000 { Ok(()) } else { Err(Error::Empty) }
        });
        assert!(matches!(end, Err(Error::Empty)) && taken == 3_000, "{taken} were taken");
    }
}
