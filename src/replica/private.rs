//! Who else may read and write what a replica keeps: nobody. What others may read is closed to them; what others may
//! write is not trusted any more, as ssh does not trust such a key.

use std::io;
use std::path::Path;

use crate::disk::{Disk, Meta};
use crate::error::{Error, Result, Scope};

/// The mode of a directory: for its owner only.
const DIRECTORY: u32 = 0o700;

/// Permissions of everybody but the owner, and the part of them that lets write.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// The permissions without which their owner can't use a file.
const OWNER: u32 = 0o600;

/// What is wrong with who may write a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// It belongs to this user.
    ToOwner(u32),
    /// Its mode lets others write.
    ToOthers(u32),
}

/// Whether somebody else than `user` may write what belongs to `owner` and has this mode. What is root's is as good as
/// one's own; and root, who can be kept from nothing, may work on what is somebody else's.
fn open_to(user: u32, owner: u32, mode: u32) -> Option<Open> {
    if mode & OTHERS_WRITE != 0 {
        Some(Open::ToOthers(mode & 0o7777))
    } else if owner != user && owner != 0 && user != 0 {
        Some(Open::ToOwner(owner))
    } else {
        None
    }
}

/// Nobody else may write this file or directory. What isn't there is left to whoever needs it.
///
/// # Errors
/// Somebody may.
pub(super) fn check(disk: &dyn Disk, path: &Path) -> Result<()> {
    let Some(meta) = look(disk, path)? else { return Ok(()) };
    let why = match open_to(rustix::process::geteuid().as_raw(), meta.owner, meta.mode) {
        None => return Ok(()),
        Some(Open::ToOwner(owner)) => {
            let what = format!("opening {}: it belongs to another user, with the number {owner}", path.display());
            return Err(Error::refused(what).advise(
                "see what that user has changed there, and make it yours with chown; or use a --home of your own",
            ));
        }
        Some(Open::ToOthers(mode)) => format!("opening {}: other users may write it (mode {mode:04o})", path.display()),
    };
    Err(Error::refused(why).advise(format!(
        "see that nobody has changed it, then run `chmod go-w {}`; on a file system without modes, mount it with umask=077",
        path.display()
    )))
}

/// The same for a file that holds a secret: nobody else may read it either, now or at any time before. It may have been
/// read as long as it was open, so it is not just closed.
///
/// # Errors
/// Somebody may.
pub(super) fn check_secret(disk: &dyn Disk, path: &Path) -> Result<()> {
    check(disk, path)?;
    let Some(meta) = look(disk, path)? else { return Ok(()) };
    // Who else's file it is decides who may read it.
    if meta.owner != rustix::process::geteuid().as_raw() || meta.mode & OTHERS == 0 {
        return Ok(());
    }
    let mode = meta.mode & 0o7777;
    let what = format!("opening {}: other users may read it (mode {mode:04o}), and it is secret", path.display());
    Err(Error::refused(what).advise(format!(
        "run `chmod 600 {}`, and if somebody may have read it, `mailsync key rotate`; on a file system without modes, mount it with \
         umask=077",
        path.display()
    )))
}

/// Takes all permissions for what this user owns from others. Returns what they had, for a person to be told.
pub(super) fn mend(disk: &dyn Disk, path: &Path) -> Result<Option<String>> {
    let Some(meta) = look(disk, path)? else { return Ok(None) };
    let before = meta.mode;
    let is_mine = meta.owner == rustix::process::geteuid().as_raw();
    if !is_mine || before & OTHERS == 0 {
        return Ok(None);
    }
    match disk.set_mode(path, before & !OTHERS) {
        Ok(()) => {}
        // On a file system without modes it fails, or does nothing: whoever mounts that decides who may read what is on
        // it. So does whoever mounts one that can't be written.
        Err(error) if Scope::of(&error) == Scope::Place || error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Error::io("closing to other users", path, error).advise("see why, then run this again"));
        }
    }
    let now = look(disk, path)?.map_or(before, |meta| meta.mode);
    let told = format!("{} was open to other users (mode {before:04o}), and is closed to them now", path.display());
    Ok((now != before).then_some(told))
}

