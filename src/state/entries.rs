//! Entries, and where their files were last seen.

use rusqlite::{OptionalExtension, Row};

use super::codec::damaged;
use super::codec::{self, Registers};
use super::{EntryKey, FolderKey, State, Transaction};
use crate::error::Result;
use crate::maildir::keywords::{LetterSet, Letters};
use crate::maildir::{FileName, Sub};
use crate::model::{Clock, Digest, Entry, EntryId, FlagSet, FolderName, Incarnation, Knowledge, Mtime, Stamp};

/// Where a message's file is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The folder.
    pub folder: FolderKey,
    /// `new` or `cur`.
    pub sub: Sub,
    /// The file name.
    pub name: Vec<u8>,
}

impl Place {
    /// The flags that the file's name and subdirectory show, if its folder gives letters these names.
    pub fn flags(&self, named: &Letters) -> FlagSet {
        FileName::parse(&self.name).flags(self.sub, named)
    }

    /// The letters for keywords in the file's name.
    pub fn keyword_letters(&self) -> LetterSet {
        FileName::parse(&self.name).keyword_letters()
    }
}

/// The record of an entry.
#[derive(Clone, Debug)]
pub struct EntryRow {
    /// Its number.
    pub key: EntryKey,
    /// Its id.
    pub id: EntryId,
    /// Its replicated state.
    pub entry: Entry,
    /// Where its file was last seen, or is about to be put.
    pub at: Option<Place>,
}

/// What a row of an entry consists of, for [`State::row`].
pub(super) const COLUMNS: &str =
    "e.key, e.digest, e.birth, e.ordinal, e.folder, e.size, e.mtime, e.registers, e.at_folder, e.at_sub, e.at_name";

/// How many columns these are.
pub(super) const COUNT: usize = 11;

/// The order in which a bundle holds entries.
const IN_ORDER: &str = "JOIN folder b ON b.key = e.birth ORDER BY b.name, e.digest, e.ordinal";

/// The query for all entries in that order. `NOT INDEXED` has them read as they lie, and sorted then: for the sake of a part of
/// the order, `SQLite` would go along the index of digests, and look up each entry where it lies.
fn all_in_order() -> String {
    format!("SELECT {COLUMNS} FROM entry e NOT INDEXED {IN_ORDER}")
}

impl State {
    pub(super) fn row(&self, row: &Row<'_>) -> Result<EntryRow> {
        let folders = self.folders.borrow();
        let digest = row.get_ref(1)?.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
        let id = EntryId {
            digest: Digest(digest.ok_or_else(|| damaged("a digest"))?),
            birth: folders.name(row.get(2)?)?,
            ordinal: row.get(3)?,
        };
        let registers = row.get_ref(7)?.as_bytes().ok().and_then(codec::decode);
        let registers = registers.ok_or_else(|| damaged("an entry's registers"))?;
        let entry = Entry {
            location: (registers.location, folders.name(row.get(4)?)?),
            born: registers.born,
            floor: registers.floor,
            removal: registers.removal,
            flags: registers.flags,
            size: row.get::<_, i64>(5)?.cast_unsigned(),
            mtime: Mtime(row.get(6)?),
        };
        Ok(EntryRow { key: EntryKey(row.get(0)?), id, entry, at: place(row, 8)? })
    }

    fn rows(
        &self,
        query: &str,
        params: impl rusqlite::Params,
        mut each: impl FnMut(EntryRow) -> Result<()>,
    ) -> Result<()> {
        let mut query = self.conn.prepare_cached(query)?;
        let mut rows = query.query(params)?;
        while let Some(row) = rows.next()? {
            each(self.row(row)?)?;
        }
        Ok(())
    }

    fn all_rows(&self, query: &str, params: impl rusqlite::Params) -> Result<Vec<EntryRow>> {
        let mut all = Vec::new();
        self.rows(query, params, |row| {
            all.push(row);
            Ok(())
        })?;
        Ok(all)
    }

    fn one_row(&self, query: &str, params: impl rusqlite::Params) -> Result<Option<EntryRow>> {
        let mut query = self.conn.prepare_cached(query)?;
        let mut rows = query.query(params)?;
        rows.next()?.map(|row| self.row(row)).transpose()
    }

    /// The entry with this number.
    pub fn entry(&self, key: EntryKey) -> Result<Option<EntryRow>> {
        self.one_row(&format!("SELECT {COLUMNS} FROM entry e WHERE key = ?"), [key.0])
    }

