//! What the imports of one command take out of folders and add, all bundles together: what the guards look at.

use std::collections::BTreeMap;

use super::safety::{Amount, By, Loss, Losses, MassAdd, MassDelete, guard_additions, guard_losses};
use crate::config::Limits;
use crate::error::Result;
use crate::state::{Departed, EntryKey, FolderKey, State, Transaction};

/// What was there before the first bundle of the command, and what its bundles have added since.
#[derive(Debug, Default)]
pub(super) struct Tally {
    before: Option<Before>,
    added: Amount,
}

/// What was there. It is kept apart from what the bundles bring, so that these can't inflate it.
#[derive(Debug)]
struct Before {
    /// The newest entry: those after it came with a bundle, and are nobody's loss.
    last: EntryKey,
    files: BTreeMap<FolderKey, u64>,
    folders: Vec<FolderKey>,
}

impl Tally {
    /// Begins to count, unless an earlier bundle of the command did.
    pub fn begin(&mut self, tx: &Transaction<'_>) -> Result<()> {
        tx.begin_departed()?;
        if self.before.is_none() {
            let files = tx.count_files_by_folder()?.into_iter().collect();
            self.before = Some(Before { last: tx.last_entry()?, files, folders: folders(tx) });
        }
        Ok(())
    }

    /// Whether anything was counted.
    pub fn has_begun(&self) -> bool {
        self.before.is_some()
    }

    /// An entry whose file is in this folder leaves it for another one, or for none since it is removed.
    pub fn depart(&self, tx: &Transaction<'_>, key: EntryKey, from: FolderKey, to: Option<FolderKey>) -> Result<()> {
        let counts = self.before.as_ref().is_some_and(|before| key <= before.last);
        if counts { tx.add_departed(key, from, to) } else { Ok(()) }
    }

    /// Looks at all that the command's bundles take away.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first.
    pub fn guard_departures(&self, state: &State, allowed: MassDelete, limits: &Limits) -> Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        let now = folders(state);
        let mut losses = Losses::default();
        for departed in state.departed()? {
            losses.all.gone += departed.removed;
            if !is_renamed(&departed, now.binary_search(&departed.folder).is_ok()) {
                let name = state.folder_row(departed.folder)?.name.to_string();
                let held = before.files.get(&departed.folder).copied().unwrap_or(0);
                losses.by_folder.push((name, Loss { gone: departed.entries, held }));
            }
        }
        losses.all.held = before.files.values().sum();
        losses.folders.held = before.folders.len() as u64;
        losses.folders.gone = before.folders.iter().filter(|folder| now.binary_search(folder).is_err()).count() as u64;
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
        let (flags, keyword_bytes) = Amount::flags_for(state.count_living()?);
        let held = Amount {
            messages: before.files.values().sum(),
            bytes: state.totals()?.bytes.saturating_sub(added.bytes),
            folders: before.folders.len() as u64,
            flags,
            keyword_bytes,
            ..Amount::default()
        };
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
        before.files = tx.count_files_before(before.last)?.into_iter().collect();
        let now = folders(tx);
        before.folders.retain(|folder| now.binary_search(folder).is_ok());
        Ok(())
    }
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
