//! Archives and frames that no writer makes, and a reader's answers to them.

use std::io::Write as _;

use super::archive::BLOCK;
use super::testing::{
    RawMember, Sample, archive, assert_corrupt, assert_too_large, bundle_of, compress, key, read, tampered,
};
use super::{Error, limits};
use crate::model::Digest;

#[test]
fn members_out_of_order_are_refused() {
    assert_corrupt(&tampered(|m| m.swap(1, 2)), "where manifest.json.sig was expected");
    assert_corrupt(&tampered(|m| m.swap(2, 3)), "where entries.jsonl was expected");
    assert_corrupt(&tampered(|m| m.swap(3, 4)), "where jobs.jsonl was expected");
    for other in 1..4 {
        assert!(matches!(read(&tampered(|m| m.swap(0, other))), Err(Error::NotABundle { .. })), "member {other}");
    }
}

#[test]
fn members_that_are_missing_are_missed() {
    assert!(matches!(read(&tampered(|m| drop(m.remove(0)))), Err(Error::NotABundle { .. })));
    assert_corrupt(&tampered(|m| drop(m.remove(1))), "where manifest.json.sig was expected");
    assert_corrupt(&tampered(|m| drop(m.remove(2))), "where entries.jsonl was expected");
    assert_corrupt(&tampered(|m| drop(m.remove(3))), "where jobs.jsonl was expected");
    assert_corrupt(&tampered(|m| drop(m.remove(5))), "fewer than the manifest says");
    assert_corrupt(&tampered(|m| m.truncate(2)), "ends where entries.jsonl was expected");
}

#[test]
fn members_that_come_twice_or_that_nothing_announced_are_refused() {
    for at in 0..4 {
        let twice = tampered(|m| m.insert(at, m[at].clone()));
        assert!(matches!(read(&twice), Err(Error::Corrupt { .. })), "member {at}");
    }
    assert_corrupt(&tampered(|m| m.push(m[4].clone())), "more than the manifest says");
    assert_corrupt(&tampered(|m| m.push(RawMember::new("README", b"hi"))), "\"README\" where a message or the end");
    let first = tampered(|m| m.insert(0, RawMember::new("manifest.json.bak", b"hi")));
    assert!(matches!(read(&first), Err(Error::NotABundle { .. })));
    let mut sample = Sample::new();
    sample.jobs = None;
    let mut members = sample.counted().members();
    members.insert(3, RawMember::new("jobs.jsonl", b"{}\n"));
    assert_corrupt(&bundle_of(&members), "\"jobs.jsonl\" where a message or the end");
}

#[test]
fn a_message_more_than_the_manifest_says_is_refused_even_if_it_came_before() {
    let mut sample = Sample::new();
    let once = sample.clone().counted().manifest;
    sample.messages.push(sample.messages[0].clone());
    sample.manifest = once;
    assert_corrupt(&bundle_of(&sample.members()), "more than the manifest says");
}

#[test]
fn a_message_with_a_name_that_is_no_digest_is_refused() {
    let digest = Digest::of(b"x").to_string();
    let names = [
        "messages/../x".to_owned(),
        format!("messages/../{digest}"),
        format!("./messages/{digest}"),
        format!("/messages/{digest}"),
        format!("messages//{digest}"),
        format!("messages/{}", digest.to_uppercase()),
        format!("messages/{}", &digest[1..]),
        format!("messages/{digest}0"),
        format!("messages/{digest}\n"),
        "messages/".to_owned(),
        digest,
        "\u{1b}[2J".to_owned(),
    ];
    for name in names {
        let bundle = tampered(|m| {
            m[4] = m[4].clone().with(|fields| {
                fields.name = [0; 100];
                fields.name[..name.len()].copy_from_slice(name.as_bytes());
            });
        });
        assert_corrupt(&bundle, "where a message or the end was expected");
        assert!(!read(&bundle).unwrap_err().to_string().chars().any(char::is_control));
    }
    let not_text = tampered(|m| m[4] = m[4].clone().with(|fields| fields.name[10] = 0xff));
    assert_corrupt(&not_text, "not UTF-8");
    let prefixed = tampered(|m| m[4] = m[4].clone().with(|fields| fields.prefix[0] = b'x'));
    assert_corrupt(&prefixed, "prefix");
}

#[test]
fn anything_but_regular_files_in_the_plain_format_is_refused() {
    // Old regular file, hard link, symbolic link, devices, directory, FIFO, contiguous file; then the extensions of GNU
    // (long name, long link, sparse) and pax (local, global), and one that nobody has defined.
    for kind in *b"\x001234567LKSxgZ" {
        for at in [0, 4] {
            let bundle = tampered(|m| m[at] = m[at].clone().with(|fields| fields.typeflag = [kind]));
            assert_corrupt(&bundle, "not a regular file");
        }
    }
    let pax = tampered(|m| {
        m.insert(
            4,
            RawMember::new("PaxHeaders/x", b"30 path=messages/../../x\n").with(|fields| fields.typeflag = *b"x"),
        );
    });
    assert_corrupt(&pax, "not a regular file");
    let gnu = tampered(|m| m[4] = m[4].clone().with(|fields| (fields.magic, fields.version) = (*b"ustar ", *b" \0")));
    assert_corrupt(&gnu, "not in the ustar format");
    let version = tampered(|m| m[4] = m[4].clone().with(|fields| fields.version = *b"01"));
    assert_corrupt(&version, "not in the ustar format");
    let link = tampered(|m| m[4] = m[4].clone().with(|fields| fields.linkname[0] = b'x'));
    assert_corrupt(&link, "names a link");
}

