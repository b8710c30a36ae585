//! The documents about bundles: those that were written, those that were imported, and those that were only looked at.

use std::path::PathBuf;

use mailsync::bundle::{BundleKind, Code, Manifest};
use mailsync::replica::{self, Changes, Exported, ImportOutcome, Imported, Joined, ScanReport};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::changes::HeadedChange;
use super::jobs::{Job, Run};
use super::values::{Fault, Own, Scan, Time, path};

/// How much a bundle holds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Contents {
    /// Entries.
    pub entries: u64,
    /// Folders.
    pub folders: u64,
    /// Messages.
    pub messages: u64,
    /// Statements about jobs.
    pub jobs: u64,
    /// Statements about replicas.
    pub replicas: u64,
    /// The sizes of the messages, not compressed, added up: bytes.
    pub bytes: u64,
}

impl Contents {
    fn of(counts: mailsync::bundle::Counts, bytes: u64) -> Self {
        let mailsync::bundle::Counts { folders, entries, replicas, messages, jobs } = counts;
        Self { entries, folders, messages, jobs, replicas, bytes }
    }
}

/// A bundle that was written, or would be.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Written {
    /// Its file; null in a dry run.
    pub file: Option<String>,
    /// The size of that file, or of what was written to a stream, in bytes; null in a dry run.
    pub file_bytes: Option<u64>,
    /// Its number.
    pub number: u64,
    /// The peer for which it is; null if it is for anyone.
    #[serde(rename = "for")]
    pub to: Option<String>,
    /// Whether it starts from nothing, and not from what its recipient is known to have.
    pub full: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// How much it holds.
    #[serde(flatten)]
    pub contents: Contents,
    /// How many of the messages are attachments of jobs.
    pub attachments: u64,
    /// Messages that could not be read: it lacks them, and they are not among those that it holds.
    pub missing: u64,
    /// Each message of which it tells; only with `--verbose` or `--list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}

impl Written {
    /// A bundle without a file.
    fn of(exported: &Exported) -> Self {
        Self {
            file: None,
            file_bytes: exported.file_bytes,
            number: exported.number,
            to: exported.to.clone(),
            full: exported.kind == BundleKind::Full,
            encrypted: exported.readable.is_encrypted(),
            contents: Contents {
                messages: exported.messages_in_it(),
                ..Contents::of(exported.counts, exported.bytes_in_it())
            },
            attachments: exported.attachments_in_it(),
            missing: exported.missing.digests.len() as u64,
            changes: None,
        }
    }
}

/// `mailsync export`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Export {
    /// The bundles that were written, or would be.
    pub bundles: Vec<Written>,
    /// What the scan before has found; zeros if there was none.
    pub scan: Scan,
}

impl Export {
    /// Bundles that were written to these files.
    pub fn written(written: &[(PathBuf, Exported)], scan: &ScanReport) -> Self {
        let one = |(file, exported): &(PathBuf, Exported)| Written { file: Some(path(file)), ..Written::of(exported) };
        Self { bundles: written.iter().map(one).collect(), scan: scan.into() }
    }

    /// Bundles that have no file.
    pub fn without_files<'e>(bundles: impl IntoIterator<Item = &'e Exported>, scan: &ScanReport) -> Self {
        Self { bundles: bundles.into_iter().map(Written::of).collect(), scan: scan.into() }
    }

    /// The same with what each of the bundles tells of messages.
    pub fn with_changes(mut self, changes: Vec<Option<Vec<HeadedChange>>>) -> Self {
        for (written, changes) in self.bundles.iter_mut().zip(changes) {
            written.changes = changes;
        }
        self
    }
}

/// `mailsync invite`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Invite {
    /// The name of the replica that is invited.
    pub name: String,
    /// The code that opens the bundles; null if they aren't encrypted with one. It is kept nowhere.
    pub code: Option<String>,
    /// The bundles that were written.
    pub bundles: Vec<Written>,
    /// What the scan before has found.
    pub scan: Scan,
}

impl Invite {
    /// An invitation in these bundles.
    pub fn of(name: &str, code: Option<&Code>, written: Export) -> Self {
        let code = code.map(|code| code.words().to_owned());
        Self { name: name.to_owned(), code, bundles: written.bundles, scan: written.scan }
    }
}

/// A bundle that was imported, or looked at for that.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ImportedBundle {
    /// Its file; null for standard input and for the answer of a peer.
    pub file: Option<String>,
    /// The sender's name here or, if it has none, its own name for itself; null if nobody can tell.
    pub from: Option<String>,
    /// Its number; null if nobody can tell.
    pub number: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not applied; null if it was, or held nothing new.
    pub error: Option<Fault>,
    /// What it has brought.
    #[serde(flatten)]
    pub brought: Brought,
}

