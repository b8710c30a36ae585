//! The order of an import.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Seek};

use super::contents::IncomingMessages;
use super::gate::{Reception, Sender};
use super::landing::Landing;
use super::merge::{Merge, Merged};
use super::outcome::{Changes, ImportOptions, ImportOutcome, Imported};
use super::refusal::{Fault, first_of_invited};
use super::standing::Taken;
use crate::bundle::{JobsPart, Manifest, MessagesPart, PublicKey, Reader, RecordsPart};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Amount, Knowledge, Rule};
use crate::replica::Replica;
use crate::replica::jobs::JobNews;
use crate::replica::replicas::ReplicaNews;
use crate::replica::safety::{By, DryRun, MassAdd};
use crate::replica::scan::{Purpose, ScanOptions, ScanReport};
use crate::replica::tally::Tally;
use crate::replica::transaction::Transaction;
use crate::state::{Action, Invited, Occasion, Peer};
use crate::text::plural;

/// A bundle's statements about jobs are kept in memory up to this size, in bytes; larger ones go into a file.
const JOBS_IN_MEMORY: usize = 1 << 20;

/// Whom a bundle comes from that is to be taken.
#[derive(Clone, Copy)]
pub(in crate::replica) enum FromWhom<'i> {
    /// A peer.
    Peer(&'i Peer),
    /// A replica that was invited: it becomes a peer with its bundle, and not before all of that was checked.
    Invited(&'i Invited, &'i PublicKey),
}

/// A bundle that is to be applied.
pub(in crate::replica) struct Application<'i> {
    /// The options.
    pub options: &'i ImportOptions,
    /// Its sender.
    pub from: FromWhom<'i>,
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

/// What a bundle's statements have told.
#[derive(Debug, Default)]
struct News {
    replicas: ReplicaNews,
    jobs: JobNews,
}

