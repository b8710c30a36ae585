//! Encrypted bundles: an age file (age-encryption.org/v1) around the zstd frame of one bundle, which `age -d -i KEY`
//! opens too.
//!
//! This layer lies below the reader: whoever reads bundles reads encrypted ones as others, with the keys that it was
//! given. It asks nobody for one. What it gives was authenticated, except that only the end shows whether all was there.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::rc::Rc;
use std::sync::Arc;

use age::stream::StreamReader;
use age::{DecryptError, Decryptor, Identity};
use age_core::format::FileKey;

use super::ending::{Finding, LastPiece, MARK, Watched};
use super::section::{Ahead, MAGIC};
use super::{Code, Error, PrivateKey, ReplicaId, limits};
use crate::read::buffered;

/// How much is decrypted at a time, in bytes: age encrypts in pieces of this size.
const PIECE: usize = 64 << 10;
/// What is read ahead of the pieces, in bytes: next to nothing, as a piece is read in one go.
const LITTLE: usize = 16;
/// By how much the encryption of a piece is larger, in bytes.
const TAG: u64 = 16;

/// How the only stanza of a header begins for which there is a code (age-encryption.org/v1, "The scrypt recipient type").
const CODE_STANZA: &[u8] = b"-> scrypt ";

/// What opens encrypted bundles.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<Key>,
    code: Option<Code>,
}

/// A private key, or what gives it when a bundle is encrypted for it.
#[derive(Clone)]
struct Key {
    id: ReplicaId,
    get: Arc<GetIdentity>,
}

type GetIdentity = dyn Fn() -> io::Result<Arc<age::ssh::Identity>> + Send + Sync;

impl Key {
    /// How a line begins by which somebody with this key can open an age file (age-encryption.org/v1, "ssh-ed25519
    /// recipient stanza"): with the beginning of the key's SHA-256 in base64. age looks at two bits more of it.
    fn stanza(&self) -> String {
        let id = self.id.to_string();
        let digits = id.split_once(':').map_or("", |(_, digits)| &digits[..5]);
        format!("-> ssh-ed25519 {digits}")
    }
}

fn identity(key: &PrivateKey) -> Arc<age::ssh::Identity> {
    let identity = age::ssh::Identity::from_buffer(key.to_openssh().as_bytes(), None);
    Arc::new(identity.expect("age reads the key that ssh-key has written"))
}

impl Keys {
    /// Nothing: only bundles that are not encrypted can be read.
    pub fn none() -> Self {
        Self::default()
    }

    /// These private keys.
    pub fn of<'k>(keys: impl IntoIterator<Item = &'k PrivateKey>) -> Self {
        let known = |key: &PrivateKey| {
            let identity = identity(key);
            Key { id: key.public_key().id(), get: Arc::new(move || Ok(Arc::clone(&identity))) }
        };
        Self { keys: keys.into_iter().map(known).collect(), code: None }
    }

    /// A key that somebody is asked for when the first bundle is met that is encrypted for the replica with this id.
    #[must_use]
    pub fn and(mut self, id: ReplicaId, get: impl Fn() -> io::Result<PrivateKey> + Send + Sync + 'static) -> Self {
        self.keys.push(Key { id, get: Arc::new(move || get().map(|key| identity(&key))) });
        self
    }

    /// Those of them for which an age file with this header is encrypted.
    ///
    /// # Errors
    /// One can't be had.
    pub(super) fn named_in(&self, header: &[u8]) -> io::Result<Vec<Arc<age::ssh::Identity>>> {
        let lines: Vec<&[u8]> = header.split(|&byte| byte == b'\n').collect();
        let is_named = |key: &&Key| lines.iter().any(|line| line.starts_with(key.stanza().as_bytes()));
        self.keys.iter().filter(is_named).map(|key| (key.get)()).collect()
    }

    /// The same, and a code if there is one. It is tried only where there is nothing but a code that could open a bundle.
    #[must_use]
    pub fn and_code(self, code: Option<Code>) -> Self {
        Self { code, ..self }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.keys.len()).field("code", &self.code.is_some()).finish()
    }
}

/// The bytes of one age file, read from a source that several hold. It is read by one at a time.
struct Shared<R>(Rc<RefCell<Ahead<R>>>);

impl<R: BufRead> Read for Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read_within(buffer)
    }
}

/// The header, with the nonce behind it, and the rest of the age file.
type Parts<R> = Watched<Again<BufReader<Shared<R>>>>;

/// A bundle that was opened.
struct Opened<R: BufRead> {
    source: Rc<RefCell<Ahead<R>>>,
    by_code: bool,
    last: Rc<RefCell<LastPiece>>,
    plain: BufReader<StreamReader<Parts<R>>>,
}

