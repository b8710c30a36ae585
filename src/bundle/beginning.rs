//! The beginning of a bundle, which is looked at before anything else of it is.

use serde::Deserialize;

use super::{Error, Manifest, PublicKey, ReplicaId, Signature, SignedSuccession, limits};
use crate::model::Digest;

/// The beginning of a bundle: what it says of itself, and who has signed that.
#[derive(Debug)]
pub struct Beginning<'r> {
    pub(super) manifest: &'r Manifest,
    pub(super) cover: Cover<'r>,
}

impl Beginning<'_> {
    /// What the bundle says of itself. Anybody may have written it.
    pub fn manifest(&self) -> &Manifest {
        self.manifest
    }

    /// The key that the signature names as its maker's. Anybody can name a key.
    pub fn signer(&self) -> PublicKey {
        self.cover.signer()
    }

    /// Whether the holder of this key has signed it, as the sender that it names.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.manifest.sender.id == key.id() && key.verify(self.cover.signed, self.cover.signature).is_ok()
    }
}

/// A manifest and its signature, of which nothing is understood yet: a manifest can be long, and to read all of it
/// costs much more than to see that nobody who is known has signed it.
#[derive(Clone, Copy, Debug)]
pub struct Cover<'r> {
    pub(super) signed: &'r [u8],
    pub(super) signature: &'r Signature,
    /// Whether the bundle came encrypted.
    pub(super) encrypted: bool,
}

/// What is read of a manifest that nobody who is known has signed. Anybody may have written it.
#[derive(Clone, Debug, Deserialize)]
pub struct Label {
    sender: Named,
    /// The number that the bundle says to have.
    pub number: u64,
    /// Whom it is for; `None` for any peer.
    pub recipient: Option<ReplicaId>,
    /// The proof that its sender was invited, whether that is so or not.
    pub proof: Option<Digest>,
    invitation: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    successions: Vec<SignedSuccession>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    id: ReplicaId,
    name: String,
}

impl Label {
    /// Who says to have made it.
    pub fn sender(&self) -> ReplicaId {
        self.sender.id
    }

    /// What its sender calls itself: any text.
    pub fn name(&self) -> &str {
        &self.sender.name
    }

    /// How its sender says that it came to its key.
    ///
    /// # Errors
    /// It is no way to its key, or is longer than any.
    pub fn successions(&self) -> Result<&[SignedSuccession], Error> {
        if self.successions.len() > limits::SUCCESSIONS {
            let limit = limits::SUCCESSIONS as u64;
            return Err(Error::TooLarge { what: "the number of its sender's keys", limit });
        }
        SignedSuccession::check_chain(&self.successions, &self.sender.id)?;
        Ok(&self.successions)
    }

    /// Whether it says to be an invitation.
    pub fn invites(&self) -> bool {
        self.invitation.is_some()
    }
}

impl Cover<'_> {
    /// The key that the signature names as its maker's. Anybody can name a key.
    pub fn signer(&self) -> PublicKey {
        self.signature.signer()
    }

    /// Whether the bundle came encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Checks that the holder of this key has signed it.
    pub fn verify(&self, key: &PublicKey) -> Result<(), Error> {
        key.verify(self.signed, self.signature)
    }

    /// The little that is to be known of a stranger's, found in one pass.
    ///
    /// # Errors
    /// It is no manifest, or one of a later version: that of [`Cover::manifest`].
    pub fn label(&self) -> Result<Label, Error> {
        serde_json::from_slice(self.signed).map_err(|error| match self.manifest() {
            Err(error) => error,
            Ok(_) => Error::corrupt(format!("manifest.json: {error}")),
        })
    }

    /// All that the manifest says.
    pub fn manifest(&self) -> Result<Manifest, Error> {
        Manifest::from_json(self.signed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::super::testing::Sample;
    use super::*;

    #[test]
    fn a_label_says_what_its_manifest_says() {
        let signature = PrivateKey::from_seed([1; 32]).sign(b"").unwrap();
        let label = |signed: &[u8]| Cover { signed, signature: &signature, encrypted: false }.label();
        let manifest = Sample::new().manifest;
        let read = label(&manifest.to_json()).unwrap();
        assert_eq!((read.sender(), read.number), (manifest.sender.id, manifest.number));
        assert_eq!(read.name(), manifest.sender.name);
        assert_eq!((read.recipient, read.proof, read.invites()), (manifest.recipient, manifest.proof, false));
        for none in ["", "{}", "[]", "{\"format\":\"mailsync-bundle\",\"version\":2}", "mail"] {
            assert!(label(none.as_bytes()).is_err(), "{none}");
        }
    }
}
