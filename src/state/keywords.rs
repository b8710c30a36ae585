//! The letters of folders: which keywords they stand for, and which keywords have none.

use std::sync::Arc;

use super::codec::damaged;
use super::folder_rows::ABSENT;
use super::{EntryKey, FolderKey, FolderRow, Place, State, Transaction};
use crate::error::Result;
use crate::maildir::keywords::{LetterSet, Letters};
use crate::maildir::listing::Times;
use crate::maildir::names::NamesSeen;
use crate::model::{FlagSet, Keyword};

impl State {
    /// The keywords of a folder's letters, as far as is known.
    pub fn letters(&self, folder: FolderKey) -> Result<Arc<Letters>> {
        Ok(self.folder_row(folder)?.letters.clone())
    }

    /// The flags that the file at this place shows, by what is known of its folder's letters.
    pub fn flags_at(&self, at: &Place) -> Result<FlagSet> {
        Ok(at.flags(&*self.letters(at.folder)?))
    }

    /// The letters for keywords in the names of the files that were last seen in a folder.
    pub fn letters_in_use(&self, folder: FolderKey) -> Result<LetterSet> {
        let mut used = LetterSet::default();
        self.files_in(folder, |_, sub, name, _| {
            used = used.or(Place { folder, sub, name: name.to_vec() }.keyword_letters());
            Ok(())
        })?;
        Ok(used)
    }

    /// The keywords of living entries that have no letter in the folder where their entries are.
    pub fn letterless(&self) -> Result<Vec<(FolderKey, Keyword)>> {
        let mut query =
            self.conn.prepare_cached("SELECT folder, MIN(keyword) FROM letterless GROUP BY folder, keyword")?;
        let mut rows = query.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let keyword = row.get_ref(1)?.as_str().ok().and_then(Keyword::new);
            found.push((FolderKey(row.get(0)?), keyword.ok_or_else(|| damaged("a keyword"))?));
        }
        Ok(found)
    }

    /// The next entries in this folder for which this keyword has no letter.
    pub fn letterless_batch(
        &self,
        folder: FolderKey,
        keyword: &Keyword,
        after: Option<EntryKey>,
        limit: u32,
    ) -> Result<Vec<EntryKey>> {
        let mut query = self.conn.prepare_cached(
            "SELECT entry FROM letterless WHERE folder = ? AND keyword = ? AND entry > ? ORDER BY entry LIMIT ?",
        )?;
        let after = after.map_or(0, |key| key.0);
        let keys = query.query_map((folder.0, keyword.as_str(), after, limit), |row| Ok(EntryKey(row.get(0)?)))?;
        Ok(keys.collect::<rusqlite::Result<_>>()?)
    }
}

impl Transaction<'_> {
    /// Records the keywords of a folder's letters, and what was seen of the file that names them.
    pub fn set_letters(&self, folder: FolderKey, letters: Arc<Letters>, names: NamesSeen) -> Result<()> {
        let row = self.folder_row(folder)?;
        if row.names != names {
            let (mtime, ctime, size, inode) = match names {
                NamesSeen::Unknown => (None, None, None, None),
                NamesSeen::Absent => (Some(ABSENT), Some(ABSENT), None, None),
                NamesSeen::File { times: Times { modified, changed }, size, inode } => {
                    (Some(modified.0), Some(changed.0), Some(size.cast_signed()), Some(inode.cast_signed()))
                }
            };
            self.conn
                .prepare_cached(
                    "UPDATE folder SET names_mtime = ?, names_ctime = ?, names_size = ?, names_inode = ? WHERE key = ?",
                )?
                .execute((mtime, ctime, size, inode, folder.0))?;
        }
        if row.letters != letters {
            self.conn.prepare_cached("DELETE FROM letter WHERE folder = ?")?.execute([folder.0])?;
            let mut insert =
                self.conn.prepare_cached("INSERT INTO letter (folder, letter, keyword, lost) VALUES (?, ?, ?, ?)")?;
            for (letter, keyword, lost) in letters.iter() {
                insert.execute((folder.0, letter, keyword.as_str(), lost))?;
            }
        }
        if row.names != names || row.letters != letters {
            self.folders.borrow_mut().put(FolderRow { letters, names, ..(*row).clone() });
        }
        self.set_letters_full(folder, false)
    }

    /// Records whether a folder has no letter left for a keyword. [`Transaction::set_letters`] says that it may have one.
    pub fn set_letters_full(&self, folder: FolderKey, full: bool) -> Result<()> {
        let row = self.folder_row(folder)?;
        if row.full != full {
            self.conn.prepare_cached("UPDATE folder SET names_full = ? WHERE key = ?")?.execute((full, folder.0))?;
            self.folders.borrow_mut().put(FolderRow { full, ..(*row).clone() });
        }
        Ok(())
    }

    /// Records which of an entry's keywords have no letter in this folder, where it is.
    pub fn set_letterless(&self, entry: EntryKey, folder: FolderKey, keywords: &[Keyword]) -> Result<()> {
        self.clear_letterless(entry)?;
        for keyword in keywords {
            self.conn.prepare_cached("INSERT INTO letterless (folder, keyword, entry) VALUES (?, ?, ?)")?.execute((
                folder.0,
                keyword.as_str(),
                entry.0,
            ))?;
        }
        Ok(())
    }

    /// Records that no keyword of an entry waits for a letter.
    pub fn clear_letterless(&self, entry: EntryKey) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM letterless WHERE entry = ?")?.execute([entry.0])?;
        Ok(())
    }
}
