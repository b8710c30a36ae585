//! Successions in a manifest: how the sender came to the key by which the bundle is signed. They are what a reader needs
//! that knows an earlier key of the sender, before it reads anything else.

use serde::{Deserialize, Serialize};

use super::error::SHOWN;
use super::{Error, PublicKey, ReplicaId, ReplicaLine, ReplicaStatement, Succession, limits};
use crate::model::Stamp;
use crate::text::beginning;

/// A succession, with the signatures of both keys: as a line of `replicas.jsonl` has it, but for the stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedSuccession {
    /// The statement in JSON; the signatures are over these very bytes.
    pub signed: String,
    /// An armored SSHSIG by the old key, in the namespace [`super::REPLICA_NAMESPACE`].
    pub signature: String,
    /// The same by the new key.
    pub countersignature: String,
}

impl SignedSuccession {
    /// The succession in a line of `replicas.jsonl`. `None` if something else is in it.
    pub fn of(line: &ReplicaLine) -> Option<Self> {
        let countersignature = line.countersignature.clone()?;
        Some(Self { signed: line.signed.clone(), signature: line.signature.clone(), countersignature })
    }

    /// The same as a line of `replicas.jsonl`, with this stamp.
    pub fn with_stamp(&self, stamp: Stamp) -> ReplicaLine {
        ReplicaLine {
            stamp,
            signed: self.signed.clone(),
            signature: self.signature.clone(),
            countersignature: Some(self.countersignature.clone()),
        }
    }

    /// What it says, without a check of the signatures.
    ///
    /// # Errors
    /// It is no succession.
    pub fn succession(&self) -> Result<Succession, Error> {
        is_one(self.with_stamp(Stamp::ZERO).statement()?)
    }

    /// Checks both signatures. Gives the succession, and the old key.
    ///
    /// # Errors
    /// It is no succession, it says what can't be true by itself, or a signature doesn't hold.
    pub fn verify(&self) -> Result<(Succession, PublicKey), Error> {
        let (statement, old) = self.with_stamp(Stamp::ZERO).verify()?;
        Ok((is_one(statement)?, old))
    }

    /// Checks that each succession begins where the one before ends, and the last one ends at this replica.
    pub(super) fn check_chain(chain: &[Self], sender: &ReplicaId) -> Result<(), Error> {
        if chain.len() > limits::SUCCESSIONS {
            return Err(Error::TooLarge { what: "the number of its sender's keys", limit: limits::SUCCESSIONS as u64 });
        }
        let mut at = None;
        for link in chain {
            // Even what nobody will look at keeps the limit of a line.
            if link.with_stamp(Stamp::ZERO).encode().len() as u64 > limits::REPLICA_LINE_BYTES {
                return Err(Error::TooLarge { what: "a succession", limit: limits::REPLICA_LINE_BYTES });
            }
            let succession = link.succession()?;
            if at.is_some_and(|id| id != succession.old) {
                return Err(wrong("they don't follow each other"));
            }
            at = Some(succession.new.id());
        }
        if at.is_some_and(|id| id != *sender) {
            return Err(wrong("they don't lead to the sender"));
        }
        Ok(())
    }
}

fn is_one(statement: ReplicaStatement) -> Result<Succession, Error> {
    match statement {
        ReplicaStatement::Succession(succession) => Ok(succession),
        ReplicaStatement::Revocation(_) => Err(wrong("one of them is a revocation")),
    }
}

fn wrong(what: &str) -> Error {
    Error::corrupt(format!("manifest.json: successions: {}", beginning(what, SHOWN)))
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::super::testing::stamp;
    use super::*;

    fn key(n: u8) -> PrivateKey {
        PrivateKey::from_seed([n; 32])
    }

    fn link(old: u8, new: u8) -> SignedSuccession {
        let succession = Succession {
            old: key(old).public_key().id(),
            new: key(new).public_key().bare(),
            incarnation: stamp(0).incarnation,
            last: 3,
            at: 9,
        };
        let line = ReplicaLine::succeed(stamp(1), &succession, &key(old), &key(new)).unwrap();
        SignedSuccession::of(&line).unwrap()
    }

    #[test]
    fn a_chain_of_successions_leads_to_the_sender_without_a_gap() {
        let id = |n: u8| key(n).public_key().id();
        let long: Vec<_> = (10..43).map(|n| link(n, n + 1)).collect();
        for (chain, sender, is_one) in [
            (vec![], 1, true),
            (vec![link(1, 2)], 2, true),
            (vec![link(1, 2), link(2, 3)], 3, true),
            (long[1..].to_vec(), 43, true),
            (long.clone(), 43, false),
            (vec![link(1, 2)], 1, false),
            (vec![link(1, 2)], 3, false),
            (vec![link(1, 2), link(1, 3)], 3, false),
            (vec![link(2, 3), link(1, 2)], 3, false),
        ] {
            assert_eq!(
                SignedSuccession::check_chain(&chain, &id(sender)).is_ok(),
                is_one,
                "{} to {sender}",
                chain.len()
            );
        }
        let (succession, old) = link(1, 2).verify().unwrap();
        assert_eq!((succession.old, old.id()), (id(1), id(1)));
        let forged = SignedSuccession { signed: link(1, 3).signed, ..link(1, 2) };
        assert!(forged.verify().is_err());
        let nothing = SignedSuccession { signed: String::from("{}"), ..link(1, 2) };
        assert!(SignedSuccession::check_chain(&[nothing], &id(2)).is_err());
        let huge = SignedSuccession { signature: "x".repeat(5000), ..link(1, 2) };
        assert!(matches!(SignedSuccession::check_chain(&[huge], &id(2)), Err(Error::TooLarge { .. })));
    }
}
