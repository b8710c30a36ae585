//! Messages that are not kept in memory: they are too large for that, or are the attachments of jobs.

use std::io::{self, BufRead};
use std::path::Path;

use super::arriving::{Destination, Goal, Kept, marked, remove_part};
use super::contents::IncomingMessages;
use super::landing::Leftovers;
use super::left_out::{LeftOut, writing_failed};
use super::refusal::{Fault, WRITING};
use crate::bundle;
use crate::disk::{Draft, Durability, copy_message};
use crate::error::{Error, Result};
use crate::message::Checked;
use crate::model::Digest;
use crate::state::Pending;

impl IncomingMessages<'_> {
    /// Stores the attachment of a job, and what is a message as well in that one's places, too.
    pub(super) fn store_attachment<R: BufRead>(
        &mut self,
        message: bundle::Message<'_, '_, R>,
        destination: &Destination<'_>,
    ) -> std::result::Result<(), Fault> {
        let (replica, digest, size) = (self.replica, message.digest(), message.size());
        let mut sink = Checked::new(replica.new_attachment()?);
        if let Some(error) = writing_failed(message.copy_verified(&mut sink), &replica.attachment_path(&digest))? {
            self.leave_out(destination, size, error)?;
            return Ok(self.tx.attachment_is_gone(&digest)?);
        }
        // Of an attachment that is nothing else, every byte counts.
        if sink.leaves_out() && !destination.is_none() {
            return Err(marked(&digest));
        }
        let new = sink.to;
        let file = match self.durability {
            Durability::Now => replica.attachment_path(&new.keep()?.digest),
            Durability::Later => {
                let aside = new.set_aside();
                let path = aside.path();
                self.attachments.push(aside);
                path
            }
        };
        Ok(self.copy_to_others(&digest, size, &file, destination, 0)?)
    }

    /// Writes a message that is too large to be kept in memory.
    pub(super) fn store_large<R: BufRead>(
        &mut self,
        message: bundle::Message<'_, '_, R>,
        destination: &Destination<'_>,
        durability: Durability,
        leftovers: Leftovers,
    ) -> std::result::Result<(), Fault> {
        let (disk, digest, size) = (&*self.replica.world.disk, message.digest(), message.size());
        let Some(Goal { path: first, mtime, like, .. }) = destination.to.first() else {
            return self.hold_large(message, destination);
        };
        let fail = |error: io::Error| Error::io("writing", first, error).advise(WRITING);
        let draft = match leftovers.clear(disk, first).and_then(|()| Draft::create_like(disk, first.clone(), like)) {
            // None of them is written then: they are delivered from what is held.
            Err(error) if leftovers.lets_wait(&error) => {
                let waiting = destination.to.iter().filter(|goal| goal.in_place);
                waiting.into_iter().try_for_each(|goal| self.tx.set_pending(goal.entry, &Pending::Deliver))?;
                return self.hold_large(message, destination);
            }
            draft => draft.map_err(fail)?,
        };
        let mut sink = Checked::new(draft);
        if let Some(error) = writing_failed(message.copy_verified(&mut sink), first)? {
            return Ok(self.leave_out(destination, size, error)?);
        }
        if sink.leaves_out() {
            return Err(marked(&digest));
        }
        sink.to.set_mtime(*mtime).map_err(fail)?;
        if durability == Durability::Now {
            sink.to.sync().map_err(fail)?;
        }
        sink.to.leave();
        Ok(self.copy_to_others(&digest, size, first, destination, 1)?)
    }

    /// Copies a message from one file to all files but the first ones; holds it for those that can't be written, and for
    /// those for which it is held anyway.
    fn copy_to_others(
        &mut self,
        digest: &Digest,
        size: u64,
        file: &Path,
        Destination { to, held, late }: &Destination<'_>,
        first: usize,
    ) -> Result<()> {
        let (disk, leftovers) = (&*self.replica.world.disk, self.landing.leftovers());
        let mut unwritten = Vec::new();
        for goal in &to[first..] {
            let Goal { path, mtime, like, .. } = goal;
            let copied = leftovers
                .clear(disk, path)
                .and_then(|()| copy_message(disk, file, path, *mtime, like, self.durability));
            match copied {
                Err(error) if leftovers.lets_wait(&error) => {
                    remove_part(disk, path)?;
                    unwritten.push(goal);
                }
                copied => copied.map_err(|error| Error::io("writing", path, error).advise(WRITING))?,
            }
        }
        if unwritten.is_empty() && held.is_empty() {
            return Ok(());
        }
        let mut kept = Kept::default();
        kept.instead(&unwritten, held, *late, size, self.replica.held().hold_copy(digest, file).map(drop))?;
        kept.record(&mut self.left_out, self.replica, self.tx)
    }

    /// Holds a message that is too large to be kept in memory, for folders that can't take it yet.
    fn hold_large<R: BufRead>(
        &mut self,
        message: bundle::Message<'_, '_, R>,
        destination: &Destination<'_>,
    ) -> std::result::Result<(), Fault> {
        let (disk, held) = (&*self.replica.world.disk, self.replica.held());
        let (digest, size) = (message.digest(), message.size());
        let part = held.begin(&digest)?;
        let fail = |error: io::Error| Error::io("writing", &part, error).advise(WRITING);
        let mut sink = Checked::new(Draft::create(disk, part.clone()).map_err(fail)?);
        if let Some(error) = writing_failed(message.copy_verified(&mut sink), &part)? {
            return Ok(self.leave_out(destination, size, error)?);
        }
        if sink.leaves_out() {
            return Err(marked(&digest));
        }
        sink.to.sync().map_err(fail)?;
        sink.to.leave();
        Ok(held.keep(&digest, &part)?)
    }

    /// Leaves out a message of this size, if the error tells that it is too large for a file.
    fn leave_out(&mut self, destination: &Destination<'_>, size: u64, error: Error) -> Result<()> {
        let left_out = LeftOut::of(destination.entries(), destination.late, size, error)?;
        self.left_out.record(left_out, self.replica, self.tx)
    }
}
