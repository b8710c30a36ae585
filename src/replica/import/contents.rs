//! The messages of a bundle on their way to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::landing::{Landing, Leftovers};
use super::merge::Merged;
use super::refusal::{Fault, WRITING};
use crate::bundle::{self, MessagesPart};
use crate::disk::{Disk, Durability, SMALL, copy_new, write_new};
use crate::error::{Error, Result};
use crate::model::{Digest, Entry, Mtime};
use crate::pool;
use crate::replica::Replica;
use crate::replica::jobs::Aside;
use crate::replica::materialise::DiskWork;
use crate::replica::safety::DryRun;
use crate::replica::transaction::Transaction;
use crate::state::{EntryRow, FolderKey, Pending, Place};

/// A message on its way to the disk.
struct Arriving {
    digest: Digest,
    bytes: Vec<u8>,
    to: Vec<(PathBuf, Mtime)>,
}

/// Up to this many messages, or this many bytes, go to a writing thread at once.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 512 << 10;
/// How many batches may be on their way to the disk.
const AHEAD: u64 = 8;

/// The messages of one bundle on their way to the disk, and the state that knows which are awaited. In a dry run nothing is
/// written, and everything is counted.
pub(super) struct IncomingMessages<'i> {
    replica: &'i Replica,
    tx: &'i Transaction<'i>,
    dry_run: DryRun,
    landing: Landing,
    durability: Durability,
    /// Folders whose `tmp/` is there.
    prepared: BTreeMap<FolderKey, PathBuf>,
    /// What was made for messages that go straight to their places.
    straight: DiskWork,
    /// Directories whose names a `tmp/` that was made depends on.
    made: BTreeSet<PathBuf>,
    /// Job attachments, still without their names.
    attachments: Vec<Aside>,
    /// How many messages came for which an earlier bundle has told of.
    came: u64,
    /// How many messages are missing that the bundle has told of.
    missing: u64,
    changed: bool,
}

impl<'i> IncomingMessages<'i> {
    /// So many messages, most of which are awaited.
    pub fn new(
        replica: &'i Replica,
        tx: &'i Transaction<'i>,
        dry_run: DryRun,
        landing: Landing,
        messages: u64,
    ) -> Self {
        Self {
            replica,
            tx,
            dry_run,
            landing,
            durability: landing.durability(messages),
            prepared: BTreeMap::new(),
            straight: DiskWork::default(),
            made: BTreeSet::new(),
            attachments: Vec::new(),
            came: 0,
            missing: 0,
            changed: false,
        }
    }

    /// Counts what came, and what did not, into what the merge has found.
    pub fn count_into(&self, merged: &mut Merged) {
        // An entry counts as new once its contents have come, so those without are not counted yet.
        merged.changes.new = (merged.changes.new + self.came).saturating_sub(self.missing);
        merged.changed |= self.changed;
    }

    /// Takes the messages that are awaited, and puts them where they land.
    ///
    /// # Errors
    /// The bundle is damaged, or a file can't be written.
    pub fn take<R: BufRead>(&mut self, mut messages: MessagesPart<'_, R>) -> std::result::Result<(), Fault> {
        let replica = self.replica;
        let disk = &*replica.world.disk;
        let (durability, leftovers) = (self.durability, self.landing.leftovers());
        // All statements about jobs were read before: most bundles bring no attachment.
        let attachments_missing = !replica.state.missing_attachments(1)?.is_empty();
        let progress = replica.world.meter.begin("importing messages", messages.manifest().counts.messages);
        let write = |batch: Vec<Arriving>| -> std::result::Result<(), Fault> {
            for message in batch {
                if Digest::of(&message.bytes) != message.digest {
                    let what = format!("message {} has other contents", message.digest);
                    return Err(Fault::Bundle(bundle::Error::Corrupt { what: what.into() }));
                }
                for (path, mtime) in &message.to {
                    write_message(disk, path, &message.bytes, *mtime, durability, leftovers)?;
                }
            }
            Ok(())
        };
        let next = || {
            let mut batch = Vec::new();
            let mut size = 0;
            while let Some(mut message) = messages.next_message()? {
                progress.advance(1);
                let digest = message.digest();
                let to = self.awaited(&digest, message.size())?;
                if attachments_missing && replica.state.is_attachment_missing(&digest)? {
                    self.changed = true;
                    // The requester names a job's attachments, and may be far away: a wrong one is no fault of this bundle.
                    if !to.is_empty() {
                        // An honest job's attachment is encrypted, and never a message as well.
                        self.tx.remove_missing_attachment(&digest)?;
                    } else if self.tx.attachment_came(&digest, message.size())? && self.dry_run == DryRun::No {
                        let mut new = replica.new_attachment()?;
                        message.copy_verified(&mut new)?;
                        match durability {
                            Durability::Now => drop(new.keep()?),
                            Durability::Later => self.attachments.push(new.set_aside()),
                        }
                        continue;
                    }
                }
                if to.is_empty() || self.dry_run == DryRun::Yes {
                    message.copy_verified(&mut io::sink())?;
                    continue;
                }
                if message.size() > SMALL {
                    self.take_large(message, &to, durability, leftovers)?;
                    continue;
                }
                let mut bytes = Vec::with_capacity(usize::try_from(message.size()).expect("at most 1 MiB"));
                message.read_to_end(&mut bytes).map_err(bundle::Error::from)?;
                size += bytes.len();
                batch.push(Arriving { digest, bytes, to });
                if batch.len() >= BATCH || size >= BATCH_BYTES {
                    break;
                }
            }
            Ok::<_, Fault>((!batch.is_empty()).then_some(batch))
        };
        pool::in_order(AHEAD, next, write, |written| written)?;
        messages.finish()?;
        Ok(())
    }

