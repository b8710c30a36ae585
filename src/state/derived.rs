//! What stands beside the entries for the queries, and follows from their registers: whether an entry is alive, and its
//! newest stamp of each incarnation; and how much there is of them.

use super::counts::{Change, Copies, Counts};
use super::entries::newest_stamps;
use super::{EntryKey, FolderKey, State, Transaction};
use crate::error::Result;
use crate::model::{Clock, Digest, Incarnation};

/// This many entries are looked at in one go.
const BATCH: u32 = 512;

/// What doesn't follow from the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Underived {
    /// Entries that are taken for alive and aren't, or the other way round.
    pub alive: u64,
    /// Stamps by which an entry would be found and isn't, or is found and shouldn't be.
    pub changes: u64,
    /// Counts that are not what there is.
    pub counts: u64,
}

impl Underived {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.alive + self.changes + self.counts
    }
}

impl State {
    /// Looks for what doesn't follow from the registers. All entries are read.
    pub fn underived(&self) -> Result<Underived> {
        let mut found = Underived::default();
        let mut right = 0;
        self.each_derived(|key, alive, stamps| {
            found.alive += u64::from(!self.is_recorded_as(key, alive)?);
            for (incarnation, clock) in stamps {
                let is_there = self.has_change(key, *incarnation, *clock)?;
                found.changes += u64::from(!is_there);
                right += u64::from(is_there);
            }
            Ok(())
        })?;
        let mut query = self.conn.prepare_cached("SELECT COUNT(*) FROM change")?;
        let all = query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned();
        found.changes += all.saturating_sub(right);
        found.counts = self.miscounted()?;
        Ok(found)
    }

    /// How many counts are not what there is.
    fn miscounted(&self) -> Result<u64> {
        let (mut wrong, mut right) = (0, 0);
        let counts = self.count_anew(|digest, copies| {
            let is_right = self.copies(digest)? == Some(copies);
            wrong += u64::from(!is_right);
            right += u64::from(is_right);
            Ok(())
        })?;
        let mut query = self.conn.prepare_cached("SELECT COUNT(*) FROM copies")?;
        let all = query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned();
        Ok(self.counts.borrow().differences(&counts) + wrong.max(all.saturating_sub(right)))
    }

    /// Counts what there is. `each` is told of every message that has several entries.
    fn count_anew(&self, mut each: impl FnMut(&Digest, Copies) -> Result<()>) -> Result<Counts> {
        let mut counts = Counts::default();
        let mut query = self.conn.prepare_cached(
            "SELECT digest, folder, alive, size, at_folder, EXISTS (SELECT 1 FROM missing WHERE entry = key) FROM entry
             ORDER BY digest",
        )?;
        let mut rows = query.query([])?;
        let mut last: Option<(Digest, Copies)> = None;
        let mut end = |counts: &mut Counts, message: Option<(Digest, Copies)>| {
            let Some((digest, copies)) = message else { return Ok(()) };
            if copies.here > 0 {
                counts.message(Change::Comes);
            }
            if copies.entries > 1 { each(&digest, copies) } else { Ok(()) }
        };
        while let Some(row) = rows.next()? {
            let (digest, alive, size) = (Digest(row.get(0)?), row.get(2)?, row.get::<_, i64>(3)?.cast_unsigned());
            if last.as_ref().is_none_or(|(of, _)| *of != digest) {
                end(&mut counts, last.replace((digest, Copies::default())))?;
            }
            let (_, copies) = last.as_mut().expect("it was just set");
            copies.entries += 1;
            counts.entries(Change::Comes, 1);
            if alive {
                counts.living(Change::Comes, FolderKey(row.get(1)?), size);
                if !row.get::<_, bool>(5)? {
                    copies.here += 1;
                    counts.here(Change::Comes, size);
                }
            }
            if let Some(at) = row.get::<_, Option<i64>>(4)? {
                counts.file(Change::Comes, FolderKey(at), size);
            }
        }
        end(&mut counts, last)?;
        Ok(counts)
    }

    /// Gives for each entry what follows from its registers: whether it is alive, and its stamps.
    fn each_derived(&self, mut each: impl FnMut(EntryKey, bool, &[(Incarnation, Clock)]) -> Result<()>) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.entry_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in &batch {
                each(row.key, row.entry.alive(), &newest_stamps(&row.entry))?;
            }
        }
    }

    fn is_recorded_as(&self, key: EntryKey, alive: bool) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM entry WHERE key = ? AND alive = ?")?;
        Ok(query.exists((key.0, alive))?)
    }

    fn has_change(&self, key: EntryKey, incarnation: Incarnation, clock: Clock) -> Result<bool> {
        let mut query =
            self.conn.prepare_cached("SELECT 1 FROM change WHERE incarnation = ? AND clock = ? AND entry = ?")?;
        Ok(query.exists((incarnation.0.cast_signed(), clock.bits().cast_signed(), key.0))?)
    }
}

