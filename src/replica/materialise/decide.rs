//! Decisions about the work on disk, and about the places of messages. They are recorded here, and carried out
//! elsewhere.

use std::path::Path;
use std::sync::Arc;

use crate::disk::{Hashed, beginning_of};
use crate::error::{Error, Result};
use crate::maildir::keywords::Letters;
use crate::maildir::{FileName, NAME_MAX, Separator, SizeField, delivered_base, sub_of, visible};
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
        match folder {
            Some(folder) => self.note_letterless(tx, row.key, &row.entry, folder)?,
            None => tx.clear_letterless(row.key)?,
        }
        let letters = |folder| self.state.letters(folder);
        let separator = folder.map_or_else(Separator::default, |folder| self.state.separator(folder));
        let style = Style { replica: &self.config.name, separator };
        let intent = decide(row, folder, style, letters, |place| self.is_anothers(place, &row.id))?;
        let intent = match (intent, self.state.pending(row.key)?) {
            // Nothing lies there yet that could be moved.
            (Intent::Move { to, .. }, Some(Pending::DeliverFrom(from)))
            | (Intent::Move { from, to }, Some(Pending::Deliver)) => Intent::Redirect { from, to },
            // It was not moved yet.
            (Intent::Move { to, .. }, Some(Pending::Move(from))) => Intent::Move { from, to },
            (Intent::Discard { .. }, Some(Pending::DeliverFrom(from))) => Intent::Discard { from },
            (intent, _) => intent,
        };
        intend(tx, row, &intent, by)
    }

    /// The place for an entry's file. The name derives from the entry's id, so a repeated delivery has the same name.
    pub(in crate::replica) fn place_for(
        &self,
        tx: &Transaction<'_>,
        id: &EntryId,
        entry: &Entry,
        size: SizeField,
    ) -> Result<Place> {
        self.place_unless(tx, id, entry, size, |place| self.is_anothers(place, id))
    }

    /// The same, where `taken` says whether another entry has a place.
    pub(in crate::replica) fn place_unless(
        &self,
        tx: &Transaction<'_>,
        id: &EntryId,
        entry: &Entry,
        size: SizeField,
        taken: impl Fn(&Place) -> Result<bool>,
    ) -> Result<Place> {
        let folder = tx.folder(&entry.location.1)?;
        let letters = self.state.letters(folder)?;
        let (flags, _) = visible(entry, &letters);
        let style = Style { replica: &self.config.name, separator: self.state.separator(folder) };
        let naming = Naming { id, entry, flags: &flags, letters: &letters, local: Vec::new(), size, style };
        place(&naming, folder, taken)
    }

    /// Records which keywords of a living entry have no letter in its folder: what the entry says waits there until the
    /// file can show it.
    pub(in crate::replica) fn note_letterless(
        &self,
        tx: &Transaction<'_>,
        key: EntryKey,
        entry: &Entry,
        folder: FolderKey,
    ) -> Result<()> {
        let (_, without) = visible(entry, &*self.state.letters(folder)?);
        tx.set_letterless(key, folder, &without)
    }

    /// Whether a new name for the message in this file tells its size.
    pub(in crate::replica) fn size_field(&self, file: &Path) -> Result<SizeField> {
        let beginning = beginning_of(&*self.world.disk, file, SizeField::LOOKS_AT);
        let fail = |error| Error::io("reading", file, error).again_after("see why");
        Ok(SizeField::of(&beginning.map_err(fail)?))
    }

    /// Whether another entry has its file there, or is to have it there.
    fn is_anothers(&self, place: &Place, id: &EntryId) -> Result<bool> {
        Ok(self.state.entry_at(place)?.is_some_and(|other| other.id != *id))
    }
}

/// How files are named in one folder of this replica.
#[derive(Clone, Copy, Debug)]
struct Style<'r> {
    /// The name of this replica.
    replica: &'r str,
    /// What the info begins with in the names that the folder has.
    separator: Separator,
}

