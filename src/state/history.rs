//! History: the actions that changed the replica, for people to read.

use super::codec::damaged;
use super::{State, Transaction};
use crate::bundle::ReplicaId;
use crate::error::Result;

/// An action that the history names. Each is stored as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `doctor` began a new incarnation, or repaired the state.
    Doctor,
    /// A bundle was written for a peer.
    Export,
    /// A bundle from a peer was applied.
    Import,
    /// An invitation was written.
    Invite,
    /// A job was cancelled.
    JobsCancel,
    /// A person had a job forgotten.
    JobsForget,
    /// A job was to be tried again.
    JobsRetry,
    /// A job for this replica was dealt with.
    JobsRun,
    /// The replica's key, or a peer's, was replaced.
    KeyRotate,
    /// The state was found copied, moved or restored when it was opened.
    Open,
    /// A peer was made known.
    PeerAdd,
    /// A peer was forgotten, or an invitation withdrawn.
    PeerRemove,
    /// A peer was trusted again that had been revoked.
    PeerReinstate,
    /// A peer got another name.
    PeerRename,
    /// A replica was revoked, here or by others.
    PeerRevoke,
    /// Things that nobody needs any more were forgotten.
    Purge,
    /// Mail that had vanished was got back, or asked for.
    Restore,
    /// A scan found changes made here.
    Scan,
    /// Messages were brought back from the trash.
    TrashRestore,
    /// Changes that somebody had made were taken back.
    Undo,
    /// A job was asked for here.
    Uux,
}

impl Action {
    const ALL: [Self; 21] = [
        Self::Doctor,
        Self::Export,
        Self::Import,
        Self::Invite,
        Self::JobsCancel,
        Self::JobsForget,
        Self::JobsRetry,
        Self::JobsRun,
        Self::KeyRotate,
        Self::Open,
        Self::PeerAdd,
        Self::PeerRemove,
        Self::PeerReinstate,
        Self::PeerRename,
        Self::PeerRevoke,
        Self::Purge,
        Self::Restore,
        Self::Scan,
        Self::TrashRestore,
        Self::Undo,
        Self::Uux,
    ];

    /// The word for it: the command that did it, as it is typed; `open` stands for any command.
    pub fn word(self) -> &'static str {
        match self {
            Self::Doctor => "doctor",
            Self::Export => "export",
            Self::Import => "import",
            Self::Invite => "invite",
            Self::JobsCancel => "jobs cancel",
            Self::JobsForget => "jobs forget",
            Self::JobsRetry => "jobs retry",
            Self::JobsRun => "jobs run",
            Self::KeyRotate => "key rotate",
            Self::Open => "open",
            Self::PeerAdd => "peer add",
            Self::PeerRemove => "peer remove",
            Self::PeerReinstate => "peer reinstate",
            Self::PeerRename => "peer rename",
            Self::PeerRevoke => "peer revoke",
            Self::Purge => "purge",
            Self::Restore => "restore",
            Self::Scan => "scan",
            Self::TrashRestore => "trash restore",
            Self::Undo => "undo",
            Self::Uux => "uux",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }
}

/// The number of a line of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKey(i64);

/// An action that was done, as the history has it.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, in milliseconds since 1970 UTC.
    pub at: u64,
    /// Which action it was.
    pub action: Action,
    /// The name of the peer that it concerns.
    pub peer: Option<String>,
    /// The details, for people.
    pub text: String,
}

/// Whom the events concern that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerns<'n> {
    /// Anybody.
    Anybody,
    /// The peer of this name.
    Peer(&'n str),
    /// No peer, but this replica alone.
    NoPeer,
}

impl State {
    /// Whether the history has this action with this peer and these words.
    pub fn is_recorded(&self, action: Action, peer: &str, text: &str) -> Result<bool> {
        let mut query =
            self.conn.prepare_cached("SELECT 1 FROM history WHERE command = ? AND peer = ? AND text = ? LIMIT 1")?;
        Ok(query.exists((action.word(), peer, text))?)
    }

    /// When messages were last asked for from peers: milliseconds since 1970 UTC.
    pub fn last_restore(&self) -> Result<Option<u64>> {
        // The very words of the index `history_restore`: the history can be long.
        let mut query =
            self.conn.prepare_cached("SELECT at FROM history WHERE command = 'restore' ORDER BY key DESC LIMIT 1")?;
        let mut rows = query.query([])?;
        Ok(rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()?.map(i64::cast_unsigned))
    }

