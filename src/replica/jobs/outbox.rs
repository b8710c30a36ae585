//! The outbox: it holds the jobs that were asked for here, until the next command that changes the replica takes them
//! into the state.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::attachments::{files_in, make_private};
use super::body::{BODY_BYTES, JobBody, head};
use crate::bundle::{JobId, JobLine, Request, Statement, limits};
use crate::disk::{Durability, Like, remove_if_there, write_new};
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
        let asked = JobBody { requester: self.public_key().id(), command: command.to_vec() };
        let head = head(&asked);
        if head.len() as u64 > BODY_BYTES {
            return Err(Error::usage(format!("asking {peer}: the command and its arguments are {} bytes", head.len()))
                .advise("give less than 4 MiB of them, and put long input on standard input"));
        }
        let body = self.seal_attachment(&[target.public_key, self.public_key()], |out| {
            let fail = |error: io::Error| {
                Error::failed(format!("storing the job's input: {error}")).advise("make room for it")
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
        let mut files = files_in(&self.home.outbox())?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        Ok(files)
    }

    /// The number of jobs in the outbox.
    pub(in crate::replica) fn count_posted(&self) -> Result<u64> {
        Ok(self.posted_files()?.len() as u64)
    }

    pub(super) fn read_posted(path: &Path) -> Result<(JobLine, Request, Vec<String>)> {
        let bytes = fs::read(path).map_err(|error| Error::io("reading the queued job", path, error))?;
        let wrong = |error: &dyn std::fmt::Display| {
            Error::io("reading the queued job", path, error).advise("it was not queued; ask again")
        };
        let posted: OutboxFile = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
        let line = JobLine { stamp: Stamp::ZERO, signed: posted.signed, signature: posted.signature };
        match line.statement().map_err(|error| wrong(&error))? {
            Statement::Request(request) => Ok((line, request, posted.command)),
            _ => Err(wrong(&"it is no request")),
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
            match Self::read_posted(&path) {
                Ok(job) => posted.push((path, job)),
                Err(error) => self.set_aside(&path, &error)?,
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
        for (_, (line, request, command)) in &posted {
            let id = JobId::of(&line.signed);
            if self.state.job_by_id(&id)?.is_some() {
                continue;
            }
            self.insert_request(&tx, &JobLine { stamp, ..line.clone() }, request, Some(command), Taken::Whole)?;
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
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && path.exists() => {
                Err(Error::io("renaming the queued job", path, error).advise("move it away"))
            }
            _ => Ok(()),
        }
    }
}
