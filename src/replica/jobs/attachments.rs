//! Job attachments: the encrypted input and output of jobs, one file for each in the state directory, named by its
//! digest. A file has its name only when it is whole and durable.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::bundle::{AttachmentRef, PublicKey, Sealer};
use crate::disk::{Disk, Draft, hash_file, is_absent, remove_if_there};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::Digest;
use crate::replica::Replica;
use crate::replica::transaction::Transaction;

/// A file without a record is swept when it is older than this. A younger one may be about to get its record.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const LOOK: &str = "see why, then run this again; nothing is lost";
const MAKE_ROOM: &str = "make room on the disk that holds the state, then run this again";

/// An attachment's file while it is written. It does not have its name yet.
pub(in crate::replica) struct NewAttachment<'d> {
    disk: &'d dyn Disk,
    draft: Draft<'d>,
    hasher: Sha256,
    bytes: u64,
}

/// An attachment's file that was written, but is not durable and has no name yet.
#[derive(Debug)]
pub(in crate::replica) struct Aside {
    path: PathBuf,
    digest: Digest,
}

impl Aside {
    /// Where it lies until it has its name.
    pub(in crate::replica) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Write for NewAttachment<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.draft.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewAttachment<'_> {
    /// Leaves the file without its name. [`Replica::keep_attachments`] will name it, together with others.
    pub(in crate::replica) fn set_aside(mut self) -> Aside {
        let digest = Digest(self.hasher.finalize_reset().into());
        Aside { path: self.draft.leave(), digest }
    }

    /// Gives the file its name, and makes both durable.
    pub(in crate::replica) fn keep(self) -> Result<AttachmentRef> {
        let path = self.draft.path().to_owned();
        self.name().map_err(|error| Error::io("writing", &path, error).advise(MAKE_ROOM))
    }

    fn name(mut self) -> io::Result<AttachmentRef> {
        let digest = Digest(self.hasher.finalize_reset().into());
        let dir = self.draft.path().parent().expect("it lies in a directory").to_owned();
        let path = dir.join(digest.to_string());
        self.draft.sync()?;
        match self.draft.rename(&path) {
            // A file that has the name already has the same contents.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
        self.disk.sync_dir(&dir)?;
        Ok(AttachmentRef { digest, bytes: self.bytes })
    }
}

impl Replica {
    /// The path of the attachment with this digest, if it is here.
    pub(in crate::replica) fn attachment_path(&self, digest: &Digest) -> PathBuf {
        self.home.attachments().join(digest.to_string())
    }

    /// Whether an attachment is here and has the size that its statement names.
    ///
    /// # Errors
    /// The file system doesn't tell.
    pub(in crate::replica) fn has_attachment(&self, attachment: &AttachmentRef) -> Result<bool> {
        let path = self.attachment_path(&attachment.digest);
        match self.world.disk.metadata(&path) {
            Ok(meta) => Ok(meta.is_file && meta.size == attachment.bytes),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(Error::io("looking at", &path, error).advise(LOOK)),
        }
    }

    /// Whether an attachment can be read and has the right contents. A lost or damaged attachment counts as missing
    /// from now on, since another replica may have it whole. If it merely can't be read at this time, nothing is
    /// changed.
    pub(in crate::replica) fn check_attachment(&self, tx: &Transaction<'_>, digest: &Digest) -> Result<bool> {
        let path = self.attachment_path(digest);
        match hash_file(&*self.world.disk, &path, FileKind::Attachment) {
            Ok(found) if found.digest == *digest => return Ok(true),
            // The damaged file would be in the way of a whole one. If it can't be removed, it is found damaged again.
            Ok(_) => drop(self.world.disk.unlink(&path)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Ok(false),
            Err(_) => {}
        }
        tx.attachment_is_gone(digest)?;
        Ok(false)
    }

    /// Begins a file for an attachment.
    pub(in crate::replica) fn new_attachment(&self) -> Result<NewAttachment<'_>> {
        let dir = self.home.attachments();
        make_private(&*self.world.disk, &dir)?;
        let path = dir.join(format!(".{:016x}.part", (self.world.random)()));
        let disk = &*self.world.disk;
        let draft =
            Draft::create(disk, path.clone()).map_err(|error| Error::io("making", &path, error).advise(MAKE_ROOM))?;
        Ok(NewAttachment { disk, draft, hasher: Sha256::new(), bytes: 0 })
    }

