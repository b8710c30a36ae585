//! Peers: how they are made known, renamed and forgotten.

use super::Replica;
use super::replicas::trusted_again;
use super::tally::Tally;
use super::transaction::Transaction;
use crate::bundle::PublicKey;
use crate::config::check_name;
use crate::error::{Error, Result};
use crate::state::{Action, Invited, Peer, Spent};
use crate::text::{did_you_mean, printable};

impl Replica {
    /// All peers, sorted by name.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.state.peers()
    }

    /// Makes a peer known. From now on its signed bundles are accepted, and bundles are made for it.
    ///
    /// # Errors
    /// The name or the key is taken, or is this replica's own.
    pub fn add_peer(&self, name: &str, key: &PublicKey) -> Result<Peer> {
        let tx = self.begin()?;
        let peer = self.add_peer_within(&tx, name, key)?;
        tx.commit()?;
        Ok(peer)
    }

    /// Makes a distant peer known: jobs can come from it or go to it by way of others, but no bundles are exchanged
    /// with it. No purge waits for it. [`Replica::add_peer`] turns a distant peer into a neighbour, and this function
    /// turns a neighbour into a distant peer.
    ///
    /// # Errors
    /// As for [`Replica::add_peer`].
    pub fn add_distant_peer(&self, name: &str, key: &PublicKey) -> Result<Peer> {
        let tx = self.begin()?;
        let known = self.state.peer_by_id(&key.id())?.filter(|peer| peer.name == name && !peer.distant);
        let peer = known.map_or_else(|| self.add_peer_within(&tx, name, key), Ok)?;
        tx.set_distant(peer.key, true)?;
        tx.commit()?;
        self.peer(name)
    }

    /// [`Replica::add_peer`] within a transaction.
    pub(super) fn add_peer_within(&self, tx: &Transaction<'_>, name: &str, key: &PublicKey) -> Result<Peer> {
        check_name(name)?;
        if self.is_me(&key.id()) {
            return Err(Error::usage(format!("making {name} known: this is the key of this replica itself"))
                .advise("give the key that `mailsync init` printed on the other machine"));
        }
        let id = key.id();
        // Which of two keys is the peer's is one question, and whether the peer is trusted another one.
        if self.decide_key(tx, name, key)?.is_some() {
            if let Some(out) = self.shut_outs()?.get(&id) {
                self.note(format!(
                    "{name} was revoked by {} all the same: nothing is taken from it, and nothing sent to it; {}",
                    self.words_of(out)?,
                    trusted_again(name)
                ));
            }
            return self.peer(name);
        }
        if let Some(out) = self.shut_outs()?.get(&self.present_id(&id)?) {
            let what = format!("making {name} known: this key was revoked by {}", self.words_of(out)?);
            return Err(Error::rejected(what).advise(trusted_again(&id.to_string())));
        }
        if let Some(peer) = self.state.peer_by_id(&id)? {
            if peer.name == name && peer.distant {
                // A distant peer becomes a neighbour.
                tx.set_distant(peer.key, false)?;
                return self.peer(name);
            }
            if peer.name == name {
                return Err(Error::failed(format!("making {name} known: it is known already, with this very key"))
                    .advise(format!("go on with `mailsync export --to {name}`")));
            }
            return Err(Error::failed(format!("making {name} known: this key is already known as {}", peer.name))
                .advise(format!("use `mailsync peer rename {} {name}` to give it another name", peer.name)));
        }
        self.end_expired(tx, name)?;
        self.check_name_is_free(name)?;
        tx.add_peer(name, key, self.now())?;
        tx.record(self.now(), Action::PeerAdd, Some(name), &id.to_string())?;
        self.bring_up_to_date(tx, &id)?;
        self.peer(name)
    }

    /// Gives a peer another name.
    pub fn rename_peer(&self, old: &str, new: &str) -> Result<()> {
        check_name(new)?;
        self.check_name_is_free(new)?;
        let tx = self.begin()?;
        match self.state.invitation(old)? {
            Some(invited) => tx.set_invitation(&Invited { name: new.to_owned(), ..invited })?,
            None => tx.rename_peer(self.peer(old)?.key, new)?,
        }
        tx.record(self.now(), Action::PeerRename, Some(new), &format!("was {old}"))?;
        tx.commit()?;
        let named = self.config.peer.contains_key(old)
            || self.config.allow.iter().any(|rule| rule.from.iter().any(|from| from == old));
        if named {
            self.note(format!("{} still calls it {old}; change that", self.home.config_file().display()));
        }
        Ok(())
    }

    /// Forgets a peer: its bundles are no longer accepted, and no purge waits for it. If it was invited and has not
    /// answered, its invitation is withdrawn, and true is returned.
    ///
    /// # Errors
    /// There is no such peer.
    pub fn remove_peer(&self, name: &str) -> Result<bool> {
        let tx = self.begin()?;
        let invited = self.state.invitation(name)?;
        if let Some(invited) = &invited {
            tx.end_invitation(invited, Spent::Withdrawn)?;
            tx.record(self.now(), Action::PeerRemove, Some(name), "the invitation is withdrawn")?;
        } else {
            let peer = self.peer(name)?;
            tx.remove_peer(peer.key)?;
            tx.record(self.now(), Action::PeerRemove, Some(name), &peer.id.to_string())?;
        }
        Tally::end_of(&tx, |id| Ok(self.peer_of(id)?.is_none()))?;
        tx.commit()?;
        Ok(invited.is_some())
    }

    /// The replicas that were invited and have not answered, sorted by name.
    pub fn invitations(&self) -> Result<Vec<Invited>> {
        self.state.invitations()
    }

    /// Whether an invited replica's answer isn't accepted any more.
    pub fn has_expired(&self, invited: &Invited) -> bool {
        invited.is_over(self.now())
    }

    /// Those of them whose answer is still accepted.
    pub(super) fn open_invitations(&self) -> Result<Vec<Invited>> {
        let now = self.now();
        Ok(self.state.invitations()?.into_iter().filter(|invited| !invited.is_over(now)).collect())
    }

    /// An invitation that has expired doesn't keep its name from anybody.
    pub(super) fn end_expired(&self, tx: &Transaction<'_>, name: &str) -> Result<()> {
        match self.state.invitation(name)? {
            Some(invited) if invited.is_over(self.now()) => tx.end_invitation(&invited, Spent::Expired),
            _ => Ok(()),
        }
    }

    /// Notes which names in the configuration are nobody's here. What is said there of them has no effect, and nobody
    /// would notice.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn note_unknown_names(&self) -> Result<()> {
        for (name, place) in self.config.peer_names() {
            if !self.is_called(name)? {
                self.note(format!(
                    "{}: {} names a peer that is not known here, and has no effect: {}",
                    self.home.config_file().display(),
                    printable(&place),
                    self.unknown_peer(&printable(name)),
                ));
            }
        }
        Ok(())
    }

    /// Whether a peer has this name, or a machine that was invited.
    pub(super) fn is_called(&self, name: &str) -> Result<bool> {
        Ok(self.state.peer_by_name(name)?.is_some() || self.state.invitation(name)?.is_some())
    }

    /// Checks that a peer has this name, or a machine that was invited.
    ///
    /// # Errors
    /// Nobody is called so.
    pub fn check_is_known(&self, name: &str) -> Result<()> {
        if self.is_called(name)? { Ok(()) } else { Err(self.unknown_peer(name)) }
    }

    fn peer(&self, name: &str) -> Result<Peer> {
        self.state.peer_by_name(name)?.ok_or_else(|| self.unknown_peer(name))
    }

    /// Says that nobody has this name who could be meant by it, and who has borne it before.
    pub(super) fn unknown_peer(&self, name: &str) -> Error {
        self.nobody_of_name(name).unwrap_or_else(|error| error)
    }

    fn nobody_of_name(&self, name: &str) -> Result<Error> {
        let borne = self.who_has_borne(name)?;
        let borne = if borne.is_empty() {
            String::new()
        } else {
            let ids: Vec<String> = borne.iter().map(ToString::to_string).collect();
            format!(
                "who had that name here before has the id {}: give that in the place of the name; ",
                ids.join(" or ")
            )
        };
        if self.state.invitation(name)?.is_some() {
            return Ok(Error::usage(format!("{name} is invited and has not answered yet")).advise(format!(
                "{borne}import its answer, or withdraw the invitation with `mailsync peer remove {name}`"
            )));
        }
        let peers = self.state.peers()?.into_iter().map(|peer| peer.name);
        let names: Vec<String> =
            peers.chain(self.state.invitations()?.into_iter().map(|invited| invited.name)).collect();
        let advice = if names.is_empty() {
            format!("{borne}there is none yet; make one known with `mailsync peer add NAME --key KEY`")
        } else {
            let meant = did_you_mean(name, names.iter().map(String::as_str));
            format!("{borne}{meant}the peers are: {}", names.join(", "))
        };
        let what = match name {
            "" => String::from("looking for a peer: the name is empty"),
            name => format!("there is no peer called {name}"),
        };
        Ok(Error::usage(what).advise(advice))
    }

    /// Each name is one machine's. This replica's own is none that a peer can have: what `log` and `undo` tell of somebody
    /// would be told of two.
    pub(super) fn check_name_is_free(&self, name: &str) -> Result<()> {
        if name == self.config.name {
            return Err(Error::usage(format!("{name} is what this replica itself is called"))
                .advise("choose another name for the peer; it needn't be the one by which the peer calls itself"));
        }
        if self.state.invitation(name)?.is_some() {
            return Err(Error::failed(format!("{name} is invited and has not answered yet")).advise(format!(
                "choose another name, invite it again with `mailsync invite {name}`, or withdraw that with `mailsync peer remove {name}`"
            )));
        }
        match self.state.peer_by_name(name)? {
            Some(_) => Err(Error::failed(format!("there is already a peer called {name}"))
                .advise(
                    "choose another name, or forget that one with `mailsync peer remove`; a key that `mailsync key rotate` has made \
                     there comes with the next bundle from there",
                )),
            None => Ok(()),
        }
    }
}
