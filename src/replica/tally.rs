//! What the imports of one command take out of folders and add, all bundles together: what the guards look at.

use std::cell::Cell;

use super::safety::{Amount, By, Loss, Losses, MassAdd, MassDelete, guard_additions, guard_losses};
use crate::config::Limits;
use crate::error::Result;
use crate::state::{Departed, EntryKey, EntryRow, FolderKey, State, Transaction};

/// What was there before the first bundle of the command, and what its bundles have added since.
#[derive(Debug, Default)]
pub(super) struct Tally {
    before: Option<Before>,
    added: Amount,
}

/// What was there. It is kept apart from what the bundles bring, so that these can't inflate it. Files are counted when
/// it matters how many there were: most bundles take little away.
#[derive(Debug)]
struct Before {
    /// The newest entry: those after it came with a bundle, and are nobody's loss.
    last: EntryKey,
    folders: Vec<FolderKey>,
    /// How many messages and bytes there were in all, once that was counted.
    all: Cell<Option<(u64, u64)>>,
}

impl Before {
    fn all(&self, state: &State) -> Result<(u64, u64)> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let all = state.all_held_before(self.last)?;
        self.all.set(Some(all));
        Ok(all)
    }
}

impl Tally {
    /// Begins to count, unless an earlier bundle of the command did.
    pub fn begin(&mut self, tx: &Transaction<'_>) -> Result<()> {
        tx.begin_departed()?;
        if self.before.is_none() {
            self.before = Some(Before { last: tx.last_entry()?, folders: folders(tx), all: Cell::default() });
        }
        Ok(())
    }

    /// Whether anything was counted.
    pub fn has_begun(&self) -> bool {
        self.before.is_some()
    }

    /// An entry whose file is in this folder leaves it for another one, or for none since it is removed.
    pub fn depart(&self, tx: &Transaction<'_>, row: &EntryRow, from: FolderKey, to: Option<FolderKey>) -> Result<()> {
        if self.was_there(row.key) { tx.add_departed(row.key, from, to, row.entry.size) } else { Ok(()) }
    }

    /// An entry that had no file gets one.
    pub fn arrive(&self, tx: &Transaction<'_>, key: EntryKey) -> Result<()> {
        if self.was_there(key) { tx.add_arrived(key) } else { Ok(()) }
    }

    fn was_there(&self, key: EntryKey) -> bool {
        self.before.as_ref().is_some_and(|before| key <= before.last)
    }

    /// Looks at all that the command's bundles take away.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first.
    pub fn guard_departures(&self, state: &State, allowed: MassDelete, limits: &Limits) -> Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        let now = folders(state);
        let is_gone = |folder: &FolderKey| now.binary_search(folder).is_err();
        let departed = state.departed()?;
        let held = |folder| match folder {
            Some(folder) => Ok(state.held_before(before.last, folder)?.0),
            None => Ok(before.all(state)?.0),
        };
        let name = |folder| Ok(state.folder_row(folder)?.name.to_string());
        let mut losses = losses(&departed, limits, |folder| !is_gone(&folder), held, name)?;
        losses.folders.held = before.folders.len() as u64;
        losses.folders.gone = before.folders.iter().filter(|folder| is_gone(folder)).count() as u64;
        guard_losses(allowed, limits, By::Import, &losses)
    }

    /// Looks at what a bundle adds, together with what the command's earlier ones did. It is in the state already.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first.
    pub fn guard_arrivals(&self, state: &State, allowed: MassAdd, limits: &Limits, bundle: Amount) -> Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        let added = self.added + bundle;
        // Most bundles are small: then nothing is counted.
        if guard_additions(allowed, limits, &added, &Amount::default()).is_ok() {
            return Ok(());
        }
        let (messages, bytes) = before.all(state)?;
        let (flags, keyword_bytes) = Amount::flags_for(state.count_living()?);
        let folders = before.folders.len() as u64;
        let held = Amount { messages, bytes, folders, flags, keyword_bytes, ..Amount::default() };
        guard_additions(allowed, limits, &added, &held)
    }

    /// Keeps what a bundle has added: it was applied.
    pub fn keep(&mut self, bundle: Amount) {
        self.added = self.added + bundle;
    }

    /// Others have worked on the replica meanwhile: what they have taken away, with guards of their own, isn't there
    /// for this command to take away.
    pub fn recount(&mut self, tx: &Transaction<'_>) -> Result<()> {
        let Some(before) = &mut self.before else { return Ok(()) };
        tx.begin_departed()?;
        let now = folders(tx);
        before.all.set(None);
        before.folders.retain(|folder| now.binary_search(folder).is_ok());
        Ok(())
    }
}

