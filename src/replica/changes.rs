//! Which messages a command changes: what comes to the history of messages in its course, also in a rehearsal.

use std::path::Path;

use super::Replica;
use crate::disk::beginning_of;
use crate::error::Result;
use crate::headline::Headline;
use crate::model::Digest;
use crate::state::{FolderEvents, MessageEvent};

/// So many events are read at a time.
const BATCH: u32 = 256;

/// A point in the history of messages: all that was recorded before a command, or until some step of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(i64);

impl Replica {
    /// The present end of the history of messages.
    pub fn mark(&self) -> Result<Mark> {
        self.state.newest_event().map(Mark)
    }

    /// What became of messages since `mark`, the oldest event first. Also gives the mark behind that.
    ///
    /// # Errors
    /// The state can't be read, or those of `each`, which ends it.
    pub fn each_change_since(&self, mark: Mark, mut each: impl FnMut(MessageEvent) -> Result<()>) -> Result<Mark> {
        let Mark(mut after) = mark;
        loop {
            let batch = self.state.events_after(after, BATCH)?;
            if batch.is_empty() {
                return Ok(Mark(after));
            }
            for (key, event) in batch {
                after = key;
                each(event)?;
            }
        }
    }

    /// How much became of the messages of each folder since `mark`: of at most `most` folders, those with the most of it
    /// first. Also gives how many folders there are.
    pub fn changes_by_folder(&self, mark: Mark, most: u32) -> Result<(Vec<FolderEvents>, u64)> {
        self.state.events_by_folder(mark.0, most)
    }

    /// What a person knows a message by, if its file is here and can be read. In a rehearsal, also if the file is to come by
    /// what is rehearsed.
    pub fn headline(&self, digest: &Digest) -> Result<Option<Headline>> {
        if self.state.is_rehearsing()
            && let Some(beginning) = self.state.seen_beginning(digest)?
        {
            return Ok(Some(Headline::read(&beginning)));
        }
        for source in self.some_sources(digest)? {
            if let Some(found) = self.headline_in(&source) {
                return Ok(Some(found));
            }
        }
        let discarded = self.state.discarded_message(digest)?;
        Ok(discarded.map(|at| self.path(&at)).transpose()?.and_then(|file| self.headline_in(&file)))
    }

    /// The same of the message in this file. It is for people to recognise a mail: what can't be read has none.
    pub fn headline_in(&self, file: &Path) -> Option<Headline> {
        beginning_of(&*self.world.disk, file, Headline::LOOKS_AT).ok().map(|beginning| Headline::read(&beginning))
    }
}
