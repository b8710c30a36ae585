//! The replica's private keys: the present one, and former ones, which only read what was encrypted for them. A locked
//! key is opened when it is needed first, and a passphrase is asked for once in a command.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use age::secrecy::{ExposeSecret, SecretString};

use super::world::Ask;
use super::{Home, private};
use crate::bundle::{KeyError, Keys, PrivateKey, PublicKey, ReplicaId, StoredKey};
use crate::disk::{Disk, has_name, is_absent, read_whole, replace_whole};
use crate::error::{Error, Result};
use crate::process::output_of;

/// A file with a key is not larger than this, in bytes.
const KEY_BYTES: u64 = 64 << 10;
/// A passphrase that a program gives is not longer than this, in bytes.
const PASSPHRASE_BYTES: u64 = 4096;
/// A person may try so often, as with ssh.
const TRIES: u32 = 3;

/// The passphrase that has opened a key in this process. A command may open its replica twice, to read and then to write,
/// and asks once all the same.
static GIVEN: Mutex<Option<SecretString>> = Mutex::new(None);

/// A key, and its file.
#[derive(Clone, Debug)]
struct KeyFile {
    path: PathBuf,
    stored: StoredKey,
}

impl KeyFile {
    fn id(&self) -> ReplicaId {
        self.stored.public_key().id()
    }
}

/// Where a passphrase comes from.
#[derive(Clone)]
pub(super) struct Passphrases {
    /// The program that gives it; without one a person is asked.
    pub(super) command: Option<Vec<String>>,
    /// Asks the person.
    pub(super) ask: Arc<dyn Ask>,
}

/// The keys as they were opened.
struct Opened {
    passphrase: Option<SecretString>,
    present: PrivateKey,
    former: Vec<PrivateKey>,
}

/// All of a replica's keys.
pub(super) struct KeyRing {
    present: KeyFile,
    /// The comment of the present key if its file doesn't show it, being locked.
    comment: Option<String>,
    former: Vec<KeyFile>,
    passphrases: Passphrases,
    opened: OnceLock<std::result::Result<Opened, Error>>,
}

impl KeyRing {
    /// Reads the files of the keys. Nothing is opened yet. `id` is that of the present key, if the state knows it: from
    /// the moment on at which a rotation is recorded the new key counts, wherever it lies.
    ///
    /// # Errors
    /// A key can't be read.
    pub(super) fn read(disk: &dyn Disk, home: &Home, passphrases: Passphrases, id: Option<&ReplicaId>) -> Result<Self> {
        let mut present = read(disk, &home.key_file())?;
        let mut former = Vec::new();
        for path in former_files(disk, home)? {
            former.push(read(disk, &path)?);
        }
        if let Some(next) = read_next(disk, home)?.filter(|next| Some(&next.id()) == id && next.id() != present.id()) {
            former.push(std::mem::replace(&mut present, next));
        }
        // An interrupted rotation may have left the present key among them, or one of them twice.
        let mut seen = BTreeSet::from([present.id()]);
        former.retain(|key| seen.insert(key.id()));
        let comment = if present.stored.is_locked() { comment_beside(disk, home, &present.id()) } else { None };
        Ok(Self { present, comment, former, passphrases, opened: OnceLock::new() })
    }

    /// The present public key.
    pub(super) fn public_key(&self) -> PublicKey {
        let key = self.present.stored.public_key();
        self.comment.as_ref().map_or_else(|| key.clone(), |comment| key.commented(comment))
    }

    /// Whether the present key is locked by a passphrase.
    pub(super) fn is_locked(&self) -> bool {
        self.present.stored.is_locked()
    }

    /// Whether a key, the present one or a former one, is locked by a passphrase.
    pub(super) fn any_is_locked(&self) -> bool {
        self.is_locked() || self.former.iter().any(|key| key.stored.is_locked())
    }

