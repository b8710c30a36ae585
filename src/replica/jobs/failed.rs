//! Jobs that went wrong elsewhere: whoever has asked for them here is told once, and they stand in the status until a
//! person has looked.

use super::standing::JobStanding;
use crate::bundle::JobId;
use crate::error::Result;
use crate::replica::Replica;
use crate::state::News;

/// So many are told between two transactions.
const BATCH: u32 = 64;

impl Replica {
    /// Tells of this replica's jobs that went wrong and of which nobody was told. None is told again by the next
    /// command, unless this one is interrupted.
    ///
    /// # Errors
    /// The state can't be read or written.
    pub fn tell_failed_jobs(&self, mut each: impl FnMut(&JobStanding)) -> Result<()> {
        loop {
            let jobs = self.state.untold_jobs(BATCH)?;
            if jobs.is_empty() {
                return Ok(());
            }
            let tx = self.begin()?;
            for job in &jobs {
                each(&self.standing(job)?);
                tx.set_job_news(job.key, News::Told)?;
            }
            tx.commit()?;
        }
    }

    /// Whether this is a job of this replica's that went wrong and that nobody has looked at.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn is_news(&self, id: &JobId) -> Result<bool> {
        self.state.job_by_id(id)?.map_or(Ok(false), |job| self.state.has_news(job.key))
    }

    /// Records that a person has looked at a job.
    ///
    /// # Errors
    /// The state can't be written.
    pub fn has_looked_at(&self, id: &JobId) -> Result<()> {
        let tx = self.begin()?;
        if let Some(job) = self.state.job_by_id(id)? {
            tx.set_job_news(job.key, News::None)?;
        }
        tx.commit()
    }

    /// The newest jobs that went wrong and that nobody has looked at, at most so many, and how many there are.
    pub(in crate::replica) fn failed_jobs(&self, most: u32) -> Result<(Vec<JobStanding>, u64)> {
        let (jobs, count) = self.state.jobs_not_looked_at(most)?;
        Ok((jobs.iter().map(|job| self.standing(job)).collect::<Result<_>>()?, count))
    }
}
