//! Statements about replicas.

use rusqlite::Row;

use super::codec::{clock_from, damaged};
use super::{State, Transaction};
use crate::bundle::{ReplicaId, ReplicaLine, ReplicaStatement};
use crate::error::Result;
use crate::model::{Incarnation, Stamp};

/// A statement about a replica, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSaying {
    /// The statement.
    pub statement: ReplicaStatement,
    /// The same as it travels. Its signatures were checked.
    pub line: ReplicaLine,
    /// The replica whose bundle has brought it. `None` if it was made here.
    pub carrier: Option<ReplicaId>,
    /// When it was made or heard here: milliseconds since 1970 UTC.
    pub heard: u64,
    /// Whether a person has said on this machine that it doesn't count.
    pub overruled: bool,
}

impl ReplicaSaying {
    /// Whether bundles take it along. What a person has said here and taken back here isn't; what others have said is, as
    /// whether it counts is each machine's own decision.
    pub fn is_passed_on(&self) -> bool {
        self.carrier.is_some() || !self.overruled
    }
}

const COLUMNS: &str = "clock, incarnation, signed, signature, countersignature, carrier, heard, overruled";

fn saying(row: &Row<'_>) -> Result<ReplicaSaying> {
    let stamp =
        Stamp { clock: clock_from(row.get(0)?)?, incarnation: Incarnation(row.get::<_, i64>(1)?.cast_unsigned()) };
    let line = ReplicaLine { stamp, signed: row.get(2)?, signature: row.get(3)?, countersignature: row.get(4)? };
    let carrier: Option<String> = row.get(5)?;
    Ok(ReplicaSaying {
        statement: line.statement().map_err(|_| damaged("a statement about a replica"))?,
        line,
        carrier: carrier.map(|id| id.parse().map_err(|_| damaged("who has brought a statement"))).transpose()?,
        heard: row.get::<_, i64>(6)?.cast_unsigned(),
        overruled: row.get(7)?,
    })
}

/// By what a statement takes the place of another one: its kind, the replica that it is about, its maker and, of a
/// succession, the new id. Of one key there can be two successions, if it is in two hands.
fn place(statement: &ReplicaStatement) -> (i64, String, String, String) {
    let (kind, object) = match statement {
        ReplicaStatement::Revocation(_) => (0, String::new()),
        ReplicaStatement::Succession(succession) => (1, succession.new.id().to_string()),
    };
    (kind, statement.about().to_string(), statement.by().to_string(), object)
}

impl State {
    /// All statements about replicas: those about one replica stand together.
    pub fn replica_sayings(&self) -> Result<Vec<ReplicaSaying>> {
        let sql = format!("SELECT {COLUMNS} FROM replica_statement ORDER BY about, kind, maker, object");
        let mut query = self.conn.prepare_cached(&sql)?;
        let mut rows = query.query([])?;
        let mut sayings = Vec::new();
        while let Some(row) = rows.next()? {
            sayings.push(saying(row)?);
        }
        Ok(sayings)
    }

    /// The statement that is kept in the place where this one belongs.
    pub fn replica_saying_like(&self, statement: &ReplicaStatement) -> Result<Option<ReplicaSaying>> {
        let mut query = self.conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM replica_statement WHERE kind = ? AND about = ? AND maker = ? AND object = ?"
        ))?;
        let mut rows = query.query(place(statement))?;
        rows.next()?.map(saying).transpose()
    }

    /// The number of statements about replicas.
    pub fn count_replica_sayings(&self) -> Result<u64> {
        let mut query = self.conn.prepare_cached("SELECT COUNT(*) FROM replica_statement")?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }
}

impl Transaction<'_> {
    /// Records a statement about a replica, in the place of the earlier one that it takes the place of. Its signatures
    /// have been checked.
    pub fn set_replica_saying(&self, saying: &ReplicaSaying) -> Result<()> {
        let ReplicaSaying { statement, line, carrier, heard, overruled } = saying;
        let (kind, about, maker, object) = place(statement);
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO replica_statement (kind, about, maker, object, clock, incarnation, signed, signature,
                     countersignature, carrier, heard, overruled)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                kind,
                about,
                maker,
                object,
                line.stamp.clock.bits().cast_signed(),
                line.stamp.incarnation.0.cast_signed(),
                &line.signed,
                &line.signature,
                &line.countersignature,
                carrier.map(|id| id.to_string()),
                heard.cast_signed(),
                overruled,
            ))?;
        Ok(())
    }
}
