//! The directories of folders: their paths, and how they are made and removed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::work::DiskWork;
use crate::disk::{FileType, Like, create_like, is_absent, leads_nowhere, make_like, remove_if_empty, remove_if_there};
use crate::error::{Error, Result};
use crate::maildir::listing::path_in;
use crate::maildir::{FileName, LayoutKind, Sub};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{FolderKey, FolderRow, Hindered, Place};

impl Replica {
    /// The path in `tmp/` from which a message is delivered to `at`.
    pub(in crate::replica) fn tmp_path(&self, at: &Place) -> Result<PathBuf> {
        let dir = self.dir(&self.state.folder_row(at.folder)?.name).join("tmp");
        Ok(dir.join(OsStr::from_bytes(FileName::parse(&at.name).base())))
    }

    pub(in crate::replica) fn path(&self, at: &Place) -> Result<PathBuf> {
        Ok(path_in(&self.dir(&self.state.folder_row(at.folder)?.name), at.sub, &at.name))
    }

    /// Makes the directories of folders that were made elsewhere.
    pub(super) fn make_folders(&self, progress: &mut DiskWork) -> Result<()> {
        for row in self.state.all_folders() {
            if !row.on_disk && row.is_present() {
                // Then the delivery of a message into it fails, too, and the message is kept for the next command.
                if let Err(error) = self.make_folder(None, row.key, progress) {
                    progress.fail(&self.state, Hindered::Folder(row.key), &error)?;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that a folder is there, and durable, before something is moved into it.
    pub(super) fn ensure_folder(&self, key: FolderKey, progress: &mut DiskWork) -> Result<()> {
        let touched = std::mem::take(&mut progress.touched);
        self.make_folder(None, key, progress)?;
        let made = std::mem::replace(&mut progress.touched, touched).take();
        self.sync_dirs(&made)
    }

    /// Makes a folder. What is found out about its name is part of the transaction, if there is one.
    pub(in crate::replica) fn make_folder(
        &self,
        tx: Option<&Transaction<'_>>,
        key: FolderKey,
        progress: &mut DiskWork,
    ) -> Result<()> {
        let row = self.state.folder_row(key)?;
        if row.on_disk || progress.folders_made.contains(&key) {
            return Ok(());
        }
        if let Some(error) = progress.unmade.get(&key) {
            return Err(error.clone());
        }
        let tmp = self.make_in_chosen_dir(tx, key, || self.make_tmp(&row))?;
        let made = self.make_directories_of(&row, tmp, progress).and_then(|()| self.read_dir_back(tx, key));
        match &made {
            Ok(()) => drop(progress.folders_made.insert(key)),
            Err(error) => drop(progress.unmade.insert(key, error.clone())),
        }
        made
    }

    /// Makes what a folder consists of, once its `tmp/` has been made.
    fn make_directories_of(&self, row: &FolderRow, tmp: io::Result<()>, progress: &mut DiskWork) -> Result<()> {
        let dir = self.dir(&row.name);
        let fail = |error: io::Error| {
            Error::io("making the folder", &dir, error).again_after("make room for it").besides("its mail is not lost")
        };
        tmp.map_err(fail)?;
        let like = self.like_folder(&dir).map_err(fail)?;
        for sub in [Sub::New, Sub::Cur] {
            self.make_sub(&dir, sub, &like).map_err(fail)?;
        }
        // With this file Courier and Dovecot mark a folder that is not the top of a Maildir.
        if self.layout.kind == LayoutKind::MaildirPlusPlus && !row.name.is_inbox() {
            match create_like(&*self.world.disk, &dir.join("maildirfolder"), &like) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
        }
        progress.touched.extend(self.upwards(&dir));
        Ok(())
    }

    /// Makes the `tmp/` of a folder, and the directories above it. An interrupted command may have made any of them
    /// without giving it its rights; nothing else can be in it then.
    pub(in crate::replica) fn make_tmp(&self, row: &FolderRow) -> io::Result<()> {
        let disk = &*self.world.disk;
        let tmp = self.dir(&row.name).join("tmp");
        self.make_dirs(&tmp)?;
        if row.on_disk {
            return Ok(());
        }
        let dirs: Vec<PathBuf> = self.upwards(&tmp).take_while(|dir| dir != self.mail_root()).collect();
        for (n, dir) in dirs.iter().enumerate().rev() {
            let below = n.checked_sub(1).and_then(|n| dirs[n].file_name());
            let mut alone = disk.metadata(dir)?.is_as_made();
            if alone {
                disk.list(dir, &mut |name, _| alone &= Some(name) == below)?;
            }
            if alone {
                make_like(disk, dir, &self.like_for(dir)?)?;
            }
        }
        Ok(())
    }

    /// Makes the directory in which messages lie. It has its rights before it has its name, which shows a folder.
    fn make_sub(&self, dir: &Path, sub: Sub, like: &Like<'_>) -> io::Result<()> {
        let disk = &*self.world.disk;
        let (made, to) = (dir.join("tmp").join(format!("mailsync-{}", sub.as_str())), dir.join(sub.as_str()));
        if like.dir().come_by_themselves() {
            return self.make_dirs(&to);
        }
        match disk.metadata(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            looked => return looked.map(drop),
        }
        match disk.make_dir(&made) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => make_like(disk, &made, like)?,
        }
        match disk.rename(&made, &to) {
            // Another program was faster; or the file system can't rename a directory without replacing one.
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied) => {
                self.make_dirs(&to).and_then(|()| disk.remove_dir(&made))
            }
            renamed => renamed,
        }
    }

    /// A directory below the mail root and the directories above it, up to the mail root. Their names must be durable
    /// before something in the directory is. An interrupted command may have made any of them.
    pub(in crate::replica) fn upwards(&self, dir: &Path) -> impl Iterator<Item = PathBuf> {
        let root = self.mail_root();
        dir.ancestors().take_while(move |above| above.starts_with(root)).map(Path::to_owned)
    }

    /// Makes a directory below the mail root, and the directories above it, each like the one above it.
    pub(in crate::replica) fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        match self.make_dir_like(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir != self.mail_root() => {
                self.make_dirs(dir.parent().ok_or(error)?)?;
                self.make_dir_like(dir)
            }
            made => made,
        }
    }

    /// Makes a directory, unless it is there.
    fn make_dir_like(&self, dir: &Path) -> io::Result<()> {
        let disk = &*self.world.disk;
        match disk.metadata(dir) {
            Ok(meta) if meta.is_dir => return Ok(()),
            Err(error) if !is_absent(&error) && !leads_nowhere(&error) => return Err(error),
            _ => {}
        }
        self.refuse_foreign_links(dir)?;
        match disk.make_dir(dir) {
            Ok(()) => make_like(disk, dir, &self.like_for(dir)?),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Whether nothing is made behind a symbolic link in the mail root that leads to no folder known here: it may lead
    /// anywhere, and what a folder is called is for others to choose.
    ///
    /// # Errors
    /// There is such a link.
    fn refuse_foreign_links(&self, dir: &Path) -> io::Result<()> {
        let above = dir.ancestors().skip(1).take_while(|above| *above != self.mail_root());
        for link in above.filter(|above| above.starts_with(self.mail_root())) {
            match self.world.disk.is_link(link) {
                Ok(true) => {}
                Err(error) if !is_absent(&error) => return Err(error),
                _ => continue,
            }
            let leads_to = |row: &FolderRow| row.on_disk && self.dir(&row.name).starts_with(link);
            if !self.state.all_folders().iter().any(|row| leads_to(row)) {
                return Err(io::Error::other(format!(
                    "{} is a symbolic link, and no folder that is known here is behind it",
                    link.display()
                )));
            }
        }
        Ok(())
    }

    /// Removes the directories of folders that were removed elsewhere, if nothing is left in them.
    pub(super) fn remove_folders(&self, progress: &mut DiskWork) -> Result<()> {
        let removed = |row: &crate::state::FolderRow| row.on_disk && row.state.is_some_and(|state| !state.present);
        let mut rows = self.state.all_folders();
        // In sorted order a folder stands before the folders below it.
        rows.reverse();
        let mut durable = false;
        for row in rows.iter().filter(|row| removed(row) && !row.name.is_inbox()) {
            if self.state.folder_has_files(row.key)? {
                continue;
            }
            if !durable {
                // Mail that was moved out of these directories must be durable elsewhere before they are removed.
                self.sync_dirs(&progress.touched.take())?;
                durable = true;
            }
            match self.remove_folder(&self.dir(&row.name), progress) {
                Ok(true) => progress.folders_removed.push(row.key),
                Ok(false) => {}
                Err(error) => progress.fail(&self.state, Hindered::Folder(row.key), &error)?,
            }
        }
        Ok(())
    }

    /// Removes a folder's directory unless a file is left in it. Returns whether the folder is gone.
    fn remove_folder(&self, dir: &Path, progress: &mut DiskWork) -> Result<bool> {
        let disk = &*self.world.disk;
        let mut empty = true;
        for sub in [Sub::New, Sub::Cur] {
            match disk.list(&dir.join(sub.as_str()), &mut |_, _| empty = false) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("listing", &dir.join(sub.as_str()), error));
                }
                _ => {}
            }
        }
        if !empty || self.is_mbsyncs(dir)? {
            return Ok(false);
        }
        for sub in [Sub::New, Sub::Cur] {
            match disk.remove_dir(&dir.join(sub.as_str())) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    // Mail has just come, so the folder stays.
                    return self
                        .make_dirs(&dir.join(Sub::New.as_str()))
                        .map(|()| false)
                        .map_err(|error| Error::io("keeping the folder", dir, error));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("removing the folder", dir, error));
                }
                _ => {}
            }
        }
        // Other programs may keep files beside the mail. These stay, and so does the directory around them.
        let fail = |error: io::Error| Error::io("removing the folder", dir, error).again_after("see why");
        self.remove_server_files(dir).map_err(fail)?;
        if self.layout.kind == LayoutKind::MaildirPlusPlus {
            remove_if_there(disk.unlink(&dir.join("maildirfolder"))).map_err(fail)?;
        }
        remove_if_empty(disk, &dir.join("tmp")).map_err(fail)?;
        remove_if_empty(disk, dir).map_err(fail)?;
        progress.touched.extend([Some(dir), dir.parent()].into_iter().flatten().map(Path::to_owned));
        Ok(true)
    }

    /// Whether mbsync keeps its own files in a folder. It must find the folder there, and emptied, to remove the mail at
    /// its other side: where there is no folder it stops at an error, and where it finds that it knows nothing of one it
    /// brings all the mail back.
    fn is_mbsyncs(&self, dir: &Path) -> Result<bool> {
        let mut found = false;
        let listed = self.world.disk.list(dir, &mut |name, _| {
            let files = [".mbsyncstate", ".uidvalidity", ".isyncuidmap.db"].map(str::as_bytes);
            found |= files.iter().any(|file| name.as_bytes().starts_with(file));
        });
        remove_if_there(listed).map_err(|error| Error::io("listing", dir, error))?;
        Ok(found)
    }

    /// Removes the files in which an IMAP server remembers a folder that is gone. If they stayed, Dovecot would list a
    /// mailbox that it can't open, and a later folder of the same name would get the UIDs of this one.
    fn remove_server_files(&self, dir: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        let listed = self.world.disk.list(dir, &mut |name, kind| {
            let servers = ["dovecot-", "dovecot.", "courierimap"].map(str::as_bytes);
            if kind == FileType::File && servers.iter().any(|server| name.as_bytes().starts_with(server)) {
                files.push(dir.join(name));
            }
        });
        remove_if_there(listed)?;
        files.iter().try_for_each(|file| remove_if_there(self.world.disk.unlink(file)))
    }
}
