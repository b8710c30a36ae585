//! Statements about replicas: that one isn't to be trusted any more, and that one has another key. Each is signed by its
//! maker and holds the key to check that with, as those about jobs do. So any replica that passes it on can tell who made
//! it, and none can change it.

use serde::{Deserialize, Serialize};

use super::error::SHOWN;
use super::{Error, KeyError, PrivateKey, PublicKey, REPLICA_NAMESPACE, ReplicaId, Signature, limits, strict};
use crate::model::{Incarnation, Stamp};
use crate::text::beginning;

/// A revocation: from some time on nothing of a replica is to be believed, since its machine is in other hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The replica that is revoked, by its key: the first of those that have followed each other, if all are meant. It is
    /// never `by` itself.
    pub who: ReplicaId,
    /// Other keys that it has or had, as far as whoever says this knows: so it holds as well for those who know one of these
    /// and not how it has followed `who`. At most [`limits::REVOKED_KEYS`], ascending, neither `who` nor `by` among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ReplicaId>,
    /// What it is called by whoever says this, for those who don't know it: 1 to [`limits::REVOKED_NAME_BYTES`] bytes, no
    /// control characters.
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// From when on: milliseconds since 1970 UTC, and not after `at`.
    pub since: u64,
    /// The replica that says so, and has signed this.
    pub by: ReplicaId,
    /// When it was said: milliseconds since 1970 UTC.
    pub at: u64,
    /// Why, for people: 1 to [`limits::REASON_BYTES`] bytes, no control characters.
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Incarnations of which bundles of its own came to whoever says this: so others can tell what it has done, though
    /// nothing came to them from it. At most [`limits::REVOKED_INCARNATIONS`], ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incarnations: Vec<Incarnation>,
}

impl Revocation {
    /// All keys of which this says that they aren't to be trusted.
    pub fn all_keys(&self) -> impl Iterator<Item = ReplicaId> {
        std::iter::once(self.who).chain(self.keys.iter().copied())
    }

    /// Checks everything that it says by itself.
    fn check(&self) -> Result<(), Error> {
        let Self { who, keys, name, since, by, at, reason, incarnations } = self;
        if !(1..=*at).contains(since) {
            return Err(wrong(&format!("since is {since}, and not from 1 to {at}, when it was said")));
        }
        if self.all_keys().any(|key| key == *by) {
            return Err(wrong("a replica revokes itself"));
        }
        if keys.len() > limits::REVOKED_KEYS || !keys.is_sorted_by(|a, b| a < b) || keys.contains(who) {
            return Err(wrong("it names too many keys, one of them twice, or not in ascending order"));
        }
        let can_be = |text: &Option<String>, most: usize| {
            text.as_ref().is_none_or(|text| (1..=most).contains(&text.len()) && !text.chars().any(char::is_control))
        };
        if !can_be(reason, limits::REASON_BYTES) {
            return Err(wrong("the reason is empty, too long or not printable"));
        }
        if !can_be(name, limits::REVOKED_NAME_BYTES) {
            return Err(wrong("the name of whom it is about is empty, too long or not printable"));
        }
        if incarnations.len() > limits::REVOKED_INCARNATIONS || !incarnations.is_sorted_by(|a, b| a < b) {
            return Err(wrong("it names too many incarnations, or not in ascending order"));
        }
        Ok(())
    }
}

/// A succession: a replica has another key from now on, and so another id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// The replica's id until then. Its key has signed this.
    pub old: ReplicaId,
    /// Its new key, which has countersigned this: as in a `.pub` file, without a comment.
    #[serde(with = "bare_key")]
    pub new: PublicKey,
    /// The incarnation in which it was said.
    pub incarnation: Incarnation,
    /// The number of the last bundle of that incarnation that the old key has signed; 0 if there is none.
    pub last: u64,
    /// When it was said: milliseconds since 1970 UTC.
    pub at: u64,
}

/// A statement about a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ReplicaStatement {
    /// It isn't to be trusted any more.
    Revocation(Revocation),
    /// It has another key.
    Succession(Succession),
}

