//! Peers: their names and keys, and their standings.

use rusqlite::{OptionalExtension, Row};

use super::codec::damaged;
use super::{State, Transaction};
use crate::bundle::{PublicKey, ReplicaId, Token};
use crate::error::Result;
use crate::model::{Clock, Digest, Incarnation, Knowledge, PassesOver, Skew, Standing};

/// A peer's number within this state.
#[cfg_attr(test, derive(Default))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(i64);

/// The record of a peer. Times are milliseconds since 1970 UTC.
#[expect(clippy::struct_excessive_bools, reason = "each is known or not, whatever the others are")]
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its number.
    pub key: PeerKey,
    /// The fingerprint of its public key.
    pub id: ReplicaId,
    /// Its name here.
    pub name: String,
    /// Its public key.
    pub public_key: PublicKey,
    /// When it was made known.
    pub added: u64,
    /// When a bundle from it was last imported.
    pub last_heard: Option<u64>,
    /// When a bundle for it was last written.
    pub last_sent: Option<u64>,
    /// Its standing, as its bundles have shown it.
    pub standing: Standing,
    /// The tip of the last bundle written for it.
    pub sent: Option<Knowledge>,
    /// That bundle's number.
    pub sent_number: Option<u64>,
    /// That bundle's size, in all its parts: bytes.
    pub sent_bytes: Option<u64>,
    /// The number of the last bundle for it that it has shown to have, and when.
    pub acknowledged: Option<(u64, u64)>,
    /// The number of the newest bundle from it that was taken in, or told nothing new.
    pub taken: Option<u64>,
    /// The number of the bundle from it that a guard has refused last, if none was taken in since.
    pub refused: Option<u64>,
    /// The number of the bundle that its newest bundle follows, whether that was taken in or not.
    pub follows: Option<u64>,
    /// Whether its state digest differed from the one here at equal knowledge. If so, the next bundle for it is a full
    /// one.
    pub suspect: bool,
    /// The token of its invitation to this replica, as long as it has not shown to know this replica.
    pub token: Option<Token>,
    /// Whether it is known for its jobs only: no bundles are exchanged with it.
    pub distant: bool,
    /// How its clock differed from this machine's, as far as its last bundle shows.
    pub skew: Option<Skew>,
    /// Whether its last bundle knew of stamps that this replica's incarnation has never issued.
    pub disowns: bool,
    /// Whether it has shown to know this replica's present key.
    pub knows_key: bool,
    /// What its newest bundle shows that it passes over.
    pub passes_over: PassesOver,
}

const COLUMNS: &str = "key, id, name, public_key, added, last_heard, last_sent, newest_incarnation, newest_number, shown, sent, suspect, \
     sent_number, token, distant, skew, disowns, knows_key, acked_number, acked, sent_bytes, passes_over, taken_number, \
     follows_number, refused_number";

fn peer(row: &Row<'_>) -> Result<Peer> {
    let knowledge = |column| -> Result<Option<Knowledge>> {
        let text: Option<String> = row.get(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| damaged("a peer's knowledge"))).transpose()
    };
    let unsigned = |column| row.get::<_, Option<i64>>(column).map(|n| n.map(i64::cast_unsigned));
    let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default());
    let newest = unsigned(7)?.map(Incarnation).zip(unsigned(8)?);
    Ok(Peer {
        key: PeerKey(row.get(0)?),
        id: text(1)?.parse().map_err(|_| damaged("a peer's id"))?,
        name: row.get(2)?,
        public_key: PublicKey::from_openssh(text(3)?).map_err(|_| damaged("a peer's public key"))?,
        added: row.get::<_, i64>(4)?.cast_unsigned(),
        last_heard: unsigned(5)?,
        last_sent: unsigned(6)?,
        standing: Standing { newest, shown: knowledge(9)? },
        sent: knowledge(10)?,
        suspect: row.get(11)?,
        sent_number: unsigned(12)?,
        acknowledged: unsigned(18)?.zip(unsigned(19)?),
        sent_bytes: unsigned(20)?,
        taken: unsigned(22)?,
        follows: unsigned(23)?,
        refused: unsigned(24)?,
        token: row.get::<_, Option<_>>(13)?.map(Token::from_bytes),
        distant: row.get(14)?,
        skew: match row.get::<_, i64>(15)? {
            0 => None,
            ahead @ 1.. => Some(Skew::Ahead(ahead.unsigned_abs())),
            behind => Some(Skew::Behind(behind.unsigned_abs())),
        },
        disowns: row.get(16)?,
        knows_key: row.get(17)?,
        passes_over: row
            .get::<_, Option<String>>(21)?
            .map(|text| serde_json::from_str(&text).map_err(|_| damaged("what a peer passes over")))
            .transpose()?
            .unwrap_or_default(),
    })
}

