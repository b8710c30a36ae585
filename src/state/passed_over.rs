//! Files that were told to be no bundles, or were found to be of no use here, so that they are told only once as a
//! failure, and looked at only once.

use super::file_lists::FileList;
use super::{State, Transaction};
use crate::error::Result;
use crate::model::Digest;

const MOST: i64 = 20_000;
const LIST: FileList = FileList { table: "passed_over", most: MOST };

impl State {
    /// Whether a file was told to be no bundle. The digest is that of what identifies it.
    pub fn was_passed_over(&self, file: &Digest) -> Result<bool> {
        self.is_listed(&LIST, file)
    }
}

impl Transaction<'_> {
    /// Remembers that these files are told to be no bundles, or of no use here.
    pub fn pass_over(&self, files: &[Digest]) -> Result<()> {
        self.add_listed(&LIST, files)
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