    /// The entry with this id.
    pub fn entry_by_id(&self, id: &EntryId) -> Result<Option<EntryRow>> {
        let Some(birth) = self.find_folder(&id.birth) else { return Ok(None) };
        if !self.has_entries(&id.digest)? {
            return Ok(None);
        }
        self.one_row(
            &format!("SELECT {COLUMNS} FROM entry e WHERE digest = ? AND birth = ? AND ordinal = ?"),
            (id.digest.0, birth.0, id.ordinal),
        )
    }

    /// The entry whose file was last seen here.
    pub fn entry_at(&self, at: &Place) -> Result<Option<EntryRow>> {
        self.one_row(
            &format!("SELECT {COLUMNS} FROM entry e WHERE at_folder = ? AND at_name = ? AND at_sub = ?"),
            (at.folder.0, &at.name[..], at.sub as u8),
        )
    }

    /// All entries of one message, including dead ones.
    pub fn entries_of(&self, digest: &Digest) -> Result<Vec<EntryRow>> {
        self.all_rows(&format!("SELECT {COLUMNS} FROM entry e WHERE digest = ? ORDER BY key"), [digest.0])
    }

    /// The first of the entries of one message that have files, or are about to have them: so many at most.
    pub fn entries_with_files(&self, digest: &Digest, most: u32) -> Result<Vec<EntryRow>> {
        let query =
            format!("SELECT {COLUMNS} FROM entry e WHERE digest = ? AND at_folder IS NOT NULL ORDER BY key LIMIT ?");
        self.all_rows(&query, (digest.0, most))
    }

    /// The messages whose digests begin with these hexadecimal digits, up to two of them. Removed ones count, and those of which the
    /// history tells.
    pub fn digests_that_begin(&self, digits: &str) -> Result<Vec<Digest>> {
        let (least, most) = (format!("{digits:0<64}").parse::<Digest>(), format!("{digits:f<64}").parse::<Digest>());
        let Ok((least, most)) = least.and_then(|least| Ok((least, most?))) else { return Ok(Vec::new()) };
        let mut query = self.conn.prepare_cached(
            "SELECT digest FROM entry WHERE digest BETWEEN ?1 AND ?2
             UNION SELECT digest FROM happening WHERE digest BETWEEN ?1 AND ?2 ORDER BY digest LIMIT 2",
        )?;
        let found = query.query_map((least.0, most.0), |row| Ok(Digest(row.get(0)?)))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// The files that were last seen in a folder: entry, `new` or `cur`, name, and whether it is only to be delivered;
    /// sorted by name, then `new` before `cur`.
    pub fn files_in(
        &self,
        folder: FolderKey,
        mut each: impl FnMut(EntryKey, Sub, &[u8], bool) -> Result<()>,
    ) -> Result<()> {
        let mut query = self.conn.prepare_cached(
            "SELECT e.key, e.at_sub, e.at_name, p.kind FROM entry e INDEXED BY entry_at
             LEFT JOIN pending p ON p.entry = e.key AND p.kind IN (0, 1, 4)
             WHERE e.at_folder = ? ORDER BY e.at_name, e.at_sub",
        )?;
        let mut rows = query.query([folder.0])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(2)?.as_bytes().map_err(|_| damaged("a file name"))?;
            let key = EntryKey(row.get(0)?);
            let undelivered = row.get::<_, Option<i64>>(3)?.is_some() || self.awaited.borrow().contains(key);
            each(key, sub(row.get(1)?)?, name, undelivered)?;
        }
        Ok(())
    }

    /// Whether any entry has a file, as far as is known.
    pub fn has_files(&self) -> Result<bool> {
        let mut query = self.conn.prepare_cached(
            "SELECT 1 FROM entry e WHERE at_folder IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.entry = e.key AND p.kind IN (0, 1, 4)) LIMIT 1",
        )?;
        Ok(query.exists([])?)
    }

    /// Whether a folder holds a file, or will.
    pub fn folder_has_files(&self, folder: FolderKey) -> Result<bool> {
        let mut query =
            self.conn.prepare_cached("SELECT 1 FROM entry INDEXED BY entry_at WHERE at_folder = ? LIMIT 1")?;
        Ok(query.exists([folder.0])?)
    }

    /// Every entry, dead ones included, in no particular order.
    pub fn each_entry(&self, each: impl FnMut(EntryRow) -> Result<()>) -> Result<()> {
        self.each_entry_of(|_| true, each)
    }

