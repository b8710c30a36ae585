//! Which jobs a replica takes in, how much of one requester's it keeps, and which ones a person may have it forget.

use serde::{Deserialize, Serialize};

use super::{JobRole, JobState};

/// What a replica is to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// This one itself.
    Me,
    /// A peer, neighbour or distant.
    Peer,
    /// Nobody here knows it.
    Stranger,
}

/// Whose jobs a replica passes on that neither asks for them nor is to run them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayJobs {
    /// Those of which it knows both requester and target.
    #[default]
    Peers,
    /// Anybody's.
    Any,
}

/// Whether a replica takes in a job: one of its own, or one that it passes on.
pub fn is_taken_in(requester: Party, target: Party, relay: RelayJobs) -> bool {
    relay == RelayJobs::Any
        || requester == Party::Me
        || target == Party::Me
        || (requester == Party::Peer && target == Party::Peer)
}

/// How much of one requester's jobs a replica keeps. All requesters that nobody here knows share one quota; this
/// replica's own jobs have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many of its jobs may be open: queued or running.
    pub open: u64,
    /// How many bytes of input its jobs may have here, or be waiting for.
    pub input: u64,
    /// How many bytes of output its jobs may have here, or be waiting for.
    pub output: u64,
}

impl Quota {
    /// Enough for a machine that sends all its mail through another one and is offline for months.
    pub const DEFAULT: Self = Self { open: 10_000, input: 4 << 30, output: 1 << 30 };

    /// For each open job so many may be kept in all: finished ones stay until every peer has heard of them.
    pub const KEPT_PER_OPEN: u64 = 10;

    /// How much of a new job is taken in beside what is `kept` of its requester. `input` is the size of its input in
    /// bytes.
    pub fn takes(&self, kept: &KeptJobs, input: u64, role: JobRole) -> Taken {
        let room = kept.open < self.open && kept.input.saturating_add(input) <= self.input;
        if kept.jobs >= self.open.saturating_mul(Self::KEPT_PER_OPEN) {
            Taken::No
        } else if room {
            Taken::Whole
        } else if role == JobRole::Target {
            Taken::WithoutInput
        } else {
            Taken::No
        }
    }

    /// Whether so many bytes of output are kept beside what is `kept` of the job's requester.
    pub fn keeps_output(&self, kept: &KeptJobs, output: u64) -> bool {
        kept.output.saturating_add(output) <= self.output
    }
}

/// What is kept of a requester's jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptJobs {
    /// How many there are.
    pub jobs: u64,
    /// How many of them are open.
    pub open: u64,
    /// The bytes of their inputs.
    pub input: u64,
    /// The bytes of their outputs.
    pub output: u64,
}

/// How much of a job is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All of it.
    Whole,
    /// The request alone, so that the requester can be told that it is rejected.
    WithoutInput,
    /// Nothing.
    No,
}

/// Whether a replica keeps the input of a job that stands so. One that went wrong can be tried again: the target runs
/// it once more, or the requester asks anew.
pub fn keeps_input(role: JobRole, state: JobState) -> bool {
    let again = matches!(state, JobState::Failed | JobState::Interrupted | JobState::Rejected);
    !state.is_final() || (again && role != JobRole::Relay)
}

/// A target remembers the ids of so many of one requester's jobs that it has forgotten otherwise. Of older ones it
/// remembers only when the latest of them was asked for.
pub const MOST_FORGOTTEN: u64 = 10_000;

/// How a job stands that a person wants to have forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Forgettable {
    /// What this replica is to it.
    pub role: JobRole,
    /// How it stands.
    pub state: JobState,
    /// Whether its requester has cancelled it.
    pub cancelled: bool,
    /// Whether every peer that may have the request has shown that it knows of that.
    pub cancel_known: bool,
    /// Whether its target is a peer, from which its end may yet be heard.
    pub target_known: bool,
}

/// Why a job can't be forgotten yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForgotten {
    /// It waits to be run.
    Queued,
    /// It runs.
    Running,
    /// It was cancelled, and would be run where that isn't known.
    CancelUnknown,
}

