//! Which directory a folder has here. It is the one that the layout says, unless that can't be had: the file system
//! folds case, or writes accents in another way, and the name is another folder's already; or it refuses the name; or the
//! name is of a kind that is ignored; or a server would not list it. Such a folder gets a directory whose name is spelled
//! out. What is particular is kept in the state, and only here: to other replicas a folder is its canonical name.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::Replica;
use super::transaction::Transaction;
use crate::disk::{FileType, Meta, is_absent, is_there, refuses_name};
use crate::error::{Error, Result, Scope};
use crate::maildir::{LayoutKind, Spelling};
use crate::model::FolderName;
use crate::state::{FolderKey, FolderRow};

/// What has a name on disk that a folder could have.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// Nothing has it, or the folder itself.
    Nobody,
    /// A directory that the file system calls so, and that is no other folder's.
    OwnAs(PathBuf),
    /// Another folder.
    Other,
}

impl Replica {
    /// A folder's directory, relative to the mail root.
    pub(super) fn relative_dir(&self, name: &FolderName) -> PathBuf {
        let particular = self.state.find_folder(name).and_then(|key| self.state.particular_dir(key));
        particular.unwrap_or_else(|| self.usual_dir(name))
    }

    /// The directory that the layout gives a folder. That of one folder is asked for again and again, for each of its
    /// messages.
    fn usual_dir(&self, name: &FolderName) -> PathBuf {
        let mut last = self.last_dir.borrow_mut();
        match &*last {
            Some((folder, dir)) if folder == name => dir.clone(),
            _ => last.insert((name.clone(), self.layout.dir_of(name))).1.clone(),
        }
    }

    /// A folder's directory.
    pub(super) fn dir(&self, name: &FolderName) -> PathBuf {
        let relative = self.relative_dir(name);
        if relative.as_os_str().is_empty() { self.mail_root().to_owned() } else { self.mail_root().join(relative) }
    }

    /// The folder whose directory this is, relative to the mail root. `None` if no folder can have it, or if only its
    /// name on disk was cut and nobody here knows the folder.
    pub(super) fn folder_at(&self, dir: &Path) -> Result<Option<FolderName>> {
        if let Some(key) = self.state.folder_with_dir(dir) {
            return Ok(Some(self.state.folder_row(key)?.name.clone()));
        }
        // The longest one is the nearest one above.
        let mut above = self.state.particular_dirs();
        above.sort_by_key(|(above, _)| std::cmp::Reverse(above.as_os_str().len()));
        for (above, key) in above {
            let row = self.state.folder_row(key)?;
            if let Some(name) = self.layout.folder_below((&above, &row.name), dir) {
                return Ok(Some(name));
            }
        }
        Ok(self.layout.folder_of(dir))
    }

    /// Whether a directory, relative to the mail root, is not to be looked at.
    pub(super) fn ignores(&self, dir: &Path) -> bool {
        // A folder of an ignored name that came from elsewhere has been given another directory.
        let folder = self.layout.folder_of(dir).filter(|folder| self.layout.dir_of(folder) == dir);
        self.ignored.has(dir, folder.as_ref())
    }

    /// Decides which directory a folder has that is about to be made, and records it. Without a transaction it is durable
    /// at once.
    pub(super) fn choose_dir(&self, tx: Option<&Transaction<'_>>, key: FolderKey) -> Result<()> {
        let row = self.state.folder_row(key)?;
        if row.on_disk || (row.name.is_inbox() && self.layout.dir_of(&row.name).as_os_str().is_empty()) {
            return Ok(());
        }
        let depth = row.name.components().count();
        let mut above = (depth > 1).then(PathBuf::new);
        for depth in 1..=depth {
            above = Some(self.choose_below(above.as_deref(), &row.name.first(depth))?);
        }
        self.record_dir(tx, &row, &above.expect("a name has a component"))
    }

    /// Makes a directory in that of a folder that is about to be made. If the file system refuses a name on the way, the
    /// folder gets another one. The inner result tells what else kept it from being made.
    pub(super) fn make_in_chosen_dir(
        &self,
        tx: Option<&Transaction<'_>>,
        key: FolderKey,
        make: impl Fn() -> io::Result<()>,
    ) -> Result<io::Result<()>> {
        loop {
            self.choose_dir(tx, key)?;
            match make() {
                // Some say that a name isn't there which can't be.
                Err(error)
                    if (refuses_name(&error) || error.kind() == io::ErrorKind::NotFound)
                        && self.refuse_name(key)? => {}
                result => return Ok(result),
            }
        }
    }

    /// Remembers the name on the way to a folder that could not be made. Returns whether it wasn't known.
    fn refuse_name(&self, key: FolderKey) -> Result<bool> {
        let dir = self.relative_dir(&self.state.folder_row(key)?.name);
        if !is_there(&*self.world.disk, self.mail_root())? {
            return Ok(false);
        }
        let mut way = PathBuf::new();
        for part in &dir {
            way.push(part);
            if self.holder_of(&way)?.is_none() {
                return Ok(self.refused.borrow_mut().insert(way));
            }
        }
        Ok(false)
    }

