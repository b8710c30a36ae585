//! Decisions about the work on disk, and about the places of messages. They are recorded here, and carried out
//! elsewhere.

use crate::disk::Hashed;
use crate::error::Result;
use crate::maildir::{FileName, NAME_MAX, delivered_base, sub_of, visible};
use crate::model::{Entry, EntryId, FlagSet, FolderName, Origin, Stamp};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{By, EntryKey, EntryRow, FolderKey, Pending, Place};

/// A message that comes into a folder, as a change made here.
#[derive(Debug)]
pub(in crate::replica) struct Delivery {
    /// The entry's id.
    pub id: EntryId,
    /// The removed entry that it brings back.
    past: Option<EntryRow>,
    /// The new state of the entry.
    pub entry: Entry,
}

/// The work that is to be done on disk with an entry's file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Intent {
    /// The file is where and as it should be.
    Nothing,
    /// The entry was removed and has no file. Nobody looks for its contents any more.
    Forget,
    /// The entry has no file. Once its contents come, it gets one there.
    Await(Place),
    /// It has come, and waits to be delivered: it will be there.
    Redirect {
        /// Where it would have been.
        from: Place,
        /// Where it is to be.
        to: Place,
    },
    /// The file gets another name, or goes to another folder.
    Move {
        /// Where it is.
        from: Place,
        /// Where it is to be.
        to: Place,
    },
    /// The entry was removed, and its file goes to the trash.
    Discard {
        /// Where it is.
        from: Place,
    },
}

impl Replica {
    /// Makes the entry for a message that comes into a folder: a new entry, or a removed one that is brought back.
    pub(in crate::replica) fn delivery(
        &self,
        stamp: Stamp,
        origin: Origin,
        folder: FolderName,
        flags: &FlagSet,
        hashed: &Hashed,
    ) -> Result<Delivery> {
        let (id, past) = self.state.free_ordinal(hashed.digest, &folder)?;
        let before = past.as_ref().map(|row| &row.entry);
        let entry = Entry::delivered(before, origin, stamp, folder, flags, hashed.size, hashed.mtime);
        Ok(Delivery { id, past, entry })
    }

    /// Records a delivery. `at` is where its file lies.
    pub(in crate::replica) fn deliver(&self, tx: &Transaction<'_>, delivery: Delivery, at: &Place) -> Result<EntryKey> {
        let Delivery { id, past, entry } = delivery;
        let Some(row) = past else { return tx.insert_entry(&id, &entry, Some(at)) };
        let key = row.key;
        tx.update_entry(&row, &entry)?;
        tx.set_place(key, Some(at))?;
        self.decide_move(tx, &EntryRow { entry, at: Some(at.clone()), ..row }, &By::Here)?;
        Ok(key)
    }

    /// Records a delivery whose contents are missing.
    pub(in crate::replica) fn deliver_without_contents(tx: &Transaction<'_>, delivery: Delivery) -> Result<()> {
        let Delivery { id, past, entry } = delivery;
        let key = match past {
            None => tx.insert_entry(&id, &entry, None)?,
            Some(row) => {
                tx.update_entry(&row, &entry)?;
                row.key
            }
        };
        tx.add_missing(key)
    }

    /// Decides how an entry's file becomes what its registers say, and records that. `row` is the entry as it is
    /// recorded now. `by` says who removed it, if it was removed.
    pub(in crate::replica) fn decide_move(&self, tx: &Transaction<'_>, row: &EntryRow, by: &By) -> Result<()> {
        let folder = if row.entry.alive() { Some(tx.folder(&row.entry.location.1)?) } else { None };
        let intent = decide(row, folder, &self.config.name, |place| self.is_anothers(place, &row.id))?;
        let intent = match (intent, self.state.pending(row.key)?) {
            // Nothing lies there yet that could be moved.
            (Intent::Move { to, .. }, Some(Pending::DeliverFrom(from)))
            | (Intent::Move { from, to }, Some(Pending::Deliver)) => Intent::Redirect { from, to },
            (Intent::Discard { .. }, Some(Pending::DeliverFrom(from))) => Intent::Discard { from },
            (intent, _) => intent,
        };
        intend(tx, row, &intent, by)
    }

    /// The place for an entry's file. The name derives from the entry's id, so a repeated delivery has the same name.
    pub(in crate::replica) fn place_for(&self, tx: &Transaction<'_>, id: &EntryId, entry: &Entry) -> Result<Place> {
        let folder = tx.folder(&entry.location.1)?;
        place(id, entry, folder, &self.config.name, |place| self.is_anothers(place, id))
    }

