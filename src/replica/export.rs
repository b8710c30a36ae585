//! Exporting: a bundle for a peer, or for anyone.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Replica;
use super::jobs::older_than;
use super::transaction::Transaction;
use crate::bundle::{
    Counts, Invitation, Kind, Manifest, Options, RecordSpool, ReplicaId, Sealed, Sender, SpooledJobs, SpooledRecords,
    WriteError, Writer, limits,
};
use crate::disk::{Disk, SMALL, hash_file, read_small};
use crate::error::{Error, Result};
use crate::maildir::FileName;
use crate::maildir::listing::{Listing, path_in};
use crate::model::{Digest, Knowledge, Mtime, export_base};
use crate::pool;
use crate::state::{EntryRow, Invited, Outgoing, Peer};
use crate::text::plural;

/// Whom a bundle is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The only peer; with several, anyone.
    Whoever,
    /// This peer, or this replica that was invited.
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

/// Whether a bundle holds messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// Those that the recipient may not have.
    #[default]
    Included,
    /// None: the recipient has the mail from elsewhere, and asks for what turns out to be missing.
    LeftOut,
}

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// For whom.
    pub to: To,
    /// From where it starts.
    pub fullness: Fullness,
    /// Whether it holds messages.
    pub contents: Contents,
    /// zstd's compression level.
    pub level: i32,
    /// No bundle is to be larger than so many bytes, unless a single message is: what doesn't fit goes into further ones.
    pub split: Option<u64>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            to: To::Whoever,
            fullness: Fullness::default(),
            contents: Contents::default(),
            level: Self::LEVEL,
            split: None,
        }
    }
}

impl ExportOptions {
    /// The compression level unless another is asked for.
    pub const LEVEL: i32 = 3;

    /// A bundle for this peer, from what it has shown to have.
    pub fn to_peer(name: &str) -> Self {
        Self { to: To::Peer(name.to_owned()), ..Self::default() }
    }
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

/// Whom a bundle is for, as far as that is known here.
#[derive(Debug)]
pub(super) enum Recipient {
    Anyone,
    Peer(Box<Peer>),
    Invited(Invited),
}

impl Recipient {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Peer(peer) => Some(&peer.name),
            Self::Invited(invited) => Some(&invited.name),
        }
    }

    fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Peer(peer) => Some(peer),
            _ => None,
        }
    }
}

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

#[derive(Debug)]
struct PlannedPart {
    manifest: Manifest,
    records: SpooledRecords,
    jobs: Option<SpooledJobs>,
    /// The number of the last message on the list that belongs to an earlier part.
    after: i64,
}

/// What a bundle is going to hold, besides the messages that are listed.
struct Spool {
    records: SpooledRecords,
    jobs: Option<SpooledJobs>,
    counts: Counts,
    bytes: u64,
}

/// At most so many messages are asked for in one bundle; the next one asks for more.
const MOST_WANTS: u32 = 200_000;
/// How many messages are taken from the list at a time, and how much of them a reading thread takes.
const LIST: u32 = 256;
const BATCH: usize = 16;
/// How many batches are read ahead.
const AHEAD: u64 = 8;
/// What archive headers, the signature and the zstd frame take at most, in bytes, besides what they enclose.
const FRAMING: u64 = 8192;

impl Replica {
    /// Plans the next bundle: its number is used up by this, whether it is written or not. In the directory `dir` its name
    /// is to be a free one.
    fn plan_export(&self, options: &ExportOptions, dir: Option<&Path>) -> Result<Plan> {
        let tx = self.begin()?;
        let to = self.recipient(&options.to)?;
        let plan = self.plan_within(&tx, options, to, Occasion::Export, dir)?;
        tx.commit()?;
        Ok(plan)
    }

