//! Reading bundles, in one pass, from a file or a pipe.
//!
//! A bundle's parts are read in the order in which they stand, and each step is a type of its own: a [`Reader`] has
//! read the manifest, its signature checked gives a [`RecordsPart`], then follow [`JobsPart`] and [`MessagesPart`],
//! which ends where the next bundle starts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read, Write};

use sha2::{Digest as _, Sha256};

use super::archive::{Archive, Data, Member, expect_member, read_data, read_small};
use super::envelope::Envelope;
use super::error::SHOWN;
use super::frame::Frame;
use super::missing::{self, Missing};
use super::statements::StatementLines;
use super::{Cover, Error, Manifest, PublicKey, Record, Signature, limits, record_lines, replica_lines};
use crate::model::{Claims, Digest};
use crate::text::beginning;

/// What is in a bundle's frame.
type Decompressed<'s, R> = Frame<'s, Envelope<R>>;

/// The values that all steps share.
struct Inner<'s, R: BufRead> {
    archive: Archive<Decompressed<'s, R>>,
    manifest: Manifest,
    /// The key with which the signature was checked; `None` if it was not.
    key: Option<PublicKey>,
    within: &'s mut bool,
}

impl<R: BufRead> Inner<'_, R> {
    /// Goes on to where the next bundle starts, without decompressing what is left of this one.
    fn skip(self) -> Result<(), Error> {
        let most = self.manifest.most_frame_bytes();
        let source = self.archive.into_inner().into_source();
        if source.inner().is_open() {
            source.inner().pass_over(most)?;
        } else {
            source.pass_over(most)?;
        }
        *self.within = false;
        Ok(())
    }
}

macro_rules! debug_as_manifest {
    ($($step:ident),+) => {$(
        impl<R: BufRead> fmt::Debug for $step<'_, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($step)).field("manifest", self.manifest()).finish_non_exhaustive()
            }
        }
    )+};
}
debug_as_manifest!(Reader, RecordsPart, JobsPart, MessagesPart);

/// A bundle whose manifest and signature have been read, and of which nothing is understood yet.
pub(super) struct Unopened<'s, R: BufRead> {
    archive: Archive<Decompressed<'s, R>>,
    signed: Vec<u8>,
    signature: Signature,
    within: &'s mut bool,
}

impl<'s, R: BufRead> Unopened<'s, R> {
    pub(super) fn read(frame: Frame<'s, Envelope<R>>, within: &'s mut bool) -> Result<Self, Error> {
        let mut archive = Archive::new(frame);
        if !archive.may_begin_with("manifest.json")? {
            return Err(Error::NotABundle { begins: None });
        }
        let signed = read_small(&mut archive, "manifest.json", limits::MANIFEST_BYTES)?;
        let signature = read_small(&mut archive, "manifest.json.sig", limits::SIGNATURE_BYTES)
            .and_then(|signature| Signature::from_armor(&signature));
        match signature {
            Ok(signature) => Ok(Self { archive, signed, signature, within }),
            // What stands behind the manifest may be otherwise in a later version, and that is what it tells.
            Err(error) => Manifest::from_json(&signed).and(Err(error)),
        }
    }

    pub(super) fn cover(&self) -> Cover<'_> {
        let encrypted = self.archive.get_ref().source().get().is_open();
        Cover { signed: &self.signed, signature: &self.signature, encrypted }
    }

    /// Goes on to the end of an encrypted bundle without decompressing it, and makes sure that nothing of it was
    /// changed or is missing.
    pub(super) fn skip_checked(self) -> Result<(), Error> {
        self.archive.into_inner().into_source().inner().pass_over_checked()?;
        *self.within = false;
        Ok(())
    }

    /// Reads what the manifest says.
    pub(super) fn open(self) -> Result<Reader<'s, R>, Error> {
        let manifest = self.cover().manifest()?;
        let Self { archive, signed, signature, within } = self;
        Ok(Reader { inner: Inner { archive, manifest, key: None, within }, signed, signature })
    }
}

/// A bundle whose manifest has been read and whose signature has not been checked.
pub struct Reader<'s, R: BufRead> {
    inner: Inner<'s, R>,
    signed: Vec<u8>,
    signature: Signature,
}

impl<'s, R: BufRead> Reader<'s, R> {
    /// The bundle's manifest. Until [`Reader::verify`], anybody may have written it.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The key that the signature names as its maker's. Anybody can name a key. Before it is passed to
    /// [`Reader::verify`], something else must vouch for it, such as a known peer's id or a person who compares
    /// fingerprints.
    pub fn signer(&self) -> PublicKey {
        self.signature.signer()
    }

