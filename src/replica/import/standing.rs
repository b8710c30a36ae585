//! The sender's standing, which a bundle shows whether it is applied or not.

use super::gate::Reception;
use super::outcome::ImportOptions;
use super::refusal;
use crate::bundle::{Manifest, limits};
use crate::error::Result;
use crate::model::{Incarnation, Knowledge, RolledBack, Skew, Standing, is_fresh, shows_standing};
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::replica::transaction::Transaction;
use crate::state::{Action, Peer};

/// Whether a bundle was taken: all that it tells is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
}

impl Replica {
    /// Whether a bundle is newer than the newest that came from its sender before.
    pub(super) fn is_fresh(&self, standing: &Standing, manifest: &Manifest, reception: &Reception) -> Result<bool> {
        let sender = self.present_id(&manifest.sender.id)?;
        let highest = self.state.heard_number(&sender, manifest.sender.incarnation)?;
        Ok(!matches!(reception, Reception::Outlived) && is_fresh(standing, highest, &manifest.head()))
    }

    /// Records the standing of its sender that a bundle shows, whether the bundle was taken or not.
    pub(super) fn record_heard(
        &self,
        peer: &Peer,
        manifest: &Manifest,
        taken: Taken,
        options: &ImportOptions,
    ) -> Result<()> {
        if options.dry_run == DryRun::Yes {
            return Ok(());
        }
        let tx = self.begin()?;
        self.record_heard_within(&tx, peer, manifest, taken)?;
        tx.commit()
    }

    /// How the clock of a bundle's sender differs from this machine's.
    fn skew_of(&self, manifest: &Manifest) -> Result<Option<Skew>> {
        let wall = self.wall_clock();
        let mine = manifest.tip.get(self.state.incarnation()?);
        Ok(if wall.is_set() { wall.skew(manifest.made, mine) } else { None })
    }

    /// Records of a bundle that is not believed how its sender's clock differs, and nothing else.
    pub(super) fn record_skew(&self, peer: &Peer, manifest: &Manifest, options: &ImportOptions) -> Result<()> {
        if options.dry_run == DryRun::Yes {
            return Ok(());
        }
        let tx = self.begin()?;
        tx.set_skew(peer.key, self.skew_of(manifest)?)?;
        tx.commit()
    }

    /// Records that a bundle has shown a state that was put back: in the history, and if it is this replica's, that the
    /// peer knows of stamps which this replica has never issued, or else that the sender denies what is known of it
    /// here; a repair makes either good. Of what the bundle says nothing else is stored.
    pub(super) fn record_rolled_back(
        &self,
        peer: &Peer,
        who: RolledBack,
        manifest: &Manifest,
        options: &ImportOptions,
    ) -> Result<()> {
        if options.dry_run == DryRun::Yes {
            return Ok(());
        }
        let whose = if who == RolledBack::Me { "this replica" } else { &*peer.name };
        let number = manifest.number;
        let text = format!("bundle {number} was not applied: it shows that the state of {whose} was put back");
        let tx = self.begin()?;
        if who == RolledBack::Me {
            tx.set_disowns(peer.key, true)?;
        }
        // What the sender has told itself isn't hearsay.
        let incarnation = manifest.sender.incarnation;
        if matches!(who, RolledBack::SenderOrTold(_)) && self.state.told_by(incarnation)? != Some(peer.id) {
            tx.set_denied(incarnation, true)?;
        }
        // The same bundle may come again and again.
        if !self.state.is_recorded(Action::Import, &peer.name, &text)? {
            tx.record(self.now(), Action::Import, Some(&peer.name), &text)?;
        }
        tx.commit()
    }

    /// Says so if this machine's clock differs from those of all its peers that were heard of, or was wrong itself
    /// once.
    pub(super) fn compare_clocks(&self) -> Result<()> {
        self.clock_words(&self.peers_with_clocks()?)?.into_iter().for_each(|words| self.note(words));
        Ok(())
    }

    /// Says so if this machine's clock differs from those of all its peers. Whoever stamps changes anew by this clock should
    /// know it first.
    pub(in crate::replica) fn compare_with_peers(&self) -> Result<()> {
        let heard = self.peers_with_clocks()?;
        if let Some(skew) = skew_of_all(&heard) {
            self.note(own_clock(skew, &heard, self.has_stamped_ahead()?));
        }
        Ok(())
    }