/// Decides how an entry's file becomes what its registers say. `folder` is the folder into which a living entry
/// belongs, `style` how files are named there, `letters` are the keywords of a folder's letters, and `taken` says
/// whether another entry has a place.
fn decide(
    row: &EntryRow,
    folder: Option<FolderKey>,
    style: Style<'_>,
    letters: impl Fn(FolderKey) -> Result<Arc<Letters>>,
    taken: impl Fn(&Place) -> Result<bool>,
) -> Result<Intent> {
    let Some(folder) = folder else {
        return Ok(row.at.clone().map_or(Intent::Forget, |from| Intent::Discard { from }));
    };
    let named = letters(folder)?;
    let (flags, _) = visible(&row.entry, &named);
    let naming = |local, size| {
        let (id, entry, flags, letters) = (&row.id, &row.entry, &flags, &*named);
        Naming { id, entry, flags, letters, local, size, style }
    };
    let Some(at) = &row.at else {
        return Ok(Intent::Await(place(&naming(Vec::new(), SizeField::Told), folder, taken)?));
    };
    let is_current = at.keyword_letters().and(named.outdated()).is_empty();
    if at.folder == folder && at.flags(&named) == flags && is_current {
        return Ok(Intent::Nothing);
    }
    let renamed = (at.folder == folder).then(|| {
        let sub = sub_of(&flags);
        Place { folder, sub, name: FileName::parse(&at.name).with_flags(sub, &flags, &named, style.separator) }
    });
    let to = match renamed {
        // If some program has made two files with one base, this one gets a name of our own. So does a file whose name
        // has no room for its flags.
        Some(to) if to.name.len() <= NAME_MAX && !taken(&to)? => to,
        _ => {
            // A letter of which nobody knows what it means goes along, unless it means something over there.
            let before = letters(at.folder)?;
            let nameless = |&letter: &u8| before.keyword(letter).is_none() && named.keyword(letter).is_none();
            let local = at.keyword_letters().iter().filter(nameless).collect();
            let size = SizeField::of_base(FileName::parse(&at.name).base(), row.entry.size, style.replica);
            place(&naming(local, size), folder, taken)?
        }
    };
    Ok(Intent::Move { from: at.clone(), to })
}

/// What a file's name derives from.
struct Naming<'a> {
    id: &'a EntryId,
    entry: &'a Entry,
    /// The flags that it is to show.
    flags: &'a FlagSet,
    /// The keywords of its folder's letters.
    letters: &'a Letters,
    /// Letters of which nobody knows what they mean.
    local: Vec<u8>,
    /// Whether it tells the message's size.
    size: SizeField,
    style: Style<'a>,
}

