//! Peers: making them known, and forgetting them.

use super::Replica;
use crate::bundle::PublicKey;
use crate::config::check_name;
use crate::error::{Error, Result};
use crate::state::Peer;

impl Replica {
    /// All peers, sorted by name.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.state.peers()
    }

    /// Makes a peer known: from now on bundles that its key signed are accepted, and bundles are made for it.
    ///
    /// # Errors
    /// The name or the key is taken, or the key is this replica's own.
    pub fn add_peer(&self, name: &str, key: &PublicKey) -> Result<Peer> {
        check_name(name)?;
        if *key == self.public_key() || key.id() == self.public_key().id() {
            return Err(Error::usage(format!("making {name} known: this is the key of this replica itself"))
                .advise("give the key that `mailsync init` printed on the other machine"));
        }
        let id = key.id().to_string();
        if let Some(peer) = self.state.peer_by_id(&id)? {
            return Err(Error::failed(format!("making {name} known: this key is already known as {}", peer.name))
                .advise(format!("use `mailsync peer rename {} {name}` to call it otherwise", peer.name)));
        }
        self.check_name_is_free(name)?;
        let transaction = self.state.begin()?;
        self.state.add_peer(name, &id, &key.to_openssh(), self.now())?;
        self.state.record(self.now(), "peer add", Some(name), &id)?;
        transaction.commit()?;
        self.peer(name)
    }

    /// Gives a peer another name.
    pub fn rename_peer(&self, old: &str, new: &str) -> Result<()> {
        check_name(new)?;
        let peer = self.peer(old)?;
        self.check_name_is_free(new)?;
        let transaction = self.state.begin()?;
        self.state.rename_peer(peer.key, new)?;
        self.state.record(self.now(), "peer rename", Some(new), &format!("was {old}"))?;
        transaction.commit()
    }

    /// Forgets a peer: its bundles are no longer accepted, and nothing waits for what it has not seen.
    pub fn remove_peer(&self, name: &str) -> Result<()> {
        let peer = self.peer(name)?;
        let transaction = self.state.begin()?;
        self.state.remove_peer(peer.key)?;
        self.state.record(self.now(), "peer remove", Some(name), &peer.id)?;
        transaction.commit()
    }

    fn peer(&self, name: &str) -> Result<Peer> {
        self.state.peer_by_name(name)?.ok_or_else(|| self.unknown_peer(name))
    }

    pub(super) fn unknown_peer(&self, name: &str) -> Error {
        let names: Vec<String> = self.state.peers().unwrap_or_default().into_iter().map(|peer| peer.name).collect();
        let advice = if names.is_empty() {
            String::from("there is none yet; make one known with `mailsync peer add NAME --key KEY`")
        } else {
            format!("the peers are: {}", names.join(", "))
        };
        Error::usage(format!("there is no peer called {name}")).advise(advice)
    }

    fn check_name_is_free(&self, name: &str) -> Result<()> {
        match self.state.peer_by_name(name)? {
            Some(_) => Err(Error::failed(format!("there is already a peer called {name}"))
                .advise("choose another name, or forget that one with `mailsync peer remove`")),
            None => Ok(()),
        }
    }
}
