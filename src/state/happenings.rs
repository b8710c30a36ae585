//! The history of messages: what became of each entry, by whose change, and on which occasion it was seen here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rusqlite::Row;

use super::codec::{damaged, list, optional_stamp};
use super::history::Action;
use super::{State, Transaction};
use crate::error::Result;
use crate::model::{Clock, Digest, EntryId, Flag, FolderName, Happened, Happening, Incarnation, PastChange, Rule};

/// An action in whose course something became of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The action.
    pub action: Action,
    /// The peer whose bundle it was.
    pub peer: Option<String>,
    /// The number of that bundle.
    pub bundle: Option<u64>,
}

/// The number of an occasion that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OccasionKey(i64);

/// Something that became of a message, as the history has it.
#[derive(Clone, Debug)]
pub struct MessageEvent {
    /// When it was seen here, in milliseconds since 1970 UTC.
    pub at: u64,
    /// The occasion.
    pub occasion: Occasion,
    /// The entry.
    pub id: EntryId,
    /// What became of it, and by which change.
    pub happening: Happening,
}

/// How much became of the messages of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEvents {
    /// The folder.
    pub folder: FolderName,
    /// Messages that came.
    pub new: u64,
    /// Messages that were moved into it.
    pub moved: u64,
    /// Messages whose flags were changed.
    pub flagged: u64,
    /// Messages that were removed.
    pub removed: u64,
}

/// What of the history of messages is looked for: all that fits each thing that is given.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// The message.
    pub digest: Option<Digest>,
    /// It came into, was in, or left this folder or one below it.
    pub folder: Option<FolderName>,
    /// It was seen here at this time or later: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// It was in a bundle of this peer, or is a change by one of these incarnations.
    pub by: Option<(String, Vec<Incarnation>)>,
    /// It is of this kind.
    pub kind: Option<EventKind>,
}

/// A kind of event that is looked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A message was removed.
    Removed,
    /// A change doesn't hold beside another one.
    Overruled,
}

/// What is counted by folder behind the event of a number: that a message came, was moved, has other flags, was removed. Of several
/// changes of a message's flags the last one counts.
const COUNTED: &str = "WITH counted AS (
         SELECT folder, what, from_folder IS NOT NULL AS moved, flags IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM happening later
             WHERE later.digest = h.digest AND later.key > h.key AND later.birth = h.birth AND later.ordinal = h.ordinal
                   AND later.what = 1 AND later.flags IS NOT NULL
         ) AS flagged
         FROM happening h WHERE key > ? AND what < 3
     ) SELECT folder, what = 0, moved, flagged, what = 2 FROM counted WHERE what <> 1 OR moved OR flagged";

/// So much the history of messages tells: about 120 MB.
const MOST: i64 = 1_000_000;

const ARRIVED: i64 = 0;
const CHANGED: i64 = 1;
const REMOVED: i64 = 2;
/// `from_folder` and `flags` have what does not hold.
const OVERRULED: i64 = 3;

/// Flags that were set or cleared are stored as their names after a sign, separated by spaces.
pub(super) fn flags_to_text(flags: &[(Flag, bool)]) -> String {
    let signed = flags.iter().map(|(flag, on)| format!("{}{flag}", if *on { '+' } else { '-' }));
    signed.collect::<Vec<_>>().join(" ")
}

pub(super) fn flags_from_text(text: &str) -> Result<Vec<(Flag, bool)>> {
    let flag = |word: &str| {
        let (on, name) =
            word.strip_prefix('+').map_or_else(|| (false, word.strip_prefix('-')), |name| (true, Some(name)));
        Some((name?.parse().ok()?, on))
    };
    text.split_ascii_whitespace().map(|word| flag(word).ok_or_else(|| damaged("a flag in the history"))).collect()
}

fn name(row: &Row<'_>, column: usize) -> Result<FolderName> {
    let text = row.get_ref(column)?.as_str().ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| damaged("a folder's name in the history"))
}

