//! Whom this replica has shut out: replicas that were revoked, as far as that counts here. The model has the rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::{ReplicaId, ReplicaStatement, Revocation};
use crate::error::Result;
use crate::model::{Caps, Incarnation, Knowledge, Revoked, which_revocations_count};
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

/// A replica that was revoked.
#[derive(Clone, Debug)]
pub struct ShutOut {
    /// From when on nothing of it is believed: milliseconds since 1970 UTC.
    pub since: u64,
    /// The revocations that count, in the order in which they came here. There is one at least.
    pub by: Vec<RevocationHeard>,
}

impl ShutOut {
    /// Whether a person on this machine has said so, too.
    pub fn was_looked_at(&self) -> bool {
        self.by.iter().any(|heard| heard.carrier.is_none())
    }
}

/// All replicas that were revoked, as far as that counts here.
#[derive(Clone, Debug, Default)]
pub struct ShutOuts(BTreeMap<ReplicaId, ShutOut>);

impl ShutOuts {
    /// What is to be known of a replica, if it is shut out.
    pub fn get(&self, id: &ReplicaId) -> Option<&ShutOut> {
        self.0.get(id)
    }

    /// The same of a replica that has, or had, any of these ids.
    pub(in crate::replica) fn get_any(&self, ids: &[ReplicaId]) -> Option<&ShutOut> {
        ids.iter().find_map(|id| self.get(id))
    }

    /// Each replica that is shut out.
    pub fn iter(&self) -> impl Iterator<Item = (&ReplicaId, &ShutOut)> {
        self.0.iter()
    }

    /// `now` gives the id that a replica has now of which this is an id: what names it by a former one means it.
    fn of(sayings: Vec<ReplicaSaying>, now: impl Fn(&ReplicaId) -> Result<ReplicaId>) -> Result<Self> {
        let mut revocations: Vec<_> = sayings
            .into_iter()
            .filter_map(|ReplicaSaying { statement, carrier, heard, overruled, .. }| match statement {
                ReplicaStatement::Revocation(revocation) => {
                    Some((RevocationHeard { revocation, carrier, heard }, overruled))
                }
                ReplicaStatement::Succession(_) => None,
            })
            .collect();
        revocations.sort_by_key(|(one, _)| one.heard);
        let reduced: Vec<_> = revocations
            .iter()
            .map(|(RevocationHeard { revocation, carrier, .. }, overruled)| {
                Ok(Revoked {
                    who: now(&revocation.who)?,
                    by: now(&revocation.by)?,
                    since: revocation.since,
                    at: revocation.at,
                    here: carrier.is_none(),
                    overruled: *overruled,
                })
            })
            .collect::<Result<_>>()?;
        let counts = which_revocations_count(&reduced);
        let mut all: BTreeMap<ReplicaId, ShutOut> = BTreeMap::new();
        for ((heard, _), (revoked, _)) in
            revocations.into_iter().zip(reduced.iter().zip(counts)).filter(|(_, (_, counts))| *counts)
        {
            let since = heard.revocation.since;
            let out = all.entry(revoked.who).or_insert(ShutOut { since, by: Vec::new() });
            out.since = out.since.min(since);
            out.by.push(heard);
        }
        Ok(Self(all))
    }
}

impl Replica {
    /// All replicas that were revoked, as far as that counts here. This replica itself can be one of them.
    pub fn shut_outs(&self) -> Result<ShutOuts> {
        if self.state.count_replica_sayings()? == 0 {
            return Ok(ShutOuts::default());
        }
        ShutOuts::of(self.state.replica_sayings()?, |id| self.present_id(id))
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
        for (id, out) in self.shut_outs()?.iter().filter(|(id, _)| **id != me) {
            for incarnation in self.incarnations_shut_out(id, out)? {
                caps.revoke(incarnation, out.since, knowledge);
            }
        }
        Ok(caps)
    }

    /// The incarnations of a replica that is shut out: those of which bundles of their own came, here or to those who have revoked
    /// it, and of nobody else. If there are none, nobody can tell here what it has done.
    pub(in crate::replica) fn incarnations_shut_out(
        &self,
        id: &ReplicaId,
        out: &ShutOut,
    ) -> Result<BTreeSet<Incarnation>> {
        let me = self.public_key().id();
        let mut incarnations: BTreeSet<_> = self.state.incarnations_of(id)?.into_iter().collect();
        incarnations.extend(out.by.iter().flat_map(|heard| &heard.revocation.incarnations));
        let mut theirs = BTreeSet::new();
        for incarnation in incarnations {
            if !self.state.is_incarnation_of_another(incarnation, id, &me)? {
                theirs.insert(incarnation);
            }
        }
        Ok(theirs)
    }

    /// Overrules all revocations of a replica that came here until now. Returns them, as they were.
    pub(super) fn overrule(&self, tx: &Transaction<'_>, id: &ReplicaId) -> Result<Vec<ReplicaSaying>> {
        let mut overruled = Vec::new();
        for saying in tx.replica_sayings()? {
            let ReplicaStatement::Revocation(Revocation { who, .. }) = &saying.statement else { continue };
            let is_it = self.present_id(who)? == *id;
            if is_it && !saying.overruled {
                tx.set_replica_saying(&ReplicaSaying { overruled: true, ..saying.clone() })?;
                overruled.push(saying);
            }
        }
        Ok(overruled)
    }
}