impl ReplicaStatement {
    /// Checks everything that a statement says by itself.
    fn check(&self) -> Result<(), Error> {
        let at = self.said_at();
        if !(1..=limits::JOB_TIME).contains(&at) {
            return Err(wrong(&format!("at is {at}, and not from 1 to {}", limits::JOB_TIME)));
        }
        match self {
            Self::Revocation(revocation) => revocation.check(),
            Self::Succession(Succession { old, new, .. }) if new.id() == *old => {
                Err(wrong("a replica's new key is its old one"))
            }
            Self::Succession(_) => Ok(()),
        }
    }

    /// The replica whose key has to sign it.
    pub fn by(&self) -> ReplicaId {
        match self {
            Self::Revocation(revocation) => revocation.by,
            Self::Succession(succession) => succession.old,
        }
    }

    /// The replica that it is about, by the id that it has or had.
    pub fn about(&self) -> ReplicaId {
        match self {
            Self::Revocation(revocation) => revocation.who,
            Self::Succession(succession) => succession.old,
        }
    }

    /// The ids of a key and of the one that follows it, if that is what it says.
    pub fn follows(&self) -> Option<(ReplicaId, ReplicaId)> {
        match self {
            Self::Revocation(_) => None,
            Self::Succession(succession) => Some((succession.old, succession.new.id())),
        }
    }

    /// When it was said, by the clock of whoever said it: milliseconds since 1970 UTC.
    pub fn said_at(&self) -> u64 {
        match self {
            Self::Revocation(revocation) => revocation.at,
            Self::Succession(succession) => succession.at,
        }
    }
}

/// The text of a key without a comment. One key has one text.
mod bare_key {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::bundle::PublicKey;

    pub fn serialize<S: Serializer>(key: &PublicKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&key.bare().to_openssh())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key = PublicKey::from_openssh(&text).ok().filter(|key| key.bare().to_openssh() == text);
        key.ok_or_else(|| D::Error::custom("the new key is no ed25519 key, or not written without a comment"))
    }
}

/// A statement as it travels: one line of `replicas.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaLine {
    /// The stamp by which an export decides whether a delta holds it. It is not signed, since it says nothing about the
    /// replica.
    pub stamp: Stamp,
    /// The statement in JSON; the signatures are over these very bytes.
    pub signed: String,
    /// An armored SSHSIG in the namespace [`REPLICA_NAMESPACE`], by the replica that says it.
    pub signature: String,
    /// For a succession, and for nothing else: the same by the new key.
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub countersignature: Option<String>,
}

impl ReplicaLine {
    /// Signs a revocation.
    pub fn revoke(stamp: Stamp, revocation: &Revocation, key: &PrivateKey) -> Result<Self, KeyError> {
        Self::sign(stamp, &ReplicaStatement::Revocation(revocation.clone()), key, None)
    }

    /// Signs a succession with both keys.
    pub fn succeed(
        stamp: Stamp,
        succession: &Succession,
        old: &PrivateKey,
        new: &PrivateKey,
    ) -> Result<Self, KeyError> {
        Self::sign(stamp, &ReplicaStatement::Succession(succession.clone()), old, Some(new))
    }

    /// Signs a statement, whatever it says. Only those that [`ReplicaLine::revoke`] and [`ReplicaLine::succeed`] make
    /// have the signatures that they need.
    pub fn sign(
        stamp: Stamp,
        statement: &ReplicaStatement,
        key: &PrivateKey,
        countersigner: Option<&PrivateKey>,
    ) -> Result<Self, KeyError> {
        let signed = serde_json::to_string(statement).expect("a statement has a JSON form");
        let sign =
            |key: &PrivateKey| key.sign_for(REPLICA_NAMESPACE, signed.as_bytes()).map(|signature| signature.to_armor());
        let (signature, countersignature) = (sign(key)?, countersigner.map(sign).transpose()?);
        Ok(Self { stamp, signed, signature, countersignature })
    }

    /// Reads a line, without its newline. Only its form is checked.
    pub fn decode(line: &[u8]) -> Result<Self, Error> {
        if line.len() as u64 > limits::REPLICA_LINE_BYTES {
            return Err(Error::TooLarge { what: "a line of replicas.jsonl", limit: limits::REPLICA_LINE_BYTES });
        }
        strict::parse(line).map_err(|error| wrong(&error))
    }

