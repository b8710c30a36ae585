//! Folders: their names, their registers, and their directories as last seen.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::damaged;
use super::folder_rows::{ABSENT, FolderKey, FolderRow};
use super::{State, Transaction};
use crate::bundle::limits;
use crate::error::{Error, Result};
use crate::maildir::listing::{CleanListing, Devices, Mount, Times};
use crate::model::{FolderName, FolderState, Knowledge, Mtime};

/// A directory below the mail root that was searched for folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its times at a clean listing.
    pub times: Option<Times>,
    /// Where its file system was mounted.
    pub mount: Option<Mount>,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Whether a symbolic link has its name.
    pub is_link: bool,
}

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

    /// The directories below the mail root that were searched for folders, by their paths relative to the mail root.
    pub fn directories(&self) -> Result<BTreeMap<PathBuf, Directory>> {
        let mut query = self
            .conn
            .prepare_cached("SELECT path, mtime, ctime, is_folder, is_link, device, device_above FROM directory")?;
        let rows = query.query_map([], |row| {
            let path = PathBuf::from(OsStr::from_bytes(row.get_ref(0)?.as_bytes()?));
            let number = |column: usize| row.get::<_, Option<i64>>(column);
            let pair = |first| Ok::<_, rusqlite::Error>(number(first)?.zip(number(first + 1)?));
            let times = pair(1)?.map(|(mtime, ctime)| Times { modified: Mtime(mtime), changed: Mtime(ctime) });
            let mount =
                pair(5)?.map(|(device, above)| Mount { device: device.cast_unsigned(), above: above.cast_unsigned() });
            Ok((path, Directory { times, mount, is_folder: row.get(3)?, is_link: row.get(4)? }))
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
        let row = FolderRow::new(key, name.clone());
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
                 UNION SELECT folder FROM alarm_departed WHERE folder IS NOT NULL
                 UNION SELECT target FROM alarm_departed WHERE target IS NOT NULL
             ) RETURNING key",
        )?;
        let forgotten = query.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut folders = self.folders.borrow_mut();
        for key in forgotten {
            folders.remove(FolderKey(key));
        }
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
            let modified = |times: Option<Times>| times.map_or(ABSENT, |times| times.modified.0);
            let changed = |times: Option<Times>| times.map_or(ABSENT, |times| times.changed.0);
            let query = "UPDATE folder SET new_mtime = ?, new_ctime = ?, cur_mtime = ?, cur_ctime = ? WHERE key = ?";
            self.conn.prepare_cached(query)?.execute((
                clean.map(|c| modified(c.new)),
                clean.map(|c| changed(c.new)),
                clean.map(|c| modified(c.cur)),
                clean.map(|c| changed(c.cur)),
                key.0,
            ))?;
            self.folders.borrow_mut().put(FolderRow { clean, ..(*row).clone() });
        }
        Ok(())
    }

    /// Records the file systems on which a folder was listed.
    pub fn set_devices(&self, key: FolderKey, devices: Devices) -> Result<()> {
        let row = self.folder_row(key)?;
        if row.devices != devices {
            let stored = |device: Option<u64>| device.map(u64::cast_signed);
            self.conn
                .prepare_cached("UPDATE folder SET device = ?, new_device = ?, cur_device = ? WHERE key = ?")?
                .execute((stored(devices.folder), stored(devices.new), stored(devices.cur), key.0))?;
            self.folders.borrow_mut().put(FolderRow { devices, ..(*row).clone() });
        }
        Ok(())
    }

    /// Records a directory that was searched for folders.
    pub fn set_directory(&self, path: &Path, directory: &Directory) -> Result<()> {
        let Directory { times, mount, is_folder, is_link } = directory;
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO directory (path, mtime, ctime, is_folder, is_link, device, device_above)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                path.as_os_str().as_bytes(),
                times.map(|times| times.modified.0),
                times.map(|times| times.changed.0),
                is_folder,
                is_link,
                mount.map(|mount| mount.device.cast_signed()),
                mount.map(|mount| mount.above.cast_signed()),
            ))?;
        Ok(())
    }

    /// Forgets what all directories looked like: the next scan looks at each anew.
    pub fn forget_directories(&self) -> Result<()> {
        self.conn.execute("DELETE FROM directory", [])?;
        for row in self.all_folders() {
            self.set_clean_listing(row.key, None)?;
            self.set_devices(row.key, Devices::default())?;
        }
        Ok(())
    }

    /// Forgets a directory that is gone.
    pub fn remove_directory(&self, path: &Path) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM directory WHERE path = ?")?.execute([path.as_os_str().as_bytes()])?;
        Ok(())
    }
}
