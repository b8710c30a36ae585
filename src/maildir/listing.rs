//! Listings of folders, and the conclusions that a listing allows.
//!
//! A directory's modification time tells whether a name in it has come, gone or changed, but only as finely as the file
//! system's clock ticks: a change within the same tick as a listing leaves no trace. git calls this the racy timestamp.
//! So a time counts only if it is older than the listing by more than a tick. And on every common file system a listing
//! can miss a name that is changed while the directory is read. So only a listing that nothing can have disturbed may
//! say that a file vanished.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{FileName, Separator, Sub};
use crate::disk::{Disk, FileType, leads_nowhere};
use crate::model::Mtime;

/// Two changes must be this far apart to get different times on a file system that keeps nanoseconds. Linux takes the
/// time from a tick that comes every 1 to 10 ms.
const FINE: Duration = Duration::from_millis(10);
/// The same for a file system that keeps whole seconds. FAT keeps only every other second.
const COARSE: Duration = Duration::from_secs(2);

/// The modification times of `new/` and `cur/` during a listing that nothing can have disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanListing {
    /// The time of `new/`; `None` if there was no such directory.
    pub new: Option<Mtime>,
    /// The time of `cur/`; `None` if there was no such directory.
    pub cur: Option<Mtime>,
}

/// The modification times of `new/` and `cur/`; `None` for a directory that isn't there.
pub fn stat_folder(disk: &dyn Disk, dir: &Path) -> io::Result<CleanListing> {
    let mtime = |sub: Sub| match disk.metadata(&dir.join(sub.as_str())) {
        Ok(meta) if meta.is_dir => Ok(Some(meta.mtime)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    Ok(CleanListing { new: mtime(Sub::New)?, cur: mtime(Sub::Cur)? })
}

/// The names in a folder's `new/` and `cur/`, sorted by name, then `new` before `cur`. Compact, for large folders.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    names: Vec<(usize, u16, Sub)>,
    /// The modification times before the listing.
    pub times: CleanTimes,
    /// Whether no change can have been missed.
    pub quiet: bool,
}

/// The modification times that were found, and the moment at which they were found.
#[derive(Clone, Copy, Debug, Default)]
pub struct CleanTimes {
    /// The times themselves.
    pub found: Option<CleanListing>,
    /// The wall clock before the listing.
    pub started: Mtime,
}

impl Listing {
    /// Reads the names of a folder. `earlier` are the times that an earlier listing found. If they lie in the future,
    /// the wall clock can't be compared with them. Then they must have stayed the same for one tick of the coarsest
    /// clock.
    pub fn read(disk: &dyn Disk, dir: &Path, earlier: Option<CleanTimes>) -> io::Result<Self> {
        let mut listing = Self::default();
        let before = stat_folder(disk, dir)?;
        let started = wall_clock();
        // A mail reader moves files from `new` to `cur`. Read in this order, no file is missed on its way.
        for (sub, present) in [(Sub::New, before.new.is_some()), (Sub::Cur, before.cur.is_some())] {
            if present {
                listing.read_sub(disk, &dir.join(sub.as_str()), sub)?;
            }
        }
        let after = stat_folder(disk, dir)?;
        let bytes = &listing.bytes;
        listing.names.sort_unstable_by_key(|&(start, length, sub)| (slice(bytes, start, length), sub));
        let unmoved = earlier.is_some_and(|earlier| {
            earlier.found == Some(before) && started.0.saturating_sub(earlier.started.0) >= nanoseconds(COARSE)
        });
        let mut times = before.new.iter().chain(&before.cur);
        listing.quiet = before == after && (unmoved || times.all(|&time| settled(time, started)));
        listing.times = CleanTimes { found: Some(before), started };
        Ok(listing)
    }

    fn read_sub(&mut self, disk: &dyn Disk, dir: &Path, sub: Sub) -> io::Result<()> {
        let mut unclear = Ok(());
        disk.list(dir, &mut |name, kind| {
            let bytes = name.as_bytes();
            if FileName::ignored(bytes) || unclear.is_err() {
                return;
            }
            match is_file(disk, dir, name, kind) {
                Ok(true) => {}
                Ok(false) => return,
                // A file that can't be looked at must not count as gone.
                Err(error) => {
                    unclear = Err(error);
                    return;
                }
            }
            let length = u16::try_from(bytes.len()).expect("no file system has names of 64 KiB");
            self.names.push((self.bytes.len(), length, sub));
            self.bytes.extend_from_slice(bytes);
        })?;
        unclear
    }

    /// What the info begins with in most names that have one; `None` if none has.
    pub fn separator(&self) -> Option<Separator> {
        let mut counts = Separator::ALL.map(|separator| (0_u64, separator));
        for separator in self.iter().filter_map(|(name, _)| FileName::parse(name).separator()) {
            let (count, _) = counts.iter_mut().find(|(_, one)| *one == separator).expect("all are there");
            *count += 1;
        }
        // Of two that are equally frequent the more usual one.
        let most = counts.into_iter().rev().max_by_key(|(count, _)| *count);
        most.filter(|(count, _)| *count > 0).map(|(_, separator)| separator)
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Sub)> {
        self.names.iter().map(|&(start, length, sub)| (slice(&self.bytes, start, length), sub))
    }
}

fn slice(bytes: &[u8], start: usize, length: u16) -> &[u8] {
    &bytes[start..start + usize::from(length)]
}

fn is_file(disk: &dyn Disk, dir: &Path, name: &OsStr, kind: FileType) -> io::Result<bool> {
    match kind {
        FileType::File => Ok(true),
        FileType::Directory | FileType::Other => Ok(false),
        FileType::Unclear => match disk.metadata(&dir.join(name)) {
            Ok(meta) => Ok(meta.is_file),
            Err(error) if leads_nowhere(&error) => Ok(false),
            Err(error) => Err(error),
        },
    }
}

/// Whether a change after `now` would give another modification time than this one.
pub fn settled(time: Mtime, now: Mtime) -> bool {
    now.0.saturating_sub(time.0) > nanoseconds(granularity(time))
}

/// How long to wait until this modification time is settled, if it isn't.
pub fn unsettled_for(time: Mtime, now: Mtime) -> Option<Duration> {
    let age = now.0.saturating_sub(time.0);
    let granularity = granularity(time);
    let rest = nanoseconds(granularity).saturating_sub(age);
    // A time in the future will not come soon. The wait then shows whether the time stays as it is.
    (rest >= 0).then(|| Duration::from_nanos(rest.min(nanoseconds(COARSE)).unsigned_abs()) + Duration::from_micros(100))
}

fn granularity(time: Mtime) -> Duration {
    if time.subsec_nanos() == 0 { COARSE } else { FINE }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The wall clock, to be compared with the times of files.
pub fn wall_clock() -> Mtime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Mtime(nanoseconds(since))
}

/// A file in a folder.
pub fn path_in(dir: &Path, sub: Sub, name: &[u8]) -> PathBuf {
    let mut path = PathBuf::with_capacity(dir.as_os_str().len() + name.len() + 5);
    path.push(dir);
    path.push(sub.as_str());
    path.push(OsStr::from_bytes(name));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_settled_when_a_later_change_would_show() {
        let now = Mtime::new(1000, 500_000_000);
        assert!(settled(Mtime::new(1000, 489_999_999), now));
        assert!(!settled(Mtime::new(1000, 490_000_000), now));
        assert!(settled(Mtime::new(998, 0), now));
        assert!(!settled(Mtime::new(999, 0), now));
        assert!(!settled(Mtime::new(2000, 7), now));
        assert_eq!(unsettled_for(Mtime::new(998, 0), now), None);
        assert!(unsettled_for(Mtime::new(999, 0), now).unwrap() >= Duration::from_millis(500));
        assert!(unsettled_for(Mtime::new(2000, 7), now).unwrap() <= COARSE + Duration::from_millis(1));
    }
}
