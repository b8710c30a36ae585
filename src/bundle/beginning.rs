//! The beginning of a bundle, which is looked at before anything else of it is.

use super::{Manifest, PublicKey, Signature};

/// The beginning of a bundle: what it says of itself, and who has signed that.
#[derive(Debug)]
pub struct Beginning<'r> {
    pub(super) manifest: &'r Manifest,
    pub(super) signed: &'r [u8],
    pub(super) signature: &'r Signature,
}

impl Beginning<'_> {
    /// What the bundle says of itself. Anybody may have written it.
    pub fn manifest(&self) -> &Manifest {
        self.manifest
    }

    /// Whether the holder of this key has signed it, as the sender that it names.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.manifest.sender.id == key.id() && key.verify(self.signed, self.signature).is_ok()
    }
}
