//! Room for what is written without knowing how much it will be.

use std::io::{self, Write};
use std::path::PathBuf;

use super::Replica;
use crate::disk::{Disk, Space};
use crate::error::{Error, Result};
use crate::text::bytes;

/// So many bytes must find room before any of them is written: a disk that fills up leaves none for anybody else.
const STEP: u64 = 1 << 20;

/// Looks, step by step, whether what grows in a directory still finds room there.
pub(super) struct Room<'d> {
    disk: &'d dyn Disk,
    dir: PathBuf,
    /// Up to so many bytes there was room.
    checked: u64,
}

impl Room<'_> {
    /// There must be room for so many bytes in all. What is kept there is called `what`.
    ///
    /// # Errors
    /// There is too little; both figures are told.
    pub fn reach(&mut self, what: &str, total: u64) -> Result<()> {
        let dir = self.dir.display().to_string();
        self.look(total).map_err(|why| {
            Error::failed(format!("keeping {what} in {dir}: {why}"))
                .advise("make room there, then run this again; nothing is lost")
        })
    }

    /// The same. A file system that doesn't tell is no reason to refuse anything.
    fn look(&mut self, total: u64) -> std::result::Result<(), String> {
        if total <= self.checked {
            return Ok(());
        }
        let needed = (total - self.checked).max(STEP);
        match self.disk.space(&self.dir) {
            Ok(Some(Space { free, .. })) if free < needed => {
                Err(format!("{} more are to be written, and {} are free there", bytes(needed), bytes(free)))
            }
            _ => {
                self.checked += needed;
                Ok(())
            }
        }
    }
}

impl Replica {
    /// Room in the state directory for something of which the first bytes, so many, are kept in memory.
    pub(super) fn room_for_spool(&self, in_memory: usize) -> Room<'_> {
        room(&*self.world.disk, self.home.state_dir().to_owned(), in_memory)
    }
}

/// Room in a directory for something of which the first bytes, so many, are kept in memory.
pub(super) fn room(disk: &dyn Disk, dir: PathBuf, in_memory: usize) -> Room<'_> {
    Room { disk, dir, checked: in_memory as u64 }
}

/// A writer that writes nothing for which there is no room.
pub(super) struct Roomy<'d, W> {
    out: W,
    room: Room<'d>,
    written: u64,
}

impl<'d, W: Write> Roomy<'d, W> {
    pub fn new(out: W, room: Room<'d>) -> Self {
        Self { out, room, written: 0 }
    }

    /// What is written to.
    pub fn inner(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends it.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Roomy<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = |why: String| io::Error::new(io::ErrorKind::StorageFull, why);
        self.room.look(self.written + bytes.len() as u64).map_err(full)?;
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
