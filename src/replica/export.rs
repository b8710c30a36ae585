//! Exporting: a bundle for a peer, or for anyone.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Replica;
use super::contents;
use super::pool::{Pool, threads};
use crate::bundle::{Counts, Kind, Manifest, Options, RecordSpool, Sender, SpooledRecords, WriteError, Writer, limits};
use crate::error::{Error, Result};
use crate::maildir::disk::Disk;
use crate::model::{Digest, Knowledge, export_base};
use crate::progress::Progress;
use crate::state::{Outgoing, Peer, Row};

/// Whom a bundle is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The only peer; with several, anyone.
    Whoever,
    /// This peer.
    Peer(String),
}

/// From where a bundle starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fullness {
    /// From what the recipient has shown to have.
    #[default]
    SinceShown,
    /// From what the last bundle that was written for it held: for links on which no answer ever comes.
    SinceLast,
    /// From nothing.
    Full,
}

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// For whom.
    pub to: To,
    /// From where it starts.
    pub fullness: Fullness,
    /// zstd's compression level.
    pub level: i32,
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The bundle's number.
    pub number: u64,
    /// The name of the peer that it is for, unless it is for anyone.
    pub to: Option<String>,
    /// From where it starts.
    pub kind: Kind,
    /// How much it holds.
    pub counts: Counts,
    /// The sizes of the messages in it, added up: bytes.
    pub bytes: u64,
}

/// A bundle about to be written.
pub(super) struct Plan {
    pub manifest: Manifest,
    pub to: Option<Peer>,
    records: SpooledRecords,
}

/// At most so many messages are asked for in one bundle; the next one asks for more.
const MOST_WANTS: u32 = 200_000;
/// How many messages are taken from the list at a time, and how much of them a reading thread takes.
const LIST: u32 = 256;
const BATCH: usize = 16;
/// How many batches are read ahead.
const AHEAD: u64 = 8;

impl Replica {
    /// Plans the next bundle: its number is used up by this, whether it is written or not.
    pub(super) fn plan_export(&self, options: &ExportOptions) -> Result<Plan> {
        let transaction = self.state.begin()?;
        let to = self.recipient(&options.to)?;
        let number = self.state.next_number()?;
        let plan = self.make_plan(options, to, number)?;
        transaction.commit()?;
        Ok(plan)
    }

    fn recipient(&self, to: &To) -> Result<Option<Peer>> {
        let peers = self.state.peers()?;
        match to {
            To::Peer(name) => {
                let peer = peers.iter().find(|peer| peer.name == *name).cloned();
                Ok(Some(peer.ok_or_else(|| self.unknown_peer(name))?))
            }
            To::Whoever => match peers.len() {
                0 => Err(Error::failed("exporting: this replica has no peer")
                    .advise("make one known with `mailsync peer add NAME --key KEY`")),
                1 => Ok(peers.into_iter().next()),
                _ => Ok(None),
            },
        }
    }

    fn make_plan(&self, options: &ExportOptions, to: Option<Peer>, number: u64) -> Result<Plan> {
        let state = &self.state;
        let horizon = state.horizon()?;
        let shown = self.base_for(options.fullness, to.as_ref())?;
        let asked_for_delta = !shown.is_empty();
        let base = export_base(shown, &horizon);
        if asked_for_delta && base.is_empty() && options.fullness != Fullness::Full {
            self.note("removals that were purged here are not known there: this is a full bundle");
        }
        if to.as_ref().is_some_and(|peer| peer.suspect) {
            self.note("the last bundle from there showed another mailbox at equal knowledge: this is a full bundle, to heal it");
        }
        let incarnation = state.incarnation()?;
        let (records, mut counts, bytes) = self.spool(&base, to.as_ref())?;
        counts.folders = records.folders();
        counts.entries = records.entries();
        let manifest = Manifest {
            kind: if base.is_empty() { Kind::Full } else { Kind::Delta },
            number,
            made: self.now(),
            sender: Sender { id: self.public_key().id(), name: self.config.name.clone(), incarnation },
            recipient: to
                .as_ref()
                .map(|peer| peer.id.parse())
                .transpose()
                .map_err(|error| Error::failed(format!("the state database: a peer's id: {error}")))?,
            issued: state.issued_after(base.get(incarnation))?,
            base,
            tip: state.knowledge()?,
            horizon,
            state_digest: state.digest(),
            wants: state.missing_digests(MOST_WANTS)?,
            counts,
            bytes,
            entries: records.part(),
            jobs: None,
        };
        Ok(Plan { manifest, to, records })
    }

