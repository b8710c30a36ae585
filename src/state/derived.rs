//! What stands beside the entries for the queries, and follows from their registers: whether an entry is alive, and its
//! newest stamp of each incarnation.

use super::entries::newest_stamps;
use super::{EntryKey, State, Transaction};
use crate::error::Result;
use crate::model::{Clock, Incarnation};

/// This many entries are looked at in one go.
const BATCH: u32 = 512;

/// What doesn't follow from the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Underived {
    /// Entries that are taken for alive and aren't, or the other way round.
    pub alive: u64,
    /// Stamps by which an entry would be found and isn't, or is found and shouldn't be.
    pub changes: u64,
}

impl Underived {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.alive + self.changes
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
        Ok(found)
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
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, EntryId, FlagSet, FolderName, Mtime, Origin, Stamp};
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
        let damages = [
            ("UPDATE entry SET alive = 1 - alive", Underived { alive: 5, changes: 0 }),
            ("DELETE FROM change WHERE entry = 4", Underived { alive: 0, changes: 1 }),
            ("INSERT INTO change VALUES (7, 7, 1), (8, 8, 99)", Underived { alive: 0, changes: 2 }),
            ("UPDATE change SET clock = clock + 100 WHERE entry = 2", Underived { alive: 0, changes: 2 }),
        ];
        for (damage, found) in damages {
            state.conn.execute(damage, []).unwrap();
            assert_eq!(state.underived().unwrap(), found, "{damage}");
            let tx = state.begin().unwrap();
            assert_eq!(tx.mend_derived().unwrap(), found, "{damage}");
            assert_eq!(tx.mend_derived().unwrap(), Underived::default(), "{damage}");
            tx.commit().unwrap();
        }
    }
}
