//! The documents about jobs.

use mailsync::model::JobState;
use mailsync::replica::{JobResult, JobRun, JobStanding};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::Time;

/// How a job stands.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The requester's name here.
    pub requester: String,
    /// The target's name here.
    pub target: String,
    /// When it was asked for.
    pub made: Time,
    /// The command and its arguments; null if this replica is neither the requester nor the target.
    pub command: Option<Vec<String>>,
    /// Its state, as far as is known here.
    pub state: State,
    /// Whether the requester has cancelled it and the target has yet to confirm that.
    pub cancelled: bool,
    /// The peers to which it was sent, if the target has not reported yet.
    pub sent_to: Vec<String>,
    /// The exit status of its program.
    pub status: Option<i32>,
    /// The number of the last attempt.
    pub attempt: Option<u32>,
    /// The id of the job that it repeats.
    pub repeats: Option<String>,
    /// When the target last said something about it.
    pub reported: Time,
}

impl From<&JobStanding> for Job {
    fn from(standing: &JobStanding) -> Self {
        Self {
            id: standing.id.to_string(),
            requester: standing.requester.clone(),
            target: standing.target.clone(),
            made: Time::of(standing.made),
            command: standing.command.clone(),
            state: standing.state.into(),
            cancelled: standing.cancel_waits,
            sent_to: standing.sent_to.clone(),
            status: standing.status,
            attempt: standing.attempt,
            repeats: standing.repeats.map(|id| id.to_string()),
            reported: Time::of(standing.reported),
        }
    }
}

/// The state of a job.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum State {
    /// It waits.
    Queued,
    /// Its program runs.
    Running,
    /// Its program has ended with 0.
    Done,
    /// Its program has ended otherwise, or could not be run.
    Failed,
    /// Its target doesn't allow it.
    Rejected,
    /// Nobody knows whether it ran.
    Interrupted,
    /// Its requester has cancelled it before it ran.
    Cancelled,
}

impl From<JobState> for State {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Running => Self::Running,
            JobState::Done => Self::Done,
            JobState::Failed => Self::Failed,
            JobState::Rejected => Self::Rejected,
            JobState::Interrupted => Self::Interrupted,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

/// A job that was looked at to run it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The requester's name here.
    pub requester: String,
    /// The name of the command; null if it could not be read.
    pub command: Option<String>,
    /// Its state after that.
    pub state: State,
    /// Why it isn't done; null if it is.
    pub reason: Option<String>,
}

impl From<&JobRun> for Run {
    fn from(run: &JobRun) -> Self {
        Self {
            id: run.id.to_string(),
            requester: run.requester.clone(),
            command: run.command.clone(),
            state: run.state.into(),
            reason: run.reason.clone(),
        }
    }
}

/// The result of a job.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct JobEnd {
    /// Why it isn't done; null if it is.
    pub reason: Option<String>,
    /// When its program was started.
    pub started: Time,
    /// When its program has ended.
    pub ended: Time,
    /// What the program has written to standard output. Bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Whether that is only its beginning.
    pub stdout_cut: bool,
    /// What the program has written to standard error. Bytes that are no UTF-8 are replaced.
    pub stderr: String,
    /// Whether that is only its beginning.
    pub stderr_cut: bool,
}

impl From<&JobResult> for JobEnd {
    fn from(result: &JobResult) -> Self {
        Self {
            reason: result.told.reason.clone(),
            started: Time::of(result.told.started),
            ended: Time::of(result.told.ended),
            stdout: String::from_utf8_lossy(&result.stdout).into_owned(),
            stdout_cut: result.told.stdout_cut,
            stderr: String::from_utf8_lossy(&result.stderr).into_owned(),
            stderr_cut: result.told.stderr_cut,
        }
    }
}

/// `mailsync uux`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Requested {
    /// The id of the job.
    pub id: String,
}

/// `mailsync jobs list`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Jobs {
    /// The jobs.
    pub jobs: Vec<Job>,
}

/// `mailsync jobs show`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Shown {
    /// The job.
    pub job: JobWithResult,
}

/// A job, with its result.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct JobWithResult {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// Its result; null if there is none, or if this replica is neither the requester nor the target.
    pub result: Option<JobEnd>,
}

/// `mailsync jobs run` and `mailsync jobs retry`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Runs {
    /// The jobs that were looked at, in their order.
    pub jobs: Vec<Run>,
}

/// `mailsync jobs cancel`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Cancelled {
    /// The job.
    pub job: Job,
}

/// `mailsync jobs forget`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Forgotten {
    /// The ids of the jobs that are forgotten.
    pub forgotten: Vec<String>,
}
