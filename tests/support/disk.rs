//! A file system that writes down what it is asked, fails when told to, stops as if the process had been killed, and
//! loses what a power cut may lose.
//!
//! What the power cut models, and what not. Of file contents, nothing counts as durable that was written since the
//! file, or the file system, was last synced: such a file is empty afterwards. Of names, a change counts as durable
//! when the directory that it was made in was synced afterwards; a rename is one change, durable when either of its two
//! directories was synced, as it is on every file system with a journal. A directory whose own name is not durable
//! vanishes with everything in it. Changes of names that are not durable are either all undone ([`Names::Undone`]: the
//! disk had written nothing by itself) or all kept ([`Names::Kept`]: it had just written its journal); a real disk may
//! be anywhere in between. What the state database has committed is durable, by its own promise; what was not committed
//! is rolled back by itself. Times of files and directories are not modelled, nor are torn writes or a disk that lies
//! about a sync.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use mailsync::disk::{Disk, FileType, Meta, RealDisk, Rights, Scratch, Space};
use mailsync::model::Mtime;
use rustix::io::Errno;

/// A file operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Metadata,
    List,
    Open,
    Read,
    OpenToWrite,
    OpenLock,
    /// A write into what is kept for a while only.
    Scratch,
    Create,
    Write,
    SetMtime,
    SetMode,
    SyncFile,
    SyncDir,
    SyncFileSystem,
    Rename,
    Replace,
    Unlink,
    MakeDir,
    Give,
    Append,
    RemoveDir,
}

impl Op {
    /// Whether it changes anything on the disk, or makes it durable.
    pub fn changes(self) -> bool {
        let none =
            [Self::Metadata, Self::List, Self::Open, Self::Read, Self::OpenToWrite, Self::OpenLock, Self::Scratch];
        !none.contains(&self)
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub op: Op,
    pub path: PathBuf,
    /// The new name, of a rename.
    pub to: Option<PathBuf>,
    /// Whether it did what it was asked.
    pub done: bool,
    /// What the observer said just before it.
    pub seen: u64,
}

/// What becomes of changed names that were not made durable when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Undone,
    Kept,
}

/// What is to go wrong, and at which call, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This call fails, and no other.
    Fail(usize, Errno),
    /// This call fails, and no other. If it is a write, half of it was done.
    Torn(usize, Errno),
    /// This call and all that follow fail without doing anything: the process is no more.
    Stop(usize),
}

/// A change of names, and how it is undone.
#[derive(Debug)]
enum Change {
    Made(PathBuf),
    MadeDir(PathBuf),
    Renamed(PathBuf, PathBuf),
    /// What was replaced, if there was anything, is kept under a number.
    Replaced(PathBuf, PathBuf, Option<PathBuf>),
    /// The file is kept under a number.
    Unlinked(PathBuf, PathBuf),
    RemovedDir(PathBuf),
}

type Observer = Box<dyn FnMut() -> u64 + Send>;

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    fault: Option<Fault>,
    struck: Option<usize>,
    /// Whether only half of what is written is.
    torn: bool,
    other_device: Option<PathBuf>,
    free: Option<u64>,
    one_inode: bool,
    at_stop: Option<Box<dyn FnOnce() + Send>>,
    observer: Option<Observer>,
    /// Changes of names that are not durable, in the order in which they were made.
    pending: Vec<Change>,
    /// Files, by inode, with contents that are not durable.
    dirty: BTreeSet<u64>,
    kept: usize,
}

/// Watches a disk. Clones watch the same one.
#[derive(Clone)]
pub struct Watch {
    inner: Arc<Mutex<Inner>>,
    /// Where unlinked files are kept, on the same file system, so that a power cut can bring them back.
    keep: PathBuf,
}

impl Watch {
    /// `keep` is a directory on the same file system as what is watched, and not in it.
    pub fn new(keep: &Path) -> Self {
        let _ = fs::remove_dir_all(keep);
        fs::create_dir_all(keep).unwrap();
        Self { inner: Arc::default(), keep: keep.to_owned() }
    }

