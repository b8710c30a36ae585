//! What is in the trash comes back into its folders.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::{BroughtBack, TrashItem, TrashOptions, TrashSelection};
use crate::disk::{Durability, Hashed, copy_message, remove_if_there};
use crate::error::{Error, Result};
use crate::model::{Digest, FolderName, Mtime, Origin, Stamp, as_before};
use crate::replica::Replica;
use crate::replica::authors::{Author, ChangesOf};
use crate::replica::safety::DryRun;
use crate::replica::transaction::Transaction;
use crate::state::{Action, EventKey, Occasion, Pending, TrashKey, Trashed};

/// So many files are made durable one by one; more of them all together.
const FEW: usize = 8;

/// What is to become of a message in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It comes back.
    ComesBack,
    /// Somebody has brought it back.
    IsBack,
    /// It was removed again, and that counts.
    IsRemoved,
}

/// A restore under way.
struct Restoring<'o> {
    selection: &'o TrashSelection,
    author: Option<Author>,
    /// Their changes.
    theirs: Option<ChangesOf>,
    done: BroughtBack,
    /// The line of the history that tells of it, once something is back.
    line: Option<EventKey>,
    /// The stamps of what it has brought back.
    stamps: Vec<Stamp>,
    /// What was in which folders of messages that have many entries, when the first of them was looked at.
    there: HashMap<Digest, There>,
}

/// The folders in which a message is, and the newest stamp by which an entry of it came into each.
type There = HashMap<FolderName, Stamp>;

/// From so many entries of a message on, it is remembered where they are.
const MANY: u64 = 16;

impl Replica {
    /// Brings messages back into the folders they were in, with the flags they had, as new changes made here; what
    /// somebody's removals have brought into the trash comes back where it was before that one had moved or flagged it.
    /// A file stays in the trash until its message is durable in its folder. `each` is told of each message.
    ///
    /// A message that is in its folder already is left out, unless it was named by its number.
    ///
    /// What can't be read, or has no folder that can take it, stays in the trash and is a problem.
    ///
    /// # Errors
    /// Nothing has one of the numbers, or nobody has the name; or the disk fails. What was brought back until then is
    /// back.
    pub fn restore_trashed(
        &self,
        options: &TrashOptions,
        each: &mut dyn FnMut(&TrashItem) -> Result<()>,
    ) -> Result<BroughtBack> {
        let selection = &options.selection;
        let author = self.author_of(selection)?;
        let since = selection.since.unwrap_or(0);
        let mut restoring = Restoring {
            selection,
            author: author.clone(),
            theirs: author.as_ref().map(|author| self.changes_of(author, since)).transpose()?,
            done: BroughtBack::default(),
            line: None,
            stamps: Vec::new(),
            there: HashMap::new(),
        };
        self.each_batch(selection, author.as_ref(), |batch| {
            let mut items = Vec::with_capacity(batch.len());
            for trashed in batch {
                let mut item = self.as_it_was(trashed, &restoring)?;
                item.was_there = self.is_back(&item, &mut restoring)?;
                match self.fate(&item, &restoring)? {
                    Fate::ComesBack => items.push(item),
                    Fate::IsBack => restoring.done.there += 1,
                    Fate::IsRemoved => restoring.done.left += 1,
                }
            }
            for (item, result) in self.restore_batch(items, options.dry_run, &mut restoring)? {
                match result {
                    Ok(()) => each(&item)?,
                    Err(error) => self.complain(error),
                }
            }
            Ok(())
        })?;
        Ok(restoring.done)
    }

    /// Brings one message back.
    ///
    /// # Errors
    /// There is no such thing in the trash, or its file is damaged.
    pub fn restore(&self, key: TrashKey) -> Result<Trashed> {
        let trashed = self.in_trash(key, "restoring")?;
        let selection = TrashSelection::default();
        let (done, stamps, there) = (BroughtBack::default(), Vec::new(), HashMap::new());
        let mut restoring =
            Restoring { selection: &selection, author: None, theirs: None, done, line: None, stamps, there };
        let item = self.as_it_was(trashed, &restoring)?;
        let mut done = self.restore_batch(vec![item], DryRun::No, &mut restoring)?;
        let (item, result) = done.pop().expect("what is given in is given back");
        result.map(|()| item.trashed)
    }

    /// Where a message goes, and with which flags: as it was in the end, or before somebody moved and flagged it.
    fn as_it_was(&self, trashed: Trashed, restoring: &Restoring<'_>) -> Result<TrashItem> {
        let (mut folder, mut flags) = (trashed.folder.clone(), trashed.flags.clone());
        if let Some(theirs) = &restoring.theirs {
            let past = self.state.past_of(&trashed.id)?;
            (folder, flags) = as_before(&folder, &flags, &past, |stamp| theirs.has(stamp));
        }
        Ok(TrashItem { trashed, folder, flags, copy: None, was_there: false })
    }

    /// What is to become of a message that is meant. One that is named by its number comes back in any case.
    fn fate(&self, item: &TrashItem, restoring: &Restoring<'_>) -> Result<Fate> {
        let trashed = &item.trashed;
        if restoring.selection.names(trashed.key) {
            return Ok(Fate::ComesBack);
        }
        if item.was_there {
            return Ok(Fate::IsBack);
        }
        // Of one entry that was removed several times, the last removal counts.
        if self.state.is_trashed_again(trashed)? {
            return Ok(Fate::IsRemoved);
        }
        let Some(theirs) = &restoring.theirs else { return Ok(Fate::ComesBack) };
        let row = self.state.entry_by_id(&trashed.id)?.filter(|row| !row.entry.alive());
        let last = row.and_then(|row| row.entry.removal).and_then(|removal| removal.author());
        let by_others = last.is_some_and(|last| {
            trashed.removal.is_some_and(|removal| last > removal) && !theirs.incarnations.contains(&last.incarnation)
        });
        Ok(if by_others { Fate::IsRemoved } else { Fate::ComesBack })
    }

