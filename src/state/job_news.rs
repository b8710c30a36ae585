//! Jobs of this replica's that went wrong elsewhere, until the person who has asked for them knows.

use rusqlite::Params;

use super::jobs::{Job, JobKey};
use super::{State, Transaction};
use crate::error::Result;

/// Whether something is to be told about a job of this replica's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// No.
    None = 0,
    /// It went wrong, and nobody was told.
    Untold = 1,
    /// It went wrong; that was told, and nobody has looked at it.
    Told = 2,
}

impl State {
    fn count_news(&self, condition: &str, params: impl Params) -> Result<u64> {
        let mut query = self.conn.prepare_cached(&format!("SELECT COUNT(*) FROM job WHERE {condition}"))?;
        Ok(query.query_row(params, |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The oldest jobs of which nobody was told that they went wrong.
    pub fn untold_jobs(&self, limit: u32) -> Result<Vec<Job>> {
        self.jobs_where("news = 1 ORDER BY made, key LIMIT ?", [limit])
    }

    /// The newest jobs that went wrong and that nobody has looked at, and how many there are.
    pub fn jobs_not_looked_at(&self, limit: u32) -> Result<(Vec<Job>, u64)> {
        let jobs = self.jobs_where("news > 0 ORDER BY made DESC, key DESC LIMIT ?", [limit])?;
        Ok((jobs, self.count_news("news > 0", [])?))
    }

    /// Whether this job went wrong and nobody has looked at it.
    pub fn has_news(&self, key: JobKey) -> Result<bool> {
        Ok(self.count_news("key = ? AND news > 0", [key.0])? > 0)
    }
}

impl Transaction<'_> {
    /// Records whether something is to be told about a job.
    pub fn set_job_news(&self, key: JobKey, news: News) -> Result<()> {
        self.conn.prepare_cached("UPDATE job SET news = ? WHERE key = ?")?.execute((news as i64, key.0))?;
        Ok(())
    }
}
