//! Writing a bundle, in one pass.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::thread::available_parallelism;

use sha2::{Digest as _, Sha256};

use super::archive::{BLOCK, header, padding};
use super::missing::{self, Missing};
use super::{Counts, Error, Manifest, PrivateKey, SpooledJobs, SpooledRecords, SpooledReplicas, WriteError, limits};
use crate::model::{Digest, Mtime};
use crate::read::read_some;

/// How a bundle is compressed. The same options and contents give the same bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// zstd's compression level.
    pub level: i32,
    /// The base-two logarithm of zstd's window, at most [`limits::WINDOW_LOG`]. `None` leaves it to the level: below 10 it is
    /// what zstd takes, from 10 on [`limits::DEFAULT_WINDOW_LOG`].
    pub window_log: Option<u32>,
    /// How many threads compress. The bytes don't depend on it.
    pub workers: NonZeroU32,
}

impl Default for Options {
    fn default() -> Self {
        let workers = available_parallelism().ok().and_then(|n| NonZeroU32::try_from(n).ok());
        Self { level: 3, window_log: None, workers: workers.unwrap_or(NonZeroU32::MIN) }
    }
}

impl Options {
    fn encoder<W: Write>(&self, out: W) -> Result<zstd::Encoder<'static, W>, WriteError> {
        // Whoever asks for such a level wants few bytes, and has time: mails that quote each other are looked for in a large
        // window. At the usual levels that would take a third more time.
        const FIRST_THOROUGH_LEVEL: i32 = 10;
        if self.window_log.is_some_and(|log| log > limits::WINDOW_LOG) {
            let what = "the base-two logarithm of the zstd window";
            return Err(WriteError::TooLarge { what, limit: limits::WINDOW_LOG.into() });
        }
        let is_thorough = self.level >= FIRST_THOROUGH_LEVEL;
        let window_log = self.window_log.or_else(|| is_thorough.then_some(limits::DEFAULT_WINDOW_LOG));
        let encoder = || {
            let mut encoder = zstd::Encoder::new(out, self.level)?;
            encoder.include_checksum(true)?;
            // Always with workers, even if only one: without them, zstd cuts its input up differently.
            encoder.multithread(self.workers.get())?;
            if let Some(log) = window_log {
                encoder.window_log(log)?;
            }
            encoder.long_distance_matching(is_thorough)?;
            Ok(encoder)
        };
        encoder().map_err(WriteError::Out)
    }
}

/// What a bundle passes on of what others have said.
#[derive(Debug, Default)]
pub struct Said {
    /// About replicas.
    pub replicas: SpooledReplicas,
    /// About jobs.
    pub jobs: Option<SpooledJobs>,
}

impl Said {
    /// Puts down how many lines there are.
    pub fn count_into(&self, counts: &mut Counts) {
        counts.replicas = self.replicas.lines();
        counts.jobs = self.jobs.as_ref().map_or(0, SpooledJobs::lines);
    }
}

impl From<Option<SpooledJobs>> for Said {
    fn from(jobs: Option<SpooledJobs>) -> Self {
        Self { replicas: SpooledReplicas::default(), jobs }
    }
}

/// Writes one bundle: its head when started, then messages, then its end.
///
/// After an error, or if it is dropped without [`Writer::finish`], the written bytes are no bundle. A reader finds them
/// cut off.
pub struct Writer<W: Write> {
    out: zstd::Encoder<'static, W>,
    messages: u64,
    bytes: u64,
    promised: (u64, u64),
    /// The promised messages that can't be brought, with their sizes.
    missing: BTreeMap<Digest, u64>,
    /// What the list of these is signed with, and the SHA-256 of the manifest, to which it belongs.
    signer: (PrivateKey, Digest),
}

