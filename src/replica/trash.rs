//! The trash: messages that imports have removed can be brought back.

use super::Replica;
use crate::disk::{Durability, Hashed, copy_message, hash_file, is_absent, remove_if_there};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::{FolderState, Mtime, Origin};
use crate::state::{Action, Pending, TrashKey, Trashed};

impl Replica {
    /// Goes through the trash, in the order in which messages came into it.
    pub fn each_trashed(&self, mut each: impl FnMut(Trashed) -> Result<()>) -> Result<()> {
        let mut after = 0;
        loop {
            let batch = self.state.trash_batch(after, 256)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.key;
            batch.into_iter().try_for_each(&mut each)?;
        }
    }

    /// The file of a message in the trash.
    pub fn trash_file(&self, trashed: &Trashed) -> std::path::PathBuf {
        self.home.trash().join(&trashed.file)
    }

    /// What has this number in the trash.
    ///
    /// # Errors
    /// Nothing has.
    pub(super) fn in_trash(&self, key: TrashKey) -> Result<Trashed> {
        self.state.trashed(key)?.ok_or_else(|| {
            Error::failed(format!("restoring {key}: there is nothing with this number in the trash"))
                .advise("`mailsync trash list` shows what there is")
        })
    }

    /// Brings a message back into the folder it was in, with the flags it had, as a new change made here. Its file
    /// stays in the trash until the message is durable in its folder.
    ///
    /// # Errors
    /// There is no such thing in the trash, or its file is damaged.
    pub fn restore(&self, key: TrashKey) -> Result<Trashed> {
        let disk = &*self.world.disk;
        if self.state.restored()?.is_some() {
            let what = format!("restoring {key}: what was restored before still waits for its folder");
            return Err(Error::failed(what).advise("`mailsync status` shows why; put that right, then run this again"));
        }
        let trashed = self.in_trash(key)?;
        let file = self.home.trash().join(&trashed.file);
        let fail = |error: &dyn std::fmt::Display| {
            Error::io("restoring", &file, error).advise("restore it on another machine, if it is in the trash there")
        };
        let found = hash_file(disk, &file, FileKind::Message).map_err(|error| {
            if is_absent(&error) {
                fail(&error)
            } else {
                Error::io("restoring", &file, error).advise("see why it can't be read, then run this again")
            }
        })?;
        if found.digest != trashed.id.digest {
            return Err(fail(&"it has other contents than the message that was removed"));
        }
        let hashed = Hashed { mtime: trashed.mtime, ..found };

        let tx = self.begin()?;
        tx.set_leftovers(true)?;
        tx.commit()?;
        let tx = self.begin()?;
        let stamp = tx.issue(self.now())?;
        let folder = tx.folder(&trashed.folder)?;
        let delivery = self.delivery(stamp, Origin::Delivery, trashed.folder.clone(), &trashed.flags, &hashed)?;
        let at = self.place_for(&tx, &delivery.id, &delivery.entry, self.size_field(&file)?)?;
        self.choose_dir(Some(&tx), folder)?;
        let tmp = self.tmp_path(&at)?;
        let fail =
            |error: std::io::Error| Error::io("writing", &tmp, error).advise("make room for it, then run this again");
        let dir = tmp.parent().expect("a message lies in a directory");
        self.make_dirs(dir).map_err(fail)?;
        remove_if_there(disk.unlink(&tmp)).map_err(fail)?;
        let like = self.look_at_folder_of(&tmp)?;
        copy_message(disk, &file, &tmp, Mtime(hashed.mtime.0), &like, Durability::Now).map_err(fail)?;
        self.sync_dirs(&self.upwards(dir).collect())?;
        let delivered = delivery.entry.clone();
        let entry = self.deliver(&tx, delivery, &at)?;
        self.note_letterless(&tx, entry, &delivered, at.folder)?;
        tx.set_pending(entry, &Pending::Deliver)?;
        if !self.state.folder_row(folder)?.state.is_some_and(|state| state.present) {
            tx.set_folder_state(folder, FolderState { stamp, present: true })?;
        }
        tx.remove_trash(key)?;
        tx.set_restored(&trashed.file)?;
        tx.record(self.now(), Action::TrashRestore, None, &format!("{} in {}", trashed.id.digest, trashed.folder))?;
        tx.commit()?;
        self.materialise()?;
        self.empty_restored()?;
        Ok(trashed)
    }

    /// Removes the file of something that was brought back, unless it may still wait for its folder.
    pub(super) fn empty_restored(&self) -> Result<()> {
        let Some(name) = self.state.restored()? else { return Ok(()) };
        if !self.state.folders_with_deliveries()?.is_empty() {
            return Ok(());
        }
        let disk = &*self.world.disk;
        let file = self.home.trash().join(name);
        let fail = |error: std::io::Error| Error::io("removing", &file, error).advise("run this again");
        remove_if_there(disk.unlink(&file)).map_err(fail)?;
        disk.sync_dir(&self.home.trash()).map_err(fail)?;
        let tx = self.begin()?;
        tx.clear_restored()?;
        tx.commit()
    }
}
