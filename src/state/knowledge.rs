//! The replica's knowledge, its horizon, and the stamps that it has issued.

use rusqlite::OptionalExtension;

use super::codec::{clock_from, damaged};
use super::{State, Transaction};
use crate::bundle::ReplicaId;
use crate::error::{Error, Result};
use crate::model::{Clock, Incarnation, Knowledge, Stamp};

impl State {
    /// This replica's knowledge.
    pub fn knowledge(&self) -> Result<Knowledge> {
        self.knowledge_column("SELECT incarnation, known FROM knowledge WHERE known > 0")
    }

    /// The horizon: the knowledge of all removals that were purged.
    pub fn horizon(&self) -> Result<Knowledge> {
        self.knowledge_column("SELECT incarnation, horizon FROM knowledge WHERE horizon > 0")
    }

    fn knowledge_column(&self, query: &str) -> Result<Knowledge> {
        let mut query = self.conn.prepare_cached(query)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        rows.map(|row| {
            let (incarnation, clock) = row?;
            Ok((Incarnation(incarnation.cast_unsigned()), clock_from(clock)?))
        })
        .collect()
    }

    /// Whether the present incarnation has issued a stamp with this clock.
    pub fn has_issued(&self, clock: Clock) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM issued WHERE clock = ?")?;
        Ok(query.exists([clock.bits().cast_signed()])?)
    }

    /// Whose bundle has last raised what is known of an incarnation. `None` if it is one of this replica's own, if
    /// nothing is known of it, or if that was not recorded.
    pub fn told_by(&self, incarnation: Incarnation) -> Result<Option<ReplicaId>> {
        let mut query = self.conn.prepare_cached("SELECT told_by FROM knowledge WHERE incarnation = ?")?;
        let told: Option<Option<String>> =
            query.query_row([incarnation.0.cast_signed()], |row| row.get(0)).optional()?;
        told.flatten().map(|id| id.parse().map_err(|_| damaged("who has told of an incarnation"))).transpose()
    }

    /// The incarnations that bundles of the replica with this id have made known from `since` on, and when each: milliseconds since
    /// 1970 UTC, by this machine's clock.
    pub fn first_heard_from(&self, id: &ReplicaId, since: u64) -> Result<Vec<(Incarnation, u64)>> {
        let mut query = self.conn.prepare_cached(
            "SELECT incarnation, first_at FROM knowledge WHERE first_by = ? AND first_at >= ? ORDER BY incarnation",
        )?;
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let rows =
            query.query_map((id.to_string(), since), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok(rows
            .map(|row| row.map(|(incarnation, at)| (Incarnation(incarnation.cast_unsigned()), at.cast_unsigned())))
            .collect::<rusqlite::Result<_>>()?)
    }

    /// What came of each incarnation in bundles of its own, from replicas that are peers; of those that this replica, which
    /// has this id, has left by a new identity, what it had issued, and of its present one all that is known.
    pub fn proven(&self, me: &ReplicaId) -> Result<Knowledge> {
        let mut query = self.conn.prepare_cached(
            "SELECT incarnation, own FROM heard WHERE own > 0 AND (peer = ? OR peer IN (SELECT id FROM peer))",
        )?;
        let rows = query.query_map([me.to_string()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let proven: Result<Knowledge> = rows
            .map(|row| {
                let (incarnation, clock) = row?;
                Ok((Incarnation(incarnation.cast_unsigned()), clock_from(clock)?))
            })
            .collect();
        let (mut proven, incarnation) = (proven?, self.incarnation()?);
        proven.set(incarnation, self.knowledge()?.get(incarnation));
        Ok(proven)
    }

    /// The incarnations of the replica with this id, as far as its own bundles have shown them; `me` is this replica's. One
    /// that another replica has called its own as well is given only with `disputed`.
    pub fn incarnations_claimed_by(&self, id: &ReplicaId, me: &ReplicaId, disputed: bool) -> Result<Vec<Incarnation>> {
        let mut query = self.conn.prepare_cached(
            "SELECT incarnation FROM heard h WHERE peer = ?1 AND incarnation <> ?2
             AND (?3 OR NOT EXISTS (SELECT 1 FROM heard o WHERE o.incarnation = h.incarnation AND o.peer <> ?1))",
        )?;
        let mine = self.incarnation()?;
        let rows = query.query_map((id.to_string(), mine.0.cast_signed(), disputed), |row| row.get::<_, i64>(0))?;
        let mut all = rows.map(|row| Ok(Incarnation(row?.cast_unsigned()))).collect::<rusqlite::Result<Vec<_>>>()?;
        if id == me {
            all.push(mine);
        }
        Ok(all)
    }

    /// The replicas whose own bundles have shown this incarnation as theirs; `me` is this replica's id. More than one, if
    /// somebody lies.
    pub fn replicas_of(&self, incarnation: Incarnation, me: &ReplicaId) -> Result<Vec<ReplicaId>> {
        if incarnation == self.incarnation()? {
            return Ok(vec![*me]);
        }
        let mut query = self.conn.prepare_cached("SELECT peer FROM heard WHERE incarnation = ? ORDER BY peer")?;
        let rows = query.query_map([incarnation.0.cast_signed()], |row| row.get::<_, String>(0))?;
        heard_ids(rows)
    }

    /// All replicas whose own bundles have shown incarnations as theirs, peers or not.
    pub fn all_heard(&self) -> Result<Vec<ReplicaId>> {
        let mut query = self.conn.prepare_cached("SELECT DISTINCT peer FROM heard ORDER BY peer")?;
        let rows = query.query_map((), |row| row.get::<_, String>(0))?;
        heard_ids(rows)
    }

    /// The incarnations whose own bundles have denied what is known of them here.
    pub fn denied(&self) -> Result<Vec<Incarnation>> {
        let mut query = self.conn.prepare_cached("SELECT incarnation FROM knowledge WHERE denied <> 0")?;
        let rows = query.query_map([], |row| row.get::<_, i64>(0))?;
        Ok(rows.map(|row| Ok(Incarnation(row?.cast_unsigned()))).collect::<rusqlite::Result<_>>()?)
    }

    /// For each incarnation the newest clock, up to `last`, of all that is here: entries, folders and statements about
    /// jobs and replicas.
    pub fn newest_held(&self, last: Clock) -> Result<Knowledge> {
        let mut query = self.conn.prepare_cached(
            "SELECT incarnation, MAX(clock) FROM (
                 SELECT incarnation, clock FROM change WHERE clock <= ?1
                 UNION ALL SELECT incarnation, clock FROM folder WHERE clock <= ?1
                 UNION ALL SELECT incarnation, clock FROM statement WHERE clock <= ?1
                 UNION ALL SELECT incarnation, clock FROM replica_statement WHERE clock <= ?1
             ) GROUP BY incarnation",
        )?;
        let rows = query.query_map([last.bits().cast_signed()], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
        rows.map(|row| {
            let (incarnation, clock) = row?;
            Ok((Incarnation(incarnation.cast_unsigned()), clock_from(clock)?))
        })
        .collect()
    }

    /// The newest clock of this incarnation of all that is here: entries, folders and statements; [`Clock::ZERO`] if there is
    /// nothing of it.
    pub fn newest_held_of(&self, incarnation: Incarnation) -> Result<Clock> {
        let mut query = self.conn.prepare_cached(
            "SELECT MAX(clock) FROM (
                 SELECT MAX(clock) AS clock FROM change WHERE incarnation = ?1
                 UNION ALL SELECT MAX(clock) FROM folder WHERE incarnation = ?1
                 UNION ALL SELECT MAX(clock) FROM statement WHERE incarnation = ?1
                 UNION ALL SELECT MAX(clock) FROM replica_statement WHERE incarnation = ?1
             )",
        )?;
        let newest: Option<i64> = query.query_row([incarnation.0.cast_signed()], |row| row.get(0))?;
        newest.map_or(Ok(Clock::ZERO), clock_from)
    }

    /// The newest `limit` clocks of the stamps that the present incarnation has issued after `base`, ascending.
    pub fn newest_issued_after(&self, base: Clock, limit: usize) -> Result<Vec<Clock>> {
        let mut query =
            self.conn.prepare_cached("SELECT clock FROM issued WHERE clock > ? ORDER BY clock DESC LIMIT ?")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = query.query_map((base.bits().cast_signed(), limit), |row| row.get(0))?;
        let mut clocks = rows.map(|row| clock_from(row?)).collect::<Result<Vec<_>>>()?;
        clocks.reverse();
        Ok(clocks)
    }

    /// The clocks of the stamps that the present incarnation has issued after `base`, ascending.
    pub fn issued_after(&self, base: Clock) -> Result<Vec<Clock>> {
        let mut query = self.conn.prepare_cached("SELECT clock FROM issued WHERE clock > ? ORDER BY clock")?;
        let rows = query.query_map([base.bits().cast_signed()], |row| row.get(0))?;
        rows.map(|row| clock_from(row?)).collect()
    }
}

impl Transaction<'_> {
    /// Records this replica's knowledge.
    ///
    /// # Errors
    /// It names more incarnations than a bundle can. Nothing was recorded.
    pub fn set_knowledge(&self, knowledge: &Knowledge) -> Result<()> {
        check_incarnations(knowledge)?;
        self.conn.execute("UPDATE knowledge SET known = 0", [])?;
        let mut statement = self.conn.prepare_cached(
            "INSERT INTO knowledge (incarnation, known, horizon) VALUES (?, ?, 0)
             ON CONFLICT (incarnation) DO UPDATE SET known = excluded.known",
        )?;
        for (incarnation, clock) in knowledge.iter() {
            statement.execute((incarnation.0.cast_signed(), clock.bits().cast_signed()))?;
        }
        Ok(())
    }

    /// Learns what the replica with this id knows, and that it was told by it. Of an incarnation of which nothing was known,
    /// that counts as who has made it known, at this time (milliseconds since 1970 UTC); without one nobody does.
    ///
    /// # Errors
    /// With that there would be more incarnations than a bundle can name. Nothing was recorded.
    pub fn learn(&self, theirs: &Knowledge, from: &ReplicaId, first_at: Option<u64>) -> Result<()> {
        let mine = self.knowledge()?;
        let mut all = mine.clone();
        all.join(theirs);
        check_incarnations(&all)?;
        let mut statement = self.conn.prepare_cached(
            // A horizon alone can have made the row.
            "INSERT INTO knowledge (incarnation, known, horizon, told_by, first_by, first_at) VALUES (?, ?, 0, ?, ?, ?)
             ON CONFLICT (incarnation) DO UPDATE SET known = excluded.known, told_by = excluded.told_by,
                 first_by = CASE WHEN known > 0 OR first_by IS NOT NULL THEN first_by ELSE excluded.first_by END,
                 first_at = CASE WHEN known > 0 OR first_by IS NOT NULL THEN first_at ELSE excluded.first_at END",
        )?;
        let from = from.to_string();
        let (first_by, first_at) = (first_at.map(|_| &from), first_at.map(u64::cast_signed));
        for (incarnation, clock) in mine.missing(theirs) {
            let (incarnation, clock) = (incarnation.0.cast_signed(), clock.bits().cast_signed());
            statement.execute((incarnation, clock, &from, first_by, first_at))?;
        }
        Ok(())
    }

    /// Records whether an incarnation's own bundles have denied what is known of it.
    pub fn set_denied(&self, incarnation: Incarnation, denied: bool) -> Result<()> {
        let mut statement = self.conn.prepare_cached("UPDATE knowledge SET denied = ? WHERE incarnation = ?")?;
        statement.execute((denied, incarnation.0.cast_signed()))?;
        Ok(())
    }

    /// Records that an incarnation's own bundles, from the replica with this id, were taken in up to this clock.
    pub fn set_proven(&self, peer: &ReplicaId, incarnation: Incarnation, clock: Clock) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO heard (peer, incarnation, number, own) VALUES (?, ?, 0, ?)
                 ON CONFLICT (peer, incarnation) DO UPDATE SET own = MAX(own, excluded.own)",
            )?
            .execute((peer.to_string(), incarnation.0.cast_signed(), clock.bits().cast_signed()))?;
        Ok(())
    }

    /// Forgets the incarnations of which neither anything is known nor anything was forgotten.
    pub fn forget_unknown_incarnations(&self) -> Result<()> {
        self.conn.execute("DELETE FROM knowledge WHERE known = 0 AND horizon = 0", [])?;
        self.conn.execute("UPDATE knowledge SET denied = 0", [])?;
        Ok(())
    }

    /// Records the horizon.
    ///
    /// # Errors
    /// It names more incarnations than a bundle can. Nothing was recorded.
    pub fn set_horizon(&self, horizon: &Knowledge) -> Result<()> {
        check_incarnations(horizon)?;
        self.conn.execute("UPDATE knowledge SET horizon = 0", [])?;
        let mut statement = self.conn.prepare_cached(
            "INSERT INTO knowledge (incarnation, known, horizon) VALUES (?, 0, ?)
             ON CONFLICT (incarnation) DO UPDATE SET horizon = excluded.horizon",
        )?;
        for (incarnation, clock) in horizon.iter() {
            statement.execute((incarnation.0.cast_signed(), clock.bits().cast_signed()))?;
        }
        Ok(())
    }

    /// Issues a stamp for changes made at `now` (milliseconds since 1970 UTC), above everything known.
    ///
    /// # Errors
    /// The clock is used up, as a peer's clock is wrong by thousands of years.
    pub fn issue(&self, now: u64) -> Result<Stamp> {
        let mut knowledge = self.knowledge()?;
        let clock = Clock::next(now, knowledge.newest()).ok_or_else(|| {
            Error::failed("making a stamp: the clock that the peers have shown is at its end, thousands of years ahead")
                .advise(
                    "set the clock of the machine that has it, or remove that peer, then run `mailsync doctor --repair` here and \
                     on the others",
                )
        })?;
        let stamp = Stamp { clock, incarnation: self.incarnation()? };
        knowledge.learn(stamp);
        self.set_knowledge(&knowledge)?;
        self.record_issued(clock)?;
        Ok(stamp)
    }

    /// Records that the present incarnation has issued a stamp with this clock.
    pub fn record_issued(&self, clock: Clock) -> Result<()> {
        let mut statement = self.conn.prepare_cached("INSERT OR IGNORE INTO issued (clock) VALUES (?)")?;
        statement.execute([clock.bits().cast_signed()])?;
        Ok(())
    }
}

/// What is known goes into every bundle and is read from it again: no more is recorded than these can hold.
fn heard_ids(ids: impl Iterator<Item = rusqlite::Result<String>>) -> Result<Vec<ReplicaId>> {
    ids.map(|id| id?.parse().map_err(|_| damaged("the id of a replica that was heard of"))).collect()
}

fn check_incarnations(knowledge: &Knowledge) -> Result<()> {
    if knowledge.len() <= Knowledge::MOST_INCARNATIONS {
        return Ok(());
    }
    let most = Knowledge::MOST_INCARNATIONS;
    Err(Error::failed(format!("recording what is known: it would be of more than {most} incarnations, and no bundle can name them"))
        .advise(
            "run `mailsync doctor --repair` here and on the others, which forgets those that nobody has; if a peer draws so many, \
             remove it first with `mailsync peer remove`",
        ))
}