impl Replica {
    /// Scans, so that local changes come before those of others.
    pub fn scan_before_import(&self, options: &ImportOptions) -> Result<ScanReport> {
        // What vanished here is confirmed by a scan of its own: who allows what bundles remove has not seen it.
        self.scan(&ScanOptions { dry_run: options.dry_run, ..ScanOptions::default() })
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
        imported.for_me_alone = self.is_recipient(manifest.recipient);
        let key = match (&sender, sender.key(self, &manifest, reader.signer())) {
            (Sender::Own, Ok(key)) => {
                // Anybody can write that a bundle is one of this replica's own.
                let records = reader.verify(&key)?;
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
        let mut records = reader.verify(&key)?;
        imported.peer = if let Sender::Known(peer) = &sender { Some(peer.name.clone()) } else { None };
        if options.dry_run == DryRun::No {
            self.follow_sender(&sender, &manifest)?;
        }
        let reception = self.receive(&manifest, &sender, options.clock_ahead)?;
        if let Reception::Refused(refusal) = reception {
            let refusal = self.refused_with_its_answer(refusal, &manifest, &mut records)?;
            records.skip()?;
            return Ok(ImportOutcome::refused(&refusal));
        }
        // Then nothing of what it says is stored, and no invitation is accepted.
        if let Reception::RolledBack(who, error) = reception {
            if let Sender::Known(peer) = &sender {
                self.record_rolled_back(peer, who, &manifest, options)?;
            }
            return Err(Fault::RolledBack(error));
        }
        let from = match &sender {
            Sender::Known(peer) => FromWhom::Peer(peer),
            Sender::Invited(invited) if options.dry_run == DryRun::Yes => {
                records.skip()?;
                return Ok(match reception {
                    Reception::NotYet(error) | Reception::ClockAhead(error) => ImportOutcome::NotYet(error),
                    _ => ImportOutcome::Rejected(first_of_invited(&invited.name)),
                });
            }
            Sender::Invited(invited) => FromWhom::Invited(invited, &key),
            Sender::Own | Sender::Late { .. } | Sender::Rival(_) | Sender::Stranger { .. } => {
                unreachable!("their bundles are refused")
            }
        };
        imported.fresh = self.is_fresh(&sender.standing(), &manifest, &reception)?;
        if imported.fresh {
            self.note_hearsay(sender.name(&manifest), &manifest)?;
        }
        let outcome = self.take_bundle(reception, from, &manifest, records, options, imported)?;
        if matches!(sender, Sender::Invited(_)) {
            self.follow_manifest(&manifest)?;
        }
        Ok(outcome)
    }

    /// Follows a peer to the key with which it has signed a bundle, if that is not the one that is known.
    fn follow_sender(&self, sender: &Sender, manifest: &Manifest) -> Result<()> {
        match sender {
            Sender::Known(peer) if !self.state.is_peer(&peer.id)? => self.follow_manifest(manifest),
            Sender::Rival(_) => self.follow_manifest(manifest),
            Sender::Own | Sender::Known(_) | Sender::Invited(_) | Sender::Late { .. } | Sender::Stranger { .. } => {
                Ok(())
            }
        }
    }

    /// Does what the gate has decided about a peer's bundle.
    fn take_bundle<R: BufRead>(
        &self,
        reception: Reception,
        from: FromWhom<'_>,
        manifest: &Manifest,
        records: RecordsPart<'_, R>,
        options: &ImportOptions,
        imported: &mut Imported,
    ) -> std::result::Result<ImportOutcome, Fault> {
        match reception {
            Reception::Apply => {
                let knowledge = self.state.knowledge()?;
                let landing = Landing::ThroughTmp;
                let application = Application { options, from, manifest, knowledge, landing };
                let applied = self.apply(&application, records)?;
                imported.changes = applied.changes;
                Ok(applied.outcome)
            }
            Reception::NothingNew => {
                records.drain_verified()?;
                let peer = &self.meet_checked(from)?;
                self.check_digest_at_rest(peer, manifest, &self.state.knowledge()?, options)?;
                self.record_heard(peer, manifest, Taken::Yes, options)?;
                Ok(ImportOutcome::NothingNew)
            }
            Reception::Outlived => {
                let peer = self.meet_without_applying(from, records)?;
                let (number, name) = (manifest.number, &peer.name);
                self.note(format!("bundle {number} from {name} was made before {name} began anew; you can remove it"));
                Ok(ImportOutcome::NothingNew)
            }
            Reception::NotYet(error) => {
                let peer = self.meet_without_applying(from, records)?;
                self.record_heard(&peer, manifest, Taken::No, options)?;
                Ok(ImportOutcome::NotYet(error))
            }
            Reception::ClockAhead(error) => {
                records.skip()?;
                imported.clock_ahead = true;
                if let FromWhom::Peer(peer) = from {
                    self.record_skew(peer, manifest, options)?;
                }
                Ok(ImportOutcome::NotYet(error))
            }
            Reception::Refused(_) | Reception::RolledBack(..) => unreachable!("it goes no further"),
        }
    }

    /// The peer that sent a bundle: an invited replica becomes one here. Its bundle has been checked, or else the
    /// transaction is undone.
    fn meet<'i>(&self, tx: &Transaction<'_>, from: FromWhom<'i>) -> Result<Cow<'i, Peer>> {
        match from {
            FromWhom::Peer(peer) => Ok(Cow::Borrowed(peer)),
            FromWhom::Invited(invited, key) => Ok(Cow::Owned(self.accept_invited(tx, invited, key)?)),
        }
    }

    /// The same for a bundle of which no more is taken. All of an invited replica's is checked first.
    fn meet_without_applying<'i, R: BufRead>(
        &self,
        from: FromWhom<'i>,
        records: RecordsPart<'_, R>,
    ) -> std::result::Result<Cow<'i, Peer>, Fault> {
        match from {
            FromWhom::Peer(_) => records.skip()?,
            FromWhom::Invited(..) => records.drain_verified()?,
        }
        Ok(self.meet_checked(from)?)
    }

