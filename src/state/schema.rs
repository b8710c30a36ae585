//! The tables.

use rusqlite::Connection;

/// The version that this program writes and the only one that it reads.
pub const VERSION: i64 = 3;

/// `registers` holds an entry's stamps and flags in the form of [`super::codec`]; `folder`, `alive`, `size` and `mtime`
/// stand beside it for the queries. `at_*` is where the entry's file was last seen, or is about to be put (see
/// `pending`). A peer's `token` is the one by which this replica was invited, as long as that peer has not shown to
/// know it. `change` has, for each entry and incarnation, the newest stamp of a register, so that a delta is found
/// without reading what it doesn't hold. A `distant` peer is known for its jobs only: no bundles are exchanged with it.
/// `told_by` is the id of the replica whose bundle has last raised what is known of an incarnation; `first_by` is that of the one
/// whose bundle has made it known, and `first_at` when, by this machine's clock. These are NULL for this replica's own, and for
/// those with which it has joined. A peer's `skew` is
/// by how many milliseconds its clock is ahead of this machine's, at least; negative: behind; 0: by less than a day, as
/// far as its last bundle shows. It `knows_key` if its newest bundle for this replica names its present key. Its `sent_bytes` are the size of that bundle, in all
/// its parts. `taken_number` is the newest bundle from it that was taken, and `follows_number` the one that its newest follows, taken
/// or not. `acked_number` is the last bundle for it that it has
/// shown to have, and `acked` when. It `disowns` this replica if its last bundle knew of stamps that the present
/// incarnation has never issued.
/// `heard` has, for each incarnation of a peer, the highest number of a bundle, and up to where the incarnation's own
/// bundles were taken in; those that were heard last with the highest keys. It outlives the peer's removal, so that no old
/// bundle is taken for a new one if the peer is made known again. This replica has a row for each incarnation that it was
/// told to leave. What is known of an incarnation is `denied` if a bundle of its own has shown that it has never made such
/// a change.
/// A folder's `letter`s are those whose keywords are known, by what `names_*` tells of its `dovecot-keywords` when it was
/// read; `lost` is one that the file doesn't name any more. `letterless` are keywords of living entries that have no
/// letter in the folder where their entries are.
/// A folder's `device`, `new_device` and `cur_device` are the file systems on which its directories were when they were
/// last listed, and so are a directory's `device` and that of the one above it.
/// `passed_over` has the files that were told to be no bundles, or are from strangers, each by the digest of what identifies
/// it, and of who was known then.
/// `unrecorded` has the files that an export was about to give their names and has not recorded, each by the digest of its size and
/// beginning.
/// `told_in_vain` is up to where bundles have told of what an incarnation has done that is passed over, since its replica was
/// revoked, and `passed_entry` has the living messages among that which are not here.
/// An `alarm` is what a guard has refused: over what imports take away (kind 0) or add (1). It has the `peer` whose bundle was
/// refused by itself last, by the id that it had, and when that was; the `last` entry and the
/// `folders` that there were before the first command that was refused, and what was `added` since; and what all that were
/// refused have `told`, as knowledge. `alarm_departed` has
/// the entries that imports have taken from their folders since, as the list of one command has them.
/// `folder_count`, `total` and `copies` are counts that follow from the entries, and are kept so that nobody has to go
/// through all of them: what each folder holds, what all hold together, and what there is of each message that has several
/// entries.
/// `missing` has the digests of its entries, too, so that what is missing is found and sorted without the entries.
/// What is in the trash has the number that it had as a discard, which is never given again. `incarnation` and `clock`
/// are the stamp of the removal, where that is known. `restored` has the files in the trash whose messages were brought
/// back.
/// A `happening` is what became of an entry (0: it arrived, 1: it was moved or flagged, 2: it was removed, 3: the change does
/// not hold beside another one, by this `rule`) by the change
/// with this stamp, and `occasion` where this was seen. It names folders and entries by what they are called: it
/// outlives them.
/// Who has used a token is a replica's id, or `withdrawn` or `expired`: then nobody has.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE knowledge (incarnation INTEGER PRIMARY KEY, known INTEGER NOT NULL, horizon INTEGER NOT NULL, told_by TEXT,
    denied INTEGER NOT NULL DEFAULT 0, first_by TEXT, first_at INTEGER) STRICT;
