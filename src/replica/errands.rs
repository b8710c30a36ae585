//! What there is to carry to peers, and where changes show: for who does by itself what a person does by commands.

use std::path::PathBuf;

use super::{Fullness, Replica};
use crate::disk::is_there;
use crate::error::Result;
use crate::model::Knowledge;
use crate::state::Peer;

/// How a peer gets its bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// By its `call`, which brings an answer.
    Call,
    /// In a directory, from which something else carries them. The peer learns that its own bundles have come only by a
    /// bundle in that direction, too.
    Spool,
}

/// How carefully it is looked whether there is something to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// After something has happened here.
    Quick,
    /// Now and then.
    Thorough,
}

/// Whether there is something to carry to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// It was given all that is known here.
    Nothing,
    /// There is, and a bundle in a directory begins there.
    News(Fullness),
    /// It was invited and has not answered, so its key isn't known.
    Unanswered,
    /// It is revoked.
    ShutOut,
    /// Nobody is called so: what the configuration says of the name has no effect, as a scan notes.
    Unknown,
}

/// Where changes show.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Directories in which messages lie: `cur` and `new` of each folder.
    pub messages: Vec<PathBuf>,
    /// Directories in which folders are, or may come to be.
    pub folders: Vec<PathBuf>,
    /// The directory in which jobs lie that were asked for here and that no command has taken into the state; or, as long as
    /// there is none, the one in which it will be made.
    pub outbox: std::result::Result<PathBuf, PathBuf>,
    /// How many messages are wanted from peers: only a bundle tells them.
    pub wanted: u64,
}

impl Replica {
    /// Whether there is something to carry to the peer of this name.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn errand(&self, peer: &str, carrier: Carrier, care: Care) -> Result<Errand> {
        let Some(peer) = self.state.peer_by_name(peer)? else {
            let invited = self.state.invitation(peer)?.is_some();
            return Ok(if invited { Errand::Unanswered } else { Errand::Unknown });
        };
        if self.shut_outs()?.get(&peer.id).is_some() {
            return Ok(Errand::ShutOut);
        }
        let asks = !self.state.wanted_by(peer.key)?.is_empty();
        Ok(errand(&peer, asks, &self.state.knowledge()?, carrier, care))
    }

    /// Where changes show, as of the last scan.
    ///
    /// # Errors
    /// The state can't be read, or the disk doesn't tell whether there is an outbox.
    pub fn outlook(&self) -> Result<Outlook> {
        let outbox = self.home.outbox();
        let there = is_there(&*self.world.disk, &outbox)?;
        let outbox = if there { Ok(outbox) } else { Err(self.home.state_dir().to_owned()) };
        let mut outlook = Outlook {
            messages: Vec::new(),
            folders: vec![self.mail_root().to_owned()],
            outbox,
            wanted: self.state.count_missing()?,
        };
        for (dir, known) in self.state.directories()? {
            let path = self.mail_root().join(&dir);
            if known.is_folder {
                outlook.messages.extend(["cur", "new"].map(|sub| path.join(sub)));
            }
            if !dir.as_os_str().is_empty() {
                outlook.folders.push(path);
            }
        }
        Ok(outlook)
    }
}