impl<W: Write> Writer<W> {
    /// Writes manifest, signature, records and statements.
    ///
    /// # Errors
    /// If the manifest doesn't describe the records and statements, or names another sender than the key's; if something is
    /// above a limit; or if `out` fails.
    pub fn start(
        out: W,
        options: &Options,
        manifest: &Manifest,
        key: &PrivateKey,
        records: SpooledRecords,
        said: impl Into<Said>,
    ) -> Result<Self, WriteError> {
        let Said { replicas, jobs } = said.into();
        manifest.check().map_err(WriteError::inconsistent)?;
        manifest.claims().map_err(|error| match error {
            Error::TooLarge { what, limit } => WriteError::TooLarge { what, limit },
            Error::Untrue { what } => WriteError::inconsistent(what),
            other => WriteError::inconsistent(other.to_string()),
        })?;
        if manifest.sender.id != key.public_key().id() {
            return Err(WriteError::inconsistent("the manifest names another sender than the key's"));
        }
        if (manifest.entries, manifest.counts.folders, manifest.counts.entries)
            != (records.part(), records.folders(), records.entries())
        {
            return Err(WriteError::inconsistent("the manifest describes other records"));
        }
        let described = (manifest.jobs, manifest.counts.jobs);
        if described != (jobs.as_ref().map(SpooledJobs::part), jobs.as_ref().map_or(0, SpooledJobs::lines)) {
            return Err(WriteError::inconsistent("the manifest describes other jobs"));
        }
        if (manifest.replicas, manifest.counts.replicas) != (replicas.part(), replicas.lines()) {
            return Err(WriteError::inconsistent("the manifest describes other statements about replicas"));
        }
        let json = manifest.to_json();
        if json.len() as u64 > limits::MANIFEST_BYTES {
            return Err(WriteError::TooLarge { what: "the manifest's size", limit: limits::MANIFEST_BYTES });
        }
        let signature = key.sign(&json)?.to_armor();

        let mut writer = Self {
            out: options.encoder(out)?,
            messages: 0,
            bytes: 0,
            promised: (manifest.counts.messages, manifest.bytes),
            missing: BTreeMap::new(),
            signer: (key.clone(), Digest::of(&json)),
        };
        writer.member("manifest.json", &json, 0)?;
        writer.member("manifest.json.sig", signature.as_bytes(), 0)?;
        if replicas.lines() > 0 {
            writer.member("replicas.jsonl", replicas.text(), 0)?;
        }
        let size = records.part().bytes;
        writer.put(header("entries.jsonl", size, 0).as_bytes())?;
        records.copy_to(&mut writer.out)?;
        writer.pad(size)?;
        if let Some(jobs) = jobs {
            let size = jobs.part().bytes;
            writer.put(header("jobs.jsonl", size, 0).as_bytes())?;
            jobs.copy_to(&mut writer.out)?;
            writer.pad(size)?;
        }
        Ok(writer)
    }

    /// Writes a message from a reader, without keeping it in memory.
    ///
    /// # Errors
    /// If the reader fails or doesn't give exactly what `digest` and `size` say; if it is more
    /// than the manifest promises; or if `out` fails.
    pub fn message(
        &mut self,
        digest: Digest,
        size: u64,
        mtime: Mtime,
        contents: &mut impl Read,
    ) -> Result<(), WriteError> {
        self.begin_message(digest, size, mtime)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        let mut left = size;
        loop {
            let n = read_some(contents, &mut buffer).map_err(|source| WriteError::Message { digest, source })?;
            if n == 0 {
                break;
            }
            left = left.checked_sub(n as u64).ok_or(WriteError::Changed { digest })?;
            hasher.update(&buffer[..n]);
            self.put(&buffer[..n])?;
        }
        if left > 0 || Digest(hasher.finalize().into()) != digest {
            return Err(WriteError::Changed { digest });
        }
        self.pad(size)
    }

    /// Writes a message from memory. The caller has made sure that `digest` is that of `contents`.
    ///
    /// # Errors
    /// If it is more than the manifest promises; or if `out` fails.
    pub fn message_bytes(&mut self, digest: Digest, mtime: Mtime, contents: &[u8]) -> Result<(), WriteError> {
        debug_assert_eq!(Digest::of(contents), digest, "the caller has hashed the message");
        self.begin_message(digest, contents.len() as u64, mtime)?;
        self.put(contents)?;
        self.pad(contents.len() as u64)
    }

    /// Says, in the place of a promised message, that it can't be read. Whoever gets the bundle will want it.
    ///
    /// # Errors
    /// If it is more than the manifest promises, or was said before; or if too much is missing.
    pub fn leave_out(&mut self, digest: Digest, size: u64) -> Result<(), WriteError> {
        self.count(size)?;
        if self.missing.insert(digest, size).is_some() {
            return Err(WriteError::inconsistent("it lacks a message twice"));
        }
        if self.missing.len() as u64 > limits::MISSING {
            return Err(WriteError::TooLarge {
                what: "the number of messages that can't be read",
                limit: limits::MISSING,
            });
        }
        Ok(())
    }

    /// Ends the bundle and gives `out` back, not flushed.
    ///
    /// # Errors
    /// If there are fewer messages or bytes than the manifest promises, or if `out` fails.
    pub fn finish(mut self) -> Result<W, WriteError> {
        if (self.messages, self.bytes) != self.promised {
            return Err(WriteError::inconsistent("it lacks messages that the manifest promises"));
        }
        if !self.missing.is_empty() {
            let missing = Missing::new(self.signer.1, std::mem::take(&mut self.missing));
            let members = missing.to_members(&self.signer.0)?;
            for (name, contents) in missing::MEMBERS.into_iter().zip(members) {
                self.member(name, &contents, 0)?;
            }
        }
        self.put(&[0; 2 * BLOCK])?;
        self.out.finish().map_err(WriteError::Out)
    }