CREATE TABLE issued (clock INTEGER PRIMARY KEY) STRICT;
CREATE TABLE folder (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    clock INTEGER, incarnation INTEGER, present INTEGER,
    on_disk INTEGER NOT NULL DEFAULT 0,
    new_mtime INTEGER, new_ctime INTEGER, cur_mtime INTEGER, cur_ctime INTEGER,
    device INTEGER, new_device INTEGER, cur_device INTEGER,
    names_mtime INTEGER, names_ctime INTEGER, names_size INTEGER, names_inode INTEGER, names_full INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE letter (
    folder INTEGER, letter INTEGER, keyword TEXT NOT NULL, lost INTEGER NOT NULL, PRIMARY KEY (folder, letter)
) STRICT, WITHOUT ROWID;
CREATE TABLE letterless (
    folder INTEGER, keyword TEXT COLLATE NOCASE, entry INTEGER, PRIMARY KEY (folder, keyword, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX letterless_entry ON letterless (entry);
CREATE TABLE directory (
    path BLOB PRIMARY KEY, mtime INTEGER, ctime INTEGER, is_folder INTEGER NOT NULL, is_link INTEGER NOT NULL,
    device INTEGER, device_above INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
    key INTEGER PRIMARY KEY,
    digest BLOB NOT NULL, birth INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    folder INTEGER NOT NULL, alive INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    registers BLOB NOT NULL,
    at_folder INTEGER, at_sub INTEGER, at_name BLOB
) STRICT;
CREATE UNIQUE INDEX entry_id ON entry (digest, birth, ordinal);
CREATE UNIQUE INDEX entry_at ON entry (at_folder, at_name, at_sub) WHERE at_folder IS NOT NULL;
CREATE TABLE folder_count (
    folder INTEGER PRIMARY KEY, living INTEGER NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE total (
    entries INTEGER NOT NULL, living_bytes INTEGER NOT NULL,
    here INTEGER NOT NULL, here_messages INTEGER NOT NULL, here_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES (0, 0, 0, 0, 0);
CREATE TABLE copies (digest BLOB PRIMARY KEY, entries INTEGER NOT NULL, here INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE change (
    incarnation INTEGER, clock INTEGER, entry INTEGER, PRIMARY KEY (incarnation, clock, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
    entry INTEGER PRIMARY KEY, kind INTEGER NOT NULL, from_folder INTEGER, from_sub INTEGER, from_name BLOB
) STRICT;
CREATE TABLE discard (
    key INTEGER PRIMARY KEY AUTOINCREMENT, folder INTEGER NOT NULL, sub INTEGER NOT NULL, name BLOB NOT NULL,
    digest BLOB NOT NULL, birth TEXT NOT NULL, ordinal INTEGER NOT NULL, flags TEXT NOT NULL,
    size INTEGER NOT NULL, mtime INTEGER NOT NULL, reason TEXT NOT NULL, incarnation INTEGER, clock INTEGER
) STRICT;
CREATE INDEX discard_digest ON discard (digest);
CREATE INDEX discard_place ON discard (folder, name);
CREATE TABLE missing (entry INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT;
CREATE INDEX missing_digest ON missing (digest);
CREATE TABLE trash (
    key INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, digest BLOB NOT NULL, birth TEXT NOT NULL, ordinal INTEGER NOT NULL,
    folder TEXT NOT NULL, flags TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    removed INTEGER NOT NULL, reason TEXT NOT NULL, incarnation INTEGER, clock INTEGER
) STRICT;
CREATE INDEX trash_digest ON trash (digest, birth, ordinal);
CREATE TABLE restored (file TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE peer (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, public_key TEXT NOT NULL,
    first_id TEXT NOT NULL, added INTEGER NOT NULL, last_heard INTEGER, last_sent INTEGER,
    newest_incarnation INTEGER, newest_number INTEGER, shown TEXT, sent TEXT, sent_number INTEGER,
    acked INTEGER, acked_number INTEGER, sent_bytes INTEGER, taken_number INTEGER, follows_number INTEGER, refused_number INTEGER, suspect INTEGER NOT NULL DEFAULT 0, token BLOB, distant INTEGER NOT NULL DEFAULT 0,
    skew INTEGER NOT NULL DEFAULT 0, disowns INTEGER NOT NULL DEFAULT 0, knows_key INTEGER NOT NULL DEFAULT 0, passes_over TEXT
) STRICT;
CREATE TABLE heard (
    key INTEGER PRIMARY KEY AUTOINCREMENT, peer TEXT NOT NULL, incarnation INTEGER NOT NULL, number INTEGER NOT NULL,
    own INTEGER NOT NULL DEFAULT 0,
    UNIQUE (peer, incarnation)
) STRICT;
CREATE TABLE invitation (
    token BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, made INTEGER NOT NULL, shown TEXT NOT NULL, sent TEXT NOT NULL,
    sent_number INTEGER NOT NULL, expires INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE used_token (token BLOB PRIMARY KEY, used_by TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE passed_over (key INTEGER PRIMARY KEY, file BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE unrecorded (key INTEGER PRIMARY KEY, file BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE told_in_vain (incarnation INTEGER PRIMARY KEY, told INTEGER NOT NULL) STRICT;
CREATE TABLE passed_entry (
    digest BLOB NOT NULL, birth TEXT NOT NULL, ordinal INTEGER NOT NULL, incarnation INTEGER NOT NULL,
    PRIMARY KEY (digest, birth, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE alarm (
    kind INTEGER PRIMARY KEY, raised INTEGER NOT NULL, peer TEXT NOT NULL, last INTEGER NOT NULL, folders TEXT NOT NULL,
    added TEXT NOT NULL, told TEXT
) STRICT;
CREATE TABLE alarm_departed (entry INTEGER PRIMARY KEY, folder INTEGER, target INTEGER, size INTEGER NOT NULL) STRICT;
CREATE TABLE wanted (peer INTEGER, digest BLOB, PRIMARY KEY (peer, digest)) STRICT, WITHOUT ROWID;
CREATE TABLE history (
    key INTEGER PRIMARY KEY, at INTEGER NOT NULL, command TEXT NOT NULL, peer TEXT, text TEXT NOT NULL
) STRICT;
CREATE INDEX history_restore ON history (key) WHERE command = 'restore';
CREATE TABLE occasion (
    key INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, command TEXT NOT NULL, peer TEXT, bundle INTEGER
) STRICT;
CREATE TABLE happening (
    key INTEGER PRIMARY KEY, occasion INTEGER NOT NULL,
    digest BLOB NOT NULL, birth TEXT NOT NULL, ordinal INTEGER NOT NULL,
    incarnation INTEGER, clock INTEGER, what INTEGER NOT NULL, folder TEXT NOT NULL, from_folder TEXT, flags TEXT,
    rule TEXT
) STRICT;
CREATE INDEX happening_digest ON happening (digest);
";

/// Those of jobs. `statement` has what was said about them, in the form that was signed; `job` what follows from that,
/// for the queries. `asked` is command and arguments, known to requester and target only. A job has `wrong_input` if what
/// came under the digest of its body has another size than its request says. It is `news` if this replica has asked for it, it
/// went wrong, and nobody was told (1) or has looked at it (2). `blob` has what requests and
/// reports name by digest, `kind` is which of the two, and `here` whether it is on this machine. `forgotten_job`
/// remembers this replica's jobs when everything else of them is forgotten, for each requester the newest: none is ever
/// taken for new. `forgotten_up_to` is when the latest was asked for of those that are not even there. A requester is
/// `''` if it was nobody that is known here.
const JOBS: &str = "
CREATE TABLE job (
    key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, requester TEXT NOT NULL, target TEXT NOT NULL,
    made INTEGER NOT NULL, state INTEGER NOT NULL, final_since INTEGER, asked TEXT, repeats BLOB,
    wrong_input INTEGER NOT NULL DEFAULT 0, news INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX job_news ON job (news) WHERE news > 0;
CREATE INDEX job_state ON job (state, made);
CREATE INDEX job_made ON job (made);
CREATE INDEX job_requester ON job (requester);
CREATE INDEX job_repeats ON job (repeats) WHERE repeats IS NOT NULL;
CREATE TABLE statement (
    job INTEGER NOT NULL, kind INTEGER NOT NULL, clock INTEGER NOT NULL, incarnation INTEGER NOT NULL,
    signed TEXT NOT NULL, signature TEXT NOT NULL, PRIMARY KEY (job, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX statement_change ON statement (incarnation, clock);
CREATE TABLE blob (
    digest BLOB NOT NULL, job INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL, here INTEGER NOT NULL,
    PRIMARY KEY (digest, job, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_missing ON blob (here) WHERE here = 0;
CREATE INDEX blob_job ON blob (job);
CREATE TABLE forgotten_job (id BLOB PRIMARY KEY, requester TEXT NOT NULL, made INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX forgotten_made ON forgotten_job (requester, made);
CREATE TABLE forgotten_up_to (requester TEXT PRIMARY KEY, made INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// What was said about replicas, in the form that was signed. `kind` is 0 for a revocation and 1 for a succession, `about`
/// the id of the replica that it is about, `maker` that of the one that says it; `object` is a succession's new id, and
/// else `''`. `carrier` is the id of the replica whose bundle has brought it, NULL if it was made here, and `heard` when. A
/// revocation is `overruled` if a person has said on this machine that the replica is to be trusted all the same.
///
/// `succeeded` has the successions that were believed: by which key the one with the id `old`, which was `public_key`, was
/// followed (`next`), and which one the replica has `now`. Of bundles that the old key has signed only those of this
/// incarnation count, up to the number `last`. A `rival` is the key of another succession of the same key: one of the two
/// was made by somebody who shouldn't have it, until a person has `settled` it.
const REPLICAS: &str = "
CREATE TABLE replica_statement (
    kind INTEGER NOT NULL, about TEXT NOT NULL, maker TEXT NOT NULL, object TEXT NOT NULL,
    clock INTEGER NOT NULL, incarnation INTEGER NOT NULL, signed TEXT NOT NULL, signature TEXT NOT NULL,
    countersignature TEXT, carrier TEXT, heard INTEGER NOT NULL, overruled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, about, maker, object)
) STRICT, WITHOUT ROWID;
CREATE TABLE succeeded (
    old TEXT PRIMARY KEY, next TEXT NOT NULL, now TEXT NOT NULL, public_key TEXT NOT NULL,
    incarnation INTEGER NOT NULL, last INTEGER NOT NULL, at INTEGER NOT NULL, rival TEXT,
    settled INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX succeeded_now ON succeeded (now);
";

/// What could not be done on disk the last time, and why: for a folder (kind 0), a pending entry (1) or a discard (2).
const OBSTACLES: &str = "
CREATE TABLE obstacle (
    kind INTEGER NOT NULL, key INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
";

/// What is particular about a folder's names on this disk: the directory, relative to the mail root, if it isn't the one
/// that the layout says, and the character with which the flags begin in the names of its files, if it isn't the usual
/// one.
const DISK_NAMES: &str = "
CREATE TABLE disk_name (folder INTEGER PRIMARY KEY, dir BLOB UNIQUE, separator INTEGER) STRICT;
";

/// Makes the tables in an empty database.
pub fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)?;
    conn.execute_batch(JOBS)?;
    conn.execute_batch(REPLICAS)?;
    conn.execute_batch(OBSTACLES)?;
    conn.execute_batch(DISK_NAMES)?;
    conn.pragma_update(None, "user_version", VERSION)
}
