//! Decides from its manifest what becomes of a bundle. An import, a dry run, `verify` and the import of a directory all go
//! by this one answer. Nothing is written here.

use super::refusal::{self, Refusal};
use crate::bundle::{Kind, Manifest, PublicKey, ReplicaId};
use crate::error::{Error, Result};
use crate::model::{Judgement, Knowledge, RolledBack, Standing, judge};
use crate::replica::Replica;
use crate::state::{Invited, Peer, Spent};

/// Who made a bundle, as far as this replica can tell. It is true once the bundle's signature holds for [`Sender::key`].
#[derive(Clone, Debug)]
pub enum Sender {
    /// Whoever has this replica's key.
    Own,
    /// A peer.
    Known(Box<Peer>),
    /// A replica that was invited from here and proves it. It becomes a peer with its first bundle that is accepted.
    Invited(Invited),
    /// A replica that proves an invitation which is good for nobody any more.
    Late {
        /// Why not.
        why: Spent,
    },
    /// Somebody else.
    Stranger,
}

/// What a bundle is to this replica at present.
#[derive(Clone, Debug)]
pub enum Reception {
    /// It can be applied.
    Apply,
    /// It can be applied, and would change nothing.
    NothingNew,
    /// Its sender has given up the incarnation that made it, and has repeated since then all that it said before.
    Outlived,
    /// Something else must come first.
    NotYet(Error),
    /// It is not accepted.
    Refused(Refusal),
    /// It shows that somebody's state was put back to an earlier one. Nothing may be written.
    RolledBack(RolledBack, Error),
}

impl Reception {
    /// Why the bundle can't be applied, if that is a failure.
    pub fn error(&self) -> Option<Error> {
        match self {
            Self::Apply | Self::NothingNew | Self::Outlived => None,
            Self::NotYet(error) | Self::RolledBack(_, error) => Some(error.clone()),
            Self::Refused(refusal) => Some(refusal.error()),
        }
    }
}

impl Sender {
    /// The key with which the bundle must be signed; `signer` is the one that it names.
    ///
    /// # Errors
    /// No key is known for the sender: why its bundle is refused.
    pub fn key(
        &self,
        replica: &Replica,
        manifest: &Manifest,
        signer: PublicKey,
    ) -> std::result::Result<PublicKey, Refusal> {
        match self {
            Self::Own => Ok(replica.public_key()),
            Self::Known(peer) => Ok(peer.public_key.clone()),
            Self::Invited(_) | Self::Late { .. } => Ok(signer),
            Self::Stranger => Err(stranger(manifest)),
        }
    }

    /// How the sender is called here; how it calls itself, if it has no name here.
    pub fn name<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        match self {
            Self::Known(peer) => &peer.name,
            Self::Invited(invited) => &invited.name,
            Self::Own | Self::Late { .. } | Self::Stranger => &manifest.sender.name,
        }
    }

    /// What the sender has shown to have. An invited replica that answers has everything that its invitation held.
    fn standing(&self) -> Standing {
        match self {
            Self::Known(peer) => peer.standing.clone(),
            Self::Invited(Invited { shown, .. }) if !shown.is_empty() => {
                Standing { newest: None, shown: Some(shown.clone()) }
            }
            _ => Standing::default(),
        }
    }
}

fn stranger(manifest: &Manifest) -> Refusal {
    Refusal::Stranger { id: manifest.sender.id, name: manifest.sender.name.clone() }
}

impl Replica {
    /// Who made a bundle.
    pub fn sender_of(&self, manifest: &Manifest) -> Result<Sender> {
        let (me, sender) = (self.public_key().id(), manifest.sender.id);
        if sender == me {
            return Ok(Sender::Own);
        }
        if let Some(peer) = self.state.peer_by_id(&sender)? {
            return Ok(Sender::Known(Box::new(peer)));
        }
        let Some(proof) = &manifest.proof else { return Ok(Sender::Stranger) };
        let proves = |token: crate::bundle::Token| token.is_proved_by(proof, &me, &sender);
        if let Some(invited) = self.state.invitations()?.into_iter().find(|invited| proves(invited.token)) {
            let is_over = invited.is_over(self.now());
            return Ok(if is_over { Sender::Late { why: Spent::Expired } } else { Sender::Invited(invited) });
        }
        Ok(match self.state.find_spent_token(proves)? {
            // It was a peer, and was forgotten.
            Some(Spent::UsedBy(by)) if by == sender => Sender::Stranger,
            Some(why) => Sender::Late { why },
            None => Sender::Stranger,
        })
    }

