//! What a replica takes in of the jobs of others: which ones concern it, and how much of one requester's it keeps.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::bundle::{ReplicaId, Report, Request};
use crate::error::Result;
use crate::model::{JobRole, KeptJobs, Party, Quota, Taken, is_taken_in, keeps_input};
use crate::replica::Replica;
use crate::state::{Job, StatementKind};

/// What is kept of each requester's jobs while an import hears of more: counted once, and then kept up to date.
pub(super) struct Intake<'r> {
    replica: &'r Replica,
    quota: Quota,
    /// `None` are all requesters that nobody here knows.
    kept: BTreeMap<Option<ReplicaId>, KeptJobs>,
}

impl Replica {
    /// What another replica is to this one.
    pub(super) fn party(&self, id: &ReplicaId) -> Result<Party> {
        Ok(if self.is_me(id) {
            Party::Me
        } else if self.peer_of(id)?.is_some() {
            Party::Peer
        } else {
            Party::Stranger
        })
    }

    /// Whether this replica has to do with a job, if only by passing it on.
    pub(in crate::replica) fn concerns(&self, requester: &ReplicaId, target: &ReplicaId) -> Result<bool> {
        Ok(is_taken_in(self.party(requester)?, self.party(target)?, self.config.relay_jobs))
    }

    /// What this replica is to a job.
    pub(super) fn role_in(&self, requester: &ReplicaId, target: &ReplicaId) -> JobRole {
        let me = self.public_key().id();
        if *target == me {
            JobRole::Target
        } else if *requester == me {
            JobRole::Requester
        } else {
            JobRole::Relay
        }
    }

    /// Under whose name a requester's jobs are counted and remembered: `None` for all that nobody here knows.
    pub(super) fn holder(&self, requester: &ReplicaId) -> Result<Option<ReplicaId>> {
        Ok((self.party(requester)? != Party::Stranger).then_some(*requester))
    }

    /// Whether so many bytes of output of a job that was run here are kept beside the others of its requester.
    pub(super) fn has_room_for_output(&self, job: &Job, bytes: u64) -> Result<bool> {
        let kept = self.state.kept_jobs(self.holder(&job.requester)?.as_ref(), &self.public_key().id())?;
        Ok(self.config.job_quota().keeps_output(&kept, bytes))
    }
}

impl<'r> Intake<'r> {
    pub(super) fn new(replica: &'r Replica) -> Self {
        Self { replica, quota: replica.config.job_quota(), kept: BTreeMap::new() }
    }

    /// How much of a new job is taken in; that counts from now on.
    pub(super) fn take_request(&mut self, request: &Request, role: JobRole) -> Result<Taken> {
        if role == JobRole::Requester {
            return Ok(Taken::Whole);
        }
        let quota = self.quota;
        let kept = self.kept(&request.requester)?;
        let taken = quota.takes(kept, request.body.bytes, role);
        if taken != Taken::No {
            kept.jobs += 1;
            kept.open += 1;
            kept.input += if taken == Taken::Whole { request.body.bytes } else { 0 };
        }
        Ok(taken)
    }

    /// Whether the result is kept that a report names; the report counts from now on. `job` is as it was before.
    pub(super) fn record_report(&mut self, job: &Job, report: &Report) -> Result<bool> {
        let role = self.replica.role_in(&job.requester, &job.target);
        if role == JobRole::Requester {
            return Ok(true);
        }
        let body = self.replica.request_of(job)?.1.body;
        let had_input = self.replica.state.is_attachment_here(job.key, StatementKind::Request, &body.digest)?.is_some();
        let quota = self.quota;
        let kept = self.kept(&job.requester)?;
        if report.state.is_final() && !job.state.is_final() {
            kept.open = kept.open.saturating_sub(1);
        }
        if had_input && !keeps_input(role, report.state) {
            kept.input = kept.input.saturating_sub(body.bytes);
        }
        let output = report.result.map_or(0, |result| result.bytes);
        let keeps = quota.keeps_output(kept, output);
        // The result of an earlier report goes, and is counted until the end of the import all the same.
        kept.output += if keeps { output } else { 0 };
        Ok(keeps)
    }

    fn kept(&mut self, requester: &ReplicaId) -> Result<&mut KeptJobs> {
        let holder = self.replica.holder(requester)?;
        Ok(match self.kept.entry(holder) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let me = self.replica.public_key().id();
                unknown.insert(self.replica.state.kept_jobs(holder.as_ref(), &me)?)
            }
        })
    }
}
