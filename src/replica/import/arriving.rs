//! The writing of messages that arrive: into `tmp/`, to their places, or to where they are held.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::landing::Leftovers;
use super::left_out::{Counts, LeftOut};
use super::refusal::{Fault, WRITING};
use crate::bundle;
use crate::disk::{Disk, Durability, Like, is_absent, write_new};
use crate::error::{Error, Result};
use crate::message::leaves_out;
use crate::model::{Digest, Mtime};
use crate::replica::Replica;
use crate::replica::materialise::Held;
use crate::replica::transaction::Transaction;
use crate::state::{EntryKey, Pending};

/// Messages on their way to the disk, with one buffer for all of them.
#[derive(Default)]
pub(super) struct Batch<'d> {
    pub bytes: Vec<u8>,
    pub messages: Vec<Arriving<'d>>,
}

/// One of them.
pub(super) struct Arriving<'d> {
    pub digest: Digest,
    /// Where it stands in the buffer.
    pub at: Range<usize>,
    pub to: Destination<'d>,
}

/// A file that is to hold a message.
pub(super) struct Goal<'d> {
    pub path: PathBuf,
    /// The delivery date.
    pub mtime: Mtime,
    pub like: Like<'d>,
    /// The entry whose file it is.
    pub entry: EntryKey,
    /// Whether the file is in its place with that; else it is delivered from there later.
    pub in_place: bool,
}

/// Where a message goes.
#[derive(Default)]
pub(super) struct Destination<'d> {
    /// The files that are to hold it.
    pub to: Vec<Goal<'d>>,
    /// Entries whose folders can't take it, so that it is held until these can.
    pub held: Vec<EntryKey>,
    /// Whether an earlier bundle has brought its entries.
    pub late: bool,
}

impl Destination<'_> {
    pub fn is_none(&self) -> bool {
        self.to.is_empty() && self.held.is_empty()
    }

    /// The entries that get it.
    pub fn entries(&self) -> Vec<EntryKey> {
        self.to.iter().map(|goal| goal.entry).chain(self.held.iter().copied()).collect()
    }
}

/// What did not simply become files.
#[derive(Default)]
pub(super) struct Kept {
    /// Entries that don't get their files in their places: their messages are held.
    pub waiting: Vec<EntryKey>,
    pub left_out: Vec<LeftOut>,
}

impl Kept {
    /// Entries whose files could not be written, and whose message is held instead, if that has succeeded.
    pub fn instead(
        &mut self,
        goals: &[&Goal<'_>],
        held: &[EntryKey],
        late: bool,
        size: u64,
        done: Result<()>,
    ) -> Result<()> {
        match done {
            Ok(()) => self.waiting.extend(goals.iter().filter(|goal| goal.in_place).map(|goal| goal.entry)),
            Err(error) => {
                let entries = goals.iter().map(|goal| goal.entry).chain(held.iter().copied()).collect();
                self.left_out.push(LeftOut::of(entries, late, size, error)?);
            }
        }
        Ok(())
    }

    /// Records all that in the state, and counts what was left out.
    pub fn record(self, left_out: &mut Counts, replica: &Replica, tx: &Transaction<'_>) -> Result<()> {
        self.waiting.into_iter().try_for_each(|key| tx.set_pending(key, &Pending::Deliver))?;
        self.left_out.into_iter().try_for_each(|message| left_out.record(message, replica, tx))
    }
}

/// Checks and writes messages that are kept in memory.
pub(super) fn write_batch(
    disk: &dyn Disk,
    held: &Held<'_>,
    batch: &Batch<'_>,
    durability: Durability,
    leftovers: Leftovers,
) -> std::result::Result<Kept, Fault> {
    let mut kept = Kept::default();
    for Arriving { digest, at, to } in &batch.messages {
        let bytes = &batch.bytes[at.clone()];
        if Digest::of(bytes) != *digest {
            let what = format!("message {digest} has other contents");
            return Err(Fault::Bundle(bundle::Error::Corrupt { what: what.into() }));
        }
        if leaves_out(bytes) {
            return Err(marked(digest));
        }
        let mut unwritten = Vec::new();
        for goal in &to.to {
            let fail = |error: io::Error| Error::io("writing", &goal.path, error).advise(WRITING);
            match write_message(disk, goal, bytes, durability, leftovers) {
                Err(error) if leftovers.lets_wait(&error) => {
                    remove_part(disk, &goal.path)?;
                    unwritten.push(goal);
                }
                written => written.map_err(fail)?,
            }
        }
        if !unwritten.is_empty() || !to.held.is_empty() {
            let size = bytes.len() as u64;
            kept.instead(&unwritten, &to.held, to.late, size, held.hold(digest, bytes))?;
        }
    }
    Ok(kept)
}

/// A message has a line that its digest should have left out. Here a scan would take it for another one.
pub(super) fn marked(digest: &Digest) -> Fault {
    let what = format!("message {digest} has a header line of a synchroniser, which bundles leave out");
    Fault::Bundle(bundle::Error::Corrupt { what: what.into() })
}

/// Removes what was written of a message that is held instead: in `tmp/` a name alone tells that a message has come.
pub(super) fn remove_part(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.unlink(path) {
        Err(error) if !is_absent(&error) => {
            Err(Error::failed(format!("removing what was written of {}: {error}", path.display())).advise(WRITING))
        }
        _ => Ok(()),
    }
}

fn write_message(
    disk: &dyn Disk,
    goal: &Goal<'_>,
    bytes: &[u8],
    durability: Durability,
    leftovers: Leftovers,
) -> io::Result<()> {
    let Goal { path, mtime, like, .. } = goal;
    match write_new(disk, path, bytes, *mtime, like, durability) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && leftovers == Leftovers::Replace => {
            leftovers.clear(disk, path)?;
            write_new(disk, path, bytes, *mtime, like, durability)
        }
        result => result,
    }
}
