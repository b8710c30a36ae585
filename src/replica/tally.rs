//! What the imports of one command take out of folders and add, all bundles together: what the guards look at.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::safety::{
    By, Done, DryRun, Earlier, Gain, Loss, Losses, MassAdd, MassDelete, guard_additions, guard_losses, looked_at,
    still_counts,
};
use crate::bundle::ReplicaId;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::model::{Amount, Clock, Knowledge};
use crate::state::{Alarm, Departed, EntryKey, EntryRow, FolderKey, Guarded, Since, State, Transaction};

/// What was there before the first bundle of the command, and what its bundles have added since. After an import that
/// was refused by itself, the commands that follow are also counted together with it, until a person ends that or a
/// day has passed. What is refused only for being counted together doesn't make that last longer: else honest changes
/// would be kept out for ever.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Before anything was taken away by this command.
    removing: Option<Before>,
    /// Before anything was added by this command.
    adding: Option<Before>,
    added: Amount,
    /// The alarm over what is removed.
    removal_alarm: Option<Standing>,
    /// The alarm over what is added.
    addition_alarm: Option<Standing>,
    /// What a guard has refused last, for what the command does by itself.
    refused: Cell<Option<Guarded>>,
    /// Whose bundle was counted last, and what it knows.
    by: Option<(ReplicaId, Knowledge)>,
    /// How that came.
    way: By,
    /// When the command began: milliseconds since 1970 UTC.
    began: u64,
    /// The oldest move in the bundle that was counted last, by the clock of whoever moved it.
    oldest_move: Option<Clock>,
    /// What the bundle that was counted last does, if that is much and was allowed.
    allowed: Cell<Option<Done>>,
    /// In a dry run, the first refusal of the bundle that is looked at: the look goes on.
    told: RefCell<Option<Error>>,
}

/// An alarm that counts.
#[derive(Debug)]
struct Standing {
    /// What was there before the command that was refused.
    before: Before,
    /// What was added since.
    added: Amount,
    earlier: Earlier,
}

/// What was there. It is kept apart from what the bundles bring, so that these can't inflate it. Files are counted when
/// it matters how many there were: most bundles take little away.
#[derive(Debug)]
struct Before {
    since: Since,
    /// The newest entry: those after it came with a bundle, and are nobody's loss.
    last: EntryKey,
    folders: Vec<FolderKey>,
    /// How many messages and bytes there were in each folder, once that was counted.
    held: RefCell<Option<BTreeMap<FolderKey, (u64, u64)>>>,
}

impl Before {
    /// What is there when a command begins.
    fn begin(tx: &Transaction<'_>) -> Result<Self> {
        Ok(Self { since: Since::Command, last: tx.last_entry()?, folders: folders(tx), held: RefCell::default() })
    }

    /// How many messages and bytes there were: in one folder, or in all.
    fn files(&self, state: &State, folder: Option<FolderKey>) -> Result<(u64, u64)> {
        let mut held = self.held.borrow_mut();
        let held = match &mut *held {
            Some(held) => held,
            none => none.insert(state.held_before(self.since, self.last)?),
        };
        Ok(match folder {
            Some(folder) => held.get(&folder).copied().unwrap_or_default(),
            None => held.values().fold((0, 0), |all, one| (all.0 + one.0, all.1.saturating_add(one.1))),
        })
    }

    /// What a guard compares with what is added.
    fn held(&self, state: &State) -> Result<Amount> {
        let (messages, bytes) = self.files(state, None)?;
        let (flags, keyword_bytes) = Amount::flags_for(state.count_living());
        let folders = self.folders.len() as u64;
        Ok(Amount { messages, bytes, folders, flags, keyword_bytes, ..Amount::default() })
    }
}

impl Standing {
    fn new(alarm: Alarm, name: impl Fn(&ReplicaId) -> Result<String>) -> Result<Self> {
        let Alarm { raised, by, last, folders, added, .. } = alarm;
        let before = Before { since: Since::Refusal, last, folders, held: RefCell::default() };
        Ok(Self { before, added, earlier: Earlier { by: name(&by)?, raised } })
    }
}

