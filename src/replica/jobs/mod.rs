//! Jobs: asking a peer to run a command, passing on the statements about it, and telling its state.

mod admit;
mod attachments;
mod body;
mod decide;
mod failed;
mod forget;
mod hear;
mod outbox;
mod run;
mod send;
mod standing;

pub(super) use attachments::{Aside, older_than};
pub use body::JobReportBody;
pub(super) use hear::JobNews;
pub use run::JobRun;
pub use standing::{JobResult, JobStanding};

use crate::bundle::{JobId, JobLine, ReplicaId, Report, Request, Statement, limits};
use crate::error::{Error, Result};
use crate::model::{Clock, Incarnation, Stamp, Taken};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{Job, JobKey, StatementKind};

impl Replica {
    /// The incarnations about which this replica knows something; only the latest, if they are many.
    fn known_incarnations(&self) -> Result<Vec<Incarnation>> {
        let mut newest: Vec<(Clock, Incarnation)> =
            self.state.knowledge()?.iter().map(|(incarnation, clock)| (clock, incarnation)).collect();
        newest.sort_unstable();
        let from = newest.len().saturating_sub(limits::JOB_INCARNATIONS);
        let mut knows: Vec<Incarnation> = newest.drain(from..).map(|(_, incarnation)| incarnation).collect();
        knows.sort_unstable();
        Ok(knows)
    }

    /// The time that a statement names which is made now, however wrong the clock is. Milliseconds since 1970 UTC.
    fn moment(&self) -> u64 {
        self.now().clamp(1, limits::JOB_TIME)
    }

    fn sign(&self, stamp: Stamp, statement: &Statement) -> Result<JobLine> {
        JobLine::sign(stamp, statement, self.key()?).map_err(|error| Error::failed(format!("signing a job: {error}")))
    }

    /// The same request with the ids that its requester and its target have now: those that it was signed with may be
    /// former ones.
    fn of_present(&self, request: Request) -> Result<Request> {
        let (requester, target) = (self.present_id(&request.requester)?, self.present_id(&request.target)?);
        Ok(Request { requester, target, ..request })
    }

    /// Records a request that is not known yet, and as much of what goes with it.
    fn insert_request(
        &self,
        tx: &Transaction<'_>,
        line: &JobLine,
        request: &Request,
        command: Option<&[String]>,
        taken: Taken,
    ) -> Result<JobKey> {
        let id = JobId::of(&line.signed);
        let key = tx.add_job(&id, request)?;
        tx.set_statement(key, StatementKind::Request, line)?;
        if taken == Taken::Whole {
            tx.need_attachment(key, StatementKind::Request, &request.body, self.has_attachment(&request.body)?)?;
        }
        if let Some(command) = command {
            tx.set_job_asked(key, command)?;
        }
        Ok(key)
    }

    /// A replica's name here, or its id.
    pub(super) fn name_of(&self, id: &ReplicaId) -> Result<String> {
        if self.is_me(id) {
            return Ok(self.config.name.clone());
        }
        Ok(self.known_as(id)?.unwrap_or_else(|| id.to_string()))
    }

    /// When a job was cancelled, by its requester's clock.
    pub(super) fn cancelled_at(&self, job: &Job) -> Result<Option<u64>> {
        let Some(line) = self.state.statement(job.key, StatementKind::Cancel)? else { return Ok(None) };
        match said(&line)? {
            Statement::Cancel(cancel) => Ok(Some(cancel.made)),
            _ => Ok(None),
        }
    }

    /// The report on a job that counts.
    pub(super) fn report_on(&self, job: JobKey) -> Result<Option<Report>> {
        self.state.statement(job, StatementKind::Report)?.map(|line| report_in(&line)).transpose()
    }

    /// A job's request: the line that travels, and the request in it.
    pub(super) fn request_of(&self, job: &Job) -> Result<(JobLine, Request)> {
        let line = self.state.statement(job.key, StatementKind::Request)?;
        let line = line.ok_or_else(|| Error::failed(format!("the state database: job {} has no request", job.id)))?;
        let request = self.of_present(request_in(&line)?)?;
        Ok((line, request))
    }
}

/// Reads the statement in a line whose signature was checked when the line came.
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
