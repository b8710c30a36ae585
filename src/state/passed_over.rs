//! Files that were told to be no bundles, or were found to be of no use here, so that they are told only once as a
//! failure, and looked at only once.

use super::{State, Transaction};
use crate::error::Result;
use crate::model::Digest;

/// This many are remembered: those that were seen last.
const MOST: i64 = 20_000;

impl State {
    /// Whether a file was told to be no bundle. The digest is that of what identifies it.
    pub fn was_passed_over(&self, file: &Digest) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM passed_over WHERE file = ?")?.exists([file.0])?)
    }
}

impl Transaction<'_> {
    /// Remembers that these files are told to be no bundles, or of no use here.
    pub fn pass_over(&self, files: &[Digest]) -> Result<()> {
        let mut insert = self.conn.prepare_cached("INSERT OR REPLACE INTO passed_over (file) VALUES (?)")?;
        for file in files {
            insert.execute([file.0])?;
        }
        self.conn
            .prepare_cached(
                "DELETE FROM passed_over WHERE key <= (SELECT key FROM passed_over ORDER BY key DESC LIMIT 1 OFFSET ?)",
            )?
            .execute([MOST])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::fresh;

    #[test]
    fn the_last_files_are_remembered_and_not_more_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let file = |n: i64| Digest::of(&n.to_le_bytes());
        let tx = state.begin().unwrap();
        let some: Vec<Digest> = (0..MOST).map(file).collect();
        tx.pass_over(&some).unwrap();
        for n in [5, MOST, 5, MOST + 1] {
            tx.pass_over(&[file(n)]).unwrap();
        }
        for (n, remembered) in [(0, false), (1, false), (2, true), (5, true), (4, true), (MOST + 1, true)] {
            assert_eq!(tx.was_passed_over(&file(n)).unwrap(), remembered, "{n}");
        }
        let count: i64 = tx.conn.query_row("SELECT count(*) FROM passed_over", [], |row| row.get(0)).unwrap();
        assert_eq!(count, MOST);
    }
}