    /// Those of all entries that are wanted by their numbers, in no particular order.
    pub fn each_entry_of(
        &self,
        wanted: impl Fn(EntryKey) -> bool,
        mut each: impl FnMut(EntryRow) -> Result<()>,
    ) -> Result<()> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM entry e NOT INDEXED"))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if wanted(EntryKey(row.get(0)?)) {
                each(self.row(row)?)?;
            }
        }
        Ok(())
    }

    /// The next entries, dead ones included, in the order of their numbers.
    pub fn entry_batch(&self, after: Option<EntryKey>, limit: u32) -> Result<Vec<EntryRow>> {
        let query = format!("SELECT {COLUMNS} FROM entry e WHERE key > ? ORDER BY key LIMIT ?");
        self.all_rows(&query, (after.map_or(0, |key| key.0), limit))
    }

    /// The next entries that are not alive, in the order of their numbers.
    pub fn tombstone_batch(&self, after: Option<EntryKey>, limit: u32) -> Result<Vec<EntryRow>> {
        let query = format!("SELECT {COLUMNS} FROM entry e WHERE NOT alive AND key > ? ORDER BY key LIMIT ?");
        self.all_rows(&query, (after.map_or(0, |key| key.0), limit))
    }

    /// The entries with a register that `base` doesn't cover, in the order in which a bundle holds them: by birth
    /// folder, digest and ordinal.
    pub fn changed_since(&self, base: &Knowledge, each: impl FnMut(EntryRow) -> Result<()>) -> Result<()> {
        if base.is_empty() {
            return self.rows(&all_in_order(), [], each);
        }
        self.fill_delta(base)?;
        // `CROSS JOIN` keeps `SQLite` from going through all entries and looking each up in what has changed.
        self.rows(
            &format!("SELECT {COLUMNS} FROM temp.delta d CROSS JOIN entry e ON e.key = d.entry {IN_ORDER}"),
            [],
            each,
        )
    }

    /// Puts the entries with a register that `base` doesn't cover into a temporary table.
    fn fill_delta(&self, base: &Knowledge) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS delta (entry INTEGER PRIMARY KEY); DELETE FROM temp.delta;",
        )?;
        let mut statement = self.conn.prepare_cached(
            "INSERT OR IGNORE INTO temp.delta SELECT entry FROM change WHERE incarnation = ? AND clock > ?",
        )?;
        for (incarnation, known) in self.knowledge()?.iter() {
            let from = base.get(incarnation);
            if from < known {
                statement.execute((incarnation.0.cast_signed(), from.bits().cast_signed()))?;
            }
        }
        Ok(())
    }

    /// The number of entries with a register that `base` doesn't cover, and the bytes of the messages that go with
    /// them; without those that are left out.
    pub fn count_changed_since(&self, base: &Knowledge, left_out: impl Fn(&EntryRow) -> bool) -> Result<(u64, u64)> {
        if base.is_empty() {
            return Ok(self.count_all());
        }
        let (mut entries, mut bytes) = (0, 0_u64);
        self.fill_delta(base)?;
        let query = format!("SELECT {COLUMNS} FROM temp.delta d CROSS JOIN entry e ON e.key = d.entry");
        self.rows(&query, [], |row| {
            if left_out(&row) {
                return Ok(());
            }
            entries += 1;
            if row.entry.alive() && !base.covers(row.entry.born) {
                bytes = bytes.wrapping_add(row.entry.size);
            }
            Ok(())
        })?;
        Ok((entries, bytes))
    }

    /// How many entries are alive in each folder that holds any, sorted by name.
    pub fn entries_by_folder(&self) -> Result<Vec<(FolderName, u64)>> {
        let named = |(key, living): (FolderKey, u64)| Ok((self.folders.borrow().name(key.0)?, living));
        let mut counts = self.living_by_folder().into_iter().map(named).collect::<Result<Vec<_>>>()?;
        counts.sort();
        Ok(counts)
    }

    /// Where an entry's file was last seen, and its size as the state has it.
    fn file_of(&self, key: EntryKey) -> Result<Option<(Option<FolderKey>, u64)>> {
        let mut query = self.conn.prepare_cached("SELECT at_folder, size FROM entry WHERE key = ?")?;
        let file = query.query_row([key.0], |row| {
            Ok((row.get::<_, Option<i64>>(0)?.map(FolderKey), row.get::<_, i64>(1)?.cast_unsigned()))
        });
        Ok(file.optional()?)
    }

    /// Whether a message has several entries, dead ones included.
    pub fn digest_is_shared(&self, digest: &Digest) -> Result<bool> {
        Ok(self.copies(digest)?.is_some())
    }
}

