//! What is in the trash is copied into a directory, and becomes ordinary files.

use std::path::{Path, PathBuf};

use super::{BroughtBack, TrashItem, TrashOptions};
use crate::disk::{Durability, Like, copy_message, hash_file, is_absent, remove_if_there};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::Digest;
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::state::Trashed;

impl Replica {
    /// Copies messages of the trash into a directory, where they become ordinary files. Nothing is overwritten; what is
    /// there already isn't copied again. The trash stays as it is. `each` is told of each message.
    ///
    /// # Errors
    /// As for [`Replica::restore_trashed`]; or the directory isn't there.
    pub fn copy_trashed(
        &self,
        options: &TrashOptions,
        dir: &Path,
        each: &mut dyn FnMut(&TrashItem) -> Result<()>,
    ) -> Result<BroughtBack> {
        match self.world.disk.metadata(dir) {
            Ok(meta) if meta.is_dir => {}
            Ok(_) => {
                let what = format!("copying messages to {}: it is not a directory", dir.display());
                return Err(Error::usage(what).advise("name a directory"));
            }
            Err(error) => {
                let error = Error::io("copying messages to", dir, error);
                return Err(error.advise("make the directory first, or correct the name"));
            }
        }
        let author = self.author_of(&options.selection)?;
        let mut done = BroughtBack::default();
        self.each_batch(&options.selection, author.as_ref(), |batch| {
            for trashed in batch {
                let name = format!("{}-{}.eml", trashed.key, &trashed.id.digest.to_string()[..16]);
                let to = dir.join(name);
                match self.read_trashed(&trashed)? {
                    Ok(_) if options.dry_run == DryRun::Yes => {}
                    Ok(_) => self.copy_one(&trashed, &to)?,
                    Err(error) => {
                        self.complain(error);
                        continue;
                    }
                }
                let (folder, flags) = (trashed.folder.clone(), trashed.flags.clone());
                let item = TrashItem { trashed, folder, flags, copy: Some(to), was_there: false };
                done.count(&item);
                each(&item)?;
            }
            Ok(())
        })?;
        if options.dry_run == DryRun::No && done.messages > 0 {
            let sync = self.world.disk.sync_dir(dir);
            sync.map_err(|error| Error::io("making durable what is in", dir, error).advise("run this again"))?;
        }
        Ok(done)
    }

    fn copy_one(&self, trashed: &Trashed, to: &Path) -> Result<()> {
        let disk = &*self.world.disk;
        let fail = |error: std::io::Error| {
            Error::io("writing", to, error).advise("make room for it, or name another directory, then run this again")
        };
        let has = |digest: &Digest| match hash_file(disk, to, FileKind::Message) {
            Ok(found) => Ok(Some(found.digest == *digest)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(fail(error)),
        };
        match has(&trashed.id.digest)? {
            Some(true) => return Ok(()),
            Some(false) => {
                let what = format!("writing {}: another file has this name", to.display());
                return Err(Error::failed(what).advise("move it away, or name another directory"));
            }
            None => {}
        }
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        remove_if_there(disk.unlink(&part)).map_err(fail)?;
        copy_message(disk, &self.trash_file(trashed), &part, trashed.mtime, &Like::PRIVATE, Durability::Now)
            .map_err(fail)?;
        disk.rename(&part, to).map_err(fail)
    }
}
