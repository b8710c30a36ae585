//! Materialising: make the disk follow the state.
//!
//! What is to be done is first decided and committed ([`Replica::plan`]), then done ([`Replica::materialise`]), then
//! committed as done. Every step can be repeated: one that was done already is recognised. Nothing is overwritten, nothing
//! is removed that isn't in the trash first, and a file that somebody else has changed meanwhile is left to the next scan.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Replica;
use super::transaction::Transaction;
use crate::disk::{Hashed, Kind, hash_file, is_there, remove_if_empty, remove_if_there};
use crate::error::{Error, Result};
use crate::maildir::listing::{Listing, path_in};
use crate::maildir::{
    FileName, LayoutKind, NAME_MAX, Sub, delivered_base, is_delivered_base, sub_of, tmp_dirs, visible,
};
use crate::model::{Entry, EntryId, FlagSet, FolderName, Origin, Stamp};
use crate::state::{By, Discard, EntryKey, EntryRow, FolderKey, Pending, Place};

/// From this many directories on, one sync of the whole file system is cheaper than one of each.
const MANY_DIRS: usize = 16;
/// After so many failures nothing more is tried.
const MOST_FAILURES: usize = 100;
/// How many pending entries are taken from the state at a time.
const BATCH: u32 = 512;

/// Directories whose names have changed and are to be made durable, and what becomes of entries for which that was not so.
#[derive(Debug, Default)]
pub(super) struct Progress {
    touched: BTreeSet<PathBuf>,
    /// Entries whose file was not as last seen; the place to go back to.
    disturbed: Vec<(EntryKey, Place)>,
    /// Entries whose contents are lost.
    lost: Vec<EntryKey>,
    /// Entries whose file had to get another name.
    renamed: Vec<(EntryKey, Place)>,
    pub(super) folders_made: Vec<FolderKey>,
    folders_removed: Vec<FolderKey>,
    trashed: Vec<(Discard, Option<String>)>,
    /// Entries for which it could not be done.
    undone: Vec<(EntryKey, Pending)>,
    /// Why not: the first reason, and how many there are.
    failed: Option<(Error, usize)>,
    /// The files of a folder by base, read when one is not where it was last seen.
    bases: HashMap<FolderKey, Bases>,
}

/// A message that comes into a folder, as a change of this replica's.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The entry's id.
    pub id: EntryId,
    /// The removed entry that it brings back.
    past: Option<EntryRow>,
    /// What it becomes.
    pub entry: Entry,
}

/// Where the files of a folder are, by base.
type Bases = HashMap<Vec<u8>, (Sub, Vec<u8>)>;

impl Replica {
    /// What a message that comes into a folder becomes: a new entry, or one that was removed and is brought back.
    pub(super) fn delivery(
        &self,
        stamp: Stamp,
        origin: Origin,
        folder: FolderName,
        flags: &FlagSet,
        hashed: &Hashed,
    ) -> Result<Delivery> {
        let (id, past) = self.state.free_ordinal(hashed.digest, &folder)?;
        let before = past.as_ref().map(|row| &row.entry);
        let entry = Entry::delivered(before, origin, stamp, folder, flags, hashed.size, hashed.mtime);
        Ok(Delivery { id, past, entry })
    }

    /// Records a delivery. `at` is where its file lies.
    pub(super) fn deliver(&self, tx: &Transaction<'_>, delivery: Delivery, at: &Place) -> Result<EntryKey> {
        let Delivery { id, past, entry } = delivery;
        let Some(row) = past else { return tx.insert_entry(&id, &entry, Some(at)) };
        let key = row.key;
        tx.update_entry(&row, &entry)?;
        tx.set_place(key, Some(at))?;
        self.plan(tx, &EntryRow { entry, at: Some(at.clone()), ..row }, &By::Here)?;
        Ok(key)
    }

