//! Whom this replica has shut out: replicas that were revoked, as far as that counts here. The model has the rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::{ReplicaId, ReplicaStatement, Revocation, Succession};
use crate::error::Result;
use crate::model::{
    Brought, Caps, Clock, Incarnation, Knowledge, Revoked, SaidOfReplica, Successors, shut_out_together,
    which_revocations_count,
};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{Peer, ReplicaSaying};

/// A revocation, as it is kept here.
#[derive(Clone, Debug)]
pub struct RevocationHeard {
    /// What was said.
    pub revocation: Revocation,
    /// The replica whose bundle has brought it here; `None` if it was said here.
    pub carrier: Option<ReplicaId>,
    /// When it was said or heard here: milliseconds since 1970 UTC.
    pub heard: u64,
}

/// A replica that was revoked, with all the keys that it is known to have.
#[derive(Clone, Debug)]
pub struct ShutOut {
    /// From when on nothing of it is believed: milliseconds since 1970 UTC.
    pub since: u64,
    /// The revocations that count, in the order in which they came here. There is one at least.
    pub by: Vec<RevocationHeard>,
    /// The ids of its keys: the one by which it is known here, if it is, and those that are said to follow each other. What any of
    /// them signs is shut out.
    pub keys: BTreeSet<ReplicaId>,
}

impl ShutOut {
    /// Whether a person on this machine has said so, too.
    pub fn was_looked_at(&self) -> bool {
        self.by.iter().any(|heard| heard.carrier.is_none())
    }

    /// What persons on this machine have said, and not taken back.
    pub(super) fn said_here(&self) -> Vec<&Revocation> {
        self.by.iter().filter(|heard| heard.carrier.is_none()).map(|heard| &heard.revocation).collect()
    }
}

/// All replicas that were revoked, as far as that counts here.
#[derive(Clone, Debug, Default)]
pub struct ShutOuts {
    /// Each by one of its ids: the one by which it is known here, if it is.
    replicas: BTreeMap<ReplicaId, ShutOut>,
    /// That id, by each of them.
    named: BTreeMap<ReplicaId, ReplicaId>,
}

impl ShutOuts {
    /// What is to be known of a replica, if it is shut out.
    pub fn get(&self, id: &ReplicaId) -> Option<&ShutOut> {
        self.replicas.get(self.named.get(id)?)
    }

    /// The same of a replica that has, or had, any of these ids.
    pub(in crate::replica) fn get_any(&self, ids: &[ReplicaId]) -> Option<&ShutOut> {
        ids.iter().find_map(|id| self.get(id))
    }

    /// Each replica that is shut out, once, however many keys it has.
    pub fn iter(&self) -> impl Iterator<Item = (&ReplicaId, &ShutOut)> {
        self.replicas.iter()
    }
}

/// What a revocation that is held here says of one key.
struct Held {
    /// The key.
    key: ReplicaId,
    /// The place of the revocation among those that are held.
    said: usize,
    counts: bool,
}

impl Replica {
    /// All replicas that were revoked, as far as that counts here. This replica itself can be one of them.
    pub fn shut_outs(&self) -> Result<ShutOuts> {
        if self.state.count_replica_sayings()? == 0 {
            return Ok(ShutOuts::default());
        }
        let sayings = self.state.replica_sayings()?;
        let successors = self.successors(&sayings, |_, _| true)?;
        let (revocations, mut counting) = self.weigh_revocations(sayings, &successors)?;
        counting.retain(|one| one.counts);
        counting.sort_by_key(|one| revocations[one.said].heard);
        let mut groups: Vec<(BTreeSet<ReplicaId>, Vec<usize>)> = Vec::new();
        let mut nobodys = Vec::new();
        for group in shut_out_together(counting.iter().map(|one| one.key), &successors) {
            let mut by: Vec<usize> = Vec::new();
            for one in counting.iter().filter(|one| group.contains(&one.key)) {
                if !by.contains(&one.said) {
                    by.push(one.said);
                }
            }
            let mut is_somebodys = false;
            for id in &group {
                is_somebodys |= self.is_known(id)?;
            }
            if is_somebodys { &mut groups } else { &mut nobodys }.push((group, by));
        }
        // Keys that are nobody's here are shown with whom they were named beside, by all who have named them.
        for (keys, by) in nobodys {
            match groups.iter_mut().find(|(_, of_group)| by.iter().all(|said| of_group.contains(said))) {
                Some((group, _)) => group.extend(keys),
                None => groups.push((keys, by)),
            }
        }
        let mut all = ShutOuts::default();
        for (group, by) in groups {
            let earliest = by.iter().map(|&said| revocations[said].revocation.since).min();
            let Some((&first, since)) = by.first().zip(earliest) else { continue };
            let name = self.name_in(&group, &revocations[first].revocation)?;
            all.named.extend(group.iter().map(|id| (*id, name)));
            let by = by.into_iter().map(|said| revocations[said].clone()).collect();
            all.replicas.insert(name, ShutOut { since, by, keys: group });
        }
        Ok(all)
    }

