//! Imports: applying bundles.
//!
//! Each stage is a file, with a value as its result: the source of bundles (`source`), the decision whether one is
//! taken (`gate`), the merge of its records with the state (`merge`), the storing of its messages on disk (`contents`,
//! in the way of a `landing`), and the report about it (`outcome`). `apply` has their order.
//!
//! A crash at any point leaves either the old or the new state, and the next command rolls on. This is so because of
//! the order: scan, so that local changes come first; verify; merge the records, and write message contents into the
//! `tmp/` of their folders; make these durable; commit, in one transaction, the merged entries, the knowledge and the
//! list of work on disk; do that work; make it durable; clear the list.

mod apply;
mod arrived;
mod arriving;
mod coded;
mod contents;
mod directory;
mod foreseen;
mod gate;
mod heard_first;
mod in_order;
mod landing;
mod large;
mod left_out;
mod listing;
mod look;
mod lying;
mod merge;
mod one_file;
mod outcome;
mod passed_over;
mod recover;
mod refusal;
mod refused;
mod room;
mod source;
mod standing;
mod strangers;
mod tidy;

pub(super) use apply::{Application, FromWhom};
pub use arrived::Arrived;
pub(super) use arrived::keeping;
pub use foreseen::Foreseen;
pub use gate::{Reception, Sender};
pub(super) use landing::Landing;
pub use listing::is_called_a_bundle;
pub use lying::Lying;
pub use outcome::{Changes, ImportOptions, ImportOutcome, Imported};
pub(super) use refusal::{APART, ahead_of_clock, no_clock};
pub use refusal::{Origin, Refusal};
pub use strangers::link_passed_over;
pub(super) use strangers::mark_of_contents;
