//! What `SQLite` can't do, in words for people. A full disk, one that fails, one that lets nothing be written and a damaged
//! file want different things to be done; only of a damaged one a backup is the answer, since mail that was removed since
//! then comes back with it.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::disk::{Disk as _, RealDisk, is_absent};
use crate::error::{Error, Scope};
use crate::text::bytes;

/// What is to be done about an error of `SQLite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Room,
    /// The file system said why, and `SQLite` keeps that to itself.
    FailingDisk,
    WritableDisk,
    /// It, or what lies beside it, can't be opened or made.
    Access,
    Memory,
    Patience,
    Backup,
    Again,
}

impl Remedy {
    fn of(code: Option<ErrorCode>) -> Self {
        match code {
            Some(ErrorCode::DiskFull) => Self::Room,
            Some(ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed) => Self::FailingDisk,
            Some(ErrorCode::ReadOnly) => Self::WritableDisk,
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                Self::Access
            }
            Some(ErrorCode::OutOfMemory) => Self::Memory,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Patience,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Backup,
            _ => Self::Again,
        }
    }

    fn advise(self, error: Error) -> Error {
        let as_it_was = "the last committed state is as it was";
        match self {
            Self::Room => error
                .again_after("make room on the disk that holds the state, or the one for temporary files")
                .besides("nothing is lost, and nothing is to be put back"),
            Self::FailingDisk => error
                .again_after(
                    "see that the disk that holds the state has room, that your quota and `ulimit -f` leave some, and that it \
                     doesn't fail (`dmesg`)",
                )
                .besides(as_it_was),
            Self::WritableDisk => error
                .again_after(
                    "see that the disk that holds the state is mounted for writing and that you may write the state directory",
                )
                .besides(as_it_was),
            Self::Access => error
                .again_after(
                    "see that you may read and write the state directory and all that is in it, that its disk has room, and \
                     that not too many files are open (`ulimit -n`)",
                )
                .besides(as_it_was),
            Self::Memory => error.again_after("see that more memory is free").besides(as_it_was),
            Self::Patience => error.again_after("end the other program that has it open"),
            Self::Backup => error.advise(
                "keep a copy of the state directory as it is, then put it back from a backup, and run `mailsync doctor \
                 --new-identity`; your mail itself was not touched",
            ),
            Self::Again => error.again().besides("your mail and the last committed state are as they were"),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let remedy = Remedy::of(error.sqlite_error_code());
        remedy.advise(Self::failed(format!("the state database: {error}")))
    }
}

/// What is to be done if the state is lost or can't be read any more.
pub const LOST: &str = "your mail was not touched; put it back from a backup, or begin anew: have a peer invite this machine, and \
                        `mailsync join` into an empty mail root, with another --home (`mailsync init` may bring back what others removed)";

/// The error for a state database that can't be opened.
pub(super) fn opening(path: &Path, error: &rusqlite::Error) -> Error {
    // While it is made it has a name of its own.
    let shown =
        path.extension().filter(|end| *end == "new").map_or_else(|| path.to_owned(), |_| path.with_extension(""));
    let told = |why: &dyn std::fmt::Display| Error::io("opening the state database", &shown, why);
    let remedy = Remedy::of(error.sqlite_error_code());
    let there = RealDisk.metadata(path);
    match (&there, remedy) {
        (_, Remedy::Backup) => return told(&error.to_string()).advise(LOST),
        (Err(why), _) if is_absent(why) => return told(&"it isn't there").advise(LOST),
        (Err(why), _) if Scope::of(why) == Scope::Disk => return Remedy::FailingDisk.advise(told(why)),
        _ => {}
    }
    match too_little(path) {
        // Whatever can't be made or written there: that is why.
        Some(free) => Remedy::Room.advise(told(&format!("{error}, and {} are free there", bytes(free)))),
        None => remedy.advise(told(&error.to_string())),
    }
}

/// Whether the disk with this database is full.
pub(super) fn is_full(path: &Path) -> bool {
    too_little(path).is_some()
}

/// How many bytes are free beside a database, if they are too few.
fn too_little(path: &Path) -> Option<u64> {
    let space = RealDisk.space(path.parent().unwrap_or(path)).ok()??;
    (space.free < FULL).then_some(space.free)
}

/// A disk is full when fewer bytes are free than `SQLite` needs beside a database.
const FULL: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn only_a_damaged_state_is_to_be_put_back() {
        let table = [
            (ffi::SQLITE_FULL, Remedy::Room),
            (ffi::SQLITE_IOERR, Remedy::FailingDisk),
            (ffi::SQLITE_IOERR_WRITE, Remedy::FailingDisk),
            (ffi::SQLITE_IOERR_FSYNC, Remedy::FailingDisk),
            (ffi::SQLITE_IOERR_SHMSIZE, Remedy::FailingDisk),
            (ffi::SQLITE_READONLY, Remedy::WritableDisk),
            (ffi::SQLITE_READONLY_DIRECTORY, Remedy::WritableDisk),
            (ffi::SQLITE_CANTOPEN, Remedy::Access),
            (ffi::SQLITE_PERM, Remedy::Access),
            (ffi::SQLITE_NOMEM, Remedy::Memory),
            (ffi::SQLITE_BUSY, Remedy::Patience),
            (ffi::SQLITE_CORRUPT, Remedy::Backup),
            (ffi::SQLITE_NOTADB, Remedy::Backup),
            (ffi::SQLITE_CONSTRAINT, Remedy::Again),
        ];
        for (code, remedy) in table {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(Remedy::of(error.sqlite_error_code()), remedy, "{error}");
            let told = Error::from(error).to_string();
            assert_eq!(told.contains("from a backup"), remedy == Remedy::Backup, "{told}");
        }
    }
}
