//! A small bundle, and ways to make one that no writer would make.

use std::io::{self, Read, Write as _};
use std::path::Path;

use super::archive::{BLOCK, header, padding};
use super::{
    BundleKind, Counts, Error, JobSpool, Keys, Manifest, Options, Part, PrivateKey, Record, RecordSpool, Said, Sender,
    SpooledJobs, SpooledRecords, SpooledReplicas, Stream, Writer,
};
use crate::model::{
    Clock, Digest, Entry, EntryId, Flag, FolderName, FolderState, Incarnation, Knowledge, Mtime, Origin, Stamp,
    StateDigest,
};

pub(super) fn key() -> PrivateKey {
    PrivateKey::from_seed([1; 32])
}

pub(super) fn stamp(millis: u64) -> Stamp {
    Stamp { clock: Clock::from_bits(millis << 16).unwrap(), incarnation: Incarnation(0x1122_3344_5566_7788) }
}

pub(super) fn folder(name: &str) -> FolderName {
    name.parse().unwrap()
}

/// An entry for this message, with one flag.
pub(super) fn entry(contents: &[u8], birth: &str, mtime: Mtime) -> (EntryId, Entry) {
    let id = EntryId { digest: Digest::of(contents), birth: folder(birth), ordinal: 0 };
    let flags = [Flag::Info(b'S')].into();
    let size = contents.len() as u64;
    (id, Entry::delivered(None, Origin::Init, stamp(1), folder(birth), &flags, size, mtime))
}

/// The parts of a bundle to be made.
#[derive(Clone)]
pub(super) struct Sample {
    /// Lines of `replicas.jsonl`, without their newlines.
    pub(super) replicas: Vec<Vec<u8>>,
    pub(super) records: Vec<Record>,
    pub(super) jobs: Option<Vec<u8>>,
    pub(super) messages: Vec<Vec<u8>>,
    /// The delivery date of all messages in the archive.
    pub(super) delivered: Mtime,
    pub(super) manifest: Manifest,
}

impl Sample {
    /// Two folders, three entries of two messages, one job.
    pub(super) fn new() -> Self {
        let messages = vec![b"Subject: one\n\nHello.\n".to_vec(), b"Subject: two\n\nHello again.\n".repeat(30)];
        let mut entries = vec![
            entry(&messages[0], "INBOX", Mtime::new(1_500_000_000, 5)),
            entry(&messages[1], "INBOX", Mtime::new(1_600_000_000, 0)),
            entry(&messages[0], "Archive/2019", Mtime::new(1_550_000_000, 0)),
        ];
        entries[1].1.move_to(stamp(3), folder("Archive/2019"));
        entries[2].1.remove(stamp(4));
        entries.sort_by(|(a, _), (b, _)| (&a.birth, a).cmp(&(&b.birth, b)));
        let folders = ["Archive/2019", "INBOX"]
            .map(|name| Record::Folder { name: folder(name), state: FolderState { stamp: stamp(1), present: true } });
        let entries = entries.into_iter().map(|(id, entry)| Record::Entry { id, entry });
        let records: Vec<_> = folders.into_iter().chain(entries).collect();
        let jobs = Some(b"{\"job\":1}\n".to_vec());
        let manifest = Manifest {
            kind: BundleKind::Delta,
            number: 7,
            made: 1_700_000_000_000,
            sender: Sender {
                id: key().public_key().id(),
                name: "laptop".to_owned(),
                incarnation: stamp(0).incarnation,
            },
            recipient: None,
            invitation: None,
            proof: None,
            successions: Vec::new(),
            follows: None,
            base: Knowledge::new(),
            tip: [(stamp(0).incarnation, stamp(4).clock)].into_iter().collect(),
            horizon: Knowledge::new(),
            issued: vec![stamp(1).clock, stamp(3).clock, stamp(4).clock],
            left_out: Knowledge::new(),
            passes_over: None,
            state_digest: StateDigest::default(),
            wants: Vec::new(),
            counts: Counts::default(),
            bytes: 0,
            entries: Part::of(b""),
            replicas: None,
            jobs: None,
        };
        let replicas = Vec::new();
        Self { replicas, records, jobs, messages, delivered: Mtime::new(1_500_000_000, 0), manifest }.counted()
    }

