//! Successions that were believed: which key a replica has now, and which ones it had; and this replica's own id.

use rusqlite::{OptionalExtension, Row};

use super::codec::damaged;
use super::{State, Transaction, name};
use crate::bundle::{PublicKey, ReplicaId};
use crate::error::Result;
use crate::model::Incarnation;

/// A key that a replica had, and what followed it.
#[derive(Clone, Debug)]
pub struct Succeeded {
    /// Its fingerprint, which was the replica's id.
    pub old: ReplicaId,
    /// The id of the key that followed it.
    pub next: ReplicaId,
    /// The id of the key that the replica has now.
    pub now: ReplicaId,
    /// The key.
    pub public_key: PublicKey,
    /// The incarnation of its last bundle.
    pub incarnation: Incarnation,
    /// The number of the last bundle of that incarnation that it has signed.
    pub last: u64,
    /// When it was succeeded, by its replica's clock: milliseconds since 1970 UTC.
    pub at: u64,
    /// Another key that is said to follow it: one of the two is somebody else's.
    pub rival: Option<PublicKey>,
    /// Whether a person has decided which of the two it is.
    pub settled: bool,
}

const COLUMNS: &str = "old, next, now, public_key, incarnation, last, at, rival, settled";

/// The columns that name a replica by its present id, but for `heard` and `forgotten_up_to`, of which there may be two
/// rows then. What was signed names the id that it was signed with, and stays.
const NAMING: [(&str, &str); 8] = [
    ("knowledge", "told_by"),
    ("knowledge", "first_by"),
    ("used_token", "used_by"),
    ("job", "requester"),
    ("job", "target"),
    ("forgotten_job", "requester"),
    ("replica_statement", "carrier"),
    ("succeeded", "now"),
];

fn succeeded(row: &Row<'_>) -> Result<Succeeded> {
    let id = |column| -> Result<ReplicaId> {
        row.get::<_, String>(column)?.parse().map_err(|_| damaged("the id of a key that was succeeded"))
    };
    let key = |text: &str| PublicKey::from_openssh(text).map_err(|_| damaged("a key that was succeeded"));
    let rival: Option<String> = row.get(7)?;
    Ok(Succeeded {
        old: id(0)?,
        next: id(1)?,
        now: id(2)?,
        public_key: key(&row.get::<_, String>(3)?)?,
        incarnation: Incarnation(row.get::<_, i64>(4)?.cast_unsigned()),
        last: row.get::<_, i64>(5)?.cast_unsigned(),
        at: row.get::<_, i64>(6)?.cast_unsigned(),
        rival: rival.map(|text| key(&text)).transpose()?,
        settled: row.get(8)?,
    })
}

impl State {
    /// What followed the key with this id. `None` if nothing is known to.
    pub fn succeeded(&self, old: &ReplicaId) -> Result<Option<Succeeded>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM succeeded WHERE old = ?"))?;
        let mut rows = query.query([old.to_string()])?;
        rows.next()?.map(succeeded).transpose()
    }

    /// The keys that the replica had which has this one now, the latest of them last.
    pub fn former_keys_of(&self, now: &ReplicaId) -> Result<Vec<Succeeded>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM succeeded WHERE now = ?"))?;
        let mut rows = query.query([now.to_string()])?;
        let mut left = Vec::new();
        while let Some(row) = rows.next()? {
            left.push(succeeded(row)?);
        }
        // Each follows another: from the present one backwards.
        let (mut next, mut chain) = (*now, Vec::with_capacity(left.len()));
        while let Some(at) = left.iter().position(|key| key.next == next) {
            let key = left.swap_remove(at);
            next = key.old;
            chain.push(key);
        }
        chain.reverse();
        Ok(chain)
    }

    /// Of each key that another one has followed, the ids of the two.
    pub fn all_succeeded(&self) -> Result<Vec<(ReplicaId, ReplicaId)>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM succeeded"))?;
        let mut rows = query.query([])?;
        let mut pairs = Vec::new();
        while let Some(row) = rows.next()? {
            let key = succeeded(row)?;
            pairs.push((key.old, key.next));
        }
        Ok(pairs)
    }

    /// All keys for which there are two successions, and nobody has decided between them.
    pub fn contested_keys(&self) -> Result<Vec<Succeeded>> {
        let mut query = self.conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM succeeded WHERE rival IS NOT NULL AND settled = 0 ORDER BY old"
        ))?;
        let mut rows = query.query([])?;
        let mut contested = Vec::new();
        while let Some(row) = rows.next()? {
            contested.push(succeeded(row)?);
        }
        Ok(contested)
    }

    /// The id that a replica has now of which this is an id.
    pub fn present_id(&self, id: &ReplicaId) -> Result<ReplicaId> {
        let mut query = self.conn.prepare_cached("SELECT now FROM succeeded WHERE old = ?")?;
        let now: Option<String> = query.query_row([id.to_string()], |row| row.get(0)).optional()?;
        now.map_or(Ok(*id), |now| now.parse().map_err(|_| damaged("the id of a key that was succeeded")))
    }

    /// The id of this replica, as it was when the state was last written to. `None` before that.
    pub fn own_id(&self) -> Result<Option<ReplicaId>> {
        let id: Option<String> = self.meta(name::REPLICA_ID)?;
        id.map(|id| id.parse().map_err(|_| damaged("the id of this replica"))).transpose()
    }

    /// The number of the last bundle that was planned.
    pub fn last_number(&self) -> Result<u64> {
        Ok(self.meta::<i64>(name::NUMBER)?.unwrap_or(0).cast_unsigned())
    }
}

