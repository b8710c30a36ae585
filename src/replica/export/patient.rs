//! Streams to which bundles are written: whoever reads one may be slow, and the lock isn't held while they are waited
//! for.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use crate::error::Result;
use crate::replica::Replica;

/// What is given to the stream in one go, in bytes, if it takes that without being waited for.
const BUFFER: usize = 256 << 10;
/// A pipe that has room takes at least so many bytes without being waited for (`PIPE_BUF` in pipe(7)).
const AT_ONCE: usize = 4096;

/// A stream that lets others work on the replica while its reader is waited for.
///
/// They may change whatever they like: a bundle is planned before it is written, and a message that they have moved is
/// looked for, as one is that a mail program has moved.
#[derive(Debug)]
pub struct Patient<'r, W: Write + AsFd> {
    replica: &'r Replica,
    out: W,
    /// Whether it may have to be waited for: a file needn't.
    may_block: bool,
}

impl Replica {
    /// A stream to write a bundle to, whose reader may be slow.
    pub fn patient<W: Write + AsFd>(&self, out: W) -> BufWriter<Patient<'_, W>> {
        let is_file = fstat(&out).is_ok_and(|meta| FileType::from_raw_mode(meta.st_mode) == FileType::RegularFile);
        BufWriter::with_capacity(BUFFER, Patient { replica: self, out, may_block: !is_file })
    }

    /// Lets others work while somebody is waited for who takes a bundle.
    ///
    /// # Errors
    /// The lock can't be had again, or the mail root is another one meanwhile.
    pub(super) fn wait<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let done = self.while_others_work(work)?;
        self.check_root_is_known()?;
        Ok(done)
    }
}

impl<W: Write + AsFd> Patient<'_, W> {
    /// Whether it takes something without being waited for.
    fn has_room(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.out, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut fds, Some(&now)) {
            // An error is for the write to tell.
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl<W: Write + AsFd> Write for Patient<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.may_block {
            return self.out.write(bytes);
        }
        if self.has_room()? {
            return self.out.write(&bytes[..bytes.len().min(AT_ONCE)]);
        }
        let out = &mut self.out;
        // The rest goes out in one go: the lock isn't taken anew for every piece that a slow reader takes.
        self.replica.wait(|| out.write_all(bytes)).map_err(io::Error::other)?.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
