//! Keys and signatures: ed25519, in OpenSSH's formats, so that `ssh-keygen` makes and checks the same.
//!
//! A signature is an armored SSHSIG (`PROTOCOL.sshsig` in OpenSSH) with the namespace [`NAMESPACE`]. Other layers
//! decide where keys are kept.

use std::fmt;

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, SshSig};

use super::{Error, KeyError, ReplicaId};

/// The namespace of a bundle's signature. A signature that the same key made for another purpose is worth nothing here.
pub const NAMESPACE: &str = "mailsync";

/// The namespace of a signature over a statement about a job, see [`super::Statement`].
pub const JOB_NAMESPACE: &str = "mailsync-job";

/// The namespace of a signature over a statement about a replica, see [`super::ReplicaStatement`].
pub const REPLICA_NAMESPACE: &str = "mailsync-replica";

pub(super) fn must_be_ed25519(algorithm: &Algorithm) -> Result<(), KeyError> {
    match algorithm {
        Algorithm::Ed25519 => Ok(()),
        other => Err(KeyError::NotEd25519 { found: other.to_string() }),
    }
}

/// A replica's public key: ed25519.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(ssh_key::PublicKey);

impl PublicKey {
    pub(super) fn of(key: ssh_key::PublicKey) -> Self {
        Self(key)
    }

    /// Reads the line that a `.pub` file holds: `ssh-ed25519 AAAA… comment`.
    pub fn from_openssh(line: &str) -> Result<Self, KeyError> {
        let key = ssh_key::PublicKey::from_openssh(line.trim()).map_err(KeyError::Unusable)?;
        must_be_ed25519(&key.algorithm())?;
        Ok(Self(key))
    }

    /// The line that a `.pub` file holds, without a newline.
    pub fn to_openssh(&self) -> String {
        self.0.to_openssh().expect("an ed25519 key has a text form")
    }

    /// Its comment; empty if it has none.
    pub fn comment(&self) -> &str {
        self.0.comment()
    }

    /// Whether it has a comment.
    pub fn has_comment(&self) -> bool {
        !self.0.comment().is_empty()
    }

    /// The same key with this comment, which is for people and no secret.
    #[must_use]
    pub fn commented(&self, comment: &str) -> Self {
        let mut key = self.0.clone();
        key.set_comment(comment);
        Self(key)
    }

    /// The same key without its comment.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self(self.0.key_data().clone().into())
    }

    /// The key's fingerprint, which is the replica's id.
    pub fn id(&self) -> ReplicaId {
        let fingerprint = self.0.fingerprint(HashAlg::Sha256).sha256().expect("a SHA-256 was asked for");
        ReplicaId::from_bytes(fingerprint)
    }

    /// Checks a signature over exactly these bytes: by this key, in the namespace for which the signature was read.
    pub fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<(), Error> {
        let signer = signature.signer();
        if self.0.key_data() != signer.0.key_data() {
            return Err(Error::WrongSigner { expected: self.id(), found: signer.id() });
        }
        self.0
            .verify(signature.0.namespace(), bytes, &signature.0)
            .map_err(|_| Error::BadSignature { why: "it was not made over these bytes".into() })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// A replica's private key: ed25519. [`super::StoredKey`] is its file, which may be locked by a passphrase.
#[derive(Clone)]
pub struct PrivateKey(ssh_key::PrivateKey);

impl PrivateKey {
    pub(super) fn of(key: ssh_key::PrivateKey) -> Self {
        Self(key)
    }

    pub(super) fn inner(&self) -> &ssh_key::PrivateKey {
        &self.0
    }

    /// Makes a new key from the operating system's randomness. The comment is for people and no secret.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        let mut key = ssh_key::PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(KeyError::Unusable)?;
        key.set_comment(comment);
        Ok(Self(key))
    }

    /// The same key every time, for tests that compare bytes.
    #[cfg(test)]
    pub(super) fn from_seed(seed: [u8; 32]) -> Self {
        Self(ssh_key::private::Ed25519Keypair::from_seed(&seed).into())
    }

    /// Reads the text of a private key file.
    pub fn from_openssh(text: &str) -> Result<Self, KeyError> {
        let key = ssh_key::PrivateKey::from_openssh(text).map_err(KeyError::Unusable)?;
        if key.is_encrypted() {
            return Err(KeyError::Encrypted);
        }
        must_be_ed25519(&key.algorithm())?;
        Ok(Self(key))
    }

    /// The text of a private key file. It must be written where nobody else can read it.
    pub fn to_openssh(&self) -> String {
        let text = self.0.to_openssh(LineEnding::LF).expect("an ed25519 key has a text form");
        text.to_string()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key().clone())
    }

    /// Signs exactly these bytes, in [`NAMESPACE`]. The same key and bytes give the same signature (RFC 8032).
    pub fn sign(&self, bytes: &[u8]) -> Result<Signature, KeyError> {
        self.sign_for(NAMESPACE, bytes)
    }

    pub(super) fn sign_for(&self, namespace: &str, bytes: &[u8]) -> Result<Signature, KeyError> {
        self.0.sign(namespace, HashAlg::Sha512, bytes).map(Signature).map_err(KeyError::Unusable)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public_key().id())
    }
}

