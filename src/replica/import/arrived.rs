//! Bundles that come slowly: they are kept until they are here, so that nobody who holds the lock waits for them.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use super::outcome::{ImportOptions, Imported};
use super::refusal::Origin;
use crate::bundle::{self, Code, Reader, Stream};
use crate::disk::Scratch;
use crate::error::{Error, Result};
use crate::meter::Gauge;
use crate::replica::room::Roomy;
use crate::replica::{Access, Home, Replica, World};

/// The size of one read or write, in bytes.
const BUFFER: usize = 256 << 10;
/// How much of what has come is kept in memory, in bytes, before a file is made.
const IN_MEMORY: usize = 1 << 20;

/// Bundles that have come, all of them: reading them waits for nobody.
#[derive(Debug)]
pub struct Arrived {
    /// Whence they came, for people.
    about: String,
    origin: Origin,
    bundles: BufReader<Box<dyn Scratch>>,
    /// How much of it was kept, in bytes.
    size: u64,
    /// Those of strangers, which were not kept.
    refused: Vec<Imported>,
}

impl Arrived {
    /// How much has come and was kept, in bytes.
    pub(in crate::replica) fn size(&self) -> u64 {
        self.size
    }

    /// Whether nothing at all has come.
    pub(in crate::replica) fn is_silent(&mut self) -> io::Result<bool> {
        Ok(self.refused.is_empty() && self.fill_buf()?.is_empty())
    }
}

impl Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bundles.read(buffer)
    }
}

impl BufRead for Arrived {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bundles.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bundles.consume(amount);
    }
}

/// Keeps what comes, as it comes.
struct Receiver<'d> {
    file: Roomy<'d, Box<dyn Scratch>>,
    gauge: Box<dyn Gauge>,
    /// Bytes that the gauge was not told of.
    untold: usize,
}

impl<'d> Receiver<'d> {
    /// Begins. What comes is kept in the replica's state directory, in a file without a name.
    fn new(replica: &'d Replica) -> Self {
        let file = replica.world.disk.scratch(replica.home.state_dir(), IN_MEMORY);
        let file = Roomy::new(file, replica.room_for_spool(IN_MEMORY));
        Self { file, gauge: replica.world.meter.begin("receiving KiB", 0), untold: 0 }
    }

    /// What has come.
    fn received(self) -> io::Result<BufReader<Box<dyn Scratch>>> {
        let mut file = self.file.into_inner();
        file.rewind()?;
        Ok(BufReader::with_capacity(BUFFER, file))
    }

    /// Forgets what came after the first `kept` bytes.
    fn cut(&mut self, kept: u64) -> io::Result<()> {
        let file = self.file.inner();
        file.set_len(kept)?;
        file.seek(SeekFrom::Start(kept)).map(drop)
    }

    fn tell(&mut self, bytes: usize) {
        self.untold += bytes;
        self.gauge.advance(self.untold as u64 / 1024);
        self.untold %= 1024;
    }
}

impl Write for Receiver<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.tell(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a [`Kept`] source shares with whoever watches it.
struct Keeper<'d> {
    receiver: RefCell<Receiver<'d>>,
    /// Whether what is read is kept.
    keeps: Cell<bool>,
    kept: Cell<u64>,
    /// Why nothing more can be read, or kept.
    reading: RefCell<Option<io::Error>>,
    keeping: RefCell<Option<io::Error>>,
}

impl Keeper<'_> {
    /// Begins to keep the next bundle, of which these bytes were read already. Returns how much was kept before it.
    fn begin(&self, taken: &[u8]) -> u64 {
        if !self.keeps.replace(true)
            && let Err(error) = self.keep(taken)
        {
            self.keeping.replace(Some(error));
        }
        self.kept.get() - taken.len() as u64
    }

    fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        self.receiver.borrow_mut().write_all(bytes)?;
        self.kept.set(self.kept.get() + bytes.len() as u64);
        Ok(())
    }

    /// Forgets a bundle, of which nothing more is kept: then only what came before it is.
    fn forget(&self, before: u64) {
        self.keeps.set(false);
        self.kept.set(before);
        if let Err(error) = self.receiver.borrow_mut().cut(before) {
            self.keeping.replace(Some(error));
        }
    }
}

/// A source of which what was read is kept.
struct Kept<'k, 'd, R> {
    source: BufReader<R>,
    keeper: &'k Keeper<'d>,
}

impl<R: Read> Kept<'_, '_, R> {
    /// Keeps what was read ahead.
    fn keep_rest(&mut self) {
        let ahead = self.source.buffer().len();
        self.consume(ahead);
    }
}

impl<R: Read> Read for Kept<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Kept<'_, '_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.keeper.keeping.borrow().is_some() {
            return Err(io::Error::other("it can't be kept"));
        }
        match self.source.fill_buf() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.keeper.reading.replace(Some(error));
                Err(told)
            }
            // Asked again, it gives what it has.
            Err(error) => Err(error),
            Ok(_) => Ok(self.source.buffer()),
        }
    }

    fn consume(&mut self, amount: usize) {
        let (keeper, bytes) = (self.keeper, &self.source.buffer()[..amount]);
        if !keeper.keeps.get() {
            keeper.receiver.borrow_mut().tell(amount);
        } else if let Err(error) = keeper.keep(bytes) {
            keeper.keeping.replace(Some(error));
        }
        self.source.consume(amount);
    }
}