    /// Checks that the manifest was signed by this key, that the sender that it names has this key, and that what it
    /// says can be true.
    pub fn verify(self, key: &PublicKey) -> Result<RecordsPart<'s, R>, Error> {
        key.verify(&self.signed, &self.signature)?;
        let (expected, found) = (key.id(), self.inner.manifest.sender.id);
        if expected != found {
            return Err(Error::WrongSigner { expected, found });
        }
        let claims = Some(self.inner.manifest.claims()?);
        let inner = Inner { key: Some(key.clone()), ..self.inner };
        Ok(RecordsPart { inner, claims, signed: Digest::of(&self.signed), is_past_replicas: false })
    }

    /// Whether it came encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.archive.get_ref().source().get().is_open()
    }

    /// Whether it came encrypted with a code, which has opened it.
    pub fn is_opened_by_code(&self) -> bool {
        self.inner.archive.get_ref().source().get().is_opened_by_code()
    }

    /// Goes on without checking the signature, to show a bundle from an unknown sender or to rescue mail. Nothing that
    /// is read this way may change a replica.
    pub fn read_unverified(self) -> RecordsPart<'s, R> {
        RecordsPart { inner: self.inner, claims: None, signed: Digest::of(&self.signed), is_past_replicas: false }
    }

    /// Goes on to the bundle's end without looking at what it holds: nothing of it is even decompressed.
    pub fn skip(self) -> Result<(), Error> {
        self.inner.skip()
    }
}

/// A bundle whose records are to be read next.
pub struct RecordsPart<'s, R: BufRead> {
    inner: Inner<'s, R>,
    /// What the records are checked with; `None` if nothing is checked.
    claims: Option<Claims>,
    /// The SHA-256 of the manifest.
    signed: Digest,
    /// Whether the statements about replicas, which come first, were read.
    is_past_replicas: bool,
}

impl<'s, R: BufRead> RecordsPart<'s, R> {
    /// The bundle's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The lines of `replicas.jsonl`, without their newlines; none if there is no such member. They can be asked for once,
    /// and before the records, which go on over them otherwise.
    ///
    /// # Errors
    /// They are not what the manifest vouches for, or a statement has a stamp that it can't have. Whatever else is wrong
    /// with a statement is for whoever takes it to find out: it may come from far away.
    pub fn replicas(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        if std::mem::replace(&mut self.is_past_replicas, true) {
            return Ok(Vec::new());
        }
        replica_lines::read_lines(&mut self.inner.archive, &self.inner.manifest, self.claims.as_ref())
    }

    /// Gives every record to `take`, in order. Only the end shows whether they are the signed ones, so nothing of them
    /// may last if this fails.
    ///
    /// # Errors
    /// What `take` returns; or if they are not in order, can't be true, not as many as the manifest says, or not those
    /// that it vouches for.
    pub fn records<E: From<Error>>(
        mut self,
        mut take: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<JobsPart<'s, R>, E> {
        self.replicas()?;
        self.read_records(&mut take)?;
        Ok(JobsPart { inner: self.inner, claims: self.claims, signed: self.signed })
    }

    fn read_records<E: From<Error>>(&mut self, take: &mut impl FnMut(Record) -> Result<(), E>) -> Result<(), E> {
        let part = self.inner.manifest.entries;
        let counts = self.inner.manifest.counts;
        let member = expect_member(&mut self.inner.archive, "entries.jsonl")?;
        if member.size != part.bytes {
            return Err(Error::corrupt("entries.jsonl: not of the size that the manifest says").into());
        }
        let mut data = self.inner.archive.data();
        let read = record_lines::read_records(&mut data, part.bytes, self.claims.as_ref(), take)?;
        if (read.folders, read.entries) != (counts.folders, counts.entries) {
            return Err(Error::corrupt("entries.jsonl: not as many records as the manifest says").into());
        }
        if read.sha256 != part.sha256 {
            return Err(Error::corrupt("entries.jsonl: not what the manifest vouches for").into());
        }
        Ok(())
    }

    /// Reads to the bundle's end and checks all its contents, including every message's digest.
    pub fn drain_verified(self) -> Result<(), Error> {
        self.records::<Error>(|_| Ok(()))?.jobs(&mut io::sink())?.finish()
    }

