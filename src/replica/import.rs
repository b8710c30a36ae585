//! Importing: apply bundles.
//!
//! The order, so that a crash at any point leaves either the old or the new state and the next command rolls on: scan, so
//! that local changes come first; verify, and write message contents into the `tmp/` of their folders; make them durable;
//! one transaction with the merged entries, the knowledge, and the list of what is to be done on disk; do that; make it
//! durable; clear the list.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read, Seek};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Replica;
use super::jobs::{Aside, JobNews};
use super::join::Before;
use super::materialise::DiskWork as Made;
use super::scan::{MassDelete, Run, ScanOptions, ScanReport, guard};
use super::transaction::Transaction;
use crate::bundle::{self, Kind, Manifest, MessagesPart, PublicKey, Reader, Record, Stream};
use crate::disk::{Disk, Durability, SMALL, copy_new, remove_if_there, write_new};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Decision, Digest, Entry, EntryId, Judgement, Knowledge, Meeting, Mtime, RolledBack, Stamp, is_newest, judge,
};
use crate::pool;
use crate::state::{By, EntryKey, EntryRow, FolderKey, Peer, Pending, Place, RootBefore};
use crate::text::plural;

/// What would become of a bundle whose signature holds.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It can be applied.
    Apply,
    /// It holds nothing new.
    NothingNew,
    /// A bundle before it is missing.
    NotYet(Error),
    /// It is not accepted.
    Refused(Error),
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Whether to change anything.
    pub run: Run,
    /// Whether it may remove much.
    pub mass_delete: MassDelete,
    /// Whether a bundle file for this replica alone is removed when it was imported; and, after the import of a directory,
    /// this replica's own bundles there that nobody needs any more.
    pub consume: bool,
}

/// What became of a bundle.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// It held nothing new.
    NothingNew,
    /// A bundle before it is missing.
    NotYet(Error),
    /// It is not accepted.
    Rejected(Error),
    /// It is not for this replica.
    ForSomeoneElse(Error),
    /// It ends early, in a directory where it may still be being copied.
    Incomplete(Error),
}

impl Outcome {
    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NothingNew => "nothing-new",
            Self::NotYet(_) => "not-yet",
            Self::Rejected(_) => "rejected",
            Self::ForSomeoneElse(_) => "for-someone-else",
            Self::Incomplete(_) => "incomplete",
        }
    }

    /// Puts what an error is about in front of it.
    fn about(&mut self, subject: impl std::fmt::Display) {
        if let Self::NotYet(error) | Self::Rejected(error) | Self::ForSomeoneElse(error) | Self::Incomplete(error) =
            self
        {
            *error = error.clone().about(subject);
        }
    }

    /// Why it was not applied, if that is a failure.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Applied | Self::NothingNew => None,
            Self::NotYet(error) | Self::Rejected(error) | Self::ForSomeoneElse(error) | Self::Incomplete(error) => {
                Some(error)
            }
        }
    }
}

/// A bundle that was looked at.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The file that it was in; `None` for standard input.
    pub file: Option<PathBuf>,
    /// The name of its sender: the one by which it is known here, or else the one that it gives itself.
    pub from: Option<String>,
    /// Its number.
    pub number: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// What it brought.
    pub changes: Changes,
    /// Whether it is for this replica, and for no other.
    pub for_me_alone: bool,
}

/// What it means that a bundle ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is not accepted.
    Rejected,
    /// It may still be being copied.
    LeftForLater,
}

impl Cut {
    fn outcome(self, error: &bundle::Error) -> Outcome {
        match (self, error) {
            (Self::LeftForLater, bundle::Error::Truncated | bundle::Error::Empty) => Outcome::Incomplete(
                Error::new(ErrorKind::NotYet, "this bundle ends early, so it was left for later")
                    .advise("import again when it is copied to its end; if nothing copies it any more, copy it again"),
            ),
            _ => Outcome::Rejected(reading(error)),
        }
    }
}

impl Imported {
    /// A bundle of this peer of which nothing more is known yet.
    pub(super) fn of(file: Option<&Path>, manifest: &Manifest, peer: &Peer) -> Self {
        Self {
            file: file.map(Path::to_owned),
            from: Some(peer.name.clone()),
            number: Some(manifest.number),
            outcome: Outcome::NothingNew,
            changes: Changes::default(),
            for_me_alone: manifest.recipient.is_some(),
        }
    }

    /// A bundle of which nothing is known yet.
    fn unknown(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
            from: None,
            number: None,
            outcome: Outcome::NothingNew,
            changes: Changes::default(),
            for_me_alone: false,
        }
    }

    /// A file that can't be read as a bundle.
    pub(super) fn unreadable(file: &Path, error: &bundle::Error, cut: Cut) -> Self {
        let mut imported = Self { outcome: cut.outcome(error), ..Self::unknown(Some(file)) };
        imported.outcome.about(file.display());
        imported
    }
}

/// What a bundle brought.
#[derive(Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Messages that came.
    pub new: u64,
    /// Entries that are in another folder.
    pub moved: u64,
    /// Entries with other flags.
    pub flagged: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Folders that were made or removed.
    pub folders: u64,
    /// Jobs of which something new was heard.
    pub jobs: u64,
}

