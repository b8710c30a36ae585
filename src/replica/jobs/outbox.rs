//! The outbox: it holds the jobs that were asked for here, until the next command that changes the replica takes them
//! into the state.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::attachments::{files_in, is_orphan, make_private};
use super::body::{BODY_BYTES, JobBody, head};
use crate::bundle::{JobId, JobLine, Request, Statement, limits};
use crate::disk::{
    Disk, Durability, Like, is_about_contents, is_absent, is_there, read_whole, remove_if_there, write_new,
};
use crate::error::{Error, Result};
use crate::model::{Mtime, Stamp, Taken};
use crate::read::read_some;
use crate::replica::Replica;
use crate::state::Action;

/// A file in the outbox: a job that was asked for here and is not in the state yet.
#[derive(Debug, Serialize, Deserialize)]
struct OutboxFile {
    signed: String,
    signature: String,
    command: Vec<String>,
}

/// What a file in the outbox is found to hold.
pub(super) enum Posted {
    /// A job.
    Job(Box<(JobLine, Request, Vec<String>)>),
    /// It is gone: another command has taken it into the state.
    Gone,
    /// Nothing that could be understood, however often it is read.
    Damaged(Error),
}

/// A file in the outbox has at most so many bytes: what is signed names the command, and JSON writes a byte of it as six.
const MOST: u64 = 16 * BODY_BYTES;

impl Replica {
    /// Asks a peer to run a command with `stdin` as its standard input. This takes no lock and waits for nobody: the
    /// job goes into the outbox, durably, and the next command that changes the replica takes it from there.
    ///
    /// # Errors
    /// The peer is not known, the command or its input is too large, or the job can't be written.
    pub fn uux(&self, peer: &str, command: &[String], stdin: &mut dyn Read) -> Result<JobId> {
        let Some(target) = self.state.peer_by_name(peer)? else {
            if self.state.invitation(peer)?.is_some() {
                return Err(Error::failed(format!("asking {peer}: it is invited and has not answered yet"))
                    .advise("its key is not known here before; import a bundle from there first"));
            }
            return Err(self.unknown_peer(peer));
        };
        self.check_not_shut_out(&format!("asking {peer}"), &target)?;
        let asked = JobBody { requester: self.public_key().id(), command: command.to_vec() };
        let head = head(&asked);
        if head.len() as u64 > BODY_BYTES {
            return Err(Error::usage(format!("asking {peer}: the command and its arguments are {} bytes", head.len()))
                .advise("give less than 4 MiB of them, and put long input on standard input"));
        }
        let body = self.seal_attachment(&[target.public_key, self.public_key()], |out| {
            let fail = |error: io::Error| {
                Error::io("storing the job's input in", self.home.state_dir(), error).advise("make room for it")
            };
            out.write_all(&head).map_err(fail)?;
            let mut buffer = vec![0; 128 << 10];
            loop {
                let n = read_some(stdin, &mut buffer).map_err(|error| {
                    Error::failed(format!("reading standard input: {error}"))
                        .advise("nothing was queued; run this again")
                })?;
                if n == 0 {
                    return Ok(());
                }
                out.write_all(&buffer[..n]).map_err(fail)?;
            }
        })?;
        if body.bytes > limits::MEMBER_BYTES {
            self.remove_unneeded_attachment(&body.digest)?;
            return Err(Error::usage(format!(
                "asking {peer}: {} bytes of input are more than a bundle can hold",
                body.bytes
            ))
            .advise("give less than 8 GiB"));
        }
        let request = Request {
            requester: self.public_key().id(),
            target: target.id,
            made: self.moment(),
            body,
            knows: self.known_incarnations()?,
            repeats: None,
        };
        self.post(&request, command)
    }

    /// Puts a request into the outbox, durably.
    fn post(&self, request: &Request, command: &[String]) -> Result<JobId> {
        let line = self.sign(Stamp::ZERO, &Statement::Request(request.clone()))?;
        let id = JobId::of(&line.signed);
        let posted = OutboxFile { signed: line.signed, signature: line.signature, command: command.to_vec() };
        let bytes = serde_json::to_vec(&posted).expect("strings have a JSON form");
        let dir = self.home.outbox();
        make_private(&*self.world.disk, &dir)?;
        // Sorted by name, the files are in the order in which the jobs were asked for.
        let name = format!("{:016}-{id}", request.made);
        let (path, tmp) = (dir.join(format!("{name}.json")), dir.join(format!(".{name}.part")));
        let fail = |error: io::Error| {
            Error::io("queueing the job in", &path, error).advise("make room on the disk that holds the state")
        };
        let disk = &*self.world.disk;
        write_new(
            disk,
            &tmp,
            &bytes,
            Mtime::new(i64::try_from(request.made / 1000).unwrap_or(0), 0),
            &Like::PRIVATE,
            Durability::Now,
        )
        .map_err(fail)?;
        disk.rename(&tmp, &path).map_err(fail)?;
        if let Err(error) = disk.sync_dir(&dir) {
            // A person who hears about a failure asks again. The job must not be in the outbox twice then.
            let _ = disk.unlink(&path);
            return Err(fail(error));
        }
        Ok(id)
    }

