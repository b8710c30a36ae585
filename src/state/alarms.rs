//! Alarms: what a guard has refused, and what was taken in since. So that an import that is repeated isn't measured
//! anew each time.

use rusqlite::OptionalExtension;

use super::codec::{damaged, list};
use super::peers::json;
use super::{EntryKey, FolderKey, Since, State, Transaction};
use crate::bundle::ReplicaId;
use crate::error::Result;
use crate::model::{Amount, Knowledge};

/// What a guard stands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// What imports take away.
    Removed = 0,
    /// What imports add.
    Added = 1,
}

impl Guarded {
    /// All of it.
    pub const ALL: [Self; 2] = [Self::Removed, Self::Added];
}

/// A refusal that stands, and what there was before the command that was refused first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// When something was refused by itself last: milliseconds since 1970 UTC.
    pub raised: u64,
    /// The replica whose bundle that was, by the id that it had then.
    pub by: ReplicaId,
    /// The newest entry then: those after it came later.
    pub last: EntryKey,
    /// The folders that existed then, sorted.
    pub folders: Vec<FolderKey>,
    /// How much was added since.
    pub added: Amount,
    /// What the bundles that were refused knew: once that is known here, nothing of what was refused is left. `None` if no
    /// single one of them knew all of it.
    pub told: Option<Knowledge>,
}

impl State {
    /// The alarm of this kind, whether it still counts or not.
    pub fn alarm(&self, guarded: Guarded) -> Result<Option<Alarm>> {
        let mut query =
            self.conn.prepare_cached("SELECT raised, peer, last, folders, added, told FROM alarm WHERE kind = ?")?;
        let row = query.query_row([guarded as i64], |row| {
            let (raised, last): (i64, i64) = (row.get(0)?, row.get(2)?);
            let text = |column| row.get::<_, String>(column);
            Ok((raised.cast_unsigned(), text(1)?, EntryKey(last), text(3)?, text(4)?, row.get::<_, Option<String>>(5)?))
        });
        let Some((raised, by, last, folders, added, told)) = row.optional()? else { return Ok(None) };
        let by = by.parse().map_err(|_| damaged("an alarm's replica"))?;
        let folders: Vec<i64> = serde_json::from_str(&folders).map_err(|_| damaged("an alarm's folders"))?;
        let added = serde_json::from_str(&added).map_err(|_| damaged("an alarm's additions"))?;
        let told =
            told.map(|told| serde_json::from_str(&told)).transpose().map_err(|_| damaged("an alarm's knowledge"))?;
        Ok(Some(Alarm { raised, by, last, folders: folders.into_iter().map(FolderKey).collect(), added, told }))
    }
}

