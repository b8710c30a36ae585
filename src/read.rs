//! Reads that signals may interrupt.

use std::io::{self, BufRead, Read};

/// Reads the bytes that are there, and tries again if a signal interrupts it. Returns the number of bytes; 0 at the
/// end.
pub fn read_some(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Waits until there are bytes in the buffer, and tries again if a signal interrupts it. Returns how many there are; 0 at the
/// end. If there are some, [`BufRead::fill_buf`] gives them without reading.
pub fn buffered(from: &mut (impl BufRead + ?Sized)) -> io::Result<usize> {
    loop {
        match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            there => return there.map(<[u8]>::len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is interrupted before each byte.
    struct Interrupted<'b>(&'b [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..1]) }
        }
    }

    #[test]
    fn an_interruption_is_neither_an_end_nor_an_error() {
        let (mut from, mut buffer) = (Interrupted(b"ab", false), [0; 4]);
        assert_eq!(read_some(&mut from, &mut buffer).unwrap(), 1);
        assert_eq!(read_some(&mut from, &mut buffer[1..]).unwrap(), 1);
        assert_eq!(&buffer[..2], b"ab");
        assert_eq!(read_some(&mut from, &mut buffer).unwrap(), 0);
        let mut from = io::BufReader::new(Interrupted(b"a", false));
        assert_eq!(buffered(&mut from).unwrap(), 1);
        assert_eq!(from.fill_buf().unwrap(), b"a");
        from.consume(1);
        assert_eq!(buffered(&mut from).unwrap(), 0);
    }
}
