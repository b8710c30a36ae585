//! The directories in which a replica keeps its configuration, its key and its state, and the lock that one command at
//! a time holds.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs2::FileExt;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::private;
use crate::disk::{Disk, is_absent, is_there};
use crate::error::{Error, ErrorKind, Result};
use crate::state::{LOST, beside};

/// The directories of one replica.
#[derive(Clone, Debug)]
pub struct Home {
    config: PathBuf,
    state: PathBuf,
}

/// The file that whoever changes the replica holds locked, and the one that whoever runs jobs does.
const LOCK: &str = "lock";
const JOBS_LOCK: &str = "jobs.lock";

/// The file that says that the replica is about to be no more, as long as something of it is left.
const LEAVING: &str = "leaving";

const PERMISSION: &str = "see that you may read and write there, or use --home DIR";

impl Home {
    /// Everything in one directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { config: dir.clone(), state: dir }
    }

    /// The directories that the XDG base directory specification names.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn standard() -> Result<Self> {
        let dirs = directories::ProjectDirs::from("", "", "mailsync")
            .ok_or_else(|| Error::usage("looking for your home directory: there is none").advise("use --home DIR"))?;
        let state = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
        Ok(Self { config: dirs.config_dir().to_owned(), state: state.to_owned() })
    }

    /// The one directory that holds everything, if that is so.
    pub(super) fn single(&self) -> Option<&Path> {
        (self.config == self.state).then_some(&self.config)
    }

    /// The user's configuration.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The replica's private key, in OpenSSH's format.
    pub fn key_file(&self) -> PathBuf {
        self.config.join("key")
    }

    /// The replica's public key, in OpenSSH's format.
    pub fn public_key_file(&self) -> PathBuf {
        self.config.join("key.pub")
    }

    /// The key that is about to take the place of the present one.
    pub(super) fn next_key_file(&self) -> PathBuf {
        self.config.join("key.next")
    }

    /// The directory of former keys, for which something that is still to be read may be encrypted.
    pub fn former_keys(&self) -> PathBuf {
        self.config.join("keys")
    }

    /// The directory that holds the state.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The state database.
    pub fn database(&self) -> PathBuf {
        self.state.join("state.db")
    }

    /// The directory of messages that imports have removed.
    pub fn trash(&self) -> PathBuf {
        self.state.join("trash")
    }

    /// The directory of messages that wait until their folders can take them.
    pub(super) fn held(&self) -> PathBuf {
        self.state.join("held")
    }

    /// The directory of job attachments.
    pub(super) fn attachments(&self) -> PathBuf {
        self.state.join("jobs")
    }

    /// The directory of jobs that were asked for here and that no command has taken into the state yet.
    pub(super) fn outbox(&self) -> PathBuf {
        self.state.join("outbox")
    }

    /// The directory that holds the configuration and the keys.
    pub fn config_dir(&self) -> &Path {
        &self.config
    }

    /// The file that says that the replica is about to be no more.
    pub(super) fn leaving_file(&self) -> PathBuf {
        self.config.join(LEAVING)
    }

    /// The files on which locks are held.
    pub(super) fn lock_files(&self) -> [PathBuf; 2] {
        [LOCK, JOBS_LOCK].map(|name| self.state.join(name))
    }

    /// Whether a replica lives here.
    ///
    /// # Errors
    /// The file system doesn't tell.
    pub fn exists(&self, disk: &dyn Disk) -> Result<bool> {
        is_there(disk, &self.config_file())
    }

    /// Whether there is a state here.
    ///
    /// # Errors
    /// The file system doesn't tell.
    pub(super) fn has_state(&self, disk: &dyn Disk) -> Result<bool> {
        is_there(disk, &self.database())
    }

    /// A replica must live here.
    ///
    /// # Errors
    /// None does.
    pub(super) fn check_lived_in(&self, disk: &dyn Disk) -> Result<()> {
        let there = self.exists(disk)?;
        self.check_stays(disk)?;
        if there {
            return Ok(());
        }
        let what = format!("opening {}: no replica lives there", self.config_file().display());
        Err(Error::failed(what).advise(
            "make one with `mailsync init MAILROOT`, or with `mailsync join MAILROOT BUNDLE` from an invitation",
        ))
    }

    /// No replica here may be about to be no more.
    ///
    /// # Errors
    /// One is.
    pub(super) fn check_stays(&self, disk: &dyn Disk) -> Result<()> {
        let file = self.leaving_file();
        if !is_there(disk, &file)? {
            return Ok(());
        }
        let what = format!(
            "opening {}: a `mailsync deinit` was interrupted, and parts of the replica are gone",
            file.display()
        );
        Err(Error::failed(what).advise("run `mailsync deinit` again, which ends it"))
    }

    /// Makes the directories, for their owner only. Nothing is there yet that somebody else could have changed.
    ///
    /// # Errors
    /// They can't be made, or are somebody else's.
    pub(super) fn make(&self, disk: &dyn Disk, mail_root: &Path) -> Result<()> {
        for dir in [&self.config, &self.state, &self.trash()] {
            private::make_dir(disk, dir)
                .map_err(|error| Error::io("making the directory", dir, error).advise(PERMISSION))?;
            if is_for_it_alone(dir, mail_root) {
                private::mend(disk, dir)?;
            }
            private::check(disk, dir)?;
        }
        Ok(())
    }

    /// What is here must be this user's, and nobody else may write it: the configuration says which commands are run,
    /// and who has the key can sign in this replica's name.
    ///
    /// # Errors
    /// Somebody else may write it.
    pub(super) fn check_private(&self, disk: &dyn Disk) -> Result<()> {
        let others = [&self.config_file(), &self.database(), &self.config, &self.state, &self.former_keys()];
        others.into_iter().try_for_each(|path| private::check(disk, path))?;
        private::check_secret(disk, &self.key_file())
    }

    /// Makes the files beside the state database usable for their owner, as the database is: they may have been made
    /// when it was read-only. Returns what was wrong, for a person to be told.
    pub(super) fn open_beside_database(&self, disk: &dyn Disk) -> Result<Vec<String>> {
        let database = self.database();
        let files = beside(&self.database());
        files.iter().filter_map(|file| private::open_beside(disk, &database, file).transpose()).collect()
    }

    /// Takes from others the permission to read what is here. Returns what was open to them, for a person to be told.
    pub(super) fn mend_modes(&self, disk: &dyn Disk, mail_root: &Path) -> Result<Vec<String>> {
        let mut mended = Vec::new();
        let dirs = [
            self.config.clone(),
            self.state.clone(),
            self.trash(),
            self.attachments(),
            self.outbox(),
            self.former_keys(),
        ];
        let [wal, shm] = beside(&self.database());
        let files = [self.config_file(), self.database(), wal, shm, self.state.join(LOCK), self.state.join(JOBS_LOCK)];
        let dirs = dirs.iter().filter(|dir| is_for_it_alone(dir, mail_root));
        for path in dirs.chain(&files) {
            mended.extend(private::mend(disk, path)?);
        }
        Ok(mended)
    }

    /// Waits up to `timeout` for the exclusive lock. It is held until the file is dropped.
    pub(super) fn lock(&self, disk: &dyn Disk, timeout: Duration) -> Result<File> {
        let path = self.state.join(LOCK);
        // Each command that makes a replica makes this directory first.
        if !is_there(disk, &self.state)? {
            let what = format!("opening the state directory {}: it isn't there", self.state.display());
            return Err(Error::failed(what).advise(LOST));
        }
        wait_for_lock(disk, &path, timeout)?.ok_or_else(|| {
            let what = format!("locking {}: another mailsync is working on this replica", path.display());
            Error::new(ErrorKind::Locked, what)
                .advise("run this again when it is done, or wait longer with --lock-timeout")
        })
    }

    /// Takes the lock for running jobs, which one command at a time holds, until the file is dropped. `None` if another
    /// command holds it.
    pub(super) fn lock_jobs(&self, disk: &dyn Disk, timeout: Duration) -> Result<Option<File>> {
        wait_for_lock(disk, &self.state.join(JOBS_LOCK), timeout)
    }

    /// The inode of the state database, and its time of birth (nanoseconds since 1970 UTC) if the file system tells.
    /// They show that a state was copied or restored.
    pub(super) fn database_identity(&self) -> Result<(u64, Option<i64>)> {
        let path = self.database();
        let flags = StatxFlags::INO | StatxFlags::BTIME;
        match statx(CWD, &path, AtFlags::empty(), flags) {
            Ok(found) => {
                let told = found.stx_mask & StatxFlags::BTIME.bits() != 0;
                let (seconds, nanoseconds) = (found.stx_btime.tv_sec, i64::from(found.stx_btime.tv_nsec));
                let born = seconds.checked_mul(1_000_000_000).and_then(|born| born.checked_add(nanoseconds));
                Ok((found.stx_ino, born.filter(|_| told)))
            }
            // Linux before 4.11 has no such call.
            Err(rustix::io::Errno::NOSYS) => {
                let meta = fs::metadata(&path).map_err(|error| Error::io("reading", &path, error))?;
                Ok((meta.ino(), None))
            }
            Err(error) => Err(Error::io("reading", &path, io::Error::from(error))),
        }
    }
}

