//! The folders that the state keeps in memory: their numbers, names and registers.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::codec::{clock_from, damaged};
use crate::error::Result;
use crate::maildir::keywords::Letters;
use crate::maildir::listing::{CleanListing, Devices, Times};
use crate::maildir::names::NamesSeen;
use crate::model::{FolderName, FolderState, Incarnation, Keyword, Mtime, Stamp};

/// A folder's number within this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderKey(pub(super) i64);

#[cfg(test)]
impl FolderKey {
    /// A key of a folder that no state holds.
    pub(crate) fn example(number: i64) -> Self {
        Self(number)
    }
}

/// The record of a folder.
#[derive(Clone, Debug)]
pub struct FolderRow {
    /// Its number.
    pub key: FolderKey,
    /// Its canonical name.
    pub name: FolderName,
    /// Its register, if somebody ever made or removed it.
    pub state: Option<FolderState>,
    /// Whether its directory was there at the last look.
    pub on_disk: bool,
    /// The last clean listing.
    pub clean: Option<CleanListing>,
    /// The file systems on which it was at the last listing.
    pub devices: Devices,
    /// The keywords of its letters, as far as is known.
    pub letters: Arc<Letters>,
    /// What was last seen of the file that names them.
    pub names: NamesSeen,
    /// Whether that has no letter left, when last a keyword was to have one.
    pub full: bool,
}

impl FolderRow {
    /// The record of a folder of which nothing is known yet.
    pub(super) fn new(key: FolderKey, name: FolderName) -> Self {
        let (devices, letters, names) = (Devices::default(), Arc::default(), NamesSeen::Unknown);
        Self { key, name, state: None, on_disk: false, clean: None, devices, letters, names, full: false }
    }

    /// Whether the folder exists, as its register says.
    pub fn is_present(&self) -> bool {
        self.state.is_some_and(|state| state.present)
    }
}

/// All folders, in memory: a mailbox has few.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub by_key: HashMap<FolderKey, Arc<FolderRow>>,
    pub by_name: HashMap<FolderName, FolderKey>,
}

/// Stands for "there was no such directory" in the columns of a clean listing.
pub(super) const ABSENT: i64 = i64::MIN;

impl Folders {
    pub fn load(conn: &Connection) -> Result<Self> {
        let mut query = conn.prepare_cached(
            "SELECT key, name, clock, incarnation, present, on_disk, new_mtime, new_ctime, cur_mtime, cur_ctime,
             device, new_device, cur_device, names_mtime, names_ctime, names_size, names_inode, names_full FROM folder",
        )?;
        let mut rows = query.query([])?;
        let mut folders = Self::default();
        while let Some(row) = rows.next()? {
            let name: FolderName = row
                .get_ref(1)?
                .as_str()
                .ok()
                .and_then(|name| name.parse().ok())
                .ok_or_else(|| damaged("a folder name"))?;
            let state =
                match (row.get::<_, Option<i64>>(2)?, row.get::<_, Option<i64>>(3)?, row.get::<_, Option<bool>>(4)?) {
                    (Some(clock), Some(incarnation), Some(present)) => {
                        let stamp =
                            Stamp { clock: clock_from(clock)?, incarnation: Incarnation(incarnation.cast_unsigned()) };
                        Some(FolderState { stamp, present })
                    }
                    _ => None,
                };
            let times = |first: usize| {
                let both = row.get::<_, Option<i64>>(first)?.zip(row.get::<_, Option<i64>>(first + 1)?);
                Ok::<_, rusqlite::Error>(both.map(|(modified, changed)| {
                    let times = Times { modified: Mtime(modified), changed: Mtime(changed) };
                    (modified != ABSENT).then_some(times)
                }))
            };
            let number = |at| row.get::<_, Option<i64>>(at).map(|n| n.unwrap_or_default().cast_unsigned());
            let names = match times(13)? {
                None => NamesSeen::Unknown,
                Some(None) => NamesSeen::Absent,
                Some(Some(times)) => NamesSeen::File { times, size: number(15)?, inode: number(16)? },
            };
            let clean = times(6)?.zip(times(8)?).map(|(new, cur)| CleanListing { new, cur });
            let device =
                |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned));
            let devices = Devices { folder: device(10)?, new: device(11)?, cur: device(12)? };
            let (key, on_disk, letters) = (FolderKey(row.get(0)?), row.get(5)?, Arc::default());
            folders.put(FolderRow { key, name, state, on_disk, clean, devices, letters, names, full: row.get(17)? });
        }
        folders.load_letters(conn)?;
        Ok(folders)
    }

    fn load_letters(&mut self, conn: &Connection) -> Result<()> {
        let mut query = conn.prepare_cached("SELECT folder, letter, keyword, lost FROM letter")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let folder = self.by_key.get_mut(&FolderKey(row.get(0)?)).ok_or_else(|| damaged("a letter's folder"))?;
            let letter = row.get::<_, u8>(1).ok().filter(u8::is_ascii_lowercase);
            let keyword = row.get_ref(2)?.as_str().ok().and_then(Keyword::new);
            let (letter, keyword) = letter.zip(keyword).ok_or_else(|| damaged("a letter's keyword"))?;
            let letters = &mut Arc::make_mut(folder).letters;
            Arc::make_mut(letters).set(letter, keyword, row.get(3)?);
        }
        Ok(())
    }

    pub fn put(&mut self, row: FolderRow) {
        self.by_name.insert(row.name.clone(), row.key);
        self.by_key.insert(row.key, Arc::new(row));
    }

    pub fn remove(&mut self, key: FolderKey) {
        if let Some(row) = self.by_key.remove(&key) {
            self.by_name.remove(&row.name);
        }
    }

    pub fn name(&self, key: i64) -> Result<FolderName> {
        self.by_key.get(&FolderKey(key)).map(|row| row.name.clone()).ok_or_else(|| damaged("a folder's number"))
    }
}
