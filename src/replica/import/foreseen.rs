//! What would be known here if bundles had been imported that are only looked at: whether one can be applied may depend on
//! those before it. What such a bundle says about replicas and their keys is not foreseen.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::{Manifest, ReplicaId};
use crate::model::{Incarnation, Knowledge, Standing};

/// What bundles would have left here, each of which was whole.
#[derive(Clone, Debug, Default)]
pub struct Foreseen {
    /// What would be known that isn't known here, and what of it would be proven and forgotten.
    pub(super) knowledge: Knowledge,
    pub(super) proven: Knowledge,
    pub(super) horizon: Knowledge,
    /// How those stand who have sent them, by their present ids.
    pub(super) standings: BTreeMap<ReplicaId, Standing>,
    /// Those that would have been applied, by their senders' incarnations and their numbers.
    pub(super) taken: BTreeSet<(Incarnation, u64)>,
}

impl Foreseen {
    /// Whether a bundle is a later part of one that would have been applied, and would bring what that one has only told of.
    pub(super) fn lacks(&self, manifest: &Manifest) -> bool {
        let taken = |number| self.taken.contains(&(manifest.sender.incarnation, number));
        manifest.follows.is_some_and(taken) && !taken(manifest.number)
    }
}