    /// The disk that is watched.
    pub fn disk(&self) -> Box<dyn Disk> {
        Box::new(self.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Arms a fault; calls are counted from now on.
    pub fn arm(&self, fault: Fault) {
        let mut inner = self.inner();
        inner.calls.clear();
        inner.fault = Some(fault);
        inner.struck = None;
    }

    /// Everything below this directory is on another file system than everything else: no rename leads across.
    pub fn mount(&self, dir: &Path) {
        self.inner().other_device = Some(dir.to_owned());
    }

    /// So many bytes are free, as far as the file system tells.
    pub fn leave_free(&self, bytes: u64) {
        self.inner().free = Some(bytes);
    }

    /// Every file and directory has the same number, as far as the file system tells.
    pub fn give_one_inode_to_all(&self) {
        self.inner().one_inode = true;
    }

    /// What is done at the moment of a stop.
    pub fn at_stop(&self, action: impl FnOnce() + Send + 'static) {
        self.inner().at_stop = Some(Box::new(action));
    }

    /// Asks this before every call, and writes the answer down.
    pub fn observe(&self, observer: impl FnMut() -> u64 + Send + 'static) {
        self.inner().observer = Some(Box::new(observer));
    }

    /// Does something with this fault. After a stop the database is what it was then: what the process didn't live to
    /// commit is undone. Also gives what `note` said at the stop.
    pub fn hinder<T, N: Send + 'static>(
        &self,
        fault: Fault,
        database: &Path,
        note: impl FnOnce() -> N + Send + 'static,
        act: impl FnOnce() -> T,
    ) -> (T, Option<N>) {
        let frozen: Arc<Mutex<Option<(Frozen, N)>>> = Arc::default();
        if let Fault::Stop(_) = fault {
            let (frozen, database) = (Arc::clone(&frozen), database.to_owned());
            self.at_stop(move || *frozen.lock().unwrap() = Some((Frozen::of(&database), note())));
        }
        self.arm(fault);
        let result = act();
        let frozen = frozen.lock().unwrap().take();
        let noted = frozen.map(|(frozen, noted)| {
            frozen.put_back(database);
            noted
        });
        (result, noted)
    }

    /// Takes all calls since the last time.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.inner().calls)
    }

    /// The call at which the fault struck, if it did.
    pub fn struck(&self) -> Option<Call> {
        let inner = self.inner();
        inner.struck.map(|at| inner.calls[at].clone())
    }

    /// Lets the power fail below `root`, after everything that worked on the disk has ended.
    pub fn cut_power(&self, root: &Path, names: Names) {
        let mut inner = self.inner();
        for dir in [root, &self.keep] {
            let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
            for file in files.filter(|item| item.file_type().is_file()) {
                if inner.dirty.contains(&file.metadata().unwrap().ino()) {
                    File::options().write(true).open(file.path()).unwrap().set_len(0).unwrap();
                }
            }
        }
        inner.dirty.clear();
        let pending = std::mem::take(&mut inner.pending);
        if names == Names::Kept {
            return;
        }
        // What is not where the change left it was changed again, durably, or vanished with its directory.
        for change in pending.into_iter().rev() {
            let _ = match change {
                Change::Made(path) => fs::remove_file(path),
                Change::MadeDir(path) => fs::remove_dir_all(path),
                Change::Renamed(from, to) => fs::rename(to, from),
                Change::Replaced(from, to, kept) => {
                    fs::rename(&to, from).and_then(|()| kept.map_or(Ok(()), |kept| fs::hard_link(kept, to)))
                }
                Change::Unlinked(path, kept) => fs::hard_link(kept, path),
                Change::RemovedDir(path) => fs::create_dir(path),
            };
        }
    }

