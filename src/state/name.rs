//! The names of the single values in the state.

pub(super) const DIGEST: &str = "state-digest";
pub(super) const INCARNATION: &str = "incarnation";
pub(super) const NUMBER: &str = "bundle-number";
pub(super) const INITIAL: &str = "initial-scan-due";
pub(super) const LEFTOVERS: &str = "tmp-may-hold-leftovers";
pub(super) const MISLAID: &str = "entries-whose-delivered-files-are-gone";
pub(super) const INODE: &str = "inode";
pub(super) const MACHINE: &str = "machine";
pub(super) const JOINING: &str = "joining";
pub(super) const RESTORED_STATE: &str = "state-was-restored";
pub(super) const ROOT: &str = "mail-root";
pub(super) const LAYOUT: &str = "layout";
pub(super) const BORN: &str = "born";
pub(super) const PLAIN_TOLD: &str = "plain-files-were-told-of";
pub(super) const SCANNED: &str = "scanned";
pub(super) const CLOCK_CONFIRMED: &str = "clock-confirmed";
pub(super) const CLOCK_DOUBTED: &str = "clock-doubted-since";
pub(super) const IGNORED: &str = "ignored-directories";
pub(super) const REPLICA_ID: &str = "replica-id";
pub(super) const SEPARATOR: &str = "separator-of-flags";
