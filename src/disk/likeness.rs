//! What a new file or directory is like: whose it is, and who may do what with it. Nothing here touches a disk.
//!
//! The rules are Dovecot's, so that a mailbox that several users share stays shared whoever writes into it
//! (<https://doc.dovecot.org/2.3/admin_manual/permissions_in_shared_mailboxes/>): the mode is that of the directory
//! after which something is made, and the group follows where the mode lets it do more than everybody.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What everybody but the owner may do: by the group, and by all others.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;
const SETGID: u32 = 0o2000;

/// The user, the group and the mode that something new gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Permissions, and for a directory whether what is made in it gets its group.
    pub mode: u32,
    /// The owner's number; `None` for whoever makes it.
    pub owner: Option<u32>,
    /// The group's number; `None` for the one that it has by itself.
    pub group: Option<u32>,
}

impl Rights {
    /// A file as it is made: for its owner only.
    const FILE: Self = Self { mode: 0o600, owner: None, group: None };
    /// A directory as it is made.
    const DIRECTORY: Self = Self { mode: 0o700, owner: None, group: None };

    /// Whether something has these rights as soon as it is made.
    pub fn come_by_themselves(&self) -> bool {
        *self == Self::FILE || *self == Self::DIRECTORY
    }

    /// What is left of them if owner and group can't be given: another group doesn't get what was meant for this one.
    #[must_use]
    pub fn for_this_user(&self) -> Self {
        Self { mode: self.mode & !(GROUP | SETGID), owner: None, group: None }
    }
}

/// The directory after which something is made, and whom a person is told of if that can't be.
#[derive(Clone, Copy)]
pub struct Like<'d> {
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
    denied: &'d Denied,
}

static NOTHING_DENIED: Denied = Denied(Mutex::new(None));

impl<'d> Like<'d> {
    /// For its owner only.
    pub const PRIVATE: Like<'static> = Like { mode: 0o700, owner: None, group: None, denied: &NOTHING_DENIED };

    /// After a directory with this mode and this group. `owner` is given if it isn't to belong to whoever makes it.
    pub fn directory(mode: u32, group: u32, owner: Option<u32>, denied: &'d Denied) -> Self {
        let group_counts = mode & SETGID != 0 || (mode & GROUP) >> 3 != mode & OTHERS || owner.is_some();
        Self { mode, owner, group: group_counts.then_some(group), denied }
    }

    /// A file's rights.
    pub fn file(&self) -> Rights {
        Rights { mode: self.mode & 0o666 | Rights::FILE.mode, owner: self.owner, group: self.group }
    }

    /// A directory's rights.
    pub fn dir(&self) -> Rights {
        let mode = self.mode & (SETGID | 0o777) | Rights::DIRECTORY.mode;
        Rights { mode, owner: self.owner, group: self.group }
    }

    /// Notes that something could not be made like this.
    pub fn deny(&self, path: &Path, rights: &Rights, error: &dyn fmt::Display) {
        let mut first = self.denied.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| Denial { path: path.to_owned(), rights: *rights, error: error.to_string() });
    }
}

/// The first thing that could not be given the rights that it should have. Several threads write.
#[derive(Debug, Default)]
pub struct Denied(Mutex<Option<Denial>>);

impl Denied {
    /// Takes it.
    pub fn take(&self) -> Option<Denial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Something that could not be given the rights that it should have.
#[derive(Debug)]
pub struct Denial {
    path: PathBuf,
    rights: Rights,
    error: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be given", self.path.display())?;
        if let Some(owner) = self.rights.owner {
            write!(f, " the owner {owner},")?;
        }
        if let Some(group) = self.rights.group {
            write!(f, " the group {group},")?;
        }
        let (mode, error) = (self.rights.mode, &self.error);
        write!(
            f,
            " the mode {mode:04o} ({error}), and so may be others of its kind: who shares the folder can't use them until \
             somebody sets that with chown, chgrp and chmod; a member of the folder's group may give things to it"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_takes_from_its_directory_what_dovecot_takes() {
        let rights = |mode, owner, group| Rights { mode, owner, group };
        let table = [
            // mode, owner to be given: a file, a directory
            (0o40_700, None, rights(0o600, None, None), rights(0o700, None, None)),
            (0o40_755, None, rights(0o644, None, None), rights(0o755, None, None)),
            (0o40_750, None, rights(0o640, None, Some(7)), rights(0o750, None, Some(7))),
            (0o42_770, None, rights(0o660, None, Some(7)), rights(0o2770, None, Some(7))),
            (0o42_700, None, rights(0o600, None, Some(7)), rights(0o2700, None, Some(7))),
            (0o41_777, None, rights(0o666, None, None), rights(0o777, None, None)),
            (0o44_755, None, rights(0o644, None, None), rights(0o755, None, None)),
            // Whoever owns a directory without permissions must be able to use what is in it.
            (0o40_000, None, rights(0o600, None, None), rights(0o700, None, None)),
            (0o40_070, None, rights(0o660, None, Some(7)), rights(0o770, None, Some(7))),
            // What root makes for somebody has that one's group, too.
            (0o40_700, Some(5), rights(0o600, Some(5), Some(7)), rights(0o700, Some(5), Some(7))),
        ];
        let denied = Denied::default();
        for (mode, owner, file, dir) in table {
            let like = Like::directory(mode, 7, owner, &denied);
            assert_eq!((like.file(), like.dir()), (file, dir), "{mode:o}");
        }
        assert!(Like::PRIVATE.file().come_by_themselves() && Like::PRIVATE.dir().come_by_themselves());
    }

    #[test]
    fn another_group_does_not_get_what_was_meant_for_this_one() {
        let denied = Denied::default();
        for (mode, file, dir) in [(0o2770, 0o600, 0o700), (0o775, 0o604, 0o705), (0o2777, 0o606, 0o707)] {
            let like = Like::directory(mode, 7, None, &denied);
            let left = [like.file(), like.dir()].map(|rights| rights.for_this_user());
            assert_eq!(left.map(|rights| rights.mode), [file, dir], "{mode:o}");
            assert!(left.iter().all(|rights| rights.owner.is_none() && rights.group.is_none()));
        }
    }
}
