//! Renames and copies of message files, within a file system and across, and the search for contents elsewhere on this
//! machine.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::work::DiskWork;
use crate::disk::{Durability, Like, copy_message, hash_file, is_absent, is_there, refuses_name, remove_if_there};
use crate::error::{Error, Result, Scope};
use crate::maildir::{FileName, Separator};
use crate::message::FileKind;
use crate::model::{Digest, Mtime};
use crate::replica::Replica;
use crate::state::{EntryRow, Pending, Place};

/// A copy of a message, as it is to be.
pub(super) struct Copying<'c> {
    pub digest: &'c Digest,
    pub mtime: Mtime,
    pub like: Like<'c>,
}

/// How the name of a file begins by which it is tried what names can be.
pub(super) const TRIAL: &[u8] = b"mailsync-trial";

/// So many entries of a message are asked for a file of it, where any of them will do.
const SOME: u32 = 16;

/// The same place with each other separator in the file's name, if it has one.
fn with_other_separators(at: &Place) -> impl Iterator<Item = (Separator, Place)> {
    let name = FileName::parse(&at.name);
    Separator::ALL
        .into_iter()
        .filter(move |other| Some(*other) != name.separator())
        .filter_map(move |separator| Some((separator, Place { name: name.with_separator(separator)?, ..at.clone() })))
}

