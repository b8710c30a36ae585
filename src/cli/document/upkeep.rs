//! The documents of the commands that look after a replica, and of those that need none.

use mailsync::replica::{Mending, NewIdentity, Purged, Repaired, ScanReport};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::changes::HeadedChange;
use super::values::Scan;

/// `mailsync scan`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Scanned {
    /// What was found.
    #[serde(flatten)]
    pub scan: Scan,
    /// Each message that was changed; only with `--verbose` or `--list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}

/// `mailsync purge`
///
/// How many things were forgotten.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Purge {
    /// Removals that every peer knows of.
    pub removals: u64,
    /// Removals that are still needed, as some peer has not shown to know of them. They are not forgotten.
    pub removals_kept: u64,
    /// Removed folders, as every peer knows.
    pub folders: u64,
    /// Messages in the trash.
    pub trashed: u64,
    /// Their bytes.
    pub trashed_bytes: u64,
    /// Lines of the log, and of the history of messages.
    pub history: u64,
    /// Finished jobs.
    pub jobs: u64,
}

impl From<Purged> for Purge {
    fn from(purged: Purged) -> Self {
        let Purged { tombstones, tombstones_kept, folders, trashed, trashed_bytes, history, jobs } = purged;
        Self { removals: tombstones, removals_kept: tombstones_kept, folders, trashed, trashed_bytes, history, jobs }
    }
}

/// `mailsync doctor`
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Doctor {
    /// How much was stamped anew by `--new-identity`; null without that.
    pub stamped_anew: Option<StampedAnew>,
    /// What was found in the mail root by `--moved-root` or `--repair`; null without these.
    pub scan: Option<Scan>,
    /// How much was mended by `--repair`; null without that.
    pub repaired: Option<Mended>,
    /// Each thing that was mended; only with `--repair --verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<MendedItem>>,
    /// Each message that was changed by `--moved-root` or `--repair`; only with `--verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}

impl Doctor {
    /// A mail root that was found somewhere else, and each message, if that is asked for.
    pub fn moved(stamped_anew: Option<StampedAnew>, report: &ScanReport, changes: Option<Vec<HeadedChange>>) -> Self {
        Self { stamped_anew, scan: Some(report.into()), changes, ..Self::default() }
    }

    /// A state that was repaired, and each thing and message, if that is asked for.
    pub fn repaired(
        stamped_anew: Option<StampedAnew>,
        repaired: &Repaired,
        items: Option<Vec<MendedItem>>,
        changes: Option<Vec<HeadedChange>>,
    ) -> Self {
        Self { stamped_anew, scan: Some((&repaired.scan).into()), repaired: Some(repaired.into()), items, changes }
    }
}

/// How much was stamped anew.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct StampedAnew {
    /// Entries.
    pub entries: u64,
    /// Folders.
    pub folders: u64,
}

impl From<NewIdentity> for StampedAnew {
    fn from(changed: NewIdentity) -> Self {
        Self { entries: changed.entries, folders: changed.folders }
    }
}

/// How much was mended, of each kind.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Mended {
    /// Incarnations of which less is known.
    pub knowledge: u64,
    /// Incarnations of which less is forgotten.
    pub horizon: u64,
    /// Whether the replica goes on as a new incarnation.
    pub new_identity: bool,
    /// Messages that were only told of, and are forgotten.
    pub forgotten: u64,
    /// Entries that were stamped anew, those of a new identity included.
    pub entries: u64,
    /// Messages that live again.
    pub revived: u64,
    /// Folders that were stamped anew, those of a new identity included.
    pub folders: u64,
    /// Removed folders that were only told of, and are forgotten.
    pub folders_forgotten: u64,
    /// Statements about jobs and replicas that were stamped anew.
    pub statements: u64,
    /// Jobs that were forgotten.
    pub jobs: u64,
    /// Messages whose contents were missing and were found on this machine.
    pub contents: u64,
    /// Values beside the entries that did not follow from them.
    pub derived: u64,
    /// Whether the hash of everything that is alive was another one than was recorded.
    pub state_digest: bool,
}

impl From<&Repaired> for Mended {
    fn from(repaired: &Repaired) -> Self {
        let Repaired {
            knowledge,
            horizon,
            new_identity,
            forgotten,
            entries,
            revived,
            folders,
            folders_forgotten,
            statements,
            jobs,
            contents,
            derived,
            state_digest,
            scan: _,
        } = repaired;
        Self {
            knowledge: *knowledge,
            horizon: *horizon,
            new_identity: *new_identity,
            forgotten: *forgotten,
            entries: *entries,
            revived: *revived,
            folders: *folders,
            folders_forgotten: *folders_forgotten,
            statements: *statements,
            jobs: *jobs,
            contents: *contents,
            derived: *derived,
            state_digest: *state_digest,
        }
    }
}

/// Something that was mended.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MendedItem {
    /// What kind of thing: a word.
    pub kind: String,
    /// Which one, and what was wrong with it: words for people.
    pub what: String,
}

impl From<&Mending> for MendedItem {
    fn from(mending: &Mending) -> Self {
        Self { kind: mending.kind.name().to_owned(), what: mending.what.clone() }
    }
}

/// `mailsync completions`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Completions {
    /// What the shell runs.
    pub script: String,
}

/// `mailsync man`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Man {
    /// The directory into which the pages were written.
    pub directory: String,
    /// How many they are.
    pub pages: u64,
}

/// `mailsync --version`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Versions {
    /// The version of the program.
    pub mailsync: String,
    /// How the commit begins from which it was built; null if that isn't known.
    pub commit: Option<String>,
    /// The version of the bundles that it writes.
    pub bundle_format: u64,
    /// The version of its state database.
    pub state_version: i64,
}

/// `mailsync --help`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Help {
    /// What people are told: of all commands, or of the one that stands before `--help`.
    pub text: String,
}