    fn base_for(&self, fullness: Fullness, to: Option<&Peer>) -> Result<Knowledge> {
        let Some(peer) = to else {
            // For anyone: what all of them have.
            let mut shown = self.state.peers()?.into_iter().map(|peer| self.base_for(fullness, Some(&peer)));
            let Some(first) = shown.next().transpose()? else { return Ok(Knowledge::new()) };
            return shown.try_fold(first, |all, one| Ok(all.meet(&one?)));
        };
        if peer.suspect {
            return Ok(Knowledge::new());
        }
        Ok(match fullness {
            Fullness::Full => None,
            Fullness::SinceShown => peer.standing.shown.clone(),
            Fullness::SinceLast => peer.sent.clone(),
        }
        .unwrap_or_default())
    }

    /// Writes the records to be exported into a spool, and lists the messages that go with them.
    fn spool(&self, base: &Knowledge, to: Option<&Peer>) -> Result<(SpooledRecords, Counts, u64)> {
        let state = &self.state;
        let (mut counts, mut bytes) = (Counts::default(), 0);
        let mut spool = RecordSpool::new(self.home.state_dir());
        for (name, folder) in state.folders_changed_since(base) {
            spool.folder(&name, folder).map_err(|error| writing(&error))?;
        }
        state.clear_outgoing()?;
        // Only messages that are in several entries need to be remembered.
        let mut listed: HashSet<Digest> = HashSet::new();
        let mut list = |row: &Row| {
            counts.messages += 1;
            bytes += row.entry.size;
            let at = row.at.clone();
            state.add_outgoing(&Outgoing { digest: row.id.digest, size: row.entry.size, mtime: row.entry.mtime, at })
        };
        state.changed_since(base, |row| {
            spool.entry(&row.id, &row.entry).map_err(|error| writing(&error))?;
            let needed = row.entry.alive() && !base.covers(row.entry.born);
            if !needed || (state.digest_is_shared(row.key, &row.id.digest)? && !listed.insert(row.id.digest)) {
                return Ok(());
            }
            if row.at.is_none() && self.sources(&row.id.digest)?.is_empty() {
                // Not here either: the recipient learns of the entry and asks others for its contents.
                listed.insert(row.id.digest);
                return Ok(());
            }
            list(&row)
        })?;
        let mut wanted = Vec::new();
        if let Some(peer) = to {
            wanted = state.wanted_by(peer.key)?;
        } else {
            for peer in state.peers()? {
                wanted.extend(state.wanted_by(peer.key)?);
            }
            wanted.sort_unstable();
            wanted.dedup();
        }
        for digest in wanted {
            let included = |row: &Row| row.entry.alive() && !base.covers(row.entry.born);
            let entries = state.entries_of(&digest)?;
            if listed.contains(&digest) || entries.iter().any(included) {
                continue;
            }
            if let Some(row) = entries.first()
                && !self.sources(&digest)?.is_empty()
            {
                list(row)?;
            }
        }
        Ok((spool.finish().map_err(|error| writing(&error))?, counts, bytes))
    }

    /// Writes a planned bundle, and remembers what it told its recipient.
    pub(super) fn write_bundle<W: Write>(&self, plan: Plan, level: i32, out: W) -> Result<(W, Exported)> {
        let options = Options { level, ..Options::default() };
        let exported = Exported {
            number: plan.manifest.number,
            to: plan.to.as_ref().map(|peer| peer.name.clone()),
            kind: plan.manifest.kind,
            counts: plan.manifest.counts,
            bytes: plan.manifest.bytes,
        };
        let mut writer = Writer::start(out, &options, &plan.manifest, &self.key, plan.records, None)
            .map_err(|error| writing(&error))?;
        self.write_messages(&mut writer, plan.manifest.counts.messages)?;
        let out = writer.finish().map_err(|error| writing(&error))?;
        Ok((out, exported))
    }

