//! Forgetting a job before a purge would, by a person's decision.

use crate::bundle::JobId;
use crate::error::{Error, Result};
use crate::model::{Forgettable, JobRole, Knowledge, NotForgotten, Stamp, may_forget};
use crate::replica::Replica;
use crate::replica::transaction::{Remember, Transaction};
use crate::state::{Action, Job, StatementKind};

impl Replica {
    /// Forgets jobs: all that is known of them, their inputs and their outputs. They are not passed on any more. None
    /// of them comes back, whatever bundle brings it: one that this replica asks for or runs is remembered by its id,
    /// and one that it passes on by its stamp. Of several all are forgotten or none.
    ///
    /// # Errors
    /// There is no such job, or it waits to be run or runs, by this replica or for it: that is to be settled first.
    pub fn forget_jobs(&self, digits: &[String]) -> Result<Vec<JobId>> {
        let tx = self.begin()?;
        let mut forgotten = Vec::new();
        for digits in digits {
            let job = self.find_job(digits)?;
            self.check_forgettable(&job)?;
            if !self.is_told_of(&job)? {
                self.note(format!(
                    "not every peer has shown that it knows how job {} ended, and none hears it from here any more",
                    job.id.short()
                ));
            }
            self.forget(&tx, &job)?;
            tx.record(self.now(), Action::JobsForget, None, &job.id.to_string())?;
            forgotten.push(job.id);
        }
        tx.commit()?;
        Ok(forgotten)
    }

    /// Forgets all of a job but what keeps it from being taken for new.
    pub(in crate::replica) fn forget(&self, tx: &Transaction<'_>, job: &Job) -> Result<()> {
        let remember = match self.role_in(&job.requester, &job.target) {
            JobRole::Relay => Remember::Nothing,
            JobRole::Target | JobRole::Requester => Remember::Id(self.holder(&job.requester)?),
        };
        tx.forget(job, remember)
    }

    fn check_forgettable(&self, job: &Job) -> Result<()> {
        let cancel = self.state.statement(job.key, StatementKind::Cancel)?;
        let case = Forgettable {
            role: self.role_in(&job.requester, &job.target),
            state: job.state,
            cancelled: cancel.is_some(),
            cancel_known: match &cancel {
                Some(cancel) => self.is_known_where_sent(self.request_of(job)?.0.stamp, cancel.stamp)?,
                None => false,
            },
            target_known: self.state.peer_by_id(&job.target)?.is_some(),
        };
        let id = job.id.short();
        let Err(why) = may_forget(case) else { return Ok(()) };
        Err(match why {
            NotForgotten::Queued => Error::failed(format!("forgetting job {id}: it is queued"))
                .advise(format!("take it back first with `mailsync jobs cancel {id}`, so that the other side hears of it")),
            NotForgotten::Running => Error::failed(format!("forgetting job {id}: it is running"))
                .advise("wait for its end, which the other side is to hear of; if its target is gone for good, remove that with `mailsync peer remove` first"),
            NotForgotten::CancelUnknown => Error::failed(format!(
                "forgetting job {id}: not every peer to which it was sent has shown that it knows that the job is cancelled, and it \
                 may still be run"
            ))
            .advise("exchange bundles with them first, or remove with `mailsync peer remove` those that are gone for good"),
        })
    }

    /// Whether each peer that may have the first statement has shown that it knows the second.
    fn is_known_where_sent(&self, first: Stamp, second: Stamp) -> Result<bool> {
        let known = |sent: Option<&Knowledge>, shown: Option<&Knowledge>| {
            let covers = |known: Option<&Knowledge>, stamp| known.is_some_and(|known| known.covers(stamp));
            covers(shown, second) || !(covers(sent, first) || covers(shown, first))
        };
        let peers = self.neighbours()?;
        let invited = self.state.invitations()?;
        Ok(peers.iter().all(|peer| known(peer.sent.as_ref(), peer.standing.shown.as_ref()))
            && invited.iter().all(|invited| known(Some(&invited.sent), Some(&invited.shown))))
    }

    /// Whether every peer has shown that it knows all that is said about a job.
    fn is_told_of(&self, job: &Job) -> Result<bool> {
        let shown = self.shown_by_all()?;
        let stamps = self.state.statement_stamps(job.key)?;
        Ok(stamps.iter().all(|stamp| shown.iter().all(|shown| shown.covers(*stamp))))
    }
}
