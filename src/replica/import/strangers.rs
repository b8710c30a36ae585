//! What a file of strangers, or one that is no bundle, is remembered by, so that it is looked at once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use crate::bundle::Begins;
use crate::disk::Meta;
use crate::error::Result;
use crate::model::Digest;
use crate::replica::Replica;

/// So much of what a file begins with identifies it, in bytes.
const MARK_BYTES: u64 = 64 << 10;

/// What becomes of a file with nothing but bundles of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strange {
    /// It is for others, or for anyone, and counts as that.
    Elsewhere,
    /// It says to be for this replica, which told of it.
    Told,
}

impl Strange {
    /// What is remembered of a file with this mark.
    pub fn settled(self, mark: &Digest) -> Digest {
        Digest::of(format!("{self:?} {mark}").as_bytes())
    }
}

impl Replica {
    /// Everybody who is known here, in one digest: what is from strangers is looked at again when it has changed.
    pub(super) fn who_is_known(&self) -> Result<Digest> {
        let mut known = vec![self.public_key().to_openssh()];
        known.extend(self.state.peers()?.iter().map(|peer| peer.public_key.to_openssh()));
        known.extend(self.state.invitations()?.iter().map(|invited| format!("{} {}", invited.name, invited.made)));
        Ok(Digest::of(known.join("\n").as_bytes()))
    }
}

/// What identifies a file of strangers as long as it is not changed and nobody else becomes known. Its date is not
/// taken at its word, as for a file that is no bundle: so that nothing passes for it that is put into its place, the
/// file system says when it was changed, and which file it is.
pub(super) fn strange_mark(file: &File, known: &Digest) -> io::Result<Digest> {
    let Meta { size, mtime, ctime, device, inode, .. } = Meta::from(&file.metadata()?);
    let known = format!("{known} {size} {} {} {device} {inode}\n", mtime.0, ctime.0);
    with_beginning(file, known)
}

/// What identifies a file as long as it is not changed: its size, the time of its last change, and what it begins with.
pub(super) fn mark(file: &File) -> io::Result<Digest> {
    let meta = Meta::from(&file.metadata()?);
    with_beginning(file, format!("{} {}.{:09}\n", meta.size, meta.mtime.seconds(), meta.mtime.subsec_nanos()))
}

/// One digest of what is known of a file and of what it begins with.
fn with_beginning(mut file: &File, known: String) -> io::Result<Digest> {
    let mut known = known.into_bytes();
    file.rewind()?;
    file.take(MARK_BYTES).read_to_end(&mut known)?;
    Ok(Digest::of(&known))
}

/// What a file is by its first bytes.
pub(super) fn begins(mut file: &File) -> io::Result<Begins> {
    let mut first = Vec::new();
    file.rewind()?;
    file.take(Begins::BYTES).read_to_end(&mut first)?;
    Ok(Begins::of(&first))
}
