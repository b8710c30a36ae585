//! Successions: a replica has another key, and so another id. A peer that says so, by a statement that both keys have
//! signed, stays the same peer. What names it by its former id still means it.

use super::Replica;
use super::rotate::{is_in_time, is_one_of_the_last};
use super::transaction::Transaction;
use crate::bundle::{Beginning, Manifest, PublicKey, ReplicaId, ReplicaStatement, SignedSuccession, Succession};
use crate::error::Result;
use crate::state::{Action, Peer, PeerKey, ReplicaSaying, Succeeded};

/// What the successions in a manifest say to one who doesn't know its sender.
#[derive(Clone, Debug)]
pub(super) enum Led {
    /// From the key of this peer to the sender. The peer has the sender's key here already, but not yet in the state.
    From(Box<Peer>),
    /// From a former key of this peer, which another one has followed.
    Astray(Box<Peer>),
    /// From nobody who is known.
    Nowhere,
}

impl Replica {
    /// Whether this is the id of this replica, by its present key or a former one.
    pub(super) fn is_me(&self, id: &ReplicaId) -> bool {
        self.keys.is_mine(id)
    }

    /// Whether this is the id of this replica or of a peer, by a present key or a former one.
    pub(super) fn is_known(&self, id: &ReplicaId) -> Result<bool> {
        Ok(self.is_me(id) || self.peer_of(id)?.is_some())
    }

    /// Whether this replica is the recipient that a bundle names, by its present key or a former one.
    pub(super) fn is_recipient(&self, recipient: Option<ReplicaId>) -> bool {
        recipient.is_some_and(|recipient| self.is_me(&recipient))
    }

    /// Whether this replica has signed a bundle, with its present key or a former one.
    pub(super) fn has_signed(&self, beginning: &Beginning<'_>) -> bool {
        std::iter::once(self.public_key()).chain(self.keys.former()).any(|key| beginning.is_signed_by(&key))
    }

    /// The id that the replica has now of which this is an id.
    pub(super) fn present_id(&self, id: &ReplicaId) -> Result<ReplicaId> {
        if self.is_me(id) { Ok(self.public_key().id()) } else { self.state.present_id(id) }
    }

    /// The ids that a replica had before it had this one, as far as its successions are believed; the latest of them last.
    pub fn former_ids_of(&self, id: &ReplicaId) -> Result<Vec<ReplicaId>> {
        Ok(self.state.former_keys_of(id)?.iter().map(|key| key.old).collect())
    }

    /// The peer of which this is an id, or was one.
    pub(super) fn peer_of(&self, id: &ReplicaId) -> Result<Option<Peer>> {
        match self.state.peer_by_id(id)? {
            None => self.state.peer_by_id(&self.state.present_id(id)?),
            peer => Ok(peer),
        }
    }

    /// The ids that the sender of a bundle has and had, as far as the bundle says, each as the one that is known now.
    pub(super) fn ids_of(&self, manifest: &Manifest) -> Result<Vec<ReplicaId>> {
        with_former(manifest.sender.id, &manifest.successions).iter().map(|id| self.present_id(id)).collect()
    }

    /// Why a bundle that this key has signed doesn't count any more: another key has followed it, and the bundle is none of
    /// the last that it has signed.
    pub(super) fn is_too_late(&self, manifest: &Manifest) -> Result<Option<Succeeded>> {
        let key = self.state.succeeded(&manifest.sender.id)?;
        Ok(key.filter(|key| !is_one_of_the_last(key, manifest.sender.incarnation, manifest.number)))
    }

    /// Whether a statement about a job still counts that this key has signed, and that was made at this time (milliseconds
    /// since 1970 UTC).
    pub(super) fn counts_of(&self, signer: &ReplicaId, said_at: u64) -> Result<bool> {
        Ok(self.state.succeeded(signer)?.is_none_or(|key| is_in_time(said_at, key.at)))
    }

    /// Where the successions in a manifest lead from to its sender, who is not known. The signatures of both keys hold for
    /// each of them that matters.
    pub(super) fn led_to(&self, successions: &[SignedSuccession]) -> Result<Led> {
        for (n, link) in successions.iter().enumerate() {
            let Ok(Succession { old, new, .. }) = link.succession() else { return Ok(Led::Nowhere) };
            let peer = self.state.peer_by_id(&old)?;
            let followed = self.state.succeeded(&old)?.filter(|known| known.next != new.id());
            let astray = followed.map(|known| self.state.peer_by_id(&known.now)).transpose()?.flatten();
            if peer.is_none() && astray.is_none() {
                continue;
            }
            let mut newest = None;
            for link in &successions[n..] {
                let Ok((succession, _)) = link.verify() else { return Ok(Led::Nowhere) };
                newest = Some(succession.new);
            }
            return Ok(match (astray, peer, newest) {
                (Some(peer), ..) => Led::Astray(Box::new(peer)),
                (None, Some(peer), Some(key)) => Led::From(Box::new(Peer { id: key.id(), public_key: key, ..peer })),
                _ => Led::Nowhere,
            });
        }
        Ok(Led::Nowhere)
    }

