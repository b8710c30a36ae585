//! The statements about jobs that a bundle takes along, and their attachments.

use std::collections::HashSet;

use super::said;
use crate::bundle::{AttachmentRef, JobSpool, SpooledJobs, Statement, WriteError};
use crate::error::{Error, Result};
use crate::model::{Digest, Knowledge};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::StoredStatement;

impl Replica {
    /// Gathers the statements about jobs that `base` doesn't cover, and lists the attachments that they name, each once
    /// and none that is `there` already. Of jobs that don't concern this replica, since it doesn't know (any more) who
    /// asks or is to run them, nothing is passed on. Returns also what was listed.
    pub(in crate::replica) fn spool_jobs(
        &self,
        tx: &Transaction<'_>,
        base: &Knowledge,
        there: impl Fn(&Digest) -> Result<bool>,
        mut list: impl FnMut(&AttachmentRef, u64) -> Result<()>,
    ) -> Result<(Option<SpooledJobs>, HashSet<Digest>)> {
        let mut listed = HashSet::new();
        let mut spool = JobSpool::new(&*self.world.disk, self.home.state_dir());
        self.state.said_since(base, |StoredStatement { job: key, kind, line }| {
            let Some(job) = self.state.job(key)? else { return Ok(()) };
            if !self.concerns(&job.requester, &job.target)? {
                return Ok(());
            }
            spool.push(&line.encode()).map_err(|error| spooling(&error))?;
            let (attachment, made) = match said(&line)? {
                // A finished job is not run again, so its input is not needed.
                Statement::Request(request) => ((!job.state.is_final()).then_some(request.body), request.made),
                Statement::Report(report) => (report.result, report.at),
                Statement::Cancel(_) => (None, 0),
            };
            let Some(attachment) = attachment else { return Ok(()) };
            let here = self.state.is_attachment_here(key, kind, &attachment.digest)? == Some(true);
            if here
                && !listed.contains(&attachment.digest)
                && !there(&attachment.digest)?
                && self.check_attachment(tx, &attachment.digest)?
            {
                listed.insert(attachment.digest);
                list(&attachment, made)?;
            }
            Ok(())
        })?;
        Ok((spool.finish().map_err(|error| spooling(&error))?, listed))
    }
}

fn spooling(error: &WriteError) -> Error {
    Error::failed(format!("writing what is said about jobs: {error}")).advise("make room for it, then export again")
}