impl<R: BufRead> Opened<R> {
    /// Gives the source back, wherever it stands.
    fn into_source(self) -> Ahead<R> {
        drop(self.plain);
        take_back(self.source)
    }

    /// Why something can't be decrypted.
    fn explain(&self, error: io::Error) -> io::Error {
        if self.source.borrow().failed || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        // Behind a piece that holds, and isn't the last one, there is nothing more.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::Truncated.into();
        }
        self.last.borrow().error().into()
    }
}

fn take_back<R>(source: Rc<RefCell<Ahead<R>>>) -> Ahead<R> {
    Rc::into_inner(source).expect("nobody else holds it any more").into_inner()
}

/// Where the source is.
enum Place<R: BufRead> {
    /// Before a bundle, or within one that is not encrypted.
    Plain(Ahead<R>),
    /// Within a bundle that was opened.
    Opened(Box<Opened<R>>),
    /// Behind the header of one that could not be opened.
    Sealed(Ahead<R>),
    /// On the way from one to another.
    Moving,
}

/// A source of bundles, of which those that are encrypted are decrypted.
pub(super) struct Envelope<R: BufRead> {
    place: Place<R>,
    keys: Keys,
}

impl<R: BufRead> Envelope<R> {
    pub(super) fn new(source: R, keys: Keys) -> Self {
        Self { place: Place::Plain(Ahead::new(source)), keys }
    }

    /// The source, wherever it stands.
    pub(super) fn into_inner(self) -> R {
        self.place.into_source().into_inner()
    }

    /// The bytes that were taken from the source, and belong to what comes behind the last bundle.
    pub(super) fn taken(&self) -> &[u8] {
        match &self.place {
            Place::Plain(source) | Place::Sealed(source) => source.taken(),
            Place::Opened(_) | Place::Moving => &[],
        }
    }

    /// Whether it is within an encrypted bundle that was opened.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.place, Place::Opened(_))
    }

    /// Whether it is within a bundle that the code has opened.
    pub(super) fn is_opened_by_code(&self) -> bool {
        matches!(&self.place, Place::Opened(opened) if opened.by_code)
    }

    /// Opens the bundle that comes next, if it is encrypted.
    ///
    /// # Errors
    /// Neither a key nor the code opens it; then [`Envelope::pass_over`] goes on behind it. It is damaged, or no bundle would look like it.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        let Place::Plain(source) = &mut self.place else { unreachable!("the one before was closed") };
        if !source.is_at_age_file()? {
            return Ok(());
        }
        let header = source.header()?;
        let by_code = check_stanzas(&header)?;
        let identities = self.keys.named_in(&header)?;
        let source = Rc::new(RefCell::new(self.take_source()));
        // All of the header is in the cursor: so nothing of the rest is read before it is known that a key fits.
        let rest = BufReader::with_capacity(LITTLE, Shared(Rc::clone(&source)));
        let (last, found) = (Rc::default(), RefCell::default());
        let watched = Watched::new(Cursor::new(header.clone()).chain(rest), header.len(), &last);
        let opened = Decryptor::new_buffered(watched)
            .and_then(|decryptor| self.keys.decrypt(decryptor, &identities, by_code, &found));
        match opened {
            Ok(plain) => {
                if let Some(key) = found.take() {
                    last.borrow_mut().open(&key, &header);
                }
                let plain = BufReader::with_capacity(PIECE, plain);
                self.place = Place::Opened(Box::new(Opened { source, by_code, last, plain }));
                Ok(())
            }
            Err(error) => {
                let source = take_back(source);
                let failed = source.failed;
                self.place = Place::Sealed(source);
                Err(match error {
                    DecryptError::NoMatchingKeys if by_code => Error::Locked,
                    DecryptError::NoMatchingKeys => Error::Sealed,
                    DecryptError::DecryptionFailed if by_code => Error::WrongCode,
                    DecryptError::ExcessiveWork { .. } => TOO_MUCH_WORK,
                    DecryptError::Io(error) if failed => Error::from(error),
                    other => Error::corrupt(format!("its encryption: {other}")),
                })
            }
        }
    }

    /// Ends a bundle that was read to its end. Nothing but the mark may stand behind it in its age file.
    ///
    /// # Errors
    /// Something does, or the age file has no proper end.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        if self.is_open() {
            let (mut behind, most) = (Vec::new(), MARK.len() as u64 + 1);
            self.by_ref().take(most).read_to_end(&mut behind)?;
            if !behind.is_empty() && behind != MARK {
                return Err(Error::corrupt("something stands behind it in its encryption"));
            }
            self.place = Place::Plain(self.take_source());
        }
        Ok(())
    }

    /// Goes on to the end of an encrypted bundle without decrypting what is left: a bundle of `most` bytes at most.
    pub(super) fn pass_over(&mut self, most: u64) -> Result<(), Error> {
        let mut source = self.take_source();
        let pieces = most / PIECE as u64 + 2;
        let passed = source.pass_over(most.saturating_add(pieces.saturating_mul(TAG)));
        self.place = Place::Plain(source);
        passed
    }

    /// Goes on to the end of a bundle that no key has opened.
    pub(super) fn pass_over_sealed(&mut self) -> Result<(), Error> {
        if matches!(self.place, Place::Sealed(_)) { self.pass_over(u64::MAX) } else { Ok(()) }
    }

    /// Goes on to the end of an encrypted bundle, and makes sure that nothing of it was changed or is missing, and that
    /// nothing follows it but another encrypted one.
    pub(super) fn pass_over_checked(&mut self) -> Result<(), Error> {
        loop {
            let many = buffered(self)?;
            if many == 0 {
                self.place = Place::Plain(self.take_source());
                return Ok(());
            }
            self.consume(many);
        }
    }

    fn take_source(&mut self) -> Ahead<R> {
        std::mem::replace(&mut self.place, Place::Moving).into_source()
    }
}