    /// Makes sure that a passphrase opens a key.
    ///
    /// # Errors
    /// It opens none.
    pub(super) fn check_passphrase(&self, passphrase: &SecretString) -> Result<()> {
        let mut locked = self.former.iter().chain([&self.present]).filter(|key| key.stored.is_locked());
        if locked.any(|key| key.stored.unlock(passphrase).is_ok()) {
            return Ok(());
        }
        Err(Error::io("opening the key", &self.present.path, &*KeyError::WrongPassphrase.to_string())
            .advise("no key was changed; run this again with the passphrase that it was given"))
    }

    /// The former public keys.
    pub(super) fn former(&self) -> impl Iterator<Item = PublicKey> {
        self.former.iter().map(|key| key.stored.public_key())
    }

    /// Whether this is the id of the replica, by its present key or a former one.
    pub(super) fn is_mine(&self, id: &ReplicaId) -> bool {
        self.present.id() == *id || self.former.iter().any(|key| key.id() == *id)
    }

    /// The present private key.
    ///
    /// # Errors
    /// It is locked, and can't be opened.
    pub(super) fn key(&self) -> Result<&PrivateKey> {
        Ok(&self.open()?.present)
    }

    /// The file's contents for another key, which gets the passphrase of the present one.
    ///
    /// # Errors
    /// The present one is locked, and can't be opened.
    pub(super) fn locked_alike(&self, key: &PrivateKey) -> Result<StoredKey> {
        let lock = |passphrase| {
            StoredKey::lock(key, passphrase)
                .map_err(|error| Error::io("locking the key", &self.present.path, &*error.to_string()))
        };
        self.open()?.passphrase.as_ref().map_or_else(|| Ok(StoredKey::unlocked(key)), lock)
    }

    /// The present key as its file has it.
    pub(super) fn stored(&self) -> &StoredKey {
        &self.present.stored
    }

    /// All private keys, the present one first.
    ///
    /// # Errors
    /// The present one is locked, and can't be opened. Former ones with another passphrase are left out.
    pub(super) fn all(&self) -> Result<impl Iterator<Item = &PrivateKey>> {
        let opened = self.open()?;
        Ok(std::iter::once(&opened.present).chain(&opened.former))
    }

    /// The former keys from the one with this id on, in the order in which they were the replica's.
    ///
    /// # Errors
    /// One of them can't be opened.
    pub(super) fn since(&self, id: &ReplicaId) -> Result<Vec<PrivateKey>> {
        let opened = self.open()?;
        let files = self.former.iter().skip_while(|key| key.id() != *id);
        let key = |file: &KeyFile| opened.former.iter().find(|key| key.public_key().id() == file.id()).cloned();
        files.map(|file| key(file).ok_or_else(|| left_locked(&[&file.path]))).collect()
    }

    /// The files of former keys that could not be opened with the passphrase of the present one, if that was opened.
    pub(super) fn left_locked(&self) -> Vec<&Path> {
        let Some(Ok(opened)) = self.opened.get() else { return Vec::new() };
        let is_open = |key: &&KeyFile| opened.former.iter().any(|opened| opened.public_key().id() == key.id());
        self.former.iter().filter(|key| !is_open(key)).map(|key| &*key.path).collect()
    }

    fn open(&self) -> Result<&Opened> {
        let opened = self.opened.get_or_init(|| {
            let (present, passphrase) = self.passphrases.open(&self.present)?;
            let former = self.former.iter().filter_map(|key| match (&passphrase, key.stored.key()) {
                (_, Some(key)) => Some(key),
                (Some(passphrase), None) => key.stored.unlock(passphrase).ok(),
                (None, None) => None,
            });
            let former = former.collect();
            Ok(Opened { passphrase, present, former })
        });
        opened.as_ref().map_err(Clone::clone)
    }
}

