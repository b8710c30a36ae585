//! Moves of message files: to their places, to other folders, to the trash.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::decide::other_id;
use super::relocate::Copying;
use super::work::DiskWork;
use crate::disk::{
    Durability, Like, Meta, copy_message, hash_file, is_absent, is_there, refuses_name, remove_if_there,
};
use crate::error::{Error, Result};
use crate::maildir::listing::Listing;
use crate::maildir::{FileName, SizeField, Sub, delivered_base, visible};
use crate::message::FileKind;
use crate::replica::Replica;
use crate::state::{Discard, EntryRow, FolderKey, Place};

impl Replica {
    /// Moves a message to its place from the `tmp/` in which it lies under the name of the place `first`.
    pub(super) fn deliver_file(&self, row: &EntryRow, first: &Place, at: Place, progress: &mut DiskWork) -> Result<()> {
        let disk = &*self.world.disk;
        progress.mail_came_or_went = true;
        self.ensure_folder(at.folder, progress)?;
        let (mut from, to) = (self.tmp_path(first)?, self.path(&at)?);
        let tmp = self.tmp_path(&at)?;
        if from != tmp {
            // It was moved, or got another name, while it waited.
            if self.copy_to_tmp(row, &from, &tmp)? {
                progress.touched.note(&from);
                remove_if_there(disk.unlink(&from)).map_err(|error| Error::io("removing", &from, error))?;
            }
            from = tmp;
        }
        match self.rename(&from, &to, progress) {
            Ok(()) => {}
            Err(error) if (is_absent(&error) || refuses_name(&error)) && !is_there(disk, &from)? => {
                // If the file is at its place, an interrupted command has delivered it, though perhaps not durably.
                if let Some(place) = self.is_there_with_another_separator(&at, progress)? {
                    progress.renamed.push((row.key, place));
                } else if !is_there(disk, &to)? || self.state.is_discarded(&at)? {
                    // Programs may clear old files from tmp/. Another file on this machine may hold the same message.
                    if !self.recover_contents(row, &from)? {
                        progress.lost.push(row.key);
                        return Ok(());
                    }
                    self.rename(&from, &to, progress).map_err(|error| delivering(&to, &error))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return self.deliver_beside(row, &from, at, progress);
            }
            Err(error) if self.is_refused(&error, &from, &at)? => {
                let Some(at) = self.rename_with_another_separator(&from, &at, progress)? else {
                    return Err(delivering(&to, &error));
                };
                progress.renamed.push((row.key, at));
            }
            Err(error) => return Err(delivering(&to, &error)),
        }
        progress.touched.note(&from);
        progress.touched.note(&to);
        Ok(())
    }

    /// Delivers a message although something has its name. If that is this message, it was delivered before.
    fn deliver_beside(&self, row: &EntryRow, from: &Path, mut at: Place, progress: &mut DiskWork) -> Result<()> {
        let disk = &*self.world.disk;
        let mut id = row.id.clone();
        loop {
            let to = self.path(&at)?;
            match hash_file(disk, &to, FileKind::Message) {
                Ok(found)
                    if found.digest == row.id.digest
                        && self.state.entry_at(&at)?.is_none_or(|e| e.key == row.key)
                        && !self.state.is_discarded(&at)? =>
                {
                    disk.unlink(from).map_err(|error| Error::io("removing the second copy", from, error))?;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => match self.rename(from, &to, progress) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(delivering(&to, &error)),
                },
                Err(error) => return Err(Error::io("reading", &to, error)),
            }
            id = other_id(&id);
            let before = FileName::parse(&at.name);
            let size = SizeField::of_base(before.base(), row.entry.size, &self.config.name);
            let separator = before.separator().unwrap_or_else(|| self.state.separator(at.folder));
            let base = delivered_base(&id, row.entry.mtime, row.entry.size, size, &self.config.name);
            let letters = self.state.letters(at.folder)?;
            let (flags, _) = visible(&row.entry, &letters);
            at.name = FileName::parse(base.as_bytes()).with_flags(at.sub, &flags, &letters, separator);
        }
        progress.touched.note(from);
        progress.touched.note(&self.path(&at)?);
        progress.renamed.push((row.key, at));
        Ok(())
    }

    /// Renames a file within its folder, or moves it to another one.
    pub(super) fn move_file(&self, row: &EntryRow, from: &Place, at: &Place, progress: &mut DiskWork) -> Result<()> {
        let disk = &*self.world.disk;
        let (source, to) = (self.path(from)?, self.path(at)?);
        self.ensure_folder(at.folder, progress)?;
        progress.mail_came_or_went |= from.folder != at.folder;
        let renamed = match self.needs_a_copy(row, (from, &source), (at, &to)) {
            Ok(true) => Err(io::ErrorKind::CrossesDevices.into()),
            Err(error) if !is_absent(&error) => Err(error),
            _ => self.rename(&source, &to, progress),
        };
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                match self.move_across(row, &source, at, progress)? {
                    None => {
                        progress.disturbed.push((row.key, from.clone()));
                        return Ok(());
                    }
                    Some(place) if place != *at => progress.renamed.push((row.key, place)),
                    Some(_) => {}
                }
            }
            Err(error) if self.is_refused(&error, &source, at)? => {
                let Some(place) = self.rename_with_another_separator(&source, at, progress)? else {
                    return Err(Error::io("moving a message to", &to, error).again());
                };
                progress.renamed.push((row.key, place));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound || refuses_name(&error) => {
                // An interrupted command may have moved it, perhaps not durably, or another program.
                if is_there(disk, &source)? {
                    progress.disturbed.push((row.key, from.clone()));
                    return Ok(());
                }
                if let Some(place) = self.is_there_with_another_separator(at, progress)? {
                    progress.renamed.push((row.key, place));
                } else if !is_there(disk, &to)? {
                    progress.disturbed.push((row.key, from.clone()));
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !self.rename_in_case(&source, &to)? {
                    progress.disturbed.push((row.key, from.clone()));
                    return Ok(());
                }
            }
            Err(error) => return Err(Error::io("moving a message to", &to, error).again()),
        }
        progress.touched.note(&source);
        progress.touched.note(&to);
        Ok(())
    }

    /// Renames a file whose new name is its old one to the file system, as flags differ in case only: by way of a third
    /// name, which has the old flags, so that a scan knows the file if this is interrupted. Returns whether it did: not
    /// if another file has the new name.
    fn rename_in_case(&self, source: &Path, to: &Path) -> Result<bool> {
        let disk = &*self.world.disk;
        let (Some(dir), Some(name)) = (to.parent(), to.file_name()) else { return Ok(false) };
        let same = |one: Meta, other: Meta| (one.device, one.inode) == (other.device, other.inode);
        let are_one = disk.metadata(source).and_then(|one| disk.metadata(to).map(|other| same(one, other)));
        let are_one = match are_one {
            Err(error) if !is_absent(&error) => return Err(Error::io("looking at", to, error).again()),
            looked => looked.unwrap_or(false),
        };
        let mut is_listed = false;
        disk.list(dir, &mut |found, _| is_listed |= found == name).map_err(|error| Error::io("listing", dir, error))?;
        if is_listed || source.parent() != Some(dir) || !are_one {
            return Ok(false);
        }
        let mut third = source.as_os_str().to_owned();
        third.push(",case");
        let third = PathBuf::from(third);
        let fail = |error: io::Error| Error::io("moving a message to", to, error).again();
        disk.rename(source, &third).map_err(fail)?;
        disk.rename(&third, to).map_err(fail)?;
        Ok(true)
    }

    /// Whether a message is copied out of its file, which a rename would leave wrong: the file gets a name of our own,
    /// which tells the message's size, and holds more than that; or it goes to a folder that others share, or not, and
    /// would keep the rights of the folder in which it was.
    fn needs_a_copy(
        &self,
        row: &EntryRow,
        (from, source): (&Place, &Path),
        (at, to): (&Place, &Path),
    ) -> io::Result<bool> {
        let renamed = FileName::parse(&from.name).base() != FileName::parse(&at.name).base();
        let moved = from.folder != at.folder;
        if !renamed && !moved {
            return Ok(false);
        }
        let meta = self.world.disk.metadata(source)?;
        if renamed && meta.size != row.entry.size {
            return Ok(true);
        }
        if !moved {
            return Ok(false);
        }
        let wanted = self.like_message(to)?.file();
        let has_them = meta.mode & 0o7777 == wanted.mode && wanted.group.is_none_or(|group| group == meta.group);
        Ok(!has_them && self.like_message(source)?.file() != wanted)
    }

    /// Moves a file to the trash. Returns its name there; `None` if the file was not found.
    pub(super) fn discard(&self, discard: &Discard, progress: &mut DiskWork) -> Result<Option<String>> {
        let disk = &*self.world.disk;
        progress.mail_came_or_went = true;
        let trash = self.home.trash();
        let file = format!("{}-{}", discard.key, &discard.id.digest.to_string()[..16]);
        let to = trash.join(&file);
        let mut source = self.path(&discard.at)?;
        let mut looked = false;
        loop {
            let error = match self.rename(&source, &to, progress) {
                Ok(()) => break,
                // A rename reports different file systems before it looks whether the source exists.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices && !is_there(disk, &source)? => {
                    io::ErrorKind::NotFound.into()
                }
                Err(error) if is_absent(&error) && !is_there(disk, &source)? => io::ErrorKind::NotFound.into(),
                Err(error) => error,
            };
            match error.kind() {
                // An interrupted command has done it. If a rename is a link and an unlink, the interruption may have
                // come between the two.
                io::ErrorKind::AlreadyExists => {
                    let fail = |error: io::Error| Error::io("moving to the trash", &source, error);
                    if hash_file(disk, &source, FileKind::Message).map_err(fail)?.digest == discard.id.digest {
                        disk.sync_dir(&trash).map_err(fail)?;
                        disk.unlink(&source).map_err(fail)?;
                    }
                    break;
                }
                io::ErrorKind::NotFound if is_there(disk, &to)? => break,
                // Its flags have changed, which the remover had not seen. The removal counts nevertheless.
                io::ErrorKind::NotFound if !looked => {
                    looked = true;
                    let base = FileName::parse(&discard.at.name).base().to_vec();
                    let Some((sub, name)) = self.find_base(discard.at.folder, &base, progress)? else {
                        return self.discard_undelivered(discard, file, &to, progress);
                    };
                    source = self.path(&Place { folder: discard.at.folder, sub, name })?;
                }
                io::ErrorKind::NotFound => return Ok(None),
                io::ErrorKind::CrossesDevices => {
                    let tmp = trash.join(format!("{file}.part"));
                    let fail = |error: io::Error| Error::io("moving to the trash", &source, error).again();
                    let copy = Copying { digest: &discard.id.digest, mtime: discard.mtime, like: Like::PRIVATE };
                    if self.copy_across(&copy, &source, &tmp, &to, fail)? {
                        break;
                    }
                    return Ok(is_there(disk, &to)?.then_some(file));
                }
                _ => return Err(Error::io("moving to the trash", &source, error).again()),
            }
        }
        progress.touched.note(&source);
        progress.touched.note(&to);
        Ok(Some(file))
    }