    /// What becomes of a bundle of this sender.
    pub fn receive(&self, manifest: &Manifest, sender: &Sender) -> Result<Reception> {
        let me = self.public_key().id();
        match sender {
            Sender::Own => return Ok(Reception::Refused(self.own_bundle(manifest)?)),
            Sender::Stranger => return Ok(Reception::Refused(stranger(manifest))),
            Sender::Late { why } => {
                return Ok(Reception::Refused(Refusal::InvitationSpent { sender: manifest.sender.id, why: *why }));
            }
            Sender::Known(_) | Sender::Invited(_) => {}
        }
        if let Some(recipient) = manifest.recipient.filter(|recipient| *recipient != me) {
            let whom = self.known_as(&recipient)?.unwrap_or_else(|| recipient.to_string());
            return Ok(Reception::Refused(Refusal::ForSomeoneElse(whom)));
        }
        let name = sender.name(manifest);
        if matches!(sender, Sender::Known(peer) if peer.distant) {
            return Ok(Reception::Refused(Refusal::OnlyForJobs(name.to_owned())));
        }
        let (knowledge, standing) = (self.state.knowledge()?, sender.standing());
        let incarnation = self.state.incarnation()?;
        let issued = self.state.has_issued(manifest.tip.get(incarnation))?;
        let judged = judge(incarnation, |_| issued, &knowledge, &self.state.horizon()?, &standing, &manifest.head());
        Ok(match judged {
            Err(RolledBack::Sender) if is_outlived(&standing, manifest) => Reception::Outlived,
            Err(who) => Reception::RolledBack(who, refusal::rolled_back(who, name)),
            Ok(Judgement::NotYet(missing)) => Reception::NotYet(refusal::not_yet(name, manifest, &missing)),
            Ok(Judgement::NeedsFull) => Reception::NotYet(refusal::needs_full(name)),
            Ok(Judgement::Apply) if self.has_nothing_new(manifest, &knowledge)? => Reception::NothingNew,
            Ok(Judgement::Apply) => Reception::Apply,
        })
    }

    /// Whether a bundle that can be applied would change nothing. A later part of one that was split tells of nothing new, and may
    /// hold messages that are missing here.
    fn has_nothing_new(&self, manifest: &Manifest, knowledge: &Knowledge) -> Result<bool> {
        Ok(manifest.kind == Kind::Delta
            && knowledge.includes(&manifest.tip)
            && (manifest.counts.messages == 0
                || (self.state.missing_digests(1)?.is_empty() && self.state.missing_attachments(1)?.is_empty())))
    }

    /// Why a bundle that this replica's key has signed is not imported.
    pub(super) fn own_bundle(&self, manifest: &Manifest) -> Result<Refusal> {
        let remembered =
            manifest.sender.incarnation == self.state.incarnation()? || self.state.knowledge()?.includes(&manifest.tip);
        Ok(if remembered { Refusal::Own } else { Refusal::Twin })
    }

    /// The name by which a replica is known here.
    pub fn known_as(&self, id: &ReplicaId) -> Result<Option<String>> {
        Ok(self.state.peer_by_id(id)?.map(|peer| peer.name))
    }
}

/// Whether a bundle comes from an incarnation that its sender has left: its newest bundle was made by another one.
fn is_outlived(standing: &Standing, manifest: &Manifest) -> bool {
    standing.newest.is_some_and(|(incarnation, _)| incarnation != manifest.sender.incarnation)
}
