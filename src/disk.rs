//! The one layer through which a scan and a materialisation touch the file system. A test can put its own in its place,
//! to count the steps, see their order, make any one fail, or stop everything there. The small operations that are made
//! of these steps are here, too: hashing, reading and copying files. Nothing here knows what a file means.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, Timespec, Timestamps};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::message::{FileKind, Filter, message_of};
use crate::model::{Digest, Mtime};
use crate::read::read_some;

/// The answer of `stat` about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// When its contents were last changed. For a directory: when a name in it was last changed. Programs set it.
    pub mtime: Mtime,
    /// When anything of it was last changed: contents, names, or its other times. Only the file system sets it.
    pub ctime: Mtime,
    /// Bytes.
    pub size: u64,
    /// The file system.
    pub device: u64,
    /// The file within its file system.
    pub inode: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// The answer of a directory listing about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, or something whose kind the file system doesn't tell in a listing.
    Unclear,
    /// A socket, a pipe or a device.
    Other,
}

/// The file operations that scan and materialise use. All paths are absolute, or relative to the working directory.
pub trait Disk: Send + Sync {
    /// `stat`, following symbolic links.
    fn metadata(&self, path: &Path) -> io::Result<Meta>;
    /// Whether a symbolic link has this name.
    fn is_link(&self, path: &Path) -> io::Result<bool>;
    /// The path without any symbolic link.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Lists a directory's names, without `.` and `..`, in no particular order.
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&OsStr, FileType)) -> io::Result<()>;
    /// Opens a file for reading. It never waits: a pipe, which may have taken the file's place, has perhaps no writer.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Makes a file for its owner only. The file must not exist yet.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Appends to a file that [`Disk::create`] made.
    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Sets the modification time of an open file.
    fn set_mtime(&self, path: &Path, file: &File, mtime: Mtime) -> io::Result<()>;
    /// Makes a file's contents durable.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;
    /// Makes a directory's names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything on the file system that holds `path` durable.
    fn sync_file_system(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name. Fails with [`io::ErrorKind::AlreadyExists`] if something has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory, for its owner only.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// How many bytes somebody who is not root can still write below a directory. `None` if its file system doesn't
    /// tell.
    fn free_space(&self, dir: &Path) -> io::Result<Option<u64>>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl From<&fs::Metadata> for Meta {
    fn from(meta: &fs::Metadata) -> Self {
        let time = |seconds, nanoseconds: i64| Mtime::new(seconds, u32::try_from(nanoseconds).unwrap_or_default());
        Self {
            mtime: time(meta.mtime(), meta.mtime_nsec()),
            ctime: time(meta.ctime(), meta.ctime_nsec()),
            size: meta.len(),
            device: meta.dev(),
            inode: meta.ino(),
            is_dir: meta.is_dir(),
            is_file: meta.is_file(),
        }
    }
}

/// Whether a file system answers like this if it can't do what is asked at all. `EPERM` is its answer to a hard link.
fn isnt_supported(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::MLINK)
}

/// Renames a file by a hard link, which is never made over another file.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from).inspect_err(|error| {
        // It keeps the old name, so it loses the new one; why it keeps the old one is what counts.
        if error.kind() != io::ErrorKind::NotFound {
            let _ = fs::remove_file(to);
        }
    })
}

/// Renames a file if nothing has the new name.
///
/// For file systems that can do neither better: between the look and the rename somebody could take the name, and would
/// lose that file. But the names that mailsync gives derive from ids, and nobody else gives them; and a mail program that
/// renames the same file at the same moment takes it away, so that this rename fails. To reserve the name by an empty
/// file would be worse: a mail program sees that for a message, may rename it, and what then has the name may be mail.
fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

impl Disk for RealDisk {
    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        fs::metadata(path).map(|meta| Meta::from(&meta))
    }

    fn is_link(&self, path: &Path) -> io::Result<bool> {
        fs::symlink_metadata(path).map(|meta| meta.is_symlink())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&OsStr, FileType)) -> io::Result<()> {
        for item in fs::read_dir(dir)? {
            let item = item?;
            let kind = match item.file_type() {
                Ok(kind) if kind.is_file() => FileType::File,
                Ok(kind) if kind.is_dir() => FileType::Directory,
                Ok(kind) if !kind.is_symlink() => FileType::Other,
                _ => FileType::Unclear,
            };
            each(&item.file_name(), kind);
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
        fs::OpenOptions::new().read(true).custom_flags(without_waiting).open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, _: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn set_mtime(&self, _: &Path, file: &File, mtime: Mtime) -> io::Result<()> {
        let time = Timespec { tv_sec: mtime.seconds(), tv_nsec: mtime.subsec_nanos().into() };
        Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
    }

    fn sync_file(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open(dir)?.sync_all()
    }

    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.open(path)?)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // NFS and some FUSE file systems can't do it. A hard link refuses to replace a file, too.
            Err(error) if isnt_supported(error) => match rename_by_link(from, to) {
                Err(error) if rustix::io::Errno::from_io_error(&error).is_some_and(isnt_supported) => {
                    rename_if_free(from, to)
                }
                result => result,
            },
            result => Ok(result?),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<Option<u64>> {
        let told = rustix::fs::statvfs(dir)?;
        Ok((told.f_blocks > 0).then(|| told.f_bavail.saturating_mul(told.f_frsize)))
    }
}

/// Whether a name could not be looked at because nothing has it, or because it is a symbolic link that leads nowhere or
/// in a circle.
pub fn leads_nowhere(error: &io::Error) -> bool {
    let circle = rustix::io::Errno::LOOP.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(circle)
}

