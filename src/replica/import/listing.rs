//! Which of the files in a directory are looked at.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, leads_nowhere};
use crate::error::{Error, Result};
use crate::model::Digest;

/// What has the name of a bundle.
pub(super) enum There {
    /// A regular file.
    File(File),
    /// A symbolic link, by the digest of what identifies it.
    Link(Digest),
    /// Nothing any more, or a directory, a pipe or a device.
    Nothing,
}

/// Whether a file's name says that it is a bundle, and a whole one. Copying programs give a file other names before it
/// is whole, such as `.syncthing.NAME.tmp`, `.NAME.8Fk2xQ`, `NAME.part` and `NAME~`. These begin with a dot or have
/// another ending.
pub fn is_called_a_bundle(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    // File systems without lower case are still in use on sticks.
    let ends = |path: &Path, ending| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
    let within = if ends(path, "age") { path.with_extension("") } else { path.to_owned() };
    !hidden && ends(&within, "zst")
}

/// Looks at what is called a bundle, and opens it if it is a regular file. No link is followed.
///
/// # Errors
/// It can't be looked at, or not be opened.
pub(super) fn what_is_there(disk: &dyn Disk, path: &Path) -> Result<There> {
    match disk.link_metadata(path) {
        Ok(meta) if meta.is_link => {
            let known = format!("link {} {} {} {}", meta.device, meta.inode, meta.mtime.0, meta.ctime.0);
            Ok(There::Link(Digest::of(known.as_bytes())))
        }
        Ok(meta) if !meta.is_file => Ok(There::Nothing),
        Ok(_) => Ok(open_if_there(disk, path)?.map_or(There::Nothing, There::File)),
        Err(error) if is_gone(&error) => Ok(There::Nothing),
        Err(error) => Err(Error::io("looking at", path, error).advise("see that it can be read, then import again")),
    }
}

/// What is called a bundle in a directory, sorted by name, and whether anything there is called otherwise.
///
/// # Errors
/// It can't be listed.
pub(super) fn bundles_in(disk: &dyn Disk, dir: &Path) -> Result<(Vec<PathBuf>, bool)> {
    let fail =
        |error: io::Error| Error::io("listing", dir, error).advise("check that it can be read, then import again");
    let mut paths = Vec::new();
    disk.list(dir, &mut |name, _| paths.push(dir.join(name))).map_err(fail)?;
    let listed = paths.len();
    paths.retain(|path| is_called_a_bundle(path));
    paths.sort();
    let otherwise_called = listed > paths.len();
    Ok((paths, otherwise_called))
}

/// Opens a file of a directory. `None` if it is not there any more, or a symbolic link has taken its place.
pub(super) fn open_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<File>> {
    match disk.open_unlinked(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_gone(&error) || leads_nowhere(&error) => Ok(None),
        Err(error) => {
            Err(Error::io("opening the bundle", path, error).advise("see that it can be read, then import again"))
        }
    }
}

/// Whether the error says that a file is not there any more. NFS has an error of its own for that.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}