    /// Decides what is to be done on disk so that an entry's file is as its registers say. `row` is the entry as recorded
    /// now; `by` says who removed it, if it was.
    pub(super) fn plan(&self, tx: &Transaction<'_>, row: &EntryRow, by: &By) -> Result<()> {
        let state = &self.state;
        match (&row.at, row.entry.alive()) {
            (None, false) => tx.remove_missing(row.key),
            (None, true) => {
                // It may have been missing until now: from here on it awaits its contents, and is missing again if none come.
                tx.remove_missing(row.key)?;
                tx.set_place(row.key, Some(&self.place_for(tx, &row.id, &row.entry)?))?;
                tx.set_pending(row.key, &Pending::Await)
            }
            (Some(at), false) => {
                tx.add_discard(&row.id, &row.entry, at, by)?;
                tx.set_place(row.key, None)?;
                tx.clear_pending(row.key)
            }
            (Some(at), true) => {
                let folder = tx.folder(&row.entry.location.1)?;
                let flags = visible(&row.entry);
                if at.folder == folder && at.flags() == flags {
                    return Ok(());
                }
                let to = if at.folder == folder {
                    let sub = sub_of(&flags);
                    Place { folder, sub, name: FileName::parse(&at.name).with_flags(sub, &flags) }
                } else {
                    self.place_for(tx, &row.id, &row.entry)?
                };
                // Two files of one base, by some program's mistake: this one goes under a name of our own.
                let taken = state.entry_at(&to)?.is_some_and(|other| other.key != row.key);
                // So does one whose name leaves no room for its flags.
                let to = if taken || to.name.len() > NAME_MAX { self.place_for(tx, &row.id, &row.entry)? } else { to };
                tx.set_place(row.key, Some(&to))?;
                tx.set_pending(row.key, &Pending::Move(at.clone()))
            }
        }
    }

    /// From when on the trash keeps what is removed now. Never before the latest change that is known: where this clock is behind
    /// for a while, a purge would otherwise take what was only just removed for old.
    fn date_of_removal(&self) -> Result<u64> {
        Ok(self.now().max(self.state.knowledge()?.newest().millis()))
    }

    /// Where an entry's file is put: its name derives from the entry's id, so that a repeated delivery has the same name.
    pub(super) fn place_for(&self, tx: &Transaction<'_>, id: &EntryId, entry: &Entry) -> Result<Place> {
        let folder = tx.folder(&entry.location.1)?;
        let flags = visible(entry);
        let sub = sub_of(&flags);
        let mut named = id.clone();
        loop {
            let base = delivered_base(&named, entry.mtime, entry.size, &self.config.name);
            let place = Place { folder, sub, name: FileName::parse(base.as_bytes()).with_flags(sub, &flags) };
            match self.state.entry_at(&place)? {
                Some(other) if other.id != *id => named = other_id(&named),
                _ => return Ok(place),
            }
        }
    }

    /// The file in `tmp/` from which an entry is delivered to `at`.
    pub(super) fn tmp_path(&self, at: &Place) -> Result<PathBuf> {
        let dir = self.dir(&self.state.folder_row(at.folder)?.name).join("tmp");
        Ok(dir.join(OsStr::from_bytes(FileName::parse(&at.name).base())))
    }

    pub(super) fn path(&self, at: &Place) -> Result<PathBuf> {
        Ok(path_in(&self.dir(&self.state.folder_row(at.folder)?.name), at.sub, &at.name))
    }

    /// Does everything that is to be done on disk, and records it as done.
    ///
    /// # Errors
    /// Something could not be done, for example in a folder without permission. All else was, and what is left is tried
    /// again by the next command.
    pub(super) fn materialise(&self) -> Result<()> {
        let mut progress = Progress::default();
        self.make_folders(&mut progress)?;
        // Else what is moved into a new folder could vanish with it.
        self.sync_dirs(&std::mem::take(&mut progress.touched))?;
        let mut after = None;
        loop {
            let batch = self.state.pending_batch(after, BATCH)?;
            let Some((last, _)) = batch.last() else { break };
            after = Some(last.key);
            for (row, pending) in batch {
                if let Err(error) = self.carry_out(&row, &pending, &mut progress) {
                    progress.fail(error)?;
                    progress.undone.push((row.key, pending));
                }
            }
        }
        let mut after = 0;
        loop {
            let batch = self.state.discard_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = last.key;
            for discard in batch {
                match self.discard(&discard, &mut progress) {
                    Ok(file) => progress.trashed.push((discard, file)),
                    Err(error) => progress.fail(error)?,
                }
            }
        }
        self.remove_folders(&mut progress)?;
        self.sync_dirs(&progress.touched)?;
        let problem = progress.problem();
        self.record_done(progress)?;
        problem.map_or(Ok(()), Err)
    }