/// What opens bundles that are encrypted for a replica. It is opened itself when it is needed.
pub(super) fn keys(ring: &Arc<KeyRing>) -> Keys {
    let ids = std::iter::once(ring.public_key().id()).chain(ring.former().map(|key| key.id()));
    ids.fold(Keys::none(), |keys, id| {
        let ring = Arc::clone(ring);
        keys.and(id, move || {
            let found = ring.all().map_err(io::Error::other)?.find(|key| key.public_key().id() == id).cloned();
            found.ok_or_else(|| io::Error::other(left_locked(&ring.left_locked())))
        })
    })
}

/// The error for former keys that have other passphrases than the present one.
fn left_locked(files: &[&Path]) -> Error {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Error::failed(format!(
        "opening the former key {}: it has another passphrase than the present one",
        files.join(", ")
    ))
    .advise("run `mailsync key passphrase`, which asks for it and gives all keys the same")
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("present", &self.present).field("former", &self.former).finish_non_exhaustive()
    }
}

impl Passphrases {
    /// Opens a key. Gives also the passphrase, if it needs one.
    fn open(&self, key: &KeyFile) -> Result<(PrivateKey, Option<SecretString>)> {
        if let Some(key) = key.stored.key() {
            return Ok((key, None));
        }
        let fail = |error: &dyn fmt::Display| Error::io("opening the key", &key.path, &*error.to_string());
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((opened, passphrase)) =
            given.as_ref().and_then(|given| Some((key.stored.unlock(given).ok()?, given)))
        {
            return Ok((opened, Some(passphrase.clone())));
        }
        for _ in 0..TRIES {
            let passphrase = self.get(&key.path)?;
            match (key.stored.unlock(&passphrase), &self.command) {
                (Ok(opened), _) => {
                    *given = Some(passphrase.clone());
                    return Ok((opened, Some(passphrase)));
                }
                (Err(KeyError::WrongPassphrase), None) => {}
                (Err(error @ KeyError::WrongPassphrase), Some(_)) => {
                    return Err(fail(&error).advise("see what the passphrase_command in config.toml writes"));
                }
                (Err(error), _) => {
                    return Err(fail(&error).advise("give it another cipher with `ssh-keygen -p -Z aes256-ctr`"));
                }
            }
        }
        Err(fail(&KeyError::WrongPassphrase).advise("run this again, with the passphrase that the key was given"))
    }

    fn get(&self, path: &Path) -> Result<SecretString> {
        if let Some(command) = &self.command {
            let fail = |error: io::Error| {
                Error::failed(format!("opening the key {}: running {}: {error}", path.display(), command[0]))
                    .advise("correct the passphrase_command in config.toml")
            };
            let mut written = output_of(command, PASSPHRASE_BYTES).map_err(fail)?;
            written.truncate(written.iter().position(|&byte| byte == b'\n').unwrap_or(written.len()));
            let text = String::from_utf8(written).map_err(|error| fail(io::Error::other(error)))?;
            return Ok(SecretString::from(text));
        }
        let question = format!("Passphrase of {}:", path.display());
        self.ask.secret(&question)?.ok_or_else(|| {
            let what = format!("opening the key {}: it has a passphrase, and there is no terminal to ask for it", path.display());
            Error::failed(what).advise(
                "for cron and other programs, name one that writes the passphrase as the passphrase_command in config.toml, or \
                 take the passphrase away with `mailsync key passphrase --remove`",
            )
        })
    }
}

/// Gives all keys of a home another passphrase; `None` takes it away. Each file is replaced when the new one is durable,
/// the present key's last: whoever repeats it after a crash gives the same two passphrases.
pub(super) fn relock(
    disk: &dyn Disk,
    ring: &KeyRing,
    old: Option<&SecretString>,
    new: Option<&SecretString>,
) -> Result<()> {
    let mut opened = Vec::new();
    for file in ring.former.iter().chain([&ring.present]) {
        // An interrupted command may have given it the new one.
        let key = file
            .stored
            .key()
            .or_else(|| [old, new].into_iter().flatten().find_map(|passphrase| file.stored.unlock(passphrase).ok()));
        let key = key.ok_or_else(|| {
            Error::io("opening the key", &file.path, &*KeyError::WrongPassphrase.to_string())
                .advise("no key was changed; run this again with the passphrase that it was given")
        })?;
        opened.push((&file.path, key));
    }
    for (path, key) in opened {
        let stored = new.map_or_else(|| Ok(StoredKey::unlocked(&key)), |new| StoredKey::lock(&key, new));
        let stored = stored.map_err(|error| Error::io("locking the key", path, &*error.to_string()))?;
        write(disk, path, &stored)?;
    }
    Ok(())
}

