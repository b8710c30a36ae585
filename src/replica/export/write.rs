//! Carries out a plan: writes each bundle with the messages on its list. A bundle counts as sent once all of it is
//! written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::NotWritten;
use super::options::{Exported, Fullness, Unread};
use super::plan::{ExportedTo, LIST, Occasion, Plan, PlannedPart};
use super::search::Sought;
use super::secrecy::Readers;
use crate::bundle::{Manifest, Options, Wrapping, WriteError, Writer};
use crate::disk::{Disk, SMALL, Source, read_small};
use crate::error::Result;
use crate::message::{FileKind, Filtered};
use crate::model::Digest;
use crate::pool;
use crate::replica::Replica;
use crate::replica::news::BundleNews;
use crate::replica::scan::ScanOptions;
use crate::state::{Action, Outgoing, State};

/// A reading thread takes so many messages at a time.
const BATCH: usize = 16;
/// This many batches are read ahead.
const AHEAD: u64 = 8;
/// For one bundle the mail is scanned again so often at most, to find what was moved meanwhile.
const MOST_SCANS: u32 = 5;

/// Counts what is written: the size of a bundle's file.
struct Counting<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Exported {
    /// What is known of a bundle before it is written.
    pub(super) fn planned(manifest: &Manifest, attachments: u64, news: BundleNews, plan: &ExportedTo) -> Self {
        Self {
            number: manifest.number,
            to: plan.to.name().map(str::to_owned),
            kind: manifest.kind,
            counts: manifest.counts,
            attachments,
            bytes: manifest.bytes,
            file_bytes: None,
            readable: Readers::readable(plan.readers.as_ref()),
            missing: Unread::default(),
            news,
        }
    }
}

impl Replica {
    /// Writes a plan of one bundle into a stream, and records that it was sent.
    ///
    /// # Errors
    /// There are several bundles, or something can't be read or written.
    pub(super) fn write_plan<W: Write>(&self, plan: Plan, out: W) -> Result<Exported> {
        let (written, part) = plan.take_one()?;
        let exported = self.write_and_flush(part, &written, out)?;
        self.record_export(&written, std::slice::from_ref(&exported), &[])?;
        Ok(exported)
    }

    /// Writes one planned bundle, all of it.
    pub(super) fn write_and_flush<W: Write>(
        &self,
        part: PlannedPart,
        plan: &ExportedTo,
        out: W,
    ) -> std::result::Result<Exported, NotWritten> {
        let (mut out, exported) = self.write_part(part, plan, out)?;
        out.flush().map_err(WriteError::Out)?;
        Ok(exported)
    }

    /// Writes one planned bundle. Its end may still be in the buffer of `out`.
    pub(super) fn write_part<W: Write>(
        &self,
        part: PlannedPart,
        plan: &ExportedTo,
        out: W,
    ) -> std::result::Result<(W, Exported), NotWritten> {
        let options = Options { level: plan.level, ..Options::default() };
        let PlannedPart { manifest, records, said, after, attachments, news } = part;
        let mut exported = Exported::planned(&manifest, attachments, news, plan);
        let out = Counting { out, bytes: 0 };
        let out = match &plan.readers {
            Some(Readers::Keys(keys, _)) => Wrapping::for_readers(keys, out)?,
            Some(Readers::Code(code)) => Wrapping::with_code(code, out)?,
            None => Wrapping::Plain(out),
        };
        let mut writer = Writer::start(out, &options, &manifest, self.key()?, records, said)?;
        exported.missing = self.write_messages(&mut writer, after, manifest.counts.messages)?;
        let Counting { out, bytes } = writer.finish()?.finish()?;
        exported.file_bytes = Some(bytes);
        Ok((out, exported))
    }

