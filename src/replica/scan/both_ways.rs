//! A message that came by both ways: an import has brought it, and then the machine's own mbsync fetches it from the
//! account, too. Each taken for itself, mbsync would upload the one and mailsync pass on the other, and every exchange
//! would add a copy.

use std::io;

use super::copies::Copies;
use super::pass::Scan;
use crate::disk::{Hashed, is_absent};
use crate::error::{Error, Result};
use crate::state::{By, EntryRow, FolderKey, Place};

impl Scan<'_> {
    /// Whether a found file is a synchroniser's copy of a message that lies in the same folder already, in a file that
    /// an import has made. Then it is the file of that entry from here on. The import's file, which the synchroniser
    /// takes for another message, goes to the trash.
    pub(super) fn came_by_both_ways(&mut self, at: &Place, hashed: &Hashed, copies: &mut Copies) -> Result<bool> {
        if !hashed.marked {
            return Ok(false);
        }
        let replica = self.replica;
        while let Some(key) = copies.imports.take_in(at.folder) {
            let Some(row) = replica.state.entry(key)? else { continue };
            let Some(before) = row.at.clone().filter(|before| before.folder == at.folder) else { continue };
            if !row.entry.alive()
                || replica.state.pending(row.key)?.is_some()
                || !self.is_of_an_import(&row, &before)?
            {
                continue;
            }
            let id = &row.id;
            self.tx.add_discard(id, &row.entry, &before, &By::Here)?;
            self.tx.set_place(row.key, None)?;
            replica.note(format!(
                "message {} in {} came from a peer before mbsync fetched it: the peer's copy is in the trash, and mbsync's \
                 stays; let mbsync run before bundles are exchanged",
                id.digest,
                self.name(at.folder)?
            ));
            self.adopt(EntryRow { at: None, ..row }, at.clone())?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether an entry's file, which has a name of ours, is as an import has made it: without a synchroniser's mark.
    fn is_of_an_import(&self, row: &EntryRow, at: &Place) -> Result<bool> {
        if !self.is_named_by_import(at) {
            return Ok(false);
        }
        let path = self.replica.path(at)?;
        match self.replica.world.disk.metadata(&path) {
            Ok(meta) => Ok(meta.size == row.entry.size),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(unseen(&path, error)),
        }
    }

    fn name(&self, folder: FolderKey) -> Result<String> {
        Ok(self.replica.state.folder_row(folder)?.name.to_string())
    }
}

fn unseen(path: &std::path::Path, error: io::Error) -> Error {
    Error::io("looking at", path, error).advise("see why, then run this again")
}