/// What has left the folders, with what they held before, as far as the guard needs to know. `held` counts that: of a
/// folder, or of all.
fn losses(
    departed: &[Departed],
    limits: &Limits,
    exists: impl Fn(FolderKey) -> bool,
    held: impl Fn(Option<FolderKey>) -> Result<u64>,
    name: impl Fn(FolderKey) -> Result<String>,
) -> Result<Losses> {
    let mut losses = Losses::default();
    for departed in departed {
        losses.all.gone += departed.removed;
        if may_be_too_much(departed.entries, limits) && !is_renamed(departed, exists(departed.folder)) {
            let loss = Loss { gone: departed.entries, held: held(Some(departed.folder))? };
            losses.by_folder.push((name(departed.folder)?, loss));
        }
    }
    if losses.all.gone > limits.all {
        losses.all.held = held(None)?;
    }
    Ok(losses)
}

/// Whether so many could be more than half of a folder over which the guard stands.
fn may_be_too_much(gone: u64, limits: &Limits) -> bool {
    gone > limits.folder / 2
}

/// Whether a folder has lost its mail only by being called otherwise: all of it is together in one other folder, over
/// which the guard stands from then on, and it is gone itself.
fn is_renamed(departed: &Departed, exists: bool) -> bool {
    departed.removed == 0 && departed.targets == 1 && !exists
}

/// The folders that exist, sorted.
fn folders(state: &State) -> Vec<FolderKey> {
    let rows = state.all_folders();
    let mut keys: Vec<FolderKey> =
        rows.iter().filter(|row| row.state.is_some_and(|state| state.present)).map(|row| row.key).collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn folder(number: i64) -> FolderKey {
        FolderKey::example(number)
    }

    fn left(number: i64, entries: u64, removed: u64, targets: u64) -> Departed {
        Departed { folder: folder(number), entries, removed, targets }
    }

    #[test]
    fn files_are_counted_only_where_so_many_have_left_that_it_matters_how_many_there_were() {
        let limits = Limits { folder: 100, all: 100, ..Limits::default() };
        // What has left the folders, and which of them are counted; none stands for all folders together.
        let table: [(&[Departed], &[Option<FolderKey>]); 6] = [
            (&[], &[]),
            (&[left(1, 50, 50, 0)], &[]),
            (&[left(1, 50, 50, 0), left(2, 51, 0, 1)], &[Some(folder(2))]),
            (&[left(1, 50, 50, 0), left(2, 50, 50, 0)], &[]),
            (&[left(1, 50, 50, 0), left(2, 50, 50, 0), left(3, 1, 1, 0)], &[None]),
            (&[left(1, 101, 101, 0)], &[Some(folder(1)), None]),
        ];
        for (departed, counted) in table {
            let asked = RefCell::new(Vec::new());
            let held = |folder| {
                asked.borrow_mut().push(folder);
                Ok(101)
            };
            let losses = losses(departed, &limits, |_| true, held, |_| Ok("Lists".into())).unwrap();
            assert_eq!(*asked.borrow(), counted, "{departed:?}");
            // What isn't counted is nothing that the guard would refuse, however little there was.
            let too_much = |departed: &Departed| departed.entries > 50;
            assert_eq!(losses.by_folder.len(), departed.iter().filter(|one| too_much(one)).count(), "{departed:?}");
        }
        // A folder that is only called otherwise has lost nothing.
        let held = |_| panic!("nothing is counted");
        assert!(
            losses(&[left(1, 101, 0, 1)], &limits, |_| false, held, |_| Ok(String::new()))
                .unwrap()
                .by_folder
                .is_empty()
        );
    }
}