/// The place for an entry's file in `folder`: the name derives from its id, or is the next one that is free.
fn place(naming: &Naming<'_>, folder: FolderKey, taken: impl Fn(&Place) -> Result<bool>) -> Result<Place> {
    let Naming { id, entry, flags, letters, local, size, style } = naming;
    let sub = sub_of(flags);
    let mut named = (*id).clone();
    loop {
        let base = delivered_base(&named, entry.mtime, entry.size, *size, style.replica);
        let name = FileName::new(base.as_bytes(), local).with_flags(sub, flags, letters, style.separator);
        let place = Place { folder, sub, name };
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
        Intent::Forget => tx.remove_missing(row.key).map(drop),
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
        Intent::Move { from, to } if from == to => {
            tx.set_place(row.key, Some(to))?;
            tx.clear_pending(row.key)
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
    use crate::model::{Clock, Digest, Flag, Incarnation, Keyword, Mtime};

    const SEEN: Flag = Flag::Info(b'S');
    const FLAGGED: Flag = Flag::Info(b'F');

    const COLON: Style<'static> = Style { replica: "laptop", separator: Separator::Colon };

    fn keyword(name: &str) -> Flag {
        Flag::keyword(name).unwrap()
    }

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
        delivered_base(&id, row.entry.mtime, row.entry.size, SizeField::Told, "laptop")
    }

    fn decided(row: &EntryRow, folder: Option<FolderKey>, taken: &[Place]) -> Intent {
        decide(row, folder, COLON, |folder| Ok(letters(folder)), |place| Ok(taken.contains(place))).unwrap()
    }

    /// In the first folder `a` is `work` and `b` is `play`, in the second one `a` is `play` and `c` is `work`; in all
    /// others letters have no names.
    fn letters(folder: FolderKey) -> Arc<Letters> {
        let names: &[(u8, &str)] = match folder {
            key if key == self::folder(1) => &[(b'a', "work"), (b'b', "play")],
            key if key == self::folder(2) => &[(b'a', "play"), (b'c', "work")],
            _ => &[],
        };
        let mut letters = Letters::default();
        for (letter, name) in names {
            letters.set(*letter, Keyword::new(name).unwrap(), false);
        }
        Arc::new(letters)
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
            // A keyword gets the letter of the folder. What has none there waits.
            (&[keyword("WORK")], at(inbox, "a:2,a"), inbox, None, None),
            (&[keyword("work")], at(inbox, "a:2,b"), inbox, None, Some(at(inbox, "a:2,a"))),
            (&[keyword("work"), keyword("other")], at(inbox, "a:2,a"), inbox, None, None),
            (&[keyword("work")], at(inbox, "a:2,a"), work, None, Some(at(work, &own(":2,c")))),
            (&[keyword("work")], at(inbox, "a:2,a"), folder(3), None, Some(at(folder(3), &own(":2,")))),
            // A letter that has no name stays, and goes along where it has none, either.
            (&[], at(inbox, "a:2,z"), inbox, None, None),
            (&[], at(inbox, "a:2,az"), inbox, None, Some(at(inbox, "a:2,z"))),
            (&[], at(inbox, "a:2,acz"), work, None, Some(at(work, &own(":2,z")))),
        ] {
            let expected = to.map_or(Intent::Nothing, |to| Intent::Move { from: from.clone(), to });
            let taken: Vec<Place> = taken.into_iter().collect();
            assert_eq!(decided(&row(flags, Some(from.clone())), Some(wanted), &taken), expected, "{flags:?} {from:?}");
        }
    }

    #[test]
    fn a_name_follows_the_separators_of_its_folder_and_tells_no_size_that_a_server_has_contradicted() {
        let (inbox, work) = (folder(1), folder(2));
        let to = |name: &str, wanted: FolderKey, separator: Separator| {
            let from = Place { folder: inbox, sub: Sub::Cur, name: name.as_bytes().to_vec() };
            let style = Style { separator, ..COLON };
            let named = |folder| Ok(letters(folder));
            match decide(&row(&[SEEN], Some(from)), Some(wanted), style, named, |_| Ok(false)).unwrap() {
                Intent::Move { to, .. } => String::from_utf8(to.name).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let own = own_name(&row(&[], None), 0);
        let sizeless = own.split_once(',').unwrap().0;
        for (name, wanted, separator, expected) in [
            ("a", inbox, Separator::Semicolon, String::from("a;2,S")),
            ("a!2,", inbox, Separator::Semicolon, String::from("a!2,S")),
            ("a:2,S.gz", inbox, Separator::Colon, String::from("a:2,S.gz:2,S")),
            ("a:2,", work, Separator::Exclamation, format!("{own}!2,S")),
            ("a,S=4:2,", work, Separator::Colon, format!("{own}:2,S")),
            ("a,S=99,W=102:2,", work, Separator::Colon, format!("{sizeless}:2,S")),
            // It was left out here before.
            (&format!("{sizeless}:2,"), work, Separator::Colon, format!("{sizeless}:2,S")),
        ] {
            assert_eq!(to(name, wanted, separator), expected, "{name}");
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
            let (id, entry, flags, letters) = (&row.id, &row.entry, &[FLAGGED].into(), &Letters::default());
            let naming = Naming { id, entry, flags, letters, local: Vec::new(), size: SizeField::Told, style: COLON };
            let put = place(&naming, inbox, |place| Ok(taken.contains(place))).unwrap();
            assert_eq!(put, expected);
        }
    }
}
