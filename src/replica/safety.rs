//! What keeps a person from what was not meant: a dry run, and the guard over mass removals.

use crate::error::{Error, Result};

/// Whether a scan or an import may remove more than half of a large folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MassDelete {
    /// It is refused.
    #[default]
    Refuse,
    /// The person said that it is meant.
    Allow,
}

/// Whether a command only tells what it would do, instead of doing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// Nothing is changed.
    Yes,
    /// It does what it says.
    #[default]
    No,
}

/// A folder over which the mass-removal guard stands, from this many entries on.
const GUARDED_ENTRIES: u64 = 100;

/// The mass-removal guard: refuses to remove more than half of a folder that holds many entries.
pub(super) fn guard(mass_delete: MassDelete, doing: &str, folder: &str, removed: u64, total: u64) -> Result<()> {
    if mass_delete == MassDelete::Allow || total <= GUARDED_ENTRIES || removed * 2 <= total {
        return Ok(());
    }
    Err(Error::refused(format!("{doing}: {removed} of the {total} messages in {folder} would be removed"))
        .advise("if that is meant, run this again with --allow-mass-delete"))
}