    /// Makes the written files and their names durable, job attachments included.
    pub fn make_durable(&self) -> Result<()> {
        if self.dry_run == DryRun::Yes {
            return Ok(());
        }
        self.replica.keep_attachments(&self.attachments)?;
        match self.durability {
            Durability::Later => self.replica.sync_file_systems(self.prepared.values()),
            Durability::Now => self.replica.sync_dirs(&self.prepared.values().chain(&self.made).cloned().collect()),
        }
    }

    /// Lets the state know of the folders that are on disk now.
    pub fn record_folders(&mut self) -> Result<()> {
        for key in std::mem::take(&mut self.straight.folders_made) {
            self.tx.set_folder_on_disk(key, true)?;
        }
        Ok(())
    }

    /// The files that are to hold this message of this size: in `tmp/`, or where they will stay.
    fn awaited(&mut self, digest: &Digest, size: u64) -> Result<Vec<(PathBuf, Mtime)>> {
        let state = &self.replica.state;
        let mut to = Vec::new();
        for (key, mut at, mtime, said) in state.awaiting(digest)? {
            if said != size
                && let Some(row) = state.entry(key)?
            {
                at = self.mend_size(row, size)?.1;
            }
            self.prepare(&at)?;
            if self.landing == Landing::InPlace {
                self.tx.clear_pending(key)?;
                to.push((self.replica.path(&at)?, mtime));
            } else {
                self.tx.contents_arrived(key)?;
                to.push((self.replica.tmp_path(&at)?, mtime));
            }
        }
        // These entries were missing their contents already, and need not be in this bundle.
        for row in if to.is_empty() { state.missing_of(digest)? } else { Vec::new() } {
            let (row, at) = self.mend_size(row, size)?;
            self.tx.set_pending(row.key, &Pending::Deliver)?;
            self.tx.remove_missing(row.key)?;
            self.prepare(&at)?;
            self.changed = true;
            self.came += 1;
            to.push((self.replica.tmp_path(&at)?, row.entry.mtime));
        }
        Ok(to)
    }

    /// Gives an entry the size that its contents turn out to have, whatever anybody has said, and the place that follows from it.
    fn mend_size(&self, mut row: EntryRow, size: u64) -> Result<(EntryRow, Place)> {
        if row.entry.size != size {
            let mended = Entry { size, ..row.entry.clone() };
            self.tx.update_entry(&row, &mended)?;
            row.entry = mended;
        }
        let at = self.replica.place_for(self.tx, &row.id, &row.entry)?;
        self.tx.set_place(row.key, Some(&at))?;
        Ok((row, at))
    }

    /// Makes sure that the `tmp/` of a folder is there. The folder itself becomes one after the transaction only.
    fn prepare(&mut self, at: &Place) -> Result<()> {
        if self.dry_run == DryRun::No && !self.prepared.contains_key(&at.folder) {
            let folder = self.replica.state.folder_row(at.folder)?;
            let dir = self.replica.dir(&folder.name).join("tmp");
            if !folder.on_disk {
                self.made.extend(self.replica.upwards(&dir));
            }
            self.replica
                .make_dirs(&dir)
                .map_err(|error| Error::io("making the directory", &dir, error).advise(WRITING))?;
            if self.landing == Landing::InPlace {
                self.replica.make_folder(at.folder, &mut self.straight)?;
            }
            self.prepared.insert(at.folder, dir);
        }
        Ok(())
    }

