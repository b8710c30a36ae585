//! What a file operation lacked that a person can provide: room, a quota, a limit, a file system that can be written.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::text::bytes;

/// What was lacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Room on a file system.
    Room,
    /// Some of the user's quota.
    Quota,
    /// A limit that lets a file be so large.
    FileSize,
    /// A limit that lets so many files be open.
    OpenFiles,
    /// A file system that lets anything be written.
    Writing,
}

impl Lack {
    /// What an error of the operating system says was lacking.
    pub fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::NOSPC => Some(Self::Room),
            Errno::DQUOT => Some(Self::Quota),
            Errno::FBIG => Some(Self::FileSize),
            Errno::MFILE | Errno::NFILE => Some(Self::OpenFiles),
            Errno::ROFS => Some(Self::Writing),
            _ => None,
        }
    }

    /// What is to be done before what lacked it is run again. `place` is the file or the directory that it lacked for, if that is known.
    pub fn remedy(self, place: Option<&Path>) -> String {
        let room = place.and_then(room_at);
        let limit = match self {
            Self::FileSize => getrlimit(Resource::Fsize).current,
            Self::OpenFiles => getrlimit(Resource::Nofile).current,
            _ => None,
        };
        self.words(place, room, limit)
    }

    /// What is to be known besides that.
    pub fn besides(self) -> Option<&'static str> {
        (self == Self::Writing).then_some("if it was mounted for writing before, its disk may be failing (`dmesg`)")
    }

    fn words(self, place: Option<&Path>, room: Option<Room>, limit: Option<u64>) -> String {
        let there = place.map_or_else(
            || String::from("the file system that it is written to"),
            |place| format!("the file system of {}", place.display()),
        );
        let free = match room {
            Some(Room { files: 0, bytes: free }) if free > 0 => {
                format!(", where no more files can be made though {} are free", bytes(free))
            }
            Some(Room { bytes: free, .. }) => format!(", where {} are free", bytes(free)),
            None => String::new(),
        };
        match (self, limit) {
            (Self::Room, _) => format!("make room on {there}{free}"),
            (Self::Quota, _) => {
                format!("your quota on {there} is used up (see `quota`): remove something there, or have it raised")
            }
            (Self::FileSize, Some(limit)) => {
                format!("`ulimit -f` lets no file be larger than {}: run `ulimit -f unlimited`", bytes(limit))
            }
            (Self::FileSize, None) => {
                format!("{there} takes no file so large: use another one, or split a bundle with --split")
            }
            (Self::OpenFiles, Some(limit)) => format!(
                "`ulimit -n` lets {limit} files be open, or the whole machine has too many: raise it, or end other programs"
            ),
            (Self::OpenFiles, None) => String::from("end other programs"),
            (Self::Writing, _) => format!(
                "{there} is mounted for reading only: mount it for writing, or slide the lock of a stick or a card"
            ),
        }
    }
}

/// What somebody who is not root can still put on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    bytes: u64,
    files: u64,
}

/// The room where a file is or was to be. `None` if the file system doesn't tell.
fn room_at(place: &Path) -> Option<Room> {
    let told = place.ancestors().find_map(|place| {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        rustix::fs::statvfs(place).ok()
    })?;
    // Some count no files.
    let files = if told.f_files == 0 { u64::MAX } else { told.f_favail };
    (told.f_blocks > 0).then(|| Room { bytes: told.f_bavail.saturating_mul(told.f_frsize), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_has_its_own_remedy() {
        let place = Some(Path::new("/mnt/stick/x"));
        let (full, small) = (Room { bytes: 0, files: 7 }, Room { bytes: 3 << 20, files: 7 });
        let no_files = Room { bytes: 1024, files: 0 };
        let table = [
            (Errno::NOSPC, place, Some(full), None, "make room on the file system of /mnt/stick/x, where 0 B are free"),
            (Errno::NOSPC, place, Some(small), None, "where 3.0 MiB are free"),
            (Errno::NOSPC, place, Some(no_files), None, "where no more files can be made though 1.0 KiB are free"),
            (Errno::NOSPC, None, None, None, "make room on the file system that it is written to"),
            (Errno::DQUOT, place, Some(small), None, "your quota on the file system of /mnt/stick/x is used up"),
            (
                Errno::FBIG,
                place,
                None,
                Some(1 << 20),
                "`ulimit -f` lets no file be larger than 1.0 MiB: run `ulimit -f unlimited`",
            ),
            (Errno::FBIG, place, None, None, "the file system of /mnt/stick/x takes no file so large"),
            (Errno::MFILE, place, None, Some(64), "`ulimit -n` lets 64 files be open"),
            (
                Errno::ROFS,
                place,
                None,
                None,
                "the file system of /mnt/stick/x is mounted for reading only: mount it for writing",
            ),
        ];
        for (errno, place, room, limit, expected) in table {
            let words = Lack::of(&errno.into()).unwrap().words(place, room, limit);
            assert!(words.contains(expected), "{words}");
        }
        for errno in [Errno::IO, Errno::ACCESS, Errno::NOENT] {
            assert_eq!(Lack::of(&errno.into()), None);
        }
        assert!(room_at(Path::new("/proc/self/nothing/there")).is_none() || room_at(Path::new("/")).is_some());
        assert!(room_at(&std::env::temp_dir().join("no such/file")).is_some());
    }
}
