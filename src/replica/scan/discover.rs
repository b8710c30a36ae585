//! Discovery: finds the folders below the mail root without reading a directory that hasn't changed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::{FileType, leads_nowhere};
use crate::error::Result;
use crate::maildir::LayoutKind;
use crate::maildir::listing::{settled, wall_clock};
use crate::model::{FolderName, Mtime};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;

/// The folders that are there.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Each folder with its directory, absolute.
    pub folders: BTreeMap<FolderName, PathBuf>,
    /// Directories that could not be read. Folders below them are neither found nor gone.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Maildirs, relative to the mail root, with names that no folder can have under this layout.
    pub nameless: Vec<PathBuf>,
    /// Maildirs, relative to the mail root, of folders that have another directory.
    pub doubles: Vec<(PathBuf, FolderName)>,
    /// Directories that were read.
    pub listed: u64,
}

impl Discovery {
    /// Whether this directory, relative to the mail root, could not be looked into.
    pub fn hides(&self, dir: &Path) -> bool {
        self.unreadable.iter().any(|(hidden, _)| dir.starts_with(hidden))
    }
}

/// The record of each directory: its modification time at a clean listing, and whether it is a folder.
type Known = BTreeMap<PathBuf, (Option<Mtime>, bool)>;

/// Directories in which known folders are expected. If a directory's name doesn't tell its folder, the folder stands
/// with it.
type Expected = BTreeMap<PathBuf, Option<FolderName>>;

/// The contents of one directory.
struct Searched {
    /// Directories to be searched.
    subdirectories: Vec<PathBuf>,
    /// The same, behind symbolic links.
    linked: Vec<PathBuf>,
    is_folder: bool,
}

impl Replica {
    /// Finds the folders, and records the directories.
    pub(super) fn discover(&self, tx: &Transaction<'_>) -> Result<Discovery> {
        let known: Known =
            self.state.directories()?.into_iter().map(|(path, mtime, folder)| (path, (mtime, folder))).collect();
        let known = self.unless_ignored_otherwise(tx, known)?;
        let expected = self.expected_dirs();
        let mut found = Discovery::default();
        let mut maildirs: BTreeMap<FolderName, BTreeSet<PathBuf>> = BTreeMap::new();
        let progress = self.world.meter.begin("searching for folders", 0);
        let mut visited = BTreeSet::new();
        let mut identities = HashSet::new();
        let mut todo = vec![PathBuf::new()];
        // A directory goes by its own name, not by the name of a symbolic link to it. So links are followed last.
        let mut links = Vec::new();
        while let Some(dir) = todo.pop().or_else(|| links.pop()) {
            progress.advance(1);
            if self.ignores(&dir) {
                continue;
            }
            let path = self.mail_root().join(&dir);
            let meta = match self.world.disk.metadata(&path) {
                Ok(meta) if meta.is_dir => meta,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.as_os_str().is_empty() => continue,
                Err(error) => {
                    found.unreadable.push((dir, error));
                    continue;
                }
            };
            // A symbolic link may lead to a directory that was seen already, or in a circle.
            if !identities.insert((meta.device, meta.inode)) {
                continue;
            }
            let unchanged = known.get(&dir).filter(|(mtime, _)| *mtime == Some(meta.mtime));
            let is_folder = if let Some(&(_, is_folder)) = unchanged {
                todo.extend(children(&known, &dir));
                is_folder
            } else {
                match self.search(tx, &dir, &path, &expected) {
                    Ok(Searched { subdirectories, linked, is_folder }) => {
                        found.listed += 1;
                        todo.extend(subdirectories);
                        links.extend(linked);
                        is_folder
                    }
                    Err(error) => {
                        found.unreadable.push((dir, error));
                        continue;
                    }
                }
            };
            if is_folder {
                match self.folder_at(&dir)?.or_else(|| expected.get(&dir).cloned().flatten()) {
                    Some(name) => drop(maildirs.entry(name).or_default().insert(dir.clone())),
                    None => found.nameless.push(dir.clone()),
                }
            }
            visited.insert(dir);
        }
        // The next scan must look at these directories even if their parents don't change. It would otherwise miss
        // them, and take the folders in them for removed.
        for (dir, _) in found.unreadable.iter().filter(|(dir, _)| !known.contains_key(dir)) {
            tx.set_directory(dir, None, false)?;
        }
        for gone in known.keys().filter(|dir| !visited.contains(*dir) && !found.hides(dir)) {
            tx.remove_directory(gone)?;
        }
        self.assign_dirs(tx, maildirs, &mut found)?;
        Ok(found)
    }

    /// What is known of the directories; if other ones were ignored when they were read, they are read again.
    fn unless_ignored_otherwise(&self, tx: &Transaction<'_>, mut known: Known) -> Result<Known> {
        let patterns = self.config.ignore.join("\n");
        if self.state.ignored()?.as_deref() != Some(&patterns) {
            for (mtime, _) in known.values_mut() {
                *mtime = None;
            }
            tx.set_ignored(&patterns)?;
        }
        Ok(known)
    }