    /// The same when all of the bundle was checked.
    fn meet_checked<'i>(&self, from: FromWhom<'i>) -> Result<Cow<'i, Peer>> {
        if let FromWhom::Peer(peer) = from {
            return Ok(Cow::Borrowed(peer));
        }
        let tx = self.begin()?;
        let peer = self.meet(&tx, from)?;
        tx.commit()?;
        self.greet(from);
        Ok(peer)
    }

    /// Tells that an invited replica is a peer.
    fn greet(&self, from: FromWhom<'_>) {
        if let FromWhom::Invited(invited, key) = from {
            let (name, id) = (&invited.name, key.id());
            self.note(format!("{name} has accepted its invitation, and is known from now on as {id}"));
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
            // A refusal undoes what the import itself finds out about alarms.
            Tally::end_old(&tx, self.now())?;
            tx.commit()?;
        }
        let tx = self.begin()?;
        let mut news = News::default();
        let peer = self.meet(&tx, application.from)?;
        if !application.landing.is_a_join() {
            let (peer, bundle) = (Some(peer.name.clone()), Some(application.manifest.number));
            tx.on_occasion(Occasion { action: Action::Import, peer, bundle });
        }
        match self.apply_within(&tx, application, &peer, records, &mut news) {
            Ok((applied, added)) if application.options.dry_run == DryRun::Yes => {
                let refused = self.tally.borrow().take_refusal();
                // The next bundle of a rehearsal comes to what this one has left. What would be refused is to be seen, and
                // then undone.
                if self.state.is_rehearsing() && refused.is_some() {
                    tx.commit()?;
                } else if self.state.is_rehearsing() {
                    self.tally.borrow().record(&tx, added)?;
                    tx.commit()?;
                    self.tally.borrow_mut().keep(added);
                }
                Ok(match refused {
                    Some(error) => Applied { outcome: ImportOutcome::Refused(error), ..applied },
                    None => applied,
                })
            }
            Ok((mut applied, added)) => {
                self.tally.borrow().record(&tx, added)?;
                tx.commit()?;
                self.tally.borrow_mut().keep(added);
                self.greet(application.from);
                if let Some((done, began)) = self.tally.borrow().take_allowed() {
                    self.note(done.way_back(began, &peer.name));
                }
                self.materialise()?;
                applied.changes.unmade = self.newly_hindered();
                self.tell_replica_news(&news.replicas)?;
                self.tell_job_news(&news.jobs)?;
                Ok(applied)
            }
            Err(fault) => {
                drop(tx);
                // If something can't be swept, the next command will sweep it. The person should hear about the first
                // error, not this one.
                if self.state.leftovers().unwrap_or(false) {
                    let _ = self.sweep_leftovers();
                }
                if application.options.dry_run == DryRun::No {
                    self.remember_refusal(&fault, application)?;
                    self.raise_alarm()?;
                }
                Err(fault)
            }
        }
    }

    /// Remembers which bundle of a peer waits until a person says that it is meant.
    fn remember_refusal(&self, fault: &Fault, application: &Application<'_>) -> Result<()> {
        match (fault, application.from) {
            (Fault::Here(error), FromWhom::Peer(peer)) if error.kind() == ErrorKind::Refused => {
                let tx = self.begin()?;
                tx.set_refused(peer.key, application.manifest.number)?;
                tx.commit()
            }
            _ => Ok(()),
        }
    }

    /// Raises the alarm about a bundle that a guard has refused, if one has. What that has changed is undone already.
    pub(super) fn raise_alarm(&self) -> Result<()> {
        if !self.tally.borrow().has_refused() {
            return Ok(());
        }
        let tx = self.begin()?;
        self.tally.borrow().raise(&tx, self.now())?;
        tx.commit()
    }

    /// The stages of an import, in their order. Also gives how much it adds.
    fn apply_within<R: BufRead>(
        &self,
        tx: &Transaction<'_>,
        application: &Application<'_>,
        peer: &Peer,
        records: RecordsPart<'_, R>,
        news: &mut News,
    ) -> std::result::Result<(Applied, Amount), Fault> {
        let Application { options, manifest, knowledge: before, landing, .. } = application;
        if !landing.is_a_join() {
            let way = if options.by_call { By::Call } else { By::Import };
            let allowed = ((options.mass_delete, options.mass_add), way);
            self.tally.borrow_mut().begin(tx, (peer.id, &manifest.tip), allowed, self.now(), |id| self.name_of(id))?;
        }
        let mut records = records;
        let lines = records.replicas()?;
        let trusted = self.trusted_before(before, manifest, *landing)?;
        let (heard_of_replicas, of_replicas) =
            self.hear_replicas(tx, &lines, peer, (&manifest.head(), &trusted), options.clock_ahead)?;
        news.replicas = of_replicas;
        let mut merge = Merge::new(self, tx, manifest, peer, *landing, (before, &trusted))?;
        let jobs = merge.records(records)?;
        let (heard, messages) = self.read_jobs(tx, jobs, application, &mut news.jobs)?;
        let mut merged = merge.finish(options)?;
        (merged.changes.jobs, merged.changes.replicas) = (heard, heard_of_replicas);
        merged.changed |= heard + heard_of_replicas > 0 || self.state.knowledge()? != *before;
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
        if !self.state.missing_digests(1)?.is_empty() {
            self.lacking.set(true);
        }

        if knowledge == manifest.tip {
            self.compare_digests(tx, peer, manifest)?;
        }
        self.record_heard_within(tx, peer, manifest, Taken::Yes)?;
        self.record_proven(tx, peer, manifest)?;
        let Merged { changes, changed, added, overruled, passed_over, .. } = merged;
        self.note_passed_over(&passed_over, manifest.number, &peer.name)?;
        if !overruled.is_empty() && !landing.is_a_join() {
            self.note(overruled_words(&overruled, manifest.number, &peer.name));
        }
        // What nobody can see is nothing to look back at.
        if changes != Changes::default() {
            let text = format!("bundle {}: {changes}", manifest.number);
            tx.record(self.now(), Action::Import, Some(&peer.name), &text)?;
        }
        let outcome = if changed { ImportOutcome::Applied } else { ImportOutcome::NothingNew };
        Ok((Applied { outcome, changes, found }, added))
    }

    /// Notes that contents are missing, if a bundle that was applied has left some missing: at the end of a command, since
    /// its later bundles may have brought them.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn note_missing_contents(&self) -> Result<()> {
        if self.lacking.take() && !self.state.missing_digests(1)?.is_empty() {
            self.note(
                "the contents of some messages are not here yet; bundles from here ask for them, and `mailsync status` counts \
                 them as pending",
            );
        }
        Ok(())
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
        let bytes = application.manifest.jobs.map_or(0, |jobs| jobs.bytes);
        if bytes > JOBS_IN_MEMORY as u64 {
            self.check_room("statements about jobs", bytes, self.home.state_dir())?;
        }
        let mut said = self.world.disk.scratch(self.home.state_dir(), JOBS_IN_MEMORY);
        let messages = jobs.jobs(&mut said)?;
        said.rewind().map_err(|error| Error::failed(format!("reading the bundle's jobs again: {error}")))?;
        let heard = self.hear_jobs(
            tx,
            &mut io::BufReader::new(said),
            (&application.manifest.head(), &application.knowledge),
            application.options.clock_ahead,
            news,
        )??;
        Ok((heard, messages))
    }

    /// Completes a join, after the replica has learned what its inviter knows. Mail that was there before is scanned.
    /// From then on the replica is like any other.
    fn begin_life(&self, tx: &Transaction<'_>, landing: Landing) -> Result<ScanReport> {
        let found = match landing {
            Landing::AfterScan(before) => self.scan_within(tx, &ScanOptions::default(), Purpose::Join(before))?,
            Landing::InPlace | Landing::ThroughTmp => ScanReport::default(),
        };
        tx.set_joining(None)?;
        tx.initial_scan_done()?;
        self.record_root(tx)?;
        Ok(found)
    }
}

/// What is said of changes that don't hold beside others: how many by which rule.
fn overruled_words(by_rule: &BTreeMap<Rule, u64>, number: u64, name: &str) -> String {
    let count = by_rule.values().sum();
    let (changes, hold) = (plural(count, "change"), if count == 1 { "doesn't" } else { "don't" });
    let why = |(rule, count): (&Rule, &u64)| match by_rule.len() {
        1 => rule.words().to_owned(),
        _ => format!("{count} since {}", rule.words()),
    };
    let why = by_rule.iter().map(why).collect::<Vec<_>>().join(", ");
    format!(
        "bundle {number} from {name}: {changes} {hold} hold, as the same messages were changed here and elsewhere: {why}; `mailsync log \
         --overruled` tells which they are"
    )
}
