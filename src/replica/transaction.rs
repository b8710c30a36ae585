//! Transactions: changes to the state, and the work on disk that follows once they are durable.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use super::Replica;
use crate::bundle::ReplicaId;
use crate::error::Result;
use crate::model::{
    Digest, Entry, EntryId, FolderState, Happening, MOST_FORGOTTEN, Stamp, WallClock, arrival, happenings,
};
use crate::state::{self, EntryKey, EntryRow, FolderKey, Job, JobKey, Occasion, OccasionKey, Place, StatementKind};

/// Changes to the state that are made together or not at all. If it is dropped without a commit, they are undone and
/// nothing follows. A function that changes something within a transaction takes it as a parameter.
#[derive(Debug)]
#[must_use]
pub(super) struct Transaction<'r> {
    replica: &'r Replica,
    state: state::Transaction<'r>,
    /// Attachments that some job no longer needs, by digest.
    unneeded: RefCell<Vec<Digest>>,
    /// The occasion on which it changes entries, if their history is to tell of it.
    occasion: RefCell<Option<Occasion>>,
    /// The same once something has become of an entry.
    recorded: Cell<Option<OccasionKey>>,
}

/// What is remembered of a job when everything else of it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remember {
    /// Nothing: this replica has only passed it on.
    Nothing,
    /// Its id, under this requester; under `None` for all that nobody here knows.
    Id(Option<ReplicaId>),
}

impl Replica {
    /// Begins a transaction. There is one at a time.
    pub(super) fn begin(&self) -> Result<Transaction<'_>> {
        Ok(Transaction {
            replica: self,
            state: self.state.begin()?,
            unneeded: RefCell::default(),
            occasion: RefCell::default(),
            recorded: Cell::default(),
        })
    }
}

impl<'r> Deref for Transaction<'r> {
    type Target = state::Transaction<'r>;
    fn deref(&self) -> &state::Transaction<'r> {
        &self.state
    }
}

