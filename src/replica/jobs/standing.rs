//! The standing of jobs, for people.

use std::io::{self, Read};

use super::body::{JobReportBody, RESULT_BYTES, open_body, read_head};
use super::outbox::Posted;
use crate::bundle::{AttachmentRef, JobId, unseal};
use crate::disk::{Source, is_about_contents, is_absent};
use crate::error::{Error, Result};
use crate::model::{JobState, Knowledge};
use crate::replica::Replica;
use crate::state::{Job, StatementKind};
use crate::text::did_you_mean;

/// This many jobs are looked at in one go.
const BATCH: u32 = 256;

/// The standing of a job, for people.
#[derive(Clone, Debug)]
pub struct JobStanding {
    /// Its id.
    pub id: JobId,
    /// The requester's name here.
    pub requester: String,
    /// The target's name here.
    pub target: String,
    /// When it was asked for: milliseconds since 1970 UTC.
    pub made: u64,
    /// The command and its arguments, if this replica is the requester or the target.
    pub command: Option<Vec<String>>,
    /// Its state, as far as is known here.
    pub state: JobState,
    /// Whether the requester has cancelled it and the target has yet to confirm that.
    pub cancel_waits: bool,
    /// The peers to which it was sent, if the target has not reported yet.
    pub sent_to: Vec<String>,
    /// The exit status of its program.
    pub status: Option<i32>,
    /// The number of the last attempt.
    pub attempt: Option<u32>,
    /// The job that it repeats.
    pub repeats: Option<JobId>,
    /// When the target last said something about it: milliseconds since 1970 UTC.
    pub reported: Option<u64>,
}

/// The result of a job, with the output of its program. Only requester and target can read it.
#[derive(Clone, Debug, Default)]
pub struct JobResult {
    /// The reason and the times.
    pub told: JobReportBody,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Replica {
    /// Finds out how a job stands.
    pub(super) fn standing(&self, job: &Job) -> Result<JobStanding> {
        let request = self.request_of(job)?;
        let cancel = self.state.statement(job.key, StatementKind::Cancel)?;
        let report = self.report_on(job.key)?;
        let waits = job.state == JobState::Queued && job.target != self.public_key().id();
        let mut sent_to = Vec::new();
        if waits && report.is_none() {
            for peer in self.neighbours()? {
                let covers =
                    |known: &Option<Knowledge>| known.as_ref().is_some_and(|known| known.covers(request.0.stamp));
                let asks = peer.id == job.requester;
                if !asks && (covers(&peer.sent) || covers(&peer.standing.shown)) {
                    sent_to.push(peer.name);
                }
            }
        }
        // A request that was never sent can't be running anywhere.
        let gone = cancel.is_some() && waits && sent_to.is_empty() && report.is_none();
        Ok(JobStanding {
            id: job.id,
            requester: self.name_of(&job.requester)?,
            target: self.name_of(&job.target)?,
            made: job.made,
            command: job.asked.clone(),
            state: if gone { JobState::Cancelled } else { job.state },
            cancel_waits: cancel.is_some() && !gone && !job.state.is_final(),
            sent_to,
            status: report.as_ref().and_then(|report| report.status),
            attempt: report.as_ref().map(|report| report.attempt),
            repeats: request.1.repeats,
            reported: report.map(|report| report.at),
        })
    }

    /// Gives every job that is known here, in the order in which they were asked for. Jobs that are still in the outbox
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
            // Another command may just have taken the job into the state. If the file is damaged, the next command sets
            // it aside.
            let Posted::Job(job) = Self::read_posted(&*self.world.disk, &path)? else { continue };
            let (line, request, command) = *job;
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
                cancel_waits: false,
                sent_to: Vec::new(),
                status: None,
                attempt: None,
                repeats: request.repeats,
                reported: None,
            })?;
        }
        Ok(())
    }

    /// The job whose id begins with these digits, and its result if this replica has it and can read it.
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
        let mut standing = only_one(digits, found, || self.job_like(digits))?;
        let Some(job) = self.state.job_by_id(&standing.id)? else { return Ok((standing, None)) };
        if standing.command.is_none() {
            standing.command = self.command_in_body(&job)?;
        }
        let report = self.report_on(job.key)?;
        let me = self.public_key().id();
        let result = match report.and_then(|report| report.result) {
            Some(result) if (job.requester == me || job.target == me) && self.has_attachment(&result)? => {
                Some(self.read_result(&result)?)
            }
            _ => None,
        };
        Ok((standing, result))
    }

    /// The command in a job's body, if the body is here and can be read. It helps a requester that has forgotten the
    /// command, and a target that has not looked at the job yet.
    fn command_in_body(&self, job: &Job) -> Result<Option<Vec<String>>> {
        let me = self.public_key().id();
        let body = self.request_of(job)?.1.body;
        if (job.requester != me && job.target != me) || !self.has_attachment(&body)? {
            return Ok(None);
        }
        self.key()?;
        let path = self.attachment_path(&body.digest);
        let asked = match open_body(&*self.world.disk, &self.keys(), &path) {
            Ok((asked, _)) => asked,
            Err(error) if is_absent(&error) || is_about_contents(&error) => return Ok(None),
            Err(error) => {
                return Err(Error::io("reading a job's input", &path, error).advise("see why, then run this again"));
            }
        };
        let is_its = self.present_id(&asked.requester)? == job.requester && !asked.command.is_empty();
        Ok(is_its.then_some(asked.command))
    }

    fn read_result(&self, attachment: &AttachmentRef) -> Result<JobResult> {
        self.key()?;
        let path = self.attachment_path(&attachment.digest);
        let fail = |error: io::Error| Error::io("reading a job's result", &path, error);
        let file = Source::open(&*self.world.disk, &path).map_err(fail)?;
        let mut reader = io::BufReader::new(unseal(&self.keys(), file).map_err(fail)?);
        let told: JobReportBody = read_head(&mut reader, RESULT_BYTES).map_err(fail)?;
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
        only_one(digits, found, || self.job_like(digits))
    }

    /// The question whether a person means another job, whose id begins nearly like this.
    fn job_like(&self, digits: &str) -> Result<String> {
        let mut begin = Vec::new();
        self.each_job(|job| {
            begin.push(job.id.to_string().chars().take(digits.chars().count().max(1)).collect::<String>());
            Ok(())
        })?;
        Ok(did_you_mean(digits, begin.iter().map(String::as_str)))
    }
}

impl JobStanding {
    /// The standing, as the end of a sentence about the job.
    pub fn words(&self) -> String {
        match (self.state, self.status) {
            (JobState::Queued, _) if self.cancel_waits => {
                String::from("is cancelled, unless it has been started already")
            }
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

fn only_one<T>(digits: &str, mut found: Vec<T>, meant: impl FnOnce() -> Result<String>) -> Result<T> {
    let many = found.len() > 1;
    match found.pop() {
        Some(_) if many => Err(Error::usage(format!("looking for job {digits}: several begin with that"))
            .advise("give more digits of its id, as `mailsync jobs list` shows it")),
        Some(job) if !digits.is_empty() => Ok(job),
        _ => Err(Error::usage(format!("looking for job {digits}: there is none"))
            .advise(format!("{}see `mailsync jobs list` for those that are known here", meant()?))),
    }
}
