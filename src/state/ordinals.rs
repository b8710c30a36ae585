//! What is remembered of ordinals that are taken.

use std::collections::BTreeMap;

use super::folder_rows::FolderKey;
use crate::model::Digest;

/// This many messages of which there are copies are remembered at a time.
const REMEMBERED: usize = 1024;

/// For messages of which a folder holds copies: an ordinal below which all ordinals belong to living entries, so that
/// they are not tried again for each further copy. What isn't remembered is looked up from 0 on.
#[derive(Debug, Default)]
pub(super) struct Ordinals(BTreeMap<(Digest, FolderKey), u32>);

impl Ordinals {
    /// An ordinal below which all are taken.
    pub(super) fn taken_below(&self, digest: Digest, birth: FolderKey) -> u32 {
        self.0.get(&(digest, birth)).copied().unwrap_or(0)
    }

    /// Takes note that all below this ordinal are taken.
    pub(super) fn remember(&mut self, digest: Digest, birth: FolderKey, ordinal: u32) {
        // Most messages have no copies, and cost nothing here.
        if ordinal == 0 {
            return;
        }
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&(digest, birth)) {
            self.0.clear();
        }
        self.0.insert((digest, birth), ordinal);
    }

    /// Takes note that an entry isn't alive any more.
    pub(super) fn free(&mut self, digest: Digest, birth: FolderKey, ordinal: u32) {
        if let Some(taken) = self.0.get_mut(&(digest, birth)) {
            *taken = ordinal.min(*taken);
        }
    }
}
