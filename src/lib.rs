//! mailsync keeps the Maildirs of several machines the same by exchanging immutable bundle files.
//!
//! This is the library behind the command of the same name. Begin with [`replica::Replica`]: it opens a replica and has
//! the verbs. [`bundle`] reads and writes bundle files by themselves, and [`model`] is the replication model, free of
//! any I/O. The verbs take and give values from [`config`], [`error`], [`maildir`] and [`meter`].
//!
//! ```no_run
//! use mailsync::replica::{Access, ExportOptions, Home, Replica, ScanOptions, World};
//!
//! # fn main() -> mailsync::error::Result<()> {
//! let access = Access::Write(std::time::Duration::from_secs(10));
//! let replica = Replica::open(&Home::standard()?, World::real(), access)?;
//! replica.scan(&ScanOptions::default())?;
//! replica.export(&ExportOptions::to_peer("laptop"), std::io::stdout().lock())?;
//! # Ok(())
//! # }
//! ```

pub mod bundle;
pub mod config;
pub mod error;
pub mod headline;
pub mod maildir;
pub mod message;
pub mod meter;
pub mod model;
pub mod replica;

// Public for the tests and the benches only: they look into the state, and put their own files and programs into a
// `World`. A program uses `World::real`.
#[doc(hidden)]
pub mod allow;
#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod process;
#[doc(hidden)]
pub mod state;

// Public for the command line only: words for people.
#[doc(hidden)]
pub mod text;

mod pool;
mod read;
