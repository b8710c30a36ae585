//! Jobs: asking a peer to run a command, passing on what is said about that, and telling how it stands.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Replica;
use super::blobs::{files_in, make_private};
use super::transaction::Transaction;
use crate::bundle::{
    Cancel, JobId, JobLine, JobSpool, PrivateKey, PublicKey, ReplicaId, Report, Request, Sealed, SpooledJobs,
    Statement, WriteError, limits, unseal,
};
use crate::disk::{Durability, remove_if_there, write_new};
use crate::error::{Error, Result};
use crate::model::{Clock, Digest, Incarnation, JobState, Knowledge, Mtime, Stamp};
use crate::read::read_some;
use crate::state::{Job, JobKey, Said, StatementKind};
use crate::text::plural;

/// What a job's sealed body begins with: one line of JSON. Standard input follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// Who asks: nobody can pass the body off as their own and have its output told to them.
    pub requester: ReplicaId,
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// What a report's sealed result begins with: one line of JSON. Standard output follows, then standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Why it was not done, in words.
    pub reason: Option<String>,
    /// When the program was started: milliseconds since 1970 UTC.
    pub started: Option<u64>,
    /// When it had ended: milliseconds since 1970 UTC.
    pub ended: Option<u64>,
    /// How many bytes of its standard output follow.
    pub stdout_bytes: usize,
    /// Whether it had written more.
    pub stdout_cut: bool,
    /// How many bytes of its standard error follow.
    pub stderr_bytes: usize,
    /// Whether it had written more.
    pub stderr_cut: bool,
}

/// The length of the line that a body begins with, in bytes. More than an operating system lets a command line be.
pub(super) const ASKED_BYTES: u64 = 4 << 20;
/// The length of the line that a result begins with, in bytes.
const RESULT_BYTES: u64 = 64 << 10;
/// How many jobs are looked at in one go.
const BATCH: u32 = 256;
/// Of so many jobs that went wrong a person is told one by one.
const MOST_TOLD: u64 = 10;

/// A job that was asked for here, before it is in the state: a file in the outbox.
#[derive(Debug, Serialize, Deserialize)]
struct Posted {
    signed: String,
    signature: String,
    command: Vec<String>,
}

/// How a job stands, for people.
#[derive(Clone, Debug)]
pub struct JobStanding {
    /// Its id.
    pub id: JobId,
    /// What the requester is called here.
    pub requester: String,
    /// What the target is called here.
    pub target: String,
    /// When it was asked for: milliseconds since 1970 UTC.
    pub made: u64,
    /// The command and its arguments, if this replica is the requester or the target.
    pub command: Option<Vec<String>>,
    /// How it stands, as far as is known here.
    pub state: JobState,
    /// Whether the requester has taken it back, and the target has not confirmed that.
    pub withdrawn: bool,
    /// The peers to which it was sent, if the target has not reported yet.
    pub sent_to: Vec<String>,
    /// The exit status of its program.
    pub status: Option<i32>,
    /// How often it was tried.
    pub attempt: Option<u32>,
    /// The job that it repeats.
    pub repeats: Option<JobId>,
    /// When the target last said something about it: milliseconds since 1970 UTC.
    pub reported: Option<u64>,
}

/// What came of a job, and what its program has written: for requester and target only.
#[derive(Clone, Debug, Default)]
pub struct JobResult {
    /// The reason and the times.
    pub told: Told,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// What a statement has changed.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The job of which it said something new.
    pub changed: Option<JobKey>,
    /// A job of this replica is finished.
    pub finished: Option<JobKey>,
}

/// What an import has heard about jobs.
#[derive(Debug, Default)]
pub(super) struct JobNews {
    finished: Vec<JobKey>,
    bad: u64,
}

