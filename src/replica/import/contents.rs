//! The messages of a bundle on their way to the disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::arriving::{Arriving, Batch, Destination, Goal, Kept, marked, write_batch};
use super::landing::Landing;
use super::left_out::{Counts, LeftOut};
use super::merge::Merged;
use super::refusal::{Fault, WRITING};
use crate::bundle::{self, MessagesPart};
use crate::disk::{Durability, Like, SMALL, Space};
use crate::error::{Error, Result};
use crate::headline::Head;
use crate::maildir::SizeField;
use crate::message::Checked;
use crate::model::{Amount, Digest, Entry, arrival};
use crate::pool;
use crate::replica::Replica;
use crate::replica::jobs::Aside;
use crate::replica::materialise::DiskWork;
use crate::replica::safety::{DryRun, MassAdd};
use crate::replica::transaction::Transaction;
use crate::state::{EntryRow, FolderKey, Pending, Place};
use crate::text::{plural, printable};

/// Up to this many messages, or this many bytes, go to a writing thread at once.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 512 << 10;
/// How many batches may be on their way to the disk.
const AHEAD: u64 = 8;

/// The messages of one bundle on their way to the disk, and the state, which knows which ones are awaited. In a dry run
/// nothing is written, but everything is counted.
pub(super) struct IncomingMessages<'i> {
    pub(super) replica: &'i Replica,
    pub(super) tx: &'i Transaction<'i>,
    dry_run: DryRun,
    pub(super) landing: Landing,
    pub(super) durability: Durability,
    /// Folders whose `tmp/` is there, and what is made in it is like.
    prepared: BTreeMap<FolderKey, (PathBuf, Like<'i>)>,
    /// Folders whose `tmp/` can't be made.
    closed: BTreeSet<FolderKey>,
    /// The work on disk for messages that go straight to their places.
    straight: DiskWork,
    /// Directories whose names must be durable for the `tmp/` directories that were made.
    made: BTreeSet<PathBuf>,
    /// Job attachments, still without their names.
    pub(super) attachments: Vec<Aside>,
    /// The number of messages that came late: an earlier bundle has brought their entries.
    came: u64,
    /// The number of new entries whose messages are missing.
    missing: u64,
    /// Messages that are too large for any file here.
    pub(super) left_out: Counts,
    changed: bool,
    /// Whether the bundle may add much, and how much it does, as far as that is known before its contents are here.
    guarded: (MassAdd, Amount),
    /// How many bytes its entries' contents have turned out to have, or are said to have if they didn't come.
    measured: u64,
}

