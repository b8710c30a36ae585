//! The documents about replicas: peers, and keys.

use mailsync::bundle::{PublicKey, ReplicaId};
use mailsync::error::Result;
use mailsync::replica::{self, Reinstated, Replica, RevokedHere, Rotated, ShutOut, ShutOuts, SinceFrom};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{Folder, Own, Time};

/// A replica with which bundles are exchanged, or which is known for its jobs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Peer {
    /// Its name here.
    pub name: String,
    /// Its id: the fingerprint of its key.
    pub id: String,
    /// Its public key: a line as OpenSSH has it.
    pub public_key: String,
    /// Whether it is known for its jobs only: no bundles are exchanged with it.
    pub distant: bool,
    /// When it was made known.
    pub added: Time,
    /// When a bundle from it last came, taken or not.
    pub last_heard: Time,
    /// The number of the newest bundle from it that was taken; null if there is none.
    pub last_heard_number: Option<u64>,
    /// When a bundle for it was last written.
    pub last_sent: Time,
    /// That bundle's number.
    pub last_sent_number: Option<u64>,
    /// The size of that bundle's file, in all its parts: bytes.
    pub last_sent_bytes: Option<u64>,
    /// The number of the last bundle for it that it has shown to have.
    pub acknowledged_number: Option<u64>,
    /// When it has shown that.
    pub acknowledged: Time,
    /// Whether it knew the same and held other mail, by its last bundle.
    pub differs: bool,
}

impl From<&replica::Peer> for Peer {
    fn from(peer: &replica::Peer) -> Self {
        Self {
            name: peer.name.clone(),
            id: peer.id.to_string(),
            public_key: peer.public_key.to_openssh(),
            distant: peer.distant,
            added: Time::of(peer.added),
            last_heard: Time::of(peer.last_heard),
            last_heard_number: peer.taken,
            last_sent: Time::of(peer.last_sent),
            last_sent_number: peer.sent_number,
            last_sent_bytes: peer.sent_bytes,
            acknowledged_number: peer.acknowledged.map(|(number, _)| number),
            acknowledged: Time::of(peer.acknowledged.map(|(_, at)| at)),
            differs: peer.suspect,
        }
    }
}

/// A replica that was invited and has not answered.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Invited {
    /// Its name here.
    pub name: String,
    /// When it was first invited.
    #[serde(rename = "invited")]
    pub made: Time,
    /// Until when its answer is accepted.
    pub expires: Time,
    /// Whether that time has passed.
    pub expired: bool,
}

impl Invited {
    /// A replica that this one has invited.
    pub fn of(replica: &Replica, invited: &replica::Invited) -> Self {
        Self {
            name: invited.name.clone(),
            made: Time::of(invited.made),
            expires: Time::of(invited.expires),
            expired: replica.has_expired(invited),
        }
    }
}

/// That a replica is revoked: from when on nothing of it is believed, and who has said so.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Revoked {
    /// From when on nothing of it is believed.
    pub since: Time,
    /// Whether somebody on this machine has said so, too.
    pub looked_at: bool,
    /// The ids of all keys that it is known to have: what any of them signs is shut out.
    pub keys: Vec<String>,
    /// Who has said so, in the order in which it came here.
    pub by: Vec<Revocation>,
}

/// That somebody has revoked a replica.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Revocation {
    /// The id of the replica that says so.
    pub by: String,
    /// What that one calls the replica that is revoked; null if that wasn't said.
    pub called: Option<String>,
    /// From when on nothing is to be believed.
    pub since: Time,
    /// When it was said, by that replica's clock.
    pub at: Time,
    /// Why; null if that wasn't said.
    pub reason: Option<String>,
    /// The id of the replica whose bundle has brought it here; null if it was said here.
    pub brought_by: Option<String>,
    /// When it was said or heard here.
    pub heard: Time,
}

impl From<&ShutOut> for Revoked {
    fn from(out: &ShutOut) -> Self {
        let by = out.by.iter().map(|heard| Revocation {
            by: heard.revocation.by.to_string(),
            called: heard.revocation.name.clone(),
            since: Time::of(heard.revocation.since),
            at: Time::of(heard.revocation.at),
            reason: heard.revocation.reason.clone(),
            brought_by: heard.carrier.map(|id| id.to_string()),
            heard: Time::of(heard.heard),
        });
        let keys = out.keys.iter().map(ReplicaId::to_string).collect();
        Self { since: Time::of(out.since), looked_at: out.was_looked_at(), keys, by: by.collect() }
    }
}

/// `mailsync peer add`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PeerAdded {
    /// The peer.
    pub peer: Peer,
}

/// `mailsync peer rename`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PeerRenamed {
    /// Its name from now on.
    pub name: String,
    /// Its name until then.
    pub former_name: String,
}

/// `mailsync peer remove`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PeerRemoved {
    /// Its name until then.
    pub name: String,
}

