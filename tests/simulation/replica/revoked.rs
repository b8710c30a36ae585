//! A replica that hears that another one was revoked, and takes back what it had taken from it by then.

use std::collections::BTreeMap;

use mailsync::model::{
    Believed, Caps, Entry, EntryId, Flag, FlagSet, FolderName, FolderState, Head, Incarnation, Knowledge, Origin, Stamp,
};

use super::Replica;

/// What imports have changed, as it was before each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    entries: BTreeMap<EntryId, Vec<Entry>>,
    folders: BTreeMap<FolderName, Vec<FolderState>>,
}

impl Replica {
    /// From here on it remembers what imports change.
    pub fn remember_all(&mut self) {
        self.past = Some(Past::default());
    }

    pub(super) fn remember(&mut self, id: &EntryId) {
        if let (Some(past), Some(entry)) = (&mut self.past, self.entries.get(id)) {
            past.entries.entry(id.clone()).or_default().push(entry.clone());
        }
    }

    pub(super) fn remember_folder(&mut self, name: &FolderName) {
        if let (Some(past), Some(state)) = (&mut self.past, self.folders.get(name)) {
            past.folders.entry(name.clone()).or_default().push(*state);
        }
    }

    /// It hears that the replica of this incarnation was revoked.
    pub fn hear_of_theft(&mut self, thief: Incarnation, since: u64) {
        self.caps.revoke(thief, since, &self.knowledge);
    }

    /// Of whom more was told than is believed it knows what it holds.
    pub(super) fn learn_what_is_held(&mut self, believed: &Believed) {
        for &incarnation in believed.cut.keys() {
            let first = (incarnation, mailsync::model::Clock::ZERO);
            let held =
                self.changes.range(first..).take_while(|((of, _), _)| *of == incarnation).map(|((_, clock), _)| *clock);
            let folders = self.folders.values().map(|state| state.stamp);
            let folders = folders.filter(|stamp| stamp.incarnation == incarnation).map(|stamp| stamp.clock);
            let clock = held.chain(folders).max().unwrap_or_default();
            self.knowledge.learn(Stamp { clock, incarnation });
        }
    }

    /// It remembers up to where it was told of what it doesn't believe.
    pub(super) fn learn_what_was_told(&mut self, believed: &Believed, head: &Head) {
        for &incarnation in believed.cut.keys() {
            let told = self.told.get(incarnation);
            if head.base.get(incarnation) <= told.max(self.knowledge.get(incarnation)) {
                self.told.set(incarnation, told.max(head.tip.get(incarnation)));
            }
        }
    }

    /// A person trusts that replica again.
    pub fn reinstate(&mut self) {
        self.caps = Caps::default();
    }

    /// Takes back what it had taken from that replica, as far as it remembers what was before. What that one has delivered stays
    /// where it had been taken: nothing is removed by this. Gives how much.
    pub fn undo(&mut self, thief: Incarnation, since: u64, now: u64) -> usize {
        let mut honest = Caps::default();
        honest.revoke(thief, since, &Knowledge::new());
        let touched = |entry: &Entry| !entry.stamps().all(|stamp| honest.takes(stamp));
        let ids: Vec<_> = self.entries.iter().filter(|(_, entry)| touched(entry)).map(|(id, _)| id.clone()).collect();
        let names = self.folders.iter().filter(|(_, state)| !honest.takes(state.stamp));
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        let past = self.past.clone().unwrap_or_default();
        let mut count = names.len();
        for id in &ids {
            let entry = self.entries[id].clone();
            let versions = past.entries.get(id).into_iter().flatten();
            let before = versions.rev().find(|entry| !touched(entry)).cloned();
            let Some(before) = before.or_else(|| honest.entry(id, None, &entry)) else { continue };
            let stamp = self.stamp(now);
            let new = taken_back(&honest, &entry, &before, stamp);
            count += 1;
            self.put(id, Some(new));
        }
        for name in &names {
            let stamp = self.stamp(now);
            let versions = past.folders.get(name).into_iter().flatten();
            let present = versions.rev().find(|state| honest.takes(state.stamp)).is_some_and(|state| state.present);
            self.put_folder(name, Some(FolderState { stamp, present }));
        }
        count
    }

    /// A person says that what it holds of that replica's is to be kept: it is this one's own from here on, as it is here. Gives
    /// which messages these are.
    pub fn keep(&mut self, thief: Incarnation, since: u64, now: u64) -> Vec<EntryId> {
        let mut honest = Caps::default();
        honest.revoke(thief, since, &Knowledge::new());
        let kept: Vec<_> = self.found.iter().filter(|id| honest.passes_over(id, &self.entries[*id])).cloned().collect();
        let folders = self.folders.iter().filter(|(_, state)| state.present && !honest.takes(state.stamp));
        let folders: Vec<_> = folders.map(|(name, _)| name.clone()).collect();
        if kept.is_empty() && folders.is_empty() {
            return kept;
        }
        let stamp = self.stamp(now);
        for id in &kept {
            self.change(id, |entry| entry.deliver_anew(stamp));
        }
        for name in &folders {
            self.put_folder(name, Some(FolderState { stamp, present: true }));
        }
        kept
    }

    /// The messages that lie where that replica has put them and nobody else since, or lay there when they were removed.
    pub fn put_by(&self, thief: Incarnation, since: u64) -> impl Iterator<Item = &EntryId> {
        let mut honest = Caps::default();
        honest.revoke(thief, since, &Knowledge::new());
        let there = self.entries.iter().filter(move |(_, entry)| !honest.takes(entry.location.0));
        there.map(|(id, _)| id)
    }
}

/// The entry as it is to be, with `stamp`: what honest replicas have made of it since stays.
fn taken_back(honest: &Caps, entry: &Entry, before: &Entry, stamp: Stamp) -> Entry {
    let was_alive = before.alive();
    let removed_by_honest = entry.removal.is_some_and(|removal| honest.takes(removal.stamp));
    let lives = if entry.alive() {
        was_alive || (honest.takes(entry.location.0) && honest.takes(entry.born))
    } else {
        was_alive && !removed_by_honest
    };
    let is_on = |flag: &Flag, entry: &Entry| entry.flags_on().any(|on| on == flag);
    let flags: FlagSet = entry
        .flags
        .iter()
        .filter(|(flag, stamp, _)| is_on(flag, if honest.takes(*stamp) { entry } else { before }))
        .map(|(flag, ..)| flag.clone())
        .collect();
    let folder = if honest.takes(entry.location.0) { entry } else { before }.location.1.clone();
    let mtime = if honest.takes(entry.born) { entry } else { before }.mtime;
    let mut new = Entry::delivered(Some(entry), Origin::Delivery, stamp, folder, &flags, entry.size, mtime);
    if !lives {
        new.remove(stamp);
    }
    new
}
