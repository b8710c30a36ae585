//! Listings of folders, and the conclusions that a listing allows.
//!
//! A directory's times tell whether a name in it has come, gone or changed, but only as finely as the file system's
//! clock ticks: a change within the same tick as a listing leaves no trace. git calls this the racy timestamp. So a
//! time counts only if it is older than the listing by more than a tick. And on every common file system a listing can
//! miss a name that is changed while the directory is read. So only a listing that nothing can have disturbed may say
//! that a file vanished.
//!
//! What can't be looked at is unknown, not empty: a `cur` that is there and is no directory is an error.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{FileName, Separator, Sub};
use crate::disk::{Disk, FileType, Meta, leads_nowhere};
use crate::model::Mtime;

/// Two changes must be this far apart to get different times on a file system that keeps nanoseconds. Linux takes the
/// time from a tick that comes every 1 to 10 ms.
const FINE: Duration = Duration::from_millis(10);
/// The same for a file system that keeps whole seconds. FAT keeps only every other second.
const COARSE: Duration = Duration::from_secs(2);

/// The times of a directory that show whether a name in it has come, gone or changed. Either may fail to: `rsync -a`
/// sets the modification time back, and not every file system keeps a change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The modification time.
    pub modified: Mtime,
    /// The change time.
    pub changed: Mtime,
}

impl Times {
    /// Those of this directory.
    pub fn of(meta: &Meta) -> Self {
        Self { modified: meta.mtime, changed: meta.ctime }
    }

    /// Whether a change after `now` would give other times than these.
    pub fn settled(self, now: Mtime) -> bool {
        settled(self.modified, now) && settled(self.changed, now)
    }

    /// How long to wait until these times are settled, if they aren't.
    pub fn unsettled_for(self, now: Mtime) -> Option<Duration> {
        unsettled_for(self.modified, now).max(unsettled_for(self.changed, now))
    }
}

/// The times of `new/` and `cur/` during a listing that nothing can have disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanListing {
    /// The times of `new/`; `None` if there was no such directory.
    pub new: Option<Times>,
    /// The times of `cur/`; `None` if there was no such directory.
    pub cur: Option<Times>,
}

/// The file systems on which a folder's directories are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// That of the folder's directory; `None` if it isn't known.
    pub folder: Option<u64>,
    /// That of `new/`, if there is one.
    pub new: Option<u64>,
    /// That of `cur/`, if there is one.
    pub cur: Option<u64>,
}

/// A directory's file system, and that of the directory above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory's.
    pub device: u64,
    /// The one above.
    pub above: u64,
}

impl Mount {
    /// Whether another file system is at the place than before: something was mounted there or isn't any more. The
    /// numbers of file systems may change when a machine starts, so they are compared with those of the directory
    /// above.
    pub fn differs(self, before: Self) -> bool {
        let is_mounted = |mount: Self| mount.device != mount.above;
        is_mounted(self) != is_mounted(before) || (self.above == before.above && self.device != before.device)
    }
}

/// The times of `new/` and `cur/`; `None` for a directory that isn't there.
///
/// # Errors
/// One of them can't be looked at, or is there and is no directory.
pub fn stat_folder(disk: &dyn Disk, dir: &Path) -> io::Result<CleanListing> {
    let times = |sub: Sub| Ok::<_, io::Error>(stat_sub(disk, dir, sub)?.map(|meta| Times::of(&meta)));
    Ok(CleanListing { new: times(Sub::New)?, cur: times(Sub::Cur)? })
}

