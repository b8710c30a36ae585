//! The gate: decides by a bundle's manifest whether the bundle is taken. An import, a dry run, `verify` and the import
//! of a directory all use this one answer. Nothing is written here.

use super::foreseen::Foreseen;
use super::refusal::{self, Refusal};
use crate::bundle::{BundleKind, Manifest, PublicKey, ReplicaId, SignedSuccession, limits};
use crate::error::{Error, Result};
use crate::model::{Believed, Clock, Digest, Judgement, Knowledge, RolledBack, Standing, judge};
use crate::replica::Replica;
use crate::replica::safety::ClockAhead;
use crate::replica::successions::{Led, with_former};
use crate::state::{Invited, Peer, Spent};

/// The maker of a bundle, as its manifest says. This is certain once the bundle's signature holds for [`Sender::key`].
#[derive(Clone, Debug)]
pub enum Sender {
    /// Somebody with this replica's own key.
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
    /// Somebody who says that the bundle's key follows a key of this peer, which another one has followed already.
    Rival(Box<Peer>),
    /// Somebody else.
    Stranger {
        /// Who has revoked it, and when, for people, if somebody has.
        revoked: Option<String>,
    },
}

/// The answer of the gate about a bundle at present.
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
    /// It has stamps from far ahead of this machine's clock. Nothing of it may be believed.
    ClockAhead(Error),
    /// It is not accepted.
    Refused(Refusal),
    /// It shows that a replica's state was put back to an earlier one. Nothing may be written.
    RolledBack(RolledBack, Error),
}

impl Reception {
    /// The reason why the bundle can't be applied, if that is a failure.
    pub fn error(&self) -> Option<Error> {
        match self {
            Self::Apply | Self::NothingNew | Self::Outlived => None,
            Self::NotYet(error) | Self::ClockAhead(error) | Self::RolledBack(_, error) => Some(error.clone()),
            Self::Refused(refusal) => Some(refusal.error()),
        }
    }
}

impl Sender {
    /// The key with which the bundle must be signed; `signer` is the key that the bundle names.
    ///
    /// # Errors
    /// No key is known for the sender, so its bundle is refused.
    pub fn key(
        &self,
        replica: &Replica,
        manifest: &Manifest,
        signer: PublicKey,
    ) -> std::result::Result<PublicKey, Refusal> {
        match self {
            Self::Own if manifest.sender.id == replica.public_key().id() => Ok(replica.public_key()),
            Self::Known(peer) if manifest.sender.id == peer.id => Ok(peer.public_key.clone()),
            // Of a key that it had before the id is known, and only the key with that id holds.
            Self::Own | Self::Known(_) | Self::Rival(_) | Self::Invited(_) | Self::Late { .. } => Ok(signer),
            Self::Stranger { revoked } => Err(stranger(manifest, revoked.clone())),
        }
    }

    /// The sender's name here, or its own name for itself if it has none here.
    pub fn name<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        match self {
            Self::Known(peer) | Self::Rival(peer) => &peer.name,
            Self::Invited(invited) => &invited.name,
            Self::Own | Self::Late { .. } | Self::Stranger { .. } => &manifest.sender.name,
        }
    }

    /// The sender's standing. An invited replica that answers has everything that its invitation held.
    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Known(peer) => peer.standing.clone(),
            Self::Invited(Invited { shown, .. }) if !shown.is_empty() => {
                Standing { newest: None, shown: Some(shown.clone()) }
            }
            _ => Standing::default(),
        }
    }
}

fn stranger(manifest: &Manifest, revoked: Option<String>) -> Refusal {
    Refusal::Stranger { id: manifest.sender.id, name: manifest.sender.name.clone(), revoked }
}

impl Replica {
    /// Finds out who made a bundle.
    pub fn sender_of(&self, manifest: &Manifest) -> Result<Sender> {
        self.sender_who(manifest.sender.id, manifest.proof.as_ref(), &manifest.successions)
    }

