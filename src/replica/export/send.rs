//! Bundles that are written to a temporary file first, and then handed over: whoever takes them may be slow, and mail
//! may be removed while a bundle is written.

use std::io::{self, Seek, Write};

use super::error::{NotWritten, writing};
use super::options::{ExportOptions, Exported};
use super::plan::ExportedTo;
use super::secrecy::Target;
use crate::bundle::WriteError;
use crate::disk::Scratch;
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::replica::room::Roomy;
use crate::replica::scan::ScanOptions;

/// How often a bundle is planned anew because a mail program was faster: it is, for once, and hardly ever again.
const ATTEMPTS: u32 = 4;
/// What is written in one go, in bytes.
const BUFFER: usize = 256 << 10;

/// A bundle that is complete, and that nobody was given yet.
pub(in crate::replica) struct Packed {
    /// The bundle, to be read from its beginning.
    pub file: Box<dyn Scratch>,
    /// What it holds.
    pub exported: Exported,
    plan: ExportedTo,
}

impl Packed {
    /// Writes it to whoever takes it.
    ///
    /// # Errors
    /// It can't be written: then it was not handed over.
    pub fn hand_over(&mut self, out: &mut impl Write) -> Result<()> {
        let copied = io::copy(&mut self.file, out).and_then(|_| out.flush());
        copied.map_err(|error| writing(&WriteError::Out(error)))
    }
}

impl Replica {
    /// Looks for local changes, and writes a bundle into a file without a name in the state directory. When a message
    /// that is to be in it is removed meanwhile, all of that is done again.
    ///
    /// # Errors
    /// Those of a scan and of an export.
    pub(in crate::replica) fn pack(&self, options: &ExportOptions) -> Result<Packed> {
        let fail = |error: io::Error| {
            let dir = self.home.state_dir();
            Error::io("writing the bundle to a temporary file in", dir, error)
                .advise("make room for it, then run this again")
        };
        let mut attempt = 1;
        loop {
            self.scan(&ScanOptions::default())?;
            let (plan, part) = self.plan_export(options, Target::Stream)?.take_one()?;
            let mut file = self.world.disk.scratch(self.home.state_dir(), 0);
            let out = io::BufWriter::with_capacity(BUFFER, Roomy::new(&mut file, self.room_for_spool(0)));
            match self.write_and_flush(part, &plan, out) {
                Ok(exported) => {
                    file.rewind().map_err(fail)?;
                    return Ok(Packed { file, exported, plan });
                }
                Err(NotWritten::Overtaken(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(why) => return Err(why.into()),
            }
        }
    }

    /// Records that a bundle was handed over, all of it.
    pub(in crate::replica) fn record_handed_over(&self, packed: &Packed) -> Result<()> {
        self.record_export(&packed.plan, std::slice::from_ref(&packed.exported), &[])
    }
}
