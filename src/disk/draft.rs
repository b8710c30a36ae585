//! Files that are written under a name that nobody looks at, and get their own when they are whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::rights::give_file;
use super::{Disk, Like, Meta, remove_if_there};
use crate::model::Mtime;

/// A file that doesn't have its name yet. Dropped, it is removed.
pub struct Draft<'d> {
    sink: Sink<'d>,
    kept: bool,
}

impl<'d> Draft<'d> {
    /// Makes the file, for its owner only. It must not exist yet.
    pub fn create(disk: &'d dyn Disk, path: PathBuf) -> io::Result<Self> {
        let file = disk.create(&path)?;
        Ok(Self { sink: Sink { disk, path, file }, kept: false })
    }

    /// Makes the file like a directory. Nothing is in it before whoever may not read it is kept from that.
    pub fn create_like(disk: &'d dyn Disk, path: PathBuf, like: &Like<'_>) -> io::Result<Self> {
        let draft = Self::create(disk, path)?;
        give_file(disk, &draft.sink.path, &draft.sink.file, like)?;
        Ok(draft)
    }

    /// Where it lies meanwhile.
    pub fn path(&self) -> &Path {
        &self.sink.path
    }

    /// Sets its modification time.
    pub fn set_mtime(&self, mtime: Mtime) -> io::Result<()> {
        self.sink.disk.set_mtime(&self.sink.path, &self.sink.file, mtime)
    }

    /// Makes its contents durable.
    pub fn sync(&self) -> io::Result<()> {
        self.sink.disk.sync_file(&self.sink.path, &self.sink.file)
    }

    /// Leaves it where it is.
    pub fn leave(mut self) -> PathBuf {
        self.kept = true;
        self.sink.path.clone()
    }

    /// Gives it its name, which nothing else may have. Can be tried again with another one.
    pub fn rename(&mut self, to: &Path) -> io::Result<()> {
        self.sink.disk.rename(&self.sink.path, to)?;
        self.kept = true;
        Ok(())
    }

    /// Gives it its name, in the place of whatever file has it.
    pub fn replace(&mut self, to: &Path) -> io::Result<()> {
        self.sink.disk.replace(&self.sink.path, to)?;
        self.kept = true;
        Ok(())
    }
}

impl Write for Draft<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Whoever looks after the directory sweeps one that stays.
            let _ = self.sink.disk.unlink(&self.sink.path);
        }
    }
}

/// An open file that is written through the disk.
pub struct Sink<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    file: File,
}

impl<'d> Sink<'d> {
    /// Goes on with a file that the disk has opened.
    pub fn of(disk: &'d dyn Disk, path: &Path, file: File) -> Self {
        Self { disk, path: path.to_owned(), file }
    }
}

impl AsFd for Sink<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&self.path, &mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is read through the disk.
pub struct Source<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    file: File,
}

impl<'d> Source<'d> {
    /// Opens it.
    pub fn open(disk: &'d dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self::of(disk, path, disk.open(path)?))
    }

    /// Opens the file of a message: no symbolic link is followed, by which somebody who may write into a folder could
    /// have another file taken for one.
    pub fn open_message(disk: &'d dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self::of(disk, path, disk.open_unlinked(path)?))
    }

    /// Goes on with a file that the disk has opened.
    pub fn of(disk: &'d dyn Disk, path: &Path, file: File) -> Self {
        Self { disk, path: path.to_owned(), file }
    }

    /// What is known of it.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(Meta::from(&self.file.metadata()?))
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read(&self.path, &mut self.file, buffer)
    }
}

/// Reads a file whole, which has at most so many bytes.
pub fn read_whole(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Source::open(disk, path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// Writes a small file under a temporary name, and gives it its name, durably, when it is whole. What had that name
/// before is replaced.
pub fn replace_whole(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    // An interrupted command may have left one.
    remove_if_there(disk.unlink(&new))?;
    let mut draft = Draft::create(disk, new)?;
    // Whatever the umask is.
    disk.set_mode(draft.path(), mode)?;
    draft.write_all(bytes)?;
    draft.sync()?;
    draft.replace(path)?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}
