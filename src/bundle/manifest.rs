//! The manifest: a bundle's statements about itself. Its signature covers them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::error::SHOWN;
use super::{Error, Invitation, ReplicaId, SignedSuccession, limits, strict};
use crate::model::{Claims, Clock, Digest, Head, Incarnation, Knowledge, PassesOver, StateDigest};
use crate::text::{beginning, plural};

/// The value of the manifest's `format`.
pub const FORMAT: &str = "mailsync-bundle";

/// The version of the format that is read and written here.
pub const VERSION: u64 = 1;

/// The features that are understood here, besides what version 1 holds by itself.
const FEATURES: &[&str] = &[];

/// A bundle's statements about itself. The field names are those of `manifest.json`; `bundle-format.md` tells more
/// about each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whether the bundle starts from nothing or from a base.
    pub kind: BundleKind,
    /// Counts the sender's bundles, upwards, within its incarnation.
    pub number: u64,
    /// When the bundle was made: milliseconds since 1970 UTC. For people; nothing is decided by it.
    pub made: u64,
    /// The replica that made it.
    #[serde(deserialize_with = "strict::object")]
    pub sender: Sender,
    /// The replica that it is for; `None` for any peer.
    #[serde(deserialize_with = "strict::nullable")]
    pub recipient: Option<ReplicaId>,
    /// For a replica that is not known yet: the invitation by which it becomes known.
    #[serde(default, deserialize_with = "strict::present_object", skip_serializing_if = "Option::is_none")]
    pub invitation: Option<Invitation>,
    /// From a replica that may not be known yet: the proof that it was invited, see [`super::Token::proof`].
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub proof: Option<Digest>,
    /// How the sender came to its key: its latest successions, each from the id to which the one before has led, the last
    /// one to the sender's key. Left out if the recipient has shown to know that. At most [`limits::SUCCESSIONS`].
    #[serde(default, deserialize_with = "strict::objects", skip_serializing_if = "Vec::is_empty")]
    pub successions: Vec<SignedSuccession>,
    /// The number of the sender's bundle whose tip is `base`, if it was chosen for that. For people; nothing is decided
    /// by it.
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub follows: Option<u64>,
    /// A replica whose knowledge covers this can apply the bundle. Empty for a full one.
    pub base: Knowledge,
    /// The knowledge of the sender, and of every replica that has applied the bundle.
    pub tip: Knowledge,
    /// The removals that the sender has forgotten.
    pub horizon: Knowledge,
    /// The clocks of the stamps that the sender's incarnation issued after `base`, ascending; the newest
    /// [`limits::ISSUED`] of them.
    pub issued: Vec<Clock>,
    /// Of incarnations of replicas that were revoked: the bundle leaves out what has nothing new but stamps of theirs after
    /// this clock. A reader takes nothing of them from this bundle that is later. Empty in a full bundle.
    #[serde(default, skip_serializing_if = "Knowledge::is_empty")]
    pub left_out: Knowledge,
    /// What the sender passes over, so that its peers leave it out of their bundles for it.
    #[serde(default, deserialize_with = "strict::present_object", skip_serializing_if = "Option::is_none")]
    pub passes_over: Option<PassesOver>,
    /// The hash of everything that is alive at the sender.
    pub state_digest: StateDigest,
    /// The messages whose contents the sender lacks, ascending.
    pub wants: Vec<Digest>,
    /// How much the bundle holds.
    #[serde(deserialize_with = "strict::object")]
    pub counts: Counts,
    /// The sizes of all messages in the bundle, added up: bytes.
    pub bytes: u64,
    /// `replicas.jsonl`; `None` when there is none.
    #[serde(default, deserialize_with = "strict::present_object", skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Part>,
    /// `entries.jsonl`.
    #[serde(deserialize_with = "strict::object")]
    pub entries: Part,
    /// `jobs.jsonl`; `None` when there is none.
    #[serde(deserialize_with = "strict::nullable_object")]
    pub jobs: Option<Part>,
}

/// The point from which a bundle starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BundleKind {
    /// It starts from nothing, and holds every entry that its sender knows.
    Full,
    /// It starts from the base, and holds the changes since.
    Delta,
}

/// The replica that made a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The fingerprint of the key that signed the bundle.
    pub id: ReplicaId,
    /// The replica's own name for itself: 1 to [`limits::NAME_BYTES`] bytes, no control characters. Peers may know it
    /// by another name.
    pub name: String,
    /// Its incarnation when the bundle was made.
    pub incarnation: Incarnation,
}

/// The numbers of things that a bundle holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Folder records.
    pub folders: u64,
    /// Entry records.
    pub entries: u64,
    /// Lines of `replicas.jsonl`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replicas: u64,
    /// Messages.
    pub messages: u64,
    /// Lines of `jobs.jsonl`.
    pub jobs: u64,
}

impl Counts {
    /// How many messages there are, for people. What belongs to jobs is counted with the messages.
    pub fn messages_in_words(&self) -> String {
        match (self.jobs, self.messages) {
            (0, _) | (_, 0) => plural(self.messages, "message"),
            (_, 1) => String::from("1 message or attachment of a job"),
            (_, many) => format!("{many} messages and attachments of jobs"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it by reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A member of the archive that the manifest vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its size in bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Digest,
}

impl Part {
    /// Describes the member that consists of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Digest::of(bytes) }
    }
}

/// The fields that tell whether the others can be understood. They alone keep their meaning in every version.
#[derive(Serialize, Deserialize)]
struct Opening<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u64,
}

#[derive(Deserialize)]
struct Features {
    features: Vec<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u64,
    features: &'static [&'static str],
    #[serde(flatten)]
    manifest: &'a Manifest,
}

