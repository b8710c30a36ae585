//! A file system that doesn't take names as they are given: it folds case, or writes accents in its own way, or refuses
//! characters. It stands on another one, which may be watched and hindered.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use mailsync::disk::{Disk, FileType, Meta, Rights, Scratch, Space};
use mailsync::model::Mtime;
use rustix::io::Errno;

/// What it does with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// A name is found in any case, and kept in the one that it was given in.
    AnyCase,
    /// Accents are written behind their letters, and so they are listed; a name is found however they are written.
    AccentsApart,
    /// A colon can't be in a name, and some other characters.
    NoColons,
    /// The same, and it says of such a name that it isn't there, as exFAT does.
    ColonsAreAbsent,
}

/// The file system; everything below `root` is on it.
pub struct Folding {
    below: Box<dyn Disk>,
    root: PathBuf,
    habit: Habit,
}

impl Folding {
    pub fn new(below: Box<dyn Disk>, root: &Path, habit: Habit) -> Self {
        Self { below, root: root.to_owned(), habit }
    }

    /// The name by which it knows two for one.
    fn key(&self, name: &OsStr) -> OsString {
        let text = name.to_str().expect("the tests' names are text");
        match self.habit {
            Habit::AnyCase => text.to_lowercase().into(),
            Habit::AccentsApart => apart(text).into(),
            Habit::NoColons | Habit::ColonsAreAbsent => name.to_owned(),
        }
    }

    /// Where a name is on the disk below, or would be.
    fn path(&self, path: &Path) -> PathBuf {
        let Ok(inside) = path.strip_prefix(&self.root) else { return path.to_owned() };
        let mut found = self.root.clone();
        for part in inside {
            let key = self.key(part);
            let there = fs::read_dir(&found).into_iter().flatten().map(|item| item.unwrap().file_name());
            let name = there.into_iter().find(|name| self.key(name) == key);
            found.push(name.unwrap_or_else(|| if self.habit == Habit::AccentsApart { key } else { part.to_owned() }));
        }
        found
    }

    fn new_path(&self, path: &Path) -> io::Result<PathBuf> {
        let refused = |c: u8| b":?*<>|\"\\".contains(&c);
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if path.starts_with(&self.root) && name.iter().any(|&c| refused(c)) {
            match self.habit {
                Habit::NoColons => return Err(Errno::INVAL.into()),
                Habit::ColonsAreAbsent => return Err(Errno::NOENT.into()),
                _ => {}
            }
        }
        Ok(self.path(path))
    }
}

/// The letters with accents that the tests use, in two characters.
pub fn apart(text: &str) -> String {
    [("ü", "u\u{308}"), ("é", "e\u{301}")].iter().fold(text.to_owned(), |text, (one, two)| text.replace(one, two))
}

impl Disk for Folding {
    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        self.below.metadata(&self.path(path))
    }

    fn link_metadata(&self, path: &Path) -> io::Result<Meta> {
        self.below.link_metadata(&self.path(path))
    }

    fn read(&self, path: &Path, file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
        self.below.read(&self.path(path), file, buffer)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<File> {
        self.below.open_to_write(&self.path(path))
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.below.open_lock(&self.path(path))
    }

    fn scratch(&self, dir: &Path, in_memory: usize) -> Box<dyn Scratch> {
        self.below.scratch(&self.path(dir), in_memory)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.below.set_mode(&self.path(path), mode)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.replace(&self.path(from), &self.new_path(to)?)
    }

    fn give(&self, path: &Path, file: &File, rights: &Rights) -> io::Result<()> {
        self.below.give(&self.path(path), file, rights)
    }

    fn give_dir(&self, dir: &Path, rights: &Rights) -> io::Result<()> {
        self.below.give_dir(&self.path(dir), rights)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        self.below.append(&self.path(path), bytes)
    }

    fn is_link(&self, path: &Path) -> io::Result<bool> {
        self.below.is_link(&self.path(path))
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.below.canonical(&self.path(path))
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&OsStr, FileType)) -> io::Result<()> {
        self.below.list(&self.path(dir), each)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.below.open(&self.path(path))
    }

    fn open_unlinked(&self, path: &Path) -> io::Result<File> {
        self.below.open_unlinked(&self.path(path))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.below.create(&self.new_path(path)?)
    }

    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.below.write(&self.path(path), file, bytes)
    }

    fn set_mtime(&self, path: &Path, file: &File, mtime: Mtime) -> io::Result<()> {
        self.below.set_mtime(&self.path(path), file, mtime)
    }

    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()> {
        self.below.sync_file(&self.path(path), file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.sync_dir(&self.path(dir))
    }

    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        self.below.sync_file_system(&self.path(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(&self.path(from), &self.new_path(to)?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.below.unlink(&self.path(path))
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.make_dir(&self.new_path(dir)?)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.remove_dir(&self.path(dir))
    }

    fn space(&self, dir: &Path) -> io::Result<Option<Space>> {
        self.below.space(&self.path(dir))
    }
}
