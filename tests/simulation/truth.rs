//! What a replica ought to hold: the join of all that its knowledge includes of what was ever written.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use mailsync::model::{Clock, Entry, EntryId, FlagRegisters, FolderName, FolderState, Knowledge, Mtime, Stamp};

use super::replica::View;

/// Everything that was written anywhere, each write by itself. Nothing in it is ever merged or forgotten, so it says
/// what is right without any rule of a meeting or of a purge. Clones share the writes that both have seen.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    entries: BTreeMap<EntryId, Rc<Vec<(Stamp, Entry)>>>,
    folders: BTreeMap<FolderName, Vec<FolderState>>,
    newest: Clock,
}

impl Truth {
    /// The write with this stamp has made this of an entry.
    pub fn record(&mut self, stamp: Stamp, id: &EntryId, entry: &Entry) {
        self.newest = self.newest.max(stamp.clock);
        let written = written_by(stamp, id, entry);
        Rc::make_mut(self.entries.entry(id.clone()).or_default()).push((stamp, written));
    }

    /// A folder was made or removed.
    pub fn record_folder(&mut self, name: &FolderName, folder: FolderState) {
        self.newest = self.newest.max(folder.stamp.clock);
        self.folders.entry(name.clone()).or_default().push(folder);
    }

    /// What somebody sees who holds all of what this knowledge includes, and nothing else.
    pub fn view(&self, knowledge: &Knowledge) -> View {
        let joined = |writes: &[(Stamp, Entry)]| {
            let known = writes.iter().filter(|(stamp, _)| knowledge.covers(*stamp)).map(|(_, written)| written);
            let joined = known.cloned().reduce(|all, one| all.merge(&one))?;
            (joined.born != Stamp::ZERO).then_some(joined)
        };
        let entries = self.entries.iter().filter_map(|(id, writes)| Some((id.clone(), joined(writes)?)));
        let folders = self.folders.iter().filter_map(|(name, states)| {
            let known = states.iter().filter(|state| knowledge.covers(state.stamp)).copied();
            Some((name.clone(), known.reduce(FolderState::merge)?))
        });
        View::of(&entries.collect(), &folders.collect())
    }

    /// A write that this knowledge doesn't include, if there is one.
    pub fn first_unknown(&self, knowledge: &Knowledge) -> Option<Stamp> {
        let written = self.entries.values().flat_map(|writes| writes.iter().map(|(stamp, _)| *stamp));
        let made = self.folders.values().flatten().map(|state| state.stamp);
        written.chain(made).find(|stamp| !knowledge.covers(*stamp))
    }

    /// The greatest clock of any write.
    pub fn newest(&self) -> Clock {
        self.newest
    }

    /// Feeds all of it to the hasher.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        for (id, writes) in &self.entries {
            let one = |(stamp, entry): &(Stamp, Entry)| {
                let mut hasher = DefaultHasher::new();
                (id, stamp).hash(&mut hasher);
                feed_entry(entry, &mut hasher);
                hasher.finish()
            };
            // In whatever order they were made.
            writes.iter().map(one).fold(0, u64::wrapping_add).hash(hasher);
        }
        for (name, states) in &self.folders {
            let one = |state: &FolderState| {
                let mut hasher = DefaultHasher::new();
                (name, state.stamp, state.present).hash(&mut hasher);
                hasher.finish()
            };
            states.iter().map(one).fold(0, u64::wrapping_add).hash(hasher);
        }
    }
}

/// Feeds all registers to the hasher.
pub fn feed_entry(entry: &Entry, hasher: &mut impl Hasher) {
    (&entry.location, entry.born, entry.floor, entry.removal.map(|removal| (removal.seen, removal.stamp))).hash(hasher);
    for flag in entry.flags.iter() {
        flag.hash(hasher);
    }
    entry.mtime.hash(hasher);
}

/// The registers of an entry that carry this stamp; the others are as if nothing had ever been written to them.
fn written_by(stamp: Stamp, id: &EntryId, entry: &Entry) -> Entry {
    let if_written = |register: Stamp| if register == stamp { stamp } else { Stamp::ZERO };
    let mut flags = FlagRegisters::default();
    for (flag, _, on) in entry.flags.iter().filter(|(_, at, _)| *at == stamp) {
        flags.write(flag.clone(), stamp, *on);
    }
    Entry {
        location: if entry.location.0 == stamp { entry.location.clone() } else { (Stamp::ZERO, id.birth.clone()) },
        born: if_written(entry.born),
        floor: if_written(entry.floor),
        removal: entry.removal.filter(|removal| removal.stamp == stamp),
        flags,
        size: entry.size,
        mtime: if entry.born == stamp { entry.mtime } else { Mtime::default() },
    }
}
