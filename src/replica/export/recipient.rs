//! The recipient of a bundle, and the base from which it starts.

use super::options::{Fullness, To};
use crate::error::{Error, Result};
use crate::model::{Knowledge, PassesOver};
use crate::replica::Replica;
use crate::state::{Invited, Peer};

/// The recipient of a bundle, as far as it is known here.
#[derive(Debug)]
pub(super) enum Recipient {
    /// All peers with which bundles are exchanged. Only if there is none it is for the guests, those that were invited and have not
    /// answered: these can't open what is encrypted, and can't be told from others.
    Anyone {
        peers: Vec<Peer>,
        guests: Vec<Invited>,
    },
    Peer(Box<Peer>),
    Invited(Invited),
}

impl Recipient {
    /// The recipient's name here.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone { .. } => None,
            Self::Peer(peer) => Some(&peer.name),
            Self::Invited(invited) => Some(&invited.name),
        }
    }

    /// The peer, if the recipient is one.
    pub(super) fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// The peers who are to read the bundle.
    pub(super) fn peers(&self) -> &[Peer] {
        match self {
            Self::Anyone { peers, .. } => peers,
            Self::Peer(peer) => std::slice::from_ref(peer),
            Self::Invited(_) => &[],
        }
    }

    /// Those who are to read it and whose keys aren't known.
    pub(super) fn guests(&self) -> &[Invited] {
        match self {
            Self::Anyone { guests, .. } => guests,
            Self::Peer(_) => &[],
            Self::Invited(guest) => std::slice::from_ref(guest),
        }
    }

    /// What all have shown to pass over who are to read the bundle.
    pub(super) fn passes_over(&self) -> PassesOver {
        match self {
            Self::Anyone { peers, guests } if guests.is_empty() => {
                PassesOver::of_all(peers.iter().map(|peer| &peer.passes_over))
            }
            Self::Peer(peer) => peer.passes_over.clone(),
            Self::Anyone { .. } | Self::Invited(_) => PassesOver::default(),
        }
    }

    /// The base for a bundle. With it comes the number of the earlier bundle that told the recipient all of the base,
    /// if a single bundle did.
    pub(super) fn base(&self, fullness: Fullness) -> (Knowledge, Option<u64>) {
        match self {
            Self::Anyone { peers, guests } => (base_for_anyone(fullness, peers, guests), None),
            Self::Peer(peer) => base_for_peer(fullness, peer),
            Self::Invited(invited) => base_for_invited(fullness, invited),
        }
    }
}

impl Replica {
    /// Finds the recipient of a bundle.
    ///
    /// # Errors
    /// No peer has that name, the peer is known for its jobs only, or there is no peer at all.
    pub(super) fn recipient(&self, to: &To) -> Result<Recipient> {
        let mut invited = self.open_invitations()?;
        match to {
            To::Peer(name) => {
                let mut peers = self.state.peers()?;
                if let Some(at) = peers.iter().position(|peer| peer.name == *name) {
                    if peers[at].distant {
                        return Err(Error::refused(format!("exporting: {name} is known for its jobs only")).advise(format!(
                            "to exchange mail with it, say so with `mailsync peer add {name} --key KEY`, here and there"
                        )));
                    }
                    self.check_not_shut_out("exporting", &peers[at])?;
                    return Ok(Recipient::Peer(Box::new(peers.swap_remove(at))));
                }
                match invited.iter().position(|invited| invited.name == *name) {
                    Some(at) => Ok(Recipient::Invited(invited.swap_remove(at))),
                    None if self.state.invitation(name)?.is_some() => {
                        Err(Error::failed(format!("exporting: the invitation of {name} has expired"))
                            .advise(format!("invite it again with `mailsync invite {name}`")))
                    }
                    None => Err(self.unknown_peer(name)),
                }
            }
            To::Whoever => {
                let guests: Vec<String> = invited.iter().map(|invited| invited.name.clone()).collect();
                match whoever(self.neighbours()?, invited) {
                    Some(recipient) => {
                        self.note_who_is_left_out(&recipient, &guests);
                        Ok(recipient)
                    }
                    None => Err(self.nobody()?),
                }
            }
        }
    }

    /// There is no peer, and no invitation that can still be answered.
    fn nobody(&self) -> Result<Error> {
        let expired: Vec<String> = self.state.invitations()?.into_iter().map(|invited| invited.name).collect();
        let Some(name) = expired.first() else {
            return Ok(Error::failed("exporting: this replica has no peer").advise(
                "invite a new one with `mailsync invite NAME`, or make one known with `mailsync peer add NAME --key KEY`",
            ));
        };
        let what = format!(
            "exporting: this replica has no peer: nobody has answered the invitation of {}, and it has expired",
            expired.join(", ")
        );
        Ok(Error::failed(what).advise(format!("invite again with `mailsync invite {name}`")))
    }