    /// Notes what is wrong with this machine's clock, or was, as far as is known without a bundle that has just come.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn note_clock(&self) -> Result<()> {
        self.what_is_wrong_with_the_clock()?.into_iter().for_each(|words| self.note(words));
        Ok(())
    }

    /// What is wrong with this machine's clock, or was: it differs from those of all peers, as the last bundles have shown it
    /// and as far as it was not set since; or changes were stamped by it that are in the future.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn what_is_wrong_with_the_clock(&self) -> Result<Vec<String>> {
        let wall = self.wall_clock();
        let mut heard = self.peers_with_clocks()?;
        let is_so =
            |peer: &Peer| peer.skew.zip(peer.last_heard).is_none_or(|(skew, heard)| wall.may_still_differ(skew, heard));
        // Of one that can't be so any more, nothing is known.
        if !heard.iter().all(is_so) {
            heard.clear();
        }
        self.clock_words(&heard)
    }

    /// The peers of whose clocks something is known.
    fn peers_with_clocks(&self) -> Result<Vec<Peer>> {
        let mut heard = self.neighbours()?;
        heard.retain(|peer| peer.last_heard.is_some() || peer.skew.is_some());
        Ok(heard)
    }

    /// Whether this machine's clock is ahead of those of all peers, as far as is known.
    pub(in crate::replica) fn ahead_of_all_peers(&self) -> Result<bool> {
        let (wall, heard) = (self.wall_clock(), self.peers_with_clocks()?);
        let last = heard.iter().filter_map(|peer| peer.last_heard).max();
        Ok(skew_of_all(&heard).is_some_and(|skew| {
            matches!(skew, Skew::Behind(_)) && last.is_none_or(|last| wall.may_still_differ(skew, last))
        }))
    }

    fn has_stamped_ahead(&self) -> Result<bool> {
        Ok(self.wall_clock().is_behind(self.state.knowledge()?.get(self.state.incarnation()?)))
    }

    fn clock_words(&self, heard: &[Peer]) -> Result<Vec<String>> {
        let (skew, has_stamped, known) = (skew_of_all(heard), self.has_stamped_ahead()?, self.state.knowledge()?);
        let mut words: Vec<String> = skew.iter().map(|skew| own_clock(*skew, heard, has_stamped)).collect();
        // Of a clock that is behind all others, nothing can be told about the stamps that were made by a right one.
        if matches!(skew, Some(Skew::Ahead(_))) {
            return Ok(words);
        }
        if has_stamped {
            words.push(refusal::own_stamps(known.get(self.state.incarnation()?)));
        } else if self.wall_clock().is_behind(known.newest()) {
            words.push(refusal::known_stamps(known.newest()));
        }
        Ok(words)
    }

    /// Since when nobody knows how much time has passed on this machine, if its clock has gone on by so much that it may have
    /// been set wrong.
    pub(in crate::replica) fn clock_doubt(&self) -> Result<Option<u64>> {
        let looked_at = self.state.scanned()?.max(self.state.clock_confirmed()?);
        Ok(self.wall_clock().doubt(self.state.clock_doubted()?, looked_at))
    }

    pub(super) fn record_heard_within(
        &self,
        tx: &Transaction<'_>,
        peer: &Peer,
        manifest: &Manifest,
        taken: Taken,
    ) -> Result<()> {
        tx.set_heard(peer.key, self.now())?;
        tx.set_disowns(peer.key, false)?;
        tx.set_skew(peer.key, self.skew_of(manifest)?)?;
        if self.wall_clock().is_confirmed_by(manifest.made) && self.clock_doubt()?.is_some() {
            tx.confirm_clock(self.now())?;
        }
        if peer.token.is_some() && self.is_recipient(manifest.recipient) {
            tx.set_peer_token(peer.key, None)?;
        }
        let head = manifest.head();
        let highest = self.state.heard_number(&peer.id, head.incarnation)?;
        tx.set_heard_number(&peer.id, head.incarnation, head.number, limits::INCARNATIONS as u64)?;
        let is_newest = shows_standing(&peer.standing, highest, &head);
        if let Some(number) = taken_number(peer, (head.incarnation, head.number), taken, is_newest) {
            tx.set_taken(peer.key, number)?;
        }
        if is_newest {
            tx.set_follows(peer.key, manifest.follows)?;
            let shown = (&head.tip, manifest.passes_over.as_ref());
            tx.set_standing(peer.key, (head.incarnation, head.number), shown, &manifest.wants)?;
            if let Some((sent, number)) = peer.sent.as_ref().zip(peer.sent_number)
                && manifest.passes_over.clone().unwrap_or_default().has_taken(&head.tip, sent)
                && peer.acknowledged.is_none_or(|(acknowledged, _)| acknowledged < number)
            {
                tx.set_acknowledged(peer.key, number, self.now())?;
            }
            if let Some(recipient) = manifest.recipient {
                tx.set_knows_key(peer.key, recipient == self.public_key().id())?;
            }
        }
        Ok(())
    }

    /// Records that a bundle of an incarnation's own was taken in. One that tells nothing of its own and brings
    /// messages may be a later part of one that never came.
    pub(super) fn record_proven(&self, tx: &Transaction<'_>, peer: &Peer, manifest: &Manifest) -> Result<()> {
        let incarnation = manifest.sender.incarnation;
        let own = manifest.tip.get(incarnation);
        if manifest.base.get(incarnation) < own || manifest.counts.messages == 0 {
            tx.set_proven(&peer.id, incarnation, own)?;
        }
        if own >= self.state.knowledge()?.get(incarnation) {
            tx.set_denied(incarnation, false)?;
        }
        Ok(())
    }

    /// More is known of a bundle's sender than it says itself in its newest bundle. That can be so, if this one was
    /// long on its way; else somebody has told what isn't so, and hides the sender's mail by that.
    pub(super) fn note_hearsay(&self, name: &str, manifest: &Manifest) -> Result<()> {
        let incarnation = manifest.sender.incarnation;
        let (own, known) = (manifest.tip.get(incarnation), self.state.knowledge()?.get(incarnation));
        let sender = self.present_id(&manifest.sender.id)?;
        let teller = self.state.told_by(incarnation)?.filter(|id| *id != sender);
        if let (true, Some(teller)) = (own < known, teller) {
            let teller = self.known_as(&teller)?.unwrap_or_else(|| teller.to_string());
            self.note(refusal::hearsay(name, own, known, &teller));
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

    /// Compares the state digests: at equal knowledge both replicas must hold the same. If not, the next bundle for the
    /// peer is a full one. That is told once, until they have held the same: a peer can say so with every bundle.
    pub(super) fn compare_digests(&self, tx: &Transaction<'_>, peer: &Peer, manifest: &Manifest) -> Result<()> {
        let differs = self.state.digest() != manifest.state_digest;
        if differs && !peer.suspect {
            self.note(format!(
                "{} and this replica know the same but hold different mail; exchange bundles both ways to heal it: the next \
                 one for {} will be full, and `mailsync status` says so until it is healed",
                peer.name, peer.name
            ));
        }
        if differs != peer.suspect {
            tx.set_suspect(peer.key, differs)?;
        }
        Ok(())
    }
}

/// The number of the newest bundle from a peer that was taken, if that is another one now. An incarnation's numbers begin anew.
fn taken_number(peer: &Peer, bundle: (Incarnation, u64), taken: Taken, is_newest: bool) -> Option<u64> {
    let (incarnation, number) = bundle;
    let is_of_newest = peer.standing.newest.is_some_and(|(newest, _)| newest == incarnation);
    match (taken, is_newest) {
        (Taken::No, _) => None,
        (Taken::Yes, true) => Some(number),
        (Taken::Yes, false) => (is_of_newest && peer.taken < Some(number)).then_some(number),
    }
}

/// How the clocks of all these peers differ from this machine's, by so much at least: `None` if one doesn't, or they differ in
/// both directions.
fn skew_of_all(heard: &[Peer]) -> Option<Skew> {
    let all = heard.iter().map(|peer| peer.skew).reduce(|all, one| match (all, one) {
        (Some(Skew::Ahead(all)), Some(Skew::Ahead(one))) => Some(Skew::Ahead(all.min(one))),
        (Some(Skew::Behind(all)), Some(Skew::Behind(one))) => Some(Skew::Behind(all.min(one))),
        _ => None,
    });
    all.flatten()
}

fn own_clock(skew: Skew, heard: &[Peer], has_stamped: bool) -> String {
    let names: Vec<&str> = heard.iter().map(|peer| peer.name.as_str()).collect();
    refusal::own_clock(skew, &names.join(", "), has_stamped)
}