impl Transaction<'_> {
    /// Records an alarm.
    pub fn set_alarm(&self, guarded: Guarded, alarm: &Alarm) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO alarm (kind, raised, peer, last, folders, added, told) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                guarded as i64,
                alarm.raised.cast_signed(),
                alarm.by.to_string(),
                alarm.last.0,
                list(alarm.folders.iter().map(|folder| folder.0)),
                serde_json::to_string(&alarm.added).expect("numbers have a JSON form"),
                alarm.told.as_ref().map(json),
            ))?;
        Ok(())
    }

    /// Ends an alarm.
    pub fn end_alarm(&self, guarded: Guarded) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM alarm WHERE kind = ?")?.execute([guarded as i64])?;
        if guarded == Guarded::Removed {
            self.conn.execute("DELETE FROM alarm_departed", [])?;
        }
        Ok(())
    }

    /// Makes the list of what has left its place since a refusal from what is recorded; it is empty without an alarm.
    pub fn recall_departed(&self) -> Result<()> {
        self.conn.execute("DELETE FROM temp.departed WHERE since = ?", [Since::Refusal as i64])?;
        self.conn.execute(
            "INSERT INTO temp.departed (since, entry, folder, target, size)
                 SELECT ?, entry, folder, target, size FROM alarm_departed",
            [Since::Refusal as i64],
        )?;
        Ok(())
    }

    /// Keeps a list of what has left its place for the commands that come.
    pub fn keep_departed(&self, since: Since) -> Result<()> {
        self.conn.execute(
            "INSERT OR REPLACE INTO alarm_departed (entry, folder, target, size)
                 SELECT entry, folder, target, size FROM temp.departed WHERE since = ?",
            [since as i64],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::PrivateKey;
    use crate::disk::RealDisk;
    use crate::model::{Clock, Incarnation};
    use crate::state::Departed;
    use crate::state::testing::fresh;

    #[test]
    fn an_alarm_is_kept_with_what_has_left_until_it_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        State::create(&RealDisk, &path, Incarnation(1), None).unwrap();
        let by = PrivateKey::generate("desktop").unwrap().public_key().id();
        let added =
            Amount { messages: 1, bytes: 2, folders: 3, tombstones: 4, incarnations: 5, flags: 6, keyword_bytes: 7 };
        let told = Some([(Incarnation(7), Clock::from_bits(8).unwrap())].into_iter().collect());
        let alarm = Alarm { raised: 5, by, last: EntryKey(9), folders: vec![FolderKey(1), FolderKey(4)], added, told };
        let state = State::open(&path).unwrap();
        let tx = state.begin().unwrap();
        tx.begin_departed().unwrap();
        tx.add_departed(Since::Command, EntryKey(3), FolderKey(1), Some(FolderKey(4)), 10).unwrap();
        tx.add_departed(Since::Command, EntryKey(4), FolderKey(1), None, 10).unwrap();
        tx.set_alarm(Guarded::Removed, &alarm).unwrap();
        tx.keep_departed(Since::Command).unwrap();
        tx.commit().unwrap();
        drop(state);

        let state = State::open(&path).unwrap();
        assert_eq!(state.alarm(Guarded::Removed).unwrap(), Some(alarm.clone()));
        assert_eq!(state.alarm(Guarded::Added).unwrap(), None);
        let tx = state.begin().unwrap();
        tx.begin_departed().unwrap();
        tx.recall_departed().unwrap();
        assert_eq!(state.departed(Since::Command).unwrap(), []);
        let departed = |entries, removed, own, own_removed| Departed {
            folder: FolderKey(1),
            entries,
            removed,
            targets: entries - removed,
            own,
            own_removed,
        };
        assert_eq!(state.departed(Since::Refusal).unwrap(), [departed(2, 1, 0, 0)]);
        // Where it goes at last counts, and it is this command that takes it there.
        for since in [Since::Command, Since::Refusal] {
            tx.add_departed(since, EntryKey(3), FolderKey(4), None, 10).unwrap();
        }
        tx.keep_departed(Since::Refusal).unwrap();
        assert_eq!(state.departed(Since::Refusal).unwrap(), [departed(2, 2, 1, 1)]);
        assert_eq!(state.departed(Since::Command).unwrap()[0].folder, FolderKey(4));
        tx.recall_departed().unwrap();
        assert_eq!(state.departed(Since::Refusal).unwrap(), [departed(2, 2, 1, 1)]);
        tx.end_alarm(Guarded::Added).unwrap();
        assert!(state.alarm(Guarded::Removed).unwrap().is_some());
        tx.end_alarm(Guarded::Removed).unwrap();
        assert_eq!(state.alarm(Guarded::Removed).unwrap(), None);
        tx.commit().unwrap();
        assert_eq!(
            state.conn.query_row("SELECT COUNT(*) FROM alarm_departed", [], |row| row.get::<_, i64>(0)).unwrap(),
            0
        );
    }

    #[test]
    fn a_folder_is_not_forgotten_that_an_alarm_names() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        let names: [crate::model::FolderName; 3] = ["Lists", "Letters", "Other"].map(|name| name.parse().unwrap());
        let [from, to, _] = names.each_ref().map(|name| tx.folder(name).unwrap());
        tx.begin_departed().unwrap();
        tx.add_departed(Since::Command, EntryKey(1), from, Some(to), 10).unwrap();
        tx.keep_departed(Since::Command).unwrap();
        tx.forget_unused_folders().unwrap();
        assert_eq!(names.each_ref().map(|name| tx.find_folder(name).is_some()), [true, true, false]);
        tx.end_alarm(Guarded::Removed).unwrap();
        tx.forget_unused_folders().unwrap();
        assert_eq!(names.each_ref().map(|name| tx.find_folder(name).is_some()), [false; 3]);
    }
}
