//! A look at a mail root before a replica is made of it by a join: everything in it must be readable. What isn't read
//! would not be recognised as what the invitation brings, and there would be two of it.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::disk::{Disk, FileType, leads_nowhere};
use crate::error::{Error, Result};
use crate::maildir::{FileName, Ignored};

/// Looks into all directories below a mail root that are not ignored, and opens every message. Returns whether there is
/// any.
///
/// # Errors
/// A part of it can't be looked at.
pub(super) fn survey(disk: &dyn Disk, root: &Path, ignored: &Ignored) -> Result<bool> {
    let mut holds_mail = false;
    let (mut todo, mut seen) = (vec![root.to_owned()], HashSet::new());
    while let Some(dir) = todo.pop() {
        if !seen.insert(disk.canonical(&dir).map_err(|error| unread(&dir, &error))?) {
            continue;
        }
        let is_ignored = |path: &Path| path.strip_prefix(root).is_ok_and(|dir| ignored.has(dir, None));
        let is_of_messages = dir.ends_with("cur") || dir.ends_with("new");
        for (name, kind) in list(disk, &dir)? {
            let path = dir.join(&name);
            let kind = match kind {
                FileType::Unclear => kind_of(disk, &path, &name, is_of_messages)?,
                kind => kind,
            };
            match kind {
                FileType::Directory if !is_of_messages && !is_ignored(&path) => todo.push(path),
                FileType::File if is_of_messages && !FileName::ignored(name.as_bytes()) => {
                    disk.open(&path).map_err(|error| unread(&path, &error))?;
                    holds_mail = true;
                }
                _ => {}
            }
        }
    }
    Ok(holds_mail)
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<(OsString, FileType)>> {
    let mut names = Vec::new();
    let listed = disk.list(dir, &mut |name, kind| names.push((name.to_owned(), kind)));
    listed.map_err(|error| unread(dir, &error))?;
    Ok(names)
}

/// What is behind a symbolic link. In the place of a message it is no message.
fn kind_of(disk: &dyn Disk, path: &Path, name: &OsStr, is_of_messages: bool) -> Result<FileType> {
    match disk.metadata(path) {
        Ok(meta) if meta.is_file && is_of_messages => {
            let is_link = disk.is_link(path).map_err(|error| unread(path, &error))?;
            Ok(if is_link { FileType::Other } else { FileType::File })
        }
        Ok(meta) if meta.is_dir => Ok(FileType::Directory),
        Ok(meta) if meta.is_file => Ok(FileType::File),
        Ok(_) => Ok(FileType::Other),
        // By such links editors mark what is being edited.
        Err(error) if leads_nowhere(&error) && name.as_bytes().starts_with(b".#") => Ok(FileType::Other),
        Err(error) => Err(unread(path, &error)),
    }
}

fn unread(path: &Path, error: &io::Error) -> Error {
    Error::io("looking at what the mail root holds: reading", path, error).advise(
        "see that all of it can be read, or move that away, then join again; nothing was written: what can't be read now \
         would be there twice",
    )
}
