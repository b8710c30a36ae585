//! Whom a bundle is for, and from where it starts.

use super::options::{Fullness, To};
use crate::error::{Error, Result};
use crate::model::Knowledge;
use crate::replica::Replica;
use crate::state::{Invited, Peer};

/// Whom a bundle is for, as far as that is known here.
#[derive(Debug)]
pub(super) enum Recipient {
    Anyone,
    Peer(Box<Peer>),
    Invited(Invited),
}

impl Recipient {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Peer(peer) => Some(&peer.name),
            Self::Invited(invited) => Some(&invited.name),
        }
    }

    pub(super) fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Peer(peer) => Some(peer),
            _ => None,
        }
    }
}

impl Replica {
    pub(super) fn recipient(&self, to: &To) -> Result<Recipient> {
        let (mut peers, mut invited) = (self.state.peers()?, self.state.invitations()?);
        match to {
            To::Peer(name) => {
                if let Some(at) = peers.iter().position(|peer| peer.name == *name) {
                    if peers[at].distant {
                        return Err(Error::refused(format!("exporting: {name} is known for its jobs only")).advise(format!(
                            "to exchange mail with it, say so with `mailsync peer add {name} --key KEY`, here and there"
                        )));
                    }
                    return Ok(Recipient::Peer(Box::new(peers.swap_remove(at))));
                }
                match invited.iter().position(|invited| invited.name == *name) {
                    Some(at) => Ok(Recipient::Invited(invited.swap_remove(at))),
                    None => Err(self.unknown_peer(name)),
                }
            }
            To::Whoever => {
                peers.retain(|peer| !peer.distant);
                let (peer, guest, more) = (peers.pop(), invited.pop(), peers.len() + invited.len());
                match (peer, guest) {
                    (None, None) => Err(Error::failed("exporting: this replica has no peer").advise(
                        "invite a new one with `mailsync invite NAME`, or make one known with `mailsync peer add NAME --key KEY`",
                    )),
                    (Some(peer), None) if more == 0 => Ok(Recipient::Peer(Box::new(peer))),
                    (None, Some(invited)) if more == 0 => Ok(Recipient::Invited(invited)),
                    _ => Ok(Recipient::Anyone),
                }
            }
        }
    }

    /// From where a bundle starts, and the number of the bundle that told the recipient all of that, where it is one.
    pub(super) fn base_for(&self, fullness: Fullness, to: &Recipient) -> Result<(Knowledge, Option<u64>)> {
        Ok(match to {
            Recipient::Anyone => (self.base_for_anyone(fullness)?, None),
            Recipient::Peer(peer) => base_for_peer(fullness, peer),
            Recipient::Invited(invited) => base_for_invited(fullness, invited),
        })
    }

    /// What all peers have.
    fn base_for_anyone(&self, fullness: Fullness) -> Result<Knowledge> {
        let (peers, invited) = (self.state.neighbours()?, self.state.invitations()?);
        let of_peers = peers.iter().map(|peer| base_for_peer(fullness, peer).0);
        let of_invited = invited.iter().map(|invited| base_for_invited(fullness, invited).0);
        Ok(of_peers.chain(of_invited).reduce(|all, one| all.meet(&one)).unwrap_or_default())
    }
}

fn base_for_peer(fullness: Fullness, peer: &Peer) -> (Knowledge, Option<u64>) {
    let (base, follows) = match fullness {
        _ if peer.suspect => (None, None),
        Fullness::Full => (None, None),
        Fullness::SinceShown => (peer.standing.shown.clone(), None),
        // What it has shown since the last bundle for it was written, and lacks what that held: then one got lost.
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
