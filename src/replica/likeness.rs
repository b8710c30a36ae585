//! Whose is what is made below the mail root, and who may use it: it is like the folder in which it lies, and a new
//! folder is like the one that it is made in. What is in the replica's own directories is for nobody else.

use std::io;
use std::path::{Path, PathBuf};

use super::Replica;
use crate::disk::{Like, is_absent};
use crate::error::{Error, Result};
use crate::maildir::LayoutKind;
use crate::model::FolderName;

impl Replica {
    /// What is made in the `tmp/`, `new/` or `cur/` of a folder's directory is like this.
    pub(super) fn like_folder(&self, dir: &Path) -> io::Result<Like<'_>> {
        let meta = self.world.disk.metadata(dir)?;
        Ok(Like::directory(meta.mode, meta.group, self.heir()?, &self.denied))
    }

    /// What a message's file is like: it lies in a `tmp/`, `new/` or `cur/`.
    pub(super) fn like_message(&self, file: &Path) -> io::Result<Like<'_>> {
        self.like_folder(file.ancestors().nth(2).expect("a message lies in a folder"))
    }

    /// The same, for whoever writes there next.
    pub(super) fn look_at_folder_of(&self, file: &Path) -> Result<Like<'_>> {
        self.like_message(file)
            .map_err(|error| Error::io("looking at the folder of", file, error).again_after("see why"))
    }

    /// What a directory is like that is made for a folder, or for replicas' own things.
    pub(super) fn like_for(&self, dir: &Path) -> io::Result<Like<'_>> {
        if !dir.starts_with(self.mail_root()) || dir.starts_with(self.home.trash()) {
            return Ok(Like::PRIVATE);
        }
        self.like_folder(&self.above(dir)?)
    }

    /// The directory after which another one is made: the one that holds it, or the folder that it is below by its name.
    fn above(&self, dir: &Path) -> io::Result<PathBuf> {
        let parent = dir.parent().unwrap_or(dir);
        let in_root = self.layout.kind == LayoutKind::MaildirPlusPlus && parent == self.mail_root();
        let name = dir.strip_prefix(self.mail_root()).ok().filter(|_| in_root);
        let mut name = name.and_then(|name| self.layout.folder_of(name));
        let parent_of = |name: FolderName| name.as_str().rsplit_once('/')?.0.parse::<FolderName>().ok();
        while let Some(above) = name.and_then(parent_of) {
            let dir = self.dir(&above);
            match self.world.disk.metadata(&dir) {
                Ok(meta) if meta.is_dir => return Ok(dir),
                Err(error) if !is_absent(&error) => return Err(error),
                _ => name = Some(above),
            }
        }
        Ok(parent.to_owned())
    }

    /// To whom belongs what root makes: to whoever has the mail root.
    fn heir(&self) -> io::Result<Option<u32>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let owner = self.world.disk.metadata(self.mail_root())?.owner;
        Ok((owner != 0).then_some(owner))
    }

    /// Notes what could not be given to whom it should belong.
    pub(super) fn note_denied(&self) {
        if let Some(denial) = self.denied.take() {
            self.note(denial.to_string());
        }
    }
}
