//! The files of the mail that a command changes: a temporary table that `SQLite` itself fills whenever the place of an
//! entry's file is written. So it is undone with whatever is undone, and costs no memory however long it gets.

use super::{Place, State};
use crate::error::Result;

impl State {
    /// From here on, until this state is closed, the places are kept that files come to and that they leave.
    ///
    /// # Errors
    /// The table can't be made.
    pub fn keep_changed_files(&self) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE changed_file (
                 key INTEGER PRIMARY KEY, folder INTEGER NOT NULL, sub INTEGER NOT NULL, name BLOB NOT NULL,
                 UNIQUE (folder, name, sub));
             CREATE TEMP TRIGGER file_came AFTER INSERT ON main.entry WHEN NEW.at_folder IS NOT NULL BEGIN
                 INSERT OR IGNORE INTO changed_file (folder, sub, name)
                     VALUES (NEW.at_folder, NEW.at_sub, NEW.at_name);
             END;
             CREATE TEMP TRIGGER file_went AFTER DELETE ON main.entry WHEN OLD.at_folder IS NOT NULL BEGIN
                 INSERT OR IGNORE INTO changed_file (folder, sub, name)
                     VALUES (OLD.at_folder, OLD.at_sub, OLD.at_name);
             END;
             CREATE TEMP TRIGGER file_moved AFTER UPDATE ON main.entry
             WHEN OLD.at_folder IS NOT NEW.at_folder OR OLD.at_sub IS NOT NEW.at_sub OR OLD.at_name IS NOT NEW.at_name
             BEGIN
                 INSERT OR IGNORE INTO changed_file (folder, sub, name)
                     SELECT OLD.at_folder, OLD.at_sub, OLD.at_name WHERE OLD.at_folder IS NOT NULL;
                 INSERT OR IGNORE INTO changed_file (folder, sub, name)
                     SELECT NEW.at_folder, NEW.at_sub, NEW.at_name WHERE NEW.at_folder IS NOT NULL;
             END;",
        )?;
        Ok(())
    }

    /// The next places that files have come to or left, after the one with the number `after`.
    ///
    /// # Errors
    /// They can't be read, or are not kept.
    pub fn changed_files(&self, after: i64, limit: u32) -> Result<Vec<(i64, Place)>> {
        self.places_after(
            "SELECT key, folder, sub, name FROM temp.changed_file WHERE key > ? ORDER BY key LIMIT ?",
            after,
            limit,
        )
    }
}
