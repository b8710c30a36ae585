//! Digests: of a message, and of everything that is alive.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::text::{ParseError, parse_hex, serde_as_text, write_hex};

/// The SHA-256 of a message's bytes, which names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for Digest {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        parse_hex("digest", text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// A set hash of everything that is alive. It is a sum modulo 2^256; each member adds the SHA-256 of its canonical
/// form.
///
/// Adding and taking away members in any order gives the same value, so it is kept up entry by entry (the additive set
/// hash of Bellare and Micciancio 1997; it stands against mistakes, not against a peer who makes collisions).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct StateDigest([u64; 4]);

impl StateDigest {
    /// Puts a member in.
    pub fn add(&mut self, canonical: &[u8]) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(canonical)) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first | second);
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, canonical: &[u8]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(canonical)) {
            let (rest, first) = limb.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, first | second);
        }
    }

    /// The value, most significant byte first.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0.iter().rev()) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
    }

    /// The value with these bytes, most significant first.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut value = [0; 4];
        for (limb, chunk) in value.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *limb = u64::from_be_bytes(chunk.try_into().expect("chunks of eight bytes"));
        }
        Self(value)
    }
}

/// The SHA-256 of `canonical` as a number, least significant limb first.
fn limbs(canonical: &[u8]) -> [u64; 4] {
    StateDigest::from_bytes(Sha256::digest(canonical).into()).0
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.to_bytes())
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.to_bytes())
    }
}

impl FromStr for StateDigest {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        parse_hex("state digest", text, &mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }
}

serde_as_text!(Digest, StateDigest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_digest_does_not_depend_on_order_and_forgets_what_is_taken_out() {
        let (mut forwards, mut backwards) = (StateDigest::default(), StateDigest::default());
        for i in 0..100_u32 {
            forwards.add(&i.to_be_bytes());
            backwards.add(&(99 - i).to_be_bytes());
        }
        assert_eq!(forwards, backwards);
        assert_ne!(forwards, StateDigest::default());
        for i in 0..100_u32 {
            forwards.remove(&i.to_be_bytes());
        }
        assert_eq!(forwards, StateDigest::default());
    }

    #[test]
    fn the_state_digest_of_one_member_is_its_sha256() {
        let mut one = StateDigest::default();
        one.add(b"abc");
        assert_eq!(one.to_string(), Digest::of(b"abc").to_string());
        assert_eq!(one.to_string().parse(), Ok(one));
    }
}