impl Transaction<'_> {
    /// Replaces an entry's replicated state. `row` is its record until now.
    pub fn update_entry(&self, row: &EntryRow, entry: &Entry) -> Result<()> {
        let folder = self.folder(&entry.location.1)?;
        let before = if row.entry.alive() { Some((self.folder(&row.entry.location.1)?, row.entry.size)) } else { None };
        self.recount_entry(row.key, &row.id.digest, before, entry.alive().then_some((folder, entry.size)))?;
        if row.entry.size != entry.size
            && let Some((at, size)) = self.file_of(row.key)?
        {
            self.recount_file(at, None, size);
            self.recount_file(None, at, entry.size);
        }
        self.conn
            .prepare_cached("UPDATE entry SET folder = ?, alive = ?, size = ?, mtime = ?, registers = ? WHERE key = ?")?
            .execute((
                folder.0,
                entry.alive(),
                entry.size.cast_signed(),
                entry.mtime.0,
                codec::encode(&registers(entry)),
                row.key.0,
            ))?;
        let (before, after) = (newest_stamps(&row.entry), newest_stamps(entry));
        for &(incarnation, clock) in before.iter().filter(|change| !after.contains(change)) {
            self.remove_change(row.key, incarnation, clock)?;
        }
        for &(incarnation, clock) in after.iter().filter(|change| !before.contains(change)) {
            self.add_change(row.key, incarnation, clock)?;
        }
        if row.entry.alive() {
            self.digest_remove(&row.entry.canonical(&row.id));
        }
        if entry.alive() {
            self.digest_add(&entry.canonical(&row.id));
        } else {
            self.free_ordinal_of(&row.id);
        }
        Ok(())
    }

    /// Forgets an entry, including its tombstone.
    pub fn delete_entry(&self, row: &EntryRow) -> Result<()> {
        for (incarnation, clock) in newest_stamps(&row.entry) {
            self.remove_change(row.key, incarnation, clock)?;
        }
        if let Some((at, size)) = self.file_of(row.key)? {
            self.recount_file(at, None, size);
        }
        let before = if row.entry.alive() { Some((self.folder(&row.entry.location.1)?, row.entry.size)) } else { None };
        self.recount_entry(row.key, &row.id.digest, before, None)?;
        self.discount_entry(&row.id.digest)?;
        self.awaited.borrow_mut().remove(row.key);
        for table in ["entry WHERE key", "pending WHERE entry", "missing WHERE entry", "letterless WHERE entry"] {
            self.conn.prepare_cached(&format!("DELETE FROM {table} = ?"))?.execute([row.key.0])?;
        }
        self.free_ordinal_of(&row.id);
        if row.entry.alive() {
            self.digest_remove(&row.entry.canonical(&row.id));
        }
        Ok(())
    }

    fn free_ordinal_of(&self, id: &EntryId) {
        if let Some(birth) = self.find_folder(&id.birth) {
            self.ordinals.borrow_mut().free(id.digest, birth, id.ordinal);
        }
    }

    pub(super) fn add_change(&self, key: EntryKey, incarnation: Incarnation, clock: Clock) -> Result<()> {
        self.conn
            .prepare_cached("INSERT OR IGNORE INTO change (incarnation, clock, entry) VALUES (?, ?, ?)")?
            .execute((incarnation.0.cast_signed(), clock.bits().cast_signed(), key.0))?;
        Ok(())
    }

    fn remove_change(&self, key: EntryKey, incarnation: Incarnation, clock: Clock) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM change WHERE incarnation = ? AND clock = ? AND entry = ?")?.execute((
            incarnation.0.cast_signed(),
            clock.bits().cast_signed(),
            key.0,
        ))?;
        Ok(())
    }

    /// Records where an entry's file was seen.
    pub fn set_place(&self, key: EntryKey, at: Option<&Place>) -> Result<()> {
        if let Some((before, size)) = self.file_of(key)? {
            self.recount_file(before, at.map(|at| at.folder), size);
        }
        self.conn
            .prepare_cached("UPDATE entry SET at_folder = ?, at_sub = ?, at_name = ? WHERE key = ?")?
            .execute((at.map(|at| at.folder.0), at.map(|at| at.sub as u8), at.map(|at| &at.name[..]), key.0))?;
        Ok(())
    }
}

