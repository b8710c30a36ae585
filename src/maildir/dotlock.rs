//! Dovecot's lock on a folder's list of UIDs, under which it also renames files to give them keywords, and then writes
//! the names of new keywords.
//!
//! It is a file beside the list, `dovecot-uidlist.lock`, that only one can make. In it stands who has made it: process,
//! colon, host. One that was left by a process that is gone, or that nobody has touched for two minutes, is removed by
//! whoever finds it (`file_dotlock_create` in Dovecot's library, and `MAILDIR_UIDLIST_LOCK_STALE_TIMEOUT`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;

use super::listing::wall_clock;
use crate::disk::{Disk, Meta, remove_if_there};
use crate::model::Mtime;

/// A lock that nobody has touched for so long was left behind.
const STALE: Duration = Duration::from_secs(120);
/// In a lock that is younger, its maker may not have written yet who it is.
const YOUNG: Duration = Duration::from_secs(2);
/// How long to wait between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(20);

/// Who has made a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A process of this machine that lives.
    Living,
    /// A process of this machine that is gone.
    Gone,
    /// This one, which holds no other lock: it was given the number of one that is gone.
    Own,
    /// Nobody knows: it is on another machine, or doesn't say.
    Unknown,
}

/// Whether a lock was left behind that was last touched so long ago.
fn is_left_behind(holder: Holder, age: Duration) -> bool {
    match holder {
        Holder::Living => false,
        Holder::Own => true,
        Holder::Gone => age > YOUNG,
        Holder::Unknown => age > STALE,
    }
}

fn path_of(dir: &Path) -> PathBuf {
    dir.join("dovecot-uidlist.lock")
}

/// Does something while Dovecot changes nothing in this folder. Waits for Dovecot so long. `make` makes the lock's file.
///
/// # Errors
/// Of kind [`io::ErrorKind::ResourceBusy`], if Dovecot is not done by then; else what went wrong with the lock, or with
/// what was done.
pub fn while_locked<T>(
    disk: &dyn Disk,
    dir: &Path,
    patience: Duration,
    make: impl Fn(&Path) -> io::Result<File>,
    act: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let path = path_of(dir);
    // It says whose it is from its first moment on: nobody could know of an empty one that it was left behind.
    let new = dir.join("dovecot-mailsync.lock");
    remove_if_there(disk.unlink(&new))?;
    let mut file = make(&new)?;
    let taken = disk.write(&new, &mut file, this_process().as_bytes());
    let taken = taken.and_then(|()| disk.sync_file(&new, &file)).and_then(|()| take(disk, &new, &path, patience));
    if let Err(error) = taken {
        return remove_if_there(disk.unlink(&new)).and(Err(error));
    }
    let done = act();
    let released = remove_if_there(disk.unlink(&path));
    let done = done?;
    released.map(|()| done)
}

/// Gives the lock its name, as soon as nobody else has it.
fn take(disk: &dyn Disk, new: &Path, path: &Path, patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        match disk.rename(new, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed,
        }
        remove_if_left_behind(disk, path)?;
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program has it locked"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until nobody has this folder locked, but no longer than this. Whoever has changed it before is done then.
pub fn wait_for(disk: &dyn Disk, dir: &Path, patience: Duration) -> io::Result<()> {
    let path = path_of(dir);
    let until = Instant::now() + patience;
    loop {
        match disk.metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(meta) if is_left_behind(holder(disk, &path)?, age(&meta)) => return Ok(()),
            Ok(_) if Instant::now() >= until => return Ok(()),
            Ok(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn remove_if_left_behind(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let look = || match disk.metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    };
    let Some(before) = look()? else { return Ok(()) };
    if !is_left_behind(holder(disk, path)?, age(&before)) {
        return Ok(());
    }
    // Somebody else may have removed it meanwhile, and made another one.
    if look()? == Some(before) { remove_if_there(disk.unlink(path)) } else { Ok(()) }
}

fn age(meta: &Meta) -> Duration {
    let Mtime(now) = wall_clock();
    Duration::from_nanos(now.saturating_sub(meta.mtime.0).max(0).unsigned_abs())
}

/// What Dovecot calls this process, and this host: by the name that the kernel has.
fn this_process() -> String {
    format!("{}:{}", std::process::id(), this_host())
}

fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn holder(disk: &dyn Disk, path: &Path) -> io::Result<Holder> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Unknown),
        // Other users' locks may not be read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Holder::Unknown),
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(512).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let said = text.trim_end_matches('\n').split_once(':').filter(|(_, host)| *host == this_host());
    Ok(said.and_then(|(pid, _)| Pid::from_raw(pid.parse().ok()?)).map_or(Holder::Unknown, |pid| {
        if pid == rustix::process::getpid() {
            Holder::Own
        } else if rustix::process::test_kill_process(pid) == Err(Errno::SRCH) {
            Holder::Gone
        } else {
            Holder::Living
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_lock_counts_as_long_as_its_maker_may_still_be_at_work() {
        let table = [
            (Holder::Living, 10_000, false),
            (Holder::Gone, 0, false),
            (Holder::Gone, 2, false),
            (Holder::Gone, 3, true),
            (Holder::Own, 0, true),
            (Holder::Unknown, 3, false),
            (Holder::Unknown, 120, false),
            (Holder::Unknown, 121, true),
        ];
        for (holder, seconds, left) in table {
            assert_eq!(is_left_behind(holder, Duration::from_secs(seconds)), left, "{holder:?} {seconds}");
        }
    }

    /// A lock with this in it, made so many seconds ago.
    fn lock(dir: &Path, text: &str, seconds: u64) {
        std::fs::write(path_of(dir), text).unwrap();
        let made = std::time::SystemTime::now() - Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(path_of(dir)).unwrap().set_modified(made).unwrap();
    }

    #[test]
    fn the_lock_of_a_living_process_holds_and_that_of_one_that_is_gone_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        let (parent, host) = (rustix::process::getppid().unwrap().as_raw_nonzero(), this_host());
        for (text, seconds, held) in [
            (format!("{parent}:{host}"), 500, true),
            (format!("{gone}:{host}"), 0, true),
            (format!("{gone}:{host}"), 5, false),
            (format!("{gone}:elsewhere"), 5, true),
            (format!("{gone}:elsewhere"), 500, false),
            (String::new(), 5, true),
            (String::from("nonsense"), 500, false),
            (format!("{}:{host}", std::process::id()), 0, false),
        ] {
            lock(dir.path(), &text, seconds);
            let make = |path: &Path| RealDisk.create(path);
            let done = while_locked(&RealDisk, dir.path(), Duration::from_millis(50), make, || {
                assert_eq!(std::fs::read_to_string(path_of(dir.path())).unwrap(), this_process());
                Ok(7)
            });
            assert_eq!(
                done.map_err(|error| error.kind()),
                if held { Err(io::ErrorKind::ResourceBusy) } else { Ok(7) },
                "{text}"
            );
            assert_eq!(path_of(dir.path()).exists(), held, "{text}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), usize::from(held), "{text}");
        }
    }

    #[test]
    fn the_lock_goes_when_what_was_done_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let fails = || Err::<(), _>(io::Error::from(Errno::NOSPC));
        let make = |path: &Path| RealDisk.create(path);
        let error = while_locked(&RealDisk, dir.path(), Duration::ZERO, make, fails).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        assert!(!path_of(dir.path()).exists());
        assert!(wait_for(&RealDisk, dir.path(), Duration::from_secs(60)).is_ok(), "nobody has it");
    }
}
