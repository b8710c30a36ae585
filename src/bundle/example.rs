//! The example of `bundle-format.md`, which also lies in `fixtures/` for other implementations to try themselves on.

use super::testing::{Sample, compress, folder, key, read};
use super::{BundleKind, Part, Record, ReplicaId, Sender};
use crate::model::{
    Clock, Digest, Entry, EntryId, Flag, FolderName, FolderState, Incarnation, Mtime, Origin, Stamp, StateDigest,
};

const LAPTOP: Incarnation = Incarnation(0x5f3c_91aa_07d2_4e18);
const SERVER: Incarnation = Incarnation(0xb204_6e7d_c35f_10a9);
const SPECIFICATION: &str = include_str!("../../bundle-format.md");
const FIXTURE: &[u8] = include_bytes!("../../fixtures/bundle-v1.zst");

/// A stamp made this many seconds after noon of a certain day.
fn at(incarnation: Incarnation, seconds: u64) -> Stamp {
    Stamp { clock: Clock::from_bits(((1_718_020_800 + seconds) * 1000) << 16).unwrap(), incarnation }
}

fn delivered(contents: &[u8], stamp: Stamp, flags: &[u8], mtime: Mtime) -> (EntryId, Entry) {
    let id = EntryId { digest: Digest::of(contents), birth: FolderName::inbox(), ordinal: 0 };
    let flags = flags.iter().map(|&flag| Flag::info(flag).unwrap()).collect();
    let size = contents.len() as u64;
    (id, Entry::delivered(None, Origin::Delivery, stamp, FolderName::inbox(), &flags, size, mtime))
}

/// The example: a laptop tells a server that a message was delivered, another one answered and filed, and a third one
/// removed.
fn example() -> Sample {
    let new = b"From: ann@example.org\nTo: me@example.org\nSubject: Lunch\n\nAt one?\n";
    let (new_id, new_entry) = delivered(new, at(LAPTOP, 60), b"", Mtime::new(1_718_020_855, 250_000_000));
    let new_mtime = new_entry.mtime;
    let (filed_id, mut filed) = delivered(b"filed", at(SERVER, 0), b"S", Mtime::new(1_718_020_700, 0));
    filed.set_flag(at(LAPTOP, 90), Flag::Info(b'R'), true);
    filed.move_to(at(LAPTOP, 90), folder("Archive/2024"));
    let (removed_id, mut removed) = delivered(b"removed", at(SERVER, 0), b"", Mtime::new(1_718_020_600, 0));
    removed.remove(at(LAPTOP, 60));

    let made = FolderState { stamp: at(LAPTOP, 90), present: true };
    let mut state_digest = StateDigest::default();
    state_digest.add(b"folder\0Archive/2024");
    state_digest.add(b"folder\0INBOX");
    state_digest.add(&new_entry.canonical(&new_id));
    state_digest.add(&filed.canonical(&filed_id));

    let mut sample = Sample::new();
    sample.records = vec![
        Record::Folder { name: folder("Archive/2024"), state: made },
        Record::Entry { id: new_id, entry: new_entry },
        Record::Entry { id: filed_id, entry: filed },
        Record::Entry { id: removed_id, entry: removed },
    ];
    sample.jobs = None;
    sample.messages = vec![new.to_vec()];
    sample.delivered = new_mtime;
    let manifest = &mut sample.manifest;
    manifest.kind = BundleKind::Delta;
    manifest.number = 7;
    manifest.made = 1_718_020_900_000;
    manifest.sender = Sender { id: key().public_key().id(), name: "laptop".to_owned(), incarnation: LAPTOP };
    manifest.recipient = Some(ReplicaId::from_bytes([0x2a; 32]));
    let knowledge = |laptop| [at(LAPTOP, laptop), at(SERVER, 0)].map(|stamp| (stamp.incarnation, stamp.clock));
    manifest.base = knowledge(10).into_iter().collect();
    manifest.tip = knowledge(90).into_iter().collect();
    manifest.horizon = [(SERVER, at(SERVER, 0).clock)].into_iter().collect();
    manifest.issued = vec![at(LAPTOP, 60).clock, at(LAPTOP, 90).clock];
    manifest.state_digest = state_digest;
    sample.counted()
}

#[test]
fn the_example_in_the_specification_is_what_is_written_and_read() {
    let example = example();
    let contents = read(FIXTURE).unwrap();
    assert_eq!(contents.manifests, std::slice::from_ref(&example.manifest));
    assert_eq!(contents.records, example.records);
    assert_eq!(contents.messages, example.messages);

    // zstd's output changes from version to version. Its input does not.
    let archive = zstd::decode_all(FIXTURE).unwrap();
    assert_eq!(zstd::decode_all(example.bundle().as_slice()).unwrap(), archive);
    assert!(read(&compress(&archive)).is_ok());

    for member in &example.members()[..3] {
        let text = String::from_utf8(member.data.clone()).unwrap();
        assert!(SPECIFICATION.contains(&text), "the specification lacks:\n{text}");
    }
    assert!(SPECIFICATION.contains(&key().public_key().to_openssh()), "{}", key().public_key().to_openssh());
    assert_eq!(Part::of(&example.messages[0]).sha256, Digest::of(&example.messages[0]));
}

#[test]
#[ignore = "writes the fixture anew, after a change of the example"]
fn the_fixture_is_written_anew() {
    std::fs::write("fixtures/bundle-v1.zst", example().bundle()).unwrap();
}