/// Gives this user back what it needs to use a file of its own that lies beside another one of its own, if it may use
/// that one: `SQLite` gives the files beside a database the mode that this has at that time. Returns what was wrong,
/// for a person to be told.
pub(super) fn open_beside(disk: &dyn Disk, main: &Path, beside: &Path) -> Result<Option<String>> {
    let may_use = |meta: &Meta| meta.mode & OWNER == OWNER;
    let is_mine = |meta: &Meta| meta.owner == rustix::process::geteuid().as_raw();
    if !look(disk, main)?.is_some_and(|meta| is_mine(&meta) && may_use(&meta)) {
        return Ok(None);
    }
    let Some(meta) = look(disk, beside)?.filter(|meta| is_mine(meta) && !may_use(meta)) else { return Ok(None) };
    match disk.set_mode(beside, (meta.mode | OWNER) & !OTHERS & 0o7777) {
        Ok(()) => {}
        // Another command has removed it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = Error::io("opening to its owner", beside, error);
            return Err(what.advise(format!("run `chmod 600 {}`", beside.display())));
        }
    }
    let before = meta.mode & 0o7777;
    Ok(Some(format!("{} was closed to its owner (mode {before:04o}), and is open now", beside.display())))
}

/// Makes a directory, and those above it that are not there, for its owner only, whatever the umask is, and durably.
pub(super) fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.metadata(dir) {
        Ok(meta) if meta.is_dir => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), |above| make_dir(disk, above))?;
    match disk.make_dir(dir) {
        // Another command was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        result => result?,
    }
    disk.set_mode(dir, DIRECTORY)?;
    above.map_or(Ok(()), |above| disk.sync_dir(above))
}

fn look(disk: &dyn Disk, path: &Path) -> Result<Option<Meta>> {
    match disk.metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Error::io("looking at", path, error).advise("see that you may read and write there, or use --home DIR"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn what_lies_beside_a_file_is_opened_to_its_owner_if_the_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let [main, beside] = ["state.db", "state.db-shm"].map(|name| dir.path().join(name));
        let open = || open_beside(&RealDisk, &main, &beside).unwrap();
        assert_eq!(open(), None, "nothing is there");
        fs::write(&main, "").unwrap();
        assert_eq!(open(), None, "nothing is beside it");
        fs::write(&beside, "").unwrap();
        // The modes of the two; then what becomes of the second.
        for (of_main, before, after) in [
            (0o600, 0o400, 0o600),
            (0o600, 0o000, 0o600),
            (0o600, 0o200, 0o600),
            (0o644, 0o444, 0o600),
            (0o600, 0o600, 0o600),
            (0o600, 0o644, 0o644),
            (0o400, 0o400, 0o400),
            (0o444, 0o444, 0o444),
        ] {
            fs::set_permissions(&main, Permissions::from_mode(of_main)).unwrap();
            fs::set_permissions(&beside, Permissions::from_mode(before)).unwrap();
            let told = open();
            assert_eq!(fs::metadata(&beside).unwrap().permissions().mode() & 0o7777, after, "{of_main:o} {before:o}");
            assert_eq!(told.is_some(), before != after, "{told:?}");
            assert!(told.is_none_or(|told| told.contains(&format!("mode {before:04o}"))));
        }
    }

    #[test]
    fn what_somebody_else_may_write_is_open() {
        let (me, other, root) = (1000, 1001, 0);
        let table = [
            (me, me, 0o100_600, None),
            (me, me, 0o100_644, None),
            (me, me, 0o040_755, None),
            (me, me, 0o100_660, Some(Open::ToOthers(0o660))),
            (me, me, 0o040_777, Some(Open::ToOthers(0o777))),
            (me, me, 0o041_777, Some(Open::ToOthers(0o1777))),
            (me, me, 0o100_602, Some(Open::ToOthers(0o602))),
            (me, other, 0o100_600, Some(Open::ToOwner(other))),
            (me, root, 0o100_600, None),
            (me, root, 0o100_666, Some(Open::ToOthers(0o666))),
            (root, other, 0o100_600, None),
            (root, root, 0o040_775, Some(Open::ToOthers(0o775))),
        ];
        for (user, owner, mode, open) in table {
            assert_eq!(open_to(user, owner, mode), open, "{user}: {mode:o} of {owner}");
        }
    }
}