impl Replica {
    /// Asks a peer to run a command, with what `stdin` gives as its standard input. Takes no lock and waits for nobody: the job
    /// is in the outbox, durably, and the next command that changes the replica takes it from there.
    ///
    /// # Errors
    /// The peer is not known, the command can't travel, or it can't be written.
    pub fn uux(&self, peer: &str, command: &[String], stdin: &mut dyn Read) -> Result<JobId> {
        let Some(target) = self.state.peer_by_name(peer)? else {
            if self.state.invitation(peer)?.is_some() {
                return Err(Error::failed(format!("asking {peer}: it is invited and has not answered yet"))
                    .advise("its key is not known here before; import a bundle from there first"));
            }
            return Err(self.unknown_peer(peer));
        };
        let asked = Asked { requester: self.public_key().id(), command: command.to_vec() };
        let head = head(&asked);
        if head.len() as u64 > ASKED_BYTES {
            return Err(Error::usage(format!("asking {peer}: the command and its arguments are {} bytes", head.len()))
                .advise("give less than 4 MiB of them; what is long belongs on standard input"));
        }
        let body = self.seal_blob(&[target.public_key, self.public_key()], |out| {
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
            self.remove_unneeded_blob(&body.digest)?;
            return Err(Error::usage(format!(
                "asking {peer}: {} bytes of input are more than a bundle can hold",
                body.bytes
            ))
            .advise("give less than 8 GiB"));
        }
        let request = Request {
            requester: self.public_key().id(),
            target: target.id,
            made: self.now(),
            body,
            knows: self.known_incarnations()?,
            repeats: None,
        };
        self.post(&request, command)
    }

    /// The incarnations of which this replica knows something: the latest, if they are many.
    fn known_incarnations(&self) -> Result<Vec<Incarnation>> {
        let mut newest: Vec<(Clock, Incarnation)> =
            self.state.knowledge()?.iter().map(|(incarnation, clock)| (clock, incarnation)).collect();
        newest.sort_unstable();
        let from = newest.len().saturating_sub(limits::JOB_INCARNATIONS);
        let mut knows: Vec<Incarnation> = newest.drain(from..).map(|(_, incarnation)| incarnation).collect();
        knows.sort_unstable();
        Ok(knows)
    }

    fn sign(&self, stamp: Stamp, statement: &Statement) -> Result<JobLine> {
        JobLine::sign(stamp, statement, &self.key).map_err(|error| Error::failed(format!("signing a job: {error}")))
    }

    /// Puts a request into the outbox, durably.
    fn post(&self, request: &Request, command: &[String]) -> Result<JobId> {
        let line = self.sign(Stamp::ZERO, &Statement::Request(request.clone()))?;
        let id = JobId::of(&line.signed);
        let posted = Posted { signed: line.signed, signature: line.signature, command: command.to_vec() };
        let bytes = serde_json::to_vec(&posted).expect("strings have a JSON form");
        let dir = self.home.outbox();
        make_private(&*self.world.disk, &dir)?;
        // Sorted by name they are in the order in which they were asked for.
        let name = format!("{:016}-{id}", request.made);
        let (path, tmp) = (dir.join(format!("{name}.json")), dir.join(format!(".{name}.part")));
        let fail = |error: io::Error| {
            Error::io("queueing the job in", &path, error).advise("make room on the disk that holds the state")
        };
        let disk = &*self.world.disk;
        write_new(disk, &tmp, &bytes, Mtime::new(i64::try_from(request.made / 1000).unwrap_or(0), 0), Durability::Now)
            .map_err(fail)?;
        disk.rename(&tmp, &path).map_err(fail)?;
        if let Err(error) = disk.sync_dir(&dir) {
            // Whoever hears of a failure asks again: it must not be there twice.
            let _ = disk.unlink(&path);
            return Err(fail(error));
        }
        Ok(id)
    }

    fn posted_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = files_in(&self.home.outbox())?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        Ok(files)
    }

    /// How many jobs are in the outbox.
    pub(super) fn count_posted(&self) -> Result<u64> {
        Ok(self.posted_files()?.len() as u64)
    }

    fn read_posted(path: &Path) -> Result<(JobLine, Request, Vec<String>)> {
        let bytes = fs::read(path).map_err(|error| Error::io("reading the queued job", path, error))?;
        let wrong = |error: &dyn std::fmt::Display| {
            Error::io("reading the queued job", path, error).advise("it was not queued; ask again")
        };
        let posted: Posted = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
        let line = JobLine { stamp: Stamp::ZERO, signed: posted.signed, signature: posted.signature };
        match line.statement().map_err(|error| wrong(&error))? {
            Statement::Request(request) => Ok((line, request, posted.command)),
            _ => Err(wrong(&"it is no request")),
        }
    }