    /// Tells of those that were invited and have not answered, that a bundle for the peers isn't for them.
    fn note_who_is_left_out(&self, to: &Recipient, guests: &[String]) {
        let readers: Vec<&str> = to.peers().iter().map(|peer| peer.name.as_str()).collect();
        if readers.is_empty() || guests.is_empty() {
            return;
        }
        let (why, first, too) = match guests.len() {
            1 => ("was invited and has not answered yet, so its key isn't", "its first bundle", "it"),
            _ => ("were invited and have not answered yet, so their keys aren't", "their first bundles", "them"),
        };
        self.note(format!(
            "this is for {}, and not for {}, which {why} known here: import {first} here, and the next export is for {too}, too",
            readers.join(", "),
            guests.join(", "),
        ));
    }
}

/// The only recipient that there is, or anyone if there are several; `None` if there is none. Those that were invited and have not
/// answered don't count beside a peer: nothing can be encrypted for them, and a bundle that is for them, too, is no peer's to remove.
fn whoever(mut peers: Vec<Peer>, mut guests: Vec<Invited>) -> Option<Recipient> {
    match (peers.len(), guests.len()) {
        (0, 0) => None,
        (1, _) => peers.pop().map(|peer| Recipient::Peer(Box::new(peer))),
        (0, 1) => guests.pop().map(Recipient::Invited),
        (0, _) => Some(Recipient::Anyone { peers, guests }),
        _ => Some(Recipient::Anyone { peers, guests: Vec::new() }),
    }
}

/// The knowledge that all of these have.
fn base_for_anyone(fullness: Fullness, peers: &[Peer], invited: &[Invited]) -> Knowledge {
    let of_peers = peers.iter().map(|peer| base_for_peer(fullness, peer).0);
    let of_invited = invited.iter().map(|invited| base_for_invited(fullness, invited).0);
    of_peers.chain(of_invited).reduce(|all, one| all.meet(&one)).unwrap_or_default()
}

/// The base for a bundle to a peer. With it comes the number of the earlier bundle that told the peer all of the base,
/// if a single bundle did.
fn base_for_peer(fullness: Fullness, peer: &Peer) -> (Knowledge, Option<u64>) {
    let (base, follows) = match fullness {
        _ if peer.suspect => (None, None),
        Fullness::Full => (None, None),
        Fullness::SinceShown => (peer.standing.shown.clone(), None),
        // A bundle got lost: the peer was heard since the last bundle for it was written, and doesn't know its tip.
        Fullness::SinceLast if has_missed_one(peer) => (peer.standing.shown.clone(), None),
        Fullness::SinceLast => (peer.sent.clone(), peer.sent_number),
    };
    (base.unwrap_or_default(), follows)
}

fn has_missed_one(peer: &Peer) -> bool {
    let heard_since = peer.last_heard > peer.last_sent;
    let lacks = peer.standing.shown.as_ref().zip(peer.sent.as_ref()).is_some_and(|(shown, sent)| !shown.includes(sent));
    heard_since && lacks
}