pub(super) fn json(knowledge: &Knowledge) -> String {
    serde_json::to_string(knowledge).expect("knowledge is a map from strings to strings")
}

impl State {
    /// All peers, sorted by name.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM peer ORDER BY name"))?;
        let mut rows = query.query([])?;
        let mut peers = Vec::new();
        while let Some(row) = rows.next()? {
            peers.push(peer(row)?);
        }
        Ok(peers)
    }

    fn peer_where(&self, column: &str, value: &str) -> Result<Option<Peer>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM peer WHERE {column} = ?"))?;
        let mut rows = query.query([value])?;
        rows.next()?.map(peer).transpose()
    }

    /// The peer of this name.
    pub fn peer_by_name(&self, name: &str) -> Result<Option<Peer>> {
        self.peer_where("name", name)
    }

    /// The peer with this id.
    pub fn peer_by_id(&self, id: &ReplicaId) -> Result<Option<Peer>> {
        self.peer_where("id", &id.to_string())
    }

    /// Whether this is a peer's id.
    pub fn is_peer(&self, id: &ReplicaId) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM peer WHERE id = ?")?.exists([id.to_string()])?)
    }

    /// The peers with which bundles are exchanged, sorted by name.
    pub fn neighbours(&self) -> Result<Vec<Peer>> {
        let mut peers = self.peers()?;
        peers.retain(|peer| !peer.distant);
        Ok(peers)
    }

    /// The id by which a person has made a peer known, or an invitation: keys that have followed that one since are somebody's
    /// word, and it isn't.
    pub fn first_id_of(&self, key: PeerKey) -> Result<ReplicaId> {
        let mut query = self.conn.prepare_cached("SELECT first_id FROM peer WHERE key = ?")?;
        let id: String = query.query_row([key.0], |row| row.get(0))?;
        id.parse().map_err(|_| damaged("the id by which a peer was made known"))
    }

    /// The highest number of a bundle that came from this incarnation of a peer.
    pub fn heard_number(&self, peer: &ReplicaId, incarnation: Incarnation) -> Result<Option<u64>> {
        let mut query = self.conn.prepare_cached("SELECT number FROM heard WHERE peer = ? AND incarnation = ?")?;
        let number =
            query.query_row((peer.to_string(), incarnation.0.cast_signed()), |row| row.get::<_, i64>(0)).optional()?;
        Ok(number.map(i64::cast_unsigned))
    }

    /// The incarnations whose own bundles came from the replica with this id, those that were heard of last first.
    pub fn incarnations_of(&self, id: &ReplicaId) -> Result<Vec<Incarnation>> {
        let mut query = self.conn.prepare_cached("SELECT incarnation FROM heard WHERE peer = ? ORDER BY key DESC")?;
        let rows = query.query_map([id.to_string()], |row| row.get::<_, i64>(0))?;
        Ok(rows.map(|row| Ok(Incarnation(row?.cast_unsigned()))).collect::<rusqlite::Result<_>>()?)
    }

    /// The messages that a peer wants, sorted.
    pub fn wanted_by(&self, key: PeerKey) -> Result<Vec<Digest>> {
        self.digests("SELECT digest FROM wanted WHERE peer = ? ORDER BY digest", [key.0])
    }
}

