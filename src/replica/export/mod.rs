//! Exporting: a bundle for a peer, or for anyone.
//!
//! An export is planned first, within a transaction. The plan is a value; writing it is another step.

mod error;
mod file;
mod introduce;
mod invite;
mod options;
mod patient;
mod plan;
mod recipient;
mod search;
mod secrecy;
mod send;
mod spool;
mod write;

use std::io::Write;
use std::path::{Path, PathBuf};

use file::First;
pub use invite::{CodeShown, InviteOptions};
pub use options::{Existing, ExportOptions, Exported, Fullness, MessageContents, ReadableBy, Secrecy, To, Unread};
pub use patient::Patient;
use secrecy::Target;
pub(super) use send::Packed;

use super::Replica;
use crate::disk::is_absent;
use crate::error::{Error, Result};

impl Replica {
    /// Plans and writes a bundle. It counts as sent once all of it was written to `out`: see [`Replica::patient`] for
    /// one whose reader may be slow.
    ///
    /// # Errors
    /// A bundle that is to be split can't go into one stream.
    pub fn export<W: Write>(&self, options: &ExportOptions, out: W) -> Result<Exported> {
        let plan = self.plan_export(options, Target::Stream)?;
        self.write_plan(plan, out)
    }

    /// Plans a bundle and writes it to a file: under a temporary name, renamed when it is durable. In a directory the
    /// file is named `<from>-<to>-<number>.zst`, with `.age` behind that if it is encrypted. A pipe or a device is
    /// written to directly. A file that is there stays, unless the options say otherwise. Returns the file's path; the paths of all
    /// parts if it is to be split.
    ///
    /// # Errors
    /// The file can't be written, or the bundle is to be split and `path` is not a directory.
    pub fn export_to_file(&self, options: &ExportOptions, path: &Path) -> Result<Vec<(PathBuf, Exported)>> {
        self.check_target(path, options.existing)?;
        let plan = self.plan_export(options, self.target_of(path)?)?;
        self.write_plan_to_file(plan, path, options.existing, &mut First::plain())
    }

    /// What the bundles would be that [`Replica::export`], or with a path [`Replica::export_to_file`], writes. Nothing is
    /// written, and no number is used up: it is a rehearsal, of this alone unless one is under way already.
    ///
    /// # Errors
    /// Those of an export that come before something is written.
    pub fn plan_only(&self, options: &ExportOptions, path: Option<&Path>) -> Result<Vec<Exported>> {
        let plan = || {
            let target = match path {
                Some(path) => {
                    self.check_target(path, options.existing)?;
                    self.target_of(path)?
                }
                None => Target::Stream,
            };
            let (to, parts) = self.plan_export(options, target)?.into_parts();
            if path.is_none() && parts.len() > 1 {
                return Err(Error::usage("exporting: several bundles don't go into one stream")
                    .advise("write them into a directory with -o DIR"));
            }
            let mut planned = Vec::new();
            for part in parts {
                let missing = self.foresee_unread(&part)?;
                planned
                    .push(Exported { missing, ..Exported::planned(&part.manifest, part.attachments, part.news, &to) });
            }
            Exported::mark_missing(&planned)?;
            Ok(planned)
        };
        if self.state.is_rehearsing() { plan() } else { self.rehearse(plan) }
    }

    /// What a bundle becomes that is written to this path.
    fn target_of<'p>(&self, path: &'p Path) -> Result<Target<'p>> {
        match self.world.disk.metadata(path) {
            Ok(meta) if meta.is_dir => Ok(Target::Directory(path)),
            Ok(meta) if !meta.is_file => Ok(Target::Stream),
            Err(error) if !is_absent(&error) => {
                Err(Error::io("looking at", path, error).advise("see that it can be read, then export again"))
            }
            Ok(_) | Err(_) => Ok(Target::File),
        }
    }
}
