//! What people are told of replicas that were revoked.

use super::shut_out::{RevocationHeard, ShutOut};
use crate::bundle::ReplicaId;
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::state::Peer;
use crate::text::{plural, printable, utc};

impl Replica {
    /// The name of a replica that is shut out, for people: the one that it has here or, if it is nobody here, the one that who
    /// has revoked it calls it by, with its id.
    pub fn shown_name_of(&self, id: &ReplicaId, out: &ShutOut) -> Result<String> {
        if self.is_known(id)? {
            return Ok(printable(&self.name_of(id)?));
        }
        for RevocationHeard { revocation, .. } in &out.by {
            if let Some(name) = &revocation.name {
                let by = self.name_of(&revocation.by)?;
                return Ok(format!("{}, as {} calls it ({id})", printable(name), printable(&by)));
            }
        }
        Ok(id.to_string())
    }

    /// Who has revoked a replica, and when, for people: all of those that count.
    pub fn words_of(&self, out: &ShutOut) -> Result<String> {
        let mut said = Vec::new();
        for RevocationHeard { revocation, carrier, .. } in out.by.iter().take(MOST_NAMED) {
            let by = printable(&self.name_of(&revocation.by)?);
            let by = match carrier {
                None => String::from("this replica"),
                Some(carrier) if *carrier == revocation.by => by,
                Some(carrier) => format!("{by} (as {} has brought here)", printable(&self.name_of(carrier)?)),
            };
            let why = revocation.reason.as_ref().map_or_else(String::new, |why| format!(", \"{}\"", printable(why)));
            said.push(format!("{by} at {}{why}", utc(revocation.at)));
        }
        if out.by.len() > MOST_NAMED {
            said.push(format!("{} more", plural((out.by.len() - MOST_NAMED) as u64, "replica")));
        }
        Ok(said.join(", and by "))
    }

    /// Says loudly whom others have revoked, until a person has looked; of each replica once for each command, however many
    /// of its bundles tell of it.
    pub(in crate::replica) fn note_shut_outs(&self) -> Result<()> {
        let me = self.public_key().id();
        for (id, out) in self.shut_outs()?.iter() {
            if self.told_of.borrow().contains(id) {
                continue;
            }
            if *id == me {
                self.note(format!(
                    "THIS REPLICA WAS REVOKED by {}: those who believe that take nothing from here any more and send nothing here; if \
                     this machine is in your hands and always was, run `mailsync peer reinstate {id}` on each of the others, and here \
                     to see this no more; and if one of them isn't in your hands, revoke that one with `mailsync peer revoke`, here \
                     and on the others",
                    self.words_of(out)?
                ));
            } else if out.was_looked_at() {
                continue;
            } else {
                // A name that somebody else has given it can't be typed here.
                let (shown, typed) = (self.shown_name_of(id, out)?, self.name_of(id)?);
                self.note(format!(
                    "{shown} WAS REVOKED by {}, as of {}: nothing is taken from it, and nothing sent to it. Look into this: if it is \
                     lost or stolen, run `mailsync peer revoke {typed}` here as well, and if it isn't, `mailsync peer reinstate {typed}` \
                     (a thief can revoke, too)",
                    self.words_of(out)?,
                    utc(out.since)
                ));
            }
            self.told_of.borrow_mut().insert(*id);
        }
        Ok(())
    }

    /// Makes sure that a peer is not shut out before something is sent to it. `doing` says what, in an error's words.
    ///
    /// # Errors
    /// It is.
    pub(in crate::replica) fn check_not_shut_out(&self, doing: &str, peer: &Peer) -> Result<()> {
        match self.shut_outs()?.get(&peer.id) {
            None => Ok(()),
            Some(out) => {
                let name = &peer.name;
                Err(Error::rejected(format!(
                    "{doing}: {name} was revoked by {}, and nothing is sent to it",
                    self.words_of(out)?
                ))
                .advise(TRUSTED_AGAIN.replace("NAME", name)))
            }
        }
    }
}

/// What a person does who knows that a replica is to be trusted after all.
pub(in crate::replica) const TRUSTED_AGAIN: &str =
    "if it is in your hands and always was, say so with `mailsync peer reinstate NAME`";

/// At most so many who have revoked a replica are named.
const MOST_NAMED: usize = 3;
