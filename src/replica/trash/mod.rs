//! The trash: messages that imports have removed, and which of them a person means.

mod back;
mod copies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Replica;
use super::authors::{Author, Names};
use super::safety::DryRun;
use crate::disk::{Hashed, hash_file, is_absent, remove_if_there};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::{FlagSet, FolderName, Incarnation};
use crate::state::{TrashFilter, TrashKey, Trashed};
use crate::text::{bytes, plural, printable};

/// So many messages are brought back in one transaction.
const BATCH: u32 = 256;

/// What of the trash a person means: all that fits each thing that is given.
#[derive(Clone, Debug, Default)]
pub struct TrashSelection {
    /// It has one of these numbers: ranges, with both ends.
    pub ids: Option<Vec<(TrashKey, TrashKey)>>,
    /// It was in this folder, or one below it.
    pub folder: Option<FolderName>,
    /// It came into the trash at this time or later: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// It was removed by the replica of this name, id or incarnation; or, where it isn't known by whom, a bundle of that one told of
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
    /// Whether its message was in its folder already: it was named by its number, so it comes back once more.
    pub was_there: bool,
}

/// How much was brought back, or copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BroughtBack {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that are in their folder already, since somebody has brought them back, and that are left out.
    pub there: u64,
    /// Messages that were removed again since, by somebody else.
    pub left: u64,
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

impl TrashSelection {
    /// Whether a person has named this number, and not just a range that holds it.
    fn names(&self, key: TrashKey) -> bool {
        self.ids.iter().flatten().any(|range| *range == (key, key))
    }
}

impl Replica {
    /// The file of a message in the trash.
    pub fn trash_file(&self, trashed: &Trashed) -> PathBuf {
        self.home.trash().join(&trashed.file)
    }

    /// What has this number in the trash. `doing` says what is done with it, such as `restoring`.
    ///
    /// # Errors
    /// Nothing has.
    pub fn in_trash(&self, key: TrashKey, doing: &str) -> Result<Trashed> {
        self.state.trashed(key)?.ok_or_else(|| {
            Error::usage(format!("{doing} {key}: there is nothing with this number in the trash"))
                .advise("`mailsync trash list` shows what there is")
        })
    }

    /// That what was named by its number is in the trash, though nothing of it fits all else that is given.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn trashed_otherwise(&self, selection: &TrashSelection) -> Result<Option<Error>> {
        let named = selection.ids.iter().flatten().find(|(first, last)| first == last);
        let Some(&(key, _)) = named else { return Ok(None) };
        let Some(trashed) = self.state.trashed(key)? else { return Ok(None) };
        let what = format!(
            "restoring {key}: it is in the trash, from {}, and does not fit the other options",
            printable(trashed.folder.as_str())
        );
        Ok(Some(Error::failed(what).advise(format!("leave them out, or look at it with `mailsync trash show {key}`"))))
    }

    /// Looks whether the file of a message in the trash is there.
    ///
    /// # Errors
    /// It isn't, or can't be looked at.
    pub fn check_trashed(&self, trashed: &Trashed) -> Result<()> {
        let file = self.trash_file(trashed);
        self.world.disk.link_metadata(&file).map(drop).map_err(|error| {
            Error::io("showing the message in the trash: looking at", &file, error)
                .advise("restore it on another machine, if it is in the trash there")
        })
    }

    /// Who has removed a message: by whose change that was, or else whose bundle told of it.
    pub fn remover(trashed: &Trashed, names: &Names<'_>) -> Result<String> {
        trashed.removal.map_or_else(|| Ok(trashed.by.to_string()), |stamp| names.of(stamp.incarnation))
    }

    /// The same for a narrow column.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn remover_in_short(trashed: &Trashed, names: &Names<'_>) -> Result<String> {
        trashed.removal.map_or_else(|| Ok(trashed.by.to_string()), |stamp| names.short_of(stamp.incarnation))
    }

    /// What is meant, as the state looks for it.
    fn trash_filter(&self, selection: &TrashSelection, author: Option<&Author>) -> Result<TrashFilter> {
        let by = match author {
            // What somebody else has called its own as well is brought back, too: in doubt, mail is kept.
            Some(author) => Some((author.name.clone(), self.incarnations(author, true)?)),
            None => None,
        };
        let TrashSelection { ids, folder, since, .. } = selection;
        folder.as_ref().map_or(Ok(()), |folder| self.check_folder_is_known(folder))?;
        Ok(TrashFilter { keys: ids.clone(), folder: folder.clone(), since: *since, by })
    }

    /// Goes through what is meant, in the order of the numbers, a batch at a time. Notes ends of ranges that are no
    /// numbers of the trash: such a range may be longer than a person thinks it is.
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
                self.in_trash(range.0, "restoring")?;
            }
            for end in [range.0, range.1] {
                if self.state.trashed(end)?.is_none() {
                    self.note(format!("nothing in the trash has the number {end}, an end of {}-{}", range.0, range.1));
                }
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

    /// How many of those messages in the trash that would be meant, whoever has removed them, were removed by somebody of
    /// whom nobody can tell here who it is. 0 if it doesn't matter who has removed them.
    ///
    /// # Errors
    /// As for [`each_selected`](Self::each_selected).
    pub fn removed_by_unknown(&self, selection: &TrashSelection) -> Result<u64> {
        let Some(author) = self.author_of(selection)? else { return Ok(0) };
        let theirs = self.incarnations(&author, true)?;
        let mut others: BTreeMap<Incarnation, u64> = BTreeMap::new();
        self.each_batch(selection, None, |batch| {
            let removals = batch.into_iter().filter_map(|trashed| trashed.removal);
            for stamp in removals.filter(|stamp| !theirs.contains(&stamp.incarnation)) {
                *others.entry(stamp.incarnation).or_default() += 1;
            }
            Ok(())
        })?;
        let unknown = self.nobodys(others.keys().copied())?;
        Ok(unknown.iter().filter_map(|incarnation| others.get(incarnation)).sum())
    }

    /// Goes through what a person means of the trash, in the order in which it came there.
    ///
    /// # Errors
    /// Nothing has one of the numbers, or nobody or no folder has the name.
    pub fn each_selected(&self, selection: &TrashSelection, mut each: impl FnMut(Trashed) -> Result<()>) -> Result<()> {
        let author = self.author_of(selection)?;
        self.each_batch(selection, author.as_ref(), |batch| batch.into_iter().try_for_each(&mut each))
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