    /// Finds out who says to be this replica, with this proof of an invitation, and with this way to its key.
    pub(super) fn sender_who(
        &self,
        sender: ReplicaId,
        proof: Option<&Digest>,
        successions: &[SignedSuccession],
    ) -> Result<Sender> {
        if self.is_me(&sender) {
            return Ok(Sender::Own);
        }
        if let Some(peer) = self.peer_of(&sender)? {
            return Ok(Sender::Known(Box::new(peer)));
        }
        match self.led_to(successions)? {
            Led::From(peer) => return Ok(Sender::Known(peer)),
            Led::Astray(peer) => return Ok(Sender::Rival(peer)),
            Led::Nowhere => {}
        }
        let ids: Vec<_> = with_former(sender, successions);
        let revoked = self.shut_outs()?.get_any(&ids).map(|out| self.words_of(out)).transpose()?;
        let stranger = Sender::Stranger { revoked };
        let Some(proof) = proof else { return Ok(stranger) };
        let mine: Vec<ReplicaId> = [self.public_key()].iter().chain(&self.former_keys()).map(PublicKey::id).collect();
        let proves = |token: crate::bundle::Token| mine.iter().any(|me| token.is_proved_by(proof, me, &sender));
        if let Some(invited) = self.state.invitations()?.into_iter().find(|invited| proves(invited.token)) {
            let is_over = invited.is_over(self.now());
            return Ok(if is_over { Sender::Late { why: Spent::Expired } } else { Sender::Invited(invited) });
        }
        Ok(match self.state.find_spent_token(proves)? {
            // It was a peer, and was forgotten.
            Some(Spent::UsedBy(by)) if by == sender => stranger,
            Some(why) => Sender::Late { why },
            None => stranger,
        })
    }

    /// Decides about a bundle from this sender.
    pub fn receive(&self, manifest: &Manifest, sender: &Sender, clock_ahead: ClockAhead) -> Result<Reception> {
        self.receive_behind(&Foreseen::default(), manifest, sender, clock_ahead)
    }

    /// The same, as if bundles that were only looked at had been imported before.
    pub fn receive_behind(
        &self,
        before: &Foreseen,
        manifest: &Manifest,
        sender: &Sender,
        clock_ahead: ClockAhead,
    ) -> Result<Reception> {
        match sender {
            Sender::Own => return Ok(Reception::Refused(self.own_bundle(manifest)?)),
            Sender::Stranger { revoked } => return Ok(Reception::Refused(stranger(manifest, revoked.clone()))),
            Sender::Late { why } => {
                return Ok(Reception::Refused(self.invitation_spent(manifest.sender.id, *why)?));
            }
            Sender::Known(_) | Sender::Invited(_) | Sender::Rival(_) => {}
        }
        if let Some(refusal) = self.distrusts(manifest, sender)? {
            return Ok(Reception::Refused(refusal));
        }
        if let Some(recipient) = manifest.recipient.filter(|recipient| !self.is_me(recipient)) {
            let whom = self.known_as(&recipient)?.unwrap_or_else(|| recipient.to_string());
            return Ok(Reception::Refused(Refusal::ForSomeoneElse(whom)));
        }
        let name = sender.name(manifest);
        if matches!(sender, Sender::Known(peer) if peer.distant) {
            return Ok(Reception::Refused(Refusal::OnlyForJobs(name.to_owned())));
        }
        if let Some(error) = self.is_ahead(before, manifest, name)? {
            // Who takes such clocks knowingly means those that somebody still has.
            if self.was_left(&self.standing_behind(before, manifest, sender)?, manifest)? {
                return Ok(Reception::Outlived);
            }
            if clock_ahead == ClockAhead::Refuse {
                return Ok(Reception::ClockAhead(error));
            }
        }
        self.weigh(before, manifest, sender)
    }

    /// The sender's standing, as if bundles that were only looked at had been imported before.
    fn standing_behind(&self, before: &Foreseen, manifest: &Manifest, sender: &Sender) -> Result<Standing> {
        let foreseen = before.standings.get(&self.present_id(&manifest.sender.id)?);
        Ok(foreseen.cloned().unwrap_or_else(|| sender.standing()))
    }