    /// Writes a message that is too large to be kept in memory.
    fn take_large<R: BufRead>(
        &self,
        message: bundle::Message<'_, '_, R>,
        to: &[(PathBuf, Mtime)],
        durability: Durability,
        leftovers: Leftovers,
    ) -> std::result::Result<(), Fault> {
        let disk = &*self.replica.world.disk;
        let Some(((first, mtime), others)) = to.split_first() else { return Ok(()) };
        let fail = |error: io::Error| Error::io("writing", first, error).advise(WRITING);
        leftovers.clear(disk, first).map_err(fail)?;
        let file = disk.create(first).map_err(fail)?;
        let mut sink = DiskFile { disk, path: first, file };
        message.copy_verified(&mut sink)?;
        disk.set_mtime(first, &sink.file, *mtime).map_err(fail)?;
        if durability == Durability::Now {
            disk.sync_file(first, &sink.file).map_err(fail)?;
        }
        for (path, mtime) in others {
            let fail = |error: io::Error| Error::io("writing", path, error).advise(WRITING);
            leftovers.clear(disk, path).map_err(fail)?;
            copy_new(disk, first, path, *mtime, durability).map_err(fail)?;
        }
        Ok(())
    }

    /// Entries whose contents the bundle did not hold: they may be on this machine, or are missing until a peer sends them.
    pub fn settle(&mut self) -> Result<()> {
        let replica = self.replica;
        let mut after = None;
        loop {
            let batch = replica.state.awaiting_batch(after, 256)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in batch {
                if let Some((source, size)) = replica.find_contents(&row.id.digest)? {
                    let (row, at) = self.mend_size(row, size)?;
                    self.prepare(&at)?;
                    if self.dry_run == DryRun::No {
                        replica.copy_contents(&row, &source, &replica.tmp_path(&at)?)?;
                    }
                    self.tx.contents_arrived(row.key)?;
                } else {
                    self.tx.set_place(row.key, None)?;
                    self.tx.clear_pending(row.key)?;
                    self.tx.add_missing(row.key)?;
                    // The entry counts as new when its contents have come.
                    self.missing += 1;
                }
            }
        }
    }
}

impl Replica {
    /// Gives entries that miss their contents those that are on this machine, in the trash for example. Their files come to their places
    /// when the transaction is carried out. Returns how many there are; in a dry run they are counted.
    pub(in crate::replica) fn recover_missing(&self, tx: &Transaction<'_>, dry_run: DryRun) -> Result<u64> {
        let mut incoming = IncomingMessages::new(self, tx, dry_run, Landing::ThroughTmp, 0);
        let (mut after, mut found) = (None, 0);
        loop {
            let batch = self.state.missing_batch(after, 256)?;
            let Some(last) = batch.last() else { break };
            after = Some(last.key);
            for row in batch {
                let Some((source, size)) = self.find_contents(&row.id.digest)? else { continue };
                let (row, at) = incoming.mend_size(row, size)?;
                incoming.prepare(&at)?;
                if dry_run == DryRun::No {
                    self.copy_contents(&row, &source, &self.tmp_path(&at)?)?;
                }
                tx.set_pending(row.key, &Pending::Deliver)?;
                tx.remove_missing(row.key)?;
                found += 1;
            }
        }
        incoming.make_durable()?;
        incoming.record_folders()?;
        Ok(found)
    }
}

/// A file that is being written through the layer of file operations.
struct DiskFile<'d> {
    disk: &'d dyn Disk,
    path: &'d Path,
    file: std::fs::File,
}

impl io::Write for DiskFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.path, &mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_message(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    mtime: Mtime,
    durability: Durability,
    leftovers: Leftovers,
) -> Result<()> {
    let fail = |error: io::Error| Error::io("writing", path, error).advise(WRITING);
    match write_new(disk, path, bytes, mtime, durability) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && leftovers == Leftovers::Replace => {
            leftovers.clear(disk, path).map_err(fail)?;
            write_new(disk, path, bytes, mtime, durability).map_err(fail)
        }
        result => result.map_err(fail),
    }
}
