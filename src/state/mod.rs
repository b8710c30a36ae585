//! The state: a `SQLite` database that holds the entries with their registers, the place of each file as last seen, the
//! folders, the knowledge, the peers, the jobs, the trash and the history.
//!
//! No SQL stands outside this module, and no decision about mail inside it. A [`State`] can be read. A change needs a
//! [`Transaction`], so that nothing is ever changed outside one. Only the lists of a scan and an export, which nobody
//! else sees, are kept without one.

mod alarms;
mod changed_files;
mod codec;
mod counting;
mod counts;
mod derived;
mod disk_name_rows;
mod disk_names;
mod entries;
mod entry_keys;
mod fault;
mod file_lists;
mod folder_rows;
mod folders;
mod free_ordinal;
mod happenings;
mod history;
mod insert;
mod invitations;
mod job_news;
mod jobs;
mod keywords;
mod knowledge;
mod lists;
mod meta;
mod name;
mod news_list;
mod not_believed;
mod obstacles;
mod ordinals;
mod passed_over;
mod peers;
mod pending;
mod replica_statements;
mod schema;
mod succeeded;
#[cfg(test)]
pub(crate) mod testing;
mod trash;
mod unrecorded;
mod without_entry;

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use alarms::{Alarm, Guarded};
pub use counts::Totals;
pub use derived::Underived;
pub use entries::{EntryRow, Place};
pub use entry_keys::{EntryKey, EntryKeys};
pub use fault::LOST;
pub use folder_rows::{FolderKey, FolderRow};
pub use folders::Directory;
pub use happenings::{EventFilter, EventKind, FolderEvents, MessageEvent, Occasion, OccasionKey};
pub use history::{Action, Concerns, Event, EventKey};
pub use invitations::{Invited, Spent};
pub use job_news::News;
pub use jobs::{Forgotten, Job, JobKey, StatementKind, StoredStatement};
pub use lists::{Departed, Outgoing, Since};
pub use meta::{Identity, MailRoot, RootBefore};
pub use news_list::{ListedNews, NewsList};
pub use obstacles::{Hindered, Waiting};
pub use peers::{Peer, PeerKey};
pub use pending::Pending;
pub use replica_statements::ReplicaSaying;
pub use succeeded::Succeeded;
pub use trash::{By, Discard, TrashFilter, TrashKey, Trashed};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::model::{Digest, Incarnation, StateDigest};
use counts::Counts;
use disk_name_rows::DiskNames;
use fault::{is_full, opening};
use folder_rows::Folders;
use ordinals::Ordinals;
use without_entry::WithoutEntry;

/// The version of the state database that this mailsync reads and writes.
pub const VERSION: i64 = schema::VERSION;

/// An open state database.
#[derive(Debug)]
pub struct State {
    conn: Connection,
    path: PathBuf,
    folders: RefCell<Folders>,
    disk_names: RefCell<DiskNames>,
    ordinals: RefCell<Ordinals>,
    counts: RefCell<Counts>,
    without_entry: RefCell<WithoutEntry>,
    /// The entries that the transaction that is open has added and whose contents are awaited. They are no rows, as most
    /// contents come in the same transaction.
    awaited: RefCell<EntryKeys>,
    digest: Cell<StateDigest>,
    digest_stored: Cell<StateDigest>,
    /// Whether all transactions are steps of a [`Rehearsal`].
    rehearsing: Cell<bool>,
    #[cfg(test)]
    steps: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

/// Changes that are made to see what comes of them: dropped, all of them are undone. Meanwhile a transaction that is
/// committed is seen by the next one, and by nobody else.
#[derive(Debug)]
#[must_use]
pub struct Rehearsal<'s>(&'s State);

/// A part of a rehearsal. It is undone when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct Part<'s> {
    state: &'s State,
    is_open: bool,
}

/// Changes that are made together or not at all: if it is dropped without a commit, they are undone. It reads like its
/// [`State`], and sees the changes.
#[derive(Debug)]
#[must_use]
pub struct Transaction<'s> {
    state: &'s State,
    open: bool,
}

impl State {
    /// Makes a new state database, which must not exist yet. `joining` is given at the beginning of a join. The
    /// database is closed again, so that all of it is in one file.
    pub fn create(disk: &dyn Disk, path: &Path, incarnation: Incarnation, joining: Option<RootBefore>) -> Result<()> {
        let fail = |error| Error::io("making the state database", path, error).advise("see that you may write there");
        // SQLite gives the files beside it the mode of this one.
        disk.create(path).map_err(fail)?;
        disk.set_mode(path, 0o600).map_err(fail)?;
        let conn = Connection::open(path).map_err(|error| opening(path, &error))?;
        // With a write-ahead log, what can't be brought into the file at its end would be told by nobody.
        conn.pragma_update(None, "journal_mode", "DELETE")
            .and_then(|()| conn.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| schema::create(&conn))
            .map_err(|error| opening(path, &error))?;
        let state = Self::with(conn, path)?;
        let transaction = state.begin()?;
        transaction.set_meta(name::INCARNATION, incarnation.0.cast_signed())?;
        transaction.set_meta(name::INITIAL, 1)?;
        transaction.set_joining(joining)?;
        transaction.commit()?;
        state.conn.close().map_err(|(_, error)| opening(path, &error))?;
        let whole = disk.open(path).and_then(|file| disk.sync_file(path, &file));
        whole.map_err(fail)
    }