pub(super) fn place(row: &Row<'_>, first: usize) -> Result<Option<Place>> {
    let Some(folder) = row.get::<_, Option<i64>>(first)? else { return Ok(None) };
    Ok(Some(Place { folder: FolderKey(folder), sub: sub(row.get(first + 1)?)?, name: row.get(first + 2)? }))
}

pub(super) fn sub(stored: i64) -> Result<Sub> {
    match stored {
        0 => Ok(Sub::New),
        1 => Ok(Sub::Cur),
        _ => Err(damaged("the name of a subdirectory")),
    }
}

pub(super) fn registers(entry: &Entry) -> Registers {
    Registers {
        location: entry.location.0,
        born: entry.born,
        floor: entry.floor,
        removal: entry.removal,
        flags: entry.flags.clone(),
    }
}

/// The newest of an entry's stamps from each incarnation.
pub(super) fn newest_stamps(entry: &Entry) -> Vec<(Incarnation, Clock)> {
    let mut newest: Vec<(Incarnation, Clock)> = Vec::with_capacity(2);
    for stamp in entry.stamps().filter(|&stamp| stamp != Stamp::ZERO) {
        match newest.iter_mut().find(|(incarnation, _)| *incarnation == stamp.incarnation) {
            Some((_, clock)) => *clock = stamp.clock.max(*clock),
            None => newest.push((stamp.incarnation, stamp.clock)),
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FlagSet, Origin};
    use crate::state::testing::{fresh, plan};

    fn delivered_to(folder: &FolderName) -> Entry {
        let stamp = Stamp { clock: Clock::from_bits(1).unwrap(), incarnation: Incarnation(1) };
        Entry::delivered(None, Origin::Delivery, stamp, folder.clone(), &FlagSet::new(), 1, Mtime(1))
    }

    #[test]
    fn all_entries_come_in_a_bundles_order_and_are_read_as_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        for (birth, contents, ordinal) in [("b", 1, 0), ("b", 0, 1), ("a", 2, 0), ("b", 0, 0), ("a", 0, 0)] {
            let birth: FolderName = birth.parse().unwrap();
            let entry = delivered_to(&birth);
            let id = EntryId { digest: Digest([contents; 32]), birth, ordinal };
            tx.insert_entry(&id, &entry, None).unwrap();
        }
        let mut order = Vec::new();
        let note = |row: EntryRow| {
            order.push((row.id.birth.to_string(), row.id.digest.0[0], row.id.ordinal));
            Ok(())
        };
        state.changed_since(&Knowledge::new(), note).unwrap();
        let expected = [("a", 0, 0), ("a", 2, 0), ("b", 0, 0), ("b", 0, 1), ("b", 1, 0)];
        assert_eq!(order, expected.map(|(birth, digest, ordinal)| (birth.to_owned(), digest, ordinal)));

        let steps = plan(&state.conn, &all_in_order());
        assert_eq!(steps[0], "SCAN e", "{steps:?}");
    }

    #[test]
    fn only_the_entries_that_are_wanted_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        let (inbox, entry) = (FolderName::inbox(), delivered_to(&FolderName::inbox()));
        let insert = |n: u8| {
            tx.insert_entry(&EntryId { digest: Digest([n; 32]), birth: inbox.clone(), ordinal: 0 }, &entry, None)
                .unwrap()
        };
        let keys: Vec<EntryKey> = (0..4).map(insert).collect();
        let mut given = Vec::new();
        let note = |row: EntryRow| {
            given.push(row.key);
            Ok(())
        };
        state.each_entry_of(|key| key == keys[1] || key == keys[3], note).unwrap();
        given.sort_unstable();
        assert_eq!(given, [keys[1], keys[3]]);
    }

    #[test]
    fn of_a_message_that_is_there_often_only_some_entries_with_files_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        let (inbox, entry) = (FolderName::inbox(), delivered_to(&FolderName::inbox()));
        let folder = tx.folder(&inbox).unwrap();
        let keys: Vec<EntryKey> = (0_u8..6)
            .map(|n| {
                let at = Place { folder, sub: Sub::Cur, name: vec![b'a' + n] };
                let id = EntryId { digest: Digest([7; 32]), birth: inbox.clone(), ordinal: n.into() };
                tx.insert_entry(&id, &entry, (n % 2 == 1).then_some(&at)).unwrap()
            })
            .collect();
        let given = |most| {
            let rows = state.entries_with_files(&Digest([7; 32]), most).unwrap();
            rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
        };
        assert_eq!(given(2), [keys[1], keys[3]]);
        assert_eq!(given(9), [keys[1], keys[3], keys[5]]);
    }
}
