//! History: what was done, for people to read.

use super::{State, Transaction};
use crate::error::Result;

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, in milliseconds since 1970 UTC.
    pub at: u64,
    /// The command that did it.
    pub command: String,
    /// The peer concerned.
    pub peer: Option<String>,
    /// What was done.
    pub text: String,
}

impl State {
    /// The last things that were done, at most `limit`, the oldest of them first.
    pub fn history(&self, limit: u64) -> Result<Vec<Event>> {
        let mut query = self.conn.prepare_cached(
            "SELECT at, command, peer, text FROM (SELECT * FROM history ORDER BY key DESC LIMIT ?) ORDER BY key",
        )?;
        let rows = query.query_map([limit.min(i64::MAX.cast_unsigned()).cast_signed()], |row| {
            Ok(Event {
                at: row.get::<_, i64>(0)?.cast_unsigned(),
                command: row.get(1)?,
                peer: row.get(2)?,
                text: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Transaction<'_> {
    /// Records that something was done at `now` (milliseconds since 1970 UTC).
    pub fn record(&self, now: u64, command: &str, peer: Option<&str>, text: &str) -> Result<()> {
        self.conn.prepare_cached("INSERT INTO history (at, command, peer, text) VALUES (?, ?, ?, ?)")?.execute((
            now.cast_signed(),
            command,
            peer,
            text,
        ))?;
        Ok(())
    }

    /// Dates what was done at a time that can't be (before `from`, after `to`) as if it had been done `now`. All are milliseconds
    /// since 1970 UTC.
    pub fn date_history_anew(&self, from: u64, to: u64, now: u64) -> Result<()> {
        self.conn.prepare_cached("UPDATE history SET at = ? WHERE at NOT BETWEEN ? AND ?")?.execute((
            now.cast_signed(),
            from.cast_signed(),
            to.cast_signed(),
        ))?;
        Ok(())
    }

    /// Forgets what was done before a time (milliseconds since 1970 UTC). Returns how much that was.
    pub fn purge_history(&self, before: u64) -> Result<u64> {
        Ok(self.conn.execute("DELETE FROM history WHERE at < ?", [before.cast_signed()])? as u64)
    }
}
