//! The state of record: a `SQLite` database that holds the entries with their registers, what each file looked like on disk
//! when last seen, the folders, what is known, the peers, the trash and the history.
//!
//! No SQL stands outside this module, and no decision about mail inside it. Everything that must change together is changed
//! between [`State::begin`] and [`Transaction::commit`].

mod codec;
mod entries;
mod folders;
mod history;
mod invitations;
mod jobs;
mod peers;
mod schema;
mod trash;
mod work;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

pub use entries::{EntryKey, EntryRow, Place, Totals};
pub use folders::{FolderKey, FolderRow};
pub use history::Event;
pub use invitations::Invited;
pub use jobs::{Job, JobKey, Said, StatementKind};
pub use peers::{Peer, PeerKey};
pub use trash::{By, Discard, TrashKey, Trashed};
pub use work::{Outgoing, Pending};

use crate::error::{Error, Result};
use crate::model::{Clock, Incarnation, Knowledge, Stamp, StateDigest};
use folders::Folders;

/// An open state database.
#[derive(Debug)]
pub struct State {
    conn: Connection,
    path: PathBuf,
    folders: RefCell<Folders>,
    digest: Cell<StateDigest>,
    digest_stored: Cell<StateDigest>,
}

/// Changes that are made together or not at all: dropped without a commit, they are undone.
#[derive(Debug)]
#[must_use]
pub struct Transaction<'s> {
    state: &'s State,
    open: bool,
}

/// By what a state file is known: a copy of it, or one that was put back from a backup, differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its inode.
    pub inode: u64,
    /// The machine that it is on.
    pub machine: String,
    /// When the file was made, in nanoseconds since 1970 UTC, where the file system tells: an inode number is often given
    /// again to the next file.
    pub born: Option<i64>,
}

/// What a mail root held before a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootBefore {
    /// No message: all that an interrupted join has left there is its own.
    Empty,
    /// Mail.
    Mail,
}

/// Names of single values.
mod meta {
    pub const DIGEST: &str = "state-digest";
    pub const INCARNATION: &str = "incarnation";
    pub const NUMBER: &str = "bundle-number";
    pub const INITIAL: &str = "initial-scan-due";
    pub const LEFTOVERS: &str = "tmp-may-hold-leftovers";
    pub const RESTORED: &str = "restored-trash-file";
    pub const INODE: &str = "inode";
    pub const MACHINE: &str = "machine";
    pub const JOINING: &str = "joining";
    pub const RESTORED_STATE: &str = "state-was-restored";
    pub const BORN: &str = "born";
}

impl State {
    /// Makes a new state database. It must not exist.
    pub fn create(path: &Path, incarnation: Incarnation) -> Result<Self> {
        let conn = Connection::open(path).map_err(|error| opening(path, &error))?;
        configure(&conn).and_then(|()| schema::create(&conn)).map_err(|error| opening(path, &error))?;
        let state = Self::with(conn, path)?;
        state.set_meta(meta::INCARNATION, incarnation.0.cast_signed())?;
        state.set_meta(meta::INITIAL, 1)?;
        Ok(state)
    }

