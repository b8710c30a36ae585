//! How the messages of an import come to their places.

use std::io;
use std::path::Path;

use crate::disk::{Disk, Durability, remove_if_there};
use crate::state::RootBefore;

/// How the messages of an import come to their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Landing {
    /// Into the `tmp/` of their folders, and on from there when the transaction is durable.
    ThroughTmp,
    /// Straight to their places: a new replica begins with an empty mail root, which nothing else has open yet.
    InPlace,
    /// A new replica begins with a mail root that holds mail. It is scanned once the entries are known, and before contents
    /// come; this is what it held before the join.
    AfterScan(RootBefore),
}

/// Up to this many messages are made durable each by itself; more of them all together.
const FEW_MESSAGES: u64 = 32;

impl Landing {
    /// Whether this is the import by which a new replica begins.
    pub(super) fn is_a_join(self) -> bool {
        self != Self::ThroughTmp
    }

    /// What to do about a file that is in the way. In `tmp/` it was left by an import that did not end. In the place of a message
    /// nothing is ever overwritten.
    pub(super) fn leftovers(self) -> Leftovers {
        if self == Self::InPlace { Leftovers::Refuse } else { Leftovers::Replace }
    }

    /// Few messages are made durable one by one; many of them, and those that go straight to their places, all together.
    pub(super) fn durability(self, messages: u64) -> Durability {
        if messages <= FEW_MESSAGES && self != Self::InPlace { Durability::Now } else { Durability::Later }
    }
}

/// What to do about a file that has the name which is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftovers {
    /// It goes.
    Replace,
    /// Nothing is written.
    Refuse,
}

impl Leftovers {
    pub(super) fn clear(self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        match self {
            Self::Replace => remove_if_there(disk.unlink(path)),
            Self::Refuse => Ok(()),
        }
    }
}