    /// The line, without a newline.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a line has a JSON form")
    }

    /// Checks the signatures. Gives the statement and the key of its maker.
    ///
    /// # Errors
    /// It is no statement, it says what can't be true by itself, or a signature is missing, doesn't hold, or is by
    /// another key than that of the replica that has to say it.
    pub fn verify(&self) -> Result<(ReplicaStatement, PublicKey), Error> {
        let statement = self.statement()?;
        statement.check()?;
        let signer = self.check_signature(&self.signature, statement.by())?;
        match (&statement, &self.countersignature) {
            (ReplicaStatement::Revocation(_), None) => {}
            (ReplicaStatement::Revocation(_), Some(_)) => return Err(wrong("a revocation has one signature")),
            (ReplicaStatement::Succession(Succession { new, .. }), Some(countersignature)) => {
                self.check_signature(countersignature, new.id())?;
            }
            (ReplicaStatement::Succession(_), None) => {
                return Err(Error::BadSignature { why: "the new key has not countersigned it".into() });
            }
        }
        Ok((statement, signer))
    }

    /// The key of the replica with this id, if the signature is by it.
    fn check_signature(&self, armor: &str, by: ReplicaId) -> Result<PublicKey, Error> {
        let signature = Signature::from_armor_for(REPLICA_NAMESPACE, armor.as_bytes())?;
        let signer = signature.signer();
        if signer.id() != by {
            return Err(Error::WrongSigner { expected: by, found: signer.id() });
        }
        signer.verify(self.signed.as_bytes(), &signature)?;
        Ok(signer)
    }

    /// Gives the statement without a check, for a line whose signatures were checked before.
    pub fn statement(&self) -> Result<ReplicaStatement, Error> {
        strict::parse(self.signed.as_bytes()).map_err(|error| wrong(&error))
    }
}