impl From<&Imported> for ImportedBundle {
    fn from(imported: &Imported) -> Self {
        Self {
            file: imported.file.as_deref().map(path),
            from: imported.from.clone(),
            number: imported.number,
            outcome: (&imported.outcome).into(),
            error: imported.outcome.error().map(Fault::from),
            brought: imported.changes.into(),
        }
    }
}

/// What became of a bundle.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// It held nothing new.
    NothingNew,
    /// A bundle before it is missing.
    NotYet,
    /// It is not accepted.
    Rejected,
    /// It shows that a state was put back to an earlier one. The command ends with this error.
    RolledBack,
    /// It is refused for safety until it is said that it is meant. Of a dry run, the counts and changes are what it would bring.
    Refused,
    /// It is not for this replica.
    ForSomeoneElse,
    /// It ends early, in a directory where it may still be being copied.
    Incomplete,
}

impl From<&ImportOutcome> for Outcome {
    fn from(outcome: &ImportOutcome) -> Self {
        match outcome {
            ImportOutcome::Applied => Self::Applied,
            ImportOutcome::NothingNew => Self::NothingNew,
            ImportOutcome::NotYet(_) => Self::NotYet,
            ImportOutcome::Rejected(_) => Self::Rejected,
            ImportOutcome::RolledBack(_) => Self::RolledBack,
            ImportOutcome::Refused(_) => Self::Refused,
            ImportOutcome::ForSomeoneElse(_) => Self::ForSomeoneElse,
            ImportOutcome::Incomplete(_) => Self::Incomplete,
        }
    }
}

/// What a bundle has brought.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Brought {
    /// Messages that came.
    pub new: u64,
    /// Entries that are in another folder.
    pub moved: u64,
    /// Entries with other flags.
    pub flagged: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Folders that were made or removed.
    pub folders: u64,
    /// Jobs about which there was news.
    pub jobs: u64,
    /// Messages for which no file here may be large enough.
    pub left_out: u64,
    /// Statements about replicas that were news.
    pub replicas: u64,
    /// Those of all these changes that could not be made on disk yet.
    pub unmade: u64,
}

impl From<Changes> for Brought {
    fn from(changes: Changes) -> Self {
        let Changes { new, moved, flagged, removed, folders, jobs, left_out, replicas, unmade } = changes;
        Self { new, moved, flagged, removed, folders, jobs, left_out, replicas, unmade }
    }
}

/// `mailsync import`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Import {
    /// The bundles that were looked at, in their order.
    pub bundles: Vec<ImportedBundle>,
    /// What the scan before has found.
    pub scan: Scan,
    /// The jobs that were run.
    pub jobs: Vec<Run>,
    /// The jobs that were asked for here, went wrong, and were not told before.
    pub failed_jobs: Vec<Job>,
    /// Each message that was changed; only with `--verbose` or `--list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}

/// `mailsync join`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Join {
    /// This replica.
    pub replica: Own,
    /// Whether it had joined before, so that this only repeated a complete join.
    pub joined_before: bool,
    /// Whether a code has opened the invitation.
    pub by_code: bool,
    /// The replica that has invited this one.
    pub inviter: Inviter,
    /// The invitation, and the bundles behind it in the stream.
    pub bundles: Vec<ImportedBundle>,
    /// What was found in the mail root. What is new there goes to all other machines.
    pub scan: Scan,
    /// How many of those that are new have contents that the inviter has in another folder: they are there twice from now on.
    pub elsewhere: u64,
}

impl From<&Joined> for Join {
    fn from(joined: &Joined) -> Self {
        Self {
            replica: (&joined.replica).into(),
            joined_before: joined.before,
            by_code: joined.by_code,
            inviter: Inviter { name: joined.inviter.name.clone(), id: joined.inviter.id.to_string() },
            bundles: joined.bundles.iter().map(ImportedBundle::from).collect(),
            scan: (&joined.found).into(),
            elsewhere: joined.elsewhere,
        }
    }
}

/// The replica that has invited this one.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Inviter {
    /// Its name here.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// `mailsync update`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Update {
    /// The peers that were called, in their order.
    pub peers: Vec<Called>,
    /// The jobs that were run.
    pub jobs: Vec<Run>,
    /// The jobs that were asked for here, went wrong, and were not told before.
    pub failed_jobs: Vec<Job>,
}