    pub(super) fn posted_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = files_in(&*self.world.disk, &self.home.outbox())?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        Ok(files)
    }

    /// Removes what commands that did not end have left beside the jobs in the outbox.
    pub(in crate::replica) fn sweep_outbox(&self) -> Result<()> {
        let disk = &*self.world.disk;
        for path in files_in(disk, &self.home.outbox())? {
            if path.extension().is_some_and(|extension| extension == "part") && is_orphan(disk, &path)? {
                remove_if_there(disk.unlink(&path))
                    .map_err(|error| Error::io("removing", &path, error).advise("run this again"))?;
            }
        }
        Ok(())
    }

    /// The number of jobs in the outbox.
    pub(in crate::replica) fn count_posted(&self) -> Result<u64> {
        Ok(self.posted_files()?.len() as u64)
    }

    /// Reads a file in the outbox.
    ///
    /// # Errors
    /// It can't be read, which may be otherwise the next time.
    pub(super) fn read_posted(disk: &dyn Disk, path: &Path) -> Result<Posted> {
        let wrong = |error: &dyn std::fmt::Display| {
            let told = Error::io("reading the queued job", path, error);
            Ok(Posted::Damaged(told.advise("it was not queued; ask again")))
        };
        let bytes = match read_whole(disk, path, MOST) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => return Ok(Posted::Gone),
            Err(error) if is_about_contents(&error) => return wrong(&error),
            Err(error) => {
                return Err(Error::io("reading the queued job", path, error)
                    .advise("see why it can't be read, then run this again; the job waits there"));
            }
        };
        let posted: OutboxFile = match serde_json::from_slice(&bytes) {
            Ok(posted) => posted,
            Err(error) => return wrong(&error),
        };
        let line = JobLine { stamp: Stamp::ZERO, signed: posted.signed, signature: posted.signature };
        match line.statement() {
            Ok(Statement::Request(request)) => Ok(Posted::Job(Box::new((line, request, posted.command)))),
            Ok(_) => wrong(&"it is no request"),
            Err(error) => wrong(&error),
        }
    }

    /// Takes the jobs in the outbox into the state. A job that is there already is recognised.
    pub(in crate::replica) fn absorb_outbox(&self) -> Result<()> {
        let files = self.posted_files()?;
        if files.is_empty() {
            return Ok(());
        }
        let mut posted = Vec::with_capacity(files.len());
        for path in files {
            match Self::read_posted(&*self.world.disk, &path)? {
                Posted::Job(job) => posted.push((path, job)),
                Posted::Gone => {}
                Posted::Damaged(error) => self.set_aside(&path, &error)?,
            }
        }
        // All jobs that are known go into a full bundle: those for which it has no room wait in the outbox.
        let room = usize::try_from(limits::JOBS.saturating_sub(self.state.count_all_jobs()?)).unwrap_or(usize::MAX);
        if posted.len() > room {
            posted.truncate(room);
            self.note(
                "there are as many jobs as a bundle can hold: the newest wait in the outbox until old ones are purged",
            );
        }
        if posted.is_empty() {
            return Ok(());
        }
        let tx = self.begin()?;
        let stamp = tx.issue(self.now())?;
        for (_, job) in &posted {
            let (line, request, command) = &**job;
            let id = JobId::of(&line.signed);
            if self.state.job_by_id(&id)?.is_some() {
                continue;
            }
            // It may have been signed with the key before the present one.
            let request = self.of_present(request.clone())?;
            self.insert_request(&tx, &JobLine { stamp, ..line.clone() }, &request, Some(command), Taken::Whole)?;
            tx.record(self.now(), Action::Uux, Some(&self.name_of(&request.target)?), &format!("job {id}"))?;
        }
        tx.commit()?;
        for (path, _) in &posted {
            remove_if_there(self.world.disk.unlink(path))
                .map_err(|error| Error::io("removing the queued job", path, error).advise("run this again"))?;
        }
        Ok(())
    }

    /// Renames a file in the outbox that can't be understood, so that it is in nobody's way.
    fn set_aside(&self, path: &Path, error: &Error) -> Result<()> {
        let aside = path.with_extension("bad");
        self.note(format!("{error}; it is now called {}", aside.display()));
        // A file that was set aside earlier under that name is not overwritten. Then this one stays, and is reported
        // again.
        match self.world.disk.rename(path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && is_there(&*self.world.disk, path)? => {
                Err(Error::io("renaming the queued job", path, error).advise("move it away"))
            }
            _ => Ok(()),
        }
    }
}