    /// Opens an existing state database.
    ///
    /// # Errors
    /// It isn't there, is not a state database, or was written by a newer mailsync.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_sharing(path, true)
    }

    /// The same for who only reads. Where the disk is full, so that what `SQLite` shares between processes finds no room, the
    /// database is opened for this process alone: others wait until it is closed.
    ///
    /// # Errors
    /// As for [`State::open`].
    pub fn open_to_read(path: &Path) -> Result<Self> {
        Self::open(path).or_else(|error| if is_full(path) { Self::open_sharing(path, false) } else { Err(error) })
    }

    fn open_sharing(path: &Path, shared: bool) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(|error| opening(path, &error))?;
        if !shared {
            // Then the index of the write-ahead log is kept in memory (sqlite.org/wal.html, section 8).
            conn.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(|error| opening(path, &error))?;
        }
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
        if (1..schema::VERSION).contains(&version) {
            let what = format!(
                "opening {}: the state has version {version}, from before the first release of mailsync, and this one reads \
                 version {} only",
                path.display(),
                schema::VERSION
            );
            return Err(Error::failed(what).advise(
                "move it away, and start anew: by `mailsync init`, or by an invitation into an empty mail root and another home",
            ));
        }
        if version != schema::VERSION {
            let what = format!("opening {}: not a mailsync state (version {version})", path.display());
            return Err(Error::failed(what).advise(
                "keep a copy of it, then put the state directory back from a backup, and run `mailsync doctor --new-identity`",
            ));
        }
        Self::with(conn, path)
    }

    /// Opens an existing state database for a glance: nothing is written, made or locked, not even what `SQLite` keeps
    /// beside it. If a command works on it just now, what is seen may be a moment old, or a query may fail.
    ///
    /// # Errors
    /// It isn't there, or is of another version.
    pub fn glance(path: &Path) -> Result<Self> {
        // Whoever opens a database whose write-ahead log isn't in use makes the files for it, even to read: unless it is
        // told that nobody changes the database meanwhile.
        let mode = if beside(path).iter().all(|file| file.exists()) { "mode=ro" } else { "immutable=1" };
        let name: Vec<String> = path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
        let name = name.concat();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let conn =
            Connection::open_with_flags(format!("file:{name}?{mode}"), flags).map_err(|error| opening(path, &error))?;
        conn.busy_timeout(Duration::ZERO).map_err(|error| opening(path, &error))?;
        let version: i64 =
            conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| opening(path, &error))?;
        if version == schema::VERSION {
            return Self::with(conn, path);
        }
        Err(Error::failed(format!("opening {}: the state is of version {version}", path.display())))
    }

    fn with(conn: Connection, path: &Path) -> Result<Self> {
        #[cfg(test)]
        let (conn, steps) = testing::counting_steps(conn);
        conn.set_prepared_statement_cache_capacity(64);
        let state = Self {
            conn,
            path: path.to_owned(),
            folders: RefCell::default(),
            disk_names: RefCell::default(),
            ordinals: RefCell::default(),
            counts: RefCell::default(),
            without_entry: RefCell::default(),
            awaited: RefCell::default(),
            digest: Cell::default(),
            digest_stored: Cell::default(),
            rehearsing: Cell::default(),
            #[cfg(test)]
            steps,
        };
        state.reload()?;
        Ok(state)
    }

    /// The path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a transaction. There is one at a time.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        self.conn.execute_batch(if self.is_rehearsing() { "SAVEPOINT step" } else { "BEGIN IMMEDIATE" })?;
        // Another process may have changed the database since it was opened.
        self.reload()?;
        if self.is_without_entries()? {
            self.without_entry.borrow_mut().all();
        }
        Ok(Transaction { state: self, open: true })
    }

    /// Begins a rehearsal. There is one at a time, and no transaction is open when it begins or ends.
    pub fn rehearse(&self) -> Result<Rehearsal<'_>> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        self.rehearsing.set(true);
        self.reload()?;
        Ok(Rehearsal(self))
    }

    /// Whether everything that is changed now will be undone.
    pub fn is_rehearsing(&self) -> bool {
        self.rehearsing.get()
    }

    /// Begins a part of a rehearsal that can be undone by itself. Without a rehearsal there is nothing to undo.
    pub fn begin_part(&self) -> Result<Part<'_>> {
        let is_open = self.is_rehearsing();
        if is_open {
            self.conn.execute_batch("SAVEPOINT part")?;
        }
        Ok(Part { state: self, is_open })
    }

    fn reload(&self) -> Result<()> {
        *self.folders.borrow_mut() = Folders::load(&self.conn)?;
        *self.disk_names.borrow_mut() = DiskNames::load(&self.conn)?;
        *self.ordinals.borrow_mut() = Ordinals::default();
        *self.counts.borrow_mut() = Counts::load(&self.conn)?;
        self.without_entry.take();
        self.awaited.take();
        let digest = self.meta::<Vec<u8>>(name::DIGEST)?.and_then(|bytes| bytes.try_into().ok());
        let digest = digest.map(StateDigest::from_bytes).unwrap_or_default();
        self.digest.set(digest);
        self.digest_stored.set(digest);
        Ok(())
    }

    /// The state digest: the hash of everything that is alive.
    pub fn digest(&self) -> StateDigest {
        self.digest.get()
    }

    /// The hash of everything that is alive, computed from all of it.
    pub fn digest_from_scratch(&self) -> Result<StateDigest> {
        let mut digest = StateDigest::default();
        self.each_entry(|row| {
            if row.entry.alive() {
                digest.add(&row.entry.canonical(&row.id));
            }
            Ok(())
        })?;
        for folder in self.all_folders() {
            if folder.is_present() {
                digest.add(format!("folder\0{}", folder.name).as_bytes());
            }
        }
        Ok(digest)
    }

    /// Runs a query that gives digests in its first column.
    fn digests(&self, query: &str, params: impl rusqlite::Params) -> Result<Vec<Digest>> {
        let mut query = self.conn.prepare_cached(query)?;
        let rows = query.query_map(params, |row| Ok(Digest(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Asks `SQLite` whether the database is whole. Returns the faults that it finds.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let mut query = self.conn.prepare("PRAGMA integrity_check(20)")?;
        let rows = query.query_map([], |row| row.get::<_, String>(0))?;
        Ok(rows.filter(|row| row.as_ref().map_or(true, |text| text != "ok")).collect::<rusqlite::Result<_>>()?)
    }
}

impl Deref for Transaction<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state
    }
}