/// Whether a directory is the replica's alone: not one in which others look for mail, nor somebody's home, which may
/// hold anything.
fn is_for_it_alone(dir: &Path, mail_root: &Path) -> bool {
    let is_home = directories::BaseDirs::new().is_some_and(|dirs| dirs.home_dir() == dir);
    !mail_root.starts_with(dir) && !is_home
}

fn wait_for_lock(disk: &dyn Disk, path: &Path, timeout: Duration) -> Result<Option<File>> {
    let open = || disk.open_lock(path).map_err(|error| Error::io("opening the lock", path, error).advise(PERMISSION));
    let (mut file, started) = (open()?, Instant::now());
    loop {
        match FileExt::try_lock_exclusive(&file) {
            Ok(()) if has_gone(disk, path, &file)? => file = open()?,
            Ok(()) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io("locking", path, error)),
        }
        if started.elapsed() >= timeout {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the file of a lock was removed while this command waited for it: then another command may hold a lock on
/// the one that has its name since.
fn has_gone(disk: &dyn Disk, path: &Path, file: &File) -> Result<bool> {
    let looking = |error| Error::io("looking at the lock", path, error).advise(PERMISSION);
    let locked = file.metadata().map_err(looking)?;
    // Some file systems don't count names.
    if locked.nlink() > 0 {
        return Ok(false);
    }
    match disk.metadata(path) {
        Ok(now) => Ok((now.device, now.inode) != (locked.dev(), locked.ino())),
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) => Err(looking(error)),
    }
}
