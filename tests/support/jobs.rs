//! Bundles that say what no replica would say about jobs.

use std::path::Path;

use mailsync::bundle::{
    Counts, JobLine, JobSpool, Kind, Manifest, Options, PrivateKey, PublicKey, RecordSpool, Sender, SpooledJobs,
    Stream, Writer,
};
use mailsync::model::{Clock, Digest, Incarnation, Knowledge, Mtime, Stamp, StateDigest};

/// That of the sender of [`bundle_of_jobs`].
pub const INCARNATION: Incarnation = Incarnation(0x0123_4567_89ab_cdef);

/// A full bundle of nothing but these lines of `jobs.jsonl` and these contents, by one who knows of all that.
pub fn bundle_of_jobs(key: &PrivateKey, lines: &[String], contents: &[&[u8]]) -> Vec<u8> {
    let known = lines.iter().filter_map(|line| JobLine::decode(line.as_bytes()).ok()).map(|line| line.stamp);
    bundle_with_tip(key, lines, contents, &known.collect::<Vec<_>>())
}

/// The same by one who knows of these stamps.
pub fn bundle_with_tip(key: &PrivateKey, lines: &[String], contents: &[&[u8]], known: &[Stamp]) -> Vec<u8> {
    let incarnation = INCARNATION;
    let clock = Clock::from_bits(1_700_000_000_000 << 16).unwrap();
    let mut tip: Knowledge = [(incarnation, clock)].into_iter().collect();
    for &stamp in known {
        tip.learn(stamp);
    }
    let mut spool = JobSpool::new(Path::new("."));
    for line in lines {
        spool.push(line.as_bytes()).unwrap();
    }
    let jobs = spool.finish().unwrap();
    let records = RecordSpool::new(Path::new(".")).finish().unwrap();
    let manifest = Manifest {
        kind: Kind::Full,
        number: 1,
        made: 1_700_000_000_123,
        sender: Sender { id: key.public_key().id(), name: "x".to_owned(), incarnation },
        recipient: None,
        invitation: None,
        proof: None,
        follows: None,
        base: Knowledge::new(),
        tip,
        horizon: Knowledge::new(),
        issued: vec![clock],
        state_digest: StateDigest::default(),
        wants: Vec::new(),
        counts: Counts {
            folders: 0,
            entries: 0,
            messages: contents.len() as u64,
            jobs: jobs.as_ref().map_or(0, SpooledJobs::lines),
        },
        bytes: contents.iter().map(|contents| contents.len() as u64).sum(),
        entries: records.part(),
        jobs: jobs.as_ref().map(SpooledJobs::part),
    };
    let mut writer = Writer::start(Vec::new(), &Options::default(), &manifest, key, records, jobs).unwrap();
    for contents in contents {
        writer.message_bytes(Digest::of(contents), Mtime::new(1_700_000_000, 0), contents).unwrap();
    }
    writer.finish().unwrap()
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
