//! What `watch` does.

use mailsync::replica::ScanReport;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::bundles::{ImportedBundle, Written};
use super::changes::HeadedChange;
use super::jobs::{Job, Run};
use super::values::Scan;

/// `mailsync watch`: a round. Its last document has no steps, since it was told to stop.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Watch {
    /// What was done, in this order.
    pub steps: Vec<Step>,
}

/// Something that was done, as a command of its own would do it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Step {
    /// What it was.
    pub step: StepKind,
    /// The peer for which or with which; null if there is none.
    pub peer: Option<String>,
    /// The directory from which or into which; null if there is none.
    pub directory: Option<String>,
    /// What the scan before, or alone, has found; null if it could not be done.
    pub scan: Option<Scan>,
    /// The bundles that were written.
    pub written: Vec<Written>,
    /// The bundles that were looked at to be imported.
    pub bundles: Vec<ImportedBundle>,
    /// The jobs that were run.
    pub jobs: Vec<Run>,
    /// The jobs that were asked for here, went wrong, and were not told before.
    pub failed_jobs: Vec<Job>,
    /// Each message that was changed; only with `--verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<HeadedChange>>,
}

impl Step {
    /// A step of which nothing is known yet.
    pub fn new(step: StepKind, peer: Option<String>, directory: Option<String>) -> Self {
        Self {
            step,
            peer,
            directory,
            scan: None,
            written: Vec::new(),
            bundles: Vec::new(),
            jobs: Vec::new(),
            failed_jobs: Vec::new(),
            changes: None,
        }
    }

    /// It has begun with this scan.
    pub fn scanned(&mut self, report: &ScanReport) {
        self.scan = Some(report.into());
    }
}

/// What a step of `watch` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum StepKind {
    /// The mail is looked at.
    Scan,
    /// Bundles are imported from a directory.
    Import,
    /// A bundle is written into a directory, for a peer.
    Export,
    /// A peer is called.
    Call,
}
