//! Bundles that no writer makes, and a reader's answers to them.

use std::io::{self, BufReader, Read, Write as _};

use super::archive::BLOCK;
use super::testing::{
    Failing, RawMember, Sample, Slow, archive, assert_corrupt, assert_too_large, assert_untrue, bundle_of, compress,
    entry, folder, key, read, stamp, tampered, with_entries, with_manifest_text,
};
use super::{Error, PrivateKey, Record, Stream, limits};
use crate::model::{Digest, FolderState, Mtime, PassesOver};

#[test]
fn what_the_tests_tamper_with_is_good_before() {
    assert!(read(&tampered(|_| {})).is_ok());
    assert!(read(&with_manifest_text(|json| json)).is_ok());
}

/// A zstd frame can hold the same contents in other bits: the window only tells how much memory decompression takes,
/// the tables of the entropy coder end with unused bits (RFC 8878, section 4.1.1), and one repetition can be copied
/// from either of two places. The frame's checksum and the signature are over the contents, so nothing else can change.
#[test]
fn a_bundle_with_any_byte_changed_is_refused_or_holds_the_very_same() {
    let bundle = Sample::new().bundle();
    let good = read(&bundle).unwrap();
    let (mut tried, mut same) = (0, 0);
    for at in 0..bundle.len() {
        for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
            let mut bundle = bundle.clone();
            bundle[at] ^= flip;
            tried += 1;
            if let Ok(contents) = read(&bundle) {
                assert_eq!(contents, good, "byte {at} ^ {flip:#04x}");
                same += 1;
            }
        }
    }
    assert!(same * 100 < tried, "{same} of {tried}");
}

#[test]
fn an_archive_with_any_byte_changed_is_refused() {
    let lacking = zstd::decode_all(Sample::new().bundle_lacking_one().as_slice()).unwrap();
    let names_what_lacks = lacking.windows(12).position(|name| name == b"missing.json").unwrap();
    let whole = [archive(&Sample::new().members()), vec![0; 2 * BLOCK]].concat();
    for (bytes, from) in [(whole, 0), (lacking, names_what_lacks)] {
        let good = read(&compress(&bytes)).unwrap();
        for at in from..bytes.len() {
            for flip in [0x01, 0x20, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                match read(&compress(&changed)) {
                    Err(_) => {}
                    // A checksum may be ended by either.
                    Ok(contents) if bytes[at] == 0 && changed[at] == b' ' => assert_eq!(contents, good),
                    Ok(_) => panic!("byte {at} ^ {flip:#04x} went unseen"),
                }
            }
        }
    }
}

#[test]
fn a_bundle_cut_off_anywhere_is_called_so() {
    let bundle = Sample::new().bundle();
    assert!(matches!(read(b""), Err(Error::Empty)));
    for length in 1..bundle.len() {
        let result = read(&bundle[..length]);
        assert!(matches!(result, Err(Error::Truncated)), "{length} of {}: {result:?}", bundle.len());
    }
    // The second of two as well.
    for length in 1..bundle.len() {
        let result = read(&[&bundle, &bundle[..length]].concat());
        assert!(matches!(result, Err(Error::Truncated)), "{length} of {}: {result:?}", bundle.len());
    }
}

#[test]
fn what_a_sender_could_not_read_is_known_to_be_missing() {
    let sample = Sample::new();
    let contents = read(&[sample.bundle_lacking_one(), sample.bundle()].concat()).unwrap();
    assert_eq!((contents.missing, contents.messages.len()), (1, 3));
    let mut stream = sample.bundle_lacking_one();
    stream.extend(sample.bundle_lacking_one());
    let mut stream = Stream::new(stream.as_slice());
    stream.next_bundle().unwrap().unwrap().read_unverified().drain_verified().unwrap();
    stream.next_bundle().unwrap().unwrap().verify(&key().public_key()).unwrap().drain_verified().unwrap();
    assert!(stream.next_bundle().unwrap().is_none());
}