    /// Takes the jobs that were asked for here into the state. A job that is there already is recognised.
    pub(super) fn absorb_outbox(&self) -> Result<()> {
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
            self.insert_request(&tx, &JobLine { stamp, ..line.clone() }, request, Some(command))?;
            tx.record(self.now(), "uux", Some(&self.name_of(&request.target)?), &format!("job {id}"))?;
        }
        tx.commit()?;
        for (path, _) in &posted {
            remove_if_there(self.world.disk.unlink(path))
                .map_err(|error| Error::io("removing the queued job", path, error).advise("run this again"))?;
        }
        Ok(())
    }

    /// A job in the outbox that can't be understood keeps nothing else from being done.
    fn set_aside(&self, path: &Path, error: &Error) -> Result<()> {
        let aside = path.with_extension("bad");
        self.note(format!("{error}; it is now called {}", aside.display()));
        // An earlier one of that name makes way for nobody: then this one stays, and is told of again.
        match self.world.disk.rename(path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && path.exists() => {
                Err(Error::io("renaming the queued job", path, error).advise("move it away"))
            }
            _ => Ok(()),
        }
    }

    /// Records a request that is not known yet.
    fn insert_request(
        &self,
        tx: &Transaction<'_>,
        line: &JobLine,
        request: &Request,
        command: Option<&[String]>,
    ) -> Result<JobKey> {
        let id = JobId::of(&line.signed);
        let key = tx.add_job(&id, request)?;
        tx.set_statement(key, StatementKind::Request, line)?;
        tx.need_blob(key, &request.body, self.has_blob(&request.body))?;
        if let Some(command) = command {
            tx.set_job_asked(key, command)?;
        }
        Ok(key)
    }

    /// What is said about jobs and that `base` doesn't cover, with what it needs and is not listed yet: each once.
    pub(super) fn spool_jobs(
        &self,
        tx: &Transaction<'_>,
        base: &Knowledge,
        listed: &mut HashSet<Digest>,
        mut list: impl FnMut(&Sealed, u64) -> Result<()>,
    ) -> Result<Option<SpooledJobs>> {
        let mut spool = JobSpool::new(self.home.state_dir());
        self.state.said_since(base, |Said { job, line, .. }| {
            spool.push(&line.encode()).map_err(|error| spooling(&error))?;
            let (sealed, made) = match said(&line)? {
                Statement::Request(request) => {
                    // Nobody runs what is finished.
                    let finished = self.state.job(job)?.is_none_or(|job| job.state.is_final());
                    ((!finished).then_some(request.body), request.made)
                }
                Statement::Report(report) => (report.result, report.at),
                Statement::Cancel(_) => (None, 0),
            };
            let Some(sealed) = sealed else { return Ok(()) };
            let here = self.state.is_blob_here(job, &sealed.digest)? && !listed.contains(&sealed.digest);
            if here && self.check_blob(tx, &sealed.digest)? {
                listed.insert(sealed.digest);
                list(&sealed, made)?;
            }
            Ok(())
        })?;
        spool.finish().map_err(|error| spooling(&error))
    }

    /// Takes what a bundle says about jobs. `knowledge` is what this replica knew before, `tip` what the
    /// bundle's sender knows. Returns of how many jobs something new was said.
    pub(super) fn hear_jobs(
        &self,
        tx: &Transaction<'_>,
        lines: &mut dyn BufRead,
        knowledge: &Knowledge,
        tip: &Knowledge,
        news: &mut JobNews,
    ) -> Result<u64> {
        let me = self.public_key().id();
        let mut changed = 0;
        let mut last = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = lines.take(limits::JOB_LINE_BYTES + 2);
            limited.read_until(b'\n', &mut line).map_err(|error| {
                Error::failed(format!("reading the bundle's jobs again: {error}")).advise("import it again")
            })?;
            if line.is_empty() {
                return Ok(changed);
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            match JobLine::decode(text).and_then(|line| Ok((line.verify()?, line))) {
                // What its sender doesn't know of can't come from there, and would never come to rest.
                Ok((_, line)) if !tip.covers(line.stamp) => news.bad += 1,
                Ok(((statement, signer), line)) => match self.hear(tx, &statement, &signer, &line, knowledge)? {
                    Some(heard) => {
                        // What is said about one job stands together.
                        if heard.changed.is_some() && heard.changed != last {
                            changed += 1;
                            last = heard.changed;
                        }
                        if let Some(key) = heard.finished
                            && self.state.job(key)?.is_some_and(|job| job.requester == me)
                        {
                            news.finished.push(key);
                        }
                    }
                    None => news.bad += 1,
                },
                Err(_) => news.bad += 1,
            }
            if line.last() != Some(&b'\n') && line.len() as u64 > limits::JOB_LINE_BYTES {
                lines
                    .skip_until(b'\n')
                    .map_err(|error| Error::failed(format!("reading the bundle's jobs again: {error}")))?;
            }
        }
    }

    /// Takes one statement whose signature holds. `None` if whoever signed it has no say in that.
    fn hear(
        &self,
        tx: &Transaction<'_>,
        statement: &Statement,
        signer: &PublicKey,
        line: &JobLine,
        knowledge: &Knowledge,
    ) -> Result<Option<Heard>> {
        let state = &self.state;
        let ignored = Ok(Some(Heard::default()));
        match statement {
            Statement::Request(request) => {
                let id = JobId::of(&line.signed);
                if let Some(job) = state.job_by_id(&id)? {
                    return Self::raise_stamp(tx, job.key, StatementKind::Request, line.stamp).map(Some);
                }
                let me = self.public_key().id();
                // What was purged is not taken for new. For the target it takes more than knowledge to think so: a job that
                // it has not run must not get lost.
                let past = state.was_finished(&id)? || (request.target != me && knowledge.covers(line.stamp));
                if request.knows.len() > limits::JOB_INCARNATIONS {
                    return Ok(None);
                }
                if past {
                    return ignored;
                }
                let key = self.insert_request(tx, line, request, None)?;
                Ok(Some(Heard { changed: Some(key), finished: None }))
            }
            Statement::Cancel(cancel) => {
                let Some(job) = state.job_by_id(&cancel.job)? else { return ignored };
                if signer.id() != job.requester {
                    return Ok(None);
                }
                if state.statement(job.key, StatementKind::Cancel)?.is_some() {
                    return Self::raise_stamp(tx, job.key, StatementKind::Cancel, line.stamp).map(Some);
                }
                tx.set_statement(job.key, StatementKind::Cancel, line)?;
                Ok(Some(Heard { changed: Some(job.key), finished: None }))
            }
            Statement::Report(report) => {
                let Some(job) = state.job_by_id(&report.job)? else { return ignored };
                if signer.id() != job.target {
                    return Ok(None);
                }
                if let Some(known) = state.statement(job.key, StatementKind::Report)? {
                    let before = report_in(&known)?;
                    if known.signed == line.signed {
                        return Self::raise_stamp(tx, job.key, StatementKind::Report, line.stamp).map(Some);
                    }
                    if (before.rank(), &known.signed) > (report.rank(), &line.signed) {
                        return ignored;
                    }
                }
                self.take_report(tx, &job, line, report)?;
                let finished = report.state.is_final().then_some(job.key);
                Ok(Some(Heard { changed: Some(job.key), finished }))
            }
        }
    }

    fn raise_stamp(tx: &Transaction<'_>, job: JobKey, kind: StatementKind, stamp: Stamp) -> Result<Heard> {
        match tx.statement(job, kind)? {
            Some(known) if known.stamp < stamp => {
                tx.set_statement(job, kind, &JobLine { stamp, ..known })?;
                Ok(Heard { changed: Some(job), finished: None })
            }
            _ => Ok(Heard::default()),
        }
    }

    /// Records a report, and what follows from it.
    pub(super) fn take_report(&self, tx: &Transaction<'_>, job: &Job, line: &JobLine, report: &Report) -> Result<()> {
        let state = &self.state;
        let me = self.public_key().id();
        if let Some(old) = self.report_on(job.key)?.and_then(|report| report.result)
            && Some(old) != report.result
        {
            tx.drop_blob(job.key, &old.digest)?;
        }
        tx.set_statement(job.key, StatementKind::Report, line)?;
        tx.set_job_state(job.key, report.state, self.now())?;
        if let Some(result) = &report.result {
            tx.need_blob(job.key, result, self.has_blob(result))?;
        }
        // What went wrong can be tried again: by the target, or by the requester who asks anew.
        let again = matches!(report.state, JobState::Failed | JobState::Interrupted | JobState::Rejected);
        let needed = !report.state.is_final() || (again && (job.target == me || job.requester == me));
        if !needed && let Some(line) = state.statement(job.key, StatementKind::Request)? {
            let body = request_in(&line)?.body;
            tx.drop_blob(job.key, &body.digest)?;
        }
        Ok(())
    }

    /// Says something about a job.
    pub(super) fn say(&self, tx: &Transaction<'_>, job: &Job, statement: &Statement) -> Result<JobLine> {
        let stamp = tx.issue(self.now())?;
        let line = self.sign(stamp, statement)?;
        match statement {
            Statement::Request(_) => {}
            Statement::Cancel(_) => tx.set_statement(job.key, StatementKind::Cancel, &line)?,
            Statement::Report(report) => self.take_report(tx, job, &line, report)?,
        }
        Ok(line)
    }

    /// Tells the person what an import has heard about jobs.
    pub(super) fn tell_job_news(&self, news: &JobNews) -> Result<()> {
        if news.bad > 0 {
            let signed = if news.bad == 1 {
                "was not signed by whom it concerns, and is"
            } else {
                "were not signed by whom they concern, and are"
            };
            self.note(format!("{} about jobs {signed} ignored", plural(news.bad, "statement")));
        }
        let (mut done, mut told) = (0, 0);
        for &key in &news.finished {
            let Some(job) = self.state.job(key)? else { continue };
            if job.state == JobState::Done {
                done += 1;
                continue;
            }
            told += 1;
            if told <= MOST_TOLD {
                let standing = self.standing(&job)?;
                self.note(format!(
                    "job {} for {} {}; see `mailsync jobs show {}`",
                    job.id.short(),
                    standing.target,
                    standing.words(),
                    job.id.short()
                ));
            }
        }
        if told > MOST_TOLD {
            self.note(format!("so did {}; see `mailsync jobs list`", plural(told - MOST_TOLD, "more job")));
        }
        if done > 0 {
            self.note(if done == 1 { String::from("a job is done") } else { format!("{done} jobs are done") });
        }
        Ok(())
    }

    /// What a replica is called here.
    pub(super) fn name_of(&self, id: &ReplicaId) -> Result<String> {
        if *id == self.public_key().id() {
            return Ok(self.config.name.clone());
        }
        Ok(self.known_as(id)?.unwrap_or_else(|| id.to_string()))
    }

    /// How a job stands.
    fn standing(&self, job: &Job) -> Result<JobStanding> {
        let request = self.request_of(job)?;
        let cancel = self.state.statement(job.key, StatementKind::Cancel)?;
        let report = self.report_on(job.key)?;
        let waits = job.state == JobState::Queued && job.target != self.public_key().id();
        let mut sent_to = Vec::new();
        if waits && report.is_none() {
            for peer in self.state.neighbours()? {
                let covers =
                    |known: &Option<Knowledge>| known.as_ref().is_some_and(|known| known.covers(request.0.stamp));
                let asks = peer.id == job.requester;
                if !asks && (covers(&peer.sent) || covers(&peer.standing.shown)) {
                    sent_to.push(peer.name);
                }
            }
        }
        // What never left is not run anywhere.
        let gone = cancel.is_some() && waits && sent_to.is_empty() && report.is_none();
        Ok(JobStanding {
            id: job.id,
            requester: self.name_of(&job.requester)?,
            target: self.name_of(&job.target)?,
            made: job.made,
            command: job.asked.clone(),
            state: if gone { JobState::Cancelled } else { job.state },
            withdrawn: cancel.is_some() && !gone && !job.state.is_final(),
            sent_to,
            status: report.as_ref().and_then(|report| report.status),
            attempt: report.as_ref().map(|report| report.attempt),
            repeats: request.1.repeats,
            reported: report.map(|report| report.at),
        })
    }

    /// When a job was taken back, by its requester's clock.
    pub(super) fn cancelled_at(&self, job: &Job) -> Result<Option<u64>> {
        let Some(line) = self.state.statement(job.key, StatementKind::Cancel)? else { return Ok(None) };
        match said(&line)? {
            Statement::Cancel(cancel) => Ok(Some(cancel.made)),
            _ => Ok(None),
        }
    }

    /// What the target has said of a job last.
    pub(super) fn report_on(&self, job: JobKey) -> Result<Option<Report>> {
        self.state.statement(job, StatementKind::Report)?.map(|line| report_in(&line)).transpose()
    }

    /// The request of a job, as it travels and as it reads.
    pub(super) fn request_of(&self, job: &Job) -> Result<(JobLine, Request)> {
        let line = self.state.statement(job.key, StatementKind::Request)?;
        let line = line.ok_or_else(|| Error::failed(format!("the state database: job {} has no request", job.id)))?;
        let request = request_in(&line)?;
        Ok((line, request))
    }

    /// Gives every job that is known here, in the order in which they were asked for; those that are still in the outbox
    /// come last.
    pub fn each_job(&self, mut each: impl FnMut(JobStanding) -> Result<()>) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.state.job_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some((last.made, last.key));
            for job in batch {
                each(self.standing(&job)?)?;
            }
        }
        for path in self.posted_files()? {
            // Another command may just have taken it into the state; or the next one sets it aside.
            let Ok((line, request, command)) = Self::read_posted(&path) else { continue };
            let id = JobId::of(&line.signed);
            if self.state.job_by_id(&id)?.is_some() {
                continue;
            }
            each(JobStanding {
                id,
                requester: self.name_of(&request.requester)?,
                target: self.name_of(&request.target)?,
                made: request.made,
                command: Some(command),
                state: JobState::Queued,
                withdrawn: false,
                sent_to: Vec::new(),
                status: None,
                attempt: None,
                repeats: request.repeats,
                reported: None,
            })?;
        }
        Ok(())
    }

    /// The job whose id begins with these digits, and what came of it as far as this replica can tell.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn show_job(&self, digits: &str) -> Result<(JobStanding, Option<JobResult>)> {
        let mut found: Vec<JobStanding> = Vec::new();
        self.each_job(|job| {
            if job.id.to_string().starts_with(digits) {
                found.push(job);
            }
            Ok(())
        })?;
        let mut standing = only_one(digits, found)?;
        let Some(job) = self.state.job_by_id(&standing.id)? else { return Ok((standing, None)) };
        if standing.command.is_none() {
            standing.command = self.command_in_body(&job)?;
        }
        let report = self.report_on(job.key)?;
        let me = self.public_key().id();
        let result = match report.and_then(|report| report.result) {
            Some(result) if (job.requester == me || job.target == me) && self.has_blob(&result) => {
                Some(self.read_result(&result)?)
            }
            _ => None,
        };
        Ok((standing, result))
    }

    /// What a job asks for, as far as its body is here and can be read: by a requester that has lost its memory of it, or by
    /// the target before it has looked.
    fn command_in_body(&self, job: &Job) -> Result<Option<Vec<String>>> {
        let me = self.public_key().id();
        let body = self.request_of(job)?.1.body;
        if (job.requester != me && job.target != me) || !self.has_blob(&body) {
            return Ok(None);
        }
        let asked = open_body(&self.key, &self.blob_path(&body.digest)).ok().map(|(asked, _)| asked);
        Ok(asked
            .filter(|asked| asked.requester == job.requester && !asked.command.is_empty())
            .map(|asked| asked.command))
    }

    fn read_result(&self, sealed: &Sealed) -> Result<JobResult> {
        let path = self.blob_path(&sealed.digest);
        let fail = |error: io::Error| Error::io("reading a job's result", &path, error);
        let file = fs::File::open(&path).map_err(fail)?;
        let mut reader = io::BufReader::new(unseal(&self.key, file).map_err(fail)?);
        let told: Told = read_head(&mut reader, RESULT_BYTES).map_err(fail)?;
        let most = crate::process::OUTPUT_BYTES;
        let mut stdout = vec![0; told.stdout_bytes.min(most)];
        let mut stderr = vec![0; told.stderr_bytes.min(most)];
        reader.read_exact(&mut stdout).and_then(|()| reader.read_exact(&mut stderr)).map_err(fail)?;
        Ok(JobResult { told, stdout, stderr })
    }

    /// The job in the state whose id begins with these digits.
    pub(super) fn find_job(&self, digits: &str) -> Result<Job> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let batch = self.state.job_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some((last.made, last.key));
            found.extend(batch.into_iter().filter(|job| job.id.to_string().starts_with(digits)));
        }
        only_one(digits, found)
    }

    /// Takes a job back: the requester as long as it isn't known to have been started, the target as long as it has not
    /// started it.
    ///
    /// # Errors
    /// It has been started, is finished, or is no business of this replica.
    pub fn cancel_job(&self, digits: &str) -> Result<JobStanding> {
        let tx = self.begin()?;
        let job = self.find_job(digits)?;
        let me = self.public_key().id();
        let standing = self.standing(&job)?;
        if job.state != JobState::Queued {
            let what = format!("cancelling job {}: it {}", job.id.short(), standing.words());
            return Err(Error::failed(what).advise("what was started can't be taken back"));
        }
        if job.requester == me {
            if self.state.statement(job.key, StatementKind::Cancel)?.is_none() {
                self.say(&tx, &job, &Statement::Cancel(Cancel { job: job.id, made: self.now() }))?;
            }
        } else if job.target == me {
            self.conclude(&tx, &job, JobState::Cancelled, &format!("it was cancelled on {}", self.config.name))?;
        } else {
            let what =
                format!("cancelling job {}: it is {}'s, for {}", job.id.short(), standing.requester, standing.target);
            return Err(Error::failed(what).advise("cancel it on one of these"));
        }
        tx.record(self.now(), "jobs cancel", None, &job.id.to_string())?;
        let job = self.find_job(digits)?;
        let standing = self.standing(&job)?;
        tx.commit()?;
        Ok(standing)
    }

    /// Has a job that went wrong tried again: the target runs it, the requester asks anew, as a new job. Returns the id of the
    /// job that will be run.
    ///
    /// # Errors
    /// It is done, is not finished, or is no business of this replica.
    pub fn retry_job(&self, digits: &str) -> Result<JobId> {
        let tx = self.begin()?;
        let job = self.find_job(digits)?;
        let me = self.public_key().id();
        let standing = self.standing(&job)?;
        let doing = format!("trying job {} again", job.id.short());
        if !matches!(job.state, JobState::Failed | JobState::Interrupted | JobState::Rejected) {
            let advice = match standing.state {
                JobState::Done | JobState::Cancelled => "ask for it anew with `mailsync uux`",
                _ => "wait for what becomes of it",
            };
            return Err(Error::failed(format!("{doing}: it {}", standing.words())).advise(advice));
        }
        let (line, request) = self.request_of(&job)?;
        if job.target != me && job.requester != me {
            let what = format!("{doing}: it is {}'s, for {}", standing.requester, standing.target);
            return Err(Error::failed(what).advise("try it again on one of these"));
        }
        if !self.has_blob(&request.body) {
            return Err(Error::failed(format!("{doing}: its input is not here any more"))
                .advise("ask for it anew with `mailsync uux`"));
        }
        let id = if job.target == me {
            let attempt = standing.attempt.unwrap_or(0).saturating_add(1);
            let report =
                Report { job: job.id, attempt, at: self.now(), state: JobState::Queued, status: None, result: None };
            let stamp = self.say(&tx, &job, &Statement::Report(report))?.stamp;
            // Who is in between may have forgotten the job meanwhile, and would not know what is reported on.
            tx.set_statement(job.key, StatementKind::Request, &JobLine { stamp, ..line })?;
            job.id
        } else {
            let knows = self.known_incarnations()?;
            let request = Request { made: self.now(), knows, repeats: Some(job.id), ..request };
            let stamp = tx.issue(self.now())?;
            let line = self.sign(stamp, &Statement::Request(request.clone()))?;
            let id = JobId::of(&line.signed);
            self.insert_request(&tx, &line, &request, job.asked.as_deref())?;
            id
        };
        tx.record(self.now(), "jobs retry", None, &job.id.to_string())?;
        tx.commit()?;
        Ok(id)
    }

    /// Gives the statements that this incarnation has made new stamps.
    pub(super) fn restamp_jobs(
        tx: &Transaction<'_>,
        old: crate::model::Incarnation,
        anew: impl Fn(Stamp) -> Stamp,
    ) -> Result<()> {
        for said in tx.said_by(old)? {
            let stamp = anew(said.line.stamp);
            if stamp != said.line.stamp {
                tx.set_statement(said.job, said.kind, &JobLine { stamp, ..said.line })?;
            }
        }
        Ok(())
    }
}

