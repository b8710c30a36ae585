//! Carries out a plan: writes each bundle with the messages on its list. A bundle counts as sent once all of it is
//! written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::NotWritten;
use super::options::Exported;
use super::plan::{ExportedTo, LIST, Occasion, Plan, PlannedPart};
use crate::bundle::{Options, Wrapping, WriteError, Writer};
use crate::disk::{Disk, SMALL, hash_file, read_small};
use crate::error::{Error, Result};
use crate::maildir::FileName;
use crate::maildir::listing::{Listing, path_in};
use crate::message::{FileKind, Filtered};
use crate::model::Digest;
use crate::pool;
use crate::replica::Replica;
use crate::state::{Action, Outgoing};

/// A reading thread takes so many messages at a time.
const BATCH: usize = 16;
/// This many batches are read ahead.
const AHEAD: u64 = 8;

impl Replica {
    /// Writes a plan of one bundle into a stream, and records that it was sent.
    ///
    /// # Errors
    /// There are several bundles, or something can't be read or written.
    pub(super) fn write_plan<W: Write>(&self, plan: Plan, out: W) -> Result<Exported> {
        let (written, part) = plan.take_one()?;
        let exported = self.write_and_flush(part, &written, out)?;
        self.record_export(&written, std::slice::from_ref(&exported))?;
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
        let PlannedPart { manifest, records, jobs, after } = part;
        let exported = Exported {
            number: manifest.number,
            to: plan.to.name().map(str::to_owned),
            kind: manifest.kind,
            counts: manifest.counts,
            bytes: manifest.bytes,
            encrypted_for: plan.readers.as_ref().map(|readers| readers.names.clone()),
        };
        let out = match &plan.readers {
            Some(readers) => Wrapping::for_readers(&readers.keys, out)?,
            None => Wrapping::Plain(out),
        };
        let mut writer = Writer::start(out, &options, &manifest, &self.key, records, jobs)?;
        self.write_messages(&mut writer, after, manifest.counts.messages)?;
        let out = writer.finish()?.finish()?;
        Ok((out, exported))
    }

    /// Records that bundles were written completely.
    pub(super) fn record_export(&self, plan: &ExportedTo, exported: &[Exported]) -> Result<()> {
        let Some(first) = exported.first() else { return Ok(()) };
        let (state, now) = (&self.state, self.now());
        let tx = self.begin()?;
        for peer in state.neighbours()? {
            if first.to.as_ref().is_none_or(|name| *name == peer.name) {
                tx.set_sent(peer.key, &plan.tip, first.number, now)?;
                // A replica that was invited and has not answered counts as having its invitation's tip.
                if plan.occasion == Occasion::Invitation && peer.standing.shown.is_none() {
                    tx.set_shown(peer.key, &plan.tip)?;
                }
            }
        }
        for mut invited in state.invitations()? {
            if first.to.as_ref().is_none_or(|name| *name == invited.name) {
                (invited.sent, invited.sent_number) = (plan.tip.clone(), first.number);
                if plan.occasion == Occasion::Invitation && invited.shown.is_empty() {
                    invited.shown = plan.tip.clone();
                }
                tx.set_invitation(&invited)?;
            }
        }
        let action = if plan.occasion == Occasion::Invitation { Action::Invite } else { Action::Export };
        for exported in exported {
            tx.record(now, action, exported.to.as_deref(), &exported.to_string())?;
        }
        tx.commit()
    }

