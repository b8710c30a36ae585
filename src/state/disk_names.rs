//! What is particular about the names that folders have on disk here: directories that are not called as the layout
//! would call them, and the separators in the names of files. Nothing of this travels.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::folder_rows::FolderKey;
use super::{State, Transaction, name};
use crate::error::Result;
use crate::maildir::Separator;

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
