//! The document of `deinit`.

use std::path::PathBuf;

use mailsync::replica::{LeavePlan, LeftBehind};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::status::UnseenThere;
use super::values::{Own, path};

/// `mailsync deinit`
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Deinit {
    /// The replica; null if there was only something to be ended that was interrupted.
    pub replica: Option<Own>,
    /// What goes, what stays, and what others lack; null as above.
    pub plan: Option<Plan>,
    /// What is lost that nobody else has, in words: why it is refused without `--anyway`.
    pub losses: Vec<String>,
    /// What is left; null if nothing was done.
    pub left: Option<Left>,
}

/// What goes, what stays, and what others lack.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Plan {
    /// Entries, which stay.
    pub entries: u64,
    /// Messages, which stay.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is in the trash.
    pub trash: Amount,
    /// Former keys, which go with the present one.
    pub former_keys: u64,
    /// Jobs for this replica, or by it, that are not over.
    pub open_jobs: u64,
    /// What no peer has shown to know.
    #[serde(flatten)]
    pub unseen: UnseenThere,
    /// The peers with which bundles are exchanged.
    pub peers: Vec<Peer>,
    /// The names of the peers of which only jobs come.
    pub distant: Vec<String>,
    /// The names of those that were invited and have not answered.
    pub invited: Vec<String>,
}

/// Messages, and how large they are.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Amount {
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A peer, and what it has not shown to know.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Peer {
    /// Its name here.
    pub name: String,
    /// What it has not shown to know.
    #[serde(flatten)]
    pub unseen: UnseenThere,
}

/// What is left of a replica.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Left {
    /// Directories with messages that were in the trash, or that waited for their folders.
    pub kept: Vec<String>,
    /// What was moved out of the trash.
    pub moved: Amount,
    /// Other things in its directories, which are nothing of mailsync's.
    pub others: Vec<String>,
}

impl From<&LeavePlan> for Plan {
    fn from(plan: &LeavePlan) -> Self {
        let peers = plan.peers.iter().map(|(name, unseen)| Peer { name: name.clone(), unseen: (*unseen).into() });
        Self {
            entries: plan.totals.entries,
            messages: plan.totals.messages,
            bytes: plan.totals.bytes,
            trash: Amount { messages: plan.trashed, bytes: plan.trashed_bytes },
            former_keys: plan.former_keys,
            open_jobs: plan.open_jobs,
            unseen: plan.unseen.into(),
            peers: peers.collect(),
            distant: plan.distant.clone(),
            invited: plan.invited.clone(),
        }
    }
}

impl From<&LeftBehind> for Left {
    fn from(left: &LeftBehind) -> Self {
        let paths = |paths: &[PathBuf]| paths.iter().map(|at| path(at)).collect();
        let moved = Amount { messages: left.copied.messages, bytes: left.copied.bytes };
        Self { kept: paths(&left.kept), moved, others: paths(&left.others) }
    }
}
