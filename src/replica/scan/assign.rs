//! Which directory each folder has, of those that were found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::discover::{Discovery, Known, Maildirs};
use crate::error::Result;
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::Directory;

impl Replica {
    /// What is known of the directories; if other ones were ignored when they were read, they are read again.
    pub(super) fn unless_ignored_otherwise(&self, tx: &Transaction<'_>, mut known: Known) -> Result<Known> {
        let patterns = self.config.ignore.join("\n");
        if self.state.ignored()?.as_deref() != Some(&patterns) {
            for directory in known.values_mut() {
                *directory = Directory { times: None, ..*directory };
            }
            tx.set_ignored(&patterns)?;
        }
        Ok(known)
    }

    /// Gives each folder its directory. It may have two, whose names lead to it: as the layout has it, and spelled out.
    /// Then it keeps the one that it had; if that is gone, somebody has renamed it.
    pub(super) fn assign_dirs(&self, tx: &Transaction<'_>, maildirs: Maildirs, found: &mut Discovery) -> Result<()> {
        for (name, dirs) in maildirs {
            let (before, usual) = (self.relative_dir(&name), self.layout.dir_of(&name));
            let known = self.state.find_folder(&name).map(|key| self.state.folder_row(key)).transpose()?;
            let was_here = known.is_some_and(|row| row.on_disk);
            let chosen = if dirs.contains_key(&before) {
                Some(before.clone())
            } else if was_here && (found.hides(&before) || self.ignores(&before)) {
                None
            } else if dirs.contains_key(&usual) {
                Some(usual)
            } else {
                first(&dirs)
            };
            let others = dirs.keys().filter(|dir| Some(*dir) != chosen.as_ref());
            found.doubles.extend(others.map(|dir| (dir.clone(), name.clone())));
            let Some(dir) = chosen else { continue };
            if dir != before {
                let row = self.state.folder_row(tx.folder(&name)?)?;
                self.record_dir(Some(tx), &row, &dir)?;
            }
            let path =
                if dir.as_os_str().is_empty() { self.mail_root().to_owned() } else { self.mail_root().join(&dir) };
            found.devices.insert(path.clone(), dirs[&dir]);
            found.folders.insert(name, path);
        }
        Ok(())
    }
}

fn first(dirs: &BTreeMap<PathBuf, u64>) -> Option<PathBuf> {
    dirs.keys().next().cloned()
}
