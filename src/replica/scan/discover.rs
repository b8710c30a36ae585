//! Discovery: finds the folders below the mail root without reading a directory that hasn't changed.
//!
//! What can't be looked into is unknown, and nothing in it counts as gone: a directory that can't be read, one that
//! held a folder and is something else, and one that is empty where something else was mounted before.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::{FileType, Meta, is_absent, leads_nowhere};
use crate::error::Result;
use crate::maildir::LayoutKind;
use crate::maildir::listing::{Mount, Times, is_link, wall_clock};
use crate::model::FolderName;
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::Directory;

/// The folders that are there.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Each folder with its directory, absolute.
    pub folders: BTreeMap<FolderName, PathBuf>,
    /// The file systems of these directories.
    pub devices: BTreeMap<PathBuf, u64>,
    /// Directories that could not be read, relative to the mail root. Folders below them are neither found nor gone.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Maildirs, relative to the mail root, with names that no folder can have under this layout.
    pub nameless: Vec<PathBuf>,
    /// Maildirs, relative to the mail root, of folders that have another directory.
    pub doubles: Vec<(PathBuf, FolderName)>,
    /// Directories that were read.
    pub listed: u64,
    /// Whether another file system is mounted at the mail root than before, or none any more.
    pub remounted: bool,
}

impl Discovery {
    /// Whether this directory, relative to the mail root, could not be looked into.
    pub fn hides(&self, dir: &Path) -> bool {
        self.unreadable.iter().any(|(hidden, _)| dir.starts_with(hidden))
    }
}

/// The record of each directory.
pub(super) type Known = BTreeMap<PathBuf, Directory>;

/// The Maildirs of each folder, relative to the mail root, with their file systems.
pub(super) type Maildirs = BTreeMap<FolderName, BTreeMap<PathBuf, u64>>;

/// Directories in which known folders are expected. If a directory's name doesn't tell its folder, the folder stands
/// with it.
pub(super) type Expected = BTreeMap<PathBuf, Option<FolderName>>;

/// A directory that is to be looked at.
struct Candidate {
    /// Its path, relative to the mail root.
    dir: PathBuf,
    /// Its path without symbolic links, unless it is one itself.
    canonical: PathBuf,
    /// Whether a symbolic link has its name.
    is_link: bool,
    /// The file system of the directory above it.
    above: u64,
}

/// The contents of one directory.
#[derive(Default)]
struct Searched {
    /// Directories to be searched: their names.
    subdirectories: Vec<OsString>,
    /// The same, behind symbolic links.
    linked: Vec<OsString>,
    /// Names of what held folders and is no directory, and why.
    spoilt: Vec<(OsString, &'static str)>,
    is_folder: bool,
    /// Whether there is nothing in it, but for what a new file system has.
    is_empty: bool,
    /// Its times, if nothing has changed it meanwhile.
    clean: Option<Times>,
}

const NO_DIRECTORY: &str = "a folder was there, and it is not a directory";
const DANGLING: &str = "a folder was there, and it is a symbolic link that leads nowhere";
const UNMOUNTED: &str = "it is empty, and something else was mounted there before";

/// A discovery under way.
struct Search<'r> {
    replica: &'r Replica,
    tx: &'r Transaction<'r>,
    known: Known,
    expected: Expected,
    /// The directories that held folders at the last look.
    held: BTreeSet<PathBuf>,
    found: Discovery,
    visited: BTreeSet<PathBuf>,
    /// The canonical paths of the directories that were visited. A symbolic link may lead to one of them, or in a
    /// circle. The numbers of inodes don't tell: some file systems give one to several directories.
    canonical: HashSet<PathBuf>,
    maildirs: Maildirs,
    todo: Vec<Candidate>,
    /// A directory goes by its own name, not by the name of a symbolic link to it. So links are followed last.
    links: Vec<Candidate>,
}

impl Replica {
    /// Finds the folders, and records the directories.
    pub(super) fn discover(&self, tx: &Transaction<'_>) -> Result<Discovery> {
        let root = self.mail_root();
        let mut search = Search {
            replica: self,
            tx,
            known: self.unless_ignored_otherwise(tx, self.state.directories()?)?,
            expected: self.expected_dirs(),
            held: self.held_dirs(),
            found: Discovery::default(),
            visited: BTreeSet::new(),
            canonical: HashSet::new(),
            maildirs: Maildirs::new(),
            todo: Vec::new(),
            links: Vec::new(),
        };
        let progress = self.world.meter.begin("searching for folders", 0);
        match self.world.disk.metadata(root.parent().unwrap_or(root)) {
            // The mail root may be a symbolic link itself.
            Ok(above) => search.todo.push(Candidate {
                dir: PathBuf::new(),
                canonical: PathBuf::new(),
                is_link: true,
                above: above.device,
            }),
            Err(error) => search.unreadable(PathBuf::new(), true, error)?,
        }
        while let Some(candidate) = search.todo.pop().or_else(|| search.links.pop()) {
            progress.advance(1);
            if !self.ignores(&candidate.dir) {
                search.visit(candidate)?;
            }
        }
        let Search { known, mut found, visited, maildirs, .. } = search;
        for gone in known.keys().filter(|dir| !visited.contains(*dir) && !found.hides(dir)) {
            tx.remove_directory(gone)?;
        }
        self.assign_dirs(tx, maildirs, &mut found)?;
        Ok(found)
    }

