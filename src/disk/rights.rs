//! How something new gets its rights.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{Disk, Like, Rights};

/// Makes a file that is like a directory. Nothing is in it before whoever may not read it is kept from that. The file
/// must not exist yet.
pub fn create_like(disk: &dyn Disk, path: &Path, like: &Like<'_>) -> io::Result<File> {
    let file = disk.create(path)?;
    give_file(disk, path, &file, like)?;
    Ok(file)
}

/// Gives a file that was just made the rights that it has in a directory.
pub(super) fn give_file(disk: &dyn Disk, path: &Path, file: &File, like: &Like<'_>) -> io::Result<()> {
    hand_over(path, like, like.file(), |rights| disk.give(path, file, rights))
}

/// Makes a directory that was just made like another one.
pub fn make_like(disk: &dyn Disk, dir: &Path, like: &Like<'_>) -> io::Result<()> {
    hand_over(dir, like, like.dir(), |rights| disk.give_dir(dir, rights))
}

/// Gives something its rights. If this user may not give them, or the file system has none, it stays this user's, and
/// that is noted.
fn hand_over(path: &Path, like: &Like<'_>, rights: Rights, give: impl Fn(&Rights) -> io::Result<()>) -> io::Result<()> {
    if rights.come_by_themselves() {
        return Ok(());
    }
    match give(&rights) {
        Err(error) if is_not_for_this_user(&error) => like.deny(path, &rights, &error),
        given => return given,
    }
    match give(&rights.for_this_user()) {
        Err(error) if !is_not_for_this_user(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether owners, groups or modes can't be set: not by this user, or not on this file system.
fn is_not_for_this_user(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errors = [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    errors.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
