//! How a bundle makes its sender's key known to those who know an earlier one.

use super::recipient::Recipient;
use crate::bundle::{ReplicaStatement, SignedSuccession, limits};
use crate::error::Result;
use crate::replica::Replica;
use crate::state::ReplicaSaying;

impl Replica {
    /// The successions that a bundle for somebody names: those of this replica, unless the recipients have shown to know
    /// its present key.
    pub(super) fn successions_for(&self, to: &Recipient) -> Result<Vec<SignedSuccession>> {
        let know = to.guests().is_empty() && to.peers().iter().all(|peer| peer.knows_key);
        let keys = if know { Vec::new() } else { self.state.former_keys_of(&self.public_key().id())? };
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sayings = self.state.replica_sayings()?;
        let mut chain = Vec::new();
        for key in keys.iter().skip(keys.len().saturating_sub(limits::SUCCESSIONS)) {
            let is_it = |saying: &&ReplicaSaying| match &saying.statement {
                ReplicaStatement::Succession(said) => said.old == key.old && said.new.id() == key.next,
                ReplicaStatement::Revocation(_) => false,
            };
            match sayings.iter().find(is_it).and_then(|saying| SignedSuccession::of(&saying.line)) {
                Some(link) => chain.push(link),
                // Without it, what stands before leads nowhere.
                None => chain.clear(),
            }
        }
        Ok(chain)
    }
}