    /// Puts a message into the trash that was removed before it could be delivered. Returns what [`Replica::discard`]
    /// does.
    fn discard_undelivered(
        &self,
        discard: &Discard,
        file: String,
        to: &Path,
        progress: &mut DiskWork,
    ) -> Result<Option<String>> {
        let disk = &*self.world.disk;
        let part = to.with_extension("part");
        for source in [self.tmp_path(&discard.at)?, self.held().path(&discard.id.digest)] {
            match hash_file(disk, &source, FileKind::Message) {
                Ok(found) if found.digest == discard.id.digest => {}
                Err(error) if !is_absent(&error) => {
                    return Err(Error::io("reading", &source, error).again_after("see why"));
                }
                _ => continue,
            }
            let fail = |error: io::Error| Error::io("moving to the trash", &source, error).again();
            remove_if_there(disk.unlink(&part)).map_err(fail)?;
            copy_message(disk, &source, &part, discard.mtime, &Like::PRIVATE, Durability::Now).map_err(fail)?;
            disk.rename(&part, to).map_err(fail)?;
            progress.touched.note(to);
            return Ok(Some(file));
        }
        Ok(None)
    }

    /// Finds a file by the base of its name.
    fn find_base(&self, folder: FolderKey, base: &[u8], progress: &mut DiskWork) -> Result<Option<(Sub, Vec<u8>)>> {
        if let std::collections::hash_map::Entry::Vacant(e) = progress.bases.entry(folder) {
            let dir = self.dir(&self.state.folder_row(folder)?.name);
            let mut bases = HashMap::new();
            match Listing::read(&*self.world.disk, &dir, None) {
                Ok(listing) => {
                    for (name, sub) in listing.iter() {
                        bases.insert(FileName::parse(name).base().to_vec(), (sub, name.to_vec()));
                    }
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::io("listing", &dir, error)),
            }
            e.insert(bases);
        }
        Ok(progress.bases[&folder].get(base).cloned())
    }
}

/// A message that could not come to its place.
pub(super) fn delivering(to: &Path, error: &io::Error) -> Error {
    Error::io("delivering", to, error).again().besides("the message is not lost")
}