impl Replica {
    /// Renames a file. If the `new/` or `cur/` isn't there, it is made: some programs remove an empty one.
    pub(super) fn rename(&self, from: &Path, to: &Path, progress: &mut DiskWork) -> io::Result<()> {
        let disk = &*self.world.disk;
        match disk.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What is missing is the file itself, or the directory. An error here says that nobody knows.
                disk.metadata(from)?;
                let dir = to.parent().expect("a file lies in a directory");
                self.make_dirs(dir)?;
                progress.touched.note(dir);
                disk.rename(from, to)
            }
            result => result,
        }
    }

    /// Whether a file could not be given the name of a place since that place's file system refuses such names. The file
    /// is still there.
    pub(super) fn is_refused(&self, error: &io::Error, from: &Path, at: &Place) -> Result<bool> {
        let absent = error.kind() == io::ErrorKind::NotFound;
        Ok((absent || refuses_name(error))
            && is_there(&*self.world.disk, from)?
            && (!absent || self.refuses_info(at)?))
    }

    /// Whether no file can be called like one with flags in this place. Some file systems then say that it isn't there,
    /// as they do of a file that another program has taken away; so that is tried.
    fn refuses_info(&self, at: &Place) -> Result<bool> {
        let (disk, tmp) = (&*self.world.disk, self.tmp_path(at)?);
        let Some(info) = at.name.get(FileName::parse(&at.name).base().len()..).filter(|info| !info.is_empty()) else {
            return Ok(false);
        };
        let trial = tmp.with_file_name(OsStr::from_bytes(&[TRIAL, info].concat()));
        let fail = |error: io::Error| Error::io("trying a name,", &trial, error).again_after("see why");
        match disk.create(&trial) {
            Ok(_) => remove_if_there(disk.unlink(&trial)).map(|()| false).map_err(fail),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                is_there(disk, tmp.parent().expect("a file lies in a directory"))
            }
            Err(error) if refuses_name(&error) => Ok(true),
            Err(error) if Scope::of(&error) == Scope::Disk => Err(fail(error)),
            // An interrupted trial has left it; or nothing may be made there, and then nobody can tell.
            Err(_) => Ok(false),
        }
    }

    /// Renames a file to a place whose name its file system refuses with the separator that it has, under a name with
    /// another one, which from then on is that of the folder. Returns the place; `None` if that is refused as well.
    pub(super) fn rename_with_another_separator(
        &self,
        from: &Path,
        at: &Place,
        progress: &mut DiskWork,
    ) -> Result<Option<Place>> {
        for (separator, place) in with_other_separators(at) {
            let to = self.path(&place)?;
            match self.rename(from, &to, progress) {
                Ok(()) => {
                    progress.separators.insert(at.folder, separator);
                    progress.touched.note(&to);
                    return Ok(Some(place));
                }
                Err(error) if self.is_refused(&error, from, &place)? => {}
                Err(error) => return Err(Error::io("moving a message to", &to, error).again()),
            }
        }
        Ok(None)
    }

    /// Whether an interrupted command has brought a file to its place under another separator, since its file system
    /// refuses the usual one. No other entry has a file there.
    pub(super) fn is_there_with_another_separator(&self, at: &Place, progress: &mut DiskWork) -> Result<Option<Place>> {
        if is_there(&*self.world.disk, &self.path(at)?)? {
            return Ok(None);
        }
        for (separator, place) in with_other_separators(at) {
            if is_there(&*self.world.disk, &self.path(&place)?)?
                && self.state.entry_at(&place)?.is_none()
                && !self.state.is_discarded(&place)?
            {
                progress.separators.insert(at.folder, separator);
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Moves a file to a folder on another file system. Returns where it is then, which may have another separator;
    /// `None` if the file isn't as last seen any more, or if something else has its new name.
    pub(super) fn move_across(
        &self,
        row: &EntryRow,
        source: &Path,
        at: &Place,
        progress: &mut DiskWork,
    ) -> Result<Option<Place>> {
        let to = self.path(at)?;
        if !is_there(&*self.world.disk, source)? {
            if let Some(place) = self.is_there_with_another_separator(at, progress)? {
                return Ok(Some(place));
            }
            return Ok(is_there(&*self.world.disk, &to)?.then(|| at.clone()));
        }
        let like = self.look_at_folder_of(&to)?;
        let copy = Copying { digest: &row.id.digest, mtime: row.entry.mtime, like };
        let refused = Cell::new(false);
        let attempt = |place: &Place| {
            let to = self.path(place)?;
            self.copy_across(&copy, source, &self.tmp_path(place)?, &to, |error| {
                refused.set(refuses_name(&error) || error.kind() == io::ErrorKind::NotFound);
                Error::io("moving a message to", &to, error).again()
            })
        };
        let mut moved = attempt(at).map(|moved| moved.then(|| at.clone()));
        for (separator, place) in with_other_separators(at) {
            if !refused.take() || !self.refuses_info(at)? {
                break;
            }
            moved = attempt(&place).map(|moved| moved.then_some(place));
            if let Ok(Some(place)) = &moved {
                progress.touched.note(&self.path(place)?);
                progress.separators.insert(at.folder, separator);
            }
        }
        moved
    }

    /// Moves a file to another file system. The copy is durable under its name before the original goes. Returns
    /// whether it did: not if something else has the new name, or if the original got another one meanwhile. `fail`
    /// says what was being done.
    pub(super) fn copy_across(
        &self,
        copy: &Copying<'_>,
        source: &Path,
        tmp: &Path,
        to: &Path,
        fail: impl Fn(io::Error) -> Error,
    ) -> Result<bool> {
        let disk = &*self.world.disk;
        for file in [tmp, to] {
            self.make_dirs(file.parent().expect("a file lies in a directory")).map_err(&fail)?;
        }
        remove_if_there(disk.unlink(tmp)).map_err(&fail)?;
        copy_message(disk, source, tmp, copy.mtime, &copy.like, Durability::Now).map_err(&fail)?;
        match disk.rename(tmp, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.unlink(tmp).map_err(&fail)?;
                // An interruption may have come after the new name was given and before the old one was removed.
                if hash_file(disk, to, FileKind::Message).map_err(&fail)?.digest != *copy.digest {
                    return Ok(false);
                }
            }
            Err(error) => {
                // What is left of it would be swept, too.
                let _ = disk.unlink(tmp);
                return Err(fail(error));
            }
        }
        let durable = disk.sync_dir(to.parent().expect("a message lies in a directory"));
        match durable.and_then(|()| disk.unlink(source)) {
            Err(error) if Scope::of(&error) == Scope::Place && error.kind() != io::ErrorKind::NotFound => {
                // The original stays: then the copy goes, or a scan would take one of them for another message.
                disk.unlink(to).map_err(|second| {
                    Error::failed(format!("removing the copy {}: {second}, after {error}", to.display()))
                        .again_after("see that it can be removed")
                })?;
                Err(fail(error))
            }
            // A mail program has given the original another name meanwhile, and its change counts.
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.unlink(to).map(|()| false).map_err(fail),
            done => done.map(|()| true).map_err(fail),
        }
    }

    /// Puts a message into `tmp` from this file, if that holds it. Returns whether it did.
    pub(in crate::replica) fn copy_to_tmp(&self, row: &EntryRow, source: &Path, tmp: &Path) -> Result<bool> {
        let disk = &*self.world.disk;
        match hash_file(disk, source, FileKind::Message) {
            Ok(found) if found.digest == row.id.digest => {}
            Err(error) if !is_absent(&error) => {
                return Err(Error::io("reading", source, error).again_after("see why"));
            }
            _ => return Ok(false),
        }
        let fail = |error: io::Error| Error::io("writing", tmp, error).again();
        self.make_dirs(tmp.parent().expect("a message lies in a directory")).map_err(fail)?;
        // The file has its name only when it is whole, as the name alone tells that the message has come. Until then it
        // has one that is known for a leftover, too.
        let mut name = OsString::from("0");
        name.push(tmp.file_name().expect("a message has a name"));
        let part = tmp.with_file_name(name);
        remove_if_there(disk.unlink(&part)).map_err(fail)?;
        let like = self.look_at_folder_of(tmp)?;
        let copied = copy_message(disk, source, &part, row.entry.mtime, &like, Durability::Now)
            .and_then(|()| remove_if_there(disk.unlink(tmp)))
            .and_then(|()| disk.rename(&part, tmp));
        if let Err(error) = copied {
            remove_if_there(disk.unlink(&part)).map_err(fail)?;
            return Err(fail(error));
        }
        Ok(true)
    }

    /// Copies a message's contents into `tmp` from another file on this machine. Returns whether such a file was found.
    pub(super) fn recover_contents(&self, row: &EntryRow, tmp: &Path) -> Result<bool> {
        let Some((source, _)) = self.find_contents(&row.id.digest, tmp)? else { return Ok(false) };
        self.copy_to_tmp(row, &source, tmp)
    }

    /// A file on this machine that holds this message, in its place or in the trash, or that waits to be delivered; not
    /// this one. With the size of the message in bytes.
    ///
    /// # Errors
    /// None that can be read does, and there is one that can't be.
    pub(in crate::replica) fn find_contents(&self, digest: &Digest, but: &Path) -> Result<Option<(PathBuf, u64)>> {
        let mut unreadable = None;
        for source in self.sources(digest)? {
            if source == but {
                continue;
            }
            match hash_file(&*self.world.disk, &source, FileKind::Message) {
                Ok(found) if found.digest == *digest => return Ok(Some((source, found.size))),
                Err(error) if !is_absent(&error) => {
                    let error = Error::io("reading", &source, error).again_after("see why");
                    // Where one may not be read, another may.
                    if !error.is_about_a_place() {
                        return Err(error);
                    }
                    unreadable.get_or_insert(error);
                }
                _ => {}
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// The files that should hold this message.
    pub(in crate::replica) fn sources(&self, digest: &Digest) -> Result<Vec<PathBuf>> {
        self.sources_among(self.state.entries_of(digest)?, digest)
    }

    /// Some of the files that should hold this message, for whoever asks for it again and again: what is there a thousand times isn't
    /// looked up a thousand times.
    pub(in crate::replica) fn some_sources(&self, digest: &Digest) -> Result<Vec<PathBuf>> {
        self.sources_among(self.state.entries_with_files(digest, SOME)?, digest)
    }

    fn sources_among(&self, entries: Vec<EntryRow>, digest: &Digest) -> Result<Vec<PathBuf>> {
        let mut sources = Vec::new();
        for row in entries {
            match (row.at, self.state.pending(row.key)?) {
                (Some(at), None | Some(Pending::Reconsider)) => sources.push(self.path(&at)?),
                (_, Some(Pending::Move(from))) => sources.push(self.path(&from)?),
                (Some(at), Some(Pending::Deliver)) => sources.push(self.tmp_path(&at)?),
                (_, Some(Pending::DeliverFrom(first))) => sources.push(self.tmp_path(&first)?),
                _ => {}
            }
        }
        let held = self.held().path(digest);
        if is_there(&*self.world.disk, &held)? {
            sources.push(held);
        }
        if let Some(trashed) = self.state.trashed_message(digest)? {
            sources.push(self.home.trash().join(trashed.file));
        }
        Ok(sources)
    }
}
