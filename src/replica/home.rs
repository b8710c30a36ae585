//! The directories in which a replica keeps its configuration, its key and its state, and the lock that one command at
//! a time holds.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs2::FileExt;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::error::{Error, ErrorKind, Result};

/// The directories of one replica.
#[derive(Clone, Debug)]
pub struct Home {
    config: PathBuf,
    state: PathBuf,
}

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

    /// Whether a replica lives here.
    pub fn exists(&self) -> bool {
        self.config_file().exists()
    }

    /// The same, but with an error if that can't be found out.
    ///
    /// # Errors
    /// The file system doesn't tell.
    pub(super) fn try_exists(&self) -> Result<bool> {
        let path = self.config_file();
        path.try_exists().map_err(|error| Error::io("looking for the configuration", &path, error).advise(PERMISSION))
    }

    /// Makes the directories, for their owner only.
    pub(super) fn make(&self) -> Result<()> {
        for dir in [&self.config, &self.state, &self.trash()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|error| Error::io("making the directory", dir, error).advise(PERMISSION))?;
        }
        Ok(())
    }

    /// Waits up to `timeout` for the exclusive lock. It is held until the file is dropped.
    pub(super) fn lock(&self, timeout: Duration) -> Result<File> {
        let path = self.state.join("lock");
        wait_for_lock(&path, timeout)?.ok_or_else(|| {
            let what = format!("locking {}: another mailsync is working on this replica", path.display());
            Error::new(ErrorKind::Locked, what)
                .advise("run this again when it is done, or wait longer with --lock-timeout")
        })
    }

    /// Takes the lock for running jobs, which one command at a time holds, until the file is dropped. `None` if another
    /// command holds it.
    pub(super) fn lock_jobs(&self, timeout: Duration) -> Result<Option<File>> {
        wait_for_lock(&self.state.join("jobs.lock"), timeout)
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

fn wait_for_lock(path: &Path, timeout: Duration) -> Result<Option<File>> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| Error::io("opening the lock", path, error).advise(PERMISSION))?;
    let started = Instant::now();
    loop {
        match FileExt::try_lock_exclusive(&file) {
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
