//! Options for an import, and the report about each bundle.

use std::fmt;
use std::path::{Path, PathBuf};

use super::refusal::{Origin, Refusal, reading};
use crate::bundle::{self, Label, Manifest, limits};
use crate::error::{Error, ErrorKind};
use crate::replica::safety::{ClockAhead, DryRun, MassAdd, MassDelete};
use crate::state::Peer;
use crate::text::{beginning, plural};

/// Options for an import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Whether to change anything.
    pub dry_run: DryRun,
    /// Whether it may remove more than half of a large folder.
    pub mass_delete: MassDelete,
    /// Whether it may add much.
    pub mass_add: MassAdd,
    /// Whether it takes stamps from far ahead.
    pub clock_ahead: ClockAhead,
    /// Whether to remove a bundle file for this replica alone once it is imported. After the import of a directory,
    /// this replica's own bundles there are removed, too, if nobody needs them any more.
    pub consume: bool,
    /// Whether it is the answer of a peer that was called, of which there is no file: a refusal tells how to look at it then.
    pub by_call: bool,
}

/// The outcome of a bundle's import.
#[derive(Clone, Debug)]
pub enum ImportOutcome {
    /// It was applied.
    Applied,
    /// It held nothing new.
    NothingNew,
    /// A bundle before it is missing.
    NotYet(Error),
    /// It is not accepted.
    Rejected(Error),
    /// It shows that a state was put back to an earlier one. The command ends with this error.
    RolledBack(Error),
    /// It is refused for safety until a person says that it is meant. The command ends with this error, or goes on with
    /// what it has nothing to do with. Of a dry run, the changes are those that it would bring.
    Refused(Error),
    /// It is not for this replica.
    ForSomeoneElse(Error),
    /// It ends early, in a directory where it may still be being copied.
    Incomplete(Error),
}

impl ImportOutcome {
    /// Puts a subject in front of the error, if there is one.
    pub(super) fn about(&mut self, subject: impl std::fmt::Display) {
        if let Self::NotYet(error)
        | Self::Rejected(error)
        | Self::RolledBack(error)
        | Self::Refused(error)
        | Self::ForSomeoneElse(error)
        | Self::Incomplete(error) = self
        {
            *error = error.clone().about(subject);
        }
    }

    /// The reason why it was not applied, if that is a failure.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Applied | Self::NothingNew => None,
            Self::NotYet(error)
            | Self::Rejected(error)
            | Self::RolledBack(error)
            | Self::Refused(error)
            | Self::ForSomeoneElse(error)
            | Self::Incomplete(error) => Some(error),
        }
    }

    /// Whether the bundle was believed so far that it shows how its sender's clock stands.
    pub(super) fn tells_of_a_clock(&self) -> bool {
        matches!(self, Self::Applied | Self::NothingNew | Self::NotYet(_))
    }

    /// Whether its error is also that of the import, and is told with that.
    pub fn is_that_of_the_import(&self) -> bool {
        matches!(self, Self::RolledBack(_) | Self::Refused(_))
    }
}

/// A bundle that was looked at.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its file; `None` for standard input.
    pub file: Option<PathBuf>,
    /// The sender's name here or, if it has none, its own name for itself.
    pub from: Option<String>,
    /// Its number.
    pub number: Option<u64>,
    /// The peer whose signature vouches for both.
    pub peer: Option<String>,
    /// Its outcome.
    pub outcome: ImportOutcome,
    /// The changes that it brought.
    pub changes: Changes,
    /// Whether it is for this replica, and for no other.
    pub for_me_alone: bool,
    /// Whether it is newer than the newest that came from its sender before: only then is it answered.
    pub fresh: bool,
    /// Whether its clocks are so far ahead that nothing of it is believed. It isn't answered, since nothing is
    /// remembered of it: it could come again and again.
    pub clock_ahead: bool,
}

impl ImportOutcome {
    /// The outcome for a bundle that is refused.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::ForSomeoneElse(_) => Self::ForSomeoneElse(refusal.error()),
            _ => Self::Rejected(refusal.error()),
        }
    }
}

