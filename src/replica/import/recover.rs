//! Contents that are missing, and that are on this machine after all.

use std::path::Path;

use super::contents::IncomingMessages;
use super::landing::Landing;
use crate::error::Result;
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::replica::transaction::Transaction;
use crate::state::{EntryRow, Pending};

impl Replica {
    /// Gives entries that miss their contents those that are on this machine, in the trash for example. Their files
    /// come to their places when the transaction is carried out. Returns how many there are; in a dry run they are
    /// counted. That it has come is told of an entry with its contents. `each` is told of every entry that missed its
    /// contents, and whether they are here; an error says what keeps them from being read.
    pub(in crate::replica) fn recover_missing(
        &self,
        tx: &Transaction<'_>,
        dry_run: DryRun,
        each: &mut dyn FnMut(&EntryRow, Result<bool>) -> Result<()>,
    ) -> Result<u64> {
        let mut incoming = IncomingMessages::new(self, tx, dry_run, Landing::ThroughTmp, 0);
        let (mut after, mut found) = (None, 0);
        loop {
            let batch = self.state.missing_batch(after, 256)?;
            let Some(last) = batch.last() else { break };
            after = Some(last.key);
            for row in batch {
                let source = match self.find_contents(&row.id.digest, Path::new("")) {
                    // A file here may have it, and can't be read.
                    Err(error) if error.is_about_a_place() => {
                        each(&row, Err(error))?;
                        continue;
                    }
                    source => source?,
                };
                let is_here = match source {
                    Some((source, size)) => incoming.settle_from(row.clone(), &source, size)?,
                    None => false,
                };
                each(&row, Ok(is_here))?;
                if is_here {
                    tx.tell_arrival(&row)?;
                    tx.set_pending(row.key, &Pending::Deliver)?;
                    tx.remove_missing(row.key)?;
                    found += 1;
                } else {
                    // It is told when its contents come.
                    tx.withdraw_arrival(&row.id)?;
                    tx.set_place(row.key, None)?;
                }
            }
        }
        incoming.make_durable()?;
        incoming.record_folders()?;
        Ok(found)
    }
}
