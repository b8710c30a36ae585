//! Small parts by themselves: merge, listings, records, the reader and the writer of bundles. `cargo bench --bench micro`
//! tells how long one of each takes, and how much that is in a second.

#[allow(dead_code)] // The other bench uses the rest.
#[path = "../tests/support/corpus.rs"]
mod corpus;

use std::fs;
use std::hint::black_box;
use std::path::Path;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use corpus::LARGE;
use mailsync::bundle::{
    BundleKind, Counts, Manifest, Options, PrivateKey, Record, RecordSpool, Said, Sender, Stream, Writer,
};
use mailsync::disk::RealDisk;
use mailsync::maildir::listing::Listing;
use mailsync::model::{
    Clock, Digest, Entry, EntryId, Flag, FolderName, Head, Incarnation, Knowledge, Meeting, Mtime, Origin, Stamp,
    StateDigest,
};

/// How many entries or messages one run goes through.
const COUNT: u64 = 10_000;

fn main() {
    divan::main();
}

fn stamp(incarnation: u64, millis: u64) -> Stamp {
    Stamp { clock: Clock::from_bits(millis << 16).expect("a small clock"), incarnation: Incarnation(incarnation) }
}

/// An entry with a flag, that a message of such a digest has.
fn entry(digest: Digest, size: u64, at: u64) -> (EntryId, Entry) {
    let inbox = FolderName::inbox();
    let id = EntryId { digest, birth: inbox.clone(), ordinal: 0 };
    let flags = [Flag::Info(b'S')].into();
    let mtime = Mtime::new(1_500_000_000, 0);
    (id, Entry::delivered(None, Origin::Delivery, stamp(1, at), inbox, &flags, size, mtime))
}

fn entries() -> Vec<(EntryId, Entry)> {
    let of = |number: u64| entry(Digest::of(&number.to_le_bytes()), 4096, 1_000 + number);
    let mut entries: Vec<_> = (0..COUNT).map(of).collect();
    entries.sort_by_key(|(id, _)| id.digest);
    entries
}

fn messages() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a directory");
    corpus::make(LARGE, dir.path(), COUNT / 10, 1).expect("the corpus can be written");
    let files = walkdir::WalkDir::new(dir.path()).sort_by_file_name().into_iter().filter_map(Result::ok);
    files.filter(|file| file.file_type().is_file()).map(|file| fs::read(file.path()).expect("a message")).collect()
}

/// Both sides have changed every entry.
#[divan::bench]
fn merge(bencher: Bencher<'_, '_>) {
    let pairs: Vec<_> = entries()
        .into_iter()
        .map(|(_, entry)| {
            let (mut mine, mut theirs) = (entry.clone(), entry);
            mine.set_flag(stamp(2, 1_000_000), Flag::Info(b'F'), true);
            theirs.move_to(stamp(3, 1_000_001), "Archive".parse().expect("a folder's name"));
            (mine, theirs)
        })
        .collect();
    let knows = |incarnations: [u64; 2]| -> Knowledge {
        incarnations.map(|incarnation| (Incarnation(incarnation), stamp(0, 2_000_000).clock)).into_iter().collect()
    };
    let head = Head {
        incarnation: Incarnation(3),
        number: 1,
        full: false,
        base: Knowledge::new(),
        tip: knows([1, 3]),
        horizon: Knowledge::new(),
        issued: Vec::new(),
        left_out: Knowledge::new(),
    };
    let meeting = Meeting::new(&knows([1, 2]), &Knowledge::new(), knows([1, 2]), &head);
    bencher.counter(ItemsCount::new(pairs.len())).bench_local(|| {
        for (mine, theirs) in &pairs {
            black_box(meeting.decide(Some(mine), Some(theirs)));
        }
    });
}

/// A folder's names, from the kernel's memory.
#[divan::bench]
fn listing(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a directory");
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir(dir.path().join(sub)).expect("a directory");
    }
    for number in 0..COUNT {
        let name = format!("cur/{}.M{number}P7.host,S=4096:2,S", 1_500_000_000 + number);
        fs::write(dir.path().join(name), b"").expect("a message");
    }
    bencher
        .counter(ItemsCount::new(COUNT))
        .bench_local(|| Listing::read(&RealDisk, black_box(dir.path()), None).expect("it can be listed"));
}

