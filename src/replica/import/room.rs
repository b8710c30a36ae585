//! The room that what a bundle brings must find.

use std::path::Path;

use super::landing::Landing;
use super::merge::Merged;
use crate::bundle::{BundleKind, Manifest};
use crate::disk::Space;
use crate::error::Result;
use crate::replica::Replica;
use crate::replica::safety::check_room;

impl Replica {
    /// The contents that the bundle brings must find room: mail, and what jobs have attached. What it brings for
    /// entries of which an earlier one told is more than the records say. All together are no more than it holds; of
    /// what goes to several places the copies find room when they come. Each is a file, which takes whole blocks.
    pub(super) fn check_room_for(&self, merged: &Merged, manifest: &Manifest, landing: Landing) -> Result<()> {
        let tells_more = manifest.kind == BundleKind::Delta || matches!(landing, Landing::AfterScan(_));
        let (root, state) = (self.mail_root(), self.home.state_dir());
        let held = |block| Space::taken_at_most(block, manifest.bytes, manifest.counts.messages);
        let (block, of_state) = (self.block_below(root), self.block_below(state));
        let told_before = if tells_more { self.state.missing_bytes(block)? } else { 0 };
        let mail = merged.taken.saturating_add(told_before).min(held(block));
        let attached = self.state.missing_attachment_bytes(of_state)?.min(held(of_state));
        let disk = &*self.world.disk;
        let device = |dir: &Path| disk.metadata(dir).ok().map(|meta| meta.device);
        if mail > 0 && attached > 0 && device(root) == device(state) {
            return self.check_room("mail and jobs", mail.saturating_add(attached).min(held(block)), root);
        }
        self.check_room("mail", mail, root)?;
        self.check_room("what is attached to jobs", attached, state)
    }

    /// So much of something must find room below a directory. A file system that doesn't tell is no reason to refuse
    /// anything.
    pub(super) fn check_room(&self, what: &str, needed: u64, dir: &Path) -> Result<()> {
        let free = || self.world.disk.space(dir).unwrap_or_default().map(|space| space.free);
        if needed == 0 { Ok(()) } else { check_room(what, needed, free(), dir) }
    }

    /// The size of the blocks that files below a directory take. A file system that doesn't tell has any.
    pub(super) fn block_below(&self, dir: &Path) -> u64 {
        self.world.disk.space(dir).ok().flatten().map_or(1, |space| space.block)
    }
}