    /// Opens an existing state database.
    ///
    /// # Errors
    /// It isn't there, is not a state database, or was written by a newer mailsync.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(|error| opening(path, &error))?;
        configure(&conn).map_err(|error| opening(path, &error))?;
        let version: i64 =
            conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| opening(path, &error))?;
        if version > schema::VERSION {
            let what = format!(
                "opening {}: the state has version {version}, this mailsync knows versions up to {}",
                path.display(),
                schema::VERSION
            );
            return Err(Error::failed(what).advise("install the newer mailsync that wrote it"));
        }
        if version == 1 {
            schema::migrate(&conn, version).map_err(|error| opening(path, &error))?;
        } else if version != schema::VERSION {
            let what = format!("opening {}: not a mailsync state (version {version})", path.display());
            return Err(Error::failed(what).advise("put the state directory back from a backup"));
        }
        Self::with(conn, path)
    }

    fn with(conn: Connection, path: &Path) -> Result<Self> {
        conn.set_prepared_statement_cache_capacity(64);
        let state = Self {
            conn,
            path: path.to_owned(),
            folders: RefCell::default(),
            digest: Cell::default(),
            digest_stored: Cell::default(),
        };
        state.reload()?;
        Ok(state)
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a transaction. There is one at a time.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        // Another process may have changed the database since it was opened.
        self.reload()?;
        Ok(Transaction { state: self, open: true })
    }

    fn reload(&self) -> Result<()> {
        *self.folders.borrow_mut() = Folders::load(&self.conn)?;
        let digest = self.meta::<Vec<u8>>(meta::DIGEST)?.and_then(|bytes| bytes.try_into().ok());
        let digest = digest.map(StateDigest::from_bytes).unwrap_or_default();
        self.digest.set(digest);
        self.digest_stored.set(digest);
        Ok(())
    }

    fn meta<T: FromSql>(&self, name: &str) -> Result<Option<T>> {
        let mut query = self.conn.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
        Ok(query.query_row([name], |row| row.get(0)).optional()?)
    }

    fn set_meta(&self, name: &str, value: impl ToSql) -> Result<()> {
        let mut statement = self.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")?;
        statement.execute((name, value))?;
        Ok(())
    }

    fn clear_meta(&self, name: &str) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM meta WHERE name = ?")?.execute([name])?;
        Ok(())
    }

    /// The hash of everything that is alive.
    pub fn digest(&self) -> StateDigest {
        self.digest.get()
    }

    fn digest_add(&self, canonical: &[u8]) {
        let mut digest = self.digest.get();
        digest.add(canonical);
        self.digest.set(digest);
    }

    fn digest_remove(&self, canonical: &[u8]) {
        let mut digest = self.digest.get();
        digest.remove(canonical);
        self.digest.set(digest);
    }

    /// The replica's present incarnation.
    pub fn incarnation(&self) -> Result<Incarnation> {
        let stored: Option<i64> = self.meta(meta::INCARNATION)?;
        let stored = stored.ok_or_else(|| Error::failed("the state database names no incarnation"))?;
        Ok(Incarnation(stored.cast_unsigned()))
    }

    /// Starts a new incarnation, which has issued no stamp yet.
    pub fn set_incarnation(&self, incarnation: Incarnation) -> Result<()> {
        self.conn.execute("DELETE FROM issued", [])?;
        self.set_meta(meta::INCARNATION, incarnation.0.cast_signed())
    }

    /// By what the state file was known when it was last written to.
    pub fn home(&self) -> Result<Option<Identity>> {
        let inode: Option<i64> = self.meta(meta::INODE)?;
        let machine: Option<String> = self.meta(meta::MACHINE)?;
        let born: Option<i64> = self.meta(meta::BORN)?;
        Ok(inode.zip(machine).map(|(inode, machine)| Identity { inode: inode.cast_unsigned(), machine, born }))
    }

    /// Records by what the state file is known.
    pub fn set_home(&self, home: &Identity) -> Result<()> {
        self.set_meta(meta::INODE, home.inode.cast_signed())?;
        self.set_meta(meta::MACHINE, &home.machine)?;
        match home.born {
            Some(born) => self.set_meta(meta::BORN, born),
            None => self.clear_meta(meta::BORN),
        }
    }

    /// Whether this replica was copied or put back to an earlier state at some time: what it did before its present
    /// incarnation is not known for certain.
    pub fn was_restored(&self) -> Result<bool> {
        Ok(self.meta::<i64>(meta::RESTORED_STATE)?.is_some())
    }

    /// Records that this replica was copied or put back to an earlier state.
    pub fn set_was_restored(&self) -> Result<()> {
        self.set_meta(meta::RESTORED_STATE, 1)
    }

    /// Whether the first scan has not been completed yet.
    pub fn initial_scan_due(&self) -> Result<bool> {
        Ok(self.meta::<i64>(meta::INITIAL)?.is_some())
    }

    /// Records that the first scan was completed.
    pub fn initial_scan_done(&self) -> Result<()> {
        self.clear_meta(meta::INITIAL)
    }

    /// Whether the join that made this replica has not been completed yet, and whether the mail root was empty before it.
    pub fn joining(&self) -> Result<Option<RootBefore>> {
        Ok(self.meta::<i64>(meta::JOINING)?.map(|empty| if empty == 1 { RootBefore::Empty } else { RootBefore::Mail }))
    }

    /// Records that a join has begun, or is complete.
    pub fn set_joining(&self, joining: Option<RootBefore>) -> Result<()> {
        match joining {
            Some(before) => self.set_meta(meta::JOINING, i64::from(before == RootBefore::Empty)),
            None => self.clear_meta(meta::JOINING),
        }
    }

    /// Whether an import that did not end may have left files in a `tmp/`.
    pub fn leftovers(&self) -> Result<bool> {
        Ok(self.meta::<i64>(meta::LEFTOVERS)?.is_some())
    }

    /// Records whether an import may have left files in a `tmp/`.
    pub fn set_leftovers(&self, leftovers: bool) -> Result<()> {
        if leftovers { self.set_meta(meta::LEFTOVERS, 1) } else { self.clear_meta(meta::LEFTOVERS) }
    }

    /// The name of the file in the trash whose message was brought back, and that is still to be removed.
    pub fn restored(&self) -> Result<Option<String>> {
        self.meta(meta::RESTORED)
    }

    /// Records that the message of a file in the trash was brought back.
    pub fn set_restored(&self, file: &str) -> Result<()> {
        self.set_meta(meta::RESTORED, file)
    }

    /// The file was removed.
    pub fn clear_restored(&self) -> Result<()> {
        self.clear_meta(meta::RESTORED)
    }

    /// The number for the next bundle; every call gives a greater one.
    pub fn next_number(&self) -> Result<u64> {
        let number = self.meta::<i64>(meta::NUMBER)?.unwrap_or(0) + 1;
        self.set_meta(meta::NUMBER, number)?;
        Ok(number.cast_unsigned())
    }

    /// What this replica knows.
    pub fn knowledge(&self) -> Result<Knowledge> {
        self.knowledge_column("SELECT incarnation, known FROM knowledge WHERE known > 0")
    }

    /// The knowledge of all removals that were purged.
    pub fn horizon(&self) -> Result<Knowledge> {
        self.knowledge_column("SELECT incarnation, horizon FROM knowledge WHERE horizon > 0")
    }

    fn knowledge_column(&self, query: &str) -> Result<Knowledge> {
        let mut query = self.conn.prepare_cached(query)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        rows.map(|row| {
            let (incarnation, clock) = row?;
            Ok((Incarnation(incarnation.cast_unsigned()), clock_from(clock)?))
        })
        .collect()
    }

    /// Records what this replica knows.
    pub fn set_knowledge(&self, knowledge: &Knowledge) -> Result<()> {
        self.conn.execute("UPDATE knowledge SET known = 0", [])?;
        let mut statement = self.conn.prepare_cached(
            "INSERT INTO knowledge (incarnation, known, horizon) VALUES (?, ?, 0)
             ON CONFLICT (incarnation) DO UPDATE SET known = excluded.known",
        )?;
        for (incarnation, clock) in knowledge.iter() {
            statement.execute((incarnation.0.cast_signed(), clock.bits().cast_signed()))?;
        }
        Ok(())
    }

    /// Records which removals were purged.
    pub fn set_horizon(&self, horizon: &Knowledge) -> Result<()> {
        let mut statement = self.conn.prepare_cached(
            "INSERT INTO knowledge (incarnation, known, horizon) VALUES (?, 0, ?)
             ON CONFLICT (incarnation) DO UPDATE SET horizon = excluded.horizon",
        )?;
        for (incarnation, clock) in horizon.iter() {
            statement.execute((incarnation.0.cast_signed(), clock.bits().cast_signed()))?;
        }
        Ok(())
    }

    /// Issues a stamp for changes made at `now` (milliseconds since 1970 UTC), above everything known.
    ///
    /// # Errors
    /// The clock is used up: a peer's is wrong by thousands of years.
    pub fn issue(&self, now: u64) -> Result<Stamp> {
        let mut knowledge = self.knowledge()?;
        let clock = Clock::next(now, knowledge.newest()).ok_or_else(|| {
            Error::failed("making a stamp: the clock that the peers have shown is at its end, thousands of years ahead")
                .advise("find the machine whose clock is wrong and make a new replica there")
        })?;
        let stamp = Stamp { clock, incarnation: self.incarnation()? };
        knowledge.learn(stamp);
        self.set_knowledge(&knowledge)?;
        self.record_issued(clock)?;
        Ok(stamp)
    }

    /// Records that the present incarnation has issued a stamp with this clock.
    pub fn record_issued(&self, clock: Clock) -> Result<()> {
        let mut statement = self.conn.prepare_cached("INSERT OR IGNORE INTO issued (clock) VALUES (?)")?;
        statement.execute([clock.bits().cast_signed()])?;
        Ok(())
    }

    /// Whether the present incarnation has issued a stamp with this clock.
    pub fn has_issued(&self, clock: Clock) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM issued WHERE clock = ?")?;
        Ok(query.exists([clock.bits().cast_signed()])?)
    }

    /// The clocks of the stamps that the present incarnation has issued after `base`, ascending.
    pub fn issued_after(&self, base: Clock) -> Result<Vec<Clock>> {
        let mut query = self.conn.prepare_cached("SELECT clock FROM issued WHERE clock > ? ORDER BY clock")?;
        let rows = query.query_map([base.bits().cast_signed()], |row| row.get(0))?;
        rows.map(|row| clock_from(row?)).collect()
    }

    /// Asks `SQLite` whether the database is whole. Returns what it finds wrong.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let mut query = self.conn.prepare("PRAGMA integrity_check(20)")?;
        let rows = query.query_map([], |row| row.get::<_, String>(0))?;
        Ok(rows.filter(|row| row.as_ref().map_or(true, |text| text != "ok")).collect::<rusqlite::Result<_>>()?)
    }
}

