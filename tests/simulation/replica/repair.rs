//! The repair of a replica in memory, by the plan of the model.

use std::collections::{BTreeMap, BTreeSet};

use mailsync::model::{
    Clock, Contents, Digest, EntryId, FolderState, Incarnation, Knowledge, Repair, Restamping, Standpoint, WallClock,
};

use super::{Peer, Replica, Stamp};

/// The most incarnations of which anything can be known. It is small, so that liars reach it.
pub const MOST_INCARNATIONS: usize = 48;

impl Replica {
    /// Notes that a peer knows of stamps that this replica has never issued.
    pub fn disowned_by(&mut self, peer: usize) {
        self.disowned_by.insert(peer);
    }

    /// Mends what can't be true, with those of its peers that are left. `trash` is what imports have removed here,
    /// `new` the number of an incarnation that it can begin. Returns whether there was anything to do.
    pub fn repair(&mut self, now: u64, peers: &BTreeSet<usize>, trash: &BTreeSet<Digest>, new: Incarnation) -> bool {
        let before = self.clone();
        let wall = WallClock(now);
        let known = || peers.iter().filter_map(|peer| self.peers.get(peer));
        let shown: Vec<Knowledge> = known().filter_map(|peer| peer.standing.shown.clone()).collect();
        let mut proven = Knowledge::new();
        known().for_each(|peer| proven.join(&peer.proven));
        proven.join(&self.left);
        let is_ghost = |id: &EntryId| {
            let elsewhere = self.have.contains(&id.digest) || trash.contains(&id.digest);
            !elsewhere && Repair::is_ghost(&self.entries[id], self.incarnation, &proven)
        };
        let ghosts: Vec<EntryId> = self.missing.iter().filter(|id| is_ghost(id)).cloned().collect();
        let mut earliest = BTreeMap::new();
        for stamp in ghosts.iter().flat_map(|id| [self.entries[id].born, self.entries[id].location.0]) {
            let first = earliest.entry(stamp.incarnation).or_insert(stamp.clock);
            *first = stamp.clock.min(*first);
        }
        let standpoint = Standpoint {
            me: self.incarnation,
            issued: self.issued.last().copied().unwrap_or_default(),
            disowned: self.disowned_by.iter().any(|peer| peers.contains(peer)),
            wall,
            knowledge: self.knowledge.clone(),
            horizon: self.horizon.clone(),
            held: self.held(Repair::last_needed(wall)),
            proven,
            denied: std::mem::take(&mut self.denied),
            ghosts: earliest,
            most: MOST_INCARNATIONS,
        };
        let repair = Repair::plan(&standpoint);
        for id in &ghosts {
            self.put(id, None);
        }
        self.knowledge = repair.knowledge.clone();
        self.horizon = repair.horizon.clone();
        for Peer { standing, sent, .. } in self.peers.values_mut() {
            let lower = |knowledge: &mut Option<Knowledge>| {
                let before = knowledge.clone();
                let lowered = knowledge.as_mut().into_iter();
                lowered.for_each(|lowered| {
                    repair.known.iter().for_each(|cut| {
                        lowered.set(cut.incarnation, cut.to.min(lowered.get(cut.incarnation)));
                    });
                });
                *knowledge != before
            };
            if lower(&mut standing.shown) {
                standing.newest = None;
            }
            lower(sent);
        }
        if repair.anew.is_some() {
            let old = self.incarnation;
            let last = Restamping::last_sure(shown.iter().map(|tip| tip.get(old)), &self.issued, wall);
            self.begin_anew(new, last);
            self.left.set(old, self.knowledge.get(old));
            self.disowned_by.clear();
        }
        let repair = repair.with_knowledge(&self.knowledge.clone());
        self.mend(&repair, now, trash);
        let held = self.held(Repair::last_needed(wall));
        let now = (&self.knowledge, &self.horizon);
        (self.knowledge, self.horizon) = Repair::trimmed(&standpoint, self.incarnation, now, &held);
        let changed = before != *self;
        if changed {
            self.state = self.state_from_scratch();
        }
        changed
    }

    fn mend(&mut self, repair: &Repair, now: u64, trash: &BTreeSet<Digest>) {
        let mut fresh: Option<Stamp> = None;
        for (id, entry) in self.entries.clone() {
            if repair.damage(&entry, self.found.contains(&id)).is_none() {
                continue;
            }
            let contents = if self.found.contains(&id) {
                Contents::InPlace
            } else if self.have.contains(&id.digest) || trash.contains(&id.digest) {
                Contents::Here
            } else {
                Contents::Nowhere
            };
            let stamp = *fresh.get_or_insert_with(|| self.stamp(now));
            let mended = repair.mended(&entry, contents, stamp);
            if contents == Contents::Here {
                self.have.insert(id.digest);
            }
            self.put(&id, Some(mended));
        }
        for (name, state) in self.folders.clone() {
            if repair.folder(state).is_some() {
                let stamp = *fresh.get_or_insert_with(|| self.stamp(now));
                self.put_folder(&name, Some(FolderState { stamp, ..state }));
            }
        }
        self.recover(trash);
    }

    /// What is missing and in the trash is found.
    fn recover(&mut self, trash: &BTreeSet<Digest>) {
        let found: BTreeSet<Digest> = self.wants().intersection(trash).copied().collect();
        self.have.extend(&found);
        self.sort_out_contents(&found);
    }

    fn held(&self, last: Clock) -> Knowledge {
        let entries = self.entries.values().flat_map(|entry| entry.stamps().collect::<Vec<_>>());
        let folders = self.folders.values().map(|state| state.stamp);
        let seen = self.entries.values().filter_map(|entry| entry.removal).map(|removal| removal.seen);
        let held = entries.chain(folders).chain(seen).filter(|stamp| *stamp != Stamp::ZERO && stamp.clock <= last);
        held.map(|stamp| (stamp.incarnation, stamp.clock)).collect()
    }
}
