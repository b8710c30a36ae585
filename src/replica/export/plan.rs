//! The plan for the next bundle, or for the parts of one, as a value. Nothing is written yet.

use super::error::writing;
use super::options::{ExportOptions, Fullness};
use super::recipient::Recipient;
use super::secrecy::{Readers, Target};
use super::spool::Spool;
use crate::bundle::{
    BundleKind, Code, Counts, Invitation, Manifest, RecordSpool, Said, Sender, SpooledJobs, SpooledRecords, limits,
};
use crate::disk::has_name;
use crate::error::{Error, Result};
use crate::model::{Claims, Digest, Head, Knowledge, PassesOver, export_base};
use crate::replica::Replica;
use crate::replica::news::BundleNews;
use crate::replica::transaction::Transaction;
use crate::text::bytes;

/// The occasion for which a bundle is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    Export,
    Invitation,
}

/// A plan: one bundle to be written, or the parts of one.
#[derive(Debug)]
pub(super) struct Plan {
    to: Recipient,
    occasion: Occasion,
    fullness: Fullness,
    level: i32,
    tip: Knowledge,
    readers: Option<Readers>,
    answered: Vec<Digest>,
    parts: Vec<PlannedPart>,
}

impl Plan {
    /// Separates the parts, to be written, from the rest of the plan.
    pub(super) fn into_parts(self) -> (ExportedTo, Vec<PlannedPart>) {
        let Self { to, occasion, fullness, level, tip, readers, answered, parts } = self;
        (ExportedTo { to, occasion, fullness, level, tip, readers, answered }, parts)
    }

    /// The code with which it is going to be encrypted.
    pub(super) fn code(&self) -> Option<&Code> {
        match &self.readers {
            Some(Readers::Code(code)) => Some(code),
            Some(Readers::Keys(..)) | None => None,
        }
    }

    /// Takes the only part out.
    ///
    /// # Errors
    /// There are several.
    pub(super) fn take_one(self) -> Result<(ExportedTo, PlannedPart)> {
        let (plan, mut parts) = self.into_parts();
        match (parts.pop(), parts.is_empty()) {
            (Some(part), true) => Ok((plan, part)),
            _ => Err(Error::usage("exporting: several bundles don't go into one stream")
                .advise("write them into a directory with -o DIR")),
        }
    }
}

/// A plan without its parts.
pub(super) struct ExportedTo {
    pub(super) to: Recipient,
    pub(super) occasion: Occasion,
    pub(super) fullness: Fullness,
    pub(super) level: i32,
    pub(super) tip: Knowledge,
    /// Those for whom it is encrypted; `None` if it is not.
    pub(super) readers: Option<Readers>,
    /// The messages that the recipient wants and that go with the bundle.
    pub(super) answered: Vec<Digest>,
}

/// One bundle to be written.
#[derive(Debug)]
pub(super) struct PlannedPart {
    pub(super) manifest: Manifest,
    pub(super) records: SpooledRecords,
    pub(super) said: Said,
    /// The number, on the list, of the last message that belongs to an earlier part.
    pub(super) after: i64,
    /// How many of its messages are attachments of jobs.
    pub(super) attachments: u64,
    /// What its records tell of messages, as far as that is asked for.
    pub(super) news: BundleNews,
}

/// One bundle asks for at most so many messages; the next one asks for more.
#[expect(clippy::cast_possible_truncation, reason = "it is a small number")]
const MOST_WANTS: u32 = limits::WANTS as u32;
/// This many messages are read from the list at a time.
pub(super) const LIST: u32 = 256;
/// Archive headers, the signature and the zstd frame take at most so many bytes, besides their contents.
const FRAMING: u64 = 8192;

