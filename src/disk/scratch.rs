//! What is kept for a while only, and may be too large for memory.

use std::fmt;
use std::io::{self, Read, Seek, Write};

use tempfile::SpooledTempFile;

/// Bytes that are kept in memory up to a size, and beyond it in a file without a name. They vanish with it, whatever
/// becomes of the process.
pub trait Scratch: Read + Write + Seek + Send + fmt::Debug {
    /// Forgets what is beyond the first `length` bytes. The position stays.
    fn set_len(&mut self, length: u64) -> io::Result<()>;
}

impl Scratch for SpooledTempFile {
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        SpooledTempFile::set_len(self, length)
    }
}