fn optional_name(row: &Row<'_>, column: usize) -> Result<Option<FolderName>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null { Ok(None) } else { name(row, column).map(Some) }
}

/// Reads what happened from the columns that begin here: incarnation, clock, what, folder, `from_folder`, flags, rule.
fn happening(row: &Row<'_>, first: usize) -> Result<Happening> {
    let folder = name(row, first + 3)?;
    let what = match row.get(first + 2)? {
        ARRIVED => Happened::Arrived(folder),
        what @ (CHANGED | OVERRULED) => {
            let flags: Option<String> = row.get(first + 5)?;
            let flags = flags_from_text(flags.as_deref().unwrap_or_default())?;
            let other = optional_name(row, first + 4)?;
            if what == CHANGED {
                Happened::Changed { folder, from: other, flags }
            } else {
                let name = row.get_ref(first + 6)?.as_str().ok();
                let rule = Rule::ALL.into_iter().find(|rule| Some(rule.name()) == name);
                let rule = rule.ok_or_else(|| damaged("why a change doesn't hold"))?;
                Happened::Overruled { rule, folder, to: other, flags }
            }
        }
        REMOVED => Happened::Removed(folder),
        _ => return Err(damaged("what became of a message")),
    };
    Ok(Happening { stamp: optional_stamp(row, first)?, what })
}

/// Reads an event from the first columns: at, command, peer, bundle, digest, birth, ordinal, and what happened.
fn event(row: &Row<'_>) -> Result<MessageEvent> {
    let action = row.get_ref(1)?.as_str().ok().and_then(Action::from_word);
    let digest = row.get_ref(4)?.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
    Ok(MessageEvent {
        at: row.get::<_, i64>(0)?.cast_unsigned(),
        occasion: Occasion {
            action: action.ok_or_else(|| damaged("the name of an action in the history"))?,
            peer: row.get(2)?,
            bundle: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        },
        id: EntryId {
            digest: Digest(digest.ok_or_else(|| damaged("a digest in the history"))?),
            birth: name(row, 5)?,
            ordinal: row.get(6)?,
        },
        happening: happening(row, 7)?,
    })
}

/// Incarnations as a list that SQL can read.
fn incarnations_list(incarnations: &[Incarnation]) -> String {
    list(incarnations.iter().map(|incarnation| incarnation.0.cast_signed()))
}

/// The parameters of a query for the next messages behind a digest of which these incarnations have changed something at
/// this clock or later.
fn next_by(by: &[Incarnation], since: Clock, after: Option<Digest>, limit: u32) -> (Vec<u8>, i64, String, u32) {
    let after = after.map_or(Vec::new(), |digest| digest.0.to_vec());
    (after, since.bits().cast_signed(), incarnations_list(by), limit)
}

impl State {
    /// The changes of an entry that the history has, the newest first. Arrivals and removals are not among them.
    pub fn past_of(&self, id: &EntryId) -> Result<Vec<PastChange>> {
        let mut query = self.conn.prepare_cached(
            "SELECT h.incarnation, h.clock, h.what, h.folder, h.from_folder, h.flags, h.rule, o.command
             FROM happening h JOIN occasion o ON o.key = h.occasion
             WHERE h.digest = ? AND h.birth = ? AND h.ordinal = ? AND h.what = 1 ORDER BY h.key DESC",
        )?;
        let mut rows = query.query((id.digest.0, id.birth.as_str(), id.ordinal))?;
        let mut past = Vec::new();
        while let Some(row) = rows.next()? {
            let took_back = row.get_ref(7)?.as_str().ok() == Some(Action::Undo.word());
            let Happening { stamp: Some(stamp), what: Happened::Changed { folder, from, flags } } = happening(row, 0)?
            else {
                continue;
            };
            past.push(PastChange { stamp, moved: from.map(|from| (from, folder)), flags, took_back });
        }
        Ok(past)
    }