impl Replica {
    /// Plans the next bundle. This uses up its number, whether the bundle is written or not. In a directory its file name
    /// must be free.
    pub(super) fn plan_export(&self, options: &ExportOptions, target: Target<'_>) -> Result<Plan> {
        let tx = self.begin()?;
        self.check_key_counts()?;
        let to = self.recipient(&options.to)?;
        let plan = self.plan_within(&tx, options, to, Occasion::Export, target)?;
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
        target: Target<'_>,
    ) -> Result<Plan> {
        let (state, knowledge) = (&self.state, self.state.knowledge()?);
        let readers = self.who_can_open(options.secrecy, &to, occasion == Occasion::Invitation, target)?;
        let caps = self.caps(&knowledge)?;
        let horizon = caps.horizon(&state.horizon()?);
        let (shown, follows) = to.base(options.fullness);
        let base = export_base(&shown, &knowledge, &horizon);
        self.note_why_full(!shown.is_empty() && base.is_empty(), &to);
        let passes_over = PassesOver::of(&caps, &state.told_in_vain()?);
        let vain = if base.is_empty() { PassesOver::default() } else { to.passes_over() };
        let incarnation = state.incarnation()?;
        let head = Head {
            incarnation,
            number: 0,
            full: base.is_empty(),
            issued: state.newest_issued_after(base.get(incarnation), limits::ISSUED)?,
            left_out: vain.left_out(&knowledge),
            tip: knowledge,
            horizon: horizon.clone(),
            base: base.clone(),
        };
        let claims = Claims::of(&head).map_err(|untrue| {
            Error::failed(format!("writing the bundle: no reader would take it, since {untrue}"))
                .advise("run `mailsync doctor --new-identity`, then export again")
        })?;
        let Spool { records, said, mut counts, attachments, bytes, answered, news } =
            self.spool(tx, claims, (&base, &vain), &to, options)?;
        said.count_into(&mut counts);
        (counts.folders, counts.entries) = (records.folders(), records.entries());
        let (me, recipient) = (self.public_key().id(), to.peer().map(|peer| peer.id));
        let proof = to.peer().and_then(|peer| peer.token).zip(recipient);
        let invitation = match (&to, occasion) {
            (Recipient::Invited(invited), Occasion::Invitation) => {
                Some(Invitation { name: invited.name.clone(), token: invited.token })
            }
            _ => None,
        };
        let manifest = Manifest {
            kind: if base.is_empty() { BundleKind::Full } else { BundleKind::Delta },
            number: self.free_number(tx, &to, target)?,
            made: self.now(),
            sender: Sender { id: me, name: self.config.name.clone(), incarnation },
            recipient,
            invitation,
            proof: proof.map(|(token, inviter)| token.proof(&inviter, &me)),
            successions: self.successions_for(&to)?,
            follows: follows.filter(|_| !base.is_empty()),
            issued: head.issued,
            base,
            tip: head.tip,
            horizon,
            left_out: head.left_out,
            passes_over: Some(passes_over).filter(|passes| !passes.is_empty()),
            state_digest: state.digest(),
            wants: self.wants()?,
            counts,
            bytes,
            entries: records.part(),
            replicas: said.replicas.part(),
            jobs: said.jobs.as_ref().map(SpooledJobs::part),
        };
        let tip = manifest.tip.clone();
        let parts = match options.split {
            None => vec![PlannedPart { manifest, records, said, after: 0, attachments, news }],
            Some(size) => {
                let header = readers.as_ref().map_or(0, Readers::header_bytes);
                self.split(tx, manifest, (records, said, news), size.saturating_sub(header), &to, target)?
            }
        };
        let ExportOptions { fullness, level, .. } = *options;
        Ok(Plan { to, occasion, fullness, level, tip, readers, answered, parts })
    }

    /// Says why a bundle is a full one that was not asked for.
    fn note_why_full(&self, is_behind: bool, to: &Recipient) {
        if is_behind {
            self.note("removals that were purged here are not known there: this is a full bundle");
        }
        if to.peer().is_some_and(|peer| peer.suspect) {
            self.note("the last bundle from there showed other mail, though both know the same: this is a full bundle, to heal it");
        }
    }

    /// Finds the number for a bundle. It skips numbers whose file names in a directory are taken: a replica that was restored
    /// from a backup counts from an earlier number on, and a bundle is never overwritten.
    fn free_number(&self, tx: &Transaction<'_>, to: &Recipient, target: Target<'_>) -> Result<u64> {
        loop {
            let number = tx.next_number()?;
            let taken = |encrypted| match target {
                Target::Directory(dir) => {
                    has_name(&*self.world.disk, &dir.join(self.bundle_name(to, number, encrypted)))
                }
                Target::Stream | Target::File => Ok(false),
            };
            if !taken(true)? && !taken(false)? {
                return Ok(number);
            }
        }
    }

    /// The name of a bundle's file in a directory.
    pub(super) fn bundle_name(&self, to: &Recipient, number: u64, encrypted: bool) -> String {
        let age = if encrypted { ".age" } else { "" };
        format!("{}-{}-{number}.zst{age}", self.config.name, to.name().unwrap_or("any"))
    }