    /// Whether another entry has its file there, or is to have it there.
    fn is_anothers(&self, place: &Place, id: &EntryId) -> Result<bool> {
        Ok(self.state.entry_at(place)?.is_some_and(|other| other.id != *id))
    }
}

/// Decides how an entry's file becomes what its registers say. `folder` is the folder into which a living entry
/// belongs, `replica` the name of this replica, and `taken` says whether another entry has a place.
fn decide(
    row: &EntryRow,
    folder: Option<FolderKey>,
    replica: &str,
    taken: impl Fn(&Place) -> Result<bool>,
) -> Result<Intent> {
    match (&row.at, folder) {
        (None, None) => Ok(Intent::Forget),
        (None, Some(folder)) => Ok(Intent::Await(place(&row.id, &row.entry, folder, replica, taken)?)),
        (Some(at), None) => Ok(Intent::Discard { from: at.clone() }),
        (Some(at), Some(folder)) => {
            let flags = visible(&row.entry);
            if at.folder == folder && at.flags() == flags {
                return Ok(Intent::Nothing);
            }
            let renamed = (at.folder == folder).then(|| {
                let sub = sub_of(&flags);
                Place { folder, sub, name: FileName::parse(&at.name).with_flags(sub, &flags) }
            });
            let to = match renamed {
                // If some program has made two files with one base, this one gets a name of our own. So does a file
                // whose name has no room for its flags.
                Some(to) if to.name.len() <= NAME_MAX && !taken(&to)? => to,
                _ => place(&row.id, &row.entry, folder, replica, taken)?,
            };
            Ok(Intent::Move { from: at.clone(), to })
        }
    }
}

/// The place for an entry's file in `folder`: the name derives from its id, or is the next one that is free.
fn place(
    id: &EntryId,
    entry: &Entry,
    folder: FolderKey,
    replica: &str,
    taken: impl Fn(&Place) -> Result<bool>,
) -> Result<Place> {
    let flags = visible(entry);
    let sub = sub_of(&flags);
    let mut named = id.clone();
    loop {
        let base = delivered_base(&named, entry.mtime, entry.size, replica);
        let place = Place { folder, sub, name: FileName::parse(base.as_bytes()).with_flags(sub, &flags) };
        if !taken(&place)? {
            return Ok(place);
        }
        named = other_id(&named);
    }
}

/// Records the work that is to be done with an entry's file.
fn intend(tx: &Transaction<'_>, row: &EntryRow, intent: &Intent, by: &By) -> Result<()> {
    match intent {
        Intent::Nothing => Ok(()),
        Intent::Forget => tx.remove_missing(row.key),
        Intent::Await(place) => {
            // The entry may have been missing. From here on it awaits its contents, and is missing again if they don't
            // come.
            tx.remove_missing(row.key)?;
            tx.set_place(row.key, Some(place))?;
            tx.set_pending(row.key, &Pending::Await)
        }
        Intent::Redirect { from, to } => {
            tx.set_place(row.key, Some(to))?;
            let base = |place: &Place| FileName::parse(&place.name).base().to_vec();
            let lies_there = from.folder == to.folder && base(from) == base(to);
            let pending = if lies_there { Pending::Deliver } else { Pending::DeliverFrom(from.clone()) };
            tx.set_pending(row.key, &pending)
        }
        Intent::Move { from, to } => {
            tx.set_place(row.key, Some(to))?;
            tx.set_pending(row.key, &Pending::Move(from.clone()))
        }
        Intent::Discard { from } => {
            tx.add_discard(&row.id, &row.entry, from, by)?;
            tx.set_place(row.key, None)?;
            tx.clear_pending(row.key)
        }
    }
}

