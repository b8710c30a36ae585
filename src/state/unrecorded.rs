//! Files that commands have written, or were about to, and have not recorded: whoever was killed in between can be repeated.

use super::file_lists::FileList;
use super::{State, Transaction};
use crate::error::Result;
use crate::model::Digest;

const MOST: i64 = 100;
const LIST: FileList = FileList { table: "unrecorded", most: MOST };

impl State {
    /// Whether a command has written a file and not recorded it. The digest is that of what identifies the file.
    pub fn is_unrecorded(&self, file: &Digest) -> Result<bool> {
        self.is_listed(&LIST, file)
    }
}

impl Transaction<'_> {
    /// Remembers a file that is about to get its name.
    pub fn add_unrecorded(&self, file: &Digest) -> Result<()> {
        self.add_listed(&LIST, std::slice::from_ref(file))
    }

    /// Forgets files, since they are recorded.
    pub fn remove_unrecorded(&self, files: &[Digest]) -> Result<()> {
        let mut delete = self.conn.prepare_cached("DELETE FROM unrecorded WHERE file = ?")?;
        for file in files {
            delete.execute([file.0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::fresh;

    #[test]
    fn a_file_is_unrecorded_until_it_is_recorded_and_not_too_many_are() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let file = |n: i64| Digest::of(&n.to_le_bytes());
        let tx = state.begin().unwrap();
        for n in 0..=MOST {
            tx.add_unrecorded(&file(n)).unwrap();
        }
        tx.remove_unrecorded(&[file(7), file(MOST + 5)]).unwrap();
        for (n, unrecorded) in [(0, false), (1, true), (7, false), (8, true), (MOST, true), (MOST + 5, false)] {
            assert_eq!(tx.is_unrecorded(&file(n)).unwrap(), unrecorded, "{n}");
        }
    }
}
