//! Single values: the incarnation, the home of the state file, and the work that is under way.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rusqlite::OptionalExtension;
use rusqlite::types::{FromSql, ToSql};

use super::{State, Transaction, name};
use crate::error::{Error, Result};
use crate::maildir::{Layout, LayoutKind, NameEncoding};
use crate::model::Incarnation;

/// Identifies the state file: a copy, or a restored backup, has another identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its inode.
    pub inode: u64,
    /// The machine that it is on.
    pub machine: String,
    /// The file's time of birth, in nanoseconds since 1970 UTC, if the file system tells. It is needed, as the next
    /// file often gets the same inode number.
    pub born: Option<i64>,
}

/// A mail root, and how folders become directories in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRoot {
    /// The directory.
    pub path: PathBuf,
    /// The layout.
    pub layout: Layout,
}

/// The bits of a layout in the state.
const FS: i64 = 1;
const UTF_7: i64 = 2;
const INBOX_AT_ROOT: i64 = 4;

/// The contents of a mail root before a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootBefore {
    /// It held no message. All that an interrupted join has left there is its own.
    Empty,
    /// It held mail.
    Mail,
}

impl State {
    pub(super) fn meta<T: FromSql>(&self, name: &str) -> Result<Option<T>> {
        let mut query = self.conn.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
        Ok(query.query_row([name], |row| row.get(0)).optional()?)
    }

    /// The replica's present incarnation.
    pub fn incarnation(&self) -> Result<Incarnation> {
        let stored: Option<i64> = self.meta(name::INCARNATION)?;
        let stored = stored.ok_or_else(|| Error::failed("the state database names no incarnation"))?;
        Ok(Incarnation(stored.cast_unsigned()))
    }

    /// The identity that the state file had when it was last written to.
    pub fn home(&self) -> Result<Option<Identity>> {
        let inode: Option<i64> = self.meta(name::INODE)?;
        let machine: Option<String> = self.meta(name::MACHINE)?;
        let born: Option<i64> = self.meta(name::BORN)?;
        Ok(inode.zip(machine).map(|(inode, machine)| Identity { inode: inode.cast_unsigned(), machine, born }))
    }

    /// Whether this replica was copied or put back to an earlier state at some time. Then nobody knows for certain what
    /// it did before its present incarnation.
    pub fn was_restored(&self) -> Result<bool> {
        Ok(self.meta::<i64>(name::RESTORED_STATE)?.is_some())
    }

    /// Whether the first scan has not been completed yet.
    pub fn initial_scan_due(&self) -> Result<bool> {
        Ok(self.meta::<i64>(name::INITIAL)?.is_some())
    }

    /// Whether the join that made this replica has not been completed yet, and whether the mail root was empty before
    /// it.
    pub fn joining(&self) -> Result<Option<RootBefore>> {
        Ok(self.meta::<i64>(name::JOINING)?.map(|empty| if empty == 1 { RootBefore::Empty } else { RootBefore::Mail }))
    }

    /// The patterns of directories that were ignored when folders were last looked for.
    pub fn ignored(&self) -> Result<Option<String>> {
        self.meta(name::IGNORED)
    }

    /// The mail root that the latest scan has seen, if there was one.
    pub fn mail_root(&self) -> Result<Option<MailRoot>> {
        let path: Option<Vec<u8>> = self.meta(name::ROOT)?;
        let Some((path, bits)) = path.zip(self.meta::<i64>(name::LAYOUT)?) else { return Ok(None) };
        let kind = if bits & FS != 0 { LayoutKind::Fs } else { LayoutKind::MaildirPlusPlus };
        let encoding = if bits & UTF_7 != 0 { NameEncoding::ModifiedUtf7 } else { NameEncoding::Utf8 };
        let layout = Layout { kind, encoding, inbox_at_root: bits & INBOX_AT_ROOT != 0 };
        Ok(Some(MailRoot { path: PathBuf::from(OsStr::from_bytes(&path)), layout }))
    }

    /// When all of the disk was last looked at by a scan: milliseconds since 1970 UTC.
    pub fn scanned(&self) -> Result<Option<u64>> {
        Ok(self.meta::<i64>(name::SCANNED)?.map(i64::cast_unsigned))
    }

    /// Since when it is doubted that this machine's clock is right, if it is: milliseconds since 1970 UTC.
    pub fn clock_doubted(&self) -> Result<Option<u64>> {
        Ok(self.meta::<i64>(name::CLOCK_DOUBTED)?.map(i64::cast_unsigned))
    }

    /// When that doubt was removed last: milliseconds since 1970 UTC.
    pub fn clock_confirmed(&self) -> Result<Option<u64>> {
        Ok(self.meta::<i64>(name::CLOCK_CONFIRMED)?.map(i64::cast_unsigned))
    }