    /// The directories of folders that were there at the last look.
    fn held_dirs(&self) -> BTreeSet<PathBuf> {
        let rows = self.state.all_folders();
        rows.iter().filter(|row| row.on_disk).map(|row| self.relative_dir(&row.name)).collect()
    }

    /// The directories of known folders, and the directories above them, whose names alone don't show a folder: names
    /// that begin with a dot, and names that were cut. A cut name has its folder with it.
    pub(super) fn expected_dirs(&self) -> Expected {
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
}

impl Search<'_> {
    fn path(&self, dir: &Path) -> PathBuf {
        self.replica.mail_root().join(dir)
    }

    /// Whether a folder was in this directory or below it at the last look.
    fn held_folders(&self, dir: &Path) -> bool {
        self.held.range(dir.to_owned()..).next().is_some_and(|held| held.starts_with(dir))
    }

    /// Looks at one directory.
    fn visit(&mut self, candidate: Candidate) -> Result<()> {
        let path = self.path(&candidate.dir);
        let (meta, canonical) = match self.look(&candidate, &path) {
            Ok(Some(looked)) => looked,
            Ok(None) => return Ok(()),
            Err(error) => return self.unreadable(candidate.dir, candidate.is_link, error),
        };
        if !self.canonical.insert(canonical.clone()) {
            return Ok(());
        }
        let Candidate { dir, is_link, above, .. } = candidate;
        let mount = Mount { device: meta.device, above };
        let known = self.known.get(&dir).copied();
        let is_root = dir.as_os_str().is_empty();
        let remounted = known.and_then(|known| known.mount).is_some_and(|before| mount.differs(before));
        let unchanged = known.filter(|known| known.times == Some(Times::of(&meta)) && !remounted);
        let is_folder = if let Some(known) = unchanged {
            for (child, child_is_link) in children(&self.known, &dir) {
                let name = child.file_name().expect("it is below another").to_owned();
                self.push(&dir, &canonical, &name, meta.device, child_is_link);
            }
            if known.mount != Some(mount) {
                self.tx.set_directory(&dir, &Directory { mount: Some(mount), ..known })?;
            }
            known.is_folder
        } else {
            let searched = match self.search(&dir, &path) {
                Ok(searched) if searched.is_empty && remounted && !is_root => {
                    return self.unreadable(dir, is_link, unusable(UNMOUNTED));
                }
                Ok(searched) => searched,
                Err(error) => return self.unreadable(dir, is_link, error),
            };
            self.found.listed += 1;
            searched.subdirectories.iter().for_each(|name| self.push(&dir, &canonical, name, meta.device, false));
            searched.linked.iter().for_each(|name| self.push(&dir, &canonical, name, meta.device, true));
            for (name, why) in searched.spoilt {
                self.unreadable(dir.join(name), true, unusable(why))?;
            }
            let Searched { clean: times, is_folder, .. } = searched;
            self.tx.set_directory(&dir, &Directory { times, mount: Some(mount), is_folder, is_link })?;
            is_folder
        };
        if is_root {
            self.found.remounted = remounted;
        }
        if is_folder {
            self.found_folder(&dir, meta.device)?;
        }
        self.visited.insert(dir);
        Ok(())
    }

    fn found_folder(&mut self, dir: &Path, device: u64) -> Result<()> {
        match self.replica.folder_at(dir)?.or_else(|| self.expected.get(dir).cloned().flatten()) {
            Some(name) => drop(self.maildirs.entry(name).or_default().insert(dir.to_owned(), device)),
            None => self.found.nameless.push(dir.to_owned()),
        }
        Ok(())
    }

