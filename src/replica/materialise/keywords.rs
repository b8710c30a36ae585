//! Letters for keywords: before files are renamed, their folders say which letter stands for which keyword.
//!
//! A keyword that has no letter in a folder waits in the state. Here it gets one: a line is added to the folder's
//! `dovecot-keywords`, or put back that has been lost, and then what waits is decided anew. There are 26 letters; what
//! finds none waits on, and is tried again when somebody has changed that file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::work::DiskWork;
use crate::disk::create_like;
use crate::error::{Error, Result};
use crate::maildir::FileName;
use crate::maildir::keywords::{FILE, KeywordsFile, LetterSet, Letters};
use crate::maildir::listing::Listing;
use crate::maildir::names::{self, NamesSeen};
use crate::model::Keyword;
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{By, EntryKey, FolderKey, FolderRow, Hindered, Pending};

/// So long Dovecot is waited for. It has a folder locked for moments.
const PATIENCE: Duration = Duration::from_secs(5);

/// This many entries are looked at in one go.
const BATCH: u32 = 512;

/// What a folder's file says after it was changed.
struct Given {
    letters: Letters,
    /// It has no room for all keywords.
    full: bool,
    /// It was written, or says something that a scan hasn't seen yet.
    to_read: bool,
}

impl Replica {
    /// Sees to it that the keywords that wait for letters have them, where there are some left, and that what waited is
    /// done with the other work on disk.
    pub(super) fn give_letters(&self, progress: &mut DiskWork) -> Result<()> {
        if !self.config.keywords {
            return Ok(());
        }
        let mut waiting: BTreeMap<FolderKey, Vec<Keyword>> = BTreeMap::new();
        for (folder, keyword) in self.state.letterless()? {
            waiting.entry(folder).or_default().push(keyword);
        }
        let mut given = Vec::new();
        for row in self.state.all_folders() {
            let wanted = waiting.get(&row.key).map(Vec::as_slice).unwrap_or_default();
            let nameless = wanted.iter().any(|keyword| row.letters.letter(keyword).is_none());
            let is_there = row.on_disk || progress.folders_made.contains(&row.key);
            if !is_there || row.full || (unwritten(&row.letters).next().is_none() && !nameless) {
                continue;
            }
            match self.name_letters(&row, wanted) {
                Ok(change) => {
                    progress.touched.note(&self.dir(&row.name).join(FILE));
                    given.push((row, change));
                }
                Err(error) => progress.fail(&self.state, Hindered::Folder(row.key), &error)?,
            }
        }
        if given.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        let tx = self.begin()?;
        for (row, Given { letters, full, to_read }) in given {
            let names = if to_read { NamesSeen::Unknown } else { row.names };
            let outdated = letters.outdated();
            tx.set_letters(row.key, Arc::new(letters), names)?;
            tx.set_letters_full(row.key, full)?;
            self.decide_outdated(&tx, row.key, outdated)?;
        }
        for (folder, keywords) in waiting {
            for keyword in keywords {
                if self.state.letters(folder)?.letter(&keyword).is_some() {
                    self.decide_waiting(&tx, folder, &keyword)?;
                }
            }
        }
        tx.commit()
    }

    /// Writes the names that a folder's file lacks: those that it has lost, and those that are wanted.
    fn name_letters(&self, row: &FolderRow, wanted: &[Keyword]) -> Result<Given> {
        let (disk, dir) = (&*self.world.disk, self.dir(&row.name));
        let make = |path: &Path| create_like(disk, path, &self.like_folder(&dir)?);
        let change = |file: &mut KeywordsFile| {
            let mut used = LetterSet::default();
            for (name, _) in Listing::read(disk, &dir, None)?.iter() {
                used = used.or(FileName::parse(name).keyword_letters());
            }
            Ok(fill(file, &row.letters, wanted, used))
        };
        let changed = names::change(disk, &dir, PATIENCE, make, change);
        let (mut given, written) = changed.map_err(|error| {
            let busy = error.kind() == io::ErrorKind::ResourceBusy;
            let error = Error::io("naming keywords in", &dir.join(FILE), error);
            if busy {
                error.again_after("wait until the mail server has done its work there")
            } else {
                error.advise("see that it can be written; until then, keywords that have no letter there wait")
            }
        })?;
        given.to_read |= written;
        Ok(given)
    }

    /// Decides anew about files that have one of these letters, in whose place there is another one.
    fn decide_outdated(&self, tx: &Transaction<'_>, folder: FolderKey, outdated: LetterSet) -> Result<()> {
        if outdated.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::new();
        self.state.files_in(folder, |key, _, name, _| {
            if !FileName::parse(name).keyword_letters().and(outdated).is_empty() {
                keys.push(key);
            }
            Ok(())
        })?;
        keys.into_iter().try_for_each(|key| self.decide_waiting_entry(tx, key))
    }