/// A signature that has the right form. [`PublicKey::verify`] tells whether it holds.
#[derive(Clone, Debug)]
pub struct Signature(SshSig);

impl Signature {
    /// Reads an armored SSHSIG; its key must be ed25519 and its namespace [`NAMESPACE`].
    pub fn from_armor(text: &[u8]) -> Result<Self, Error> {
        Self::from_armor_for(NAMESPACE, text)
    }

    /// The same for another namespace.
    pub(super) fn from_armor_for(namespace: &'static str, text: &[u8]) -> Result<Self, Error> {
        let bad = |why: &'static str| Error::BadSignature { why: why.into() };
        let signature = SshSig::from_pem(text).map_err(|_| bad("it is no SSH signature"))?;
        if signature.version() != SshSig::VERSION {
            return Err(bad("it has an unknown version"));
        }
        let key = signature.public_key();
        if key.algorithm() != Algorithm::Ed25519 || signature.algorithm() != Algorithm::Ed25519 {
            return Err(bad("it was not made with an ed25519 key"));
        }
        if signature.namespace() != namespace {
            let why = format!("it was made for another purpose (its namespace is not \"{namespace}\")");
            return Err(Error::BadSignature { why: why.into() });
        }
        let signature = Self(signature);
        // The decoder is not strict about what stands around the armor.
        if signature.to_armor().as_bytes() != text {
            return Err(bad("its armor is not in the form that ssh-keygen writes"));
        }
        Ok(signature)
    }

    /// The armored SSHSIG, which `ssh-keygen -Y verify` reads.
    pub fn to_armor(&self) -> String {
        self.0.to_pem(LineEnding::LF).expect("an SSH signature has a text form")
    }

    /// The key that the signature names as its maker's. Anybody can name a key; the caller decides whether to trust it.
    pub fn signer(&self) -> PublicKey {
        PublicKey(self.0.public_key().clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_bytes_only() {
        let (key, other) = (PrivateKey::generate("a").unwrap(), PrivateKey::generate("b").unwrap());
        let armor = key.sign(b"bytes").unwrap().to_armor();
        let signature = Signature::from_armor(armor.as_bytes()).unwrap();
        assert!(key.public_key().verify(b"bytes", &signature).is_ok());
        assert!(matches!(key.public_key().verify(b"Bytes", &signature), Err(Error::BadSignature { .. })));
        assert!(matches!(
            other.public_key().verify(b"bytes", &signature),
            Err(Error::WrongSigner { expected, found })
                if expected == other.public_key().id() && found == key.public_key().id()
        ));
    }

    #[test]
    fn a_signature_for_another_namespace_is_refused() {
        let key = PrivateKey::generate("a").unwrap();
        let armor = key.sign_for("file", b"bytes").unwrap().to_armor();
        assert!(matches!(Signature::from_armor(armor.as_bytes()), Err(Error::BadSignature { .. })));
    }

    #[test]
    fn keys_read_back_what_they_write() {
        let key = PrivateKey::generate("me@here").unwrap();
        let again = PrivateKey::from_openssh(&key.to_openssh()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        let line = key.public_key().to_openssh();
        assert!(line.starts_with("ssh-ed25519 ") && line.ends_with(" me@here"), "{line}");
        assert_eq!(PublicKey::from_openssh(&format!("{line}\n")).unwrap().id(), key.public_key().id());
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5Kq\
            iiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc= x";
        assert!(PublicKey::from_openssh(ecdsa).is_err());
        assert!(PublicKey::from_openssh("nonsense").is_err());
        assert!(PrivateKey::from_openssh("nonsense").is_err());
    }
}
