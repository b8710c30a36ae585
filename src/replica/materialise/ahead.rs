//! The pending work of all entries. Most of it is one rename for each message that has come: other threads do these
//! while this one reads from the state what comes next.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;

use super::files::delivering;
use super::work::DiskWork;
use crate::disk::Disk;
use crate::error::{Result, Scope};
use crate::pool;
use crate::replica::Replica;
use crate::state::{EntryRow, Hindered, Pending};

/// This many pending entries are read from the state at a time.
const BATCH: u32 = 512;
/// How many batches may be under way.
const AHEAD: u64 = 3;

/// Pending work for an entry's file.
struct Planned {
    row: EntryRow,
    pending: Pending,
    /// The rename that is all of it, if nothing is in its way.
    rename: Option<(PathBuf, PathBuf)>,
    /// What came of it, if it was tried.
    tried: Option<io::Result<()>>,
}

impl Replica {
    /// Does the pending work of all entries, in their order, but for the renames that need nothing else to be looked at:
    /// these may come earlier. No two entries have one place, so none is in the way of another.
    pub(super) fn carry_out_all(&self, progress: &mut DiskWork) -> Result<()> {
        let disk = &*self.world.disk;
        let progress = RefCell::new(progress);
        let mut after = None;
        let next = || {
            let batch = self.state.pending_batch(after, BATCH)?;
            after = batch.last().map(|(last, _)| last.key);
            let plan = |(row, pending)| self.plan(row, pending, &mut progress.borrow_mut());
            let batch = batch.into_iter().map(plan).collect::<Result<Vec<_>>>()?;
            Ok((!batch.is_empty()).then_some(batch))
        };
        let carry_out = |batch: Vec<Planned>| {
            let progress = &mut **progress.borrow_mut();
            batch.into_iter().try_for_each(|planned| self.complete(planned, progress))
        };
        pool::in_order(AHEAD, next, |batch| rename_each(disk, batch), carry_out)
    }

    fn plan(&self, row: EntryRow, pending: Pending, progress: &mut DiskWork) -> Result<Planned> {
        let rename = match (&row.at, &pending) {
            // A folder that can't be made is told of with the work itself.
            (Some(at), Pending::Deliver) if self.ensure_folder(at.folder, progress).is_ok() => {
                Some((self.tmp_path(at)?, self.path(at)?))
            }
            _ => None,
        };
        Ok(Planned { row, pending, rename, tried: None })
    }

    fn complete(&self, planned: Planned, progress: &mut DiskWork) -> Result<()> {
        let Planned { row, pending, rename, tried } = planned;
        let done = match (rename, tried) {
            (Some((from, to)), Some(Ok(()))) => {
                progress.mail_came_or_went = true;
                progress.touched.note(&from);
                progress.touched.note(&to);
                Ok(())
            }
            (Some((_, to)), Some(Err(error))) if Scope::of(&error) == Scope::Disk => Err(delivering(&to, &error)),
            _ => self.carry_out(&row, &pending, progress),
        };
        done.or_else(|error| progress.fail(&self.state, Hindered::Entry(row.key), &error))
    }
}

/// Does the renames that nothing is in the way of. What is in the way of others is found out when they are done again, in
/// their order; after a failure of the disk itself no more are tried here.
fn rename_each(disk: &dyn Disk, mut batch: Vec<Planned>) -> Vec<Planned> {
    for planned in &mut batch {
        let Some((from, to)) = &planned.rename else { continue };
        let tried = disk.rename(from, to);
        let stops = tried.as_ref().is_err_and(|error| Scope::of(error) == Scope::Disk);
        planned.tried = Some(tried);
        if stops {
            break;
        }
    }
    batch
}