    /// The directory for a folder whose parent has this one.
    fn choose_below(&self, above: Option<&Path>, name: &FolderName) -> Result<PathBuf> {
        let (layout, here) = (&self.layout, self.relative_dir(name));
        if let Some(key) = self.state.find_folder(name)
            && self.state.folder_row(key)?.on_disk
            && !here.as_os_str().is_empty()
        {
            return Ok(here);
        }
        let out = layout.dir_spelled_out(name);
        let candidates = match above {
            // Nothing can be put behind a name that was cut.
            Some(above) if layout.kind == LayoutKind::MaildirPlusPlus && layout.is_cut(above) => {
                [layout.dir_of(name), out.clone()]
            }
            above => [Spelling::Usual, Spelling::Out].map(|spelling| layout.dir_below(above, name, spelling)),
        };
        for (dir, spelling) in candidates.iter().zip([Spelling::Usual, Spelling::Out]) {
            if self.refused.borrow().contains(dir) || (spelling == Spelling::Usual && self.is_unfit(dir, name)) {
                continue;
            }
            match self.who_has(dir, name)? {
                Holder::Nobody => return Ok(dir.clone()),
                Holder::OwnAs(dir) => return Ok(dir),
                Holder::Other => {}
            }
        }
        let [_, last] = candidates;
        Ok(if layout.kind == LayoutKind::Fs { last } else { out })
    }

    /// Whether no folder is to be made under this name: it would be ignored; or Dovecot takes it for the INBOX in another
    /// case, doesn't list it, and looks for what is below it elsewhere.
    fn is_unfit(&self, dir: &Path, name: &FolderName) -> bool {
        let first = name.first(1);
        let inbox = first.as_str().eq_ignore_ascii_case("INBOX") && !first.is_inbox();
        let at_root = || self.layout.dir_of(&FolderName::inbox()).as_os_str().is_empty();
        (inbox && name == &first && at_root()) || self.ignores(dir)
    }

    /// Gives folders that were just made their usual directories, where what had those has just been removed: somebody
    /// has renamed a folder elsewhere, and only its case. Nobody has these folders open yet. If this is interrupted, the
    /// next scan finds them there.
    pub(super) fn settle_names(&self, made: &BTreeSet<FolderKey>, touched: &mut BTreeSet<PathBuf>) -> Result<()> {
        for &key in made {
            let row = self.state.folder_row(key)?;
            let (here, usual) = (self.relative_dir(&row.name), self.layout.dir_of(&row.name));
            let Some(depth) = here.iter().zip(&usual).position(|(here, usual)| here != usual) else { continue };
            let first = |dir: &Path| dir.iter().take(depth + 1).collect::<PathBuf>();
            let (from, to) = (first(&here), first(&usual));
            let name = match self.layout.kind {
                LayoutKind::Fs => row.name.first(depth + 1),
                LayoutKind::MaildirPlusPlus => row.name.clone(),
            };
            let mut moving = self.state.all_folders();
            moving.retain(|row| self.lies_in(&self.relative_dir(&row.name), &from));
            let (old, new) = (self.mail_root().join(&from), self.mail_root().join(&to));
            if moving.iter().any(|row| !made.contains(&row.key))
                || self.refused.borrow().contains(&to)
                || self.is_unfit(&to, &name)
                || is_there(&*self.world.disk, &new)?
                || self.who_has(&to, &name)? != Holder::Nobody
            {
                continue;
            }
            if let Err(error) = self.world.disk.rename(&old, &new) {
                if Scope::of(&error) == Scope::Disk {
                    return Err(Error::io("renaming", &old, error).again_after("check the disk"));
                }
                self.note(format!(
                    "the folder {name} stays in {}, and could not go to {}: {error}",
                    old.display(),
                    new.display()
                ));
                continue;
            }
            let tx = self.begin()?;
            for row in moving {
                let rest = self.relative_dir(&row.name).strip_prefix(&from).expect("it lies in it").to_owned();
                let dir = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                self.record_dir(Some(&tx), &row, &dir)?;
            }
            tx.commit()?;
            let inside = |dir: &PathBuf| dir.strip_prefix(&old).map_or_else(|_| dir.clone(), |rest| new.join(rest));
            *touched = touched.iter().map(inside).collect();
            touched.extend(self.upwards(&new).skip(1));
        }
        Ok(())
    }

    /// Finds out who has a directory's name, however the file system writes it.
    fn who_has(&self, dir: &Path, name: &FolderName) -> Result<Holder> {
        let known = (name.clone(), dir.to_owned());
        if self.verified.borrow().contains(&known) {
            return Ok(Holder::Nobody);
        }
        let particular = self.state.particular_dirs();
        for key in particular.into_iter().filter(|(taken, _)| self.lies_in(taken, dir)).map(|(_, key)| key) {
            if is_another(&*self.state.folder_row(key)?, name) {
                return Ok(Holder::Other);
            }
        }
        let Some(meta) = self.holder_of(dir)? else { return Ok(Holder::Nobody) };
        let held = match self.name_on_disk(dir, &meta)? {
            NameOnDisk::Same => Holder::Nobody,
            NameOnDisk::Unclear => Holder::Other,
            NameOnDisk::As(actual) if self.is_anothers_dir(&actual, name)? => Holder::Other,
            NameOnDisk::As(actual) => Holder::OwnAs(actual),
        };
        if held == Holder::Nobody {
            self.verified.borrow_mut().insert(known);
        }
        Ok(held)
    }

