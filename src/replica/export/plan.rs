//! Planning: the next bundle, or the parts of one, as a value. Nothing of it is written yet.

use std::path::Path;

use super::error::writing;
use super::options::ExportOptions;
use super::recipient::Recipient;
use super::spool::Spool;
use crate::bundle::{Counts, Invitation, Kind, Manifest, RecordSpool, Sender, SpooledJobs, SpooledRecords, limits};
use crate::error::{Error, Result};
use crate::model::{Digest, Knowledge, export_base};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;

/// What a bundle is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    Export,
    Invitation,
}

/// Bundles about to be written: one, or the parts of one.
#[derive(Debug)]
pub(super) struct Plan {
    to: Recipient,
    occasion: Occasion,
    level: i32,
    tip: Knowledge,
    parts: Vec<PlannedPart>,
}

impl Plan {
    /// Takes the parts out.
    pub(super) fn take_parts(self) -> (ExportedTo, Vec<PlannedPart>) {
        let Self { to, occasion, level, tip, parts } = self;
        (ExportedTo { to, occasion, level, tip }, parts)
    }

    /// Takes the only part out.
    ///
    /// # Errors
    /// There are several.
    pub(super) fn take_one(self) -> Result<(ExportedTo, PlannedPart)> {
        let (plan, mut parts) = self.take_parts();
        match (parts.pop(), parts.is_empty()) {
            (Some(part), true) => Ok((plan, part)),
            _ => Err(Error::usage("exporting: several bundles don't go into one stream")
                .advise("write them into a directory with -o DIR")),
        }
    }
}

/// A plan whose parts were taken out to be written.
pub(super) struct ExportedTo {
    pub(super) to: Recipient,
    pub(super) occasion: Occasion,
    pub(super) level: i32,
    pub(super) tip: Knowledge,
}

/// One bundle about to be written.
#[derive(Debug)]
pub(super) struct PlannedPart {
    pub(super) manifest: Manifest,
    pub(super) records: SpooledRecords,
    pub(super) jobs: Option<SpooledJobs>,
    /// The number of the last message on the list that belongs to an earlier part.
    pub(super) after: i64,
}

/// At most so many messages are asked for in one bundle; the next one asks for more.
const MOST_WANTS: u32 = 200_000;
/// How many messages are taken from the list at a time.
pub(super) const LIST: u32 = 256;
/// What archive headers, the signature and the zstd frame take at most, in bytes, besides what they enclose.
const FRAMING: u64 = 8192;
/// The greatest number of messages in a bundle is bounded by what a manifest can hold of those wanted.
const _: () = assert!(MOST_WANTS as u64 * 70 < limits::MANIFEST_BYTES);

impl Replica {
    /// Plans the next bundle: its number is used up by this, whether it is written or not. In the directory `dir` its name
    /// is to be a free one.
    pub(super) fn plan_export(&self, options: &ExportOptions, dir: Option<&Path>) -> Result<Plan> {
        let tx = self.begin()?;
        let to = self.recipient(&options.to)?;
        let plan = self.plan_within(&tx, options, to, Occasion::Export, dir)?;
        tx.commit()?;
        Ok(plan)
    }

    /// Plans a bundle.
    pub(super) fn plan_within(
        &self,
        tx: &Transaction<'_>,
        options: &ExportOptions,
        to: Recipient,
        occasion: Occasion,
        dir: Option<&Path>,
    ) -> Result<Plan> {
        let state = &self.state;
        let horizon = state.horizon()?;
        let (shown, follows) = self.base_for(options.fullness, &to)?;
        let asked_for_delta = !shown.is_empty();
        let base = export_base(shown, &horizon);
        if asked_for_delta && base.is_empty() {
            self.note("removals that were purged here are not known there: this is a full bundle");
        }
        if to.peer().is_some_and(|peer| peer.suspect) {
            self.note("the last bundle from there showed another mailbox at equal knowledge: this is a full bundle, to heal it");
        }
        let incarnation = state.incarnation()?;
        let Spool { records, jobs, mut counts, bytes } = self.spool(tx, &base, &to, options.contents)?;
        counts.jobs = jobs.as_ref().map_or(0, SpooledJobs::lines);
        counts.folders = records.folders();
        counts.entries = records.entries();
        let me = self.public_key().id();
        let recipient = to.peer().map(|peer| peer.id);
        let proof = to.peer().and_then(|peer| peer.token).zip(recipient);
        let invitation = match (&to, occasion) {
            (Recipient::Invited(invited), Occasion::Invitation) => {
                Some(Invitation { name: invited.name.clone(), token: invited.token })
            }
            _ => None,
        };
        let manifest = Manifest {
            kind: if base.is_empty() { Kind::Full } else { Kind::Delta },
            number: self.free_number(tx, &to, dir)?,
            made: self.now(),
            sender: Sender { id: me, name: self.config.name.clone(), incarnation },
            recipient,
            invitation,
            proof: proof.map(|(token, inviter)| token.proof(&inviter, &me)),
            follows: follows.filter(|_| !base.is_empty()),
            issued: state.issued_after(base.get(incarnation))?,
            base,
            tip: state.knowledge()?,
            horizon,
            state_digest: state.digest(),
            wants: self.wants()?,
            counts,
            bytes,
            entries: records.part(),
            jobs: jobs.as_ref().map(SpooledJobs::part),
        };
        let tip = manifest.tip.clone();
        let parts = match options.split {
            None => vec![PlannedPart { manifest, records, jobs, after: 0 }],
            Some(size) => self.split(tx, manifest, (records, jobs), size, &to, dir)?,
        };
        Ok(Plan { to, occasion, level: options.level, tip, parts })
    }

