//! Tidying a directory: this replica's own bundles are removed once nobody needs them any more.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::listing::{There, bundles_in, open_if_there, what_is_there};
use crate::bundle::{Behind, Manifest, ReplicaId, each_manifest};
use crate::disk::{Disk, remove_if_there};
use crate::error::{Error, Result};
use crate::model::{Incarnation, Knowledge};
use crate::replica::Replica;

/// This replica's last bundle that each of its readers can apply as it is.
struct StandIn {
    incarnation: Incarnation,
    number: u64,
    tip: Knowledge,
}

/// The combined standing of the peers that a bundle is for.
struct Readers {
    shown: Vec<Knowledge>,
    /// Whether any of them lacks contents and asks for them.
    wanting: bool,
}

impl Replica {
    /// Removes from a directory those bundles of this replica that nobody needs any more. Returns how many.
    ///
    /// # Errors
    /// The directory can't be listed, or a file can't be read or removed.
    pub fn tidy_directory(&self, dir: &Path) -> Result<u64> {
        let (paths, _) = bundles_in(&*self.world.disk, dir)?;
        let mut files = Vec::new();
        for path in paths {
            if matches!(what_is_there(&*self.world.disk, &path)?, There::File(_)) {
                files.push(path);
            }
        }
        self.remove_unneeded(&files)
    }

    /// Removes those of this replica's own files that nobody needs any more. Returns how many. A later file stands in for such a file: it
    /// holds the same changes, and all its readers can apply it. The last file always stays: even if its readers have
    /// all its changes, they may not know yet that this replica has them, too.
    pub(super) fn remove_unneeded(&self, own: &[PathBuf]) -> Result<u64> {
        let mut stand_ins: BTreeMap<Option<ReplicaId>, StandIn> = BTreeMap::new();
        for path in own {
            self.each_own(path, Behind::Left, |manifest, readers| {
                let applicable = readers.shown.iter().all(|shown| shown.includes(&manifest.base));
                let best =
                    stand_ins.get(&self.present_recipient(manifest)?).is_none_or(|best| best.number < manifest.number);
                if applicable && best && manifest.sender.incarnation == self.state.incarnation()? {
                    let stand_in = StandIn {
                        incarnation: manifest.sender.incarnation,
                        number: manifest.number,
                        tip: manifest.tip.clone(),
                    };
                    stand_ins.insert(self.present_recipient(manifest)?, stand_in);
                }
                Ok(true)
            })?;
        }
        let mut removed = 0;
        for path in own {
            let unneeded = self.each_own(path, Behind::Seen, |manifest, readers| {
                let was_left = self.has_left(manifest)?;
                let later = stand_ins.get(&self.present_recipient(manifest)?).is_some_and(|later| {
                    let has_all = later.incarnation == manifest.sender.incarnation && later.tip.includes(&manifest.tip);
                    // What was stamped anew since is in every later one.
                    later.number > manifest.number && (has_all || was_left)
                });
                // A peer that has the entries of a split bundle may still need the contents in its other parts.
                Ok(later && !readers.wanting)
            })?;
            if unneeded {
                remove(&*self.world.disk, path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The id that a bundle's recipient has now.
    fn present_recipient(&self, manifest: &Manifest) -> Result<Option<ReplicaId>> {
        manifest.recipient.map(|id| self.present_id(&id)).transpose()
    }

    /// Whether `is_so` holds for all bundles in a file. It doesn't if one is an invitation, was not made by this
    /// replica, or is for a peer that was never heard of.
    fn each_own(
        &self,
        path: &Path,
        behind: Behind,
        mut is_so: impl FnMut(&Manifest, &Readers) -> Result<bool>,
    ) -> Result<bool> {
        let Some(file) = open_if_there(&*self.world.disk, path)? else { return Ok(false) };
        let mut answer = Ok(true);
        let whole = each_manifest(&file, &self.keys(), behind, |beginning| {
            let manifest = beginning.manifest();
            let own = self.has_signed(beginning) && manifest.invitation.is_none();
            answer = match self.readers(manifest.recipient) {
                Ok(Some(readers)) if own => is_so(manifest, &readers),
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            if matches!(answer, Ok(true)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Ok(answer? && whole.is_ok())
    }

    /// The combined standing of the peers that a bundle is for. `None` if one of them has never sent anything: its
    /// standing is then a guess from its invitation, which it may not have taken.
    fn readers(&self, recipient: Option<ReplicaId>) -> Result<Option<Readers>> {
        let peers = match recipient {
            Some(id) => self.peer_of(&id)?.into_iter().collect(),
            None => self.neighbours()?,
        };
        let mut readers = Readers { shown: Vec::new(), wanting: false };
        for peer in peers {
            match peer.standing.shown {
                Some(shown) if peer.last_heard.is_some() => readers.shown.push(shown),
                _ => return Ok(None),
            }
            readers.wanting |= !self.state.wanted_by(peer.key)?.is_empty();
        }
        Ok(Some(readers).filter(|readers| !readers.shown.is_empty()))
    }
}

/// Removes a bundle that is not needed any more.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    remove_if_there(disk.unlink(path)).map_err(|error| {
        Error::io("removing the bundle", path, error)
            .advise("see that files can be removed there, or import without --consume")
    })
}

/// The values that identify a file and show whether it was changed.
pub(super) fn identity(meta: io::Result<std::fs::Metadata>) -> Option<(u64, u64, u64, i64, i64)> {
    meta.ok().map(|meta| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}
