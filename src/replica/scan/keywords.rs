//! The letters of folders: which keywords they stand for, and what follows when that has changed.
//!
//! What a file was last seen to mean is the names of its letters by what was known then. So a change of names alone is
//! no change of flags: a file that has the name that it had means what it meant, and gets other letters if it must.
//! Only a letter that had no name before, and has one now, says something new: Dovecot renames the files first, and
//! then writes the names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::discover::Discovery;
use super::pass::Scan;
use crate::error::Result;
use crate::maildir::dotlock::wait_for;
use crate::maildir::keywords::{FILE, LetterSet, Letters};
use crate::maildir::names::{self, NamesSeen};
use crate::model::{Flag, FlagSet};
use crate::state::{By, EntryKey, FolderKey, Place};

/// So long a scan waits for a Dovecot that is about to name letters.
const PATIENCE: Duration = Duration::from_secs(2);

impl Scan<'_> {
    /// Finds out the letters of all folders. A file that hasn't changed isn't read.
    pub(super) fn read_names(&mut self, discovery: &Discovery) -> Result<()> {
        let state = &self.replica.state;
        let has_names = self.replica.config.keywords;
        for (name, dir) in discovery.folders.iter().filter(|_| has_names) {
            // One that there was no room for isn't known, and its mail is left alone.
            let Some(key) = state.find_folder(name) else { continue };
            self.read_names_in(key, dir)?;
        }
        // A folder that is gone has taken its names along.
        for row in state.all_folders() {
            let may_have_names = row.on_disk && has_names;
            if !may_have_names && !row.letters.is_empty() {
                self.letters_are(row.key, Arc::default(), NamesSeen::Unknown)?;
            }
        }
        Ok(())
    }

    fn read_names_in(&mut self, key: FolderKey, dir: &Path) -> Result<()> {
        let disk = &*self.replica.world.disk;
        let row = self.replica.state.folder_row(key)?;
        let read = match names::look(disk, dir) {
            Ok(seen) if seen == row.names => return Ok(()),
            Ok(_) => names::read(disk, dir),
            Err(error) => Err(error),
        };
        let (seen, file) = match read {
            Ok(read) => read,
            Err(error) => {
                // What it said last holds.
                self.problem("reading", dir.join(FILE), &error);
                return Ok(());
            }
        };
        let used =
            if row.letters.is_empty() { LetterSet::default() } else { self.replica.state.letters_in_use(key)? };
        self.letters_are(key, Arc::new(row.letters.read_anew(&file, used)), seen)
    }

    fn letters_are(&mut self, key: FolderKey, letters: Arc<Letters>, seen: NamesSeen) -> Result<()> {
        let before = self.replica.state.letters(key)?;
        if before != letters {
            self.names.before.entry(key).or_insert(before);
        }
        self.tx.set_letters(key, letters, seen)
    }

    /// The flags that a file shows at a place where it was just found.
    pub(super) fn flags_found(&mut self, at: &Place) -> Result<FlagSet> {
        let state = &self.replica.state;
        let letters = state.letters(at.folder)?;
        let nameless = at.keyword_letters().iter().any(|letter| letters.keyword(letter).is_none());
        if nameless && self.replica.config.keywords && self.names.settled.insert(at.folder) {
            let dir = self.replica.dir(&state.folder_row(at.folder)?.name);
            // Dovecot may have renamed the file just now, and be about to write the letter's name.
            if let Err(error) = wait_for(&*self.replica.world.disk, &dir, PATIENCE) {
                self.problem("looking for a lock in", &dir, &error);
            }
            self.read_names_in(at.folder, &dir)?;
        }
        state.flags_at(at)
    }

    /// The flags that a file showed at the place where it was last seen.
    pub(super) fn flags_before(&self, at: &Place) -> Result<FlagSet> {
        match self.names.before.get(&at.folder) {
            Some(letters) => Ok(at.flags(letters)),
            None => self.replica.state.flags_at(at),
        }
    }

    /// Notes that what follows from an entry's file was seen to.
    pub(super) fn followed(&mut self, key: EntryKey, at: &Place) {
        if self.names.before.contains_key(&at.folder) {
            self.names.followed.insert(key);
        }
    }

    /// Follows the changes of names: of files that are where they were, and called as they were.
    pub(super) fn follow_names(&mut self) -> Result<()> {
        let state = &self.replica.state;
        for (folder, before) in std::mem::take(&mut self.names.before) {
            let now = state.letters(folder)?;
            let differing = now.differing(&before).or(now.outdated());
            if differing.is_empty() {
                continue;
            }
            let mut affected = Vec::new();
            state.files_in(folder, |key, sub, name, undelivered| {
                let letters = Place { folder, sub, name: name.to_vec() }.keyword_letters().and(differing);
                if !letters.is_empty() && !self.names.followed.contains(&key) {
                    affected.push((key, if undelivered { LetterSet::default() } else { letters }));
                }
                Ok(())
            })?;
            for (key, letters) in affected {
                self.follow_names_of(key, &before, &now, letters)?;
            }
        }
        Ok(())
    }

    /// What follows for an entry whose file has these letters, of which something else is said than before.
    fn follow_names_of(&mut self, key: EntryKey, before: &Letters, now: &Letters, letters: LetterSet) -> Result<()> {
        let Some(mut row) = self.replica.state.entry(key)? else { return Ok(()) };
        let mut entry = row.entry.clone();
        for letter in letters.iter().filter(|&letter| before.keyword(letter).is_none()) {
            let Some(keyword) = now.keyword(letter) else { continue };
            let flag = Flag::Keyword(keyword.clone());
            if !entry.flags_on().any(|on| *on == flag) {
                entry.set_flag(self.stamp()?, flag, true);
            }
        }
        if entry != row.entry {
            self.report.flagged += 1;
            self.tx.update_entry(&row, &entry)?;
            row.entry = entry;
        }
        self.replica.decide_move(self.tx, &row, &By::Here)
    }
}
