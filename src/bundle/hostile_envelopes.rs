//! Encrypted bundles that no writer would make, or that were changed on their way.

use std::io::{self, BufReader, Cursor, Read, Write};
use std::ops::ControlFlow;

use super::testing::{Failing, Sample, Slow, key, read_with};
use super::{
    Behind, Code, Error, Keys, PrivateKey, PublicKey, Stream, Wrapping, WriteError, each_manifest, limits,
    look_for_code,
};

/// The key of the one for whom bundles are encrypted.
fn reader() -> PrivateKey {
    PrivateKey::from_seed([2; 32])
}

fn keys() -> Keys {
    Keys::of([&reader()])
}

fn encrypt(readers: &[PublicKey], bytes: &[u8]) -> Vec<u8> {
    let mut out = Wrapping::for_readers(readers, Vec::new()).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A bundle of this number, encrypted for the reader.
fn sealed(number: u64) -> Vec<u8> {
    sealed_for(&[reader().public_key()], number)
}

fn sealed_for(readers: &[PublicKey], number: u64) -> Vec<u8> {
    encrypt(readers, &plain(number))
}

fn plain(number: u64) -> Vec<u8> {
    let mut sample = Sample::new();
    sample.manifest.number = number;
    sample.bundle()
}

/// The numbers of all bundles in a stream that can be opened, and how often one could not be; with a buffer of so many
/// bytes.
fn numbers(bytes: &[u8], buffer: usize, keys: Keys) -> Result<(Vec<u64>, usize), Error> {
    let mut stream = Stream::opened_by(BufReader::with_capacity(buffer, bytes), keys);
    let (mut numbers, mut others) = (Vec::new(), 0);
    loop {
        match stream.next_bundle() {
            Ok(Some(reader)) => {
                let number = reader.manifest().number;
                numbers.push(number);
                match number % 2 {
                    0 => reader.skip()?,
                    _ => reader.verify(&key().public_key())?.drain_verified()?,
                }
            }
            Ok(None) => return Ok((numbers, others)),
            Err(error) if error.is_for_others() => others += 1,
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn an_encrypted_bundle_is_read_as_any_other_by_each_of_those_it_is_for() {
    let other = PrivateKey::from_seed([3; 32]);
    let sample = Sample::new();
    let bundle = encrypt(&[reader().public_key(), other.public_key()], &sample.bundle());
    for keys in [keys(), Keys::of([&other]), Keys::of([&PrivateKey::from_seed([9; 32]), &other])] {
        let contents = read_with(&bundle, keys).unwrap();
        assert_eq!(contents.manifests, std::slice::from_ref(&sample.manifest));
        assert_eq!(contents.messages, sample.messages);
    }
    for keys in [Keys::none(), Keys::of([&PrivateKey::from_seed([9; 32])])] {
        assert!(matches!(read_with(&bundle, keys), Err(Error::Sealed)));
    }
}

/// One of several pieces.
fn large() -> Vec<u8> {
    let mut noise = 1_u64;
    let mut next = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.to_be_bytes()[0]
    };
    let mut sample = Sample::new();
    sample.messages = vec![(0..200_000).map(|_| next()).collect()];
    encrypt(&[reader().public_key()], &sample.counted().bundle())
}

/// Where the pieces of an age file begin, and where it ends.
fn pieces(bundle: &[u8]) -> Vec<usize> {
    let check = bundle.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 1;
    let first = check + bundle[check..].iter().position(|&byte| byte == b'\n').unwrap() + 1 + 16;
    let mut ends: Vec<usize> = (first..bundle.len()).step_by((64 << 10) + 16).collect();
    ends.push(bundle.len());
    ends
}

/// All places in a small one, and in a large one those at which something begins or ends.
fn places(bundle: &[u8]) -> Vec<usize> {
    if bundle.len() < 10_000 {
        return (0..bundle.len()).collect();
    }
    let mut places: Vec<usize> = (bundle.len() - 60..bundle.len()).collect();
    for at in pieces(bundle) {
        places.extend(at - 4..(at + 4).min(bundle.len()));
    }
    let (last, end) = (pieces(bundle)[pieces(bundle).len() - 2], bundle.len());
    places.extend([last - 30_000, last - 16, last + (end - last) / 2]);
    places
}

#[test]
fn an_encrypted_bundle_with_any_byte_changed_is_refused_and_not_called_cut_off() {
    for bundle in [sealed(1), large()] {
        let places = places(&bundle);
        let flips: &[u8] = if bundle.len() < 10_000 { &[0x20, 0xff] } else { &[0x04] };
        for (at, flip) in places.into_iter().flat_map(|at| flips.iter().map(move |flip| (at, flip))) {
            let mut changed = bundle.clone();
            changed[at] ^= flip;
            let read = read_with(&changed, keys());
            assert!(read.is_err(), "byte {at} of {} ^ {flip:#04x} went unseen", bundle.len());
            let is_another = matches!(read, Err(Error::Truncated | Error::Empty | Error::Io(_)));
            assert!(!is_another, "byte {at} of {} ^ {flip:#04x}: {read:?}", bundle.len());
            if at > pieces(&bundle)[0] {
                assert!(matches!(read, Err(Error::Corrupt { .. })), "byte {at}: {read:?}");
            }
        }
    }
}

#[test]
fn an_encrypted_bundle_cut_off_anywhere_is_called_so() {
    let bundle = sealed(1);
    let whole = read_with(&bundle, keys()).unwrap();
    let first = sealed(3);
    for bundle in [&bundle, &large()] {
        for length in places(bundle).into_iter().filter(|length| *length > 0) {
            let result = read_with(&bundle[..length], keys());
            assert!(matches!(result, Err(Error::Truncated)), "{length} of {}: {result:?}", bundle.len());
            // The second of two as well, of which the first one is whole.
            if length > 30 && length % 4 > 0 {
                continue;
            }
            let result = read_with(&[&first, &bundle[..length]].concat(), keys());
            assert!(matches!(result, Err(Error::Truncated)), "{length} of {}: {result:?}", bundle.len());
        }
    }
    let both = read_with(&[&first[..], &bundle].concat(), keys()).unwrap();
    assert_eq!((both.manifests.len(), &both.manifests[1]), (2, &whole.manifests[0]));
}

#[test]
fn one_without_a_mark_behind_it_is_read_and_one_with_half_a_mark_is_not() {
    let mut out = super::Sealer::new(&[reader().public_key()], Vec::new()).unwrap();
    out.write_all(&plain(1)).unwrap();
    assert_eq!(numbers(&out.finish().unwrap(), 4096, keys()).unwrap(), (vec![1], 0));
    for behind in
        [&super::ending::MARK[..31], &[&super::ending::MARK[..], b"x"].concat(), &[super::ending::MARK[0]; 32]]
    {
        let mut out = super::Sealer::new(&[reader().public_key()], Vec::new()).unwrap();
        out.write_all(&[&plain(1)[..], behind].concat()).unwrap();
        let result = numbers(&out.finish().unwrap(), 4096, keys());
        assert!(matches!(&result, Err(Error::Corrupt { what }) if what.contains("stands behind it")), "{result:?}");
    }
}

#[test]
fn bundles_stand_one_after_the_other_encrypted_or_not_whoever_can_open_them() {
    // The bundles; the numbers of those that can be opened; and how many can't.
    type Row = (Vec<Vec<u8>>, &'static [u64], usize);
    let other = PrivateKey::from_seed([3; 32]).public_key();
    let of_other = |number| sealed_for(std::slice::from_ref(&other), number);
    let table: [Row; 7] = [
        (vec![sealed(1)], &[1], 0),
        (vec![sealed(1), sealed(2), sealed(3)], &[1, 2, 3], 0),
        (vec![plain(1), plain(2), sealed(3), sealed(4)], &[1, 2, 3, 4], 0),
        (vec![of_other(1), sealed(2), of_other(3), sealed(5)], &[2, 5], 2),
        (vec![sealed(2), of_other(3)], &[2], 1),
        (vec![of_other(1)], &[], 1),
        (vec![plain(1), of_other(2), of_other(3)], &[1], 2),
    ];
    for (bundles, expected, others) in table {
        let stream = bundles.concat();
        for buffer in [1, 7, 21, 22, 23, 64, 1000, 1 << 16] {
            assert_eq!(numbers(&stream, buffer, keys()).unwrap(), (expected.to_vec(), others), "buffer {buffer}");
        }
    }
}

#[test]
fn what_is_not_encrypted_is_refused_behind_what_is() {
    let result = numbers(&[sealed(1), plain(3)].concat(), 4096, keys());
    assert!(matches!(&result, Err(Error::BehindSealed { .. })), "{result:?}");
}

#[test]
fn an_age_file_holds_one_bundle_and_nothing_else() {
    let only = |bytes: &[u8]| numbers(&encrypt(&[reader().public_key()], bytes), 4096, keys());
    assert!(matches!(only(&[plain(1), plain(3)].concat()), Err(Error::Corrupt { .. })));
    assert!(matches!(only(&[&plain(1)[..], b"x"].concat()), Err(Error::Corrupt { .. })));
    assert!(matches!(only(b"Subject: hello\n"), Err(Error::NotABundle { .. })));
    assert!(matches!(only(b""), Err(Error::NotABundle { .. })));
    // Encrypted twice is no bundle.
    assert!(matches!(only(&sealed(1)), Err(Error::NotABundle { .. })));
}

#[test]
fn a_header_that_is_too_large_is_not_even_looked_at() {
    let stanza = b"-> ssh-ed25519 xxxxxx xxxx\nxxxx\n";
    let absurd = [&b"age-encryption.org/v1\n"[..], &stanza.repeat(100_000), b"--- xxxx\n"].concat();
    assert!(matches!(numbers(&absurd, 4096, keys()), Err(Error::TooLarge { .. })));
    let many = [&b"age-encryption.org/v1\n"[..], &stanza.repeat(limits::ENVELOPE_STANZAS + 1), b"--- xxxx\n", &[0; 99]];
    assert!(matches!(numbers(&many.concat(), 4096, keys()), Err(Error::TooLarge { .. })));
    let endless = BufReader::new((&b"age-encryption.org/v1\n"[..]).chain(io::repeat(b'x')));
    assert!(matches!(Stream::opened_by(endless, keys()).next_bundle(), Err(Error::TooLarge { .. })));
    // What a writer may write is read.
    let mut readers: Vec<PublicKey> = (0..limits::ENVELOPE_STANZAS - 2)
        .map(|n| PrivateKey::from_seed([&n.to_le_bytes()[..], &[7; 24]].concat().try_into().unwrap()).public_key())
        .collect();
    readers.push(reader().public_key());
    assert_eq!(numbers(&sealed_for(&readers, 1), 4096, keys()).unwrap(), (vec![1], 0));
    readers.push(key().public_key());
    assert!(matches!(Wrapping::for_readers(&readers, Vec::new()), Err(WriteError::TooLarge { .. })));
}

#[test]
fn a_source_that_fails_is_not_called_a_damaged_bundle() {
    let bundle = sealed(1);
    for length in 0..bundle.len() {
        let source = BufReader::with_capacity(100, Failing(&bundle[..length], io::ErrorKind::ConnectionReset));
        let mut stream = Stream::opened_by(source, keys());
        let result = stream.next_bundle().and_then(|reader| reader.unwrap().read_unverified().drain_verified());
        assert!(
            matches!(&result, Err(Error::Io(e)) if e.kind() == io::ErrorKind::ConnectionReset),
            "{length} of {}: {result:?}",
            bundle.len()
        );
    }
}

#[test]
fn a_source_that_gives_single_bytes_and_interruptions_is_read_as_well() {
    let bundles = [sealed(1), sealed(2), sealed(3)].concat();
    let mut stream = Stream::opened_by(BufReader::new(Slow::of(&bundles)), keys());
    for number in 1..=3 {
        let reader = stream.next_bundle().unwrap().unwrap();
        assert!(reader.is_encrypted());
        match number {
            2 => reader.skip().unwrap(),
            _ => reader.read_unverified().drain_verified().unwrap(),
        }
    }
    assert!(stream.next_bundle().unwrap().is_none());
}

#[test]
fn an_outline_goes_behind_an_encrypted_bundle_only_if_it_must() {
    let outline = |bytes: &[u8], behind| {
        let mut numbers = Vec::new();
        let result = each_manifest(Cursor::new(bytes), &keys(), behind, |beginning| {
            numbers.push(beginning.manifest().number);
            ControlFlow::Continue(())
        });
        (numbers, result)
    };
    let all = [plain(1), sealed(2), sealed(3)].concat();
    let (found, result) = outline(&all, Behind::Left);
    assert_eq!(found, [1, 2]);
    result.unwrap();
    let (found, result) = outline(&all, Behind::Seen);
    assert_eq!(found, [1, 2, 3]);
    result.unwrap();
    // Whoever must know all is told if that can't be.
    let foreign = sealed_for(&[PrivateKey::from_seed([3; 32]).public_key()], 4);
    let (found, result) = outline(&[&all[..], &foreign].concat(), Behind::Seen);
    assert_eq!(found, [1, 2, 3]);
    assert!(matches!(result, Err(Error::Sealed)));
    // What stands behind that is found all the same.
    for (before, numbers) in [(&all[..], &[1, 2, 3, 5][..]), (&plain(1), &[1, 5]), (b"", &[5])] {
        let (found, result) = outline(&[before, &foreign, &sealed(5)].concat(), Behind::Seen);
        assert_eq!(found, numbers);
        assert!(matches!(result, Err(Error::Sealed)));
    }
    for behind in [&plain(5)[..], b"x"] {
        let (found, result) = outline(&[&sealed(2)[..], behind].concat(), Behind::Seen);
        assert!(found.is_empty(), "it is so small that it is authenticated as a whole");
        assert!(matches!(result, Err(Error::BehindSealed { .. })), "{result:?}");
    }
    assert!(matches!(outline(&foreign, Behind::Left), (found, Err(Error::Sealed)) if found.is_empty()));
}

fn code() -> Code {
    Code::parse("abandon-act-zoo-zebra-action-wrong").unwrap()
}

fn other_code() -> Code {
    Code::parse("abandon-act-zoo-zebra-action-zoo").unwrap()
}

fn by_code(code: &Code) -> Keys {
    keys().and_code(Some(code.clone()))
}

/// Encrypts with the code, as cheaply as that can be done: so that it can be tried often.
fn locked(work: u8, bytes: &[u8]) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(code().words().to_owned().into());
    recipient.set_work_factor(work);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut out = encryptor.wrap_output(Vec::new()).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn what_is_encrypted_with_a_code_is_read_with_that_code_only() {
    let mut out = Wrapping::with_code(&code(), Vec::new()).unwrap();
    out.write_all(&plain(1)).unwrap();
    let bundle = out.finish().unwrap();
    assert_eq!(numbers(&bundle, 4096, by_code(&code())).unwrap(), (vec![1], 0));
    let mut stream = Stream::opened_by(&bundle[..], by_code(&code()));
    let reader = stream.next_bundle().unwrap().unwrap();
    assert!(reader.is_encrypted() && reader.is_opened_by_code());
    for (keys, error) in [
        (keys(), "encrypted with a code"),
        (Keys::none(), "encrypted with a code"),
        (by_code(&other_code()), "the code doesn't open the bundle"),
    ] {
        let told = Stream::opened_by(&bundle[..], keys).next_bundle().unwrap_err();
        assert!(told.is_for_others() && told.to_string().contains(error), "{told}");
    }
    // A key that opens is not said to be the code, even if there is one.
    let sealed = sealed(1);
    let mut stream = Stream::opened_by(&sealed[..], by_code(&code()));
    assert!(!stream.next_bundle().unwrap().unwrap().is_opened_by_code());
    let plain = plain(1);
    let mut stream = Stream::opened_by(&plain[..], by_code(&code()));
    assert!(!stream.next_bundle().unwrap().unwrap().is_opened_by_code());
}

#[test]
fn what_is_encrypted_with_a_code_stands_among_other_bundles() {
    let all = [plain(1), sealed(2), locked(1, &plain(3)), sealed(4), locked(2, &plain(5))].concat();
    for buffer in [1, 22, 1000] {
        assert_eq!(numbers(&all, buffer, by_code(&code())).unwrap(), (vec![1, 2, 3, 4, 5], 0));
        assert_eq!(numbers(&all, buffer, keys()).unwrap(), (vec![1, 2, 4], 2));
        assert_eq!(numbers(&all, buffer, by_code(&other_code())).unwrap(), (vec![1, 2, 4], 2));
    }
}

#[test]
fn what_is_encrypted_with_a_code_is_refused_with_any_byte_changed_and_wherever_it_is_cut_off() {
    let bundle = locked(1, &plain(1));
    let header = bundle.windows(5).position(|bytes| bytes == b"\n--- ").unwrap();
    for at in 0..bundle.len() {
        let mut changed = bundle.clone();
        changed[at] ^= 1;
        let read = read_with(&changed, by_code(&code()));
        assert!(read.is_err(), "byte {at} of {} went unseen", bundle.len());
        // Whoever has changed the work factor doesn't make anybody work.
        assert!(at > header || !matches!(read, Err(Error::Io(_))), "byte {at}: {read:?}");
    }
    for length in 1..bundle.len() {
        let result = read_with(&bundle[..length], by_code(&code()));
        assert!(matches!(result, Err(Error::Truncated)), "{length}: {result:?}");
    }
}

#[test]
fn a_code_that_asks_for_absurd_work_is_not_tried() {
    let limit = limits::CODE_WORK;
    const { assert!(limits::DEFAULT_CODE_WORK <= limits::CODE_WORK) };
    let bundle = locked(1, &plain(1));
    let asks = |work: &str| {
        let line = bundle.split(|&byte| byte == b'\n').nth(1).unwrap();
        let stanza = String::from_utf8(line.to_vec()).unwrap();
        let (before, _) = stanza.rsplit_once(' ').unwrap();
        let rest = &bundle[b"age-encryption.org/v1\n".len() + line.len()..];
        let changed = [b"age-encryption.org/v1\n", format!("{before} {work}").as_bytes(), rest].concat();
        read_with(&changed, by_code(&code())).map(drop).unwrap_err()
    };
    // Each would take some terabytes, and hours.
    for work in [&format!("{}", limit + 1), "24", "40", "63"] {
        let error = asks(work);
        assert!(matches!(error, Error::TooLarge { limit, .. } if limit == u64::from(limits::CODE_WORK)), "{error}");
    }
    for work in ["0", "01", "64", "255", "256", "-1", "1.5", "", "x", "99999999999999999999"] {
        let error = asks(work);
        assert!(matches!(error, Error::TooLarge { .. } | Error::Corrupt { .. }), "{work}: {error}");
    }
    // Of whoever gives no code, none is asked.
    assert!(matches!(Stream::opened_by(&bundle[..], keys()).next_bundle(), Err(Error::Locked)));
}

#[test]
fn beside_a_code_stands_nothing_that_opens_too() {
    let (code_file, key_file) = (locked(1, &plain(1)), sealed(1));
    let stanzas = |file: &[u8]| {
        let end = file.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 1;
        file[b"age-encryption.org/v1\n".len()..end].to_vec()
    };
    let (by_code_one, by_key) = (stanzas(&code_file), stanzas(&key_file));
    let rest = &code_file[b"age-encryption.org/v1\n".len() + by_code_one.len()..];
    for both in [[&by_code_one[..], &by_key], [&by_key, &by_code_one], [&by_code_one, &by_code_one]] {
        let file = [b"age-encryption.org/v1\n", &both.concat()[..], rest].concat();
        for keys in [keys(), by_code(&code()), Keys::none()] {
            let error = Stream::opened_by(&file[..], keys).next_bundle().map(drop).unwrap_err();
            assert!(matches!(&error, Error::Corrupt { what } if what.contains("its encryption")), "{error}");
        }
    }
}

#[test]
fn a_source_is_as_it_was_after_a_look_for_a_code() {
    let locked = locked(1, &plain(1));
    for (bytes, expected) in [
        (&locked[..], true),
        (&locked[..32], true),
        (&locked[..31], false),
        (&sealed(1), false),
        (&plain(1), false),
        (b"", false),
        (b"age-encryption.org/v1\n-> scryptx", false),
    ] {
        for buffer in [1, 5, 64] {
            let (found, mut source) = look_for_code(BufReader::with_capacity(buffer, bytes)).unwrap();
            let mut all = Vec::new();
            source.read_to_end(&mut all).unwrap();
            assert_eq!((found, &all[..]), (expected, bytes));
        }
    }
}
