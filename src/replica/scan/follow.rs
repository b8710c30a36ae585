//! Following the files: vanished files are matched with found ones, and the consequences for the entries are recorded.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use super::copies::{ByFolder, Copies, MANY, Owner};
use super::list::FolderScan;
use super::pass::{AHEAD, BATCH, Scan};
use super::report::Purpose;
use crate::disk::{Hashed, hash_file, is_absent, is_there};
use crate::error::{Error, Result};
use crate::maildir::listing::path_in;
use crate::maildir::{FileName, SizeField, is_delivered_base};
use crate::message::FileKind;
use crate::model::{Digest, Entry, EntryId, Flag, FlagSet, FolderState, Mtime, Origin, Stamp};
use crate::pool;
use crate::state::{By, EntryKey, EntryRow, FolderKey, Pending, Place, RootBefore};

/// An entry whose file vanished.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) row: EntryRow,
    pub(super) from: Place,
    pub(super) pending: Option<Pending>,
}

impl Scan<'_> {
    /// Collects the entries whose files vanished, by message. Their recorded places are cleared, so that others can
    /// take them.
    pub(super) fn collect_gone(
        &mut self,
        folders: &mut BTreeMap<FolderKey, FolderScan>,
    ) -> Result<HashMap<Digest, ByFolder<Gone>>> {
        let state = &self.replica.state;
        let mut gone: HashMap<Digest, ByFolder<Gone>> = HashMap::new();
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
                gone.entry(row.id.digest).or_default().push(from.folder, Gone { row, from, pending });
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
        if self.tx.remove_missing(row.key)? {
            self.tx.tell_arrival(&row)?;
        }
        self.tx.clear_pending(row.key)?;
        self.tx.set_place(row.key, Some(&at))?;
        row.at = Some(at);
        self.replica.decide_move(self.tx, &row, &By::Here)
    }

    /// Reads the files that were found under unknown names, and matches them with vanished ones.
    pub(super) fn follow_found(
        &mut self,
        folders: &BTreeMap<FolderKey, FolderScan>,
        gone: &mut HashMap<Digest, ByFolder<Gone>>,
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

    fn follow_arrival(&mut self, at: Place, hashed: &Hashed, gone: &mut HashMap<Digest, ByFolder<Gone>>) -> Result<()> {
        if let Some(found) = gone.get_mut(&hashed.digest).and_then(|gone| gone.take(at.folder)) {
            let row = self.measured(found.row, hashed.size)?;
            return self.follow_file(row, &found.from, at);
        }
        let mut copies = self.copies_of(&hashed.digest)?;
        let is_followed = self.follow_copy(&at, hashed, &mut copies)?;
        self.keep_copies(hashed.digest, copies);
        if is_followed { Ok(()) } else { self.follow_delivery(&at, hashed) }
    }

    /// Finds out whether a file is that of an entry, or which one it is to belong to. Otherwise it is new.
    fn follow_copy(&mut self, at: &Place, hashed: &Hashed, copies: &mut Copies) -> Result<bool> {
        let state = &self.replica.state;
        match self.owner(at, copies)? {
            Owner::Nobody => {}
            Owner::Entry(key, from) => {
                let row = state.entry(key)?.ok_or_else(|| gone_meanwhile(key))?;
                let row = self.measured(row, hashed.size)?;
                // What is to be done with it is decided anew.
                self.tx.clear_pending(row.key)?;
                self.follow_file(row, &from, at.clone())?;
                return Ok(true);
            }
            Owner::Unclear => {
                self.unread.insert(at.folder);
                self.report.undecided += 1;
                return Ok(true);
            }
        }
        let leftover = self.purpose == Purpose::Join(RootBefore::Empty) && self.is_leftover(at);
        if let Some(key) = copies.missing.take_in(at.folder).or_else(|| copies.mislaid.take_in(at.folder)) {
            let row = state.entry(key)?.ok_or_else(|| gone_meanwhile(key))?;
            let row = self.measured(row, hashed.size)?;
            let at = at.clone();
            if leftover {
                self.adopt_leftover(row, at, hashed.mtime)?;
            } else {
                self.adopt(row, at)?;
            }
            return Ok(true);
        }
        if let Some(key) = copies.mislaid.take(at.folder) {
            self.follow_mislaid(key, at, hashed.size)?;
            return Ok(true);
        }
        if leftover {
            self.discard_leftover(at, hashed)?;
            return Ok(true);
        }
        if copies.is_unlooked {
            self.left += 1;
            self.report.undecided += 1;
            self.unread.insert(at.folder);
            return Ok(true);
        }
        self.came_by_both_ways(at, hashed, copies)
    }

    /// An interrupted command has delivered a message, and before the next one could record that, somebody has moved it here. It would
    /// be there twice if this were a new one, as peers would be asked for the other.
    fn follow_mislaid(&mut self, key: EntryKey, at: &Place, size: u64) -> Result<()> {
        let row = self.replica.state.entry(key)?.ok_or_else(|| gone_meanwhile(key))?;
        let row = self.measured(row, size)?;
        let from = self.replica.place_for(self.tx, &row.id, &row.entry, SizeField::Told)?;
        if self.tx.remove_missing(key)? {
            self.tx.tell_arrival(&row)?;
        }
        self.tx.clear_pending(key)?;
        self.follow_file(row, &from, at.clone())
    }

    /// Records a new message, or another copy of one.
    fn follow_delivery(&mut self, at: &Place, hashed: &Hashed) -> Result<()> {
        let stamp = self.stamp()?;
        self.report.new += 1;
        let folder = self.replica.state.folder_row(at.folder)?;
        let name = folder.name.clone();
        if folder.state.is_some_and(|state| !state.present) {
            self.tx.set_folder_state(at.folder, FolderState { stamp, present: true })?;
        }
        let flags = self.flags_found(at)?;
        let delivery = self.replica.delivery(stamp, self.origin, name, &flags, hashed)?;
        let key = self.replica.deliver(self.tx, delivery, at)?;
        self.followed(key, at);
        Ok(())
    }

    /// The other entries of a message: none if there is no entry of it.
    pub(super) fn copies_of(&mut self, digest: &Digest) -> Result<Copies> {
        if let Some(copies) = self.copies.remove(digest) {
            return Ok(copies);
        }
        let state = &self.replica.state;
        let mut copies = Copies { entries: state.count_entries_of(digest)?, ..Copies::default() };
        if copies.entries > 0 {
            for row in state.entries_of(digest)? {
                self.look_at_copy(&row, &mut copies)?;
            }
            for row in state.missing_of(digest)? {
                if let Some(folder) = state.find_folder(&row.entry.location.1) {
                    let is_mislaid = self.mislaid.contains(&row.key);
                    let which = if is_mislaid { &mut copies.mislaid } else { &mut copies.missing };
                    which.push(folder, row.key);
                }
            }
        }
        Ok(copies)
    }

    /// Remembers what was found out about a message, if it has many entries. Its file that was just followed counts as
    /// one of theirs.
    pub(super) fn keep_copies(&mut self, digest: Digest, copies: Copies) {
        if copies.entries >= MANY {
            self.copies.insert(digest, Copies { is_anywhere: true, ..copies });
        }
    }

    /// Finds out about one entry. Its file may have been moved after its folder was listed, or its folder was not listed:
    /// then two places seem to have it, and the older one has not. Where its file was after all folders were listed,
    /// what was listed elsewhere is another one: so it is enough to look once.
    fn look_at_copy(&mut self, row: &EntryRow, copies: &mut Copies) -> Result<()> {
        let (replica, disk) = (self.replica, &*self.replica.world.disk);
        if let Some(at) = &row.at {
            copies.is_unlooked |= self.unlooked.contains(&at.folder);
            if row.entry.alive() && self.is_named_by_import(at) {
                copies.imports.push(at.folder, row.key);
            }
        }
        let ((None | Some(Pending::Reconsider), Some(from)) | (Some(Pending::Move(from)), _)) =
            (replica.state.pending(row.key)?, row.at.clone())
        else {
            // It has no file yet.
            return Ok(());
        };
        // What could not be looked at is not absent.
        if self.unlooked.contains(&from.folder) {
            return Ok(());
        }
        let path = replica.path(&from)?;
        match disk.metadata(&path) {
            Ok(_) => copies.is_anywhere = true,
            Err(error) if is_absent(&error) => copies.moved.push(from.folder, (row.key, from)),
            Err(error) => {
                copies.is_unclear = true;
                self.problem("looking at", path, &error);
            }
        }
        Ok(())
    }

    /// Whose a found file is, if it is nobody's who is known to have vanished.
    pub(super) fn owner(&self, at: &Place, copies: &mut Copies) -> Result<Owner> {
        if let Some((key, from)) = copies.moved.take_in(at.folder) {
            return Ok(Owner::Entry(key, from));
        }
        if copies.is_unclear {
            return Ok(Owner::Unclear);
        }
        if let Some((key, from)) = copies.moved.take(at.folder) {
            return Ok(Owner::Entry(key, from));
        }
        // It is another copy if it is still here, too.
        let is_gone = copies.is_anywhere && !is_there(&*self.replica.world.disk, &self.replica.path(at)?)?;
        Ok(if is_gone { Owner::Unclear } else { Owner::Nobody })
    }

    /// Whether a file has a name of ours, to which a synchroniser may have added its number.
    pub(super) fn is_named_by_import(&self, at: &Place) -> bool {
        let base = FileName::parse(&at.name).base().to_vec();
        let numbered = base.windows(3).rposition(|part| part == b",U=");
        is_delivered_base(&base[..numbered.unwrap_or(base.len())], &self.replica.config.name)
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

/// The error for an entry that was there when the scan looked at it. Nobody else may work on the replica meanwhile.
fn gone_meanwhile(key: EntryKey) -> Error {
    Error::failed(format!("scanning: the entry {} is gone from the state meanwhile", key.index()))
        .advise("run `mailsync doctor`, then scan again; nothing is lost")
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
