//! A bundle outlives the program that wrote it: zstd, tar, sha256sum and ssh-keygen are enough to check it by hand and to
//! take the mail out.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mailsync::bundle::{Counts, Kind, Manifest, Options, PrivateKey, RecordSpool, Sender, Stream, Writer};
use mailsync::model::{
    Clock, Digest, Entry, EntryId, Flag, FolderName, FolderState, Incarnation, Knowledge, Mtime, Origin, Stamp,
    StateDigest,
};

const MESSAGES: [&str; 2] = ["From: a@example.org\nSubject: one\n\nHello.\n", "From: b@example.org\n\nHello again.\n"];

/// Runs a program in `dir` with this input, and gives its output.
fn run(dir: &Path, package: &str, program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}; please install the package {package}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    output.stdout
}

fn run_text(dir: &Path, package: &str, program: &str, arguments: &[&str]) -> String {
    String::from_utf8(run(dir, package, program, arguments, b"")).unwrap()
}

fn bundle(key: &PrivateKey) -> Vec<u8> {
    let incarnation = Incarnation(0x0123_4567_89ab_cdef);
    let stamp = Stamp { clock: Clock::from_bits(1_700_000_000_000 << 16).unwrap(), incarnation };
    let inbox = FolderName::inbox();
    let mut state_digest = StateDigest::default();
    state_digest.add(b"folder\0INBOX");

    let mut spool = RecordSpool::new(Path::new("."));
    spool.folder(&inbox, FolderState { stamp, present: true }).unwrap();
    for (message, mtime) in MESSAGES.iter().zip(1_600_000_000..) {
        let id = EntryId { digest: Digest::of(message.as_bytes()), birth: inbox.clone(), ordinal: 0 };
        let flags = [Flag::Info(b'S')].into();
        let size = message.len() as u64;
        let mtime = Mtime::new(mtime, 0);
        let entry = Entry::delivered(None, Origin::Delivery, stamp, inbox.clone(), &flags, size, mtime);
        state_digest.add(&entry.canonical(&id));
        spool.entry(&id, &entry).unwrap();
    }
    let records = spool.finish().unwrap();
    let tip: Knowledge = [(incarnation, stamp.clock)].into_iter().collect();
    let manifest = Manifest {
        kind: Kind::Full,
        number: 1,
        made: 1_700_000_000_123,
        sender: Sender { id: key.public_key().id(), name: "laptop".to_owned(), incarnation },
        recipient: None,
        invitation: None,
        proof: None,
        follows: None,
        base: Knowledge::new(),
        tip,
        horizon: Knowledge::new(),
        issued: vec![stamp.clock],
        state_digest,
        wants: Vec::new(),
        counts: Counts { folders: records.folders(), entries: records.entries(), messages: 2, jobs: 0 },
        bytes: MESSAGES.iter().map(|message| message.len() as u64).sum(),
        entries: records.part(),
        jobs: None,
    };
    let mut writer = Writer::start(Vec::new(), &Options::default(), &manifest, key, records, None).unwrap();
    for (message, mtime) in MESSAGES.iter().zip(1_600_000_000..) {
        let message = message.as_bytes();
        writer.message_bytes(Digest::of(message), Mtime::new(mtime, 0), message).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_bundle_can_be_listed_unpacked_and_checked_with_common_tools() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let key = PrivateKey::generate("me@laptop").unwrap();
    fs::write(dir.join("b.zst"), bundle(&key)).unwrap();

    run(dir, "zstd", "zstd", &["-q", "--test", "b.zst"], b"");
    let tar = run(dir, "zstd", "zstd", &["-dc", "b.zst"], b"");
    let [one, two] = MESSAGES.map(|message| Digest::of(message.as_bytes()));
    let listing = String::from_utf8(run(dir, "tar", "tar", &["-tf", "-"], &tar)).unwrap();
    assert_eq!(listing, format!("manifest.json\nmanifest.json.sig\nentries.jsonl\nmessages/{one}\nmessages/{two}\n"));
    let details = String::from_utf8(run(dir, "tar", "tar", &["-tvf", "-"], &tar)).unwrap();
    assert!(details.contains("-rw-r--r-- 0/0"), "{details}");
    assert!(details.contains("2020-09-13 12:26"), "{details}");

    run(dir, "tar", "tar", &["-xf", "-"], &tar);
    for message in MESSAGES {
        let path = format!("messages/{}", Digest::of(message.as_bytes()));
        assert_eq!(fs::read_to_string(dir.join(&path)).unwrap(), message);
        let sum = run_text(dir, "coreutils", "sha256sum", &[&path]);
        assert_eq!(sum, format!("{}  {path}\n", &path["messages/".len()..]));
    }

    let allowed = format!("laptop {}\n", key.public_key().to_openssh());
    fs::write(dir.join("allowed_signers"), allowed).unwrap();
    let manifest = fs::read(dir.join("manifest.json")).unwrap();
    let verify = ["-Y", "verify", "-f", "allowed_signers", "-I", "laptop", "-n", "mailsync", "-s", "manifest.json.sig"];
    let verified = String::from_utf8(run(dir, "openssh-client", "ssh-keygen", &verify, &manifest)).unwrap();
    assert!(verified.starts_with("Good \"mailsync\" signature for laptop with ED25519 key SHA256:"), "{verified}");
    assert!(verified.contains(&key.public_key().id().to_string()), "{verified}");

    let manifest = String::from_utf8(manifest).unwrap();
    let sum = run_text(dir, "coreutils", "sha256sum", &["entries.jsonl"]);
    assert!(manifest.contains(&sum[..64]), "{manifest}");
    assert_eq!(fs::read_to_string(dir.join("entries.jsonl")).unwrap().lines().count(), 3);
}

/// The other way round: what the tools make is a bundle, and the same signature, so that nothing in the format is private
/// to mailsync.
#[test]
fn a_bundle_packed_and_signed_with_common_tools_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    run(dir, "openssh-client", "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", "key"], b"");
    let key = PrivateKey::from_openssh(&fs::read_to_string(dir.join("key")).unwrap()).unwrap();
    fs::write(dir.join("b.zst"), bundle(&key)).unwrap();
    let tar = run(dir, "zstd", "zstd", &["-dc", "b.zst"], b"");
    run(dir, "tar", "tar", &["-xf", "-"], &tar);

    let ours = fs::read_to_string(dir.join("manifest.json.sig")).unwrap();
    fs::remove_file(dir.join("manifest.json.sig")).unwrap();
    run(
        dir,
        "openssh-client",
        "ssh-keygen",
        &["-q", "-Y", "sign", "-f", "key", "-n", "mailsync", "manifest.json"],
        b"",
    );
    assert_eq!(fs::read_to_string(dir.join("manifest.json.sig")).unwrap(), ours);

    let [one, two] = MESSAGES.map(|message| format!("messages/{}", Digest::of(message.as_bytes())));
    let members = ["manifest.json", "manifest.json.sig", "entries.jsonl", &one, &two];
    let tar = run(dir, "tar", "tar", &[&["--format=ustar", "-cf", "-"], members.as_slice()].concat(), b"");
    let packed = run(dir, "zstd", "zstd", &["-c", "--check"], &tar);

    let mut stream = Stream::new(packed.as_slice());
    let reader = stream.next_bundle().unwrap().unwrap();
    reader.verify(&key.public_key()).unwrap().drain_verified().unwrap();
    assert!(stream.next_bundle().unwrap().is_none());
}
