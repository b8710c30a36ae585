//! What nobody should write into `replicas.jsonl`, or say of it.

use super::testing::{RawMember, Sample, assert_corrupt, bundle_of, compress, key, read, stamp};
use super::{Error, Part, ReplicaId, ReplicaLine, Revocation, limits};
use crate::model::{Clock, Digest, Stamp};

/// A statement with this stamp beside it.
fn line(stamp: Stamp) -> Vec<u8> {
    let (who, by) = (ReplicaId::from_bytes([7; 32]), key().public_key().id());
    let revocation =
        Revocation { who, keys: Vec::new(), name: None, since: 5, by, at: 9, reason: None, incarnations: Vec::new() };
    ReplicaLine::revoke(stamp, &revocation, &key()).unwrap().encode()
}

/// The sample with two statements.
fn sample() -> Sample {
    let mut sample = Sample::new();
    sample.replicas = vec![line(stamp(1)), b"what is no statement".to_vec()];
    sample.counted()
}

/// The sample with this in the place of `replicas.jsonl`, vouched for by the manifest as so many statements.
fn with_text(text: &[u8], count: u64) -> Vec<u8> {
    let mut sample = sample();
    (sample.manifest.replicas, sample.manifest.counts.replicas) = (Some(Part::of(text)), count);
    let mut members = sample.members();
    members[2] = RawMember::new("replicas.jsonl", text);
    bundle_of(&members)
}

#[test]
fn the_member_stands_in_its_place_if_the_manifest_announces_it_and_only_then() {
    let tampered = |change: fn(&mut Vec<RawMember>)| {
        let mut members = sample().members();
        change(&mut members);
        bundle_of(&members)
    };
    assert!(read(&sample().bundle()).is_ok());
    assert_corrupt(&tampered(|m| drop(m.remove(2))), "where replicas.jsonl was expected");
    assert_corrupt(&tampered(|m| m.swap(2, 3)), "where replicas.jsonl was expected");
    assert_corrupt(&tampered(|m| m.insert(2, m[2].clone())), "where entries.jsonl was expected");
    assert_corrupt(&tampered(|m| m.truncate(2)), "ends where replicas.jsonl was expected");
    let mut members = Sample::new().members();
    members.insert(2, RawMember::new("replicas.jsonl", b"{}\n"));
    assert_corrupt(&bundle_of(&members), "where entries.jsonl was expected");
}

#[test]
fn a_manifest_that_lies_about_it_is_found_out() {
    let lie = |change: fn(&mut Sample)| {
        let mut sample = sample();
        change(&mut sample);
        bundle_of(&sample.members())
    };
    assert_corrupt(&lie(|s| s.manifest.counts.replicas += 1), "not as many statements");
    assert_corrupt(&lie(|s| s.manifest.counts.replicas -= 1), "not as many statements");
    assert_corrupt(&lie(|s| s.manifest.counts.replicas = 0), "disagree");
    assert_corrupt(&lie(|s| s.manifest.replicas = None), "disagree");
    assert_corrupt(&lie(|s| s.manifest.replicas.as_mut().unwrap().bytes += 1), "not of the size");
    assert_corrupt(&lie(|s| s.manifest.replicas.as_mut().unwrap().sha256 = Digest::of(b"")), "vouches for");
    for json in [&b"null"[..], b"[]", b"[5,\"\"]", b"{}"] {
        let json = std::str::from_utf8(json).unwrap();
        let manifest = String::from_utf8(Sample::new().manifest.to_json()).unwrap();
        let told = manifest.replace("  \"entries\": {\n", &format!("  \"replicas\": {json},\n  \"entries\": {{\n"));
        assert_ne!(told, manifest);
        assert!(matches!(super::Manifest::from_json(told.as_bytes()), Err(Error::Corrupt { .. })), "{json}");
    }
}

#[test]
fn lines_without_an_end_and_none_at_all_are_refused() {
    assert_corrupt(&with_text(b"one\ntwo", 2), "no end");
    assert_corrupt(&with_text(b"one\ntwo", 1), "no end");
    assert_corrupt(&with_text(b"", 1), "no end");
    assert_corrupt(&with_text(b"\n\n", 1), "not as many statements");
    assert!(read(&with_text(b"\n\n", 2)).is_ok(), "what is no statement is for whoever takes it to find out");
}

#[test]
fn a_stamp_that_the_tip_does_not_cover_is_refused() {
    let stamped = |stamp| {
        let mut sample = sample();
        sample.replicas.insert(0, line(stamp));
        bundle_of(&sample.counted().members())
    };
    assert!(read(&stamped(stamp(4))).is_ok());
    let beyond = Stamp { clock: Clock::from_bits(Clock::LAST.bits() + 1).unwrap(), ..stamp(1) };
    for wrong in [stamp(5), Stamp { incarnation: crate::model::Incarnation(3), ..stamp(1) }, stamp(0), beyond] {
        match read(&stamped(wrong)) {
            Err(Error::Untrue { what }) if what.contains("replicas.jsonl, line 1") => {}
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

#[test]
fn more_than_its_limits_is_refused_and_not_written() {
    let many = |count: u64| b"x\n".repeat(usize::try_from(count).unwrap());
    let most = limits::REPLICA_STATEMENTS;
    assert!(read(&with_text(&many(most), most)).is_ok());
    let too_large = |bundle: &[u8]| matches!(read(bundle), Err(Error::TooLarge { .. }));
    assert!(too_large(&with_text(&many(most + 1), most + 1)));
    let size = usize::try_from(limits::REPLICAS_BYTES).unwrap();
    assert!(too_large(&with_text(&[&vec![b'x'; size][..], b"\n"].concat(), 1)));
    let mut members = sample().members();
    members[2] = members[2].clone().with(|fields| fields.size = *b"77777777777\0");
    assert!(too_large(&compress(&super::testing::archive(&members))), "and takes no memory");

    let mut spool = super::SpooledReplicas::default();
    let longest = vec![b'x'; usize::try_from(limits::REPLICA_LINE_BYTES).unwrap()];
    assert!(matches!(spool.push(&[&longest[..], b"x"].concat()), Err(super::WriteError::TooLarge { .. })));
    for _ in 0..most {
        spool.push(&longest).unwrap();
    }
    assert!(spool.part().unwrap().bytes < limits::REPLICAS_BYTES);
    assert!(matches!(spool.push(b"x"), Err(super::WriteError::TooLarge { .. })));
}
