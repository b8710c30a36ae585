//! Outlines: the manifests of all bundles in a file, found without decompressing more than their beginnings.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use super::frame::{block, checksum_size, header_size};
use super::{Beginning, Cover, Error, Keys, Stream};

/// What is to be done behind an encrypted bundle. Nothing tells where it ends, short of reading all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// It is the last one that is looked at.
    Left,
    /// It is read to its end, and checked to be whole, to see what follows. One that no key opens is read as well, and not
    /// decrypted.
    Seen,
}

/// Gives the beginning of every bundle in a file to `visit`, in order, until it breaks off. It finds the next bundle by
/// the sizes of zstd's blocks, so a file of gigabytes costs next to nothing. Encrypted ones are opened with `keys`.
///
/// # Errors
/// The file holds something that is no bundle, or no key opens one, or it ends too early. The contents of the blocks
/// are not looked at, so bundles without an error may still be corrupt.
pub fn each_manifest<R: Read + Seek>(
    source: R,
    keys: &Keys,
    behind: Behind,
    mut visit: impl FnMut(&Beginning<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    each_cover(source, keys, behind, |cover| Ok(visit(&Beginning { manifest: &cover.manifest()?, cover: *cover })))
}

/// The same before anything of the manifests is understood: `visit` decides which are worth that.
///
/// # Errors
/// The same, and those of `visit`.
pub fn each_cover<R: Read + Seek>(
    mut source: R,
    keys: &Keys,
    behind: Behind,
    mut visit: impl FnMut(&Cover<'_>) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let mut at = 0;
    loop {
        source.seek(SeekFrom::Start(at))?;
        let mut stream = Stream::opened_by(BufReader::new(&mut source), keys.clone());
        match stream.next_unopened() {
            Err(Error::Empty) if at > 0 => return Ok(()),
            Err(sealed) if sealed.is_for_others() && behind == Behind::Seen => {
                return each_encrypted(&mut stream, Some(sealed), visit);
            }
            Err(other) if at > 0 => return Err(other.behind_one()),
            Err(other) => return Err(other),
            Ok(None) => return Ok(()),
            Ok(Some(reader)) => {
                if visit(&reader.cover())?.is_break() {
                    return Ok(());
                }
                if reader.cover().is_encrypted() {
                    return match behind {
                        Behind::Left => Ok(()),
                        Behind::Seen => {
                            reader.skip_checked()?;
                            each_encrypted(&mut stream, None, visit)
                        }
                    };
                }
            }
        }
        drop(stream);
        at = end_of_frame(&mut source, at)?;
    }
}

/// The same for the rest of a stream: behind an encrypted bundle all are encrypted. Those that no key opens are passed over,
/// and the first of them is the error at the end; `sealed` is one that came before.
fn each_encrypted<R: BufRead>(
    stream: &mut Stream<R>,
    mut sealed: Option<Error>,
    mut visit: impl FnMut(&Cover<'_>) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    loop {
        match stream.next_unopened() {
            Ok(None) => break,
            Ok(Some(reader)) => {
                if visit(&reader.cover())?.is_break() {
                    break;
                }
                reader.skip_checked()?;
            }
            Err(error) if error.is_for_others() => drop(sealed.get_or_insert(error)),
            Err(other) => return Err(other),
        }
    }
    sealed.map_or(Ok(()), Err)
}

/// Finds the end of the zstd frame that starts here (RFC 8878, section 3.1.1).
fn end_of_frame<R: Read + Seek>(source: &mut R, start: u64) -> Result<u64, Error> {
    const MAGIC: u64 = 4;
    source.seek(SeekFrom::Start(start + MAGIC))?;
    let [descriptor] = read(source)?;
    let mut at = start + MAGIC + header_size(descriptor);
    loop {
        source.seek(SeekFrom::Start(at))?;
        let (size, last) = block(read(source)?)?;
        at += 3 + size;
        if last {
            break;
        }
    }
    let checksum = checksum_size(descriptor);
    if checksum > 0 {
        source.seek(SeekFrom::Start(at))?;
        let _: [u8; 4] = read(source)?;
    }
    Ok(at + checksum)
}

fn read<const N: usize>(source: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated,
        _ => Error::Io(error),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::Options;
    use super::super::testing::Sample;
    use super::*;

    fn numbers(bytes: &[u8]) -> (Vec<u64>, Result<(), Error>) {
        let mut numbers = Vec::new();
        let result = each_manifest(Cursor::new(bytes), &Keys::none(), Behind::Seen, |beginning| {
            numbers.push(beginning.manifest().number);
            ControlFlow::Continue(())
        });
        (numbers, result)
    }

    /// One of many blocks: some that can't be compressed, some that hold the same byte again and again.
    fn large(number: u64) -> Vec<u8> {
        let mut sample = Sample::new();
        sample.manifest.number = number;
        let mut noise = 1_u64;
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        };
        sample.messages = vec![(0..500_000).map(|_| next()).collect(), vec![b'x'; 1_000_000]];
        sample.counted().bundle_with(&Options { level: 1, ..Options::default() })
    }

    fn small(number: u64) -> Vec<u8> {
        let mut sample = Sample::new();
        sample.manifest.number = number;
        sample.bundle()
    }

    #[test]
    fn every_bundle_of_a_file_is_found_by_the_sizes_of_its_blocks() {
        let (found, result) = numbers(&[large(1), small(2), large(3), small(4)].concat());
        assert_eq!(found, [1, 2, 3, 4]);
        result.unwrap();
    }

    #[test]
    fn wherever_a_file_ends_early_it_is_said_to() {
        let first = small(1);
        let both = [&first[..], &small(2)].concat();
        for length in (0..both.len()).filter(|length| *length != first.len()) {
            let (found, result) = numbers(&both[..length]);
            match result {
                Err(Error::Empty) => assert_eq!(length, 0),
                Err(Error::Truncated) => assert!(found.len() <= if length < first.len() { 1 } else { 2 }),
                other => panic!("{length} of {} bytes: {other:?}", both.len()),
            }
        }
        assert_eq!(numbers(&first).0, [1]);
    }

    #[test]
    fn what_is_no_bundle_is_said_to_be_none() {
        assert!(matches!(numbers(b"Subject: hello\n").1, Err(Error::NotABundle { .. })));
        let (found, result) = numbers(&[&small(1)[..], b"Subject: hello\n"].concat());
        assert_eq!(found, [1]);
        let wrong = result.unwrap_err();
        assert!(matches!(wrong, Error::Behind { .. }));
        assert!(wrong.to_string().ends_with(": it begins with \"Subject: hello\""), "{wrong}");
    }
}