#[test]
fn the_list_of_what_is_missing_has_a_limit_before_it_is_read() {
    let sample = Sample::new();
    let mut members = sample.members();
    members.truncate(members.len() - 2);
    members.push(RawMember::new("missing.json", &vec![b' '; usize::try_from(limits::MISSING_BYTES).unwrap() + 1]));
    assert_too_large(&bundle_of(&members), "missing.json");
    members.pop();
    members.push(RawMember::new("missing.json", b"{}\n"));
    members
        .push(RawMember::new("missing.json.sig", &vec![b'A'; usize::try_from(limits::SIGNATURE_BYTES).unwrap() + 1]));
    assert_too_large(&bundle_of(&members), "missing.json.sig");
}

#[test]
fn several_bundles_one_after_the_other_are_read_one_after_the_other() {
    let (first, mut second) = (Sample::new(), Sample::new());
    second.manifest.number += 1;
    let stream = [first.bundle(), second.bundle()].concat();
    let contents = read(&stream).unwrap();
    assert_eq!(contents.manifests, [first.manifest, second.manifest]);
    assert_eq!(contents.messages.len(), 4);
}

#[test]
fn a_bundle_can_be_passed_over_in_every_way() {
    let bundle = Sample::new().bundle();
    let six = bundle.repeat(6);
    let mut stream = Stream::new(six.as_slice());
    let mut passed = 0;
    while let Some(reader) = stream.next_bundle().unwrap() {
        passed += 1;
        match passed {
            2 => reader.read_unverified().skip().unwrap(),
            3 => reader.verify(&key().public_key()).unwrap().drain_verified().unwrap(),
            4 => {
                let jobs = reader.read_unverified().records(|_| Ok::<_, Error>(())).unwrap();
                jobs.jobs(&mut io::sink()).unwrap().skip().unwrap();
            }
            5 => {
                let jobs = reader.read_unverified().records(|_| Ok::<_, Error>(())).unwrap();
                let mut messages = jobs.jobs(&mut io::sink()).unwrap();
                // The first is begun only, the second left to `finish`.
                let mut message = messages.next_message().unwrap().unwrap();
                message.read_exact(&mut [0; 3]).unwrap();
                messages.finish().unwrap();
            }
            _ => reader.skip().unwrap(),
        }
    }
    assert_eq!(passed, 6);
}

#[test]
fn a_bundle_that_is_passed_over_is_not_looked_at_but_its_end_is_found() {
    let bundle = Sample::new().bundle();
    let skip = |stream: &[u8]| {
        let mut stream = Stream::new(BufReader::with_capacity(7, stream));
        let mut skipped = 0;
        while let Some(reader) = stream.next_bundle()? {
            reader.skip()?;
            skipped += 1;
        }
        Ok::<_, Error>(skipped)
    };
    assert_eq!(skip(&bundle.repeat(3)).unwrap(), 3);
    for length in 1..bundle.len() {
        let result = skip(&[&bundle, &bundle[..length]].concat());
        assert!(matches!(result, Err(Error::Truncated)), "{length} of {}: {result:?}", bundle.len());
    }
    // What follows a manifest is not decompressed: 64 MiB of it cost no more than their few bytes.
    let mut bytes = archive(&Sample::new().members()[..2]);
    bytes.resize(bytes.len() + (64 << 20), b' ');
    assert_eq!(skip(&[compress(&bytes), bundle].concat()).unwrap(), 2);
}

#[test]
fn a_frame_without_end_is_not_passed_over_without_end() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&archive(&Sample::new().members()[..2])).unwrap();
    encoder.flush().unwrap();
    // A block that is not the last one, and is stored as it is (RFC 8878, section 3.1.1.2).
    let block = [&(100_000_u32 << 3).to_le_bytes()[..3], &vec![0; 100_000]].concat();
    let long = block.repeat(500);
    let mut stream = Stream::new(BufReader::new(encoder.get_ref().chain(&long[..])));
    let reader = stream.next_bundle().unwrap().unwrap();
    assert!(matches!(reader.skip(), Err(Error::Corrupt { .. })));
}

