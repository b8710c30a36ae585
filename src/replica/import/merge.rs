//! Merging the records of a bundle with the state.

use std::io::BufRead;

use super::landing::Landing;
use super::outcome::{Changes, ImportOptions};
use super::refusal::Fault;
use crate::bundle::{JobsPart, Kind, Manifest, Record, RecordsPart};
use crate::error::Result;
use crate::model::{Decision, Entry, EntryId, Knowledge, Meeting, Stamp};
use crate::replica::Replica;
use crate::replica::safety::Amount;
use crate::replica::transaction::Transaction;
use crate::state::{By, EntryKey, EntryRow, FolderKey, Peer, Pending};

/// The records of one bundle on their way into the state. What is to be done on disk is written down there, too, as pending.
pub(super) struct Merge<'i> {
    replica: &'i Replica,
    tx: &'i Transaction<'i>,
    manifest: &'i Manifest,
    from: &'i Peer,
    landing: Landing,
    /// What decides on each entry.
    meeting: Meeting,
    /// What this replica has forgotten, joined with what the sender has once the merge is at its end.
    horizon: Knowledge,
    /// The stamp of all deliveries that the import makes itself, once there is one.
    stamp: Option<Stamp>,
    /// The entries that a full bundle holds.
    held: Held,
    /// Whether this bundle may add as much as it likes: a new replica begins with it, or it is the first one of a new
    /// peer.
    is_first: bool,
    added: Amount,
    changes: Changes,
    changed: bool,
}

/// What the records of a bundle changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merged {
    /// For people. Every entry whose contents are awaited counts as new.
    pub changes: Changes,
    /// Whether anything changed, if only what nobody sees.
    pub changed: bool,
    /// What it adds, by what the records say.
    pub added: Amount,
    /// Whether it may add as much as it likes.
    pub is_first: bool,
}

/// A set of entries: a bit for each, since a full bundle may hold all of them.
#[derive(Debug, Default)]
struct Held(Vec<u64>);

impl Held {
    fn add(&mut self, key: EntryKey) {
        let (word, bit) = (key.index() / 64, key.index() % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn contains(&self, key: EntryKey) -> bool {
        self.0.get(key.index() / 64).is_some_and(|word| word >> (key.index() % 64) & 1 == 1)
    }
}

impl<'i> Merge<'i> {
    /// The merge of a bundle from this peer into a state of this knowledge.
    pub fn new(
        replica: &'i Replica,
        tx: &'i Transaction<'i>,
        manifest: &'i Manifest,
        from: &'i Peer,
        landing: Landing,
        knowledge: &Knowledge,
    ) -> Result<Self> {
        let horizon = replica.state.horizon()?;
        if !landing.is_a_join() {
            replica.tally.borrow_mut().begin(tx)?;
        }
        let is_first = landing.is_a_join() || from.standing.newest.is_none();
        Ok(Self {
            replica,
            tx,
            manifest,
            from,
            landing,
            meeting: Meeting::new(knowledge, &horizon, &manifest.head()),
            horizon,
            stamp: None,
            held: Held::default(),
            is_first,
            added: Amount::default(),
            changes: Changes::default(),
            changed: false,
        })
    }

    /// Takes everything that the bundle says of folders and entries.
    pub fn records<'s, R: BufRead>(
        &mut self,
        records: RecordsPart<'s, R>,
    ) -> std::result::Result<JobsPart<'s, R>, Fault> {
        let gauge = self.replica.world.meter.begin("merging entries", self.manifest.counts.entries);
        records.records::<Fault>(|record| {
            gauge.advance(1);
            Ok(self.take(record)?)
        })
    }

    /// Decides on the entries that a full bundle doesn't hold, and joins the sender's knowledge into the state.
    ///
    /// # Errors
    /// So much would be removed or added that it is to be allowed first.
    pub fn finish(mut self, options: &ImportOptions) -> Result<Merged> {
        if self.is_full() {
            self.decide_on_absent()?;
            // The scan of a join asks for it.
            self.horizon.join(&self.manifest.horizon);
            self.tx.set_horizon(&self.horizon)?;
        }
        let (state, tally, limits) = (&self.replica.state, self.replica.tally.borrow(), &self.replica.config.guard);
        tally.guard_departures(state, options.mass_delete, limits)?;
        if !self.is_first {
            tally.guard_arrivals(state, options.mass_add, limits, self.added)?;
        }
        self.learn_tip()?;
        Ok(Merged { changes: self.changes, changed: self.changed, added: self.added, is_first: self.is_first })
    }

    /// Whether the bundle speaks of every entry.
    fn is_full(&self) -> bool {
        self.manifest.kind == Kind::Full
    }

