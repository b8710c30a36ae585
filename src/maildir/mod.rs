//! Maildirs: the layouts of folders, the names of files, and the conclusions that a listing allows. Nothing here knows
//! the replica's state.

mod detect;
pub mod dotlock;
mod filename;
mod foreign;
mod ignored;
pub mod keywords;
mod layout;
pub mod listing;
pub mod names;
#[doc(hidden)]
pub mod utf7;

pub use detect::{Detected, OWN, Server, detect_layout, tmp_dirs};
pub use filename::{FileName, Separator, SizeField, Sub, delivered_base, is_delivered_base, sub_of, visible};
pub use foreign::{Foreign, foreign_at};
pub use ignored::Ignored;
pub use layout::{Layout, LayoutKind, NAME_MAX, NameEncoding, Spelling};