impl Imported {
    /// A bundle that is refused for what its manifest says. The sender is called `from`.
    pub(super) fn refused(manifest: &Manifest, from: &str, refusal: &Refusal) -> Self {
        let (from, number) = (Some(from.to_owned()), Some(manifest.number));
        Self { from, number, outcome: ImportOutcome::refused(refusal), ..Self::unknown(None) }
    }

    /// A bundle of somebody who isn't known here, and of which no more is read than this.
    pub(super) fn of_label(label: &Label, refusal: &Refusal) -> Self {
        let (name, outcome) = (beginning(label.name(), limits::NAME_BYTES), ImportOutcome::refused(refusal));
        Self { from: Some(name), number: Some(label.number), outcome, ..Self::unknown(None) }
    }

    /// Whether it was for this replica alone, and all that it brings is here: one that lacked something can be imported
    /// again for that.
    pub(super) fn is_all_here(&self) -> bool {
        self.outcome.error().is_none() && self.for_me_alone && self.changes.left_out == 0
    }

    /// A bundle that is encrypted for others.
    pub(super) fn sealed(error: &bundle::Error, origin: Origin) -> Self {
        Self { outcome: origin.outcome(error), ..Self::unknown(None) }
    }

    /// A bundle from this peer about which nothing more is known yet.
    pub(in crate::replica) fn of(file: Option<&Path>, manifest: &Manifest, peer: &Peer) -> Self {
        Self {
            file: file.map(Path::to_owned),
            from: Some(peer.name.clone()),
            number: Some(manifest.number),
            peer: Some(peer.name.clone()),
            outcome: ImportOutcome::NothingNew,
            changes: Changes::default(),
            for_me_alone: manifest.recipient.is_some(),
            fresh: true,
            clock_ahead: false,
        }
    }

    /// A bundle about which nothing is known yet.
    pub(super) fn unknown(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
            from: None,
            number: None,
            peer: None,
            outcome: ImportOutcome::NothingNew,
            changes: Changes::default(),
            for_me_alone: false,
            fresh: false,
            clock_ahead: false,
        }
    }

    /// A file that can't be read as a bundle.
    pub(super) fn unreadable(file: &Path, error: &bundle::Error, origin: Origin) -> Self {
        let mut imported = Self { outcome: origin.outcome(error), ..Self::unknown(Some(file)) };
        imported.outcome.about(file.display());
        imported
    }
}

impl Origin {
    /// What becomes of a bundle in which this is wrong.
    pub(super) fn outcome(self, error: &bundle::Error) -> ImportOutcome {
        match (self, error) {
            (Self::Directory, bundle::Error::Truncated | bundle::Error::Empty) => ImportOutcome::Incomplete(
                Error::new(ErrorKind::NotYet, "this bundle ends early, so it was left for later")
                    .advise("import again when it is copied to its end; if nothing copies it any more, copy it again"),
            ),
            (_, error) if error.is_for_others() => ImportOutcome::ForSomeoneElse(reading(error, self)),
            _ => ImportOutcome::Rejected(reading(error, self)),
        }
    }
}

/// The changes that a bundle brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
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

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("no changes");
        }
        write!(f, "{} new, {} moved, {} flagged, {} removed", self.new, self.moved, self.flagged, self.removed)?;
        if self.folders > 0 {
            write!(f, ", {} made or removed", plural(self.folders, "folder"))?;
        }
        if self.jobs > 0 {
            write!(f, ", {}", plural(self.jobs, "job"))?;
        }
        if self.left_out > 0 {
            write!(f, ", {} left out", plural(self.left_out, "message"))?;
        }
        if self.replicas > 0 {
            write!(f, ", {} about replicas", plural(self.replicas, "statement"))?;
        }
        if self.unmade > 0 {
            write!(f, ", of which {} could not be made on disk yet", self.unmade)?;
        }
        Ok(())
    }
}