/// Whether there is something to carry to a peer, which asks for contents or doesn't, where so much is known here.
fn errand(peer: &Peer, asks: bool, knowledge: &Knowledge, carrier: Carrier, care: Care) -> Errand {
    let heard_since = peer.last_heard > peer.last_sent;
    let (shown, sent) = (peer.standing.shown.clone().unwrap_or_default(), peer.sent.clone().unwrap_or_default());
    let mut given = sent.clone();
    let needs_another = match carrier {
        // What it has shown it need not be told that it has come: the next call tells it. And a call has got its answer.
        Carrier::Call => {
            given.join(&shown);
            false
        }
        // The last one was lost, or the two differ. Some replicas never show all: two who answer that at once would go on
        // for ever.
        Carrier::Spool => heard_since && (asks || (care == Care::Thorough && (peer.suspect || !shown.includes(&sent)))),
    };
    if !needs_another && given.includes(knowledge) {
        return Errand::Nothing;
    }
    // As long as nothing was ever heard of it, each bundle would hold everything.
    Errand::News(if peer.last_heard.is_none() { Fullness::SinceLast } else { Fullness::SinceShown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Clock, Incarnation, Standing};
    use crate::state::testing;

    use Care::{Quick, Thorough};
    use Carrier::{Call, Spool};

    /// Knowledge of two incarnations, up to these clocks.
    fn up_to((here, there): (u64, u64)) -> Knowledge {
        let clock = |bits| Clock::from_bits(bits).unwrap();
        [(Incarnation(1), clock(here)), (Incarnation(2), clock(there))].into_iter().collect()
    }

    fn peer(shown: Option<(u64, u64)>, sent: Option<(u64, u64)>, heard: Option<u64>, last_sent: Option<u64>) -> Peer {
        Peer {
            last_heard: heard,
            last_sent,
            standing: Standing { newest: None, shown: shown.map(up_to) },
            sent: sent.map(up_to),
            sent_number: sent.map(|_| 1),
            ..testing::peer()
        }
    }

    #[test]
    fn a_peer_is_carried_what_it_was_not_given_and_each_thing_once() {
        let shown = Errand::News(Fullness::SinceShown);
        let last = Errand::News(Fullness::SinceLast);
        let table = [
            ("nothing is known here", None, None, None, None, (0, 0), [Errand::Nothing; 4]),
            ("it was never given anything", None, None, None, None, (5, 0), [last; 4]),
            ("never heard, and given a part", None, Some((4, 0)), None, Some(7), (5, 0), [last; 4]),
            ("never heard, and given all", None, Some((5, 0)), None, Some(7), (5, 0), [Errand::Nothing; 4]),
            (
                "given all, and it has shown that",
                Some((5, 3)),
                Some((5, 3)),
                Some(8),
                Some(7),
                (5, 3),
                [Errand::Nothing; 4],
            ),
            ("a change here since", Some((5, 3)), Some((5, 3)), Some(8), Some(7), (6, 3), [shown; 4]),
            (
                "a change here since, sent and not shown",
                Some((5, 3)),
                Some((6, 3)),
                Some(7),
                Some(8),
                (6, 3),
                [Errand::Nothing; 4],
            ),
            (
                "its own news have come: in a spool it is told, and by a call it knows",
                Some((5, 4)),
                Some((5, 3)),
                Some(8),
                Some(7),
                (5, 4),
                [Errand::Nothing, Errand::Nothing, shown, shown],
            ),
            (
                "the last bundle was lost, or it crossed one of the peer's",
                Some((4, 3)),
                Some((5, 3)),
                Some(8),
                Some(7),
                (5, 3),
                [Errand::Nothing, Errand::Nothing, Errand::Nothing, shown],
            ),
        ];
        for (what, shown, sent, heard, last_sent, known, wanted) in table {
            let peer = peer(shown, sent, heard, last_sent);
            let ways = [(Call, Quick), (Call, Thorough), (Spool, Quick), (Spool, Thorough)];
            let found = ways.map(|(carrier, care)| errand(&peer, false, &up_to(known), carrier, care));
            assert_eq!(found, wanted, "{what}");
        }
    }

    #[test]
    fn contents_that_a_peer_asks_for_go_into_its_spool_once_for_each_time_that_it_asks() {
        let asked = peer(Some((5, 3)), Some((5, 3)), Some(8), Some(7));
        let answered = peer(Some((5, 3)), Some((5, 3)), Some(8), Some(9));
        let known = up_to((5, 3));
        assert_eq!(errand(&asked, true, &known, Spool, Quick), Errand::News(Fullness::SinceShown));
        assert_eq!(errand(&answered, true, &known, Spool, Quick), Errand::Nothing);
        assert_eq!(errand(&asked, true, &known, Call, Quick), Errand::Nothing, "the next call has them");
    }

    #[test]
    fn a_peer_whose_mailbox_differs_gets_one_bundle_at_each_thorough_look_that_follows_one_of_its_own() {
        let mut differs = peer(Some((5, 3)), Some((5, 3)), Some(8), Some(7));
        differs.suspect = true;
        let known = up_to((5, 3));
        assert_eq!(errand(&differs, false, &known, Spool, Quick), Errand::Nothing);
        assert_eq!(errand(&differs, false, &known, Spool, Thorough), Errand::News(Fullness::SinceShown));
        differs.last_sent = Some(9);
        assert_eq!(errand(&differs, false, &known, Spool, Thorough), Errand::Nothing);
    }
}
