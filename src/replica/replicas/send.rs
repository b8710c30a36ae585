//! The statements about replicas that a bundle takes along.

use super::shut_out::ShutOuts;
use crate::bundle::{ReplicaLine, ReplicaStatement, SpooledReplicas, WriteError};
use crate::error::{Error, Result};
use crate::model::{Claims, Incarnation, Knowledge, Stamp};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::ReplicaSaying;

impl Replica {
    /// Gathers the statements about replicas that `base` doesn't cover, but for what was said here and taken back, and what
    /// strangers are said to have said by one who is shut out.
    pub(in crate::replica) fn spool_replicas(&self, claims: &Claims, base: &Knowledge) -> Result<SpooledReplicas> {
        let mut spool = SpooledReplicas::default();
        let out = self.shut_outs()?;
        for saying in self.state.replica_sayings()? {
            if saying.is_passed_on() && !base.covers(saying.line.stamp) && !self.is_made_up(&saying, &out)? {
                spool.statement(&saying.line, claims).map_err(|error| spooling(&error))?;
            }
        }
        Ok(spool)
    }

    /// Whether a stranger has revoked somebody, and the one who has brought that was shut out by then: it may have made up both.
    fn is_made_up(&self, saying: &ReplicaSaying, out: &ShutOuts) -> Result<bool> {
        let (ReplicaStatement::Revocation(revocation), Some(carrier)) = (&saying.statement, saying.carrier) else {
            return Ok(false);
        };
        let out = out.get(&self.present_id(&carrier)?);
        Ok(out.is_some_and(|out| out.since <= saying.heard) && !self.is_known(&revocation.by)?)
    }

    /// Gives new stamps to the statements about replicas that this incarnation has stamped.
    pub(in crate::replica) fn restamp_replicas(
        tx: &Transaction<'_>,
        old: Incarnation,
        anew: impl Fn(Stamp) -> Stamp,
    ) -> Result<()> {
        for saying in tx.replica_sayings()? {
            let stamp = anew(saying.line.stamp);
            if saying.line.stamp.incarnation == old && stamp != saying.line.stamp {
                tx.set_replica_saying(&ReplicaSaying { line: ReplicaLine { stamp, ..saying.line }, ..saying })?;
            }
        }
        Ok(())
    }
}

fn spooling(error: &WriteError) -> Error {
    let advice = match error {
        WriteError::Inconsistent { .. } => {
            "nothing is lost, and nobody would have taken it; run `mailsync doctor --repair`, then export again"
        }
        _ => "run `mailsync doctor`, then export again",
    };
    Error::failed(format!("writing what is said about replicas: {error}")).advise(advice)
}