    /// Decides anew about the files of entries for which this keyword had no letter.
    fn decide_waiting(&self, tx: &Transaction<'_>, folder: FolderKey, keyword: &Keyword) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.state.letterless_batch(folder, keyword, after, BATCH)?;
            let Some(&last) = batch.last() else { return Ok(()) };
            after = Some(last);
            batch.into_iter().try_for_each(|key| self.decide_waiting_entry(tx, key))?;
        }
    }

    fn decide_waiting_entry(&self, tx: &Transaction<'_>, key: EntryKey) -> Result<()> {
        let Some(row) = self.state.entry(key)? else { return Ok(()) };
        // What has no file gets its letters with it, and what somebody has just changed is decided about after the next
        // scan.
        if row.at.is_none() || self.state.pending(key)? == Some(Pending::Reconsider) {
            return Ok(());
        }
        self.decide_move(tx, &row, &By::Here)
    }
}

/// The letters with their keywords that a folder's file is to say again: it has lost them, and names no other letter.
fn unwritten(letters: &Letters) -> impl Iterator<Item = (u8, &Keyword)> {
    let lost = letters.lost();
    letters.iter().filter_map(move |(letter, keyword, _)| {
        (lost.contains(letter) && letters.letter(keyword) == Some(letter)).then_some((letter, keyword))
    })
}

/// Adds to a folder's file what it lacks. `letters` are those that were known, `used` those in the names of its files.
fn fill(file: &mut KeywordsFile, letters: &Letters, wanted: &[Keyword], used: LetterSet) -> Given {
    let mut given = Given { letters: letters.clone(), full: false, to_read: false };
    let mut wanted: Vec<&Keyword> = wanted.iter().filter(|keyword| letters.letter(keyword).is_none()).collect();
    for (letter, keyword) in unwritten(letters) {
        if file.put_back(letter, keyword) {
            given.letters.set(letter, keyword.clone(), false);
        } else {
            wanted.push(keyword);
        }
    }
    for keyword in wanted {
        if file.letter(keyword).is_some() {
            // Dovecot has just named it. What else follows from that the next scan finds out.
            given.to_read = true;
        } else if let Some(letter) = file.add(keyword, used.or(letters.named())) {
            given.letters.set(letter, keyword.clone(), false);
        } else {
            given.full = true;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_filled_with_what_was_lost_and_what_is_wanted() {
        let keyword = |name: &str| Keyword::new(name).unwrap();
        let mut known = Letters::default();
        known.set(b'a', keyword("work"), true);
        known.set(b'b', keyword("play"), false);
        let alphabet = || b'c'..=b'z';
        let full = (1..26).map(|n| format!("{n} k{n}\n")).collect::<Vec<_>>().concat();
        for (text, wanted, used, after, letters, flags) in [
            // What was lost comes back, what is wanted gets the next letter.
            (
                "1 play\n",
                vec!["$Junk"],
                vec![],
                "0 work\n1 play\n2 $Junk\n",
                vec![(b'a', false), (b'c', false)],
                (false, false),
            ),
            (
                "0 unknown-0\n1 play\n",
                vec![],
                vec![b'a'],
                "0 unknown-0\n1 play\n2 work\n",
                vec![(b'a', true), (b'c', false)],
                (false, false),
            ),
            // Letters in use that have no name are not given away.
            (
                "1 play\n",
                vec!["$Junk"],
                vec![b'c', b'd'],
                "0 work\n1 play\n4 $Junk\n",
                vec![(b'e', false)],
                (false, false),
            ),
            // Dovecot was faster: with that keyword, or with another one for the letter.
            ("0 work\n1 play\n2 $junk\n", vec!["$Junk"], vec![], "0 work\n1 play\n2 $junk\n", vec![], (false, true)),
            (
                "0 other\n1 play\n",
                vec![],
                vec![],
                "0 other\n1 play\n2 work\n",
                vec![(b'a', true), (b'c', false)],
                (false, false),
            ),
            // No letter is left.
            (
                "0 work\n1 play\n",
                vec!["$Junk"],
                alphabet().collect(),
                "0 work\n1 play\n",
                vec![(b'a', false)],
                (true, false),
            ),
            (&full, vec!["new"], vec![], &(String::from("0 work\n") + &full), vec![], (true, false)),
        ] {
            let mut file = KeywordsFile::parse(text.as_bytes());
            let wanted: Vec<_> = wanted.into_iter().map(keyword).collect();
            let given = fill(&mut file, &known, &wanted, used.into_iter().collect());
            assert_eq!(String::from_utf8(file.format()).unwrap(), after);
            assert_eq!((given.full, given.to_read), flags, "{text}");
            for (letter, lost) in letters {
                assert_eq!(given.letters.lost().contains(letter), lost, "{text}");
                assert!(given.letters.keyword(letter).is_some(), "{text}");
            }
        }
    }
}
