//! The head of a bundle, as far as the model is concerned.

use super::{Clock, Incarnation, Knowledge};

/// The most clocks that a bundle lists as `issued`: the newest ones, if there are more. 20 changes a day fill it in
/// nine years.
pub const MOST_ISSUED: usize = 65_536;

/// What a bundle says of itself and its sender, as far as the model is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The sender's incarnation.
    pub incarnation: Incarnation,
    /// Counts the sender's bundles, upwards.
    pub number: u64,
    /// Whether the bundle is complete: it holds every entry that the sender knows of.
    pub full: bool,
    /// A replica whose knowledge covers this can apply the bundle. Empty for a full one.
    pub base: Knowledge,
    /// The knowledge of the sender, and of every replica that has applied the bundle.
    pub tip: Knowledge,
    /// The removals that the sender has forgotten.
    pub horizon: Knowledge,
    /// The clocks of the stamps that the sender's incarnation issued after `base`, ascending; the newest
    /// [`MOST_ISSUED`] of them.
    pub issued: Vec<Clock>,
    /// Of these incarnations the bundle leaves out what comes after this clock, since its recipient has shown that it passes that
    /// over.
    pub left_out: Knowledge,
}