    /// Gives each folder its directory. It may have two, whose names lead to it: as the layout has it, and spelled out.
    /// Then it keeps the one that it had; if that is gone, somebody has renamed it.
    fn assign_dirs(
        &self,
        tx: &Transaction<'_>,
        maildirs: BTreeMap<FolderName, BTreeSet<PathBuf>>,
        found: &mut Discovery,
    ) -> Result<()> {
        for (name, dirs) in maildirs {
            let (before, usual) = (self.relative_dir(&name), self.layout.dir_of(&name));
            let is_known = self.state.find_folder(&name).map(|key| self.state.folder_row(key)).transpose()?;
            let was_here = is_known.is_some_and(|row| row.on_disk);
            let Some(dir) = (match dirs.first() {
                _ if dirs.contains(&before) => Some(&before),
                _ if was_here && (found.hides(&before) || self.ignores(&before)) => None,
                _ if dirs.contains(&usual) => Some(&usual),
                first => first,
            }) else {
                found.doubles.extend(dirs.into_iter().map(|dir| (dir, name.clone())));
                continue;
            };
            if *dir != before {
                let row = self.state.folder_row(tx.folder(&name)?)?;
                self.record_dir(Some(tx), &row, dir)?;
            }
            let path =
                if dir.as_os_str().is_empty() { self.mail_root().to_owned() } else { self.mail_root().join(dir) };
            found.doubles.extend(dirs.iter().filter(|other| *other != dir).map(|other| (other.clone(), name.clone())));
            found.folders.insert(name, path);
        }
        Ok(())
    }

    /// The directories of known folders, and the directories above them, whose names alone don't show a folder: names
    /// that begin with a dot, and names that were cut. A cut name has its folder with it.
    fn expected_dirs(&self) -> Expected {
        let mut expected = Expected::new();
        for row in self.state.all_folders() {
            let dir = self.relative_dir(&row.name);
            let hidden = dir.iter().any(|part| part.as_bytes().starts_with(b"."));
            let cut = self.layout.is_cut(&dir);
            if hidden || cut {
                for above in dir.ancestors().skip(1) {
                    expected.entry(above.to_owned()).or_default();
                }
                expected.insert(dir, cut.then(|| row.name.clone()));
            }
        }
        expected
    }

    /// Reads one directory.
    fn search(&self, tx: &Transaction<'_>, dir: &Path, path: &Path, expected: &Expected) -> io::Result<Searched> {
        let before = self.world.disk.metadata(path)?.mtime;
        let started = wall_clock();
        let (mut subdirectories, mut linked) = (Vec::new(), Vec::new());
        let mut is_folder = false;
        let mut unclear = Vec::new();
        self.world.disk.list(path, &mut |name, kind| match kind {
            FileType::Directory if is_sub(name) => is_folder |= name != "tmp",
            FileType::Directory => subdirectories.push(name.to_owned()),
            FileType::Unclear => unclear.push(name.to_owned()),
            FileType::File | FileType::Other => {}
        })?;
        for name in unclear {
            let is_dir = match self.world.disk.metadata(&path.join(&name)) {
                Ok(meta) => meta.is_dir,
                Err(error) if leads_nowhere(&error) => false,
                // This may be a known folder. It is searched, so that it is reported as unreadable.
                Err(_) => true,
            };
            if is_dir {
                if is_sub(&name) {
                    is_folder |= name != "tmp";
                } else {
                    linked.push(name);
                }
            }
        }
        for names in [&mut subdirectories, &mut linked] {
            names.retain(|name| self.may_hold_folders(dir, path, name, expected));
        }
        let clean = settled(before, started) && self.world.disk.metadata(path)?.mtime == before;
        tx.set_directory(dir, clean.then_some(before), is_folder).map_err(io::Error::other)?;
        let below = |names: Vec<std::ffi::OsString>| names.iter().map(|name| dir.join(name)).collect();
        Ok(Searched { subdirectories: below(subdirectories), linked: below(linked), is_folder })
    }

    /// Whether a subdirectory is to be searched.
    fn may_hold_folders(&self, dir: &Path, path: &Path, name: &OsStr, expected: &Expected) -> bool {
        // To delete a mailbox, Dovecot gives its directory such a name and then empties it.
        if name.as_bytes().starts_with(b"..DOVECOT-T") {
            return false;
        }
        let dotted = name.as_bytes().starts_with(b".");
        match self.layout.kind {
            LayoutKind::MaildirPlusPlus => dir.as_os_str().is_empty() && dotted,
            // Programs keep their own things in such directories. One counts only if it is a Maildir or was made for
            // folders.
            LayoutKind::Fs if dotted => {
                let is_dir =
                    |sub: &&str| self.world.disk.metadata(&path.join(name).join(sub)).is_ok_and(|meta| meta.is_dir);
                expected.contains_key(&dir.join(name)) || ["cur", "new"].iter().any(is_dir)
            }
            LayoutKind::Fs => true,
        }
    }
}

fn is_sub(name: &OsStr) -> bool {
    name == "cur" || name == "new" || name == "tmp"
}

/// The known directories directly below this one.
fn children(known: &Known, dir: &Path) -> Vec<PathBuf> {
    let below = known
        .range(dir.to_owned()..)
        .skip_while(|(path, _)| *path == dir)
        .take_while(|(path, _)| path.starts_with(dir));
    below.map(|(path, _)| path).filter(|path| path.parent() == Some(dir)).cloned().collect()
}