impl Tally {
    /// Begins to count a bundle of this replica, which knows so much, together with the earlier ones of the command.
    /// What a person has allowed ends the alarm about it. `name` is what a replica is called.
    pub fn begin(
        &mut self,
        tx: &Transaction<'_>,
        (by, tip): (ReplicaId, &Knowledge),
        (allowed, way): ((MassDelete, MassAdd), By),
        now: u64,
        name: impl Fn(&ReplicaId) -> Result<String>,
    ) -> Result<()> {
        self.by = Some((by, tip.clone()));
        self.way = way;
        self.told.take();
        self.allowed.take();
        self.oldest_move = None;
        // If an earlier bundle was refused, all of this was undone with it.
        tx.begin_departed()?;
        let alarm = |guarded, is_allowed| -> Result<Option<Standing>> {
            if is_allowed {
                tx.end_alarm(guarded)?;
            }
            standing(tx, guarded, now)?.map(|alarm| Standing::new(alarm, &name)).transpose()
        };
        self.removal_alarm = alarm(Guarded::Removed, allowed.0 == MassDelete::Allow)?;
        self.addition_alarm = alarm(Guarded::Added, allowed.1 == MassAdd::Allow)?;
        tx.recall_departed()?;
        if self.removing.is_none() {
            self.began = now;
            self.removing = Some(Before::begin(tx)?);
            self.adding = Some(Before::begin(tx)?);
        }
        Ok(())
    }

    /// Whether anything was counted.
    pub fn has_begun(&self) -> bool {
        self.removing.is_some()
    }

    /// An entry whose file is in this folder leaves it for another one, or for none since it is removed.
    pub fn depart(&self, tx: &Transaction<'_>, row: &EntryRow, from: FolderKey, to: Option<FolderKey>) -> Result<()> {
        self.lists_with(row.key).try_for_each(|since| tx.add_departed(since, row.key, from, to, row.entry.size))
    }

    /// The bundle moves a message, and did so at this time by the clock of whoever moved it.
    pub fn note_move(&mut self, moved: Clock) {
        self.oldest_move = Some(self.oldest_move.map_or(moved, |oldest| oldest.min(moved)));
    }

    /// An entry that had no file gets one.
    pub fn arrive(&self, tx: &Transaction<'_>, key: EntryKey) -> Result<()> {
        self.lists_with(key).try_for_each(|since| tx.add_arrived(since, key))
    }

    /// The lists on which this entry is to be put: it was there when they began.
    fn lists_with(&self, key: EntryKey) -> impl Iterator<Item = Since> {
        let alarm = self.removal_alarm.as_ref().map(|alarm| &alarm.before);
        self.removing.iter().chain(alarm).filter(move |before| key <= before.last).map(|before| before.since)
    }

    /// In a dry run, why the bundle that was looked at last would be refused, if it would.
    pub fn take_refusal(&self) -> Option<Error> {
        self.told.take()
    }

    /// What the bundle that was counted last has done, if it is so much that a person had to allow it; and when the command
    /// began.
    pub fn take_allowed(&self) -> Option<(Done, u64)> {
        self.allowed.take().map(|done| (done, self.began))
    }

    /// A dry run goes on behind a refusal: it tells what would be done.
    fn heed(&self, guarded: Result<()>, dry_run: DryRun) -> Result<()> {
        if let Some(refusal) = looked_at(guarded, dry_run)? {
            self.told.borrow_mut().get_or_insert(refusal);
        }
        Ok(())
    }

    /// Looks at all that the command's bundles take away, by itself and together with what was refused before.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first, and this is no dry run.
    pub fn guard_departures(&self, state: &State, allowed: (MassDelete, DryRun), limits: &Limits) -> Result<()> {
        let Some(own) = &self.removing else { return Ok(()) };
        let guard = |losses: &Losses| guard_losses(allowed, limits, self.way, losses);
        let losses = lost(state, limits, own, own)?;
        let by_itself = guard(&losses);
        if allowed == (MassDelete::Allow, DryRun::No) {
            let is_much = guard_losses((MassDelete::Refuse, DryRun::No), limits, self.way, &losses).is_err();
            let left: u64 = losses.by_folder.iter().map(|(_, loss)| loss.gone).sum();
            let removed = losses.all.gone > 0;
            let moved = self.oldest_move.filter(|_| left > losses.all.gone).map(Clock::millis);
            self.allowed.set((is_much && (removed || moved.is_some())).then_some(Done { removed, moved }));
        }
        if by_itself.is_err() {
            self.refused.set(Some(Guarded::Removed));
        }
        if let Some(Standing { before, earlier, .. }) = &self.removal_alarm {
            let together = guard(&Losses { earlier: Some(earlier.clone()), ..lost(state, limits, before, own)? });
            self.heed(together, allowed.1)?;
        }
        self.heed(by_itself, allowed.1)
    }