    /// By which of its keys a replica is shown that was revoked so: by the one that it is known by here, or else by the one that
    /// the others follow.
    fn name_in(&self, keys: &BTreeSet<ReplicaId>, revocation: &Revocation) -> Result<ReplicaId> {
        let mut name = revocation.all_keys().find(|key| keys.contains(key)).unwrap_or(revocation.who);
        for id in keys {
            let present = self.present_id(id)?;
            if keys.contains(&present) && (self.is_me(id) || (self.is_known(id)? && !self.is_me(&name))) {
                name = present;
            }
        }
        Ok(name)
    }

    /// Which keys are said to follow which ones: those for which `is_one`, given both ids, says so.
    pub(super) fn successors(
        &self,
        sayings: &[ReplicaSaying],
        is_one: impl Fn(&ReplicaId, &ReplicaId) -> bool,
    ) -> Result<Successors<ReplicaId>> {
        // What was believed may be kept nowhere else: there can be too many statements.
        let mut pairs = self.state.all_succeeded()?;
        for saying in sayings {
            if let ReplicaStatement::Succession(Succession { old, new, .. }) = &saying.statement {
                pairs.push((*old, new.id()));
            }
        }
        pairs.retain(|(old, new)| is_one(old, new));
        Ok(Successors::new(pairs))
    }

    /// All revocations that are held here, and of which keys they count.
    fn weigh_revocations(
        &self,
        sayings: Vec<ReplicaSaying>,
        successors: &Successors<ReplicaId>,
    ) -> Result<(Vec<RevocationHeard>, Vec<Held>)> {
        let (mut revocations, mut texts) = (Vec::new(), Vec::new());
        let (mut held, mut reduced) = (Vec::new(), Vec::new());
        for ReplicaSaying { statement, line, carrier, heard, overruled } in sayings {
            let ReplicaStatement::Revocation(revocation) = statement else { continue };
            let by = self.present_id(&revocation.by)?;
            // A key that another one has followed has nothing more to say, and takes nobody's place.
            if !self.counts_of(&revocation.by, revocation.at)? {
                continue;
            }
            let by_stranger = !self.is_known(&by)?;
            let brought_by = carrier.map(|carrier| self.present_id(&carrier)).transpose()?;
            for key in revocation.all_keys() {
                let said = SaidOfReplica { at: revocation.at, signed: "" };
                let here = carrier.is_none();
                let since = revocation.since;
                let who = key;
                reduced.push(Revoked { who, by, since, said, heard, here, overruled, by_stranger, brought_by });
                held.push(Held { key, said: revocations.len(), counts: false });
            }
            texts.push(line.signed);
            revocations.push(RevocationHeard { revocation, carrier, heard });
        }
        for (one, held) in reduced.iter_mut().zip(&held) {
            one.said.signed = &texts[held.said];
        }
        for (one, counts) in held.iter_mut().zip(which_revocations_count(&reduced, successors)) {
            one.counts = counts;
        }
        Ok((revocations, held))
    }

    /// The peers with which bundles are exchanged and that aren't shut out, sorted by name.
    pub(in crate::replica) fn neighbours(&self) -> Result<Vec<Peer>> {
        let (mut peers, out) = (self.state.neighbours()?, self.shut_outs()?);
        peers.retain(|peer| out.get(&peer.id).is_none());
        Ok(peers)
    }

