//! The limits that a reader keeps, so that its memory doesn't grow with the sizes that a bundle claims. A writer
//! refuses to go above them, too.

use crate::model::{FlagRegisters, Knowledge, MOST_ISSUED};

/// The size of `manifest.json`, in bytes. What its lists may hold fits, however it is laid out by a writer that has
/// sense; and all of it is read before the signature is known to hold.
pub const MANIFEST_BYTES: u64 = 8 << 20;

/// How many incarnations a knowledge names; and so of how many a state knows, since all of it goes into each bundle.
pub const INCARNATIONS: usize = Knowledge::MOST_INCARNATIONS;

/// How many clocks are listed as `issued`.
pub const ISSUED: usize = MOST_ISSUED;

/// How many messages a bundle wants.
pub const WANTS: usize = 65_536;

/// How many messages a bundle may lack that its manifest promises. A list of so many fits [`MISSING_BYTES`].
pub const MISSING: u64 = 65_536;

/// The size of `missing.json`, in bytes.
pub const MISSING_BYTES: u64 = MANIFEST_BYTES;

/// How many folders a bundle tells of; and so how many names of folders a state knows, since a full bundle tells of all
/// of them.
pub const FOLDERS: u64 = 65_536;

/// How many lines `jobs.jsonl` has. As long as lines can be, they fit [`JOBS_BYTES`].
pub const STATEMENTS: u64 = 60_000;

/// How many jobs a state knows: a request, a cancel and a report on each of them fit a full bundle.
pub const JOBS: u64 = STATEMENTS / 3;

/// How many lines `replicas.jsonl` has, and so how many statements about replicas a state knows. As long as lines can be,
/// they fit [`REPLICAS_BYTES`].
pub const REPLICA_STATEMENTS: u64 = 1024;

/// How many successions a manifest names. Whoever has missed more has to be told the key.
pub const SUCCESSIONS: usize = 32;

/// How deeply arrays and objects may be nested in JSON, the outermost one included.
pub const JSON_DEPTH: usize = 32;

/// The size of `manifest.json.sig`, in bytes.
pub const SIGNATURE_BYTES: u64 = 16 << 10;

/// The length of a line of `entries.jsonl`, in bytes, without its newline. The longest entry that the model and
/// [`FLAGS`] permit fits: two folder names, every character escaped, and [`FLAGS`] keywords of the greatest length.
pub const LINE_BYTES: u64 = 256 << 10;

/// The number of flag registers that one entry has.
pub const FLAGS: usize = FlagRegisters::MOST;

/// The size of `jobs.jsonl`, in bytes.
pub const JOBS_BYTES: u64 = 1 << 30;

/// The length of a line of `jobs.jsonl`, in bytes, without its newline.
pub const JOB_LINE_BYTES: u64 = 16 << 10;

/// The size of `replicas.jsonl`, in bytes. All of it is read before the records, to which it matters.
pub const REPLICAS_BYTES: u64 = 6 << 20;

/// The length of a line of `replicas.jsonl`, in bytes, without its newline.
pub const REPLICA_LINE_BYTES: u64 = 5 << 10;

/// The length of the reason for which a replica was revoked, in bytes.
pub const REASON_BYTES: usize = 255;

/// The most bytes of the name by which a revocation calls the replica that it is about.
pub const REVOKED_NAME_BYTES: usize = 64;

/// The number of incarnations that a revocation names.
pub const REVOKED_INCARNATIONS: usize = 64;

/// Keys that a revocation names besides the one that it is about.
pub const REVOKED_KEYS: usize = 8;

/// The size of any member, and so of a message, in bytes: the eleven octal digits of a ustar header hold no more.
pub const MEMBER_BYTES: u64 = (8 << 30) - 1;

/// The number of incarnations that a request names.
pub const JOB_INCARNATIONS: usize = 256;

/// The last time that a statement about a job or a replica names, in milliseconds since 1970 UTC: the end of the year 9999, which
/// every calendar can show.
pub const JOB_TIME: u64 = 253_402_300_799_999;

/// How often a job is tried.
pub const JOB_ATTEMPTS: u32 = 1_000_000;

/// The greatest exit status of a program: all that POSIX hands on.
pub const JOB_STATUS: i32 = 255;

/// The size of a job's sealed result, in bytes: its first line and what it keeps of two outputs, 64 KiB each, and what
/// the encryption adds.
pub const JOB_RESULT_BYTES: u64 = 256 << 10;

/// The size of an encrypted file's header, in bytes. age reads all of it before anything is known to be right.
pub const SEALED_HEADER_BYTES: u64 = 8 << 10;

/// The size of the header of an encrypted bundle, in bytes. All of it is read before anything is known to be right.
pub const ENVELOPE_HEADER_BYTES: u64 = 32 << 10;

/// How many stanzas the header of an encrypted bundle has: one for each who can open it, and one that age adds. As long
/// as they are, those fit [`ENVELOPE_HEADER_BYTES`].
pub const ENVELOPE_STANZAS: usize = 256;

/// The base-two logarithm of the work that the code of an encrypted bundle costs (age-encryption.org/v1, "The scrypt
/// recipient type"): 256 MiB of memory, and about a second. `age -p` takes as much.
pub const CODE_WORK: u8 = 18;

/// The same for a code that a writer has drawn: 64 MiB, which a small machine has. A code of so many bits needs no more.
pub const DEFAULT_CODE_WORK: u8 = 16;

/// The base-two logarithm of the zstd window, which is the memory that decompression takes: 128 MiB.
pub const WINDOW_LOG: u32 = 27;

/// The base-two logarithm of the largest zstd window that a writer chooses unless told otherwise.
pub const DEFAULT_WINDOW_LOG: u32 = 26;

/// The number of zero bytes that a reader skips after the archive's end marker, since some writers pad archives to
/// whole records.
pub const PADDING_BYTES: u64 = 1 << 20;

/// The length of a replica's name, in bytes.
pub const NAME_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lists_of_a_manifest_may_hold_fits_it() {
        // As this program lays it out: one item for each line, with quotes, a comma and the indent.
        const LISTED: u64 = 4 + 2 + 2;
        let clocks = (ISSUED as u64) * (16 + LISTED);
        let wants = (WANTS as u64) * (64 + LISTED);
        const { assert!(MISSING * (64 + 2 + 1 + 10 + LISTED) + (64 << 10) < MISSING_BYTES) };
        // Base, tip, horizon, what is left out, and what is passed over from where to where.
        let knowledge = 6 * (INCARNATIONS as u64) * (16 + 2 + 2 + 16 + LISTED);
        let successions = SUCCESSIONS as u64 * REPLICA_LINE_BYTES;
        assert!(clocks + wants + knowledge + successions + (64 << 10) < MANIFEST_BYTES);
    }

    #[test]
    fn what_a_state_may_know_of_jobs_and_replicas_fits_a_bundle() {
        const { assert!(3 * JOBS <= STATEMENTS && STATEMENTS * (JOB_LINE_BYTES + 1) < JOBS_BYTES) };
        const { assert!(REPLICA_STATEMENTS * (REPLICA_LINE_BYTES + 1) < REPLICAS_BYTES) };
    }
}