fn stat_sub(disk: &dyn Disk, dir: &Path, sub: Sub) -> io::Result<Option<Meta>> {
    let unusable = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("its {} {why}", sub.as_str()));
    let path = dir.join(sub.as_str());
    match disk.metadata(&path) {
        Ok(meta) if meta.is_dir => Ok(Some(meta)),
        Ok(_) => Err(unusable("is not a directory")),
        Err(error) if leads_nowhere(&error) => {
            if is_link(disk, &path)? {
                return Err(unusable("is a symbolic link that leads nowhere"));
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a symbolic link has this name; not if nothing has it.
pub fn is_link(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.is_link(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        looked => looked,
    }
}

/// The names in a folder's `new/` and `cur/`, sorted by name, then `new` before `cur`. Compact, for large folders.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    names: Vec<(usize, u16, Sub)>,
    /// The times before the listing.
    pub times: CleanTimes,
    /// Whether no change can have been missed.
    pub quiet: bool,
    /// The file systems.
    pub devices: Devices,
    /// Of `new/` and `cur/`, those that hold nothing at all.
    pub empty: Vec<Sub>,
    /// The bases of names that are symbolic links. What these lead to is no message: whoever may write into a folder
    /// could have any file of this user's sent to others by one. But where a message was, it may still be behind it.
    pub links: BTreeSet<Vec<u8>>,
    /// What is there besides and is no message: links, directories, pipes, sockets and devices.
    pub others: Others,
}

/// What is in the place of messages and is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many there are.
    pub count: u64,
    /// One of them.
    pub example: Option<PathBuf>,
}

impl Others {
    /// Counts these as well.
    pub fn add(&mut self, more: &Self) {
        self.count += more.count;
        if self.example.is_none() {
            self.example.clone_from(&more.example);
        }
    }
}

/// The times that were found, and the moment at which they were found.
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
        let (new, cur) = (stat_sub(disk, dir, Sub::New)?, stat_sub(disk, dir, Sub::Cur)?);
        let times = |meta: &Meta| Times::of(meta);
        let before = CleanListing { new: new.as_ref().map(times), cur: cur.as_ref().map(times) };
        let started = wall_clock();
        // A mail reader moves files from `new` to `cur`. Read in this order, no file is missed on its way.
        for (sub, present) in [(Sub::New, new.is_some()), (Sub::Cur, cur.is_some())] {
            if present && listing.read_sub(disk, &dir.join(sub.as_str()), sub)? == 0 {
                listing.empty.push(sub);
            }
        }
        let device = |meta: Option<Meta>| meta.map(|meta| meta.device);
        listing.devices = Devices { folder: None, new: device(new), cur: device(cur) };
        let after = stat_folder(disk, dir)?;
        let bytes = &listing.bytes;
        listing.names.sort_unstable_by_key(|&(start, length, sub)| (slice(bytes, start, length), sub));
        let unmoved = earlier.is_some_and(|earlier| {
            earlier.found == Some(before) && started.0.saturating_sub(earlier.started.0) >= nanoseconds(COARSE)
        });
        let mut times = before.new.iter().chain(&before.cur);
        listing.quiet = before == after && (unmoved || times.all(|times| times.settled(started)));
        listing.times = CleanTimes { found: Some(before), started };
        Ok(listing)
    }

    /// Returns how many names there are, those of messages and others.
    fn read_sub(&mut self, disk: &dyn Disk, dir: &Path, sub: Sub) -> io::Result<usize> {
        let (mut unclear, mut seen) = (Ok(()), 0);
        disk.list(dir, &mut |name, kind| {
            seen += 1;
            let bytes = name.as_bytes();
            if FileName::ignored(bytes) || unclear.is_err() {
                return;
            }
            match kind_of(disk, dir, name, kind) {
                Ok(Kind::Message) => {}
                Ok(kind) => {
                    if kind == Kind::Link {
                        self.links.insert(FileName::parse(bytes).base().to_vec());
                    }
                    self.others.add(&Others { count: 1, example: Some(dir.join(name)) });
                    return;
                }
                // It has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
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
        unclear.map(|()| seen)
    }

    /// The one of `new/` and `cur/` that is empty where something else was mounted before, if there is one.
    pub fn unmounted(&self, before: Devices) -> Option<Sub> {
        let mount = |devices: Devices, sub| {
            let device = if sub == Sub::New { devices.new } else { devices.cur };
            device.zip(devices.folder).map(|(device, above)| Mount { device, above })
        };
        let differs = |sub: &Sub| {
            let both = mount(self.devices, *sub).zip(mount(before, *sub));
            both.is_some_and(|(now, before)| now.differs(before))
        };
        self.empty.iter().copied().find(differs)
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

/// What a name in `new/` or `cur/` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Link,
    Other,
}

fn kind_of(disk: &dyn Disk, dir: &Path, name: &OsStr, kind: FileType) -> io::Result<Kind> {
    match kind {
        FileType::File => Ok(Kind::Message),
        FileType::Directory | FileType::Other => Ok(Kind::Other),
        FileType::Unclear => {
            let meta = disk.link_metadata(&dir.join(name))?;
            Ok(match (meta.is_link, meta.is_file) {
                (true, _) => Kind::Link,
                (_, true) => Kind::Message,
                _ => Kind::Other,
            })
        }
    }
}

/// Whether a change after `now` would give another time than this one.
fn settled(time: Mtime, now: Mtime) -> bool {
    now.0.saturating_sub(time.0) > nanoseconds(granularity(time))
}

/// How long to wait until this time is settled, if it isn't.
fn unsettled_for(time: Mtime, now: Mtime) -> Option<Duration> {
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
        // Of a directory both times must be.
        let (old, young) = (Mtime::new(900, 7), Mtime::new(1000, 495_000_000));
        for (modified, changed, is_settled) in
            [(old, old, true), (old, young, false), (young, old, false), (young, young, false)]
        {
            let times = Times { modified, changed };
            assert_eq!(times.settled(now), is_settled, "{times:?}");
            assert_eq!(times.unsettled_for(now).is_none(), is_settled, "{times:?}");
        }
    }

    #[test]
    fn another_file_system_at_a_place_is_told_from_other_numbers_for_the_same_ones() {
        // The numbers of a directory's file system and of the one above it, before and now, and whether they show that
        // something else is mounted there.
        for (before, now, differs) in [
            ((1, 1), (1, 1), false),
            ((2, 1), (2, 1), false),
            ((2, 1), (1, 1), true),
            ((1, 1), (2, 1), true),
            ((2, 1), (3, 1), true),
            // After a start, with other numbers.
            ((2, 1), (1, 2), false),
            ((1, 1), (7, 7), false),
            ((2, 1), (7, 7), true),
            ((1, 1), (7, 8), true),
        ] {
            let mount = |(device, above)| Mount { device, above };
            assert_eq!(mount(now).differs(mount(before)), differs, "{before:?} {now:?}");
        }
    }
}