/// The id from which a file's name derives if the name from its entry's own id is taken. No entry has this id.
pub(super) fn other_id(id: &EntryId) -> EntryId {
    EntryId { ordinal: if id.ordinal < u32::MAX / 2 { u32::MAX } else { id.ordinal - 1 }, ..id.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Sub;
    use crate::model::{Clock, Digest, Flag, Incarnation, Mtime};

    const SEEN: Flag = Flag::Info(b'S');
    const FLAGGED: Flag = Flag::Info(b'F');

    fn folder(number: i64) -> FolderKey {
        FolderKey::example(number)
    }

    fn at(folder: FolderKey, name: &str) -> Place {
        let sub = if name.contains(':') { Sub::Cur } else { Sub::New };
        Place { folder, sub, name: name.as_bytes().to_vec() }
    }

    /// An entry of the message "mail" with these flags, and with its file there.
    fn row(flags: &[Flag], at: Option<Place>) -> EntryRow {
        let name: FolderName = FolderName::inbox();
        let stamp = Stamp { clock: Clock::from_bits(1).unwrap(), incarnation: Incarnation(1) };
        let flags = flags.iter().cloned().collect();
        let entry = Entry::delivered(None, Origin::Delivery, stamp, name.clone(), &flags, 4, Mtime::new(7, 0));
        let id = EntryId { digest: Digest::of(b"mail"), birth: name, ordinal: 0 };
        EntryRow { key: EntryKey::example(1), id, entry, at }
    }

    /// The name that derives from the entry's id, or the one that comes so many after it.
    fn own_name(row: &EntryRow, after: usize) -> String {
        let id = (0..after).fold(row.id.clone(), |id, _| other_id(&id));
        delivered_base(&id, row.entry.mtime, row.entry.size, "laptop")
    }

    fn decided(row: &EntryRow, folder: Option<FolderKey>, taken: &[Place]) -> Intent {
        decide(row, folder, "laptop", |place| Ok(taken.contains(place))).unwrap()
    }

    #[test]
    fn a_file_is_moved_only_if_its_folder_or_its_flags_are_others() {
        let (inbox, work) = (folder(1), folder(2));
        let long = "x".repeat(NAME_MAX - 3);
        let own = |suffix: &str| own_name(&row(&[], None), 0) + suffix;
        for (flags, from, wanted, taken, to) in [
            (&[SEEN][..], at(inbox, "a:2,S"), inbox, None, None),
            (&[Flag::Recent], at(inbox, "a"), inbox, None, None),
            (&[SEEN], at(inbox, "a"), inbox, None, Some(at(inbox, "a:2,S"))),
            (&[SEEN], at(inbox, "a:2,"), inbox, None, Some(at(inbox, "a:2,S"))),
            (&[], at(inbox, "a:2,S"), inbox, None, Some(at(inbox, "a:2,"))),
            // The name that it would keep is another's, or has no room for the flags.
            (&[SEEN], at(inbox, "a:2,"), inbox, Some(at(inbox, "a:2,S")), Some(at(inbox, &own(":2,S")))),
            (&[SEEN], at(inbox, &long), inbox, None, Some(at(inbox, &own(":2,S")))),
            // In another folder it gets a name of our own, whatever it was called.
            (&[SEEN], at(inbox, "a:2,S"), work, None, Some(at(work, &own(":2,S")))),
            (&[SEEN], at(inbox, "a:2,"), work, None, Some(at(work, &own(":2,S")))),
        ] {
            let expected = to.map_or(Intent::Nothing, |to| Intent::Move { from: from.clone(), to });
            let taken: Vec<Place> = taken.into_iter().collect();
            assert_eq!(decided(&row(flags, Some(from.clone())), Some(wanted), &taken), expected, "{flags:?} {from:?}");
        }
    }

    #[test]
    fn what_has_no_file_awaits_its_contents_and_what_was_removed_goes_to_the_trash() {
        let inbox = folder(1);
        let there = at(inbox, "a:2,S");
        let (with, without) = (row(&[SEEN], Some(there.clone())), row(&[SEEN], None));
        let own = at(inbox, &(own_name(&without, 0) + ":2,S"));
        assert_eq!(decided(&without, Some(inbox), &[]), Intent::Await(own));
        assert_eq!(decided(&without, None, &[]), Intent::Forget);
        assert_eq!(decided(&with, None, &[]), Intent::Discard { from: there });
    }

    #[test]
    fn a_message_is_put_under_the_first_name_that_no_other_entry_has() {
        let inbox = folder(1);
        let row = row(&[FLAGGED], None);
        let name = |after| at(inbox, &(own_name(&row, after) + ":2,F"));
        let elsewhere = Place { folder: folder(2), ..name(0) };
        for (taken, expected) in [
            (vec![], name(0)),
            (vec![elsewhere], name(0)),
            (vec![name(1)], name(0)),
            (vec![name(0)], name(1)),
            (vec![name(0), name(1), name(2)], name(3)),
        ] {
            let put = place(&row.id, &row.entry, inbox, "laptop", |place| Ok(taken.contains(place))).unwrap();
            assert_eq!(put, expected);
        }
    }
}