fn wrong(what: &str) -> Error {
    Error::corrupt(format!("replicas.jsonl: {}", beginning(what, SHOWN)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key, stamp};
    use super::*;

    fn other() -> PrivateKey {
        PrivateKey::from_seed([2; 32])
    }

    fn revocation() -> Revocation {
        let (who, by) = (ReplicaId::from_bytes([7; 32]), key().public_key().id());
        let incarnations = vec![Incarnation(7), stamp(0).incarnation];
        let (name, reason) = (Some("laptop".to_owned()), Some("left on the train".to_owned()));
        Revocation { who, keys: vec![ReplicaId::from_bytes([8; 32])], name, since: 5, by, at: 9, reason, incarnations }
    }

    fn succession() -> Succession {
        let (old, new) = (key().public_key().id(), other().public_key());
        Succession { old, new, incarnation: stamp(0).incarnation, last: 41, at: 9 }
    }

    #[test]
    fn a_statement_reads_back_as_it_was_signed_and_names_its_signer() {
        let revoked = ReplicaLine::revoke(stamp(3), &revocation(), &key()).unwrap();
        let succeeded = ReplicaLine::succeed(stamp(3), &succession(), &key(), &other()).unwrap();
        let table = [
            (revoked, ReplicaStatement::Revocation(revocation()), ReplicaId::from_bytes([7; 32])),
            (succeeded, ReplicaStatement::Succession(succession()), key().public_key().id()),
        ];
        for (line, statement, about) in table {
            let again = ReplicaLine::decode(&line.encode()).unwrap();
            assert_eq!(again, line);
            assert_eq!(statement.about(), about);
            assert_eq!(again.verify().unwrap(), (statement, key().public_key()));
        }
    }

    /// So many incarnations.
    fn many(count: usize) -> Vec<Incarnation> {
        (0..count as u64).map(|n| Incarnation(u64::MAX / 2 + n)).collect()
    }

    /// So many keys.
    fn several(count: usize) -> Vec<ReplicaId> {
        (0..count).map(|n| ReplicaId::from_bytes([0x80 + u8::try_from(n).unwrap(); 32])).collect()
    }

    #[test]
    fn what_can_not_be_true_by_itself_is_no_statement() {
        let revoke = |change: fn(&mut Revocation)| {
            let mut revocation = revocation();
            change(&mut revocation);
            ReplicaLine::revoke(stamp(3), &revocation, &key()).unwrap()
        };
        let succeed = |change: fn(&mut Succession)| {
            let mut succession = succession();
            change(&mut succession);
            ReplicaLine::succeed(stamp(3), &succession, &key(), &other()).unwrap()
        };
        let table = [
            (revoke(|_| {}), true),
            (revoke(|r| r.since = 0), false),
            (revoke(|r| r.since = 1), true),
            (revoke(|r| r.since = 9), true),
            (revoke(|r| r.since = 10), false),
            (revoke(|r| r.at = 0), false),
            (revoke(|r| r.at = limits::JOB_TIME), true),
            (revoke(|r| r.at = limits::JOB_TIME + 1), false),
            (revoke(|r| r.who = r.by), false),
            (revoke(|r| r.reason = None), true),
            (revoke(|r| r.reason = Some(String::new())), false),
            (revoke(|r| r.reason = Some("\"".repeat(limits::REASON_BYTES))), true),
            (revoke(|r| r.reason = Some("x".repeat(limits::REASON_BYTES + 1))), false),
            (revoke(|r| r.reason = Some("two\nlines".to_owned())), false),
            (revoke(|r| r.name = None), true),
            (revoke(|r| r.name = Some(String::new())), false),
            (revoke(|r| r.name = Some("x".repeat(limits::REVOKED_NAME_BYTES))), true),
            (revoke(|r| r.name = Some("x".repeat(limits::REVOKED_NAME_BYTES + 1))), false),
            (revoke(|r| r.name = Some("lap\ttop".to_owned())), false),
            (revoke(|r| r.keys.clear()), true),
            (revoke(|r| r.keys = several(limits::REVOKED_KEYS)), true),
            (revoke(|r| r.keys = several(limits::REVOKED_KEYS + 1)), false),
            (revoke(|r| r.keys.insert(0, ReplicaId::from_bytes([9; 32]))), false),
            (revoke(|r| r.keys.push(r.keys[0])), false),
            (revoke(|r| r.keys = vec![r.who]), false),
            (revoke(|r| r.keys = vec![r.by]), false),
            (revoke(|r| r.incarnations.clear()), true),
            (revoke(|r| r.incarnations.reverse()), false),
            (revoke(|r| r.incarnations = vec![Incarnation(1); 2]), false),
            (revoke(|r| r.incarnations = many(limits::REVOKED_INCARNATIONS)), true),
            (
                revoke(|r| {
                    r.keys = several(limits::REVOKED_KEYS);
                    r.incarnations = many(limits::REVOKED_INCARNATIONS);
                    r.reason = Some("\\".repeat(limits::REASON_BYTES));
                    r.name = Some("\\".repeat(limits::REVOKED_NAME_BYTES));
                }),
                true,
            ),
            (revoke(|r| r.incarnations = many(limits::REVOKED_INCARNATIONS + 1)), false),
            (succeed(|_| {}), true),
            (succeed(|s| s.last = 0), true),
            (succeed(|s| s.at = 0), false),
            (succeed(|s| s.at = limits::JOB_TIME + 1), false),
        ];
        for (line, holds) in table {
            let verified = line.verify();
            assert_eq!(verified.is_ok(), holds, "{line:?}: {verified:?}");
            assert!(holds || matches!(verified, Err(Error::Corrupt { .. })), "{verified:?}");
            assert!(ReplicaLine::decode(&line.encode()).is_ok(), "the longest one fits a line");
        }
        let itself = Succession { new: key().public_key(), ..succession() };
        let line = ReplicaLine::succeed(stamp(3), &itself, &key(), &key()).unwrap();
        assert!(matches!(line.verify(), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn each_signature_is_by_the_key_that_has_a_say() {
        let revoked = ReplicaStatement::Revocation(revocation());
        let succeeded = ReplicaStatement::Succession(succession());
        let third = PrivateKey::from_seed([3; 32]);
        let sign = |statement, by: &PrivateKey, with: Option<&PrivateKey>| {
            ReplicaLine::sign(stamp(3), statement, by, with).unwrap().verify()
        };
        assert!(sign(&revoked, &key(), None).is_ok());
        assert!(sign(&succeeded, &key(), Some(&other())).is_ok());
        for (statement, by, with) in [
            (&revoked, &other(), None),
            (&succeeded, &other(), Some(&other())),
            (&succeeded, &key(), Some(&third)),
            (&succeeded, &key(), Some(&key())),
        ] {
            assert!(matches!(sign(statement, by, with), Err(Error::WrongSigner { .. })), "{statement:?}");
        }
        assert!(matches!(sign(&succeeded, &key(), None), Err(Error::BadSignature { .. })));
        assert!(matches!(sign(&revoked, &key(), Some(&other())), Err(Error::Corrupt { .. })));

        let line = ReplicaLine::succeed(stamp(3), &succession(), &key(), &other()).unwrap();
        let changed = ReplicaLine { signed: line.signed.replace("\"last\":41", "\"last\":42"), ..line.clone() };
        assert_ne!(changed, line);
        assert!(matches!(changed.verify(), Err(Error::BadSignature { .. })));
        let elsewhere = ReplicaLine { signature: key().sign(line.signed.as_bytes()).unwrap().to_armor(), ..line };
        assert!(matches!(elsewhere.verify(), Err(Error::BadSignature { .. })), "a signature made for a bundle");
    }

    #[test]
    fn a_statement_has_the_very_shape_that_the_format_gives_it() {
        let signed = |statement: &str| {
            let signature = key().sign_for(REPLICA_NAMESPACE, statement.as_bytes()).unwrap().to_armor();
            ReplicaLine { stamp: stamp(3), signed: statement.to_owned(), signature, countersignature: None }.verify()
        };
        let told = Revocation { keys: vec![], name: None, reason: None, incarnations: vec![], ..revocation() };
        let told = ReplicaLine::revoke(stamp(3), &told, &key()).unwrap().signed;
        assert!(signed(&told).is_ok());
        for (what, by) in [
            ("\"at\":9", "\"at\":9,\"reason\":null"),
            ("\"at\":9", "\"at\":9,\"name\":null"),
            ("\"at\":9", "\"at\":9,\"at\":9"),
            ("\"at\":9", "\"at\":9.0"),
            ("\"at\":9", "\"at\":\"9\""),
            ("\"at\":9", "\"at\":9,\"other\":1"),
            ("\"at\":9", "\"at\":-9"),
            ("\"since\":5,", ""),
            ("\"type\":\"revocation\"", "\"type\":\"praise\""),
        ] {
            assert!(told.contains(what), "{what} in {told}");
            let changed = told.replace(what, by);
            assert!(matches!(signed(&changed), Err(Error::Corrupt { .. })), "{changed}");
        }
        let commented = ReplicaLine::succeed(stamp(3), &succession(), &key(), &other()).unwrap();
        let new = other().public_key().to_openssh();
        assert!(commented.signed.contains(&new));
        for wrong in [format!("{new} me@here"), format!(" {new}"), "ssh-ed25519".to_owned(), String::new()] {
            let text = commented.signed.replace(&new, &wrong);
            let sign = |key: &PrivateKey| key.sign_for(REPLICA_NAMESPACE, text.as_bytes()).unwrap().to_armor();
            let (signature, countersignature) = (sign(&key()), Some(sign(&other())));
            let line = ReplicaLine { stamp: stamp(3), signed: text, signature, countersignature };
            assert!(matches!(line.verify(), Err(Error::Corrupt { .. })), "{wrong:?}");
        }
        for wrong in ["", "{}", "[]", r#"{"stamp":"x","signed":"","signature":""}"#] {
            assert!(matches!(ReplicaLine::decode(wrong.as_bytes()), Err(Error::Corrupt { .. })), "{wrong}");
        }
        let long = vec![b'x'; usize::try_from(limits::REPLICA_LINE_BYTES).unwrap() + 1];
        assert!(matches!(ReplicaLine::decode(&long), Err(Error::TooLarge { .. })));
    }
}