    /// Records that bundles were written completely; `files` are those that were unrecorded until now.
    pub(super) fn record_export(&self, plan: &ExportedTo, exported: &[Exported], files: &[Digest]) -> Result<()> {
        let Some(first) = exported.first() else { return Ok(()) };
        Exported::mark_missing(exported)?;
        let (state, now) = (&self.state, self.now());
        let size = exported.iter().filter_map(|exported| exported.file_bytes).sum();
        let tx = self.begin()?;
        tx.remove_unrecorded(files)?;
        let peers = self.neighbours()?;
        let anyone_is_invited = peers.is_empty();
        for peer in peers {
            if first.to.as_ref().is_none_or(|name| *name == peer.name) {
                // While somebody took his time over this one, another command may have written a newer one.
                if peer.sent_number.is_none_or(|newest| newest < first.number) {
                    tx.set_sent(peer.key, &plan.tip, first.number, size, now)?;
                }
                // Where no answer ever comes, what was written counts as received. What could not be read is still
                // wanted, and need not be asked for.
                if plan.fullness == Fullness::SinceLast {
                    tx.remove_wanted(peer.key, &plan.answered)?;
                }
                for exported in exported {
                    tx.add_wanted(peer.key, &exported.missing.digests)?;
                }
                // A replica that was invited and has not answered counts as having its invitation's tip.
                if plan.occasion == Occasion::Invitation && peer.standing.shown.is_none() {
                    tx.set_shown(peer.key, &plan.tip)?;
                }
            }
        }
        for mut invited in state.invitations()? {
            if first.to.as_ref().map_or(anyone_is_invited, |name| *name == invited.name) {
                if invited.sent_number < first.number {
                    (invited.sent, invited.sent_number) = (plan.tip.clone(), first.number);
                }
                if plan.occasion == Occasion::Invitation && invited.shown.is_empty() {
                    invited.shown = plan.tip.clone();
                }
                tx.set_invitation(&invited)?;
            }
        }
        let action = if plan.occasion == Occasion::Invitation { Action::Invite } else { Action::Export };
        // One that only acknowledges is nothing to look back at.
        for exported in
            exported.iter().filter(|exported| exported.holds_anything() || plan.occasion != Occasion::Export)
        {
            tx.record(now, action, exported.to.as_deref(), &exported.to_string())?;
        }
        tx.commit()
    }

    /// Reads the listed messages in several threads, and writes them in order. Returns those that could not be read.
    fn write_messages<W: Write>(
        &self,
        writer: &mut Writer<W>,
        after: i64,
        count: u64,
    ) -> std::result::Result<Unread, NotWritten> {
        let progress = self.world.meter.begin("exporting messages", count);
        let disk = &*self.world.disk;
        let read = |batch: Vec<(Outgoing, PathBuf)>| {
            let read = |(message, path): (Outgoing, PathBuf)| {
                let bytes = read_expected(disk, &path, &message);
                (message, bytes)
            };
            batch.into_iter().map(read).collect::<Vec<_>>()
        };
        let mut missing = Unread::default();
        self.state.clear_late()?;
        let mut listed = Vec::new().into_iter();
        let mut all = Listed { state: &self.state, after, left: count };
        let next = || {
            if listed.as_slice().is_empty() {
                let Some(next) = all.next_batch()? else { return Ok(None) };
                listed = next.into_iter();
            }
            let mut batch = Vec::with_capacity(BATCH);
            let mut size = 0;
            while batch.len() < BATCH && size < SMALL {
                let Some((_, message)) = listed.next() else { break };
                size += message.size;
                let path = self.expected_at(&message)?;
                batch.push((message, path));
            }
            Ok(Some(batch))
        };
        pool::in_order(AHEAD, next, read, |results| {
            progress.carried(results.iter().map(|(message, _)| message.size).sum());
            progress.advance(results.len() as u64);
            for (message, bytes) in results {
                match bytes {
                    Some(bytes) => {
                        writer.message_bytes(message.digest, message.mtime, &bytes)?;
                    }
                    None => self.write_sought(writer, &message, &mut missing)?,
                }
            }
            Ok::<_, NotWritten>(())
        })?;
        self.write_late(writer, &mut missing)?;
        Ok(missing)
    }