    /// The directory behind a name, with its canonical path; `None` if none is there, and none that held a folder was.
    fn look(&self, candidate: &Candidate, path: &Path) -> io::Result<Option<(Meta, PathBuf)>> {
        let (disk, dir) = (&*self.replica.world.disk, &candidate.dir);
        match disk.metadata(path) {
            Ok(meta) if meta.is_dir => {
                let canonical = if candidate.is_link { disk.canonical(path)? } else { candidate.canonical.clone() };
                Ok(Some((meta, canonical)))
            }
            Ok(_) if self.held_folders(dir) => Err(unusable(NO_DIRECTORY)),
            Ok(_) => Ok(None),
            Err(error) if leads_nowhere(&error) && !dir.as_os_str().is_empty() => {
                if is_link(disk, path)? && self.held_folders(dir) { Err(unusable(DANGLING)) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    /// The next scan must look at this directory even if its parent doesn't change. It would otherwise miss it, and
    /// take the folders in it for removed.
    fn unreadable(&mut self, dir: PathBuf, is_link: bool, error: io::Error) -> Result<()> {
        if !self.known.contains_key(&dir) {
            self.tx.set_directory(&dir, &Directory { times: None, mount: None, is_folder: false, is_link })?;
        }
        self.found.unreadable.push((dir, error));
        Ok(())
    }

    fn push(&mut self, dir: &Path, canonical: &Path, name: &OsStr, above: u64, is_link: bool) {
        let candidate = Candidate { dir: dir.join(name), canonical: canonical.join(name), is_link, above };
        if is_link { self.links.push(candidate) } else { self.todo.push(candidate) }
    }

    /// Reads one directory.
    fn search(&self, dir: &Path, path: &Path) -> io::Result<Searched> {
        let disk = &*self.replica.world.disk;
        let before = Times::of(&disk.metadata(path)?);
        let started = wall_clock();
        let mut found = Searched { is_empty: true, ..Searched::default() };
        let (mut unclear, mut others) = (Vec::new(), Vec::new());
        disk.list(path, &mut |name, kind| {
            // A file system that was just made has this.
            found.is_empty &= name == "lost+found";
            match kind {
                FileType::Directory if is_sub(name) => found.is_folder |= name != "tmp",
                FileType::Directory => found.subdirectories.push(name.to_owned()),
                FileType::Unclear => unclear.push(name.to_owned()),
                FileType::File | FileType::Other => others.push((name.to_owned(), NO_DIRECTORY)),
            }
        })?;
        for name in unclear {
            let is_dir = match disk.metadata(&path.join(&name)) {
                Ok(meta) => meta.is_dir,
                Err(error) if leads_nowhere(&error) => {
                    others.push((name, DANGLING));
                    continue;
                }
                // This may be a known folder. It is searched, so that it is reported as unreadable.
                Err(_) => true,
            };
            match (is_dir, is_sub(&name)) {
                (true, true) => found.is_folder |= name != "tmp",
                (true, false) => found.linked.push(name),
                (false, _) => others.push((name, NO_DIRECTORY)),
            }
        }
        for (name, why) in others {
            if is_sub(&name) {
                // The listing then tells what is wrong with it.
                found.is_folder |= name != "tmp" && self.held.contains(dir);
            } else if self.held_folders(&dir.join(&name)) {
                found.spoilt.push((name, why));
            }
        }
        for names in [&mut found.subdirectories, &mut found.linked] {
            names.retain(|name| self.replica.may_hold_folders(&self.expected, dir, path, name));
        }
        let clean = before.settled(started) && Times::of(&disk.metadata(path)?) == before;
        found.clean = clean.then_some(before);
        Ok(found)
    }
}

impl Replica {
    /// Whether a subdirectory of `dir`, whose path is `path`, is to be searched.
    pub(super) fn may_hold_folders(&self, expected: &Expected, dir: &Path, path: &Path, name: &OsStr) -> bool {
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
                let may_be_dir = |sub: &&str| match self.world.disk.metadata(&path.join(name).join(sub)) {
                    Ok(meta) => meta.is_dir,
                    // It is searched, so that it is reported.
                    Err(error) => !is_absent(&error) && !leads_nowhere(&error),
                };
                expected.contains_key(&dir.join(name)) || ["cur", "new"].iter().any(may_be_dir)
            }
            LayoutKind::Fs => true,
        }
    }
}

fn unusable(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn is_sub(name: &OsStr) -> bool {
    name == "cur" || name == "new" || name == "tmp"
}

/// The known directories directly below this one, and whether each is behind a symbolic link.
fn children(known: &Known, dir: &Path) -> Vec<(PathBuf, bool)> {
    let below = known
        .range(dir.to_owned()..)
        .skip_while(|(path, _)| *path == dir)
        .take_while(|(path, _)| path.starts_with(dir));
    below.filter(|(path, _)| path.parent() == Some(dir)).map(|(path, known)| (path.clone(), known.is_link)).collect()
}
