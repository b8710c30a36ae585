//! The order of an import.

use std::io::{self, BufRead, Seek};

use super::contents::IncomingMessages;
use super::gate::{Reception, Sender};
use super::landing::Landing;
use super::merge::{Merge, Merged};
use super::outcome::{Changes, ImportOptions, ImportOutcome, Imported};
use super::refusal::{Fault, first_of_invited};
use crate::bundle::{BundleKind, JobsPart, Manifest, MessagesPart, PublicKey, Reader, RecordsPart};
use crate::error::{Error, Result};
use crate::model::{Knowledge, RolledBack};
use crate::replica::Replica;
use crate::replica::jobs::JobNews;
use crate::replica::safety::{Amount, DryRun, MassAdd, check_room};
use crate::replica::scan::{ScanOptions, ScanReport};
use crate::replica::transaction::Transaction;
use crate::state::{Action, Peer};

/// A bundle's statements about jobs are kept in memory up to this size, in bytes; larger ones go into a file.
const JOBS_IN_MEMORY: usize = 1 << 20;

/// A bundle that is to be applied.
pub(in crate::replica) struct Application<'i> {
    /// The options.
    pub options: &'i ImportOptions,
    /// Its sender.
    pub peer: &'i Peer,
    /// Its manifest.
    pub manifest: &'i Manifest,
    /// This replica's knowledge before the import.
    pub knowledge: Knowledge,
    /// The way in which its messages come to their places.
    pub landing: Landing,
}

/// A bundle that was applied.
#[derive(Debug)]
pub(in crate::replica) struct Applied {
    /// Whether it held anything new.
    pub outcome: ImportOutcome,
    /// The changes that it brought.
    pub changes: Changes,
    /// The findings of a join's scan in the mail root.
    pub found: ScanReport,
}

impl Replica {
    /// Scans, so that local changes come before those of others.
    pub fn scan_before_import(&self, options: &ImportOptions) -> Result<ScanReport> {
        let scan = ScanOptions { dry_run: options.dry_run, mass_delete: options.mass_delete, ..ScanOptions::default() };
        self.scan(&scan)
    }

    /// Imports one bundle, or finds out why not.
    pub(super) fn import_bundle<R: BufRead>(
        &self,
        reader: Reader<'_, R>,
        options: &ImportOptions,
        imported: &mut Imported,
    ) -> std::result::Result<ImportOutcome, Fault> {
        let manifest = reader.manifest().clone();
        let sender = self.sender_of(&manifest)?;
        imported.number = Some(manifest.number);
        imported.from = Some(sender.name(&manifest).to_owned());
        imported.for_me_alone = manifest.recipient == Some(self.public_key().id());
        let key = match (&sender, sender.key(self, &manifest, reader.signer())) {
            (Sender::Own, _) => {
                // Anybody can write that a bundle is one of this replica's own.
                let records = reader.verify(&self.public_key())?;
                let refusal = self.own_bundle(&manifest)?;
                records.skip()?;
                return Ok(ImportOutcome::refused(&refusal));
            }
            (_, Err(refusal)) => {
                reader.skip()?;
                return Ok(ImportOutcome::refused(&refusal));
            }
            (_, Ok(key)) => key,
        };
        let records = reader.verify(&key)?;
        let reception = self.receive(&manifest, &sender, options.clock_ahead)?;
        if let Reception::Refused(refusal) = &reception {
            records.skip()?;
            return Ok(ImportOutcome::refused(refusal));
        }
        // Then nothing of it is written, and no invitation is accepted.
        if let Reception::RolledBack(who, error) = reception {
            if let (RolledBack::Me, Sender::Known(peer)) = (who, &sender) {
                self.record_disowned(peer, options)?;
            }
            if matches!(who, RolledBack::SenderOrTold(_)) {
                self.record_denied(&manifest, options)?;
            }
            return Err(error.into());
        }
        if let (Reception::ClockAhead(error), Sender::Invited(_)) = (&reception, &sender) {
            records.skip()?;
            imported.clock_ahead = true;
            return Ok(ImportOutcome::NotYet(error.clone()));
        }
        let peer = match self.meet(&manifest, sender, &key, options)? {
            Ok(peer) => peer,
            Err(why) => {
                records.skip()?;
                return Ok(match reception {
                    Reception::NotYet(error) => ImportOutcome::NotYet(error),
                    _ => ImportOutcome::Rejected(why),
                });
            }
        };
        imported.fresh = self.is_fresh(&peer, &manifest, &reception)?;
        if imported.fresh {
            self.note_hearsay(&peer, &manifest)?;
        }
        let outcome = self.take_bundle(reception, &peer, &manifest, records, options, imported)?;
        self.compare_clocks()?;
        Ok(outcome)
    }

