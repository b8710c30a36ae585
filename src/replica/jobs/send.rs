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
    /// Gathers the statements about jobs that `base` doesn't cover, and lists the attachments that they name, each
    /// once.
    pub(in crate::replica) fn spool_jobs(
        &self,
        tx: &Transaction<'_>,
        base: &Knowledge,
        listed: &mut HashSet<Digest>,
        mut list: impl FnMut(&AttachmentRef, u64) -> Result<()>,
    ) -> Result<Option<SpooledJobs>> {
        let mut spool = JobSpool::new(self.home.state_dir());
        self.state.said_since(base, |StoredStatement { job, line, .. }| {
            spool.push(&line.encode()).map_err(|error| spooling(&error))?;
            let (attachment, made) = match said(&line)? {
                Statement::Request(request) => {
                    // A finished job is not run again, so its input is not needed.
                    let finished = self.state.job(job)?.is_none_or(|job| job.state.is_final());
                    ((!finished).then_some(request.body), request.made)
                }
                Statement::Report(report) => (report.result, report.at),
                Statement::Cancel(_) => (None, 0),
            };
            let Some(attachment) = attachment else { return Ok(()) };
            let here = self.state.is_attachment_here(job, &attachment.digest)? && !listed.contains(&attachment.digest);
            if here && self.check_attachment(tx, &attachment.digest)? {
                listed.insert(attachment.digest);
                list(&attachment, made)?;
            }
            Ok(())
        })?;
        spool.finish().map_err(|error| spooling(&error))
    }
}

fn spooling(error: &WriteError) -> Error {
    Error::failed(format!("writing what is said about jobs: {error}")).advise("make room for it, then export again")
}
