//! Leftovers of interrupted imports.

use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::disk::{is_there, remove_if_empty, remove_if_there};
use crate::error::{Error, Result};
use crate::maildir::{is_delivered_base, tmp_dirs};
use crate::replica::Replica;

impl Replica {
    /// Removes the files that an interrupted import has left in a `tmp/`.
    pub(in crate::replica) fn sweep_leftovers(&self) -> Result<()> {
        for dir in tmp_dirs(self.mail_root()) {
            let mut leftovers = Vec::new();
            let listed = self.world.disk.list(&dir, &mut |name, _| {
                if is_delivered_base(name.as_bytes(), &self.config.name) {
                    leftovers.push(dir.join(name));
                }
            });
            match listed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(|error| Error::io("listing", &dir, error).advise("run this again"))?,
            }
            for path in leftovers {
                remove_if_there(self.world.disk.unlink(&path)).map_err(|error| Error::io("removing", &path, error))?;
            }
            // A directory that the interrupted import made holds nothing else.
            let Some(folder) = dir.parent().filter(|folder| *folder != self.mail_root()) else { continue };
            let disk = &*self.world.disk;
            if is_there(disk, &folder.join("cur"))? || is_there(disk, &folder.join("new"))? {
                continue;
            }
            for dir in dir.ancestors().take_while(|dir| *dir != self.mail_root()) {
                if !remove_if_empty(disk, dir).map_err(|error| Error::io("removing", dir, error))? {
                    break;
                }
            }
        }
        let tx = self.begin()?;
        tx.set_leftovers(false)?;
        tx.commit()
    }
}
