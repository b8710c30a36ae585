//! Folders: their names, their registers, and their directories as last seen.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::damaged;
use super::folder_rows::{ABSENT, FolderKey, FolderRow};
use super::{State, Transaction};
use crate::bundle::limits;
use crate::error::{Error, Result};
use crate::maildir::listing::CleanListing;
use crate::model::{FolderName, FolderState, Knowledge, Mtime};

impl State {
    /// The folder's number, if the folder is known.
    pub fn find_folder(&self, name: &FolderName) -> Option<FolderKey> {
        self.folders.borrow().by_name.get(name).copied()
    }

    /// How many folders were ever heard of.
    pub fn count_folders(&self) -> u64 {
        self.folders.borrow().by_key.len() as u64
    }

    /// Whether this folder is known, or one more can be.
    pub fn has_room_for_folder(&self, name: &FolderName) -> bool {
        self.find_folder(name).is_some() || self.count_folders() < limits::FOLDERS
    }

    /// The record of a folder.
    pub fn folder_row(&self, key: FolderKey) -> Result<Arc<FolderRow>> {
        self.folders.borrow().by_key.get(&key).cloned().ok_or_else(|| damaged("a folder's number"))
    }

    /// All known folders, sorted by name.
    pub fn all_folders(&self) -> Vec<Arc<FolderRow>> {
        let mut rows: Vec<_> = self.folders.borrow().by_key.values().cloned().collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    /// The folders whose registers `base` doesn't cover, sorted by name.
    pub fn folders_changed_since(&self, base: &Knowledge) -> Vec<(FolderName, FolderState)> {
        let rows = self.all_folders();
        let states = rows.iter().filter_map(|row| row.state.map(|state| (row.name.clone(), state)));
        states.filter(|(_, state)| !base.covers(state.stamp)).collect()
    }

    /// The directories below the mail root that were searched for folders: path relative to the mail root, the
    /// modification time at a clean listing, whether it is a folder. Sorted by path.
    pub fn directories(&self) -> Result<Vec<(PathBuf, Option<Mtime>, bool)>> {
        let mut query = self.conn.prepare_cached("SELECT path, mtime, is_folder FROM directory ORDER BY path")?;
        let rows = query.query_map([], |row| {
            let path = PathBuf::from(OsStr::from_bytes(row.get_ref(0)?.as_bytes()?));
            Ok((path, row.get::<_, Option<i64>>(1)?.map(Mtime), row.get(2)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Transaction<'_> {
    /// The folder's number. A folder that isn't known yet gets a new one.
    ///
    /// # Errors
    /// There are as many as a bundle can tell of: see [`State::has_room_for_folder`].
    pub fn folder(&self, name: &FolderName) -> Result<FolderKey> {
        if let Some(&key) = self.folders.borrow().by_name.get(name) {
            return Ok(key);
        }
        if self.count_folders() == limits::FOLDERS {
            return Err(Error::failed(format!(
                "taking the folder {name}: with it there would be more than {}, which is more than a bundle can tell of",
                limits::FOLDERS
            ))
            .advise("have fewer folders; `mailsync purge` forgets those that were removed and of which all peers know it"));
        }
        self.conn.prepare_cached("INSERT INTO folder (name) VALUES (?)")?.execute([name.as_str()])?;
        let key = FolderKey(self.conn.last_insert_rowid());
        let row = FolderRow { key, name: name.clone(), state: None, on_disk: false, clean: None };
        self.folders.borrow_mut().put(row);
        Ok(key)
    }

    /// Writes a folder's register.
    pub fn set_folder_state(&self, key: FolderKey, state: FolderState) -> Result<()> {
        let row = self.folder_row(key)?;
        let canonical = format!("folder\0{}", row.name);
        match (row.state.is_some_and(|before| before.present), state.present) {
            (false, true) => self.digest_add(canonical.as_bytes()),
            (true, false) => self.digest_remove(canonical.as_bytes()),
            _ => {}
        }
        self.conn.prepare_cached("UPDATE folder SET clock = ?, incarnation = ?, present = ? WHERE key = ?")?.execute(
            (state.stamp.clock.bits().cast_signed(), state.stamp.incarnation.0.cast_signed(), state.present, key.0),
        )?;
        self.folders.borrow_mut().put(FolderRow { state: Some(state), ..(*row).clone() });
        Ok(())
    }

    /// Forgets a folder's register.
    pub fn forget_folder_state(&self, key: FolderKey) -> Result<()> {
        let row = self.folder_row(key)?;
        if row.state.is_some_and(|before| before.present) {
            self.digest_remove(format!("folder\0{}", row.name).as_bytes());
        }
        self.conn
            .prepare_cached("UPDATE folder SET clock = NULL, incarnation = NULL, present = NULL WHERE key = ?")?
            .execute([key.0])?;
        self.folders.borrow_mut().put(FolderRow { state: None, ..(*row).clone() });
        Ok(())
    }

    /// Forgets the names of folders that have neither a register nor a directory, and that nothing else names.
    pub fn forget_unused_folders(&self) -> Result<()> {
        let mut query = self.conn.prepare_cached(
            "DELETE FROM folder WHERE clock IS NULL AND NOT on_disk AND key NOT IN (
                 SELECT birth FROM entry UNION SELECT folder FROM entry
                 UNION SELECT at_folder FROM entry WHERE at_folder IS NOT NULL
                 UNION SELECT from_folder FROM pending WHERE from_folder IS NOT NULL
                 UNION SELECT folder FROM discard
                 UNION SELECT key FROM obstacle WHERE kind = 0
             ) RETURNING key",
        )?;
        let forgotten = query.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut folders = self.folders.borrow_mut();
        forgotten.into_iter().for_each(|key| folders.remove(FolderKey(key)));
        Ok(())
    }

    /// Records whether a folder's directory is there.
    pub fn set_folder_on_disk(&self, key: FolderKey, on_disk: bool) -> Result<()> {
        let row = self.folder_row(key)?;
        if row.on_disk != on_disk {
            self.conn.prepare_cached("UPDATE folder SET on_disk = ? WHERE key = ?")?.execute((on_disk, key.0))?;
            self.folders.borrow_mut().put(FolderRow { on_disk, ..(*row).clone() });
        }
        Ok(())
    }

    /// Records a clean listing of a folder; `None` if its last listing was not clean.
    pub fn set_clean_listing(&self, key: FolderKey, clean: Option<CleanListing>) -> Result<()> {
        let row = self.folder_row(key)?;
        if row.clean != clean {
            let stored = |mtime: Option<Mtime>| mtime.map_or(ABSENT, |mtime| mtime.0);
            self.conn.prepare_cached("UPDATE folder SET new_mtime = ?, cur_mtime = ? WHERE key = ?")?.execute((
                clean.map(|c| stored(c.new)),
                clean.map(|c| stored(c.cur)),
                key.0,
            ))?;
            self.folders.borrow_mut().put(FolderRow { clean, ..(*row).clone() });
        }
        Ok(())
    }

    /// Records a directory that was searched for folders.
    pub fn set_directory(&self, path: &Path, mtime: Option<Mtime>, is_folder: bool) -> Result<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO directory (path, mtime, is_folder) VALUES (?, ?, ?)")?
            .execute((path.as_os_str().as_bytes(), mtime.map(|mtime| mtime.0), is_folder))?;
        Ok(())
    }

    /// Forgets a directory that is gone.
    pub fn remove_directory(&self, path: &Path) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM directory WHERE path = ?")?.execute([path.as_os_str().as_bytes()])?;
        Ok(())
    }
}
