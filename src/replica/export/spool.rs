//! Preparation of a bundle's contents: its records go into a spool, its messages onto a list.

use std::collections::HashSet;

use super::error::writing;
use super::options::{ExportOptions, MessageContents};
use super::recipient::Recipient;
use crate::bundle::{AttachmentRef, Counts, RecordSpool, SPOOL_IN_MEMORY, Said, SpooledRecords};
use crate::error::Result;
use crate::model::{Claims, Digest, Knowledge, Mtime, PassesOver};
use crate::replica::Replica;
use crate::replica::news::{BundleNews, NewsTaker};
use crate::replica::transaction::Transaction;
use crate::state::{EntryRow, Outgoing};

/// The contents of a bundle to be written, besides the messages that are listed.
pub(super) struct Spool {
    pub(super) records: SpooledRecords,
    pub(super) said: Said,
    pub(super) counts: Counts,
    /// How many of the messages are attachments of jobs.
    pub(super) attachments: u64,
    pub(super) bytes: u64,
    /// The messages that the recipient wants and that are on the list.
    pub(super) answered: Vec<Digest>,
    pub(super) news: BundleNews,
}

impl Replica {
    /// Writes the records to be exported into a spool, and lists the messages that go with them; without what is sent in vain.
    pub(super) fn spool(
        &self,
        tx: &Transaction<'_>,
        claims: Claims,
        (base, vain): (&Knowledge, &PassesOver),
        to: &Recipient,
        options: &ExportOptions,
    ) -> Result<Spool> {
        let (state, contents) = (&self.state, options.contents);
        let mut news = NewsTaker::new(base.clone(), options.telling)?;
        let (mut counts, mut bytes) = (Counts::default(), 0);
        let mut spool = RecordSpool::within(&*self.world.disk, self.home.state_dir(), claims.clone());
        let mut room = self.room_for_spool(SPOOL_IN_MEMORY);
        self.spool_folders(&mut spool, base, vain)?;
        state.clear_outgoing()?;
        // Only messages with several entries need to be remembered.
        let mut listed: HashSet<Digest> = HashSet::new();
        let mut lacking: HashSet<Digest> = HashSet::new();
        let mut count = |row: &EntryRow| {
            counts.messages += 1;
            bytes += row.entry.size;
            let at = row.at.clone();
            Outgoing { digest: row.id.digest, size: row.entry.size, mtime: row.entry.mtime, at }
        };
        state.changed_since(base, |row| {
            if vain.leaves_out(&row.entry, base) {
                return Ok(());
            }
            spool.entry(&row.id, &row.entry).map_err(|error| writing(&error))?;
            news.entry(&row.id.digest, &row.entry)?;
            room.reach("the records of the bundle", spool.bytes())?;
            let needed = row.entry.alive() && !base.covers(row.entry.born) && contents == MessageContents::Included;
            if !needed || (state.digest_is_shared(&row.id.digest)? && !listed.insert(row.id.digest)) {
                return Ok(());
            }
            if row.at.is_none() && self.sources(&row.id.digest)?.is_empty() {
                // This replica lacks the contents, too: the recipient learns of the entry, and asks others for them.
                lacking.insert(row.id.digest);
                return Ok(());
            }
            state.add_unsorted(&count(&row))
        })?;
        state.sort_outgoing()?;
        let wanted = if contents == MessageContents::LeftOut { Vec::new() } else { self.wanted_of(to)? };
        // A job may name as its input what is a message, too: the bundle holds it once.
        let is_listed = |digest: &Digest| -> Result<bool> {
            let included = |row: &EntryRow| row.entry.alive() && !base.covers(row.entry.born);
            Ok(contents == MessageContents::Included
                && !lacking.contains(digest)
                && (listed.contains(digest) || state.entries_of(digest)?.iter().any(included)))
        };
        let mut counts_of_jobs = (0, 0);
        let replicas = self.spool_replicas(&claims, base)?;
        let (jobs, attached) = self.spool_jobs(tx, claims, (base, vain), is_listed, |attachment, made| {
            counts_of_jobs = (counts_of_jobs.0 + 1, counts_of_jobs.1 + attachment.bytes);
            state.add_outgoing(&attachment_outgoing(attachment, made))
        })?;
        let mut answered = Vec::new();
        for digest in wanted {
            answered.push(digest);
            if attached.contains(&digest) || is_listed(&digest)? {
                continue;
            }
            if let Some(bytes) = state.attachment_size(&digest)?
                && self.check_attachment(tx, &digest)?
            {
                counts_of_jobs = (counts_of_jobs.0 + 1, counts_of_jobs.1 + bytes);
                state.add_outgoing(&attachment_outgoing(&AttachmentRef { digest, bytes }, 0))?;
            } else if let Some(row) = state.entries_of(&digest)?.first()
                && !self.sources(&digest)?.is_empty()
            {
                state.add_outgoing(&count(row))?;
            } else {
                answered.pop();
            }
        }
        counts.messages += counts_of_jobs.0;
        bytes += counts_of_jobs.1;
        let records = spool.finish().map_err(|error| writing(&error))?;
        let attachments = counts_of_jobs.0;
        Ok(Spool { records, said: Said { replicas, jobs }, counts, attachments, bytes, answered, news: news.finish() })
    }

    fn spool_folders(&self, spool: &mut RecordSpool, base: &Knowledge, vain: &PassesOver) -> Result<()> {
        for (name, folder) in self.state.folders_changed_since(base) {
            if !vain.has(folder.stamp) {
                spool.folder(&name, folder).map_err(|error| writing(&error))?;
            }
        }
        Ok(())
    }

    /// The digests of the contents that the recipient lacks, as far as it has said.
    fn wanted_of(&self, to: &Recipient) -> Result<Vec<Digest>> {
        let mut wanted = Vec::new();
        for peer in to.peers() {
            wanted.extend(self.state.wanted_by(peer.key)?);
        }
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }
}

/// A job attachment, as a message of the bundle.
fn attachment_outgoing(attachment: &AttachmentRef, made: u64) -> Outgoing {
    let mtime = Mtime::new(i64::try_from(made / 1000).unwrap_or(0), 0);
    Outgoing { digest: attachment.digest, size: attachment.bytes, mtime, at: None }
}
