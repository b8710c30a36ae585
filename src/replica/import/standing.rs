//! A bundle shows how its sender stands, whether it is applied or not.

use super::gate::Reception;
use super::outcome::ImportOptions;
use crate::bundle::Manifest;
use crate::error::Result;
use crate::model::{Knowledge, is_fresh, shows_standing};
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::replica::transaction::Transaction;
use crate::state::Peer;

impl Replica {
    /// Whether a bundle is newer than the newest that came from its sender before.
    pub(super) fn is_fresh(&self, peer: &Peer, manifest: &Manifest, reception: &Reception) -> Result<bool> {
        let highest = self.state.heard_number(&peer.id, manifest.sender.incarnation)?;
        Ok(!matches!(reception, Reception::Outlived) && is_fresh(&peer.standing, highest, &manifest.head()))
    }

    /// Records what a bundle shows of its sender, whether it was applied or not.
    pub(super) fn record_heard(&self, peer: &Peer, manifest: &Manifest, options: &ImportOptions) -> Result<()> {
        if options.dry_run == DryRun::Yes {
            return Ok(());
        }
        let tx = self.begin()?;
        self.record_heard_within(&tx, peer, manifest)?;
        tx.commit()
    }

    pub(super) fn record_heard_within(&self, tx: &Transaction<'_>, peer: &Peer, manifest: &Manifest) -> Result<()> {
        tx.set_heard(peer.key, self.now())?;
        if peer.token.is_some() && manifest.recipient == Some(self.public_key().id()) {
            tx.set_peer_token(peer.key, None)?;
        }
        let head = manifest.head();
        let highest = self.state.heard_number(&peer.id, head.incarnation)?;
        tx.set_heard_number(&peer.id, head.incarnation, head.number)?;
        if shows_standing(&peer.standing, highest, &head) {
            tx.set_standing(peer.key, (head.incarnation, head.number), &head.tip, &manifest.wants)?;
        }
        Ok(())
    }

    pub(super) fn check_digest_at_rest(
        &self,
        peer: &Peer,
        manifest: &Manifest,
        knowledge: &Knowledge,
        options: &ImportOptions,
    ) -> Result<()> {
        if *knowledge != manifest.tip || options.dry_run == DryRun::Yes {
            return Ok(());
        }
        let tx = self.begin()?;
        self.compare_digests(&tx, peer, manifest)?;
        tx.commit()
    }

    /// At equal knowledge both must hold the same. If not, the next bundle for the peer is a full one.
    pub(super) fn compare_digests(&self, tx: &Transaction<'_>, peer: &Peer, manifest: &Manifest) -> Result<()> {
        let differs = self.state.digest() != manifest.state_digest;
        if differs {
            self.note(format!(
                "{} and this replica know the same but hold different mail; exchange bundles both ways to heal it: the next \
                 one for {} will be full",
                peer.name, peer.name
            ));
        }
        if differs != peer.suspect {
            tx.set_suspect(peer.key, differs)?;
        }
        Ok(())
    }
}
