//! What could not be done on disk, and why: collected while it is tried, then recorded until it is tried again.

use rusqlite::OptionalExtension;

use super::{EntryKey, FolderKey, State, Transaction};
use crate::error::Result;
use crate::model::{Digest, FolderName};

/// So much of what was done is forgotten in one statement.
const FORGOTTEN_AT_ONCE: u32 = 10_000;

/// Looks up each row in the list of what could not be done: with `NOT IN`, `SQLite` would read that list as a whole for each
/// statement.
const FORGET: &str = "DELETE FROM pending WHERE entry BETWEEN ? AND ? AND kind <> 3
     AND NOT EXISTS (SELECT 1 FROM temp.hindered WHERE kind = 1 AND key = pending.entry)";

/// What could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindered {
    /// A folder could not be made or removed, or keywords not be named in it.
    Folder(FolderKey),
    /// What is pending for an entry could not be done.
    Entry(EntryKey),
    /// A file could not be moved to the trash: the discard's number.
    Discard(i64),
}

/// What waits in a folder for something that only a person can put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The folder.
    pub folder: FolderName,
    /// How many changes of messages wait: none if it is the folder itself that can't be made or removed, or its keywords not
    /// be named.
    pub changes: u64,
    /// Why the first of them could not be made.
    pub why: String,
}

impl Hindered {
    fn columns(self) -> (i64, i64) {
        match self {
            Self::Folder(key) => (0, key.0),
            Self::Entry(key) => (1, key.0),
            Self::Discard(key) => (2, key),
        }
    }
}