    /// Whether somebody has brought a message back already: it came into its folder after it was removed. What this
    /// command has brought back, with these stamps, is another copy.
    fn is_back(&self, item: &TrashItem, restoring: &mut Restoring<'_>) -> Result<bool> {
        let digest = item.trashed.id.digest;
        let is_back = |there: &There| {
            let since = [&item.folder, &item.trashed.folder].into_iter().filter_map(|folder| there.get(folder));
            since.max().is_some_and(|since| item.trashed.removal.is_none_or(|removal| *since > removal))
        };
        if let Some(there) = restoring.there.get(&digest) {
            return Ok(is_back(there));
        }
        let mut there = There::new();
        for row in self.state.entries_of(&digest)? {
            let (since, folder) = row.entry.location.clone();
            if row.entry.alive() && row.at.is_some() && !restoring.stamps.contains(&since) {
                let newest = there.entry(folder).or_insert(since);
                *newest = since.max(*newest);
            }
        }
        let is_back = is_back(&there);
        if self.state.count_entries_of(&digest)? >= MANY {
            restoring.there.insert(digest, there);
        }
        Ok(is_back)
    }

    /// Brings a batch back, and tells of each message whether it is. What keeps one from that is no obstacle to others.
    fn restore_batch(
        &self,
        items: Vec<TrashItem>,
        dry_run: DryRun,
        restoring: &mut Restoring<'_>,
    ) -> Result<Vec<(TrashItem, Result<()>)>> {
        let (mut done, mut whole) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            match self.read_trashed(&item.trashed)? {
                Ok(hashed) => whole.push((item, hashed)),
                Err(error) => done.push((item, Err(error))),
            }
        }
        if dry_run == DryRun::Yes {
            for (item, _) in whole {
                restoring.done.count(&item);
                done.push((item, Ok(())));
            }
            return Ok(done);
        }
        if whole.is_empty() {
            return Ok(done);
        }
        let tx = self.begin()?;
        tx.set_leftovers(true)?;
        tx.commit()?;
        let tx = self.begin()?;
        tx.on_occasion(Occasion { action: Action::TrashRestore, peer: None, bundle: None });
        let stamp = tx.issue(self.now())?;
        let durability = if whole.len() <= FEW { Durability::Now } else { Durability::Later };
        let (mut dirs, mut back) = (BTreeSet::new(), restoring.done);
        for (item, hashed) in whole {
            let result = match self.restore_within(&tx, (&item, &hashed), stamp, durability, &mut dirs) {
                Err(error) if !error.is_about_a_place() => return Err(error),
                result => result,
            };
            if result.is_ok() {
                back.count(&item);
            }
            done.push((item, result));
        }
        if back == restoring.done {
            return Ok(done);
        }
        match durability {
            Durability::Now => self.sync_dirs(&dirs)?,
            Durability::Later => self.sync_file_systems(dirs.iter())?,
        }
        let only = done.iter().find(|(_, result)| result.is_ok()).filter(|_| back.messages == 1);
        let text = match (only, &restoring.author) {
            (Some((item, _)), _) => format!("{} in {}", item.trashed.id.digest, item.folder),
            (None, Some(author)) => format!("{back} that {} had removed", author.name),
            (None, None) => back.to_string(),
        };
        match restoring.line {
            Some(line) => tx.amend(line, &text)?,
            None => restoring.line = Some(tx.record(self.now(), Action::TrashRestore, None, &text)?),
        }
        tx.commit()?;
        restoring.done = back;
        restoring.stamps.push(stamp);
        self.materialise()?;
        self.empty_restored()?;
        Ok(done)
    }

    /// Delivers a message of the trash: into the `tmp/` of its folder, from where it comes to its place when the
    /// transaction is carried out. `dirs` are the directories whose names are to be made durable before that.
    ///
    /// # Errors
    /// Nothing was recorded of it. One about a place concerns this message alone.
    fn restore_within(
        &self,
        tx: &Transaction<'_>,
        (item, hashed): (&TrashItem, &Hashed),
        stamp: Stamp,
        durability: Durability,
        dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let disk = &*self.world.disk;
        let trashed = &item.trashed;
        let file = self.trash_file(trashed);
        let folder = tx.folder(&item.folder)?;
        let delivery = self.delivery(stamp, Origin::Delivery, item.folder.clone(), &item.flags, hashed)?;
        let at = self.place_for(tx, &delivery.id, &delivery.entry, self.size_field(&file)?)?;
        self.choose_dir(Some(tx), folder)?;
        let tmp = self.tmp_path(&at)?;
        let fail =
            |error: std::io::Error| Error::io("writing", &tmp, error).advise("make room for it, then run this again");
        let dir = tmp.parent().expect("a message lies in a directory");
        self.make_dirs(dir).map_err(fail)?;
        remove_if_there(disk.unlink(&tmp)).map_err(fail)?;
        let like = self.look_at_folder_of(&tmp)?;
        copy_message(disk, &file, &tmp, Mtime(hashed.mtime.0), &like, durability).map_err(fail)?;
        dirs.extend(self.upwards(dir));
        let delivered = delivery.entry.clone();
        let entry = self.deliver(tx, delivery, &at)?;
        self.note_letterless(tx, entry, &delivered, at.folder)?;
        tx.set_pending(entry, &Pending::Deliver)?;
        tx.make_present(folder, stamp)?;
        tx.remove_trash(trashed.key)?;
        tx.add_restored(&trashed.file)
    }
}
