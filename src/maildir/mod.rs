//! Maildirs.
pub mod disk;
mod stub;
pub use stub::*;