    /// Goes on to the bundle's end without looking at what it holds: nothing of it is even decompressed.
    pub fn skip(self) -> Result<(), Error> {
        self.inner.skip()
    }
}

/// A bundle whose jobs are to be read next, if it has any.
pub struct JobsPart<'s, R: BufRead> {
    inner: Inner<'s, R>,
    /// What the stamps beside the statements are checked with; `None` if nothing is checked.
    claims: Option<Claims>,
    /// The SHA-256 of the manifest.
    signed: Digest,
}

impl<'s, R: BufRead> JobsPart<'s, R> {
    /// The bundle's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Copies `jobs.jsonl` to `sink`, or nothing if there is none. Only the end shows whether it is the signed one.
    ///
    /// # Errors
    /// It is not what the manifest vouches for, or a statement has a stamp that it can't have. Whatever else is wrong
    /// with a statement is for whoever takes it to find out: it may come from far away.
    pub fn jobs(mut self, sink: &mut impl Write) -> Result<MessagesPart<'s, R>, Error> {
        if let Some(part) = self.inner.manifest.jobs {
            let member = expect_member(&mut self.inner.archive, "jobs.jsonl")?;
            if member.size > limits::JOBS_BYTES {
                return Err(Error::TooLarge { what: "the size of jobs.jsonl", limit: limits::JOBS_BYTES });
            }
            if member.size != part.bytes {
                return Err(Error::corrupt("jobs.jsonl: not of the size that the manifest says"));
            }
            let mut lines = StatementLines::new(sink, self.claims.as_ref());
            let sha256 = copy_hashing(&mut self.inner.archive.data(), &mut lines)?;
            lines.finish(self.inner.manifest.counts.jobs, sha256 == part.sha256)?;
        }
        let Self { inner, signed, .. } = self;
        Ok(MessagesPart { inner, signed, messages: 0, bytes: 0, missing: BTreeMap::new(), ended: false })
    }
}

/// A bundle whose messages are to be read next.
pub struct MessagesPart<'s, R: BufRead> {
    inner: Inner<'s, R>,
    /// The SHA-256 of the manifest.
    signed: Digest,
    messages: u64,
    bytes: u64,
    missing: BTreeMap<Digest, u64>,
    ended: bool,
}

impl<'s, R: BufRead> MessagesPart<'s, R> {
    /// The bundle's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Goes on to the next message, over the rest of the one before. `None` after the last.
    ///
    /// # Errors
    /// If there are more messages or bytes than the manifest says, or fewer at the end, together with those that the
    /// sender says are missing; or if there is something else in their place. A message that comes twice is not
    /// noticed: memory must not grow with their number, and it does no harm.
    pub fn next_message(&mut self) -> Result<Option<Message<'_, 's, R>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let counts = self.inner.manifest.counts;
        let mut member = self.inner.archive.next_member()?;
        if let Some(Member { name, size }) = &member
            && name == missing::MEMBERS[0]
        {
            self.read_missing(*size)?;
            member = self.inner.archive.next_member()?;
        }
        let Some(Member { name, size }) = member else {
            if (self.messages, self.bytes) != (counts.messages, self.inner.manifest.bytes) {
                return Err(Error::corrupt("messages: fewer than the manifest says"));
            }
            self.ended = true;
            return Ok(None);
        };
        let digest = name.strip_prefix("messages/").filter(|_| self.missing.is_empty());
        let digest = digest.and_then(|digest| digest.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| {
            Error::corrupt(format!("archive: \"{}\" where a message or the end was expected", beginning(&name, SHOWN)))
        })?;
        if self.messages == counts.messages || size > self.inner.manifest.bytes - self.bytes {
            return Err(Error::corrupt("messages: more than the manifest says"));
        }
        self.messages += 1;
        self.bytes += size;
        let mut data = self.inner.archive.data();
        let mut beginning = [0; BEGINNING];
        let come = size.min(BEGINNING as u64);
        data.read_exact(&mut beginning[..usize::try_from(come).expect("it is short")])?;
        Ok(Some(Message { digest, size, data: io::Cursor::new(beginning).take(come).chain(data) }))
    }

    /// Reads which of the promised messages the bundle lacks, since its sender could not read them.
    fn read_missing(&mut self, size: u64) -> Result<(), Error> {
        let json = read_data(&mut self.inner.archive, missing::MEMBERS[0], size, limits::MISSING_BYTES)?;
        let signature = read_small(&mut self.inner.archive, missing::MEMBERS[1], limits::SIGNATURE_BYTES)?;
        let missing = Missing::from_members(&json, &signature, self.signed, self.inner.key.as_ref())?;
        let (counts, bytes) = (self.inner.manifest.counts, self.inner.manifest.bytes);
        if missing.count() > counts.messages - self.messages || missing.bytes() > bytes - self.bytes {
            return Err(Error::corrupt("missing.json: more than the manifest says"));
        }
        self.messages += missing.count();
        self.bytes += missing.bytes();
        self.missing = missing.into_messages();
        Ok(())
    }

    /// The promised messages that the bundle lacks, as its sender could not read them, each with the bytes that the manifest
    /// counts for it. They are known after the last message.
    pub fn missing(&self) -> &BTreeMap<Digest, u64> {
        &self.missing
    }

    /// Reads to the bundle's end and checks the digest of every message that has not been asked for. The caller checks
    /// those that were given out. After this the stream stands at the next bundle.
    ///
    /// # Errors
    /// A message is wrong, the archive has no proper end, something follows it, or the checksum of the whole is wrong.
    pub fn finish(mut self) -> Result<(), Error> {
        while let Some(message) = self.next_message()? {
            message.copy_verified(&mut io::sink())?;
        }
        self.end()
    }

    /// Goes on to the bundle's end without looking at what is left of it. After this the stream stands at the next
    /// bundle.
    pub fn skip(self) -> Result<(), Error> {
        self.inner.skip()
    }

    fn end(mut self) -> Result<(), Error> {
        self.inner.archive.end()?;
        self.inner.archive.into_inner().into_source().inner().close()?;
        *self.inner.within = false;
        Ok(())
    }
}

