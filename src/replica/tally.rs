//! What the imports of one command take out of folders and add, all bundles together: what the guards look at.

use std::cell::Cell;

use super::safety::{By, Loss, Losses, MassAdd, MassDelete, Since, guard_additions, guard_losses, still_counts};
use crate::config::Limits;
use crate::error::Result;
use crate::model::Amount;
use crate::state::{Alarm, Departed, EntryKey, EntryRow, FolderKey, Guarded, State, Transaction};

/// What was there before the first bundle of the command, and what its bundles have added since. After an import that
/// was refused, the commands that follow are counted together with it, until a person allows it or a day has passed
/// without a refusal.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Before anything was taken away.
    removing: Option<Before>,
    /// Before anything was added.
    adding: Option<Before>,
    added: Amount,
    /// The alarms that stand.
    alarms: Vec<Guarded>,
    /// What a guard has refused last.
    refused: Cell<Option<Guarded>>,
}

/// What was there. It is kept apart from what the bundles bring, so that these can't inflate it. Files are counted when
/// it matters how many there were: most bundles take little away.
#[derive(Debug)]
struct Before {
    /// The newest entry: those after it came with a bundle, and are nobody's loss.
    last: EntryKey,
    folders: Vec<FolderKey>,
    since: Since,
    /// How many messages and bytes there were in all, once that was counted.
    all: Cell<Option<(u64, u64)>>,
}

impl Before {
    /// What is there when a command begins; or before an earlier one began, if that was refused.
    fn begin(tx: &Transaction<'_>, alarm: Option<&Alarm>) -> Result<Self> {
        let (last, folders, since) = match alarm {
            Some(alarm) => (alarm.last, alarm.folders.clone(), Since::Refusal),
            None => (tx.last_entry()?, folders(tx), Since::Command),
        };
        Ok(Self { last, folders, since, all: Cell::default() })
    }

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
    /// Begins to count, unless an earlier bundle of the command did. What a person has allowed ends the alarm about it.
    pub fn begin(&mut self, tx: &Transaction<'_>, allowed: (MassDelete, MassAdd), now: u64) -> Result<()> {
        // If an earlier bundle was refused, all of this was undone with it.
        tx.begin_departed()?;
        let removed = standing(tx, Guarded::Removed, allowed.0 == MassDelete::Allow, now)?;
        let added = standing(tx, Guarded::Added, allowed.1 == MassAdd::Allow, now)?;
        if removed.is_some() {
            tx.recall_departed()?;
        }
        self.alarms.clear();
        self.alarms.extend(removed.as_ref().map(|_| Guarded::Removed));
        self.alarms.extend(added.as_ref().map(|_| Guarded::Added));
        if self.removing.is_none() {
            self.removing = Some(Before::begin(tx, removed.as_ref())?);
            self.adding = Some(Before::begin(tx, added.as_ref())?);
            self.added = added.map(|alarm| alarm.added).unwrap_or_default();
        }
        Ok(())
    }

    /// Whether anything was counted.
    pub fn has_begun(&self) -> bool {
        self.removing.is_some()
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
        self.removing.as_ref().is_some_and(|before| key <= before.last)
    }

    /// Looks at all that the command's bundles take away.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first.
    pub fn guard_departures(&self, state: &State, allowed: MassDelete, limits: &Limits) -> Result<()> {
        let Some(before) = &self.removing else { return Ok(()) };
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
        losses.since = before.since;
        guard_losses(allowed, limits, By::Import, &losses).inspect_err(|_| self.refused.set(Some(Guarded::Removed)))
    }

    /// Looks at what a bundle adds, together with what the command's earlier ones did. It is in the state already.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first.
    pub fn guard_arrivals(&self, state: &State, allowed: MassAdd, limits: &Limits, bundle: Amount) -> Result<()> {
        let Some(before) = &self.adding else { return Ok(()) };
        let added = self.added + bundle;
        // Most bundles are small: then nothing is counted.
        if guard_additions(allowed, limits, &added, &Amount::default(), before.since).is_ok() {
            return Ok(());
        }
        let (messages, bytes) = before.all(state)?;
        let (flags, keyword_bytes) = Amount::flags_for(state.count_living()?);
        let folders = before.folders.len() as u64;
        let held = Amount { messages, bytes, folders, flags, keyword_bytes, ..Amount::default() };
        guard_additions(allowed, limits, &added, &held, before.since)
            .inspect_err(|_| self.refused.set(Some(Guarded::Added)))
    }

    /// Records what a bundle takes away and adds, where an alarm stands: it goes with the bundle's transaction.
    pub fn record(&self, tx: &Transaction<'_>, bundle: Amount) -> Result<()> {
        for guarded in &self.alarms {
            match guarded {
                Guarded::Removed => tx.keep_departed()?,
                Guarded::Added => {
                    if let Some(alarm) = tx.alarm(Guarded::Added)? {
                        tx.set_alarm(Guarded::Added, &Alarm { added: self.added + bundle, ..alarm })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps what a bundle has added: it was applied.
    pub fn keep(&mut self, bundle: Amount) {
        self.added = self.added + bundle;
    }

    /// Whether a guard has refused something that no alarm was raised for yet.
    pub fn has_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    /// Raises the alarm, or raises it again: what a guard has refused stays refused for the commands that come.
    pub fn raise(&self, tx: &Transaction<'_>, now: u64) -> Result<()> {
        let Some(guarded) = self.refused.take() else { return Ok(()) };
        let before = if guarded == Guarded::Removed { &self.removing } else { &self.adding };
        let Some(before) = before else { return Ok(()) };
        let alarm = Alarm { raised: now, last: before.last, folders: before.folders.clone(), added: self.added };
        tx.set_alarm(guarded, &alarm)?;
        if guarded == Guarded::Removed {
            tx.begin_departed()?;
            tx.keep_departed()?;
        }
        Ok(())
    }

    /// Ends the alarms that don't count any more.
    pub fn end_old(tx: &Transaction<'_>, now: u64) -> Result<()> {
        Guarded::ALL.into_iter().try_for_each(|guarded| standing(tx, guarded, false, now).map(drop))
    }

    /// Others have worked on the replica meanwhile: what they have taken away, with guards of their own, isn't there
    /// for this command to take away.
    pub fn recount(&mut self, tx: &Transaction<'_>) -> Result<()> {
        if self.has_begun() {
            tx.begin_departed()?;
        }
        let now = folders(tx);
        for before in self.removing.iter_mut().chain(&mut self.adding) {
            before.all.set(None);
            before.folders.retain(|folder| now.binary_search(folder).is_ok());
        }
        Ok(())
    }
}

/// The alarm that still counts. One that doesn't is ended.
fn standing(tx: &Transaction<'_>, guarded: Guarded, is_allowed: bool, now: u64) -> Result<Option<Alarm>> {
    let Some(alarm) = tx.alarm(guarded)? else { return Ok(None) };
    if !is_allowed && still_counts(alarm.raised, now) {
        return Ok(Some(alarm));
    }
    tx.end_alarm(guarded)?;
    Ok(None)
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