/// Writes the file of a private key: under a temporary name first, and durably.
pub(super) fn write(disk: &dyn Disk, path: &Path, key: &StoredKey) -> Result<()> {
    replace_whole(disk, path, key.to_openssh().as_bytes(), 0o600)
        .map_err(|error| Error::io("writing the key", path, error).advise("check the directory, then run this again"))
}

/// Whether two passphrases that were typed are the same.
pub(super) fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// The files of former keys, sorted.
pub(super) fn former_files(disk: &dyn Disk, home: &Home) -> Result<Vec<PathBuf>> {
    let dir = home.former_keys();
    let mut files = Vec::new();
    let listed = disk.list(&dir, &mut |name, _| files.push(dir.join(name)));
    match listed {
        Err(error) if !is_absent(&error) => {
            return Err(Error::io("reading the directory", &dir, error).advise("see why, then run this again"));
        }
        _ => {}
    }
    // What an interrupted command has left there has an extension.
    files.retain(|file| file.extension().is_none());
    files.sort();
    Ok(files)
}

/// The key that an unfinished rotation has made, if there is one.
///
/// # Errors
/// It can't be read.
fn read_next(disk: &dyn Disk, home: &Home) -> Result<Option<KeyFile>> {
    let path = home.next_key_file();
    if has_name(disk, &path)? { read(disk, &path).map(Some) } else { Ok(None) }
}

/// The id of the key that an unfinished rotation has made, if there is one.
///
/// # Errors
/// It can't be read.
pub(super) fn next_id(disk: &dyn Disk, home: &Home) -> Result<Option<ReplicaId>> {
    Ok(read_next(disk, home)?.map(|key| key.id()))
}

/// Reads the file of a private key. Nobody else may read or write it.
///
/// # Errors
/// It can't be read, holds something else, or somebody else may read or write it.
fn read(disk: &dyn Disk, path: &Path) -> Result<KeyFile> {
    let fail = |error: &dyn fmt::Display| {
        Error::io("reading the key", path, error)
            .advise("put it back from a backup; without it peers don't know this replica")
    };
    private::check_secret(disk, path)?;
    let text = match read_whole(disk, path, KEY_BYTES) {
        Ok(text) => String::from_utf8(text).map_err(|error| fail(&error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(fail(&error)),
        // It is there, and may well be whole.
        Err(error) => {
            return Err(
                Error::io("reading the key", path, error).advise("see why it can't be read, then run this again")
            );
        }
    };
    let stored = StoredKey::from_openssh(&text).map_err(|error| fail(&error))?;
    Ok(KeyFile { path: path.to_owned(), stored })
}

/// The comment of a key that is locked: it stands in the file of the public key. That one is for people. If it isn't there, or
/// is another key's, there is no comment.
fn comment_beside(disk: &dyn Disk, home: &Home, id: &ReplicaId) -> Option<String> {
    let text = read_whole(disk, &home.public_key_file(), KEY_BYTES).ok()?;
    let key = PublicKey::from_openssh(&String::from_utf8(text).ok()?).ok()?;
    (key.id() == *id && key.has_comment()).then(|| key.comment().to_owned())
}

/// The public half of the key in a file.
///
/// # Errors
/// The key can't be read.
pub(super) fn read_public(disk: &dyn Disk, path: &Path) -> Result<PublicKey> {
    Ok(read(disk, path)?.stored.public_key())
}

/// The comment of the key of a replica of this name.
pub(super) fn key_comment(name: &str) -> String {
    format!("mailsync {name}")
}