#[test]
fn a_header_that_could_be_understood_in_two_ways_is_refused() {
    let checksum = tampered(|m| m[4].header.as_ustar_mut().unwrap().cksum = *b"0000000\0");
    assert_corrupt(&checksum, "checksum is wrong");
    // Nothing, not octal, signed, text after the number, and the binary form of GNU tar.
    let binary = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 21];
    for size in [*b"\0\0\0\0\0\0\0\0\0\0\0\0", *b"00000000009\0", *b"-0000000025\0", *b"025\0 garbage", binary] {
        let bundle = tampered(|m| m[4] = m[4].clone().with(|fields| fields.size = size));
        assert_corrupt(&bundle, "not an octal number");
    }
    let padding = {
        let mut bytes = archive(&Sample::new().members());
        *bytes.last_mut().unwrap() = b'x';
        compress(&[bytes, vec![0; 2 * BLOCK]].concat())
    };
    assert_corrupt(&padding, "not padded with zeros");
}

#[test]
fn an_absurd_size_is_refused_and_takes_no_memory() {
    let absurd = |at: usize| {
        let size = *b"77777777777\0";
        let mut members = Sample::new().members();
        members[at] = members[at].clone().with(|fields| fields.size = size);
        compress(&archive(&members))
    };
    assert_too_large(&absurd(0), "manifest.json");
    assert_too_large(&absurd(1), "manifest.json.sig");
    assert_corrupt(&absurd(2), "not of the size that the manifest says");
    assert_too_large(&absurd(3), "jobs.jsonl");
    assert_corrupt(&absurd(4), "more than the manifest says");
    // Within the limit, but not there.
    let mut members = Sample::new().members();
    members[0] = members[0].clone().with(|fields| fields.size = *b"00010000000\0");
    assert_corrupt(&compress(&archive(&members)), "ends without an end marker");
}

#[test]
fn an_archive_without_its_end_marker_is_refused() {
    let bytes = archive(&Sample::new().members());
    for (zeros, why) in [
        (0, "without an end marker"),
        (1, "without an end marker"),
        (BLOCK, "without an end marker"),
        (2 * BLOCK - 1, "without an end marker"),
    ] {
        assert_corrupt(&compress(&[bytes.clone(), vec![0; zeros]].concat()), why);
    }
    let half = [bytes, vec![0; BLOCK], vec![b'x'; BLOCK]].concat();
    assert_corrupt(&compress(&half), "half an end marker");
}

#[test]
fn an_archive_is_followed_by_some_zeros_at_most() {
    let bytes = archive(&Sample::new().members());
    let padded = |zeros: u64| [bytes.as_slice(), &vec![0; 2 * BLOCK + usize::try_from(zeros).unwrap()]].concat();
    assert!(read(&compress(&padded(limits::PADDING_BYTES))).is_ok());
    assert_too_large(&compress(&padded(limits::PADDING_BYTES + 1)), "padding");
    assert_too_large(&compress(&padded(1 << 30)), "padding");
    assert_corrupt(&compress(&[padded(100), b"x".to_vec()].concat()), "something stands behind");
    assert_corrupt(&compress(&[padded(0), bytes.clone()].concat()), "something stands behind");
}

#[test]
fn a_frame_that_decompresses_without_end_is_left_early() {
    let sample = Sample::new();
    let bomb = |members: &[RawMember]| {
        let mut bytes = archive(members);
        bytes.resize(bytes.len() + (1 << 30), b' ');
        compress(&bytes)
    };
    let mut members = sample.members();
    members.truncate(2);
    assert_corrupt(&bomb(&members), "not in the ustar format");
    members.push(RawMember { data: Vec::new(), ..sample.members()[2].clone() });
    assert_too_large(
        &{
            let mut members = members.clone();
            let bytes = 1 << 30;
            let mut manifest = sample.manifest.clone();
            manifest.entries.bytes = bytes;
            let json = manifest.to_json();
            members[0] = RawMember::new("manifest.json", &json);
            members[1] = RawMember::new("manifest.json.sig", key().sign(&json).unwrap().to_armor().as_bytes());
            members[2].header.set_size(bytes);
            members[2].header.set_cksum();
            bomb(&members)
        },
        "line",
    );
}

#[test]
fn a_frame_without_checksum_is_refused() {
    let bytes = [archive(&Sample::new().members()), vec![0; 2 * BLOCK]].concat();
    assert_corrupt(&zstd::encode_all(bytes.as_slice(), 3).unwrap(), "no checksum");
}

#[test]
fn a_frame_that_takes_too_much_memory_is_refused() {
    let bytes = [archive(&Sample::new().members()), vec![0; 2 * BLOCK]].concat();
    let with_window = |log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.window_log(log).unwrap();
        // In two pieces: of a single one zstd would know the size, and choose a window no larger.
        encoder.write_all(&bytes[..BLOCK]).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&bytes[BLOCK..]).unwrap();
        encoder.finish().unwrap()
    };
    assert!(read(&with_window(27)).is_ok());
    assert_too_large(&with_window(28), "window");
    assert_too_large(&with_window(31), "window");
    // A frame of one segment, which names the size of its contents in place of a window: 4 GiB.
    let segment = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa4], &u32::MAX.to_le_bytes()[..], &[0; 100]].concat();
    assert_too_large(&segment, "window");
}

#[test]
fn a_frame_that_needs_a_dictionary_is_refused() {
    let mut bundle = Sample::new().bundle();
    bundle[4] |= 1;
    assert_corrupt(&bundle, "sets bits that no bundle has");
}
