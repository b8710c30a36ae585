//! The search for a message's file while a bundle is written: mail programs rename and move files, and one that can't
//! be read must not keep the others back.

use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::disk::{Source, hash_open, is_absent};
use crate::error::{Error, Result, Scope};
use crate::message::FileKind;
use crate::model::Digest;
use crate::replica::Replica;
use crate::state::Outgoing;

/// What is found of a message that is to go into a bundle.
pub(super) enum Sought<'d> {
    /// This file holds it, of this kind. It stands at its beginning.
    Here(PathBuf, Source<'d>, FileKind),
    /// It can't be read.
    Unreadable(Error),
    /// No file that should hold it does. A scan may find out why.
    Nowhere,
    /// The same, and nobody needs it: it was removed since the bundle was planned. The next one tells of that.
    Removed,
}

impl Replica {
    /// Looks for a file that holds a message: where it was listed, where it was seen since, elsewhere on this machine.
    ///
    /// # Errors
    /// Something other than this message fails.
    pub(super) fn seek(&self, message: &Outgoing) -> Result<Sought<'_>> {
        let mut unreadable = None;
        let first = message.at.as_ref().map(|at| self.path(at)).transpose()?;
        let attachment = (self.attachment_path(&message.digest), FileKind::Attachment);
        let known = first.into_iter().chain(self.sources(&message.digest)?);
        let sources: Vec<_> = known.map(|path| (path, FileKind::Message)).chain([attachment]).collect();
        for (path, kind) in sources {
            if let Some(file) = self.open_if_it_holds(&path, kind, &message.digest, &mut unreadable)? {
                return Ok(Sought::Here(path, file, kind));
            }
        }
        if let Some(error) = unreadable {
            return Ok(Sought::Unreadable(error));
        }
        let entries = self.state.entries_of(&message.digest)?;
        if entries.iter().any(|row| row.entry.alive()) {
            Ok(Sought::Nowhere)
        } else if entries.is_empty() {
            // It is the attachment of a job, of which a scan knows nothing.
            Ok(Sought::Unreadable(self.is_gone(message)?))
        } else {
            Ok(Sought::Removed)
        }
    }

    /// Where a message, or an attachment of a job, is expected.
    pub(super) fn expected_at(&self, message: &Outgoing) -> Result<PathBuf> {
        match &message.at {
            Some(at) => self.path(at),
            None => Ok(self.attachment_path(&message.digest)),
        }
    }

    /// The error about a message that is nowhere.
    pub(super) fn is_gone(&self, message: &Outgoing) -> Result<Error> {
        let place = self.expected_at(message)?;
        let why = "the message is gone, or was edited in place, since it was scanned";
        let advice = "it is left out of the bundle; run `mailsync scan --deep`, then export again";
        Ok(Error::io("reading", &place, why).advise(advice))
    }

    /// Opens a file if it holds this message. The open file keeps it, whatever becomes of its name.
    fn open_if_it_holds<'d>(
        &'d self,
        path: &Path,
        kind: FileKind,
        digest: &Digest,
        unreadable: &mut Option<Error>,
    ) -> Result<Option<Source<'d>>> {
        let opened = Source::open_message(&*self.world.disk, path).and_then(|mut file| {
            let found = hash_open(&mut file, kind)?;
            file.rewind()?;
            Ok((found.digest == *digest).then_some(file))
        });
        match opened {
            Ok(file) => Ok(file),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => note(path, &error, unreadable).map(|()| None),
        }
    }
}

/// Notes why a file can't be read, if that is the first one.
///
/// # Errors
/// The reason is none of its own.
fn note(path: &Path, error: &io::Error, unreadable: &mut Option<Error>) -> Result<()> {
    if !is_its_own(error) {
        return Err(Error::io("reading", path, error).advise("nothing is lost; see why, then export again"));
    }
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "it is left out of the bundle; give yourself permission to read it, then export again"
        }
        _ => "it is left out of the bundle; check the disk, then export again",
    };
    unreadable.get_or_insert_with(|| Error::io("reading", path, error).advise(advice));
    Ok(())
}

/// Whether a file can't be read for a reason of its own: its permission, its sector of the disk. Too many open files,
/// for example, say nothing of a file.
fn is_its_own(error: &io::Error) -> bool {
    let broken = [Errno::IO, Errno::NODATA, Errno::BADMSG, Errno::UCLEAN, Errno::STALE];
    Scope::of(error) == Scope::Place || Errno::from_io_error(error).is_some_and(|errno| broken.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_one_file_leaves_out_a_message() {
        for (errno, own) in [
            (Errno::ACCESS, true),
            (Errno::PERM, true),
            (Errno::IO, true),
            (Errno::UCLEAN, true),
            (Errno::ISDIR, true),
            (Errno::LOOP, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOMEM, false),
            (Errno::INTR, false),
            (Errno::NODEV, false),
        ] {
            assert_eq!(is_its_own(&errno.into()), own, "{errno}");
        }
        assert!(is_its_own(&io::Error::new(io::ErrorKind::InvalidInput, "not a regular file, so not a message")));
    }
}
