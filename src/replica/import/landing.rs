//! How the messages of an import come to their places.

use std::io;
use std::path::Path;

use crate::disk::{Disk, Durability, remove_if_there};
use crate::error::Scope;
use crate::state::RootBefore;

/// How the messages of an import come to their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Landing {
    /// They go into the `tmp/` of their folders, and on from there when the transaction is durable.
    ThroughTmp,
    /// They go straight to their places: a new replica begins with an empty mail root, which nothing else has open yet.
    InPlace,
    /// A new replica begins with a mail root that holds mail. The mail root is scanned once the entries are known, and
    /// before contents come. The value says what it held before the join.
    AfterScan(RootBefore),
}

/// Up to this many messages are made durable one by one, more of them all together.
const FEW_MESSAGES: u64 = 32;

impl Landing {
    /// Whether this is the import by which a new replica begins.
    pub(super) fn is_a_join(self) -> bool {
        self != Self::ThroughTmp
    }

    /// Decides about a file that is in the way. In `tmp/` an interrupted import has left it. In a message's own place
    /// nothing is ever overwritten.
    pub(super) fn leftovers(self) -> Leftovers {
        if self == Self::InPlace { Leftovers::Refuse } else { Leftovers::Replace }
    }

    /// Few messages are made durable one by one. Many messages, and messages that go straight to their places, are made
    /// durable all together.
    pub(super) fn durability(self, messages: u64) -> Durability {
        if messages <= FEW_MESSAGES && self != Self::InPlace { Durability::Now } else { Durability::Later }
    }
}

/// The decision about a file that already has the name which is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftovers {
    /// It is replaced.
    Replace,
    /// It stays, and nothing is written.
    Refuse,
}

impl Leftovers {
    /// Whether a message whose file can't be written because of this error is held until that can be. What is in the
    /// way where nothing is replaced is told.
    pub(super) fn lets_wait(self, error: &io::Error) -> bool {
        let in_the_way = self == Self::Refuse && error.kind() == io::ErrorKind::AlreadyExists;
        Scope::of(error) == Scope::Place && !in_the_way
    }

    pub(super) fn clear(self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        match self {
            Self::Replace => remove_if_there(disk.unlink(path)),
            Self::Refuse => Ok(()),
        }
    }
}