/// Makes a file with these contents and this modification time. The file must not exist yet. It is durable only with
/// [`Durability::Now`].
pub fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8], mtime: Mtime, durability: Durability) -> io::Result<()> {
    let mut file = disk.create(path)?;
    disk.write(path, &mut file, bytes)?;
    disk.set_mtime(path, &file, mtime)?;
    if durability == Durability::Now {
        disk.sync_file(path, &file)?;
    }
    Ok(())
}

/// Copies the message in a file into a new file with this modification time. What its digest leaves out stays behind.
pub fn copy_message(disk: &dyn Disk, from: &Path, to: &Path, mtime: Mtime, durability: Durability) -> io::Result<()> {
    let mut source = disk.open(from)?;
    let mut file = disk.create(to)?;
    read_through(&mut source, FileKind::Message, 128 << 10, |bytes| disk.write(to, &mut file, bytes))?;
    disk.set_mtime(to, &file, mtime)?;
    if durability == Durability::Now {
        disk.sync_file(to, &file)?;
    }
    Ok(())
}

/// When the contents of a new file are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At once, by an fsync of its own.
    Now,
    /// Later, by the caller, for many files together.
    Later,
}

/// Messages up to this many bytes are read whole; larger ones in pieces.
pub const SMALL: u64 = 1 << 20;

/// What a file holds: its digest, its size and its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The digest.
    pub digest: Digest,
    /// The bytes that the digest is of. A message's file may have more.
    pub size: u64,
    /// The file's modification time.
    pub mtime: Mtime,
}

/// Reads a file and computes the digest of what it holds.
pub fn hash_file(disk: &dyn Disk, path: &Path, kind: FileKind) -> io::Result<Hashed> {
    hash_open(&mut disk.open(path)?, kind)
}

/// Reads an open file from where it stands, and computes the digest of what it holds.
pub fn hash_open(file: &mut File, kind: FileKind) -> io::Result<Hashed> {
    let meta = Meta::from(&file.metadata()?);
    if !meta.is_file {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file, so not a message"));
    }
    let mut hasher = Sha256::new();
    let buffer = usize::try_from(meta.size.clamp(4096, 128 << 10)).expect("at most 128 KiB");
    let mut size = 0;
    read_through(file, kind, buffer, |bytes| {
        hasher.update(bytes);
        size += bytes.len() as u64;
        Ok(())
    })?;
    Ok(Hashed { digest: Digest(hasher.finalize().into()), size, mtime: meta.mtime })
}

/// Reads a file to its end, in pieces of at most so many bytes, and hands out what of it counts.
fn read_through(
    file: &mut File,
    kind: FileKind,
    buffer: usize,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut filter, mut buffer) = (Filter::new(kind), vec![0; buffer]);
    loop {
        let n = read_some(file, &mut buffer)?;
        if n == 0 {
            return filter.end(each);
        }
        filter.take(&buffer[..n], &mut each)?;
    }
}

/// Reads a small file whole: what it holds, and the digest of that. Of a larger one it is the digest of nothing that it
/// holds.
pub fn read_small(disk: &dyn Disk, path: &Path, kind: FileKind, expected: u64) -> io::Result<(Vec<u8>, Digest)> {
    let file = disk.open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    file.take(SMALL + 1).read_to_end(&mut bytes)?;
    if kind == FileKind::Message {
        bytes = message_of(bytes);
    }
    let digest = Digest::of(&bytes);
    Ok((bytes, digest))
}

/// The first bytes of a file, this many at most.
pub fn beginning_of(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether an operation failed because nothing has this name: that, or a directory above it, isn't there or is a plain
/// file, or no file can have it.
pub fn is_absent(error: &io::Error) -> bool {
    let too_long = rustix::io::Errno::NAMETOOLONG.raw_os_error();
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(too_long)
}

/// Whether something has this name.
pub fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool> {
    match disk.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(Error::io("looking at", path, error).advise("see why, then run this again")),
    }
}

/// Removes a directory unless something is in it, or it is a mount point or a symbolic link. Returns whether it is
/// gone.
pub fn remove_if_empty(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory, NotFound, ResourceBusy};
    match disk.remove_dir(dir) {
        Err(error) if error.kind() == NotFound => Ok(true),
        Err(error) if matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory | ResourceBusy) => {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// Turns the result of a removal into success if the name was already gone.
pub fn remove_if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_renaming_replaces_a_file_or_loses_one() {
        type Rename = fn(&Path, &Path) -> io::Result<()>;
        let ways: [(&str, Rename); 3] =
            [("rename", |from, to| RealDisk.rename(from, to)), ("link", rename_by_link), ("look", rename_if_free)];
        for (way, rename) in ways {
            let dir = tempfile::tempdir().unwrap();
            let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
            fs::write(&a, "a").unwrap();
            fs::write(&b, "b").unwrap();
            assert_eq!(rename(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{way}");
            assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"a".to_vec(), b"b".to_vec()), "{way}");
            rename(&a, &c).unwrap();
            assert!(!a.exists() && fs::read(&c).unwrap() == b"a", "{way}");
            assert_eq!(rename(&a, &dir.path().join("d")).unwrap_err().kind(), io::ErrorKind::NotFound, "{way}");
            std::os::unix::fs::symlink("nowhere", &a).unwrap();
            assert_eq!(rename(&c, &a).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{way}");
        }
    }
}
