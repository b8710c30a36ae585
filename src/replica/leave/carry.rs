//! What was decided is carried out, step by step; each step recognises that it was done before.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::{
    Disk, FileType, has_name, is_absent, is_dir, read_whole, remove_if_empty, remove_if_there, replace_whole,
};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::replica::Home;
use crate::replica::mail_root::unmark;
use crate::replica::trash::BroughtBack;
use crate::state::{State, beside};

pub(super) const AGAIN: &str = "see why, then run `mailsync deinit` again";

/// The file that says what was decided has at most so many bytes.
const BYTES: u64 = 64 << 10;

/// So many messages of the trash are removed in one go.
const BATCH: u32 = 512;

/// What an interrupted command has left under a temporary name is called so at its end.
const NEW: &str = ".new";

/// What is left when a replica is none any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Directories with messages that were in the trash, or that waited for their folders.
    pub kept: Vec<PathBuf>,
    /// How much of the trash was copied into the directory that was given.
    pub copied: BroughtBack,
    /// Other things in its directories, which are nothing of mailsync's.
    pub others: Vec<PathBuf>,
    /// What could not be tidied up, and does no harm.
    pub notes: Vec<String>,
}

/// What was decided, for who goes on after an interruption.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaving {
    /// The mail root, and the configuration that its mark names.
    mail_root: PathBuf,
    config: PathBuf,
    /// Whether the messages in the trash are removed.
    remove_trash: bool,
    /// What the directory of the trash is called from then on, and that of messages that are held: no later replica
    /// takes them for its own.
    trash: String,
    held: String,
}

impl Leaving {
    /// Decides how.
    pub(super) fn decide(disk: &dyn Disk, home: &Home, mail_root: &Path, remove_trash: bool) -> Result<Self> {
        let path = home.config_file();
        let config = fs::canonicalize(&path).map_err(|error| Error::io("looking at", &path, error).advise(AGAIN))?;
        let mail_root = mail_root.to_owned();
        let (trash, held) = (free_name(disk, &home.trash())?, free_name(disk, &home.held())?);
        Ok(Self { mail_root, config, remove_trash, trash, held })
    }

    /// Reads what was decided.
    pub(super) fn read(disk: &dyn Disk, home: &Home) -> Result<Self> {
        let path = home.leaving_file();
        let fail = |error: &dyn std::fmt::Display| {
            Error::io("reading what was decided from", &path, &*error.to_string())
                .advise("remove what is left in that directory by hand, after a look at it")
        };
        let text = read_whole(disk, &path, BYTES).map_err(|error| Error::io("reading", &path, error).advise(AGAIN))?;
        let text = std::str::from_utf8(&text).map_err(|error| fail(&error))?;
        let leaving: Self = toml::from_str(text).map_err(|error| fail(&error))?;
        let is_beside = |name: &str, dir: &str| name.starts_with(&format!("{dir}.kept")) && !name.contains('/');
        if is_beside(&leaving.trash, "trash") && is_beside(&leaving.held, "held") {
            return Ok(leaving);
        }
        Err(fail(&"it names other directories than such that are kept"))
    }

    /// Writes down what was decided. From here on it will be done.
    pub(super) fn write(&self, disk: &dyn Disk, home: &Home) -> Result<()> {
        let path = home.leaving_file();
        let fail = |error: &dyn std::fmt::Display| Error::io("writing", &path, &*error.to_string()).advise(AGAIN);
        let text = toml::to_string(self).map_err(|error| fail(&error))?;
        let intro = "# This replica is about to be no more. `mailsync deinit` ends that.\n";
        replace_whole(disk, &path, format!("{intro}{text}").as_bytes(), 0o600)
            .map_err(|error| Error::io("writing", &path, error).advise(AGAIN))
    }
}

/// Takes the lock for running jobs.
pub(super) fn jobs_lock(disk: &dyn Disk, home: &Home, timeout: Duration) -> Result<File> {
    home.lock_jobs(disk, timeout)?.ok_or_else(|| {
        Error::new(ErrorKind::Locked, "making this replica none: a job is running")
            .advise("run this again when it is done")
    })
}

/// A name beside this one that nothing has.
fn free_name(disk: &dyn Disk, dir: &Path) -> Result<String> {
    let name = dir.file_name().and_then(|name| name.to_str()).expect("the names in a state directory are ASCII");
    let names = std::iter::once(format!("{name}.kept")).chain((2..).map(|n| format!("{name}.kept-{n}")));
    for name in names {
        if !has_name(disk, &dir.with_file_name(&name))? {
            return Ok(name);
        }
    }
    unreachable!("there are more numbers than names in a directory")
}

