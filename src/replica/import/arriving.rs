//! The writing of messages that arrive: into `tmp/`, to their places, or to where they are held.

use std::io;
use std::path::{Path, PathBuf};

use super::landing::Leftovers;
use super::refusal::{Fault, WRITING};
use crate::bundle;
use crate::disk::{Disk, Durability, is_absent, write_new};
use crate::error::{Error, Result};
use crate::message::leaves_out;
use crate::model::{Digest, Mtime};
use crate::replica::materialise::Held;
use crate::state::EntryKey;

/// A message on its way to the disk.
pub(super) struct Arriving {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub to: Destination,
}

/// Where a message goes.
#[derive(Default)]
pub(super) struct Destination {
    /// The files that are to hold it.
    pub to: Vec<Goal>,
    /// Whether there is a folder that can't take it, so that it is held until that can.
    pub held: bool,
}

/// A file that is to hold a message.
pub(super) struct Goal {
    pub path: PathBuf,
    /// The delivery date.
    pub mtime: Mtime,
    /// The entry whose file is in its place with that; `None` if it is delivered from there later.
    pub in_place: Option<EntryKey>,
}

impl Destination {
    pub fn is_none(&self) -> bool {
        self.to.is_empty() && !self.held
    }
}

/// Checks and writes messages that are kept in memory. Returns the entries that don't get their files in their places:
/// their messages are held.
pub(super) fn write_batch(
    disk: &dyn Disk,
    held: &Held<'_>,
    batch: Vec<Arriving>,
    durability: Durability,
    leftovers: Leftovers,
) -> std::result::Result<Vec<EntryKey>, Fault> {
    let mut waiting = Vec::new();
    for Arriving { digest, bytes, to } in batch {
        if Digest::of(&bytes) != digest {
            let what = format!("message {digest} has other contents");
            return Err(Fault::Bundle(bundle::Error::Corrupt { what: what.into() }));
        }
        if leaves_out(&bytes) {
            return Err(marked(&digest));
        }
        let mut is_held = to.held;
        for Goal { path, mtime, in_place } in &to.to {
            let fail = |error: io::Error| Error::io("writing", path, error).advise(WRITING);
            match write_message(disk, path, &bytes, *mtime, durability, leftovers) {
                Err(error) if leftovers.lets_wait(&error) => {
                    remove_part(disk, path)?;
                    is_held = true;
                    waiting.extend(in_place);
                }
                written => written.map_err(fail)?,
            }
        }
        if is_held {
            held.hold(&digest, &bytes)?;
        }
    }
    Ok(waiting)
}

/// A message has a line that its digest should have left out. Here a scan would take it for another one.
pub(super) fn marked(digest: &Digest) -> Fault {
    let what = format!("message {digest} has a header line of a synchroniser, which bundles leave out");
    Fault::Bundle(bundle::Error::Corrupt { what: what.into() })
}

/// A file that is being written through the layer of file operations.
pub(super) struct DiskFile<'d> {
    pub disk: &'d dyn Disk,
    pub path: &'d Path,
    pub file: std::fs::File,
}

impl io::Write for DiskFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.path, &mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    path: &Path,
    bytes: &[u8],
    mtime: Mtime,
    durability: Durability,
    leftovers: Leftovers,
) -> io::Result<()> {
    match write_new(disk, path, bytes, mtime, durability) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && leftovers == Leftovers::Replace => {
            leftovers.clear(disk, path)?;
            write_new(disk, path, bytes, mtime, durability)
        }
        result => result,
    }
}