    /// Records that a bundle was written to where it was to go.
    pub(super) fn record_export(&self, exported: &Exported, tip: &Knowledge) -> Result<()> {
        let transaction = self.state.begin()?;
        for peer in self.state.peers()? {
            if exported.to.as_ref().is_none_or(|name| *name == peer.name) {
                self.state.set_sent(peer.key, tip, self.now())?;
            }
        }
        self.state.record(self.now(), "export", exported.to.as_deref(), &exported.to_string())?;
        transaction.commit()
    }

    /// Plans and writes a bundle. It counts as sent once all of it has left for `out`.
    pub fn export<W: Write>(&self, options: &ExportOptions, out: W) -> Result<Exported> {
        self.export_planned(self.plan_export(options)?, options.level, out)
    }

    fn export_planned<W: Write>(&self, plan: Plan, level: i32, out: W) -> Result<Exported> {
        let tip = plan.manifest.tip.clone();
        let (mut out, exported) = self.write_bundle(plan, level, out)?;
        out.flush().map_err(|error| writing(&WriteError::Out(error)))?;
        self.record_export(&exported, &tip)?;
        Ok(exported)
    }

    /// Plans a bundle and writes it to a file: under a temporary name, renamed when it is durable. A directory stands for a
    /// file in it, named `<from>-<to>-<number>.zst`. A pipe or a device is written to. Returns the file's path.
    pub fn export_to_file(&self, options: &ExportOptions, path: &Path) -> Result<(PathBuf, Exported)> {
        let plan = self.plan_export(options)?;
        let tip = plan.manifest.tip.clone();
        let path = if path.is_dir() {
            let to = plan.to.as_ref().map_or("any", |peer| &peer.name);
            path.join(format!("{}-{to}-{}.zst", self.config.name, plan.manifest.number))
        } else {
            // Where a link leads to an earlier bundle, that one is replaced and not the link.
            std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
        };
        let dir =
            path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from);
        let fail = |error: &dyn std::fmt::Display| {
            Error::io("writing the bundle", &path, error).advise("check the disk and its free space, then export again")
        };
        if std::fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            let out = std::fs::OpenOptions::new().write(true).open(&path).map_err(|error| fail(&error))?;
            let out = io::BufWriter::with_capacity(256 << 10, out);
            let exported =
                self.export_planned(plan, options.level, out).map_err(|error| error.about(path.display()))?;
            return Ok((path, exported));
        }
        let mut file = tempfile::Builder::new()
            .prefix(".mailsync-")
            .suffix(".part")
            .tempfile_in(&dir)
            .map_err(|error| fail(&error))?;
        let ((), exported) = self
            .write_bundle(plan, options.level, io::BufWriter::with_capacity(256 << 10, file.as_file_mut()))
            .and_then(|(mut out, exported)| {
                out.flush().map_err(|error| fail(&error))?;
                Ok(((), exported))
            })
            .map_err(|error| error.about(path.display()))?;
        file.as_file().sync_all().map_err(|error| fail(&error))?;
        file.persist(&path).map_err(|error| fail(&error.error))?;
        self.world.disk.sync_dir(&dir).map_err(|error| fail(&error))?;
        self.record_export(&exported, &tip)?;
        Ok((path, exported))
    }

    /// Reads the listed messages in several threads, and writes them in order.
    fn write_messages<W: Write>(&self, writer: &mut Writer<W>, count: u64) -> Result<()> {
        let progress = Progress::new("exporting messages", count);
        let disk = &*self.world.disk;
        let read = |batch: Vec<(Outgoing, Option<PathBuf>)>| {
            let read = |(message, path): (Outgoing, Option<PathBuf>)| {
                let bytes = path.and_then(|path| read_expected(disk, &path, &message));
                (message, bytes)
            };
            batch.into_iter().map(read).collect::<Vec<_>>()
        };
        Pool::run(threads(), read, |pool| {
            let mut listed = Vec::new().into_iter();
            let mut after = 0;
            loop {
                while pool.in_flight() < AHEAD {
                    if listed.as_slice().is_empty() {
                        let next = self.state.outgoing_batch(after, LIST)?;
                        let Some(&(last, _)) = next.last() else { break };
                        after = last;
                        listed = next.into_iter();
                    }
                    let mut batch = Vec::with_capacity(BATCH);
                    let mut size = 0;
                    while batch.len() < BATCH && size < contents::SMALL {
                        let Some((_, message)) = listed.next() else { break };
                        size += message.size;
                        let path = message.at.as_ref().map(|at| self.path(at)).transpose()?;
                        batch.push((message, path));
                    }
                    pool.push(batch);
                }
                let Some(results) = pool.pop() else { return Ok(()) };
                progress.advance(results.len() as u64);
                for (message, bytes) in results {
                    match bytes {
                        Some(bytes) => {
                            writer.message_bytes(message.digest, message.mtime, &bytes).map_err(|e| writing(&e))?;
                        }
                        None => self.write_large(writer, &message)?,
                    }
                }
            }
        })
    }

    /// Writes a message that is too large to be kept in memory, or whose file is not where it was when it was listed.
    fn write_large<W: Write>(&self, writer: &mut Writer<W>, message: &Outgoing) -> Result<()> {
        let mut sources = message.at.as_ref().map(|at| self.path(at)).transpose()?.into_iter().collect::<Vec<_>>();
        let place = sources.first().map_or_else(|| message.digest.to_string(), |path| path.display().to_string());
        sources.extend(self.sources(&message.digest)?);
        sources.extend(self.look_again(&message.digest)?);
        let mut why = String::from("the message is gone, or was edited in place, since it was scanned");
        for source in sources {
            // Read twice: once begun, a message can't be taken back from the bundle.
            match contents::hash(&*self.world.disk, &source) {
                Ok(found) if found.digest == message.digest => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    why = error.to_string();
                    continue;
                }
                _ => continue,
            }
            let Ok(mut file) = self.world.disk.open(&source) else { continue };
            return writer
                .message(message.digest, message.size, message.mtime, &mut file)
                .map_err(|error| writing(&error).about(source.display()));
        }
        Err(Error::failed(format!("reading {place}: {why}"))
            .advise("see that it can be read, and export again; if that fails too, run `mailsync scan --deep` first"))
    }

    /// The files that have the message now, if a mail reader has renamed them since they were listed.
    fn look_again(&self, digest: &Digest) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for row in self.state.entries_of(digest)? {
            let Some(at) = row.at else { continue };
            let dir = self.dir(&self.state.folder_row(at.folder)?.name);
            let base = crate::maildir::FileName::parse(&at.name).base().to_vec();
            if let Ok(listing) = super::listing::Listing::read(&*self.world.disk, &dir, None) {
                let same = listing.iter().filter(|(name, _)| crate::maildir::FileName::parse(name).base() == base);
                found.extend(same.map(|(name, sub)| super::listing::path_in(&dir, sub, name)));
            }
        }
        Ok(found)
    }
}

