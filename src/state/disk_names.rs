//! What is particular about the names that folders have on disk here: directories that are not called as the layout
//! would call them, and the separators in the names of files. Nothing of this travels.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::codec::damaged;
use super::folder_rows::FolderKey;
use super::{State, Transaction, name};
use crate::error::Result;
use crate::maildir::Separator;

/// All of it, in memory: few folders have anything particular.
#[derive(Debug, Default)]
pub(super) struct DiskNames {
    dirs: HashMap<FolderKey, PathBuf>,
    folders: BTreeMap<PathBuf, FolderKey>,
    separators: HashMap<FolderKey, Separator>,
    usual: Separator,
}

impl DiskNames {
    pub fn load(conn: &Connection) -> Result<Self> {
        let mut names = Self::default();
        let mut query = conn.prepare_cached("SELECT folder, dir, separator FROM disk_name")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let key = FolderKey(row.get(0)?);
            if let Some(dir) = row.get::<_, Option<Vec<u8>>>(1)? {
                names.put_dir(key, Some(PathBuf::from(OsStr::from_bytes(&dir))));
            }
            if let Some(separator) = row.get::<_, Option<i64>>(2)? {
                names.separators.insert(key, separator_from(separator)?);
            }
        }
        let mut query = conn.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
        if let Some(usual) = query.query_row([name::SEPARATOR], |row| row.get(0)).optional()? {
            names.usual = separator_from(usual)?;
        }
        Ok(names)
    }

    fn put_dir(&mut self, key: FolderKey, dir: Option<PathBuf>) {
        if let Some(before) = self.dirs.remove(&key) {
            self.folders.remove(&before);
        }
        if let Some(dir) = dir {
            self.folders.insert(dir.clone(), key);
            self.dirs.insert(key, dir);
        }
    }
}

fn separator_from(stored: i64) -> Result<Separator> {
    u8::try_from(stored).ok().and_then(Separator::of).ok_or_else(|| damaged("a separator"))
}

impl State {
    /// The directory of a folder, relative to the mail root, if the layout would call it otherwise.
    pub fn particular_dir(&self, key: FolderKey) -> Option<PathBuf> {
        self.disk_names.borrow().dirs.get(&key).cloned()
    }

    /// The folder that has this directory, relative to the mail root, although the layout would call it otherwise.
    pub fn folder_with_dir(&self, dir: &Path) -> Option<FolderKey> {
        self.disk_names.borrow().folders.get(dir).copied()
    }

    /// All such directories, with their folders, sorted.
    pub fn particular_dirs(&self) -> Vec<(PathBuf, FolderKey)> {
        self.disk_names.borrow().folders.iter().map(|(dir, key)| (dir.clone(), *key)).collect()
    }

    /// What the info begins with in the names of a folder's files: what they had when it was last listed, or what is
    /// usual in this mail root.
    pub fn separator(&self, key: FolderKey) -> Separator {
        let names = self.disk_names.borrow();
        names.separators.get(&key).copied().unwrap_or(names.usual)
    }
}

impl Transaction<'_> {
    /// Records the directory of a folder; `None` if it is the one that the layout says.
    pub fn set_particular_dir(&self, key: FolderKey, dir: Option<&Path>) -> Result<()> {
        if self.particular_dir(key).as_deref() != dir {
            // One directory is one folder's.
            if let Some(other) = dir.and_then(|dir| self.folder_with_dir(dir)) {
                self.set_particular_dir(other, None)?;
            }
            self.conn
                .prepare_cached(
                    "INSERT INTO disk_name (folder, dir) VALUES (?, ?) ON CONFLICT (folder) DO UPDATE SET dir = excluded.dir",
                )?
                .execute((key.0, dir.map(|dir| dir.as_os_str().as_bytes())))?;
            self.disk_names.borrow_mut().put_dir(key, dir.map(Path::to_owned));
        }
        Ok(())
    }

    /// Records what the info begins with in the names of a folder's files.
    pub fn set_separator(&self, key: FolderKey, separator: Separator) -> Result<()> {
        if self.separator(key) != separator {
            self.conn
                .prepare_cached(
                    "INSERT INTO disk_name (folder, separator) VALUES (?, ?)
                     ON CONFLICT (folder) DO UPDATE SET separator = excluded.separator",
                )?
                .execute((key.0, separator.byte()))?;
            self.disk_names.borrow_mut().separators.insert(key, separator);
        }
        Ok(())
    }

    /// Records what the info begins with in this mail root, unless a folder's files have something else.
    pub fn set_usual_separator(&self, separator: Separator) -> Result<()> {
        self.set_meta(name::SEPARATOR, separator.byte())?;
        self.disk_names.borrow_mut().usual = separator;
        Ok(())
    }
}