    /// Does what the gate has decided about a peer's bundle.
    fn take_bundle<R: BufRead>(
        &self,
        reception: Reception,
        peer: &Peer,
        manifest: &Manifest,
        records: RecordsPart<'_, R>,
        options: &ImportOptions,
        imported: &mut Imported,
    ) -> std::result::Result<ImportOutcome, Fault> {
        match reception {
            Reception::Apply => {
                let knowledge = self.state.knowledge()?;
                let landing = Landing::ThroughTmp;
                let application = Application { options, peer, manifest, knowledge, landing };
                let applied = self.apply(&application, records)?;
                imported.changes = applied.changes;
                Ok(applied.outcome)
            }
            Reception::NothingNew => {
                records.drain_verified()?;
                self.check_digest_at_rest(peer, manifest, &self.state.knowledge()?, options)?;
                self.record_heard(peer, manifest, options)?;
                Ok(ImportOutcome::NothingNew)
            }
            Reception::Outlived => {
                records.skip()?;
                let (number, name) = (manifest.number, &peer.name);
                self.note(format!("bundle {number} from {name} was made before {name} began anew; you can delete it"));
                Ok(ImportOutcome::NothingNew)
            }
            Reception::NotYet(error) => {
                records.skip()?;
                self.record_heard(peer, manifest, options)?;
                Ok(ImportOutcome::NotYet(error))
            }
            Reception::ClockAhead(error) => {
                records.skip()?;
                imported.clock_ahead = true;
                self.record_skew(peer, manifest, options)?;
                Ok(ImportOutcome::NotYet(error))
            }
            Reception::Refused(_) | Reception::RolledBack(..) => unreachable!("it goes no further"),
        }
    }

    /// The peer that sent a bundle. An invited replica becomes a peer here, but not in a dry run.
    fn meet(
        &self,
        manifest: &Manifest,
        sender: Sender,
        key: &PublicKey,
        options: &ImportOptions,
    ) -> Result<std::result::Result<Peer, Error>> {
        match sender {
            Sender::Known(peer) => Ok(Ok(*peer)),
            Sender::Invited(invited) if options.dry_run == DryRun::Yes => Ok(Err(first_of_invited(&invited.name))),
            Sender::Invited(invited) => {
                let tx = self.begin()?;
                let peer = self.accept_invited(&tx, &invited, manifest.sender.id, key)?;
                tx.commit()?;
                Ok(Ok(peer))
            }
            Sender::Own | Sender::Late { .. } | Sender::Stranger => unreachable!("their bundles are refused"),
        }
    }

    /// Applies a bundle whose signature holds, and makes the disk follow.
    pub(in crate::replica) fn apply<R: BufRead>(
        &self,
        application: &Application<'_>,
        records: RecordsPart<'_, R>,
    ) -> std::result::Result<Applied, Fault> {
        let counts = application.manifest.counts;
        if application.options.dry_run == DryRun::No && (counts.entries > 0 || counts.messages > 0) {
            let tx = self.begin()?;
            tx.set_leftovers(true)?;
            tx.commit()?;
        }
        let tx = self.begin()?;
        let mut news = JobNews::default();
        match self.apply_within(&tx, application, records, &mut news) {
            Ok((applied, added)) if application.options.dry_run == DryRun::Yes => {
                // The next bundle of a rehearsal comes to what this one has left.
                if self.state.is_rehearsing() {
                    tx.commit()?;
                    self.tally.borrow_mut().keep(added);
                }
                Ok(applied)
            }
            Ok((applied, added)) => {
                tx.commit()?;
                self.tally.borrow_mut().keep(added);
                self.materialise()?;
                self.tell_job_news(&news)?;
                Ok(applied)
            }
            Err(fault) => {
                drop(tx);
                // If something can't be swept, the next command will sweep it. The person should hear about the first
                // error, not this one.
                if self.state.leftovers().unwrap_or(false) {
                    let _ = self.sweep_leftovers();
                }
                Err(fault)
            }
        }
    }

