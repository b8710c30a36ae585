//! A peer that is reached by the program that the configuration names: an export, a call, an import of the answer. And the
//! other end of such a call: for whom the answer is.

use std::io::{self, BufRead, BufReader, Read, Seek, Write};

use super::{ExportOptions, Exported, Home, ImportOptions, ImportOutcome, Imported, Replica};
use crate::error::{Error, Result};
use crate::meter::{Gauge, Meter};
use crate::process::{Conversation, Heard, converse, was_told_to_stop};
use crate::read::read_some;
use crate::text::printable;

/// What is read or written in one go, in bytes.
const BUFFER: usize = 256 << 10;
/// How much of what has come is kept in memory, in bytes, before a file is made.
const IN_MEMORY: usize = 1 << 20;

/// Bundles that have come, all of them: reading them waits for nobody.
#[derive(Debug)]
pub struct Arrived(BufReader<tempfile::SpooledTempFile>);

impl Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for Arrived {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

/// Keeps what comes, as it comes.
struct Receiver {
    file: tempfile::SpooledTempFile,
    gauge: Box<dyn Gauge>,
    /// Bytes that the gauge was not told of.
    untold: usize,
}

impl Receiver {
    fn new(home: &Home, meter: &dyn Meter) -> Self {
        let file = tempfile::spooled_tempfile_in(IN_MEMORY, home.state_dir());
        Self { file, gauge: meter.begin("receiving KiB", 0), untold: 0 }
    }

    fn received(mut self) -> io::Result<Arrived> {
        self.file.rewind()?;
        Ok(Arrived(BufReader::with_capacity(BUFFER, self.file)))
    }
}

impl Write for Receiver {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.untold += n;
        self.gauge.advance(self.untold as u64 / 1024);
        self.untold %= 1024;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Replica {
    /// Takes all that comes from `source` into a file without a name in the state directory, so that nobody who holds
    /// the lock waits for it. Only the state directory is looked at.
    ///
    /// # Errors
    /// No replica lives there; `source`, which is called `about`, can't be read; or there is no room.
    pub fn take_in(home: &Home, meter: &dyn Meter, about: &str, source: &mut dyn Read) -> Result<Arrived> {
        home.check_lived_in()?;
        home.check_private()?;
        let mut file = Receiver::new(home, meter);
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = read_some(source, &mut buffer)
                .map_err(|error| Error::failed(format!("reading {about}: {error}")).advise("run this again"))?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(|error| keeping(home, about, &error))?;
        }
        file.received().map_err(|error| keeping(home, about, &error))
    }

    /// Sends a peer a bundle by its `call`, and imports what that answers; `each` is told of each bundle in the answer. While
    /// the peer works, other commands can work on the replica.
    ///
    /// # Errors
    /// The configuration doesn't tell how to reach the peer, there is no such peer, its program can't be run, is silent
    /// for too long or ends with a failure, or this machine fails. What is wrong with a bundle of the answer is told by
    /// its outcome.
    pub fn call(&self, peer: &str, options: &ImportOptions, each: impl FnMut(Imported)) -> Result<()> {
        let Some(config) = self.config.peer.get(peer) else {
            return Err(Error::usage("the configuration doesn't tell how to reach it")
                .advise(format!("add [peer.{peer}] with a call to config.toml")));
        };
        let stopped = || Error::failed("mailsync was told to stop").advise("run this again; nothing is lost");
        if was_told_to_stop() {
            return Err(stopped());
        }
        let mut packed = self.pack(&ExportOptions::to_peer(peer))?;
        let (program, about) = (&config.call[0], format!("the answer of {}", printable(peer)));
        let conversation = Conversation { call: &config.call, patience: config.timeout().map_err(Error::usage)? };
        let mut answer = Receiver::new(&self.home, &*self.world.meter);
        let heard = self.while_others_work(|| converse(&conversation, &mut packed.file, &mut answer))?;
        let status = match heard {
            Ok(Heard::Ended(status, all_was_read)) => {
                if all_was_read && status.success() {
                    self.record_handed_over(&packed)?;
                }
                status
            }
            Ok(Heard::Stopped) => return Err(stopped()),
            Ok(Heard::Silent) => {
                let what = format!("{program} was ended: for {} nothing went to it or came from it", config.timeout);
                return Err(Error::failed(what).advise(format!(
                    "see whether it can be reached, and run this again; or let it have more time, by the timeout of [peer.{peer}] \
                     in config.toml; nothing is lost"
                )));
            }
            Err(error) => {
                return Err(Error::failed(format!("running {program}: {error}")).advise(format!(
                    "check the call of [peer.{peer}] in config.toml, and that there is room for the answer"
                )));
            }
        };
        let mut answer = answer.received().map_err(|error| keeping(&self.home, &about, &error))?;
        let is_silent = answer.fill_buf().map_err(|error| keeping(&self.home, &about, &error))?.is_empty();
        if !is_silent {
            self.import_answer(&about, answer, options, each)?;
        }
        if status.success() {
            return Ok(());
        }
        let what = format!("{program} has ended with {status}");
        Err(Error::failed(what).advise("see what it said above, then run this again; nothing is lost"))
    }

    /// Writes the answer to bundles that were imported, for whoever sent the last one that was accepted. While it is
    /// taken, other commands can work on the replica. Returns what it holds, if there is one.
    ///
    /// # Errors
    /// Those of an export.
    pub fn reply<W: Write>(&self, all: &[Imported], mut out: W) -> Result<Option<Exported>> {
        let Some(options) = Self::reply_to(all) else { return Ok(None) };
        let mut packed = self.pack(&options)?;
        self.while_others_work(|| packed.hand_over(&mut out))??;
        self.record_handed_over(&packed)?;
        Ok(Some(packed.exported))
    }

    /// What to export as the answer to bundles that were imported: for whoever sent the last one that was accepted, if only as
    /// not yet applicable. `None` if nobody did.
    fn reply_to(all: &[Imported]) -> Option<ExportOptions> {
        let heard = |imported: &&Imported| {
            matches!(imported.outcome, ImportOutcome::Applied | ImportOutcome::NothingNew | ImportOutcome::NotYet(_))
        };
        let Some(Imported { from: Some(from), .. }) = all.iter().rev().find(heard) else { return None };
        Some(ExportOptions::to_peer(from))
    }
}

fn keeping(home: &Home, about: &str, error: &io::Error) -> Error {
    Error::failed(format!("keeping {about} in {}: {error}", home.state_dir().display()))
        .advise("make room there, then run this again")
}