impl Transaction<'_> {
    /// Makes a peer known.
    pub fn add_peer(&self, name: &str, public_key: &PublicKey, now: u64) -> Result<()> {
        self.conn
            .prepare_cached("INSERT INTO peer (id, first_id, name, public_key, added) VALUES (?1, ?1, ?2, ?3, ?4)")?
            .execute((public_key.id().to_string(), name, public_key.to_openssh(), now.cast_signed()))?;
        Ok(())
    }

    /// Records whether a peer is known for its jobs only.
    pub fn set_distant(&self, key: PeerKey, distant: bool) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET distant = ? WHERE key = ?")?.execute((distant, key.0))?;
        Ok(())
    }

    /// Gives a peer another name.
    pub fn rename_peer(&self, key: PeerKey, name: &str) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET name = ? WHERE key = ?")?.execute((name, key.0))?;
        Ok(())
    }

    /// Forgets a peer.
    pub fn remove_peer(&self, key: PeerKey) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM wanted WHERE peer = ?")?.execute([key.0])?;
        self.conn.prepare_cached("DELETE FROM peer WHERE key = ?")?.execute([key.0])?;
        Ok(())
    }

    /// Records when a peer was last heard of.
    pub fn set_heard(&self, key: PeerKey, now: u64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE peer SET last_heard = ? WHERE key = ?")?
            .execute((now.cast_signed(), key.0))?;
        Ok(())
    }

    /// Records the number of the last bundle for a peer that it has shown to have.
    pub fn set_acknowledged(&self, key: PeerKey, number: u64, now: u64) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET acked_number = ?, acked = ? WHERE key = ?")?.execute((
            number.cast_signed(),
            now.cast_signed(),
            key.0,
        ))?;
        Ok(())
    }

    /// Records the number of a bundle from a peer that a guard has refused.
    pub fn set_refused(&self, key: PeerKey, number: u64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE peer SET refused_number = ? WHERE key = ?")?
            .execute((number.cast_signed(), key.0))?;
        Ok(())
    }

    /// Records the number of the newest bundle from a peer that was taken in: what was refused before doesn't wait any more.
    pub fn set_taken(&self, key: PeerKey, number: u64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE peer SET taken_number = ?, refused_number = NULL WHERE key = ?")?
            .execute((number.cast_signed(), key.0))?;
        Ok(())
    }

    /// Records which bundle a peer's newest one follows.
    pub fn set_follows(&self, key: PeerKey, follows: Option<u64>) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE peer SET follows_number = ? WHERE key = ?")?
            .execute((follows.map(u64::cast_signed), key.0))?;
        Ok(())
    }

    /// Records how a peer's clock differs from this machine's.
    pub fn set_skew(&self, key: PeerKey, skew: Option<Skew>) -> Result<()> {
        let ahead = match skew {
            None => 0,
            Some(Skew::Ahead(millis)) => i64::try_from(millis).unwrap_or(i64::MAX),
            Some(Skew::Behind(millis)) => i64::try_from(millis).map_or(i64::MIN, |millis| -millis),
        };
        self.conn.prepare_cached("UPDATE peer SET skew = ? WHERE key = ?")?.execute((ahead, key.0))?;
        Ok(())
    }

    /// Records whether a peer knows of stamps that this replica's incarnation has never issued.
    pub fn set_disowns(&self, key: PeerKey, disowns: bool) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET disowns = ? WHERE key = ?")?.execute((disowns, key.0))?;
        Ok(())
    }

    /// Records whether a peer has shown to know this replica's present key.
    pub fn set_knows_key(&self, key: PeerKey, knows: bool) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET knows_key = ? WHERE key = ?")?.execute((knows, key.0))?;
        Ok(())
    }

    /// Records a peer's new key. Its id is the key's fingerprint.
    pub fn set_peer_key(&self, key: PeerKey, public_key: &PublicKey) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET id = ?, public_key = ? WHERE key = ?")?.execute((
            public_key.id().to_string(),
            public_key.to_openssh(),
            key.0,
        ))?;
        Ok(())
    }

    /// Records that a bundle of this number came from this incarnation of a peer. Of the peer's incarnations the `most`
    /// that were heard of last are remembered: it is the peer that makes them up.
    pub fn set_heard_number(&self, peer: &ReplicaId, incarnation: Incarnation, number: u64, most: u64) -> Result<()> {
        let number = self.heard_number(peer, incarnation)?.map_or(number, |highest| highest.max(number));
        let peer = peer.to_string();
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO heard (peer, incarnation, number, own)
                 VALUES (?1, ?2, ?3, COALESCE((SELECT own FROM heard WHERE peer = ?1 AND incarnation = ?2), 0))",
            )?
            .execute((&peer, incarnation.0.cast_signed(), number.cast_signed()))?;
        self.conn
            .prepare_cached(
                "DELETE FROM heard WHERE key IN (SELECT key FROM heard WHERE peer = ? ORDER BY key DESC LIMIT -1 OFFSET ?)",
            )?
            .execute((&peer, most.cast_signed()))?;
        Ok(())
    }

    /// Records what a peer's newest bundle shows: the tip, what it passes over, and the messages that it wants.
    pub fn set_standing(
        &self,
        key: PeerKey,
        newest: (Incarnation, u64),
        (shown, passes_over): (&Knowledge, Option<&PassesOver>),
        wants: &[Digest],
    ) -> Result<()> {
        let passes_over =
            passes_over.map(|passes| serde_json::to_string(passes).expect("it is two maps from strings to strings"));
        self.conn
            .prepare_cached(
                "UPDATE peer SET newest_incarnation = ?, newest_number = ?, shown = ?, passes_over = ? WHERE key = ?",
            )?
            .execute((newest.0.0.cast_signed(), newest.1.cast_signed(), json(shown), passes_over, key.0))?;
        self.conn.prepare_cached("DELETE FROM wanted WHERE peer = ?")?.execute([key.0])?;
        self.add_wanted(key, wants)
    }

    /// Records that a peer lacks these messages, though it may not have said so.
    pub fn add_wanted(&self, key: PeerKey, digests: &[Digest]) -> Result<()> {
        let mut statement = self.conn.prepare_cached("INSERT OR IGNORE INTO wanted (peer, digest) VALUES (?, ?)")?;
        for digest in digests {
            statement.execute((key.0, digest.0))?;
        }
        Ok(())
    }

    /// Records that a peer will have these messages.
    pub fn remove_wanted(&self, key: PeerKey, digests: &[Digest]) -> Result<()> {
        let mut statement = self.conn.prepare_cached("DELETE FROM wanted WHERE peer = ? AND digest = ?")?;
        for digest in digests {
            statement.execute((key.0, digest.0))?;
        }
        Ok(())
    }

    /// Takes back what a peer was thought to know, as far as it is of what is not known here any more: `cut` has where
    /// that ends now, for each incarnation. Which of its bundles is the newest is open then.
    pub fn cut_shown(&self, peer: &Peer, cut: &[(Incarnation, Clock)]) -> Result<()> {
        let lowered = |knowledge: &Option<Knowledge>| {
            let mut lower = knowledge.clone()?;
            for &(incarnation, to) in cut {
                lower.set(incarnation, to.min(lower.get(incarnation)));
            }
            (Some(&lower) != knowledge.as_ref()).then_some(lower)
        };
        if let Some(shown) = lowered(&peer.standing.shown) {
            self.conn
                .prepare_cached(
                    "UPDATE peer SET shown = ?, newest_incarnation = NULL, newest_number = NULL WHERE key = ?",
                )?
                .execute((json(&shown), peer.key.0))?;
        }
        if let Some(sent) = lowered(&peer.sent) {
            self.conn.prepare_cached("UPDATE peer SET sent = ? WHERE key = ?")?.execute((json(&sent), peer.key.0))?;
        }
        Ok(())
    }

    /// Records the tip, the number and the size of a bundle that was written for a peer.
    pub fn set_sent(&self, key: PeerKey, tip: &Knowledge, number: u64, size: u64, now: u64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE peer SET sent = ?, sent_number = ?, sent_bytes = ?, last_sent = ? WHERE key = ?")?
            .execute((json(tip), number.cast_signed(), size.cast_signed(), now.cast_signed(), key.0))?;
        Ok(())
    }

    /// Records the token by which a peer invited this replica; `None` once the peer knows this replica.
    pub fn set_peer_token(&self, key: PeerKey, token: Option<Token>) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE peer SET token = ? WHERE key = ?")?
            .execute((token.map(Token::to_bytes), key.0))?;
        Ok(())
    }

    /// Records the knowledge of a peer that was not heard of yet: the tip of its invitation.
    pub fn set_shown(&self, key: PeerKey, shown: &Knowledge) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET shown = ? WHERE key = ?")?.execute((json(shown), key.0))?;
        Ok(())
    }

    /// Records whether a peer's state digest differed from the one here at equal knowledge.
    pub fn set_suspect(&self, key: PeerKey, suspect: bool) -> Result<()> {
        self.conn.prepare_cached("UPDATE peer SET suspect = ? WHERE key = ?")?.execute((suspect, key.0))?;
        Ok(())
    }
}