impl State {
    /// Begins the list of what could not be done. It is a temporary table, as it may be long.
    pub fn clear_hindered(&self) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS hindered (
                 kind INTEGER NOT NULL, key INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
             DELETE FROM temp.hindered;",
        )?;
        Ok(())
    }

    /// Adds something to the list.
    pub fn add_hindered(&self, what: Hindered, reason: &str) -> Result<()> {
        let (kind, key) = what.columns();
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO temp.hindered (kind, key, reason) VALUES (?, ?, ?)")?
            .execute((kind, key, reason))?;
        Ok(())
    }

    /// How many stand on the list that aren't recorded as not done.
    pub fn count_newly_hindered(&self) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT COUNT(*) FROM temp.hindered h
             WHERE NOT EXISTS (SELECT 1 FROM obstacle o WHERE o.kind = h.kind AND o.key = h.key)",
        )?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Whether anything is recorded as not done, or stands on the list.
    pub fn is_hindered(&self) -> Result<bool> {
        let mut query =
            self.conn.prepare_cached("SELECT 1 FROM temp.hindered UNION ALL SELECT 1 FROM obstacle LIMIT 1")?;
        Ok(query.exists([])?)
    }

    /// What waits, and why, sorted by folder.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        // Beside MIN, a bare column is that of the row with the least value.
        let mut query = self.conn.prepare_cached(
            "SELECT folder, SUM(counts), MIN(rank), reason FROM (
                 SELECT o.key AS folder, 0 AS counts, 0 AS rank, o.reason FROM obstacle o WHERE o.kind = 0
                 UNION ALL
                 SELECT e.folder, 1, o.key, o.reason FROM obstacle o CROSS JOIN entry e ON e.key = o.key WHERE o.kind = 1
                 UNION ALL
                 SELECT d.folder, 1, o.key, o.reason FROM obstacle o JOIN discard d ON d.key = o.key WHERE o.kind = 2
             ) GROUP BY folder",
        )?;
        let mut rows = query.query([])?;
        let mut waiting = Vec::new();
        while let Some(row) = rows.next()? {
            let folder = self.folders.borrow().name(row.get(0)?)?;
            waiting.push(Waiting { folder, changes: row.get::<_, i64>(1)?.cast_unsigned(), why: row.get(3)? });
        }
        waiting.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(waiting)
    }

    /// The folders in whose `tmp/` messages may lie that are still to be delivered, or to be moved to the trash.
    pub fn folders_with_deliveries(&self) -> Result<Vec<FolderKey>> {
        let mut query = self.conn.prepare_cached(
            "SELECT COALESCE(p.from_folder, e.at_folder) FROM pending p CROSS JOIN entry e ON e.key = p.entry
             WHERE p.kind IN (1, 4) AND e.at_folder IS NOT NULL UNION SELECT folder FROM discard",
        )?;
        let keys = query.query_map([], |row| Ok(FolderKey(row.get(0)?)))?;
        Ok(keys.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether a message is still to be delivered, or to be moved to the trash, somewhere.
    pub fn is_needed_on_disk(&self, digest: &Digest) -> Result<bool> {
        let mut query = self.conn.prepare_cached(
            "SELECT 1 FROM entry e CROSS JOIN pending p ON p.entry = e.key WHERE e.digest = ?1 AND p.kind IN (0, 1, 4)
             UNION ALL SELECT 1 FROM discard WHERE digest = ?1 LIMIT 1",
        )?;
        Ok(query.exists([digest.0])?)
    }
}

impl Transaction<'_> {
    /// Everything was done, except what is on the list and what is to be reconsidered. The list is recorded in place of
    /// what was recorded before, but for what was to be reconsidered, which was not tried.
    pub fn record_hindered(&self) -> Result<()> {
        self.conn.execute_batch(
            "DELETE FROM obstacle WHERE kind <> 1 OR key NOT IN (SELECT entry FROM pending WHERE kind = 3);
             INSERT OR REPLACE INTO obstacle SELECT kind, key, reason FROM temp.hindered;",
        )?;
        self.forget_done(FORGOTTEN_AT_ONCE)
    }

    /// Forgets what was done, some of it at a time: `SQLite` notes each row first that such a statement is to delete.
    fn forget_done(&self, at_once: u32) -> Result<()> {
        let mut last =
            self.conn.prepare_cached("SELECT entry FROM pending WHERE entry >= ? ORDER BY entry LIMIT 1 OFFSET ?")?;
        let mut forget = self.conn.prepare_cached(FORGET)?;
        let mut first = i64::MIN;
        loop {
            let last = last.query_row((first, at_once), |row| row.get::<_, i64>(0)).optional()?;
            forget.execute([first, last.unwrap_or(i64::MAX)])?;
            let Some(last) = last else { return Ok(()) };
            first = last + 1;
        }
    }

    /// A file on the list that could not be moved is still where it was. So its entry is there, too, and what is to be
    /// done with it is decided anew after the next scan.
    pub fn take_back_moves(&self) -> Result<()> {
        let mut query = self.conn.prepare_cached(
            "SELECT e.at_folder, p.from_folder, e.size FROM temp.hindered h CROSS JOIN pending p ON p.entry = h.key
             CROSS JOIN entry e ON e.key = h.key WHERE h.kind = 1 AND p.kind = 2",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let folder = |column| row.get::<_, Option<i64>>(column).map(|key| key.map(FolderKey));
            self.recount_file(folder(0)?, folder(1)?, row.get::<_, i64>(2)?.cast_unsigned());
        }
        self.conn.execute_batch(
            "UPDATE entry SET at_folder = NULL, at_sub = NULL, at_name = NULL WHERE key IN
                 (SELECT p.entry FROM pending p JOIN temp.hindered h ON h.kind = 1 AND h.key = p.entry WHERE p.kind = 2);
             UPDATE entry SET at_folder = p.from_folder, at_sub = p.from_sub, at_name = p.from_name FROM pending p
                 JOIN temp.hindered h ON h.kind = 1 AND h.key = p.entry WHERE p.entry = entry.key AND p.kind = 2;
             UPDATE pending SET kind = 3, from_folder = NULL, from_sub = NULL, from_name = NULL WHERE kind = 2
                 AND entry IN (SELECT key FROM temp.hindered WHERE kind = 1);",
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{fresh, plan};

    #[test]
    fn what_was_done_is_forgotten_and_what_could_not_be_or_was_not_tried_stays_however_much_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        // Every third was not tried.
        let add = |entry: i64| {
            let kind = if entry % 3 == 0 { 3 } else { 1 };
            tx.conn.execute("INSERT OR REPLACE INTO pending (entry, kind) VALUES (?, ?)", (entry, kind)).unwrap();
        };
        for at_once in [0, 1, 2, 4, 9, 10, 11] {
            (1..=10).for_each(add);
            tx.clear_hindered().unwrap();
            for hindered in [Hindered::Entry(EntryKey(4)), Hindered::Entry(EntryKey(10)), Hindered::Discard(7)] {
                tx.add_hindered(hindered, "why").unwrap();
            }
            tx.forget_done(at_once).unwrap();
            let mut left = tx.conn.prepare("SELECT entry FROM pending ORDER BY entry").unwrap();
            let left = left.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<Vec<i64>>>();
            assert_eq!(left.unwrap(), [3, 4, 6, 9, 10], "{at_once}");
        }
        for step in plan(&tx.conn, FORGET) {
            assert!(!step.contains("LIST SUBQUERY") && !step.starts_with("SCAN"), "{step}");
        }
    }
}
