//! Merging the records of a bundle with the state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::landing::Landing;
use super::outcome::{Changes, ImportOptions};
use super::passed_over::{self, PassedOver};
use super::refusal::Fault;
use crate::bundle::{self, BundleKind, JobsPart, Manifest, Record, RecordsPart, limits};
use crate::disk::Space;
use crate::error::Result;
use crate::maildir::SizeField;
use crate::model::{
    Amount, Believed, Clock, Decision, Entry, EntryId, Flag, FolderDecision, FolderName, FolderState, Happened,
    Happening, Incarnation, Knowledge, Meeting, Rule, Stamp, overruled,
};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{By, EntryKey, EntryKeys, EntryRow, FolderKey, Peer};

/// The records of one bundle on their way into the state. The merge also records, as pending, what is to be done on
/// disk.
pub(super) struct Merge<'i> {
    replica: &'i Replica,
    tx: &'i Transaction<'i>,
    manifest: &'i Manifest,
    from: &'i Peer,
    landing: Landing,
    /// What is believed of the bundle: not all if it tells of a replica that was revoked.
    believed: Believed,
    /// What the entries that were taken show of those of whom it tells more than is believed.
    shown: Knowledge,
    /// What of it is passed over.
    passed_over: PassedOver,
    /// What was known here before.
    known_before: Knowledge,
    /// It decides about each entry.
    meeting: Meeting,
    /// This replica's horizon. At the end of the merge it is joined with the sender's.
    horizon: Knowledge,
    /// The stamp for all changes that the import makes itself, once there is one.
    stamp: Option<Stamp>,
    /// The entries that a full bundle holds.
    held: EntryKeys,
    /// The folders that it tells of.
    told: BTreeSet<FolderKey>,
    /// How many folders were known before.
    folders: u64,
    /// How many have become known that were removed.
    absent: u64,
    /// How many changes don't hold, since the other side has made others to the same messages, by the rules for that.
    overruled: BTreeMap<Rule, u64>,
    /// Whether this bundle may add as much as it likes: a new replica begins with it, or it is the first one of a new
    /// peer.
    is_first: bool,
    added: Amount,
    /// The size of the blocks on the disk with the mail.
    block: u64,
    taken: u64,
    changes: Changes,
    changed: bool,
}

/// The changes that a bundle's records have made.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    /// The counts for people. Every entry whose contents are awaited counts as new.
    pub changes: Changes,
    /// Whether anything changed, even if nobody can see it.
    pub changed: bool,
    /// What it adds, by what the records say.
    pub added: Amount,
    /// How many bytes the files of that take on the disk.
    pub taken: u64,
    /// Whether it may add as much as it likes.
    pub is_first: bool,
    /// How many changes don't hold beside others, by the rules for that.
    pub overruled: BTreeMap<Rule, u64>,
    /// What was passed over, of replicas that were revoked, and was not told before.
    pub passed_over: BTreeMap<Incarnation, passed_over::Amount>,
}

impl<'i> Merge<'i> {
    /// The merge of a bundle from this peer into a state of this knowledge; the other one is what counts as known where it is
    /// decided how much of the bundle is believed.
    pub fn new(
        replica: &'i Replica,
        tx: &'i Transaction<'i>,
        manifest: &'i Manifest,
        from: &'i Peer,
        landing: Landing,
        (knowledge, trusted): (&Knowledge, &Knowledge),
    ) -> Result<Self> {
        let caps = replica.caps(trusted)?;
        let horizon = replica.state.horizon()?;
        let proven = replica.state.proven(&replica.public_key().id())?;
        let believed = caps.believe(&manifest.head(), knowledge);
        let meeting =
            Meeting::new(knowledge, &caps.horizon(&horizon), proven.clone(), &believed.head).believing(&believed);
        let is_first = landing.is_a_join() || from.last_heard.is_none();
        Ok(Self {
            replica,
            tx,
            manifest,
            from,
            landing,
            passed_over: PassedOver::begin(replica, &believed)?,
            believed,
            shown: Knowledge::new(),
            known_before: knowledge.clone(),
            meeting,
            horizon,
            stamp: None,
            held: EntryKeys::default(),
            told: BTreeSet::new(),
            folders: replica.state.count_folders(),
            absent: 0,
            overruled: BTreeMap::new(),
            is_first,
            added: Amount { incarnations: unheard_of(manifest, knowledge, &proven), ..Amount::default() },
            block: replica.block_below(replica.mail_root()),
            taken: 0,
            changes: Changes::default(),
            changed: false,
        })
    }