    /// How far what others tell of replicas that are shut out is believed.
    pub(in crate::replica) fn caps(&self, knowledge: &Knowledge) -> Result<Caps> {
        let (mut caps, me) = (Caps::default(), self.public_key().id());
        for (_, out) in self.shut_outs()?.iter().filter(|(id, _)| **id != me) {
            for incarnation in self.incarnations_shut_out(out)? {
                caps.revoke(incarnation, out.since, knowledge);
            }
        }
        Ok(caps)
    }

    /// What a replica that has these keys, and is revoked as of this time, has made known since, and nobody else answers for.
    pub(in crate::replica) fn brought_by(
        &self,
        keys: &BTreeSet<ReplicaId>,
        since: u64,
    ) -> Result<Vec<Brought<ReplicaId>>> {
        let (mut all, me) = (Vec::new(), self.public_key().id());
        for &by in keys {
            for (incarnation, at) in self.state.first_heard_from(&by, since)? {
                let shown_by = self.state.replicas_of(incarnation, &me)?;
                let has_changed = self.state.newest_held_of(incarnation)? > Clock::ZERO;
                let brought = Brought { incarnation, by, at, shown_by, has_changed };
                if brought.counts_as_of(keys, since) {
                    all.push(brought);
                }
            }
        }
        Ok(all)
    }

    /// The incarnations that count as those of a replica that is shut out as long as no bundle has shown them as anybody's: those
    /// that its revocations name, and those that it has made known since.
    pub(in crate::replica) fn laid_to(&self, out: &ShutOut) -> Result<BTreeSet<Incarnation>> {
        let mut all: BTreeSet<_> = out.by.iter().flat_map(|heard| &heard.revocation.incarnations).copied().collect();
        all.extend(self.brought_by(&out.keys, out.since)?.into_iter().map(|one| one.incarnation));
        Ok(all)
    }

    /// The incarnations of a replica that is shut out: those of which bundles of their own came, here or to those who have revoked
    /// it, and of nobody else; and those that it has made known since, and nobody else answers for. If there are none,
    /// nobody can tell here what it has done.
    pub(in crate::replica) fn incarnations_shut_out(&self, out: &ShutOut) -> Result<BTreeSet<Incarnation>> {
        let me = self.public_key().id();
        let mut incarnations = self.laid_to(out)?;
        for id in &out.keys {
            incarnations.extend(self.state.incarnations_of(id)?);
        }
        let mut theirs = BTreeSet::new();
        for incarnation in incarnations {
            let mut is_of_another = false;
            for other in self.state.replicas_of(incarnation, &me)?.iter().filter(|other| !out.keys.contains(other)) {
                is_of_another |= *other == me || self.state.is_peer(other)?;
            }
            if !is_of_another {
                theirs.insert(incarnation);
            }
        }
        Ok(theirs)
    }

    /// Overrules all revocations of a replica that came here until now, and those of keys that it has from then on. Returns
    /// them, as they were.
    pub(super) fn overrule(&self, tx: &Transaction<'_>, id: &ReplicaId) -> Result<Vec<ReplicaSaying>> {
        let sayings = tx.replica_sayings()?;
        let covers = self.successors(&sayings, |_, _| true)?;
        // Which of two keys that are said to follow one is its replica's was decided, by a person or by who was first.
        let decided: BTreeMap<_, _> = self.state.all_succeeded()?.into_iter().collect();
        let later = self.successors(&sayings, |old, new| decided.get(old).is_none_or(|next| next == new))?.from(*id);
        let mut overruled = Vec::new();
        for saying in sayings {
            let ReplicaStatement::Revocation(revocation) = &saying.statement else { continue };
            let covers_it = |key: ReplicaId| later.contains(&key) || covers.from(key).contains(id);
            if !saying.overruled && revocation.all_keys().any(covers_it) {
                tx.set_replica_saying(&ReplicaSaying { overruled: true, ..saying.clone() })?;
                overruled.push(saying);
            }
        }
        Ok(overruled)
    }
}
