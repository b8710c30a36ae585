//! Following the files: vanished files are matched with found ones, and the consequences for the entries are recorded.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use super::list::FolderScan;
use super::pass::{AHEAD, BATCH, Scan};
use super::report::Purpose;
use crate::disk::{Hashed, hash_file, is_absent, is_there};
use crate::error::{Error, Result};
use crate::maildir::listing::path_in;
use crate::maildir::{FileName, is_delivered_base};
use crate::message::FileKind;
use crate::model::{Digest, Entry, EntryId, Flag, FlagSet, FolderState, Mtime, Origin, Stamp};
use crate::pool;
use crate::state::{By, EntryRow, FolderKey, Pending, Place, RootBefore};

/// Among so many copies of one message that a scan delivers, it looks for one that was moved while it did.
const MOST_COPIES: usize = 64;

/// An entry whose file vanished.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) row: EntryRow,
    pub(super) from: Place,
    pub(super) pending: Option<Pending>,
}

/// Whose a found file is, if no vanished file has its message.
#[derive(Debug)]
enum Owner {
    /// It is a new message, or another copy.
    Nobody,
    /// It is the file of this entry, which was last seen there.
    Entry(Box<EntryRow>, Place),
    /// That can't be told at this moment.
    Unclear,
}

impl Scan<'_> {
    /// Collects the entries whose files vanished, by message. Their recorded places are cleared, so that others can
    /// take them.
    pub(super) fn collect_gone(
        &mut self,
        folders: &mut BTreeMap<FolderKey, FolderScan>,
    ) -> Result<HashMap<Digest, Vec<Gone>>> {
        let state = &self.replica.state;
        let mut gone: HashMap<Digest, Vec<Gone>> = HashMap::new();
        if folders.values().any(|folder| !folder.gone.is_empty()) {
            self.held = state.count_files();
        }
        for folder in folders.values_mut() {
            for key in std::mem::take(&mut folder.gone) {
                let Some(row) = state.entry(key)? else { continue };
                let pending = state.pending(key)?;
                self.tx.set_place(key, None)?;
                self.tx.clear_pending(key)?;
                let Some(from) = row.at.clone() else { continue };
                gone.entry(row.id.digest).or_default().push(Gone { row, from, pending });
            }
        }
        Ok(gone)
    }

    /// Follows files that have another name with the same base: their flags changed, or they moved between `new/` and
    /// `cur/`.
    pub(super) fn follow_renamed(&mut self, folders: &BTreeMap<FolderKey, FolderScan>) -> Result<()> {
        let state = &self.replica.state;
        let renamed = || folders.values().flat_map(|folder| &folder.renamed);
        // All places are cleared first, since files may have swapped their names.
        let mut rows = Vec::new();
        for (key, _) in renamed() {
            rows.push(state.entry(*key)?);
            self.tx.set_place(*key, None)?;
        }
        for ((_, at), row) in renamed().zip(rows) {
            let Some(row) = row else { continue };
            let Some(from) = row.at.clone() else { continue };
            self.follow_file(row, &from, at.clone())?;
        }
        Ok(())
    }

    /// Records that an entry's file is now at `at`, and the changes of location and flags that this shows.
    fn follow_file(&mut self, mut row: EntryRow, from: &Place, at: Place) -> Result<()> {
        let state = &self.replica.state;
        let mut entry = row.entry.clone();
        if from.folder != at.folder {
            entry.move_to(self.stamp()?, state.folder_row(at.folder)?.name.clone());
            self.report.moved += 1;
        }
        let after = self.flags_found(&at)?;
        let before = self.flags_before(from)?;
        self.followed(row.key, &at);
        // A name that says nothing about flags takes none away: the file may be a copy that some program has set aside.
        if before != after && !FileName::parse(&at.name).hides_flags() {
            let stamp = self.stamp()?;
            for flag in before.symmetric_difference(&after) {
                entry.set_flag(stamp, flag.clone(), after.contains(flag));
            }
            self.report.flagged += 1;
        }
        if entry != row.entry {
            self.tx.update_entry(&row, &entry)?;
            row.entry = entry;
        }
        self.tx.set_place(row.key, Some(&at))?;
        row.at = Some(at);
        self.replica.decide_move(self.tx, &row, &By::Here)
    }

    /// Gives a found file to an entry that has none. Two old copies of a message meet here, and their flags unite.
    pub(super) fn adopt(&mut self, mut row: EntryRow, at: Place) -> Result<()> {
        let mut entry = row.entry.clone();
        let changes = uniting(&entry.flags_on().cloned().collect(), &self.flags_found(&at)?);
        self.followed(row.key, &at);
        if !changes.is_empty() {
            let stamp = self.stamp()?;
            for (flag, on) in changes {
                entry.set_flag(stamp, flag, on);
            }
            self.report.flagged += 1;
            self.tx.update_entry(&row, &entry)?;
            row.entry = entry;
        }
        self.record_adopted(row, at)
    }

    /// Gives a file that an interrupted join has left to its entry. Its name says nothing about flags. The join may
    /// have been killed before it set the file's date.
    fn adopt_leftover(&mut self, row: EntryRow, at: Place, mtime: Mtime) -> Result<()> {
        if mtime != row.entry.mtime {
            let disk = &*self.replica.world.disk;
            let path = self.replica.path(&at)?;
            disk.open(&path)
                .and_then(|file| disk.set_mtime(&path, &file, row.entry.mtime))
                .map_err(|error| Error::io("setting the date of", &path, error).advise("run this again"))?;
        }
        self.record_adopted(row, at)
    }

    /// An entry's contents were read: they have this size, whatever anybody has said. It is a change of nobody's.
    pub(super) fn measured(&mut self, mut row: EntryRow, size: u64) -> Result<EntryRow> {
        if row.entry.size != size {
            let mended = Entry { size, ..row.entry.clone() };
            self.tx.update_entry(&row, &mended)?;
            row.entry = mended;
            self.report.sizes += 1;
        }
        Ok(row)
    }

    /// Records a found file as the file of an entry that has none.
    fn record_adopted(&mut self, mut row: EntryRow, at: Place) -> Result<()> {
        self.report.adopted += 1;
        self.tx.remove_missing(row.key)?;
        self.tx.clear_pending(row.key)?;
        self.tx.set_place(row.key, Some(&at))?;
        row.at = Some(at);
        self.replica.decide_move(self.tx, &row, &By::Here)
    }

    /// Reads the files that were found under unknown names, and matches them with vanished ones.
    pub(super) fn follow_found(
        &mut self,
        folders: &BTreeMap<FolderKey, FolderScan>,
        gone: &mut HashMap<Digest, Vec<Gone>>,
    ) -> Result<()> {
        let replica = self.replica;
        let progress = replica.world.meter.begin("reading messages", replica.state.count_found()?);
        let disk = &*replica.world.disk;
        let work = |batch: Vec<(Place, PathBuf)>| {
            let hash = |(at, path): (Place, PathBuf)| {
                let hashed = hash_file(disk, &path, FileKind::Message);
                (at, path, hashed)
            };
            batch.into_iter().map(hash).collect::<Vec<_>>()
        };
        let mut after = 0;
        let next = || {
            let batch = replica.state.found_batch(after, BATCH)?;
            let Some((last, _)) = batch.last() else { return Ok(None) };
            after = *last;
            let locate = |(_, at): (i64, Place)| {
                let path = path_in(&folders[&at.folder].dir, at.sub, &at.name);
                (at, path)
            };
            Ok(Some(batch.into_iter().map(locate).collect()))
        };
        pool::in_order(AHEAD, next, work, |results| {
            progress.advance(results.len() as u64);
            for (at, path, hashed) in results {
                self.report.messages_read += 1;
                match hashed {
                    Ok(hashed) => self.follow_arrival(at, &hashed, gone)?,
                    Err(error) => {
                        self.unread.insert(at.folder);
                        if error.kind() == io::ErrorKind::NotFound {
                            self.unsettled = true;
                        } else {
                            self.problem("reading", path, &error);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn follow_arrival(&mut self, at: Place, hashed: &Hashed, gone: &mut HashMap<Digest, Vec<Gone>>) -> Result<()> {
        if let Some(candidates) = gone.get_mut(&hashed.digest)
            && !candidates.is_empty()
        {
            let here = candidates.iter().position(|gone| gone.from.folder == at.folder);
            let found = candidates.swap_remove(here.unwrap_or(0));
            let row = self.measured(found.row, hashed.size)?;
            return self.follow_file(row, &found.from, at);
        }
        match self.owner(&hashed.digest, &at)? {
            Owner::Nobody => {}
            Owner::Entry(row, from) => {
                let row = self.measured(*row, hashed.size)?;
                // What is to be done with it is decided anew.
                self.tx.clear_pending(row.key)?;
                return self.follow_file(row, &from, at);
            }
            Owner::Unclear => {
                self.unread.insert(at.folder);
                self.report.undecided += 1;
                return Ok(());
            }
        }
        let leftover = self.purpose == Purpose::Join(RootBefore::Empty) && self.is_leftover(&at);
        let missing = self.replica.state.missing_in(&hashed.digest, at.folder)?;
        if let Some(row) = missing.into_iter().next() {
            let row = self.measured(row, hashed.size)?;
            return if leftover { self.adopt_leftover(row, at, hashed.mtime) } else { self.adopt(row, at) };
        }
        if leftover {
            return self.discard_leftover(&at, hashed);
        }
        if self.may_come_from_unlooked(&hashed.digest)? {
            self.left += 1;
            self.report.undecided += 1;
            self.unread.insert(at.folder);
            return Ok(());
        }
        if self.came_by_both_ways(&at, hashed)? {
            return Ok(());
        }
        let stamp = self.stamp()?;
        self.report.new += 1;
        let folder = self.replica.state.folder_row(at.folder)?;
        let name = folder.name.clone();
        if folder.state.is_some_and(|state| !state.present) {
            self.tx.set_folder_state(at.folder, FolderState { stamp, present: true })?;
        }
        let flags = self.flags_found(&at)?;
        let delivery = self.replica.delivery(stamp, self.origin, name, &flags, hashed)?;
        let key = self.replica.deliver(self.tx, delivery, &at)?;
        self.followed(key, &at);
        Ok(())
    }

    /// Whose a found file is, if it is nobody's who is known to have vanished. An entry's file may have been moved after
    /// its folder was listed, or its folder was not listed: then two places seem to have it, and the older one has not.
    fn owner(&mut self, digest: &Digest, at: &Place) -> Result<Owner> {
        let (state, disk) = (&self.replica.state, &*self.replica.world.disk);
        let (mut is_anywhere, mut moved, mut new) = (false, None, 0);
        for row in state.entries_of(digest)? {
            let ((None | Some(Pending::Reconsider), Some(from)) | (Some(Pending::Move(from)), _)) =
                (state.pending(row.key)?, row.at.clone())
            else {
                // It has no file yet.
                continue;
            };
            // What could not be looked at is not absent.
            if self.unlooked.contains(&from.folder) {
                continue;
            }
            // A first scan may find any number of copies.
            new += usize::from(row.key > self.last_before);
            if row.key > self.last_before && new > MOST_COPIES {
                continue;
            }
            let path = self.replica.path(&from)?;
            match disk.metadata(&path) {
                Ok(_) => is_anywhere = true,
                Err(error) if is_absent(&error) && from.folder == at.folder => {
                    return Ok(Owner::Entry(row.into(), from));
                }
                Err(error) if is_absent(&error) => moved = moved.or(Some(Owner::Entry(row.into(), from))),
                Err(error) => {
                    self.problem("looking at", path, &error);
                    return Ok(Owner::Unclear);
                }
            }
        }
        match moved {
            Some(owner) => Ok(owner),
            // It is another copy if it is still here, too.
            None if is_anywhere && !is_there(disk, &self.replica.path(at)?)? => Ok(Owner::Unclear),
            None => Ok(Owner::Nobody),
        }
    }

    /// Whether a message that was found may have been moved from a folder that could not be looked at.
    fn may_come_from_unlooked(&self, digest: &Digest) -> Result<bool> {
        if self.unlooked.is_empty() {
            return Ok(false);
        }
        let rows = self.replica.state.entries_of(digest)?;
        Ok(rows.iter().any(|row| row.at.as_ref().is_some_and(|at| self.unlooked.contains(&at.folder))))
    }

    /// Whether a file was left by an interrupted join into an empty mail root.
    fn is_leftover(&self, at: &Place) -> bool {
        is_delivered_base(FileName::parse(&at.name).base(), &self.replica.config.name)
    }

    /// Removes a file that an interrupted join has left and that the repeated join can't use. The file was cut off, or
    /// the inviter has removed the message meanwhile.
    fn discard_leftover(&self, at: &Place, hashed: &Hashed) -> Result<()> {
        let folder = self.replica.state.folder_row(at.folder)?.name.clone();
        let id = EntryId { digest: hashed.digest, birth: folder.clone(), ordinal: 0 };
        let (origin, flags) = (Origin::Init, self.replica.state.flags_at(at)?);
        let entry = Entry::delivered(None, origin, Stamp::ZERO, folder, &flags, hashed.size, hashed.mtime);
        self.tx.add_discard(&id, &entry, at, &By::InterruptedJoin)
    }

    /// Decides anew about entries whose file somebody changed just before it was to be changed from here. This scan has
    /// found that change.
    pub(super) fn reconsider(&mut self) -> Result<()> {
        let state = &self.replica.state;
        let mut after = None;
        loop {
            let batch = state.pending_batch(after, 256)?;
            let Some((last, _)) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for (row, pending) in batch {
                if pending == Pending::Reconsider {
                    self.tx.clear_pending(row.key)?;
                    self.replica.decide_move(self.tx, &row, &By::Here)?;
                }
            }
        }
    }
}

/// The changes to an entry's flags when a copy of its message with other flags is found. A flag that either has is set.
/// But it is recent only if both are.
fn uniting(entry: &FlagSet, found: &FlagSet) -> Vec<(Flag, bool)> {
    let mut changes: Vec<(Flag, bool)> =
        found.difference(entry).filter(|flag| **flag != Flag::Recent).map(|flag| (flag.clone(), true)).collect();
    if entry.contains(&Flag::Recent) && !found.contains(&Flag::Recent) {
        changes.push((Flag::Recent, false));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use Flag::Recent;

    const SEEN: Flag = Flag::Info(b'S');
    const FLAGGED: Flag = Flag::Info(b'F');

    #[test]
    fn flags_of_two_copies_unite_and_new_mail_is_what_is_new_in_both() {
        let table = [
            (vec![], vec![], vec![]),
            (vec![SEEN], vec![SEEN], vec![]),
            (vec![SEEN], vec![], vec![]),
            (vec![], vec![SEEN, FLAGGED], vec![(FLAGGED, true), (SEEN, true)]),
            (vec![FLAGGED], vec![SEEN], vec![(SEEN, true)]),
            (vec![Recent], vec![Recent], vec![]),
            (vec![Recent], vec![], vec![(Recent, false)]),
            (vec![Recent], vec![SEEN], vec![(SEEN, true), (Recent, false)]),
            (vec![], vec![Recent], vec![]),
            (vec![SEEN], vec![Recent], vec![]),
        ];
        for (entry, found, mut changes) in table {
            let case = format!("{entry:?} and {found:?}");
            let mut united = uniting(&entry.into_iter().collect(), &found.into_iter().collect());
            united.sort();
            changes.sort();
            assert_eq!(united, changes, "{case}");
        }
    }
}