    /// Decides by what is known here about a bundle that is believed.
    fn weigh(&self, before: &Foreseen, manifest: &Manifest, sender: &Sender) -> Result<Reception> {
        let name = sender.name(manifest);
        let mut knowledge = self.state.knowledge()?;
        knowledge.join(&before.knowledge);
        let standing = self.standing_behind(before, manifest, sender)?;
        if let Some(refusal) = self.knows_too_much(manifest, &knowledge)? {
            return Ok(Reception::Refused(refusal));
        }
        let incarnation = self.state.incarnation()?;
        let issued = self.state.has_issued(manifest.tip.get(incarnation))?;
        // What isn't believed asks for nothing that would have to be known.
        let caps = self.caps(&knowledge)?;
        let believed = caps.believe(&manifest.head(), &knowledge);
        let mut horizon = self.state.horizon()?;
        horizon.join(&before.horizon);
        let horizon = caps.horizon(&horizon);
        let judged = judge(incarnation, |_| issued, &knowledge, &horizon, &standing, &believed.head);
        Ok(match judged {
            Err(RolledBack::Sender | RolledBack::SenderOrTold(_)) if is_outlived(&standing, manifest) => {
                Reception::Outlived
            }
            Err(who @ RolledBack::SenderOrTold(told)) => {
                let by = self.state.told_by(manifest.sender.incarnation)?;
                let told_itself = by == Some(self.present_id(&manifest.sender.id)?);
                if told_itself && manifest.tip.get(manifest.sender.incarnation) > told {
                    let who = RolledBack::Sender;
                    return Ok(Reception::RolledBack(who, refusal::rolled_back(who, name)));
                }
                let by = by.filter(|_| !told_itself);
                let by =
                    by.map(|id| Ok::<_, Error>(self.known_as(&id)?.unwrap_or_else(|| id.to_string()))).transpose()?;
                Reception::RolledBack(who, refusal::told_more(name, told, manifest, by.as_deref()))
            }
            Err(who) => Reception::RolledBack(who, refusal::rolled_back(who, name)),
            Ok(Judgement::NotYet(missing)) => Reception::NotYet(refusal::not_yet(name, manifest, &missing)),
            Ok(Judgement::NeedsFull) => Reception::NotYet(refusal::needs_full(name)),
            Ok(Judgement::Apply)
                if !before.lacks(manifest)
                    && self.has_nothing_new(manifest, &believed, &knowledge, &before.proven)? =>
            {
                Reception::NothingNew
            }
            Ok(Judgement::Apply) => Reception::Apply,
        })
    }

    /// The refusal of an answer to an invitation that is good for nobody any more.
    pub(super) fn invitation_spent(&self, sender: ReplicaId, why: Spent) -> Result<Refusal> {
        let user = match &why {
            Spent::UsedBy(user) => self.known_as(user)?,
            Spent::Withdrawn | Spent::Expired => None,
        };
        Ok(Refusal::InvitationSpent { sender, why, user })
    }

    /// Why the key that has signed a bundle isn't to be trusted: its replica was revoked, it was followed by another one, or
    /// it is said to follow one that another one has followed.
    fn distrusts(&self, manifest: &Manifest, sender: &Sender) -> Result<Option<Refusal>> {
        let (id, name) = (manifest.sender.id, sender.name(manifest).to_owned());
        // Of a rival it isn't known whether it is the peer whose key it follows.
        let ids = match sender {
            Sender::Rival(_) => with_former(id, &manifest.successions),
            _ => self.ids_of(manifest)?,
        };
        if let Some(out) = self.shut_outs()?.get_any(&ids) {
            let why = self.why_shut_out(&name, out, &[])?;
            return Ok(Some(Refusal::Revoked { name, why }));
        }
        Ok(match sender {
            Sender::Rival(peer) => Some(Refusal::Rival { name, id, known: peer.id }),
            Sender::Known(_) => {
                let number = manifest.number;
                self.is_too_late(manifest)?.map(|key| Refusal::FormerKey { name, id: key.old, number, last: key.last })
            }
            _ => None,
        })
    }

