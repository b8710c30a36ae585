//! Bundles that no replica has written.

use mailsync::bundle::{
    BundleKind, Counts, JobLine, JobSpool, Manifest, Options, PrivateKey, PublicKey, RecordSpool, Sender, SpooledJobs,
    Stream, Writer,
};
use mailsync::model::{Clock, Digest, Incarnation, Knowledge, Mtime, Stamp, StateDigest};

use super::scratch;

/// That of the sender of these bundles.
pub const INCARNATION: Incarnation = Incarnation(0x0123_4567_89ab_cdef);

/// The only clock of what their sender has written.
pub fn clock() -> Clock {
    Clock::from_bits(1_700_000_000_000 << 16).unwrap()
}

/// What a full bundle holds.
pub struct Full<'b> {
    /// What is said of folders and messages, and the digest of all that.
    pub records: RecordSpool,
    pub state_digest: StateDigest,
    /// Lines of `jobs.jsonl`.
    pub jobs: &'b [String],
    /// Stamps of others that the sender knows of.
    pub known: &'b [Stamp],
    pub contents: &'b [(&'b [u8], Mtime)],
}

impl Full<'_> {
    /// The bundle, by the holder of this key, who calls itself so.
    pub fn written(self, key: &PrivateKey, name: &str) -> Vec<u8> {
        let dir = scratch();
        let mut tip: Knowledge = [(INCARNATION, clock())].into_iter().collect();
        for &stamp in self.known {
            tip.learn(stamp);
        }
        let mut issued: Vec<Clock> =
            self.known.iter().filter(|stamp| stamp.incarnation == INCARNATION).map(|stamp| stamp.clock).collect();
        issued.push(clock());
        issued.sort();
        issued.dedup();
        let mut spool = JobSpool::new(&mailsync::disk::RealDisk, dir.path());
        for line in self.jobs {
            spool.push(line.as_bytes()).unwrap();
        }
        let (records, jobs) = (self.records.finish().unwrap(), spool.finish().unwrap());
        let manifest = Manifest {
            kind: BundleKind::Full,
            number: 1,
            made: 1_700_000_000_123,
            sender: Sender { id: key.public_key().id(), name: name.to_owned(), incarnation: INCARNATION },
            recipient: None,
            invitation: None,
            proof: None,
            successions: Vec::new(),
            follows: None,
            base: Knowledge::new(),
            tip,
            horizon: Knowledge::new(),
            issued,
            left_out: Knowledge::new(),
            passes_over: None,
            state_digest: self.state_digest,
            wants: Vec::new(),
            counts: Counts {
                folders: records.folders(),
                entries: records.entries(),
                messages: self.contents.len() as u64,
                replicas: 0,
                jobs: jobs.as_ref().map_or(0, SpooledJobs::lines),
            },
            bytes: self.contents.iter().map(|(contents, _)| contents.len() as u64).sum(),
            entries: records.part(),
            replicas: None,
            jobs: jobs.as_ref().map(SpooledJobs::part),
        };
        let mut writer = Writer::start(Vec::new(), &Options::default(), &manifest, key, records, jobs).unwrap();
        for (contents, mtime) in self.contents {
            writer.message_bytes(Digest::of(contents), *mtime, contents).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// A full bundle of nothing but these lines of `jobs.jsonl` and these contents, by one who knows of all that.
pub fn bundle_of_jobs(key: &PrivateKey, lines: &[String], contents: &[&[u8]]) -> Vec<u8> {
    let known = lines.iter().filter_map(|line| JobLine::decode(line.as_bytes()).ok()).map(|line| line.stamp);
    bundle_with_tip(key, lines, contents, &known.collect::<Vec<_>>())
}

/// The same by one who knows of these stamps.
pub fn bundle_with_tip(key: &PrivateKey, lines: &[String], contents: &[&[u8]], known: &[Stamp]) -> Vec<u8> {
    let dir = scratch();
    Full {
        records: RecordSpool::new(&mailsync::disk::RealDisk, dir.path()),
        state_digest: StateDigest::default(),
        jobs: lines,
        known,
        contents: &contents.iter().map(|&contents| (contents, Mtime::new(1_700_000_000, 0))).collect::<Vec<_>>(),
    }
    .written(key, "x")
}

/// What a bundle says about jobs, and all contents that it carries.
pub fn jobs_of_bundle(bundle: &[u8], sender: &PublicKey) -> (Vec<JobLine>, Vec<Vec<u8>>) {
    let mut stream = Stream::new(bundle);
    let reader = stream.next_bundle().unwrap().unwrap().verify(sender).unwrap();
    let mut said = Vec::new();
    let jobs = reader.records::<mailsync::bundle::Error>(|_| Ok(())).unwrap();
    let mut messages = jobs.jobs(&mut said).unwrap();
    let lines = said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let lines = lines.map(|line| JobLine::decode(line).unwrap()).collect();
    let mut contents = Vec::new();
    while let Some(message) = messages.next_message().unwrap() {
        let mut bytes = Vec::new();
        message.copy_verified(&mut bytes).unwrap();
        contents.push(bytes);
    }
    (lines, contents)
}