    fn record_done(&self, progress: Progress) -> Result<()> {
        let leftovers = self.state.leftovers()?;
        if !leftovers
            && self.state.count_pending()? == 0
            && progress.folders_made.is_empty()
            && progress.folders_removed.is_empty()
            && progress.trashed.is_empty()
        {
            return Ok(());
        }
        let tx = self.begin()?;
        for key in progress.folders_made {
            tx.set_folder_on_disk(key, true)?;
        }
        for key in progress.folders_removed {
            tx.set_folder_on_disk(key, false)?;
        }
        for (key, place) in progress.renamed {
            tx.set_place(key, Some(&place))?;
        }
        for key in progress.lost {
            tx.set_place(key, None)?;
            tx.add_missing(key)?;
        }
        for (key, place) in progress.disturbed {
            tx.set_place(key, Some(&place))?;
            tx.set_pending(key, &Pending::Reconsider)?;
            // Its folder is looked at again, whatever its times say.
            tx.set_clean_listing(place.folder, None)?;
        }
        let date = self.date_of_removal()?;
        for (discard, file) in progress.trashed {
            if let Some(file) = file {
                let folder = self.state.folder_row(discard.at.folder)?.name.clone();
                tx.add_trash(&file, &discard, &folder, date)?;
            }
            tx.remove_discard(discard.key)?;
        }
        tx.clear_done()?;
        for (key, pending) in &progress.undone {
            tx.set_pending(*key, pending)?;
        }
        // What lies in a tmp/ is still needed by what is left to do.
        if leftovers && progress.undone.is_empty() {
            tx.set_leftovers(false)?;
        }
        tx.commit()
    }

    fn carry_out(&self, row: &EntryRow, pending: &Pending, progress: &mut Progress) -> Result<()> {
        let Some(at) = row.at.clone() else { return Ok(()) };
        match pending {
            Pending::Reconsider => Ok(()),
            Pending::Await | Pending::Deliver => self.deliver_file(row, at, progress),
            Pending::Move(from) => self.move_file(row, from, &at, progress),
        }
    }

    /// Moves a message from `tmp/` to its place.
    fn deliver_file(&self, row: &EntryRow, at: Place, progress: &mut Progress) -> Result<()> {
        let disk = &*self.world.disk;
        let from = self.tmp_path(&at)?;
        self.ensure_folder(at.folder, progress)?;
        let to = self.path(&at)?;
        match self.rename(&from, &to, progress) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Done before an interruption, if it is there: but perhaps not durable.
                if !is_there(disk, &to)? || self.state.is_discarded(&at)? {
                    // Programs may clear old files from tmp/. What the message says may still be elsewhere on this machine.
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
            Err(error) => return Err(delivering(&to, &error)),
        }
        progress.touch(&from);
        progress.touch(&to);
        Ok(())
    }