    fn call<T>(
        &self,
        op: Op,
        path: &Path,
        to: Option<&Path>,
        act: impl FnOnce(&mut Inner) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut inner = self.inner();
        let seen = inner.observer.as_mut().map_or(0, |observer| observer());
        inner.calls.push(Call { op, path: path.to_owned(), to: to.map(Path::to_owned), done: false, seen });
        let number = inner.calls.len();
        match inner.fault {
            Some(Fault::Torn(at, errno)) if number == at && matches!(op, Op::Write | Op::Scratch) => {
                inner.struck = Some(number - 1);
                inner.torn = true;
                let result = act(&mut inner);
                inner.torn = false;
                return result.and(Err(errno.into()));
            }
            Some(Fault::Fail(at, errno) | Fault::Torn(at, errno)) if number == at => {
                inner.struck = Some(number - 1);
                return Err(errno.into());
            }
            Some(Fault::Stop(at)) if number >= at => {
                inner.struck.get_or_insert(number - 1);
                if let Some(action) = inner.at_stop.take() {
                    action();
                }
                return Err(io::Error::other("the process was stopped"));
            }
            _ => {}
        }
        let result = act(&mut inner);
        inner.calls[number - 1].done = result.is_ok();
        result
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("nobody changes the root directory")
}

impl Disk for Watch {
    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        self.call(Op::Metadata, path, None, |inner| {
            let meta = RealDisk.metadata(path)?;
            Ok(if inner.one_inode { Meta { inode: 1, ..meta } } else { meta })
        })
    }

    fn is_link(&self, path: &Path) -> io::Result<bool> {
        self.call(Op::Metadata, path, None, |_| RealDisk.is_link(path))
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.call(Op::Metadata, path, None, |_| RealDisk.canonical(path))
    }

