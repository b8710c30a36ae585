//! The trash: messages that imports have removed can be brought back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Replica;
use super::authors::Author;
use super::safety::DryRun;
use super::transaction::Transaction;
use crate::disk::{Durability, Hashed, Like, copy_message, hash_file, is_absent, remove_if_there};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::{Digest, FlagSet, FolderName, FolderState, Mtime, Origin, Stamp, as_before};
use crate::state::{Action, EventKey, Occasion, Pending, TrashFilter, TrashKey, Trashed};
use crate::text::{bytes, plural};

/// So many messages are brought back in one transaction.
const BATCH: u32 = 64;

/// What of the trash a person means: all that fits each thing that is given.
#[derive(Clone, Debug, Default)]
pub struct TrashSelection {
    /// It has one of these numbers: ranges, with both ends.
    pub ids: Option<Vec<(TrashKey, TrashKey)>>,
    /// It was in this folder, or one below it.
    pub folder: Option<FolderName>,
    /// It came into the trash at this time or later: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// It was removed by the replica of this name or id; or, where it isn't known by whom, a bundle of that one told of
    /// it.
    pub by: Option<String>,
}

/// What is done with messages in the trash.
#[derive(Clone, Debug, Default)]
pub struct TrashOptions {
    /// Which messages.
    pub selection: TrashSelection,
    /// Whether to do it, or to tell what would be done.
    pub dry_run: DryRun,
}

/// A message of the trash that is brought back, or copied.
#[derive(Clone, Debug)]
pub struct TrashItem {
    /// The message, as it is in the trash.
    pub trashed: Trashed,
    /// The folder into which it goes.
    pub folder: FolderName,
    /// The flags that it gets.
    pub flags: FlagSet,
    /// The file that it was copied to.
    pub copy: Option<PathBuf>,
}

/// How much was brought back, or copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BroughtBack {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that are in their folder already, since somebody else has brought them back.
    pub there: u64,
}

impl BroughtBack {
    fn count(&mut self, item: &TrashItem) {
        self.messages += 1;
        self.bytes += item.trashed.size;
    }
}

impl std::fmt::Display for BroughtBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", plural(self.messages, "message"), bytes(self.bytes))
    }
}

/// A restore under way.
struct Restoring<'o> {
    selection: &'o TrashSelection,
    author: Option<Author>,
    done: BroughtBack,
    /// The line of the history that tells of it, once something is back.
    line: Option<EventKey>,
    /// The stamps of what it has brought back.
    stamps: Vec<Stamp>,
}

impl Replica {
    /// Goes through the trash, in the order in which messages came into it.
    pub fn each_trashed(&self, mut each: impl FnMut(Trashed) -> Result<()>) -> Result<()> {
        let mut after = 0;
        loop {
            let batch = self.state.trash_batch(after, 256)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.key;
            batch.into_iter().try_for_each(&mut each)?;
        }
    }

    /// The file of a message in the trash.
    pub fn trash_file(&self, trashed: &Trashed) -> PathBuf {
        self.home.trash().join(&trashed.file)
    }

    /// What has this number in the trash.
    ///
    /// # Errors
    /// Nothing has.
    pub fn in_trash(&self, key: TrashKey) -> Result<Trashed> {
        self.state.trashed(key)?.ok_or_else(|| {
            Error::failed(format!("restoring {key}: there is nothing with this number in the trash"))
                .advise("`mailsync trash list` shows what there is")
        })
    }

    /// Who has removed a message: by whose change that was, or else whose bundle told of it.
    pub fn remover(&self, trashed: &Trashed) -> Result<String> {
        trashed.removal.map_or_else(|| Ok(trashed.by.to_string()), |stamp| self.who(stamp.incarnation))
    }

    /// What is meant, as the state looks for it.
    fn trash_filter(&self, selection: &TrashSelection, author: Option<&Author>) -> Result<TrashFilter> {
        let by = match author {
            // What somebody else has called its own as well is brought back, too: in doubt, mail is kept.
            Some(author) => Some((author.name.clone(), self.incarnations(author, true)?)),
            None => None,
        };
        let TrashSelection { ids, folder, since, .. } = selection;
        Ok(TrashFilter { keys: ids.clone(), folder: folder.clone(), since: *since, by })
    }