    fn begin_message(&mut self, digest: Digest, size: u64, mtime: Mtime) -> Result<(), WriteError> {
        if size > limits::MEMBER_BYTES {
            return Err(WriteError::TooLarge { what: "a message's size", limit: limits::MEMBER_BYTES });
        }
        self.count(size)?;
        self.put(header(&format!("messages/{digest}"), size, mtime.seconds()).as_bytes())
    }

    /// Counts a message.
    fn count(&mut self, size: u64) -> Result<(), WriteError> {
        self.messages += 1;
        self.bytes += size;
        let (messages, bytes) = self.promised;
        if self.messages > messages || self.bytes > bytes {
            return Err(WriteError::inconsistent("it has more messages than the manifest promises"));
        }
        Ok(())
    }

    fn member(&mut self, name: &str, contents: &[u8], mtime: i64) -> Result<(), WriteError> {
        let size = contents.len() as u64;
        self.put(header(name, size, mtime).as_bytes())?;
        self.put(contents)?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        self.put(&[0; BLOCK][..padding(size)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes).map_err(WriteError::Out)
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("messages", &self.messages).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, key, read};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let sample = Sample::new();
        let contents = read(&sample.bundle()).unwrap();
        assert_eq!(contents.manifests, [sample.manifest]);
        assert_eq!(contents.records, sample.records);
        assert_eq!(Some(contents.jobs), sample.jobs);
        assert_eq!(contents.messages, sample.messages);
    }

    #[test]
    fn what_is_said_of_replicas_comes_before_the_records_and_can_be_gone_over() {
        let mut sample = Sample::new();
        sample.replicas = vec![b"{\"one\":1}".to_vec(), b"what is no statement".to_vec()];
        let sample = sample.counted();
        let contents = read(&sample.bundle()).unwrap();
        assert_eq!((contents.manifests, contents.replicas), (vec![sample.manifest.clone()], sample.replicas.clone()));
        assert_eq!((contents.records, Some(contents.jobs)), (sample.records.clone(), sample.jobs.clone()));
        assert_eq!(sample.members()[2].data, b"{\"one\":1}\nwhat is no statement\n");
        let bundle = sample.bundle();
        let mut stream = super::super::Stream::new(bundle.as_slice());
        let reader = stream.next_bundle().unwrap().unwrap();
        reader.verify(&key().public_key()).unwrap().drain_verified().unwrap();
        assert!(stream.next_bundle().unwrap().is_none());
    }