/// Carries out what was decided. Whoever calls this holds the locks.
pub(super) fn carry_out(disk: &dyn Disk, home: &Home, leaving: &Leaving) -> Result<Left> {
    let mut left = Left::default();
    if leaving.remove_trash && home.has_state(disk)? {
        remove_trash(disk, home)?;
    }
    for (dir, name) in [(home.trash(), &leaving.trash), (home.held(), &leaving.held)] {
        left.kept.extend(keep_dir(disk, &dir, name)?);
    }
    sync(disk, home.state_dir())?;
    [home.attachments(), home.outbox()].iter().try_for_each(|dir| remove_files(disk, dir))?;
    // The files beside a database are nothing without it.
    let database = home.database();
    let journals = beside(&database).into_iter().chain([suffixed(&database, "-journal")]);
    let new = suffixed(&database, NEW);
    let new_journals = beside(&new).into_iter().chain([suffixed(&new, "-journal")]);
    let files = [database.clone()].into_iter().chain(journals).chain([new.clone()]).chain(new_journals);
    files.into_iter().try_for_each(|file| remove(disk, &file))?;
    left.notes.extend(remove_mark(disk, leaving)?);
    remove_files(disk, &home.former_keys())?;
    for file in [home.key_file(), home.next_key_file(), home.public_key_file(), home.config_file()] {
        remove(disk, &suffixed(&file, NEW))?;
        remove(disk, &file)?;
    }
    home.lock_files().iter().try_for_each(|file| remove(disk, file))?;
    sync(disk, home.state_dir())?;
    sync(disk, home.config_dir())?;
    remove_dir(disk, home.state_dir())?;
    // The last thing to go: until then this can be repeated.
    remove(disk, &suffixed(&home.leaving_file(), NEW))?;
    remove(disk, &home.leaving_file())?;
    // What can't be tidied up from here on is told, and nothing is to be repeated.
    let tidied = sync(disk, home.config_dir()).and_then(|()| remove_dir(disk, home.config_dir()));
    left.notes.extend(tidied.err().map(|error| error.to_string()));
    for dir in [home.state_dir(), home.config_dir()] {
        match listed(disk, dir) {
            Ok(found) => left.others.extend(found.into_iter().map(|(path, _)| path)),
            Err(error) => left.notes.push(error.to_string()),
        }
    }
    left.others.retain(|path| !left.kept.contains(path));
    left.others.sort();
    left.others.dedup();
    Ok(left)
}

/// Removes what says in the mail root whose it is. A mail root that isn't there at this time, or that lets nothing be
/// removed, keeps it: it counts for nothing without the configuration. Gives what is to be told of that.
fn remove_mark(disk: &dyn Disk, leaving: &Leaving) -> Result<Option<String>> {
    let root = &leaving.mail_root;
    match unmark(disk, root, &leaving.config) {
        Ok(()) => Ok(None),
        Err(error) if Scope::of(&error) == Scope::Place || error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let root = root.display();
            Ok(Some(format!("what says in {root} whose mail root it was is still there, and does no harm: {error}")))
        }
        Err(error) => Err(Error::io("removing what says whose mail root it is from", root, error).advise(AGAIN)),
    }
}

/// Removes the messages in the trash that the state knows.
fn remove_trash(disk: &dyn Disk, home: &Home) -> Result<()> {
    let (state, trash) = (State::open(&home.database())?, home.trash());
    let mut after = 0;
    loop {
        let batch = state.trash_batch(after, BATCH)?;
        let Some(last) = batch.last() else { break };
        after = last.key;
        batch.iter().try_for_each(|trashed| remove(disk, &trash.join(&trashed.file)))?;
    }
    if is_dir(disk, &trash)? { sync(disk, &trash) } else { Ok(()) }
}

/// Gives a directory another name, unless it is empty: then it is removed. Gives its path if it is kept.
fn keep_dir(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    let kept = dir.with_file_name(name);
    if has_name(disk, dir)? && !is_gone_if_empty(disk, dir)? {
        disk.rename(dir, &kept).map_err(|error| Error::io("renaming", dir, error).advise(AGAIN))?;
    }
    Ok(has_name(disk, &kept)?.then_some(kept))
}

/// Removes all files in a directory, and the directory. What else is in it stays.
fn remove_files(disk: &dyn Disk, dir: &Path) -> Result<()> {
    for (path, kind) in listed(disk, dir)? {
        if kind != FileType::Directory {
            remove(disk, &path)?;
        }
    }
    remove_dir(disk, dir)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    remove_if_there(disk.unlink(path)).map_err(|error| Error::io("removing", path, error).advise(AGAIN))
}

fn is_gone_if_empty(disk: &dyn Disk, dir: &Path) -> Result<bool> {
    remove_if_empty(disk, dir).map_err(|error| Error::io("removing", dir, error).advise(AGAIN))
}

/// Removes a directory if nothing is in it, durably.
fn remove_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let gone = is_gone_if_empty(disk, dir)?;
    let above = dir.parent().filter(|_| gone);
    above.map_or(Ok(()), |above| sync(disk, above))
}

fn sync(disk: &dyn Disk, dir: &Path) -> Result<()> {
    match disk.sync_dir(dir) {
        // It has gone with all that was in it.
        Err(error) if is_absent(&error) => Ok(()),
        synced => synced.map_err(|error| Error::io("making durable what was removed from", dir, error).advise(AGAIN)),
    }
}

/// What is in a directory; nothing if that isn't there.
fn listed(disk: &dyn Disk, dir: &Path) -> Result<Vec<(PathBuf, FileType)>> {
    let mut found = Vec::new();
    match disk.list(dir, &mut |name, kind| found.push((dir.join(name), kind))) {
        Err(error) if !is_absent(&error) => Err(Error::io("listing", dir, error).advise(AGAIN)),
        _ => Ok(found),
    }
}

/// The same path with more at its end.
fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