/// A message's bytes, if it is small and its file holds what it should.
fn read_expected(disk: &dyn Disk, path: &Path, message: &Outgoing) -> Option<Vec<u8>> {
    if message.size > contents::SMALL {
        return None;
    }
    let (bytes, digest) = contents::read_small(disk, path, message.size).ok()?;
    (digest == message.digest).then_some(bytes)
}

fn writing(error: &WriteError) -> Error {
    use std::error::Error as _;
    let mut what = format!("writing the bundle: {error}");
    if let Some(source) = error.source() {
        what = format!("{what}: {source}");
    }
    let advice = match error {
        WriteError::Changed { .. } => "export again; if that fails too, run `mailsync scan --deep` first",
        WriteError::TooLarge { .. } => "see bundle-format.md for the limits",
        _ => "export again",
    };
    if let WriteError::Out(source) = error
        && source.kind() == io::ErrorKind::BrokenPipe
    {
        return Error::failed("writing the bundle: the program that was to read it has ended")
            .advise("see what it said, then export again; nothing is lost");
    }
    Error::failed(what).advise(advice)
}

impl std::fmt::Display for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Full => "full",
            Kind::Delta => "delta",
        };
        write!(
            f,
            "bundle {} for {} ({kind}): {} entries, {} messages, {} bytes",
            self.number,
            self.to.as_deref().unwrap_or("anyone"),
            self.counts.entries,
            self.counts.messages,
            self.bytes
        )
    }
}

/// The greatest number of messages in a bundle is bounded by what a manifest can hold of those wanted.
const _: () = assert!(MOST_WANTS as u64 * 70 < limits::MANIFEST_BYTES);
