//! Invitations: a new replica becomes known although nobody carries its key by hand. The bundle that invites it holds a
//! token. Its own first bundles prove, by a MAC over both ids, that their author got that token.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Error, ReplicaId};
use crate::model::{Digest, ParseError};

/// The text under a proof begins with this, so that the proof is good for nothing else.
const PURPOSE: &[u8] = b"mailsync invitation\0";

/// A secret that is used once: 32 random bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Digest);

impl Token {
    /// The token with these bytes, which must be random.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest(bytes))
    }

    /// The bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.0
    }

    /// Proves that the replica `newcomer` has got this token from the replica `inviter`: HMAC-SHA256 (RFC 2104) with
    /// the token as its key.
    pub fn proof(&self, inviter: &ReplicaId, newcomer: &ReplicaId) -> Digest {
        Digest(self.mac(inviter, newcomer).finalize().into_bytes().into())
    }

    /// Whether this is the proof. Takes the same time whatever differs.
    pub fn is_proved_by(&self, proof: &Digest, inviter: &ReplicaId, newcomer: &ReplicaId) -> bool {
        self.mac(inviter, newcomer).verify_slice(&proof.0).is_ok()
    }

    fn mac(&self, inviter: &ReplicaId, newcomer: &ReplicaId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0.0).expect("a key of any length will do");
        for part in [PURPOSE, &inviter.to_bytes(), &newcomer.to_bytes()] {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl FromStr for Token {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

/// The invitation in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The inviter's name for the new replica.
    pub name: String,
    /// The secret by which the new replica becomes known.
    pub token: Token,
}

impl Invitation {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.name.is_empty()
            || self.name.len() > super::limits::NAME_BYTES
            || self.name.chars().any(char::is_control)
        {
            return Err(Error::corrupt(
                "manifest.json: the invited replica's name is empty, too long or not printable",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_token_and_its_two_replicas_only() {
        let id = |byte| ReplicaId::from_bytes([byte; 32]);
        let token = Token::from_bytes([7; 32]);
        let proof = token.proof(&id(1), &id(2));
        assert!(token.is_proved_by(&proof, &id(1), &id(2)));
        assert!(!token.is_proved_by(&proof, &id(2), &id(1)));
        assert!(!token.is_proved_by(&proof, &id(1), &id(3)));
        assert!(!Token::from_bytes([8; 32]).is_proved_by(&proof, &id(1), &id(2)));
        // Python's hmac module computes this.
        assert_eq!(proof.to_string(), "d034bbde75c4fb79148bc3109c5d2b73ba950cf6597a88dcbc98c9cdd4d03d0a");
        let other = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<Token>(&other).unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }
}