/// A peer that was called.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Called {
    /// Its name.
    pub peer: String,
    /// Why it was not updated; null if it was.
    pub error: Option<Fault>,
    /// The bundle that it was given; null if it didn't take all of it, or answered nothing.
    pub sent: Option<Written>,
    /// The size of its answer in bytes.
    pub received_bytes: u64,
    /// The bundles of its answer.
    pub bundles: Vec<ImportedBundle>,
}

impl From<&replica::Called> for Called {
    fn from(called: &replica::Called) -> Self {
        Self {
            peer: called.peer.clone(),
            error: called.result.as_ref().err().map(Fault::from),
            sent: called.sent.as_ref().map(Written::of),
            received_bytes: called.received,
            bundles: called.imported.iter().map(ImportedBundle::from).collect(),
        }
    }
}

/// `mailsync inspect`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Inspect {
    /// The bundles, in their order.
    pub bundles: Vec<Inspected>,
}

/// What a bundle says about itself.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Inspected {
    /// The file in which it is; null for standard input.
    pub file: Option<String>,
    /// Its number.
    pub number: u64,
    /// When it was made, by its sender's clock.
    pub made: Time,
    /// The sender's name for itself.
    pub from: String,
    /// The sender's id.
    pub from_id: String,
    /// The sender's name here; null if it isn't known here.
    pub known_as: Option<String>,
    /// The id of the replica for which it is; null if it is for anyone.
    pub for_id: Option<String>,
    /// What its sender calls the new replica that it invites; null if it is no invitation.
    pub invites: Option<String>,
    /// Whether it starts from nothing, and not from what its recipient is known to have.
    pub full: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The size of its file, or of its part of a stream, in bytes.
    pub file_bytes: u64,
    /// How much it holds.
    #[serde(flatten)]
    pub contents: Contents,
    /// How many of these messages it lacks, since its sender could not read them; null if it was not read to its end, where
    /// that stands: it is with `--verbose` or `--list`.
    pub missing: Option<u64>,
    /// How many messages its sender lacks.
    pub wants: u64,
    /// The whole manifest, as bundle-format.md has it; an invitation's token is left out.
    #[cfg_attr(test, schemars(with = "serde_json::Map<String, Value>"))]
    pub manifest: Value,
    /// Each message of which it tells; only with `--verbose` or `--list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}

impl Inspected {
    /// A bundle in this file, with this manifest, whose sender has a name here or not.
    ///
    /// # Errors
    /// None: a manifest that was read can be written.
    pub fn of(
        file: Option<String>,
        manifest: &Manifest,
        known_as: Option<&str>,
        encrypted: bool,
        file_bytes: u64,
    ) -> Self {
        let mut whole: Value = serde_json::from_slice(&manifest.to_json()).expect("a manifest is JSON");
        // The person who sees the output may be another than the one who may join.
        if let Some(token) = whole.pointer_mut("/invitation/token") {
            *token = Value::from("secret");
        }
        Self {
            file,
            number: manifest.number,
            made: Time::of(manifest.made),
            from: manifest.sender.name.clone(),
            from_id: manifest.sender.id.to_string(),
            known_as: known_as.map(str::to_owned),
            for_id: manifest.recipient.map(|id| id.to_string()),
            invites: manifest.invitation.as_ref().map(|invitation| invitation.name.clone()),
            full: manifest.kind == BundleKind::Full,
            encrypted,
            file_bytes,
            contents: Contents::of(manifest.counts, manifest.bytes),
            missing: None,
            wants: manifest.wants.len() as u64,
            manifest: whole,
            changes: None,
        }
    }
}

/// `mailsync verify`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Verify {
    /// The bundles, in their order, up to the first that isn't valid.
    pub bundles: Vec<Verified>,
}

/// A bundle that was checked.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Verified {
    /// The file in which it is; null for standard input.
    pub file: Option<String>,
    /// Its number; null if it isn't valid.
    pub number: Option<u64>,
    /// The sender's name here or, if it has none, its own name for itself; null if the bundle isn't valid.
    pub from: Option<String>,
    /// Whether it is whole, and signed by its sender.
    pub valid: bool,
    /// Whether it can be applied here.
    pub applicable: bool,
    /// How many messages it lacks, since its sender could not read them; null if it isn't valid.
    pub missing: Option<u64>,
    /// Why not; null if it can.
    pub error: Option<Fault>,
    /// Each message of which it tells; only with `--verbose` or `--list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}
