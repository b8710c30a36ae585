//! A stream of bundles, encrypted or not, which are read one after the other.

use std::fmt;
use std::io::BufRead;

use super::envelope::{Envelope, Keys};
use super::frame::{Frame, Source};
use super::reader::Unopened;
use super::{Error, Reader};

/// A stream of bundles, one after the other.
pub struct Stream<R: BufRead> {
    source: Source<Envelope<R>>,
    /// Whether there was a bundle.
    any: bool,
    /// Whether the last bundle was not read to its end.
    within: bool,
}

impl<R: BufRead> Stream<R> {
    /// Begins to read bundles from `source`. It reads no further than the last bundle's last byte, except for the bytes
    /// that `source` itself buffers.
    ///
    /// Those that are encrypted can't be opened.
    pub fn new(source: R) -> Self {
        Self::opened_by(source, Keys::none())
    }

    /// The same, with what opens those that are encrypted.
    pub fn opened_by(source: R, keys: Keys) -> Self {
        Self { source: Source::new(Envelope::new(source, keys)), any: false, within: false }
    }

    /// The bytes that were taken from the source, and belong to what comes behind the last bundle.
    pub(crate) fn taken(&mut self) -> &[u8] {
        self.source.inner().taken()
    }

    /// Goes on behind an encrypted bundle that could not be opened, and decrypts nothing of it.
    pub fn pass_over_sealed(&mut self) -> Result<(), Error> {
        self.source.inner().pass_over_sealed()
    }

    /// The source, from which no more is to be read as a stream.
    pub fn into_source(self) -> R {
        self.source.into_inner().into_inner()
    }

    /// Goes on to the next bundle and reads its manifest and signature. `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Error::Empty`] if the stream holds no bundle at all. One for which [`Error::is_for_others`] holds if
    /// the bundle is encrypted and can't be opened: then the next call goes on behind it.
    ///
    /// # Panics
    /// If the bundle before was not read to its end, by [`MessagesPart::finish`](super::MessagesPart::finish) or in
    /// another way: then nobody knows where the next one starts. After an error the stream is of no more use.
    pub fn next_bundle(&mut self) -> Result<Option<Reader<'_, R>>, Error> {
        self.next_unopened()?.map(Unopened::open).transpose()
    }

    /// The same, and nothing of the manifest is understood yet.
    pub(super) fn next_unopened(&mut self) -> Result<Option<Unopened<'_, R>>, Error> {
        assert!(!self.within, "the bundle before this one was read to its end");
        self.pass_over_sealed()?;
        if let Err(error) = self.source.inner().open() {
            self.any |= error.is_for_others();
            return Err(error);
        }
        match self.source.peek_frame() {
            Ok(true) => {}
            Ok(false) if self.any => return Ok(None),
            Ok(false) => return Err(Error::Empty),
            Err(other) if self.any => return Err(other.behind_one()),
            Err(other) => return Err(other),
        }
        let any = std::mem::replace(&mut self.any, true);
        self.within = true;
        let frame = Frame::open(&mut self.source)?;
        let read = Unopened::read(frame, &mut self.within);
        read.map(Some).map_err(|error| if any { error.behind_one() } else { error })
    }
}

impl<R: BufRead> fmt::Debug for Stream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("within", &self.within).finish_non_exhaustive()
    }
}