    /// The words of the last such action with this peer, or with none.
    pub fn last_text(&self, action: Action, peer: Option<&str>) -> Result<Option<String>> {
        let mut query = self
            .conn
            .prepare_cached("SELECT text FROM history WHERE command = ? AND peer IS ? ORDER BY key DESC LIMIT 1")?;
        let mut rows = query.query((action.word(), peer))?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// The last `limit` events at most, the oldest of them first: those that were done since a time (milliseconds since
    /// 1970 UTC), if that is given, and that concern whoever is asked for.
    ///
    /// # Errors
    /// An event names an action that this version doesn't know.
    pub fn history(&self, limit: u64, since: Option<u64>, whose: Concerns<'_>) -> Result<Vec<Event>> {
        let peer = match whose {
            Concerns::Peer(name) => Some(name),
            Concerns::Anybody | Concerns::NoPeer => None,
        };
        let mut query = self.conn.prepare_cached(
            "SELECT at, command, peer, text FROM (
                 SELECT * FROM history WHERE (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR peer = ?3)
                     AND (NOT ?4 OR peer IS NULL) ORDER BY key DESC LIMIT ?1
             ) ORDER BY key",
        )?;
        let mut rows = query.query((
            i64::try_from(limit).unwrap_or(i64::MAX),
            since.map(|since| i64::try_from(since).unwrap_or(i64::MAX)),
            peer,
            whose == Concerns::NoPeer,
        ))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let action = row.get_ref(1)?.as_str().ok().and_then(Action::from_word);
            events.push(Event {
                at: row.get::<_, i64>(0)?.cast_unsigned(),
                action: action.ok_or_else(|| damaged("the name of an action in the history"))?,
                peer: row.get(2)?,
                text: row.get(3)?,
            });
        }
        Ok(events)
    }

    /// The ids of the peers that were removed under this name, as far as the history goes.
    pub fn removed_under(&self, name: &str) -> Result<Vec<ReplicaId>> {
        let mut query = self.conn.prepare_cached("SELECT DISTINCT text FROM history WHERE command = ? AND peer = ?")?;
        let mut rows = query.query((Action::PeerRemove.word(), name))?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next()? {
            // Of an invitation that was withdrawn there is no id.
            ids.extend(row.get_ref(0)?.as_str().ok().and_then(|text| text.parse::<ReplicaId>().ok()));
        }
        Ok(ids)
    }
}

impl Transaction<'_> {
    /// Records an action that was done at `now` (milliseconds since 1970 UTC).
    pub fn record(&self, now: u64, action: Action, peer: Option<&str>, text: &str) -> Result<EventKey> {
        self.conn.prepare_cached("INSERT INTO history (at, command, peer, text) VALUES (?, ?, ?, ?)")?.execute((
            now.cast_signed(),
            action.word(),
            peer,
            text,
        ))?;
        Ok(EventKey(self.conn.last_insert_rowid()))
    }

    /// Gives an action that goes on other details.
    pub fn amend(&self, event: EventKey, text: &str) -> Result<()> {
        self.conn.prepare_cached("UPDATE history SET text = ? WHERE key = ?")?.execute((text, event.0))?;
        Ok(())
    }

    /// Dates what was done at a time that can't be (before `from`, after `to`) as if it had been done `now`. All are
    /// milliseconds since 1970 UTC.
    pub fn date_history_anew(&self, from: u64, to: u64, now: u64) -> Result<()> {
        self.conn.prepare_cached("UPDATE history SET at = ? WHERE at NOT BETWEEN ? AND ?")?.execute((
            now.cast_signed(),
            from.cast_signed(),
            to.cast_signed(),
        ))?;
        Ok(())
    }

    /// Forgets the events before a time (milliseconds since 1970 UTC). Returns how many they were.
    pub fn purge_history(&self, before: u64) -> Result<u64> {
        Ok(self.conn.execute("DELETE FROM history WHERE at < ?", [before.cast_signed()])? as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_a_word_of_its_own_and_is_found_by_it() {
        for action in Action::ALL {
            assert_eq!(Action::from_word(action.word()), Some(action));
        }
        assert_eq!(Action::from_word("exports"), None);
    }
}