impl Manifest {
    /// The head, from which the model draws its conclusions.
    pub fn head(&self) -> Head {
        Head {
            incarnation: self.sender.incarnation,
            number: self.number,
            full: self.kind == BundleKind::Full,
            base: self.base.clone(),
            tip: self.tip.clone(),
            horizon: self.horizon.clone(),
            issued: self.issued.clone(),
            left_out: self.left_out.clone(),
        }
    }

    /// What the records of the bundle are checked with.
    ///
    /// # Errors
    /// The manifest says something that can't be true, or is above a limit.
    pub(super) fn claims(&self) -> Result<Claims, Error> {
        for (found, limit, what) in [
            (self.successions.len() as u64, limits::SUCCESSIONS as u64, "the number of its sender's keys"),
            (self.wants.len() as u64, limits::WANTS as u64, "the number of messages that it wants"),
            (self.counts.folders, limits::FOLDERS, "the number of its folders"),
            (self.counts.replicas, limits::REPLICA_STATEMENTS, "the number of its statements about replicas"),
            (self.counts.jobs, limits::STATEMENTS, "the number of its statements about jobs"),
        ] {
            if found > limit {
                return Err(Error::TooLarge { what, limit });
            }
        }
        let claims = Claims::of(&self.head())
            .and_then(|claims| self.passes_over.as_ref().map_or(Ok(()), Claims::passes_over).map(|()| claims));
        claims.map_err(|untrue| Error::untrue(format!("manifest.json: {untrue}")))
    }

    /// No frame with this manifest is longer, in bytes, however badly it was compressed: twice its members and their
    /// headers, and room for the manifest itself. Blocks that hold nothing can make a frame endless.
    pub(super) fn most_frame_bytes(&self) -> u64 {
        let said = |part: Option<Part>| part.map_or(0, |part| part.bytes);
        let members = [said(self.replicas), self.entries.bytes, said(self.jobs), self.bytes];
        let held = members.into_iter().fold(2 * limits::MANIFEST_BYTES, u64::saturating_add);
        let headers = self.counts.messages.saturating_mul(1024);
        held.saturating_add(headers).saturating_mul(2)
    }

    /// The bytes of `manifest.json`. The signature is made over them.
    pub fn to_json(&self) -> Vec<u8> {
        let written = Written { format: FORMAT, version: VERSION, features: FEATURES, manifest: self };
        let mut json = serde_json::to_vec_pretty(&written).expect("every field has a JSON form");
        json.push(b'\n');
        json
    }

    /// Reads `manifest.json`. If its version is newer, only `format` and `version` are looked at.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let wrong = |what: String| Error::corrupt(format!("manifest.json: {}", beginning(&what, SHOWN)));
        let opening: Opening<'_> = strict::parse(json).map_err(wrong)?;
        if opening.format != FORMAT {
            return Err(Error::NotABundle { begins: None });
        }
        match opening.version {
            VERSION => {}
            0 => return Err(Error::corrupt("manifest.json: there is no version 0")),
            newer => return Err(Error::NewerFormat { what: format!("format version {newer}") }),
        }
        let features: Features = strict::parse(json).map_err(wrong)?;
        if let Some(unknown) = features.features.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
            return Err(Error::NewerFormat { what: format!("the feature \"{}\"", beginning(unknown, SHOWN)) });
        }
        if json.last() != Some(&b'\n') {
            return Err(Error::corrupt("manifest.json: it doesn't end with a newline"));
        }
        let manifest: Self = strict::parse(json).map_err(wrong)?;
        manifest.check().map_err(|what| Error::corrupt(format!("manifest.json: {what}")))?;
        manifest.invitation.as_ref().map_or(Ok(()), Invitation::check)?;
        SignedSuccession::check_chain(&manifest.successions, &manifest.sender.id)?;
        Ok(manifest)
    }

    /// Refuses contradictions that the types of the fields can't rule out.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let name = &self.sender.name;
        if name.is_empty() || name.len() > limits::NAME_BYTES || name.chars().any(char::is_control) {
            return Err("the sender's name is empty, too long or not printable");
        }
        if !self.wants.is_sorted_by(|a, b| a < b) {
            return Err("\"wants\" is not in ascending order");
        }
        if self.kind == BundleKind::Full && !self.left_out.is_empty() {
            return Err("a full bundle leaves something out");
        }
        if self.passes_over.as_ref().is_some_and(|passes| passes.is_empty() || !passes.is_sound()) {
            return Err("\"passes_over\" is empty, or \"after\" is not before \"until\"");
        }
        if self.replicas.is_some() != (self.counts.replicas > 0) {
            return Err("\"replicas\" and \"counts.replicas\" disagree");
        }
        if self.jobs.is_some() != (self.counts.jobs > 0) {
            return Err("\"jobs\" and \"counts.jobs\" disagree");
        }
        Ok(())
    }
}
