//! Renames and copies of message files, within a file system and across, and the search for contents elsewhere on this
//! machine.

use std::io;
use std::path::{Path, PathBuf};

use super::work::DiskWork;
use crate::disk::{Durability, copy_new, hash_file, is_there, remove_if_there};
use crate::error::{Error, Result};
use crate::model::{Digest, Mtime};
use crate::replica::Replica;
use crate::state::{EntryRow, Pending, Place};

impl Replica {
    /// Renames a file. If the `new/` or `cur/` isn't there, it is made: some programs remove an empty one.
    pub(super) fn rename(&self, from: &Path, to: &Path, progress: &mut DiskWork) -> io::Result<()> {
        let disk = &*self.world.disk;
        match disk.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && disk.metadata(from).is_ok() => {
                let dir = to.parent().expect("a file lies in a directory");
                self.make_dirs(dir)?;
                progress.touch(dir);
                disk.rename(from, to)
            }
            result => result,
        }
    }

    /// Renames a file to another directory. A symbolic link that would lead nowhere from there is treated as if it were
    /// on another file system, so that its target is copied.
    pub(super) fn rename_to_another_directory(
        &self,
        from: &Path,
        to: &Path,
        progress: &mut DiskWork,
    ) -> io::Result<()> {
        let disk = &*self.world.disk;
        self.rename(from, to, progress)?;
        match disk.metadata(to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.rename(to, from)?;
                Err(io::ErrorKind::CrossesDevices.into())
            }
            looked => looked.map(drop),
        }
    }

    /// Moves a file to a folder on another file system. Returns whether it did: not if the file isn't as last seen any
    /// more, or if something else has its new name.
    pub(super) fn move_across(&self, row: &EntryRow, source: &Path, at: &Place, to: &Path) -> Result<bool> {
        if !is_there(&*self.world.disk, source)? {
            return is_there(&*self.world.disk, to);
        }
        let fail = |error: io::Error| Error::io("moving a message to", to, error).advise("run this again");
        self.copy_across(&row.id.digest, row.entry.mtime, source, &self.tmp_path(at)?, to).map_err(fail)
    }

    /// Moves a file to another file system. The copy is durable under its name before the original goes. Returns
    /// whether it did: not if something else has the new name.
    pub(super) fn copy_across(
        &self,
        digest: &Digest,
        mtime: Mtime,
        source: &Path,
        tmp: &Path,
        to: &Path,
    ) -> io::Result<bool> {
        let disk = &*self.world.disk;
        for file in [tmp, to] {
            self.make_dirs(file.parent().expect("a file lies in a directory"))?;
        }
        remove_if_there(disk.unlink(tmp))?;
        copy_new(disk, source, tmp, mtime, Durability::Now)?;
        match disk.rename(tmp, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.unlink(tmp)?;
                // An interruption may have come after the new name was given and before the old one was removed.
                if hash_file(disk, to)?.digest != *digest {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
        disk.sync_dir(to.parent().expect("a message lies in a directory"))?;
        disk.unlink(source)?;
        Ok(true)
    }

    /// Copies a message's contents into `tmp` from another file on this machine. Returns whether such a file was found.
    pub(super) fn recover_contents(&self, row: &EntryRow, tmp: &Path) -> Result<bool> {
        let Some((source, _)) = self.find_contents(&row.id.digest)? else { return Ok(false) };
        self.copy_contents(row, &source, tmp)?;
        Ok(true)
    }

    /// Copies a message's contents to `tmp`.
    pub(in crate::replica) fn copy_contents(&self, row: &EntryRow, source: &Path, tmp: &Path) -> Result<()> {
        let disk = &*self.world.disk;
        let fail = |error: io::Error| Error::io("writing", tmp, error).advise("run this again");
        remove_if_there(disk.unlink(tmp)).map_err(fail)?;
        copy_new(disk, source, tmp, row.entry.mtime, Durability::Now).map_err(fail)?;
        Ok(())
    }

    /// A file on this machine that holds this message, in its place or in the trash, and its size in bytes.
    pub(in crate::replica) fn find_contents(&self, digest: &Digest) -> Result<Option<(PathBuf, u64)>> {
        for source in self.sources(digest)? {
            match hash_file(&*self.world.disk, &source) {
                Ok(found) if found.digest == *digest => return Ok(Some((source, found.size))),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("reading", &source, error).advise("see why, then run this again"));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The files that should hold this message.
    pub(in crate::replica) fn sources(&self, digest: &Digest) -> Result<Vec<PathBuf>> {
        let mut sources = Vec::new();
        for row in self.state.entries_of(digest)? {
            match (row.at, self.state.pending(row.key)?) {
                (Some(at), None | Some(Pending::Reconsider)) => sources.push(self.path(&at)?),
                (_, Some(Pending::Move(from))) => sources.push(self.path(&from)?),
                _ => {}
            }
        }
        if let Some(trashed) = self.state.trashed_message(digest)? {
            sources.push(self.home.trash().join(trashed.file));
        }
        Ok(sources)
    }
}
