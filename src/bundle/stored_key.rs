//! Private keys as their files hold them: open, or locked by a passphrase. `ssh-keygen -p` reads and writes the same.

use std::fmt;

use age::secrecy::{ExposeSecret, SecretString};
use ssh_key::rand_core::OsRng;

use super::signature::must_be_ed25519;
use super::{KeyError, PrivateKey, PublicKey};

/// The contents of a private key file. Its public half can be read without a passphrase.
#[derive(Clone)]
pub struct StoredKey(ssh_key::PrivateKey);

impl StoredKey {
    /// Reads the text of a private key file.
    ///
    /// # Errors
    /// It is not in OpenSSH's format, or of another kind than ed25519.
    pub fn from_openssh(text: &str) -> Result<Self, KeyError> {
        let key = ssh_key::PrivateKey::from_openssh(text).map_err(KeyError::Unusable)?;
        must_be_ed25519(&key.public_key().algorithm())?;
        Ok(Self(key))
    }

    /// Locks a key by a passphrase.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn lock(key: &PrivateKey, passphrase: &SecretString) -> Result<Self, KeyError> {
        let locked = key.inner().encrypt(&mut OsRng, passphrase.expose_secret()).map_err(KeyError::Unusable)?;
        Ok(Self(locked))
    }

    /// A key without a passphrase.
    pub fn unlocked(key: &PrivateKey) -> Self {
        Self(key.inner().clone())
    }

    /// The text of a private key file. It must be written where nobody else can read it.
    pub fn to_openssh(&self) -> String {
        let text = self.0.to_openssh(ssh_key::LineEnding::LF).expect("an ed25519 key has a text form");
        text.to_string()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(self.0.public_key().clone())
    }

    /// Whether a passphrase is needed.
    pub fn is_locked(&self) -> bool {
        self.0.is_encrypted()
    }

    /// The key, if no passphrase is needed.
    pub fn key(&self) -> Option<PrivateKey> {
        (!self.is_locked()).then(|| PrivateKey::of(self.0.clone()))
    }

    /// Opens a locked key; an open one needs nothing.
    ///
    /// # Errors
    /// The passphrase is another one, or it is locked in a way that isn't known here.
    pub fn unlock(&self, passphrase: &SecretString) -> Result<PrivateKey, KeyError> {
        if let Some(key) = self.key() {
            return Ok(key);
        }
        let key = self.0.decrypt(passphrase.expose_secret()).map_err(|error| match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => KeyError::Unusable(error),
            _ => KeyError::WrongPassphrase,
        })?;
        // The public half stands in the file twice, and only one of the two was encrypted.
        if key.public_key().key_data() != self.0.public_key().key_data() {
            return Err(KeyError::WrongPassphrase);
        }
        Ok(PrivateKey::of(key))
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({})", self.public_key().id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_is_opened_by_its_passphrase_only() {
        let key = PrivateKey::generate("me@here").unwrap();
        let (right, wrong) = (SecretString::from("a b"), SecretString::from("a  b"));
        let locked = StoredKey::lock(&key, &right).unwrap();
        assert!(locked.is_locked() && locked.key().is_none());
        let again = StoredKey::from_openssh(&locked.to_openssh()).unwrap();
        assert!(again.is_locked());
        assert_eq!(again.public_key().id(), key.public_key().id());
        assert!(matches!(again.unlock(&wrong), Err(KeyError::WrongPassphrase)));
        assert!(matches!(PrivateKey::from_openssh(&locked.to_openssh()), Err(KeyError::Encrypted)));
        let opened = again.unlock(&right).unwrap();
        let signed = |key: &PrivateKey| key.sign(b"something").unwrap().to_armor();
        assert_eq!(signed(&opened), signed(&key));
        let open = StoredKey::unlocked(&opened);
        let again = StoredKey::from_openssh(&open.to_openssh()).unwrap();
        assert_eq!(signed(&again.unlock(&wrong).unwrap()), signed(&key));
    }
}