    /// Looks at what a bundle adds, together with what the command's earlier ones did, and with what was refused before.
    /// It is in the state already.
    ///
    /// # Errors
    /// It is so much that it is to be allowed first, and this is no dry run.
    pub fn guard_arrivals(
        &self,
        state: &State,
        allowed: (MassAdd, DryRun),
        limits: &Limits,
        bundle: Amount,
    ) -> Result<()> {
        let Some(before) = &self.adding else { return Ok(()) };
        let own = self.added + bundle;
        let guard = |gain: &Gain, before: &Before| -> Result<Result<()>> {
            // Most bundles are small: then nothing is counted.
            if guard_additions(allowed, limits, self.way, gain, &Amount::default()).is_ok() {
                return Ok(Ok(()));
            }
            Ok(guard_additions(allowed, limits, self.way, gain, &before.held(state)?))
        };
        let by_itself = guard(&Gain { all: own, own, earlier: None }, before)?;
        if by_itself.is_err() {
            self.refused.set(Some(Guarded::Added));
        }
        if let Some(Standing { before, added, earlier }) = &self.addition_alarm {
            let together = guard(&Gain { all: *added + bundle, own, earlier: Some(earlier.clone()) }, before)?;
            self.heed(together, allowed.1)?;
        }
        self.heed(by_itself, allowed.1)
    }

    /// Records what a bundle takes away and adds, where an alarm stands: it goes with the bundle's transaction. Once all is
    /// known that was refused, and nothing has come of it since, whoever has done it has taken it back: then the alarm ends.
    pub fn record(&self, tx: &Transaction<'_>, bundle: Amount) -> Result<()> {
        if let Some(standing) = &self.removal_alarm {
            let has_left = tx.departed(standing.before.since)?.iter().any(|departed| departed.entries > 0);
            if !has_left && is_known(tx, Guarded::Removed)? {
                tx.end_alarm(Guarded::Removed)?;
            } else {
                tx.keep_departed(Since::Refusal)?;
            }
        }
        if self.addition_alarm.is_some()
            && let Some(alarm) = tx.alarm(Guarded::Added)?
        {
            let added = alarm.added + bundle;
            if added.messages == 0 && added.folders == 0 && is_known(tx, Guarded::Added)? {
                tx.end_alarm(Guarded::Added)?;
            } else {
                tx.set_alarm(Guarded::Added, &Alarm { added, ..alarm })?;
            }
        }
        Ok(())
    }

    /// Keeps what a bundle has added: it was applied.
    pub fn keep(&mut self, bundle: Amount) {
        self.added = self.added + bundle;
    }

    /// Whether a guard has refused something by itself that no alarm was raised for yet.
    pub fn has_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    /// Raises the alarm, or raises it again, for the bundle that was counted last: what a guard has refused stays refused
    /// for the commands that come. All of what that bundle has changed is undone already.
    pub fn raise(&self, tx: &Transaction<'_>, now: u64) -> Result<()> {
        let (Some(guarded), Some((by, tip))) = (self.refused.take(), self.by.clone()) else { return Ok(()) };
        if let Some(alarm) = standing(tx, guarded, now)? {
            let told = alarm.told.as_ref().and_then(|told| wider(told, &tip));
            return tx.set_alarm(guarded, &Alarm { raised: now, by, told, ..alarm });
        }
        let before = if guarded == Guarded::Removed { &self.removing } else { &self.adding };
        let Some(Before { last, folders, .. }) = before else { return Ok(()) };
        let alarm =
            Alarm { raised: now, by, last: *last, folders: folders.clone(), added: self.added, told: Some(tip) };
        tx.set_alarm(guarded, &alarm)?;
        if guarded == Guarded::Removed {
            tx.begin_departed()?;
            tx.keep_departed(Since::Command)?;
        }
        Ok(())
    }

