//! Hooks: the user's own programs, told which files of the mail a command has changed. Nothing that a bundle says becomes
//! a part of their command line or environment.

use std::ffi::OsString;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;

use super::Replica;
use crate::config::Hooks;
use crate::disk::Scratch;
use crate::error::{Error, Result};
use crate::process::{Ended, Finished, Launch, was_told_to_stop};
use crate::text::beginning;

/// This many files are read from the state at a time.
const BATCH: u32 = 512;
/// A list of files is kept in memory up to this size, in bytes.
const IN_MEMORY: usize = 64 << 10;
/// The variable by which a hook's program, and a mailsync that it runs, know whose they are.
const MARK: &str = "MAILSYNC_HOOK";
/// An error shows at most so many characters of what the program said.
const SHOWN: usize = 400;

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// After a command that changes files of the mail: one that imports, takes back or repairs.
    AfterImport,
    /// After a command that finds what others have changed: one that scans or exports.
    AfterScan,
}

impl Hook {
    /// Its key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::AfterImport => "after_import",
            Self::AfterScan => "after_scan",
        }
    }

    fn command(self, hooks: &Hooks) -> Option<&[String]> {
        match self {
            Self::AfterImport => hooks.after_import.as_deref(),
            Self::AfterScan => hooks.after_scan.as_deref(),
        }
    }
}

impl Replica {
    /// Begins to keep which files this command changes, if a hook is to be told.
    pub(super) fn prepare_hooks(&self) -> Result<()> {
        if self.config.hooks.are_any() && !is_within_hook() { self.state.keep_changed_files() } else { Ok(()) }
    }

    /// Runs a hook if files were changed, and gives what its program has said, whether it has failed or not: `said` is
    /// given that. The replica is at rest: all is committed, and the lock is let go, so that the program can run
    /// mailsync. A mailsync that a hook runs runs none.
    ///
    /// # Errors
    /// The program can't be started, takes too long or fails. Nothing of what was done depends on it.
    pub fn run_hook(self, hook: Hook, said: &mut dyn FnMut(&Finished)) -> Result<()> {
        let Some(command) = hook.command(&self.config.hooks) else { return Ok(()) };
        // Told to stop, it begins nothing new.
        if is_within_hook() || was_told_to_stop() {
            return Ok(());
        }
        let Some(mut files) = self.list_changed_files()? else { return Ok(()) };
        drop(self.lock.take());
        let fail = |what: String, finished: Option<&Finished>| {
            let said = finished.map(|finished| String::from_utf8_lossy(&finished.stderr.bytes).trim().to_owned());
            let said = said.filter(|said| !said.is_empty());
            let said = said.map_or_else(String::new, |said| format!(" (it said: {})", beginning(&said, SHOWN)));
            let key = hook.key();
            Error::failed(format!("running {key}, {}: {what}{said}", command.join(" "))).advise(format!(
                "correct {key} in config.toml, or run it yourself; all that mailsync did is done, and nothing is lost"
            ))
        };
        let timeout = self.config.hooks.timeout().map_err(|why| fail(why, None))?;
        let mut args = command.iter().map(OsString::from);
        let program = args.next().unwrap_or_default();
        let launch = Launch {
            program,
            args: args.collect(),
            env: self.hook_environment(hook),
            dir: self.mail_root().to_owned(),
            timeout,
        };
        let finished = self.world.launcher.run(&launch, &mut files as &mut (dyn Read + Send));
        said(&finished);
        match &finished.ended {
            Ended::Status(0) => Ok(()),
            Ended::TimedOut => {
                let what = format!("it took longer than {} and was ended", self.config.hooks.timeout);
                Err(fail(what, Some(&finished)))
            }
            ended => Err(fail(ended.to_string(), Some(&finished))),
        }
    }

    /// The environment of mailsync itself, which the user has made; and what tells the program whose it is.
    fn hook_environment(&self, hook: Hook) -> Vec<(OsString, OsString)> {
        let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| name != "MAILSYNC_HOME").collect();
        env.push((MARK.into(), hook.key().into()));
        env.push(("MAILSYNC_MAIL_ROOT".into(), self.mail_root().into()));
        if let Some(dir) = self.home.single() {
            env.push(("MAILSYNC_HOME".into(), dir.into()));
        }
        env
    }

    /// The files that this command has changed, below the mail root, each with a NUL behind it: a name can hold any other
    /// byte. `None` if there are none.
    fn list_changed_files(&self) -> Result<Option<Box<dyn Scratch>>> {
        let fail = |error| Error::os("listing the changed files for a hook", error).advise("see that there is room");
        let mut files = BufWriter::new(self.world.disk.scratch(self.home.state_dir(), IN_MEMORY));
        let mut after = 0;
        loop {
            let batch = self.state.changed_files(after, BATCH)?;
            let Some((last, _)) = batch.last() else { break };
            after = *last;
            for (_, at) in batch {
                let path = self.path(&at)?;
                let below = path.strip_prefix(self.mail_root()).unwrap_or(&path);
                let bytes = below.as_os_str().as_bytes();
                files.write_all(bytes).and_then(|()| files.write_all(b"\0")).map_err(fail)?;
            }
        }
        let mut files = files.into_inner().map_err(|error| fail(error.into_error()))?;
        files.seek(SeekFrom::Start(0)).map_err(fail)?;
        Ok((after > 0).then_some(files))
    }
}

/// Whether a hook has run this mailsync.
fn is_within_hook() -> bool {
    std::env::var_os(MARK).is_some()
}