/// Up to this many messages are made durable each by itself; more of them all together.
const FEW_MESSAGES: u64 = 32;
/// A batch of messages for a writing thread ends at this many, or at this many bytes.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 512 << 10;
/// How much of what a bundle says about jobs is kept in memory, in bytes, before a file is made.
const JOBS_IN_MEMORY: usize = 1 << 20;
/// How many batches may be on their way to the disk.
const AHEAD: u64 = 8;

/// What an import keeps while it goes through a bundle.
pub(super) struct Import<'r> {
    replica: &'r Replica,
    options: &'r ImportOptions,
    peer: Peer,
    knowledge: Knowledge,
    horizon: Knowledge,
    /// What decides on each entry.
    meeting: Meeting,
    /// The stamp of all deliveries that the import makes itself, once there is one.
    stamp: Option<Stamp>,
    changes: Changes,
    changed: bool,
    /// The entries that a full bundle holds, by number.
    held: Vec<u64>,
    full: bool,
    /// For each folder from which something is removed: how much, and how much it held.
    removals: BTreeMap<FolderKey, (u64, u64)>,
    /// Folders whose `tmp/` is there.
    prepared: BTreeMap<FolderKey, PathBuf>,
    /// Whether this is a join, and what the mail root held before that.
    join: Option<Before>,
    /// What a join has found in the mail root.
    found: ScanReport,
    /// What was made for messages that go straight to their places.
    straight: Made,
    /// Directories whose names a `tmp/` that was made depends on.
    made: BTreeSet<PathBuf>,
    /// What was heard about jobs.
    job_news: JobNews,
    /// What jobs need, still without a name.
    blobs: Vec<Aside>,
}

/// A message on its way to the disk.
struct Arriving {
    digest: Digest,
    bytes: Vec<u8>,
    to: Vec<(PathBuf, Mtime)>,
}

impl Replica {
    /// Scans, so that local changes come before those of others.
    pub fn scan_before_import(&self, options: &ImportOptions) -> Result<ScanReport> {
        let scan = ScanOptions { run: options.run, mass_delete: options.mass_delete, ..ScanOptions::default() };
        self.scan(&scan)
    }

    /// Imports all bundles of a stream, one after the other. After one that can't be read, what follows is not looked at.
    ///
    /// # Errors
    /// Failures of this machine, and refusals for safety. What is wrong with a bundle is told by its outcome.
    pub fn import_stream(
        &self,
        file: Option<&Path>,
        source: impl BufRead,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let about = file.map_or_else(|| String::from("standard input"), |file| file.display().to_string());
        self.import_all(&mut Stream::new(source), file, &about, options, &mut each)
    }

    /// The same for what a program answers; `about` says whose answer it is.
    pub fn import_answer(
        &self,
        about: &str,
        source: impl BufRead,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        self.import_all(&mut Stream::new(source), None, about, options, &mut each)
    }

    /// Imports all bundles of a file that was opened already.
    pub(super) fn import_from(
        &self,
        file: &std::fs::File,
        path: &Path,
        options: &ImportOptions,
        cut: Cut,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let source = io::BufReader::with_capacity(256 << 10, file);
        self.import_rest(&mut Stream::new(source), Some(path), &path.display().to_string(), options, cut, &mut each)
    }

    /// Imports what is left of a stream.
    pub(super) fn import_all<R: BufRead>(
        &self,
        stream: &mut Stream<R>,
        file: Option<&Path>,
        about: &str,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        self.import_rest(stream, file, about, options, Cut::Rejected, &mut each)
    }