impl<R: BufRead> Place<R> {
    fn into_source(self) -> Ahead<R> {
        match self {
            Self::Plain(source) | Self::Sealed(source) => source,
            Self::Opened(opened) => opened.into_source(),
            Self::Moving => unreachable!("nobody sees it on the way"),
        }
    }
}

/// A code that asks for more work than a reader does.
const TOO_MUCH_WORK: Error =
    Error::TooLarge { what: "the work that its code asks for, as a power of two", limit: limits::CODE_WORK as u64 };

impl Keys {
    /// Decrypts what one of these keys opens, or else the code. The work for the code is done only where it can be of use.
    fn decrypt<R: Read>(
        &self,
        sealed: Decryptor<R>,
        keys: &[Arc<age::ssh::Identity>],
        by_code: bool,
        found: &RefCell<Option<FileKey>>,
    ) -> Result<StreamReader<R>, DecryptError> {
        let code = self.code.as_ref().filter(|_| by_code).map(|code| {
            let mut identity = age::scrypt::Identity::new(code.passphrase());
            identity.set_max_work_factor(limits::CODE_WORK);
            identity
        });
        let keys = keys.iter().map(|key| &**key as &dyn Identity);
        let all: Vec<Finding<'_>> =
            keys.chain(code.iter().map(|code| code as &dyn Identity)).map(|one| Finding::new(one, found)).collect();
        sealed.decrypt(all.iter().map(|one| one as &dyn Identity))
    }
}

/// A source of which some bytes were read, and which gives these once more.
pub type Again<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks whether a code opens what comes first from a source. Gives it back as it was.
///
/// # Errors
/// The source can't be read.
pub fn look_for_code<R: BufRead>(mut source: R) -> io::Result<(bool, Again<R>)> {
    let begins = [MAGIC, CODE_STANZA].concat();
    let mut first = Vec::new();
    source.by_ref().take(begins.len() as u64).read_to_end(&mut first)?;
    Ok((first == begins, Cursor::new(first).chain(source)))
}

/// Checks how many can open it: a reader tries no more than so many. Returns whether whoever has a code can.
fn check_stanzas(header: &[u8]) -> Result<bool, Error> {
    let lines = || header[MAGIC.len()..].split(|&byte| byte == b'\n');
    let stanzas = lines().filter(|line| line.starts_with(b"-> ")).count();
    if stanzas > limits::ENVELOPE_STANZAS {
        let limit = limits::ENVELOPE_STANZAS as u64;
        return Err(Error::TooLarge { what: "the number of those who can open it", limit });
    }
    Ok(lines().any(|line| line.starts_with(CODE_STANZA)))
}

impl<R: BufRead> Read for Envelope<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Envelope<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.place {
            Place::Plain(source) | Place::Sealed(source) => source.fill_buf(),
            Place::Opened(opened) => {
                if let Err(error) = opened.plain.fill_buf() {
                    return Err(opened.explain(error));
                }
                Ok(opened.plain.buffer())
            }
            Place::Moving => unreachable!("nobody sees it on the way"),
        }
    }

    fn consume(&mut self, many: usize) {
        match &mut self.place {
            Place::Plain(source) | Place::Sealed(source) => source.consume(many),
            Place::Opened(opened) => opened.plain.consume(many),
            Place::Moving => unreachable!("nobody sees it on the way"),
        }
    }
}