    /// Gives files that were set aside their names, and makes them durable, all together.
    pub(in crate::replica) fn keep_attachments(&self, aside: &[Aside]) -> Result<()> {
        if aside.is_empty() {
            return Ok(());
        }
        let dir = self.home.attachments();
        let disk = &*self.world.disk;
        let fail = |error: io::Error| Error::io("writing into", &dir, error).advise(MAKE_ROOM);
        disk.sync_file_system(&dir).map_err(fail)?;
        for Aside { path, digest } in aside {
            match disk.rename(path, &self.attachment_path(digest)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.unlink(path).map_err(fail)?,
                result => result.map_err(fail)?,
            }
        }
        disk.sync_dir(&dir).map_err(fail)
    }

    /// Writes an attachment that only these replicas can read. `write` writes its plain contents.
    pub(super) fn seal_attachment(
        &self,
        readers: &[PublicKey],
        write: impl FnOnce(&mut Sealer<BufWriter<NewAttachment<'_>>>) -> Result<()>,
    ) -> Result<AttachmentRef> {
        let attachment = self.new_attachment()?;
        let path = attachment.draft.path().to_owned();
        let fail = |error: io::Error| Error::io("writing", &path, error).advise(MAKE_ROOM);
        let attachment = BufWriter::with_capacity(128 << 10, attachment);
        let mut sealer = Sealer::new(readers, attachment).map_err(fail)?;
        write(&mut sealer)?;
        let attachment = sealer.finish().and_then(|attachment| Ok(attachment.into_inner()?)).map_err(fail)?;
        attachment.keep()
    }

    /// Removes an attachment unless some job still needs it. A file that stays does no harm, and a purge sweeps it.
    pub(in crate::replica) fn remove_unneeded_attachment(&self, digest: &Digest) -> Result<()> {
        if !self.state.is_needed(digest)? {
            let path = self.attachment_path(digest);
            if let Err(error) = remove_if_there(self.world.disk.unlink(&path)) {
                self.note(format!("removing {}: {error}; `mailsync purge` tries again", path.display()));
            }
        }
        Ok(())
    }

    /// Removes the files that no job needs, such as leftovers of commands that did not end.
    pub(in crate::replica) fn sweep_attachments(&self) -> Result<()> {
        let disk = &*self.world.disk;
        for path in files_in(disk, &self.home.attachments())? {
            let digest = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<Digest>().ok());
            if let Some(digest) = digest
                && self.state.is_needed(&digest)?
            {
                continue;
            }
            if is_orphan(disk, &path)? {
                remove_if_there(disk.unlink(&path)).map_err(|error| Error::io("removing", &path, error))?;
            }
        }
        Ok(())
    }
}

/// Whether a file for which nothing is recorded is old enough to be swept.
pub(super) fn is_orphan(disk: &dyn Disk, path: &Path) -> Result<bool> {
    older_than(disk, path, ORPHAN_AGE).map_err(|error| Error::io("looking at", path, error).advise(LOOK))
}

/// Whether a file was last changed longer ago than this, by the clocks of the file system and of this machine. One that
/// is gone wasn't.
pub(in crate::replica) fn older_than(disk: &dyn Disk, path: &Path, age: Duration) -> io::Result<bool> {
    let modified = match disk.link_metadata(path) {
        Ok(meta) => meta.mtime.seconds(),
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(modified);
    Ok(u64::try_from(since).is_ok_and(|since| since > age.as_secs()))
}

/// The files in a subdirectory of the state directory. None if it was never made.
pub(super) fn files_in(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    match disk.list(dir, &mut |name, _| files.push(dir.join(name))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map(|()| files).map_err(|error| Error::io("listing", dir, error).advise(LOOK)),
    }
}

/// Makes a subdirectory of the state directory, for its owner only and durably, if it isn't there.
pub(super) fn make_private(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let fail = |error: io::Error| Error::io("making the directory", dir, error).advise(MAKE_ROOM);
    match disk.make_dir(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), |parent| disk.sync_dir(parent)).map_err(fail),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(fail(error)),
    }
}