    /// Merges all records of the bundle.
    pub fn records<'s, R: BufRead>(
        &mut self,
        records: RecordsPart<'s, R>,
    ) -> std::result::Result<JobsPart<'s, R>, Fault> {
        let gauge = self.replica.world.meter.begin("merging entries", self.manifest.counts.entries);
        records.records::<Fault>(|record| {
            gauge.advance(1);
            self.is_there_room_for(&record)?;
            Ok(self.merge_record(record)?)
        })
    }

    /// Decides about the entries that a full bundle doesn't hold, and joins the sender's knowledge into the state.
    ///
    /// # Errors
    /// So much would be removed or added that it is to be allowed first.
    pub fn finish(mut self, options: &ImportOptions) -> Result<Merged> {
        if self.is_full() {
            self.decide_on_absent()?;
            // The scan of a join reads the horizon from the state.
            self.horizon.join(&self.believed.head.horizon);
            self.tx.set_horizon(&self.horizon)?;
        }
        let (state, tally, limits) = (&self.replica.state, self.replica.tally.borrow(), &self.replica.config.guard);
        tally.guard_departures(state, (options.mass_delete, options.dry_run), limits)?;
        self.added.folders += state.count_folders().saturating_sub(self.folders);
        let guarded = if self.is_first { self.added.beside_mail(self.absent) } else { self.added };
        tally.guard_arrivals(state, (options.mass_add, options.dry_run), limits, guarded)?;
        self.learn_tip()?;
        self.passed_over.remember(self.tx, &self.believed, self.manifest, &self.known_before)?;
        let Self { changes, changed, added, taken, is_first, overruled, passed_over, .. } = self;
        Ok(Merged { changes, changed, added, taken, is_first, overruled, passed_over: passed_over.into_found() })
    }

    /// Whether the bundle speaks about every entry.
    fn is_full(&self) -> bool {
        self.manifest.kind == BundleKind::Full
    }

    /// All folders that were ever heard of go into a full bundle from here: no more are taken than it can hold.
    fn is_there_room_for(&self, record: &Record) -> std::result::Result<(), bundle::Error> {
        let state = &self.replica.state;
        let names = match record {
            Record::Folder { name, .. } => [Some(name), None],
            Record::Entry { id, entry } => [Some(&id.birth), Some(&entry.location.1).filter(|name| **name != id.birth)],
        };
        let new = names.into_iter().flatten().filter(|name| state.find_folder(name).is_none()).count() as u64;
        if new > 0 && state.count_folders() + new > limits::FOLDERS {
            let what = "the number of its folders, with those that are known here";
            return Err(bundle::Error::TooLarge { what, limit: limits::FOLDERS });
        }
        Ok(())
    }

    /// Merges the record of one folder or entry.
    fn merge_record(&mut self, record: Record) -> Result<()> {
        let state = &self.replica.state;
        match record {
            Record::Folder { name, state: theirs } => self.merge_folder(&name, theirs),
            Record::Entry { id, entry } => {
                let mine = state.entry_by_id(&id)?;
                let becomes = self.believed.caps.entry(&id, mine.as_ref().map(|row| &row.entry), &entry);
                self.passed_over.look_at(self.tx, &self.believed, (&id, &entry), becomes.as_ref())?;
                let Some(mut entry) = becomes else { return Ok(()) };
                self.shown.extend(self.believed.shown_by(&entry));
                // Where the contents are here, their size was measured.
                if let Some(row) = mine.as_ref().filter(|row| row.at.is_some()) {
                    entry.size = row.entry.size;
                }
                let lost = mine.as_ref().map(|row| self.lost_beside(&row.entry, &entry)).unwrap_or_default();
                let before = mine.as_ref().map(|row| flags_of(&row.entry)).unwrap_or_default();
                let stored = match self.meeting.decide(mine.as_ref().map(|row| &row.entry), Some(&entry)) {
                    Decision::Keep | Decision::Drop => None,
                    Decision::Store(entry) => Some(entry),
                    Decision::StoreAnew(entry) => Some(self.deliver_anew(entry)?),
                };
                if let Some(stored) = &stored {
                    let after = flags_of(stored);
                    self.added.flags += after.0.saturating_sub(before.0);
                    self.added.keyword_bytes += after.1.saturating_sub(before.1);
                }
                let key = match (mine, stored) {
                    // What was changed of a message whose removal is forgotten here is lost as well.
                    (None, None) if entry.alive() => {
                        let lost = self.lost_beside(&entry.clone().removed_by_somebody(), &entry);
                        return self.tell_of_lost(&id, &lost);
                    }
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
                self.tell_of_lost(&id, &lost)
            }
        }
    }

    /// What of the changes on both sides, of which the other side knew nothing, will not hold.
    fn lost_beside(&self, mine: &Entry, theirs: &Entry) -> Vec<Happening> {
        overruled(mine, theirs, &self.known_before, &self.believed.head.tip)
    }

    fn tell_of_lost(&mut self, id: &EntryId, lost: &[Happening]) -> Result<()> {
        for happening in lost {
            if let Happened::Overruled { rule, .. } = happening.what {
                *self.overruled.entry(rule).or_default() += 1;
            }
        }
        self.tx.tell_of(id, lost)
    }

    fn merge_folder(&mut self, name: &FolderName, theirs: FolderState) -> Result<()> {
        let state = &self.replica.state;
        let key = state.find_folder(name);
        let mine = key.map(|key| state.folder_row(key)).transpose()?.and_then(|row| row.state);
        self.told.extend(key);
        let Some(theirs) = self.believed.caps.folder(theirs) else { return Ok(()) };
        let becomes = self.meeting.decide_folder(mine, Some(theirs));
        if becomes == FolderDecision::Keep {
            return Ok(());
        }
        // One that is new counts by its name.
        let was_known = key.is_some();
        let key = self.tx.folder(name)?;
        self.told.insert(key);
        let now = self.change_folder(key, mine, becomes)?;
        self.absent += u64::from(!was_known && !now);
        self.added.folders += u64::from(was_known && now && !mine.is_some_and(|mine| mine.present));
        Ok(())
    }

    /// Gives a folder the register that was decided on. Returns whether it exists by that.
    fn change_folder(&mut self, key: FolderKey, mine: Option<FolderState>, becomes: FolderDecision) -> Result<bool> {
        let new = match becomes {
            FolderDecision::Keep => return Ok(mine.is_some_and(|mine| mine.present)),
            FolderDecision::Store(new) => new,
            FolderDecision::MakeAnew => FolderState { stamp: self.fresh_stamp()?, present: true },
        };
        self.changes.folders += u64::from(mine.is_some_and(|mine| mine.present) != new.present);
        self.changed = true;
        self.tx.set_folder_state(key, new)?;
        Ok(new.present)
    }

    /// Records a new entry, whose contents come later in the bundle. A join into a root with mail scans that mail
    /// first; until then the entry has no place.
    fn await_contents(&mut self, id: &EntryId, entry: &Entry) -> Result<EntryKey> {
        if matches!(self.landing, Landing::AfterScan(_)) {
            let key = self.tx.insert_entry(id, entry, None)?;
            self.tx.add_missing(key)?;
            return Ok(key);
        }
        self.changes.new += 1;
        // Nearly all names are free: that one isn't shows when it is taken.
        let usual = self.replica.place_unless(self.tx, id, entry, SizeField::Told, |_| Ok(false))?;
        let (key, at) = if let Some(key) = self.tx.insert_entry_if_free(id, entry, &usual)? {
            (key, usual)
        } else {
            let at = self.replica.place_for(self.tx, id, entry, SizeField::Told)?;
            (self.tx.insert_entry(id, entry, Some(&at))?, at)
        };
        // A new entry has no record of that to be replaced.
        if entry.flags_on().any(|flag| matches!(flag, Flag::Keyword(_))) {
            self.replica.note_letterless(self.tx, key, entry, at.folder)?;
        }
        self.count_arrival(key, entry)?;
        self.tx.await_contents(key);
        Ok(key)
    }

    /// Records the new state of a known entry.
    fn change(&mut self, row: EntryRow, entry: Entry) -> Result<()> {
        match (row.entry.alive(), entry.alive()) {
            (false, true) => {
                self.changes.new += 1;
                self.count_arrival(row.key, &entry)?;
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
                    self.replica.tally.borrow_mut().note_move(entry.location.0.clock);
                }
                self.changes.flagged += u64::from(row.entry.flags_on().ne(entry.flags_on()));
            }
            (false, false) => {}
        }
        self.tx.update_entry(&row, &entry)?;
        self.replica.decide_move(self.tx, &EntryRow { entry, ..row }, &By::Peer(self.from.name.clone()))
    }

    fn count_departure(&self, row: &EntryRow, to: Option<FolderKey>) -> Result<()> {
        row.at.as_ref().map_or(Ok(()), |at| self.replica.tally.borrow().depart(self.tx, row, at.folder, to))
    }

    fn count_arrival(&mut self, key: EntryKey, entry: &Entry) -> Result<()> {
        self.added.messages += 1;
        // Anybody can claim any size. What the bundle brings is no more than all of its contents.
        self.added.bytes = self.added.bytes.saturating_add(entry.size).min(self.manifest.bytes);
        self.taken = self.taken.saturating_add(Space::taken(self.block, entry.size));
        self.replica.tally.borrow().arrive(self.tx, key)
    }

    /// Delivers an entry anew, with the one stamp of this import's own deliveries.
    fn deliver_anew(&mut self, mut entry: Entry) -> Result<Entry> {
        entry.deliver_anew(self.fresh_stamp()?);
        Ok(entry)
    }

    fn fresh_stamp(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        // The stamp must be above everything that the sender knows, too.
        self.learn_tip()?;
        Ok(*self.stamp.insert(self.tx.issue(self.replica.now())?))
    }

    /// Joins the sender's knowledge into that of this replica.
    fn learn_tip(&self) -> Result<()> {
        let mut tip = self.believed.head.tip.clone();
        for &incarnation in self.believed.cut.keys() {
            let held = self.replica.state.newest_held_of(incarnation)?;
            tip.set(incarnation, held.max(self.shown.get(incarnation)).max(tip.get(incarnation)));
        }
        // With what a replica begins its inviter answers for nobody: its own life and that of others are one to it.
        let first_at = (!self.landing.is_a_join()).then(|| self.replica.now());
        self.tx.learn(&tip, &self.replica.present_id(&self.manifest.sender.id)?, first_at)
    }

    /// Decides about the folders and entries that a full bundle, which is complete, doesn't hold.
    fn decide_on_absent(&mut self) -> Result<()> {
        let state = &self.replica.state;
        for row in state.all_folders() {
            if row.state.is_some() && !self.told.contains(&row.key) {
                self.change_folder(row.key, row.state, self.meeting.decide_folder(row.state, None))?;
            }
        }
        let mut absent = Vec::new();
        let is_absent = |key| !self.held.contains(key);
        state.each_entry_of(is_absent, |row| {
            if self.meeting.decide(Some(&row.entry), None) != Decision::Keep {
                absent.push(row.key);
            }
            Ok(())
        })?;
        for key in absent {
            let Some(row) = state.entry(key)? else { continue };
            match self.meeting.decide(Some(&row.entry), None) {
                Decision::Keep => {}
                Decision::Store(entry) => {
                    let (id, lost) = (row.id.clone(), self.lost_beside(&row.entry, &entry));
                    self.change(row, entry)?;
                    self.tell_of_lost(&id, &lost)?;
                }
                Decision::StoreAnew(entry) => {
                    let entry = self.deliver_anew(entry)?;
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

/// How many incarnations a bundle makes known of which nothing has come from themselves; but for its own.
fn unheard_of(manifest: &Manifest, knowledge: &Knowledge, proven: &Knowledge) -> u64 {
    let new = |incarnation| knowledge.get(incarnation) == Clock::ZERO && proven.get(incarnation) == Clock::ZERO;
    let others = manifest.tip.iter().filter(|(incarnation, _)| *incarnation != manifest.sender.incarnation);
    others.filter(|(incarnation, _)| new(*incarnation)).count() as u64
}

/// How many registers of flags an entry has, and how many bytes the keywords among them.
fn flags_of(entry: &Entry) -> (u64, u64) {
    let bytes = |flag: &Flag| if let Flag::Keyword(name) = flag { name.as_str().len() as u64 } else { 0 };
    entry.flags.iter().fold((0, 0), |(count, all), (flag, ..)| (count + 1, all + bytes(flag)))
}
