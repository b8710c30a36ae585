//! Reading and writing the file that names a folder's letters, beside a Dovecot that does the same.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use super::dotlock::while_locked;
use super::keywords::{FILE, KeywordsFile};
use super::listing::{Times, wall_clock};
use crate::disk::{Disk, Meta, remove_if_there};
use crate::model::Mtime;

/// The most that is read of the file, in bytes. 26 names have no need of more.
const MOST_BYTES: u64 = 64 << 10;

/// What was last seen of the file that names a folder's letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamesSeen {
    /// Nothing that is sure: it is to be read again.
    #[default]
    Unknown,
    /// There was none.
    Absent,
    /// It was this one.
    File {
        /// Its times.
        times: Times,
        /// Bytes.
        size: u64,
        /// The file within its file system.
        inode: u64,
    },
}

impl NamesSeen {
    fn of(meta: &Meta) -> Self {
        Self::File { times: Times::of(meta), size: meta.size, inode: meta.inode }
    }
}

/// Looks at the file of the folder in this directory, without reading it.
pub fn look(disk: &dyn Disk, dir: &Path) -> io::Result<NamesSeen> {
    match disk.metadata(&dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(NamesSeen::Absent),
        looked => looked.map(|meta| NamesSeen::of(&meta)),
    }
}

/// Reads the file of the folder in this directory. If there is none, it names nothing.
pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<(NamesSeen, KeywordsFile)> {
    let now = wall_clock();
    let file = match disk.open(&dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((NamesSeen::Absent, KeywordsFile::default()));
        }
        opened => opened?,
    };
    let meta = Meta::from(&file.metadata()?);
    let mut contents = Vec::new();
    if meta.is_file {
        file.take(MOST_BYTES + 1).read_to_end(&mut contents)?;
    }
    if !meta.is_file || contents.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a list of keywords"));
    }
    // Within the same tick it may change without a trace.
    let seen = if Times::of(&meta).settled(now) { NamesSeen::of(&meta) } else { NamesSeen::Unknown };
    Ok((seen, KeywordsFile::parse(&contents)))
}

/// Changes the file of the folder in this directory, while Dovecot doesn't; waits for Dovecot so long. `make` makes a
/// file beside it, `change` is given what it says now. Returns what that returns, and whether the file was written.
///
/// Dovecot reads the file again only if its time in seconds is another one; so that always grows.
pub fn change<T>(
    disk: &dyn Disk,
    dir: &Path,
    patience: Duration,
    make: impl Fn(&Path) -> io::Result<File>,
    change: impl FnOnce(&mut KeywordsFile) -> io::Result<T>,
) -> io::Result<(T, bool)> {
    while_locked(disk, dir, patience, &make, || {
        let (_, before) = read(disk, dir)?;
        let mut file = before.clone();
        let done = change(&mut file)?;
        if file != before {
            replace(disk, dir, &make, &file.format())?;
        }
        Ok((done, file != before))
    })
}

/// Puts these contents in place of the file's, durably: a letter in a file's name must not outlive what it stands for.
/// Dovecot writes it under the same other name
/// first, and removes what it finds there: nobody else has it while the folder is locked.
fn replace(disk: &dyn Disk, dir: &Path, make: impl Fn(&Path) -> io::Result<File>, contents: &[u8]) -> io::Result<()> {
    let (path, new) = (dir.join(FILE), dir.join("dovecot-keywords.lock"));
    let after = match disk.metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Mtime::default(),
        looked => Mtime::new(looked?.mtime.seconds().saturating_add(1), 0),
    };
    remove_if_there(disk.unlink(&new))?;
    let mut file = make(&new)?;
    let write = |file: &mut File| {
        disk.write(&new, file, contents)?;
        disk.set_mtime(&new, file, wall_clock().max(after))?;
        disk.sync_file(&new, file)?;
        disk.replace(&new, &path)
    };
    write(&mut file).or_else(|error| remove_if_there(disk.unlink(&new)).and(Err(error)))?;
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::maildir::keywords::LetterSet;
    use crate::model::Keyword;

    fn add(dir: &Path, name: &str) -> io::Result<(Option<u8>, bool)> {
        let make = |path: &Path| RealDisk.create(path);
        change(&RealDisk, dir, Duration::ZERO, make, |file| {
            Ok(file.add(&Keyword::new(name).unwrap(), LetterSet::default()))
        })
    }

    #[test]
    fn the_file_is_made_and_grows_and_its_time_in_seconds_with_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&RealDisk, dir.path()).unwrap(), (NamesSeen::Absent, KeywordsFile::default()));
        let path = dir.path().join(FILE);
        // What a Dovecot that was killed has left.
        std::fs::write(dir.path().join("dovecot-keywords.lock"), "0 x\n").unwrap();
        let mut times = Vec::new();
        for (n, name) in ["work", "$Junk", "play"].into_iter().enumerate() {
            let letter = b'a' + u8::try_from(n).unwrap();
            assert_eq!(add(dir.path(), name).unwrap(), (Some(letter), true));
            times.push(RealDisk.metadata(&path).unwrap().mtime.seconds());
        }
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0 work\n1 $Junk\n2 play\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "and no lock is left");
        // Nothing to change: nothing is written.
        let make = |path: &Path| RealDisk.create(path);
        assert_eq!(change(&RealDisk, dir.path(), Duration::ZERO, make, |_| Ok(7)).unwrap(), (7, false));
        assert_eq!(RealDisk.metadata(&path).unwrap().mtime.seconds(), times[2]);
    }

    #[test]
    fn a_file_is_read_again_until_no_change_can_have_escaped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "0 work\n").unwrap();
        let age = |seconds| {
            let at = std::time::SystemTime::now() - Duration::from_secs(seconds);
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            read(&RealDisk, dir.path()).unwrap().0
        };
        // It was changed just now, whatever its modification time says.
        assert_eq!(age(5), NamesSeen::Unknown);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(read(&RealDisk, dir.path()).unwrap().0, look(&RealDisk, dir.path()).unwrap());
        assert_eq!(age(0), NamesSeen::Unknown);
    }

    #[test]
    fn what_is_no_such_file_is_neither_read_nor_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "0 work\n".repeat(10_000)).unwrap();
        assert_eq!(read(&RealDisk, dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(add(dir.path(), "new").is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read(&RealDisk, dir.path()).is_err() && add(dir.path(), "new").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no lock is left");
    }
}
