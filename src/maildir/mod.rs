//! Maildirs: the layouts of folders, the names of files, and the file operations on them. Nothing here knows what a replica
//! remembers.

mod detect;
pub mod disk;
mod filename;
mod layout;
mod utf7;

pub use detect::{Detected, detect_layout, tmp_dirs};
pub use filename::{FileName, Sub, delivered_base, is_delivered_base};
pub use layout::{Layout, LayoutKind, NAME_MAX, NameEncoding};