impl Transaction<'_> {
    /// Makes what stands beside the entries follow from their registers. Returns what did not.
    pub fn mend_derived(&self) -> Result<Underived> {
        let found = self.underived()?;
        if found.changes > 0 {
            self.conn.execute("DELETE FROM change", [])?;
        }
        if found.count() > 0 {
            self.each_derived(|key, alive, stamps| {
                self.conn
                    .prepare_cached("UPDATE entry SET alive = ?2 WHERE key = ?1 AND alive <> ?2")?
                    .execute((key.0, alive))?;
                stamps.iter().try_for_each(|&(incarnation, clock)| self.add_change(key, incarnation, clock))
            })?;
            self.conn.execute("DELETE FROM copies", [])?;
            let counts = self.count_anew(|digest, copies| self.set_copies(digest, copies))?;
            self.counts.borrow_mut().replace(counts);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Sub;
    use crate::model::{Entry, EntryId, FlagSet, FolderName, Mtime, Origin, Stamp};
    use crate::state::Place;
    use crate::state::testing::fresh;

    #[test]
    fn what_does_not_follow_from_the_registers_is_counted_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let stamp = |n: u64| Stamp { clock: Clock::from_bits(n).unwrap(), incarnation: Incarnation(n % 2) };
        let tx = state.begin().unwrap();
        for n in 1..=5_u64 {
            let id =
                EntryId { digest: crate::model::Digest::of(&n.to_be_bytes()), birth: FolderName::inbox(), ordinal: 0 };
            let mut entry =
                Entry::delivered(None, Origin::Delivery, stamp(n), FolderName::inbox(), &FlagSet::new(), 1, Mtime(1));
            if n > 3 {
                entry.remove(stamp(n + 10));
            }
            tx.insert_entry(&id, &entry, None).unwrap();
        }
        tx.commit().unwrap();
        assert_eq!(state.underived().unwrap(), Underived::default());
        let none = Underived::default();
        let damages = [
            // That the messages are alive is counted by what is taken for alive: in the folder, and in all.
            ("UPDATE entry SET alive = 1 - alive", Underived { alive: 5, counts: 2, ..none }),
            ("DELETE FROM change WHERE entry = 4", Underived { changes: 1, ..none }),
            ("INSERT INTO change VALUES (7, 7, 1), (8, 8, 99)", Underived { changes: 2, ..none }),
            ("UPDATE change SET clock = clock + 100 WHERE entry = 2", Underived { changes: 2, ..none }),
            ("UPDATE folder_count SET files = 9", Underived { counts: 1, ..none }),
            ("INSERT INTO folder_count VALUES (77, 1, 1, 1)", Underived { counts: 1, ..none }),
            ("DELETE FROM folder_count", Underived { counts: 1, ..none }),
            ("UPDATE total SET here_messages = 1", Underived { counts: 1, ..none }),
            ("INSERT INTO copies SELECT digest, 2, 1 FROM entry WHERE key < 3", Underived { counts: 2, ..none }),
        ];
        for (damage, found) in damages {
            state.conn.execute(damage, []).unwrap();
            state.reload().unwrap();
            assert_eq!(state.underived().unwrap(), found, "{damage}");
            let tx = state.begin().unwrap();
            assert_eq!(tx.mend_derived().unwrap(), found, "{damage}");
            assert_eq!(tx.mend_derived().unwrap(), Underived::default(), "{damage}");
            tx.commit().unwrap();
        }
    }

    /// Numbers that look like chance, the same ones each time.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// Does something to an entry. The number is that of the step.
    fn act(state: &State, tx: &Transaction<'_>, chance: &mut Chance, number: u64) {
        let stamp = Stamp { clock: Clock::from_bits(number + 1).unwrap(), incarnation: Incarnation(1) };
        let mut folder = || ["INBOX", "Archive", "Lists"][usize::try_from(chance.below(3)).unwrap()].parse().unwrap();
        let (birth, folder): (FolderName, FolderName) = (folder(), folder());
        let digest = Digest::of(&chance.below(9).to_be_bytes());
        let id = EntryId { digest, birth, ordinal: u32::try_from(chance.below(3)).unwrap() };
        let size = 1 + chance.below(100);
        let at =
            Place { folder: tx.folder(&folder).unwrap(), sub: Sub::Cur, name: format!("{number}.name").into_bytes() };
        let delivered = |before: Option<&Entry>| {
            Entry::delivered(before, Origin::Delivery, stamp, folder.clone(), &FlagSet::new(), size, Mtime(1))
        };
        let Some(row) = state.entry_by_id(&id).unwrap() else {
            let mut entry = delivered(None);
            if chance.below(4) == 0 {
                entry.remove(stamp);
            }
            let at = (chance.below(2) == 0).then_some(&at);
            tx.insert_entry(&id, &entry, at).unwrap();
            return;
        };
        let mut entry = row.entry.clone();
        match chance.below(8) {
            0 => entry.remove(stamp),
            1 => entry = delivered(Some(&row.entry)),
            2 => entry.move_to(stamp, folder.clone()),
            3 => tx.set_place(row.key, Some(&at)).unwrap(),
            4 => tx.set_place(row.key, None).unwrap(),
            5 => tx.add_missing(row.key).unwrap(),
            6 => assert!(tx.remove_missing(row.key).is_ok()),
            _ => return tx.delete_entry(&row).unwrap(),
        }
        if entry != row.entry {
            tx.update_entry(&row, &entry).unwrap();
        }
    }

    #[test]
    fn whatever_becomes_of_entries_they_are_counted_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let mut chance = Chance(16);
        let mut tx = state.begin().unwrap();
        for number in 0..3_000 {
            act(&state, &tx, &mut chance, number);
            if number % 100 == 0 {
                assert_eq!(state.underived().unwrap(), Underived::default(), "step {number}");
                // A transaction that is undone leaves no trace, one that is made durable does.
                if chance.below(3) == 0 {
                    drop(tx);
                } else {
                    tx.commit().unwrap();
                }
                tx = state.begin().unwrap();
                assert_eq!(state.underived().unwrap(), Underived::default(), "step {number}");
            }
        }
        tx.commit().unwrap();
        let state = State::open(state.path()).unwrap();
        assert_eq!(state.underived().unwrap(), Underived::default());
        let ((entries, _), alive, here) = (state.count_all(), state.count_living(), state.totals());
        assert!(entries > alive && alive > here.entries && here.entries > here.messages && here.messages > 0);
    }
}