    /// Something has the name that a message is to get. If it is this message, it was delivered before.
    fn deliver_beside(&self, row: &EntryRow, from: &Path, mut at: Place, progress: &mut Progress) -> Result<()> {
        let disk = &*self.world.disk;
        let mut id = row.id.clone();
        loop {
            let to = self.path(&at)?;
            match hash_file(disk, &to) {
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
            let base = delivered_base(&id, row.entry.mtime, row.entry.size, &self.config.name);
            at.name = FileName::parse(base.as_bytes()).with_flags(at.sub, &visible(&row.entry));
        }
        progress.touch(from);
        progress.touch(&self.path(&at)?);
        progress.renamed.push((row.key, at));
        Ok(())
    }

    /// Renames a file within its folder, or moves it to another one.
    fn move_file(&self, row: &EntryRow, from: &Place, at: &Place, progress: &mut Progress) -> Result<()> {
        let disk = &*self.world.disk;
        let (source, to) = (self.path(from)?, self.path(at)?);
        self.ensure_folder(at.folder, progress)?;
        let renamed = if from.folder == at.folder {
            self.rename(&source, &to, progress)
        } else {
            self.rename_to_another_directory(&source, &to, progress)
        };
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                if !self.move_across(row, &source, at, &to)? {
                    progress.disturbed.push((row.key, from.clone()));
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Done before an interruption, but perhaps not durable; or somebody was faster.
                if !is_there(disk, &to)? || is_there(disk, &source)? {
                    progress.disturbed.push((row.key, from.clone()));
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                progress.disturbed.push((row.key, from.clone()));
                return Ok(());
            }
            Err(error) => return Err(Error::io("moving a message to", &to, error).advise("run this again")),
        }
        progress.touch(&source);
        progress.touch(&to);
        Ok(())
    }

    /// Moves a file to the trash. Returns the name of its file there; `None` if it was not to be found.
    fn discard(&self, discard: &Discard, progress: &mut Progress) -> Result<Option<String>> {
        let disk = &*self.world.disk;
        let trash = self.home.trash();
        let file = format!("{}-{}", discard.key, &discard.id.digest.to_string()[..16]);
        let to = trash.join(&file);
        let mut source = self.path(&discard.at)?;
        let mut looked = false;
        loop {
            let error = match self.rename_to_another_directory(&source, &to, progress) {
                Ok(()) => break,
                // Told before anything is looked for.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices && !is_there(disk, &source)? => {
                    io::ErrorKind::NotFound.into()
                }
                Err(error) => error,
            };
            match error.kind() {
                // Done before an interruption. Where a rename is a link and an unlink, that may have come between the two.
                io::ErrorKind::AlreadyExists => {
                    let fail = |error: io::Error| Error::io("moving to the trash", &source, error);
                    if hash_file(disk, &source).map_err(fail)?.digest == discard.id.digest {
                        disk.sync_dir(&trash).map_err(fail)?;
                        disk.unlink(&source).map_err(fail)?;
                    }
                    break;
                }
                io::ErrorKind::NotFound if is_there(disk, &to)? => break,
                // Whoever removed it had not seen its flags change; the removal counts nevertheless.
                io::ErrorKind::NotFound if !looked => {
                    looked = true;
                    let base = FileName::parse(&discard.at.name).base().to_vec();
                    let Some((sub, name)) = self.find_base(discard.at.folder, &base, progress)? else {
                        return Ok(None);
                    };
                    source = self.path(&Place { folder: discard.at.folder, sub, name })?;
                }
                io::ErrorKind::NotFound => return Ok(None),
                io::ErrorKind::CrossesDevices => {
                    let tmp = trash.join(format!("{file}.part"));
                    let fail =
                        |error: io::Error| Error::io("moving to the trash", &source, error).advise("run this again");
                    if self.copy_across(&discard.id.digest, discard.mtime, &source, &tmp, &to).map_err(fail)? {
                        break;
                    }
                    return Ok(Some(file));
                }
                _ => return Err(Error::io("moving to the trash", &source, error).advise("run this again")),
            }
        }
        progress.touch(&source);
        progress.touch(&to);
        Ok(Some(file))
    }