    /// Writes a message that is too large to be kept in memory, or whose file is not where it was when it was listed.
    /// If it is nowhere, it is put on the list of those to be sought when the others are written.
    fn write_sought<W: Write>(
        &self,
        writer: &mut Writer<W>,
        message: &Outgoing,
        missing: &mut Unread,
    ) -> std::result::Result<(), NotWritten> {
        match self.seek(message)? {
            Sought::Here(path, file, kind) => writer
                .message(message.digest, message.size, message.mtime, &mut Filtered::new(file, kind))
                .map_err(|error| NotWritten::from(error).about(path.display())),
            Sought::Nowhere => Ok(self.state.add_late(message)?),
            Sought::Unreadable(error) => {
                self.complain(error);
                self.leave_out(writer, message, missing)
            }
            Sought::Removed => self.leave_out(writer, message, missing),
        }
    }

    /// Writes the messages that were nowhere. Somebody has moved them, and a scan finds out where to, unless they are
    /// moved on meanwhile.
    fn write_late<W: Write>(
        &self,
        writer: &mut Writer<W>,
        missing: &mut Unread,
    ) -> std::result::Result<(), NotWritten> {
        let (mut after, mut scans) = (0, 0);
        loop {
            let last = self.state.last_late()?;
            if last == after {
                return Ok(());
            }
            if scans < MOST_SCANS {
                self.scan(&ScanOptions::default())?;
                scans += 1;
            }
            while after < last {
                for (key, message) in self.state.late_batch(after, LIST)? {
                    if key > last {
                        break;
                    }
                    after = key;
                    match self.seek(&message)? {
                        Sought::Nowhere if scans == MOST_SCANS => {
                            self.complain(self.is_gone(&message)?);
                            self.leave_out(writer, &message, missing)?;
                        }
                        _ => self.write_sought(writer, &message, missing)?,
                    }
                }
            }
        }
    }

    /// Says in the bundle that a message is missing.
    fn leave_out<W: Write>(
        &self,
        writer: &mut Writer<W>,
        message: &Outgoing,
        missing: &mut Unread,
    ) -> std::result::Result<(), NotWritten> {
        self.count_unread(message, missing)?;
        Ok(writer.leave_out(message.digest, message.size)?)
    }

    fn count_unread(&self, message: &Outgoing, unread: &mut Unread) -> Result<()> {
        let is_attachment = message.at.is_none() && self.state.attachment_size(&message.digest)?.is_some();
        unread.attachments += u64::from(is_attachment);
        unread.bytes = unread.bytes.saturating_add(message.size);
        unread.digests.push(message.digest);
        Ok(())
    }

    /// Finds out what a planned bundle would lack: the messages that can't be opened. None is read, so what would show only then
    /// isn't foreseen.
    ///
    /// # Errors
    /// Something other than these messages fails.
    pub(super) fn foresee_unread(&self, part: &PlannedPart) -> Result<Unread> {
        let mut all = Listed { state: &self.state, after: part.after, left: part.manifest.counts.messages };
        let mut unread = Unread::default();
        while let Some(listed) = all.next_batch()? {
            for (_, message) in listed {
                if Source::open_message(&*self.world.disk, &self.expected_at(&message)?).is_ok() {
                    continue;
                }
                if let Sought::Unreadable(error) = self.seek(&message)? {
                    self.complain(error);
                    self.count_unread(&message, &mut unread)?;
                }
            }
        }
        Ok(unread)
    }
}

/// The messages of a part of a plan: so many, behind the one with this number.
struct Listed<'s> {
    state: &'s State,
    after: i64,
    left: u64,
}

impl Listed<'_> {
    /// The next of them, with their numbers. `None` behind the last.
    fn next_batch(&mut self) -> Result<Option<Vec<(i64, Outgoing)>>> {
        let most = u32::try_from(self.left).map_or(LIST, |left| left.min(LIST));
        let listed = self.state.outgoing_batch(self.after, most)?;
        let Some(&(last, _)) = listed.last() else { return Ok(None) };
        (self.after, self.left) = (last, self.left - listed.len() as u64);
        Ok(Some(listed))
    }
}

/// A message's bytes, if it is small and its file has the right contents.
fn read_expected(disk: &dyn Disk, path: &Path, message: &Outgoing) -> Option<Vec<u8>> {
    if message.size > SMALL {
        return None;
    }
    let kind = if message.at.is_some() { FileKind::Message } else { FileKind::Attachment };
    let (bytes, digest) = read_small(disk, path, kind, message.size).ok()?;
    (digest == message.digest).then_some(bytes)
}
