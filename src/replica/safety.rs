//! Protection from mistakes: dry runs, and the guard against mass removals.

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

/// Whether stamps are taken whose clocks are far ahead of this machine's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockAhead {
    /// They are refused.
    #[default]
    Refuse,
    /// A person has looked, and it is meant.
    Accept,
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

/// The guard protects folders with more entries than this.
const GUARDED_ENTRIES: u64 = 100;

/// The guard against mass removals: refuses to remove more than half of a folder that holds many entries.
pub(super) fn guard(mass_delete: MassDelete, doing: &str, folder: &str, removed: u64, total: u64) -> Result<()> {
    if mass_delete == MassDelete::Allow || total <= GUARDED_ENTRIES || removed * 2 <= total {
        return Ok(());
    }
    Err(Error::refused(format!("{doing}: {removed} of the {total} messages in {folder} would be removed"))
        .advise("if that is meant, run this again with --allow-mass-delete"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_refuses_to_remove_more_than_half_of_a_large_folder() {
        // The number of removed messages, the number of all messages, and whether the guard refuses.
        let table = [
            (0, 0, false),
            (100, 100, false),
            (50, 101, false),
            (51, 101, true),
            (51, 102, false),
            (52, 102, true),
            (101, 101, true),
            (500, 1000, false),
            (501, 1000, true),
        ];
        for (removed, total, refused) in table {
            let guarded = guard(MassDelete::Refuse, "scanning", "INBOX", removed, total);
            assert_eq!(guarded.is_err(), refused, "{removed} of {total}");
            assert!(guard(MassDelete::Allow, "scanning", "INBOX", removed, total).is_ok(), "{removed} of {total}");
        }
    }
}
