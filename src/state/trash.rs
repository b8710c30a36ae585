//! The trash: messages that imports have removed, kept for a while, and files that are still to be moved there.

use std::borrow::Cow;
use std::fmt;

use rusqlite::Row;

use super::codec::{damaged, list, optional_stamp};
use super::entries::place;
use super::{FolderKey, Place, State, Transaction};
use crate::error::Result;
use crate::model::{Digest, Entry, EntryId, Flag, FlagSet, FolderName, Incarnation, Mtime, Stamp};

/// The number of a message in the trash, by which it is restored.
pub type TrashKey = i64;

/// The one who removed a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// This replica.
    Here,
    /// The peer of this name, or somebody behind it.
    Peer(String),
    /// Nobody: an interrupted join has left it.
    InterruptedJoin,
}

/// A file that is to be moved to the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Its number.
    pub key: i64,
    /// Where it was last seen.
    pub at: Place,
    /// The id of the entry that it was.
    pub id: EntryId,
    /// The flags that were on.
    pub flags: FlagSet,
    /// The message's size in bytes.
    pub size: u64,
    /// The delivery date.
    pub mtime: Mtime,
    /// Who removed it, as far as that was told.
    pub by: By,
    /// The stamp of the removal, if it is known.
    pub removal: Option<Stamp>,
}

/// A message in the trash.
#[derive(Clone, Debug)]
pub struct Trashed {
    /// Its number.
    pub key: TrashKey,
    /// The name of its file in the trash directory.
    pub file: String,
    /// The id of the entry that it was.
    pub id: EntryId,
    /// The folder in which it was.
    pub folder: FolderName,
    /// The flags that were on.
    pub flags: FlagSet,
    /// Bytes.
    pub size: u64,
    /// The delivery date.
    pub mtime: Mtime,
    /// When it came into the trash, in milliseconds since 1970 UTC.
    pub removed: u64,
    /// Who removed it, as far as that was told: the peer whose bundle the removal was in.
    pub by: By,
    /// The stamp of the removal, if it is known.
    pub removal: Option<Stamp>,
}

/// What of the trash is meant: all that fits each thing that is given.
#[derive(Clone, Debug, Default)]
pub struct TrashFilter {
    /// Its number is in one of these ranges, both ends included.
    pub keys: Option<Vec<(TrashKey, TrashKey)>>,
    /// It was in this folder, or one below it.
    pub folder: Option<FolderName>,
    /// It came into the trash at this time or later: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// It was removed by one of these incarnations; or, where it isn't known by whom, a bundle of the peer with this
    /// name told of it.
    pub by: Option<(String, Vec<Incarnation>)>,
}

const COLUMNS: &str =
    "key, file, digest, birth, ordinal, folder, flags, size, mtime, removed, reason, incarnation, clock";

/// [`By`] is stored as a word or a peer's name. No peer's name holds a space. A prefix sets a peer apart whose name is
/// itself one of these words.
const HERE: &str = "here";
const INTERRUPTED_JOIN: &str = "an interrupted join";
const PEER: &str = "peer ";

impl By {
    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Here => HERE.into(),
            Self::InterruptedJoin => INTERRUPTED_JOIN.into(),
            Self::Peer(name) if name == HERE => format!("{PEER}{name}").into(),
            Self::Peer(name) => name.into(),
        }
    }

    fn from_text(text: &str) -> Self {
        match text {
            HERE => Self::Here,
            INTERRUPTED_JOIN => Self::InterruptedJoin,
            name => Self::Peer(name.strip_prefix(PEER).unwrap_or(name).to_owned()),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => HERE,
            Self::Peer(name) => name,
            Self::InterruptedJoin => INTERRUPTED_JOIN,
        })
    }
}

/// Flags are stored as their names, separated by spaces.
fn flags_to_text<'f>(flags: impl IntoIterator<Item = &'f Flag>) -> String {
    flags.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn flags_from_text(text: &str) -> Result<FlagSet> {
    text.split_ascii_whitespace().map(|flag| flag.parse().map_err(|_| damaged("a removed message's flag"))).collect()
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|_| damaged("a removed message's record"))
}

fn folder_name(row: &Row<'_>, column: usize) -> Result<FolderName> {
    text(row, column)?.parse().map_err(|_| damaged("a folder name"))
}

/// Reads the id that stands in three columns from this one on.
fn entry_id(row: &Row<'_>, first: usize) -> Result<EntryId> {
    let digest = row.get_ref(first)?.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
    Ok(EntryId {
        digest: Digest(digest.ok_or_else(|| damaged("a digest"))?),
        birth: folder_name(row, first + 1)?,
        ordinal: row.get(first + 2)?,
    })
}