    /// The stages of an import, in their order. Also gives how much it adds.
    fn apply_within<R: BufRead>(
        &self,
        tx: &Transaction<'_>,
        application: &Application<'_>,
        records: RecordsPart<'_, R>,
        news: &mut JobNews,
    ) -> std::result::Result<(Applied, Amount), Fault> {
        let Application { options, peer, manifest, knowledge: before, landing } = application;
        let mut merge = Merge::new(self, tx, manifest, peer, *landing, before)?;
        let jobs = merge.records(records)?;
        let (heard, messages) = self.read_jobs(tx, jobs, application, news)?;
        let mut merged = merge.finish(options)?;
        merged.changes.jobs = heard;
        merged.changed |= heard > 0 || self.state.knowledge()? != *before;
        let found = if landing.is_a_join() { self.begin_life(tx, *landing)? } else { ScanReport::default() };
        let knowledge = self.state.knowledge()?;

        self.check_room_for(&merged, manifest, *landing)?;
        let guarded = if merged.is_first { MassAdd::Allow } else { options.mass_add };
        let mut contents = IncomingMessages::new(self, tx, options.dry_run, *landing, manifest.counts.messages);
        contents.guard_sizes(guarded, merged.added);
        contents.store(messages)?;
        contents.settle()?;
        contents.make_durable()?;
        contents.record_folders()?;
        contents.count_into(&mut merged);
        if options.dry_run == DryRun::No && !self.state.missing_digests(1)?.is_empty() {
            self.note(
                "the contents of some messages are not here yet; bundles from here ask for them, and `mailsync status` counts \
                 them as pending",
            );
        }

        if knowledge == manifest.tip {
            self.compare_digests(tx, peer, manifest)?;
        }
        self.record_heard_within(tx, peer, manifest)?;
        self.record_proven(tx, peer, manifest)?;
        let Merged { changes, changed, added, .. } = merged;
        if changed {
            let text = format!("bundle {}: {changes}", manifest.number);
            tx.record(self.now(), Action::Import, Some(&peer.name), &text)?;
        }
        let outcome = if changed { ImportOutcome::Applied } else { ImportOutcome::NothingNew };
        Ok((Applied { outcome, changes, found }, added))
    }

    /// The contents that the bundle brings must find room. What it brings for entries of which an earlier one told is
    /// more than the records say.
    fn check_room_for(&self, merged: &Merged, manifest: &Manifest, landing: Landing) -> Result<()> {
        let tells_more = manifest.kind == BundleKind::Delta || matches!(landing, Landing::AfterScan(_));
        let told_before = if tells_more { self.state.missing_bytes()?.min(manifest.bytes) } else { 0 };
        let needed = merged.added.bytes.saturating_add(told_before);
        if needed == 0 {
            return Ok(());
        }
        // A file system that doesn't tell is no reason to refuse anything.
        check_room(needed, self.world.disk.free_space(self.mail_root()).unwrap_or_default(), self.mail_root())
    }

    /// Reads and hears a bundle's statements about jobs. They can be trusted only when all of them were read, so they
    /// are kept until then. Returns how many jobs it brought news about.
    fn read_jobs<'s, R: BufRead>(
        &self,
        tx: &Transaction<'_>,
        jobs: JobsPart<'s, R>,
        application: &Application<'_>,
        news: &mut JobNews,
    ) -> std::result::Result<(u64, MessagesPart<'s, R>), Fault> {
        let mut said = tempfile::spooled_tempfile_in(JOBS_IN_MEMORY, self.home.state_dir());
        let messages = jobs.jobs(&mut said)?;
        said.rewind().map_err(|error| Error::failed(format!("reading the bundle's jobs again: {error}")))?;
        let heard = self.hear_jobs(
            tx,
            &mut io::BufReader::new(said),
            &application.knowledge,
            application.options.clock_ahead,
            news,
        )??;
        Ok((heard, messages))
    }

    /// Completes a join, after the replica has learned what its inviter knows. Mail that was there before is scanned.
    /// From then on the replica is like any other.
    fn begin_life(&self, tx: &Transaction<'_>, landing: Landing) -> Result<ScanReport> {
        let found = match landing {
            Landing::AfterScan(before) => self.scan_within(tx, &ScanOptions::default(), Some(before))?,
            Landing::InPlace | Landing::ThroughTmp => ScanReport::default(),
        };
        tx.set_joining(None)?;
        tx.initial_scan_done()?;
        Ok(found)
    }
}