    /// Makes the manifest say what is there.
    pub(super) fn counted(mut self) -> Self {
        let spooled = self.spool();
        self.manifest.entries = spooled.part();
        self.manifest.replicas = self.spool_replicas().part();
        self.manifest.jobs = self.jobs.as_deref().map(Part::of);
        self.manifest.bytes = self.messages.iter().map(|message| message.len() as u64).sum();
        self.manifest.counts = Counts {
            folders: spooled.folders(),
            entries: spooled.entries(),
            messages: self.messages.len() as u64,
            replicas: self.replicas.len() as u64,
            jobs: u64::from(self.jobs.is_some()),
        };
        self
    }

    pub(super) fn spool(&self) -> SpooledRecords {
        let mut spool = RecordSpool::new(&crate::disk::RealDisk, Path::new("/nonexistent: the sample stays in memory"));
        for record in &self.records {
            spool.push(record).unwrap();
        }
        spool.finish().unwrap()
    }

    pub(super) fn spool_jobs(&self) -> Option<SpooledJobs> {
        let mut spool = JobSpool::new(&crate::disk::RealDisk, Path::new("/nonexistent: the sample stays in memory"));
        for line in self.jobs.as_deref()?.split_inclusive(|&byte| byte == b'\n') {
            spool.push(line.trim_ascii_end()).unwrap();
        }
        spool.finish().unwrap()
    }

    fn spool_replicas(&self) -> SpooledReplicas {
        let mut spool = SpooledReplicas::default();
        for line in &self.replicas {
            spool.push(line).unwrap();
        }
        spool
    }

    /// All that it says besides records.
    pub(super) fn said(&self) -> Said {
        Said { replicas: self.spool_replicas(), jobs: self.spool_jobs() }
    }

    /// The bundle, as the writer makes it.
    pub(super) fn bundle(&self) -> Vec<u8> {
        self.bundle_with(&Options::default())
    }

    pub(super) fn bundle_with(&self, options: &Options) -> Vec<u8> {
        let mut writer = Writer::start(Vec::new(), options, &self.manifest, &key(), self.spool(), self.said()).unwrap();
        for message in &self.messages {
            writer.message_bytes(Digest::of(message), self.delivered, message).unwrap();
        }
        writer.finish().unwrap()
    }

    /// The bundle, as the writer makes it if the first message can't be read.
    pub(super) fn bundle_lacking_one(&self) -> Vec<u8> {
        let options = Options::default();
        let mut writer =
            Writer::start(Vec::new(), &options, &self.manifest, &key(), self.spool(), self.said()).unwrap();
        writer.leave_out(Digest::of(&self.messages[0]), self.messages[0].len() as u64).unwrap();
        for message in &self.messages[1..] {
            writer.message_bytes(Digest::of(message), self.delivered, message).unwrap();
        }
        writer.finish().unwrap()
    }

    /// The archive's members, to be tampered with before [`archive`] and [`compress`] make a bundle of them.
    pub(super) fn members(&self) -> Vec<RawMember> {
        let json = self.manifest.to_json();
        let signature = key().sign(&json).unwrap().to_armor().into_bytes();
        let mut entries = Vec::new();
        self.spool().copy_to(&mut entries).unwrap();
        let head = [
            ("manifest.json", Some(json)),
            ("manifest.json.sig", Some(signature)),
            ("replicas.jsonl", Some(self.spool_replicas().text().to_vec()).filter(|text| !text.is_empty())),
            ("entries.jsonl", Some(entries)),
            ("jobs.jsonl", self.jobs.clone()),
        ];
        let head = head.into_iter().filter_map(|(name, data)| Some(RawMember::new(name, &data?)));
        head.chain(self.messages.iter().map(|message| RawMember::message(message))).collect()
    }
}

/// One member of an archive, whatever it may look like.
#[derive(Clone)]
pub(super) struct RawMember {
    pub(super) header: tar::Header,
    pub(super) data: Vec<u8>,
}

impl RawMember {
    pub(super) fn new(name: &str, data: &[u8]) -> Self {
        Self { header: header(name, data.len() as u64, 0), data: data.to_vec() }
    }

    pub(super) fn message(contents: &[u8]) -> Self {
        Self::new(&format!("messages/{}", Digest::of(contents)), contents)
    }

    /// Changes the header's fields and makes the checksum right again.
    pub(super) fn with(mut self, change: impl FnOnce(&mut tar::UstarHeader)) -> Self {
        change(self.header.as_ustar_mut().unwrap());
        self.header.set_cksum();
        self
    }
}