impl Replica {
    /// Imports bundles that have come, as [`Replica::import_stream`] does. Those of strangers come first.
    ///
    /// # Errors
    /// Those of [`Replica::import_stream`].
    pub fn import_arrived(
        &self,
        arrived: &mut Arrived,
        options: &ImportOptions,
        each: impl FnMut(Imported),
    ) -> Result<()> {
        let about = arrived.about.clone();
        let import = |each: &mut dyn FnMut(Imported)| self.import_kept(arrived, &about, options, each);
        self.recording_refusals(&about, options, each, import)
    }

    fn import_kept(
        &self,
        arrived: &mut Arrived,
        about: &str,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let refused = std::mem::take(&mut arrived.refused);
        let any = !refused.is_empty();
        refused.into_iter().for_each(&mut each);
        let rest = arrived.fill_buf().map_err(|error| keeping(&self.home, about, &error))?;
        if any && rest.is_empty() {
            return Ok(());
        }
        let origin = (None, arrived.origin);
        self.import_all(&mut Stream::opened_by(arrived, self.keys()), origin, about, options, &mut each)
    }

    /// Reads bundles from `source`, which is called `about`, into a file without a name in the state directory. Nobody
    /// who holds the lock waits for that, since the state is only read.
    ///
    /// A bundle of a stranger costs no more than its manifest: the rest of it goes by and is not kept. Behind one that
    /// can't be read nothing is looked at: there its import ends, too.
    ///
    /// # Errors
    /// No replica lives there; `source` can't be read; or there is no room.
    pub fn receive_bundles(
        home: &Home,
        world: World,
        code: Option<Code>,
        about: &str,
        source: &mut dyn Read,
    ) -> Result<Arrived> {
        Self::open(home, world, Access::Read)?.with_code(code).keep_bundles(about, Origin::Stream, source)
    }

    /// The same, for a replica that is open. What is behind the last bundle that can be read is not asked for.
    pub(in crate::replica) fn keep_bundles(&self, about: &str, origin: Origin, source: impl Read) -> Result<Arrived> {
        let home = &self.home;
        let keeper = Keeper {
            receiver: RefCell::new(Receiver::new(self)),
            keeps: Cell::new(true),
            kept: Cell::new(0),
            reading: RefCell::default(),
            keeping: RefCell::default(),
        };
        let kept = Kept { source: BufReader::with_capacity(BUFFER, source), keeper: &keeper };
        let mut stream = Stream::opened_by(kept, self.keys());
        let mut refused = Vec::new();
        let end = loop {
            let before = keeper.begin(stream.taken());
            let read = match stream.next_bundle() {
                Ok(None) => break Ok(()),
                Ok(Some(reader)) => self.receive_bundle(reader, &keeper, before),
                Err(error) if error.is_for_others() => {
                    keeper.forget(before);
                    let goes_on = stream.pass_over_sealed().is_ok();
                    Ok(Received::Refused(Box::new(Imported::sealed(&error, origin)), goes_on))
                }
                Err(error) => Err(error.into()),
            };
            match read {
                Ok(Received::Kept) => {}
                Ok(Received::Refused(mut imported, goes_on)) => {
                    imported.outcome.about(about);
                    refused.push(*imported);
                    if !goes_on {
                        break Ok(());
                    }
                }
                Err(Unreadable::Bundle) => break Ok(()),
                Err(Unreadable::Here(error)) => break Err(error),
            }
        };
        stream.into_source().keep_rest();
        if let Some(error) = keeper.keeping.take() {
            return Err(keeping(home, about, &error));
        }
        if let Some(error) = keeper.reading.take() {
            return Err(Error::failed(format!("reading {about}: {error}")).advise("run this again"));
        }
        end?;
        let bundles = keeper.receiver.into_inner().received().map_err(|error| keeping(home, about, &error))?;
        Ok(Arrived { about: about.to_owned(), origin, bundles, size: keeper.kept.get(), refused })
    }

    /// Reads a bundle to its end. Of a stranger's nothing is kept: then only what came before it, so many bytes.
    fn receive_bundle<R: BufRead>(
        &self,
        reader: Reader<'_, R>,
        keeper: &Keeper<'_>,
        before: u64,
    ) -> std::result::Result<Received, Unreadable> {
        let manifest = reader.manifest();
        let sender = self.sender_of(manifest)?;
        match sender.key(self, manifest, reader.signer()) {
            Ok(key) => {
                // One that only says to be from there ends the import, whatever comes behind it.
                reader.verify(&key)?.skip()?;
                Ok(Received::Kept)
            }
            Err(refusal) => {
                let imported = Imported::refused(manifest, sender.name(manifest), &refusal);
                keeper.forget(before);
                // If it is cut off or broken, nobody knows where another one begins.
                let goes_on = reader.skip().is_ok();
                Ok(Received::Refused(Box::new(imported), goes_on))
            }
        }
    }
}

/// What became of a bundle.
enum Received {
    /// It is kept.
    Kept,
    /// It is a stranger's; and whether something can come behind it.
    Refused(Box<Imported>, bool),
}

/// Why no more is read.
enum Unreadable {
    /// The bundle's fault: its import tells.
    Bundle,
    /// This machine's.
    Here(Error),
}

impl From<bundle::Error> for Unreadable {
    fn from(_: bundle::Error) -> Self {
        Self::Bundle
    }
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// What is said where nothing can be kept.
pub(in crate::replica) fn keeping(home: &Home, about: &str, error: &io::Error) -> Error {
    Error::io(&format!("keeping {about} in"), home.state_dir(), error).advise("make room there, then run this again")
}
