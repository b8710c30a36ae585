//! Jobs: how they stand, and which of the statements about one counts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A job's state, as its target reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It is to be run. In a report: a person has decided that it is to be run again.
    Queued,
    /// Its program is about to be started, or runs.
    Running,
    /// Nobody knows how its program ended. It may have run.
    Interrupted,
    /// Its requester cancelled it before it was started.
    Cancelled,
    /// The target's rules don't permit it.
    Rejected,
    /// Its program has ended with status 0.
    Done,
    /// Its program has ended with another status or by a signal, was ended at the timeout, or could not be started.
    Failed,
}

impl JobState {
    /// Whether nothing more happens to the job unless a person wants it to.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it ended, and not as whoever asked for it wanted.
    pub fn went_wrong(self) -> bool {
        matches!(self, Self::Failed | Self::Rejected | Self::Interrupted)
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

/// The rank of a report among all reports of the target on one job. The greatest counts, so all replicas agree in the
/// end, even if reports come late, twice or in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportRank {
    /// The attempt to run the job, from 1.
    pub attempt: u32,
    /// The state. Within an attempt a final state is greater than one that is not. A target that was put back to an
    /// earlier state may report two final states; the one that tells more is the greater.
    pub state: JobState,
    /// When the target said so: milliseconds since 1970 UTC.
    pub at: u64,
}

/// A statement about a job that has just come, and the knowledge that decides whether it counts. Its signature was
/// checked. A cancel or a report is about a job that is recorded.
#[derive(Clone, Copy, Debug)]
pub enum Hearing<'a> {
    /// A request, which makes a job known.
    Request {
        /// This replica's memory of the job.
        memory: Memory,
        /// What this replica is to it.
        role: JobRole,
    },
    /// A cancel.
    Cancel {
        /// Who has signed it.
        signer: Signer,
        /// Whether a cancel of the job is known already.
        known: bool,
    },
    /// A report.
    Report {
        /// Who has signed it.
        signer: Signer,
        /// The report that has counted until now.
        known: Option<Ranked<'a>>,
        /// The one that has come.
        new: Ranked<'a>,
    },
}

/// A replica's memory of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The job is recorded.
    Recorded,
    /// It was this replica's and was forgotten, as far as can be told: its id is remembered, or it is as old as jobs of
    /// which not even that is.
    Forgotten,
    /// The job isn't recorded, but the replica's knowledge covers the request: it was told of the job once.
    Covered,
    /// The job is not recorded, and the replica is told of it for the first time.
    New,
}

/// A replica's part in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRole {
    /// It is to run the job.
    Target,
    /// It wants it.
    Requester,
    /// It passes it on.
    Relay,
}

/// Who has signed a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The replica that may make such a statement: the requester for a cancel, the target for a report.
    Entitled,
    /// Any other.
    Other,
}

/// A report, reduced to what decides which of two counts: the rank and, if the ranks are equal, the signed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranked<'a> {
    /// Its rank.
    pub rank: ReportRank,
    /// The signed text.
    pub signed: &'a str,
}

/// The decision about a statement that has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The new statement counts.
    New,
    /// The statement is known already. Only the later of the two stamps counts.
    Same,
    /// The known statement counts. The new one is ignored.
    Known,
    /// The signer may not make this statement.
    NoSay,
}

/// Decides which of two statements of one kind about one job counts: the known one or the new one. The order in which
/// they come makes no difference.
pub fn which_counts(hearing: Hearing<'_>) -> Ruling {
    match hearing {
        Hearing::Request { memory, role } => match (memory, role) {
            (Memory::Recorded, _) => Ruling::Same,
            // A forgotten job must not come back as new. The target also needs its own record of it, since knowledge
            // alone doesn't show that it ran the job, and a job that it has not run must not get lost.
            (Memory::Forgotten, _) | (Memory::Covered, JobRole::Requester | JobRole::Relay) => Ruling::Known,
            (Memory::Covered, JobRole::Target) | (Memory::New, _) => Ruling::New,
        },
        Hearing::Cancel { signer: Signer::Other, .. } | Hearing::Report { signer: Signer::Other, .. } => Ruling::NoSay,
        Hearing::Cancel { known: true, .. } => Ruling::Same,
        Hearing::Report { known: Some(known), new, .. } if known.signed == new.signed => Ruling::Same,
        Hearing::Report { known: Some(known), new, .. } if known > new => Ruling::Known,
        Hearing::Cancel { known: false, .. } | Hearing::Report { .. } => Ruling::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_makes_a_job_known_unless_it_was_known_before() {
        for (memory, for_the_target, for_others) in [
            (Memory::New, Ruling::New, Ruling::New),
            (Memory::Recorded, Ruling::Same, Ruling::Same),
            (Memory::Forgotten, Ruling::Known, Ruling::Known),
            (Memory::Covered, Ruling::New, Ruling::Known),
        ] {
            assert_eq!(which_counts(Hearing::Request { memory, role: JobRole::Target }), for_the_target, "{memory:?}");
            for role in [JobRole::Requester, JobRole::Relay] {
                assert_eq!(which_counts(Hearing::Request { memory, role }), for_others, "{memory:?}");
            }
        }
    }

    #[test]
    fn only_the_first_cancel_by_the_requester_counts() {
        for (signer, known, counts) in [
            (Signer::Entitled, false, Ruling::New),
            (Signer::Entitled, true, Ruling::Same),
            (Signer::Other, false, Ruling::NoSay),
            (Signer::Other, true, Ruling::NoSay),
        ] {
            assert_eq!(which_counts(Hearing::Cancel { signer, known }), counts, "{signer:?}, {known}");
        }
    }

    #[test]
    fn of_two_reports_by_the_target_the_greater_counts_whichever_comes_first() {
        let report = |attempt, state, at, signed| Ranked { rank: ReportRank { attempt, state, at }, signed };
        let running = report(1, JobState::Running, 5, "r");
        let done = report(1, JobState::Done, 7, "d");
        let done_later = report(1, JobState::Done, 8, "a");
        let again = report(2, JobState::Queued, 6, "q");
        let other_words = report(1, JobState::Done, 7, "e");
        for (known, new, counts) in [
            (None, running, Ruling::New),
            (Some(running), done, Ruling::New),
            (Some(done), running, Ruling::Known),
            (Some(done), done, Ruling::Same),
            (Some(done), done_later, Ruling::New),
            (Some(done_later), done, Ruling::Known),
            (Some(done_later), again, Ruling::New),
            (Some(again), done_later, Ruling::Known),
            (Some(done), other_words, Ruling::New),
            (Some(other_words), done, Ruling::Known),
        ] {
            assert_eq!(
                which_counts(Hearing::Report { signer: Signer::Entitled, known, new }),
                counts,
                "{known:?} {new:?}"
            );
            assert_eq!(which_counts(Hearing::Report { signer: Signer::Other, known, new }), Ruling::NoSay);
        }
    }

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