    fn recipient(&self, to: &To) -> Result<Recipient> {
        let (mut peers, mut invited) = (self.state.peers()?, self.state.invitations()?);
        match to {
            To::Peer(name) => {
                if let Some(at) = peers.iter().position(|peer| peer.name == *name) {
                    if peers[at].distant {
                        return Err(Error::refused(format!("exporting: {name} is known for its jobs only")).advise(format!(
                            "to exchange mail with it, say so with `mailsync peer add {name} --key KEY`, here and there"
                        )));
                    }
                    return Ok(Recipient::Peer(Box::new(peers.swap_remove(at))));
                }
                match invited.iter().position(|invited| invited.name == *name) {
                    Some(at) => Ok(Recipient::Invited(invited.swap_remove(at))),
                    None => Err(self.unknown_peer(name)),
                }
            }
            To::Whoever => {
                peers.retain(|peer| !peer.distant);
                let (peer, guest, more) = (peers.pop(), invited.pop(), peers.len() + invited.len());
                match (peer, guest) {
                    (None, None) => Err(Error::failed("exporting: this replica has no peer").advise(
                        "invite a new one with `mailsync invite NAME`, or make one known with `mailsync peer add NAME --key KEY`",
                    )),
                    (Some(peer), None) if more == 0 => Ok(Recipient::Peer(Box::new(peer))),
                    (None, Some(invited)) if more == 0 => Ok(Recipient::Invited(invited)),
                    _ => Ok(Recipient::Anyone),
                }
            }
        }
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

    fn bundle_name(&self, to: &Recipient, number: u64) -> String {
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

    /// From where a bundle starts, and the number of the bundle that told the recipient all of that, where it is one.
    fn base_for(&self, fullness: Fullness, to: &Recipient) -> Result<(Knowledge, Option<u64>)> {
        Ok(match to {
            Recipient::Anyone => (self.base_for_anyone(fullness)?, None),
            Recipient::Peer(peer) => base_for_peer(fullness, peer),
            Recipient::Invited(invited) => base_for_invited(fullness, invited),
        })
    }

    /// What all peers have.
    fn base_for_anyone(&self, fullness: Fullness) -> Result<Knowledge> {
        let (peers, invited) = (self.state.neighbours()?, self.state.invitations()?);
        let of_peers = peers.iter().map(|peer| base_for_peer(fullness, peer).0);
        let of_invited = invited.iter().map(|invited| base_for_invited(fullness, invited).0);
        Ok(of_peers.chain(of_invited).reduce(|all, one| all.meet(&one)).unwrap_or_default())
    }

    /// Writes the records to be exported into a spool, and lists the messages that go with them.
    fn spool(&self, tx: &Transaction<'_>, base: &Knowledge, to: &Recipient, contents: Contents) -> Result<Spool> {
        let state = &self.state;
        let (mut counts, mut bytes) = (Counts::default(), 0);
        let mut spool = RecordSpool::new(self.home.state_dir());
        for (name, folder) in state.folders_changed_since(base) {
            spool.folder(&name, folder).map_err(|error| writing(&error))?;
        }
        state.clear_outgoing()?;
        // Only messages that are in several entries need to be remembered.
        let mut listed: HashSet<Digest> = HashSet::new();
        let mut list = |row: &EntryRow| {
            counts.messages += 1;
            bytes += row.entry.size;
            let at = row.at.clone();
            state.add_outgoing(&Outgoing { digest: row.id.digest, size: row.entry.size, mtime: row.entry.mtime, at })
        };
        state.changed_since(base, |row| {
            spool.entry(&row.id, &row.entry).map_err(|error| writing(&error))?;
            let needed = row.entry.alive() && !base.covers(row.entry.born) && contents == Contents::Included;
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
        match to {
            _ if contents == Contents::LeftOut => {}
            Recipient::Peer(peer) => wanted = state.wanted_by(peer.key)?,
            Recipient::Invited(_) => {}
            Recipient::Anyone => {
                for peer in state.neighbours()? {
                    wanted.extend(state.wanted_by(peer.key)?);
                }
                wanted.sort_unstable();
                wanted.dedup();
            }
        }
        let mut counts_of_jobs = (0, 0);
        let jobs = self.spool_jobs(tx, base, &mut listed, |sealed, made| {
            counts_of_jobs = (counts_of_jobs.0 + 1, counts_of_jobs.1 + sealed.bytes);
            state.add_outgoing(&blob_outgoing(sealed, made))
        })?;
        for digest in wanted {
            let included = |row: &EntryRow| row.entry.alive() && !base.covers(row.entry.born);
            let entries = state.entries_of(&digest)?;
            if listed.contains(&digest) || entries.iter().any(included) {
                continue;
            }
            if let Some(bytes) = state.blob_size(&digest)? {
                if self.check_blob(tx, &digest)? {
                    counts_of_jobs = (counts_of_jobs.0 + 1, counts_of_jobs.1 + bytes);
                    state.add_outgoing(&blob_outgoing(&Sealed { digest, bytes }, 0))?;
                }
            } else if let Some(row) = entries.first()
                && !self.sources(&digest)?.is_empty()
            {
                list(row)?;
            }
        }
        counts.messages += counts_of_jobs.0;
        bytes += counts_of_jobs.1;
        let records = spool.finish().map_err(|error| writing(&error))?;
        Ok(Spool { records, jobs, counts, bytes })
    }

    /// What this replica knows of and lacks.
    fn wants(&self) -> Result<Vec<Digest>> {
        let mut wants = self.state.missing_digests(MOST_WANTS)?;
        wants.extend(self.state.missing_blobs(MOST_WANTS)?);
        wants.sort_unstable();
        wants.dedup();
        wants.truncate(MOST_WANTS as usize);
        Ok(wants)
    }

    /// Writes one planned bundle.
    fn write_part<W: Write>(&self, part: PlannedPart, to: &Recipient, level: i32, out: W) -> Result<(W, Exported)> {
        let options = Options { level, ..Options::default() };
        let PlannedPart { manifest, records, jobs, after } = part;
        let exported = Exported {
            number: manifest.number,
            to: to.name().map(str::to_owned),
            kind: manifest.kind,
            counts: manifest.counts,
            bytes: manifest.bytes,
        };
        let mut writer =
            Writer::start(out, &options, &manifest, &self.key, records, jobs).map_err(|error| writing(&error))?;
        self.write_messages(&mut writer, after, manifest.counts.messages)?;
        let out = writer.finish().map_err(|error| writing(&error))?;
        Ok((out, exported))
    }

    /// Records that bundles were written to where they were to go.
    fn record_export(&self, plan: &Written, exported: &[Exported]) -> Result<()> {
        let Some(first) = exported.first() else { return Ok(()) };
        let (state, now) = (&self.state, self.now());
        let tx = self.begin()?;
        for peer in state.neighbours()? {
            if first.to.as_ref().is_none_or(|name| *name == peer.name) {
                tx.set_sent(peer.key, &plan.tip, first.number, now)?;
                // Who was invited and has not answered yet counts as having its invitation's tip.
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
        let command = if plan.occasion == Occasion::Invitation { "invite" } else { "export" };
        for exported in exported {
            tx.record(now, command, exported.to.as_deref(), &exported.to_string())?;
        }
        tx.commit()
    }

    /// Plans and writes a bundle. It counts as sent once all of it has left for `out`.
    ///
    /// # Errors
    /// A bundle that is to be split can't go into one stream.
    pub fn export<W: Write>(&self, options: &ExportOptions, out: W) -> Result<Exported> {
        let plan = self.plan_export(options, None)?;
        self.write_plan(plan, out)
    }

    pub(super) fn write_plan<W: Write>(&self, plan: Plan, out: W) -> Result<Exported> {
        let (written, mut parts) = plan.take_parts();
        let (Some(part), true) = (parts.pop(), parts.is_empty()) else {
            return Err(Error::usage("exporting: several bundles don't go into one stream")
                .advise("write them into a directory with -o DIR"));
        };
        let exported = self.write_and_flush(part, &written, out)?;
        self.record_export(&written, std::slice::from_ref(&exported))?;
        Ok(exported)
    }

    /// Plans a bundle and writes it to a file: under a temporary name, renamed when it is durable. A directory stands for a
    /// file in it, named `<from>-<to>-<number>.zst`. A pipe or a device is written to. Returns the file's path; the paths of
    /// all parts if it is to be split.
    ///
    /// # Errors
    /// The file can't be written; or it is to be split, and `path` is not a directory.
    pub fn export_to_file(&self, options: &ExportOptions, path: &Path) -> Result<Vec<(PathBuf, Exported)>> {
        self.check_target(path)?;
        let plan = self.plan_export(options, path.is_dir().then_some(path))?;
        self.write_plan_to_file(plan, path)
    }

    /// A bundle takes the place of an earlier one, and of nothing else.
    ///
    /// # Errors
    /// `path` lies in the mail root, or is a file that is no bundle.
    pub(super) fn check_target(&self, path: &Path) -> Result<()> {
        let doing = format!("writing the bundle {}", path.display());
        if path.as_os_str().to_string_lossy().ends_with('/') && !path.is_dir() {
            return Err(Error::failed(format!("{doing}: there is no such directory")).advise("make it first"));
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = if real.is_dir() { Some(&*real) } else { real.parent() };
        let dir = dir.map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
        if dir.and_then(|dir| dir.canonicalize().ok()).is_some_and(|dir| dir.starts_with(self.mail_root())) {
            return Err(Error::refused(format!("{doing}: that is in the mail root, among your mail"))
                .advise("choose another place"));
        }
        if std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0) && !begins_as_a_bundle(path) {
            return Err(Error::refused(format!("{doing}: there is a file that is no bundle"))
                .advise("choose another name, or remove that file first"));
        }
        Ok(())
    }

    pub(super) fn write_plan_to_file(&self, plan: Plan, path: &Path) -> Result<Vec<(PathBuf, Exported)>> {
        let (plan, parts) = plan.take_parts();
        if parts.len() > 1 && !path.is_dir() {
            return Err(Error::usage(format!(
                "exporting: there are {} bundles, and one file {}",
                parts.len(),
                path.display()
            ))
            .advise("give a directory that exists with -o"));
        }
        let mut written = Vec::new();
        for part in parts {
            let (path, keep) = if path.is_dir() {
                (path.join(self.bundle_name(&plan.to, part.manifest.number)), Keep::Both)
            } else {
                // Where a link leads to an earlier bundle, that one is replaced and not the link.
                (std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), Keep::New)
            };
            written.push(self.write_part_to_file(part, &plan, path, keep)?);
        }
        self.record_export(&plan, &written.iter().map(|(_, exported)| exported.clone()).collect::<Vec<_>>())?;
        Ok(written)
    }

    fn write_and_flush<W: Write>(&self, part: PlannedPart, plan: &Written, out: W) -> Result<Exported> {
        let (mut out, exported) = self.write_part(part, &plan.to, plan.level, out)?;
        out.flush().map_err(|error| writing(&WriteError::Out(error)))?;
        Ok(exported)
    }

    fn write_part_to_file(
        &self,
        part: PlannedPart,
        plan: &Written,
        path: PathBuf,
        keep: Keep,
    ) -> Result<(PathBuf, Exported)> {
        let dir =
            path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from);
        let fail = |error: &dyn std::fmt::Display| {
            Error::io("writing the bundle", &path, error)
                .advise("see that it is there, that you may write there, and that there is room, then export again")
        };
        if std::fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            let out = std::fs::OpenOptions::new().write(true).open(&path).map_err(|error| fail(&error))?;
            let out = io::BufWriter::with_capacity(256 << 10, out);
            let exported = self.write_and_flush(part, plan, out).map_err(|error| error.about(path.display()))?;
            return Ok((path, exported));
        }
        sweep_parts(&dir);
        let mut file =
            tempfile::Builder::new().prefix(PART.0).suffix(PART.1).tempfile_in(&dir).map_err(|error| fail(&error))?;
        let out = io::BufWriter::with_capacity(256 << 10, file.as_file_mut());
        let (mut out, exported) =
            self.write_part(part, &plan.to, plan.level, out).map_err(|error| error.about(path.display()))?;
        out.flush().map_err(|error| fail(&error))?;
        drop(out);
        file.as_file().sync_all().map_err(|error| fail(&error))?;
        let named = match keep {
            Keep::New => file.persist(&path).map(|_| path.clone()).map_err(|error| error.error),
            Keep::Both => name_beside(file, &path, self.public_key().id()),
        };
        let named = named.map_err(|error| fail(&error))?;
        self.world.disk.sync_dir(&dir).map_err(|error| fail(&error))?;
        Ok((named, exported))
    }

    /// Reads the listed messages in several threads, and writes them in order.
    fn write_messages<W: Write>(&self, writer: &mut Writer<W>, after: i64, count: u64) -> Result<()> {
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
                    None => Some(self.blob_path(&message.digest)),
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
                        writer.message_bytes(message.digest, message.mtime, &bytes).map_err(|e| writing(&e))?;
                    }
                    None => self.write_large(writer, &message)?,
                }
            }
            Ok(())
        })
    }

    /// Writes a message that is too large to be kept in memory, or whose file is not where it was when it was listed.
    fn write_large<W: Write>(&self, writer: &mut Writer<W>, message: &Outgoing) -> Result<()> {
        let mut sources = message.at.as_ref().map(|at| self.path(at)).transpose()?.into_iter().collect::<Vec<_>>();
        let place = sources.first().map_or_else(|| message.digest.to_string(), |path| path.display().to_string());
        sources.push(self.blob_path(&message.digest));
        sources.extend(self.sources(&message.digest)?);
        sources.extend(self.look_again(&message.digest)?);
        let mut why = String::from("the message is gone, or was edited in place, since it was scanned");
        for source in sources {
            // Read twice: once begun, a message can't be taken back from the bundle.
            match hash_file(&*self.world.disk, &source) {
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
            let base = FileName::parse(&at.name).base().to_vec();
            if let Ok(listing) = Listing::read(&*self.world.disk, &dir, None) {
                let same = listing.iter().filter(|(name, _)| FileName::parse(name).base() == base);
                found.extend(same.map(|(name, sub)| path_in(&dir, sub, name)));
            }
        }
        Ok(found)
    }
}