    /// Believes the successions in the manifest of a bundle that its sender has signed.
    pub(super) fn follow_manifest(&self, manifest: &Manifest) -> Result<()> {
        if manifest.successions.is_empty() || self.is_me(&manifest.sender.id) {
            return Ok(());
        }
        let tx = self.begin()?;
        let carrier = self.present_id(&manifest.sender.id)?;
        for link in &manifest.successions {
            if let Ok((succession, old)) = link.verify() {
                self.keep_succession(&tx, link, &succession, carrier)?;
                self.follow(&tx, &succession, &old)?;
            }
        }
        tx.commit()
    }

    /// Believes the successions among statements that are new here, whose signatures hold.
    pub(super) fn follow_all(&self, tx: &Transaction<'_>, new: &[ReplicaSaying]) -> Result<()> {
        for saying in new {
            let ReplicaStatement::Succession(succession) = &saying.statement else { continue };
            if let Ok((_, old)) = saying.line.verify() {
                self.follow(tx, succession, &old)?;
            }
        }
        Ok(())
    }

    /// Believes a succession, unless another key has followed the old one already.
    fn follow(&self, tx: &Transaction<'_>, succession: &Succession, old_key: &PublicKey) -> Result<()> {
        let (old, next) = (succession.old, succession.new.id());
        let is_mine = self.is_me(&old);
        let known = self.state.succeeded(&old)?;
        let out = self.shut_outs()?;
        match known {
            Some(known) if known.next == next => {
                // Said once more, it may name another last bundle.
                let Succession { incarnation, last, at, .. } = *succession;
                return tx.set_succeeded(&Succeeded { incarnation, last, at, ..known });
            }
            Some(known) if known.rival.is_some() || known.settled => return Ok(()),
            Some(known) => return self.contest(tx, known, &succession.new),
            None if is_mine && !self.is_me(&next) => return self.warn_of_theft(tx, &next),
            None => {}
        }
        // Who was revoked doesn't get away from that by another key, and nobody is led to a key that was.
        if out.get(&old).is_some() || out.get(&next).is_some() {
            return Ok(());
        }
        // Nobody goes back to a key that was followed by another one: it would lead in a circle.
        if self.state.succeeded(&next)?.is_some_and(|known| known.now == old) || (self.is_me(&next) && !is_mine) {
            self.note(format!("a statement that {next} follows {old} is ignored: it is a former key"));
            return Ok(());
        }
        let now = self.present_id(&next)?;
        tx.set_succeeded(&Succeeded {
            old,
            next,
            now,
            public_key: old_key.bare(),
            incarnation: succession.incarnation,
            last: succession.last,
            at: succession.at,
            rival: None,
            settled: false,
        })?;
        tx.replace_id(&old, &now)?;
        let Some(peer) = self.state.peer_by_id(&old)? else { return Ok(()) };
        if let Some(other) = self.state.peer_by_id(&now)? {
            self.note(format!(
                "{0} and {1} are one replica, which has replaced its key: remove the one that you don't need, with `mailsync peer \
                 remove {0}`",
                peer.name, other.name
            ));
            return Ok(());
        }
        let key = if now == next { Some(succession.new.clone()) } else { self.key_with_id(&now)? };
        let Some(key) = key else { return Ok(()) };
        self.give_key(tx, &peer, &key, "as both keys have signed")
    }

    /// Gives a peer its new key.
    fn give_key(&self, tx: &Transaction<'_>, peer: &Peer, key: &PublicKey, why: &str) -> Result<()> {
        tx.set_peer_key(peer.key, key)?;
        let text = format!("{} takes the place of {}", key.id(), peer.id);
        tx.record(self.now(), Action::KeyRotate, Some(&peer.name), &text)?;
        self.note(format!("{} has a new key, {}, in the place of {}, {why}", peer.name, key.id(), peer.id));
        Ok(())
    }

    /// The key with this id, if a succession names it.
    fn key_with_id(&self, id: &ReplicaId) -> Result<Option<PublicKey>> {
        let key = |saying: ReplicaSaying| match saying.statement {
            ReplicaStatement::Succession(succession) => Some(succession.new).filter(|key| key.id() == *id),
            ReplicaStatement::Revocation(_) => None,
        };
        Ok(self.state.replica_sayings()?.into_iter().find_map(key))
    }

