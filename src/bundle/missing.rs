//! What a bundle promises and doesn't bring. Its manifest is signed before the messages are read. When one of them turns
//! out not to be readable, the bundle ends with `missing.json`, which says so, and is signed as well: nobody on the way
//! can take messages out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::SHOWN;
use super::{Error, KeyError, PrivateKey, PublicKey, Signature, limits, strict};
use crate::model::Digest;
use crate::text::beginning;

/// The namespace of the signature over `missing.json`.
pub const MISSING_NAMESPACE: &str = "mailsync-missing";

/// The names of the last two members of such a bundle.
pub(super) const MEMBERS: [&str; 2] = ["missing.json", "missing.json.sig"];

/// The messages that a bundle lacks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Missing {
    /// The SHA-256 of the bundle's `manifest.json`.
    manifest: Digest,
    /// For each message the bytes that the manifest counts for it.
    messages: BTreeMap<Digest, u64>,
}

impl Missing {
    /// What the bundle with this manifest lacks.
    pub(super) fn new(manifest: Digest, messages: BTreeMap<Digest, u64>) -> Self {
        Self { manifest, messages }
    }

    /// The bytes of `missing.json`, and of its signature.
    pub(super) fn to_members(&self, key: &PrivateKey) -> Result<[Vec<u8>; 2], KeyError> {
        let mut json = serde_json::to_vec(self).expect("every field has a JSON form");
        json.push(b'\n');
        let signature = key.sign_for(MISSING_NAMESPACE, &json)?.to_armor().into_bytes();
        Ok([json, signature])
    }

    /// Reads both members of the bundle with this manifest. Without a key the signature must have the right form, and may
    /// be anybody's.
    pub(super) fn from_members(
        json: &[u8],
        signature: &[u8],
        manifest: Digest,
        key: Option<&PublicKey>,
    ) -> Result<Self, Error> {
        let signature = Signature::from_armor_for(MISSING_NAMESPACE, signature)?;
        if let Some(key) = key {
            key.verify(json, &signature)?;
        }
        let wrong = |what: &str| Error::corrupt(format!("missing.json: {}", beginning(what, SHOWN)));
        let missing: Self = strict::parse(json).map_err(|what| wrong(&what))?;
        if json.last() != Some(&b'\n') {
            return Err(wrong("it doesn't end with a newline"));
        }
        if missing.manifest != manifest {
            return Err(wrong("it belongs to another bundle"));
        }
        if missing.messages.is_empty() {
            return Err(wrong("it names no message"));
        }
        if missing.count() > limits::MISSING {
            return Err(Error::TooLarge { what: "the number of messages that it lacks", limit: limits::MISSING });
        }
        Ok(missing)
    }

    /// The messages, each with the bytes that the manifest counts for it.
    pub(super) fn into_messages(self) -> BTreeMap<Digest, u64> {
        self.messages
    }

    /// How many messages they are.
    pub(super) fn count(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Their bytes, added up.
    pub(super) fn bytes(&self) -> u64 {
        self.messages.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}