impl State {
    /// Whether a file is to be moved to the trash.
    pub fn is_discarded(&self, at: &Place) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM discard WHERE folder = ? AND sub = ? AND name = ?")?;
        Ok(query.exists((at.folder.0, at.sub as u8, &at.name[..]))?)
    }

    /// Whether a file with this base of its name is to be moved from this folder to the trash: its flags may have
    /// changed since.
    pub fn is_discarded_base(&self, folder: FolderKey, base: &[u8]) -> Result<bool> {
        let (first, behind) = ([base, b":"].concat(), [base, b";"].concat());
        let mut query = self.conn.prepare_cached(
            "SELECT 1 FROM discard WHERE folder = ?1 AND (name = ?2 OR (name >= ?3 AND name < ?4)) LIMIT 1",
        )?;
        Ok(query.exists((folder.0, base, first, behind))?)
    }

    /// Whether any file is to be moved to the trash.
    pub fn has_discards(&self) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM discard LIMIT 1")?.exists([])?)
    }

    /// Files that are to be moved to the trash.
    pub fn discard_batch(&self, after: i64, limit: u32) -> Result<Vec<Discard>> {
        let mut query = self.conn.prepare_cached(
            "SELECT key, folder, sub, name, digest, birth, ordinal, flags, size, mtime, reason, incarnation, clock
             FROM discard WHERE key > ? ORDER BY key LIMIT ?",
        )?;
        let mut rows = query.query((after, limit))?;
        let mut batch = Vec::new();
        while let Some(row) = rows.next()? {
            batch.push(Discard {
                key: row.get(0)?,
                at: place(row, 1)?.ok_or_else(|| damaged("the place of a removed file"))?,
                id: entry_id(row, 4)?,
                flags: flags_from_text(text(row, 7)?)?,
                size: row.get::<_, i64>(8)?.cast_unsigned(),
                mtime: Mtime(row.get(9)?),
                by: By::from_text(text(row, 10)?),
                removal: optional_stamp(row, 11)?,
            });
        }
        Ok(batch)
    }

    fn trash_where(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Trashed>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM trash {condition}"))?;
        let mut rows = query.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(Trashed {
                key: row.get(0)?,
                file: row.get(1)?,
                id: entry_id(row, 2)?,
                folder: folder_name(row, 5)?,
                flags: flags_from_text(text(row, 6)?)?,
                size: row.get::<_, i64>(7)?.cast_unsigned(),
                mtime: Mtime(row.get(8)?),
                removed: row.get::<_, i64>(9)?.cast_unsigned(),
                by: By::from_text(text(row, 10)?),
                removal: optional_stamp(row, 11)?,
            });
        }
        Ok(found)
    }

    /// The next messages in the trash after the one with the number `after`, in the order of their numbers.
    pub fn trash_batch(&self, after: TrashKey, limit: u32) -> Result<Vec<Trashed>> {
        self.trash_where("WHERE key > ? ORDER BY key LIMIT ?", (after, limit))
    }

    /// The same of those messages that are meant.
    pub fn trash_selected(&self, filter: &TrashFilter, after: TrashKey, limit: u32) -> Result<Vec<Trashed>> {
        let (lows, highs): (Vec<i64>, Vec<i64>) = filter.keys.iter().flatten().copied().unzip();
        let ranged = filter.keys.is_some();
        let (by, incarnations) = match &filter.by {
            Some((name, all)) => (
                Some(By::Peer(name.clone()).to_text().into_owned()),
                list(all.iter().map(|incarnation| incarnation.0.cast_signed())),
            ),
            None => (None, list(std::iter::empty())),
        };
        self.trash_where(
            "WHERE key > ?1 AND (NOT ?2 OR EXISTS (
                 SELECT 1 FROM json_each(?3) low JOIN json_each(?4) high ON low.key = high.key
                 WHERE trash.key BETWEEN low.value AND high.value))
             AND (?5 IS NULL OR folder = ?5 OR substr(folder, 1, length(?5) + 1) = ?5 || '/')
             AND (?6 IS NULL OR removed >= ?6)
             AND (?7 IS NULL OR incarnation IN (SELECT value FROM json_each(?8)) OR (incarnation IS NULL AND reason = ?7))
             ORDER BY key LIMIT ?9",
            (
                after,
                ranged,
                list(lows.into_iter()),
                list(highs.into_iter()),
                filter.folder.as_ref().map(FolderName::as_str),
                filter.since.map(|since| i64::try_from(since).unwrap_or(i64::MAX)),
                by,
                incarnations,
                limit,
            ),
        )
    }

    /// Whether the same entry came into the trash once more after this.
    pub fn is_trashed_again(&self, trashed: &Trashed) -> Result<bool> {
        let mut query = self
            .conn
            .prepare_cached("SELECT 1 FROM trash WHERE digest = ? AND birth = ? AND ordinal = ? AND key > ? LIMIT 1")?;
        let id = &trashed.id;
        Ok(query.exists((id.digest.0, id.birth.as_str(), id.ordinal, trashed.key))?)
    }

    /// The files in the trash whose messages were brought back.
    pub fn restored_files(&self) -> Result<Vec<String>> {
        let mut query = self.conn.prepare_cached("SELECT file FROM restored")?;
        Ok(query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// The newest messages in the trash whose numbers begin so.
    pub fn newest_trash(&self, beginning: &str, limit: u32) -> Result<Vec<Trashed>> {
        self.trash_where("WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key DESC LIMIT ?2", (beginning, limit))
    }

    /// The message with this number.
    pub fn trashed(&self, key: TrashKey) -> Result<Option<Trashed>> {
        Ok(self.trash_where("WHERE key = ?", [key])?.pop())
    }

    /// Where a file with this message is that is still to be moved to the trash.
    pub fn discarded_message(&self, digest: &Digest) -> Result<Option<Place>> {
        let mut query = self.conn.prepare_cached("SELECT folder, sub, name FROM discard WHERE digest = ? LIMIT 1")?;
        let mut rows = query.query([digest.0])?;
        rows.next()?.map(|row| place(row, 0)).transpose().map(Option::flatten)
    }

    /// A message in the trash with this digest.
    pub fn trashed_message(&self, digest: &Digest) -> Result<Option<Trashed>> {
        Ok(self.trash_where("WHERE digest = ? LIMIT 1", [digest.0])?.pop())
    }
}

impl Transaction<'_> {
    /// Records a file that is to be moved to the trash. If the entry was removed, it says by which change.
    pub fn add_discard(&self, id: &EntryId, entry: &Entry, at: &Place, by: &By) -> Result<()> {
        let removal = entry.removal.filter(|_| !entry.alive()).and_then(|removal| removal.author());
        self.conn
            .prepare_cached(
                "INSERT INTO discard (folder, sub, name, digest, birth, ordinal, flags, size, mtime, reason, incarnation, clock)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                at.folder.0,
                at.sub as u8,
                &at.name[..],
                id.digest.0,
                id.birth.as_str(),
                id.ordinal,
                flags_to_text(entry.flags_on()),
                entry.size.cast_signed(),
                entry.mtime.0,
                by.to_text(),
                removal.map(|stamp| stamp.incarnation.0.cast_signed()),
                removal.map(|stamp| stamp.clock.bits().cast_signed()),
            ))?;
        Ok(())
    }

    /// Records that a file was moved to the trash, or is not there any more.
    pub fn remove_discard(&self, key: i64) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM discard WHERE key = ?")?.execute([key])?;
        Ok(())
    }

    /// Records a file that was moved to the trash.
    pub fn add_trash(&self, file: &str, discard: &Discard, folder: &FolderName, now: u64) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO trash
                     (key, file, digest, birth, ordinal, folder, flags, size, mtime, removed, reason, incarnation, clock)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                discard.key,
                file,
                discard.id.digest.0,
                discard.id.birth.as_str(),
                discard.id.ordinal,
                folder.as_str(),
                flags_to_text(&discard.flags),
                discard.size.cast_signed(),
                discard.mtime.0,
                now.cast_signed(),
                discard.by.to_text(),
                discard.removal.map(|stamp| stamp.incarnation.0.cast_signed()),
                discard.removal.map(|stamp| stamp.clock.bits().cast_signed()),
            ))?;
        Ok(())
    }

    /// Dates what was put into the trash at a time that can't be (before `from`, after `to`) as if it had been put
    /// there `now`. All are milliseconds since 1970 UTC. Returns how much that is.
    pub fn date_trash_anew(&self, from: u64, to: u64, now: u64) -> Result<u64> {
        let mut statement =
            self.conn.prepare_cached("UPDATE trash SET removed = ? WHERE removed NOT BETWEEN ? AND ?")?;
        Ok(statement.execute((now.cast_signed(), from.cast_signed(), to.cast_signed()))? as u64)
    }

    /// Records that the message of a file in the trash was brought back.
    pub fn add_restored(&self, file: &str) -> Result<()> {
        self.conn.prepare_cached("INSERT OR IGNORE INTO restored (file) VALUES (?)")?.execute([file])?;
        Ok(())
    }

    /// Records that these files were removed.
    pub fn clear_restored(&self) -> Result<()> {
        self.conn.execute("DELETE FROM restored", [])?;
        Ok(())
    }

    /// Forgets a message that is no longer in the trash.
    pub fn remove_trash(&self, key: TrashKey) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM trash WHERE key = ?")?.execute([key])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_whom_a_message_was_removed_is_stored_as_one_text_each() {
        let peer = |name: &str| By::Peer(name.to_owned());
        for (by, text) in [
            (By::Here, "here"),
            (peer("laptop"), "laptop"),
            (peer("peer"), "peer"),
            (peer("here"), "peer here"),
            (By::InterruptedJoin, "an interrupted join"),
        ] {
            assert_eq!((by.to_text().as_ref(), By::from_text(text)), (text, by.clone()));
        }
        assert_eq!(peer("here").to_string(), "here");
    }

    #[test]
    fn no_flag_is_lost_in_silence() {
        let flags: FlagSet = [Flag::Info(b'S'), Flag::Recent, Flag::keyword("$Forwarded").unwrap()].into();
        assert_eq!(flags_to_text(&flags), "S recent keyword:$Forwarded");
        assert_eq!(flags_from_text("S recent keyword:$Forwarded").unwrap(), flags);
        assert_eq!(flags_from_text("").unwrap(), FlagSet::new());
        assert!(flags_from_text("S seen").is_err());
    }
}