#[test]
fn something_else_is_not_a_bundle() {
    for other in [b"From: me".as_slice(), b"\0", b"PK\x03\x04 a zip", &compress(b"Subject: hi\n\nA compressed mail.\n")]
    {
        assert!(matches!(read(other), Err(Error::NotABundle { .. })));
    }
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0];
    assert!(matches!(read(&skippable), Err(Error::NotABundle { .. })));
    let elsewhere = with_manifest_text(|json| json.replace("mailsync-bundle", "other-bundle"));
    assert!(matches!(read(&elsewhere), Err(Error::NotABundle { .. })));
}

#[test]
fn something_that_follows_a_bundle_is_refused() {
    let bundle = Sample::new().bundle();
    for (behind, shown) in [(&b"garbage"[..], "\"garbage\""), (b"\0", "\"\\0\"")] {
        let wrong = read(&[&bundle, behind].concat()).unwrap_err();
        assert!(matches!(wrong, Error::Behind { .. }), "{wrong:?}");
        assert_eq!(wrong.to_string(), format!("what stands behind the bundle is no other one: it begins with {shown}"));
    }
}

#[test]
fn a_source_that_fails_is_not_called_a_corrupt_bundle() {
    let bundle = Sample::new().bundle();
    for length in 0..bundle.len() {
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::InvalidData] {
            let source = BufReader::with_capacity(100, Failing(&bundle[..length], kind));
            let mut stream = Stream::new(source);
            let result = stream.next_bundle().and_then(|reader| reader.unwrap().read_unverified().drain_verified());
            assert!(matches!(&result, Err(Error::Io(e)) if e.kind() == kind), "{length}: {result:?}");
        }
    }
}

#[test]
fn a_source_that_gives_single_bytes_and_interruptions_is_read_as_well() {
    let bundle = Sample::new().bundle().repeat(2);
    let mut stream = Stream::new(BufReader::new(Slow::of(&bundle)));
    for _ in 0..2 {
        stream.next_bundle().unwrap().unwrap().read_unverified().drain_verified().unwrap();
    }
    assert!(stream.next_bundle().unwrap().is_none());
}