impl Transaction<'_> {
    /// Records the id of this replica.
    pub fn set_own_id(&self, id: &ReplicaId) -> Result<()> {
        self.set_meta(name::REPLICA_ID, id.to_string())
    }

    /// Records that no peer has shown to know this replica's present key.
    pub fn nobody_knows_key(&self) -> Result<()> {
        self.conn.execute("UPDATE peer SET knows_key = 0", [])?;
        Ok(())
    }

    /// Records a succession that is believed.
    pub fn set_succeeded(&self, key: &Succeeded) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO succeeded (old, next, now, public_key, incarnation, last, at, rival, settled)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                key.old.to_string(),
                key.next.to_string(),
                key.now.to_string(),
                key.public_key.to_openssh(),
                key.incarnation.0.cast_signed(),
                key.last.cast_signed(),
                key.at.cast_signed(),
                key.rival.as_ref().map(PublicKey::to_openssh),
                key.settled,
            ))?;
        Ok(())
    }

    /// Takes back that another key has followed the one with this id.
    pub fn remove_succeeded(&self, old: &ReplicaId) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM succeeded WHERE old = ?")?.execute([old.to_string()])?;
        Ok(())
    }

    /// Puts an id in the place of another one, wherever the state names the replica by it, except for its record as a peer.
    pub fn replace_id(&self, old: &ReplicaId, new: &ReplicaId) -> Result<()> {
        let (old, new) = (old.to_string(), new.to_string());
        for (table, column) in NAMING {
            let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1");
            self.conn.prepare_cached(&sql)?.execute((&old, &new))?;
        }
        // A replica that was heard by both ids is one: what it said by either counts.
        self.conn
            .prepare_cached(
                "INSERT INTO heard (peer, incarnation, number, own)
                     SELECT ?2, incarnation, number, own FROM heard WHERE peer = ?1 ORDER BY key
                 ON CONFLICT (peer, incarnation) DO UPDATE
                     SET number = MAX(number, excluded.number), own = MAX(own, excluded.own)",
            )?
            .execute((&old, &new))?;
        self.conn.prepare_cached("DELETE FROM heard WHERE peer = ?")?.execute([&old])?;
        self.conn
            .prepare_cached(
                "INSERT INTO forgotten_up_to (requester, made)
                     SELECT ?2, made FROM forgotten_up_to WHERE requester = ?1
                 ON CONFLICT (requester) DO UPDATE SET made = MAX(made, excluded.made)",
            )?
            .execute((&old, &new))?;
        self.conn.prepare_cached("DELETE FROM forgotten_up_to WHERE requester = ?")?.execute([&old])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::PrivateKey;
    use crate::model::{Clock, Incarnation};
    use crate::state::testing::fresh;

    /// Every column in which an id can stand, found by its contents: so a new one isn't forgotten.
    fn naming(state: &State, id: &ReplicaId) -> Vec<String> {
        let mut found = Vec::new();
        let mut tables = state.conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(|name| name.unwrap()).collect();
        for table in tables {
            let mut columns = state.conn.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
            let columns: Vec<String> =
                columns.query_map([], |row| row.get(0)).unwrap().map(|name| name.unwrap()).collect();
            for column in columns {
                let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} = ?");
                let count: i64 = state.conn.query_row(&sql, [id.to_string()], |row| row.get(0)).unwrap();
                if count > 0 {
                    found.push(format!("{table}.{column}"));
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn an_id_is_replaced_wherever_it_names_the_replica() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let [old, new, third] = [(), (), ()].map(|()| PrivateKey::generate("x").unwrap().public_key());
        let tx = state.begin().unwrap();
        for (number, (table, column)) in NAMING.into_iter().enumerate() {
            // Whatever else stands in such a row; two columns of one table get a row each.
            let mut columns = Vec::new();
            let mut info =
                tx.conn.prepare(&format!("SELECT name, type, pk FROM pragma_table_info('{table}')")).unwrap();
            let mut rows = info.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let (name, kind): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
                let value = match &*kind {
                    _ if name == column => format!("'{}'", old.id()),
                    "INTEGER" => (number + 7).to_string(),
                    "BLOB" => format!("randomblob({})", 16),
                    _ => format!("'{table} {column}'"),
                };
                if !(table == "job" && name == "key") {
                    columns.push((name, value));
                }
            }
            let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
            let sql = format!("INSERT OR REPLACE INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
            tx.conn.execute(&sql, []).unwrap();
        }
        let own = Clock::from_bits(9).unwrap();
        for (key, incarnation, number) in [(&old, 1, 5), (&old, 2, 6), (&new, 2, 4), (&third, 2, 1)] {
            tx.set_heard_number(&key.id(), Incarnation(incarnation), number, 10).unwrap();
        }
        tx.set_proven(&old.id(), Incarnation(2), own).unwrap();
        tx.conn
            .execute("INSERT INTO forgotten_up_to VALUES (?, 3), (?, 2)", [old.id(), new.id()].map(|id| id.to_string()))
            .unwrap();
        let before = naming(&tx, &old.id());
        assert_eq!(before.len(), NAMING.len() + 2, "{before:?}");

        tx.replace_id(&old.id(), &new.id()).unwrap();
        assert_eq!(naming(&tx, &old.id()), Vec::<String>::new());
        assert_eq!(naming(&tx, &new.id()), before);
        assert_eq!(tx.heard_number(&new.id(), Incarnation(1)).unwrap(), Some(5));
        assert_eq!(tx.heard_number(&new.id(), Incarnation(2)).unwrap(), Some(6));
        assert_eq!(tx.heard_number(&third.id(), Incarnation(2)).unwrap(), Some(1));
        let made: i64 = tx.conn.query_row("SELECT made FROM forgotten_up_to", [], |row| row.get(0)).unwrap();
        assert_eq!(made, 3);
    }

    #[test]
    fn the_keys_that_a_replica_had_are_given_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let keys: Vec<_> = (0..5).map(|_| PrivateKey::generate("x").unwrap().public_key()).collect();
        let tx = state.begin().unwrap();
        for (n, pair) in keys.windows(2).enumerate() {
            tx.set_succeeded(&Succeeded {
                old: pair[0].id(),
                next: pair[1].id(),
                now: pair[1].id(),
                public_key: pair[0].clone(),
                incarnation: Incarnation(1),
                last: n as u64,
                at: 1,
                rival: None,
                settled: false,
            })
            .unwrap();
            tx.replace_id(&pair[0].id(), &pair[1].id()).unwrap();
        }
        tx.commit().unwrap();
        let had: Vec<_> = state.former_keys_of(&keys[4].id()).unwrap().iter().map(|key| key.old).collect();
        assert_eq!(had, keys[..4].iter().map(PublicKey::id).collect::<Vec<_>>());
        for key in &keys {
            assert_eq!(state.present_id(&key.id()).unwrap(), keys[4].id());
        }
        assert!(state.former_keys_of(&keys[3].id()).unwrap().is_empty());
        assert_eq!(state.succeeded(&keys[1].id()).unwrap().unwrap().last, 1);
        assert!(state.contested_keys().unwrap().is_empty());
    }
}