    /// Goes through what is meant, in the order of the numbers, a batch at a time.
    fn each_batch(
        &self,
        selection: &TrashSelection,
        author: Option<&Author>,
        mut each: impl FnMut(Vec<Trashed>) -> Result<()>,
    ) -> Result<()> {
        let filter = self.trash_filter(selection, author)?;
        for range in selection.ids.iter().flatten() {
            let only = TrashFilter { keys: Some(vec![*range]), ..TrashFilter::default() };
            if self.state.trash_selected(&only, 0, 1)?.is_empty() {
                self.in_trash(range.0)?;
            }
        }
        let mut after = 0;
        loop {
            let batch = self.state.trash_selected(&filter, after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.key;
            each(batch)?;
        }
    }

    fn author_of(&self, selection: &TrashSelection) -> Result<Option<Author>> {
        selection.by.as_ref().map(|name| self.author(name)).transpose()
    }

    /// Goes through what a person means of the trash, in the order in which it came there.
    ///
    /// # Errors
    /// Nothing has one of the numbers, or nobody has the name.
    pub fn each_selected(&self, selection: &TrashSelection, mut each: impl FnMut(Trashed) -> Result<()>) -> Result<()> {
        let author = self.author_of(selection)?;
        self.each_batch(selection, author.as_ref(), |batch| batch.into_iter().try_for_each(&mut each))
    }

    /// Brings messages back into the folders they were in, with the flags they had, as new changes made here; what
    /// somebody's removals have brought into the trash comes back where it was before that one had moved or flagged it.
    /// A file stays in the trash until its message is durable in its folder. `each` is told of each message.
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
        let mut restoring = Restoring {
            selection,
            author: author.clone(),
            done: BroughtBack::default(),
            line: None,
            stamps: Vec::new(),
        };
        self.each_batch(selection, author.as_ref(), |batch| {
            let mut items = Vec::with_capacity(batch.len());
            for trashed in batch {
                let item = self.as_it_was(trashed, &restoring)?;
                if restoring.selection.ids.is_none() && self.is_back(&item, &restoring.stamps)? {
                    restoring.done.there += 1;
                } else {
                    items.push(item);
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
        let trashed = self.in_trash(key)?;
        let selection = TrashSelection::default();
        let (done, stamps) = (BroughtBack::default(), Vec::new());
        let mut restoring = Restoring { selection: &selection, author: None, done, line: None, stamps };
        let item = self.as_it_was(trashed, &restoring)?;
        let mut done = self.restore_batch(vec![item], DryRun::No, &mut restoring)?;
        let (item, result) = done.pop().expect("what is given in is given back");
        result.map(|()| item.trashed)
    }

    /// Where a message goes, and with which flags: as it was in the end, or before somebody moved and flagged it.
    fn as_it_was(&self, trashed: Trashed, restoring: &Restoring<'_>) -> Result<TrashItem> {
        let (mut folder, mut flags) = (trashed.folder.clone(), trashed.flags.clone());
        if let Some(author) = &restoring.author {
            let past = self.state.past_of(&trashed.id)?;
            let theirs = self.changes_of(author, restoring.selection.since.unwrap_or(0))?;
            (folder, flags) = as_before(&folder, &flags, &past, |stamp| theirs.has(stamp));
        }
        Ok(TrashItem { trashed, folder, flags, copy: None })
    }

    /// Whether somebody else has brought a message back already: it came into its folder after it was removed. What this
    /// command has brought back, with these stamps, is another copy.
    fn is_back(&self, item: &TrashItem, stamps: &[Stamp]) -> Result<bool> {
        let rows = self.state.entries_of(&item.trashed.id.digest)?;
        Ok(rows.iter().any(|row| {
            let (since, folder) = &row.entry.location;
            row.entry.alive()
                && row.at.is_some()
                && (*folder == item.folder || *folder == item.trashed.folder)
                && item.trashed.removal.is_none_or(|removal| *since > removal)
                && !stamps.contains(since)
        }))
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
            whole.iter().for_each(|(item, _)| restoring.done.count(item));
            done.extend(whole.into_iter().map(|(item, _)| (item, Ok(()))));
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
        let (mut dirs, mut back) = (BTreeSet::new(), restoring.done);
        for (item, hashed) in whole {
            let result = match self.restore_within(&tx, &item, &hashed, stamp, &mut dirs) {
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
        self.sync_dirs(&dirs)?;
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
        item: &TrashItem,
        hashed: &Hashed,
        stamp: Stamp,
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
        copy_message(disk, &file, &tmp, Mtime(hashed.mtime.0), &like, Durability::Now).map_err(fail)?;
        dirs.extend(self.upwards(dir));
        let delivered = delivery.entry.clone();
        let entry = self.deliver(tx, delivery, &at)?;
        self.note_letterless(tx, entry, &delivered, at.folder)?;
        tx.set_pending(entry, &Pending::Deliver)?;
        if !self.state.folder_row(folder)?.state.is_some_and(|state| state.present) {
            tx.set_folder_state(folder, FolderState { stamp, present: true })?;
        }
        tx.remove_trash(trashed.key)?;
        tx.add_restored(&trashed.file)
    }

    /// Reads a message's file in the trash. It must be what was removed: else the inner error says what is wrong with this
    /// one.
    fn read_trashed(&self, trashed: &Trashed) -> Result<std::result::Result<Hashed, Error>> {
        let file = self.trash_file(trashed);
        let elsewhere = "restore it on another machine, if it is in the trash there";
        let found = match hash_file(&*self.world.disk, &file, FileKind::Message) {
            Ok(found) => found,
            Err(error) => {
                let advice =
                    if is_absent(&error) { elsewhere } else { "see why it can't be read, then run this again" };
                let error = Error::io("restoring", &file, error).advise(advice);
                return if error.is_about_a_place() { Ok(Err(error)) } else { Err(error) };
            }
        };
        if found.digest != trashed.id.digest {
            let what = format!("restoring {}: it has other contents than the message that was removed", file.display());
            return Ok(Err(Error::failed(what).advise(elsewhere)));
        }
        Ok(Ok(Hashed { mtime: trashed.mtime, ..found }))
    }

    /// Copies messages of the trash into a directory, where they become ordinary files. Nothing is overwritten; what is
    /// there already isn't copied again. The trash stays as it is. `each` is told of each message.
    ///
    /// # Errors
    /// As for [`Replica::restore_trashed`]; or the directory isn't there.
    pub fn copy_trashed(
        &self,
        options: &TrashOptions,
        dir: &Path,
        each: &mut dyn FnMut(&TrashItem) -> Result<()>,
    ) -> Result<BroughtBack> {
        match self.world.disk.metadata(dir) {
            Ok(meta) if meta.is_dir => {}
            Ok(_) => {
                let what = format!("copying messages to {}: it is not a directory", dir.display());
                return Err(Error::usage(what).advise("name a directory"));
            }
            Err(error) => {
                let error = Error::io("copying messages to", dir, error);
                return Err(error.advise("make the directory first, or correct the name"));
            }
        }
        let author = self.author_of(&options.selection)?;
        let mut done = BroughtBack::default();
        self.each_batch(&options.selection, author.as_ref(), |batch| {
            for trashed in batch {
                let name = format!("{}-{}.eml", trashed.key, &trashed.id.digest.to_string()[..16]);
                let to = dir.join(name);
                match self.read_trashed(&trashed)? {
                    Ok(_) if options.dry_run == DryRun::Yes => {}
                    Ok(_) => self.copy_one(&trashed, &to)?,
                    Err(error) => {
                        self.complain(error);
                        continue;
                    }
                }
                let (folder, flags) = (trashed.folder.clone(), trashed.flags.clone());
                let item = TrashItem { trashed, folder, flags, copy: Some(to) };
                done.count(&item);
                each(&item)?;
            }
            Ok(())
        })?;
        if options.dry_run == DryRun::No && done.messages > 0 {
            let sync = self.world.disk.sync_dir(dir);
            sync.map_err(|error| Error::io("making durable what is in", dir, error).advise("run this again"))?;
        }
        Ok(done)
    }

    fn copy_one(&self, trashed: &Trashed, to: &Path) -> Result<()> {
        let disk = &*self.world.disk;
        let fail = |error: std::io::Error| {
            Error::io("writing", to, error).advise("make room for it, or name another directory, then run this again")
        };
        let has = |digest: &Digest| match hash_file(disk, to, FileKind::Message) {
            Ok(found) => Ok(Some(found.digest == *digest)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(fail(error)),
        };
        match has(&trashed.id.digest)? {
            Some(true) => return Ok(()),
            Some(false) => {
                let what = format!("writing {}: another file has this name", to.display());
                return Err(Error::failed(what).advise("move it away, or name another directory"));
            }
            None => {}
        }
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        remove_if_there(disk.unlink(&part)).map_err(fail)?;
        copy_message(disk, &self.trash_file(trashed), &part, trashed.mtime, &Like::PRIVATE, Durability::Now)
            .map_err(fail)?;
        disk.rename(&part, to).map_err(fail)
    }

    /// Removes the files of what was brought back, unless it may still wait for its folder.
    pub(super) fn empty_restored(&self) -> Result<()> {
        let files = self.state.restored_files()?;
        if files.is_empty() || !self.state.folders_with_deliveries()?.is_empty() {
            return Ok(());
        }
        let (disk, trash) = (&*self.world.disk, self.home.trash());
        let fail = |file: &Path, error: std::io::Error| Error::io("removing", file, error).advise("run this again");
        for file in files.iter().map(|name| trash.join(name)) {
            remove_if_there(disk.unlink(&file)).map_err(|error| fail(&file, error))?;
        }
        disk.sync_dir(&trash).map_err(|error| fail(&trash, error))?;
        let tx = self.begin()?;
        tx.clear_restored()?;
        tx.commit()
    }
}