impl JobStanding {
    /// How it stands, as the end of a sentence about it.
    pub fn words(&self) -> String {
        match (self.state, self.status) {
            (JobState::Queued, _) if self.withdrawn => String::from("is cancelled, unless it has been started already"),
            (JobState::Queued, _) if !self.sent_to.is_empty() => format!("was sent to {}", self.sent_to.join(", ")),
            (JobState::Queued, _) => String::from("is queued"),
            (JobState::Running, _) => String::from("is running"),
            (JobState::Done, _) => String::from("is done"),
            (JobState::Failed, Some(status)) => format!("failed with status {status}"),
            (JobState::Failed, None) => String::from("failed"),
            (JobState::Rejected, _) => String::from("was rejected"),
            (JobState::Interrupted, _) => String::from("was interrupted: it may have run"),
            (JobState::Cancelled, _) => String::from("was cancelled"),
        }
    }
}

fn only_one<T>(digits: &str, mut found: Vec<T>) -> Result<T> {
    let many = found.len() > 1;
    match found.pop() {
        Some(_) if many => Err(Error::usage(format!("looking for job {digits}: several begin with that"))
            .advise("give more digits of its id, as `mailsync jobs list` shows it")),
        Some(job) if !digits.is_empty() => Ok(job),
        _ => Err(Error::usage(format!("looking for job {digits}: there is none"))
            .advise("see `mailsync jobs list` for those that are known here")),
    }
}

