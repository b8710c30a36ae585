//! The document of `mailsync deinit`.

use mailsync::replica::{LeavePlan, LeftBehind, Unseen};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::status::UnseenThere;
use super::values::{Own, path};

/// `mailsync deinit`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Deinit {
    /// The replica; null if an earlier `mailsync deinit` had been interrupted, and was only ended.
    pub replica: Option<Own>,
    /// What goes and what stays; null in the same case.
    pub plan: Option<Plan>,
    /// What would be lost, in words for people: this is refused without `--anyway`.
    pub losses: Vec<String>,
    /// What is left in the directories; null if nothing was done.
    pub left: Option<LeftThere>,
}

impl Deinit {
    /// An interrupted `mailsync deinit` that was ended.
    pub fn ended(left: &LeftBehind) -> Self {
        Self { replica: None, plan: None, losses: Vec::new(), left: Some(left.into()) }
    }

    /// What is planned and, if it was done, what is left.
    pub fn of(replica: Own, plan: &LeavePlan, left: Option<&LeftBehind>) -> Self {
        let left = left.map(LeftThere::from);
        Self { replica: Some(replica), plan: Some(plan.into()), losses: plan.losses(), left }
    }
}

/// What goes and what stays.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Plan {
    /// Entries whose messages are here. They stay.
    pub entries: u64,
    /// Messages that are here: of several entries with the same contents, one. They stay.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is in the trash.
    pub trash: Amount,
    /// Former keys, which go with the present one.
    pub former_keys: u64,
    /// Jobs for this replica, or by it, that are not over.
    pub open_jobs: u64,
    /// What none of the peers has shown to know.
    #[serde(flatten)]
    pub unseen: UnseenThere,
    /// The peers with which bundles are exchanged, sorted by name.
    pub peers: Vec<LeavingPeer>,
    /// The names of the peers of which only jobs come.
    pub distant: Vec<String>,
    /// The names of those who were invited and have not answered.
    pub invited: Vec<String>,
}

impl From<&LeavePlan> for Plan {
    fn from(plan: &LeavePlan) -> Self {
        let peer = |(name, unseen): &(String, Unseen)| LeavingPeer { name: name.clone(), unseen: (*unseen).into() };
        Self {
            entries: plan.totals.entries,
            messages: plan.totals.messages,
            bytes: plan.totals.bytes,
            trash: Amount { messages: plan.trashed, bytes: plan.trashed_bytes },
            former_keys: plan.former_keys,
            open_jobs: plan.open_jobs,
            unseen: plan.unseen.into(),
            peers: plan.peers.iter().map(peer).collect(),
            distant: plan.distant.clone(),
            invited: plan.invited.clone(),
        }
    }
}

/// A peer that will hear no more.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LeavingPeer {
    /// Its name.
    pub name: String,
    /// What it has not shown to know.
    #[serde(flatten)]
    pub unseen: UnseenThere,
}

/// How much it is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is left in the directories of a replica that is none any more.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LeftThere {
    /// The directories in which messages are kept.
    pub kept: Vec<String>,
    /// What was moved out of the trash.
    pub moved: Amount,
    /// What is nothing of mailsync's, and was left alone.
    pub others: Vec<String>,
}

impl From<&LeftBehind> for LeftThere {
    fn from(left: &LeftBehind) -> Self {
        let paths = |paths: &[std::path::PathBuf]| paths.iter().map(|one| path(one)).collect();
        Self {
            kept: paths(&left.kept),
            moved: Amount { messages: left.copied.messages, bytes: left.copied.bytes },
            others: paths(&left.others),
        }
    }
}