/// The members one after the other, without an end marker.
pub(super) fn archive(members: &[RawMember]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for RawMember { header, data } in members {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len() + padding(data.len() as u64), 0);
    }
    bytes
}

/// The members and an end marker, compressed as a bundle is.
pub(super) fn bundle_of(members: &[RawMember]) -> Vec<u8> {
    let mut bytes = archive(members);
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    compress(&bytes)
}

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Everything that is in the bundles of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) manifests: Vec<Manifest>,
    pub(super) replicas: Vec<Vec<u8>>,
    pub(super) records: Vec<Record>,
    pub(super) jobs: Vec<u8>,
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) missing: u64,
}

/// Reads a whole stream, checking everything.
pub(super) fn read(bytes: &[u8]) -> Result<Parts, Error> {
    read_with(bytes, Keys::none())
}

/// The same, with what opens encrypted bundles.
pub(super) fn read_with(bytes: &[u8], keys: Keys) -> Result<Parts, Error> {
    let mut contents = Parts::default();
    let mut stream = Stream::opened_by(bytes, keys);
    while let Some(reader) = stream.next_bundle()? {
        contents.manifests.push(reader.manifest().clone());
        let mut records = reader.verify(&key().public_key())?;
        contents.replicas.extend(records.replicas()?);
        let jobs = records.records(|record| {
            contents.records.push(record);
            Ok::<_, Error>(())
        })?;
        let mut messages = jobs.jobs(&mut contents.jobs)?;
        while let Some(message) = messages.next_message()? {
            let mut bytes = Vec::new();
            message.read_verified(&mut bytes)?;
            contents.messages.push(bytes);
        }
        contents.missing += messages.missing().len() as u64;
        messages.finish()?;
    }
    Ok(contents)
}

/// A source that fails in this way behind its bytes.
pub(super) struct Failing<'a>(pub(super) &'a [u8], pub(super) io::ErrorKind);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(self.1.into()),
            n => Ok(n),
        }
    }
}

/// A source that gives single bytes, with an interruption before each.
pub(super) struct Slow<'a> {
    bytes: &'a [u8],
    interrupts: bool,
}

impl<'a> Slow<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, interrupts: false }
    }
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupts = !self.interrupts;
        if self.interrupts { Err(io::ErrorKind::Interrupted.into()) } else { self.bytes.read(&mut buffer[..1]) }
    }
}

/// The bundle must be refused as corrupt, with this in the message.
#[track_caller]
pub(super) fn assert_corrupt(bundle: &[u8], why: &str) {
    match read(bundle) {
        Err(Error::Corrupt { what }) if what.contains(why) => {}
        other => panic!("expected to be told {why:?}, not {other:?}"),
    }
}

/// The bundle must be refused for something that can't be true, with this in the message.
#[track_caller]
pub(super) fn assert_untrue(bundle: &[u8], why: &str) {
    match read(bundle) {
        Err(Error::Untrue { what }) if what.contains(why) => {}
        other => panic!("expected to be told {why:?}, not {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_too_large(bundle: &[u8], why: &str) {
    match read(bundle) {
        Err(Error::TooLarge { what, .. }) if what.contains(why) => {}
        other => panic!("expected to be told {why:?}, not {other:?}"),
    }
}

/// The sample's members after a change.
pub(super) fn tampered(change: impl FnOnce(&mut Vec<RawMember>)) -> Vec<u8> {
    let mut members = Sample::new().members();
    change(&mut members);
    bundle_of(&members)
}

/// The sample with other bytes in the place of `entries.jsonl`, vouched for by the manifest.
pub(super) fn with_entries(entries: &[u8], folders: u64, count: u64) -> Vec<u8> {
    let mut sample = Sample::new();
    sample.manifest.entries = Part::of(entries);
    (sample.manifest.counts.folders, sample.manifest.counts.entries) = (folders, count);
    let mut members = sample.members();
    members[2] = RawMember::new("entries.jsonl", entries);
    bundle_of(&members)
}

/// The sample with another manifest, properly signed.
pub(super) fn with_manifest_text(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let sample = Sample::new();
    let json = change(String::from_utf8(sample.manifest.to_json()).unwrap());
    let signature = key().sign(json.as_bytes()).unwrap().to_armor();
    let mut members = sample.members();
    members[0] = RawMember::new("manifest.json", json.as_bytes());
    members[1] = RawMember::new("manifest.json.sig", signature.as_bytes());
    bundle_of(&members)
}