    fn link_metadata(&self, path: &Path) -> io::Result<Meta> {
        self.call(Op::Metadata, path, None, |_| RealDisk.link_metadata(path))
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&OsStr, FileType)) -> io::Result<()> {
        // What is done with each name may be a call, too.
        let mut names = Vec::new();
        self.call(Op::List, dir, None, |_| RealDisk.list(dir, &mut |name, kind| names.push((name.to_owned(), kind))))?;
        for (name, kind) in names {
            each(&name, kind);
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.call(Op::Open, path, None, |_| RealDisk.open(path))
    }

    fn open_unlinked(&self, path: &Path) -> io::Result<File> {
        self.call(Op::Open, path, None, |_| RealDisk.open_unlinked(path))
    }

    fn read(&self, path: &Path, file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(Op::Read, path, None, |_| RealDisk.read(path, file, buffer))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<File> {
        self.call(Op::OpenToWrite, path, None, |_| RealDisk.open_to_write(path))
    }

    /// The name of a lock needs not be durable.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.call(Op::OpenLock, path, None, |_| RealDisk.open_lock(path))
    }

    fn scratch(&self, dir: &Path, in_memory: usize) -> Box<dyn Scratch> {
        let file = tempfile::spooled_tempfile_in(in_memory, dir);
        Box::new(Watched { watch: self.clone(), dir: dir.to_owned(), in_memory: in_memory as u64, file })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.call(Op::Create, path, None, |inner| {
            let file = RealDisk.create(path)?;
            inner.pending.push(Change::Made(path.to_owned()));
            Ok(file)
        })
    }

    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.call(Op::Write, path, None, |inner| {
            inner.dirty.insert(file.metadata()?.ino());
            RealDisk.write(path, file, if inner.torn { &bytes[..bytes.len() / 2] } else { bytes })
        })
    }

    fn set_mtime(&self, path: &Path, file: &File, mtime: Mtime) -> io::Result<()> {
        self.call(Op::SetMtime, path, None, |_| RealDisk.set_mtime(path, file, mtime))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call(Op::SetMode, path, None, |_| RealDisk.set_mode(path, mode))
    }

    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()> {
        self.call(Op::SyncFile, path, None, |inner| {
            inner.dirty.remove(&file.metadata()?.ino());
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, dir, None, |inner| {
            RealDisk.metadata(dir)?;
            inner.pending.retain(|change| match change {
                Change::Made(path) | Change::MadeDir(path) | Change::Unlinked(path, _) | Change::RemovedDir(path) => {
                    parent(path) != dir
                }
                Change::Renamed(from, to) | Change::Replaced(from, to, _) => parent(from) != dir && parent(to) != dir,
            });
            Ok(())
        })
    }

    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        self.call(Op::SyncFileSystem, path, None, |inner| {
            RealDisk.metadata(path)?;
            inner.pending.clear();
            inner.dirty.clear();
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, from, Some(to), |inner| {
            if inner.other_device.as_ref().is_some_and(|dir| from.starts_with(dir) != to.starts_with(dir)) {
                return Err(Errno::XDEV.into());
            }
            RealDisk.rename(from, to)?;
            inner.pending.push(Change::Renamed(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Replace, from, Some(to), |inner| {
            let kept = to.exists().then(|| self.keep.join(inner.kept.to_string()));
            if let Some(kept) = &kept {
                inner.kept += 1;
                fs::hard_link(to, kept)?;
            }
            RealDisk.replace(from, to)?;
            inner.pending.push(Change::Replaced(from.to_owned(), to.to_owned(), kept));
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Unlink, path, None, |inner| {
            let kept = self.keep.join(inner.kept.to_string());
            inner.kept += 1;
            fs::hard_link(path, &kept)?;
            RealDisk.unlink(path)?;
            inner.pending.push(Change::Unlinked(path.to_owned(), kept));
            Ok(())
        })
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::MakeDir, dir, None, |inner| {
            RealDisk.make_dir(dir)?;
            inner.pending.push(Change::MadeDir(dir.to_owned()));
            Ok(())
        })
    }

    /// Of rights nothing is lost in a power cut: they go with the file.
    fn give(&self, path: &Path, file: &File, rights: &Rights) -> io::Result<()> {
        self.call(Op::Give, path, None, |_| RealDisk.give(path, file, rights))
    }

    fn give_dir(&self, dir: &Path, rights: &Rights) -> io::Result<()> {
        self.call(Op::Give, dir, None, |_| RealDisk.give_dir(dir, rights))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        self.call(Op::Append, path, None, |_| RealDisk.append(path, bytes))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::RemoveDir, dir, None, |inner| {
            RealDisk.remove_dir(dir)?;
            inner.pending.push(Change::RemovedDir(dir.to_owned()));
            Ok(())
        })
    }

    /// Nothing is done by asking: it is no call that could fail or be stopped at.
    fn space(&self, dir: &Path) -> io::Result<Option<Space>> {
        self.inner().free.map_or_else(|| RealDisk.space(dir), |free| Ok(Some(Space { free, block: 1 })))
    }
}

/// What is kept for a while. Only what goes into a file is a call.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    dir: PathBuf,
    in_memory: u64,
    file: tempfile::SpooledTempFile,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.file.is_rolled() {
            return self.file.read(buffer);
        }
        let (watch, file) = (&self.watch, &mut self.file);
        watch.call(Op::Read, &self.dir, None, |_| file.read(buffer))
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.file.is_rolled() && self.file.stream_position()? + bytes.len() as u64 <= self.in_memory {
            return self.file.write(bytes);
        }
        let (watch, file) = (&self.watch, &mut self.file);
        watch.call(Op::Scratch, &self.dir, None, |inner| {
            file.write(if inner.torn { &bytes[..bytes.len() / 2] } else { bytes })
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Scratch for Watched {
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// The state database at the moment of a kill, with the files beside it: each by its name, if it is there.
pub struct Frozen(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Frozen {
    /// What it is now.
    pub fn of(database: &Path) -> Self {
        let suffixes = ["", "-wal", "-journal", ".new", ".new-journal"];
        let look = |suffix| beside(database, suffix);
        Self(suffixes.map(look).into_iter().map(|file| (file.clone(), fs::read(file).ok())).collect())
    }

    /// Puts it back; the database remains the same file.
    pub fn put_back(&self, database: &Path) {
        let _ = fs::remove_file(beside(database, "-shm"));
        for (file, contents) in &self.0 {
            match contents {
                Some(contents) => fs::write(file, contents).unwrap(),
                None => drop(fs::remove_file(file)),
            }
        }
    }
}

/// The file that lies beside a database of `SQLite`.
pub fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// How often each operation was done.
pub fn tally(calls: &[Call]) -> BTreeMap<Op, usize> {
    let mut tally = BTreeMap::new();
    for call in calls {
        *tally.entry(call.op).or_default() += 1;
    }
    tally
}
