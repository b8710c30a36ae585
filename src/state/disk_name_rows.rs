//! What is particular about the names that folders have on disk here, in memory: few folders have anything particular.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};

use super::codec::damaged;
use super::folder_rows::FolderKey;
use super::name;
use crate::error::Result;
use crate::maildir::Separator;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct DiskNames {
    pub dirs: HashMap<FolderKey, PathBuf>,
    pub folders: BTreeMap<PathBuf, FolderKey>,
    pub separators: HashMap<FolderKey, Separator>,
    pub usual: Separator,
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

    pub fn put_dir(&mut self, key: FolderKey, dir: Option<PathBuf>) {
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