    /// Whether an interrupted import may have left files in a `tmp/`.
    pub fn leftovers(&self) -> Result<bool> {
        Ok(self.meta::<i64>(name::LEFTOVERS)?.is_some())
    }

    /// Whether a person was told that a bundle in a file is not encrypted.
    pub fn was_told_of_plain_files(&self) -> Result<bool> {
        Ok(self.meta::<i64>(name::PLAIN_TOLD)?.is_some())
    }
}

impl Transaction<'_> {
    pub(super) fn set_meta(&self, name: &str, value: impl ToSql) -> Result<()> {
        let mut statement = self.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")?;
        statement.execute((name, value))?;
        Ok(())
    }

    pub(super) fn clear_meta(&self, name: &str) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM meta WHERE name = ?")?.execute([name])?;
        Ok(())
    }

    /// Starts a new incarnation, which has issued no stamp yet.
    pub fn set_incarnation(&self, incarnation: Incarnation) -> Result<()> {
        self.conn.execute("DELETE FROM issued", [])?;
        self.conn.execute("UPDATE peer SET disowns = 0", [])?;
        self.set_meta(name::INCARNATION, incarnation.0.cast_signed())
    }

    /// Records the identity of the state file.
    pub fn set_home(&self, home: &Identity) -> Result<()> {
        self.set_meta(name::INODE, home.inode.cast_signed())?;
        self.set_meta(name::MACHINE, &home.machine)?;
        match home.born {
            Some(born) => self.set_meta(name::BORN, born),
            None => self.clear_meta(name::BORN),
        }
    }

    /// Records that this replica was copied or put back to an earlier state.
    pub fn set_was_restored(&self) -> Result<()> {
        self.set_meta(name::RESTORED_STATE, 1)
    }

    /// Records that the first scan was completed.
    pub fn initial_scan_done(&self) -> Result<()> {
        self.clear_meta(name::INITIAL)
    }

    /// Records that a join has begun, or is complete.
    pub fn set_joining(&self, joining: Option<RootBefore>) -> Result<()> {
        match joining {
            Some(before) => self.set_meta(name::JOINING, i64::from(before == RootBefore::Empty)),
            None => self.clear_meta(name::JOINING),
        }
    }

    /// Records the patterns of directories that are ignored.
    pub fn set_ignored(&self, patterns: &str) -> Result<()> {
        self.set_meta(name::IGNORED, patterns)
    }

    /// Records the mail root.
    pub fn set_mail_root(&self, root: &MailRoot) -> Result<()> {
        let MailRoot { path, layout } = root;
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        let bits = bit(layout.kind == LayoutKind::Fs, FS)
            | bit(layout.encoding == NameEncoding::ModifiedUtf7, UTF_7)
            | bit(layout.inbox_at_root, INBOX_AT_ROOT);
        self.set_meta(name::ROOT, path.as_os_str().as_bytes())?;
        self.set_meta(name::LAYOUT, bits)
    }

    /// Records when all of the disk was looked at.
    pub fn set_scanned(&self, now: u64) -> Result<()> {
        self.set_meta(name::SCANNED, now.cast_signed())
    }

    /// Records since when it is doubted that this machine's clock is right.
    pub fn set_clock_doubted(&self, since: Option<u64>) -> Result<()> {
        match since {
            Some(since) => self.set_meta(name::CLOCK_DOUBTED, since.cast_signed()),
            None => self.clear_meta(name::CLOCK_DOUBTED),
        }
    }

    /// Records that this machine's clock is right, which says `now`.
    pub fn confirm_clock(&self, now: u64) -> Result<()> {
        self.set_clock_doubted(None)?;
        self.set_meta(name::CLOCK_CONFIRMED, now.cast_signed())
    }

    /// Records whether an import may have left files in a `tmp/`.
    pub fn set_leftovers(&self, leftovers: bool) -> Result<()> {
        if leftovers { self.set_meta(name::LEFTOVERS, 1) } else { self.clear_meta(name::LEFTOVERS) }
    }

    /// Records that a person is told that a bundle in a file is not encrypted.
    pub fn set_told_of_plain_files(&self) -> Result<()> {
        self.set_meta(name::PLAIN_TOLD, 1)
    }

    /// Gives the number for the next bundle. Every call gives a greater one.
    pub fn next_number(&self) -> Result<u64> {
        let number = self.meta::<i64>(name::NUMBER)?.unwrap_or(0) + 1;
        self.set_meta(name::NUMBER, number)?;
        Ok(number.cast_unsigned())
    }
}