    /// Distributes the messages over several bundles, none larger than `size` bytes unless a single message is. The
    /// first one holds all entries. A replica that has applied it lacks the contents of some entries, and takes these
    /// from the other bundles in any order.
    fn split(
        &self,
        tx: &Transaction<'_>,
        mut first: Manifest,
        (records, said, news): (SpooledRecords, Said, BundleNews),
        size: u64,
        to: &Recipient,
        target: Target<'_>,
    ) -> Result<Vec<PlannedPart>> {
        // Data that zstd can't compress grows by less than this (see its ZSTD_COMPRESSBOUND).
        let room = size - size / 128;
        let head = first.to_json().len() as u64 + FRAMING;
        let of_jobs = said.jobs.as_ref().map_or(0, |jobs| jobs.part().bytes);
        let used = head + records.part().bytes + of_jobs + said.replicas.part().map_or(0, |part| part.bytes);
        if used > room {
            let enough = (used + used / 127).div_ceil(1024) + 1;
            return Err(Error::usage(format!(
                "splitting into bundles of {}: the list of the entries, which all goes into the first one, may take {}",
                bytes(size),
                bytes(used)
            ))
            .advise(format!("use --split {enough}K, or more")));
        }
        let mut later = Manifest {
            kind: BundleKind::Delta,
            base: first.tip.clone(),
            issued: Vec::new(),
            follows: Some(first.number),
            invitation: None,
            replicas: None,
            jobs: None,
            ..first.clone()
        };
        let empty =
            || RecordSpool::new(&*self.world.disk, self.home.state_dir()).finish().map_err(|error| writing(&error));
        (first.counts.messages, first.bytes) = (0, 0);
        let mut parts = vec![PlannedPart { manifest: first, records, said, after: 0, attachments: 0, news }];
        let mut left = room - used;
        let mut after = 0;
        loop {
            let listed = self.state.outgoing_batch(after, LIST)?;
            let Some(&(last, _)) = listed.last() else { return Ok(parts) };
            for (key, message) in listed {
                let needed = 1024 + message.size;
                let part = parts.last_mut().expect("there is a first part");
                // The first part may stay without messages. A receiver that takes nothing else has the entries at
                // least.
                let counts = part.manifest.counts;
                let may_stay_over = counts.messages + counts.entries + counts.jobs + counts.replicas > 0;
                if needed > left && may_stay_over {
                    let records = empty()?;
                    later.number = self.free_number(tx, to, target)?;
                    later.counts = Counts::default();
                    later.bytes = 0;
                    later.entries = records.part();
                    let (manifest, said, after) = (later.clone(), Said::default(), key - 1);
                    let news = BundleNews::default();
                    parts.push(PlannedPart { manifest, records, said, after, attachments: 0, news });
                    left = room.saturating_sub(head);
                }
                let part = parts.last_mut().expect("there is a first part");
                part.manifest.counts.messages += 1;
                part.manifest.bytes += message.size;
                let is_attachment = message.at.is_none() && self.state.attachment_size(&message.digest)?.is_some();
                part.attachments += u64::from(is_attachment);
                left = left.saturating_sub(needed);
            }
            after = last;
        }
    }

    /// The messages and attachments that this replica knows about and lacks. Of more than a bundle asks for, those from
    /// some place on, so that what never comes doesn't keep others from being asked for.
    fn wants(&self) -> Result<Vec<Digest>> {
        let mut wants = self.state.missing_attachments(MOST_WANTS / 2)?;
        let (all, room) = (self.state.count_missing_digests()?, limits::WANTS - wants.len());
        for (skip, count) in turn(all, room as u64, || (self.world.random)()) {
            wants.extend(self.state.missing_digests_after(skip, count)?);
        }
        wants.sort_unstable();
        wants.dedup();
        wants.truncate(MOST_WANTS as usize);
        Ok(wants)
    }
}

/// Which of so many things have their turn where there is room for some: all, or those from one that is drawn at random
/// on, and if these are too few, the first ones. Each part is where it begins, and how many they are.
fn turn(all: u64, room: u64, random: impl Fn() -> u64) -> Vec<(u64, u64)> {
    if all <= room {
        return vec![(0, all)];
    }
    let start = random() % all;
    let last = room.min(all - start);
    [(start, last), (0, room - last)].into_iter().filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_turn() {
        for (all, room, start, parts) in [
            (0, 3, 7, vec![(0, 0)]),
            (3, 3, 7, vec![(0, 3)]),
            (5, 3, 0, vec![(0, 3)]),
            (5, 3, 7, vec![(2, 3)]),
            (5, 3, 8, vec![(3, 2), (0, 1)]),
            (5, 3, 9, vec![(4, 1), (0, 2)]),
            (5, 0, 9, vec![]),
        ] {
            assert_eq!(turn(all, room, || start), parts, "{all} {room} {start}");
        }
    }
}