    /// The next messages, in the order of their digests, of which an entry was moved or flagged by one of these
    /// incarnations at this clock or later.
    pub fn changed_by(
        &self,
        by: &[Incarnation],
        since: Clock,
        after: Option<Digest>,
        limit: u32,
    ) -> Result<Vec<Digest>> {
        self.digests(
            "SELECT DISTINCT digest FROM happening WHERE digest > ? AND what = 1 AND clock >= ?
             AND incarnation IN (SELECT value FROM json_each(?)) ORDER BY digest LIMIT ?",
            next_by(by, since, after, limit),
        )
    }

    /// The next messages, in the order of their digests, of which an entry is removed, and was changed last by one of these
    /// incarnations at this clock or later.
    pub fn removed_by(
        &self,
        by: &[Incarnation],
        since: Clock,
        after: Option<Digest>,
        limit: u32,
    ) -> Result<Vec<Digest>> {
        self.digests(
            "SELECT DISTINCT e.digest FROM change c JOIN entry e ON e.key = c.entry
             WHERE e.digest > ? AND NOT e.alive AND c.clock >= ?
             AND c.incarnation IN (SELECT value FROM json_each(?)) ORDER BY e.digest LIMIT ?",
            next_by(by, since, after, limit),
        )
    }

    /// What became of messages, as far as the filter lets it through: the newest `limit` events, the oldest of them
    /// first.
    pub fn message_events(&self, filter: &EventFilter, limit: u64) -> Result<Vec<MessageEvent>> {
        // What is known of one message is found by its digest.
        let of_message = if filter.digest.is_some() { "h.digest = ?1" } else { "?1 IS NULL" };
        let mut query = self.conn.prepare_cached(&format!(
            "SELECT at, command, peer, bundle, digest, birth, ordinal, incarnation, clock, what, folder, from_folder, flags,
                    rule
             FROM (
                 SELECT h.*, o.at, o.command, o.peer, o.bundle FROM happening h JOIN occasion o ON o.key = h.occasion
                 WHERE {of_message}
                 AND (?2 IS NULL OR h.folder = ?2 OR h.from_folder = ?2
                      OR substr(h.folder, 1, length(?2) + 1) = ?2 || '/'
                      OR substr(h.from_folder, 1, length(?2) + 1) = ?2 || '/')
                 AND (?3 IS NULL OR o.at >= ?3)
                 AND (?4 IS NULL OR o.peer = ?4 OR h.incarnation IN (SELECT value FROM json_each(?5)))
                 AND (?6 IS NULL OR h.what = ?6)
                 ORDER BY h.key DESC LIMIT ?7
             ) ORDER BY key"
        ))?;
        let (by, incarnations) = filter.by.as_ref().map(|(name, all)| (name.as_str(), incarnations_list(all))).unzip();
        let mut rows = query.query((
            filter.digest.map(|digest| digest.0),
            filter.folder.as_ref().map(FolderName::as_str),
            filter.since.map(|since| i64::try_from(since).unwrap_or(i64::MAX)),
            by,
            incarnations,
            filter.kind.map(|kind| match kind {
                EventKind::Removed => REMOVED,
                EventKind::Overruled => OVERRULED,
            }),
            i64::try_from(limit).unwrap_or(i64::MAX),
        ))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push(event(row)?);
        }
        Ok(events)
    }

    /// The number of the newest event that the history of messages has; 0 if it has none.
    pub fn newest_event(&self) -> Result<i64> {
        Ok(self.conn.prepare_cached("SELECT COALESCE(MAX(key), 0) FROM happening")?.query_row([], |row| row.get(0))?)
    }

    /// The next events behind the one of this number, in their order, each with its own number.
    pub fn events_after(&self, after: i64, limit: u32) -> Result<Vec<(i64, MessageEvent)>> {
        let mut query = self.conn.prepare_cached(
            "SELECT o.at, o.command, o.peer, o.bundle, h.digest, h.birth, h.ordinal, h.incarnation, h.clock, h.what,
                    h.folder, h.from_folder, h.flags, h.rule, h.key
             FROM happening h JOIN occasion o ON o.key = h.occasion WHERE h.key > ? ORDER BY h.key LIMIT ?",
        )?;
        let mut rows = query.query((after, limit))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push((row.get(14)?, event(row)?));
        }
        Ok(events)
    }

    /// How much happened in each folder behind the event of this number: the folders with the most of it first, and at
    /// most so many of them. A move counts where the message is after it, and a message whose flags were changed counts
    /// once, however many changes that were. Also gives how many folders there are.
    pub fn events_by_folder(&self, after: i64, limit: u32) -> Result<(Vec<FolderEvents>, u64)> {
        let mut query = self.conn.prepare_cached(COUNTED)?;
        let mut rows = query.query([after])?;
        // Counted here, as `SQLite` would sort all events for it, in as much memory again as it caches pages in.
        let mut by_folder: BTreeMap<String, (u64, FolderEvents)> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let folder = row.get_ref(0)?.as_str().map_err(|_| damaged("the name of a folder"))?;
            if !by_folder.contains_key(folder) {
                let events = FolderEvents { folder: name(row, 0)?, new: 0, moved: 0, flagged: 0, removed: 0 };
                by_folder.insert(folder.to_owned(), (0, events));
            }
            let (all, events) = by_folder.get_mut(folder).expect("it was added if it wasn't there");
            *all += 1;
            let counts = [&mut events.new, &mut events.moved, &mut events.flagged, &mut events.removed];
            for (column, count) in (1..).zip(counts) {
                *count += u64::from(row.get::<_, bool>(column)?);
            }
        }
        let folders = by_folder.len() as u64;
        let mut counted: Vec<_> = by_folder.into_values().collect();
        counted.sort_by_key(|(all, _)| Reverse(*all));
        counted.truncate(limit as usize);
        Ok((counted.into_iter().map(|(_, events)| events).collect(), folders))
    }
}