    /// Whether a directory is this one, or belongs to a folder below it.
    fn lies_in(&self, dir: &Path, above: &Path) -> bool {
        if self.layout.kind == LayoutKind::Fs { dir.starts_with(above) } else { dir == above }
    }

    /// Whether some folder that is here, or is to be, has this directory, or one below it, other than the folder `name`
    /// and those below that.
    fn is_anothers_dir(&self, dir: &Path, name: &FolderName) -> Result<bool> {
        for row in self.state.all_folders() {
            let is_here =
                row.on_disk || row.state.is_none_or(|state| state.present) || self.state.folder_has_files(row.key)?;
            if is_here && is_another(&row, name) && self.lies_in(&self.relative_dir(&row.name), dir) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How the file system itself writes the last component of this directory's name, which was found there.
    fn name_on_disk(&self, dir: &Path, meta: &Meta) -> Result<NameOnDisk> {
        let root = self.mail_root();
        let (Some(name), above) = (dir.file_name(), dir.parent().unwrap_or(Path::new(""))) else {
            return Ok(NameOnDisk::Same);
        };
        let (mut same, mut others): (bool, Vec<OsString>) = (false, Vec::new());
        let listed = self.world.disk.list(&root.join(above), &mut |found: &OsStr, kind| {
            same |= found == name;
            if matches!(kind, FileType::Directory | FileType::Unclear) {
                others.push(found.to_owned());
            }
        });
        // What can't be listed can still be used under the name that it has been found by.
        match listed {
            Err(error) if Scope::of(&error) == Scope::Disk => {
                return Err(Error::io("listing", &root.join(above), error).again_after("check the disk"));
            }
            Err(_) => return Ok(NameOnDisk::Same),
            Ok(()) if same => return Ok(NameOnDisk::Same),
            Ok(()) => {}
        }
        let mut found = Vec::new();
        for other in others {
            let other = above.join(other);
            if self.holder_of(&other)?.is_some_and(|looked| (looked.device, looked.inode) == (meta.device, meta.inode))
            {
                found.push(other);
            }
        }
        Ok(match (found.pop(), found.pop()) {
            (Some(one), None) => NameOnDisk::As(one),
            _ => NameOnDisk::Unclear,
        })
    }

    /// What has this name, relative to the mail root. `None` as well if it can't be looked at: making it tells why.
    fn holder_of(&self, dir: &Path) -> Result<Option<Meta>> {
        let path = self.mail_root().join(dir);
        match self.world.disk.metadata(&path) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if is_absent(&error) || Scope::of(&error) == Scope::Place => Ok(None),
            Err(error) => Err(Error::io("looking at", &path, error).again_after("check the disk")),
        }
    }

    /// Finds out how the file system writes the name of a directory that was just made for a folder, and records it.
    /// Names that are nothing but lower-case letters of ASCII, digits and the like are written by all as they were given.
    pub(super) fn read_dir_back(&self, tx: Option<&Transaction<'_>>, key: FolderKey) -> Result<()> {
        let row = self.state.folder_row(key)?;
        let mut actual = PathBuf::new();
        for part in &self.relative_dir(&row.name) {
            actual.push(part);
            if is_plain(part) {
                continue;
            }
            let dir = actual.clone();
            if let Some(meta) = self.holder_of(&dir)?
                && let NameOnDisk::As(other) = self.name_on_disk(&dir, &meta)?
            {
                actual = other;
            }
        }
        self.record_dir(tx, &row, &actual)
    }

    /// Records the directory that a folder has.
    pub(super) fn record_dir(&self, tx: Option<&Transaction<'_>>, row: &FolderRow, dir: &Path) -> Result<()> {
        let particular = (dir != self.layout.dir_of(&row.name)).then_some(dir);
        if self.state.particular_dir(row.key).as_deref() == particular {
            return Ok(());
        }
        if let Some(tx) = tx {
            return tx.set_particular_dir(row.key, particular);
        }
        let tx = self.begin()?;
        tx.set_particular_dir(row.key, particular)?;
        tx.commit()
    }
}

/// Whether a folder is neither this one nor below it.
fn is_another(row: &FolderRow, name: &FolderName) -> bool {
    row.name.first(name.components().count()) != *name
}

/// How a file system writes a name under which something was found.
enum NameOnDisk {
    /// Like this.
    Same,
    /// In another way.
    As(PathBuf),
    /// Nobody can tell.
    Unclear,
}

/// Whether every file system that takes a name writes it as it was given.
fn is_plain(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let plain = |c: &u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'%' | b'~');
    bytes.iter().all(plain) && !bytes.ends_with(b".")
}