    /// Two keys are said to follow one: somebody else has that, too. The first one stays until a person decides.
    fn contest(&self, tx: &Transaction<'_>, known: Succeeded, rival: &PublicKey) -> Result<()> {
        let known = Succeeded { rival: Some(rival.bare()), ..known };
        tx.set_succeeded(&known)?;
        if self.is_me(&known.old) {
            return self.warn_of_theft(tx, &rival.id());
        }
        let peer = self.state.peer_by_id(&known.now)?;
        let name = peer.as_ref().map(|peer| &*peer.name);
        tx.record(
            self.now(),
            Action::KeyRotate,
            name,
            &format!("{} is said to follow {}, too", rival.id(), known.old),
        )?;
        if let Some(peer) = peer {
            self.note_contest(&peer, &known, rival)?;
        }
        Ok(())
    }

    /// Tells of two keys that are said to follow a peer's, unless one of them was revoked: then that is what has to be decided,
    /// or was.
    fn note_contest(&self, peer: &Peer, known: &Succeeded, rival: &PublicKey) -> Result<()> {
        let out = self.shut_outs()?;
        if out.get(&peer.id).is_none() && out.get(&rival.id()).is_none() {
            self.note(contested(peer, known, rival));
        }
        Ok(())
    }

    fn warn_of_theft(&self, tx: &Transaction<'_>, by: &ReplicaId) -> Result<()> {
        tx.record(
            self.now(),
            Action::KeyRotate,
            None,
            &format!("somebody else says that {by} follows this replica's key"),
        )?;
        self.note(format!(
            "somebody has a key of this replica, and says with it that {by} takes its place: run `mailsync key rotate` here if you \
             have not since, then on each peer `mailsync peer add NAME --key KEY` with what `mailsync key show` prints here"
        ));
        Ok(())
    }

    /// Tells, as long as nobody has decided, of which peers two new keys are known.
    pub(super) fn note_contested(&self) -> Result<()> {
        for known in self.state.contested_keys()? {
            if let (Some(peer), Some(rival)) = (self.state.peer_by_id(&known.now)?, &known.rival) {
                self.note_contest(&peer, &known, rival)?;
            }
        }
        Ok(())
    }

    /// Decides for one of two keys that are said to follow a peer's: a person has given it. `None` if there are no two, or
    /// it is neither.
    pub(super) fn decide_key(&self, tx: &Transaction<'_>, name: &str, key: &PublicKey) -> Result<Option<PeerKey>> {
        let Some(peer) = self.state.peer_by_name(name)? else { return Ok(None) };
        for known in self.state.contested_keys()? {
            if known.now != peer.id {
                continue;
            }
            if key.id() == peer.id {
                tx.set_succeeded(&Succeeded { settled: true, ..known })?;
                return Ok(Some(peer.key));
            }
            if known.rival.as_ref().is_some_and(|rival| rival.id() == key.id()) {
                // What followed the other key is none of the peer's.
                let mut other = known.next;
                while let Some(followed) = self.state.succeeded(&other)? {
                    tx.remove_succeeded(&other)?;
                    other = followed.next;
                }
                tx.replace_id(&peer.id, &key.id())?;
                tx.set_succeeded(&Succeeded { next: key.id(), now: key.id(), settled: true, ..known })?;
                self.give_key(tx, &peer, key, "as you have decided")?;
                return Ok(Some(peer.key));
            }
        }
        Ok(None)
    }

    /// A key that a person has given for a new peer may have been followed by another one already.
    pub(super) fn bring_up_to_date(&self, tx: &Transaction<'_>, id: &ReplicaId) -> Result<()> {
        let (Some(peer), now) = (self.state.peer_by_id(id)?, self.state.present_id(id)?) else { return Ok(()) };
        if now == *id || self.state.is_peer(&now)? {
            return Ok(());
        }
        match self.key_with_id(&now)? {
            Some(key) => self.give_key(tx, &peer, &key, "as both keys have signed"),
            None => Ok(()),
        }
    }
}

/// The ids that the sender of a bundle has and had, as far as the bundle says.
pub(super) fn with_former(sender: ReplicaId, successions: &[SignedSuccession]) -> Vec<ReplicaId> {
    let former = successions.iter().filter_map(|link| Some(link.succession().ok()?.old));
    std::iter::once(sender).chain(former).collect()
}

/// What to do about two keys that are said to follow a peer's. Who has only their ids can't tell which is whose.
pub(super) fn one_of_two(name: &str) -> String {
    format!(
        "if {name} was lost or stolen, trust neither: `mailsync peer revoke {name}`; only if it is in your hands, see on it what \
         `mailsync key show` prints, give that here: `mailsync peer add {name} --key KEY`, and revoke the other key by its id, for all \
         machines to hear: `mailsync peer revoke ID`"
    )
}

/// A note: two keys are said to follow a peer's.
fn contested(peer: &Peer, known: &Succeeded, rival: &PublicKey) -> String {
    format!(
        "two keys are said to follow that of {0}, {1}: {2}, which is used here, and {3}; one of them is somebody else's, who has \
         stolen a key of {0}: {4}",
        peer.name,
        known.old,
        peer.id,
        rival.id(),
        one_of_two(&peer.name)
    )
}
