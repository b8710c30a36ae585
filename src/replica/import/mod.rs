//! Importing: apply bundles.
//!
//! Each stage is a file, with a value as its result: where bundles come from (`source`), what one is to this replica (`gate`), its
//! records merged with the state (`merge`), its messages on disk (`contents`, by way of a `landing`), and what became of it
//! (`outcome`). `apply` has their order.
//!
//! The order, so that a crash at any point leaves either the old or the new state and the next command rolls on: scan, so
//! that local changes come first; verify, and write message contents into the `tmp/` of their folders; make them durable;
//! one transaction with the merged entries, the knowledge, and the list of what is to be done on disk; do that; make it
//! durable; clear the list.

mod apply;
mod contents;
mod directory;
mod gate;
mod landing;
mod merge;
mod outcome;
mod refusal;
mod source;
mod standing;
mod tidy;

pub(super) use apply::Application;
pub use gate::{Reception, Sender};
pub(super) use landing::Landing;
pub use outcome::{Changes, ImportOptions, ImportOutcome, Imported};
pub use refusal::Refusal;
pub(super) use refusal::{APART, ahead_of_clock, no_clock};