/// Whether a job may be forgotten, whatever others know of it.
///
/// # Errors
/// Why it may not: forgetting it would have it run, or never run, without anybody being told.
pub fn may_forget(job: Forgettable) -> Result<(), NotForgotten> {
    match (job.role, job.state) {
        (JobRole::Relay, _) => Ok(()),
        (_, state) if state.is_final() => Ok(()),
        (JobRole::Requester, _) if job.cancelled && job.cancel_known => Ok(()),
        (JobRole::Requester, _) if job.cancelled => Err(NotForgotten::CancelUnknown),
        // It was begun: no second target begins it, and nobody who is known will say how it ends.
        (JobRole::Requester, JobState::Running) if !job.target_known => Ok(()),
        (_, JobState::Running) => Err(NotForgotten::Running),
        _ => Err(NotForgotten::Queued),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_taken_in_by_those_whom_it_concerns_and_by_those_who_know_both_of_them() {
        use Party::{Me, Peer, Stranger};
        for (requester, target, by_peers, by_any) in [
            (Me, Peer, true, true),
            (Me, Stranger, true, true),
            (Peer, Me, true, true),
            (Stranger, Me, true, true),
            (Peer, Peer, true, true),
            (Peer, Stranger, false, true),
            (Stranger, Peer, false, true),
            (Stranger, Stranger, false, true),
        ] {
            assert_eq!(is_taken_in(requester, target, RelayJobs::Peers), by_peers, "{requester:?} asks {target:?}");
            assert_eq!(is_taken_in(requester, target, RelayJobs::Any), by_any, "{requester:?} asks {target:?}");
        }
    }

    #[test]
    fn a_requester_gets_its_quota_and_a_target_tells_who_asks_for_more() {
        use JobRole::{Relay, Target};
        let quota = Quota { open: 2, input: 100, output: 10 };
        let kept = |jobs, open, input| KeptJobs { jobs, open, input, output: 0 };
        for (kept, input, to_target, to_relay) in [
            (kept(0, 0, 0), 100, Taken::Whole, Taken::Whole),
            (kept(0, 0, 0), 101, Taken::WithoutInput, Taken::No),
            (kept(0, 0, 1), 100, Taken::WithoutInput, Taken::No),
            (kept(0, 0, 1), u64::MAX, Taken::WithoutInput, Taken::No),
            (kept(1, 1, 0), 1, Taken::Whole, Taken::Whole),
            (kept(2, 2, 0), 1, Taken::WithoutInput, Taken::No),
            (kept(19, 1, 0), 1, Taken::Whole, Taken::Whole),
            (kept(19, 2, 0), 1, Taken::WithoutInput, Taken::No),
            (kept(20, 0, 0), 1, Taken::No, Taken::No),
        ] {
            assert_eq!(quota.takes(&kept, input, Target), to_target, "{kept:?} and {input} bytes");
            assert_eq!(quota.takes(&kept, input, Relay), to_relay, "{kept:?} and {input} bytes");
        }
        let full = KeptJobs { output: 8, ..KeptJobs::default() };
        assert!(quota.keeps_output(&full, 2) && !quota.keeps_output(&full, 3) && !quota.keeps_output(&full, u64::MAX));
    }

    #[test]
    fn input_is_kept_as_long_as_it_may_be_run() {
        use JobRole::{Relay, Requester, Target};
        use JobState::{Cancelled, Done, Failed, Interrupted, Queued, Rejected, Running};
        for (state, by_those_concerned, by_relays) in [
            (Queued, true, true),
            (Running, true, true),
            (Failed, true, false),
            (Interrupted, true, false),
            (Rejected, true, false),
            (Done, false, false),
            (Cancelled, false, false),
        ] {
            assert_eq!(keeps_input(Target, state), by_those_concerned, "{state}");
            assert_eq!(keeps_input(Requester, state), by_those_concerned, "{state}");
            assert_eq!(keeps_input(Relay, state), by_relays, "{state}");
        }
    }

    #[test]
    fn what_waits_to_be_run_is_not_forgotten_by_those_whom_it_concerns() {
        use JobRole::{Relay, Requester, Target};
        use JobState::{Cancelled, Done, Failed, Interrupted, Queued, Rejected, Running};
        let case = |role, state, cancelled, cancel_known| {
            may_forget(Forgettable { role, state, cancelled, cancel_known, target_known: true })
        };
        for state in [Done, Failed, Rejected, Interrupted, Cancelled] {
            for role in [Target, Requester, Relay] {
                assert_eq!(case(role, state, false, false), Ok(()), "{role:?}, {state}");
                assert_eq!(case(role, state, true, false), Ok(()), "{role:?}, {state}");
            }
        }
        for (role, state, cancelled, known, answer) in [
            (Relay, Queued, false, false, Ok(())),
            (Relay, Running, false, false, Ok(())),
            (Target, Queued, false, false, Err(NotForgotten::Queued)),
            (Target, Queued, true, true, Err(NotForgotten::Queued)),
            (Target, Running, true, true, Err(NotForgotten::Running)),
            (Requester, Queued, false, false, Err(NotForgotten::Queued)),
            (Requester, Running, false, false, Err(NotForgotten::Running)),
            (Requester, Queued, true, false, Err(NotForgotten::CancelUnknown)),
            (Requester, Queued, true, true, Ok(())),
            (Requester, Running, true, true, Ok(())),
        ] {
            assert_eq!(case(role, state, cancelled, known), answer, "{role:?}, {state}, {cancelled}, {known}");
        }
    }

    #[test]
    fn what_runs_on_a_machine_that_is_no_peer_any_more_may_be_forgotten() {
        let case = |role, state| {
            may_forget(Forgettable { role, state, cancelled: false, cancel_known: false, target_known: false })
        };
        assert_eq!(case(JobRole::Requester, JobState::Running), Ok(()));
        // This one may have the request, and be a peer of a peer.
        assert_eq!(case(JobRole::Requester, JobState::Queued), Err(NotForgotten::Queued));
        assert_eq!(case(JobRole::Target, JobState::Running), Err(NotForgotten::Running));
    }
}