    /// Merges what the bundle says of one folder or entry.
    fn take(&mut self, record: Record) -> Result<()> {
        let state = &self.replica.state;
        match record {
            Record::Folder { name, state: theirs } => {
                let key = self.tx.folder(&name)?;
                let mine = state.folder_row(key)?.state;
                let merged = mine.map_or(theirs, |mine| mine.merge(theirs));
                if mine != Some(merged) {
                    let present = |state: Option<crate::model::FolderState>| state.is_some_and(|state| state.present);
                    self.changes.folders += u64::from(present(mine) != merged.present);
                    self.added.folders += u64::from(merged.present && !present(mine));
                    self.changed = true;
                    self.tx.set_folder_state(key, merged)?;
                }
                Ok(())
            }
            Record::Entry { id, entry } => {
                let mine = state.entry_by_id(&id)?;
                let stored = match self.meeting.decide(mine.as_ref().map(|row| &row.entry), Some(&entry)) {
                    Decision::Keep | Decision::Drop => None,
                    Decision::Store(entry) => Some(entry),
                    Decision::StoreAnew(entry) => Some(self.deliver_anew(entry)?),
                    Decision::RemoveAnew(entry) => Some(self.remove_anew(entry)?),
                };
                let key = match (mine, stored) {
                    (None, None) => return Ok(()),
                    (Some(row), None) => row.key,
                    (None, Some(entry)) => {
                        self.changed = true;
                        if entry.alive() {
                            self.await_contents(&id, &entry)?
                        } else {
                            self.added.tombstones += 1;
                            self.tx.insert_entry(&id, &entry, None)?
                        }
                    }
                    (Some(row), Some(entry)) => {
                        self.changed = true;
                        let key = row.key;
                        self.change(row, entry)?;
                        key
                    }
                };
                if self.is_full() {
                    self.held.add(key);
                }
                Ok(())
            }
        }
    }

    /// A new entry, whose contents come later in the bundle. Where a join finds mail, that is looked through first: the
    /// entry has no place before.
    fn await_contents(&mut self, id: &EntryId, entry: &Entry) -> Result<EntryKey> {
        if matches!(self.landing, Landing::AfterScan(_)) {
            let key = self.tx.insert_entry(id, entry, None)?;
            self.tx.add_missing(key)?;
            return Ok(key);
        }
        self.changes.new += 1;
        self.count_arrival(entry);
        let at = self.replica.place_for(self.tx, id, entry)?;
        let key = self.tx.insert_entry(id, entry, Some(&at))?;
        self.tx.set_pending(key, &Pending::Await)?;
        Ok(key)
    }

    /// An entry that is known here has another state now.
    fn change(&mut self, row: EntryRow, entry: Entry) -> Result<()> {
        match (row.entry.alive(), entry.alive()) {
            (false, true) => {
                self.changes.new += 1;
                self.count_arrival(&entry);
            }
            (true, false) => {
                self.changes.removed += 1;
                self.count_departure(&row, None)?;
            }
            (true, true) => {
                if row.entry.location.1 != entry.location.1 {
                    self.changes.moved += 1;
                    let to = self.tx.folder(&entry.location.1)?;
                    self.count_departure(&row, Some(to))?;
                }
                self.changes.flagged += u64::from(row.entry.flags_on().ne(entry.flags_on()));
            }
            (false, false) => {}
        }
        self.tx.update_entry(&row, &entry)?;
        self.replica.decide_move(self.tx, &EntryRow { entry, ..row }, &By::Peer(self.from.name.clone()))
    }

    fn count_departure(&self, row: &EntryRow, to: Option<FolderKey>) -> Result<()> {
        row.at.as_ref().map_or(Ok(()), |at| self.replica.tally.borrow().depart(self.tx, row.key, at.folder, to))
    }

    fn count_arrival(&mut self, entry: &Entry) {
        self.added.messages += 1;
        self.added.bytes = self.added.bytes.saturating_add(entry.size);
    }

    /// Delivers an entry anew.
    fn deliver_anew(&mut self, mut entry: Entry) -> Result<Entry> {
        entry.deliver_anew(self.own_stamp()?);
        Ok(entry)
    }

    /// Removes an entry anew.
    fn remove_anew(&mut self, mut entry: Entry) -> Result<Entry> {
        entry.remove(self.own_stamp()?);
        Ok(entry)
    }

    /// The one stamp of this import's own deliveries and removals.
    fn own_stamp(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        // It is to be above everything that the sender knows, too.
        self.learn_tip()?;
        Ok(*self.stamp.insert(self.tx.issue(self.replica.now())?))
    }

    /// Joins the sender's knowledge into that of this replica.
    fn learn_tip(&self) -> Result<()> {
        let state = &self.replica.state;
        let mut knowledge = state.knowledge()?;
        if !knowledge.includes(&self.manifest.tip) {
            knowledge.join(&self.manifest.tip);
            self.tx.set_knowledge(&knowledge)?;
        }
        Ok(())
    }

    /// A full bundle is complete: decides on the entries that it doesn't hold.
    fn decide_on_absent(&mut self) -> Result<()> {
        let state = &self.replica.state;
        let mut absent = Vec::new();
        state.each_entry(|row| {
            if !self.held.contains(row.key) && self.meeting.decide(Some(&row.entry), None) != Decision::Keep {
                absent.push(row.key);
            }
            Ok(())
        })?;
        for key in absent {
            let Some(row) = state.entry(key)? else { continue };
            match self.meeting.decide(Some(&row.entry), None) {
                Decision::Keep => {}
                Decision::Store(entry) => self.change(row, entry)?,
                Decision::StoreAnew(entry) => {
                    let entry = self.deliver_anew(entry)?;
                    self.change(row, entry)?;
                }
                Decision::RemoveAnew(entry) => {
                    let entry = self.remove_anew(entry)?;
                    self.change(row, entry)?;
                }
                Decision::Drop => {
                    self.changes.removed += 1;
                    self.count_departure(&row, None)?;
                    if let Some(at) = &row.at {
                        self.tx.add_discard(&row.id, &row.entry, at, &By::Peer(self.from.name.clone()))?;
                    }
                    self.tx.delete_entry(&row)?;
                }
            }
            self.changed = true;
        }
        Ok(())
    }
}
