//! Statements about jobs that this replica makes by its own decision or by its owner's.

use std::io::Write;

use super::body::{JobReportBody, head};
use super::standing::JobStanding;
use crate::bundle::{AttachmentRef, Cancel, JobId, JobLine, PublicKey, Report, Request, Statement, limits};
use crate::error::{Error, Result};
use crate::model::{Incarnation, JobState, Stamp, Taken};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{Action, Job, News, StatementKind};

impl Replica {
    /// Cancels a job. The requester can do so as long as it doesn't know that the job was started, the target as long
    /// as it has not started it.
    ///
    /// # Errors
    /// The job has been started, is finished, or belongs to other replicas.
    pub fn cancel_job(&self, digits: &str) -> Result<JobStanding> {
        let tx = self.begin()?;
        let job = self.find_job(digits)?;
        let me = self.public_key().id();
        let standing = self.standing(&job)?;
        if job.state != JobState::Queued {
            let what = format!("cancelling job {}: it {}", job.id.short(), standing.words());
            return Err(Error::failed(what).advise("a job that was started can't be cancelled"));
        }
        if job.requester == me {
            if self.state.statement(job.key, StatementKind::Cancel)?.is_none() {
                self.say(&tx, &job, &Statement::Cancel(Cancel { job: job.id, made: self.moment() }))?;
            }
        } else if job.target == me {
            self.conclude(&tx, &job, JobState::Cancelled, &format!("it was cancelled on {}", self.config.name))?;
        } else {
            let what = format!(
                "cancelling job {}: {} has requested it, for {}",
                job.id.short(),
                standing.requester,
                standing.target
            );
            return Err(Error::failed(what).advise("cancel it on one of these"));
        }
        tx.record(self.now(), Action::JobsCancel, None, &job.id.to_string())?;
        let job = self.find_job(digits)?;
        let standing = self.standing(&job)?;
        tx.commit()?;
        Ok(standing)
    }

    /// Lets a job that went wrong be tried again: the target runs it once more; the requester asks anew, with a new
    /// job. Returns the id of the job that will be run.
    ///
    /// # Errors
    /// The job is done, is not finished, or belongs to other replicas.
    pub fn retry_job(&self, digits: &str) -> Result<JobId> {
        let tx = self.begin()?;
        let job = self.find_job(digits)?;
        let me = self.public_key().id();
        let standing = self.standing(&job)?;
        let doing = format!("trying job {} again", job.id.short());
        if !matches!(job.state, JobState::Failed | JobState::Interrupted | JobState::Rejected) {
            let advice = match standing.state {
                JobState::Done | JobState::Cancelled => "ask for it anew with `mailsync uux`",
                _ => "wait until it has ended",
            };
            return Err(Error::failed(format!("{doing}: it {}", standing.words())).advise(advice));
        }
        let (line, request) = self.request_of(&job)?;
        if job.target != me && job.requester != me {
            let what = format!("{doing}: {} has requested it, for {}", standing.requester, standing.target);
            return Err(Error::failed(what).advise("try it again on one of these"));
        }
        let attempt = standing.attempt.unwrap_or(0).saturating_add(1);
        if job.target == me && attempt > limits::JOB_ATTEMPTS {
            return Err(Error::failed(format!(
                "{doing}: it was tried {} times, which is the most",
                limits::JOB_ATTEMPTS
            ))
            .advise("have it asked for anew with `mailsync uux`"));
        }
        if !self.has_attachment(&request.body)? {
            return Err(Error::failed(format!("{doing}: its input is not here any more"))
                .advise("ask for it anew with `mailsync uux`"));
        }
        let id = if job.target == me {
            let report =
                Report { job: job.id, attempt, at: self.moment(), state: JobState::Queued, status: None, result: None };
            let stamp = self.say(&tx, &job, &Statement::Report(report))?.stamp;
            // A replica in between may have forgotten the job meanwhile, and could not tell which job a report is
            // about. So the request is sent again, too.
            tx.set_statement(job.key, StatementKind::Request, &JobLine { stamp, ..line })?;
            job.id
        } else {
            let knows = self.known_incarnations()?;
            let request = Request { made: self.moment(), knows, repeats: Some(job.id), ..request };
            let stamp = tx.issue(self.now())?;
            let line = self.sign(stamp, &Statement::Request(request.clone()))?;
            let id = JobId::of(&line.signed);
            self.insert_request(&tx, &line, &request, job.asked.as_deref(), Taken::Whole)?;
            tx.set_job_news(job.key, News::None)?;
            id
        };
        tx.record(self.now(), Action::JobsRetry, None, &job.id.to_string())?;
        tx.commit()?;
        Ok(id)
    }

    /// Makes a statement about a job: signs and records it.
    pub(super) fn say(&self, tx: &Transaction<'_>, job: &Job, statement: &Statement) -> Result<JobLine> {
        let stamp = tx.issue(self.now())?;
        let line = self.sign(stamp, statement)?;
        match statement {
            Statement::Request(_) => {}
            Statement::Cancel(_) => tx.set_statement(job.key, StatementKind::Cancel, &line)?,
            Statement::Report(report) => self.record_report(tx, job, &line, report, true)?,
        }
        Ok(line)
    }

    /// Gives new stamps to the statements that the incarnation `old` has made.
    pub(in crate::replica) fn restamp_jobs(
        tx: &Transaction<'_>,
        old: Incarnation,
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

    /// Settles a job without running its program.
    pub(super) fn conclude(&self, tx: &Transaction<'_>, job: &Job, state: JobState, reason: &str) -> Result<()> {
        let report = self.report_on(job.key)?;
        let told = JobReportBody { reason: Some(reason.to_owned()), ..JobReportBody::default() };
        let result = self.seal_result(job, &told, b"", b"")?;
        let attempt = report.map_or(1, |report| report.attempt);
        let report = Report { job: job.id, attempt, at: self.moment(), state, status: None, result: Some(result) };
        self.say(tx, job, &Statement::Report(report))?;
        tx.record(self.now(), Action::JobsRun, None, &format!("job {}: {state}, {reason}", job.id))?;
        Ok(())
    }

    pub(super) fn seal_result(
        &self,
        job: &Job,
        told: &JobReportBody,
        stdout: &[u8],
        stderr: &[u8],
    ) -> Result<AttachmentRef> {
        let (line, _) = self.request_of(job)?;
        // By the key that it has now; if that isn't known, by the one with which it asked.
        let requester: PublicKey = match self.state.peer_by_id(&job.requester)? {
            Some(peer) => peer.public_key,
            None => line.signer().map_err(|error| Error::failed(format!("the state database: {error}")))?,
        };
        let head = head(told);
        // Nothing is encrypted for one that was revoked.
        let mut readers = vec![requester, self.public_key()];
        if self.shut_outs()?.get(&job.requester).is_some() {
            readers.remove(0);
        }
        self.seal_attachment(&readers, |out| {
            let mut write = |bytes: &[u8]| out.write_all(bytes);
            write(&head).and_then(|()| write(stdout)).and_then(|()| write(stderr)).map_err(|error| {
                Error::failed(format!("storing the result of job {}: {error}", job.id)).advise("make room for it")
            })
        })
    }
}