    /// Ends the alarms that don't count any more, and dates those anew that seem to be of a time to come.
    pub fn end_old(tx: &Transaction<'_>, now: u64) -> Result<()> {
        Guarded::ALL.into_iter().try_for_each(|guarded| standing(tx, guarded, now).map(drop))
    }

    /// Ends the alarms that bundles of such replicas have raised.
    pub fn end_of(tx: &Transaction<'_>, is_one: impl Fn(&ReplicaId) -> Result<bool>) -> Result<()> {
        for guarded in Guarded::ALL {
            if let Some(alarm) = tx.alarm(guarded)?
                && is_one(&alarm.by)?
            {
                tx.end_alarm(guarded)?;
            }
        }
        Ok(())
    }

    /// Others have worked on the replica meanwhile: what they have taken away, with guards of their own, isn't there
    /// for this command to take away.
    pub fn recount(&mut self, tx: &Transaction<'_>) -> Result<()> {
        if self.has_begun() {
            tx.begin_departed()?;
        }
        let now = folders(tx);
        for before in self.removing.iter_mut().chain(&mut self.adding) {
            before.held.take();
            before.folders.retain(|folder| now.binary_search(folder).is_ok());
        }
        Ok(())
    }
}

/// The knowledge of two that includes the other one. Two that don't include each other aren't joined: whoever is refused again
/// and again would have more and more kept here.
fn wider(one: &Knowledge, other: &Knowledge) -> Option<Knowledge> {
    [(one, other), (other, one)].into_iter().find(|(wide, narrow)| wide.includes(narrow)).map(|(wide, _)| wide.clone())
}

/// Whether all is known here that the bundles knew for which this alarm stands.
fn is_known(tx: &Transaction<'_>, guarded: Guarded) -> Result<bool> {
    let told = tx.alarm(guarded)?.and_then(|alarm| alarm.told);
    told.map_or(Ok(false), |told| Ok(tx.knowledge()?.includes(&told)))
}

/// The alarm that still counts. One that doesn't is ended; one of a time to come is dated as if it were of this moment,
/// so that it ends a day later at most.
fn standing(tx: &Transaction<'_>, guarded: Guarded, now: u64) -> Result<Option<Alarm>> {
    let Some(alarm) = tx.alarm(guarded)? else { return Ok(None) };
    if !still_counts(alarm.raised, now) {
        tx.end_alarm(guarded)?;
        return Ok(None);
    }
    if alarm.raised <= now {
        return Ok(Some(alarm));
    }
    let alarm = Alarm { raised: now, ..alarm };
    tx.set_alarm(guarded, &alarm)?;
    Ok(Some(alarm))
}

/// What is gone of what was there before. What was there for the command itself, `own`, tells its part.
fn lost(state: &State, limits: &Limits, before: &Before, own: &Before) -> Result<Losses> {
    let now = folders(state);
    let is_gone = |folder: &FolderKey| now.binary_search(folder).is_err();
    let departed = state.departed(before.since)?;
    let held = |folder| Ok(before.files(state, folder)?.0);
    let name = |folder| Ok(state.folder_row(folder)?.name.to_string());
    let mut losses = losses(&departed, limits, |folder| !is_gone(&folder), held, name)?;
    let gone = || before.folders.iter().filter(|folder| is_gone(folder));
    losses.folders.held = before.folders.len() as u64;
    losses.folders.gone = gone().count() as u64;
    losses.folders.before = gone().filter(|folder| own.folders.binary_search(folder).is_err()).count() as u64;
    Ok(losses)
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
        losses.all.before += departed.removed.saturating_sub(departed.own_removed);
        if may_be_too_much(departed.entries, limits) && !is_renamed(departed, exists(departed.folder)) {
            let loss = Loss {
                gone: departed.entries,
                held: held(Some(departed.folder))?,
                before: departed.entries.saturating_sub(departed.own),
                moved: departed.entries.saturating_sub(departed.removed),
            };
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
    let mut keys: Vec<FolderKey> = rows.iter().filter(|row| row.is_present()).map(|row| row.key).collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(number: i64) -> FolderKey {
        FolderKey::example(number)
    }

    fn left(number: i64, entries: u64, removed: u64, targets: u64) -> Departed {
        Departed { folder: folder(number), entries, removed, targets, own: entries, own_removed: removed }
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