#[test]
fn a_full_disk_is_not_called_a_corrupt_bundle() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bundle = Sample::new().bundle();
    let mut stream = Stream::new(bundle.as_slice());
    let reader = stream.next_bundle().unwrap().unwrap();
    let jobs = reader.read_unverified().records(|_| Ok::<_, Error>(())).unwrap();
    assert!(matches!(jobs.jobs(&mut Full), Err(Error::Sink(e)) if e.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn a_manifest_that_lies_about_what_follows_is_found_out() {
    let lie = |change: fn(&mut Sample)| {
        let mut sample = Sample::new();
        change(&mut sample);
        bundle_of(&sample.members())
    };
    assert_corrupt(&lie(|s| s.manifest.counts.folders += 1), "not as many records");
    assert_corrupt(&lie(|s| s.manifest.counts.entries -= 1), "not as many records");
    assert_corrupt(&lie(|s| s.manifest.counts.jobs += 1), "not as many jobs");
    assert_corrupt(&lie(|s| s.manifest.counts.messages += 1), "fewer than the manifest says");
    assert_corrupt(&lie(|s| s.manifest.counts.messages -= 1), "more than the manifest says");
    assert_corrupt(&lie(|s| s.manifest.counts.messages = u64::MAX), "fewer than the manifest says");
    assert_corrupt(&lie(|s| s.manifest.bytes += 1), "fewer than the manifest says");
    assert_corrupt(&lie(|s| s.manifest.bytes -= 1), "more than the manifest says");
    assert_corrupt(&lie(|s| s.manifest.bytes = 0), "more than the manifest says");
    assert_corrupt(&lie(|s| s.manifest.entries.bytes += 1), "not of the size");
    assert_corrupt(&lie(|s| s.manifest.entries.sha256 = Digest::of(b"")), "not what the manifest vouches for");
    assert_corrupt(&lie(|s| s.manifest.jobs.as_mut().unwrap().bytes += 1), "not of the size");
    assert_corrupt(&lie(|s| s.manifest.jobs.as_mut().unwrap().sha256 = Digest::of(b"")), "not what the manifest");
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let wrong = |change: fn(&mut Sample)| {
        let mut sample = Sample::new();
        change(&mut sample);
        bundle_of(&sample.members())
    };
    assert_untrue(&wrong(|s| s.manifest.issued.reverse()), "issued");
    assert_untrue(&wrong(|s| s.manifest.issued = vec![stamp(4).clock; 2]), "issued");
    assert_corrupt(&wrong(|s| s.manifest.wants = vec![Digest::of(b"x"); 2]), "wants");
    assert_corrupt(&wrong(|s| s.manifest.passes_over = Some(PassesOver::default())), "passes_over");
    assert_corrupt(&wrong(|s| s.manifest.sender.name.clear()), "name");
    assert_corrupt(&wrong(|s| s.manifest.sender.name = "\u{1b}[2J".to_owned()), "name");
    assert_corrupt(&wrong(|s| s.manifest.sender.name = "x".repeat(256)), "name");
    assert_corrupt(&wrong(|s| s.manifest.counts.jobs = 0), "jobs");
    assert_corrupt(&wrong(|s| s.manifest.jobs = None), "jobs");
    assert_untrue(
        &wrong(|s| {
            s.manifest.kind = super::BundleKind::Full;
            s.manifest.base = s.manifest.tip.clone();
        }),
        "full",
    );
}

#[test]
fn a_manifest_that_is_not_one_is_refused() {
    assert_corrupt(&with_manifest_text(|_| String::new()), "manifest.json");
    assert_corrupt(&with_manifest_text(|json| json.replace('{', "[")), "manifest.json");
    assert_corrupt(&with_manifest_text(|json| json + "{}"), "manifest.json");
    assert_corrupt(&with_manifest_text(|json| json.replace("\"number\": 7", "\"number\": -7")), "manifest.json");
    assert_corrupt(&with_manifest_text(|json| json.replace("\"number\": 7,", "")), "number");
    assert_corrupt(
        &with_manifest_text(|json| json.replace("\"number\": 7,", "\"number\": 7, \"number\": 8,")),
        "number",
    );
    assert_corrupt(&with_manifest_text(|json| json.replace("\"version\": 1", "\"version\": 0")), "version");
    assert_corrupt(&with_manifest_text(|json| json.replace("\"version\": 1", "\"version\": \"1\"")), "manifest.json");
    assert_corrupt(&with_manifest_text(|json| json.replace("delta", "gamma")), "manifest.json");
    assert_corrupt(&with_manifest_text(|_| "[".repeat(1 << 20)), "manifest.json");
}

#[test]
fn a_field_that_came_later_is_no_obstacle() {
    let later = with_manifest_text(|json| json.replacen('{', "{ \"later\": {\"x\": [1, null]},", 1));
    assert!(read(&later).is_ok());
}

#[test]
fn a_newer_format_is_called_so_whatever_else_has_changed() {
    let newer = |json: &str| {
        let json = json.to_owned();
        match read(&with_manifest_text(|_| json)) {
            Err(Error::NewerFormat { what }) => what,
            other => panic!("expected to be told of a newer format, not {other:?}"),
        }
    };
    assert_eq!(newer(r#"{"version": 2, "format": "mailsync-bundle"}"#), "format version 2");
    assert_eq!(newer(r#"{"format": "mailsync-bundle", "version": 3, "features": {}, "kind": 9}"#), "format version 3");
    let feature = r#"{"format": "mailsync-bundle", "version": 1, "features": ["patches"], "kind": "third"}"#;
    assert_eq!(newer(feature), "the feature \"patches\"");
}

#[test]
fn a_signature_that_does_not_hold_is_refused() {
    let bad = |bundle: &[u8]| matches!(read(bundle), Err(Error::BadSignature { .. }));
    let json = Sample::new().manifest.to_json();
    let with_signature = |text: &[u8]| tampered(|m| m[1] = RawMember::new("manifest.json.sig", text));

    let other_bytes = key().sign(b"something else").unwrap().to_armor();
    assert!(bad(&with_signature(other_bytes.as_bytes())), "over other bytes");
    let elsewhere = key().sign_for("file", &json).unwrap().to_armor();
    assert!(bad(&with_signature(elsewhere.as_bytes())), "in another namespace");
    assert!(bad(&with_signature(b"")), "none");
    assert!(bad(&with_signature(b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")), "garbage");
    let changed = tampered(|m| {
        let at = m[0].data.iter().position(|&byte| byte == b'7').unwrap();
        m[0].data[at] = b'8';
    });
    assert!(bad(&changed), "over a manifest that was changed");
}

#[test]
fn another_signer_than_the_expected_one_is_named() {
    let mallory = PrivateKey::from_seed([2; 32]);
    let json = Sample::new().manifest.to_json();
    let forged = mallory.sign(&json).unwrap().to_armor();
    let bundle = tampered(|m| m[1] = RawMember::new("manifest.json.sig", forged.as_bytes()));
    let wrong_signer = |result: Result<_, Error>| match result {
        Err(Error::WrongSigner { expected, found }) => (expected, found),
        other => panic!("expected to be told of a wrong signer, not {other:?}"),
    };
    let ids = (key().public_key().id(), mallory.public_key().id());
    assert_eq!(wrong_signer(read(&bundle).map(drop)), ids);

    // Checked against the forger's own key, the sender that the manifest names is another.
    let mut stream = Stream::new(bundle.as_slice());
    let reader = stream.next_bundle().unwrap().unwrap();
    assert_eq!(reader.signer(), mallory.public_key());
    assert_eq!(wrong_signer(reader.verify(&mallory.public_key()).map(drop)), (ids.1, ids.0));
}

#[test]
fn a_message_with_other_contents_is_refused_however_it_is_read() {
    let bundle = tampered(|m| m[5].data[9] ^= 1);
    assert_corrupt(&bundle, "has other contents");
    let mut stream = Stream::new(bundle.as_slice());
    let reader = stream.next_bundle().unwrap().unwrap();
    let drained = reader.verify(&key().public_key()).unwrap().drain_verified();
    assert!(matches!(drained, Err(Error::Corrupt { .. })));
    let mut stream = Stream::new(bundle.as_slice());
    let reader = stream.next_bundle().unwrap().unwrap();
    reader.skip().unwrap();
}

#[test]
fn records_out_of_order_are_refused() {
    let mut lines = Vec::new();
    Sample::new().spool().copy_to(&mut lines).unwrap();
    let lines: Vec<_> = lines.split_inclusive(|&byte| byte == b'\n').collect();
    let in_order = |order: [usize; 5]| with_entries(&order.map(|i| lines[i]).concat(), 2, 3);
    assert!(read(&in_order([0, 1, 2, 3, 4])).is_ok());
    assert_corrupt(&in_order([1, 0, 2, 3, 4]), "line 2: the folders are not in ascending order");
    assert_corrupt(&in_order([0, 0, 2, 3, 4]), "line 2: the folders are not in ascending order");
    assert_corrupt(&in_order([0, 2, 1, 3, 4]), "line 3: a folder stands after an entry");
    assert_corrupt(&in_order([0, 1, 3, 2, 4]), "line 4: the entries are not in ascending order");
    assert_corrupt(&in_order([0, 1, 2, 4, 3]), "line 5: the entries are not in ascending order");
    assert_corrupt(&in_order([0, 1, 2, 2, 3]), "line 4: the entries are not in ascending order");
}

#[test]
fn a_line_that_is_no_record_is_refused() {
    let mut sample = Sample::new();
    let (id, entry) = entry(b"x", "INBOX", Mtime::new(5, 6));
    sample.records = vec![Record::Entry { id, entry }];
    let mut line = Vec::new();
    sample.spool().copy_to(&mut line).unwrap();
    let line = String::from_utf8(line).unwrap();
    let wrong = |from: &str, to: &str| {
        assert!(line.contains(from), "{line}");
        with_entries(line.replace(from, to).as_bytes(), 0, 1)
    };
    let digest = Digest::of(b"x").to_string();
    assert!(matches!(read(&wrong("INBOX", "Sent")), Ok(contents) if contents.records.len() == 1));
    assert_corrupt(&wrong("INBOX", "../../etc"), "folder name");
    assert_corrupt(&wrong("INBOX", "a\\u0000b"), "folder name");
    assert_corrupt(&wrong("\"entry\"", "\"message\""), "unknown variant");
    assert_corrupt(&wrong("\"entry\"", "\"\\u001b[2J\""), "unknown variant");
    assert_corrupt(&wrong(&digest, &digest[1..]), "digest");
    assert_corrupt(&wrong("\"mtime\":5", "\"mtime\":5.0"), "line 1");
    assert_corrupt(&wrong("\"mtime\":5", "\"mtime\":9223372036854775807"), "mtime");
    assert_corrupt(&wrong("\"mtime_ns\":6", "\"mtime_ns\":1000000000"), "mtime");
    assert_corrupt(&wrong("\"size\":1", "\"size\":-1"), "line 1");
    assert_corrupt(&wrong("\"size\":1", "\"size\":8589934592"), "8589934592 bytes");
    assert_corrupt(&wrong("\"S\"", "\"SS\""), "flag");
    assert_corrupt(&wrong("\"flags\":{", "\"flags\":{\"S\":[\"0000000000000001-0000000000000001\",false],"), "twice");
    assert_corrupt(&wrong("\n", " {}\n"), "line 1");
    assert_corrupt(&wrong("\n", ""), "no end");
    assert_corrupt(&wrong("\n", "\n\n"), "line 2");
    assert_corrupt(&wrong("\n", "\r\n\0\n"), "line 2");
    let flags: Vec<_> = (0..=limits::FLAGS).map(|n| format!("\"keyword:{n}\":[\"{}\",true]", stamp(1))).collect();
    let many = |n: usize| wrong("\"flags\":{", &format!("\"flags\":{{{},", flags[..n].join(",")));
    assert!(read(&many(limits::FLAGS - 1)).is_ok());
    assert_corrupt(&many(limits::FLAGS), "flags");
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let long = |length: u64| {
        let spaces = usize::try_from(length).unwrap();
        let state = FolderState { stamp: stamp(1), present: true };
        let mut sample = Sample::new();
        sample.records = vec![Record::Folder { name: folder("INBOX"), state }];
        let mut line = Vec::new();
        sample.spool().copy_to(&mut line).unwrap();
        line.pop();
        line.resize(spaces, b' ');
        line.push(b'\n');
        with_entries(&line, 1, 0)
    };
    assert!(read(&long(limits::LINE_BYTES)).is_ok());
    assert_too_large(&long(limits::LINE_BYTES + 1), "line");
    assert_too_large(&long(100 << 20), "line");
}

#[test]
#[should_panic(expected = "was read to its end")]
fn a_stream_does_not_go_on_from_the_middle_of_a_bundle() {
    let bundle = Sample::new().bundle();
    let mut stream = Stream::new(bundle.as_slice());
    drop(stream.next_bundle().unwrap());
    let _ = stream.next_bundle();
}
