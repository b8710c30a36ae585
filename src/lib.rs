//! mailsync keeps the Maildirs of several machines the same by exchanging immutable bundle files.

pub mod bundle;
pub mod model;
