//! The one layer through which the file system is changed, but for what `SQLite` does to the state database. A test can
//! put its own in its place, to count the steps, see their order, make any one fail, or stop everything there. The
//! small operations that are made of these steps are here, too: hashing, reading and copying files. Nothing here knows
//! what a file means.

mod contents;
mod draft;
mod likeness;
mod rights;
mod scratch;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use contents::{
    Durability, Hashed, SMALL, beginning_of, copy_message, hash_file, hash_open, read_small, write_new,
};
pub use draft::{Draft, Sink, Source, read_whole, replace_whole};
pub use likeness::{Denial, Denied, Like, Rights};
pub use rights::{create_like, make_like};
use rustix::fs::{CWD, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid};
pub use scratch::Scratch;

use crate::error::{Error, Result};
use crate::model::Mtime;
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
    /// Whether it is a symbolic link, as only [`Disk::link_metadata`] tells.
    pub is_link: bool,
    /// Its permissions.
    pub mode: u32,
    /// The number of its owner.
    pub owner: u32,
    /// The number of its group.
    pub group: u32,
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

/// The file operations of mailsync. All paths are absolute, or relative to the working directory.
pub trait Disk: Send + Sync {
    /// `stat`, following symbolic links.
    fn metadata(&self, path: &Path) -> io::Result<Meta>;
    /// `lstat`: of a symbolic link, it tells about the link.
    fn link_metadata(&self, path: &Path) -> io::Result<Meta>;
    /// Whether a symbolic link has this name.
    fn is_link(&self, path: &Path) -> io::Result<bool>;
    /// The path without any symbolic link.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Lists a directory's names, without `.` and `..`, in no particular order.
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&OsStr, FileType)) -> io::Result<()>;
    /// Opens a file for reading. It never waits: a pipe, which may have taken the file's place, has perhaps no writer.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// The same of the file that has this name itself: a symbolic link is not followed, and fails.
    fn open_unlinked(&self, path: &Path) -> io::Result<File>;
    /// Reads what comes next in a file that [`Disk::open`] has opened; 0 bytes at its end. Signals don't interrupt it.
    fn read(&self, path: &Path, file: &mut File, buffer: &mut [u8]) -> io::Result<usize>;
    /// Opens what is there for writing: a pipe, which it waits for, or a device.
    fn open_to_write(&self, path: &Path) -> io::Result<File>;
    /// Opens a file that is to be locked. It is made, for its owner only, if it isn't there.
    fn open_lock(&self, path: &Path) -> io::Result<File>;
    /// Begins something that is kept for a while: up to so many bytes of it in memory, more in a file in this
    /// directory.
    fn scratch(&self, dir: &Path, in_memory: usize) -> Box<dyn Scratch>;
    /// Makes a file for its owner only. The file must not exist yet.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Appends to a file that [`Disk::create`] or [`Disk::open_to_write`] has opened.
    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Sets the modification time of an open file.
    fn set_mtime(&self, path: &Path, file: &File, mtime: Mtime) -> io::Result<()>;
    /// Sets the permissions of a file or a directory.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Makes a file's contents durable.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;
    /// Makes a directory's names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything on the file system that holds `path` durable.
    fn sync_file_system(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name. Fails with [`io::ErrorKind::AlreadyExists`] if something has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, in the place of whatever file has that.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory, for its owner only.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file that [`Disk::create`] made its owner, its group and its mode, in this order.
    fn give(&self, path: &Path, file: &File, rights: &Rights) -> io::Result<()>;
    /// The same for a directory that [`Disk::make_dir`] made. What has taken its place, such as a symbolic link, is not
    /// followed.
    fn give_dir(&self, dir: &Path, rights: &Rights) -> io::Result<()>;
    /// Appends to a file that another program keeps, in one write. Returns whether that file still has the name
    /// afterwards. Fails with [`io::ErrorKind::NotFound`] if there is none.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<bool>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// The room below a directory. `None` if its file system doesn't tell.
    fn space(&self, dir: &Path) -> io::Result<Option<Space>>;
}

/// The room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// How many bytes somebody who is not root can still write.
    pub free: u64,
    /// The bytes of a block: what a file takes is a multiple of that.
    pub block: u64,
}

impl Space {
    /// What files take, of so many bytes in all, at most.
    pub fn taken_at_most(block: u64, bytes: u64, files: u64) -> u64 {
        bytes.saturating_add(files.saturating_mul(block.saturating_sub(1)))
    }

    /// What a file of this size takes.
    pub fn taken(block: u64, size: u64) -> u64 {
        size.checked_next_multiple_of(block.max(1)).unwrap_or(size)
    }
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Meta {
    /// Whether a directory is as [`Disk::make_dir`] has left it, for this user.
    pub fn is_as_made(&self) -> bool {
        self.is_dir && self.mode & 0o777 == 0o700 && self.owner == rustix::process::geteuid().as_raw()
    }
}

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
            is_link: meta.is_symlink(),
            mode: meta.mode() & 0o7777,
            owner: meta.uid(),
            group: meta.gid(),
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
/// lose that file. But the names that mailsync gives derive from ids, and nobody else gives them; and a mail program
/// that renames the same file at the same moment takes it away, so that this rename fails. To reserve the name by an
/// empty file would be worse: a mail program sees that for a message, may rename it, and what then has the name may be
/// mail.
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