/// What a bundle is called while it is written: how that begins, and how it ends.
const PART: (&str, &str) = (".mailsync-", ".part");
/// A bundle that is still called so after this time is written by nobody any more.
const PART_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes what killed exports have left: on a stick it would take room, and nobody would see it. What can't be removed stays.
fn sweep_parts(dir: &Path) {
    let Ok(items) = std::fs::read_dir(dir) else { return };
    for item in items.flatten() {
        let name = item.file_name();
        let is_part = name.to_str().is_some_and(|name| name.starts_with(PART.0) && name.ends_with(PART.1));
        if is_part && older_than(&item.path(), PART_AGE) {
            let _ = std::fs::remove_file(item.path());
        }
    }
}

/// What a job needs, as a message.
fn blob_outgoing(sealed: &Sealed, made: u64) -> Outgoing {
    let mtime = Mtime::new(i64::try_from(made / 1000).unwrap_or(0), 0);
    Outgoing { digest: sealed.digest, size: sealed.bytes, mtime, at: None }
}

/// What is to be kept where a file has the name that a bundle is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// The bundle, in its place.
    New,
    /// Both: the bundle gets another name.
    Both,
}

/// Gives a bundle its name, or, where another replica that goes by the same name has taken that since it was chosen, one
/// that tells the two apart. Returns the name.
fn name_beside(file: tempfile::NamedTempFile, path: &Path, id: ReplicaId) -> io::Result<PathBuf> {
    let [a, b, c, d, ..] = id.to_bytes();
    let apart = path.with_extension(format!("{a:02x}{b:02x}{c:02x}{d:02x}.zst"));
    let mut file = file;
    for name in [path, &apart] {
        let Err(error) = file.persist_noclobber(name) else { return Ok(name.to_owned()) };
        file = error.file;
        if error.error.kind() == io::ErrorKind::AlreadyExists || name.symlink_metadata().is_ok() {
            continue;
        }
        // Some file systems, such as those behind FUSE, can't give a name only if it is free.
        return file.persist(name).map(|_| name.to_owned()).map_err(|error| error.error);
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name already"))
}

/// Whether a file begins as every bundle does, with the magic number of a zstd frame.
fn begins_as_a_bundle(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && magic == [0x28, 0xb5, 0x2f, 0xfd]
}

/// A plan whose parts were taken out to be written.
struct Written {
    to: Recipient,
    occasion: Occasion,
    level: i32,
    tip: Knowledge,
}

impl Plan {
    fn take_parts(self) -> (Written, Vec<PlannedPart>) {
        let Self { to, occasion, level, tip, parts } = self;
        (Written { to, occasion, level, tip }, parts)
    }
}

fn base_for_peer(fullness: Fullness, peer: &Peer) -> (Knowledge, Option<u64>) {
    let (base, follows) = match fullness {
        _ if peer.suspect => (None, None),
        Fullness::Full => (None, None),
        Fullness::SinceShown => (peer.standing.shown.clone(), None),
        // What it has shown since the last bundle for it was written, and lacks what that held: then one got lost.
        Fullness::SinceLast if has_missed_one(peer) => (peer.standing.shown.clone(), None),
        Fullness::SinceLast => (peer.sent.clone(), peer.sent_number),
    };
    (base.unwrap_or_default(), follows)
}

fn has_missed_one(peer: &Peer) -> bool {
    let heard_since = peer.last_heard > peer.last_sent;
    let lacks = peer.standing.shown.as_ref().zip(peer.sent.as_ref()).is_some_and(|(shown, sent)| !shown.includes(sent));
    heard_since && lacks
}

fn base_for_invited(fullness: Fullness, invited: &Invited) -> (Knowledge, Option<u64>) {
    match fullness {
        Fullness::Full => (Knowledge::new(), None),
        Fullness::SinceShown => (invited.shown.clone(), None),
        Fullness::SinceLast => (invited.sent.clone(), Some(invited.sent_number)),
    }
}

/// A message's bytes, if it is small and its file holds what it should.
fn read_expected(disk: &dyn Disk, path: &Path, message: &Outgoing) -> Option<Vec<u8>> {
    if message.size > SMALL {
        return None;
    }
    let (bytes, digest) = read_small(disk, path, message.size).ok()?;
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
            "bundle {} for {} ({kind}): {}, {}, {}",
            self.number,
            self.to.as_deref().unwrap_or("anyone"),
            plural(self.counts.entries, "entry"),
            plural(self.counts.messages, "message"),
            plural(self.bytes, "byte")
        )?;
        match self.counts.jobs {
            0 => Ok(()),
            lines => write!(f, ", {} about jobs", plural(lines, "statement")),
        }
    }
}

/// The greatest number of messages in a bundle is bounded by what a manifest can hold of those wanted.
const _: () = assert!(MOST_WANTS as u64 * 70 < limits::MANIFEST_BYTES);
