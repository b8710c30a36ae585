//! Lists of files, each by the digest of what identifies it, of which the last ones are remembered.

use super::{State, Transaction};
use crate::error::Result;
use crate::model::Digest;

/// A table with such a list.
pub(super) struct FileList {
    pub table: &'static str,
    /// This many are remembered: those that were added last.
    pub most: i64,
}

impl State {
    pub(super) fn is_listed(&self, FileList { table, .. }: &FileList, file: &Digest) -> Result<bool> {
        Ok(self.conn.prepare_cached(&format!("SELECT 1 FROM {table} WHERE file = ?"))?.exists([file.0])?)
    }
}

impl Transaction<'_> {
    pub(super) fn add_listed(&self, FileList { table, most }: &FileList, files: &[Digest]) -> Result<()> {
        let mut insert = self.conn.prepare_cached(&format!("INSERT OR REPLACE INTO {table} (file) VALUES (?)"))?;
        for file in files {
            insert.execute([file.0])?;
        }
        self.conn
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE key <= (SELECT key FROM {table} ORDER BY key DESC LIMIT 1 OFFSET ?)"
            ))?
            .execute([most])?;
        Ok(())
    }
}
