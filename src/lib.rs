//! mailsync keeps the Maildirs of several machines the same by exchanging immutable bundle files.
//!
//! This is the library behind the command of the same name. [`replica::Replica`] is where to begin: it opens a replica and
//! has the verbs. [`bundle`] reads and writes bundle files by themselves, and [`model`] is the replication model, free of
//! any I/O.

pub mod allow;
pub mod bundle;
pub mod config;
pub mod disk;
pub mod error;
pub mod maildir;
pub mod message;
pub mod meter;
pub mod model;
mod pool;
pub mod process;
mod read;
pub mod replica;
pub mod state;
pub mod text;
