//! Jobs of this replica's that went wrong elsewhere: whoever asked for them is told once, whatever is wanted to be quiet.

use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{JobStanding, Replica};
use mailsync::text::{beginning, plural, printable};

use super::document::jobs::Job;
use super::job_runs::SHOWN;
use super::output::Output;

/// At most so many are told one by one.
const TOLD: usize = 10;

/// The jobs that were told of, and why others could not be.
pub struct FailedJobs {
    told: Vec<JobStanding>,
    error: Option<Error>,
}

impl FailedJobs {
    /// None: it is not the person here who would be told.
    pub fn of_nobody() -> Self {
        Self { told: Vec::new(), error: None }
    }

    /// Tells of those of which nobody was told yet.
    pub fn tell(replica: &Replica) -> Self {
        let mut told: Vec<JobStanding> = Vec::new();
        let result = replica.tell_failed_jobs(|standing| {
            if told.len() < TOLD {
                Output::complain(&wrong(standing));
            }
            told.push(standing.clone());
        });
        if told.len() > TOLD {
            let more = plural((told.len() - TOLD) as u64, "more job");
            Output::complain(&Error::failed(format!("{more} of yours went wrong")).advise("see `mailsync jobs list`"));
        }
        Self { told, error: result.err() }
    }

    /// Each job, as far as it is known here.
    pub fn documents(&self) -> Vec<Job> {
        self.told.iter().map(Job::from).collect()
    }

    /// How a command ends for them, if there is any.
    ///
    /// # Errors
    /// They could not be told.
    pub fn result(self) -> Result<Option<ErrorKind>> {
        match self.error {
            Some(error) => Err(error),
            None => Ok((!self.told.is_empty()).then_some(ErrorKind::Failed)),
        }
    }
}

/// A job that went wrong, as the line that its requester is told.
fn wrong(job: &JobStanding) -> Error {
    let command = job.command.as_ref().and_then(|words| words.first());
    let command = command.map_or_else(String::new, |command| format!(" ({})", beginning(command, SHOWN)));
    let (id, target, words) = (job.id.short(), printable(&job.target), job.words());
    Error::failed(format!("your job {id} for {target}{command} {words}"))
        .advise(format!("`mailsync jobs show {id}` tells why, `mailsync jobs retry {id}` asks for it again"))
}