impl Transaction<'_> {
    /// Records that a job no longer needs the attachment that its statement of this kind names. Unless another job
    /// does, its file is removed after the commit; a purge sweeps the file if a crash comes between.
    pub(super) fn drop_attachment(&self, job: JobKey, kind: StatementKind, digest: &Digest) -> Result<()> {
        self.unneeded.borrow_mut().push(*digest);
        self.remove_attachment(job, kind, digest)
    }

    /// Forgets everything about a job but, if this replica is to remember that, its id.
    pub(super) fn forget(&self, job: &Job, remember: Remember) -> Result<()> {
        self.unneeded.borrow_mut().extend(self.attachments_of(job.key)?);
        if let Remember::Id(requester) = remember {
            let last = self.replica.now().saturating_add(WallClock::MOST_AHEAD);
            self.remember_forgotten(job, requester.as_ref(), MOST_FORGOTTEN, last)?;
        }
        self.forget_job(job)
    }

    /// From here on the history of messages tells what becomes of entries by this transaction. What a replica begins with
    /// is not told message by message: a first scan and a join have no occasion.
    pub(super) fn on_occasion(&self, occasion: Occasion) {
        self.occasion.replace(Some(occasion));
    }

    /// Adds an entry.
    pub(super) fn insert_entry(&self, id: &EntryId, entry: &Entry, at: Option<&Place>) -> Result<EntryKey> {
        self.tell(id, None, Some(entry))?;
        self.state.insert_entry(id, entry, at)
    }

    /// Adds an entry with this place, unless another entry has it.
    pub(super) fn insert_entry_if_free(&self, id: &EntryId, entry: &Entry, at: &Place) -> Result<Option<EntryKey>> {
        let inserted = self.state.insert_entry_if_free(id, entry, at)?;
        if inserted.is_some() {
            self.tell(id, None, Some(entry))?;
        }
        Ok(inserted)
    }

    /// Replaces an entry's replicated state. `row` is its record until now.
    pub(super) fn update_entry(&self, row: &EntryRow, entry: &Entry) -> Result<()> {
        self.tell(&row.id, Some(&row.entry), Some(entry))?;
        self.state.update_entry(row, entry)
    }

    /// Forgets an entry, including its tombstone.
    pub(super) fn delete_entry(&self, row: &EntryRow) -> Result<()> {
        self.tell(&row.id, Some(&row.entry), None)?;
        self.state.delete_entry(row)
    }

    /// Makes sure that a folder exists into which something comes, by a change with this stamp. Returns whether it is
    /// made by that.
    pub(super) fn make_present(&self, folder: FolderKey, stamp: Stamp) -> Result<bool> {
        if self.folder_row(folder)?.is_present() {
            return Ok(false);
        }
        self.set_folder_state(folder, FolderState { stamp, present: true })?;
        Ok(true)
    }

    /// Records in the history of messages what becomes of an entry.
    fn tell(&self, id: &EntryId, before: Option<&Entry>, after: Option<&Entry>) -> Result<()> {
        // Most transactions have an occasion, or touch few entries.
        if self.occasion.borrow().is_some() { self.tell_of(id, &happenings(before, after)) } else { Ok(()) }
    }

    /// The same of what was found out about it.
    pub(super) fn tell_of(&self, id: &EntryId, happenings: &[Happening]) -> Result<()> {
        let occasion = self.occasion.borrow();
        let Some(occasion) = occasion.as_ref() else { return Ok(()) };
        for happening in happenings {
            let key = match self.recorded.get() {
                Some(key) => key,
                None => self.state.add_occasion(self.replica.now(), occasion)?,
            };
            self.recorded.set(Some(key));
            self.state.add_happening(key, id, happening)?;
        }
        Ok(())
    }

    /// The contents of an entry have come that missed them. That it has come is told once, whatever this transaction has done
    /// to it before.
    pub(super) fn tell_arrival(&self, row: &EntryRow) -> Result<()> {
        self.withdraw_arrival(&row.id)?;
        self.tell_of(&row.id, &[arrival(&row.entry)])
    }

    /// An entry of which this transaction has told that it has come misses its contents: it comes with them.
    pub(super) fn withdraw_arrival(&self, id: &EntryId) -> Result<()> {
        self.recorded.get().map_or(Ok(()), |occasion| self.state.withdraw_arrival(occasion, id))
    }

    /// Makes the changes durable, then does the work that follows. In a rehearsal they only last until its end, and
    /// nothing follows.
    ///
    /// # Errors
    /// The changes could not be made durable, and are undone; or the state can't be read any more after that.
    pub(super) fn commit(self) -> Result<()> {
        let Self { replica, state, unneeded, .. } = self;
        state.commit()?;
        if replica.state.is_rehearsing() {
            return Ok(());
        }
        unneeded.into_inner().iter().try_for_each(|digest| replica.remove_unneeded_attachment(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::PrivateKey;
    use crate::replica::{Doubts, Home, InitOptions, World};
    use std::time::Duration;

    #[test]
    fn the_file_of_what_no_job_needs_goes_with_the_commit_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let mail_root = dir.path().join("mail");
        std::fs::create_dir(&mail_root).unwrap();
        let options = InitOptions {
            mail_root,
            name: String::from("laptop"),
            layout: None,
            server: None,
            doubts: Doubts::Heed,
            lock_timeout: Duration::ZERO,
        };
        let (replica, _) = Replica::init(&Home::at(dir.path().join("home")), World::real(), &options).unwrap();
        let server = PrivateKey::generate("server").unwrap().public_key();
        replica.add_distant_peer("server", &server).unwrap();
        let ask = |input: &str| replica.uux("server", &[String::from("send")], &mut input.as_bytes()).unwrap();
        let ids = [ask("one"), ask("two")];
        replica.absorb_outbox().unwrap();
        let [one, two] = ids.map(|id| replica.state.job_by_id(&id).unwrap().unwrap());
        let body = replica.request_of(&one).unwrap().1.body;
        let is_there = || replica.has_attachment(&body).unwrap();

        let undone = replica.begin().unwrap();
        undone.drop_attachment(one.key, StatementKind::Request, &body.digest).unwrap();
        drop(undone);
        assert!(is_there() && replica.state.is_needed(&body.digest).unwrap());

        let shared = replica.begin().unwrap();
        shared.need_attachment(two.key, StatementKind::Request, &body, true).unwrap();
        shared.drop_attachment(one.key, StatementKind::Request, &body.digest).unwrap();
        shared.commit().unwrap();
        assert!(is_there());

        let last = replica.begin().unwrap();
        last.drop_attachment(two.key, StatementKind::Request, &body.digest).unwrap();
        assert!(is_there());
        last.commit().unwrap();
        assert!(!is_there());
    }
}