    #[test]
    fn a_streamed_message_gives_the_same_bytes_as_one_from_memory() {
        let sample = Sample::new();
        let start = || {
            let options = Options::default();
            Writer::start(Vec::new(), &options, &sample.manifest, &key(), sample.spool(), sample.spool_jobs()).unwrap()
        };
        let mut writer = start();
        for message in &sample.messages {
            let size = message.len() as u64;
            let mtime = Mtime::new(1_500_000_000, 0);
            writer.message(Digest::of(message), size, mtime, &mut message.as_slice()).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), sample.bundle());
    }

    #[test]
    fn the_bytes_depend_on_the_contents_and_not_on_the_number_of_threads() {
        let mut sample = Sample::new();
        // More than what zstd gives to one of its threads at a time.
        let line = |n: u32| format!("{}\n", n.wrapping_mul(2_654_435_761)).into_bytes();
        sample.messages.push((0..2_000_000).flat_map(line).collect());
        let sample = sample.counted();
        let with =
            |workers| sample.bundle_with(&Options { workers: NonZeroU32::new(workers).unwrap(), ..Options::default() });
        let one = with(1);
        assert!(one.len() > 4 << 20, "{}", one.len());
        assert_eq!(one, with(1));
        assert_eq!(one, with(4));
    }

    #[test]
    fn at_thorough_levels_what_was_far_before_is_not_written_again() {
        let mut sample = Sample::new();
        // More than the window has that zstd takes at this level.
        let letter: Vec<u8> = (0..200_000_u32).flat_map(|n| Digest::of(&n.to_be_bytes()).0).take(5 << 20).collect();
        sample.messages.push([b"a letter: ", &letter[..]].concat());
        sample.messages.push([b"its quotation: ", &letter[..]].concat());
        let sample = sample.counted();
        let with = |level, workers| {
            sample.bundle_with(&Options { level, workers: NonZeroU32::new(workers).unwrap(), ..Options::default() })
        };
        let (usual, thorough) = (with(3, 2), with(10, 2));
        assert!(usual.len() > 2 * letter.len(), "{}", usual.len());
        assert!(thorough.len() < letter.len() + (64 << 10), "{}", thorough.len());
        assert_eq!(thorough, with(10, 1), "whatever the number of threads");
        assert_eq!(read(&thorough).unwrap().messages, sample.messages);
    }

    #[test]
    fn a_message_that_changed_meanwhile_is_refused() {
        let sample = Sample::new();
        let message = sample.messages[0].as_slice();
        let size = message.len() as u64;
        let mut other = message.to_vec();
        other[3] ^= 1;
        let longer = [message, b"x"].concat();
        for mut contents in [&message[1..], &longer, &other] {
            let mut writer = Writer::start(
                Vec::new(),
                &Options::default(),
                &sample.manifest,
                &key(),
                sample.spool(),
                sample.spool_jobs(),
            )
            .unwrap();
            let result = writer.message(Digest::of(message), size, Mtime::default(), &mut contents);
            assert!(matches!(result, Err(WriteError::Changed { digest }) if digest == Digest::of(message)));
        }
    }

    #[test]
    fn a_writer_keeps_what_its_manifest_promises_or_fails() {
        let sample = Sample::new();
        let start = |sample: &Sample, manifest: &Manifest| {
            let options = Options::default();
            Writer::start(Vec::new(), &options, manifest, &key(), sample.spool(), sample.spool_jobs())
        };
        let inconsistent = |result: Result<_, WriteError>| matches!(result, Err(WriteError::Inconsistent { .. }));

        assert!(inconsistent(start(&sample, &sample.manifest).unwrap().finish().map(drop)), "no messages");

        let (one, two) = (&sample.messages[0], &sample.messages[1]);
        let mut writer = start(&sample, &sample.manifest).unwrap();
        writer.message_bytes(Digest::of(two), Mtime::default(), two).unwrap();
        assert!(inconsistent(writer.message_bytes(Digest::of(two), Mtime::default(), two)), "more bytes than promised");

        let mut manifest = sample.manifest.clone();
        manifest.counts.messages = 1;
        let mut writer = start(&sample, &manifest).unwrap();
        writer.message_bytes(Digest::of(one), Mtime::default(), one).unwrap();
        assert!(inconsistent(writer.message_bytes(Digest::of(two), Mtime::default(), two)), "one message more");

        let mut writer = start(&sample, &sample.manifest).unwrap();
        writer.leave_out(Digest::of(one), one.len() as u64).unwrap();
        assert!(inconsistent(writer.leave_out(Digest::of(one), 0)), "a message is missing twice");
        assert!(inconsistent(writer.leave_out(Digest::of(two), u64::MAX / 2)), "more bytes are missing than promised");
        let mut writer = start(&sample, &sample.manifest).unwrap();
        writer.leave_out(Digest::of(one), one.len() as u64).unwrap();
        assert!(inconsistent(writer.finish().map(drop)), "neither brought nor missing");

        let lies: [fn(&mut Manifest); 9] = [
            |m| m.counts.entries += 1,
            |m| m.counts.folders += 1,
            |m| m.counts.jobs += 1,
            |m| m.counts.replicas += 1,
            |m| (m.replicas, m.counts.replicas) = (Some(m.entries), 1),
            |m| m.entries.bytes += 1,
            |m| m.jobs = None,
            |m| m.kind = super::super::BundleKind::Full,
            |m| m.sender.id = PrivateKey::generate("").unwrap().public_key().id(),
        ];
        for (i, lie) in lies.into_iter().enumerate() {
            let mut manifest = sample.manifest.clone();
            manifest.base = manifest.tip.clone();
            lie(&mut manifest);
            assert!(inconsistent(start(&sample, &manifest).map(drop)), "lie {i}");
        }
    }

    #[test]
    fn a_window_that_readers_refuse_is_not_written() {
        let sample = Sample::new();
        let options = Options { window_log: Some(28), ..Options::default() };
        let writer = Writer::start(Vec::new(), &options, &sample.manifest, &key(), sample.spool(), None);
        assert!(writer.is_err());
        for options in [
            Options { window_log: Some(27), ..Options::default() },
            Options { level: 22, ..Options::default() },
            Options { level: -5, ..Options::default() },
        ] {
            assert!(read(&sample.bundle_with(&options)).is_ok(), "{options:?}");
        }
        let window = |options| 10 + u32::from(sample.bundle_with(&options)[5] >> 3);
        assert_eq!(window(Options { level: 22, ..Options::default() }), limits::DEFAULT_WINDOW_LOG);
    }

    #[test]
    fn a_delivery_date_that_a_header_cannot_hold_becomes_the_nearest() {
        for (mtime, written) in [(-1, 0), (5, 5), (i64::MAX, 0o777_7777_7777)] {
            assert_eq!(header("messages/x", 0, mtime).mtime().unwrap(), written);
        }
    }
}