impl<'i> IncomingMessages<'i> {
    /// Prepares for a bundle with so many messages. Most of them will be awaited.
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
            closed: BTreeSet::new(),
            straight: DiskWork::default(),
            made: BTreeSet::new(),
            attachments: Vec::new(),
            came: 0,
            missing: 0,
            left_out: Counts::default(),
            changed: false,
            guarded: (MassAdd::Allow, Amount::default()),
            measured: 0,
        }
    }

    /// Looks at the sizes that messages turn out to have. The guard has let the bundle through by what could be known
    /// before: that it adds this much, of which the bytes are no more than it holds, or than its records say.
    pub fn guard_sizes(&mut self, allowed: MassAdd, told: Amount) {
        self.guarded = (allowed, told);
    }

    /// Corrects the counts of the merge by the messages that came and those that did not.
    pub fn count_into(&self, merged: &mut Merged) {
        // An entry counts as new once its contents have come, so those without are not counted yet.
        let Counts { messages, new, late } = self.left_out;
        merged.changes.left_out = messages;
        merged.changes.new = (merged.changes.new + self.came).saturating_sub(self.missing + new + late);
        merged.changed |= self.changed;
        merged.added.bytes = self.measured;
    }

    /// So many bytes more have come for entries that are new, or are said to be still to come.
    fn measure(&mut self, bytes: u64) -> Result<()> {
        self.measured = self.measured.saturating_add(bytes);
        let (allowed, added) = &mut self.guarded;
        if self.measured > added.bytes {
            added.bytes = self.measured;
            let (state, limits) = (&self.replica.state, &self.replica.config.guard);
            self.replica.tally.borrow().guard_arrivals(state, (*allowed, self.dry_run), limits, *added)?;
        }
        Ok(())
    }

    /// Stores the messages that are awaited, in the way that the landing says.
    ///
    /// # Errors
    /// The bundle is damaged, or a file can't be written.
    pub fn store<R: BufRead>(&mut self, mut messages: MessagesPart<'_, R>) -> std::result::Result<(), Fault> {
        let replica = self.replica;
        let disk = &*replica.world.disk;
        let (tx, durability, leftovers) = (self.tx, self.durability, self.landing.leftovers());
        // All statements about jobs were read before. Most bundles bring no attachment.
        let attachments_missing = !replica.state.missing_attachments(1)?.is_empty();
        let progress = replica.world.meter.begin("importing messages", messages.manifest().counts.messages);
        let held = replica.held();
        let write = |batch: Batch<'_>| (write_batch(disk, &held, &batch, durability, leftovers), batch.bytes);
        let spare = RefCell::new(Vec::new());
        let next = || {
            let mut batch = Batch { bytes: spare.borrow_mut().pop().unwrap_or_default(), ..Batch::default() };
            while let Some(mut message) = messages.next_message()? {
                progress.carried(message.size());
                progress.advance(1);
                let digest = message.digest();
                let destination = self.awaited(&digest, message.size(), SizeField::of(message.beginning()))?;
                if attachments_missing && replica.state.is_attachment_missing(&digest)? {
                    self.changed = true;
                    // The requester names a job's attachments, and may be far away. A wrong name is no fault of this
                    // bundle. If it is a message as well, it becomes a file of each.
                    if self.tx.attachment_came(&digest, message.size())? && self.dry_run == DryRun::No {
                        self.store_attachment(message, &destination)?;
                        continue;
                    }
                }
                if destination.is_none() || self.dry_run == DryRun::Yes {
                    let mut sink = Checked::new(Head::default());
                    message.copy_verified(&mut sink)?;
                    if !destination.is_none() && replica.state.is_rehearsing() {
                        replica.state.see_beginning(&digest, sink.to.bytes())?;
                    }
                    // What nobody awaits here may be a job's attachment, of which every byte counts.
                    if sink.leaves_out() && !destination.is_none() {
                        return Err(marked(&digest));
                    }
                    continue;
                }
                if message.size() > SMALL {
                    self.store_large(message, &destination, durability, leftovers)?;
                    continue;
                }
                let from = batch.bytes.len();
                message.read_to_end(&mut batch.bytes).map_err(bundle::Error::from)?;
                batch.messages.push(Arriving { digest, at: from..batch.bytes.len(), to: destination });
                if batch.messages.len() >= BATCH || batch.bytes.len() >= BATCH_BYTES {
                    break;
                }
            }
            Ok::<_, Fault>((!batch.messages.is_empty()).then_some(batch))
        };
        let mut left_out = Counts::default();
        let written =
            |(kept, mut buffer): (std::result::Result<Kept, Fault>, Vec<u8>)| -> std::result::Result<(), Fault> {
                buffer.clear();
                spare.borrow_mut().push(buffer);
                Ok(kept?.record(&mut left_out, replica, tx)?)
            };
        pool::in_order(AHEAD, next, write, written)?;
        self.left_out.add(left_out);
        let (missing, sender) = (messages.missing().len() as u64, messages.manifest().sender.name.clone());
        messages.finish()?;
        if missing > 0 {
            let (it, comes) = if missing == 1 { ("it", "comes") } else { ("they", "come") };
            let (sender, missing) = (printable(&sender), plural(missing, "message"));
            replica.note(format!(
                "{sender} could not read {missing}, which this bundle lacks; {it} {comes} once {it} can be read"
            ));
        }
        Ok(())
    }

    /// Makes the written files and their names durable, job attachments included.
    pub fn make_durable(&self) -> Result<()> {
        if self.dry_run == DryRun::Yes {
            return Ok(());
        }
        self.replica.keep_attachments(&self.attachments)?;
        match self.durability {
            Durability::Later => self.replica.sync_file_systems(self.prepared.values().map(|(dir, _)| dir)),
            Durability::Now => {
                let prepared = self.prepared.values().map(|(dir, _)| dir);
                self.replica.sync_dirs(&prepared.chain(&self.made).cloned().collect())
            }
        }
    }

    /// Records the folders that are on disk now.
    pub fn record_folders(&mut self) -> Result<()> {
        for key in std::mem::take(&mut self.straight.folders_made) {
            self.tx.set_folder_on_disk(key, true)?;
        }
        Ok(())
    }

    /// The files that are to hold this message of this size: in `tmp/`, or in their final places. `field` says whether
    /// their names tell it.
    fn awaited(&mut self, digest: &Digest, size: u64, field: SizeField) -> Result<Destination<'i>> {
        let state = &self.replica.state;
        let mut destination = Destination::default();
        let Destination { to, held, late } = &mut destination;
        for (key, mut at, mtime, told) in state.awaiting(digest)? {
            self.measure(size)?;
            if (told != size || field == SizeField::Left)
                && let Some(row) = state.entry(key)?
            {
                at = self.mend_size(row, size, field)?.1;
            }
            let like = self.prepare(&at)?;
            if self.landing == Landing::InPlace
                && let Some(like) = like
            {
                self.tx.clear_pending(key)?;
                to.push(Goal { path: self.replica.path(&at)?, mtime, like, entry: key, in_place: true });
                continue;
            }
            self.tx.set_pending(key, &Pending::Deliver)?;
            match like {
                Some(like) => {
                    to.push(Goal { path: self.replica.tmp_path(&at)?, mtime, like, entry: key, in_place: false });
                }
                None => held.push(key),
            }
        }
        // These entries lacked their contents before. The bundle need not hold the entries themselves.
        for row in if to.is_empty() && held.is_empty() { state.missing_of(digest)? } else { Vec::new() } {
            // When its entry came, the guard has looked at what that said.
            self.measure(size.saturating_sub(row.entry.size))?;
            self.replica.tally.borrow().arrive(self.tx, row.key)?;
            let (row, at) = self.mend_size(row, size, field)?;
            self.tx.set_pending(row.key, &Pending::Deliver)?;
            self.tx.remove_missing(row.key)?;
            self.tx.tell_of(&row.id, &[arrival(&row.entry)])?;
            self.changed = true;
            self.came += 1;
            *late = true;
            match self.prepare(&at)? {
                Some(like) => {
                    let path = self.replica.tmp_path(&at)?;
                    to.push(Goal { path, mtime: row.entry.mtime, like, entry: row.key, in_place: false });
                }
                None => held.push(row.key),
            }
        }
        if destination.to.len() > 1 {
            let root = self.replica.mail_root();
            let copies = Space::taken(self.replica.block_below(root), size).saturating_mul(destination.to.len() as u64);
            self.replica.check_room("mail", copies, root)?;
        }
        Ok(destination)
    }

    /// Gives an entry the size that its contents turn out to have, whatever anybody has said, and the place that
    /// follows from it.
    fn mend_size(&mut self, mut row: EntryRow, size: u64, field: SizeField) -> Result<(EntryRow, Place)> {
        if row.entry.size != size {
            let mended = Entry { size, ..row.entry.clone() };
            self.tx.update_entry(&row, &mended)?;
            row.entry = mended;
        }
        let at = self.replica.place_for(self.tx, &row.id, &row.entry, field)?;
        self.tx.set_place(row.key, Some(&at))?;
        self.replica.note_letterless(self.tx, row.key, &row.entry, at.folder)?;
        Ok((row, at))
    }

    /// Makes sure that the `tmp/` of a folder is there. The folder itself is made only after the transaction. Returns
    /// what is made in it is like, or `None` if it can't be there: if that folder alone can't, its messages are held,
    /// and materialising tells why.
    fn prepare(&mut self, at: &Place) -> Result<Option<Like<'i>>> {
        if self.dry_run == DryRun::Yes {
            return Ok(Some(Like::PRIVATE));
        }
        if let Some((_, like)) = self.prepared.get(&at.folder) {
            return Ok(Some(*like));
        }
        if self.closed.contains(&at.folder) {
            return Ok(None);
        }
        let folder = self.replica.state.folder_row(at.folder)?;
        let made = self.replica.make_in_chosen_dir(Some(self.tx), at.folder, || self.replica.make_tmp(&folder))?;
        let dir = self.replica.dir(&folder.name).join("tmp");
        let mut made = made.map_err(|error| Error::io("making the directory", &dir, error).advise(WRITING));
        if self.landing == Landing::InPlace && made.is_ok() {
            made = self.replica.make_folder(Some(self.tx), at.folder, &mut self.straight);
        }
        let like = match made.and_then(|()| self.replica.look_at_folder_of(&dir.join("message"))) {
            Err(error) if error.is_about_a_place() => {
                self.closed.insert(at.folder);
                return Ok(None);
            }
            like => like?,
        };
        if !folder.on_disk {
            self.replica.read_dir_back(Some(self.tx), at.folder)?;
            let dir = self.replica.dir(&folder.name).join("tmp");
            self.made.extend(self.replica.upwards(&dir));
        }
        self.prepared.insert(at.folder, (dir, like));
        Ok(Some(like))
    }

    /// Copies a message from a file of this machine into its `tmp/`, or holds it if that can't be. Returns whether the
    /// file has it.
    fn copy(&mut self, row: &EntryRow, size: u64, source: &Path, tmp: Option<&PathBuf>) -> Result<bool> {
        let replica = self.replica;
        match tmp.map(|tmp| replica.copy_to_tmp(row, source, tmp)) {
            Some(Ok(copied)) => Ok(copied),
            Some(Err(error)) if !error.is_about_a_place() => Err(error),
            _ => match replica.held().hold_copy(&row.id.digest, source) {
                Err(error) => {
                    self.left_out.record(LeftOut::of(Vec::new(), false, size, error)?, replica, self.tx)?;
                    Ok(false)
                }
                held => held,
            },
        }
    }

    /// Brings an entry's contents from a file of this machine, in which they have this size. Returns whether the file
    /// has them.
    pub fn settle_from(&mut self, row: EntryRow, source: &Path, size: u64) -> Result<bool> {
        self.measure(size)?;
        let field = self.replica.size_field(source)?;
        let (row, at) = self.mend_size(row, size, field)?;
        let is_open = self.prepare(&at)?.is_some();
        if self.dry_run == DryRun::Yes {
            return Ok(true);
        }
        let tmp = self.replica.tmp_path(&at)?;
        self.copy(&row, size, source, is_open.then_some(&tmp))
    }

    /// Settles the entries whose contents the bundle did not hold. The contents may be on this machine; if not, they
    /// are missing until a peer sends them.
    pub fn settle(&mut self) -> Result<()> {
        let replica = self.replica;
        let mut after = None;
        loop {
            let batch = replica.state.awaiting_batch(after, 256)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in batch {
                let Some(at) = &row.at else { continue };
                let source = match replica.find_contents(&row.id.digest, &replica.tmp_path(at)?) {
                    // A file here may have it, and can't be read: the message waits for that.
                    Err(error) if error.is_about_a_place() => {
                        self.tx.set_pending(row.key, &Pending::Deliver)?;
                        continue;
                    }
                    source => source?,
                };
                let is_here = match source {
                    Some((source, size)) => self.settle_from(row.clone(), &source, size)?,
                    None => false,
                };
                if is_here {
                    self.tx.set_pending(row.key, &Pending::Deliver)?;
                } else {
                    self.measure(row.entry.size)?;
                    self.tx.set_place(row.key, None)?;
                    self.tx.clear_pending(row.key)?;
                    self.tx.add_missing(row.key)?;
                    // The entry will count as new when its contents come, and is told then.
                    self.tx.withdraw_arrival(&row.id)?;
                    self.missing += 1;
                }
            }
        }
    }
}
