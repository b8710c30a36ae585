//! Leftovers of interrupted imports.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::relocate::TRIAL;
use crate::disk::{is_there, remove_if_empty, remove_if_there};
use crate::error::{Error, Result};
use crate::maildir::{is_delivered_base, tmp_dirs};
use crate::replica::Replica;

impl Replica {
    /// Removes the files that an interrupted import has left in a `tmp/`. Where messages wait to be delivered it is
    /// left to a later command, and so it is where a place can't be looked into.
    pub(in crate::replica) fn sweep_leftovers(&self) -> Result<()> {
        self.sweep_held()?;
        let mut waiting = BTreeSet::new();
        for key in self.state.folders_with_deliveries()? {
            waiting.insert(self.dir(&self.state.folder_row(key)?.name).join("tmp"));
        }
        let mut all = waiting.is_empty();
        for dir in tmp_dirs(self.mail_root(), &self.ignored) {
            let swept = match dir {
                Ok(dir) if waiting.contains(&dir) => continue,
                Ok(dir) => self.sweep(&dir),
                Err((path, error)) => Err(Error::io("looking at", &path, error).again_after("see why")),
            };
            match swept {
                Err(error) if error.is_about_a_place() => all = false,
                swept => swept?,
            }
        }
        if !all {
            return Ok(());
        }
        let tx = self.begin()?;
        tx.set_leftovers(false)?;
        tx.commit()
    }

    fn sweep(&self, dir: &Path) -> Result<()> {
        let disk = &*self.world.disk;
        let mut leftovers = Vec::new();
        let listed = disk.list(dir, &mut |name, _| {
            if is_delivered_base(name.as_bytes(), &self.config.name) || name.as_bytes().starts_with(TRIAL) {
                leftovers.push(dir.join(name));
            }
        });
        match listed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(|error| Error::io("listing", dir, error).again())?,
        }
        for path in leftovers {
            remove_if_there(disk.unlink(&path)).map_err(|error| Error::io("removing", &path, error))?;
        }
        // A directory that the interrupted import made holds nothing else.
        let Some(folder) = dir.parent().filter(|folder| *folder != self.mail_root()) else { return Ok(()) };
        if is_there(disk, &folder.join("cur"))? || is_there(disk, &folder.join("new"))? {
            return Ok(());
        }
        for dir in dir.ancestors().take_while(|dir| *dir != self.mail_root()) {
            if !remove_if_empty(disk, dir).map_err(|error| Error::io("removing", dir, error))? {
                break;
            }
        }
        Ok(())
    }
}
