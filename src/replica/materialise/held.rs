//! Messages that have come, and whose folders can't take them yet: they are held in the state directory, by their
//! digests, until they can be delivered.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{
    Disk, Durability, Like, copy_message, hash_file, is_absent, is_there, remove_if_empty, remove_if_there, write_new,
};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::{Digest, Mtime};
use crate::replica::Replica;

const MAKE_ROOM: &str = "make room for it";

/// The directory of the messages that are held.
pub(in crate::replica) struct Held<'d> {
    disk: &'d dyn Disk,
    dir: PathBuf,
}

impl Held<'_> {
    /// The file that holds a message.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// Holds a message with these bytes, durably.
    pub(in crate::replica) fn hold(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        // Its date is that of its entry, not of this file.
        let date = Mtime::new(0, 0);
        self.hold_by(digest, |part| write_new(self.disk, part, bytes, date, &Like::PRIVATE, Durability::Now))
    }

    /// Holds a copy of the message in this file, durably. Returns whether the file has it.
    pub(in crate::replica) fn hold_copy(&self, digest: &Digest, file: &Path) -> Result<bool> {
        match hash_file(self.disk, file, FileKind::Message) {
            Ok(found) if found.digest == *digest => {}
            Err(error) if !is_absent(&error) => return Err(Error::io("reading", file, error).again_after(MAKE_ROOM)),
            _ => return Ok(false),
        }
        let date = Mtime::new(0, 0);
        self.hold_by(digest, |part| copy_message(self.disk, file, part, date, &Like::PRIVATE, Durability::Now))
            .map(|()| true)
    }

    /// Where a message is to be written that is then [kept](Self::keep).
    pub(in crate::replica) fn begin(&self, digest: &Digest) -> Result<PathBuf> {
        let fail = |error: io::Error| self.error(&error);
        match self.disk.make_dir(&self.dir) {
            Ok(()) => self.dir.parent().map_or(Ok(()), |above| self.disk.sync_dir(above)).map_err(fail)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error)),
        }
        let part = self.dir.join(format!("{digest}.part"));
        remove_if_there(self.disk.unlink(&part)).map_err(fail)?;
        Ok(part)
    }

    /// Gives a message its name, which only a whole and durable one has.
    pub(in crate::replica) fn keep(&self, digest: &Digest, part: &Path) -> Result<()> {
        let fail = |error: io::Error| self.error(&error);
        match self.disk.rename(part, &self.path(digest)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.unlink(part).map_err(fail)?,
            renamed => renamed.map_err(fail)?,
        }
        self.disk.sync_dir(&self.dir).map_err(fail)
    }

    fn hold_by(&self, digest: &Digest, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let part = self.begin(digest)?;
        write(&part).map_err(|error| self.error(&error))?;
        self.keep(digest, &part)
    }

    /// The state directory is not a place among others: without it nothing can be done.
    fn error(&self, error: &io::Error) -> Error {
        Error::io("holding a message in", &self.dir, error).without_scope().again_after(MAKE_ROOM)
    }
}

impl Replica {
    /// The messages that are held.
    pub(in crate::replica) fn held(&self) -> Held<'_> {
        Held { disk: &*self.world.disk, dir: self.home.held() }
    }

    /// Removes what is held for nothing any more.
    pub(super) fn sweep_held(&self) -> Result<()> {
        let (disk, dir) = (&*self.world.disk, self.home.held());
        // It is there as long as something is held.
        if !is_there(disk, &dir)? {
            return Ok(());
        }
        let mut files = Vec::new();
        disk.list(&dir, &mut |name, _| files.push(dir.join(name)))
            .map_err(|error| Error::io("listing", &dir, error).again())?;
        for path in files {
            let digest = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<Digest>().ok());
            if let Some(digest) = digest
                && self.state.is_needed_on_disk(&digest)?
            {
                continue;
            }
            remove_if_there(disk.unlink(&path)).map_err(|error| Error::io("removing", &path, error).again())?;
        }
        let removed = remove_if_empty(disk, &dir);
        removed.map(drop).map_err(|error| Error::io("removing", &dir, error).again())
    }
}
