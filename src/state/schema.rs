//! The tables, and what was done to them from version to version.

use rusqlite::Connection;

/// The version that this program writes and the only one that it reads without migrating.
pub const VERSION: i64 = 1;

/// `registers` holds an entry's stamps and flags in the form of [`super::codec`]; `folder`, `alive`, `size` and `mtime`
/// stand beside it for the queries. `at_*` is where the entry's file was last seen, or is about to be put (see `pending`).
/// A peer's `token` is the one by which this replica was invited, as long as that peer has not shown to know it.
/// `change` has, for each entry and incarnation, the newest stamp of a register, so that a delta is found without reading
/// what it doesn't hold.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE knowledge (incarnation INTEGER PRIMARY KEY, known INTEGER NOT NULL, horizon INTEGER NOT NULL) STRICT;
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
    suspect INTEGER NOT NULL DEFAULT 0, token BLOB
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

/// Makes the tables in an empty database.
pub fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)?;
    conn.pragma_update(None, "user_version", VERSION)
}