impl Transaction<'_> {
    /// Records an occasion, at `now` (milliseconds since 1970 UTC). Of all that became of messages on earlier ones, the
    /// newest [`MOST`] stay: nobody fills the disk by changing things to and fro.
    pub fn add_occasion(&self, now: u64, occasion: &Occasion) -> Result<OccasionKey> {
        self.conn
            .prepare_cached("DELETE FROM happening WHERE key <= (SELECT MAX(key) FROM happening) - ?")?
            .execute([MOST])?;
        self.conn.prepare_cached("INSERT INTO occasion (at, command, peer, bundle) VALUES (?, ?, ?, ?)")?.execute((
            now.cast_signed(),
            occasion.action.word(),
            &occasion.peer,
            occasion.bundle.map(u64::cast_signed),
        ))?;
        Ok(OccasionKey(self.conn.last_insert_rowid()))
    }

    /// Records what became of an entry.
    pub fn add_happening(&self, occasion: OccasionKey, id: &EntryId, happening: &Happening) -> Result<()> {
        let (what, folder, from, flags) = match &happening.what {
            Happened::Arrived(folder) => (ARRIVED, folder, None, None),
            Happened::Changed { folder, from, flags } => {
                (CHANGED, folder, from.as_ref(), (!flags.is_empty()).then(|| flags_to_text(flags)))
            }
            Happened::Removed(folder) => (REMOVED, folder, None, None),
            Happened::Overruled { folder, to, flags, .. } => {
                (OVERRULED, folder, to.as_ref(), (!flags.is_empty()).then(|| flags_to_text(flags)))
            }
        };
        let rule = if let Happened::Overruled { rule, .. } = &happening.what { Some(rule.name()) } else { None };
        self.conn
            .prepare_cached(
                "INSERT INTO happening
                     (occasion, digest, birth, ordinal, incarnation, clock, what, folder, from_folder, flags, rule)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                occasion.0,
                id.digest.0,
                id.birth.as_str(),
                id.ordinal,
                happening.stamp.map(|stamp| stamp.incarnation.0.cast_signed()),
                happening.stamp.map(|stamp| stamp.clock.bits().cast_signed()),
                what,
                folder.as_str(),
                from.map(FolderName::as_str),
                flags,
                rule,
            ))?;
        Ok(())
    }

    /// Takes back that an entry has come on this occasion.
    pub fn withdraw_arrival(&self, occasion: OccasionKey, id: &EntryId) -> Result<()> {
        self.conn
            .prepare_cached(
                "DELETE FROM happening WHERE digest = ? AND occasion = ? AND birth = ? AND ordinal = ? AND what = 0",
            )?
            .execute((id.digest.0, occasion.0, id.birth.as_str(), id.ordinal))?;
        Ok(())
    }

    /// Dates occasions at a time that can't be (before `from`, after `to`) as if they had been `now`. All are
    /// milliseconds since 1970 UTC.
    pub fn date_occasions_anew(&self, from: u64, to: u64, now: u64) -> Result<()> {
        self.conn.prepare_cached("UPDATE occasion SET at = ? WHERE at NOT BETWEEN ? AND ?")?.execute((
            now.cast_signed(),
            from.cast_signed(),
            to.cast_signed(),
        ))?;
        Ok(())
    }

    /// Forgets what became of messages on occasions before a time (milliseconds since 1970 UTC). Returns how much that
    /// is.
    pub fn purge_happenings(&self, before: u64) -> Result<u64> {
        let before = before.cast_signed();
        let forgotten = self
            .conn
            .execute("DELETE FROM happening WHERE occasion IN (SELECT key FROM occasion WHERE at < ?)", [before])?;
        self.conn.execute("DELETE FROM occasion WHERE at < ?", [before])?;
        Ok(forgotten as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{fresh, sorts_nothing};

    #[test]
    fn no_flag_of_the_history_is_lost_in_silence() {
        let flag = |name: &str| name.parse::<Flag>().unwrap();
        let flags = vec![(flag("S"), true), (flag("recent"), false), (flag("keyword:-odd"), true)];
        assert_eq!(flags_to_text(&flags), "+S -recent +keyword:-odd");
        assert_eq!(flags_from_text("+S -recent +keyword:-odd").unwrap(), flags);
        assert_eq!(flags_from_text("").unwrap(), Vec::new());
        assert!(flags_from_text("S").is_err() && flags_from_text("+seen").is_err());
    }

    #[test]
    fn what_happened_is_counted_by_folder_and_nothing_is_sorted_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        let occasion = tx.add_occasion(1, &Occasion { action: Action::Import, peer: None, bundle: None }).unwrap();
        let folder = |name: &str| name.parse::<FolderName>().unwrap();
        let happened = |n: u8, what: Happened| {
            let id = EntryId { digest: Digest([n; 32]), birth: folder("a"), ordinal: 0 };
            tx.add_happening(occasion, &id, &Happening { stamp: None, what }).unwrap();
        };
        let seen = |on| vec![("S".parse::<Flag>().unwrap(), on)];
        let changed = |name: &str, from: Option<&str>, flags: Vec<(Flag, bool)>| Happened::Changed {
            folder: folder(name),
            from: from.map(folder),
            flags,
        };
        happened(9, Happened::Arrived(folder("a")));
        let before = state.newest_event().unwrap();
        happened(1, Happened::Arrived(folder("a")));
        // Twice the same message: its flags count once, where it was last.
        happened(2, changed("c", None, seen(true)));
        happened(2, changed("b", Some("c"), seen(false)));
        happened(3, Happened::Removed(folder("b")));
        happened(4, Happened::Removed(folder("c")));
        let (counted, folders) = state.events_by_folder(before, 2).unwrap();
        let shown = |events: &FolderEvents| {
            (events.folder.to_string(), [events.new, events.moved, events.flagged, events.removed])
        };
        let expected = [("b", [0, 1, 1, 1]), ("a", [1, 0, 0, 0])].map(|(name, counts)| (name.to_owned(), counts));
        assert_eq!(counted.iter().map(shown).collect::<Vec<_>>(), expected);
        assert_eq!(folders, 3);
        sorts_nothing(&state.conn, COUNTED);
    }
}