impl Transaction<'_> {
    /// Makes the changes durable.
    pub fn commit(mut self) -> Result<()> {
        let digest = self.state.digest.get();
        if digest != self.state.digest_stored.get() {
            self.state.set_meta(meta::DIGEST, digest.to_bytes())?;
        }
        self.state.conn.execute_batch("COMMIT")?;
        self.state.digest_stored.set(digest);
        self.open = false;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // Whatever fails here fails again, and is told, at the next use of the database; SQLite itself undoes an
            // unfinished transaction when the file is opened.
            let _ = self.state.conn.execute_batch("ROLLBACK");
            let _ = self.state.reload();
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
        let advice = match error.sqlite_error_code() {
            Some(DiskFull) => "make room on the disk that holds the state, then run this again",
            Some(DatabaseCorrupt | NotADatabase) => {
                "put the state directory back from a backup; your mail itself was not touched"
            }
            _ => "your mail and the last committed state are as they were; run this again",
        };
        Self::failed(format!("the state database: {error}")).advise(advice)
    }
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -16384)?;
    conn.pragma_update(None, "temp_store", "FILE")
}

fn opening(path: &Path, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    let advice = match error.sqlite_error_code() {
        Some(CannotOpen | PermissionDenied | ReadOnly) if path.is_file() => "see that you may read and write it",
        _ => {
            "put it back from a backup; or move it away, and start anew with `mailsync init`, though that may bring back mail \
             that was removed elsewhere: `mailsync join` by a new invitation, into an empty mail root and another home, \
             doesn't"
        }
    };
    Error::io("opening the state database", path, error).advise(advice)
}

fn clock_from(stored: i64) -> Result<Clock> {
    Clock::from_bits(stored.cast_unsigned()).ok_or_else(|| damaged("a clock"))
}

/// The database holds something that mailsync can't have written.
fn damaged(what: &str) -> Error {
    Error::failed(format!("the state database: {what} in it has no meaning"))
        .advise("put the state directory back from a backup; your mail itself was not touched")
}