/// So many bytes of a message are looked at before it is read.
const BEGINNING: usize = 16;

/// One message. Reading from it gives its bytes as they stand in the bundle. The caller then has to check that their
/// SHA-256 is [`Message::digest`], and can do so in another thread.
pub struct Message<'m, 's, R: BufRead> {
    digest: Digest,
    size: u64,
    data: io::Chain<io::Take<io::Cursor<[u8; BEGINNING]>>, Data<'m, Decompressed<'s, R>>>,
}

impl<R: BufRead> Message<'_, '_, R> {
    /// The digest by which the message is named.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its first bytes, 16 at most. They can be read again.
    pub fn beginning(&self) -> &[u8] {
        let come = usize::try_from(self.size).map_or(BEGINNING, |size| size.min(BEGINNING));
        &self.data.get_ref().0.get_ref().get_ref()[..come]
    }

    /// Its size in bytes. All sizes together are at most the size in the manifest.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Replaces the bytes in `contents` by the message's, and checks the digest. Memory is taken as the bytes come, not
    /// as the size claims.
    pub fn read_verified(mut self, contents: &mut Vec<u8>) -> Result<(), Error> {
        const AT_FIRST: u64 = 1 << 20;
        contents.clear();
        contents.reserve(usize::try_from(self.size.min(AT_FIRST)).expect("a mebibyte fits"));
        self.read_to_end(contents)?;
        self.check(Digest::of(contents))
    }

    /// Copies the contents to `sink` and checks the digest at the end.
    pub fn copy_verified(mut self, sink: &mut impl Write) -> Result<(), Error> {
        let found = copy_hashing(&mut self.data, sink)?;
        self.check(found)
    }

    fn check(&self, found: Digest) -> Result<(), Error> {
        if found == self.digest {
            return Ok(());
        }
        Err(Error::corrupt(format!("message {} has other contents, with the digest {found}", self.digest)))
    }
}

impl<R: BufRead> Read for Message<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.data.read(buffer)
    }

    fn read_to_end(&mut self, contents: &mut Vec<u8>) -> io::Result<usize> {
        let before = contents.len();
        loop {
            let chunk = self.data.fill_buf()?;
            if chunk.is_empty() {
                return Ok(contents.len() - before);
            }
            contents.extend_from_slice(chunk);
            let length = chunk.len();
            self.data.consume(length);
        }
    }
}

impl<R: BufRead> fmt::Debug for Message<'_, '_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("digest", &self.digest).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Copies all of `data` to `sink`, and gives its digest.
fn copy_hashing(data: &mut impl BufRead, sink: &mut impl Write) -> Result<Digest, Error> {
    let mut hasher = Sha256::new();
    loop {
        let chunk = data.fill_buf()?;
        if chunk.is_empty() {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(chunk);
        sink.write_all(chunk).map_err(Error::Sink)?;
        let length = chunk.len();
        data.consume(length);
    }
}
