//! What replicas that were revoked have done and others have told of, and what is not believed of it here.

use super::codec::clock_from;
use super::{State, Transaction};
use crate::error::Result;
use crate::model::{Clock, EntryId, Incarnation, Knowledge};

impl State {
    /// Up to where bundles have told here of changes that were passed over, whoever is believed by now.
    pub fn told_in_vain(&self) -> Result<Knowledge> {
        let mut query = self.conn.prepare_cached("SELECT incarnation, told FROM told_in_vain")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        rows.map(|row| {
            let (incarnation, told) = row?;
            Ok((Incarnation(incarnation.cast_unsigned()), clock_from(told)?))
        })
        .collect()
    }

    /// How many living messages were passed over that are not here, by who has brought them.
    pub fn count_passed_over(&self) -> Result<Vec<(Incarnation, u64)>> {
        let mut query =
            self.conn.prepare_cached("SELECT incarnation, COUNT(*) FROM passed_entry GROUP BY incarnation")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok(rows
            .map(|row| row.map(|(of, count)| (Incarnation(of.cast_unsigned()), count.cast_unsigned())))
            .collect::<rusqlite::Result<_>>()?)
    }
}

impl Transaction<'_> {
    /// Records up to where bundles have told of an incarnation's changes that were passed over.
    pub fn set_told_in_vain(&self, incarnation: Incarnation, told: Clock) -> Result<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO told_in_vain (incarnation, told) VALUES (?, ?)")?
            .execute((incarnation.0.cast_signed(), told.bits().cast_signed()))?;
        Ok(())
    }

    /// Remembers that a message that is not here was passed over, and who has brought it.
    pub fn add_passed_over(&self, id: &EntryId, of: Incarnation) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO passed_entry (digest, birth, ordinal, incarnation) VALUES (?, ?, ?, ?)",
            )?
            .execute((id.digest.0, id.birth.as_str(), id.ordinal, of.0.cast_signed()))?;
        Ok(())
    }

    /// Forgets that it was: it is here by now, or was removed where it was.
    pub fn remove_passed_over(&self, id: &EntryId) -> Result<()> {
        self.conn
            .prepare_cached("DELETE FROM passed_entry WHERE digest = ? AND birth = ? AND ordinal = ?")?
            .execute((id.digest.0, id.birth.as_str(), id.ordinal))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use crate::state::testing::fresh;

    #[test]
    fn what_was_passed_over_is_counted_once_and_by_who_has_brought_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let id = |n: u8| EntryId { digest: Digest::of(&[n]), birth: "INBOX".parse().unwrap(), ordinal: 0 };
        let (one, other) = (Incarnation(1), Incarnation(u64::MAX));
        let tx = state.begin().unwrap();
        for (n, of) in [(1, one), (2, one), (1, one), (3, other)] {
            tx.add_passed_over(&id(n), of).unwrap();
        }
        let sorted = || {
            let mut all = state.count_passed_over().unwrap();
            all.sort();
            all
        };
        assert_eq!(sorted(), [(one, 2), (other, 1)]);
        tx.remove_passed_over(&id(2)).unwrap();
        tx.remove_passed_over(&id(3)).unwrap();
        tx.remove_passed_over(&id(4)).unwrap();
        assert_eq!(sorted(), [(one, 1)]);

        let clock = |bits| Clock::from_bits(bits).unwrap();
        for (of, told) in [(one, 7), (other, 8), (one, 9)] {
            tx.set_told_in_vain(of, clock(told)).unwrap();
        }
        assert_eq!(tx.told_in_vain().unwrap(), [(one, clock(9)), (other, clock(8))].into_iter().collect());
    }
}