/// `mailsync peer revoke`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the document")]
pub struct PeerRevoked {
    /// The id of the replica.
    pub id: String,
    /// From when on this machine says that nothing is to be believed. What counts can be earlier.
    pub since: Time,
    /// Whether that is what this machine had said before.
    pub kept: bool,
    /// Whether that is the earliest that other machines had said.
    pub taken_over: bool,
    /// Whether a bundle of its own came here since then, or to another machine that has revoked it. If none did, what it has
    /// done since may be told from what others have done only where its bundles came last.
    pub heard_since: bool,
    /// Whether its changes can be told from those of others here.
    pub told_apart: bool,
    /// How many messages are here as it has left them: other machines pass that over.
    pub held: u64,
    /// How many of them are this machine's own from now on.
    pub made_own: u64,
    /// What counts.
    pub revoked: Revoked,
}

impl PeerRevoked {
    /// A revocation; so many messages of that machine's are here, and so many are this one's own from now on.
    pub fn of(done: &RevokedHere, held: u64, made_own: u64) -> Self {
        Self {
            id: done.id.to_string(),
            since: Time::of(done.since),
            kept: done.since_from == SinceFrom::Here,
            taken_over: done.since_from == SinceFrom::Others,
            heard_since: done.heard_since,
            told_apart: done.told_apart,
            held,
            made_own,
            revoked: (&done.out).into(),
        }
    }
}

/// `mailsync peer reinstate`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PeerReinstated {
    /// The id of the replica.
    pub id: String,
    /// How many revocations were overruled.
    pub overruled: u64,
    /// Whether one of them was said here. It isn't sent any more.
    pub withdrawn: bool,
    /// The names of those to whom that one has been sent already.
    pub sent_to: Vec<String>,
}

impl From<Reinstated> for PeerReinstated {
    fn from(done: Reinstated) -> Self {
        let Reinstated { id, overruled, withdrawn, sent_to } = done;
        Self { id: id.to_string(), overruled, withdrawn, sent_to }
    }
}

/// `mailsync peer list`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PeerList {
    /// The peers, sorted by name.
    pub peers: Vec<ListedPeer>,
    /// The replicas that were invited and have not answered, sorted by name.
    pub invited: Vec<Invited>,
    /// The replicas that are revoked and are no peers.
    pub revoked_others: Vec<RevokedOther>,
}

/// A peer in a list.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ListedPeer {
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
    /// The ids that it had before its keys were replaced, the oldest first.
    pub former_ids: Vec<String>,
    /// That it is revoked; null if it isn't.
    pub revoked: Option<Revoked>,
}

/// A replica that is revoked and is no peer.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RevokedOther {
    /// Its id.
    pub id: String,
    /// That it is revoked.
    pub revoked: Revoked,
}

impl PeerList {
    /// The peers of a replica, those that it has invited, and who of all is revoked.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn of(
        replica: &Replica,
        peers: &[replica::Peer],
        invited: &[replica::Invited],
        out: &ShutOuts,
    ) -> Result<Self> {
        let listed = |peer: &replica::Peer| {
            let former_ids = replica.former_ids_of(&peer.id)?.iter().map(ReplicaId::to_string).collect();
            Ok(ListedPeer { peer: peer.into(), former_ids, revoked: revoked(out, &peer.id) })
        };
        let others = out.iter().filter(|(id, _)| peers.iter().all(|peer| peer.id != **id));
        let other = |(id, out): (&ReplicaId, &ShutOut)| RevokedOther { id: id.to_string(), revoked: out.into() };
        Ok(Self {
            peers: peers.iter().map(listed).collect::<Result<_>>()?,
            invited: invited.iter().map(|invited| Invited::of(replica, invited)).collect(),
            revoked_others: others.map(other).collect(),
        })
    }
}

/// Whether a replica is revoked.
pub fn revoked(out: &ShutOuts, id: &ReplicaId) -> Option<Revoked> {
    out.get(id).map(Revoked::from)
}

/// A public key.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Key {
    /// Its fingerprint.
    pub id: String,
    /// The key: a line as OpenSSH has it.
    pub public_key: String,
}

impl From<&PublicKey> for Key {
    fn from(key: &PublicKey) -> Self {
        Self { id: key.id().to_string(), public_key: key.to_openssh() }
    }
}

/// `mailsync key show`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KeyShown {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Whether the private key has a passphrase.
    pub passphrase: bool,
    /// The keys that it had before and that are kept for reading, the oldest first.
    pub former_keys: Vec<Key>,
}

/// `mailsync key rotate`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KeyRotated {
    /// The new key.
    #[serde(flatten)]
    pub key: Key,
    /// The id until then.
    pub former_id: String,
    /// The number of the last bundle that the old key has signed.
    pub last: u64,
}

impl From<&Rotated> for KeyRotated {
    fn from(rotated: &Rotated) -> Self {
        Self { key: (&rotated.new).into(), former_id: rotated.old.to_string(), last: rotated.last }
    }
}

/// `mailsync key passphrase`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KeyPassphrase {
    /// Whether the private key has a passphrase.
    pub passphrase: bool,
}

/// `mailsync init`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Init {
    /// This replica.
    pub replica: Own,
    /// Messages that were found.
    pub new: u64,
    /// The folders that were found.
    pub folders: Vec<Folder>,
}
