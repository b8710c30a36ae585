//! The file `maildirsize`, in which Dovecot, Courier, maildrop and others count how much mail there is, for a quota
//! (<https://www.courier-mta.org/imap/README.maildirquota.html>). mailsync doesn't count. It has them count anew.
//!
//! The file's first line is the quota itself, which for Dovecot may be written nowhere else, so the file must not go.
//! But whoever finds more than 5120 bytes in it counts the mail again, and writes the file anew with the same first
//! line. So lines are added that change no sum. This can be repeated as often as one likes: a sum that was wrong
//! because of an interruption is right after the next command.

use std::io;

use crate::disk::is_absent;
use crate::replica::Replica;

/// A file with more bytes than this is not believed by anybody.
const BELIEVED: usize = 5120;
/// A line that changes no sum: no bytes, no messages.
const NOTHING: &[u8] = b"0 0\n";
/// Whoever counts may put another file in its place meanwhile.
const TRIES: usize = 3;

impl Replica {
    /// Has the mail counted anew by whoever looks at the quota next. If that can't be, it is noted: no mail is wrong.
    pub(super) fn recount_quota(&self) {
        let file = self.mail_root().join("maildirsize");
        if let Err(error) = self.spoil(&file)
            && !is_absent(&error)
        {
            self.note(format!(
                "{} still counts the mail as it was before ({error}): give this user the permission to write it, and have \
                 it counted anew, with Dovecot by `doveadm quota recalc`",
                file.display()
            ));
        }
    }

    fn spoil(&self, file: &std::path::Path) -> io::Result<()> {
        let disk = &*self.world.disk;
        for _ in 0..TRIES {
            if disk.metadata(file)?.size > BELIEVED as u64 {
                return Ok(());
            }
            if disk.append(file, &NOTHING.repeat(BELIEVED / NOTHING.len() + 1))? {
                return Ok(());
            }
        }
        Ok(())
    }
}
