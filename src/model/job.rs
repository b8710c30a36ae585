//! Jobs: how what their targets say of them is ordered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a job stands, as its target says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It is to be run: again, by a person's decision.
    Queued,
    /// Its program is about to be started, or runs.
    Running,
    /// What became of its program is unknown: it may have run.
    Interrupted,
    /// It was taken back before it was started.
    Cancelled,
    /// The target's rules don't permit it.
    Rejected,
    /// Its program has ended with status 0.
    Done,
    /// Its program has ended otherwise, was ended at the timeout, or could not be started.
    Failed,
}

impl JobState {
    /// Whether nothing more happens to the job unless a person wants it to.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// By what a target's reports on one job are ordered: the greatest counts. So reports that come late, twice or in another
/// order end the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportRank {
    /// The attempt to run the job, from 1.
    pub attempt: u32,
    /// What is last within an attempt is final; of two final ones (a target that was put back to an earlier state makes
    /// them) that one which tells more.
    pub state: JobState,
    /// When the target said so: milliseconds since 1970 UTC.
    pub at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_by_its_attempt_and_then_by_how_far_it_tells() {
        let rank = |attempt, state, at| ReportRank { attempt, state, at };
        let told = [
            rank(1, JobState::Running, 9),
            rank(1, JobState::Interrupted, 5),
            rank(1, JobState::Cancelled, 4),
            rank(1, JobState::Done, 3),
            rank(2, JobState::Queued, 1),
            rank(2, JobState::Running, 1),
            rank(2, JobState::Done, 1),
            rank(2, JobState::Done, 2),
        ];
        assert!(told.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn only_what_waits_or_runs_is_not_final() {
        use JobState::{Cancelled, Done, Failed, Interrupted, Queued, Rejected, Running};
        assert!([Done, Failed, Rejected, Interrupted, Cancelled].into_iter().all(JobState::is_final));
        assert!(![Queued, Running].into_iter().any(JobState::is_final));
        assert_eq!(serde_json::to_string(&Done).unwrap(), "\"done\"");
    }
}