    /// Looks a file up by the base of its name.
    fn find_base(&self, folder: FolderKey, base: &[u8], progress: &mut Progress) -> Result<Option<(Sub, Vec<u8>)>> {
        if let std::collections::hash_map::Entry::Vacant(e) = progress.bases.entry(folder) {
            let dir = self.dir(&self.state.folder_row(folder)?.name);
            let mut bases = HashMap::new();
            match Listing::read(&*self.world.disk, &dir, None) {
                Ok(listing) => {
                    for (name, sub) in listing.iter() {
                        bases.insert(FileName::parse(name).base().to_vec(), (sub, name.to_vec()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("listing", &dir, error)),
            }
            e.insert(bases);
        }
        Ok(progress.bases[&folder].get(base).cloned())
    }

    /// Makes the directories of folders that were made elsewhere.
    fn make_folders(&self, progress: &mut Progress) -> Result<()> {
        for row in self.state.all_folders() {
            if !row.on_disk && row.state.is_some_and(|state| state.present) {
                // A message that is to go there fails, too, and is kept for the next command.
                if let Err(error) = self.make_folder(row.key, progress) {
                    progress.fail(error)?;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that something can be moved into a folder, and stays there.
    fn ensure_folder(&self, key: FolderKey, progress: &mut Progress) -> Result<()> {
        let touched = std::mem::take(&mut progress.touched);
        self.make_folder(key, progress)?;
        self.sync_dirs(&std::mem::replace(&mut progress.touched, touched))
    }

    pub(super) fn make_folder(&self, key: FolderKey, progress: &mut Progress) -> Result<()> {
        let row = self.state.folder_row(key)?;
        if row.on_disk || progress.folders_made.contains(&key) {
            return Ok(());
        }
        let dir = self.dir(&row.name);
        let fail = |error: io::Error| {
            Error::io("making the folder", &dir, error)
                .advise("make room for it, then run this again; its mail is not lost")
        };
        self.make_dirs(&dir.join("tmp")).map_err(fail)?;
        for sub in [Sub::New, Sub::Cur] {
            self.make_dirs(&dir.join(sub.as_str())).map_err(fail)?;
        }
        // Courier's and Dovecot's mark of a folder that is not the top of a Maildir.
        if self.layout.kind == LayoutKind::MaildirPlusPlus && !row.name.is_inbox() {
            match self.world.disk.create(&dir.join("maildirfolder")) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
        }
        progress.touched.extend(self.upwards(&dir));
        progress.folders_made.push(key);
        Ok(())
    }

    /// A directory below the mail root and those above it, up to the mail root: those whose names must be durable for one
    /// that was made in it. An interrupted command may have made any of them.
    pub(super) fn upwards(&self, dir: &Path) -> impl Iterator<Item = PathBuf> {
        let root = self.mail_root();
        dir.ancestors().take_while(move |above| above.starts_with(root)).map(Path::to_owned)
    }

    /// Makes a directory below the mail root, and those above it.
    pub(super) fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        let disk = &*self.world.disk;
        match disk.make_dir(dir) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir != self.mail_root() => {
                self.make_dirs(dir.parent().ok_or(error)?)?;
                match disk.make_dir(dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the directories of folders that were removed elsewhere, if nothing is left in them.
    fn remove_folders(&self, progress: &mut Progress) -> Result<()> {
        let removed = |row: &crate::state::FolderRow| row.on_disk && row.state.is_some_and(|state| !state.present);
        let mut rows = self.state.all_folders();
        // A folder stands before those below it.
        rows.reverse();
        let mut durable = false;
        for row in rows.iter().filter(|row| removed(row) && !row.name.is_inbox()) {
            if self.state.folder_has_files(row.key)? {
                continue;
            }
            if !durable {
                // What was moved out of these directories must have arrived before they go.
                self.sync_dirs(&std::mem::take(&mut progress.touched))?;
                durable = true;
            }
            match self.remove_folder(&self.dir(&row.name), progress) {
                Ok(true) => progress.folders_removed.push(row.key),
                Ok(false) => {}
                Err(error) => progress.fail(error)?,
            }
        }
        Ok(())
    }

    /// Removes a folder's directory unless a file is left in it. Returns whether it is no folder any more.
    fn remove_folder(&self, dir: &Path, progress: &mut Progress) -> Result<bool> {
        let disk = &*self.world.disk;
        let mut empty = true;
        for sub in [Sub::New, Sub::Cur] {
            match disk.list(&dir.join(sub.as_str()), &mut |_, _| empty = false) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("listing", &dir.join(sub.as_str()), error));
                }
                _ => {}
            }
        }
        if !empty {
            return Ok(false);
        }
        for sub in [Sub::New, Sub::Cur] {
            match disk.remove_dir(&dir.join(sub.as_str())) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    // Mail came just now: the folder stays.
                    return self
                        .make_dirs(&dir.join(Sub::New.as_str()))
                        .map(|()| false)
                        .map_err(|error| Error::io("keeping the folder", dir, error));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("removing the folder", dir, error));
                }
                _ => {}
            }
        }
        // What other programs keep beside the mail stays, and so does the directory around it.
        let fail =
            |error: io::Error| Error::io("removing the folder", dir, error).advise("see why, then run this again");
        self.remove_server_files(dir).map_err(fail)?;
        if self.layout.kind == LayoutKind::MaildirPlusPlus {
            remove_if_there(disk.unlink(&dir.join("maildirfolder"))).map_err(fail)?;
        }
        remove_if_empty(disk, &dir.join("tmp")).map_err(fail)?;
        remove_if_empty(disk, dir).map_err(fail)?;
        progress.touched.insert(dir.to_owned());
        if let Some(parent) = dir.parent() {
            progress.touched.insert(parent.to_owned());
        }
        Ok(true)
    }

    /// Removes what an IMAP server remembers of a folder that is gone. While that is left, Dovecot lists a mailbox which it
    /// then can't open; and a later folder of the same name would get the UIDs of this one.
    fn remove_server_files(&self, dir: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        let listed = self.world.disk.list(dir, &mut |name, kind| {
            let servers = ["dovecot-", "dovecot.", "courierimap"].map(str::as_bytes);
            if kind == Kind::File && servers.iter().any(|server| name.as_bytes().starts_with(server)) {
                files.push(dir.join(name));
            }
        });
        remove_if_there(listed)?;
        files.iter().try_for_each(|file| remove_if_there(self.world.disk.unlink(file)))
    }

    /// Makes the names in these directories durable.
    pub(super) fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<()> {
        let disk = &*self.world.disk;
        if dirs.len() > MANY_DIRS {
            return self.sync_file_systems(dirs.iter());
        }
        for dir in dirs {
            match disk.sync_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("making durable", dir, error).advise("check the disk, then run this again"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes everything durable on every file system that holds one of these directories.
    pub(super) fn sync_file_systems<'p>(&self, dirs: impl Iterator<Item = &'p PathBuf>) -> Result<()> {
        let mut synced = BTreeSet::new();
        for dir in dirs {
            let meta = match self.world.disk.metadata(dir) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("making durable", dir, error)),
            };
            if synced.insert(meta.device) {
                self.world.disk.sync_file_system(dir).map_err(|error| {
                    Error::io("making durable what was written to the file system of", dir, error)
                        .advise("check the disk, then run this again")
                })?;
            }
        }
        Ok(())
    }

    /// Removes what an import that did not end has left in a `tmp/`.
    pub(super) fn sweep_leftovers(&self) -> Result<()> {
        for dir in tmp_dirs(self.mail_root()) {
            let mut leftovers = Vec::new();
            let listed = self.world.disk.list(&dir, &mut |name, _| {
                if is_delivered_base(name.as_bytes(), &self.config.name) {
                    leftovers.push(dir.join(name));
                }
            });
            match listed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(|error| Error::io("listing", &dir, error).advise("run this again"))?,
            }
            for path in leftovers {
                remove_if_there(self.world.disk.unlink(&path)).map_err(|error| Error::io("removing", &path, error))?;
            }
            // A directory that was made for an import that did not end holds nothing else.
            let Some(folder) = dir.parent().filter(|folder| *folder != self.mail_root()) else { continue };
            let disk = &*self.world.disk;
            if is_there(disk, &folder.join("cur"))? || is_there(disk, &folder.join("new"))? {
                continue;
            }
            for dir in dir.ancestors().take_while(|dir| *dir != self.mail_root()) {
                if !remove_if_empty(disk, dir).map_err(|error| Error::io("removing", dir, error))? {
                    break;
                }
            }
        }
        let tx = self.begin()?;
        tx.set_leftovers(false)?;
        tx.commit()
    }
}

impl Progress {
    /// Something could not be done. That keeps nothing else from being done, unless nothing seems to work.
    ///
    /// # Errors
    /// The first of too many failures.
    fn fail(&mut self, error: Error) -> Result<()> {
        let (first, count) = self.failed.get_or_insert((error, 0));
        *count += 1;
        if *count > MOST_FAILURES { Err(first.clone()) } else { Ok(()) }
    }

    /// What is to be said of the failures.
    fn problem(&self) -> Option<Error> {
        let (first, count) = self.failed.as_ref()?;
        match count {
            1 => Some(first.clone()),
            _ => Some(first.clone().about(format_args!("{count} changes could not be made, the first of them"))),
        }
    }

    /// Notes that a name in the directory of this file has changed.
    pub(super) fn touch(&mut self, file: &Path) {
        let dir = file.parent().expect("a file lies in a directory");
        if !self.touched.contains(dir) {
            self.touched.insert(dir.to_owned());
        }
    }
}

/// A name for a file of which the one that derives from its entry's id is taken: the one of an id that no entry has.
fn other_id(id: &EntryId) -> EntryId {
    EntryId { ordinal: if id.ordinal < u32::MAX / 2 { u32::MAX } else { id.ordinal - 1 }, ..id.clone() }
}

fn delivering(to: &Path, error: &io::Error) -> Error {
    Error::io("delivering", to, error).advise("run this again; the message is not lost")
}
