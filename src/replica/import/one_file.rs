//! One file of bundles.

use std::fs::File;
use std::path::Path;

use super::outcome::{ImportOptions, Imported};
use super::refusal::Origin;
use super::tidy::{identity, remove};
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::replica::safety::DryRun;

impl Replica {
    /// Imports the bundles in a file.
    ///
    /// # Errors
    /// The file can't be opened; failures of this machine, and refusals for safety. A bundle that is wrong is
    /// no error: its outcome tells.
    pub fn import_file(&self, path: &Path, options: &ImportOptions, each: impl FnMut(Imported)) -> Result<()> {
        let file =
            File::open(path).map_err(|error| Error::io("opening the bundle", path, error).advise("check its name"))?;
        let import = |each: &mut dyn FnMut(Imported)| self.import_opened(&file, path, options, Origin::File, each);
        self.recording_refusals(&path.display().to_string(), options, each, import)
    }

    /// The import of a directory ends with the first error, and the others are told, too.
    pub(super) fn fail_in_the_end(&self, first: &mut Option<Error>, error: Error) {
        match first {
            Some(_) => self.complain(error),
            None => *first = Some(error),
        }
    }

    pub(super) fn import_opened(
        &self,
        file: &File,
        path: &Path,
        options: &ImportOptions,
        origin: Origin,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let before = identity(file.metadata());
        let mut taken = true;
        self.import_from(file, path, options, origin, |imported| {
            taken &= imported.is_all_here();
            each(imported);
        })?;
        // A newer bundle may have replaced the file meanwhile, or have been added to it.
        let same = before.is_some() && before == identity(std::fs::metadata(path));
        if options.consume && options.dry_run == DryRun::No && taken && same {
            remove(&*self.world.disk, path)?;
        }
        Ok(())
    }
}
