//! Who has made a change: replicas by their names, and the incarnations of which they have shown that they are theirs.

use std::collections::BTreeSet;

use super::Replica;
use crate::bundle::ReplicaId;
use crate::error::Result;
use crate::model::{Clock, Incarnation, Stamp};

/// A replica that a person names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// The name by which it is known here; its id, if it is no peer any more.
    pub(super) name: String,
    /// Its id.
    pub(super) id: ReplicaId,
}

/// Somebody's changes from some time on.
#[derive(Clone, Debug)]
pub(super) struct ChangesOf {
    /// The incarnations that are theirs.
    pub(super) incarnations: BTreeSet<Incarnation>,
    /// The first clock.
    pub(super) since: Clock,
}

impl ChangesOf {
    /// Whether a change with this stamp is one of them.
    pub(super) fn has(&self, stamp: Stamp) -> bool {
        stamp.clock >= self.since && self.incarnations.contains(&stamp.incarnation)
    }
}

impl Replica {
    /// The replica that a person means: this one or a peer by its name, or any replica by its id.
    ///
    /// # Errors
    /// Nobody is called so.
    pub(super) fn author(&self, name: &str) -> Result<Author> {
        let me = self.public_key().id();
        let is_me = name == self.config.name || name.parse() == Ok(me);
        if is_me {
            return Ok(Author { name: self.config.name.clone(), id: me });
        }
        if let Ok(id) = name.parse::<ReplicaId>() {
            let peer = self.state.peer_by_id(&id)?;
            return Ok(Author { name: peer.map_or_else(|| id.to_string(), |peer| peer.name), id });
        }
        match self.state.peer_by_name(name)? {
            Some(peer) => Ok(Author { name: peer.name, id: peer.id }),
            None => Err(self.unknown_peer(name)),
        }
    }

    /// The incarnations of a replica, as far as its own bundles have shown them here. With `disputed`, those that
    /// somebody else has called its own, too.
    pub(super) fn incarnations(&self, author: &Author, disputed: bool) -> Result<Vec<Incarnation>> {
        self.state.incarnations_of(&author.id, &self.public_key().id(), disputed)
    }

    /// A replica's changes since a time, in milliseconds since 1970 UTC, as its clock was. Those of an incarnation that
    /// two replicas call theirs are nobody's: what isn't sure to be theirs is not taken back.
    pub(super) fn changes_of(&self, author: &Author, since: u64) -> Result<ChangesOf> {
        let incarnations: BTreeSet<_> = self.incarnations(author, false)?.into_iter().collect();
        let since = Clock::from_bits(since.min(Clock::LAST.millis()) << 16).expect("the last millisecond has a clock");
        Ok(ChangesOf { incarnations, since })
    }

    /// What a person is told of the replica that made a change: its name, or its id if it is no peer any more.
    pub fn who(&self, incarnation: Incarnation) -> Result<String> {
        let me = self.public_key().id();
        let mut names = Vec::new();
        for id in self.state.replicas_of(incarnation, &me)? {
            let peer = if id == me { None } else { self.state.peer_by_id(&id)? };
            names.push(match peer {
                Some(peer) => peer.name,
                None if id == me => self.config.name.clone(),
                None => id.to_string(),
            });
        }
        Ok(if names.is_empty() { String::from("a replica not known here") } else { names.join(" or ") })
    }
}