fn base_for_invited(fullness: Fullness, invited: &Invited) -> (Knowledge, Option<u64>) {
    match fullness {
        Fullness::Full => (Knowledge::new(), None),
        Fullness::SinceShown => (invited.shown.clone(), None),
        Fullness::SinceLast => (invited.sent.clone(), Some(invited.sent_number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Token;
    use crate::model::{Clock, Incarnation, Standing};
    use crate::state::testing;

    use Fullness::{Full, SinceLast, SinceShown};

    /// Knowledge of one incarnation, up to this clock.
    fn up_to(clock: u64) -> Knowledge {
        let mut knowledge = Knowledge::new();
        knowledge.set(Incarnation(1), Clock::from_bits(clock).unwrap());
        knowledge
    }

    /// A peer that has shown so much, last at the time 10, and that so much was sent to, in bundle 5 and at this time.
    fn peer(shown: Option<u64>, sent: Option<u64>, last_sent: u64) -> Peer {
        Peer {
            last_heard: shown.map(|_| 10),
            last_sent: sent.map(|_| last_sent),
            standing: Standing { newest: None, shown: shown.map(up_to) },
            sent: sent.map(up_to),
            sent_number: sent.map(|_| 5),
            knows_key: false,
            ..testing::peer()
        }
    }

    fn invited(shown: u64, sent: u64) -> Invited {
        Invited {
            name: String::from("guest"),
            token: Token::from_bytes([0; 32]),
            made: 1,
            expires: 2,
            shown: up_to(shown),
            sent: up_to(sent),
            sent_number: 5,
        }
    }

    #[test]
    fn a_bundle_starts_from_what_its_peer_is_believed_to_have() {
        let (before, after) = (9, 11);
        // From where; shown; sent, and whether before or after the peer was last heard; then the base, and what it
        // follows.
        let table = [
            (SinceShown, None, None, after, 0, None),
            (SinceShown, None, Some(7), after, 0, None),
            (SinceShown, Some(3), Some(7), after, 3, None),
            (SinceShown, Some(3), Some(7), before, 3, None),
            (SinceLast, None, None, after, 0, None),
            (SinceLast, None, Some(7), after, 7, Some(5)),
            (SinceLast, Some(3), None, after, 0, None),
            (SinceLast, Some(3), Some(7), after, 7, Some(5)),
            // It was heard since, and lacks what was sent.
            (SinceLast, Some(3), Some(7), before, 3, None),
            (SinceLast, Some(7), Some(7), before, 7, Some(5)),
            (SinceLast, Some(9), Some(7), before, 7, Some(5)),
            (Full, None, Some(7), after, 0, None),
            (Full, Some(3), Some(7), after, 0, None),
        ];
        for (fullness, shown, sent, last_sent, base, follows) in table {
            let mut peer = peer(shown, sent, last_sent);
            let case = format!("{fullness:?}, shown {shown:?}, sent {sent:?} at {last_sent}");
            assert_eq!(base_for_peer(fullness, &peer), (up_to(base), follows), "{case}");
            peer.suspect = true;
            assert_eq!(base_for_peer(fullness, &peer), (Knowledge::new(), None), "{case}, suspect");
        }
    }

    #[test]
    fn a_bundle_for_a_guest_starts_from_its_invitation() {
        let table =
            [(SinceShown, (up_to(3), None)), (SinceLast, (up_to(7), Some(5))), (Full, (Knowledge::new(), None))];
        for (fullness, base) in table {
            assert_eq!(base_for_invited(fullness, &invited(3, 7)), base, "{fullness:?}");
        }
    }

    #[test]
    fn a_bundle_for_anyone_starts_from_what_all_have() {
        let (one, other, silent) = (peer(Some(6), Some(8), 11), peer(Some(4), Some(9), 11), peer(None, None, 11));
        let guest = invited(3, 7);
        let table = [
            (SinceShown, vec![], vec![], 0),
            (SinceShown, vec![one.clone(), other.clone()], vec![], 4),
            (SinceLast, vec![one.clone(), other.clone()], vec![], 8),
            (SinceShown, vec![one.clone(), other.clone()], vec![guest.clone()], 3),
            (SinceLast, vec![one.clone(), other.clone()], vec![guest.clone()], 7),
            (Full, vec![one.clone(), other.clone()], vec![guest.clone()], 0),
            (SinceShown, vec![one, other, silent], vec![guest], 0),
        ];
        for (fullness, peers, invited, base) in table {
            let case = format!("{fullness:?}, {} peers, {} guests", peers.len(), invited.len());
            assert_eq!(base_for_anyone(fullness, &peers, &invited), up_to(base), "{case}");
        }
    }

    #[test]
    fn a_bundle_for_whoever_there_is_names_the_only_one() {
        let (one, guest) = (peer(None, None, 11), invited(3, 7));
        let table = [
            (0, 0, None),
            (1, 0, Some(Some("peer"))),
            (0, 1, Some(Some("guest"))),
            (1, 1, Some(Some("peer"))),
            (1, 2, Some(Some("peer"))),
            (2, 0, Some(None)),
            (0, 2, Some(None)),
            (2, 1, Some(None)),
        ];
        for (peers, guests, name) in table {
            let to = whoever(vec![one.clone(); peers], vec![guest.clone(); guests]);
            let case = format!("{peers} peers, {guests} guests");
            assert_eq!(to.as_ref().map(Recipient::name), name, "{case}");
            // Beside a peer nobody is a guest.
            let readers = to.as_ref().map_or((0, 0), |to| (to.peers().len(), to.guests().len()));
            assert_eq!(readers, (peers, if peers == 0 { guests } else { 0 }), "{case}");
        }
    }
}