    /// The number for a bundle. One whose file name in `dir` is taken is passed over: a replica that was restored from a
    /// backup counts from an earlier number on, and a bundle is never overwritten.
    fn free_number(&self, tx: &Transaction<'_>, to: &Recipient, dir: Option<&Path>) -> Result<u64> {
        loop {
            let number = tx.next_number()?;
            let taken = dir.is_some_and(|dir| dir.join(self.bundle_name(to, number)).symlink_metadata().is_ok());
            if !taken {
                return Ok(number);
            }
        }
    }

    /// What a bundle's file is called in a directory.
    pub(super) fn bundle_name(&self, to: &Recipient, number: u64) -> String {
        format!("{}-{}-{number}.zst", self.config.name, to.name().unwrap_or("any"))
    }

    /// Distributes the messages over several bundles, none larger than `size` bytes unless a single message is. The first
    /// one holds all entries; whoever has applied it lacks the contents of some of them, and takes these from the others in
    /// any order.
    fn split(
        &self,
        tx: &Transaction<'_>,
        mut first: Manifest,
        (records, jobs): (SpooledRecords, Option<SpooledJobs>),
        size: u64,
        to: &Recipient,
        dir: Option<&Path>,
    ) -> Result<Vec<PlannedPart>> {
        // zstd makes what it can't compress larger by less than this (its ZSTD_COMPRESSBOUND).
        let room = size - size / 128;
        let head = first.to_json().len() as u64 + FRAMING;
        let used = head + records.part().bytes + jobs.as_ref().map_or(0, |jobs| jobs.part().bytes);
        if used > room {
            return Err(Error::usage(format!(
                "splitting into bundles of {size} bytes: the list of entries alone takes {used}, uncompressed"
            ))
            .advise("choose a larger size"));
        }
        let mut later = Manifest {
            kind: Kind::Delta,
            base: first.tip.clone(),
            issued: Vec::new(),
            follows: Some(first.number),
            invitation: None,
            jobs: None,
            ..first.clone()
        };
        let empty = || RecordSpool::new(self.home.state_dir()).finish().map_err(|error| writing(&error));
        (first.counts.messages, first.bytes) = (0, 0);
        let mut parts = vec![PlannedPart { manifest: first, records, jobs, after: 0 }];
        let mut left = room - used;
        let mut after = 0;
        loop {
            let listed = self.state.outgoing_batch(after, LIST)?;
            let Some(&(last, _)) = listed.last() else { return Ok(parts) };
            for (key, message) in listed {
                let needed = 1024 + message.size;
                let part = parts.last_mut().expect("there is a first part");
                // The first one may stay without messages: a receiver that takes nothing else has the entries at least.
                let counts = part.manifest.counts;
                let may_stay_over = counts.messages + counts.entries + counts.jobs > 0;
                if needed > left && may_stay_over {
                    let records = empty()?;
                    later.number = self.free_number(tx, to, dir)?;
                    later.counts = Counts::default();
                    later.bytes = 0;
                    later.entries = records.part();
                    parts.push(PlannedPart { manifest: later.clone(), records, jobs: None, after: key - 1 });
                    left = room.saturating_sub(head);
                }
                let part = parts.last_mut().expect("there is a first part");
                part.manifest.counts.messages += 1;
                part.manifest.bytes += message.size;
                left = left.saturating_sub(needed);
            }
            after = last;
        }
    }

    /// The messages and attachments that this replica knows of and lacks.
    fn wants(&self) -> Result<Vec<Digest>> {
        let mut wants = self.state.missing_digests(MOST_WANTS)?;
        wants.extend(self.state.missing_attachments(MOST_WANTS)?);
        wants.sort_unstable();
        wants.dedup();
        wants.truncate(MOST_WANTS as usize);
        Ok(wants)
    }
}