    fn link_metadata(&self, path: &Path) -> io::Result<Meta> {
        fs::symlink_metadata(path).map(|meta| Meta::from(&meta))
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

    fn open_unlinked(&self, path: &Path) -> io::Result<File> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
    }

    fn read(&self, _: &Path, file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
        read_some(file, buffer)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().write(true).open(path)
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
    }

    fn scratch(&self, dir: &Path, in_memory: usize) -> Box<dyn Scratch> {
        Box::new(tempfile::spooled_tempfile_in(in_memory, dir))
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

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
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

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(dir)
    }

    fn give(&self, _: &Path, file: &File, rights: &Rights) -> io::Result<()> {
        if rights.owner.is_some() || rights.group.is_some() {
            let meta = file.metadata()?;
            let owner = rights.owner.filter(|&owner| owner != meta.uid()).map(Uid::from_raw);
            let group = rights.group.filter(|&group| group != meta.gid()).map(Gid::from_raw);
            if owner.is_some() || group.is_some() {
                rustix::fs::fchown(file, owner, group)?;
            }
        }
        // Only then: a group gets nothing that is meant for another one.
        match rustix::fs::fchmod(file, Mode::from_raw_mode(rights.mode)) {
            // A file system that knows no modes may refuse to set even the one that it shows.
            Err(_) if file.metadata()?.mode() & 0o7777 == rights.mode => Ok(()),
            set => Ok(set?),
        }
    }

    fn give_dir(&self, dir: &Path, rights: &Rights) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = File::from(rustix::fs::openat(CWD, dir, flags, Mode::empty())?);
        self.give(dir, &opened, rights)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let mut file = fs::OpenOptions::new().append(true).custom_flags(flags).open(path)?;
        let opened = Meta::from(&file.metadata()?);
        if !opened.is_file {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        file.write_all(bytes)?;
        let now = self.metadata(path)?;
        Ok((now.device, now.inode) == (opened.device, opened.inode))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Option<Space>> {
        let told = rustix::fs::statvfs(dir)?;
        let free = told.f_bavail.saturating_mul(told.f_frsize);
        Ok((told.f_blocks > 0).then_some(Space { free, block: told.f_frsize }))
    }
}

/// Whether a name could not be looked at because nothing has it, or because it is a symbolic link that leads nowhere or
/// in a circle.
pub fn leads_nowhere(error: &io::Error) -> bool {
    let circle = rustix::io::Errno::LOOP.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(circle)
}

/// Whether an operation failed because the file system takes no such name, whatever it is for: it has a character that
/// can't be in one there.
pub fn refuses_name(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::ILSEQ))
}

/// Whether an operation failed because nothing has this name: that, or a directory above it, isn't there or is a plain
/// file, or no file can have it.
pub fn is_absent(error: &io::Error) -> bool {
    let too_long = rustix::io::Errno::NAMETOOLONG.raw_os_error();
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(too_long)
}

/// Whether an operation failed because of what a file holds: that was found out by whoever understands it. What the
/// operating system says, such as that too many files are open or that a disk fails, tells nothing about that.
pub fn is_about_contents(error: &io::Error) -> bool {
    let kind = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
    kind && error.raw_os_error().is_none()
}

/// Whether something has this name.
pub fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool> {
    match disk.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(Error::io("looking at", path, error).again_after("see why")),
    }
}

/// Whether something has this name, be it a link that leads nowhere.
pub fn has_name(disk: &dyn Disk, path: &Path) -> Result<bool> {
    match disk.link_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(Error::io("looking at", path, error).again_after("see why")),
    }
}

/// Whether there is a directory, to which a symbolic link may lead.
pub fn is_dir(disk: &dyn Disk, path: &Path) -> Result<bool> {
    match disk.metadata(path) {
        Ok(meta) => Ok(meta.is_dir),
        Err(error) if is_absent(&error) || leads_nowhere(&error) => Ok(false),
        Err(error) => Err(Error::io("looking at", path, error).again_after("see why")),
    }
}

/// Where a path leads in the end; the path itself if nothing is there.
pub fn real_path(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if is_absent(&error) || leads_nowhere(&error) => Ok(path.to_owned()),
        result => result.map_err(|error| Error::io("looking at", path, error).again_after("see why")),
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
    #[test]
    fn no_link_is_opened_where_a_message_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| dir.path().join(name));
        fs::write(&file, "mail").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(RealDisk.open(&link).is_ok() && RealDisk.open_unlinked(&file).is_ok());
        let hashed = |path| hash_file(&RealDisk, path, crate::message::FileKind::Message);
        assert!(hashed(&file).is_ok());
        let error = hashed(&link).unwrap_err();
        assert!(leads_nowhere(&error) && !is_absent(&error), "{error}");
        assert!(
            copy_message(&RealDisk, &link, &dir.path().join("copy"), Mtime(0), &Like::PRIVATE, Durability::Now)
                .is_err()
        );
        assert!(read_small(&RealDisk, &link, crate::message::FileKind::Message, 4).is_err());
    }
}
