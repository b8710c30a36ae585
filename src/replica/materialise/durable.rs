//! Syncs that make names and files durable.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::replica::Replica;

/// From this many directories on, one sync of the whole file system is cheaper than a sync for each directory.
const MANY_DIRS: usize = 16;

impl Replica {
    /// Makes the names in these directories durable.
    pub(in crate::replica) fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<()> {
        let disk = &*self.world.disk;
        if dirs.len() > MANY_DIRS {
            return self.sync_file_systems(dirs.iter());
        }
        for dir in dirs {
            match disk.sync_dir(dir) {
                // It may be written and not read, so that it can't be opened.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.sync_file_systems(std::iter::once(dir))?;
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("making durable", dir, error).again_after("check the disk"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes everything durable on every file system that holds one of these directories.
    pub(in crate::replica) fn sync_file_systems<'p>(&self, dirs: impl Iterator<Item = &'p PathBuf>) -> Result<()> {
        let mut synced = BTreeSet::new();
        for dir in dirs {
            let meta = match self.world.disk.metadata(dir) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("making durable", dir, error)),
            };
            if synced.insert(meta.device) {
                self.sync_file_system_of(dir, meta.device).map_err(|error| {
                    Error::io("making durable the files on the file system of", dir, error)
                        .again_after("check the disk")
                })?;
            }
        }
        Ok(())
    }

    /// Syncs the file system of a directory, which is on this device: by way of that directory or, if it may not be
    /// read, of one above it.
    fn sync_file_system_of(&self, dir: &Path, device: u64) -> io::Result<()> {
        let disk = &*self.world.disk;
        let mut first = None;
        for above in dir.ancestors() {
            if !disk.metadata(above).is_ok_and(|meta| meta.device == device) {
                break;
            }
            match disk.sync_file_system(above) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => drop(first.get_or_insert(error)),
                synced => return synced,
            }
        }
        Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}
