//! The limits that a reader keeps, so that its memory doesn't grow with the sizes that a bundle claims. A writer refuses to
//! go above them, too.

/// The size of `manifest.json`, in bytes.
pub const MANIFEST_BYTES: u64 = 32 << 20;

/// The size of `manifest.json.sig`, in bytes.
pub const SIGNATURE_BYTES: u64 = 16 << 10;

/// The length of a line of `entries.jsonl`, in bytes, without its newline. The longest entry that the model and
/// [`FLAGS`] permit fits: two folder names and [`FLAGS`] keywords of the greatest length, every character escaped.
pub const LINE_BYTES: u64 = 256 << 10;

/// The number of flag registers that one entry has.
pub const FLAGS: usize = 256;

/// The size of `jobs.jsonl`, in bytes.
pub const JOBS_BYTES: u64 = 1 << 30;

/// The length of a line of `jobs.jsonl`, in bytes, without its newline.
pub const JOB_LINE_BYTES: u64 = 16 << 10;

/// The size of any member, and so of a message, in bytes: the eleven octal digits of a ustar header hold no more.
pub const MEMBER_BYTES: u64 = (8 << 30) - 1;

/// How many incarnations a request names.
pub const JOB_INCARNATIONS: usize = 256;

/// The last time that a statement about a job names, in milliseconds since 1970 UTC: the end of the year 9999, which every
/// calendar can show.
pub const JOB_TIME: u64 = 253_402_300_799_999;

/// How often a job is tried.
pub const JOB_ATTEMPTS: u32 = 1_000_000;

/// The greatest exit status of a program: all that POSIX hands on.
pub const JOB_STATUS: i32 = 255;

/// The size of a job's sealed result, in bytes: its first line and what it keeps of two outputs, 64 KiB each, and what the
/// encryption adds.
pub const JOB_RESULT_BYTES: u64 = 256 << 10;

/// The size of the header of something that is sealed, in bytes: age reads all of it before anything is known to be right.
pub const SEALED_HEADER_BYTES: u64 = 8 << 10;

/// The base-two logarithm of the zstd window, which is the memory that decompression takes: 128 MiB.
pub const WINDOW_LOG: u32 = 27;

/// The base-two logarithm of the largest zstd window that a writer chooses unless told otherwise.
pub const DEFAULT_WINDOW_LOG: u32 = 26;

/// The zero bytes after the archive's end marker that are read over, for writers that pad archives to whole records.
pub const PADDING_BYTES: u64 = 1 << 20;

/// The length of a replica's name, in bytes.
pub const NAME_BYTES: usize = 255;