    fn import_rest<R: BufRead>(
        &self,
        stream: &mut Stream<R>,
        file: Option<&Path>,
        about: &str,
        options: &ImportOptions,
        cut: Cut,
        each: &mut impl FnMut(Imported),
    ) -> Result<()> {
        loop {
            let mut imported = Imported::unknown(file);
            let result = match stream.next_bundle() {
                Ok(None) => return Ok(()),
                Ok(Some(reader)) => self.import_bundle(reader, options, &mut imported),
                Err(error) => Err(Fault::Bundle(error)),
            };
            let goes_on = result.is_ok();
            imported.outcome = match result {
                Ok(outcome) => outcome,
                Err(Fault::Bundle(error)) => cut.outcome(&error),
                Err(Fault::Here(error)) => return Err(error.about(about)),
            };
            imported.outcome.about(about);
            each(imported);
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Imports one bundle, or finds out why not.
    fn import_bundle<R: BufRead>(
        &self,
        reader: Reader<'_, R>,
        options: &ImportOptions,
        imported: &mut Imported,
    ) -> std::result::Result<Outcome, Fault> {
        let manifest = reader.manifest().clone();
        imported.number = Some(manifest.number);
        imported.from = Some(manifest.sender.name.clone());
        imported.for_me_alone = manifest.recipient == Some(self.public_key().id());
        if manifest.sender.id == self.public_key().id() {
            let why = self.own_bundle(&manifest)?;
            reader.skip()?;
            return Ok(Outcome::Rejected(why));
        }
        let (peer, records) = match self.state.peer_by_id(&manifest.sender.id)? {
            Some(peer) => {
                let records = reader.verify(&peer.public_key)?;
                (peer, records)
            }
            None if manifest.proof.is_some() => {
                let key = reader.signer();
                let records = reader.verify(&key)?;
                match self.meet_invited(&manifest, &key, options) {
                    Ok(Some(peer)) => (peer, records),
                    Ok(None) => {
                        records.skip()?;
                        return Ok(Outcome::Rejected(unknown_sender(&manifest)));
                    }
                    Err(error) if error.kind() == ErrorKind::Rejected => {
                        records.skip()?;
                        return Ok(Outcome::Rejected(error));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None => {
                reader.skip()?;
                return Ok(Outcome::Rejected(unknown_sender(&manifest)));
            }
        };
        imported.from = Some(peer.name.clone());
        if let Some(recipient) = manifest.recipient.filter(|recipient| *recipient != self.public_key().id()) {
            records.skip()?;
            return Ok(Outcome::ForSomeoneElse(self.for_someone_else(&recipient)?));
        }
        if peer.distant {
            records.skip()?;
            return Ok(Outcome::Rejected(only_for_jobs(&peer)));
        }
        let knowledge = self.state.knowledge()?;
        let judgement = self.judge(&manifest, &peer, &knowledge)?;
        match judgement {
            // What a replica wrote before it began its present life it has said again since.
            Err(RolledBack::Sender) if is_of_a_life_before(&peer, &manifest) => {
                records.skip()?;
                self.note(format!(
                    "bundle {} of {} is of a life that {} has given up, and is passed over; remove it",
                    manifest.number, peer.name, peer.name
                ));
                Ok(Outcome::NothingNew)
            }
            Err(who) => Err(rolled_back(who, &peer).into()),
            Ok(Judgement::NotYet(missing)) => {
                records.skip()?;
                self.record_heard(&peer, &manifest, options)?;
                Ok(Outcome::NotYet(not_yet(&peer, &manifest, &missing)))
            }
            Ok(Judgement::NeedsFull) => {
                records.skip()?;
                self.record_heard(&peer, &manifest, options)?;
                Ok(Outcome::NotYet(needs_full(&peer)))
            }
            Ok(Judgement::Apply) => {
                if manifest.sender_clock_ahead(self.now()) {
                    self.note(format!(
                        "the clock of {}, or of a machine behind it, is more than a day ahead",
                        peer.name
                    ));
                }
                let nothing_new = manifest.kind == Kind::Delta
                    && knowledge.includes(&manifest.tip)
                    && (manifest.counts.messages == 0
                        || (self.state.missing_digests(1)?.is_empty() && self.state.missing_blobs(1)?.is_empty()));
                if nothing_new {
                    records.drain_verified()?;
                    self.check_digest_at_rest(&peer, &manifest, &knowledge, options)?;
                    self.record_heard(&peer, &manifest, options)?;
                    return Ok(Outcome::NothingNew);
                }
                let mut import = Import::new(self, options, peer, &manifest, knowledge)?;
                let outcome = import.apply(records, &manifest)?;
                imported.changes = import.changes;
                Ok(outcome)
            }
        }
    }

    /// Accepts a sender that was invited from here and proves it. A dry run refuses it instead: what it would bring can't be
    /// told before it is known.
    fn meet_invited(&self, manifest: &Manifest, key: &PublicKey, options: &ImportOptions) -> Result<Option<Peer>> {
        let tx = self.begin()?;
        let peer = self.accept_invited(&tx, manifest, key)?;
        if let (Some(peer), Run::Dry) = (&peer, options.run) {
            return Err(Error::rejected(format!("this is the first bundle of {}, which was invited", peer.name))
                .advise("import it without --dry-run: the invitation is accepted by that"));
        }
        tx.commit()?;
        Ok(peer)
    }

    /// The name by which a replica is known here.
    pub fn known_as(&self, id: &bundle::ReplicaId) -> Result<Option<String>> {
        Ok(self.state.peer_by_id(id)?.map(|peer| peer.name))
    }

    /// The key with which a bundle must be signed: that of the peer that it names, or this replica's own.
    ///
    /// # Errors
    /// The sender is unknown.
    pub fn key_of(&self, manifest: &Manifest) -> Result<PublicKey> {
        if manifest.sender.id == self.public_key().id() {
            return Ok(self.public_key());
        }
        match self.state.peer_by_id(&manifest.sender.id)? {
            Some(peer) => Ok(peer.public_key),
            None => Err(unknown_sender(manifest)),
        }
    }

    /// What would become of a bundle whose signature holds.
    pub fn verdict(&self, manifest: &Manifest) -> Result<Verdict> {
        let me = self.public_key().id();
        if manifest.sender.id == me {
            return Ok(Verdict::Refused(self.own_bundle(manifest)?));
        }
        if let Some(recipient) = manifest.recipient.filter(|recipient| *recipient != me) {
            return Ok(Verdict::Refused(self.for_someone_else(&recipient)?));
        }
        let Some(peer) = self.state.peer_by_id(&manifest.sender.id)? else {
            return Ok(Verdict::Refused(unknown_sender(manifest)));
        };
        if peer.distant {
            return Ok(Verdict::Refused(only_for_jobs(&peer)));
        }
        let knowledge = self.state.knowledge()?;
        Ok(match self.judge(manifest, &peer, &knowledge)? {
            Err(RolledBack::Sender) if is_of_a_life_before(&peer, manifest) => Verdict::NothingNew,
            Err(who) => Verdict::Refused(rolled_back(who, &peer)),
            Ok(Judgement::NotYet(missing)) => Verdict::NotYet(not_yet(&peer, manifest, &missing)),
            Ok(Judgement::NeedsFull) => Verdict::NotYet(needs_full(&peer)),
            Ok(Judgement::Apply) if manifest.kind == Kind::Delta && knowledge.includes(&manifest.tip) => {
                Verdict::NothingNew
            }
            Ok(Judgement::Apply) => Verdict::Apply,
        })
    }

    fn judge(
        &self,
        manifest: &Manifest,
        peer: &Peer,
        knowledge: &Knowledge,
    ) -> Result<std::result::Result<Judgement, RolledBack>> {
        let me = self.state.incarnation()?;
        let shown = manifest.tip.get(me);
        let issued = self.state.has_issued(shown)?;
        Ok(judge(me, |_| issued, knowledge, &self.state.horizon()?, &peer.standing, &manifest.head()))
    }

    /// Why a bundle that this replica's key has signed is not imported.
    fn own_bundle(&self, manifest: &Manifest) -> Result<Error> {
        let past =
            manifest.sender.incarnation == self.state.incarnation()? || self.state.knowledge()?.includes(&manifest.tip);
        Ok(if past {
            Error::rejected("this bundle was made by this replica itself").advise("import it on another machine")
        } else {
            made_by_a_twin()
        })
    }

    fn for_someone_else(&self, recipient: &bundle::ReplicaId) -> Result<Error> {
        let whom = self.known_as(recipient)?.unwrap_or_else(|| recipient.to_string());
        Ok(Error::rejected(format!("this bundle is for {whom}")).advise("import it there"))
    }

    /// What a bundle that can't be read means to a person.
    pub fn rejection(error: &bundle::Error) -> Error {
        reading(error)
    }

    /// Records what a bundle shows of its sender, whether it was applied or not.
    fn record_heard(&self, peer: &Peer, manifest: &Manifest, options: &ImportOptions) -> Result<()> {
        if options.run == Run::Dry {
            return Ok(());
        }
        let tx = self.begin()?;
        self.record_heard_within(&tx, peer, manifest)?;
        tx.commit()
    }

    fn record_heard_within(&self, tx: &Transaction<'_>, peer: &Peer, manifest: &Manifest) -> Result<()> {
        tx.set_heard(peer.key, self.now())?;
        if peer.token.is_some() && manifest.recipient == Some(self.public_key().id()) {
            tx.set_peer_token(peer.key, None)?;
        }
        let head = manifest.head();
        if is_newest(&peer.standing, &head) {
            tx.set_standing(peer.key, (head.incarnation, head.number), &head.tip, &manifest.wants)?;
        }
        Ok(())
    }

    fn check_digest_at_rest(
        &self,
        peer: &Peer,
        manifest: &Manifest,
        knowledge: &Knowledge,
        options: &ImportOptions,
    ) -> Result<()> {
        if *knowledge != manifest.tip || options.run == Run::Dry {
            return Ok(());
        }
        let tx = self.begin()?;
        self.compare_digests(&tx, peer, manifest)?;
        tx.commit()
    }

    /// At equal knowledge both must hold the same. If not, the next bundle for the peer is a full one.
    fn compare_digests(&self, tx: &Transaction<'_>, peer: &Peer, manifest: &Manifest) -> Result<()> {
        let differs = self.state.digest() != manifest.state_digest;
        if differs {
            self.note(format!(
                "{} and this replica know the same but hold different mail; exchange bundles both ways to heal it: the next \
                 one for {} will be full",
                peer.name, peer.name
            ));
        }
        if differs != peer.suspect {
            tx.set_suspect(peer.key, differs)?;
        }
        Ok(())
    }
}

impl<'r> Import<'r> {
    pub(super) fn new(
        replica: &'r Replica,
        options: &'r ImportOptions,
        peer: Peer,
        manifest: &Manifest,
        knowledge: Knowledge,
    ) -> Result<Self> {
        let horizon = replica.state.horizon()?;
        let full = manifest.kind == Kind::Full;
        Ok(Self {
            replica,
            options,
            peer,
            meeting: Meeting::new(&knowledge, &horizon, &manifest.head()),
            stamp: None,
            knowledge,
            horizon,
            changes: Changes::default(),
            changed: false,
            held: Vec::new(),
            full,
            removals: BTreeMap::new(),
            prepared: BTreeMap::new(),
            join: None,
            found: ScanReport::default(),
            straight: Made::default(),
            made: BTreeSet::new(),
            job_news: JobNews::default(),
            blobs: Vec::new(),
        })
    }

    /// This is the import by which a new replica begins.
    pub(super) fn join(&mut self, before: Before) {
        self.join = Some(before);
    }

    /// What it brought.
    pub(super) fn changes(&self) -> Changes {
        self.changes
    }

    /// What a join has found in the mail root.
    pub(super) fn found(&mut self) -> &mut ScanReport {
        &mut self.found
    }

    /// Whether messages go straight to their places: nothing else has the mail open yet.
    fn is_fast(&self) -> bool {
        self.join.is_some_and(|before| before.root == RootBefore::Empty && before.empty_now)
    }

    pub(super) fn apply<R: BufRead>(
        &mut self,
        records: bundle::RecordsPart<'_, R>,
        manifest: &Manifest,
    ) -> std::result::Result<Outcome, Fault> {
        let state = &self.replica.state;
        if self.options.run == Run::Real && manifest.counts.entries + manifest.counts.messages > 0 {
            let tx = self.replica.begin()?;
            tx.set_leftovers(true)?;
            tx.commit()?;
        }
        let tx = self.replica.begin()?;
        let result = self.apply_within(&tx, records, manifest);
        match result {
            Ok(outcome) if self.options.run == Run::Dry => Ok(outcome),
            Ok(outcome) => {
                tx.commit()?;
                self.replica.materialise()?;
                self.replica.tell_job_news(&self.job_news)?;
                Ok(outcome)
            }
            Err(fault) => {
                drop(tx);
                // What can't be swept now, the next command sweeps; what went wrong first is what the person should know.
                if state.leftovers().unwrap_or(false) {
                    let _ = self.replica.sweep_leftovers();
                }
                Err(fault)
            }
        }
    }

    fn apply_within<R: BufRead>(
        &mut self,
        tx: &Transaction<'_>,
        records: bundle::RecordsPart<'_, R>,
        manifest: &Manifest,
    ) -> std::result::Result<Outcome, Fault> {
        let replica = self.replica;
        let state = &replica.state;
        let progress = replica.world.meter.begin("merging entries", manifest.counts.entries);
        let jobs = records.records::<Fault>(|record| {
            progress.advance(1);
            Ok(self.take(tx, record, manifest)?)
        })?;
        drop(progress);
        let mut said = tempfile::spooled_tempfile_in(JOBS_IN_MEMORY, replica.state_dir());
        let messages = jobs.jobs(&mut said)?;
        said.rewind().map_err(|error| Error::failed(format!("reading the bundle's jobs again: {error}")))?;
        let mut said = io::BufReader::new(said);
        self.changes.jobs = replica.hear_jobs(tx, &mut said, &self.knowledge, &manifest.tip, &mut self.job_news)?;
        self.changed |= self.changes.jobs > 0;
        if self.full {
            self.decide_on_absent(tx, manifest)?;
            // A join's scan asks for it.
            self.horizon.join(&manifest.horizon);
            tx.set_horizon(&self.horizon)?;
        }
        self.check_guard()?;
        self.learn_tip(tx, manifest)?;
        let mut knowledge = state.knowledge()?;
        self.changed |= knowledge != self.knowledge;
        if let Some(before) = self.join {
            if !self.is_fast() {
                self.found = replica.scan_within(tx, &ScanOptions::default(), Some(before.root))?;
            }
            tx.set_joining(None)?;
            tx.initial_scan_done()?;
            knowledge = state.knowledge()?;
        }
        if self.options.run == Run::Dry {
            messages.finish()?;
        } else {
            self.take_messages(tx, messages, manifest)?;
            self.settle_contents(tx)?;
            self.make_durable(manifest)?;
            if !state.missing_digests(1)?.is_empty() {
                replica.note(
                    "the contents of some messages are not here yet; bundles from here ask for them, and `mailsync status` \
                     counts them as pending",
                );
            }
        }
        for key in std::mem::take(&mut self.straight.folders_made) {
            tx.set_folder_on_disk(key, true)?;
        }
        if knowledge == manifest.tip {
            replica.compare_digests(tx, &self.peer, manifest)?;
        }
        replica.record_heard_within(tx, &self.peer, manifest)?;
        let outcome = if self.changed { Outcome::Applied } else { Outcome::NothingNew };
        if self.changed {
            let text = format!("bundle {}: {}", manifest.number, self.changes);
            tx.record(replica.now(), "import", Some(&self.peer.name), &text)?;
        }
        Ok(outcome)
    }

    fn take(&mut self, tx: &Transaction<'_>, record: Record, manifest: &Manifest) -> Result<()> {
        let state = &self.replica.state;
        match record {
            Record::Folder { name, state: theirs } => {
                let key = tx.folder(&name)?;
                let mine = state.folder_row(key)?.state;
                let merged = mine.map_or(theirs, |mine| mine.merge(theirs));
                if mine != Some(merged) {
                    let present = |state: Option<crate::model::FolderState>| state.is_some_and(|state| state.present);
                    self.changes.folders += u64::from(present(mine) != merged.present);
                    self.changed = true;
                    tx.set_folder_state(key, merged)?;
                }
                Ok(())
            }
            Record::Entry { id, entry } => {
                let mine = state.entry_by_id(&id)?;
                let stored = match self.meeting.decide(mine.as_ref().map(|row| &row.entry), Some(&entry)) {
                    Decision::Keep | Decision::Drop => None,
                    Decision::Store(entry) => Some(entry),
                    Decision::StoreAnew(entry) => Some(self.deliver_anew(tx, entry, manifest)?),
                };
                let key = match (mine, stored) {
                    (None, None) => return Ok(()),
                    (Some(row), None) => row.key,
                    (None, Some(entry)) => {
                        self.changed = true;
                        if entry.alive() {
                            self.await_contents(tx, &id, &entry)?
                        } else {
                            tx.insert_entry(&id, &entry, None)?
                        }
                    }
                    (Some(row), Some(entry)) => {
                        self.changed = true;
                        let key = row.key;
                        self.change(tx, row, entry)?;
                        key
                    }
                };
                if self.full {
                    self.hold(key);
                }
                Ok(())
            }
        }
    }

    /// A new entry, whose contents come later in the bundle. Where a join finds mail, that is looked through first: the
    /// entry has no place before.
    fn await_contents(&mut self, tx: &Transaction<'_>, id: &EntryId, entry: &Entry) -> Result<EntryKey> {
        if self.join.is_some() && !self.is_fast() {
            let key = tx.insert_entry(id, entry, None)?;
            tx.add_missing(key)?;
            return Ok(key);
        }
        self.changes.new += 1;
        let at = self.replica.place_for(tx, id, entry)?;
        let key = tx.insert_entry(id, entry, Some(&at))?;
        tx.set_pending(key, &Pending::Await)?;
        Ok(key)
    }

    /// An entry that is known here has another state now.
    fn change(&mut self, tx: &Transaction<'_>, row: EntryRow, entry: Entry) -> Result<()> {
        match (row.entry.alive(), entry.alive()) {
            (false, true) => self.changes.new += 1,
            (true, false) => {
                self.changes.removed += 1;
                self.count_removal(&row)?;
            }
            (true, true) => {
                self.changes.moved += u64::from(row.entry.location.1 != entry.location.1);
                self.changes.flagged += u64::from(row.entry.flags_on().ne(entry.flags_on()));
            }
            (false, false) => {}
        }
        tx.update_entry(&row, &entry)?;
        self.replica.plan(tx, &EntryRow { entry, ..row }, &By::Peer(self.peer.name.clone()))
    }

    fn count_removal(&mut self, row: &EntryRow) -> Result<()> {
        if let Some(at) = &row.at {
            if !self.removals.contains_key(&at.folder) {
                let held = self.replica.state.count_files_in(at.folder)?;
                self.removals.insert(at.folder, (0, held));
            }
            if let Some((removed, _)) = self.removals.get_mut(&at.folder) {
                *removed += 1;
            }
        }
        Ok(())
    }

    fn hold(&mut self, key: EntryKey) {
        let (word, bit) = (key.index() / 64, key.index() % 64);
        if self.held.len() <= word {
            self.held.resize(word + 1, 0);
        }
        self.held[word] |= 1 << bit;
    }

    fn holds(&self, key: EntryKey) -> bool {
        self.held.get(key.index() / 64).is_some_and(|word| word >> (key.index() % 64) & 1 == 1)
    }

    /// Delivers an entry anew, with the one stamp of this import's own deliveries.
    fn deliver_anew(&mut self, tx: &Transaction<'_>, mut entry: Entry, manifest: &Manifest) -> Result<Entry> {
        let stamp = if let Some(stamp) = self.stamp {
            stamp
        } else {
            // The stamp is to be above everything that the sender knows, too.
            self.learn_tip(tx, manifest)?;
            *self.stamp.insert(tx.issue(self.replica.now())?)
        };
        entry.deliver_anew(stamp);
        Ok(entry)
    }

    /// Whatever the sender knows is known here now.
    fn learn_tip(&self, tx: &Transaction<'_>, manifest: &Manifest) -> Result<()> {
        let state = &self.replica.state;
        let mut knowledge = state.knowledge()?;
        if !knowledge.includes(&manifest.tip) {
            knowledge.join(&manifest.tip);
            tx.set_knowledge(&knowledge)?;
        }
        Ok(())
    }

    /// A full bundle is complete: decides on the entries that it doesn't hold.
    fn decide_on_absent(&mut self, tx: &Transaction<'_>, manifest: &Manifest) -> Result<()> {
        let state = &self.replica.state;
        let mut absent = Vec::new();
        state.each_entry(|row| {
            if !self.holds(row.key) && self.meeting.decide(Some(&row.entry), None) != Decision::Keep {
                absent.push(row.key);
            }
            Ok(())
        })?;
        for key in absent {
            let Some(row) = state.entry(key)? else { continue };
            match self.meeting.decide(Some(&row.entry), None) {
                Decision::Keep => {}
                Decision::Store(entry) => self.change(tx, row, entry)?,
                Decision::StoreAnew(entry) => {
                    let entry = self.deliver_anew(tx, entry, manifest)?;
                    self.change(tx, row, entry)?;
                }
                Decision::Drop => {
                    self.changes.removed += 1;
                    self.count_removal(&row)?;
                    if let Some(at) = &row.at {
                        tx.add_discard(&row.id, &row.entry, at, &By::Peer(self.peer.name.clone()))?;
                    }
                    tx.delete_entry(&row)?;
                }
            }
            self.changed = true;
        }
        Ok(())
    }

    fn check_guard(&self) -> Result<()> {
        for (folder, (removed, held)) in &self.removals {
            let name = &self.replica.state.folder_row(*folder)?.name;
            guard(self.options.mass_delete, "importing", name.as_str(), *removed, *held)?;
        }
        Ok(())
    }

    /// Writes the messages that are awaited into the `tmp/` of their folders.
    fn take_messages<R: BufRead>(
        &mut self,
        tx: &Transaction<'_>,
        mut messages: MessagesPart<'_, R>,
        manifest: &Manifest,
    ) -> std::result::Result<(), Fault> {
        let replica = self.replica;
        let disk = &*replica.world.disk;
        let durability = self.durability(manifest);
        // In `tmp/` a file of the same name was left by an import that did not end. In the place of a message nothing is
        // ever overwritten.
        let leftovers = if self.is_fast() { Leftovers::Refuse } else { Leftovers::Replace };
        // What jobs say is known by now: most bundles bring nothing that a job needs.
        let blobs_missing = !replica.state.missing_blobs(1)?.is_empty();
        let progress = self.replica.world.meter.begin("importing messages", manifest.counts.messages);
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
                let to = self.awaited(tx, &digest)?;
                if blobs_missing && replica.state.is_blob_missing(&digest)? {
                    self.changed = true;
                    // What a job says that it needs is its requester's doing, who may be far away, and no fault of the bundle.
                    if !to.is_empty() {
                        // No honest job's contents are a mail as well.
                        tx.remove_missing_blob(&digest)?;
                    } else if tx.blob_came(&digest, message.size())? {
                        let mut new = replica.new_blob()?;
                        message.copy_verified(&mut new)?;
                        match durability {
                            Durability::Now => drop(new.keep()?),
                            Durability::Later => self.blobs.push(new.set_aside()),
                        }
                        continue;
                    }
                }
                if to.is_empty() {
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

    /// Few messages are made durable one by one; many of them, and those of a join, all together.
    fn durability(&self, manifest: &Manifest) -> Durability {
        let few = manifest.counts.messages <= FEW_MESSAGES && !self.is_fast();
        if few { Durability::Now } else { Durability::Later }
    }

    /// Makes what was written into the `tmp/` of folders durable, under its names.
    fn make_durable(&self, manifest: &Manifest) -> Result<()> {
        self.replica.keep_blobs(&self.blobs)?;
        match self.durability(manifest) {
            Durability::Later => self.replica.sync_file_systems(self.prepared.values()),
            Durability::Now => self.replica.sync_dirs(&self.prepared.values().chain(&self.made).cloned().collect()),
        }
    }

    /// The files that are to hold this message: in `tmp/`, or where they will stay.
    fn awaited(&mut self, tx: &Transaction<'_>, digest: &Digest) -> Result<Vec<(PathBuf, Mtime)>> {
        let state = &self.replica.state;
        let mut to = Vec::new();
        for (key, at, mtime) in state.awaiting(digest)? {
            self.prepare(&at)?;
            if self.is_fast() {
                tx.clear_pending(key)?;
                to.push((self.replica.path(&at)?, mtime));
            } else {
                tx.contents_arrived(key)?;
                to.push((self.replica.tmp_path(&at)?, mtime));
            }
        }
        // What was missing, and is not a part of this bundle's entries.
        for row in if to.is_empty() { state.missing_of(digest)? } else { Vec::new() } {
            let at = self.replica.place_for(tx, &row.id, &row.entry)?;
            tx.set_place(row.key, Some(&at))?;
            tx.set_pending(row.key, &Pending::Deliver)?;
            tx.remove_missing(row.key)?;
            self.prepare(&at)?;
            self.changed = true;
            self.changes.new += 1;
            to.push((self.replica.tmp_path(&at)?, row.entry.mtime));
        }
        Ok(to)
    }

    /// Makes sure that the `tmp/` of a folder is there. The folder itself becomes one after the transaction only.
    fn prepare(&mut self, at: &Place) -> Result<()> {
        if !self.prepared.contains_key(&at.folder) {
            let folder = self.replica.state.folder_row(at.folder)?;
            let dir = self.replica.dir(&folder.name).join("tmp");
            if !folder.on_disk {
                self.made.extend(self.replica.upwards(&dir));
            }
            self.replica
                .make_dirs(&dir)
                .map_err(|error| Error::io("making the directory", &dir, error).advise(WRITING))?;
            if self.is_fast() {
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
    fn settle_contents(&mut self, tx: &Transaction<'_>) -> Result<()> {
        let replica = self.replica;
        let mut after = None;
        loop {
            let batch = replica.state.awaiting_batch(after, 256)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in batch {
                let Some(at) = &row.at else { continue };
                let tmp = replica.tmp_path(at)?;
                self.prepare(at)?;
                if replica.recover_contents(&row, &tmp)? {
                    tx.contents_arrived(row.key)?;
                } else {
                    tx.set_place(row.key, None)?;
                    tx.clear_pending(row.key)?;
                    tx.add_missing(row.key)?;
                    // It has come when its contents have.
                    self.changes.new = self.changes.new.saturating_sub(1);
                }
            }
        }
    }
}

const WRITING: &str = "see that you may write there, and that there is room, then import again";

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

/// What to do about a file that has the name which is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftovers {
    Replace,
    Refuse,
}

impl Leftovers {
    fn clear(self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        match self {
            Self::Replace => remove_if_there(disk.unlink(path)),
            Self::Refuse => Ok(()),
        }
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

/// What can go wrong with an import: with the bundle, or here.
#[derive(Debug)]
pub(super) enum Fault {
    Bundle(bundle::Error),
    Here(Error),
}

impl Fault {
    /// The error that a person is told.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Bundle(error) => reading(&error),
            Self::Here(error) => error,
        }
    }
}

impl From<bundle::Error> for Fault {
    fn from(error: bundle::Error) -> Self {
        match error {
            // The bundle may be good.
            bundle::Error::Io(_) => Self::Here(reading(&error)),
            bundle::Error::Sink(error) => {
                Self::Here(Error::failed(format!("writing what the bundle holds: {error}")).advise(WRITING))
            }
            other => Self::Bundle(other),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// What to do about a bundle that can't be read.
pub(super) fn reading(error: &bundle::Error) -> Error {
    let advice = match error {
        // The bundle may be good.
        bundle::Error::Io(source) => {
            return Error::failed(format!("reading the bundle: {source}"))
                .advise("check what it is read from, then run this again");
        }
        bundle::Error::Empty => "export again; what wrote it failed before the first byte",
        bundle::Error::NotABundle => "give a file that `mailsync export` wrote",
        bundle::Error::NewerFormat { .. } => "update mailsync on this machine",
        bundle::Error::BadSignature { .. } | bundle::Error::WrongSigner { .. } => {
            "don't trust it; export it again on the machine that it says it is from"
        }
        bundle::Error::Truncated => "copy it again, whole, or export again",
        _ => "copy it again, or export again",
    };
    Error::rejected(error.to_string()).advise(advice)
}

/// A bundle that this replica's key has signed, and that it doesn't remember: by a copy of it, or by itself before its state
/// was restored.
pub(super) fn made_by_a_twin() -> Error {
    Error::rejected(
        "this bundle was made with this replica's own key, by a copy of it or before its state was restored, and one replica \
         doesn't take bundles of its own",
    )
    .advise(format!("what it holds comes by way of the peers; {APART}"))
}

/// What to do where two machines go by one key.
pub(super) const APART: &str = "if a copy of this replica is in use elsewhere, make that one a replica of its own, with \
    another --home: `mailsync init` there, or `mailsync invite` on a machine that has the mail and `mailsync join` there";

fn unknown_sender(manifest: &Manifest) -> Error {
    let sender = &manifest.sender;
    Error::rejected(format!("this bundle is of an unknown sender, {}, who calls itself {}", sender.id, sender.name))
        .advise("if that is a machine of yours, make its key known with `mailsync peer add NAME --key KEY`")
}

fn only_for_jobs(peer: &Peer) -> Error {
    Error::rejected(format!("{} is known for its jobs only, and no mail is taken from it", peer.name)).advise(format!(
        "to exchange mail with it, say so with `mailsync peer add {} --key KEY`, here and there",
        peer.name
    ))
}

/// Whether a bundle is by an incarnation of its sender that it has left: the last that was heard of it was of another one.
fn is_of_a_life_before(peer: &Peer, manifest: &Manifest) -> bool {
    peer.standing.newest.is_some_and(|(incarnation, _)| incarnation != manifest.sender.incarnation)
}

fn needs_full(peer: &Peer) -> Error {
    Error::new(ErrorKind::NotYet, format!("{} doesn't know of removals that were purged here", peer.name))
        .advise(format!("first import there what `mailsync export --to {}` writes here", peer.name))
}

fn rolled_back(who: RolledBack, peer: &Peer) -> Error {
    match who {
        RolledBack::Me => Error::refused(format!(
            "{} knows of changes made here that this replica doesn't remember: its state was put back to an earlier one",
            peer.name
        ))
        .advise(format!(
            "run `mailsync doctor --new-identity` here, then export to {0}, and import here what {0} exports after that",
            peer.name
        )),
        RolledBack::Sender => Error::refused(format!(
            "{} has forgotten changes that it made: its state was put back to an earlier one",
            peer.name
        ))
        .advise(format!("run `mailsync doctor --new-identity` on {}, then export there again", peer.name)),
    }
}

fn not_yet(peer: &Peer, manifest: &Manifest, missing: &Knowledge) -> Error {
    let own = missing.get(manifest.sender.incarnation);
    let since = |millis: u64| {
        jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(i64::MAX))
            .map_or_else(|_| String::from("an unknown time"), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    };
    let clock = if own.bits() > 0 { own } else { missing.newest() };
    let what = match manifest.follows {
        Some(before) => format!(
            "bundle {} of {} follows its bundle {before}, which was not imported here",
            manifest.number, peer.name
        ),
        None => format!(
            "bundle {} of {} starts from changes up to {} that are not known here: a bundle before it is missing",
            manifest.number,
            peer.name,
            since(clock.millis())
        ),
    };
    let first = match manifest.follows {
        Some(before) => format!("import bundle {before} of {} first", peer.name),
        None => format!("import the bundles of {} before number {} first", peer.name, manifest.number),
    };
    Error::new(ErrorKind::NotYet, what)
        .advise(format!("{first}, or give {} a bundle from here and let it export again", peer.name))
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::default() {
            return f.write_str("no changes");
        }
        write!(f, "{} new, {} moved, {} flagged, {} removed", self.new, self.moved, self.flagged, self.removed)?;
        if self.folders > 0 {
            write!(f, ", {} made or removed", plural(self.folders, "folder"))?;
        }
        if self.jobs > 0 {
            write!(f, ", {}", plural(self.jobs, "job"))?;
        }
        Ok(())
    }
}
