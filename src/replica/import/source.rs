//! The sources of bundles: streams, files and answers.

use std::io::{self, BufRead};
use std::path::Path;

use super::outcome::{ImportOptions, ImportOutcome, Imported};
use super::refusal::{Fault, Origin, reading};
use crate::bundle::{self, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::replica::Replica;

impl Replica {
    /// Imports all bundles of a stream, one after the other. If one can't be read, the rest of the stream is not looked
    /// at.
    ///
    /// # Errors
    /// Failures of this machine, and refusals for safety. A bundle that is wrong is no error: its outcome tells.
    pub fn import_stream(
        &self,
        file: Option<&Path>,
        source: impl BufRead,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let about = file.map_or_else(|| String::from("standard input"), |file| file.display().to_string());
        self.import_all(
            &mut Stream::opened_by(source, self.keys()),
            (file, Origin::of(file)),
            &about,
            options,
            &mut each,
        )
    }

    /// Imports all bundles of a file that was opened already.
    pub(super) fn import_from(
        &self,
        file: &std::fs::File,
        path: &Path,
        options: &ImportOptions,
        origin: Origin,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let source = io::BufReader::with_capacity(256 << 10, file);
        self.import_all(
            &mut Stream::opened_by(source, self.keys()),
            (Some(path), origin),
            &path.display().to_string(),
            options,
            &mut each,
        )
    }

    /// Imports what is left of a stream.
    pub(in crate::replica) fn import_all<R: BufRead>(
        &self,
        stream: &mut Stream<R>,
        (file, origin): (Option<&Path>, Origin),
        about: &str,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let mut weighed = false;
        let result = self.import_each(stream, (file, origin), about, options, |imported| {
            weighed |= imported.outcome.tells_of_a_clock();
            each(imported);
        });
        // A later bundle may come from a clock that was put right. Of a directory, the last file tells.
        let compared = if weighed && origin != Origin::Directory { self.compare_clocks() } else { Ok(()) };
        result.and(compared)
    }

    fn import_each<R: BufRead>(
        &self,
        stream: &mut Stream<R>,
        (file, origin): (Option<&Path>, Origin),
        about: &str,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        loop {
            let mut imported = Imported::unknown(file);
            let part = self.state.begin_part()?;
            let result = match stream.next_bundle() {
                Ok(None) => return Ok(()),
                Ok(Some(reader)) => self.import_bundle(reader, options, &mut imported),
                Err(error) => Err(Fault::Bundle(error)),
            };
            // Behind one that is encrypted for others, others may follow.
            let goes_on = match &result {
                Ok(_) => true,
                Err(fault) => matches!(fault, Fault::Bundle(error) if error.is_for_others()),
            };
            imported.outcome = match result {
                Ok(outcome) => outcome,
                Err(Fault::Bundle(error)) => origin.outcome(&error),
                Err(Fault::Here(error)) => {
                    let error = error.at(self.mail_root()).about(about);
                    if error.kind() == ErrorKind::Refused {
                        each(Imported { outcome: ImportOutcome::Refused(error.clone()), ..imported });
                    }
                    return Err(error);
                }
                Err(Fault::RolledBack(error)) => {
                    let error = error.about(about);
                    each(Imported { outcome: ImportOutcome::RolledBack(error.clone()), ..imported });
                    return Err(error);
                }
            };
            imported.outcome.about(about);
            if let ImportOutcome::Refused(error) = &imported.outcome {
                let error = error.clone();
                each(imported);
                // What it would bring was seen. What stands behind it comes to what is there without it.
                drop(part);
                if self.state.is_rehearsing() {
                    self.raise_alarm()?;
                }
                return Err(error);
            }
            part.keep()?;
            each(imported);
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// The error for a bundle that can't be read, in words for people.
    pub fn rejection(error: &bundle::Error, origin: Origin) -> Error {
        reading(error, origin)
    }
}
