//! The tables, and what was done to them from version to version.

use rusqlite::Connection;

/// The version that this program writes and the only one that it reads without migrating.
pub const VERSION: i64 = 3;

/// `registers` holds an entry's stamps and flags in the form of [`super::codec`]; `folder`, `alive`, `size` and `mtime`
/// stand beside it for the queries. `at_*` is where the entry's file was last seen, or is about to be put (see `pending`).
/// A peer's `token` is the one by which this replica was invited, as long as that peer has not shown to know it.
/// `change` has, for each entry and incarnation, the newest stamp of a register, so that a delta is found without reading
/// what it doesn't hold. A `distant` peer is known for its jobs only: no bundles are exchanged with it. `told_by` is the id of the
/// replica whose bundle has last raised what is known of an incarnation. A peer's `skew` is by how many milliseconds its clock is
/// ahead of this machine's, at least; negative: behind; 0: by less than a day, as far as its last bundle shows.
/// It `disowns` this replica if its last bundle knew of stamps that the present incarnation has never issued.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE knowledge (incarnation INTEGER PRIMARY KEY, known INTEGER NOT NULL, horizon INTEGER NOT NULL, told_by TEXT) STRICT;
CREATE TABLE issued (clock INTEGER PRIMARY KEY) STRICT;
CREATE TABLE folder (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    clock INTEGER, incarnation INTEGER, present INTEGER,
    on_disk INTEGER NOT NULL DEFAULT 0,
    new_mtime INTEGER, cur_mtime INTEGER
) STRICT;
CREATE TABLE directory (path BLOB PRIMARY KEY, mtime INTEGER, is_folder INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
    key INTEGER PRIMARY KEY,
    digest BLOB NOT NULL, birth INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    folder INTEGER NOT NULL, alive INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    registers BLOB NOT NULL,
    at_folder INTEGER, at_sub INTEGER, at_name BLOB
) STRICT;
CREATE UNIQUE INDEX entry_id ON entry (digest, birth, ordinal);
CREATE UNIQUE INDEX entry_at ON entry (at_folder, at_name, at_sub) WHERE at_folder IS NOT NULL;
CREATE TABLE change (
    incarnation INTEGER, clock INTEGER, entry INTEGER, PRIMARY KEY (incarnation, clock, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
    entry INTEGER PRIMARY KEY, kind INTEGER NOT NULL, from_folder INTEGER, from_sub INTEGER, from_name BLOB
) STRICT;
CREATE TABLE discard (
    key INTEGER PRIMARY KEY AUTOINCREMENT, folder INTEGER NOT NULL, sub INTEGER NOT NULL, name BLOB NOT NULL,
    digest BLOB NOT NULL, birth TEXT NOT NULL, ordinal INTEGER NOT NULL, flags TEXT NOT NULL,
    size INTEGER NOT NULL, mtime INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE missing (entry INTEGER PRIMARY KEY) STRICT;
CREATE TABLE trash (
    key INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, digest BLOB NOT NULL, birth TEXT NOT NULL, ordinal INTEGER NOT NULL,
    folder TEXT NOT NULL, flags TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    removed INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX trash_digest ON trash (digest);
CREATE TABLE peer (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, public_key TEXT NOT NULL,
    added INTEGER NOT NULL, last_heard INTEGER, last_sent INTEGER,
    newest_incarnation INTEGER, newest_number INTEGER, shown TEXT, sent TEXT, sent_number INTEGER,
    suspect INTEGER NOT NULL DEFAULT 0, token BLOB, distant INTEGER NOT NULL DEFAULT 0,
    skew INTEGER NOT NULL DEFAULT 0, disowns INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE invitation (
    token BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, made INTEGER NOT NULL, shown TEXT NOT NULL, sent TEXT NOT NULL,
    sent_number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE used_token (token BLOB PRIMARY KEY, used_by TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE wanted (peer INTEGER, digest BLOB, PRIMARY KEY (peer, digest)) STRICT, WITHOUT ROWID;
CREATE TABLE history (
    key INTEGER PRIMARY KEY, at INTEGER NOT NULL, command TEXT NOT NULL, peer TEXT, text TEXT NOT NULL
) STRICT;
";

/// What version 2 has besides: jobs. `statement` has what was said about them, in the form that was signed; `job` what
/// follows from that, for the queries. `asked` is command and arguments, known to requester and target only. `blob` has what
/// requests and reports name by digest, and `here` is whether it is on this machine. `finished_job` remembers this
/// replica's jobs when everything else of them was purged: none is ever taken for new.
const JOBS: &str = "
CREATE TABLE job (
    key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, requester TEXT NOT NULL, target TEXT NOT NULL,
    made INTEGER NOT NULL, state INTEGER NOT NULL, final_since INTEGER, asked TEXT, repeats BLOB
) STRICT;
CREATE INDEX job_state ON job (state, made);
CREATE INDEX job_made ON job (made);
CREATE INDEX job_repeats ON job (repeats) WHERE repeats IS NOT NULL;
CREATE TABLE statement (
    job INTEGER NOT NULL, kind INTEGER NOT NULL, clock INTEGER NOT NULL, incarnation INTEGER NOT NULL,
    signed TEXT NOT NULL, signature TEXT NOT NULL, PRIMARY KEY (job, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX statement_change ON statement (incarnation, clock);
CREATE TABLE blob (
    digest BLOB NOT NULL, job INTEGER NOT NULL, size INTEGER NOT NULL, here INTEGER NOT NULL, PRIMARY KEY (digest, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_missing ON blob (here) WHERE here = 0;
CREATE INDEX blob_job ON blob (job);
CREATE TABLE finished_job (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
";

/// Makes the tables in an empty database.
pub fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)?;
    conn.execute_batch(JOBS)?;
    conn.pragma_update(None, "user_version", VERSION)
}

/// Brings a database of an earlier version up to this one, all at once or not at all.
pub fn migrate(conn: &Connection, from: i64) -> rusqlite::Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let migrated = (|| {
        // Another process may have been faster.
        let now: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if now == from {
            if from < 2 {
                conn.execute_batch("ALTER TABLE peer ADD COLUMN distant INTEGER NOT NULL DEFAULT 0")?;
                conn.execute_batch(JOBS)?;
            }
            conn.execute_batch(
                "ALTER TABLE knowledge ADD COLUMN told_by TEXT; ALTER TABLE peer ADD COLUMN skew INTEGER NOT NULL DEFAULT 0;
                 ALTER TABLE peer ADD COLUMN disowns INTEGER NOT NULL DEFAULT 0",
            )?;
            conn.pragma_update(None, "user_version", VERSION)?;
        }
        conn.execute_batch("COMMIT")
    })();
    if migrated.is_err() {
        // SQLite undoes an unfinished transaction by itself if this fails.
        let _ = conn.execute_batch("ROLLBACK");
    }
    migrated
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables as an earlier version made them.
    fn earlier(version: i64) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        let mut tables = TABLES.replace(", told_by TEXT", "").replace(",\n    skew INTEGER NOT NULL DEFAULT 0, disowns INTEGER NOT NULL DEFAULT 0", "");
        if version == 1 {
            tables = tables.replace(", distant INTEGER NOT NULL DEFAULT 0", "");
        } else {
            conn.execute_batch(JOBS).unwrap();
        }
        assert!(!tables.contains("skew") && !tables.contains("told_by"));
        conn.execute_batch(&tables).unwrap();
        conn.pragma_update(None, "user_version", version).unwrap();
        conn
    }

    #[test]
    fn a_database_of_an_earlier_version_becomes_one_of_this_version() {
        for version in 1..VERSION {
            let conn = earlier(version);
            conn.execute("INSERT INTO peer (id, name, public_key, added) VALUES ('a', 'b', 'c', 1)", []).unwrap();
            conn.execute("INSERT INTO knowledge (incarnation, known, horizon) VALUES (1, 2, 0)", []).unwrap();
            migrate(&conn, version).unwrap();
            let columns = |conn: &Connection| {
                let mut query = conn
                    .prepare("SELECT m.name, i.name FROM sqlite_schema m, pragma_table_info(m.name) i ORDER BY 1, 2")
                    .unwrap();
                let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect::<Vec<(String, String)>>()
            };
            let new = Connection::open_in_memory().unwrap();
            create(&new).unwrap();
            assert_eq!(columns(&conn), columns(&new), "from version {version}");
            let peer = conn.query_row("SELECT distant, skew FROM peer", [], |row| Ok((row.get(0)?, row.get(1)?)));
            assert_eq!(peer.unwrap(), (0, 0));
            let told: Option<String> = conn.query_row("SELECT told_by FROM knowledge", [], |row| row.get(0)).unwrap();
            assert_eq!(told, None);
            migrate(&conn, version).unwrap();
        }
    }
}