impl Transaction<'_> {
    /// Makes the changes durable.
    pub fn commit(mut self) -> Result<()> {
        let digest = self.state.digest.get();
        if digest != self.state.digest_stored.get() {
            self.set_meta(name::DIGEST, digest.to_bytes())?;
        }
        self.store_counts()?;
        self.store_awaited()?;
        self.state.conn.execute_batch(if self.state.is_rehearsing() { "RELEASE step" } else { "COMMIT" })?;
        self.state.digest_stored.set(digest);
        self.state.without_entry.take();
        self.open = false;
        Ok(())
    }

    /// Records the hash of everything that is alive, where it was found to be another one.
    pub fn set_digest(&self, digest: StateDigest) {
        self.digest.set(digest);
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
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // If this fails, the next use of the database fails, too, and reports it. SQLite itself undoes an
            // unfinished transaction when the file is opened.
            let rehearsing = self.state.is_rehearsing();
            let undo = if rehearsing { "ROLLBACK TO step; RELEASE step" } else { "ROLLBACK" };
            let _ = self.state.conn.execute_batch(undo);
            let _ = self.state.reload();
        }
    }
}

impl Part<'_> {
    /// What follows in the rehearsal sees what was changed.
    pub fn keep(mut self) -> Result<()> {
        if std::mem::take(&mut self.is_open) {
            self.state.conn.execute_batch("RELEASE part")?;
        }
        Ok(())
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // As above.
            let _ = self.state.conn.execute_batch("ROLLBACK TO part; RELEASE part");
            let _ = self.state.reload();
        }
    }
}

impl Drop for Rehearsal<'_> {
    fn drop(&mut self) {
        self.0.rehearsing.set(false);
        // As above.
        let _ = self.0.conn.execute_batch("ROLLBACK");
        let _ = self.0.reload();
    }
}

/// The files that `SQLite` keeps beside a database while it is used.
pub fn beside(database: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut file = database.as_os_str().to_owned();
        file.push(suffix);
        PathBuf::from(file)
    })
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(10))?;
    // Otherwise a statement whose plan could depend on a value that is bound is planned anew for each value.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // In KiB, and only as much as a transaction touches: in a first scan and in a join digests come in no order, and what
    // doesn't fit is written to the log and read back, again and again.
    conn.pragma_update(None, "cache_size", -57344)?;
    conn.pragma_update(None, "temp_store", "FILE")
}
