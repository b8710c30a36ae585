//! Running jobs at the end of a command. Several commands do it.

use mailsync::error::{Error, Result};
use mailsync::replica::{JobRun, Replica};
use mailsync::text::{beginning, printable};

use super::context::Context;
use super::document::jobs::Run;

/// A line shows at most so many characters of a command from elsewhere.
pub const SHOWN: usize = 60;

/// The jobs that were run, and the error that kept others from being run.
#[derive(Default)]
pub struct JobRuns {
    pub runs: Vec<JobRun>,
    pub error: Option<Error>,
}

impl JobRuns {
    /// Each job and its result.
    pub fn documents(&self) -> Vec<Run> {
        self.runs.iter().map(Run::from).collect()
    }

    /// The jobs, or the error that kept others from being run.
    pub fn result(self) -> Result<Vec<JobRun>> {
        self.error.map_or(Ok(self.runs), Err)
    }
}

/// Runs the queued jobs, and tells the result of each.
pub fn run_jobs(context: &Context, replica: &Replica) -> JobRuns {
    let mut runs = Vec::new();
    let result = replica.run_jobs(|run| {
        let command =
            run.command.as_deref().map_or_else(String::new, |command| format!(" ({})", beginning(command, SHOWN)));
        let (id, from, state) = (run.id.short(), printable(&run.requester), run.state);
        match &run.reason {
            Some(reason) => context.out.say(format_args!("job {id} from {from}{command}: {state}; {reason}")),
            None => context.out.say(format_args!("job {id} from {from}{command}: {state}")),
        }
        runs.push(run.clone());
    });
    context.say_notes(replica);
    JobRuns { runs, error: result.err() }
}
