//! The statements about jobs that a bundle takes along, and their attachments.

use std::collections::HashSet;

use super::said;
use crate::bundle::{AttachmentRef, JobSpool, SPOOL_IN_MEMORY, SpooledJobs, Statement, WriteError};
use crate::error::{Error, Result};
use crate::model::{Claims, Digest, Knowledge, PassesOver};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::StoredStatement;

impl Replica {
    /// Gathers the statements about jobs that `base` doesn't cover and that aren't sent in vain, and lists the attachments that they name, each once
    /// and none that is `there` already. Of jobs that don't concern this replica, since it doesn't know (any more) who
    /// asks or is to run them, nothing is passed on. Returns also what was listed.
    pub(in crate::replica) fn spool_jobs(
        &self,
        tx: &Transaction<'_>,
        claims: Claims,
        (base, vain): (&Knowledge, &PassesOver),
        there: impl Fn(&Digest) -> Result<bool>,
        mut list: impl FnMut(&AttachmentRef, u64) -> Result<()>,
    ) -> Result<(Option<SpooledJobs>, HashSet<Digest>)> {
        let mut listed = HashSet::new();
        let mut spool = JobSpool::within(&*self.world.disk, self.home.state_dir(), claims);
        let mut room = self.room_for_spool(SPOOL_IN_MEMORY);
        self.state.said_since(base, |StoredStatement { job: key, kind, line }| {
            let Some(job) = self.state.job(key)? else { return Ok(()) };
            if vain.has(line.stamp) || !self.concerns(&job.requester, &job.target)? {
                return Ok(());
            }
            spool.statement(&line).map_err(|error| spooling(&error))?;
            room.reach("what is said about jobs", spool.bytes())?;
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
    let advice = match error {
        WriteError::Inconsistent { .. } => {
            "nothing is lost, and nobody would have taken it; run `mailsync doctor --repair`, then export again"
        }
        _ => "make room for it, then export again",
    };
    Error::failed(format!("writing what is said about jobs: {error}")).advise(advice)
}
