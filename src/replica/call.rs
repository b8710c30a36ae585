//! Calls: the configuration names a program that reaches a peer. A call is an export, a run of that program, and an
//! import of its answer. The other end of such a call is here, too: it decides for whom the answer is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::process::{Child, Command, Stdio};

use super::{ExportOptions, ImportOptions, ImportOutcome, Imported, Replica, ScanOptions};
use crate::error::{Error, Result};
use crate::text::printable;

/// The size of one read or write, in bytes.
const BUFFER: usize = 256 << 10;

impl Replica {
    /// Sends a peer a bundle through its `call`, and imports the answer. `each` is told about each bundle in the
    /// answer. While the peer works, other commands can work on the replica. The caller scans before.
    ///
    /// # Errors
    /// The configuration doesn't tell how to reach the peer, there is no such peer, its program can't be run or ends
    /// with a failure, or this machine fails. If a bundle in the answer is wrong, its outcome tells.
    pub fn call(&self, peer: &str, each: impl FnMut(Imported)) -> Result<()> {
        let Some(config) = self.config.peer.get(peer) else {
            return Err(Error::usage("the configuration doesn't tell how to reach it")
                .advise(format!("add [peer.{peer}] with a call to config.toml")));
        };
        let bundle = self.write_bundle(peer)?;
        let program = &config.call[0];
        let fail = |doing: &str, error: &io::Error| {
            Error::failed(format!("{doing} {program}: {error}"))
                .advise(format!("check the call of [peer.{peer}] in config.toml"))
        };
        let mut child = Command::new(program)
            .args(&config.call[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| fail("running", &error))?;
        let result = self.talk(peer, &mut child, bundle, each);
        if result.is_err() {
            // It may wait for somebody to read its output, and nobody does any more.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| fail("waiting for", &error))?;
        result?;
        if status.success() {
            return Ok(());
        }
        let what = format!("{program} has ended with {status}");
        Err(Error::failed(what).advise("see what it said above, then run this again; nothing is lost"))
    }

    /// Writes the bundle to a file first: the peer may answer before it has read everything, and nobody must wait for
    /// it then.
    fn write_bundle(&self, peer: &str) -> Result<File> {
        let fail = |error: io::Error| {
            Error::failed(format!("writing the bundle to a temporary file: {error}"))
                .advise("make room for it, then run this again")
        };
        let mut file = tempfile::tempfile_in(self.home.state_dir()).map_err(fail)?;
        let out = io::BufWriter::with_capacity(BUFFER, &mut file);
        self.export(&ExportOptions::to_peer(peer), out)?;
        file.rewind().map_err(fail)?;
        Ok(file)
    }

    fn talk(&self, peer: &str, child: &mut Child, mut bundle: File, each: impl FnMut(Imported)) -> Result<()> {
        let mut stdin = child.stdin.take().expect("a pipe was asked for");
        let stdout = child.stdout.take().expect("a pipe was asked for");
        std::thread::scope(|scope| {
            // A program that doesn't read all of it tells why by its exit status.
            scope.spawn(move || io::copy(&mut bundle, &mut stdin));
            let mut answer = BufReader::with_capacity(BUFFER, stdout);
            // The peer's work before its answer may take long. Other commands need not wait for that.
            let silent = self
                .while_others_work(|| answer.fill_buf().map(<[u8]>::is_empty))?
                .map_err(|error| Error::failed(format!("reading the answer: {error}")))?;
            if silent {
                return Ok(());
            }
            let about = format!("the answer from {}", printable(peer));
            self.import_answer(&about, answer, &ImportOptions::default(), each)
        })
    }

    /// What to export as the answer to bundles that were imported: for whoever sent the last one that was accepted, if
    /// only as not yet applicable, and that is newer than every bundle of its sender's before. `None` if none was
    /// accepted. What changed on disk meanwhile is scanned for the answer.
    ///
    /// An answer holds the mail that the sender lacks, so who can have one made with an old bundle, such as a copy from
    /// a stick, could read that mail. Nobody but the sender makes a new one.
    ///
    /// # Errors
    /// Those of [`Replica::scan`]; and a refusal for safety, if bundles were accepted and none of them is new.
    pub fn reply_to(&self, all: &[Imported]) -> Result<Option<ExportOptions>> {
        let heard = |imported: &&Imported| match imported.outcome {
            ImportOutcome::Applied | ImportOutcome::NothingNew => true,
            ImportOutcome::NotYet(_) => !imported.clock_ahead,
            _ => false,
        };
        let mut accepted = all.iter().rev().filter(heard);
        let Some(last) = accepted.clone().next() else { return Ok(None) };
        let from = |imported: &Imported| imported.from.clone().unwrap_or_default();
        let Some(fresh) = accepted.find(|imported| imported.fresh) else {
            let (name, number) = (from(last), last.number.unwrap_or(0));
            let name = printable(&name);
            return Err(Error::refused(format!(
                "answering {name}: its bundle {number} is not newer than all that came from there before, so somebody else may \
                 have kept a copy of it; no answer was written"
            ))
            .advise(format!(
                "make a new bundle on {name} for each exchange, as `mailsync export` and `mailsync update` do; if its state was put \
                 back to an earlier one, first run `mailsync doctor --new-identity` there"
            )));
        };
        // The import's own changes on disk are known already. This scan can only find new local changes.
        self.scan(&ScanOptions::default())?;
        Ok(Some(ExportOptions::to_peer(&from(fresh))))
    }
}