/// What a line says whose signature was checked when it came.
fn said(line: &JobLine) -> Result<Statement> {
    line.statement().map_err(|error| Error::failed(format!("the state database: {error}")))
}

fn request_in(line: &JobLine) -> Result<Request> {
    match said(line)? {
        Statement::Request(request) => Ok(request),
        _ => Err(Error::failed("the state database: a job's request is something else")),
    }
}

fn report_in(line: &JobLine) -> Result<Report> {
    match said(line)? {
        Statement::Report(report) => Ok(report),
        _ => Err(Error::failed("the state database: a job's report is something else")),
    }
}

/// The line of JSON with which a body or a result begins.
pub(super) fn head(told: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(told).expect("it has a JSON form");
    line.push(b'\n');
    line
}

/// Reads the line of JSON with which a body or a result begins.
pub(super) fn read_head<T: for<'de> Deserialize<'de>>(reader: &mut impl BufRead, limit: u64) -> io::Result<T> {
    let mut line = Vec::new();
    reader.take(limit).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it doesn't begin with a line that tells what it is"));
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Opens a body that was sealed for this key, and reads what it begins with.
pub(super) fn open_body(key: &PrivateKey, path: &Path) -> io::Result<(Asked, impl BufRead + use<>)> {
    let mut reader = io::BufReader::new(unseal(key, fs::File::open(path)?)?);
    let asked = read_head(&mut reader, ASKED_BYTES)?;
    Ok((asked, reader))
}

fn spooling(error: &WriteError) -> Error {
    Error::failed(format!("writing what is said about jobs: {error}")).advise("make room for it, then export again")
}