    /// Reads the listed messages in several threads, and writes them in order.
    fn write_messages<W: Write>(
        &self,
        writer: &mut Writer<W>,
        after: i64,
        count: u64,
    ) -> std::result::Result<(), NotWritten> {
        let progress = self.world.meter.begin("exporting messages", count);
        let disk = &*self.world.disk;
        let read = |batch: Vec<(Outgoing, Option<PathBuf>)>| {
            let read = |(message, path): (Outgoing, Option<PathBuf>)| {
                let bytes = path.and_then(|path| read_expected(disk, &path, &message));
                (message, bytes)
            };
            batch.into_iter().map(read).collect::<Vec<_>>()
        };
        let mut listed = Vec::new().into_iter();
        let (mut after, mut left) = (after, count);
        let next = || {
            if listed.as_slice().is_empty() {
                let most = u32::try_from(left).map_or(LIST, |left| left.min(LIST));
                let next = self.state.outgoing_batch(after, most)?;
                let Some(&(last, _)) = next.last() else { return Ok(None) };
                left -= next.len() as u64;
                after = last;
                listed = next.into_iter();
            }
            let mut batch = Vec::with_capacity(BATCH);
            let mut size = 0;
            while batch.len() < BATCH && size < SMALL {
                let Some((_, message)) = listed.next() else { break };
                size += message.size;
                let path = match &message.at {
                    Some(at) => Some(self.path(at)?),
                    None => Some(self.attachment_path(&message.digest)),
                };
                batch.push((message, path));
            }
            Ok(Some(batch))
        };
        pool::in_order(AHEAD, next, read, |results| {
            progress.advance(results.len() as u64);
            for (message, bytes) in results {
                match bytes {
                    Some(bytes) => {
                        writer.message_bytes(message.digest, message.mtime, &bytes)?;
                    }
                    None => self.write_large(writer, &message)?,
                }
            }
            Ok(())
        })
    }

    /// Writes a message that is too large to be kept in memory, or whose file is not where it was when it was listed.
    fn write_large<W: Write>(&self, writer: &mut Writer<W>, message: &Outgoing) -> std::result::Result<(), NotWritten> {
        let first = message.at.as_ref().map(|at| self.path(at)).transpose()?;
        let place = first.as_ref().map_or_else(|| message.digest.to_string(), |path| path.display().to_string());
        let attachment = (self.attachment_path(&message.digest), FileKind::Attachment);
        let elsewhere = self.sources(&message.digest)?.into_iter().chain(self.look_again(&message.digest)?);
        let messages = |path| (path, FileKind::Message);
        let sources = first.into_iter().map(messages).chain([attachment]).chain(elsewhere.map(messages));
        let mut unreadable = None;
        for (source, kind) in sources {
            // The file is read twice, first to check it: a message that was begun can't be taken back from the bundle.
            match hash_file(&*self.world.disk, &source, kind) {
                Ok(found) if found.digest == message.digest => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    unreadable = Some(error);
                    continue;
                }
                _ => continue,
            }
            let Ok(file) = self.world.disk.open(&source) else { continue };
            return writer
                .message(message.digest, message.size, message.mtime, &mut Filtered::new(file, kind))
                .map_err(|error| NotWritten::from(error).about(source.display()));
        }
        let because = |why: &dyn std::fmt::Display| {
            Error::failed(format!("reading {place}: {why}")).advise(
                "see that it can be read, and export again; if that fails too, run `mailsync scan --deep` first",
            )
        };
        Err(match unreadable {
            Some(error) => NotWritten::Failed(because(&error)),
            None => {
                NotWritten::Overtaken(because(&"the message is gone, or was edited in place, since it was scanned"))
            }
        })
    }

    /// Looks for the files that have the message, as a mail reader may have renamed them since they were listed.
    fn look_again(&self, digest: &Digest) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for row in self.state.entries_of(digest)? {
            let Some(at) = row.at else { continue };
            let dir = self.dir(&self.state.folder_row(at.folder)?.name);
            let base = FileName::parse(&at.name).base().to_vec();
            if let Ok(listing) = Listing::read(&*self.world.disk, &dir, None) {
                let same = listing.iter().filter(|(name, _)| FileName::parse(name).base() == base);
                found.extend(same.map(|(name, sub)| path_in(&dir, sub, name)));
            }
        }
        Ok(found)
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
