//! Replica ids: they name the maker of a bundle, and the replica that it is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ssh_key::Fingerprint;

use crate::model::ParseError;

/// A replica's id: the SHA-256 fingerprint of its public key, written as OpenSSH does, `SHA256:` and 43 characters of
/// base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplicaId([u8; 32]);

impl ReplicaId {
    /// How each of them begins as it is written.
    pub const BEGINS: &'static str = "SHA256:";

    /// The id with this SHA-256.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 of the public key's wire form.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Fingerprint::Sha256(self.0), f)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReplicaId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let id = text.parse::<Fingerprint>().ok().and_then(Fingerprint::sha256).map(Self);
        // One id has one text: base64 with stray bits in the last character is another text for the same bytes.
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| ParseError::new("replica id", "SHA256: and 43 characters of base64 expected"))
    }
}

impl TryFrom<String> for ReplicaId {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<ReplicaId> for String {
    fn from(id: ReplicaId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_id_reads_back_what_it_writes_and_nothing_else() {
        let id = ReplicaId([0x5a; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), "SHA256:".len() + 43);
        assert_eq!(text.parse(), Ok(id));
        let stray = format!("{}p", &text[..text.len() - 1]);
        for wrong in ["", "SHA256:", "SHA512:abc", &text[7..], &format!("{text}="), &format!("{text}A"), &stray] {
            assert!(wrong.parse::<ReplicaId>().is_err(), "{wrong}");
        }
    }
}