    /// Why a bundle is not taken because of the clocks in it, which are all covered by its tip. What is known here of
    /// an incarnation was judged when it came, or accepted by a person, and can be told again. That excuses nothing beyond
    /// it: what is new here is measured by this machine's clock alone. Else a peer could creep ahead day by day.
    fn is_ahead(&self, before: &Foreseen, manifest: &Manifest, name: &str) -> Result<Option<Error>> {
        let wall = self.wall_clock();
        if !wall.is_set() {
            self.note(refusal::no_clock(wall));
        }
        if !wall.is_behind(manifest.tip.newest()) {
            return Ok(None);
        }
        let mut known = self.state.knowledge()?;
        known.join(&before.knowledge);
        let newest = known.missing(&manifest.tip).collect::<Knowledge>().newest();
        Ok(wall.is_behind(newest).then(|| refusal::ahead_of_clock(name, newest, wall, "import")))
    }

    /// Whether a bundle of which nothing may be believed but whose it is comes from an incarnation that its sender has given up.
    /// What it went on as can't have been known to what it was before: the newest bundle knows of changes of that one, or came
    /// after bundles of it, and was written after this one.
    fn was_left(&self, standing: &Standing, manifest: &Manifest) -> Result<bool> {
        if !is_outlived(standing, manifest) {
            return Ok(false);
        }
        let incarnation = manifest.sender.incarnation;
        let is_known = standing.shown.as_ref().is_some_and(|shown| shown.get(incarnation) > Clock::ZERO);
        let was_heard = self.state.heard_number(&self.present_id(&manifest.sender.id)?, incarnation)?.is_some();
        Ok(is_known || was_heard && standing.newest.is_some_and(|(_, newest)| manifest.number < newest))
    }

    /// What is known goes into every bundle from here: no more is learned than these can hold.
    fn knows_too_much(&self, manifest: &Manifest, knowledge: &Knowledge) -> Result<Option<Refusal>> {
        let mut all = knowledge.clone();
        all.join(&manifest.tip);
        let me = usize::from(all.get(self.state.incarnation()?) == Clock::ZERO);
        Ok((all.len() + me > limits::INCARNATIONS).then_some(Refusal::TooManyIncarnations))
    }

    /// Whether a bundle that can be applied would change nothing. That others have told of what its sender has done
    /// proves nothing: it is read all the same until it was heard from there. A later part of a split bundle has no new
    /// records, but may hold messages that are missing here.
    fn has_nothing_new(
        &self,
        manifest: &Manifest,
        believed: &Believed,
        knowledge: &Knowledge,
        also_proven: &Knowledge,
    ) -> Result<bool> {
        let incarnation = manifest.sender.incarnation;
        let proven = self.state.proven(&self.public_key().id())?.get(incarnation).max(also_proven.get(incarnation));
        Ok(manifest.kind == BundleKind::Delta
            && !believed.may_tell(knowledge)
            // What is said about replicas is heard whatever the stamp beside it is worth.
            && (believed.cut.is_empty() || manifest.counts.replicas == 0)
            && proven >= manifest.tip.get(incarnation)
            && (manifest.counts.messages == 0
                || (self.state.missing_digests(1)?.is_empty() && self.state.missing_attachments(1)?.is_empty())))
    }

    /// Whether a bundle of this replica's own is of an incarnation that it has given up for a new one: it knows how many bundles
    /// it had written by then.
    pub(super) fn has_left(&self, manifest: &Manifest) -> Result<bool> {
        let last = self.state.heard_number(&self.public_key().id(), manifest.sender.incarnation)?;
        Ok(manifest.sender.incarnation != self.state.incarnation()? && last.is_some_and(|last| manifest.number <= last))
    }

    /// The refusal of a bundle that was signed with this replica's key.
    pub(super) fn own_bundle(&self, manifest: &Manifest) -> Result<Refusal> {
        let remembered = manifest.sender.incarnation == self.state.incarnation()?
            || self.state.knowledge()?.includes(&manifest.tip)
            || self.has_left(manifest)?;
        Ok(if remembered { Refusal::Own } else { Refusal::Twin })
    }

    /// A replica's name here, if it is known.
    pub fn known_as(&self, id: &ReplicaId) -> Result<Option<String>> {
        Ok(self.peer_of(id)?.map(|peer| peer.name))
    }
}

/// Whether a bundle comes from an incarnation that its sender has given up: the sender's newest bundle was made by
/// another one.
fn is_outlived(standing: &Standing, manifest: &Manifest) -> bool {
    standing.newest.is_some_and(|(incarnation, _)| incarnation != manifest.sender.incarnation)
}
