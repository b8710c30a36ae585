//! Messages that no file here can hold, since a limit or the file system lets none be so large. All else of their bundle
//! is taken, and they are missing like any that did not come: peers are asked for them, and the same bundle brings them.

use std::io;
use std::path::Path;

use crate::bundle;
use crate::error::{Error, Lack, Result};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::EntryKey;
use crate::text::bytes;

/// A message that could not be written for these entries.
#[derive(Debug)]
pub(super) struct LeftOut {
    entries: Vec<EntryKey>,
    /// Whether an earlier bundle has brought the entries.
    late: bool,
    error: Error,
}

impl LeftOut {
    /// The message of this size, if it is too large that the error tells.
    ///
    /// # Errors
    /// That error, if it tells something else.
    pub fn of(entries: Vec<EntryKey>, late: bool, size: u64, error: Error) -> Result<Self> {
        if error.lack() != Some(Lack::FileSize) {
            return Err(error);
        }
        let error = error.about(format_args!(
            "a message of {} is left out, and wanted: `mailsync import` gets it from this bundle, or the next one",
            bytes(size)
        ));
        Ok(Self { entries, late, error })
    }
}

/// How many were left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub messages: u64,
    /// Entries of the bundle itself.
    pub new: u64,
    /// Entries of earlier bundles.
    pub late: u64,
}

impl Counts {
    /// Records that a message's entries miss their contents, and tells why.
    pub fn record(&mut self, left_out: LeftOut, replica: &Replica, tx: &Transaction<'_>) -> Result<()> {
        let LeftOut { entries, late, error } = left_out;
        for &key in &entries {
            if let Some(row) = tx.entry(key)? {
                tx.withdraw_arrival(&row.id)?;
            }
            tx.set_place(key, None)?;
            tx.clear_pending(key)?;
            tx.add_missing(key)?;
        }
        self.messages += 1;
        *(if late { &mut self.late } else { &mut self.new }) += entries.len() as u64;
        replica.complain(error);
        Ok(())
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.new += other.new;
        self.late += other.late;
    }
}

/// The error of this machine by which a message could not be written to this file, if it is one.
///
/// # Errors
/// What else was wrong.
pub(super) fn writing_failed(
    copied: std::result::Result<(), bundle::Error>,
    file: &Path,
) -> std::result::Result<Option<Error>, bundle::Error> {
    match copied {
        Ok(()) => Ok(None),
        Err(bundle::Error::Sink(error)) => Ok(Some(write_error(file, error))),
        Err(error) => Err(error),
    }
}

fn write_error(file: &Path, error: io::Error) -> Error {
    Error::io("writing", file, error).advise(super::refusal::WRITING)
}