/// Lines of `entries.jsonl`, as they are written.
#[divan::bench]
fn encode_records(bencher: Bencher<'_, '_>) {
    let records: Vec<_> = entries().into_iter().map(|(id, entry)| Record::Entry { id, entry }).collect();
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| {
        for record in &records {
            black_box(record.encode());
        }
    });
}

/// Lines of `entries.jsonl`, as they are read.
#[divan::bench]
fn decode_records(bencher: Bencher<'_, '_>) {
    let lines: Vec<_> = entries().into_iter().map(|(id, entry)| Record::Entry { id, entry }.encode()).collect();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        for line in &lines {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            black_box(Record::decode(line).expect("it was encoded"));
        }
    });
}

/// Mail that is to be bundled: what the manifest says of it, and all entries.
struct Contents {
    key: PrivateKey,
    manifest: Manifest,
    entries: Vec<(EntryId, Entry)>,
    messages: Vec<Vec<u8>>,
}

impl Contents {
    fn new() -> Self {
        let key = PrivateKey::generate("bench").expect("a key can be made");
        let mut messages: Vec<(Digest, Vec<u8>)> =
            messages().into_iter().map(|message| (Digest::of(&message), message)).collect();
        messages.sort();
        let entries: Vec<_> =
            (1..).zip(&messages).map(|(at, (digest, message))| entry(*digest, message.len() as u64, at)).collect();
        let spooled = spool(&entries).finish().expect("it fits the memory");
        let last = stamp(1, messages.len() as u64).clock;
        let manifest = Manifest {
            kind: BundleKind::Full,
            number: 1,
            made: 1_700_000_000_000,
            sender: Sender { id: key.public_key().id(), name: "bench".to_owned(), incarnation: Incarnation(1) },
            recipient: None,
            invitation: None,
            proof: None,
            successions: Vec::new(),
            follows: None,
            base: Knowledge::new(),
            tip: [(Incarnation(1), last)].into_iter().collect(),
            horizon: Knowledge::new(),
            issued: vec![last],
            left_out: Knowledge::new(),
            passes_over: None,
            state_digest: StateDigest::default(),
            wants: Vec::new(),
            counts: Counts {
                folders: 0,
                entries: spooled.entries(),
                messages: messages.len() as u64,
                replicas: 0,
                jobs: 0,
            },
            bytes: messages.iter().map(|(_, message)| message.len() as u64).sum(),
            entries: spooled.part(),
            replicas: None,
            jobs: None,
        };
        Self { key, manifest, entries, messages: messages.into_iter().map(|(_, message)| message).collect() }
    }

    fn bundle(&self) -> Vec<u8> {
        let records = spool(&self.entries).finish().expect("it fits the memory");
        let options = Options::default();
        let mut writer = Writer::start(Vec::new(), &options, &self.manifest, &self.key, records, Said::default())
            .expect("the manifest says what is there");
        for ((id, entry), message) in self.entries.iter().zip(&self.messages) {
            writer.message_bytes(id.digest, entry.mtime, message).expect("it was promised");
        }
        writer.finish().expect("all of it is there")
    }
}

fn spool(entries: &[(EntryId, Entry)]) -> RecordSpool {
    let mut spool = RecordSpool::new(&RealDisk, Path::new("/nonexistent: it stays in memory"));
    for (id, entry) in entries {
        spool.entry(id, entry).expect("they are in order");
    }
    spool
}

/// A bundle into memory: spooled, compressed, signed; the messages were hashed before.
#[divan::bench]
fn write_bundle(bencher: Bencher<'_, '_>) {
    let contents = Contents::new();
    bencher.counter(BytesCount::new(contents.manifest.bytes)).bench_local(|| black_box(contents.bundle()));
}

/// A bundle from memory: decompressed, its signature and each message's digest checked, and thrown away.
#[divan::bench]
fn read_bundle(bencher: Bencher<'_, '_>) {
    let contents = Contents::new();
    let (bundle, key) = (contents.bundle(), contents.key.public_key());
    bencher.counter(BytesCount::new(contents.manifest.bytes)).bench_local(|| {
        let mut stream = Stream::new(&bundle[..]);
        while let Some(reader) = stream.next_bundle().expect("it is a bundle") {
            reader.verify(&key).expect("it is signed").drain_verified().expect("it is whole");
        }
    });
}
